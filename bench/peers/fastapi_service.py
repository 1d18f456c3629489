"""The job of `shroff serve` as one writes it with FastAPI, scikit-learn and Redis: for `bench.service`.

40 window features of card and merchant, 10 rules, a model of 100 trees, one decision, known again by its id. The
payments of each key are a sorted set in Redis by time; those of 30 days are fetched for each payment and added up here,
which is exact. Redis has every write on disk before it answers (`appendfsync always`). Two round trips a request, both
pipelined. Nothing is promised where two payments of one card come at once, or where it is killed between the two.

    python fastapi_service.py REDIS_URL          with fastapi, uvicorn[standard], redis and scikit-learn installed
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from math import sqrt

import numpy as np
import redis.asyncio as redis
from fastapi import FastAPI, Response
from fastapi_serving import serve
from pydantic import BaseModel
from sklearn.ensemble import GradientBoostingClassifier

LENGTHS_MS = (3_600_000, 86_400_000, 604_800_000, 2_592_000_000)
NAMES = ("1h", "24h", "7d", "30d")
AMOUNT = 40  # the place of the amount, behind the features

app = FastAPI()
store: redis.Redis
model: GradientBoostingClassifier


class Payment(BaseModel):
    """What is posted."""

    payment_id: str
    paid_at: datetime
    card: str
    merchant: str
    amount: str
    country: str
    channel: str
    terminal: str | None = None
    device: str | None = None


def trained() -> GradientBoostingClassifier:
    """A model of 100 trees of depth 6 over as many inputs; what it learnt does not change how long it takes."""
    random = np.random.default_rng(1)
    rows = random.exponential(100.0, (5_000, AMOUNT + 1))
    frauds = rows[:, 0] + rows[:, AMOUNT] + random.normal(0, 50, 5_000) > 400
    return GradientBoostingClassifier(n_estimators=100, max_depth=6).fit(rows, frauds)


def windows(members: list[tuple[bytes, float]], at_ms: int) -> list[float]:
    """Count, sum, mean, std and max of each window, of payments by time."""
    found: list[float] = []
    amounts = [(int(score), int(member.rpartition(b":")[2])) for member, score in members]
    for length in LENGTHS_MS:
        inside = [amount for time_ms, amount in amounts if time_ms > at_ms - length]
        count, total = len(inside), sum(inside)
        squares = sum(amount * amount for amount in inside)
        mean = total / count if count else 0.0
        std = sqrt((count * squares - total * total) / (count * (count - 1))) if count > 1 else 0.0
        found += [count, total / 100, mean / 100, std / 100, max(inside, default=0) / 100]
    return found


def ruled(payment: Payment, amount: float, card: list[float], merchant: list[float]) -> list[str]:
    """The rules of bench/projects/forty_features that hit."""
    asked = {
        "many_in_an_hour": card[0] >= 6,
        "many_in_a_day": card[5] >= 20,
        "spent_in_an_hour": card[1] > 2_000,
        "far_above_the_mean": card[15] > 0 and amount > 8 * card[17],
        "far_from_the_mean": card[15] > 1 and amount > card[17] + 6 * card[18],
        "larger_than_ever": card[15] > 0 and amount > 3 * card[19],
        "merchant_burst": merchant[0] >= 60,
        "merchant_spike": merchant[10] > 0 and merchant[1] > 10 * merchant[12] * 24,
        "small_at_the_merchant": amount < 1 and merchant[0] >= 10,
        "large_abroad": amount > 500 and payment.country != "DE",
    }
    return [name for name, hit in asked.items() if hit]


@app.post("/api/v1/events/payment")
async def decide(payment: Payment) -> Response:
    at_ms, minor = int(payment.paid_at.timestamp() * 1_000), round(float(payment.amount) * 100)
    keys = f"card:{payment.card}", f"merchant:{payment.merchant}"
    async with store.pipeline(transaction=False) as asked:
        asked.get(f"decision:{payment.payment_id}")
        for key in keys:
            asked.zrangebyscore(key, f"({at_ms - LENGTHS_MS[-1]}", at_ms, withscores=True)
        before, *seen = await asked.execute()
    if before is not None:
        return Response(before, media_type="application/json")
    card, merchant = (windows(members, at_ms) for members in seen)
    amount = minor / 100
    score = round(float(model.predict_proba(np.array([[*card, *merchant, amount]]))[0, 1]), 6)
    rules = ruled(payment, amount, card, merchant)
    features = {
        f"{of}.{what}_{name}": values[5 * at + place]
        for of, values in (("card", card), ("merchant", merchant))
        for at, name in enumerate(NAMES)
        for place, what in enumerate(("payments", "spent", "mean", "std", "largest"))
    }
    outcome = "decline" if score >= 0.9 else "review" if rules else "approve"
    document = {"event": "payment", "id": payment.payment_id, "outcome": outcome, "score": score}
    body = json.dumps({**document, "rules": rules, "features": features}).encode()
    async with store.pipeline(transaction=True) as written:
        written.set(f"decision:{payment.payment_id}", body)
        for key in keys:
            written.zadd(key, {f"{payment.payment_id}:{minor}": at_ms})
        await written.execute()
    return Response(body, media_type="application/json")


def main() -> None:
    global store, model
    store, model = redis.Redis.from_url(sys.argv[1]), trained()
    serve(app)


if __name__ == "__main__":
    main()
