"""A foreign adapter passes `shroff check`: adapters own their settings, and nothing here knows which there are."""

from __future__ import annotations

import sys

import pytest

from shroff.errors import UsageError
from shroff.runtime.entry_points import ROUTES, installed
from shroff.services.jobs.kinds import kind_named
from shroff.services.project import open_exactly
from tests.support import foreign


def test_a_foreign_adapter_passes_check_without_its_client_library(tmp_path):
    with foreign.found(foreign.laid_out(tmp_path / "site")):
        report = open_exactly(foreign.bank(tmp_path / "bank")).check()
        loaded = {name for name in sys.modules if name.startswith(foreign.MODULES)}

    assert report.errors == ()
    assert loaded == {"bank_spool", "bank_spool.sink", "bank_spool.source", "bank_spool.mailer_settings"}


def test_without_its_package_a_foreign_adapter_is_refused_by_name(tmp_path):
    report = open_exactly(foreign.bank(tmp_path)).check()

    assert [error.message for error in report.errors] == [
        "source has no key 'spool'.",
        "decided has no key 'spool'.",
        "mail has no key 'outbox'.",
    ]


def test_without_its_package_a_foreign_job_is_refused_by_name_and_its_page_is_gone(tmp_path):
    with foreign.found(foreign.laid_out(tmp_path / "site")):
        with_it = kind_named("spool-lines").name, set(installed(ROUTES))
    with pytest.raises(UsageError, match="there is no kind of job 'spool-lines'"):
        kind_named("spool-lines")

    assert with_it == ("spool-lines", {*installed(ROUTES), "spool"})
