"""Models over the service: how each was judged, and changing which are in force, by who may and with a reason."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.models.registry import GateResult, Stored
from shroff.people.store import AuditFilter
from shroff.services import project as app
from shroff.services.models.deployment import Deployment, ListedModel, ModelDetails
from shroff.services.models.promotion import Promotions
from tests.support.trained import fitted_to
from tests.support.webs import Answered, Asker, Browser, run

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
SLICES = [
    ("amount", "above 1200.00"),
    ("amount", "20.00 to 1200.00"),
    ("amount", "up to 20.00"),
    ("payment.amount > 100", "false"),
    ("payment.amount > 100", "true"),
    ("hour(payment.paid_at)", "10"),
    ("hour(payment.paid_at)", "missing"),
    ("hour(payment.paid_at)", "9"),
    ("weekday(payment.paid_at)", "6"),
    ("weekday(payment.paid_at)", "0"),
    ("known", "known"),
    ("known", "new"),
    ("payment.gone", "x"),
]
MEASURED = {
    "metrics": {"average_precision": 0.5},
    "rows": 5,
    "frauds": 1,
    "score": 0.1,
    "falls_by_more_than_noise": False,
}
IN_WORDS = [
    "channel: web",
    "amount up to 20.00 EUR",
    "amount 20.00 to 1,200.00 EUR",
    "amount above 1,200.00 EUR",
    "amount is above 100 EUR",
    "amount is at most 100 EUR",
    "paid between 09:00 and 09:59 UTC",
    "paid between 10:00 and 10:59 UTC",
    "hour of paid at: missing",
    "paid on Monday (UTC)",
    "paid on Sunday (UTC)",
    "key first seen within a day",
    "key seen before",
    "payment.gone: x",
]
INPUT = {"name": "payment.amount", "kind": "number", "categories": []}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    file = tmp_path / "bank" / "model.yaml"
    more = "- channel\n    - hour(payment.paid_at)\n    - weekday(payment.paid_at)\n"
    file.write_text(file.read_text(encoding="utf-8").replace("- channel\n", more, 1), encoding="utf-8")
    return tmp_path / "bank"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, tuple[str, ...]]]:
    """A registry with one model that failed a gate; gives what is done to it, by whom and with which waivers."""
    deeds: list[tuple[str, str, tuple[str, ...]]] = []
    gate = GateResult("brier", 0.5, "at most 0.1", passed=False, note="<b>of noise</b>")
    metrics = {
        "metrics": {"auc_roc": {"mean": 0.91, "low": 0.86, "high": 0.96}, "money_saved": {"mean": None}},
        "curve": [{"score": 0.1, "fraud_rate": 0.2, "count": 10.0}, {"score": 0.3, "fraud_rate": 0.25, "count": 10.0}],
        "slices": [
            {
                "name": "payment.channel",
                "value": "web",
                "rows": 20,
                "frauds": 3,
                "score": 0.2,
                "metrics": {"average_precision": None},
                "falls_by_more_than_noise": True,
            },
            *(MEASURED | {"name": name, "value": value, "is_group": value == "missing"} for name, value in SLICES),
        ],
    }
    manifest = {
        "made_at": "2026-01-05T00:00:00Z",
        "as_of": "2026-01-04T00:00:00Z",
        "inputs": [{"name": "card.a"}],
        "importance": {"card.a": 0.625, "card.b": 0.375},
        "data": {"from": "2025-12-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        "train": {"rows": 1_200, "frauds": 12},
    }
    report = """<section><h2>Curves</h2><div class="charts"><figure>of the report</figure></div>
