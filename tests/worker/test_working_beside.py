from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from shroff.errors import TransientError
from shroff.streams import snapshot_copies
from shroff.streams.lake import RetriedObjects
from shroff.streams.snapshot_copies import SnapshotCopies
from shroff.streams.snapshots import Header, Snapshots
from shroff.worker.serving import background_tasks as working_beside
from shroff.worker.serving.background_tasks import BackgroundTasks, BesideCommand, Copying
from tests.support import forks
from tests.support.objects import MemoryObjects


def saved(folder: Path, seq: int, kept: int = 3, size: int = 100) -> Path:
    return Snapshots(folder, kept=kept).write(Header(seq, "layout", "log"), [b"x" * size, str(seq).encode()])


def copies(objects: MemoryObjects, log: str = "a" * 16, kept: int = 2) -> SnapshotCopies:
    return SnapshotCopies(RetriedObjects(objects, lambda _s: None), log, kept=kept)


def fetched(from_: SnapshotCopies, folder: Path, upto: int = 100) -> tuple[str, list[str]]:
    told: list[str] = []
    found = from_.fetch(Snapshots(folder), upto, told.append)
    return "" if found is None else found.name, told


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(snapshot_copies, "PART_BYTES", 64)


def test_a_copy_comes_back_to_the_byte_on_a_machine_without_snapshots(tmp_path):
    objects = MemoryObjects()
    file = saved(tmp_path / "here", 7)
    copies(objects).write(file)

    assert fetched(copies(objects), tmp_path / "there") == (file.name, [])
    assert (tmp_path / "there" / file.name).read_bytes() == file.read_bytes()
    assert [path.name for path in (tmp_path / "there").iterdir()] == [file.name]


def test_the_newest_are_kept_and_nothing_else_stays(tmp_path):
    objects = MemoryObjects()
    for seq in (3, 5, 9, 11):
        copies(objects).write(saved(tmp_path, seq))
        objects.put(f"{'a' * 16}/{seq:012d}-{'0' * 16}/00000.part", b"left by a kill")

    copies(objects).write(saved(tmp_path, 12))
    assert [name[:12] for name in copies(objects).all()] == ["000000000012", "000000000011"]
    seqs = {name.split("/")[1][:12] for name in objects.objects}
    assert seqs == {"000000000012", "000000000011"}
    assert not any("0" * 16 in name.split("-")[1] for name in objects.objects)


def test_what_is_newer_than_the_copied_one_stays(tmp_path):
    objects = MemoryObjects()
    for seq in (8, 9, 5):
        copies(objects).write(saved(tmp_path / str(seq), seq))

    assert [name[:12] for name in copies(objects).all()] == ["000000000009", "000000000008", "000000000005"]


def test_a_damaged_copy_is_passed_over_with_a_warning_and_an_older_one_taken(tmp_path):
    for spoil in ("part", "json", "missing"):
        objects = MemoryObjects()
        for seq in (4, 8):
            copies(objects).write(saved(tmp_path / "here", seq))
        newest = copies(objects).all()[0]
        name = f"{'a' * 16}/{newest}" + (".json" if spoil == "json" else "/00001.part")
        if spoil == "missing":
            objects.delete(name)
        else:
            objects.objects[name] = (b"{}", 99)

        name, told = fetched(copies(objects), tmp_path / spoil)
        assert name == "000000000004.snapshot"
        assert len(told) == 1
        assert newest in told[0]
        assert list((tmp_path / spoil).glob("*.tmp")) == []


def test_only_what_is_newer_than_what_is_here_and_of_the_logs_past_is_fetched(tmp_path):
    objects = MemoryObjects()
    for seq in (4, 8):
        copies(objects).write(saved(tmp_path / "here", seq))
    saved(tmp_path / "there", 6)

    assert fetched(copies(objects), tmp_path / "there", upto=7)[0] == ""
    assert fetched(copies(objects, log="b" * 16), tmp_path / "other")[0] == ""
    assert fetched(copies(objects), tmp_path / "there")[0] == "000000000008.snapshot"
    assert fetched(copies(objects), tmp_path / "there")[0] == ""
    damaged = tmp_path / "there" / "000000000008.snapshot"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert fetched(copies(objects), tmp_path / "there")[0] == "000000000008.snapshot"


