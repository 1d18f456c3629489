"""Backups in every bucket that they may be in: made, read back, refused where they were altered, and removed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import StorageError, UsageError
from shroff.language.values import DAY_MS
from shroff.services.backups.creation import BackupWriter
from shroff.services.backups.restoration import restore
from shroff.services.backups.retention import KeepRules, pruned, verified
from shroff.services.backups.vault import Vault
from shroff.streams.lake import RetriedObjects
from tests.contracts.test_lake_places import SCHEMES, bucket_of, own
from tests.services.test_backups import receipts
from tests.support.telling import Bank, payment
from tools.servers.keep import Kept

BUCKET = "shroff-backups"
pytestmark = pytest.mark.slow


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    found = Bank(tmp_path / "bank")
    found.pay(payment())
    return found


@pytest.mark.parametrize("kind", SCHEMES)
def test_a_project_comes_back_from_a_bucket(
    kind: str, bank: Bank, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bucket = bucket_of(request.getfixturevalue(kind), BUCKET)
    with closing(RetriedObjects(bucket(own(tmp_path)))) as place:
        with BackupWriter(bank.project.context, Vault(place, bytes(range(32)))) as writer:
            writer.create()
            bank.pay(payment("p-2"))
            newest = writer.create()
            assert newest is not None
            assert not newest.is_full
            bank.pay(payment("p-3"))
            Vault(place, bytes(range(32))).begin(newest.project, "")
            restored = restore(Vault(place, bytes(range(32))), tmp_path / "again")
            with BackupWriter(Bank(restored.folder).project.context, Vault(place, bytes(range(32)))) as other:
                assert other.create(is_full=True) is not None
            with pytest.raises(UsageError, match="another process made the backup 3 meanwhile"):
                writer.create()
        vault = Vault(place, bytes(range(32)))
        assert restored.number == 2
        assert receipts(restored.folder) == receipts(bank.folder)[:2]
        gone, _ = pruned(vault, KeepRules(0, 0, 0), bank.clock_ms + DAY_MS)
        assert gone == [1, 2]
        assert verified(vault).damaged == {}
        name, size = next(iter(vault.pieces().items()))
        place.delete(f"pieces/{name[:2]}/{name}")
        place.put(f"pieces/{name[:2]}/{name}", bytes(size))
        assert verified(vault).damaged.keys() == {3}
        with pytest.raises(StorageError, match="was truncated or altered"):
            restore(vault, tmp_path / "third")


def test_the_commands_find_a_bucket_of_another_server_by_the_settings(
    s3: Kept, bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = bucket_of(s3, BUCKET)(own(tmp_path)).address
    for name, value in s3.details.items():
        monkeypatch.setenv(name.upper(), value)
    setting = f"backup: {{ to: '{place}', endpoint: '{s3.address}', region: us-east-1 }}\n"
    settings = bank.folder / "shroff.yaml"
    settings.write_text(settings.read_text() + setting)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "shroff.yaml").write_text(setting)  # all that is left of the project

    assert run(["-C", str(bank.folder), "backup", "create"]) == 0
    assert run(["-C", str(tmp_path / "lost"), "restore", str(tmp_path / "again")]) == 0
    assert receipts(tmp_path / "again") == receipts(bank.folder)
    assert place in capfd.readouterr().out
