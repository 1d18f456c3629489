"""State of an older version fits: what snapshots are told apart by stays the same for the same project."""

from __future__ import annotations

from hashlib import sha256

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.features.kernels.layout import DIGEST
from shroff.features.online.engine import Online
from shroff.project.definitions import computed_of, load_definitions
from tests.support.projects import FILES

FUNCTIONS = ("sum", "mean", "std", "min", "max", "distinct", "first", "last", "quantile")
WINDOWS = ("", " over 1h", " over 1d delayed 1h", " over last 3 including this")
CONDITIONS = (
    "",
    " where payment.amount > 3",
    " where payment.card == this.card",
    " where payment.amount < this.amount",
)
TEXTS = [
    f"{function}({inside}{where}){window}"
    for function, inside in (
        *((name, "payment.amount" + (", 0.5" if name == "quantile" else "")) for name in FUNCTIONS),
        ("count", "payment"),
        ("share", "payment"),
    )
    for where in CONDITIONS
    for window in WINDOWS
    if (window or (function != "quantile" and "<" not in where)) and (where or function != "share")
] + ["sum(payment.amount via payment.id) over 1h"]
EVERY_AGGREGATE = FILES | {
    "features.yaml": "card:\n" + "".join(f"  f{at}: {text}\n" for at, text in enumerate(TEXTS)),
    "rules/large.yaml": "- { id: r, on: payment, by: card, effect: review,"
    " when: sum(payment.amount) over 1h since flag > 3 }\n",
}
PINNED = {
    "blank": "540be6f5f0eeec77",
    "cards": "60c585d58d90d9f6",
    "cookbook": "82a8f9210477e7b5",
    "orders": "95d0b2c39a823797",
    "payments": "cbb163eba5d72cb7",
    "paysim": "1fd28ff5817cddfe",
    "savings": "83a73e3cb40fb508",
    "signals": "a3b3badeb1ee3a16",
}


def template(name: str) -> dict[str, str]:
    """The files of a template that its definitions are made of."""
    folder = TEMPLATE_FOLDER / name
    files = [
        path
        for pattern in ("*.yaml", "rules/*.yaml", "lists/*.csv", "tables/*.csv")
        for path in sorted(folder.glob(pattern))
    ]
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


def layouts(files: dict[str, str]) -> str:
    """The layout of the engine, and the plan's digest in the heap of each of its histories, as one hash."""
    definitions = load_definitions(files).or_raise()
    engine = Online(definitions.events, computed_of(definitions), definitions.reference, 86_400_000)
    heaps = [int(group.history.heap[DIGEST]) for group in engine.groups if group.history is not None]
    return sha256(f"{engine.layout()} {heaps}".encode()).hexdigest()[:16]


def test_every_template_is_pinned():
    assert PINNED.keys() == {path.name for path in TEMPLATE_FOLDER.iterdir()}


@pytest.mark.parametrize("name", sorted(PINNED))
def test_the_state_of_a_template_is_laid_out_as_before(name: str):
    assert layouts(template(name)) == PINNED[name]


def test_the_state_of_every_aggregate_is_laid_out_as_before():
    assert layouts(EVERY_AGGREGATE) == "263e3be586d59817"
