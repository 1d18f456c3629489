"""Write the files that are made from the tables: `python -m tools.watch`."""

from __future__ import annotations

from tools.watch.rules import ROOT, RULES, rules_text

MADE = {RULES: rules_text}

if __name__ == "__main__":
    for path, made in MADE.items():
        (ROOT / "deploy" / path).parent.mkdir(exist_ok=True)
        (ROOT / "deploy" / path).write_text(made(), encoding="utf-8")
