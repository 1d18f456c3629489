"""Build the documentation site of one version: dist/site/html/VERSION, from docs/ and the pages that they link to.

python docs/site.py [--version 0.1]

Versions that are in the folder already stay, and each page offers them. A link that leads nowhere fails the build.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SITE: Final = ROOT / "dist" / "site"
LINK: Final = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
ITEM: Final = re.compile(r"\[[^\]]*\]\(([\w./-]+\.md)\)")
SECTIONS: Final = ("tutorial", "howto", "reference", "explain", "runbooks")
MORE: Final = (
    "examples/README.md",
    "deploy/README.md",
    "docs/glossary.md",
    "CHANGELOG.md",
    "docs/roadmap.md",
    "CONTRIBUTING.md",
    "docs/decisions/index.md",
)
REDIRECT: Final = (
    '<!doctype html><meta charset="utf-8"><title>shroff</title><meta http-equiv="refresh" content="0; url={}/">\n'
)


def main() -> int:
    """Build; the exit status of the builder: 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", default=metadata.version("shroff"), help="folder and name of this version")
    version = parser.parse_args().version
    pages = copy_pages()
    config = tomllib.loads((ROOT / "docs" / "site.toml").read_text(encoding="utf-8"))
    config |= {"docs_dir": "pages", "site_dir": f"html/{version}", "nav": navigation(pages)}
    (SITE / "mkdocs.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    builder = [str(Path(sys.executable).with_name("zensical")), "build", "--strict", "--clean", "-f", "mkdocs.yml"]
    built = subprocess.run(builder, cwd=SITE, env=os.environ | {"NO_COLOR": "1"}, check=False)
    if built.returncode == 0:
        list_versions(version)
        print(f"{len(pages)} pages: dist/site/html/index.html; look at it: python -m http.server -d dist/site/html")
    return built.returncode


def project() -> dict[str, Any]:
    """The part `project` of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def copy_pages() -> dict[Path, str]:
    """Copy docs/ and the pages that it links to into `pages`; the title of each by its path in the repository."""
    target = SITE / "pages"
    shutil.rmtree(target, ignore_errors=True)
    titles: dict[Path, str] = {}
    waiting = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in MORE)]
    while waiting:
        page = waiting.pop()
        if page in titles:
            continue
        text = page.read_text(encoding="utf-8")
        titles[page] = re.sub(r"[`\[\]]|\(\S+\)", "", text.splitlines()[0].lstrip("# "))
        waiting += [link for link in linked(page, text) if link.suffix == ".md" and link.is_file()]
        copy = target / address(page)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(LINK.sub(lambda link: moved(page, link[1]), text), encoding="utf-8")  # noqa: B023 - at once
    for folder in ("screens", "assets"):
        shutil.copytree(ROOT / "docs" / folder, target / folder, dirs_exist_ok=True)
    return titles


def linked(page: Path, text: str) -> Iterator[Path]:
    """The files that a page links to."""
    return ((page.parent / link[1]).resolve() for link in LINK.finditer(text))


def address(file: Path) -> PurePosixPath:
    """Where a file of the repository is in `pages`: docs/ is its root, and a README the index of its folder."""
    path = PurePosixPath(file.relative_to(ROOT).as_posix())
    path = path.relative_to("docs") if path.parts[0] == "docs" else path
    return path.with_name("index.md") if path.name == "README.md" and len(path.parts) > 1 else path


def moved(page: Path, link: str) -> str:
    """A link as it is written in the copy of a page; files that are no page are read in the repository."""
    file = (page.parent / link).resolve()
    if file.suffix not in {".md", ".webp"} and file.exists():
        kind = "tree" if file.is_dir() else "blob"
        return f"{project()['urls']['Source']}/{kind}/main/{file.relative_to(ROOT).as_posix()}"
    if not file.is_relative_to(ROOT):
        return link
    return os.path.relpath(address(file), address(page).parent)


def navigation(titles: dict[Path, str]) -> list[Any]:
    """The tabs: each section in the order of its index, in groups by its headings; a page that no index has fails.

    Raises: SystemExit, naming the pages.
    """
    docs = ROOT / "docs"
    tabs: list[Any] = [{"Home": "index.md"}]
    for section in SECTIONS:
        index = docs / section / "index.md"
        groups: list[Any] = [address(index).as_posix()]
        group = groups
        for line in index.read_text(encoding="utf-8").splitlines():
            if line.startswith("## "):
                group = []
                groups.append({line[3:]: group})
            for item in ITEM.finditer(line):
                if (page := (index.parent / item[1]).resolve()) in titles and page.is_relative_to(index.parent):
                    group.append({titles[page]: address(page).as_posix()})
        if lacking := set(index.parent.rglob("*.md")) - set(paths(groups)):
            sys.exit(f"docs/{section}/index.md lacks {', '.join(sorted(page.name for page in lacking))}")
        tabs.append({titles[index]: groups})
    return [*tabs, {"More": [{titles[ROOT / name]: address(ROOT / name).as_posix()} for name in MORE]}]


def paths(groups: list[Any]) -> Iterator[Path]:
    """The pages of a section's navigation, as paths in docs/."""
    for group in groups:
        for part in [group] if isinstance(group, str) else group.values():
            if isinstance(part, str):
                yield ROOT / "docs" / part
            else:
                yield from paths(part)


def list_versions(version: str) -> None:
    """Write versions.json from the folders that are there, and a first page that leads to this version."""
    html = SITE / "html"
    versions = sorted((page.parent.name for page in html.glob("*/index.html")), reverse=True)
    listed = [{"version": name, "title": name, "aliases": ["latest"] if name == version else []} for name in versions]
    (html / "versions.json").write_text(json.dumps(listed), encoding="utf-8")
    (html / "index.html").write_text(REDIRECT.format(version), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
