"""Large batches of a service: each event is answered once, also where a commit or the program fails."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from threading import Event

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.app import project as app
from shroff.errors import StorageError
from shroff.log.columns.lines import LIVE_MIN
from shroff.log.writer import Writer
from shroff.worker.request_queue import PendingRequest, RequestQueue
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
        found = [(item.id, item.seq) for part in log.decisions_after() for item in part]
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
