// The form of a rule: rows of operand, comparison and value. The text of the editor stays the only source; the service
// turns one into the other.

import { create } from "./connection.js";
import { countOf, countParts, typeOfCount } from "./rule_counts.js";
import { button, grid, keepForm, option, tableOf, warn } from "./rule_table.js";
import { newTest, testGrid } from "./rule_tests.js";

const SHOWN_MAX = 40;
const NUMBERS = ["integer", "number", "money", "real", "duration", "time"];
const TEXTS = ["text", "choice"];
const ANY = [...NUMBERS, ...TEXTS, "boolean", ""];
// The comparison of the language, what the value is, how people say it, and the types that it is offered for.
const COMPARISONS = [
  [">", "", "is above", [...NUMBERS, ""]],
  [">=", "", "is at least", [...NUMBERS, ""]],
  ["<", "", "is below", [...NUMBERS, ""]],
  ["<=", "", "is at most", [...NUMBERS, ""]],
  ["==", "", "is", ANY],
  ["!=", "", "is not", ANY],
  ["in", "range", "is between", NUMBERS],
  ["not in", "range", "is not between", NUMBERS],
  ["in", "list", "is on the list", TEXTS],
  ["not in", "list", "is not on the list", TEXTS],
  ["in", "values", "is one of", [...TEXTS, "integer"]],
  ["not in", "values", "is none of", [...TEXTS, "integer"]],
  ["is true", "none", "is true", ["boolean"]],
  ["is false", "none", "is false", ["boolean"]],
  ["is missing", "none", "is missing", ANY],
  ["is not missing", "none", "is not missing", ANY],
];
// What a value may look like, where the operand has no example of its own.
const EXAMPLES = { money: "200", integer: "3", number: "1.5", real: "0.5", duration: "1h", text: "DE", choice: "web", time: "this.paid_at", "": "3, 'DE' or this.amount" };
const QUOTED = /^'(?:[^']|'')*'$/;
const SAID = { and: "all of", or: "any of" };
let made = 0;

function quoted(text) {
  return `'${text.replaceAll("'", "''")}'`;
}

function unquoted(text) {
  return QUOTED.test(text) ? text.slice(1, -1).replaceAll("''", "'") : text;
}

function kindOf(row) {
  if (!["in", "not in"].includes(row.comparison)) {
    return row.comparison.startsWith("is") ? "none" : "";
  }
  return row.value.startsWith("[") ? "values" : row.value.includes("..") ? "range" : "list";
}

/** A value as people read it: without quotes, brackets and dots. */
function shownValue(value, kind) {
  if (kind === "values") {
    const parts = value.slice(1, -1).match(/'(?:[^']|'')*'|[^,]+/g) ?? [];
    const texts = parts.map((part) => part.trim()).filter(Boolean);
    return texts.some((text) => unquoted(text).includes(",")) ? value : texts.map(unquoted).join(", ");
  }
  if (kind === "range") {
    return value.replace(/\s*\.\.\s*/, " to ");
  }
  if (/^-?[\d_]+(\.\d+)?$/.test(value)) {
    return value.replaceAll("_", "");
  }
  return kind === "list" ? value.replace(/^lists\./, "") : unquoted(value);
}

/** What people wrote, in the language: texts get their quotes, where they are no name or call. */
function writtenValue(shown, kind, type, isName) {
  const text = shown.trim();
  const one = (part) => (TEXTS.includes(type) && !isName(part) && !QUOTED.test(part) && part ? quoted(part) : part);
  if (kind === "values") {
    return text.startsWith("[") ? text : `[${(text.match(/\s*'(?:[^']|'')*'\s*(?=,|$)|[^,]+/g) ?? []).map((part) => one(part.trim())).filter(Boolean).join(", ")}]`;
  }
  if (kind === "range") {
    return text.replace(/\s+to\s+/, " .. ");
  }
  return kind === "list" ? `lists.${text}` : kind === "none" ? "" : one(text.replace(/^(-?\d{1,3}(?:,\d{3})+)(?=$|\.)/, (digits) => digits.replaceAll(",", "_")));
}

