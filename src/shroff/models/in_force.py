"""Active models: reading and writing models/in_force.json.

For each event type it has the champion, earlier champions, models in shadow, and a challenger with its share of keys.
`shroff models` writes the file; like every project file its text is part of the control event.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import Problem
from shroff.events.formats.encodings import doubled_key
from shroff.json_types import JsonObject
from shroff.runtime.values import FrozenStruct

FILE = "models/in_force.json"
ID = r"^[a-z0-9][a-z0-9-]{0,63}$"  # of a model: the name of its folder
TRIED = ("champion", "challenger", "shadow")  # roles in which a model scores
PREVIOUS_MAX = 100  # promotions that a rollback can revert
_AT_BYTE = re.compile(r" \(byte (\d+)\)$")
_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")

Id = Annotated[str, msgspec.Meta(pattern=ID)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Named(FrozenStruct, forbid_unknown_fields=True):
    """A model with the hash of its manifest."""

    id: Id
    digest: Digest


class Waiver(FrozenStruct, forbid_unknown_fields=True, omit_defaults=True):
    """A waived gate, with the name of the promoter and the reason.

    `limit` is the failed limit, in words; old files have none.
    """

    gate: str
    reason: str
    by: str
    limit: str = ""


class Promotion(FrozenStruct, forbid_unknown_fields=True, omit_defaults=True):
    """A promotion to champion: when, by whom, and the waived gates."""

    id: Id
    digest: Digest
    at: str = ""
    by: str = ""
    waived: tuple[Waiver, ...] = ()


class Challenger(FrozenStruct, forbid_unknown_fields=True):
    """A model that scores a share of the keys of the entity `by` instead of the champion."""

    id: Id
    digest: Digest
    share: Share
    by: str


class InForce(FrozenStruct, forbid_unknown_fields=True, omit_defaults=True):
    """The models of one event type. `previous` are the earlier champions, oldest first."""

    champion: Promotion | None = None
    challenger: Challenger | None = None
    shadow: tuple[Named, ...] = ()
    previous: tuple[Promotion, ...] = ()

    @property
    def champions(self) -> tuple[Promotion, ...]:
        """All champions, oldest first: each passed its gates at the time, or somebody waived them."""
        return (*self.previous, self.champion) if self.champion else self.previous

    def unwaived(self, id_: str, failed: Sequence[str]) -> tuple[str, ...]:
        """Return the failed gates of a model, by name, that no promotion of it waived, whatever the limit was then."""
        waived = {waiver.gate for promotion in self.champions if promotion.id == id_ for waiver in promotion.waived}
        return tuple(gate for gate in failed if gate not in waived)

    @property
    def is_empty(self) -> bool:
        return self.champion is None and self.challenger is None and not self.shadow

    def meaning(self) -> object:
        """Return the parts that affect scores, without names, times and earlier champions."""
        champion = self.champion
        challenger = self.challenger
        return [
            None if champion is None else [champion.id, champion.digest],
            None if challenger is None else [challenger.id, challenger.digest, challenger.share, challenger.by],
            sorted([scorer.id, scorer.digest] for scorer in self.shadow),
        ]


Everything = dict[str, InForce]


def read_in_force(text: str | None, problems: list[Problem]) -> Everything:
    """Parse the active models by event type; empty without a file."""
    if text is None:
        return {}
    try:
        entries = from_json(text.encode(), type=JsonObject)
        doubled = doubled_key(text.encode())
    except msgspec.ValidationError as error:
        problems.append(Problem(FILE, 1, 1, "", f"it names event types with their models: {error}.", _CURE))
        return {}
    except (msgspec.DecodeError, RecursionError) as error:
        message = str(error)
        match = _AT_BYTE.search(message)
        read_text = text.encode()[: int(match[1])].decode(errors="replace") if match else ""
        line = read_text.count("\n") + 1
        column = len(read_text) - (read_text.rfind("\n") + 1) + 1
        problems.append(Problem(FILE, line, column, "", f"this is not JSON: {_AT_BYTE.sub('', message)}.", _CURE))
        return {}
    if doubled is not None:
        problems.append(Problem(FILE, 0, 0, "", f"the key {doubled!r} is used twice in one object.", _CURE))
        return {}
    read = {event: _read(event, value, problems) for event, value in entries.items()}
    return {event: entry for event, entry in read.items() if entry is not None}


_CURE = "'shroff models' writes this file; take the last good one from version control, or write it anew."


def _read(event: str, value: object, problems: list[Problem]) -> InForce | None:
    try:
        in_force = msgspec.convert(value, InForce)
    except msgspec.ValidationError as error:
        message = str(error)
        match = _AT_PATH.search(message)
        path = f"{event}.{match[1]}" if match and match[1] else event
        problems.append(Problem(FILE, 0, 0, path, f"{_AT_PATH.sub('', message)}.", _CURE))
        return None
    problem_count = len(problems)
    shadow_ids = [scorer.id for scorer in in_force.shadow]
    if in_force.challenger is not None:
        shadow_ids.append(in_force.challenger.id)
        if in_force.champion is None:
            message = "a challenger takes keys from the champion, and there is no champion."
            problems.append(Problem(FILE, 0, 0, f"{event}.challenger", message))
    if in_force.champion is not None:
        shadow_ids.append(in_force.champion.id)
    problems += [
        Problem(FILE, 0, 0, event, f"the model {id_} is used twice, as champion, challenger or in shadow.")
        for id_ in sorted({id_ for id_ in shadow_ids if shadow_ids.count(id_) > 1})
    ]
    return in_force if len(problems) == problem_count else None


def text_of(in_force: Mapping[str, InForce]) -> str:
    entries = {event: force for event, force in sorted(in_force.items()) if not force.is_empty or force.previous}
    return msgspec.json.format(to_json(entries), indent=2).decode() + "\n"


def version_of(in_force: Mapping[str, InForce]) -> str:
    """Hash the active models; empty if there are none."""
    meant = [[event, force.meaning()] for event, force in sorted(in_force.items()) if not force.is_empty]
    return hashlib.sha256(to_json(meant)).hexdigest()[:32] if meant else ""


def role_of(in_force: InForce, id_: str) -> str:
    """Return the current role of a model; empty for none."""
    if in_force.champion is not None and in_force.champion.id == id_:
        return "champion"
    if in_force.challenger is not None and in_force.challenger.id == id_:
        return "challenger"
    if id_ in {scorer.id for scorer in in_force.shadow}:
        return "shadow"
    return "before" if id_ in {promotion.id for promotion in in_force.previous} else ""
