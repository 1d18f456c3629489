"""Upload of a file of labels, such as chargebacks, on the page of labels: a preview, then recording."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_stream
from shroff.events.intake import Submission
from shroff.events.mapping import LABEL
from shroff.json_types import JsonObject
from shroff.log.writer import DUPLICATE, TAKEN, WAITING
from shroff.people.access import Right
from shroff.web.api.events import taken_labels
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.events.validation import LabelInput
    from shroff.web.service import Service

PATH = "/labels"
NAME = "upload"
ROWS_MAX = 10_000
SHOWN = 50
RESULTS = {TAKEN: "recorded", WAITING: "unmatched", DUPLICATE: "already recorded"}


async def look(service: Service, request: Request) -> Response:
    """Show which labels of a file would be recorded, and which are refused. Nothing is recorded."""
    text = (await request.form())["csv"]
    preview = await service.in_thread(_preview, service, text)
    return await page(service, request, "label_file.html", **preview)


async def record(service: Service, request: Request) -> Response:
    text = (await request.form())["csv"]
    rows = await service.in_thread(_rows, service, text)
    answers = await taken_labels(service, request.who, [row for row in rows if row.label is not None])
    kinds = Counter(RESULTS.get(answer.kind, "refused") for answer in answers)
    kinds["refused"] += sum(row.label is None for row in rows)
    return see_other(
        f"{PATH}?{urlencode({word.replace(' ', '_'): number for word, number in kinds.items() if number})}"
    )


def _preview(service: Service, text: str) -> JsonObject:
    try:
        rows = _rows(service, text)
        mistake = ""
    except UsageError as error:
        rows = []
        mistake = sentence(str(error))
    labels = [row for row in rows if row.label is not None]
    matched = _matched(service, labels)
    return {
        "mistake": mistake,
        "text": text,
        "count": len(labels),
        "verdicts": Counter(label.label.verdict for label in labels if label.label is not None),
        "unmatched": len(labels) - len(matched),
        "labels": [(label.place, label.label, label.place in matched) for label in labels[:SHOWN]],
        "refused_count": len(rows) - len(labels),
        "refused": [(row.place, sentence(row.refusal or "")) for row in rows if row.label is None][:SHOWN],
        "path": PATH,
    }


def _rows(service: Service, text: str) -> list[Submission]:
    """Parse a file into labels and refusals. Raises: UsageError if it is no file of labels, or too long."""
    intake = service.project.taking.intake(keeps_hashes=True)
    with read_stream(io.BytesIO(text.encode()), "csv", name="the file") as lines:
        rows = list(islice(intake.submissions(lines, NAME, LABEL), ROWS_MAX + 1))
    if not rows:
        raise UsageError("The file has no labels. Its first line names the columns: event,verdict,source,known_at.")
    if len(rows) > ROWS_MAX:
        raise UsageError(
            f"The file has more than {ROWS_MAX:,} labels. Split it, or record it with 'shroff label FILE'."
        )
    return rows


def _matched(service: Service, labels: Sequence[Submission]) -> set[str]:
    lines_by_field: dict[tuple[str, str], dict[str, list[str]]] = {}  # by type and unique field (empty: id), by value
    for label in labels:
        type_, field, value = _name(label.label)
        lines_by_field.setdefault((type_, field), {}).setdefault(value, []).append(label.place)
    matched = set[str]()
    with service.project.log.reading() as log:
        for (type_, field), lines in lines_by_field.items():
            values = log.find_unique(type_, field, [*lines]) if field else log.find(type_, [*lines])
            matched.update(line for value in values for line in lines[value])
    return matched


def _name(label: LabelInput | None) -> tuple[str, str, str]:
    assert label is not None
    if label.event_id or not label.unique:
        return label.event_type or "", "", label.event_id
    return label.event_type or "", *label.unique[0]


ROUTES = (
    Route("POST", f"{PATH}/file", Right.WRITE_LABELS, look),
    Route("POST", f"{PATH}/file/record", Right.WRITE_LABELS, record),
)
