"""What a model reads, declared anew under it: noticed and told, and a gate when it is promoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.models.registry import Registry
from shroff.project.dependency_hash import MEANINGS
from shroff.services import project as app
from shroff.services.models import deployment
from tests.support.learnable import make_project, write_days
from tests.support.trained import train

FILES = {
    "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields:
    { id: text, at: time, card: text, shop: text, amount: money, fee: money?,
      country: text, channel: "choice(web, post)" }
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text }
entities:
  card: { payment: card, login: card }
  shop: { payment: shop }
tables:
  risks: { country: text, risk: number(2) }
""",
    "features.yaml": """
card:
  spent_1d: sum(payment.amount) over 1d
  usual: mean(payment.amount where payment.country in lists.risky) over 7d
  above: payment.amount / card.usual
  risk: tables.risks[payment.country].risk
  before: last(card.above of payment) over 30d
shop: { payments_1d: count(payment) over 1d }
""",
    "model.yaml": """
payment: { inputs: [payment.amount, payment.channel, card.spent_1d, card.above, card.risk, card.before] }
""",
    "policy.yaml": "payment:\n  score: { review_at: 0.5 }\n  without_model: review\n",
    "lists/risky.csv": "value,expires_at,note\nXX,,\n",
    "tables/risks.csv": "country,risk\nDE,0.10\n",
}


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    """A project with two models, of which the first is in force, whose manifests say what their inputs meant."""
    folder = tmp_path / "small"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    definitions = app.open(folder).definitions
    inputs = definitions.models["payment"].inputs
    meant = definitions.meanings("payment", inputs)
    for number in (1, 2):
        train(
            Registry(folder / "models"),
            f"m-{number}",
            [path.name for path in inputs],
            categories={"payment.channel": ("post", "web")},
            seed=number,
            meanings=meant,
            compared_with=None,
        )
    (folder / "model.yaml").unlink()  # its gates would be asked
    assert app.open(folder).models.promote("m-1").champion == "m-1"
    return folder


def change(bank: Path, name: str, old: str, new: str) -> None:
    text = (bank / name).read_text(encoding="utf-8")
    assert old in text
    (bank / name).write_text(text.replace(old, new), encoding="utf-8")


def redefined(bank: Path) -> tuple[str, ...]:
    return app.open(bank).models.one("m-2").redefined


