"""The key `cases` of shroff.yaml: what raises alerts, the entity of cases, and due times.

None of it decides anything: like what says where things are, it is in no version, control event or receipt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from shroff.language.keys import (
    ANY,
    DURATION,
    NAME,
    PERCENT,
    SWITCH,
    Many,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.language.shapes import load_shape
from shroff.language.values import DAY_MS
from shroff.language.yaml import text as yamltext
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.errors import Problem
    from shroff.events.definitions import Events

NAME_OF = "cases"
RAISING = ("challenge", "review", "decline")
LOCK_MS = 15 * 60_000
SECOND_LOOK = 0.05
NEXT = ("verdict", "escalate", "snooze")  # what a macro may do with a case
TAG = One("a tag", "^[a-z0-9][a-z0-9_.:-]{0,39}$")
CASES = mapping_shape(
    """case settings

    outcomes: Outcomes that raise an alert, in addition to rules with `notify: analysts`.
        Default: [review]
        Example: [review, decline]
    about: The entity of cases, by event type. By default, it is the entity of the first rule that asked for the
        outcome; without such a rule, the first entity of events.yaml with a key in the event.
        Example: { payment: card }
    until: The time field with the deadline for an answer, by event type, such as the time when goods ship.
        Example: { order: ships_at }
    within: Time limit for alerts, from their event, without `until`.
        Default: 1d
        Example: 4h
    lock: How long a claimed case is locked for its owner.
        Default: 15m
        Example: 30m
    second_look: Share of closed cases that another analyst decides again without seeing the first answer (quality
        check).
        Default: 5%
        Example: 10%
    checklists: What is to be done before a case is closed, by its entity.
        Example: { card: { called: { text: Customer called, required: true } } }
    macros: Named answers, each done by one button.
        Example: { stolen: { verdict: fraud, note: Reported stolen., tags: [stolen] } }
    evidence: Fields of the evidence on disputes, where their names do not say what they are.
        Example: { device: fp, address: drop_off }
    """,
    outcomes=Many("outcomes", choice(*RAISING)),
    about=own_names("event types with an entity", NAME),
    until=own_names("event types with a field of them", NAME),
    within=DURATION,
    lock=DURATION,
    second_look=PERCENT,
    checklists=own_names(
        "entities with a checklist",
        own_names(
            "items of a checklist",
            mapping_shape(
                """an item of a checklist

                text: What the analyst ticks.
                required: A case closes only once this is ticked.
                    Default: false
                """,
                text=Required(ANY),
                required=SWITCH,
            ),
        ),
    ),
    macros=own_names(
        "macros",
        mapping_shape(
            """a macro: one of verdict, escalate and snooze, or none of them

            verdict: The answer.
            escalate: The reason with which the case is escalated.
            snooze: How long the case is snoozed.
                Example: 1d
            note: A note to add.
            tags: Tags to add.
                Example: [stolen]
            """,
            verdict=choice("fraud", "genuine", "unclear"),
            escalate=ANY,
            snooze=DURATION,
            note=ANY,
            tags=Many("tags", TAG),
        ),
    ),
    evidence=mapping_shape(
        """fields of evidence

        card: The field with the card.
        device: The field with the device.
        ip: The field with the IP address.
        address: The field with the parcel address.
        login: The field with the login or account.
        """,
        card=NAME,
        device=NAME,
        ip=NAME,
        address=NAME,
        login=NAME,
    ),
)


class CaseCheck(FrozenStruct):
    """An item of the checklist of a case, and whether it is ticked."""

    item: str
    text: str
    required: bool
    done: bool


class CaseSettings(FrozenStruct):
    """The key `cases`; durations in milliseconds.

    `about` and `until` name entities and fields by event types, `evidence` fields by what they hold.
    """

    outcomes: tuple[str, ...] = ("review",)
    about: Mapping[str, str] = msgspec.field(default_factory=dict)
    until: Mapping[str, str] = msgspec.field(default_factory=dict)
    within_ms: int = DAY_MS
    lock_ms: int = LOCK_MS
    second_look: float = SECOND_LOOK
    evidence: Mapping[str, str] = msgspec.field(default_factory=dict)
    checklists: Mapping[str, Mapping[str, Mapping[str, str]]] = msgspec.field(default_factory=dict)
    macros: Mapping[str, Mapping[str, Any]] = msgspec.field(default_factory=dict)

    def checklist(self, kind: str, ticked: str) -> Sequence[CaseCheck]:
        """The checklist of a kind of case, of which these words are ticked; empty for a kind that has none."""
        return [
            CaseCheck(item, check["text"], check.get("required") == "true", item in ticked.split())
            for item, check in self.checklists.get(kind, {}).items()
        ]


def load_case_settings(
    top: yamltext.Node | None, problems: list[Problem], events: Events | None = None
) -> CaseSettings:
    """Load the key `cases` of shroff.yaml; with events, check the names in it."""
    node = top.get(NAME_OF) if isinstance(top, yamltext.Mapping) else None
    found = load_shape(node, CASES, CaseSettings, problems, NAME_OF) or CaseSettings()
    found = msgspec.structs.replace(found, outcomes=found.outcomes or ("review",))
    if node is not None and events is not None:
        problems += [node.problem(words) for words in _mistakes(found, events)]
    return found


def _mistakes(found: CaseSettings, events: Events) -> list[str]:
    named = {**found.about, **found.until}
    words = [f"cases: {event!r} is not an event type." for event in named if event not in events.types]
    for event, entity in found.about.items():
        if event in events.types and (entity not in events.entities or event not in events.entities[entity].keys):
            words.append(f"cases: events.yaml gives no key of {entity!r} for {event}.")
    for event, name in found.until.items():
        type_ = events.types.get(event)
        if type_ is None:
            continue
        if not any(field.name == name and field.type.kind == "time" for field in type_.fields):
            words.append(f"cases: {event} has no field {name!r} of type time.")
    words += [
        f"cases: a macro has one of {', '.join(NEXT)}, and {name} has more."
        for name, macro in found.macros.items()
        if len(macro.keys() & {*NEXT}) > 1
    ]
    known = {field.name for type_ in events.types.values() for field in type_.fields}
    words += [f"cases: no event type has a field {name!r}." for name in {*found.evidence.values()} - known]
    return words
