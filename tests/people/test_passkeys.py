"""Passkeys: a device signs in by itself; a challenge is of one session, and is used once."""

from __future__ import annotations

import hashlib
import json
from base64 import b32decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cbor2
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import PausedError, SignInError, UsageError
from shroff.people import factors, passkeys, sessions, users
from shroff.people.access import Role, local
from shroff.people.audit import sealing
from shroff.people.passwords import Passwords
from shroff.people.store import Desk, User, rows_of
from shroff.project.settings.systems import SignInSettings
from shroff.runtime.values import replace
from shroff.web.http.messages import Form

GOOD = "correct horse battery"
ROOT = local("root", "command")
HERE = "1.2.3.4"
ORIGIN = "https://fraud.bank.example"
PRESENT, VERIFIED, ATTESTED = 1, 4, 64


class Clock:
    now_ms = 1_700_000_010_000

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


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Device:
    """An authenticator with one key, as WebAuthn describes it."""

    def __init__(self) -> None:
        self.key, self.id, self.count = ec.generate_private_key(ec.SECP256R1()), b"a key of a device", 0

    def _said(self, kind: str, challenge: str, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": b64(challenge.encode()), "origin": origin}).encode()

    def _data(self, flags: int, site: str = "fraud.bank.example") -> bytes:
        self.count += 1
        return hashlib.sha256(site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def made(self, challenge: str, origin: str = ORIGIN, flags: int = PRESENT | VERIFIED) -> str:
        point = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
        data = self._data(flags | ATTESTED) + bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        parts = {
            "clientDataJSON": b64(self._said("webauthn.create", challenge, origin)),
            "attestationObject": b64(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
        }
        return self._written(parts)

    def signed(self, challenge: str, origin: str = ORIGIN, flags: int = PRESENT | VERIFIED) -> str:
        data, said = self._data(flags), self._said("webauthn.get", challenge, origin)
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        parts = {"clientDataJSON": b64(said), "authenticatorData": b64(data), "signature": b64(signature)}
        return self._written(parts)

    def _written(self, parts: dict[str, str]) -> str:
        return json.dumps({"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": parts})


def ann_of(desk: Desk) -> User:
    with desk.store.look() as look:
        return users.in_look(look, "ann")


def added(desk: Desk, device: Device) -> sessions.SignedIn:
    mine = sessions.sign_in(desk, "ann", GOOD, HERE)
    token, challenge, _ = asked(desk, mine.token, name="Phone", password=GOOD)
    return finish(desk, token, mine.token, device.made(challenge), HERE)


def begun(desk: Desk, session: str = "") -> tuple[str, str]:
    token, challenge, user = passkeys.take(desk, ORIGIN, session, "", Form(), HERE)
    assert user is None
    return token, challenge


def finish(desk: Desk, token: str, session: str, credential: str, address: str = HERE) -> sessions.SignedIn:
    return passkeys.take(desk, ORIGIN, session, token, Form(credential=credential), address)


def asked(desk: Desk, session: str, **given: str) -> object:
    return passkeys.take(desk, ORIGIN, session, "", Form(**given), HERE)


def test_a_passkey_signs_in_by_itself_and_the_password_alone_does_no_more(desk, clock):
    device = Device()
    other = sessions.sign_in(desk, "ann", GOOD, HERE)
    mine = added(desk, device)

    assert sessions.signed_in(desk, mine.token) is not None
    assert sessions.signed_in(desk, other.token) is None, "what was opened without it has ended"
    clock.now_ms += 5_000
    token, challenge = begun(desk)
    found = finish(desk, token, "", device.signed(challenge), HERE)
    assert (found.user.name, found.is_half) == ("ann", False)
    (kept,) = passkeys.of(ann_of(desk))
    assert (kept.name, kept.count, kept.used_at_ms) == ("Phone", device.count, clock.now_ms)
    half = sessions.sign_in(desk, "ann", GOOD, HERE)
    assert half.is_half
    form = factors.asked(desk, half.token)
    code = factors.code_at(b32decode(form.secret), clock() // 30_000)
    with pytest.raises(SignInError, match="you have a passkey"):  # else a password alone would set up codes
        factors.prove(desk, half.token, code, HERE)
    told = [(row.action, row.after) for row in rows_of(desk.store) if "passkey" in row.action]
    assert [action for action, _ in told] == ["passkey.add", "sign_in.by_passkey", "sign_in.by_passkey"]
    assert told[0][1] == '["Phone"]'


def test_a_challenge_is_of_one_session_is_used_once_and_ends(desk, clock):
    device = Device()
    mine = added(desk, device)

    token, challenge = begun(desk)
    answer = device.signed(challenge)
    finish(desk, token, "", answer, HERE)
    refused = [(token, "", answer), ("", "", answer)]
    for session in ("", mine.token):
        token, challenge = begun(desk, mine.token if not session else "")
        refused.append((token, session, device.signed(challenge)))
    for token, session, answer in refused:
        with pytest.raises(SignInError, match="this sign-in has ended"):
            finish(desk, token, session, answer, HERE)
    token, challenge = begun(desk)
    clock.now_ms += passkeys.LASTS_MS
    with pytest.raises(SignInError, match="this sign-in has ended"):
        finish(desk, token, "", device.signed(challenge), HERE)


def test_what_another_site_key_or_count_signed_is_refused_and_waits_grow(desk, clock):
    device = Device()
    added(desk, device)
    token, challenge = begun(desk)
    with pytest.raises(SignInError, match="not accepted"):  # a challenge of another browser
        finish(desk, token, "", device.signed(begun(desk)[1]), HERE)
    answers = [
        lambda challenge: device.signed(challenge, origin="https://fraud.bank.example.evil.test"),
        lambda challenge: device.signed(challenge, flags=PRESENT),  # nobody unlocked the device
        device.made,
        lambda _: "{}",
        lambda _: "[" * 100_000,
        lambda _: json.dumps({"id": "x", "rawId": "x", "type": "public-key", "response": {}}),
    ]
    stranger = Device()
    stranger.count = 100
    for at, answer in enumerate(answers):
        token, challenge = begun(desk)
        with pytest.raises(SignInError, match="not accepted"):
            finish(desk, token, "", answer(challenge), f"10.0.0.{at}")
    for at, (of, count) in enumerate([(stranger, 100), (device, 0)]):
        of.count = count
        token, challenge = begun(desk)
        with pytest.raises(SignInError, match="not accepted"):
            finish(desk, token, "", of.signed(challenge), f"10.0.1.{at}")
    for _ in range(5):
        token, challenge = begun(desk)
        with pytest.raises(SignInError):
            finish(desk, token, "", "{}", "10.0.2.1")
    device.count, (token, challenge) = 50, begun(desk)
    with pytest.raises(PausedError):
        finish(desk, token, "", device.signed(challenge), "10.0.2.1")
    token, challenge = begun(desk)
    assert finish(desk, token, "", device.signed(challenge), "10.0.2.2").user.name == "ann"
    users.disable(desk, ROOT, "ann")
    token, challenge = begun(desk)
    with pytest.raises(SignInError):
        finish(desk, token, "", device.signed(challenge), "10.0.2.3")


def test_nobody_adds_a_passkey_with_the_id_of_anothers(desk):
    device, stranger = Device(), Device()
    added(desk, device)
    users.add(desk, ROOT, "abe", Role.ANALYST, password=GOOD)
    theirs = sessions.sign_in(desk, "abe", GOOD, HERE)
    token, challenge, _ = asked(desk, theirs.token, name="Phone", password=GOOD)
    with pytest.raises(SignInError, match="not accepted"):  # else one of the two is locked out
        finish(desk, token, theirs.token, stranger.made(challenge), HERE)


def test_to_add_or_remove_one_is_to_show_code_or_password_again(desk, clock):
    device = Device()
    mine = sessions.sign_in(desk, "ann", GOOD, HERE)
    with pytest.raises(UsageError, match="not your password"):
        asked(desk, mine.token, name="Phone", password="staple of another kind")
    with pytest.raises(SignInError):
        asked(desk, "", name="Phone", password=GOOD)
    mine = added(desk, device)
    (kept,) = passkeys.of(ann_of(desk))
    with pytest.raises(UsageError, match="not your password"):
        asked(desk, mine.token, id=kept.id)
    with pytest.raises(UsageError, match="no such passkey"):
        asked(desk, mine.token, id="another", password=GOOD)
    now = asked(desk, mine.token, id=kept.id, password=GOOD)
    assert passkeys.of(now.user) == []
    assert sessions.signed_in(desk, mine.token) is None
    assert not sessions.sign_in(desk, "ann", GOOD, HERE).is_half

    added(desk, device)
    factors.reset(desk, ROOT, "ann")
    assert passkeys.of(ann_of(desk)) == []
    strict = replace(desk, settings_now=lambda: SignInSettings(second_factor=("analyst",)))
    assert sessions.sign_in(strict, "ann", GOOD, HERE).is_half
