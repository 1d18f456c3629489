"""Sending events: what messages are made of them, where they go, when they are due, and how to go on."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from shroff.errors import TransientError, UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.sorting import in_order_of_time
from shroff.events.formats.wire import JsonDecoder, JsonEncoder
from shroff.events.intake import Intake
from shroff.project.settings.system import System
from shroff.streams.sender import Target
from shroff.worker.file_order import with_labels
from shroff.worker.producer import DueTimes, MessageMaker, Production, SendingPace, TopicChooser, keys_of, produce
from tests.support.projects import FILES, definitions

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text? hashed, amount: money, arn: text? unique, note: text? personal }
  from: { csv: { id: row.number_of_payment } }
login:
  id: id
  time: at
  fields: { id: text, at: time, user: text }
entities:
  card: { payment: card }
  user: { login: user }
"""
PROJECT = definitions({"events.yaml": EVENTS, "features.yaml": None, "rules/large.yaml": None})


class Kept:
    """A sender that keeps what is sent, and fails at the messages it is told to."""

    def __init__(self, *, shared: bool = False, never: int = 0):
        self.messages: list[tuple[str, bytes | None, dict]] = []
        self.shared, self.never = shared, never
        self.sent = self.failed = self.waiting = self.flushed = 0
        self.words: list[str] = []
        self.after = lambda: None

    def target(self, type):
        return Target(f"{type}s", self.shared and type != "label")

    def prepare(self, types, partitions):
        raise AssertionError

    def send(self, type, key, value):
        if self.sent + 1 == self.never:
            raise TransientError("nothing more can be sent")
        self.sent += 1
        self.messages.append((type, key, json.loads(value)))
        self.after()

    def flush(self, within_s):
        self.flushed += 1
        return self.waiting

    def close(self):
        raise AssertionError


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self):
        self.now_s = 100.0

    def clock(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


def sent(
    path: Path,
    as_type=None,
    *,
    sender=None,
    pace=None,
    field=None,
    labels=None,
    project=PROJECT,
    moment=None,
    topics=None,
    order="file",
):
    sender, moment = sender or Kept(), moment or Time()
    intake = Intake(project.events, project.settings, None)
    with read_lines(path) as lines:
        chosen = lines if topics is None else topics.watched(lines, path.name)
        submissions = intake.submissions(chosen, path.name, as_type)
        if order == "time":
            submissions = in_order_of_time(submissions)
        if labels is not None:
            submissions = with_labels(submissions, intake.submissions(read_lines(labels), labels.name, "label"))
        done = Production()
        outgoing = MessageMaker(
            project.events,
            project.settings,
            sender,
            lambda names_type: JsonEncoder(project.events, names_type=names_type),
            is_json=True,
            topics=topics,
        )
        keys = keys_of(project.events, project.settings, project.reference, field)
        try:
            waits = DueTimes(pace or SendingPace(), done, moment.clock, moment.sleep)
            produce(submissions, sender, outgoing, keys, waits)
        except (TransientError, KeyboardInterrupt) as error:
            return sender, done, error
    return sender, done, None


def written(tmp_path: Path, *rows: dict) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def payment(number: int, minute: int = 0, **more) -> dict:
    at = f"2026-03-01T12:{minute:02d}:00Z"
    return {"id": f"p{number}", "at": at, "card": "4111111111111111", "amount": "5.00"} | more


def test_messages_are_the_typed_events_with_hashed_and_personal_fields_as_they_are(tmp_path):
    rows = [payment(1, note="for é"), payment(2, amount=7, at="2026-03-01T13:00:00+01:00", more="no field")]
    sender, done, _ = sent(written(tmp_path, *rows), "payment")

    assert [value for _, _, value in sender.messages] == [
        {"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "4111111111111111", "amount": "5.00", "note": "for é"},
        {"id": "p2", "at": "2026-03-01T12:00:00Z", "card": "4111111111111111", "amount": "7.00"},
    ]
    assert (done.sent, done.next_row, done.refused) == (2, 3, 0)


def test_columns_of_a_file_are_mapped_as_ingest_maps_them(tmp_path):
    path = tmp_path / "march.csv"
    path.write_text("number_of_payment,at,amount\np7,2026-03-01T12:00:00Z,3.50\n", encoding="utf-8")
    sender, _, _ = sent(path, "payment")

    assert sender.messages == [("payment", None, {"id": "p7", "at": "2026-03-01T12:00:00Z", "amount": "3.50"})]


def test_what_is_sent_is_read_again_as_the_same_event(tmp_path):
    rows = [payment(number, number, arn=f"a{number}") for number in range(5)]
    path = written(tmp_path, *rows)
    sender, _, _ = sent(path, "payment")
    intake = Intake(PROJECT.events, PROJECT.settings, None)
    with read_lines(path) as lines:
        wanted = [submission.event for submission in intake.submissions(lines, "a", "payment")]
    again = written(tmp_path, *(value for _, _, value in sender.messages))
    with read_lines(again) as lines:
        found = [submission.event for submission in intake.submissions(lines, "a", "payment")]

    assert found == wanted


def test_a_shared_topic_has_messages_that_name_their_types(tmp_path):
    plain = definitions({"features.yaml": None, "rules/large.yaml": None})
    rows = [{"payment": payment(1)}, {"login": {"id": "l1", "at": "2026-03-01T12:00:00Z", "user": "u"}}]
    sender, _, _ = sent(written(tmp_path, *rows), sender=Kept(shared=True))
    short, _, _ = sent(written(tmp_path, payment(1)), "payment", sender=Kept(shared=True), project=plain)

    assert [value for _, _, value in sender.messages] == [
        {"payment": payment(1)},
        {"login": {"id": "l1", "at": "2026-03-01T12:00:00Z", "user": "u"}},
    ]
    assert [value for _, _, value in short.messages] == [{"payment": payment(1)}]


def test_types_whose_messages_could_not_be_read_again_are_refused(tmp_path):
    project = definitions(
        {
            "events.yaml": EVENTS.replace("csv: { id: row.number_of_payment }", "json: { id: row.number_of_payment }"),
            "features.yaml": None,
            "rules/large.yaml": None,
        }
    )
    row = payment(1, number_of_payment="p9")

    with pytest.raises(UsageError, match="could not be read here"):
        sent(written(tmp_path, row), "payment", project=project)


# ---- keys


def test_the_key_is_that_of_the_first_entity_of_the_type_or_a_field(tmp_path):
    rows = [{"payment": payment(1)}, {"login": {"id": "l1", "at": "2026-03-01T12:00:00Z", "user": "u1"}}]
    path = written(tmp_path, *rows)

    assert [key for _, key, _ in sent(path)[0].messages] == [b"4111111111111111", b"u1"]
    assert [key for _, key, _ in sent(path, field="amount")[0].messages] == [b'"5.00"', b"u1"]
    with pytest.raises(UsageError, match="Did you mean amount"):
        sent(path, field="amuont")


def test_an_event_whose_key_is_missing_has_none(tmp_path):
    sender, _, _ = sent(written(tmp_path, payment(1, card=None)), "payment")

    assert sender.messages[0][1] is None


def test_a_key_of_several_parts_is_all_of_them(tmp_path):
    events = FILES["events.yaml"].replace("card: { payment: card }", "pair: { payment: [card, amount] }")
    project = definitions({"events.yaml": events, "features.yaml": None, "rules/large.yaml": None})
    sender, _, _ = sent(written(tmp_path, payment(1, card="c1")), "payment", project=project)

    assert sender.messages[0][1] == b'"c1"|"5.00"'


# ---- labels and lines that are none


def test_labels_are_sent_when_they_were_known_with_all_that_they_say(tmp_path):
    labels = tmp_path / "labels.jsonl"
    rows = [
        {"event": "payment/p1", "verdict": "fraud", "source": "analyst", "known_at": "2026-03-01T12:01:30Z"},
        {"arn": "a2", "verdict": "genuine", "known_at": "2026-03-01T13:00:00Z", "reason": "his own", "amount": "1.50"},
    ]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    events = written(tmp_path, *(payment(number, number, arn=f"a{number}") for number in range(1, 4)))
    sender, done, _ = sent(events, "payment", labels=labels)

    assert [type for type, _, _ in sender.messages] == ["payment", "label", "payment", "payment", "label"]
    assert [(key, value) for type, key, value in sender.messages if type == "label"] == [
        (b"p1", rows[0]),
        (b"a2", rows[1] | {"source": "import"}),
    ]
    assert (done.sent, done.labels) == (3, 2)


def test_lines_that_are_no_events_are_counted_and_the_first_told(tmp_path):
    path = written(tmp_path, *(payment(number, amount="x") for number in range(9)), payment(10))
    sender, done, _ = sent(path, "payment")

    assert [value["id"] for _, _, value in sender.messages] == ["p10"]
    assert (done.sent, done.refused, len(done.words)) == (1, 9, 5)
    assert done.words[0].startswith("events.jsonl, line 1: amount: expected an amount")


# ---- pace


def test_a_rate_holds_over_all_though_some_are_sent_late(tmp_path):
    #  due      0    10    20    30 ...     ms
    #  sent     0    10  <- 35 ms pass ->  the next three at once, then again when they are due
    moment, at_s = Time(), []
    sender = Kept()

    def note():
        at_s.append(round(moment.now_s - 100.0, 3))
        if len(at_s) == 2:
            moment.now_s += 0.035

    sender.after = note
    sent(
        written(tmp_path, *map(payment, range(7))), "payment", sender=sender, pace=SendingPace(rate=100), moment=moment
    )

    assert at_s == [0.0, 0.01, 0.045, 0.045, 0.045, 0.05, 0.06]


def test_a_speed_keeps_the_times_of_the_events(tmp_path):
    moment, at_s = Time(), []
    sender = Kept()
    sender.after = lambda: at_s.append(round(moment.now_s - 100.0, 3))
    rows = [payment(1, 0), payment(2, 1), payment(3, 3), payment(4, 2), payment(5, 4)]
    sent(written(tmp_path, *rows), "payment", sender=sender, pace=SendingPace(speed=60), moment=moment)

    assert at_s == [0.0, 1.0, 3.0, 3.0, 4.0]


def test_a_pace_is_one_of_both_and_above_nothing():
    for wrong in ({"rate": 1, "speed": 1}, {"rate": 0}, {"speed": -1}, {"rate": float("nan")}):
        with pytest.raises(UsageError):
            SendingPace(**wrong)


def test_events_that_will_be_too_late_are_counted(tmp_path):
    day = payment(1, at="2026-03-03T12:00:00Z")
    _, done, _ = sent(written(tmp_path, payment(0), day, payment(2), payment(3, at="2026-03-02T12:00:00Z")), "payment")

    assert (done.sent, done.behind) == (4, 1)


# ---- ends


def test_an_interruption_waits_for_what_is_on_its_way_and_says_where_to_go_on(tmp_path):
    sender = Kept()

    def interrupt():
        if sender.sent == 4:
            raise KeyboardInterrupt

    sender.after = interrupt
    _, done, error = sent(written(tmp_path, *map(payment, range(9))), "payment", sender=sender)

    assert isinstance(error, KeyboardInterrupt)
    assert (done.sent, done.next_row, sender.flushed > 0) == (3, 4, True)


def test_where_not_all_is_there_it_goes_on_from_where_all_was(tmp_path, monkeypatch):
    monkeypatch.setattr("shroff.worker.producer.CERTAIN_EVERY", 4)
    sender = Kept(never=8)
    sender.after = lambda: setattr(sender, "waiting", int(sender.sent > 6))
    _, done, error = sent(written(tmp_path, *map(payment, range(20))), "payment", sender=sender)

    assert isinstance(error, TransientError)
    assert (done.sent, done.next_row) == (7, 5)


def test_the_end_is_when_all_is_there(tmp_path):
    sender = Kept()
    left = itertools.chain([3, 2, 1], itertools.repeat(0))
    sender.flush = lambda within_s: next(left)
    _, done, _ = sent(written(tmp_path, payment(1)), "payment", sender=sender)

    assert next(left) == 0
    assert done.next_row == 2


def test_the_decoder_of_a_source_reads_what_was_sent(tmp_path):
    sender, _, _ = sent(written(tmp_path, payment(1)), "payment", sender=replace_bytes(Kept()))

    assert JsonDecoder().line(1, sender.raw[0]).columns == payment(1)


def replace_bytes(sender: Kept) -> Kept:
    """The same, which keeps the bytes as well."""
    sender.raw, send = [], sender.send

    def keep(type, key, value):
        sender.raw.append(value)
        send(type, key, value)

    sender.send = keep
    return sender


BY_FRAUD = "'fraud_transaction' when row.isFraud == 1 else 'non_fraud_transaction' when row.isFraud == 0"


@pytest.mark.parametrize("order", ["file", "time"])
def test_the_topic_of_an_event_is_chosen_by_its_line(tmp_path, order):
    # Minutes go down, so sorting turns the order; the third line is no event, the fifth says nothing about its topic.
    frauds = ["0", "1.0", "0", "1", "", "0.0"]
    rows = [payment(number, minute=9 - number, isFraud=fraud) for number, fraud in enumerate(frauds)]
    rows[2]["amount"] = "much"
    file = tmp_path / "payments.csv"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    file.write_text("\n".join(lines).replace("id,", "number_of_payment,", 1) + "\n")
    chooser = TopicChooser(BY_FRAUD, 2)
    sender, done, _ = sent(file, "payment", topics=chooser, order=order)
    wanted = [
        ("p0", "topic:non_fraud_transaction"),
        ("p1", "topic:fraud_transaction"),
        ("p3", "topic:fraud_transaction"),
        ("p4", "payment"),
        ("p5", "topic:non_fraud_transaction"),
    ]

    assert [(body["id"], to) for to, _, body in sender.messages] == (wanted if order == "file" else wanted[::-1])
    assert done.refused == 1
    assert chooser.counts == {"non_fraud_transaction": 2, "fraud_transaction": 2, "the topic of payment": 1}
    assert all("isFraud" not in body for _, _, body in sender.messages)


def test_a_sender_knows_the_topics_that_an_expression_chooses_among():
    chooser = TopicChooser(BY_FRAUD, 2)
    kafka = System("kafka", {"topics": {"payment": "paysim"}, "brokers": "b:1"})
    redis = System("redis", {"streams": {"payment": "paysim"}})
    named = {"topic:fraud_transaction": "fraud_transaction", "topic:non_fraud_transaction": "non_fraud_transaction"}

    assert chooser.into(kafka).options == {"topics": {"payment": "paysim", **named}, "brokers": "b:1"}
    assert chooser.into(redis).options == {"streams": {"payment": "paysim", **named}}
    assert chooser.names == list(named)
    assert not chooser.is_for_all
    assert TopicChooser(f"{BY_FRAUD} else 'others'", 2).is_for_all


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("row.isFraud", "gives topics in single quotes and nothing else"),
        ("'a' when row.x == '1' else join('b', row.x)", "gives topics in single quotes and nothing else"),
        ("7", "--topic-by: "),
        ("'a' when", "--topic-by: "),
        ("this.isFraud", "--topic-by: "),
        (" else ".join(f"'t{at}' when row.x == '{at}'" for at in range(101)), "at most 2000 are read"),
    ],
)
def test_what_chooses_no_topic_is_refused_before_anything_is_sent(text, words):
    with pytest.raises(UsageError, match=words):
        TopicChooser(text, 2)


