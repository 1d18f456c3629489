"""calls.yaml, calls that ask: what they may say, each mistake at its place; requests and answers at their edges."""

from __future__ import annotations

import json

import msgspec
import pytest

from shroff.errors import InputError
from shroff.project.definitions import Loaded, load_definitions
from shroff_plugins.analytics.count_operations import KeyAtMoment
from shroff_plugins.analytics.counts import CountQuestion
from shroff_plugins.earlier_calls.question_reader import QuestionReader
from shroff_plugins.earlier_calls.questions import READS, AskingCall
from tests.project.test_calls import EVENTS, FEATURES

FACTS = """
/facts:
  reads: facts
  unread: [note]
  ask:
    entity: "'card'"
    key: row.who
    as_of: time(row.at)
    since: { card.spent_1h: time(row.cuts.spent) + 1ms }
  answer:
    who: { id: row.request.who, name: row.request.name }
    spent: row.features['card.spent_1h']
    doubled: 2 * number(row.features['card.spent_1h']) / 1
"""
MANY = """
/days/:
  reads: counts
  many: days
  ask: { start_date: row.from, end_date: row.to, event_types: row.types }
  each: { name: row.type, of: row.request.from, n: row.count }
"""


def loaded(calls: str) -> Loaded:
    files = {"shroff.yaml": "shroff: 1\nname: x\nmoney: EUR\n", "events.yaml": EVENTS, "features.yaml": FEATURES}
    return load_definitions({**files, "calls.yaml": calls})


def reader(calls: str = FACTS) -> QuestionReader:
    (call,) = loaded(calls).or_raise().added["calls"].values()
    assert isinstance(call, AskingCall)
    return QuestionReader(call, 2)


