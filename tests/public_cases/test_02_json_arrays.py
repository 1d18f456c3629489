"""Arrays in JSON: an item by its index, one event for each item, and a proposed project that sees the array."""

from __future__ import annotations

import pytest

from shroff.services import project as app
from tests.public_cases import project_of

CASE, FILE = "02-json-arrays", "notification.jsonl"
EACH = """payment:
  id: psp
  time: at
  decide: true
  fields: { psp: text, at: time, account: text, amount: money }
  from:
    json:
      each: row.notificationItems
      psp: item.NotificationRequestItem.pspReference
      at: item.NotificationRequestItem.eventDate
      account: item.NotificationRequestItem.merchantReference
      amount: money(integer(item.NotificationRequestItem.amount.value) * 0.01)
entities:
  account: { payment: account }
"""


@pytest.mark.parametrize(("events", "found"), [("", ["P1"]), (EACH, ["P1", "P2"])])
def test_an_index_reads_one_item_and_each_makes_all_of_them_events(tmp_path, events, found):
    folder = project_of(CASE, tmp_path)
    if events:
        (folder / "events.yaml").write_text(events)
    project = app.open(folder)
    project.ingest([folder / FILE])

    assert project.events("payment")["psp"].to_pylist() == found


def test_a_proposed_project_takes_each_item(tmp_path):
    file = project_of(CASE, tmp_path) / FILE
    project, _, proposal = app.propose_project(tmp_path / "proposed", file)

    assert project.ingest([file]).events.appended == 2
    assert "the events are the items of an array" in proposal.guesses
