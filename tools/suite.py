"""Every test, and those few that failed once more, alone: `make test`.

Hundreds of tests start servers, kill processes and wait for what follows, two at a time; where the machine stalls
meanwhile, one of them may run out of time for no fault of the product. So at most FEW that failed run again, one after
the other, and are named, whatever comes of it: who fails twice has failed, and who is often named needs mending.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

FEW: Final = 5
FAILED: Final = 1  # pytest's status where tests failed; others are of runs that were cut off or never began
ROOT: Final = Path(__file__).parent.parent
LAST: Final = Path(".pytest_cache/v/cache/lastfailed")
PYTEST: Final = (sys.executable, "-m", "pytest", "-q")


def main(root: Path = ROOT, *, words: tuple[str, ...] = ("-n", "2")) -> int:
    """Run the tests of a folder; the status to end with."""
    (root / LAST).unlink(missing_ok=True)
    status = _run(root, *words)
    if status != FAILED:
        return status
    failed = _failed(root)
    if not 0 < len(failed) <= FEW:
        return status
    _say("Failed, and run once more, alone:", failed)
    status = _run(root, "-p", "no:xdist", *failed)
    _say("Failed twice:" if status else "Passed at the second try, when nothing else ran:", _failed(root) or failed)
    return status


def _run(root: Path, *words: str) -> int:
    return subprocess.run([*PYTEST, *words], cwd=root, check=False).returncode


def _failed(root: Path) -> list[str]:
    path = root / LAST
    return sorted(json.loads(path.read_text())) if path.exists() else []


def _say(what: str, names: list[str]) -> None:
    print("", what, *(f"  {name}" for name in names), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
