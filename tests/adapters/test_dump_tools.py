"""What a restore says of tables that stand in its way."""

from __future__ import annotations

import re

import pytest

from shroff.adapters.databases.dump_tools import check_removable
from shroff.errors import UsageError


def test_no_command_is_named_that_would_remove_the_tables_of_another_log():
    found = ["events", "b_events", "b_version"]  # as of the prefix shroff_, beside a log of the prefix shroff_b_
    with pytest.raises(UsageError, match=re.escape("but not b_events, b_version: move these elsewhere")) as refused:
        check_removable("bank", found, "it has tables", is_left=True, again=True)
    assert "DROP" not in str(refused.value)
    check_removable("bank", ["events", "version"], "it has tables", is_left=True, again=True)
