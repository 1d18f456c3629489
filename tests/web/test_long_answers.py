"""Long answers: each refusal is written once, and a body leaves in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from shroff.log.writer import REFUSED, Answer
from shroff.web.api import events
from shroff.web.http import asgi


@pytest.mark.parametrize("are_lines", [True, False])
def test_each_refusal_of_a_list_is_written_once(are_lines):
    own, other = [("id", "is missing")], [("id", "is missing"), ("amount", "is no amount")]
    refused = [Answer(REFUSED, "payment", reason="id: is missing", is_conflict=item) for item in (False, True)]
    answers = [*refused, *refused, Answer("taken", "payment", "p1", 7), Answer("taken", "payment", "p2", 8), *refused]
    mistakes = [own, (), own, (), (), (), other, ()]
    written = list[Answer]()

    def show(answer: Answer, found: events.Mistakes) -> tuple[int, bytes]:
        written.append(answer)
        return events.shown(answer, found)

    asked = events._listed(None, show, answers, mistakes, events._Body(b"", is_list=True, are_lines=are_lines))
    each = [events.shown(*mistake)[1] for mistake in zip(answers, mistakes, strict=True)]

    assert asyncio.run(asked).body == (b"\n".join([*each, b""]) if are_lines else b"[" + b",".join(each) + b"]")
    assert len(written) == 5  # one refusal, a conflict, two that were taken, and one with other mistakes


@pytest.mark.parametrize("size", [0, 9, 10, 11, 20, 35])
def test_a_long_body_leaves_in_parts(monkeypatch, size):
    monkeypatch.setattr(asgi, "PART_BYTES", 10)
    body, sent = bytes(range(size)), list[Mapping[str, Any]]()

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async def both() -> None:
        step = partial(asgi._in_parts, send)
        await step({"type": "http.response.start", "status": 200, "headers": []})
        await step({"type": "http.response.body", "body": body})

    asyncio.run(both())
    start, *parts = sent

    assert start["type"] == "http.response.start"
    assert b"".join(bytes(part["body"]) for part in parts) == body
    assert all(len(part["body"]) <= 10 for part in parts)
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]
