"""A lake in a bucket of S3 or Google Cloud Storage, or in a container of Azure, with conditional writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar
from urllib.parse import urlsplit

from shroff.adapters.databases.server_url import is_loopback
from shroff.errors import ShroffError, StorageError, TransientError, UsageError
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import ListedObject, StoredObject, bucket_and_prefix, check_name

TIMEOUT = "60s"  # of one request
CONNECT_TIMEOUT = "5s"
PAGE = 1_000
Given = TypeVar("Given")
_STATUS = re.compile(r"(?:status |\()code: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_MISSING = ("NoSuchBucket", "ContainerNotFound", "specified container does not exist")
_IDENTITY = re.compile(r"token request|/latest/(?:api|meta-data)/|AssumeRole|MissingCredentials")
_CREDENTIALS_FILE = re.compile(r"service account|credential|Access Key", re.IGNORECASE)
_ABFSS = re.compile(r"abfss://([^/@]+)@([a-z0-9]{3,24})\.dfs\.core\.windows\.net(/.*)?")
_REASONS = {
    "dns error": "the name of its server cannot be resolved",
    "kind: Timeout": "no answer in time",
    "kind: Connect": "no connection. Check the network, the endpoint and the proxy",
}
# A proxy that excludes every address, in place of one from the environment
_PAST_PROXIES = {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": "*,0.0.0.0/0,::/0"}
# This machine, and the services that give a machine its credentials
_HERE = "localhost,127.0.0.0/8,::1,169.254.0.0/16,metadata.google.internal"


class Cloud(FrozenStruct):
    """What differs between clouds.

    Args:
        store: Class of obstore.
        bucket: Valid names of buckets.
        endpoint: Setting of obstore for another server.
        version: Metadata of an object that identifies its version.
        credentials: Remedy if there are no credentials.
    """

    title: str
    store: str
    bucket: re.Pattern[str]
    endpoint: str
    version: str
    credentials: str


CLOUDS = {
    "s3": Cloud(
        "S3",
        "S3Store",
        re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
        "aws_endpoint",
        "e_tag",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role",
    ),
    "gs": Cloud(
        "Google Cloud Storage",
        "GCSStore",
        re.compile(r"(?!goog|.*\.\.)[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]"),
        "base_url",
        "version",
        "Set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account or a user, or give this machine one",
    ),
    "az": Cloud(
        "Azure",
        "AzureStore",
        re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
        "endpoint",
        "e_tag",
        "Set AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, or give this "
        "machine a managed identity",
    ),
}


class BucketEntry(NamedTuple):
    """An object of a bucket: its key after the prefix, its size in bytes, and a version that changes with its bytes."""

    name: str
    size: int
    version: str


class BucketObjects:
    """Keeps every promise of `streams.lake.Objects` in a bucket of S3 or Google Cloud Storage, or a container of Azure.

    Each write is conditional, so that it overwrites no object of another writer: by `If-None-Match` and `If-Match` with
    an object's ETag, with Google by its generation. A store without such conditions fails the contract, and is not
    safe. Credentials come from the environment, as for other programs of the cloud: variables, a file, or the identity
    of the machine or container.

    Args:
        address: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
            `abfss://container@account.dfs.core.windows.net/prefix`.
        endpoint: Address of another server than the cloud's. With http:// the connection is not encrypted, and with
            Google no credentials are sent, for tests.
        region: Region of an S3 bucket; by default that of the environment.
        account: Storage account of Azure; by default AZURE_STORAGE_ACCOUNT_NAME of the environment.
        proxy: The HTTP proxy, or `none`; by default that of the environment.
        ca: A file of certificates to trust in addition to the system's.
        options: Further options of obstore, such as credentials. No message shows them.

    Raises: UsageError if obstore is not installed, or the address is invalid; StorageError if credentials are invalid.
    """

    def __init__(
        self,
        address: str,
        *,
        endpoint: str = "",
        region: str = "",
        account: str = "",
        proxy: str = "",
        ca: str = "",
        options: TextDict | None = None,
    ) -> None:
        if parts := _ABFSS.fullmatch(address):
            address = f"az://{parts[1]}{parts[3] or ''}"
            account = parts[2]
        self._scheme = address.partition("://")[0]
        self._cloud = cloud = CLOUDS.get(self._scheme, CLOUDS["s3"])
        self._bucket, self._prefix = bucket_and_prefix(address, self._scheme, cloud.bucket)
        try:
            import obstore
            from obstore import store
        except ImportError:
            raise UsageError(f"a lake in {cloud.title} needs obstore: install shroff[objects].") from None
        store_options: JsonObject = dict(options or {})
        store_options |= {cloud.endpoint: endpoint} if endpoint else {}
        store_options |= {"aws_region": region} if region and self._scheme == "s3" else {}
        store_options |= {"account_name": account} if account and self._scheme == "az" else {}
        if self._scheme == "gs" and endpoint.startswith("http://"):
            store_options["credential_provider"] = _no_credentials
        self._obstore: Any = obstore
        # obstore reads this variable itself, but does not conclude from http:// that the server has no TLS.
        environment_endpoint = os.environ.get("AWS_ENDPOINT_URL", "") if self._scheme == "s3" else ""
        client = _client(endpoint or environment_endpoint, proxy, ca)
        try:
            self._store: Any = getattr(store, cloud.store)(
                self._bucket,
                prefix=self._prefix or None,
                client_options=client,
                retry_config={
                    "max_retries": 0
                },  # `RetriedObjects` retries, since a lost answer may have been a success
                **store_options,
            )
        except Exception as error:  # noqa: BLE001 - the library raises many kinds, and quotes settings
            raise self._creation_error(str(error), ca) from None

    @property
    def address(self) -> str:
        return f"{self._scheme}://{self._bucket}/{self._prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"<{self.address}>"

    def put(self, name: str, data: bytes) -> bool:
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self._put(name, data, {self._cloud.version: version})

    def get(self, name: str) -> StoredObject | None:
        def read() -> StoredObject | None:
            answer = self._obstore.get(self._store, check_name(name))
            version = answer.meta[self._cloud.version]
            if version is None:
                raise StorageError(f"{self.address} gives no version of {name}, which is required to write safely")
            return StoredObject(bytes(answer.bytes()), str(version))

        return self._call_store(name, read, None)

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        def read() -> list[ListedObject]:
            pages = self._obstore.list(self._store, prefix=check_name(folder) if folder else None, chunk_size=PAGE)
            return [ListedObject(entry["path"], entry["size"]) for page in pages for entry in page]

        nothing: list[ListedObject] = []
        return iter(sorted(self._call_store(folder or "the bucket", read, nothing), key=lambda entry: entry.name))

    def entries(self) -> tuple[BucketEntry, ...]:
        def read() -> tuple[BucketEntry, ...]:
            pages = self._obstore.list(self._store, chunk_size=PAGE)
            return tuple(
                BucketEntry(entry["path"], entry["size"], _version_of(entry)) for page in pages for entry in page
            )

        return self._call_store("the bucket", read, ())

    def download(self, name: str, file: BinaryIO) -> bool:
        """Copy an object of another program to a file; return False if it is gone. Raises: as `get`."""

        def read() -> bool:
            file.seek(0)
            file.writelines(self._obstore.get(self._store, name).stream())
            file.truncate()
            return True

        return self._call_store(name, read, missing=False)

    def delete(self, name: str) -> None:
        self._call_store(name, lambda: self._obstore.delete(self._store, check_name(name)), None)

    def close(self) -> None:
        """Do nothing: the library closes its connections."""

    def _put(self, name: str, data: bytes, mode: Any) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def write() -> bool:
            try:
                self._obstore.put(self._store, check_name(name), data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        return self._call_store(name, write, missing=False)

    def _call_store(self, name: str, call: Callable[[], Given], missing: Given) -> Given:
        try:
            return call()
        except ShroffError:
            raise
        except FileNotFoundError as error:
            if any(mark in str(error) for mark in _MISSING):
                raise self._store_error(str(error), name) from None
            return missing
        except Exception as error:  # noqa: BLE001 - the library has no class for most errors
            raise self._store_error(str(error), name) from None

    def _store_error(self, message: str, name: str) -> ShroffError:
        """Return the error of shroff for a message of the library, which may show headers and signatures."""
        status = _STATUS.search(message)
        code = _CODE.search(message)
        number = int(status[1]) if status else 0
        is_final = 400 <= number < 500 and number not in {408, 409, 429}
        if any(mark in message for mark in _MISSING):
            noun = "container" if self._scheme == "az" else "bucket"
            return UsageError(f"there is no {noun} {self._bucket}; make it, or name another one.")
        if _IDENTITY.search(message):
            failure = f"refuses ({number})" if number else "does not answer"
            kind = StorageError if is_final else TransientError
            return kind(
                f"{self.address}: no credentials for {self._cloud.title} were found: the service that gives them "
                f"{failure}. {self._cloud.credentials}"
            )
        if number in {401, 403}:
            reason = f" ({code[1]})" if code else ""
            return StorageError(
                f"{self.address} refuses {name}{reason}. Check the credentials in the environment, and whether they "
                "may read, write, list and delete there"
            )
        if is_final:
            return StorageError(f"{self.address} refuses {name}: {number} {code[1] if code else ''}".rstrip())
        if "InvalidCertificate" in message:
            return StorageError(
                f"{self.address}: the server's certificate is not trusted. Name a file of the authority's certificates "
                "as 'ca' under 'http:' in shroff.yaml"
            )
        reason = str(number) if number else next((reason for mark, reason in _REASONS.items() if mark in message), "")
        return TransientError(f"{self.address} cannot be reached for {name}{reason and f': {reason}'}; try again.")

    def _creation_error(self, message: str, ca: str) -> ShroffError:
        if "MissingAccount" in message:
            return UsageError(
                f"{self.address} needs the name of its storage account: set 'account' beside 'to', or "
                "AZURE_STORAGE_ACCOUNT_NAME."
            )
        if _CREDENTIALS_FILE.search(message):
            return StorageError(
                f"{self.address}: the credentials for {self._cloud.title} in the environment cannot be used. "
                f"{self._cloud.credentials}"
            )
        if ca and "root_certificate" in message:
            return UsageError(f"{ca} cannot be read as certificates.")
        return UsageError(f"{self.address} cannot be opened with these settings: check its endpoint and proxy.")


def _client(endpoint: str, proxy: str, ca: str) -> JsonObject:
    client_options: JsonObject = {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    if endpoint.startswith("http://"):
        client_options["allow_http"] = True
    if proxy == "none" or is_loopback(urlsplit(endpoint).hostname or ""):
        client_options |= _PAST_PROXIES
    elif proxy:
        client_options |= {"proxy_url": proxy, "proxy_excludes": _HERE}
    if ca:
        try:
            client_options["root_certificate"] = Path(ca).read_bytes()
        except OSError as error:
            raise UsageError(f"{ca} cannot be read as certificates: {error.strerror}.") from None
    return client_options


def _version_of(entry: JsonMapping) -> str:
    return str(entry.get("e_tag") or entry.get("version") or entry["last_modified"])


def _no_credentials() -> JsonObject:
    return {"token": "none", "expires_at": None}
