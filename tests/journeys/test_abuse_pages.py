"""Pages and sessions that somebody means to misuse, at a real service: scripts in what is shown, forged tokens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import httpx2
import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.people import links, users
from shroff.people.access import Role
from shroff.services import project as app
from shroff.web.http.authentication import COOKIE
from shroff.web.table import PAGES, ROUTES
from tests.support.effort import IS_LONG
from tests.support.served import ME, NO_TLS, Served, served
from tools.browser import browser as chromium

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PASSWORD = "correct horse battery"
RULE = """
- id: any_payment
  on: payment
  by: card
  when: this.amount > 0
  reason: "{this.merchant} {this.terminal} {this.card}"
  effect: review
"""
EVIL = (
    "<script>evil()</script>",
    "\"><evil x='y'>",
    "'><evil>",
    '" onmouseover="evil()" x="',
    "' autofocus onfocus='evil()",
    "<img src=x onerror=evil()>",
    "</title></textarea></style></script><evil>",
    "<!--<evil>-->",
    "javascript:evil()",
    "{{ 7001 * 7001 }}${7001 * 7001}{% raw %}",
    "&lt;evil&gt;&#60;evil&#62;",
    "\u202e<svg/onload=evil()>",
)
MINE = re.compile(r"/(static/[0-9a-f]+/[\w.-]+)?$|/static/")


@dataclass
class Page(HTMLParser):
    """What a browser would find on a page: what is dangerous there, and the text."""

    markup: str
    dangerous: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"evil", "iframe", "object", "embed", "base", "style"}:
            self.dangerous.append(tag)
        if tag == "script" and not MINE.match(given.get("src", "")):
            self.dangerous.append(f"script {given}")
        if tag in {"img", "link"} and not MINE.match(given.get("src", given.get("href", ""))):
            self.dangerous.append(f"{tag} {given}")
        self.dangerous += [f"{tag} {name}" for name in given if name.startswith("on") or name in {"style", "srcdoc"}]
        for name in ("href", "src", "action", "formaction"):
            if given.get(name, "/").partition(":")[0].strip().lower() in {"javascript", "data", "vbscript"}:
                self.dangerous.append(f"{tag} {name}={given[name]}")
        self.text += "".join(given.values())

    def handle_comment(self, data: str) -> None:
        self.dangerous.append(f"comment {data}")  # no page of ours has one

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(answer: httpx2.Response) -> Page:
    """The page, in which nothing of what others wrote is more than text."""
    found = Page(answer.text)
    policy = answer.headers["content-security-policy"]
    own = {"style"} if answer.headers.get("content-disposition", "").startswith("attachment") else set()

    assert set(found.dangerous) - own == set()  # a document to keep brings its style along
    assert str(7001 * 7001) not in answer.text
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    return found


def evil_payment(number: int, text: str) -> dict[str, str]:
    return {
        "payment_id": f"p{number} {text}",
        "paid_at": f"2026-01-05T08:{number:02d}:00Z",
        "card": f"card {text}",
        "merchant": f"merchant {text}",
        "terminal": f"terminal {text}",
        "device": f"device {text}",
        "amount": "24.90",
        "country": text[:20],
        "channel": "web",
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service, whose log is full of scripts."""
    folder = shutil.copytree(TEMPLATE, tmp_path_factory.mktemp("pages") / "bank")
    (folder / "rules" / "any.yaml").write_text(RULE, encoding="utf-8")
    with app.open_exactly(folder).people.open() as desk:
        for name, role in (("ann", Role.ADMIN), ("vic", Role.VIEWER), ("eve", Role.VIEWER)):
            users.add(desk, ME, name, role, display_name=f"{name} <evil>", password=PASSWORD)
    with served(folder) as found:
        with found.client() as client:
            for number, text in enumerate(EVIL):
                payment = evil_payment(number, text)
                assert client.post("/api/v1/events/payment", json=payment).status_code == 200
                stage = {"event": f"payment/{payment['payment_id']}", "stage": "dispute", "reason": text}
                stage |= {"known_at": "2026-01-06T08:00:00Z", "network": text[:20], "dispute": text}
                answer = client.post("/api/v1/disputes", json={"disputes": [stage]})
                assert answer.status_code == 200, answer.text
            still_open = evil_payment(len(EVIL), "last")  # a dispute answers the others' cases
            assert client.post("/api/v1/events/payment", json=still_open).status_code == 200
        yield found


