"""The function that starts training on AWS, on moto's server: once for each object, in whatever order events come."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import obstore
import pytest
from botocore.exceptions import ClientError

from tests.deploy import checks
from tests.deploy.terraform_aws import script
from tests.support.forks import SHROFF
from tests.support.learnable import FILES, make_project, write_days

NUMBERS = itertools.count()
KEYS = ["incoming/a.csv", "incoming/2026 07/week 1.csv", "incoming/100%25 sure+.csv", "incoming/ünï=%&?#.jsonl"]


class Account:
    """Buckets of one test on moto's server, and ECS as the function calls it, which says which tasks were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        self.name = f"trigger{next(NUMBERS)}-{time.time_ns()}"
        env = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        env |= {f"{kind.upper()}_BUCKET": f"{self.name}-{kind}" for kind in ("raw", "processed", "archive")}
        env |= {"AWS_DEFAULT_REGION": "us-east-1", "INCOMING": "incoming/", "CLUSTER": self.name, "TASK": self.name}
        env |= {"SUBNETS": "subnet-1,subnet-2", "SECURITY_GROUP": "sg-1"}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        self.env, self.s3 = env, boto3.client("s3")
        for kind in ("raw", "processed", "archive"):
            self.s3.create_bucket(Bucket=self.bucket(kind))
        self.s3.put_bucket_versioning(Bucket=self.bucket("raw"), VersioningConfiguration={"Status": "Enabled"})
        monkeypatch.setenv("ALARMS", boto3.client("sns").create_topic(Name=self.name)["TopicArn"])
        self.function: Any = script(checks.DEPLOY, "trigger/handler.py")
        self.started: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []
        self.fails = 0
        real = self.function._client
        monkeypatch.setattr(self.function, "_client", lambda name: self if name in {"ecs", "sns"} else real(name))

    def bucket(self, kind: str) -> str:
        return f"{self.name}-{kind}"

    def run_task(self, **asked: Any) -> dict[str, Any]:
        if self.fails:
            self.fails -= 1
            return {"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}
        self.started.append(asked)
        return {"tasks": [{"taskArn": f"arn:task/{len(self.started)}"}], "failures": []}

    def publish(self, **message: Any) -> None:
        self.said.append(message)

    def put(self, key: str, body: bytes = b"a,b\n1,2\n") -> dict[str, Any]:
        """Put an object; gives the event that S3 sends of it."""
        made = self.s3.put_object(Bucket=self.bucket("raw"), Key=key, Body=body)
        found = {"key": key, "size": len(body), "etag": made["ETag"].strip('"'), "version-id": made["VersionId"]}
        return {"detail-type": "Object Created", "detail": {"bucket": {"name": self.bucket("raw")}, "object": found}}

    def end(self, number: int, status: int | None) -> dict[str, Any]:
        """The event that ECS sends when a task has ended."""
        container = {"name": "shroff"} | ({} if status is None else {"exitCode": status})
        detail = {"startedBy": self.started[number]["startedBy"], "lastStatus": "STOPPED", "containers": [container]}
        return {"detail-type": "ECS Task State Change", "detail": detail | {"taskArn": "arn:task/1"}}

    def call(self, event: dict[str, Any]) -> str:
        return str(self.function.handler(event)["state"])

    def there(self, kind: str) -> dict[str, bytes]:
        found = self.s3.list_objects_v2(Bucket=self.bucket(kind)).get("Contents", ())
        return {
            item["Key"]: self.s3.get_object(Bucket=self.bucket(kind), Key=item["Key"])["Body"].read() for item in found
        }

    @property
    def trained(self) -> list[str]:
        return [row["overrides"]["containerOverrides"][0]["environment"][0]["value"] for row in self.started]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, s3: Any) -> Account:
    return Account(monkeypatch, s3.address)


