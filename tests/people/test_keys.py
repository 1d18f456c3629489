"""Keys of programs: how they are made, what they may do, how they end, and how seldom the store is asked."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import NotAllowedError, SignInError, TransientError, UsageError
from shroff.people import keys, users
from shroff.people.access import RIGHTS, Right, Role, Who, local
from shroff.people.audit import sealing
from shroff.people.key_operations import CreateKey, KeyDocument, Keys, RevokeKey, create_key, revoke_key
from shroff.people.keys import KeyRing
from shroff.people.sql import PeopleQueries
from shroff.people.store import ApiKey, Desk, rows_of, token_hash

NOW_MS = 1_700_000_000_000
ROOT = local("root", "command")


class CountedStore(SqlPeople):
    """A store that counts how often it was asked, and can be away."""

    asked = 0
    is_away = False

    @contextmanager
    def look(self) -> Iterator[PeopleQueries]:
        self.asked += 1
        if self.is_away:
            raise TransientError("the store is away")
        with super().look() as look:
            yield look


@dataclass
class Clocks:
    now_ms: int = NOW_MS
    s: float = 100.0

    def pass_s(self, seconds: float) -> None:
        self.s += seconds
        self.now_ms += int(seconds * 1_000)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def desk(tmp_path: Path, clocks: Clocks) -> Iterator[Desk]:
    SqliteLog(tmp_path / "log.db").close()
    with closing(CountedStore(tmp_path / "log.db", sealing(b"key"))) as store:
        yield Desk(store, lambda: clocks.now_ms)


@pytest.fixture
def ring(desk: Desk, clocks: Clocks) -> Iterator[KeyRing]:
    with closing(KeyRing(desk, lambda: clocks.s)) as found:
        yield found


def made(desk: Desk, name: str = "till", role: Role = Role.SERVICE, **more) -> tuple[str, str]:
    key, text = keys.create(desk, ROOT, name, role, **more)
    return key.id, text


def test_a_key_can_be_found_by_its_form_and_only_its_hash_is_kept(desk):
    key, text = keys.create(desk, ROOT, "till", Role.SERVICE)

    assert re.fullmatch(r"shroff_[a-z0-9]{12}_[0-9a-f]{64}", text)
    assert keys.all_keys(desk) == [key]
    assert key.hash == token_hash(text.rpartition("_")[2])
    told = [f"{row.subject} {row.before} {row.after}" for row in rows_of(desk.store)]
    assert text.rpartition("_")[2] not in f"{told} {key!r}"
    assert [row.action for row in rows_of(desk.store)] == ["key.create"]


def test_a_key_is_who_it_was_made_for(desk, ring):
    id_, text = made(desk)

    assert ring.who(text) == Who("key", f"key-{id_}", "till", Role.SERVICE, RIGHTS[Role.SERVICE])
    assert ring.who(text).via == "api"


def test_a_scope_narrows_a_role_and_never_widens_it(desk, ring):
    _, text = made(desk, scopes=[Right.SCORE])

    assert ring.who(text).rights == {Right.SCORE}
    with pytest.raises(UsageError, match=r"does not have read:audit\. It has"):
        made(desk, scopes=[Right.SCORE, Right.READ_AUDIT])
    with pytest.raises(UsageError, match="Did you mean score"):
        keys.known_scope("scor")


def test_nobody_makes_a_key_that_can_do_more_than_they_can(desk):
    manager = Who("user", "user-1", "ann", Role.VIEWER, RIGHTS[Role.VIEWER] | {Right.MANAGE_KEYS})
    with pytest.raises(NotAllowedError, match="do more than they can"):
        keys.create(desk, manager, "x", Role.ADMIN)
    with pytest.raises(NotAllowedError):
        keys.create(desk, Who("user", "user-2", "ben", Role.VIEWER, RIGHTS[Role.VIEWER]), "x", Role.VIEWER)
    with pytest.raises(NotAllowedError):
        keys.revoke(desk, Who("user", "user-2", "ben", Role.VIEWER, RIGHTS[Role.VIEWER]), "x")

    keys.create(desk, manager, "x", Role.VIEWER)
    assert [key.made_by for key in keys.all_keys(desk)] == ["ann"]


def test_the_keys_of_a_user_who_is_disabled_or_removed_end_and_so_do_those_made_with_them(desk, clocks):
    ann, ben = (users.as_who(users.add(desk, ROOT, name, Role.ADMIN)) for name in ("ann", "ben"))
    own, _ = keys.create(desk, ann, "deploy", Role.ADMIN)
    with_it, _ = keys.create(desk, keys.as_who(own), "till", Role.SERVICE)
    foreign, _ = keys.create(desk, ben, "deploy", Role.ADMIN)
    beside, _ = keys.create(desk, keys.as_who(foreign), "shop", Role.SERVICE)
    users.disable(desk, ben, "ann")

    def ended() -> set[str]:
        return {key.id for key in keys.all_keys(desk) if key.revoked_at_ms is not None}

    assert ended() == {own.id, with_it.id}, "names may be the same"
    told = [(row.name, row.subject) for row in rows_of(desk.store) if row.action == "key.revoke"]
    assert told == [("ben", f"key {own.id}"), ("ben", f"key {with_it.id}")]
    users.enable(desk, ben, "ann")
    assert ended() == {own.id, with_it.id}
    users.delete(desk, ann, "ben")
    assert ended() == {own.id, with_it.id, foreign.id, beside.id}


def test_a_change_of_role_takes_from_the_keys_of_a_user_what_they_may_no_longer_do_themselves(desk):
    ann = users.as_who(users.add(desk, ROOT, "ann", Role.ADMIN))
    users.add(desk, ROOT, "ben", Role.ADMIN)
    deploy, _ = keys.create(desk, ann, "deploy", Role.ADMIN)
    keys.create(desk, ann, "till", Role.SERVICE)
    keys.create(desk, ann, "okta", Role.ADMIN, scopes=[Right.PROVISION_USERS])
    keys.create(desk, keys.as_who(deploy), "inner", Role.ANALYST, scopes=[Right.READ_PERSONAL, Right.SCORE])
    keys.create(desk, ROOT, "apart", Role.ADMIN)
    users.set_role(desk, ROOT, "ann", Role.VIEWER)
    service = RIGHTS[Role.SERVICE]
    left = {
        "deploy": RIGHTS[Role.VIEWER] | service,
        "till": service,
        "inner": {Right.SCORE},
        "apart": RIGHTS[Role.ADMIN],
    }

    def valid() -> dict[str, frozenset[Right]]:
        return {key.name: keys.as_who(key).rights for key in keys.all_keys(desk) if key.revoked_at_ms is None}

    assert valid() == left
    actions = [row.action for row in rows_of(desk.store)][-4:]
    assert sorted(actions) == ["key.limit", "key.limit", "key.revoke", "user.role"]
    users.set_role(desk, ROOT, "ann", Role.ADMIN)
    assert valid() == left


def test_a_key_made_with_a_key_that_was_revoked_before_ends_with_the_user_behind_both(desk):
    ann, ben = (users.as_who(users.add(desk, ROOT, name, Role.ADMIN)) for name in ("ann", "ben"))
    own, _ = keys.create(desk, ann, "deploy", Role.ADMIN)
    with_it, _ = keys.create(desk, keys.as_who(own), "till", Role.SERVICE)
    keys.revoke(desk, ben, own.id)
    users.disable(desk, ben, "ann")

    assert {key.id for key in keys.all_keys(desk) if key.revoked_at_ms is not None} == {own.id, with_it.id}


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb"])
def test_a_name_says_what_a_key_is_for(desk, name):
    with pytest.raises(UsageError):
        made(desk, name)


def changed(text: str, at: int) -> str:
    return text[:at] + ("b" if text[at] == "a" else "a") + text[at + 1 :]


def test_what_is_not_the_whole_key_opens_nothing(desk, ring):
    id_, text = made(desk)
    _, other = made(desk, "other")
    secret = text.rpartition("_")[2]
    wrong = [
        "",
        "x",
        text[:-1],
        text + "a",
        text.upper(),
        f" {text}",
        secret,
        f"shroff_{id_}_",
        f"shroff_{id_}_{'0' * 64}",
    ]
    wrong += [changed(text, at) for at in range(len(text))]
    wrong += [f"shroff_{id_}_{other.rpartition('_')[2]}", "shroff_\ud800_x", text.replace("_", "-")]
    words = set()
    for item in wrong:
        for ask in (ring.who, ring.who):
            with pytest.raises(SignInError) as raised:
                ask(item)
            words.add(str(raised.value))

    assert words == {keys.WRONG}
    assert ring.who(text)


def test_a_key_ends_when_it_expires(desk, ring, clocks):
    _, text = made(desk, lasts_ms=60_000)
    clocks.pass_s(59.9)
    assert ring.who(text)
    clocks.pass_s(0.1)

    for ask in (ring.at_hand, ring.who):
        with pytest.raises(SignInError):
            ask(text)


def settled(ring: KeyRing) -> None:
    """Wait for what is read beside the requests."""
    ring._beside.submit(lambda: None).result(120)


def test_a_revoked_key_ends_within_a_second(desk, ring, clocks):
    id_, text = made(desk)
    assert ring.who(text)
    keys.revoke(desk, ROOT, id_)
    clocks.pass_s(keys.FRESH_S - 0.001)
    assert ring.at_hand(text)
    clocks.pass_s(0.001)

    with pytest.raises(SignInError):
        ring.who(text)
    with pytest.raises(SignInError):
        ring.at_hand(text)


@pytest.mark.parametrize("by", ["id", "name", "text"])
def test_a_key_is_revoked_by_its_id_its_name_or_its_text(desk, by):
    id_, text = made(desk)
    gone = keys.revoke(desk, ROOT, {"id": id_, "name": "till", "text": text}[by])

    assert gone.revoked_at_ms == NOW_MS
    assert keys.revoke(desk, ROOT, id_) == gone
    assert [row.action for row in rows_of(desk.store)] == ["key.create", "key.revoke"]


def test_a_rotated_key_is_valid_until_its_overlap_ends(desk, ring, clocks):
    id_, text = made(desk, scopes=[Right.SCORE])
    clocks.pass_s(10)
    new, new_text, old = keys.rotate(desk, ROOT, "till", overlap_ms=60_000)

    assert (new.name, new.role, new.scopes, new.ends_at_ms) == (old.name, old.role, (Right.SCORE,), None)
    assert (old.id, old.ends_at_ms) == (id_, NOW_MS + 70_000)
    assert ring.who(text).name == ring.who(new_text).name == "till"
    with pytest.raises(UsageError, match="2 keys"):
        keys.rotate(desk, ROOT, "till", overlap_ms=60_000)
    clocks.pass_s(60)
    with pytest.raises(SignInError):
        ring.who(text)
    assert ring.who(new_text)
    assert [row.action for row in rows_of(desk.store)] == ["key.create", "key.create", "key.rotate"]
    assert keys.rotate(desk, ROOT, "till", overlap_ms=1).old.id == new.id, "the name is that of the valid one"
    with pytest.raises(UsageError, match="is not valid any more"):
        keys.rotate(desk, ROOT, id_, overlap_ms=1)


def test_a_rotated_key_lasts_as_long_as_the_old_one_and_never_makes_that_last_longer(desk, clocks):
    key, _ = keys.create(desk, ROOT, "till", Role.SERVICE, lasts_ms=100_000)
    clocks.pass_s(90)
    new, _, old = keys.rotate(desk, ROOT, key.id, overlap_ms=60_000)

    assert (new.ends_at_ms, old.ends_at_ms) == (NOW_MS + 190_000, NOW_MS + 100_000)
    assert keys.rotate(desk, ROOT, new.id, overlap_ms=1, lasts_ms=5).key.ends_at_ms == NOW_MS + 90_005


def test_only_who_manages_keys_may_rotate_them(desk):
    id_, _ = made(desk, role=Role.VIEWER)  # a key that can do no more than who asks
    viewer = Who("user", "1", "ann", Role.VIEWER, RIGHTS[Role.VIEWER])
    with pytest.raises(NotAllowedError, match="keys"):
        keys.rotate(desk, viewer, id_, overlap_ms=1)


def test_which_key_is_meant_is_asked_where_a_name_is_two_keys(desk):
    made(desk)
    id_, _ = made(desk)
    with pytest.raises(UsageError, match="2 keys"):
        keys.revoke(desk, ROOT, "till")
    keys.revoke(desk, ROOT, id_)
    assert keys.revoke(desk, ROOT, "till").id != id_
    with pytest.raises(UsageError, match="no key this key") as raised:
        keys.revoke(desk, ROOT, f"shroff_{'a' * 12}_{'0' * 64}")
    assert "0000" not in str(raised.value)


def test_thousands_of_requests_ask_the_store_a_few_times(desk, ring, clocks):
    _, text = made(desk)
    ring.who(text)
    before = desk.store.asked
    for _ in range(40):
        for _ in range(100):
            assert ring.at_hand(text) is not None
        clocks.pass_s(0.1)
        settled(ring)

    assert 5 <= desk.store.asked - before <= 8  # in 4 s


def test_a_key_that_is_in_use_never_waits_for_the_store(desk, ring, clocks):
    _, text = made(desk)
    ring.who(text)
    for _ in range(20):
        clocks.pass_s(0.6)
        assert ring.at_hand(text) is not None
        settled(ring)


def test_when_a_key_was_used_is_written_down_now_and_then(desk, ring, clocks):
    id_, text = made(desk)
    ring.who(text)
    settled(ring)
    for _ in range(3):
        clocks.pass_s(0.6)
        ring.at_hand(text)
        settled(ring)
    with desk.store.look() as look:
        assert look.find(ApiKey, id_).used_at_ms == NOW_MS


def test_the_use_of_a_key_that_is_used_seldom_is_written_down_and_that_of_a_wrong_secret_is_not(desk, ring, clocks):
    id_, text = made(desk)
    with pytest.raises(SignInError):
        ring.who(f"{text[:-1]}{'1' if text[-1] == '0' else '0'}")
    settled(ring)
    with desk.store.look() as look:
        assert look.find(ApiKey, id_).used_at_ms is None
    for _ in range(3):
        clocks.pass_s(3_600)
        ring.who(text)
        settled(ring)
    with desk.store.look() as look:
        assert look.find(ApiKey, id_).used_at_ms == NOW_MS + 3 * 3_600_000


def test_made_up_keys_push_no_real_one_out(desk, ring, clocks, monkeypatch):
    monkeypatch.setattr(keys, "UNKNOWN_MAX", 10)
    _, text = made(desk)
    ring.who(text)
    for number in range(50):
        with pytest.raises(SignInError):
            ring.who(f"shroff_{number:012}_{'0' * 64}")

    assert ring.at_hand(text) is not None
    assert len(ring._unknown) <= 10


def test_a_store_that_is_away_lets_nobody_in_for_longer_than_a_second(desk, ring, clocks):
    _, text = made(desk)
    ring.who(text)
    desk.store.is_away = True
    clocks.pass_s(0.9)
    assert ring.at_hand(text) is not None
    settled(ring)
    clocks.pass_s(0.2)

    assert ring.at_hand(text) is None
    with pytest.raises(TransientError):
        ring.who(text)


def test_it_takes_as_long_to_refuse_a_secret_wherever_it_is_wrong(desk, ring):
    id_, text = made(desk)
    ring.who(text)
    secret = text.rpartition("_")[2]
    first, last = changed(secret, 0), changed(secret, 63)

    def is_as_long() -> bool:
        took: list[tuple[str, list[int]]] = [(first, []), (last, [])]
        for _ in range(300):
            for key, times in took:
                began = time.perf_counter_ns()
                with pytest.raises(SignInError):
                    ring._who(ring._known[id_], key)
                times.append(time.perf_counter_ns() - began)
        fast, slow = sorted(sorted(times)[len(times) // 4] for _, times in took)
        return slow < fast * 1.5

    assert any(is_as_long() for _ in range(5)), "what it takes longer is so each time, what others take is not"


def test_keys_are_asked_from_many_threads_at_once(desk, ring):
    _, text = made(desk)
    wrong = []

    def ask() -> None:
        wrong.extend(name for _ in range(50) if (name := ring.who(text).name) != "till")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_keys_that_were_made_with_a_revoked_key_are_named_and_end_where_that_is_asked_for(desk):
    outer, _ = keys.create(desk, ROOT, "outer", Role.ADMIN)
    with_outer = keys.as_who(outer)
    inner, _ = keys.create(desk, with_outer, "inner", Role.ADMIN)
    keys.create(desk, keys.as_who(inner), "innermost", Role.SERVICE)
    keys.create(desk, ROOT, "apart", Role.SERVICE)

    answer = revoke_key(desk, ROOT, RevokeKey(key="outer"))
    assert answer.made == ["inner"]
    assert "inner" in answer.text()
    assert [key.name for key in keys.all_keys(desk) if key.revoked_at_ms] == ["outer"]

    answer = revoke_key(desk, ROOT, RevokeKey(key=outer.id, with_made=True))
    assert answer.made == []
    assert [key.name for key in keys.all_keys(desk) if not key.revoked_at_ms] == ["apart"]


def test_a_key_that_a_second_person_approved_ends_with_who_asked_for_it(desk):
    for name in ("ann", "ben"):
        users.add(desk, ROOT, name, Role.ADMIN)
    users.add(desk, ROOT, "eve", Role.ADMIN)
    ben = users.as_who(next(user for user in users.all_users(desk) if user.name == "ben"))
    key = create_key(desk, ben, "ann", CreateKey(name="ci", role="admin"))

    assert key.made_by == "ann"
    users.disable(desk, ROOT, "ben")
    assert keys.all_keys(desk)[0].revoked_at_ms is None
    users.disable(desk, ROOT, "ann")
    assert keys.all_keys(desk)[0].revoked_at_ms is not None


@pytest.mark.parametrize("turned", [users.disable, users.delete, lambda *who: users.set_role(*who, Role.VIEWER)])
def test_who_asked_for_a_key_and_may_do_less_since_then_gets_none_by_an_approval(desk, turned):
    ann, ben = (users.as_who(users.add(desk, ROOT, name, Role.ADMIN)) for name in ("ann", "ben"))
    turned(desk, ben, ann.name)
    with pytest.raises(NotAllowedError, match="ann asked for this key"):
        create_key(desk, ben, ann.name, CreateKey(name="ci", role="admin"))

    assert keys.all_keys(desk) == []


def test_a_list_says_when_a_key_was_used_last_or_that_it_never_was():
    made, used = "2026-03-01T10:00:00Z", "2026-03-02T11:00:00Z"
    listed = [
        KeyDocument(name, name, "service", scopes, made, "ann", None, None, used_at)
        for name, scopes, used_at in (("till", [], used), ("desk", ["read:decisions"], None))
    ]
    rows = [" ".join(line.split()) for line in Keys(listed).text().splitlines()]

    assert rows[-2:] == [
        f"till till service all of its role never expires {used}",
        "desk desk service read:decisions never expires never",
    ]
