"""Disputes: stages of a chargeback, stored as labels of the source `chargeback`.

The reason of such a label is `dispute STAGE key=value …`, so that files, webhooks and the API can write it through a
mapping; each stage is a label of its own. As for all labels, the latest is active.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError, nearest
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonMapping, JsonObject
from shroff.replay.notebook import moment_ms
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import LogReader

STAGES = ("early_fraud_warning", "dispute", "represented", "won", "lost", "withdrawn")
ANSWERABLE = frozenset({"early_fraud_warning", "dispute"})
DETAILS = ("due", "network", "code", "dispute", "reason")
_MARK = "dispute"
_GENUINE = frozenset({"won", "withdrawn"})
_NO_FRAUD = ("11.", "12.", "13.")  # Visa's codes of authorization, processing errors and consumer disputes


class DisputeStage(FrozenStruct, kw_only=True):
    """One stage of the dispute of an event, and the verdict of its label."""

    stage: str
    known_at: TimeText
    verdict: str
    amount: str | None = None
    due: TimeText | None = None
    network: str | None = None
    code: str | None = None
    dispute: str | None = None
    reason: str | None = None


class _StageLabel(msgspec.Struct):
    event: str
    known_at: TimeText
    verdict: str
    amount: str | None = None
    reason: str = ""


def is_stage(reason: str | None) -> bool:
    words = (reason or "").split()
    return words[:1] == [_MARK] and len(words) > 1 and words[1] in STAGES


def label_row(row: JsonMapping, place: str) -> JsonObject:
    """Build a label from a row with the fields of a stage; other fields, such as `event`, are kept.

    Raises: UsageError for an unknown stage or an invalid due date.
    """
    fields = {name: value for name, value in row.items() if value is not None and str(value).strip()}
    stage = str(fields.pop("stage", "")).strip().lower().replace(" ", "_")
    if stage not in STAGES:
        hint = nearest(stage, STAGES) or f"There are {', '.join(STAGES)}."
        problem = f"{stage!r} is not a stage of a dispute. {hint}"
        none = (
            "it has no stage. A file of disputes has the columns event, stage, known_at and due. Map other columns "
            "under 'disputes' of 'label' in events.yaml."
        )
        raise UsageError(f"{place}: {problem if stage else none}")
    if "reason_code" in fields:
        fields.setdefault("code", fields.pop("reason_code"))
    if "due" in fields:
        fields["due"] = time_text(moment_ms(str(fields["due"]).strip(), f"{place}: due") or 0)
    details = {name: "_".join(str(fields.pop(name)).split()) for name in DETAILS if name in fields}
    verdict = "genuine" if stage in _GENUINE else "fraud"
    if verdict == "fraud" and details.get("code", "").startswith(_NO_FRAUD):
        verdict = "unclear"
    reason = " ".join([_MARK, stage, *(f"{name}={value}" for name, value in details.items())])
    return {"verdict": verdict, **fields, "source": "chargeback", "reason": reason}


def stages_of(
    log: LogReader, as_of_ms: int | None = None, events: Collection[str] | None = None, *, after: int = 0
) -> dict[str, list[DisputeStage]]:
    """Return the stages known at a given time, latest last, by event (`payment/p-1`).

    Args:
        events: Only stages of these events.
        after: Only stages after this sequence number.

    Cost: a pass over the labels of the log, 1 µs for each that is no stage.
    """
    by_event: dict[str, list[tuple[int, int, DisputeStage]]] = {}
    for records in log.labels_after(after):
        for record in records:
            if b'"reason":"dispute ' not in record.body or (as_of_ms is not None and record.time_ms > as_of_ms):
                continue
            label = from_json(record.body, type=_StageLabel)
            if is_stage(label.reason) and (events is None or label.event in events):
                by_event.setdefault(label.event, []).append((record.time_ms, record.seq, _stage(label)))
    return {
        event: [stage for _, _, stage in sorted(stages, key=lambda item: item[:2])]
        for event, stages in by_event.items()
    }


def _stage(label: _StageLabel) -> DisputeStage:
    _, stage, *pairs = label.reason.split()
    details: JsonObject = {name: value for name, _, value in (pair.partition("=") for pair in pairs) if value}
    due = None
    with suppress(UsageError):  # a mapping may produce any text
        due = time_text(moment_ms(details["due"]) or 0) if "due" in details else None
    more = {name: details.get(name) for name in DETAILS if name != "due"}
    return DisputeStage(
        stage=stage, known_at=label.known_at, verdict=label.verdict, amount=label.amount, due=due, **more
    )
