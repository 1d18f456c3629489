"""The funnels of an opened project: read from funnels.yaml at each question, counted over log and lake."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.analytics.funnels import FunnelQuestion
from shroff.errors import DefinitionError, Problem, UsageError, nearest
from shroff.language.values import day_at
from shroff.language.yaml import text as yamltext
from shroff.project.funnels import FILE, load_funnels

if TYPE_CHECKING:
    from shroff.app.opened import Opened
    from shroff.project.funnels import Funnel

EXAMPLE: Final = "onboarding: { user: customer, steps: [signed_up, payment] }"
DAYS: Final = 3  # up to yesterday, where nobody names any


def funnels_of(opened: Opened) -> dict[str, Funnel]:
    """The funnels of the project's file as it is now; none where there is no file.

    Raises: DefinitionError with every mistake of the file.
    """
    problems: list[Problem] = []
    text = config.read_files(opened.places.folder, problems, (FILE,)).get(FILE)
    definitions = opened.definitions
    names = definitions.events.names(frozenset(definitions.reference.lists), definitions.settings.money_places)
    node = None if text is None else yamltext.read(text, FILE, problems)
    found = load_funnels(node, definitions.events, names, problems)
    if problems:
        raise DefinitionError(problems)
    return found


def questions_of(
    opened: Opened, name: str | None, first: date | None, last: date | None, zone: str, split: str | None
) -> list[FunnelQuestion]:
    """The questions for one funnel, or for all of them; the three days up to yesterday where none are named.

    Raises: UsageError where there is none of this name, or none at all; DefinitionError for a mistake in the file.
    """
    funnels = funnels_of(opened)
    if not funnels:
        raise UsageError(f"this project has no funnels. Declare one in {FILE}: {EXAMPLE}")
    if name is not None and name not in funnels:
        raise UsageError(f"there is no funnel {name!r}. {nearest(name, funnels) or 'There is ' + ', '.join(funnels)}.")
    zone = zone or opened.systems.time_zone
    today = day_at(opened.now_ms(), zone)
    end = today - timedelta(1) if last is None else last
    begin = end - timedelta(DAYS - 1) if first is None else first
    asked = funnels.values() if name is None else [funnels[name]]
    return [FunnelQuestion(one, begin, end, zone, split) for one in asked]
