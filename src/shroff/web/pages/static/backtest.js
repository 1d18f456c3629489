// A backtest that runs: how far it is, until its result can be shown.

const progress = document.querySelector("[data-progress]");
const PAUSE_MS = 700;

async function look() {
  try {
    const answer = await fetch(progress.dataset.progress);
    const found = await answer.json();
    if (found.state === "done" || found.state === "failed") {
      location.reload();
      return;
    }
    if (found.total) {
      progress.value = found.done / found.total;
    }
  } catch {
    // The service may be starting again: the next look finds it.
  }
  setTimeout(look, PAUSE_MS);
}

if (progress) {
  setTimeout(look, PAUSE_MS);
}
