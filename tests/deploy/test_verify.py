"""The scripts of deploy/aws/verify, on moto's server: an account as Terraform's files describe it, and with faults."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from tests.deploy import checks, hcl, terraform
from tests.deploy import terraform_aws as aws
from tests.support.served import served

SCRIPTS = (
    "account",
    "wildcards",
    "verify_iam_roles",
    "verify_trigger",
    "verify_training_job",
    "verify_api",
    "verify_all",
)
STATUSES = {"/health/live": 200, "/health/ready": 200, "/metrics": 401, "/hooks/payments": 403}
GAPS = [  # moto's own: it forgets settings of a bucket and of a service, and starts no task of a service
    f"  WRONG  shroff-staging-{aws.ACCOUNT}-raw sends its events to EventBridge",
    "  WRONG  0 of 1 tasks run",
    "  WRONG  a new task starts after the old one has ended: (None, None)",
]

NOTHING = [{"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}]


def bucket(kind: str) -> str:
    return f"{aws.NAME}-{aws.ACCOUNT}-{kind}"


def filled(value: Any) -> Any:
    """A value of Terraform's with the names that AWS would see."""
    if isinstance(value, dict):
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    text = re.sub(r'\$\{aws_s3_bucket\.bucket\["(\w+)"\]\.bucket\}', lambda match: bucket(match[1]), str(value))
    return aws.arn(text)


