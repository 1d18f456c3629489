"""Deliver decisions and flags as signed HTTP calls to one URL, one after the other.

The body is the decision's document, or the flag as JSON, with the headers of Standard Webhooks (`shroff.webhooks`). The
URL may be in a private network, as the project's owner sets it. Redirects are not followed. Certificates are checked.
Proxy, trusted certificates and time limits are options of the HTTP transport, `http_calls`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http.client import responses
from urllib.parse import urlsplit

import shroff
from shroff import webhooks
from shroff.adapters.http_calls import Calls, reason, target_of
from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.streams.sink import AwayError, Outgoing, Undelivered

READ_MAX = 65_536  # bytes of an answer; it is not used
LATER = frozenset([408, 425, 429, 502, 503, 504])  # the receiver is away or busy, so no row is at fault
_REDIRECTS = range(300, 400)
_SERVER_FAILS = range(500, 600)
_TAKEN = range(200, 300)


class WebhookSink:
    """A URL that is called for each row. A row is delivered when the answer's status is 2xx.

    After a status of `LATER`, or without an answer, delivery waits, at least as long as `Retry-After` says, and goes on
    with the same row. Any other 5xx may be the row's fault, so the row is repeated, and set aside in the end. A row
    with any other 4xx is never sent again.
    """

    wants_fields = False
    places_max = 1  # a failed row must not send delivered ones again

    def __init__(self, name: str, options: JsonMapping, now_s: Callable[[], float] = time.time) -> None:
        """Prepare the client without a call.

        Args:
            name: Name of the sink, with which the ids of calls begin.
            options: `url`, `secret`, and those of `http_calls.Calls`; `timeout` limits a whole answer.

        Raises: UsageError if the URL or the secret is invalid.
        """
        try:
            url = urlsplit(str(options["url"]))
            host = url.hostname
            port = url.port
        except ValueError:
            url = urlsplit("")
            host = None
            port = None
        if url.scheme not in {"http", "https"} or not host:
            raise UsageError("the address of a webhook begins with http:// or https:// and a host.")
        if url.username or url.password:
            raise UsageError("the URL of a webhook must not contain a password: receivers verify the signature.")
        self._name = name
        self._secret = str(options["secret"])
        self._now_s = now_s
        webhooks.keys_of(self._secret)
        self._where = f"{url.scheme}://{host}" + (f":{port}" if port else "")  # for messages: paths may hold keys
        self._target = target_of(url)
        calls = Calls.of(options)
        self._client = calls.client(url.scheme, host, port, answer_bytes_max=READ_MAX, wants_body=False)

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Call for each row in order, up to the first row that must be repeated.

        Raises: as in the contract. Cost: one round trip and 0.3 ms a row.
        """
        refused: list[Undelivered] = []
        for row in rows:
            undelivered = self._check_answer(row, *self._call(row))
            if undelivered is not None:
                refused.append(undelivered)
                if undelivered.may_pass:
                    break
        return refused

    def close(self) -> None:
        self._client.close()

    # Below: one call

    def _call(self, row: Outgoing) -> tuple[int, str]:
        """Call for a row; return the answer's status and its header Retry-After. Raises: AwayError without answer."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"shroff/{shroff.__version__}",
            "Shroff-Kind": row.kind,
            **webhooks.headers(self._secret, f"{self._name}-{row.key}", int(self._now_s()), row.body),
        }
        try:
            answer = self._client.call("POST", self._target, row.body, headers)
        except OSError as error:
            raise AwayError(f"{self._where}: {reason(error)}") from None
        return answer.status, answer.headers.get("Retry-After", "")

    def _check_answer(self, row: Outgoing, status: int, retry_after: str) -> Undelivered | None:
        """Return the row as undelivered if the answer refuses it, or None if the row is delivered.

        Raises: AwayError after a status of `LATER`; UsageError after a redirect.
        """
        if status in _TAKEN:
            return None
        message = f"{self._where} answered {status} {responses.get(status, '')}".rstrip()
        if status in _REDIRECTS:
            raise UsageError(f"{message}, and redirects are not followed. Write the address that it leads to under url")
        if status in LATER:
            raise AwayError(message, self._seconds(retry_after))
        return Undelivered(row, message, may_pass=status in _SERVER_FAILS)

    def _seconds(self, retry_after: str) -> float:
        """Return the seconds of a Retry-After header, which may be a date; 0 if it is neither."""
        text = retry_after.strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        with suppress(ValueError, TypeError):
            return max(parsedate_to_datetime(text).timestamp() - self._now_s(), 0)
        return 0
