"""A stand-in for Amazon SNS: messages as it posts them, signed by keys of our own."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

TOPIC: Final = "arn:aws:sns:eu-west-1:123456789012:savings"
CERTIFICATE: Final = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem"
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_MS: Final = int(NOW.timestamp() * 1_000)
CONFIRM: Final = (
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
    "&TopicArn=arn:aws:sns:eu-west-1:123456789012:savings&Token=t0k3n"
)


@cache
def key(bits: int = 2_048) -> rsa.RSAPrivateKey:
    """A key of SNS; each size has one."""
    return rsa.generate_private_key(65_537, bits)


@cache
def certificate(
    name: str = "sns.amazonaws.com", days: tuple[int, int] = (-1, 300), bits: int = 2_048, now: datetime = NOW
) -> bytes:
    """A certificate as PEM, valid from and to so many days from a moment."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = x509.CertificateBuilder(subject, subject, key(bits).public_key(), x509.random_serial_number())
    built = built.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
    return built.sign(key(bits), SHA256()).public_bytes(Encoding.PEM)


def message(kind: str = "Notification", **fields: Any) -> dict[str, Any]:
    """A message without a signature; a field that is None is left out."""
    found = {
        "Type": kind,
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": "{}",
        "Timestamp": "2026-03-01T12:00:00.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
    }
    if kind == "Notification":
        found["UnsubscribeURL"] = "https://attacker.example/"
    else:
        found |= {"Token": "t0k3n", "SubscribeURL": CONFIRM}
    return {name: value for name, value in (found | fields).items() if value is not None}


def signed(found: dict[str, Any], bits: int = 2_048) -> dict[str, Any]:
    """The message with the signature of its version, over the fields that the documentation of SNS names."""
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if found["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{found[name]}\n" for name in names if name in found)
    hashed = SHA1() if found["SignatureVersion"] == "1" else SHA256()  # noqa: S303 - as SNS does
    return found | {"Signature": base64.b64encode(key(bits).sign(text.encode(), PKCS1v15(), hashed)).decode()}


def posted(kind: str = "Notification", **fields: Any) -> bytes:
    """The body of a signed message."""
    return json.dumps(signed(message(kind, **fields))).encode()
