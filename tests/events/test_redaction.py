"""Quarantine in a project that hashes: no clear value of a hashed field in it, and the same event on the way back."""

from __future__ import annotations

import io
from collections.abc import Mapping

import msgspec
import pytest

import shroff
from shroff.events.formats.encodings import read_stream
from shroff.events.formats.lines import CsvHeader
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.redaction import MARK, keeping_hashed, masked
from shroff.log.state.feature_events import file_batches
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.services.project import make_project
from shroff.streams.log import Log
from shroff.worker.quarantine_retry import Retried, retry
from tests.support.effort import quickest_s
from tests.support.log_memory import MemoryLog
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES, NOW_MS

NUMBER = "4111111111111111"
TYPE = """
payment:
  id: id
  time: at
  decide: true
  fields: {{ id: {id}, at: time, card: text hashed, amount: money{more} }}
  from:
    json: {mapping}
    csv: {mapping}
entities:
  card: {{ payment: card }}
"""
QUARANTINES = {"shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\nuntaken: quarantine\n"}
THREE_PLACES = {"shroff.yaml": "shroff: 1\nname: small\nmoney: { currency: EUR, places: 3 }\n"}
SPACES_OUT = "{ card: \"replace(row.card, ' ', '')\" }"


def mask(value: str) -> str:
    """In place of a keyed hash; the same form."""
    return f"hashed:{value.encode().hex()[::-1][:32]:0>32}:{value[-4:] if len(value) > 8 else ''}"


def hashing(
    mapping: str = "{ }", changes: Mapping[str, str] | None = None, *, more: str = "", id_type: str = "text"
) -> Definitions:
    """A project whose cards are hashed, read by a mapping."""
    files = {"shroff.yaml": FILES["shroff.yaml"], "features.yaml": "card:\n  payments_1h: count(payment) over 1h\n"}
    events = TYPE.format(mapping=mapping, more=more, id=id_type)
    return load_definitions({**files, "events.yaml": events, **(changes or {})}, mask).or_raise()


def intake(project: Definitions) -> Intake:
    return Intake(project.events, project.settings, keeping_hashed(mask))


def read(
    project: Definitions, text: str | bytes, *, as_type: str | None = "payment", format: str = "jsonl"
) -> list[Submission]:
    raw = text if isinstance(text, bytes) else text.encode()
    return list(intake(project).submissions(read_stream(io.BytesIO(raw), format), f"x.{format}", as_type))


def line(**fields: object) -> str:
    return msgspec.json.encode({"id": "1", "at": "2026-03-01T12:00:00Z", **fields}).decode() + "\n"


def writer(log: Log, project: Definitions) -> Writer:
    return Writer(log, project, lambda: NOW_MS)


def refused_then_retried(
    first: Definitions,
    then: Definitions,
    text: str,
    *,
    as_type: str | None = "payment",
    headers: Mapping[str, CsvHeader] | None = None,
    format: str = "jsonl",
) -> tuple[Log, list[Retried]]:
    """Lines that one version of a project refuses, tried again under the next."""
    log = MemoryLog()
    answers = writer(log, first).write(read(first, text, as_type=as_type, format=format))
    assert {answer.kind for answer in answers} == {"refused"}
    return log, retry(log, writer(log, then), intake(then), log.quarantine.numbers(), headers or {})


def stored(log: Log, type_name: str = "payment") -> list[dict[str, object]]:
    return [
        msgspec.json.decode(record.body)
        for records in log.read()
        for record in records
        if (record.kind, record.type) == ("event", type_name)
    ]


# ---- lines that were read


@pytest.mark.parametrize(
    ("mapping", "text", "secret"),
    [
        ("{ card: row.pay.card }", line(pay={"card": NUMBER, "x": 1}, amount="bad"), NUMBER),
        ("{ card: row.pay.card }", line(pay=f'{{"card": "{NUMBER}"}}', amount="bad"), NUMBER),
        ("{ card: row.pay.card }", line(pay=[{"card": NUMBER}], amount="bad"), NUMBER),
        ("{ card: row.pay.card }", line(pay=f'{{"card": "{NUMBER}', amount="bad"), NUMBER),
        ("{ }", line(card="J_rgen Meier", amount="bad").replace("_", "\\u00fc"), "Meier"),
        ("{ }", line(card="DE89_370400440532013000", amount="bad").replace("_", "\\/"), "370400440532013000"),
        ("{ }", line(card=[{"number": NUMBER}], amount="1.00"), NUMBER),
        ("{ }", line(card=int(NUMBER), amount="1.00"), NUMBER),
    ],
)
def test_no_spelling_keeps_a_secret_in_a_json_line(mapping, text, secret):
    (submission,) = read(hashing(mapping), text)

    assert submission.refusal
    assert secret not in submission.raw().decode()
    assert b"hashed:" in submission.raw()


