// Parses expressions by docs/reference/grammar.md into plain trees: { op, ... }.

import { refuseIf } from "./tree.mjs";
import { decimal, duration } from "./values.mjs";

const WORDS = new Set(
  "and or not in is missing else when where over last delayed including matching since of true false".split(" "),
);
const TOKEN = new RegExp(
  [
    "(?<space>\\s+)",
    "(?<duration>(?:[0-9]+(?:ms|s|m|h|d|w))+(?![\\p{L}\\p{N}_]))",
    "(?<number>[0-9][0-9_]*(?:\\.[0-9][0-9_]*)?)",
    "(?<name>[\\p{L}_][\\p{L}\\p{N}\\p{M}_]*)",
    "(?<text>'(?:[^']|'')*')",
    "(?<sign>\\.\\.|==|!=|<=|>=|[-+*/<>()\\[\\],.])",
  ].join("|"),
  "uy",
);

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    refuseIf(!match, `cannot read the expression at ${JSON.stringify(text.slice(at, at + 20))}`);
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    if (kind !== "space") {
      tokens.push({ kind: kind === "name" && WORDS.has(match[0]) ? "word" : kind, text: match[0] });
    }
  }
  tokens.push({ kind: "end", text: "the end" });
  return tokens;
}

class Parser {
  constructor(text) {
    this.source = text;
    this.tokens = tokensOf(text);
    this.at = 0;
  }

  get token() {
    return this.tokens[this.at];
  }

  is(...texts) {
    return ["word", "sign"].includes(this.token.kind) && texts.includes(this.token.text);
  }

  isName(text) {
    return this.token.kind === "name" && this.token.text === text;
  }

  next() {
    this.at += 1;
    return this.tokens[this.at - 1].text;
  }

  takes(text) {
    const found = this.is(text) || this.isName(text);
    this.at += found ? 1 : 0;
    return found;
  }

  expect(text) {
    refuseIf(!this.takes(text), `expected ${text} and found ${this.token.text} in ${this.source}`);
  }

  chain(operand, ...operators) {
    let left = operand();
    while (this.is(...operators)) {
      const op = this.next();
      left = { op, left, right: operand() };
    }
    return left;
  }

  expression() {
    const both = () => this.chain(() => this.negation(), "and");
    const either = () => this.chain(both, "or");
    return this.chain(() => this.chain(either, "when"), "else");
  }

  negation() {
    return this.takes("not") ? { op: "not", operand: this.negation() } : this.comparison();
  }

  comparison() {
    const left = this.sum();
    if (this.is("==", "!=", "<", "<=", ">", ">=")) {
      const op = this.next();
      return { op: "compare", sign: op, left, right: this.sum() };
    }
    if (this.takes("is")) {
      const isNegated = this.takes("not");
      this.expect("missing");
      return negatedIf(isNegated, { op: "is missing", operand: left });
    }
    const isNegated = this.takes("not");
    if (!this.takes("in")) {
      return left;
    }
    return negatedIf(isNegated, this.within(left));
  }

  within(operand) {
    if (this.takes("[")) {
      return { op: "in values", operand, values: this.list("]") };
    }
    if (this.isName("lists")) {
      const [, ...parts] = this.dotted();
      return { op: "in list", operand, list: parts.join(".") };
    }
    const low = this.sum();
    this.expect("..");
    const above = { op: "compare", sign: ">=", left: operand, right: low };
    return { op: "and", left: above, right: { op: "compare", sign: "<=", left: operand, right: this.sum() } };
  }

  list(end) {
    const items = [];
    while (!this.is(end) && !this.is("where") && !this.isName("via")) {
      items.push(this.expression());
      if (!this.takes(",")) {
        break;
      }
    }
    if (end === "]") {
      this.expect(end);
    }
    return items;
  }

  sum() {
    return this.chain(() => this.product(), "+", "-");
  }

  product() {
    return this.chain(() => this.signed(), "*", "/");
  }

  signed() {
    return this.takes("-") ? { op: "negative", operand: this.signed() } : this.atom();
  }

  atom() {
    const { kind, text } = this.token;
    if (kind === "number") {
      const [units, places] = decimal(this.next().replaceAll("_", ""));
      return { op: "number", units, places, isWhole: !text.includes(".") };
    }
    if (kind === "duration") {
      return { op: "duration", ms: duration(this.next()) };
    }
    if (kind === "text") {
      return { op: "text", text: this.next().slice(1, -1).replaceAll("''", "'") };
    }
    if (this.is("true", "false", "missing")) {
      return { op: "constant", word: this.next() };
    }
    if (this.takes("(")) {
      const inner = this.expression();
      this.expect(")");
      return inner;
    }
    const isCall = this.tokens[this.at + 1].text === "(";
    refuseIf(kind !== "name" && !(text === "last" && isCall), `expected a value and found ${text} in ${this.source}`);
    if (isCall) {
      return this.call();
    }
    const parts = this.dotted();
    if (parts[0] === "tables" && this.takes("[")) {
      const key = this.expression();
      this.expect("]");
      this.expect(".");
      return { op: "look up", table: parts.slice(1).join("."), key, column: this.next() };
    }
    if (this.is("of") && this.tokens[this.at + 1].kind === "name") {
      this.next();
      return { op: "feature of", name: parts.join("."), event: this.next() };
    }
    return { op: "name", parts };
  }

  dotted() {
    const parts = [this.next()];
    while (this.takes(".")) {
      parts.push(this.next());
    }
    return parts;
  }

  call() {
    const name = this.next();
    this.expect("(");
    const tree = { op: "call", name, arguments: this.list(")"), modifiers: {} };
    if (this.takes("via")) {
      tree.via = this.expression();
      tree.upTo = this.takes("up") && this.takes("to") ? Number(this.next().replaceAll("_", "")) : 50;
    }
    if (this.takes("where")) {
      tree.where = this.expression();
    }
    this.expect(")");
    while (this.modifier(tree.modifiers));
    return tree;
  }

  modifier(found) {
    const number = () => Number(this.next().replaceAll("_", ""));
    const isEachSource = this.is("of") && this.tokens[this.at + 1].text === "each";
    if (this.takes("over")) {
      Object.assign(found, this.takes("last") ? { lastN: number() } : { over: duration(this.next()) });
    } else if (this.takes("delayed")) {
      found.delay = duration(this.next());
    } else if (this.takes("matching")) {
      [, found.matching] = this.dotted();
    } else if (this.takes("since")) {
      found.sinceFlag = this.takes("flag");
    } else if (this.takes("including")) {
      found.including = this.takes("this");
    } else if (isEachSource) {
      this.at += 3;
      found.eachSource = true;
    } else {
      return false;
    }
    return true;
  }
}

const negatedIf = (isNegated, tree) => (isNegated ? { op: "not", operand: tree } : tree);

export function parse(text) {
  const parser = new Parser(text);
  const tree = parser.expression();
  refuseIf(parser.token.kind !== "end", `expected the end and found ${parser.token.text} in ${text}`);
  return tree;
}
