"""From a file's line to fields, and from a line to its event type."""

from __future__ import annotations

import io
import json
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff import config
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import InputError, UsageError
from shroff.events.definitions import Settings
from shroff.events.event import Event
from shroff.events.formats.encodings import read_lines, read_stream
from shroff.events.intake import Intake, Submission
from shroff.events.mapped_values import zoned
from shroff.events.mapping import Dispatcher, MappedRow, Mapper, Picked
from shroff.events.raw_values import Float32, Instant, LocalTime, Number
from shroff.events.validation import EventValidator
from shroff.project.definitions import load_definitions
from tests.support.avros import avro_file, record
from tests.support.declare import PAYMENT, declare

CARDS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money, channel: "choice(pos, online, atm)", age: number(1)?, fraud: boolean? }
  from:
    csv:
      id: join(row.file, ':', row.number)
      at: time(row.Date, '%d-%b-%y') + integer(row.Time) * 1h
      amount: money(replace(row['Amount'], '£', ''))
      channel: lower(row['Type of Transaction'])
      age: number(row.Age)
      fraud: row.Fraud == '1'
label:
  from:
    csv:
      event: join(row.file, ':', row.number)
      verdict: "'fraud' when row.Fraud == '1' else 'genuine' when row.Fraud == '0'"
      known_at: time(row.Date, '%d-%b-%y') + 7d
"""
# Two lines of creditcarddata_atm_usa_2429.csv; the second has no amount in the file either.
CARD_LINE = {
    "Date": "13-Oct-20",
    "Time": "18",
    "Amount": "£349",
    "Type of Transaction": "ATM",
    "Age": "59.1",
    "Fraud": "0",
}
NO_AMOUNT = {**CARD_LINE, "Amount": ""}
NESTED = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, amount: money?, sure: boolean?, ratio: real? }
  from:
    json:
      card: row.who.card
      amount: row.context.value.amount
      sure: row.context.sure
    parquet:
      id: row.TRANSACTION_ID
      at: row.TX_DATETIME
      card: text(integer(row.CUSTOMER_ID) + 1)
      amount: row.TX_AMOUNT
"""
SECRET = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text hashed, bin: integer?, points: integer? }
  from:
    csv:
      card: replace(row.Number, ' ', '')
      bin: integer(left(row.Number, 6))
      points: integer(row.Points)
"""
TWO = """
saving:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time }
  from:
    json: { when: row.eventType == 'SAVING' }
withdrawal:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time }
  from:
    json: { when: integer(row.kind) == 2 }
"""
WITHOUT_WHEN = TWO.replace("  from:\n    json: { when: row.eventType == 'SAVING' }\n", "").replace(
    "  from:\n    json: { when: integer(row.kind) == 2 }\n", ""
)


def admit(
    text: str, columns: dict[str, object], *, format: str = "csv", file: str = "march.csv", number: int = 1
) -> Event:
    events = declare(text)
    fields = Mapper(events.types["payment"], format).fields(MappedRow(file, number, columns))
    validator = EventValidator(events, Settings())
    return validator.of_file(format).admit("payment", fields, is_strict=False)


def mistakes_of(text: str, columns: dict[str, object], *, format: str = "csv") -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        admit(text, columns, format=format)
    return dict(caught.value.mistakes)


def test_the_mapping_of_the_languages_page_reads_a_line_of_card_data():
    event = admit(CARDS, CARD_LINE, number=7)

    assert event.values == ("march.csv:7", 1_602_612_000_000, 34_900, "atm", 591, False)


def test_the_same_line_gives_a_label():
    events = declare(CARDS)
    fields = Mapper(events.label, "csv").fields(MappedRow("march.csv", 7, {**CARD_LINE, "Fraud": "1"}))
    label = EventValidator(events, Settings()).admit_label(fields)

    assert (label.event_type, label.event_id, label.verdict, label.source) == (
        "payment",
        "march.csv:7",
        "fraud",
        "import",
    )
    assert label.known_at_ms == 1_602_547_200_000 + 7 * 86_400_000


def test_a_conversion_of_empty_text_is_missing():
    assert mistakes_of(CARDS, NO_AMOUNT)["amount"].endswith("; it is missing")
    assert admit(CARDS, {**CARD_LINE, "Age": ""}).values[4] is None


@pytest.mark.parametrize(
    ("amount", "setting"),
    [
        *((amount, "`decimal: ','`") for amount in ("1.250,00", "12,5", "-1250,00", "1 250,00 €")),
        *((amount, "`decimal: '.'`") for amount in ("1,234.50", "12,34,567.00", "(1.00)", "1.00-", "$5", "1,234,567")),
        ("1,234", "`decimal: '.'` if it is 1234 or `decimal: ','` if it is 1.234"),
    ],
)
def test_a_decimal_as_people_write_it_is_named_with_the_setting_that_reads_it(amount, setting):
    assert mistakes_of(CARDS, {**CARD_LINE, "Amount": amount})["amount"].endswith(
        f"'{amount}' is not a decimal number; for a CSV write {setting} under from.csv in events.yaml"
    )


COMMAS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money, rate: real?, fee: money?, n: integer?, q: number?, note: text? }
  from: { csv: { SETTINGS fee: "money(replace(row.Fee, ' EUR', ''))", n: integer(row.N) } }
"""
HEAD = ["id", "at", "amount", "rate", "Fee", "N", "q", "note"]


