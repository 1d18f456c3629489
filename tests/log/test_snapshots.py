"""Snapshots as files: whole or not at all, the newest kept, nothing used that is not of this log."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import StateError, StorageError
from shroff.features.online.value_codec import pack, unpack
from shroff.log.state import snapshots as snapshot_writer
from shroff.log.state.snapshots import layout
from shroff.log.writer import Writer
from shroff.monitoring.doctor import WRONG
from shroff.replay.compare import verify_online
from shroff.replay.decision_replay import replay
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.streams import snapshots as files
from shroff.streams.snapshots import FORMAT, KEPT, Header, Snapshots
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import FILES, NOW_MS, definitions, payment

HEADER = Header(7, "layout", "log")
POLICY = "payment:\n  without_model: rules\n"
COUNTS_LISTED = FILES["features.yaml"] + "  bad_1h: count(payment where payment.card in lists.bad) over 1h\n"
PARTS = [b"", b"one", b"x" * 100_000]


@pytest.fixture
def folder(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def started(store: MemoryStore, snapshots: Snapshots | None, changes: dict[str, str | None] | None = None) -> Writer:
    """A new writer of the log, the one before gone."""
    store.is_written = False
    return Writer(MemoryLog(store), definitions(changes), lambda: NOW_MS, snapshots=snapshots)


def parts_of(snapshots: Snapshots, file: Path) -> tuple[Header, list[bytes]]:
    """What a snapshot was written of."""
    header = snapshots.check(file)
    assert header is not None
    found = snapshots.read(file, header.layout)
    assert found is not None
    return header, list(map(bytes, found[1]))


# ---- files


def test_what_was_written_is_read(folder):
    file = folder.write(HEADER, iter(PARTS))

    assert folder.files() == [file]
    assert folder.check(file) == HEADER
    assert folder.read(file, HEADER.layout) == (HEADER, PARTS)
    assert folder.read(file, "another layout") == (HEADER, [])


def test_only_the_newest_places_are_kept(folder):
    files = [folder.write(Header(seq, "", ""), []) for seq in (5, 20, 100)]

    assert folder.files() == [files[2], files[1]]
    assert KEPT == 2


def test_what_is_named_after_a_later_place_never_takes_the_room_of_what_is_saved(folder):
    folder.write(HEADER, [])
    for seq in (100, 200, 300):  # of a log that lost these places with the power, and torn
        (folder.folder / f"{seq:012d}.snapshot").write_bytes(b"torn")
    assert len(folder.files()) == 4

    saved = folder.write(Header(20, "", ""), [])
    assert [int(file.stem) for file in folder.files()] == [20, 7]
    assert folder.check(saved) == Header(20, "", "")


def test_a_flip_of_any_byte_is_found(folder):
    file = folder.write(HEADER, [b"part"])
    whole = file.read_bytes()
    for place in range(len(whole)):
        if 8 <= place < 12:  # the number of the format
            continue
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])

        with pytest.raises(StateError, match="checksum"):
            folder.check(file)
        with pytest.raises(StateError, match="checksum"):
            folder.read(file, HEADER.layout)


def test_any_beginning_of_a_file_is_found(folder):
    file = folder.write(HEADER, [b"part"])
    whole = file.read_bytes()
    for end in (*range(len(whole)), len(whole) + 1):
        file.write_bytes((whole + b"x")[:end])

        with pytest.raises(StateError, match="checksum"):
            folder.check(file)
        with pytest.raises(StateError, match="checksum"):
            folder.read(file, HEADER.layout)


@pytest.mark.parametrize("size", [7, 64])
def test_a_file_of_many_pieces_is_read_whole_and_each_flip_is_found(folder, monkeypatch, size):
    monkeypatch.setattr(files, "_PIECE_BYTES", size)
    parts = [b"", b"a part", b"0123456789" * 20]
    file = folder.write(HEADER, parts)
    whole = file.read_bytes()
    pieces = [whole[at : min(at + size, len(whole) - 32)] for at in range(0, len(whole) - 32, size)]

    assert whole[-32:] == sha256(b"".join(sha256(piece).digest() for piece in pieces)).digest()
    assert folder.read(file, HEADER.layout) == (HEADER, parts)
    assert folder.read(file, "another") == (HEADER, [])
    for place in range(12, len(whole), 11):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(StateError, match="checksum"):
            folder.read(file, HEADER.layout)
        with pytest.raises(StateError, match="checksum"):
            folder.read(file, "another")


def test_zeros_where_parts_would_begin_are_damage_and_not_taken_for_very_many_parts(folder, monkeypatch):
    """As a disk leaves them after a power loss. A page for each eight bytes was more memory than there is."""
    monkeypatch.setattr(files, "_PARTS_MAX", 100)
    begun = []
    lay_out = files._SnapshotBody._reserve
    monkeypatch.setattr(files._SnapshotBody, "_reserve", lambda body, size: begun.append(size) or lay_out(body, size))
    file = folder.write(HEADER, [b"a part", b"x" * 100_000])
    whole = file.read_bytes()
    file.write_bytes(whole[:40] + b"\0" * (len(whole) - 40))

    with pytest.raises(StateError, match="checksum"):
        folder.read(file, HEADER.layout)
    assert len(begun) < 300


def test_a_file_of_another_format_is_passed_over(folder):
    file = folder.write(HEADER, PARTS)
    whole = file.read_bytes()
    file.write_bytes(whole[:8] + (FORMAT + 1).to_bytes(4, "little") + whole[12:])

    assert folder.check(file) is None


def test_what_another_program_left_in_the_folder_is_no_snapshot(folder):
    folder.folder.mkdir()
    for name in ("notes.snapshot", "12.snapshot.bak", "7.tmp", ".snapshot"):
        (folder.folder / name).touch()

    assert folder.files() == []


def test_a_full_disk_leaves_the_snapshots_before_it(folder, monkeypatch):
    before = folder.write(HEADER, PARTS)

    def fails(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match="No space left on device"):
        folder.write(Header(8, "", ""), PARTS)

    assert folder.files() == [before]
    assert list(folder.folder.iterdir()) == [before]


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a", "é", "", "\x00"],
        [None, True, False, 0, 1, -(2**63), 2**63 - 1, 0.0, -0.0, 5e-324],
        [2**63, -(2**63) - 1, 2**126, -(2**126)],
        [("a", 1), (("a", 2**100), True)],
    ],
)
def test_values_keep_their_types_and_their_bits(values):
    found = unpack(pack(values))

    assert found == values
    assert repr(found) == repr(values)


# ---- state


def test_a_start_reads_only_what_came_after_the_snapshot(folder, store):
    first = started(store, folder)
    first.write([payment(number, number) for number in range(20)])
    saved = first.snapshot()
    first.write([payment(20, 20)])
    read = []
    log = MemoryLog(store, read_only=True)
    _, seq, warnings = snapshot_writer.restore(folder, log, definitions(), read.append)

    assert (saved.seq, seq, sum(read), warnings) == (21, 21, 1, [])


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"features.yaml": "card:\n  payments_1h: count(payment) over 2h\n"},
        {"rules/large.yaml": None},
        {"shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\nlateness: 2h\n"},
        {"features.yaml": COUNTS_LISTED, "lists/bad.csv": "value\nc1\n"},
    ],
)
def test_a_snapshot_of_other_definitions_stays_and_is_passed_over(folder, store, changes):
    first = started(store, folder)
    first.write([payment(1)])
    first.snapshot()
    other = started(store, folder, changes)

    assert other.unsaved == 3
    assert other.warnings == []
    assert len(folder.files()) == 1


@pytest.mark.parametrize(("features", "unread"), [(FILES["features.yaml"], 1), (COUNTS_LISTED, 3)])
def test_a_row_of_a_list_makes_a_snapshot_useless_only_where_state_is_made_of_the_list(folder, store, features, unread):
    first = started(store, folder, {"features.yaml": features, "lists/bad.csv": "value\nc1\n"})
    first.write([payment(1)])
    first.snapshot()
    other = started(store, folder, {"features.yaml": features, "lists/bad.csv": "value\nc2\n"})

    assert other.unsaved == unread


def test_a_snapshot_from_before_a_version_that_let_later_events_in_is_passed_over(folder, store):
    """Its cells were let go of by the lateness of its time; an event that is later may ask for them."""
    generous = {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 3d\n"}
    first = started(store, folder)
    first.write([payment(1)])
    first.snapshot()
    started(store, folder, generous).write([payment(2)])
    again = started(store, folder)

    assert again.unsaved == store.records[-1].seq
    assert again.warnings == []


def test_policy_and_remarks_decide_nothing_about_state(folder, store):
    first = started(store, folder)
    first.write([payment(1)])
    first.snapshot()
    remark = started(store, folder, {"features.yaml": f"# a remark\n{FILES['features.yaml']}"})
    policy = started(store, folder, {"policy.yaml": POLICY})

    assert remark.unsaved == 0
    assert policy.unsaved == 1, "the event that puts it in force"


def test_a_snapshot_that_is_newer_than_the_log_is_removed(folder, store):
    first = started(store, folder)
    first.write([payment(1)])
    first.snapshot()
    again = started(MemoryStore(), folder)

    (warning,) = again.warnings
    assert warning == (
        "snapshot 000000000002.snapshot was removed: it ends at sequence number 2, and the log at 0. "
        "What it held is read from the log again."
    )
    assert folder.files() == []


def test_a_snapshot_that_cannot_be_removed_is_said_to_stay(folder, store, monkeypatch):
    first = started(store, folder)
    first.write([payment(1)])
    file = first.snapshot().file

    def refuse(path, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    again = started(MemoryStore(), folder)

    (warning,) = again.warnings
    assert warning.startswith(
        "snapshot 000000000002.snapshot cannot be used: it ends at sequence number 2, and the log at 0. "
        f"The log is read instead, at each start, since {file} cannot be removed: Permission denied. "
    )
    assert folder.files() == [file]


def test_older_snapshots_that_cannot_be_removed_are_no_error(folder, monkeypatch):
    def refuse(path, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    written = [folder.write(Header(seq, "layout", "log"), PARTS) for seq in range(1, 5)]

    assert folder.files() == written[::-1]


def test_a_snapshot_of_another_log_is_removed(folder, store):
    first = started(store, folder)
    first.write([payment(1)])
    first.snapshot()
    other = MemoryStore()
    started(other, None).write([payment(2)])
    again = started(other, folder)

    assert "it is of another log" in again.warnings[0]
    assert folder.files() == []


def test_a_damaged_snapshot_gives_way_to_the_one_before_it(folder, store):
    first = started(store, folder)
    saved = []
    for number in range(3):
        first.write([payment(number)])
        saved.append(first.snapshot().file)
    saved[-1].write_bytes(saved[-1].read_bytes()[:-1])
    again = started(store, folder)

    assert again.unsaved == 1
    assert [saved[-1].name in words for words in again.warnings] == [True]


def test_state_that_does_not_fit_its_header_is_not_used(folder, store):
    """A whole file with other parts inside: nobody wrote it by accident, and it must not crash a start."""
    first = started(store, folder)
    first.write([payment(1)])
    file = first.snapshot().file
    header, parts = parts_of(folder, file)
    for wrong in ([], parts[:-1], [b"\xff", *parts[1:]], [parts[0], b"\xff", *parts[2:]], [*parts[:-1], b"x" * 8]):
        folder.write(header, wrong)
        again = started(store, folder)

        assert again.unsaved == 2
        assert len(again.warnings) == 1


def test_a_batch_that_is_not_committed_is_never_saved(folder):
    writer = started(MemoryStore(), folder)
    writer.prepare([payment(1)])

    with pytest.raises(StateError, match="not committed"):
        writer.snapshot()


def test_verify_and_replay_read_the_log_and_no_snapshot(folder, store, monkeypatch):
    first = started(store, folder)
    first.write([payment(number) for number in range(5)])
    first.snapshot()

    def never(*arguments):
        raise AssertionError("a snapshot was read")

    monkeypatch.setattr(Snapshots, "read", never)
    log = MemoryLog(store, read_only=True)

    assert verify_online(log).mismatches == 0
    assert replay(log, 3).seq == 3
    with pytest.raises(AssertionError, match="a snapshot was read"):
        started(store, folder)


@pytest.mark.slow
def test_the_layout_is_the_same_in_every_process():
    code = (
        "from tests.support.projects import definitions\n"
        "from shroff.log.state.fold import empty\nfrom shroff.log.state.snapshots import layout\n"
        "print(layout(empty(definitions())))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert found == {layout(snapshot_writer.empty(definitions())) + "\n"}


# ---- the command


@pytest.fixture
def bank(tmp_path: Path, capsys) -> Path:
    project, _ = app.make_project(tmp_path / "bank", "payments")
    example = project.context.paths.folder / "examples" / "payment.json"
    project.ingest([example], as_type="payment")
    return project.context.paths.folder


def test_the_command_says_what_it_wrote(bank, capsys):
    assert run(["-C", str(bank), "snapshot", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["file", "seq", "bytes", "seconds"]
    assert document["seq"] == 2
    assert Path(document["file"]).stat().st_size == document["bytes"]


def test_without_a_log_there_is_nothing_to_save(tmp_path, capsys):
    app.make_project(tmp_path / "bank", "payments")

    assert run(["-C", str(tmp_path / "bank"), "snapshot"]) == 2
    assert "no log yet" in capsys.readouterr().err


@pytest.mark.slow
def test_a_long_ingest_saves_state_at_its_end_and_a_short_one_does_not(bank, monkeypatch):
    snapshots = Snapshots(bank / ".shroff" / "snapshots")
    payments = bank / "examples" / "payment.json"
    app.open(bank).ingest([payments], as_type="payment")
    assert snapshots.files() == []

    monkeypatch.setattr(snapshot_writer, "EVERY", 1)
    app.open(bank).ingest([payments], as_type="payment")

    assert [file.name for file in snapshots.files()] == ["000000000002.snapshot"]


@pytest.mark.slow
def test_a_command_says_which_snapshot_it_could_not_use(bank, capsys):
    app.open(bank).retention.snapshot().file.write_bytes(b"SHROFFSN")

    assert run(["-C", str(bank), "label", "payment/p-1", "fraud"]) == 0
    assert "shroff: snapshot 000000000002.snapshot was removed: its checksum" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_the_snapshot_and_nothing_else(bank, monkeypatch, capsys):
    (bank / ".shroff" / "snapshots").write_text("no folder", encoding="utf-8")
    monkeypatch.setattr(snapshot_writer, "EVERY", 1)

    assert run(["-C", str(bank), "label", "payment/p-1", "fraud"]) == 0
    assert "cannot be written" in capsys.readouterr().err
    assert run(["-C", str(bank), "snapshot"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage, state, said",
    [
        (lambda file: file.unlink(), "ok", "none; the next start reads the whole log, 2 records"),
        (lambda file: None, "ok", "is intact: state at sequence number 2, 0 records old"),
        (lambda file: file.write_bytes(b""), "note", "its checksum does not fit"),
        (lambda file: file.rename(file.with_name("9.snapshot")), "ok", "is intact: state at sequence number 2"),
        (lambda file: file.write_bytes(b"SHROFFSN\x09\x00\x00\x00"), "note", "another version of shroff"),
    ],
)
def test_doctor_says_how_the_newest_snapshot_stands(bank, damage, state, said):
    project = app.open(bank)
    damage(project.retention.snapshot().file)
    (found,) = [item for item in project.health.doctor() if item.subject == "snapshots"]

    assert found.state == state
    assert said in found.words


@pytest.mark.slow
def test_doctor_knows_a_snapshot_of_another_past(bank):
    snapshots = Snapshots(bank / ".shroff" / "snapshots")
    snapshots.write(replace(HEADER, seq=99), [])
    (found,) = [item for item in app.open(bank).health.doctor() if item.subject == "snapshots"]

    assert found.state == WRONG
    assert found.words.startswith("000000000099.snapshot was made at sequence number 99, and the log ends at ")
