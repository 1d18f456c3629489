"""The commands as somebody uses them: a project from a template, events in, answers out, and what goes wrong."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import time
from contextlib import closing

import pyarrow.parquet as pq
import pytest

from shroff.adapters.log.tables.sums import decision_sum
from shroff.cli.main import run
from shroff.runtime.texts import many
from tests.support import forks

PROGRAM = (str(forks.SHROFF),)
DECISION = "event id seq as_of_seq outcome score reasons rules shadow_rules features versions receipt".split()

pytestmark = pytest.mark.slow


def payment(number, **fields):
    """One payment; its minute is its number."""
    usual = {
        "payment_id": f"p-{number}",
        "paid_at": f"2026-01-05T{8 + number // 60:02d}:{number % 60:02d}:00Z",
        "card": "c1",
        "merchant": "m1",
        "amount": "20.00",
        "country": "DE",
        "channel": "pos",
    }
    return usual | fields


def lines(*events):
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def bank(tmp_path, monkeypatch, capfd):
    """An empty project of the payments template, in the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "bank"]) == 0
    monkeypatch.chdir(tmp_path / "bank")
    capfd.readouterr()
    return tmp_path / "bank"


@pytest.fixture
def asked(capfd):
    """Run a command with --json; gives its exit code and its document."""

    def ask(*words):
        code = run([*words, "--json"])
        out = capfd.readouterr().out
        assert out.count("\n") == 1, out
        return code, json.loads(out)

    return ask


