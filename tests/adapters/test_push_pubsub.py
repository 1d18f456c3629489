"""Google Pub/Sub by push: tokens that Google signed for us are accepted, and nothing else."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from shroff.errors import TransientError
from shroff.streams.push import FetchNeededError, Push, PushRefusedError
from shroff_plugins.connectors.pubsub_push import FAILED_AGAIN_S, KEYS_AGAIN_S, KEYS_URL, PubsubSource

NOW_S = 1_772_366_400
AUDIENCE, ACCOUNT = "https://bank.example/hooks/app", "push@project.iam.gserviceaccount.com"
SUBSCRIPTION = "projects/p/subscriptions/s"
CLAIMS = {
    "iss": "https://accounts.google.com",
    "aud": AUDIENCE,
    "email": ACCOUNT,
    "email_verified": True,
    "iat": NOW_S - 10,
    "exp": NOW_S + 3_590,
}


@cache
def key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2_048, {"kid": kid, "use": "sig", "alg": "RS256"})


def token(of: Any = None, kid: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
    found = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
    return jwt.encode(header, found, of or key(kid), algorithms=[algorithm])


def headers(shown: str) -> dict[str, str]:
    return {"authorization": f"Bearer {shown}"}


def wrapped(content: bytes = b"{}", **more: Any) -> bytes:
    data = base64.b64encode(content).decode()
    message = {"messageId": "7", "data": data, "publishTime": "2026-03-01T12:00:00Z", **more}
    return json.dumps({"message": message, "subscription": SUBSCRIPTION}).encode()


class Google:
    """A source, the keys that Google has, and how often they were asked for."""

    def __init__(self, *kids: str, **options: Any) -> None:
        self.kids, self.asked, self.clock = list(kids or ("k1",)), list[str](), 0.0
        settings = {"audience": AUDIENCE, "service_account": ACCOUNT, **options}
        self.source = PubsubSource(settings, self.fetch, lambda: self.clock)

    def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        return json.dumps(KeySet([key(kid) for kid in self.kids]).as_dict(private=False)).encode()

    def take(self, given: dict[str, str], body: bytes | None = None, now_s: int = NOW_S) -> Push:
        sent = wrapped() if body is None else body
        try:
            return self.source.verified(given, sent, now_s * 1_000)
        except FetchNeededError as needed:
            self.source.fetch(needed.url)
            return self.source.verified(given, sent, now_s * 1_000)


def test_a_wrapped_message_is_given_with_what_google_says_of_it():
    google = Google()
    body = wrapped(b'{"a": 1}', attributes={"kind": "x"}, orderingKey="u-1")
    found = google.take(headers(token()), body)

    assert (found.kind, found.id, found.body, found.topic) == ("message", "7", b'{"a": 1}', SUBSCRIPTION)
    assert found.envelope["attributes"] == {"kind": "x"}
    assert found.envelope["orderingKey"] == "u-1"
    assert google.take(headers(token()), body) == found
    assert google.asked == [KEYS_URL]


def test_an_unwrapped_message_is_its_body():
    google = Google(body="unwrapped")
    given = headers(token()) | {"x-goog-pubsub-message-id": "8", "x-goog-pubsub-subscription-name": SUBSCRIPTION}

    assert google.take(given, b"abc").body == b"abc"
    assert (google.take(given, b"abc").id, google.take(given, b"abc").topic) == ("8", SUBSCRIPTION)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://attacker.example"},
        {"aud": "https://other.example/hooks/app"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"email": "other@project.iam.gserviceaccount.com"},
        {"email_verified": False},
        {"email_verified": None},
        {"exp": NOW_S - 61, "iat": NOW_S - 3_600},
        {"exp": None},
        {"exp": "never"},
        {"exp": NOW_S + 10 * 86_400},
        {"iat": NOW_S + 61},
        {"iat": None},
    ],
)
def test_a_token_that_is_not_for_us_is_refused(changed):
    with pytest.raises(PushRefusedError) as found:
        Google().take(headers(token(**changed)))

    assert found.value.status == 403


def test_a_token_is_accepted_until_it_ends():
    google, given = Google(), headers(token())
    google.take(given)

    assert google.take(given, now_s=NOW_S + 3_590)
    with pytest.raises(PushRefusedError, match="expired"):
        google.take(given, now_s=NOW_S + 3_590 + 61)


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "x.y.z",
        lambda: token(kid="k9"),  # a key that Google has not
        lambda: token(OctKey.import_key(json.dumps(key("k1").as_dict(private=False))), algorithm="HS256"),
        lambda: token()[:-4] + "AAAA",
        lambda: ".".join([*token().split(".")[:2], ""]),
    ],
)
def test_a_token_that_google_did_not_sign_is_refused(shown):
    google = Google()
    with pytest.raises(PushRefusedError) as found:
        google.take(headers(shown if isinstance(shown, str) else shown()))

    assert found.value.status == 403
    with pytest.raises(PushRefusedError):
        google.take({})


@pytest.mark.parametrize("shown", ["", "shroff_key", "x.y", "a.b.c.d"])
def test_for_what_is_no_token_nobody_is_asked(shown):
    google = Google()
    with pytest.raises(PushRefusedError, match="no OpenID token"):
        google.take(headers(shown))

    assert google.asked == []


def test_keys_are_fetched_again_when_they_changed_and_not_for_every_foreign_token():
    google = Google("k1")
    google.take(headers(token()))
    google.kids = ["k2"]
    with pytest.raises(PushRefusedError):
        google.take(headers(token(kid="k2")))  # a moment after the first look
    google.clock = KEYS_AGAIN_S
    assert google.take(headers(token(kid="k2")))
    for number in range(20):
        with pytest.raises(PushRefusedError):
            google.take(headers(token(kid="k9", nonce=number)))

    assert len(google.asked) == 2


def test_keys_that_cannot_be_had_now_are_asked_for_again():
    google = Google()
    google.source._fetch = lambda _url: b"<html>"
    with pytest.raises(TransientError):
        google.take(headers(token()))
    google.source._fetch = google.fetch
    with pytest.raises(TransientError):
        google.take(headers(token()))  # not at once: every request would wait for the next try
    assert google.asked == []
    google.clock += FAILED_AGAIN_S

    assert google.take(headers(token()))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message": {}}', wrapped(messageId=7), wrapped(data="%%")])
def test_what_is_no_message_is_told_so(body):
    with pytest.raises(PushRefusedError) as found:
        Google().take(headers(token()), body)

    assert found.value.status == 400


def test_only_named_subscriptions_are_accepted_where_some_are():
    assert Google(subscriptions=[SUBSCRIPTION]).take(headers(token()))
    with pytest.raises(PushRefusedError):
        Google(subscriptions=["projects/p/subscriptions/other"]).take(headers(token()))
