"""Pages from templates: what each of them shows beside its own, and the headers that it is sent with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from jinja2 import ChoiceLoader, Environment, FunctionLoader, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from shroff.errors import ShroffError
from shroff.json_types import JsonMapping, TextDict
from shroff.operations.numbers import name_of
from shroff.people.access import Right, Who
from shroff.people.users import all_users
from shroff.runtime.logs import failure
from shroff.runtime.values import FrozenStruct
from shroff.web.http.messages import Form, Request
from shroff.web.http.routes import GROUPS
from shroff.web.http.static import static
from shroff.web.pages.decision import decision_path, entity_path, experiment_path, rule_path
from shroff.web.pages.words import FILTERS, in_zone, moment

if TYPE_CHECKING:
    from shroff.web.http.problems import ProblemError
    from shroff.web.http.routes import Route
    from shroff.web.service import Service

HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_TIMES = re.compile(
    r"<(pre|code|textarea|script|style|title|option|time)\b.*?</\1>"
    r"|<[^>]*mono\b[^>]*>[^<]*|<[^>]*translate=[^>]*>[^<]*"  # names and ids; as two, as plain letters are found quickly
    r"|<[^>]*>"
    r"|(?<!such as )(?<![\w./:-])(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)(?![\w/-])",
    re.DOTALL | re.ASCII,
)
_IDS = re.compile(r'"/(?:decisions|entities)/[^/"]+/([^/"?#]+)')  # of events and keys, in links
# Line breaks around a tag, unless it stands in a line of text: a browser shows none of them.
_UNSEEN_BREAKS = re.compile(
    r"\n*(</?(?!(?:a|b|br|button|code|del|i|iframe|input|ins|kbd|label|output|pre|progress|select|small|span|svg|"
    r"textarea)\b)[a-z][^>]*>)\n*"
)
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
    """Shared values of every page: the user, navigation, and the log's position. `csrf` goes back with each form.

    `open_cases` stand in the user's queue; None where they see none. `zone` of times is the user's own, else the
    project's, `theme` the user's own; empty for those of the browser. With `is_calibrated` a score is the share of
    frauds among events like it. `organization` is empty
    for the project of the sign-in; `user` is the name that the user signs in by.
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
    """The time zone of the times on somebody's pages: their own, else the project's; empty for the browser's."""
    own = "" if request.signed_in is None else request.signed_in.user.zone
    return own or service.project.context.systems.zone


def days_zone(service: Service, request: Request) -> str:
    """Like `times_zone`, but never empty: days are counted here."""
    return times_zone(service, request) or service.project.context.systems.time_zone


def screens_of(service: Service, who: Who) -> list[Tab]:
    return [tab for tab in tabs(service.routes) if tab.right is not None and who.may(tab.right)]


