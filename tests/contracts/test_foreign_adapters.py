"""Adapters of a package outside the tree: held to their contracts, and used by shroff as its own are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shroff.cli.main import run as run_command
from shroff.errors import DefinitionError, UsageError
from shroff.events.event import time_text
from shroff.language.values import DAY_MS
from shroff.models.definitions import Split
from shroff.models.evaluation.baselines import approve_all
from shroff.models.evaluation.folds import evaluate
from shroff.models.evaluation.metrics import Terms
from shroff.models.learners.training import learn_by
from shroff.notices.mailer import Mailer
from shroff.project.schema import project_files, schema_of
from shroff.project.settings.system import System
from shroff.runtime.values import replace
from shroff.services.jobs.kinds import kind_named
from shroff.services.jobs.work import JobRun
from shroff.services.project import open_exactly
from shroff.streams.sink import Outgoing, Sink
from shroff.testing.contracts.mailer import MailerContract
from shroff.testing.contracts.sink import SinkContract, body
from tests.support import foreign
from tests.support.training_rows import noisy_set, settings
from tests.support.webs import Asker, Browser, run

MODEL = """payment:
  inputs: [payment.amount]
  learner: spool-share
  parameters: { trees: 5 }
  gates: { spool_lift: { at_least: 0.25 } }
"""
SINK = "sinks: {{ decided: {{ spool: {} }} }}\n"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A project that names nothing but adapters of somebody else."""
    return foreign.bank(tmp_path / "bank")


@pytest.fixture(autouse=True, scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with foreign.found(foreign.laid_out(tmp_path_factory.mktemp("site"))):
        yield


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "place")


class TestSpoolSink(SinkContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "one for each key": "lines are added, and none is looked for",
        "takes marks": "a file has no transactions",
    }

    def made(self, place: str) -> Sink:
        from bank_spool.sink import SpoolSink

        return SpoolSink("decided", {"file": f"{place}/rows", "longest": "5000"})

    def arrived(self, place: str) -> list[bytes]:
        file = Path(place) / "rows"
        return file.read_bytes().splitlines() if file.exists() else []

    def poison(self, seq: int) -> Outgoing:
        return Outgoing(seq, 0, "decision", "payment", f"p-{seq}", "review", body(seq) + b" " * 5_000)

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        Path(place).write_text("a file where the folder should be", encoding="utf-8")
        yield self.made(place)
        Path(place).unlink()


class TestOutboxMailer(MailerContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "knows who is refused": "a folder has no mailboxes, so it refuses nobody"
    }

    def made(self, place: str) -> Mailer:
        from bank_spool.mailer import OutboxMailer

        return OutboxMailer({"folder": place})

    def arrived(self, place: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted(Path(place).iterdir(), key=lambda path: path.stat().st_mtime_ns)]

    @contextmanager
    def away(self, place: str) -> Iterator[Mailer]:
        Path(place).write_text("a file where the folder should be", encoding="utf-8")
        yield self.made(place)


# ---- settings


