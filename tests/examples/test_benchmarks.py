"""Every benchmark runs at its smallest size, and writes its table."""

from __future__ import annotations

import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bench.machine
from tests.support import forks
from tests.support.effort import long_but

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"machine", "make_set", "streams_setup", "training_backends"}  # what benchmarks are made of
# What each takes at least. Those of `LONG` start clusters or services, or take seconds: `make test-long` runs them.
SMALLEST = {
    "amplitude": "--events 500",
    "backfill": "--events 500 --rounds 1",
    "backtest": "--events 500 --runs 1",
    "counts": "--events 500 --runs 1",
    "disk": "--events 500",
    "features": "--events 500 --rounds 1 --large 0",
    "few": "--rounds 1 --seconds 0.001",
    "funnels": "--events 500 --runs 1",
    "growth": "--events 500 --times 2 --rounds 1",
    "ingest": "--events 500 --runs 1",
    "keys": "--keys 500 --rounds 1",
    "marts": "--rows 500",
    "online": "--events 500 --peer-events 200 --rounds 1",
    "online_features": "--events 500 --runs 1",
    "reads": "--events 500 --rounds 2",
    "restart": "--events 500 --runs 1",
    "restore": "--events 500 --tails 2 --tail-events 50",
    "scoring": "--rounds 1",
    "scale": "--events 500 --last 50 --sample 5",
    "summaries": "--events 500 --runs 1",
}
# Sizes that no option makes smaller, by where they stand.
SMALLER: dict[str, dict[str, object]] = {
    "links": {"bench.links.WARM_S": 0.1},
    "few": {"bench.few.SIZES": (1, 8), "bench.few.WARM": 8},
    "funnels": {"bench.funnels.alone": lambda way, folder: import_module("bench.funnels").timed(way, folder)},
    "restart": {
        "shroff.log.state.snapshots.EVERY": 100,
        "bench.restart.start": lambda folder: import_module("bench.restart").seconds_to_start(folder),
    },
    "scoring": {"bench.scoring.TREES": (3,), "bench.scoring.LEARNED": 500, "bench.scoring.BATCHES": (1, 256)},
    "service": {"bench.service.WARM_S": 0.1},
    "sns": {"bench.sns.WARM_S": 0.1, "bench.sns.LOOPED": 10},
}
LONG = {
    "attack": "--events 2000",
    "backends": "--events 500 --rounds 1 --large 0 --train 0",
    "deliveries": "--events 20",
    "first_minute": "--runs 1",
    "insight": "--events 2000 --loads 1 --seeds 1",
    "interactive": "--events 2000 --loads 1 --runs 1",
    "large_files": "--most 0.001",
    "lake_decide": "--few 100 --events 200 --rounds 1",
    "limits": "--seconds 0.05 --rounds 1",
    "links": "--events 500 --rate 20 --seconds 1 --rounds 1 --no-model",
    "messy": "--events 500 --runs 1",
    "many_rules": "--rules 5 --entries 10 --events 10",
    "predict": "--turns 1 --rates 20 --seconds 1",
    "one_event": "--calls --turns 1 --events 5 --warm 5",
    "pages": "--decisions 500 --loads 2",
    "service": "--rates 20 --seconds 2",
    "since_flag": "--events 500 --runs 1",
    "sns": "--rates 20 --seconds 1",
    "soak": "--rate 50 --minutes 0.1",
    "streams": "--events 500 --runs 1 --peer-events 100",
    "streams_latency": "--rate 50 --seconds 1",
    "tables": "--events 500 --rows 2000 --looks 2000 --rounds 1",
    "training_set": "--events 500 --rounds 1 --large 0",
}
# Three measure the real data, and other tests try what they do on excerpts; the first mounts a file system.
ELSEWHERE = {"organizations", "handbook", "small_files", "suggest"}


@pytest.fixture(name="quick", scope="module")
def _quick(tmp_path_factory) -> Path:
    """A `python` whose `-m shroff` comes from the process that has it loaded, and a `shroff` beside it."""
    folder = tmp_path_factory.mktemp("bin")
    quick = f'exec {forks.SHROFF} "$@"\n'
    texts = {"shroff": quick, "python": f'[ "$1 $2" = "-m shroff" ] && shift 2 && {quick}exec {sys.executable} "$@"\n'}
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return folder / "python"


def untrained(folder: Path) -> Path:
    """In place of the project with a model: to train one takes longer than all that is measured."""
    return shutil.copytree(ROOT / "bench" / "projects" / "forty_features", folder)


@pytest.fixture(autouse=True)
def _at_hand(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(sys, "executable", str(quick))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # `bench.machine.keep_memory` starts a program anew where this is not so.
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000")
    monkeypatch.setattr(bench.machine, "RESULTS", tmp_path)


def test_every_benchmark_is_run_somewhere():
    there = {path.stem for path in (ROOT / "bench").glob("*.py")}

    assert there == SMALLEST.keys() | LONG.keys() | ELSEWHERE | PARTS


@pytest.mark.slow
@pytest.mark.parametrize("name", long_but([*SMALLEST, *LONG], "ingest"))
def test_a_benchmark_runs_at_its_smallest_size(name, monkeypatch, capsys):
    measured = import_module(f"bench.{name}")
    if hasattr(measured, "scored_project"):
        monkeypatch.setattr(measured, "scored_project", untrained)
    for place, value in SMALLER.get(name, {}).items():
        monkeypatch.setattr(place, value)
    monkeypatch.setattr(sys, "argv", [name, *(SMALLEST | LONG)[name].split()])

    before = constants()

    assert not measured.main()
    assert "|" in capsys.readouterr().out
    assert {name: value for name, value in constants().items() if value != before.get(name, value)} == {}


def constants() -> dict[str, object]:
    """Of all modules that are loaded: a benchmark that leaves one changed would change the tests behind it."""
    return {
        f"{module.__name__}.{name}": value
        for module in list(sys.modules.values())
        if module is not None and module.__name__.startswith("shroff.")
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int | float | str | bytes | tuple)
    }
