"""Write the pages that are made from the program, and check every link between all pages.

Addresses on the web are left alone: the pages must be checkable without a network.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)(?: "[^"]*")?\)')
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def main() -> int:
    """Write the made pages; print each broken link with its page and line; 1 if there is one."""
    from tools import example_plugins

    example_plugins.find()  # before anything asks for entry points
    from docs.figures import WITH_FIGURES, with_figures
    from docs.made import made_pages

    for page, text in (made_pages() | {ROOT / name: with_figures(ROOT / name) for name in WITH_FIGURES}).items():
        page.write_text(text, encoding="utf-8")
    found = [line for page in pages() for line in broken_links(page)]
    print("\n".join(found) or f"{len(pages())} pages, every link leads somewhere")
    return 1 if found else 0


def pages() -> list[Path]:
    """All pages of the project: docs/ and those beside the README."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def broken_links(page: Path) -> list[str]:
    """The links of a page that lead nowhere, as `page:line: link`."""
    text = CODE.sub(lambda code: "\n" * code[0].count("\n"), page.read_text(encoding="utf-8"))
    found = []
    for link in LINK.finditer(text):
        if re.match(r"[a-z]+:", link[1]):
            continue
        file, _, heading = link[1].partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (heading and heading not in anchors(target)):
            line = text.count("\n", 0, link.start()) + 1
            found.append(f"{page.relative_to(ROOT)}:{line}: {link[1]} leads nowhere")
    return found


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
