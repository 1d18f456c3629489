"""Signing in at an OpenID provider: a real one, started for the tests, and one that does what a bad one would."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwk, jwt

from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.people.oidc import Clocks, OidcProvider
from shroff.adapters.people.sql import SqlPeople
from shroff.errors import SignInError, TransientError, UsageError
from shroff.people import keys, oidc, sessions, users
from shroff.people.access import RIGHTS, Right, Role, local
from shroff.people.audit import sealing
from shroff.people.store import Desk, rows_of
from shroff.people.users import as_who
from tests.support.providers import claimed, provider_started, sent_back

HERE = "http://127.0.0.1:8000/login/oidc"
ROLES = {"fraud-team": Role.ANALYST, "fraud-leads": Role.ADMIN}
ANN = local("ann", "command")
KEY, OTHER_KEY = (jwk.generate_key("RSA", 2048, {"kid": "one"}) for _ in range(2))


@dataclass
class Clock:
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    SqliteLog(tmp_path / "log.db").close()
    with closing(SqlPeople(tmp_path / "log.db", sealing(b"key"))) as store:
        yield Desk(store, clock)


def provider(issuer: str, **more: Any) -> OidcProvider:
    told = {"client_id": "shroff", "secret": "s3cret", "claim": "groups", "roles": ROLES}
    return OidcProvider(issuer=issuer, **(told | more))


def answered(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(query).query).items()}


# ---- a real provider


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_started() as found:
        yield found


def authorized(url: str, subject: str) -> dict[str, str]:
    """What a browser brings back after somebody signed in at the provider."""
    location = sent_back(url, subject)
    assert location.startswith(HERE)
    return answered(location)


def visited(desk: Desk, found: OidcProvider, subject: str) -> sessions.SignedIn:
    begun = oidc.begin(desk, found, HERE)
    back = authorized(begun.url, subject)
    answer = oidc.ProviderAnswer(back["state"], back["code"])
    return oidc.finish(desk, found, HERE, token=begun.token, answer=answer, address="1.2.3.4")[0]


def test_somebody_signs_in_and_is_a_user_with_the_role_of_the_claim(desk: Desk, issuer: str) -> None:
    groups = {"groups": ["other", "fraud-team"]}
    claimed(issuer, "u-1", name="Änn Lee", preferred_username="Ann.Lee", email="ann@bank.org", **groups)
    found = provider(issuer)

    signed = visited(desk, found, "u-1")
    again = visited(desk, found, "u-1")

    assert (signed.user.name, signed.user.display_name, signed.user.email) == ("ann.lee", "Änn Lee", "ann@bank.org")
    assert signed.user.role is Role.ANALYST
    assert again.user.number == signed.user.number
    assert sessions.signed_in(desk, again.token).who.rights == signed.who.rights
    actions = [row.action for row in rows_of(desk.store)]
    assert actions == ["user.add", "sign_in.by_oidc", "sign_in.by_oidc"]


def test_of_several_roles_the_one_with_most_rights_holds() -> None:
    of_values = {"a": Role.VIEWER, "b": Role.ANALYST, "c": Role.AUTHOR, "d": Role.ADMIN}
    found = [
        oidc.role_of(oidc.Claims("u-1", "ann", "Ann", "", tuple(values)), of_values) for values in ("xab", "cba", "dca")
    ]

    assert found == [Role.ANALYST, Role.AUTHOR, Role.ADMIN]


def test_who_has_no_role_is_not_let_in_and_leaves_no_user(desk: Desk, issuer: str) -> None:
    claimed(issuer, "u-2", preferred_username="eve", groups=["admins"])

    with pytest.raises(SignInError, match="no role here"):
        visited(desk, provider(issuer), "u-2")
    assert users.all_users(desk) == []


def test_another_role_at_the_provider_ends_what_was_open(desk: Desk, issuer: str) -> None:
    claimed(issuer, "u-3", preferred_username="cy", groups="fraud-team")
    first = visited(desk, provider(issuer), "u-3")
    claimed(issuer, "u-3", preferred_username="cy", groups=["fraud-leads"])
    second = visited(desk, provider(issuer), "u-3")

    assert second.user.role is Role.ADMIN
    (told,) = [row for row in rows_of(desk.store) if row.action == "user.claims"]
    assert ('"role":"analyst"' in told.before, '"role":"admin"' in told.after) == (True, True)
    assert sessions.signed_in(desk, first.token) is None
    assert sessions.signed_in(desk, second.token) is not None

    claimed(issuer, "u-3", preferred_username="cy", groups=[])
    with pytest.raises(SignInError, match="no role here"):
        visited(desk, provider(issuer), "u-3")
    assert sessions.signed_in(desk, second.token) is None
    assert [row.action for row in rows_of(desk.store)][-1] == "user.no_role"


def test_the_keys_of_a_user_follow_the_role_at_the_provider(desk: Desk, issuer: str) -> None:
    def after(*groups: str) -> list[frozenset[Right]]:
        claimed(issuer, "u-8", preferred_username="eli", groups=groups)
        with suppress(SignInError):
            who = as_who(visited(desk, provider(issuer), "u-8").user)
            if not keys.all_keys(desk):
                keys.create(desk, who, "deploy", Role.ADMIN)
        return [keys.as_who(key).rights for key in keys.all_keys(desk) if key.revoked_at_ms is None]

    assert after("fraud-leads") == [RIGHTS[Role.ADMIN]]
    assert after("fraud-team") == [RIGHTS[Role.ANALYST] | RIGHTS[Role.SERVICE]]
    assert after() == []


def test_a_name_that_somebody_has_with_a_password_stays_theirs(desk: Desk, issuer: str) -> None:
    own = users.add(desk, ANN, "dee", Role.ADMIN, password="correct horse battery")
    claimed(issuer, "u-4", preferred_username="dee", email="dee@bank.org", groups=["fraud-team"])

    signed = visited(desk, provider(issuer), "u-4")

    assert signed.user.name == "dee-2"
    assert signed.user.number != own.number


def test_who_is_disabled_here_is_not_let_in_by_the_provider(desk: Desk, issuer: str) -> None:
    claimed(issuer, "u-5", preferred_username="fox", groups=["fraud-team"])
    signed = visited(desk, provider(issuer), "u-5")
    users.disable(desk, ANN, signed.user.name)

    with pytest.raises(SignInError, match="not sign in any more"):
        visited(desk, provider(issuer), "u-5")
    with pytest.raises(UsageError, match="at the OpenID provider"):
        users.set_password(desk, ANN, signed.user.name, "correct horse battery")


def test_a_visit_is_ended_once_in_its_own_browser_and_in_time(desk: Desk, issuer: str, clock: Clock) -> None:
    claimed(issuer, "u-6", preferred_username="gil", groups=["fraud-team"])
    found = provider(issuer)
    mine, other = oidc.begin(desk, found, HERE, "/queue?x=1"), oidc.begin(desk, found, HERE)
    back = authorized(mine.url, "u-6")
    answer = oidc.ProviderAnswer(back["state"], back["code"])

    for token in ("", "made up", other.token):
        with pytest.raises(SignInError):
            oidc.finish(desk, found, HERE, token=token, answer=answer, address="")
    signed, page = oidc.finish(desk, found, HERE, token=mine.token, answer=answer._replace(issuer=issuer), address="")
    assert (signed.user.name, page) == ("gil", "/queue?x=1")
    with pytest.raises(SignInError):
        oidc.finish(desk, found, HERE, token=mine.token, answer=answer, address="")
    mixed = oidc.begin(desk, found, HERE)
    answer = oidc.ProviderAnswer(answered(mixed.url)["state"], "x", "https://other.example")
    with pytest.raises(SignInError, match="another provider answered"):
        oidc.finish(desk, found, HERE, token=mixed.token, answer=answer, address="")

    late = oidc.begin(desk, found, HERE)
    back = authorized(late.url, "u-6")
    clock.now_ms += oidc.LASTS_MS
    answer = oidc.ProviderAnswer(back["state"], back["code"])
    with pytest.raises(SignInError, match="has ended"):
        oidc.finish(desk, found, HERE, token=late.token, answer=answer, address="")


@pytest.mark.parametrize("back", ["//evil.org", "https://evil.org/", "/\\evil.org", "", "evil", "/a\r\nSet-Cookie: x"])
def test_a_visit_never_ends_on_another_host(desk: Desk, issuer: str, back: str) -> None:
    claimed(issuer, "u-7", preferred_username="hal", groups=["fraud-team"])
    found = provider(issuer)
    begun = oidc.begin(desk, found, HERE, back)
    answer = authorized(begun.url, "u-7")
    told = oidc.ProviderAnswer(answer["state"], answer["code"])

    assert oidc.finish(desk, found, HERE, token=begun.token, answer=told, address="")[1] == "/"


# ---- a provider that is told what to do


class Bad:
    """A provider with keys of its own, whose tokens have what a test puts into them."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": KEY}
        self.changes: dict[str, Any] = {}
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.signer: Any = self.keys["one"]
        self.asked: list[str] = []
        self.form: dict[str, str] = {}
        self.authorization = ""
        self.metadata: dict[str, Any] = {}
        self.nonce = self.challenge = ""
        self.token: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(self.header, claims, self.signer)
        self.is_down = False
        self.failing = ""  # the path that answers with 503
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                documents = {"/.well-known/openid-configuration": outer.about, "/keys": outer.key_set}
                self._say(documents.get(self.path, dict)())

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                outer.form = {name: values[0] for name, values in parse_qs(self.rfile.read(size).decode()).items()}
                outer.authorization = self.headers.get("Authorization", "")
                self._say(outer.tokens())

            def _say(self, found: dict[str, Any]) -> None:
                body = json.dumps(found).encode()
                self.send_response(
                    503 if outer.is_down or self.path == outer.failing else 400 if "error" in found else 200
                )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def about(self) -> dict[str, Any]:
        ends = {"authorization_endpoint": "/auth?x=1", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": self.issuer, **{k: self.issuer + v for k, v in ends.items()}, **self.metadata}

    def key_set(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys.values()]}

    def tokens(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge:
            return {"error": "invalid_grant"}
        now_s = int(time.time())
        claims = {"iss": self.issuer, "aud": "shroff", "sub": "u-1", "iat": now_s, "exp": now_s + 60}
        claims |= {"nonce": self.nonce, "groups": ["fraud-team"], "preferred_username": "ann"} | self.changes
        token = self.token({name: claim for name, claim in claims.items() if claim is not None})
        return {"id_token": token, "access_token": "a"}


@pytest.fixture
def bad() -> Iterator[Bad]:
    found = Bad()
    yield found
    found.server.shutdown()
    found.server.server_close()


def through(desk: Desk, bad: Bad, found: OidcProvider) -> sessions.SignedIn:
    begun = oidc.begin(desk, found, HERE)
    asked = answered(begun.url)
    bad.nonce, bad.challenge = asked["nonce"], asked["code_challenge"]
    answer = oidc.ProviderAnswer(asked["state"], "c")
    return oidc.finish(desk, found, HERE, token=begun.token, answer=answer, address="")[0]


def test_the_visit_asks_with_pkce_state_and_nonce(desk: Desk, bad: Bad) -> None:
    begun = oidc.begin(desk, provider(bad.issuer), HERE)
    asked = answered(begun.url)

    assert begun.url.startswith(f"{bad.issuer}/auth?x=1&")
    assert {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge"} < set(asked)
    assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", HERE)
    assert begun.token not in begun.url


def test_a_code_without_its_verifier_opens_nothing(desk: Desk, bad: Bad) -> None:
    found = provider(bad.issuer)
    assert through(desk, bad, found).user.name == "ann"
    begun = oidc.begin(desk, found, HERE)
    asked = answered(begun.url)
    bad.nonce, bad.challenge = asked["nonce"], "another"

    with pytest.raises(SignInError, match="invalid_grant"):
        oidc.finish(desk, found, HERE, token=begun.token, answer=oidc.ProviderAnswer(asked["state"], "c"), address="")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.org"},
        {"aud": "another"},
        {"aud": ["shroff", "another"]},
        {"azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": -120},
        {"exp": None},
        {"iat": 3_600},
        {"iat": None},
        {"nbf": 3_600},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_that_is_not_for_this_visit_opens_nothing(desk: Desk, bad: Bad, changes: dict[str, Any]) -> None:
    """Times are seconds from now."""
    bad.changes = changes
    for name in changes.keys() & {"exp", "iat", "nbf"}:
        if changes[name] is not None:
            bad.changes = {name: int(time.time()) + changes[name]}

    with pytest.raises(SignInError):
        through(desk, bad, provider(bad.issuer))
    assert users.all_users(desk) == []


def test_clocks_may_differ_by_a_minute(desk: Desk, bad: Bad) -> None:
    now_s = int(time.time())
    bad.changes = {"iat": now_s + 50, "nbf": now_s + 50, "exp": now_s + 90}
    assert through(desk, bad, provider(bad.issuer)).user.name == "ann"
    bad.changes = {"iat": now_s - 90, "exp": now_s - 50}
    assert through(desk, bad, provider(bad.issuer)).user.name == "ann"


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(item).encode()).rstrip(b"=").decode() for item in ({"alg": "none"}, claims)
    ]
    return ".".join([*parts, ""])