def mistakes(bank: Path, changed: str = "") -> list[str]:
    """What `shroff check` finds wrong with shroff.yaml, this in place of its sinks, source and mail."""
    if changed:
        head = "".join(foreign.FILES["shroff.yaml"].splitlines(keepends=True)[:3])
        (bank / "shroff.yaml").write_text(head + changed, encoding="utf-8")
    return [f"{error.message} {error.hint}".strip() for error in open_exactly(bank).check().errors]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (SINK.format("{ fil: x }"), "spool has no key 'fil'. Did you mean file?"),
        (SINK.format("{ longest: 9 }"), "spool lacks file."),
        (SINK.format("{ file: x, longest: many }"), "longest is a whole number."),
        (SINK.format("{ file: x, take: all }"), "take is decisions or flags."),
        ("sinks: { decided: { spol: { file: x } } }\n", "decided has no key 'spol'. Did you mean spool?"),
        (
            "source: { spool: { folder: in, files: { paymnt: x } } }\n",
            "'paymnt' is not an event type. Did you mean payment?",
        ),
        ("source: spool:in/\n", "the address of a spool ends with its file, as in spool:in/payments.jsonl."),
        ("source: amqp://h/x\n", "a source is kafka://, redis://, pubsub:// or spool://, not amqp://."),
        ("mail: { outbox: { folders: x } }\n", "outbox has no key 'folders'. Did you mean folder?"),
        ("mail: { outbx: { folder: x } }\n", "mail has no key 'outbx'. Did you mean outbox?"),
        (
            "mail: { outbox: { folder: x }, smtp: 'smtp://h' }\n",
            "mails are sent one way only, and this names outbox and smtp.",
        ),
    ],
)
def test_a_mistake_in_settings_of_a_foreign_adapter_is_told_as_in_ours(bank, settings, told):
    assert told in mistakes(bank, settings)


def test_an_address_names_a_foreign_source(bank):
    (bank / "shroff.yaml").write_text(
        foreign.FILES["shroff.yaml"].replace(
            "{ spool: { folder: in, files: { payment: payments.jsonl } } }", "'spool:in/all.jsonl'"
        ),
        encoding="utf-8",
    )
    source = open_exactly(bank).context.systems.source

    assert source == System("spool", {"folder": "in", "files": {"any": "all.jsonl"}})


def test_a_file_of_a_foreign_adapter_arrives_as_a_whole_path(bank):
    systems = open_exactly(bank).context.systems

    assert systems.settled("sink", systems.sinks["decided"], bank) == {"file": str(bank / "out/decisions.jsonl")}
    assert systems.settled("mailer", systems.mailer, bank) == {"folder": str(bank / "relay")}


def test_a_foreign_log_keeps_what_is_decided_and_has_settings_of_its_own(bank, tmp_path):
    events = tmp_path / "events.jsonl"
    events.write_text(
        '{"id": "p-1", "at": "2026-03-01T10:00:00Z", "card": "c-1", "amount": "5.00"}\n', encoding="utf-8"
    )
    store = f"store: {{ url: 'disk://{tmp_path}/log.db', largest: 50000000 }}\n"
    assert mistakes(bank, store.replace("largest", "larges")) == ["store has no key 'larges'. Did you mean largest?"]
    assert mistakes(bank, store) == []
    (bank / "notices" / "customer.yaml").unlink()
    project = open_exactly(bank)
    project.ingest(events, as_type="payment")

    assert (tmp_path / "log.db").exists()
    assert project.decisions()["id"].to_pylist() == ["p-1"]


def test_editors_are_told_of_foreign_settings():
    (shroff,) = [schema_of(file) for file in project_files() if file.kind == "shroff"]
    sinks = shroff["properties"]["sinks"]["patternProperties"]
    (kinds,) = [sink["properties"] for sink in sinks.values()]

    assert list(kinds) == ["kafka", "mongodb", "sql", "webhook", "pubsub", "spool"]
    assert kinds["spool"]["description"].startswith("Lines of a file.")
    assert list(kinds["spool"]["properties"]) == ["take", "start", "file", "longest"]
    assert "outbox" in shroff["properties"]["mail"]["properties"]


def test_a_package_that_is_broken_is_named_where_it_is_used_and_nowhere_else(bank, tmp_path):
    points = "[shroff.adapters]\nsink.spool = bank_spool.gone:Sink\nsink.plain = bank_spool.client:add\n"
    with foreign.found(foreign.laid_out(tmp_path / "broken", points)):
        (broken,) = mistakes(bank, SINK.format("{ file: x }"))
        (plain,) = mistakes(bank, "sinks: { decided: { plain: { file: x } } }\n")
        sound = mistakes(bank, "sinks: { decided: { sql: { url: 'sqlite:///x', table: t } } }\n")
        schema_of(next(file for file in project_files() if file.kind == "shroff"))

    assert broken.startswith("the adapter 'sink.spool' of the package bank-spool cannot be loaded: ModuleNotFoundError")
    assert plain.startswith("the adapter 'sink.plain' of the package bank-spool does not declare its settings")
    assert sound == []


