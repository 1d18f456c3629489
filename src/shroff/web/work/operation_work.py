"""The helper process that runs operations for a service: it reads one operation a line, and writes its answer.

A process of its own, so that a long operation does not share Python's lock with deciding and answering.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import ShroffError
from shroff.json_types import JsonObject, TextMapping
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS
from shroff.runtime import logs
from shroff.runtime.process_wide import give_way
from shroff.services import project as app
from shroff.web.http.problems import ProblemMore, of_error

NICENESS = 5  # lower priority than decisions, but a user waits for the answer
TOO_MUCH = 2  # exit status if memory runs out
BROKEN = 1  # exit status after any other failure


class SaidProblem(msgspec.Struct):
    """The fields of a `ProblemError`."""

    status: int
    code: str
    title: str
    detail: str
    headers: TextMapping | None
    more: ProblemMore


class SaidLine(msgspec.Struct, omit_defaults=True):
    """A line of output: the answer of an operation, or its problem."""

    answer: msgspec.Raw = msgspec.Raw()
    problem: SaidProblem | None = None


def main() -> int:
    give_way(NICENESS)
    memory_max = int(sys.argv[2])
    if memory_max:
        with suppress(ValueError, OSError):  # the system has no such limit, or allows less
            resource.setrlimit(resource.RLIMIT_DATA, (memory_max, memory_max))
    try:
        project = app.open_exactly(Path(sys.argv[1]))
        for line in sys.stdin.buffer:
            say(_answer(project, *from_json(line)))
    except MemoryError:
        return TOO_MUCH
    except BrokenPipeError:  # the service is gone
        return 0
    except Exception as error:  # noqa: BLE001 - its message may contain data of the request
        logs.begin(_write, *logs.settings())
        logs.tell(logs.failure("an operation beside the service", error))
        return BROKEN
    return 0


def _answer(project: app.Project, name: str, values: JsonObject) -> SaidLine:
    manifest.load(name.split(maxsplit=1)[0])
    declared = OPERATIONS[name]
    try:
        answer = project.run(msgspec.convert(values, declared.request))
    except ShroffError as error:
        problem = of_error(error)
        return SaidLine(
            problem=SaidProblem(
                problem.status, problem.code, problem.title, problem.detail, problem.headers, problem.more
            )
        )
    return SaidLine(answer=msgspec.Raw(to_json(answer)))


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def say(said: SaidLine) -> None:
    sys.stdout.buffer.write(to_json(said) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
