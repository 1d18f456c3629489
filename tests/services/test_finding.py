"""Which decision a reference means: types are those of the project and those that its log has from before."""

from __future__ import annotations

import json

import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.support.projects import FILES

ORDERS = """
order:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time }
entities:
  buyer: { order: id }
"""


@pytest.fixture
def bank(tmp_path):
    """A project that decided payments and then forgot of them, and took an order."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    take(tmp_path, payment={"id": "p5", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "500.00"})
    take(tmp_path, payment={"id": "both", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.00"})
    (tmp_path / "events.yaml").write_text(ORDERS)
    (tmp_path / "features.yaml").unlink()
    (tmp_path / "rules" / "large.yaml").unlink()
    take(tmp_path, order={"id": "both", "at": "2026-03-01T12:00:01Z"})
    return tmp_path


def take(folder, **event):
    (folder / "one.jsonl").write_text(json.dumps(event))
    assert run(["-C", str(folder), "ingest", str(folder / "one.jsonl")]) == 0


@pytest.mark.parametrize("reference", ["payment/p5", "p5"])
def test_decisions_of_a_type_that_was_removed_are_explained_and_replayed(bank, reference):
    project = app.open(bank)
    recorded, again = project.replay(reference)

    assert (recorded.event, recorded.id) == ("payment", "p5")
    assert recorded == again
    assert project.explain(reference).document["rules"] == ["large"]


def test_a_bare_id_means_the_type_that_is_decided_now(bank):
    project = app.open(bank)

    assert project.replay("both")[0].event == "order"
    assert project.replay("payment/both")[0].event == "payment"


def test_what_is_nowhere_is_named_by_todays_type(bank):
    with pytest.raises(UsageError, match="there is no order 'p6' in the log"):
        app.open(bank).explain("p6")
    with pytest.raises(UsageError, match="there is no payment 'p6' in the log"):
        app.open(bank).explain("payment/p6")


def test_where_no_type_is_decided_any_more_old_decisions_are_found(bank):
    (bank / "events.yaml").write_text(ORDERS.replace("decide: true", "decide: false"))

    assert app.open(bank).replay("p5")[0].event == "payment"
