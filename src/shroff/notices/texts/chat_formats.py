"""Bodies of webhook calls in the formats of Slack, Microsoft Teams and PagerDuty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from shroff.json_types import JsonMapping, JsonObject
from shroff.notices.definitions import Notice
from shroff.notices.store import Due
from shroff.runtime.environment import fill_variables

SUMMARY_MAX = 1_024  # characters; limit of PagerDuty
# Escapes Markdown, which Teams renders: no value may become a link
_PLAIN = {ord(mark): f"\\{mark}" for mark in r"\[]()*_~#>`"}


def _slack(project: str, _notice: Notice, _due: Due, item: JsonMapping) -> JsonObject:
    lines = [item["sentence"], *item["reasons"], *(f"{label}: {value}" for label, value in item["facts"])]
    text = "\n".join([f"*{project}: {item['title']}*", *lines])
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _teams(project: str, _notice: Notice, _due: Due, item: JsonMapping) -> JsonObject:
    texts = [item["sentence"], *item["reasons"]]
    facts = [{"title": label.translate(_PLAIN), "value": value.translate(_PLAIN)} for label, value in item["facts"]]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {
                "type": "TextBlock",
                "text": f"{project}: {item['title']}".translate(_PLAIN),
                "weight": "Bolder",
                "wrap": True,
            },
            *({"type": "TextBlock", "text": text.translate(_PLAIN), "wrap": True} for text in texts),
            {"type": "FactSet", "facts": facts},
        ],
    }
    content = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [content]}


def _pagerduty(project: str, notice: Notice, due: Due, item: JsonMapping) -> JsonObject:
    """Build an event of the Events API v2. A repeated call has the same key, so it makes one incident.

    Raises: UsageError if the variable of its secret is not set.
    """
    return {
        "routing_key": fill_variables(notice.secret, "the secret of a notice"),
        "event_action": "trigger",
        "dedup_key": sha256(f"{project}-{due.key}".encode()).hexdigest(),
        "client": "shroff",
        "payload": {
            "summary": f"{project}: {item['sentence']}"[:SUMMARY_MAX],
            "source": project,
            "severity": "critical" if due.kind == "failure" else "warning",
            "class": due.kind,
            "custom_details": {"event": due.event, "reasons": item["reasons"], **dict(item["facts"])},
        },
    }


# Functions by `format`. Each takes the project, a notice, a due notification and its item as mails show it.
CHAT_BODIES: Final[Mapping[str, Callable[[str, Notice, Due, JsonMapping], JsonObject]]] = {
    "slack": _slack,
    "teams": _teams,
    "pagerduty": _pagerduty,
}
