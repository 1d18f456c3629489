"""What commands answer on small fixed projects, with the clock stopped: documents, exit statuses, decisions."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from shroff.cli.main import run
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS
from shroff_plugins.cluster import spark
from tests.support import learnable
from tests.support.backends import HereBackend
from tests.support.projects import write_files

NOW_S: Final = 1773579600  # 15 March 2026, 13:00
TEMPLATES: Final = ("payments", "paysim", "savings", "orders", "cards", "blank")
EACH: Final = 50  # of decisions without a hit, so many to one in the golden file


def said(*words: str, after_s: int = 0) -> tuple[int, str]:
    """Run a command in this process, with the clock stopped; gives its exit status and what it wrote."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "stdout", out))
        stack.enter_context(mock.patch.object(sys, "stderr", io.StringIO()))
        stack.enter_context(mock.patch.object(os, "nice"))  # one that gives way would do so for all tests behind it
        stack.enter_context(mock.patch.object(time, "time_ns", return_value=(NOW_S + after_s) * 1_000_000_000))
        stack.enter_context(mock.patch.object(time, "time", return_value=float(NOW_S + after_s)))
        status = run(list(words))
    out.flush()
    return status, out.buffer.getvalue().decode()


def template_decisions(folder: Path) -> Iterator[str]:
    """The documents of every template's examples; outcome, rules and receipt of a generated stream that hits rules."""
    for template in TEMPLATES:
        project = made(folder, template)
        for file in sorted((project / "examples").glob("*.json")):
            status, text = said("-C", str(project), "decide", str(file), "--as", file.stem)
            assert status == 0, text
            yield from (f"{template} {document(line)}" for line in text.splitlines())
    project, data = made(folder, "cookbook"), folder / "data"
    program = [sys.executable, str(Path(__file__).parents[2] / "examples/cookbook/generate.py")]
    subprocess.run([*program, "--accounts", "60", "--seed", "1", "--out", data], check=True, capture_output=True)
    for rules in (project / "rules").glob("*.yaml"):
        rules.write_text(rules.read_text(encoding="utf-8").replace("  shadow: true\n", ""), encoding="utf-8")
    for number, line in enumerate(said("-C", str(project), "decide", str(data / "events.jsonl"))[1].splitlines()):
        found = json.loads(line)
        if found.get("rules") or ("receipt" in found and number % EACH == 0):
            rules = ",".join(found["rules"]) or "-"
            yield f"cookbook {found['event']}/{found['id']} {found['outcome']} {rules} = {json.dumps(found['receipt'])}"


def document(line: str) -> str:
    """A decision as a line of a golden file: what names it, then all of it, as it was written."""
    found = json.loads(line)
    return f"{found['event']}/{found['id']} = {line}"


def made(folder: Path, template: str) -> Path:
    project = folder / template
    status, text = said("init", str(project), "--template", template)
    assert status == 0, text
    return project


PROJECT: Final = {
    "shroff.yaml": learnable.FILES["shroff.yaml"] + "ahead: 365d\nlake: ./lake\nbackup: ../backups\nkeep: 400d\n"
    "cases: { second_look: 0%, auto_close: { small: { when: this.amount < 20 } } }\n"
    # of second looks one in twenty would come back, by a key that each project draws
    "summaries: { url: 'sqlite:///summaries.db', columns: { card_type: channel } }\n"
    "sinks: { decided: { sql: { url: 'sqlite:///out.db', table: decisions } } }\n"
    "sources: { nightly: { files: { from: inbox, settled: 0s } } }\n",
    "policy.yaml": learnable.FILES["policy.yaml"]
    + "  costs: { missed_fraud: payment.amount, false_decline: 15, review: 4 }\n",
    "rules/large.yaml": "- id: large\n  on: payment\n  by: card\n  when: this.amount > 300\n"
    "  reason: A payment of {this.amount}\n  effect: review\n  notify: told\n",
    "drafts/large.yaml": "- id: large\n  on: payment\n  by: card\n  when: this.amount > 200\n"
    "  reason: A payment of {this.amount}\n  effect: review\n",
    "rules/watched.yaml": "- id: watched\n  on: payment\n  by: card\n  notify: told\n"
    "  when: this.card in lists.watched\n"
    "  reason: The card is on a list\n  effect: decline\n",
    "lists/watched.csv": "value,note,added_by,expires_at\nc3,seen before,ann,\n",
    "notices/told.yaml": "on: flag\nevent: payment\nto: { look_up: \"join(this.card, '@customers.example')\" }\n"
    "show: { amount: this.amount }\nask: true\nlasts: 1d\n",
    "more.csv": "value,note,added_by,expires_at\nc9,stolen,ann,\n",
    "funnels.yaml": "growing:\n  user: card\n  steps:\n    - payment\n"
    "    - { name: large, event: payment, where: this.amount > 100 }\n  within: 7d\n",
    "schedules.yaml": "nightly: { kind: marts, cron: '0 5 * * *' }\n",
    "marts/by_day.sql": "SELECT date_trunc('day', \"at\") AS day, count(*) AS payments\nFROM payment\nGROUP BY 1\n"
    "ORDER BY 1\n",
    "large.json": '{"id": "large-1", "at": "2026-03-15T12:00:00Z", "card": "c7", "amount": "900.00", '
    '"channel": "web"}\n',
    "wrong.jsonl": '{"payment": {"id": "wrong-1", "at": "2026-03-15T12:00:00Z", "card": "c7", "amount": "many"}}\n',
    "inbox/later.jsonl": '{"payment": {"id": "later-1", "at": "2026-03-15T12:30:00Z", "card": "c7", "amount": "1.00", '
    '"channel": "web"}}\n',
    "disputes.csv": "event,stage,known_at,due\np0-1,dispute,2026-03-20T00:00:00Z,2026-04-09T00:00:00Z\n",
    "radar.txt": "Block if :card_country: != :ip_country:\n",
}
DAYS: Final = 14
USER: Final = getpass.getuser()
TEXT_MAX: Final = 300  # a longer value is a page or a script
ITEMS: Final = 1  # of each list of objects in an answer
OF_THE_MACHINE: Final = {"capacity", "doctor", "status"}  # commands whose values follow the machine: types alone
OPEN: Final = {"bytes", "files", "pieces", "seconds"}  # by how things are stored, and by the machine
MODEL: Final = re.compile(r"\bm-[0-9]{8}-[0-9a-f]{4}\b")
HASH: Final = re.compile('"[0-9a-f]{64}"')
PROSE: Final = {"detail", "message", "text", "words", "hint", "title", "why", "meaning", "help"}  # may be said better


