"""How long the sentences of the pages are.

python -m tests.docs.wording [PAGE ...]    the mean number of words in a sentence
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from tests.docs.cells import SHOWN

ROOT: Final = Path(__file__).resolve().parents[2]
WORDS_MEAN_MAX: Final = 20.0  # of the sentences of a page
_FENCE: Final = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_TAG: Final = re.compile(r"<[^>\n]+>")
_END: Final = re.compile(r"(?<=[.!?:])\s+(?=[\"'(*_A-Z0-9\[])|\n\s*\n|\n(?=[-*|#] |\d+\. )|\s\|\s")
_WORD: Final = re.compile(r"[A-Za-z0-9][\w'%-]*")


def prose(text: str) -> str:
    """The text without code and what cells gave, addresses and tags; each line stays where it is."""
    without = text
    for whole in (_FENCE, SHOWN):
        without = whole.sub(lambda found: "\n" * found[0].count("\n"), without)
    for pattern, by in ((_CODE, "X"), (_LINK, r"\1"), (_TAG, "")):
        without = pattern.sub(by, without)
    return without


def sentence_lengths(text: str) -> list[int]:
    """The words of each sentence; of a table, of each cell that has at least four."""
    counted = [len(_WORD.findall(part)) for part in _END.split(prose(text))]
    return [count for count in counted if count >= 4]


def words_mean(text: str) -> float:
    """The mean length of the sentences in words; 0 of a text without any."""
    lengths = sentence_lengths(text)
    return sum(lengths) / len(lengths) if lengths else 0.0


def pages_checked() -> list[Path]:
    """README and docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main(names: list[str]) -> None:
    for page in [Path(name) for name in names] or pages_checked():
        print(f"{page}: {words_mean(page.read_text(encoding='utf-8')):.1f} words a sentence")


if __name__ == "__main__":
    main(sys.argv[1:])
