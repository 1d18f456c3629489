"""Parse and check the URL of a database server."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import field
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict
from shroff.runtime.values import frozen

# Names in SQL statements. The limit leaves room for table names after a prefix on every server.
NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
VERIFIED = "verify-full"
SSL_MODES = ("disable", "prefer", "require", "verify-ca", VERIFIED)


@frozen
class ServerUrl:
    """Parts of a database's URL. Only `place` may be shown, as it has no password."""

    scheme: str
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    options: TextDict = field(repr=False)

    @property
    def place(self) -> str:
        inside = "".join(f"?{key}={self.options[key]}" for key in ("schema", "prefix") if key in self.options)
        return f"{self.scheme}://{self.host}:{self.port}/{self.database}{inside}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def ssl_mode(self) -> str:
        """Value of `sslmode`; by default connections to other machines verify the server's certificate and name."""
        return self.options.get("sslmode", "prefer" if self.is_loopback else VERIFIED)

    def name(self, option: str, default: str) -> str:
        """Return an option that is used as a name in SQL. Raises: UsageError if it is not a valid name."""
        value = self.options.get(option, default)
        if not NAME.fullmatch(value):
            raise UsageError(
                f"{self.scheme}://{self.host}: {option}={value!r} is not a valid name: at most 40 lower-case "
                f"letters, digits and '_', not starting with a digit"
            )
        return value


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def server_url(url: str, schemes: Collection[str], port: int, options: Collection[str]) -> ServerUrl:
    """Read an address such as `postgresql://user:password@host:5432/database?sslmode=verify-full`.

    Raises: UsageError, which repeats neither user nor password.
    """
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise UsageError(f"expected an address that begins with {' or '.join(schemes)}://, found {parts.scheme!r}")
    try:
        number = parts.port or port
    except ValueError:
        raise UsageError(f"{parts.scheme}://{parts.hostname}: its port is not a number from 1 to 65535") from None
    database = unquote(parts.path.lstrip("/"))
    if not parts.hostname or not database or "/" in database:
        raise UsageError(f"expected {parts.scheme}://USER:PASSWORD@HOST:PORT/DATABASE, with a host and a database")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in query:
        if key not in options:
            option_names = ", ".join(sorted(options))
            raise UsageError(
                f"{parts.scheme}://{parts.hostname}: there is no option {key!r}; options are {option_names}. "
                f"{nearest(key, options)}".rstrip()
            )
    if query.get("sslmode", VERIFIED) not in SSL_MODES:
        raise UsageError(f"{parts.scheme}://{parts.hostname}: sslmode is one of {', '.join(SSL_MODES)}")
    user = unquote(parts.username or "")
    password = unquote(parts.password or "")
    return ServerUrl(parts.scheme, parts.hostname, number, database, user, password, query)
