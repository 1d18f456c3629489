"""Traces by OpenTelemetry (extra `otel`): spans of ingest, decide, commit and deliver. Off unless configured.

OTEL_EXPORTER_OTLP_ENDPOINT enables it; the SDK reads the other standard variables, such as OTEL_SERVICE_NAME and
OTEL_TRACES_SAMPLER. The spans of an event with a W3C `traceparent` are in that trace; all other events of a batch share
one trace. Spans have counts and sequence numbers, but no event data.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.runtime.logs import say, tell

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SDK = logging.getLogger("opentelemetry")
HEADER = "traceparent"
PARENT: Final[ContextVar[str]] = ContextVar("traceparent", default="")  # of the current request
EACH_MAX = 32  # events of a batch with their own spans
RECENT_MAX = 1_000  # commits whose delivery is traced


class TracedEvent(NamedTuple):
    """An event of a batch with a trace: its index among the submissions, its `traceparent`, its arrival."""

    number: int
    parent: str
    arrived_s: float


class TracedBatch(NamedTuple):
    """A committed batch; times are monotonic.

    Args:
        places: The sequence number of each submission, 0 for none.
    """

    arrived_s: float
    decided_s: float
    decide_s: float
    committed_s: float
    commit_s: float
    places: Sequence[int]


class _Commit(NamedTuple):
    """Range of sequence numbers that a traced commit appended, and its span context."""

    first: int
    last: int
    context: Any


class _State:
    tracer: Any = None
    end: Callable[[], None] | None = None
    recent: Final[deque[_Commit]] = deque(maxlen=RECENT_MAX)


def is_on() -> bool:
    return _State.tracer is not None


@contextmanager
def exporting(version: str) -> Iterator[None]:
    """Record spans in a block, if the environment names a receiver. Raises: UsageError without the extra."""
    _begin(version)
    try:
        yield
    finally:
        if _State.end is not None:
            _State.end()  # sends the remaining spans
        _State.tracer = _State.end = None
        _State.recent.clear()


class _Exporter:
    """An exporter that logs once when its receiver accepts no spans, and once when it does again."""

    def __init__(self, inner: Any, receiver: str) -> None:
        self._inner = inner
        self._receiver = receiver
        self._is_away = False
        self.shutdown = inner.shutdown
        self.force_flush = inner.force_flush

    def export(self, spans: Sequence[Any]) -> Any:
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 - older SDKs raise if the receiver is unreachable
            from opentelemetry.sdk.trace.export import SpanExportResult

            say(logging.DEBUG, f"traces: {type(error).__name__}: {error}")
            result = SpanExportResult.FAILURE
        is_away = result.value != 0
        if is_away and not self._is_away:
            lost = "does not accept spans. They are lost until it does; events are decided as before"
            tell(f"traces: {self._receiver} {lost}. SHROFF_LOG_LEVEL=debug shows why")
        elif self._is_away and not is_away:
            tell(f"traces: {self._receiver} accepts spans again")
        self._is_away = is_away
        return result


class _SdkLog(logging.Handler):
    """Logs what the SDK says about its receiver at level debug: it repeats itself, and contains no event data."""

    def emit(self, record: logging.LogRecord) -> None:
        say(logging.DEBUG, record.getMessage())


def _begin(version: str) -> None:
    receiver = next(filter(None, map(os.environ.get, reversed(ENDPOINTS))), "")
    if not receiver:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        problem = f"{ENDPOINTS[0]} is set, and traces need the extra 'otel'"
        raise UsageError(f"{problem}: pip install 'shroff[otel]'. Or unset it.") from None
    service = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "shroff"}
    provider = TracerProvider(resource=Resource.create({"service.version": version, **service}))
    SDK.handlers[:] = [_SdkLog()]
    SDK.propagate = False
    provider.add_span_processor(BatchSpanProcessor(_Exporter(OTLPSpanExporter(), receiver)))
    _State.tracer = provider.get_tracer("shroff", version)
    _State.end = provider.shutdown


def parent_in(headers: Sequence[tuple[str, bytes | None]] | None) -> str:
    parent = next((value for name, value in headers or () if name == HEADER and value), b"")
    return (parent or b"").decode("latin-1")


def batch(found: TracedBatch, traced: Sequence[TracedEvent]) -> list[tuple[str, float]]:
    """Record the spans of a batch: one set for each traced event, or one for all; return trace ids, latencies."""
    events = traced[:EACH_MAX] or [TracedEvent(-1, "", found.arrived_s)]
    return [_spans(found, event) for event in events]


def _spans(batch: TracedBatch, event: TracedEvent) -> tuple[str, float]:
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    seqs = [seq for seq in (batch.places if event.number < 0 else batch.places[event.number : event.number + 1]) if seq]
    attributes: JsonMapping = {"shroff.batch.size": len(batch.places)}
    if seqs:
        attributes = {**attributes, "shroff.seq.first": min(seqs), "shroff.seq.last": max(seqs)}
    parent = TraceContextTextMapPropagator().extract({HEADER: event.parent}) if event.parent else None
    at_ns = _at_ns()
    span = _State.tracer.start_span(
        "ingest", context=parent, kind=SpanKind.CONSUMER, attributes=attributes, start_time=at_ns(event.arrived_s)
    )
    inside = set_span_in_context(span)
    for name, end_s, seconds in (
        ("decide", batch.decided_s, batch.decide_s),
        ("commit", batch.committed_s, batch.commit_s),
    ):
        part = _State.tracer.start_span(name, context=inside, start_time=at_ns(end_s - seconds))
        part.end(at_ns(end_s))
    span.end(at_ns(batch.committed_s))
    context = span.get_span_context()
    if seqs and context.trace_flags.sampled:
        _State.recent.append(_Commit(min(seqs), max(seqs), context))
    return (f"{context.trace_id:032x}" if context.trace_flags.sampled else ""), batch.committed_s - event.arrived_s


@contextmanager
def delivering(sink: str, places: Sequence[int]) -> Iterator[None]:
    """Record spans of a delivery of these sequence numbers, in the traces of their commits."""
    if _State.tracer is None or not places:
        yield
        return
    from opentelemetry.trace import NonRecordingSpan, SpanKind, Status, StatusCode, set_span_in_context

    first = min(places)
    last = max(places)
    commits = [trace for trace in list(_State.recent) if trace.first <= last and trace.last >= first][:EACH_MAX]
    attributes = {"shroff.sink": sink, "shroff.rows": len(places)}
    spans = [
        _State.tracer.start_span(
            "deliver",
            context=set_span_in_context(NonRecordingSpan(commit.context)),
            kind=SpanKind.PRODUCER,
            attributes=attributes,
        )
        for commit in commits
    ]
    try:
        yield
    except BaseException as error:
        for span in spans:
            # Without its message, which may contain values.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        for span in spans:
            span.end()


def _at_ns() -> Callable[[float], int]:
    offset = time.time() - time.monotonic()
    return lambda at_s: int((at_s + offset) * 1e9)
