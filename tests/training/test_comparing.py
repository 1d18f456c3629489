"""Two models on the same events: what both scored and is known, by how much one is better, what would show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shroff.arrays import Floats
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.models.evaluation.metrics import RowsOfFold, Terms
from shroff.services import project as app
from shroff.training.comparison import COMPARED, TESTED_ON, TRIED, _paired
from shroff.training.train import plain_settings
from tests.support.learnable import A_DAY, FILES, make_project, write_days
from tests.support.projects import definitions
from tests.support.trained import train

pytestmark = pytest.mark.slow  # its tests share trained models

INPUTS = "[payment.amount, payment.channel, card.payments_1d]"
LEARNT = 16  # days
MORE = 8


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A project with a champion that reads amounts and a model that does not; neither is in force yet."""
    folder = make_project(tmp_path_factory.mktemp("compare") / "bank")
    project = app.open(folder)
    project.ingest(write_days(folder.parent / "learnt.jsonl", range(LEARNT)))
    good = project.train().stored.id
    (folder / "model.yaml").write_text(FILES["model.yaml"].replace(INPUTS, "[payment.channel]"), encoding="utf-8")
    bad = app.open(folder).train().stored.id
    (folder / "model.yaml").write_text(FILES["model.yaml"], encoding="utf-8")
    return folder, good, bad


@pytest.fixture(name="bank")
def _bank(two: tuple[Path, str, str], tmp_path: Path) -> Path:
    return shutil.copytree(two[0], tmp_path / "bank")


@pytest.fixture(name="good")
def _good(two: tuple[Path, str, str]) -> str:
    return two[1]


@pytest.fixture(name="bad")
def _bad(two: tuple[Path, str, str]) -> str:
    return two[2]


def tried(bank: Path, good: str, bad: str, days: int = MORE) -> app.Project:
    """The project with the good model in force and the other one in shadow, and so many days after that."""
    app.open(bank).models.promote(good)
    app.open(bank).models.shadow(bad)
    project = app.open(bank)
    if days:
        project.ingest(write_days(bank.parent / "more.jsonl", range(LEARNT, LEARNT + days)))
    return project


def test_models_that_are_tried_are_compared_on_what_both_scored_and_is_old_enough(bank: Path, good: str, bad: str):
    found = tried(bank, good, bad).models.compare()

    assert (found.champion, found.challenger, found.on) == (good, bad, TRIED)
    assert found.events == MORE * A_DAY, "those behind the place from which both scored"
    assert found.immature == A_DAY, "younger than the label delay of a day, though they have labels"
    assert found.rows == found.events - found.immature
    assert {item.name for item in found.found} == set(COMPARED)
    assert {item.verdict for item in found.found} == {"worse"}


def test_the_other_way_round_the_difference_turns_its_sign(bank: Path, good: str, bad: str):
    project = tried(bank, good, bad)
    there, back = project.models.compare(good, bad), project.models.compare(bad, good)

    for difference, other in zip(there.found, back.found, strict=True):
        assert difference.mean == pytest.approx(-other.mean if other.mean is not None else None)
        assert difference.seen_from == pytest.approx(other.seen_from)
        assert (difference.champion, difference.challenger) == (other.challenger, other.champion)
    assert {item.verdict for item in back.found} == {"better"}


def test_what_is_compared_are_the_scores_that_decisions_show(bank: Path, good: str, bad: str):
    project = tried(bank, good, bad)
    table = project.decisions()
    shown = dict(zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True))
    frauds = {row["id"]: row["verdict"] == "fraud" for row in project.labels().to_pylist() if row["id"] in shown}
    mature = [f"p{day}-{place}" for day in range(LEARNT, LEARNT + MORE - 1) for place in range(A_DAY)]
    scores = np.array([float(shown[id_]) for id_ in mature])
    is_fraud = np.array([frauds[id_] for id_ in mature])
    pairs = scores[is_fraud][:, None] - scores[~is_fraud][None, :]
    by_name = {item.name: item for item in project.models.compare().found}

    assert by_name["auc_roc"].champion == pytest.approx(float((pairs > 0).mean() + (pairs == 0).mean() / 2))


def test_before_there_are_labels_it_says_what_is_missing(bank: Path, good: str, bad: str):
    project = tried(bank, good, bad, days=0)
    assert "of 0 events that both scored" in project.models.compare().needs

    project.ingest(write_days(bank.parent / "one.jsonl", [LEARNT]))
    found = project.models.compare()

    assert found.rows == 0
    assert "150 are younger than the label delay of 1d" in found.needs


def test_models_that_are_not_tried_are_compared_on_common_test_rows(bank: Path, good: str, bad: str):
    found = app.open(bank).models.compare(good, bad)

    assert found.on == TESTED_ON
    assert found.rows == 2 * 2 * A_DAY, "two folds of two days"
    assert {item.verdict for item in found.found} == {"worse"}


def test_models_of_other_files_have_no_event_in_common(bank: Path, good: str, tmp_path: Path):
    """Their places are those of a log that is gone, and say nothing."""
    lines = [
        json.loads(line) for line in write_days(tmp_path / "b.jsonl", range(40, 40 + LEARNT)).read_text().splitlines()
    ]
    for kind in ("payment", "label"):
        told = [json.dumps(line[kind]) for line in lines if kind in line]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(told), encoding="utf-8")
    other = app.open(bank).train(files=tmp_path / "payment.jsonl", labels=tmp_path / "label.jsonl").stored.id

    with pytest.raises(UsageError, match="were tested on no common event"):
        app.open(bank).models.compare(good, other)


