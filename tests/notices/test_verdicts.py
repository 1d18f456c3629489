"""Notices on verdicts: which changes of the active verdict are told, each once, whatever is repeated or killed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import DefinitionError
from shroff.events.definitions import SOURCES, VERDICTS
from shroff.events.labels import VerdictInForce
from shroff.language.values import DAY_MS
from shroff.notices.definitions import Notice
from shroff.services.notices.views import FOLLOWED
from shroff.streams import delivering_rows
from tests.support.telling import Bank, notice, payment, text_of

LAKE = "channel: lake\nfolder: {name}\ndocument: {{ id: this.id, amount: this.amount }}\n"
REFUND = "on: verdict\nevent: payment\nverdicts: [fraud]\nsources: [analyst, customer]\n"
NOTICES = notice(REFUND + LAKE.format(name="refund"), "refund") | notice(
    f"{REFUND}ends: true\n{LAKE.format(name='refund_back')}", "refund_back"
)
Label = tuple[str, str]  # verdict and source


def label(bank: Bank, verdict: str, source: str, id: str = "p-1", *, later_ms: int = 1_000) -> None:
    bank.clock_ms += later_ms
    bank.project.label(f"payment/{id}", verdict, source=source)


def follow(bank: Bank, after: int = 0) -> None:
    """Hand over all labels of the log after a sequence number, as a process that begins to deliver there."""
    with bank.project.log.reading() as log:
        for route in bank.project.notices.routes():
            rows = delivering_rows.KINDS[route.take](log, after, log.last_seq())
            with closing(route.opened()) as sink:
                if rows:
                    assert sink.send(rows) == []


def documents(bank: Bank, folder: str) -> list[str]:
    return sorted(path.stem for path in (bank.folder / "lake" / folder).glob("*.json"))


def changes_by_hand(labels: Sequence[Label]) -> list[str]:
    """What to do by a list of labels, by code of its own: refund, or take the refund back."""
    rank = {"import": 0, "customer": 1, "analyst": 2, "chargeback": 3}
    active: Label | None = None
    is_refunded = False
    steps = []
    for verdict, source in labels:
        if active is not None and rank[source] < rank[active[1]]:
            continue
        active = (verdict, source)
        is_owed = verdict == "fraud" and source in {"analyst", "customer"}
        if is_owed != is_refunded:
            steps.append("refund" if is_owed else "refund_back")
            is_refunded = is_owed
    return steps


# ---- which changes are told


@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.sampled_from(SOURCES)), max_size=12))
def test_a_refund_and_its_return_alternate_by_the_active_verdict(labels):
    notices = {
        name: Notice(
            name,
            "verdict",
            verdicts=frozenset({"fraud"}),
            sources=frozenset({"analyst", "customer"}),
            ends=name == "refund_back",
        )
        for name in ("refund", "refund_back")
    }
    active: VerdictInForce | None = None
    steps = []
    for number, (verdict, source) in enumerate(labels):
        new = VerdictInForce(verdict, source, number)
        if new.takes_over(active):
            steps += [name for name, each in notices.items() if each.reports(new, active)]
            active = new

    assert steps == changes_by_hand(labels)


def test_without_a_selection_each_change_of_the_verdict_is_told_and_no_change_of_its_source():
    verdicts = [VerdictInForce(*given, 0) for given in itertools.product(VERDICTS, SOURCES)]
    begins, ends = (Notice("any", "verdict", ends=is_end) for is_end in (False, True))

    for new, before in itertools.product(verdicts, verdicts):
        assert begins.reports(new, before) == ends.reports(new, before) == (new.verdict != before.verdict)
    assert all(begins.reports(new, None) and not ends.reports(new, None) for new in verdicts)


# ---- from a label to a document


def test_a_refund_is_taken_back_when_the_verdict_is_overturned_and_each_change_has_a_document(tmp_path):
    bank = Bank(tmp_path, NOTICES)
    bank.pay(payment("p-1"), payment("p-2"), payment("p-3"))
    labels = [("fraud", "customer"), ("fraud", "analyst"), ("genuine", "analyst"), ("fraud", "analyst")]
    for verdict, source in labels:
        label(bank, verdict, source)
    label(bank, "fraud", "customer", "p-2")
    label(bank, "fraud", "chargeback", "p-2")  # the bank of the card brought the money back
    label(bank, "genuine", "customer", "p-3")
    follow(bank)
    bank.tell()

    assert changes_by_hand(labels) == ["refund", "refund_back", "refund"]
    assert [name.rpartition("-")[0] for name in documents(bank, "refund")] == ["p-1", "p-1", "p-2"]
    assert [name.rpartition("-")[0] for name in documents(bank, "refund_back")] == ["p-1", "p-2"]
    (file,) = (tmp_path / "lake" / "refund_back").glob("p-1-*.json")
    assert json.loads(file.read_bytes()) == {"id": "p-1", "amount": "189.90"}


@pytest.mark.parametrize("cut", range(7))
def test_what_is_delivered_again_after_a_kill_is_told_once(tmp_path, cut):
    bank = Bank(tmp_path, NOTICES)
    bank.pay()
    for verdict, source in [("fraud", "customer"), ("genuine", "analyst"), ("fraud", "analyst")]:
        label(bank, verdict, source)
    follow(bank)
    bank.tell(steps=cut % 4)
    follow(bank, after=cut)  # a new process begins at an older position, and knows the verdicts before it
    bank.tell()

    assert len(documents(bank, "refund")) == 2
    assert len(documents(bank, "refund_back")) == 1
    assert [letter.notice for letter in bank.letters()].count("refund") == 2


def test_a_verdict_is_as_old_as_its_becoming_known_and_the_condition_reads_its_event(tmp_path):
    bank = Bank(tmp_path, notice("on: verdict\nto: team@bank.example\nwhen: this.amount > 50\n", "team"))
    bank.pay(payment("p-1"), payment("p-2", "20.00"), payment("p-3"))
    label(bank, "fraud", "analyst", "p-1", later_ms=40 * DAY_MS)  # of a payment of forty days ago
    label(bank, "fraud", "analyst", "p-2")
    bank.clock_ms += 2 * DAY_MS
    label(bank, "genuine", "analyst", "p-3", later_ms=1)
    follow(bank)
    mails = bank.tell().read
    told = [str(mail["Subject"]) for mail in mails if mail["To"] == "team@bank.example"]

    assert told == ["small: payment/p-3 is genuine"]  # that of p-1 became known two days ago
    (mail,) = [mail for mail in mails if mail["To"] == "team@bank.example"]
    assert "The verdict about payment/p-3 is genuine (from analyst). It was none." in text_of(mail)
    assert "https://answer.bank.example/decisions/payment/p-3" in text_of(mail)


def test_a_webhook_tells_the_old_and_the_new_verdict(tmp_path):
    hook = "on: verdict\nchannel: webhook\nurl: https://bank.example/hook\nsecret: whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n"
    bank = Bank(tmp_path, notice(hook, "hook"))
    bank.pay()
    label(bank, "fraud", "customer")
    label(bank, "genuine", "analyst")
    bodies: list[bytes] = []

    class Hook:
        def send(self, rows):
            bodies.extend(row.body for row in rows)
            return []

        def close(self):
            """Nothing is open."""

    bank.services.hook = lambda _: Hook()
    follow(bank)
    bank.tell()

    names = ("event", "kind", "old_verdict", "old_source", "verdict", "source")
    assert [tuple(json.loads(body)[name] for name in names) for body in bodies] == [
        ("payment/p-1", "verdict", "", "", "fraud", "customer"),
        ("payment/p-1", "verdict", "fraud", "customer", "genuine", "analyst"),
    ]


def test_the_positions_of_notices_on_verdicts_are_among_the_deliveries(tmp_path):
    bank = Bank(tmp_path, NOTICES)
    bank.pay()

    assert {route.take for route in bank.project.notices.routes()} == {FOLLOWED["verdict"]} == {"labels"}
    assert {state.name for state in bank.project.notices.states()} == {"notice refund", "notice refund_back", "notices"}


# ---- wrong forms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("on: decision\nverdicts: [fraud]\nto: a@b.example\n", "write 'on: verdict', or 'on: answer'"),
        ("on: answer\nends: true\nto: a@b.example\n", "'ends' is about a verdict that another one replaces"),
        ("on: verdict\nto: { field: email }\n", "a notice on verdict is for people and systems here"),
        ("on: verdict\nask: true\nto: a@b.example\n", "'ask' needs 'on: flag' or 'on: decision'"),
        ("on: verdict\nverdicts: [frauds]\nto: a@b.example\n", "Did you mean fraud?"),
        ("on: verdicts\nto: a@b.example\n", "Did you mean verdict?"),
    ],
)
def test_a_wrong_form_is_refused_with_the_right_one(tmp_path, text, words):
    with pytest.raises(DefinitionError, match=words.replace("?", r"\?")):
        Bank(tmp_path, notice(text, "wrong")).project.notices.services()


def test_a_rule_cannot_notify_by_a_notice_on_verdicts(tmp_path: Path):
    with pytest.raises(DefinitionError, match="which is on verdicts, not on flags"):
        Bank(tmp_path, notice("on: verdict\nto: a@b.example\n")).project.notices.services()
