"""Produce events of a file to the topics of a live source: encoded, keyed, at their due times."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct, field

from shroff.errors import UsageError, nearest
from shroff.events.definitions import Events, EventType, Settings
from shroff.events.event import Codec, Event, canonical_value
from shroff.events.formats.lines import Line, Lines, line_and_row
from shroff.events.formats.wire import Encoder
from shroff.events.intake import Submission
from shroff.events.mapping import LABEL, MappedRow, Unmatched, columns_read, row_leaf
from shroff.events.needed_columns import lacking_columns
from shroff.events.raw_values import shown, text_of
from shroff.events.readers import reader
from shroff.events.validation import LabelInput
from shroff.language.checker import check
from shroff.language.expression import Else, Literal, Node, ThisField, When
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import Evaluate, Reference, compile_row
from shroff.language.syntax import ExpressionError
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, Value
from shroff.project.settings.system import System
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.values import frozen, replace
from shroff.streams.sender import Sender

CERTAIN_EVERY = 200_000  # messages between two flushes that wait for all acknowledgments
NAP_S = 0.2  # the longest sleep, so that progress stays visible
ENDS_WITHIN_S = 10.0
SHOWN = 5  # refused lines whose reasons are reported
VALUES_SHOWN = 5  # of a column that --topic-by reads
_TOPIC = "topic:"  # prefix of the names of chosen topics, to distinguish them from event types

Key = Callable[[Event], bytes | None]
Write = Callable[[Submission], bytes]


class Production(Struct):
    """Progress of sending. `next_row` is the line to resume at: everything before it was acknowledged.

    `refused` counts lines that are no event; `words` has location and reason of the first ones. `untaken` lines fit no
    event type. `failed` messages were refused by the receiver. `behind` events are so much older than one sent before
    them that a reader treats them as too late.
    """

    sent: int = 0
    labels: int = 0
    failed: int = 0
    refused: int = 0
    untaken: int = 0
    behind: int = 0
    seconds: float = 0.0
    next_row: int = 1
    behind_s: float = 0.0  # how far behind its schedule the last event was sent
    place: str = ""  # of the last event
    words: list[str] = []
    made: list[str] = []  # topics that were created
    by_topic: Counter[str] = field(default_factory=Counter)  # events by topic chosen by an expression
    one_way: str = ""  # why the expression chose the same topic for all events
    unmatched: list[Unmatched] = []  # the file, if no event type accepts any of its lines


@frozen
class SendingPace:
    """When events are due: at a rate, or by event time at a speed; by default at once.

    The schedule is fixed in advance, so a late event does not delay those after it.
    """

    rate: float | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and self.speed is not None:
            raise UsageError("use --rate or --speed, not both.")
        for name, value in (("rate", self.rate), ("speed", self.speed)):
            if value is not None and not 0 < value < 1e9:
                raise UsageError(f"--{name} is a number above 0.")

    def due_s(self, number: int, time_ms: int, first_ms: int) -> float | None:
        """Return when an event is due, in seconds after the first one; None for at once."""
        if self.rate is not None:
            return number / self.rate
        return None if self.speed is None else (time_ms - first_ms) / 1_000 / self.speed


class TopicChooser:
    """Chooses the topic or stream of each event by an expression over its line of the file.

    The expression yields one of several texts in single quotes, so all topics are known before the first event is sent.
    An event without a result goes to the topic of its type.

    Raises: UsageError for an invalid expression, and for one that yields anything but such texts.
    """

    def __init__(self, text: str, money_places: int) -> None:
        scope = Scope(DeclaredNames(money_places=money_places), what="--topic-by", reads_row=True)
        try:
            node = check(text, scope, TEXT)
        except ExpressionError as error:
            raise UsageError(f"--topic-by: {error.message}. {error.hint}".rstrip()) from None
        self.topics = tuple(dict.fromkeys(_results(node)))
        self.is_for_all = _is_given(node)  # no event goes to the topic of its type
        self._evaluate = compile_row(node, row_leaf)
        self._node = node
        self._columns = columns_read(node)
        self._values: dict[str, Counter[str]] = {name: Counter() for name in self._columns}
        self._numbers = {name: number for number, name in enumerate(self.topics, 1)}
        self.counts: Counter[str] = Counter()  # events by topic, or by type if none was chosen
        # For each data line the number of its topic (below 256, as expressions are short), or 0 for its type's topic.
        self._chosen = bytearray()

    def into(self, system: System) -> System:
        """Return a source's settings with these topics added, each under a name that no event type has."""
        option = "streams" if system.kind == "redis" else "topics"
        topics = {f"{_TOPIC}{name}": name for name in self.topics}
        return replace(system, options={**system.options, option: {**system.options.get(option, {}), **topics}})

    @property
    def names(self) -> list[str]:
        return [f"{_TOPIC}{name}" for name in self.topics]

    def watched(self, lines: Lines, source: str) -> Lines:
        """Return the same lines; the topic of each is chosen as it is read.

        Raises: UsageError if the file lacks a column that the expression reads.
        """
        missing = [] if lines.columns is None else lacking_columns(self._node, lines.columns)
        if missing:
            hints = (nearest(name, lines.columns or ()) for name in missing)
            hint = next(filter(None, hints), "") or f"It has {', '.join(lines.columns or ())}."
            raise UsageError(f"--topic-by: {source} has no column {', '.join(missing)}. {hint}")
        read = self._looked_at(lines, source)
        return Lines(lines.format, lines.columns, read, lines.close, lines.extent, separator=lines.separator)

    def _looked_at(self, lines: Lines, source: str) -> Iterator[Line]:
        for line in lines:
            row = None if line.columns is None else MappedRow(source, line.number, line.columns)
            self._chosen.extend(bytes(max(0, line.number - len(self._chosen))))
            if row is not None:
                self._chosen[line.number - 1] = self._numbers.get(self._evaluate(row), 0)
                self._note_values(row)
            yield line

    def _note_values(self, row: MappedRow) -> None:
        """Count the values that the expression reads; only the first ones of a column with many values."""
        for name, counts in self._values.items():
            value = text_of(row.columns.get(name)) or "missing"
            if value in counts or len(counts) < VALUES_SHOWN:
                counts[value] += 1

    def one_way(self) -> str:
        """Return a sentence saying why all events went to one topic; empty if they did not, or there is only one."""
        if len(self.counts) != 1 or (len(self.topics) == 1 and self.is_for_all):
            return ""
        (topic,) = self.counts
        columns = (f"{name} has {', '.join(map(shown, counts))}" for name, counts in self._values.items())
        return f"All events went to {topic}. Compare --topic-by with the columns that it reads: {'; '.join(columns)}."

    def target(self, submission: Submission) -> str:
        number = line_and_row(submission.place)[1] or 0
        chosen = self._chosen[number - 1] if 0 < number <= len(self._chosen) else 0
        self.counts[self.topics[chosen - 1] if chosen else f"the topic of {submission.type}"] += 1
        return f"{_TOPIC}{self.topics[chosen - 1]}" if chosen else submission.type


