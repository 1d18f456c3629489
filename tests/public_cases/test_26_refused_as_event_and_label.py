"""A line that is read as an event and as a label, and refused as both, is two entries: the retry loses neither."""

from __future__ import annotations

from contextlib import closing

import pytest

from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.streams.log import Batch
from tests.public_cases import project_of
from tests.support.log_memory_parts import quarantined

CASE = "26-refused-as-event-and-label"
FIELDS = "fields: { id: text, at: time, account: text, amount: money }"
EURO = "  from: { csv: { amount: \"money(replace(row.amount, '€', ''))\" } }"
KNOWN = "known_at: time(row.known) when contains(row.known, 'T') else time(row.known, '%d.%m.%Y')"


@pytest.mark.parametrize("order", [None, "time"])
@pytest.mark.parametrize("names_file_first", [False, True])
def test_the_retry_brings_the_event_and_its_label(tmp_path, order, names_file_first):
    folder = project_of(CASE, tmp_path)
    file, events = folder / "both.csv", folder / "events.yaml"
    report = app.open(folder).ingest([file], as_type="payment", labels=file, order=order)
    with app.open(folder).log.reading() as log:
        entries = [entry for _, entry in quarantined(log)]
    first = {entry.type: entry.reason.partition(":")[0] for entry in entries}
    if names_file_first:  # a retry that cannot read the lines leaves them as they are
        assert [item.stays for item in app.open(folder).quarantine.retry([])] == [True, True]
    events.write_text(events.read_text().replace(FIELDS, f"{FIELDS}\n{EURO}").replace("known_at: row.known", KNOWN))
    retried = app.open(folder).quarantine.retry([], [file])

    assert (report.events.quarantined, report.labels.quarantined) == (1, 1)
    assert first == {"payment": "amount", "label": "known_at"}
    assert [item.stays for item in retried] == [False, False]
    with app.open(folder).log.reading() as log:
        assert quarantined(log) == []
        assert log.counts().waiting == 0
        assert [(record.kind, record.id) for records in log.read() for record in records if record.kind == "event"] == [
            ("event", "A1"),
            ("event", "A2"),
        ]
        assert sum(record.kind == "label" for records in log.read() for record in records) == 2


def test_a_retry_that_cannot_read_a_line_keeps_the_reason_and_adds_its_own(tmp_path):
    folder = project_of(CASE, tmp_path)
    project = app.open(folder)
    project.ingest([folder / "both.csv"], as_type="payment")
    with closing(project.log.open(read_only=False)) as log:
        ((number, before),) = quarantined(log)
        log.append(Batch(refused=[replace(before, type="gone")], dropped=[number]))
    told = [project.quarantine.retry([])[0].reason for _ in range(2)]
    with project.log.reading() as log:
        ((_, after),) = quarantined(log)

    assert after.reason == f"{before.reason}. Not retried: {told[1]}"
    assert told[0] == told[1]
    assert "'gone' is not an event type" in told[1]
