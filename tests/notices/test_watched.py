"""What is told by the clock and of what goes wrong: the daily report, spikes, failures; calls of webhooks."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from shroff.adapters.log.records.records import SqlRecords
from shroff.adapters.sinks.webhook import WebhookSink
from shroff.cases import case_actions, dispositions
from shroff.errors import TransientError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.notices.notification_worker import NoticeWorker
from shroff.notices.outgoing_mail import _call
from shroff.notices.reports.daily import due_for, report_due
from shroff.notices.reports.report_figures import day_of
from shroff.notices.scheduled_notices import ScheduledNotices
from shroff.notices.store import REFUSED, SENT, Due
from shroff.notices.texts import words
from shroff.notices.triggers import DecisionNotices
from shroff.operations.numbers import name_of
from shroff.runtime.values import replace
from shroff.streams.log import Record
from shroff.streams.sink import Outgoing
from shroff.streams.sink_cursor import DeliveryHealth, Trouble
from tests.support.telling import NOW_MS, Bank, notice, payment, text_of, token_in

TEAM = "to: [team@bank.example]\n"
MIDNIGHT_MS = NOW_MS - NOW_MS % DAY_MS


def text_after(bank: Bank, later_ms: int) -> str:
    """The plain text of the newest mail, that much later."""
    bank.tell(later_ms=later_ms)
    return text_of(bank.post.read[-1])


# ---- the report


def reported(tmp_path, more: str = "") -> Bank:
    return Bank(tmp_path, notice(f'{TEAM}on: report\nat: "07:00"\n{more}', "daily") | {"notices/customer.yaml": None})


def test_the_report_of_a_day_comes_once_at_its_hour(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1"), payment("p-2", "20.00"), payment("p-3", "30.00"))
    bank.tell(later_ms=DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS - MINUTE_MS)
    assert len(bank.post.mails) <= 1  # that of the day before, which had nothing
    before = len(bank.post.mails)
    for _ in range(3):
        bank.tell(later_ms=MINUTE_MS)

    assert len(bank.post.mails) == before + 1
    (mail,) = bank.post.read[before:]
    assert str(mail["Subject"]) == "small: 28 May"
    assert "Approved                          2              50.00" in text_of(mail)
    assert "Reviewed                          1             189.90" in text_of(mail)
    assert "Events                            3             239.90" in text_of(mail)


def test_a_weekly_report_comes_on_monday_with_the_days_of_its_week(tmp_path):
    bank = reported(tmp_path, "every: week\n")
    bank.pay(payment("p-1", at=NOW_MS - 7 * DAY_MS), payment("p-2", at=NOW_MS - 2 * DAY_MS), payment("p-3", "20.00"))
    monday_ms = MIDNIGHT_MS + 4 * DAY_MS  # it is Thursday
    for later_ms in (DAY_MS, monday_ms + 7 * HOUR_MS - NOW_MS - DAY_MS, HOUR_MS):
        bank.tell(later_ms=later_ms)

    (mail,) = bank.post.read
    assert str(mail["Subject"]) == "small: 25 May to 31 May"
    assert "Decisions from 25 May to 31 May" in text_of(mail)
    assert "Events                            2             209.90" in text_of(mail)
    assert str(bank.project.notices.make_report("daily")[0]) == "2026-05-31"


def test_a_weekly_report_compares_with_the_week_before_and_estimates_weeks_whose_labels_still_come(tmp_path):
    bank = reported(tmp_path, "every: week\n")
    times = [NOW_MS - 24 * DAY_MS + number * DAY_MS // 2 for number in range(49)]  # from 4 May to now, 28 May
    bank.pay(*(payment(f"p-{number}", "20.00", at=at_ms) for number, at_ms in enumerate(times)))
    for number in range(0, 40, 3):
        known_at = time_text(times[number] + (1 + number % 5) * DAY_MS // 2)
        bank.project.label(f"payment/p-{number}", "fraud", source="chargeback", known_at=known_at)
    for later_ms in (DAY_MS, MIDNIGHT_MS + 4 * DAY_MS + 7 * HOUR_MS - NOW_MS - DAY_MS):
        bank.tell(later_ms=later_ms)
    text = " ".join(text_of(bank.post.read[-1]).split())

    week = sum(at_ms >= MIDNIGHT_MS - 3 * DAY_MS for at_ms in times)
    assert f"Compared with the same time before: Decisions -{100 * (1 - week / 14):.1f} %" in text
    estimates = text.partition("labels still come (90 % interval)")[2]
    assert "week from 25 May" in estimates
    assert "EUR" in estimates.partition("week from 25 May")[2].partition(" to ")[0]


def test_a_week_in_which_clocks_change_is_compared_with_whole_days(tmp_path):
    daily = reported(tmp_path, "every: week\nzone: Europe/Berlin\n").services.notices["daily"]
    for last in (date(2026, 3, 29), date(2026, 4, 5), date(2026, 10, 25)):
        day = day_of(daily, due_for(daily, last, NOW_MS))
        begins = [datetime.fromtimestamp(at_ms // 1_000, day.zone) for at_ms in (day.before_ms, day.start_ms)]
        assert [f"{begin:%F %R}" for begin in begins] == [f"{last - timedelta(days):%F} 00:00" for days in (13, 6)]


def test_the_report_has_a_chart_by_the_hours_of_its_zone(tmp_path):
    bank = reported(tmp_path, "zone: Europe/Berlin\n")
    bank.pay(*(payment(f"p-{number}", "20.00") for number in range(4)))
    bank.pay(payment("p-9", "20.00", at=NOW_MS - HOUR_MS))
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 6 * HOUR_MS)
    html = text_of(bank.post.read[-1], "html")

    assert "  22         4  ########################################" in text
    assert "  21         1  ##########\n" in text
    assert 'width="100%"><tr><td class="bar"' in html
    assert 'width="25%"><tr><td class="bar"' in html


def test_the_report_says_what_became_known(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1"), payment("p-2", "20.00"), payment("p-3"), payment("p-4", "5.00"))
    for name, verdict in (("p-1", "fraud"), ("p-2", "fraud"), ("p-3", "genuine"), ("p-4", "genuine")):
        bank.project.label(f"payment/{name}", verdict, source="analyst")
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "Fraud found, stopped 1 189.90 EUR" in lines_of(text)
    assert "Fraud found, approved 1 20.00 EUR" in lines_of(text)
    assert "Genuine found, stopped 1 189.90 EUR" in lines_of(text)


def test_labels_count_on_their_day_even_where_no_event_of_that_day_is(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1", at=NOW_MS - 9 * DAY_MS))
    bank.project.label("payment/p-1", "fraud", source="customer")
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "Fraud found, stopped 1 189.90 EUR" in lines_of(text)
    assert "Customers who said no                     1" in text


def test_of_labels_that_contradict_each_other_the_one_in_force_counts(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-3", "20.00", at=NOW_MS - 3 * DAY_MS))
    bank.pay(payment("p-1"), payment("p-2"))
    bank.project.label("payment/p-3", "fraud", source="chargeback", known_at="2026-05-26T08:00:00Z")
    for name, verdict, source in (
        ("p-1", "fraud", "chargeback"),
        ("p-1", "genuine", "customer"),  # the last word, and a weaker one
        ("p-2", "genuine", "customer"),
        ("p-2", "fraud", "analyst"),
        ("p-3", "fraud", "chargeback"),  # says only what was known two days before
    ):
        bank.project.label(f"payment/{name}", verdict, source=source)
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "Fraud found, stopped                      2" in text
    assert "Fraud found, approved                     0" in text
    assert "Genuine found, stopped                    0" in text


def test_a_report_that_leaves_late_says_what_it_would_have_said_at_its_hour(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1"))
    bank.tell()
    bank.post.failing = [TransientError("the server does not answer")]
    bank.tell(later_ms=DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)
    bank.project.label("payment/p-1", "fraud", source="analyst", known_at="2026-05-28T21:00:00Z")
    bank.pay(payment("p-2", at=NOW_MS - MINUTE_MS), payment("p-3", card="c-3"))
    text = text_after(bank, HOUR_MS)

    assert "Events                            1             189.90" in text
    assert "Fraud found, stopped                      0" in text
    assert "open cases 1" in lines_of(text)


@pytest.mark.slow
def test_a_report_reads_no_more_than_its_day_however_long_the_log_is(tmp_path, monkeypatch):
    bank = reported(tmp_path)
    bank.pay(
        *(
            payment(f"p-{day}-{number}", "5.00", at=MIDNIGHT_MS + (day - 30) * DAY_MS + number * MINUTE_MS)
            for day in range(32)
            for number in range(60)
        )
    )
    told = {"verdict": "genuine", "source": "import", "known_at": time_text(MIDNIGHT_MS - 9 * DAY_MS)}
    names = [f"payment/p-{day}-{number}" for day in range(20) for number in range(60)]
    labels = tmp_path / "labels.jsonl"  # known long ago, and only now in the log: their times say nothing of places
    labels.write_bytes(b"\n".join(msgspec.json.encode({"event": name, **told}) for name in names))
    assert bank.project.labelling.add_file(labels).labels.appended == len(names)
    read: list[int] = []
    whole = SqlRecords.read

    def counted(self: SqlRecords, *part: int) -> Iterator[list[Record]]:
        for records in whole(self, *part):
            read.append(len(records))
            yield records

    monkeypatch.setattr(SqlRecords, "read", counted)
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "Events                           60             300.00" in text
    assert sum(read) < 300, "of 3,000: some looks for where the day begins and ends, and the day"


def test_customers_answers_stand_in_the_report(tmp_path):
    bank = Bank(tmp_path, notice(f'{TEAM}on: report\nat: "07:00"\n', "daily"))
    bank.pay(payment("p-1"), payment("p-2"))
    bank.tell()
    confirming = bank.project.notices.confirming()
    tokens = [token_in(row) for row in bank.post.read if "Was this you?" in str(row["Subject"])]
    for token, said in zip(tokens, ("yes", "no"), strict=True):
        confirming.answer(token, said)
    confirming.close()
    bank.pay(payment("p-3", "20.00"))  # the process that writes the log takes the answers in, too
    bank.project.label("payment/p-3", "fraud", source="customer")  # by telephone
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "Customers who said yes                    1" in text
    assert "Customers who said no                     2" in text


@pytest.mark.parametrize(
    ("hour", "day"), [(6.99, None), (7.0, "2026-05-27"), (18.9, "2026-05-27"), (19.1, None), (23.0, None)]
)
def test_a_report_that_is_half_a_day_late_is_not_made_any_more(tmp_path, hour, day):
    bank = reported(tmp_path)
    found = report_due(bank.project.notice_files.declared["daily"], MIDNIGHT_MS + round(hour * HOUR_MS))

    assert (None if found is None else msgspec.json.decode(found.told)["day"]) == day


def test_a_log_that_begins_after_the_hour_of_a_report_gets_its_first_the_day_after(tmp_path):
    bank = Bank(tmp_path, notice(f'{TEAM}on: report\nat: "20:00"\n', "daily") | {"notices/customer.yaml": None})
    assert bank.tell().read == []  # no log yet
    bank.pay()  # at 20:26, and what is added to an empty log after the hour is no day's figures
    assert bank.tell().read == []
    bank.tell(later_ms=DAY_MS - 26 * MINUTE_MS)

    assert [str(mail["Subject"]) for mail in bank.post.read] == ["small: 28 May"]


def test_the_report_says_what_waits_for_people(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1"), payment("p-2", "150.00", card="c-2"), payment("p-3", card="c-3"))
    with bank.project.cases.open() as desk:
        dispositions.decide(desk, bank.project.context.who, 3, "genuine")
        case_actions.escalate(desk, bank.project.context.who, 2, "hard")
    shown = lines_of(text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS))
    at = shown.index("Open work")

    assert shown[at + 2 : at + 7] == [
        "open cases 1",
        "at stake in them 189.90 EUR",
        "overdue cases, with escalated ones 0",
        "time left for the next case 13 h 25 min",
        "escalated 1",
    ]


def lines_of(text: str) -> list[str]:
    """The lines of a text, with one blank where there are several."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_report_of_a_day_on_which_nothing_waits_says_so(tmp_path):
    bank = reported(tmp_path)
    bank.pay(payment("p-1", "1.00"))
    text = text_after(bank, DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS)

    assert "open cases 0" in lines_of(text)
    assert "time left" not in text


