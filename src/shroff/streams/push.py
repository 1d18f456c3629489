"""The contract of pushed sources: an external system calls us with messages, and a signature identifies the caller.

An adapter `push.KIND` is called with the settings of that kind (each `${NAME}` filled), and with a function to fetch
with. It runs on the event loop of the service, so it must not block except in `fetch` and `confirm`, which run on
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from shroff.errors import InputError
from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct

HOOKS = "hooks"  # prefix of the names of pushed sources, in the log and in addresses
MESSAGE = "message"
SUBSCRIBE = "subscribe"
UNSUBSCRIBE = "unsubscribe"
BAD = 400  # statuses of rejected requests
CHALLENGE = 401
FORBIDDEN = 403

Fetch = Callable[[str], bytes]  # returns the body at an https address. Raises: TransientError; LookupError if missing


class PushRefusedError(InputError):
    """A request that does not fit the source (400), or that no known sender signed (403). Nothing of it is stored.

    401 is a challenge: the source has a password, and the request has none. `kind` is a reason without content of the
    request, so that it can be counted.
    """

    def __init__(self, status: int, message: str, kind: str = "") -> None:
        super().__init__([("", message)])
        self.status = status
        self.kind = kind or message


class FetchNeededError(Exception):
    """A request cannot be verified yet: call `fetch` with this address, then ask again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Push(FrozenStruct):
    """Content of a verified request.

    Attributes:
        kind: `message`; `subscribe`, whose sender asks for a confirmation; `unsubscribe`.
        id: Of the message, the same each time it is sent; empty if the sender assigns none.
        body: The message.
        envelope: Metadata of the sender. Mappings read it under the kind of the source: `row.sns.Timestamp`.
        type: The sender's name for the type of the message.
        topic: The topic, if the source has several.
        confirm: Address at which to confirm a subscription.
        sent: When the sender created it, as a text that sorts by time; empty if that was not signed.
    """

    kind: str
    id: str
    body: bytes
    envelope: Mapping[str, object] = msgspec.field(default_factory=dict)
    type: str = ""
    topic: str = ""
    confirm: str = ""
    sent: str = ""


class PushSource(Protocol):
    """A source that calls us."""

    def verified(self, headers: TextMapping, body: bytes, now_ms: int) -> Push:
        """Verify a request and return its content.

        Args:
            headers: By lower-case name.
            now_ms: When the request arrived.

        Raises: PushRefusedError; FetchNeededError.
        """

    def fetch(self, url: str) -> None:
        """Fetch what `verified` lacked; may take seconds; does nothing by default.

        Raises: TransientError if it cannot be fetched now.
        """

    def confirm(self, push: Push) -> None:
        """Confirm a subscription to the sender; does nothing by default.

        Raises: TransientError; UsageError if the sender refuses.
        """
