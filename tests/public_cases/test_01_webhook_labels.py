"""Labels come by the webhook that brings their events, as from files; mappings that no source uses are warned of."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json

import pytest

from shroff.services import project as app
from tests.public_cases import project_of
from tests.support.webs import asker

NOW_S = 1_772_366_500


def charge(number: int = 1, event: str = "evt_1"):
    card = {"card": {"fingerprint": "f"}}
    found = {"id": f"ch_{number}", "amount": 1050, "payment_method_details": card}
    return {"id": event, "type": "charge.succeeded", "created": NOW_S - 200, "data": {"object": found}}


def signed(message) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(message).encode()
    key = b"whsec_test"
    digest = hmac.new(key, f"{NOW_S}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"stripe-signature": f"t={NOW_S},v1={digest}"}


def sent(folder, *messages) -> list[tuple[int, str]]:
    async def whole() -> list[tuple[int, str]]:
        found = []
        async with asker(folder, now_ms=lambda: NOW_S * 1_000) as asks:
            for message in messages:
                body, headers = signed(message)
                answer = await asks.ask(
                    "POST", "/hooks/stripe", body, key="", media_type="application/json", headers=headers
                )
                found.append((answer.status, answer.json().get("state")))
        return found

    return asyncio.run(whole())


def shop_of(tmp_path):
    """The project of the case, whose verdict names both of its values."""
    folder = project_of("01-webhook-labels", tmp_path)
    events = folder / "events.yaml"
    other = "else 'unclear' when row.data.object.reason != 'fraudulent'"
    events.write_text(events.read_text().replace("else 'unclear'", other))
    return folder


@pytest.fixture
def shop(tmp_path):
    folder = shop_of(tmp_path)
    settings = folder / "shroff.yaml"
    settings.write_text(settings.read_text().replace("events: [payment, label]", "events: [payment, label], id: row"))
    return folder


@pytest.fixture
def dispute(shop):
    return json.loads((shop / "dispute.json").read_text())


def verdicts(folder):
    return app.open(folder).labels().select(["id", "verdict"]).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["charge", "dispute"])
def test_a_dispute_is_a_label_whichever_comes_first(shop, dispute, first):
    messages = [charge(), dispute] if first == "charge" else [dispute, charge()]

    assert [status for status, _ in sent(shop, *messages)] == [200, 200]
    assert verdicts(shop) == [{"id": "ch_1", "verdict": "fraud"}]


@pytest.mark.slow
def test_the_same_message_again_is_a_duplicate(shop, dispute):
    assert sent(shop, charge(), dispute, dispute, charge()) == [
        (200, "appended"),
        (200, "appended"),
        (200, "duplicate"),
        (200, "duplicate"),
    ]
    assert len(verdicts(shop)) == 1


@pytest.mark.slow
def test_what_is_neither_is_skipped_and_a_wrong_label_is_refused(shop, dispute):
    other = {**dispute, "type": "customer.created"}
    wrong = {**dispute, "data": {"object": {**dispute["data"]["object"], "charge": None}}}

    assert sent(shop, charge(), other, wrong) == [(200, "appended"), (200, "skipped"), (422, None)]
    assert verdicts(shop) == []


@pytest.mark.slow
def test_a_type_without_a_condition_takes_what_is_no_label(shop, dispute):
    events = shop / "events.yaml"
    events.write_text(events.read_text().replace("      when: row.type == 'charge.succeeded'\n", ""))

    assert sent(shop, charge(), dispute) == [(200, "appended"), (200, "appended")]
    assert verdicts(shop) == [{"id": "ch_1", "verdict": "fraud"}]


def warnings(folder):
    report = app.open(folder).check()
    assert report.is_ok
    return " ".join(str(warning) for warning in report.warnings)


def test_check_warns_of_an_id_that_the_id_of_the_message_replaces(tmp_path, shop):
    folder = shop_of(tmp_path / "again")

    assert "payment.from.json.charge in events.yaml is not used" in (said := warnings(folder))
    assert "Add 'id: row' to sources.stripe" in said
    assert "not used" not in warnings(shop)


def test_check_warns_of_labels_that_no_source_reads(shop):
    settings = shop / "shroff.yaml"
    assert "read from files only" not in warnings(shop)
    settings.write_text(settings.read_text().replace("[payment, label]", "[payment]"))

    assert "label.from.json in events.yaml is read from files only, by no source" in warnings(shop)


def test_check_warns_of_labels_that_nothing_tells_from_events(shop):
    events = shop / "events.yaml"
    events.write_text(events.read_text().replace("      when: row.type == 'charge.dispute.created'\n", ""))

    assert "nothing says which of its messages are labels" in warnings(shop)
