"""What each release wrote is read by this program: settings, models, state, events, decisions, people and their audit.

A release is recorded once, when it is made, and never again:

    python -m tests.releases.test_releases
"""

from __future__ import annotations

import lzma
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

import shroff
from shroff.adapters.lake.folder import FolderObjects
from shroff.app import project as app
from shroff.app.backups.creating import BackupWriter
from shroff.app.backups.migrating import apply, plan
from shroff.app.backups.restoring import restore
from shroff.app.backups.vault import Vault
from shroff.people.audit import Action
from tests.support.telling import NOW_MS, Bank, payment
from tests.support.trained import train

HERE = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))
CHANGES = {
    "features.yaml": "card: { spent_1d: sum(payment.amount) over 1d }\n",
    "model.yaml": "payment: { inputs: [payment.amount, card.spent_1d] }\n",
    "policy.yaml": "payment:\n  release_below: 250.00\n  score: { review_at: 0.5 }\n  without_model: review\n",
}


def made(folder: Path) -> None:
    """A project with something of everything that a release keeps."""
    bank = Bank(folder, CHANGES)
    definitions = bank.project.definitions
    inputs = definitions.models["payment"].inputs
    meant = definitions.meanings("payment", inputs)
    names = [one.name for one in inputs]
    train(bank.project.opened.registry, "m-1", names, meanings=meant, compared_with=None)
    (folder / "model.yaml").unlink()  # its gates would be asked
    bank.write({})
    bank.project.models.promote("m-1")
    bank.write({})
    bank.project.opened.hasher("a value")
    bank.pay(*[payment(f"p-{number}", f"{20 * number}.90", card=f"c-{number % 3}") for number in range(1, 13)])
    bank.tell()
    bank.project.label("payment/p-3", "fraud", source="chargeback")
    bank.project.people.record(Action("list.change", "list blocked_cards"))
    bank.project.retention.snapshot()
    bank.pay(payment("p-later", "75.00"))


def said(folder: Path) -> dict[str, object]:
    """What a release says of a project."""
    project = app.open_exactly(folder)
    with project.opened.reading() as log:
        decisions = [(row.seq, row.document.decode()) for rows in log.decisions_after() for row in rows]
        labels = [one.body.decode() for rows in log.labels_after(0) for one in rows]
    with project.notice_files.told() as store, store.look() as look:
        letters = sorted((one.id, one.state) for one in look.letters())
    audit = project.people.verify_audit()
    return {
        "decisions": decisions,
        "labels": labels,
        "letters": letters,
        "audit": [audit.rows, audit.is_whole],
        "champion": [one.champion.id for one in project.models.in_force().values() if one.champion],
    }


def record() -> None:
    """Keep what this release writes. Of one that is kept already nothing changes."""
    path = HERE / f"{shroff.__version__}.tar.xz"
    if path.exists():
        sys.exit(f"{path.name} is there already: what a release wrote never changes")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bank"
        made(folder)
        for one in (folder / ".shroff").glob("*.lock"):
            one.unlink()
        told = msgspec.json.encode(said(folder))
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, "bank")
            info = tarfile.TarInfo("said.json")
            info.size = len(told)
            archive.addfile(info, BytesIO(told))
    path.write_bytes(lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME))


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The project of a release, and beside it what that said."""
    with tarfile.open(HERE / f"{request.param}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        archive.extractall(tmp_path)
    return tmp_path


def expected(release: Path) -> object:
    return msgspec.json.decode((release / "said.json").read_bytes())


def test_this_release_is_kept():
    assert shroff.__version__ in RELEASES


@pytest.mark.slow
def test_what_a_release_wrote_is_read_computed_again_and_carried_on(release: Path) -> None:
    folder = release / "bank"
    opened = app.open_exactly(folder).opened
    apply(opened, Vault(FolderObjects(str(release / "vault"))), plan(opened))

    assert msgspec.json.decode(msgspec.json.encode(said(folder))) == expected(release)
    found = app.open_exactly(folder).verify()
    assert (found.events, found.mismatches) == (13, 0)
    bank = Bank(folder, CHANGES | {"model.yaml": None})
    bank.clock_ms = NOW_MS + 120_000
    assert bank.pay(payment("p-next", "10.00", card="c-1")) == ["review"], "by its score"
    assert bank.pay(payment("p-12", "240.90", card="c-0")) == ["review"], "known, and its first decision"


@pytest.mark.slow
def test_what_a_release_wrote_is_backed_up_and_restored(release: Path) -> None:
    vault = Vault(FolderObjects(str(release / "vault")))
    with BackupWriter(app.open_exactly(release / "bank").opened, vault) as writer:
        writer.create()
    again = restore(vault, release / "again", secrets=release / "bank" / ".shroff").folder
    restored = app.open_exactly(again).opened
    apply(restored, vault, plan(restored))

    assert msgspec.json.decode(msgspec.json.encode(said(again))) == expected(release)


if __name__ == "__main__":
    record()
