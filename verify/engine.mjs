// Recomputes a decision by definition: features over the events of a proof, rules, score and policy. Definitions are
// files as nested texts, lists, and mappings as lists of pairs. Reference: docs/reference/language.md, rules.md and
// policy-yaml.md.

import { AGGREGATE_VALUES } from "./aggregates.mjs";
import { address } from "./functions.mjs";
import { compile } from "./language.mjs";
import { modelOf } from "./model.mjs";
import { digestOf, Refusal, refuseIf } from "./tree.mjs";
import * as v from "./values.mjs";

const OUTCOMES = ["approve", "challenge", "review", "decline"];
const LABEL = { event: "text", verdict: "text", source: "text", known_at: "time", reason: "text", amount: "money" };
const PARTS_OF_RULES = ["row", "effect", "reason", "notify", "shadow", "expires", "rollout"];
const OUTSIDE = "(?=(?:[^']*'[^']*')*[^']*$)";
const BAR = new RegExp(`\\|${OUTSIDE}`);
const AND = new RegExp(`\\s+and\\s+(?=[<>=!]|(?:in|not|is)\\b)${OUTSIDE}`);

const get = (tree, name) => tree?.find(([key]) => key === name)?.[1];
const text = (key) => key.map((part) => `${typeof part} ${part}`).join("\n");

export class Project {
  // files: trees by name; rows: lists and tables by file; models: texts by name.
  constructor(files, rows, models) {
    this.files = files;
    this.rows = rows;
    const money = get(files["shroff.yaml"], "money");
    this.moneyPlaces = Number(get(Array.isArray(money) ? money : [], "places") ?? PLACES[currencyOf(money)] ?? 2);
    this.types = {};
    this.entities = {};
    this.tables = {};
    this.features = {};
    this.events = [];
    this.readEvents(files["events.yaml"]);
    for (const [entity, features] of files["features.yaml"] ?? []) {
      for (const [name, written] of features) {
        this.features[`${entity}.${name}`] = { name: `${entity}.${name}`, entity, written };
      }
    }
    this.policies = files["policy.yaml"] ?? [];
    this.rules = Object.entries(files)
      .filter(([name]) => name.startsWith("rules/"))
      .flatMap(([, rules]) => (rules ?? []).flatMap((rule) => this.rulesOf(rule)));
    this.models = models;
  }

  readEvents(tree) {
    for (const [name, declared] of tree) {
      if (name === "entities") {
        this.entities = Object.fromEntries(declared.map(([entity, keys]) => [entity, Object.fromEntries(keys)]));
      } else if (name === "tables") {
        declared.forEach(([table, columns]) => {
          this.tables[table] = this.tableOf(columns);
        });
      } else if (get(declared, "fields")) {
        const fields = get(declared, "fields").map(([field, written]) => [field, this.typeOf(written)]);
        const isDecided = get(declared, "decide") === "true";
        this.types[name] = { id: get(declared, "id"), fields: Object.fromEntries(fields), isDecided };
      }
    }
  }

