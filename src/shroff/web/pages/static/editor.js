// The editor: lines and colours behind the text, mistakes at their place as one types, names that fit.

import { create } from "./connection.js";
import { send } from "./page.js";
import { ruleForm } from "./rule_form.js";
import { option } from "./rule_table.js";

const CHECK_AFTER_MS = 350;
const BUSY_MS = 2_000; // after which a busy service is asked again
const SHOWN_MAX = 30;
const GLYPHS = { done: "genuine", stop: "warn", now: "clock", todo: "note" };
const NAME = /[A-Za-z0-9_.]+$/;
const VIEW = "shroff.rule-view";

const form = document.querySelector("[data-editor]");
const area = form.querySelector("textarea");
const shown = form.querySelector("[data-shown]");
const box = form.querySelector(".edit");
const list = form.querySelector("[data-completion]");
const state = form.querySelector("[data-state]");
const place = form.querySelector("[data-place]");
const hitCount = document.querySelector("[data-counted]");
const kept = area.value;
const keptState = state?.textContent;

let mistakes = [];
let names = null;
let proposals = [];
let chosen = 0;
let timer = 0;
let isChecking = false;
let isAskedAgain = false;
let isWriting = false; // what the form has is on its way into the text
let isSaveWanted = false; // once it is there
let isCounting = false;
const formView = form.querySelector("[data-form]");
const textView = form.querySelector("[data-text]");
const fields = ruleForm(formView, known, typed);

// long lines go on below, so the text is as high as what stands behind it, and two lines more
new ResizeObserver(() => (area.style.minHeight = `${shown.offsetHeight + 44}px`)).observe(shown);

// ---- what stands behind the text

/** The pieces of one line, with the colours of what they are. */
function coloured(line) {
  const pieces = [];
  const remark = line.search(/(^|\s)#/);
  const body = remark < 0 ? line : line.slice(0, remark);
  const pattern = /(\b\d{4}-\d\d-\d\dT[\d:.]+Z?)|("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(\b[a-z_]+:)(?=\s|$)|(\b\d[\d_.]*(?:[smhdw]|ms)?\b)/g;
  let at = 0;
  for (const found of body.matchAll(pattern)) {
    pieces.push([body.slice(at, found.index), ""]);
    pieces.push([found[0], found[2] ? "quoted" : found[3] ? "key" : "figure"]);
    at = found.index + found[0].length;
  }
  pieces.push([body.slice(at), ""], [line.slice(body.length), "remark"]);
  return pieces.filter(([text]) => text);
}

/** The nodes of a line, of which one stretch is wrong. */
function nodes(line, wrong) {
  const made = [];
  let at = 0;
  for (const [text, kind] of coloured(line)) {
    const cuts = wrong ? [wrong.column - 1 - at, wrong.column - 1 + wrong.length - at] : [text.length, text.length];
    const [from, to] = cuts.map((cut) => Math.max(0, Math.min(text.length, cut)));
    for (const [part, isWrong] of [[text.slice(0, from), false], [text.slice(from, to), true], [text.slice(to), false]]) {
      if (part) {
        const inner = isWrong ? create("mark", {}, part) : part;
        made.push(kind ? create("span", kind, inner) : inner);
      }
    }
    at += text.length;
  }
  return made;
}

function draw() {
  const wrong = new Map(mistakes.map((one) => [one.line, one]));
  shown.replaceChildren(
    ...area.value.split("\n").map((line, number) => {
      const one = wrong.get(number + 1);
      return create("span", one ? "row wrong" : "row", ...nodes(line, one));
    }),
  );
  follow();
}

function follow() {
  shown.style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`;
}

function grow() {
  area.rows = Math.max(14, area.value.split("\n").length + 2);
}

// ---- what is wrong with it

function offsetOf(one) {
  const lines = area.value.split("\n").slice(0, one.line - 1);
  return lines.reduce((sum, line) => sum + line.length + 1, 0) + one.column - 1;
}

function goTo(one) {
  view("text");
  area.focus();
  const at = offsetOf(one);
  area.setSelectionRange(at, at + one.length);
}

/** Put a text in the place of another, so that undoing takes it back. */
function put(start, end, text) {
  area.focus();
  area.setSelectionRange(start, end);
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, start, end, "end");
    typed();
  }
}

function mend(one) {
  put(offsetOf(one), offsetOf(one) + one.length, one.instead);
}

function linkTo(one, words) {
  const look = { type: "button", className: "linklike", onclick: () => goTo(one) };
  return create("span", {}, create("button", look, `Line ${one.line}, column ${one.column}:`), " ", words);
}

function mistakeRow(one, className) {
  const row = create("li", className, linkTo(one, `${one.message} ${one.hint}`));
  if (one.instead) {
    const look = { type: "button", className: "button", onclick: () => mend(one) };
    row.append(create("button", look, `Use ${one.instead}`));
  }
  return row;
}

function testRow(one) {
  const name = create("div", {}, create("p", {}, one.name));
  if (one.problem) {
    name.append(create("p", "second", one.problem));
  }
  return create("li", {}, name, create("span", one.passed ? "good" : "bad", one.passed ? "passes" : "fails"));
}

function told(words) {
  return create("li", {}, create("span", "second", words));
}

function step(row, state, words) {
  const use = row.querySelector("use");
  row.className = `step-${state}`;
  row.querySelector("span").textContent = words;
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${GLYPHS[state]}`));
}

