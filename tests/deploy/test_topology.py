"""The systems of compose.yaml as the test servers start them: the project that names them works with all of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.deploy import checks
from tests.support.forks import SHROFF
from tools.servers.kafka import Kafka
from tools.servers.objects import S3

NAME = f"compose{os.getpid()}"


def test_the_brokers_are_as_many_and_as_careful_as_those_of_the_tests():
    services = checks.merged(checks.DEPLOY)["services"]
    brokers = [service for service in services.values() if "KAFKA_NODE_ID" in (service.get("environment") or {})]
    cluster = Kafka()
    try:
        wanted = dict(re.findall(r"^([\w.]+)=(.*)$", cluster._settings(1), re.MULTILINE))
    finally:
        cluster.close()

    assert len(brokers) == cluster.n_brokers
    of_offsets = "offsets.topic.replication.factor"
    for key in ("default.replication.factor", "min.insync.replicas", "transaction.state.log.min.isr", of_offsets):
        name = f"KAFKA_{key.upper().replace('.', '_')}"
        assert {str(broker["environment"][name]) for broker in brokers} == {wanted[key]}, key


@pytest.mark.slow
def test_a_payment_goes_through_the_systems_of_compose(tmp_path, kafka, redis, mongo, mariadb, s3, mail):
    bank = tmp_path / "bank"
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", bank)
    text = (checks.DEPLOY / "compose/shroff.yaml").read_text()
    places = {"redis:6379": redis, "mariadb:3306": mariadb, "s3:9000": s3, "mail:1025": mail}
    for inside, server in places.items():
        assert inside in text
        text = text.replace(inside, urlsplit(server.address).netloc.rpartition("@")[2])
    text = text.replace("payment: payments", f"payment: {NAME}").replace("payments.refused", f"{NAME}.refused")
    text = text.replace("name: mybank", f"name: {NAME}").replace("database: bank", f"database: {NAME}")
    (bank / "shroff.yaml").write_text(text.replace("s3://shroff/lake", f"s3://shroff/{NAME}"))
    S3.create_at(s3.address, "shroff")
    env = {**os.environ, "KAFKA_BROKERS": kafka.address, "MONGO": urlsplit(mongo.address).netloc}
    env |= {"REDIS_PASSWORD": str(urlsplit(redis.address).password)}
    env |= {"MARIADB_PASSWORD": str(urlsplit(mariadb.address).password)}
    env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    def shroff(*words: str) -> str:
        command = [SHROFF, "-C", bank, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shroff("produce", str(bank / "examples/payment.json"), "--as", "payment", "--create-topics")
    seen = shroff("doctor")
    shroff("run", "--limit", "1")
    shroff("lake", "write")
    files = shroff("lake", "files").splitlines()
    with MongoClient(mongo.address) as client:
        documents = list(client[NAME]["decisions"].find())

    assert [document["outcome"] for document in documents] == ["approve"]
    assert {"source", "summaries", "sink documents", "online"} <= set(
        re.findall(r"^ok +([a-z ]+?)  ", seen, re.MULTILINE)
    )
    assert [name for name in files if name.startswith(f"s3://shroff/{NAME}/")] == files != []
