// Gives parsed expressions types and makes functions of them. A context is { event, item }: the event that is decided,
// and inside an aggregate the aggregated one. Reference: docs/reference/language.md.

import { commonType, convert, FUNCTIONS } from "./functions.mjs";
import { parse } from "./parser.mjs";
import { Refusal, refuseIf } from "./tree.mjs";
import * as v from "./values.mjs";

const { BOOLEAN, DURATION, INTEGER, MISSING, REAL, TEXT, TIME } = v;
const RANKED = ["quantile", "nth_last"];
const OF_EVENTS = ["count", "share"];
const AGGREGATES = [...OF_EVENTS, ...RANKED, ..."sum mean std min max distinct first last median mode".split(" ")];
const RESULTS = { count: INTEGER, distinct: INTEGER, mean: REAL, std: REAL, median: REAL, share: REAL };
const EXACT = { "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b };
const NOTHING = { fields: [], events: [], features: [], readsThis: false, readsItem: false };

// What several expressions read together.
function joined(nodes) {
  return {
    fields: nodes.flatMap((node) => node.reads.fields),
    events: nodes.flatMap((node) => node.reads.events),
    features: nodes.flatMap((node) => node.reads.features),
    readsThis: nodes.some((node) => node.reads.readsThis),
    readsItem: nodes.some((node) => node.reads.readsItem),
  };
}

const made = (type, run, ...parts) => ({ type, run, reads: parts.length ? joined(parts) : NOTHING });

function comparableType(types) {
  const present = types.filter((each) => each.kind !== "missing");
  const places = Math.max(...types.map((each) => each.places));
  return present.length && present.every(v.isExact) ? v.type("number", places) : commonType(types);
}

const converted = (node, to) => made(to, (context) => convert(node.run(context), node.type, to), node);

// Apply to present values alone.
function applied(type, run, ...nodes) {
  const evaluate = (context) => {
    const values = [];
    const isPresent = nodes.every((node) => values.push(node.run(context)) && values.at(-1) !== null);
    return isPresent ? run(...values) : null;
  };
  return made(type, evaluate, ...nodes);
}

class Compiler {
  // scope: this (event types), entity, rule (its id), item (the aggregated event type).
  constructor(project, scope) {
    this.project = project;
    this.scope = scope;
  }

  inside(item) {
    return new Compiler(this.project, { ...this.scope, item });
  }

  node(tree) {
    switch (tree.op) {
      case "number": {
        const value = tree.units;
        return made(tree.isWhole ? INTEGER : v.type("number", tree.places), () => value);
      }
      case "text":
        return made(TEXT, () => tree.text);
      case "duration":
        return made(DURATION, () => tree.ms);
      case "constant": {
        const value = tree.word === "missing" ? null : tree.word === "true";
        return made(value === null ? MISSING : BOOLEAN, () => value);
      }
      case "name":
        return this.name(tree.parts);
      case "feature of":
        return this.feature(tree.name, "item");
      case "look up":
        return this.lookUp(tree);
      case "not":
        return applied(BOOLEAN, (value) => !value, this.node(tree.operand));
      case "is missing": {
        const operand = this.node(tree.operand);
        return made(BOOLEAN, (context) => operand.run(context) === null, operand);
      }
      case "in list":
        return this.inList(tree);
      case "in values":
        return this.inValues(tree);
      case "negative": {
        const operand = this.node(tree.operand);
        return applied(operand.type, (value) => (typeof value === "number" ? 0 - value : v.wide(-value)), operand);
      }
      case "call":
        return AGGREGATES.includes(tree.name) && !(tree.name in FUNCTIONS && tree.arguments.length > 1)
          ? this.aggregate(tree)
          : this.call(tree);
      default:
        return this.binary(tree.op, tree.sign, this.node(tree.left), this.node(tree.right));
    }
  }

  name([first, ...rest]) {
    const name = rest.join(".");
    const { scope } = this;
    if (first === "score" && !rest.length) {
      return made(REAL, ({ event }) => this.project.score(event));
    }
    if (first === "this") {
      return this.field(name, scope.this.filter((each) => this.project.fieldType(each, name)), null);
    }
    if (scope.item === first) {
      const type = this.project.fieldType(first, name);
      const run = ({ item }) => this.project.field(item, name);
      return { type, run, reads: { ...NOTHING, readsItem: true } };
    }
    return this.project.types[first] ? this.field(name, [first], first) : this.feature(`${first}.${name}`, "event");
  }

  field(name, types, only) {
    refuseIf(!types.length, `no event has a field ${name}`);
    const run = ({ event }) => (only && event.type !== only ? null : this.project.field(event, name));
    const reads = { ...NOTHING, fields: [name], events: only && !this.scope.item ? [only] : [], readsThis: true };
    return { type: this.project.fieldType(types[0], name), run, reads };
  }

  feature(name, at) {
    const feature = this.project.feature(name);
    const isItem = at === "item";
    const run = (context) => this.project.valueOf(feature, context[at]);
    return { type: feature.type, run, reads: { ...NOTHING, features: [name], readsItem: isItem, readsThis: !isItem } };
  }

  // The event at whose time a list or table is asked.
  eventOf({ event, item }, operand) {
    return item && !(operand.reads.readsThis && !operand.reads.readsItem) ? item : event;
  }

  // Inside an aggregate a look-up that does not read `this` depends on the aggregated event's time.
  asked(type, run, operand) {
    const found = made(type, run, operand);
    found.reads = { ...found.reads, readsItem: found.reads.readsItem || !found.reads.readsThis };
    return found;
  }

  lookUp({ table, column, key }) {
    const shape = this.project.tables[table];
    const operand = this.node(key);
    const run = (context) => {
      const value = convert(operand.run(context), operand.type, shape.key);
      return value === null ? null : this.project.cell(table, column, value, this.eventOf(context, operand).timeMs);
    };
    return this.asked(shape.columns[column], run, operand);
  }

  inList({ list, operand: tree }) {
    const operand = this.node(tree);
    const run = (context) => {
      const value = operand.run(context);
      return value === null ? null : this.project.isListed(list, value, this.eventOf(context, operand).timeMs);
    };
    return this.asked(BOOLEAN, run, operand);
  }

  inValues(tree) {
    const nodes = [tree.operand, ...tree.values].map((each) => this.node(each));
    const type = comparableType(nodes.map((node) => node.type));
    const [operand, ...values] = nodes.map((node) => converted(node, type));
    const run = (context) => {
      const value = operand.run(context);
      const found = values.map((each) => each.run(context));
      if (value === null || found.includes(value)) {
        return value === null ? null : true;
      }
      return found.includes(null) ? null : false;
    };
    return made(BOOLEAN, run, operand, ...values);
  }

  binary(op, sign, left, right) {
    switch (op) {
      case "and":
      case "or": {
        const decisive = op === "or";
        const run = (context) => {
          const first = left.run(context);
          const second = first === decisive ? decisive : right.run(context);
          if (second === decisive) {
            return decisive;
          }
          return first === null || second === null ? null : !decisive;
        };
        return made(BOOLEAN, run, left, right);
      }
      case "else": {
        const type = commonType([left.type, right.type]);
        const [first, second] = [converted(left, type), converted(right, type)];
        return made(type, (context) => first.run(context) ?? second.run(context), left, right);
      }
      case "when":
        return made(left.type, (context) => (right.run(context) ? left.run(context) : null), left, right);
      case "compare":
        return this.compare(sign, left, right);
      default:
        return this.arithmetic(op, left, right);
    }
  }

  compare(sign, left, right) {
    const type = comparableType([left.type, right.type]);
    const tests = {
      "==": (order) => order === 0,
      "!=": (order) => order !== 0,
      "<": (order) => order < 0,
      "<=": (order) => order <= 0,
      ">": (order) => order > 0,
      ">=": (order) => order >= 0,
    };
    const run = (a, b) => tests[sign](v.compare(a, b));
    return applied(BOOLEAN, run, converted(left, type), converted(right, type));
  }

  arithmetic(op, left, right) {
    const kinds = [left.type.kind, right.type.kind];
    if (kinds.includes("missing")) {
      return made(MISSING, () => null, left, right);
    }
    const isReal = kinds.includes("real");
    if (op === "/") {
      const places = Math.max(left.type.places, right.type.places);
      const type = isReal ? REAL : v.type("number", places);
      const sides = kinds[0] === "duration" ? [left, right] : [converted(left, type), converted(right, type)];
      return applied(REAL, (a, b) => (Number(b) ? v.finite(Number(a) / Number(b)) : null), ...sides);
    }
    const type = this.resultType(op, left.type, right.type, isReal);
    const isAligned = isReal || (op !== "*" && v.isExact(type));
    const sides = isAligned ? [converted(left, type), converted(right, type)] : [left, right];
    const bounded = isReal ? v.finite : v.wide;
    return applied(type, (a, b) => bounded(EXACT[op](a, b)), ...sides);
  }

  resultType(op, a, b, isReal) {
    const kinds = [a.kind, b.kind];
    if (kinds.includes("time")) {
      return kinds[0] === kinds[1] ? DURATION : TIME;
    }
    if (kinds.includes("duration")) {
      return DURATION;
    }
    if (isReal) {
      return REAL;
    }
    const kind = ["money", "number"].find((each) => kinds.includes(each)) ?? "integer";
    return op === "*" ? v.type(kind, a.places + b.places) : commonType([a, b]);
  }

  call(tree) {
    if (tree.name === "original") {
      const { parts } = tree.arguments[0];
      return this.name([...parts, "original"]);
    }
    const define = FUNCTIONS[tree.name];
    refuseIf(!define, `there is no function ${tree.name}`);
    const nodes = tree.arguments.map((each) => this.node(each));
    const literals = tree.arguments.map((each) => each.text ?? each.units);
    const { takes, type, run } = define(nodes.map((node) => node.type), literals, this.project.moneyPlaces);
    return applied(type, run, ...nodes.map((node, at) => (v.isText(node.type) ? node : converted(node, takes[at] ?? node.type))));
  }

  aggregate(tree) {
    const isOfEvents = OF_EVENTS.includes(tree.name);
    const [first, second] = tree.arguments;
    const event = isOfEvents ? first.parts[0] : this.eventRead(first);
    const inner = this.inside(event);
    const argument = isOfEvents ? null : inner.node(first);
    const condition = tree.where ? inner.node(tree.where) : null;
    const via = tree.via && this.link(tree);
    const rank = RANKED.includes(tree.name) ? [second.units, v.power10(second.places)] : null;
    const type = RESULTS[tree.name] ?? argument.type;
    const query = { name: tree.name, event, argument, condition, via, rank, ...tree.modifiers, ...this.scope };
    const parts = [argument, condition].filter(Boolean);
    const reads = { ...joined(parts), events: [], readsItem: false, readsThis: true };
    return { type, run: (context) => this.project.aggregate(query, context.event), reads };
  }

  link(tree) {
    const event = this.eventRead(tree.via);
    return { event, operand: this.inside(event).node(tree.via), upTo: tree.upTo };
  }

  // The event type over whose fields an argument is.
  eventRead(tree) {
    if (tree.op === "name") {
      return this.project.types[tree.parts[0]] || tree.parts[0] === "label" ? tree.parts[0] : null;
    }
    if (tree.op === "feature of") {
      return tree.event;
    }
    const parts = [tree.left, tree.right, tree.operand, tree.key, ...(tree.values ?? []), ...(tree.arguments ?? [])];
    return parts.filter(Boolean).map((part) => this.eventRead(part)).find(Boolean) ?? null;
  }
}

export function compile(text, project, scope) {
  try {
    return new Compiler(project, scope).node(parse(text));
  } catch (error) {
    throw error instanceof Refusal ? new Refusal(`${error.message}, in: ${text}`) : error;
  }
}
