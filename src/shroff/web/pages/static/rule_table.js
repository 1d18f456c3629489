// A decision table or scorecard in the form of a rule: a grid of inputs over the text of the table.

import { create } from "./connection.js";

const BAR = /\|(?=(?:[^']*'[^']*')*[^']*$)/;
const NAMES = { table: "Decision table", scorecard: "Points", bands: "Bands" };
const KEYS = ["effect", "reason", "row", "notify", "shadow", "expires", "rollout"];

/** The cells of a table's lines; a comment is a line of one text that stays. */
function cellsOf(block) {
  return block
    .split("\n")
    .filter((line) => line.trim())
    .map((line) => (line.trim().startsWith("#") ? line.trim() : line.split(BAR).map((cell) => cell.trim())));
}

/** The text of a table: its bars stand below each other. */
function blockOf(lines) {
  const rows = lines.filter(Array.isArray);
  const widths = rows[0].map((_, at) => Math.max(...rows.map((row) => (row[at] ?? "").length)));
  const told = (row) => row.map((cell, at) => (at < row.length - 1 ? cell.padEnd(widths[at]) : cell)).join(" | ").trimEnd();
  return lines.map((line) => (Array.isArray(line) ? told(line) : line)).join("\n");
}

/** Enter in an input sends no form. */
export function keepForm(input) {
  input.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
}

/** A name that completes what is typed, for a list of such names; a press takes it. */
export function option(one, says, id, onTaken) {
  const onmousedown = (event) => {
    event.preventDefault();
    onTaken();
  };
  const parts = [create("span", "mono", one.name), create("span", "of-type", one.type), create("span", {}, says)];
  return create("li", { id, role: "option", onmousedown }, ...parts);
}

export function button(words, ariaLabel, onclick) {
  return create("button", { type: "button", className: "linklike small", ariaLabel, onclick }, words);
}

/**
 * Draw a table as inputs.
 *
 * Args:
 *   name: The key of the rule: table, scorecard or bands.
 *   onChange: Takes the new text; with a second value the table has other rows or columns, and is to be drawn anew.
 */
export function grid(name, block, isReadOnly, onChange) {
  const lines = cellsOf(block);
  const rows = lines.filter(Array.isArray);
  const [head, ...body] = rows;
  const nameAt = head.indexOf("row");
  const rowName = (row, number) => row[nameAt] || String(number + 1);
  const table = create("table", "table rule-rows of-form");
  const words = (at, number) => (number < 0 ? `Column ${at + 1}` : `${head[at] || `Column ${at + 1}`}, row ${number + 1}`);
  const input = (row, at, number) => {
    const found = create("input", {
      className: "text mono",
      value: row[at] ?? "",
      disabled: isReadOnly,
      spellcheck: false,
      ariaLabel: words(at, number),
      placeholder: number >= 0 && !KEYS.includes(head[at]) ? "any" : "",
      oninput: () => {
        row[at] = found.value.replaceAll("\n", " ");
        onChange(blockOf(lines));
      },
    });
    keepForm(found);
    return found;
  };
  const again = () => onChange(blockOf(lines), true);
  const top = create("tr", {}, ...head.map((_, at) => create("th", {}, input(head, at, -1))));
  top.append(create("th", {}, create("span", "unseen", "Actions")));
  table.style.minWidth = `${head.length * 130 + 70}px`;
  table.append(create("caption", "unseen", NAMES[name]), create("thead", {}, top));
  const drawn = body.flatMap((row, number) => {
    const remove = button("Remove", `Remove row ${number + 1}`, () => {
      lines.splice(lines.indexOf(row), 1);
      again();
    });
    const cells = head.map((_, at) => create("td", {}, input(row, at, number)));
    const warning = create("td", "small warn");
    warning.colSpan = head.length + 1;
    const said = create("tr", "said", warning);
    said.hidden = true;
    said.dataset.row = rowName(row, number);
    return [create("tr", {}, ...cells, create("td", "one-line", ...(isReadOnly || body.length < 2 ? [] : [remove]))), said];
  });
  table.append(create("tbody", {}, ...drawn));
  const addRow = button("Add a row", `Add a row to ${NAMES[name].toLowerCase()}`, () => {
    lines.push(head.map(() => ""));
    again();
  });
  const addColumn = button("Add a column", "Add a column of conditions", () => {
    const at = Math.max(0, head.findIndex((cell) => KEYS.includes(cell)));
    rows.forEach((row) => row.splice(at, 0, row === head ? "this." : ""));
    again();
  });
  const acts = create("p", "buttons", addRow, ...(name === "table" ? [addColumn] : []));
  return create("div", "stack", create("div", "scroll", table), ...(isReadOnly ? [] : [acts]));
}

/** Mark the rows that a check warned of. */
export function warn(root, warnings) {
  for (const row of root.querySelectorAll(".rule-rows .said")) {
    const mine = warnings.map((one) => one.message).filter((said) => said.startsWith(`row ${row.dataset.row} of `));
    row.hidden = !mine.length;
    row.firstChild.textContent = mine.join(" ");
  }
}

/** A rule's conditions as the first row of a table; null where they are more than comparisons joined by `and`. */
export function tableOf(form) {
  const rows = form.groups.flat();
  const isPlain = form.joined === "and" && form.groups.every((group) => group.length === 1);
  if (!isPlain || !rows.length || rows.some((row) => !row.operand || !row.comparison)) {
    return null;
  }
  const cell = (row) => (row.comparison.startsWith("is ") && row.comparison !== "is missing" && row.comparison !== "is not missing" ? row.comparison.slice(3) : `${row.comparison} ${row.value}`.trim());
  return blockOf([
    [...rows.map((row) => row.operand), "effect"],
    [...rows.map(cell), form.keys.effect || "review"],
  ]);
}
