"""`shroff train --watch`: a line for each file that is taken, until Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from shroff.cli.session import Session, argument, many, one_line
from shroff.language.values import named_duration

if TYPE_CHECKING:
    from types import FrameType

    from shroff.app.models.retraining import FileReport, Options

NOT_PASSED: Final = 1
QUARANTINED: Final = 4
NO_MODEL: Final = 5


def watching_options(
    event: str | None, settled: str | None, poll: str | None, *, promote: bool, by: str, once: bool
) -> Options:
    """Options of the command. Raises: UsageError for what is no length of time."""
    from shroff.app.models.retraining import POLL_S, Options
    from shroff.streams.pull import SETTLED_MS

    return Options(
        event,
        promote=promote,
        by=by,
        once=once,
        settled_ms=SETTLED_MS if settled is None else named_duration("--settled", settled),
        poll_s=POLL_S if poll is None else named_duration("--poll", poll) / 1_000,
    )


def watching(session: Session, place: str, options: Options) -> int:
    """Take files until somebody ends it, or with `once` until those that are there are taken; gives the exit code."""
    from shroff.app.live.sync_sources import ASIDE

    found: list[FileReport] = []
    with ended_cleanly() as stopped:
        for report in session.project.training.watch(
            place, options, say=lambda words: session.say(f"shroff: {words}.")
        ):
            found.append(report)
            if not session.is_json:
                session.show(_line(report))
            session.flush()
    is_stopped = stopped()
    document = {"files": [document_of(one) for one in found], "stopped": is_stopped}
    if session.is_json:
        session.answer(document, "")
    else:
        end = "Stopped; the next run continues from here." if is_stopped else "No more files."
        aside = sum(one.state == ASIDE for one in found)
        more = f", {aside:,} skipped" if aside else ""
        session.show(f"{many(len(found) - aside, 'file')} ingested{more}. {end}")
    about = [number for number, one in enumerate(found) if one.name == options.file]
    if place in session.project.opened.systems.pulled:  # a table often has nothing new
        found = [one for one in found if one.model or one.state == ASIDE or _is_new(one)]
    status = _status(session, found[about[-1] :] if about else found, is_of_file=bool(about))
    return 0 if status == NO_MODEL and is_stopped else status


def _is_new(report: FileReport) -> bool:
    taken = report.appended
    return taken is not None and taken.events.appended + taken.events.quarantined + taken.labels.read > 0


def _status(session: Session, found: Sequence[FileReport], *, is_of_file: bool) -> int:
    """The exit status by what became of files; or of the first of these, and of the models that learned from it."""
    from shroff.app.live.sync_sources import ASIDE

    asked = found[:1] if is_of_file else found
    made = [one for one in found if one.model]
    if any(one.state == ASIDE or _quarantined(one) for one in asked):
        session.next("shroff quarantine list")
        return QUARANTINED
    if any(_are_all_waiting(one) for one in asked):
        session.next("shroff label --pending")
        return QUARANTINED
    if found and not made:
        return NO_MODEL
    if made and not made[-1].has_passed:
        session.next(f"shroff models show {argument(made[-1].model)}")
        return NOT_PASSED
    session.next("shroff models list")
    return 0


def document_of(report: FileReport) -> dict[str, Any]:
    """Result of a file, as JSON."""
    from shroff.cli.ingest import document_of as counts_of

    return {
        "file": report.name,
        "state": report.state,
        "why": report.why,
        "appended": None if report.appended is None else counts_of(report.appended),
        "model": report.model,
        "gates": [] if report.trained is None else [structs.asdict(gate) for gate in report.trained.gates],
        "promoted": report.promoted,
    }


def _line(report: FileReport) -> str:
    from shroff.app.live.sync_sources import ASIDE

    name, why = one_line(report.name), one_line(report.why)
    if report.state == ASIDE:
        return f"{name}: skipped: {why}. None of its lines was ingested."
    parts = []
    if report.appended is not None:
        events, labels = report.appended.events, report.appended.labels
        parts.append(f"{many(events.appended, 'event')} and {many(labels.appended, 'label')} appended")
        parts += [f"{many(labels.pending, 'label')} without its event"] if labels.pending == 1 else []
        parts += [f"{labels.pending:,} labels without their events"] if labels.pending > 1 else []
    refused = _quarantined(report)
    parts += [f"{many(refused, 'line')} quarantined"] if refused else []
    if not report.model:
        brought = f"{', '.join(parts)}; " if parts else ""
        return f"{name}: {brought}no model: {why.rstrip('.')}."
    state = "promoted" if report.promoted else f"not promoted: {why.rstrip('.')}" if why else "not promoted"
    return f"{name}: {', '.join([*parts, report.model])}, {state}."


def _quarantined(report: FileReport) -> int:
    taken = report.appended
    return 0 if taken is None else taken.events.quarantined + taken.labels.quarantined


def _are_all_waiting(report: FileReport) -> bool:
    """Whether a file brought labels and the log has the event of none of them: they name others than were meant."""
    return report.appended is not None and 0 < report.appended.labels.read == report.appended.labels.pending


class _Stopped:
    """Whether somebody ended it."""

    def __init__(self) -> None:
        self.is_true = False

    def __call__(self) -> bool:
        return self.is_true


@contextmanager
def ended_cleanly() -> Iterator[_Stopped]:
    """Ctrl-C and SIGTERM end what is inside, and are no failure: to be ended is how a watch ends."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    stopped = _Stopped()
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield stopped
    except KeyboardInterrupt:
        stopped.is_true = True
    finally:
        signal.signal(signal.SIGTERM, before)
