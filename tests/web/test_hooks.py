"""Pushed sources at `/hooks/NAME`: signed messages are decided once each, all others leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from shroff import webhooks
from shroff.cli.main import run as command
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import TransientError, UsageError
from shroff.people.store import AuditFilter
from shroff.services import project as app
from shroff.services.sources import pushed as webhook_sources
from shroff.streams.log import Refused
from shroff.web.api import hooks
from shroff.web.http import messages
from shroff.web.pages.sources import _reasons
from shroff_plugins.connectors.sns_certificates import Certificates
from tests.support.log_memory_parts import quarantined
from tests.support.webs import Answered, Asker, Browser, asker, run
from tests.support.wire import Spoken, connected
from tools.sns import CERTIFICATE, CONFIRM, NOW_MS, TOPIC, certificate, posted

LATER = "2026-03-01T12:00:01.000Z"  # than the messages of `posted`
SOURCES = f"""
sources:
  topic:
    sns: {{ topics: ["{TOPIC}"], subscribe: ask }}
    events: [saving, withdrawal]
  eager:
    sns: {{ topics: ["{TOPIC}"], subscribe: auto }}
    events: [saving]
    others: quarantine
  partner:
    webhook: {{ secrets: [s3cret] }}
    events: [withdrawal]
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE_FOLDER / "savings", tmp_path / "bank")
    with (tmp_path / "bank/shroff.yaml").open("a") as file:
        file.write(SOURCES)
    return tmp_path / "bank"


class Outside:
    """What is at the addresses that a source fetches, and which were."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.there: dict[str, bytes | Exception] = {CERTIFICATE: certificate(), CONFIRM: b"<ok/>"}

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        found = self.there[url]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    found = Outside()
    monkeypatch.setattr(webhook_sources, "fetching", lambda _options: found.fetch)
    return found


def served(bank: Path, steps: Callable[[Asker], Awaitable[None]], now_ms: Callable[[], int] = lambda: NOW_MS) -> None:
    async def whole() -> None:
        async with asker(bank, now_ms=now_ms) as asks:
            await steps(asks)

    asyncio.run(whole())


async def post(asks: Asker, name: str, body: bytes, headers: dict[str, str] | None = None) -> Answered:
    kind = "text/plain; charset=UTF-8"
    return await asks.ask("POST", f"/hooks/{name}", body, key="", media_type=kind, headers=headers)


def saving(amount: str = "2500::HUNDREDTH_CENT::ZAR", **more: Any) -> str:
    """The app's message; its context is JSON in a text, as some publishers send it."""
    context = json.dumps({"accountId": "a-1", "savedAmount": amount})
    found = {"userId": "u-1", "eventType": "SAVING_PAYMENT_SUCCESSFUL", "timestamp": NOW_MS - 1_000, "context": context}
    return json.dumps(found | more)


def stored(bank: Path) -> list[tuple[str, str]]:
    with app.open(bank).log.reading() as log:
        return [(record.type, record.id) for records in log.read(0) for record in records if record.kind == "event"]


def refused(bank: Path) -> list[tuple[str, str]]:
    with app.open(bank).log.reading() as log:
        return [(entry.source, entry.place) for _, entry in quarantined(log)]


def confirmations(bank: Path) -> list[tuple[str, str, str]]:
    """The subscriptions that somebody confirmed, by the audit log."""
    with app.open(bank).people.open() as desk, desk.store.look() as look:
        rows = look.record(AuditFilter(action="source.confirm"))
    return [(row.via, row.subject, json.loads(row.after)["topic"]) for row in rows]