@pytest.fixture
def printed(capfd):
    """Run a command; gives its exit code, standard output and standard error."""

    def show(*words):
        code = run(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return show


@pytest.fixture
def start():
    """Start the program in a process of its own; it is gone, and its pipes closed, when the test ends."""
    begun = []

    def begin(*words):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(subprocess.Popen([*PROGRAM, *words], text=True, **pipes))
        return begun[-1]

    yield begin
    for program in begun:
        program.kill()
        program.wait()
        for pipe in (program.stdin, program.stdout, program.stderr):
            pipe.close()


# ---- from events to answers


def test_a_first_hour(bank, asked, printed):
    payments = [payment(number, amount="130.00") for number in range(6)]
    (bank / "payments.jsonl").write_text(lines(*payments))

    code, report = asked("ingest", "payments.jsonl", "--as", "payment")
    assert code == 0
    assert {name: report[name] for name in ("read", "appended", "duplicates", "quarantined", "decisions")} == {
        "read": 6,
        "appended": 6,
        "duplicates": 0,
        "quarantined": 0,
        "decisions": 6,
    }
    assert report["by_outcome"] == {"approve": 3, "review": 3}
    assert report["labels"] == {"read": 0, "appended": 0, "pending": 0, "duplicates": 0, "quarantined": 0}

    assert asked("ingest", "payments.jsonl", "--as", "payment")[1]["duplicates"] == 6
    code, again = asked("replay", "p-5")
    assert (code, again["match"]) == (0, True)
    code, verified = asked("verify")
    assert (code, verified["events"], verified["mismatches"], verified["first_mismatch"]) == (0, 6, 0, None)

    code, explained = asked("explain", "payment/p-5")
    assert code == 0
    assert list(explained) == [*DECISION, "explanation"]
    assert [reason["code"] for reason in explained["reasons"]] == ["many_payments"]
    assert again["receipt"] == explained["receipt"]
    spent = next(feature for feature in explained["explanation"]["features"] if feature["name"] == "card.spent_24h")
    assert (spent["value"], spent["key"]) == ("780.00", "c1")
    assert spent["earlier"] == {"count": 5, "lowest": "130.00", "median": "390.00", "highest": "650.00"}
    (hit,) = [rule for rule in explained["explanation"]["rules"] if rule["result"] == "hit"]
    assert hit["condition"] == "card.payments_1h >= 4 and card.spent_24h > 500"
    words = (
        "Send a payment to review and flag its card when the card has 4 or more payments in 1 h, and the card has more"
    )
    assert hit["text"] == f"{words} than 500 EUR spent in 24 h."

    code, text, hints = printed("explain", "p-5")
    assert code == 0
    assert "780.00" in text
    assert "Next: shroff replay payment/p-5" in hints


def test_check_prices_features_and_reads_rules_back(bank, asked, printed):
    code, found = asked("check")

    assert (code, found["ok"], found["rules"]) == (0, True, 9)
    assert found["tests"] > 8
    assert {"name": "card.spent_24h", "type": "money", "cost": "constant"} in found["features"]
    words = "    Decline a payment and flag its card when the card is on the list blocked_cards."
    assert f"{words}\n    this.card in lists.blocked_cards\n" in printed("check")[1]


def test_a_typo_in_a_rule_is_shown_with_its_place_its_line_and_the_right_name(bank, asked, printed):
    rules = bank / "rules" / "cards.yaml"
    rules.write_text(rules.read_text().replace("card.payments_1h >= 4", "card.payment_1h >= 4"))
    place = next(at for at, line in enumerate(rules.read_text().splitlines(), 1) if "payment_1h" in line)

    code, found = asked("check")
    assert (code, found["ok"]) == (1, False)
    (error,) = found["errors"]
    assert error.keys() == {"file", "line", "column", "path", "message", "hint"}
    assert (error["file"], error["line"], error["hint"]) == (
        "rules/cards.yaml",
        place,
        "Did you mean card.payments_1h?",
    )

    code, _, words = printed("decide", "examples/payment.json", "--as", "payment")
    shown = words.splitlines()
    assert code == 2
    assert shown[0].startswith(f"rules/cards.yaml:{place}:9 ")
    assert shown[1].index("card.payment_1h") == shown[2].index("^")
    assert shown[3] == "Did you mean card.payments_1h?"
    assert not (bank / ".shroff").exists()


def test_features_are_written_as_a_table(bank, asked):
    (bank / "in.jsonl").write_text(lines(*(payment(number) for number in range(3))))
    code, report = asked("features", "in.jsonl", "--as", "payment", "--out", "out.parquet")
    table = pq.read_table(bank / "out.parquet")

    assert code == 0
    assert report["rows"] == table.num_rows == 3
    assert report["columns"] == table.column_names
    assert report["columns"][:2] == ["id", "seq"]
    assert report["peak_bytes"] > 10_000_000
    assert table["card.payments_1h"].to_pylist() == [1, 2, 3]


def test_lines_that_give_no_row_are_counted_and_named(bank, asked, printed):
    late = payment(4) | {"paid_at": "2020-01-01T00:00:00Z"}
    given = [payment(1), payment(2, amount="x"), late, payment(1), {"payment": payment(3)}, {"label": {"event": "p-1"}}]
    (bank / "in.jsonl").write_text(lines(*given))

    for engine in ("batch", "online", "naive"):
        words = ("features", "in.jsonl", "--as", "payment", "--out", "out.parquet", "--engine", engine)
        code, report = asked(*words)
        assert code == 4
        counts = [report[name] for name in ("rows", "refused", "too_late", "duplicates", "untaken")]
        assert counts == [2, 2, 1, 1, 0]
        assert sorted((row["file"], row["line"]) for row in report["left_out"]) == [
            ("in.jsonl", "2"),
            ("in.jsonl", "3"),
            ("in.jsonl", "4"),
            ("in.jsonl", "6"),
        ]
    code, out, _ = printed(*words)
    assert code == 4
    assert "4 lines gave no event: 2 refused, 1 too late, 1 duplicates, 0 unmatched." in out
    assert "in.jsonl:3  too late: more than 1d behind the newest event before it" in out


@pytest.mark.parametrize(
    "words, said",
    [
        (("--backend", "flink"), "there is no backend 'flink'; there is local"),
        (("--partitions", "4"), "--cluster and --partitions are for a backend that has processes, and local has none"),
    ],
)
def test_nothing_falls_back_to_the_local_backend(bank, printed, words, said):
    code, out, answer = printed("features", "--as", "payment", "--out", "x.parquet", *words)

    assert (code, out) == (2, "")
    assert said in answer
    assert not (bank / "x.parquet").exists()


def test_a_file_that_is_not_of_its_format_says_so(bank, printed):
    (bank / "x.avro").write_bytes(b"")
    code, out, words = printed("ingest", "x.avro", "--as", "payment")

    assert (code, out) == (2, "")
    assert words == "shroff: x.avro is not an Avro file: it does not begin with Obj.\n"


# ---- decide


def test_decide_gives_a_line_for_each_line_in_order(bank, printed):
    given = [
        {"payment": payment(1)},
        {"payment": payment(2, amount="much")},
        {"payment": payment(1)},
        {"payment": payment(1, amount="21.00")},
        {"label": {"event": "p-1", "verdict": "fraud", "known_at": "2026-02-01T00:00:00Z"}},
    ]
    (bank / "mixed.jsonl").write_text(lines(*given) + "no json\n")
    code, out, _ = printed("decide", "mixed.jsonl")
    found = [json.loads(line) for line in out.splitlines()]

    assert code == 4
    assert list(found[0]) == DECISION
    assert (found[1]["status"], found[1]["line"], found[1]["title"]) == (422, 2, "The event was refused")
    assert found[1]["detail"].startswith("amount: expected an amount")
    assert out.splitlines()[2] == out.splitlines()[0]
    assert (found[3]["status"], found[3]["line"]) == (409, 4)
    assert (found[4]["event"], found[4]["seq"], found[4]["decided"]) == ("label", 3, False)
    assert (found[5]["status"], found[5]["line"]) == (422, 6)


def test_decide_answers_what_has_arrived_and_waits_for_nothing(bank, start):
    program = start("decide", "-", "--as", "payment")
    answered = []
    for number in range(3):
        program.stdin.write(lines(payment(number)))
        program.stdin.flush()
        answered.append(json.loads(program.stdout.readline())["id"])  # would wait for ever, were it not answered
    program.stdin.close()

    assert answered == ["p-0", "p-1", "p-2"]
    assert program.wait(timeout=120) == 0


def test_a_second_writer_is_refused_at_once_and_readers_are_not(bank, asked, printed, start):
    program = start("decide", "-", "--as", "payment")
    program.stdin.write(lines(payment(1)))
    program.stdin.flush()
    program.stdout.readline()
    (bank / "more.jsonl").write_text(lines(payment(2)))

    code, found = asked("ingest", "more.jsonl", "--as", "payment")
    assert (code, found["type"]) == (3, "log-busy")
    assert f"process {forks.pid_of(program)}" in found["detail"]
    assert asked("label", "p-1", "fraud")[1]["appended"] == 1
    assert asked("verify")[1]["events"] == 1
    assert len(printed("export", "decisions")[1].splitlines()) == 1

    program.stdin.close()
    assert program.wait(timeout=120) == 0


def test_ctrl_c_ends_after_what_was_answered(bank, printed, start):
    program = start("decide", "-", "--as", "payment")
    program.stdin.write(lines(payment(1)) + '{"payment_id": "half')
    program.stdin.flush()
    program.stdout.readline()
    program.send_signal(signal.SIGINT)
    program.wait(timeout=120)  # its input stays open: Ctrl-C is not the end of it, whichever of the two came first
    out, words = program.stdout.read(), program.stderr.read()

    assert (program.returncode, out) == (130, "")
    assert words.strip() == "Stopped. 1 event is decided and stored."
    assert len(printed("export", "decisions")[1].splitlines()) == 1
    assert printed("quarantine", "list")[1].startswith("0 entries")


@pytest.mark.long  # recovery/test_faults ends an ingest by SIGINT
def test_ctrl_c_in_an_ingest_loses_nothing_that_it_said(bank, asked, printed, start):
    (bank / "big.jsonl").write_text(lines(*(payment(1, payment_id=f"b-{number}") for number in range(60_000))))
    program = start("ingest", "big.jsonl", "--as", "payment")
    deadline = time.monotonic() + 120
    while printed("export", "decisions")[1] == "" and time.monotonic() < deadline:
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, words = program.communicate(timeout=120)
    there = len(printed("export", "decisions")[1].splitlines())

    assert program.returncode == 130
    assert 0 < there < 60_000
    assert there % 4_096 == 0
    assert "Traceback" not in words
    report = asked("ingest", "big.jsonl", "--as", "payment")[1]
    assert (report["appended"], report["duplicates"]) == (60_000 - there, there)


def test_nobody_reading_on_is_no_error(bank, start):
    (bank / "in.jsonl").write_text(lines(*(payment(1, payment_id=f"b-{number}") for number in range(10_000))))
    program = start("decide", "in.jsonl", "--as", "payment")
    program.stdin.close()
    program.stdout.readline()
    program.stdout.close()

    assert program.wait(timeout=120) == 141
    assert program.stderr.read() == ""


# ---- wrong input


HEADER = "payment_id,paid_at,card,merchant,amount,country,channel\n"


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("broken.csv", HEADER + 'p-1,2026-01-05T08:00:00Z,c1,"m1,5.00,DE,pos\n', "a quotation mark missing"),
        ("short.csv", HEADER + "p-1,2026-01-05T08:00:00Z,c1\n", "has 3 columns, the header has 7"),
        ("money.jsonl", lines(payment(1, amount={"amount": "5.00", "currency": "USD"})), "this project's money is EUR"),
        ("late.jsonl", lines(payment(1), payment(2, paid_at="2026-01-01T00:00:00Z")), "too late"),
        ("empty.jsonl", lines(payment(1, card="")), "card: expected a text of at most 65,536 bytes; it is missing"),
    ],
)
def test_input_that_is_refused_is_quarantined_with_its_reason(bank, asked, printed, name, text, reason):
    (bank / name).write_text(text)
    code, report = asked("ingest", name, "--as", "payment", "--order", "file")
    assert (code, report["quarantined"]) == (4, 1)

    (entry,) = asked("quarantine", "list")[1]["entries"]
    assert reason in entry["reason"]
    assert (entry["source"], entry["type"]) == (name, "payment")
    shown = asked("quarantine", "show", str(entry["number"]))[1]
    assert shown["raw"] in text
    assert reason in printed("quarantine", "list")[1]


