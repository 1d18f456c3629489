"""`shroff.open(...)` in a notebook or a program: tables, decisions as values, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import escape, unescape

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.explain import key_events
from shroff.log.prepared import TAKEN, WAITING
from shroff.replay.notebook import moment_ms
from shroff.runtime.values import replace
from shroff.worker.answers import json_lines
from tests.support import forks, projects

DAY = "2026-03-01T12:"


@pytest.fixture
def project(tmp_path):
    for name, text in projects.FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return shroff.open(tmp_path)


def payment(number, minute=0, amount="5.00", **fields):
    return {"id": f"p{number}", "at": f"{DAY}{minute:02d}:00Z", "card": "c", "amount": amount} | fields


# ---- decide


def test_each_event_gets_its_answer_in_order(project):
    small, large, wrong = project.decide(
        [payment(1), payment(2, amount=250), payment(3, amount="x")], as_type="payment"
    )

    assert (small.outcome, small.rules) == ("approve", ())
    assert (large.outcome, large.reasons) == (
        "review",
        (shroff.Reason("large", "rule", "A payment of 250.00", "review"),),
    )
    assert (type(wrong), wrong.status, wrong.line) == (shroff.Refusal, 422, 3)
    assert wrong.detail.startswith("amount: expected an amount in EUR")


def test_a_decision_has_the_fields_of_its_document(project):
    (decision,) = project.decide([payment(1)], as_type="payment")

    with project.log.reading() as log:
        document = log.decisions.of("payment", ["p1"])["p1"].document
    assert msgspec.json.encode(asdict(decision)) == document


def test_a_decision_cannot_be_changed(project):
    (decision,) = project.decide([payment(1)], as_type="payment")

    with pytest.raises(FrozenInstanceError):
        decision.outcome = "decline"


def files_of(project):
    """All files of a project, but those that SQLite makes for whoever reads."""
    files = (path for path in project.context.paths.folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("known", [0, 2])
def test_what_is_scored_is_what_would_be_decided_and_nothing_is_written(project, known):
    events = [payment(number, minute=number, amount=250) for number in range(6)] + [payment(7, amount="x")]
    if known:
        project.decide(events[:known])
    before, asked = files_of(project), [*events[known:], events[known]]

    scored = project.score(asked)

    assert files_of(project) == before
    decided = project.decide(asked)
    assert [
        decision if isinstance(decision, shroff.Refusal) else replace(decision, seq=None) for decision in decided
    ] == scored


def test_a_score_stands_beside_a_process_that_writes(project):
    project.decide([payment(1)])

    with project.log.writing():
        (scored,) = project.score([payment(2)])
    assert (scored.id, scored.seq, scored.features["card.payments_1h"]) == ("p2", None, 1)


def test_where_there_is_one_event_type_it_need_not_be_named(project):
    flat, named, mistyped = project.decide([payment(1), {"payment": payment(2)}, {"paymnt": payment(3)}])

    assert (flat.event, named.event) == ("payment", "payment")
    assert mistyped.detail == "paymnt: is not an event type. Did you mean payment?"


ROWS = [payment(1), payment(2, minute=1, amount="250.00", card="d")]
FRAMES = {
    "arrow": lambda: pa.Table.from_pylist(ROWS),
    "arrow batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "pandas": lambda: pytest.importorskip("pandas").DataFrame(ROWS),
    "polars": lambda: pytest.importorskip("polars").DataFrame(ROWS),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_data_frame_is_decided_as_its_rows_are(project, kind):
    wanted = project.score(ROWS)

    assert project.score(FRAMES[kind]()) == wanted
    assert [item.id for item in project.decide(FRAMES[kind]())] == ["p1", "p2"]


@pytest.mark.parametrize("width", ["float64", "float32"])
def test_float_columns_of_a_frame_are_read_as_those_of_a_parquet_file(project, tmp_path, width):
    amounts = [1.05, 0.1 + 0.2, 1.005, 2.675, 131_071.99, 0.29]
    rows = pa.Table.from_pylist([payment(number) for number in range(6)])
    column = pa.array(pytest.importorskip("numpy").array(amounts, width))
    frame = rows.set_column(rows.schema.get_field_index("amount"), "amount", column)
    pq.write_table(frame, tmp_path / "frame.parquet")
    wanted = project.features("payment", files=tmp_path / "frame.parquet")

    assert wanted.num_rows == len(amounts)
    for given in (frame, frame.to_pandas(), pytest.importorskip("polars").from_arrow(frame)):
        assert project.features("payment", given) == wanted
        assert [row.id for row in project.score(given)] == wanted["id"].to_pylist()


def test_a_row_that_gives_no_event_is_told_and_refuses_no_other(project):
    frame = pytest.importorskip("pandas").DataFrame([payment(1, amount=1.5), payment(2, amount=float("inf"))])

    with pytest.warns(UserWarning, match="1 line of the files gave no event: 1 refused; the first is .*amount") as told:
        assert project.features("payment", frame)["id"].to_pylist() == ["p1"]
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="gave no event") as told:
        project.tables.features("payment", frame)
    assert told[0].filename == __file__, "by the part, there are fewer functions between"
    assert [isinstance(item, shroff.Refusal) for item in project.score(frame)] == [False, True]


def test_results_are_those_of_the_command_and_a_misspelt_option_is_refused(project):
    project.decide([payment(1), payment(2)])

    found = project.results(by="day", start=date(2026, 1, 1))
    assert sum(row.events for row in found.rows) == found.total.events == 2
    assert repr(found) == project.call("results", by="day", start="2026-01-01").text()
    charts = charts_in(found._repr_html_())
    assert charts.count('<rect class="bar"') == len(found.rows)
    assert f"Fraud by day: {found.rows[0].start} " in charts
    assert charts_in(project.results(by="rule")._repr_html_()) == "", "no picture of rules"
    with pytest.raises(TypeError, match="Did you mean by"):
        project.results(bye="day")
    with pytest.raises(UsageError, match="model"):
        project.drift()


def test_an_id_that_begins_with_the_name_of_a_type_is_found_as_it_is(project):
    project.decide([payment(1, id="payment/x"), payment(2, id="x")])

    found = {asked: project.explain(asked).row.id for asked in ("payment/payment/x", "payment/x", "x")}
    assert found == {"payment/payment/x": "payment/x", "payment/x": "x", "x": "x"}
    project.decide([payment(3, id="payment/y")])
    assert project.explain("payment/y").row.id == "payment/y"
    kinds = {asked: project.label(asked, "fraud").kind for asked in ("payment/y", "payment/x", "payment/z")}
    assert kinds == {"payment/y": TAKEN, "payment/x": TAKEN, "payment/z": WAITING}
    with project.log.reading() as log:
        labeled = {record.id.rpartition("#")[0] for records in log.labels_after() for record in records}
    assert labeled == {"payment/payment/y", "payment/x"}


@pytest.mark.parametrize(
    "given", [None, 5, "p1", {"payment": payment(1)}, "series", "lazy", "mixed"], ids=lambda value: str(value)[:10]
)
def test_what_is_neither_a_frame_nor_rows_is_refused_with_words(project, given):
    if given in ("series", "mixed"):
        pandas = pytest.importorskip("pandas")
        given = pandas.Series([1]) if given == "series" else pandas.DataFrame({"a": [{}, [1]]})
    elif given == "lazy":
        given = pytest.importorskip("polars").LazyFrame(ROWS)

    with pytest.raises(UsageError, match="Give a list of them, or a data frame of pandas, Polars or Arrow"):
        project.score(given)


@pytest.mark.parametrize("kind", FRAMES)
def test_features_and_labels_take_a_data_frame_as_their_rows(project, kind):
    found = project.features("payment", FRAMES[kind]())

    assert found.select(["id", "card.payments_1h"]).to_pylist() == [
        {"id": "p1", "card.payments_1h": 0},
        {"id": "p2", "card.payments_1h": 0},
    ]
    with pytest.raises(UsageError, match="either events or files"):
        project.features("payment", ROWS, files="march.csv")

    project.decide(ROWS)
    rows = pa.table({"event": ["payment/p1", "p2", "p9"], "reason": ["called", None, None]})
    given = rows if "arrow" in kind else rows.to_pandas() if kind == "pandas" else rows.to_pylist()
    report = project.label(given, "fraud", source="chargeback", known_at="2026-03-02T00:00:00Z")
    assert (report.labels.appended, report.waiting if hasattr(report, "waiting") else 1) == (2, 1)
    assert project.labels().select(["id", "verdict", "source", "reason"]).to_pylist() == [
        {"id": "p1", "verdict": "fraud", "source": "chargeback", "reason": "called"},
        {"id": "p2", "verdict": "fraud", "source": "chargeback", "reason": None},
    ]


def test_one_label_needs_a_verdict(project):
    with pytest.raises(UsageError, match="a label needs a verdict"):
        project.label("payment/p1")


def test_answers_are_a_list_and_a_frame_with_a_row_for_each(project):
    answers = project.decide([payment(1), payment(2, amount=250), payment(3, amount="x")])
    again = answers.to_arrow()

    assert again.drop_columns("error").slice(0, 2).equals(project.decisions())
    assert again["error"].to_pylist()[:2] == [None, None]
    assert "amount: expected an amount in EUR" in again["error"].to_pylist()[2]
    assert pytest.importorskip("pandas").isna(answers.to_pandas().outcome[2])
    assert answers.to_polars()["outcome"].to_list() == ["approve", "review", None]
    assert "<td>p2</td><td>review</td>" in answers._repr_html_()
    assert (type(answers)()._repr_html_(), type(answers)().to_arrow().num_rows) == ("", 0)


def test_a_notebook_completes_the_calls_and_the_parts_that_how_tos_use(project):
    shown = dir(project)

    assert {"decide", "score", "features", "labels", "backtest", "train", "models", "rules"} <= set(shown)
    assert not {"context", "log_answers", "systems"} & set(shown), "what only the program uses"
    assert all(hasattr(project, name) for name in [*shown, "taking", "acting_as"])


def test_events_may_name_their_type_themselves(project):
    (decision,) = project.decide([{"payment": payment(1)}])

    assert (decision.event, decision.id) == ("payment", "p1")


def test_what_is_decided_is_durable_and_the_same_event_gets_the_same_answer(project):
    first = project.decide([payment(1)], as_type="payment")

    again = shroff.open(project.context.paths.folder).decide([payment(1)], as_type="payment")

    assert again == first
    assert project.decisions()["id"].to_pylist() == ["p1"]


def test_an_id_with_other_content_is_refused_and_the_rest_goes_on(project):
    _, conflict, other = project.decide([payment(1), payment(1, amount="6.00"), payment(2)], as_type="payment")

    assert (conflict.type, conflict.status) == ("id-conflict", 409)
    assert other.id == "p2"


def test_an_event_of_a_type_that_is_not_decided_is_undecided(project):
    events = project.context.paths.folder / "events.yaml"
    events.write_text(events.read_text().replace("decide: true", "decide: false"))
    for name in ("rules/large.yaml", "features.yaml"):
        (project.context.paths.folder / name).unlink()

    assert shroff.open(project.context.paths.folder).decide([payment(1)], as_type="payment") == [
        shroff.Undecided("payment", "p1", 2)
    ]


@pytest.mark.parametrize("amount", [12.1, Decimal("12.10"), np.float64(12.1), np.int64(12) + np.float64(0.1)])
def test_amounts_of_python_and_numpy_are_taken_by_their_digits(project, amount):
    project.decide([payment(1, amount=amount)], as_type="payment")

    assert project.events("payment")["amount"].to_pylist() == [Decimal("12.10")]


def test_moments_with_a_zone_are_taken(project):
    project.decide([payment(1) | {"at": datetime(2026, 3, 1, 12, tzinfo=UTC)}], as_type="payment")

    assert project.events("payment")["at"].to_pylist() == [datetime(2026, 3, 1, 12, tzinfo=UTC)]


@pytest.mark.parametrize(
    "events, words",
    [
        (["payment"], r"event 1 is a str, not a mapping of fields\. Give a list"),
        ([payment(1), payment(2), None], r"event 3 is a NoneType, not a mapping of fields"),
    ],
)
def test_what_is_no_list_of_events_is_refused_before_anything_is_taken(project, events, words):
    with pytest.raises(UsageError, match=words):
        project.decide(events, as_type="payment")

    assert not project.context.paths.log.exists()


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("card", b"abc", "bytes cannot be a value of a field; pass text"),
        ("card", np.bytes_(b"abc"), "cannot be a value of a field; pass text"),
        ("amount", float("inf"), "inf is not a value of a field"),
        ("amount", -np.float32("inf"), "-inf is not a value of a field"),
        ("card", {"inside": [b"abc"]}, "bytes cannot be a value of a field"),
        ("card", object(), "a object is not a value of a field"),
        ("card", "\udc00", "surrogates not allowed"),
    ],
)
def test_an_event_with_a_value_that_json_would_change_is_refused_and_the_others_are_decided(
    project, field, value, words
):
    events = [payment(1), payment(2, **{field: value}), payment(3)]
    for answers in (project.score(events, as_type="payment"), project.decide(events, as_type="payment")):
        first, refused, last = answers

        assert (first.id, last.id, refused.status, refused.line) == ("p1", "p3", 422, 2)
        assert re.search(f"^event 2 cannot be written as JSON: .*{words}", refused.detail)
    with pytest.raises(UsageError, match="event 1 cannot be written as JSON"):
        project.label([{"event": "payment/p1", "verdict": "fraud", "amount": float("inf")}], source="analyst")


def test_a_decision_shows_itself_in_a_notebook_with_its_texts_escaped(project):
    (decision,) = project.decide([payment(1, id="<b>", amount=250)], as_type="payment")

    shown = decision._repr_html_()

    assert "&lt;b&gt;" in shown
    assert "<td>large</td><td>review</td><td>A payment of 250.00</td>" in shown
    assert "<td>card.spent_1d</td><td>0.00</td>" in shown


def test_an_explanation_shows_itself_with_what_was_before(project):
    project.decide([payment(1), payment(2, 1, amount=250)], as_type="payment")

    shown = project.explain("p2")._repr_html_()

    assert "<td>card.spent_1d</td><td>5.00</td><td>0.00</td><td>0.00</td><td>0.00</td><td>1</td>" in shown
    words = "Send a payment to review and flag its card when the amount is above 100 EUR. Notify analysts."
    assert f"<td>large</td><td>hit</td><td>{words}</td><td>this.amount &gt; 100</td>" in shown


# ---- tables


def test_features_are_those_that_the_command_writes(project, tmp_path):
    project.decide([payment(number, number) for number in range(5)], as_type="payment")
    out = tmp_path / "features.parquet"

    project.tables.write_features("payment", [], out)

    found, written = project.features("payment"), pq.read_table(out)
    assert written.schema.field("card.spent_1d").type == pa.decimal128(18, 2)
    assert found.equals(written.cast(found.schema))
    assert found["card.payments_1h"].to_pylist() == [0, 1, 2, 3, 4]


def test_features_are_written_under_names_that_are_text(project, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(msgspec.json.encode(payment(1)) + b"\n")

    report = project.tables.write_features("payment", str(tmp_path / "in.jsonl"), str(tmp_path / "out.parquet"))

    assert report.rows == pq.read_table(tmp_path / "out.parquet").num_rows == 1


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet.gz", "OUT.TXT"])
def test_features_are_not_written_under_the_ending_of_another_format(project, tmp_path, name):
    project.decide([payment(1)], as_type="payment")

    with pytest.raises(UsageError, match=r"written as Parquet; name a file that ends in \.parquet"):
        project.tables.write_features("payment", [], tmp_path / name)
    assert not (tmp_path / name).exists()


def test_lines_of_files_that_give_no_event_are_a_warning(project, tmp_path):
    file = tmp_path / "march.jsonl"
    given = payment(1), payment(2, amount="x"), payment(1)
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in given))

    for engine in ("batch", "online", "naive"):
        with pytest.warns(UserWarning, match="2 lines .* 1 refused, 1 duplicate; the first is march.jsonl:2"):
            assert project.features("payment", files=file, engine=engine).num_rows == 1


def test_features_as_of_a_moment_are_the_same_values_for_the_events_up_to_it(project):
    #  log    p1 12:01   p5 12:05   p2 12:02 (late)   fraud of p1 known 12:04   p6 12:06   p3 12:03 (late)
    #  as_of 12:04:      p1, p2 and p3, whatever was taken between them
    project.decide([payment(1, 1), payment(5, 5), payment(2, 2)], as_type="payment")
    label(project, "p1", "fraud", f"{DAY}04:00Z")
    project.decide([payment(6, 6), payment(3, 3)], as_type="payment")

    whole, part = project.features("payment"), project.features("payment", as_of=f"{DAY}04:00Z")

    assert part["id"].to_pylist() == ["p1", "p2", "p3"]
    assert part.equals(whole.filter(pc.is_in(whole["id"], pa.array(["p1", "p2", "p3"]))))
    assert part["card.payments_1h"].to_pylist() == [0, 1, 2]


def test_an_event_at_the_very_moment_is_in(project):
    project.decide([payment(1, 1), payment(2, 2)], as_type="payment")

    assert project.features("payment", as_of=f"{DAY}02:00Z").num_rows == 2
    assert project.features("payment", as_of=f"{DAY}01:59.999Z").num_rows == 1


def test_features_of_files_need_no_log(project, tmp_path):
    file = tmp_path / "march.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(payment(number, number)) + b"\n" for number in range(3)))

    table = project.features("payment", files=str(file), as_of=f"{DAY}01:00Z")

    assert table["card.payments_1h"].to_pylist() == [0, 1]


def test_events_have_typed_columns(project):
    project.decide([payment(1), payment(2, card=None)], as_type="payment")

    table = project.events("payment")

    assert table.schema.field("amount").type == pa.decimal128(38, 2)
    assert table.drop_columns("at").to_pylist() == [
        {"seq": 2, "id": "p1", "card": "c", "amount": Decimal("5.00")},
        {"seq": 3, "id": "p2", "card": None, "amount": Decimal("5.00")},
    ]


def test_events_of_all_types_are_the_rows_that_export_writes_up_to_the_moment(project):
    project.decide([payment(1, 1), payment(2, 2)], as_type="payment")

    assert project.events()["id"].to_pylist() == ["p1", "p2"]
    assert project.events(as_of=f"{DAY}01:00Z")["id"].to_pylist() == ["p1"]


def test_tables_of_a_log_without_rows_have_their_columns(project):
    project.decide([payment(1)], as_type="payment")

    assert project.labels().column_names == ["event", "id", "seq", "verdict", "source", "known_at", "reason", "amount"]
    assert project.features("payment", as_of="2020-01-01").schema == project.features("payment").schema


@pytest.mark.slow
def test_the_accuracy_of_a_flag_follows_from_the_verdict_in_force_of_its_event(project):
    #  p1 … p6 are flagged   p1: nothing is said   p2: genuine   p3: fraud   p4: genuine, then fraud by the bank
    #  p5: fraud by the bank, which a later label of a weaker source does not touch   p6: fraud, then unclear
    project.decide([payment(number, number, amount="500.00") for number in range(1, 7)], as_type="payment")
    label(project, "p2", "genuine", f"{DAY}10:00Z", "customer")
    label(project, "p3", "fraud", f"{DAY}11:00Z")
    label(project, "p4", "genuine", f"{DAY}12:00Z", "customer")
    label(project, "p4", "fraud", f"{DAY}13:00Z", "chargeback")
    label(project, "p5", "fraud", f"{DAY}14:00Z", "chargeback")
    label(project, "p5", "genuine", f"{DAY}15:00Z", "import")
    label(project, "p6", "fraud", f"{DAY}16:00Z")
    label(project, "p6", "unclear", f"{DAY}17:00Z")

    pending, false, right = "PENDING_CONFIRMATION", "FALSE_ALARM", "ACCURATE_PREDICTION"
    table = project.flags()
    assert table["event"].to_pylist() == [f"payment/p{number}" for number in range(1, 7)]
    assert table["accuracy"].to_pylist() == [pending, false, right, right, right, pending]
    assert [moment.minute for moment in table["updated"].to_pylist()] == [1, 10, 11, 13, 14, 17]
    out = subprocess.run(
        [str(forks.SHROFF), "-C", project.context.paths.folder, "export", "flags", "--as-of", f"{DAY}12:30Z"],
        capture_output=True,
        check=True,
    )
    found = [json.loads(line) for line in out.stdout.splitlines()]
    assert (
        [item["id"] for item in found] == [f"{item['seq']}-{item['rule']}" for item in found] == table["id"].to_pylist()
    )
    assert [item["created"] for item in found] == [item["time"] for item in found]
    assert [item["fields"]["card"] for item in found] == [
        json.loads(row)["card"] for row in table["fields"].to_pylist()
    ]
    assert [item["accuracy"] for item in found] == [pending, false, right, false, pending, pending]
    assert [item["updated"][14:16] for item in found] == ["01", "10", "11", "12", "05", "06"]
    assert project.verify().mismatches == 0


def label(project, event, verdict, known_at, source="import"):
    rows = {"event": event, "verdict": verdict, "source": source, "known_at": known_at}
    file = project.context.paths.folder / "labels.jsonl"
    file.write_bytes(msgspec.json.encode(rows) + b"\n")
    project.ingest(file, as_type="label")


def test_labels_as_of_a_moment_are_the_verdicts_in_force_then(project):
    #  day      1      2              3               4
    #  p1       paid   fraud (chargeback)   genuine (analyst, weaker)
    #  p2       paid                  fraud           genuine
    project.decide([payment(1), payment(2)], as_type="payment")
    label(project, "p1", "fraud", "2026-03-02T00:00:00Z", "chargeback")
    label(project, "p1", "genuine", "2026-03-03T00:00:00Z", "analyst")
    label(project, "p2", "genuine", "2026-03-04T00:00:00Z")
    label(project, "p2", "fraud", "2026-03-03T00:00:00Z")

    def verdicts(as_of=None):
        table = project.labels(as_of=as_of)
        return dict(zip(table["id"].to_pylist(), table["verdict"].to_pylist(), strict=True))

    assert verdicts("2026-03-01T23:59:59Z") == {}
    assert verdicts("2026-03-02") == {"p1": "fraud"}
    assert verdicts("2026-03-03") == {"p1": "fraud", "p2": "fraud"}
    assert verdicts() == verdicts(date(2026, 3, 4)) == {"p1": "fraud", "p2": "genuine"}


def test_decisions_and_flags_are_the_rows_that_export_writes(project):
    project.decide([payment(1, amount=250)], as_type="payment")

    assert project.decisions()["rules"].to_pylist() == [["large"]]
    assert project.flags()["reason"].to_pylist() == ["A payment of 250.00"]


@pytest.mark.parametrize("call", [lambda p: p.features("payement"), lambda p: p.events("payement")])
def test_a_type_that_is_not_there_is_named_with_the_nearest(project, call):
    project.decide([payment(1)], as_type="payment")

    with pytest.raises(UsageError, match=r"'payement' is not an event type\. Did you mean payment\?"):
        call(project)


def test_an_engine_that_is_not_there_is_refused(project):
    project.decide([payment(1)], as_type="payment")

    with pytest.raises(UsageError, match="there is no engine 'fast'"):
        project.features("payment", engine="fast")


@pytest.mark.parametrize(
    "moment",
    [
        "2026-06-30",
        "2026-06-30T00:00:00Z",
        "2026-06-30T02:00:00+02:00",
        "1782777600000",
        date(2026, 6, 30),
        datetime(2026, 6, 30, tzinfo=UTC),
        datetime(2026, 6, 30),  # noqa: DTZ001  without a zone it is in UTC, as in Parquet
    ],
)
def test_a_moment_may_be_written_in_many_ways(moment):
    assert moment_ms(moment) == 1_782_777_600_000


def test_moments_without_a_zone_are_in_utc_and_durations_are_seconds():
    class Nothing(datetime):
        def __ne__(self, _other):
            return True

        __hash__ = datetime.__hash__

    values = {
        "naive": datetime(2026, 3, 1, 10),  # noqa: DTZ001 - that is the point
        "numpy": np.datetime64("2026-03-01T10:00:00.250000000"),
        "nothing": np.datetime64("NaT"),
        "pandas nothing": Nothing(2026, 3, 1),
        "pandas missing": pd.NA,
        "wait": timedelta(seconds=90),
        "numpy wait": np.timedelta64(1_500_000_000, "ns"),
    }

    (line,) = json_lines([values])
    assert json.loads(line) == {
        "naive": "2026-03-01T10:00:00Z",
        "numpy": "2026-03-01T10:00:00.250000Z",
        "nothing": None,
        "pandas nothing": None,
        "pandas missing": None,
        "wait": 90.0,
        "numpy wait": 1.5,
    }


@pytest.mark.parametrize("at", [datetime(2026, 3, 1, 12), np.datetime64("2026-03-01T12:00:00", "ns")])  # noqa: DTZ001 - UTC
def test_an_event_may_have_a_time_without_a_zone(project, at):
    project.decide([payment(1) | {"at": at}], as_type="payment")

    assert project.events("payment")["at"].to_pylist() == [datetime(2026, 3, 1, 12, tzinfo=UTC)]


def test_engines_may_be_named_in_one_text(project):
    project.decide([payment(1)], as_type="payment")

    assert project.verify("batch").mismatches == 0
    assert project.verify("online, naive").events == 1
    with pytest.raises(UsageError, match="there is no engine 'bach'"):
        project.verify("bach")


def test_an_event_type_that_is_none_is_named_without_an_option(project):
    with pytest.raises(UsageError, match=r"^'pay' is not an event type\. "):
        project.decide([payment(1)], as_type="pay")


@pytest.mark.parametrize("moment", ["yesterday", "2026-13-01", "2026-06-30T00:00:00", "", 5])
def test_what_is_no_moment_is_refused(moment):
    with pytest.raises(UsageError, match=r"^as_of: .*A day such as '2026-06-30' is its start, UTC\.$"):
        moment_ms(moment)


def test_what_is_no_text_is_named_as_it_is():
    with pytest.raises(UsageError, match=r"^as_of: expected a day or a moment, found 5\. "):
        moment_ms(5)


def test_a_label_is_recorded_by_hand(project):
    project.decide([payment(1)], as_type="payment")

    known_at = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    project.label("payment/p1", "fraud", source="analyst", known_at=known_at, reason="called", amount=Decimal("5.00"))

    (row,) = project.labels().to_pylist()
    assert row | {"seq": 0} == {
        "event": "payment",
        "id": "p1",
        "seq": 0,
        "verdict": "fraud",
        "source": "analyst",
        "known_at": known_at,
        "reason": "called",
        "amount": Decimal("5.00"),
    }


# ---- the rest


@pytest.mark.parametrize(
    "known_at",
    [
        datetime(2026, 4, 1, 12),  # noqa: DTZ001 - that is the point
        datetime(2026, 4, 1, 12, tzinfo=UTC),
        "2026-04-01T14:00:00+02:00",
    ],
)
def test_a_label_is_known_at_a_moment_that_is_in_utc_without_a_zone(project, known_at):
    project.decide([payment(1)], as_type="payment")

    assert project.label("p1", "fraud", known_at=known_at, amount=Decimal("1E+2")).kind == "taken"
    (row,) = project.labels().to_pylist()
    assert (row["known_at"], row["amount"]) == (datetime(2026, 4, 1, 12, tzinfo=UTC), Decimal("100.00"))


@pytest.mark.parametrize("call", ["retry", "drop"])
@pytest.mark.parametrize("number", ["x", "1", 1.0, True])
def test_what_is_no_number_of_an_entry_is_refused_before_it_is_asked(project, call, number):
    project.decide([payment(1)], as_type="payment")
    with pytest.raises(UsageError, match="quarantine entries are named by number"):
        getattr(project.quarantine, call)([number])
    with project.log.reading() as log:
        assert log.inbox.pending() == []


def test_an_order_that_there_is_not_is_refused(project, tmp_path):
    with pytest.raises(UsageError, match=r"there is no order 'nonsense'. Use file or time"):
        project.ingest(tmp_path / "a.jsonl", order="nonsense")


@pytest.mark.parametrize("sample", [0, -1])
def test_a_sample_of_no_events_is_refused(project, sample):
    project.decide([payment(1)], as_type="payment")
    with pytest.raises(UsageError, match=f"at least 1 event, not {sample}"):
        project.verify(sample=sample)


def test_a_folder_that_is_not_there_opens_no_project_above_it(project):
    with pytest.raises(UsageError, match=r"the folder .*/mybnak does not exist\."):
        shroff.open(project.context.paths.folder / "mybnak")


def test_a_replay_says_whether_it_matches(project):
    (decision,) = project.decide([payment(1)], as_type="payment")

    replayed = project.replay("p1")

    assert replayed.match
    assert replayed.receipt == decision.receipt
    assert not replayed._replace(computed=replace(replayed.computed, document=b"{}")).match


def test_a_replay_reads_the_whole_log_where_the_events_of_the_keys_do_not_give_the_bytes(project, monkeypatch):
    project.decide([payment(number) for number in range(1, 6)], as_type="payment")
    asked: list[int] = []
    monkeypatch.setattr(key_events, "looked_back", lambda _log, _definitions, seq, *_: asked.append(seq) or [])

    is_match = project.replay("p5").match, project.replay("p5", is_full=True).match

    assert is_match == (True, True)
    assert len(asked) == 1


REPORTS = {
    "check": lambda project: project.check(),
    "doctor": lambda project: project.health.doctor(),
    "backtest": lambda project: project.backtest(rules=project.context.paths.folder / "draft"),
}


@pytest.mark.parametrize("command", REPORTS)
def test_a_report_shows_itself_as_its_command_prints_it(project, command, capsys):
    project.decide([payment(1), payment(2, amount=250)])
    folder = project.context.paths.folder
    (folder / "draft").mkdir()
    (folder / "draft/large.yaml").write_text(projects.FILES["rules/large.yaml"].replace("> 100", "> 1"))

    shown = REPORTS[command](project)
    run(["-C", str(folder), command, *(["--rules", str(folder / "draft")] if command == "backtest" else [])])

    printed = capsys.readouterr().out
    assert without_seconds(repr(shown)) == without_seconds(printed.rstrip("\n"))
    text, _, charts = shown._repr_html_().partition("<iframe")
    assert without_seconds(text) == f"<pre>{escape(without_seconds(repr(shown)))}</pre>"
    assert bool(charts) == (command == "backtest")
    assert len(repr(shown).splitlines()) > 3


def charts_in(html: str) -> str:
    """The page in the frame below a report; empty without one."""
    return unescape(html.partition('<iframe srcdoc="')[2].partition('"')[0])


def without_seconds(text):
    return re.sub(r"[\d.,]+ (s|bytes|[KMG]iB)\b|\d[\d:.]+Z", "N", text)


def test_a_project_names_itself_its_folder_and_how_much_it_has(project):
    folder = project.context.paths.folder
    assert repr(project) == f"<shroff project small in {folder}: 3 features, 1 rule>"
    assert project._repr_html_() == f"<pre>&lt;shroff project small in {folder}: 3 features, 1 rule&gt;</pre>"

    (folder / "features.yaml").write_text("card: { a: coun(payment) over 1h, b: 1 + }")
    broken = shroff.open(folder)
    assert repr(broken).startswith(f"<shroff project {folder}: ")
    assert "    card: { a: coun(payment) over 1h, b: 1 + }\n               ^\n" in repr(broken.check())


@pytest.mark.parametrize("name", shroff.__all__)
def test_every_public_name_is_found(name):
    assert getattr(shroff, name)


@pytest.mark.slow
def test_opening_a_project_loads_no_pyarrow(project):
    code = f"import shroff, sys; shroff.open({str(project.context.paths.folder)!r}); print('pyarrow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
