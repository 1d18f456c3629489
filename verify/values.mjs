// Values of the language: exact ones are BigInt in smallest units, times and durations BigInt milliseconds, reals
// numbers; a missing value is null. Reference: docs/reference/language.md and decision.md.

import { refuseIf } from "./tree.mjs";

export const UNITS_MAX = 10n ** 15n;
const WIDE_MAX = 2n ** 127n - 1n;
const UNIT_MS = { ms: 1n, s: 1000n, m: 60_000n, h: 3_600_000n, d: 86_400_000n, w: 604_800_000n };

export const DAY_MS = UNIT_MS.d;
export const type = (kind, places = 0) => ({ kind, places });
export const TEXT = type("text");
export const INTEGER = type("integer");
export const REAL = type("real");
export const BOOLEAN = type("boolean");
export const TIME = type("time");
export const DURATION = type("duration");
export const MISSING = type("missing");

export const isExact = (of) => ["integer", "number", "money"].includes(of.kind);
export const isText = (of) => ["text", "choice"].includes(of.kind);
export const isNumeric = (of) => isExact(of) || of.kind === "real";

export const power10 = (places) => 10n ** BigInt(places);
export const wide = (value) => (value !== null && value <= WIDE_MAX && value >= -WIDE_MAX - 1n ? value : null);
export const fits64 = (value) => value >= -(2n ** 63n) && value < 2n ** 63n;
export const finite = (value) => (Number.isFinite(value) ? value + 0 : null);
export const absolute = (value) => (value < 0n ? -value : value);

// The float nearest to an exact value in whole units.
export const toReal = (units, places) => Number(`${units}e-${places}`) + 0;

export function floorDivide(dividend, divisor) {
  const quotient = dividend / divisor;
  return dividend % divisor !== 0n && dividend < 0n !== divisor < 0n ? quotient - 1n : quotient;
}

export const modulo = (dividend, divisor) => dividend - floorDivide(dividend, divisor) * divisor;

// Divide by a positive integer; ties go to the even neighbour.
export function divideHalfEven(dividend, divisor) {
  const whole = floorDivide(dividend, divisor);
  const twice = 2n * (dividend - whole * divisor);
  const isUp = twice > divisor || (twice === divisor && modulo(whole, 2n) === 1n);
  return isUp ? whole + 1n : whole;
}

export function rescaled(units, places, wanted) {
  return places <= wanted ? units * power10(wanted - places) : divideHalfEven(units, power10(places - wanted));
}

// A float as a fraction of integers, exactly.
export function fraction(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 2047n);
  const digits = (bits & (2n ** 52n - 1n)) | (exponent ? 2n ** 52n : 0n);
  const shift = (exponent || 1) - 1075;
  const signed = bits >> 63n ? -digits : digits;
  return shift >= 0 ? [signed << BigInt(shift), 1n] : [signed, 1n << BigInt(-shift)];
}

export function roundReal(value, places) {
  const [over, under] = fraction(value);
  return toReal(divideHalfEven(over * power10(places), under), places);
}

