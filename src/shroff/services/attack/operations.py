"""Operation that drills seeded attacks against a copy of the log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from math import inf, isfinite
from random import Random
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS, HOUR_MS, show_decimal
from shroff.log.history import Records
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, ProgressSteps, operation
from shroff.runtime.texts import TextTable
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.attack.attackers import AttackPayment

LOOKED_BACK = 20_000  # sequence numbers of the log with possible victims
BACKGROUND = 2_000  # genuine events of the last day, as background
GATES = {"loss": "money_lost", "seconds": "seconds_to_first_alarm", "false_alarms": "false_alarms"}
Alarms = dict[str, list[str]]  # by event id: the rules behind it, or `score`


class DrillAttacks(OperationRequest["AttackDrill"], rename={"as_type": "as"}):
    """The attack to drill.

    Args:
        kind: The kind of attack.
        adaptive: Attackers who know the project's files: they stay below every threshold.
        seed: Random seed; another one gives other attackers.
        gate (loss=5000): The most that a kind may reach: loss, seconds or false_alarms. May be repeated.
        as_type (EVENT): The event type.  [default: the first decided one]
    """

    kind: Literal["card_testing", "takeover", "mule", "ring", "slow_drip", "all"] = "all"
    adaptive: bool = False
    seed: int = 1
    gate: tuple[str, ...] = ()
    as_type: Annotated[str, Param(flags="--as")] = ""


class DrilledKind(msgspec.Struct):
    """What became of the attackers of a kind.

    Seconds run from their first event to the first alarm, null where there was none. The money lost is that of their
    events that were approved, each attacker's until the first alarm about him. False alarms are genuine events that
    are approved without the attack, and not with it.
    """

    kind: str
    events: int
    attackers: int
    attackers_seen: int
    seconds_to_first_alarm: float | None
    money_lost: str
    seen_by: list[str]
    false_alarms: int


class AttackGate(msgspec.Struct):
    """A limit, the value of the kind that is nearest to it or beyond it, and whether it holds."""

    name: str
    kind: str
    value: float | None
    limit: float
    passed: bool


KINDS: Final = TextTable(
    {
        "attack": "kind",
        "events": "events",
        "attackers seen": lambda kind: f"{kind.attackers_seen} of {kind.attackers}",
        "first alarm": lambda kind: (
            "never" if kind.seconds_to_first_alarm is None else f"{kind.seconds_to_first_alarm:,.0f} s"
        ),
        "lost": "money_lost",
        "seen by": ("seen_by", "nothing"),
        "false alarms": "false_alarms",
    }
)


class AttackDrill(OperationAnswer):
    """How the project's files do against seeded attackers."""

    event: str
    seed: int
    adaptive: bool
    currency: str
    kinds: list[DrilledKind]
    gates: list[AttackGate]

    def text(self) -> str:
        gates = [
            f"{'passed' if gate.passed else 'FAILED'}: {gate.name} {gate.value} of {gate.kind}, at most {gate.limit:g}"
            for gate in self.gates
        ]
        return "\n".join([KINDS.text(self.kinds), *gates])

    def hints(self) -> Sequence[str]:
        return ["shroff attack --adaptive"] if not self.adaptive else ["shroff rules"]

    def exit_status(self) -> int:
        return int(not all(gate.passed for gate in self.gates))


@operation("attack", right="run:backtests", is_long=True)
def drill_attacks(project: Project, progress: ProgressSteps, request: DrillAttacks) -> AttackDrill:
    """Let seeded attackers loose on a copy of the log: when they are seen, by what, and what they take until then.

    They follow the newest events of the log, among the last day's genuine ones played once more, and the project's
    files decide. The log is only read. Where it has no events yet, customers are made up. The same seed on the same
    log and files gives the same attack.

    Examples:
        shroff attack
        shroff attack --kind card_testing --adaptive --gate loss=5000
    """
    from shroff.services.attack.attackers import ATTACKS

    gates = [_gate(text) for text in request.gate]
    drill = _Drill(project, request)
    kinds = list(ATTACKS) if request.kind == "all" else [request.kind]
    step = progress.counting("attacks")
    drilled = []
    for kind in kinds:
        drilled.append(drill.of(kind))
        step(1)
    return AttackDrill(
        event=drill.attacked.type.name,
        seed=request.seed,
        adaptive=request.adaptive,
        currency=drill.definitions.settings.currency,
        kinds=drilled,
        gates=[_judged(name, limit, drilled) for name, limit in gates],
    )


