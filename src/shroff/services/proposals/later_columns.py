"""Columns that nobody knows when the event happens, by their values: a model that reads them is useless live."""

from __future__ import annotations

import re
from collections import Counter
from itertools import compress

from shroff.language.values import DAY_MS, MINUTE_MS, show_duration
from shroff.runtime.texts import many
from shroff.services.proposals.profile import FileColumn
from shroff.services.proposals.roles import FRAUD, Draft, has, slug
from shroff.services.proposals.times import gaps_of, time_reading

_LINES_MIN = 20  # which prove that a column follows the label
_PURE = 0.98  # share of frauds among the lines that have a value
_LINES_IF_NAMED = 5
_PURE_IF_NAMED = 0.8
_KINDS_MAX = 50  # values, each of which can tell frauds
_USUAL = 0.3  # share of the frauds that have one
_LATER = 0.95  # share of the lines whose time is after the event's
_NOTHING = {"", "0", "0.0", "0.00", "false", "f", "no", "n", "none"}


def leave_out_label_copies(draft: Draft) -> None:
    """Leave out columns that are called as the label is and follow it, before they can be anything else."""
    for column in draft.free_for("", "known"):
        reason = _follows_label(draft, column, is_named=True)
        if reason:
            draft.leave_out(column, reason)


def leave_out_later(draft: Draft) -> None:
    """Leave out columns that follow the label, and times after the event; ask about those that only their name tells.

    Times that are known beforehand, such as a due date, stay; their names tell.
    """
    for column in draft.free_for(""):
        is_score = re.search("fraud.*(score|risk|prob|check|status|level)", slug(column.path[-1:]))  # of a provider
        is_named = has(column, "afterwards") or (has(column, "known") and not is_score)
        reason = _follows_label(draft, column, is_named=is_named) or _is_after(draft, column)
        if reason:
            draft.leave_out(column, reason)
        elif is_named and column.values:
            draft.later_by_name.append(column)


def _follows_label(draft: Draft, column: FileColumn, *, is_named: bool) -> str:
    """Return why a column's values come after the label; empty if they do not.

    It is set only for frauds, or has values that only frauds have; less proves it if its name says so, too.
    """
    if draft.label is None or len(column.distinct) == len(column.values) == len(column.texts):
        return ""
    is_fraud = [text.strip().lower() in FRAUD for text in draft.label.texts]
    is_set = [text.strip().lower() not in _NOTHING for text in column.texts]
    frauds = sum(is_fraud)
    pure, lines_min = (_PURE_IF_NAMED, _LINES_IF_NAMED) if is_named else (_PURE, _LINES_MIN)
    if is_named and len(column.distinct) <= _KINDS_MAX and sum(is_set) > frauds:
        lines = Counter(column.texts)
        of_frauds = Counter(compress(column.texts, is_fraud))
        telling = {text for text, count in of_frauds.items() if count >= max(pure * lines[text], lines_min)}
        is_set = [text in telling for text in column.texts]
    count = sum(is_set)
    with_both = sum(compress(is_fraud, is_set))
    is_enough = count >= lines_min and 2 * frauds < len(is_fraud)
    if not is_enough or with_both < pure * count or with_both < _USUAL * frauds:
        return ""
    return f"known only afterwards: set in {many(count, 'line')}, {with_both:,} of them frauds"


def _is_after(draft: Draft, column: FileColumn) -> str:
    name = slug(column.path[-1:])
    if draft.time is None or has(column, "due"):
        return ""
    reading = time_reading(column, name)
    if reading is None:
        return ""
    gaps = gaps_of(draft.time, reading)
    later = sorted(gap for gap in gaps if gap > 0)
    if len(gaps) < _LINES_MIN or len(later) < _LATER * len(gaps):
        return ""
    usual_ms = int(later[len(later) // 2] * 1_000)
    if usual_ms < MINUTE_MS:
        return ""
    usual_ms -= usual_ms % DAY_MS if usual_ms > DAY_MS else usual_ms % 1_000
    return f"known only afterwards: usually {show_duration(usual_ms)} after the event"
