// Tests in the form of a rule: a grid of events for each, with whether the rule hits them.

import { hideEmptyColumns } from "./page.js";
import { create } from "./connection.js";
import { button, keepForm } from "./rule_table.js";

const AT = "2026-01-05T10:00:00Z";

function field(value, ariaLabel, onInput) {
  const oninput = () => onInput(found.value);
  const found = create("input", { className: "text", value, spellcheck: false, ariaLabel, oninput });
  keepForm(found);
  return found;
}

function select(options, value, ariaLabel, onChange) {
  const made = options.map(([key, words]) => new Option(words, key, key === value, key === value));
  const onchange = () => onChange(found.value);
  const found = create("select", { className: "text", ariaLabel, onchange }, ...made);
  return found;
}

/** An hour after the last event of a test, so that a copy of it is not at the same time. */
function later(at) {
  const time = Date.parse(at);
  return Number.isNaN(time) ? at : new Date(time + 3_600_000).toISOString().replace(".000Z", "Z");
}

/** A new test: an event with what a test of the rule already has, or with the fields that its conditions read. */
export function newTest(tests, on, fields, isTable) {
  const known = tests.flatMap((test) => test.events).find((event) => event.type === on);
  const values = known ? { ...known.values } : { at: AT, ...Object.fromEntries(fields) };
  return { name: `test ${tests.length + 1}`, events: [{ type: on, values, hits: isTable ? "false" : "true" }] };
}

/**
 * Draw a test as inputs.
 *
 * Args:
 *   known: The event types, the fields of each, the type that the rule checks, and whether its hits are rows of a table.
 *   onChange: Called after a change; with `true` the test has other rows or columns, and is to be drawn anew.
 */
export function testGrid(test, number, known, isReadOnly, onChange, onRemove) {
  const name = field(test.name, `Name of test ${number}`, (value) => {
    test.name = value;
    onChange();
  });
  const acts = isReadOnly ? [] : [button("Remove test", `Remove test ${number}`, onRemove)];
  const head = create("div", "test-head", name, ...acts);
  if (!test.events.length) {
    const isWhole = create("p", "hint", "The events of this test are shown as text.");
    return create("div", "rule-test", head, isWhole);
  }
  const fields = [...new Set(test.events.flatMap((event) => Object.keys(event.values)))];
  const values = test.events[0].values;
  // Once for a test: no column goes while somebody types.
  test.shared ??= fields.filter((name) => test.events.length > 1 && test.events.every((event) => event.values[name] === values[name]));
  const columns = fields.filter((name) => !test.shared.includes(name));
  const shared = test.shared.map((name) => `${name} ${values[name]}`).join(", ");
  const above = create("p", "small second", shared && `In all events: ${shared}. Add a field to change it.`);
  const table = create("table", "table rule-rows of-form");
  const top = ["Event", "Hit", ...columns.map((column) => column.replaceAll("_", " ")), ""];
  const row = create("tr", {}, ...top.map((words) => create("th", {}, words || create("span", "unseen", "Actions"))));
  table.append(create("caption", "unseen", `Events of ${test.name}`), create("thead", {}, row));
  table.style.minWidth = `${columns.length * 110 + 330}px`;
  const time = row.children[columns.indexOf("at") + 2];
  time.style.width = columns.includes("at") ? "200px" : "";
  const again = () => onChange(true);
  const body = test.events.map((event, at) => {
    const label = (column) => `${column}, event ${at + 1} of test ${number}`;
    const types = known.types.map((type) => [type, type.replaceAll("_", " ")]);
    const type = select(types, event.type, label("Event"), (value) => {
      event.type = value;
      event.hits = value === known.on ? "false" : "";
      again();
    });
    const cells = columns.map((column) =>
      field(event.values[column] ?? "", label(column), (value) => {
        const rest = fields.map((other) => [other, other === column ? value : event.values[other]]);
        event.values = Object.fromEntries(rest.filter(([, text]) => text));
        onChange();
      }),
    );
    const take = (value) => {
      event.hits = value;
      onChange();
    };
    const hits = known.isTable
      ? field(event.hits, label("Row that hits, or false"), take)
      : select([["false", "no"], ["true", "yes"]], event.hits, label("Hit"), take);
    const remove = button("Remove", label("Remove"), () => {
      test.events.splice(at, 1);
      again();
    });
    const inside = [type, event.type === known.on ? hits : "", ...cells, isReadOnly || test.events.length < 2 ? "" : remove];
    return create("tr", {}, ...inside.map((part) => create("td", {}, part)));
  });
  table.append(create("tbody", {}, ...body));
  for (const input of isReadOnly ? [name, ...table.querySelectorAll("input, select")] : []) {
    input.disabled = true;
  }
  const addEvent = button("Add an event", `Add an event to test ${number}`, () => {
    const last = test.events.at(-1);
    const values = { ...last.values, ...(last.values.at ? { at: later(last.values.at) } : {}) };
    test.events.push({ type: last.type, values, hits: last.type === known.on ? "false" : "" });
    again();
  });
  const others = [...new Set(test.events.flatMap((event) => known.fields[event.type] ?? []))].filter((one) => !columns.includes(one));
  const offered = [["", "Add a field"], ...others.map((one) => [one, one.replaceAll("_", " ")])];
  const addField = select(offered, "", `Add a field to test ${number}`, (value) => {
    test.events.at(-1).values[value] ??= "";
    test.shared = test.shared.filter((name) => name !== value);
    again();
  });
  const below = create("p", "buttons", addEvent, ...(others.length ? [addField] : []));
  const drawn = create("div", "rule-test", head, above, create("div", "scroll", table), ...(isReadOnly ? [] : [below]));
  hideEmptyColumns(drawn);
  return drawn;
}
