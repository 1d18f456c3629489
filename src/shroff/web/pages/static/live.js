// Parts of a page that change while it is looked at: each comes whole, as the server made it for the page.

import { fillWhys, localTimes, hideEmptyColumns } from "./page.js";

const says = document.querySelector("[data-updates]");
const pause = document.querySelector("[data-pause]");
let isPaused = false;
let waiting = {};

function show(parts) {
  for (const [name, html] of Object.entries(parts)) {
    const place = document.querySelector(`[data-part="${name}"]`);
    if (!place || place.contains(document.activeElement)) {
      waiting[name] = html; // nobody loses the row that they are at
      continue;
    }
    const isOpen = place.querySelector("details")?.open ?? false;
    place.innerHTML = html;
    delete waiting[name];
    const details = place.querySelector("details");
    if (details) {
      details.open = isOpen;
    }
    localTimes(place);
    hideEmptyColumns(place);
    fillWhys(place);
  }
}

function listen() {
  const source = new EventSource(says.dataset.updates);
  source.addEventListener("open", () => {
    says.textContent = isPaused ? "paused" : "updates automatically";
  });
  source.addEventListener("parts", (event) => {
    const parts = { ...waiting, ...JSON.parse(event.data) };
    if (isPaused) {
      waiting = parts;
    } else {
      show(parts);
    }
  });
  source.addEventListener("error", () => {
    const isOver = source.readyState === EventSource.CLOSED;
    says.textContent = isOver ? "updates stopped; reload the page" : "the service does not respond; retrying";
  });
  window.addEventListener("pagehide", () => source.close());
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.firstChild.textContent = isPaused ? "Go on " : "Pause ";
  says.textContent = isPaused ? "paused" : "updates automatically";
  if (!isPaused) {
    show({ ...waiting });
  }
});
document.addEventListener("focusout", () => {
  if (!isPaused) {
    setTimeout(() => show({ ...waiting }));
  }
});
listen();
