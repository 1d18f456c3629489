"""What the language could not say: places, names, patterns, parts of times, earlier and most frequent values."""

from __future__ import annotations

import pytest

from shroff.project.definitions import load_definitions
from tests.public_cases import SETTINGS
from tests.support.beside import beside


@pytest.mark.parametrize(
    "text",
    [
        "mod(floor(this.amount), 100) == 0",
        "matches(this.email, '*9999*')",
        "similarity(this.name, this.holder) < 0.7",
        "name_similarity(this.name, this.holder) < 0.7",
        "distance(this.lat, this.lon, last(payment.lat), last(payment.lon)) > 500_000",
        "speed(distance(this.lat, this.lon, last(payment.lat), last(payment.lon)), this.at - last(payment.at)) > 900",
        "log(this.amount + money('1.00'))",
        "exp(1)",
        "power(this.amount, 2)",
        "month(this.at)",
        "minute(this.at)",
        "day_of_month(this.at, 'Europe/Berlin')",
        "hour(this.at, this.zone)",
        "trim(this.name)",
        "right(this.card, 4)",
        "middle(this.card, 3, 4)",
        "digits(this.email)",
        "entropy(this.email)",
        "mode(payment.country) over 30d",
        "nth_last(payment.amount, 2) over 30d",
        "sum(payment.ms) over 1h",
        "mean(card.gap of payment) over last 5",
        "std(card.gap of payment) over last 5",
        "this.pwd_changed is not missing",
    ],
)
def test_what_was_asked_for_can_be_said(text):
    features = f'card:\n  gap: this.at - last(payment.at)\n  x: "{text}"\n'
    events = beside("cases", "28-language-gaps", "events.yaml").read_text(encoding="utf-8")
    found = load_definitions({"shroff.yaml": SETTINGS, "events.yaml": events, "features.yaml": features}).definitions

    assert "card.x" in found.features