def _results(node: Node) -> Iterator[str]:
    """Yield the texts that an expression may return. Raises: UsageError if it may return anything else."""
    match node:
        case Literal(_, str() as text):
            yield text
        case When():
            yield from _results(node.value)
        case Else():
            yield from _results(node.left)
            yield from _results(node.right)
        case _:
            example = "'fraud' when row.isFraud == 1 else 'genuine'"
            raise UsageError(f"--topic-by gives topics in single quotes and nothing else, such as {example}.")


def _is_given(node: Node) -> bool:
    return isinstance(node, Literal) or (isinstance(node, Else) and (_is_given(node.left) or _is_given(node.right)))


class MessageMaker:
    """Creates messages from submissions: target, key and bytes.

    Args:
        encoder: Returns an encoder, given whether messages name their event type.
        topics: Chooses the topic of each event; by default the topic of its type.
    """

    def __init__(
        self,
        events: Events,
        settings: Settings,
        sender: Sender,
        encoder: Callable[[bool], Encoder],
        *,
        is_json: bool,
        topics: TopicChooser | None = None,
    ) -> None:
        self.topics = topics
        self._events = events
        self._settings = settings
        self._is_json = is_json
        self._sender = sender
        self._encoder = encoder
        self._fields = {name: [field.sent for field in type_.fields] for name, type_ in events.types.items()}
        self._labels = Codec(events.label_input)
        self._writes: dict[str, Write] = {}
        self._encoders: dict[bool, Encoder] = {}

    def value(self, submission: Submission) -> bytes:
        """Encode an event or a label. Raises: UsageError if a source of this project could not decode it."""
        write = self._writes.get(submission.type)
        if write is None:
            write = self._writes[submission.type] = self._write(submission)
        return write(submission)

    def _write(self, first: Submission) -> Write:
        is_shared = self._sender.target(first.type).is_shared
        if first.type == LABEL and self._is_json:
            return self._label_json
        if is_shared not in self._encoders:
            self._encoders[is_shared] = self._encoder(is_shared)
        encode = self._encoders[is_shared].value
        type_name = first.type
        if not self._is_json or self._events.types[type_name].personal:
            return lambda line: encode(type_name, self._values(line))
        encode(type_name, self._values(first))  # raises if such messages could not be read
        codec = Codec(self._events.types[type_name])
        before, behind = (b'{"%s":' % type_name.encode(), b"}") if is_shared else (b"", b"")

        def write(submission: Submission) -> bytes:
            assert submission.event is not None
            return b"%s%s%s" % (
                before,
                codec.encode(submission.event) if submission.body is None else submission.body,
                behind,
            )

        return write

    def _label_json(self, submission: Submission) -> bytes:
        assert submission.label is not None
        values = self._label_values(submission.label)
        return self._labels.encode(Event(LABEL, "", 0, tuple(map(values.get, self._labels.event_type.field_names))))

    def _values(self, submission: Submission) -> Mapping[str, Value]:
        if submission.label is not None:
            return self._label_values(submission.label)
        assert submission.event is not None
        values = dict(zip(self._fields[submission.type], submission.event.values, strict=True))
        return values | dict(submission.personal) if submission.personal else values

    def _label_values(self, label: LabelInput) -> dict[str, Value]:
        values: dict[str, Value] = {
            "event": f"{label.event_type}/{label.event_id}" if label.event_id else None,
            "verdict": label.verdict,
            "source": label.source,
            "known_at": label.known_at_ms,
            "reason": label.reason,
            "amount": label.amount,
        }
        type_ = self._events.label_input
        for name, text in label.unique:
            read = reader(type_.fields[type_.at(name)].type, currency=self._settings.currency)
            values[name] = read(text)
        return values


