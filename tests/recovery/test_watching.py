"""SIGKILL while a folder is watched: no line left out, none twice, one model for each file, and each promoted once."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.models.evaluation import estimates
from shroff.models.registry import Registry
from shroff.services import adapter_factory
from shroff.services import project as app
from shroff.services.models.promotion import Promotions
from shroff.services.sources import pulled as sync_sources
from shroff.services.sources.file_sync import FileTaking
from shroff.services.sources.pulled_files import DONE, Progress
from shroff.services.training import trainings
from shroff.services.training.retraining import Options
from shroff.streams.pull import PullPlace
from shroff.worker import ingest
from tests.services import test_amplitude
from tests.support.effort import long_after, long_but
from tests.support.kill import KillSwitch
from tests.support.learnable import FILES, make_project, write_days
from tools.amplitude import API_KEY, SECRET_KEY, amplitude

from .harness import TRIED_STEPS, Contents, contents, in_a_process

smoke = (
    "test_kills_at_a_step_of_a_commit_change_nothing",
    "test_kills_between_commits_change_nothing",
    "test_a_sync_that_is_killed_at_a_step_of_a_commit_ends_like_one_that_is_not",
)

BATCH_SIZE = 64
DRAWINGS = 2
SMALL = FILES["model.yaml"].replace("train: 8d", "train: 3d").replace("test: 2d, folds: 2", "test: 1d, folds: 1")
NAMES = ("0.jsonl", "1.jsonl", "2.jsonl")
WORK = {  # what a process does between two commits of the log: the call at whose end it is killed
    "looked": (FileTaking, "_look_into"),
    "appended": (FileTaking, "_append"),
    "trained": (trainings.Training, "train"),
    "registered": (Registry, "write"),
    "promoted": (Promotions, "promote"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of days, with lines among them that are refused."""
    found = tmp_path_factory.mktemp("watched") / "in"
    for name, days in zip(NAMES, (range(7), [7], [8]), strict=True):
        path = write_days(found / name, days)
        with path.open("a", encoding="utf-8") as file:
            file.write('{"payment": {"id": "broken", "amount": "1.005"}}\n')
    return found


def watch(project: Path, folder: Path, *, promote: bool = False, on_step: Callable[[str], None] | None = None) -> int:
    """Take what is there in a forked process; gives the signal that ended it, 0 where it ran to its end."""

    def take_all() -> None:
        options = {} if on_step is None else {"on_step": on_step}
        real = adapter_factory.load_entry
        adapter_factory.load_entry = lambda name: partial(SqliteLog, **options) if name == "log.sqlite" else real(name)
        ingest.ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
        take(project, folder, promote=promote)

    return in_a_process(take_all)


def take(project: Path, folder: Path, *, promote: bool) -> None:
    """Take what is there; for a forked process. Models are judged by few drawings, which no test here reads."""
    estimates.times_for = lambda _rows: DRAWINGS
    list(app.open(project).training.watch(folder, Options(once=True, promote=promote, settled_ms=0)))


def killed_after(of: type, name: str, count: int) -> Callable[[], None]:
    """Have this process killed at the end of the `count`-th call of a method; for a forked one."""
    switch, real = KillSwitch(name, count), getattr(of, name)

    def counted(*given: object, **named: object) -> object:
        result = real(*given, **named)
        switch(name)
        return result

    return lambda: setattr(of, name, counted)


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "bank", model=SMALL)
    assert watch(project, folder) == 0
    assert trained_for(project) == dict.fromkeys(NAMES, 1)
    return contents(project)


def trained_for(project: Path) -> Counter[str]:
    """How many models there are for each file."""
    registry = app.open(project).context.registry
    return Counter(registry.read(id_).manifest["brought_by"]["file"] for id_ in registry.ids())


def progress_of(project: Path, folder: Path) -> list[Progress]:
    with app.open(project).log.reading() as log:
        texts = [log.offsets.get(f"watched {folder.resolve()}", name) for name in NAMES]
    return [msgspec.json.decode(text, type=Progress) for text in texts if text is not None]


@pytest.mark.slow
# Commits that are killed at every step: test_kill.
@pytest.mark.parametrize("step", long_after(1, TRIED_STEPS))
def test_kills_at_a_step_of_a_commit_change_nothing(
    folder: Path, undisturbed: Contents, tmp_path: Path, step: str
) -> None:
    project = make_project(tmp_path / "bank", model=SMALL)
    kills = [
        watch(project, folder, on_step=KillSwitch(step, count)) for count in (3, 40, 1)
    ]  # of the first file, of a later one, at once
    assert watch(project, folder) == 0

    assert signal.SIGKILL in kills
    assert contents(project) == undisturbed
    assert trained_for(project) == dict.fromkeys(NAMES, 1)
    assert [item.state for item in progress_of(project, folder)] == [DONE] * 3