@pytest.mark.parametrize(
    ("encoding", "cell"), [("latin-1", "Jürgen Meier"), ("utf-8", '"Al ""Ace"" Meier"'), ("utf-8", '"Al\nMeier"')]
)
def test_no_spelling_keeps_a_secret_in_a_csv_line(encoding, cell):
    text = f"id,at,card,amount\n1,2026-03-01T12:00:00Z,{cell},bad\n".encode(encoding)
    (submission,) = read(hashing(), text, format="csv")

    assert b"Meier" not in submission.raw()
    assert submission.raw().startswith(b"1,2026-03-01T12:00:00Z,hashed:")
    assert submission.raw().endswith(b",bad\n")


def test_a_short_secret_leaves_the_rest_of_its_line_whole():
    (submission,) = read(hashing(more=", pin: text hashed"), line(card="12", pin="9912", amount="bad"))
    kept = msgspec.json.decode(submission.raw())

    assert kept == {"id": "1", "at": "2026-03-01T12:00:00Z", "card": mask("12"), "pin": mask("9912"), "amount": "bad"}


def test_a_project_without_hashed_fields_keeps_the_bytes():
    project = load_definitions(FILES).or_raise()
    text = b'{ "id":"1", "at": "4111111111111111",\t"amount": "bad" }\r\n'
    (submission,) = read(project, text)

    assert submission.raw() == text


def test_a_label_line_does_not_keep_the_clear_id_that_it_names():
    log = MemoryLog()
    project = hashing(id_type="text hashed")
    keeper = writer(log, project)
    keeper.write(read(project, line(id=NUMBER, card="c", amount="1.00")))
    label = {"event": f"payment/{NUMBER}", "verdict": "fraud", "known_at": "2026-02-01T12:00:00Z"}
    (answer,) = keeper.write(read(project, msgspec.json.encode(label), as_type="label"))
    ((_, entry),) = quarantined(log)

    assert answer.kind == "refused"
    assert msgspec.json.decode(entry.raw)["event"] == f"payment/{mask(NUMBER)}"


def test_a_label_of_no_type_is_not_shown_where_an_id_is_hashed():
    label = {"event": f"payments/{NUMBER}", "verdict": "fraud", "known_at": "2026-02-01T12:00:00Z"}
    project = hashing(
        id_type="text hashed",
        changes={
            "events.yaml": TYPE.format(mapping="{ }", more="", id="text hashed")
            + "order:\n  id: id\n  time: at\n  decide: true\n  fields: { id: text, at: time }\n"
        },
    )
    (submission,) = read(project, msgspec.json.encode(label), as_type="label")

    assert NUMBER not in (submission.refusal or "")
    assert "Did you mean payment" in (submission.refusal or "")
    assert NUMBER.encode() not in submission.raw()


def test_a_label_line_does_not_keep_the_secrets_of_the_event_on_the_same_line():
    label = {"event": "payment/1", "verdict": "none", "known_at": "2026-03-02T12:00:00Z", "card": NUMBER}
    (submission,) = read(hashing(), msgspec.json.encode(label), as_type="label")

    assert NUMBER.encode() not in submission.raw()


def test_what_a_type_declares_clear_stays_clear_though_another_type_hashes_it():
    events = TYPE.format(mapping="{ }", more="", id="text hashed")
    login = "login:\n  id: id\n  time: at\n  fields: { id: text, at: time, wait: duration }\n"
    (submission,) = read(
        hashing(changes={"events.yaml": events + login}), line(id="login-1", wait="bad"), as_type="login"
    )

    assert msgspec.json.decode(submission.raw())["id"] == "login-1"


@pytest.mark.parametrize(
    ("mapping", "more", "name"),
    [("{ bin: row.card }", ", bin: integer", "bin"), ("{ card: row.bin }", ", bin: integer", "bin")],
)
def test_a_message_shows_no_value_of_a_column_that_a_hashed_field_reads(mapping, more, name):
    (submission,) = read(hashing(mapping, more=more), line(card="4111-1111", bin="4111-1111", amount="1.00"))

    assert f"{name}: expected" in (submission.refusal or "")
    assert "4111" not in (submission.refusal or "")


