"""What doctor asks outside: each system once and not for long, variables that are not set, and never a credential."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import StateError, TransientError, UsageError
from shroff.language.values import DAY_MS
from shroff.monitoring import doctor_systems
from shroff.monitoring.doctor import OK, Finding, look_at_folder
from shroff.monitoring.doctor_systems import Try, asked, look_at_pushed, source_finding, within
from shroff.services import project as app
from shroff.services.adapter_factory import AdapterFactory, reached
from shroff.services.project_log import ProjectLog
from shroff.streams.log import Batch, Offset
from shroff.streams.source import PartLag
from tests.support.projects import FILES
from tests.support.source_memory import MemorySource, MemoryTopic

SECRET = "n0t-to-be-seen"
PAYMENT = '{"id": "p-1", "at": "2026-03-01T10:00:00Z", "card": "c-1", "amount": "1.00"}\n'
EVERYTHING = """
source: { kafka: { brokers: "${BROKERS}", topics: { payment: p }, client: { sasl.password: "${KAFKA_PASSWORD}" } } }
sinks:
  hook: { webhook: { url: "http://127.0.0.1:9/x", secret: "${HOOK_SECRET}" } }
  copy: { mongodb: { url: "mongodb://shroff:${KAFKA_PASSWORD}@db/", database: bank, collection: decided } }
"""


def bank(folder: Path, settings: str) -> app.Project:
    for name, text in {**FILES, "shroff.yaml": FILES["shroff.yaml"] + settings}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return app.open(folder)


def found(project: app.Project) -> dict[str, list[Finding]]:
    every: dict[str, list[Finding]] = {}
    for item in project.health.doctor():
        every.setdefault(item.subject, []).append(item)
    return every


@pytest.fixture
def listening() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# ---- variables


def test_variables_that_are_not_set_are_one_finding_with_their_keys_and_what_reads_them_is_not_asked(tmp_path, capsys):
    project = bank(tmp_path / "bank", EVERYTHING)
    (variable,) = found(project)["variables"]
    status = run(["-C", str(tmp_path / "bank"), "doctor"])
    printed = capsys.readouterr().out

    assert (variable.state, status) == ("wrong", 1)
    assert variable.words == (
        "3 variables of the environment are not set: BROKERS (source.kafka.brokers); "
        "KAFKA_PASSWORD (source.kafka.client.sasl.password, sinks.copy.mongodb.url); "
        "HOOK_SECRET (sinks.hook.webhook.secret)"
    )
    assert "WRONG  variables" in printed
    assert "WRONG  source" not in printed


def test_a_store_whose_variable_is_not_set_is_a_finding_and_no_error(tmp_path):
    every = found(bank(tmp_path / "bank", "store: postgresql://shroff:${DB_PASSWORD}@db/shroff\n"))

    assert "DB_PASSWORD (store.url)" in every["variables"][0].words
    assert every["log"][0].state == "wrong"


def test_with_all_variables_set_nothing_is_said_of_them(tmp_path, monkeypatch, listening):
    monkeypatch.setenv("HOOK", f"127.0.0.1:{listening}")
    every = found(
        bank(tmp_path / "bank", 'sinks: { hook: { webhook: { url: "http://${HOOK}/x", secret: s3cret } } }\n')
    )

    assert "variables" not in every
    assert (every["sink hook"][0].state, every["sink hook"][0].words) == (
        "ok",
        f"127.0.0.1:{listening} accepts connections",
    )


def test_a_variable_of_mail_or_of_a_notice_that_is_not_set_is_told_by_check_and_doctor(tmp_path, capsys):
    project = bank(tmp_path / "bank", 'mail: { smtp: "smtp://${SMTP_HOST}:25" }\n')
    notice = "on: flag\nchannel: webhook\nurl: https://chat.example/x\nsecret: ${CHAT_SECRET}\n"
    (tmp_path / "bank/notices").mkdir()
    (tmp_path / "bank/notices/chat.yaml").write_text(notice, encoding="utf-8")
    project = app.open(tmp_path / "bank")
    words = " ".join(finding.words for finding in found(project)["variables"])
    run(["-C", str(tmp_path / "bank"), "check"])
    printed = capsys.readouterr().out

    for variable in ("SMTP_HOST", "CHAT_SECRET"):
        assert variable in words
        assert f"the variable {variable} of the environment is not set" in printed


def test_a_notice_on_flags_that_no_rule_names_is_told_by_check_and_doctor(tmp_path, capsys):
    bank(tmp_path / "bank", "")
    (tmp_path / "bank/notices").mkdir()
    (tmp_path / "bank/notices/lonely.yaml").write_text("on: flag\nto: a@bank.example\n", encoding="utf-8")
    (finding,) = found(app.open(tmp_path / "bank"))["notices"]
    status = run(["-C", str(tmp_path / "bank"), "check"])

    assert finding.state == "wrong"
    assert "no rule names this notice, so it is never sent" in finding.words
    assert "Write 'notify: lonely' in a rule" in capsys.readouterr().out
    assert status == 0


# ---- systems


@pytest.mark.slow
def test_each_system_that_is_away_is_told_with_what_to_do_and_without_a_credential(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor_systems, "LIMIT_S", 600.0)  # each refuses at once, however busy this machine is
    monkeypatch.setenv("PASSWORD", SECRET)
    settings = """
