"""Rules about a hashed card that could never hit are refused, with what works instead."""

from __future__ import annotations

from shroff.cli.main import run
from tests.public_cases import project_of


def test_check_names_each_rule_that_can_never_hit_and_what_works(tmp_path, capsys):
    project = project_of("05-hashed-compared", tmp_path)

    assert run(["-C", str(project), "check"]) == 1
    told = capsys.readouterr().out
    assert [f"rules/r.yaml:{line}:" in told for line in (1, 2, 3)] == [True] * 3
    assert told.count("in lists.NAME") == told.count("bin: left(row.card, 6)") == 3
