"""What the laws of the engines are tried on: that it is enough, and that it has what is hard in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

from shroff.events.labels import LabelEvent
from shroff.language.aggregates import AGGREGATES
from tests.laws.projects import LENGTHS, OTHER_FILES, computing_project, history_of, project, text_of
from tests.laws.test_engines import by_definition
from tests.support.effort import times

FORMS = [
    *(f"{name}(" for name in AGGREGATES),
    *(f"over {length} delayed" for length in LENGTHS),
    *(f"over last {count} including this" for count in range(1, 5)),
    *(f"{word} since flag" for word in (")", *LENGTHS)),
    *(
        "including this",
        "matching payment.",
        "this.amount",
        "of payment",
        "of payment where",
        "label.of.amount",
        "of each source",
    ),
    *("lists.blocked", "tables.places[this.country]", "tables.places[payment.country]", "share(label"),
    *("merchant:", "card_country:", "region:", "by: card_country", "by: region", "on: login"),
    *("expires:", "rollout:", "reason:", "effect: allow", "effect: decline", "shadow: true"),
]


@cache
def made_up_texts(count: int) -> list[tuple[str, str]]:
    random = Random(1)
    numbers = [[random.getrandbits(32) for _ in range(8)] for _ in range(count)]
    return [text_of(made[:6], made[6:]) for made in numbers]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_language_is_in_generated_projects(form: str) -> None:
    assert sum(form in "".join(made) for made in made_up_texts(1_000)) >= 5


def test_generated_histories_have_what_is_hard() -> None:
    found: Counter[str] = Counter()
    for seed in range(200):
        newest_ms, seen, labelled = 0, set(), set[str]()
        for event in history_of(seed, 40):
            if isinstance(event, LabelEvent):
                found["verdict that changes nothing"] += not event.changes
                found["second label of an event"] += event.of.id in labelled
                found["label known late"] += event.time_ms < newest_ms
                labelled.add(event.of.id)
                continue
            key = event.values[2]
            found["missing key"] += key is None
            found["hot key"] += key == "a"
            found["tie"] += (key, event.time_ms) in seen
            found["late"] += event.time_ms < newest_ms
            found["pause"] += newest_ms > 0 and event.time_ms - newest_ms > 1_000
            seen.add((key, event.time_ms))
            newest_ms = max(newest_ms, event.time_ms)

    assert min(found.values()) >= 100, found
    assert found["hot key"] > 2_000


def test_generated_windows_are_empty_now_and_then_and_mostly_not() -> None:
    answers: Counter[str] = Counter()
    for seed, made in enumerate(made_up_texts(60)):
        for row in by_definition(computing_project(*made), history_of(seed, 40)):
            answers.update(row.values())

    assert answers["0"] > 1_000
    assert 1_000 < answers["null"] < 0.6 * sum(answers.values())
    assert len(answers) > 300


def test_generated_versions_differ_in_each_of_the_other_files() -> None:
    base = project("").files
    found = Counter(
        name
        for others in range(1, 60)
        for name, text in project("", "", others).files.items()
        if base.get(name) != text
    )

    assert found.keys() == OTHER_FILES.keys()
    assert min(found.values()) >= 10


def laws_of(module: Any) -> Iterator[Any]:
    own = [var for var in vars(module).values() if getattr(var, "__module__", None) == module.__name__]
    return (item for item in own if is_hypothesis_test(item))


def test_a_run_makes_hundreds_of_projects_with_their_histories_and_a_campaign_thousands() -> None:
    modules = [import_module(f"tests.laws.{path.stem}") for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    laws = [law for module in modules for law in laws_of(module)]
    cases = {law.__name__: law._hypothesis_internal_use_settings.max_examples for law in laws}
    with_history = {law.__name__ for law in laws if "made" in signature(law.hypothesis.inner_test).parameters}

    assert sum(cases[name] for name in with_history) >= times(300, 3_000), cases
    assert sum(cases.values()) >= times(1_000, 10_000), cases
