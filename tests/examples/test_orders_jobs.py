"""Generated orders: a file for each week, the same by the same seed, with frauds that become known later."""

from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from shroff.cli.main import main
from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.jobs.kinds import kind_named
from shroff.services.jobs.work import JobRun
from shroff_orders import pipeline
from shroff_orders.periods import generate_orders


def test_each_week_is_a_file_behind_the_one_before_and_a_seed_gives_the_same_bytes(tmp_path):
    seen = []
    made = generate_orders(tmp_path / "a", 4, 400, 7, seen.append)
    again = generate_orders(tmp_path / "b", 4, 400, 7)
    other = generate_orders(tmp_path / "c", 4, 400, 8)

    assert seen == [1] * 4
    assert [path.name for path in made.files] == [f"batch-0{number}.parquet" for number in range(1, 5)]
    for file, two, three in zip(
        (*made.files, made.labels_file),
        (*again.files, again.labels_file),
        (*other.files, other.labels_file),
        strict=True,
    ):
        assert file.read_bytes() == two.read_bytes() != three.read_bytes()
    parts = pipeline.partitions(made)
    assert sum(part["orders"] for part in parts) == made.orders
    assert 1_200 < made.orders < 2_000
    assert 0 < made.fraud < made.orders * 0.05
    with pytest.raises(UsageError, match=r"batch-03\.parquet has orders of the file before"):
        pipeline.partitions(replace(made, files=made.files[::-1]))


def test_months_are_calendar_months_each_a_file_with_all_of_its_days(tmp_path):
    made = generate_orders(tmp_path / "a", 3, 600, 7, by="month")
    months = [{time.as_py().strftime("%Y-%m") for time in pq.read_table(file)["ordered_at"]} for file in made.files]

    assert months == [{"2026-01"}, {"2026-02"}, {"2026-03"}]
    assert made.files != generate_orders(tmp_path / "b", 3, 600, 7).files
    assert 3 * 600 * 0.7 < made.orders < 3 * 600 * 1.3


def test_labels_come_after_their_orders_and_are_not_all_right(tmp_path):
    made = generate_orders(tmp_path / "a", 6, 1_500, 3)
    labels = pq.read_table(made.labels_file)
    orders = {
        row["order_id"]: row["ordered_at"]
        for path in made.files
        for row in pq.read_table(path, columns=["order_id", "ordered_at"]).to_pylist()
    }
    assert len(labels) == made.labels
    for row in labels.to_pylist():
        assert row["known_at"] > orders[row["event"].removeprefix("order/")]
    found = pc.sum(pc.equal(labels["verdict"], "fraud")).as_py()
    assert 0.5 * made.fraud < found < made.fraud  # some are never reported, some not yet


def test_fewer_weeks_leave_no_file_of_more(tmp_path, capsysbinary):
    for weeks in ("3", "2"):
        with pytest.raises(SystemExit, match="0"):
            main(["generate", "orders", "--batches", weeks, "--size", "50", "--out", str(tmp_path), "--json"])
    told = json.loads(capsysbinary.readouterr().out.splitlines()[-1])
    assert sorted(map(str, tmp_path.glob("*.parquet"))) == told["files"]
    assert len(told["files"]) == 2


def test_the_job_make_orders_counts_weeks_and_writes_below_out(tmp_path):
    project, _ = app.make_project(tmp_path / "shop", "blank")
    kind, run = kind_named("make-orders"), JobRun(0)
    result = kind.load()(project, kind.read({"batches": 2, "size": 60, "out": "out/made/orders"}), run)
    assert run.seen()[:3] == ("generate", 2, 2)
    assert (
        sorted(path.name for path in (tmp_path / "shop" / "out" / "made" / "orders").glob("*.parquet"))
        == result["files"]
    )


@pytest.mark.slow
def test_the_pipeline_goes_through_its_steps_in_order_and_tells_what_it_made(tmp_path, monkeypatch):
    project, _ = app.make_project(tmp_path / "shop", "orders")
    told = {"model": "m-1", "passed": True, "promoted": True}
    asked = {}

    def trained(self, request, progress):
        asked.update(msgspec.structs.asdict(request))
        progress.step("learning")
        return SimpleNamespace(brief=lambda: told)

    monkeypatch.setattr(app.Project, "run", trained)
    kind, run = kind_named("orders-pipeline"), JobRun(0)
    params = kind.read({"batches": 11, "size": 60, "promote": True})
    for _ in range(2):  # and again, over what is there
        result = kind.load()(project, params, run)
    folder = tmp_path / "shop" / "out" / "orders"
    assert (
        result["features"]
        == result["generated"]["orders"]
        == pq.read_metadata(folder / "tables" / "features.parquet").num_rows
    )
    assert pq.read_metadata(folder / "training-set" / "rows.parquet").num_rows == result["training_rows"]
    assert (asked["promote"], asked["labels"]) == (True, folder / "labels" / "labels.parquet")
    assert len(json.loads((folder / "tables" / "partitions.json").read_bytes())) == 11
    first = [line.partition(",")[0] for line in run.seen()[3][: len(run.seen()[3]) // 2]]
    assert list(dict.fromkeys(first)) == [
        *("generate", "partition", "features", "partition by key", "training set", "learning", "gates and publishing"),
        "m-1: passed its gates",
    ]


def test_the_pipeline_says_what_a_project_lacks(tmp_path):
    project, _ = app.make_project(tmp_path / "shop", "blank")
    kind = kind_named("orders-pipeline")
    with pytest.raises(UsageError, match="init shop --template orders"):
        kind.load()(project, kind.read({}), JobRun(0))
