"""Verify messages of Amazon SNS topics, which SNS posts to an HTTPS endpoint.

No field of a request is used before its signature over the signed fields is verified. `UnsubscribeURL` and
`MessageAttributes` are not signed, and nothing reads them. Format and signed fields:
https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from shroff.errors import TransientError, UsageError, decode_words
from shroff.json_types import JsonMapping, TextMapping
from shroff.plugins.adapters import (
    BAD,
    CHALLENGE,
    FORBIDDEN,
    MESSAGE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Fetch,
    FetchNeededError,
    Push,
    PushRefusedError,
)
from shroff.plugins.http import basic

KINDS = {"Notification": MESSAGE, "SubscriptionConfirmation": SUBSCRIBE, "UnsubscribeConfirmation": UNSUBSCRIBE}
_SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_CONFIRMATION = "Message MessageId SubscribeURL Timestamp Token TopicArn Type".split()
_LINES = re.compile(r"[\x00-\x1f\x7f]")  # in one of these values a text could pass for other fields
_NO_MESSAGE = "this is not an SNS message"
_LENGTHS = {"MessageId": 100, "Timestamp": 40, "Subject": 400, "Token": 4_096, "SubscribeURL": 8_192}
_RAW = "x-amz-sns-rawdelivery"
_SHOWN_MAX = 200


class _Envelope(msgspec.Struct):
    Type: str
    MessageId: str
    TopicArn: str
    Timestamp: str
    Message: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


_DECODER = msgspec.json.Decoder(_Envelope)


class SnsSource:
    """A `PushSource` of SNS topics.

    Args:
        options: Its settings: `topics`, `password`, `certificates`.
        fetch: Gets a certificate, or tells SNS that a subscription is wanted.
    """

    def __init__(self, options: JsonMapping, fetch: Fetch) -> None:
        from shroff_plugins.connectors.sns_certificates import Certificates

        self._topics = frozenset(options["topics"])
        self._password = str(options.get("password", ""))
        if "password" in options and ":" not in self._password.strip(":"):
            raise UsageError("the password of a source of SNS is USER:PASSWORD.")
        self._fetch = fetch
        folder = options.get("certificates")
        self._certificates = Certificates(fetch if folder is None else partial(_read_from_folder, Path(folder)))

    def verified(self, headers: TextMapping, body: bytes, now_ms: int) -> Push:
        if self._password:
            self._check_password(headers)
        if headers.get(_RAW, "").lower() == "true":
            return self._raw(headers, body)
        read_envelope = _decode(body)
        self._check_topic(read_envelope.TopicArn)
        _check_lines(read_envelope)
        url = _certificate_of(read_envelope)
        if read_envelope.SignatureVersion not in {"1", "2"}:
            raise PushRefusedError(FORBIDDEN, "SignatureVersion is neither 1 nor 2")
        certificate = self._certificates.known(url)
        if certificate is None:
            raise FetchNeededError(url)
        certificate.check(
            _signature(read_envelope), _signed_text(read_envelope), read_envelope.SignatureVersion, now_ms
        )
        if KINDS[read_envelope.Type] == SUBSCRIBE:
            _check_confirmation(read_envelope)
        envelope = {name: getattr(read_envelope, name) for name in ("MessageId", "TopicArn", "Timestamp", "Subject")}
        return Push(
            KINDS[read_envelope.Type],
            read_envelope.MessageId,
            read_envelope.Message.encode(),
            envelope,
            read_envelope.Type,
            read_envelope.TopicArn,
            read_envelope.SubscribeURL or "" if KINDS[read_envelope.Type] == SUBSCRIBE else "",
            read_envelope.Timestamp,
        )

    def fetch(self, url: str) -> None:
        self._certificates.fetch(url)

    def confirm(self, push: Push) -> None:
        try:
            self._fetch(push.confirm)
        except LookupError:
            raise UsageError(
                f"SNS refused to confirm the subscription to {push.topic}: a request for it is valid for three days. "
                "Ask SNS to send it again."
            ) from None

    def _raw(self, headers: TextMapping, body: bytes) -> Push:
        """Read a message in raw delivery. It has no signature; only the password in the address identifies SNS."""
        if not self._password:
            message = "raw delivery is not signed: turn it off in SNS, or set a password for this source"
            raise PushRefusedError(FORBIDDEN, message)
        topic = headers.get("x-amz-sns-topic-arn", "")
        id_ = headers.get("x-amz-sns-message-id", "")
        self._check_topic(topic)
        if headers.get("x-amz-sns-message-type") != "Notification" or not id_:
            raise PushRefusedError(BAD, "this is not an SNS message: a raw one has its type and id in its headers")
        return Push(MESSAGE, id_, body, {"MessageId": id_, "TopicArn": topic}, "Notification", topic)

    def _check_topic(self, topic: str) -> None:
        if topic not in self._topics:
            message = f"the topic {topic[:_SHOWN_MAX]!r} is not one of this source"
            raise PushRefusedError(FORBIDDEN, message, "the topic is not one of this source")

    def _check_password(self, headers: TextMapping) -> None:
        if not headers.get("authorization", "").lower().startswith("basic "):
            raise PushRefusedError(CHALLENGE, "send the user and password of this source")  # SNS does, when it is asked
        user, _, password = self._password.partition(":")
        expected = basic(user, password).encode()
        if not hmac.compare_digest(headers.get("authorization", "").encode(), expected):
            raise PushRefusedError(FORBIDDEN, "the address does not have the user and password of this source")


def _read_from_folder(folder: Path, url: str) -> bytes:
    """Read a certificate from a folder, by the last part of its URL, which has no slash and no dots."""
    try:
        return (folder / url.rpartition("/")[2]).read_bytes()
    except OSError:
        raise TransientError("the certificate of this message is not in the folder under 'certificates'") from None


def _decode(body: bytes) -> _Envelope:
    """Decode a body. Raises: PushRefusedError with 400 if it is not a message."""
    try:
        envelope = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise PushRefusedError(BAD, f"{_NO_MESSAGE}: {decode_words(error)}", _NO_MESSAGE) from None
    if envelope.Type not in KINDS:
        raise PushRefusedError(BAD, f"{_NO_MESSAGE}: its Type is {envelope.Type[:_SHOWN_MAX]!r}", _NO_MESSAGE)
    if KINDS[envelope.Type] != MESSAGE and not (envelope.Token and envelope.SubscribeURL):
        raise PushRefusedError(BAD, f"{_NO_MESSAGE}: it lacks its Token or SubscribeURL", _NO_MESSAGE)
    return envelope


def _check_lines(envelope: _Envelope) -> None:
    """Raises: PushRefusedError with 400 if a signed value, except the message, is too long or has several lines."""
    for name, length_limit in _LENGTHS.items():
        value = getattr(envelope, name) or ""
        if len(value) > length_limit or _LINES.search(value) is not None:
            message = f"{_NO_MESSAGE}: its {name} is too long, or has more than one line"
            raise PushRefusedError(BAD, message, _NO_MESSAGE)


def _certificate_of(envelope: _Envelope) -> str:
    """Return the address of the certificate that signed a message.

    Raises: PushRefusedError unless it is an address of SNS in the region of the topic. A looser check would accept
        `sns.s3.amazonaws.com`, which anybody can own as a bucket.
    """
    pattern = rf"{_host_of(envelope.TopicArn)}(?::443)?(/SimpleNotificationService-[A-Za-z0-9_-]{{1,128}}\.pem)"
    match = re.fullmatch(pattern, envelope.SigningCertURL, re.ASCII)
    if match is None:
        message = "SigningCertURL is not the address of a certificate of SNS in the region of the topic"
        raise PushRefusedError(FORBIDDEN, message)
    return envelope.SigningCertURL.replace(":443/", "/", 1)


def _host_of(topic: str) -> str:
    """Return a regular expression for the base URL of SNS in a topic's region."""
    suffix = r"\.cn" if topic.startswith("arn:aws-cn:") else ""
    region = re.escape(topic.split(":")[3])  # configured topics have this form
    return rf"https://sns\.{region}\.amazonaws\.com{suffix}"