@pytest.mark.parametrize(
    ("days", "told"), [(2, "longest overdue by 10 h 34 min"), (5, "longest overdue since 2026-05-29")]
)
def test_cases_whose_time_is_over_stand_in_the_report(tmp_path, days, told):
    bank = reported(tmp_path)
    bank.pay(payment("p-1"))
    shown = lines_of(text_after(bank, days * DAY_MS - NOW_MS % DAY_MS + 7 * HOUR_MS))

    assert "overdue cases, with escalated ones 1" in shown
    assert told in shown
    assert "No decision was made in this time." in shown
    assert not any(line.startswith(("00 ", "Decisions by hour", "Outcome ")) for line in shown)


# ---- spikes and failures


def test_a_rule_that_flags_far_more_than_usual_is_told_once_an_hour(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: spike\ntimes_usual: 3\nleast: 10\n") | {"rules/large.yaml": RULE})
    usual = [payment(f"u-{at}", at=NOW_MS - at * HOUR_MS, card=f"u-{at}") for at in range(20, 0, -1)]
    bank.pay(*usual, *(payment(f"p-{number}", card=f"c-{number}") for number in range(9)))
    assert bank.tell().mails == []
    bank.pay(*(payment(f"q-{number}", card=f"d-{number}") for number in range(3)))
    for _ in range(3):
        bank.tell()

    assert [str(row["Subject"]) for row in bank.post.read] == ["small: large flags far more than usual"]
    assert "large has 12 flags in an hour; 1.0 are usual." in text_of(bank.post.read[0])


RULE = """
- id: large
  on: payment
  by: card
  when: this.amount > 100
  effect: review
"""


def test_a_sink_that_fails_for_a_minute_is_told_once(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: failure\n", "failing") | {"notices/customer.yaml": None})
    bank.pay(payment(amount="1.00"))
    trouble = Trouble("its server does not answer", NOW_MS)
    health = [DeliveryHealth("decided", 0, 5, 0, 3, trouble)]
    seconds = iter(range(10_000))
    teller = NoticeWorker(bank.services, 0, lambda: health, clock=lambda: 100.0 * next(seconds))
    told = []
    for later_ms in (0, MINUTE_MS - 1, 1, HOUR_MS):
        bank.clock_ms += later_ms
        teller.step()
        teller.step()
        told.append(len(bank.post.mails))
    assert told == [0, 0, 1, 1]
    health[0] = replace(health[0], trouble=Trouble("it is away again", NOW_MS + HOUR_MS))
    bank.clock_ms += HOUR_MS
    teller.step()
    teller.step()
    teller.close()

    assert [str(row["Subject"]) for row in bank.post.read] == [
        "small: sink decided is failing: its server does not answer",
        "small: sink decided is failing: it is away again",
    ]


def test_input_that_is_refused_is_told(tmp_path):
    bank = Bank(tmp_path, notice(f"{TEAM}on: failure\n", "failing") | {"notices/customer.yaml": None})
    bank.pay(payment(amount="1.00"))
    with closing(bank.project.log.open(read_only=True)) as log, bank.project.notice_files.told() as store:
        watching = ScheduledNotices(bank.services, store, log, tuple)
        assert watching.look() == 0
        bank.pay(payment("p-2", amount="1.005"), payment("p-3", amount="none"))
        assert watching.look() == 1
        assert watching.look() == 0
        bank.pay(*(payment(f"p-{number}", amount="none") for number in range(10, 15)))
        assert watching.look() == 0  # of an hour once,
        bank.clock_ms += HOUR_MS
        watching.go_on(store, log)
        assert watching.look() == 1  # and then all that came since
    bank.tell()

    assert "2 more in quarantine" in text_of(bank.post.read[0])
    assert "5 more in quarantine" in text_of(bank.post.read[1])


# ---- webhooks


class Hook:
    """A server that answers each call by the next of its statuses, 204 when there are no more."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = hook.statuses.pop(0) if hook.statuses else 204
                if status < 300:
                    hook.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def called(tmp_path, hook: Hook) -> Bank:
    text = f"channel: webhook\nurl: {hook.url}\nsecret: ${{HOOK_SECRET}}\n"
    return Bank(tmp_path, notice(text))


def test_a_webhook_is_called_once_for_each_and_signed(tmp_path, hook, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    bank = called(tmp_path, hook)
    bank.pay(payment("p-1", "1189.90"), payment("p-2", "1189.90"))
    for _ in range(3):
        bank.tell()

    bodies = [msgspec.json.decode(body) for _, body in hook.calls]
    assert sorted(row["event"] for row in bodies) == ["payment/p-1", "payment/p-2"]
    assert {(row["kind"], row["rule"], row["outcome"]) for row in bodies} == {("flag", "large", "review")}
    recorded = "A payment of 1189.90 at Corvane"  # as the receipt covers it
    assert [(row["reason"], row["reasons"]) for row in bodies] == 2 * [(recorded, [recorded])]
    assert len({headers["webhook-id"] for headers, _ in hook.calls}) == 2
    assert all(headers["webhook-signature"].startswith("v1,") for headers, _ in hook.calls)
    assert "whsec" not in repr((bank.project.notice_files.declared, bank.letters()))


def test_a_key_that_no_header_takes_leaves_under_its_hash(hook):
    keys = ("spike-large-1", "traffic-payment-city-\u0141\u00f3d\u017a-1", "traffic-payment-city-a\nb-1")
    dues = [Due(key, "hook", "traffic", "", "", "{}", NOW_MS, NOW_MS) for key in keys for _ in range(2)]
    with closing(WebhookSink("bank", {"url": hook.url, "secret": "a secret of tests"})) as sink:
        assert [_call(due, b"{}", sink) for due in dues] == 6 * [""]

    ids = [headers["webhook-id"] for headers, _ in hook.calls]
    assert ids[0] == "bank-spike-large-1"
    assert [ids.count(id_) for id_ in ids] == 6 * [2]


def test_a_webhook_that_is_away_is_called_again_and_one_that_refuses_is_shown(tmp_path, hook, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    bank = called(tmp_path, hook)
    hook.statuses = [503, 503, 503, 503]
    bank.pay()
    for _ in range(4):
        bank.tell(later_ms=HOUR_MS)
        hook.statuses = []
    bank.pay(payment("p-2", at=bank.clock_ms))
    hook.statuses = [400] * 9
    bank.tell(later_ms=HOUR_MS)

    assert len(hook.calls) == 1
    assert sorted(letter.state for letter in bank.letters()) == sorted([SENT, REFUSED])


def test_slack_teams_and_pagerduty_get_bodies_of_their_own(tmp_path, hook, monkeypatch):
    monkeypatch.setenv("PAGER_KEY", "R0UT1NG")
    chat = f"on: decision\nevent: payment\noutcomes: [review]\nchannel: webhook\nurl: {hook.url}\nformat: "
    pager = f"channel: webhook\nurl: {hook.url}\nsecret: ${{PAGER_KEY}}\nformat: pagerduty\n"
    bank = Bank(tmp_path, {**notice(pager), **notice(f"{chat}slack\n", "slack"), **notice(f"{chat}teams\n", "teams")})
    hook.statuses = [503, 503, 503]
    bank.pay(payment(merchant="A<!channel>&[C](https://evil.example)", amount="1189.90"))
    for name in ("slack", "teams"):
        with closing(DecisionNotices(bank.services, bank.services.notices[name])) as sink:
            sink.send([Outgoing(0, 1, "decision", "payment", "p-1", "review", b"")])
    for _ in range(4):
        bank.tell(later_ms=HOUR_MS)

    bodies = [msgspec.json.decode(body) for _, body in hook.calls]
    pager, slack, teams = sorted(bodies, key=lambda body: (body.get("routing_key") is None, "type" in body))
    assert (pager["routing_key"], pager["event_action"], len(pager["dedup_key"])) == ("R0UT1NG", "trigger", 64)
    assert pager["payload"]["custom_details"]["event"] == "payment/p-1"
    assert {"summary", "source", "severity"} <= pager["payload"].keys()
    assert "A&lt;!channel&gt;&amp;[C]" in slack["text"]
    assert slack.keys() == {"text"}
    card = teams["attachments"][0]["content"]
    assert (teams["type"], card["type"], [part["type"] for part in card["body"]][-1]) == (
        "message",
        "AdaptiveCard",
        "FactSet",
    )
    assert "p-1" in card["body"][0]["text"]
    assert r"A<!channel\>&\[C\]\(https://evil.example\)" in str(card["body"]).replace("\\\\", "\\")
    assert "[C](" not in str(card["body"])


def test_german_mails_take_the_names_of_numbers_from_their_table():
    written = tomllib.loads((Path(words.__file__).parent / "languages/de.toml").read_text())["words"]

    assert not written.keys() & words.NUMBER_OF_WORD.keys()
    for word, number in words.NUMBER_OF_WORD.items():
        assert words.WORDS["de"][word] == name_of(number, "de") != name_of(number)
