"""Models trained elsewhere: checked on given rows, judged on the same folds as ours, and stored.

Nothing is trained here except a calibration on request. Whether test rows were in their training data cannot be seen
here; report and manifest say so, and tests begin after the end of that training if it is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from shroff.arrays import Floats, count_true
from shroff.errors import RegistryError, UsageError, os_words
from shroff.events.event import time_text
from shroff.json_types import JsonObject
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.calibration import Calibration, fit_calibration, uncalibrated
from shroff.models.evaluation.windows import KnownRows, windows_of
from shroff.models.imported import BROKEN, BYTES_MAX, Foreign, broken
from shroff.models.learners.learned import Fitted
from shroff.models.learners.learner import columns_for
from shroff.models.learners.training import FRAUDS_LAST_MIN, Trained, in_time_order, loaded, scores_of
from shroff.models.loaded import FILES, LIGHTGBM, LOGISTIC, XGBOOST, LoadedModel
from shroff.models.model import IMPORTED, NUMBER, PROBABILITY
from shroff.models.model_contributions import drawn_rows
from shroff.models.sets import FRAUD, TrainingSet
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.foreign.inputs import ForeignInputs
from shroff.training.foreign.rows import CheckedScores, check_rows, read_rows
from shroff.training.train import Maker, plain_settings

# Called with the name of a file, its bytes, and the number of rounds to use.
Reader = Callable[[str, bytes, int | None], Foreign | None]


class ImportedModel(FrozenStruct):
    """A model trained elsewhere, after its check.

    Args:
        digest: SHA-256 of its file.
        until_ms: Declared end of its training data; None if not declared.
        calibrate: Whether to calibrate its margins, on the rows that train models here.
        by: User who imported it.
        said: Further remarks for the report, as sentences.
    """

    file: str
    digest: str
    foreign: Foreign
    read: ForeignInputs
    checked: CheckedScores
    until_ms: int | None
    calibrate: bool
    by: str
    said: tuple[str, ...] = ()

    def maker(self, training_set: TrainingSet, settings: ModelSettings) -> Maker:
        last = windows_of(settings.split, settings.label_delay_ms, training_set.as_of_ms)[-1]
        if self.until_ms is not None and last.test_start_ms < self.until_ms:
            raise UsageError(
                f"{self.file} was trained on events up to {time_text(self.until_ms)}, and the last test begins"
                f" {time_text(last.test_start_ms)}: there are no labeled events that it has not seen. Import it again"
                " when there are, or import one that was trained on older events."
            )
        fitted = self._fitted(_with_covers(self.foreign, self.read, training_set, settings.seed))
        plain = loaded(fitted, self._plain(), 1.0)

        def calibration(rows: TrainingSet, known: KnownRows) -> Calibration:
            return self._calibrated(rows, known, plain, settings) if self.calibrate else self._plain()

        def learn(rows: TrainingSet, known: KnownRows) -> Any:
            model = loaded(fitted, calibration(rows, known), 1.0) if self.calibrate else plain

            def score(test: TrainingSet) -> Floats:
                if self.until_ms is not None and len(test) and int(test.times_ms.min()) < self.until_ms:
                    raise UsageError(f"its test begins before {time_text(self.until_ms)}, up to which it was trained")
                return scores_of(model, test.inputs)

            return score

        def keep(known: KnownRows) -> Trained:
            return Trained(fitted, calibration(training_set, known), 1.0, 0, 0, tuple(self.remarks))

        until = {} if self.until_ms is None else {"to": time_text(self.until_ms)}
        return Maker(learn, keep, until, {IMPORTED: self.as_manifest()})

    @property
    def remarks(self) -> list[str]:
        origin = f"It was trained elsewhere and imported from {self.file}"
        if self.until_ms is None:
            training_remark = f"{origin}. Its training data may include test rows, so these metrics may be too good."
        else:
            until = time_text(self.until_ms)
            training_remark = f"{origin}; its declared end of training is {until}, and every test begins later."
        remarks = [training_remark, *self.said, *self.foreign.remarks, *self.checked.remarks]
        if self.foreign.gives == PROBABILITY and not self.calibrate:
            remarks.append("Its margins are probabilities, and its scores are these.")
        return remarks

    def as_manifest(self) -> JsonObject:
        return {
            "file": self.file,
            "sha256": self.digest,
            "source": self.foreign.source,
            "features": list(self.foreign.names),
            "by": self.by,
            "checked": self.checked.as_manifest(),
            **({} if self.until_ms is None else {"trained_until": time_text(self.until_ms)}),
        }

    def _fitted(self, data: bytes) -> Fitted:
        foreign = self.foreign
        total = float(foreign.gains.sum())
        names = [column.name for column in self.read.columns]
        shares = {name: round(float(gain) / total, 6) for name, gain in zip(names, foreign.gains, strict=True) if total}
        files = {**foreign.files, FILES[foreign.format]: data}
        parameters = {"learner": _LEARNERS[foreign.format], **foreign.parameters}
        fitted = Fitted(foreign.format, files, self.read.columns, shares, foreign.trees, parameters, {})
        return replace(fitted, best_iteration=foreign.best_iteration, gives=foreign.gives)

    def _plain(self) -> Calibration:
        return uncalibrated(self.foreign.gives)

    def _calibrated(
        self, rows: TrainingSet, known: KnownRows, model: LoadedModel, settings: ModelSettings
    ) -> Calibration:
        """Fit a calibration on the rows that would train a model here, without those it was trained on."""
        ordered_rows, verdicts = in_time_order(rows, known)
        if self.until_ms is not None:
            is_new = rows.times_ms[ordered_rows] >= self.until_ms
            ordered_rows = ordered_rows[is_new]
            verdicts = verdicts[is_new]
        frauds = count_true(verdicts == FRAUD)
        if frauds < FRAUDS_LAST_MIN:
            raise UsageError(
                f"there are {frauds} frauds to calibrate by, and {FRAUDS_LAST_MIN} are needed; do not calibrate it"
            )
        inputs = [input_.take(ordered_rows) for input_ in rows.inputs]
        margins = model.margins(columns_for(model.inputs, inputs))
        kind = "auto" if settings.calibration == "none" else settings.calibration
        # Sums of linear algebra depend on the number of threads.
        with threadpool_limits(limits=1, user_api="blas"):
            return fit_calibration(margins, verdicts, kind)


_LEARNERS = {XGBOOST: "xgboost", LIGHTGBM: "lightgbm", LOGISTIC: "logistic"}  # as the list of models shows them


def refuse_numbers(file: str, foreign: Foreign, *, calibrate: bool) -> None:
    """Raises: UsageError if the model does not give a probability and is not calibrated."""
    if foreign.gives == NUMBER and not calibrate:
        raise UsageError(
            f"{file} gives a number, not a probability ({foreign.parameters.get('objective')}). Calibrate it"
            " on labeled events with --calibrate."
        )


def checked_scores(
    file: str, foreign: Foreign, read: ForeignInputs, rows: Path, tolerance: float | None
) -> CheckedScores:
    """Compare a model's scores with the answers in a file of rows. Raises: UsageError if a row is not reproduced."""
    answers = read_rows(rows, read.columns, foreign.names)
    return check_rows(answers, foreign, _model_of(foreign, read, file), file, tolerance=tolerance)


