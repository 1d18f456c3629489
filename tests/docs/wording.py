"""What the texts of the project do not say, and what they say instead; how long their sentences are.

python -m tests.docs.wording [PAGE ...]    the phrases that should be others, and the mean sentence length
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORDS_MEAN_MAX: Final = 20.0  # of the sentences of a page
INSTEAD: Final = {
    r"\bwho(so)?ever\b": "name the person or the program",
    r"\b(for|to|by|of|as|from) who (asks|has|is|may|looks|reads|writes)\b": "name the person or the program",
    r"\bwho asks\b": "the caller, the user",
    r"(?<![\w-])(of|from|by|to|in|at|with) what (is|was|has|had|comes|came|leaves|left|gave|gives)\b": "a noun",
    r"(?:^|[.;:] )What (is|was|has|had|comes|came|leaves|left) ": "a noun",
    r"\b(none|some|much|little) of it\b": "name the thing",
    r"\bin vain\b": "failed",
    r"\bin force\b": "active; of a model: champion",
    r"\b(wants?|needs?) (somebody's |a second pair of )?eyes\b": "needs review",
    r"\bit is well\b": "healthy",
    r"\b(weigh|weighs|weighed) (it )?(again|anew)\b": "recalculate",
    r"\bwho leads\b": "the active writer (leader)",
    r"\b(stands?|standing) by\b": "standby",
    r"\bmade-up\b": "synthetic, generated",
    r"\blet(s|ting)? through\b": "approve (exploration)",
    r"\buntaken\b": "unmatched",
    r"\bdraws? again\b": "resample",
    r"\bthere is and is not\b": "say it outright",
    r"\bgoes (away )?after\b": "is deleted after",
    r"\b(stands|stood) in\b": "is in",
    r"\b(is|are|was|were|be) told\b": "is notified, is reported, is printed",
    r"\bcalled so\b": "has this name",
    r"\bso much as\b": "even",
    r"\bhas it that\b": "says",
    r"\bbeforehand\b": "before",
}
HEAD: Final = """\
# Phrases of the list in `wording.py` that pages still have. A number only shrinks; a page that is not here has none.

[phrases]"""
_PATTERNS: Final = {re.compile(pattern, re.IGNORECASE): hint for pattern, hint in INSTEAD.items()}
_FENCE: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_TAG: Final = re.compile(r"<[^>\n]+>")
_END: Final = re.compile(r"(?<=[.!?:])\s+(?=[\"'(*_A-Z0-9\[])|\n\s*\n|\n(?=[-*|#] |\d+\. )|\s\|\s")
_WORD: Final = re.compile(r"[A-Za-z0-9][\w'%-]*")


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase of a page that should be another."""

    line: int
    phrase: str
    instead: str


def prose(text: str) -> str:
    """The text without code, addresses and tags; each line stays where it is."""
    without = _FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    for pattern, by in ((_CODE, "X"), (_LINK, r"\1"), (_TAG, "")):
        without = pattern.sub(by, without)
    return without


def hits(text: str) -> list[Hit]:
    """The phrases of a text that should be others, by line."""
    return [
        Hit(number, found[0].strip(), instead)
        for number, line in enumerate(prose(text).splitlines(), 1)
        for pattern, instead in _PATTERNS.items()
        for found in pattern.finditer(line)
    ]


def sentence_lengths(text: str) -> list[int]:
    """The words of each sentence; of a table, of each cell that has at least four."""
    counted = [len(_WORD.findall(one)) for one in _END.split(prose(text))]
    return [count for count in counted if count >= 4]


def words_mean(text: str) -> float:
    """The mean length of the sentences in words; 0 of a text without any."""
    lengths = sentence_lengths(text)
    return sum(lengths) / len(lengths) if lengths else 0.0


def pages_checked() -> list[Path]:
    """README and docs. Decisions are left out: they are of their day, and none is written anew."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if ROOT / "docs/decisions" not in page.parents]


def record() -> None:
    """Write `wording.toml` by the pages as they are."""
    counts = {
        page.relative_to(ROOT).as_posix(): len(hits(page.read_text(encoding="utf-8"))) for page in pages_checked()
    }
    lines = [f'"{name}" = {count}' for name, count in counts.items() if count]
    (ROOT / "tests/docs/wording.toml").write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")


def main(names: list[str]) -> None:
    if names == ["--record"]:
        record()
        return
    for page in [Path(name) for name in names] or pages_checked():
        text = page.read_text(encoding="utf-8")
        found = hits(text)
        print(f"{page}: {len(found)} phrases, {words_mean(text):.1f} words a sentence")
        for one in found if names else ():
            print(f"  {one.line}: {one.phrase!r} -> {one.instead}")


if __name__ == "__main__":
    main(sys.argv[1:])