def test_a_token_that_the_provider_did_not_sign_opens_nothing(desk: Desk, bad: Bad) -> None:
    found = provider(bad.issuer)
    public = bad.keys["one"].as_pem(private=False)
    forged: list[Callable[[dict[str, Any]], str]] = [
        lambda claims: jwt.encode(bad.header, claims, OTHER_KEY),
        _unsigned,
        lambda claims: jwt.encode(
            {"alg": "HS256", "kid": "one"}, claims, jwk.import_key(b"s3cret-s3cret-s3cret", "oct")
        ),
        lambda claims: jwt.encode(
            {"alg": "HS256", "kid": "one"}, claims, jwk.OctKey.import_key(base64.b64encode(public))
        ),
        lambda claims: "no token",
    ]
    for item in forged:
        bad.token = item
        with pytest.raises(SignInError):
            through(desk, bad, found)


def test_keys_that_the_provider_changes_are_read_again_but_not_for_every_forged_one(desk: Desk, bad: Bad) -> None:
    clock = [100.0]
    found = provider(bad.issuer, clocks=Clocks(monotonic_s=lambda: clock[0]))
    assert through(desk, bad, found).user.name == "ann"
    bad.keys = {"two": jwk.generate_key("EC", "P-256", {"kid": "two"})}
    bad.header, bad.signer = {"alg": "ES256", "kid": "two"}, bad.keys["two"]

    for _ in range(3):
        with pytest.raises(SignInError):
            through(desk, bad, found)
    assert bad.asked.count("/keys") == 1
    clock[0] += 11
    assert through(desk, bad, found).user.name == "ann"
    assert bad.asked.count("/keys") == 2


