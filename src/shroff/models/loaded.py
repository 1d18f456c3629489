"""A model built from its manifest and its files, whatever library trained it.

These parts of a manifest are read here:

    {"id": "m-20260701-3f2a", "event": "payment", "format": "xgboost",
     "inputs": [{"name": "card.spent_24h", "kind": "number"},
                {"name": "payment.channel", "kind": "category", "categories": ["app", "web"]}],
     "files": {"model.json": "<SHA-256>", ...},
     "calibration": {"kind": "platt", "slope": 1.1, "intercept": -0.2},
     "negatives_kept": 0.1, "best_iteration": 99, "base_margin": -2.197}

`format` determines the model's file (FILES) and how it is read. `inputs` are in the order of the model's features; a
category's code is its index in `categories`. The last four are optional: without them there is no calibration, all
genuine rows were kept, all trees count, and the margin before the first tree is computed on this machine
(`trees.xgboost.base_margin_of_xgboost` returns the value to write). `best_iteration` is the last round to use, from 0,
also for LightGBM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
from msgspec.json import decode as from_json

from shroff.arrays import Floats
from shroff.errors import RegistryError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.models.columns import CATEGORY, NUMBER
from shroff.models.contributions import LightgbmContributions, XgboostContributions
from shroff.models.evaluation.calibration import calibration_of, scorer_of
from shroff.models.learners.column_files import ROWS_TOGETHER, Values, spans
from shroff.models.model import Cuts, InputColumn, digest_of, refuse_pickle
from shroff.models.trees.forest import Forest, cuts_of, margins_of
from shroff.models.trees.isolation import forest_of_isolation
from shroff.models.trees.lightgbm import forest_of_lightgbm
from shroff.models.trees.linear import Linear, linear_of, margins_of_linear, parts_of
from shroff.models.trees.xgboost import forest_of_xgboost
from shroff.runtime.values import FrozenStruct

XGBOOST = "xgboost"
LIGHTGBM = "lightgbm"
LOGISTIC = "logistic"
ISOLATION = "isolation"
FILES = {XGBOOST: "model.json", LIGHTGBM: "model.txt", LOGISTIC: "logistic.json", ISOLATION: "isolation.json"}
_CURE = "restore the model's folder from a backup, or train the model again"


class LoadedModel:
    """A model that scores; keeps the promises of `models.model.Model`."""

    def __init__(self, manifest: JsonMapping, digest: str, body: _Trees | _Regression) -> None:
        self.id: str = manifest["id"]
        self.event: str = manifest["event"]
        self.digest = digest
        self.inputs = body.inputs
        self.manifest = manifest
        self._body = body
        self._scorer = scorer_of(
            calibration_of(manifest.get("calibration")), float(manifest.get("negatives_kept", 1.0))
        )

    def margins(self, columns: Sequence[Values]) -> Floats:
        count = len(columns[0])
        if count <= ROWS_TOGETHER:
            return self._body.margins(self._matrix(columns))
        margins = np.empty(count)
        for part in spans(count):
            margins[part] = self._body.margins(self._matrix([column[part] for column in columns]))
        return margins

    def scores(self, columns: Sequence[Values]) -> Floats:
        scores = self.margins(columns)
        self._scorer.put_scores(scores)
        return scores

    def contributions(self, columns: Sequence[Values]) -> Floats:
        return self._body.contributions(self._matrix(columns))

    def cuts(self) -> Cuts | None:
        return self._body.cuts()

    def _matrix(self, columns: Sequence[Values]) -> Floats:
        assert len(columns) == len(self.inputs), "one column for each input"
        # Always a copy: kernels reject read-only arrays.
        return np.array(columns, np.float64, order="C")


class _Trees(FrozenStruct):
    inputs: tuple[InputColumn, ...]
    forest: Forest
    explained: XgboostContributions | LightgbmContributions | None

    def margins(self, columns: Floats) -> Floats:
        return margins_of(self.forest, columns)

    def contributions(self, columns: Floats) -> Floats:
        if self.explained is None:
            raise UsageError(
                "an isolation forest has no contributions of single inputs. Train xgboost for scores with reasons."
            )
        return self.explained.of(columns)

    def cuts(self) -> Cuts | None:
        return Cuts(cuts_of(self.forest, len(self.inputs)), self.forest.is_single_input)


class _Regression(FrozenStruct):
    inputs: tuple[InputColumn, ...]
    linear: Linear

    def margins(self, columns: Floats) -> Floats:
        return margins_of_linear(self.linear, columns)

    def contributions(self, columns: Floats) -> Floats:
        return parts_of(self.linear, columns)

    def cuts(self) -> Cuts | None:
        return None


def load_model(manifest_bytes: bytes, files: Mapping[str, bytes]) -> LoadedModel:
    """Load the model of a manifest.

    Args:
        files: At least the model's own file; each is checked against its SHA-256 in the manifest.

    Raises: RegistryError, naming file and remedy, for a missing or damaged file, another format, other inputs, or an
    incomplete manifest; UsageError for a pickle.
    """
    manifest = _manifest_of(manifest_bytes)
    hashes = manifest["files"]
    for name, data in files.items():
        refuse_pickle(name, data)
        if hashes.get(name) != sha256(data).hexdigest():
            raise RegistryError(f"{name} of model {manifest['id']} differs from the one in its manifest: {_CURE}")
    name = FILES[manifest["format"]]
    if name not in files:
        raise RegistryError(f"{name} of model {manifest['id']} is not there: {_CURE}")
    try:
        body = _body_of(manifest, files[name])
        return LoadedModel(manifest, digest_of(manifest_bytes), body)
    except RegistryError as error:
        raise RegistryError(f"{name} of model {manifest['id']}: {error}") from error


def _body_of(manifest: JsonMapping, data: bytes) -> _Trees | _Regression:
    inputs = _inputs_of(manifest)
    best = manifest.get("best_iteration")
    if manifest["format"] == XGBOOST:
        forest = forest_of_xgboost(data, inputs, best_iteration=best, start=manifest.get("base_margin"))
        return _Trees(inputs, forest, XgboostContributions(data, inputs, best))
    if manifest["format"] == LIGHTGBM:
        forest = forest_of_lightgbm(data, inputs, best_iteration=best)
        return _Trees(inputs, forest, LightgbmContributions(data, inputs, best))
    if manifest["format"] == ISOLATION:
        return _Trees(inputs, forest_of_isolation(data, inputs), None)
    return _Regression(inputs, linear_of(data, inputs))


def _manifest_of(data: bytes) -> JsonObject:
    try:
        manifest = from_json(data, type=JsonObject)
    except ValueError as error:
        raise RegistryError(f"manifest.json is damaged ({error}): {_CURE}") from error
    missing = [key for key in ("id", "event", "format", "inputs", "files") if key not in manifest]
    if missing:
        raise RegistryError(f"manifest.json lacks {', '.join(missing)}: {_CURE}")
    if manifest["format"] not in FILES:
        raise RegistryError(
            f"manifest.json of model {manifest['id']} has the format {manifest['format']!r}; this program reads"
            f" {', '.join(FILES)}: {_CURE}"
        )
    return manifest


def _inputs_of(manifest: JsonMapping) -> tuple[InputColumn, ...]:
    try:
        columns = tuple(
            InputColumn(column["name"], column["kind"], tuple(column.get("categories", ())), column.get("feature", ""))
            for column in manifest["inputs"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"an input in manifest.json lacks {error}: {_CURE}") from error
    wrong = [column for column in columns if column.kind not in {NUMBER, CATEGORY}]
    if wrong:
        raise RegistryError(
            f"input {wrong[0].name} in manifest.json is a {wrong[0].kind}, not a number or category: {_CURE}"
        )
    return columns
