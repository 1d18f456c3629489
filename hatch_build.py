"""The README as a package index shows it: links and pictures that are relative in the clone are absolute there.

The clone's own links stay relative, so that they work in any copy of it; the project's home stands in one place,
`project.urls.Source` of pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r'(!?\[[^\]]*\]\()(?!\w+:|#|/)([^)\s]+)((?: "[^"]*")?\))')


class ReadmeHook(MetadataHookInterface):
    """Sets `readme` of the package's metadata."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Put in the README of this version, with absolute links."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, metadata["urls"]["Source"], metadata["version"]),
        }


def absolute(text: str, home: str, version: str) -> str:
    """Let relative links lead to the files of a released version, pictures to their bytes."""

    def led(found: re.Match[str]) -> str:
        before, target, end = found.groups()
        return f"{before}{home}/{'raw' if before.startswith('!') else 'blob'}/v{version}/{target}{end}"

    return LINK.sub(led, text)
