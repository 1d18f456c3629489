"""Self-contained pages: one HTML file without other files, network or scripts; light, dark and printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shroff.models.reports.charts import short


@cache
def environment(package: str = __package__) -> Environment:
    """The templates of a package, and those that all pages share. All that they show is escaped."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"short": short, "count": "{:,}".format, "named": lambda name: name.replace("_", " ")}
    return made


def page(package: str, template: str, filters: Mapping[str, Callable[..., str]], /, **shown: Any) -> str:
    """A page by a template of a package, which has these filters."""
    made = environment(package)
    made.filters.update(filters)
    return made.get_template(template).render(shown)


def drawn(chart: str, /, *arguments: Any, **more: Any) -> Markup:
    """A chart, by a macro of the shared templates."""
    found: Markup = getattr(environment().get_template("parts.html").module, chart)(*arguments, **more)
    return found