def keys_of(events: Events, settings: Settings, reference: Reference, field_name: str | None) -> dict[str, Key]:
    """Return, by event type, the function that computes a message key: of its first entity, or of a field.

    Raises: UsageError for a field that no event type has.
    """
    if field_name is not None:
        field_names = {name for type_ in events.types.values() for name in type_.field_names}
        if field_name not in field_names:
            hint = nearest(field_name, field_names) or f"Fields are {', '.join(sorted(field_names))}."
            raise UsageError(f"no event type has a field {field_name!r} to be the key. {hint}")
    return {name: _key(type_, events, settings, reference, field_name) for name, type_ in events.types.items()}


def _field(type_: EventType, name: str) -> ThisField | None:
    return ThisField(type_.fields[type_.at(name)].read_type, name) if name in type_.field_names else None


def _key(type_: EventType, events: Events, settings: Settings, reference: Reference, field_name: str | None) -> Key:
    declared = None if field_name is None else _field(type_, field_name)
    if declared is not None:
        return _keyed(type_, (declared,), settings, reference)
    parts = next((entity.keys[type_.name] for entity in events.entities.values() if type_.name in entity.keys), ())
    return _keyed(type_, parts, settings, reference)


def _keyed(type_: EventType, parts: tuple[Node, ...], settings: Settings, reference: Reference) -> Key:
    if not parts:
        return lambda event: event.id.encode()

    def leaf(node: Node) -> Evaluate:
        assert isinstance(node, ThisField), node
        at = type_.at(node.name)
        return lambda event: event.values[at]

    if len(parts) == 1 and isinstance(parts[0], ThisField) and parts[0].type.is_text:
        at = type_.at(parts[0].name)
        return lambda event: None if (value := event.values[at]) is None else str(value).encode()
    reads = [(compile_row(part, leaf, reference, time=lambda event: event.time_ms), part.type) for part in parts]

    def key(event: Event) -> bytes | None:
        values = [read(event) for read, _ in reads]
        if any(value is None for value in values):
            return None
        texts = (
            canonical_value(value, of, settings.money_places) for value, (_, of) in zip(values, reads, strict=True)
        )
        return "|".join(texts).encode()

    return key


