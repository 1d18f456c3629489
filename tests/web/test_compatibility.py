"""docs/reference/compatibility.md: each request is sent to the example named above it, and its answer compared."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from dataclasses import dataclass
from typing import Any

import pytest

from shroff.adapters.sinks.documents import document_readers, mapped_document
from shroff.config import TEMPLATE_FOLDER
from shroff.notices.definitions import load_notices
from shroff.services import project as app
from shroff.streams.sink import Outgoing
from tests.docs.pages import ROOT
from tests.support.webs import Asker, asker
from tests.web.test_web import _quick  # noqa: F401 - the fixture is used by its name

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "reference" / "compatibility.md"
PROJECT = re.compile(r"^.*Project: (?:\[examples/([a-z-]+)\]|the template `([a-z]+)`)", re.MULTILINE)
EXCHANGE = re.compile(
    r"^```http\n(\w+) (\S+)( without a key)?\n(.*?)^```\n+```json\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
NOW_MS = 1_773_144_000_000  # 2026-03-10T12:00:00Z


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what the page says that it is answered."""

    method: str
    path: str
    has_key: bool
    body: str
    answer: Any


def exchanges() -> dict[str, list[Exchange]]:
    """The requests of the page by their project, in order; those before the first project go to the first."""
    text = PAGE.read_text(encoding="utf-8")
    starts = [
        (found.start(), f"examples/{found[1]}" if found[1] else str(found[2])) for found in PROJECT.finditer(text)
    ]
    by_project: dict[str, list[Exchange]] = {}
    for found in EXCHANGE.finditer(text):
        project = next((name for start, name in reversed(starts) if start < found.start()), starts[0][1])
        exchange = Exchange(found[1], found[2], not found[3], found[4], json.loads(found[5]))
        by_project.setdefault(project, []).append(exchange)
    return by_project


def holds(shown: Any, found: Any) -> bool:
    """Whether an answer is as shown: `"..."` is anything, and a problem document may say more."""
    if shown == "...":
        return True
    if isinstance(shown, dict) and isinstance(found, dict):
        names = shown.keys() == found.keys() or shown.get("status") in range(400, 600)
        return names and all(name in found and holds(value, found[name]) for name, value in shown.items())
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(holds, shown, found))
    return bool(shown == found and type(shown) is type(found))


ALL = exchanges()


@pytest.mark.parametrize("project", ALL)
def test_an_example_answers_the_requests_of_an_earlier_service_as_the_page_says(project, tmp_path):
    source = ROOT / project if "/" in project else TEMPLATE_FOLDER / project
    folder = shutil.copytree(source, tmp_path / "project")

    async def whole() -> None:
        async with asker(folder, now_ms=lambda: NOW_MS) as asks:
            for item in ALL[project]:
                await compared(asks, item)

    asyncio.run(whole())


async def compared(asks: Asker, exchange: Exchange) -> None:
    """The answer is as shown; the same request again gets it again, and nobody without a key gets any."""
    key = "admin" if exchange.has_key else ""
    found = [await asks.ask(exchange.method, exchange.path, exchange.body.encode(), key=key) for _ in range(2)]
    nobody = await asks.ask(exchange.method, exchange.path, exchange.body.encode(), key="")

    assert holds(exchange.answer, found[0].json()), (exchange.path, found[0].json())
    assert found[0].status == found[1].status
    assert found[0].json() == found[1].json()
    assert nobody.status == 401


def test_the_page_has_every_call_of_the_examples():
    shown = {item.path.partition("?")[0].rstrip("/") for listed in ALL.values() for item in listed}
    files = [*ROOT.glob("examples/*/calls.yaml"), *TEMPLATE_FOLDER.glob("*/calls.yaml")]
    paths = {found.rstrip("/") for file in files for found in re.findall(r"^(/\S+):", file.read_text(), re.MULTILINE)}

    assert len(paths) > 1
    assert paths <= shown


CARD = json.loads(
    next(re.finditer(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))[1]
)


