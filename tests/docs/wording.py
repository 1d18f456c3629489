"""What the texts of the project do not say, and what they say instead; how long their sentences are.

python -m tests.docs.wording [PAGE ...]    the phrases that should be others, and the mean sentence length
python -m tests.docs.wording --texts       the same of messages, screens and mails, in the code
python -m tests.docs.wording --record      write the numbers that are allowed
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.cells import SHOWN

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
INSTEAD_IN_TEXTS: Final = INSTEAD | {
    r"\bthere already\b": "already in the log, already exists",
    r"\b(at|behind|to|from|since|of|have|has) places? (?=[{0-9])": "sequence number",
    r"\bmade anew\b": "recreated",
    r"\bcannot be had\b": "cannot be read, is not available",
    r"\bnot there any more\b": "no longer exists",
    r"\blikely \{": "95 % confidence interval",
    r"\blets? (us|this user|\{user\}) in\b": "accepts (or rejects) the sign-in",
    r"\bwhat stands (at|in|on)\b": "name the record",
    r"\bnobody here\b": "shroff",
    r"\bcomes? to (approve|challenge|review|decline|\{)": "gives",
    r"\blook(s|ed)? (unlike|once more)\b": "does not look like, another check",
    r"\b(let|letting) them through\b": "approve (exploration)",
    r"\bmay not do this\b": "lacks the permission",
    r"\b[Pp]ut case .*\baway\b|\bbrings? it back before\b": "snooze; earlier",
    r"\bnone that\b": "no ... that; not a valid ...",
    r"(?<!here )\bis no (event type|entity|field|feature|time|(whole )?number|duration|list|file|text)\b": "is not a",
    r"\btakes nothing\b": "is failing",
    r"\b(tried|try) again by itself\b": "retried",
    r"\bmend(s|ed)?\b": "fix",
    r"\bstands twice\b": "is used twice",
    r"\bsays who\b": "defines",
    r"\bfor ever\b": "permanently; without an end",
    r"\b(is|was|are|were) not asked for\b": "name the option",
    r"\bmeans? by it\b": "name the thing",
}
HEAD: Final = """\
# Phrases of the lists in `wording.py` that pages, and texts of the program, still have. A number only shrinks; a file
# that is not here has none."""
_PATTERNS: Final = {re.compile(pattern, re.IGNORECASE): hint for pattern, hint in INSTEAD.items()}
_TEXT_PATTERNS: Final = {re.compile(pattern, re.IGNORECASE): hint for pattern, hint in INSTEAD_IN_TEXTS.items()}
_ANY: Final = re.compile("|".join(f"(?:{item})" for item in INSTEAD_IN_TEXTS), re.IGNORECASE)
_DOCSTRING: Final = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""')
_COMMENT: Final = re.compile(r"(?:^|  )[ \t]*# .*$", re.MULTILINE)
_LITERAL: Final = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'')
_JINJA: Final = re.compile(r"\{[{%#].*?[%}#]\}")
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
    """The text without code and what cells gave, addresses and tags; each line stays where it is."""
    without = text
    for whole in (_FENCE, SHOWN):
        without = whole.sub(lambda found: "\n" * found[0].count("\n"), without)
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


def texts_of(name: str, code: str) -> str:
    """What a file of the program shows: literals of several words, no docstrings; of a template all but its code."""
    if not name.endswith(".py"):
        return _JINJA.sub(" ", code)
    bare = _COMMENT.sub("", _DOCSTRING.sub(lambda found: "\n" * found[0].count("\n"), code))
    return "\n".join(
        " | ".join(text for found in _LITERAL.findall(line) if " " in (text := found[0] or found[1]))
        for line in bare.splitlines()
    )


def hits_in_texts(name: str, code: str) -> list[Hit]:
    """The phrases of what a file of the program shows that should be others, by line."""
    return [
        Hit(number, found[0].strip(), instead)
        for number, line in enumerate(texts_of(name, code).splitlines(), 1)
        if _ANY.search(line)
        for pattern, instead in _TEXT_PATTERNS.items()
        for found in pattern.finditer(line)
    ]


def sentence_lengths(text: str) -> list[int]:
    """The words of each sentence; of a table, of each cell that has at least four."""
    counted = [len(_WORD.findall(part)) for part in _END.split(prose(text))]
    return [count for count in counted if count >= 4]


def words_mean(text: str) -> float:
    """The mean length of the sentences in words; 0 of a text without any."""
    lengths = sentence_lengths(text)
    return sum(lengths) / len(lengths) if lengths else 0.0


def pages_checked() -> list[Path]:
    """README and docs. Decisions are left out: they are of their day, and none is written anew."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if ROOT / "docs/decisions" not in page.parents]


def sources_checked() -> list[Path]:
    """The modules and templates of the program, mails included."""
    return [
        path
        for path in sorted((ROOT / "src").rglob("*"))
        if path.suffix in {".py", ".html", ".txt", ".j2"} and "__pycache__" not in path.parts
    ]


def in_texts() -> dict[str, list[Hit]]:
    """What is found in the texts of the program, by file; no entry for a file without any."""
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sources_checked()}
    return {name: said for name, code in found.items() if (said := hits_in_texts(name, code))}


def record() -> None:
    """Write `wording.toml` by the pages and texts as they are."""
    counts = {
        page.relative_to(ROOT).as_posix(): len(hits(page.read_text(encoding="utf-8"))) for page in pages_checked()
    }
    lines = [f'"{name}" = {count}' for name, count in counts.items() if count]
    texts = [f'"{name}" = {len(said)}' for name, said in in_texts().items()]
    parts = [HEAD, "", "[phrases]", *lines, "", "[texts]", *texts, ""]
    (ROOT / "tests/docs/wording.toml").write_text("\n".join(parts), encoding="utf-8")


def main(names: list[str]) -> None:
    if names == ["--record"]:
        record()
        return
    for name, said in in_texts().items() if names == ["--texts"] else ():
        print("\n".join(f"{name}:{line.line}: {line.phrase!r} -> {line.instead}" for line in said))
    for page in [Path(name) for name in names if name != "--texts"] or ([] if names else pages_checked()):
        text = page.read_text(encoding="utf-8")
        found = hits(text)
        print(f"{page}: {len(found)} phrases, {words_mean(text):.1f} words a sentence")
        for item in found if names else ():
            print(f"  {item.line}: {item.phrase!r} -> {item.instead}")


if __name__ == "__main__":
    main(sys.argv[1:])
