"""Operations on disputes: import their stages, list them with due dates, write evidence packs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.values import named_duration
from shroff.operations.declaration import (
    QUARANTINED,
    Clock,
    LocalText,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    group,
    operation,
)
from shroff.operations.pagination import Cursor, cursor_of, next_of, parted
from shroff.project.definitions import Definitions
from shroff.replay.notebook import moment_ms
from shroff.runtime.texts import many, one_line, table
from shroff.runtime.values import replace
from shroff.services.cases.project_cases import ProjectCases
from shroff.services.disputes.stages import ANSWERABLE, STAGES, DisputeStage, label_row, stages_of
from shroff.services.labels.intake import LabelIntake
from shroff.services.project_log import ProjectLog

if TYPE_CHECKING:
    from shroff.events.definitions import Events
    from shroff.services.disputes.prior_payments import PriorEvidence
    from shroff.streams.log import Log, Record

PACKS_MAX = 500  # per answer
_TIMES = ("known_at", "due")
# Sort key of a dispute (closed, due date, event), its record and stages.
_Known: TypeAlias = "tuple[tuple[bool, str, str], Record, list[DisputeStage]]"

group(
    "disputes",
    """Disputes of payments: early fraud warnings, disputes, their answers and how they ended.

    Each stage is a label of the source 'chargeback': a later one takes the place of an earlier one from when it was
    known on.

    Examples:
        shroff disputes import disputes.csv
        shroff disputes
        shroff disputes pack --out packs
    """,
)


class DisputeRow(msgspec.Struct, kw_only=True):
    """A dispute at its latest stage; `verdict` is that of its label.

    `eligible` says whether it meets Visa's Compelling Evidence 3.0, and `why`.
    """

    event: str
    stage: str
    due: TimeText | None
    eligible: bool
    why: str
    known_at: TimeText
    verdict: str
    network: str | None
    code: str | None
    dispute: str | None
    amount: str | None
    pack: Annotated[JsonObject, msgspec.Meta(description="The evidence pack.")] | UnsetType = UNSET
    files: list[str] | UnsetType = UNSET

    @property
    def is_open(self) -> bool:
        return self.stage in ANSWERABLE

    def html(self) -> str:
        from shroff.services.disputes.evidence_pack import pack_html

        assert isinstance(self.pack, dict)
        return pack_html(self.pack)


class DisputeList(OperationAnswer):
    """Disputes: those that can be answered first, the earliest due date first."""

    disputes: list[DisputeRow]
    NEXT: ClassVar = ("shroff disputes pack --out packs",)

    def text(self) -> str:
        rows = [
            (
                one_line(row.event),
                row.stage,
                row.due or "",
                "yes" if row.eligible else "no",
                row.verdict,
                ", ".join(row.files or ()),
            )
            for row in self.disputes
        ]
        head = f"{self.counted()}."
        heads = ("event", "stage", "due", "CE 3.0", "verdict", "files" if any(row[-1] for row in rows) else "")
        return f"{head}\n{table(rows, heads)}" if rows else head

    def counted(self) -> str:
        return many(len(self.disputes), "dispute")


# ---- import


class DisputeInput(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stage of a dispute as it is sent: `due` is the last moment of an answer, `dispute` the provider's id."""

    event: str
    stage: Literal["early_fraud_warning", "dispute", "represented", "won", "lost", "withdrawn"]
    known_at: str
    due: str | None = None
    network: str | None = None
    code: str | None = None
    dispute: str | None = None
    reason: str | None = None
    amount: str | None = None
    verdict: Literal["fraud", "genuine", "unclear"] | None = None


class ImportDisputes(OperationRequest["DisputesImported"]):
    """
    Args:
        file (FILE): A file: CSV, JSON lines or Parquet.
        disputes: Stages of disputes.
    """

    file: Annotated[str, Param(is_argument=True, is_local=True)] = ""
    disputes: Annotated[tuple[DisputeInput, ...], Param(is_remote=True)] = ()


