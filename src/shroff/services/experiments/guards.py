"""Guards of rollouts and experiments stop a change that is proven to do harm, once; a person can undo that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import msgspec

from shroff import config
from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.language.values import parse_share
from shroff.operations.declaration import Clock, OperationAnswer, OperationRequest, ProgressSteps, group, operation
from shroff.people.access import Who
from shroff.people.audit import Act
from shroff.rules import texts
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.atomic_files import own
from shroff.runtime.texts import TextTable
from shroff.services.documents import Documents
from shroff.services.experiments.operations import OF_KEYS, NoExperimentError, ShowExperiment
from shroff.services.parts import ProjectParts
from shroff.services.project import Project
from shroff.services.project_files import checked_with
from shroff.services.rules.files import ChangedMeanwhileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shroff.rules.definitions import Rule
    from shroff.services.context import ProjectContext

KIND = "guard"  # of the documents
STOPPING, STOPPED, BLIND, OFF = "stopping", "stopped", "blind", "off"

group(
    "guards",
    """Show guards, which stop rollouts and experiments that do harm, and undo such stops.

    Examples:
        shroff guards
    """,
)


class GuardNote(msgspec.Struct):
    """The newest finding of a guard; a stop has its file's texts before and after. `off` after a stop was undone."""

    guard: str
    state: str  # watching, waiting, blind, stopping, stopped or off
    why: str
    at_ms: int
    file: str = ""
    before: str = ""
    after: str = ""


class GuardState(msgspec.Struct):
    """A guard with its newest finding: watching, waiting for labels, blind without any, stopped, or off."""

    name: str
    guard: str
    state: str
    since: TimeText
    why: str


class GuardStates(OperationAnswer):
    """All guards that were ever looked at."""

    guards: list[GuardState]
    TABLE: ClassVar = TextTable({name: name for name in ("name", "guard", "state", "since", "why")}, "guards", "guard")


class ShowGuards(OperationRequest[GuardStates]):
    pass


class CheckGuards(OperationRequest[GuardStates]):
    pass


class UndoGuard(OperationRequest[GuardStates]):
    """
    Args:
        name: The rule or the experiment.
    """

    name: str


@operation("guards", right="read:decisions", http="GET /guards")
def show_guards(documents: Documents, request: ShowGuards) -> GuardStates:
    """List the guards with what they found last."""
    notes = documents.read(KIND, GuardNote)
    return GuardStates(
        guards=[
            GuardState(name, note.guard, note.state, time_text(note.at_ms), note.why) for name, note in notes.items()
        ]
    )


@operation("guards check", right="set:thresholds", is_long=True)
def check_guards(
    project: Project, documents: Documents, who: Who, now_ms: Clock, progress: ProgressSteps, request: CheckGuards
) -> GuardStates:
    """Look at every guard, and stop the changes that are proven to exceed a limit.

    Only events count whose labels are known by their age. However often guards are checked, chance alone stops at most
    5 % of the changes that keep their limits.

    Examples:
        shroff guards check
    """
    for name, note in documents.read(KIND, GuardNote).items():
        if note.state == STOPPING:
            _finish(project, documents, name, note)
    for rule in project.definitions.evaluated:
        found = documents.read(KIND, GuardNote, rule.id).get(rule.id)
        is_off = found is not None and found.state == OFF and found.guard == rule.guard
        if not rule.guard or rule.is_shadow or is_off:
            continue
        progress.step(rule.id)
        note = _finding(project, rule, now_ms())
        if note.state != STOPPING:
            if found is not None and (found.guard, found.state) == (note.guard, note.state):
                note.at_ms = found.at_ms
            documents.put(KIND, rule.id, note)
            continue
        with config.editing(project.context.paths):
            note.file = "policy.yaml" if rule.effect == EXPERIMENT else rule.place.file if rule.place else ""
            note.before = _text(project, note.file)
            note.after = _stopped_text(rule, note.before)
            act = Act(who, "guard.stop", rule.id, rule.guard, note.why)
            documents.put(KIND, rule.id, note, act)  # from here on the stop is finished, even after a kill
        _finish(project, documents, rule.id, note)
    return show_guards(documents, ShowGuards())