@pytest.mark.slow
def test_each_object_starts_one_training_whatever_its_key_and_goes_to_the_archive(account):
    events = [account.put(key) for key in KEYS]

    assert [account.call(event) for event in [*events, *reversed(events)]] == ["started"] * 4 + ["duplicate"] * 4
    assert account.trained == KEYS
    assert len({row["clientToken"] for row in account.started}) == len(KEYS)

    ends = [account.end(number, number % 2) for number in range(len(KEYS))]  # 1: trained, not promoted

    assert [account.call(end) for end in [*reversed(ends), *ends]] == ["archived"] * 4 + ["duplicate"] * 4
    assert account.there("raw") == {}
    assert sorted(account.there("archive")) == sorted(KEYS)
    assert [account.call(event) for event in events] == ["superseded"] * 4
    assert account.trained == KEYS


@pytest.mark.slow
def test_events_in_another_order_train_on_the_newest_version_only(account):
    first = account.put("incoming/a.csv", b"1\n")
    second = account.put("incoming/a.csv", b"2\n")

    assert [account.call(item) for item in (second, first, second)] == ["started", "superseded", "duplicate"]

    third = account.put("incoming/a.csv", b"3\n")  # while the second one trains

    assert account.call(account.end(0, 0)) == "archived"
    assert account.there("archive") == {"incoming/a.csv": b"2\n"}
    assert account.there("raw") == {"incoming/a.csv": b"3\n"}
    assert account.call(third) == "started"


@pytest.mark.slow
def test_an_object_that_is_replaced_while_it_goes_to_the_archive_stays(account, monkeypatch):
    account.call(account.put("incoming/a.csv", b"1\n"))
    client = account.function._client("s3")
    real = client.copy

    def copy(*given: Any) -> None:
        real(*given)
        account.put("incoming/a.csv", b"2\n")

    monkeypatch.setattr(client, "copy", copy)

    assert account.call(account.end(0, 0)) == "archived"
    assert account.there("raw") == {"incoming/a.csv": b"2\n"}


@pytest.mark.slow
def test_what_is_no_new_data_starts_nothing(account):
    other = account.put("incoming/a.csv")
    other["detail"]["bucket"]["name"] = account.bucket("archive")
    events = [account.put(key) for key in ("incoming/", "incoming/a.csv.done", "incoming/x/_SUCCESS", "claims/1.json")]

    assert [account.call(event) for event in [other, *events]] == ["ignored"] * 5
    assert (
        account.call(
            {"detail-type": "ECS Task State Change", "detail": {"lastStatus": "STOPPED", "startedBy": "ecs-svc/1"}}
        )
        == "ignored"
    )
    assert account.started == []
    with pytest.raises(ValueError, match="Object Deleted"):
        account.call({"detail-type": "Object Deleted", "detail": {}})


@pytest.mark.slow
def test_a_training_that_fails_leaves_its_object_and_tells_people(account):
    for number, status in enumerate((4, None)):
        account.call(account.put(f"incoming/{number}.csv"))

        assert account.call(account.end(number, status)) == "failed"
    assert account.there("archive") == {}
    assert sorted(account.there("raw")) == ["incoming/0.csv", "incoming/1.csv"]
    assert ["exit status 4" in line["Message"] for line in account.said] == [True, False]


@pytest.mark.slow
def test_whatever_promotes_no_model_is_told_and_only_a_model_lets_the_object_go(account):
    for number, status in enumerate((0, 1, 5)):
        account.call(account.put(f"incoming/{number}.csv"))
        account.call(account.end(number, status))

    assert sorted(account.there("archive")) == ["incoming/0.csv", "incoming/1.csv"]
    assert sorted(account.there("raw")) == ["incoming/2.csv"]
    assert [
        (line["Subject"], line["Message"].partition("\n")[0].partition("ended with ")[2]) for line in account.said
    ] == [
        (
            "Training: no model was promoted",
            "exit status 1: its model failed a gate and is not active. The object was archived.",
        ),
        ("Training failed", f"exit status 5: {account.function.WHY[5]}."),
    ]


