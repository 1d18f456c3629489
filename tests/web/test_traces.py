"""Traces: spans of ingest, decide, commit and deliver in the trace of whoever sent the event, over OTLP."""

from __future__ import annotations

import gzip
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.events.formats.wire import JsonDecoder
from shroff.runtime import traces
from shroff.services.adapter_factory import AdapterFactory
from tests.streams.test_delivering import Bank, worked_off
from tests.support.source_memory import MemorySource, MemoryTopic
from tests.support.webs import Asker
from tests.web.test_web import PAYMENT, run
from tests.worker.test_feeding import until

FIRST, SECOND, THIRD = (f"00-{letter * 32}-{'1' * 16}-01" for letter in "abc")
UNSAMPLED = f"00-{'d' * 32}-{'1' * 16}-00"
LOST = (
    "does not accept spans. They are lost until it does; events are decided as before. SHROFF_LOG_LEVEL=debug shows why"
)


class Receiver:
    """An OTLP receiver; `spans` by their trace, the names with what is told of them."""

    def __init__(self) -> None:
        self.spans: dict[str, list[tuple[str, str, dict[str, object]]]] = {}
        self.resources: list[dict[str, object]] = []
        self.raw = b""
        self.status = 200  # what it answers; it takes spans with 200 alone
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.status == 200:
                    receiver.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def take(self, body: bytes) -> None:
        self.raw += body
        for of in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({attribute.key: attribute.value.string_value for attribute in of.resource.attributes})
            for span in (span for scope in of.scope_spans for span in scope.spans):
                told = {
                    attribute.key: attribute.value.int_value or attribute.value.string_value
                    for attribute in span.attributes
                }
                assert span.start_time_unix_nano <= span.end_time_unix_nano
                self.spans.setdefault(span.trace_id.hex(), []).append((span.name, span.parent_span_id.hex(), told))


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()
    thread = Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv(traces.ENDPOINTS[0], f"http://127.0.0.1:{found.server.server_address[1]}")
    monkeypatch.setenv("NO_PROXY", "*")
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


class Headed(JsonDecoder):
    """Messages, of which one came with a `traceparent`, as Kafka's have it among their headers."""

    def line(self, number: int, value: bytes):
        line = super().line(number, value)
        line.trace = traces.parent_in([("x", b"1"), ("traceparent", SECOND.encode())]) if b'"k-2"' in value else ""
        return line


@pytest.mark.slow
def test_events_have_their_spans_in_the_trace_that_they_came_with(receiver, tmp_path, monkeypatch):
    bank = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    text = re.sub(r"(?m)^lateness:.*$", "", (bank / "shroff.yaml").read_text())
    (bank / "shroff.yaml").write_text(f"{text}\nlateness: 60d\nsource: kafka://127.0.0.1:9/payments\n")
    topic = MemoryTopic({"payments/0": []}, "payment")
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(topic, name="kafka", decoder=Headed()))

    async def steps(asks: Asker) -> None:
        for id_, parent in (("p-1", FIRST), ("p-3", UNSAMPLED), ("p-4", "nonsense")):
            body = {**PAYMENT, "payment_id": id_}
            assert (
                await asks.ask("POST", "/api/v1/events/payment", body, headers={"traceparent": parent})
            ).status == 200
        topic.send("payments/0", *(msgspec.json.encode({**PAYMENT, "payment_id": f"k-{n}"}) for n in (1, 2, 3)))
        # Commits are told behind the counts; who delivers looks there.
        told_of = {int(trace[3:35], 16) for trace in (FIRST, SECOND)}
        await until(asks, lambda: told_of <= {commit.context.trace_id for commit in list(traces._State.recent)})
        with traces.delivering("archive", range(1, asks.service.work.seq + 1)):
            pass
        accepts = {"accept": "application/openmetrics-text; version=1.0.0"}
        told = (await asks.ask("GET", "/metrics", headers=accepts)).body.decode()
        assert re.search(r'shroff_decision_seconds_bucket\{le="[^"]+"\} \d.* # \{trace_id="(a{32}|b{32})"\}', told)
        assert "trace_id" not in (await asks.ask("GET", "/metrics")).body.decode()

    with traces.exporting("1.2"):
        run(bank, steps)

    posted, read = receiver.spans["a" * 32], receiver.spans["b" * 32]
    assert [name for name, _, _ in posted] == ["decide", "commit", "ingest", "deliver"]
    assert posted[2][1] == "1" * 16
    assert posted[2][2]["shroff.seq.first"] == posted[2][2]["shroff.seq.last"] == 2
    assert sorted(name for name, _, _ in read) == ["commit", "decide", "deliver", "ingest"]
    assert "d" * 32 not in receiver.spans  # whoever sent it decided not to trace it
    own = [spans for trace, spans in receiver.spans.items() if trace not in {"a" * 32, "b" * 32}]
    assert any([name for name, _, _ in spans][:3] == ["decide", "commit", "ingest"] for spans in own)
    sizes = [
        told["shroff.batch.size"] for spans in receiver.spans.values() for name, _, told in spans if name == "ingest"
    ]
    assert all(sizes)  # a commit of offsets alone has no spans
    assert receiver.resources[0]["service.name"] == "shroff"
    assert receiver.resources[0]["service.version"] == "1.2"
    assert b"p-1" not in receiver.raw
    assert b"k-2" not in receiver.raw