def test_a_line_nested_too_deep_for_the_readable_form_is_kept_all_the_same():
    deep = '{"a":' * 450 + "1" + "}" * 450
    text = line(card=NUMBER, amount="bad").replace('"bad"', f'"bad","x":{deep}')
    (submission,) = read(hashing(), text)

    assert NUMBER.encode() not in submission.raw()
    assert submission.raw().count(b'"a"') == 450


# ---- lines that were not read, or not taken


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (b"id,at,card,amount\n1,2026-03-01T12:00:00Z,jane.doe@example.com\n", "csv"),
        (b'{"id":"1","at":"2026-03-01T12:00:00Z","card":"jane.doe@example.com","amou\n', "jsonl"),
        (b'{"id":"1","at":"2026-03-01T12:00:00Z","card":"4111 1111-11111111","amou\n', "jsonl"),
    ],
)
def test_a_line_that_cannot_be_read_keeps_no_number_and_no_mail_address(text, format):
    (submission,) = read(hashing(), text, format=format)
    kept = submission.raw()

    assert b"doe@" not in kept
    assert b"1111-11111111" not in kept
    assert b"2026-03-01T12:00:00Z" in kept
    assert (submission.refusal or "").endswith("parts of the line were hashed")


@pytest.mark.parametrize(
    "text",
    ["2026-03-01", "2026-03-01T12", "2026-03-01 12:00:00.123456+01:00", "2026-03-01T12:00Z", "1,234,567", mask(NUMBER)],
)
def test_dates_and_what_is_hashed_already_stay_in_such_a_line(text):
    assert masked(f'x "{text}", y'.encode(), mask).decode() == f'x "{text}", y'


@pytest.mark.parametrize(
    "text", ["4111 2026-03-01 12", "4111-2026-03-01-11", "20260301120000", "\xfc@b", "a\\u0040b.de"]
)
def test_what_only_looks_like_a_date_or_is_spelled_otherwise_is_hashed(text):
    assert b"hashed:" in masked(f'"{text}"'.encode(), mask)


def test_a_long_line_without_an_end_costs_one_pass():
    line = b"a" * 1_000_000 + b"1 " * 500_000 + b"a@" * 100_000

    assert quickest_s(lambda: masked(line, lambda _: ""), tries=1) < 5


def test_a_line_that_could_be_read_and_that_nobody_took_loses_its_secrets_only():
    when = "{ when: \"row.kind == 'pay'\" }"
    text = '{"kind":"login","id":"1234567890","at":"2026-3-1","card":"4111 1111"}\n'
    login = """
login:
  id: id
  time: at
  fields: { id: text, at: time }
  from:
    json: { when: "row.kind == 'login'", at: "time(row.at, '%Y-%m-%d')" }
"""
    more = {"events.yaml": TYPE.format(mapping=when, more="", id="text") + login, **QUARANTINES}
    log, (submission,) = refused_then_retried(hashing(when, QUARANTINES), hashing(when, more), text, as_type=None)

    assert submission.outcome == "taken"
    assert [row["id"] for row in stored(log, "login")] == ["1234567890"]


def test_a_misspelled_type_keeps_no_secret_of_the_object_under_it():
    (submission,) = read(hashing(), msgspec.json.encode({"paymnt": {"id": "1234567890", "card": NUMBER}}), as_type=None)

    assert msgspec.json.decode(submission.raw()) == {"paymnt": {"id": "1234567890", "card": mask(NUMBER)}}


@pytest.mark.parametrize(
    ("as_type", "text", "kept"),
    [
        ("payment", line(cardd="4111", amount="bad", note=None), {"cardd": mask("4111"), "note": None}),
        (
            "payment",
            line(amount="bad", cvc=123, ok=True, tags=["a"]),
            {"cvc": mask("123"), "ok": True, "tags": [mask("a")]},
        ),
        (
            "payment",
            line(amount="bad", pay={"card": "4111", "country": "DE"}),
            {"pay": {"card": mask("4111"), "country": "DE"}},
        ),
        ("payment", line(amount="bad", pay='{"pan": "41"}'), {"pay": f'{{"pan":"{mask("41")}"}}'}),
        ("payment", line(amount="bad", **{NUMBER: 1}), {mask(NUMBER): mask("1")}),
        (None, '{"kind": "card", "cardd": "4111"}', {"kind": "card", "cardd": mask("4111")}),
        (None, '{"paymnt": {"cardd": "4111"}}', {"paymnt": {"cardd": mask("4111")}}),
        (
            "label",
            '{"event": "payment/1", "verdict": "fruad", "pan": "4111"}',
            {"verdict": "fruad", "pan": mask("4111")},
        ),
    ],
)
def test_what_nothing_declares_is_not_kept_in_clear(as_type, text, kept):
    project = hashing("{ country: row.pay.country, when: \"row.kind == 'pay'\" }", QUARANTINES, more=", country: text?")
    (submission,) = read(project, text, as_type=as_type)
    found = msgspec.json.decode(submission.raw())

    assert submission.refusal
    assert {name: found[name] for name in kept} == kept


