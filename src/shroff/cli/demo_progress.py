"""Progress of the demo on standard error: live on a terminal, a line each second on a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shroff.examples.demo import Tally

LINE_EVERY_S: Final = 1.0
BAR_WIDTH: Final = 40
OUTCOME_STYLES: Final = {"approve": "green", "challenge": "cyan", "review": "yellow", "decline": "red"}


class DemoProgress(Protocol):
    """Tells how far the demo is."""

    def phase(self, words: str, events: int = 0) -> None:
        """Say what is being done; where payments are decided, of how many."""

    def decided(self, tally: Tally) -> None:
        """Say how far the stream is; cheap enough for every batch."""


@contextmanager
def shown_progress() -> Iterator[DemoProgress]:
    """Progress on standard error, as it suits what that is connected to."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield LineProgress(console.file.write)
        return
    # Transient: the summary takes its place.
    with Live(console=console, transient=True, refresh_per_second=10) as live:
        yield LiveProgress(live)


class DemoPace:
    """Payments a second since the first payment was waited for."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def of(self, count: int) -> float:
        return count / max(time.monotonic() - self._started, 0.001)


class LineProgress:
    """One plain line for each phase, and one a second while payments are decided."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._events, self._write = 0, write
        self._said = ""
        self._pace = DemoPace()
        self._last = time.monotonic()

    def phase(self, words: str, events: int = 0) -> None:
        self._events = events
        if words != self._said:
            self._write(f"{words}\n")
        self._said = words
        self._pace = DemoPace()
        self._last = time.monotonic()

    def decided(self, tally: Tally) -> None:
        if time.monotonic() - self._last < LINE_EVERY_S:
            return
        self._last = time.monotonic()
        counts = tally.by_outcome
        self._write(
            f"{tally.decisions:,} of {self._events:,} payments, {self._pace.of(tally.decisions):,.0f} a second: "
            f"{counts['decline']:,} declined, {counts['review']:,} to review, {counts['challenge']:,} challenged, "
            f"{tally.frauds.caught.payments:,} of {tally.frauds.payments:,} frauds caught\n"
        )


class LiveProgress:
    """A few lines that renew themselves."""

    def __init__(self, live: Live) -> None:
        self._events, self._live = 0, live
        self._words = ""
        self._pace = DemoPace()

    def phase(self, words: str, events: int = 0) -> None:
        self._events, self._words = events, words
        self._pace = DemoPace()
        self._live.update(Spinner("dots", Text(f" {words}")))

    def decided(self, tally: Tally) -> None:
        self._live.update(self._lines(tally))

    def _lines(self, tally: Tally) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=self._events, completed=tally.decisions, width=BAR_WIDTH),
            f"{tally.decisions:,} of {self._events:,}",
            Text(f"{self._pace.of(tally.decisions):,.0f} a second", style="bold"),
        )
        counts = tally.by_outcome
        outcomes = Text()
        for outcome, words in (("decline", "declined"), ("review", "to review"), ("challenge", "challenged")):
            outcomes.append(f"{counts[outcome]:,} {words}   ", style=OUTCOME_STYLES[outcome])
        outcomes.append(f"{tally.frauds.caught.payments:,} of {tally.frauds.payments:,} frauds caught", style="bold")
        return Group(Text(self._words, style="dim"), head, outcomes)
