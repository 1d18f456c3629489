"""calls.yaml: what it may say, each mistake at its place; bodies that become events, decisions that become answers."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shroff.errors import InputError
from shroff.events.event import Event
from shroff.events.validation import secret_fields
from shroff.language.types import INTEGER, REAL, TEXT
from shroff.project.definitions import Loaded, load_definitions
from shroff.web.table import table
from shroff_plugins.earlier_calls.call_reader import CallReader
from shroff_plugins.earlier_calls.calls import API_TAKEN, CALLS, TAKEN
from tests.support.answered import Paths

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text hashed
    amount: money
    country: text?
    v1: real?
    v2: real?
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text hashed }
entities:
  card: { payment: card, login: card }
  user: { login: card }
"""
FEATURES = """
card:
  payments_1h: count(payment) over 1h
  spent_1h: sum(payment.amount) over 1h
  mean_1h: mean(payment.amount) over 1h
user:
  logins_1h: count(login) over 1h
"""
CALL = """
/predict/:
  event: payment
  lists:
    features: [seconds, v1, v2?, _]
  fields:
    at: time('2026-01-01', '%Y-%m-%d') + integer(row.seconds) * 1s
    country: upper(row.place.land)
  answer:
    prediction: 1 when decision.outcome != 'approve' else 0
    doubt: score else 0.5
    mean: card.mean_1h
    known: card.payments_1h > 0
    spent: card.spent_1h
    land: this.country
    features: [card.*]
"""


def loaded(calls: str = CALL) -> Loaded:
    files = {"shroff.yaml": "shroff: 1\nname: x\nmoney: EUR\n", "events.yaml": EVENTS, "features.yaml": FEATURES}
    return load_definitions({**files, "calls.yaml": calls})


def reader(calls: str = CALL) -> CallReader:
    definitions = loaded(calls).or_raise()
    (call,) = definitions.added["calls"].values()
    secret = secret_fields(definitions.events, call.event)
    return CallReader(call, definitions.events.types[call.event], secret, 2)