def test_a_long_reason_is_cut_in_a_list_and_whole_where_one_entry_is_shown(bank, asked, printed):
    (bank / "long.jsonl").write_text(lines(payment(1, amount="1" * 300)))
    assert asked("ingest", "long.jsonl", "--as", "payment")[0] == 4
    (entry,) = asked("quarantine", "list")[1]["entries"]

    assert len(entry["reason"]) > 150
    row = printed("quarantine", "list")[1].splitlines()[-1]
    assert (entry["reason"][:60] in row, entry["reason"][-60:] in row) == (True, True)
    assert ("… " in row, len(row) < 190) == (True, True)
    assert entry["reason"] in printed("quarantine", "show", "1")[1]


def test_decide_tells_of_a_damaged_snapshot_before_it_waits_for_a_line(bank, printed, start):
    (bank / "one.jsonl").write_text(lines(payment(1)))
    assert printed("ingest", "one.jsonl", "--as", "payment")[0] == 0
    assert printed("snapshot")[0] == 0
    for file in (bank / ".shroff" / "snapshots").iterdir():
        file.write_bytes(file.read_bytes()[:-100])
    waiting = start("decide", "-", "--as", "payment")
    said = waiting.stderr.readline()
    out, err = waiting.communicate(lines(payment(2)), timeout=120)

    assert "its checksum does not fit" in said
    assert json.loads(out)["id"] == "p-2"
    assert "checksum" not in err