@contextmanager
def browser(service: Served, name: str = "") -> Iterator[httpx2.Client]:
    """A browser; that of somebody who signed in, where there is a name."""
    headers = {"accept": "text/html", "origin": service.url}
    with httpx2.Client(base_url=service.url, headers=headers, timeout=120, verify=NO_TLS) as found:
        if name:
            answer = found.post("/login", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
        yield found


def filled(path: str, values: Mapping[str, str], otherwise: str) -> str:
    """An address whose names in braces are these values, or another text."""
    return re.sub(r"{(\w+)}", lambda found: quote(values.get(found[1], otherwise), safe=""), path)


def csrf_of(client: httpx2.Client) -> str:
    found = re.search(r'name="csrf" content="([0-9a-f]+)"', client.get("/me").text)
    assert found is not None
    return found[1]


# ---- what is shown

STREAMS = [route.path for route in PAGES if route.path.endswith("/stream")]  # which go on as long as somebody listens
LOOKED_AT = [
    route.path
    for route in PAGES
    if route.method == "GET" and route.path not in STREAMS and not route.path.startswith("/static")
]


@pytest.fixture(scope="module")
def of_ann(service: Served) -> Iterator[httpx2.Client]:
    """The browser of an admin, for tests that only look."""
    with browser(service, "ann") as client:
        yield client


@pytest.mark.parametrize("path", LOOKED_AT)
def test_what_others_wrote_is_text_on_every_page(of_ann, path):
    texts = EVIL if "{" in path or IS_LONG else EVIL[:1]  # a page without a name in its address is the same for each
    for number, text in enumerate(texts):
        payment = evil_payment(number, text)
        for entity in ("card", "merchant", "device") if "{entity}" in path else ("",):
            id_ = payment["payment_id"] if "{event}" in path else str(number + 1)  # of a decision, or of a case
            values = {"event": "payment", "id": id_, "entity": entity, "key": payment.get(entity, "")}
            answer = of_ann.get(filled(path, values, text))

            assert answer.status_code < 500, answer.text
            if answer.headers.get("content-type", "").startswith("text/html"):
                page = harmless(answer)
                if "{event}" in path:
                    assert answer.status_code == 200
                    assert payment["merchant"] in page.text
                    assert payment["card"] in page.text or path.endswith("/pack")  # which names no card
                if "{key}" in path:
                    assert answer.status_code == 200
                    assert values["key"] in page.text


@pytest.mark.parametrize("path", STREAMS)
def test_what_others_wrote_is_text_in_every_part_that_is_streamed(service, path):
    with browser(service, "ann") as client, client.stream("GET", f"{path}?period=7d") as answer:
        assert answer.status_code == 200
        told = next(line for line in answer.iter_lines() if line.startswith("data: "))

    parts = msgspec.json.decode(told.removeprefix("data: "))
    assert parts
    texts = [part for part in parts.values() if not isinstance(part, int)]  # a number says nothing of anybody
    is_of_others = any("merchant" in html or "payment" in html for html in texts)
    assert is_of_others == path.startswith("/live")  # the queue is told of numbers alone
    assert [found for html in texts for found in Page(html).dangerous] == []


def test_a_browser_runs_nothing_of_what_others_wrote(service):
    told: list[str] = []
    with browser(service, "ann") as client:
        token = client.cookies[COOKIE]
    with chromium() as found:
        page = found.new_page()
        page.add_init_script("window.evil = () => { window.ran = true }")
        page.on("dialog", lambda message: told.append(message.message))
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda message: told.append(str(message)))
        page.context.add_cookies([{"name": COOKIE, "value": token, "url": service.url}])
        for number, text in enumerate(EVIL):
            payment = evil_payment(number, text)
            paths = (
                f"/decisions/payment/{quote(payment['payment_id'], safe='')}",
                f"/entities/card/{quote(payment['card'], safe='')}",
            )
            for path in ("/decisions", *paths):
                page.goto(service.url + path)
                page.mouse.move(300, 300)

                assert page.url.startswith(service.url + path.split("/", 2)[0] + "/" + path.split("/")[1])
                assert page.evaluate("window.ran") is None
                assert page.locator("evil").count() == 0

    assert told == []


