"""Notices on verdicts: which changes of the active verdict are told, each once, whatever is repeated or killed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shroff.errors import DefinitionError
from shroff.events.definitions import SOURCES, VERDICTS
from shroff.events.labels import VerdictInForce
from shroff.language.values import DAY_MS
from shroff.log.history import Control, control_at
from shroff.notices import services
from shroff.notices.definitions import Notice
from shroff.services.notices.views import FOLLOWED
from shroff.streams import delivering_rows, sink_threads
from shroff.streams.log import Log
from tests.support.telling import Bank, notice, payment, text_of

LAKE = "channel: lake\nfolder: {name}\ndocument: {{ id: this.id, amount: this.amount }}\n"
REFUND = "on: verdict\nevent: payment\nverdicts: [fraud]\nsources: [analyst, customer]\n"
NOTICES = notice(REFUND + LAKE.format(name="refund"), "refund") | notice(
    f"{REFUND}ends: true\n{LAKE.format(name='refund_back')}", "refund_back"
)


def begun(folder: Path, notices: dict[str, str], *payments: dict[str, object]) -> Bank:
    """A bank with these payments, whose notices begin behind them."""
    bank = Bank(folder, notices)
    bank.pay(*payments)
    begin(bank)
    bank.clock_ms += 40 * DAY_MS  # the payments are forty days old
    return bank


def begin(bank: Bank) -> None:
    with closing(bank.project.log.open(read_only=False)) as log:
        sink_threads.begin(bank.project.notices.routes(), log)


def label(bank: Bank, verdict: str, source: str, id: str = "p-1", *, later_ms: int = 1_000, age_ms: int = 0) -> None:
    bank.clock_ms += later_ms
    known_at = datetime.fromtimestamp((bank.clock_ms - age_ms) / 1_000, UTC)
    bank.project.label(f"payment/{id}", verdict, source=source, known_at=known_at)


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


# ---- which changes are told


def test_without_a_selection_each_change_of_the_verdict_is_told_and_no_change_of_its_source():
    verdicts = [VerdictInForce(*given, 0) for given in itertools.product(VERDICTS, SOURCES)]
    begins, ends = (Notice("any", "verdict", ends=is_end) for is_end in (False, True))

    for new, before in itertools.product(verdicts, verdicts):
        assert begins.reports(new, before) == ends.reports(new, before) == (new.verdict != before.verdict)
    assert all(begins.reports(new, None) and not ends.reports(new, None) for new in verdicts)


# ---- an end is told if its beginning was told

AGES = st.sampled_from((0, 0, 3 * DAY_MS))
STEPS = st.lists(
    st.tuples(st.sampled_from(VERDICTS), st.sampled_from(SOURCES), st.sampled_from(("p-1", "p-2")), AGES),
    min_size=2,
    max_size=10,
)
Step = tuple[str, str, str, int]


def documents_by_hand(steps: Sequence[Step], first: int) -> dict[str, list[str]]:
    """The payments of each document, by code of its own: notices begin with the step `first`."""
    rank = {"import": 0, "customer": 1, "analyst": 2, "chargeback": 3}
    active = dict[str, tuple[int, int]]()
    owed = dict[str, bool]()  # by payment whose refund is owed: whether it was ordered
    found: dict[str, list[str]] = {"refund": [], "refund_back": []}
    for number, (verdict, source, id_, age_ms) in enumerate(steps):
        strength = rank[source], number * 1_000 - age_ms
        if strength < active.get(id_, strength):
            continue
        active[id_] = strength
        if verdict == "fraud" and source in {"analyst", "customer"}:
            if id_ not in owed:
                owed[id_] = number >= first and age_ms <= DAY_MS
                found["refund"] += [id_] * owed[id_]
        elif owed.pop(id_, False):
            found["refund_back"].append(id_)
    return {folder: sorted(ids) for folder, ids in found.items()}


@settings(max_examples=20)
@given(STEPS, st.integers(0, 4), st.integers(0, 12))
@example([("fraud", "customer", "p-1", 0), ("fraud", "chargeback", "p-1", 3 * DAY_MS)], 0, 0)
@example(
    [("fraud", "customer", "p-1", 3 * DAY_MS), ("fraud", "analyst", "p-1", 0), ("genuine", "analyst", "p-1", 0)], 0, 3
)
@example([("fraud", "customer", "p-1", 0), ("genuine", "analyst", "p-1", 0)], 1, 0)
def test_money_is_taken_back_if_and_only_if_it_was_given(tmp_path_factory, steps, first, cut):
    bank = Bank(tmp_path_factory.mktemp("bank"), NOTICES)
    bank.pay(payment("p-1"), payment("p-2"))
    bank.clock_ms += 40 * DAY_MS
    for number, (verdict, source, id_, age_ms) in enumerate(steps):
        if number == first:
            begin(bank)
        label(bank, verdict, source, id_, age_ms=age_ms)
    begin(bank)
    with bank.project.log.reading() as log:
        begins = int(log.offsets.get("sink:notice refund", "began") or 0)
    follow(bank, after=begins)
    bank.tell()
    follow(bank, after=max(begins, begins + cut - 2))  # a new process delivers a part of it again
    bank.tell()

    expected = documents_by_hand(steps, first)
    assert {folder: [name.rpartition("-")[0] for name in documents(bank, folder)] for folder in expected} == expected


def test_a_notice_on_the_end_that_comes_later_takes_back_what_was_given_before(tmp_path):
    bank = begun(tmp_path, {"notices/refund.yaml": NOTICES["notices/refund.yaml"]})
    label(bank, "fraud", "customer")
    bank.write(NOTICES)
    begin(bank)
    label(bank, "genuine", "analyst", age_ms=3 * DAY_MS)
    follow(bank, after=2)
    bank.tell()

    assert len(documents(bank, "refund_back")) == 1


# ---- from a label to a document


def test_a_refund_is_taken_back_when_the_verdict_is_overturned_and_each_change_has_a_document(tmp_path):
    bank = begun(tmp_path, NOTICES, payment("p-1"), payment("p-2"), payment("p-3"))
    labels = [("fraud", "customer"), ("fraud", "analyst"), ("genuine", "analyst"), ("fraud", "analyst")]
    for verdict, source in labels:
        label(bank, verdict, source)
    label(bank, "fraud", "customer", "p-2")
    label(bank, "fraud", "chargeback", "p-2")  # the bank of the card brought the money back
    label(bank, "genuine", "customer", "p-3")
    follow(bank)
    bank.tell()

    assert [name.rpartition("-")[0] for name in documents(bank, "refund")] == ["p-1", "p-1", "p-2"]
    assert [name.rpartition("-")[0] for name in documents(bank, "refund_back")] == ["p-1", "p-2"]
    (file,) = (tmp_path / "lake" / "refund_back").glob("p-1-*.json")
    assert json.loads(file.read_bytes()) == {"id": "p-1", "amount": "189.90"}


@pytest.mark.parametrize("is_owed", [True, False])
def test_a_refund_is_taken_back_by_the_lists_under_which_it_was_given(tmp_path, is_owed):
    name = "notices/refund.yaml"
    texts = NOTICES | {name: f"{NOTICES[name]}when: not (this.card in lists.no_refund)\n"}
    listed, other = f"value\n{payment('p-1')['card']}\n", "value\nother\n"
    bank = begun(tmp_path, texts | {"lists/no_refund.csv": other if is_owed else listed}, payment("p-1"))
    label(bank, "fraud", "customer")
    follow(bank)
    bank.write({"lists/no_refund.csv": listed if is_owed else other})  # the list changes after the refund
    assert bank.project.call("apply").applied
    label(bank, "genuine", "analyst")
    follow(bank, after=2)
    bank.tell()

    assert [len(documents(bank, folder)) for folder in ("refund", "refund_back")] == [is_owed, is_owed]


def test_files_of_an_earlier_version_are_read_once_for_all_labels_of_that_time(tmp_path, monkeypatch):
    read: list[int] = []

    def counted(log: Log, seq: int) -> Control:
        read.append(seq)
        return control_at(log, seq)

    name = "notices/refund.yaml"
    texts = NOTICES | {name: f"{NOTICES[name]}when: not (this.card in lists.no_refund)\n"}
    ids = ["p-1", "p-2", "p-3"]
    bank = begun(tmp_path, texts | {"lists/no_refund.csv": "value\nother\n"}, *map(payment, ids))
    for id_ in ids:
        label(bank, "fraud", "customer", id_)
    bank.write({"lists/no_refund.csv": f"value\n{payment('p-1')['card']}\n"})
    assert bank.project.call("apply").applied
    monkeypatch.setattr(services, "control_at", counted)
    follow(bank)
    bank.tell()

    assert len(documents(bank, "refund")) == 3
    assert len(read) == 1


@pytest.mark.parametrize("cut", range(7))
def test_what_is_delivered_again_after_a_kill_is_told_once(tmp_path, cut):
    bank = begun(tmp_path, NOTICES)
    for verdict, source in [("fraud", "customer"), ("genuine", "analyst"), ("fraud", "analyst")]:
        label(bank, verdict, source)
    follow(bank)
    bank.tell(steps=cut % 4)
    follow(bank, after=cut)  # a new process begins at an older position, and knows the verdicts before it
    bank.tell()

    assert len(documents(bank, "refund")) == 2
    assert len(documents(bank, "refund_back")) == 1
    assert [letter.notice for letter in bank.letters()].count("refund") == 2


def test_a_verdict_is_as_old_as_it_was_when_the_log_took_it_and_the_condition_reads_its_event(tmp_path):
    text = "on: verdict\nto: team@bank.example\nwhen: this.amount > 50\n"
    bank = begun(tmp_path, notice(text, "team"), payment("p-1"), payment("p-2", "20.00"), payment("p-3"))
    label(bank, "fraud", "analyst", "p-1", age_ms=2 * DAY_MS)
    label(bank, "fraud", "analyst", "p-2")
    label(bank, "genuine", "analyst", "p-3")
    bank.clock_ms += 2 * DAY_MS  # nobody was told of anything for two days
    follow(bank)
    mails = bank.tell().read
    told = [str(mail["Subject"]) for mail in mails if mail["To"] == "team@bank.example"]

    assert told == ["small: payment/p-3 is genuine"]
    (mail,) = [mail for mail in mails if mail["To"] == "team@bank.example"]
    assert "The verdict about payment/p-3 is genuine (from analyst). It was none." in text_of(mail)
    assert "https://answer.bank.example/decisions/payment/p-3" in text_of(mail)


def test_a_german_mail_has_german_words_for_verdicts_and_sources(tmp_path):
    text = "on: verdict\nevent: payment\nto: team@bank.example\nlanguage: de\n"
    bank = begun(tmp_path, notice(text, "team"))
    label(bank, "fraud", "customer")
    label(bank, "genuine", "analyst")
    follow(bank)
    mails = [text_of(mail) for mail in bank.tell().read if mail["To"] == "team@bank.example"]
    texts = " ".join(" ".join(mails).split())

    assert "lautet Betrug (Quelle: Kunde). Vorherige Angabe: keine." in texts
    assert "lautet echt (Quelle: Analyst). Vorherige Angabe: Betrug." in texts


def test_a_webhook_tells_the_old_and_the_new_verdict(tmp_path):
    hook = "on: verdict\nchannel: webhook\nurl: https://bank.example/hook\nsecret: whsec_MDEyMzQ1Njc4OWFiY2RlZg==\n"
    bank = begun(tmp_path, notice(hook, "hook"))
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
