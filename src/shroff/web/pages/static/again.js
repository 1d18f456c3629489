// A page that shows what is known while more is found out: it loads itself again, unless somebody is at a field of it.

const PAUSE_MS = 1000;

function again() {
  if (document.activeElement?.matches("input, textarea, select")) {
    setTimeout(again, PAUSE_MS);
  } else {
    location.reload();
  }
}

if (document.querySelector("[data-again]")) {
  setTimeout(again, PAUSE_MS);
}
