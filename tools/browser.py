"""A Chromium to look at pages with: the machine's own, or Debian's package, unpacked into the cache of servers.

python -m tools.browser URL FILE.png [--width 1280] [--dark]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, sync_playwright

from tools.servers.fetching import from_debian, libraries, program

QUIET: Final = (
    "--no-sandbox",  # it shows pages of this project alone, and containers have no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def chromium() -> tuple[Path, dict[str, str]]:
    """The program and its environment. Raises: UnavailableError where it cannot be had."""
    here = program("chromium", [])
    if here is not None:
        return here, dict(os.environ)
    root = from_debian("chromium", ["chromium"])
    return root / "usr" / "lib" / "chromium" / "chromium", {**os.environ, **libraries(root)}


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, and with a profile of its own."""
    path, env = chromium()
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, env={**env}, args=list(QUIET), headless=True)
        try:
            yield found
        finally:
            found.close()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("url")
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--width", type=int, default=1280)
    arguments.add_argument("--dark", action="store_true")
    chosen = arguments.parse_args()
    with browser() as found:
        size: Any = {"width": chosen.width, "height": 900}
        page = found.new_page(viewport=size, color_scheme="dark" if chosen.dark else "light")
        page.goto(chosen.url)
        page.screenshot(path=chosen.file, full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
