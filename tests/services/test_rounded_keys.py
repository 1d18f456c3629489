"""Keys that a spreadsheet rounded get a remark, and hidden ones are not shown in it."""

from __future__ import annotations

import pytest

from shroff.services import project as app

EVENTS = """payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text MARK, note: text?, amount: money }
entities:
  card: { payment: card }
"""


@pytest.mark.parametrize(
    ("value", "mark", "words"),
    [
        ("3.52721E+11", "", "card has values such as 3.52721E+11 that look like numbers"),
        ("4012888888881881.0", "", "card has values such as 4012888888881881.0 that look like numbers"),
        ("4012888888881881.0", "hashed", "card has values that look like numbers which a spreadsheet rounded"),
        ("4012888888881881", "", ""),
        ("c-1.0", "", ""),
        ("12.0", "", ""),
    ],
)
def test_a_key_that_looks_rounded_is_told_by_check_and_by_ingest(tmp_path, value, mark, words):
    (tmp_path / "shroff.yaml").write_text("shroff: 1\nname: p\nmoney: EUR\n")
    (tmp_path / "events.yaml").write_text(EVENTS.replace("MARK", mark))
    file = tmp_path / "in.csv"
    file.write_text(f"id,at,card,note,amount\n1,2026-03-01T10:00:00Z,{value},1.5E+11,1.00\n")
    for read in (
        lambda project: project.taking.look_at(file, None),
        lambda project: project.ingest([file], as_type="payment"),
    ):
        project = app.open(tmp_path)
        read(project)
        said = " ".join(project.context.warnings)

        assert words in said
        assert "note" not in said
        assert value not in said or not mark
        assert bool(said) == bool(words)
