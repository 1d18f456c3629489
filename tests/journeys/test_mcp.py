"""`shroff mcp` spoken to by the official SDK over stdio: it reads, explains and back-tests, and changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys

import pytest

from shroff.cli.main import run
from shroff.config import TEMPLATE_FOLDER
from shroff.people.access import Role
from tests.support.forks import SHROFF
from tests.support.served import key_of, served

pytestmark = pytest.mark.slow
DRAFT = """
- id: any_payment
  on: payment
  by: card
  when: this.amount > 0
  reason: a payment
  effect: review
"""
EVENT = {
    "payment_id": "p-1",
    "paid_at": "2026-01-05T08:00:00Z",
    "amount": "24.90",
    "card": "c-1",
    "merchant": "m-1",
    "terminal": "t-1",
    "country": "DE",
    "channel": "pos",
}


def asked(url, key, calls):
    """The names of all tools, and the answers to these calls with whether each is a refusal."""

    from mcp.client.client import Client  # it keeps the stream for errors that is there when it is imported
    from mcp.client.stdio import StdioServerParameters

    async def ask():
        server = StdioServerParameters(
            command=str(SHROFF), args=["mcp", "--url", url], env={**os.environ, "SHROFF_KEY": key}
        )
        async with Client(server) as client:
            tools = (await client.list_tools()).tools
            answers = [await client.call_tool(name, arguments) for name, arguments in calls]
            return tools, [(answer.content[0].text, answer.is_error) for answer in answers]

    return asyncio.run(ask())


def test_an_assistant_searches_explains_and_tries_a_draft_and_writes_nothing(tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    viewer, analyst = key_of(folder, Role.VIEWER, "viewer"), key_of(folder, Role.ANALYST, "analyst")
    backtest = ("post_backtests", {"body": {"rules": {"draft.yaml": DRAFT}}})
    with served(folder) as service, service.client() as http:
        http.post("/api/v1/events/payment", json=EVENT).raise_for_status()
        tools, (card, explained, refused, absent, unknown, dots) = asked(
            service.url,
            viewer,
            [
                ("get_entities_entity_key", {"entity": "card", "key": "c-1"}),
                ("get_decisions_event_id_explain", {"event": "payment", "id": "p-1"}),
                backtest,
                ("post_labels", {"body": {"event": "payment/p-1", "verdict": "fraud"}}),
                ("get_cases_id", {"id": "none"}),
                ("get_decisions_event_id", {"event": "..", "id": "users"}),
            ],
        )
        _, ((report, is_refused),) = asked(service.url, analyst, [backtest])
        openapi = http.get("/api/openapi.json").json()

    assert json.loads(card[0])["timeline"][0]["id"] == "p-1"
    assert json.loads(explained[0])["outcome"] == "approve"
    assert "run:backtests" in refused[0]
    assert (refused[1], absent, unknown[1]) == (True, ("there is no tool or argument 'post_labels'", True), True)
    assert dots == ("'..' cannot be a segment of a URL path. Nothing was sent.", True)
    assert (is_refused, json.loads(report)["events"]) == (False, 1)
    rights = {
        route["operationId"]: {right for need in route["security"] for right in need["key"]}
        for methods in openapi["paths"].values()
        for route in methods.values()
    }
    assert {right for tool in tools for right in rights[tool.name] if not right.startswith("read:")} == {
        "run:backtests"
    }
    assert {tool.name for tool in tools if not tool.name.startswith("get_")} == {
        "post_analytics_event-counts",
        "post_analytics_facts",
        "post_rules_rule_blast-radius",
        "post_analytics_funnels",
        "post_analytics_funnels_users",
        "post_audit_verify",
        "post_backtests",
        "post_rules_rule_draft_check",
        "post_rules_rule_draft_count",
    }


def test_without_the_library_or_a_key_the_cure_is_named(monkeypatch, capsys):
    monkeypatch.delenv("SHROFF_KEY", raising=False)
    assert run(["mcp"]) == 2
    assert "shroff keys create" in capsys.readouterr().err

    monkeypatch.setenv("SHROFF_KEY", "shroff_x")
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert run(["mcp"]) == 2
    assert "pip install 'shroff[mcp]'" in capsys.readouterr().err
