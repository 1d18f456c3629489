"""Lines that are read and decided as columns leave what the same lines leave that are taken one by one."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shroff.events.event import time_text
from shroff.events.formats.encodings import read_stream
from shroff.events.intake import Intake
from shroff.features.frames import Coded, Codes, Dictionary
from shroff.log import batch_classifier
from shroff.log.batch_classifier import BatchClassifier
from shroff.log.columns import file_runs, read_lines
from shroff.log.columns.file_runs import submissions_in_runs
from shroff.log.columns.lines import EventRun
from shroff.log.prepared import Answer, RunAnswers
from shroff.worker.file_order import Overlaps, arranged, with_labels
from shroff.worker.ingest import ingest
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import definitions, writer

START_MS = 1_772_409_600_000
CHANGES = {
    "shroff.yaml": "shroff: 1\nname: runs\nmoney: EUR\nlateness: 2h\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text?
    shop: text?
    amount: money < 5_000
    channel: choice(pos, web)?
    points: integer?
    weight: number(3)?
    is_new: boolean?
login:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text }
visit:
  id: id
  time: at
  fields: { id: text, at: time, card: text }
entities:
  card: { payment: card, login: card, visit: card }
  at_shop: { payment: [card, shop] }
""",
    "features.yaml": """
card:
  payments_1h: count(payment) over 1h
  spent_1d: sum(payment.amount * payment.weight) over 1d
  shops: distinct(payment.shop) over 1d
  frauds: count(label where label.verdict == 'fraud')
  logins: count(login) over 1h
  visits: count(visit) over 1h
at_shop:
  points: sum(payment.points where payment.is_new) over 1d
  alike: count(payment where payment.amount == this.amount) over 1d
""",
    "rules/large.yaml": """
- id: large
  on: payment
  by: card
  when: this.amount > 100 and this.channel != 'pos'
  reason: A payment of {this.amount} in {this.shop}
  effect: review
  notify: analysts
- { id: hasty, on: login, by: card, effect: review, when: card.logins > 2, reason: "{card.logins} logins" }
- { id: often, on: visit, by: card, effect: review, when: card.visits > 2, reason: "{card.payments_1h}" }
- { id: again, on: payment, by: card, effect: decline, when: count(payment) over 1h since flag including this >= 4 }
""",
}
PROJECT = definitions(CHANGES)
VALUES: dict[str, list[Any]] = {
    "card": ["c1", "c2", "c3", "ümlaut", "\u2028", "", None],
    "shop": ["s1", "s2", "a\\b", "😀", None],
    "amount": ["5.00", "150.00", "150.00", "0.05", 12, 12.5, "7", "4999.99", "5000.00", "-0.00", "1e2", None],
    "channel": ["pos", "web", "phone", ""],
    "points": [1, -7, "3", 2**53, 4.0],
    "weight": ["1.5", "1.500", 2, "0.1255"],
    "is_new": [True, False, "true"],
}


