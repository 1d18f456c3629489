"""The process that checks drafts for a service: an id and a text on each line that it reads, what is said of it back.

A program of its own: whatever somebody's text takes, deciding and answering have their interpreter to themselves.
"""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from shroff.app import project as app
from shroff.errors import ShroffError
from shroff.runtime import logs
from shroff.runtime.process_wide import give_way
from shroff.web.api.rules.draft_checks import check_of

MEMORY_MAX: Final = 2 * 1024 * 1024 * 1024  # bytes, the project among them
NICENESS: Final = 5  # it gives way to what is decided, and somebody waits for it
TOO_MUCH: Final = 2  # status where that memory is not enough
BROKEN: Final = 1


def main() -> int:
    """Check until nobody asks any more; `null` where the project keeps a draft from being checked."""
    give_way(NICENESS)
    with suppress(ValueError, OSError):  # a system without it, or one that allows less
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_MAX, MEMORY_MAX))
    try:
        project = app.open_exactly(Path(sys.argv[1]))
        for line in sys.stdin.buffer:
            said = None
            with suppress(ShroffError):
                said = check_of(project, *json.loads(line))
            sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
            sys.stdout.buffer.flush()
    except MemoryError:
        return TOO_MUCH
    except BrokenPipeError:  # the service is gone
        return 0
    except Exception as error:  # noqa: BLE001 - the outermost of this process: its words may hold what was sent
        logs.begin(_write, *logs.settings())
        logs.tell(logs.failure("a check of a draft", error))
        return BROKEN
    return 0


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