def _model_of(foreign: Foreign, read: ForeignInputs, file: str) -> LoadedModel:
    """Raises: UsageError if the model's file is damaged or cannot be used for scoring."""
    bare = Fitted(foreign.format, foreign.files, read.columns, {}, foreign.trees, {"learner": "xgboost"}, {})
    try:
        model = loaded(replace(bare, best_iteration=foreign.best_iteration), Calibration(), 1.0)
        if foreign.format == XGBOOST:  # the library explains its scores, so it must be able to
            model.contributions([np.zeros(1)] * foreign.count)
    except RegistryError as error:
        raise UsageError(f"{file}: {str(error.__cause__ or error).rstrip('.')}.") from error
    except BROKEN as error:
        raise UsageError(f"{file}: {broken(error)}.") from error
    return model


def foreign_file(path: Path, rounds: int | None, readers: Iterable[Reader]) -> tuple[Foreign, str]:
    """Read a model file; return the model and the file's SHA-256.

    Args:
        readers: Importers; the first that knows the format reads the file.

    Raises: UsageError if the file cannot be read or imported.
    """
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise UsageError(
                f"{path.name} is larger than {BYTES_MAX // 2**20} MiB, too large to score in microseconds;"
                " train fewer trees, or shallower ones."
            )
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{os_words(error, path, ' cannot be read')}.") from None
    read = (reader(path.name, data, rounds) for reader in readers)
    foreign = next((foreign for foreign in read if foreign is not None), None)
    if foreign is None:
        raise UsageError(f"{path.name} is not a model that can be imported.")
    return foreign, sha256(data).hexdigest()


def settings_for(definitions: Definitions, event: str, read: ForeignInputs) -> tuple[ModelSettings, list[str]]:
    """Return the settings of model.yaml with this model's inputs, and remarks on what does not apply."""
    settings = definitions.models.get(event) or plain_settings(definitions, event, read.inputs)
    names = {input_.name for input_ in read.inputs}
    disclosed = [name for name in settings.give_away if name in names]
    remarks = []
    if disclosed:
        remarks.append(
            f"It reads {', '.join(disclosed)}, which give_away lists. Metrics without them are missing, because it"
            " was not trained here."
        )
    return replace(settings, inputs=read.inputs, give_away=(), search={}), remarks


def _with_covers(foreign: Foreign, read: ForeignInputs, training_set: TrainingSet, seed: int) -> bytes:
    """Return the model's bytes; if its file has no counts of rows per node, with those of the set."""
    if foreign.with_covers is None or not len(training_set):
        return foreign.data
    rows = drawn_rows(np.arange(len(training_set)), seed)
    columns = columns_for(read.columns, [input_.take(rows) for input_ in training_set.inputs])
    return foreign.with_covers(np.array(columns, np.float64))
