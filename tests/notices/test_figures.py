"""The mail of a report's figures: once a day, with bars and dashes, and all the same where figures are lacking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from shroff.errors import UsageError
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.notices.mailer import DoubtError, Mail, Unmailed
from shroff.services.jobs.kinds import kind_named
from shroff.services.jobs.work import JobRun
from shroff_plugins.analytics.report_keys import BEFORE
from shroff_plugins.analytics.report_text import CountedFunnel, CountedReport, CountedStep, counted_values
from tests.support.projects import definitions
from tests.support.telling import NOW_MS, Bank, notice, payment, text_of

KPI = """
on: report
at: "05:00"
zone: Europe/Berlin
to: [team@bank.example]
figures:
  payments: { event: payment }
  cards: { label: Cards in use, distinct: card, event: payment }
  money: { label: Money moved, sum: this.amount, event: payment }
  large: { event: payment, where: this.amount > 100, hidden: true }
  share_large: { value: figures.large / figures.payments, as: percent }
  per_large: { value: figures.money / figures.large, as: money }
funnels: [shopping]
"""
FUNNELS = """
shopping:
  user: card
  steps:
    - { name: small_payment, event: payment, where: this.amount < 50 }
    - { name: large, event: payment, where: this.amount >= 50 }
"""
FIVE_MS = DAY_MS - NOW_MS % DAY_MS + 3 * HOUR_MS  # until 05:00 in Berlin, of the day after
FILES = notice(KPI, "kpi") | {"funnels.yaml": FUNNELS, "notices/customer.yaml": None}


def bank_with(tmp_path, **changes: str | None) -> Bank:
    """A bank with payments of two days: three of two cards on the 28th, of which one is large, and one on the 27th."""
    bank = Bank(tmp_path, FILES | {name.replace("__", "/") + ".yaml": text for name, text in changes.items()})
    bank.pay(
        payment("p-0", "10.00", at=NOW_MS - DAY_MS),
        payment("p-1", "150.00"),
        payment("p-2", "20.00"),
        payment("p-3", "30.00", card="c-2"),
    )
    bank.tell()
    return bank


def mails_of(bank: Bank) -> list[EmailMessage]:
    return [row for row in bank.post.read if "figures of 28 May" in str(row["Subject"])]


def test_the_figures_of_a_day_come_once_at_their_hour(tmp_path):
    bank = bank_with(tmp_path)
    bank.tell(later_ms=FIVE_MS - MINUTE_MS)
    assert mails_of(bank) == []
    for _ in range(3):
        bank.tell(later_ms=MINUTE_MS)

    (mail,) = mails_of(bank)
    assert str(mail["Subject"]) == "small: figures of 28 May"
    lines = [re.sub("[ \u00a0]+", " ", line).strip() for line in text_of(mail).splitlines()]
    at = lines.index("28 May 22 May to 28 May")
    assert lines[at + 1 : at + 6] == [
        "Payments 3 ▁▁▁▁▁▃█",
        "Cards in use 2 ▁▁▁▁▁▅█",
        "Money moved 200.00 EUR ▁▁▁▁▁▁█",
        "Share large 33.3 % ▁▁▁▁▁▁█",
        "Per large 200.00 EUR",
    ]
    assert lines[lines.index("Drop-off: shopping") + 3] == "Small payment 2 – – " + "#" * 20
    assert "large" not in "".join(line for line in lines if line.startswith("Large"))


def test_the_html_draws_bars_of_tables_and_shows_a_dash_for_a_ratio_without_a_denominator(tmp_path):
    bank = bank_with(tmp_path)
    found = bank.project.notices.preview("kpi", day="2026-05-27")
    bank.clock_ms += FIVE_MS
    assert bank.project.notices.test("kpi", "me@bank.example", day="2026-05-27") == []
    text, html = (text_of(_message(found.data), kind) for kind in ("plain", "html"))

    assert re.search(r"Per large +– *\n", text)
    assert "<svg" not in html
    assert "<img" not in html
    assert html.count('class="pale" width="10"') == 6 * 3  # of three figures six days before, pale; the day is dark
    assert html.count('class="bar" width="10" height="28"') == 3
    assert "Small payment" in html


def _message(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=SMTP)


@pytest.mark.slow
def test_what_cannot_be_counted_says_why_and_the_mail_leaves_all_the_same(tmp_path, monkeypatch):
    bank = bank_with(tmp_path, funnels=None)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("shroff_plugins.analytics.figures.read_frames", broken)
    bank.tell(later_ms=FIVE_MS)

    text = text_of(mails_of(bank)[0])
    assert text.count("not available") == 8  # five figures, the reasons of two, and a funnel
    assert text.count("a mistake in the program (ZeroDivisionError)") == 1
    assert "it needs payments, which is not available." in text
    assert "this project has no funnels." in text


@pytest.mark.slow
def test_a_long_reason_stands_in_the_mail_whole(tmp_path, monkeypatch):
    bank = bank_with(tmp_path)

    def broken(*_: object, **__: object) -> None:
        raise UsageError("lake " * 50 + "bring it back from a copy.")

    monkeypatch.setattr("shroff_plugins.analytics.figures.read_frames", broken)
    bank.tell(later_ms=FIVE_MS)

    assert "bring it back from a copy." in " ".join(text_of(mails_of(bank)[0]).split())


def test_a_report_that_was_made_by_a_job_is_not_made_again_at_its_hour(tmp_path):
    bank = bank_with(tmp_path)
    bank.clock_ms += FIVE_MS - HOUR_MS
    kind, due_ms = kind_named("report"), bank.clock_ms
    made = [
        kind.load()(bank.project, kind.read({"notice": "kpi"} | day), JobRun(due_ms))
        for day in ({}, {}, {"day": "2026-05-28"}, {"day": "2026-05-01"})
    ]
    assert [(item["day"][-2:], item["made"]) for item in made] == [
        ("28", True),
        ("28", False),
        ("28", False),
        ("01", True),
    ]
    bank.pay(payment("p-8", "9.00", card="c-8"))  # counted by nobody: the figures are those of the job
    bank.tell(later_ms=2 * HOUR_MS)

    (mail,) = mails_of(bank)
    assert re.search(r"Payments +3 ", text_of(mail))
    assert len(bank.post.mails) == 2


def test_a_report_of_which_nobody_knows_whether_it_left_leaves_once_more_with_the_same_id(tmp_path, monkeypatch):
    bank = bank_with(tmp_path)
    bank.clock_ms += FIVE_MS
    send = bank.post.send

    def cut_off(mail: Mail) -> Sequence[Unmailed]:
        send(mail)
        monkeypatch.undo()
        raise DoubtError("the connection ended before the answer")

    monkeypatch.setattr(bank.post, "send", cut_off)
    for _ in range(4):
        bank.tell(later_ms=HOUR_MS)

    first, second = mails_of(bank)
    assert str(first["Message-ID"]) == str(second["Message-ID"])
    assert text_of(first) == text_of(second)


def test_a_preview_of_a_day_is_for_reports_and_a_report_for_no_other_notice(tmp_path):
    bank = Bank(tmp_path, FILES | notice("to: [team@bank.example]\n", "plain"))
    bank.pay()
    with pytest.raises(UsageError, match="notice plain is not a report, so it is of no day"):
        bank.project.notices.preview("plain", day="2026-05-28")
    with pytest.raises(UsageError, match="notice plain is on flag, and makes no reports: write 'on: report'"):
        bank.project.notices.make_report("plain")
    with pytest.raises(UsageError, match="'yesterday' is not a day"):
        bank.project.notices.preview("kpi", day="yesterday")


def test_a_funnel_that_is_not_there_is_a_mistake_of_the_files(tmp_path):
    bank = Bank(tmp_path, FILES | {"funnels.yaml": FUNNELS.replace("shopping", "shoping")})
    (problem,) = bank.project.check().errors
    assert "there is no funnel 'shopping' in funnels.yaml. Did you mean shoping?" in str(problem)


def test_figures_are_for_reports_alone(tmp_path):
    bank = Bank(tmp_path, FILES | notice(KPI.replace("on: report", "on: flag"), "kpi"))
    assert "'figures' and 'funnels' are for a daily mail: write 'on: report'." in str(bank.project.check().errors[0])


def test_a_step_of_a_funnel_is_held_against_the_mean_of_the_days_before():
    steps = [
        CountedStep(f"step_{at}", count, before)
        for at, (count, before) in enumerate(
            [(6, [4] * BEFORE), (4, [4] * BEFORE), (3, [4] * BEFORE), (3, [0] * BEFORE), (3, [])]
        )
    ]
    found = counted_values(CountedReport([], [CountedFunnel("shop", steps)]), definitions().settings, "en", "UTC", 0)
    (funnel,) = found["funnels"]

    assert [(row["mean"], row["change"]) for row in funnel["steps"]] == [
        ("4.0", "+50\u00a0%"),
        ("4.0", "+0\u00a0%"),
        ("4.0", "\u221225\u00a0%"),
        ("0.0", "\u2013"),
        ("\u2013", "\u2013"),
    ]
