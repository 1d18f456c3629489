"""A project proposed from a public form of file takes all of it, and gets each column right or asks about it.

A kind with entries in KNOWN is not right yet: no other finding may come, and in `make test-long` exactly these must,
so that a mend is noticed, too.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.public_files import other_kinds, payment_kinds
from tests.public_files.judging import judged
from tests.public_files.making import made
from tests.support.effort import IS_LONG, long_but

pytestmark = pytest.mark.slow
KINDS: Final = [*payment_kinds.KINDS, *other_kinds.KINDS]
USUAL: Final = (  # one of each way to say time, money, id and order; all others are long
    payment_kinds.STRIPE_CHARGES,
    payment_kinds.STRIPE_BALANCE,
    payment_kinds.ADYEN_NOTIFICATIONS,
    payment_kinds.ADYEN_REPORT,
    payment_kinds.RAZORPAY_WEBHOOKS,
    payment_kinds.KLARNA,
    payment_kinds.MOLLIE,
    payment_kinds.PAYPAL_ACTIVITY,
    payment_kinds.PLAID,
    payment_kinds.REVOLUT,
    payment_kinds.UPI,
    other_kinds.PAYSIM,
    other_kinds.TABFORMER,
    other_kinds.IBM_AML,
    other_kinds.SAML_D,
    other_kinds.UK_CARDS,
    other_kinds.TELECOM,
    other_kinds.AUTH0,
    other_kinds.GITHUB_AUDIT,
    other_kinds.ETHERSCAN,
    other_kinds.ISO8583,
    other_kinds.CAMT_JSON,
    other_kinds.MT940,
)
KNOWN: Final[dict[str, set[str]]] = {"mt940_statement": {"whole"}}
WRONG_COLUMNS: Final = {
    "stripe_balance_transactions": 1,
    "adyen_received_payments": 1,
    "shopify_orders": 1,
    "woocommerce_orders": 1,
    "gocardless_payments": 2,
    "upi_transactions": 1,
    "baf_applications": 2,
    "ieee_cis": 1,
    "ecommerce_fraud_data": 1,
    "lending_club": 1,
    "okta_system_log": 1,
    "amplitude_export": 2,
    "etherscan_txlist": 2,
}


@pytest.mark.parametrize("kind", long_but(KINDS, *USUAL), ids=lambda kind: kind.name)
def test_a_file_of_a_public_form_is_taken_whole_and_means_what_its_columns_say(tmp_path, kind):
    result = judged(made(kind), tmp_path)

    assert len({finding.column for finding in result.wrong}) <= WRONG_COLUMNS.get(kind.name, 0), result.wrong
    found, known = {finding.key for finding in result.findings}, KNOWN.get(kind.name, set())
    assert found == known if IS_LONG else found <= known, result.findings
    if result.findings:
        pytest.xfail("; ".join(f"{finding.key}: {finding.said}" for finding in result.findings))
