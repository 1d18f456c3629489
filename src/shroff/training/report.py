"""The report beside a trained model, report.html: written once, from values of training that are not stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.json_types import JsonMapping
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.folds import Evaluation
from shroff.models.evaluation.metrics import Terms
from shroff.models.evaluation.thresholds import Thresholds, thresholds
from shroff.models.learners.learner import columns_for
from shroff.models.learners.training import Trained, loaded
from shroff.models.model_contributions import Dependence, dependences, drawn_rows
from shroff.models.registry import GateResult
from shroff.models.reports.html import Extras, report_page
from shroff.models.sets import TrainingSet
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.leak_test import LeakReport
from shroff.training.measured import facts_of, slice_words
from shroff.training.tested_rows import weighed_of

if TYPE_CHECKING:
    import pyarrow as pa


class ReportFacts(FrozenStruct):
    """Content of a report.

    Args:
        tested: Rows of the tests, as stored beside the model (`judged_rows`).
    """

    definitions: Definitions
    settings: ModelSettings
    given: TrainingSet
    evaluation: Evaluation
    trained: Trained
    gates: Sequence[GateResult]
    leak: LeakReport | None
    terms: Terms
    tested: pa.Table

    def page(self, manifest: JsonMapping) -> bytes:
        """Render the page for the manifest as it will be written.

        Cost: exact contributions of at most 2,000 rows, about a second for a hundred trees.
        """
        settings = self.definitions.settings
        extras = Extras(
            settings.name,
            settings.currency,
            facts_of(manifest),
            self._dependences(),
            () if self.leak is None else self.leak.parts,
            self._cutoffs(),
            [
                slice_words(self.definitions, self.given.event, part.name, part.value, is_group=part.is_group)
                for part in self.evaluation.slices
            ],
        )
        title = f"Model {manifest['id']} of {manifest['event']}"
        importance = self.trained.fitted.importance
        remarks = self.trained.remarks
        return report_page(title, self.evaluation, self.gates, importance, remarks, extras).encode()

    def _dependences(self) -> tuple[Dependence, ...]:
        """Return how the margin depends on each input over test rows; empty if the learner has no contributions."""
        rows = drawn_rows(self.evaluation.tested.rows, self.settings.seed)
        model = loaded(self.trained.fitted, self.trained.calibration, self.trained.negatives_kept)
        sampled = [replace(input_, values=input_.values[rows]) for input_ in self.given.inputs]
        try:
            return dependences(model, columns_for(model.inputs, sampled))
        except UsageError:
            return ()

    def _cutoffs(self) -> Thresholds | None:
        """Return the cost of thresholds on the test rows; None if policy.yaml has no costs."""
        policy = self.definitions.policy(self.given.event)
        if policy.missed_fraud is None or self.terms.false_decline is None:
            return None
        capacity = self.settings.capacity
        weighed = weighed_of(self.tested, self.terms.money_places, capacity.entity if capacity else "")
        return thresholds(weighed, self.terms, seed=self.settings.seed)