@pytest.mark.parametrize("text", [item for item in EVIL if "7001" not in item and "&lt;" not in item])
def test_a_page_that_showed_it_as_it_is_would_be_seen(text):
    pages = (f"<p>{text}</p>", f'<a title="{text}">x</a>', f"<a title='{text}'>x</a>", f"<a href='{text}'>x</a>")

    assert [page for page in pages if Page(page).dangerous]
    assert Page(f"<p title='x'>{escape(text)}</p><a href='/x' title='{escape(text)}'>x</a>").dangerous == []


ASKED = ("/find?q={}", "/decisions?outcome={}", "/decisions?event={}", "/decisions?cursor={}", "/login?back={}", "/{}")


@pytest.mark.parametrize("path", [*ASKED, "/entities/{}/c-1", "/decisions/{}/p-1", "/login/link/{}", "/me?{}=1"])
def test_what_was_asked_for_comes_back_as_text(service, path):
    for name in ("ann", ""):
        with browser(service, name) as client:
            for text in EVIL:
                answer = client.get(path.format(quote(text, safe="")))

                assert answer.status_code < 500
                assert "evil()" not in answer.headers.get("location", "").replace(quote(text, safe=""), "")
                if answer.headers.get("content-type", "").startswith("text/html"):
                    harmless(answer)


def test_no_answer_of_the_api_is_read_as_a_page(service):
    with service.client() as client:
        for number, text in enumerate(EVIL):
            id_ = quote(evil_payment(number, text)["payment_id"], safe="")
            answer = client.get(f"/api/v1/decisions/payment/{id_}/explain", headers={"accept": "text/html"})

            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")


# ---- who sends it

WRITING = [(item.method, item.path) for item in (*ROUTES, *PAGES) if item.right is not None and item.method != "GET"]


TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded")


def test_a_session_writes_nothing_without_the_token_of_its_own_page(service):
    with browser(service, "ann") as client, browser(service, "vic") as other:
        token = csrf_of(other)
        forged = (
            {},
            {"x-csrf-token": "0" * 64},
            {"x-csrf-token": token},
            {"origin": "https://evil.example", "referer": f"{service.url}/me"},
        )
        all_ways = [(headers, media_type) for headers in forged for media_type in TYPES]
        few_ways = all_ways[2::4]  # without a token, with somebody else's, and from another host
        for number, (method, path) in enumerate(WRITING):
            at = filled(path, {"event": "payment"}, "x")
            for headers, media_type in all_ways if IS_LONG or number % 16 == 0 else few_ways:
                answer = client.request(
                    method, at, content=b"csrf=%b" % token.encode(), headers={**headers, "content-type": media_type}
                )

                assert answer.status_code == 403, (method, path, headers, media_type)
                assert "X-CSRF-Token" in answer.text if path.startswith("/scim/") else "no-csrf" in answer.text


def test_signing_in_and_out_takes_a_form_of_this_service(service):
    form = {"name": "ann", "password": PASSWORD}
    with browser(service) as client:
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert client.post("/login", data=form, headers=headers).status_code == 403
        assert client.cookies.get(COOKIE) is None
    with browser(service, "ann") as client:
        assert client.post("/login/out", data={"csrf": "0" * 64}).status_code == 403
        assert client.get("/me").status_code == 200


