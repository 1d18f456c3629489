"""One declaration is enough: an operation that the test makes up has every face, and nothing else names it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import click
import pytest

from docs.made import command_part
from docs.made_api import route_part
from shroff.cases.case_service import CaseService
from shroff.cli.main import run
from shroff.cli.operations import command_of
from shroff.client import calls
from shroff.client.asynchronous import AsyncClient
from shroff.client.synchronous import Client
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import RefusalError, UsageError
from shroff.operations import declaration, manifest
from shroff.operations.declaration import (
    ITEM,
    AskedBy,
    InvalidRequestError,
    Operation,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    Record,
    ReportAnswer,
    operation,
    request_of,
)
from shroff.people.access import Right, Who
from shroff.people.store import Desk, rows_of
from shroff.runtime.texts import section
from shroff.services import project as app
from shroff.services import running
from shroff.services.jobs.kinds import kind_named
from shroff.services.jobs.work import JobRun
from shroff.services.lists.files import ListFiles
from shroff.services.parts import ProjectPart
from shroff.services.rules.operations import WriteRuleFile
from shroff.services.running import VALUES
from shroff.web.api.operations import route_of
from shroff.web.http.openapi import openapi
from tests.support.webs import asker


class SameListError(RefusalError):
    """Both are the same list."""

    status, code, title = 409, "same-list", "This is the same list"


class CompareLists(OperationRequest["Compared"], rename={"start": "from"}):
    """Two lists to compare.

    Args:
        first: The first list.
        second: The second list.
        start (VALUE): Ignore values before
            this one.
        side: The side to name.
        is_loud: Use capitals.
        skip: A value to skip. May be repeated.
        by: Who compares.
    """

    first: Annotated[str, Param(complete="list_names")]
    second: Annotated[str, Param(complete="list_names")]
    start: Annotated[str, Param(flags="--from")] = ""
    most: Annotated[int, Param("How many values to name.")] = 20
    side: Literal["both", "first"] = "both"
    is_loud: Annotated[bool, Param(flags="--loud")] = False
    skip: tuple[str, ...] = ()
    by: Annotated[str, Param(is_local=True)] = ""


class Compared(OperationAnswer):
    """The values that one list has and the other lacks."""

    only: list[str]
    by: str

    def text(self) -> str:
        return f"{len(self.only)} differ."

    def hints(self) -> Sequence[str]:
        return ["shroff lists"]

    def exit_status(self) -> int:
        return 1 if self.only else 0


def compare_lists(lists: ListFiles, who: Who, request: CompareLists) -> Compared:
    """Compare the values of two lists.

    Examples:
        shroff lists tried one two
    """
    if request.first == request.second:
        raise SameListError(f"{request.first} is one list")
    there, others = ({entry.value for entry in lists.entries(name)} for name in (request.first, request.second))
    found = there ^ others if request.side == "both" else there - others
    only = sorted(value for value in found - set(request.skip) if value >= request.start)[: request.most]
    return Compared(only=[value.upper() for value in only] if request.is_loud else only, by=request.by or who.name)


@pytest.fixture
def made() -> Iterator[Operation[..., Compared]]:
    declare = operation(
        "lists tried",
        right="read:definitions",
        http="POST /lists/{first}/tried",
        audit="list.compare",
        is_long=True,
        refusals=[SameListError],
    )
    manifest.load("lists")
    yield declare(compare_lists)
    del declaration.OPERATIONS["lists tried"]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    for name, values in {"one": "a\nb\n", "two": "b\nc\n"}.items():
        (tmp_path / "bank" / "lists" / f"{name}.csv").write_text(f"value\n{values}", encoding="utf-8")
    return tmp_path / "bank"


def test_it_is_a_command_with_arguments_options_and_an_example(made, bank, capsys):
    words = ["-C", str(bank), "lists", "tried", "one", "two"]

    assert run([*words, "--json", "--by", "eve", "--loud", "--skip", "c"]) == 1
    assert json.loads(capsys.readouterr().out) == {"only": ["A"], "by": "eve"}
    assert run([*words, "--from", "x"]) == 0
    said = capsys.readouterr()
    assert said.out == "0 differ.\n"
    assert "shroff lists" in said.err or "lists" in said.err
    assert run([*words, "--side", "second"]) == 2
    assert "'both', 'first'" in capsys.readouterr().err
    assert run([*words, "--most", "few"]) == 2
    assert run(["lists", "tried", "--help"]) == 0
    shown = capsys.readouterr().out
    for part in ("FIRST SECOND", "--from VALUE", "--most INTEGER", "[both|first]", "shroff lists tried one two"):
        assert part in shown


def test_a_shell_completes_its_arguments(made, bank):
    command = command_of("lists")
    assert isinstance(command, click.Group)
    compare = command.commands["tried"]
    context = click.Context(compare, parent=click.Context(command))
    context.find_root().params["folder"] = bank
    (first,) = (parameter for parameter in compare.params if parameter.name == "first")
    offered = first.shell_complete(context, "o")

    assert [item.value for item in offered] == ["one"]


def test_python_calls_it_by_its_request_and_by_its_name(made, bank):
    project = app.open(bank)
    answer = project.run(CompareLists(first="one", second="two", by="eve"))

    assert answer == Compared(only=["a", "c"], by="eve")
    assert project.call("lists tried", first="one", second="two", by="eve") == answer
    assert project.call("lists tried", first="one", second="two", start="b").only == ["c"]
    with pytest.raises(SameListError):
        project.run(CompareLists(first="one", second="one"))
    with pytest.raises(InvalidRequestError, match="Did you mean 'lists tried'"):
        project.call("lists trie", first="one")
    with pytest.raises(InvalidRequestError, match=r"missing required field `second`"):
        project.call("lists tried", first="one")
    with pytest.raises(InvalidRequestError, match=r"- at `\$.start`"):  # which JSON calls `from`
        project.call("lists tried", first="one", second="two", start=[])
    with pytest.raises(InvalidRequestError, match=r"no field 'third'\. It has first, second, start"):
        project.call("lists tried", first="one", second="two", third="x")


def test_every_operation_can_be_called_by_its_name():
    """Parts of a project, calls of a client: none of their names hides an operation."""
    manifest.load_all()
    for name in declaration.OPERATIONS:
        with pytest.raises(InvalidRequestError, match=f"{name} has no field 'nobody_has_it'"):
            request_of(name, {"nobody_has_it": 1})


@pytest.mark.slow
def test_it_is_a_route_with_its_right_before_its_body_and_its_row_before_it_acts(made, bank):
    async def steps() -> None:
        async with asker(bank) as asks:
            path = "/api/v1/lists/one/tried"
            assert (await asks.ask("POST", path, b"{", key="")).status == 401
            assert (await asks.ask("POST", path, b"{", key="nothing")).status == 403
            for body in (b"{", {"second": 1}, {"second": "two", "x": 1}, {"second": "two", "by": "eve"}, {}):
                assert (await asks.ask("POST", path, body)).status == 422
            refused = await asks.ask("POST", "/api/v1/lists/two/tried", {"second": "two"})
            assert (refused.status, refused.json()["type"]) == (409, "same-list")
            call = calls.operation(request := CompareLists(first="one", second="two", start="b"))
            answered = await asks.ask(call.method, call.path, call.body)
            assert calls.answer(request, answered.body) == Compared(only=["c"], by="admin")

            rows = [row for row in rows_of(asks.service.desk.store) if row.action == "list.compare"]
            assert [(row.name, row.via, row.subject) for row in rows] == [
                ("admin", "api", f"lists {x}") for x in ("two", "one")
            ]
            assert json.loads(rows[1].after)["from"] == "b"

    asyncio.run(steps())


def test_a_client_says_of_what_is_new_that_it_is():
    sent = [calls.operation(WriteRuleFile(file="a.yaml", source="x", etag=etag)).headers for etag in ("", "1")]
    assert [{name: told.get(name) for name in ("if-match", "if-none-match")} for told in sent] == [
        {"if-match": None, "if-none-match": "*"},
        {"if-match": '"1"', "if-none-match": None},
    ]


def test_openapi_and_the_reference_tell_of_it(made, bank):
    route = route_of(made)
    document = openapi([route], app.open(bank).definitions.events)
    told = document["paths"]["/api/v1/lists/{first}/tried"]["post"]
    schema = document["components"]["schemas"]["CompareLists"]

    assert told["summary"] == "Compare the values of two lists."
    assert told["responses"]["409"]["description"] == "Both are the same list."
    assert told["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/CompareLists"}
    assert list(schema["properties"]) == ["second", "from", "most", "side", "is_loud", "skip"]
    assert schema["properties"]["from"]["description"] == "Ignore values before this one."
    assert schema["required"] == ["second"]
    assert "Compared" in document["components"]["schemas"]
    assert "`shroff lists tried FIRST SECOND`" in command_part("lists", command_of("lists"))
    assert "## POST /api/v1/lists/{first}/tried" in route_part(route)


def test_one_that_may_take_long_is_a_kind_of_job(made, bank):
    kind = kind_named("lists-tried")
    params = kind.read({"first": "one", "second": "two", "from": "b"})

    assert (kind.meaning, params.rights) == ("Compare the values of two lists.", (Right.READ_DEFINITIONS,))
    assert kind.parameters == ("first", "second", "from", "most", "side", "is_loud", "skip")
    project = app.open(bank)
    assert kind.load()(project, params, JobRun(0)) == {"only": ["c"], "by": project.context.who.name}
    with pytest.raises(UsageError, match="lists-tried has no such parameter"):
        kind.read({"first": "one", "second": "two", "by": "eve"})


def test_a_name_is_declared_once(made):
    def other(request: CompareLists) -> Compared: ...

    other.__module__ = "elsewhere"
    with pytest.raises(ValueError, match=r"declared by .*test_operation and by elsewhere"):
        operation("lists tried", right="read:definitions")(other)


class CountPlaces(OperationRequest["Compared"]):
    """Nothing."""


def test_a_parameter_whose_type_is_not_imported_at_run_time_is_told_by_name(made, monkeypatch):
    def late(part: NotImported, request: CountPlaces) -> Compared: ...  # noqa: F821 (what is tested)

    monkeypatch.setattr(declaration, "OPERATIONS", dict(declaration.OPERATIONS))
    with pytest.raises(UsageError, match=r"'lists late' needs NotImported.*outside 'if TYPE_CHECKING'"):
        _ = operation("lists late", right="read:definitions")(late).needs


def test_a_parameter_that_no_project_has_is_told_before_anything_is_recorded(made, bank, monkeypatch):
    def places(folder: Path, request: CountPlaces) -> Compared: ...

    monkeypatch.setattr(declaration, "OPERATIONS", dict(declaration.OPERATIONS))
    declared = operation("lists places", right="write:lists", audit="places counted")(places)
    monkeypatch.setattr(running, "operation_of", lambda _: declared)
    project = app.open(bank)
    with pytest.raises(UsageError, match=r"'lists places' needs .*Path.*which a project does not have"):
        project.run(CountPlaces())
    with project.people.open() as people:
        assert not [row for row in rows_of(people.store) if row.action == "places counted"]


# ---- all operations


def declared() -> list[Operation[..., OperationAnswer]]:
    manifest.load_all()
    return list(declaration.OPERATIONS.values())


def test_each_operation_says_what_it_does_and_takes_what_a_project_can_give():
    values = {*VALUES, Record, ProgressSteps, AskedBy, app.Project, CaseService, Desk}
    for path in declared():
        assert Right(path.right), path.name
        assert path.summary.endswith("."), path.name
        parts = set(path.needs.values()) - values
        assert all(issubclass(kind, ProjectPart) for kind in parts), f"{path.name} takes {path.needs}"
        assert path.name.split()[0] in manifest.commands(), path.name
        described = {
            item[0] for base in path.request.__mro__ for item in ITEM.findall(section(base.__doc__, "Args")[1])
        }
        assert described <= {field.name for field in path.fields}, f"{path.name}: Args name what is no field"
        for field in path.fields:
            is_of_job = path.is_long and (
                field.name in path.job_fields if path.job_fields else not field.about.is_local
            )
            assert not (is_of_job and "Path" in str(field.type)), "jobs name paths by InPath and OutPath"
            assert field.about.help or not path.has_command, f"{path.name} {field.name} has no help"


def reports(base: type[ReportAnswer]) -> Iterator[type[ReportAnswer]]:
    for made_of in base.__subclasses__():
        yield from reports(made_of)
        yield made_of


def test_no_answer_is_told_as_the_repr_of_a_text_or_a_number():
    declared()
    told_by_repr = [
        item
        for item in reports(ReportAnswer)
        if item.text is ReportAnswer.text and "__orig_bases__" in vars(item) and not item.__subclasses__()
    ]
    kinds = {item.__name__: get_args(item.__orig_bases__[0])[0] for item in told_by_repr}
    assert {"Diagnosis", "ComparedModels"} <= kinds.keys()
    assert [name for name, kind in kinds.items() if (get_origin(kind) or kind) in (str, int, bool, tuple, list)] == []


def test_a_client_has_operations_by_name():
    sent: list[object] = []

    class Silent(Client):
        def __init__(self) -> None:
            self._client = AsyncClient("http://nowhere", "key")

        def _given(self, call):
            with suppress(StopIteration):
                call.send(None)

    async def send(request, **_more):
        sent.append(request)

    client = Silent()
    client._client.send = send
    client.call("lists show", name="cards")
    assert [type(request).__name__ for request in sent] == ["ShowList"]
    with pytest.raises(InvalidRequestError, match="no operation 'lists burn'"):
        client.call("lists burn")
    with pytest.raises(InvalidRequestError, match="no route"):
        calls.operation(request_of("check", {}))


def test_a_request_is_enough_though_nobody_imported_its_operation() -> None:
    code = (
        "from shroff.operations.declaration import operation_of\n"
        "from shroff_plugins.analytics.counts import CountQuestion\n"
        "print(operation_of(CountQuestion()).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "counts\n"
