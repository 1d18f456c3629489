import { Refusal } from "./tree.mjs";

export function modelOf() {
  throw new Refusal("models are not recomputed yet");
}
