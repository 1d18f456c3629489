"""The contract of a schema registry, in which readers and writers of Avro messages look up schemas."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Registered(NamedTuple):
    """One version of a subject: its number, the id that messages refer to, and the text of the schema."""

    subject: str
    version: int
    id: int
    schema: str


class SchemaRegistry(Protocol):
    """Schemas by id, and versions of schemas under subjects, as in Confluent's interface.

    An id always refers to the same schema. Every call raises SchemasAwayError if the registry cannot be reached, fails
    or refuses access; the message has its address and a remedy, and no credential.
    """

    address: str  # for messages, without credentials

    def schema(self, id: int) -> str | None:
        """Return the text of a schema; None if there is none with this id.

        Raises: UsageError if it is not Avro, or refers to other schemas.
        """

    def latest(self, subject: str) -> Registered | None:
        """Return the newest version of a subject; None if it has none."""

    def versions(self, subject: str) -> list[int]:
        """Return the numbers of a subject's versions, ascending."""

    def register(self, subject: str, schema: str) -> int:
        """Register a schema as the newest version of a subject, unless it is registered already; return its id.

        Raises: UsageError with the registry's message if it refuses the schema.
        """

    def refusal(self, subject: str, schema: str) -> str:
        """Return why the registry would refuse this schema as the next version; "" if it would accept it."""

    def level(self, subject: str) -> str:
        """Return the compatibility level of a subject: `BACKWARD`, `FULL`, `NONE` and others."""

    def close(self) -> None:
        """Close connections; a further call opens them again. Closing twice does nothing."""
