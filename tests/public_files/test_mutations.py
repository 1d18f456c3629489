"""No mutation of a file changes a value in silence: it is read right, or the line is refused, or a guess tells it."""

from __future__ import annotations

import functools
from typing import Final

import pytest

from tests.public_files import other_kinds, payment_kinds
from tests.public_files.judging import Judged, tried
from tests.public_files.making import Kind, Made, made
from tests.public_files.mutating import mutant
from tests.support.effort import long_after

pytestmark = pytest.mark.slow
ROWS: Final = 60
BASES: Final = [
    payment_kinds.STRIPE_EXPORT,
    other_kinds.HANDBOOK,
    payment_kinds.BRAINTREE,
    payment_kinds.REVOLUT,
    payment_kinds.STRIPE_CHARGES,
    payment_kinds.UPI,
    other_kinds.FRAUD_DETECTOR,
    other_kinds.IBM_AML,
    payment_kinds.CHECKOUT,
    other_kinds.PAYSIM,
    payment_kinds.SPARKASSE,
    payment_kinds.WISE,
    other_kinds.SAML_D,
    payment_kinds.GOCARDLESS,
    other_kinds.ASTERISK,
    other_kinds.SPARKOV,
    payment_kinds.MOLLIE,
    other_kinds.UK_CARDS,
    other_kinds.ECOMMERCE,
]


@functools.cache
def base(kind: Kind) -> Made:
    return made(kind, ROWS)


@pytest.mark.parametrize("seed", long_after(24, range(200)))
def test_a_value_that_is_taken_is_the_one_that_the_file_says(tmp_path, seed):
    source = base(BASES[seed % len(BASES)])
    file = mutant(source, seed)
    path = tmp_path / source.kind.file_name
    path.write_bytes(file.content())
    outcome = tried(tmp_path / "project", path)
    silent = []
    if outcome.is_made and "detail" not in outcome.ingest:  # a file that is refused as a whole says why there
        judged = Judged(Made(source.kind, file.rows), outcome)
        silent = [finding for finding in judged.findings if finding.check == "value"]
        counts = [outcome.ingest[name] for name in ("appended", "duplicates", "quarantined", "untaken")]
        assert sum(counts) >= len(file.rows), file.done

    assert not silent, (file.done, outcome.said)