@pytest.mark.parametrize(
    "words, said",
    [
        (("ingest", "none.csv", "--as", "payment"), "no file none.csv"),
        (("ingest", "lacking.csv", "--as", "payment"), "lacking.csv lacks the column country, which payment needs"),
        (("ingest", "lacking.csv", "--as", "paymnt"), "Did you mean payment?"),
        (("ingest", "lacking.csv"), "lacking.csv lacks the column country, which payment needs"),
        (("features", "--as", "payment", "--out", "none/x.parquet"), "there is no folder none for x.parquet"),
        (("features", "lacking.csv", "--as", "payment", "--out", "lacking.csv"), "is one of the files to read"),
        (("explain", "p-1"), "no log yet"),
        (("export", "decision"), "Did you mean decisions?"),
        (("export", "decisions", "--format", "parquet"), "add --out"),
    ],
)
def test_what_cannot_begin_writes_nothing(bank, printed, words, said):
    (bank / "lacking.csv").write_text("payment_id,paid_at,card,merchant,amount,channel\n")
    code, out, words = printed(*words)

    assert (code, out) == (2, "")
    assert said in words
    assert (bank / "lacking.csv").read_text().startswith("payment_id")
    assert not (bank / ".shroff" / "log.db").exists()


def test_retry_brings_in_what_the_mended_project_takes(bank, asked):
    (bank / "in.jsonl").write_text(lines(payment(1, channel="phone"), payment(2, amount="much")))
    (bank / "in.csv").write_text(HEADER + "p-3,2026-01-05T08:03:00Z,c1,m1,5.00,DE,phone\n")
    assert asked("ingest", "in.jsonl", "in.csv", "--as", "payment")[1]["quarantined"] == 3
    events = bank / "events.yaml"
    events.write_text(events.read_text().replace("choice(pos, web, atm)", "choice(pos, web, atm, phone)"))

    code, found = asked("quarantine", "retry")
    assert (code, found["read"], found["taken"], found["quarantined"]) == (4, 3, 2, 1)
    assert [entry["outcome"] for entry in found["entries"]] == ["decided", "refused", "decided"]
    assert asked("explain", "p-3")[1]["outcome"] == "approve"

    (left,) = asked("quarantine", "list")[1]["entries"]
    assert left["place"] == "2"
    assert asked("quarantine", "drop", str(left["number"]))[1] == {"dropped": 1}
    assert asked("quarantine", "list")[1]["count"] == 0


