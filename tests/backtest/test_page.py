"""The page of a backtest: what its chart and its tables show."""

from __future__ import annotations

from shroff.backtest.report import page
from shroff.backtest.run import JudgedPeriod, backtest
from shroff.events.event import read_time
from tests.backtest.test_backtest import LATER, draft, log_of
from tests.support.projects import submission, writer


def test_the_weeks_of_the_page_have_amounts_and_dates_and_say_where_nothing_counts():
    log = log_of()
    late = {"id": "p90", "at": "2026-03-31T12:00:00Z", "card": "c", "amount": "400.00"}
    writer(log).write([submission("payment", 90, late)])
    text = page(backtest(log, draft(), period=JudgedPeriod(read_time("2026-04-02T00:00:00Z"))))
    chart = text[text.index("Net money a week") : text.index("As a table")]

    assert [f">{day}</text>" in chart for day in ("2026-03-01", "2026-03-02", "2026-03-30")] == [True] * 3
    assert chart.count('class="empty"') == 5, "the four weeks between, and that of the event which is too young"
    assert ">EUR</text>" in chart
    assert "-3" in chart
    assert 'y="4.0" text-anchor="end">0</text>' in chart, "the axis ends at the largest value"


def test_long_rule_names_may_break_so_that_the_table_fits():
    text = page(backtest(log_of(), draft(), period=JudgedPeriod(LATER)))

    assert '<td class="wide">second' in text
    assert "thead th{color:var(--ink-2);font-size:13px;white-space:normal" in text
    assert "@page{size:landscape" in text