def asked(capsys: pytest.CaptureFixture[str], bank: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    code = run(["-C", str(bank), *words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


@pytest.mark.parametrize(
    "name, old, new, changed",
    [
        ("features.yaml", "sum(payment.amount) over 1d", "sum(payment.amount) over 2d", ["card.spent_1d"]),
        ("features.yaml", "mean(", "max(", ["card.above", "card.before"]),
        ("features.yaml", " over 30d", " over last 3", ["card.before"]),
        ("features.yaml", "in lists.risky", "== 'XX'", ["card.above", "card.before"]),
        (
            "events.yaml",
            "card: { payment: card,",
            "card: { payment: shop,",
            [f"card.{name}" for name in ("spent_1d", "above", "risk", "before")],
        ),
        ("events.yaml", "country: text", 'country: "choice(DE, XX, ...)"', ["card.above", "card.risk", "card.before"]),
        ("events.yaml", "number(2)", "number(4)", ["card.risk"]),
        (
            "shroff.yaml",
            "money: EUR",
            "money: { currency: EUR, places: 3 }",
            ["payment.amount", "card.spent_1d", "card.above", "card.before"],
        ),
    ],
)
def test_what_is_declared_anew_is_noticed_down_to_keys_and_fields(
    bank: Path, name: str, old: str, new: str, changed: list[str]
):
    change(bank, name, old, new)

    assert list(redefined(bank)) == changed


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("features.yaml", "over 1d\n  usual", "over 24h\n  usual"),
        (
            "features.yaml",
            "shop: { payments_1d: count(payment) over 1d }",
            "shop: { payments_2d: count(payment) over 2d }",
        ),
        ("features.yaml", "card:\n", "card:\n  more: count(payment)\n"),
        ("events.yaml", "login: card", "login: id"),
        ("events.yaml", "choice(web, post)", "choice(web, post, app)"),
        ("events.yaml", ", fee: money?", ""),
        ("policy.yaml", "0.5", "0.6"),
        ("lists/risky.csv", "XX,,\n", "XX,,\nYY,,\n"),
        ("tables/risks.csv", "0.10", "0.20"),
    ],
)
def test_what_leaves_the_meaning_alone_is_no_change(bank: Path, name: str, old: str, new: str):
    change(bank, name, old, new)

    assert redefined(bank) == ()


def test_every_command_that_decides_or_looks_tells_it(bank: Path, capsys: pytest.CaptureFixture[str]):
    change(bank, "features.yaml", "over 1d\n  usual", "over 2d\n  usual")
    words = "the active model m-1 reads card.spent_1d, which means something else now than when it was trained"
    line = {"id": "p1", "at": "2026-03-01T12:00:00Z", "card": "c", "shop": "s", "amount": "1.00", "country": "DE"}
    (bank / "in.jsonl").write_text(json.dumps({"payment": {**line, "channel": "web"}}) + "\n")

    code, checked, _ = asked(capsys, bank, "check")
    assert (code, [warning["message"] for warning in checked["warnings"]]) == (0, [f"{words}."])
    assert checked["warnings"][0]["path"] == "payment.champion"
    for command in ("ingest", "decide"):
        assert run(["-C", str(bank), command, str(bank / "in.jsonl")]) == 0, "it is told, and nothing is stopped"
        assert words in capsys.readouterr().err
    findings = asked(capsys, bank, "doctor")[1]["findings"]
    assert [(finding["state"], finding["words"]) for finding in findings if finding["subject"] == "models"] == [
        ("note", words)
    ]
    listed = asked(capsys, bank, "models", "list")[1]["models"]
    assert [row["redefined"] for row in listed] == [["card.spent_1d"], []], "the second scores nothing"
    assert asked(capsys, bank, "models", "show", "m-2")[1]["redefined"] == ["card.spent_1d"]
    for look in (["list"], ["show", "m-1"]):
        assert run(["-C", str(bank), "models", *look]) == 0
        assert "card.spent_1d means something else now" in capsys.readouterr().out


def test_as_it_was_nothing_is_told(bank: Path, capsys: pytest.CaptureFixture[str]):
    assert asked(capsys, bank, "check")[1]["warnings"] == []
    findings = asked(capsys, bank, "doctor")[1]["findings"]
    assert [finding["state"] for finding in findings if finding["subject"] == "models"] == ["ok"]
    assert app.open(bank).definitions.remarks() == []


def test_a_model_whose_inputs_mean_something_else_is_not_promoted_unless_that_is_waived(bank: Path):
    change(bank, "features.yaml", "mean(", "max(")
    project = app.open(bank)
    (failed,) = project.models.promote("m-2").failed

    assert failed.words == "inputs as trained"
    assert failed.note == "card.above, card.before: changed since the model was trained; train again, or waive it"
    done = project.models.promote("m-2", waive=["inputs as trained"], reason="nearly the same", by="ann")
    assert done.what == deployment.PROMOTED
    assert project.models.rollback().champion == "m-1", "to go back asks nothing"


def test_of_a_model_that_does_not_say_what_it_read_nothing_is_known(bank: Path):
    for number, meanings in ((3, {}), (4, None), (5, ["card.spent_1d"])):
        more: Mapping[str, object] = {} if meanings == {} else {MEANINGS: meanings}
        train(Registry(bank / "models"), f"m-{number}", ["card.spent_1d"], seed=number, compared_with=None, **more)
    change(bank, "features.yaml", "over 1d\n  usual", "over 2d\n  usual")

    assert [app.open(bank).models.one(f"m-{number}").redefined for number in (3, 4, 5)] == [(), (), ()]
    assert app.open(bank).models.promote("m-3").what == deployment.PROMOTED


def test_a_project_with_mistakes_still_lists_and_shows_its_models(bank: Path):
    (bank / "features.yaml").write_text("card: { spent_1d: 'sum(' }\n")
    project = app.open(bank)

    assert [model.redefined for model in project.models.all()] == [(), ()]
    assert project.models.one("m-1").redefined == ()


@pytest.mark.slow
def test_training_notes_what_inputs_meant_and_who_the_champion_was(tmp_path: Path):
    folder = make_project(tmp_path / "bank")
    project = app.open(folder)
    project.ingest(write_days(tmp_path / "days.jsonl", range(16)))
    first = project.train(promote=True)
    second = project.train(promote=True)
    manifests = [item.stored.manifest for item in (first, second)]

    assert first.promoted, first.why_not
    assert manifests[0]["compared_with"] is None
    assert manifests[1]["compared_with"] == {"id": first.stored.id, "digest": first.stored.digest}
    assert sorted(manifests[0][MEANINGS]) == sorted(manifest["name"] for manifest in manifests[0]["inputs"])
    assert app.open(folder).definitions.remarks() == [], "what was noted is what is read again"
    assert [model.redefined for model in app.open(folder).models.all()] == [(), ()]
    (folder / "features.yaml").write_text("card: { payments_1d: count(payment) over 2d }\n")
    assert len(app.open(folder).definitions.remarks()) == 1


def test_a_copy_of_a_project_means_the_same(bank: Path, tmp_path: Path):
    copied = shutil.copytree(bank, tmp_path / "copy")

    assert redefined(copied) == ()


def test_what_a_model_reads_and_is_gone_is_told_with_one_hint(bank: Path, capsys: pytest.CaptureFixture[str]):
    change(bank, "features.yaml", "spent_1d:", "spent_1_d:")

    assert run(["-C", str(bank), "check"]) == 1
    said = capsys.readouterr()
    assert (said.out + said.err).count("Did you mean card.spent_1_d?") == 1