def test_two_packages_with_one_name_are_both_named(bank, tmp_path):
    other = foreign.laid_out(tmp_path / "other")
    (other / "bank_spool-1.0.dist-info").rename(other / "second-1.0.dist-info")
    (other / "second-1.0.dist-info" / "METADATA").write_text("Name: second\nVersion: 1.0\n", encoding="utf-8")
    with foreign.found(other), pytest.raises(UsageError, match="bank-spool and second both have an adapter"):
        open_exactly(bank).check()


# ---- project files


def test_a_foreign_project_file_is_checked_decides_nothing_and_is_known_to_editors(bank):
    before = open_exactly(bank).definitions.versions
    (bank / "spool.yaml").write_text("payment: 3\npaymnt: 1\n", encoding="utf-8")
    assert mistakes(bank) == ["'paymnt' is not an event type."]
    (bank / "spool.yaml").write_text("payment: 3\n", encoding="utf-8")
    project = open_exactly(bank)
    kinds = {kind.kind: kind for kind in project_files()}

    assert mistakes(bank) == []
    assert (project.definitions.added, project.definitions.versions) == ({"spool": {"payment": 3}}, before)
    assert project.call("spool count").text() == "0 of 3 lines."
    assert schema_of(kinds["spool"])["patternProperties"]


def test_a_foreign_key_of_the_project_is_checked_decides_nothing_and_is_known_to_editors(bank):
    from bank_spool.file import SPOOL_KEY

    top, before = foreign.FILES["shroff.yaml"], open_exactly(bank).definitions
    (bank / "shroff.yaml").write_text(f"{top}spool: {{ payment: 3, paymnt: 1 }}\n", encoding="utf-8")
    assert mistakes(bank) == ["'paymnt' is not an event type."]
    (bank / "shroff.yaml").write_text(f"{top}spol: {{ payment: 3 }}\n", encoding="utf-8")
    assert mistakes(bank) == ["shroff.yaml has no key 'spol'. Did you mean spool?"]
    text = f"{top}spool: {{ payment: 3 }}\n"
    (bank / "shroff.yaml").write_text(text, encoding="utf-8")
    after = open_exactly(bank).definitions

    assert (after.versions, after.files) == (before.versions, before.files)
    assert SPOOL_KEY.content(text, after) == {"payment": 3}
    assert schema_of(project_files()[0])["properties"]["spool"]["patternProperties"]


# ---- pages, routes and jobs


def test_a_foreign_page_stands_in_the_top_bar_beside_a_route_that_openapi_documents(bank):
    (bank / "out").mkdir()
    (bank / "out" / "decisions.jsonl").write_text("{}\n{}\n", encoding="utf-8")

    async def steps(_asks: Asker, browser: Browser) -> None:
        told = await browser.get("/spool")
        document = (await browser.get("/api/openapi.json")).json()

        assert (told.status, (await browser.get("/api/v1/spool")).json()) == (200, {"lines": 2, "expected": 0})
        assert b"2 decisions were written." in told.body
        assert b'<a href="/spool">Spool</a>' in (await browser.get("/checks")).body
        assert document["paths"]["/api/v1/spool"]["get"]["summary"] == "Count the lines of the spool."

    run(bank, steps)


