"""Rules that labels suggest on the Handbook's months, beside the champion of a training on the same days.

Rules are learned on eight weeks and tested on what follows the label delay. The champion learns from the same weeks and
stops the same days' payments by the thresholds that earn most there, which nobody could have known before: its figure
is an upper bound. Then the labels are drawn again among all payments, twenty times, and nothing should be suggested. At
last the policy gets two rules that earn and five that do not, and the five should be named.

Run: python -m bench.suggest FILE_OR_FOLDER [--keep]     (what `examples/handbook/prepare.py` reads)
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from copy import copy
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.handbook import project, shroff
from bench.machine import tell_result
from shroff.language.values import DAY_MS
from shroff.models.sets import FRAUD
from shroff.operations.declaration import ProgressSteps
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.suggestions.operations import RuleSuggestions, SuggestRules, _EventRules

AS_OF = "2018-07-08"  # less the label delay the end of the last day
WEEKS = 8
SHUFFLES = 20
FALSE_DECLINE, REVIEW, REVIEWS_A_DAY = 15, 4, 100  # as policy.yaml of the example has them
SPLIT = "  split: { train: 56d, delay: 7d, test: 28d, folds: 1 }"
PLANTED = """
- { id: large, on: payment, by: customer, when: this.amount > 220, effect: decline }
- { id: risky, on: payment, by: terminal, when: terminal.risk_7d > 0.5, effect: decline }
- { id: never, on: payment, by: customer, when: this.amount > 100000, effect: decline }
- { id: inside, on: payment, by: customer, when: this.amount > 240, effect: decline }
- { id: weaker, on: payment, by: terminal, when: terminal.risk_7d > 0.6, effect: review }
- { id: guess, on: payment, by: customer, when: customer.payments_30d == 60, effect: review }
- { id: harsh, on: payment, by: customer, when: this.amount < 1 and hour(this.paid_at) == 12, effect: decline }
"""
USELESS = {"never", "inside", "weaker", "guess", "harsh"}


def suggested(folder: Path) -> tuple[dict[str, Any], float, float]:
    """The answer, and seconds by the clock and of processor time."""
    before, started = getrusage(RUSAGE_CHILDREN), perf_counter()
    answer = json.loads(shroff(folder, "suggest", "--weeks", str(WEEKS), "--as-of", AS_OF, "--json"))
    after = getrusage(RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return answer, perf_counter() - started, used_s


def champion_money(folder: Path, payments: Path) -> float:
    """Most that the champion earns on the tested days, by two thresholds, with reviews as people have time for."""
    model = folder / "model.yaml"
    text = re.sub(r"(?m)^  split:.*", SPLIT, model.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^(  capacity|    card_precision_at_k|    leak_test):.*\n?", "", text)
    model.write_text(text, encoding="utf-8")
    answer = json.loads(shroff(folder, "train", "--as-of", AS_OF, "--json"))
    tested = pq.read_table(folder / "models" / answer["model"] / "tested.parquet")
    table = pq.read_table(payments, columns=["TRANSACTION_ID", "TX_AMOUNT"])
    amount_of = dict(zip(table["TRANSACTION_ID"].to_pylist(), table["TX_AMOUNT"].to_pylist(), strict=True))
    amounts = np.array([amount_of[int(id_)] for id_ in tested["id"].to_pylist()])
    order = np.argsort(-tested["score"].to_numpy(), kind="stable")
    stolen = np.where(tested["fraud"].to_numpy()[order], amounts[order], 0.0)
    declined = np.cumsum(np.append(0, stolen - FALSE_DECLINE * (stolen == 0)))
    reviewed = np.cumsum(np.append(0, stolen - REVIEW))
    room = REVIEWS_A_DAY * 28
    best = 0.0
    for at in range(min(len(order), 20_000)):
        best = max(best, declined[at] + float((reviewed[at : at + room + 1] - reviewed[at]).max()))
    return best


def shuffled(folder: Path) -> list[int]:
    """How many rules are suggested by labels that say nothing, of each seed."""
    opened = app.open_exactly(folder)
    as_of_ms = int(np.datetime64(AS_OF, "ms").astype(np.int64))
    found = []
    with opened.context.log.reading() as log:
        whole = _EventRules(opened.definitions, "payment", log, as_of_ms, ProgressSteps())
        rows = whole.rows
        for seed in range(SHUFFLES):
            each, answer = copy(whole), RuleSuggestions()
            drawn = np.random.default_rng(seed).choice(len(rows), len(rows.labels.rows), replace=False)
            labels = replace(rows.labels, rows=drawn, known_at_ms=rows.times_ms[drawn] + 7 * DAY_MS)
            each.rows = replace(rows, labels=labels)
            each.frauds = each.rows.verdicts_at(as_of_ms) == FRAUD
            each.suggest(SuggestRules(weeks=WEEKS), opened.drafts, answer)
            found.append(len(answer.rules))
            print(f"seed {seed}: {answer.tried} tested, {len(answer.rules)} confirmed", file=sys.stderr)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("source", type=Path, help="a Parquet file, or a folder of pickles")
    arguments.add_argument("--folder", type=Path, help="a project with the payments in its log, made before")
    arguments.add_argument("--keep", action="store_true", help="write bench/results/suggest.md")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or project("handbook", Path(scratch) / "handbook")
        data = folder / "data"
        if not chosen.folder:
            prepare = [sys.executable, str(folder / "prepare.py"), str(chosen.source), "--folder", str(data)]
            subprocess.run(prepare, check=True)
            labels = ["--labels", str(data / "labels.parquet")]
            shroff(folder, "ingest", str(data / "payments.parquet"), "--as", "payment", *labels)
        answer, seconds, used_s = suggested(folder)
        rules = [
            f"| `{rule['text']}` | {rule['effect']} | {rule['hits']:,} | {rule['precision']:.3f} | {rule['money']} |"
            for rule in answer["rules"]
        ]
        money = sum(float(rule["money"]) for rule in answer["rules"])
        by_chance = shuffled(folder)
        (folder / "rules").mkdir(exist_ok=True)
        (folder / "rules" / "planted.yaml").write_text(PLANTED, encoding="utf-8")
        dropped = {drop["id"] for drop in suggested(folder)[0]["drop"]}
        (folder / "rules" / "planted.yaml").unlink()
        most = champion_money(folder, data / "payments.parquet")
    learned, tested = (f"{answer[f'{word}_from']} to {answer[f'{word}_to']}" for word in ("learned", "tested"))
    lines = [
        f"Learned on {learned}, tested on {tested}; {seconds:.0f} s, {used_s:.0f} of processor time.",
        "",
        "| rule | effect | hits | precision | earns, EUR |",
        "|---|---|---|---|---|",
        *rules,
        "",
        "| what | found | asked |",
        "|---|---|---|",
        f"| net money of the rules, of the champion's at most {most:,.0f} | {money / most:.1%} | 60 % |",
        f"| of {SHUFFLES} draws of labels by chance, those with a suggestion | {sum(map(bool, by_chance))} | 1 |",
        f"| planted useless rules that are named | {len(dropped & USELESS)} of {len(USELESS)} | all |",
        f"| other rules that are named | {len(dropped - USELESS)} | 0 |",
    ]
    table = "\n".join(lines)
    tell_result("suggest", "Rules that labels suggest, beside the champion", __doc__, table, keep=chosen.keep)


if __name__ == "__main__":
    main()
