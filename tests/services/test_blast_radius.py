"""The blast radius of a changed rule is the difference of two projects that decide the same events.

The second project decides anew, so it is the naive count: nothing of columns, cached days or recorded outcomes.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.examples.bank import bank
from shroff.services import project as app
from shroff.services.drafts.blast_radius import BlastRadius, ShowBlastRadius, TouchedEvents
from tests.support.effort import one_in

pytestmark = pytest.mark.slow

OTHERS = """- id: trusted
  on: payment
  by: merchant
  when: this.amount > 20 and this.amount < 30
  effect: allow
- id: stolen
  on: payment
  by: card
  when: this.amount > 120
  effect: decline
- id: large
  on: payment
  by: card
  when: this.amount > 70
  effect: review
"""
ACTIVE = "this.amount > 25 and this.channel == 'web'"
EVENTS = 300
PAYMENTS = [payment.event for payment in bank(EVENTS, seed=4)]
OLD = {"payment_id": "old", "paid_at": "2025-11-01T10:00:00Z", "amount": "9999.00"}


def rule(when: str, effect: str = "review", more: str = "") -> str:
    return f"- id: tried\n  on: payment\n  by: card\n  when: {when}\n  effect: {effect}\n{more}"


TABLE = """- id: tried
  on: payment
  by: card
  table: |
    this.amount | effect
    > 90 | decline
    > 15 | challenge
"""
CHANGES = {
    "wider": rule("this.amount > 15 and this.channel == 'web'"),
    "narrower": rule("this.amount > 45 and this.channel == 'web'"),
    "beside": rule("card.payments_1h >= 1 or this.country != card.last_country", "challenge"),
    "stronger": rule(ACTIVE, "decline"),
    "weaker": rule(ACTIVE, "challenge"),
    "allows": rule(ACTIVE, "allow"),
    "notes": rule(ACTIVE, "note"),
    "shadow": rule(ACTIVE, more="  shadow: true\n"),
    "half": rule(ACTIVE, more="  rollout: 50%\n"),
    "counted": rule("count(payment) over 7d >= 1"),
    "expired": rule(ACTIVE, more="  expires: 2026-01-02\n"),
    "table": TABLE,
    "same": rule(ACTIVE),
}


def made(folder: Path, rule_text: str, key: Path | None = None, *, has_score: bool = False) -> app.Project:
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    for path in (folder / "rules").glob("*.yaml"):
        path.unlink()
    (folder / "rules" / "others.yaml").write_text(OTHERS, encoding="utf-8")
    if rule_text:
        (folder / "rules" / "tried.yaml").write_text(rule_text, encoding="utf-8")
    policy = folder / "policy.yaml"
    lines = [line for line in policy.read_text(encoding="utf-8").splitlines() if not line.startswith("  sample:")]
    text = "\n".join(lines) + "\n"
    if has_score:
        text = text.replace("without_model: rules", "without_model: review\n  score: { review_at: 0.6 }")
    policy.write_text(text, encoding="utf-8")
    if key is not None:  # cards are drawn by their hashes
        (folder / ".shroff").mkdir()
        shutil.copy(key, folder / ".shroff" / "hash.key")
    project = app.open_exactly(folder)
    project.decide([{**PAYMENTS[0], **OLD}, *PAYMENTS])
    return project


@pytest.fixture(scope="module", params=["active", "new", "without its model"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> app.Project:
    has_score = request.param == "without its model"
    text = "" if request.param == "new" else rule(ACTIVE)
    project = made(tmp_path_factory.mktemp("radius") / "bank", text, has_score=has_score)
    for number, event in enumerate(PAYMENTS[::3]):
        verdict = "fraud" if number % 3 == 0 else "genuine"
        project.label(f"payment/{event['payment_id']}", verdict, source="analyst", known_at=event["paid_at"])
    return project


def decided(project: app.Project) -> dict[str, tuple[bool, str]]:
    """Whether the rule hit each event, and its outcome."""
    return {
        row["id"]: (
            any(name.partition(".")[0] == "tried" for name in (*row["rules"], *row["shadow_rules"])),
            row["outcome"],
        )
        for row in project.decisions().to_pylist()
        if row["id"] != "old"
    }


def figures(ids: Sequence[str], labels: Mapping[str, str]) -> dict[str, Any]:
    events = {event["payment_id"]: event for event in PAYMENTS}
    counts = Counter(labels.get(id_, "none") for id_ in ids)
    return {
        "events": len(ids),
        "money": str(sum((Decimal(events[id_]["amount"]) for id_ in ids), Decimal("0.00"))),
        "entities": len({events[id_]["card"] for id_ in ids}),
        "labels": {label: counts[label] for label in ("fraud", "genuine", "unclear", "none")},
    }


def of(touched: TouchedEvents) -> dict[str, Any]:
    return {name: getattr(touched, name) for name in ("events", "money", "entities", "labels")}


@pytest.mark.parametrize("name", one_in(4, CHANGES))
def test_the_radius_is_the_difference_of_two_projects_that_decide(
    project: app.Project, tmp_path: Path, name: str
) -> None:
    text = CHANGES[name]
    has_score = project.definitions.policy("payment").has_score
    other = made(tmp_path / "bank", text, project.context.paths.folder / ".shroff" / "hash.key", has_score=has_score)
    before, after = decided(project), decided(other)
    labels = {
        event["payment_id"]: "fraud" if number % 3 == 0 else "genuine" for number, event in enumerate(PAYMENTS[::3])
    }
    changed = [id_ for id_ in before if before[id_][1] != after[id_][1]]
    newly = [id_ for id_ in before if after[id_][0] and not before[id_][0]]
    gone = [id_ for id_ in before if before[id_][0] and not after[id_][0]]

    found: BlastRadius = project.run(ShowBlastRadius(rule="tried", source=text))

    assert found.events == EVENTS
    touched = {of.way: of for of in found.touched}
    ways = {"newly hit": newly, "no longer hit": gone, "other outcome": changed}
    for id_ in changed:
        ways.setdefault(f"{before[id_][1]} to {after[id_][1]}", []).append(id_)
    assert touched.keys() == ways.keys()
    for way, ids in ways.items():
        assert of(touched[way]) == figures(ids, labels)
        assert [example.id for example in touched[way].examples] == ids[::-1][:10]
        for example in touched[way].examples:
            assert (example.before, example.after) == (before[example.id][1], after[example.id][1])
            assert example.label == labels.get(example.id, "none")


def test_what_cannot_be_compared_says_why(project: app.Project) -> None:
    with pytest.raises(UsageError, match="nobody has a draft"):
        project.run(ShowBlastRadius(rule="tried"))
    for text, why in (("this.amuont > 1", "errors"), ("count(payment) over 1d since flag > 3", "backtest")):
        with pytest.raises(UsageError, match=why):
            project.run(ShowBlastRadius(rule="tried", source=rule(text)))