def test_a_foreign_operation_is_a_command_and_a_call(bank, capsys):
    assert run_command(["-C", str(bank), "spool", "count", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"lines": 0, "expected": 0}
    assert open_exactly(bank).call("spool count").text() == "0 of 0 lines."
    assert run_command(["--help"]) == 0
    assert "count what the sink has written" in capsys.readouterr().out


def test_broken_operations_of_a_package_are_named(bank, tmp_path, capsys):
    with foreign.found(
        foreign.laid_out(tmp_path / "broken", "[shroff.operations]\nspool = bank_spool.gone:OPERATIONS\n")
    ):
        assert run_command(["-C", str(bank), "spool", "count"]) == 2
    assert "'spool' of the package bank-spool cannot be loaded: ModuleNotFoundError" in capsys.readouterr().err


def test_a_foreign_kind_of_job_runs_as_ours_do(bank):
    project = open_exactly(bank)
    kind = kind_named("spool-lines")

    assert kind.load()(project, kind.read({}), JobRun(0)) == {"lines": 0}
    assert kind.meaning == "Count the lines that the sink `decided` has written."
    with pytest.raises(UsageError, match="spool-lines has no such parameter"):
        kind.read({"lines": 1})


# ---- the whole way


@pytest.mark.slow
def test_a_foreign_learner_trains_and_a_foreign_metric_is_measured_and_asked_by_a_gate(bank):
    given, told = noisy_set(600), settings(learner="spool-share", parameters={"l2": "2"})
    split = Split(8 * DAY_MS, DAY_MS, 4 * DAY_MS, 2)
    told = replace(told, split=split)
    report = evaluate(given, told, Terms(), learn_by(told, told.parameters), champion=approve_all(len(given)))
    (bank / "model.yaml").write_text(MODEL, encoding="utf-8")

    assert report.metrics["spool_lift"].mean == pytest.approx(0), "every event has the same score"
    model = open_exactly(bank).definitions.models["payment"]
    assert (model.learner, model.parameters) == ("spool-share", {"trees": "5"})
    assert [(gate.metric, gate.at_least) for gate in model.gates] == [("spool_lift", 0.25)]
    (bank / "model.yaml").write_text(MODEL.replace("spool_lift", "spool_list"), encoding="utf-8")
    with pytest.raises(DefinitionError, match="spool_lift"):
        _ = open_exactly(bank).definitions


def test_a_package_that_is_installed_is_checked_run_delivered_to_and_looked_at(bank, tmp_path):
    site = foreign.built(tmp_path)
    now = time_text(int(time.time() * 1_000) - 60_000)
    (bank / "in").mkdir()
    (bank / "spool.yaml").write_text("payment: 3\n", encoding="utf-8")
    lines = [
        {"id": f"p-{n}", "at": now, "card": "c-1", "amount": amount, "email": "ann@customers.example"}
        for n, amount in enumerate(("189.90", "5.00"), 1)
    ]
    (bank / "in" / "payments.jsonl").write_text("".join(json.dumps(item) + "\n" for item in lines), encoding="utf-8")

    def shroff(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "shroff", "-C", str(bank), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == status, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr * bool(status)

    shroff("check")
    shroff("run", "--until-idle", "2s")
    found = {finding["subject"]: finding for finding in json.loads(shroff("doctor", "--json"))["findings"]}
    counted = json.loads(shroff("spool", "count", "--json"))
    told = shroff("--help")
    job = json.loads(shroff("jobs", "run", "spool-lines", "--wait", "--json"))
    decided = [json.loads(line) for line in (bank / "out" / "decisions.jsonl").read_text().splitlines()]
    (mail,) = (bank / "relay").iterdir()

    assert [(decision["id"], decision["outcome"]) for decision in decided] == [("p-1", "review"), ("p-2", "approve")]
    assert counted == {"lines": 2, "expected": 3}
    assert re.search(r"  spool +count what the sink has written\n", told)
    assert (job["state"], job["result"]) == ("done", {"lines": 2})
    assert b"ann@customers.example" in mail.read_bytes()
    assert [found[text]["state"] for text in ("source", "sink decided", "mail")] == ["ok", "ok", "ok"]
    assert "spool answers: 1 part, 0 messages to read" in found["source"]["words"]
    shutil.rmtree(site)
    assert "there is no command 'spool'" in shroff("spool", status=2)
