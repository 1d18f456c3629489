"""The table of subjects on the architecture page, made from the folders of `src/shroff/services`."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

from docs.made_files import markdown_table
from shroff import services
from shroff.operations import manifest

PAGE: Final = Path(__file__).parent / "explain/architecture.md"
HEADING: Final = "\n## The subjects\n"
ROOT: Final = Path(services.__file__).parent
OPERATIONS: Final = "operations"  # named by every subject, so it tells nothing


def architecture_page() -> str:
    """Return the architecture page with today's table of subjects."""
    text = PAGE.read_text(encoding="utf-8")
    before, heading, rest = text.partition(HEADING)
    intro, _, after = rest.partition("\n|")
    rest_of_page = after[after.index("\n## ") :]
    return f"{before}{heading}{intro}\n{subjects_table().rstrip()}\n{rest_of_page}"


def subjects_table() -> str:
    """Return a row for each folder: its subject, its commands, and its modules besides its operations."""
    commands = defaultdict[str, list[str]](list)
    for word, (module, *_) in manifest.commands().items():
        commands[module.rpartition(".")[0]].append(f"`{word}`")
    rows = []
    for folder in sorted(path.parent for path in ROOT.glob("*/__init__.py")):
        subject = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        modules = [f"`{path.stem}`" for path in sorted(folder.glob("[!_]*.py")) if path.stem != OPERATIONS]
        rows.append(
            (
                f"`{folder.name}`",
                subject.partition("\n")[0],
                " ".join(commands[f"shroff.services.{folder.name}"]),
                " ".join(modules),
            )
        )
    return markdown_table(("Folder", "Subject", "Commands", "Beside `operations.py`"), rows)
