"""The second factor: codes by RFC 6238, each used once; recovery codes; roles that need it."""

from __future__ import annotations

from base64 import b32decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import NotAllowedError, PausedError, SignInError, UsageError
from shroff.people import factors, links, sessions, users
from shroff.people.access import RIGHTS, Right, Role, Who, local
from shroff.people.audit import sealing
from shroff.people.passwords import Passwords
from shroff.people.store import Desk, User, rows_of
from shroff.project.settings.systems import SignInSettings
from shroff.runtime.values import replace

GOOD = "correct horse battery"
ROOT = local("root", "command")
NOBODY = Who("user", "user-9", "eve", Role.VIEWER, RIGHTS[Role.VIEWER])
HERE = "1.2.3.4"


class Clock:
    now_ms = 1_700_000_010_000  # a third into a step

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    SqliteLog(tmp_path / "log.db").close()
    cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with closing(SqlPeople(tmp_path / "log.db", sealing(b"key"))) as store:
        desk = Desk(store, clock, passwords=cheap)
        users.add(desk, ROOT, "ann", Role.ANALYST, password=GOOD)
        yield desk


def signed(desk: Desk) -> sessions.SignedIn:
    return sessions.sign_in(desk, "ann", GOOD, HERE)


def form_of(desk: Desk, token: str) -> factors.FactorForm:
    return factors.asked(desk, token)


