"""Operations on labels: record, list unmatched and conflicting ones, label delay, and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from shroff.cases.labels import HeldAnswers
from shroff.errors import UsageError, ended, nearest
from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.json_types import JsonObject, TextDict
from shroff.operations.declaration import QUARANTINED, OperationRequest, Param, ProgressSteps, ReportAnswer, operation
from shroff.runtime.texts import argument, headed, many, one_line, table
from shroff.services.labels.intake import LabelIntake
from shroff.services.labels.reports import LabelReports

if TYPE_CHECKING:
    from shroff.cases.labels import Conflict, Maturity
    from shroff.log.history import ListedWaiting
    from shroff.log.writer import Answer

FIELDS = ("source", "known_at", "reason", "amount")  # optional fields of a label
LISTS = ("pending", "conflicts", "maturity")
TABLE_DAYS = frozenset([0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730])
Document = JsonObject


class RecordLabels(OperationRequest["LabelAnswer"]):
    """A file of labels, one label, or which labels to list.

    Args:
        what ([FILE | TYPE/ID VERDICT]): A file, or an event and its verdict.
        source: chargeback, analyst, customer or import, from strongest to weakest.  [default: import]
        known_at (TIME): When it became known, as 2026-03-01T10:00:00Z.  [default: now, or the time of its event if that
            is later]
        reason: The reason, as free text.
        amount: An amount in the project's currency, such as the loss, as 12.34.
        pending: List unmatched labels: those whose event is not in the log yet.
        conflicts: List conflicting labels: events labeled both fraud and genuine.
        maturity: Show how many frauds are known n days after their event, by source.
        as_of (TIME): For the lists: labels known at this time; a day is its start, UTC.
        days (N): Number of days for --maturity.  [default: as labels allow]
    """

    what: Annotated[tuple[str, ...], Param(complete="labelled", is_argument=True)] = ()
    source: Annotated[str | None, Param(complete="label_sources")] = None
    known_at: str | None = None
    reason: str | None = None
    amount: str | None = None
    pending: bool = False
    conflicts: bool = False
    maturity: bool = False
    as_of: str | None = None
    days: int | None = None

    @property
    def fields(self) -> TextDict:
        return {name: value for name in FIELDS if (value := getattr(self, name)) is not None}

    def __post_init__(self) -> None:
        lists = [name for name in LISTS if getattr(self, name)]
        if len(lists) > 1 or (lists and (self.what or self.fields)):
            raise UsageError(f"--{lists[0]} lists labels; the only other option it takes is --as-of.")
        if self.days is not None and not self.maturity:
            raise UsageError("--days is for --maturity.")
        if not lists and self.as_of is not None:
            raise UsageError(
                "--as-of is for --pending, --conflicts and --maturity; when a label became known is --known-at."
            )
        if not lists and len(self.what) not in {1, 2}:
            raise UsageError("name a FILE, or an event and its verdict: payment/p-1 fraud.")
        if len(self.what) == 1 and (option := next(iter(self.fields), "")):
            raise UsageError(f"--{option.replace('_', '-')} is for one label; a file says it in its columns.")


class LabelAnswer(ReportAnswer[tuple[str, str]]):
    """What became of labels, or a list of them: in words, with the command that comes next."""

    def text(self) -> str:
        return self.report[0]

    def hints(self) -> Sequence[str]:
        return [self.report[1]]


class LabelCounts(LabelAnswer):
    """Counts of labels; of one label its place and the verdict in force, of unmatched ones the labels."""

    read: int = 0
    appended: int = 0
    pending: int = 0
    duplicates: int = 0
    quarantined: int = 0
    undeclared: Document | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    seq: int | UnsetType | None = UNSET
    in_force: str | UnsetType = UNSET
    labels: list[Document] | UnsetType = UNSET

    def exit_status(self) -> int:
        return QUARANTINED if self.quarantined else 0


class LabelConflicts(LabelAnswer):
    """Events labeled both fraud and genuine, with all their labels."""

    conflicts: list[Document]


class LabelDelay(LabelAnswer):
    """How many frauds are known n days after their event."""

    as_of: TimeText
    frauds: int
    too_young: int
    later: int
    days: list[Document]


@operation("label", right="write:labels")
def record_labels(
    labelling: LabelIntake, label_reports: LabelReports, progress: ProgressSteps, request: RecordLabels
) -> LabelAnswer:
    """Record labels from a file or one by hand, or list unmatched and conflicting labels.

    A file has the columns event, verdict, source and known_at. The values of a field declared unique may name the
    event too. Verdicts are fraud, genuine and unclear. A day without a time is its start in UTC. A label whose event
    is not in the log yet waits for it. The same label again is a duplicate.

    A single label without --known-at is known now. It is a duplicate if the last label of this source for the event
    says the same. If another process writes the log, such as a long 'shroff ingest', that process writes the labels.
    This command then ends when they are committed.

    Examples:
        shroff label labels.csv
        shroff label payment/p-1 fraud --source chargeback
        shroff label --pending
        shroff label --conflicts --as-of 2026-06-30
        shroff label --maturity --days 90
    """
    what, as_of = request.what, request.as_of
    if request.maturity:
        return _delay(label_reports.maturity(as_of=as_of, days=request.days))
    if request.pending:
        return _unmatched(label_reports.pending(as_of=as_of))
    if request.conflicts:
        return _conflicts(label_reports.conflicts(as_of=as_of))
    if len(what) == 2:
        return _recorded(labelling, what[0], what[1].strip().lower(), request.fields)
    report = labelling.add_file(Path(what[0]), progress.counting("reading, labels"))
    following = "shroff quarantine list" if report.labels.quarantined else "shroff export labels"
    return LabelCounts(**report.document()["labels"]).about(("\n".join(report.labels_text()), following))


def _unmatched(waiting: Sequence[ListedWaiting]) -> LabelCounts:
    labels, rows = [], []
    for label in waiting:
        named = ", ".join(f"{name} {value}" for name, value in label.unique.items())
        said = {"verdict": label.verdict, "source": label.source, "known_at": time_text(label.known_at_ms)}
        labels.append({"event": label.event, "unique": dict(label.unique), **said})
        rows.append((f"{label.event} with {named}" if named else label.event, *said.values()))
    text = f"{many(len(labels), 'label has', 'labels have')} no matching event yet."
    text = headed(text, rows, ("event", "verdict", "source", "known at"))
    return LabelCounts(pending=len(labels), labels=labels).about((text, "shroff ingest FILE --as EVENT"))


def _conflicts(conflicts: Sequence[Conflict]) -> LabelConflicts:
    document, rows = [], []
    for conflict in conflicts:
        event = f"{conflict.event}/{conflict.id}"
        labels = [
            {
                "verdict": said.verdict,
                "source": said.source,
                "known_at": time_text(said.known_at_ms),
                "seq": said.seq,
                "reason": said.reason,
                "in_force": said.in_force,
            }
            for said in conflict.labels
        ]
        document.append({"event": event, "time": time_text(conflict.time_ms), "kind": conflict.kind, "labels": labels})
        for at, said in enumerate(labels):
            first = (event, conflict.kind) if at == 0 else ("", "")
            state = "active" if said["in_force"] else ""
            rows.append((*first, said["verdict"], said["source"], said["known_at"], state))
    text = f"{many(len(conflicts), 'event has', 'events have')} labels that contradict each other."
    text += "\n" + table(rows, "event|kind|verdict|source|known at|".split("|"))
    if not conflicts:
        text = "No event has labels that contradict each other."
    following = f"shroff explain {argument(conflicts[0].id)}" if conflicts else "shroff label --maturity"
    return LabelConflicts(conflicts=document).about((text, following))


def _delay(maturity: Maturity) -> LabelDelay:
    from shroff.models.reports.pages import page

    days = [
        {
            "days": point.days,
            "share": round(point.share, 6),
            "by_source": {source: round(share, 6) for source, share in point.by_source.items()},
            "became_known": point.became_known,
            "at_risk": point.at_risk,
        }
        for point in maturity.points
    ]
    counts = {"frauds": maturity.frauds, "too_young": maturity.too_young, "later": maturity.later}
    at, last = time_text(maturity.as_of_ms), maturity.points[-1:]
    shown = [point for point in maturity.points if point.days in TABLE_DAYS or point in last]
    text = page(__package__, "maturity.txt", {}, found=maturity, shown=shown, at=at, table=table)
    return LabelDelay(as_of=at, days=days, **counts).about((text.rstrip(), "shroff label --conflicts"))


def _recorded(labelling: LabelIntake, reference: str, verdict: str, fields: TextDict) -> LabelCounts:
    from shroff.events.definitions import SOURCES, VERDICTS
    from shroff.log.writer import DUPLICATE, REFUSED, WAITING

    # A typing error in a command does not belong in quarantine.
    for what, given, known in (("verdict", verdict, VERDICTS), ("source", fields.get("source", SOURCES[-1]), SOURCES)):
        if given not in known:
            words = nearest(given, known) or f"There are {', '.join(known[:-1])} and {known[-1]}."
            raise UsageError(f"{one_line(given)!r} is not a {what}. {words}")
    answer = labelling.add(reference, verdict, **fields)
    event = one_line(reference)
    if answer.kind == REFUSED:
        told = ended(f"The label was refused: {answer.reason}"), "shroff quarantine list"
        return LabelCounts(read=1, quarantined=1, reason=answer.reason).about(told)
    if answer.kind == WAITING:
        text = f"{_understood(reference, answer)} is not in the log yet; the label '{verdict}' waits for it."
        return LabelCounts(read=1, pending=1).about((text, "shroff label --pending"))
    if answer.kind == DUPLICATE:
        told = f"This label of {event} is already recorded.", f"shroff explain {argument(reference)}"
        return LabelCounts(read=1, duplicates=1).about(told)
    in_force, of_source = answer.in_force or (UNSET, "")
    text = f"{event} is labeled '{verdict}', sequence number {answer.seq:,}"
    text += "." if in_force in {verdict, UNSET} else f"; the active verdict is still '{in_force}', from {of_source}."
    return LabelCounts(read=1, appended=1, seq=answer.seq, in_force=in_force).about((text, "shroff export labels"))


def _understood(reference: str, answer: Answer) -> str:
    """Return the event that a label waits for, with its type if only the id was given."""
    type_name = answer.id.partition("/")[0]
    return one_line(reference if reference.startswith(f"{type_name}/") else f"{type_name}/{reference}")


# ---- statistics of all


class ShowLabelStatistics(OperationRequest["LabelsTogether"]):
    """
    Args:
        period_ms: Labels of this time up to the newest one.
    """

    period_ms: Annotated[int | None, Param(is_local=True)] = None


class LabelsOfSource(msgspec.Struct):
    """The number of labels of a source, by verdict."""

    source: str
    verdicts: dict[str, int]
    newest: TimeText | None


class ConflictingLabel(msgspec.Struct):
    """One label of an event with conflicting labels."""

    verdict: str
    source: str
    known_at: TimeText
    in_force: bool


class LabelConflict(msgspec.Struct):
    """An event with conflicting labels."""

    event: str
    id: str
    kind: str
    labels: list[ConflictingLabel]


class MaturityPoint(msgspec.Struct):
    """The share of frauds known after a number of days."""

    days: int
    share: float
    by_source: dict[str, float]


class LabelMaturity(msgspec.Struct):
    """Label delay: the time until frauds become known."""

    frauds: int
    too_young: int
    later: int
    curve: list[MaturityPoint]


class CustomerAnswers(msgspec.Struct):
    """Customers of the last seven days: `yes` and `no` are their labels, by mail or however they came; `asked_7d`,
    `no_answer` and `open` count questions by mail. `held` is of all their answers.
    """

    asked_7d: int
    yes: int
    no: int
    no_answer: int
    open: int
    held: Sequence[HeldAnswers]


class EventsWithoutLabel(msgspec.Struct):
    """The number of decided events without a label, `days` old or older, up to the `days` of the next row."""

    days: int
    events: int


class LabelsTogether(ReportAnswer[Any]):
    """Statistics of all labels of the log, from `counted_from` to `counted_to`."""

    counted_from: int
    counted_to: int
    events: int
    in_force: dict[str, int]
    came: list[LabelsOfSource]
    conflicts: int
    newest_conflicts: list[LabelConflict]
    maturity: LabelMaturity
    waiting: int
    without_label: list[EventsWithoutLabel]
    customers: CustomerAnswers


@operation("label statistics", right="read:decisions", http="GET /labels", has_command=False, is_shared=True)
def show_label_statistics(label_reports: LabelReports, request: ShowLabelStatistics) -> LabelsTogether:
    """Get statistics of labels: how many, how fast, conflicting, unmatched, and customers' answers."""
    from shroff.services.labels.reports import AGES, SHOWN

    statistics = label_reports.look(request.period_ms)
    together, curve = statistics.together, statistics.together.maturity
    return LabelsTogether(
        counted_from=statistics.counted_after + 1,
        counted_to=statistics.counted_to,
        events=together.events,
        in_force=dict(sorted(together.in_force.items())),
        came=[
            LabelsOfSource(came.source, dict(sorted(came.verdicts.items())), time_text_or_none(came.newest_ms))
            for came in together.came
        ],
        conflicts=len(together.conflicts),
        newest_conflicts=[
            LabelConflict(
                event=conflict.event,
                id=conflict.id,
                kind=conflict.kind,
                labels=[
                    ConflictingLabel(
                        verdict=said.verdict,
                        source=said.source,
                        known_at=time_text(said.known_at_ms),
                        in_force=said.in_force,
                    )
                    for said in conflict.labels
                ],
            )
            for conflict in together.conflicts[:SHOWN]
        ],
        maturity=LabelMaturity(
            frauds=curve.frauds,
            too_young=curve.too_young,
            later=curve.later,
            curve=[
                MaturityPoint(days=point.days, share=point.share, by_source=dict(point.by_source))
                for point in curve.points
            ],
        ),
        waiting=statistics.waits,
        without_label=[EventsWithoutLabel(*row) for row in zip(AGES, statistics.without_label, strict=True)],
        customers=CustomerAnswers(
            statistics.asked.count,
            statistics.answers.get("genuine", 0),
            statistics.answers.get("fraud", 0),
            statistics.asked.ended,
            statistics.asked.open,
            together.held,
        ),
    ).about(statistics)