class DisputesImported(DisputeList):
    """Counts of the stages, as of labels, and the disputes that have new ones."""

    read: int
    appended: int
    pending: int
    duplicates: int
    quarantined: int

    def text(self) -> str:
        counts = (
            f"{many(self.read, 'stage')} read: {self.appended:,} appended, {self.pending:,} waiting for their event, "
            f"{self.duplicates:,} already in the log, {self.quarantined:,} quarantined."
        )
        answerable = [row for row in self.disputes if row.is_open]
        due = min((row.due for row in answerable if row.due), default="")
        summary = (
            f"{self.counted()} with new stages: {len(answerable):,} can be answered{due and f', the first by {due}'}; "
            f"{sum(row.eligible for row in answerable):,} of those meet Compelling Evidence 3.0."
        )
        return f"{counts}\n{summary}" if self.disputes else counts

    def hints(self) -> Sequence[str]:
        return ["shroff quarantine list" if self.quarantined else "shroff disputes"]

    def exit_status(self) -> int:
        return QUARANTINED if self.quarantined else 0


@operation("disputes import", right="write:labels", http="POST /disputes")
def import_disputes(
    labelling: LabelIntake,
    log: ProjectLog,
    definitions: Definitions,
    cases: ProjectCases,
    progress: ProgressSteps,
    request: ImportDisputes,
) -> DisputesImported:
    """Import stages of disputes, each as a label of the source 'chargeback'.

    A file has the columns event (or a field declared unique), stage, known_at, and may have due, network, code,
    dispute, amount and verdict. Stages are early_fraud_warning, dispute, represented, won, lost and withdrawn. A
    dispute that is won or withdrawn makes its event genuine; every other stage is fraud, or unclear with a code of Visa
    that is none of fraud. Other columns are mapped under 'disputes' of 'label' in events.yaml. A file whose first line
    has no stage then is read by the label mapping, as webhooks are. The same stage again is a duplicate.

    Examples:
        shroff disputes import disputes.csv
        shroff disputes import stripe.jsonl --json
    """
    if bool(request.file) == bool(request.disputes):
        raise UsageError("name a FILE of disputes.")
    file = Path(request.file)
    if file.exists() and not file.is_file() and not file.is_dir():
        raise UsageError(f"{file} is a pipe, and disputes are read twice. Write them to a file and import that.")
    before = 0
    if log.exists():
        with log.reading() as reader:
            before = reader.last_seq()
    events = definitions.events
    first = next(_rows(request.file, events), ("", {"stage": ""}))[1] if request.file else {}
    if request.file and events.label.mappings and "stage" not in first:
        report = labelling.add_file(Path(request.file), progress.counting("reading, labels"))
    else:
        deque(_labels(request, events), maxlen=0)  # an invalid line rejects the whole file
        report = labelling.add_rows(_labels(request, events), Path(request.file).name or "disputes")
    disputes = []
    if log.exists():
        with log.reading() as reader:
            new = stages_of(reader, after=before)
            with_new_stages = _known(reader, definitions, stages_of(reader, events=new)) if new else []
            disputes = [row for row, *_ in _judged(reader, definitions, cases, with_new_stages)]
    counts = report.document()["labels"]
    names = ("read", "appended", "pending", "duplicates", "quarantined")
    return DisputesImported(disputes=disputes, **{name: counts[name] for name in names})


def _labels(request: ImportDisputes, events: Events) -> Iterator[JsonObject]:
    sent = ((f"line {line}", msgspec.to_builtins(row)) for line, row in enumerate(request.disputes, start=1))
    return (label_row(row, location) for location, row in (_rows(request.file, events) if request.file else sent))


def _rows(file: str, events: Events) -> Iterator[tuple[str, JsonMapping]]:
    """Yield rows with their places, by the mapping of disputes; times without an offset are UTC, as in all files.

    A mapped row has a stage, though it may be empty.
    """
    from shroff.events.formats.encodings import read_lines
    from shroff.events.mapping import LABEL, Dispatcher, MappedRow, Mapper
    from shroff.events.raw_values import RefusedValue, text_of

    with read_lines(Path(file)) as lines:
        mapper = Mapper(events.disputes, lines.format)
        dispatcher = Dispatcher(replace(events, types={}, label=events.disputes), lines.format)
        for line in lines.lay_out(mapper.layout).read_for(mapper.all_paths):
            location = f"{Path(file).name}:{line.line or line.number}"
            if line.columns is None:
                raise UsageError(f"{location}: {line.error}")
            whole = MappedRow(Path(file).name, line.number, line.columns)
            for item in dispatcher.items(whole, LABEL, is_default=False):
                if dispatcher.leaves(LABEL, item):
                    continue
                row = mapper.fields(item)
                for name, value in row.items():
                    if isinstance(value, RefusedValue):
                        raise UsageError(f"{location}: {name}: {value.words}")
                times = {name: text for name in _TIMES if (text := text_of(row.get(name)))}
                yield location, {**({"stage": ""} if mapper.is_mapped else {}), **row, **times}