@operation("guards undo", right="set:thresholds", http="POST /guards/{name}/undo", audit="guard.undo")
def undo_guard(project: Project, documents: Documents, now_ms: Clock, request: UndoGuard) -> GuardStates:
    """Undo a stop: the file is as it was before, and the guard stays off until its text changes.

    Examples:
        shroff guards undo stricter
    """
    note = documents.read(KIND, GuardNote, request.name).get(request.name)
    if note is None or note.state != STOPPED:
        raise UsageError(f"no guard has stopped {request.name[:100]!r}.")
    if _text(project, note.file) not in (note.before, note.after):
        raise ChangedMeanwhileError(f"{note.file} was changed since the stop; undo it there.")
    _write(project, note.file, note.before)
    note.state, note.at_ms = OFF, now_ms()
    documents.put(KIND, request.name, note)
    return show_guards(documents, ShowGuards())


def _finding(project: Project, rule: Rule, now_ms: int) -> GuardNote:
    """Judge one guard by the mature events of its change; a change that must stop is STOPPING."""
    from shroff.models.evaluation.exploration import TWO_SIDED
    from shroff.models.evaluation.sequential import deviations, is_above

    note = GuardNote(rule.guard, "watching", "", now_ms)
    try:
        shown = project.run(ShowExperiment(rule=rule.id))
    except NoExperimentError as error:
        note.state, note.why = "waiting", str(error)
        return note
    control, changed = shown.arms
    if not any(arm.fraud.count or arm.false_declines or arm.review_fraud_rate is not None for arm in shown.arms):
        note.state, note.why = BLIND, "it cannot be computed: no event of either arm has a label that says fraud"
        return note
    genuine = changed.events - changed.fraud.count
    rate = changed.false_positive_rate
    held = genuine if rate is None or rule.effect != EXPERIMENT else round(rate.share * genuine)
    counted = genuine if rule.effect == EXPERIMENT else changed.events
    thousands = changed.keys / OF_KEYS
    deviation = (float(shown.high) - float(shown.low)) / 2 / TWO_SIDED
    loss = -float(shown.saved) * thousands
    low = loss - deviations(min(control.keys, changed.keys)) * deviation * thousands
    found = {"false_positive_rate": f"{held} of {counted} events", "loss": f"{loss:.2f}, at least {low:.2f}"}
    note.why = "; ".join(f"{name}: {figures}" for name, figures in found.items())
    for name, limit in re.findall(r"(\w+) > ([\d._%]+)", rule.guard):
        is_rate = name == "false_positive_rate"
        if is_above(held, counted, parse_share(limit)) if is_rate else low > float(limit):
            note.state, note.why = STOPPING, f"{name} is above {limit}: {found[name]}"
    return note


def guard_troubles(context: ProjectContext) -> Iterator[tuple[str, str, int]]:
    """Yield name, message and time of guards that stopped a change, cannot be computed, or are never checked."""
    parts = ProjectParts(context)
    notes = parts.part(Documents).read(KIND, GuardNote)
    for name, note in notes.items():
        if note.state in (STOPPED, BLIND):
            yield f"guard {name}", f"{note.state}: {note.why}", note.at_ms
    if all(schedule.kind != "guards-check" for schedule in parts.jobs.schedules().values()):
        definitions = context.loaded.definitions  # None for mistakes, which another check reports
        for rule in definitions.evaluated if definitions else ():
            if rule.guard:
                yield f"guard {rule.id}", "nothing checks it: add a schedule of the kind guards-check", 0


def _stopped_text(rule: Rule, text: str) -> str:
    from shroff.project.policy_text import without_experiment

    if rule.effect == EXPERIMENT:
        return without_experiment(text, rule.on)
    id_ = rule.id.partition(".")[0]
    return texts.with_rule(text, id_, texts.in_shadow(texts.rule_texts(text)[id_].text, shadow=True))


def _text(project: Project, file: str) -> str:
    return config.read_text(own(project.context.paths.folder, file))


def _write(project: Project, file: str, text: str) -> None:
    checked_with(project.context, {file: text})
    config.write_text(own(project.context.paths.folder, file), text)
    project.context.reload()
    project.requests.put_in_force("The file is written.", [file])


def _finish(project: Project, documents: Documents, name: str, note: GuardNote) -> None:
    """Write the file of a recorded stop unless it is written, and make it active."""
    with config.editing(project.context.paths):
        if _text(project, note.file) in (note.before, note.after):
            _write(project, note.file, note.after)
            note.state = STOPPED
        else:
            note.state, note.why = BLIND, f"{note.file} changed while it was stopped ({note.why}); stop it there"
        documents.put(KIND, name, note)
