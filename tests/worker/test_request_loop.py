"""Large batches of a service: each event is answered once, also where a commit or the program fails."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest
from msgspec.json import decode as from_json

from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import StorageError
from shroff.log.columns.lines import LIVE_MIN
from shroff.log.writer import Writer
from shroff.services import project as app
from shroff.streams.log import Batch
from shroff.worker import request_loop, writer_tasks
from shroff.worker.request_loop import RequestLoop
from shroff.worker.request_queue import PendingRequest, RequestQueue
from shroff.worker.writer_tasks import ScoreQueue
from tests.support.patience import PATIENCE_S
from tests.support.projects import FILES

WAITS_S = 120.0


class Served:
    """A service at work on lists of events, each posted when the one before is about to be decided."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, lists: int) -> None:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        self.project, self.stop = app.open(folder), Event()
        self.told: list[int] = []
        self.prepared: list[list[str]] = []
        self.queue, self.reader = (
            RequestQueue(lambda requests: [request.told() for request in requests], age_s_max=WAITS_S),
            object(),
        )
        self.requests = [self._request(number) for number in range(lists)]
        self._posted = 0
        self.prepare = Writer.prepare

        def prepare(writer, submissions, **more):
            self.prepared.append([submission.sent.id if submission.sent else "" for submission in submissions])
            self.post()
            return self.prepare(writer, submissions, **more)

        monkeypatch.setattr(Writer, "prepare", prepare)

    def _request(self, number: int) -> PendingRequest:
        intake = self.project.taking.intake(keeps_hashes=False)
        fields = {"at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.00"}
        events = [{"id": f"p{number}-{n}", **fields} for n in range(LIVE_MIN)]
        given = {"source": "http", "place": "", "raw": b"", "is_strict": True}
        return PendingRequest(
            [intake.submit("payment", event, **given) for event in events], self.reader, partial(self._told, number)
        )

    def _told(self, number: int) -> None:
        self.told.append(number)
        if len(self.told) == len(self.requests):
            self.stop.set()

    def post(self) -> None:
        if self._posted < len(self.requests):
            self._posted += 1
            self.queue.put(self.requests[self._posted - 1])

    def run(self) -> None:
        self.queue.open(self.reader)
        self.post()
        given = self.queue, lambda _: self.reader, lambda *_: None
        with self.project.live.answerer(*given, stop=self.stop) as answerer:
            answerer.run()

    def answered(self) -> list[tuple[str, int]]:
        return [(answer.id, answer.seq) for request in self.requests for answer in request.answers]


def test_what_a_commit_has_failed_of_is_decided_again_and_answered_once(tmp_path, monkeypatch):
    served, append, failures = Served(tmp_path / "bank", monkeypatch, 2), SqliteLog.append, [None]

    def appended(log, batch):
        if len(batch.records) >= LIVE_MIN and failures:
            failures.pop()
            raise StorageError("the disk is full")
        append(log, batch)

    monkeypatch.setattr(SqliteLog, "append", appended)
    served.run()

    assert served.told == [0, 1]
    with served.project.log.reading() as log:
        found = [(item.id, item.seq) for part in log.decisions.after() for item in part]
    assert served.answered() == found
    assert len(found) == 2 * LIVE_MIN


def test_of_lists_behind_an_event_that_the_program_fails_at_none_is_refused(tmp_path, monkeypatch):
    served = Served(tmp_path / "bank", monkeypatch, 3)
    served.requests[0].submissions = served.requests[0].submissions[:1]
    prepare = served.prepare

    def prepared(writer, submissions, **more):
        if served.prepared[-1][0] == "p0-0":
            raise RuntimeError("a mistake of this program")
        return prepare(writer, submissions, **more)

    served.prepare = prepared
    served.run()

    first, *lists = [[answer.kind for answer in request.answers] for request in served.requests]
    assert first == ["refused"]
    assert lists == [["decided"] * LIVE_MIN] * 2
    assert [len(item) for item in served.prepared] == [1, 1 + LIVE_MIN, LIVE_MIN]


@pytest.mark.parametrize("fails", [False, True])
def test_a_score_is_answered_while_a_batch_is_flushed_to_the_disk(fails, tmp_path, monkeypatch):
    served, append = Served(tmp_path / "bank", monkeypatch, 1), SqliteLog.append
    monkeypatch.setattr(writer_tasks, "is_ready_to_foresee", lambda: True)
    monkeypatch.setattr(writer_tasks, "WANTED_S", PATIENCE_S)
    monkeypatch.setattr(request_loop, "SLOW_S", 0.0)
    can_score_beside, prepare = Event(), RequestLoop._prepare_scores

    def prepared(loop: RequestLoop) -> None:
        prepare(loop)
        if loop._flushing is not None:
            can_score_beside.set()

    monkeypatch.setattr(RequestLoop, "_prepare_scores", prepared)
    queue, order = (
        ScoreQueue(
            lambda requests: [request.told() for request in requests],
            served.queue.wake,
            print,
            served.project.log.reading,
            waiting_max=10,
            age_s_max=WAITS_S,
        ),
        list[str](),
    )

    def scored() -> PendingRequest:
        done = Event()
        event = {"id": "new", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.00"}
        given = {"source": "http", "place": "", "raw": b"", "is_strict": True}
        submission = served.project.taking.intake(keeps_hashes=False).submit("payment", event, **given)
        request = PendingRequest([submission], served.reader, done.set)
        queue.put(request)
        assert done.wait(PATIENCE_S)
        return request

    def appended(log: SqliteLog, batch: Batch) -> None:
        if batch.records and batch.records[0].kind == "event" and not order:
            document = from_json(scored().answers[0].document)
            order.append(f"score at {document['as_of_seq']}")
            if fails:
                raise StorageError("the disk is full")
            append(log, batch)
            order.append(f"committed to {log.last_seq()}")
        else:
            append(log, batch)

    monkeypatch.setattr(SqliteLog, "append", appended)
    served.queue.open(served.reader)
    queue.line.open(served.reader)
    given = served.queue, lambda _: served.reader, queue.attend
    with served.project.live.answerer(*given, scores=queue, stop=served.stop) as answerer:
        deciding = Thread(target=answerer.run)
        deciding.start()
        scored()  # from now on scores are expected
        assert can_score_beside.wait(PATIENCE_S)
        served.post()
        deciding.join(PATIENCE_S)

    assert not deciding.is_alive()
    assert [seq for _, seq in served.answered()] == [*range(2, LIVE_MIN + 2)]
    assert order[1:] == ([] if fails else [order[0].replace("score at", "committed to")])
