"""The projects of deploy/terraform on the test servers: what the containers run, with the settings that they get.

Cloud SQL and RDS are PostgreSQL, Pub/Sub its emulator, buckets moto's server; BigQuery and the metadata server are
stand-ins.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy import checks, terraform
from tests.support.bigquery import TOKEN, bigquery
from tests.support.forks import SHROFF
from tests.support.pubsubs import PubsubDesk
from tools.servers.objects import GCS, S3

PAYMENT = checks.ROOT / "src/shroff/templates/payments/examples/payment.json"


class Metadata(BaseHTTPRequestHandler):
    """The metadata server of a container: the access token of its service account."""

    def do_GET(self) -> None:
        assert self.headers["Metadata-Flavor"] == "Google"
        body = json.dumps({"access_token": TOKEN}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Container:
    """A project of payments with the settings of a cloud; the stand-ins are in the place of the cloud's addresses."""

    def __init__(
        self, folder: Path, cloud: str, database: str, replaced: Mapping[str, str], env: dict[str, str]
    ) -> None:
        self.project = folder / "project"
        shutil.copytree(checks.ROOT / "src/shroff/templates/payments", self.project)
        text = (checks.DEPLOY / f"terraform/{cloud}/shroff.yaml").read_text(encoding="utf-8")
        at = urlsplit(database)
        server = (
            f"//{at.username}:${{SHROFF_DB_PASSWORD}}@{at.hostname}:{at.port}{at.path}?schema=s{uuid.uuid4().hex[:8]}"
        )
        places = {
            "//shroff:${SHROFF_DB_PASSWORD}@${SHROFF_DB_HOST}:5432/shroff?": f"{server}&",
            "sslmode=require": "sslmode=disable",
        }
        for old, new in {**places, **replaced}.items():
            assert old in text, old
            text = text.replace(old, new)
        (self.project / "shroff.yaml").write_text(text)
        (folder / "bin").mkdir()
        (folder / "bin/shroff").write_text(f'#!/bin/sh\nexec {SHROFF} "$@"\n')
        (folder / "bin/shroff").chmod(0o755)
        (folder / "bin/python3").symlink_to(sys.executable)
        path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SHROFF_DB_PASSWORD": at.password or "x"}
        self.env = {**os.environ, **path, **env}

    def sh(self, command: str) -> str:
        command = command.replace(terraform.ENTRYPOINT, "shroff")
        words = ["/bin/sh", "-euc", command]
        done = subprocess.run(words, cwd=self.project, env=self.env, capture_output=True, text=True, check=False)

        assert done.returncode == 0, command + done.stdout + done.stderr
        return done.stdout


@pytest.mark.long
def test_a_payment_from_pubsub_is_decided_and_loaded_into_bigquery_by_the_jobs_of_google_cloud(
    monkeypatch, tmp_path, postgres, pubsub, gcs
):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    desk = PubsubDesk()
    payments, refused, decisions = (desk.topic() for _ in range(3))
    subscription = desk.subscription(payments, enable_message_ordering=True)
    heard = desk.subscription(decisions)
    bucket = GCS.create_at(gcs.address, f"cloud-{uuid.uuid4().hex[:8]}")
    env = {"LAKE_BUCKET": bucket, "SNAPSHOT_BUCKET": bucket, "PUBSUB_SUBSCRIPTION": subscription}
    env |= {"PUBSUB_REFUSED": refused, "PUBSUB_DECISIONS": decisions}
    replaced = {
        "lake: gs://${LAKE_BUCKET}/lake": f'lake: {{ to: "gs://${{LAKE_BUCKET}}/lake", endpoint: "{gcs.address}" }}',
        '/snapshots" }': f'/snapshots", endpoint: "{gcs.address}" }}',
    }
    container = Container(tmp_path, "gcp", postgres.address, replaced, env)
    jobs = terraform.module(checks.DEPLOY, "gcp").locals
    desk.publish(payments, [json.dumps(json.loads(PAYMENT.read_bytes())).encode()])
    container.sh("shroff run --limit 1")
    container.sh("shroff outbox deliver")
    notice = jobs["jobs"]["mails"]["command"].replace("${var.notice}", "report")
    container.sh(notice)
    with bigquery() as warehouse, HTTPServer(("127.0.0.1", 0), Metadata) as metadata:
        Thread(target=metadata.serve_forever, daemon=True).start()
        command = jobs["jobs"]["warehouse"]["command"].replace("${local.token}", jobs["token"])
        command = re.sub(r"--load \S+", f"--load bank.fraud --endpoint {warehouse.url}", command)
        for _ in range(2):  # the second one loads nothing twice
            container.sh(command.replace("http://metadata.google.internal", f"http://127.0.0.1:{metadata.server_port}"))
        metadata.shutdown()
    decided = [json.loads(item.data) for item in desk.waiting(heard, 10)]
    desk.close()

    assert [decision["outcome"] for decision in decided] == ["approve"]
    assert [row["outcome"] for row in warehouse.rows["decisions"]] == ["approve"]
    schemas = {Path(name).stem: json.loads(text) for name, text in terraform.schema_files("payments").items()}
    assert {name: warehouse.schemas[name] for name in warehouse.rows} == {
        name: schemas[name] for name in warehouse.rows
    }


@pytest.mark.long
def test_a_payment_is_decided_with_the_settings_of_aws(tmp_path, postgres, s3):
    bucket = S3.create_at(s3.address, f"cloud-{uuid.uuid4().hex[:8]}")
    env = {"PROCESSED_BUCKET": bucket, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    env |= {
        "SNS_TOPIC": "arn:aws:sns:us-east-1:123456789012:payments",
        "DOMAIN": "fraud.bank.example",
        "AWS_REGION": "us-east-1",
    }
    replaced = {
        "s3://${PROCESSED_BUCKET}/lake": f'{{ to: "s3://${{PROCESSED_BUCKET}}/lake", endpoint: "{s3.address}" }}',
        '/snapshots" }': f'/snapshots", endpoint: "{s3.address}" }}',
    }
    container = Container(tmp_path, "aws", postgres.address, replaced, env)
    container.sh(f"shroff ingest {PAYMENT} --as payment")
    container.sh("shroff lake write")
    listed: Any = json.loads(container.sh("shroff sources list --json"))

    assert "approve" in container.sh("shroff export decisions")
    assert f"s3://{bucket}/lake/" in container.sh("shroff lake files")
    assert "payments" in json.dumps(listed)