def test_a_csv_line_of_a_file_with_any_ending_can_be_retried(bank, asked):
    (bank / "in.txt").write_text(HEADER + "p-3,2026-01-05T08:03:00Z,c1,m1,5.00,DE,phone\n")
    assert asked("ingest", "in.txt", "--as", "payment", "--format", "csv")[1]["quarantined"] == 1
    (kept,) = asked("quarantine", "list")[1]["entries"]
    assert (kept["place"], kept["row"]) == ("2", 1)
    events = bank / "events.yaml"
    events.write_text(events.read_text().replace("choice(pos, web, atm)", "choice(pos, web, atm, phone)"))

    code, found = asked("quarantine", "retry", "--file", "in.txt")
    assert (code, found["taken"]) == (0, 1)


# ---- labels, exports, doctor


def test_labels_join_wait_and_come_only_once(bank, asked):
    (bank / "in.jsonl").write_text(lines(payment(1)))
    asked("ingest", "in.jsonl", "--as", "payment")
    (bank / "labels.csv").write_text(
        "event,verdict,source,known_at\np-1,genuine,import,2026-02-01T00:00:00Z\npayment/p-9,fraud,chargeback,2026-02-01T00:00:00Z\n"
    )

    code, report = asked("label", "labels.csv")
    assert (code, report) == (0, {"read": 2, "appended": 1, "pending": 1, "duplicates": 0, "quarantined": 0})
    assert asked("label", "labels.csv")[1]["duplicates"] == 2
    assert asked("label", "payment/p-1", "fraud", "--source", "chargeback")[1]["appended"] == 1
    refused = asked("label", "p-1", "fraud", "--known-at", "soon")
    assert (refused[0], refused[1]["quarantined"]) == (4, 1)
    waiting = asked("label", "--pending")[1]
    assert (waiting["pending"], waiting["labels"][0]["event"]) == (1, "payment/p-9")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fruad",), "'fruad' is not a verdict. Did you mean fraud?"),
        (("x",), "'x' is not a verdict. There are fraud, genuine and unclear."),
        (("fraud", "--source", "analist"), "'analist' is not a source. Did you mean analyst?"),
    ],
)
def test_a_verdict_or_a_source_that_is_none_is_wrong_use_and_leaves_nothing(bank, asked, printed, words, said):
    (bank / "in.jsonl").write_text(lines(payment(1)))
    asked("ingest", "in.jsonl", "--as", "payment")
    before = asked("audit", "list")[1]
    code, _, errors = printed("label", "payment/p-1", *words)

    assert (code, said in errors) == (2, True)
    assert asked("quarantine", "list")[1]["entries"] == []
    assert asked("audit", "list")[1] == before