/** An input with names that fit below it, as one types: the arrows choose, Enter takes. */
function picker(input, proposals, onTaken) {
  const id = `fits-form-${(made += 1)}`;
  // a list that scrolls would be a stop of Tab, and vanish there
  const list = create("ul", { className: "completion", id, hidden: true, tabIndex: -1, role: "listbox", ariaLabel: "Suggestions" });
  Object.assign(input, { role: "combobox", ariaAutoComplete: "list", ariaExpanded: "false", autocomplete: "off" });
  input.setAttribute("aria-controls", id);
  let fitting = [];
  let chosen = -1;

  function hide() {
    list.hidden = true;
    input.ariaExpanded = "false";
    input.removeAttribute("aria-activedescendant");
  }

  function mark() {
    [...list.children].forEach((row, number) => row.setAttribute("aria-selected", String(number === chosen)));
    if (chosen >= 0) {
      list.children[chosen].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", list.children[chosen].id);
    }
  }

  function take(number) {
    input.value = fitting[number].name;
    hide();
    onTaken();
  }

  async function propose(isAll) {
    const words = isAll ? [] : input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = await proposals();
    const text = (one) => `${one.name} ${one.says}`.toLowerCase();
    const near = (one) => 2 * one.name.startsWith(words[0] ?? "") + one.name.startsWith("this.");
    fitting = all.filter((one) => words.every((word) => text(one).includes(word)));
    fitting = fitting.sort((one, other) => near(other) - near(one)).slice(0, SHOWN_MAX);
    if (!fitting.length || document.activeElement !== input) {
      hide();
      return;
    }
    chosen = isAll ? -1 : 0;
    list.replaceChildren(
      ...fitting.map((one, number) => {
        const example = one.example ? `, such as ${one.example}` : "";
        return option(one, one.says + example, `${list.id}-${number}`, () => take(number));
      }),
    );
    list.hidden = false;
    input.ariaExpanded = "true";
    mark();
  }

  input.addEventListener("focus", () => propose(true));
  input.addEventListener("input", () => propose(false));
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) {
        propose(true);
        return;
      }
      const step = event.key === "ArrowDown" ? 1 : fitting.length - 1;
      chosen = chosen < 0 && event.key === "ArrowUp" ? fitting.length - 1 : (chosen + step) % fitting.length;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault(); // it takes a name, and never sends the form
      if (!list.hidden && chosen >= 0) {
        take(chosen);
      }
    } else if (event.key === "Escape" && !list.hidden) {
      event.stopPropagation();
      hide();
    }
  });
  return list;
}

/**
 * The form on a page of the editor.
 *
 * Args:
 *   root: Its element; the keys of the rule stand in it, the conditions are made here.
 *   known: Gives the names that a rule can use.
 *   onChange: Called when a person changes the form.
 */
