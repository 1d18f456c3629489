"""Topics of the examples with Kafka, which `examples/topics.py` makes."""

from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from confluent_kafka.admin import AdminClient


@pytest.mark.slow
def test_topics_are_made_on_one_broker_which_keeps_one_copy(root, kafka):
    topic = f"topics-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.address})
    assert len(admin.list_topics(timeout=120).brokers) == 1
    made = subprocess.run(
        [sys.executable, str(root / "examples/topics.py"), kafka.address, f"{topic}:2"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (made.returncode, made.stdout) == (0, f"topics: {topic}\n"), made.stderr
    assert len(admin.list_topics(topic, timeout=120).topics[topic].partitions) == 2
    admin.delete_topics([topic])[topic].result()
