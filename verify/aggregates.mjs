// The values of the aggregates of docs/reference/aggregates.md: over present values in the order (time, place).

import * as v from "./values.mjs";

const summable = (values) => values.filter((value) => v.absolute(value) <= v.UNITS_MAX);
const storable = (values) => values.filter((value) => typeof value !== "bigint" || v.fits64(value));
const total = (values) => values.reduce((sum, value) => sum + value, 0n);
const ordered = (values) => [...storable(values)].sort(v.compare);

function sum(values) {
  const found = total(summable(values));
  return v.fits64(found) ? found : null;
}

function mean(values, { scale }) {
  const found = sum(values);
  const count = BigInt(summable(values).length);
  return found === null || !count ? null : Number(found) / Number(count * scale);
}

function std(values, { scale }) {
  const kept = summable(values);
  const count = BigInt(kept.length);
  if (count < 2n) {
    return null;
  }
  const squares = total(kept.map((value) => value * value));
  const over = count * squares - total(kept) ** 2n;
  return Math.sqrt(Number(over) / Number(count * (count - 1n) * scale ** 2n));
}

function quantile(values, { rank: [over, under] }) {
  const sorted = ordered(values);
  const at = Number((over * BigInt(sorted.length) + under - 1n) / under);
  return sorted[Math.max(at, 1) - 1] ?? null;
}

function median(values, { scale }) {
  const sorted = ordered(values);
  const count = sorted.length;
  if (!count) {
    return null;
  }
  const twice = sorted[Math.floor((count + 1) / 2) - 1] + sorted[Math.floor(count / 2)];
  return v.finite(Number(twice) / Number(2n * scale));
}

function mode(values) {
  const kept = storable(values);
  const counts = new Map();
  kept.forEach((value) => counts.set(value, (counts.get(value) ?? 0) + 1));
  const most = Math.max(0, ...counts.values());
  return kept.findLast((value) => counts.get(value) === most) ?? null;
}

export const AGGREGATE_VALUES = {
  count: (values) => BigInt(values.length),
  sum,
  mean,
  std,
  min: (values) => ordered(values)[0] ?? null,
  max: (values) => ordered(values).at(-1) ?? null,
  distinct: (values) => BigInt(new Set(storable(values)).size),
  first: (values) => storable(values)[0] ?? null,
  last: (values) => storable(values).at(-1) ?? null,
  quantile,
  median,
  mode,
  nth_last: (values, { rank: [n] }) => storable(values).at(-Number(n)) ?? null,
  share: (values, { events }) => (events ? values.length / events : null),
};
