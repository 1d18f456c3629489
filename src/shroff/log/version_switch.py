"""Prepares a new version in parallel with the active one, and switches to it between two batches.

Its state equals what a start with it would fold from the log. So the position of the switch changes no byte: it is as
if the process had been restarted there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from threading import Event, Thread

from msgspec.structs import asdict

from shroff.engine.exploration import LetThrough
from shroff.engine.step import Engine
from shroff.errors import UsageError
from shroff.features.computed import Computed
from shroff.log.activation import check_change
from shroff.log.history import Records
from shroff.log.state.fold import Folded, empty, fold, lateness_of
from shroff.project.definitions import Definitions, computed_of
from shroff.project.look_ups import differs_in_rows
from shroff.rules.silences import without_silence
from shroff.runtime.values import replace
from shroff.streams.log import Log

NEAR = 4_096  # records that may be left to fold between two batches: 50 ms


def check_inputs_unchanged(before: Definitions, now: Definitions) -> None:
    """Raise UsageError if events would be read in another way, since events in transit were read in the old one.

    A new table is fine: a mapping that reads it would itself be a change.
    """
    settings = replace(now.settings, lateness_ms=before.settings.lateness_ms)
    known = before.events.tables.keys()
    tables, keys = (
        {name: part for name, part in parts.items() if name in known}
        for parts in (now.events.tables, now.events.table_keys)
    )
    if before.events != replace(now.events, tables=tables, table_keys=keys) or before.settings != settings:
        raise UsageError(
            "events.yaml, shroff.yaml or a table that a mapping reads was changed since the process that writes the "
            "log was started, and it reads its input as they were then. Start it again: the project's files become "
            "active then"
        )


class _UnwantedVersionError(Exception):
    """The prepared version is no longer wanted."""


class Adoption:
    """Folds the log under a version, on its own thread and reading log, until it is near the log's end."""

    def __init__(self, definitions: Definitions, opened: Callable[[], Log]) -> None:
        """Start the thread.

        Args:
            opened: Opens the log for reading, beside the writer.
        """
        self.definitions = definitions
        self._opened = opened
        self._folded: Folded | None = None
        self._error: Exception | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="adoption", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether `finish` takes no longer than a batch; also true if it will fail."""
        return not self._thread.is_alive()

    def finish(self, log: Log) -> Folded:
        """Return the state of the new version at the end of the log, with no batch open.

        Raises: DefinitionError if the log has events that the version cannot read, as a start with it would.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._folded is not None, "the thread ends with state or with an error"
        return fold(log, self.definitions, start=self._folded)

    def stop(self) -> None:
        """Stop the thread if it still runs."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._opened()) as log:
                check_change(log, self.definitions)
                folded = empty(self.definitions, lateness_of(log, self.definitions))
                while (end := log.last_seq()) - folded.seq > NEAR:
                    # Up to a fixed sequence number: the log grows meanwhile, and hits are read separately from their
                    # events.
                    folded = fold(log, self.definitions, end, self._go_on, folded)
                self._folded = folded
        except Exception as error:  # noqa: BLE001 - raised by `finish`
            self._error = error

    def _go_on(self, _count: int) -> None:
        if self._stop.is_set():
            raise _UnwantedVersionError


def carried(folded: Folded, definitions: Definitions) -> Folded | None:
    """Return the state for another version without reading the log; None if it would mean something else there.

    Possible if types, entities, features and all aggregates are equal, and so are the lists and tables that state
    depends on. That covers changes of the policy, of a rule without new aggregates, of a list that rules ask only about
    the event being decided, and of a model that reads only what is computed anyway.

    Args:
        folded: State at the end of the log; unusable once its successor has taken a batch.

    Cost: that of the changed rules, if features, tables and models are equal and rules have the same aggregates; else a
        copy of the state, a second for some hundreds of megabytes.
    """
    before = folded.engine.definitions
    if differs_in_rows(asdict(before.versions), before.files, definitions) and not _failures([before, definitions]):
        folded.engine.take_rows(definitions)
        return folded
    if not means_the_same(before, definitions):
        return None
    if not _failures([before, definitions]) and folded.engine.take_rules(definitions):
        return folded
    engine = Engine(definitions, folded.engine.lateness_ms)  # the greatest of all versions; this one adds none
    if engine.online.layout() != folded.engine.online.layout():
        return None
    engine.online.restore(folded.engine.online.state())
    engine.let_through = LetThrough(folded.engine.let_through.days.items())
    records = Records(definitions.events, definitions.settings.money_places)
    return Folded(engine, records, folded.control, folded.standings, folded.watermark_ms, folded.seq)


def _failures(of: Iterable[Definitions]) -> bool:
    return any(definitions.unloaded() for definitions in of)


def means_the_same(before: Definitions, definitions: Definitions) -> bool:
    """Whether the state of one version can be used by another with equal layout (see `carried`)."""
    if before.events != definitions.events or before.settings != definitions.settings:
        return False
    if changed_look_ups(before, definitions) & definitions.look_ups.kept:
        return False
    shared = {id(rule) for rule in before.rules} & {id(rule) for rule in definitions.rules}
    if shared:
        unshared = (
            tuple(rule for rule in version.rules if id(rule) not in shared) for version in (before, definitions)
        )
        old, new = (
            replace(version, rules=rules) for version, rules in zip((before, definitions), unshared, strict=True)
        )
        if _kept_up(old) == _kept_up(new):  # so the versions agree, as their shared rules are identical
            return True
    return _kept_up(before) == _kept_up(definitions)


def _kept_up(definitions: Definitions) -> list[Computed]:
    """Return the values that are computed for each event and kept in state: features, and rules with `since flag`.

    State has nothing else of rules: their aggregates are compared by the layout, and their past hits are in the log.
    Scores and silences are not part of state.
    """
    return [
        replace(part, node=without_silence(part.node)) if part.is_condition else part
        for part in computed_of(definitions)
        if not part.is_score and (part.rule is None or part.looks_since_flag)
    ]


def changed_look_ups(before: Definitions, now: Definitions) -> frozenset[tuple[str, str]]:
    """Return the lists and tables that differ, each as kind and name."""
    both = (
        ("list", before.reference.lists, now.reference.lists),
        ("table", before.reference.tables, now.reference.tables),
    )
    return frozenset(
        (kind, name)
        for kind, old, new in both
        for name in (*old, *new)
        if (was := old.get(name)) is not (after := new.get(name)) and was != after
    )
