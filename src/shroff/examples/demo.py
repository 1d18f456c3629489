"""The demo's stream of payments and labels, and the figures that sum up what was decided about them.

    truth = Truth()
    tally = Tally(truth, effects={"card_testing": "decline"})
    ingest(writer, stream(intake, events=1_000, seed=2, truth=truth), on_batch=tally.add)
    tally.caught.payments

A fraud is *caught* when its payment was not approved: declined, or held for a review or a
challenge. What is a fraud says the generator, not the labels, which come late or never.
What rules alone would have come to is counted beside: their hits do not depend on a score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.examples.bank import START_MS, BankLabel, Payment, bank, known_at_the_end, with_labels
from shroff.examples.names import RATES, BankNames, euros
from shroff.json_types import TextMapping
from shroff.language.values import parse_money
from shroff.project.policy import Policy, outcome
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.events.intake import Intake, Submission
    from shroff.log.writer import Answer

SOURCE = "made-up bank"
MONEY_PLACES = 2  # of the bank's amounts
APPROVE, REVIEW, DECLINE = "approve", "review", "decline"
NO_RULES = b'"rules":[],'
BANK = "Halmwick Bank"
FIELDS = """\
    currency: text                  # what the merchant takes; amounts are converted by tables/fx.csv
    merchant_name: text?            # what people read of the merchant
    category: text?
    city: text?                     # where the merchant is
    card_label: text?               # the last four digits, for people
    device_name: text?
    customer: text? personal        # personal: kept beside the log, shroff erase removes it
    email: text? personal
"""
"""The names as fields of events.yaml."""
TABLE = "tables: { fx: { currency: text, from: valid_from, rate: number(12) } }  # euros for one unit"
TABLE_ROWS = "currency,valid_from,rate\n" + "".join(f"{code},2020-01-01,{rate}\n" for code, rate in RATES.items())
NO_RATE = """\
- id: no_rate                              # else no rule sees its amount
  on: payment
  by: card
  when: this.amount is missing
  reason: No rate for {this.currency} is valid
  effect: review
  tests:
    - name: francs, for which there is no rate
      events:
      - payment: { at: 2026-01-05T10:00:00Z, card: c, merchant: m, currency: CHF, amount: 5, country: CH, channel: pos }
      hits: [true]
