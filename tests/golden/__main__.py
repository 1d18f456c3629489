"""`python -m tests.golden --write`: renew the golden files; without --write, print what differs from them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tools import example_plugins


def main() -> int:
    """Renew or compare the surfaces that are named, or all; 1 if one differs and stays."""
    example_plugins.find()  # before anything asks for entry points
    from tests.golden.surfaces import SURFACES, difference, golden_file, written

    names = [word for word in sys.argv[1:] if not word.startswith("--")] or list(SURFACES)
    differing = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            if "--write" in sys.argv:
                golden_file(name).write_text(written(name, Path(folder)), encoding="utf-8")
            elif text := difference(name, Path(folder)):
                print(text)
                differing += 1
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