class _Drill:
    """Genuine background events, and their decisions without an attack."""

    def __init__(self, project: Project, request: DrillAttacks) -> None:
        from shroff.services.attack.attackers import AttackedType
        from shroff.services.project_files import checked

        self._taking, self._request = project.taking, request
        self.definitions: Definitions = checked(project.context)
        self.definitions.require_models()
        decided = self.definitions.events.decided
        name = request.as_type or next(iter(decided), "")
        if name not in decided:
            raise UsageError(f"{name!r} is not a decided event type. Decided types: {', '.join(decided) or 'none'}.")
        self.attacked = AttackedType(self.definitions, name)
        self._seen = self._newest_events(name)
        if self._seen:
            newest_ms = max(event.time_ms for event in self._seen)
            day = [event for event in self._seen if event.time_ms > newest_ms - DAY_MS][-BACKGROUND:]
            again = [self.attacked.with_values(event, f"{event.id}-again", event.time_ms + DAY_MS, {}) for event in day]
            self._genuine, self._start_ms = again, newest_ms + HOUR_MS
        else:
            self._genuine = self._seen = self.attacked.invented(Random(0))  # noqa: S311 - made-up data
            self._start_ms = self._genuine[-1].time_ms - DAY_MS
        self._restored = self._taking.restored(self.definitions)
        self._without = self._alarms([])

    def of(self, kind: str) -> DrilledKind:
        chance = Random(f"{self._request.seed}/{kind}")  # noqa: S311 - made-up data, nothing secret
        payments = self.attacked.attack(kind, self._seen, self._start_ms, chance)
        alarms = self._alarms(payments)
        while self._request.adaptive and any(payment.event.id in alarms for payment in payments):
            payments = self.attacked.softened(payments, alarms)
            alarms = self._alarms(payments)
        first: dict[int, AttackPayment] = {}
        for payment in payments:
            if payment.event.id in alarms:
                first.setdefault(payment.attacker, payment)
        began_ms = min((payment.event.time_ms for payment in payments), default=0)
        alarm_ms = min((payment.event.time_ms for payment in first.values()), default=None)
        lost = sum(
            self.attacked.units(payment.event)
            for payment in payments
            if payment.attacker not in first or payment.event.time_ms < first[payment.attacker].event.time_ms
        )
        return DrilledKind(
            kind=kind,
            events=len(payments),
            attackers=len({payment.attacker for payment in payments}),
            attackers_seen=len(first),
            seconds_to_first_alarm=None if alarm_ms is None else (alarm_ms - began_ms) / 1_000,
            money_lost=show_decimal(lost, self.attacked.places),
            seen_by=sorted({by for payment in first.values() for by in alarms[payment.event.id]}),
            false_alarms=len({event.id for event in self._genuine} & alarms.keys() - self._without.keys()),
        )

    def _newest_events(self, name: str) -> list[Event]:
        records = Records(self.definitions.events, self.definitions.settings.money_places)
        with self._taking.log_or_empty() as log:
            newest = chain.from_iterable(log.read(max(0, log.last_seq() - LOOKED_BACK)))
            events = (records.decode(record) for record in newest if record.kind == "event" and record.type == name)
            return [event for event in events if isinstance(event, Event)]

    def _alarms(self, payments: Sequence[AttackPayment]) -> Alarms:
        """Decide the events in a copy of the log; return those not approved."""
        events: list[Event] = [*self._genuine, *(payment.event for payment in payments)]
        events.sort(key=lambda event: event.time_ms)
        rows = [Submission("attack", event.id, bytes, event.type, event) for event in events]
        alarms = Alarms()
        for answer in self._taking.foreseen_events(
            rows, self.definitions, lambda: events[-1].time_ms, start=self._restored
        ):
            if answer.outcome not in {"", "approve"} and answer.document is not None:
                decision: JsonObject = from_json(answer.document)
                by = [reason["code"] for reason in decision["reasons"] if reason["effect"] == answer.outcome]
                alarms[answer.id] = by or ["score"]
        return alarms


def _gate(text: str) -> tuple[str, float]:
    name, _, limit = text.partition("=")
    with suppress(ValueError):
        number = float(limit)
        if name in GATES and isfinite(number):
            return name, number
    raise UsageError(f"gate {text!r}: expected one of {', '.join(GATES)} with a number, as loss=5000.")


def _judged(name: str, limit: float, kinds: Sequence[DrilledKind]) -> AttackGate:
    """Judge a gate by the worst kind; a kind without any alarm has no seconds and is the worst."""
    values = {kind.kind: getattr(kind, GATES[name]) for kind in kinds}
    value, kind = max((inf if value is None else float(value), kind) for kind, value in values.items())
    return AttackGate(name, kind, None if value == inf else value, limit, passed=value <= limit)
