"""Which models are in force: the file, the commands that change it, what a decision shows of it, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.errors import DefinitionError, Problem, StateError, StorageError, UsageError
from shroff.models.in_force import FILE, InForce, read_in_force, text_of, version_of
from shroff.models.registry import GateResult, Registry
from shroff.services import project as app
from shroff.services.models.deployment import Deployment
from shroff.services.models.operations import ChangeModel
from shroff.services.models.promotion import Promotions
from shroff.services.rules.files import ChangedMeanwhileError
from tests.support.projects import FILES, write_files
from tests.support.trained import train

DIGEST = "0" * 64
CHAMPION = {"id": "m-1", "digest": DIGEST}
POLICY = "payment:\n  score: { review_at: 0.5, decline_at: 0.95 }\n  without_model: review\n"
RATES = {"false_positive_rate": {"mean": 0.02, "low": 0.01, "high": 0.04}, "decline_rate": None}
FAILED = (
    GateResult("calibration_error", 0.04, "at most 0.02", passed=False),
    GateResult("latency_p99", 2.0, "at most 1 ms", passed=False),
)


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    """The small project with a policy that reads the score, and three models in its registry."""
    folder = tmp_path / "small"
    write_files(folder, {**FILES, "policy.yaml": POLICY})
    models = Registry(folder / "models")
    for number in (1, 2, 3):
        train(models, f"m-{number}", seed=number)
    return folder


def decide(bank: Path, first: int, count: int = 1) -> list[dict[str, Any]]:
    """The decisions of some payments of different cards and amounts."""
    fields = [
        {
            "id": f"p{n}",
            "at": f"2026-03-01T12:{n // 60:02d}:{n % 60:02d}Z",
            "card": f"c{n}",
            "amount": f"{n * 7 % 90}.00",
        }
        for n in range(first, first + count)
    ]
    return [asdict(field) for field in app.open(bank).decide(fields, as_type="payment")]


def asked(capsys: pytest.CaptureFixture[str], bank: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["-C", str(bank), *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def verified(bank: Path) -> tuple[int, int, list[str]]:
    found = app.open(bank).verify()
    return found.events, found.mismatches, found.unread


@contextmanager
def at_work(bank: Path) -> Iterator[None]:
    """Another process, as good as, that writes the log and looks into its inbox."""
    project = app.open(bank)
    with project.log.writing() as (held, log), closing(project.inboxes.brief(held, log)) as served, served.attended():
        yield


# ---- the file


def read(value: object) -> tuple[dict[str, InForce], list[Problem]]:
    problems: list[Problem] = []
    text = value if isinstance(value, str) else json.dumps(value)
    return read_in_force(text, problems), problems


def test_what_is_written_is_read_again():
    value = {
        "payment": {
            "champion": {**CHAMPION, "at": "2026-07-01T00:00:00Z", "by": "ann"},
            "challenger": {"id": "m-2", "digest": DIGEST, "share": 0.1, "by": "card"},
            "shadow": [{"id": "m-3", "digest": DIGEST}],
            "previous": [{"id": "m-0", "digest": DIGEST, "waived": [{"gate": "g", "reason": "r", "by": "b"}]}],
        }
    }
    found, problems = read(value)

    assert problems == []
    assert json.loads(text_of(found)) == value
    assert read(text_of(found))[0] == found


def test_without_the_file_no_model_is_in_force():
    assert read_in_force(None, []) == {}
    assert version_of({}) == version_of(read({"payment": {"previous": [CHAMPION]}})[0]) == ""


@pytest.mark.parametrize(
    "change, is_other",
    [
        ({"champion": {**CHAMPION, "by": "bob", "at": "2026-07-02T00:00:00Z"}}, False),
        ({"previous": [{"id": "m-0", "digest": DIGEST}]}, False),
        ({"champion": {**CHAMPION, "id": "m-9"}}, True),
        ({"champion": {**CHAMPION, "digest": "1" * 64}}, True),
        ({"shadow": [{"id": "m-3", "digest": DIGEST}]}, True),
        ({"challenger": {"id": "m-2", "digest": DIGEST, "share": 0.1, "by": "card"}}, True),
    ],
)
def test_the_version_changes_with_what_is_computed_and_with_nothing_else(change: Mapping[str, Any], is_other: bool):
    before, after = (
        read({"payment": value})[0] for value in ({"champion": CHAMPION}, {"champion": CHAMPION, **change})
    )

    assert (version_of(after) != version_of(before)) == is_other


def test_the_version_knows_shares_and_not_the_order_of_shadows():
    challengers = [{"id": "m-2", "digest": DIGEST, "share": share, "by": "card"} for share in (0.1, 0.2)]
    shadows = [{"id": f"m-{n}", "digest": DIGEST} for n in (3, 4)]
    first, second = (
        version_of(read({"payment": {"champion": CHAMPION, "challenger": challenger}})[0]) for challenger in challengers
    )
    third, fourth = (version_of(read({"payment": {"shadow": item}})[0]) for item in (shadows, shadows[::-1]))

    assert first != second
    assert third == fourth


@pytest.mark.parametrize(
    "value, path, words",
    [
        ('{"payment": {\n  "champion" }', "", "this is not JSON"),
        ('{"payment": {}, "payment": {}}', "", "the key 'payment' is used twice"),
        ("[]", "", "it names event types with their models"),
        ({"payment": {"champion": {"id": "m-1"}}}, "payment.champion", "missing required field `digest`"),
        ({"payment": {"champion": {**CHAMPION, "id": "../m"}}}, "payment.champion.id", "matching regex"),
        ({"payment": {"champion": {**CHAMPION, "digest": "12"}}}, "payment.champion.digest", "matching regex"),
        ({"payment": {"champoin": CHAMPION}}, "payment", "unknown field `champoin`"),
        (
            {
                "payment": {
                    "champion": CHAMPION,
                    "challenger": {"id": "m-2", "digest": DIGEST, "share": 2, "by": "card"},
                }
            },
            "payment.challenger.share",
            "<= 1",
        ),
        (
            {"payment": {"challenger": {"id": "m-2", "digest": DIGEST, "share": 0.5, "by": "card"}}},
            "payment.challenger",
            "there is no champion",
        ),
        ({"payment": {"champion": CHAMPION, "shadow": [CHAMPION]}}, "payment", "the model m-1 is used twice"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(value: object, path: str, words: str):
    _, (problem,) = read(value)

    assert (problem.file, problem.path) == (FILE, path)
    assert words in problem.message


def test_the_place_of_broken_json_is_a_line_and_a_column():
    _, (problem,) = read('{"payment": {\n  "champion" }')

    assert (problem.line, problem.column) == (2, 14)


# ---- a decision


def test_a_score_decides_and_the_receipt_holds_it_and_its_model(bank: Path):
    before = decide(bank, 1)[0]
    app.open(bank).models.promote("m-1", by="ann")
    after = decide(bank, 2, 30)

    assert (before["score"], before["versions"]["model"], before["outcome"]) == (None, "", "review")
    assert {row["versions"]["model"] for row in after} == {"m-1"}
    for row in after:
        assert round(row["score"], 6) == row["score"]
        cuts = "decline" if row["score"] >= 0.95 else "review" if row["score"] >= 0.5 else "approve"
        assert row["outcome"] == cuts
    assert len({row["outcome"] for row in after}) > 1
    assert len({row["score"] for row in after}) > 3
    assert verified(bank) == (31, 0, [])


def test_another_score_or_model_is_another_receipt(bank: Path):
    receipts = []
    for id_ in ("m-1", "m-2", None):
        copied = shutil.copytree(bank, bank.parent / f"copy of {id_}")
        if id_ is not None:
            app.open(copied).models.promote(id_)
        (found,) = decide(copied, 9)
        receipts.append((found["receipt"], found["score"], found["versions"]["model"]))

    assert len({receipt for receipt, _, _ in receipts}) == 3
    assert [model for _, _, model in receipts] == ["m-1", "m-2", ""]


@pytest.mark.slow
def test_promotion_rollback_rollout_and_shadow_replay_to_the_same_bytes(bank: Path):
    project = app.open(bank)
    steps = [
        lambda: project.models.promote("m-1"),
        lambda: project.models.shadow("m-3"),
        lambda: project.models.promote("m-2"),
        lambda: project.models.challenge("m-1", 0.5, "card"),
        lambda: project.models.rollback("payment"),
        lambda: project.models.rollback("payment"),
        lambda: project.models.shadow("m-3", stop=True),
    ]
    decide(bank, 1, 4)
    shown = []
    for number, step in enumerate(steps, start=1):
        done = step()
        assert (done.in_force, done.why_not) == (True, "")
        shown.append({row["versions"]["model"] for row in decide(bank, 10 * number, 8)})

    assert shown == [{"m-1"}, {"m-1"}, {"m-2"}, {"m-1", "m-2"}, {"m-1"}, {""}, {""}]
    assert verified(bank) == (60, 0, [])
    assert all(project.replay(f"p{number}").match for number in (1, 10, 21, 32, 43, 57, 77))


def test_a_promotion_is_refused_where_another_champion_took_over(bank: Path):
    project = app.open(bank)
    project.models.promote("m-1", champion="")
    with pytest.raises(ChangedMeanwhileError) as caught:
        project.models.promote("m-2", champion="")
    project.models.rollback("payment")
    with pytest.raises(ChangedMeanwhileError, match="judged against m-1, and no model is the champion now"):
        project.models.promote("m-2", champion="m-1")

    assert str(caught.value) == (
        "m-2 is not promoted: it was judged against rules alone, and m-1 is the champion now. "
        "Compare them with 'shroff models compare m-1 m-2', then run 'shroff models promote m-2'"
    )
    assert "payment" not in project.models.in_force()


def test_a_running_process_takes_a_promotion_up_between_two_batches(bank: Path):
    decide(bank, 1)
    with at_work(bank):
        done: list[Deployment] = []
        thread = Thread(target=lambda: done.append(app.open(bank).models.promote("m-1", by="ann")))
        thread.start()
        thread.join()

    (found,) = done
    assert (found.what, found.champion, found.before, found.in_force) == ("promoted", "m-1", "", True)
    assert decide(bank, 2)[0]["versions"]["model"] == "m-1"


def test_a_running_process_does_not_take_up_what_it_cannot_load(bank: Path):
    decide(bank, 1)
    project = app.open(bank)
    project.models.promote("m-1")
    digest = json.loads((bank / FILE).read_text())["payment"]["champion"]["digest"]
    with at_work(bank):
        (bank / FILE).write_text(json.dumps({"payment": {"champion": {"id": "m-9", "digest": digest}}}))
        why_not = app.open(bank).requests.put_in_force("written", None)

    assert "models/m-9" in why_not
    assert "is missing" in why_not


def test_a_rule_reads_the_score_also_since_flag(bank: Path):
    rule = "- { id: hot, on: payment, by: card, effect: note, reason: 'scored {score}', when: score >= 0 and"
    rule += " count(payment) over 1h since flag including this >= 1 }\n"
    (bank / "rules" / "hot.yaml").write_text(rule)
    app.open(bank).models.promote("m-1")
    (found,) = decide(bank, 3)

    assert found["rules"] == ("hot",)
    assert found["reasons"][0]["text"] == f"scored {found['score']}"
    assert verified(bank) == (1, 0, [])


# ---- gates


def test_a_model_that_failed_a_gate_is_not_promoted_without_a_waiver(bank: Path, capsys: pytest.CaptureFixture[str]):
    train(Registry(bank / "models"), "m-4", seed=4, gates=FAILED)
    code, refused = asked(capsys, bank, "models", "promote", "m-4")

    assert code == 1
    assert [row["name"] for row in refused["failed"]] == ["calibration_error", "latency_p99"]
    assert not (bank / FILE).exists()

    words = ["models", "promote", "m-4", "--waive", "calibration_error at most 0.02"]
    assert asked(capsys, bank, *words)[0] == 2
    code, refused = asked(capsys, bank, *words, "--reason", "small sample", "--by", "ann")
    assert (code, [row["name"] for row in refused["failed"]]) == (1, ["latency_p99"])
    words += ["--waive", " latency_p99  at most 1 ms"]
    code, done = asked(capsys, bank, *words, "--reason", "small sample", "--by", "ann")
    assert (code, done["what"]) == (0, "promoted")
    champion = json.loads((bank / FILE).read_text())["payment"]["champion"]
    waived = [{"gate": path.name, "reason": "small sample", "by": "ann", "limit": path.limit} for path in FAILED]
    assert (champion["by"], champion["waived"]) == ("ann", waived)
    decide(bank, 1)
    with app.open(bank).log.reading() as log:
        control = json.loads(log.controls()[-1].body)
    assert '"limit": "at most 0.02"' in control["files"][FILE], "the control event carries what was waived"
    shown = asked(capsys, bank, "models", "show", "m-4")[1]["promotions"][0]["waived"]
    assert [(row["gate"], row["limit"]) for row in shown] == [(path.name, path.limit) for path in FAILED]


@pytest.mark.parametrize(
    "waive, words",
    [
        ("calibration_eror at most 0.02", "Did you mean 'calibration_error at most 0.02'?"),
        ("calibration_error", "A waiver names the limit too: 'calibration_error at most 0.02'"),
        ("calibration_error at most 0.1", "A waiver names the limit too: 'calibration_error at most 0.02'"),
        ("x", "Those that failed"),
        ("", "Those that failed"),
    ],
)
def test_a_waiver_names_a_gate_that_failed(bank: Path, waive: str, words: str):
    train(Registry(bank / "models"), "m-4", seed=4, gates=FAILED)

    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        app.open(bank).models.promote("m-4", waive=[waive], reason="r", by="b")


# ---- what is refused


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda project: project.models.promote("m-1"), "is already the champion"),
        (lambda project: project.models.promote("m-7"), "there is no model 'm-7'"),
        (lambda project: project.models.shadow("m-1"), "is the champion and its scores take effect"),
        (lambda project: project.models.shadow("m-2", stop=True), "neither in shadow nor a challenger"),
        (lambda project: project.models.challenge("m-1", 0.5, "card"), "is the champion"),
        (lambda project: project.models.challenge("m-2", 0.0, "card"), "above 0 %"),
        (lambda project: project.models.unchallenge("m-2"), "neither in shadow nor a challenger"),
        (lambda project: project.models.rollback("refund"), "no model of 'refund' is active"),
    ],
)
def test_what_cannot_be_done_changes_nothing(bank: Path, call: Any, words: str):
    project = app.open(bank)
    project.models.promote("m-1")
    before = (bank / FILE).read_text()

    with pytest.raises(UsageError, match=words):
        call(project)
    assert (bank / FILE).read_text() == before


def test_a_challenger_needs_a_champion_and_a_key(bank: Path):
    project = app.open(bank)
    with pytest.raises(UsageError, match="no champion to challenge"):
        project.models.challenge("m-2", 0.5, "card")
    project.models.promote("m-1")
    with pytest.raises(DefinitionError) as caught:
        project.models.challenge("m-2", 0.5, "crad")

    assert caught.value.problems[0].path == "payment.challenger.by"
    assert caught.value.problems[0].hint == "Did you mean card?"


def test_without_a_champion_there_is_nothing_to_go_back_from(bank: Path):
    with pytest.raises(UsageError, match="no model is active"):
        app.open(bank).models.rollback()


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"features.yaml": "card:\n  payments_2h: count(payment) over 2h\n"},
            "'card.payments_1h', which no longer fits",
        ),
        ({"features.yaml": "card:\n  payments_1h: last(payment.card) over 1h\n"}, "it is text now, and was a number"),
    ],
)
def test_a_model_of_other_features_is_a_mistake_of_the_project(
    bank: Path, capsys: pytest.CaptureFixture[str], changes: Mapping[str, str], words: str
):
    project = app.open(bank)
    project.models.promote("m-1")
    for name, text in changes.items():
        (bank / name).write_text(text)

    code, found = asked(capsys, bank, "check")
    assert code == 1
    assert [(error["file"], error["path"]) for error in found["errors"]] == [(FILE, "payment.champion")] * len(
        found["errors"]
    )
    assert words in found["errors"][0]["message"]
    with pytest.raises(DefinitionError):
        decide(bank, 1)
    with pytest.raises(DefinitionError):
        app.open(bank).models.promote("m-2")


def test_a_model_of_another_event_type_is_refused(bank: Path):
    train(Registry(bank / "models"), "m-5", event="login", seed=5)

    with pytest.raises(DefinitionError) as caught:
        app.open(bank).models.promote("m-5")
    assert "'login' is not an event type that is decided" in caught.value.problems[0].message


# ---- a model that cannot be loaded


@pytest.mark.slow
def test_a_process_that_cannot_load_the_model_decides_nothing_and_loses_nothing(
    bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    decide(bank, 1)
    app.open(bank).models.promote("m-1")
    decide(bank, 2, 3)
    kept = (bank / "models" / "m-1" / "model.json").read_bytes()
    (bank / "models" / "m-1" / "model.json").write_bytes(kept + b" ")
    lines = tmp_path / "events.jsonl"
    lines.write_text('{"payment": {"id": "p9", "at": "2026-03-01T13:00:00Z", "card": "c", "amount": "1.00"}}\n')

    assert asked(capsys, bank, "ingest", str(lines))[0] == 3
    assert run(["-C", str(bank), "decide", str(lines)]) == 3
    assert "models/m-1/model.json is damaged" in capsys.readouterr().err
    code, checked = asked(capsys, bank, "check")
    assert code == 1
    assert "the active model m-1 cannot be loaded" in checked["errors"][0]["message"]

    # All that decides nothing goes on.
    assert asked(capsys, bank, "label", "p2", "fraud", "--source", "analyst")[0] == 0
    assert asked(capsys, bank, "features", "--as", "payment", "--out", str(tmp_path / "f.parquet"))[0] == 0
    assert run(["-C", str(bank), "export", "decisions"]) == 0
    capsys.readouterr()
    code, found = asked(capsys, bank, "verify")
    assert (code, found["events"], found["mismatches"]) == (3, 1, 0)
    assert "were not compared: the active model m-1 cannot be loaded" in found["unread"][0]
    assert asked(capsys, bank, "replay", "p1")[1]["match"] is True
    assert asked(capsys, bank, "replay", "p3")[0] == 3
    assert asked(capsys, bank, "ingest", str(lines), "--no-decide")[0] == 0

    (bank / "models" / "m-1" / "model.json").write_bytes(kept)
    assert verified(bank) == (4, 0, [])
    assert decide(bank, 20)[0]["versions"]["model"] == "m-1"


def test_a_model_that_cannot_be_loaded_does_not_come_into_force(bank: Path):
    decide(bank, 1)
    (bank / FILE).write_text(json.dumps({"payment": {"champion": CHAMPION}}))

    with pytest.raises(StateError, match=r"and the one in models/in_force.json is"):
        decide(bank, 2)
    (bank / FILE).unlink()
    assert decide(bank, 2)[0]["versions"]["model"] == ""


def test_a_broken_champion_is_rolled_back_from(bank: Path):
    project = app.open(bank)
    project.models.promote("m-1")
    decide(bank, 1)
    project.models.promote("m-2")
    decide(bank, 2)
    shutil.rmtree(bank / "models" / "m-2")
    done = app.open(bank).models.rollback()

    assert (done.champion, done.before, done.in_force) == ("m-1", "m-2", True)
    assert decide(bank, 3)[0]["versions"]["model"] == "m-1"


def test_of_two_people_who_roll_one_model_back_at_once_the_second_is_refused(bank: Path, monkeypatch):
    project = app.open(bank)
    project.models.promote("m-1")
    project.models.promote("m-2")
    looked = project.models.one("m-2")
    monkeypatch.setattr(Promotions, "one", lambda *_: looked)  # both looked before the first was done
    ask = ChangeModel("m-2", "rollback", "it declines too much")

    assert project.run(ask).champion == "m-1"
    with pytest.raises(UsageError, match="m-2 is not the champion; only the champion can be rolled back"):
        project.run(ask)
    assert json.loads((bank / FILE).read_text())["payment"]["champion"]["id"] == "m-1"


def test_a_model_that_cannot_be_loaded_is_not_promoted(bank: Path):
    (bank / "models" / "m-1" / "model.json").write_bytes(b"{}")

    with pytest.raises(StateError, match="damaged"):
        app.open(bank).models.promote("m-1")
    assert not (bank / FILE).exists()


@pytest.mark.parametrize("name", ["gates.json", "metrics.json"])
def test_a_damaged_record_of_a_champion_is_told_and_decisions_go_on(
    bank: Path, capsys: pytest.CaptureFixture[str], name: str
):
    app.open(bank).models.promote("m-1")
    (bank / "models" / "m-1" / name).write_bytes(b"[ ]")
    words = f"models/m-1/{name} is damaged"

    assert decide(bank, 1)[0]["versions"]["model"] == "m-1"
    assert run(["-C", str(bank), "models", "list"]) == 0
    assert words in capsys.readouterr().out
    assert [item.state for item in app.open(bank).health.doctor() if words in item.words] == ["wrong"]
    app.open(bank).models.promote("m-2")
    refused = app.open(bank).models.promote("m-1").failure
    assert refused == ("it failed gates" if name == "gates.json" else "")


def test_a_champion_that_goes_with_its_file_is_told_by_whoever_writes_next(bank: Path):
    app.open(bank).models.promote("m-1")
    decide(bank, 1)
    (bank / FILE).unlink()
    project, fields = app.open(bank), {"id": "p2", "at": "2026-03-01T12:00:02Z", "card": "c", "amount": "1.00"}
    (decision,) = project.decide([fields], as_type="payment")
    again = app.open(bank)
    again.decide([{**fields, "id": "p3"}], as_type="payment")

    assert decision.score is None
    assert [words for words in project.warnings if "m-1 is no longer the champion of payment" in words]
    assert again.warnings == []


# ---- the command


def test_models_are_listed_with_their_roles(bank: Path, capsys: pytest.CaptureFixture[str]):
    for words in (["promote", "m-1"], ["promote", "m-2"], ["shadow", "m-3"]):
        assert asked(capsys, bank, "models", *words)[0] == 0
    code, found = asked(capsys, bank, "models", "list")

    assert code == 0
    assert [(model["id"], model["role"]) for model in found["models"]] == [
        ("m-1", "before"),
        ("m-2", "champion"),
        ("m-3", "shadow"),
    ]
    assert run(["-C", str(bank), "models", "list"]) == 0
    assert "m-2       -  payment  champion  xgboost  passed" in capsys.readouterr().out


def test_a_model_is_shown_with_its_slices_in_words_and_in_their_order(bank: Path, capsys: pytest.CaptureFixture[str]):
    models, figures = Registry(bank / "models"), {"rows": 1_200, "frauds": 7, "metrics": {"average_precision": 0.25}}
    slices = [
        {"name": "amount", "value": value, "falls_by_more_than_noise": value.startswith("above"), **figures, **RATES}
        for value in ("above 1200.00", "5.00 to 1200.00", "up to 5.00")
    ]
    train(models, "m-9", metrics={"slices": slices})
    run(["-C", str(bank), "models", "show", "m-9"])
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines() if "1,200  " in line]

    assert [line[0] or line[1] for line in lines] == [
        "amount up to 5.00 EUR",
        "amount 5.00 to 1,200.00 EUR",
        "amount above 1,200.00 EUR",
    ]
    assert [[cell.strip() for cell in line if cell][3:] for line in lines] == [
        ["0.2500", "2.00 % (1.00 % to 4.00 %)", "-", *more] for more in ([], [], ["worse than the champion"])
    ]


def card(capsys: pytest.CaptureFixture[str], bank: Path, id_: str) -> str:
    """The card of a model, without its markup."""
    assert run(["-C", str(bank), "models", "show", id_, "--card", str(bank / "card.html")]) == 0
    capsys.readouterr()
    text = (bank / "card.html").read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")  # it needs no other file
    return " ".join(re.sub(r"<style>.*</style>|<[^>]+>", " ", text, flags=re.DOTALL).split())


def test_a_card_says_what_its_folder_and_the_log_say_and_a_promotion_writes_it(
    bank: Path, capsys: pytest.CaptureFixture[str]
):
    figures = {"rows": 1_200, "frauds": 7, "metrics": {"average_precision": 0.25}, "falls_by_more_than_noise": False}
    slices = [{"name": "payment.channel", "value": "<web>", **figures, **RATES}]
    metrics = {"metrics": {"auc_roc": {"mean": 0.91, "low": 0.86, "high": 0.96}}, "slices": slices, "remarks": ["Few."]}
    train(Registry(bank / "models"), "m-9", metrics=metrics, gates=FAILED[:1], purpose="Not for credit.")
    decide(bank, 1)
    waived = ["--waive", FAILED[0].words, "--reason", "small & new", "--by", "ann"]
    asked(capsys, bank, "models", "promote", "m-9", *waived)
    kept = (bank / "models" / "m-9" / "card.html").read_bytes()
    text, again = card(capsys, bank, "m-9"), card(capsys, bank, "m-9")

    assert text == again
    assert kept == (bank / "card.html").read_bytes()
    assert "Not for credit." in text
    assert "AUC ROC 0.9100 0.8600 to 0.9600" in text
    assert "calibration error at most 0.02 0.04 ✗ failed" in text
    assert "payment.channel: &lt;web&gt; 1,200 7 0.2500 2.00 % 1.00 % to 4.00 %" in text
    assert "Few." in text
    assert "champion ann calibration_ error at most 0.02, by ann: small &amp; new" in text


def test_a_card_has_each_role_by_the_log_also_after_a_rollback(bank: Path, capsys: pytest.CaptureFixture[str]):
    decide(bank, 1)
    for words in (["shadow", "m-1"], ["promote", "m-1", "--by", "ann"], ["rollback"]):
        asked(capsys, bank, "models", *words)
    roles = re.findall(r"Z (\d+) (\w+) ?(ann)?", card(capsys, bank, "m-1").partition("Approvals and roles")[2])

    assert [(role, by) for _, role, by in roles] == [("shadow", ""), ("champion", "ann"), ("none", "")]
    assert [int(seq) for seq, _, _ in roles] == sorted(int(seq) for seq, _, _ in roles)
    assert "Waived gates" not in card(capsys, bank, "m-2")  # it never had a role


def test_a_card_says_what_the_log_does_not_have_yet(bank: Path, capsys: pytest.CaptureFixture[str]):
    asked(capsys, bank, "models", "promote", "m-1", "--by", "ann")

    assert "not in the log yet champion ann" in card(capsys, bank, "m-1")


def test_a_model_is_shown_with_its_metrics_and_promotions(bank: Path, capsys: pytest.CaptureFixture[str]):
    asked(capsys, bank, "models", "promote", "m-1", "--by", "ann")
    code, found = asked(capsys, bank, "models", "show", "m-1")

    assert code == 0
    assert (found["role"], found["metrics"]) == ("champion", {"auc_roc": {"mean": 0.9}})
    assert [item["by"] for item in found["promotions"]] == ["ann"]
    assert [item["name"] for item in found["manifest"]["inputs"]] == ["payment.amount", "card.payments_1h"]
    assert run(["-C", str(bank), "models", "show", "m-1"]) == 0
    assert "promoted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, text",
    [
        (["promote", "m-2"], "m-2 is the champion of payment, replacing m-1. It is active from the next"),
        (["rollback", "--by", "ann"], "m-1 is rolled back: rules alone decide payment. It is active"),
        (["shadow", "m-2"], "m-2 is in shadow. It is active"),
        (["challenge", "m-2", "--share", "25%", "--of", "card"], "m-2 challenges m-1. It is active"),
    ],
)
def test_each_change_says_what_holds_now(bank: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str):
    app.open(bank).models.promote("m-1")
    decide(bank, 1)

    assert run(["-C", str(bank), "models", *words]) == 0
    assert text in capsys.readouterr().out


def test_before_the_first_events_a_promotion_waits_for_them(bank: Path, capsys: pytest.CaptureFixture[str]):
    code, done = asked(capsys, bank, "models", "promote", "m-1")

    assert (code, done["in_force"]) == (0, False)
    assert "no log yet" in done["why_not"]
    assert decide(bank, 1)[0]["versions"]["model"] == "m-1"


@pytest.mark.parametrize(
    "words", [["m-1"], ["m-1", "--share", "10"], ["m-1", "--share", "10%"], ["m-1", "--of", "card"]]
)
def test_a_challenger_needs_its_share_and_entity(bank: Path, capsys: pytest.CaptureFixture[str], words: list[str]):
    assert run(["-C", str(bank), "models", "challenge", *words]) == 2
    assert "--share PERCENT" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["abc", "0.1", None, True])
def test_a_share_is_a_number(bank: Path, share: object):
    project = app.open(bank)
    project.models.promote("m-1")
    with pytest.raises(UsageError, match=r"a share is a number above 0 and at most 1, such as 0.1 for 10 %, not "):
        project.models.challenge("m-2", share, "card")


@pytest.mark.parametrize("reads", ["nothing", "the policy", "a rule"])
def test_a_champion_whose_score_changes_nothing_is_told_with_the_lines_to_add(
    bank: Path, capsys: pytest.CaptureFixture[str], reads: str
):
    if reads != "the policy":
        (bank / "policy.yaml").unlink()
    if reads == "a rule":
        rule = FILES["rules/large.yaml"].replace("this.amount > 100", "score > 0.9")
        (bank / "rules" / "large.yaml").write_text(rule, encoding="utf-8")
    _, done = asked(capsys, bank, "models", "promote", "m-1")
    assert run(["-C", str(bank), "models", "list"]) == 0
    listed = capsys.readouterr().out
    _, checked = asked(capsys, bank, "check")
    doctored = " ".join(f"{item.words} {item.cure}" for item in app.open(bank).health.doctor())
    told = [
        done["unused"],
        listed,
        " ".join(f"{warning['message']} {warning['hint']}" for warning in checked["warnings"]),
        doctored,
    ]

    words = "m-1 is the champion of payment, but no policy or rule uses its score"
    assert [words in notice for notice in told] == [reads == "nothing"] * 4
    assert ["under payment: in policy.yaml, score: {" in notice for notice in told] == [reads == "nothing"] * 4


def test_a_promotion_is_written_whole_or_not_at_all(bank: Path, monkeypatch: pytest.MonkeyPatch):
    app.open(bank).models.promote("m-1")
    before = (bank / FILE).read_bytes()

    def fails(*_: object) -> None:
        raise OSError("the disk failed")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fails)  # by which the whole text takes the name of the file
        with pytest.raises(StorageError, match=r"in_force\.json"):
            app.open(bank).models.promote("m-2")

    assert (bank / FILE).read_bytes() == before
    assert app.open(bank).models.promote("m-2").champion == "m-2"
