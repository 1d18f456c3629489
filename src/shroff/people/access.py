"""The caller, and the rights of each role. A right that is not listed here is denied."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from shroff.errors import NotAllowedError


class Right(StrEnum):
    """One kind of thing that may be done; its text is also the scope of a key (`--scope read:decisions`)."""

    SUBMIT_EVENTS = "submit:events"  # take events into the log, deciding on the way
    SCORE = "score"  # ask what would be decided, without writing anything
    READ_DECISIONS = "read:decisions"  # decisions, reasons, replays, flags, entities, what the engine said
    READ_PERSONAL = "read:personal"  # fields declared `personal`, which lie beside the log
    WRITE_LABELS = "write:labels"
    READ_CASES = "read:cases"
    WORK_CASES = "work:cases"  # claim, note, decide, silence a rule for an entity
    READ_DEFINITIONS = "read:definitions"  # rules, features, policy, lists, models, thresholds, backtests that were run
    EDIT_LISTS = "edit:lists"
    EDIT_RULES = "edit:rules"  # drafts, and what needs no second person
    APPROVE_RULES = "approve:rules"  # the second person
    RUN_BACKTESTS = "run:backtests"  # costs the machine's time, changes nothing
    RUN_JOBS = "run:jobs"  # begin and cancel jobs, run and pause schedules; a kind of job may take more
    TRAIN_MODELS = "train:models"
    PROMOTE_MODELS = "promote:models"  # promote, roll back, shadow, waive a gate
    SET_THRESHOLDS = "set:thresholds"
    MEND_INPUT = "mend:input"  # quarantine and outbox: look, retry, drop
    SEND_NOTICES = "send:notices"  # previews, test mails, mails that were refused
    ERASE_PERSONAL = "erase:personal"  # forget a person, prune the store
    MANAGE_USERS = "manage:users"
    MANAGE_KEYS = "manage:keys"
    READ_AUDIT = "read:audit"
    READ_METRICS = "read:metrics"
    POST_ALERTS = "post:alerts"  # alerts of Prometheus for operators, which Health shows


class Role(StrEnum):
    """Role of a user. People have one of the first four; `service` is for programs."""

    ADMIN = "admin"
    ANALYST = "analyst"
    AUTHOR = "author"
    VIEWER = "viewer"
    SERVICE = "service"


_LOOK: Final = frozenset([Right.READ_DECISIONS, Right.READ_CASES, Right.READ_DEFINITIONS])
_WORK: Final = _LOOK | {
    Right.SCORE,
    Right.READ_PERSONAL,
    Right.WRITE_LABELS,
    Right.WORK_CASES,
    Right.EDIT_LISTS,
    Right.RUN_BACKTESTS,
}
_WRITE_RULES: Final = _LOOK | {
    Right.SCORE,
    Right.EDIT_LISTS,
    Right.EDIT_RULES,
    Right.APPROVE_RULES,
    Right.RUN_BACKTESTS,
    Right.RUN_JOBS,
    Right.TRAIN_MODELS,
    Right.PROMOTE_MODELS,
    Right.SET_THRESHOLDS,
    Right.READ_METRICS,
}
_SERVE: Final = frozenset(
    [
        Right.SUBMIT_EVENTS,
        Right.SCORE,
        Right.READ_DECISIONS,
        Right.WRITE_LABELS,
        Right.READ_METRICS,
        Right.POST_ALERTS,
    ]
)

RIGHTS: Final[Mapping[Role, frozenset[Right]]] = MappingProxyType(
    {
        Role.ADMIN: frozenset(Right),
        Role.ANALYST: _WORK,
        Role.AUTHOR: _WRITE_RULES,
        Role.VIEWER: _LOOK,
        Role.SERVICE: _SERVE,
    }
)


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks: a person who signed in, a program with a key, or a command or program on this machine.

    `id` is what the audit remembers and never means somebody else later: `user-3`, `key-k7m2...`, `os-ann`. `rights`
    are those of the role, or fewer where a key is scoped. `display_name` is empty for who has none apart.
    """

    kind: Literal["user", "key", "command", "program"]
    id: str
    name: str
    role: Role
    rights: frozenset[Right]
    display_name: str = ""

    @property
    def shown_name(self) -> str:
        """As people read it; `name` is what the audit has."""
        return self.display_name or self.name

    @property
    def via(self) -> str:
        """The way in which they ask: web, api, command or program."""
        return _WAYS[self.kind]

    def may(self, right: Right) -> bool:
        """Whether this right is among theirs."""
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raises: NotAllowedError where they do not have this right."""
        if right not in self.rights:
            raise NotAllowedError(f"this needs the permission {right.value}, which {_lacking(self)} does not have")


def local(name: str, kind: Literal["command", "program"]) -> Who:
    """The user of a command or a program on this machine: read and write access to the project's files allows all."""
    return Who(kind, f"os-{name}", name, Role.ADMIN, RIGHTS[Role.ADMIN])


_WAYS: Final = MappingProxyType({"user": "web", "key": "api", "command": "command", "program": "program"})


def _lacking(who: Who) -> str:
    return f"the role {who.role.value}" if who.rights == RIGHTS[who.role] else f"this {who.kind}"


def network_of(address: str) -> str:
    """Network that counts as one sender: of an IPv6 address its /64, which one subscriber has whole.

    >>> network_of("2001:db8::5:1"), network_of("::ffff:192.0.2.7"), network_of("192.0.2.7"), network_of("")
    ('2001:db8::/64', '192.0.2.7', '192.0.2.7', '')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