def test_the_secret_goes_in_the_way_that_the_provider_takes_it(desk: Desk, bad: Bad) -> None:
    through(desk, bad, provider(bad.issuer, secret="a:b c"))
    assert bad.authorization == f"Basic {base64.b64encode(b'shroff:a%3Ab+c').decode()}"
    assert "client_secret" not in bad.form
    bad.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    through(desk, bad, provider(bad.issuer))

    assert (bad.authorization, bad.form["client_secret"]) == ("", "s3cret")


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"issuer": "https://evil.org"}, UsageError),
        ({"token_endpoint": "http://evil.org/token"}, UsageError),
        ({"jwks_uri": None}, UsageError),
    ],
)
def test_a_provider_that_is_another_or_not_secured_is_refused(
    desk: Desk, bad: Bad, metadata: dict[str, Any], error: type[Exception]
) -> None:
    bad.metadata = metadata

    with pytest.raises(error):
        through(desk, bad, provider(bad.issuer))


def test_a_provider_that_is_away_is_told_without_the_secret(desk: Desk, bad: Bad) -> None:
    found = provider(bad.issuer)
    bad.is_down = True
    with pytest.raises(TransientError) as raised:
        oidc.begin(desk, found, HERE)
    with pytest.raises(TransientError) as away:
        oidc.begin(desk, provider("http://127.0.0.1:9"), HERE)

    assert "s3cret" not in f"{raised.value} {away.value} {found!r}"


@pytest.mark.parametrize("path", ["/token", "/user"])
def test_a_provider_that_fails_in_the_middle_says_nothing_of_the_person(desk: Desk, bad: Bad, path: str) -> None:
    bad.metadata = {"userinfo_endpoint": f"{bad.issuer}/user"}
    bad.changes = {"groups": None}
    bad.failing = path

    with pytest.raises(TransientError, match="status 503"):
        through(desk, bad, provider(bad.issuer))


def test_plain_http_is_for_this_machine_only() -> None:
    with pytest.raises(UsageError, match="https"):
        provider("http://login.bank.org")
