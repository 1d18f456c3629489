"""A Redis server as our adapters talk to it: replies as they come, its errors in our words, never a password."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any
from urllib.parse import urlsplit

from shroff.errors import ShroffError, TransientError, UsageError
from shroff.json_types import JsonObject

ANSWER_S = 5.0  # for an answer or a connection, before the server counts as unavailable
SCHEMES = ("redis", "rediss", "unix")
Words = Sequence[str | bytes | int]
# What a server says, and which errors of the client say the same, while it starts, is a replica, has no room, or waits
# for its replicas: it may be over soon.
_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "TRYAGAIN", "NOREPLICAS", "OOM", "MISCONF")
_PASSING_ERRORS = ("ReadOnlyError", "OutOfMemoryError", "TryAgainError", "MasterDownError", "ExecAbortError")
_NOT_LET_IN = ("NOAUTH", "WRONGPASS", "AUTH", "invalid username-password", "invalid password")
_OF_CLUSTERS = ("MovedError", "AskError", "ClusterCrossSlotError", "ClusterDownError")


class RedisServer:
    """One server, which is connected to when it is first asked something. Several threads may ask.

    With `rediss://` its certificate and its name are verified. Nothing is sent a second time by itself: whoever asks
    knows whether it may be.

    Args:
        what: Who asks, for messages: `source`, `online`.

    Raises: UsageError where the library is missing or the address is none; from what asks where the server
        does not let us in or refuses what it is asked, and TransientError where it may answer later.
    """

    def __init__(self, url: str, what: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise UsageError(f"{what} is in Redis, but the client library is missing: install shroff[redis].") from None
        self.address = address_of(url)
        self._what = what
        if url.partition(":")[0] not in SCHEMES:
            raise UsageError(f"{what}: an address in Redis is redis://, rediss:// or unix://, not {self.address}.")
        verified = url.startswith("rediss:") and "ssl_cert_reqs" not in url
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                protocol=2,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=ANSWER_S,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),
                redis_connect_func=_sign_in,
                **({"ssl_check_hostname": True} if verified else {}),
            )
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing, and reads all of the address
        except (ValueError, TypeError):  # its message may repeat the address
            raise UsageError(f"{what}: {self.address} cannot be read as an address of Redis.") from None
        self._client.response_callbacks.clear()
        self._failures = (redis.RedisError, OSError)

    def __repr__(self) -> str:
        return f"<Redis at {self.address}>"

    def ask(self, *words: str | bytes | int) -> Any:
        try:
            return self._client.execute_command(*words)
        except self._failures as error:
            raise failed(error, self.address, self._what) from None

    def ask_all(self, commands: Sequence[Words], *, in_one_moment: bool = False) -> list[Any]:
        """The replies to several commands that are sent together; what one of them failed with stands in its place.

        Args:
            in_one_moment: Nobody else's command comes between them.
        """
        replies = self._replies(commands, in_one_moment=in_one_moment)
        return [
            failed(reply, self.address, self._what) if isinstance(reply, self._failures) else reply for reply in replies
        ]

    def run_all(self, script: str, calls: Sequence[Words]) -> list[Any]:
        """The replies to several calls of a script, as `ask_all`: of each the number of its keys, these, and words."""
        from redis.exceptions import NoScriptError

        name = sha1(script.encode(), usedforsecurity=False).hexdigest()
        replies = self._replies([("EVALSHA", name, *call) for call in calls])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        for at, reply in zip(unknown, self.ask_all([("EVAL", script, *calls[at]) for at in unknown]), strict=True):
            replies[at] = reply
        return [
            failed(reply, self.address, self._what) if isinstance(reply, self._failures) else reply for reply in replies
        ]

    def _replies(self, commands: Sequence[Words], *, in_one_moment: bool = False) -> list[Any]:
        asking = self._client.pipeline(transaction=in_one_moment)
        for command in commands:
            asking.execute_command(*command)
        try:
            replies: list[Any] = asking.execute(raise_on_error=False)
        except self._failures as error:
            raise failed(error, self.address, self._what) from None
        return replies

    def close(self) -> None:
        self._client.close()


def _sign_in(connection: Any) -> None:
    """Sign a new connection in, and see that the server takes it: one that asks for a password closes the connection
    at the first large request, and what comes back is then a broken pipe.
    """
    from redis.exceptions import NoPermissionError

    connection.on_connect()
    connection.send_command("PING")
    with suppress(NoPermissionError):  # for which one has signed in
        connection.read_response()


def address_of(url: str) -> str:
    """An address without its credentials.

    >>> address_of("rediss://shroff:secret@redis.bank:6380/1?ssl_ca_certs=/etc/ca.pem")
    'rediss://redis.bank:6380/1'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # an invalid address may have its password anywhere
        return f"{url.partition(':')[0]}://..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def failed(error: Exception, address: str, what: str) -> ShroffError:
    """An error of the client as one of ours: transient where it may be over by itself."""
    from redis import exceptions

    words = str(error)
    is_passing = words.startswith(_PASSING) or type(error).__name__ in _PASSING_ERRORS
    if isinstance(error, exceptions.AuthenticationError) or words.startswith(_NOT_LET_IN):
        if getattr(error, "status_code", "") == "NOAUTH":
            return UsageError(
                f"{what}: Redis at {address} asks for a password, and this address has none. "
                "Write ':${REDIS_PASSWORD}@' before its host in shroff.yaml, and set this variable."
            )
        return UsageError(f"{what}: Redis at {address} rejects the sign-in. Check user and password in its address.")
    if isinstance(error, exceptions.ResponseError) and not is_passing:
        if type(error).__name__ in _OF_CLUSTERS:
            return UsageError(f"{what}: {address} is a Redis Cluster, and shroff needs a single server with replicas.")
        return UsageError(f"{what}: Redis at {address} refuses this: {words.rstrip('.')}.")
    what_for = "cannot do this now" if is_passing else "does not answer"
    return TransientError(f"Redis at {address} {what_for}: {words or type(error).__name__}")


def pairs(reply: Any) -> JsonObject:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
