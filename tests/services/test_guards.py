"""Guards: they stop what is proven to harm, once and whatever happens meanwhile, and say so when they cannot know."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.people.store import AuditFilter
from shroff.project.definitions import load_definitions
from shroff.services.documents import Documents
from shroff.services.experiments import guards
from shroff.services.experiments.guards import CheckGuards, GuardState, ShowGuards, UndoGuard, guard_troubles
from shroff.services.rules.files import ChangedMeanwhileError
from tests.support.effort import long
from tests.support.telling import FILES, NOW_MS, Bank, notice, payment, text_of

pytestmark = pytest.mark.slow

OLD = NOW_MS - 90 * DAY_MS
CARDS = 400
BOTH = "stop when false_positive_rate > 10% or loss > 1000"
RULE = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: EFFECT, shadow: true }\n"
POLICY = """payment:
  costs: { false_decline: 15, review: 4 }
  experiment:
    name: stricter
    share: 50%
    by: card
    guard: GUARD
    rules: { large: true }
"""


def bank_of(
    folder: Path, guard: str = BOTH, *, effect: str = "decline", fraud: int = 40, labels: bool = True, old: int = OLD
) -> Bank:
    """Large payments, one of each card: arm B declines them all, though one in `fraud` is a fraud."""
    files = {
        "rules/large.yaml": RULE.replace("EFFECT", effect),
        "policy.yaml": POLICY.replace("GUARD", guard),
        "notices/customer.yaml": None,
    }
    bank = Bank(folder, files)
    bank.pay(*[payment(f"p-{at}", "200.00", card=f"c-{at}", at=old + at) for at in range(CARDS)])
    bank.pay(payment("young", "5.00"))
    for at in range(0, CARDS if labels else 0, fraud):
        known = time_text(min(old + 10 * DAY_MS, NOW_MS))
        bank.project.label(f"payment/p-{at}", "fraud", source="chargeback", known_at=known)
    return bank


def checked(bank: Bank) -> GuardState:
    (found,) = bank.project.run(CheckGuards()).guards
    return found


def acts(bank: Bank) -> list[str]:
    with bank.project.people.open() as desk, desk.store.look() as look:
        rows = look.record(AuditFilter(), before=None, limit=99, is_newest_first=False)
    return [row.action for row in rows if row.action.startswith("guard.")]


def text(bank: Bank, file: str = "policy.yaml") -> str:
    return (bank.project.context.paths.folder / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("guard", "why"),
    [
        ("stop when false_positive_rate > 10%", "false_positive_rate is above 10%: "),
        ("stop when loss > 1000", "loss is above 1000: "),
        (BOTH, "false_positive_rate is above 10%: "),
    ],
)
def test_a_change_that_harms_is_stopped_and_one_command_undoes_it(tmp_path: Path, guard: str, why: str) -> None:
    bank = bank_of(tmp_path, guard, fraud=40 if "rate" in guard else CARDS)
    before = text(bank)
    found = checked(bank)

    assert (found.name, found.guard, found.state) == ("stricter", guard, "stopped")
    assert found.why.startswith(why)
    assert "experiment" not in text(bank)
    assert bank.pay(payment("p-b", "200.00", card="c-1"), payment("p-a", "200.00", card="c-2")) == ["approve"] * 2
    assert [name for name, *_ in guard_troubles(bank.project.context)] == ["guard stricter"]
    assert bank.project.run(CheckGuards()).guards == [found]
    assert acts(bank) == ["guard.stop"]

    (undone,) = bank.project.run(UndoGuard(name="stricter")).guards

    assert (undone.state, text(bank)) == ("off", before)
    assert checked(bank).state == "off"
    assert text(bank) == before
    assert acts(bank) == ["guard.stop", "guard.undo"]
    with pytest.raises(UsageError, match="no guard has stopped"):
        bank.project.run(UndoGuard(name="stricter"))


def test_a_rollout_that_harms_goes_into_shadow_and_comes_back(tmp_path: Path) -> None:
    rule = "- id: large\n  on: payment\n  by: card\n  when: this.amount > 100\n  effect: decline\n"
    bank = bank_of(tmp_path, "stop when loss > 100000")
    more = f"  rollout: 50%\n  guard: {BOTH}\n"
    bank.write({"policy.yaml": "payment: { costs: { false_decline: 15 } }\n", "rules/large.yaml": rule + more})
    old = OLD + DAY_MS
    bank.pay(*[payment(f"q-{at}", "200.00", card=f"d-{at}", at=old + at) for at in range(CARDS)])
    bank.project.label("payment/q-0", "fraud", source="chargeback", known_at=time_text(old + DAY_MS))
    before = text(bank, "rules/large.yaml")
    states = {found.name: found.state for found in bank.project.run(CheckGuards()).guards}

    assert states["large"] == "stopped"
    assert "shadow: true" in text(bank, "rules/large.yaml")
    bank.project.run(UndoGuard(name="large"))
    assert text(bank, "rules/large.yaml") == before


def test_a_change_within_its_limits_goes_on(tmp_path: Path) -> None:
    bank = bank_of(tmp_path, "stop when false_positive_rate > 10% or loss > 1000", effect="note")
    before = text(bank)

    found = checked(bank)

    assert found.state == "watching"
    assert "false_positive_rate: 0 of" in found.why
    assert text(bank) == before
    assert acts(bank) == []


def test_labels_that_come_late_are_waited_for_and_no_labels_are_said(tmp_path: Path) -> None:
    young = bank_of(tmp_path / "young", old=NOW_MS - DAY_MS)
    blind = bank_of(tmp_path / "blind", labels=False)

    waiting = checked(young)
    unknown = checked(blind)

    assert waiting.state == "waiting"
    assert "All events so far are mature from" in waiting.why
    assert unknown.state == "blind"
    assert "no event of either arm has a label" in unknown.why
    assert "experiment" in text(young)
    assert "experiment" in text(blind)
    assert [words for _, words, _ in guard_troubles(blind.project.context)] == [
        f"blind: {unknown.why}",
        "nothing checks it: add a schedule of the kind guards-check",
    ]
    for number in range(0, CARDS, 40):
        known = {"source": "chargeback", "known_at": time_text(OLD + DAY_MS)}
        blind.project.label(f"payment/p-{number}", "fraud", **known)
    assert checked(blind).state == "stopped"


def test_a_stop_and_a_guard_that_cannot_be_computed_are_mailed_once(tmp_path: Path) -> None:
    for name, words in (("stops", "stopped: false_positive_rate is above 10%"), ("blind", "blind: it cannot be")):
        bank = bank_of(tmp_path / name, "stop when false_positive_rate > 10%", labels=name == "stops")
        schedule = {"schedules.yaml": "guards: { kind: guards-check, cron: '*/10 * * * *' }\n"}
        bank.write({**notice("on: failure\nto: [oncall@bank.example]\n", "trouble"), **schedule})
        bank.tell()
        before = len(bank.post.read)
        for _ in range(3):
            bank.project.run(CheckGuards())
            bank.tell(later_ms=60_000)
        mails = [text_of(mail) for mail in bank.post.read[before:]]

        assert len(mails) == 1, mails
        assert f"guard stricter: {words}" in " ".join(mails[0].split())


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("is_after", [False, long(True)])
def test_a_stop_that_is_killed_anywhere_happens_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, *, is_after: bool
) -> None:
    bank = bank_of(tmp_path)
    steps = iter(range(99))

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            dies = next(steps) == step
            if dies and not is_after:
                raise KilledError
            answer = function(*arguments, **more)
            if dies:
                raise KilledError
            return answer

        return run

    with monkeypatch.context() as patched:
        patched.setattr(Documents, "put", dying(Documents.put))
        patched.setattr(guards, "_text", dying(guards._text))
        patched.setattr(guards.config, "write_text", dying(guards.config.write_text))
        patched.setattr(type(bank.project.requests), "put_in_force", dying(type(bank.project.requests).put_in_force))
        with suppress(KilledError):
            bank.project.run(CheckGuards())
    bank.project.context.reload()

    assert checked(bank).state == "stopped"
    assert "experiment" not in text(bank)
    assert acts(bank) == ["guard.stop"]
    assert bank.pay(payment("p-b", "200.00", card="c-1"), payment("p-a", "200.00", card="c-2")) == ["approve"] * 2


def test_an_undo_does_not_overwrite_what_somebody_changed(tmp_path: Path) -> None:
    bank = bank_of(tmp_path)
    assert checked(bank).state == "stopped"
    bank.write({"policy.yaml": "payment: { costs: { review: 5 } }\n"})

    with pytest.raises(ChangedMeanwhileError, match="was changed since the stop"):
        bank.project.run(UndoGuard(name="stricter"))
    assert bank.project.run(ShowGuards()).guards[0].state == "stopped"


@pytest.mark.parametrize(
    "guard", ["stop when loss > 5%", "stop when precision > 2%", "loss > 5", "stop when loss > 5 or"]
)
def test_what_is_no_guard_is_said(guard: str) -> None:
    rule = RULE.replace("EFFECT", "review")
    found = load_definitions({**FILES, "rules/large.yaml": rule, "policy.yaml": POLICY.replace("GUARD", guard)})
    alone = {**FILES, "rules/large.yaml": rule.replace(" }", ", guard: stop when loss > 5 }")}

    assert any("a guard such as" in problem.message for problem in found.problems), found.problems
    assert any("give the rule a 'rollout'" in problem.message for problem in load_definitions(alone).problems)