def test_a_signed_message_is_decided_once_under_its_own_id(bank, outside):
    async def steps(asks: Asker) -> None:
        decided = asks.service.writer.decided

        async def saved_meanwhile(*given: Any) -> Any:
            answers = await decided(*given)
            await asyncio.to_thread(asks.service.pushed.save)  # before the answers are counted
            return answers

        asks.service.writer.decided = saved_meanwhile
        first = await post(asks, "topic", posted(Message=saving()))
        assert (first.status, first.json()["state"], first.json()["id"]) == (200, "appended", "m-1")
        for version in "12":  # SNS sends it again, and somebody replays it
            again = await post(asks, "topic", posted(Message=saving(), SignatureVersion=version))
            assert (again.status, again.json()["state"]) == (200, "duplicate")
        decision = (await asks.ask("GET", "/api/v1/decisions/saving/m-1")).json()
        assert decision["outcome"] == "approve"
        other = await post(asks, "topic", posted(Message=saving(), MessageId="m-2"))
        assert other.json()["state"] == "appended"  # the same content under another id is another event

    served(bank, steps)
    assert stored(bank) == [("saving", "m-1"), ("saving", "m-2")]
    assert outside.fetched == [CERTIFICATE]
    counts = app.open(bank).pushed.all()[0][1]
    assert (counts.appended, counts.duplicates, counts.event_ms) == (2, 2, NOW_MS - 1_000)


def test_messages_of_other_types_are_counted_and_skipped_or_kept_as_set(bank, outside):
    async def steps(asks: Asker) -> None:
        login = saving(eventType="USER_LOGGED_IN")
        assert (await post(asks, "topic", posted(Message=login))).json() == {"state": "skipped"}
        assert (await post(asks, "eager", posted(Message=login))).json() == {"state": "quarantined"}
        withdrawn = saving(eventType="WITHDRAWAL_EVENT_CONFIRMED")  # which `eager` does not bring
        assert (await post(asks, "eager", posted(Message=withdrawn))).json() == {"state": "quarantined"}

    served(bank, steps)
    assert stored(bank) == []
    sources = {named.name: counts for named, counts, _ in app.open(bank).pushed.all()}
    assert sources["topic"].skipped == {"eventType is 'USER_LOGGED_IN'": 1}
    assert sources["eager"].quarantined == 2


def test_content_that_cannot_be_read_is_quarantined_and_answered_200_so_that_sns_does_not_repeat_it(bank, outside):
    messages = [saving("5::POUNDS::ZAR"), saving("5::WHOLE_CENT::EUR"), "no JSON", "[]", "{" * 99]

    async def steps(asks: Asker) -> None:
        for number, message in enumerate(messages):
            found = await post(asks, "topic", posted(Message=message, MessageId=f"m-{number}"))
            assert (found.status, found.json()["state"]) == (200, "quarantined")

    served(bank, steps)
    assert stored(bank) == []
    assert refused(bank) == [("hooks/topic", f"m-{number}") for number in range(len(messages))]


def test_what_is_refused_is_not_stored_and_says_why(bank, outside):
    async def steps(asks: Asker) -> None:
        forged = posted(Message=saving()).replace(b"HUNDREDTH_CENT", b"WHOLE_CURRENCY")
        for body, status in ((forged, 403), (posted(TopicArn=TOPIC + "x"), 403), (b"{}", 400)):
            found = await post(asks, "topic", body)
            assert (found.status, found.headers["content-type"]) == (status, "application/problem+json")
        assert (await post(asks, "nothing", posted())).status == 404
        assert (await asks.ask("GET", "/hooks/topic", key="")).status == 405
        assert (await post(asks, "topic", b"x" * (1024 * 1024 + 1))).status == 413

    served(bank, steps)
    assert stored(bank) == []
    assert refused(bank) == []
    counts = app.open(bank).pushed.all()[0][1]
    assert (sum(counts.refused.values()), counts.received_ms) == (3, None)