# ---- list


class ListDisputes(OperationRequest["DisputePage"], rename={"is_open": "open"}):
    """
    Args:
        is_open: Only those that can still be answered.
        stage (STAGE): Only those at this stage.
        due_within (DURATION): Only those due within this time from now, such as 3d.
        as_of (TIME): Stages known at this time; a day is its start, UTC.  [default: all]
        limit (N): Page size.
    """

    STAGES: ClassVar = STAGES
    is_open: Annotated[bool, Param(flags="--open")] = False
    stage: str = ""
    due_within: str = ""
    as_of: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1)] = 500
    cursor: Cursor = ""


class DisputePage(DisputeList):
    """A page of the `count` disputes that match, of which `late` can be answered and are past their due date."""

    count: int
    late: int
    next: str | None

    def counted(self) -> str:
        shown = "" if len(self.disputes) == self.count else f", {len(self.disputes):,} of them on this page"
        return f"{many(self.count, 'dispute')}, {self.late:,} late{shown}"


@operation("disputes list", right="read:decisions", http="GET /disputes")
def list_disputes(
    log: ProjectLog, definitions: Definitions, cases: ProjectCases, now: Clock, request: ListDisputes
) -> DisputePage:
    """List disputes at their latest stage, with due dates and whether they meet Visa's Compelling Evidence 3.0.

    The rule: two undisputed payments with the same card, 120 to 365 days before the disputed one, which share the
    device or the IP address with it, and another one of device, IP address, parcel address and login.

    Examples:
        shroff disputes list --open
        shroff disputes list --as-of 2026-06-30 --json
    """
    if request.stage and request.stage not in STAGES:
        raise UsageError(f"{request.stage!r} is not a stage of a dispute. There are {', '.join(STAGES)}.")
    as_of_ms = moment_ms(request.as_of, "--as-of")
    within = request.due_within
    until = time_text(now() + named_duration("--due-within", within)) if within else ""
    stages: Collection[str] = ANSWERABLE if request.is_open else STAGES
    if request.stage:
        stages = {request.stage}
    before = cursor_of({"cursor": request.cursor}, tuple[bool, str, str]) or ()
    with log.reading() as reader:
        stages_by_event = {
            event: known
            for event, known in stages_of(reader, as_of_ms).items()
            if known[-1].stage in stages and (not until or (known[-1].due or "~") <= until)
        }
        known = _known(reader, definitions, stages_by_event)
        shown, last = parted([dispute for dispute in known if dispute[0] > before], request.limit)
        disputes = [row for row, *_ in _judged(reader, definitions, cases, shown, as_of_ms)]
    late = sum(order < (False, time_text(now())) for order, *_ in known)
    return DisputePage(disputes=disputes, count=len(known), late=late, next=next_of(last[0]) if last else None)


def _known(log: Log, definitions: Definitions, stages: Mapping[str, list[DisputeStage]]) -> list[_Known]:
    """Return the disputes with events in the log by due date, closed ones last."""
    ids: dict[str, list[str]] = {}
    for event in stages:
        type_, _, id_ = event.partition("/")
        if type_ in definitions.events.types:
            ids.setdefault(type_, []).append(id_)
    disputes = []
    for type_, named in ids.items():
        for id_, record in log.find(type_, named).items():
            event = f"{type_}/{id_}"
            latest = stages[event][-1]
            order = latest.stage not in ANSWERABLE, latest.due or "~", event
            disputes.append((order, record, stages[event]))
    return sorted(disputes, key=itemgetter(0))


