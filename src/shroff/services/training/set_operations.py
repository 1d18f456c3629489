"""Operation that writes training sets as Parquet, and rebuilds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.operations.declaration import (
    QUARANTINED,
    LocalPath,
    OperationRequest,
    ProgressSteps,
    ReportAnswer,
    operation,
)
from shroff.runtime.texts import argument, one_line
from shroff.services.training.operations import EventOfModel, InputOrder, InputPaths, KnownAt, LabelPath
from shroff.services.training.sets import TrainingSets

if TYPE_CHECKING:
    from shroff.services.training.sets import SetReport

DIFFERENT = 1


class WriteTrainingSet(OperationRequest["BuiltTrainingSet"]):
    """
    Args:
        fold (N|final): The fold of model.yaml's split for role, label and weight: 1 is the oldest; final is the window
            of the registry's model.  [default: the newest]
        out (FOLDER): The new folder to write.
        again (SET): Build a set again from its folder or manifest.json, and compare the bytes.
    """

    files: InputPaths = ()
    event: EventOfModel = None
    labels: LabelPath = None
    order: InputOrder = "file"
    as_of: KnownAt = None
    fold: str | None = None
    out: LocalPath = None
    again: LocalPath = None


class BuiltTrainingSet(ReportAnswer["SetReport"]):
    """A training set with its manifest; of one that was built again, whether its bytes are equal."""

    folder: str
    seconds: float
    left_out: JsonObject
    remarks: tuple[str, ...]
    manifest: Any
    equal: bool | UnsetType = UNSET
    differing: tuple[str, ...] | UnsetType = UNSET
    why: tuple[str, ...] | UnsetType = UNSET
    asked = ""

    def text(self) -> str:
        if self.equal is UNSET:
            return repr(self.report)
        if self.equal:
            return f"{self.asked}: identical bytes, rebuilt in {self.report.seconds:.1f} s."
        why = [f"  {one_line(words)}" for words in self.why or ["its input has not changed"]]
        return "\n".join([f"{self.asked}: different bytes in {', '.join(self.differing or ())}.", *why])

    def hints(self) -> Sequence[str]:
        return [f"shroff training-set --again {argument(self.folder)}"] if self.equal is UNSET else []

    def exit_status(self) -> int:
        if self.equal is not UNSET:
            return 0 if self.equal else DIFFERENT
        return QUARANTINED if self.report.left.is_quarantined or self.remarks else 0


@operation("training-set", right="train:models")
def write_training_set(
    training_sets: TrainingSets, progress: ProgressSteps, request: WriteTrainingSet
) -> BuiltTrainingSet:
    """Write the training data of 'train' to a folder, from the log or from FILEs.

    The folder gets rows.parquet, labels.parquet and manifest.json.

    A row is an event at a point in time: the model's inputs, its verdict and when it became known, and the
    decision. For one fold, the row also has its role (train, delay or test), its label (1 is fraud) and its weight.
    The weight is null for rows that are left out, such as events whose label cannot be known yet. The manifest records
    all inputs, so the same bytes can be built again: --again does so and compares. Without --out, it keeps nothing.

    Examples:
        shroff training-set --out march
        shroff training-set --as-of 2026-03-31 --out march
        shroff training-set payments.csv --labels chargebacks.csv --out march
        shroff training-set --again march
    """
    from shroff.log.columns.tables import Way
    from shroff.runtime.process_wide import one_heap, without_pandas

    one_heap()
    inputs: JsonObject = {"files": request.files, "labels": request.labels}
    with without_pandas():
        way = Way(reading=progress.counting("reading events"), computing=progress.counting("computing events"))
        if request.again is not None:
            if request.order != "file" or {request.event, request.as_of, request.fold} != {None}:
                raise UsageError("--again takes event, order, moment and fold from the manifest: leave them out.")
            built = training_sets.again(request.again, out=request.out, way=way, **inputs)
            answer = _answer(built.report, equal=built.is_equal, differing=built.differing, why=built.why)
            answer.asked = str(request.again)
            return answer
        if request.out is None:
            raise UsageError("a training set needs a folder: add --out FOLDER.")
        inputs |= {"as_of": request.as_of, "fold": request.fold, "order": request.order}
        return _answer(training_sets.write(request.out, request.event, way=way, **inputs))


def _answer(report: SetReport, **more: Any) -> BuiltTrainingSet:
    left = report.left
    return BuiltTrainingSet(
        folder=str(report.folder),
        seconds=round(report.seconds, 3),
        remarks=report.remarks,
        manifest=report.manifest,
        left_out={
            "refused": left.refused,
            "too_late": left.too_late,
            "duplicates": left.doubled,
            "untaken": left.untaken,
            "first": [{"file": line.source, "line": line.place, "reason": line.reason} for line in left.first],
        },
        **more,
    ).about(report)