def test_a_source_with_a_password_asks_for_it_and_others_never_do(bank, outside):
    with (bank / "shroff.yaml").open("a") as file:
        file.write(f'  raw:\n    sns: {{ topics: ["{TOPIC}"], password: "sns:s3cret" }}\n    events: [saving]\n')
    headers = {"x-amz-sns-rawdelivery": "true", "x-amz-sns-message-type": "Notification"}
    headers |= {"x-amz-sns-topic-arn": TOPIC, "x-amz-sns-message-id": "m-9"}
    body = b'{"eventType": "SAVING", "timestamp": "2026-03-01T12:00:00Z", "userId": "u-1", "amount": "5.00"}'

    async def steps(asks: Asker) -> None:
        asked = await post(asks, "raw", body, headers)

        assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="raw"')

        login = {"authorization": "Basic c25zOnMzY3JldA=="}
        wrong = {"authorization": "Basic c25zOm90aGVy"}

        assert (await post(asks, "raw", body, headers | login)).json()["state"] == "appended"
        for name, more in (("raw", wrong), ("topic", {}), ("topic", wrong)):
            refused = await post(asks, name, body, headers | more)
            assert (refused.status, "www-authenticate" in refused.headers) == (403, False)
        assert sum(asks.service.pushed.counts("raw").refused.values()) == 1, "what was only asked back is no refusal"

    served(bank, steps)


def test_a_certificate_that_cannot_be_had_now_makes_sns_try_again(bank, outside):
    async def steps(asks: Asker) -> None:
        outside.there[CERTIFICATE] = TransientError("away")
        found = await post(asks, "topic", posted(Message=saving()))
        assert found.status == 503
        assert found.headers["retry-after"]
        outside.there[CERTIFICATE] = certificate()
        assert (await post(asks, "topic", posted(Message=saving()))).status == 200

    served(bank, steps)
    assert stored(bank) == [("saving", "m-1")]


def test_a_subscription_waits_for_a_person_or_is_confirmed_once(bank, outside):
    async def steps(asks: Asker) -> None:
        asked = posted("SubscriptionConfirmation")
        assert (await post(asks, "topic", asked)).json() == {"state": "pending"}
        assert CONFIRM not in outside.fetched
        for _ in range(2):
            assert (await post(asks, "eager", asked)).json() == {"state": "confirmed"}
        assert outside.fetched.count(CONFIRM) == 1
        ended = posted("UnsubscribeConfirmation", MessageId="m-2", Timestamp=LATER)
        assert (await post(asks, "eager", ended)).json() == {"state": "unsubscribed"}
        for version in "12":  # somebody replays what was asked before
            old = posted("SubscriptionConfirmation", MessageId="m-0", SignatureVersion=version)
            assert (await post(asks, "eager", old)).json() == {"state": "unsubscribed"}
        assert outside.fetched.count(CONFIRM) == 1

    served(bank, steps)
    project = app.open(bank)
    assert [(name, words.partition(":")[0]) for name, words, _ in project.pushed.troubles()] == [
        ("topic", "the subscription to arn"),
        ("eager", "arn"),
    ]
    assert project.pushed.confirm("topic") == [TOPIC]
    assert outside.fetched.count(CONFIRM) == 2
    assert [name for name, _, _ in project.pushed.troubles()] == ["eager"]
    assert confirmations(bank) == [("program", "topic", TOPIC)]


def test_a_subscription_that_cannot_be_kept_is_asked_for_again(bank, outside):
    async def steps(asks: Asker) -> None:
        folder = bank / ".shroff/sources"
        folder.parent.mkdir(exist_ok=True)
        folder.write_text("where the folder should be")
        assert (await post(asks, "topic", posted("SubscriptionConfirmation"))).status == 503
        folder.unlink()
        assert (await post(asks, "topic", posted("SubscriptionConfirmation"))).json() == {"state": "pending"}

    served(bank, steps)


def test_subscriptions_of_topics_that_are_not_configured_any_more_trouble_nobody(bank, outside):
    async def steps(asks: Asker) -> None:
        await post(asks, "topic", posted("SubscriptionConfirmation"))

    served(bank, steps)
    settings = bank / "shroff.yaml"
    settings.write_text(settings.read_text().replace(TOPIC, TOPIC + "-new"))
    project = app.open(bank)
    assert not list(project.pushed.troubles())
    with pytest.raises(UsageError, match="no subscription"):
        project.pushed.confirm("topic")