WRONG = {
    "no such kind": ("reads: facts", "reads: facs", "3:10 reads is counts or facts or"),
    "no such method": ("  unread", "  method: put\n  unread", "4:11 method is get or post"),
    "no such key": ("  unread", "  write: true\n  unread", "4:3 the call /facts has no key 'write'"),
    "no such question": ("as_of:", "as_at:", "8:5 the question has no 'as_at'"),
    "no key": ("    key: row.who\n", "", "6:5 the question lacks key"),
    "no expression": ("row.who\n", "row.\n", "7:"),
    "a line of a file": ("key: row.who", "key: text(row.number)", "7:10 row.file and row.number exist"),
    "nothing of the kind": ("spent: row.features", "spent: row.feature", "12:12 the result has nothing named"),
    "no such feature": (
        "spent: row.features['card.spent_1h']",
        "spent: row.features['card.spend']",
        "12:12 'card.spend'",
    ),
    "no rows": ("  answer:", "  each:", "11:5 facts has no rows: write answer"),
    "both": ("  answer:", "  each: { a: row.key }\n  answer:", "3:3 the call /facts needs either each or answer"),
    "a query of lists": ("  unread", "  method: get\n  many: all\n  unread", "5:9 a query has no list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_of_a_question_is_told_at_its_place(name):
    old, new, words = WRONG[name]
    assert old in FACTS
    found = [
        f"{problem.line}:{problem.column} {problem.message}" for problem in loaded(FACTS.replace(old, new, 1)).problems
    ]

    assert len(found) == 1
    assert found[0].startswith(words), found


def test_a_question_of_a_call_is_a_question_of_the_api():
    for reads, question in (("counts", CountQuestion), ("facts", KeyAtMoment)):
        of_call = {field.name for field in msgspec.structs.fields(READS[reads].question)} - {"values"}
        of_api = {field.name for field in msgspec.structs.fields(question)}
        assert of_call <= of_api, reads


def test_a_request_becomes_the_question_and_what_is_missing_is_left_out():
    whole = {"who": "c-1", "at": "1767225600000", "cuts": {"spent": 1767225600000}, "note": "x", "name": None}
    asked = reader().questions_of(json.dumps(whole).encode())[0][1]
    least = reader().query_of({"who": "c-1"})

    assert (asked.entity, asked.key, asked.as_of) == ("card", "c-1", "2026-01-01T00:00:00Z")
    assert asked.since == {"card.spent_1h": "2026-01-01T00:00:00.001Z"}
    assert (least.as_of, least.since) == (None, {})


REQUESTS = {
    b"": "",
    b"[]": "",
    b'{"a":' * 40 + b"1" + b"}" * 40: "",
    b'{"who": "c-1", "who": "c-2"}': "",
    b"{}": "who",
    b'{"who": null}': "who",
    b'{"who": 7}': "who",
    b'{"who": ["c-1"]}': "who",
    b'{"who": "c-1", "at": "soon"}': "at",
    b'{"who": "c-1", "cuts": {"spent": {}}}': "cuts.spent",
    b'{"who": "c-1", "color": "red"}': "color",
}


@pytest.mark.parametrize("raw", REQUESTS, ids=lambda raw: raw[:40].decode())
def test_a_request_of_another_shape_is_refused_with_its_path(raw):
    with pytest.raises(InputError) as caught:
        reader().questions_of(raw)
    assert [path for path, _ in caught.value.mistakes] == [REQUESTS[raw]]


ITEMS = {
    '{"days": []}': "days",
    '{"days": {}}': "days",
    "{}": "days",
    json.dumps({"days": [{"from": "2026-01-01"}] * 21}): "days",
    '{"days": [{}, 7]}': "days[1]",
    '{"days": [{}, {"from": "x"}]}': "days[1].from",
    '{"days": [{"until": "x"}]}': "days[0].until",
    '{"days": [{}], "more": 1}': "more",
}


@pytest.mark.parametrize("raw", ITEMS, ids=lambda raw: raw[:40])
def test_an_item_of_a_list_is_refused_with_its_place(raw):
    with pytest.raises(InputError) as caught:
        reader(MANY).questions_of(raw.encode())
    assert [path for path, _ in caught.value.mistakes] == [ITEMS[raw]]


def test_an_answer_has_what_was_found_and_what_was_asked():
    found = {"features": {"card.spent_1h": "10.50"}, "events": 1}
    rows = {"rows": [{"type": "payment", "value": None, "count": 2}], "total": 2}
    asked = {"who": "c-1", "name": 'Ann "A"'}

    assert json.loads(reader().answer(asked, found)) == {
        "who": {"id": "c-1", "name": 'Ann "A"'},
        "spent": "10.50",
        "doubled": 21,
    }
    assert json.loads(reader(MANY).answer({"from": None}, rows)) == [{"name": "payment", "of": None, "n": 2}]
    with pytest.raises(InputError):
        reader().answer(asked, {"features": {"card.spent_1h": "much"}})


MAIL = """
/send:
  sends: mail
  recipients: [ann@bank.example]
  ask: { kind: "'mail'", to: row.to, subject: row.subject, text: row.text }
  answer: { n: row.sent }
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sends: mail", "sends: sms", "3:10 sends is mail, not 'sms'"),
        ("[ann@bank.example]", "[ann]", "4:15 'ann' is not an address"),
        ("[ann@bank.example]", "['ann@bank.example, eve@x.example']", "4:15 'ann@bank.example, eve@x.example' is no"),
        ("  recipients: [ann@bank.example]\n", "", "3:3 the call /send lacks recipients"),
        ("to: row.to, ", "", "5:8 the question lacks to"),
        ("row.sent", "row.send", "6:16 the result has nothing named 'send'"),
    ],
)
def test_a_call_that_sends_names_its_recipients(old, new, words):
    assert loaded(MAIL).problems == []
    found = [
        f"{problem.line}:{problem.column} {problem.message}" for problem in loaded(MAIL.replace(old, new, 1)).problems
    ]

    assert len(found) == 1
    assert found[0].startswith(words), found