@pytest.mark.slow
# Each is a kill between the same commits.
@pytest.mark.parametrize("moment", long_after(2, WORK))
def test_kills_between_commits_change_nothing(folder: Path, tmp_path: Path, moment: str) -> None:
    project = make_project(tmp_path / "bank", model=SMALL)
    of, name = WORK[moment]

    def killed(count: int) -> None:
        killed_after(of, name, count)()
        take(project, folder, promote=True)

    kills = [in_a_process(partial(killed, count)) for count in (1, 1, 2)]
    assert watch(project, folder, promote=True) == 0

    assert signal.SIGKILL in kills
    assert trained_for(project) == dict.fromkeys(NAMES, 1)
    found = app.open(project)
    models = {model.id: model.role for model in found.models.all()}
    assert sorted(models.values()) == ["before", "before", "champion"], "each was promoted once"
    [champion] = [id_ for id_, role in models.items() if role == "champion"]
    assert found.context.registry.read(champion).manifest["brought_by"]["file"] == NAMES[-1]
    assert len(found.models.one(champion).promotions) == 1
    events = Counter(found.events("payment")["id"].to_pylist())
    assert len(events) == 9 * 150
    assert set(events.values()) == {1}


@pytest.mark.slow
def test_the_comparison_sees_a_line_that_is_left_out(folder: Path, undisturbed: Contents, tmp_path: Path) -> None:
    other = tmp_path / "in"
    other.mkdir()
    for name in NAMES:
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (other / name).write_bytes(b"".join(lines[:100] + lines[101:]))
    project = make_project(tmp_path / "bank", model=SMALL)
    assert watch(project, other) == 0

    assert contents(project) != undisturbed


SYNCED = FILES["shroff.yaml"] + "sources: {{ nightly: {{ files: {{ from: {folder}, settled: 0s }} }} }}\n"


def sync(project: Path, source: str, on_step: Callable[[str], None] | None = None, **how: Any) -> int:
    """Sync a source in a forked process; gives the signal that ended it, 0 where it ran to its end."""

    def take_all() -> None:
        options = {} if on_step is None else {"on_step": on_step}
        real = adapter_factory.load_entry
        adapter_factory.load_entry = lambda name: partial(SqliteLog, **options) if name == "log.sqlite" else real(name)
        ingest.ingest.__kwdefaults__["batch_size"] = BATCH_SIZE
        list(app.open(project).pulled.sync(source, decide=False, **how))

    return in_a_process(take_all)


@pytest.mark.slow
@pytest.mark.parametrize("step", long_but(TRIED_STEPS, "before commit"))
def test_a_sync_that_is_killed_at_a_step_of_a_commit_ends_like_one_that_is_not(
    folder: Path, tmp_path: Path, step: str
) -> None:
    banks = [make_project(tmp_path / name, shroff=SYNCED.format(folder=folder)) for name in ("whole", "killed")]
    assert sync(banks[0], "nightly") == 0

    kills = [sync(banks[1], "nightly", KillSwitch(step, count)) for count in (3, 40, 1)]
    assert sync(banks[1], "nightly") == 0
    assert signal.SIGKILL in kills
    assert contents(banks[1]) == contents(banks[0])


@pytest.mark.slow
def test_a_day_of_amplitude_synced_five_times_or_killed_at_every_step_is_the_day_synced_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sync_sources,
        "PullPlace",
        lambda name, folder, _, *rest: PullPlace(name, folder, lambda: test_amplitude.NOW_MS, *rest),
    )
    for name, key in (("API", API_KEY), ("SECRET", SECRET_KEY)):
        monkeypatch.setenv(f"AMPLITUDE_{name}_KEY", key)
    events = [test_amplitude.event(number) for number in range(1_200)]
    with amplitude() as server:
        server.events |= {
            "20260301T07": [*events[:800], test_amplitude.event(999, event_time="?")],
            "20260301T23": events[700:],
            "20260302T00": events,
        }
        banks = [tmp_path / name for name in ("once", "killed")]
        for bank in banks:
            bank.mkdir()
            (bank / "shroff.yaml").write_text(test_amplitude.SHROFF.format(url=server.url))
            (bank / "events.yaml").write_text(test_amplitude.EVENTS)
        assert sync(banks[0], "app") == 0
        once = contents(banks[0])

        kills = [sync(banks[1], "app", KillSwitch(step, 4)) for step in TRIED_STEPS]
        assert sync(banks[1], "app") == 0
        assert set(kills) == {signal.SIGKILL}
        assert contents(banks[1]) == once
        for _ in range(4):
            assert sync(banks[0], "app", first="2026-03-01", last="2026-03-02") == 0
        assert contents(banks[0]) == once
    assert sum(record[1] == "event" for record in once["records"]) == 1_200
