// node verify/cli.mjs FILE… [--head HEAD]: exit status 0 if all agree, 1 if one is refused.

import { readFileSync } from "node:fs";

import { check } from "./proof.mjs";

const options = process.argv.slice(2);
const at = options.indexOf("--head");
const [, headFile] = at < 0 ? [] : options.splice(at, 2);
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function read(name) {
  try {
    return decoder.decode(readFileSync(name));
  } catch (error) {
    return error.code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "\ufffd" : Promise.reject(error);
  }
}

for (const name of options) {
  const result = await check(await read(name), headFile === undefined ? null : await read(headFile));
  if (!result.agrees) {
    process.exitCode = 1;
    console.log(`refused: ${name}: ${result.reason}`);
  } else if (result.decision) {
    const { event, id, outcome, rules, receipt } = result.decision;
    console.log(`agreed: ${name}: ${event}/${id} ${outcome} ${rules.join(" ")}`.trimEnd());
    console.log(`  receipt sha256:${receipt}, head of ${result.head.size} records at ${result.head.at}, key ${result.head.key}`);
  } else {
    console.log(`agreed: ${name}: head of ${result.head.size} records at ${result.head.at}, key ${result.head.key}`);
  }
}
if (!options.length) {
  console.log("usage: node verify/cli.mjs FILE… [--head HEAD]");
  process.exitCode = 2;
}
