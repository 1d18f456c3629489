"""Runs operations on an opened project: passes the parts that they need and writes the audit record first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import fields as fields_of

from shroff.events.event import time_text_or_none
from shroff.operations.declaration import Operation, OperationAnswer, OperationRequest, ProgressSteps, operation_of
from shroff.services.parts import ProjectParts

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.people.store import Desk
    from shroff.services.people.project_people import ProjectPeople
    from shroff.services.project import Project
    from shroff.streams.log import Log

Outcome = TypeVar("Outcome", bound=OperationAnswer)
Answer = TypeVar("Answer", bound=Struct)


def _cases(project: Project, held: ExitStack) -> CaseService:
    return held.enter_context(project.cases.open())


def _log(project: Project, held: ExitStack) -> Log:
    return held.enter_context(project.log.reading())


def _desk(project: Project, held: ExitStack) -> Desk:
    people: ProjectPeople = project.people
    return held.enter_context(people.open())


# Parts of a project by the names of their classes.
PARTS = {kind: name for name, kind in ProjectParts.__annotations__.items()}
# Other arguments of operations; a log stays open until the operation ends.
VALUES: Final[Mapping[str, Callable[[Project, ExitStack], object]]] = {
    "CaseService": _cases,
    "Clock": lambda project, _: project.context.now_ms,
    "Desk": _desk,
    "Definitions": lambda project, _: project.definitions,
    "Log": _log,
    "Project": lambda project, _: project,
    "ProjectLog": lambda project, _: project.log,
    "ProjectPaths": lambda project, _: project.context.paths,
    "Registry": lambda project, _: project.context.registry,
    "ServiceUrl": lambda project, _: project.context.asked_at or project.context.systems.public_url,
    "Systems": lambda project, _: project.context.systems,
    "Warn": lambda project, _: project.context.warnings.append,
    "Who": lambda project, _: project.context.who,
}


def run(project: Project, request: OperationRequest[Outcome], progress: ProgressSteps) -> Outcome:
    """Run an operation for the project's caller. Raises: as the operation."""
    declared = operation_of(request)
    kind, _, counts = declared.of_two.partition(" ")

    def record(subject: str, before: object = None, after: object = None) -> None:

        project.people.record(declared.audit, subject, before, after)

    own = {"Record": record, "ProgressSteps": progress, "AskedBy": ""}
    with ExitStack() as held:
        if kind in project.context.systems.second_person and (not counts or getattr(request, counts)):
            change = {"act": declared.name, **msgspec.to_builtins(request)}
            own["AskedBy"] = held.enter_context(project.agreements.need(kind, _subject(declared, request), change))
        if declared.audit and "Record" not in declared.needs.values():
            record(_subject(declared, request), after=msgspec.to_builtins(request))
        given = {
            name: own[kind]
            if kind in own
            else getattr(project, PARTS[kind])
            if kind in PARTS
            else VALUES[kind](project, held)
            for name, kind in declared.needs.items()
        }
        return declared.run(**given, request=request)


def _subject(declared: Operation[..., Any], request: OperationRequest[Any]) -> str:
    """Return the audit subject, such as `lists cards`: the command group and the first field."""
    first = [str(getattr(request, field.name)) for field in declared.fields[:1]]
    return " ".join([declared.name.split()[0], *first])


def answer_of(kind: type[Answer], /, *shown: object, **fields: Any) -> Answer:
    """Build an answer. A field that is not passed by name comes from the first source that has it, `due` also from
    `due_ms`, as text. In a nullable field an empty text becomes None.
    """
    for name, may_be_null in _needed(kind):
        source = next((source for source in shown if hasattr(source, name) or hasattr(source, f"{name}_ms")), None)
        if name not in fields and source is not None:
            value = getattr(source, name) if hasattr(source, name) else time_text_or_none(getattr(source, f"{name}_ms"))
            fields[name] = None if may_be_null and value == "" else value
    return kind(**fields)


@cache
def _needed(kind: type[Struct]) -> list[tuple[str, bool]]:
    """List the required fields of a struct, with whether each is nullable."""
    return [(field.name, NoneType in get_args(field.type)) for field in fields_of(kind) if field.required]
