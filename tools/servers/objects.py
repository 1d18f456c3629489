"""Object stores: S3 and Google's by moto (see `buckets`), Azure's by Azurite, all with conditional writes."""

from __future__ import annotations

import base64
import hmac
import sys
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Final

from tools.servers.errors import ServerError
from tools.servers.fetching import from_npm
from tools.servers.process import Child, OneProcess
from tools.servers.web import answers, status

AZURITE: Final = "azurite@3.37.0"
ACCOUNT: Final = "shroffbank"


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
        command = [sys.executable, str(Path(__file__).with_name("buckets.py")), str(self._port)]
        return Child(f"the {self.kind} endpoint", command, self.folder / f"{self.kind}.log")

    def _is_ready(self) -> bool:
        return answers(f"{self.address}/moto-api/")

    @staticmethod
    def create_at(address: str, bucket: str) -> str:
        """Make a bucket, unless it is there; gives its name."""
        return _bucket(f"{address}/{bucket}", bucket, {})


class GCS(S3):
    """An endpoint that speaks Google's XML interface, conditions on generations included."""

    kind = "gcs"

    @property
    def details(self) -> Mapping[str, str]:
        return {}


class Azure(OneProcess):
    """An endpoint that speaks Azure's Blob Storage. Its objects are in memory and gone when it stops."""

    kind = "azure"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/{ACCOUNT}"

    @property
    def details(self) -> Mapping[str, str]:
        return {"account_name": ACCOUNT, "account_key": self._key}

    @property
    def _key(self) -> str:
        return base64.b64encode(self.password.encode()).decode()

    def _made(self) -> Child:
        program = from_npm("azurite", AZURITE) / "dist" / "src" / "blob" / "main.js"
        command = ["node", str(program), "--blobHost", "127.0.0.1", "--blobPort", str(self._port)]
        command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        env = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{self._key}"}
        return Child("the Azure endpoint", command, self.folder / "azure.log", env=env)

    @staticmethod
    def create_at(address: str, container: str, key: str) -> str:
        """Make a container, unless it is there; gives its name."""
        told = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        resource = [f"/{ACCOUNT}/{ACCOUNT}/{container}", "restype:container"]
        text = "\n".join(["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in told.items()), *resource])
        sign = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()
        url = f"{address}/{container}?restype=container"
        return _bucket(url, container, told | {"Authorization": f"SharedKey {ACCOUNT}:{sign}"})


def _bucket(url: str, name: str, headers: Mapping[str, str]) -> str:
    found = status(url, "PUT", b"", kind="", headers=headers)
    if found not in {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.CONFLICT}:  # made, or there already
        raise ServerError(f"the bucket {name} was not made: {found}.")
    return name
