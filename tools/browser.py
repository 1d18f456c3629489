"""A Chromium to look at pages with: the machine's own, or Debian's package, unpacked into the cache of servers.

Chromium without a frame for a desk, its headless shell, takes a third of the processor, and comes first.

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

from tools.servers.errors import UnavailableError
from tools.servers.fetching import from_debian, libraries, program

NAMES: Final = ("chromium-headless-shell", "chromium")
PATIENCE_MS: Final = 120_000  # to begin, and for each step in it: the library's 30 s are few where many work
QUIET: Final = (
    "--no-sandbox",  # it shows pages of this project alone, and containers have no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--js-flags=--no-opt --no-maglev",  # a page is gone before its scripts, compiled once more, would have paid for it
)


def chromium() -> tuple[Path, dict[str, str]]:
    """The program and its environment. Raises: UnavailableError where it cannot be had."""
    for name in NAMES:
        here = program(name, [])
        if here is not None:
            return here, dict(os.environ)
    shell, whole = NAMES
    try:
        name, root = shell, from_debian(shell, [shell])
    except UnavailableError:  # Ubuntu has none
        name, root = whole, from_debian(whole, [whole])
    return root / "usr" / "lib" / "chromium" / name, {**os.environ, **libraries(root)}


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window, and with a profile of its own."""
    path, env = chromium()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch
        found = launched(executable_path=path, env={**env}, args=list(QUIET), headless=True, timeout=PATIENCE_MS)
        found.on("context", lambda context: context.set_default_timeout(PATIENCE_MS))
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
