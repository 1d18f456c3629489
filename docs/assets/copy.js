// The copy button of a console block takes its commands, without prompts and output.
for (const block of document.querySelectorAll(".language-console")) {
  const lines = block.textContent.split("\n").filter((line) => /^[$>]( |$)/.test(line));
  block.dataset.copy = lines.map((line) => line.slice(2)).join("\n");
}
