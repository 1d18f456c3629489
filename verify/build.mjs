// node verify/build.mjs: writes verify.html, the page with all modules in it, since a browser loads none from a file.

import { readFileSync, writeFileSync } from "node:fs";

const folder = new URL(".", import.meta.url);
const order = "tree values functions parser language aggregates model engine proof page".split(" ");

// Each module becomes a function that returns what it exports, so that their names stay apart.
function wrapped(name) {
  const source = readFileSync(new URL(`${name}.mjs`, folder), "utf8");
  const exported = [...source.matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm)].map((match) => match[1]);
  const body = source
    .replace(/^import \* as (\w+) from "\.\/(\w+)\.mjs";$/gm, "const $1 = modules.$2;")
    .replace(/^import (\{[^}]*\}) from "\.\/(\w+)\.mjs";$/gm, "const $1 = modules.$2;")
    .replace(/^export /gm, "");
  return `modules.${name} = (() => {\n${body}return { ${exported.join(", ")} };\n})();\n`;
}

const page = readFileSync(new URL("page.html", folder), "utf8");
const script = `const modules = {};\n${order.map(wrapped).join("\n")}`;
writeFileSync(new URL("verify.html", folder), page.replace("/* modules */\n", () => script));
