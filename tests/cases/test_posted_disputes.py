"""Events of Stripe and Adyen, posted as webhooks that they sign, are stages of disputes by the mappings of the docs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import Any

import pytest

import shroff
from shroff.errors import UsageError
from shroff.services.disputes.operations import DisputeRow, ImportDisputes, ListDisputes
from tests.adapters.test_push_webhook import ADYEN_KEY, adyen_notice
from tests.cases.test_disputes import FILES, PAID, paid
from tests.support.projects import write_files
from tests.support.webs import asker

NOW_S = int(PAID.timestamp()) + 40 * 86_400
KEY = "whsec_test"
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "answer-disputes.md"
CARD = {"card": {"brand": "visa", "network_reason_code": "10.4"}}


def shop(folder: Path, provider: str, secret: str) -> shroff.Project:
    """A shop with a payment `p1`, the mapping of a provider as the docs have it, and its webhook."""
    (mapping,) = re.findall(rf"```yaml\n(label: +# {provider}\n.*?)```", PAGE.read_text(), re.DOTALL)
    events = re.sub(r"(?s)label:\n.*?(?=entities:)", lambda _: mapping, FILES["events.yaml"])
    source = f"webhook: {{ secrets: ['{secret}'], form: {provider.lower()} }}, events: [label]"
    files = {
        **FILES,
        "events.yaml": events,
        "shroff.yaml": f"{FILES['shroff.yaml']}sources: {{ psp: {{ {source} }} }}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    project = shroff.open(folder)
    project.decide([paid(1, "p1", PAID - PAID, "di")])
    return project


def posted(project: shroff.Project, *calls: tuple[bytes, dict[str, str]]) -> list[tuple[int, str, DisputeRow]]:
    """Each answer, and the dispute behind it."""

    async def whole() -> list[tuple[int, str, DisputeRow]]:
        found = []
        async with asker(project.context.paths.folder, now_ms=lambda: NOW_S * 1_000) as asks:
            for body, headers in calls:
                answer = await asks.ask(
                    "POST", "/hooks/psp", body, key="", media_type="application/json", headers=headers
                )
                (row,) = project.run(ListDisputes()).disputes
                found.append((answer.status, answer.json().get("state"), row))
        return found

    return asyncio.run(whole())


def by_stripe(number: int, kind: str, status: str, due_s: int | None, **more: Any) -> tuple[bytes, dict[str, str]]:
    object_ = {"id": "dp_1", "charge": "p1", "status": status, "reason": "fraudulent"}
    object_ |= {"evidence_details": {"due_by": due_s}, "payment_method_details": CARD, **more}
    message = {"id": f"evt_{number}", "type": kind, "created": NOW_S - 1_000 + number, "data": {"object": object_}}
    body = json.dumps(message).encode()
    digest = hmac.new(KEY.encode(), f"{NOW_S}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"stripe-signature": f"t={NOW_S},v1={digest}"}


def test_an_export_is_read_by_a_mapping_of_its_own_and_label_files_by_theirs(tmp_path):
    (mapping,) = re.findall(r"```yaml\n(label: +# an export in CSV\n.*?)```", PAGE.read_text(), re.DOTALL)
    verdict = "'genuine' when row.said == 'ok' else 'fraud' when row.said != 'ok'"
    own = f'  from:\n    csv: {{ event: row.about, verdict: "{verdict}" }}\n'
    events = re.sub(r"(?s)label:\n.*?(?=entities:)", lambda _: f"{mapping}{own}", FILES["events.yaml"])
    project = shroff.open(write_files(tmp_path, FILES | {"events.yaml": events}))
    project.decide([paid(1, "p1", PAID - PAID, "di"), paid(2, "p2", PAID - PAID, "di")])
    export, labels = tmp_path / "export.csv", tmp_path / "labels.csv"
    head = "id,Charge ID,Amount,Currency,Status,Network Reason Code,Created (UTC),Due by (UTC)"
    stages = [
        "dp_1,p1,21.50,eur,needs_response,10.4,2026-03-20 10:00,2026-04-09 23:59",
        "dp_2,p2,9,usd,won,,2026-03-21,",
    ]
    export.write_text("\n".join([head, *stages]))
    labels.write_text("about,said,known_at,source\np2,ok,2026-03-22,analyst\n")
    told = project.run(ImportDisputes(file=str(export)))
    (row,) = told.disputes

    assert (row.event, row.stage, row.code, row.amount) == ("payment/p1", "dispute", "10.4", "21.50")
    assert (row.known_at, row.due) == ("2026-03-20T10:00:00Z", "2026-04-09T23:59:00Z")
    assert told.text() == (
        "1 stage read: 1 appended, 0 waiting for their event, 0 already in the log, 0 quarantined.\n1 dispute with new "
        "stages: 1 can be answered, the first by 2026-04-09T23:59:00Z; 0 of those meet Compelling Evidence 3.0."
    )
    assert project.labelling.add_file(labels).labels.appended == 1
    export.write_text("\n".join([head, stages[0].replace("2026-03-20 10:00", "soon")]))
    with pytest.raises(UsageError, match=r"export\.csv:2: known_at: "):
        project.run(ImportDisputes(file=str(export)))


@pytest.mark.slow
def test_signed_events_of_stripe_are_stages_and_one_that_others_signed_changes_nothing(tmp_path):
    project = shop(tmp_path, "Stripe", KEY)
    due_s = NOW_S + 20 * 86_400
    calls = [
        by_stripe(1, "charge.dispute.created", "warning_needs_response", due_s),
        by_stripe(2, "charge.dispute.created", "needs_response", due_s),
        by_stripe(3, "charge.dispute.updated", "under_review", due_s, payment_method_details={}),
        by_stripe(4, "charge.dispute.closed", "won", None),
    ]
    body, headers = by_stripe(5, "charge.dispute.closed", "lost", None)
    found = posted(project, *calls, calls[1], (body + b" ", headers))

    said = [(status, state, row.stage, row.verdict) for status, state, row in found]
    assert said == [
        (200, "appended", "early_fraud_warning", "fraud"),
        (200, "appended", "dispute", "fraud"),
        (200, "appended", "represented", "fraud"),
        (200, "appended", "won", "genuine"),
        (200, "duplicate", "won", "genuine"),
        (403, None, "won", "genuine"),
    ]
    row = found[1][2]
    assert (row.event, row.network, row.code, row.dispute) == ("payment/p1", "visa", "10.4", "dp_1")
    assert row.due == shroff.events.event.time_text(due_s * 1_000)
    assert project.run(ListDisputes(as_of=found[1][2].known_at)).disputes[0].stage == "dispute"


@pytest.mark.slow
def test_signed_notifications_of_adyen_are_stages(tmp_path):
    project = shop(tmp_path, "Adyen", ADYEN_KEY)
    more = {
        "chargebackSchemeCode": "visa",
        "chargebackReasonCode": "10.4",
        "defensePeriodEndsAt": "2026-04-30T10:00:00Z",
    }

    def notice(number: int, code: str, **own: Any) -> tuple[bytes, dict[str, str]]:
        dated = {"eventDate": f"2026-04-0{number}T10:00:00+02:00", "pspReference": "d1", "originalReference": "p1"}
        return adyen_notice({**dated, "eventCode": code, "additionalData": more, **own}), {}

    codes = ["NOTIFICATION_OF_FRAUD", "CHARGEBACK", "CHARGEBACK_REVERSED", "SECOND_CHARGEBACK"]
    calls = [notice(number, code) for number, code in enumerate(codes, start=1)]
    found = posted(project, *calls, (calls[1][0].replace(b"1130", b"1131"), {}))

    assert [(status, row.stage, row.verdict) for status, _, row in found] == [
        (200, "early_fraud_warning", "fraud"),
        (200, "dispute", "fraud"),
        (200, "won", "genuine"),
        (200, "lost", "fraud"),
        (403, "lost", "fraud"),
    ]
    row = found[1][2]
    assert (row.due, row.network, row.code, row.dispute) == ("2026-04-30T10:00:00Z", "visa", "10.4", "d1")
