"""Daily reports of plug-ins (`on: report`): their keys of a notice, what they count, and their texts."""

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
    """A daily report that a plug-in counts, in place of the report of decisions. Its entry point is named as its text.

    Args:
        keys: Its keys of a notice.
        load: The content of its keys, None where a notice has none of them; adds mistakes to the problems.
        count: The report of a `ProjectContext`, of this content, in a zone, of a day, as JSON; it is counted once, when
            it is due. What cannot be had says why.
        values: What the text is given: of the JSON, the settings, the language, the zone and the day's start in ms.
        names: The names of these values with their meanings, for `shroff check` and the reference.
        samples: Values to try a project's own text with.
        package: Its texts are `templates/NAME.txt.j2` and `templates/NAME.html.j2` of this package.
    """

    keys: tuple[Key, ...]
    load: Callable[[YamlMapping, Definitions, list[Problem]], Any]
    count: Callable[[Any, Any, str, date], bytes]
    values: Callable[[bytes, Settings, str, str, int], JsonObject]
    names: TextMapping
    samples: Sequence[JsonMapping]
    package: str


def added_reports() -> Mapping[str, AddedReport]:
    """The daily reports of installed plug-ins, by the names of their texts."""
    return installed(REPORTS)
