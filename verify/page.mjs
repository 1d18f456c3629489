// The page: files that are dropped or chosen are checked here, in the browser; nothing is sent.

import { check } from "./proof.mjs";

const answer = document.querySelector("output");

function element(name, content) {
  const made = document.createElement(name);
  made.append(...[content].flat());
  return made;
}

function table(heads, rows) {
  const row = (cells, name) => element("tr", cells.map((cell) => element(name, String(cell))));
  return element("table", [row(heads, "th"), ...rows.map((cells) => row(cells, "td"))]);
}

const shown = (value) => (value === null ? "missing" : String(value));

function decisionParts({ event, id, outcome, score, features, ruleList, events, receipt }) {
  const hits = ruleList.filter((rule) => rule.hits).map((rule) => [rule.id, rule.effect]);
  const known = events.map((each) => [each.seq, each.type, each.id, new Date(each.timeMs).toISOString(), each.text]);
  return [
    element("h2", `${event}/${id}: ${outcome}`),
    element("p", score === null ? "No model scored the event." : `The score is ${score}.`),
    element("h3", "Rules that hit"),
    hits.length ? table(["rule", "effect"], hits) : element("p", "None."),
    element("h3", "Values, computed here"),
    table(["feature", "value"], Object.entries(features).map(([name, value]) => [name, shown(value)])),
    element("h3", "What was known"),
    table(["number", "type", "id", "time", "fields"], known),
    element("p", `receipt sha256:${receipt}`),
  ];
}

function headParts({ head, kept }) {
  const same = kept ? " It continues the kept head." : " Compare the key with the one that was published.";
  return element("p", `Head of ${head.size} records, signed at ${head.at} with the key ${head.key}.${same}`);
}

async function show(files) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    const texts = await Promise.all([...files].map(async (file) => decoder.decode(await file.arrayBuffer())));
    const proof = texts.find((text) => !text.startsWith('{"log"')) ?? texts[0];
    const result = await check(proof, texts.find((text) => text !== proof) ?? null);
    const verdict = element("h1", result.agrees ? "Agreed" : "Refused");
    verdict.className = result.agrees ? "agreed" : "refused";
    const parts = result.agrees ? [headParts(result), ...(result.decision ? decisionParts(result.decision) : [])] : [];
    answer.replaceChildren(verdict, ...(result.agrees ? parts : [element("p", result.reason)]));
  } catch (error) {
    answer.replaceChildren(element("h1", "Refused"), element("p", `The file cannot be read: ${error.message}`));
  }
}

const chooser = document.querySelector("input");
chooser.addEventListener("change", (event) => show(event.target.files));
chooser.addEventListener("click", () => {
  chooser.value = ""; // so that a file of the same name, changed meanwhile, is read again
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  show(event.dataTransfer.files);
});
