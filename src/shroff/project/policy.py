"""Parse policy.yaml, and derive outcomes from rule hits and scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import TypeAlias

import numpy as np

from shroff.arrays import Bools, Floats, Ints8
from shroff.errors import Problem, nearest
from shroff.events.definitions import Events, EventType
from shroff.language import loader
from shroff.language.expression import Node
from shroff.language.keys import DECIMAL, EXPRESSION, SCORE, WHOLE, choice, mapping_shape, own_names
from shroff.language.names import DeclaredNames, Scope
from shroff.language.types import UNITS_MAX
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node as YamlNode
from shroff.project.experiments import EXPERIMENT_KEYS, load_experiment
from shroff.project.exploration import EXPLORE, SAMPLE, Explore, Sample, load_explore, load_sample
from shroff.rules.definitions import Rule
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.values import FrozenStruct, replace

Codes: TypeAlias = Ints8
OUTCOMES = ("approve", "challenge", "review", "decline")  # from weak to strong
WITHOUT_MODEL = ("rules", "review")


class _ScoreThresholds:
    """Thresholds of the score.

    review_at: Review events with at least this score.
        Example: 0.60
    decline_at: Decline events with at least this score; not below `review_at`.
        Example: 0.92
    """

    review_at = SCORE
    decline_at = SCORE


SCORES = mapping_shape(_ScoreThresholds)


class _ErrorCosts:
    """Costs of errors and reviews, in the project's money.

    missed_fraud: Cost of a fraud that was approved.
        Default: the event's amount (`summary` in events.yaml); with `explore`, the first money field
        Example: payment.amount
    false_decline: Cost of declining a genuine event.
        Example: 15
    review: Cost of one review.
        Example: 4
    reviews_a_day: Review capacity in events per day. Thresholds respect it on the average day; `recall_at_budget` uses
        it for each day.
        Example: 100
    """

    missed_fraud = EXPRESSION
    false_decline = DECIMAL
    review = DECIMAL
    reviews_a_day = WHOLE


COSTS = mapping_shape(_ErrorCosts)


class _PolicyExperiment:
    """An experiment on the policy.

    score: Thresholds of the score in arm B.
        Default: those of arm A
    """

    experiment = EXPERIMENT_KEYS
    score = SCORES


EXPERIMENTS = mapping_shape(_PolicyExperiment)


class _Policy:
    """The policy of an event type.

    score: Thresholds of the model's score. By default, rules alone decide.
        Example: { review_at: 0.60, decline_at: 0.92 }
    without_model: What happens if `score` is set but there is no champion: rules alone decide, or everything is
        reviewed.
        Default: rules
        Example: review
    costs: Costs for choosing thresholds.
        Example: { missed_fraud: payment.amount, false_decline: 15, review: 4, reviews_a_day: 100 }
    explore: Exploration: approves a small share of the score's declines, so that they get labels. By default, none is
        approved.
        Example: { share: 2%, at_most_a_day: 20, amount_at_most: 100.00, expires: 2027-12-31, seed: 2f1d0c5be49a77c1 }
    sample: Sample of approvals: analysts review a small random share of approved events, which gives the rate of missed
        fraud. By default, none is reviewed.
        Example: { share: 0.5%, uncertain_share: 10%, uncertain_from: 0.30, seed: 2f1d0c5be49a77c1 }
    experiment: An experiment (A/B test): a share of keys, arm B, is decided by other thresholds and rules. `shroff
        experiment` reads it out in money.
        Example: { name: stricter, share: 20%, by: card, score: { review_at: 0.50, decline_at: 0.90 } }
    release_below: Amount limit for releases, in the project's money: an event held for challenge or review is released
        when its customer confirms it and its amount is below this limit. By default, confirmations release nothing.
        Example: 100.00
    """

    score = SCORES
    without_model = choice(*WITHOUT_MODEL)
    costs = COSTS
    explore = EXPLORE
    sample = SAMPLE
    experiment = EXPERIMENTS
    release_below = DECIMAL


POLICY = mapping_shape(_Policy)
POLICIES = own_names("event types with their policies", POLICY)


class Policy(FrozenStruct):
    """The policy of one event type. Without `review_at` and `decline_at` rules alone decide.

    Costs, which `shroff thresholds` uses, are None if not set. Without `explore` no decline is approved, without
    `sample` no approval is reviewed, and without `release_below_minor` a customer's confirmation releases nothing.
    """

    review_at: float | None = None
    decline_at: float | None = None
    without_model: str = "rules"  # rules | review
    missed_fraud: Node | None = None  # expression over the event, in units of the project's money
    false_decline_minor: int | None = None  # smallest units of the project's money
    review_minor: int | None = None
    reviews_a_day: int | None = None
    explore: Explore | None = None
    release_below_minor: int | None = None
    sample: Sample | None = None
    arm_b: Policy | None = None

    @property
    def cuts(self) -> list[float]:
        cuts = {self.review_at, self.decline_at, *(self.arm_b.cuts if self.arm_b else ())}
        return sorted(cut for cut in cuts if cut is not None)

    def of(self, effects: Collection[str]) -> Policy:
        """Return the policy for these effects: that of arm B if the experiment has drawn the key."""
        return self.arm_b if self.arm_b and EXPERIMENT in effects else self

    @property
    def given(self) -> frozenset[str]:
        values = {
            "review_at": self.review_at,
            "decline_at": self.decline_at,
            "missed_fraud": self.missed_fraud,
            "false_decline": self.false_decline_minor,
            "review": self.review_minor,
            "reviews_a_day": self.reviews_a_day,
        }
        return frozenset(name for name, value in values.items() if value is not None)

    @property
    def has_score(self) -> bool:
        """Whether a threshold is set, also by an experiment; read for each decision."""
        is_set = self.review_at is not None or self.decline_at is not None
        return is_set or (self.arm_b is not None and self.arm_b.has_score)


def outcome(effects: Collection[str], policy: Policy, score: float | None = None, *, has_model: bool = False) -> str:
    """Return the outcome for the effects of hits, and the score.

    Decline beats review beats challenge beats approve. `allow` cancels everything except a rule's decline.

    >>> outcome(["review", "allow"], Policy())
    'approve'
    """
    policy = policy.of(effects)
    if "decline" in effects:
        return "decline"
    if "allow" in effects:
        return "approve"
    if policy.has_score and score is not None and policy.decline_at is not None and score >= policy.decline_at:
        return "decline"
    asks_review = policy.has_score and not has_model and policy.without_model == "review"
    if policy.has_score and score is not None and policy.review_at is not None:
        asks_review = asks_review or score >= policy.review_at
    if asks_review or "review" in effects:
        return "review"
    return "challenge" if "challenge" in effects else "approve"


def outcome_codes(by_effect: Mapping[str, Bools], scores: Floats, policy: Policy) -> Codes:
    """Return the `outcome` of each event as its index in `OUTCOMES`, computed once for each combination that occurs.

    Args:
        by_effect: Mask of the events at which a rule of an effect hits.
        scores: NaN for an event without a score.
    """
    cuts = policy.cuts
    stretches = [None, -inf, *cuts]  # no score, below all thresholds, from each threshold on
    codes = np.where(np.isnan(scores), 0, np.searchsorted(cuts, scores, "right") + 1).astype(np.int16)
    for bit, hits in enumerate(by_effect.values()):
        codes[hits] += len(stretches) << bit
    table = np.zeros(len(stretches) << len(by_effect), np.int8)
    for code in np.flatnonzero(np.bincount(codes, minlength=len(table))).tolist():
        effect_bits, stretch = divmod(code, len(stretches))
        effects = [effect for bit, effect in enumerate(by_effect) if effect_bits >> bit & 1]
        decided = outcome(effects, policy, stretches[stretch], has_model=stretches[stretch] is not None)
        table[code] = OUTCOMES.index(decided)
    return table[codes]


def load_policy(
    node: YamlNode | None, events: Events, names: DeclaredNames, rules: dict[str, Rule], problems: list[Problem]
) -> dict[str, Policy]:
    """Parse policy.yaml into a policy for each event type that it names; add the rules of experiments to `rules`."""
    root = loader.mapping(node, problems, "policy.yaml")
    policies: dict[str, Policy] = {}
    for key, value in root.entries if root else ():
        if key.text not in events.types:
            problems.append(key.problem(f"{key.text!r} is not an event type.", nearest(key.text, events.types)))
            continue
        policy_node = loader.mapping(value, problems, f"the policy of {key.text}", POLICY)
        if policy_node is None:
            continue
        review_at, decline_at = _score(policy_node.get("score"), problems)
        without = loader.one_of(policy_node.get("without_model"), WITHOUT_MODEL, problems, "without_model")
        costs = _costs(policy_node.get("costs"), Scope(names, what="a cost", this=(key.text,)), problems)
        explore = load_explore(policy_node.get("explore"), names.money_places, problems)
        if explore is not None:
            _check_explore(policy_node, events.types[key.text], decline_at, problems)
        release = loader.minor_units(policy_node.get("release_below"), names.money_places, problems, "release_below")
        sample = load_sample(policy_node.get("sample"), problems)
        policy = Policy(review_at, decline_at, without or "rules", *costs, explore, release, sample)
        node = loader.mapping(policy_node.get(EXPERIMENT), problems, "experiment", EXPERIMENTS)
        if node is not None:
            review_at, decline_at = _score(node.get("score") or policy_node.get("score"), problems)
            load_experiment(node, key.text, events.entities, rules, problems)
            policy = replace(policy, arm_b=replace(policy, review_at=review_at, decline_at=decline_at))
        policies[key.text] = policy
    return policies


def _check_explore(of: YamlMapping, type_: EventType, decline_at: float | None, problems: list[Problem]) -> None:
    costs = of.get("costs")
    node = of.get("explore")
    says_amount = isinstance(costs, YamlMapping) and costs.get("missed_fraud") is not None
    if node is None:
        return
    if decline_at is None:
        hint = "Give score.decline_at, or leave 'explore' out."
        problems.append(
            node.problem("explore approves a share of the score's declines, but there is no decline_at.", hint)
        )
    if not type_.is_decided:
        problems.append(node.problem(f"{type_.name} is not decided, so nothing can be explored."))
    if not says_amount and not any(field.type.kind == "money" for field in type_.fields):
        hint = "Add the cost of a missed fraud to costs, such as 'missed_fraud: 50'."
        problems.append(node.problem(f"explore limits the amount, but {type_.name} has no money field.", hint))


def _score(node: YamlNode | None, problems: list[Problem]) -> tuple[float | None, float | None]:
    thresholds = loader.mapping(node, problems, "score", SCORES)
    if thresholds is None:
        return None, None
    review_at = loader.score(thresholds.get("review_at"), problems, "review_at")
    decline_at = loader.score(thresholds.get("decline_at"), problems, "decline_at")
    if review_at is not None and decline_at is not None and review_at > decline_at:
        problems.append(thresholds.problem(f"review_at {review_at} is above decline_at {decline_at}"))
    return review_at, decline_at


def _costs(
    node: YamlNode | None, scope: Scope, problems: list[Problem]
) -> tuple[Node | None, int | None, int | None, int | None]:
    costs_node = loader.mapping(node, problems, "costs", COSTS)
    if costs_node is None:
        return None, None, None, None
    decimals = scope.names.money_places
    written = costs_node.get("missed_fraud")
    missed = None if written is None else loader.expression(written, scope, problems)
    if missed is not None and written is not None and not missed.type.is_numeric:
        problems.append(written.problem(f"missed_fraud is an amount, this is {missed.type}."))
    reviews = loader.decimal(costs_node.get("reviews_a_day"), problems, "reviews_a_day", 0, UNITS_MAX, is_whole=True)
    return (
        missed,
        loader.minor_units(costs_node.get("false_decline"), decimals, problems, "false_decline"),
        loader.minor_units(costs_node.get("review"), decimals, problems, "review"),
        None if reviews is None else int(reviews),
    )