def test_a_message_of_sixteen_texts_is_one_payment_and_its_label_is_known_a_week_later(tmp_path, monkeypatch):
    for name in ("KAFKA_BROKERS", "MONGO"):
        monkeypatch.setenv(name, "host:1")
    project = app.open(shutil.copytree(ROOT / "examples" / "cards-mongo", tmp_path / "cards"))
    stolen = {**CARD, "Transaction ID": "#1 1", "Amount": "£288", "Bank": "Barlcays", "Fraud": "1"}
    odd = {**CARD, "Transaction ID": "#2 2", "Amount": ""}
    own = {"payment_id": "own", "paid_at": "2020-10-14T20:00:00Z", "card_type": "Visa", "entry_mode": "Tap"}
    own |= {"amount": "7.50", "channel": "POS", "country": "USA"}
    file = tmp_path / "messages.jsonl"
    file.write_text("".join(json.dumps(element) + "\n" for element in (CARD, CARD, stolen, odd, own)))
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(element) + "\n" for element in (CARD, stolen)))
    report = project.ingest(file, as_type="payment", labels=labels)
    with project.log.reading() as log:
        records = [item for found in log.read() for item in found]
    found = {record.id: json.loads(record.body) for record in records if record.kind == "event"}
    said = [json.loads(record.body) for record in records if record.kind == "label"]

    assert (len(CARD), report.events.appended, report.events.duplicates, report.events.quarantined) == (16, 3, 1, 1)
    assert [item["amount"] for item in found.values()] == ["5.00", "288.00", "7.50"]
    assert [item.get("bank") for item in found.values()] == ["RBS", "Barclays", None]
    assert next(iter(found.values()))["paid_at"] == "2020-10-14T19:00:00Z"
    assert [(line["verdict"], line["known_at"]) for line in said] == [
        ("genuine", "2020-10-21T19:00:00Z"),
        ("fraud", "2020-10-21T19:00:00Z"),
    ]


def test_a_decision_is_the_document_of_the_earlier_collection(monkeypatch):
    for name in ("KAFKA_BROKERS", "MONGO"):
        monkeypatch.setenv(name, "host:1")
    options = app.open(ROOT / "examples" / "cards-mongo").context.systems.sinks["cards"].options
    own = {"transaction_id": "#3577 209", "amount": "5.00", "age": "25.2", "card_type": "Visa"}
    body, fields = json.dumps({"id": "x", "outcome": "decline"}), json.dumps(own)
    row = Outgoing(7, 0, "decision", "payment", "x", "decline", body.encode(), fields.encode(), 1_602_702_000_000, None)
    found = mapped_document(row, document_readers(options["document"]))

    names = ["ID", *(name for name in CARD if name not in {"Transaction ID", "Day of Week"})]
    assert sorted(found) == sorted(names)
    assert found == {
        **dict.fromkeys(names),
        "ID": "#3577 209",
        "Date": "2020-10-14",
        "Time": 19,
        "Fraud": 1,
        "Type of Card": "Visa",
        "Amount": 5,
        "Age": 25.2,
    }


def test_documents_of_frauds_have_the_names_of_the_earlier_system():
    folder = TEMPLATE_FOLDER / "paysim"
    files = {f"notices/{path.name}": path.read_text(encoding="utf-8") for path in folder.glob("notices/*.yaml")}
    notices = load_notices(files, app.open(folder).definitions, [], [])
    confirmed, sent, refused = (notices[name] for name in ("fraud_confirmation", "email_sent", "email_refused"))
    restored = {f"{age}Balance{whose}Set" for age in ("old", "new") for whose in ("Origin", "Dest")}

    assert (confirmed.folder, confirmed.file) == ("fraud_confirmation", "{id}_fraud_confirmation")
    assert len(confirmed.document) == 12 + 3 + 4
    assert {"confirm", "isTrueFraud", "refund"} | restored <= confirmed.document.keys()
    assert sent.file == refused.file == "{id}_email_confirmation"
    assert sent.document.keys() == refused.document.keys() == {"idTransaction", "isSendEmail"}
