"""Payment providers, shops and banks: the meaning of each column as their documentation has it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from tests.public_files.making import (
    Column,
    Kind,
    Row,
    address,
    always,
    amount,
    category,
    cents,
    digits,
    epoch,
    flag,
    german,
    grouped,
    ident,
    iso,
    key,
    mail,
    month,
    number,
    of,
    person,
    plain,
    ref,
    serial,
    sometimes,
    text,
    times,
)


def _card(prefix: str) -> dict[str, Column]:
    return {
        f"{prefix}brand": category("visa mastercard amex"),
        f"{prefix}country": category("US DE FR JP"),
        f"{prefix}exp_month": number(1, 12),
        f"{prefix}exp_year": number(2027, 2031),
        f"{prefix}fingerprint": key("Xt5E", 30),
        f"{prefix}funding": category("credit debit prepaid"),
        f"{prefix}last4": digits(4),
    }


def _listed(name: str, **around: Any) -> Any:
    return lambda items: {**around, name: items}


def _twice(values: Mapping[str, str]) -> Any:
    """Copies of what other columns of the row have."""
    return {
        new: Column(role, lambda row, old=old: (row.raw[old], row.values[old])) for new, (old, role) in values.items()
    }


STRIPE_CHARGES = Kind(
    "stripe_charges",
    "jsonl",
    {
        "id": ident("ch_3"),
        "object": always("charge"),
        "currency": category("usd usd usd eur jpy"),
        "amount": cents(5, 900, main=True, code="currency"),
        **_twice({"amount_captured": ("amount", "money")}),
        "amount_refunded": always(0, "leak"),
        "application": always(None),
        "balance_transaction": ref("txn_3"),
        "billing_details.address.city": category("Berlin Paris Austin"),
        "billing_details.address.country": category("US DE FR"),
        "billing_details.address.postal_code": digits(5),
        "billing_details.email": mail(),
        "billing_details.name": person(),
        "captured": always(True, "flag"),
        "created": epoch(main=True),
        "customer": key("cus_", 30),
        "description": text("Order"),
        "disputed": flag(share=0.02, role="leak"),
        "failure_code": always(None),
        "livemode": always(True, "flag"),
        "outcome.network_status": category("approved_by_network declined_by_network"),
        "outcome.risk_level": category("normal elevated"),
        "outcome.risk_score": number(1, 75),
        "outcome.type": category("authorized issuer_declined"),
        "paid": flag(share=0.9),
        "payment_intent": ref("pi_3"),
        "payment_method": ref("pm_1"),
        **_card("payment_method_details.card."),
        "payment_method_details.type": always("card"),
        "refunded": flag(share=0.05, role="leak"),
        "status": category("succeeded failed"),
    },
    code="currency",
)

STRIPE_BALANCE = Kind(
    "stripe_balance_transactions",
    "json",
    {
        "id": ident("txn_1"),
        "object": always("balance_transaction"),
        "amount": cents(1, 500, main=True),
        "available_on": epoch(later_s=172_800),
        "created": epoch(main=True),
        "currency": always("gbp", "text"),
        "description": text("Payment"),
        "exchange_rate": always(None),
        "fee": cents(0.2, 9),
        "net": cents(1, 490),
        "reporting_category": category("charge refund payout"),
        "source": ref("ch_3"),
        "status": category("available pending"),
        "type": category("charge refund payout"),
    },
    currency="GBP",
    order="down",
    wrap=_listed("data", object="list", url="/v1/balance_transactions", has_more=False),
)

STRIPE_EXPORT = Kind(
    "stripe_payments_export",
    "csv",
    {
        "id": ident("ch_3"),
        "Created date (UTC)": times("%Y-%m-%d %H:%M:%S", main=True),
        "Amount": amount(main=True, write=plain),
        "Amount Refunded": always("0.00", "leak"),
        "Currency": always("eur", "text"),
        "Captured": always("true", "flag"),
        "Converted Amount": amount(write=plain),
        "Converted Currency": always("eur", "text"),
        "Decline Reason": sometimes(category("insufficient_funds do_not_honor"), 0.1, ""),
        "Description": text("Invoice"),
        "Fee": amount(0.1, 9, write=plain),
        "Status": category("Paid Failed Refunded"),
        "Seller Message": category("Payment complete.|The bank declined."),
        "Taxes On Fee": always("0.00", "money"),
        "Card ID": key("card_", 40),
        "Customer ID": key("cus_", 30),
        "Customer Email": mail(),
        "Invoice ID": ref("in_1"),
        "Disputed Amount": always("", "nothing"),
    },
    currency="EUR",
    order="down",
)

_ADYEN = "NotificationRequestItem."
ADYEN_NOTIFICATIONS = Kind(
    "adyen_notifications",
    "jsonl",
    {
        _ADYEN + "additionalData.cardSummary": digits(4),
        _ADYEN + "additionalData.expiryDate": month("03/2030", 2030, 3),
        _ADYEN + "additionalData.shopperEmail": mail(),
        _ADYEN + "additionalData.shopperIP": address(),
        _ADYEN + "additionalData.totalFraudScore": number(0, 99, as_text=True),
        _ADYEN + "amount.currency": category("EUR EUR EUR JPY"),
        _ADYEN + "amount.value": cents(1, 900, main=True, code=_ADYEN + "amount.currency"),
        _ADYEN + "eventCode": category("AUTHORISATION CAPTURE REFUND"),
        _ADYEN + "eventDate": iso(main=True, zone="Europe/Amsterdam"),
        _ADYEN + "merchantAccountCode": always("ExampleCOM", "text"),
        _ADYEN + "merchantReference": ref("order-"),
        _ADYEN + "paymentMethod": category("visa mc ideal"),
        _ADYEN + "pspReference": ident("88", 16),
        _ADYEN + "reason": category("|00:approved|Refused"),
        _ADYEN + "success": flag("true", "false", 0.9),
    },
    code=_ADYEN + "amount.currency",
    wrap=_listed("notificationItems", live="false"),
)

ADYEN_REPORT = Kind(
    "adyen_received_payments",
    "csv",
    {
        "Company Account": always("ExampleCompany", "text"),
        "Merchant Account": category("ExampleNL ExampleDE"),
        "Psp Reference": ident("88", 16),
        "Merchant Reference": ref("ref-"),
        "Payment Method": category("visa mc ideal paypal"),
        "Creation Date": times("%Y-%m-%d %H:%M:%S", main=True, zone="Europe/Amsterdam"),
        "TimeZone": always("CET", "part"),
        "Currency": always("EUR", "text"),
        "Amount": amount(main=True, write=plain),
        "Type": category("Received Authorised Refused"),
        "Risk Scoring": number(0, 100),
        "Shopper Name": person(),
        "Shopper Email": mail(),
        "Shopper IP": address(),
        "Shopper Country": category("NL DE BE"),
        "Issuer Country": category("NL DE BE US"),
        "Issuer Id": digits(6, role="ref"),
        "CVC2 Response": category("0 1 2", "category"),
        "AVS Response": category("0 4 5", "category"),
        "Shopper Reference": key("shopper-", 30),
    },
    currency="EUR",
)

_RAZOR = "payload.payment.entity."
_RAZORPAY_ITEM = {
    "id": ident("pay_"),
    "entity": always("payment"),
    "amount": cents(1, 5_000, main=True),
    "currency": always("INR", "text"),
    "status": category("captured failed authorized"),
    "order_id": ref("order_"),
    "invoice_id": always(None),
    "international": flag(share=0.1),
    "method": category("card upi netbanking wallet"),
    "amount_refunded": always(0, "leak"),
    "captured": flag(share=0.9),
    "card_id": key("card_", 40),
    "bank": category("HDFC ICIC SBIN"),
    "email": mail(),
    "contact": of(lambda row: f"+9190000{row.rng.randrange(60):05d}", "personal"),
    "fee": cents(0.1, 90),
    "tax": cents(0, 15),
    "error_code": always(None),
    "created_at": epoch(main=True),
}
RAZORPAY_WEBHOOKS = Kind(
    "razorpay_webhooks",
    "jsonl",
    {
        "entity": always("event"),
        "account_id": always("acc_M1", "text"),
        "event": category("payment.captured payment.failed payment.authorized"),
        **{_RAZOR + name: column for name, column in _RAZORPAY_ITEM.items()},
        "created_at": epoch(later_s=2),
    },
    currency="INR",
)
RAZORPAY_LIST = Kind(
    "razorpay_payments",
    "json",
    _RAZORPAY_ITEM,
    currency="INR",
    order="down",
    wrap=lambda items: {"entity": "collection", "count": len(items), "items": items},
)

SQUARE = Kind(
    "square_payments",
    "json",
    {
        "id": ident("", 22),
        "created_at": iso(main=True, places=3),
        "updated_at": iso(later_s=3_600, places=3, role="leak"),
        "amount_money.amount": cents(1, 200),
        "amount_money.currency": always("USD", "text"),
        **_twice({"total_money.amount": ("amount_money.amount", "money")}),
        "total_money.currency": always("USD", "text"),
        "status": category("COMPLETED FAILED APPROVED"),
        "source_type": always("CARD"),
        "card_details.status": category("CAPTURED AUTHORIZED"),
        "card_details.card.card_brand": category("VISA MASTERCARD"),
        "card_details.card.last_4": digits(4),
        "card_details.card.fingerprint": key("sq-1-", 40),
        "card_details.card.bin": digits(6),
        "card_details.entry_method": category("KEYED SWIPED EMV"),
        "location_id": category("L88917AVBK2S5 L7HXY0"),
        "order_id": ref("o"),
        "risk_evaluation.risk_level": category("NORMAL MODERATE HIGH"),
        "customer_id": key("CU", 30),
    },
    currency="USD",
    order="down",
    wrap=_listed("payments"),
)

CHECKOUT = Kind(
    "checkout_com_events",
    "jsonl",
    {
        "id": ident("evt_"),
        "type": category("payment_approved payment_declined"),
        "version": always("1.0"),
        "created_on": iso(main=True),
        "data.id": ref("pay_"),
        "data.action_id": ref("act_"),
        "data.amount": cents(1, 900, main=True),
        "data.currency": always("GBP", "text"),
        "data.processed_on": iso(),
        "data.response_code": category("10000 20005 20051", "category"),
        "data.source.id": ref("src_"),
        "data.source.type": always("card"),
        "data.source.fingerprint": key("F", 40, 12),
        "data.source.last_4": digits(4),
        "data.source.bin": digits(6),
        "data.risk.flagged": flag(share=0.05),
        "data.customer.id": key("cus_", 30),
        "data.customer.email": mail(),
    },
    currency="GBP",
)

KLARNA = Kind(
    "klarna_orders",
    "jsonl",
    {
        "order_id": ident("", 24),
        "status": category("AUTHORIZED CAPTURED CANCELLED"),
        "fraud_status": category("ACCEPTED PENDING REJECTED"),
        "order_amount": cents(10, 5_000, main=True),
        "captured_amount": always(0, "leak"),
        "purchase_currency": always("SEK", "text"),
        "purchase_country": always("SE", "text"),
        "created_at": iso(main=True, places=3),
        "expires_at": iso(later_s=2_419_200, places=3),
        "billing_address.given_name": person(),
        "billing_address.email": mail(),
        "billing_address.postal_code": digits(5),
        "billing_address.phone": of(lambda row: f"+4670{row.rng.randrange(90):07d}", "personal"),
        "customer.date_of_birth": of(lambda row: f"19{row.rng.randrange(50, 99)}-05-17", "personal"),
        "merchant_reference1": ref("m"),
    },
    currency="SEK",
)

MOLLIE = Kind(
    "mollie_payments",
    "json",
    {
        "resource": always("payment"),
        "id": ident("tr_", 13),
        "mode": always("live"),
        "createdAt": times("%Y-%m-%dT%H:%M:%S%z:", main=True),
        "amount.value": amount(main=True, write=plain),
        "amount.currency": always("EUR", "text"),
        "description": text("Order"),
        "method": category("ideal creditcard bancontact"),
        "status": category("paid open expired"),
        "paidAt": times("%Y-%m-%dT%H:%M:%S%z:", later_s=60, role="leak"),
        "countryCode": category("NL BE DE"),
        "profileId": always("pfl_5B8cwPMGnU", "text"),
        "customerId": key("cst_", 30),
        "details.cardFingerprint": key("fp", 40),
        "details.cardHolder": person(),
        "settlementAmount.value": amount(write=plain, role="leak"),
        "settlementAmount.currency": always("EUR"),
    },
    currency="EUR",
    order="down",
    wrap=lambda items: {"count": len(items), "_embedded": {"payments": items}, "_links": {"next": None}},
)


def _paypal_zone(row: Row) -> tuple[str, str]:
    zone = row.at.astimezone(ZoneInfo("America/New_York")).tzname() or ""
    return zone, zone


PAYPAL_ACTIVITY = Kind(
    "paypal_activity",
    "csv",
    {
        "Date": times("%m/%d/%Y", zone="America/New_York", role="part"),
        "Time": times("%H:%M:%S", main=True, zone="America/New_York"),
        "TimeZone": Column("part", _paypal_zone),
        "Name": person(),
        "Type": category("Express Checkout Payment|Payment Refund|Mass Pay Payment"),
        "Status": category("Completed Pending"),
        "Currency": category("USD USD USD EUR"),
        "Gross": amount(1, 2_500, main=True, write=grouped, negative=0.2),
        "Fee": amount(0.1, 90, write=plain, negative=1),
        "Net": amount(1, 2_400, write=grouped),
        "From Email Address": mail(),
        "To Email Address": mail(),
        "Transaction ID": ident("TX", 17),
        "Reference Txn ID": sometimes(ref("TX"), 0.2, ""),
        "Balance Impact": category("Credit Debit"),
    },
    code="Currency",
    quote=csv.QUOTE_ALL,
    step_s=90_000,
)

_INFO = "transaction_info."
PAYPAL_API = Kind(
    "paypal_transactions",
    "json",
    {
        _INFO + "paypal_account_id": key("ACC", 30, 10),
        _INFO + "transaction_id": ident("", 17),
        _INFO + "transaction_event_code": category("T0006 T0003 T1107"),
        _INFO + "transaction_initiation_date": times("%Y-%m-%dT%H:%M:%S%z", main=True),
        _INFO + "transaction_updated_date": times("%Y-%m-%dT%H:%M:%S%z", later_s=40),
        _INFO + "transaction_amount.currency_code": always("USD", "text"),
        _INFO + "transaction_amount.value": amount(main=True, write=plain, negative=0.3),
        _INFO + "fee_amount.currency_code": always("USD", "text"),
        _INFO + "fee_amount.value": amount(0.1, 9, write=plain),
        _INFO + "transaction_status": category("S P V"),
        "payer_info.account_id": key("PAY", 30, 10),
        "payer_info.email_address": mail(),
        "payer_info.payer_status": category("Y N", "flag"),
        "payer_info.payer_name.given_name": person(),
        "payer_info.payer_name.surname": person(),
        "payer_info.country_code": category("US CA"),
    },
    currency="USD",
    wrap=lambda items: {
        "transaction_details": items,
        "account_number": "XZXSPECPDZHZU",
        "start_date": "2026-01-01T00:00:00+0000",
        "end_date": "2026-02-01T00:00:00+0000",
        "total_items": len(items),
        "total_pages": 1,
    },
)

BRAINTREE = Kind(
    "braintree_search",
    "csv",
    {
        "Transaction ID": ident("", 8),
        "Subscription ID": sometimes(ref("sub"), 0.3, ""),
        "Transaction Type": category("sale credit"),
        "Transaction Status": category("settled voided"),
        "Created Datetime": times("%m/%d/%Y %H:%M:%S", main=True),
        "Created Timezone": always("UTC", "part"),
        "Settlement Date": times("%m/%d/%Y", later_s=172_800, role="leak"),
        "Amount Authorized": amount(main=True, write=plain),
        "Amount Submitted For Settlement": amount(write=plain, role="leak"),
        "Service Fee": always("", "nothing"),
        "Tax Amount": amount(0, 20, write=plain),
        "Currency ISO Code": always("USD", "text"),
        "Customer ID": key("", 30, 9),
        "Payment Instrument Type": category("Credit Card|PayPal"),
        "Card Type": category("Visa|MasterCard"),
        "Cardholder Name": person(),
        "First Six of Credit Card": digits(6),
        "Last Four of Credit Card": digits(4),
        "Expiration Date": month("05/2029", 2029, 5),
        "Customer Email": mail(),
        "IP Address": address(),
        "Risk Decision": category("Approve Decline"),
        "AVS Postal Code Response Code": category("M N U"),
    },
    currency="USD",
    order="down",
)

SHOPIFY = Kind(
    "shopify_orders",
    "csv",
    {
        "Name": serial(1001, "ref", "#"),
        "Email": mail(),
        "Financial Status": category("paid refunded pending"),
        "Paid at": times("%Y-%m-%d %H:%M:%S %z", later_s=60, zone="America/New_York"),
        "Fulfillment Status": category("fulfilled unfulfilled"),
        "Accepts Marketing": flag("yes", "no"),
        "Currency": always("USD", "text"),
        "Subtotal": amount(write=plain),
        "Shipping": amount(0, 12, write=plain),
        "Taxes": amount(0, 40, write=plain),
        "Total": amount(main=True, write=plain),
        "Discount Code": sometimes(category("FALL5 SPRING"), 0.2, ""),
        "Created at": times("%Y-%m-%d %H:%M:%S %z", main=True, zone="America/New_York"),
        "Lineitem quantity": number(1, 5),
        "Lineitem name": category("Fern Print|Mug|Plate"),
        "Lineitem price": amount(write=plain),
        "Billing Name": person(),
        "Billing Country": category("US CA"),
        "Payment Method": category("Shopify Payments|PayPal"),
        "Refunded Amount": always("0.00", "leak"),
        "Id": serial(5_550_000_001),
        "Risk Level": category("Low Medium High"),
        "Phone": of(lambda row: f"+1555{row.rng.randrange(60):07d}", "personal"),
    },
    currency="USD",
    order="down",
)

WOOCOMMERCE = Kind(
    "woocommerce_orders",
    "json",
    {
        "id": serial(727),
        "parent_id": always(0),
        "number": serial(727, "ref", ""),
        "status": category("processing completed on-hold"),
        "currency": always("EUR", "text"),
        "date_created": times("%Y-%m-%dT%H:%M:%S", zone="Europe/Berlin", role="text"),
        "date_created_gmt": times("%Y-%m-%dT%H:%M:%S", main=True),
        "discount_total": always("0.00", "money"),
        "shipping_total": amount(0, 10, write=plain),
        "total": amount(main=True, write=plain),
        "total_tax": amount(0, 30, write=plain),
        "customer_id": serial(20, "key", ""),
        "customer_ip_address": address(),
        "customer_user_agent": category("Mozilla/5.0 (X11)|curl/8.0"),
        "billing.first_name": person(),
        "billing.city": category("Berlin Hamburg"),
        "billing.postcode": digits(5),
        "billing.country": always("DE"),
        "billing.email": mail(),
        "billing.phone": of(lambda row: f"0{row.rng.randrange(60):09d}", "personal"),
        "payment_method": category("bacs paypal stripe"),
        "transaction_id": sometimes(ref("ch_"), 0.8, ""),
    },
    currency="EUR",
    order="down",
)

PLAID = Kind(
    "plaid_transactions",
    "json",
    {
        "account_id": key("a", 3, 20),
        "amount": amount(1, 900, main=True, negative=0.2),
        "iso_currency_code": always("USD", "text"),
        "unofficial_currency_code": always(None),
        "category_id": category("19013000 22016000"),
        "date": times("%Y-%m-%d"),
        "datetime": iso(main=True),
        "authorized_date": times("%Y-%m-%d"),
        "location.city": category("Austin|New York"),
        "location.lat": number(25, 48, 4),
        "location.lon": number(-120, -70, 4),
        "name": category("Store|Coffee House|Payroll"),
        "merchant_name": sometimes(category("Store|Coffee House")),
        "payment_channel": category("online|in store|other"),
        "pending": flag(share=0.1),
        "pending_transaction_id": always(None),
        "transaction_id": ident("", 20),
    },
    currency="USD",
    order="down",
    wrap=lambda items: {
        "accounts": [
            {
                "account_id": f"a{number:020d}",
                "balances": {"available": 100, "current": 110, "limit": None, "iso_currency_code": "USD"},
                "mask": "0000",
                "name": "Checking",
                "official_name": "Plaid Gold Standard",
                "subtype": "checking",
                "type": "depository",
            }
            for number in range(1, 4)
        ],
        "transactions": items,
        "total_transactions": len(items),
        "request_id": "45QSn",
    },
)

GOCARDLESS = Kind(
    "gocardless_payments",
    "json",
    {
        "id": ident("PM", 14),
        "created_at": iso(main=True, places=3),
        "charge_date": times("%Y-%m-%d", later_s=259_200),
        "amount": cents(5, 300, main=True),
        "amount_refunded": always(0, "leak"),
        "currency": always("GBP", "text"),
        "description": sometimes(text("Membership")),
        "reference": sometimes(ref("R")),
        "status": category("confirmed paid_out failed charged_back", "leak"),
        "links.mandate": key("MD", 40, 10),
        "links.creditor": always("CR123", "text"),
        "retry_if_possible": flag(),
    },
    currency="GBP",
    order="down",
    wrap=lambda items: {"payments": items, "meta": {"cursors": {"before": None, "after": None}, "limit": 50}},
)

REVOLUT = Kind(
    "revolut_statement",
    "csv",
    {
        "Type": category("Card Payment|Topup|Transfer"),
        "Product": always("Current"),
        "Started Date": times("%Y-%m-%d %H:%M:%S", main=True),
        "Completed Date": times("%Y-%m-%d %H:%M:%S", later_s=40_000, role="leak"),
        "Description": category("Tesco|Payment from Ada|Bolt.eu"),
        "Amount": amount(1, 400, main=True, write=plain, negative=0.8),
        "Fee": always("0.00", "money"),
        "Currency": always("GBP", "text"),
        "State": category("COMPLETED PENDING"),
        "Balance": amount(1, 5_000, write=plain),
    },
    currency="GBP",
    asks=frozenset({"id", "entity"}),
)

WISE = Kind(
    "wise_statement",
    "csv",
    {
        "TransferWise ID": serial(830_000, "id", "CARD-"),
        "Date": times("%d-%m-%Y", main=True),
        "Amount": amount(1, 400, main=True, write=plain, negative=0.8),
        "Currency": always("EUR", "text"),
        "Description": text("Card transaction at Shop"),
        "Payment Reference": always(""),
        "Running Balance": amount(1, 9_000, write=plain),
        "Exchange From": always(""),
        "Payer Name": sometimes(person(), 0.3, ""),
        "Payee Account Number": sometimes(key("DE8937040044", 30, 10), 0.5, ""),
        "Merchant": category("Shop|Bahn|Cafe"),
        "Total fees": amount(0, 2, write=plain),
    },
    currency="EUR",
    order="down",
    step_s=20_000,
)

SPARKASSE = Kind(
    "sparkasse_camt",
    "csv",
    {
        "Auftragskonto": key("DE2150050000", 2, 10),
        "Buchungstag": times("%d.%m.%y", main=True),
        "Valutadatum": times("%d.%m.%y"),
        "Buchungstext": category("LASTSCHRIFT GUTSCHRIFT KARTENZAHLUNG"),
        "Verwendungszweck": text("Rechnung für März"),
        "Glaeubiger ID": sometimes(ref("DE98ZZZ"), 0.4, ""),
        "Mandatsreferenz": sometimes(ref("M"), 0.4, ""),
        "Kundenreferenz (End-to-End)": sometimes(ref("E"), 0.4, ""),
        "Sammlerreferenz": always(""),
        "Beguenstigter/Zahlungspflichtiger": person("text"),
        "Kontonummer/IBAN": key("DE8937040044", 30, 10),
        "BIC (SWIFT-Code)": category("COBADEFFXXX HELADEF1822"),
        "Betrag": amount(1, 1_900, main=True, write=german, negative=0.7),
        "Waehrung": always("EUR", "text"),
        "Info": always("Umsatz gebucht", "text"),
    },
    currency="EUR",
    order="down",
    separator=";",
    encoding="cp1252",
    quote=csv.QUOTE_ALL,
    step_s=20_000,
    asks=frozenset({"id"}),
)

N26 = Kind(
    "n26_statement",
    "csv",
    {
        "Booking Date": times("%Y-%m-%d", main=True),
        "Value Date": times("%Y-%m-%d"),
        "Partner Name": person("text"),
        "Partner Iban": sometimes(key("DE8937040044", 30, 10), 0.6, ""),
        "Type": category("Debit Transfer|Presentment|Credit Transfer"),
        "Payment Reference": text("Ref"),
        "Account Name": always("Main Account", "text"),
        "Amount (EUR)": amount(1, 900, main=True, write=plain, negative=0.8),
        "Original Amount": sometimes(amount(1, 900, write=plain), 0.2, ""),
        "Original Currency": sometimes(always("USD", "text"), 0.2, ""),
        "Exchange Rate": sometimes(number(0.8, 1.2, 4, as_text=True), 0.2, ""),
    },
    currency="EUR",
    quote=csv.QUOTE_ALL,
    step_s=20_000,
    asks=frozenset({"id"}),
)

UPI = Kind(
    "upi_transactions",
    "csv",
    {
        "Transaction ID": ident("", 32),
        "Timestamp": times("%Y-%m-%d %H:%M:%S", main=True),
        "Sender Name": person(),
        "Sender UPI ID": of(lambda row: f"{9_000_000_000 + row.rng.randrange(40)}@okaxis", "key"),
        "Receiver Name": person(),
        "Receiver UPI ID": of(lambda row: f"{8_000_000_000 + row.rng.randrange(40)}@okicici", "key"),
        "Amount (INR)": amount(10, 9_000, main=True, write=plain),
        "Status": category("SUCCESS FAILED"),
    },
    currency="INR",
)

KINDS: Final = [value for value in list(vars().values()) if isinstance(value, Kind)]