def test_a_session_that_was_planted_is_never_that_of_who_signs_in(service):
    with browser(service) as client:
        client.cookies.set(COOKIE, "planted-by-somebody")
        answer = client.post("/login", data={"name": "ann", "password": PASSWORD})
        first = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        assert first != "planted-by-somebody"
        assert re.search(r"; HttpOnly; SameSite=(Lax|Strict)", answer.headers["set-cookie"])
    for token in (
        "planted-by-somebody",
        first[:-1],
        first[:-1] + ("0" if first[-1] != "0" else "1"),
        first.upper(),
        "",
    ):
        assert seen_as(service, token) == 303
    assert seen_as(service, first) == 200


def test_a_session_that_ended_does_not_come_back(service):
    with browser(service, "vic") as client:
        token = client.cookies[COOKIE]
        assert client.post("/login/out", data={"csrf": csrf_of(client)}).headers["location"] == "/login"

    assert seen_as(service, token) == 303


def test_a_session_opens_by_its_cookie_and_by_nothing_else(service):
    with browser(service, "vic") as client:
        token = client.cookies[COOKIE]
    with browser(service) as nobody:
        for headers in (
            {"authorization": f"Bearer {token}"},
            {"x-session": token},
            {"authorization": f"Basic {token}"},
        ):
            assert nobody.get("/api/v1/models", headers=headers).status_code == 401
        assert nobody.get(f"/me?{COOKIE}={token}").status_code == 303


def seen_as(service: Served, token: str) -> int:
    """The status that a page has for a browser with this session."""
    with browser(service) as client:
        return client.get("/me", headers={"cookie": f"{COOKIE}={token}"}).status_code


# ---- keys and links


def test_a_key_that_was_altered_opens_nothing_and_is_not_repeated(service):
    head, secret = service.key[:-64], service.key[-64:]
    other = ("0" if secret[0] != "0" else "1") + secret[1:]
    for key in (head + other, head + secret[:-1], head, service.key + "0", service.key.upper(), f"{service.key}\u00e4"):
        with service.client("") as client:
            answer = client.get("/api/v1/models", headers={"authorization": f"Bearer {key}".encode()})

        assert answer.status_code == 401
        assert key not in answer.text
        assert secret[:8] not in answer.text


def test_a_link_is_used_once_by_whoever_has_all_of_it_and_gives_no_more_than_it_says(service):
    with app.open_exactly(service.folder).people.open() as desk:
        path = links.for_password(desk, ME, "eve")
    form = {
        "password": PASSWORD,
        "again": PASSWORD,
        "role": "admin",
        "name": "ann",
        "user": "1",
        "is_disabled": "false",
    }
    altered = path[:-1] + ("0" if path[-1] != "0" else "1")
    with browser(service) as client:
        assert client.get(path).status_code == client.get(path).status_code == 200  # scanners of mail open it
        assert client.post(altered, data=form).status_code == 404
        assert client.post(f"{path}%20", data=form).status_code == 404
        used = client.post(path, data=form)
        again = client.post(path, data=form)
        mine = client.get("/me").text

    assert used.status_code == 303
    assert again.status_code == 404
    assert "This link does not work" in again.text
    assert "eve &lt;evil&gt;" in mine
    with app.open_exactly(service.folder).people.open() as desk:
        assert {user.name: user.role for user in users.all_users(desk)} == {
            "ann": Role.ADMIN,
            "vic": Role.VIEWER,
            "eve": Role.VIEWER,
        }


def test_fields_that_a_form_does_not_have_give_nobody_a_right(service):
    form = {"name": "vic", "password": PASSWORD, "role": "admin", "rights": "manage:users", "user": "1"}
    with browser(service) as client:
        assert client.post("/login", content=urlencode(form), headers={"content-type": FORM}).status_code == 303
        answer = client.post(
            "/api/v1/labels",
            json={"event": "payment/x", "verdict": "fraud", "source": "analyst"},
            headers={"x-csrf-token": csrf_of(client), "x-role": "admin", "x-forwarded-user": "ann"},
        )

    assert answer.status_code == 403
    assert "no-csrf" not in answer.text


FORM = "application/x-www-form-urlencoded"
