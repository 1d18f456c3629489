"""Lists that are posted and messages that are polled: as columns they are answered and stored as one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shroff.events.avro.wire import AvroDecoder, AvroEncoder
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.events.intake import Intake, Submission
from shroff.log.columns import lines as line_runs
from shroff.log.columns import record_kernel
from shroff.log.columns.lines import LIVE_MIN, LiveForms, sent_of, together
from shroff.log.columns.read_lines import kernels
from shroff.runtime.values import replace
from shroff.streams.source import PolledMessages
from shroff.web.api.events import _Body, _response, shown
from shroff.worker.request_bodies import RequestReader, TooMuchError
from shroff.worker.request_queue import PendingRequest, RequestQueue
from shroff.worker.serving.message_decoder import MessageDecoder
from tests.laws.test_line_runs import CHANGES, LABELS, PROJECT, START_MS, payments, runs_of
from tests.support.avros import lines_of
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import writer
from tests.support.registry_memory import MemoryRegistry

HOUR_MS = 3_600_000
Given = tuple[Sequence[bytes], bytes, int, int]  # contents, labels that wait, hours up to now, and a size
GIVEN = st.tuples(
    st.lists(payments(), min_size=1, max_size=4), LABELS, st.integers(-24, -20), st.sampled_from([2, 5, 64])
)


def state(log: MemoryLog) -> list[object]:
    """All that a log has."""
    parts = log.decisions.after, log.flags.after, log.hits.after
    rows = [list(log.read(size=9_999)), *([row for rows in part() for row in rows] for part in parts)]
    return [
        *rows,
        quarantined(log),
        log.outbox.rows(10_000),
        log.remarks(),
        log.waiting.all(),
        log.offsets.of("event sources"),
    ]


def posted(given_: Given) -> list[object]:
    """The answers to contents that are posted as lists and as lines, several of them decided at once; and the log."""
    contents, labels, hours, size = given_
    log, answered = MemoryLog(), list[object]()
    log_writer, now_ms = writer(log, CHANGES), START_MS + hours * HOUR_MS
    log_writer.write(
        [RequestReader(PROJECT, INTAKE, lambda: now_ms).one("label", each, "me") for each in labels.splitlines()]
    )
    reader = RequestReader(PROJECT, INTAKE, lambda: now_ms)
    queue = RequestQueue(lambda _: None)
    queue.open(reader)
    requests = []
    for number, content in enumerate(contents):
        whole = b"[%s]" % b",".join(filter(_is_json, content.split(b"\n"))) if number % 2 else content
        try:
            submissions, mistakes = reader.many("payment", whole, f"u-{number}", are_lines=number % 2 == 0)
        except TooMuchError as error:
            answered.append(str(error))
            continue
        assert as_told(submissions[at] for at in range(len(submissions))) == as_told(submissions)
        assert as_told(submissions[1:3]) == as_told(submissions)[1:3]
        requests.append((PendingRequest(submissions, reader, lambda: None), mistakes))
        queue.put(requests[-1][0])
    while parts := queue.take(size, 0.0):
        found = together(request.submissions[start:stop] for request, start, stop in parts)
        queue.answer(parts, log_writer.write(found))
    for request, mistakes in requests:
        bodies = [shown(*each) for each in zip(request.answers, mistakes, strict=True)]
        answered += [
            [status for status, _ in bodies],
            _response(bodies, _Body(b"", is_list=True, are_lines=False)).body,
        ]
    return [answered, *state(log)]


def as_told(submissions: Iterable[Submission]) -> list[object]:
    return [(replace(submission, raw=bytes), submission.raw()) for submission in submissions]


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def polled_as_avro(given_: Given) -> list[object]:
    """The same of messages in Avro: what is an event is sent so, and what is none as it is."""
    lines = (JsonDecoder().line(1, raw) for content in given_[0] for raw in content.split(b"\n"))
    events = ((line, next(INTAKE.submissions(lines_of([line], "jsonl"), "x", "payment")).event) for line in lines)
    names = PROJECT.events.types["payment"].field_names
    sent = (
        line.raw if event is None else ENCODER.value("payment", dict(zip(names, event.values, strict=True)))
        for line, event in events
    )
    return polled(given_, list(sent), AvroDecoder(REGISTRY, PROJECT.events, settings=PROJECT.settings))


def polled(given_: Given, sent: Iterable[bytes] | None = None, decoder: Decoder | None = None) -> list[object]:
    """The same of contents that are messages of three parts, of which two polls are decided at once."""
    contents, labels, hours, size = given_
    log, now_ms = MemoryLog(), START_MS + hours * HOUR_MS
    log_writer, told = writer(log, CHANGES), list[object]()
    log_writer.write(
        [RequestReader(PROJECT, INTAKE, lambda: now_ms).one("label", each, "me") for each in labels.splitlines()]
    )
    inflow, decoder = MessageDecoder(INTAKE, PROJECT, lambda: now_ms, is_live=True), decoder or JsonDecoder()
    messages = iter(enumerate(sent or [line for content in contents for line in content.split(b"\n")]))
    while some := [list(islice(messages, size)) for _ in range(2)]:
        if not some[0]:
            break
        gathered: Sequence[Submission] = ()
        for poll in some:
            taken = [
                PolledMessages(
                    f"read/{'ab'[offset % 2]}/t/{offset % 3}",
                    "payment",
                    decoder.format,
                    [decoder.line(offset, raw)],
                    "",
                )
                for offset, raw in poll
            ]
            gathered = together([gathered, inflow.submissions(taken)] if taken else [gathered])
        answers = log_writer.write(gathered)
        told.append([list(sent_of(gathered)), list(answers)])
    return [told, *state(log)]


INTAKE, REGISTRY = Intake(PROJECT.events, PROJECT.settings, None), MemoryRegistry()
ENCODER = AvroEncoder(REGISTRY, PROJECT.events, {"payment": "payments"}, settings=PROJECT.settings)


def law(way: Callable[[Given], list[object]], seen: list[bool]) -> None:
    @settings(
        max_examples=examples(500, usual=15),
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(GIVEN)
    def same(given_: Given) -> None:
        assert as_runs(way, given_, seen) == way(given_)

    same()


def as_runs(way: Callable[[Given], list[object]], given_: Given, seen: list[bool] | None = None) -> list[object]:
    for kernel in kernels():
        kernel.keep()
    with runs_of(16, seen), pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "LIVE_MIN", 1)
        return way(given_)


@pytest.mark.parametrize("way", [posted, polled, polled_as_avro])
def test_runs_are_answered_and_stored_as_submissions_one_by_one(way):
    seen: list[bool] = []
    law(way, seen)

    assert min(seen.count(True), seen.count(False)) > len(seen) // 10


def test_lists_do_not_wait_for_what_reads_avro(monkeypatch):
    for kernel in kernels():
        kernel.keep()
    monkeypatch.setattr(record_kernel, "write_records", SimpleNamespace(is_at_hand=False))
    forms = LiveForms(PROJECT.events, pytest.fail)

    assert [forms.take(count, are_records=False) for count in (LIVE_MIN - 1, LIVE_MIN)] == [False, True]
    assert not forms.take(LIVE_MIN, are_records=True)