@cache
def environment() -> Environment:
    """The templates of shroff, and as `PACKAGE:NAME` those in the folder `templates` of another package.

    All that they show is escaped, and what is not there is a mistake.
    """
    made = Environment(
        loader=ChoiceLoader([_Templates("shroff.web.pages"), _OfPackages(_of_package)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    made.globals |= {
        "static": static,
        "name_of": name_of,
        **{path.__name__: path for path in (decision_path, entity_path, experiment_path, rule_path)},
    }
    return made


class _Templates(PackageLoader):
    """Templates of shroff, read without indents and without line breaks that no page shows."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool] | None]:
        source, path, is_current = super().get_source(environment, template)
        return _UNSEEN_BREAKS.sub(r"\1", re.sub(r"\n[ \t]+", "\n", source)), path, is_current


class _OfPackages(FunctionLoader):
    """Templates of other packages, which are read when their pages are shown."""

    def list_templates(self) -> list[str]:
        """None: what is made ready at the start is the templates of shroff."""
        return []


def _of_package(name: str) -> str | None:
    package, _, file = name.partition(":")
    return resources.files(package).joinpath("templates", file).read_text(encoding="utf-8") if file else None


async def open_cases(service: Service, who: Who) -> int | None:
    """How many cases stand in somebody's queue; None where they see none, or the count fails."""
    try:
        return await service.in_thread(service.queue_count.of, who)
    except ShroffError:  # a page of what is wrong is shown all the same
        return None
    except Exception as error:  # noqa: BLE001 - a number in the top bar takes no page down
        service.tell(failure("open cases are not counted", error))
        return None


def open_cases_html(count: int | None) -> str:
    return str(environment().get_template("parts.html").module.open_cases(count))  # type: ignore[attr-defined]  # a macro


async def page(service: Service, request: Request, template: str, status: int = 200, /, **shown: Any) -> Response:
    """A page for somebody who is signed in; with a `mistake` of their form its status is 422, unless another is given.

    Templates have the project's `currency` too, `csrf_field` for each form, the addresses of decisions, entities and
    rules, `may`, which says whether the user has a right, `person`, which returns the display name of a user, and
    `query_params`, which may name what was done just now.
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
    """A page by the path of its route, with values for the templates of its panels."""
    request.told = Form(told)
    (shown,) = (route for route in service.routes if (route.method, route.path) == ("GET", path))
    return await shown.handle(service, request)


async def part(service: Service, request: Request, template: str, /, **shown: Any) -> Response:
    """A part that a script puts into a page of somebody who is signed in: it has no navigation, nor its count."""
    return await service.in_thread(_page, service, request, template, 200, None, shown)


def _page(
    service: Service, request: Request, template: str, status: int, count: int | None, shown: JsonMapping
) -> Response:
    signed_in = request.signed_in
    assert signed_in is not None
    screens = screens_of(service, signed_in.who)
    within = [screen for screen in screens if request.path.startswith((screen.path, *screen.below))]
    here = max(within, key=lambda screen: len(screen.path), default=None)
    place = service.work.seq if service.is_ready and screens else None
    user = signed_in.user
    name = service.options.base.rpartition("/")[2]
    zone = times_zone(service, request)
    is_calibrated = service.project.definitions.is_calibrated
    seen = Seen(
        user.display_name, signed_in.csrf, screens, here, place, count, zone, user.theme, is_calibrated, name, user.name
    )
    currency = service.project.definitions.settings.currency
    csrf_field = Markup('<input type="hidden" name="csrf" value="{}">').format(signed_in.csrf)
    common = {"seen": seen, "csrf_field": csrf_field, "currency": currency, "organizations": None, "told": request.told}
    names: TextDict = {}

    def person(name: str) -> str:
        if not names:
            names.update({user.name: user.display_name for user in all_users(service.desk)})
        return names.get(name, name)

    status = 422 if status == 200 and shown.get("mistake") else status

    def panels(path: str) -> list[str]:
        allowed = (route for route in service.routes if route.right is None or signed_in.who.may(route.right))
        return [route.panel.template for route in allowed if route.panel is not None and route.panel.page == path]

    return alone(
        template,
        status,
        **{**common, "person": person, "may": lambda right: signed_in.who.may(Right(right)), "panels": panels, **shown},
    )


def alone(template: str, status: int = 200, /, **shown: Any) -> Response:
    html = times_marked(environment().get_template(template).render(shown))
    zone = shown["seen"].zone if "seen" in shown else ""
    return HTMLResponse(in_zone(html, zone), status, STANDING)


def times_marked(html: str) -> str:
    """A page whose messages tell times as its other parts do, and not as programs write them.

    What is written for programs stays as it is: code, fields of forms, attributes. So do ids that look like a time.
    """
    ids = {*map(unquote, _IDS.findall(html))}

    def marked(match: re.Match[str]) -> str:
        if (time := match["time"]) and time not in ids:
            with suppress(ValueError):  # no day or time of day
                return str(moment(time))
        return match[0]

    return _TIMES.sub(marked, html)


async def csv_file(service: Service, name: str, lines: Callable[[], Iterable[bytes]]) -> Response:
    """A CSV to keep, whose lines a thread makes."""
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(await service.in_thread(lambda: b"".join(lines())), 200, headers, "text/csv; charset=utf-8")


def see_other(path: str) -> Response:
    """Go on with this page."""
    return RedirectResponse(path, 303, {"content-type": HTML})


def problem_page(service: Service, request: Request, error: ProblemError) -> Response:
    """Error page for somebody who is signed in. It asks for nothing that may fail, such as the count of cases."""
    found = _page(service, request, "problem.html", error.status, None, {"error": error, "path": request.path})
    found.headers.update(error.headers or {})
    return found
