"""The reader that the reference shows of the log's format, which knows nothing of shroff."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

from tests.docs.pages import ROOT, blocks


@cache
def documented() -> SimpleNamespace:
    ((_, _, program),) = blocks((ROOT / "docs/reference/log-format.md").read_text(encoding="utf-8"))
    assert "shroff" not in program
    names: dict[str, object] = {}
    exec(compile(program, "log-format.md", "exec"), names)
    return SimpleNamespace(**names)