def submitted(settings, rows, separator):
    """What becomes of the lines of a file with these rows."""
    content = "".join(separator.join(row) + "\n" for row in [HEAD, *rows])
    lines = read_stream(io.BytesIO(content.encode()), "csv", name="march.csv")
    events = declare(COMMAS.replace("SETTINGS", settings))
    return list(Intake(events, Settings(), None).submissions(lines, "march.csv", "payment"))


def with_comma(amount, grouped):
    text = f"{amount:,}" if grouped else str(amount)
    return text.translate(str.maketrans(",.", ".,"))


@given(
    st.lists(
        st.tuples(
            st.decimals("-999999999", "999999999", places=2),
            st.decimals("-99999", "99999", places=7),
            st.integers(-(10**9), 10**9),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_file_with_decimal_commas_gives_the_events_of_the_one_with_points(amounts):
    points, commas = [], []
    for number, (amount, rate, whole, grouped) in enumerate(amounts):
        own = [f"p{number}", "2026-03-01T10:00:00Z"]
        points.append([*own, f"{amount}", f"{rate}", f"{amount} EUR", f"{whole}", f"{rate}", "1.5"])
        written = with_comma(amount, grouped)
        real = with_comma(rate, grouped=False)
        commas.append([*own, written, real, f"{written} EUR", with_comma(whole, grouped), real, "1.5"])
    found = submitted("separator: ';', decimal: ',',", commas, ";")

    assert [(item.refusal, item.event) for item in found] == [
        (None, point.event) for point in submitted("", points, ",")
    ]


@pytest.mark.parametrize("amount", ["12.50", "1.25,00", "1,250.00", "1.250.00", "1 250.000,00", "x"])
def test_what_may_be_a_decimal_point_is_refused_beside_decimal_commas(amount):
    (found,) = submitted("decimal: ',',", [["p", "2026-03-01T10:00:00Z", amount, *[""] * 5]], ";")

    assert found.refusal.endswith(f"'{amount}' is not a decimal number with a comma, such as 1.250,00")


IN_JSON = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money, price: number(3)?, kind: text }
  from:
    json: { decimal: ',', price: number(row.price), when: number(row.price) < 100 }
"""


@pytest.mark.parametrize("value", ["1.234,50", "1 234,50 €", Number("1234.50"), "1234,5"])
def test_json_has_decimals_as_people_write_them_and_numbers_by_their_digits(value):
    line = {"id": "p", "at": "2026-03-01T10:00:00Z", "amount": value, "price": Number("1.234"), "kind": "x"}
    events = declare(IN_JSON)

    assert admit(IN_JSON, line, format="jsonl").values[2:4] == (123_450, 1_234)
    assert Dispatcher(events, "jsonl").takes(MappedRow("a.jsonl", 1, line))


@pytest.mark.parametrize(("price", "units"), [("1.5", 1_500), ("1.23456E4", 12_345_600), ("15e-1", 1_500)])
def test_numbers_beside_decimal_commas_have_a_comma_only_where_they_become_numbers(price, units):
    line = {"at": "2026-03-01T10:00:00Z", "amount": 1, "price": Number(price), "kind": "x"}
    text = IN_JSON.replace("decimal: ',',", "decimal: ',', id: \"join(row.price, '-', row.kind)\",")

    assert admit(text, line, format="jsonl").id == f"{price}-x"
    assert admit(text, line, format="jsonl").values[3] == units


def test_a_decimal_comma_in_json_is_named_with_the_setting_that_reads_it():
    line = {"id": "p", "at": "2026-03-01T10:00:00Z", "amount": "12,5", "kind": "x"}
    found = mistakes_of(IN_JSON.replace("decimal: ',', ", ""), line, format="jsonl")

    assert found["amount"].endswith("for JSON write `decimal: ','` under from.json in events.yaml")


def test_a_file_with_another_separator_is_stopped_before_its_first_line():
    with pytest.raises(UsageError, match=r"march.csv has ',' between its columns, .* separator ';'"):
        submitted("separator: ';',", [], ",")


def test_a_field_that_is_called_decimal_is_mapped():
    text = COMMAS.replace("note: text?", "decimal: text?").replace("SETTINGS", "decimal: row.note,")

    assert declare(text).types["payment"].mappings["csv"].decimal == ""


def test_a_day_that_is_in_no_calendar_is_not_called_a_wrong_form():
    found = mistakes_of(CARDS, {**CARD_LINE, "Date": "31-Feb-20"})["at"]

    assert found.startswith("expected a time; '31-Feb-20' is not in the calendar: ")


def test_conversions_that_fail_are_named_with_the_doors_mistakes():
    found = mistakes_of(CARDS, {**CARD_LINE, "Date": "2020-10-13", "Amount": "$5", "Type of Transaction": "Cheque"})

    assert "'2020-10-13' does not have the form %d-%b-%y" in found["at"]
    assert found["amount"].endswith(
        "'$5' is not a decimal number; for a CSV write `decimal: '.'` under from.csv in events.yaml"
    )
    assert "found 'cheque'" in found["channel"]
    assert len(found) == 3


def test_a_failed_conversion_does_not_repeat_a_long_text():
    assert len(mistakes_of(CARDS, {**CARD_LINE, "Amount": "x" * 60_000})["amount"]) < 200


def test_without_a_mapping_each_field_is_the_column_of_its_name():
    columns = {"id": "p1", "at": "2026-03-01T10:00:00Z", "amount": {"amount": "5.00", "currency": "EUR"}, "colour": ""}

    assert admit(PAYMENT, columns, format="jsonl").values[:6] == ("p1", 1_772_359_200_000, None, 500, None, None)


@pytest.mark.parametrize(
    "context, amount",
    [
        ({"value": {"amount": "1.10"}}, 110),
        ({"value": {"amount": Number("2.20")}}, 220),
        ('{"value": {"amount": 2.20}}', 220),
        ({"value": '{"amount": "3.30"}'}, 330),
        ({"value": {"amount": {"amount": "4.40", "currency": "EUR"}}}, 440),
        ({"value": {"amount": None}}, None),
        ({"value": "no json"}, None),
        ({"value": "{broken"}, None),
        ({}, None),
        (5, None),
    ],
)
def test_nested_objects_are_read_through_text_that_holds_json(context, amount):
    columns = {"id": "p1", "at": 0, "who": {"card": 4_111}, "context": context}

    assert admit(NESTED, columns, format="jsonl").values[2:4] == ("4111", amount)


def test_a_renamed_boolean_stays_one():
    columns = {"id": "p1", "at": 0, "context": {"sure": True}}

    assert admit(NESTED, columns, format="jsonl").values[4] is True


def test_a_parquet_row_of_the_handbook_is_mapped():
    columns = {
        "TRANSACTION_ID": 0,
        "TX_DATETIME": Instant(1_522_540_831_000),
        "CUSTOMER_ID": 596,
        "TX_AMOUNT": 57.16,
        "ratio": Float32(0.5),
    }

    assert admit(NESTED, columns, format="parquet").values == ("0", 1_522_540_831_000, "597", 5_716, None, 0.5)


def test_a_local_time_that_has_no_date_is_refused_and_not_its_file():
    far = LocalTime(253_402_300_800_000)

    assert zoned(far, "Europe/Berlin") is far  # which validation refuses
    assert zoned(LocalTime(0), "Europe/Berlin") == -3_600_000


def test_an_integer_column_of_parquet_can_be_a_text_and_a_json_number_cannot():
    columns = {"id": 17, "at": 0}

    assert admit(PAYMENT, columns, format="parquet").id == "17"
    assert "found the number 17" in mistakes_of(PAYMENT, columns, format="jsonl")["id"]


def test_the_clear_value_of_a_hashed_field_stands_in_no_message():
    columns = {"id": "p1", "at": "0", "Number": "4111 1111 x", "Points": "many"}
    found = mistakes_of(SECRET, columns)

    assert "4111" not in str(found)
    assert "a hashed field uses it" in found["bin"]
    assert "'many' is not a decimal number" in found["points"]


def test_the_columns_behind_hashed_fields_are_known():
    payment = declare(SECRET).types["payment"]

    assert Mapper(payment, "csv").secret_paths == {("Number",)}
    assert Mapper(payment, "csv").hidden == {"card", "bin"}
    assert Mapper(payment, "jsonl").secret_paths == {("card",)}


def test_columns_that_the_type_cannot_do_without_are_named_before_the_first_line():
    events = declare(CARDS)

    assert Mapper(events.types["payment"], "csv").missing_columns(["Date", "Amount"]) == ["Time", "Type of Transaction"]
    assert Mapper(events.types["payment"], "csv").missing_columns(list(CARD_LINE)) == []
    assert Mapper(events.types["payment"], "jsonl").missing_columns(["id"]) == ["at", "amount", "channel"]
    assert Mapper(events.label, "csv").missing_columns([]) == ["Fraud", "Date"]
    assert Mapper(events.label, "jsonl").missing_columns([]) == ["event", "verdict", "known_at"]


@pytest.mark.parametrize("beginning", ["", "skip: 3, separator: ';',", "columns: [Date, Fraud],"])
@pytest.mark.parametrize("when", ["", "when: row.Fraud == '1',"])
@pytest.mark.parametrize("text", ["event,verdict,source,known_at", '"event";"verdict";"known_at";"source"'])
def test_labels_in_their_own_columns_are_read_as_they_are_whatever_the_mapping_of_labels(beginning, when, text):
    mapped = f"{beginning} {when} event: row.Date, verdict: \"'fraud' when row.Fraud == '1'\", known_at: time(row.Date)"
    events = declare(f"{PAYMENT}\nlabel: {{ from: {{ csv: {{ {mapped} }} }} }}\n")
    values = {"event": "p-1", "verdict": "fraud", "source": "chargeback", "known_at": "2026-03-05T12:00:00Z"}
    separator = ";" if ";" in text else ","
    line = separator.join(values[name] for name in text.replace('"', "").split(separator))
    lines = read_stream(io.BytesIO(f"{text}\n{line}\n".encode()), "csv", name="chargebacks.csv")
    (found,) = Intake(events, Settings(), None).submissions(lines, "chargebacks.csv", "label")

    assert found.refusal is None
    assert (found.label.event_id, found.label.verdict, found.label.source) == ("p-1", "fraud", "chargeback")


def pick(text: str, columns: dict[str, object], format: str = "jsonl") -> Picked | None:
    return Dispatcher(declare(text), format).pick(MappedRow("lines", 1, columns))


def test_a_line_goes_to_the_first_type_whose_when_is_true():
    assert pick(TWO, {"eventType": "SAVING", "kind": "2"}) == Picked("saving")
    assert pick(TWO, {"eventType": "OTHER", "kind": 2}) == Picked("withdrawal")
    assert pick(TWO, {"eventType": "LOGIN", "kind": "x"}) is None  # what cannot be converted is not true
    assert pick(TWO, {"savings": {"id": "1"}}) is None


@pytest.mark.parametrize("text", [TWO, WITHOUT_WHEN])
def test_a_line_may_name_its_type_itself(text):
    assert pick(text, {"withdrawal": {"id": "1"}}) == Picked("withdrawal", {"id": "1"})
    assert pick(text, {"label": {"event": "saving/1"}}) == Picked("label", {"event": "saving/1"})


def test_a_line_that_names_no_type_is_refused_where_no_mapping_has_a_when():
    with pytest.raises(InputError, match=r"savings: is not an event type\. Did you mean saving\?"):
        pick(WITHOUT_WHEN, {"savings": {"id": "1"}})
    with pytest.raises(InputError, match="saving: expected an object"):
        pick(WITHOUT_WHEN, {"saving": "4111"})


def test_a_line_of_several_keys_belongs_to_nothing_where_no_mapping_has_a_when():
    assert pick(WITHOUT_WHEN, {"id": "1", "at": 0}) is None


def test_whether_lines_can_tell_their_type_is_known_beforehand():
    assert Dispatcher(declare(TWO), "jsonl").is_possible
    assert not Dispatcher(declare(TWO), "csv").is_possible
    assert pick(TWO, {"saving": "x"}, format="csv") is None


# ---- what systems send, read without a changed line

RAND = "::WHOLE_CURRENCY::ZAR"  # written ::R below
MESSAGE = {"userId": "u1", "timestamp": 1767225600000}
RECORD = record(
    *(("idTransaction", "string"), ("timestamp", {"type": "long", "logicalType": "timestamp-millis"})),
    *(("type", "string"), ("amount", "double"), ("nameOrigin", "string"), ("oldBalanceOrigin", "double")),
    *(("newBalanceOrigin", "double"), ("nameDestination", "string"), ("oldBalanceDestination", "double")),
    *(("newBalanceDestination", "double"), ("isFraud", "boolean"), ("isFlaggedFraud", "boolean")),
)
STREAMED = {
    "idTransaction": "t1",
    "timestamp": 1767225600000,
    "type": "TRANSFER",
    "amount": 181.1,
    "nameOrigin": "C1",
    "oldBalanceOrigin": 181.1,
    "newBalanceOrigin": 0.1 + 0.2,
    "nameDestination": "C2",
    "oldBalanceDestination": 0.0,
    "newBalanceDestination": 17_013_600.5,
    "isFraud": True,
    "isFlaggedFraud": False,
}


def sample(folder: Path, file: Path, as_type: str | None = None, *, rows: int = 300) -> list[Submission]:
    """The first lines of a file as a project reads them."""
    found = load_definitions(config.read_files(folder, [])).or_raise()
    with read_lines(file) as lines:
        return list(islice(Intake(found.events, found.settings, None).submissions(lines, file.name, as_type), rows))


@pytest.mark.parametrize(
    ("project", "file", "rows", "refused"),
    [
        ("paysim", "paysim_first19998.csv", 300, 0),
        ("paysim", "paysim_sample_51392.csv", 300, 0),
        ("cards", "creditcarddata_extract_50.csv", 50, 0),
        ("cards", "creditcarddata_atm_usa_2429.csv", 2_429, 1),  # one amount is empty
        ("examples/ulb", "ulb_creditcard_sample_1722.csv", 1_722, 0),
        ("examples/handbook", "handbook_tx_2018-04-01_2018-06-30.parquet", 300, 0),
    ],
)
def test_each_sample_is_read_by_the_project_that_is_for_it(project, file, rows, refused, data, root):
    folder = root / project if "/" in project else TEMPLATE_FOLDER / project
    found = sample(folder, data / file, "payment", rows=3_000 if rows > 300 else rows)
    labels = [] if file.endswith("parquet") else sample(folder, data / file, "label", rows=300)

    assert (len(found), sum(item.refusal is not None for item in found)) == (rows, refused)
    assert [label.refusal for label in labels if label.refusal is not None] == []


@pytest.mark.parametrize(
    ("message", "type_name", "id_", "account", "amount"),
    [
        (
            {"eventType": "SAVING", "transactionId": "t1", "amount": "500::WHOLE_CENT::ZAR"},
            "saving",
            "t1",
            None,
            50_000,
        ),
        (
            {
                "eventType": "SAVING_PAYMENT_SUCCESSFUL",
                "context": {"accountId": "a1", "savedAmount": "7::HUNDREDTH_CENT::ZAR"},
            },
            *("saving", "SAVING_PAYMENT_SUCCESSFUL:u1:1767225600000:7::HUNDREDTH_CENT::ZAR", "a1", 7),
        ),
        (
            {"eventType": "SAVING", "context": '{"transactionId": "t2", "savedAmount": "7::R"}'},
            *("saving", "t2", None, 70_000),
        ),
        (
            {"eventType": "WITHDRAWAL_EVENT_CONFIRMED", "context": {"withdrawalAmount": "-100::R"}},
            *("withdrawal", "WITHDRAWAL_EVENT_CONFIRMED:u1:1767225600000:100::R", None, 1_000_000),
        ),
        ({"eventType": "WITHDRAWAL", "context": {"savedAmount": "1::R"}}, "withdrawal", ..., None, 10_000),
        ({"eventType": "SAVING_EVENT_CANCELLED", "context": {}}, "", None, None, None),
        ({"eventType": "SAVING", "context": {"savedAmount": "-1::R"}}, "saving", "refused", None, None),
    ],
)
def test_messages_of_a_savings_app_are_read_as_they_are(message, type_name, id_, account, amount, tmp_path):
    file = tmp_path / "app.jsonl"
    file.write_text(json.dumps({**MESSAGE, **message}).replace("::R", RAND) + "\n", encoding="utf-8")
    (line,) = sample(TEMPLATE_FOLDER / "savings", file)

    assert line.type == type_name
    if id_ == "refused":
        assert "above 0" in str(line.refusal)
    elif type_name:
        assert line.event is not None, line.refusal
        assert id_ in {..., line.event.id.replace(RAND, "::R")}
        *read, name, context = line.event.values[1:]
        assert read == [MESSAGE["timestamp"], "u1", account, round(amount / 100), amount]
        assert name == message["eventType"]
        sent = message.get("context")
        assert (context is None) == (sent is None)
        if isinstance(sent, str):
            assert context == sent.replace("::R", RAND)
        elif sent is not None:
            assert json.loads(context.replace(RAND, "::R")) == sent


@pytest.mark.parametrize("form", ["avro", "csv"])
def test_records_of_paysims_stream_are_read_as_they_are(form, tmp_path):
    file = tmp_path / f"stream.{form}"
    if form == "avro":
        avro_file(file, RECORD, [STREAMED])
    else:
        row = {**STREAMED, "newBalanceOrigin": "0.30", "timestamp": "2026-01-01 00:00:00"}
        file.write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n", encoding="utf-8")
    (payment,), (label,) = (sample(TEMPLATE_FOLDER / "paysim", file, as_type) for as_type in ("payment", "label"))

    assert payment.event is not None, payment.refusal
    assert label.label is not None, label.refusal
    at = STREAMED["timestamp"]
    assert payment.event.values == ("t1", at, "TRANSFER", 18_110, "C1", 18_110, 30, "C2", 0, 1_701_360_050, False)
    assert (label.label.event_id, label.label.verdict, label.label.known_at_ms) == ("t1", "fraud", at + 6 * 3_600_000)
