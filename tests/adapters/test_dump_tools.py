"""What a restore says of tables that stand in its way, and what is shown of a program that failed."""

from __future__ import annotations

import re

import pytest

from shroff.adapters.databases.dump_tools import _running, check_removable
from shroff.errors import StorageError, UsageError


def test_no_command_is_named_that_would_remove_the_tables_of_another_log():
    found = ["events", "b_events", "b_version"]  # as of the prefix shroff_, beside a log of the prefix shroff_b_
    with pytest.raises(UsageError, match=re.escape("but not b_events, b_version: move these elsewhere")) as refused:
        check_removable("bank", found, "it has tables", is_left=True, again=True)
    assert "DROP" not in str(refused.value)
    check_removable("bank", ["events", "version"], "it has tables", is_left=True, again=True)


def test_no_part_of_a_secret_is_left_where_the_error_output_is_cut():
    program = ["sh", "-c", f"printf '{'x' * 1_990}s3cretpassword and more' >&2; exit 3"]
    with (
        pytest.raises(StorageError, match=r"ended with 3: x{1990}\*\*\*") as told,
        _running(program, {}, "s3cretpassword"),
    ):
        pass
    assert "s3" not in str(told.value)
