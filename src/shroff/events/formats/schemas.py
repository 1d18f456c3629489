"""The contract of a schema registry, by which readers and writers of Avro messages find each other's schemas."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Registered(NamedTuple):
    """One version of a subject: its number there, the id that messages carry, and the schema's text."""

    subject: str
    version: int
    id: int
    schema: str


class SchemaRegistry(Protocol):
    """Schemas by id, and versions of schemas under subjects, as Confluent's interface has them.

    The same id always gives the same schema. Every call raises SchemasAwayError where the registry gives no answer
    about schemas: it is not there, fails, or does not let us in; the words name its address and a cure, and no
    credential.
    """

    address: str  # for messages, without credentials

    def schema(self, id: int) -> str | None:
        """The text of a schema; None where there is none of this id.

        Raises: UsageError for one that is not Avro, or refers to others.
        """

    def latest(self, subject: str) -> Registered | None:
        """The newest version of a subject; None where it has none."""

    def versions(self, subject: str) -> list[int]:
        """The numbers of a subject's versions, ascending; empty where it has none."""

    def register(self, subject: str, schema: str) -> int:
        """Make a schema the newest version of a subject, and give its id; one that is there already stays as it is.

        Raises: UsageError with the registry's words where it refuses the schema.
        """

    def refusal(self, subject: str, schema: str) -> str:
        """Why the registry would refuse this schema as the next version; nothing where it would take it."""

    def level(self, subject: str) -> str:
        """Compatibility level of a subject in the registry: `BACKWARD`, `FULL`, `NONE` and others."""

    def close(self) -> None:
        """Let connections go; a further call opens them again. Closing twice does nothing."""