def test_what_is_exported_comes_back_in_as_what_is_there(bank, asked, printed):
    given = lines(*({"payment": payment(number, amount="130.00")} for number in range(5)))
    (bank / "in.jsonl").write_text(given)
    _, decisions, _ = printed("decide", "in.jsonl")
    asked("label", "p-1", "fraud", "--known-at", "2026-02-01T00:00:00Z")

    assert printed("export", "decisions")[1] == decisions
    (bank / "events.jsonl").write_text(printed("export", "events")[1])
    assert asked("ingest", "events.jsonl")[1]["duplicates"] == 5
    (bank / "labels.jsonl").write_text(printed("export", "labels")[1])
    assert asked("label", "labels.jsonl")[1]["duplicates"] == 1


@pytest.mark.parametrize("kind, rows", [("decisions", 5), ("events", 5), ("flags", 2), ("labels", 1)])
def test_lines_csv_and_parquet_hold_the_same_rows(bank, asked, printed, kind, rows):
    (bank / "in.jsonl").write_text(lines(*(payment(number, amount="130.00") for number in range(5))))
    asked("ingest", "in.jsonl", "--as", "payment")
    asked("label", "p-1", "fraud", "--known-at", "2026-02-01T00:00:00Z")

    assert len(printed("export", kind)[1].splitlines()) == rows
    table = list(csv.DictReader(io.StringIO(printed("export", kind, "--format", "csv")[1])))
    written = printed("export", kind, "--format", "parquet", "--out", "out.parquet")[1]
    assert written.startswith(f"out.parquet: {many(rows, 'row')} in ")
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        document = asked("export", kind, "--out", name)[1]
        assert document == {"file": name, "rows": rows, "seconds": document["seconds"]}
    columns = pq.read_table(bank / "out.parquet").to_pylist()
    assert len(table) == len(columns) == rows
    assert [list(row) for row in table] == [list(row) for row in columns]
    assert (
        [int(row["seq"]) for row in table] == [row["seq"] for row in columns] == sorted(row["seq"] for row in columns)
    )


def test_no_spreadsheet_carries_out_what_a_csv_holds(bank, asked, printed):
    evil = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1", "-1.50", "c-1"]
    (bank / "in.jsonl").write_text(lines(*(payment(number, payment_id=text) for number, text in enumerate(evil))))
    asked("ingest", "in.jsonl", "--as", "payment")
    ids = [row["id"] for row in csv.DictReader(io.StringIO(printed("export", "events", "--format", "csv")[1]))]

    assert ids == [*(f"'{item}" for item in evil[:5]), *evil[5:]]
    assert [json.loads(line)["payment"]["payment_id"] for line in printed("export", "events")[1].splitlines()] == evil


def test_doctor_says_what_waits_and_what_is_wrong(bank, asked, printed):
    assert asked("doctor")[1]["ok"]
    (bank / "in.jsonl").write_text(lines(payment(1), payment(2, amount="much")))
    asked("ingest", "in.jsonl", "--as", "payment")
    asked("label", "p-9", "fraud")
    rules = bank / "rules" / "lists.yaml"
    rules.write_text(rules.read_text().replace("decline", "review"))

    code, found = asked("doctor")
    states = {finding["subject"]: finding["state"] for finding in found["findings"]}
    assert (code, found["ok"]) == (1, False)
    assert [name for name, state in states.items() if state == "note"] == ["quarantine", "labels"]
    assert [name for name, state in states.items() if state == "wrong"] == ["active version"]
    assert asked("apply", "--dry-run")[0] == 1
    code, done = asked("apply")
    assert (code, [row["file"] for row in done["changed"]], done["seq"]) == (0, ["rules/lists.yaml"], 3)
    assert asked("doctor")[0] == 0

    rules.write_text("- id: broken\n")
    code, text, _ = printed("doctor")
    assert code == 1
    assert "Run 'shroff check' to see each with file and line" in text


