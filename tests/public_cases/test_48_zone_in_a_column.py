"""The zone of each line may stand in a column, by its name, its abbreviation or as an offset."""

from __future__ import annotations

import pytest

from shroff.language.calls import formatted_time
from tests.public_cases import mapping_of, proposed
from tests.support.beside import beside


def times(project, name):
    return [f"{row[name]:%Y-%m-%dT%H:%M}" for row in project.events("payment").to_pylist()]


def test_the_zone_of_a_line_is_that_of_its_time(tmp_path):
    project, guesses = proposed(beside("files", "48-zone-in-a-column", "paypal.csv"), tmp_path / "p")

    assert "date: in the zone that TimeZone names" in guesses
    assert "Chargeback" in guesses
    assert "zone: UTC" not in mapping_of(project)
    assert times(project, "date")[0] == "2026-06-21T02:34"


@pytest.mark.parametrize(
    ("zone", "moment"),
    [
        ("Europe/Berlin", "2026-07-01T08:00"),
        ("CEST", "2026-07-01T08:00"),
        ("+0200", "2026-07-01T08:00"),
        ("NZST", "2026-06-30T22:00"),
    ],
)
@pytest.mark.parametrize("form", ["2026-07-0{}T10:00:00", "2026-07-0{} 10:00:00", "0{}.07.2026 10:00"])
def test_a_column_of_zones_is_found(tmp_path, zone, moment, form):
    file = tmp_path / "f.csv"
    file.write_text("id,at,tz,amount\n" + "".join(f"p{n},{form.format(n)},{zone},1.00\n" for n in range(1, 5)))
    project, _ = proposed(file, tmp_path / "p")

    assert times(project, "at")[0] == moment


def test_a_word_that_is_no_zone_is_refused():
    for text in ("2026-07-01 10:00 IST", "2026-07-01 10:00 Mars/Base", "2026-07-01 10:00"):
        with pytest.raises(ValueError, match="with a zone such as EDT"):
            formatted_time(text, "%Y-%m-%d %H:%M %Z", "UTC")
