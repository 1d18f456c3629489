"""A small project whose frauds can be learnt, with days of payments and their labels: trained in about a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

START = datetime(2026, 3, 1, tzinfo=UTC)
A_DAY = 150  # payments
FILES = {
    "shroff.yaml": "shroff: 1\nname: learnable\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, amount: money, channel: "choice(shop, web, post)" }
entities:
  card: { payment: card }
""",
    "features.yaml": "card: { payments_1d: count(payment) over 1d }\n",
    "model.yaml": """
payment:
  inputs: [payment.amount, payment.channel, card.payments_1d]
  learner: logistic
  label_delay: 1d
  split: { train: 8d, delay: 1d, test: 2d, folds: 2 }
  calibration: platt
  gates: { auc_roc: { at_least: 0.6 } }
""",
    "policy.yaml": "payment:\n  score: { review_at: 0.5 }\n  without_model: rules\n",
}


def make_project(folder: Path, **changes: str) -> Path:
    """The project in a new folder; `model` for another model.yaml, and so on."""
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(changes.get(name.removesuffix(".yaml"), text), encoding="utf-8")
    return folder


def day(
    number: int, *, times: float = 1.0, channels: Sequence[str] = ("shop", "web"), seed: int = 0
) -> list[dict[str, Any]]:
    """One day's payments, a twelfth of them frauds with large amounts, each labelled in the evening; in order of time.

    Args:
        times: By how much all amounts are multiplied.
    """
    chance = Random(f"{seed} {number}")
    found: list[tuple[datetime, dict[str, Any]]] = []
    begin = START + timedelta(days=number)
    for place in range(A_DAY):
        is_fraud = chance.random() < 1 / 12
        at = begin + timedelta(minutes=8 * place)
        amount = chance.lognormvariate(4.5 if is_fraud else 3, 0.7) * times
        id_ = f"p{number}-{place}"
        payment = {
            "id": id_,
            "at": _text(at),
            "card": f"c{chance.randrange(60)}",
            "amount": f"{amount:.2f}",
            "channel": chance.choice(channels),
        }
        found.append((at, {"payment": payment}))
        known = begin + timedelta(hours=21, seconds=place)
        verdict = "fraud" if is_fraud else "genuine"
        label = {"event": f"payment/{id_}", "verdict": verdict, "source": "chargeback", "known_at": _text(known)}
        found.append((known, {"label": label}))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def write_days(path: Path, numbers: Sequence[int], **how: Any) -> Path:
    """Days as one file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(item) for number in numbers for item in day(number, **how)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
