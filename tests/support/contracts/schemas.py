"""The contract of schema registries: bind it by a class whose `make_registry` gives yours.

One server may serve all tests: each uses subjects and schemas of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from shroff.errors import UsageError
from shroff.events.formats.schemas import SchemaRegistry
from shroff.testing.contracts.promises import Contract, promise

UNKNOWN_ID = 2_000_000_000


class SchemaRegistryContract(Contract):
    """The promises of `events.formats.schemas.SchemaRegistry`."""

    def make_registry(self) -> SchemaRegistry:
        raise NotImplementedError

    @pytest.fixture
    def schemas(self) -> Iterator[SchemaRegistry]:
        with closing(self.make_registry()) as registry:
            yield registry

    @promise("nothing is None")
    def test_what_was_never_registered_is_not_there(self, schemas: SchemaRegistry) -> None:
        subject = _subject()

        assert schemas.schema(UNKNOWN_ID) is None
        assert schemas.latest(subject) is None
        assert schemas.versions(subject) == []

    @promise("what was registered")
    def test_a_schema_is_found_by_its_id_and_as_the_newest_of_its_subject(self, schemas: SchemaRegistry) -> None:
        subject = _subject()
        schema = _schema("amount", "a name of no letters: é")

        id_ = schemas.register(subject, schema)

        text = schemas.schema(id_)
        latest = schemas.latest(subject)
        assert text is not None
        assert latest is not None
        assert json.loads(text) == json.loads(latest.schema) == json.loads(schema)
        assert (latest.subject, latest.version, latest.id) == (subject, 1, id_)

    @promise("registering again changes nothing")
    def test_the_same_schema_again_is_the_same_version(self, schemas: SchemaRegistry) -> None:
        subject = _subject()
        schema = _schema("amount")
        first = schemas.register(subject, schema)

        assert schemas.register(subject, schema) == first
        assert schemas.versions(subject) == [1]

    @promise("versions in order")
    def test_another_schema_is_the_next_version_and_the_one_before_stays(self, schemas: SchemaRegistry) -> None:
        subject = _subject()
        first, second = _schema("amount"), _schema("amount", also="country")
        ids = [schemas.register(subject, first), schemas.register(subject, second)]

        latest = schemas.latest(subject)

        assert latest is not None
        assert (latest.version, latest.id) == (2, ids[1])
        assert ids[0] != ids[1]
        assert schemas.versions(subject) == [1, 2]
        assert json.loads(schemas.schema(ids[0]) or "") == json.loads(first)

    @promise("one schema, one id")
    def test_the_same_schema_under_another_subject_has_the_same_id(self, schemas: SchemaRegistry) -> None:
        schema = _schema("amount")

        assert schemas.register(_subject(), schema) == schemas.register(_subject(), schema)

    @promise("subjects are any text")
    def test_a_subject_may_have_any_characters(self, schemas: SchemaRegistry) -> None:
        subject = f"{_subject()} /%?#é-value"

        id_ = schemas.register(subject, _schema("amount"))

        latest = schemas.latest(subject)
        assert latest is not None
        assert (latest.subject, latest.id) == (subject, id_)

    @promise("refuses what is not a schema")
    def test_what_is_no_schema_is_refused_with_words(self, schemas: SchemaRegistry) -> None:
        subject = _subject()

        with pytest.raises(UsageError, match=subject):
            schemas.register(subject, '{"type": "record", "name": "x"')
        assert schemas.versions(subject) == []

    @promise("says what it asks for")
    def test_it_says_what_it_asks_of_new_versions_and_takes_what_keeps_to_that(self, schemas: SchemaRegistry) -> None:
        subject = _subject()
        schema = _schema("amount")
        schemas.register(subject, schema)

        assert schemas.level(subject).isupper()
        assert schemas.refusal(subject, schema) == ""

    @promise("an address for messages")
    def test_its_address_is_there_for_messages(self, schemas: SchemaRegistry) -> None:
        assert schemas.address

    @promise("closing is not the end")
    def test_it_may_be_closed_twice_and_asked_again(self, schemas: SchemaRegistry) -> None:
        subject, schema = _subject(), _schema("amount")
        id_ = schemas.register(subject, schema)
        schemas.close()
        schemas.close()

        assert json.loads(schemas.schema(id_) or "") == json.loads(schema)


def _subject() -> str:
    return f"contract-{uuid4().hex}"


def _schema(name: str, doc: str = "", *, also: str = "") -> str:
    """A schema that no other test has."""
    fields: list[dict[str, Any]] = [{"name": name, "type": "string"}]
    if doc:
        fields[0]["doc"] = doc
    if also:
        fields.append({"name": also, "type": ["null", "string"], "default": None})
    return json.dumps({"type": "record", "name": f"r{uuid4().hex}", "fields": fields})