function say(found) {
  sayForm(found.form).then(() => fields.warn(found.warnings));
  countHits(found);
  mistakes = found.mistakes;
  const more = found.more.mistakes + found.more.warnings + found.more.elsewhere;
  form.querySelector("[data-mistakes]").replaceChildren(
    ...found.mistakes.map((one) => mistakeRow(one, "mistake")),
    ...found.warnings.map((one) => mistakeRow(one, "mistake warned")),
    ...found.elsewhere.map((words) => create("li", "mistake", create("span", {}, `Another file: ${words}`))),
    ...(more ? [create("li", "mistake", create("span", {}, `and ${more.toLocaleString("en")} more`))] : []),
  );
  document.querySelector("[data-says-back]").replaceChildren(
    found.says ?? create("span", "second", "Fix the errors first."),
  );
  const tests = found.tests.map(testRow);
  const none = found.mistakes.length ? "Tests run when the errors are fixed." : "No tests yet.";
  document.querySelector("[data-tests]").replaceChildren(...(tests.length ? tests : [told(none)]));
  document.querySelector("[data-tested]").textContent = found.tests.length + found.more.tests;
  const first = document.querySelector("[data-steps] li");
  const count = found.mistakes.length + found.elsewhere.length + found.more.mistakes + found.more.elsewhere;
  const isKept = area.value === kept && keptState === "Saved";
  const words = count ? `Draft, ${count} mistake${count === 1 ? "" : "s"}` : "Draft";
  step(first, count ? "stop" : isKept ? "done" : "now", words);
  const all = found.tests.length;
  const failed = found.tests.filter((one) => !one.passed).length;
  const results = failed ? `${failed} of ${all} tests fail` : `${all} test${all > 1 ? "s pass" : " passes"}`;
  const state = count || !all ? "todo" : failed ? "stop" : "done";
  step(first.nextElementSibling, state, count ? "Tests" : all ? results : "No tests");
  draw();
}

/** One at a time: the service does no more than that for one person. */
async function check() {
  isAskedAgain = isChecking;
  if (isChecking) {
    return;
  }
  isChecking = true;
  const [pending, sent] = [fields.pending(), area.value];
  try {
    isWriting = pending !== null;
    const answer = await send("POST", form.dataset.check, { text: sent, form: pending });
    const found = await answer.json();
    isWriting = false;
    if (answer.ok && pending && area.value === sent) {
      area.value = found.text;
      grow();
      isItKept();
    }
    if (answer.ok && !isAskedAgain) {
      say(found);
    } else if (answer.status === 429 || answer.status === 503) {
      fields.again(pending);
      timer = setTimeout(check, BUSY_MS);
    } else if (!answer.ok && pending) {
      fields.again(pending); // it stays unsaved until somebody mends it
      isSaveWanted = false;
      formView.querySelector("[data-form-says]").textContent = found.detail ?? found.title;
    }
  } catch {
    fields.again(pending);
    if (isSaveWanted) {
      state.textContent = "Not saved. Save again.";
    }
    isSaveWanted = false;
  }
  isChecking = isWriting = false;
  if (isAskedAgain) {
    check();
  } else if (isSaveWanted && !fields.isPending()) {
    isSaveWanted = false;
    form.requestSubmit();
  }
}

function typed() {
  isItKept();
  hitCount.setAttribute("aria-busy", "true"); // of another text
  mistakes = mistakes.filter((one) => one.line < lineNow());
  draw();
  grow();
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER_MS);
  if (document.activeElement === area) {
    propose();
  }
}

/** Whether the form has what the text does not have yet. */
function isUnwritten() {
  return isWriting || fields.isPending();
}