@pytest.mark.slow
def test_a_call_that_ends_in_the_middle_is_made_good_by_the_next(account, monkeypatch):
    event = account.put("incoming/a.csv")
    account.fails = 1
    with pytest.raises(RuntimeError, match="RESOURCE:MEMORY"):
        account.call(event)

    assert account.there("processed") == {}  # the next try may start it

    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(account.function, "_start", killed)
        with pytest.raises(KeyboardInterrupt):
            account.call(event)
    with pytest.raises(account.function.BusyError):  # another call may be at it
        account.call(event)
    monkeypatch.setattr(account.function.time, "time", lambda: time.monotonic() + 1e10)

    assert account.call(event) == "started"
    assert account.trained == ["incoming/a.csv"]
    (claim,) = (json.load(io.BytesIO(item)) for item in account.there("processed").values())
    assert account.started[0]["clientToken"] == account.started[0]["startedBy"].removeprefix("shroff/")
    assert (claim["state"], claim["task"]) == ("started", "arn:task/1")


@pytest.mark.slow
def test_without_rights_nothing_is_taken_for_missing(account, monkeypatch):
    event = account.put("incoming/a.csv")

    def refused(**_: object) -> None:
        raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject")

    monkeypatch.setattr(account.function._client("s3"), "head_object", refused)
    with pytest.raises(ClientError, match="Forbidden"):
        account.call(event)

    assert account.started == []


# --- the task that is started


def trained(monkeypatch: pytest.MonkeyPatch, s3: Any, folder: Path, shroff: str) -> tuple[int, Account]:
    """Run train.sh in a folder, on a bucket of moto's server, with a program of our own in the place of shroff."""
    account = Account(monkeypatch, s3.address)
    account.s3.create_bucket(Bucket=account.bucket("models"))
    (folder / "bin").mkdir()
    (folder / "bin/shroff").write_text(shroff)
    (folder / "bin/shroff").chmod(0o755)
    (folder / "bin/python3").symlink_to(sys.executable)
    env = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "MODELS_BUCKET": account.bucket("models"), "WAIT_S": "0"}
    env |= {
        "AWS_ALLOW_HTTP": "true",
        "SHROFF": "shroff",
        "TRIES": "3",
        "PYTHONPATH": str(Path(obstore.__file__).parents[1]),
    }
    return run(folder, account.env | env), account


