"""A loaded model: its inputs, and scores from their columns."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol, runtime_checkable

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.arrays import Floats
from shroff.errors import UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.models.learners.column_files import Values
from shroff.runtime.values import FrozenStruct

# What a margin means before it is calibrated; `gives` of a manifest.
LOG_ODDS = "log-odds"  # the score is its sigmoid
PROBABILITY = "probability"  # the score is the margin itself
NUMBER = "number"  # no probability before it is calibrated

_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill")
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_WAY_OUT = (
    "A pickle runs code when it is read. Save the model in its library's own format (for XGBoost "
    "`booster.save_model('model.json')`) and bring that in"
)
IMPORTED = "imported"  # of a manifest: where a model comes from that was not trained here
RUN = "run"  # of a manifest: what is another each time the same is learnt


class InputColumn(FrozenStruct):
    """One input of a model as its manifest has it: `number`, or `category` with the texts that it knows, in order.

    `feature` is what the model's own file calls it, where it has another name there.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    feature: str = ""


class Model(Protocol):
    """The interface of every loaded model, whatever library made it.

    `id` and `digest` name it: equal ones give equal scores. `manifest` is what stands in manifest.json.
    """

    id: str
    digest: str
    event: str
    inputs: tuple[InputColumn, ...]
    manifest: JsonMapping

    def margins(self, columns: Sequence[Values]) -> Floats:
        """The margin of each row, as the library itself gives it, to the bit.

        Args:
            columns: A column for each input, in memory or in a file: numbers, NaN where one is missing; of a category
                its place among the categories, NaN where it is missing or not known.
        """

    def scores(self, columns: Sequence[Values]) -> Floats:
        """The calibrated probability of each row, rounded half-even to six places."""


class Cuts(FrozenStruct):
    """Split values of each input, ascending: between two neighbors, the result is constant.

    Args:
        is_single: Whether it rounds values to single precision before it compares them.
    """

    by_input: tuple[Floats, ...]
    is_single: bool


@runtime_checkable
class Explainable(Model, Protocol):
    """A model with contributions of its inputs to the margin."""

    def contributions(self, columns: Sequence[Values]) -> Floats:
        """What each input adds to each row's margin, and last the mean margin: (rows, inputs + 1).

        A row's contributions sum to its margin within 1e-5 of the sum of their sizes.

        Raises: UsageError for a model that has none, and where its library is not installed.
        """

    def cuts(self) -> Cuts | None:
        """Split values of the inputs; None unless the model is a forest of trees."""


def digest_of(manifest: bytes) -> str:
    """Identity of a model: hash of its manifest, without what differs between equal trainings."""
    try:
        found = from_json(manifest, type=JsonObject)
    except ValueError:
        found = {}
    return sha256(pretty({name: result for name, result in found.items() if name != RUN})).hexdigest()


def pretty(value: object) -> bytes:
    """JSON for people, with its keys sorted."""
    return msgspec.json.format(to_json(value, order="sorted"), indent=2) + b"\n"


def refuse_pickle(name: str, data: bytes) -> None:
    """Raises: UsageError for a file that only a pickle reader could read."""
    head = data[:2]
    if name.lower().endswith(_PICKLE_ENDINGS) or head in _PICKLE_STARTS:
        raise UsageError(f"{name} is a pickle, and pickles are never read. {_WAY_OUT}.")
