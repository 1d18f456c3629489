"""Backups of a project: made, verified, restored elsewhere, refused where they were altered, and removed by rules."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import sqlite3
import stat
import time
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.connection import sqlite as sqlite_connection
from shroff.adapters.log.postgresql import PostgresLog
from shroff.adapters.log.tables.rows import UNIQUE
from shroff.cli.main import run
from shroff.errors import LogBusyError, StorageError, UsageError
from shroff.language.values import DAY_MS
from shroff.notices.store import OPEN, UNKNOWN
from shroff.people.audit_operations import VerifyAudit
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.backups import creation, restoration
from shroff.services.backups.creation import BackupWriter
from shroff.services.backups.operations import CreateBackup, follow_backups
from shroff.services.backups.restoration import IN_DOUBT, point_at, restore
from shroff.services.backups.retention import KeepRules, finding, listed, pruned, verified, writer_of
from shroff.services.backups.vault import BackupPoint, Vault
from shroff.streams.log import UniqueValue
from tests.support.telling import NOW_MS, Bank, payment, token_in

KEY = bytes(range(32))


@contextmanager
def backing_up(bank, place, key=None):
    with BackupWriter(bank.project.context, Vault(FolderObjects(str(place)), key)) as writer:
        yield writer


def vault(place, key=None):
    return Vault(FolderObjects(str(place)), key)


def up_to(place, number):
    """Its backups up to one of them."""
    found = vault(place)
    found.numbers = lambda: list(range(1, number + 1))
    return found


def add_setting(bank, text):
    path = bank.folder / "shroff.yaml"
    path.write_text(path.read_text() + text)


def receipts(folder):
    with app.open_exactly(folder).log.reading() as log:
        return [(row.seq, row.document) for rows in log.decisions.after() for row in rows]


@pytest.fixture
def bank(tmp_path):
    found = Bank(tmp_path / "bank")
    found.pay(payment())
    return found


@pytest.fixture
def secrets(tmp_path):
    return tmp_path / "bank" / ".shroff"


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_project_is_restored_elsewhere_with_all_that_happened_in_it(bank, secrets, tmp_path, key):
    with backing_up(bank, tmp_path / "vault", key) as writer:
        assert writer.create().is_full
        mails = bank.tell().read
        bank.project.people.record("list.change", "list blocked_cards")
        bank.pay(payment("p-2", card="c-2"))
        assert not writer.create().is_full
        assert writer.create() is None, "nothing changed"
    found = restore(vault(tmp_path / "vault", key), tmp_path / "again", secrets=secrets)

    assert len(mails) == 1
    assert (found.number, found.missing) == (2, ())
    assert receipts(tmp_path / "again") == receipts(bank.folder)
    again = Bank(tmp_path / "again")
    assert again.project.verify().mismatches == 0
    assert again.project.run(VerifyAudit()).ok
    assert again.project.run(VerifyAudit()).rows == 1
    sent = again.tell()
    assert [row["To"] for row in sent.read] == ["ann@customers.example"], "of p-2 alone; that of p-1 was sent"
    confirming = again.project.notices.confirming()
    assert confirming.answer(token_in(mails[0]), "no").kind == bank_page(bank, token_in(mails[0]))
    confirming.close()


def bank_page(bank, token):
    """The page that the first project gives to the same answer."""
    confirming = bank.project.notices.confirming()
    try:
        return confirming.answer(token, "no").kind
    finally:
        confirming.close()


@pytest.mark.slow
def test_a_project_is_restored_as_it_was_at_a_moment(bank, secrets, tmp_path):
    seqs = []
    with backing_up(bank, tmp_path / "vault") as writer:
        for number in range(3):
            seqs.append(writer.create().log.last_seq)
            bank.clock_ms += 60_000
            bank.pay(payment(f"q-{number}"))

    for number, seq in enumerate(seqs):
        found = restore(
            vault(tmp_path / "vault"),
            tmp_path / f"again-{number}",
            to_ms=NOW_MS + number * 60_000 + 59_999,
            secrets=secrets,
        )
        assert (found.at_ms, found.last_seq) == (NOW_MS + number * 60_000, seq)
        assert receipts(found.folder) == receipts(bank.folder)[: number + 1]
    with pytest.raises(UsageError, match="has no backup at or before 2026-"):
        restore(vault(tmp_path / "vault"), tmp_path / "x", to_ms=NOW_MS - 1)


@pytest.mark.slow
def test_a_letter_that_may_have_left_after_the_backup_waits_for_a_person(bank, secrets, tmp_path):
    bank.post.failing = [OSError("the server went away")]
    bank.tell(steps=2)
    assert [letter.state for letter in bank.letters()] == [OPEN]
    with bank.project.notice_files.told() as store, store.change() as change:
        for number in range(100):
            change.put_letter(replace(bank.letters()[0], id=f"more-{number}"))
    with backing_up(bank, tmp_path / "vault") as writer:
        writer.create()
    found = restore(vault(tmp_path / "vault"), tmp_path / "again", secrets=secrets)

    again = Bank(tmp_path / "again")
    assert found.held == 101
    assert {(letter.state, letter.reason) for letter in again.letters()} == {(UNKNOWN, IN_DOUBT)}
    assert again.tell(later_ms=DAY_MS).mails == []


@pytest.mark.slow
def test_secrets_are_named_and_never_stored(bank, tmp_path):
    bank.project.log.hasher("a value")
    own = {".shroff/hash.key", ".env", "certs/bank.pem", "tls.txt"}
    (bank.folder / ".env").write_text("TOKEN=planted-secret-1\n")
    (bank.folder / "certs").mkdir()
    (bank.folder / "certs" / "bank.pem").write_text("planted-secret-2")
    (bank.folder / "tls.txt").write_text("-----BEGIN PRIVATE KEY-----\nplanted-secret-3\n")
    (bank.folder / "shroff.yaml").write_text("name: [")  # a restore needs no project that is right
    (bank.folder / "run.sh").touch(0o755)
    (bank.folder / "run.sh").chmod(0o4755)
    with backing_up(bank, tmp_path / "vault") as writer:
        point = writer.create()
    again = restore(vault(tmp_path / "vault"), tmp_path / "again")

    assert set(point.secrets) == own == set(again.missing)
    assert stat.S_IMODE((again.folder / "run.sh").stat().st_mode) == 0o755
    texts = [path.read_bytes() for path in again.folder.rglob("*") if path.is_file()]
    key = (bank.folder / ".shroff" / "hash.key").read_bytes().strip()
    assert not [text for text in texts for secret in (b"planted-secret", key) if secret in text]
    (tmp_path / "hash.key").write_text("ab" * 32)
    with pytest.raises(UsageError, match=r"is not the \.shroff/hash\.key of this backup"):
        restore(vault(tmp_path / "vault"), tmp_path / "other", secrets=tmp_path)


@pytest.mark.slow
def test_what_was_truncated_altered_or_lost_is_refused_and_named(bank, tmp_path, monkeypatch):
    with backing_up(bank, tmp_path / "vault") as writer:
        writer.create()
        bank.pay(payment("p-2"))
        newest = writer.create()
    piece = newest.log.changed[0]
    of_piece, of_point = f"pieces/{piece[:2]}/{piece}", "points/000000000001"
    other = Bank(tmp_path / "other")
    other.pay(payment())

    for name, damage, words in (
        (of_piece, lambda data: data[:-7], "was truncated or altered"),
        (of_piece, lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:], "was truncated or altered"),
        (of_piece, None, "is missing"),
        (of_point, lambda data: data.replace(b'"at_ms":1', b'"at_ms":2'), "was truncated or altered"),
        (of_point, None, "the point 1 is missing"),
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(tmp_path / "vault", copy)
        if damage is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(damage((copy / name).read_bytes()))
        with pytest.raises(StorageError, match=words):
            restore(vault(copy), tmp_path / "again")
        assert 2 in verified(vault(copy)).damaged
        assert not (tmp_path / "again").exists()
    (tmp_path / "vault" / "points" / "notes.txt").write_text("of somebody else")
    assert verified(vault(tmp_path / "vault")).damaged == {}
    monkeypatch.setattr("shroff.services.backups.vault.PIECE_BYTES_MAX", 10)
    with pytest.raises(StorageError, match="was truncated or altered"):
        vault(tmp_path / "vault").get(piece)
    with (
        pytest.raises(UsageError, match="has the backups of another project, 'bank'"),
        backing_up(other, tmp_path / "vault"),
    ):
        pass
    with pytest.raises(UsageError, match="has no backups of shroff"):
        restore(vault(tmp_path / "nowhere"), tmp_path / "again")
    with pytest.raises(UsageError, match="are not encrypted: leave the key file out"):
        restore(vault(tmp_path / "vault", KEY), tmp_path / "again")
    with pytest.raises(UsageError, match="is not empty"):
        restore(vault(tmp_path / "vault"), bank.folder)


@pytest.mark.slow
def test_a_backup_of_another_project_with_the_same_key_is_refused(bank, tmp_path):
    other = Bank(tmp_path / "other")
    other.pay(payment())
    for item in (bank, other):
        with backing_up(item, tmp_path / f"of-{item.folder.name}", KEY) as writer:
            writer.create()
    shutil.copytree(tmp_path / "of-other", tmp_path / "of-bank", dirs_exist_ok=True, ignore=_label)

    with pytest.raises(StorageError, match="000000000001 is of another project"):
        restore(vault(tmp_path / "of-bank", KEY), tmp_path / "again")


def _label(_folder, names):
    return [name for name in names if name == "shroff-backup"]


@pytest.mark.slow
def test_a_full_backup_mends_what_was_damaged(bank, tmp_path):
    with backing_up(bank, tmp_path / "vault") as writer:
        point = writer.create()
        pieces = tmp_path / "vault" / "pieces"
        for name in (point.log.whole[0], point.files["shroff.yaml"][1][0]):
            (pieces / name[:2] / name).write_bytes(b"damaged")
        assert verified(vault(tmp_path / "vault")).damaged.keys() == {1}
        writer.create(is_full=True)
    assert verified(vault(tmp_path / "vault")).damaged == {}

    (tmp_path / "vault" / "points" / "000000000002").write_bytes(b"damaged")
    with backing_up(bank, tmp_path / "vault") as writer:
        assert (found := writer.create()).is_full
    assert found.number == 3
    assert restore(vault(tmp_path / "vault"), tmp_path / "again").number == 3


def test_a_damaged_log_is_named_when_it_is_backed_up_and_when_that_backup_is_verified(bank, tmp_path, capfd):
    of_bank = ["-C", str(bank.folder), "backup"]
    assert run([*of_bank, "create", "--at", str(tmp_path / "vault")]) == 0
    assert "log in this backup" not in capfd.readouterr().err
    log = bank.folder / ".shroff" / "log.db"
    with closing(sqlite3.connect(log)) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = shell.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
        (size,) = shell.execute("PRAGMA page_size").fetchone()
    with log.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"damaged" * 400)
    assert run([*of_bank, "create", "--full", "--at", str(tmp_path / "vault")]) == 1
    assert "the log in this backup is damaged" in capfd.readouterr().err

    found = verified(vault(tmp_path / "vault")).damaged
    assert found.keys() == {2}, "the one before is sound"
    assert ".shroff/log.db" in found[2]
    assert run([*of_bank, "verify", "--at", str(tmp_path / "vault")]) == 1


def test_the_log_of_an_older_version_is_no_damage(bank, tmp_path, monkeypatch):
    assert run(["-C", str(bank.folder), "backup", "create", "--at", str(tmp_path / "vault")]) == 0
    monkeypatch.setattr(sqlite_connection, "VERSION", 2)

    assert verified(vault(tmp_path / "vault")).damaged == {}


def test_a_log_that_cannot_be_copied_is_told_as_not_checked(bank, tmp_path, monkeypatch):
    assert run(["-C", str(bank.folder), "backup", "create", "--at", str(tmp_path / "vault")]) == 0

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(restoration, "_write_log", full)
    assert (
        "was not checked, as its temporary copy cannot be written: No space"
        in verified(vault(tmp_path / "vault")).damaged[1]
    )


def test_where_the_first_backup_was_killed_there_is_none_and_its_pieces_are_named(tmp_path):
    place = vault(tmp_path / "vault")
    place.begin("id", "bank")
    place.put(b"a piece")

    for ask in (listed, verified, lambda place: restore(place, tmp_path / "again")):
        with pytest.raises(UsageError, match=r"no complete backup. Its pieces are .* Make one with 'shroff backup"):
            ask(place)


def test_a_damaged_point_blocks_no_other_backup_and_goes_when_a_newer_full_one_is_there(tmp_path):
    place = vault(tmp_path / "vault")
    place.begin("id", "bank")
    for point in full_and_tails(20_000, 20_001, 20_002):
        place.add(point)
    (tmp_path / "vault" / "points" / "000000000005").write_bytes(b"damaged")  # a tail; 6 needs it

    assert [point.number for point in listed(place)[0]] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert listed(place)[1].keys() == {5}
    assert "was truncated or altered" in listed(place)[1][5]
    assert point_at(place, 20_001 * DAY_MS + 1_500) == (4, (5,))
    assert point_at(place, 20_002 * DAY_MS + 500) == (7, ())
    assert pruned(place, KeepRules(), 20_002 * DAY_MS + 5_000)[0] == [5, 6]
    assert place.numbers() == [1, 2, 3, 4, 7, 8, 9]

    (tmp_path / "vault" / "points" / "000000000007").write_bytes(b"damaged")  # the newest full one: nothing follows it
    assert pruned(place, KeepRules(), 20_002 * DAY_MS + 5_000)[0] == []
    with pytest.raises(UsageError, match="no backup at or before"):
        point_at(place, 19_000 * DAY_MS)


@pytest.mark.slow
def test_after_long_tails_the_next_backup_is_full_so_that_a_restore_stays_quick(bank, tmp_path, monkeypatch):
    monkeypatch.setattr("shroff.services.backups.creation.TAILS_BYTES", 0)
    kinds = []
    with backing_up(bank, tmp_path / "vault") as writer:
        for number in range(24):
            bank.pay(payment(f"q-{number}"))
            kinds.append(writer.create().is_full)

    assert kinds[:2] == [True, False]
    assert 0 < sum(kinds[1:]) < 12


def pay_while_it_reads(bank, monkeypatch):
    """Let a payment come behind every two pages that a full backup reads, nine times, and behind the last ones."""
    paid = []

    def for_a_while(blocks, seconds):
        if seconds is None:
            yield from blocks
            return
        yield from (read := list(itertools.islice(blocks, 1)))
        if len(paid) < 9 or not read:
            bank.clock_ms += 60_000
            bank.pay(payment(f"m-{len(paid)}"))
            paid.append(bank.clock_ms)
            with closing(sqlite3.connect(bank.folder / ".shroff/log.db", isolation_level=None)) as beside:
                if len(paid) == 5:  # a page that was read, and that nothing else changes
                    row = UNIQUE.of(UniqueValue("payment", "f", "v", 1))
                    beside.execute("INSERT INTO unique_values VALUES (?, ?, ?, ?, ?)", row)
                beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # pages change in the file that is read

    monkeypatch.setattr(creation, "_for_a_while", for_a_while)
    monkeypatch.setattr(creation, "PIECE_PAGES", 2)
    return paid


@pytest.mark.slow
@pytest.mark.parametrize("restart_frames", [creation.RESTART_FRAMES, 8])
def test_tails_are_made_while_a_full_backup_reads_the_log(bank, secrets, tmp_path, monkeypatch, restart_frames):
    place, tails = tmp_path / "vault", []
    monkeypatch.setattr(creation, "RESTART_FRAMES", restart_frames)
    logged = BackupWriter._logged

    def logged_after_a_payment(*of, **more):  # which may begin the write-ahead log again
        bank.pay(payment("early"))
        return logged(*of, **more)

    with backing_up(bank, place) as writer:
        first = writer.create()
        paid = pay_while_it_reads(bank, monkeypatch)
        monkeypatch.setattr(BackupWriter, "_logged", logged_after_a_payment)
        full = writer.create(is_full=True, tail_every_s=5, made=tails.append)
        bank.pay(payment("last"))
        last = writer.create()
    known = receipts(bank.folder)

    assert [tail.is_full for tail in (first, *tails, full, last)] == [True, *[False] * len(tails), True, False]
    assert [tail.number for tail in (first, *tails, full, last)] == list(range(1, len(tails) + 4))
    assert [tail.at_ms for tail in (*tails, full)] == paid
    assert len(paid) == 10
    assert sum(tail.bytes for tail in (first, *tails, full, last)) == sum(vault(place).pieces().values())
    assert verified(vault(place)).damaged == {}
    for count, tail in {7: tails[4], 11: tails[8], 13: last}.items():
        found = restore(up_to(place, tail.number), tmp_path / f"again-{count}", secrets=secrets)
        assert receipts(found.folder) == known[:count]
    whole = restore(up_to(place, full.number), tmp_path / "whole", secrets=secrets)
    assert receipts(whole.folder) == known[:12]
    with closing(sqlite3.connect(whole.folder / ".shroff/log.db")) as found:
        assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert found.execute("SELECT count(*) FROM unique_values").fetchone() == (1,)
    assert app.open_exactly(whole.folder).verify().mismatches == 0


@pytest.mark.slow
def test_a_full_backup_is_made_without_tails_where_these_cannot_follow(bank, secrets, tmp_path, monkeypatch):
    place, known, unknown = tmp_path / "vault", BackupWriter._since, iter([False, True, True])
    with backing_up(bank, place) as writer:
        writer.create()
        pay_while_it_reads(bank, monkeypatch)
        monkeypatch.setattr(BackupWriter, "_since", lambda *of: None if next(unknown, False) else known(*of))
        full = writer.create(is_full=True, tail_every_s=5, made=lambda tail: pytest.fail(f"{tail}"))
    found = restore(vault(place), tmp_path / "again", secrets=secrets)

    assert (full.is_full, full.number) == (True, 2)
    assert receipts(found.folder) == receipts(bank.folder)


@pytest.mark.slow
def test_files_behind_links_and_quick_changes_are_in_the_backup(bank, tmp_path):
    shared = bank.folder / "shared"
    shared.mkdir()
    (rule := shared / "note.txt").write_text("a")
    (bank.folder / "docs").symlink_to(shared)
    (shared / "back").symlink_to(bank.folder)
    (bank.folder / "away").symlink_to(tmp_path)
    with backing_up(bank, tmp_path / "vault") as writer:
        point = writer.create()
        assert "docs/note.txt" in point.files
        assert point.secrets["away"] == ""
        assert not any(name.startswith("away") for name in point.files)
        at = rule.stat().st_mtime_ns
        rule.write_text("b")
        os.utime(rule, ns=(at, at))
        assert "docs/note.txt" in writer.create().files

    assert (restore(vault(tmp_path / "vault"), tmp_path / "again").folder / "docs" / "note.txt").read_text() == "b"


def test_a_tail_opens_no_file_that_is_as_it_was_and_passes_over_what_a_volume_has_of_itself(
    bank, tmp_path, monkeypatch
):
    old_ns = (time.time_ns() - 10 * creation.CERTAIN_NS,) * 2
    (bank.folder / "data").mkdir()
    for path in (bank.folder / "data" / "a.csv", bank.folder / "data" / "b.txt"):
        path.write_text("PRIVATE")
        os.utime(path, ns=old_ns)
    for root in (bank.folder, tmp_path / "vault"):
        (root / "lost+found").mkdir(parents=True)
        (root / "lost+found" / "of root").touch()
    (bank.folder / ".out.csv.12345678.unfinished").touch()
    opened, open_ = list[str](), Path.open

    def counted(path, *mode, **more):
        opened.append(path.name)
        return open_(path, *mode, **more)

    with backing_up(bank, tmp_path / "vault") as writer:
        full = writer.create()
        monkeypatch.setattr(Path, "open", counted)
        writer.create()
        assert {"a.csv", "b.txt"}.isdisjoint(opened)
        (bank.folder / "data" / "a.csv").write_text("-----BEGIN PRIVATE KEY-----")
        tail = writer.create()

    assert {"data/a.csv", "data/b.txt"} <= full.files.keys()
    assert not any("lost+found" in name or "unfinished" in name for name in full.files)
    assert "data/b.txt" in tail.files
    assert "data/a.csv" in tail.secrets


@pytest.mark.slow
def test_of_two_restores_into_a_folder_one_is_refused_and_the_other_is_whole(bank, tmp_path):
    with backing_up(bank, tmp_path / "vault") as writer:
        writer.create()
    target = tmp_path / "again"

    def second(step):
        if step == "written":
            restore(vault(tmp_path / "vault"), target)

    with pytest.raises(StorageError, match="cannot be restored"):
        restore(vault(tmp_path / "vault"), target, on_step=second)
    assert receipts(target) == receipts(bank.folder)
    assert not list(tmp_path.glob(".again*"))


@pytest.mark.slow
def test_an_encrypted_backup_shows_nothing_and_needs_its_key(bank, tmp_path):
    with backing_up(bank, tmp_path / "vault", KEY) as writer:
        writer.create()
    stored = [path.read_bytes() for path in (tmp_path / "vault").rglob("*") if path.is_file()]

    assert not [text for text in stored if b"rules" in text or text.startswith(b"x\x01")]
    with pytest.raises(UsageError, match="are encrypted: name the key file"):
        restore(vault(tmp_path / "vault"), tmp_path / "again")
    with pytest.raises(UsageError, match="were encrypted with another key"):
        restore(vault(tmp_path / "vault", bytes(32)), tmp_path / "again")


@pytest.mark.slow
def test_two_processes_never_write_the_same_backups(bank, tmp_path):
    with backing_up(bank, tmp_path / "vault") as writer:
        writer.create()
        with pytest.raises(LogBusyError, match="makes backups of this project"), backing_up(bank, tmp_path / "vault"):
            pass
        restore(vault(tmp_path / "vault"), tmp_path / "again")
        again = Bank(tmp_path / "again")
        again.pay(payment("p-3"))
        with backing_up(again, tmp_path / "vault") as other:
            assert other.create().number == 2
        assert vault(tmp_path / "vault").numbers() == [1, 2]
        bank.pay(payment("p-4"))
        with pytest.raises(UsageError, match="another process made the backup 2 meanwhile"):
            writer.create()


def test_backups_inside_the_project_are_refused(bank):
    with pytest.raises(UsageError, match="would be lost with it"), backing_up(bank, bank.folder / "vault"):
        pass


def test_a_log_of_an_adapter_without_programs_is_left_to_those_of_its_server(bank, tmp_path, monkeypatch):
    monkeypatch.delattr(PostgresLog, "dump_tool")
    add_setting(bank, "store: postgresql://shroff@localhost/shroff\n")
    context = app.open_exactly(bank.folder).context
    with (
        pytest.raises(UsageError, match=r"does not copy\. Use its own program"),
        writer_of(context, vault(tmp_path / "vault")) as writer,
    ):
        writer.create()


def full_and_tails(*days):
    """Points of some days: a full one each, and two tails."""
    points = []
    for day in days:
        for tail in range(3):
            at_ms = day * DAY_MS + tail * 1_000
            points.append(BackupPoint("id", len(points) + 1, at_ms, tail == 0, "", "1", None, {}, {}, 0))
    return points


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (KeepRules(all_ms=0, days=0, months=0), [13, 14, 15]),
        (KeepRules(all_ms=2 * DAY_MS, days=0, months=0), [7, 8, 9, 10, 11, 12, 13, 14, 15]),
        (KeepRules(all_ms=0, days=3, months=0), [7, 10, 13, 14, 15]),
        (KeepRules(all_ms=0, days=0, months=2), [4, 13, 14, 15]),
    ],
    ids=["the newest", "some days", "one a day", "one a month"],
)
def test_old_backups_are_removed_by_rules(tmp_path, rules, left):
    place = vault(tmp_path / "vault")
    place.begin("id", "bank")
    for point in full_and_tails(20_000, 20_001, 20_060, 20_061, 20_062):  # the third is of another month
        place.add(point)
    spare = place.put(b"a piece that a killed process left")

    assert pruned(place, rules, 20_062 * DAY_MS + 5_000, is_dry=True)[0]
    assert len(listed(place)[0]) == 15
    pruned(place, rules, 20_062 * DAY_MS + 5_000)
    assert place.numbers() == left
    assert spare not in place.pieces()


@pytest.fixture
def kept(tmp_path):
    """A place with nine backups, of which one in the middle is full and the newest one has a piece."""
    place = vault(tmp_path / "vault")
    place.begin("id", "bank")
    piece = place.put(b"a file of the newest")
    for point in full_and_tails(20_000, 20_001, 20_002):
        place.add(replace(point, files={"a": (0o600, [piece])}) if point.number == 7 else point)
    return place


def stored(place):
    return [item.name for item in place._objects.list()]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("name", ["points", "pieces"])
def test_a_folder_that_cannot_be_listed_is_no_empty_one_and_nothing_is_removed(kept, monkeypatch, name, code):
    there, scandir = stored(kept), os.scandir

    def fails(path):
        if str(path).endswith(name):
            raise OSError(code, os.strerror(code), str(path))
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr("os.scandir", fails)
        with pytest.raises(StorageError, match=f"{name} in .*: {os.strerror(code)}"):
            pruned(kept, KeepRules(all_ms=0, days=0, months=0), 20_003 * DAY_MS)
        with pytest.raises(StorageError):
            stored(kept)

    assert stored(kept) == there


@pytest.mark.parametrize("number", [2, 7])
def test_a_backup_that_cannot_be_read_now_is_not_damaged_and_nothing_is_removed(kept, monkeypatch, number):
    there, read = stored(kept), Path.read_bytes

    def fails(path):
        if path.name == f"{number:012d}":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fails)
        assert listed(kept)[1].keys() == {number}, "a list tells of it, and of the others"
        with pytest.raises(StorageError, match=f"{number:012d} in .*: Stale"):
            pruned(kept, KeepRules(all_ms=0, days=0, months=0), 20_003 * DAY_MS)

    assert stored(kept) == there


def test_a_piece_that_cannot_be_read_now_is_not_removed_to_be_stored_again(kept, monkeypatch):
    there = stored(kept)
    kept.is_distrusting = True

    def fails(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fails)
        with pytest.raises(StorageError):
            kept.put(b"a file of the newest")

    assert stored(kept) == there


def test_pieces_stay_where_it_is_not_known_which_are_needed(kept, tmp_path):
    spare, now_ms = kept.put(b"of a backup in the making"), 20_003 * DAY_MS

    assert pruned(kept, KeepRules(), now_ms, is_alone=False) == ([], 0)
    newest = tmp_path / "vault" / "points" / "000000000007"
    whole = newest.read_bytes()
    newest.write_bytes(b"damaged")
    assert pruned(kept, KeepRules(), now_ms) == ([], 0)
    newest.write_bytes(whole)
    assert pruned(kept, KeepRules(), now_ms)[0] == []
    assert spare not in kept.pieces(), "now it is known"
    for number in kept.numbers():
        kept.remove_point(number)
    pruned(kept, KeepRules(), now_ms)
    assert kept.pieces(), "a place without any backup"


def test_follow_goes_on_where_old_backups_cannot_be_removed(bank, tmp_path, monkeypatch):
    stop, told = Event(), []

    def fails(*_, **__):
        stop.set()
        raise StorageError("the point 1 cannot be read")

    monkeypatch.setattr("shroff.services.backups.retention.pruned", fails)
    request = CreateBackup(place=str(tmp_path / "vault"))
    follow_backups(bank.project.context, request, 0.1, say=lambda _: None, warn=told.append, stop=stop)

    assert told == ["shroff: no old backup is removed: the point 1 cannot be read"]


@pytest.mark.slow
def test_doctor_says_how_old_the_newest_backup_is(bank, tmp_path):
    assert finding(bank.project.context).words == "this project was never backed up"
    with backing_up(bank, tmp_path / "vault") as writer:
        writer.create()
    bank.clock_ms += 3_600_000
    assert (found := finding(bank.project.context)).state == "ok"
    assert "1h ago" in found.words

    bank.clock_ms += 2 * DAY_MS
    assert finding(bank.project.context).state == "note"
    assert not [item for item in bank.project.health.doctor() if item.subject == "backup"], "nobody asked for backups"
    add_setting(bank, f"backup: {tmp_path / 'vault'}\n")
    assert [item.state for item in app.open_exactly(bank.folder).health.doctor() if item.subject == "backup"]


@pytest.mark.slow
def test_the_commands_do_the_same(bank, tmp_path, capfd):
    add_setting(bank, f"backup: {{ to: '{tmp_path / 'vault'}', key: ../backup.key }}\n")
    (tmp_path / "backup.key").write_text("7f" * 32 + "\n")
    os.utime(bank.folder / ".shroff" / "log.db", (1, 1))  # else it may have been written since, at the same time
    of_bank = ["-C", str(bank.folder), "backup"]
    for words in (["create"], ["create"], ["list"], ["verify"], ["prune", "--dry-run"]):
        assert run([*of_bank, *words]) == 0
    out = capfd.readouterr().out
    for words in ("full backup 1 of ", "nothing changed", "1 backup.", "0 damaged", "0 backups would be removed"):
        assert words in out
    key, place = str(tmp_path / "backup.key"), str(tmp_path / "vault")

    assert run(["restore", str(tmp_path / "again"), "--from", place, "--key", key]) == 0
    assert receipts(tmp_path / "again") == receipts(bank.folder)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = ["-C", str(tmp_path / "elsewhere"), "backup"]  # the project is lost, and its place and key are known
    for words in (["list"], ["verify"], ["prune", "--dry-run"]):
        capfd.readouterr()
        assert run([*elsewhere, *words, "--at", place, "--key", key, "--json"]) == 0
        found = json.loads(capfd.readouterr().out)
        assert (found["file"], found["seq"]) == (f"{place}/points/000000000001", 2)
        assert {"bytes", "seconds"} <= found.keys()
    spare = vault(tmp_path / "vault", bytes.fromhex("7f" * 32)).put(b"of a backup in the making")
    for words, is_left in ((elsewhere, True), (of_bank, False)):
        assert run([*words, "prune", "--at", place, "--key", key]) == 0
        assert (spare in vault(tmp_path / "vault").pieces()) == is_left
    assert run([*of_bank, "prune", "--keep", "1"]) == 2
    assert "--keep: '1' is not a duration" in capfd.readouterr().err
    piece = next(path for path in (tmp_path / "vault" / "pieces").rglob("*") if path.is_file())
    piece.write_bytes(piece.read_bytes()[:-1])
    assert run([*of_bank, "verify"]) == 1
    assert "backup 1: " in capfd.readouterr().out
