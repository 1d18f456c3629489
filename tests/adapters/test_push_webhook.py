"""Signed webhooks that come in: each form's own signature is accepted, changed ones, old ones and foreign ones not."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from typing import Any

import pytest

from shroff import webhooks
from shroff.adapters.push.webhook import WebhookSource
from shroff.errors import UsageError
from shroff.streams.push import PushRefusedError

NOW_S = 1_772_366_400
BODY = b'{"id": "evt_1", "amount": 5}'
OLD, NEW = "an-older-secret", "a-newer-secret"


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _standard(secret: str, at_s: int) -> dict[str, str]:
    return webhooks.headers(secret, "msg_1", at_s, BODY)


def _stripe(secret: str, at_s: int) -> dict[str, str]:
    return {"stripe-signature": f"t={at_s},v1={_hex(secret, b'%d.%s' % (at_s, BODY))},v0=old"}


def _github(secret: str, _at_s: int) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={_hex(secret, BODY)}", "x-github-delivery": "d-1"}


FORMS = {"standard": (_standard, "msg_1"), "stripe": (_stripe, "evt_1"), "github": (_github, "d-1")}
IN_TIME = ["standard", "stripe"]


def source(form: str, **options: Any) -> WebhookSource:
    return WebhookSource({"secrets": [OLD, NEW], "form": form, **options}, lambda _url: b"")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_of_two_secrets_is_accepted(form, secret):
    sign, id_ = FORMS[form]
    found = source(form).verified(sign(secret, NOW_S), BODY, NOW_S * 1_000)

    assert (found.kind, found.id, found.body) == ("message", id_, BODY)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_changed_or_signed_by_others_is_refused(form):
    sign, _ = FORMS[form]
    own = sign(NEW, NOW_S)
    tried = [(sign("another-secret", NOW_S), BODY), (own, BODY + b" "), ({}, BODY)]
    tried += [({name: value for name, value in own.items() if name != left}, BODY) for left in own if left[0] != "x"]
    tried += [(other(NEW, NOW_S), BODY) for name, (other, _) in FORMS.items() if name != form]
    for headers, body in tried:
        with pytest.raises(PushRefusedError) as error:
            source(form).verified(headers, body, NOW_S * 1_000)
        assert error.value.status == 403


@pytest.mark.parametrize("form", IN_TIME)
@pytest.mark.parametrize(("off_s", "is_taken"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_a_call_is_valid_for_the_tolerance_on_both_sides(form, off_s, is_taken):
    headers = FORMS[form][0](NEW, NOW_S + off_s)
    if is_taken:
        assert source(form, tolerance="5m").verified(headers, BODY, NOW_S * 1_000)
    else:
        with pytest.raises(PushRefusedError, match="300 s from now"):
            source(form, tolerance="5m").verified(headers, BODY, NOW_S * 1_000)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=,v1=",
        "t=1,t=2,v1=a",
        f"t={NOW_S}",
        f"t={NOW_S},v1=",
        "t=-1,v1=a",
        "t=1e9,v1=a",
        ",".join(["v1=a"] * 9_999),
    ],
)
def test_a_damaged_header_of_stripe_is_refused(header):
    with pytest.raises(PushRefusedError):
        source("stripe").verified({"stripe-signature": header}, BODY, NOW_S * 1_000)


def test_many_signatures_of_one_call_are_compared_up_to_a_limit():
    right = _hex(NEW, b"%d.%s" % (NOW_S, BODY))
    header = f"t={NOW_S}," + ",".join(["v1=00"] * 20 + [f"v1={right}"])

    with pytest.raises(PushRefusedError):
        source("stripe").verified({"stripe-signature": header}, BODY, NOW_S * 1_000)


ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"


def adyen_notice(*changes: dict[str, Any], key: str = ADYEN_KEY) -> bytes:
    """A notification of Adyen's with an item for each mapping of changes, which the key signs."""
    items = []
    for own in changes:
        item = {"pspReference": "psp", "merchantAccountCode": "shop", "merchantReference": "order", "eventCode": "C"}
        item |= {"amount": {"value": 1130, "currency": "EUR"}, "success": "true", **own}
        names = ["pspReference", "originalReference", "merchantAccountCode", "merchantReference"]
        parts = [*(item.get(name, "") for name in names), item["amount"]["value"], item["amount"]["currency"]]
        text = ":".join(map(str, [*parts, item["eventCode"], item["success"]]))
        digest = hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).digest()
        more = {**item.get("additionalData", {}), "hmacSignature": b64encode(digest).decode()}
        items.append({"NotificationRequestItem": item | {"additionalData": more}})
    return json.dumps({"live": "false", "notificationItems": items}).encode()


def test_adyen_signs_each_item_and_its_published_example_is_accepted():
    example = {"pspReference": "7914073381342284", "merchantAccountCode": "TestMerchant", "eventCode": "AUTHORISATION"}
    example |= {"merchantReference": "TestPayment-1407325143704"}
    body = adyen_notice(example)
    assert b"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=" in body

    secret = {"secrets": [OLD.encode().hex(), ADYEN_KEY], "form": "adyen"}
    adyen = WebhookSource(secret, lambda _url: b"")
    assert adyen.verified({}, body, NOW_S * 1_000).id == "7914073381342284/AUTHORISATION"
    assert adyen.verified({}, adyen_notice({"originalReference": "p-1"}, {}), NOW_S * 1_000).id == "psp/C"
    wrong = [
        body.replace(b"1130", b"1131"),
        adyen_notice({}, key=NEW.encode().hex()),
        adyen_notice({}, {}).replace(b'"success": "true"', b'"success": "false"', 1),
        adyen_notice(),
        BODY,
        b"[" * 9_999,
        body.replace(b'"amount": {', b'"amount": 1, "other": {'),
        body.replace(b"coqC", "coqä".encode()),
    ]
    for changed in wrong:
        with pytest.raises(PushRefusedError) as error:
            adyen.verified({}, changed, NOW_S * 1_000)
        assert error.value.status == 403
    with pytest.raises(UsageError, match="hexadecimal"):
        WebhookSource({"secrets": ["secret"], "form": "adyen"}, lambda _url: b"")


def test_an_id_of_other_signs_is_refused():
    headers = _github(NEW, 0) | {"x-github-delivery": "a b\x00"}

    with pytest.raises(PushRefusedError, match="visible ASCII"):
        source("github").verified(headers, BODY, NOW_S * 1_000)


@pytest.mark.parametrize("form", ["standard", "stripe", "github", "adyen"])
def test_an_empty_secret_is_refused_since_anybody_could_sign_with_it(form):
    with pytest.raises(UsageError):
        WebhookSource({"form": form, "secrets": [""]}, None)