@st.composite
def payments(draw: st.DrawFn) -> bytes:
    """Lines of a file in the order of time but for a few; most are as plain as can be."""
    raws, now_ms = [], START_MS + draw(st.integers(0, 3)) * 3_600_000
    for _ in range(draw(st.integers(1, 16))):
        now_ms += draw(st.sampled_from([0, 1, 250, 60_000, 600_000]))
        late_ms = draw(st.sampled_from([*[0] * 12, 60_000, 7_300_000]))
        number = draw(st.integers(0, 2_000))
        fields = {"id": f"p{number}", "at": time_text(now_ms - late_ms), "card": "c1", "amount": "5.00"}
        for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3)):
            fields[name] = draw(st.sampled_from(VALUES[name] if draw(st.integers(0, 3)) == 0 else VALUES[name][:2]))
        text = json.dumps(
            fields, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), None]))
        )
        odd = draw(st.integers(0, 25))
        text = {0: "", 1: text[:-3], 2: f'{text[:-1]},"id":"p1"}}', 3: f'{text[:-1]},"more":{{"a":[1]}}}}'}.get(
            odd, text
        )
        raws.append(text.encode())
    if draw(st.integers(0, 15)) == 0:
        raws.insert(len(raws) // 2, b'{"id":"\xff"}')
    return b"\n".join(raws) + draw(st.sampled_from([b"\n", b""]))


LABELS = st.lists(
    st.integers(0, 2_000).map(
        lambda number: b'{"event":"payment/p%d","verdict":"fraud","known_at":"2026-03-05T10:00:00Z"}\n' % number
    ),
    min_size=1,
    max_size=20,
).map(b"".join)
LOGINS = st.lists(st.integers(0, 200), min_size=1, max_size=20).map(
    lambda seconds: b"".join(
        b'{"id":"l%d","at":"%s","card":"c1"}\n' % (at, time_text(START_MS + at * 1_000).encode()) for at in seconds
    )
)


LOGIN_FORMS = b'{"login": %s }', b'{"login":%s,"more":1}', b'{"login":%s,"id":"l1"}', b"%s"


@st.composite
def interleaved(draw: st.DrawFn) -> bytes:
    """Events of three types in turn, each naming its type; some do not, or not so that a short way reads it."""
    paid = draw(payments()).split(b"\n")
    logins = [raw for some in draw(st.lists(LOGINS, max_size=2)) for raw in some.splitlines()]
    named = [b'{"payment":%s}' % raw for raw in paid] + [
        form % raw
        for raw in logins
        for form in [draw(st.sampled_from([*LOGIN_FORMS, *[b'{"login":%s}', b'{"visit":%s}'] * 20]))]
    ]
    return b"\n".join(draw(st.permutations(named)))


FILES = st.lists(
    st.one_of(
        st.tuples(st.none(), interleaved()),
        st.tuples(st.just("payment"), payments()),
        st.tuples(st.just("payment"), payments()),
        st.tuples(st.just("label"), LABELS),
        st.tuples(st.just("login"), LOGINS),
    ),
    min_size=1,
    max_size=4,
)
Files = Sequence[tuple[str | None, bytes]]
KNOWN = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(0, 12 * 3_600), st.sampled_from(["fraud", "legitimate", "odd"])),
    max_size=20,
).map(
    lambda labels: b"".join(
        b'{"event":"payment/p%d","verdict":"%s","known_at":"%s"}\n'
        % (number, verdict.encode(), time_text(START_MS + seconds * 1_000).encode())
        for number, seconds, verdict in labels
    )
)


LABELED = b'{"event":"payment/p3","verdict":"fraud","known_at":"2026-03-02T10:30:00Z"}\n'


def left_by(
    files: Files,
    size: int,
    *,
    in_runs: bool,
    format: str = "jsonl",
    labels: bytes = b"",
    log: Any = None,
    keeps_late: bool | Collection[str] = False,
) -> list[object]:
    """What a log has after files were taken in batches of a size, and the answers to their lines."""
    log, answers = log or MemoryLog(), list[object]()

    def told(some: Sequence[Answer]) -> None:
        answers.extend(some)
        assert [some[at] for at in range(len(some))] == list(some)

    log_writer = writer(log, CHANGES)
    log_writer.keeps_late = keeps_late
    intake = Intake(PROJECT.events, PROJECT.settings, None)
    for number, (type_, content) in enumerate(files):
        with read_stream(BytesIO(content), format, name="x") as lines:
            read = submissions_in_runs if in_runs else Intake.submissions
            found = [(f"{number}.{format}", read(intake, lines, f"{number}.{format}", type_))]
            submissions = arranged(found, log_writer, order="file")
            if labels and type_ in {"payment", None}:
                known = Intake.submissions(intake, read_stream(BytesIO(labels), "jsonl"), "labels.jsonl", "label")
                submissions = with_labels(submissions, known)
            ingest(log_writer, submissions, batch_size=size, on_batch=told)
    parts = log.decisions.after, log.flags.after, log.hits.after
    beside = (
        quarantined(log),
        log.outbox.rows(10_000),
        log.remarks(),
        log.waiting.all(),
        log.offsets.of("event sources"),
    )
    return [list(log.read(size=9_999)), *([row for rows in part() for row in rows] for part in parts), beside, answers]


