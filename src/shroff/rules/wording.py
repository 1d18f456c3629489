"""A rule read back in words."""

from __future__ import annotations

from typing import Final

from shroff.language.printing import as_written
from shroff.language.values import show_time
from shroff.rules.definitions import Rule

_DONE: Final = {
    "decline": "is declined",
    "challenge": "is challenged",
    "review": "goes to review",
    "allow": "is allowed, whatever the score and weaker rules say,",
    "note": "is noted",
}


def sentence(rule: Rule) -> str:
    """What a rule does, when, and to whom, in one sentence or two."""
    condition = as_written(None if rule.place is None else rule.place.text, rule.when)
    article = "An" if rule.on[0] in "aeiou" else "A"
    words = f"{article} {rule.on} {_DONE[rule.effect]} when {condition}"
    words += "." if rule.effect == "allow" else f"; its {rule.by} is flagged."
    if rule.is_shadow:
        words += " In shadow: recorded, without effect."
    if rule.rollout < 1.0:
        words += f" For {100 * rule.rollout:.6g}% of the keys of {rule.by}."
    if rule.expires_ms is not None:
        words += f" Until {show_time(rule.expires_ms)}."
    if rule.notify is not None:
        words += f" It tells {rule.notify}."
    return words
