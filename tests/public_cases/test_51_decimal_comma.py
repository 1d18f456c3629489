"""With a comma as the decimal mark a point stands between groups of three, and nothing else."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shroff.language.values import with_point
from shroff.services import project as app
from tests.public_cases import copied


def test_amounts_with_a_point_are_refused(tmp_path):
    folder = copied("files", "51-decimal-comma", tmp_path / "p")
    project = app.open(folder)
    report = project.ingest([folder / "sales.csv"], as_type="payment")

    assert (report.events.appended, report.events.quarantined) == (1, 4)
    assert project.events("payment")["amount"].to_pylist() == [Decimal("1250.00")]


@pytest.mark.parametrize("mark", [",", "."])
@pytest.mark.parametrize("text", ["1234M500", "12345M678", "1234567M890", "12M50", "1M2M3", "1M23M456M7"])
def test_the_other_mark_is_no_decimal_one(text, mark):
    with pytest.raises(ValueError, match="is not a decimal number"):
        with_point(text.replace("M", "." if mark == "," else ","), mark)