@contextmanager
def runs_of(size: int, seen: list[bool] | None = None) -> Iterator[None]:
    """Runs of so many lines, however few; `seen` is told of each whether it was taken as a whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_runs, "RUN", size)
        patch.setattr(file_runs, "COLUMNS_MIN", 1)
        if size == 3:  # numbers of texts start again soon
            patch.setattr(read_lines, "TEXTS_BYTES_MAX", 300)
        patch.setattr(batch_classifier, "FEW", 0)
        patch.setattr(batch_classifier, "REPEATS_SHARE", 2)
        odd_apart = BatchClassifier._split_exceptions

        def noted(self: BatchClassifier, run: EventRun) -> EventRun | None:
            found = odd_apart(self, run)
            if seen is not None:
                seen.append(found is not None)
            return found

        patch.setattr(BatchClassifier, "_split_exceptions", noted)
        yield


def law(seen: list[bool]) -> None:
    @settings(
        max_examples=examples(1_000, usual=20),
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(FILES, st.sampled_from([1, 3, 16, 256]), KNOWN, st.sampled_from([False, True, ("0.jsonl",)]))
    def same(files: Files, size: int, labels: bytes, keeps_late: bool | Collection[str]) -> None:
        with runs_of(size, seen):
            found = left_by(files, size, in_runs=True, labels=labels, keeps_late=keeps_late)
        assert found == left_by(files, size, in_runs=False, labels=labels, keeps_late=keeps_late)

    same()


def test_runs_leave_what_lines_one_by_one_leave():
    seen: list[bool] = []
    law(seen)

    assert min(seen.count(True), seen.count(False)) > len(seen) // 10


@pytest.mark.parametrize("size", [6, 256])
@pytest.mark.parametrize("keeps_late", [False, True])
@pytest.mark.parametrize("again", [3, 11])
def test_events_that_are_too_late_leave_the_others_columns(size: int, again: int, *, keeps_late: bool):
    line = '{"id":"p%d","at":"2026-03-02T%02d:00:00Z","card":"c1","amount":"5.00"}\n'
    hours = [(0, 1), (1, 9), (2, 2), (3, 10), (4, 10), (5, 10), (6, 8), (7, 7), (8, 10), (9, 11), (10, 10), (2, again)]
    files = [("payment", "".join(line % row for row in hours).encode())]
    seen: list[bool] = []
    with runs_of(size, seen):
        found = left_by(files, size, in_runs=True, keeps_late=keeps_late)

    assert found == left_by(files, size, in_runs=False, keeps_late=keeps_late)
    assert all(seen) or (size == 256 and (keeps_late or again == 11))  # the one that comes again may be taken


def test_batches_are_let_go_without_the_cycle_collector():
    """It comes rarely in an ingest, so what a batch leaves in cycles would stay: 1.7 to 3 KB an event."""
    line = b'{"id":"p%d","at":"2026-03-02T10:00:00Z","card":"c1","amount":"250.00","channel":"%s"}\n'
    content = b"".join(line % (at, b"web" if at % 3 else b"phone") for at in range(40))
    gc.collect()
    gc.disable()
    older = {id(item) for item in gc.get_objects()}  # of other tests
    try:
        with runs_of(8):
            left_by([("payment", content)], 8, in_runs=True)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(item) for item in gc.garbage if id(item) not in older}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert [kind for kind in left if kind.__module__.startswith("shroff.")] == []


def test_what_numbered_texts_were_translated_to_goes_with_them():
    """A service that numbers texts anew, for they are too many, does not keep the old ones."""
    codes, texts = Codes(), Dictionary(["a", "b"])
    assert codes.of_coded(Coded(np.array([1, 0, -1], np.int32), texts)).tolist() == [1, 0, -1]
    old = weakref.ref(texts)
    del texts

    assert old() is None


@pytest.mark.parametrize("size", [4, 5, 256])
def test_repeats_leave_the_events_around_them_columns(size: int):
    line = '{"id":"p%d","at":"2026-03-02T10:00:%02dZ","card":"c%d","amount":"%d.00"}\n'
    rows = [(1, 1, 1, 150), (2, 2, 1, 7), (3, 3, 1, 7), (4, 4, 2, 7)]
    later = [(5, 5, 1, 7), (2, 2, 1, 7), (6, 6, 1, 150), (6, 6, 1, 150), (3, 3, 1, 8), (7, 7, 1, 7), (7, 7, 1, 9)]
    later += [(8, 8, 1, 7), (9, 9, 1, 7), (10, 10, 1, 7)]
    files = [("payment", "".join(line % row for row in part).encode()) for part in (rows, later)]
    seen: list[bool] = []
    with runs_of(size, seen):
        found = left_by(files, size, in_runs=True)

    assert found == left_by(files, size, in_runs=False)
    assert any(seen)
    assert size < 256 or all(seen)


def test_one_answer_of_a_run_is_made_alone(monkeypatch: pytest.MonkeyPatch):
    answers = RunAnswers(["payment"] * 2, [0, 2], [5, 6], ["a", "b"], None, {1: Answer("refused")})
    monkeypatch.setattr(RunAnswers, "__iter__", None)

    assert [(answers[at].id, answers[at].seq) for at in (0, 1, 2, -1)] == [("a", 5), ("", 0), ("b", 6), ("b", 6)]


def test_events_in_turn_with_those_of_another_type_are_columns():
    paid, login = (
        b'{"payment":{"id":"p%d","at":"2026-03-02T10:%02d:00Z","card":"c%d","amount":"%d.00"}}',
        b'{"login":{"id":"p%d","at":"2026-03-02T10:%02d:00Z","card":"c%d"}}',
    )
    lines = [(paid, (at, at, at % 3, 90 + at)) if at % 2 else (login, (at, at, at % 3)) for at in range(60)]
    lines += [
        lines[7],
        lines[8],
        (login, (9, 59, 1)),
        (paid, (8, 59, 1, 7)),
        (login, (8, 58, 2)),
        (paid, (7, 59, 1, 9)),
    ]
    files = [(None, b"\n".join(line % row for line, row in lines) + b'\n{"more":1}\n{"login":[1]}')]
    seen: list[bool] = []
    with runs_of(256, seen):
        found = left_by(files, 256, in_runs=True, labels=LABELED)

    assert found == left_by(files, 256, in_runs=False, labels=LABELED)
    assert seen == [True]


@pytest.mark.parametrize("as_type", ["payment", None])
@pytest.mark.parametrize("size", [1, 3, 256])
def test_files_that_overlap_are_told_the_same(size: int, as_type: str | None):
    line = '{"id":"%s%d","at":"2026-03-02T%02d:00:00Z","card":"c1","amount":%s}'
    named = ["%s\n"] * 2 if as_type else ['{"payment":%s}\n', '{"login":%s}\n']
    hours = {"a": [1, 2, 3], "b": [2, 4, 3, 5], "c": [4, 5, 6]}
    amounts = ['"5.00"', '"5,00"', "7"]
    files = {
        f"{name}.jsonl": "".join(
            named[at % 2] % line % (name, at, hour, amounts[at % 3]) for at, hour in enumerate(ones)
        )
        for name, ones in hours.items()
    }

    def told(read: Any) -> list[str]:
        log, overlaps, intake = MemoryLog(), Overlaps(), Intake(PROJECT.events, PROJECT.settings, None)
        log_writer = writer(log, CHANGES)
        inputs = [
            (name, read(intake, read_stream(BytesIO(text.encode()), "jsonl"), name, as_type))
            for name, text in files.items()
        ]
        found = overlaps.noted(arranged(inputs, log_writer, overlaps=overlaps))
        ingest(log_writer, found, batch_size=size, on_batch=overlaps.count)
        return overlaps.warnings()

    with runs_of(size):
        assert told(submissions_in_runs) == told(Intake.submissions)
    assert "1 of b.jsonl, 1 of c.jsonl" in told(Intake.submissions)[0]


def test_runs_of_4096_lines_leave_what_lines_one_by_one_leave():
    odd = [b'"amount": 7.5', b'"amount":"1,5"', b'"amount":"12.50","note":1']
    lines = [
        b'{"id":"q%d","at":"%s","card":"c%d","shop":"s%d",%s}\n'
        % (
            at,
            time_text(START_MS + at * 997).encode(),
            at % 97,
            at % 11,
            odd[at % 3] if at % 101 == 0 else b'"amount":"%d.%02d"' % (at % 200, at % 100),
        )
        for at in range(6_000)
    ]
    files = [("payment", b"".join(lines)), ("payment", b"".join(lines[5_990:]) + lines[0].replace(b'"q0"', b'"q6001"'))]
    seen: list[bool] = []
    with runs_of(4_096, seen):
        found = left_by(files, 4_096, in_runs=True)

    assert seen == [True, True, False]  # the third one is mostly repeats, which go one by one
    assert found == left_by(files, 4_096, in_runs=False)
