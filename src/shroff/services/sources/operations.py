"""Operations on named sources: counts, syncs, subscriptions, and verification of saved messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec
from msgspec import UNSET, UnsetType

from shroff.errors import TransientError, UsageError, os_words
from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.values import parse_time
from shroff.operations.declaration import (
    NOT_READ,
    QUARANTINED,
    Clock,
    LocalPath,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    group,
    operation,
)
from shroff.project.settings.systems import Systems
from shroff.runtime.texts import TextTable, many, one_line, table
from shroff.services.sources.position_operations import SourceParts
from shroff.services.sources.pulled import PulledSources
from shroff.services.sources.pulled_files import CHANGING
from shroff.services.sources.pushed import JudgedMessage, PushedSources

if TYPE_CHECKING:
    from shroff.services.sources.pulled import SyncedFile
    from shroff.services.sources.pushed import SourceCounts

REFUSED = 1  # exit status: a message is refused
FILE_BYTES_MAX = 1024 * 1024
FILES_MAX = 1_000
SourceName = Annotated[str, msgspec.Meta(min_length=1, max_length=100), Param("The source.", metavar="NAME")]
Document = JsonObject

group(
    "sources",
    """Show and sync named sources, confirm subscriptions, verify saved messages, and reset read positions.

    Examples:
        shroff sources list
        shroff sources sync nightly
        shroff sources test savings_topic message.json
    """,
)


# ---- named sources


class ListSources(OperationRequest["NamedSources"]):
    pass


class SourceShown(OperationAnswer, kw_only=True):
    """A named source, with the results of its messages on this machine.

    A pushed source has `path`, `refused` and `subscriptions`; a pulled one `last_sync`, and its files that are set
    aside or suspicious; one that a worker reads `state`, `failing` and `waiting`.
    """

    name: str
    kind: str
    state: str | UnsetType = UNSET
    failing: Document | UnsetType | None = UNSET
    path: str | UnsetType = UNSET
    events: Sequence[str] | UnsetType = UNSET
    others: str | UnsetType = UNSET
    last_sync: TimeText | UnsetType | None = UNSET
    last_message: TimeText | UnsetType | None = UNSET
    last_event: TimeText | UnsetType | None = UNSET
    waiting: int | UnsetType | None = UNSET
    appended: int
    duplicates: int
    quarantined: int
    skipped: dict[str, int]
    refused: dict[str, int] | UnsetType = UNSET
    subscriptions: list[Document] | UnsetType = UNSET
    set_aside: list[Document] | UnsetType = UNSET
    suspicious: list[Document] | UnsetType = UNSET

    def notes(self) -> Iterator[str]:
        for row in self.subscriptions or ():
            yield f"{row['topic']} {row['state']} since {row['at']}"
        for did, by in (("skipped", self.skipped), ("refused", self.refused or {})):
            yield from (f"{did} {many(count, 'time')}: {one_line(words)}" for words, count in by.items() if count)
        for row in self.set_aside or ():
            yield f"{one_line(row['file'])} is skipped: {one_line(row['why'])}"
        for row in self.suspicious or ():
            yield f"{row['file']} is suspicious: {one_line(row['why'])}"
        if self.failing:
            yield f"failing since {self.failing['since']}: {one_line(self.failing['why'])}"
        if self.waiting:
            yield f"{many(self.waiting, 'message')} waiting"


SOURCES: Final = TextTable(
    {
        "source": "name",
        "kind": "kind",
        "last message": lambda source: source.last_message or source.last_sync or "never",
        "new": "appended",
        "duplicates": "duplicates",
        "quarantined": "quarantined",
        "skipped": lambda source: sum(source.skipped.values()),
        "refused": lambda source: sum((source.refused or {}).values()),
    }
)


class NamedSources(OperationAnswer):
    """All named sources: pushed, pulled, and those that a worker reads."""

    sources: list[SourceShown]

    def text(self) -> str:
        if not self.sources:
            return "No named sources. Name one under 'sources:' in shroff.yaml."
        notes = [f"{source.name}: {note}" for source in self.sources for note in source.notes()]
        return "\n".join([SOURCES.text(self.sources), *notes])

    def hints(self) -> Sequence[str]:
        pulled = next((source.name for source in self.sources if source.set_aside is not UNSET), None)
        return [f"shroff sources sync {pulled}" if pulled else "shroff sources check"]


@operation("sources list", right="read:metrics")
def list_sources(
    pushed: PushedSources, pulled: PulledSources, source: SourceParts, request: ListSources
) -> NamedSources:
    """List named sources: their last message or sync, its results, and which of them fail.

    'shroff sources positions' lists the read positions of sources that a worker reads (Kafka, Redis, Pub/Sub).

    Examples:
        shroff sources list
        shroff sources list --json
    """
    rows = [
        SourceShown(
            name=named.name,
            kind=named.system.kind,
            path=f"/hooks/{named.name}",
            events=named.events,
            others=named.others,
            appended=counts.appended,
            duplicates=counts.duplicates,
            quarantined=counts.quarantined,
            skipped=counts.skipped,
            refused=counts.refused,
            subscriptions=[
                {"topic": subscription.topic, "state": subscription.state, "at": time_text(subscription.at_ms)}
                for subscription in subscriptions
            ],
            **_times(counts),
        )
        for named, counts, subscriptions in pushed.all()
    ]
    rows += [
        SourceShown(
            name=named.name,
            kind=named.system.kind,
            events=named.events,
            others=named.others,
            last_sync=time_text_or_none(counts.received_ms),
            appended=counts.appended,
            duplicates=counts.duplicates,
            quarantined=counts.quarantined,
            skipped=counts.skipped,
            set_aside=[{"file": file, "why": progress.why} for file, progress in aside.items()],
            suspicious=[
                {"file": file, "why": progress.suspicious, "since": time_text(progress.since_ms)}
                for file, progress in suspicious.items()
            ],
        )
        for named, counts, aside, suspicious in pulled.all()
    ]
    for name, system, counts in source.named():
        row = SourceShown(
            name=name,
            kind=system.kind,
            state="not read yet" if counts.received_ms is None else "read",
            failing=None,
            waiting=counts.waiting,
            appended=counts.appended,
            duplicates=counts.duplicates,
            quarantined=counts.quarantined,
            skipped=counts.skipped,
            **_times(counts),
        )
        if counts.failing:
            row.state = "failing"
            row.failing = {"why": counts.failing, "since": time_text_or_none(counts.failing_ms)}
        rows.append(row)
    return NamedSources(sources=rows)


def _times(counts: SourceCounts) -> Document:
    return {"last_message": time_text_or_none(counts.received_ms), "last_event": time_text_or_none(counts.event_ms)}


class CheckSources(OperationRequest["SourceTroubles"]):
    pass


class SourceTrouble(msgspec.Struct):
    """What keeps messages of a source away."""

    source: str
    since: TimeText
    message: str


class SourceTroubles(OperationAnswer):
    """What keeps messages away, source by source."""

    ok: bool
    troubles: list[SourceTrouble]
    STATUS: ClassVar = "ok"

    def text(self) -> str:
        lines = [f"{trouble.source}: {trouble.message}" for trouble in self.troubles]
        return "\n".join(lines) or "All sources are healthy."


@operation("sources check", right="read:metrics")
def check_sources(
    pushed: PushedSources,
    pulled: PulledSources,
    source: SourceParts,
    systems: Systems,
    now_ms: Clock,
    request: CheckSources,
) -> SourceTroubles:
    """Check that each source can be opened and that nothing blocks its messages.

    Exit status 1: a subscription is unconfirmed or ended, a file is set aside or suspicious, or a source does not
    answer or cannot be opened.

    Examples:
        shroff sources check
    """
    all_troubles = [*pushed.troubles(), *pulled.troubles(), *source.troubles()]
    opens: dict[str, Callable[[], object]] = {
        name: partial(pushed.opened, named) for name, named in systems.sources.items()
    }
    opens |= {name: partial(pulled.look_at, name) for name in systems.pulled}
    for name, look in opens.items():
        try:
            look()
        except (TransientError, UsageError) as error:
            all_troubles.append((name, f"{error}".rstrip("."), now_ms()))
    troubles = [SourceTrouble(name, time_text(at_ms), words) for name, words, at_ms in all_troubles]
    return SourceTroubles(ok=not troubles, troubles=troubles)


class SyncSource(OperationRequest["SyncedFiles"]):
    """
    Args:
        day (NAME): Only this day of an export, or this file, even if taken before.
        to (NAME): With --day: up to this day or file.
        from_backup: With --day: take the archive kept at the download again.
        no_decide: Do not decide the new events; they count only in windows.
    """

    source: SourceName
    day: Annotated[str, Param(flags="--day")] = ""
    to: Annotated[str, Param(flags="--to")] = ""
    from_backup: bool = False
    no_decide: bool = False

    def __post_init__(self) -> None:
        if self.from_backup and not self.day:
            raise UsageError("--from-backup goes with --day.")
        if self.to and not self.day:
            raise UsageError("--to goes with --day, which is the first one.")


class FileSynced(msgspec.Struct):
    """Result of a file; `appended` counts what was appended now, as `shroff ingest` does."""

    file: str
    state: str
    why: str
    suspicious: str
    appended: Document | None

    @property
    def refused(self) -> int:
        return self.appended["quarantined"] + self.appended["labels"]["quarantined"] if self.appended else 0


class SyncedFiles(OperationAnswer):
    """Results of the files of a source, in their order."""

    source: str
    files: list[FileSynced]

    def text(self) -> str:
        appended = sum(file.appended is not None for file in self.files)
        changing = [one_line(file.file) for file in self.files if file.state == CHANGING]
        words = f" {', '.join(changing)} changed while it was read; the next sync reads it again." if changing else ""
        return f"{many(appended, 'file')} ingested.{words}{'' if self.files else ' No new files.'}"

    def hints(self) -> Sequence[str]:
        if self._has("set aside"):
            return ["shroff sources check"]
        return ["shroff quarantine list" if self._refused else "shroff export decisions"]

    def exit_status(self) -> int:
        if self._has("not kept"):
            return REFUSED
        if self._has(CHANGING):
            return NOT_READ
        return QUARANTINED if self._has("set aside") or self._refused else 0

    def _has(self, state: str) -> bool:
        return any(file.state == state for file in self.files)

    @property
    def _refused(self) -> int:
        return sum(file.refused for file in self.files)

    def brief(self) -> Document:
        appended = [file.appended for file in self.files if file.appended is not None]
        counts = [count for document in appended for count in (document, document["labels"])]
        names = ("appended", "duplicates", "quarantined")
        return {"files": len(appended), **{name: sum(count[name] for count in counts) for name in names}}


@operation("sources sync", right="submit:events", is_long=True, kind="sync", job_fields=("source",))
def sync_source(pulled: PulledSources, progress: ProgressSteps, request: SyncSource) -> SyncedFiles:
    """Append the new data of the pulled source NAME; each file or range of rows is taken whole and once.

    A sync is idempotent: the log knows what it has. An interrupted sync continues, and a repeated one does nothing. If
    a service runs, it appends the lines. To sync on a schedule, use a schedule of kind 'sync'.

    Exit status 1: no archive of a day is kept; 3: a file changed while it was read, and the next sync reads it; 4:
    lines were quarantined, or a file was set aside.

    Examples:
        shroff sources sync nightly
        shroff sources sync core --no-decide --json
        shroff sources sync app --day 2026-03-01 --to 2026-03-07
        shroff sources sync app --day 2026-03-01 --from-backup
    """
    files, count = [], progress.counting("taking files")
    for file in pulled.sync(
        request.source,
        first=request.day,
        last=request.to,
        from_backup=request.from_backup,
        decide=not request.no_decide,
        say=lambda words: progress.warn(f"{words}."),
    ):
        appended = None if file.appended is None else file.appended.document()
        files.append(FileSynced(file.name, file.state, file.why, file.suspicious, appended))
        progress.say(_line(file))
        count(appended is not None)
    return SyncedFiles(source=request.source, files=files)


def _line(file: SyncedFile) -> str:
    name, why = one_line(file.name), one_line(file.why).rstrip(".")
    if file.appended is None:
        return f"{name}: {file.state}{', since ' + why if why else ''}."
    events, labels = file.appended.events, file.appended.labels
    parts = [f"{many(events.appended, 'event')} appended"] if events.read or not labels.read else []
    parts += [f"{many(labels.appended, 'label')} appended"] if labels.read else []
    duplicates, refused = events.duplicates + labels.duplicates, events.quarantined + labels.quarantined
    parts += [f"{many(duplicates, 'duplicate')}"] if duplicates else []
    parts += [f"{many(refused, 'line')} quarantined"] if refused else []
    others = file.appended.untaken
    parts += [f"{others:,} of no event type"] if others else []
    doubt = f" Suspicious: {one_line(file.suspicious)}." if file.suspicious else ""
    return f"{name}: {', '.join(parts)}.{doubt}"


class VerifyMessages(OperationRequest["JudgedMessages"]):
    """
    Args:
        files (FILE...): The messages.
        at (TIME): When the messages arrived, as 2026-03-01T12:00:00Z.  [default: now]
        certificates (DIRECTORY): A folder of certificates (*.pem), named as in their URLs.
    """

    source: SourceName
    files: Annotated[tuple[Path, ...], Param(is_local=True)]
    at: Annotated[str, Param(flags="--at")] = ""
    certificates: LocalPath = None


class JudgedMessages(OperationAnswer):
    """The result that each message would have."""

    messages: list[JudgedMessage]

    def text(self) -> str:
        rows = []
        for message in self.messages:
            fetch = f" (would fetch {message.would_fetch})" if message.would_fetch else ""
            sign, reason = "accepted" if message.accepted else "refused", one_line(message.reason) + fetch
            rows.append((one_line(message.file), sign, one_line(message.type), reason.strip()))
        return table(rows, ("file", "", "type", "reason"))

    def exit_status(self) -> int:
        return 0 if all(message.accepted for message in self.messages) else REFUSED


@operation("sources test", right="read:metrics")
def verify_messages(pushed: PushedSources, now_ms: Clock, request: VerifyMessages) -> JudgedMessages:
    """Verify the signatures of saved messages of source NAME. Nothing is stored, and no request is sent.

    Each FILE is the body of one request. Certificates are read from the folder of '--certificates' by file name. A
    missing one is listed under 'would_fetch', and its message is not accepted.

    Exit status 1: a message is refused.

    Examples:
        shroff sources test savings_topic message.json --certificates certs
        shroff sources test savings_topic saved/*.json --at 2026-03-01T12:00:00Z --json
    """
    try:
        at_ms = parse_time(request.at) if request.at else now_ms()
    except ValueError:
        raise UsageError(f"--at: {request.at!r} is not a time. Write it as 2026-03-01T12:00:00Z.") from None
    if len(request.files) > FILES_MAX:
        raise UsageError(f"these are {len(request.files):,} files; at most {FILES_MAX:,} are judged at once.")
    folder = request.certificates
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--certificates: there is no folder {folder}.")
    bodies = {str(file): _read(file) for file in request.files}
    certificates = {} if folder is None else {path.name: _read(path) for path in folder.glob("*.pem")}
    return JudgedMessages(messages=pushed.judged(request.source, bodies, at_ms, certificates))


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{os_words(error, file, ' cannot be read')}.") from None
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(f"{file} has more than {FILE_BYTES_MAX:,} bytes, the limit of a message.")
    return content


class ConfirmSubscriptions(OperationRequest["ConfirmedTopics"]):
    """
    Args:
        topic (ARN): Only the subscription of this topic.
    """

    source: SourceName
    topic: Annotated[str, Param(flags="--topic")] = ""


class ConfirmedTopics(OperationAnswer):
    """The topics whose subscriptions were confirmed."""

    confirmed: list[str]
    NEXT: ClassVar = ("shroff sources list",)

    def text(self) -> str:
        return "\n".join(f"{topic}: confirmed." for topic in self.confirmed)


@operation("sources confirm", right="mend:input")
def confirm_subscriptions(pushed: PushedSources, request: ConfirmSubscriptions) -> ConfirmedTopics:
    """Confirm the pending subscriptions of source NAME, so that the sender starts to deliver.

    Examples:
        shroff sources confirm savings_topic
        shroff sources confirm savings_topic --topic arn:aws:sns:eu-west-1:123456789012:savings
    """
    return ConfirmedTopics(confirmed=pushed.confirm(request.source, request.topic))
