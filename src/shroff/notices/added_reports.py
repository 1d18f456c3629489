"""Daily reports of plug-ins (`on: report`): their keys in a notice, their figures, and their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.language.keys import Key
from shroff.runtime.entry_points import REPORTS, installed
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from datetime import date

    from shroff.errors import Problem
    from shroff.events.definitions import Settings
    from shroff.language.yaml.text import Mapping as YamlMapping
    from shroff.project.definitions import Definitions


class AddedReport(FrozenStruct):
    """A daily report that a plug-in computes, instead of the report of decisions. Its entry point has the name of its
    text.

    Args:
        keys: Keys of the report in a notice.
        load: Loads the content of these keys; None if a notice has none of them. Appends problems.
        count: Computes the report of a day as JSON, from a `ProjectContext`, the loaded content, a time zone and the
            day. It runs once, when the report is due. A figure that is not available gives the reason instead.
        values: Returns the values for the text, from the JSON, the settings, the language, the time zone and the start
            of the day in ms.
        names: Names of these values with their meanings, for `shroff check` and the reference.
        samples: Values for trying a project's own text.
        package: Package with the texts `templates/NAME.txt.j2` and `templates/NAME.html.j2`.
    """

    keys: tuple[Key, ...]
    load: Callable[[YamlMapping, Definitions, list[Problem]], Any]
    count: Callable[[Any, Any, str, date], bytes]
    values: Callable[[bytes, Settings, str, str, int], JsonObject]
    names: TextMapping
    samples: Sequence[JsonMapping]
    package: str


def added_reports() -> Mapping[str, AddedReport]:
    """Return the daily reports of installed plug-ins, by the names of their texts."""
    return installed(REPORTS)