source: { redis: { url: "redis://shroff:${PASSWORD}@127.0.0.1:9/0", streams: { payment: p }, format: avro,
                   registry: "http://shroff:${PASSWORD}@127.0.0.1:9" } }
online: "redis://shroff:${PASSWORD}@127.0.0.1:9/1"
sinks:
  hook: { webhook: { url: "http://127.0.0.1:9/x", secret: "${PASSWORD}" } }
  copy: { mongodb: { url: "mongodb://shroff:${PASSWORD}@127.0.0.1:9/", database: bank, collection: decided } }
  table: { sql: { url: "postgresql://shroff:${PASSWORD}@127.0.0.1:9/bank", table: decisions } }
"""
    project = bank(tmp_path / "bank", settings)
    every = found(project)
    run(["-C", str(tmp_path / "bank"), "doctor"])
    printed = "".join(capsys.readouterr())

    for subject in ("source", "registry", "online", "sink hook", "sink copy", "sink table"):
        (finding,) = every[subject]
        assert (finding.state, bool(finding.cure)) == ("wrong", True), finding
        assert "127.0.0.1:9" in finding.words
    assert SECRET not in printed
    assert SECRET not in repr(every)


def test_whoever_does_not_answer_is_away_after_the_limit_and_holds_up_nobody():
    began_s = time.monotonic()
    answers = asked([Try("slow", lambda: time.sleep(600)), Try("other", lambda: Finding("other", OK, "answers"))], 2.0)

    assert time.monotonic() - began_s < 120
    assert [(answer.subject, answer.state) for answer in answers] == [("slow", "wrong"), ("other", "ok")]
    assert answers[0].words == "it did not answer within 2 s"
    with pytest.raises(TransientError, match=r"the store did not answer within 0\.1 s"):
        within(0.1, lambda: time.sleep(600), "the store")


def test_a_store_that_does_not_answer_is_a_finding_after_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_systems, "LIMIT_S", 0.2)
    monkeypatch.setattr(ProjectLog, "exists", lambda _: time.sleep(600))
    (log,) = found(bank(tmp_path / "bank", ""))["log"]

    assert (log.state, log.words) == ("wrong", "the store did not answer within 0.2 s")


@pytest.mark.parametrize("error", [UsageError("no"), StateError("no"), TransientError("no"), OSError(5, "no")])
def test_what_is_raised_is_a_finding_with_a_cure(error):
    def fail() -> Finding:
        raise error

    (finding,) = asked([Try("source", fail)], 600.0)

    assert (finding.state, "no" in finding.words, bool(finding.cure)) == ("wrong", True, True)


# ---- the source


def test_a_source_that_answers_says_how_much_waits_by_what_the_log_has(tmp_path, monkeypatch):
    feed = MemoryTopic({"p/0": [b"{}"] * 5, "p/1": [b"{}"]}, "payment")
    monkeypatch.setattr(AdapterFactory, "open_source", lambda *_: MemorySource(feed, name="kafka"))
    project = bank(tmp_path / "bank", "source: kafka://127.0.0.1:9/p\n")
    (before,) = found(project)["source"]
    project.decide([], as_type="payment")
    with closing(SqliteLog(project.context.paths.log)) as log:
        log.append(Batch(offsets=[Offset("kafka", "p/0", "3"), Offset("kafka", "p/1", "9")]))
    (behind,) = found(project)["source"]

    assert (before.state, before.words) == ("ok", "kafka answers: 2 parts, 6 messages to read")
    assert behind.state == "wrong"
    assert "p/1 is not the one that was read up to 9" in behind.words
    assert "shroff sources forget PART" in behind.cure


def test_parts_for_which_nobody_answers_are_a_note():
    finding = source_finding("kafka", [PartLag("p/0", 3), PartLag("p/1", None)])

    assert (finding.state, finding.words) == ("note", "kafka: no answer from p/1")


def test_a_source_that_counts_nothing_answers_all_the_same():
    finding = source_finding("pubsub_pull", [PartLag("payments", None, is_counted=False)])

    assert (finding.state, finding.words) == (
        "ok",
        "pubsub_pull answers: 1 part; the number of waiting messages is unknown",
    )


def test_a_lake_that_nobody_wrote_yet_is_a_note_and_one_that_cannot_be_had_is_wrong(tmp_path):
    new = found(bank(tmp_path / "new", "lake: lake\n"))["lake"]
    settings = 'lake: { to: "s3://bucket/p", endpoint: "http://127.0.0.1:9", region: eu }\n'
    away = found(bank(tmp_path / "s3", settings))["lake"]

    assert [item.state for item in new] == ["note"]
    assert [item.state for item in away] == ["wrong"]


@pytest.mark.slow
def test_a_lake_that_has_not_had_the_log_for_a_day_is_wrong_and_says_what_writes_it(tmp_path):
    folder = tmp_path / "bank"
    bank(folder, "lake: lake\n")
    (folder / "one.jsonl").write_text(PAYMENT)
    for words in (["ingest", str(folder / "one.jsonl"), "--as", "payment"], ["lake", "write"]):
        assert run(["-C", str(folder), *words]) == 0
    (written,) = found(app.open(folder))["lake"]
    (folder / "two.jsonl").write_text(PAYMENT.replace("p-1", "p-2"))
    assert run(["-C", str(folder), "ingest", str(folder / "two.jsonl"), "--as", "payment"]) == 0
    project = app.open(folder)
    then_ms = project.context.now_ms() + 2 * DAY_MS
    project.context.now_ms = lambda: then_ms
    (late,) = found(project)["lake"]

    assert (written.state, "has the log up to sequence number" in written.words) == ("ok", True)
    assert late.state == "wrong"
    assert re.search(r"; 1 records? (is|are) not in it, the oldest for (2d|48h)", late.words)
    assert "'shroff lake write' once" in late.cure


@pytest.mark.slow
def test_a_mail_server_that_is_away_is_wrong_and_one_that_answers_is_named(tmp_path, monkeypatch, mail):
    monkeypatch.setattr(doctor_systems, "LIMIT_S", 600.0)
    (tmp_path / "bank/notices").mkdir(parents=True)
    (tmp_path / "bank/notices/team.yaml").write_text("on: decision\nto: [team@bank.example]\n")
    port = urlsplit(mail.address).port
    states = []
    for to in (f"smtp://127.0.0.1:{port}", "smtp://u:${PASSWORD}@127.0.0.1:9"):
        monkeypatch.setenv("PASSWORD", SECRET)
        (finding,) = found(bank(tmp_path / "bank", f"mail: {{ smtp: '{to}', security: plain }}\n"))["mail server"]
        states.append(finding)

    assert (states[0].state, f"127.0.0.1:{port} answers" in states[0].words) == ("ok", True)
    assert (states[1].state, "127.0.0.1:9" in states[1].words, bool(states[1].cure)) == ("wrong", True, True)
    assert SECRET not in repr(states)


# ---- the disk


@pytest.mark.parametrize(
    ("free", "state", "words"),
    [
        ({"f_bavail": 2**20, "f_files": 10, "f_favail": 5}, "ok", "can be written; 4.0 GiB free"),
        ({"f_bavail": 2**20, "f_files": 0, "f_favail": 0}, "ok", "can be written; 4.0 GiB free"),  # of btrfs
        ({"f_bavail": 2**20, "f_files": 10, "f_favail": 0}, "wrong", "4.0 GiB free on its disk, but no inode"),
        ({"f_bavail": 1, "f_files": 10, "f_favail": 5}, "wrong", "4.0 KiB free on its disk"),
    ],
)
def test_a_disk_without_room_or_without_inodes_is_wrong(tmp_path, monkeypatch, free, state, words):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_frsize=4096, **free))
    finding = look_at_folder("state", tmp_path)

    assert (finding.state, finding.words.partition(str(tmp_path))[2].strip(": ")) == (state, words)


# ---- connections


def test_a_server_is_reached_by_any_of_its_hosts_and_shown_without_a_password(listening):
    url = f"mongodb://u:{SECRET}@127.0.0.1:9,127.0.0.1:{listening}/?replicaSet=x"

    assert reached(url, 2.0, {}) == f"127.0.0.1:{listening}"


@pytest.mark.parametrize("url", [f"mongodb://u:{SECRET}@127.0.0.1:9/", f"http://u:{SECRET}@127.0.0.1:9/{SECRET}"])
def test_nobody_there_is_told_by_host_and_port(url):
    with pytest.raises(TransientError, match=r"^127\.0\.0\.1:9 does not take connections: connection refused$"):
        reached(url, 2.0, {})


@pytest.mark.parametrize("url", ["unknown://h", f"http://:{SECRET}", f"http://u:{SECRET}@h:x/", "redis://"])
def test_what_is_no_address_of_a_server_is_told_without_it(url):
    with pytest.raises(UsageError, match="no host and port") as refused:
        reached(url, 2.0, {})

    assert SECRET not in str(refused.value)


def test_all_that_keeps_the_messages_of_a_source_away_is_told():
    troubles = [("topic", "a waits", 1), ("topic", "b was unsubscribed", 2)]
    found = [(text.subject, text.state, text.words) for text in look_at_pushed(["topic", "partner"], troubles)]

    assert found == [
        ("source topic", "wrong", "a waits; b was unsubscribed"),
        ("source partner", "ok", "it is called at /hooks/partner; messages can arrive"),
    ]
