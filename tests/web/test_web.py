"""Who may ask for what, before anything else is looked at; and what routes answer."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from docs.made_metrics import collectors_of_page, shown_name
from shroff.adapters.log.sqlite import SqliteLog
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import StorageError
from shroff.log.batch_classifier import BatchClassifier
from shroff.log.writer import Writer
from shroff.operations.pagination import BadQueryError
from shroff.people.access import RIGHTS, Role
from shroff.people.store import TOKEN_LENGTH
from shroff.web.http.asgi import is_open
from shroff.web.http.routes import OPEN_BELOW
from shroff.web.service import Limits, Service
from shroff.web.table import PAGES, ROUTES
from shroff.worker import request_loop
from shroff.worker.request_bodies import RequestReader
from shroff.worker.serving.counts import SECONDS
from tests.support.webs import Answered, Asker, asker

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = TEMPLATE_FOLDER / "payments"
PAYMENT = {
    "payment_id": "p-1",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-000042",
    "merchant": "m-00007",
    "terminal": "t-00019",
    "amount": "24.90",
    "country": "DE",
    "channel": "pos",
}
LABEL = {"event": "payment/p-1", "verdict": "fraud", "source": "analyst", "known_at": "2026-02-01T00:00:00Z"}
Steps = Callable[[Asker], Awaitable[None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_loop, "PATIENCE_S", 120.0)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def run(folder: Path, steps: Steps, limits: Limits | None = None) -> None:
    async def whole() -> None:
        async with asker(folder, limits) as asks:
            await steps(asks)

    asyncio.run(whole())


def payment(number: int, **fields: object) -> dict[str, object]:
    return {**PAYMENT, "payment_id": f"p-{number}", "paid_at": f"2026-01-05T08:{number % 60:02d}:00Z", **fields}


# ---- who may


def filled(path: str) -> str:
    return path.replace("{event}", "payment").replace("{", "").replace("}", "")


@pytest.mark.slow
def test_every_route_refuses_by_default(bank):
    async def steps(asks: Asker) -> None:
        for route in ROUTES:
            path = filled(route.path)
            if route.right is None:
                assert (await asks.ask(route.method, path, key="")).status not in {401, 403}, route.path
                continue
            for key in ("", "no-such-key"):
                nobody = await asks.ask(route.method, path, b"\xff not even JSON", key=key, media_type="text/x-what")
                assert nobody.status == 401, route.path
                assert nobody.headers["www-authenticate"].startswith("Bearer")
            for role in Role:
                found = await asks.ask(route.method, path, b"{", key=role.value)
                if route.right.value != "provision:users" or route.right not in RIGHTS[role]:  # a key of that alone
                    assert (found.status == 403) == (route.right not in RIGHTS[role]), (route.path, role)
                assert found.status != 401
            assert (await asks.ask(route.method, path, b"{", key="nothing")).status == 403

    run(bank, steps)


STRANGE = """
/nothing /api/v1/events /api/v1/events/payment /api/v2/x /metrics /healthy /apidocs //health/live /./health/live
/api/v1/%2e%2e/health/live /%68ealth%2Flive /%ff
"""


def test_a_browser_without_a_session_signs_in_where_nothing_is_and_comes_back_unless_it_was_the_first_run(bank):
    async def steps(asks: Asker) -> None:
        for path, login in (("/first/a-link", "/login"), ("/nothing", "/login?back=%2Fnothing")):
            found = await asks.ask("GET", path, key="", headers={"accept": "text/html"})
            assert (found.status, found.headers["location"]) == (303, login)

    run(bank, steps)


@pytest.mark.parametrize("path", [*STRANGE.split(), "/x" * 5_000])
def test_without_a_key_no_address_says_anything(bank, path):
    async def steps(asks: Asker) -> None:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"):
            found = await asks.ask(method, path, key="")
            assert found.status == 401, (method, path)
            assert b"payment" not in found.body

    run(bank, steps)


def test_a_host_that_is_none_is_refused_where_an_address_is_made_of_it(bank):
    async def steps(asks: Asker) -> None:
        head = {"host": "[x", "sec-fetch-site": "same-origin"}
        found = await asks.ask(
            "POST", "/login/passkey", b"back=/", key="", media_type="application/x-www-form-urlencoded", headers=head
        )
        assert (found.status, b"Host" in found.body) == (400, True)

    run(bank, steps)


def test_only_what_is_named_is_open_to_anybody():
    assert OPEN_BELOW == ["health", "login", "confirm", "hooks", "static", "api/openapi.json", "api/docs"]
    for route in (*ROUTES, *PAGES):
        is_own_account = route.path == "/" or f"{route.path}/".startswith("/me/")
        assert (route.right is None) == (is_open(route.path) or is_own_account), route.path


LOOKS = {"read:cases", "read:decisions", "read:definitions"}
TAKES = """
approve:rules POST /rules/{rule}/draft/approve /team/auto-close/{rule}
edit:lists POST /lists /lists/{list} /lists/{list}/approve /lists/{list}/back /lists/{list}/csv /lists/{list}/out
edit:lists POST /tables/{table}
edit:rules POST /changes /laws/{law}/test /rules /rules/{rule}/back /rules/{rule}/draft
edit:rules POST /rules/{rule}/draft/activate /rules/{rule}/draft/drop /rules/{rule}/draft/shadow
edit:rules POST /suggestions/shadow /tables
manage:keys GET /settings/keys
manage:keys POST /settings/keys /settings/keys/{id}
manage:users GET /settings/users
manage:users POST /settings/sessions/{id} /settings/users /settings/users/{name}
mend:input POST /checks/quarantine /sources/confirm
promote:models POST /models/{id}
read:audit GET /settings /settings/audit
read:audit POST /settings/audit
read:cases POST /queue/views /queue/views/drop
read:definitions POST /approvals/{etag}
read:metrics GET /checks /sources
read:metrics POST /checks
run:backtests POST /backtests /jobs/{id}/cancel
run:jobs POST /drift /jobs /jobs/schedules /jobs/{id}/again /suggestions
send:notices GET /mails /mails/kept/{name} /mails/kept/{name}/html /mails/letters
send:notices GET /mails/notices /mails/notices/{name} /mails/notices/{name}/html
send:notices POST /mails/letters/{id}/retry /mails/notices/{name}/test
set:thresholds POST /experiments /experiments/undo /thresholds
work:cases POST /cases/{id}/approve-silence /cases/{id}/assign /cases/{id}/check /cases/{id}/claim /cases/{id}/decide
work:cases POST /cases/{id}/end-silence /cases/{id}/escalate /cases/{id}/macro /cases/{id}/move /cases/{id}/note
work:cases POST /cases/{id}/release /cases/{id}/reopen /cases/{id}/silence /cases/{id}/snooze /cases/{id}/tags
work:cases POST /decisions/{event}/{id}/answer /decisions/{event}/{id}/tell /queue/bulk /queue/claim-next /queue/undo
write:labels POST /labels/file /labels/file/record
"""


def test_each_page_takes_the_right_of_what_it_does():
    """All but those that show what every role may look at. Of the API, docs/reference/api.md tells the rights."""
    told = [line.split() for line in TAKES.strip().splitlines()]
    wanted = {(method, path): right for right, method, *paths in told for path in paths}
    found = {(page.method, page.path): page.right.value for page in PAGES if page.right is not None}

    assert {asked: right for asked, right in found.items() if asked[0] != "GET" or right not in LOOKS} == wanted
    of_cases = {path for (method, path), right in found.items() if method == "GET" and right == "read:cases"}
    assert of_cases == {"/cases/{id}", "/queue", "/queue/peek/{id}", "/queue/stream", "/queue/why/{id}", "/team"}


def test_a_session_changes_something_only_with_the_token_of_its_page(bank):
    class Session:
        who = None

        def is_own(self, csrf: str) -> bool:
            return csrf == "mine"

    async def steps(asks: Asker) -> None:
        session = Session()
        session.who = asks.service.gate.known["admin"]
        token = TOKEN_LENGTH * "t"
        asks.service.gate.sessions[token] = session
        cookie = {"cookie": f"shroff_session={token}"}

        assert (await asks.ask("GET", "/metrics", key="", headers=cookie)).status == 200
        assert (await asks.ask("POST", "/api/v1/events/payment", PAYMENT, key="", headers=cookie)).status == 403
        with_token = {**cookie, "x-csrf-token": "mine"}
        assert (await asks.ask("POST", "/api/v1/events/payment", PAYMENT, key="", headers=with_token)).status == 200
        for other in (TOKEN_LENGTH * "u", "u", 60_000 * "u"):
            unknown = {"cookie": f"shroff_session={other}"}
            assert (await asks.ask("GET", "/metrics", key="", headers=unknown)).status == 401
        assert asks.service.gate.asked == [token, token, token, TOKEN_LENGTH * "u"]

    run(bank, steps)


def test_of_one_address_one_session_is_looked_up_at_a_time_and_another_one_does_not_wait(bank):
    async def steps(asks: Asker) -> None:
        looks, begun, asked = threading.Event(), threading.Semaphore(0), list[str]()

        def signed_in(token: str, *, is_use: bool = True, device: str = "") -> None:
            asked.append(token[0])
            begun.release()
            assert looks.wait(120)

        def ask(token: str, address: str) -> asyncio.Task[Answered]:
            cookie = {"cookie": f"shroff_session={TOKEN_LENGTH * token}"}
            return asyncio.create_task(asks.ask("GET", "/metrics", key="", headers=cookie, address=address))

        asks.service.gate.signed_in = signed_in
        tasks = [ask(*item) for item in [("a", "10.0.0.1")] * 6 + [("b", "10.0.0.2")]]
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=120)
        looks.set()

        assert asked[:2] == ["a", "b"]
        assert {found.status for found in await asyncio.gather(*tasks)} == {401}

    run(bank, steps)


# ---- events


@pytest.mark.slow
def test_events_are_decided_once_and_answered_the_same_again(bank):
    async def steps(asks: Asker) -> None:
        first = await asks.ask("POST", "/api/v1/events/payment", PAYMENT)
        again = await asks.ask("POST", "/api/v1/events/payment", PAYMENT)

        assert first.status == 200
        assert first.json()["outcome"] == "approve"
        assert first.headers["server-timing"].startswith("total;dur=")
        assert again.body == first.body

        other = await asks.ask("POST", "/api/v1/events/payment", {**PAYMENT, "amount": "1.00"})

        assert other.status == 409
        assert other.headers["content-type"] == "application/problem+json"
        assert other.json()["status"] == 409

        mistaken = await asks.ask("POST", "/api/v1/events/payment", {**PAYMENT, "amount": "x", "colour": "red"})

        assert mistaken.status == 422
        assert [error["path"] for error in mistaken.json()["errors"]] == ["amount", "colour"]

        late = await asks.ask("POST", "/api/v1/events/payment", payment(9, paid_at="2020-01-05T08:30:00Z"))

        assert late.status == 422
        assert [error["path"] for error in late.json()["errors"]] == ["paid_at"]

        assert (await asks.ask("POST", "/api/v1/events/paiment", PAYMENT)).status == 404
        assert (await asks.ask("POST", "/api/v1/events/payment", PAYMENT, media_type="text/csv")).status == 415
        assert (await asks.ask("POST", "/api/v1/events/payment", b" " * 2_000_000)).status == 413

    run(bank, steps)


@pytest.mark.slow
def test_a_list_is_answered_place_by_place(bank):
    many = [payment(1), {"amount": 1}, payment(2), payment(1), payment(1, amount="7.00")]

    async def steps(asks: Asker) -> None:
        found = await asks.ask("POST", "/api/v1/events/payment", many)
        kinds = [row.get("outcome") or row["status"] for row in found.json()]

        assert found.status == 200
        assert kinds == ["approve", 422, "approve", "approve", 409]

        lines = b"\n".join(map(msgspec.json.encode, many))
        same = await asks.ask("POST", "/api/v1/events/payment", lines, media_type="application/x-ndjson")

        assert [msgspec.json.decode(line) for line in same.body.splitlines()] == found.json()
        assert (await asks.ask("POST", "/api/v1/events/payment", [])).json() == []
        assert (await asks.ask("POST", "/api/v1/events/payment", b"[{]")).status == 422

    run(bank, steps)


async def foreseeing(asks: Asker) -> None:
    for number in range(6):
        await asks.ask("POST", "/api/v1/events/payment", payment(number))
    events = [payment(10, amount="1.00"), payment(11, amount="2.00"), {"amount": 7}]
    foreseen = (await asks.ask("POST", "/api/v1/score/payment", events)).json()
    again = (await asks.ask("POST", "/api/v1/score/payment", events)).json()
    known = await asks.ask("POST", "/api/v1/score/payment", payment(3))

    assert foreseen == again
    assert [item.get("seq") for item in foreseen] == [None, None, None]
    assert foreseen[2]["status"] == 422
    assert known.json()["id"] == "p-3"

    decided = (await asks.ask("POST", "/api/v1/events/payment", events[1])).json()

    assert decided == {**foreseen[1], "seq": decided["seq"], "as_of_seq": foreseen[1]["as_of_seq"]}
    assert (await asks.ask("GET", "/api/v1/decisions/payment/p-10")).status == 404
    assert (await asks.ask("POST", "/api/v1/score/payment", [PAYMENT] * 101)).status == 413


@pytest.mark.slow
def test_what_would_be_decided_is_what_is_decided_then_and_writes_nothing(bank):
    #  in a process of its own, as a service is: copies of one in which others have grown trees cannot use its threads
    text = "from pathlib import Path; from tests.web import test_web as t; t.run(Path({!r}), t.foreseeing)"
    done = subprocess.run([sys.executable, "-c", text.format(str(bank))], cwd=ROOT, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_decisions_are_read_explained_and_replayed(bank):
    strange = payment(1, payment_id="a/b ü?")

    async def steps(asks: Asker) -> None:
        posted = await asks.ask("POST", "/api/v1/events/payment?explain=1", strange)
        path = "/api/v1/decisions/payment/a%2Fb%20%C3%BC%3F"
        read = await asks.ask("GET", path)

        assert read.json() == {name: value for name, value in posted.json().items() if name != "explanation"}
        assert (await asks.ask("GET", f"{path}/explain")).json() == posted.json()
        assert (await asks.ask("GET", f"{path}/replay")).json()["match"] is True
        assert (await asks.ask("HEAD", path)).body == b""
        assert (await asks.ask("GET", "/api/v1/decisions/payment/none")).status == 404
        assert (await asks.ask("GET", "/api/v1/decisions/nothing/p-1")).status == 404
        assert (await asks.ask("DELETE", path)).headers["allow"] == "GET, HEAD"

    run(bank, steps)


def test_a_query_that_is_refused_has_taken_nothing(bank):
    body, lines = msgspec.json.encode(payment(1)), "application/x-ndjson"
    path = "/api/v1/events/payment"

    async def steps(asks: Asker) -> None:
        refused = [
            await asks.ask("POST", f"{path}?explain=1", [payment(1)]),
            await asks.ask("POST", f"{path}?explain=1", body, media_type=lines),
            await asks.ask("POST", f"{path}?explain=yes", body),
            await asks.ask("POST", f"{path}?x=%ff", body),
            await asks.ask("POST", "/api/v1/labels?x=%ff", LABEL),
        ]

        assert [(found.status, found.json()["type"]) for found in refused] == [(400, "bad-query")] * 5
        assert (await asks.ask("GET", "/api/v1/decisions/payment/p-1")).status == 404
        assert b'became="appended",kind="event"} 1' not in (await asks.ask("GET", "/metrics")).body

    run(bank, steps)


def test_each_route_of_the_api_refuses_an_unknown_or_doubled_name_in_its_query(bank):
    async def steps(asks: Asker) -> None:
        routes = [route for route in asks.service.routes if route.path.startswith("/api/v1")]
        assert len(routes) > 100
        for route in routes:
            found = await asks.ask(route.method, f"{re.sub('{.*?}', 'x', route.path)}?nonsense=1", b"{}")
            assert (found.status, found.json()["type"]) == (400, "bad-query"), (route, found)
            for name in route.told.query:
                with pytest.raises(BadQueryError, match=f"Did you mean {name}"):
                    route.check_query([f"{name}s"])
            route.check_query([*route.told.query, "_", "_cache", "_"])
            for name in route.told.query:
                with pytest.raises(BadQueryError, match="give it once"):
                    route.check_query([name, "_", name])
        late = (await asks.ask("GET", "/api/v1/disputes?due_within=soon")).json()["detail"]
        assert late.startswith("due_within: "), late
        assert (await asks.ask("GET", "/api/v1/flags?entity=card", key="")).status == 401
        doubled = await asks.ask("GET", "/api/v1/flags?entity=card&entity=merchant&key=ct")
        assert (doubled.status, doubled.json()["detail"]) == (400, "entity is there twice; give it once.")

    run(bank, steps)


def test_explain_1_means_the_same_wherever_a_decision_is_answered(bank):
    path = "/api/v1/events/payment?explain=1"

    async def steps(asks: Asker) -> None:
        late = await asks.ask("POST", path, payment(1), headers={"shroff-answered": "review"})
        told = await asks.ask("GET", "/api/v1/decisions/payment/p-1/explain")

        assert "explanation" in told.json()
        assert late.json() == told.json()
        assert (await asks.ask("POST", path, payment(1))).json() == told.json()
        assert (await asks.ask("GET", "/api/v1/decisions/payment/p-1?explain=1")).json() == told.json()
        assert (await asks.ask("POST", "/api/v1/score/payment?explain=1", payment(2))).status == 400

    run(bank, steps)


@pytest.mark.slow
def test_labels_join_their_events(bank):
    async def steps(asks: Asker) -> None:
        waits = await asks.ask("POST", "/api/v1/labels", LABEL)
        await asks.ask("POST", "/api/v1/events/payment", PAYMENT)
        again = await asks.ask("POST", "/api/v1/labels", [LABEL, {**LABEL, "verdict": "maybe"}])

        assert waits.json()["state"] == "pending"
        assert again.json()[0]["state"] == "duplicate"
        assert again.json()[1]["status"] == 422
        assert again.json()[1]["errors"][0]["path"] == "verdict"

    run(bank, steps)


# ---- too much, and what fails


@pytest.mark.slow
def test_overload_is_answered_at_once_and_nothing_of_it_is_written(bank, monkeypatch):
    append, goes_on = SqliteLog.append, threading.Event()

    def slow(self, batch):
        assert not batch.decisions or goes_on.wait(120)
        append(self, batch)

    async def steps(asks: Asker) -> None:
        monkeypatch.setattr(SqliteLog, "append", slow)
        posts = [asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", payment(n))) for n in range(40)]
        for post in islice(asyncio.as_completed(posts), 20):
            assert (await post).status == 503  # nothing is decided yet
        goes_on.set()
        found = [await post for post in posts]
        turned_away = [item for item in found if item.status == 503]

        assert 20 <= len(turned_away) < 40
        assert {item.headers["retry-after"] for item in turned_away} == {"1"}
        for number, answer in enumerate(found):
            read = await asks.ask("GET", f"/api/v1/decisions/payment/p-{number}")
            assert read.status == (200 if answer.status == 200 else 404)

        assert (await asks.ask("POST", "/api/v1/events/payment", payment(50))).status == 200

    run(bank, steps, Limits(waiting_max=10, age_s_max=120.0))


@pytest.mark.slow
def test_too_many_scores_are_turned_away_by_429(bank):
    async def steps(asks: Asker) -> None:
        found = await asyncio.gather(*[asks.ask("POST", "/api/v1/score/payment", payment(n)) for n in range(20)])

        assert {item.status for item in found} == {200, 429}
        assert {item.headers["retry-after"] for item in found if item.status == 429} == {"1"}
        assert (await asks.ask("GET", "/api/v1/decisions/payment/p-0")).status == 404

    run(bank, steps, Limits(scores_waiting_max=1, age_s_max=120.0))


@pytest.mark.slow
def test_a_key_that_sends_too_much_is_told_to_wait(bank):
    async def steps(asks: Asker) -> None:
        now_s = time.monotonic()
        asks.service.pace._clock_s = lambda: now_s  # a slow machine is no slow sender
        found = [(await asks.ask("POST", "/api/v1/events/payment", payment(n), key="service")) for n in range(4)]

        assert [item.status for item in found] == [200, 200, 429, 429]
        assert int(found[2].headers["retry-after"]) >= 1
        assert (await asks.ask("POST", "/api/v1/events/payment", payment(9), key="admin")).status == 200

    run(bank, steps, Limits(rate=1.0, age_s_max=120.0))


@pytest.mark.slow
def test_a_commit_that_fails_is_done_again_and_then_answered(bank, monkeypatch):
    append = SqliteLog.append
    failures = []

    def fails_once(self, batch):
        if batch.decisions and len(failures) < 2:
            failures.append(len(batch.decisions))
            raise StorageError("the disk is full")
        append(self, batch)

    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", payment(0))
        monkeypatch.setattr(SqliteLog, "append", fails_once)
        posts = [asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", payment(n))) for n in range(1, 6)]
        found = [await post for post in posts]

        assert len(failures) == 2
        assert [item.status for item in found] == [200] * 5
        assert sorted(item.json()["seq"] for item in found) == list(range(3, 8))

    run(bank, steps)


@pytest.mark.slow
def test_the_one_event_that_the_program_fails_at_is_found_and_the_others_go_on(bank, monkeypatch):
    take = BatchClassifier._event

    def fails(self, submission, event):
        if event.id == "p-17":
            raise ZeroDivisionError("a mistake of the program")
        return take(self, submission, event)

    async def steps(asks: Asker) -> None:
        monkeypatch.setattr(BatchClassifier, "_event", fails)
        posts = [asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", payment(n))) for n in range(30)]
        found = [await post for post in posts]

        assert [number for number, answer in enumerate(found) if answer.status != 200] == [17]
        assert "ZeroDivisionError" in found[17].json()["detail"]
        assert any("is quarantined" in words for words in asks.told)

    run(bank, steps)


@pytest.mark.slow
def test_what_was_given_up_waiting_for_is_decided_all_the_same(bank):
    async def steps(asks: Asker) -> None:
        given_up = asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", payment(1)))
        await asyncio.sleep(0)
        given_up.cancel()
        await asks.ask("POST", "/api/v1/events/payment", payment(2))

        assert (await asks.ask("GET", "/api/v1/decisions/payment/p-1")).status == 200

    run(bank, steps)


# ---- operating


def test_health_and_metrics_say_how_it_is(bank):
    async def steps(asks: Asker) -> None:
        await asks.ask("POST", "/api/v1/events/payment", PAYMENT)
        await asks.ask("POST", "/api/v1/events/payment", {"amount": 1})
        text = (await asks.ask("GET", "/metrics", key="service")).body.decode()

        assert (await asks.ask("GET", "/health/live", key="")).json() == {"live": True}
        assert (await asks.ask("GET", "/health/ready", key="")).json() == {"ready": True, "state": "leading"}
        assert 'shroff_decisions_total{outcome="approve"} 1.0\n' in text
        assert 'shroff_taken_total{became="quarantined",kind="event"} 1.0\n' in text
        assert 'shroff_http_requests_total{method="POST",route="/api/v1/events/{event}",status="422"} 1.0\n' in text
        assert "shroff_log_place 2.0\n" in text
        assert "# TYPE shroff_http_requests_total counter\n" in text
        timed = re.findall(r'_seconds_bucket\{le="(.*)",route="/api/v1/events/\{event\}"\} (.*)\n', text)
        assert [bound for bound, _ in timed] == [*map(str, SECONDS), "+Inf"]
        assert timed[-1][1] == "2.0"
        families = [item for group in collectors_of_page()[:4] for made in group for item in made.collect()]
        assert set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE)) == {shown_name(family) for family in families}
        assert 'shroff_decided_amount_total{event="payment",outcome="approve"} ' in text
        assert "shroff_unreconciled_events 0.0\n" in text

        label = {"event": "payment/p-1", "verdict": "fraud", "source": "analyst", "known_at": "2026-02-01T08:30:00Z"}
        assert (await asks.ask("POST", "/api/v1/labels", label)).status == 200
        for _ in range(12_000):  # until the thread of the log has counted what it has answered
            text = (await asks.ask("GET", "/metrics", key="service")).body.decode()
            if "shroff_log_place 3.0\n" in text:
                break
            await asyncio.sleep(0.01)
        assert 'shroff_taken_total{became="appended",kind="label"} 1.0\n' in text
        assert "shroff_log_place 3.0\n" in text

    run(bank, steps)


def test_a_service_that_is_not_ready_says_so_in_a_problem_document(bank):
    async def steps(asks: Asker) -> None:
        asks.service.writer.queue.pause("this service restores its state")
        found = await asks.ask("GET", "/health/ready", key="")

        assert found.status == 503
        assert found.headers["content-type"] == "application/problem+json"
        assert found.headers["retry-after"] == "1"
        assert {name: found.json()[name] for name in ("type", "status", "ready", "state")} == {
            "type": "not-ready",
            "status": 503,
            "ready": False,
            "state": "leading",
        }

    run(bank, steps)


def test_it_is_not_ready_before_it_takes_posts(bank, monkeypatch):
    begun = Service._begun

    def slowly(service: Service, writer: Writer) -> RequestReader:
        time.sleep(0.5)  # it leads the log already
        return begun(service, writer)

    async def steps(asks: Asker) -> None:
        assert (await asks.ask("POST", "/api/v1/events/payment", PAYMENT)).status == 200

    monkeypatch.setattr(Service, "_begun", slowly)

    run(bank, steps)
