"""A lake in a bucket of S3, or of a store that speaks it, with conditional writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from shroff.errors import ShroffError, StorageError, TransientError, UsageError
from shroff.streams.lake import Found, Listed, bucket_and_prefix, check_name

BUCKET: Final = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
TIMEOUT: Final = "60s"  # of one request
CONNECT_TIMEOUT: Final = "5s"
PAGE: Final = 1_000
Given = TypeVar("Given")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,64})</Code>")
_MISSING_BUCKET: Final = "NoSuchBucket"


class S3Objects:
    """Keeps every promise of `streams.lake.Objects` in a bucket of S3.

    Writing without writing over rests on `If-None-Match` and `If-Match`, which S3 has since 2024; a store that does
    not know them fails the contract, and is not safe. Credentials are those of the environment, as every program of
    AWS has them (variables, instance, container or web identity).

    Args:
        address: `s3://bucket/prefix`.
        endpoint: Of another server than Amazon's; one with http:// is spoken to in the clear.
        region: Of the bucket; without one that of the environment.
        options: Credentials and the like given otherwise than by the environment; they stand in no text.

    Raises: UsageError where obstore is not installed, or the address is none.
    """

    def __init__(
        self, address: str, *, endpoint: str = "", region: str = "", options: dict[str, str] | None = None
    ) -> None:
        self._bucket, self._prefix = bucket_and_prefix(address, "s3", BUCKET)
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise UsageError("a lake in S3 needs obstore: install shroff[objects].") from None
        told: dict[str, Any] = dict(options or {})
        told |= {"aws_endpoint": endpoint} if endpoint else {}
        told |= {"aws_region": region} if region else {}
        client: Any = {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
        client |= {"allow_http": True} if endpoint.startswith("http://") else {}
        self._obstore: Any = obstore
        try:
            self._store: Any = S3Store(
                self._bucket,
                prefix=self._prefix or None,
                client_options=client,
                retry_config={"max_retries": 0},  # who repeats must know what an answer that was lost may have been
                **told,
            )
        except Exception as error:  # noqa: BLE001 - the library has many, with the settings in their words
            raise self._told(error, "the bucket") from None

    @property
    def address(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"<{self.address}>"

    def put(self, name: str, data: bytes) -> bool:
        return self._put(name, data, "create")

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self._put(name, data, {"e_tag": version})

    def get(self, name: str) -> Found | None:
        def read() -> Found | None:
            answer = self._obstore.get(self._store, check_name(name))
            return Found(bytes(answer.bytes()), str(answer.meta["e_tag"]))

        return self._asked(name, read, None)

    def list(self, folder: str = "") -> Iterator[Listed]:
        """As the contract says; S3 gives keys in their order."""

        def read() -> list[Listed]:
            pages = self._obstore.list(self._store, prefix=check_name(folder) if folder else None, chunk_size=PAGE)
            return [Listed(one["path"], one["size"]) for page in pages for one in page]

        nothing: list[Listed] = []
        return iter(sorted(self._asked(folder or "the bucket", read, nothing), key=lambda one: one.name))

    def delete(self, name: str) -> None:
        self._asked(name, lambda: self._obstore.delete(self._store, check_name(name)), None)

    def close(self) -> None:
        """The library lets go of its connections by itself."""

    def _put(self, name: str, data: bytes, mode: Any) -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._obstore.put(self._store, check_name(name), data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except ShroffError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise self._told(error, name) from None
        return True

    def _asked(self, name: str, call: Callable[[], Given], missing: Given) -> Given:
        try:
            return call()
        except ShroffError:
            raise
        except FileNotFoundError as error:
            if _MISSING_BUCKET in str(error):
                raise self._told(error, name) from None
            return missing
        except Exception as error:  # noqa: BLE001 - as above
            raise self._told(error, name) from None

    def _told(self, error: Exception, name: str) -> ShroffError:
        """The library's error in our words: its own may show requests with their headers."""
        words = str(error)
        status, code = _STATUS.search(words), _CODE.search(words)
        number = int(status[1]) if status else 0
        if code and code[1] == _MISSING_BUCKET:
            return UsageError(f"there is no bucket {self._bucket}; make it, or name another one for the lake.")
        if number in {401, 403}:
            why = f" ({code[1]})" if code else ""
            return StorageError(
                f"{self.address} refuses {name}{why}. Look at the credentials in the environment, and whether they may "
                "read, write, list and delete there"
            )
        if 400 <= number < 500 and number not in {408, 409, 429}:
            return StorageError(f"{self.address} refuses {name}: {number} {code[1] if code else ''}".rstrip())
        if "missing" in words.lower() and "credential" in words.lower():
            return StorageError(f"{self.address}: there are no credentials in the environment")
        return TransientError(
            f"{self.address} cannot be reached for {name}{f': {number}' if number else ''}; try again."
        )
