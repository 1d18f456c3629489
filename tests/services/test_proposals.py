"""A project that is proposed from a file passes its check and takes the file's lines, with what was guessed said."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.services import project as app
from tests.support.avros import avro_file, record
from tests.support.beside import SHARED
from tests.support.effort import long_after

pytestmark = pytest.mark.slow
TIMES = [datetime(2024, 3, 1) + timedelta(hours=7 * number) for number in range(30)]  # noqa: DTZ001 (as files have them)
GERMAN = "Kontoauszug;;;\nKonto;DE89;;\n\nTag;Kunde;Betrag;Währung\n" + "".join(
    f"{at:%d.%m.%Y};K{number % 4};1.2{number:02d},50;EUR\n" for number, at in enumerate(TIMES)
)
FILES = {
    "german.csv": "Zeit;Karte;Händler;Betrag;Betrug\n"
    + "".join(
        f"0{n}.03.2026 10:00;K{n % 2};Laden {n % 3};1.0{n}0,50;{'ja' if n == 4 else 'nein'}\n" for n in range(1, 8)
    ),
    "parts.csv": "User,Card,Year,Month,Day,Time,Amount,Is Fraud?\n"
    + "".join(
        f"1,{n % 3},{t.year},{t.month},{t.day},{t:%H:%M},$-12.50,{'Yes' if n == 3 else 'No'}\n"
        for n, t in enumerate(TIMES)
    ),
    "steps.csv": "step,type,amount,nameOrig,nameDest,isFraud\n"
    + "".join(f"{n},PAYMENT,9839.6,C{n % 4},M{n % 2},{n % 9 == 0:d}\n" for n in range(30)),
    "us.tsv": "order_id\torder_date\tcustomer\ttotal\n"
    + "".join(f'o{n}\t{t:%m/%d/%Y %I:%M %p}\tc{n % 4}\t"$1,234.{n:02d}"\n' for n, t in enumerate(TIMES)),
    "pandas.csv": ",at,card_number,amount,device,flag\n"
    + "".join(f"{n},{t},41111111111111{n % 3:02d},{n / 7},NaN,{n % 2 == 0}\n" for n, t in enumerate(TIMES)),
    "nothing.csv": "x\nhello\nhello\n",
    "twice.csv": "id,time,amount,amount\n" + "".join(f"{n},{t},1.00,2.00\n" for n, t in enumerate(TIMES)),
    "reverse.csv": "id,at,account,amount\n"
    + "".join(f"{n},{t.isoformat()}Z,a{n % 3},1.00\n" for n, t in reversed(list(enumerate(TIMES)))),
    "words.csv": 'Zahl #1,label,when,a: b,"""q""",file,時間,in\n'
    + "".join(f"{n},{n % 2},{t.isoformat()},x,y,f,z,q\n" for n, t in enumerate(TIMES)),
    "future.csv": "id,at,amount\n" + "".join(f"{n},{t + timedelta(days=99_999)},5\n" for n, t in enumerate(TIMES)),
    "bare.csv": "".join(f"u{n % 3}|{t}|{n}.50|pos\n" for n, t in enumerate(TIMES)),
    "currencies.csv": "transaction_id,booked_at,customer_id,amount,currency\n"
    + "".join(f"{n},{t.isoformat()}+01:00,c{n % 3},100,{'EUR JPY KWD'.split()[n % 3]}\n" for n, t in enumerate(TIMES)),
    "stripe.jsonl": "".join(
        json.dumps(
            {
                "id": f"ch_{n}",
                "amount": 1_000 + n,
                "currency": "usd" if n % 2 else "eur",
                "created": int(t.timestamp()),
                "customer": f"c{n % 3}",
                "card": {"fingerprint": f"f{n % 4}"},
                "refunds": [],
            }
        )
        + "\n"
        for n, t in enumerate(TIMES)
    ),
    "list.json": json.dumps(
        [{"id": n, "when": f"{t.isoformat()}Z", "total": 1.5, "user": None} for n, t in enumerate(TIMES)], indent=1
    ),
    "types.csv": "id,type,at,account,amount,ip,payment\n"
    + "".join(
        f"{n},{kind},{t.isoformat()}Z,a{n % 3},{amount},{ip},\n"
        for n, t in enumerate(TIMES)
        for kind, amount, ip in [[("payment", "1.50", ""), ("log-in", "", "192.0.2.1"), ("order", "7", "")][n % 3]]
    ),
    "each.jsonl": "".join(
        json.dumps(
            {
                "live": "false",
                "data": {
                    "items": [
                        {
                            "ref": f"p{n}-{m}",
                            "eventDate": f"{t.isoformat()}Z",
                            "account": "a",
                            "amount": {"value": 1_000 + n, "currency": "EUR"},
                        }
                        for m in range(2)
                    ]
                },
            }
        )
        + "\n"
        for n, t in enumerate(TIMES)
    ),
    "order_lines.jsonl": "".join(
        json.dumps({"id": n, "at": f"{t.isoformat()}Z", "shopper": "s", "total": "5.00", "items": [{"sku": 1}]}) + "\n"
        for n, t in enumerate(TIMES)
    ),
    "envelope.jsonl": "".join(
        json.dumps({"payment": {"id": f"p{n}", "at": f"{t.isoformat()}Z", "card": "c"}}) + "\n"
        for n, t in enumerate(TIMES)
    ),
}


def tried(folder, file):
    """The project proposed for a file, its guesses, and the counts of events and of labels when it is ingested."""
    project, _, proposal = app.propose_project(folder, file)
    guesses = proposal.guesses
    labels = file if "\nlabel:" in (folder / "events.yaml").read_text() else None
    report = project.check()
    assert (report.errors, report.warnings, report.tests) == ((), (), 1)
    assert len(project.definitions.features) == 5
    taken = app.open(folder).ingest(file, labels=labels)
    return project, guesses, taken


# One reader of files proposes for all.
@pytest.mark.parametrize("name", long_after(8, FILES))
def test_a_proposal_takes_all_lines_of_the_file_it_was_made_from(tmp_path, name):
    file = tmp_path / name
    file.write_text(FILES[name], encoding="utf-8")

    _, guesses, taken = tried(tmp_path / "p", file)

    texts = "".join(path.read_text() for path in (tmp_path / "p").rglob("*.yaml"))
    assert taken.events.appended == taken.events.read > 1
    assert taken.labels.appended == taken.labels.read
    assert all(f"# guess: {guess}" in texts or f"# guess: {guess.partition(': ')[2]}" in texts for guess in guesses)


# As above.
@pytest.mark.parametrize(
    "file",
    long_after(
        8,
        sorted(
            path
            for kind in ("csv", "jsonl", "txt", "json")
            for path in (SHARED / "cases").glob(f"*/*.{kind}")
            if path.name != "expressions.txt"
        ),
    ),
    ids=lambda path: f"{path.parent.name[:2]}-{path.name}",
)
def test_each_file_that_people_had_gets_a_project_that_takes_it(tmp_path, file):
    _, _, taken = tried(tmp_path / "p", file)

    assert taken.events.appended == taken.events.read > 0


def test_repeated_lines_and_a_mistake_in_a_thousand_hide_neither_the_id_nor_the_currencies(tmp_path):
    lines = [f"t{n},2026-01-01 10:{n // 60:02}:{n % 60:02},c{n % 9},{'EUR USD'.split()[n % 2]},5" for n in range(1_200)]
    lines += [*lines[:10], lines[0].replace("EUR", "EURO").replace("t0", "")]
    (file := tmp_path / "messy.csv").write_text("\n".join(["Transaction ID,Booked At,Card,Ccy,Amount", *lines]) + "\n")
    project, *_ = app.propose_project(tmp_path / "p", file)
    type_ = project.definitions.events.types["payment"]

    assert type_.id_field == "transaction_id"
    assert [field.name for field in type_.converted] == ["amount"]


def test_a_few_late_lines_get_a_lateness_and_the_most_frequent_refusal_is_the_one_that_is_shown(tmp_path):
    first, late = datetime(2026, 3, 1), {30: 4_000, 150: 5, 250: 5}  # noqa: DTZ001 (as files have them)
    lines = [
        f"p{n},{first + timedelta(minutes=2 * n, days=-late.get(n, 0))},c{n % 9},{'x' if n in {40, 45} else n}.50"
        for n in range(400)
    ]
    (file := tmp_path / "late.csv").write_text("\n".join(["id,at,card,amount", *lines]) + "\n")
    project, _, proposal = app.propose_project(tmp_path / "p", file)
    guesses = proposal.guesses
    report = project.ingest(file)

    assert project.definitions.settings.lateness_ms == 5 * 86_400_000
    assert (report.events.appended, report.events.quarantined) == (397, 3)
    assert "3 of 400 lines would be refused, 2 of them with the most frequent reason: amount: " in guesses[-1]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("decimals", [0.0, 0.25])
@pytest.mark.parametrize("scale", [1, 1_000])
def test_epochs_with_decimals_are_read(tmp_path, kind, decimals, scale):
    path = tmp_path / f"a.{kind}"
    rows = [{"id": f"p{n}", "at": (1_772_359_200 + n) * scale + decimals, "amount": "5.00"} for n in range(9)]
    if kind == "csv":
        path.write_text("id,at,amount\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)

    project, _, taken = tried(tmp_path / "p", path)

    assert (taken.events.appended, taken.events.quarantined) == (9, 0)
    assert project.events("payment")["at"].to_pylist()[0].isoformat() == "2026-03-01T10:00:00+00:00"


def test_lines_without_an_amount_become_event_types_and_items_of_an_array_events(tmp_path):
    for name in ("types.csv", "each.jsonl", "order_lines.jsonl"):
        (tmp_path / name).write_text(FILES[name])
    types, each, lines = (
        app.propose_project(tmp_path / name, tmp_path / f"{name}{end}")[0]
        for name, end in (("types", ".csv"), ("each", ".jsonl"), ("order_lines", ".jsonl"))
    )

    assert [(name, type_.is_decided) for name, type_ in types.definitions.events.types.items()] == [
        ("payment", True),
        ("log_in", False),
    ]
    assert set(types.definitions.events.entities["account"].keys) == {"payment", "log_in"}
    assert each.ingest(tmp_path / "each.jsonl").events.appended == 2 * len(TIMES)
    assert lines.ingest(tmp_path / "order_lines.jsonl").events.appended == len(TIMES)


def test_a_packed_file_in_windows_letters_is_read_with_its_preamble_and_decimal_commas(tmp_path):
    file = tmp_path / "konto.csv.gz"
    file.write_bytes(gzip.compress(GERMAN.encode("cp1252")))

    project, _, taken = tried(tmp_path / "p", file)

    assert taken.events.appended == len(TIMES)
    rows = project.features("payment").to_pylist()
    assert str(rows[-1]["kunde.spent_24h"]) == "1229.50"


def test_columns_with_types_keep_them(tmp_path):
    file = tmp_path / "typed.parquet"
    count = len(TIMES)
    columns = {
        "TX_ID": list(range(count)),
        "TX_DATETIME": pa.array(TIMES, pa.timestamp("us")),
        "CUSTOMER_ID": [n % 4 for n in range(count)],
        "TX_AMOUNT": [n / 4 for n in range(count)],
        "booked": [date(2024, 3, 1)] * count,
        "nested": [{"online": n % 2 == 0} for n in range(count)],
        "session": [timedelta(seconds=n) for n in range(count)],
        "TX_FRAUD": [n % 9 == 0 for n in range(count)],
    }
    pq.write_table(pa.table(columns), file)

    project, _, taken = tried(tmp_path / "p", file)

    types = {field.name: str(field.type) for field in project.definitions.events.types["payment"].fields}
    assert (taken.events.appended, taken.labels.appended) == (count, count)
    assert types == {
        "tx_id": "text",
        "tx_datetime": "time",
        "tx_amount": "money",
        "customer_id": "text",
        "booked": "time",
        "online": "boolean",
        "session": "duration",
    }


@pytest.mark.parametrize("form", ["parquet", "avro"])
def test_texts_with_a_decimal_comma_and_numbers_are_read_beside_each_other(tmp_path, form):
    file = tmp_path / f"typed.{form}"
    count = 1_100  # so many are read by columns
    whole = [n * 31 % 7 + 1 for n in range(count)]
    rows = [
        {"id": f"k{n}", "at": f"2026-03-01T10:{n // 60:02d}:{n % 60:02d}Z", "card": f"c{n % 7}", "rate": n + 0.125}
        | {"amount": f"{whole[n]}.{n % 800 + 100},50"}
        for n in range(count)
    ]
    schema = record(*((name, "double" if name == "rate" else "string") for name in rows[0]))

    def write() -> None:
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), file)
        else:
            avro_file(file, schema, rows)

    write()
    project, _, _ = tried(tmp_path / "p", file)

    events = project.events("payment").to_pylist()
    assert [float(event["amount"]) for event in events] == [
        each * 1_000 + n % 800 + 100.5 for n, each in enumerate(whole)
    ]
    assert [float(event["rate"]) for event in events] == [n + 0.125 for n in range(count)]
    mapping = (tmp_path / "p/events.yaml").read_text()
    assert f"    {form}:\n      decimal: ','\n" in mapping
    (tmp_path / "p/events.yaml").write_text(mapping.replace("rate: row.rate", "rate: number(row.rate)"))
    assert app.open_exactly(tmp_path / "p").ingest([file]).events.duplicates == count, "the same values"

    (tmp_path / "p/events.yaml").write_text(mapping)
    rows[0] |= {"id": "point", "amount": "12.50"}
    write()
    assert app.open_exactly(tmp_path / "p").ingest([file]).events.quarantined == 1, "it could be 1250"
    if form == "parquet":
        with pytest.warns(UserWarning, match="12.50"):
            app.open_exactly(tmp_path / "p").features("payment", files=[file])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "is empty"),
        (
            "cr.csv",
            b"id,at,amount\r1,2026-03-01T10:00:00Z,5\r",
            "CSV file: a line ends in CR alone; save the file with LF",
        ),
        ("head.csv", b"a,b\n", "has no lines"),
        ("binary.csv", bytes(range(256)) * 9, "binary.csv is no CSV"),
        ("binary.dat", bytes(range(256)) * 9, "does not show what it is"),
        ("broken.jsonl", b"[1\nnot json\n", "has no lines"),
        ("none.csv", None, "no file"),
    ],
)
def test_what_is_no_file_of_events_is_refused_and_nothing_is_made(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=words):
        app.propose_project(tmp_path / "p", tmp_path / name)

    assert not (tmp_path / "p").exists()


def test_times_of_several_forms_are_said_to_be_why_lines_are_counted(tmp_path):
    forms = "2026-03-01T10:00:00Z", "01/03/2026 12:00", "1772366400", "Mar 1 2026 1:00PM", "noon"
    path = tmp_path / "forms.csv"
    path.write_text("id,time,amount\n" + "".join(f"{n},{time},1.00\n" for n, time in enumerate(forms)))

    _, _, proposal = app.propose_project(tmp_path / "p", path)
    guesses = proposal.guesses

    assert any("time has no form of times that most lines share, so" in guess for guess in guesses)


def test_the_next_command_reads_the_labels_that_were_found(tmp_path, capsys):
    for name, has_labels in (("german.csv", True), ("reverse.csv", False)):
        path, folder = tmp_path / name, tmp_path / name.removesuffix(".csv")
        path.write_text(FILES[name], encoding="utf-8")

        assert run(["init", str(folder), "--from", str(path)]) == 0
        assert capsys.readouterr().err.endswith(f"ingest {path}{f' --labels {path}' if has_labels else ''}\n")


def test_a_line_that_is_too_long_is_counted_as_refused_and_hides_none_of_the_others(tmp_path):
    rows = "".join(f"p{n},2026-03-01T10:{n:02}:00Z,{n}.50,{'x' * 200_000 if n == 3 else 'ok'}\n" for n in range(20))
    path = tmp_path / "notes.csv"
    path.write_text(f"id,at,amount,note\n{rows}", encoding="utf-8")

    project, _, proposal = app.propose_project(tmp_path / "bank", path)
    guesses = proposal.guesses

    assert "1 of 20 lines would be refused" in guesses[-1]
    assert project.ingest(path).events.appended == 19


@pytest.mark.parametrize(
    ("before", "skip"), [("sep=;\n", ""), ("sep=;\nExport of May\n\n", "skip: 3"), ("Export\nsep=;\n", "skip: 2")]
)
def test_lines_before_the_header_are_left_out_beside_the_line_of_excel(tmp_path, before, skip):
    rows = "".join(f"p{n};2026-03-01T10:{n:02}:00Z;4{n % 3:05d};{n},50;c{n % 3}\n" for n in range(20))
    path = tmp_path / "export.csv"
    path.write_text(f"{before}id;at;card_bin;amount;customer\n{rows}", encoding="utf-8")
    assert run(["init", str(tmp_path / "bank"), "--from", str(path)]) == 0
    events = (tmp_path / "bank" / "events.yaml").read_text(encoding="utf-8")

    assert "card_bin: text" in events, events
    assert (skip in events) if skip else ("skip" not in events), events
    assert run(["-C", str(tmp_path / "bank"), "ingest", str(path)]) == 0
    with app.open(tmp_path / "bank").log.reading() as log:
        assert (log.last_seq(), log.counts().refused) == (21, 0)


def test_padded_verdicts_are_labels(tmp_path):
    file = tmp_path / "padded.csv"
    lines = (f"k{n},{at:%Y-%m-%dT%H:%M:%SZ},{n}.50,{' 1 ' if n % 5 == 0 else ' 0 '}\n" for n, at in enumerate(TIMES))
    file.write_text("id,at,amount,is_fraud\n" + "".join(lines))
    _, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    assert proposal.tried["labels"] == 30
    assert proposal.tried["frauds"] == 6


@pytest.mark.parametrize("name", ["Waehrung", "Währung", "moneda", "devise", "valuta"])
def test_a_column_that_another_language_calls_the_currency_is_the_currency(tmp_path, name):
    file = tmp_path / "named.csv"
    lines = (f"k{n},{at:%Y-%m-%dT%H:%M:%SZ},{n}.50,CHF\n" for n, at in enumerate(TIMES))
    file.write_text(f"id,at,amount,{name}\n" + "".join(lines))
    project, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    assert project.definitions.settings.currency == "CHF"
    assert "currency" not in [question["role"] for question in proposal.questions]


def test_a_statement_in_turkish_has_its_clock_its_currency_and_its_cards(tmp_path):
    file = tmp_path / "hesap.csv"
    lines = (
        f"{n};{at.day}.{at.month}.{at.year};{at:%H:%M};4355****{n % 4};-{n},50;TRY\n" for n, at in enumerate(TIMES)
    )
    file.write_text("Dekont No;Tarih;Saat;Kart No;Tutar;Döviz\n" + "".join(lines), encoding="cp1254")
    project, guesses, _ = tried(tmp_path / "bank", file)

    assert project.events("payment")["tarih"].to_pylist()[5].hour == TIMES[5].hour
    assert project.definitions.settings.currency == "TRY"
    assert [*project.definitions.events.entities] == ["kart"]
    assert "hesap.csv is not UTF-8; it is read as windows-1252; save it as UTF-8 if letters are wrong" in guesses


def test_credits_and_debits_in_one_amount_are_compared_by_their_size(tmp_path):
    file = tmp_path / "statement.csv"
    amounts = [-20 - n if n % 4 else 90 for n in range(len(TIMES))]
    amounts[-1] = -900
    lines = (f"k{n},{at:%Y-%m-%dT%H:%M:%SZ},{amounts[n]}.50,a\n" for n, at in enumerate(TIMES))
    file.write_text("id,at,amount,account\n" + "".join(lines))
    project, _, _ = tried(tmp_path / "bank", file)

    hits = [list(decision["rules"]) for decision in project.decisions().to_pylist()]
    assert hits == [[]] * (len(TIMES) - 1) + [["amount_far_above_mean"]]


def test_amounts_without_a_rate_do_not_lower_the_mean_that_the_rule_compares(tmp_path):
    file = tmp_path / "rates.csv"
    codes = ["EUR CHF GBP USD SEK".split()[n % 5] for n in range(len(TIMES))]
    lines = (f"k{n},{at:%Y-%m-%dT%H:%M:%SZ},{50 + n}.50,{codes[n]},a\n" for n, at in enumerate(TIMES))
    file.write_text("id,at,amount,currency,account\n" + "".join(lines))
    project, _, _ = tried(tmp_path / "bank", file)

    hits = [list(decision["rules"]) for decision in project.decisions().to_pylist()]
    assert hits == [[] if code == "EUR" else ["no_rate"] for code in codes]


def test_days_and_months_that_could_change_places_are_asked(tmp_path):
    file = tmp_path / "short.csv"
    lines = (f"k{n},0{4 + n % 3}/0{3 + n % 2}/2026 10:00,{n}.50\n" for n in range(30))
    file.write_text("id,at,amount\n" + "".join(lines))
    _, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    asked = [question["choices"][1] for question in proposal.questions if question["role"] == "time"]
    assert asked == ["first=day"]


def test_numbers_of_json_that_name_events_and_keys_are_texts_as_they_are_written(tmp_path):
    ids = [12_345_678_901_234_567_890 + number if number % 2 else 123 + number for number in range(60)]
    cards = [4_000_000_000_000_000_000_000 + number % 7 for number in range(60)]
    file = tmp_path / "a.jsonl"
    file.write_text(
        "".join(
            f'{{"id": {id_}, "at": "2026-03-01T10:{number:02d}:00Z", "amount": 12.5, "card": {card}}}\n'
            for number, (id_, card) in enumerate(zip(ids, cards, strict=True))
        )
    )

    project, _, _ = app.propose_project(tmp_path / "bank", file, None)
    project.ingest([file])

    events = project.events("payment")
    assert events["id"].to_pylist() == list(map(str, ids))
    assert events["card"].to_pylist() == list(map(str, cards))
    assert project.definitions.events.entities.keys() == {"card"}


@pytest.mark.parametrize("quote", ["", '"'])
def test_decimal_commas_do_not_pass_for_the_separator(tmp_path, quote):
    """Each line and one before the header have one comma, so commas make two regular columns."""
    rows = [["Tag", "Zahlung an", "Betrag (£)", "IBAN"]]
    rows += [[f"{at:%d.%m.%y}", f"Laden {n % 3}", f"-5.0{n:02d},24", f"DE{n % 4}9"] for n, at in enumerate(TIMES)]
    before = '"Konto";"DE12"\n"Kontostand:";"1.234,56 €"\n""\n'
    lines = (";".join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    file = tmp_path / "konto.csv"
    file.write_text(before + "\n".join(lines) + "\n", encoding="utf-8-sig")
    project, _, taken = tried(tmp_path / "bank", file)

    assert taken.events.appended == len(TIMES)
    assert project.definitions.settings.currency == "GBP"
    assert str(project.events("payment")["betrag"].to_pylist()[3]) == "-5003.24"


@pytest.mark.parametrize("sign", ["", "-"])
def test_amounts_of_two_sides_are_read_with_groups_of_thousands(tmp_path, sign):
    file = tmp_path / "statement.csv"
    cells = [f',"{sign}14,6{n:02d}.50"' if n % 3 else f'"2,0{n:02d}.00",' for n in range(len(TIMES))]
    lines = (f"R{n:04d},{at:%Y-%m-%d %H:%M:%S},{cells[n]},a{n % 3}\n" for n, at in enumerate(TIMES))
    file.write_text("Receipt No.,Completion Time,Paid In,Withdrawn,Account\n" + "".join(lines))
    project, guesses, taken = tried(tmp_path / "bank", file)

    assert taken.events.appended == len(TIMES)
    amounts = project.events("payment")["amount"].to_pylist()
    assert [str(amount) for amount in amounts[:2]] == ["2000.00", f"{sign}14601.50"]
    assert any("both are without sign" in guess for guess in guesses) == (not sign)


def test_counts_around_the_items_are_no_amounts_and_a_takeover_is_a_label(tmp_path):
    file = tmp_path / "logins.json"
    items = [
        {"id": f"e{n}", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "user": f"u{n % 4}", "Is Account Takeover": n == 4}
        for n, at in enumerate(TIMES)
    ]
    file.write_text(json.dumps({"items": items, "total_transactions": len(items), "meta": {"TotalPages": 1}}))
    _, _, proposal = app.propose_project(tmp_path / "bank", file, None)

    assert (proposal.tried["labels"], proposal.tried["frauds"]) == (30, 1)
    assert "money" not in (tmp_path / "bank" / "events.yaml").read_text(encoding="utf-8")


def test_keys_that_name_the_type_of_a_value_do_not_name_its_column(tmp_path):
    """Exports of MongoDB and DynamoDB have each value in an object of one key."""
    mongo, dynamo = [], []
    for n, at in enumerate(TIMES):
        mongo.append(
            {
                "_id": {"$oid": f"{n:024x}"},
                "createdAt": {"$date": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
                "amount": {"$numberDecimal": f"{n}.50"},
                "currency": "EUR",
                "customerId": {"$numberLong": f"{90 + n % 4}"},
                "fraud": n == 5,
            }
        )
        item = {
            "pk": {"S": f"tx#{n}"},
            "created": {"N": str(int(at.replace(tzinfo=UTC).timestamp()))},
            "amount": {"N": f"{n}.50"},
        }
        dynamo.append({"Item": {**item, "customer": {"S": f"c{n % 4}"}, "is_fraud": {"BOOL": n == 5}}})
    for name, lines, customer in (("mongo", mongo, "customer_id"), ("dynamo", dynamo, "customer")):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        project, _, taken = tried(tmp_path / name, file)

        assert (taken.events.appended, taken.labels.appended) == (len(TIMES), len(TIMES))
        assert str(project.events("payment")["amount"].to_pylist()[5]) == "5.50"
        assert project.definitions.events.entities["customer"].keys["payment"] is not None
        assert customer in project.events("payment").column_names


def test_the_sign_of_two_currencies_is_that_of_the_one_with_decimals(tmp_path):
    for name, amount, currency in (("yuan", "¥{}.50", "CNY"), ("yen", "¥{}", "JPY")):
        file = tmp_path / f"{name}.csv"
        lines = (f"k{n},{at:%Y-%m-%d %H:%M:%S},{amount.format(n + 1)}\n" for n, at in enumerate(TIMES))
        file.write_text("id,at,amount\n" + "".join(lines), encoding="utf-8")
        project, _, _ = tried(tmp_path / name, file)
        assert project.definitions.settings.currency == currency


def test_a_file_in_another_encoding_says_how_to_write_it_anew(tmp_path):
    file = tmp_path / "torihiki.csv"
    file.write_text("取引番号,取引日時,金額\n1,2026/03/02 08:00:00,1200\n", encoding="shift_jis")
    with pytest.raises(UsageError, match=r"iconv -f SHIFT_JIS -t UTF-8 torihiki\.csv"):
        app.propose_project(tmp_path / "bank", file, None)
    assert not (tmp_path / "bank").exists()