def body(**changes: Any) -> bytes:
    whole = {"card": "c-1", "amount": 12.5, "features": [60, 0.25, None, "?"], "place": {"land": "de"}, **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def mistakes(raw: bytes, calls: str = CALL) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        reader(calls).event_of(raw, 0)
    return list(caught.value.mistakes)


# ---- what it may say


def test_a_call_is_typed_when_the_project_is_loaded():
    found = loaded()
    (call,) = found.or_raise().added["calls"].values()

    assert found.problems == found.warnings == []
    assert (call.path, call.event, call.writes) == ("/predict/", "payment", False)
    assert call.lists == {"features": ("seconds", "v1", "v2", "_")}
    types = {name: field.type for name, field in call.answer.items() if not isinstance(field, tuple)}
    assert [types[name] for name in ("prediction", "doubt", "mean", "land")] == [INTEGER, REAL, REAL, TEXT]
    assert call.answer["features"] == ("card.mean_1h", "card.payments_1h", "card.spent_1h")


def test_calls_decide_nothing_so_they_are_in_no_version_and_in_no_control_event():
    with_calls, without = loaded().or_raise(), loaded("").or_raise()

    assert with_calls.versions == without.versions
    assert with_calls.files == without.files


WRONG = {
    "a path without a slash": ("/predict/:", "predict:", "2:1 'predict' is not a path"),
    "a path that leads up": ("/predict/:", "/../predict/:", "2:1 '/../predict/' is not a path"),
    "the service's own": ("/predict/:", "/api/v1/events/payment:", "2:1 paths below /api/v1/events are"),
    "no such event": ("event: payment", "event: paiment", "3:10 'paiment' is not an event type"),
    "an undecided event": ("event: payment", "event: login", "3:10 login is not decided"),
    "no such key": (
        "  event: payment",
        "  event: payment\n  events: payment",
        "4:3 the call /predict/ has no key 'events'",
    ),
    "a value that nothing reads": ("v1, v2?, _", "v1, v3?, _", "5:29 nothing reads 'v3'"),
    "a value twice": ("v1, v2?, _", "v1, v1?, _", "5:29 the name 'v1' is used twice"),
    "an empty list": ("[seconds, v1, v2?, _]", "[]", "5:15 a list has 1 to 1,000 values, not 0"),
    "no such field": ("    country: upper", "    land: upper", "8:5 payment has no field 'land'"),
    "a number of a line": ("upper(row.place.land)", "text(row.number)", "8:14 row.file and row.number"),
    "a wrong type": ("integer(row.seconds)", "row.seconds", "7:42 '*' does not take"),
    "no such outcome word": ("decision.outcome", "decision.result", "10:24 an answer reads 'decision.result'"),
    "a feature of others": ("mean: card.mean_1h", "mean: user.logins_1h", "12:11 an answer reads 'user.logins_1h'"),
    "features of others": ("[card.*]", "[user.*]", "16:16 'user.*' is not a feature"),
    "no such feature": ("[card.*]", "[card.mean]", "16:16 'card.mean' is not a feature"),
    "an aggregate": ("card.payments_1h > 0", "count(payment) > 0", "13:12 "),
}


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_is_told_at_its_place(name):
    old, new, words = WRONG[name]
    assert old in CALL
    found = [
        f"{problem.line}:{problem.column} {problem.message}" for problem in loaded(CALL.replace(old, new, 1)).problems
    ]

    assert len(found) == 1
    assert found[0].startswith(words), found
    assert {problem.file for problem in loaded(CALL.replace(old, new, 1)).problems} == {"calls.yaml"}


def test_one_path_with_and_without_its_slash_is_one_call():
    again = CALL.replace("/predict/:", "/predict:")

    assert [problem.message for problem in loaded(CALL + again).problems] == [
        "/predict is answered as /predict/ already: a trailing slash makes no difference."
    ]


def test_no_call_can_stand_where_the_service_has_something_itself():
    assert {route.segments[0] for route in table()} <= {*TAKEN.split("|"), "api", ""}
    below = {tuple(route.segments[1:3]) for route in table() if route.segments[0] == "api"}
    assert below <= {("docs",), ("openapi.json",), *(("v1", name) for name in API_TAKEN.split("|"))}


@pytest.mark.parametrize(
    ("path", "is_free"),
    [
        *(
            ("/api/predict", True),
            ("/api/predict/", True),
            ("/api/v2/events/payment", True),
            ("/api/v1/predict/", True),
        ),
        *(("/api/v1/events-old", True), ("/apis", True), ("/queues/x", True), ("/api", False), ("/api/", False)),
        *(("/api/v1", False), ("/api/v1/", False), ("/api/docs", False), ("/api/docs/x", False), ("/queue/", False)),
        *(("/api/openapi.json/", False), ("/api/v1/decisions/x", False), ("/api/v1/score/", False)),
    ],
)
def test_an_address_below_api_is_free_unless_the_service_has_something_there(path, is_free):
    found = loaded(CALL.replace("/predict/:", f"{path}:"))

    assert (found.problems == []) == is_free
    assert (re.search(CALLS.pattern, path) is not None) == is_free
    if is_free:
        assert Paths(table(found.or_raise())).find("POST", path)[0].path == path


# ---- bodies


def test_a_body_becomes_the_event_that_would_have_been_posted():
    written, refused = reader().event_of(body(), 0)

    assert refused == []
    assert json.loads(written) == {
        "id": json.loads(written)["id"],
        "at": "2026-01-01T00:01:00Z",
        "card": "c-1",
        "amount": 12.5,
        "country": "DE",
        "v1": 0.25,
    }


def test_where_nothing_is_written_id_and_time_are_made_and_the_same_body_gets_the_same_id():
    call = CALL.replace("    at: time('2026-01-01', '%Y-%m-%d') + integer(row.seconds) * 1s\n", "").replace(
        "seconds,", "_,"
    )
    first, again, other = (
        json.loads(reader(call).event_of(item, 5_000)[0]) for item in (body(), body(), body(amount=1))
    )

    assert first == again
    assert first["at"] == "1970-01-01T00:00:05Z"
    assert first["id"].startswith("call:")
    assert other["id"] != first["id"]
    assert json.loads(reader(call).event_of(body(id="p-1", at="2026-02-02T00:00:00Z"), 0)[0])["id"] == "p-1"


def test_where_it_is_written_the_body_must_give_its_id_and_its_time():
    call = CALL.replace("  event: payment\n", "  event: payment\n  write: true\n")

    assert "id" not in json.loads(reader(call).event_of(body(), 0)[0])


BODIES = {
    b"": "",
    b"[1]": "",
    b"null": "",
    b'{"features": [1, NaN, 2, 3]}': "",
    b'{"features": [1, Infinity, 2, 3]}': "",
    b"\xff": "",
    b"[" * 100_000: "",
    b'{"a":' * 40 + b"1" + b"}" * 40: "",
    b'{"features": [1,2,3,4], "features": [1,2,3,4]}': "",
    body(features=...): "features",
    body(features=[1, 2, 3]): "features",
    body(features=[1, 2, 3, 4, 5]): "features",
    body(features="60"): "features",
    body(features={"0": 1}): "features",
    body(features=[60, None, 2, None]): "features[1]",
    body(features=["", 1, "", ""]): "features[0]",
    body(color="red"): "color",
    body(v1=0.5): "v1",
}


@pytest.mark.parametrize("raw", BODIES, ids=lambda raw: raw[:40].decode("latin-1"))
def test_a_body_of_another_shape_is_refused_with_the_path(raw):
    assert [path for path, _ in mistakes(raw)] == [BODIES[raw]]


def test_a_list_of_another_length_says_how_many_there_should_be():
    assert mistakes(body(features=[1, 2, 3])) == [
        ("features", "expected a list of 4 values: seconds, v1, v2, _; found 3")
    ]


def test_mistakes_of_fields_stand_at_their_places_in_the_body():
    written, refused = reader().event_of(body(features=["soon", "a", 2, 3]), 0)
    told = reader().merge_mistakes(refused, [("at", "it is missing"), ("v1", "expected a finite number; found 'a'")])

    assert b'"at"' not in written
    assert [path for path, _ in told] == ["features[0]", "features[1]"]
    assert reader().place_of("country") == "place.land"
    assert reader().place_of("amount") == "amount"


def test_no_clear_value_of_a_hashed_field_is_in_a_message():
    call = CALL.replace("    country: upper(row.place.land)", "    card: text(integer(row.place.land))")
    _, refused = reader(call).event_of(body(card=..., place={"land": "4111-1111"}), 0)

    assert [name for name, _ in refused] == ["card"]
    assert "4111" not in str(refused)


# ---- answers


def decided(**changes: object) -> bytes:
    features = {"card.mean_1h": 7, "card.payments_1h": 3, "card.spent_1h": "21.00"}
    whole = {"event": "payment", "id": "p-1", "seq": 7, "outcome": "review", "score": 0.25, "features": features}
    return json.dumps({**whole, "receipt": "sha256:0", **changes}).encode()


def answered(document: bytes) -> Any:
    event = Event("payment", "p-1", 0, ("p-1", 0, "hashed:1", 1250, "DE", 0.25, None))
    return json.loads(reader().answer(event, document))


def test_an_answer_has_the_names_of_the_call_and_the_values_of_the_decision():
    assert answered(decided()) == {
        "prediction": 1,
        "doubt": 0.25,
        "mean": 7,
        "known": True,
        "spent": "21.00",
        "land": "DE",
        "features": {"card.mean_1h": 7, "card.payments_1h": 3, "card.spent_1h": "21.00"},
    }


def test_what_is_missing_is_null_in_an_answer_unless_the_call_says_otherwise():
    nothing = dict.fromkeys(("card.mean_1h", "card.payments_1h", "card.spent_1h"))
    found = answered(decided(outcome="approve", score=None, features=nothing))

    assert found == {
        "prediction": 0,
        "doubt": 0.5,
        "mean": None,
        "known": None,
        "spent": None,
        "land": "DE",
        "features": nothing,
    }
