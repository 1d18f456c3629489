"""A topic that is made: usable when it is said to be made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shroff.adapters.kafka import topics


class Admin:
    """A cluster whose new topic has its leaders after a while: `answers` gives them, one answer after the other."""

    def __init__(self, *answers: list[int]) -> None:
        self.answers, self.asked = list(answers), 0

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        leaders = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        found = {number: SimpleNamespace(leader=leader, error=None) for number, leader in enumerate(leaders)}
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=found)})


@pytest.mark.parametrize(
    "before", [[], [1, -1], [1]], ids=["no partition", "one without a leader", "one partition not known yet"]
)
def test_a_topic_is_made_when_each_partition_has_a_leader(monkeypatch, before):
    monkeypatch.setattr(topics, "ASKED_AGAIN_S", 0.0)
    admin = Admin(before, before, [1, 1])

    topics.wait_for_leaders(admin, "payments", 2)

    assert admin.asked == 3
