"""The model of a disk whose power fails."""

from __future__ import annotations

from random import Random

from tests.support.power import (
    Cut,
    Disk,
    Dropped,
    FolderSynced,
    Made,
    Moved,
    Named,
    Operation,
    RouteDoc,
    Synced,
    Written,
)


def disk(*operations: Operation, **files: bytes) -> Disk:
    made = Disk(files)
    for operation in operations:
        made.take(operation)
    return made


def possible(found: Disk, tries: int = 300) -> list[dict[str, bytes]]:
    return [found.torn(Random(seed)) for seed in range(tries)]


def test_what_was_not_synced_is_lost():
    found = disk(Written(0, 0, b"new"), Written(0, 3, b"er"), a=b"old!")

    assert found.safe() == {"a": b"old!"}
    assert found.whole() == {"a": b"newer"}


def test_what_was_synced_is_safe_and_what_came_after_is_not():
    found = disk(Written(0, 0, b"one"), Synced(0), Written(0, 0, b"two"), a=b"")

    assert found.safe() == {"a": b"one"}
    assert {image["a"] for image in possible(found)} == {b"one", b"two"}


def test_a_sync_of_one_file_makes_no_other_safe():
    found = disk(Written(0, 0, b"A"), Written(1, 0, b"B"), Synced(1), a=b"a", b=b"b")

    assert found.safe() == {"a": b"a", "b": b"B"}


def test_a_file_that_was_cut_may_still_be_long():
    found = disk(Cut(0, 2), a=b"long")

    assert found.safe() == {"a": b"long"}
    assert found.whole() == {"a": b"lo"}
    assert {image["a"] for image in possible(found)} == {b"long", b"lo"}


def test_a_hole_in_a_file_is_zeros():
    assert disk(Written(0, 4, b"x"), a=b"ab").whole() == {"a": b"ab\0\0x"}
    assert disk(Cut(0, 4), a=b"ab").whole() == {"a": b"ab\0\0"}


def test_a_write_is_torn_at_the_sectors_of_its_file():
    #  bytes     500   512          1024   1030
    #  pieces     |-----|-------------|------|
    images = {image["a"] for image in possible(disk(Written(0, 500, b"x" * 530), a=b"." * 2_000))}

    for image in images:
        pieces = image[500:512], image[512:1_024], image[1_024:1_030]
        assert all(len(set(piece)) == 1 for piece in pieces)
        assert image[:500] + image[1_030:] == b"." * 1_470
    assert len(images) == 8


def test_a_later_write_may_come_without_an_earlier_one():
    found = possible(disk(Written(0, 0, b"A"), Written(0, 1, b"B"), a=b"ab"))

    assert {image["a"] for image in found} == {b"ab", b"Ab", b"aB", b"AB"}


def test_a_new_name_is_safe_once_its_folder_was_synced():
    found = disk(Named("a", 0), Synced(0))
    assert found.safe() == {}
    assert found.named() == {"a": b""}

    found.take(FolderSynced("."))
    assert found.safe() == {"a": b""}


def test_a_new_folder_is_safe_with_what_is_in_it_once_the_one_above_was_synced():
    found = disk(Made("b"), Named("b/a", 0), FolderSynced("b"), Made("b/c"), Named("b/c/d", 1), FolderSynced("b/c"))
    assert found.safe() == {}
    assert set(found.named()) == set(found.whole()) == {"b/a", "b/c/d"}
    assert {tuple(sorted(image)) for image in possible(found)} == {(), ("b/a",), ("b/a", "b/c/d")}

    found.take(FolderSynced("."))
    assert set(found.safe()) == {"b/a"}
    found.take(FolderSynced("b"))
    assert set(found.safe()) == {"b/a", "b/c/d"}


def test_names_of_another_folder_stay_unsafe():
    old = {"b/old": b""}
    assert disk(Named("b/a", 0), FolderSynced("."), **old).safe() == old
    assert disk(Named("b/a", 0), FolderSynced("b"), **old).safe() == {"b/old": b"", "b/a": b""}


def test_a_file_moved_into_place_is_there_whole_or_not_at_all_where_it_was_synced_before():
    #  operations   write aside, sync, move over the old one
    found = disk(Named("aside", 7), Written(7, 0, b"new"), Synced(7), Moved("aside", "a"), a=b"old")

    assert found.safe() == {"a": b"old"}
    assert {image["a"] for image in possible(found)} == {b"old", b"new"}
    found.take(FolderSynced("."))
    assert found.safe() == {"a": b"new"}


def test_a_file_moved_into_place_without_a_sync_may_be_empty():
    assert disk(Named("aside", 7), Written(7, 0, b"new"), Moved("aside", "a"), a=b"old").named() == {"a": b""}


def test_a_removed_file_may_be_there_again_until_its_folder_was_synced():
    found = disk(Dropped("a"), a=b"x")
    assert found.safe() == {"a": b"x"}
    assert {tuple(image) for image in possible(found)} == {(), ("a",)}

    found.take(FolderSynced("."))
    assert found.safe() == {}


def test_a_second_file_of_a_name_takes_the_place_of_the_first_for_good():
    found = disk(Dropped("a"), Named("a", 7), Written(7, 0, b"second"), Synced(7), FolderSynced("."), a=b"first")

    assert found.safe() == {"a": b"second"}
    assert all(image == {"a": b"second"} for image in possible(found, 20))


def test_telling_changes_nothing():
    assert disk(RouteDoc("stored", 1), a=b"x").whole() == {"a": b"x"}
