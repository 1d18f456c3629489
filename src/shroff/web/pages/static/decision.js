// The replay button: the decision once more from the log, and whether its bytes are the same.

const button = document.querySelector("[data-replay]");
const said = document.querySelector("[data-replayed]");

function say(glyph, kind, words) {
  const icon = button.querySelector(".icon").cloneNode(true);
  const { href } = icon.querySelector("use");
  href.baseVal = href.baseVal.replace(/#.*/, `#${glyph}`);
  said.className = `same ${kind}`;
  said.replaceChildren(icon, words);
  said.hidden = false;
}

button?.addEventListener("click", async () => {
  button.disabled = true;
  const began = performance.now();
  try {
    const answer = await fetch(button.dataset.replay);
    const found = await answer.json();
    const took = `${Math.round(performance.now() - began)} ms`;
    if (!answer.ok) {
      say("warn", "warn", `Replay is not possible now: ${found.detail}`);
    } else if (found.match) {
      say("genuine", "good", `Same bytes. Replayed in ${took}.`);
    } else {
      say("cross", "bad", "Other bytes. The log or the program was changed: 'shroff verify' says where.");
    }
  } catch {
    say("warn", "warn", "The service does not answer. Try again.");
  } finally {
    button.disabled = false;
  }
});
