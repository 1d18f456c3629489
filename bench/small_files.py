"""Trains on two small public files by the commands that their pages name, and keeps what came out beside the baselines.

The ULB sample by `examples/ulb`, the PaySim sample by the template `paysim`. Both samples are rich in frauds, so
nothing here is a rate that one would meet outside.

Run: python -m bench.small_files ULB.csv PAYSIM.csv
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.machine import describe, write_result

SHROFF = str(Path(sys.executable).with_name("shroff"))
ROOT = Path(__file__).parent.parent
PROJECTS = {"ULB sample": ROOT / "examples" / "ulb", "PaySim sample": ROOT / "src" / "shroff" / "templates" / "paysim"}
METRICS = (
    ("average_precision", "average precision"),
    ("auc_roc", "AUC ROC"),
    ("card_precision_at_k", "card precision at k"),
    ("precision_at_review", "precision at review"),
    ("recall_at_review", "recall at review"),
)


def shroff(folder: Path, *arguments: str) -> str:
    command = [SHROFF, "-C", str(folder), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in {0, 1}:  # 1: a gate failed, which is said
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def trained(folder: Path, file: Path) -> dict[str, Any]:
    shroff(folder, "ingest", str(file), "--as", "payment", "--labels", str(file), "--order", "time")
    answer: dict[str, Any] = json.loads(shroff(folder, "train", "--json"))
    return answer


def cell(metrics: Mapping[str, Any], name: str) -> str:
    metric = metrics.get(name)
    if metric is None or metric["mean"] is None:
        return "-"
    ends = "" if metric["low"] is None else f" ({metric['low']:.3f} to {metric['high']:.3f})"
    return f"{metric['mean']:.3f}{ends}"


def section(name: str, answer: Mapping[str, Any]) -> list[str]:
    beside = answer["baselines"]
    columns = {"model": answer["metrics"]}
    if answer["without_give_away"]:
        columns["model without give-away fields"] = answer["without_give_away"]
    columns |= {key.replace("_", " "): baseline["metrics"] for key, baseline in beside.items()}
    lines = [f"## {name}", "", f"| metric | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for key, words in METRICS:
        cells = [cell(metrics, key) for metrics in columns.values()]
        if any(item != "-" for item in cells):
            lines.append(f"| {words} | {' | '.join(cells)} |")
    folds = "; ".join(
        f"{fold['test_rows']:,} with {fold['test_frauds']:,} after learning from {fold['train_rows']:,} with"
        f" {fold['train_frauds']:,}"
        for fold in answer["folds"]
    )
    gates = ", ".join(f"{gate['name']} {'passed' if gate['passed'] else 'failed'}" for gate in answer["gates"])
    lines += ["", f"Events and frauds of each test: {folds}. The best rule is {beside['best_rule']['about']}."]
    given = ", ".join(answer["give_away"])
    lines += [f"Fields that give the answer away: {given}."] if given else []
    return [*lines, f"Gates: {gates}. {answer['seconds']:.0f} seconds.", ""]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("ulb", type=Path)
    arguments.add_argument("paysim", type=Path)
    chosen = arguments.parse_args()
    lines = ["# Training on the ULB sample and the PaySim sample, by one command each", "", f"{describe()}.", ""]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        for (title, project), file in zip(PROJECTS.items(), (chosen.ulb, chosen.paysim), strict=True):
            folder = Path(name) / project.name
            shutil.copytree(project, folder, ignore=shutil.ignore_patterns("data", ".shroff", "models"))
            lines += section(title, trained(folder, file))
    text = "\n".join(lines)
    print(text)
    write_result("small_files", text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
