// Checks a proof as docs/reference/proofs.md describes it, and recomputes its decision.

import { Project } from "./engine.mjs";
import { bytesOf, checkSignature, digestOf, leafHash, Refusal, refuseIf, roots } from "./tree.mjs";

const KEYS = "shroff_proof head seq sealed records files rows models path since";
const HEAD_KEYS = "log size root at key signature";

function readJson(text, what, keys) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Refusal(`${what} is not JSON: ${error.message}`);
  }
  if (JSON.stringify(value) !== text.replace(/\n$/, "")) {
    throw new Refusal(`${what} is not written as shroff writes it: something in it was changed`);
  }
  checkKeys(value, what, keys);
  return value;
}

function checkKeys(value, what, keys) {
  const unknown = Object.keys(value).find((key) => !keys.split(" ").includes(key));
  refuseIf(unknown, `${what} has an unknown key ${unknown}`);
}

const number = (value, what) => {
  refuseIf(!Number.isSafeInteger(value), `${what} is not a whole number`);
  return value;
};

async function checkHead(head) {
  checkKeys(head, "the head", HEAD_KEYS);
  bytesOf(head.root, 32);
  await checkSignature(head.key, head.signature, JSON.stringify([head.log, number(head.size, "size"), head.root, head.at]));
}

// Compare with a head that somebody kept: the same log must continue it.
async function checkKept(file, head, keptText) {
  const kept = readJson(keptText, "the kept head", HEAD_KEYS);
  await checkHead(kept);
  if (kept.key !== head.key || kept.log !== head.log) {
    throw new Refusal("the kept head was signed with another key, or is of another log");
  }
  if (kept.size === head.size ? kept.root !== head.root : kept.size > head.size) {
    throw new Refusal(`the log was rewritten: at ${kept.size} records the kept head has another root`);
  }
  if (kept.size < head.size && file.since !== kept.size) {
    throw new Refusal(`the file does not lead from the kept head: make it with --since ${kept.size}`);
  }
  return kept;
}

function recordOf([seq, leaf]) {
  const at = leaf.indexOf("\n");
  const [own, kind, type, id, timeMs, controlSeq, hits, receipt, sealed] = JSON.parse(leaf.slice(0, at));
  refuseIf(own !== seq, `the record ${seq} says that it is ${own}`);
  const body = JSON.parse(leaf.slice(at + 1));
  return { seq, kind, type, id, timeMs, controlSeq, hits, receipt, sealed, body, text: leaf.slice(at + 1) };
}

function filesOf(listed, commitments) {
  const files = {};
  for (const [name, text] of listed) {
    refuseIf(commitments[name] !== digestOf(text), `${name} is not the file that was active`);
    files[name] = JSON.parse(text);
  }
  for (const name of Object.keys(commitments)) {
    if (/^(shroff|events|features|policy)\.yaml$|^rules\//.test(name) && !(name in files)) {
      throw new Refusal(`the file lacks ${name}`);
    }
  }
  return files;
}

function rowsOf(listed, commitments) {
  const found = {};
  for (const [name, size, rows, path] of listed) {
    const leaves = new Map(rows.map(([index, key, digest]) => [index, leafHash(`${key} ${digest}`)]));
    if (commitments[name] !== `${number(size, "size")} ${roots(size, leaves, path).root}`) {
      throw new Refusal(`the rows of ${name} are not those that were active`);
    }
    rows.forEach(([, , digest, text]) => {
      refuseIf(text !== null && digestOf(text) !== digest, `a row of ${name} was changed`);
    });
    const byIndex = rows.map(([index, key, , text]) => ({ index, key, text }));
    found[name] = { size, listed: byIndex.sort((a, b) => a.index - b.index) };
  }
  return found;
}

function recompute(file, records, target) {
  const control = records.find(({ seq }) => seq === target.controlSeq);
  refuseIf(control?.kind !== "control", "the file lacks the definitions that were active");
  const files = filesOf(file.files, control.body);
  const project = new Project(files, rowsOf(file.rows, control.body), Object.fromEntries(file.models));
  const events = records.filter(({ kind, seq }) => kind !== "control" && seq <= target.seq);
  const event = events.map((record) => project.take(record)).at(-1);
  const sealed = JSON.parse(file.sealed);
  const { features, outcome, rules, score, shadow_rules } = project.decide(event, sealed);
  const { content, exploration, versions } = sealed;
  const isMasked = target.text.includes("masked:");
  refuseIf(!isMasked && content !== digestOf(target.text), "the sealed decision is about another content of the event");
  const drawn = exploration ? { exploration } : {};
  const about = { content, event: target.type, ...drawn, features, id: target.id };
  const computed = { ...about, outcome, rules, score, shadow_rules, versions };
  if (JSON.stringify(computed) !== file.sealed) {
    throw new Refusal(`the decision is not what follows: ${difference(sealed, computed)}`);
  }
  const drawnRules = project.rules.map(({ id, effect, by }) => ({ id, effect, by, hits: [...rules, ...shadow_rules].includes(id) }));
  return { ...computed, receipt: target.receipt, ruleList: drawnRules, events, files };
}

function difference(sealed, computed) {
  for (const name of Object.keys(computed)) {
    const sides = [sealed[name], computed[name]];
    if (JSON.stringify(sides[0]) !== JSON.stringify(sides[1])) {
      const isMap = sides.every((side) => side && typeof side === "object" && !Array.isArray(side));
      return isMap ? difference(...sides) : `${name} is ${JSON.stringify(sides[0])} and would be ${JSON.stringify(sides[1])}`;
    }
  }
  return "its form";
}

// Check a file, and with a kept head that the log continues it. Returns what was recomputed.
export async function check(text, keptText = null) {
  try {
    const isHead = text.startsWith('{"log"');
    const file = readJson(text, "the file", isHead ? HEAD_KEYS : KEYS);
    const head = isHead ? file : file.head;
    await checkHead(head);
    const kept = keptText === null ? null : await checkKept(file, head, keptText);
    if (!isHead) {
      checkPath(file, kept);
    }
    return { agrees: true, head, kept, decision: isHead ? null : decisionOf(file) };
  } catch (error) {
    return { agrees: false, reason: error instanceof Refusal ? error.message : `the file cannot be read: ${error.message}` };
  }
}

function checkPath({ head, records, path, since }, kept) {
  const leaves = new Map(records.map(([seq, leaf]) => [seq - 1, leafHash(leaf)]));
  refuseIf(leaves.size !== records.length, "a record stands twice in the file");
  if (since !== undefined && !(number(since, "since") >= 1 && since <= head.size)) {
    throw new Refusal("since is not the size of an earlier head");
  }
  const { root, earlyRoot } = roots(head.size, leaves, path, since);
  refuseIf(root !== head.root, "the records do not lead to the root of the head");
  if (kept && kept.size < head.size && earlyRoot !== kept.root) {
    throw new Refusal(`the log was rewritten: its first ${kept.size} records are not those of the kept head`);
  }
}

function decisionOf(file) {
  const records = file.records.map(recordOf);
  const target = records.find(({ seq }) => seq === file.seq);
  refuseIf(file.shroff_proof !== 1 || !target, "this is no proof of version 1, or the record of its event is missing");
  refuseIf(target.sealed !== digestOf(file.sealed), "the sealed decision is not the one in the log");
  return recompute(file, records, target);
}
