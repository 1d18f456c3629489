// What every page has: keys, times in the viewer's zone, copying, the menu on a phone. What works by script alone is
// `hidden` with `data-with-script`, and shown here.

import { create, isSignIn, sayEnded } from "./connection.js";

const SINGLE_KEYS = "shroff.single-keys";

/** Whether single keys work for this viewer; WCAG 2.1.4 asks for a way to switch them off. */
export function singleKeysWork() {
  return localStorage.getItem(SINGLE_KEYS) !== "off";
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]), textarea, select"));
}

const ASKING = "dialog[open], .add[open], .keep[open]";

/** Whether a dialog, or a form that works like one, waits for an answer: until then no single key does anything. */
export function isAsking() {
  return document.querySelector(ASKING) !== null;
}

function isSeen(element) {
  return element.offsetParent !== null || element.matches("[data-key-hidden]");
}

/** What a key does on this page: the first element that has it and can be seen. */
function withKey(key) {
  return [...document.querySelectorAll("[data-key]")].find(
    (element) => element.dataset.key.toLowerCase() === key.toLowerCase() && isSeen(element) && !element.disabled,
  );
}

/** Press a key of this page. */
export function pressKey(key) {
  const element = withKey(key);
  if (element) {
    press(element);
  }
  return element !== undefined;
}

function press(element) {
  if (element.matches("input, textarea")) {
    element.focus();
    element.select();
  } else {
    element.click();
    focusFirst(element.closest("details"));
  }
}

/** A form that opens has the focus in its first field. */
function focusFirst(details) {
  if (details?.matches(".add[open], .keep[open]")) {
    details.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  }
}

/** What needs a second thought says so before it is sent. */
function onSubmit(event) {
  const sure = event.submitter?.dataset.sure ?? event.target.dataset.sure;
  if (sure && !window.confirm(sure)) {
    event.preventDefault();
  }
}

/** The name of an element's key, as on a keyboard. */
function keyOf(element) {
  const { key } = element.dataset;
  return create("kbd", {}, key.length === 1 ? key.toUpperCase() : key);
}

/** The list of all keys, from what stands on the page, so that it can never be wrong. */
function showKeys() {
  const dialog = document.getElementById("all-keys");
  const rows = [...document.querySelectorAll("[data-key][data-says]")].map((element) =>
    create("div", {}, create("dt", {}, keyOf(element)), create("dd", {}, element.dataset.says)),
  );
  dialog.querySelector(".key-list").replaceChildren(...rows);
  dialog.querySelector("[data-single-keys]").checked = singleKeysWork();
  dialog.showModal();
}

function onKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
    event.target.form?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) {
    return;
  }
  if (isTyping(event.target)) {
    if (event.key === "Escape") {
      event.target.blur();
    }
    return;
  }
  if (isAsking()) {
    if (event.key === "Escape") {
      document.querySelectorAll(ASKING).forEach((form) => (form.open = false));
    }
    return;
  }
  if (!singleKeysWork() || (event.key === "Enter" && event.target.closest("a, button, summary, input"))) {
    return; // Enter presses what has the focus
  }
  if (event.key === "?") {
    event.preventDefault();
    showKeys();
    return;
  }
  if (pressKey(event.key)) {
    event.preventDefault();
  }
}

/** The keys of this page at its bottom: at most eight, in the order of the page. */
function showHints() {
  const hints = document.querySelector("[data-keys]");
  if (!hints) {
    return;
  }
  const told = [...document.querySelectorAll("main [data-key][data-says]")].filter(isSeen).slice(0, 8);
  hints.replaceChildren(...told.map((element) => create("span", {}, keyOf(element), element.dataset.says)));
}

/** The viewer's time zone: their own setting where this browser knows it, or else the browser's. */
function ownZone() {
  const own = document.documentElement.dataset.timeZone;
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: own });
    return own;
  } catch {
    return undefined; // an older browser lacks some zones
  }
}
const timeZone = ownZone() || Intl.DateTimeFormat().resolvedOptions().timeZone;
const written = (at, options) => new Intl.DateTimeFormat("en-GB", { timeZone, ...options }).format(at);
const yearOf = (at) => written(at, { year: "numeric" });

/** A moment as the house writes it: the time today, the day this year, the year before. In logs all have their day. */
function moment(at, form = "", isDated = false) {
  const now = new Date();
  const clock = written(at, { hour: "2-digit", minute: "2-digit", second: form === "minute" ? undefined : "2-digit" });
  const day = written(at, { day: "numeric", month: "long", ...(yearOf(at) === yearOf(now) ? {} : { year: "numeric" }) });
  if (form !== "day" && !isDated && day === written(now, { day: "numeric", month: "long" })) {
    return clock;
  }
  return form === "day" ? day : `${day}, ${clock}`;
}

const DATED = ".table:not(.cases), .rows"; // logs are read days later, and printed

/** Put all times below an element into the viewer's zone. */
export function localTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (!Number.isNaN(at.valueOf())) {
      element.textContent = moment(at, element.dataset.form, element.closest(DATED) !== null);
      element.title = element.dateTime;
    }
  }
  const city = timeZone.split("/").pop().replaceAll("_", " ");
  for (const element of document.querySelectorAll("[data-zone]")) {
    element.textContent = (element.dataset.zone || "times in {}").replace("{}", city);
  }
  for (const field of document.querySelectorAll("input[data-time-zone]")) {
    field.value = timeZone; // a day that is filled in is one of the viewer's
  }
}

/** A part of a page, to be put there; nothing where the service does not give it. */
export async function part(path) {
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  if (isSignIn(answer)) {
    sayEnded();
    return null;
  }
  const made = document.createElement("template");
  made.innerHTML = await answer.text(); // made by the service, which escapes all that it shows; scripts in it would not run
  return answer.ok && !answer.redirected ? made.content : null;
}