def apply(main: hcl.Module) -> None:
    """Make what the scripts look at, as the files of Terraform describe it."""
    roles(main)
    s3, ecs, events = (boto3.client(item) for item in ("s3", "ecs", "events"))
    for kind in main.locals["buckets"]:
        s3.create_bucket(Bucket=bucket(kind))
        s3.put_bucket_versioning(Bucket=bucket(kind), VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket=bucket("raw"), NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    boto3.client("sqs").create_queue(QueueName=f"{aws.NAME}-lost")
    given = main.one("aws_lambda_function.trigger")["environment"][0]["variables"]
    function = boto3.client("lambda").create_function(
        FunctionName=f"{aws.NAME}-trigger",
        Runtime="python3.13",
        Role=f"arn:aws:iam::{aws.ACCOUNT}:role/{aws.NAME}-trigger",
        Handler="handler.handler",
        Code={"ZipFile": b"not run here"},
        Environment={"Variables": {name: filled(value) for name, value in given.items()}},
    )
    for kind, pattern in main.locals["events"].items():
        events.put_rule(Name=f"{aws.NAME}-{kind}", EventPattern=json.dumps(filled(pattern)))
        events.put_targets(Rule=f"{aws.NAME}-{kind}", Targets=[{"Id": "1", "Arn": function["FunctionArn"]}])
    ecs.create_cluster(clusterName=aws.NAME)
    text = (checks.DEPLOY / aws.MODULE / "train.sh").read_text(encoding="utf-8")
    train, of_training = main.locals["parts"]["train"], main.locals["of_training"]
    container = {
        "name": "shroff",
        "image": "registry.example/mybank:1",
        "memory": 512,
        "command": [text],
        "environment": [{"name": name, "value": filled(value)} for name, value in of_training.items()],
        "secrets": [{"name": name, "valueFrom": f"arn:{name}"} for name in train["secrets"]],
    }
    ecs.register_task_definition(
        family=f"{aws.NAME}-train",
        taskRoleArn=f"arn:aws:iam::{aws.ACCOUNT}:role/{aws.NAME}-train",
        containerDefinitions=[container],
    )
    service = main.one("aws_ecs_service.service")
    ecs.create_service(
        cluster=aws.NAME,
        serviceName="service",
        taskDefinition=f"{aws.NAME}-train",
        desiredCount=1,
        deploymentConfiguration={
            "minimumHealthyPercent": service["deployment_minimum_healthy_percent"],
            "maximumPercent": service["deployment_maximum_percent"],
        },
    )


def roles(main: hcl.Module) -> None:
    iam = boto3.client("iam")
    tasks = re.findall(r'=> "([\w.-]+)"', main.locals["principals"])[0]
    principals = dict.fromkeys(main.locals["parts"], tasks) | dict(
        re.findall(r'([\w-]+) = "([\w.-]+)"', main.locals["principals"])
    )
    for part, principal in principals.items():
        name = re.findall(r"aws_iam_policy_document\.(\w+)", main.locals["policies"][part])[0]
        role(iam, part, principal, aws.policy(main, name, part))
    for part in main.locals["parts"]:
        role(iam, f"start-{part}", tasks, aws.policy(main, "start", part))


def role(iam: Any, part: str, principal: str, statements: list[dict[str, Any]]) -> None:
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": principal}}
    iam.create_role(RoleName=f"{aws.NAME}-{part}", AssumeRolePolicyDocument=json.dumps(policy([trust])))
    iam.put_role_policy(RoleName=f"{aws.NAME}-{part}", PolicyName="p", PolicyDocument=json.dumps(policy(statements)))


def policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


class Answers(BaseHTTPRequestHandler):
    """A service that answers as shroff does to strangers."""

    def do_GET(self) -> None:
        self.send_response(STATUSES.get(self.path, 401))
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the base class names it

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, s3: Any) -> Iterator[ModuleType]:
    """The scripts; their account is moto's server."""
    env = {"AWS_ENDPOINT_URL": s3.address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in (env | {"AWS_DEFAULT_REGION": aws.REGION}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(checks.DEPLOY / "aws/verify")
    yield importlib.import_module("verify_all")
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def faults() -> list[tuple[str, Callable[[], object]]]:
    """What a script must say, and what changes the account so; in order, on the account as it is by then."""
    iam, s3, ecs, sqs = (boto3.client(text) for text in ("iam", "s3", "ecs", "sqs"))
    wide = json.dumps(policy([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]))
    trust = json.dumps(policy([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]))
    claim = json.dumps({"state": "failed"})
    odd = policy([{"Effect": "Allow", "Action": "s3:Get?bject", "Resource": "arn:aws:s3:::b?/*"}])
    rule = json.dumps({"source": ["aws.s3"], "detail": {}})
    return [
        (
            "too wide: the action s3:*, the resource *",
            lambda: iam.put_role_policy(RoleName=f"{aws.NAME}-train", PolicyName="q", PolicyDocument=wide),
        ),
        (
            f"{aws.NAME}-files: trusted by AWS",
            lambda: iam.update_assume_role_policy(RoleName=f"{aws.NAME}-files", PolicyDocument=trust),
        ),
        ("no other roles: shroff-staging-admin", lambda: role(iam, "admin", "ec2.amazonaws.com", NOTHING)),
        (
            "keeps versions",
            lambda: s3.put_bucket_versioning(Bucket=bucket("raw"), VersioningConfiguration={"Status": "Suspended"}),
        ),
        ("ended calls nothing", lambda: boto3.client("events").remove_targets(Rule=f"{aws.NAME}-ended", Ids=["1"])),
        ("takes keys None", lambda: boto3.client("events").put_rule(Name=f"{aws.NAME}-object", EventPattern=rule)),
        ("object is DISABLED", lambda: boto3.client("events").disable_rule(Name=f"{aws.NAME}-object")),
        (
            "lost events: 1",
            lambda: sqs.send_message(
                QueueUrl=sqs.get_queue_url(QueueName=f"{aws.NAME}-lost")["QueueUrl"], MessageBody="{}"
            ),
        ),
        ("failed 1", lambda: s3.put_object(Bucket=bucket("processed"), Key="claims/1.json", Body=claim)),
        (
            "too wide: the action s3:Get?bject",
            lambda: iam.put_role_policy(RoleName=f"{aws.NAME}-service", PolicyName="q", PolicyDocument=json.dumps(odd)),
        ),
        (
            "image registry.example/mybank:latest",
            lambda: ecs.register_task_definition(
                family=f"{aws.NAME}-train",
                taskRoleArn="arn:x/y",
                containerDefinitions=[{"name": "shroff", "image": "registry.example/mybank:latest", "memory": 1}],
            ),
        ),
        ("the service wants 2 tasks", lambda: ecs.update_service(cluster=aws.NAME, service="service", desiredCount=2)),
        ("GET /health/ready: 503", lambda: STATUSES.update({"/health/ready": 503})),
        ("GET /api/v1/jobs without a key: 200", lambda: STATUSES.update({"/api/v1/jobs": 200})),
    ]


@pytest.mark.slow
def test_the_scripts_find_nothing_in_the_account_of_the_files_and_each_fault_in_another_one(
    verify, url, monkeypatch, capsys
):
    apply(terraform.module(checks.DEPLOY, "aws"))
    arguments = ["verify_all.py", "--environment", "staging", "--url", url]

    def asked() -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", arguments)
        checked = (verify.verify_iam_roles, verify.verify_training_job, verify.verify_trigger, verify.verify_api)
        status = verify.main(*(item.check for item in checked))
        return status, [line for line in capsys.readouterr().out.splitlines() if "WRONG" in line]

    status, found = asked()

    assert status == 1
    assert found == GAPS
    monkeypatch.setattr(sys.modules[__name__], "STATUSES", dict(STATUSES))
    planted = faults()
    for _, change in planted:
        change()
    status, found = asked()
    lost = [words for words, _ in planted if not any(words in line for line in found)]

    assert status == 1
    assert not lost, found


class Empty:
    """An account without the service; and the one question that is asked of it."""

    name, url = aws.NAME, ""

    def client(self, _service: str) -> Empty:
        return self

    def describe_services(self, **_: Any) -> dict[str, list[Any]]:
        return {"services": []}


@pytest.mark.slow
def test_an_account_without_the_service_is_told_of(verify):
    assert [*verify.verify_api.check(Empty())] == [
        (False, f"the cluster {aws.NAME} has no service"),
        (False, "the service was not asked: add --url https://YOUR-HOST"),
    ]


@pytest.mark.slow
def test_what_is_missing_is_named_and_the_last_line_says_what_restores_it(verify, capsys):
    account = sys.modules["account"]

    assert account.report(account.Account("production"), verify.verify_trigger.check) == 1
    found = capsys.readouterr().out.splitlines()
    assert found[1].endswith(f"The specified bucket does not exist: shroff-production-{aws.ACCOUNT}-raw")
    assert found[2] == "1 checks, 1 wrong."
    assert found[3].startswith("'terraform plan' in deploy/terraform/aws/production shows what differs")
    assert len(found) == 4


@pytest.mark.parametrize(
    "code, is_advised",
    [
        ("NoSuchEntity", True),
        ("ResourceNotFoundException", True),
        ("AWS.SimpleQueueService.NonExistentQueue", True),
        ("ClientException", True),  # what ECS answers for a task definition that it lacks
        ("AccessDenied", False),
        ("ExpiredToken", False),
    ],
)
def test_terraform_is_advised_for_what_the_account_lacks_and_for_no_other_refusal(verify, capsys, code, is_advised):
    account = sys.modules["account"]

    def check(_: Any) -> Iterator[Any]:
        yield True, "the roles are there"
        raise ClientError({"Error": {"Code": code, "Message": "refused"}}, "GetRole")

    assert account.report(account.Account("staging"), check) == 1
    found = capsys.readouterr().out
    assert "2 checks, 1 wrong." in found
    assert ("terraform apply" in found) == is_advised


class Serving:
    """An account as the files describe it; its service does not answer, and its training fails."""

    name, url, runs, environment = aws.NAME, "http://127.0.0.1:1", True, "staging"

    def client(self, _service: str) -> Serving:
        return self

    def bucket(self, kind: str) -> str:
        return kind

    def describe_services(self, **_: Any) -> dict[str, list[Any]]:
        rolling = {"minimumHealthyPercent": 0, "maximumPercent": 100}
        return {"services": [{"desiredCount": 1, "runningCount": 0, "deploymentConfiguration": rolling}]}

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        container = {
            "image": "mybank:1",
            "command": ['shroff train --watch "s3://$RAW_BUCKET/incoming" --once'],
            "environment": [{"name": f"{kind.upper()}_BUCKET", "value": kind} for kind in ("raw", "models")],
            "secrets": [{"name": "SHROFF_DB_PASSWORD"}],
        }
        return {"taskDefinition": {"containerDefinitions": [container], "taskRoleArn": f"arn:role/{aws.NAME}-train"}}

    def get_paginator(self, _name: str) -> Serving:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return []


def test_terraform_is_not_advised_for_what_it_does_not_restore(verify, monkeypatch, capsys):
    def check(_: Any) -> Iterator[Any]:
        raise NoCredentialsError
        yield

    monkeypatch.setattr(verify.verify_training_job, "run", lambda _: (False, "the training ended with 2"))
    checked = (check, verify.verify_training_job.check, verify.verify_api.check)

    assert sys.modules["account"].report(Serving(), *checked) == 1
    found = capsys.readouterr().out
    wrong = [line.removeprefix("  WRONG  ") for line in found.splitlines() if "WRONG" in line]
    assert wrong[:3] == ["Unable to locate credentials", "the training ended with 2", "0 of 1 tasks run"]
    assert wrong[3].startswith("GET /health/live: ConnectionRefusedError")
    assert "terraform" not in found


def test_a_port_that_does_not_speak_http_is_a_finding(verify):
    def answer() -> None:
        with mail.accept()[0] as connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.recv(1_000)

    with socket.create_server(("127.0.0.1", 0)) as mail:
        Thread(target=answer, daemon=True).start()
        status = verify.verify_api.status_of(f"http://127.0.0.1:{mail.getsockname()[1]}", "/health/live")

    assert status.startswith("BadStatusLine: 220 mail.example")


@pytest.mark.long
def test_a_real_service_answers_strangers_as_the_script_wants(verify, tmp_path):
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", tmp_path / "bank")
    topic = f"arn:aws:sns:{aws.REGION}:{aws.ACCOUNT}:{aws.NAME}-payments"
    with (tmp_path / "bank/shroff.yaml").open("a") as file:
        file.write(f"sources: {{ payments: {{ sns: {{ topics: ['{topic}'] }}, events: [payment] }} }}\n")
    with served(tmp_path / "bank") as service:
        found = list(verify.verify_api.asked(service.url))

    assert [what for is_well, what in found if not is_well] == []
    assert len(found) == 7