/** Say whether the text is saved, and keep its next steps from being taken before. */
function isItKept() {
  const isKept = area.value === kept && !isUnwritten();
  if (state) {
    state.textContent = isKept ? keptState : "Not saved";
  }
  for (const one of document.querySelectorAll("[data-typed-since]")) {
    one.hidden = isKept;
  }
  for (const one of document.querySelectorAll("[data-no-difference]")) {
    one.hidden = !isKept;
  }
  for (const button of document.querySelectorAll("[data-step]")) {
    button.dataset.was ??= String(button.disabled);
    button.disabled = !isKept || button.dataset.was === "true";
  }
}

function counted(said) {
  if (said.why_not) {
    return `Not counted: ${said.why_not}`;
  }
  const large = (number) => Number(number).toLocaleString("en");
  const days = ((Date.parse(said.as_of) - Date.parse(said.since)) / 86_400_000).toFixed(1);
  const so = said.complete ? "." : `, so far: the last ${days} days. Counting further back …`;
  return `${large(said.hits)} of ${large(said.events)} events hit, ${said.money.replace(/^-?\d+/, large)}${so}`;
}

/** How often the text would have hit, once it has no mistakes, first in the newest days; one count at a time. */
async function countHits(found) {
  if (found.mistakes.length || found.elsewhere.length) {
    hitCount.textContent = "Hits are counted once the errors are fixed.";
    return;
  }
  if (isCounting) {
    return;
  }
  isCounting = true;
  const sent = area.value;
  let isMore = true;
  while (isMore && area.value === sent) {
    let words = "The service does not answer.";
    isMore = false;
    try {
      const answer = await send("POST", form.dataset.count, { text: sent });
      words = "Counting takes too long here. Run a backtest.";
      if (answer.ok) {
        const said = await answer.json();
        isMore = !said.complete && !said.why_not;
        words = counted(said);
      }
    } catch {
      // as said
    }
    if (area.value === sent) {
      hitCount.textContent = words;
      hitCount.toggleAttribute("aria-busy", isMore);
    }
  }
  isCounting = false;
  if (area.value !== sent && !isChecking) {
    check();
  }
}

// ---- the form, which is another view of the same text

function sayForm(found) {
  const inText = found ? "" : "The text is not one rule that a form can show. Mend it as text.";
  formView.querySelector("[data-form-says]").textContent = inText;
  const enable = (isEnabled) => formView.querySelectorAll("fieldset").forEach((one) => (one.disabled = !isEnabled));
  if (!found) {
    enable(false);
  }
  const isInUse = formView.contains(document.activeElement) && !formView.hidden;
  return fields.show(isInUse ? null : found).then(() => enable(found && !formView.hasAttribute("data-read-only")));
}

function view(name) {
  const isForm = name !== "text";
  [formView.hidden, textView.hidden, place.hidden] = [!isForm, isForm, isForm];
  for (const button of form.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String((button.dataset.view === "text") !== isForm));
  }
  grow();
}

for (const button of form.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => {
    localStorage.setItem(VIEW, button.dataset.view);
    view(button.dataset.view);
    check();
  });
}

function lineNow() {
  return area.value.slice(0, area.selectionStart).split("\n").length;
}

function tellPlace() {
  const before = area.value.slice(0, area.selectionStart).split("\n");
  place.textContent = `line ${before.length}, column ${before.at(-1).length + 1}`;
}

// ---- names that fit

async function known() {
  if (!names) {
    const found = await (await fetch(form.dataset.names)).json();
    names = [
      ...found.names,
      ...found.keys.map((one) => ({ name: `${one.name}:`, type: "key", says: one.says, isKey: true })),
      ...found.effects.map((name) => ({ name, type: "effect", says: "what a hit does", isEffect: true })),
    ];
    const noOperand = ["list", "table", "aggregate", "function"];
    for (const one of found.names) {
      one.isOperand = !noOperand.includes(one.type) && !one.says.endsWith("brackets");
    }
  }
  return names;
}

/** What is typed before the caret, and of which kind it can be. */
function wanted() {
  const line = area.value.slice(0, area.selectionStart).split("\n").at(-1);
  const text = NAME.exec(line)?.[0] ?? "";
  if (/^\s*(?:- )?[a-z]*$/.test(line)) {
    return { text, fits: (one) => one.isKey };
  }
  if (/^\s*effect:\s*[a-z]*$/.test(line)) {
    return { text, fits: (one) => one.isEffect };
  }
  const isExpression = /^\s*(?:- )?when:/.test(line) || /\{[^}]*$/.test(line) || !/^\s*(?:- )?[a-z]+:/.test(line);
  return { text, fits: (one) => isExpression && !one.isKey && !one.isEffect };
}

