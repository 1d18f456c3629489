// A page that shows what is known while more is found out: it loads itself again, unless somebody is at a field of it.

const PAUSE_MS = 1000;

function again() {
  if (!document.activeElement?.matches("input, textarea, select")) {
    location.reload();
  }
}

if (document.querySelector("[data-again]")) {
  const timer = setInterval(again, PAUSE_MS);
  addEventListener("beforeunload", () => clearInterval(timer)); // loading again would stop the way to another page
}
