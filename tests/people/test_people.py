"""Users, sessions, links, pauses and rights, with a clock and randomness that the test owns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import NotAllowedError, PausedError, SignInError, UsageError
from shroff.people import keys, links, passwords, sessions, throttle, users
from shroff.people.access import RIGHTS, Right, Role, Who, local
from shroff.people.audit import REASON_MAX, checked_reason, sealing, verify
from shroff.people.audit_operations import ListAudit, list_audit
from shroff.people.passwords import Passwords
from shroff.people.store import Attempts, Desk, User, UserSession, rows_of
from shroff.project.settings.systems import SignInSettings
from shroff.runtime.values import replace

NOW_MS = 1_700_000_000_000
TIMES = SignInSettings()
GOOD, OTHER = "correct horse battery", "staple of another kind"
ROOT = local("root", "command")
NOBODY = Who("user", "user-9", "eve", Role.VIEWER, RIGHTS[Role.VIEWER])
AS_SHIPPED = vars(Passwords)["_hasher"]  # tests have a cheap one (tests/conftest.py)
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Clock:
    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Counted(Passwords):
    """Passwords that count how often a hash was computed."""

    looked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(CHEAP)

    def is_right(self, password: str, hash: str) -> bool:
        self.looked.append(hash)
        return super().is_right(password, hash)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    SqliteLog(tmp_path / "log.db").close()
    with closing(SqlPeople(tmp_path / "log.db", sealing(b"key"))) as store:
        yield Desk(store, clock, passwords=Counted())


@pytest.fixture
def ann(desk: Desk) -> User:
    return users.add(desk, ROOT, "ann", Role.ANALYST, password=GOOD)


def signed(desk: Desk, name: str = "ann", password: str = GOOD) -> sessions.SignedIn:
    return sessions.sign_in(desk, name, password, "1.2.3.4")


def told(desk: Desk) -> list[tuple[str, str, str]]:
    return [(row.name, row.action, row.subject) for row in rows_of(desk.store)]


# ---- rights


def test_every_right_is_somebodys_and_an_admin_has_all():
    assert RIGHTS[Role.ADMIN] == frozenset(Right)
    assert set(RIGHTS) == set(Role)
    for role in (Role.ANALYST, Role.AUTHOR, Role.VIEWER, Role.SERVICE):
        assert RIGHTS[role] < RIGHTS[Role.ADMIN]


@pytest.mark.parametrize("right", [Right.MANAGE_USERS, Right.MANAGE_KEYS, Right.READ_AUDIT, Right.ERASE_PERSONAL])
def test_what_gives_power_over_others_is_an_admins_alone(right):
    assert [role for role in Role if right in RIGHTS[role]] == [Role.ADMIN]


@pytest.mark.parametrize(
    ("right", "roles"),
    [
        (Right.APPROVE_RULES, {Role.AUTHOR}),
        (Right.EDIT_RULES, {Role.AUTHOR}),
        (Right.MEND_INPUT, set()),
        (Right.PROMOTE_MODELS, {Role.AUTHOR}),
        (Right.READ_CASES, {Role.ANALYST, Role.AUTHOR, Role.VIEWER}),
        (Right.READ_PERSONAL, {Role.ANALYST}),
        (Right.SEND_NOTICES, set()),
        (Right.SET_THRESHOLDS, {Role.AUTHOR}),
        (Right.SUBMIT_EVENTS, {Role.SERVICE}),
        (Right.WORK_CASES, {Role.ANALYST}),
    ],
)
def test_no_other_role_than_an_admin_and_these_has_what_changes_something_or_shows_people(right, roles):
    assert {role for role in Role if right in RIGHTS[role]} == {Role.ADMIN, *roles}


def test_a_right_that_is_missing_is_refused_by_its_name():
    with pytest.raises(NotAllowedError, match="needs the permission manage:users, which the role viewer does not have"):
        NOBODY.require(Right.MANAGE_USERS)
    with pytest.raises(NotAllowedError, match="this user does not have"):
        replace(NOBODY, rights=frozenset()).require(Right.READ_CASES)
    NOBODY.require(Right.READ_CASES)


def test_nobody_changes_users_without_the_right(desk, ann):
    now = signed(desk)
    (session,) = sessions.open_sessions(desk)
    key = replace(NOBODY, kind="key", id="key-1", name="ann")  # of a program that is called as a user is
    before = told(desk), users.all_users(desk)
    calls = [
        lambda: users.add(desk, NOBODY, "cy", Role.ADMIN),
        lambda: users.set_role(desk, NOBODY, "ann", Role.ADMIN),
        lambda: users.disable(desk, NOBODY, "ann"),
        lambda: users.enable(desk, NOBODY, "ann"),
        lambda: users.rename(desk, NOBODY, "ann", display_name="x", email=""),
        lambda: users.set_password(desk, NOBODY, "ann", OTHER),
        lambda: users.delete(desk, NOBODY, "ann"),
        lambda: links.for_admin(desk, NOBODY),
        lambda: links.for_password(desk, NOBODY, "ann"),
        lambda: links.for_signing_in(desk, NOBODY, "ann"),
        lambda: users.set_password(desk, key, "ann", OTHER),
        lambda: sessions.end_named(desk, NOBODY, session.id),
        lambda: sessions.end_named(desk, key, session.id),
        lambda: sessions.end_named(desk, NOBODY, "x"),
    ]
    for call in calls:
        with pytest.raises(NotAllowedError):
            call()

    assert (told(desk), users.all_users(desk)) == before
    assert sessions.end_named(desk, now.who, session.id) == session, "one's own needs no right"
    assert sessions.signed_in(desk, now.token) is None


# ---- users


@pytest.mark.parametrize(
    "name", ["", " ", "-ann", "ann lee", "ann/../x", "a" * 101, "ann\n", "änn", "<script>", "'; --"]
)
def test_a_name_that_is_none_is_refused(desk, name):
    if name == "ann\n":
        assert users.known_name(name) == "ann"
        return
    with pytest.raises(UsageError):
        users.add(desk, ROOT, name, Role.VIEWER)


def test_names_are_the_same_however_they_are_written(desk, ann):
    assert users.known_name(" ANN ") == users.known_name("ＡＮＮ") == "ann"
    with pytest.raises(UsageError, match="already"):
        users.add(desk, ROOT, "Ann", Role.VIEWER)
    assert signed(desk, "ANN").user.number == ann.number


def test_a_role_of_programs_is_no_persons(desk):
    with pytest.raises(UsageError, match="no role 'service' for people"):
        users.add(desk, ROOT, "ann", Role.SERVICE)


def test_the_last_admin_stays_one(desk):
    users.add(desk, ROOT, "root", Role.ADMIN, password=GOOD)
    users.add(desk, ROOT, "other", Role.ADMIN)
    users.disable(desk, ROOT, "other")
    for call in (users.disable, users.delete, lambda *words: users.set_role(*words, Role.VIEWER)):
        with pytest.raises(UsageError, match="only admin"):
            call(desk, ROOT, "root")
    users.enable(desk, ROOT, "other")

    users.delete(desk, ROOT, "root")
    assert [user.name for user in users.all_users(desk)] == ["other"]


def test_a_user_who_is_removed_stays_in_the_record(desk, ann):
    signed(desk)
    users.delete(desk, ROOT, "ann")

    assert told(desk) == [
        ("root", "user.add", "user ann"),
        ("ann", "sign_in.by_password", "user ann"),
        ("root", "user.delete", "user ann"),
    ]


def test_the_record_shows_no_password_token_or_hash(desk, ann):
    path = links.for_password(desk, ROOT, "ann")
    now = links.use(desk, path.removeprefix(links.PATH), OTHER)
    users.set_password(desk, now.who, "ann", GOOD)
    text = " ".join(f"{row.subject} {row.before} {row.after}" for row in rows_of(desk.store))

    for secret in (GOOD, OTHER, "argon2", now.token, path[-20:], ann.password):
        assert secret not in text
    assert ann.password not in repr(ann)
    assert now.token not in repr(now)


def test_the_record_of_all_this_is_whole(desk, ann):
    users.set_role(desk, ROOT, "ann", Role.AUTHOR)
    with desk.store.look() as look:
        head = look.head()

    assert verify(rows_of(desk.store), head, desk.store.seal).rows == 2
    assert not verify(rows_of(desk.store), head, desk.store.seal).breaks


# ---- passwords


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "a" * 1_025,
        "aaaaaaaaaaaaaa",
        "121212121212",
        "password1234",
        "Passw0rd!!!!!",
        "qwertyuiop12",
        "1qaz2wsx3edc!",
        "letmein-letmein-2026",
        "Annette.Meier",
        "annette123456",
        "meier@annette1",
        "shroffshroff1!",
    ],
)
def test_a_password_that_is_guessed_first_is_refused(password):
    with pytest.raises(UsageError) as raised:
        passwords.check(password, "annette", "Annette Meier", "annette.meier@bank.org")
    assert password not in str(raised.value)


@pytest.mark.parametrize(
    "password",
    [GOOD, OTHER, "dreiundzwanzig Äpfel", "ножницы-и-бумага", "Tr0ub4dor&3xyzzy", "夏目漱石吾輩は猫である名前"],
)
def test_a_password_that_nobody_guesses_will_do(password):
    passwords.check(password, "ann", "Ann Lee", "ann@bank.org")


def test_a_password_is_the_same_however_its_letters_are_composed():
    made = Passwords(CHEAP)

    assert made.is_right("pa\u0308sse dunkelblau", made.hash("p\u00e4sse dunkelblau"))
    assert not made.is_right("p\u00e4sse dunkelblaU", made.hash("p\u00e4sse dunkelblau"))
    assert not made.is_right("", "")
    assert not made.is_right(GOOD, "no hash")
    assert not made.is_right("x" * 10_000_000, made.hash(GOOD))


def test_hashes_have_the_parameters_that_the_library_recommends(monkeypatch):
    monkeypatch.setattr(Passwords, "_hasher", AS_SHIPPED)
    made = Passwords()

    assert made.hash(GOOD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_hash_of_older_parameters_is_renewed_at_the_next_sign_in(desk, ann):
    newer = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    later = replace(desk, passwords=Passwords(newer))
    now = signed(later)

    assert "m=16,t=2" in now.user.password
    assert sessions.signed_in(later, now.token) is not None
    assert signed(later).user.password == now.user.password
    with pytest.raises(SignInError):
        signed(later, password=OTHER)


# ---- signing in


def test_whatever_is_wrong_has_the_same_words_and_costs_a_hash(desk, ann, clock):
    users.add(desk, ROOT, "ben", Role.VIEWER)  # without a password
    users.add(desk, ROOT, "cy", Role.VIEWER, password=GOOD)
    users.disable(desk, ROOT, "cy")
    desk.passwords.looked.clear()
    wrong = [("ann", OTHER), ("ben", GOOD), ("ben", ""), ("cy", GOOD), ("nobody", GOOD), ("not a name", GOOD)]
    words = set()
    for name, password in wrong:
        with pytest.raises(SignInError) as raised:
            signed(desk, name, password)
        words.add(str(raised.value))

    assert words == {sessions.WRONG}
    assert len(desk.passwords.looked) == len(wrong)


def test_a_session_belongs_to_its_token_alone(desk, ann):
    session, other = signed(desk), signed(desk)

    assert session.token != other.token
    assert session.csrf != other.csrf
    assert session.is_own(session.csrf)
    assert not session.is_own(other.csrf)
    assert not session.is_own("")
    assert not session.is_own("\ud800")
    assert session.token not in session.csrf
    rights = RIGHTS[Role.ANALYST]
    ann_signed_in = Who("user", ann.id, "ann", Role.ANALYST, rights, ann.display_name, since_ms=NOW_MS)
    assert sessions.signed_in(desk, session.token).who == ann_signed_in
    for token in ("", session.token[:-1], session.csrf, "\ud800"):
        assert sessions.signed_in(desk, token) is None


def test_the_token_that_a_browser_had_before_is_worth_nothing_after(desk, ann):
    planted = signed(desk)
    now = sessions.sign_in(desk, "ann", GOOD, "1.2.3.4", before=planted.token)

    assert sessions.signed_in(desk, planted.token) is None
    assert sessions.signed_in(desk, now.token) is not None


def test_a_session_that_nobody_uses_ends_and_one_that_is_used_lasts_a_day(desk, ann, clock):
    used, left = signed(desk), signed(desk)
    for _ in range(12):
        clock.now_ms += TIMES.lasts_ms // 12 - 1_000
        assert sessions.signed_in(desk, used.token) is not None

        assert (sessions.signed_in(desk, left.token, is_use=False) is None) == (clock() >= NOW_MS + TIMES.idle_ms)
    clock.now_ms = NOW_MS + TIMES.lasts_ms - 1
    assert sessions.signed_in(desk, used.token) is not None
    clock.now_ms += 1
    assert sessions.signed_in(desk, used.token) is None


def test_a_project_says_for_how_long_somebody_stays_signed_in(desk, ann, clock):
    short = replace(desk, settings_now=lambda: SignInSettings(idle_ms=60_000, lasts_ms=100_000))
    used, left = signed(short), signed(short)

    assert used.ends_at_ms == NOW_MS + 100_000
    clock.now_ms = NOW_MS + 59_999
    assert [each.ends_at_ms for each in sessions.open_sessions(short)] == [NOW_MS + 60_000] * 2
    for item in (used, left):
        assert sessions.signed_in(short, item.token, is_use=item is used) is not None
    clock.now_ms += 1
    assert sessions.signed_in(short, left.token) is None
    clock.now_ms = NOW_MS + 99_999
    assert sessions.signed_in(short, used.token) is not None
    clock.now_ms += 1
    assert sessions.signed_in(short, used.token) is None


def test_one_changes_ones_password_by_the_one_that_holds_and_is_signed_out_elsewhere(desk, ann):
    here, elsewhere = signed(desk), signed(desk)
    with pytest.raises(SignInError, match="that is not your password"):
        sessions.change_password(desk, here, OTHER, OTHER, "1.2.3.4")
    with pytest.raises(UsageError):
        sessions.change_password(desk, here, GOOD, "short", "1.2.3.4")
    assert sessions.signed_in(desk, elsewhere.token) is not None, "nothing was changed"
    now = sessions.change_password(desk, here, GOOD, OTHER, "1.2.3.4")

    assert sessions.signed_in(desk, now.token) is not None
    assert [sessions.signed_in(desk, item.token) for item in (here, elsewhere)] == [None, None]
    assert signed(desk, password=OTHER).user.name == "ann"
    with pytest.raises(SignInError):
        signed(desk, password=GOOD)
    assert ("ann", "user.password", "user ann") in told(desk)


@pytest.mark.slow
def test_a_password_that_was_changed_meanwhile_is_not_changed_again(desk, ann):
    here = signed(desk)
    users.set_password(desk, ROOT, "ann", OTHER)

    with pytest.raises(SignInError):
        sessions.change_password(desk, here, GOOD, "a third one of its kind", "1.2.3.4")
    assert signed(desk, password=OTHER).user.name == "ann"


def test_guesses_at_the_password_that_holds_pause_as_at_the_door(desk, ann):
    here = signed(desk)
    for _ in range(6):
        with pytest.raises(SignInError):
            sessions.change_password(desk, here, "a wrong password", OTHER, "1.2.3.4")
    with pytest.raises(PausedError):
        sessions.change_password(desk, here, GOOD, OTHER, "1.2.3.4")


def test_who_signs_in_at_a_provider_has_no_password_here(desk, ann):
    here = replace(signed(desk), user=replace(ann, subject="https://login sub"))
    with pytest.raises(UsageError, match="signs in at the OpenID provider"):
        sessions.change_password(desk, here, "", OTHER)


def test_what_a_page_asks_by_itself_is_no_use(desk, ann, clock):
    now = signed(desk)
    clock.now_ms += TIMES.idle_ms - 1
    assert sessions.signed_in(desk, now.token, is_use=False) is not None
    clock.now_ms += 1

    assert sessions.signed_in(desk, now.token) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda desk: users.set_role(desk, ROOT, "ann", Role.ADMIN),
        lambda desk: users.set_password(desk, ROOT, "ann", OTHER),
        lambda desk: users.disable(desk, ROOT, "ann"),
        lambda desk: users.delete(desk, ROOT, "ann"),
    ],
    ids=["role", "password", "disable", "delete"],
)
def test_a_change_of_what_a_session_stands_on_ends_it(desk, ann, change):
    mine, other = signed(desk), signed(desk)
    change(desk)

    assert sessions.signed_in(desk, mine.token) is None
    assert sessions.signed_in(desk, other.token) is None


def test_a_session_of_an_earlier_stamp_is_none_even_if_its_row_is_still_there(desk, ann):
    rows = [
        UserSession(sessions.token_hash(f"t{n}"), ann.number, n, NOW_MS, NOW_MS, NOW_MS + 9_999, "") for n in (0, 1)
    ]
    with desk.store.change() as change:
        for row in rows:
            change.put(row)

    assert [sessions.signed_in(desk, f"t{n}") is None for n in (0, 1)] == [True, False]


def test_a_session_that_was_ended_is_not_brought_back_by_a_use_at_the_same_time(desk, ann, clock):
    now = signed(desk)
    with desk.store.look() as look:
        session = look.find(UserSession, sessions.token_hash(now.token))
    sessions.sign_out(desk, now.token)
    sessions._note_use(desk, session, clock() + 1, "")

    assert sessions.signed_in(desk, now.token) is None
    sessions.sign_out(desk, now.token)
    assert told(desk)[-1] == ("ann", "sign_in.end", "user ann")


def test_a_password_is_changed_by_its_user_and_ends_all_sessions(desk, ann):
    now = signed(desk)
    users.set_password(desk, now.who, "ann", OTHER)

    assert sessions.signed_in(desk, now.token) is None
    with pytest.raises(SignInError):
        signed(desk)
    assert signed(desk, password=OTHER).user.stamp == ann.stamp + 1


# ---- pauses


def fail(desk: Desk, name: str = "ann", address: str = "1.2.3.4") -> None:
    with pytest.raises(SignInError) as raised:
        sessions.sign_in(desk, name, OTHER, address)
    assert not isinstance(raised.value, PausedError)


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_pauses_by_name_grow_and_are_the_same_for_names_that_are_not_there(desk, ann, clock, name):
    for number in range(throttle.BY_NAME.free):
        fail(desk, name, f"1.2.3.{number}")
        clock.now_ms += 1_000 if number == throttle.BY_NAME.free - 1 else 0
    waits = []
    for number in range(12):
        fail(desk, name, f"1.2.4.{number}")
        with pytest.raises(PausedError) as raised:
            sessions.sign_in(desk, name, GOOD, "9.9.9.9")
        waits.append(raised.value.wait_s)
        clock.now_ms += raised.value.wait_s * 1_000

    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_a_pause_is_kept_where_the_program_starts_anew(desk, ann, clock, tmp_path):
    for _ in range(throttle.BY_NAME.free):
        fail(desk)
    with closing(SqlPeople(tmp_path / "log.db", sealing(b"key"))) as again, pytest.raises(PausedError):
        signed(replace(desk, store=again))


def test_guesses_that_are_made_at_once_are_counted_before_they_are_looked_at(desk, ann):
    def guess() -> None:
        with pytest.raises(SignInError):
            sessions.sign_in(desk, "ann", OTHER, "1.2.3.4")

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(desk.passwords.looked) == throttle.BY_NAME.free


def test_who_signs_in_after_a_pause_begins_anew(desk, ann, clock):
    for _ in range(throttle.BY_NAME.free):
        fail(desk)
    clock.now_ms += 1_000
    signed(desk)

    for _ in range(throttle.BY_NAME.free):
        fail(desk)


@pytest.mark.parametrize("address", ["6.6.6.6", "2001:db8:6::{:x}"])
def test_an_address_that_tries_many_names_has_to_wait_and_others_do_not(desk, ann, clock, address):
    for number in range(throttle.BY_ADDRESS.free):
        fail(desk, f"name{number}", address.format(number))  # whoever has one address of a /64 has all of them
    with pytest.raises(PausedError):
        sessions.sign_in(desk, "ann", GOOD, address.format(0xF00))

    assert signed(desk).user == replace(ann, last_login_ms=NOW_MS)
    assert [row for row in told(desk) if row[1] == "sign_in.pause"] == []
    clock.now_ms += 1_000
    fail(desk, "one more", address.format(1))
    assert told(desk)[-1] == ("nobody", "sign_in.pause", f"address {address.format(1)}")


def test_signing_in_does_not_free_an_address_that_guesses(desk, ann, clock):
    for number in range(throttle.BY_ADDRESS.free - 1):
        fail(desk, f"name{number}", "6.6.6.6")
    sessions.sign_in(desk, "ann", GOOD, "6.6.6.6")
    fail(desk, "one more", "6.6.6.6")

    with pytest.raises(PausedError):
        sessions.sign_in(desk, "ann", GOOD, "6.6.6.6")


def test_attempts_of_yesterday_count_no_more(desk, ann, clock):
    for _ in range(throttle.BY_NAME.free):
        fail(desk)
    clock.now_ms += throttle.FORGOTTEN_MS + 1

    fail(desk)
    assert signed(desk)


@given(st.lists(st.integers(7, 60), min_size=40, max_size=80))
def test_mistakes_that_are_far_apart_pause_nobody_and_a_guesser_gets_no_more_than_the_rate(minutes):
    """An office makes a mistake every seven minutes at most; a guesser tries as soon as the pause is over."""
    count, now_ms = Attempts(b"", 0, 0, 0), 0
    change: Any = SimpleNamespace(find=lambda *_: count)
    for quiet in minutes:
        now_ms += quiet * 60_000
        _, _, count = throttle._count(change, throttle.BY_ADDRESS, "6.6.6.6", now_ms)
        assert count.until_ms == now_ms
    tried, end_ms = 0, now_ms + 24 * 3_600_000
    while now_ms < end_ms:
        _, _, count = throttle._count(change, throttle.BY_NAME, "ann", now_ms)
        now_ms, tried = max(count.until_ms, now_ms + 1), tried + 1
    assert tried <= throttle.BY_NAME.free + 110


def test_a_person_who_is_signed_in_and_types_wrong_codes_pauses_nobody_else(desk):
    for number in range(throttle.BY_ADDRESS.free + 1):
        throttle.begin(desk, f"name{number} factor", "")
    throttle.begin(desk, "ann factor", "")


# ---- links


def token_of(path: str) -> str:
    assert path.startswith(links.PATH)
    return path.removeprefix(links.PATH)


def test_the_first_link_makes_an_admin_once(desk):
    path = links.first(desk, ROOT)
    assert links.asks_for(desk, token_of(path)) is None
    with pytest.raises(UsageError):
        links.use(desk, token_of(path), "short", name="root")
    with pytest.raises(UsageError):
        links.use(desk, token_of(path), GOOD, name="no name")
    now = links.use(desk, token_of(path), GOOD, name="root", display_name="Root R", address="1.2.3.4")

    assert (now.user.name, now.user.role, now.user.display_name) == ("root", Role.ADMIN, "Root R")
    assert sessions.signed_in(desk, now.token).who.may(Right.MANAGE_USERS)
    assert links.first(desk, ROOT) is None
    with pytest.raises(SignInError):
        links.use(desk, token_of(path), GOOD, name="eve")
    assert [user.name for user in users.all_users(desk)] == ["root"]


def test_a_first_link_has_its_end(desk, clock):
    path = links.first(desk, ROOT)
    clock.now_ms += links.FIRST_LASTS_MS
    for call in (links.asks_for, lambda *words: links.use(*words, GOOD, name="root")):
        with pytest.raises(SignInError, match="shroff users link"):
            call(desk, token_of(path))
    assert links.first(desk, ROOT) != path


def test_a_users_link_sets_the_password_and_ends_what_was_open(desk, ann):
    before, path = signed(desk), links.for_password(desk, ROOT, "Ann")
    assert links.asks_for(desk, token_of(path)).name == "ann"
    now = links.use(desk, token_of(path), OTHER, name="eve")

    assert now.user.number == ann.number
    assert sessions.signed_in(desk, before.token) is None
    assert sessions.signed_in(desk, now.token) is not None
    assert signed(desk, password=OTHER)
    with pytest.raises(SignInError):
        links.use(desk, token_of(path), GOOD)


def test_a_link_of_somebody_who_is_disabled_or_gone_does_nothing(desk, ann):
    path = links.for_password(desk, ROOT, "ann")
    users.disable(desk, ROOT, "ann")
    with pytest.raises(SignInError):
        links.use(desk, token_of(path), OTHER)
    users.enable(desk, ROOT, "ann")
    assert links.asks_for(desk, token_of(path)).name == "ann"
    users.delete(desk, ROOT, "ann")

    with pytest.raises(SignInError):
        links.use(desk, token_of(path), OTHER, name="ann")
    for token in ("", "made up", "\ud800"):
        with pytest.raises(SignInError):
            links.use(desk, token, GOOD, name="eve")


def once_of(path: str) -> str:
    assert path.startswith(links.ONCE)
    return path.removeprefix(links.ONCE)


def test_a_link_signs_a_user_in_once_and_leaves_the_password(desk, ann):
    before, path = signed(desk), links.for_signing_in(desk, ROOT, "Ann")
    assert links.asks_for(desk, once_of(path), links.ONCE).name == "ann"
    now = links.sign_in(desk, once_of(path), "1.2.3.4")

    assert sessions.signed_in(desk, now.token).user.number == ann.number
    assert sessions.signed_in(desk, before.token) is not None
    assert signed(desk)
    for call in (lambda *words: links.asks_for(*words, links.ONCE), lambda *words: links.sign_in(*words, "1.2.3.4")):
        with pytest.raises(SignInError):
            call(desk, once_of(path))
    assert ("root", "link.make", "user ann") in told(desk)
    assert ("ann", "sign_in.by_link", "user ann") in told(desk)


def test_a_link_that_signs_in_sets_no_password_and_one_that_sets_a_password_does_not_sign_in(desk, ann):
    once = links.for_signing_in(desk, ROOT, "ann")
    for call in (links.asks_for, lambda *words: links.use(*words, OTHER)):
        for token in (once_of(once), once, once.removeprefix("/login/")):
            with pytest.raises(SignInError):
                call(desk, token)
    assert links.sign_in(desk, once_of(once), "1.2.3.4")
    for_password = links.for_password(desk, ROOT, "ann")
    for call in (lambda *words: links.asks_for(*words, links.ONCE), lambda *words: links.sign_in(*words, "1.2.3.4")):
        with pytest.raises(SignInError):
            call(desk, token_of(for_password))
    assert links.use(desk, token_of(for_password), OTHER)


@pytest.mark.parametrize("newer", ["link", "admin", "own"])
def test_a_link_ends_with_a_newer_one_and_with_a_new_password(desk, ann, newer):
    path = links.for_password(desk, ROOT, "ann")
    if newer == "link":
        links.for_password(desk, ROOT, "ann")
    elif newer == "admin":
        users.set_password(desk, ROOT, "ann", OTHER)
    else:
        sessions.change_password(desk, signed(desk), GOOD, OTHER)

    with pytest.raises(SignInError, match="unknown"):
        links.use(desk, token_of(path), OTHER)


def test_a_link_that_makes_an_admin_stays_where_another_is_made(desk):
    first = links.for_admin(desk, ROOT)
    links.for_admin(desk, ROOT)

    assert links.use(desk, token_of(first), OTHER, name="eve").user.name == "eve"


@pytest.mark.parametrize(
    "way", ["disabled", "removed", "another role", "renamed first", "by key", "key ended", "no role"]
)
def test_links_end_with_the_right_of_who_made_them_and_no_others(desk, ann, way):
    eve, ben = (users.as_who(users.add(desk, ROOT, name, Role.ADMIN)) for name in ("eve", "ben"))
    key, _ = keys.create(desk, eve, "deploy", Role.ADMIN)
    maker = keys.as_who(key) if "key" in way else eve
    made = links.for_password(desk, maker, "ann"), links.for_admin(desk, maker)
    once, beside = links.for_signing_in(desk, maker, "ben"), links.for_admin(desk, ben)
    users.set_role(desk, ROOT, "ben", Role.ADMIN)
    if way == "removed":
        users.delete(desk, ben, "eve")
    elif way == "another role":
        users.set_role(desk, ben, "eve", Role.AUTHOR)
    elif way == "key ended":
        keys.revoke(desk, ben, key.id)
    elif way == "no role":
        with desk.store.change() as change:
            keys.limit_to(None, change, eve, "eve", desk.now_ms())
    else:
        users.rename(desk, ben, "eve", display_name="", email="", new_name="mallory" if way == "renamed first" else "")
        users.disable(desk, ben, "mallory" if way == "renamed first" else "eve")

    for path in made:
        with pytest.raises(SignInError, match="unknown"):
            links.asks_for(desk, token_of(path))
    with pytest.raises(SignInError, match="unknown"):
        links.sign_in(desk, once_of(once), "1.2.3.4")
    assert links.asks_for(desk, token_of(beside)) is None


def test_nobody_removes_themselves_to_come_back_as_somebody_else(desk, ann):
    users.set_role(desk, ROOT, "ann", Role.ADMIN)
    users.add(desk, ROOT, "ben", Role.ADMIN)
    me = signed(desk).who
    with pytest.raises(UsageError, match="another admin has to remove you"):
        users.delete(desk, me, "Ann")
    users.delete(desk, me, "ben")

    assert [user.name for user in users.all_users(desk)] == ["ann"]


def test_a_link_that_signs_in_has_its_end_and_nobody_disabled_comes_in(desk, clock, ann):
    path = links.for_signing_in(desk, ROOT, "ann")
    users.disable(desk, ROOT, "ann")
    with pytest.raises(SignInError):
        links.sign_in(desk, once_of(path), "1.2.3.4")
    users.enable(desk, ROOT, "ann")
    path = links.for_signing_in(desk, ROOT, "ann")
    clock.now_ms += links.ONCE_LASTS_MS
    with pytest.raises(SignInError, match="shroff users link"):
        links.sign_in(desk, once_of(path), "1.2.3.4")
    for token in ("", "made up", "\ud800"):
        with pytest.raises(SignInError):
            links.sign_in(desk, token, "1.2.3.4")
    with pytest.raises(UsageError, match="there is no user"):
        links.for_signing_in(desk, ROOT, "eve")


def test_a_cursor_of_the_audit_log_is_a_number_that_the_store_can_hold(desk: Desk):
    assert list_audit(desk, ListAudit(cursor="9" * 18)).next is None
    for cursor in ("9" * 19, "-1", "1.5", "²"):
        with pytest.raises(UsageError, match="send the 'next' of the previous response unchanged"):
            list_audit(desk, ListAudit(cursor=cursor))


def test_a_reason_is_one_line_of_at_most_so_many_characters():
    assert checked_reason(f" {'x' * REASON_MAX}\n") == "x" * REASON_MAX
    for reason in (" ", "a\nb", "x" * (REASON_MAX + 1)):
        with pytest.raises(UsageError, match="say why, on one line of 1,000 characters at most"):
            checked_reason(reason)
