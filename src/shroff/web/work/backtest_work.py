"""The process of one backtest: told what to judge, it says how far it is line by line, and last what came of it.

A program of its own beside the service's, so that deciding has the interpreter to itself.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.app import project as app
from shroff.errors import DefinitionError, ShroffError
from shroff.runtime.process_wide import give_way
from shroff.web.http.problems import places_of

if TYPE_CHECKING:
    from shroff.backtest.report_builder import Report

TELL_S: Final = 0.2
ROWS: Final = 200  # changed events that are kept to look at
DAYS_A_WEEK: Final = 7
NICENESS: Final = 5  # it gives way to what is decided, and somebody waits for it


def main() -> int:
    """Judge; a line of JSON for each thing that is said."""
    give_way(NICENESS)
    job = msgspec.json.decode(sys.argv[1], type=dict[str, str | None])
    draft = job.get("draft") or "."
    try:
        say({"result": judged(job)})
    except DefinitionError as error:
        say(mistakes(error, Path(draft)))
    except ShroffError as error:
        say({"error": str(error).replace(f"{draft}/", "")})
    return 0


def judged(job: dict[str, str | None]) -> dict[str, Any]:
    """Result of a back-test, for pages and programs."""
    from shroff.backtest.report import learnt_sentence, other_reasons, outcome, sentence

    project = app.open_exactly(Path(job["project"] or "."))
    with project.opened.reading() as log:
        total = log.last_seq()
    teller = Teller(total)
    report = project.backtest(
        rules=job.get("rules"),
        policy=job.get("policy"),
        model=job.get("model"),
        start=job.get("start"),
        end=job.get("end"),
        as_of=job.get("as_of"),
        reading=teller.read,
        computing=teller.computed,
    )
    teller.end()
    document = report.document(ROWS)
    document["draft"] = []  # names of files that are gone by now
    return {
        "report": document,
        "sentence": sentence(report),
        "learnt_sentence": learnt_sentence(report),
        "other_reasons": other_reasons(report),
        "outcome": outcome(report),
        "weeks": weeks(report),
        "costs": costs(report),
    }


def mistakes(error: DefinitionError, draft: Path) -> dict[str, Any]:
    """The mistakes of a draft, with the names of files that its sender knows."""
    found = DefinitionError([replace(problem, file=_named(problem.file, draft)) for problem in error.problems])
    return {"error": "\n".join(str(problem) for problem in found.problems), "errors": places_of(found)}


def _named(file: str, draft: Path) -> str:
    path = Path(file)
    return path.relative_to(draft).as_posix() if path.is_relative_to(draft) else file


def weeks(report: Report) -> list[dict[str, Any]]:
    """Net money of each week, as a decimal text, and how many mature events it has."""
    balance = report.balance
    if not balance.is_known:
        return []
    found = []
    for first in range(0, len(balance.by_day), DAYS_A_WEEK):
        end = first + DAYS_A_WEEK
        net = round(float(balance.by_day[first:end].sum()))
        events = int(balance.mature_by_day[first:end].sum())
        found.append({"day": balance.first_day + first, "net": report.money(net), "events": events})
    return found


def costs(report: Report) -> dict[str, str | None]:
    """Costs of a review and a false decline, where all decided types agree on them."""
    policies = [report.definitions.policy(event) for event in report.verdicts.types]
    found: dict[str, str | None] = {}
    for name in ("review_minor", "false_decline_minor"):
        known = {getattr(policy, name) for policy in policies}
        only = known.pop() if len(known) == 1 else None
        found[name.removesuffix("_minor")] = None if only is None else report.money(only)
    return found


class Teller:
    """Says how far it is, at most some times a second: reading is the first half, computing the second."""

    def __init__(self, total: int) -> None:
        self._total, self._read, self._computed, self._said_s = total, 0, 0, 0.0

    def read(self, count: int) -> None:
        self._read += count
        self._say()

    def computed(self, count: int) -> None:
        self._computed += count
        self._say()

    def end(self) -> None:
        """Say that all is done: what is held against the log reads less of it than there is."""
        say({"done": 2 * self._total, "total": 2 * self._total})

    def _say(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= TELL_S:
            self._said_s = now_s
            say({"done": min(self._read + self._computed, 2 * self._total), "total": 2 * self._total})


def say(said: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
