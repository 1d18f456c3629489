"""Cells of pages: blocks marked `py` run as in a notebook, and the page shows below each what it gave.

python -m tests.docs.cells docs/tutorial/a-notebook.md    # run a page, and write what its cells gave
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

SHOWN = re.compile(r"\n<div class=\"output\">\n(.*?)\n</div>\n", re.DOTALL)
FRAME = re.compile(
    r"<style.*?</style>\n?|</?div>\n?| border=\"1\" class=\"dataframe\"| style=\"[^\"]*\"|<iframe.*?</iframe>",
    re.DOTALL,
)  # pandas' own; and pages with charts, which would be longer than the rest
VARIES = re.compile(r"\d+\.\d+|\bm-[\w-]+|\d[\d:.]+Z| +")  # seconds, what processors round differently, ids, widths


def shown_by(code: str, names: dict[str, Any]) -> str:
    """Run a cell; what it prints, then the value at its end as `_repr_html_` or else `repr` gives it.

    An empty line would end the HTML of a Markdown page: none has any.
    """
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    parts = [f"<pre>{escape(printed.getvalue().rstrip())}</pre>"] if printed.getvalue() else []
    if value is not None:
        parts.append(value._repr_html_() if hasattr(value, "_repr_html_") else f"<pre>{escape(repr(value))}</pre>")
    return re.sub(r"\n(?=\n)", "\n&#8203;", FRAME.sub("", "\n".join(parts)))


def alike(text: str) -> str:
    """The output without what differs from run to run and from processor to processor."""
    return VARIES.sub("~", text).strip()


def main() -> None:
    """Run each page of the command line, and write what its cells gave."""
    from tests.docs.pages import steps
    from tests.docs.test_pages import perform

    for page in map(Path, sys.argv[1:]):
        text = page.read_text(encoding="utf-8")
        names: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as folder:
            for step in steps(text):
                status, given = perform(step, Path(folder), names)
                assert status == step.status, given
                if step.kind == "cell":
                    before, cell, after = text.partition(f"```py\n{step.text}```\n")
                    old = SHOWN.match(after)
                    new = f'\n<div class="output">\n{given}\n</div>\n' if given else ""
                    text = before + cell + new + after[old.end() if old else 0 :]
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