def test_tested_rows_are_drawn_by_their_keys(tmp_path: Path):
    capacity = FILES["model.yaml"] + "  capacity: { by: card, k: 3 }\n"
    folder = make_project(tmp_path / "bank", model=capacity)
    app.open(folder).ingest(write_days(tmp_path / "learnt.jsonl", range(LEARNT)))
    first = app.open(folder).train().stored.id
    (folder / "model.yaml").write_text(capacity.replace(INPUTS, "[payment.channel]"), encoding="utf-8")
    found = app.open(folder).models.compare(first, app.open(folder).train().stored.id)

    assert found.drawn.endswith(" keys: rows of one card depend on each other, so whole keys are resampled")
    assert found.found[0].low is not None


def test_without_a_champion_it_asks_for_two(bank: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UsageError, match="no model is active, so name two: shroff models compare ONE OTHER"):
        app.open(bank).models.compare()


def test_a_model_is_no_better_than_itself_under_another_name(two: tuple[Path, str, str], bank: Path, good: str):
    project = app.open(bank)
    twin = project.training.train(brought_by={"file": "again"}).stored.id  # what else is the same gets the same id
    found = project.models.compare(good, twin)

    assert {item.mean for item in found.found} == {0.0}
    assert {item.verdict for item in found.found} == {"open"}


@pytest.mark.parametrize("ids", [("m-none",), ("m-none", "m-other")])
def test_models_that_are_not_there_are_named(bank: Path, ids: tuple[str, ...]):
    with pytest.raises(UsageError, match=f"there is no model '{ids[-1]}'"):
        app.open(bank).models.compare(*ids)


def test_what_cannot_be_compared_is_said(bank: Path, good: str, bad: str):
    train(app.open(bank).context.registry, "m-foreign", inputs=("payment.amount",))
    project = app.open(bank)
    with pytest.raises(UsageError, match="two different models"):
        project.models.compare(good, good)
    with pytest.raises(UsageError, match="m-foreign was not trained here"):
        project.models.compare(good, "m-foreign")
    project.models.promote(good)
    with pytest.raises(UsageError, match=f"no model is tried beside {good}"):
        app.open(bank).models.compare()
    app.open(bank).models.shadow(bad)
    app.open(bank).models.shadow("m-foreign")
    with pytest.raises(UsageError, match="several are tried"):
        app.open(bank).models.compare()


def seen_from(rows: int, seed: int) -> float:
    """What could be seen of two noisy judges on so many rows."""
    chance = np.random.default_rng(seed)
    frauds = chance.random(rows) < 0.2

    def scores() -> Floats:
        return 1 / (1 + np.exp(-(frauds * 1.0 + chance.normal(0, 1, rows))))

    read = RowsOfFold(frauds, np.ones(rows), np.zeros(rows, np.int64), np.full(rows, -1))
    settings = plain_settings(definitions(), "payment", ())
    found, _ = _paired(read, (scores(), scores()), Terms(review_at=0.5), settings)
    value = next(item for item in found if item.name == "auc_roc").seen_from
    assert value is not None
    return value


def test_four_times_the_rows_show_differences_half_as_large():
    few, many = (np.mean([seen_from(rows, seed) for seed in range(8)]) for rows in (300, 1_200))

    assert few / many == pytest.approx(2, rel=0.15)


def test_what_is_seen_from_is_seen_four_times_in_five():
    """Judges whose true difference is what could be seen: the interval leaves zero out about as often as said."""
    rows, times = 400, 60
    chance = np.random.default_rng(5)

    def look(shift: float) -> tuple[float, float, bool]:
        frauds = chance.random(rows) < 0.2
        margins, other = (frauds * strength + chance.normal(0, 1, rows) for strength in (1.0, 1.0 + shift))
        squeezed = tuple(1 / (1 + np.exp(-scores)) for scores in (margins, other))
        read = RowsOfFold(frauds, np.ones(rows), np.zeros(rows, np.int64), np.full(rows, -1))
        found, _ = _paired(read, squeezed, Terms(), plain_settings(definitions(), "payment", ()))
        auc = next(item for item in found if item.name == "auc_roc")
        assert auc.mean is not None
        assert auc.seen_from is not None
        return auc.mean, auc.seen_from, auc.verdict != "open"

    shift = 0.47
    looks = [look(shift) for _ in range(times)]
    true = float(np.mean([mean for mean, _, _ in looks]))
    wanted = float(np.mean([seen for _, seen, _ in looks]))

    assert true == pytest.approx(wanted, rel=0.15), "the shift was chosen so"
    assert 0.66 <= np.mean([is_seen for _, _, is_seen in looks]) <= 0.94


def test_the_command_answers_with_a_table_and_json(bank: Path, good: str, bad: str, capsys: pytest.CaptureFixture[str]):
    tried(bank, good, bad)

    assert run(["-C", str(bank), "models", "compare"]) == 0
    shown = capsys.readouterr().out
    assert "average precision" in shown
    assert "seen from" in shown
    assert run(["-C", str(bank), "models", "compare", good, bad, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [metric["name"] for metric in found["metrics"]] == list(COMPARED)
    assert found["metrics"][0]["verdict"] == "worse"
    assert run(["-C", str(bank), "models", "compare", good, bad, "--as-of", "2026-03-17T12:00:00Z"]) == 0
    assert "nothing to compare yet" in capsys.readouterr().out