def test_a_column_that_the_file_lacks_is_refused_with_the_nearest_before_anything_is_sent(tmp_path):
    file = tmp_path / "payments.csv"
    file.write_text("id,isFraud\n1,0\n")
    with read_lines(file) as lines, pytest.raises(UsageError, match=r"has no column isFruad\. Did you mean isFraud\?"):
        TopicChooser("'a' when row.isFruad == 1 else 'b'", 2).watched(lines, file.name)


@pytest.mark.parametrize("condition", ["row.isFraud == true", "row.isFraud == 1"])
def test_the_hint_for_a_text_column_says_for_which_values_a_comparison_is(condition):
    with pytest.raises(UsageError) as refused:
        TopicChooser("'a' when row.isFraud else 'b'", 2)

    assert condition in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{BY_FRAUD} else 'others'", ""),
        (
            "'a' when row.isFraud == true else 'b'",
            "All events went to b. Compare --topic-by with the columns that it reads: isFraud has '0', '1.0'.",
        ),
        ("'b'", ""),
    ],
)
def test_a_choice_that_sends_all_events_one_way_is_told_with_the_values_of_the_columns(tmp_path, text, words):
    rows = [payment(number, isFraud=fraud) for number, fraud in enumerate(["0", "1.0"])]
    file = tmp_path / "payments.csv"
    file.write_text(
        "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]).replace(
            "id,", "number_of_payment,", 1
        )
    )
    chooser = TopicChooser(text, 2)
    sent(file, "payment", topics=chooser)

    assert chooser.one_way() == words
