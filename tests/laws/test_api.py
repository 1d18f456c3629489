"""What is posted comes to the same as what is ingested from a file, however it is parted into requests."""

from __future__ import annotations

import asyncio
import shutil

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.services import project as app
from shroff.web.api.events import PARTS_AT_ONCE
from tests.recovery.harness import contents
from tests.support.webs import asker

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
EVENTS = 150
READ_IN_ORDER = PARTS_AT_ONCE // 9  # events of these, of nine fields: a body of so many is read on the event loop


@st.composite
def inputs(draw: st.DrawFn) -> list[bytes]:
    """Payments in their order; some broken, sent twice, altered, or with a further space that the short way refuses."""
    found = []
    for number, payment in enumerate(bank(EVENTS, seed=draw(st.integers(0, 3)))):
        line = msgspec.json.encode(payment.event)
        kind = draw(st.sampled_from(["plain"] * 12 + ["spaced", "number", "twice", "other", "broken", "text"]))
        match kind:
            case "spaced":
                line = line.replace(b",", b", ")
            case "number":
                line = msgspec.json.encode(
                    {**payment.event, "amount": msgspec.Raw(str(payment.event["amount"]).encode())}
                )
            case "broken":
                line = msgspec.json.encode({**payment.event, "payment_id": f"b-{number}", "amount": "1.005"})
            case "text":
                line = b'"%d"' % number
        found.append(line)
        if kind == "twice":
            found.append(line)
        if kind == "other":
            found.append(msgspec.json.encode({**payment.event, "amount": "0.01"}))
    return found


def parted(lines: list[bytes], sizes: list[tuple[int, str]]) -> list[tuple[str, bytes]]:
    """The lines as bodies of requests: one event, a list, or JSON lines."""
    found, at = [], 0
    while at < len(lines):
        size, form = sizes[len(found) % len(sizes)]
        part = lines[at : at + (1 if form == "one" else size)]
        at += len(part)
        body = {"one": part[0], "list": b"[" + b",".join(part) + b"]", "lines": b"\n".join(part)}[form]
        found.append(("application/x-ndjson" if form == "lines" else "application/json", body))
    return found


@settings(max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    inputs(),
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["one", "list", "lines"])), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_posts_give_what_a_file_gives(tmp_path_factory, lines, sizes, at_once):
    folder = tmp_path_factory.mktemp("api")
    for name in ("posted", "ingested"):
        shutil.copytree(TEMPLATE, folder / name)
    (folder / "events.jsonl").write_bytes(b"\n".join(lines))
    app.open_exactly(folder / "ingested").ingest(folder / "events.jsonl", as_type="payment")

    async def post() -> list[object]:
        answered: list[object] = []
        async with asker(folder / "posted") as asks:
            bodies = parted(lines, sizes)
            # Some wait in line together, in their order; what is read beside the loop may come behind a later one.
            together = at_once if max(size for size, _ in sizes) <= READ_IN_ORDER else 1
            for start in range(0, len(bodies), together):
                part = bodies[start : start + together]
                tasks = [
                    asyncio.create_task(asks.ask("POST", "/api/v1/events/payment", body, media_type=kind))
                    for kind, body in part
                ]
                for (kind, body), task in zip(part, tasks, strict=True):
                    found = await task
                    if kind != "application/json":
                        answered += [msgspec.json.decode(line) for line in found.body.splitlines()]
                    else:
                        answered += found.json() if body.startswith(b"[") else [found.json()]
        return answered

    answered = asyncio.run(post())
    posted, ingested = contents(folder / "posted"), contents(folder / "ingested")

    assert len(answered) == len(lines)
    for part in ("records", "decisions", "hits", "flags", "outbox"):
        assert posted[part] == ingested[part], part
    documents = {item["id"]: item for item in answered if isinstance(item, dict) and "outcome" in item}
    with app.open_exactly(folder / "ingested").log.reading() as log:
        recorded = {row.id: msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows}
    assert documents == recorded
    shutil.rmtree(folder)
