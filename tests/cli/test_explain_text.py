"""What `shroff explain` tells people of a score: the largest parts, the others together, and what they come to."""

from __future__ import annotations

from types import SimpleNamespace

from shroff.cli.explain import _model
from shroff.explain.model import ModelReason


def told(parts: list[float]) -> list[list[str]]:
    """The words of each line, where a score has these parts beside what every event begins with."""
    reasons = [ModelReason(f"card.f{place}", "usual", part) for place, part in enumerate(parts)]
    model = SimpleNamespace(model="m-1", score=0.25, margin=sum(parts) - 4, base=-4.0, problem="", gives="log-odds")
    return [line.split() for line in _model(model, reasons).splitlines()]


def test_few_parts_of_a_score_are_all_told_with_their_sum():
    assert [" ".join(line) for line in told([2.0, -0.5])] == [
        "Reasons of the model m-1: score 0.25",
        "+2.00 card.f0 usual",
        "-0.50 card.f1 usual",
        "-4.00 what every event begins with",
        "-2.50 in total, in log-odds before calibration",
    ]


def test_of_many_parts_the_smallest_are_told_together():
    lines = told([2.0] * 8 + [0.5, 0.25])

    assert lines[8][:2] == ["+2.00", "card.f7"]
    assert " ".join(lines[9]) == "+0.75 2 more in --json"
    assert lines[-1][:3] == ["+12.75", "in", "total,"]
