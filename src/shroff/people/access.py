"""Callers, and the rights of each role. A right that is not listed is denied."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, Self

from shroff.errors import NotAllowedError, UsageError, nearest
from shroff.runtime.values import FrozenStruct


class Right(StrEnum):
    """A permission with its text for people; its value is also the scope of a key."""

    _value_: str
    words: str

    def __new__(cls, value: str, title: str = "") -> Self:
        right = str.__new__(cls, value)
        right._value_ = value
        right.words = title
        return right

    SUBMIT_EVENTS = "submit:events", "Send events and get decisions"
    SCORE = "score", "Score events without storing them"
    READ_DECISIONS = "read:decisions", "View decisions, reasons and flags"
    # Checked by `person export`, services/quarantine/operations.py and in web/pages: search.py, entity.py, sources.py.
    READ_PERSONAL = "read:personal", "View personal data"
    WRITE_LABELS = "write:labels", "Send labels"
    READ_CASES = "read:cases", "View cases"
    WORK_CASES = "work:cases", "Work on cases and silence rules"
    READ_DEFINITIONS = "read:definitions", "View rules, features, policy, lists and models"
    EDIT_LISTS = "edit:lists", "Edit lists"
    EDIT_RULES = "edit:rules", "Edit and activate rules"
    APPROVE_RULES = "approve:rules", "Approve rules as the second person"
    RUN_BACKTESTS = "run:backtests", "Run backtests"
    RUN_JOBS = "run:jobs", "Run and cancel jobs"
    TRAIN_MODELS = "train:models", "Train models"
    PROMOTE_MODELS = "promote:models", "Promote and roll back models"
    SET_THRESHOLDS = "set:thresholds", "Change score thresholds"
    MEND_INPUT = "mend:input", "Retry or drop quarantined input and failed deliveries"
    SEND_NOTICES = "send:notices", "Send test mails and resend failed ones"
    ERASE_PERSONAL = "erase:personal", "Erase personal data"
    MANAGE_USERS = "manage:users", "Manage users"
    PROVISION_USERS = "provision:users", "Provision users and groups (SCIM)"
    MANAGE_KEYS = "manage:keys", "Manage API keys"
    READ_AUDIT = "read:audit", "View the audit log"
    READ_METRICS = "read:metrics", "Read metrics"
    POST_ALERTS = "post:alerts", "Post alerts for operators"


class Role(StrEnum):
    """Role of a user. People have one of the first five; `service` is for programs."""

    ADMIN = "admin"
    ANALYST = "analyst"
    AUTHOR = "author"
    VIEWER = "viewer"
    MEMBER = "member"
    SERVICE = "service"


def _rights(scopes: str) -> frozenset[Right]:
    return frozenset(map(Right, scopes.split()))


_LOOK = _rights("read:decisions read:cases read:definitions")
RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Right),
        Role.ANALYST: _LOOK | _rights("score read:personal write:labels work:cases edit:lists run:backtests"),
        Role.AUTHOR: _LOOK
        | _rights("score edit:lists edit:rules approve:rules run:backtests run:jobs train:models promote:models")
        | _rights("set:thresholds read:metrics"),
        Role.VIEWER: _LOOK,
        Role.MEMBER: frozenset(),
        Role.SERVICE: _rights("submit:events score read:decisions write:labels read:metrics post:alerts"),
    }
)


def strongest(roles: Iterable[Role]) -> Role | None:
    """Return the role with the most rights; None without a role."""
    return max(roles, key=lambda role: len(RIGHTS[role]), default=None)


def check_known(noun: str, text: str, names: Sequence[str], suffix: str = "") -> None:
    """Raise UsageError if a role or scope is unknown; the message proposes the nearest."""
    if text not in names:
        message = f"there is no {noun} {text!r}{suffix}; {noun}s are {', '.join(names)}. {nearest(text, names)}"
        raise UsageError(message.rstrip())


class Who(FrozenStruct):
    """A caller: a signed-in user, a program with an API key, or a command or program on this machine.

    The audit log keeps `id`, which is never reused: `user-3`, `key-k7m2...`, `os-ann`. `rights` are those of the role,
    or fewer for a scoped key. `display_name` may be empty; `since_ms` is the start of the session.
    """

    kind: Literal["user", "key", "command", "program"]
    id: str
    name: str
    role: Role
    rights: frozenset[Right]
    display_name: str = ""
    since_ms: int = 0

    @property
    def shown_name(self) -> str:
        """Name for people; the audit log uses `name`."""
        return self.display_name or self.name

    @property
    def via(self) -> str:
        """Channel of the request: web, api, command or program."""
        return _WAYS[self.kind]

    def may(self, right: Right) -> bool:
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raise NotAllowedError if the right is missing."""
        if right not in self.rights:
            raise NotAllowedError(
                f"this needs the permission {right.value}, which {_missing_right(self)} does not have"
            )


def local(name: str, kind: Literal["command", "program"]) -> Who:
    """Return the caller of a command or program on this machine: access to the project's files allows everything."""
    return Who(kind, f"os-{name}", name, Role.ADMIN, RIGHTS[Role.ADMIN])


_WAYS = MappingProxyType({"user": "web", "key": "api", "command": "command", "program": "program"})


def _missing_right(who: Who) -> str:
    return f"the role {who.role.value}" if who.rights == RIGHTS[who.role] else f"this {who.kind}"


def network_of(address: str) -> str:
    """Return the network that counts as one sender: for IPv6 the /64, since a subscriber has all of it.

    >>> network_of("2001:db8::5:1"), network_of("::ffff:192.0.2.7"), network_of("192.0.2.7"), network_of("")
    ('2001:db8::/64', '192.0.2.7', '192.0.2.7', '')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
