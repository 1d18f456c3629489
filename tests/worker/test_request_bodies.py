"""From posted bytes to submissions: forms, limits, and mistakes with their paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import FunctionType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.formats.wire import JsonDecoder
from shroff.events.intake import Intake
from shroff.events.raw_values import REQUEST_DEPTH_MAX, is_deep
from shroff.features.kernels.native import Native
from shroff.log.columns import lines as line_runs
from shroff.log.columns import read_lines
from shroff.log.columns.lines import LIVE_MIN, EventRun
from shroff.log.columns.read_lines import kernels
from shroff.replay.compare import verify_online
from shroff.streams.source import PolledMessages
from shroff.web.api.events import PARTS_AT_ONCE
from shroff.worker.request_bodies import COUNT_MAX, RequestReader, TooMuchError, pieces
from shroff.worker.serving.message_decoder import MessageDecoder
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, definitions, writer

FIELDS = {"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.00"}
OTHERS = ({"amount": "5.50"}, {"id": "p2"})
BOUNDED = {"events.yaml": FILES["events.yaml"].replace("amount: money", "amount: money >= 6")}
JSON = st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def reader(now_ms: int = NOW_MS, changes: Mapping[str, str] | None = None) -> RequestReader:
    found = definitions(changes)
    return RequestReader(found, Intake(found.events, found.settings, str), lambda: now_ms)


def raw(**fields: object) -> bytes:
    return msgspec.json.encode({**FIELDS, **fields})


def test_an_event_is_the_same_in_whatever_form_it_is_sent():
    plain = reader().one("payment", raw(), "me")
    spaced = reader().one("payment", b" " + raw() + b"\n", "me")
    by_number = reader().one("payment", raw().replace(b'"5.00"', b"5.00"), "me")

    assert plain.event == spaced.event == by_number.event
    assert (plain.source, plain.place, plain.raw()) == ("http", "me", raw())


def test_every_mistake_comes_with_its_path():
    mistakes: list[tuple[str, str]] = []
    submission = reader().one("payment", raw(amount="x", colour="red", at="soon"), "me", mistakes)

    assert submission.event is None
    assert submission.refusal
    assert [path for path, _ in mistakes] == ["at", "amount", "colour"]


@pytest.mark.parametrize("body", [b"", b"{", b"7", b"null", b'{"id": "a", "id": "b"}', b"\xff"])
def test_what_is_no_object_is_refused_with_its_bytes(body):
    mistakes: list[tuple[str, str]] = []
    submission = reader().one("payment", body, "me", mistakes)

    assert submission.event is None
    assert submission.raw() == body
    assert [path for path, _ in mistakes] == [""]


def test_an_event_that_is_ahead_of_its_arrival_is_refused():
    submission = reader(now_ms=0).one("payment", raw(), "me")

    assert submission.refusal is not None
    assert "too early" in submission.refusal


@pytest.mark.parametrize(
    ("now_ms", "changes", "words"),
    [(0, None, "too early"), (NOW_MS, BOUNDED, "amount: expected an amount in EUR with at most 2 decimal places, at")],
)
def test_an_event_of_the_log_is_a_duplicate_whatever_the_clock_and_the_bounds_say_now(now_ms, changes, words):
    log, body = MemoryLog(), raw()
    (first,) = writer(log).write([reader().one("payment", body, "me")])
    later = reader(now_ms, changes)
    (posted,), _ = later.many("payment", b"[" + body + b"]", "me", are_lines=False)
    again, in_list, other, new = writer(log, changes).write(
        [later.one("payment", body, "me"), posted, *(later.one("payment", raw(**item), "me") for item in OTHERS)]
    )

    assert again == in_list
    assert (again.kind, again.document) == ("duplicate", first.document)
    assert (other.kind, other.is_conflict) == (new.kind, not new.is_conflict) == ("refused", True)
    assert words in new.reason
    assert verify_online(log).mismatches == 0


@pytest.mark.parametrize("are_lines", [True, False])
def test_a_list_and_lines_hold_the_same(are_lines):
    parts = [raw(id=f"p{number}") for number in range(3)]
    body = b"\n\n".join([*parts, b" "]) if are_lines else b"[" + b" , ".join(parts) + b"]"
    found, mistakes = reader().many("payment", body, "me", are_lines=are_lines)

    assert [item.event.id for item in found if item.event is not None] == ["p0", "p1", "p2"]
    assert [item.raw() for item in found] == parts
    assert len(mistakes) == 3
    assert not any(mistakes)


def test_each_of_a_list_is_looked_at_for_its_time():
    parts = [raw(id="p0"), raw(id="p1", at="2027-03-01T12:00:00Z")]
    found, _ = reader().many("payment", b"[" + b",".join(parts) + b"]", "me", are_lines=False)

    assert [item.refusal is None for item in found] == [True, False]
    assert found[1].raw() == parts[1]


def test_one_mistake_in_a_list_leaves_the_others():
    found, mistakes = reader().many("payment", b'[{"id":1},' + raw() + b",[]]", "me", are_lines=False)

    assert [item.event is not None for item in found] == [False, True, False]
    assert [bool(mistake) for mistake in mistakes] == [True, False, True]


@pytest.mark.parametrize("body", [b"[", b"[1,]", b"[" * 20_000 + b"]" * 20_000, b"[" + b"0," * COUNT_MAX + b"0]"])
def test_a_list_that_cannot_be_one_is_refused_as_a_whole(body):
    with pytest.raises(TooMuchError):
        reader().many("payment", body, "me", are_lines=False)


@pytest.mark.parametrize("levels", [REQUEST_DEPTH_MAX + 1, 20_000])
def test_what_is_nested_too_deep_is_refused_alone_and_among_others(levels):
    deep = b"[" * levels + b"]" * levels

    assert reader().one("payment", deep, "me").refusal == "it is nested too deep"
    if levels < 1_000:
        found, mistakes = reader().many("payment", b"[%b,%b]" % (deep, raw()), "me", are_lines=False)
        assert [item.refusal for item in found] == ["it is nested too deep", None]
        assert list(mistakes) == [[("", "it is nested too deep")], []]
    else:
        with pytest.raises(TooMuchError, match="nested too deep"):
            pieces(b"[%b]" % deep, are_lines=False)


@pytest.mark.slow
@given(JSON, st.integers(0, 5))
def test_depth_is_that_of_the_value(value, levels):
    def deep(part: object) -> int:
        if isinstance(part, dict):
            return 1 + max(map(deep, part.values()), default=0)
        return 1 + max(map(deep, part), default=0) if isinstance(part, list) else 0

    assert is_deep(msgspec.json.encode(value), value, levels) == (deep(value) > levels)


@pytest.mark.parametrize("are_lines", [True, False])
def test_what_is_refused_again_and_again_in_a_request_is_read_once(monkeypatch, are_lines):
    parts = [b"{}", raw(), b'{"id":1}', b"{}", b'{"amount":"x"}'] * 50
    alone, found_alone, read_one = reader(), list[list[tuple[str, str]]](), RequestReader.one
    expected = [alone.one("payment", part, "me", found_alone.append([]) or found_alone[-1]) for part in parts]
    read = Counter[bytes]()

    def counted(self: RequestReader, type_name: str, piece: bytes, *more: str) -> object:
        read[piece] += 1
        return read_one(self, type_name, piece, *more)

    monkeypatch.setattr(RequestReader, "one", counted)
    body = b"\n".join(parts) if are_lines else b"[" + b",".join(parts) + b"]"
    found, mistakes = reader().many("payment", body, "me", are_lines=are_lines)

    assert {piece: count for piece, count in read.items() if piece != raw()} == dict.fromkeys(set(parts) - {raw()}, 1)
    assert [(item.event, item.refusal, item.raw()) for item in found] == [
        (row.event, row.refusal, row.raw()) for row in expected
    ]
    assert [list(mistake) for mistake in mistakes] == found_alone


# ---- many at once, as columns


def listed(count: int) -> bytes:
    return b"[%s]" % b",".join(raw(id=f"p{number}") for number in range(count))


def is_run(requests: RequestReader, count: int = LIVE_MIN) -> bool:
    submissions, _ = requests.many("payment", listed(count), "me", are_lines=False)
    assert [each.event.id for each in submissions if each.event] == [f"p{number}" for number in range(count)]
    return isinstance(submissions, EventRun)


def test_a_long_list_is_read_as_columns_but_never_waits_for_the_compiler(monkeypatch, tmp_path):
    for kernel in kernels():
        kernel.keep()
    requests = reader()
    with monkeypatch.context() as patch:
        lacking = Native("void(int64)", FunctionType(compile("1", "x", "eval"), {}, "lacking"))
        patch.setattr(Native, "path", tmp_path / "x.kernel")
        patch.setattr(line_runs, "kernels", lambda **_: [*kernels(), lacking])
        assert not is_run(requests)
        (tmp_path / "x.kernel").touch()
        assert is_run(requests)

    assert not is_run(requests, LIVE_MIN - 1)
    assert PARTS_AT_ONCE + 1 < LIVE_MIN, "a list that the event loop reads is no run"


def test_a_list_of_a_project_with_unique_fields_is_read_one_by_one():
    assert not is_run(
        reader(changes={"events.yaml": FILES["events.yaml"].replace("card: text?", "card: text? unique")})
    )


@pytest.mark.parametrize("error", [RuntimeError, TypeError])
def test_where_the_compiled_reader_fails_events_are_read_one_by_one_and_that_is_told_once(monkeypatch, error):
    def fail(*_: object) -> None:
        raise error("a marker")

    for kernel in kernels():
        kernel.keep()
    monkeypatch.setattr(read_lines.kernel, "scan_lines", fail)
    monkeypatch.setattr(line_runs, "kernels", lambda **_: [])
    told, found = list[str](), definitions()
    intake = Intake(found.events, found.settings, str)
    requests = RequestReader(found, intake, lambda: NOW_MS, told.append)
    inflow = MessageDecoder(intake, found, lambda: NOW_MS, is_live=True, tell=told.append)
    lines = [JsonDecoder().line(number, raw(id=f"p{number}")) for number in range(LIVE_MIN)]

    for _ in range(2):
        assert not is_run(requests)
        polled = inflow.submissions([PolledMessages("payments/0", "payment", "jsonl", lines, "")])
        assert len([each for each in polled if each.event]) == LIVE_MIN

    assert len(told) == 2, "by each door once"
    assert all("read one by one from now on" in each and error.__name__ in each for each in told)
