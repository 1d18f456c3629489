"""Permissions and rows of the audit log in words."""

from __future__ import annotations

import pytest

from shroff.people.access import Right
from shroff.web.pages.audit_words import action_words, changes_of

AT = "2026-11-22T11:30:34.155Z"


def test_each_permission_has_words():
    assert len({right.words for right in Right}) == len(Right)


@pytest.mark.parametrize(
    ("action", "words"),
    [("case.decide", "Decide case"), ("sign_in.by_password", "Sign in by password"), ("user.role", "Change role")],
)
def test_an_action_is_shown_in_words(action, words):
    assert action_words(action) == words


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({"assignee": "user-1"}, {"assignee": None}, [("assignee", "Ann Lee", "")]),
        ({"assignee": "user-1"}, {"assignee": "user-9"}, [("assignee", "Ann Lee", "user-9")]),
        ({}, {"snoozed_ms": 1_795_347_034_155}, [("snoozed", "", AT)]),
        ({"timeout_ms": 90_000}, {"timeout_ms": 60_000}, [("timeout", "1 min 30 s", "1 min")]),
        ({"role": "analyst", "out": False}, {"role": "viewer", "out": False}, [("role", "analyst", "viewer")]),
        (None, {"verdict": "fraud", "at_ms": 1_795_347_034_155}, [("", "", f"verdict fraud, at {AT}")]),
        (None, None, []),
        (
            {"draft": "sha256:" + 64 * "a", "lines": ["when: a > 1"]},
            {"draft": "sha256:" + 64 * "b", "lines": ["when: a > 2"]},
            [("lines", "when: a > 1", "when: a > 2")],
        ),
        ({"draft": 64 * "a", "lines": ["on: payment"]}, None, [("", "lines on: payment", "")]),
    ],
)  # fmt: skip
def test_values_are_shown_as_times_durations_and_names(before, after, shown):
    found = changes_of(before, after, {"user-1": "Ann Lee"})

    assert [
        (name, *(text.replace("\xa0", " ").replace("\u202f", " ") for text in texts)) for name, *texts in found
    ] == shown
