"""Render pages from templates, with the values that all pages share and the headers that protect them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from jinja2 import ChoiceLoader, Environment, FunctionLoader, StrictUndefined, nodes
from jinja2.runtime import Macro
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shroff.errors import ShroffError
from shroff.json_types import JsonMapping, TextDict
from shroff.operations.numbers import name_of
from shroff.people.access import Right, Who
from shroff.people.users import all_users
from shroff.runtime.logs import failure
from shroff.runtime.template_layout import LayoutLoader, closed, without_layout
from shroff.runtime.values import FrozenStruct
from shroff.web.http.messages import Form, Request
from shroff.web.http.routes import GROUPS
from shroff.web.http.static import static
from shroff.web.pages.charts.windows import FeatureTexts
from shroff.web.pages.decision import decision_path, entity_path, experiment_path, rule_path
from shroff.web.pages.words import FILTERS, KINDS, in_zone, moment

if TYPE_CHECKING:
    from shroff.web.http.problems import ProblemError
    from shroff.web.http.routes import Route
    from shroff.web.service import Service

HTML = "text/html; charset=utf-8"
ELEMENTS = ("table_parts.html", "parts.html", "case_parts.html", "rule_parts.html")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_TIMES = re.compile(
    r"<(pre|code|textarea|script|style|title|option|time)\b.*?</\1>"
    r"|<[^>]*mono\b[^>]*>[^<]*|<[^>]*translate=[^>]*>[^<]*"  # names and ids; two branches are faster than one
    r"|<[^>]*>"
    r"|(?<!such as )(?<![\w./:-])(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)(?![\w/-])",
    re.DOTALL | re.ASCII,
)
_IDS = re.compile(r'"/(?:decisions|entities)/[^/"]+/([^/"?#]+)')  # ids of events and keys in links
_POSTS = re.compile(r'<form\b[^>]*\bmethod="post"[^>]*>')
STANDING = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # under no-referrer browsers send forms with 'Origin: null'
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Tab(NamedTuple):
    """A screen below the top bar, with its group's key and name."""

    group: tuple[int, str]
    at: int
    name: str
    path: str
    right: Right | None
    below: tuple[str, ...]


class Seen(FrozenStruct):
    """Values that all pages share: user, navigation, and the log's position. Each form sends `csrf` back.

    `open_cases` counts the user's queue; None for a user without one. `zone` and `theme` are empty for those of the
    browser. With `is_calibrated` a score is the share of frauds among similar events. `organization` is empty for the
    home project; `user` is the name with which the user signs in.
    """

    who: str
    csrf: str
    screens: Sequence[Tab]
    screen: Tab | None
    place: int | None
    open_cases: int | None
    zone: str
    theme: str
    is_calibrated: bool
    organization: str
    user: str = ""


def tabs(routes: Iterable[Route]) -> list[Tab]:
    return sorted(
        Tab((GROUPS.index(s.group) + 1, s.group), s.at, s.name, route.path, route.right, s.below)
        for route in routes
        if (s := route.screen) is not None
    )


def times_zone(service: Service, request: Request) -> str:
    """Return the user's time zone, else the project's; empty for the browser's."""
    user_zone = "" if request.signed_in is None else request.signed_in.user.zone
    return user_zone or service.project.context.systems.zone


def days_zone(service: Service, request: Request) -> str:
    """Like `times_zone`, but never empty, since the server counts days."""
    return times_zone(service, request) or service.project.context.systems.time_zone


def screens_of(service: Service, who: Who) -> list[Tab]:
    return [tab for tab in tabs(service.routes) if tab.right is not None and who.may(tab.right)]


