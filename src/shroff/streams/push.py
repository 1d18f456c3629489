"""The contract of pushed sources: others call us with a message, and who calls is known by a signature alone.

An adapter `push.KIND` is called with the settings of that kind (each `${NAME}` filled), and with what it fetches by. It
is asked on the event loop of the service, so it waits for nothing but in `fetch` and `confirm`, which are called on
threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from shroff.errors import InputError
from shroff.json_types import TextMapping
from shroff.runtime.values import FrozenStruct

HOOKS = "hooks"  # before the names of pushed sources, in the log and in addresses
MESSAGE = "message"
SUBSCRIBE = "subscribe"
UNSUBSCRIBE = "unsubscribe"
BAD, CHALLENGE, FORBIDDEN = 400, 401, 403  # statuses of requests that are refused

Fetch = Callable[[str], bytes]  # the body at an https address. Raises: TransientError; LookupError where there is none


class PushRefusedError(InputError):
    """A request that is not what the source brings (400), or that nobody known signed (403). Nothing of it is kept.

    401 is a challenge: the source has a password, and the request comes without one.

    `kind` says why without anything of the request, so that it can be counted.
    """

    def __init__(self, status: int, words: str, kind: str = "") -> None:
        super().__init__([("", words)])
        self.status = status
        self.kind = kind or words


class FetchNeededError(Exception):
    """A request cannot be verified yet: call `fetch` with this address, then ask again."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Push(FrozenStruct):
    """Content of a verified request.

    Attributes:
        kind: `message`; `subscribe`, whose sender wants to hear that we want its messages; `unsubscribe`.
        id: Of the message, the same whenever it comes again; empty where the sender gives none.
        body: The message.
        envelope: What the sender says of it. Mappings read it under the kind of the source: `row.sns.Timestamp`.
        type: What the sender calls it.
        topic: From where it comes, where the source has several.
        confirm: Where a subscription is confirmed.
        sent: When its sender made it, as a text that sorts by time; empty where that was not signed.
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
        """Content of a request, after verification.

        Args:
            headers: By their names in lower case.
            now_ms: When it came.

        Raises: PushRefusedError; FetchNeededError.
        """

    def fetch(self, url: str) -> None:
        """Get what `verified` lacked; may take seconds; nothing by default.

        Raises: TransientError where it cannot be had now.
        """

    def confirm(self, push: Push) -> None:
        """Tell the sender that its messages are wanted; nothing by default, for one that never asks.

        Raises: TransientError, UsageError where it refuses.
        """
