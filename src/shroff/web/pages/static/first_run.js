// A file that is chosen or dropped is sent as it is; then the page shows what was made of it.

const form = document.querySelector("form[data-file]");

function say(text, isBad) {
  const status = document.querySelector("[data-status]");
  status.innerHTML = `<div class="note${isBad ? " note-bad" : ""}"><p></p></div>`;
  status.querySelector("p").textContent = text;
}

async function send(file) {
  say(`Reading ${file.name} …`, false);
  try {
    const answer = await fetch(`${location.pathname}?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
    if (answer.ok) {
      location.reload();
    } else {
      say(await answer.text(), true);
    }
  } catch {
    say("The service does not answer. Look at the terminal that runs it.", true);
  }
}

if (form) {
  const zone = form.querySelector(".drop");
  const input = form.querySelector("input[type=file]");
  input.addEventListener("change", () => input.files[0] && send(input.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) {
        send(event.dataTransfer.files[0]);
      }
    });
  }
}

for (const choices of document.querySelectorAll("form[data-choices]")) {
  choices.addEventListener("submit", () => {
    document.querySelector("[role=status]").textContent = "Trying the whole file …";
  });
}