def test_a_delivery_has_a_span_in_the_traces_of_its_commits_and_says_if_it_fails(receiver):
    bank = Bank()
    courier = bank.courier()
    bank.pay(3)
    places = [bank.log.last_seq() - 1, bank.log.last_seq()]
    with traces.exporting("1.2"):
        batch = traces.TracedBatch(1.0, 1.1, 0.05, 1.2, 0.02, places)
        ((trace, seconds),) = traces.batch(batch, [traces.TracedEvent(1, THIRD, 1.05)])
        worked_off(courier)
        with pytest.raises(ValueError, match="Zebedee"), traces.delivering("archive", places[1:]):
            int("Zebedee")
        with traces.delivering("archive", places[:1]):
            """The record of another event, in another trace."""

    assert (trace, round(seconds, 3)) == ("c" * 32, 0.15)
    names = [name for name, _, _ in receiver.spans["c" * 32]]
    assert names == ["decide", "commit", "ingest", "deliver", "deliver"]
    told = [span for name, _, span in receiver.spans["c" * 32] if name == "deliver"]
    assert told == [{"shroff.sink": "decided", "shroff.rows": 3}, {"shroff.sink": "archive", "shroff.rows": 1}]
    assert b"Zebedee" not in receiver.raw


def heard(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Have `caplog` hear each record once, whatever handlers a service has left in this process."""
    monkeypatch.setattr(logging.getLogger("shroff"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("shroff"), "handlers", [])
    monkeypatch.setattr(logging.root, "handlers", [caplog.handler])


def test_a_receiver_that_accepts_no_spans_is_named_once_and_once_more_when_it_does(receiver, monkeypatch, caplog):
    heard(monkeypatch, caplog)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")  # ms
    where = f"traces: http://127.0.0.1:{receiver.server.server_address[1]}"

    def traced(letter: str, is_sent: Callable[[], bool]) -> None:
        event = traces.TracedEvent(0, f"00-{letter * 32}-{'1' * 16}-01", 1.0)
        traces.batch(traces.TracedBatch(1.0, 1.1, 0.05, 1.2, 0.02, [1]), [event])
        end_s = time.monotonic() + 120
        while not is_sent():
            assert time.monotonic() < end_s
            time.sleep(0.001)

    with caplog.at_level(logging.DEBUG, "shroff"), traces.exporting("1.2"):
        receiver.status = 401
        traced("d", lambda: "401" in caplog.text)
        receiver.status = 404
        traced("e", lambda: "404" in caplog.text)
        receiver.status = 200
        traced("f", lambda: "again" in caplog.text)

    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == [
        f"{where} {LOST}",
        f"{where} accepts spans again",
    ]
    assert [record.name for record in caplog.records if "code: 401" in record.message] == ["shroff"]
    assert "f" * 32 in receiver.spans


def test_an_sdk_that_raises_what_keeps_it_from_the_receiver_is_taken_as_one_that_says_so(receiver, monkeypatch, caplog):
    heard(monkeypatch, caplog)
    raised = iter((ConnectionError("refused"), ConnectionError("reset")))
    accepts = OTLPSpanExporter.export

    def export(self: OTLPSpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for error in raised:
            raise error
        return accepts(self, spans)

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    with caplog.at_level(logging.DEBUG, "shroff"), traces.exporting("1.2"):
        exporter = traces._Exporter(OTLPSpanExporter(), "otel:4318")
        results = [exporter.export([]) for _ in range(3)]

    assert [result.name for result in results] == ["FAILURE", "FAILURE", "SUCCESS"]
    assert [record.message for record in caplog.records] == [
        "traces: ConnectionError: refused",
        f"traces: otel:4318 {LOST}",
        "traces: ConnectionError: reset",
        "traces: otel:4318 accepts spans again",
    ]


def test_without_an_endpoint_nothing_is_traced_and_without_the_extra_it_says_so(monkeypatch):
    monkeypatch.delenv(traces.ENDPOINTS[0], raising=False)
    with traces.exporting("1.2"):
        assert not traces.is_on()
        with traces.delivering("archive", [1]):
            pass
    monkeypatch.setenv(traces.ENDPOINTS[0], "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(UsageError, match=r"traces need the extra 'otel': pip install 'shroff\[otel\]'"),
        traces.exporting(""),
    ):
        pass


def test_a_traceparent_is_found_among_the_headers_of_a_message():
    assert traces.parent_in(None) == ""
    assert traces.parent_in([("traceparent", None)]) == ""
    assert traces.parent_in([("a", b"b"), ("traceparent", FIRST.encode())]) == FIRST
