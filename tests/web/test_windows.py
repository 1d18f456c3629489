"""Windows of an entity as charts: what is drawn of features over decisions, and where the band lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shroff.explain.entities import KeyEvent
from shroff.runtime.values import replace
from shroff.streams.log import Record
from shroff.web.pages.charts.links import GraphKey, link_graph
from shroff.web.pages.charts.plots import Axis, plot_of
from shroff.web.pages.charts.strips import Strip, strip_between
from shroff.web.pages.charts.windows import FeatureTexts, Window, windows_of
from tests.support.projects import definitions

FEATURES = """
card:
  spent: sum(payment.amount) over 24h
  share: share(payment where payment.amount > 5) over 30d
  mean: mean(payment.amount) over 30d
  ratio: this.amount / card.mean
  count: count(payment) over 1h
  new: card.count > 0
  hour: hour(last(payment.at) over 7d)
"""


def seen(seq: int, time_ms: int, **features: Any) -> KeyEvent:
    """A decided event; its features are those of card."""
    record = Record(seq, "event", "payment", f"p-{seq}", time_ms, b"{}", True)
    return KeyEvent(record, "approve", None, (), {f"card.{name}": value for name, value in features.items()})


def features_before(events: Sequence[KeyEvent]) -> list[Any]:
    """The features of all decisions before the newest, the last of these."""
    return [event.features for event in events[:-1]]


def chart_of(*values: Any) -> Window:
    """The chart of a feature with these values, a second apart."""
    events = [seen(at + 1, 1_000 * at, spent=value) for at, value in enumerate(values)]
    found = windows_of(events[::-1], features_before(events))
    assert found is not None
    return found.charts[0]


def ys(window: Window) -> list[float]:
    """Where the points lie above the bottom, in per cent."""
    ((_, points),) = window.plot.lines
    return [round(100 - 100 * float(place.split(",")[1]) / window.plot.height, 1) for place in points.split()]


def test_a_key_without_decisions_has_no_windows():
    assert windows_of([KeyEvent(Record(1, "event", "login", "l-1", 5, b"{}", False))], []) is None


def test_a_feature_is_a_line_over_the_time_of_its_decisions_oldest_first():
    found = windows_of([seen(3, 4_000, spent="40.00"), seen(2, 1_000, spent="10.00"), seen(1, 0, spent="20.00")], [])

    assert found is not None
    assert (found.start_ms, found.end_ms) == (0, 4_000)
    (chart,) = found.charts
    assert [place.split(",")[0] for place in chart.plot.lines[0][1].split()] == ["0.0", "250.0", "1000.0"]
    assert ys(chart) == pytest.approx([50, 25, 100], abs=0.3)
    assert chart.now == "40.00"


def test_what_is_no_number_or_has_one_value_is_told_beside():
    found = windows_of([seen(2, 9, spent=1, last="DE", new=7), seen(1, 5, spent=2, last="DE")], [])

    assert found is not None
    assert [chart.feature for chart in found.charts] == ["card.spent"]
    assert found.others == {"card.last": "DE", "card.new": 7}


def test_missing_values_leave_no_point():
    assert len(ys(chart_of(1, None, 3, 4))) == 3


@pytest.mark.parametrize(("last", "is_far"), [(5, False), (50, True), (0, True)])
def test_the_band_holds_nine_of_ten_earlier_values_and_the_newest_lies_in_it_or_beside(last, is_far):
    chart = chart_of(4, 5, 5, 6, 6, 4, last)

    assert (chart.low, chart.high, chart.is_far) == (4, 6, is_far)
    assert chart.plot.spots[0].kind == ("dot-bad" if is_far else "dot-now")
    band = (100 - chart.band_top - chart.band_height, 100 - chart.band_top)  # on the scale of the line
    assert band == pytest.approx((ys(chart)[0], ys(chart)[3]), abs=0.2)
    assert 100 - chart.plot.spots[0].y == pytest.approx(ys(chart)[-1], abs=0.1)


def test_few_earlier_values_say_nothing_of_what_is_normal():
    chart = chart_of(4, 5, 6, 5, 90)

    assert (chart.low, chart.is_far) == (None, False)


def test_equal_and_empty_values_are_drawn_at_the_bottom_and_nowhere_else():
    assert ys(chart_of(0, 0, 0)) == [0, 0, 0]
    assert ys(chart_of(-2, 0)) == [0, 100]


def test_equal_ends_of_an_axis_put_all_in_its_middle():
    made = plot_of({"now": [(5, 1)]}, x=Axis(5, 5), y=Axis(0, 2), height=100, spots=[((5, 1), "dot-now", "here")])

    assert made.lines == [("now", "500.0,50.0")]
    assert (made.spots[0].x, made.spots[0].y) == (50, 50)
    assert [(item.at, item.says) for item in made.across] == [(75, "0.5"), (50, "1"), (25, "1.5"), (0, "2")]


@pytest.mark.parametrize(
    ("now", "low", "high", "strip"),
    [
        (50, 25, 75, Strip(34.3, 62.7, 65.7, is_far=False)),
        (100, 25, 50, Strip(26.5, 23.5, 97.0, is_far=True, beyond=2.0)),
        (-50, 0, 50, Strip(50.0, 47.0, 3.0, is_far=True)),
    ],
)
def test_a_strip_has_its_band_and_its_mark_on_one_scale_from_zero_or_the_least(now, low, high, strip):
    assert strip_between(now, low, high) == strip


def test_lines_dots_and_words_at_both_edges_share_their_axes():
    made = plot_of(
        {"now": [(0, 0), (2, 30)]},
        x=Axis(0, 8),
        y=Axis(0, 40),
        height=200,
        spots=[((2, 30), "dot-now", "here")],
        below=[(2, "two"), (8, "eight")],
    )

    assert made.lines == [("now", "0.0,200.0 250.0,50.0")]
    assert [(spot.x, spot.y) for spot in made.spots] == [(25, 25)]
    assert [(item.at, item.says) for item in made.below] == [(25, "two"), (100, "eight")]
    assert [(item.at, item.says) for item in made.across] == [(75, "10"), (50, "20"), (25, "30"), (0, "40")]


def test_the_words_of_dots_in_a_valley_stand_where_the_line_is_not():
    places = {"left": (1, 8), "least": (5, 2), "right": (9, 9)}
    spots = [(place, "dot-now", says) for says, place in places.items()]
    axis = Axis(0, 10)
    made = plot_of({"now": list(places.values())}, x=axis, y=axis, height=100, spots=spots, is_valley=True)

    assert [(spot.says, spot.is_below, spot.is_left) for spot in made.spots] == [
        ("left", False, False),
        ("least", True, False),
        ("right", False, True),
    ]


def test_the_charts_shown_first_are_those_farthest_from_what_is_usual():
    usual = {"a": 5, "b": 5, "c": 5, "d": 5}
    events = [seen(at + 1, at, **{name: value + at % 2 for name, value in usual.items()}) for at in range(20)]
    events.append(seen(21, 21, a=5, b=60, c=9, d=600))
    found = windows_of(events[::-1], features_before(events))

    assert found is not None
    assert [item.feature for item in found.first] == ["card.d", "card.b", "card.c"]
    assert ([item.feature for item in found.rest], found.unusual) == (["card.a"], 3)


def test_a_graph_has_the_key_what_it_shares_and_who_shares_that_with_two_of_one_name_apart():
    others = [
        GraphKey(f"c-{at}", "review", [("device", "d-1", "iPad"), ("device", "d-2", "iPad")][: 1 if at else 2])
        for at in range(9)
    ]
    own = GraphKey("c-own", "this one", [("device", "d-1", "iPad"), ("device", "d-2", "iPad")])
    found = link_graph(own, others)

    assert link_graph(replace(own, title="a long name of a shop"), others).boxes[0].title == "a long name of a…"
    wide = link_graph(replace(own, title="a long name of a shop"), others, title_max=24)
    assert wide.boxes[0].title == "a long name of a shop"
    assert len(link_graph(replace(own, through=[]), others).curves) == 7  # the values of others alone
    assert [box.title for box in found.boxes] == ["c-own", "iPad", "iPad", *(f"c-{at}" for at in range(6))]
    assert [box.says for box in found.boxes[1:3]] == ["device, 9 others", "device, 1 other"]
    assert len(found.curves) == 2 + 7
    assert all(0 <= box.y <= found.height - found.box for box in found.boxes)


@pytest.mark.parametrize(
    ("feature", "value", "title", "shown"),
    [
        ("card.spent", "1674.30", "Total spent in 24 h", "1,674.30\N{NO-BREAK SPACE}EUR"),
        ("card.share", 0.059712, "Share of payments in 30 days with amount above 5 EUR", "5.97 %"),
        ("card.mean", 12.3456, "Mean amount in 30 days", "12.35\N{NO-BREAK SPACE}EUR"),
        ("card.ratio", 13.16278, "Amount / mean amount in 30 days", "13.2"),
        ("card.new", True, "New", "yes"),
        ("card.count", None, "Payments in 1 h", "missing"),
        ("card.gone", 1_234, "Gone", "1,234"),
        ("card.hour", 22, "Hour of last at in 7 days", "22:00 UTC"),
    ],
)
def test_features_are_told_in_words_with_sensible_digits(feature, value, title, shown):
    texts = FeatureTexts(definitions({"features.yaml": FEATURES}))

    assert (texts.title(feature), texts.value(feature, value)) == (title, shown)


def test_amounts_have_the_places_of_their_currency():
    dinars = {"shroff.yaml": "shroff: 1\nname: small\nmoney: KWD\n", "features.yaml": FEATURES}
    shown = [FeatureTexts(definitions(dinars)).value("card.spent", value) for value in ("1674.300", "0.004")]

    assert shown == ["1,674.300\N{NO-BREAK SPACE}KWD", "0.004\N{NO-BREAK SPACE}KWD"]


@pytest.mark.parametrize(
    ("code", "title"),
    [("hour(payment.paid_at)", "Hour of paid at"), ("payment.amount", "Amount"), ("many_payments", "Many payments")],
)
def test_a_name_without_an_expression_is_spelled_out(code, title):
    assert FeatureTexts.plain(code) == title
