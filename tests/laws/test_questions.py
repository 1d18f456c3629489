"""Laws of links: only the one that was made opens its question, only until it ends, and only once."""

from __future__ import annotations

import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.notices.customer_answers import Effect, State, answer, look_up, token_of
from shroff.notices.sql import NoticeStore
from shroff.notices.store import Question
from shroff.runtime.values import replace
from tests.support.contracts.people import SEAL

KEY = bytes(range(32))
MADE_MS, ENDS_MS = 1_000_000, 2_000_000


def question(number: int) -> Question:
    who = bytes([number + 1]) * 32
    event = f"payment/p-{number}"
    return Question(f"{number:032x}", f"l-{number}", "customer", event, "sha256:00", who, MADE_MS, ENDS_MS)


QUESTIONS = [question(number) for number in range(4)]
NONE = settings(deadline=None, suppress_health_check=list(HealthCheck))


def effect(question: Question) -> Effect:
    return Effect(is_released=False, kind="labels", body=b"[]", dues=[])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[NoticeStore]:
    with closing(made(tmp_path_factory.mktemp("questions"), QUESTIONS)) as found:
        yield found


def made(folder: Path, questions: list[Question]) -> NoticeStore:
    """A store that has these questions."""
    SqliteLog(folder / "log.db").close()
    found = NoticeStore(SqlPeople(folder / "log.db", SEAL))
    with found.change() as change:
        for item in questions:
            change.put_question(item)
    return found


@NONE
@given(st.sampled_from(QUESTIONS), st.integers(0, 48 * 8 - 1), st.integers(MADE_MS, 3 * ENDS_MS))
def test_a_link_with_one_bit_changed_is_forged(store, question, bit, now_ms):
    data = bytearray(urlsafe_b64decode(token_of(KEY, question)))
    data[bit // 8] ^= 1 << (bit % 8)

    assert look_up(store, KEY, urlsafe_b64encode(bytes(data)).decode(), now_ms).state is State.FORGED


@NONE
@given(st.text(max_size=80) | st.binary(min_size=48, max_size=48).map(lambda data: urlsafe_b64encode(data).decode()))
def test_what_nobody_made_is_forged(store, token):
    assert look_up(store, KEY, token, MADE_MS).state is State.FORGED
    assert answer(store, KEY, token, "no", MADE_MS, effect).state is State.FORGED


@NONE
@given(st.sampled_from(QUESTIONS), st.binary(min_size=32, max_size=32).filter(lambda key: key != KEY))
def test_a_link_of_another_key_is_forged(store, question, key):
    assert look_up(store, KEY, token_of(key, question), MADE_MS).state is State.FORGED


@NONE
@given(
    st.sampled_from(QUESTIONS),
    st.sampled_from(["event", "receipt", "who", "ends_ms", "id"]),
    st.sampled_from(QUESTIONS),
)
def test_a_link_for_another_decision_or_address_or_time_is_forged(store, question, field, other):
    values = {"event": "payment/p-9", "receipt": "sha256:01", "who": bytes(32), "ends_ms": ENDS_MS + 1, "id": "f" * 32}
    claimed = replace(question, **{field: values[field]})
    mixed = urlsafe_b64decode(token_of(KEY, question))[:16] + urlsafe_b64decode(token_of(KEY, other))[16:]

    assert look_up(store, KEY, token_of(KEY, claimed), MADE_MS).state is State.FORGED
    found = look_up(store, KEY, urlsafe_b64encode(mixed).decode(), MADE_MS).state
    assert found is (State.OPEN if question == other else State.FORGED)


@NONE
@example(QUESTIONS[0], ENDS_MS - 1)
@example(QUESTIONS[0], ENDS_MS)
@given(st.sampled_from(QUESTIONS), st.integers(MADE_MS, 3 * ENDS_MS))
def test_a_link_is_open_until_it_ends_and_looking_changes_nothing(store, question, now_ms):
    for _ in range(2):
        found = look_up(store, KEY, token_of(KEY, question), now_ms)
        assert found.state is (State.OPEN if now_ms < ENDS_MS else State.ENDED)
        assert found.question == question


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["yes", "no"]), st.integers(0, 2 * ENDS_MS)), max_size=12))
def test_the_first_answer_in_time_stands_and_does_something_once(tmp_path_factory, tries):
    folder = tmp_path_factory.mktemp("answers")
    store = made(folder, QUESTIONS)
    first: dict[int, str] = {}
    for number, said, now_ms in tries:
        found = answer(store, KEY, token_of(KEY, QUESTIONS[number]), said, now_ms, effect)
        wanted = State.ANSWERED if number in first else State.OPEN if now_ms < ENDS_MS else State.ENDED
        assert found.state is wanted
        if wanted is State.OPEN:
            first[number] = said
    with store.look() as look:
        answers = {number: look.question(question.id).answer for number, question in enumerate(QUESTIONS)}
    with closing(SqliteLog(folder / "log.db")) as log:
        asked = len(log.inbox.pending())
    store.close()

    assert answers == {number: first.get(number, "") for number in range(4)}
    assert asked == len(first)


def test_of_many_answers_at_once_one_is_taken(tmp_path):
    store = made(tmp_path, QUESTIONS)
    token, found = token_of(KEY, QUESTIONS[0]), list[State]()
    begin = threading.Barrier(8)

    def say(number: int) -> None:
        begin.wait()
        found.append(answer(store, KEY, token, ("yes", "no")[number % 2], MADE_MS, effect).state)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        asked = len(log.inbox.pending())
    store.close()

    assert sorted(found) == sorted([State.OPEN, *[State.ANSWERED] * 7])
    assert asked == 1


def test_what_is_stored_is_not_enough_to_make_a_link(store):
    with store.look() as look:
        found = look.question(QUESTIONS[0].id)

    assert look_up(store, KEY, token_of(bytes(32), found), MADE_MS).state is State.FORGED
    assert KEY.hex() not in repr(found)
