"""Judges the Fraud Detection Handbook's method in `examples/handbook` beside pandas, scikit-learn and XGBoost.

The reference shares no code with shroff: features by pandas, weeks and blocked cards by the handbook's own recipe,
models by `XGBClassifier` and scikit-learn, metrics by scikit-learn. Every feature of every payment is compared, then
the rows of every test, then the metrics. At last the features of `examples/handbook-own` stand beside the handbook's,
on identical rows, with intervals of the difference in each fold.

Run: python -m bench.handbook FILE_OR_FOLDER     (what `examples/handbook/prepare.py` reads)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.machine import describe, write_result
from shroff.models.evaluation.daily import KeyDays, best_card_precision, card_precision, key_days

EXAMPLES = Path(__file__).parent.parent / "examples"
SHROFF = str(Path(sys.executable).with_name("shroff"))
AS_OF = "2018-06-25"
LAST_AS_OF = "2018-07-02"
PARAMETERS = "{ trees: 100, depth: 6, learning_rate: 0.1, rows: 1, columns: 1 }"  # as examples/handbook has them
WEEKS = ("2018-05-07", "2018-05-14", "2018-05-21", "2018-05-28")  # in which folds are trained
WEEK = timedelta(days=7)
DAY = timedelta(days=1)
K = 100
METRICS = ("auc_roc", "average_precision", "card_precision_at_k")
NAMES = {"auc_roc": "AUC ROC", "average_precision": "average precision", "card_precision_at_k": "CP@100"}
WITHIN = 0.01
DRAWN = 200
FEATURES = {  # ours: pandas' column
    **{f"customer.payments_{days}d": f"customer_count_{days}" for days in (1, 7, 30)},
    **{f"customer.mean_{days}d": f"customer_mean_{days}" for days in (1, 7, 30)},
    **{f"terminal.payments_{days}d": f"terminal_count_{days}" for days in (1, 7, 30)},
    **{f"terminal.risk_{days}d": f"terminal_risk_{days}" for days in (1, 7, 30)},
}
COLUMNS = ["TX_AMOUNT", "is_weekend", "is_night", *FEATURES.values()]

Figures = dict[str, tuple[float, ...]]  # a metric's value in each fold


@dataclass(frozen=True, slots=True)
class Run:
    """A training by shroff: what it answered, and the test rows with their scores by payment and fold."""

    answer: Mapping[str, Any]
    tested: pd.DataFrame
    seconds: float

    def figures(self) -> Figures:
        metrics = self.answer["metrics"]
        return {name: tuple(metrics[name]["folds"]) for name in METRICS}


# ---- shroff


def project(
    example: str, folder: Path, *, learner: str = "xgboost", parameters: str = "", folds: int = len(WEEKS)
) -> Path:
    """A copy of an example; where it is changed without the leak test, which hangs on features alone."""
    shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("data", ".shroff", "models"))
    path = folder / "model.yaml"
    lines = path.read_text(encoding="utf-8").replace("folds: 4", f"folds: {folds}").splitlines()
    if folds != len(WEEKS):
        lines = [line for line in lines if "leak_test:" not in line]
    if learner != "xgboost" or parameters:
        lines = [line for line in lines if not line.startswith(("  parameters:", "  learner:", "    leak_test:"))]
        lines.append(f"  learner: {learner}")
        lines += [f"  parameters: {parameters}"] if parameters else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def shroff(folder: Path, *arguments: str) -> str:
    command = [SHROFF, "-C", str(folder), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in {0, 1}:  # 1: a gate failed, which the table shows
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-2_000:]}")
    return done.stdout


def train(folder: Path, log: Path, as_of: str = AS_OF) -> Run:
    """Train on a log that another project of the same events has filled."""
    if folder != log:
        shutil.rmtree(folder / ".shroff", ignore_errors=True)
        shutil.copytree(log / ".shroff", folder / ".shroff")
    started = perf_counter()
    answer = json.loads(shroff(folder, "train", "--as-of", as_of, "--json"))
    seconds = perf_counter() - started
    tested = pq.read_table(folder / "models" / answer["model"] / "tested.parquet").to_pandas()
    tested["payment"] = tested["id"].astype("int64")
    if folder != log:
        shutil.rmtree(folder / ".shroff")
    return Run(answer, tested.set_index("payment"), seconds)


# ---- the reference


def reference_features(payments: pd.DataFrame) -> pd.DataFrame:
    """The handbook's 15 features by pandas' rolling windows, which are open on the left and hold the row itself."""
    found = payments.copy()
    found["is_weekend"] = (found["TX_DATETIME"].dt.weekday >= 5).astype(int)
    found["is_night"] = (found["TX_DATETIME"].dt.hour <= 6).astype(int)
    for days in (1, 7, 30):
        amounts = _rolling(found, "CUSTOMER_ID", "TX_AMOUNT", days)
        found[f"customer_count_{days}"] = amounts["count"]
        found[f"customer_mean_{days}"] = amounts["sum"] / amounts["count"]
    late = _rolling(found, "TERMINAL_ID", "TX_FRAUD", 7)
    for days in (1, 7, 30):
        whole = _rolling(found, "TERMINAL_ID", "TX_FRAUD", 7 + days)
        count = whole["count"] - late["count"]
        found[f"terminal_count_{days}"] = count
        found[f"terminal_risk_{days}"] = ((whole["sum"] - late["sum"]) / count.where(count > 0)).fillna(0.0)
    return found


def _rolling(payments: pd.DataFrame, by: str, column: str, days: int) -> pd.DataFrame:
    """Sum and count of the windows of each row's key, in the order of the rows."""
    windows = payments.groupby(by).rolling(f"{days}D", on="TX_DATETIME")[column]  # key by key, in the order of rows
    order = np.argsort(payments[by].to_numpy(), kind="stable")
    found = {}
    for name in ("sum", "count"):
        found[name] = np.empty(len(payments))
        found[name][order] = getattr(windows, name)().to_numpy()
    return pd.DataFrame(found, index=payments.index)


