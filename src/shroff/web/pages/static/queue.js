// The queue by keyboard: a row is chosen, its case is shown beside, selected rows are changed together. And a case's dialogs.

import { create, isSignIn, sayEnded, submit, untilAnswered } from "./connection.js";
import { isAsking, localTimes, part, prepare, pressKey, singleKeysWork } from "./page.js";

const pause_ms = 80; // before a case is asked for, so that holding J down asks once
const KEYS = "fgujkxztscr"; // that wait, in their order, for the case that they are meant for
const OF_A_CASE = "fguxts"; // which are pressed on that case alone
const KEYS_MAX = 100;
const OPEN = ".screens [data-part=open]";
const keys = [];
let seen = []; // the cases in the order in which they stood when the first of these keys was pressed
let sent = []; // those that the answer on its way, or the last one, is about
const mine = new Set(); // those of all answers since
let peek, rows, news; // of the page as it is now: an answer brings another one without leaving this document
let waiting = 0;
let asked = 0;
let isSent = false; // an answer is on its way
let isLeaving = false;

const chosen = () => rows.findIndex((row) => row.getAttribute("aria-current") === "true");

/** The address of what stands beside the queue, with the way back to this row. */
function pathOf(row) {
  const query = new URLSearchParams(peek.dataset.where);
  if (row.dataset.row !== "0") {
    query.set("row", row.dataset.row);
  }
  const text = query.toString();
  return peek.dataset.peek + row.dataset.number + (text ? `?${text}` : "");
}

async function show(row) {
  const number = ++asked;
  const made = await part(pathOf(row)).catch(() => null);
  if (number !== asked) {
    return;
  }
  if (made) {
    peek.replaceChildren(made);
    localTimes(peek);
    peek.removeAttribute("aria-busy");
    pressWaiting();
  } else {
    drop("the case could not be loaded"); // no answer may go to the case before
    peek.replaceChildren();
    peek.removeAttribute("aria-busy");
  }
}

const isBusy = () => isSent || peek?.getAttribute("aria-busy") === "true";

/** Press what was pressed while an answer was on its way or the panel was loading. */
function pressWaiting() {
  while (keys.length && !isBusy()) {
    if (OF_A_CASE.includes(keys[0]) && !isAsSeen()) {
      drop("the queue has changed");
      return;
    }
    pressKey(keys.shift());
  }
}

const numbers = () => rows.map((row) => row.dataset.number);

/** Whether the case that is chosen is the one that stood there for who pressed the keys, but for what they answered. */
function isAsSeen() {
  const now = numbers();
  return now[chosen()] === seen.filter((number) => now.includes(number) || !mine.has(number))[chosen()];
}

/** Forget the keys that wait, and say so. */
function drop(why) {
  if (keys.length === 0) {
    return;
  }
  const told = `Not done, because ${why}: ${keys.map((key) => key.toUpperCase()).join(" ")}.`;
  document.querySelector("main").prepend(create("p", { className: "bad", role: "status" }, told));
  keys.length = 0;
}

function choose(at) {
  const row = rows[at];
  if (!row || !peek) {
    return;
  }
  for (const other of rows) {
    other.toggleAttribute("aria-current", false);
  }
  row.setAttribute("aria-current", "true");
  row.scrollIntoView({ block: "nearest" });
  const here = new URL(location.href);
  here.searchParams.set("row", row.dataset.row);
  history.replaceState(null, "", here);
  peek.setAttribute("aria-busy", "true");
  peek.querySelectorAll("button").forEach((button) => (button.disabled = true)); // they are for the case before
  clearTimeout(waiting);
  waiting = setTimeout(() => show(row), pause_ms);
}

document.addEventListener(
  "keydown",
  (event) => {
    const key = event.key.toLowerCase();
    const isElsewhere = event.target.matches("input:not([type=checkbox]), textarea, select") || isAsking();
    if (!KEYS.includes(key) || key.length !== 1 || event.ctrlKey || event.metaKey || event.altKey || isElsewhere || !singleKeysWork()) {
      return;
    }
    const isAnswer = "fgu".includes(key);
    const waits = isSent || keys.length > 0 || (isAnswer && isBusy() && !boxes().some((box) => box.checked));
    const isHeldDown = event.repeat && !"jk".includes(key); // one answer for each press
    if (waits || isHeldDown) {
      event.preventDefault();
      event.stopImmediatePropagation();
      if (waits && !isHeldDown && keys.length < KEYS_MAX) {
        if (keys.length === 0) {
          seen = numbers();
          mine.clear();
          (isSent ? sent : []).forEach((number) => mine.add(number));
        }
        keys.push(key);
      }
    }
  },
  { capture: true },
);

const boxes = () => [...document.querySelectorAll("tr[data-row] input.check:not(:disabled)")];

/** How many are selected, in the line that says what can be done with them. */
function count() {
  const picked = boxes().filter((box) => box.checked);
  const says = document.querySelector("[data-selected]");
  if (says) {
    says.textContent = `${picked.length} selected`;
  }
  const all = document.querySelector("[data-all]");
  if (all) {
    all.checked = picked.length > 0 && picked.length === boxes().length;
    all.indeterminate = picked.length > 0 && !all.checked;
  }
}

