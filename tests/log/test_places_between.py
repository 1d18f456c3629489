"""Where the events of some days stand in a log, whatever it let in before."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from shroff.language.values import DAY_MS
from shroff.log.later_labels import places_between
from shroff.services import project as app
from tests.support.projects import FILES, write_files

START_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000)
DAYS = 20


def payment(number: int, day: int) -> dict[str, str]:
    at = datetime.fromtimestamp(START_MS / 1_000 + day * 86_400 + number, UTC)
    return {"id": f"p{number}", "at": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "card": "c", "amount": "1.00"}


@pytest.mark.slow
def test_events_that_an_earlier_lateness_let_in_are_found_by_their_day(tmp_path):
    bank = write_files(tmp_path, FILES | {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 400d\n"})
    days = Random(1).choices(range(DAYS), k=300)
    app.open(bank).decide([payment(number, day) for number, day in enumerate(days)], as_type="payment")
    (bank / "shroff.yaml").write_text(FILES["shroff.yaml"] + "lateness: 1d\n")
    project = app.open(bank)
    with project.log.reading() as log:
        records = [record for block in log.read(0, log.last_seq()) for record in block if record.kind == "event"]
        for day in range(DAYS):
            start_ms = START_MS + day * DAY_MS
            after, upto = places_between(log, start_ms, start_ms + DAY_MS)

            seqs = [record.seq for record in records if start_ms <= record.time_ms < start_ms + DAY_MS]
            assert len(seqs) == days.count(day)
            assert after < min(seqs)
            assert max(seqs) <= upto
