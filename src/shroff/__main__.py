"""`python -m shroff` is `shroff`: the program begins here, and ends quietly where Ctrl-C comes before it has begun."""

from __future__ import annotations

import sys
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main() -> NoReturn:
    """Import the program, which takes a tenth of a second, and run it."""
    try:
        from shroff.cli.main import main as begin

        begin()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
