"""Alerts for operators: Alertmanager posts them, and the screen *Health* shows those that fire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import msgspec

from shroff.events.event import TimeText, time_text
from shroff.json_types import TextDict
from shroff.people.access import Right
from shroff.runtime.values import FrozenStruct
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX = 512 * 1024
ALERTS_MAX = 200  # in one request, and in memory; the least severe are dropped
TEXT_MAX = 500  # characters of each stored text
ENDS_AFTER_MS = 15 * 60 * 1_000  # without a repeat; the receiver of deploy/ repeats every 5 minutes
_ORDER = {"critical": 0, "warning": 1}


class PostedAlert(msgspec.Struct, rename="camel", frozen=True):
    """One alert of a webhook of Alertmanager; fields that are not used here are ignored."""

    status: Literal["firing", "resolved"]
    fingerprint: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)]
    labels: TextDict
    annotations: TextDict = {}


class PostedAlerts(FrozenStruct):
    """A webhook of Alertmanager, format version 4."""

    alerts: Annotated[list[PostedAlert], msgspec.Meta(max_length=ALERTS_MAX)]


class FiringAlert(FrozenStruct):
    """An alert of Prometheus that fires now; null for what it does not say."""

    name: str
    severity: str | None
    summary: str | None
    instance: str | None
    runbook_url: str | None
    since: TimeText


class AlertCount(TypedDict):
    """The number of alerts that fire now."""

    firing: int


class OperatorAlerts:
    """Firing alerts. They are in memory only, since Alertmanager repeats them. For the event loop."""

    def __init__(self) -> None:
        self._firing: dict[str, tuple[FiringAlert, int]] = {}  # alert and time of its last repeat, by fingerprint

    def take(self, posted: Sequence[PostedAlert], now_ms: int) -> None:
        """Store firing alerts, and remove resolved ones."""
        for alert in posted:
            self._firing.pop(alert.fingerprint, None)
            if alert.status == "firing":
                self._firing[alert.fingerprint] = _firing(alert, now_ms), now_ms
        self._firing = dict(sorted(self._firing.items(), key=lambda item: _urgency(item[1][0]))[:ALERTS_MAX])

    def firing(self, now_ms: int) -> list[FiringAlert]:
        """Return alerts repeated within the last 15 minutes, the most severe first, then the oldest."""
        self._firing = {
            fingerprint: (alert, repeated_ms)
            for fingerprint, (alert, repeated_ms) in self._firing.items()
            if now_ms - repeated_ms < ENDS_AFTER_MS
        }
        return sorted((alert for alert, _ in self._firing.values()), key=_urgency)


def _urgency(alert: FiringAlert) -> tuple[int, str, str]:
    return _ORDER.get(alert.severity or "", len(_ORDER)), alert.since, alert.name


def _firing(alert: PostedAlert, now_ms: int) -> FiringAlert:
    def text(values: TextDict, name: str) -> str | None:
        return values.get(name, "")[:TEXT_MAX] or None

    url = text(alert.annotations, "runbook_url")
    return FiringAlert(
        text(alert.labels, "alertname") or "unnamed alert",
        text(alert.labels, "severity"),
        text(alert.annotations, "summary") or text(alert.annotations, "description"),
        text(alert.labels, "instance"),
        url if url and url.startswith(("https://", "http://")) else None,
        time_text(min(max(int(alert.starts_at.timestamp() * 1_000), 0), now_ms)),
    )


async def receive(service: Service, request: Request) -> Json[AlertCount]:
    posted = decoded(await request.body(BODY_BYTES_MAX), PostedAlerts)
    now_ms = service.project.context.now_ms()
    service.operator_alerts.take(posted.alerts, now_ms)
    return Json({"firing": len(service.operator_alerts.firing(now_ms))})


ROUTES = (
    api("POST", "/health/alerts", Right.POST_ALERTS, receive)(
        "Receive alerts of Prometheus from Alertmanager (a `webhook_configs` receiver). `GET /api/v1/health` and the "
        f"screen *Health* show those that fire, at most {ALERTS_MAX}. An alert ends when it is resolved, or "
        f"{ENDS_AFTER_MS // 60_000} minutes after its last repeat.",
        "The number of alerts that fire now.",
        PostedAlerts,
        {413: f"The body has more than {BODY_BYTES_MAX:,} bytes."},
    ),
)
