"""Call a schema registry over HTTP, by Confluent's interface (Confluent, Apicurio, Karapace, Redpanda and others)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from shroff.adapters.http_calls import Calls, basic, reason
from shroff.errors import SchemasAwayError, UsageError
from shroff.events.formats.schemas import Registered
from shroff.json_types import JsonMapping, TextDict

ANSWER_BYTES_MAX = 8 * 1024 * 1024
_KIND = "application/vnd.schemaregistry.v1+json"
_NO_SUBJECT = (40401, 40402, 40408)  # no such subject, no such version, no compatibility level of the subject
_NO_SCHEMA = (40403, 40401)
_REFUSED = (409, 422)
_CURES = {
    401: "It asks for a user and a password: write them into the address as ${NAME}.",
    403: "The user lacks permission.",
    404: "It has no such path: does its address lack a part, such as /apis/ccompat/v7?",
    429: "It has too many requests; shroff retries.",
}


class HttpRegistry:
    """Keeps every promise of `events.formats.schemas.SchemaRegistry`, over one connection. For one thread at a time.

    Certificates are verified. Answers are read up to 8 MiB. Redirects are not followed, so credentials reach no other
    server.

    Args:
        address: `http://HOST:PORT/PATH` or https; `USER:PASSWORD@` before the host signs in (Basic).
        calls: Settings of HTTP calls.

    Raises: UsageError if the address is invalid, or certificates are set for http://.
    """

    def __init__(self, address: str, calls: Calls | None = None) -> None:
        where = _where(address)
        self.address = f"{where.scheme}://{where.host_and_port}{where.path}"
        self._path = where.path
        calls = calls or Calls()
        if where.scheme == "http" and calls.has_certificates:
            raise UsageError(f"certificates are for https://, and the schema registry is at {self.address}.")
        self._headers = {"Accept": f"{_KIND}, application/json", "Content-Type": _KIND, **_login(where)}
        self._client = calls.client(where.scheme, where.host, where.port, answer_bytes_max=ANSWER_BYTES_MAX)

    def __repr__(self) -> str:
        return f"HttpRegistry({self.address})"

    def schema(self, id: int) -> str | None:
        answer = self._ask("GET", f"/schemas/ids/{id}", nothing=_NO_SCHEMA)
        return None if answer is None else _avro_text(answer, f"schema {id}")

    def latest(self, subject: str) -> Registered | None:
        answer = self._ask("GET", f"/subjects/{_quote(subject)}/versions/latest", nothing=_NO_SUBJECT)
        if answer is None:
            return None
        text = _avro_text(answer, f"the newest version of {subject}")
        return Registered(subject, self._integer(answer, "version"), self._integer(answer, "id"), text)

    def versions(self, subject: str) -> list[int]:
        answer = self._ask("GET", f"/subjects/{_quote(subject)}/versions", nothing=_NO_SUBJECT)
        return [] if answer is None else sorted(int(digit) for digit in answer)

    def register(self, subject: str, schema: str) -> int:
        path = f"/subjects/{_quote(subject)}/versions"
        return self._integer(self._ask("POST", path, {"schema": schema}, refusing=subject), "id")

    def refusal(self, subject: str, schema: str) -> str:
        path = f"/compatibility/subjects/{_quote(subject)}/versions/latest?verbose=true"
        try:
            answer = self._ask("POST", path, {"schema": schema}, nothing=_NO_SUBJECT, refusing=subject)
        except UsageError as error:
            return str(error)
        if answer is None or answer.get("is_compatible") is True:
            return ""
        reasons = answer.get("messages") or [answer.get("reason") or "it says no more"]
        return f"the registry asks for {self.level(subject)} compatibility: {'; '.join(map(str, reasons))[:1_000]}"

    def level(self, subject: str) -> str:
        subject_level = self._ask("GET", f"/config/{_quote(subject)}", nothing=_NO_SUBJECT)
        answer = subject_level if subject_level is not None else self._ask("GET", "/config")
        return str(answer.get("compatibilityLevel", "NONE"))

    def close(self) -> None:
        self._client.close()

    def _ask(
        self,
        method: str,
        path: str,
        body: JsonMapping | None = None,
        *,
        nothing: tuple[int, ...] = (),
        refusing: str = "",
    ) -> Any:
        """Call the registry and return the decoded answer; None for an error code in `nothing`.

        Args:
            nothing: Error codes for a missing subject, version or schema.
            refusing: The subject whose schema the registry may refuse.

        Raises: SchemasAwayError; UsageError if it refuses the schema.
        """
        status, raw = self._answer(method, path, None if body is None else json.dumps(body).encode())
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        code = document.get("error_code") if isinstance(document, dict) else None
        if status == 404 and code in nothing:
            return None
        if status in _REFUSED and refusing:
            message = str(document.get("message", "")) if isinstance(document, dict) else ""
            raise UsageError(
                f"the registry refuses the schema of {refusing}: {message[:1_000] or 'it does not say why'}"
            )
        if status != 200 or document is None:
            hint = _CURES.get(status, "" if status >= 500 else "Is it a schema registry?")
            raise SchemasAwayError(f"the schema registry at {self.address} answers {status}. {hint}".rstrip())
        return document

    def _answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            answer = self._client.call(method, f"{self._path}{path}", body, self._headers)
        except OSError as error:
            failure = "it does not answer in time" if isinstance(error, TimeoutError) else reason(error)
            hint = "Check that it runs, and its address."
            raise SchemasAwayError(
                f"the schema registry at {self.address} cannot be reached: {failure}. {hint}"
            ) from None
        return answer.status, answer.body

    def _integer(self, document: Any, name: str) -> int:
        value = document.get(name) if isinstance(document, dict) else None
        if not isinstance(value, int):
            raise SchemasAwayError(f"the schema registry at {self.address} answers without {name}. Is it one?")
        return value


class _Where(NamedTuple):
    scheme: str
    host: str
    port: int | None
    path: str
    user: str
    password: str

    @property
    def host_and_port(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def _where(address: str) -> _Where:
    """Parse an address. Raises: UsageError, without the address, which may have a password."""
    with suppress(ValueError):
        parts = urlsplit(address)
        if parts.scheme in {"http", "https"} and parts.hostname and not parts.query and address.isprintable():
            user = unquote(parts.username or "")
            password = unquote(parts.password or "")
            return _Where(parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/"), user, password)
    raise UsageError(
        "the address of a schema registry is http://HOST:PORT or https://HOST, with its path if it has one."
    )


def _login(where: _Where) -> TextDict:
    if not where.user and not where.password:
        return {}
    return {"Authorization": basic(where.user, where.password)}


def _quote(subject: str) -> str:
    return quote(subject, safe="")


def _avro_text(schema: Any, subject: str) -> str:
    """Return the text of a schema. Raises: UsageError if it is not Avro, or refers to other schemas."""
    kind = schema.get("schemaType", "AVRO")
    if kind != "AVRO":
        raise UsageError(f"{subject} is of {kind}, not of Avro")
    if schema.get("references"):
        raise UsageError(f"{subject} refers to other schemas; register it with them written out")
    text = schema.get("schema")
    if not isinstance(text, str):
        raise UsageError(f"{subject} has no text")
    return text
