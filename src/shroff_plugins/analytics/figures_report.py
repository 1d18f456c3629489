"""The daily report of figures and funnels: its keys in a notice, and its names in texts of mails."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import Problem, nearest
from shroff.json_types import JsonObject
from shroff.plugins.loader import YamlMapping, YamlSequence
from shroff.plugins.reports import AddedReport
from shroff.plugins.settings import NAME, Many, mapping_shape
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.funnel_file import FILE
from shroff_plugins.analytics.report_keys import FIGURES, Figure, load_figures

if TYPE_CHECKING:
    from shroff.plugins.events import Settings
    from shroff.plugins.project import Definitions, ProjectContext


class _ReportFigures:
    """Figures and funnels of a report.

    figures: The figures of a report, in the order of the mail; they replace the counts of decisions.
        Example: { savers: { distinct: user, event: saving } }
    funnels: Funnels of funnels.yaml for the report. It shows the drop-off of each step beside the mean of the three
        previous days.
        Example: [onboarding]
    """

    figures = FIGURES
    funnels = Many("funnels", NAME)


KEYS = mapping_shape(_ReportFigures).keys
NAMES = {
    "day": "The day, such as `5 January`.",
    "span": "The days of the charts, such as `30 December to 5 January`.",
    "note": "A note if the newest event is before the end of the day; otherwise empty.",
    "figures": "Each figure: `name`, `label`, `value`, `is_there` (whether it is available), `why` (it is not; "
    "said once for equal reasons), `marks` (a line of bars), and `bars`, each with `percent`.",
    "funnels": "Each funnel: `name`, `why`, `note`, and `steps`, each with `step`, `count`, `mean`, `change`, "
    "`percent`, `mean_percent` and `marks` (lengths of bars).",
}


class ReportContent(FrozenStruct):
    """Figures and funnels of a notice."""

    figures: Mapping[str, Figure]
    funnels: tuple[str, ...]


def _load(tree: YamlMapping, definitions: Definitions, problems: list[Problem]) -> ReportContent | None:
    """Load the keys of a report; in a version, which has no funnels.yaml, names of funnels are not checked."""
    figures = load_figures(tree.get("figures"), definitions, problems)
    listed = tree.get("funnels")
    names = [getattr(item, "text", "") for item in listed.items] if isinstance(listed, YamlSequence) else []
    if (funnels := definitions.added.get("funnels")) is not None:
        for name in names:
            if name not in funnels:
                hint = nearest(name, funnels) or f"There is {', '.join(funnels) or 'none'}."
                tree.report(problems, f"there is no funnel {name!r} in {FILE}.", hint)
    return ReportContent(figures, tuple(dict.fromkeys(names))) if figures or names else None


def _count(context: ProjectContext, content: ReportContent, zone: str, day: date) -> bytes:
    from shroff_plugins.analytics.report_figures import count_report

    return to_json(count_report(context, content, zone, day))


def _values(report_bytes: bytes, settings: Settings, language: str, zone: str, start_ms: int) -> JsonObject:
    from shroff_plugins.analytics.report_text import CountedReport, counted_values

    return counted_values(from_json(report_bytes, type=CountedReport), settings, language, zone, start_ms)


def _sample(*, is_there: bool) -> JsonObject:
    reason = "" if is_there else "the lake does not answer"
    figure = {"name": "users", "label": "Users", "value": "12", "is_there": is_there, "why": reason}
    step = {"step": "opened", "count": "9", "mean": "7.3", "change": "+23 %", "marks": "####"}
    steps = [{**step, "percent": 100, "mean_percent": 81}]
    bars = [{"percent": percent} for percent in (25, 60, 100)] * is_there
    return {
        "figures": [{**figure, "marks": "▂▅█" * is_there, "bars": bars}],
        "funnels": [{"name": "onboarding", "why": reason, "note": "", "steps": steps * is_there}],
        "note": "" if is_there else "sample",
    }


FIGURES_REPORT = AddedReport(
    KEYS, _load, _count, _values, NAMES, [_sample(is_there=True), _sample(is_there=False)], "shroff_plugins.analytics"
)