</section><section><h2>Folds</h2><p>of a table</p></section>"""
    files = {
        "report.html": report.encode(),
        "metrics.json": msgspec.json.encode(metrics),
        "gates.json": msgspec.json.encode([gate]),
    }
    stored = Stored("m-1", "d", "payment", msgspec.json.encode(manifest), files)

    def shown(self: Promotions, id_: str) -> ModelDetails:
        return ModelDetails(stored)

    def promote(
        self: Promotions, id_: str, *, waive: tuple[str, ...], reason: str, by: str, champion: str | None
    ) -> Deployment:
        deeds.append(("promote", self._context.who.name, tuple(waive)))
        failed = () if waive else (gate,)
        return Deployment("payment", id_, "promoted", id_, "", failed, in_force=not failed)

    def shadow(self: Promotions, id_: str, *, stop: bool = False) -> Deployment:
        deeds.append(("unshadow" if stop else "shadow", self._context.who.name, ()))
        return Deployment("payment", id_, "shadow", in_force=False, why_not="the log is away")

    monkeypatch.setattr(Promotions, "one", shown)
    monkeypatch.setattr(Promotions, "promote", promote)
    monkeypatch.setattr(Promotions, "shadow", shadow)
    return deeds


async def send(browser: Browser, path: str, **form: str) -> Answered:
    return await browser.post(path, {"csrf": await browser.csrf(), **form})


async def call(browser: Browser, method: str, path: str, body: object = None) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


def test_without_a_model_the_page_says_how_one_comes(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert b"shroff train" in (await browser.get("/models")).body
        assert (await browser.get("/models/none")).status == 404
        assert (await call(browser, "GET", "/api/v1/models/none")).status == 404

    run(bank, steps)


def test_a_model_is_shown_with_its_gates_and_ranges(bank, told):
    async def steps(asks: Asker, browser: Browser) -> None:
        page = (await browser.get("/models/m-1")).body.decode()
        assert "Brier score: <b>0.5</b>, at most 0.1" in page
        assert ">The mean squared difference" in page, "each gate and metric has its meaning"
        assert re.search(r"0\.910</td><td[^>]*>0\.860 to 0\.960", page)
        assert "<h2>Curves</h2>" in page
        assert "<figure>of the report</figure>" in page, "its charts are those of report.html"
        assert "<p>of a table</p>" not in page
        table = page.partition('<caption class="unseen">Slices')[2].partition("</table>")[0]
        assert re.findall(r'<th scope="row">([^<]+?) ?<', table) == [
            words[:1].upper() + words[1:] for words in IN_WORDS
        ]
        found = (await browser.get("/api/v1/models/m-1")).json()["metrics"]["slices"]
        assert [item["words"] for item in found] == IN_WORDS
        assert "1,200 events, 12 of them fraud" in page
        assert "&lt;b&gt;of noise" in page
        assert "AUC ROC" in page
        assert "Money saved" not in page
        found = (await call(browser, "GET", "/api/v1/models/m-1")).json()
        assert found["gates"][0]["name"] == "brier"

    run(bank, steps)


def test_a_failed_gate_is_shown_as_waived_where_a_promotion_waived_it(bank, monkeypatch):
    async def steps(asks: Asker, browser: Browser) -> None:
        for role, unwaived, says in (
            ("", ("brier",), "failed"),
            ("champion", ("brier",), "failed"),
            ("champion", (), "waived"),
        ):
            listed_model = ListedModel("m-1", event="payment", failed=("brier",), role=role, unwaived=unwaived)
            monkeypatch.setattr(Promotions, "all", lambda _, model=listed_model: [model])
            assert re.findall(r"</svg>1 (\w+)</span>", (await browser.get("/models")).body.decode()) == [says]

    run(bank, steps)


def test_a_role_is_changed_with_a_reason_as_who_asks(bank, told):
    async def steps(asks: Asker, browser: Browser) -> None:
        refused = await send(browser, "/models/m-1", do="promote", reason="better")
        assert refused.status == 422
        assert b"it failed brier" in refused.body
        waived = await send(browser, "/models/m-1", do="promote", reason="better", waive_1="brier at most 0.1")
        assert waived.headers["location"] == "/models/m-1?said=done"
        later = await send(browser, "/models/m-1", do="shadow", reason="to see")
        assert later.headers["location"] == "/models/m-1?said=waits"
        for form in ({"do": "promote"}, {"do": "dance", "reason": "x"}, {"do": "rollback", "reason": "x"}):
            assert (await send(browser, "/models/m-1", **form)).status == 422
        api = await call(browser, "POST", "/api/v1/models/m-1", {"do": "promote", "reason": "again"})
        assert (api.status, api.json()["failed"][0]["name"]) == (409, "brier")
        api = await call(browser, "POST", "/api/v1/models/m-1", {"do": "unshadow", "reason": "enough"})
        assert (api.status, api.json()["why_not"]) == (200, "the log is away")
        assert told == [
            ("promote", "ann", ()),
            ("promote", "ann", ("brier at most 0.1",)),
            ("shadow", "ann", ()),
            ("promote", "ann", ()),
            ("unshadow", "ann", ()),
        ]
        with asks.service.desk.store.look() as look:
            reasons = [msgspec.json.decode(row.after)["reason"] for row in look.record(AuditFilter(action="model.ask"))]
        assert reasons[:3] == ["better", "better", "to see"]
        assert (await asks.ask("POST", "/api/v1/models/m-1", b"{}", key="viewer")).status == 401

    run(bank, steps)


def test_versions_stand_side_by_side_with_their_intervals_and_a_model_is_trained_from_the_page(bank):
    def value(mean: float) -> dict[str, object]:
        return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}

    fitted = fitted_to((("payment.amount", ()),), 1)
    manifest = {"event": "payment", "format": fitted.format, "learner": "xgboost", "inputs": [INPUT]}
    registry = app.open_exactly(bank).context.registry
    for id_, mean in (("m-1", 0.4), ("m-2", 0.6)):
        metrics = {
            "metrics": {"average_precision": value(mean)},
            "baselines": {"rules_only": {"about": "", "metrics": {"average_precision": value(0.2)}}},
        }
        registry.write({"id": id_, **manifest}, {**fitted.files, "metrics.json": msgspec.json.encode(metrics)})

    async def steps(asks: Asker, browser: Browser) -> None:
        page = (await browser.get("/models")).body.decode()
        assert "<b>0.400</b>" in page
        assert "0.500 to 0.700" in page
        assert page.index("m-1") < page.index("Rules alone")
        marks = [float(text) for text in re.findall(r'<svg x="([0-9.]+)%" y="9"', page)]
        assert sorted(marks) == [16.67, 50.0, 83.33], "all on one axis, from 0.1 to 0.7"
        button = re.search(r'name="params" value="([^"]*)"', page)
        assert button is not None
        begun = await send(browser, "/jobs", kind="train", params=unescape(button[1]))
        assert begun.status == 303
        assert begun.headers["location"].encode() in (await browser.get("/models")).body, "progress is one press away"

    run(bank, steps)
