"""The address of a database server, read and checked: what of it may be shown, and what it says of TLS."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import field
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict
from shroff.runtime.values import frozen

# Names that become part of SQL: short enough for every server, with room for the names of tables behind a prefix.
NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
VERIFIED = "verify-full"
SSL_MODES = ("disable", "prefer", "require", "verify-ca", VERIFIED)


@frozen
class ServerUrl:
    """Where a database is and how to get in. `place` is what messages and people may see."""

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
        """How the connection is secured: as the address says, else verified wherever it leaves this machine."""
        return self.options.get("sslmode", "prefer" if self.is_loopback else VERIFIED)

    def name(self, option: str, default: str) -> str:
        """A name out of the address that becomes part of SQL. Raises: UsageError where it is none."""
        found = self.options.get(option, default)
        if not NAME.fullmatch(found):
            raise UsageError(
                f"{self.scheme}://{self.host}: {option}={found!r} is not a valid name: at most 40 lower-case "
                f"letters, digits and '_', not starting with a digit"
            )
        return found


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine."""
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
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for key in given:
        if key not in options:
            known = ", ".join(sorted(options))
            raise UsageError(
                f"{parts.scheme}://{parts.hostname}: there is no option {key!r}; options are {known}. "
                f"{nearest(key, options)}".rstrip()
            )
    if given.get("sslmode", VERIFIED) not in SSL_MODES:
        raise UsageError(f"{parts.scheme}://{parts.hostname}: sslmode is one of {', '.join(SSL_MODES)}")
    user = unquote(parts.username or "")
    password = unquote(parts.password or "")
    return ServerUrl(parts.scheme, parts.hostname, number, database, user, password, given)
