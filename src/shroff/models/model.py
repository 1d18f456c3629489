"""The interface of loaded models: inputs, scores, contributions."""

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

# Meanings of a margin before calibration; `gives` in a manifest.
LOG_ODDS = "log-odds"  # the score is its sigmoid
PROBABILITY = "probability"  # the score is the margin itself
NUMBER = "number"  # no probability without calibration

_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill")
_PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_WAY_OUT = (
    "A pickle runs code when it is read. Save the model in its library's own format (for XGBoost "
    "`booster.save_model('model.json')`) and bring that in"
)
IMPORTED = "imported"  # in a manifest: origin of a model that was not trained here
RUN = "run"  # in a manifest: values that differ between equal trainings


class InputColumn(FrozenStruct):
    """One input of a model as in its manifest: `number`, or `category` with its known texts in order.

    `feature` is its name in the model's own file, if that is different.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()
    feature: str = ""


class Model(Protocol):
    """The interface of every loaded model, whatever library made it.

    Models with equal `id` and `digest` compute equal scores. `manifest` is the content of manifest.json.
    """

    id: str
    digest: str
    event: str
    inputs: tuple[InputColumn, ...]
    manifest: JsonMapping

    def margins(self, columns: Sequence[Values]) -> Floats:
        """Return the margin of each row, bit for bit as the library computes it.

        Args:
            columns: A column for each input, in memory or in a file: numbers, NaN if missing; for a category its index
                among the categories, NaN if missing or unknown.
        """

    def scores(self, columns: Sequence[Values]) -> Floats:
        """Return the calibrated probability of each row, rounded half-even to six decimals."""


class Cuts(FrozenStruct):
    """Split values of each input, ascending: between two neighbors the result is constant.

    Args:
        is_single: Whether the model rounds values to single precision before it compares them.
    """

    by_input: tuple[Floats, ...]
    is_single: bool


@runtime_checkable
class Explainable(Model, Protocol):
    """A model that can compute contributions of its inputs to the margin."""

    def contributions(self, columns: Sequence[Values]) -> Floats:
        """Return the contribution of each input to each row's margin, and last the mean margin: (rows, inputs + 1).

        A row's contributions sum to its margin within 1e-5 of the sum of their sizes.

        Raises: UsageError for a model without contributions, or if its library is not installed.
        """

    def cuts(self) -> Cuts | None:
        """Return the split values of the inputs; None unless the model is a forest of trees."""


def digest_of(manifest: bytes) -> str:
    """Hash a manifest, without the values that differ between equal trainings."""
    try:
        content = from_json(manifest, type=JsonObject)
    except ValueError:
        content = {}
    return sha256(pretty({name: result for name, result in content.items() if name != RUN})).hexdigest()


def pretty(value: object) -> bytes:
    return msgspec.json.format(to_json(value, order="sorted"), indent=2) + b"\n"


def refuse_pickle(name: str, data: bytes) -> None:
    """Raise UsageError for a file that only pickle could read."""
    head = data[:2]
    if name.lower().endswith(_PICKLE_ENDINGS) or head in _PICKLE_STARTS:
        raise UsageError(f"{name} is a pickle, and pickles are never read. {_WAY_OUT}.")
