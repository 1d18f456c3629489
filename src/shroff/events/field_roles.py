"""Guess the role of a field from its name: card, device, address, amount and others with usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shroff.events.definitions import Field

# Patterns of names by role. Those of ids, amounts and labels may also match the end of a longer word. A field of the
# role `known` has no value yet when the event arrives.
_WORDS = dict(
    line.split(" ", 1)
    for line in r"""
event (^|_)(transaction|trans|trx|txn|tx|payment|pay|order|event|purchase|sale|transfer|insert|psp|incident|accident|claim|issued?(_|$))
id (id|uuid|guid)$|^((tx|txn|trans|transaction)_?)?hash$|(^|_)(ref|reference|number|num|no|nr|key|psp)(_|$)
time time|date|(^|_)(at|on|ts|dt|when|created|epoch)(_|$)|(^|_)(date|time|datum|wann|zeit|fecha|tarih)
other_time birth|dob|bind|sign_?up|join|earliest|enrol|expir|update|modif|settle|due|until|valid|since|regist|receiv|upload|process|end(_|$)
zone (^|_)(time_?zone|tz|zone|utc_?offset)(_|$)
counted (^|_)(time|step|day|hour|minute|week|month|seconds?)$|dt$|elapsed
type (^|_)(type|event|kind|action|activity)(_(name|type))?$
amount amount|am(n|oun)?t(_|$)|betrag|importe|montant|valor(_|$)
money (^|_)(euros?|(sub)?total|value|price|sum|paid|gross|cost|spent|money|balance|fee|tax|charge|limit|income)|balance
not_amount (^|_)(unit_price|price_(at|per|each))(_|$)|old|new|before|after|avg|mean|limit|fee|tax|count|ratio|balance|rate|score|lat(_|$)|lon
hundredths (^|_)(cents?|pence|centimes|centavos|rappen|paise|minor|hundredths|fraction)(_|$)
doubtful_hundredths (^|_)(minor|fraction)(_|$)
afterwards refund|recover(y|ies|ed)|repaid|pymnt|charged_?off|settlement
no_money (pages|records|rows|lines|results|transactions)$|(^|_)(quantity|qty|counts?|items|(v|pca?|feature)_?\d+|lat|latitude|lon|long|lng|longitude|age|score|rate|ratio|percent|pct)(_|$)
currency (^|_)(curr?|ccy|doviz|valuta|devise|divisa|moneda|moeda|waluta|para_birimi)(_|$)|currency|wa(e)?hrung
label fraud|betrug|chargeback|take_?over|anomal|(^|_)(label|target|class|is_bad|verdict|laundering|suspicious|malicious|scam)(_|$)
known fraud|betrug|chargeback|dispute|laundering|take_?over|anomal|(^|_)(malicious|scam)(_|$)
label_time fraud|chargeback|dispute|label|verdict|report|notif|confirm|detect|investig|resol
due due|expir|valid|until|plan|sched|promis|check_?(in|out)|depart|arriv|birth|dob|since|(^|_)(start|end)(_|$)
phone (^|_)(phone|mobile|contact|msisdn|tel|telephone|cell|fax)(_?(no|nr|num|number))?$
card (^|_)(card|karte?|carte|tarjeta|cc|pan)(_|$)|card_?(no|num|id|hash)
account account|acct|iban|(^|_)(acc|konto|cuenta|compte)(_|$)|name_orig
customer customer|client|subscriber|kunde|cust(_|$)|user|member|payer|sender|shopper|buyer|actor|principal|caller|holder_id|(^|_)(entity_id|upi|vpa)(_|$)|(^|_)(nid|party|a_number)(_|$)
merchant merchant|shop|store|vendor|seller|terminal|haendler|(^|_)handler(_|$)|payee|receiver|recipient|beneficiary|name_dest
device device|fingerprint|imei
network (^|_)(ip|ip_?address|ip_?addr)(_|$)
mail (^|_)e?_?mail(_|$)
parcel ^(?!.*(method|fee|cost|time|date|_at$|_on$)).*(parcel|ship|deliver)
address ^(?!.*(mail|billing)).*address
login login
no_key ^(months?|days?|years?|weeks?|hours?|minutes?)_|(^|_)(is|has)_|agent|distinct|similar|velocity|number_of|type|group|categ|country|city|zip|gender|code|status|channel|kind|bin(_|$)|brand|balance|network(_|$)|present|entry|job|lang|version|model|currency|year|latitude|longitude|(^|_)population|(^|_)(age|counts?|lat|long?|lng|modes?|os|pop|state)(_|$)
digits (^|_)(bin|iin|blz|plz|zip|zip_?code|post_?code|postal_?code|sort_?code|mcc)(_|$)
business merchant|shop|store|vendor|seller|terminal
written message|memo|comment|descri|subject|plate|passport|(^|_)(notes?|text|tax)(_|$)
personal (^|_)((first|last|full|given|sur|family)_?name|first|last|name|phone|mobile|street|dob|ssn|birth_?date|date_of_birth|customer_name|holder_name)(_|$)""".strip().splitlines()  # noqa: E501 - a pattern is one line
)
PERSONS = ("card", "account", "customer", "device", "network", "mail")
KEYS = "card account customer merchant device network mail".split()


def is_named(name: str, role: str) -> bool:
    """Whether the name of a field says that it has a role."""
    return re.search(_WORDS[role], name) is not None


def field_of(fields: Iterable[Field], role: str) -> Field | None:
    """Return the first text field whose name shows the role; None if there is none."""
    texts = (field for field in fields if field.type.is_text)
    return next((field for field in texts if is_named(field.name, role) and not is_named(field.name, "no_key")), None)


def is_category(field: Field) -> bool:
    """Whether, by its type and name, many events share the values of a field, and none identifies a person."""
    if field.shape.is_unique or field.shape.is_hashed or field.is_made:
        return False
    name = field.name.removesuffix("_code")  # customer_code is a key, and country_code is not
    not_persons = is_named(name, "no_key") or (
        is_named(name, "business") and not any(is_named(name, role) for role in ("address", "written", *PERSONS))
    )
    not_shared = ("id", "personal", "address", "parcel", "written", *KEYS)
    is_text = field.type.is_text and (not_persons or not any(is_named(name, role) for role in not_shared))
    return field.type.kind == "choice" or is_text
