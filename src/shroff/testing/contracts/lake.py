"""Tests of the contract of object stores of a lake. Subclass `ObjectsContract` to run them on an adapter."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest

from shroff.errors import StateError
from shroff.streams.lake import ListedObject, Objects, StoredObject

Opens = Callable[[], Objects]  # as another process would
AT_ONCE = 8
MANY = 1_020  # more than a page of any store
LARGE = 9 * 1024 * 1024 + 1  # more than clients of object stores send in one piece
NAMES = ("a", "a.b", "a-b", "A", "Z9", "_", "-", "=2F", "date=2026-01-31/000000000001-0123.parquet", "x" * 200)


class ObjectsContract:
    """The contract of object stores. A subclass implements `make_objects`."""

    @abstractmethod
    def make_objects(self, folder: Path) -> Opens:
        """Make an empty store; return a function that opens it, each time as a new process would."""

    @pytest.fixture
    def open(self, tmp_path: Path) -> Opens:
        return self.make_objects(tmp_path)

    @pytest.fixture
    def objects(self, open: Opens) -> Objects:
        return open()

    # Writing

    def test_put_never_writes_over_an_object(self, objects: Objects) -> None:
        assert objects.put("a/b.json", b"first") is True
        assert objects.put("a/b.json", b"first") is False
        assert objects.put("a/b.json", b"second") is False

        assert _data(objects, "a/b.json") == b"first"

    def test_of_many_that_put_at_once_one_wins_and_its_bytes_are_there(self, open: Opens) -> None:
        writers = [open() for _ in range(AT_ONCE)]
        for turn in range(12):
            name = f"manifest/{turn}.json"
            won = _at_once([partial(writer.put, name, b"%d" % at) for at, writer in enumerate(writers)])

            assert sum(won) == 1
            assert _data(writers[0], name) == b"%d" % won.index(True)

    def test_replace_writes_over_what_was_seen_and_nothing_else(self, objects: Objects) -> None:
        objects.put("a", b"1")
        first = _version(objects, "a")

        assert objects.replace("a", b"2", first) is True
        assert objects.replace("a", b"3", first) is False
        assert _data(objects, "a") == b"2"
        assert objects.replace("a", b"3", _version(objects, "a")) is True
        assert _data(objects, "a") == b"3"

    def test_replace_does_not_make_an_object(self, objects: Objects) -> None:
        objects.put("a", b"1")
        version = _version(objects, "a")
        objects.delete("a")

        assert objects.replace("a", b"2", version) is False
        assert objects.get("a") is None

    def test_of_many_that_replace_at_once_one_wins_and_its_bytes_are_there(self, open: Opens) -> None:
        writers = [open() for _ in range(AT_ONCE)]
        writers[0].put("a", b"start")
        for turn in range(12):
            version = _version(writers[0], "a")
            contents = [b"%d-%d" % (turn, at) for at in range(AT_ONCE)]
            won = _at_once(
                [partial(writer.replace, "a", data, version) for writer, data in zip(writers, contents, strict=True)]
            )

            assert sum(won) == 1
            assert _data(writers[0], "a") == contents[won.index(True)]

    @pytest.mark.parametrize("size", [0, 1, 70_000, LARGE])
    def test_any_bytes_come_back_whole(self, objects: Objects, size: int) -> None:
        data = (bytes(range(256)) * (size // 256 + 1))[:size]
        objects.put("a", data)

        assert _data(objects, "a") == data
        assert list(objects.list()) == [ListedObject("a", size)]

    # Reading

    def test_what_is_not_there_is_none(self, objects: Objects) -> None:
        assert objects.get("a/b") is None
        assert list(objects.list()) == []
        assert list(objects.list("a")) == []

    def test_names_of_every_kind_lie_beside_each_other(self, objects: Objects) -> None:
        for name in NAMES:
            assert objects.put(name, name.encode()) is True

        assert _names(objects) == sorted(NAMES)
        assert all(_data(objects, name) == name.encode() for name in NAMES)

    @pytest.mark.parametrize(
        "name", ["", "/a", "a/", "a//b", "../a", "a/../b", ".a", "a/.b", "a b", "é", "a\n", "a%2F"]
    )
    def test_what_is_no_name_is_refused(self, objects: Objects, name: str) -> None:
        for call in (objects.get, objects.delete, lambda key: objects.put(key, b"")):
            with pytest.raises(StateError, match="is not a name of an object"):
                call(name)

        assert list(objects.list()) == []

    def test_a_list_has_a_folder_by_name_and_nothing_beside_it(self, objects: Objects) -> None:
        for name in ("b/2", "b/10", "b.c/1", "b/1/x", "bc/1", "a/1", "c"):
            objects.put(name, b"")

        assert _names(objects, "b") == ["b/1/x", "b/10", "b/2"]
        assert _names(objects, "b/1") == ["b/1/x"]
        assert _names(objects) == ["a/1", "b.c/1", "b/1/x", "b/10", "b/2", "bc/1", "c"]

    def test_a_list_of_more_than_a_page_is_whole_and_in_order(self, objects: Objects) -> None:
        names = [f"many/{number:05d}" for number in range(MANY)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert all(pool.map(lambda name: objects.put(name, b""), reversed(names)))

        assert _names(objects, "many") == names

    def test_every_reader_sees_at_once_what_was_put_and_deleted(self, open: Opens) -> None:
        writer = open()
        reader = open()
        for turn in range(5):
            name = f"a/{turn}"
            assert [reader.get(name), list(reader.list("a"))] == [None, []]
            writer.put(name, b"x")
            assert _names(reader, "a") == [name]
            assert _data(reader, name) == b"x"
            writer.delete(name)
            assert [reader.get(name), list(reader.list("a"))] == [None, []]

    def test_deleting_what_is_not_there_is_fine(self, objects: Objects) -> None:
        objects.delete("a/b")
        objects.put("a/b", b"1")
        objects.delete("a/b")
        objects.delete("a/b")

        assert objects.put("a/b", b"2") is True
        assert _data(objects, "a/b") == b"2"

    def test_closing_twice_does_nothing(self, objects: Objects) -> None:
        objects.put("a", b"1")
        objects.close()
        objects.close()


def _at_once(calls: Sequence[Callable[[], bool]]) -> list[bool]:
    start = Barrier(len(calls))

    def run(call: Callable[[], bool]) -> bool:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def _names(objects: Objects, folder: str = "") -> list[str]:
    return [stored.name for stored in objects.list(folder)]


def _found(objects: Objects, name: str) -> StoredObject:
    found = objects.get(name)
    assert found is not None
    return found


def _data(objects: Objects, name: str) -> bytes:
    return _found(objects, name).data


def _version(objects: Objects, name: str) -> str:
    return _found(objects, name).version
