"""A schema registry that speaks Confluent's interface: Apicurio, with its store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools.servers.fetching import unpacked_from_maven
from tools.servers.kafka import JVM, java
from tools.servers.process import Child, OneProcess
from tools.servers.web import answers

VERSION: Final = "2.6.13.Final"


class Registry(OneProcess):
    """The registry; its address ends where Confluent's paths (`/subjects`, `/schemas`) begin."""

    kind = "registry"

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def _made(self) -> Child:
        program = unpacked_from_maven(f"apicurio-{VERSION}", f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all")
        jar = program / f"apicurio-registry-app-{VERSION}-runner.jar"
        command = [java(), *JVM, "-jar", str(jar)]
        return Child("the schema registry", command, self.folder / "registry.log", env=self._settings())

    def _is_ready(self) -> bool:
        return answers(f"{self.address}/subjects")

    def _settings(self) -> Mapping[str, str]:
        return {"QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(self._port), "LOG_LEVEL": "WARN"}
