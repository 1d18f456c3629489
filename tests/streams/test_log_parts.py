"""The log contract: a log is its parts and what spans them, and none is wide."""

from __future__ import annotations

import inspect

from shroff.streams.log import Log


def promised(part: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(part, inspect.isroutine) if not name.startswith("_")} | {
        name for name, _ in inspect.getmembers(part, lambda member: isinstance(member, property))
    }


def test_no_part_of_the_contract_is_wide():
    parts = [
        inspect.signature(member.fget, eval_str=True).return_annotation
        for member in vars(Log).values()
        if isinstance(member, property)
    ]
    assert max(len(promised(part)) for part in [Log, *parts]) <= 36
