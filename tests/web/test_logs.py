"""No secret and nothing personal stands in logs or in a bug report, whatever is sent and whatever fails."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.log.batch_classifier import BatchClassifier
from shroff.monitoring.bug_report import redacted
from shroff.monitoring.doctor import Finding
from shroff.runtime import logs
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory
from shroff.web.api import probes
from tests.support.source_memory import MemorySource, MemoryTopic
from tests.support.webs import Asker
from tests.web.test_web import PAYMENT, run
from tests.worker.test_feeding import until

pytestmark = pytest.mark.slow

NAME, CARD, MAIL, WORD = "Zebedee-Quux", "4111111111111111", "zebedee@quux.example", "hunter2-open-sesame"
PLANTED = (NAME, CARD, MAIL, WORD)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    found: list[str] = []
    root, level = logging.root.handlers[:], logging.root.level
    logs.begin(found.append, "json", "debug")
    yield found
    logs.LOG.handlers[:], logging.root.handlers[:], logs.LOG.propagate = [], root, True
    logs.LOG.setLevel(logging.NOTSET)
    logging.root.setLevel(level)
    monkeypatch.setattr(logs._ErrorStacks, "folder", None)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    folder = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    text = re.sub(r"(?m)^lateness:.*$", "", (folder / "shroff.yaml").read_text())
    settings = (
        f"source: kafka://shroff:{WORD}@127.0.0.1:9/payments\nmail: {{ smtp: smtp://u:{WORD}@h, from: {MAIL} }}\n"
    )
    (folder / "shroff.yaml").write_text(f"{text}\nlateness: 60d\n{settings}")
    (folder / "lists" / "blocked_cards.csv").open("a").close()
    return folder


def planted(number: int, **fields: object) -> dict[str, object]:
    texts = {"card": CARD, "merchant": NAME, "terminal": MAIL, "device": f"{NAME} {WORD}"}
    return {**PAYMENT, "payment_id": f"p-{number}", **texts, **fields}


def test_what_is_planted_in_every_input_stands_in_no_log_and_in_no_report(bank, lines, monkeypatch):
    topic = MemoryTopic({"payments/0": [], "payments/1": []}, "payment")
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(topic, name="kafka"))
    take = BatchClassifier._event

    def fails(draft: BatchClassifier, submission: object, event: object) -> object:
        if getattr(event, "id", "") == "p-66":
            raise ValueError(f"{NAME} {CARD} {WORD}")
        return take(draft, submission, event)

    def breaks(*_: object) -> object:
        raise KeyError(f"{NAME} {MAIL}")

    monkeypatch.setattr(BatchClassifier, "_event", fails)
    monkeypatch.setattr(probes, "page", breaks)
    logs.keep_errors_in(bank / ".shroff")

    async def steps(asks: Asker) -> None:
        posted = [planted(1), planted(2, amount=NAME), planted(3, **{NAME: CARD}), planted(66), {NAME: MAIL}, NAME]
        topic.send("payments/0", *(msgspec.json.encode(element) for element in (planted(7), planted(8, paid_at=NAME))))
        topic.send("payments/1", f'{{"{NAME}": {CARD}'.encode(), msgspec.json.encode(planted(9)))
        ids = {"x-request-id": "r-77", "x-other": WORD, "cookie": f"session={WORD}"}
        for body in posted:
            await asks.ask("POST", "/api/v1/events/payment", body, headers=ids)
        await asks.ask("POST", f"/api/v1/events/{quote(NAME)}?_{NAME}={CARD}", b"{" + NAME.encode())
        label = {"event": f"payment/{NAME}", "verdict": "fraud", "source": "analyst", "reason": f"{NAME} {MAIL}"}
        await asks.ask("POST", "/api/v1/labels", label)
        await asks.ask("GET", f"/api/v1/decisions/payment/{quote(MAIL)}?_note={WORD}")
        await asks.ask("GET", f"/api/v1/decisions/payment/{quote(MAIL)}?{NAME}={WORD}")
        await asks.ask("GET", "/metrics", key=WORD)
        await until(asks, lambda: asks.service.work.counts.decisions >= 3)
        broken = await asks.ask("GET", "/metrics", headers=ids)
        assert broken.status == 500
        told: Any = asks._application.tell
        for words in (*asks.told, *told.__self__):
            logs.tell(words)
        error_id = broken.json()["instance"].rpartition(":")[2]
        (entry,) = [load for load in map(json.loads, lines) if load.get("error_id") == error_id]
        assert entry["request_id"] == "r-77"
        assert entry["stack"][-1].endswith(" breaks")

    run(bank, steps)
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(topic, name="kafka"))
    health = app.open_exactly(bank).health
    logs.failure(f"posting to https://hooks.example/{WORD}", ValueError())
    findings = health.doctor()
    findings.append(Finding("notices", "wrong", f"HTTPS://Hooks.example/{WORD} says no", f"Try tcp://h/?key={WORD}"))
    health.bug_report(findings, bank / "report.zip")
    with zipfile.ZipFile(bank / "report.zip") as packed:
        parts = {name: packed.read(name).decode() for name in packed.namelist()}

    found = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"request answered", "event decided"} <= {item["message"] for item in found}
    assert any("cannot process it" in item["message"] for item in found)
    assert len(json.loads(parts["errors.json"])) >= 2
    assert json.loads(parts["settings.json"])["mail"]["smtp"] == "smtp://[covered]@h"
    hook = {"webhook": {"url": "https://hooks.example/services/key-in-path", "secret": "${HOOK}"}}
    assert redacted(hook)["webhook"] == {"url": "https://hooks.example/[covered]", "secret": "${HOOK}"}
    assert redacted({"url": "HTTPS://h/key"}) == {"url": "HTTPS://h/[covered]"}
    for word in PLANTED:
        assert [line for line in lines if word in line] == []
        assert [name for name, text in parts.items() if word in text] == []
