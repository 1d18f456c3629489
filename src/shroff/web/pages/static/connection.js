// Sending forms while nobody may be signed in, or no service may answer: the page stays, says so, and keeps the text.
// Unsaved fields are stored in this tab (sessionStorage) by path and form, never those of passwords or files.

const RETRY_MS = 3_000;
const KEY = `shroff.unsaved ${location.pathname}`;
const NOT_STORED = ["password", "hidden", "file", "submit", "button", "image", "reset"];

/** Make an element with these properties, or this class, and these contents. */
export function create(tag, properties, ...inside) {
  const made = document.createElement(tag);
  Object.assign(made, typeof properties === "string" ? { className: properties } : properties);
  made.append(...inside);
  return made;
}

const user = () => document.querySelector("meta[name=csrf]")?.dataset.user ?? "";
let banner = null;
let hasEnded = false;

function showBanner(words, action) {
  hideBanner();
  banner = create("div", { className: "toast connection", role: "alert" }, create("p", {}, words), action);
  (document.querySelector("dialog[open]") ?? document.body).append(banner);
}

function hideBanner() {
  banner?.remove();
  banner = null;
}

/** Whether the service itself answered. A proxy before a stopped service answers, too, without this header. */
const isFromService = (answer) => answer.status < 500 || answer.headers.has("server-timing");

/** Resolve after some seconds, or at once when somebody presses Retry. */
function nextAttempt() {
  return new Promise((resolve) => {
    setTimeout(resolve, RETRY_MS);
    if (banner) {
      banner.querySelector("button").onclick = resolve;
      return;
    }
    showBanner("No connection.", create("button", { type: "button", className: "button", onclick: resolve }, "Retry"));
  });
}

/** Repeat a request until the service answers; the page says meanwhile that there is no connection. */
export async function untilAnswered(request) {
  for (;;) {
    const answer = await request().catch(() => null);
    if (answer && isFromService(answer)) {
      if (!hasEnded) {
        hideBanner();
      }
      return answer;
    }
    await nextAttempt();
  }
}

/** Whether an answer is the sign-in: the session has ended. */
export const isSignIn = (answer) => answer.redirected && new URL(answer.url).pathname === "/login";

/** Say that the session has ended. What is typed is stored when the page is left for the sign-in. */
export function sayEnded() {
  if (hasEnded) {
    return;
  }
  hasEnded = true;
  const href = `/login?unsaved=yes&back=${encodeURIComponent(location.pathname + location.search)}`;
  const link = create("a", { className: "button", href, onclick: storeForms }, "Sign in");
  showBanner("Your session ended. Sign in to save.", link);
  if (!document.activeElement?.matches("input, textarea, select")) {
    link.focus();
  }
}

// ---- what is stored

const posted = () => [...document.querySelectorAll("form[method=post]")];
const withAction = (action) => posted().filter((form) => form.getAttribute("action") === action);
const fieldsOf = (form) => [...form.querySelectorAll("input, select, textarea")].filter((field) => field.name && !NOT_STORED.includes(field.type));

function isChanged(field) {
  if (field.matches("select")) {
    const initial = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
    return field.value !== (initial?.value ?? "");
  }
  const isBox = ["checkbox", "radio"].includes(field.type);
  return isBox ? field.checked !== field.defaultChecked : field.value !== field.defaultValue;
}

/** The unsaved fields of a form. A script may add a value of its own as `detail.more`. */
function contentOf(form) {
  const action = form.getAttribute("action");
  const event = new CustomEvent("shroff:store", { detail: { more: null } });
  form.dispatchEvent(event);
  const fields = fieldsOf(form)
    .map((field, index) => ({ field, index }))
    .filter(({ field }) => isChanged(field))
    .map(({ field, index }) => ({ index, name: field.name, value: field.value, checked: field.checked ?? false }));
  return { action, at: withAction(action).indexOf(form), fields, more: event.detail.more };
}

