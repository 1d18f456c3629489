"""Data sets, logs, chains, telephone calls, insurance and bank statements: what each column means."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from xml.sax.saxutils import escape

from tests.public_files.making import (
    BEGIN,
    BITS,
    Column,
    Kind,
    Row,
    address,
    always,
    amount,
    category,
    digits,
    epoch,
    flag,
    ident,
    iso,
    key,
    label,
    mail,
    number,
    number_key,
    of,
    person,
    plain,
    ref,
    serial,
    sometimes,
    text,
    times,
)


def _since_start(unit_s: int, *, main: bool = True, as_float: bool = False) -> Column:
    """Counts of hours or seconds since the file's own start: which day that was is asked about."""

    def make(row: Row) -> tuple[Any, Any]:
        count = int((row.at - BEGIN).total_seconds() // unit_s)
        return (float(count) if as_float else count), timedelta(seconds=count * unit_s)

    return Column("time", make, main)


def _numbered(prefix: str, count: int, low: float, high: float, places: int = 6) -> dict[str, Column]:
    return {f"{prefix}{at}": number(low, high, places) for at in range(1, count + 1)}


ULB = Kind(
    "ulb_creditcard",
    "csv",
    {
        "Time": _since_start(1, as_float=True),
        **_numbered("V", 28, -5, 5, 14),
        "Amount": amount(main=True),
        "Class": label(BITS),
    },
    step_s=60,
    asks=frozenset({"time", "id", "entity"}),
)

PAYSIM = Kind(
    "paysim",
    "csv",
    {
        "step": _since_start(3_600),
        "type": category("PAYMENT CASH_OUT CASH_IN TRANSFER DEBIT"),
        "amount": amount(10, 90_000, main=True),
        "nameOrig": ident("C", 11, "key"),
        "oldbalanceOrg": amount(0, 90_000),
        "newbalanceOrig": amount(0, 90_000),
        "nameDest": key("M", 40, 9),
        "oldbalanceDest": amount(0, 90_000),
        "newbalanceDest": amount(0, 90_000),
        "isFraud": label(BITS),
        "isFlaggedFraud": always(0, "leak"),
    },
    asks=frozenset({"time", "id"}),
)

SPARKOV = Kind(
    "sparkov_fraud_train",
    "csv",
    {
        "": serial(0, "nothing"),
        "trans_date_trans_time": times("%Y-%m-%d %H:%M:%S", main=True),
        "cc_num": number_key(2_703_186_189_652_095),
        "merchant": category("fraud_Kilback LLC|fraud_Cormier LLC|fraud_Kuhn LLC", "key"),
        "category": category("gas_transport grocery_pos misc_net"),
        "amt": amount(main=True),
        "first": person(),
        "last": person(),
        "gender": category("F M"),
        "street": text("Example Lane", "personal"),
        "city": category("Moravian Falls|Orient"),
        "state": category("NC WA ID"),
        "zip": digits(5),
        "lat": number(20, 60, 4),
        "long": number(-160, -70, 4),
        "city_pop": number(30, 90_000),
        "job": category("Psychologist, counselling|Lawyer"),
        "dob": of(lambda row: f"19{row.rng.randrange(40, 99)}-03-09", "personal"),
        "trans_num": ident("", 32),
        "unix_time": epoch(later_s=-220_924_800),
        "merch_lat": number(20, 60, 6),
        "merch_long": number(-160, -70, 6),
        "is_fraud": label(BITS),
    },
)

BAF = Kind(
    "baf_applications",
    "csv",
    {
        "fraud_bool": label(BITS),
        "income": number(0.1, 0.9, 1),
        "name_email_similarity": number(0, 1, 12),
        "prev_address_months_count": always(-1, "number"),
        "current_address_months_count": number(0, 300),
        "customer_age": category("20 30 40 50", "number"),
        "days_since_request": number(0, 1, 12),
        "intended_balcon_amount": number(-1, 100, 10),
        "payment_type": category("AA AB AC AD"),
        "zip_count_4w": number(1, 5_000),
        "velocity_6h": number(100, 16_000, 8),
        "velocity_24h": number(100, 9_000, 8),
        "velocity_4w": number(2_000, 7_000, 8),
        "bank_branch_count_8w": number(0, 2_000),
        "date_of_birth_distinct_emails_4w": number(0, 30),
        "employment_status": category("CA CB CC"),
        "credit_risk_score": number(-100, 380),
        "email_is_free": flag(1, 0),
        "housing_status": category("BA BB BC"),
        "phone_home_valid": flag(1, 0),
        "phone_mobile_valid": flag(1, 0),
        "bank_months_count": number(-1, 31),
        "has_other_cards": flag(1, 0),
        "proposed_credit_limit": category("200.0 500.0 1500.0", "money"),
        "foreign_request": flag(1, 0),
        "source": category("INTERNET TELEAPP"),
        "session_length_in_minutes": number(0, 80, 10),
        "device_os": category("windows linux macintosh other"),
        "keep_alive_session": flag(1, 0),
        "device_distinct_emails_8w": number(0, 2),
        "device_fraud_count": always(0, "leak"),
        "month": always(0, "part"),
    },
    order="none",
    asks=frozenset({"time", "id", "entity"}),
)

IEEE_CIS = Kind(
    "ieee_cis",
    "csv",
    {
        "TransactionID": serial(2_987_000),
        "isFraud": label(BITS),
        "TransactionDT": _since_start(1),
        "TransactionAmt": amount(main=True),
        "ProductCD": category("W H C S R"),
        "card1": number_key(13_926, 60),
        "card2": sometimes(number(100, 600, 1), 0.9, ""),
        "card3": always("150.0", "number"),
        "card4": category("visa mastercard discover"),
        "card5": sometimes(number(100, 230, 1), 0.9, ""),
        "card6": category("credit debit"),
        "addr1": sometimes(number(100, 500, 1), 0.9, ""),
        "addr2": sometimes(always("87.0", "number"), 0.9, ""),
        "dist1": sometimes(number(0, 900, 1), 0.4, ""),
        "P_emaildomain": sometimes(category("gmail.com yahoo.com"), 0.8, ""),
        "R_emaildomain": sometimes(category("gmail.com yahoo.com"), 0.2, ""),
        **_numbered("C", 6, 0, 9, 1),
        **_numbered("D", 5, 0, 400, 1),
        "M1": sometimes(category("T F", "flag"), 0.6, ""),
        "M4": sometimes(category("M0 M1 M2"), 0.6, ""),
        **_numbered("V", 12, 0, 5, 1),
    },
    step_s=60,
    asks=frozenset({"time"}),
)

TABFORMER = Kind(
    "tabformer_cards",
    "csv",
    {
        "User": number_key(0, 9),
        "Card": number_key(0, 4, "category"),
        "Year": times("%Y", role="part"),
        "Month": of(lambda row: row.at.month, "part"),
        "Day": of(lambda row: row.at.day, "part"),
        "Time": times("%H:%M", main=True),
        "Amount": amount(1, 900, main=True, write=lambda value: f"${value}", negative=0.05),
        "Use Chip": category("Swipe Transaction|Chip Transaction|Online Transaction"),
        "Merchant Name": category("3527213246127876953|-727612092139916043|1293143515607798169", "key"),
        "Merchant City": category("La Verne|ONLINE|Monterey Park"),
        "Merchant State": sometimes(category("CA NY"), 0.8, ""),
        "Zip": sometimes(category("91750.0 91754.0", "ref"), 0.8, ""),
        "MCC": category("5300 5411 3019", "ref"),
        "Errors?": sometimes(category("Insufficient Balance|Bad PIN"), 0.05, ""),
        "Is Fraud?": label({"fraud": "Yes", "genuine": "No"}),
    },
    currency="USD",
    asks=frozenset({"id"}),
)

IBM_AML = Kind(
    "ibm_aml",
    "csv",
    {
        "Timestamp": times("%Y/%m/%d %H:%M", main=True),
        "From Bank": digits(6, 12),
        "Account": ident("80", 9, "key"),
        "To Bank": digits(6, 12),
        "Account.1": key("81", 60, 7),
        "Amount Received": amount(write=plain),
        "Receiving Currency": category("US Dollar|Euro|Yuan"),
        "Amount Paid": amount(main=True, write=plain),
        "Payment Currency": category("US Dollar|Euro|Yuan"),
        "Payment Format": category("ACH Cheque Wire Reinvestment"),
        "Is Laundering": label(BITS),
    },
    names={"Account.1": "Account"},
    asks=frozenset({"id", "money"}),
)

SAML_D = Kind(
    "saml_d",
    "csv",
    {
        "Time": times("%H:%M:%S", main=True),
        "Date": times("%Y-%m-%d", role="part"),
        "Sender_account": number_key(8_724_731_955, 30),
        "Receiver_account": number_key(2_769_355_426, 60),
        "Amount": amount(1, 9_000, main=True, write=plain),
        "Payment_currency": category("UK pounds|Euro"),
        "Received_currency": category("UK pounds|Euro"),
        "Sender_bank_location": category("UK Germany"),
        "Receiver_bank_location": category("UK Germany"),
        "Payment_type": category("Cash Deposit|Cross-border|Cheque"),
        "Is_laundering": label(BITS),
        "Laundering_type": category("Normal_Cash_Deposits Normal_Small_Fan_Out", "leak"),
    },
    asks=frozenset({"id", "money"}),
    step_s=9_000,
)

HANDBOOK = Kind(
    "fraud_handbook",
    "csv",
    {
        "TRANSACTION_ID": serial(0),
        "TX_DATETIME": times("%Y-%m-%d %H:%M:%S", main=True),
        "CUSTOMER_ID": number_key(0, 30),
        "TERMINAL_ID": number_key(3_000, 60),
        "TX_AMOUNT": amount(main=True),
        "TX_TIME_SECONDS": of(lambda row: int((row.at - BEGIN).total_seconds()), "number"),
        "TX_TIME_DAYS": of(lambda row: (row.at - BEGIN).days, "number"),
        "TX_FRAUD": label(BITS),
        "TX_FRAUD_SCENARIO": category("0 1 2 3", "leak"),
    },
)

UK_CARDS = Kind(
    "uk_cards",
    "csv",
    {
        "Transaction ID": of(lambda row: f"#{3000 + row.number} {row.rng.randrange(100, 999)}", "id"),
        "Date": times("%d-%b-%y", main=True, means="%d %H"),
        "Day of Week": times("%A", role="category"),
        "Time": of(lambda row: row.at.hour, "part"),
        "Type of Card": category("Visa MasterCard"),
        "Entry Mode": category("Tap PIN CVC"),
        "Amount": amount(5, 400, main=True, places=0, write=lambda value: f"£{value}"),
        "Type of Transaction": category("POS ATM Online"),
        "Merchant Group": category("Children Gaming Electronics"),
        "Country of Transaction": category("United Kingdom|USA|China"),
        "Gender": category("M F"),
        "Age": number(18, 80, 1),
        "Bank": category("RBS Lloyds Barclays"),
        "Fraud": label(BITS),
    },
    currency="GBP",
    encoding="utf-8-sig",
    asks=frozenset({"entity"}),
)

BANKSIM = Kind(
    "banksim",
    "csv",
    {
        "step": _since_start(86_400),
        "customer": of(lambda row: f"'C10938{row.rng.randrange(40):05d}'", "key"),
        "age": category("'4'|'2'|'U'"),
        "gender": category("'M' 'F'"),
        "zipcodeOri": always("'28007'", "ref"),
        "merchant": of(lambda row: f"'M3489{row.rng.randrange(20):05d}'", "key"),
        "zipMerchant": always("'28007'", "ref"),
        "category": category("'es_transportation' 'es_food' 'es_health'"),
        "amount": amount(main=True),
        "fraud": label(BITS),
    },
    asks=frozenset({"time", "id"}),
)

ECOMMERCE = Kind(
    "ecommerce_fraud_data",
    "csv",
    {
        "user_id": serial(22_058, "key"),
        "signup_time": times("%Y-%m-%d %H:%M:%S", later_s=-5_000_000),
        "purchase_time": times("%Y-%m-%d %H:%M:%S", main=True),
        "purchase_value": amount(9, 150, main=True, places=0, write=int),
        "device_id": key("QVPSPJUO", 40),
        "source": category("SEO Ads Direct"),
        "browser": category("Chrome Opera Safari"),
        "sex": category("M F"),
        "age": number(18, 70),
        "ip_address": number(10_000_000, 4_000_000_000, 4),
        "class": label(BITS),
    },
    order="none",
    asks=frozenset({"id"}),
)

FRAUD_DETECTOR = Kind(
    "fraud_detector_events",
    "csv",
    {
        "EVENT_ID": ident("", 20),
        "EVENT_TIMESTAMP": iso(main=True),
        "ENTITY_ID": key("e", 40),
        "ENTITY_TYPE": always("customer", "text"),
        "EVENT_LABEL": label({"fraud": "fraud", "genuine": "legit"}),
        "ip_address": address(),
        "email_address": mail(),
        "billing_postal": digits(5),
        "phone_number": of(lambda row: f"(555){row.rng.randrange(60):03d}-{row.number:04d}", "personal"),
        "user_agent": category("Mozilla/5.0 (X11)|Opera/9.80"),
    },
)

LENDING = Kind(
    "lending_club",
    "csv",
    {
        "id": serial(1_077_001),
        "member_id": serial(1_296_001, "key"),
        "loan_amnt": amount(1_000, 35_000, main=True, places=0, write=int),
        "funded_amnt": amount(1_000, 35_000, places=0, write=int),
        "term": category(" 36 months| 60 months"),
        "int_rate": of(lambda row: f"{row.rng.uniform(5, 25):.2f}%", "number"),
        "installment": amount(20, 900),
        "grade": category("A B C D"),
        "emp_title": sometimes(category("Teacher|Nurse"), 0.9, ""),
        "home_ownership": category("RENT OWN MORTGAGE"),
        "annual_inc": amount(20_000, 150_000),
        "issue_d": times("%b-%Y", main=True),
        "loan_status": category("Fully Paid|Charged Off", "leak"),
        "purpose": category("credit_card car other"),
        "zip_code": category("888xx 443xx"),
        "addr_state": category("CA OH"),
        "dti": number(0, 35, 2),
        "earliest_cr_line": times("%b-%Y", later_s=-600_000_000),
        "total_pymnt": amount(1_000, 40_000, role="leak"),
        "recoveries": always("0.0", "leak"),
        "last_pymnt_d": times("%b-%Y", later_s=30_000_000, role="leak"),
    },
    order="none",
    step_s=100_000,
)

CLAIMS = Kind(
    "insurance_claims",
    "csv",
    {
        "months_as_customer": number(1, 400),
        "age": number(19, 64),
        "policy_number": serial(521_585),
        "policy_bind_date": times("%d-%m-%Y", later_s=-400_000_000),
        "policy_state": category("OH IN IL"),
        "policy_csl": category("250/500 100/300"),
        "policy_deductable": category("500 1000 2000", "money"),
        "policy_annual_premium": amount(500, 2_000),
        "umbrella_limit": category("0 5000000", "money"),
        "insured_zip": digits(6, 90),
        "insured_sex": category("MALE FEMALE"),
        "insured_occupation": category("craft-repair sales"),
        "capital-gains": number(0, 90_000),
        "capital-loss": number(-60_000, 0),
        "incident_date": times("%Y-%m-%d", main=True, means="%d %H"),
        "incident_type": category("Vehicle Theft|Parked Car"),
        "incident_hour_of_the_day": of(lambda row: row.at.hour, "part"),
        "number_of_vehicles_involved": number(1, 4),
        "property_damage": category("YES NO ?"),
        "bodily_injuries": number(0, 2),
        "total_claim_amount": amount(100, 90_000, main=True, places=0, write=int),
        "injury_claim": amount(10, 9_000, places=0, write=int),
        "auto_make": category("Saab Dodge"),
        "auto_year": number(1995, 2015),
        "fraud_reported": label({"fraud": "Y", "genuine": "N"}),
    },
    order="none",
    step_s=9_000,
    asks=frozenset({"entity"}),
)

ASTERISK = Kind(
    "asterisk_cdr",
    "csv",
    {
        "accountcode": key("ac", 5, 3),
        "src": of(lambda row: f"0{row.rng.randrange(40):06d}", "key"),
        "dst": of(lambda row: f"00{row.rng.randrange(90):09d}", "ref"),
        "dcontext": category("from-internal from-trunk"),
        "clid": of(lambda row: f'"Ada" <{100 + row.rng.randrange(9)}>', "text"),
        "channel": ref("SIP/100-"),
        "lastapp": category("Dial Hangup"),
        "start": times("%Y-%m-%d %H:%M:%S", main=True),
        "answer": times("%Y-%m-%d %H:%M:%S", later_s=4),
        "end": times("%Y-%m-%d %H:%M:%S", later_s=90),
        "duration": number(5, 900),
        "billsec": number(0, 890),
        "disposition": category("ANSWERED BUSY|NO ANSWER"),
        "amaflags": always("DOCUMENTATION", "text"),
        "uniqueid": of(lambda row: f"{int(row.at.timestamp())}.{row.number}", "id"),
    },
)

TELECOM = Kind(
    "telecom_cdr",
    "csv",
    {
        "cdr_id": serial(100_000),
        "caller_msisdn": of(lambda row: f"+49170{row.rng.randrange(40):07d}", "key"),
        "callee_msisdn": of(lambda row: f"+23480{row.rng.randrange(90):08d}", "ref"),
        "start_time": times("%Y-%m-%dT%H:%M:%S.%f", main=True),
        "duration_sec": number(1, 3_600),
        "call_type": category("VOICE SMS DATA"),
        "imei": of(lambda row: f"{356_938_035_643_800 + row.rng.randrange(40)}", "key"),
        "imsi": of(lambda row: f"{262_011_234_567_000 + row.rng.randrange(40)}", "key"),
        "cell_id": digits(5),
        "charge_eur": amount(0, 9, main=True, places=4, write=plain),
        "is_fraud": label({"fraud": "true", "genuine": "false"}),
    },
    currency="EUR",
)

OKTA = Kind(
    "okta_system_log",
    "json",
    {
        "actor.id": key("00u", 30),
        "actor.type": always("User"),
        "actor.alternateId": mail(),
        "actor.displayName": person(),
        "actor.detailEntry": always(None),
        "client.userAgent.rawUserAgent": category("Mozilla/5.0|curl/8.0"),
        "client.userAgent.os": category("Mac OS X|Windows 10"),
        "client.userAgent.browser": category("CHROME FIREFOX"),
        "client.zone": always("null"),
        "client.device": always("Computer"),
        "client.ipAddress": address(),
        "client.geographicalContext.city": category("Berlin Paris"),
        "client.geographicalContext.country": category("Germany France"),
        "client.geographicalContext.postalCode": digits(5),
        "client.geographicalContext.geolocation.lat": number(40, 60, 4),
        "client.geographicalContext.geolocation.lon": number(0, 20, 4),
        "displayMessage": always("User login to Okta", "text"),
        "eventType": category("user.session.start user.authentication.sso"),
        "outcome.result": category("SUCCESS FAILURE"),
        "outcome.reason": sometimes(category("INVALID_CREDENTIALS"), 0.3),
        "published": iso(main=True, places=3),
        "securityContext.asNumber": number(1_000, 60_000),
        "securityContext.isProxy": flag(share=0.1),
        "severity": category("INFO WARN"),
        "debugContext.debugData.requestUri": always("/api/v1/authn", "text"),
        "legacyEventType": category("core.user_auth.login_success core.user_auth.login_failed"),
        "transaction.type": always("WEB"),
        "transaction.id": ref("W"),
        "uuid": ident("", 24),
        "version": always("0"),
    },
    order="down",
)

CLOUDTRAIL = Kind(
    "aws_cloudtrail",
    "json",
    {
        "eventVersion": always("1.08"),
        "userIdentity.type": category("IAMUser Root AssumedRole"),
        "userIdentity.principalId": key("AIDAJ", 12),
        "userIdentity.arn": of(lambda row: f"arn:aws:iam::123456789012:user/u{row.rng.randrange(9)}", "key"),
        "userIdentity.accountId": always("123456789012", "text"),
        "userIdentity.accessKeyId": key("AKIAI", 12),
        "userIdentity.userName": of(lambda row: f"u{row.rng.randrange(9)}", "key"),
        "eventTime": iso(main=True),
        "eventSource": category("ec2.amazonaws.com iam.amazonaws.com"),
        "eventName": category("StartInstances CreateUser ConsoleLogin"),
        "awsRegion": category("us-east-1 eu-west-1"),
        "sourceIPAddress": address(),
        "userAgent": category("aws-cli/2.13 Boto3/1.28"),
        "errorCode": sometimes(category("AccessDenied"), 0.1),
        "requestParameters": always(None),
        "requestID": ref("r"),
        "eventID": ident("", 24),
        "readOnly": flag(),
        "eventType": always("AwsApiCall"),
        "recipientAccountId": always("123456789012", "text"),
    },
    wrap=lambda items: {"Records": items},
)

AUTH0 = Kind(
    "auth0_logs",
    "jsonl",
    {
        "date": iso(main=True, places=3),
        "type": category("s f fp limit_wc"),
        "connection": always("Username-Password-Authentication", "text"),
        "client_id": category("AaiyAPdpYdesoKnqjj8HJqRn4T5titww", "text"),
        "client_name": category("App|Shop"),
        "ip": address(),
        "user_agent": category("Chrome 120|Firefox 121"),
        "hostname": always("example.auth0.com", "text"),
        "user_id": key("auth0|", 30),
        "user_name": mail(),
        "isMobile": flag(),
        "log_id": ident("900", 30),
    },
)

GITHUB_AUDIT = Kind(
    "github_audit_log",
    "jsonl",
    {
        "@timestamp": epoch(0.001, main=True),
        "_document_id": ident("", 22),
        "action": category("repo.create org.add_member protected_branch.update"),
        "actor": key("octo", 12, 2),
        "actor_id": number_key(583_231, 12),
        "actor_ip": address(),
        "actor_location.country_code": category("US DE"),
        "org": always("example", "text"),
        "repo": sometimes(category("example/a example/b")),
        "created_at": epoch(0.001),
        "operation_type": category("create modify remove"),
    },
)

AMPLITUDE = Kind(
    "amplitude_export",
    "jsonl",
    {
        "$insert_id": ident("", 24),
        "amplitude_id": number_key(550_106_004_607, 30),
        "app": always(434_735),
        "city": category("Berlin Paris"),
        "client_event_time": times("%Y-%m-%d %H:%M:%S.%f"),
        "client_upload_time": times("%Y-%m-%d %H:%M:%S.%f", later_s=60),
        "device_family": category("Windows iOS"),
        "device_id": key("d", 40),
        "event_id": serial(355_175_889, "ref"),
        "event_time": times("%Y-%m-%d %H:%M:%S.%f", main=True),
        "event_type": category("login purchase view"),
        "ip_address": address(),
        "language": category("German English"),
        "platform": category("Web iOS"),
        "session_id": epoch(0.001, later_s=-60, role="ref"),
        "user_id": key("u", 30),
        "uuid": ident("", 24, "ref"),
    },
)

_ETHER: Final = 18


def _wei(low: float, high: float, *, main: bool = False, role: str = "money") -> Column:
    def make(row: Row) -> tuple[Any, Any]:
        wei = int(row.rng.uniform(low, high) * 10**_ETHER)
        return f"{wei}", Decimal(wei).scaleb(-_ETHER)

    return Column(role, make, main)


ETHERSCAN = Kind(
    "etherscan_txlist",
    "json",
    {
        "blockNumber": serial(18_500_000, "number", ""),
        "timeStamp": epoch(main=True, as_text=True),
        "hash": ident("0x", 18),
        "nonce": serial(0, "number", ""),
        "blockHash": ref("0xb"),
        "transactionIndex": number(0, 90, as_text=True),
        "from": key("0xfa", 20, 12),
        "to": key("0x70", 40, 12),
        "value": _wei(0, 3, main=True),
        "gas": always("21000", "number"),
        "gasPrice": number(10**9, 10**11, as_text=True),
        "isError": flag("1", "0", 0.05),
        "input": always("0x", "text"),
        "contractAddress": always(""),
        "gasUsed": always("21000", "number"),
        "confirmations": number(10, 10**6, as_text=True),
    },
    asks=frozenset({"money"}),
    wrap=lambda items: {"status": "1", "message": "OK", "result": items},
)

ETHERSCAN_EXPORT = Kind(
    "etherscan_export",
    "csv",
    {
        "Txhash": ident("0x", 18),
        "Blockno": serial(18_500_000, "number"),
        "UnixTimestamp": epoch(main=True),
        "DateTime (UTC)": times("%Y-%m-%d %H:%M:%S"),
        "From": key("0xfa", 20, 12),
        "To": key("0x70", 40, 12),
        "ContractAddress": always(""),
        "Value_IN(ETH)": amount(0, 3, main=True, places=8, write=plain),
        "Value_OUT(ETH)": always("0", "money"),
        "CurrentValue @ $2000.5/Eth": always("0", "money"),
        "TxnFee(ETH)": amount(0, 0.01, places=8, write=plain),
        "TxnFee(USD)": amount(0, 20, places=4, write=plain),
        "Historical $Price/Eth": amount(1_500, 2_500, write=plain),
        "Status": always("", "nothing"),
        "ErrCode": always("", "nothing"),
        "Method": category("Transfer Swap"),
    },
    quote=1,
    asks=frozenset({"money"}),
)


def _padded() -> Column:
    """Twelve digits of smallest units."""

    def make(row: Row) -> tuple[Any, Any]:
        units = row.rng.randrange(100, 90_000)
        return f"{units:012d}", Decimal(units).scaleb(-2)

    return Column("money", make, is_main=True)


ISO8583 = Kind(
    "iso8583_messages",
    "jsonl",
    {
        "mti": category("0100 0200"),
        "2": of(lambda row: f"411111111111{row.rng.randrange(30):04d}", "key"),
        "3": category("000000 010000", "ref"),
        "4": _padded(),
        "7": times("%m%d%H%M%S", main=True),
        "11": of(lambda row: f"{row.number:06d}", "ref"),
        "12": times("%H%M%S", role="part"),
        "13": times("%m%d", role="part"),
        "18": category("5411 5812 6011", "ref"),
        "22": category("051 012", "ref"),
        "32": digits(6),
        "37": of(lambda row: f"{600_100_000_000 + row.number}", "id"),
        "39": category("00 05 51", "ref"),
        "41": key("TERM", 20, 4),
        "42": key("MERCHANT", 20, 7),
        "43": always("Shop Berlin DE", "text"),
        "49": Column("text", lambda _: ("978", "EUR")),
    },
    currency="EUR",
    asks=frozenset({"time"}),
)


def _camt(items: list[Any]) -> Any:
    return {
        "Document": {
            "BkToCstmrStmt": {
                "GrpHdr": {"MsgId": "m1", "CreDtTm": "2026-02-01T06:00:00Z"},
                "Stmt": {"Id": "s1", "Acct": {"Id": {"IBAN": "DE89370400440532013000"}}, "Ntry": items},
            }
        }
    }


_TX = "NtryDtls.TxDtls."
_CAMT = {
    "Amt.#text": amount(1, 900, main=True, write=plain),
    "Amt.@Ccy": always("EUR", "text"),
    "CdtDbtInd": category("DBIT CRDT"),
    "Sts": always("BOOK"),
    "BookgDt.Dt": times("%Y-%m-%d", main=True),
    "ValDt.Dt": times("%Y-%m-%d"),
    "AcctSvcrRef": ident("r", 16),
    "BkTxCd.Prtry.Cd": category("NTRF+166 NMSC+201"),
    _TX + "Refs.EndToEndId": sometimes(ref("E"), 0.7, "NOTPROVIDED"),
    _TX + "RltdPties.Dbtr.Nm": person("text"),
    _TX + "RltdPties.DbtrAcct.Id.IBAN": key("DE8937040044", 30, 10),
    _TX + "RltdAgts.DbtrAgt.FinInstnId.ClrSysMmbId.MmbId": digits(8, 9),
    _TX + "RmtInf.Ustrd": text("Invoice"),
}
CAMT_JSON = Kind("camt053_json", "json", _CAMT, currency="EUR", wrap=_camt, step_s=20_000)


def _camt_xml(rows: list[dict[str, Any]]) -> str:
    parts = ['<?xml version="1.0" encoding="UTF-8"?>']
    parts.append('<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt>')
    parts.append("<GrpHdr><MsgId>m1</MsgId><CreDtTm>2026-02-01T06:00:00Z</CreDtTm></GrpHdr><Stmt><Id>s1</Id>")
    for row in rows:
        parts.append("<Ntry>")
        parts.append(f'<Amt Ccy="{row["Amt.@Ccy"]}">{row["Amt.#text"]}</Amt>')
        open_: list[str] = []
        for path, value in [item for item in row.items() if not item[0].startswith("Amt")] + [("", None)]:
            *parents, last = path.split(".")
            shared = 0
            while shared < min(len(open_), len(parents)) and open_[shared] == parents[shared]:
                shared += 1
            parts += [f"</{name}>" for name in reversed(open_[shared:])]
            parts += [f"<{name}>" for name in parents[shared:]]
            open_ = parents
            if last:
                parts.append(f"<{last}>{escape(str(value))}</{last}>")
        parts.append("</Ntry>\n")
    return "".join([*parts, "</Stmt></BkToCstmrStmt></Document>\n"])


CAMT_XML = Kind(
    "camt053_xml",
    "text",
    _CAMT,
    currency="EUR",
    wrap=_camt_xml,
    step_s=20_000,
    extension="xml",
    prefix="Document.BkToCstmrStmt.Stmt.Ntry.",
)


def _mt940(rows: list[dict[str, Any]]) -> str:
    lines = [":20:STARTUMS", ":25:37040044/0532013000", ":28C:00001/001", ":60F:C260105EUR1000,00"]
    for row in rows:
        lines.append(f":61:{row['date']}{row['mark']}{row['amount']}NTRF{row['reference']}")
        lines.append(f":86:166?00{row['text']}?20{row['purpose']}")
    return "\r\n".join([*lines, ":62F:C260201EUR2000,00", "-", ""])


MT940 = Kind(
    "mt940_statement",
    "text",
    {
        "date": times("%y%m%d", main=True),
        "mark": category("D C"),
        "amount": amount(1, 900, main=True, write=lambda value: f"{value}".replace(".", ",")),
        "reference": ref("R"),
        "text": category("GUTSCHRIFT LASTSCHRIFT"),
        "purpose": text("Rechnung"),
    },
    currency="EUR",
    wrap=_mt940,
    extension="sta",
    step_s=20_000,
)

KINDS: Final = [value for value in list(vars().values()) if isinstance(value, Kind)]
