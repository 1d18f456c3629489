"""An opened project is a facade: each subject is a part of its own, and old names lead to the parts for one release."""

from __future__ import annotations

from operator import attrgetter

import pytest

from shroff.app.forwarded import FORWARDED
from tests.architecture.test_public_api import made, parts_of

CALLED = ("drafts", "lists", "models", "silences")  # parts whose names were calls


def test_each_old_name_leads_to_a_call_of_a_part_and_none_hides_one_of_today():
    project = made()

    for old, new in FORWARDED.items():
        owner = attrgetter(new.rpartition(".")[0])(project)
        assert hasattr(type(owner), new.rpartition(".")[2]), f"{old} -> {new}"
        assert not hasattr(type(project), old), old


def test_an_old_name_still_works_and_names_what_to_write_instead():
    project = made()

    with pytest.warns(
        DeprecationWarning, match=r"project\.promote is deprecated .*use project\.models\.promote$"
    ) as told:
        promote = project.promote

    assert promote == project.models.promote
    assert told[0].filename == __file__


@pytest.mark.parametrize("name", CALLED)
def test_a_part_whose_name_was_a_call_can_still_be_called(name: str, monkeypatch: pytest.MonkeyPatch):
    part = parts_of(made())[name]
    monkeypatch.setattr(type(part), "all", lambda _: ["found"])

    with pytest.warns(
        DeprecationWarning, match=rf"project\.{name}\(\) is deprecated .*use project\.{name}\.all\(\)$"
    ) as told:
        found = part()

    assert found == ["found"]
    assert told[0].filename == __file__


def test_a_name_that_never_was_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'promotes'"):
        _ = made().promotes