def test_what_nothing_declared_is_the_same_card_where_the_mapping_is_mended():
    text = line(cardd=NUMBER, amount="5.00")
    log, (submission,) = refused_then_retried(hashing(), hashing("{ card: row.cardd }"), text)

    assert submission.outcome == "decided"
    assert [row["card"] for row in stored(log)] == [mask(NUMBER)]


# ---- the way back


def test_a_retry_gives_the_key_that_the_mapping_gave():
    text = line(card="4111 1111 1111 1111", amount="5.001")
    log, (submission,) = refused_then_retried(hashing(SPACES_OUT), hashing(SPACES_OUT, THREE_PLACES), text)

    assert submission.outcome == "decided"
    assert [row["card"] for row in stored(log)] == [mask(NUMBER)]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_retry_of_a_csv_line_gives_the_key_that_the_mapping_gave(separator: str):
    columns = ("id", "at", "card", "amount")
    text = ",".join(columns) + "\n1,2026-03-01T12:00:00Z,4111 1111 1111 1111,5.001\n"
    header = {"x.csv": CsvHeader(columns, separator)}
    then = hashing(SPACES_OUT, THREE_PLACES)
    log, (submission,) = refused_then_retried(
        hashing(SPACES_OUT), then, text.replace(",", separator), headers=header, format="csv"
    )

    assert submission.outcome == "decided"
    assert [row["card"] for row in stored(log)] == [mask(NUMBER)]


def test_a_retried_line_keeps_its_number_wherever_it_stands():
    columns = ("id", "at", "card", "amount")
    text = f"{','.join(columns)}\n\n,2026-03-01T12:00:00Z,a,5.001\n\n,2026-03-01T12:00:00Z,b,5.001\n"
    numbered = "{ id: \"join(row.file, ':', row.number)\" }"
    log, _ = refused_then_retried(
        hashing(numbered), hashing(numbered, THREE_PLACES), text, headers={"x.csv": CsvHeader(columns)}, format="csv"
    )

    assert [row["id"] for row in stored(log)] == ["x.csv:1", "x.csv:2"]


def test_a_retry_of_a_line_that_nobody_took_gives_the_key_that_the_mapping_gives():
    spaces_out = SPACES_OUT.removesuffix("}")
    none, some = (f"{spaces_out}, when: \"row.kind == '{kind}'\" }}" for kind in ("x", "pay"))
    text = line(kind="pay", card="4111 1111 1111 1111", amount="5.00")
    log, (submission,) = refused_then_retried(
        hashing(none, QUARANTINES), hashing(some, QUARANTINES), text, as_type=None
    )

    assert submission.outcome == "decided"
    assert [row["card"] for row in stored(log)] == [mask(NUMBER)]


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        (SPACES_OUT, "{ card: \"replace(row.card, '-', '')\" }", ""),
        ("{ }", SPACES_OUT, ""),
        ('{ bin: "left(row.card, 6)" }', '{ bin: "left(row.card, 6)" }', ", bin: text"),
    ],
)
def test_a_retry_that_needs_a_clear_value_that_was_not_kept_is_refused(before, after, more):
    text = line(card="4111 1111 1111 1111", amount="5.001")
    log, (submission,) = refused_then_retried(hashing(before, more=more), hashing(after, THREE_PLACES, more=more), text)

    assert submission.stays
    assert "its clear value was not kept" in submission.reason
    assert stored(log) == []


@pytest.mark.parametrize("card", [int(NUMBER), {"number": NUMBER}, "4" * 70_000])
def test_a_hashed_value_that_was_refused_by_itself_is_not_taken_in_the_form_of_its_hash(card):
    log, (submission,) = refused_then_retried(hashing(), hashing(), line(card=card, amount="5.00"))

    assert submission.stays
    assert stored(log) == []


def test_a_mark_is_seen_by_nobody_but_a_retry():
    mark = {"payment.card": {"of": "replace(row.card, ' ', '')", "value": mask("other")}}
    (submission,) = read(hashing(SPACES_OUT), line(card="4111 1111", amount="5.00", **{MARK: mark}))

    assert submission.event is not None
    assert mask("41111111") in submission.event.values