async function propose(isAsked = false) {
  const all = await known();
  const { text, fits } = wanted();
  if (!isAsked && text.length < 2) {
    hide();
    return;
  }
  const begins = all.filter((one) => fits(one) && one.name.startsWith(text) && one.name !== text);
  const holds = text.length < 2 ? [] : all.filter((one) => fits(one) && !one.name.startsWith(text) && one.name.includes(text));
  proposals = [...begins, ...holds].slice(0, SHOWN_MAX);
  if (!proposals.length || area.selectionStart !== area.selectionEnd || document.activeElement !== area) {
    hide();
    return;
  }
  chosen = 0;
  list.replaceChildren(
    ...proposals.map((one, number) => option(one, one.says, `fits-${number}`, () => take(number))),
  );
  list.hidden = false;
  stand(text.length);
  mark();
}

/** Below the caret; letters of the editor are all of one width. */
function stand(length) {
  const style = getComputedStyle(area);
  const before = area.value.slice(0, area.selectionStart).split("\n");
  const probe = create("span", "mono", "0".repeat(100));
  probe.style.cssText = "position:absolute;visibility:hidden";
  probe.style.font = style.font;
  box.append(probe);
  const wide = probe.getBoundingClientRect().width / 100;
  probe.remove();
  const left = parseFloat(style.paddingLeft) + wide * (before.at(-1).length - length) - area.scrollLeft;
  const top = parseFloat(style.paddingTop) + parseFloat(style.lineHeight) * before.length - area.scrollTop;
  list.style.left = `${Math.max(8, Math.min(left, box.clientWidth - list.offsetWidth - 8))}px`;
  list.style.top = `${Math.min(top, Math.max(0, box.clientHeight - 60))}px`;
}

function mark() {
  [...list.children].forEach((row, number) => row.setAttribute("aria-selected", String(number === chosen)));
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
  area.setAttribute("aria-activedescendant", `fits-${chosen}`);
}

function take(number) {
  const { text } = wanted();
  const end = area.selectionStart;
  const one = proposals[number];
  hide();
  put(end - text.length, end, one.isKey ? `${one.name} ` : one.name);
  hide();
}

for (const button of document.querySelectorAll("[data-insert]")) {
  button.addEventListener("click", () => {
    put(area.selectionStart, area.selectionEnd, button.dataset.insert);
    hide();
    area.focus();
  });
}

function hide() {
  list.hidden = true;
  proposals = [];
  area.removeAttribute("aria-activedescendant");
}

function onSaveKey(event) {
  if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
}

function onKey(event) {
  if (event.key === "F8" && mistakes.length) {
    event.preventDefault();
    const after = mistakes.find((one) => offsetOf(one) > area.selectionStart);
    goTo(after ?? mistakes[0]);
    return;
  }
  if (event.key === " " && event.ctrlKey) {
    event.preventDefault();
    propose(true);
    return;
  }
  if (list.hidden) {
    return;
  }
  if (event.key === "Tab" && !event.shiftKey) {
    event.preventDefault();
    take(chosen);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : proposals.length - 1)) % proposals.length;
    mark();
  } else if (event.key === "Escape") {
    event.preventDefault();
    event.stopPropagation();
    hide();
  }
}

area.addEventListener("input", () => {
  if (!isChecking) {
    fields.pending(); // what the text could not take: now the text is what counts
  }
  typed();
});
area.addEventListener("scroll", follow);
document.addEventListener("keydown", onSaveKey);
area.addEventListener("keydown", onKey);
area.addEventListener("blur", hide);
area.addEventListener("keyup", tellPlace);
area.addEventListener("click", () => {
  hide();
  tellPlace();
});
let isSending = false;
form.addEventListener("shroff:store", (event) => {
  isSending = true; // nothing is lost: no question before the page is left
  event.detail.more = fields.content();
});
form.addEventListener("shroff:restore", async (event) => {
  if (event.detail.more) {
    await fields.show(event.detail.more);
    fields.again(true);
    check();
  }
});
form.addEventListener("shroff:unsent", () => (isSending = false));
form.addEventListener("submit", (event) => {
  isSending = !isUnwritten();
  if (!isSending) {
    event.preventDefault();
    isSaveWanted = true;
    check();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (!isSending && (area.value !== kept || isUnwritten())) {
    event.preventDefault();
  }
});
box.classList.add("is-live");
form.querySelector("[data-views]").hidden = false;
view(localStorage.getItem(VIEW) ?? "form");
grow();
draw();
check();
