// Scores an event by the trees or weights of a model. Reference: docs/reference/model-files.md.

import { compile } from "./language.mjs";
import { digestOf, Refusal, refuseIf } from "./tree.mjs";
import * as v from "./values.mjs";

const FILES = { xgboost: "model.json", logistic: "logistic.json" };
const MARGINS = { xgboost: marginOfTrees, logistic: marginOfWeights };

export function modelOf(project, id, event) {
  const { models, files } = project;
  const named = Object.values(files["models/in_force.json"]?.[event] ?? {}).flat();
  const manifest = JSON.parse(models["manifest.json"] ?? "{}");
  const isActive = named.some((each) => each.id === id && each.digest === digestOf(models["manifest.json"] ?? ""));
  refuseIf(manifest.id !== id || !isActive, `the file lacks the model ${id}, or it was changed`);
  const own = FILES[manifest.format];
  const wrong = Object.keys(models).find((name) => name !== "manifest.json" && manifest.files[name] !== digestOf(models[name]));
  if (!own || wrong) {
    throw new Refusal(wrong ? `${wrong} of the model was changed` : `models of the form ${manifest.format} are not recomputed`);
  }
  const body = JSON.parse(models[own]);
  const scope = { this: [event], entity: null, rule: null, item: null };
  const inputs = manifest.inputs.map((input) => ({ ...input, node: compile(input.name, project, scope) }));
  const score = (of) => {
    const values = inputs.map(({ node, categories }) => asNumber(node.run({ event: of, item: null }), node.type, categories));
    return probability(MARGINS[manifest.format](body, values, manifest), manifest);
  };
  return { score };
}

// A value as a model reads it; NaN is missing.
function asNumber(value, of, categories) {
  if (value === null) {
    return NaN;
  }
  if (v.isText(of)) {
    const code = categories.indexOf(value);
    return code < 0 ? NaN : code;
  }
  if (["time", "duration"].includes(of.kind)) {
    return Number(value) / 1000;
  }
  return v.isExact(of) ? v.toReal(value, of.places) : Number(value);
}

function marginOfTrees({ learner }, values, manifest) {
  const { model } = learner.gradient_booster;
  const parallel = Number(model.gbtree_model_param.num_parallel_tree ?? 1) || 1;
  const rounds = manifest.best_iteration ?? null;
  const trees = rounds === null ? model.trees : model.trees.slice(0, (rounds + 1) * parallel);
  const inputs = values.map(Math.fround);
  return trees.reduce((sum, tree) => Math.fround(sum + leafOf(tree, inputs)), startOf(learner, manifest));
}

function startOf(learner, manifest) {
  if (manifest.base_margin !== undefined && manifest.base_margin !== null) {
    return manifest.base_margin;
  }
  const base = Math.fround(Number(String(learner.learner_model_param.base_score).replace(/[[\]]/g, "")));
  const isProbability = /logistic|logitraw/.test(learner.objective.name);
  return isProbability ? -Math.fround(Math.log(Math.fround(Math.fround(1 / base) - 1))) : base;
}

function leafOf(tree, inputs) {
  let node = 0;
  while (tree.left_children[node] >= 0) {
    const value = inputs[tree.split_indices[node]];
    const set = tree.categories_nodes?.indexOf(node) ?? -1;
    let isLeft = Boolean(Number(tree.default_left[node]));
    if (!Number.isNaN(value)) {
      const first = tree.categories_segments?.[set];
      const codes = set < 0 ? [] : tree.categories.slice(first, first + tree.categories_sizes[set]);
      isLeft = set < 0 ? value < Math.fround(tree.split_conditions[node]) : !codes.includes(value);
    }
    node = (isLeft ? tree.left_children : tree.right_children)[node];
  }
  return Math.fround(tree.split_conditions[node]);
}

function marginOfWeights({ start, inputs }, values) {
  return inputs.reduce((sum, input, index) => {
    const value = values[index];
    const known = input.kind === "category" ? input.weights[value] : input.weight * ((value - input.mean) / input.scale);
    return sum + (Number.isNaN(value) ? input.missing : known);
  }, start);
}

function probability(margin, { calibration, negatives_kept: kept }) {
  const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
  const { kind = "none", slope, intercept, margins, probabilities } = calibration ?? {};
  const ways = {
    none: () => sigmoid(margin),
    platt: () => sigmoid(slope * margin + intercept),
    isotonic: () => between(margin, margins, probabilities),
    identity: () => Math.min(Math.max(margin, 0), 1),
  };
  const found = ways[kind]();
  const share = kept ?? 1;
  return v.roundReal(share === 1 ? found : (share * found) / (share * found + 1 - found), 6);
}

function between(margin, margins, probabilities) {
  const above = margins.findIndex((each) => each > margin);
  if (above <= 0) {
    return above ? probabilities.at(-1) : probabilities[0];
  }
  const [low, high] = [margins[above - 1], margins[above]];
  const [from, to] = [probabilities[above - 1], probabilities[above]];
  return from + ((margin - low) / (high - low)) * (to - from);
}
