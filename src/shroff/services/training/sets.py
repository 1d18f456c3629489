"""Training sets as files, for training outside shroff; and rebuilds of a set."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from shroff.errors import UsageError
from shroff.runtime.texts import Printed, many, one_line, table
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.arrow_tables import Files, InputFiles
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.log.columns.tables import Way
    from shroff.log.state.feature_events import LeftOut
    from shroff.models.definitions import ModelSettings
    from shroff.replay.notebook import Moment
    from shroff.services.models.frames import TrainingFrame
    from shroff.training.sets.manifest import SetManifest
    from shroff.training.sets.sources import HistorySource

NO_EVENTS = "There are no events for a training set: add events and labels with 'shroff ingest FILE'."


class SetReport(Printed, FrozenStruct):
    """A training set that was written.

    Args:
        folder: Its rows, labels and manifest.
        left: Lines of files that gave no row.
        remarks: What of the files else is not in it, in sentences.
    """

    folder: Path
    manifest: SetManifest
    seconds: float
    left: LeftOut
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        manifest = self.manifest
        fold = manifest.fold
        counts = {
            "fraud": manifest.fraud,
            "genuine": manifest.genuine,
            "unclear": manifest.unclear,
            "without a label": manifest.unlabelled,
            "without a label and too young": manifest.immature,
        }
        rows = [("labels", ", ".join(f"{count:,} {name}" for name, count in counts.items()))]
        for role, (start, end), row_count, frauds in (
            ("train", fold.train, fold.train_rows, fold.train_fraud),
            ("test", fold.test, fold.test_rows, fold.test_fraud),
        ):
            rows.append((role, f"{many(row_count, 'row')} with {many(frauds, 'fraud')}, from {start} to {end}"))
        inputs = many(len(manifest.inputs), "input")
        summary = f"{many(manifest.rows, manifest.event)} as of {manifest.as_of}, {inputs}, in {self.seconds:.1f} s"
        lines = [f"{self.folder}: {summary}.", table(rows[: 2 if fold.is_final else 3])]
        lines += [f"  {self.left}."] if self.left.count else []
        return "\n".join([*lines, *(f"  {one_line(words)}" for words in self.remarks)])


class SetAgain(FrozenStruct):
    """A rebuilt training set.

    Args:
        is_equal: Rows and labels have the same bytes.
        differing: Files that differ.
        why: Changes of its inputs, in sentences.
    """

    report: SetReport
    is_equal: bool
    differing: tuple[str, ...]
    why: tuple[str, ...]


class SetInputs(NamedTuple):
    """Events and labels for a training set, and the counts of lines left out."""

    history: HistorySource
    left: LeftOut
    remarks: tuple[str, ...] = ()


class TrainingSets(ProjectPart):
    """Training sets of a project."""

    def write(
        self,
        out: str | Path,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        fold: int | str | None = None,
        way: Way | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
    ) -> SetReport:
        """Write the training data of `train` as Parquet, with a manifest to build the same bytes again.

        Args: as `shroff training-set` has them, and
            out: A new or empty folder: `rows.parquet`, `labels.parquet` and `manifest.json`.
            as_of: Events that happened and labels that were known by then; by default all in the log or files.

        Raises: UsageError if there are no events, or `out` is not empty; StorageError.
        """
        from shroff.replay.notebook import moment_ms
        from shroff.training.sets.wanted import settings_of

        settings = settings_of(self._definitions, event)
        _check_new(Path(out))
        with self._source(settings, InputFiles(files=files, labels=labels, order=order)) as inputs:
            as_of_ms = moment_ms(as_of)
            as_of_ms = inputs.history.newest(self._now_ms()) if as_of_ms is None else as_of_ms
            if as_of_ms is None:
                raise UsageError(NO_EVENTS)
            return self._write(Path(out), settings, inputs, as_of_ms, fold, way)

    def frame(
        self,
        event: str | None = None,
        *,
        as_of: Moment | None = None,
        fold: int | str | None = None,
        files: Files = (),
        labels: str | Path | None = None,
        order: str = "file",
    ) -> TrainingFrame:
        """Get the labeled rows of a training set (see `ProjectParts.training_set`).

        Amounts are floats in whole units, texts are categories.
        """
        from shroff.services.models.frames import TrainingFrame

        with TemporaryDirectory(prefix="shroff-") as scratch:
            out = Path(scratch) / "set"
            report = self.write(out, event, as_of=as_of, fold=fold, files=files, labels=labels, order=order)
            names = [input_.name for input_ in report.manifest.inputs]
            return TrainingFrame.read(out, names, self._definitions.settings.money_places)

    def again(
        self,
        manifest: str | Path,
        *,
        files: Files = (),
        labels: str | Path | None = None,
        out: str | Path | None = None,
        way: Way | None = None,
    ) -> SetAgain:
        """Build a set again from its manifest: with the same time and the same log positions or files.

        Args:
            manifest: The manifest, or its folder.
            files: The files that it was built from, if any; `labels` likewise.
            out: The folder to write; by default the set is compared and discarded.

        Raises: UsageError if it was built from files and none are given, or from a log longer than this one.
        """
        from shroff.training.sets.manifest import differences, read_manifest
        from shroff.training.sets.wanted import settings_of

        then = read_manifest(Path(manifest))
        settings = settings_of(self._definitions, then.event)
        inputs = InputFiles(files=files, labels=labels, order=then.source.order)
        _check_given(Path(manifest), then, inputs)
        if out is not None:
            _check_new(Path(out))
        with TemporaryDirectory(prefix="shroff-") as folder, self._source(settings, inputs, then) as set_inputs:
            target = Path(folder) / "set" if out is None else Path(out)
            report = self._write(target, settings, set_inputs, then.as_of_ms, then.fold.fold, way)
        now = report.manifest
        differing = tuple(name for name, digest in then.files.items() if now.files.get(name) != digest)
        return SetAgain(report, not differing, differing, tuple(differences(then, now)))

    def _write(
        self,
        out: Path,
        settings: ModelSettings,
        inputs: SetInputs,
        as_of_ms: int,
        fold: int | str | None,
        way: Way | None,
    ) -> SetReport:
        from shroff.log.columns.tables import Way
        from shroff.training.sets.files import write_set

        started = time.monotonic()
        is_new = not out.exists()
        way = replace(way or Way(), spill=out.parent)
        try:
            manifest = write_set(out, self._definitions, settings, inputs.history, as_of_ms, way, fold)
        except BaseException:
            if is_new:  # remove the incomplete set
                shutil.rmtree(out, ignore_errors=True)
            raise
        return SetReport(out, manifest, time.monotonic() - started, inputs.left, inputs.remarks)

    @contextmanager
    def _source(
        self, settings: ModelSettings, inputs: InputFiles, then: SetManifest | None = None
    ) -> Iterator[SetInputs]:
        """Open the log or the files: by columns, or through a log of their own if labels must be placed among the
        events.
        """
        from shroff.log.state.feature_events import LeftOut
        from shroff.training.sets.sources import file_source, log_source, reads_labels

        definitions, event = self._definitions, settings.event
        left = LeftOut(tell=self._context.warnings.once, now_ms=self._now_ms())
        inputs.check()
        files, order, labels = inputs.paths, inputs.order, None if inputs.labels is None else Path(inputs.labels)
        is_by_columns = order == "file" and not reads_labels(definitions, settings)
        if not files:
            with self._log.reading() as log:
                end = log.last_seq() if then is None or then.source.log_seq is None else then.source.log_seq
                if end > log.last_seq():
                    message = (
                        f"this log ends at sequence number {log.last_seq():,}, and the set was built up to {end:,}"
                    )
                    raise UsageError(f"{message}: it was built from another log, or this log was truncated.")
                yield SetInputs(log_source(log, definitions, event, end), left)
        elif not is_by_columns or any(map(definitions.events.has_unique, definitions.events.types)):
            from shroff.services.ingest.event_ingest import scratch_log
            from shroff.services.training.trainings import left_out

            with scratch_log(self._context, files, event, labels, decide=False, order=order) as (log, counts):
                source = replace(log_source(log, definitions, event), log=None, files=tuple(files), labels_file=labels)
                yield SetInputs(replace(source, order=order), left, tuple(left_out(counts, log)))
        else:
            yield SetInputs(file_source(files, labels, definitions, settings, self._log.hasher, left), left)


def _check_new(out: Path) -> None:
    """Raises: UsageError unless `out` is missing or an empty folder."""
    from shroff.training.sets.manifest import MANIFEST

    if out.is_file():
        raise UsageError(f"{out} is a file; a training set is a folder. Choose a new one.")
    if not out.is_dir():
        return
    if (out / MANIFEST).is_file():
        raise UsageError(f"{out} has a training set. Choose another folder, or rebuild it with --again {out}.")
    if any(out.iterdir()):
        raise UsageError(f"{out} is not empty. Choose a new or an empty folder.")


def _check_given(manifest: Path, then: SetManifest, inputs: InputFiles) -> None:
    """Raises: UsageError if a set was built from files and these are missing, or files are given for one of the log."""
    if then.source.log_seq is not None:
        if inputs.paths or inputs.labels is not None:
            raise UsageError(
                f"{manifest} was built from the log up to sequence number {then.source.log_seq:,}: leave the files out."
            )
        return
    names = " ".join(file.name for file in then.source.files)
    if not inputs.paths:
        raise UsageError(f"{manifest} is of the files {names}: name them.")
    if (inputs.labels is None) != (then.source.labels is None):
        if then.source.labels is not None:
            raise UsageError(f"{manifest} is of the labels {then.source.labels.name} too: add --labels FILE.")
        raise UsageError(f"{manifest} is of files without labels: leave --labels out.")
