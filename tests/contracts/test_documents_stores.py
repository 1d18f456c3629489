"""Stores of documents on all databases: an edit holds every other one until its end, and its documents come back."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from shroff.adapters.documents import SqlDocuments
from shroff.adapters.people.sql import SqlPeople
from tests.contracts import test_notices_stores as places


class DocumentStores:
    """What holds on each of them."""

    def make_people(self, folder: Path) -> SqlPeople:
        raise NotImplementedError

    def test_documents_come_back_by_kind_and_in_order(self, tmp_path):
        people = self.make_people(tmp_path)
        store = SqlDocuments(people)
        assert store.read("a", str) == {}
        with store.edit("a", str) as stored:
            stored.update({"1": "one", "2": '"☃"', "3": "three"})
        with store.edit("b", str) as stored:
            stored["1"] = "other"
        with store.edit("a", str) as stored:
            del stored["1"]
            stored["1"] = "one again"
            del stored["3"]

        assert list(store.read("a", str).items()) == [("2", '"☃"'), ("1", "one again")]
        with store.edit("a", str) as stored:
            stored.clear()
        assert store.read("a", str) == {}
        assert store.read("b", str) == {"1": "other"}
        people.close()

    def test_one_document_is_read_and_edited_without_the_others(self, tmp_path):
        people = self.make_people(tmp_path)
        store = SqlDocuments(people)
        for name in ("2", "1", "3"):
            with store.edit("a", str, name) as stored:
                assert stored == {}
                stored[name] = f"document {name}"
        with store.edit("b", str) as stored:
            stored["1"] = "other"
        with store.edit("a", str, "1") as stored:
            assert stored == {"1": "document 1"}
            stored["1"] = "changed"
        with store.edit("a", str, "2") as stored:
            stored.clear()

        assert store.names("a") == ["1", "3"]
        assert store.read("a", str, "1") == {"1": "changed"}
        assert store.read("a", str) == {"1": "changed", "3": "document 3"}
        assert store.read("b", str) == {"1": "other"}
        people.close()

    def test_an_edit_holds_every_other_one_until_its_end(self, tmp_path):
        stores = [self.make_people(tmp_path) for _ in range(2)]
        with SqlDocuments(stores[0]).edit("count", int) as stored:
            stored["n"] = 0

        def work(people: SqlPeople) -> None:
            for _ in range(15):
                with SqlDocuments(people).edit("count", int) as stored:
                    stored["n"] += 1

        threads = [Thread(target=work, args=(item,)) for item in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert SqlDocuments(stores[0]).read("count", int) == {"n": 30}
        for item in stores:
            item.close()


class TestSqliteDocuments(DocumentStores):
    def make_people(self, folder: Path) -> SqlPeople:
        return places.TestSqliteNotices.make_people(self, folder)


@pytest.mark.slow
class TestPostgresDocuments(DocumentStores):
    _server = places.TestPostgresNotices._server

    def make_people(self, folder: Path) -> SqlPeople:
        return places.TestPostgresNotices.make_people(self, folder)
