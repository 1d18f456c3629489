"""Pushed sources held to their contract, with keys and secrets of the tests."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from shroff import webhooks
from shroff.adapters.push.webhook import WebhookSource
from shroff.streams.push import MESSAGE, Push, PushRefusedError, PushSource
from shroff_plugins.connectors.pubsub_push import PubsubSource
from shroff_plugins.connectors.sns import SnsSource
from tests.adapters.test_push_pubsub import ACCOUNT, AUDIENCE, Google, headers, key, token, wrapped
from tests.support.contracts.push import NOW_MS, PushContract, Request
from tools.sns import TOPIC, certificate, message, signed


class TestSns(PushContract):
    def made(self) -> PushSource:
        return SnsSource({"topics": [TOPIC]}, lambda _url: certificate())

    def signed(self, id_: str, body: bytes, *, by_another: bool = False) -> Request:
        found = message(MessageId=id_, Message=body.decode(), UnsubscribeURL=None)
        return {}, json.dumps(signed(found, 1_024 if by_another else 2_048)).encode()


class TestWebhook(PushContract):
    def made(self) -> PushSource:
        return WebhookSource({"secrets": ["s3cret"]}, lambda _url: b"")

    def signed(self, id_: str, body: bytes, *, by_another: bool = False) -> Request:
        return webhooks.headers("another" if by_another else "s3cret", id_, NOW_MS // 1_000, body), body


class TestPubsub(PushContract):
    unsupported: ClassVar[dict[str, str]] = {
        "knows a changed body": "Google signs who calls, and not what is sent: HTTPS keeps the body as it was"
    }

    def made(self) -> PushSource:
        return PubsubSource({"audience": AUDIENCE, "service_account": ACCOUNT}, Google().fetch)

    def signed(self, id_: str, body: bytes, *, by_another: bool = False) -> Request:
        return headers(token(key("k9") if by_another else key("k1"))), wrapped(body, messageId=id_)


class _Trusting(WebhookSource):
    """It believes whoever calls."""

    def verified(self, headers: Any, body: bytes, now_ms: int) -> Push:
        return Push(MESSAGE, headers.get("webhook-id", ""), body)


class _Numbering(WebhookSource):
    """It gives each request an id of its own."""

    seen = 0

    def verified(self, headers: Any, body: bytes, now_ms: int) -> Push:
        super().verified(headers, body, now_ms)
        self.seen += 1
        return Push(MESSAGE, str(self.seen), body)


class _Stripping(WebhookSource):
    """It trims what it is given before anybody reads it."""

    def verified(self, headers: Any, body: bytes, now_ms: int) -> Push:
        found = super().verified(headers, body, now_ms)
        return Push(found.kind, found.id, body.replace(b"\\n", b""))


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (_Trusting, "test_another_signature_is_refused"),
        (_Trusting, "test_a_changed_body_is_refused"),
        (_Trusting, "test_a_request_without_a_signature_is_refused"),
        (_Numbering, "test_a_message_that_comes_again_has_the_same_id_and_another_one_has_not"),
        (_Stripping, "test_a_signed_message_is_given_as_it_is"),
    ],
)
def test_the_contract_rejects_a_source_that(kind: type[WebhookSource], promise: str) -> None:
    class Broken(TestWebhook):
        def made(self) -> PushSource:
            return kind({"secrets": ["s3cret"]}, lambda _url: b"")

    with pytest.raises((AssertionError, PushRefusedError, pytest.fail.Exception)):
        getattr(Broken(), promise)()
