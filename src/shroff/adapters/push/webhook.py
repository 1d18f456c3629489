"""Verify signed webhooks: calls signed by Standard Webhooks, or in the way of Stripe, GitHub or Adyen."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.json import decode as from_json

from shroff import webhooks
from shroff.errors import InputError, UsageError
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.values import parse_duration
from shroff.streams.push import FORBIDDEN, MESSAGE, Fetch, Push, PushRefusedError, PushSource

ADYEN = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference")
ID_MAX = 255  # characters
_SECONDS = re.compile(r"[0-9]{1,15}")
_ID = re.compile(r"[!-~]{1,255}")


class WebhookSource(PushSource):
    """A `PushSource` of signed webhooks.

    Args:
        options: The settings `secrets`, `form` and `tolerance`.

    Raises: UsageError if a secret is invalid.
    """

    def __init__(self, options: JsonMapping, fetch: Fetch) -> None:
        del fetch  # signatures need no keys from elsewhere
        self._secrets: Sequence[str] = options["secrets"]
        self._tolerance_s = parse_duration(str(options.get("tolerance", "5m"))) // 1_000
        self._form = str(options.get("form", "standard"))
        if self._form == "standard":
            for secret in self._secrets:
                webhooks.keys_of(secret)
        try:
            self._keys = [bytes.fromhex(key) if self._form == "adyen" else key.encode() for key in self._secrets]
        except ValueError:
            raise UsageError("a secret of Adyen has only hexadecimal digits.") from None
        if not all(self._keys):
            raise UsageError("a secret is empty.")

    def verified(self, headers: TextMapping, body: bytes, now_ms: int) -> Push:
        by_form: Mapping[str, Callable[[TextMapping, bytes, int], tuple[str, int | None]]] = {
            "standard": self._standard,
            "stripe": self._stripe,
            "github": self._github,
            "adyen": self._adyen,
        }
        id_, seconds = by_form[self._form](headers, body, now_ms // 1_000)
        if id_ and _ID.fullmatch(id_) is None:
            raise PushRefusedError(FORBIDDEN, f"the id of the call must have 1 to {ID_MAX} visible ASCII characters")
        envelope = {"id": id_, "timestamp": seconds, "event": headers.get("x-github-event")}
        return Push(MESSAGE, id_, body, {name: value for name, value in envelope.items() if value})

    def _standard(self, headers: TextMapping, body: bytes, now_s: int) -> tuple[str, int | None]:
        refused = InputError([("", "")])
        for secret in self._secrets:
            try:
                id_ = webhooks.verify(secret, headers, body, now_s=now_s, tolerance_s=self._tolerance_s)
                return id_, int(headers[webhooks.TIMESTAMP])
            except InputError as error:
                refused = error
        raise PushRefusedError(FORBIDDEN, str(refused))

    def _stripe(self, headers: TextMapping, body: bytes, now_s: int) -> tuple[str, int | None]:
        parts = [word.strip().partition("=") for word in headers.get("stripe-signature", "").split(",")]
        stamps = [value for name, _, value in parts if name == "t"]
        if len(stamps) != 1 or _SECONDS.fullmatch(stamps[0]) is None:
            raise PushRefusedError(FORBIDDEN, "the call has no header Stripe-Signature with one t=SECONDS")
        if abs(now_s - int(stamps[0])) > self._tolerance_s:
            raise PushRefusedError(FORBIDDEN, f"the call was signed more than {self._tolerance_s} s from now")
        self._check([value for name, _, value in parts if name == "v1"], stamps[0].encode() + b"." + body)
        return _id_of(body), int(stamps[0])

    def _github(self, headers: TextMapping, body: bytes, _now_s: int) -> tuple[str, int | None]:
        algorithm, _, value = headers.get("x-hub-signature-256", "").partition("=")
        self._check([value] if algorithm == "sha256" else [], body)
        return headers.get("x-github-delivery", ""), None

    def _adyen(self, _headers: TextMapping, body: bytes, _now_s: int) -> tuple[str, int | None]:
        try:
            items = [notification["NotificationRequestItem"] for notification in from_json(body)["notificationItems"]]
            id_ = f"{items[0]['pspReference']}/{items[0]['eventCode']}"
            signed = list[tuple[str, str]]()
            for item in items:
                amount = item["amount"]
                signed_values = [item.get(name, "") for name in ADYEN]
                parts = [*signed_values, amount["value"], amount["currency"], item["eventCode"], item["success"]]
                signature = b64decode(item["additionalData"]["hmacSignature"]).hex()
                signed.append((signature, ":".join(map(str, parts))))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            raise PushRefusedError(FORBIDDEN, "the call has no items that Adyen signed") from None
        for signature, text in signed:
            self._check([signature], text.encode())
        return id_, None

    def _check(self, signatures: Sequence[str], signed: bytes) -> None:
        """Raises: PushRefusedError if no signature is that of a secret. All are compared, each in constant time."""
        received = [signature.encode() for signature in signatures[: webhooks.SIGNATURES_MAX]]
        expected = [hmac.new(key, signed, hashlib.sha256).hexdigest().encode() for key in self._keys]
        if not any([hmac.compare_digest(signature_bytes, other) for signature_bytes in received for other in expected]):  # noqa: C419 - as `verify`
            raise PushRefusedError(FORBIDDEN, "the call was not signed with a secret of this source")


def _id_of(body: bytes) -> str:
    try:
        event_id = from_json(body, type=_Identified).id
    except (ValueError, RecursionError):
        return ""
    return event_id if _ID.fullmatch(event_id) else ""


class _Identified(msgspec.Struct):
    id: str = ""