def _signed_text(envelope: _Envelope) -> bytes:
    """Return the signed text: a line for each name and each value of the signed fields, without a missing Subject."""
    names = _SIGNED if KINDS[envelope.Type] == MESSAGE else _SIGNED_CONFIRMATION
    values = ((name, getattr(envelope, name)) for name in names)
    return "".join(f"{name}\n{value}\n" for name, value in values if value is not None).encode()


def _signature(envelope: _Envelope) -> bytes:
    try:
        return base64.b64decode(envelope.Signature, validate=True)
    except (binascii.Error, ValueError):
        raise PushRefusedError(FORBIDDEN, "the Signature is not base64") from None


def _check_confirmation(envelope: _Envelope) -> None:
    """Raises: PushRefusedError unless SubscribeURL confirms this subscription at SNS in the topic's region."""
    pattern = rf"{_host_of(envelope.TopicArn)}(?::443)?/\?[!-~]{{1,4096}}"
    url = envelope.SubscribeURL or ""
    if re.fullmatch(pattern, url) is None or "#" in url:
        raise PushRefusedError(FORBIDDEN, "SubscribeURL is not an address of SNS in the region of the topic")
    query = parse_qs(urlsplit(url).query)
    expected = {"Action": ["ConfirmSubscription"], "TopicArn": [envelope.TopicArn], "Token": [envelope.Token]}
    if any(query.get(name) != value for name, value in expected.items()):
        raise PushRefusedError(FORBIDDEN, "SubscribeURL does not confirm the subscription that this message is about")
