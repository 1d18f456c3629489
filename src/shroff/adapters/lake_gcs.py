"""A lake in a bucket of Google Cloud Storage, by its JSON interface."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from threading import Lock
from typing import Any, Final
from urllib.parse import quote, urlencode

from shroff.errors import ShroffError, StorageError, TransientError, UsageError
from shroff.streams.lake import Found, Listed, bucket_and_prefix, check_name

BUCKET: Final = re.compile(r"(?!goog|.*\.\.)[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")
GOOGLE: Final = "https://storage.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_write"
TIMEOUT_S: Final = 60.0  # of one request
CONNECT_S: Final = 5.0
CONNECTIONS: Final = 8
GENERATION: Final = "x-goog-generation"
_TRANSIENT: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
Token = Callable[[], str]


class GcsObjects:
    """Keeps every promise of `streams.lake.Objects` in a bucket of Google Cloud Storage.

    An object's version is its generation, and every write has the condition `ifGenerationMatch`. Credentials are
    Google's application default ones: a file of a service account or a user, or the machine's own identity.

    Args:
        address: `gs://bucket/prefix`.
        endpoint: Of another server than Google's. One with http:// is for tests: it gets no credentials.
        region: Of no use here.
        token: Gives what requests are authorized with; by default by google-auth.

    Raises: UsageError where urllib3 or google-auth is not installed, or the address is none.
    """

    def __init__(self, address: str, *, endpoint: str = "", region: str = "", token: Token | None = None) -> None:
        self._bucket, self._prefix = bucket_and_prefix(address, "gs", BUCKET)
        try:
            import urllib3
        except ImportError:
            raise UsageError(_NEEDED) from None
        self._server = (endpoint or GOOGLE).rstrip("/")
        timeout = urllib3.Timeout(connect=CONNECT_S, read=TIMEOUT_S)
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=False)
        self._failure: Any = urllib3.exceptions.HTTPError
        is_in_the_clear = self._server.startswith("http://")
        self._token = token or ((lambda: "") if is_in_the_clear else _google_token())

    @property
    def address(self) -> str:
        return f"gs://{self._bucket}/{self._prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"<{self.address}>"

    def put(self, name: str, data: bytes) -> bool:
        return self._put(name, data, "0")  # the generation of an object that is not there

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self._put(name, data, version)

    def get(self, name: str) -> Found | None:
        answer = self._ask("GET", name, self._object(name), {"alt": "media"}, fine={HTTPStatus.NOT_FOUND})
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        generation = answer.headers.get(GENERATION)
        if generation is None:
            raise StorageError(f"{self.address} gives no generation of {name}, without which nothing is safe to write")
        return Found(bytes(answer.data), str(generation))

    def list(self, folder: str = "") -> Iterator[Listed]:
        start = f"{self._prefix}/" if self._prefix else ""
        told = {
            "prefix": f"{start}{check_name(folder)}/" if folder else start,
            "fields": "items(name,size),nextPageToken",
        }
        path = f"/storage/v1/b/{self._bucket}/o"
        found: list[Listed] = []
        while True:
            answer = json.loads(self._ask("GET", folder or "the bucket", path, told).data)
            found += [Listed(one["name"][len(start) :], int(one["size"])) for one in answer.get("items", ())]
            if not answer.get("nextPageToken"):
                return iter(sorted(found, key=lambda one: one.name))
            told["pageToken"] = answer["nextPageToken"]

    def delete(self, name: str) -> None:
        self._ask("DELETE", name, self._object(name), {}, fine={HTTPStatus.NOT_FOUND})

    def close(self) -> None:
        self._pool.clear()

    def _put(self, name: str, data: bytes, generation: str) -> bool:
        told = {"uploadType": "media", "name": self._key(name), "ifGenerationMatch": generation}
        path = f"/upload/storage/v1/b/{self._bucket}/o"
        fine = {HTTPStatus.PRECONDITION_FAILED}
        return bool(self._ask("POST", name, path, told, data, fine=fine).status != HTTPStatus.PRECONDITION_FAILED)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{check_name(name)}".lstrip("/")

    def _object(self, name: str) -> str:
        return f"/storage/v1/b/{self._bucket}/o/{quote(self._key(name), safe='')}"

    def _ask(
        self,
        method: str,
        name: str,
        path: str,
        told: Mapping[str, str],
        data: bytes | None = None,
        *,
        fine: Collection[HTTPStatus] = (),
    ) -> Any:
        """The answer, with a status below 300 or one that is `fine`."""
        token = self._token()
        headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
        url = f"{self._server}{path}?{urlencode(told)}"
        try:
            answer = self._pool.request(method, url, body=data, headers=headers)
        except self._failure as error:
            raise TransientError(f"{self.address} cannot be reached for {name}: {_kind(error)}; try again.") from None
        if answer.status < HTTPStatus.MULTIPLE_CHOICES or (answer.status in fine and not self._lacks_bucket(answer)):
            return answer
        raise self._told(answer, name)

    def _lacks_bucket(self, answer: Any) -> bool:
        words = bytes(answer.data[:2_000]).lower()
        return answer.status == HTTPStatus.NOT_FOUND and b"bucket" in words and b"not exist" in words

    def _told(self, answer: Any, name: str) -> ShroffError:
        status = int(answer.status)
        if status == HTTPStatus.NOT_FOUND:
            return UsageError(f"there is no bucket {self._bucket}; make it, or name another one for the lake.")
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return StorageError(
                f"{self.address} refuses {name} ({status}). Look at the credentials, and whether they may read, write, "
                "list and delete there"
            )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
            return TransientError(f"{self.address} does not answer for {name}: {status}; try again.")
        return StorageError(f"{self.address} refuses {name}: {status}")


_NEEDED: Final = "a lake in Google Cloud Storage needs google-auth and urllib3: install shroff[gcs]."


def _kind(error: Exception) -> str:
    """What went wrong, without the address that the library names."""
    reason = getattr(error, "reason", None) or error
    return type(reason).__name__


def _google_token() -> Token:
    """Gives a token of the application default credentials, anew where the last one ends soon."""
    try:
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.requests
    except ImportError:
        raise UsageError(_NEEDED) from None
    try:
        credentials, _ = google.auth.default(scopes=[SCOPE])
    except google.auth.exceptions.DefaultCredentialsError:
        raise StorageError(
            "there are no credentials of Google here: run on a machine that has an identity, or set "
            "GOOGLE_APPLICATION_CREDENTIALS to a file of credentials"
        ) from None
    lock = Lock()

    def token() -> str:
        with lock:
            if not credentials.valid:
                try:
                    credentials.refresh(google.auth.transport.requests.Request())
                except google.auth.exceptions.TransportError:
                    raise TransientError("Google gives no token now; try again.") from None
                except google.auth.exceptions.GoogleAuthError:
                    raise StorageError("Google refuses a token for the credentials of this machine") from None
            return str(credentials.token)

    return token
