"""Object stores: S3 by moto, with conditional writes, and Google's by fake-gcs-server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from tools.servers.errors import ServerError
from tools.servers.fetching import from_go
from tools.servers.process import Child, OneProcess
from tools.servers.web import answers, status

FAKE_GCS: Final = "v1.56.1"


class S3(OneProcess):
    """An endpoint that speaks S3. Its objects are in memory and gone when it stops."""

    kind = "s3"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def details(self) -> Mapping[str, str]:
        return {"aws_access_key_id": "test", "aws_secret_access_key": "test", "aws_region": "us-east-1"}

    def _made(self) -> Child:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        return Child("the S3 endpoint", command, self.folder / "s3.log")

    def _is_ready(self) -> bool:
        return answers(f"{self.address}/moto-api/")

    @staticmethod
    def create_at(address: str, bucket: str) -> str:
        """Make a bucket; gives its name."""
        return _bucket(f"{address}/{bucket}", "PUT", b"", bucket)


class GCS(OneProcess):
    """An endpoint that speaks Google's storage interface by JSON, conditions included. Its objects are in memory.

    It does not take objects by the XML interface, which obstore and other clients of many clouds use.
    """

    kind = "gcs"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _made(self) -> Child:
        module = "github.com/fsouza/fake-gcs-server"
        found = from_go("fake-gcs-server", module, FAKE_GCS, ".")
        command = [str(found), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self._port)]
        command += ["-backend", "memory", "-external-url", self.address, "-log-level", "warn"]
        return Child("the GCS endpoint", command, self.folder / "gcs.log")

    def _is_ready(self) -> bool:
        return answers(f"{self.address}/storage/v1/b?project=test")

    @staticmethod
    def create_at(address: str, bucket: str) -> str:
        """Make a bucket; gives its name."""
        return _bucket(f"{address}/storage/v1/b?project=test", "POST", f'{{"name": "{bucket}"}}'.encode(), bucket)


def _bucket(url: str, method: str, body: bytes, name: str) -> str:
    if (found := status(url, method, body)) != HTTPStatus.OK:
        raise ServerError(f"the bucket {name} was not made: {found}.")
    return name
