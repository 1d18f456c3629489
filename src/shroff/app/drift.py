"""What an opened project says of drift."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import StorageError, UsageError
from shroff.events.event import time_text
from shroff.language.values import parse_duration
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.monitoring.drifting import DriftReport
    from shroff.replay.notebook import Moment


class DriftViews(ABC):
    """What moves in a project, which knows its definitions, models and log. Each call reads the log as it is then."""

    __slots__ = ()

    places: config.Places
    now_ms: Callable[[], int]
    warnings: list[str]

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """The models of the project."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    def drift(
        self,
        event: str | None = None,
        *,
        reference: str = "model",
        recent: str = "7d",
        as_of: Moment | None = None,
        reading: Callable[[int], None] | None = None,
    ) -> DriftReport:
        """How far what the champion reads, its score and the label delay have moved, and keep that for `doctor`.

        Args:
            event: The event type; may be left out where one has a model, in force or in model.yaml.
            reference: `model` for what the champion has learnt from, or the length of the stretch before the recent
                one, such as `90d`.
            recent: The length of what is held against it, up to `as_of`.
            as_of: By default the time of the newest event of the type; labels may be known long after that.

        Raises: UsageError where one of the stretches has no events.
        """
        from shroff.monitoring.drift_record import keep_look
        from shroff.monitoring.drifting import MODEL, look_for_drift
        from shroff.replay.notebook import moment_ms
        from shroff.training.sets.sources import log_source

        definitions = self.definitions
        name = _event_of(definitions, event)
        lengths = (None if reference == MODEL else _length("reference", reference)), _length("recent", recent)
        with self.reading() as log:
            as_of_ms = moment_ms(as_of)
            end_ms = log.watermark_ms() if as_of_ms is None else as_of_ms
            if end_ms is None:
                raise UsageError("the log has no events yet, so nothing can have moved.")
            report = look_for_drift(
                definitions,
                log_source(log, definitions, name),
                name,
                self.registry.read,
                as_of_ms=end_ms,
                to_newest=as_of_ms is None,
                reference_ms=lengths[0],
                recent_ms=lengths[1],
                reading=reading,
            )
        try:
            keep_look(self.places, report, time_text(self.now_ms()))
        except StorageError as error:
            self.warnings.append(f"what was seen is not kept: {error}")
        return report


def _event_of(definitions: Definitions, event: str | None) -> str:
    if event is not None:
        return event
    known = sorted({*definitions.scoring, *definitions.models}) or list(definitions.events.decided)
    if len(known) == 1:
        return known[0]
    raise UsageError(f"name an event type with --as: {', '.join(known)}." if known else "no event type is decided.")


def _length(what: str, text: str) -> int:
    try:
        length_ms = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{what}: {error}.") from None
    if length_ms <= 0:
        raise UsageError(f"{what}: a stretch is longer than nothing.")
    return length_ms
