"""Lists changed by `shroff lists`: line by line, whole or not at all, hashed where they must be, and in force."""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import closing
from pathlib import Path
from threading import Thread

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff import config
from shroff.cli.main import run
from shroff.engine.step import Engine
from shroff.errors import DefinitionError, Problem, StorageError, UsageError
from shroff.features.naive import Naive
from shroff.log.history import Control, changed_by, control_at
from shroff.project.lists import ADDED, CHANGED, REMOVED, SAME, Entry, edited, entries
from shroff.project.parse_cache import ReadOnce
from shroff.project.reference import load_list
from shroff.rules.definitions import RuleLoader
from shroff.services import project as app
from shroff.services.project_log import ProjectLog
from shroff.streams.log import Log, Record
from tests.support.projects import FILES, write_files

HEADER = "value,note,added_by,expires_at\n"
EVENTS = FILES["events.yaml"].replace("card: text?", "card: text? hashed")
RULE = "- { id: listed, on: payment, by: card, effect: decline, when: this.card in lists.blocked }\n"
NUMBER = "4111111111111111"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small project with a list of cards."""
    return write_files(
        tmp_path / "small", {**FILES, "rules/listed.yaml": RULE, "lists/blocked.csv": HEADER + "c1,,ann,\n"}
    )


def ingested(folder: Path, number: int, card: str) -> str:
    """The outcome of a payment of this card."""
    fields = {"id": f"p{number}", "at": f"2026-03-01T12:00:{number:02d}Z", "card": card, "amount": "1.00"}
    (decision,) = app.open(folder).decide([fields], as_type="payment")
    return decision.outcome


def asked(capsys, folder: Path, *words: str) -> tuple[int, dict[str, object]]:
    code = run(["-C", str(folder), "lists", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def warned(capsys) -> list[str]:
    """What `check` warned of, apart from the missing notice to analysts, which the small project does without."""
    found = [warning["message"] for warning in json.loads(capsys.readouterr().out)["warnings"]]
    return [item for item in found if "notices/analysts.yaml is missing" not in item]


# ---- the text


@pytest.mark.parametrize(
    "text, entry, after, what",
    [
        (HEADER, Entry("a"), HEADER + "a,,,\n", ADDED),
        (
            HEADER + "a,x,,",
            Entry("b", "n", "me", "2027-01-01T00:00:00Z"),
            "a,x,,\nb,n,me,2027-01-01T00:00:00Z\n",
            ADDED,
        ),
        ("value\r\na\r\n", Entry("b,c"), 'value\r\na\r\n"b,c"\r\n', ADDED),
        ("\ufeffvalue\na\n", Entry("b"), "\ufeffvalue\na\nb\n", ADDED),
        ("note,value\nn,a\n\nx,b\n", Entry("a", "m"), "note,value\nm,a\n\nx,b\n", CHANGED),
        ('value,note\na,"two\nlines"\nb,\na,old\n', Entry("a", "new"), "value,note\na,new\nb,\n", CHANGED),
        ("value\na\n", Entry("a"), "value\na\n", SAME),
        ("value\na\u2028b\n", Entry("c"), "value\na\u2028b\nc\n", ADDED),
        ("value\ra\r", Entry("b"), "value\ra\rb\r", ADDED),
        ("value\ra", Entry("b"), "value\ra\rb\r", ADDED),
    ],
)
def test_an_entry_is_put_in_and_every_other_line_stays(text, entry, after, what):
    found = edited(text, [entry], [], str)

    assert (found.text.removeprefix(HEADER), found.what) == (after.removeprefix(HEADER), what)
    assert entry in entries(found.text)


def test_a_value_leaves_with_all_its_lines():
    text = 'value,note\n\na,"two\nlines"\nb,\na,\n'

    gone, same = edited(text, [], ["a"], str), edited(text, [], ["c"], str)

    assert (gone.text, gone.what) == ("value,note\n\nb,\n", REMOVED)
    assert (same.text, same.what) == (text, SAME)


@pytest.mark.parametrize("ending", ["\r", "\r\n"])
def test_a_value_of_two_lines_is_the_same_to_the_command_as_to_a_rule(folder, capsys, ending):
    (folder / "lists" / "blocked.csv").write_bytes(f'value,note{ending}"a{ending}b",x{ending}'.encode())

    assert ingested(folder, 1, "a\nb") == "decline"
    assert asked(capsys, folder, "show", "blocked")[1]["entries"][0]["value"] == "a\nb"
    assert asked(capsys, folder, "remove", "blocked", "a\nb")[1]["in_force"] is True
    assert ingested(folder, 2, "a\nb") == "approve"
    assert (folder / "lists" / "blocked.csv").read_bytes() == f"value,note{ending}".encode()


def test_a_list_of_an_old_mac_can_be_changed(folder, capsys):
    (folder / "lists" / "blocked.csv").write_bytes(b"value\rc1\r")

    assert asked(capsys, folder, "add", "blocked", "c2")[1]["entries"] == 2
    assert (folder / "lists" / "blocked.csv").read_bytes() == b"value\rc1\rc2\r"
    assert [ingested(folder, number, f"c{number}") for number in (1, 2, 3)] == ["decline", "decline", "approve"]


def test_a_value_that_no_file_can_hold_is_refused(folder):
    with pytest.raises(UsageError, match="must be one line"):
        app.open(folder).lists.add("blocked", Entry("a\rb"))


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="lacks the column note, expires_at"):
        edited("value,added_by\n", [Entry("a", "why", "ann", "2027-01-01T00:00:00Z")], [], str)


# ---- the command


def test_an_entry_decides_from_the_next_event_on(folder, capsys):
    assert ingested(folder, 1, "c2") == "approve"
    code, found = asked(capsys, folder, "add", "blocked", "c2", "--note", "seen", "--by", "bob")

    assert (code, found["what"], found["entries"], found["in_force"]) == (0, "added", 2, True)
    assert (folder / "lists" / "blocked.csv").read_text() == HEADER + "c1,,ann,\nc2,seen,bob,\n"
    assert ingested(folder, 2, "c2") == "decline"
    assert asked(capsys, folder, "remove", "blocked", "c2")[1]["what"] == "removed"
    assert ingested(folder, 3, "c2") == "approve"
    with app.open(folder).log.reading() as log:
        assert [control.seq for control in log.controls()] == [1, 3, 5]
    assert app.open(folder).verify().mismatches == 0


def test_the_answer_names_what_else_came_into_force_with_it(folder, capsys):
    ingested(folder, 1, "c1")
    with app.open(folder).log.writing() as (writer, log), closing(app.open(folder).inboxes.brief(writer, log)) as inbox:
        (folder / "rules" / "listed.yaml").write_text(RULE.replace("decline", "review"), encoding="utf-8")
        (folder / "features.yaml").unlink()
        (folder / "rules" / "large.yaml").unlink()
        with inbox.attended():
            code, answer = asked(capsys, folder, "add", "blocked", "c2")

    assert (code, answer["in_force"]) == (0, True)
    assert answer["others"] == ["features.yaml", "rules/large.yaml", "rules/listed.yaml"]
    assert ingested(folder, 2, "c2") == "review"
    assert asked(capsys, folder, "add", "blocked", "c3")[1]["others"] == []
    (folder / "rules" / "listed.yaml").write_text(RULE, encoding="utf-8")
    assert run(["-C", str(folder), "lists", "remove", "blocked", "c3"]) == 0
    assert "Earlier changes were activated with it: rules/listed.yaml." in capsys.readouterr().out


def test_who_runs_the_command_adds_an_entry_where_nobody_else_is_named_and_the_list_has_a_column_for_it(folder, capsys):
    me = app.open(folder).context.who.name
    (folder / "lists" / "bare.csv").write_text("value\n", encoding="utf-8")
    asked(capsys, folder, "add", "blocked", "c2")
    code, _ = asked(capsys, folder, "add", "bare", "c2")

    assert (folder / "lists" / "blocked.csv").read_text() == HEADER + f"c1,,ann,\nc2,,{me},\n"
    assert (code, (folder / "lists" / "bare.csv").read_text()) == (0, "value\nc2\n")


def test_an_entry_that_is_over_already_is_written_and_said_to_be(folder, capsys):
    ingested(folder, 1, "c1")
    words = ["-C", str(folder), "lists", "add", "blocked", "c2", "--by", "ann", "--expires", "2020-01-01T00:00:00Z"]
    assert run(words) == 0
    said = capsys.readouterr().out

    assert "It has expired already: it applies to events before 2020-01-01T00:00:00Z." in said
    assert "active from the next event" not in said
    assert (folder / "lists" / "blocked.csv").read_text() == HEADER + "c1,,ann,\nc2,,ann,2020-01-01T00:00:00Z\n"


def test_an_entry_that_is_there_changes_nothing_and_is_no_version(folder, capsys):
    ingested(folder, 1, "c2")

    assert asked(capsys, folder, "add", "blocked", "c1", "--by", "ann")[1]["what"] == "same"
    with app.open(folder).log.reading() as log:
        assert len(log.controls()) == 1


def test_without_a_log_the_file_waits_for_the_first_events(folder, capsys):
    code, found = asked(capsys, folder, "add", "blocked", "c2")

    assert (code, found["in_force"]) == (0, False)
    assert "no log yet" in str(found["why_not"])
    assert not app.open(folder).context.paths.log.exists()


def test_lists_are_shown_with_what_reads_them(folder, capsys):
    (folder / "features.yaml").write_text("card:\n  met: count(payment where payment.card in lists.blocked) over 1h\n")
    (folder / "lists" / "spare.csv").write_text("value\n")

    assert asked(capsys, folder)[1] == {
        "lists": [
            {"name": "blocked", "entries": 1, "read_by": ["card.met", "rule listed"]},
            {"name": "spare", "entries": 0, "read_by": []},
        ]
    }
    (entry,) = asked(capsys, folder, "show", "blocked")[1]["entries"]
    assert entry == {"value": "c1", "note": "", "added_by": "ann", "expires_at": ""}
    assert run(["-C", str(folder), "lists"]) == 0
    shown = capsys.readouterr().out
    assert "blocked        1  card.met, rule listed" in shown
    assert "spare          0  nothing" in shown


def test_blanks_around_a_value_are_left_out(folder, capsys):
    _, found = asked(capsys, folder, "add", "blocked", " c2 ", "--by", "ann")

    assert found["value"] == "c2"
    assert ingested(folder, 1, "c2") == "decline"


def test_blanks_around_a_value_in_a_file_are_named_with_their_line(folder, capsys):
    (folder / "lists" / "blocked.csv").write_text(f'{HEADER}c1,,ann,\n"c2\n",,,\n c3,pasted,,\n', encoding="utf-8")
    assert run(["-C", str(folder), "check", "--json"]) == 0

    warnings = json.loads(capsys.readouterr().out)["warnings"]
    (found,) = [warning for warning in warnings if warning["file"] == "lists/blocked.csv"]
    words = r"'c2\n' has blanks around it and is another value than 'c2', and 1 other value of this list, too."
    assert (found["line"], found["message"]) == (3, words)


def test_a_rule_with_a_list_that_is_not_there_says_how_that_begins(folder):
    (folder / "lists" / "blocked.csv").unlink()
    with pytest.raises(DefinitionError) as error:
        app.open(folder).lists.all()
    header = re.findall(r"Make that file with the line ([a-z,_]+)\.", str(error.value))

    (folder / "lists" / "blocked.csv").write_text(f"{header[0]}\n")
    assert app.open(folder).lists.all()[0].entries == 0


def test_a_list_that_is_not_there_and_a_value_that_is_not_in_it_are_said(folder, capsys):
    for words, detail in (
        (["add", "blokked", "c1"], "there is no list 'blokked'. Did you mean blocked?"),
        (["show", "x"], "Make lists/NAME.csv with the line value,note,added_by,expires_at"),
        (["remove", "blocked", "c9"], "'c9' is not in the list blocked"),
        (["add", "blocked", ""], "needs a value"),
    ):
        code, found = asked(capsys, folder, *words)
        assert code == 2
        assert detail in str(found["detail"])


def test_a_change_that_would_be_a_mistake_is_not_written(folder):
    before = (folder / "lists" / "blocked.csv").read_bytes()
    with pytest.raises(DefinitionError, match=r"lists/blocked.csv:3:1: expires_at"):
        app.open(folder).lists.add("blocked", Entry("c2", expires_at="tomorrow"))

    assert (folder / "lists" / "blocked.csv").read_bytes() == before


def test_a_value_that_a_hashed_field_is_compared_with_is_written_hashed(folder, capsys):
    (folder / "events.yaml").write_text(EVENTS)
    (folder / "lists" / "blocked.csv").write_text(f"{HEADER}{NUMBER},by hand,ann,\n")
    other = NUMBER.replace("4", "5")

    assert ingested(folder, 1, other) == "approve"
    value = str(asked(capsys, folder, "add", "blocked", other)[1]["value"])
    assert value.startswith("hashed:")
    assert other not in (folder / "lists" / "blocked.csv").read_text()
    assert ingested(folder, 2, other) == "decline"
    assert asked(capsys, folder, "add", "blocked", NUMBER)[1]["what"] == "changed"
    assert NUMBER not in (folder / "lists" / "blocked.csv").read_text()
    assert asked(capsys, folder, "remove", "blocked", NUMBER)[1]["entries"] == 1
    assert asked(capsys, folder, "remove", "blocked", value)[1]["entries"] == 0


def test_ten_at_once_lose_none(folder):
    def add(number: int) -> None:
        app.open(folder).lists.add("blocked", Entry(f"n{number}"))

    threads = [Thread(target=add, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {entry.value for entry in app.open(folder).lists.entries("blocked")} == {"c1", *(f"n{n}" for n in range(10))}


def test_of_a_template_only_the_line_that_a_test_needs_cannot_be_removed_and_it_says_so(tmp_path):
    project, _ = app.make_project(tmp_path / "bank", "payments")
    for entry in project.lists.entries("blocked_cards"):
        try:
            project.lists.remove("blocked_cards", entry.value)
        except DefinitionError as error:
            assert "test 'on the list and not' of rule blocked_card fails" in str(error)  # noqa: PT017 - of some
            assert "the test in rules/lists.yaml pays with it; leave it here" in entry.note
    project.lists.add("blocked_cards", Entry("c-17"))

    assert project.lists.remove("blocked_cards", "c-17").what == REMOVED


# ---- written, and not in force


def test_a_change_whose_project_does_not_fit_the_log_is_written_and_says_what_it_waits_for(folder, capsys):
    ingested(folder, 1, "c2")
    (folder / "events.yaml").write_text(EVENTS)
    code, found = asked(capsys, folder, "add", "blocked", "c2")

    assert (code, found["what"], found["in_force"]) == (0, "added", False)
    assert "cannot become active: events.yaml" in str(found["why_not"])
    assert "it is hashed now" in str(found["why_not"])
    assert len(app.open(folder).lists.entries("blocked")) == 2


def test_a_change_that_the_log_cannot_take_is_written_and_says_why(folder, monkeypatch, capsys):
    opened = ProjectLog.open

    def fail(project: app.Project, *, read_only: bool) -> Log:
        if read_only:
            return opened(project, read_only=True)
        raise StorageError("log.db: there is no room. Make room and start again.")

    ingested(folder, 1, "c2")
    monkeypatch.setattr(ProjectLog, "open", fail)
    assert run(["-C", str(folder), "lists", "add", "blocked", "c2"]) == 0

    said = capsys.readouterr().out
    assert "c2 added to blocked" in said
    assert "It is not active yet: log.db: there is no room. Make room and start again.\n" in said
    assert [entry.value for entry in app.open(folder).lists.entries("blocked")] == ["c1", "c2"]


def test_a_row_of_a_list_compiles_no_rule_and_runs_no_test(folder, monkeypatch):
    tested = RULE.replace(
        " }\n", ", tests: [{ name: one, events: [{ payment: { card: c1, amount: 1 } }], hits: [true] }] }\n"
    )
    (folder / "rules" / "listed.yaml").write_text(tested.replace("amount: 1", "amount: 1.00, at: 2026-01-01T00:00:00Z"))
    ingested(folder, 1, "c2")
    project = app.open(folder)
    assert project.check().is_ok
    for of, name in ((RuleLoader, "load"), (Naive, "add"), (Engine, "__init__")):
        monkeypatch.setattr(of, name, lambda *_: pytest.fail("it is compiled"))
    changes = [project.lists.add("blocked", Entry("c2")), project.lists.add("blocked", Entry("c2", "why"))]
    changes += [project.lists.remove("blocked", "c2"), project.lists.add("blocked", Entry("c3"))]
    monkeypatch.undo()

    assert [(change.what, change.in_force, change.entries) for change in changes] == [
        (ADDED, True, 2),
        (CHANGED, True, 2),
        (REMOVED, True, 1),
        (ADDED, True, 2),
    ]
    assert [ingested(folder, number, card) for number, card in ((2, "c2"), (3, "c3"))] == ["approve", "decline"]
    with pytest.raises(DefinitionError, match="test 'one' of rule listed fails"):
        project.lists.remove("blocked", "c1")  # a row that a test asks for
    assert app.open(folder).verify().mismatches == 0


TESTED = RULE.replace(
    " }\n",
    ", tests: [{ name: one, events: [{ payment: { card: c1, amount: 1.00, at: 2026-01-01T00:00:00Z } }], "
    "hits: [true] }] }\n",
)


@pytest.mark.parametrize("events", [FILES["events.yaml"], EVENTS], ids=["clear", "hashed"])
def test_a_row_by_command_reads_no_rule_once_the_files_were_checked(folder, monkeypatch, capsys, events):
    (folder / "events.yaml").write_text(events)
    (folder / "rules" / "listed.yaml").write_text(TESTED)
    ingested(folder, 1, "c2")
    (folder / "lists" / "blocked.csv").write_text(HEADER + "c1,,ann,\nc4,by hand,,\n")
    monkeypatch.setattr(ReadOnce, "tree", lambda *_: pytest.fail("a file is read as YAML"))
    found = [
        asked(capsys, folder, *words)[1]
        for words in (
            ["add", "blocked", "c2"],
            ["add", "blocked", "c2", "--note", "why"],
            ["add", "blocked", "c3"],
            ["remove", "blocked", "c2"],
        )
    ]
    monkeypatch.undo()

    assert [(item["what"], item["entries"], item["in_force"]) for item in found] == [
        (ADDED, 3, True),
        (CHANGED, 3, True),
        (ADDED, 4, True),
        (REMOVED, 3, True),
    ]
    assert app.open(folder).versions.unapplied() == []  # what is in force is what the files say
    assert [ingested(folder, number, f"c{number}") for number in (2, 3, 4)] == ["approve", "decline", "decline"]
    assert app.open(folder).verify().mismatches == 0


def test_what_was_checked_before_hides_no_mistake(folder, capsys):
    (folder / "rules" / "listed.yaml").write_text(TESTED)
    ingested(folder, 1, "c2")
    assert asked(capsys, folder, "add", "blocked", "c2")[1]["in_force"] is True
    before = (folder / "lists" / "blocked.csv").read_bytes()

    def refused(*words: str) -> str:
        code, found = asked(capsys, folder, *words)
        assert (code > 0, (folder / "lists" / "blocked.csv").read_bytes()) == (True, before)
        return json.dumps(found)

    assert "expires_at: 'tomorrow' is not a time" in refused("add", "blocked", "c3", "--expires", "tomorrow")
    assert "test 'one' of rule listed fails" in refused("remove", "blocked", "c1")
    (folder / "lists" / "spare.csv").write_text("value\nx,y\n")
    assert "lists/spare.csv" in refused("add", "blocked", "c3")
    (folder / "lists" / "spare.csv").unlink()
    (folder / "rules" / "more.yml").write_text(RULE)
    assert "its name is not rules/more.yaml" in refused("add", "blocked", "c3")
    (folder / "rules" / "more.yml").unlink()
    settings = (folder / "shroff.yaml").read_text()
    (folder / "shroff.yaml").write_text(settings + "second_person: [lists]\n")
    assert "a second person approves changes of lists here" in json.dumps(asked(capsys, folder, "add", "blocked", "c3"))
    (folder / "shroff.yaml").write_text(settings)
    path = app.open(folder).context.paths.checked
    path.write_text(path.read_text()[:-5])
    assert asked(capsys, folder, "add", "blocked", "c3")[1]["in_force"] is True
    (folder / "rules" / "listed.yaml").write_text(TESTED.replace("decline", "review"))
    assert asked(capsys, folder, "add", "blocked", "c4")[1]["others"] == ["rules/listed.yaml"]
    assert [ingested(folder, number, "c4") for number in (5, 6)] == ["review", "review"]


# ---- the control event


LONG = HEADER + "".join(f"b-{number},,bench,\n" for number in range(1_000))


def test_a_row_of_a_long_list_is_recorded_by_itself(folder, capsys):
    (folder / "lists" / "blocked.csv").write_text(LONG)
    ingested(folder, 1, "c2")
    for words in (["add", "c2"], ["add", "b-7", "--note", "why"], ["remove", "b-999"], ["add", "c3"]):
        assert asked(capsys, folder, words[0], "blocked", *words[1:])[1]["in_force"] is True
    with app.open(folder).log.reading() as log:
        sizes = [len(control.body) for control in log.controls()]
        found, changed = control_at(log), changed_by(log.controls()[-1])

    assert (sizes[0] > len(LONG), max(sizes[1:]) < 500, changed) == (True, True, {"lists/blocked.csv"})
    assert found.files["lists/blocked.csv"] == (folder / "lists" / "blocked.csv").read_text()
    assert [ingested(folder, number, card) for number, card in ((2, "c2"), (3, "b-999"))] == ["decline", "approve"]
    assert app.open(folder).verify().mismatches == 0


@given(
    st.lists(st.lists(st.sampled_from(["a", "b\n", "é", "\U0001f600"]), max_size=4), min_size=2, max_size=4), st.data()
)
def test_edits_give_the_text_that_is_in_force(parts, data):
    control, now = Control(), {"lists/a.csv": LONG, "lists/b.csv": "value\n"}
    records = []
    for number, part in enumerate(parts):
        records.append(control_event(control.change_to(now, {"lists": str(number)}), number))
        control.take(records[-1])
        at = data.draw(st.integers(0, len(LONG)) | st.just(len(LONG)))
        now = {**now, "lists/a.csv": LONG[:at] + "".join(part) + LONG[at + number :]}
    followed = Control()
    for record in records:
        followed.take(record)

    assert (followed.files, followed.versions) == (control.files, control.versions)
    assert control.change_to(control.files, {}) == b'{"files":{},"removed":[],"versions":{}}'


def test_an_edit_of_another_text_is_damage():
    control, other = Control(), Control()
    for state, text in ((control, LONG), (other, LONG + "d,,,\n")):
        state.take(control_event(state.change_to({"lists/a.csv": text}, {}), 1))
    body = control.change_to({"lists/a.csv": LONG + "c,,,\n"}, {})

    with pytest.raises(StorageError, match=r"control event at sequence number 2 .*its edit is not one of lists/a.csv"):
        other.take(control_event(body, 2))
    with pytest.raises(msgspec.ValidationError, match="removed"):  # as an earlier program reads it
        msgspec.json.decode(body, type=Earlier)


class Earlier(msgspec.Struct):
    files: dict[str, str]
    removed: list[str]
    versions: dict[str, str]


def control_event(body: bytes, seq: int) -> Record:
    return Record(seq, "control", "control", str(seq), 0, body, decided=False)


def test_a_row_that_state_is_made_of_folds_the_log(folder):
    listed = "  listed: count(payment where payment.card in lists.blocked) over 24h\n"
    (folder / "features.yaml").write_text(FILES["features.yaml"] + listed)
    ingested(folder, 1, "c2")
    assert app.open(folder).lists.add("blocked", Entry("c2")).in_force
    fields = {"id": "p2", "at": "2026-03-01T12:00:02Z", "card": "c2", "amount": "1.00"}
    (decision,) = app.open(folder).decide([fields], as_type="payment")

    assert decision.features["card.listed"] == 1


MORE = (
    "c9\n",
    "c1,,,2027-01-01T00:00:00Z\n",
    "c1,,,\n\n",
    'a "b"\n',
    '"a\nb",x\n',
    "c1,,,no time\n",
    "c9,,,,,\n",
    '"c9\n',
    "c9",
)


@pytest.mark.parametrize(
    "before", [HEADER + "c1,,ann,\nc2,,,2026-01-01T00:00:00Z\n", HEADER, "value\nc1", '"value"\n', ""]
)
def test_lines_behind_a_list_are_read_as_the_whole_list_is(before):
    for more in MORE:
        known, problems, whole = ReadOnce(), list[Problem](), list[Problem]()
        known.list_file("lists/blocked.csv", before, [])
        found = known.list_file("lists/blocked.csv", before + more, problems)

        assert (found, problems) == (load_list("lists/blocked.csv", before + more, whole), whole)


def test_ctrl_c_behind_the_change_says_that_it_is_written(folder, monkeypatch, capsys):
    opened = ProjectLog.open

    def interrupted(project: app.Project, *, read_only: bool) -> Log:
        if read_only:
            return opened(project, read_only=True)
        raise KeyboardInterrupt

    ingested(folder, 1, "c2")
    monkeypatch.setattr(ProjectLog, "open", interrupted)
    code, found = asked(capsys, folder, "add", "blocked", "c2")

    assert (code, found["detail"]) == (
        130,
        "stopped before the end. The list is written; it becomes active with the next command that writes.",
    )


def test_check_finds_a_project_that_does_not_fit_its_log(folder, monkeypatch, capsys):
    ingested(folder, 1, "c2")
    (folder / "events.yaml").write_text(EVENTS)
    assert run(["-C", str(folder), "check", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)

    assert (found["ok"], [error["file"] for error in found["errors"]]) == (False, ["events.yaml"])
    assert "it is hashed now" in found["errors"][0]["message"]

    def fail(*_arguments: object, **_options: object) -> None:
        raise StorageError("the disk fails")

    monkeypatch.setattr(ProjectLog, "open", fail)
    (folder / "events.yaml").write_text(FILES["events.yaml"])
    assert run(["-C", str(folder), "check", "--json"]) == 0
    assert warned(capsys) == ["these files were not checked: the disk fails."]

    monkeypatch.undo()
    monkeypatch.delenv("NOT_SET", raising=False)
    with (folder / "shroff.yaml").open("a") as settings:
        settings.write("store: ${NOT_SET}\n")
    assert run(["-C", str(folder), "check", "--json"]) == 0
    unset, unchecked = warned(capsys)
    assert unset == "the variable NOT_SET of the environment is not set."
    assert unchecked.endswith("store in shroff.yaml reads ${NOT_SET}, and that variable is not set.")
    assert asked(capsys, folder, "add", "blocked", "c3")[0] == 2


# ---- the file


def test_a_file_is_replaced_as_a_whole_and_stays_what_it_was(folder):
    path, link = folder / "lists" / "blocked.csv", folder / "link.csv"
    path.chmod(0o640)
    link.symlink_to(path)
    config.write_text(link, "value\n")

    assert path.read_text() == "value\n"
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [letter.name for letter in (folder / "lists").iterdir()] == ["blocked.csv"]


def test_a_file_that_cannot_be_written_is_as_it_was(folder, monkeypatch):
    path = folder / "lists" / "blocked.csv"

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"blocked.csv cannot be written: No space left .* as it was before"):
        config.write_text(path, "value\n")

    assert path.read_text() == HEADER + "c1,,ann,\n"
    assert [letter.name for letter in (folder / "lists").iterdir()] == ["blocked.csv"]


def test_a_file_that_is_replaced_and_not_yet_durable_is_not_said_to_be_as_it_was(folder, monkeypatch):
    def fail(_folder: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shroff.runtime.atomic_files.sync_folder", fail)
    with pytest.raises(StorageError, match=r"cannot be made durable: Input/output error. It was changed"):
        config.write_text(folder / "lists" / "blocked.csv", "value\n")

    assert (folder / "lists" / "blocked.csv").read_text() == "value\n"