def test_a_copy_that_was_stopped_half_way_counts_only_when_it_is_done(tmp_path):
    objects, file = MemoryObjects(), saved(tmp_path / "here", 7)

    class Stopping(MemoryObjects):
        def put(self, name: str, data: bytes) -> bool:
            if len(objects.objects) == 2:
                raise TransientError("cut off")
            return objects.put(name, data)

    with pytest.raises(TransientError):
        copies(Stopping()).write(file)
    assert fetched(copies(objects), tmp_path / "there")[0] == ""
    copies(objects).write(file)
    assert fetched(copies(objects), tmp_path / "there")[0] == file.name


def test_each_new_snapshot_is_copied_beside_and_a_failure_is_told_once_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(working_beside, "LOOK_S", 0.01)
    monkeypatch.setattr(working_beside, "AGAIN_S", 0.01)
    objects, told, tries, down = MemoryObjects(), [], [], Event()

    def opened(_held: ExitStack) -> SnapshotCopies:
        tries.append(1)
        if down.is_set():
            raise TransientError("the bucket is away")
        return copies(objects)

    down.set()
    with BackgroundTasks([Copying(Snapshots(tmp_path), opened)], told.append):
        saved(tmp_path, 3)
        until(lambda: len(tries) > 3)
        assert told == ["the bucket is away; retrying"]
        down.clear()
        until(lambda: len(copies(objects).all()) == 1)
        saved(tmp_path, 5)
    assert [name[:12] for name in copies(objects).all()] == ["000000000005", "000000000003"]


def running(words: str, leads=lambda: True, **more) -> BesideCommand:
    how = {"every_s": 3_600.0, "first_s": 0.0, "otherwise": "old events stay", **more}
    return BesideCommand([forks.PYTHON, "-c", words], leads, **how)


def test_a_command_is_run_beside_who_leads_and_told_of_where_it_fails(tmp_path):
    mark, is_leading = tmp_path / "mark", Event()
    chore = running(f"open({str(mark)!r}, 'a').write('x')", is_leading.is_set)
    chore.attend(Event())
    assert not mark.exists()
    is_leading.set()
    chore.attend(Event())
    chore.attend(Event())

    assert mark.read_text() == "x"
    with pytest.raises(OSError, match="old events stay: no bucket"):
        running("import sys; sys.exit('no bucket')").attend(Event())


def test_a_command_is_run_once_more_at_the_end_where_that_is_wanted(tmp_path):
    mark = tmp_path / "mark"
    words = f"open({str(mark)!r}, 'a').write('x')"
    running(words).end()
    assert not mark.exists()
    running(words, at_the_end=True).end()

    assert mark.read_text() == "x"


def test_a_worker_that_ends_does_not_wait_for_a_command(monkeypatch):
    monkeypatch.setattr(working_beside, "LOOK_S", 0.05)
    over = Event()
    over.set()
    began_s = time.monotonic()
    running("import time; time.sleep(600)").attend(over)

    assert time.monotonic() - began_s < 120


def test_a_long_chore_holds_up_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(working_beside, "LOOK_S", 0.01)
    mark = tmp_path / "mark"
    with BackgroundTasks([running("import time; time.sleep(60)"), running(f"open({str(mark)!r}, 'a')")], print):
        until(mark.exists)


def test_the_last_work_begins_when_no_task_runs_any_more():
    class Slow:
        is_running = False

        def attend(self, over: Event) -> None:
            Slow.is_running = True
            over.wait()
            time.sleep(0.1)
            Slow.is_running = False

        def end(self) -> None:
            """Nothing is left to do."""

    class Last(Slow):
        def attend(self, over: Event) -> None:
            """Nothing is due."""

        def end(self) -> None:
            found.append(Slow.is_running)

    found = list[bool]()
    with BackgroundTasks([Last(), Slow()], print):
        until(lambda: Slow.is_running)

    assert found == [False]


def until(holds) -> None:
    end_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.01)