/** Why each of these was decided so, where the page did not wait for it. */
export async function fillWhys(root = document) {
  for (const cell of root.querySelectorAll("[data-why]")) {
    const path = cell.dataset.why;
    delete cell.dataset.why;
    cell.setAttribute("aria-busy", "true"); // on its way: its column is not empty
    const made = await part(path).catch(() => null);
    cell.removeAttribute("aria-busy");
    if (made) {
      cell.replaceChildren(made);
    }
  }
}

/** Whether a cell shows nothing, and no script will fill it. */
const isEmpty = (cell) => cell.textContent.trim() === "" && !cell.querySelector("svg, img, input, select, textarea, button") && !cell.matches("[data-why], [aria-busy], :has([data-why], [aria-busy])");

/** A column in which no row has a value is left out, and comes back with its first value. */
export function hideEmptyColumns(root = document) {
  for (const table of root.querySelectorAll("table:has(thead)")) {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.rows].filter((row) => row.parentElement !== table.tHead && row.cells.length === heads.length);
    heads.forEach((head, at) => {
      const cells = rows.map((row) => row.cells[at]);
      const isLeftOut = cells.length > 0 && cells.every(isEmpty);
      [head, ...cells].forEach((cell) => (cell.hidden = isLeftOut));
    });
  }
}

/** Days are typed as 2026-03-07, whatever the browser's language: its own field would write them in that language's
 * order. Its calendar is one press away. Without a script the browser's field remains. */
function isoDays(root = document) {
  for (const field of root.querySelectorAll("input[type=date]")) {
    const calendar = create("input", { type: "date", tabIndex: -1, ariaHidden: "true" });
    const button = create("button", { type: "button", className: "calendar", ariaLabel: "Calendar", title: "Calendar" });
    button.innerHTML = `<svg class="icon" aria-hidden="true"><use href="${new URL("icons.svg#calendar", import.meta.url)}"/></svg>`;
    Object.assign(field, { type: "text", pattern: "\\d{4}-\\d{2}-\\d{2}", placeholder: "YYYY-MM-DD", maxLength: 10, title: "Year-month-day", autocomplete: "off" });
    field.classList.add("day-of");
    const around = create("span", "day-field");
    const framed = field.closest("label") ?? field;
    framed.before(around);
    around.append(framed, button, calendar);
    button.addEventListener("click", () => {
      calendar.value = field.value;
      calendar.showPicker();
    });
    calendar.addEventListener("change", () => {
      field.value = calendar.value;
      ["input", "change"].forEach((name) => field.dispatchEvent(new Event(name, { bubbles: true })));
    });
  }
}

function onClick(event) {
  const target = event.target instanceof Element ? event.target : null;
  const copied = target?.closest("[data-copy]");
  if (copied) {
    navigator.clipboard.writeText(copied.dataset.copy).then(() => {
      copied.textContent = "Copied";
    });
  }
  if (target?.closest("[data-close]")) {
    target.closest("dialog").close();
  }
  const menu = target?.closest(".menu");
  if (menu) {
    const isOpen = document.body.classList.toggle("menu-open");
    menu.setAttribute("aria-expanded", String(isOpen));
  }
}

/** What a page sends that changes something carries the token of its session. */
export async function send(method, path, body, headers = {}) {
  const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
  const answer = await fetch(path, {
    method,
    headers: { "X-CSRF-Token": csrf, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (isSignIn(answer) || answer.status === 401) {
    sayEnded();
    throw new Error("the session ended");
  }
  return answer;
}

const SEARCHES_MAX = 8;

/** Where this viewer's last searches are kept: in this browser alone, apart for each person who signs in here. */
function searchesKey() {
  return `shroff.searches.${document.getElementById("recent-searches").dataset.who}`;
}

function recentSearches() {
  try {
    return JSON.parse(localStorage.getItem(searchesKey()) ?? "[]");
  } catch {
    return []; // somebody else wrote there
  }
}

function keepSearch(event) {
  const text = new FormData(event.target).get("q").trim();
  if (text) {
    const others = recentSearches().filter((one) => one !== text);
    localStorage.setItem(searchesKey(), JSON.stringify([text, ...others].slice(0, SEARCHES_MAX)));
  }
}

function showSearches() {
  const list = document.getElementById("recent-searches");
  if (!list) {
    return;
  }
  const searches = recentSearches();
  list.replaceChildren(...searches.map((text) => new Option(text, text)));
  const shown = document.querySelector("[data-recent]");
  if (shown && searches.length) {
    shown.hidden = false;
    shown.querySelector("ul").replaceChildren(
      ...searches.map((text) => {
        const href = `${document.querySelector(".brand").pathname}find?q=${encodeURIComponent(text)}`;
        return create("li", {}, create("a", { href }, text));
      }),
    );
  }
  for (const form of document.querySelectorAll("form[action$='/find']")) {
    form.addEventListener("submit", keepSearch);
  }
}

document.addEventListener("keydown", onKey);
document.addEventListener("toggle", (event) => focusFirst(event.target), { capture: true });
document.addEventListener("submit", onSubmit);
document.addEventListener("click", onClick);
document.querySelector("[data-single-keys]")?.addEventListener("change", (event) => {
  localStorage.setItem(SINGLE_KEYS, event.target.checked ? "on" : "off");
});
/** Make a page that the service sent what it is with a script. */
export function prepare() {
  for (const element of document.querySelectorAll("[data-with-script]")) {
    element.hidden = false;
  }
  for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
    tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - tab.offsetWidth; // tabs that do not fit scroll
  }
  localTimes();
  hideEmptyColumns();
  isoDays();
  showHints();
  fillWhys();
}
prepare();
showSearches();