def code_of(secret: str, clock: Clock, steps: int = 0) -> str:
    return factors.code_at(b32decode(secret), clock() // 30_000 + steps)


def set_up(desk: Desk, clock: Clock) -> tuple[str, list[str], sessions.SignedIn]:
    now = signed(desk)
    secret = form_of(desk, now.token).secret
    found, codes = factors.prove(desk, now.token, code_of(secret, clock), HERE, password=GOOD)
    clock.now_ms += 60_000
    return secret, codes, found


def ann_of(desk: Desk) -> User:
    with desk.store.look() as look:
        return users.in_look(look, "ann")


@pytest.mark.parametrize(
    ("time_s", "code"),
    [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ],
)
def test_codes_are_those_of_the_standard(time_s, code):
    """The last six digits of the eight in appendix B of RFC 6238."""
    assert factors.code_at(b"12345678901234567890", time_s // 30) == code[2:]


def test_a_password_alone_lets_nobody_in_who_has_a_second_factor(desk, clock):
    secret, _, _ = set_up(desk, clock)
    half = signed(desk)

    assert half.is_half
    assert sessions.signed_in(desk, half.token) is None
    assert half.user.name not in {
        session.user.name for session in sessions.open_sessions(desk) if session.session.is_half
    }
    whole, codes = factors.prove(desk, half.token, code_of(secret, clock), HERE)
    assert (whole.is_half, codes) == (False, [])
    assert sessions.signed_in(desk, whole.token) is not None
    assert sessions.signed_in(desk, half.token) is None
    with pytest.raises(SignInError):
        form_of(desk, half.token)


def test_a_code_that_was_used_and_those_before_it_let_nobody_in(desk, clock):
    secret, _, _ = set_up(desk, clock)
    now = code_of(secret, clock)
    factors.prove(desk, signed(desk).token, now, HERE)

    for code in (now, code_of(secret, clock, -1), "\ud800", "１２３４５６"):
        with pytest.raises(SignInError, match="wrong, has expired or was used"):
            factors.prove(desk, signed(desk).token, code, HERE)
    spaced = code_of(secret, clock, 1)
    assert not factors.prove(desk, signed(desk).token, f" {spaced[:3]} {spaced[3:]}", HERE)[0].is_half


def test_a_clock_may_be_wrong_by_a_step_and_not_by_two(desk, clock):
    secret, _, _ = set_up(desk, clock)
    clock.now_ms += 600_000
    for steps in (-2, 2):
        with pytest.raises(SignInError):
            factors.prove(desk, signed(desk).token, code_of(secret, clock, steps), HERE)
    for steps in (-1, 1):
        assert not factors.prove(desk, signed(desk).token, code_of(secret, clock, steps), HERE)[0].is_half


def test_a_recovery_code_works_once(desk, clock):
    _, codes, _ = set_up(desk, clock)

    assert len(set(codes)) == factors.RECOVERY_CODES
    kept = ann_of(desk).recovery
    assert not any(code in kept or code.lower() in kept for code in codes), "as hashes alone"
    shown = "-".join(codes[0][at : at + 4] for at in range(0, 16, 4)).lower()
    assert not factors.prove(desk, signed(desk).token, shown, HERE)[0].is_half
    with pytest.raises(SignInError):
        factors.prove(desk, signed(desk).token, codes[0], HERE)
    assert not factors.prove(desk, signed(desk).token, codes[1], HERE)[0].is_half
    assert len(ann_of(desk).recovery.split()) == factors.RECOVERY_CODES - 2


def test_wrong_codes_wait_longer_and_longer_and_a_right_password_does_not_forget_them(desk, clock):
    secret, _, _ = set_up(desk, clock)
    for _ in range(5):
        with pytest.raises(SignInError):
            factors.prove(desk, signed(desk).token, "000000", HERE)
    with pytest.raises(PausedError):
        factors.prove(desk, signed(desk).token, code_of(secret, clock), HERE)
    clock.now_ms += 60_000
    assert not factors.prove(desk, signed(desk).token, code_of(secret, clock), HERE)[0].is_half


def test_a_stolen_session_sets_no_factor_up(desk, clock):
    stolen = signed(desk)
    code = code_of(form_of(desk, stolen.token).secret, clock)
    for password in ("", "staple of another kind"):
        with pytest.raises(SignInError, match="not your password"):
            factors.prove(desk, stolen.token, code, HERE, password=password)

    assert not ann_of(desk).factor
    assert not signed(desk).is_half


def test_a_stranger_makes_no_code_wait(desk, clock):
    secret, _, _ = set_up(desk, clock)
    for _ in range(5):
        with pytest.raises(SignInError, match=sessions.WRONG):
            sessions.sign_in(desk, "ann factor", "x", "6.6.6.6")

    assert not factors.prove(desk, signed(desk).token, code_of(secret, clock), HERE)[0].is_half


def test_another_password_is_no_way_around_a_role_that_needs_it(desk):
    whole = signed(desk)
    strict = replace(desk, settings_now=lambda: SignInSettings(second_factor=("analyst",)))

    assert sessions.change_password(strict, whole, GOOD, "staple of another kind").is_half


def test_a_role_that_needs_it_sets_it_up_at_the_first_sign_in(desk, clock):
    strict = replace(desk, settings_now=lambda: SignInSettings(second_factor=("analyst",)))
    half = signed(strict)
    other = signed(strict)

    assert half.is_half
    assert sessions.signed_in(strict, half.token) is None
    form = form_of(strict, half.token)
    assert form.secret != form_of(strict, other.token).secret, "no other browser is shown it"
    whole, codes = factors.prove(strict, half.token, code_of(form.secret, clock), HERE)
    assert len(codes) == factors.RECOVERY_CODES
    assert sessions.signed_in(strict, whole.token) is not None
    with pytest.raises(SignInError):  # it ended with all that was opened without the factor
        form_of(strict, other.token)


def test_no_link_goes_around_it(desk, clock):
    set_up(desk, clock)
    once = links.for_signing_in(desk, ROOT, "ann").removeprefix(links.ONCE)

    assert links.sign_in(desk, once, HERE).is_half
    password = links.for_password(desk, ROOT, "ann").removeprefix(links.PATH)
    assert links.use(desk, password, "staple of another kind").is_half


def test_who_turns_it_off_shows_a_code_and_their_other_sessions_end(desk, clock):
    secret, _, mine = set_up(desk, clock)
    other, _ = factors.prove(desk, signed(desk).token, code_of(secret, clock), HERE)
    clock.now_ms += 60_000
    half = signed(desk)
    with pytest.raises(SignInError):
        factors.prove(desk, mine.token, "000000", HERE, do="end")
    factors.prove(desk, half.token, code_of(secret, clock), HERE, do="end")
    assert ann_of(desk).factor, "who is not in yet turns nothing off"
    clock.now_ms += 60_000
    now, _ = factors.prove(desk, mine.token, code_of(secret, clock), HERE, do="end")

    assert not ann_of(desk).factor
    assert sessions.signed_in(desk, now.token) is not None
    assert sessions.signed_in(desk, other.token) is None
    assert not signed(desk).is_half
    assert form_of(desk, now.token).secret != secret


def test_who_turns_it_off_and_has_passkeys_stays_signed_in_as_one_who_has_proven_it(desk, clock):
    secret, _, mine = set_up(desk, clock)
    with desk.store.change() as change:
        passkeys = '[{"id":"a","name":"b","key":"","count":0,"used_at_ms":0}]'
        change.put_user(replace(change.user_named("ann"), passkeys=passkeys))
    clock.now_ms += 60_000
    now, _ = factors.prove(desk, mine.token, code_of(secret, clock), HERE, do="end")
    found = sessions.signed_in(desk, now.token)
    assert found is not None
    assert not found.is_half


def test_an_admin_resets_it_and_the_record_says_so(desk, clock):
    _, _, mine = set_up(desk, clock)
    with pytest.raises(NotAllowedError):
        factors.reset(desk, NOBODY, "ann")
    factors.reset(desk, ROOT, "ann")

    assert sessions.signed_in(desk, mine.token) is None
    assert not signed(desk).is_half
    told = [(row.name, row.action) for row in rows_of(desk.store) if row.action.startswith("factor.")]
    assert told == [("ann", "factor.change"), ("root", "factor.reset")]


def test_a_stolen_session_of_an_admin_resets_no_factor(desk, clock):
    """Who is signed in shows a code of their own again; a used one does not do, and nobody's is reset by guessing."""
    secret, *_ = set_up(desk, clock)
    users.set_role(desk, ROOT, "ann", Role.ADMIN)
    users.add(desk, ROOT, "ben", Role.VIEWER, password=GOOD)
    admin = users.as_who(ann_of(desk))
    used = code_of(secret, clock)
    factors.prove(desk, signed(desk).token, used, HERE)
    for name in ("ann", "ben"):
        for code in ("", "000000", used):
            with pytest.raises(UsageError, match="your own second factor"):
                factors.reset(desk, admin, name, code)
            clock.now_ms += 60_000
    assert ann_of(desk).factor

    clock.now_ms += 900_000
    factors.reset(desk, admin, "ann", code_of(secret, clock))
    assert not ann_of(desk).factor


def test_the_database_has_no_secret_that_another_key_could_make_codes_from(desk, tmp_path, clock):
    secret, _, _ = set_up(desk, clock)
    with closing(SqlPeople(tmp_path / "log.db", sealing(b"another"))) as store:
        stolen = replace(desk, store=store)
        assert form_of(stolen, signed(stolen).token).secret != secret


def test_all_other_sessions_end_and_this_one_stays(desk):
    mine, other = signed(desk), signed(desk)

    with pytest.raises(NotAllowedError):
        sessions.end_all(desk, NOBODY, "ann")
    sessions.end_all(desk, mine.who, "ann", mine.token)
    assert sessions.signed_in(desk, other.token) is None
    assert sessions.signed_in(desk, mine.token, device="Firefox") is not None
    assert [session.session.device for session in sessions.open_sessions(desk)] == ["Firefox"]
    sessions.end_all(desk, ROOT, "ann")
    assert not sessions.open_sessions(desk)
    assert Right.MANAGE_USERS in ROOT.rights


def test_who_has_passkeys_alone_shows_one_again_before_resetting_the_factor_of_another(desk, clock):
    users.add(desk, ROOT, "ben", Role.ADMIN)
    with desk.store.change() as change:
        ben = replace(change.user_named("ben"), passkeys='[{"id":"a","name":"b","key":"","count":0,"used_at_ms":0}]')
        change.put_user(ben)
        token = sessions.open_session(desk, change, ben, HERE, by="passkey", is_proven=True).token
    found = sessions.signed_in(desk, token)
    assert found is not None

    clock.now_ms += factors.AGAIN_MS
    assert factors.reset(desk, found.who, "ann").name == "ann"
    clock.now_ms += 1
    with pytest.raises(UsageError, match="show your passkey again"):
        factors.reset(desk, found.who, "ann")
    with pytest.raises(UsageError, match="show your passkey again"):
        factors.reset(desk, users.as_who(ben), "ann")