def run(folder: Path, env: dict[str, str]) -> int:
    script = checks.DEPLOY / "terraform/aws/module/train.sh"
    done = subprocess.run([script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statuses", "status", "copied"),
    [((3, 3, 0), 0, True), ((1,), 1, True), ((4,), 4, False), ((5,), 5, False), ((3, 3, 3), 3, False)],
)
def test_training_waits_for_another_one_and_copies_models_when_it_ends_well(
    monkeypatch, tmp_path, s3, statuses, status, copied
):
    (tmp_path / "models/m-1").mkdir(parents=True)
    (tmp_path / "models/m-1/model.json").write_text("{}")
    (tmp_path / "models/in_force.json").write_text('["m-1"]')
    for number, ended in enumerate(statuses):
        (tmp_path / f"status{number}").write_text(str(ended))
    stub = (
        '#!/bin/sh\necho "$@" >> asked; n=$(($(wc -l < asked) - 1)); read -r status < status$n || :; exit "$status"\n'
    )
    found, account = trained(monkeypatch, s3, tmp_path, stub)
    asked = (tmp_path / "asked").read_text().splitlines()

    assert found == status
    assert asked == [f"train --watch s3://{account.bucket('raw')}/incoming --once --promote --by trigger"] * len(
        statuses
    )
    assert sorted(account.there("models")) == (["models/in_force.json", "models/m-1/model.json"] if copied else [])


@pytest.mark.slow
def test_training_asks_about_its_own_object_and_reads_labels_inside_where_that_is_set(monkeypatch, tmp_path, s3):
    account = Account(monkeypatch, s3.address)
    (tmp_path / "shroff").write_text('#!/bin/sh\nprintf "%s|" "$@" >> asked; exit 5\n')
    (tmp_path / "shroff").chmod(0o755)
    env = account.env | {"PATH": "/usr/bin:/bin", "SHROFF": str(tmp_path / "shroff"), "LABELS_INSIDE": "true"}
    env |= {"OBJECT_KEY": "incoming/2026 07/week 1.csv"}

    assert run(tmp_path, env) == 5
    asked = (tmp_path / "asked").read_text().rstrip("|").split("|")
    assert asked[5:] == ["--by", "trigger", "--labels-inside", "--file", "2026 07/week 1.csv"]


@pytest.mark.slow
def test_the_status_of_a_task_is_that_of_its_own_object_whichever_task_ingested_it(monkeypatch, tmp_path, s3):
    quick = FILES["model.yaml"].replace("train: 8d", "train: 3d").replace("test: 2d, folds: 2", "test: 1d, folds: 1")
    bank = make_project(tmp_path / "bank", model=quick)
    (bank / "bin").mkdir()
    (bank / "bin/shroff").write_text(f'#!/bin/sh\nexec {SHROFF} "$@"\n')
    (bank / "bin/shroff").chmod(0o755)
    (bank / "bin/python3").symlink_to(sys.executable)
    account = Account(monkeypatch, s3.address)
    account.s3.create_bucket(Bucket=account.bucket("models"))
    env = {**os.environ, **account.env, "PATH": f"{bank / 'bin'}:/usr/bin:/bin", "AWS_ALLOW_HTTP": "true"}
    env |= {"MODELS_BUCKET": account.bucket("models"), "SHROFF": "shroff", "WAIT_S": "0", "TRIES": "1"}
    env |= {"PYTHONPATH": f"{Path(obstore.__file__).parents[1]}:{os.environ.get('PYTHONPATH', '')}"}
    account.put("incoming/2026 03/week 1+é.jsonl", write_days(tmp_path / "days.jsonl", range(7)).read_bytes())
    account.put("incoming/2026 03/week 2.csv", b"")

    assert run(bank, env | {"OBJECT_KEY": "incoming/2026 03/week 1+é.jsonl"}) == 0
    assert any(text.startswith("models/m-") for text in account.there("models"))
    assert run(bank, env | {"OBJECT_KEY": "incoming/2026 03/week 2.csv"}) == 4, "the first task set it aside"
    assert run(bank, env | {"OBJECT_KEY": "incoming/table.xlsx"}) == 4, "no task ever reads it"


@pytest.mark.long
def test_objects_of_any_name_train_a_model_that_is_copied(monkeypatch, tmp_path, s3):
    shop, made = tmp_path / "shop", tmp_path / "made"
    for words in (
        ["init", shop, "--template", "orders"],
        [*"generate orders --batches 10 --size 700 --out".split(), made],
    ):
        subprocess.run([SHROFF, *map(str, words)], check=True, capture_output=True)
    (shop / "bin").mkdir()
    account = Account(monkeypatch, s3.address)
    account.s3.create_bucket(Bucket=account.bucket("models"))
    files = sorted(made.rglob("*.parquet"), key=lambda path: path.name)
    for number, path in enumerate(files):
        account.put(f"incoming/100% {number:02} +é-{path.stem}.parquet", path.read_bytes())
    (shop / "bin/shroff").write_text(f'#!/bin/sh\nexec {SHROFF} "$@"\n')
    (shop / "bin/shroff").chmod(0o755)
    (shop / "bin/python3").symlink_to(sys.executable)
    env = {**os.environ, **account.env, "PATH": f"{shop / 'bin'}:/usr/bin:/bin", "AWS_ALLOW_HTTP": "true"}
    env |= {"MODELS_BUCKET": account.bucket("models"), "SHROFF": "shroff", "WAIT_S": "0", "TRIES": "1"}
    env |= {"PYTHONPATH": f"{Path(obstore.__file__).parents[1]}:{os.environ.get('PYTHONPATH', '')}"}
    first = run(shop, env)
    models = account.there("models")
    second = run(shop, env)

    assert first in {0, 1}
    assert sorted(models) == sorted(
        str(letter.relative_to(shop)) for letter in (shop / "models").rglob("*") if letter.is_file()
    )
    assert any(model.startswith("models/m-") for model in models)
    assert (second, account.there("models")) == (0, models)  # nothing is taken twice
