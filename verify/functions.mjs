// The functions of docs/reference/functions.md: for the types of the arguments, the type of the result and its value.
// A function gets present values; null is a missing result.

import { refuseIf } from "./tree.mjs";
import * as v from "./values.mjs";

const { BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME } = v;
const LENGTH_MAX = 65_536;
const COMPARED_MAX = 4_096;

// The type to which values of these types are converted together.
export function commonType(types) {
  const present = types.filter((each) => each.kind !== "missing");
  const kinds = new Set(present.map((each) => each.kind));
  const places = Math.max(...types.map((each) => each.places));
  if (kinds.size <= 1) {
    return present.length ? v.type(present[0].kind, places) : types[0];
  }
  if (present.every(v.isText)) {
    return TEXT;
  }
  if (kinds.has("real")) {
    return REAL;
  }
  return v.type("number", places);
}

export function convert(value, from, to) {
  if (value === null || from.kind === "missing") {
    return null;
  }
  if (to.kind === "real") {
    return from.kind === "real" ? value : v.toReal(value, from.places);
  }
  return v.isExact(to) && to.places !== from.places ? v.wide(value * v.power10(to.places - from.places)) : value;
}

const fixed = (takes, type, run) => () => ({ takes, type, run });
const reals = (count, run, type = REAL) => fixed(Array(count).fill(REAL), type, run);
const letters = (text) => Array.from(text);
const cut = (text, start, end) => letters(text).slice(start, end).join("");
const atLeast0 = (value) => Number(value < 0n ? 0n : value);

function extreme(isLess) {
  return (types) => {
    const type = commonType(types);
    const run = (...values) => values.reduce((best, value) => (isLess(value, best) ? value : best));
    return { takes: types.map(() => type), type, run };
  };
}

function round(types, literals) {
  const places = Number(literals[1]);
  const [of] = types;
  if (of.kind === "real") {
    return { takes: types, type: REAL, run: (value) => v.roundReal(value, places) };
  }
  const type = of.kind === "integer" || of.places <= places ? of : v.type(of.kind, places);
  return { takes: types, type, run: (value) => v.rescaled(value, of.places, type.places) };
}

function floor(types) {
  const [of] = types;
  const ofReal = (value) => v.wide(v.floorDivide(...v.fraction(value)));
  const run = of.kind === "real" ? ofReal : (value) => v.floorDivide(value, v.power10(of.places));
  return { takes: types, type: INTEGER, run };
}

function integer(types) {
  const [of] = types;
  const whole = (units, places) => (units % v.power10(places) ? null : inside(units / v.power10(places)));
  const inside = (value) => (v.fits64(value) ? value : null);
  return { takes: types, type: INTEGER, run: (value) => exactly(value, of, whole) };
}

// Read a text, a real by its shortest digits, or an exact value as units and places.
function exactly(value, of, make) {
  if (v.isExact(of)) {
    return make(value, of.places);
  }
  const read = v.decimal(of.kind === "real" ? String(value) : value);
  return read && make(...read);
}

function exact(kind) {
  return (types, literals, moneyPlaces) => {
    const [of] = types;
    const type = kind === "money" ? v.type("money", moneyPlaces) : v.type("number", 6);
    const bounded = (units) => (v.isExact(of) || v.absolute(units) <= v.UNITS_MAX ? v.wide(units) : null);
    const make = (units, places) => {
      const isTooFine = kind === "money" && v.isText(of) && places > type.places;
      return isTooFine && units % v.power10(places - type.places) ? null : bounded(v.rescaled(units, places, type.places));
    };
    return { takes: types, type, run: (value) => exactly(value, of, make) };
  };
}

function join(types) {
  const run = (...parts) => limited(parts.join(""));
  return { takes: types, type: TEXT, run };
}

const limited = (text) => (letters(text).length > LENGTH_MAX ? null : text);

function part(text, separator, n) {
  const parts = separator ? text.split(separator) : [text];
  return parts[Number(n) - 1] ?? null;
}

function replace(text, old, to) {
  return limited(old ? text.replaceAll(old, () => to) : [...letters(text).map((each) => to + each), to].join(""));
}

function domain(text) {
  const at = text.lastIndexOf("@");
  return at >= 0 && at + 1 < text.length ? text.slice(at + 1).toLowerCase() : null;
}

// The 4 or 16 bytes of an address as an integer, and how many bits; null for another text.
export function address(text) {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four) {
    const parts = four.slice(1);
    const isGood = parts.every((each) => Number(each) < 256 && String(Number(each)) === each);
    return isGood ? { bits: 32, value: parts.reduce((total, each) => total * 256n + BigInt(each), 0n) } : null;
  }
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const inner = tail && address(tail[2]);
  if (tail && !inner) {
    return null;
  }
  const whole = tail ? `${tail[1]}${(inner.value >> 16n).toString(16)}:${(inner.value & 65535n).toString(16)}` : text;
  const halves = whole.split("::");
  const groups = halves.map((half) => (half ? half.split(":") : []));
  const count = groups.flat().length;
  const isWhole = halves.length === 1 ? count === 8 : halves.length === 2 && count < 8;
  if (!isWhole || !groups.flat().every((each) => /^[0-9a-fA-F]{1,4}$/.test(each))) {
    return null;
  }
  const filled = [...groups[0], ...Array(8 - count).fill("0"), ...(groups[1] ?? [])];
  return { bits: 128, value: filled.reduce((total, each) => (total << 16n) + BigInt(`0x${each}`), 0n) };
}

