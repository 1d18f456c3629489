"""Runs operations on an opened project: passes the parts that they need and writes the audit record first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import Struct

from shroff.config import ProjectPaths
from shroff.errors import UsageError
from shroff.operations.declaration import (
    AskedBy,
    Clock,
    Operation,
    OperationAnswer,
    OperationRequest,
    ProgressSteps,
    Record,
    ServiceUrl,
    Warn,
    operation_of,
)
from shroff.people.access import Who
from shroff.project.definitions import Definitions
from shroff.project.settings.systems import Systems
from shroff.services.parts import ProjectPart
from shroff.services.project_log import ProjectLog
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.services.project import Project

Outcome = TypeVar("Outcome", bound=OperationAnswer)
Answer = TypeVar("Answer", bound=Struct)


def _log(project: Project, stack: ExitStack) -> Log:
    return stack.enter_context(project.log.reading())


# Arguments of operations beside the parts of a project, by type; a log stays open until the operation ends.
VALUES: Final[Mapping[Any, Callable[[Project, ExitStack], object]]] = {
    Clock: lambda project, _: project.context.now_ms,
    Definitions: lambda project, _: project.definitions,
    Log: _log,
    ProjectLog: lambda project, _: project.log,
    ProjectPaths: lambda project, _: project.context.paths,
    ServiceUrl: lambda project, _: project.context.asked_at or project.context.systems.public_url,
    Systems: lambda project, _: project.context.systems,
    Warn: lambda project, _: project.context.warnings.append,
    Who: lambda project, _: project.context.who,
}


def _opened(project: Project, name: str, type_: Any, stack: ExitStack) -> object:
    """Open cases, people or the registry of models for an operation; their modules take a while to import.

    Raises: UsageError for any other type.
    """
    from shroff.cases.case_service import CaseService
    from shroff.models.registry import Registry
    from shroff.people.store import Desk

    if type_ is Registry:
        return project.context.registry
    if type_ is Desk:
        return stack.enter_context(project.people.open())
    if type_ is CaseService:
        return stack.enter_context(project.cases.open())
    raise UsageError(f"the operation '{name}' needs {type_}, which a project does not have.")


def run(project: Project, request: OperationRequest[Outcome], progress: ProgressSteps) -> Outcome:
    """Run an operation for the project's caller. Raises: as the operation."""
    declared = operation_of(request)
    kind, _, counts = declared.of_two.partition(" ")

    def record(subject: str, before: object = None, after: object = None) -> None:

        project.people.record(declared.audit, subject, before, after)

    own: dict[Any, object] = {Record: record, ProgressSteps: progress, AskedBy: "", type(project): project}
    with ExitStack() as stack:
        if kind in project.context.systems.second_person and (not counts or getattr(request, counts)):
            change = {"act": declared.name, **msgspec.to_builtins(request)}
            own[AskedBy] = stack.enter_context(project.agreements.need(kind, _subject(declared, request), change))

        def argument(type_: Any) -> object:
            if type_ in own:
                return own[type_]
            if type_ in VALUES:
                return VALUES[type_](project, stack)
            if isinstance(type_, type) and issubclass(type_, ProjectPart):
                return project.part(type_)
            return _opened(project, declared.name, type_, stack)

        arguments = {name: argument(type_) for name, type_ in declared.needs.items()}
        if declared.audit and Record not in declared.needs.values():
            record(_subject(declared, request), after=msgspec.to_builtins(request))
        return declared.run(**arguments, request=request)


def _subject(declared: Operation[..., Any], request: OperationRequest[Any]) -> str:
    """Return the audit subject, such as `lists cards`: the command group and the first field."""
    first = [str(getattr(request, field.name)) for field in declared.fields[:1]]
    return " ".join([declared.name.split()[0], *first])
