"""Verify and unwrap messages that a push subscription of Google Pub/Sub posts, with authentication turned on.

Each request carries an OpenID token that Google signed for one service account and one audience. The formats are in
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions and https://cloud.google.com/pubsub/docs/push
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from threading import Lock

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import TransientError, UsageError, decode_words
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.plugins.adapters import BAD, FORBIDDEN, MESSAGE, Fetch, FetchNeededError, Push, PushRefusedError, PushSource

try:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet
except ModuleNotFoundError:
    raise UsageError("Pub/Sub messages need the extra 'sso': pip install 'shroff[sso]'.") from None

ISSUERS = ("https://accounts.google.com", "accounts.google.com")
KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
ALGORITHMS = ("RS256",)
SKEW_S = 60  # largest difference between Google's clock and this machine's
LASTS_S_MAX = 2 * 3_600  # longest life of a token; Google's tokens last an hour
KEYS_AGAIN_S = 60.0  # between fetches of keys: anybody may name an unknown key
FAILED_AGAIN_S = 5.0  # between tries to fetch unavailable keys
TOKENS_MAX = 100  # verified tokens, which are used again until they expire
_NO_MESSAGE = "this is not a message of Pub/Sub"
_NO_SUBSCRIPTION = "the subscription is not one of this source"
_SCHEME = "bearer "
_DOTS = 2  # in a signed token: for anything else no keys are fetched
_HEADERS = {
    "messageId": "x-goog-pubsub-message-id",
    "subscription": "x-goog-pubsub-subscription-name",
    "publishTime": "x-goog-pubsub-publish-time",
}


class _PushedMessage(msgspec.Struct, rename="camel"):
    message_id: str
    data: str = ""
    attributes: TextDict | None = None
    publish_time: str = ""
    ordering_key: str = ""


class _Wrapped(msgspec.Struct):
    message: _PushedMessage
    subscription: str = ""


_DECODER = msgspec.json.Decoder(_Wrapped)


class PubsubSource(PushSource):
    """A `PushSource` of push subscriptions.

    Args:
        options: `audience`, `service_account`, `subscriptions`, `body`.
        fetch: Gets Google's keys.
    """

    def __init__(self, options: JsonMapping, fetch: Fetch, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._audience = str(options["audience"])
        self._account = str(options["service_account"])
        self._subscriptions = frozenset(options.get("subscriptions", ()))
        self._is_wrapped = options.get("body", "wrapped") == "wrapped"
        self._fetch = fetch
        self._clock_s = clock_s
        self._keys: KeySet | None = None
        self._fetched_s = self._failed_s = float("-inf")
        self._tokens: dict[str, int] = {}  # verified tokens, each with the second of its end
        self._lock = Lock()

    def verified(self, headers: TextMapping, body: bytes, now_ms: int) -> Push:
        authorization = headers.get("authorization", "")
        if authorization[: len(_SCHEME)].lower() != _SCHEME or authorization.count(".") != _DOTS:
            raise PushRefusedError(FORBIDDEN, "the request has no OpenID token: turn on authentication in Pub/Sub")
        self._check_token(authorization[len(_SCHEME) :].strip(), now_ms // 1_000)
        push = _read_wrapped(body) if self._is_wrapped else _read_unwrapped(headers, body)
        if self._subscriptions and push.topic not in self._subscriptions:
            raise PushRefusedError(
                FORBIDDEN, f"the subscription {push.topic[:200]!r} is not one of this source", _NO_SUBSCRIPTION
            )
        return push

    def fetch(self, url: str) -> None:
        with self._lock:
            if self._clock_s() - self._fetched_s < KEYS_AGAIN_S:
                return  # another thread was first, or the key does not exist
            if self._clock_s() - self._failed_s < FAILED_AGAIN_S:
                raise TransientError("Google's keys could not be fetched a moment ago")
            self._failed_s = self._clock_s()  # reset below when the fetch succeeds
            try:
                key_set = from_json(self._fetch(url))
                self._keys = KeySet.import_key_set(key_set)
            except (LookupError, JoseError, ValueError, TypeError, KeyError) as error:
                raise TransientError(f"Google's keys cannot be read ({type(error).__name__})") from None
            self._fetched_s = self._clock_s()
            self._failed_s = float("-inf")

    def _check_token(self, token: str, now_s: int) -> None:
        """Verify a token. Raises: PushRefusedError if it is not valid here; FetchNeededError if its key is unknown."""
        ends_s = self._tokens.get(token)
        if ends_s is None:
            ends_s = self._ends_s(token, now_s)
            while len(self._tokens) >= TOKENS_MAX:
                del self._tokens[next(iter(self._tokens))]
            self._tokens[token] = ends_s
        if now_s > ends_s + SKEW_S:
            del self._tokens[token]
            raise PushRefusedError(FORBIDDEN, "the token has expired")

    def _ends_s(self, token: str, now_s: int) -> int:
        """Verify a token's signature and claims; return the second of its end. Raises: as `_check_token`."""
        if self._keys is None:
            raise FetchNeededError(KEYS_URL)
        try:
            claims = jwt.decode(token, self._keys, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, KeyError, TypeError) as error:
            # Google may have changed its keys, so they are fetched again, but not too often.
            if self._clock_s() - self._fetched_s >= KEYS_AGAIN_S:
                raise FetchNeededError(KEYS_URL) from None
            raise PushRefusedError(FORBIDDEN, f"the token was not signed by Google ({type(error).__name__})") from None
        if name := self._foreign(claims, now_s):
            raise PushRefusedError(FORBIDDEN, f"the token is not for this source: its {name} is another one")
        return int(claims["exp"])

    def _foreign(self, claims: JsonMapping, now_s: int) -> str:
        """Return the name of the first claim that this source does not accept; empty if it accepts all."""
        if claims.get("iss") not in ISSUERS:
            return "iss"
        if claims.get("aud") != self._audience:
            return "aud"
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            return "email"
        begins_s = claims.get("iat")
        ends_s = claims.get("exp")
        if type(begins_s) is not int or begins_s > now_s + SKEW_S:
            return "iat"
        return "" if type(ends_s) is int and 0 <= ends_s - begins_s <= LASTS_S_MAX else "exp"


def _read_wrapped(body: bytes) -> Push:
    """Return the message in a body of Pub/Sub's wrapped format. Raises: PushRefusedError with 400 if it is
    malformed.
    """
    try:
        push = _DECODER.decode(body)
        content = base64.b64decode(push.message.data, validate=True)
    except (ValueError, RecursionError, binascii.Error) as error:
        raise PushRefusedError(BAD, f"{_NO_MESSAGE}: {decode_words(error)}", _NO_MESSAGE) from None
    message = push.message
    envelope = {
        "messageId": message.message_id,
        "publishTime": message.publish_time,
        "orderingKey": message.ordering_key,
        "subscription": push.subscription,
        "attributes": message.attributes or {},
    }
    details = {name: value for name, value in envelope.items() if value}
    return Push(MESSAGE, message.message_id, content, details, "message", push.subscription)


def _read_unwrapped(headers: TextMapping, body: bytes) -> Push:
    """Return an unwrapped message. It has an id only if the subscription is set to write metadata."""
    envelope = {name: headers[header] for name, header in _HEADERS.items() if headers.get(header)}
    topic = envelope.get("subscription", "")
    return Push(MESSAGE, envelope.get("messageId", ""), body, envelope, "message", topic)