export function ruleForm(root, known, onChange) {
  const conditions = root.querySelector("[data-conditions]");
  const joined = root.querySelector("[data-joined]");
  const keys = [...root.querySelectorAll("[data-rule-key]")];
  const isReadOnly = root.hasAttribute("data-read-only");
  const grids = [...root.querySelectorAll("[data-grid]")];
  const tests = root.querySelector("[data-test-rows]");
  let names = [];
  let form = { keys: {}, joined: "and", groups: [] };
  let isChanged = false;

  const typeOf = (name) => {
    const found = names.find((one) => one.name === name);
    const count = found ? null : countOf(name);
    const type = count ? typeOfCount(count, typeOf) : (found?.type ?? "").replace(/[?(\s].*/, "");
    return ANY.includes(type) ? type : "";
  };
  const isName = (text) => names.some((one) => one.name === text) || /^[a-z_]+\(.*\)$/.test(text);
  const operands = () => names.filter((one) => one.isOperand);

  function changed() {
    isChanged = true;
    onChange();
  }

  function redraw(focus) {
    draw();
    changed();
    conditions.querySelectorAll("[data-row]")[focus]?.querySelector("input, select, textarea")?.focus();
  }

  function rowNumber(groupAt, at) {
    return form.groups.slice(0, groupAt).reduce((sum, rows) => sum + rows.length, 0) + at;
  }

  function rowOf(row, groupAt, at) {
    const rows = form.groups[groupAt];
    const number = rowNumber(groupAt, at);
    const found = create("div", { className: "condition", role: "group", ariaLabel: `Condition ${number + 1}` });
    found.dataset.row = "";
    const operand = create("input", {
      className: "text mono",
      value: row.operand,
      ariaLabel: "Field, feature or text",
      placeholder: "Search a field or feature",
    });
    const hint = create("p", "hint");
    const set = (values) => {
      rows[at] = { ...rows[at], ...values };
      changed();
    };
    const remove = button("Remove", `Remove condition ${number + 1}`, () => {
      rows.splice(at, 1);
      form.groups = form.groups.filter((others) => others.length);
      redraw(Math.max(0, number - 1));
    });
    const other = form.joined === "and" ? "or" : "and";
    const more = button(`${other} …`, `Add with ‘${other}’ behind condition ${number + 1}`, () => {
      rows.splice(at + 1, 0, { operand: "", comparison: "", value: "", isNew: true });
      redraw(number + 1);
    });
    const acts = create("span", "buttons", ...(isReadOnly ? [] : [more, remove]));
    const count = row.comparison || row.isNew ? countOf(row.operand) : null;
    if (count) {
      const [choose, comparison, value] = parts(row, operand, hint, set);
      const drawn = (focus) => {
        const inputs = (place) => [...place.querySelectorAll("select, input, button")];
        const old = found.querySelector(".rule-count");
        const at = old && focus ? inputs(old).indexOf(document.activeElement) : -1;
        const made = countParts(count, {
          events: [...new Set(countedFields().map((one) => one.name.split(".")[0]))],
          fields: countedFields(),
          typeOf,
          by: (form.keys.by ?? "").replaceAll("_", " "),
          restrict: (one, take, remove, number) => restrictionOf(one, take, remove, number, count),
          onChange: (text, isOther) => {
            operand.value = text;
            operand.dispatchEvent(new Event("input"));
            if (isOther) {
              drawn(true);
            }
          },
        });
        old ? old.replaceWith(made) : found.prepend(made);
        inputs(made)[at]?.focus();
        for (const input of isReadOnly ? made.querySelectorAll("input, select, button") : []) {
          input.disabled = true;
        }
      };
      choose.hidden = true;
      found.classList.add("of-count");
      found.append(choose, create("span", "small second", "hits when this"), comparison, value, acts, hint);
      drawn(false);
    } else if (row.operand && !row.comparison && !row.isNew) {
      operand.addEventListener("input", () => set({ operand: operand.value }));
      keepForm(operand);
      hint.append("This condition is shown as text.");
      found.classList.add("as-text");
      found.append(operand, acts, hint);
    } else {
      found.append(...parts(row, operand, hint, set), acts, hint);
    }
    for (const input of found.querySelectorAll("input, select")) {
      input.disabled = isReadOnly;
    }
    return found;
  }

  /** The fields of the events that a rule can count. */
  function countedFields() {
    return names.filter((one) => one.says.startsWith("of each "));
  }

  /** A restriction of what is counted: a row of its own, over the fields of the counted event. */
  function restrictionOf(row, take, remove, number, count) {
    const ariaLabel = `Restriction ${number + 1}: field`;
    const operand = create("input", { className: "text mono", value: row.operand, ariaLabel });
    const hint = create("p", { className: "hint", hidden: true }); // the counted event stands above
    let now = row;
    const set = (values) => {
      now = { ...now, ...values };
      take(now);
    };
    const event = `${count.of.split(".")[0]}.`;
    const drawn = parts(row, operand, hint, set, () => names.filter((one) => one.name.startsWith(event)));
    drawn[1].ariaLabel = `Restriction ${number + 1}: comparison`;
    drawn[2].querySelector("input").ariaLabel = `Restriction ${number + 1}: value`;
    const end = button("Remove", `Remove restriction ${number + 1}`, remove);
    return create("div", "condition", ...drawn, create("span", "buttons", end), hint);
  }

  /** The parts of a row that has a comparison: each is drawn anew by what stands left of it. */
  function parts(row, operand, hint, set, offers = operands) {
    const comparison = create("select", { className: "text", ariaLabel: "Comparison" });
    let kind = kindOf(row);
    const value = create("input", { className: "text", ariaLabel: "Value", value: shownValue(row.value, kind) });

    function offered() {
      const type = typeOf(operand.value.trim());
      const fits = COMPARISONS.filter(
        ([sign, of, , types]) => types.includes(type) || (!type && operand.value.trim()) || (sign === row.comparison && of === kind),
      );
      comparison.replaceChildren(
        ...fits.map(([sign, of, words]) => {
          const option = new Option(words, `${sign}|${of}`);
          option.selected = sign === row.comparison && of === kind;
          return option;
        }),
      );
      told();
    }

    function told() {
      const found = names.find((one) => one.name === operand.value.trim());
      const example = found?.example ? `, such as ${found.example}` : "";
      hint.textContent = found ? `${found.says}: ${found.type}${example}` : "";
      value.hidden = kind === "none";
      value.placeholder = { range: "1 to 5", values: "DE, AT", list: "Name of the list" }[kind] ?? found?.example ?? EXAMPLES[typeOf(operand.value.trim())] ?? "";
    }

    function write() {
      const [sign, of] = comparison.value.split("|");
      kind = of;
      told();
      set({ operand: operand.value, comparison: sign, value: writtenValue(value.value, of, typeOf(operand.value.trim()), isName), isNew: false });
    }

    function pickedOperand() {
      const type = typeOf(operand.value.trim());
      const fits = COMPARISONS.find(([sign, of, , types]) => `${sign}|${of}` === comparison.value && types.includes(type));
      row = { ...row, comparison: comparison.value.split("|")[0] };
      if (!fits) {
        [row.comparison, kind] = COMPARISONS.find(([, , , types]) => types.includes(type));
      }
      offered();
      write();
    }

    operand.addEventListener("input", pickedOperand);
    comparison.addEventListener("change", () => {
      [row.comparison, kind] = comparison.value.split("|");
      write();
    });
    value.addEventListener("input", write);
    const fitting = picker(operand, async () => offers(), pickedOperand);
    const values = picker(
      value,
      async () => {
        const found = names.find((one) => one.name === operand.value.trim());
        const type = typeOf(operand.value.trim());
        if (kind === "list") {
          return names.filter((one) => one.type === "list").map((one) => ({ ...one, name: one.name.replace("lists.", "") }));
        }
        const choices = /^choice\((.*?)(?:, \.\.\.)?\)/.exec(found?.type ?? "")?.[1].split(", ") ?? [];
        const same = kind || !value.value.trim() ? [] : operands().filter((one) => one.name !== operand.value && typeOf(one.name) === type);
        return [...choices.map((name) => ({ name, type: "value", says: "" })), ...same];
      },
      write,
    );
    offered();
    return [create("div", "choose", operand, fitting), comparison, create("div", "choose", value, values)];
  }

  /** Tables and points in place of conditions, where the rule has them. */
  function drawGrids() {
    for (const place of grids) {
      const block = form.keys[place.dataset.grid];
      place.replaceChildren();
      if (block) {
        const change = (text, isOther) => {
          form.keys[place.dataset.grid] = text;
          if (isOther) {
            drawGrids();
          }
          changed();
        };
        place.append(grid(place.dataset.grid, block, isReadOnly, change));
      }
      place.hidden = !block;
    }
    const isTable = grids.some((place) => !place.hidden);
    root.querySelector("[data-grids]").hidden = !isTable;
    for (const place of root.querySelectorAll("[data-no-grid]")) {
      place.hidden = isTable;
    }
  }

  /** Tests, unless they stand in brackets or another way that only the text shows. */
  function drawTests(focus) {
    root.querySelector("[data-form-tests]").hidden = !form.tests;
    const isTable = grids.some((place) => form.keys[place.dataset.grid]);
    const fields = countedFields().map((one) => one.name.split("."));
    const types = [...new Set(fields.map(([type]) => type))];
    const known = { types, on: form.keys.on, isTable, fields: Object.fromEntries(types.map((type) => [type, fields.filter(([of]) => of === type).map(([, name]) => name)])) };
    const inputs = () => [...tests.querySelectorAll("input, select, button")];
    const at = inputs().indexOf(document.activeElement);
    tests.replaceChildren(
      ...(form.tests ?? []).map((test, number) =>
        testGrid(
          test,
          number + 1,
          known,
          isReadOnly,
          (isOther) => {
            if (isOther) {
              drawTests();
            }
            changed();
          },
          () => {
            form.tests.splice(number, 1);
            drawTests();
            changed();
          },
        ),
      ),
    );
    (focus === undefined ? inputs()[at] : tests.children[focus]?.querySelector("input"))?.focus();
  }

  function draw() {
    joined.value = form.joined;
    drawGrids();
    drawTests();
    const other = form.joined === "and" ? "or" : "and";
    conditions.replaceChildren(
      ...form.groups.map((rows, at) => {
        const found = create("div", rows.length > 1 ? "grouped" : "", ...rows.map((row, place) => rowOf(row, at, place)));
        if (rows.length > 1) {
          found.prepend(create("p", "small second", `${SAID[other]} these`));
        }
        return found;
      }),
    );
  }

  for (const key of keys) {
    key.addEventListener("input", () => {
      form.keys[key.dataset.ruleKey] = key.value;
      changed();
    });
    keepForm(key);
  }
  joined.addEventListener("change", () => {
    form.joined = joined.value;
    redraw(-1);
    joined.focus();
  });
  root.querySelector("[data-add]")?.addEventListener("click", () => {
    form.groups.push([{ operand: "", comparison: "", value: "", isNew: true }]);
    redraw(rowNumber(form.groups.length - 1, 0));
  });

  root.querySelector("[data-add-count]")?.addEventListener("click", () => {
    const event = form.keys.on || "payment";
    form.groups.push([{ operand: `count(${event}) over 1d including this`, comparison: ">", value: "3" }]);
    redraw(rowNumber(form.groups.length - 1, 0));
  });
  root.querySelector("[data-to-table]")?.addEventListener("click", () => {
    const table = tableOf(form);
    if (!table) {
      root.querySelector("[data-form-says]").textContent = "Only comparisons that are joined by ‘all of these hold’ become a row.";
      return;
    }
    form = { ...form, keys: { ...form.keys, table, effect: "" }, joined: "and", groups: [] };
    redraw(-1);
    root.querySelector("[data-grid='table'] tbody input")?.focus();
  });

  root.querySelector("[data-add-test]")?.addEventListener("click", () => {
    const isTable = grids.some((place) => form.keys[place.dataset.grid]);
    const rows = form.groups.flat().filter((row) => row.operand.startsWith("this.") && row.value);
    const read = rows.map((row) => [row.operand.slice(5), shownValue(row.value, kindOf(row))]);
    form.tests = [...(form.tests ?? []), newTest(form.tests ?? [], form.keys.on, read, isTable)];
    drawTests(form.tests.length - 1);
    changed();
  });

  return {
    /** Mark the rows of a table that a check warned of. */
    warn: (warnings) => warn(root, warnings),
    /** The form, where a person has changed it since it was shown or taken. */
    pending() {
      const groups = form.groups.map((rows) => rows.map(({ operand, comparison, value }) => ({ operand, comparison, value })));
      const found = isChanged ? { ...form, groups } : null;
      isChanged = false;
      return found;
    },
    isPending: () => isChanged,
    /** The form if it has changes that the text lacks, else null. */
    content: () => (isChanged ? form : null),
    /** What was pending could not be written: it still is. */
    again(pending) {
      isChanged ||= Boolean(pending);
    },
    /** Show the form of a text, unless a person works on it. */
    async show(found) {
      names = await known();
      if (isChanged || !found) {
        return;
      }
      form = structuredClone(found);
      for (const key of keys) {
        const value = form.keys[key.dataset.ruleKey] ?? "";
        if (key.matches("select") && ![...key.options].some((option) => option.value === value)) {
          key.append(new Option(value, value));
        }
        key.value = value;
      }
      draw();
    },
  };
}
