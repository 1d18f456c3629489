"""The rule cookbook: its page shows the template's own text and the figures of its own backtest; its data repeats."""

from __future__ import annotations

import csv
import re
import runpy
from itertools import takewhile

import pytest

from shroff.config import TEMPLATE_FOLDER
from tests.docs.pages import ROOT, blocks

SCRIPT = runpy.run_path(str(ROOT / "examples/cookbook/generate.py"))
REPORTED, generate = SCRIPT["REPORTED"], SCRIPT["generate"]
PAGE = (ROOT / "docs/howto/rule-cookbook.md").read_text(encoding="utf-8")
SHOWN = [body.split("\n", 1) for _, kind, body in blocks(PAGE) if kind == "yaml"]
SIGNALS = blocks((ROOT / "docs/howto/signals-cookbook.md").read_text(encoding="utf-8"))
KIND_OF = {"mule_account": "mule account", "bust_out": "first-party fraud"}


def rows(head: str) -> dict[str, list[str]]:
    """The rows of a table of the page below its head, by their first cell."""
    lines = PAGE.split(head, 1)[1].splitlines()[1:]
    cells = [re.split(r"\s{2,}|\s*\|\s*", line.strip(" |")) for line in lines if not line.startswith("|--")]
    return {row[0].strip("`"): row[1:] for row in takewhile(lambda row: len(row) == len(cells[0]), cells)}


@pytest.mark.parametrize(("head", "body"), SHOWN, ids=[f"{n}-{head[2:]}" for n, (head, _) in enumerate(SHOWN)])
def test_the_page_shows_what_the_template_has(head, body):
    text = (TEMPLATE_FOLDER / "cookbook" / head.removeprefix("# ")).read_text(encoding="utf-8")

    assert body in text or set(body.splitlines()) <= set(text.splitlines())


def test_the_page_of_the_signals_shows_the_features_and_each_rule_of_their_template():
    folder = TEMPLATE_FOLDER / "signals"
    shown = dict(body.split("\n", 1) for _, kind, body in SIGNALS if kind == "yaml")
    lacking = [
        line
        for head, body in shown.items()
        for text in [(folder / head.removeprefix("# ")).read_text(encoding="utf-8").splitlines()]
        for line in body.splitlines()
        if line not in text
    ]

    assert lacking == []
    assert {f"# rules/{path.name}" for path in (folder / "rules").iterdir()} | {"# features.yaml"} == shown.keys()


def test_every_rule_and_feature_of_the_template_is_on_the_page():
    folder = TEMPLATE_FOLDER / "cookbook"
    features = re.findall(r"^  (\w+): ", (folder / "features.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    rules = [path.read_text(encoding="utf-8") for path in (folder / "rules").iterdir()]

    assert [name for name in features if f"\n  {name}: " not in PAGE] == []
    assert [text for text in rules if text.partition("  effect:")[0] not in PAGE] == []


def test_precision_and_recall_of_the_page_are_those_of_its_backtest():
    known = {kind: int(labeled) for kind, (_, labeled) in rows("with a label").items()}
    measured = rows("only it finds")
    shown = rows("| Fraud found, EUR |")

    assert set(shown) == set(measured)
    assert len(shown) == len(known) == len(REPORTED)
    for rule, (_, hits, fraud, precision, money, _) in measured.items():
        recall = int(fraud) / known[KIND_OF.get(rule, rule.replace("_", " "))]
        assert shown[rule] == [f"{precision.split()[0]} %", f"{100 * recall:.0f} %", f"{int(hits) / 60:.1f}", money]


def test_the_same_numbers_give_the_same_events_in_the_order_of_time(tmp_path):
    made = [generate(tmp_path / name, 60, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    texts = [[path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in "abc"]
    times = re.findall(rb'_at": "([^"]+)"', texts[0][0])

    assert texts[0] == texts[1] != texts[2]
    assert times == sorted(times)
    assert len(times) == made[0].events


def test_every_kind_of_fraud_occurs_and_some_is_not_reported(tmp_path):
    made = generate(tmp_path, 200, 1)
    with (tmp_path / "labels.csv").open(encoding="utf-8") as file:
        reasons = [row["reason"] for row in csv.DictReader(file)]

    assert set(reasons) == set(made.frauds) == set(REPORTED)
    assert {kind: reasons.count(kind) for kind in REPORTED} == made.labels
    assert sum(made.labels.values()) < sum(made.frauds.values())
