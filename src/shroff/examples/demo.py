"""The demo's stream of payments and labels, and the figures that sum up what was decided about them.

    truth = Truth()
    tally = Tally(truth, effects={"card_testing": "decline"})
    ingest(writer, stream(intake, events=1_000, seed=2, truth=truth), on_batch=tally.add)
    tally.caught.payments

A fraud is *caught* when its payment was not approved: declined, or held for a review or a
challenge. What is a fraud says the generator, not the labels, which come late or never.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.examples.bank import Payment, bank, with_labels
from shroff.language.values import parse_money

if TYPE_CHECKING:
    from shroff.decisions.writer import Answer
    from shroff.events.intake import Intake, Submission

SOURCE: Final = "made-up bank"
MONEY_PLACES: Final = 2  # of the bank's amounts
APPROVE: Final = "approve"
NO_RULES: Final = b'"rules":[],'


@dataclass(frozen=True, slots=True)
class Fraud:
    """One fraudulent payment: its kind, its amount in cents, and the fields of its event."""

    kind: str
    amount_minor: int
    event: Mapping[str, str]


@dataclass(slots=True)
class Truth:
    """What no event carries: the fraudulent payments by id. Filled while the stream is read."""

    frauds: dict[str, Fraud] = field(default_factory=dict)


def stream(intake: Intake, events: int, seed: int, truth: Truth) -> Iterator[Submission]:
    """So many payments with their labels between them, by the way any event takes into a project.

    Raises: UsageError if `events` is below 0.
    Cost: about 15 us a payment.
    """
    encode = msgspec.json.encode
    for place, item in enumerate(with_labels(bank(events, seed), seed), start=1):
        if isinstance(item, Payment):
            type_name = "payment"
            if item.fraud is not None:
                amount_minor = parse_money(item.event["amount"], MONEY_PLACES)
                truth.frauds[item.event["payment_id"]] = Fraud(item.fraud, amount_minor, item.event)
        else:
            type_name = "label"
        raw = encode(item.event)
        yield intake.submit(type_name, item.event, source=SOURCE, place=str(place), raw=raw, is_strict=True)


# ---- the figures


@dataclass(slots=True)
class Sum:
    """A number of payments and their amounts together, in cents."""

    payments: int = 0
    amount_minor: int = 0

    def add(self, amount_minor: int) -> None:
        self.payments += 1
        self.amount_minor += amount_minor


@dataclass(slots=True)
class Caught:
    """The frauds of one kind, or of all, that were caught, and those that were missed."""

    caught: Sum = field(default_factory=Sum)
    missed: Sum = field(default_factory=Sum)

    @property
    def payments(self) -> int:
        return self.caught.payments + self.missed.payments


@dataclass(slots=True)
class RuleFigures:
    """How often a rule hit, and how often it was right. A rule that only notes is counted too."""

    effect: str
    hits: int = 0
    frauds: int = 0

    @property
    def precision(self) -> float | None:
        """Frauds by hits."""
        return rate(self.frauds, self.hits)


@dataclass(frozen=True, slots=True)
class Example:
    """A decision to explain, as it was answered; `fraud` is None where the payment was honest."""

    document: bytes
    rules: tuple[str, ...]
    fraud: Fraud | None
    weight: tuple[bool, int, int]  # the greatest is shown: a caught fraud, the most reasons, the greatest amount


class Tally:
    """Adds up decisions as they are answered.

    Args:
        truth: Says which payments are frauds; must know a payment before its answer is added.
        effects: The rules of the project by id, with their effects; rules that never hit are shown too.
    """

    def __init__(self, truth: Truth, effects: Mapping[str, str]) -> None:
        self._truth = truth
        self.decisions = 0
        self.by_outcome: Counter[str] = Counter()
        self.frauds_by_outcome: Counter[str] = Counter()
        self.kinds: dict[str, Caught] = {}
        self.frauds = Caught()
        self.rules = {rule: RuleFigures(effect) for rule, effect in effects.items()}
        self.example: Example | None = None

    def add(self, answers: Iterable[Answer]) -> None:
        """Count the decided payments among the answers; labels carry no decision and are passed over."""
        for answer in answers:
            if answer.document is not None and not answer.is_label:
                self._decided(answer.id, answer.outcome, answer.document)

    @property
    def stopped(self) -> int:
        """Payments that were not approved."""
        return self.decisions - self.by_outcome[APPROVE]

    @property
    def precision(self) -> float | None:
        """Frauds by payments that were not approved; None where there is none."""
        return rate(self.frauds.caught.payments, self.stopped)

    @property
    def recall(self) -> float | None:
        """Caught frauds by all frauds, in numbers of payments."""
        return rate(self.frauds.caught.payments, self.frauds.payments)

    @property
    def recall_of_money(self) -> float | None:
        """Caught frauds by all frauds, in money."""
        caught = self.frauds.caught.amount_minor
        return rate(caught, caught + self.frauds.missed.amount_minor)

    def recall_of(self, rule: str) -> float | None:
        """Frauds that one rule hit, by all frauds."""
        return rate(self.rules[rule].frauds, self.frauds.payments)

    def _decided(self, id_: str, outcome: str, document: bytes) -> None:
        self.decisions += 1
        self.by_outcome[outcome] += 1
        fraud = self._truth.frauds.get(id_)
        if fraud is not None:
            self.frauds_by_outcome[outcome] += 1
            for figures in (self.frauds, self.kinds.setdefault(fraud.kind, Caught())):
                (figures.missed if outcome == APPROVE else figures.caught).add(fraud.amount_minor)
        if NO_RULES not in document:  # 99 in 100 have it, and need not be read
            self._hit(fraud, outcome, document)

    def _hit(self, fraud: Fraud | None, outcome: str, document: bytes) -> None:
        rules = msgspec.json.decode(document, type=_Rules).rules
        for rule in rules:
            figures = self.rules[rule]
            figures.hits += 1
            figures.frauds += fraud is not None
        is_caught = fraud is not None and outcome != APPROVE
        weight = is_caught, len(rules), fraud.amount_minor if fraud else 0
        if rules and (self.example is None or weight > self.example.weight):
            self.example = Example(document, rules, fraud, weight)


class _Rules(msgspec.Struct):
    rules: tuple[str, ...]


def rate(part: int, whole: int) -> float | None:
    """A share in [0, 1], or None of nothing.

    >>> rate(1, 4), rate(0, 0)
    (0.25, None)
    """
    return part / whole if whole else None
