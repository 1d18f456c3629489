// The queue by keyboard: a row is chosen, its case is shown beside, selected rows are changed together. And a case's dialogs.

import { localTimes, singleKeysWork } from "./page.js";

const peek = document.querySelector("[data-peek]");
const rows = [...document.querySelectorAll("tr[data-row]")];
const pause_ms = 80; // before a case is asked for, so that holding J down asks once
let waiting = 0;
let asked = 0;
let held = ""; // the key of an answer that waits for the panel

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

/** A part of a page, to be put there; nothing where the service does not give it. */
async function part(path) {
  const answer = await fetch(path, { headers: { Accept: "text/html" } });
  const made = document.createElement("template");
  made.innerHTML = await answer.text(); // made by the service, which escapes all that it shows; scripts in it would not run
  return answer.ok && !answer.redirected ? made.content : null;
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
    press(held);
  }
  held = "";
}

/** An answer's key that was pressed while the panel was loading: it is meant for the case that is chosen. */
function press(key) {
  const button = key && [...peek.querySelectorAll("button[data-key]")].find((one) => one.dataset.key === key && !one.disabled);
  if (button) {
    button.click();
  }
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
  held = "";
  clearTimeout(waiting);
  waiting = setTimeout(() => show(row), pause_ms);
}

document.addEventListener("keydown", (event) => {
  const isAnswer = ["f", "g", "u"].includes(event.key.toLowerCase()) && !event.ctrlKey && !event.metaKey && !event.altKey;
  const isElsewhere = event.target.matches("input:not([type=checkbox]), textarea, select") || document.querySelector("dialog[open]");
  if (peek?.getAttribute("aria-busy") === "true" && isAnswer && !isElsewhere && singleKeysWork() && !boxes().some((box) => box.checked)) {
    held = event.key.toLowerCase();
    event.preventDefault();
  }
});

// What was not told with the page: why each of these cases was held.
async function fill() {
  for (const cell of document.querySelectorAll("[data-why]")) {
    const made = await part(cell.dataset.why).catch(() => null);
    if (made) {
      cell.replaceChildren(made);
    }
    delete cell.dataset.why;
  }
}
fill();

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
const filter = document.querySelector("[data-filter]");
if (filter) {
  filter.querySelector("[data-apply]").hidden = true;
  filter.addEventListener("change", (event) => {
    if (event.target.form === filter) {
      filter.requestSubmit();
    }
  });
  filter.addEventListener("submit", () => {
    for (const field of filter.elements) {
      field.disabled = field.form === filter && !field.value;
    }
  });
}

// What can be undone goes when it cannot be any more.
const toast = document.querySelector(".toast[data-left-ms]");
if (toast) {
  setTimeout(() => toast.remove(), Number(toast.dataset.leftMs));
}

document.querySelector("[data-attach]")?.addEventListener("change", async (event) => {
  const [file] = event.target.files;
  const says = document.querySelector("[data-attach-says]");
  if (!file) {
    return;
  }
  const path = `${event.target.dataset.attach}?name=${encodeURIComponent(file.name)}`;
  const csrf = document.querySelector("meta[name=csrf]").content;
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRF-Token": csrf, "Content-Type": file.type }, body: file });
  if (answer.ok) {
    location.reload();
  } else {
    says.textContent = (await answer.json()).detail;
  }
});

// What opened since is told beside the rows, and comes among them when somebody asks: no row moves under a hand.
const news = document.querySelector("[data-news]");
if (news) {
  const link = news.querySelector("a");
  const listen = () => {
    const source = new EventSource(news.dataset.news);
    source.addEventListener("cases", (event) => {
      const count = JSON.parse(event.data).new;
      link.querySelector("[data-count]").textContent = count === 1 ? "1 new case" : `${count} new cases`;
      link.hidden = count === 0;
    });
    window.addEventListener("pagehide", () => source.close(), { once: true });
  };
  listen();
  window.addEventListener("pageshow", (event) => event.persisted && listen());
}

// What needs a second thought says so before it is sent.
document.addEventListener("submit", (event) => {
  const words = event.target.dataset?.sure;
  if (words && !window.confirm(words)) {
    event.preventDefault();
  }
});

if (location.pathname === "/queue") {
  // A form that was sent twice by two quick keys would be a second answer for the next case.
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || document.body.dataset.sent) {
      event.preventDefault();
    }
    document.body.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => delete document.body.dataset.sent);
}
count();