@pytest.mark.parametrize("project", [hashing(), load_definitions(FILES).or_raise()])
def test_a_line_that_names_its_own_type_can_be_tried_again(project):
    fields = {"id": "1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.001"}
    files = {**project.files, **THREE_PLACES}
    then = load_definitions(files, mask).or_raise()
    log, (submission,) = refused_then_retried(
        project, then, msgspec.json.encode({"payment": fields}).decode(), as_type=None
    )

    assert submission.outcome == "decided"
    assert [row["amount"] for row in stored(log)] == ["5.001"]


def test_a_line_whose_one_column_has_the_name_of_its_type_is_no_line_that_names_its_type():
    mapping = "{ id: row.payment.id, at: row.payment.at, card: row.payment.card, amount: row.payment.amount }"
    fields = {"id": "1", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "5.001"}
    text = msgspec.json.encode({"payment": fields}).decode()
    log, (submission,) = refused_then_retried(hashing(mapping), hashing(mapping, THREE_PLACES), text)

    assert submission.outcome == "decided"
    assert [row["card"] for row in stored(log)] == [mask("c")]


def test_a_single_label_that_was_refused_can_be_tried_again():
    log, project = MemoryLog(), hashing(id_type="text hashed")
    fields = {"event": "payment/1", "verdict": "fraudulent", "known_at": "2026-03-01T13:00:00Z"}
    raw = msgspec.json.encode({"label": fields})
    submission = intake(project).submit("label", fields, source="shroff label", place="1", raw=raw, is_strict=True)
    keeper = writer(log, project)
    keeper.write([submission])
    ((_, entry),) = quarantined(log)
    (again,) = retry(log, keeper, intake(project), log.quarantine.numbers(), {})

    assert msgspec.json.decode(entry.raw)["label"]["event"] == f"payment/{mask('1')}"
    assert again.reason == submission.refusal  # the same words: its fields were found


# ---- names, files, lists


def test_a_name_that_is_not_utf8_is_a_source_that_can_be_stored():
    assert source_name("b\udcff.jsonl") == "b\\xff.jsonl"
    assert source_name("Zahlungen ü.csv") == "Zahlungen ü.csv"


def test_features_of_an_exported_file_have_the_keys_of_the_log():
    project = hashing()
    lines = read_stream(io.BytesIO(line(card=mask(NUMBER), amount="5.00").encode()), "jsonl")
    ((_, event),) = next(file_batches([("x.jsonl", lines)], project, mask, "payment"))

    assert mask(NUMBER) in event.values


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_about_a_hashed_field_keeps_neither_clear_values_nor_notes(mark):
    rule = "- id: bl\n  on: payment\n  by: card\n  when: this.card in lists.blocked\n  effect: decline\n"
    text = f"{mark}note,value,added_by,expires_at\nsee {NUMBER},{NUMBER},{NUMBER},2026-12-01T00:00:00Z\nempty,,,\n"
    project = hashing(changes={"rules/a.yaml": rule, "lists/blocked.csv": text})

    assert project.files["lists/blocked.csv"] == f"value,expires_at\n{mask(NUMBER)},2026-12-01T00:00:00Z\n"
    assert list(project.reference.lists["blocked"]) == [mask(NUMBER)]


def test_a_sender_cannot_write_a_hash_that_was_seen_somewhere(tmp_path):
    """A value in the form of a hash is hashed like any other, unless the caller says that it is one."""
    project, _ = make_project(tmp_path / "bank", "blank")
    events = project.context.paths.folder / "events.yaml"
    declared = events.read_text(encoding="utf-8").replace("account: text", "account: text hashed")
    events.write_text(declared, encoding="utf-8")
    line = {"payment_id": "p", "paid_at": "2026-03-01T10:00:00Z", "amount": "1.00"}
    forged = f"hashed:{'4' * 32}:4444"
    (tmp_path / "one.jsonl").write_bytes(msgspec.json.encode({**line, "account": forged}))
    (tmp_path / "two.jsonl").write_bytes(msgspec.json.encode({**line, "payment_id": "q", "account": forged}))
    project = shroff.open(project.context.paths.folder)
    project.ingest([tmp_path / "one.jsonl"], as_type="payment")
    project.ingest([tmp_path / "two.jsonl"], as_type="payment", is_hashed=True)
    with project.log.reading() as log:
        stored = {id_: record.body for id_, record in log.find("payment", ["p", "q"]).items()}

    assert forged.encode() not in stored["p"]
    assert forged.encode() in stored["q"]