// Digits and places of a decimal text, or null.
export function decimal(text) {
  const match = /^([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?$/.exec(text.trim());
  if (!match || !(match[2] || match[3])) {
    return null;
  }
  const exponent = Number(match[4] ?? 0);
  const digits = match[2] + (match[3] ?? "");
  if (digits.length + Math.abs(exponent) > 400) {
    return null;
  }
  const units = BigInt((match[1] === "-" ? "-" : "") + digits);
  const places = (match[3] ?? "").length - exponent;
  return places < 0 ? [units * power10(-places), 0] : [units, places];
}

export function duration(text) {
  const parts = text.match(/[0-9]+(?:ms|[smhdw])/g) ?? [];
  refuseIf(!parts.length || parts.join("") !== text, `${text} is not a duration`);
  return parts.reduce((total, part) => total + BigInt(parseInt(part, 10)) * UNIT_MS[part.replace(/[0-9]+/, "")], 0n);
}

// RFC 3339, or epoch milliseconds; without an offset, and a day alone, only in files, where they are UTC.
export function time(text, isOfFile = false) {
  const day = isOfFile && /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text;
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)?$/.exec(day);
  if (!match || (!match[5] && !isOfFile)) {
    return /^-?[0-9]{1,15}$/.test(text) ? BigInt(text) : null;
  }
  const [, date, clock, second, fractionDigits = "", zone = "Z"] = match;
  const base = Date.parse(`${date}T${clock}${second === "60" ? "59" : second}Z`);
  if (Number.isNaN(base) || new Date(base).toISOString().slice(0, 10) !== date) {
    return null;
  }
  const [, sign, hours, minutes] = /^([+-])(\d\d):?(\d\d)$/.exec(zone) ?? [null, "+", "0", "0"];
  const offset = (sign === "-" ? -1 : 1) * (60 * Number(hours) + Number(minutes)) * 60_000;
  return BigInt(base - offset + (second === "60" ? 1000 : 0) + Number(fractionDigits.slice(0, 3).padEnd(3, "0")));
}

export function showTime(ms) {
  const number = Number(ms);
  const instant = new Date(number);
  if (Number.isNaN(instant.getTime()) || instant.getUTCFullYear() < 1 || instant.getUTCFullYear() > 9999) {
    return `${ms} ms`;
  }
  return instant.toISOString().replace(".000Z", "Z");
}

export function showDecimal(units, places) {
  const digits = absolute(units).toString().padStart(places + 1, "0");
  const cut = digits.length - places;
  return `${units < 0n ? "-" : ""}${digits.slice(0, cut)}${places ? `.${digits.slice(cut)}` : ""}`;
}

export function showNumber(units, places) {
  const text = showDecimal(units, places);
  return places ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
}

export function showDuration(ms) {
  if (ms < 0n) {
    return `-${showDuration(-ms)}`;
  }
  let rest = ms;
  let text = "";
  for (const unit of ["d", "h", "m", "s", "ms"]) {
    const amount = rest / UNIT_MS[unit];
    rest %= UNIT_MS[unit];
    text += amount ? `${amount}${unit}` : "";
  }
  return text || "0ms";
}

// A real as `text` writes it: the fewest digits, with a point or an exponent.
function showReal(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e16) {
    return `${value}.0`;
  }
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e16) {
    return String(value);
  }
  const [digits, exponent] = value.toExponential().split("e");
  return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
}

const ways = (of, found, usual) => found[of.kind] ?? usual;
const plain = (value) => value;

// A value as a sentence and the function `text` show it.
export function show(value, of, moneyPlaces) {
  const money = () => showDecimal(rescaled(value, of.places, moneyPlaces), moneyPlaces);
  const number = () => showNumber(value, of.places);
  return ways(of, { money, number, time: showTime, duration: showDuration, real: showReal }, String)(value);
}

// A value as the JSON of a decision.
export function json(value, of, moneyPlaces) {
  const shown = () => show(value, of, moneyPlaces);
  const integer = () => (absolute(value) <= 2n ** 53n ? Number(value) : String(value));
  const seconds = () => Number(value) / 1000 + 0;
  const found = { integer, money: shown, number: shown, time: shown, duration: seconds };
  return value === null ? null : ways(of, found, plain)(value);
}

const exactly = (of) => (text) => rescaled(...decimal(text), of.places);

// A value of an event's body.
export function stored(value, of) {
  const instant = (text) => time(text.endsWith(" ms") ? text.slice(0, -3) : text);
  const span = (seconds) => BigInt(Math.round(seconds * 1000));
  const found = { integer: BigInt, money: exactly(of), number: exactly(of), time: instant, duration: span };
  return (value ?? null) === null ? null : ways(of, found, plain)(value);
}

// A cell of a table.
export function cell(text, of) {
  const real = () => Number(text) + 0;
  const exact = { integer: exactly(of), money: exactly(of), number: exactly(of) };
  const found = { ...exact, real, boolean: () => text === "true", time: () => time(text, true), duration };
  return (text ?? "") === "" ? null : ways(of, found, plain)(text);
}

const codePoints = (text) => Array.from(text, (letter) => letter.codePointAt(0));

function compareTexts(a, b) {
  const [left, right] = [codePoints(a), codePoints(b)];
  const at = left.findIndex((point, index) => point !== right[index]);
  if (at < 0) {
    return left.length - right.length;
  }
  return at < right.length ? left[at] - right[at] : 1;
}

export function compare(a, b) {
  if (typeof a === "string") {
    return compareTexts(a, b);
  }
  return a < b ? -1 : Number(a > b);
}