def week_of(payments: pd.DataFrame, start: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test rows by the handbook: customers whose fraud is known leave the test day by day."""
    begin = pd.Timestamp(start)
    train_rows = _between(payments, begin, WEEK)
    known = set(train_rows.loc[train_rows["TX_FRAUD"] == 1, "CUSTOMER_ID"])
    days = []
    for number in range(7):
        newly = _between(payments, begin + WEEK + (number - 1) * DAY, DAY)
        known |= set(newly.loc[newly["TX_FRAUD"] == 1, "CUSTOMER_ID"])
        day = _between(payments, begin + 2 * WEEK + number * DAY, DAY)
        days.append(day[~day["CUSTOMER_ID"].isin(known)].assign(day=number))
    return train_rows, pd.concat(days)


def _between(payments: pd.DataFrame, start: pd.Timestamp, length: timedelta) -> pd.DataFrame:
    times = payments["TX_DATETIME"]
    return payments[(times >= start) & (times < start + length)]


def reference_models(seed: int) -> dict[str, Any]:
    """XGBoost with the parameters of the example; a forest of the same size; logistic regression."""
    return {
        "xgboost": xgboost.XGBClassifier(
            n_estimators=100, max_depth=6, learning_rate=0.1, tree_method="hist", random_state=seed, n_jobs=2
        ),
        "forest": RandomForestClassifier(n_estimators=100, max_depth=12, max_features=0.2, random_state=seed, n_jobs=2),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
    }


def card_precision_by_handbook(test: pd.DataFrame, scores: np.ndarray) -> float:
    """Each day the 100 cards with the highest scores; a card whose fraud was found is not looked at again."""
    found: set[int] = set()
    shares = []
    for _, day in test.assign(score=scores).groupby("day"):
        left = day[~day["CUSTOMER_ID"].isin(found)]
        cards = left.groupby("CUSTOMER_ID")[["score", "TX_FRAUD"]].max()
        top = cards.sort_values("score", ascending=False, kind="stable").head(K)
        hit = top.index[top["TX_FRAUD"] == 1]
        found |= set(hit)
        shares.append(len(hit) / K)
    return float(np.mean(shares))


def reference(frame: pd.DataFrame) -> tuple[dict[str, Figures], dict[str, list[pd.Series]]]:
    """The metrics of each model in each fold, and its scores of the test rows by payment."""
    each: dict[str, list[list[float]]] = {}
    scored: dict[str, list[pd.Series]] = {}
    for start in WEEKS:
        rows, test = week_of(frame, start)
        for name, model in reference_models(1).items():
            model.fit(rows[COLUMNS], rows["TX_FRAUD"])
            scores = model.predict_proba(test[COLUMNS])[:, 1]
            verdicts = test["TX_FRAUD"]
            values = [roc_auc_score(verdicts, scores), average_precision_score(verdicts, scores)]
            each.setdefault(name, []).append([*map(float, values), card_precision_by_handbook(test, scores)])
            scored.setdefault(name, []).append(pd.Series(scores, index=test["TRANSACTION_ID"].to_numpy()))
    figures = {
        name: {metric: tuple(fold[place] for fold in folds) for place, metric in enumerate(METRICS)}
        for name, folds in each.items()
    }
    return figures, scored


# ---- compared


def compare_features(folder: Path, frame: pd.DataFrame) -> list[str]:
    """A line for each feature with its largest difference over all payments."""
    shroff(folder, "features", "--as", "payment", "--out", str(folder / "features.parquet"))
    table = pq.read_table(folder / "features.parquet")
    identity = next(name for name in table.schema.names if name.endswith("payment_id") or name == "id")
    ours = table.to_pandas().assign(payment=lambda rows: rows[identity].astype("int64")).set_index("payment")
    theirs = frame.set_index("TRANSACTION_ID")
    if not ours.index.equals(theirs.index):
        raise SystemExit("the features are not of the same payments")
    lines = [
        "| feature | payments | largest difference | payments that differ by more than 1e-9 |",
        "|---|---|---|---|",
    ]
    for name, column in FEATURES.items():
        apart = (ours[name].astype(float) - theirs[column]).abs()
        lines.append(f"| `{name}` | {len(apart):,} | {apart.max():.1e} | {int((apart > 1e-9).sum()):,} |")
        if not (apart <= 1e-9).all():
            raise SystemExit(f"{name} differs: {apart.max()} at payment {apart.idxmax()}")
    return lines


def compare_rows(run: Run, scored: Sequence[pd.Series]) -> str:
    """That the rows of each test are the reference's, in words."""
    counts = []
    for fold, theirs in enumerate(scored):
        ours = run.tested[run.tested["fold"] == fold]
        if set(ours.index) != set(theirs.index):
            raise SystemExit(f"fold {fold + 1} tests other payments")
        counts.append(f"{len(ours):,} with {int(ours['fraud'].sum()):,} frauds")
    return "; ".join(counts)


def interval(scored: KeyDays, other: KeyDays, seed: int) -> tuple[float, float]:
    """95 % interval of the difference of CP@100 of two scores: cards drawn again, with replacement.

    Of one fold there are seven days only, too few to draw from; a card that is drawn twice is two cards.
    """
    cards, places = np.unique(scored.keys, return_inverse=True)
    lots = np.random.default_rng(seed)
    apart = np.empty(DRAWN)
    for number in range(DRAWN):
        times = np.bincount(lots.integers(0, len(cards), len(cards)), minlength=len(cards))
        rows = np.repeat(np.arange(len(places)), times[places])
        start = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
        copy = np.arange(len(rows)) - np.repeat(start, np.diff(np.append(start, len(rows))))
        keys = places[rows] * len(cards) + copy
        drawn = [KeyDays(keys, scored.days[rows], part.scores[rows], scored.frauds[rows]) for part in (scored, other)]
        mine, theirs = (card_precision(part, K).mean() for part in drawn)
        apart[number] = mine - theirs
    return float(np.percentile(apart, 2.5)), float(np.percentile(apart, 97.5))


def weighed(
    frauds: np.ndarray, keys: np.ndarray, scores: np.ndarray, other: np.ndarray, seed: int
) -> dict[str, tuple[Any, ...]]:
    """95 % intervals of the differences of AUC and average precision, whole cards drawn again, with replacement."""
    cards, places = np.unique(keys, return_inverse=True)
    lots = np.random.default_rng(seed)
    apart = {"auc_roc": np.empty(DRAWN), "average_precision": np.empty(DRAWN)}
    for number in range(DRAWN):
        weights = np.bincount(lots.integers(0, len(cards), len(cards)), minlength=len(cards))[places].astype(float)
        for name, metric in (("auc_roc", roc_auc_score), ("average_precision", average_precision_score)):
            left, right = (metric(frauds, part, sample_weight=weights) for part in (scores, other))
            apart[name][number] = left - right
    return {name: tuple(np.percentile(values, [2.5, 97.5])) for name, values in apart.items()}


def differences(ours: Run, theirs: Run, customers: pd.Series) -> list[list[tuple[float, float, float]]]:
    """Of each fold, for each metric: by how much one is above another on the same rows, and its interval."""
    found = []
    for fold in range(len(WEEKS)):
        rows = ours.tested[ours.tested["fold"] == fold]
        other = theirs.tested[theirs.tested["fold"] == fold].reindex(rows.index)
        frauds, keys = rows["fraud"].to_numpy(), customers.reindex(rows.index).to_numpy()
        days = ((rows["time"] - rows["time"].min().normalize()) // DAY).to_numpy()
        shown = [key_days(part["score"].to_numpy(), frauds, days, keys) for part in (rows, other)]
        ends = weighed(frauds, keys, rows["score"].to_numpy(), other["score"].to_numpy(), fold)
        ends["card_precision_at_k"] = interval(shown[0], shown[1], fold)
        points = [ours.figures()[name][fold] - theirs.figures()[name][fold] for name in METRICS]
        found.append([(point, *ends[name]) for name, point in zip(METRICS, points, strict=True)])
    return found


def best_possible(run: Run, customers: pd.Series) -> list[float]:
    """The CP@100 that perfect scores would reach in each fold."""
    found = []
    for fold in range(len(WEEKS)):
        rows = run.tested[run.tested["fold"] == fold]
        days = ((rows["time"] - rows["time"].min().normalize()) // DAY).to_numpy()
        shown = key_days(
            rows["score"].to_numpy(), rows["fraud"].to_numpy(), days, customers.reindex(rows.index).to_numpy()
        )
        found.append(best_card_precision(shown, K))
    return found


# ---- report


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def numbers(values: Sequence[float]) -> list[str]:
    return [f"{value:.3f}" for value in values] + [f"{np.mean(values):.3f}"]


def table_of(named: Mapping[str, Figures], best: Sequence[float]) -> list[str]:
    """Metrics by model, a column for each fold and one for their mean."""
    heads = ["metric", "model", *(f"trained from {week[5:]}" for week in WEEKS), "mean"]
    lines = [row(heads), row(["---"] * len(heads))]
    for metric in METRICS:
        lines += [row([NAMES[metric], name, *numbers(figures[metric])]) for name, figures in named.items()]
    return [*lines, row([NAMES["card_precision_at_k"], "best possible", *numbers(best)])]


def apart_of(ours: Mapping[str, Figures], theirs: Mapping[str, Figures]) -> list[str]:
    """Ours less the reference's: means over folds, which are to be within 0.01, and the furthest fold."""
    lines = [row(["learner", "metric", "difference of the means", "of the furthest fold", "within 0.01"])]
    lines.append(row(["---"] * 5))
    for name, figures in ours.items():
        for metric in METRICS:
            each = np.subtract(figures[metric], theirs[name][metric])
            furthest = each[np.abs(each).argmax()]
            verdict = "yes" if abs(each.mean()) <= WITHIN else "no"
            lines.append(row([name, NAMES[metric], f"{each.mean():+.4f}", f"{furthest:+.4f}", verdict]))
    return lines


def difference_table(found: Sequence[Sequence[tuple[float, float, float]]]) -> list[str]:
    lines = [row(["metric", *(f"trained from {week[5:]}" for week in WEEKS)]), row(["---"] * 5)]
    for place, metric in enumerate(METRICS):
        cells = [f"{fold[place][0]:+.3f} ({fold[place][1]:+.3f} to {fold[place][2]:+.3f})" for fold in found]
        lines.append(row([NAMES[metric], *cells]))
    return lines


def over_folds(run: Run) -> str:
    metrics = run.answer["metrics"]
    parts = [
        f"{NAMES[name]} {metrics[name]['mean']:.3f} ({metrics[name]['low']:.3f} to {metrics[name]['high']:.3f})"
        for name in METRICS
    ]
    return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was run: by learner, with own features as they are, with the handbook's parameters, in the last week."""

    frame: pd.DataFrame
    features: list[str]
    test_rows: str
    reference: dict[str, Figures]
    method: dict[str, Run]
    own: Run
    same: Run
    last: tuple[Run, Run]
    seconds: dict[str, float]


def measure(source: str, folder: Path) -> Measured:
    prepare = str(EXAMPLES / "handbook" / "prepare.py")
    subprocess.run([sys.executable, prepare, source, "--folder", str(folder / "data")], check=True)
    payments, labels = folder / "data" / "payments.parquet", folder / "data" / "labels.parquet"
    method = project("handbook", folder / "method")
    seconds = {}
    started = perf_counter()
    shroff(method, "ingest", str(payments), "--as", "payment", "--labels", str(labels))
    seconds["ingest"] = perf_counter() - started
    frame = pq.read_table(payments).to_pandas()
    frauds = pq.read_table(labels)["TRANSACTION_ID"].to_pylist()
    frame["TX_FRAUD"] = frame["TRANSACTION_ID"].isin(frauds).astype(int)
    started = perf_counter()
    frame = reference_features(frame)
    seconds["features by pandas"] = perf_counter() - started
    features = compare_features(method, frame)
    figures, scored = reference(frame)
    runs = {"xgboost": train(method, method)}
    test_rows = compare_rows(runs["xgboost"], scored["xgboost"])
    for learner, parameters in (("forest", "{ trees: 100, depth: 12, columns: 0.2 }"), ("logistic", "")):
        runs[learner] = train(project("handbook", folder / learner, learner=learner, parameters=parameters), method)
    own = train(project("handbook-own", folder / "own"), method)
    same = train(project("handbook-own", folder / "same", parameters=PARAMETERS), method)
    last = (
        train(project("handbook", folder / "last", folds=1), method, LAST_AS_OF),
        train(project("handbook-own", folder / "last-own", folds=1), method, LAST_AS_OF),
    )
    seconds["shroff train, folds, gates and leak test"] = runs["xgboost"].seconds
    seconds["the same with own features"] = own.seconds
    return Measured(frame, features, test_rows, figures, runs, own, same, last, seconds)


def report(found: Measured, load: float) -> str:
    customers = found.frame.set_index("TRANSACTION_ID")["CUSTOMER_ID"]
    method = found.method["xgboost"]
    best = best_possible(method, customers)
    ours = {name: run.figures() for name, run in found.method.items()}
    named = {f"shroff, {name}": figures for name, figures in ours.items()}
    named |= {f"reference, {name}": figures for name, figures in found.reference.items()}
    owned = {"handbook's features": ours["xgboost"], "own features": found.own.figures()}
    owned["own features, handbook's parameters"] = found.same.figures()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("pandas", "scikit-learn", "xgboost-cpu"))
    frauds = int(found.frame["TX_FRAUD"].sum())
    last = dict(zip(("handbook's features", "own features"), found.last, strict=True))
    seconds = ", ".join(f"{name} {taken:.0f}" for name, taken in found.seconds.items())
    lines = [
        "# The Fraud Detection Handbook's method: 15 features, four folds, beside pandas, scikit-learn and XGBoost",
        f"{describe()}, {libraries}. Load of the machine before: {load:.1f}.",
        f"{len(found.frame):,} payments with {frauds:,} frauds. Train a week, wait a week, test a week.",
        f"Test rows, the same for both, known-compromised cards removed: {found.test_rows}.",
        "## Features, every payment",
        "\n".join(found.features),
        "## Metrics",
        "\n".join(table_of(named, best)),
        "\n".join(apart_of(ours, found.reference)),
        f"XGBoost over the four folds with 95 % intervals: {over_folds(method)}.",
        "## Features of our own",
        "\n".join(table_of(owned, best)),
        f"Over the four folds with 95 % intervals: {over_folds(found.own)}.",
        f"Leak test: {_leak(method)} with the handbook's features, {_leak(found.own)} with our own.",
        "Own features less the handbook's, in each fold with its 95 % interval (200 drawings of whole cards):",
        "\n".join(difference_table(differences(found.own, method, customers))),
        "The same, both with the handbook's parameters:",
        "\n".join(difference_table(differences(found.same, method, customers))),
        "A week later, trained from 06-04, which nobody looked at while features were chosen: "
        + "; ".join(f"{name}: {alone(run)}" for name, run in last.items())
        + ".",
        f"Seconds: {seconds}.",
    ]
    return "\n\n".join(lines) + "\n"


def alone(run: Run) -> str:
    return ", ".join(f"{NAMES[name]} {values[-1]:.3f}" for name, values in run.figures().items())


def _leak(run: Run) -> str:
    gate = next(item for item in run.answer["gates"] if item["name"] == "leak_test")
    return "passed" if gate["passed"] else "failed"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("source", help="a Parquet file of the handbook's transactions, or the folder of its pickles")
    chosen = arguments.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        text = report(measure(chosen.source, Path(name)), load)
    print(text)
    write_result("handbook", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