@cache
def environment() -> Environment:
    """Return the environment of shroff's templates, and of those of other packages, named `PACKAGE:NAME`.

    Values are escaped, and an undefined value is an error. Macros of `ELEMENTS` need no import: they read as elements
    of a page.
    """
    result = _Environment(
        loader=ChoiceLoader([_Templates("shroff.web.pages"), _OfPackages(_of_package)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a package's files stay as they are; looking for changes takes 4 µs a template and page
    )
    result.filters.update(FILTERS)
    result.globals |= {
        "static": static,
        "name_of": name_of,
        **{path.__name__: path for path in (decision_path, entity_path, experiment_path, rule_path)},
        **KINDS,
    }
    for elements in ELEMENTS:
        module = result.get_template(elements).module
        result.globals |= {name: macro for name, macro in vars(module).items() if isinstance(macro, Macro)}
    return result


class _Environment(Environment):
    """Jinja, where an `if` in an expression without an `else` is an empty text: an undefined value is slow to show."""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        template = super()._parse(source, name, filename)
        for choice in template.find_all(nodes.CondExpr):
            choice.expr2 = choice.expr2 or nodes.Const("", lineno=choice.lineno)
        return template


class _Templates(LayoutLoader):
    """Templates of shroff's pages, which are sent without indents and line breaks."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool] | None]:
        source, path, is_current = super().get_source(environment, template)
        return without_layout(source), path, is_current


class _OfPackages(FunctionLoader):
    """Loader of other packages' templates, which are read only when a page needs them."""

    def list_templates(self) -> list[str]:
        """Return no names, since only shroff's own templates are loaded in advance."""
        return []


LAYOUT = "{# layout #}\n"  # the first line of a plug-in's template in which indentation ends elements


def _of_package(name: str) -> str | None:
    """Return the template of a plug-in. It is plain Jinja unless its first line says that indentation ends elements."""
    package, _, file = name.partition(":")
    if not file:
        return None
    source = resources.files(package).joinpath("templates", file).read_text(encoding="utf-8")
    return without_layout(closed(source, name) if source.startswith(LAYOUT) else source)


async def open_cases(service: Service, who: Who) -> int | None:
    """Return the number of cases in a user's queue; None if they have no queue or the count fails."""
    try:
        return await service.in_thread(service.queue_count.of, who)
    except ShroffError:
        return None
    except Exception as error:  # noqa: BLE001 - pages are shown without the number
        service.tell(failure("open cases are not counted", error))
        return None


def open_cases_html(count: int | None) -> str:
    return str(environment().get_template("parts.html").module.open_cases(count))  # type: ignore[attr-defined]  # a macro


async def page(service: Service, request: Request, template: str, status: int = 200, /, **shown: Any) -> Response:
    """Render a page for a signed-in user. With a nonempty `mistake` the status 200 becomes 422.

    Templates also have `currency`, `titles` of features, `query_params`, `may` (whether the
    user has a right), `person` (the display name of a user), and functions for the addresses of decisions,
    entities and rules.
    """
    assert request.signed_in is not None
    who = request.signed_in.who
    served = service.options.organizations
    if served is not None:
        shown = {"organizations": await service.in_thread(served.of, who.name), **shown}
    count = await open_cases(service, who)
    shown = {"query_params": request.query_params, **shown}
    return await service.in_thread(_page, service, request, template, status, count, shown)


async def with_panel(service: Service, request: Request, path: str, /, **told: str) -> Response:
    """Render the page with this path of a route, with `told` for the templates of its panels."""
    request.told = Form(told)
    (page_route,) = (route for route in service.routes if (route.method, route.path) == ("GET", path))
    return await page_route.handle(service, request)


async def part(service: Service, request: Request, template: str, /, **shown: Any) -> Response:
    """Render a part that a script inserts into a page; it has no navigation, and cases are not counted."""
    return await service.in_thread(_page, service, request, template, 200, None, shown)


def _page(
    service: Service, request: Request, template: str, status: int, count: int | None, shown: JsonMapping
) -> Response:
    signed_in = request.signed_in
    assert signed_in is not None
    screens = screens_of(service, signed_in.who)
    matching = [screen for screen in screens if request.path.startswith((screen.path, *screen.below))]
    current = max(matching, key=lambda screen: len(screen.path), default=None)
    seq = service.work.seq if service.is_ready and screens else None
    user = signed_in.user
    name = service.options.base.rpartition("/")[2]
    zone = times_zone(service, request)
    is_calibrated = service.project.definitions.is_calibrated
    seen = Seen(
        user.display_name,
        signed_in.csrf,
        screens,
        current,
        seq,
        count,
        zone,
        user.theme,
        is_calibrated,
        name,
        user.name,
    )
    currency = service.project.definitions.settings.currency
    common = {"seen": seen, "currency": currency, "organizations": None, "told": request.told}
    common["titles"] = FeatureTexts(service.project.definitions)
    names: TextDict = {}

    def person(name: str) -> str:
        if not names:
            names.update({user.name: user.display_name for user in all_users(service.desk)})
        return names.get(name, name)

    status = 422 if status == 200 and shown.get("mistake") else status

    def panels(path: str) -> list[str]:
        return [
            route.panel.template
            for route in service.routes
            if route.panel is not None and route.panel.page == path
            if route.right is None or signed_in.who.may(route.right)
        ]

    return alone(
        template,
        status,
        **{**common, "person": person, "may": lambda right: signed_in.who.may(Right(right)), "panels": panels, **shown},
    )


def alone(template: str, status: int = 200, /, **shown: Any) -> Response:
    html = times_marked(environment().get_template(template).render(shown))
    if "seen" in shown:
        html = in_zone(with_csrf(html, shown["seen"].csrf), shown["seen"].zone)
    return HTMLResponse(html, status, STANDING)


def with_csrf(html: str, token: str) -> str:
    """Add the token of the session to each form that posts, so that no template can forget it."""
    field = str(Markup('<input type="hidden" name="csrf" value="{}">').format(token))
    return _POSTS.sub(lambda form: form[0] + field, html)


def times_marked(html: str) -> str:
    """Format RFC 3339 times in a page's texts for people.

    Code, form fields and attributes stay unchanged, and so do ids that look like a time.
    """
    ids = {*map(unquote, _IDS.findall(html))}

    def format_time(match: re.Match[str]) -> str:
        time = match["time"]
        if time and time not in ids:
            with suppress(ValueError):  # not a valid time
                return str(moment(time))
        return match[0]

    return _TIMES.sub(format_time, html)


async def csv_file(service: Service, name: str, lines: Callable[[], Iterable[bytes]]) -> Response:
    """Return a CSV download. A thread produces the lines."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(await service.in_thread(lambda: b"".join(lines())), 200, headers, "text/csv; charset=utf-8")


def see_other(path: str) -> Response:
    """Redirect to a page, as after a form."""
    return RedirectResponse(path, 303, {"content-type": HTML})


def problem_page(service: Service, request: Request, error: ProblemError) -> Response:
    """Render an error page for a signed-in user. It reads nothing that may fail, such as the count of cases."""
    response = _page(service, request, "problem.html", error.status, None, {"error": error, "path": request.path})
    response.headers.update(error.headers or {})
    return response