"""
EXPERIMENT = "  experiment: { name: fewer_reviews, share: 20%, by: card, rules: { customer_said_no: false } }\n"
RING = ("d-9e1f20a4", "d-3a90e517", "d-e27d0f91", "d-07b4c6fd")  # devices that one gang shares
SUMMARY = ("amount", "merchant_name", "city", "country", "channel", "device_name")


class Fraud(FrozenStruct):
    """One fraudulent payment: its kind, its amount in cents, and the fields of its event."""

    kind: str
    amount_minor: int
    event: TextMapping


class Truth(Struct):
    """Ground truth: the fraudulent payments by id. Filled while the stream is read."""

    frauds: dict[str, Fraud] = {}


def stream(
    intake: Intake, events: int, seed: int, truth: Truth, start_ms: int = START_MS, *, ends_at_once: bool = False
) -> Iterator[Submission]:
    """So many payments with their labels between them, by the way any event takes into a project.

    Args:
        start_ms: Where the bank's time begins (see `bank`).
        ends_at_once: Leave out the labels that are known only after the last payment.

    Raises: UsageError if `events` is below 0.
    Cost: about 15 us a payment.
    """
    items = with_labels(bank(events, seed, start_ms), seed)
    return submitted(intake, known_at_the_end(items, events) if ends_at_once else items, truth)


def named(items: Iterable[Payment | BankLabel], events: int, seed: int) -> Iterator[Payment | BankLabel]:
    """Payments of a bank made for so many, with the names of `FIELDS` and a ring; labels as they are."""
    return BankNames(events, seed).named(with_ring(items))


def with_ring(items: Iterable[Payment | BankLabel]) -> Iterator[Payment | BankLabel]:
    """The same payments, but a gang takes over every second account, and changes between the devices of `RING`."""
    for place, item in enumerate(items):
        is_takeover = isinstance(item, Payment) and item.fraud == "account_takeover"
        if is_takeover and "device" in item.event and int(item.event["card"][2:]) % 2 == 0:
            item.event["device"] = RING[place % len(RING)]
        yield item


def submitted(intake: Intake, items: Iterable[Payment | BankLabel], truth: Truth) -> Iterator[Submission]:
    """Payments and labels as they come, by the way any event takes into a project."""
    encode = to_json
    for place, item in enumerate(items, start=1):
        if isinstance(item, Payment):
            type_name = "payment"
            if item.fraud is not None:
                amount_minor = parse_money(euros(item.event), MONEY_PLACES)
                truth.frauds[item.event["payment_id"]] = Fraud(item.fraud, amount_minor, item.event)
        else:
            type_name = "label"
        raw = encode(item.event)
        yield intake.submit(type_name, item.event, source=SOURCE, place=str(place), raw=raw, is_strict=True)


# ---- the figures


class Sum(Struct):
    """A number of payments and their amounts together, in cents."""

    payments: int = 0
    amount_minor: int = 0

    def add(self, amount_minor: int) -> None:
        self.payments += 1
        self.amount_minor += amount_minor


class Caught(Struct):
    """The frauds of one kind, or of all, that were caught, and those that were missed."""

    caught: Sum = field(default_factory=Sum)
    missed: Sum = field(default_factory=Sum)

    @property
    def payments(self) -> int:
        return self.caught.payments + self.missed.payments


class RuleFigures(Struct):
    """How often a rule hit, and how often it was right. A rule that only notes is counted too."""

    effect: str
    hits: int = 0
    frauds: int = 0

    @property
    def precision(self) -> float | None:
        """Frauds by hits."""
        return rate(self.frauds, self.hits)


class DemoFigures(Struct):
    """Figures of one way to decide: rules with the model, or rules alone."""

    frauds: Caught = field(default_factory=Caught)
    by_outcome: Counter[str] = field(default_factory=Counter)
    honest_declined: int = 0

    def add(self, found: str, fraud: Fraud | None) -> None:
        """Count a payment with this outcome."""
        self.by_outcome[found] += 1
        if fraud is not None:
            (self.frauds.missed if found == APPROVE else self.frauds.caught).add(fraud.amount_minor)
        elif found == DECLINE:
            self.honest_declined += 1

    @property
    def stopped(self) -> int:
        """Payments that were not approved."""
        return self.by_outcome.total() - self.by_outcome[APPROVE]

    def cost_minor(self, policy: Policy) -> int:
        """Cost of stopping by the policy: reviews, and honest payments declined. In cents."""
        reviews = self.by_outcome[REVIEW] * (policy.review_minor or 0)
        return reviews + self.honest_declined * (policy.false_decline_minor or 0)

    def gained_minor(self, policy: Policy) -> int:
        """The amounts of the frauds that were caught, less what stopping cost. In cents."""
        return self.frauds.caught.amount_minor - self.cost_minor(policy)


class Example(FrozenStruct):
    """A decision to explain, as it was answered; `fraud` is None where the payment was honest.

    The one of the greatest weight is shown: a caught fraud, one that rules alone would have
    let through, then the most rules and the greatest amount.
    """

    document: bytes
    rules: tuple[str, ...]
    fraud: Fraud | None
    weight: tuple[bool, bool, int, int]


class Tally:
    """Adds up decisions as they are answered.

    Args:
        truth: Says which payments are frauds; must know a payment before its answer is added.
        effects: The rules of the project by id, with their effects; rules that never hit are shown too.
    """

    def __init__(self, truth: Truth, effects: TextMapping) -> None:
        self._truth = truth
        self.all = DemoFigures()
        self.rules_alone = DemoFigures()
        self.frauds_by_outcome: Counter[str] = Counter()
        self.kinds: dict[str, Caught] = {}
        self.rules = {rule: RuleFigures(effect) for rule, effect in effects.items()}
        self.example: Example | None = None

    @property
    def decisions(self) -> int:
        return self.all.by_outcome.total()

    @property
    def by_outcome(self) -> Counter[str]:
        return self.all.by_outcome

    @property
    def frauds(self) -> Caught:
        return self.all.frauds

    def add(self, answers: Iterable[Answer]) -> None:
        """Count the decided payments among the answers; labels carry no decision and are passed over."""
        for answer in answers:
            if answer.document is not None and not answer.is_label:
                self._decided(answer.id, answer.outcome, answer.document)

    @property
    def stopped(self) -> int:
        """Payments that were not approved."""
        return self.all.stopped

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

    def _decided(self, id_: str, found: str, document: bytes) -> None:
        fraud = self._truth.frauds.get(id_)
        self.all.add(found, fraud)
        if fraud is not None:
            self.frauds_by_outcome[found] += 1
            kind = self.kinds.setdefault(fraud.kind, Caught())
            (kind.missed if found == APPROVE else kind.caught).add(fraud.amount_minor)
        # 98 in 100 are hit by no rule, and need not be read.
        hits = () if NO_RULES in document else from_json(document, type=_Rules).rules
        rules = tuple(rule for rule in hits if rule in self.rules)  # an arm of an experiment is none
        by_rules = outcome([self.rules[rule].effect for rule in rules], Policy()) if rules else APPROVE
        self.rules_alone.add(by_rules, fraud)
        for rule in rules:
            self.rules[rule].hits += 1
            self.rules[rule].frauds += fraud is not None
        if found != APPROVE or rules:
            is_caught = fraud is not None and found != APPROVE
            weight = is_caught, is_caught and by_rules == APPROVE, len(rules), fraud.amount_minor if fraud else 0
            if self.example is None or weight > self.example.weight:
                self.example = Example(document, rules, fraud, weight)


class _Rules(msgspec.Struct):
    rules: tuple[str, ...]


def rate(part: int, whole: int) -> float | None:
    """A share in [0, 1], or None of nothing.

    >>> rate(1, 4), rate(0, 0)
    (0.25, None)
    """
    return part / whole if whole else None
