"""Thresholds for a model of the registry, weighed on its test rows."""

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

_COSTS = (  # what must stand under costs, so that there is something to weigh
    "    {event}:\n      costs:\n        missed_fraud: {event}.{amount}\n        false_decline: 15\n        review: 4\n"
    "        reviews_a_day: 100"
)


class WhatIf(FrozenStruct):
    """Costs and people's time to weigh by in place of those of policy.yaml, which hold where something is None.

    Args:
        missed_share: The part of what policy.yaml says that a missed fraud costs.
        cuts: Thresholds to try, too.
    """

    missed_share: float = 1.0
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None
    cuts: Cuts | None = None


class Cutoffs(FrozenStruct):
    """Cost and capacity of thresholds of a model's score.

    Args:
        terms: What they are weighed by; `declared` is what policy.yaml says.
        tried: What other thresholds come to, where some were to be tried.
        money_places: Of all costs, which are in whole units a day.
        events, frauds: The test rows that they are weighed on.
        share: The share of all test rows that these are: of more than five million some are drawn.
        currency: Of the project's money.
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
        """Whether rules alone ask for more reviews a day than people have time for: the score then adds none."""
        limit = self.terms.reviews_a_day
        return limit is not None and self.found.without.reviews > limit


def cutoffs_of(definitions: Definitions, settings: ModelSettings | None, stored: Stored, what_if: WhatIf) -> Cutoffs:
    """The cheapest thresholds for a model, on the rows that its folds were tested on.

    The scores are those of the folds' models, which had not seen the rows; the model itself was trained on newer ones.

    Args:
        settings: What model.yaml says of its event type; None where it names it no more.

    Raises: UsageError where the model has no test rows, or policy.yaml no costs.
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
        wanted = _COSTS.format(event=stored.event, amount=amount.name if amount else "AMOUNT")
        raise UsageError(f"policy.yaml has no costs of {stored.event}. Write, for example:\n{wanted}")
    declared = terms
    terms = _weighed_by(terms, what_if)
    weighed = weighed_of(table, places, settings.capacity.entity if settings and settings.capacity else "")
    if what_if.missed_share != 1:
        weighed = replace(weighed, rows=replace(weighed.rows, amounts=weighed.rows.amounts * what_if.missed_share))
    found = thresholds(weighed, terms, seed=settings.seed if settings else 1)
    frauds = count_true(weighed.rows.frauds)
    return Cutoffs(
        stored.id,
        stored.event,
        found,
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
    given = {name: getattr(what_if, name) for name in ("false_decline", "review", "reviews_a_day")}
    return replace(terms, **{name: value for name, value in given.items() if value is not None})
