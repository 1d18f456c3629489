"""Switch to a new version without a restart: prepare its state in parallel, and take it over between two batches.

The worker calls it after `shroff apply`. The state equals the one that a restart with the version would fold from the
log, so the position of the switch changes no decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """Raise UsageError if the new version reads input differently: events in transit were read by the old one.

    A new table is fine, because a mapping that reads it would itself be a change.
    """
    settings = replace(now.settings, lateness_ms=before.settings.lateness_ms)
    old_tables = before.events.tables.keys()
    tables = {name: table for name, table in now.events.tables.items() if name in old_tables}
    keys = {name: key for name, key in now.events.table_keys.items() if name in old_tables}
    if before.events != replace(now.events, tables=tables, table_keys=keys) or before.settings != settings:
        raise UsageError(
            "events.yaml, shroff.yaml or a table that a mapping reads was changed since the process that writes the "
            "log was started, and it reads its input as they were then. Start it again: the project's files become "
            "active then"
        )


class _UnwantedVersionError(Exception):
    """The prepared version is no longer wanted."""


class Adoption:
    """Folds the log under a new version on a thread of its own, until few records remain.

    Args:
        open_log: Opens a second connection to the log, for the thread.
    """

    def __init__(self, definitions: Definitions, open_log: Callable[[], Log]) -> None:
        self.definitions = definitions
        self._open_log = open_log
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
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._open_log()) as log:
                check_change(log, self.definitions)
                folded = empty(self.definitions, lateness_of(log, self.definitions))
                end = log.last_seq()
                while end - folded.seq > NEAR:
                    # Up to a fixed sequence number: the log grows meanwhile, and hits are read separately from their
                    # events.
                    folded = fold(log, self.definitions, end, self._check_stop, folded)
                    end = log.last_seq()
                self._folded = folded
        except Exception as error:  # noqa: BLE001 - raised by `finish`
            self._error = error

    def _check_stop(self, _count: int) -> None:
        if self._stop.is_set():
            raise _UnwantedVersionError


def carried(folded: Folded, definitions: Definitions) -> Folded | None:
    """Return the state for another version without reading the log; None if that is impossible.

    Possible if event types, entities, features, all aggregates, and the lists and tables that state depends on are
    equal. So the policy, rules without new aggregates, lists that rules look up only for the event being decided, and
    models that read only values computed anyway may change.

    Args:
        folded: State at the end of the log; unusable once its successor has taken a batch.

    Cost: that of the changed rules, if features, tables and models are equal and rules have the same aggregates; else a
        copy of the state, a second for some hundreds of megabytes.
    """
    before = folded.engine.definitions
    if differs_in_rows(asdict(before.versions), before.files, definitions) and not _have_unloaded(before, definitions):
        folded.engine.take_rows(definitions)
        return folded
    if not means_the_same(before, definitions):
        return None
    if not _have_unloaded(before, definitions) and folded.engine.take_rules(definitions):
        return folded
    engine = Engine(definitions, folded.engine.lateness_ms)  # the greatest of all versions, including this one
    if engine.online.layout() != folded.engine.online.layout():
        return None
    engine.online.restore(folded.engine.online.state())
    engine.let_through = LetThrough(folded.engine.let_through.days.items())
    records = Records(definitions.events, definitions.settings.money_places)
    return Folded(engine, records, folded.control, folded.standings, folded.watermark_ms, folded.seq)


def _have_unloaded(*versions: Definitions) -> bool:
    return any(version.unloaded() for version in versions)


def means_the_same(before: Definitions, definitions: Definitions) -> bool:
    """Whether the state of one version can be used by another with equal layout (see `carried`)."""
    if before.events != definitions.events or before.settings != definitions.settings:
        return False
    if changed_look_ups(before, definitions) & definitions.look_ups.kept:
        return False
    shared = {id(rule) for rule in before.rules} & {id(rule) for rule in definitions.rules}
    if shared:  # comparing the other rules alone is faster, and enough: the shared ones are identical
        old = replace(before, rules=tuple(rule for rule in before.rules if id(rule) not in shared))
        new = replace(definitions, rules=tuple(rule for rule in definitions.rules if id(rule) not in shared))
        if _kept_in_state(old) == _kept_in_state(new):
            return True
    return _kept_in_state(before) == _kept_in_state(definitions)


def _kept_in_state(definitions: Definitions) -> list[Computed]:
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

    def changed(kind: str, old: Mapping[str, object], new: Mapping[str, object]) -> set[tuple[str, str]]:
        names = [
            name for name in (*old, *new) if old.get(name) is not new.get(name)
        ]  # identity is faster than equality
        return {(kind, name) for name in names if old.get(name) != new.get(name)}

    lists = changed("list", before.reference.lists, now.reference.lists)
    return frozenset(lists | changed("table", before.reference.tables, now.reference.tables))