function subnet(text, bitsTaken) {
  const found = address(text);
  const bits = Number(bitsTaken);
  if (!found || bits < 0 || bits > found.bits) {
    return null;
  }
  const rest = BigInt(found.bits - bits);
  const value = (found.value >> rest) << rest;
  if (found.bits === 32) {
    return `${[24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".")}/${bits}`;
  }
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 65535n).toString(16));
  const plain = groups.join(":");
  const [longest] = [...plain.matchAll(/\b0(?::0)+\b/g)].sort((one, other) => other[0].length - one[0].length);
  const short = longest && `${plain.slice(0, longest.index)}:${plain.slice(longest.index + longest[0].length)}`;
  return `${(short ?? plain).replace(":::", "::").replace(/^:$/, "::")}/${bits}`;
}

// The offset of a zone's clock at an instant; null for a name that is no zone.
const formats = new Map();
function local(ms, zone) {
  if (zone === "UTC") {
    return ms;
  }
  try {
    if (!formats.has(zone)) {
      const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" };
      const options = { timeZone: zone, hourCycle: "h23", second: "numeric", era: "short", ...parts };
      formats.set(zone, new Intl.DateTimeFormat("en-US", options));
    }
  } catch {
    return null;
  }
  const parts = formats.get(zone).formatToParts(new Date(Number(ms)));
  const of = (name) => Number(parts.find((each) => each.type === name).value);
  const shown = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"));
  return BigInt(shown) + v.modulo(ms, 1000n);
}

function timePart(of) {
  return (types, literals) => {
    const run = (ms, zone = "UTC") => {
      const at = local(ms, zone);
      return at === null ? null : of(at);
    };
    return { takes: types, type: INTEGER, run };
  };
}

const instant = (ms) => new Date(Number(ms));

function time(types, literals) {
  refuseIf(types.length > 1, "time by a format is not recomputed");
  return { takes: types, type: TIME, run: (text) => v.time(text.trim()) };
}

// Terms of Shannon's entropy need more digits than a float has only at a tie, which equal counts alone reach.
function entropy(text) {
  const counts = new Map();
  letters(text).forEach((letter) => counts.set(letter, (counts.get(letter) ?? 0) + 1));
  const total = letters(text).length;
  let bits = 0;
  counts.forEach((count) => {
    bits -= (count / total) * Math.log2(count / total);
  });
  return total ? BigInt(Math.round(bits * 1e6)) : 0n;
}

function matches(types, literals) {
  const signs = literals[1].match(/\\.|./gsu) ?? [];
  const meanings = { 9: "\\p{Nd}", A: "\\p{L}", "?": ".", "*": ".*" };
  const escaped = (sign) => sign.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  const source = signs.map((sign) => (sign[0] === "\\" ? escaped(sign.slice(1)) : (meanings[sign] ?? escaped(sign))));
  const pattern = new RegExp(`^${source.join("")}$`, "su");
  return { takes: types, type: BOOLEAN, run: (text) => pattern.test(text) };
}

