"""Prepare a new version beside the active one, and switch to it between two batches.

Its state is what a start with it would fold from the log. So where the swap happens changes
no byte: it is as if the process had been stopped there and started again.
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

NEAR = 4_096  # places that may be left to fold between two batches: 50 ms


def check_inputs_unchanged(before: Definitions, now: Definitions) -> None:
    """Raises: UsageError where events would be read in another way: those on their way were read in the old one.

    A table that is new is read by none of them: a mapping that reads it is another mapping.
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
    """Folds the log under a version, on a thread and a reading log of its own, until it is near the log's end."""

    def __init__(self, definitions: Definitions, opened: Callable[[], Log]) -> None:
        """Begin.

        Args:
            opened: Opens the log to read, beside the writer.
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
        """The state of the new version at the end of the log, no batch being open.

        Raises: DefinitionError where the log has events that it cannot read, as a start with it would.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._folded is not None, "the thread ends with state or with an error"
        return fold(log, self.definitions, start=self._folded)

    def stop(self) -> None:
        """Give up, if it is not done."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with closing(self._opened()) as log:
                check_change(log, self.definitions)
                folded = empty(self.definitions, lateness_of(log, self.definitions))
                while (end := log.last_seq()) - folded.seq > NEAR:
                    # Up to a place that is named: the log grows meanwhile, and hits are read apart from their events.
                    folded = fold(log, self.definitions, end, self._go_on, folded)
                self._folded = folded
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to who asks for the result
            self._error = error

    def _go_on(self, _count: int) -> None:
        if self._stop.is_set():
            raise _UnwantedVersionError


def carried(folded: Folded, definitions: Definitions) -> Folded | None:
    """The same state for another version, without reading the log; None where it would mean something else to it.

    It holds where types, entities, features and all aggregates are the same, and lists and
    tables are the same to what is kept: a change of the policy, of a rule that aggregates
    nothing new, of a list that rules ask about the event being decided, of a model that
    reads what is computed anyhow.

    Args:
        folded: State at the end of the log; of no use once its successor has taken a batch.

    Cost: of the rules that differ, where features, tables and models are the same and rules have the same aggregates;
        else a copy of the state, a second for some hundreds of megabytes.
    """
    before = folded.engine.definitions
    if differs_in_rows(asdict(before.versions), before.files, definitions) and not _failures([before, definitions]):
        folded.engine.take_rows(definitions)
        return folded
    if not means_the_same(before, definitions):
        return None
    if not _failures([before, definitions]) and folded.engine.take_rules(definitions):
        return folded
    engine = Engine(definitions, folded.engine.lateness_ms)  # that of all versions, to which this one adds none
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
        own = (tuple(rule for rule in version.rules if id(rule) not in shared) for version in (before, definitions))
        old, new = (replace(version, rules=rules) for version, rules in zip((before, definitions), own, strict=True))
        if _kept_up(old) == _kept_up(new):  # so with the other rules, which are the same
            return True
    return _kept_up(before) == _kept_up(definitions)


def _kept_up(definitions: Definitions) -> list[Computed]:
    """Values computed for each event and kept in state: features, and rules with `since flag`.

    State has nothing else of rules: their aggregates are compared by the layout, and which hits there were is in the
    log. Nor has it scores, or for whom a rule is silent: what the rule aggregates is the same.
    """
    return [
        replace(part, node=without_silence(part.node)) if part.is_condition else part
        for part in computed_of(definitions)
        if not part.is_score and (part.rule is None or part.looks_since_flag)
    ]


def changed_look_ups(before: Definitions, now: Definitions) -> frozenset[tuple[str, str]]:
    """The lists and tables that differ, each as its kind and name."""
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
