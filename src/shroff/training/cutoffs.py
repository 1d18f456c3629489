"""Thresholds for a model of the registry, with their cost on its test rows."""

from __future__ import annotations

from shroff.arrays import count_true
from shroff.errors import UsageError
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.cost_table import Cuts, Point
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.thresholds import Thresholds, point_at, thresholds
from shroff.models.registry import Stored
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.tested_rows import stored_rows, weighed_of
from shroff.training.train import terms_of

_COSTS = (  # an example of costs for policy.yaml
    "    {event}:\n      costs:\n        missed_fraud: {event}.{amount}\n        false_decline: 15\n        review: 4\n"
    "        reviews_a_day: 100"
)


class WhatIf(FrozenStruct):
    """Costs and review capacity that replace those of policy.yaml; None keeps the value of policy.yaml.

    Args:
        missed_share: Factor for the cost of a missed fraud.
        cuts: Thresholds to evaluate in addition.
    """

    missed_share: float = 1.0
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None
    cuts: Cuts | None = None


class Cutoffs(FrozenStruct):
    """Cost and capacity of thresholds of a model's score.

    Args:
        found: The cheapest thresholds, and others to compare with.
        terms: Costs and capacity used; `declared` are those of policy.yaml.
        tried: Result of the thresholds of `WhatIf.cuts`.
        money_places: Decimal places of all costs, which are in whole units a day.
        events, frauds: Number of test rows.
        share: Share of all test rows; below 1 if only a sample is stored.
        currency: Currency of the project.
    """

    model: str
    event: str
    found: Thresholds
    terms: Terms
    events: int
    frauds: int
    share: float
    money_places: int
    currency: str = ""
    declared: Terms | None = None
    tried: Point | None = None

    @property
    def is_beyond_people(self) -> bool:
        """Return whether rules alone ask for more reviews a day than capacity allows; the score then adds none."""
        limit = self.terms.reviews_a_day
        return limit is not None and self.found.without.reviews > limit


def cutoffs_of(definitions: Definitions, settings: ModelSettings | None, stored: Stored, what_if: WhatIf) -> Cutoffs:
    """Find the cheapest thresholds for a model on the test rows of its folds.

    The scores are those of the folds' models, which had not seen these rows; the model itself was trained on newer
    ones.

    Args:
        settings: Settings of model.yaml for its event type; None if there are none any more.

    Raises: UsageError if the model has no test rows or policy.yaml no costs.
    """
    table = stored_rows(stored)
    if table is None:
        raise UsageError(
            f"{stored.id} was not trained here and has no test rows, so thresholds cannot be evaluated on them."
        )
    terms = terms_of(definitions, stored.event)
    places = definitions.settings.money_places
    if definitions.policy(stored.event).missed_fraud is None or terms.false_decline is None:
        amount = definitions.events.types[stored.event].amount_field
        example = _COSTS.format(event=stored.event, amount=amount.name if amount else "AMOUNT")
        raise UsageError(f"policy.yaml has no costs of {stored.event}. Write, for example:\n{example}")
    declared = terms
    terms = _weighed_by(terms, what_if)
    weighed = weighed_of(table, places, settings.capacity.entity if settings and settings.capacity else "")
    if what_if.missed_share != 1:
        weighed = replace(weighed, rows=replace(weighed.rows, amounts=weighed.rows.amounts * what_if.missed_share))
    cheapest = thresholds(weighed, terms, seed=settings.seed if settings else 1)
    frauds = count_true(weighed.rows.frauds)
    return Cutoffs(
        stored.id,
        stored.event,
        cheapest,
        terms,
        len(weighed),
        frauds,
        weighed.share,
        places,
        definitions.settings.currency,
        declared,
        None if what_if.cuts is None else point_at(weighed, terms, what_if.cuts),
    )


def _weighed_by(terms: Terms, what_if: WhatIf) -> Terms:
    replacements = {name: getattr(what_if, name) for name in ("false_decline", "review", "reviews_a_day")}
    return replace(terms, **{name: value for name, value in replacements.items() if value is not None})
