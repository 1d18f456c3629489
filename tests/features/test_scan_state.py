"""Conditions that look at each event of a window: look-up tables inside them, and what is let go."""

from __future__ import annotations

from shroff.features.online.engine import Online
from shroff.features.online.scan_state import ScanState
from shroff.language.expression import Aggregate, Compare, ItemField, ThisField
from shroff.language.row import Reference
from shroff.language.types import BOOLEAN, INTEGER
from shroff.project.definitions import computed_of, load_definitions
from shroff.replay.compare import verify_naive
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, documents, payment, writer

TABLES = {
    "events.yaml": FILES["events.yaml"] + '  shop: { payment: "tables.shops[payment.card].kind" }\n'
    "tables:\n  shops: { card: text, kind: text, level: integer }\n",
    "tables/shops.csv": "card,kind,level\na,food,1\nb,food,2\nc,fuel,3\n",
    "features.yaml": """
shop:
  seen: count(payment) over 1d
  higher: count(payment where tables.shops[payment.card].level > tables.shops[this.card].level) over 1d
""",
}


def test_tables_are_looked_up_in_keys_and_in_conditions_that_look_at_each_event():
    log = MemoryLog()
    cards = ["b", "a", "c", "a"]
    answers = writer(log, TABLES).write([payment(at, at, card=card) for at, card in enumerate(cards)])
    features = [document["features"] for document in documents(answers)]

    assert [feature["shop.seen"] for feature in features] == [0, 1, 0, 2]
    assert [feature["shop.higher"] for feature in features] == [0, 1, 0, 1]
    assert verify_naive(log, lambda seq: True).first_mismatch is None


MIXED = """
card:
  above: count(payment where payment.amount > this.amount) over 1d
  order: count(payment where payment.id <= this.id) over 1d
  since: count(payment where payment.at > this.at - 2m) over 1d
"""


def test_a_condition_without_a_program_takes_no_other_to_python():
    files = {**FILES, "features.yaml": MIXED}
    definitions = load_definitions(files).or_raise()
    groups = Online(definitions.events, computed_of(definitions), definitions.reference, 0).groups
    log = MemoryLog()
    answers = writer(log, files).write([payment(at, at, id_=f"{at % 3}{at}") for at in range(6)])

    assert {(len(group.group.aggregates), group.look is None) for group in groups} == {(1, False), (2, True)}
    assert [document["features"]["card.order"] for document in documents(answers)] == [0, 1, 2, 1, 3, 5]
    assert verify_naive(log, lambda seq: True).first_mismatch is None


def larger(**window: int) -> Aggregate:
    condition = Compare(BOOLEAN, ">", ItemField(INTEGER, "x"), ThisField(INTEGER, "x"))
    return Aggregate(INTEGER, "count", "card", "payment", None, condition, **window)


def test_what_no_event_can_reach_any_more_is_let_go_key_by_key():
    history = ScanState([larger(over_ms=1_000), larger(last_n=2)], 500, Reference())
    for key in range(10):
        for time_ms in (0, 100, 200, 300):
            history.row(time_ms, (key, {"x": time_ms}), None)
    history.trim(10_000, keys=4)
    some = [len(cells) for cells in history.cells.values()]
    history.trim(10_000, keys=6)
    all_ = [len(cells) for cells in history.cells.values()]

    assert sorted(some) == [2] * 4 + [4] * 6
    assert all_ == [2] * 10  # the last two are kept, however old


def test_a_key_is_let_go_with_its_last_event_and_stays_while_one_is_in_reach():
    history = ScanState([larger(over_ms=1_000)], 500, Reference())
    for key, time_ms in enumerate((0, 9_000)):
        history.row(time_ms, (key, {"x": time_ms}), None)
    history.trim(10_000, keys=2)

    assert list(history.cells) == [1]
