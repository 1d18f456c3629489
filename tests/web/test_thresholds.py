"""Thresholds over the service: weighed by costs that somebody tries, and applied by who may, with a reason."""

from __future__ import annotations

import asyncio
import re
import shutil
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.models.registry import TESTED
from shroff.people import users
from shroff.people.access import Role
from shroff.people.store import AuditFilter
from shroff.services import project as app
from shroff.services.thresholds.operations import ShowThresholds
from shroff.training.tested_rows import file_of
from shroff.web.pages.rules.thresholds import nice
from tests.support.trained import fitted_to
from tests.support.webs import Answered, Asker, Browser, run

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
WHICH = "model=m-1"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank with a model that was tested on 400 payments of 20 days, a tenth of them frauds."""
    folder = tmp_path / "bank"
    shutil.copytree(TEMPLATE, folder)
    random = np.random.default_rng(1)
    frauds = random.random(400) < 0.1
    rows = {
        "fold": pa.array(np.repeat([0, 1], 200), pa.int32()),
        "day": np.sort(random.integers(0, 20, 400)),
        "key": np.full(400, -1),
        "score": np.clip((random.random(400) * 0.7 + 0.3 * frauds).round(3) - 3e-5, 0, 1),  # four places are above it
        "fraud": frauds,
        "amount_minor": random.integers(1_000, 20_000, 400),
        "rules": pa.array(["approve"] * 400),
        "allowed": np.zeros(400, np.bool_),
    }
    fitted = fitted_to((("payment.amount", ()),), 1)
    manifest = {
        "id": "m-1",
        "event": "payment",
        "format": fitted.format,
        "learner": "xgboost",
        "inputs": [{"name": "payment.amount", "kind": "number", "categories": []}],
    }
    app.open_exactly(folder).context.registry.write(manifest, {**fitted.files, TESTED: file_of(pa.table(rows))})
    return folder


def field(page: Answered, id_: str) -> str:
    """What a field of a page holds."""
    found = re.search(rf'<input[^>]*id="{id_}"[^>]* value="([^"]*)"', page.body.decode())
    assert found is not None, id_
    return found[1]


def used(page: Answered) -> str:
    """Where "Use these thresholds" leads."""
    found = re.search(r'href="([^"]*)"[^>]*>Use these thresholds', page.body.decode())
    assert found is not None
    return unescape(found[1]).removesuffix("#apply")


def hidden(page: Answered, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', page.body.decode())
    assert found is not None, name
    return found[1]


async def send(browser: Browser, **form: str) -> Answered:
    return await browser.post("/thresholds", {"csrf": await browser.csrf(), "event": "payment", "model": "m-1", **form})


async def put(browser: Browser, body: object, tag: str, event: str = "payment") -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    given = {**headers, **({"if-match": tag} if tag else {})}
    return await browser.send("PUT", f"/api/v1/thresholds/{event}", msgspec.json.encode(body), given)


def acts(asks: Asker) -> list[tuple[str, object, object]]:
    with asks.service.desk.store.look() as look:
        rows = look.record(AuditFilter(action="thresholds.apply"))
    return [(row.name, msgspec.json.decode(row.before), msgspec.json.decode(row.after)) for row in rows]


def test_without_a_model_the_page_says_how_one_comes(tmp_path):
    shutil.copytree(TEMPLATE, tmp_path / "bank")

    async def steps(asks: Asker, browser: Browser) -> None:
        page = await browser.get("/thresholds")
        assert page.status == 200
        assert b"shroff train --promote" in page.body
        assert b"--model" not in page.body, "an option of a command is no way for whoever looks at a page"
        refused = await browser.get("/api/v1/thresholds", accept="*/*")
        assert (refused.status, refused.json()["detail"].endswith("Train one first.")) == (400, True)

    run(tmp_path / "bank", steps)


def test_where_no_model_is_in_force_those_that_can_be_named_are(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        page = await browser.get("/thresholds")
        assert b'href="/thresholds?model=m-1"' in page.body
        refused = await browser.get("/api/v1/thresholds", accept="*/*")
        assert refused.json()["detail"].endswith("Name one of the registry, by model ID: m-1.")

    run(bank, steps)


def test_the_page_gives_what_the_command_gives_and_a_form_without_a_script_weighs_by_other_costs(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        told = (await browser.get(f"/api/v1/thresholds?{WHICH}")).json()
        command = await asyncio.to_thread(asks.service.project.run, ShowThresholds(model="m-1"))
        assert told == msgspec.json.decode(msgspec.json.encode(command))
        shown = asks.service.project.thresholds(model="m-1")
        assert (repr(shown), shown.best) == (command.text(), command.best)
        assert "&lt;figcaption&gt;Cost of a day" in shown._repr_html_(), "the chart of the model's report"
        page = await browser.get(f"/thresholds?{WHICH}")
        shown = page.body.decode()
        assert 'id="review-at"' not in shown, "nothing is proposed before somebody asks for it"
        assert re.search(r"(Fraud risk|Score) from which events are reviewed or declined", shown), "title of the x axis"
        assert shown.count(", on the days used to choose them</span>") == 2, "the basis of the chart and the table"
        assert "Cost a day on the days used to choose them" in shown
        assert re.search(r"of the \d+ on test days, with [\d.]+ reviews a day", shown)
        used = await browser.get(
            f"/thresholds?{WHICH}&review_at={told['review_at']}&decline_at={told['decline_at']}&use=1"
        )
        assert (float(field(used, "review-at")), float(field(used, "decline-at"))) == (
            told["review_at"],
            told["decline_at"],
        )
        assert f"<dd>{told['expected_cost']}\N{NO-BREAK SPACE}EUR</dd>" in shown
        assert (field(page, "false_decline"), field(page, "review"), field(page, "missed")) == ("15.0", "4.0", "100.0")
        assert shown.count("<polyline") == 3, "the cost, the reviews, and how many people have time for"

        dear = f"{WHICH}&missed=100&false_decline=90&review=4&reviews_a_day=2&review_at=0.5&decline_at=0.9"
        other = (await browser.get(f"/api/v1/thresholds?{dear}")).json()
        assert (other["reviews_a_day"], other["best"]["reviews"] <= 2) == (2.0, True)
        assert (other["tried"]["review_at"], other["tried"]["decline_at"]) == (0.5, 0.9)
        odds, share = [
            (await browser.get(f"/thresholds?{WHICH}&review_at={text}")).body.decode().partition('class="lead"')[2]
            for text in ("1+in+40", "0.025")
        ]
        assert (odds.partition("</p>")[0], "0.0250" in odds) == (share.partition("</p>")[0], True)
        assert other["best"]["cost"] != told["best"]["cost"], "a false decline costs six times as much"
        tried = await browser.get(f"/thresholds?{dear}")
        assert field(tried, "false_decline") == "90.0"
        assert "policy.yaml says 15" in tried.body.decode()
        assert (field(tried, "try-review"), field(tried, "try-decline")) == ("0.5", "0.9")
        half = (await browser.get(f"/api/v1/thresholds?{WHICH}&missed=50&review_at=0.5")).json()
        whole = (await browser.get(f"/api/v1/thresholds?{WHICH}&review_at=0.5")).json()
        assert float(half["tried"]["missed_cost"]) == pytest.approx(float(whole["tried"]["missed_cost"]) / 2, abs=0.01)

        policy = bank / "policy.yaml"
        dearer = policy.read_text().replace("false_decline: 15", "false_decline: 90")
        policy.write_text(dearer.replace("reviews_a_day: 100", "reviews_a_day: 2"))
        asks.service.project.context.reload()
        written = (await browser.get(f"/api/v1/thresholds?{WHICH}")).json()
        assert {**other, "tried": None} == written, "costs that are tried weigh as costs that are written"

    run(bank, steps)


@pytest.mark.parametrize(
    "query", ["missed=-1", "review=nan", "review=1e99", "review_at=2", "review_at=0.9&decline_at=0.5"]
)
def test_what_cannot_be_weighed_by_is_refused_in_words(bank, query):
    async def steps(asks: Asker, browser: Browser) -> None:
        for path in ("/thresholds", "/api/v1/thresholds"):
            found = await browser.get(f"{path}?{WHICH}&{query}")
            assert found.status == 400
            assert f"rite {query.partition('=')[0]}".encode() in found.body

    run(bank, steps)


def test_what_is_no_number_is_refused_by_its_name(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for path in ("/thresholds", "/api/v1/thresholds"):
            found = await browser.get(f"{path}?{WHICH}&reviews_a_day=x")
            status = 400 if "api" in path else 422
            assert (found.status, b"reviews_a_day" in found.body) == (status, True)

    run(bank, steps)


def test_cut_offs_are_applied_with_a_reason_as_who_asks(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        tag = hidden(await browser.get(f"/thresholds?{WHICH}&use=1"), "tag")
        silent = await send(browser, tag=tag, review_at="0.4", decline_at="0.8")
        assert (silent.status, b"Say why" in silent.body) == (422, True)
        for wrong in ({"review_at": "0.9", "decline_at": "0.5"}, {"review_at": "2"}, {"review_at": "soon"}):
            found = await send(browser, tag=tag, reason="to see", **wrong)
            assert (found.status, b'role="alert"' in found.body) == (422, True), wrong
        assert "review_at" not in (bank / "policy.yaml").read_text()

        done = await send(browser, tag=tag, review_at="0.4", decline_at="0.8", reason="two more analysts")
        assert done.headers["location"].startswith("/thresholds?event=payment&model=m-1&said=")
        assert "review_at: 0.4" in (bank / "policy.yaml").read_text()
        assert asks.service.project.definitions.policy("payment").decline_at == 0.8
        late = await send(browser, tag=tag, review_at="0.1", reason="more")
        assert (late.status, b"changed meanwhile" in late.body) == (422, True)
        page = await browser.get(done.headers["location"])
        assert b"Active</th>" in page.body
        assert b"two more analysts" in page.body
        assert b'name="undo"' in page.body
        cleared = await send(browser, tag=hidden(page, "tag"), review_at="0.3", decline_at="", reason="none <b>")
        assert cleared.status == 303
        assert b"none &lt;b&gt;" in (await browser.get(cleared.headers["location"])).body
        after = {"review_at": "0.4", "decline_at": "0.8"}
        assert acts(asks) == [
            ("ann", {}, {**after, "model": "m-1", "reason": "two more analysts"}),
            ("ann", after, {"review_at": "0.3", "model": "m-1", "reason": "none <b>"}),
        ]

    run(bank, steps)


def test_recommended_cut_offs_that_were_applied_are_not_advised_against_for_their_four_places(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        best = await browser.get(f"/thresholds?{WHICH}")
        assert b"Best: " in best.body
        cuts = dict(re.findall(r"(\w+_at)=([0-9.]+)", used(best)))
        done = await send(browser, tag=hidden(await browser.get(used(best)), "tag"), reason="as advised", **cuts)
        page = (await browser.get(done.headers["location"])).body.decode()
        assert "The active thresholds cost least, so there is nothing to change" in page
        assert "Use these thresholds" not in page

    run(bank, steps)


def test_a_what_if_changes_nothing_until_its_cut_offs_are_used_and_its_costs_are_saved_with_them(bank):
    policy = bank / "policy.yaml"

    async def steps(asks: Asker, browser: Browser) -> None:
        tag = hidden(await browser.get(f"/thresholds?{WHICH}&review_at=0.4&decline_at=0.8&use=1"), "tag")
        await send(browser, tag=tag, review_at="0.4", decline_at="0.8", reason="first")
        active = policy.read_text()

        page = await browser.get(f"/thresholds?{WHICH}&review=10&false_decline=15&missed=50&reviews_a_day=100")
        assert b'id="review-at"' not in page.body
        active_row = rb'Active</th>\s*<td class="number"><b>4 in 10</b> \(0.4000\)</td>'
        assert re.search(active_row, page.body), "what is active, whatever is tried"
        cuts = re.findall(r"_at=([0-9.]+)", used(page))
        assert cuts, used(page)
        assert all(len(cut.partition(".")[2]) <= 4 for cut in cuts)

        proposed = await browser.get(f"/thresholds?{WHICH}&review=10&missed=50&decline_at=0.9&use=1")
        shown = proposed.body.decode()
        assert "No payment will be reviewed by its score." in shown
        assert re.search(r"<del>.*?review_at", shown), "the change of policy.yaml is shown before it is made"
        costs = {"review": field(proposed, "review"), "missed": field(proposed, "missed")}
        form = {"tag": hidden(proposed, "tag"), "review_at": "", "decline_at": "0.9", **costs}
        assert re.search(r'name="costs" value="1" checked', shown)
        silent = await send(browser, **form, costs="1")
        assert (silent.status, b"No payment will be reviewed" in silent.body) == (422, True)
        assert policy.read_text() == active

        done = await send(browser, **form, costs="1", reason="reviews are dear")
        assert done.status == 303
        saved = policy.read_text()
        assert "    review: 10\n" in saved
        assert "    missed_fraud: payment.amount * 0.5\n" in saved
        assert "score: { decline_at: 0.9 }" in saved
        assert asks.service.project.definitions.policy("payment").review_at is None
        page = await browser.get(done.headers["location"])
        assert b"policy.yaml says" not in page.body, "its sliders stand where policy.yaml does"

        undone = await send(browser, tag=hidden(page, "tag"), undo="1")
        assert undone.status == 303
        assert "said=undone" in undone.headers["location"]
        page = (await browser.get(undone.headers["location"])).body.decode()
        assert "The last change is taken back." in page
        assert 'Press "Undo"' not in page
        assert policy.read_text() == active
        told = acts(asks)[-1]
        assert told[1] == {"decline_at": "0.9", "review": "10", "missed_fraud": "payment.amount * 0.5"}
        assert (told[2]["review"], told[2]["reason"]) == ("4", "Undo: reviews are dear")

        policy.write_text(active.replace("0.8", "0.7"))
        asks.service.project.context.reload()
        late = await browser.get(f"/thresholds?{WHICH}")
        assert b'name="undo"' not in late.body, "somebody wrote others by hand"
        refused = await send(browser, tag=hidden(await browser.get(f"/thresholds?{WHICH}&use=1"), "tag"), undo="1")
        assert (refused.status, b"cannot be undone" in refused.body) == (422, True)

    run(bank, steps)


def test_programs_apply_what_they_read(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        tag = (await browser.get(f"/api/v1/thresholds?{WHICH}")).headers["etag"]
        wish = {"review_at": 0.4, "decline_at": None, "reason": "a quiet month"}
        assert (await put(browser, wish, "")).status == 428
        assert (await put(browser, wish, '"other"')).status == 412
        assert (await put(browser, wish, tag, event="refund")).status == 404
        assert (await put(browser, {**wish, "review_at": 1.5}, tag)).status == 400
        assert (await put(browser, {**wish, "more": 1}, tag)).status == 422
        found = await put(browser, wish, tag)
        assert (found.status, found.json()["in_force"]) == (200, True)
        assert found.headers["etag"] == (await browser.get(f"/api/v1/thresholds?{WHICH}")).headers["etag"] != tag
        dearer = await put(browser, {**wish, "costs": {"review": 9}}, found.headers["etag"])
        assert dearer.status == 200
        assert "    review: 9\n" in (bank / "policy.yaml").read_text()

    run(bank, steps)


def test_without_a_name_the_champion_is_weighed(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        project = asks.service.project
        refused = await asyncio.to_thread(project.models.promote, "m-1")
        waived = [item.words for item in refused.failed]
        promoted = await asyncio.to_thread(
            lambda: project.models.promote("m-1", waive=waived, reason="a test", by="ann")
        )
        assert promoted.champion == "m-1"
        page = await browser.get("/thresholds")
        assert page.status == 200
        assert b'href="/models/m-1"' in page.body
        named = await browser.get(f"/thresholds?{WHICH}")
        assert used(page) == used(named).replace("model=m-1&", "")
        applied = await browser.post(
            "/thresholds",
            {
                "csrf": await browser.csrf(),
                "event": "payment",
                "tag": hidden(await browser.get("/thresholds?use=1"), "tag"),
                "review_at": "0.4",
                "reason": "a",
            },
        )
        assert applied.headers["location"] == "/thresholds?event=payment&said=done"
        assert (await browser.get(applied.headers["location"])).status == 200

    run(bank, steps)


def test_a_promoted_champion_and_applied_costs_show_at_once(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        project = asks.service.project
        stored = project.context.registry.read("m-1")
        project.context.registry.write({**stored.manifest, "id": "m-2"}, dict(stored.files))
        waived = [gate.words for gate in (await asyncio.to_thread(project.models.promote, "m-1")).failed]

        async def promoted(id_: str) -> str:
            await asyncio.to_thread(lambda: project.models.promote(id_, waive=waived, reason="a test", by="ann"))
            return (await browser.get("/api/v1/thresholds", accept="*/*")).json()["model"]

        await asyncio.to_thread(project.models.shadow, "m-2")
        assert [await promoted("m-1"), await promoted("m-2")] == ["m-1", "m-2"]
        assert (await asyncio.to_thread(project.models.rollback)).champion == "m-1"
        assert b'href="/models/m-1"' in (await browser.get("/thresholds")).body

        policy = bank / "policy.yaml"
        policy.write_text(policy.read_text().replace("reviews_a_day: 100", "reviews_a_day: 2"))
        old = (await browser.get("/api/v1/thresholds", accept="*/*")).json()
        project.context.reload()
        new = (await browser.get("/api/v1/thresholds", accept="*/*")).json()
        assert (old["reviews_a_day"], new["reviews_a_day"]) == (100.0, 2.0)

    run(bank, steps)


def test_who_may_not_set_cut_offs_sees_them_and_no_form(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk, admin = asks.service.desk, asks.service.project.context.who
        await asyncio.to_thread(lambda: users.add(desk, admin, "vera", Role.VIEWER, password="another horse battery"))
        vera = Browser(asks)
        await vera.post("/login", {"name": "vera", "password": "another horse battery"})
        page = await vera.get(f"/thresholds?{WHICH}")
        assert page.status == 200
        assert b'id="reason"' not in page.body
        assert b"Use these" not in page.body
        assert (await send(vera, tag="x", review_at="0.1", reason="mine")).status == 403

    run(bank, steps)


def test_a_slider_meets_what_is_declared_and_what_is_set():
    assert [nice(number) for number in (0.001, 0.3, 1, 2.1, 900)] == [0.001, 0.5, 1, 5, 1000]