class DueTimes(Struct):
    """Waits until each event of a production is due."""

    pace: SendingPace
    done: Production
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    first_ms: int | None = None
    began_s: float = 0.0

    def until_due(self, event: Event) -> None:
        if self.first_ms is None:
            self.first_ms, self.began_s = event.time_ms, self.clock()
        due_s = self.pace.due_s(self.done.sent, event.time_ms, self.first_ms)
        if due_s is None:
            return
        while (left_s := self.began_s + due_s - self.clock()) > 0:
            self.sleep(min(left_s, NAP_S))
        self.done.behind_s = -left_s


def produce(
    submissions: Iterable[Submission],
    sender: Sender,
    outgoing: MessageMaker,
    keys: Mapping[str, Key],
    waits: DueTimes,
    *,
    lateness_ms: int = DAY_MS,
) -> None:
    """Send all submissions, in order; the production of `waits` shows the progress to any thread.

    If interrupted, waits up to `ENDS_WITHIN_S` for messages already handed over.
    """
    progress = waits.done
    began_s = waits.clock()
    try:
        with calm_collector():
            counted = _counted(submissions, progress, lateness_ms)
            _send_all(counted, sender, outgoing, keys, waits)
        while sender.flush(NAP_S):
            progress.failed = sender.failed
    finally:
        if not sender.flush(ENDS_WITHIN_S):
            _all_there(sender, progress)
        progress.seconds = waits.clock() - began_s
        progress.failed = sender.failed


def _send_all(
    submissions: Iterable[Submission], sender: Sender, outgoing: MessageMaker, keys: Mapping[str, Key], waits: DueTimes
) -> None:
    progress = waits.done
    is_paced = waits.pace != SendingPace()
    send = sender.send
    value = outgoing.value
    topics = outgoing.topics
    certain = CERTAIN_EVERY
    for submission in submissions:
        event = submission.event
        if event is None:
            assert submission.label is not None
            key = (submission.label.event_id or "|".join(text for _, text in submission.label.unique)).encode()
            send(LABEL, key, value(submission))
            progress.labels += 1
            continue
        if is_paced:
            waits.until_due(event)
        send(
            submission.type if topics is None else topics.target(submission),
            keys[submission.type](event),
            value(submission),
        )
        progress.sent += 1
        progress.place = submission.place
        if sender.sent >= certain:
            certain = sender.sent + CERTAIN_EVERY
            if not sender.flush(ENDS_WITHIN_S):
                _all_there(sender, progress)


def _counted(submissions: Iterable[Submission], done: Production, lateness_ms: int) -> Iterator[Submission]:
    """Yield events and labels; count other lines, and keep the reasons of the first ones."""
    newest_ms: int | None = None
    refused: set[tuple[str, str]] = set()  # a line may be refused as an event and as a label
    for submission in submissions:
        if submission.event is not None:
            time_ms = submission.event.time_ms
            if newest_ms is None or time_ms > newest_ms:
                newest_ms = time_ms
            elif newest_ms - time_ms > lateness_ms:
                done.behind += 1
            yield submission
        elif submission.label is not None:
            yield submission
        elif submission.refusal is None:
            done.untaken += 1
        elif (line := (submission.source, submission.place)) not in refused:
            refused.add(line)
            done.refused += 1
            if len(done.words) < SHOWN:
                done.words.append(
                    f"{submission.source}, line {line_and_row(submission.place)[0]}: {submission.refusal}"
                )


def _all_there(sender: Sender, done: Production) -> None:
    """Note that everything so far is acknowledged: a later run continues after it."""
    done.failed = sender.failed
    if done.place:
        done.next_row = (line_and_row(done.place)[1] or 0) + 1
