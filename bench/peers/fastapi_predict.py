"""The call of examples/ulb as one writes it with FastAPI and scikit-learn: for `bench.predict`.

30 numbers in, 0 or 1 out, by gradient boosting of 100 trees of depth 3. Nothing is kept, and nobody is asked for a key.

    python fastapi_predict.py DAYS.csv          with fastapi, uvicorn[standard] and scikit-learn installed
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from fastapi_serving import serve
from pydantic import BaseModel, Field
from sklearn.ensemble import GradientBoostingClassifier

INPUTS = 30
LABEL = "Class"

app = FastAPI()
model: GradientBoostingClassifier


class Payment(BaseModel):
    """What is posted: Time, 28 components, Amount."""

    features: list[float] = Field(min_length=INPUTS, max_length=INPUTS)


def trained(path: str) -> GradientBoostingClassifier:
    with Path(path).open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    names = [name for name in lines[0] if name not in ("", LABEL)]
    rows = np.array([[float(line[name]) for name in names] for line in lines])
    labels = np.array([int(line[LABEL]) for line in lines])
    return GradientBoostingClassifier(n_estimators=100, max_depth=3, learning_rate=0.1).fit(rows, labels)


@app.post("/predict/")
def predict(payment: Payment) -> dict[str, int]:
    return {"prediction": int(model.predict(np.array([payment.features]))[0])}


def main() -> None:
    global model  # noqa: PLW0603 - as its users write it
    model = trained(sys.argv[1])
    serve(app)


if __name__ == "__main__":
    main()