  typeOf(written) {
    const [, kind, places] = /^\s*([a-z_]+)\s*(?:\(\s*([0-9]*))?/.exec(written);
    const usual = { money: this.moneyPlaces, number: 6 }[kind] ?? 0;
    return v.type(kind, kind === "number" && places ? Number(places) : usual);
  }

  tableOf(columns) {
    const [[key, written]] = columns;
    const kind = /^(prefix|suffix|network)\b/.exec(written)?.[1] ?? "";
    const shape = { keyName: key, kind, key: kind ? v.TEXT : this.typeOf(written), columns: {}, since: "", high: "" };
    for (const [name, type] of columns.slice(1)) {
      if (name === "from") {
        shape.since = type;
      } else if (name === "to") {
        shape.high = type;
      } else {
        shape.columns[name] = this.typeOf(type);
      }
    }
    refuseIf(shape.high, "tables of ranges are not recomputed");
    return shape;
  }

  fieldType(type, name) {
    if (name.endsWith(".original")) {
      return v.type("number", 4);
    }
    if (type === "label" && name.startsWith("of.")) {
      const decided = Object.values(this.types).filter((each) => each.isDecided);
      return decided.map((each) => each.fields[name.slice(3)]).find(Boolean);
    }
    return type === "label" ? this.typeOf(LABEL[name]) : this.types[type]?.fields[name];
  }

  // ---- events

  // Take a record of the log; records come in the order of their sequence numbers.
  take({ seq, kind, type, id, timeMs, hits, body }) {
    const event = { seq, type, id, timeMs: BigInt(timeMs), hits, body, isLabel: kind === "label", values: new Map() };
    if (event.isLabel) {
      event.of = { type: body.of_type, body: body.of, timeMs: 0n, values: new Map() };
    }
    this.events.push(event);
    return event;
  }

  field(event, name) {
    if (event.isLabel && name.startsWith("of.")) {
      return this.field(event.of, name.slice(3));
    }
    const type = event.isLabel ? this.fieldType("label", name) : this.fieldType(event.type, name);
    return type ? v.stored(event.body[name], type) : null;
  }

  // The parts of an entity's key at an event, or of a label's event; null where one is missing.
  key(entity, event) {
    const of = event.isLabel ? event.of : event;
    const declared = this.entities[entity]?.[of.type];
    if (declared === undefined) {
      return null;
    }
    const scope = { this: [of.type], entity, rule: null, item: null };
    const parts = [declared].flat().map((part) => {
      const node = this.once(`${of.type} ${part}`, () =>
        compile(/^[\p{L}\p{N}_]+$/u.test(part) ? `this.${part}` : part, this, scope),
      );
      return node.run({ event: of, item: null });
    });
    return parts.includes(null) ? null : parts;
  }

  once(name, make) {
    this.made ??= new Map();
    if (!this.made.has(name)) {
      this.made.set(name, make());
    }
    return this.made.get(name);
  }

  // ---- features and aggregates

  feature(name) {
    const feature = this.features[name];
    refuseIf(!feature, `there is no feature ${name}`);
    if (!feature.node) {
      const keyed = Object.keys(this.types).filter((each) => each in this.entities[feature.entity]);
      feature.node = compile(feature.written, this, { this: keyed, entity: feature.entity, rule: null, item: null });
      feature.type = feature.node.type;
      const { fields, events } = feature.node.reads;
      const isRead = (type) => fields.every((field) => this.fieldType(type, field));
      feature.events = keyed.filter((type) => isRead(type) && (!events.length || events.includes(type)));
    }
    return feature;
  }

  valueOf({ name }, event) {
    const feature = this.feature(name);
    if (event.isLabel || !feature.events.includes(event.type)) {
      return null;
    }
    if (!event.values.has(name)) {
      const hasKey = this.key(feature.entity, event) !== null;
      event.values.set(name, hasKey ? feature.node.run({ event, item: null }) : null);
    }
    return event.values.get(name);
  }

  aggregate(query, event) {
    const key = this.key(query.entity, event);
    const isUnknown = query.condition?.reads.fields.some((name) => this.field(event, name) === null);
    if (key === null || isUnknown) {
      return null;
    }
    const since = query.sinceFlag ? this.lastHit(query, text(key), event) : 0;
    const end = event.timeMs - (query.delay ?? 0n);
    const isBefore = (each) => since < each.seq && each.seq < event.seq + (query.including ? 1 : 0);
    const isRecent = ({ timeMs }) => timeMs <= end && (query.over === undefined || timeMs > end - query.over);
    const isIn = (each) => isBefore(each) && isRecent(each);
    let window = query.via ? this.linked(query, text(key), event, isIn) : this.own(query, text(key)).filter(isIn);
    window = window.filter((each) => !each.isLabel || query.eachSource || each.body.changes);
    window.sort((a, b) => (a.timeMs === b.timeMs ? a.seq - b.seq : a.timeMs < b.timeMs ? -1 : 1));
    window = query.lastN ? window.slice(-query.lastN) : window;
    const included = window.filter((item) => !query.condition || query.condition.run({ event, item }) === true);
    const values = query.argument ? included.map((item) => query.argument.run({ event, item })) : included;
    const present = values.filter((value) => value !== null);
    const scale = v.power10(query.argument?.type.places ?? 0);
    return AGGREGATE_VALUES[query.name](present, { scale, events: window.length, rank: query.rank });
  }

  own({ event: type, entity, matching }, key) {
    return this.events.filter((each) => {
      if (each.type !== type) {
        return false;
      }
      const own = matching ? [this.field(each, matching)] : this.key(entity, each);
      return own !== null && text(own) === key;
    });
  }

  linked({ via, entity, event: type, including }, key, event, isIn) {
    const counts = (each) => isIn(each) || (including && each === event);
    const valueOf = (each) => this.linkValue(via, each.isLabel ? each.of : each);
    const seen = this.events.filter((each) => counts(each) && valueOf(each) !== null);
    const linking = seen.filter((each) => each.type === via.event);
    const keyOf = (each) => this.key(entity, each);
    const found = [];
    for (const value of new Set(linking.filter((each) => keyOf(each) && text(keyOf(each)) === key).map(valueOf))) {
      const sharing = linking.filter((each) => valueOf(each) === value && keyOf(each));
      if (new Set(sharing.map((each) => text(keyOf(each)))).size <= via.upTo) {
        found.push(...seen.filter((each) => valueOf(each) === value && each.type === type && isIn(each)));
      }
    }
    return found;
  }

  linkValue({ event: type, operand }, event) {
    return event.type === type ? operand.run({ event, item: event }) : null;
  }

  lastHit({ rule, entity }, key, event) {
    const isHit = (each) => each.seq < event.seq && each.hits.includes(rule) && this.key(entity, each);
    const hits = this.events.filter((each) => isHit(each) && text(this.key(entity, each)) === key);
    return Math.max(0, ...hits.map((each) => each.seq));
  }

  // ---- lists and tables

  rowText(file, value) {
    const rows = this.rows[file];
    refuseIf(!rows, `the file has no rows of ${file}`);
    const digest = digestOf(value);
    const row = rows.listed.find((each) => each.key === digest);
    if (row) {
      refuseIf(row.text === null, `the file lacks the row of a value in ${file}`);
      return row.text;
    }
    const below = rows.listed.filter((each) => each.key < digest).at(-1)?.index ?? -1;
    const above = rows.listed.find((each) => each.key > digest)?.index ?? rows.size;
    refuseIf(above !== below + 1, `the file does not show that ${file} has no row of ${JSON.stringify(value)}`);
    return null;
  }

  isListed(list, value, timeMs) {
    const row = this.rowText(`lists/${list}.csv`, value);
    return row !== null && (row === "" || timeMs < BigInt(row));
  }

  cell(table, column, value, timeMs) {
    const shape = this.tables[table];
    const file = Object.keys(this.rows).find((name) => name.startsWith(`tables/${table}.`));
    const groups = shape.kind ? this.matching(file, shape, value) : [this.rowText(file ?? table, String(value))];
    for (const group of groups.filter((each) => each !== null)) {
      const since = (row) => (shape.since ? v.time(row[shape.since], true) : 0n);
      const rows = JSON.parse(group).filter((row) => !shape.since || since(row) <= timeMs);
      rows.sort((a, b) => v.compare(since(a), since(b)));
      if (rows.length) {
        return v.cell(rows.at(-1)[column], shape.columns[column]);
      }
    }
    return null;
  }

  // The rows of all keys that match a value by prefix, suffix or network, the longest first.
  matching(file, { kind, keyName }, value) {
    const rows = this.rows[file];
    refuseIf(!rows || rows.listed.length !== rows.size, `the file lacks rows of ${file}`);
    const matches = rows.listed.map(({ text: group }) => [lengthOfMatch(kind, JSON.parse(group)[0][keyName], value), group]);
    return matches.filter(([length]) => length >= 0).sort(([a], [b]) => b - a).map(([, group]) => group);
  }

  // ---- rules, score and policy

  rulesOf(tree) {
    const [id, on, by] = ["id", "on", "by"].map((name) => get(tree, name));
    if (!get(tree, "table") && !get(tree, "bands")) {
      return [this.rule(id, on, by, get(tree, "when"), [], tree)];
    }
    const lines = (block) => block.split("\n").filter((line) => line.trim()).map((line) => line.split(BAR).map((each) => each.trim()));
    const card = get(tree, "scorecard");
    const points = card && lines(card).slice(1).map(([count, when]) => `(${count} when (${when}) else 0)`).join(" + ");
    const [head, ...body] = lines(get(tree, card ? "bands" : "table"));
    const above = [];
    return body.map((cells, number) => {
      const conditions = head.flatMap((column, index) => {
        const operand = card && column === "points" ? points : column;
        const parts = cells[index].split(AND).filter((part) => part && part !== "-");
        const isCondition = !PARTS_OF_RULES.includes(column);
        return isCondition ? parts.map((part) => `(${operand}) ${/^([<>=!]|(in|not|is)\b)/.test(part) ? part : `== ${part}`}`) : [];
      });
      const name = cells[head.indexOf("row")] || String(number + 1);
      const own = head.map((column, index) => [column, cells[index]]).filter(([, written]) => written);
      const when = conditions.join(" and ") || "true";
      const rule = this.rule(`${id}.${name}`, on, by, when, [...above], [...own, ...tree]);
      above.push(when);
      return rule;
    });
  }

  rule(id, on, by, when, above, keys) {
    const expires = get(keys, "expires");
    const expiresMs = expires ? v.time(`${expires}T00:00:00Z`) + v.DAY_MS : null;
    const isDrawn = (get(keys, "rollout") ?? "100%") !== "100%";
    return { id, on, by, when, above, expiresMs, isDrawn, effect: get(keys, "effect"), isShadow: get(keys, "shadow") === "true" };
  }

  isHit(rule, event) {
    const scope = { this: [rule.on], entity: rule.by, rule: rule.id, item: null };
    const isTrue = (written) => compile(written, this, scope).run({ event, item: null }) === true;
    const isOver = rule.expiresMs !== null && event.timeMs >= rule.expiresMs;
    return !isOver && isTrue(rule.when) && !rule.above.some(isTrue) && !this.isSilent(rule, event);
  }

  isSilent({ id, by }, event) {
    const names = [id, id.replace(/_try[0-9]*$/, "")].filter((name) => `lists/silence.${name}.csv` in this.rows);
    const key = this.key(by, event);
    const isText = key?.length === 1 && typeof key[0] === "string";
    return isText && names.some((name) => this.isListed(`silence.${name}`, key[0], event.timeMs));
  }

  score(event) {
    return this.model ? this.once(`score ${event.seq}`, () => this.model.score(event)) : null;
  }

  // Decide an event. Draws need the project's seeds and unmasked keys: they are taken from the sealed decision.
  decide(event, sealed) {
    this.model = sealed.versions.model ? modelOf(this, sealed.versions.model, event.type) : null;
    const policy = get(this.policies, event.type);
    const experiment = get(policy, "experiment");
    const trial = experiment && get(experiment, "name");
    const isB = Boolean(trial) && sealed.rules.includes(trial);
    const hits = this.rules.filter((rule) => rule.on === event.type && this.isHit(rule, event));
    const isEffective = (rule) => {
      const acts = get(experiment && get(experiment, "rules"), rule.id);
      if (acts !== undefined) {
        return isB === (acts === "true");
      }
      return !rule.isShadow && (!rule.isDrawn || sealed.rules.includes(rule.id));
    };
    const effective = hits.filter(isEffective);
    const ids = (rules, more) => [...rules.map((rule) => rule.id), ...more].sort();
    const score = this.score(event);
    const scores = (isB && get(experiment, "score")) || get(policy, "score");
    const effects = effective.map((rule) => rule.effect);
    const outcome = outcomeOf(effects, score, scores, get(policy, "without_model"));
    return {
      features: this.featuresOf(event),
      outcome: afterDraw(outcome, effects, sealed.exploration, policy),
      rules: ids(effective, isB ? [trial] : []),
      score,
      shadow_rules: ids(hits.filter((rule) => !isEffective(rule)), trial && !isB ? [trial] : []),
    };
  }

  featuresOf(event) {
    const own = Object.values(this.features).filter(({ entity }) => event.type in this.entities[entity]);
    const names = own.map(({ name }) => name).sort(v.compare);
    return Object.fromEntries(
      names.map((name) => [name, v.json(this.valueOf({ name }, event), this.feature(name).type, this.moneyPlaces)]),
    );
  }
}

const currencyOf = (money) => (Array.isArray(money) ? get(money, "currency") : money);
const PLACES = Object.fromEntries([
  ..."BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(" ").map((code) => [code, 0]),
  ..."BHD IQD JOD KWD LYD OMR TND".split(" ").map((code) => [code, 3]),
  ..."CLF UYW".split(" ").map((code) => [code, 4]),
]);

function lengthOfMatch(kind, key, value) {
  if (kind === "prefix") {
    const [low, high] = key.split("-");
    const isRange = high !== undefined && /^\d+$/.test(low + high);
    const start = value.slice(0, low.length);
    const isIn = isRange ? /^\d+$/.test(start) && low <= start && start <= high && start.length === low.length : value.startsWith(key);
    return isIn ? low.length : -1;
  }
  if (kind === "suffix") {
    return `.${value}`.toLowerCase().endsWith(`.${key}`.toLowerCase()) ? key.length : -1;
  }
  const plain = (written) => {
    const found = address(written);
    return found?.bits === 128 && found.value >> 32n === 65535n ? { bits: 32, value: found.value & 0xffffffffn, cut: 96 } : found;
  };
  const [start, length] = key.split("/");
  const [network, one] = [plain(start), plain(value)];
  const bits = length === undefined ? network?.bits : Number(length) - (network?.cut ?? 0);
  const rest = BigInt((network?.bits ?? 0) - bits);
  return one && network?.bits === one.bits && network.value >> rest === one.value >> rest ? bits : -1;
}

function outcomeOf(effects, score, scores, withoutModel) {
  if (effects.includes("decline")) {
    return "decline";
  }
  if (effects.includes("allow")) {
    return "approve";
  }
  const reaches = (name) => score !== null && get(scores, name) !== undefined && score >= Number(get(scores, name));
  if (reaches("decline_at")) {
    return "decline";
  }
  const isUnscored = scores && score === null && withoutModel === "review";
  if (isUnscored || reaches("review_at") || effects.includes("review")) {
    return "review";
  }
  return effects.includes("challenge") ? "challenge" : "approve";
}

function afterDraw(outcome, effects, draw, policy) {
  if (!draw) {
    return outcome;
  }
  if (draw.would_be !== outcome || !(get(policy, "explore") || get(policy, "sample"))) {
    throw new Refusal(`the draw says that the outcome would be ${draw.would_be}, and it would be ${outcome}`);
  }
  if (!draw.explored || outcome !== "decline") {
    return outcome;
  }
  const least = get(get(policy, "explore"), "instead") ?? "approve";
  const ruled = effects.includes("allow") ? [] : effects;
  return OUTCOMES[Math.max(OUTCOMES.indexOf(least), ...ruled.map((effect) => OUTCOMES.indexOf(effect)))];
}
