"""Sends a file's events to the project's live source."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Meter
from shroff.events.mapping import LABEL
from shroff.project.settings.installed import settings_of
from shroff.project.settings.system import System
from shroff.project.settings.systems import source_at
from shroff.services.adapter_factory import AdapterFactory, can_send, targets
from shroff.services.parts import ProjectPart
from shroff.streams.sink import PreparedSink

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shroff.events.definitions import Events
    from shroff.events.formats.lines import Lines
    from shroff.events.intake import Intake
    from shroff.streams.sender import Sender
    from shroff.worker.producer import Production, SendingPace


class SendingOptions(TypedDict, total=False):
    """Keyword arguments of `Productions.produce` for sending.

    Args:
        to: The address of a source, instead of the one in shroff.yaml.
        pace: When events are due; by default at once.
        key: The field for the partition; by default the first entity of each event type.
        first_row: The data line to begin with.
        topic_by: Expression over a line of the file that returns the topic or stream of its event.
        partitions: Create missing topics with this many partitions.
        done: Updated with the progress.
        watch: Context for the sending, called with the sender and the progress of the file.
    """

    to: str | None
    pace: SendingPace | None
    key: str | None
    first_row: int
    topic_by: str | None
    partitions: int | None
    done: Production | None
    watch: Callable[[Sender, Meter], AbstractContextManager[None]]


class Productions(ProjectPart):
    _outside: AdapterFactory

    def produce(
        self,
        file: str | Path,
        *,
        as_type: str | None = None,
        labels: str | Path | None = None,
        order: str = "file",
        format: str | None = None,
        **options: Unpack[SendingOptions],
    ) -> Production:
        """Send the events of a file to the project's live source, in file order.

        Lines are read as by `ingest`; invalid ones are counted. Hashed fields are sent in clear, because the reader
        hashes them.

        Args:
            labels: A file of labels, merged in by the time they became known; may be the same file.
            order: `file`, or `time` to sort by event time first.

        Raises: UsageError; TransientError if sending fails.
        """
        from shroff.events.formats.sorting import in_order_of_time
        from shroff.worker.file_order import with_labels
        from shroff.worker.producer import (
            DueTimes,
            MessageMaker,
            Production,
            SendingPace,
            TopicChooser,
            keys_of,
            produce,
        )

        first_row, to, topic_by = options.get("first_row", 1), options.get("to"), options.get("topic_by")
        partitions = options.get("partitions")
        if order not in {"file", "time"} or (order == "time" and first_row > 1):
            raise UsageError("the order is file or time; --from N works in file order only.")
        done, meter = options.get("done") or Production(), Meter()
        done.next_row = first_row
        definitions = self._definitions
        events, settings = definitions.events, definitions.settings
        system = self._systems.source
        named = self._systems.named_read
        if to is not None:
            system = named.get(to) or source_at(to, "--to", None if as_type == LABEL else as_type)
        elif len(named) > 1:
            raise UsageError(f"this project reads several sources: name one with --to {' or --to '.join(named)}.")
        if system is None:
            raise UsageError("this project has no live source to send to. Name one under 'source' in shroff.yaml.")
        topics = TopicChooser(topic_by, settings.money_places) if topic_by else None
        if topics is not None:
            system, done.by_topic = topics.into(system), topics.counts
        keys = keys_of(events, settings, definitions.reference, options.get("key"))
        with ExitStack() as opened:
            intake, path = self._intake(), Path(file)
            lines = meter.opened(opened.enter_context(read_lines(path, format, self._context.warnings.once)))
            lines = _from_row(intake.lay_out(lines, path.name, as_type), first_row)
            if topics is not None:
                lines = topics.watched(lines, path.name)
            submissions = intake.submissions(lines, path.name, as_type)
            if order == "time":
                submissions = meter.given(in_order_of_time(meter.taken(submissions)))
            is_inside = labels is not None and Path(labels) == path
            if labels is not None:
                rows = opened.enter_context(read_lines(Path(labels), format))
                read = self._intake().lay_out(rows, Path(labels).name, LABEL, beside=as_type if is_inside else None)
                found = self._intake().submissions(read, Path(labels).name, LABEL)
                if is_inside:  # rows that are no label are events of the same file
                    found = (
                        submission
                        for submission in found
                        if submission.label is not None or submission.refusal is not None
                    )
                submissions = with_labels(submissions, found)
            sender, encoder = self._outside.open_sender(system)
            opened.enter_context(closing(sender))
            wanted = {as_type} if as_type else targets(sender, events).keys() - {LABEL}
            if topics is not None:
                wanted = (set() if topics.is_for_all else wanted) | set(topics.names)
            if partitions is not None:  # a worker needs all topics of the settings
                wanted |= _read_by_a_worker(sender, events, system)
            done.made = sender.prepare(sorted({*wanted, *({LABEL} if labels is not None else ())}), partitions)
            if "watch" in options:
                opened.enter_context(options["watch"](sender, meter))
            is_json = system.options.get("format", "json") == "json"
            outgoing = MessageMaker(events, settings, sender, encoder, is_json=is_json, topics=topics)
            lateness_ms = settings.lateness_ms
            waits = DueTimes(options.get("pace") or SendingPace(), done)
            produce(submissions, sender, outgoing, keys, waits, lateness_ms=lateness_ms)
            done.one_way = "" if topics is None else topics.one_way()
        done.unmatched = intake.unmatched
        return done

    def make_topics(self, partitions: int = 1) -> list[str]:
        """Create the missing topics of shroff.yaml; return their names.

        These are the topics of the sources (with this many partitions), of dead letters and of sinks. Redis streams
        need no creation; subscriptions of Pub/Sub are created in Google Cloud.

        Raises: UsageError if one cannot be created; TransientError if the server does not answer.
        """
        created: list[str] = []
        events = self._definitions.events
        for system in (system for _, system in self._systems.all_read if can_send(system)):
            sender, _ = self._outside.open_sender(system)
            with closing(sender):
                created += sender.prepare(sorted(_read_by_a_worker(sender, events, system)), partitions)
        for name, sink_system in self._systems.sinks.items():
            if settings_of("sink", sink_system.kind).is_prepared:
                with closing(self._outside.open_sink(name, sink_system)) as sink:
                    created += sink.prepare(partitions) if isinstance(sink, PreparedSink) else ()
        return created

    def _intake(self) -> Intake:
        from shroff.events.intake import Intake

        return Intake(self._definitions.events, self._definitions.settings, None)


def _read_by_a_worker(sender: Sender, events: Events, system: System) -> set[str]:
    return targets(sender, events).keys() - ({LABEL} if "labels" not in system.options else set())


def _from_row(lines: Lines, first_row: int) -> Lines:
    deque(islice(lines, first_row - 1), maxlen=0)
    return lines
