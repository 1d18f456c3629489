"""Operations on a case's tags, checklist and queue, and macros that answer it in one step."""

from __future__ import annotations

from shroff.cases import case_actions, dispositions
from shroff.cases.case_service import CaseService
from shroff.operations.declaration import operation
from shroff.people.access import Who
from shroff.services.cases.documents import Case, CaseDecided, case_of
from shroff.services.cases.operations import WORK, ChangeOfCase, decided
from shroff.services.project import Project


class TagCase(ChangeOfCase["Case"], kw_only=True):
    """
    Args:
        tags: All of its tags, separated by commas or blanks. Empty: none.
    """

    tags: str


@operation("cases tag", http="POST /cases/{id}/tags", schema="CaseTags", **WORK)
def tag_case(desk: CaseService, who: Who, request: TagCase) -> Case:
    """Set the tags of a case, open or closed.

    Examples:
        shroff cases tag 12 stolen,reported
    """
    return case_of(desk, case_actions.tag(desk, who, request.number, request.tags, request.tag))


class CheckCase(ChangeOfCase["Case"], kw_only=True):
    """
    Args:
        item: The item to tick.
        clear: Open it again.
    """

    item: str
    clear: bool = False


@operation("cases check", http="POST /cases/{id}/check", schema="CaseChecked", **WORK)
def check_case(desk: CaseService, who: Who, request: CheckCase) -> Case:
    """Tick an item of a case's checklist, or open it again.

    Examples:
        shroff cases check 12 called
    """
    clear = request.clear
    return case_of(desk, case_actions.check(desk, who, request.number, request.item, request.tag, is_open=clear))


class MoveCase(ChangeOfCase["Case"], kw_only=True):
    """
    Args:
        queue: A queue of `cases` in shroff.yaml, or default.
    """

    queue: str


@operation("cases move", http="POST /cases/{id}/move", schema="CaseMove", **WORK)
def move_case(desk: CaseService, who: Who, request: MoveCase) -> Case:
    """Move a case to another queue.

    Examples:
        shroff cases move 12 default
    """
    return case_of(desk, case_actions.move(desk, who, request.number, request.queue, request.tag))


class RunMacro(ChangeOfCase["CaseDecided"], kw_only=True):
    """
    Args:
        macro: The macro's name, as in `cases` of shroff.yaml.
    """

    macro: str


@operation("cases macro", http="POST /cases/{id}/macro", schema="CaseMacro", **WORK)
def run_macro(desk: CaseService, project: Project, who: Who, request: RunMacro) -> CaseDecided:
    """Run a macro: its note, its tags, and its answer, escalation or snooze in one step.

    Examples:
        shroff cases macro 12 stolen
    """
    acted = dispositions.run_macro(desk, who, request.number, request.macro, tag=request.tag)
    if acted.undo:  # an answer or snooze can be undone; an escalation or note cannot
        return decided(desk, project, acted, [])
    return CaseDecided(case=case_of(desk, acted.cases[0]), lists=[])