function write(forms) {
  if (forms.length) {
    sessionStorage.setItem(KEY, JSON.stringify({ user: user(), forms }));
  } else {
    sessionStorage.removeItem(KEY);
  }
}

function stored() {
  const found = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  return found?.user === user() ? found.forms : []; // of nobody else who signs in here
}

function storeForms() {
  try {
    writeForms();
  } catch {
    // the browser stores no more for this site
  }
}

function writeForms() {
  write(posted().map(contentOf).filter((form) => form.fields.length || form.more !== null));
}

/** Forget what was stored of a form that is sent now. */
function forget(form) {
  const action = form.getAttribute("action");
  const at = withAction(action).indexOf(form);
  write(stored().filter((other) => other.action !== action || other.at !== at));
}

function putBack({ action, at, fields, more }) {
  const form = withAction(action)[at];
  if (!form) {
    return false;
  }
  const all = fieldsOf(form);
  for (const { index, name, value, checked } of fields) {
    const field = all[index];
    if (field?.name !== name) {
      continue;
    }
    field.value = value;
    if (checked !== undefined && "checked" in field) {
      field.checked = checked;
    }
    ["input", "change"].forEach((type) => field.dispatchEvent(new Event(type, { bubbles: true })));
  }
  form.dispatchEvent(new CustomEvent("shroff:restore", { detail: { more } }));
  const details = form.closest("details");
  const dialog = form.closest("dialog");
  if (details) {
    details.open = true;
  }
  if (dialog && !dialog.open) {
    dialog.showModal();
  }
  return true;
}

/** Put back what an ended session left unsaved on this page, and say so above it. */
function restore() {
  const forms = stored();
  if (!forms.map(putBack).some(Boolean)) {
    sessionStorage.removeItem(KEY);
    return;
  }
  const onclick = () => {
    sessionStorage.removeItem(KEY);
    location.reload();
  };
  const message = "Your session ended before this was saved. Your text is back in its form: save it now. ";
  const discard = create("button", { type: "button", className: "button", onclick }, "Discard");
  const note = create("div", { className: "note note-warn restored", role: "status" }, create("p", {}, message), discard);
  document.getElementById("main")?.prepend(note);
}

// ---- sending

/** Whether this page's user is signed in. After another sign-in of the same user the page takes its new token. */
async function isSignedIn() {
  const answer = await untilAnswered(() => fetch("/login/session"));
  const session = await answer.json();
  if (!session.csrf || session.user !== user()) {
    return false;
  }
  document.querySelector("meta[name=csrf]").content = session.csrf;
  document.querySelectorAll("input[name=csrf]").forEach((field) => (field.value = session.csrf));
  return true;
}

/** Submit a form as a browser does, without asking anybody again. Its fields may be called `submit` or `action`. */
export function submit(form, button) {
  const value = create("input", { type: "hidden", name: button?.name ?? "", value: button?.value ?? "" });
  form.append(value); // without a name it is not sent
  HTMLFormElement.prototype.submit.call(form);
  value.remove();
}

async function send(form, button) {
  if (form.matches("[aria-busy]")) {
    return; // its first press is on its way
  }
  form.setAttribute("aria-busy", "true");
  const isIn = await isSignedIn().catch(() => true); // what else is wrong, the page that comes says
  form.removeAttribute("aria-busy");
  if (isIn) {
    forget(form);
    submit(form, button);
  } else {
    form.dispatchEvent(new CustomEvent("shroff:unsent", { bubbles: true }));
    sayEnded();
  }
}

// The window comes last: scripts of a page that send a form themselves, or ask before, have prevented it by then.
window.addEventListener("submit", (event) => {
  if (!event.defaultPrevented && event.target.getAttribute("method") === "post" && user()) {
    event.preventDefault();
    send(event.target, event.submitter);
  }
});
window.addEventListener("pagehide", () => hasEnded && storeForms());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    hideBanner();
    hasEnded = false;
  }
});
document.addEventListener("DOMContentLoaded", () => user() && restore()); // after the scripts of the page
