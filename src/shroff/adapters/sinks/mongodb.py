"""Write decisions and flags as documents of a MongoDB collection (extra `mongo`), with the event's fields.

A document that is delivered again replaces the one with its id, so no transaction is needed. Money and numbers remain
the texts that the decision has, which are exact and keep their number of decimal places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec.json import decode as from_json

from shroff.adapters.sinks.documents import Read, document_readers, mapped_document
from shroff.errors import ShroffError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.streams.sink import AwayError, Outgoing, Undelivered

try:
    from bson.errors import InvalidDocument
    from pymongo import MongoClient
    from pymongo.errors import (
        BulkWriteError,
        ConfigurationError,
        DocumentTooLarge,
        OperationFailure,
        PyMongoError,
        WriteError,
    )
    from pymongo.write_concern import WriteConcern
except ImportError:
    raise UsageError("MongoDB needs the extra 'mongo': pip install 'shroff[mongo]'.") from None

ANSWER_MS = 30_000
_DOUBLED = 11000
_AWAY = frozenset([11600, 11602, 10107, 13435, 13436, 189, 91, 7, 6, 89, 9001, 262])  # of servers that change


class MongoSink:
    """A collection of MongoDB or a compatible server. Durable when `send` returns: written by a majority."""

    wants_fields = True
    places_max = 1_000

    def __init__(self, name: str, options: JsonMapping) -> None:
        """Prepare the client without calling the server.

        Args:
            name: Name of the sink.
            options: `url`, `database`, `collection`, and `document`: expressions by name.

        Raises: UsageError if the address or an expression is invalid.
        """
        self._readers = document_readers(options.get("document", {}))
        try:
            url = str(options["url"])
            limits = {"serverSelectionTimeoutMS": ANSWER_MS, "socketTimeoutMS": ANSWER_MS, "connectTimeoutMS": 10_000}
            default_limits = {name: value for name, value in limits.items() if name.lower() not in url.lower()}
            # The client does not retry: shroff does, and a repeated row replaces itself.
            self._client: MongoClient[JsonObject] = MongoClient(
                url, appname="shroff", connect=False, retryWrites=False, **default_limits
            )
            self._collection = self._client[str(options["database"])].get_collection(
                str(options["collection"]), write_concern=WriteConcern(w="majority", wtimeout=ANSWER_MS)
            )
        except (PyMongoError, ValueError):  # its message may contain the address
            raise UsageError("the address of the sink, or a name in it, is not valid for MongoDB.") from None

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Replace the documents of these rows, or add them.

        Raises: as in the contract. Cost: 20 to 40 µs a row.
        """
        try:
            refused = self._write(rows)
        except (DocumentTooLarge, InvalidDocument, OverflowError) as error:  # found before anything was sent
            return (
                [undelivered for row in rows for undelivered in self.send([row])]
                if len(rows) > 1
                else [Undelivered(rows[0], str(error))]
            )
        except PyMongoError as error:
            raise _mongo_error(error) from None
        return refused

    def is_missing(self) -> bool:
        try:
            database = self._collection.database
            return not database.list_collection_names(filter={"name": self._collection.name})
        except PyMongoError as error:
            raise _mongo_error(error) from None

    def missing(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        query = {"_id": {"$in": [row.name for row in rows]}}
        try:
            stored = {document["_id"] for document in self._collection.find(query, {"_id": 1})}
        except PyMongoError as error:
            raise _mongo_error(error) from None
        return [row for row in rows if row.name not in stored]

    def close(self) -> None:
        self._client.close()

    def _write(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        """Insert all documents, then replace those that exist, which are few; inserting is much faster."""
        documents = [document(row, self._readers) for row in rows]
        try:
            self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            wrong = error.details.get("writeErrors", [])
            away = any(error.get("code") in _AWAY for error in wrong)
            if away or error.details.get("writeConcernErrors") or not wrong:
                raise
            existing = sorted(error["index"] for error in wrong if error.get("code") == _DOUBLED)
            failures = [
                Undelivered(rows[error["index"]], _refusal(error)) for error in wrong if error.get("code") != _DOUBLED
            ]
            return failures + [row for index in existing for row in self._replace(rows[index], documents[index])]
        return []

    def _replace(self, row: Outgoing, document: JsonMapping) -> list[Undelivered]:
        """Replace the document with this id. One at a time, as FerretDB hangs at 200 in one command."""
        try:
            self._collection.replace_one({"_id": document["_id"]}, document, upsert=True)
        except WriteError as error:  # a unique index of the user refuses it, or it became too large
            if error.code in _AWAY:
                raise
            return [Undelivered(row, _refusal(error.details or {}))]
        return []


def document(row: Outgoing, readers: Mapping[str, Read] = MappingProxyType({})) -> JsonObject:
    """Return the document of a row: `_id` and the values of `readers`, by default the decision or flag with `fields`.

    Features are nested by entity (`payments_1h` in `card` in `features`), since names with a dot cannot be queried.
    """
    if readers:
        return {"_id": row.name, **mapped_document(row, readers)}
    content: JsonObject = {"_id": row.name, "kind": row.kind, **from_json(row.body)}
    if "features" in content:
        content["features"] = _nest(content["features"])
    if row.fields:
        content["fields"] = from_json(row.fields)
    return content


def _refusal(error: JsonMapping) -> str:
    return f"MongoDB refuses it: {error.get('errmsg', 'it gives no reason')}"


def _nest(features: JsonMapping) -> JsonObject:
    nested: JsonObject = {}
    for name, value in features.items():
        entity, _, feature = name.partition(".")
        if feature:
            nested.setdefault(entity, {})[feature] = value
        else:
            nested[name] = value
    return nested


def _mongo_error(error: PyMongoError) -> ShroffError:
    if isinstance(error, ConfigurationError):
        return UsageError("the address of the sink is not valid for MongoDB.")
    if isinstance(error, BulkWriteError):
        write_errors = [*error.details.get("writeErrors", []), *error.details.get("writeConcernErrors", [])]
        message = write_errors[0].get("errmsg") if write_errors else None
        return AwayError(f"MongoDB: {message or 'some documents were not written'}")
    if isinstance(error, OperationFailure):
        return AwayError(f"MongoDB: {(error.details or {}).get('errmsg', 'the operation failed')}")
    return AwayError(f"MongoDB: {type(error).__name__}: the server does not answer")
