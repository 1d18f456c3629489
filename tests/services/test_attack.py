"""Attack drills: the same seed gives the same attack, nothing is written, and a rule is worth what its lack costs."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import msgspec
import pytest

from shroff import config
from shroff.errors import UsageError
from shroff.language.values import DAY_MS, MINUTE_MS, show_decimal
from shroff.log import writer
from shroff.log.state import snapshots
from shroff.services import project as app
from shroff.services.attack.attackers import ATTACKS, AttackedType
from shroff.services.attack.operations import AttackDrill, DrillAttacks
from shroff.services.project import Project
from tests.support.telling import NOW_MS


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The template `payments` with twenty cards of four payments each, each from its own device, within a day."""
    folder = tmp_path_factory.mktemp("attack") / "bank"
    shutil.copytree(config.TEMPLATE_FOLDER / "payments", folder)
    rows: list[dict[str, object]] = []
    for at in range(80):
        card = at % 20
        own = {"card": f"c-{card}", "device": f"d-{card}", "merchant": f"m-{card % 5}", "amount": f"{20 + card}.50"}
        named = {"payment_id": f"p-{at}", "paid_at": NOW_MS - (80 - at) * 15 * MINUTE_MS}
        rows.append({**named, **own, "country": "DE", "channel": "web"})
    app.open_exactly(folder).decide([{"payment": row} for row in rows])
    return folder


def log_of(folder: Path) -> dict[str, bytes]:
    """The log and its snapshots, without the shared memory of readers and files that are empty."""
    paths = [*(folder / ".shroff").glob("log.db*"), *(folder / ".shroff").rglob("*.snapshot")]
    return {path.name: content for path in paths if path.suffix != ".db-shm" and (content := path.read_bytes())}


@pytest.mark.slow
def test_attackers_are_the_same_by_seed_hide_when_they_adapt_and_leave_the_log_alone(folder: Path) -> None:
    before, project = log_of(folder), app.open_exactly(folder)
    first, again, other, adaptive = (
        project.run(DrillAttacks(kind="card_testing", seed=seed, adaptive=is_adaptive))
        for seed, is_adaptive in ((1, False), (1, False), (2, False), (1, True))
    )

    assert msgspec.json.encode(first) == msgspec.json.encode(again) != msgspec.json.encode(other)
    assert log_of(folder) == before
    (tested,), (hidden,) = first.kinds, adaptive.kinds
    assert tested.attackers_seen == tested.attackers
    assert "card_testing" in tested.seen_by
    assert (hidden.seconds_to_first_alarm, hidden.seen_by, hidden.attackers_seen) == (None, [], 0)
    assert float(hidden.money_lost) > float(tested.money_lost) > 0


@pytest.mark.slow
def test_an_adaptive_attacker_takes_just_what_thresholds_let_pass(tmp_path: Path) -> None:
    folder = shutil.copytree(config.TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    for file in (folder / "rules").iterdir():
        file.unlink()
    rule = "- { id: limit, on: payment, by: card, when: 20 <= this.amount or card.spent_24h > 900, effect: decline }\n"
    (folder / "rules" / "limit.yaml").write_text(rule)
    project = app.open_exactly(folder)
    found = project.run(DrillAttacks(adaptive=True)).kinds

    attacked = AttackedType(project.definitions, "payment")
    seen = attacked.invented(Random(0))
    for kind in found:
        planned = attacked.attack(kind.kind, seen, seen[-1].time_ms - DAY_MS, Random(f"1/{kind.kind}"))
        most = sum(min(attacked.units(payment.event), 1_999) for payment in planned)
        assert (kind.money_lost, kind.attackers_seen) == (show_decimal(most, 2), 0), kind.kind


@pytest.mark.slow
def test_no_threshold_sees_adaptive_attackers_and_the_state_is_restored_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = []
    for module in (snapshots, writer):
        monkeypatch.setattr(module, "restore", lambda *args, of=snapshots.restore: restored.append(1) or of(*args))
    open_, hidden = (app.open_exactly(folder).run(DrillAttacks(adaptive=adaptive)) for adaptive in (False, True))

    assert len(restored) == 2
    assert len([kind for kind in open_.kinds if kind.attackers_seen]) >= 3
    assert [(kind.kind, kind.attackers_seen, kind.seen_by) for kind in hidden.kinds] == [
        (kind, 0, []) for kind in ATTACKS
    ]


@pytest.mark.slow
def test_a_rule_that_is_gone_raises_the_loss_of_its_attack_alone(folder: Path) -> None:
    def drilled() -> AttackDrill:
        return app.open_exactly(folder).run(DrillAttacks(gate=("loss=100000", "seconds=100")))

    rules = folder / "rules" / "cards.yaml"
    text = rules.read_text()
    full = drilled()
    rules.write_text(text[text.index("- id: many_payments") :])
    without = drilled()
    rules.write_text(text)

    pairs = zip(full.kinds, without.kinds, strict=True)
    changed = [kind.kind for kind, lacking in pairs if kind != lacking]
    assert changed == ["card_testing"]
    assert float(without.kinds[0].money_lost) > float(full.kinds[0].money_lost)
    assert [gate.passed for gate in full.gates] == [True, False]
    assert full.exit_status() == 1


@pytest.mark.slow
def test_customers_are_made_up_where_there_is_no_log_and_a_gate_has_a_limit(tmp_path) -> None:
    folder = shutil.copytree(config.TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    project: Project = app.open_exactly(folder)
    (ring,) = project.run(DrillAttacks(kind="ring")).kinds

    assert ring.seen_by == ["many_cards_on_a_device"]
    assert ring.attackers_seen == ring.attackers
    for wrong in ("loss", "loss=much", "cost=1", "loss=inf", "seconds=nan"):
        with pytest.raises(UsageError, match=r"loss=5000"):
            project.run(DrillAttacks(gate=(wrong,)))
    with pytest.raises(UsageError, match="payment"):
        project.run(DrillAttacks(as_type="label"))