def test_a_certificate_is_fetched_once_for_all_that_wait_and_seldom_for_one_network(bank, outside):
    async def steps(asks: Asker) -> None:
        many = [posted(Message=saving(), MessageId=f"m-{number}") for number in range(20)]
        found = await asyncio.gather(*(post(asks, "topic", body) for body in many))
        assert {item.status for item in found} == {200}
        assert outside.fetched == [CERTIFICATE]
        others = [CERTIFICATE.replace("Service-", f"Service-{number}") for number in range(10)]
        outside.there |= dict.fromkeys(others, TransientError("away"))
        found = [await post(asks, "topic", posted(SigningCertURL=url)) for url in others]
        assert {item.status for item in found} == {503}
        assert len(outside.fetched) < 5

    served(bank, steps)


def test_what_still_cannot_be_verified_is_asked_for_again(bank, outside, monkeypatch):
    monkeypatch.setattr(Certificates, "fetch", lambda _self, _url: None)

    async def steps(asks: Asker) -> None:
        assert (await post(asks, "topic", posted())).status == 503

    served(bank, steps)


def test_long_bodies_of_nobody_known_are_held_up_to_a_limit(bank, outside, monkeypatch):
    monkeypatch.setattr(hooks, "LONG_MAX", 0)

    async def steps(asks: Asker) -> None:
        long, short = posted(Message="x" * hooks.LONG_BYTES), posted(Message=saving())
        for body, status in ((long, 503), (short, 200)):
            assert (await post(asks, "topic", body, {"content-length": str(len(body))})).status == status
        assert (await post(asks, "topic", short)).status == 503  # nobody knows how long it is

    served(bank, steps)


def test_who_is_made_to_wait_holds_no_place_for_long_bodies(bank, outside, monkeypatch):
    async def steps(asks: Asker) -> None:
        held = list[int]()

        def wait_s_of(pace: object, _sender: str, _events: int) -> float:
            held.extend([asks.service.pushed.long_bodies] if pace is asks.service.unknown else [])
            return 0.0

        monkeypatch.setattr(type(asks.service.unknown), "wait_s_of", wait_s_of)
        body = posted(Message="x" * hooks.LONG_BYTES).replace(b"xx", b"xy")
        assert (await post(asks, "topic", body)).status == 403
        assert held == [0]

    served(bank, steps)


