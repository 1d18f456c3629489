// A count or sum of earlier events in the form of a rule: its parts, read from its text and written back.

import { create } from "./connection.js";
import { button, keepForm } from "./rule_table.js";

const FUNCTIONS = {
  count: "number of",
  sum: "sum of",
  mean: "mean of",
  max: "largest",
  min: "smallest",
  distinct: "number of different",
  first: "first",
  last: "last",
  mode: "most frequent",
  median: "median of",
  std: "standard deviation of",
};
const NUMERIC = ["integer", "number", "money", "duration"];
const SUMS = ["sum", "mean", "std"];
const SIGNS = /^(?:==|!=|<=|>=|<|>|not in\b|in\b|is not missing\b|is missing\b)/;

/** Where a text has a word outside of brackets and quotes: each such place. */
function places(text, isWord) {
  const found = [];
  let depth = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    isQuoted = sign === "'" ? !isQuoted : isQuoted;
    depth += isQuoted ? 0 : Number("([".includes(sign)) - Number(")]".includes(sign));
    if (!isQuoted && depth === 0 && sign !== "'" && isWord(text.slice(at), text[at - 1] ?? " ")) {
      found.push(at);
    }
  }
  return found;
}

const word = (name) => (rest, before) => /[\s)\]']/.test(before) && new RegExp(`^${name}\\b`).test(rest);

function split(text, name) {
  const cuts = places(text, word(name));
  const ends = [...cuts, text.length];
  return [0, ...cuts.map((at) => at + name.length)].map((start, number) => text.slice(start, ends[number]).trim());
}

/** A restriction as operand, comparison and value; null where it is more than that. */
function restriction(text) {
  if (places(text, word("or")).length || /^not\s/.test(text)) {
    return null;
  }
  const at = places(text, (rest, before) => SIGNS.test(rest) && (/\s/.test(before) || /^[=!<>]/.test(rest)))[0];
  if (at === undefined) {
    return /^[\w.]+$/.test(text) ? { operand: text, comparison: "is true", value: "" } : null;
  }
  const comparison = SIGNS.exec(text.slice(at))[0];
  return { operand: text.slice(0, at).trim(), comparison, value: text.slice(at + comparison.length).trim() };
}

/** The parts of an aggregate: function, of, where, within, isIncluding; null where it has others. */
export function countOf(operand) {
  const found = /^\s*(\w+)\(/.exec(operand);
  if (!found || !(found[1] in FUNCTIONS)) {
    return null;
  }
  const start = found[0].length;
  const close = closing(operand, start);
  const rest = /^\s*(?:over\s+((?:\d+(?:ms|[smhdw]))+))?\s*(including this)?\s*$/.exec(operand.slice(close + 1));
  const [of, ...wheres] = split(operand.slice(start, close), "where");
  if (close < 0 || !rest || wheres.length > 1 || !/^[\w.]+$/.test(of)) {
    return null;
  }
  const where = wheres.length ? split(wheres[0], "and").map(restriction) : [];
  return where.includes(null) ? null : { name: found[1], of, where, within: rest[1] ?? "", isIncluding: Boolean(rest[2]) };
}

function closing(text, start) {
  let depth = 1;
  let isQuoted = false;
  for (let at = start; at < text.length; at += 1) {
    isQuoted = text[at] === "'" ? !isQuoted : isQuoted;
    depth += isQuoted ? 0 : Number(text[at] === "(") - Number(text[at] === ")");
    if (depth === 0) {
      return at;
    }
  }
  return -1;
}

/** The text of an aggregate's parts. */
function textOf({ name, of, where, within, isIncluding }) {
  const said = (row) => (row.comparison === "is true" ? row.operand : row.comparison === "is false" ? `${row.operand} == false` : `${row.operand} ${row.comparison} ${row.value}`.trim());
  const kept = where.filter((row) => row.operand && row.comparison);
  return `${name}(${of}${kept.length ? ` where ${kept.map(said).join(" and ")}` : ""})${within ? ` over ${within}` : ""}${isIncluding ? " including this" : ""}`;
}

/** The type of an aggregate's value. */
export function typeOfCount(count, typeOf) {
  return ["count", "distinct"].includes(count.name) ? "integer" : ["mean", "std", "median"].includes(count.name) ? "real" : typeOf(count.of);
}

/**
 * The parts as inputs.
 *
 * Args:
 *   events: The event types; fields: their fields, by name and type.
 *   restrict: Draws one restriction, from its row and what takes a changed one.
 *   onChange: Takes the new text; with a second value the parts are to be drawn anew.
 */
export function countParts(count, { events, fields, typeOf, restrict, onChange, by }) {
  const labelled = (words, input) => create("label", "field", create("span", "small second", words), input);
  const told = (isOther = false) => onChange(textOf(count), isOther);
  const choice = (options, value, take) => {
    const made = create("select", "text", ...options.map(([name, words]) => new Option(words, name)));
    if (!options.some(([name]) => name === value)) {
      made.append(new Option(value, value));
    }
    made.value = value;
    made.addEventListener("change", () => take(made.value));
    return made;
  };
  const event = count.of.split(".")[0];
  const mine = fields.filter((one) => !SUMS.includes(count.name) || NUMERIC.includes(typeOf(one.name)));
  const ofs = count.name === "count" ? events.map((name) => [name, `${name.replaceAll("_", " ")}s`]) : mine.map((one) => [one.name, one.name]);
  const what = choice(Object.entries(FUNCTIONS), count.name, (name) => {
    const field = fields.find((one) => one.name.startsWith(`${event}.`) && (!SUMS.includes(name) || NUMERIC.includes(typeOf(one.name))));
    count.of = name === "count" ? event : count.of.includes(".") && !SUMS.includes(name) ? count.of : (field?.name ?? count.of);
    count.name = name;
    told(true);
  });
  const of = choice(ofs, count.of, (name) => {
    count.where = count.where.filter((row) => row.operand.startsWith(`${name.split(".")[0]}.`));
    count.of = name;
    told(true);
  });
  const within = create("input", {
    className: "text",
    value: count.within,
    placeholder: "since the log began",
    oninput: () => {
      count.within = within.value.trim().replace(/\s+/g, "");
      told();
    },
  });
  keepForm(within);
  const including = create("input", {
    type: "checkbox",
    checked: count.isIncluding,
    onchange: () => {
      count.isIncluding = including.checked;
      told();
    },
  });
  const add = button("Add a restriction", null, () => {
    count.where.push({ operand: `${event}.`, comparison: "", value: "", isNew: true });
    told(true);
  });
  const rows = count.where.map((row, at) =>
    restrict(
      row,
      (changed) => {
        count.where[at] = changed;
        told();
      },
      () => {
        count.where.splice(at, 1);
        told(true);
      },
      at,
    ),
  );
  return create(
    "div",
    "rule-count",
    create("div", "rule-count-parts", labelled("The", what), labelled("of", of), labelled("within", within), create("label", "rule-count-this small", including, " and the event itself")),
    create("p", "small second", `of the same ${by}${rows.length ? ", each with" : ""}`),
    ...rows,
    create("p", {}, add),
  );
}
