"""Cut-offs for a model of the registry: weighed on its test rows, and written into policy.yaml."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shroff.decisions.definitions import Definitions
from shroff.decisions.training import TESTED, terms_of
from shroff.errors import UsageError
from shroff.models.metrics import Rows, Terms
from shroff.models.registry import Stored
from shroff.models.thresholds import Fixed, Thresholds, thresholds

if TYPE_CHECKING:
    import pyarrow as pa

POLICY: Final = "policy.yaml"
_COSTS: Final = (  # what must stand under costs, so that there is something to weigh
    "    costs:\n      missed_fraud: {event}.AMOUNT\n      false_decline: 15\n      review: 4\n      reviews_a_day: 100"
)


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What cut-offs of a model's score come to.

    Args:
        money_places: Of all costs, which are in whole units a day.
        events, frauds: The test rows that they are weighed on.
    """

    model: str
    event: str
    found: Thresholds
    terms: Terms
    events: int
    frauds: int
    money_places: int

    def as_document(self) -> dict[str, Any]:
        """As JSON: `expected_cost` and the curve are a day's."""
        best = self.found.best
        places = self.money_places
        return {
            "model": self.model,
            "event": self.event,
            "review_at": best.review_at,
            "decline_at": best.decline_at,
            "expected_cost": money(best.cost, places),
            "expected_cost_low": money(self.found.cost_low, places),
            "expected_cost_high": money(self.found.cost_high, places),
            "cost_without_score": money(self.found.without.cost, places),
            "review_at_interval": [self.found.review_low, self.found.review_high],
            "decline_at_interval": [self.found.decline_low, self.found.decline_high],
            "best": _point(asdict(best), places),
            "now": None if self.found.now is None else _point(asdict(self.found.now), places),
            "curve": [_point(asdict(one), places) for one in self.found.curve],
            "reviews_busiest_day": self.found.reviews_most,
            "days": self.found.days,
            "events": self.events,
            "frauds": self.frauds,
        }


def money(value: float, places: int) -> str:
    """An amount as JSON shows money, rounded to the currency's places."""
    return f"{value:.{places}f}"


def _point(found: Mapping[str, Any], places: int) -> dict[str, Any]:
    amounts = ("cost", "missed", "false_declines", "reviews_cost")
    return {name: money(value, places) if name in amounts else value for name, value in found.items()}


def cutoffs_of(definitions: Definitions, stored: Stored, *, seed: int) -> Cutoffs:
    """The cheapest cut-offs for a model, on the rows that its folds were tested on.

    The scores are those of the folds' models, which had not seen the rows; the model itself has learnt from newer ones.

    Raises: UsageError where the model has no test rows, or policy.yaml no costs.
    """
    import pyarrow.parquet as pq

    data = stored.files.get(TESTED)
    if data is None:
        raise UsageError(f"{stored.id} was not trained here and has no test rows, so there is nothing to weigh on.")
    terms = terms_of(definitions, stored.event)
    if definitions.policy(stored.event).missed_fraud is None or terms.false_decline is None:
        wanted = _COSTS.format(event=stored.event)
        raise UsageError(f"policy.yaml has no costs of {stored.event} to weigh by. Write, for example:\n{wanted}")
    table = pq.read_table(io.BytesIO(data))
    rows, fixed = _rows(table, definitions.settings.money_places)
    found = thresholds(table["score"].to_numpy(), rows, terms, fixed, seed=seed)
    frauds = int(np.count_nonzero(rows.frauds))
    return Cutoffs(stored.id, stored.event, found, terms, len(rows), frauds, definitions.settings.money_places)


def _rows(table: pa.Table, places: int) -> tuple[Rows, Fixed]:
    rules = np.array(table["rules"].to_pylist(), object)
    amounts = table["amount_minor"].to_numpy() / 10.0**places
    rows = Rows(table["fraud"].to_numpy(), amounts, table["day"].to_numpy(), np.full(len(amounts), -1))
    return rows, Fixed(rules == "decline", table["allowed"].to_numpy(), rules == "review")


def with_cutoffs(text: str, event: str, review_at: float | None, decline_at: float | None) -> str:
    """The text of policy.yaml with other cut-offs of an event type, its comments and order kept.

    Without any cut-off `score` goes: then rules alone decide.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    yaml = YAML(typ="rt")
    yaml.preserve_quotes, yaml.width = True, 4_096
    tree = yaml.load(text) or CommentedMap()
    if tree.get(event) is None:
        tree[event] = CommentedMap()
    policy = tree[event]
    cuts = [("review_at", review_at), ("decline_at", decline_at)]
    score = CommentedMap((name, _number(cut)) for name, cut in cuts if cut is not None)
    score.fa.set_flow_style()
    if not score:
        policy.pop("score", None)
    elif "score" in policy:
        policy["score"] = score
    else:
        policy.insert(0, "score", score)
    written = io.StringIO()
    yaml.dump(tree, written)
    return written.getvalue()


def _number(cut: float) -> Any:
    """A score as a person writes it, with all its six places at most."""
    from ruamel.yaml.scalarfloat import ScalarFloat

    text = f"{cut:.6f}".rstrip("0")
    text += "0" if text.endswith(".") else ""
    return ScalarFloat(float(text), width=len(text), prec=text.index("."))