def test_a_webhook_that_is_signed_is_answered_with_the_paths_of_its_mistakes(bank):
    def call(body: bytes, id_: str = "msg-1", at_s: int = NOW_MS // 1_000) -> dict[str, str]:
        return webhooks.headers("s3cret", id_, at_s, body)

    async def steps(asks: Asker) -> None:
        good = saving(eventType="WITHDRAWAL").encode()
        first = await post(asks, "partner", good, call(good))
        assert (first.status, first.json()["id"]) == (200, "msg-1")
        assert (await post(asks, "partner", good, call(good))).json()["state"] == "duplicate"
        bad = saving("x", eventType="WITHDRAWAL", userId=None).encode()
        found = await post(asks, "partner", bad, call(bad, "msg-2"))
        assert (found.status, found.json()["type"]) == (422, "invalid-event")
        assert {error["path"] for error in found.json()["errors"]} == {"user", "amount", "exact_amount"}
        assert (await post(asks, "partner", good, call(bad))).status == 403
        assert (await post(asks, "partner", good, call(good, at_s=1))).status == 403

    served(bank, steps)
    assert stored(bank) == [("withdrawal", "msg-1")]


def test_a_refused_message_that_is_retried_keeps_its_own_id(bank):
    body = saving("0::HUNDREDTH_CENT::ZAR", eventType="WITHDRAWAL", transactionId="t-1").encode()
    signed = webhooks.headers("s3cret", "msg-1", NOW_MS // 1_000, body)

    async def first(asks: Asker) -> None:
        assert (await post(asks, "partner", body, signed)).status == 422

    async def again(asks: Asker) -> None:
        assert (await post(asks, "partner", body, signed)).json()["state"] == "duplicate"

    served(bank, first)
    events = bank / "events.yaml"
    events.write_text(events.read_text().replace("exact_amount: number(4)? > 0", "exact_amount: number(4)? >= 0"))
    (retried,) = app.open(bank).quarantine.retry([])
    assert retried.outcome == "decided"
    served(bank, again)
    assert stored(bank) == [("withdrawal", "msg-1")]


def test_a_refused_message_that_was_corrected_and_sent_again_is_fixed(bank):
    def sent(call: str, **more: Any) -> tuple[bytes, dict[str, str]]:
        body = saving(eventType="WITHDRAWAL", **more).encode()
        return body, webhooks.headers("s3cret", call, NOW_MS // 1_000, body)

    clock = [NOW_MS]

    async def steps(asks: Asker) -> None:
        for call in ("msg-1", "msg-2"):
            assert (await post(asks, "partner", *sent(call, timestamp="soon"))).status == 422
        clock[0] += 1
        assert (await post(asks, "partner", *sent("msg-1"))).json()["state"] == "appended"
        found = (await asks.ask("GET", "/api/v1/quarantine")).json()["entries"]
        assert [item.get("fixed_by") for item in found] == [None, "withdrawal/msg-1"]

    served(bank, steps, lambda: clock[0])


def test_a_refused_message_that_is_no_object_is_retried_as_json(bank):
    for body in (b"[1, 2]", b"5", b"u-1,x"):
        signed = webhooks.headers("s3cret", "msg-1", NOW_MS // 1_000, body)

        async def steps(asks: Asker, body: bytes = body, signed: dict[str, str] = signed) -> None:
            assert (await post(asks, "partner", body, signed)).status == 422

        served(bank, steps)
    found = [item.reason for item in app.open(bank).quarantine.retry([])]
    assert [reason.partition(":")[0] for reason in found] == [
        "expected a JSON object, found a list",
        "expected a JSON object, found a number",
        "the line is not JSON",
    ]


async def trickled(spoken: Spoken, begun: bytes, rest: bytes) -> bytes:
    """All of the answer to a request whose rest comes byte by byte, and would take long.

    A connection that is closed while bytes still come may end in a reset; what was answered before it is there.
    """
    await spoken.send(begun)

    async def trickle() -> None:
        for byte in rest:
            spoken.writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    sending, answer = asyncio.create_task(trickle()), bytearray()
    try:
        async with asyncio.timeout(120):
            with suppress(ConnectionResetError):
                while piece := await spoken.reader.read(4_096):
                    answer += piece
        return bytes(answer)
    finally:
        sending.cancel()


def test_a_slow_call_is_given_up_in_time_takes_nothing_and_keeps_nobody_waiting(bank, monkeypatch):
    body = saving(eventType="WITHDRAWAL").encode()
    signed = webhooks.headers("s3cret", "msg-1", NOW_MS // 1_000, body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    head = f"POST /hooks/partner HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n{lines}".encode()

    async def begun(asks: Asker, opened: AsyncExitStack, limit_s: float) -> asyncio.Future[Any]:
        """Two slow calls; their answers come."""
        monkeypatch.setattr(messages, "BODY_S_MAX", limit_s)
        stopped, slow = [await opened.enter_async_context(connected(asks)) for _ in range(2)]
        await stopped.send(head + b"\r\n" + body[:-1])
        return asyncio.gather(stopped.answer(), trickled(slow, head + b"\r\n", body))

    async def steps(asks: Asker) -> None:
        async with AsyncExitStack() as opened:
            answers = await begun(asks, opened, 30)
            other = webhooks.headers("s3cret", "msg-2", NOW_MS // 1_000, body)
            assert (await post(asks, "partner", body, other)).json()["state"] == "appended"
            assert not answers.done(), "others are answered meanwhile"
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers
        async with AsyncExitStack() as opened:
            (status, _, said), in_body = await (await begun(asks, opened, 0.3))
        assert (status, json.loads(said)["title"]) == (408, "The request came too slowly")
        assert in_body.startswith(b"HTTP/1.1 408 ")
        assert (await asks.ask("GET", "/api/v1/quarantine")).json()["entries"] == []

    served(bank, steps)
    assert stored(bank) == [("withdrawal", "msg-2")]


def test_sources_that_change_count_once_they_are_applied(bank, outside):
    login = saving(eventType="USER_LOGGED_IN")

    async def steps(asks: Asker) -> None:
        assert (await post(asks, "topic", posted(Message=login))).json() == {"state": "skipped"}
        settings = bank / "shroff.yaml"
        settings.write_text(
            settings.read_text().replace("    events: [saving, withdrawal]\n", "    others: quarantine\n")
        )
        assert (await post(asks, "topic", posted(Message=login))).json() == {"state": "skipped"}
        await asyncio.to_thread(asks.service.project.versions.apply)
        assert (await post(asks, "topic", posted(Message=login))).json() == {"state": "quarantined"}
        settings.write_text(settings.read_text().replace(f'"{TOPIC}"', '"${NO_SUCH_TOPIC}"'))
        with suppress(UsageError):  # or it says so, and nothing changes
            await asyncio.to_thread(asks.service.project.versions.apply)
        assert (await post(asks, "topic", posted(Message=login, MessageId="m-2"))).status in {200, 503}

    served(bank, steps)
    assert refused(bank)[0] == ("hooks/topic", "m-1")


@pytest.mark.parametrize("has_values", [True, False])
def test_reasons_that_differ_by_values_are_one_without_card_numbers_and_the_rest_is_counted(has_values: bool):
    def kept(reason: str, fixed_by: str | None = None) -> tuple[int, Refused, str | None]:
        return 1, Refused("hooks/topic", "1", "payment", reason, b"", 0), fixed_by

    same = ["card: found '4111111111111111'; hash it"] * 3
    numbers = [f"amount: found the number {number}.125, which has more than 2 places" for number in range(20)]
    quoted = [f"id: the name's {text!r} is 'no id'." for text in ("it's", "a \\'", "both'\"")]
    others = [f"field_{letter} lacks" for letter in "abcd"]
    late = [
        f"paid_at: too late: 2026-01-04T08:{number:02d}:00Z is 1d{number}m behind the newest event, and lateness"
        for number in range(4)
    ]
    entries = [kept(other) for other in (*others, *same, *numbers, *quoted, *late)]
    found = _reasons([*entries, kept("mended", "payment/p-1")], has_values=has_values)

    assert found == {
        "topic": [
            ("amount: found the number …, which has more than 2 places", 20),
            ("paid_at: too late: … is … behind the newest event, and lateness", 4),
            ("card: found '[covered]'; hash it" if has_values else "card: found …; hash it", 3),
            ("id: the name's … is ….", 3),
            ("field_a lacks", 1),
            ("other reasons", 3),
        ]
    }


def test_the_screen_shows_what_came_and_why_the_rest_did_not_and_has_actions(bank, outside, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        await post(asks, "topic", posted(Message=saving()))
        await post(asks, "topic", posted(Message=saving(eventType="<b>LOGIN</b>")))
        await post(asks, "topic", posted(Message=saving("5::POUNDS::ZAR"), MessageId="m-3"))
        await post(asks, "topic", posted("SubscriptionConfirmation"))
        before = (await browser.get("/sources")).body.decode()
        assert "3 sources post their messages here, 1 source is read by a sync; <b>1</b> subscription needs" in before
        assert "&lt;b&gt;LOGIN" in before
        assert (
            "&#39;5::POUNDS::ZAR&#39; is not a decimal number" in before
        )  # why it is in quarantine, and where to mend
        assert 'quarantined: <a href="/checks">' in before
        assert "Messages are answered with 503" not in before
        form = {"csrf": await browser.csrf(), "source": "topic", "topic": TOPIC}
        outside.there[CONFIRM] = TransientError("sns.eu-west-1.amazonaws.com cannot be reached")
        assert "cannot be reached" in (await browser.post("/sources/confirm", form)).body.decode()
        outside.there[CONFIRM] = b"<ok/>"
        assert (await browser.post("/sources/confirm", form)).headers["location"] == "/sources"
        assert "Confirmed" in (await browser.get("/sources")).body.decode()
        assert (await browser.post("/sources/confirm", form | {"source": "nothing"})).status == 404
        (params,) = re.findall(r"name=\"params\" value='(.*?)'>Sync now", before)
        queued = await browser.post("/jobs", {"csrf": form["csrf"], "kind": "sync", "params": params})
        assert queued.headers["location"].startswith("/jobs/")
        monkeypatch.delenv("PARTNER_SECRET")
        settings.write_text(settings.read_text().replace("subscribe: auto", "subscribe: ask"))
        await asyncio.to_thread(asks.service.project.versions.apply)
        asks.service.project.context.reload()
        after = (await browser.get("/sources")).body.decode()
        assert "Messages are answered with 503: " in after
        assert "PARTNER_SECRET" in after

    monkeypatch.setenv("PARTNER_SECRET", "s3cret")
    settings = bank / "shroff.yaml"
    more = "  nightly: { files: { from: in }, events: [saving] }\n"
    settings.write_text(settings.read_text().replace("[s3cret]", "['${PARTNER_SECRET}']") + more)
    run(bank, steps)
    assert outside.fetched.count(CONFIRM) == 2
    assert confirmations(bank) == [("web", "topic", TOPIC)]


def test_saved_messages_are_judged_without_a_request(bank, tmp_path, capsys):
    certificates = tmp_path / "certs"
    certificates.mkdir()
    (certificates / CERTIFICATE.rpartition("/")[2]).write_bytes(certificate())
    saved = {
        "good": posted(Message=saving()),
        "forged": posted(Message=saving()).replace(b"u-1", b"u-2"),
        "foreign": posted(SigningCertURL="https://attacker.example/SimpleNotificationService-a.pem"),
        "subscribe": posted("SubscriptionConfirmation"),
        "empty": b"",
    }
    for name, body in saved.items():
        (tmp_path / name).write_bytes(body)

    def judged(*more: str) -> tuple[int, list[Any]]:
        files = [str(tmp_path / name) for name in saved]
        at = ("--at", "2026-03-01T12:00:00Z", "--json")
        code = command(["-C", str(bank), "sources", "test", "topic", *files, *at, *more])
        return code, json.loads(capsys.readouterr().out)["messages"]

    code, found = judged("--certificates", str(certificates))
    assert code == 1
    assert [item["accepted"] for item in found] == [True, False, False, True, False]
    assert [item["type"] for item in found][:4] == ["Notification"] * 3 + ["SubscriptionConfirmation"]
    assert [item["would_fetch"] for item in found] == [CERTIFICATE, CERTIFICATE, None, CERTIFICATE, None]
    assert found[3]["would_confirm"] == CONFIRM

    code, found = judged()
    assert (code, found[0]["accepted"], found[0]["would_fetch"]) == (1, False, CERTIFICATE)
    assert "certificate" in found[0]["reason"]
    assert not (bank / ".shroff").exists()

    assert command(["-C", str(bank), "sources", "test", "partner", str(tmp_path / "good")]) == 2
    assert "signed in their headers" in capsys.readouterr().err


def test_a_source_that_is_written_wrongly_is_told_with_its_place(bank):
    text = (bank / "shroff.yaml").read_text()
    for before, after, words in (
        ("events: [saving, withdrawal]", "events: [saving, withdrawel]", "'withdrawel' is not an event type"),
        ("others: quarantine", "others: keep", "'keep' is not an event type"),
        ("subscribe: ask", "subscribe: never", "ask or auto"),
        (TOPIC, "arn:aws:sqs:eu-west-1:1:x", "the ARN of a topic"),
        ("webhook: { secrets: [s3cret] }", "webhok: { secrets: [s3cret] }", "webhook"),
        ("webhook: { secrets: [s3cret] }", "webhook: { secrets: [s3cret] }\n    kafka: { brokers: x }", "one kind"),
        ("    webhook: { secrets: [s3cret] }\n", "", "one kind"),
    ):
        (bank / "shroff.yaml").write_text(text.replace(before, after))
        errors = app.open(bank).check().errors
        assert any(words in f"{error.message} {error.hint}" for error in errors), (after, errors)
        assert all(error.line > 5 for error in errors), errors
