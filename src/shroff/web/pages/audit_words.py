"""Describe rows of the audit log in words."""

from __future__ import annotations

import re
from typing import Any

from shroff.events.event import time_text
from shroff.json_types import TextMapping
from shroff.web.pages.words import lasting

INSTANT_MS_MIN = 10**11  # from here on, a field in `_ms` is a time since 1970; smaller values are durations
_ACTIONS = dict(
    line.split(" ", 1)
    for line in """\
appeal.decide Decide an appeal
change.ask Request approval
change.withdraw Withdraw request
confirmation.answer Customer answered
confirmation.late Customer answered late
event.answered Override decision
file.again Ingest corrected file again
flag.judge Rate flag
label.file Import labels
link.make Create sign-in link
notice.link Link a decision's reasons
model.ask Request model change
personal.erase Erase personal data
personal.export Export personal data
project.apply Apply changed files
rule.silence Silence rule
rule.silence_ask Request silence
rule.silence_drop Withdraw silence request
rule.silence_end End silence
rules.put Change rule file
sign_in.by_factor Sign in by second factor
sign_in.by_oidc Sign in by provider
sign_in.by_passkey Sign in by passkey
sign_in.by_password Sign in by password
sign_in.by_link Sign in by link
sign_in.end Sign out
sign_in.pause Pause sign-in after failed attempts
thresholds.apply Change thresholds
user.claims Update user from provider
user.no_role Refuse sign-in without a role
user.password Change password
user.role Change role
user.screen Change time zone or theme
view.put Save filter
view.remove Delete filter""".splitlines()
)
_TAGS = frozenset({"draft", "file_tag"})  # left out, since the changed lines of their texts are shown
_DIGEST = re.compile(r"[0-9a-f]{32,}\Z")  # shortened
_USER = re.compile(r"user-[0-9]+\Z")


def action_words(action: str) -> str:
    """Return an action of the audit log in words, such as "Decide case"."""
    noun, _, verb = action.partition(".")
    return _ACTIONS.get(action) or f"{verb} {noun}".replace("_", " ").strip().capitalize()


def changes_of(before: object, after: object, names: TextMapping) -> list[tuple[str, str, str]]:
    """Return name, old and new value of each field that an action changed. `names` has display names by user id."""
    if isinstance(before, dict) and isinstance(after, dict):
        fields = [name for name in before | after if name not in _TAGS]
        changed = [name for name in fields if before.get(name) != after.get(name)]
        return [
            (_name(name), _text(before.get(name), names, name), _text(after.get(name), names, name)) for name in changed
        ]
    if before is None and after is None:
        return []
    return [("", _text(before, names), _text(after, names))]


def _name(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ")


def _text(value: Any, names: TextMapping, field: str = "") -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() if field.endswith("_ms"):
            return time_text(value) if value >= INSTANT_MS_MIN else lasting(value / 1_000)
        case dict():
            parts = [(_name(name), _text(part, names, name)) for name, part in value.items() if name not in _TAGS]
            return ", ".join(f"{name} {text}" for name, text in parts if text not in {"", "no"})
        case list():
            return "; ".join(_text(part, names) for part in value)
        case str() if _USER.match(value):
            return names.get(value, value)
        case str() if _DIGEST.match(value):
            return f"{value[:8]}…"
        case _:
            return str(value)
