"""Secrets of URLs in the words of errors: what is looked for first costs little, and hides as much."""

from __future__ import annotations

from random import Random

from shroff import errors
from shroff.errors import covered

PARTS = [
    "http://",
    "://",
    "a",
    "b.c",
    "@",
    ":",
    "/",
    "?",
    "#",
    "=",
    "&",
    " ",
    "'",
    "u:pw",
    "host:1",
    "<",
    "(",
    ".",
    "\n",
]


def test_a_text_that_is_passed_over_quickly_has_nothing_to_cover():
    random = Random(1)
    for _ in range(4_000):
        text = "".join(random.choices(PARTS, k=random.randrange(1, 12)))
        thorough = errors._QUERY.sub(rf"\1{errors.COVERED}", errors._USER.sub(f"{errors.COVERED}@", text))

        assert covered(text) == thorough
