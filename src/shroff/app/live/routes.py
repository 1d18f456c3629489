"""Routes of what leaves: sinks, online features, notices on decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shroff.app.adapter_factory import AdapterFactory
from shroff.app.live.online_views import OnlineFeatures
from shroff.app.notices import NoticeViews
from shroff.project.settings.installed import settings_of
from shroff.project.settings.system import System

if TYPE_CHECKING:
    from shroff.app.opened import Opened
    from shroff.streams.sink import Sink
    from shroff.streams.sink_cursor import SinkRoute


class Routes:
    """The sinks of a project, each with its adapter and the records that it receives."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def all(self) -> list[SinkRoute]:
        """Routes to the sinks of shroff.yaml. No outside system is contacted.

        Raises: UsageError where the settings of a sink contradict each other, or a variable is not set.
        """
        from shroff.streams.sink_cursor import SinkRoute

        found = []
        for name, system in self._opened.systems.sinks.items():
            outside = _UNSAID.sub("-", f"{self._opened.definitions.settings.name}-{name}")

            def opened(outside: str = outside, system: System = system) -> Sink:
                return AdapterFactory(self._opened).open_sink(outside, system)

            opened().close()  # so that what can never be is told before anything runs
            is_called = settings_of("sink", system.kind).is_called
            from_now = system.starts_now
            outcomes = frozenset(system.options.get("outcomes", ()))
            by = outside, system, self._opened.systems.http if is_called else None
            found.append(SinkRoute(name, opened, system.text("take", "decisions"), outcomes, from_now, by))
        online = OnlineFeatures(self._opened).route()
        return [*found, *([] if online is None else [online]), *NoticeViews(self._opened).routes()]


_UNSAID: Final = re.compile(r"[^A-Za-z0-9_-]+")  # in a project's name, of names outside