def _judged(
    log: Log, definitions: Definitions, cases: ProjectCases, disputes: Iterable[_Known], as_of_ms: int | None = None
) -> Iterator[tuple[DisputeRow, Record, list[DisputeStage], PriorEvidence]]:
    from shroff.services.disputes.prior_payments import PriorPayments

    prior = PriorPayments(log, definitions, cases.settings.evidence, as_of_ms)
    for _, record, stages in disputes:
        evidence = prior.of(record, _last(stages, "network"), _last(stages, "code"))
        yield _row(record, stages, evidence), record, stages, evidence


def _last(stages: Sequence[DisputeStage], name: str) -> str | None:
    values = (getattr(stage, name) for stage in reversed(stages))
    return next((value for value in values if value is not None), None)


def _row(record: Record, stages: Sequence[DisputeStage], evidence: PriorEvidence) -> DisputeRow:
    latest = stages[-1]
    return DisputeRow(
        event=f"{record.type}/{record.id}",
        stage=latest.stage,
        due=latest.due,
        eligible=evidence.eligible,
        why=evidence.why,
        known_at=latest.known_at,
        verdict=latest.verdict,
        network=_last(stages, "network"),
        code=_last(stages, "code"),
        dispute=_last(stages, "dispute"),
        amount=_last(stages, "amount"),
    )


# ---- evidence packs


class PackDisputes(OperationRequest["DisputeList"]):
    """
    Args:
        events (TYPE/ID): Disputed events, as payment/p-1.  [default: all that can still be answered]
        event: One disputed event, as payment/p-1.
        out (DIR): Write EVENT.html and EVENT.json of each into this folder.
    """

    events: Annotated[tuple[str, ...], Param(is_argument=True, is_local=True)] = ()
    event: Annotated[str, Param(is_remote=True)] = ""
    out: LocalText = ""


@operation("disputes pack", right="read:decisions", http="GET /disputes/pack")
def pack_disputes(
    log: ProjectLog, definitions: Definitions, cases: ProjectCases, progress: ProgressSteps, request: PackDisputes
) -> DisputeList:
    """Make the evidence pack of disputes: payment, decision and reasons, device, addresses, receipt, prior payments.

    Packs have no card number: of the card they show its last four characters. Made twice of the same log, a pack is the
    same, byte by byte. Without --out, the answer has them as JSON.

    Examples:
        shroff disputes pack payment/p-1 --out packs
        shroff disputes pack --json
    """
    from shroff.log.decision_reference import find
    from shroff.services.disputes.evidence_pack import evidence_pack, pack_html

    named, names = cases.settings.evidence, (*request.events, *([request.event] if request.event else []))
    with log.reading() as reader:
        events = {f"{row.event}/{row.id}" for row in (find(reader, definitions.events, name) for name in names)}
        stages_by_event = {
            event: stages
            for event, stages in stages_of(reader, events=events or None).items()
            if events or stages[-1].stage in ANSWERABLE
        }
        if missing := sorted(events - stages_by_event.keys()):
            raise UsageError(f"{missing[0]} has no dispute. 'shroff disputes' lists those that there are.")
        if len(stages_by_event) > PACKS_MAX and not request.out:
            raise UsageError(f"these are {len(stages_by_event):,} packs: name one event, or write them by --out.")
        counted, rows = progress.counting("packing", len(stages_by_event)), []
        disputes = _known(reader, definitions, stages_by_event)
        for row, record, stages, evidence in _judged(reader, definitions, cases, disputes):
            rows.append(row)
            pack = evidence_pack(reader, definitions, named, record, stages, evidence)
            if request.out:
                row.files = _written(Path(request.out), row.event, pack, pack_html(pack))
            else:
                row.pack = pack
            counted(1)
    return DisputeList(disputes=rows)


def _written(folder: Path, event: str, pack: JsonMapping, html: str) -> list[str]:
    from shroff.config import write_text

    folder.mkdir(parents=True, exist_ok=True)
    name = quote(event.replace("/", "-", 1), safe="")
    texts = {f"{name}.html": html, f"{name}.json": msgspec.json.format(to_json(pack)).decode() + "\n"}
    for file, text in texts.items():
        write_text(folder / file, text)
    return [str(folder / file) for file in texts]
