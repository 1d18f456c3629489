// SHA-256, and Merkle trees with the hashes of RFC 6962. Reference: docs/reference/proofs.md.

export class Refusal extends Error {}

export function refuseIf(isWrong, reason) {
  if (isWrong) {
    throw new Refusal(reason);
  }
}

const ROUND_CONSTANTS = fractions(64, Math.cbrt);
const START = fractions(8, Math.sqrt);

// The first 32 bits of the fractions of roots of the first primes.
function fractions(count, root) {
  const found = [];
  for (let candidate = 2; found.length < count; candidate += 1) {
    let isPrime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor += 1) {
      isPrime &&= candidate % divisor !== 0;
    }
    if (isPrime) {
      found.push(((root(candidate) % 1) * 2 ** 32) | 0);
    }
  }
  return found;
}

const rotated = (word, bits) => (word >>> bits) | (word << (32 - bits));

export function sha256(bytes) {
  const length = (bytes.length + 9 + 63) & ~63;
  const padded = new Uint8Array(length);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(length - 4, (bytes.length << 3) >>> 0);
  const state = [...START];
  const words = new Int32Array(64);
  for (let block = 0; block < length; block += 64) {
    for (let index = 0; index < 16; index += 1) {
      words[index] = view.getInt32(block + 4 * index);
    }
    for (let index = 16; index < 64; index += 1) {
      const [early, late] = [words[index - 15], words[index - 2]];
      const small = rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3);
      const large = rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10);
      words[index] = (words[index - 16] + small + words[index - 7] + large) | 0;
    }
    mix(state, words);
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, index) => digest.setInt32(4 * index, word));
  return new Uint8Array(digest.buffer);
}

function mix(state, words) {
  let [a, b, c, d, e, f, g, h] = state;
  for (let index = 0; index < 64; index += 1) {
    const sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const first = (h + sum1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[index] + words[index]) | 0;
    const sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const second = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [a, b, c, d, e, f, g, h] = [(first + second) | 0, a, b, c, (d + first) | 0, e, f, g];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => {
    state[index] = (state[index] + word) | 0;
  });
}

export const utf8 = (text) => new TextEncoder().encode(text);
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
export const digestOf = (text) => hex(sha256(utf8(text)));

export function bytesOf(digits, size) {
  if (typeof digits !== "string" || digits.length !== 2 * size || !/^[0-9a-f]*$/.test(digits)) {
    throw new Refusal(`expected ${2 * size} hexadecimal digits in lower case, found ${JSON.stringify(digits)}`);
  }
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export const leafHash = (text) => sha256(Uint8Array.of(0, ...utf8(text)));

function nodeHash(left, right) {
  const joined = new Uint8Array(65);
  joined[0] = 1;
  joined.set(left, 1);
  joined.set(right, 33);
  return sha256(joined);
}

// The root of a tree of this size, and of the earlier one whose size is `earlier`, from the hashes of some leaves (a
// map by index) and the hashes of a path.
export function roots(size, leaves, path, earlier = 0) {
  const nodes = path.map((digits) => bytesOf(digits, 32));
  const indexes = [...leaves.keys()].sort((a, b) => a - b);
  if (indexes.some((index) => !Number.isInteger(index) || index < 0 || index >= size)) {
    throw new Refusal(`a leaf lies outside the tree of ${size} leaves`);
  }
  let used = 0;
  const next = () => {
    refuseIf(used === nodes.length, "the path is too short");
    used += 1;
    return nodes[used - 1];
  };
  const isKnown = (start, end) => indexes.some((index) => start <= index && index < end);
  const walk = (start, end) => {
    const known = isKnown(start, end);
    const isCut = start < earlier && earlier < end;
    if (end - start === 1 || (!known && !isCut)) {
      const whole = known ? leaves.get(start) : next();
      return { whole, early: end <= earlier ? whole : null };
    }
    let half = 1;
    while (2 * half < end - start) {
      half *= 2;
    }
    const left = walk(start, start + half);
    const right = walk(start + half, end);
    const early = right.early ? nodeHash(left.early, right.early) : left.early;
    return { whole: nodeHash(left.whole, right.whole), early };
  };
  if (!size) {
    return { root: hex(sha256(new Uint8Array())), earlyRoot: null };
  }
  const { whole, early } = walk(0, size);
  refuseIf(used !== nodes.length, "the path is too long");
  return { root: hex(whole), earlyRoot: early && hex(early) };
}

export async function checkSignature(keyDigits, signature, text) {
  const key = bytesOf(keyDigits, 32);
  let isGood = false;
  try {
    const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    isGood = await crypto.subtle.verify("Ed25519", imported, bytesOf(signature, 64), utf8(text));
  } catch (error) {
    throw new Refusal(`the signature cannot be checked here: ${error.message}`);
  }
  refuseIf(!isGood, "the signature of the head does not fit its key");
}
