"""Fetch, check and cache the certificates by which Amazon SNS signs messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import TypeVar

from shroff.errors import TransientError, UsageError
from shroff.plugins.adapters import FORBIDDEN, Fetch, PushRefusedError
from shroff.plugins.values import FrozenStruct

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256
    from cryptography.x509.oid import NameOID
except ModuleNotFoundError:
    raise UsageError("SNS messages need the extra 'sns': pip install 'shroff[sns]'.") from None

One = TypeVar("One")
KNOWN_MAX = 100  # cached certificates, and as many addresses of refused ones
FETCHES_A_MINUTE = 20  # of new addresses, as anybody may send a message that names one
REFUSED_S = 600.0  # a refused certificate is not fetched again for so long
MISSING_S = 60.0  # the same for a missing certificate, which may be new and not yet on all servers
BITS_MIN = 2_048  # of a key
_ONE_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*")
_SIGNER = re.compile(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
# SNS signs version 1 with SHA-1; a topic can be set to version 2.
_HASHES = {"1": SHA1(), "2": SHA256()}  # nosec B303  # noqa: S303


class Certificate(FrozenStruct):
    """A certificate that was issued for SNS."""

    key: RSAPublicKey
    begins_ms: int
    ends_ms: int

    def check(self, signature: bytes, signed: bytes, version: str, now_ms: int) -> None:
        """Raises: PushRefusedError if the certificate is not valid now, or its key did not sign this text."""
        if not self.begins_ms <= now_ms <= self.ends_ms:
            word = "expired" if now_ms > self.ends_ms else "not valid yet"
            raise PushRefusedError(FORBIDDEN, f"the certificate is {word}")
        try:
            self.key.verify(signature, signed, PKCS1v15(), _HASHES[version])
        except InvalidSignature:
            raise PushRefusedError(FORBIDDEN, "the signature is not that of the message") from None


class _Refused(FrozenStruct):
    words: str
    until_s: float
    is_missing: bool = False


class Certificates:
    """Certificates by address, for several threads.

    Args:
        fetch: Returns the body at an address.
    """

    def __init__(self, fetch: Fetch, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock_s = clock_s
        self._known: dict[str, Certificate] = {}
        self._refused: dict[str, _Refused] = {}
        self._fetched_s: list[float] = []
        self._lock = Lock()

    def known(self, url: str) -> Certificate | None:
        """Return the cached certificate of an address; None if it must be fetched.

        Raises: PushRefusedError for a refused one; TransientError for one that was missing a short time ago.
        """
        refused = self._refused.get(url)
        if refused is not None and self._clock_s() < refused.until_s:
            raise TransientError(refused.words) if refused.is_missing else PushRefusedError(FORBIDDEN, refused.words)
        return self._known.get(url)

    def fetch(self, url: str) -> None:
        """Fetch the certificate at an address, one at a time. Raises: TransientError if it is not available now."""
        with self._lock:
            now_s = self._clock_s()
            refused = self._refused.get(url)
            if url in self._known or (refused is not None and now_s < refused.until_s):
                return  # another thread was first
            self._fetched_s = [fetched_s for fetched_s in self._fetched_s if fetched_s > now_s - 60]
            if len(self._fetched_s) >= FETCHES_A_MINUTE:
                raise TransientError("too many certificates were asked for in the last minute")
            self._fetched_s.append(now_s)
            try:
                _put(self._known, url, certificate_of(self._fetch(url)))
            except LookupError:
                missing = _Refused("SNS has no certificate at SigningCertURL", now_s + MISSING_S, is_missing=True)
                _put(self._refused, url, missing)
            except ValueError as error:
                _put(self._refused, url, _Refused(str(error), now_s + REFUSED_S))


def _put(cache: dict[str, One], url: str, entry: One) -> None:
    while len(cache) >= KNOWN_MAX:
        del cache[next(iter(cache))]
    cache[url] = entry


def certificate_of(pem: bytes) -> Certificate:
    """Read the certificate of SNS in a file.

    Raises: LookupError if the file is cut off; ValueError if it is not exactly one certificate of SNS.
    """
    if b"-----END CERTIFICATE-----" not in pem:
        raise LookupError("cut off")
    if _ONE_PEM.fullmatch(pem) is None:
        raise ValueError("SigningCertURL must return exactly one PEM certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        names = _names(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm):
        raise ValueError("the response of SigningCertURL is not a certificate") from None
    if not any(_SIGNER.fullmatch(name) for name in names):
        raise ValueError("the certificate was not issued for SNS")
    if not isinstance(key, RSAPublicKey) or key.key_size < BITS_MIN:
        raise ValueError(f"the key of the certificate is not RSA of at least {BITS_MIN:,} bits")
    return Certificate(key, _ms(certificate.not_valid_before_utc), _ms(certificate.not_valid_after_utc))


def _names(certificate: x509.Certificate) -> list[str]:
    names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        more = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return names
    return [*names, *more.get_values_for_type(x509.DNSName)]


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000)
