"""A project from a file: proposed by a sample, tried with the whole file, and corrected by what the trial shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from shroff.events.definitions import Settings
from shroff.events.event import time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS, show_decimal
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.texts import many
from shroff.runtime.values import replace
from shroff.services.proposals.numbered_fields import name_fields, read_numeric_currencies
from shroff.services.proposals.profile import FileProfile, profile_of
from shroff.services.proposals.project_text import ColumnPlan, Proposal, Wishes, propose
from shroff.services.proposals.roles import ROLES
from shroff.services.proposals.times import settle_dates
from shroff.services.proposals.trial import Trial, time_in_words, try_project
from shroff.worker.file_disorder import runs_backwards

if TYPE_CHECKING:
    from shroff.services.project import Project

WriteProject = Callable[[Path, Mapping[str, bytes]], "tuple[Project, list[str]]"]
_LIMITS_S = (1.0, 12.5, 4.0)  # of processor for each trial; a small file is whole in the first
_FEW = 0.001  # share of the lines that may be refused without a correction
_FEW_LATE_MS = 90 * DAY_MS  # so far behind `lateness` lets a few lines be
_LATE_MAX = 0.01  # share of late lines with which `ingest` stops


class ProposedProject(NamedTuple):
    """The files of a project for a file, and what its trial showed.

    `guesses` are the comments of the files. `columns`, `tried` and `questions` are as in the answer of `shroff init`.
    """

    files: dict[str, bytes]
    guesses: list[str]
    columns: list[JsonObject]
    tried: JsonObject
    questions: list[JsonObject]
    summary: str

    @property
    def ranked_columns(self) -> list[JsonObject]:
        """The columns with those that have a role first, and those left out last."""
        return sorted(self.columns, key=_rank)


@calm_collector()
def propose_for(
    file: Path, name: str, write: WriteProject, roles: Mapping[str, str], ignored: Sequence[str]
) -> ProposedProject:
    """Propose a project for a file and try it, up to three times. A million lines take up to 20 s of processor.

    Args:
        roles: Columns by role, as the user settled them.

    Raises: UsageError if the file cannot be read, or a role or a column cannot be what the user says.
    """
    profile = profile_of(file)
    name_fields(profile.columns)
    read_numeric_currencies(profile.columns)
    if "first" in roles:
        settle_dates(profile.columns, roles["first"])
    wishes = Wishes(roles, frozenset(ignored))
    attempt = _attempt(profile, name, wishes, file, write, _LIMITS_S[0])
    if runs_backwards(attempt.trial.first_times_ms):
        wishes = replace(wishes, is_descending=True)
        attempt = _attempt(profile, name, wishes, file, write, _LIMITS_S[0])
    for number, limit_s in enumerate(_LIMITS_S[1:]):
        corrected = _corrected(wishes, attempt.proposal, attempt.trial)
        is_quick = number == 0 and not attempt.trial.is_whole
        if corrected == wishes and not is_quick:
            break
        wishes = corrected
        attempt = _attempt(profile, name, wishes, file, write, limit_s)
    proposal, trial, settings = attempt.proposal, attempt.trial, attempt.settings
    remarks = [*([] if wishes.lateness else trial.order_remarks), *trial.lookup_remarks]
    return ProposedProject(
        {path: text.encode() for path, text in proposal.files.items()},
        [*proposal.guesses, *remarks, *_refusals(trial)],
        [_column_document(plan, trial) for plan in proposal.columns],
        _tried(trial, settings.money_places),
        proposal.questions,
        _summary(trial, settings.currency, settings.money_places),
    )


class _Attempt(NamedTuple):
    proposal: Proposal
    trial: Trial
    settings: Settings


def _attempt(
    profile: FileProfile, name: str, wishes: Wishes, file: Path, write: WriteProject, limit_s: float
) -> _Attempt:
    proposal = propose(profile, name, wishes)
    amount = next((plan.field for plan in proposal.columns if plan.role == "money"), "")
    with TemporaryDirectory(prefix="shroff-") as scratch:
        project, _ = write(Path(scratch), {path: text.encode() for path, text in proposal.files.items()})
        is_later = not any(plan.role == "label_time" for plan in proposal.columns)
        is_quick = limit_s == _LIMITS_S[0]
        trial = try_project(
            project, file, amount, limit_s, is_quick=is_quick, is_later=is_later, line_count=profile.line_count
        )
        return _Attempt(proposal, trial, project.definitions.settings)


def _corrected(wishes: Wishes, proposal: Proposal, trial: Trial) -> Wishes:
    few = _FEW * trial.items
    by_role = {plan.role: plan for plan in proposal.columns if plan.role}
    rest = [plan for plan in proposal.columns if plan.field and plan.role not in {"id", "time", "money", "currency"}]
    as_text = {plan.column for plan in rest if trial.by_field[plan.field] > few}
    id_ = by_role.get("id")
    if id_ is not None and trial.same_id + trial.by_field[id_.field] > few and "id" not in wishes.roles:
        wishes = replace(wishes, no_ids=wishes.no_ids | {id_.column})
    money = by_role.get("money")
    if money is not None and any(
        reason.startswith(f"{money.field}:") and "missing" in reason for reason in trial.reasons
    ):
        wishes = replace(wishes, may_lack_money=True)
    if trial.known_before > few and "label_time" in by_role and "label_time" not in wishes.roles:
        wishes = replace(wishes, has_label_time=False)
    if trial.ahead and 2 * trial.ahead >= trial.items:
        wishes = replace(wishes, ahead_off=True)
    days = _lateness_days(trial)
    if days:
        wishes = replace(wishes, lateness=f"{days}d")
    return replace(wishes, as_text=wishes.as_text | as_text)


def _lateness_days(trial: Trial) -> int:
    """Return the days of lateness that accept the late lines; 0 if none is late, or a few by more than 90 days."""
    late_ms = trial.late_ms
    if not late_ms:
        return 0
    is_in_disorder = len(late_ms) > _LATE_MAX * trial.items or trial.late_at_first > _LATE_MAX * trial.probed
    if is_in_disorder:
        return 2 * (max(late_ms) // DAY_MS + 1)
    return max((each for each in late_ms if each <= _FEW_LATE_MS), default=-DAY_MS) // DAY_MS + 1


def _refusals(trial: Trial) -> list[str]:
    told: list[str] = [trial.stop] if trial.stop else []
    if trial.refused:
        (kind, count), *_ = trial.reasons.most_common(1)
        lines = f"{trial.refused:,} of {_events(trial)}"
        of_them = f"{count:,} of them with the most frequent reason" if trial.refused > 1 else "the reason is"
        told.append(f"{lines} would be refused, {of_them}: {trial.first[kind]}")
    if trial.labels_refused:
        reason = trial.first.get("label") or "known before its event"
        told.append(f"{many(trial.labels_refused, 'label')} would be refused: {reason}")
    return told


def _rank(column: JsonObject) -> int:
    if column["role"] in ROLES:
        return ROLES.index(column["role"])
    return len(ROLES) + (column["type"] is None)


def _column_document(plan: ColumnPlan, trial: Trial) -> JsonObject:
    example = " · ".join(trial.examples.get(plan.field, []))
    if plan.role == "label":
        example = f"fraud {trial.frauds:,} of {trial.labels:,} times"
    return {
        "column": plan.column,
        "field": plan.field or None,
        "role": plan.role or None,
        "type": plan.type or None,
        "also": list(plan.also),
        "example": example,
        "reason": plan.reason or None,
    }


def _tried(trial: Trial, places: int) -> JsonObject:
    amounts = _amounts(trial, places)
    return {
        "lines": trial.lines,
        "tried": trial.tried,
        "taken": trial.taken,
        "duplicates": trial.duplicates,
        "refused": trial.refused,
        "labels": trial.labels,
        "frauds": trial.frauds,
        "labels_refused": trial.labels_refused,
        "from": time_text_or_none(trial.from_ms),
        "to": time_text_or_none(trial.to_ms),
        "money": dict(zip(("min", "median", "max"), amounts, strict=True)) if amounts else None,
    }


def _amounts(trial: Trial, places: int) -> list[str]:
    if not trial.amounts:
        return []
    found = (min(trial.amounts), median(trial.amounts), max(trial.amounts))
    return [show_decimal(round(amount * 10**places), places) for amount in found]


def _events(trial: Trial) -> str:
    return many(trial.items, "line" if trial.items == trial.tried else "item")


def _summary(trial: Trial, currency: str, places: int) -> str:
    parts = [f"{trial.taken:,} of {_events(trial)} taken"]
    if not trial.is_whole:
        part = "first " if trial.is_cut else ""
        parts[0] += f", which are spread over the {part}{trial.lines:,} of the file"
    if trial.duplicates:
        parts.append(f"{many(trial.duplicates, 'line')} repeated")
    if trial.labels:
        parts.append(f"{many(trial.labels, 'label')}, {trial.frauds:,} of them fraud")
    if trial.from_ms is not None:
        parts.append(f"time from {time_in_words(trial.from_ms)} to {time_in_words(trial.to_ms or trial.from_ms)}")
    amounts = _amounts(trial, places)
    if amounts:
        smallest, middle, largest = (f"{Decimal(amount):,}" for amount in amounts)
        parts.append(f"amounts {smallest} to {largest} {currency}, median {middle}")
    return "; ".join(parts)
