"""The README as a package index shows it, and the wheel of a platform with machine code of the kernels.

Links and pictures that are relative in the clone are absolute in an index; the project's home stands in one place,
`project.urls.Source` of pyproject.toml. The wheel for all platforms needs nothing but hatchling. With SHROFF_KERNELS,
which `make build` sets, the kernels of this platform's baseline are compiled, and packed beside their sources.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
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


class KernelHook(BuildHookInterface[Any]):
    """Packs the kernels, and names the platform."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put them in. Raises: RuntimeError where this processor is below the baseline."""
        if version == "editable" or "SHROFF_KERNELS" not in os.environ:
            return
        from shroff.cli.demo_kernels import all_listed, natives
        from shroff.features.kernels.native import BASELINE, processor

        machine, source = platform.machine(), Path(self.root, "src")
        if processor()[0] != BASELINE[machine][0]:
            raise RuntimeError(f"kernels are built on a processor of at least {BASELINE[machine][0]}")
        system = "macosx_11_0" if sys.platform == "darwin" else "manylinux_2_17"
        build_data |= {"pure_python": False, "tag": f"py3-none-{system}_{machine}"}
        for kernel in natives(all_listed()):
            kernel.keep()
            assert kernel.path is not None
            build_data["force_include"][str(kernel.path)] = str(kernel.path.relative_to(source))


def absolute(text: str, home: str, version: str) -> str:
    """Let relative links lead to the files of a released version, pictures to their bytes."""

    def led(found: re.Match[str]) -> str:
        before, target, end = found.groups()
        return f"{before}{home}/{'raw' if before.startswith('!') else 'blob'}/v{version}/{target}{end}"

    return LINK.sub(led, text)
