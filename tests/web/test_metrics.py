"""Metrics of a worker: a port for Prometheus and for probes, what the store says, and limits of a page."""

from __future__ import annotations

import math
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Exemplar

from docs.made_metrics import collectors_of_page, shown_name
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import StorageError, UsageError
from shroff.services import project as app
from shroff.services.backups.creation import BackupNote, write_note
from shroff.services.drift.records import DriftRecords
from shroff.web import metrics_store
from shroff.web.metric_families import SERIES_MAX, Family, counters, gauge, gauges
from shroff.web.metrics import EarlierMetrics, Requests, WorkMetrics, page, text
from shroff.web.metrics_port import worker_port
from shroff.web.metrics_store import StoreLook, StoreMetrics, look_at_store
from shroff.worker.serving.counts import AMOUNTS, LEADING, SCORES, BatchTally, Buckets, EarlierAmounts, WorkerCounts
from tests.deploy.watchers import everything
from tools.servers.ports import Port

OPEN_METRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    return tmp_path / "bank"


def asked(address: str, path: str = "/metrics") -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def names_of_page(*groups: int) -> set[str]:
    return {shown_name(item) for at in groups for collector in collectors_of_page()[at] for item in collector.collect()}


def test_a_worker_has_metrics_and_says_whether_it_lives_and_is_ready(bank):
    work, project = WorkerCounts(), app.open_exactly(bank)
    with worker_port(project, work, 0) as address:
        assert asked(address, "/health/live") == (200, '{"live": true}')
        assert asked(address, "/health/ready") == (503, '{"ready": false}')
        work.state = LEADING
        assert asked(address, "/health/ready?at=1") == (200, '{"ready": true}')
        work.waits_for = "the log is away"
        assert asked(address, "/health/ready")[0] == 503
        assert asked(address, "/health")[0] == 404
        status, page = asked(address)

    assert status == 200
    assert set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)) == names_of_page(1, 2, 3)
    assert 'shroff_state{state="leading"} 1.0' in page
    assert 'shroff_decisions_total{outcome="decline"} 0.0' in page
    with pytest.raises(ConnectionRefusedError):
        asked(address)


def test_without_a_port_nobody_listens_and_nothing_is_counted(bank):
    work = WorkerCounts()
    with worker_port(app.open_exactly(bank), work) as address:
        assert (address, work.counts.tally) == ("", None)


@pytest.mark.slow
def test_the_port_of_the_settings_is_used(bank):
    with closing(Port()) as held:  # which no other process of this run takes in between
        port = held.number
        earlier = f"metrics: {{ port: {port}, earlier_names: {{ transaction_type: channel, country: country }} }}\n"
        with (bank / "shroff.yaml").open("a") as file:
            file.write(earlier)
        with socket.create_server(("127.0.0.1", port)):
            project = app.open_exactly(bank)
            with pytest.raises(UsageError, match=f"port {port} for metrics on 127.0.0.1 is not available"):
                worker_port(project, WorkerCounts()).__enter__()
        with worker_port(project, WorkerCounts()) as address:
            assert address == f"http://127.0.0.1:{port}/metrics"
            assert set(re.findall(r"^# TYPE (\S+) ", asked(address)[1], re.MULTILINE)) == names_of_page(1, 2, 3, 4)


# ---- the store


def test_what_cannot_be_read_is_missing_and_named(bank, monkeypatch):
    project = app.open_exactly(bank)
    before = look_at_store(project)
    (bank / "payments.jsonl").write_text(
        '{"payment_id": "p-1", "paid_at": "2026-01-05T08:00:00Z", "card": "c-1", "merchant": "m-1", "terminal": "t-1", '
        '"amount": "24.90", "country": "DE", "channel": "pos"}\n'
    )
    project.ingest(bank / "payments.jsonl")
    never = look_at_store(project, is_quick=True)
    write_note(bank / ".shroff", BackupNote("b", at_ms=project.context.now_ms() - 60_000))
    monkeypatch.setattr(DriftRecords, "read", _away)
    found = look_at_store(project)

    assert before.failed == dict.fromkeys(("host", "backup", "models", "drift"), False)
    parts = (*before.failed, "store", "deliveries", "files", "cases")
    assert never.failed == dict.fromkeys(parts, False)
    assert found.failed == {name: name == "drift" for name in (*parts, "summaries")}
    assert 0 <= (never.values["shroff_backup_missing_seconds"] or -1) < 60
    assert "shroff_backup_missing_seconds" not in {**before.values, **found.values}
    assert "shroff_backup_age_seconds" not in never.values
    assert found.values["shroff_quarantine_entries"] == 0
    assert found.values["shroff_cases_open"] == 0
    assert (found.values["shroff_log_size_bytes"] or 0) > 1_000
    assert 60 <= (found.values["shroff_backup_age_seconds"] or 0) < 3_600
    assert found.values["shroff_snapshot_age_seconds"] is None
    shown = text(StoreMetrics(lambda: found)).decode()
    assert 'shroff_store_read_failed{part="drift"} 1.0\n' in shown


