"""What an opened project does with models that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shroff import config
from shroff.app.models.trainings import NO_EVENTS, NOT_ASKED, Trainings
from shroff.errors import UsageError, nearest

if TYPE_CHECKING:
    from shroff.replay.notebook import Moment
    from shroff.training.foreign.inputs import Declared
    from shroff.training.train import Steps, TrainReport

Inputs = str | Path | Sequence[str] | Mapping[str, str]


class Importings(Trainings):
    """The call of a project that takes a model in."""

    __slots__ = ()

    def import_model(
        self,
        file: str | Path,
        event: str | None = None,
        *,
        check: str | Path,
        inputs: Inputs | None = None,
        categories: Mapping[str, Sequence[str]] | None = None,
        trained_until: Moment | None = None,
        calibrate: bool = False,
        rounds: int | None = None,
        tolerance: float | None = None,
        as_of: Moment | None = None,
        promote: bool = False,
        by: str = "",
        steps: Steps | None = None,
    ) -> TrainReport:
        """Take a model in that was trained elsewhere: check it on rows, judge it as one of ours, and keep it.

        Args:
            file: XGBoost's JSON or UBJSON, LightGBM's text, or ONNX.
            event: The event type; may be left out where model.yaml has one.
            check: Rows (CSV, JSON lines, Parquet) with the inputs' values and the model's own `score` or `margin`.
            inputs: What it reads, in the order of its features: expressions, one text with commas between them, or
                the names of its features with an expression each; or a YAML file of these. By default the inputs of
                model.yaml in their order.
            categories: Texts in the order of their codes, by input, where the file does not say them.
            trained_until: When its training data ended; folds whose test begins before are left out.
            calibrate: Fit a calibration to labelled events, as models that are trained here get one.
            rounds: How many rounds of boosting count; by default as the file says.
            tolerance: How far a row may be off; by default 1e-6 of a score, and relatively 1e-5 of a margin.
            as_of: Judged by what was known then; by default at the time of the log's last record.
            promote: Put it in force if its gates passed.

        Raises: UsageError for a file that cannot be brought in, for rows that it does not reproduce, and where there
            are no labelled events to judge it on.
        """
        from shroff.log.columns.tables import Way
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms
        from shroff.training.foreign.importing import foreign_file, imported, settings_for
        from shroff.training.foreign.inputs import read_by
        from shroff.training.sets.sources import log_source
        from shroff.training.train import train_model

        path, definitions = Path(file), self.definitions
        event = self._event_of(event)
        foreign, digest = foreign_file(path, rounds)
        read = read_by(foreign, path.name, definitions, event, _declared(inputs), dict(categories or {}))
        settings, said = settings_for(definitions, event, read)
        found = imported(
            path,
            read,
            foreign,
            Path(check),
            digest=digest,
            until_ms=moment_ms(trained_until, "trained_until"),
            calibrate=calibrate,
            tolerance=tolerance,
            by=by,
            said=said,
        )
        with self.reading() as log:
            as_of_ms = moment_ms(as_of)
            as_of_ms = last_moment(log, self.now_ms()) if as_of_ms is None else as_of_ms
            if as_of_ms is None:
                raise UsageError(NO_EVENTS)
            report = train_model(
                definitions,
                settings,
                log_source(log, definitions, event),
                self.registry,
                as_of_ms=as_of_ms,
                now_ms=self.now_ms(),
                threads=config.threads(),
                steps=steps,
                way=Way(spill=self._spill_folder()),
                making=lambda given: found.maker(given, settings),
            )
        return self._promoted(report, by) if promote else replace(report, why_not=NOT_ASKED)

    def _event_of(self, event: str | None) -> str:
        """The event type that is meant."""
        definitions = self.definitions
        decided = list(definitions.events.decided)
        if event is None and len(definitions.models) == 1:
            return next(iter(definitions.models))
        if event is None and len(decided) == 1:
            return decided[0]
        if event is None:
            raise UsageError(f"{', '.join(decided)} can have a model: name the one that it is for with --as.")
        if event not in decided:
            raise UsageError(f"there is no event type {event!r} that is decided. {nearest(event, decided)}".rstrip())
        return event


def _declared(inputs: Inputs | None) -> list[Declared] | None:
    from shroff.training.foreign.inputs import declared, declared_in

    if inputs is None or isinstance(inputs, str | Path):
        return None if inputs is None else declared_in(inputs)
    pairs = inputs.items() if isinstance(inputs, Mapping) else [("", one) for one in inputs]
    return [declared(theirs, text) for theirs, text in pairs]