def command_answers(folder: Path) -> Iterator[str]:
    """The exit status and the document of each command of the scenario, on one project."""
    project = learnable.make_project(folder / "bank")
    write_files(project, PROJECT)
    learnable.write_days(project / "payments.jsonl", range(DAYS))
    known, models = dict[str, str](), dict[str, str]()
    # Spark's virtual machine would stay in this process, with a folder that is gone: those behind it find nothing.
    here = mock.patch.object(spark, "SparkBackend", return_value=HereBackend())
    with contextlib.chdir(project), here:
        for words in scenario():
            of_words = [word.format_map(known) if "{" in word else word for word in words]
            status, text = said(*of_words, "--json", after_s=words == ("train",))  # models are listed by their age
            yield f"$ shroff {shlex.join(words)}: exit {status}"
            try:
                found = [json.loads(line) for line in text.splitlines()] if "{" in text[:1] else [text]
            except json.JSONDecodeError as error:
                raise AssertionError(f"{words} printed {text!r}") from error
            known |= newest(found)
            if words == ("train",):
                continue  # a second one, for the commands that need two
            for line in lines_of(found[0] if len(found) == 1 else found):
                shown = typed(line) if words[0] in OF_THE_MACHINE or is_open(line) else line
                yield f"  {without_processor(shown, models)}"


def without_processor(line: str, models: dict[str, str]) -> str:
    """A line without what follows the last bits of a model's numbers, which libraries compute by the processor.

    Models are numbered in the order in which they appear.
    """
    named = MODEL.sub(lambda found: models.setdefault(found[0], f"<model {len(models) + 1}>"), line)
    return HASH.sub('"<sha256>"', named)


def is_open(line: str) -> bool:
    """Whether a value may be said better, or be another number: only its type is compared."""
    name, _, value = line.partition(" = ")
    key = name.rpartition(".")[2]
    return key in PROSE or (key in OPEN and value[:1].isdecimal())


def typed(line: str) -> str:
    """A line with the type of its value."""
    name, _, value = line.partition(" = ")
    if name.endswith(("case_age_seconds", "case_due_seconds")):  # none where no case was made yet
        return f"{name} = <float or null>"
    return f"{name} = <{type(json.loads(value)).__name__}>" if value[:1] != "<" else line


def scenario() -> list[tuple[str, ...]]:
    """The words of each command: those of the file, then the first example of each operation that it leaves out."""
    text = Path(__file__).with_name("scenario.txt").read_text(encoding="utf-8")
    return with_examples([tuple(shlex.split(line)) for line in text.splitlines() if not line.startswith("#")])


def with_examples(steps: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The steps, and the first example of each operation whose command is in none of them."""
    manifest.load_all()
    declared = [
        (tuple(name.split()), operation.examples) for name, operation in OPERATIONS.items() if operation.has_command
    ]
    added = [
        tuple(shlex.split(examples[0])[1:])
        for words, examples in sorted(declared)  # not in the order in which plug-ins are found
        if examples and not any(step[: len(words)] == words for step in steps)
    ]
    return steps + added


def newest(found: Any) -> dict[str, str]:
    """The texts and numbers of an answer by their keys, those of the first item of a list too."""
    if isinstance(found, list):
        return newest(found[0]) if found else {}
    if not isinstance(found, dict):
        return {}
    below = {key: value for part in found.values() for key, value in newest(part).items()}
    return below | {key: str(value) for key, value in found.items() if isinstance(value, str | int)}


def lines_of(value: Any, path: str = "") -> Iterator[str]:
    """A JSON value as lines `path = value`; of a list its first items and the count of all."""
    if isinstance(value, dict) and value:
        for key, part in sorted(value.items()):  # the order of keys is no promise
            yield from lines_of(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict | list):
        yield f"{path}.length = {len(value)}"
        for number, part in enumerate(value[:ITEMS]):
            yield from lines_of(part, f"{path}[{number}]")
    else:
        text = json.dumps(float(f"{value:.6g}") if isinstance(value, float) else value, ensure_ascii=False)
        varies = value in {USER, f"os-{USER}"} if isinstance(value, str) else False
        yield typed(f"{path} = {text}") if varies or len(text) > TEXT_MAX else f"{path} = {text}"
