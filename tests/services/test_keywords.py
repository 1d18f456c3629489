"""A keyword that a call of the project does not have is refused with the nearest: of all calls of all parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shroff
from shroff.runtime.keywords import check_keywords, keywords_of
from shroff.services.parts import ProjectParts
from shroff.services.project import make_project

TAKES_ANY = {"Project.call"}  # the fields of an operation, which it checks itself


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> shroff.Project:
    return make_project(tmp_path_factory.mktemp("keywords") / "bank", "payments")[0]


def calls_of(project: shroff.Project) -> Iterator[tuple[str, Callable[..., Any]]]:
    """All public methods of the project and of its parts, by name."""
    owners = [project, *(getattr(project, name) for name in (*ProjectParts.__annotations__, "log"))]
    for owner in owners:
        for name, _ in inspect.getmembers(type(owner), inspect.isfunction):
            if not name.startswith("_"):
                yield f"{type(owner).__name__}.{name}", getattr(owner, name)


def test_a_misspelt_keyword_names_the_right_one_in_every_call_of_every_part(project: shroff.Project):
    silent, tried = [], 0
    for name, call in calls_of(project):
        known = keywords_of(call)
        if known is None:
            assert name in TAKES_ANY
            continue
        for right in known - {"self"}:
            misspelt, tried = right + right[-1], tried + 1
            try:
                call(**{misspelt: None})
            except TypeError as error:
                if f"{misspelt!r}. Did you mean {right}?" in str(error):
                    continue
            silent.append(f"{name}({misspelt}=)")

    assert silent == []
    assert tried > 200


@pytest.mark.parametrize(
    "call, meant",
    [
        (lambda project: project.backtest(rule="drafts"), "rules"),
        (lambda project: project.backtest(strt="2026-02-01"), "start"),
        (lambda project: project.training.import_model("own.json", check="c", trained_untill="2026-02-19"), "until"),
        (lambda project: project.train("payment", promot=True), "promote"),
        (lambda project: project.ingest("payments.csv", as_typ="payment"), "as_type"),
        (lambda project: project.label("payment/p-1", "genuine", sourc="analyst"), "source"),
    ],
)
def test_what_people_misspelt(project: shroff.Project, call: Callable[[shroff.Project], object], meant: str):
    with pytest.raises(TypeError, match=rf"Did you mean \w*{meant}\?"):
        call(project)


def test_options_are_parameters_that_a_notebook_shows(project: shroff.Project):
    shown = {
        name: set(inspect.signature(getattr(project, name)).parameters) for name in ("backtest", "train", "ingest")
    }

    assert {"rules", "start", "end"} <= shown["backtest"]
    assert {"as_of", "promote", "files"} <= shown["train"]
    assert {"as_type", "labels", "order"} <= shown["ingest"]


def test_a_class_that_is_not_checked_would_be_seen():
    class Silent:
        def run(self, **how: object) -> None:
            """Takes any keyword."""

        def plain(self, rules: object = None) -> None:
            """Takes one."""

    assert keywords_of(Silent.run) is None
    with pytest.raises(TypeError, match=r"^((?!Did you mean rules\?).)*$"):
        Silent().plain(rule=1)
    with pytest.raises(TypeError, match=r"Did you mean rules\?"):
        check_keywords(Silent)().plain(rule=1)