function select(at) {
  const box = rows[at]?.querySelector("input.check:not(:disabled)");
  if (box) {
    box.checked = !box.checked;
    count();
  }
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const button = target?.closest("button");
  if (button?.dataset.move) {
    choose(Math.min(rows.length - 1, Math.max(0, chosen() + Number(button.dataset.move))));
  } else if (button?.matches("[data-select]")) {
    select(chosen());
  } else if (button?.matches("[data-open]")) {
    rows[chosen()]?.querySelector("th a").click();
  } else if (button?.matches("[data-clear]")) {
    boxes().forEach((box) => (box.checked = false));
    count();
  } else if (button?.dataset.show) {
    const dialog = document.getElementById(button.dataset.show);
    if (button.dataset.fill) {
      dialog.querySelector("select").value = button.dataset.fill;
    }
    dialog.showModal();
  } else if (target?.closest("tr[data-row]") && !target.closest("a, input, button")) {
    drop("another case was chosen");
    choose(rows.indexOf(target.closest("tr[data-row]")));
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) {
    boxes().forEach((box) => (box.checked = event.target.checked));
  }
  count();
});

// A filter is applied as it is chosen, and what is left empty stays out of the address.
document.addEventListener("change", (event) => {
  if (event.target.form?.matches("[data-filter]")) {
    event.target.form.requestSubmit();
  }
});

function trim(filter) {
  for (const field of filter.elements) {
    field.disabled = field.form === filter && !field.value;
  }
}

document.addEventListener("change", async (event) => {
  const [file] = event.target.matches("[data-attach]") ? event.target.files : [];
  const says = document.querySelector("[data-attach-says]");
  if (!file) {
    return;
  }
  const path = `${event.target.dataset.attach}?name=${encodeURIComponent(file.name)}`;
  const csrf = document.querySelector("meta[name=csrf]").content;
  const request = () => fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf, "Content-Type": file.type }, body: file });
  const answer = await untilAnswered(request);
  if (isSignIn(answer)) {
    sayEnded();
  } else if (answer.ok) {
    location.reload();
  } else {
    says.textContent = (await answer.json()).detail;
  }
});

/** How many cases are open, in the top bar. */
function showOpen(html) {
  const place = document.querySelector(OPEN);
  if (place) {
    place.innerHTML = html;
  }
}

/** What opened since is told beside the rows, and comes among them when somebody asks: no row moves under a hand. */
function listen() {
  news?.close();
  const told = document.querySelector("[data-news]");
  if (!told) {
    return;
  }
  const link = told.querySelector("a");
  news = new EventSource(told.dataset.news);
  news.addEventListener("cases", (event) => {
    const { new: count, open } = JSON.parse(event.data);
    showOpen(open);
    link.querySelector("[data-count]").textContent = count === 1 ? "1 new case" : `${count} new cases`;
    link.hidden = count === 0;
  });
}

/** Send an answer, and show the queue as it is then in the place of this one: no key that is pressed meanwhile is lost. */
async function answer(form, button) {
  isSent = true;
  const picked = form.matches("#bulk") ? rows.filter((row) => row.querySelector("td .check:checked")) : [];
  sent = form.matches(".toast") ? [] : (picked.length ? picked : rows.slice(chosen(), chosen() + 1)).map((row) => row.dataset.number);
  sent.forEach((number) => mine.add(number));
  const body = new URLSearchParams(new FormData(form, button));
  const request = () => fetch(form.getAttribute("action"), { method: "POST", body, headers: { Accept: "text/html" } });
  const done = await untilAnswered(request); // sent twice it is saved once, by its tag
  if (isSignIn(done)) {
    isSent = false;
    drop("your session ended");
    sayEnded();
    return;
  }
  const path = new URL(done.url).pathname;
  const isQueue = done.redirected && path.endsWith("/queue");
  const html = isQueue || !done.redirected ? await done.text().catch(() => "") : "";
  const made = new DOMParser().parseFromString(html, "text/html"); // scripts in it would not run
  const main = made.querySelector("main");
  if (!isQueue) {
    keys.length = 0; // what comes says why, or is another page: no answer goes to what nobody has seen
  }
  if (done.redirected && !isQueue) {
    location.assign(done.url);
  } else if (!main) {
    submit(form, button); // the page that comes says what is wrong; what was saved is not saved twice, by its tag
  } else {
    document.querySelector("main").replaceWith(main);
    showOpen(made.querySelector(OPEN)?.innerHTML ?? "");
    document.title = made.title;
    if (!path.endsWith("/queue/bulk")) {
      history.replaceState(null, "", isQueue ? done.url : path.replace(/\/decide$/, ""));
    }
    isSent = false;
    prepare();
    begin();
    pressWaiting();
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented) {
    return; // somebody had a second thought
  }
  if (form.matches("[data-filter]")) {
    trim(form);
  } else if (location.pathname.endsWith("/queue") && form.getAttribute("method") === "post") {
    const isHere = form.matches(".answers, #bulk, .toast");
    if (isHere || isLeaving) {
      event.preventDefault();
    }
    if (isHere && !isSent && !isLeaving) {
      answer(form, event.submitter);
    }
    isLeaving ||= !isHere;
  }
});

document.addEventListener("shroff:unsent", () => (isLeaving = false));
window.addEventListener("pagehide", () => news?.close());
window.addEventListener("pageshow", (event) => {
  isLeaving = false;
  if (event.persisted) {
    isSent = false;
    keys.length = 0;
    listen();
  }
});

function begin() {
  asked += 1; // what was asked for the page before
  clearTimeout(waiting);
  peek = document.querySelector("[data-peek]");
  rows = [...document.querySelectorAll("tr[data-row]")];
  document.querySelector("[data-apply]")?.setAttribute("hidden", "");
  const toast = document.querySelector(".toast[data-left-ms]");
  if (toast) {
    setTimeout(() => toast.remove(), Number(toast.dataset.leftMs)); // it cannot be undone any more
  }
  listen();
  count();
}
begin();
