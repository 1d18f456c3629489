"""A client of one Redis server for the adapters: raw replies, and errors of shroff without passwords."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any
from urllib.parse import urlsplit

from shroff.errors import ShroffError, TransientError, UsageError
from shroff.json_types import JsonObject

ANSWER_S = 5.0  # longest wait for an answer or a connection
SCHEMES = ("redis", "rediss", "unix")
Words = Sequence[str | bytes | int]
# Beginnings of replies, and errors of the client, while a server starts, is a replica, is out of memory, or waits for
# its replicas; a retry may help.
_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "TRYAGAIN", "NOREPLICAS", "OOM", "MISCONF")
_PASSING_ERRORS = ("ReadOnlyError", "OutOfMemoryError", "TryAgainError", "MasterDownError", "ExecAbortError")
_NOT_LET_IN = ("NOAUTH", "WRONGPASS", "AUTH", "invalid username-password", "invalid password")
_OF_CLUSTERS = ("MovedError", "AskError", "ClusterCrossSlotError", "ClusterDownError")


class RedisServer:
    """One server, connected at its first use. Several threads may use it.

    With `rediss://` its certificate and its name are verified. Nothing is retried automatically, as only the caller
    knows whether a command may be repeated.

    Args:
        user: User of the server, for messages: `source`, `online`.

    Raises: UsageError if the library is missing, or the address is invalid. Commands raise UsageError if the server
        refuses the sign-in or the command, and TransientError if a retry may help.
    """

    def __init__(self, url: str, user: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise UsageError(f"{user} is in Redis, but the client library is missing: install shroff[redis].") from None
        self.address = address_of(url)
        self._what = user
        if url.partition(":")[0] not in SCHEMES:
            raise UsageError(f"{user}: an address in Redis is redis://, rediss:// or unix://, not {self.address}.")
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
            pool.connection_class(**pool.connection_kwargs)  # does not connect, but checks the whole address
        except (ValueError, TypeError):  # its message may repeat the address
            raise UsageError(f"{user}: {self.address} cannot be read as an address of Redis.") from None
        self._client.response_callbacks.clear()
        self._failures = (redis.RedisError, OSError)

    def __repr__(self) -> str:
        return f"<Redis at {self.address}>"

    def ask(self, *command: str | bytes | int) -> Any:
        try:
            return self._client.execute_command(*command)
        except self._failures as error:
            raise failed(error, self.address, self._what) from None

    def ask_all(self, commands: Sequence[Words], *, in_one_moment: bool = False) -> list[Any]:
        """Return the replies to several commands that are sent together; a failed command has its error as the reply.

        Args:
            in_one_moment: Run them atomically.
        """
        replies = self._replies(commands, in_one_moment=in_one_moment)
        return [
            failed(reply, self.address, self._what) if isinstance(reply, self._failures) else reply for reply in replies
        ]

    def run_all(self, script: str, calls: Sequence[Words]) -> list[Any]:
        """Return the replies to several calls of a script, as `ask_all`. A call is the number of keys, keys and
        values.
        """
        from redis.exceptions import NoScriptError

        name = sha1(script.encode(), usedforsecurity=False).hexdigest()
        replies = self._replies([("EVALSHA", name, *call) for call in calls])
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        for index, reply in zip(
            unknown, self.ask_all([("EVAL", script, *calls[index]) for index in unknown]), strict=True
        ):
            replies[index] = reply
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
    """Sign a new connection in, and check it. A server that requires a password would otherwise close the connection at
    the first large request, with the error of a broken pipe.
    """
    from redis.exceptions import NoPermissionError

    connection.on_connect()
    connection.send_command("PING")
    with suppress(NoPermissionError):  # a user without the right to PING has signed in
        connection.read_response()


def address_of(url: str) -> str:
    """Return an address without its credentials.

    >>> address_of("rediss://shroff:secret@redis.bank:6380/1?ssl_ca_certs=/etc/ca.pem")
    'rediss://redis.bank:6380/1'
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # an invalid address may have its password anywhere
        return f"{url.partition(':')[0]}://..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def failed(error: Exception, address: str, user: str) -> ShroffError:
    """Return the error of shroff for an error of the client: a TransientError if a retry may help."""
    from redis import exceptions

    message = str(error)
    is_passing = message.startswith(_PASSING) or type(error).__name__ in _PASSING_ERRORS
    if isinstance(error, exceptions.AuthenticationError) or message.startswith(_NOT_LET_IN):
        if getattr(error, "status_code", "") == "NOAUTH":
            return UsageError(
                f"{user}: Redis at {address} asks for a password, and this address has none. "
                "Write ':${REDIS_PASSWORD}@' before its host in shroff.yaml, and set this variable."
            )
        return UsageError(f"{user}: Redis at {address} rejects the sign-in. Check user and password in its address.")
    if isinstance(error, exceptions.ResponseError) and not is_passing:
        if type(error).__name__ in _OF_CLUSTERS:
            return UsageError(f"{user}: {address} is a Redis Cluster, and shroff needs a single server with replicas.")
        return UsageError(f"{user}: Redis at {address} refuses this: {message.rstrip('.')}.")
    what_for = "cannot do this now" if is_passing else "does not answer"
    return TransientError(f"Redis at {address} {what_for}: {message or type(error).__name__}")


def pairs(reply: Any) -> JsonObject:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
