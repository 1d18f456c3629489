"""An opened project is made of many parts; no two of them may mean different things by one name."""

from __future__ import annotations

from collections import Counter

from shroff.app.project import Project


def names_of(part: type) -> set[str]:
    """What a part gives: its functions and properties that are not only promised."""
    return {
        name
        for name, value in vars(part).items()
        if (callable(value) or isinstance(value, property))
        and not name.startswith("__")
        and not getattr(value, "__isabstractmethod__", False)
    }


def test_no_two_parts_of_a_project_have_a_name_in_common():
    parts = [part for part in Project.__mro__ if part.__module__.startswith("shroff.")]

    counts = Counter(name for part in parts for name in names_of(part))

    assert [name for name, count in counts.items() if count > 1] == []