def _away(*_: object) -> object:
    raise StorageError("the document record of kind drift cannot be read")


def test_a_slow_store_delays_no_scrape_but_the_first(monkeypatch):
    monkeypatch.setattr(metrics_store, "FRESH_S", 0.0)
    slow, goes_on, looks = Event(), Event(), list[StoreLook]()

    def look() -> StoreLook:
        if looks:
            slow.set()
            assert goes_on.wait(120)
        looks.append(StoreLook({"shroff_cases_open": float(len(looks))}))
        return looks[-1]

    store = StoreMetrics(look)
    pages = [text(store).decode() for _ in range(3)]
    assert slow.wait(120)
    goes_on.set()
    reading = store._reading
    assert reading is not None
    reading.join(120)

    assert all("shroff_cases_open 0.0\n" in page for page in pages)
    assert len(looks) == 2
    assert "shroff_cases_open 1.0\n" in text(store).decode()


# ---- a page at its limits


def crowded() -> Sequence[Any]:
    """Collectors with more series than a family may have."""
    tally = BatchTally()
    for number in range(2 * SERIES_MAX):
        tally.hits[f"rule_{number:04d}", False] = number
        tally.earlier[f"type {number:04d}", "DE"] = EarlierAmounts(AMOUNTS)
    for number in range(20):
        tally.scores[f"event_{number}"] = Buckets(SCORES)
    work, requests = WorkerCounts(), Requests()
    work.counts.tally = tally
    for number in range(200):
        requests.add("GET", f"/api/v1/route/{number}", 200, 0.01)
    work.latencies.add(0.004, 7)
    work.latencies.exemplify(0.004, "ab" * 16)
    return requests, WorkMetrics(lambda: work, lambda: True), EarlierMetrics(lambda: work)


def test_a_page_has_at_most_2_mb_however_many_names_there_are():
    shown = text(*crowded())

    assert shown.count(b"\nshroff_rule_hits_total{") == SERIES_MAX
    assert 500_000 < len(shown) < 2_000_000


def theirs(family: Family) -> Metric:
    """The same family of prometheus-client, with an object for each sample."""
    kind = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}[family.type]
    found = kind(family.name, family.documentation, labels=family.labels)
    for values, sample in sorted(family.samples.items(), key=lambda item: item[0])[:SERIES_MAX]:
        if family.type == "histogram":
            shown = [
                (bound, count, Exemplar({"trace_id": family.exemplars[bound][0]}, *family.exemplars[bound][1:]))
                if bound in family.exemplars
                else (bound, count)
                for bound, count in sample.shown()
            ]
            found.add_metric(values, shown, sample.sum)
        else:
            found.add_metric(values, sample)
    return found


class Odd:
    """Values and labels that are written in a way of their own."""

    def collect(self) -> Iterator[Family]:
        numbers = [0, -1.5, 1e-9, 999_999, 1_000_000, 12_345_678.9, 1e21, math.inf, -math.inf, math.nan, True]
        yield gauges("odd", 'One "quoted",\na line \\ more.', ("of", "le_of"), {(str(n), ""): n for n in numbers})
        yield counters("odd_total", "Odd.", ("name",), {('a "b"\n\\c',): 1, ("Zürich",): 2})
        yield gauge("unknown", "Nothing.", None)


@pytest.mark.parametrize("accept", ["", OPEN_METRICS], ids=["text", "openmetrics"])
def test_a_page_is_what_prometheus_client_writes(accept):
    collectors = [*crowded(), *everything()[0], Odd()]
    same: Any = SimpleNamespace(collect=lambda: [theirs(item) for of in collectors for item in of.collect()])
    write, media_type = choose_encoder(accept)
    expected = write(same).removesuffix(b"# EOF\n").splitlines()
    found = page(collectors, accept)
    lines = found[0].splitlines()[: len(expected)]

    assert found[1] == media_type
    assert (b"# {trace_id=" in found[0], found[0].endswith(b"# EOF\n")) == (bool(accept),) * 2
    moving = re.compile(rb"shroff_(clock|store_read_age)_seconds \d")
    assert [a for a in zip(lines, expected, strict=True) if a[0] != a[1] and not moving.match(a[0])] == []


def test_each_metric_has_a_name_of_its_own_with_a_unit_of_prometheus():
    families = [item for group in collectors_of_page() for collector in group for item in collector.collect()]
    names = [family.name for family in families]

    assert len(set(names)) == len(names)
    for family in families:
        assert re.fullmatch(r"(shroff|process|python)_[a-z0-9_]+|(fraudulent_)?transactions?(_amount)?", family.name)
        assert not re.search(r"_(ms|minutes|hours|days|kb|mb|percent)$", family.name)
        assert family.documentation