const folded = (text) => letters(text.normalize("NFKC").toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ"));

function likeness(measure) {
  return fixed([TEXT, TEXT], REAL, (...texts) => {
    const all = [...texts.map(letters), ...texts.map(folded)];
    return all.some((each) => each.length > COMPARED_MAX) ? null : measure(...texts.map(folded));
  });
}

function levenshtein(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  a.forEach((letter, at) => {
    const next = [at + 1];
    b.forEach((other, index) => {
      next.push(Math.min(next[index] + 1, row[index + 1] + 1, row[index] + (letter === other ? 0 : 1)));
    });
    row = next;
  });
  const length = Math.max(a.length, b.length);
  return length ? 1 - row[b.length] / length : 1;
}

function jaro(a, b) {
  if (!a.length && !b.length) {
    return 1;
  }
  const reach = Math.max(Math.floor(Math.max(a.length, b.length) / 2) - 1, 0);
  const taken = b.map(() => false);
  const inA = a.filter((letter, at) => {
    const index = b.findIndex((other, other_at) => other === letter && !taken[other_at] && Math.abs(other_at - at) <= reach);
    taken[index] = true;
    return index >= 0;
  });
  const inB = b.filter((_, index) => taken[index]);
  const turned = Math.floor(inA.filter((letter, index) => letter !== inB[index]).length / 2);
  const same = inA.length;
  return same ? (same / a.length + same / b.length + (same - turned) / same) / 3 : 0;
}

function nameLikeness(...names) {
  const [a, b] = names.map((name) => {
    const words = name.join("").split(/\s+/u).filter(Boolean);
    return letters(words.sort(v.compare).join(" "));
  });
  const found = jaro(a, b);
  const differs = a.slice(0, 4).findIndex((letter, index) => letter !== b[index]);
  const same = differs < 0 ? Math.min(a.length, 4) : differs;
  return found > 0.7 ? found + same * 0.1 * (1 - found) : found;
}

function distance(lat1, lon1, lat2, lon2) {
  if (Math.max(Math.abs(lat1), Math.abs(lat2)) > 90 || Math.max(Math.abs(lon1), Math.abs(lon2)) > 180) {
    return null;
  }
  const vector = (lat, lon) => {
    const [up, around] = [(lat * Math.PI) / 180, (lon * Math.PI) / 180];
    return [Math.cos(up) * Math.cos(around), Math.cos(up) * Math.sin(around), Math.sin(up)];
  };
  const [one, other] = [vector(lat1, lon1), vector(lat2, lon2)];
  const near = Math.hypot(...one.map((part, index) => part - other[index]));
  const far = Math.hypot(...one.map((part, index) => part + other[index]));
  return BigInt(Math.round(6_371_008.8 * 2 * Math.atan2(near, far)));
}

const SPEED = (types) => ({
  takes: [REAL, DURATION],
  type: REAL,
  run: (meters, span) => v.finite((meters * 3600) / Math.max(Math.abs(Number(span)), 1000)),
});

export const FUNCTIONS = {
  abs: (types) => ({ takes: types, type: types[0], run: (x) => (typeof x === "number" ? Math.abs(x) : v.wide(v.absolute(x))) }),
  min: extreme((a, b) => a < b),
  max: extreme((a, b) => a > b),
  round,
  floor,
  sqrt: reals(1, (x) => (x >= 0 ? Math.sqrt(x) : null)),
  length: fixed([TEXT], INTEGER, (text) => BigInt(letters(text).length)),
  lower: fixed([TEXT], TEXT, (text) => text.toLowerCase()),
  upper: fixed([TEXT], TEXT, (text) => text.toUpperCase()),
  left: fixed([TEXT, INTEGER], TEXT, (text, n) => cut(text, 0, atLeast0(n))),
  right: fixed([TEXT, INTEGER], TEXT, (text, n) => (n > 0n ? cut(text, -Number(n)) : "")),
  middle: fixed([TEXT, INTEGER, INTEGER], TEXT, (text, from, n) => cut(text, atLeast0(from - 1n), atLeast0(from - 1n + n))),
  part: fixed([TEXT, TEXT, INTEGER], TEXT, part),
  join,
  text: (types, literals, places) => ({ takes: types, type: TEXT, run: (value) => v.show(value, types[0], places) }),
  starts_with: fixed([TEXT, TEXT], BOOLEAN, (text, start) => text.startsWith(start)),
  ends_with: fixed([TEXT, TEXT], BOOLEAN, (text, end) => text.endsWith(end)),
  contains: fixed([TEXT, TEXT], BOOLEAN, (text, inner) => text.includes(inner)),
  replace: fixed([TEXT, TEXT, TEXT], TEXT, replace),
  subnet: fixed([TEXT, INTEGER], TEXT, subnet),
  domain: fixed([TEXT], TEXT, domain),
  time,
  integer,
  number: exact("number"),
  money: exact("money"),
  hour: timePart((ms) => v.modulo(v.floorDivide(ms, 3_600_000n), 24n)),
  minute: timePart((ms) => v.modulo(v.floorDivide(ms, 60_000n), 60n)),
  weekday: timePart((ms) => v.modulo(v.floorDivide(ms, v.DAY_MS) + 3n, 7n)),
  day: timePart((ms) => v.floorDivide(ms, v.DAY_MS)),
  day_of_month: timePart((ms) => BigInt(instant(ms).getUTCDate())),
  month: timePart((ms) => BigInt((instant(ms).getUTCFullYear() - 1970) * 12 + instant(ms).getUTCMonth())),
  seconds: fixed([DURATION], REAL, (ms) => Number(ms) / 1000),
  trim: fixed([TEXT], TEXT, (text) => text.trim()),
  digits: fixed([TEXT], INTEGER, (text) => BigInt((text.match(/\p{Nd}/gu) ?? []).length)),
  entropy: fixed([TEXT], v.type("number", 6), entropy),
  matches,
  similarity: likeness(levenshtein),
  name_similarity: likeness(nameLikeness),
  distance: reals(4, distance, INTEGER),
  speed: SPEED,
  log: reals(1, (x) => (x > 0 ? v.finite(Math.log(x)) : null)),
  exp: reals(1, (x) => v.finite(Math.exp(x))),
  power: reals(2, (x, y) => (y ? v.finite(x ** y) : 1)),
  mod: fixed([INTEGER, INTEGER], INTEGER, (a, b) => (b ? v.modulo(a, b) : null)),
};