def test_doctor_counts_one_as_one(bank, asked, printed):
    (bank / "labels.csv").write_text("event,verdict,source,known_at\np-9,fraud,import,2026-02-01T00:00:00Z\n")
    assert asked("label", "labels.csv")[1]["pending"] == 1

    text = printed("doctor")[1]
    assert "1 has no matching event yet" in text
    assert "answers: 1 record, " in text
    assert "the next start reads the whole log, 1 record" in text


def test_doctor_finds_a_log_that_is_none(bank, asked):
    (bank / ".shroff").mkdir()
    (bank / ".shroff" / "log.db").write_text("this is no database, and it is long enough to be seen as none" * 100)

    code, found = asked("doctor")
    assert code == 1
    (wrong,) = (finding for finding in found["findings"] if finding["state"] == "wrong")
    assert (wrong["subject"], "not a SQLite database" in wrong["words"]) == ("log", True)


def test_a_log_that_was_changed_by_hand_is_found(bank, asked):
    import sqlite3

    (bank / "in.jsonl").write_text(lines(payment(1), payment(2)))
    asked("ingest", "in.jsonl", "--as", "payment")
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as changed, changed:
        changed.execute("UPDATE decisions SET document = replace(document, 'approve', 'decline') WHERE seq = 3")

    code, told = asked("verify")
    assert (code, "record at sequence number 3 differs from the one that was written" in told["detail"]) == (3, True)

    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as changed, changed:
        (row,) = changed.execute("SELECT outcome, receipt, CAST(document AS BLOB) FROM decisions WHERE seq = 3")
        changed.execute("UPDATE decisions SET crc = ? WHERE seq = 3", (decision_sum(3, "payment", "p-2", *row),))

    code, found = asked("verify")
    assert (code, found["events"], found["mismatches"]) == (1, 2, 1)
    assert (found["first_mismatch"]["id"], found["first_mismatch"]["seq"]) == ("p-2", 3)
    code, again = asked("replay", "p-2")
    assert (code, again["match"]) == (1, False)
    assert asked("replay", "p-1")[1]["match"]


def test_check_shows_the_first_lines_of_a_file_as_events_and_writes_nothing(bank, asked):
    (bank / "march.jsonl").write_text(lines(*(payment(number) for number in range(5)), payment(6, amount="x")))
    code, found = asked("check", "--with", "march.jsonl")

    assert (code, found["with"]["read"], found["with"]["refused"]) == (1, 6, 1)
    assert [row["place"] for row in found["with"]["rows"]] == ["1", "2", "3", "6"]
    assert found["with"]["rows"][0]["fields"]["amount"] == "20.00"
    assert found["with"]["rows"][3]["reason"].startswith("amount: expected an amount in EUR")
    assert not (bank / ".shroff" / "log.db").exists()


def test_score_gives_what_decide_would_names_the_type_or_not_and_writes_nothing(bank, asked, printed):
    (bank / "march.jsonl").write_text(lines(payment(1), payment(2)))
    before = sorted(bank.rglob("*"))
    (flat, named) = (asked("score", *words, "march.jsonl") for words in ([], ["payment"]))

    assert flat == named
    assert sorted(bank.rglob("*")) == before
    decided = [json.loads(line) for line in printed("decide", "march.jsonl")[1].splitlines()]
    assert [decision["seq"] for decision in decided] == [2, 3]
    assert [decision | {"seq": None} for decision in decided] == flat[1]["decisions"]
