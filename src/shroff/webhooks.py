"""Signatures of webhooks, by the Standard Webhooks specification: how shroff signs its calls, and how to check one.

A receiver of calls needs this module alone, or any library of https://www.standardwebhooks.com:

    shroff.webhooks.verify(secret, request.headers, request.body)

What is signed is `ID.SECONDS.BODY` by HMAC-SHA256; ID is the same whenever the same row comes, so a receiver that
remembers ids takes each once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time

from shroff.errors import InputError, UsageError
from shroff.json_types import TextDict, TextMapping

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"
PREFIX = "whsec_"  # of a secret whose key stands behind it in base64
SIGNATURES_MAX = 20  # of one call that are compared
TOLERANCE_S = 300  # what the specification's own libraries allow
_VERSION = "v1"


def headers(secret: str, id: str, seconds: int, body: bytes) -> TextDict:
    """The headers of a call: its id, when it was made, and a signature for each key of the secret.

    Raises: UsageError as `keys_of`.
    """
    signatures = " ".join(_signature(key, id, str(seconds), body) for key in keys_of(secret))
    return {ID: id, TIMESTAMP: str(seconds), SIGNATURE: signatures}


def verify(
    secret: str, headers: TextMapping, body: bytes, *, now_s: float | None = None, tolerance_s: int = TOLERANCE_S
) -> str:
    """Give the id of a call that was signed with this secret, within so many seconds of now; it names the row.

    Args:
        headers: Those of the call, their names in any case.
        body: The bytes of the call as they came, before anything reads them.
        now_s: The time in seconds since 1970; left out, now.

    Raises: InputError where it was not signed so, or too long ago; UsageError as `keys_of`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    lacking = [name for name in (ID, TIMESTAMP, SIGNATURE) if name not in given]
    if lacking:
        raise InputError([(lacking[0], "the call does not have this header, so it is not signed")])
    stamp = given[TIMESTAMP]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16):
        raise InputError([(TIMESTAMP, "expected seconds since 1970")])
    now = time.time() if now_s is None else now_s
    if abs(now - int(stamp)) > tolerance_s:
        raise InputError([(TIMESTAMP, f"the call was signed more than {tolerance_s} s from now")])
    wanted = [_signature(key, given[ID], stamp, body).encode() for key in keys_of(secret)]
    found = [word.encode() for word in given[SIGNATURE].split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]]
    if not any([hmac.compare_digest(digest, other) for digest in found for other in wanted]):  # noqa: C419 - all are compared
        raise InputError([(SIGNATURE, "the call was not signed with this secret")])
    return given[ID]


def keys_of(secret: str) -> list[bytes]:
    """The keys of a secret: behind `whsec_` in base64, several with blanks between; any other text is the key itself.

    With two keys calls are signed by both, so that a receiver may change from the one to the other.
    Raises: UsageError where it is empty, or no base64; the words do not show it.
    """
    parts = secret.split()
    if not parts:
        raise UsageError("the secret of a webhook is empty.")
    if not parts[0].startswith(PREFIX):
        return [secret.encode()]
    try:
        keys = [base64.b64decode(part.removeprefix(PREFIX), validate=True) for part in parts]
    except binascii.Error:
        keys = [b""]
    if not all(keys):
        raise UsageError(f"behind {PREFIX} the secret of a webhook is a key in base64.")
    return keys


def _signature(key: bytes, id_: str, seconds: str, body: bytes) -> str:
    digest = hmac.new(key, f"{id_}.{seconds}.".encode() + body, hashlib.sha256).digest()
    return f"{_VERSION},{base64.b64encode(digest).decode()}"
