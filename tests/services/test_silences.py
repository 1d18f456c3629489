"""A rule that is silent for a key: in force from its place on, for events before its end, in every engine alike."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from shroff.cli.main import run
from shroff.errors import NotAllowedError, TransientError, UsageError
from shroff.language.values import parse_time
from shroff.log import version_switch
from shroff.people.access import RIGHTS, Role, Who
from shroff.project.definitions import load_definitions
from shroff.project.dependency_hash import teller_of
from shroff.project.lists import Entry
from shroff.rules.rule_text import in_words
from shroff.rules.silences import rule_of
from shroff.services import project as app
from shroff.services.approvals.agreements import KEPT, Author, PendingApproval
from shroff.services.project import Project
from shroff.services.silences.silences import PendingSilences
from tests.support.projects import FILES, write_files

NOW_MS = parse_time("2026-03-01T12:00:00Z")
UNTIL = "2026-03-01T13:00:00Z"
SINCE = """
- id: again
  on: payment
  by: card
  when: "count(payment) over 1d including this since flag >= 2"
  effect: challenge
"""
HASHED = {"events.yaml": FILES["events.yaml"].replace("card: text?", "card: text? hashed")}


@pytest.fixture(params=["clear", "hashed"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> app.Project:
    """The small project: `large` hits payments above 100, `again` every second one since its last flag."""
    files = {**FILES, "rules/again.yaml": SINCE, **(HASHED if request.param == "hashed" else {})}
    return project(tmp_path / "small", files)


def project(folder: Path, files: dict[str, str]) -> app.Project:
    write_files(folder, files)
    bank = app.open(folder)
    bank.context.now_ms = lambda: NOW_MS
    return bank


def hits(bank: app.Project, number: int, minute: int, card: str | None = "c1", amount: str = "500.00") -> list[str]:
    """The rules that hit a payment some minutes after noon."""
    at = f"2026-03-01T{12 + minute // 60:02d}:{minute % 60:02d}:00Z"
    fields = {"id": f"p{number}", "at": at, "card": card, "amount": amount}
    (decision,) = bank.decide([{name: value for name, value in fields.items() if value is not None}], as_type="payment")
    return list(decision.rules)


@pytest.mark.slow
def test_a_rule_is_silent_for_one_key_until_the_end_and_nothing_of_the_past_changes(bank):
    assert hits(bank, 1, 1) == ["large"]
    change = bank.silences.add("large", "c1", UNTIL, note="a wedding", by="ann")
    assert change.in_force

    assert hits(bank, 2, 10) == ["again"]
    assert hits(bank, 3, 11, "c2") == ["large"]
    assert hits(bank, 4, 12, None) == ["large"]
    assert hits(bank, 5, 60) == ["large"]
    assert hits(bank, 6, 59) == []
    assert hits(bank, 7, 61) == ["again", "large"]
    found = bank.verify()
    assert (found.mismatches, found.events) == (0, 7)
    assert all(bank.replay(f"payment/p{number}").match for number in range(1, 8))


def test_flags_since_which_a_rule_looks_are_only_of_events_at_which_it_spoke(bank):
    bank.silences.add("again", "c1", "2026-03-01T12:03:00Z")
    found = [hits(bank, number, number, amount="1.00") for number in (1, 2, 3, 4, 5)]

    assert found == [[], [], ["again"], [], ["again"]]
    assert bank.verify().mismatches == 0


def test_an_ended_silence_lets_the_rule_speak_again_at_once(bank):
    bank.silences.add("large", "c1", UNTIL)
    bank.silences.add("large", "c2", UNTIL)
    assert hits(bank, 1, 1) == []
    bank.silences.end("large", "c1")

    assert hits(bank, 2, 2) == ["again", "large"]
    assert hits(bank, 3, 3, "c2") == []
    assert [silence.rule for silence in bank.silences.all()] == ["large"]
    assert bank.verify().mismatches == 0
    with pytest.raises(UsageError, match="not in the list"):
        bank.silences.end("large", "c9")
    with pytest.raises(UsageError, match="silent for no key"):
        bank.silences.end("again", "c1")


def test_a_silence_whose_end_was_taken_out_by_hand_holds_for_good(bank):
    bank.silences.add("large", "c1", UNTIL)
    path = bank.context.paths.folder / "lists" / "silence.large.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(UNTIL, ""), encoding="utf-8")
    bank.context.reload()

    (found,) = bank.silences.all()
    assert (found.until, found.until_ms, found.holds(2**50)) == ("", None, True)


def test_a_silence_holds_until_its_end(bank):
    bank.silences.add("large", "c1", UNTIL)

    (found,) = bank.silences.all()
    end_ms = found.until_ms
    assert end_ms is not None
    assert (found.holds(end_ms - 1), found.holds(end_ms)) == (True, False)


def test_a_backtest_of_a_draft_is_silent_as_well(bank, tmp_path):
    bank.silences.add("large", "c1", UNTIL)
    for number, card in ((1, "c1"), (2, "c2"), (3, "c1")):
        hits(bank, number, number, card, "80.00")
    draft = tmp_path / "drafts"
    draft.mkdir()
    (draft / "large.yaml").write_text(FILES["rules/large.yaml"].replace("> 100", "> 50"), encoding="utf-8")

    (changed,) = [rule for rule in bank.backtest(rules=draft).rules if rule.id == "large"]
    assert (changed.old.hits, changed.hits) == (0, 1)


def test_a_first_silence_that_cannot_be_recorded_makes_no_list(bank):
    def away(_: object) -> NoReturn:
        raise TransientError("the record is away")

    for number in (1, 2):
        with pytest.raises(TransientError):
            bank.silences.write("large", f"c{number}", UNTIL, note="", by="ann", before=away)

    assert list((bank.context.paths.folder / "lists").glob("*")) == []
    assert bank.silences.all() == []


@pytest.mark.parametrize("rule", ["large", "again"])
def test_the_first_silence_of_a_rule_folds_nothing(bank, rule, monkeypatch):
    """Not even of one that looks since its own flags, nor of one whose condition counts."""
    for number in (1, 2, 3):
        hits(bank, number, number)

    def folds(*_: object) -> NoReturn:
        raise AssertionError("the log is folded")

    with bank.log.writing() as (writer, log):
        bank.silences.write(rule, "c1", UNTIL, note="", by="ann", before=lambda _: None)
        monkeypatch.setattr(version_switch, "fold", folds)
        with closing(bank.inboxes.brief(writer, log)) as inbox:
            number = log.inbox.ask("adopt", b"null", NOW_MS)
            assert inbox.replied(number)
        assert rule in {rule_of(name) for name in writer.definitions.reference.lists}

    assert hits(bank, 4, 4) == [text for text in ("again", "large") if text != rule]
    assert bank.verify().mismatches == 0


def test_a_trial_of_a_rule_is_silent_where_the_rule_is(tmp_path):
    trial = FILES["rules/large.yaml"].replace("id: large", "id: large_try1").replace("> 100", "> 50")
    bank = project(tmp_path / "small", {**FILES, "rules/trial.yaml": trial})
    assert hits(bank, 1, 1, amount="80.00") == ["large_try1"]
    bank.silences.add("large", "c1", UNTIL)

    assert hits(bank, 2, 2, amount="80.00") == []
    assert hits(bank, 3, 3, "c2", "80.00") == ["large_try1"]
    assert bank.verify().mismatches == 0


def test_the_rules_own_tests_hold_whatever_is_silenced(tmp_path):
    tested = FILES["rules/large.yaml"] + (
        "  tests:\n    - name: large\n      events:\n"
        "        - payment: { card: c1, at: 2026-03-01T12:00:00Z, amount: 500 }\n      hits: [true]\n"
    )
    bank = project(tmp_path / "small", {**FILES, "rules/large.yaml": tested})
    bank.silences.add("large", "c1", UNTIL)

    assert bank.check().is_ok


@pytest.mark.parametrize(
    ("rule", "key", "until", "words"),
    [
        ("larg", "c1", UNTIL, "Did you mean large"),
        ("large", "", UNTIL, "1 to 1,000 characters"),
        ("large", "c\n1", UNTIL, "on one line"),
        ("large", "c1", "2026-03-01T12:00:00Z", "within the next 366 days"),
        ("large", "c1", "2027-03-03T12:00:00Z", "within the next 366 days"),
        ("large", "c1", "soon", "until: "),
    ],
)
def test_what_cannot_be_silenced_is_refused_and_writes_nothing(bank, rule, key, until, words):
    with pytest.raises(UsageError, match=words):
        bank.silences.add(rule, key, until)
    assert not (bank.context.paths.folder / "lists").exists()


def test_a_key_of_several_parts_cannot_be_silenced(tmp_path):
    events = FILES["events.yaml"].replace("card: { payment: card }", "card: { payment: [card, id] }")
    bank = project(tmp_path / "small", {**FILES, "events.yaml": events})

    with pytest.raises(UsageError, match="is not one text"):
        bank.silences.add("large", "c1", UNTIL)


def approving(bank: Project, author: Author) -> PendingSilences:
    """The requests, as this person has them."""
    return bank.acting_as(Who("user", author.id, author.name, Role.ADMIN, RIGHTS[Role.ADMIN])).silence_requests


def test_who_asked_for_a_silence_before_somebody_else_did_has_a_hand_in_it_and_cannot_approve(tmp_path):
    bank, (ann, ben, cem) = (
        project(tmp_path / "small", FILES),
        [Author(f"user-{text}", text) for text in ("a", "b", "c")],
    )
    bank.silence_requests.ask("large", "c2", UNTIL, "another card", [ann], lambda: None)
    for author in (ann, ben):
        wish = bank.silence_requests.ask("large", "c1", UNTIL, f"says {author.name}", [author], lambda: None)
    for author in (ann, ben):
        with pytest.raises(NotAllowedError):
            approving(bank, author).approve("large", "c1", wish.tag, lambda: None)
    assert [(request.change["key"], request.change["note"]) for request in bank.silence_requests.all()] == [
        ("c1", "says b"),
        ("c2", "another card"),
    ]
    approving(bank, cem).approve("large", "c1", wish.tag, lambda: None)

    assert [(silence.key, silence.by) for silence in bank.silences.all()] == [("c1", "b")]
    assert [request.change["key"] for request in bank.silence_requests.all()] == ["c2"]


def test_silences_that_wait_are_told_with_all_changes_and_push_none_of_them_out(tmp_path):
    bank, ann = project(tmp_path / "small", FILES), Author("user-a", "a")
    back = PendingApproval("rule large", {"seq": 1}, "roll back", [ann], bank.context.now_ms())
    bank.agreements.put(back, None)
    for number in range(KEPT + 1):
        bank.silence_requests.ask("large", f"c{number}", UNTIL, "a wedding", [ann], lambda: None)

    assert bank.agreements.asked("rule large") == [back]
    told = [waiting.document for waiting in bank.agreements.all()][1]
    assert (told["subject"], told["says"], told["by"]) == ("card c0", f"silence large until {UNTIL}", "a")


def test_a_silence_that_is_taken_back_while_somebody_approves_it_does_not_begin(tmp_path, monkeypatch):
    bank, (ann, ben) = project(tmp_path / "small", FILES), [Author(f"user-{text}", text) for text in ("a", "b")]
    wish = bank.silence_requests.ask("large", "c1", UNTIL, "a wedding", [ann], lambda: None)
    write = bank.silences.write

    def meanwhile(_: object, *words: str, **more: object) -> None:
        bank.silence_requests.drop("large", "c1", lambda: None)
        write(*words, **more)

    monkeypatch.setattr(type(bank.silences), "write", meanwhile)
    with pytest.raises(UsageError, match="no request any more to silence rule"):
        approving(bank, ben).approve("large", "c1", wish.tag, lambda: pytest.fail("it was recorded"))

    assert bank.silences.all() == bank.silence_requests.all() == []


def test_a_rule_read_back_leaves_out_for_whom_it_is_silent(bank):
    def read_back() -> str:
        rule = next(definition for definition in bank.definitions.rules if definition.id == "large")
        return in_words(rule, teller_of(bank.definitions))

    before = read_back()
    bank.silences.add("large", "c1", UNTIL)

    assert read_back() == before
    assert "100" in before


def test_a_list_that_silences_no_rule_is_told():
    loaded = load_definitions({**FILES, "lists/silence.larg.csv": "value,expires_at\nc1,\n"})

    assert ["silences a rule that does not exist" in warning.message for warning in loaded.warnings] == [True]
    assert loaded.or_raise().rules[0].when == load_definitions(FILES).or_raise().rules[0].when


def test_the_command_silences_shows_and_ends(tmp_path, capsys):
    files = {**FILES, "rules/again.yaml": SINCE}
    bank = project(tmp_path / "small", files)
    later = app.open(bank.context.paths.folder).context.now_ms() + 3_600_000
    until = bank_time(later)

    def asked(*words: str) -> dict[str, object]:
        assert run(["-C", str(bank.context.paths.folder), "silences", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert asked("add", "large", "c1", "--until", until, "--note", "a wedding")["list"] == "silence.large"
    (silence,) = asked()["silences"]
    assert (silence["rule"], silence["entity"], silence["key"], silence["note"]) == ("large", "card", "c1", "a wedding")
    assert asked("end", "large", "c1")["what"] == "removed"
    assert asked()["silences"] == []


def test_a_command_silences_nothing_where_a_second_person_approves_that(tmp_path, capsys):
    bank = project(tmp_path / "small", {**FILES, "rules/again.yaml": SINCE})
    until = bank_time(app.open(bank.context.paths.folder).context.now_ms() + 3_600_000)

    def code(*words: str) -> int:
        return run(["-C", str(bank.context.paths.folder), *words])

    assert code("silences", "add", "large", "c1", "--until", until) == 0
    settings = FILES["shroff.yaml"] + "second_person: [silences]\n"
    (bank.context.paths.folder / "shroff.yaml").write_text(settings, encoding="utf-8")
    lists = bank.context.paths.folder / "lists"
    before = {path.name: path.read_bytes() for path in lists.iterdir()}
    capsys.readouterr()

    assert code("silences", "add", "again", "c2", "--until", until) == 2
    assert code("lists", "add", "silence.large", "c2", "--expires", until) == 2
    told = capsys.readouterr().err
    assert told.count("a second person approves silences here") == 2
    assert "POST /api/v1/cases/{id}/silence" in told
    assert {path.name: path.read_bytes() for path in lists.iterdir()} == before
    assert code("silences", "end", "large", "c1") == 0


def test_a_second_person_for_rules_leaves_silences_to_one(tmp_path):
    bank = project(tmp_path / "small", {**FILES, "shroff.yaml": FILES["shroff.yaml"] + "second_person: [rules]\n"})

    assert bank.silences.add("large", "c1", UNTIL).what == "added"


def test_no_command_makes_a_silence_without_an_end(bank):
    bank.silences.add("large", "c1", UNTIL)

    with pytest.raises(UsageError, match="a silence needs an end"):
        bank.lists.add("silence.large", Entry("c2"))
    assert len(bank.silences.all()) == 1


def bank_time(at_ms: int) -> str:
    from shroff.events.event import time_text

    return time_text(at_ms)
