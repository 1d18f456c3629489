"""The contract of a lake's objects, bound to every place that a lake may be in, and what it rejects."""

from __future__ import annotations

import inspect
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake_folder import STEPS, FolderObjects
from shroff.adapters.lake_gcs import GcsObjects
from shroff.adapters.lake_s3 import S3Objects
from shroff.errors import StorageError, TransientError, UsageError
from shroff.streams.lake import Found, Listed, Objects
from shroff.testing.contracts.lake import ObjectsContract
from shroff.testing.objects import MemoryObjects
from tools.servers.errors import ServerError
from tools.servers.objects import GCS, S3

BUCKET = "shroff-lake-contract"
SECRET = "wJalrXUtnFEMI-not-to-be-seen"


def own(folder: Path) -> str:
    """A prefix that no other test has."""
    return sha256(str(folder).encode()).hexdigest()[:16]


@pytest.fixture(scope="session")
def s3_bucket(s3) -> tuple[str, dict[str, str]]:
    S3.create_at(s3.address, BUCKET)
    return s3.address, dict(s3.details)


@pytest.fixture(scope="session")
def gcs_bucket(gcs) -> str:
    with suppress(ServerError):  # another process of this run has made it
        GCS.create_at(gcs.address, BUCKET)
    return str(gcs.address)


class TestFolder(ObjectsContract):
    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        return lambda: FolderObjects(str(folder / "lake"))


class TestMemory(ObjectsContract):
    kind: type[MemoryObjects] = MemoryObjects

    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        one = self.kind()
        return lambda: one


@pytest.mark.slow
class TestS3(ObjectsContract):
    @pytest.fixture(autouse=True)
    def _at(self, s3_bucket: tuple[str, dict[str, str]]) -> None:
        self.at = s3_bucket

    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        address, options = self.at
        return lambda: S3Objects(f"s3://{BUCKET}/tests/{own(folder)}", endpoint=address, options=options)


@pytest.mark.slow
class TestGcs(ObjectsContract):
    @pytest.fixture(autouse=True)
    def _at(self, gcs_bucket: str) -> None:
        self.at = gcs_bucket

    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        return lambda: GcsObjects(f"gs://{BUCKET}/tests/{own(folder)}", endpoint=self.at)


# ---- broken on purpose


class Overwriting(MemoryObjects):
    """Puts over what is there."""

    def put(self, name: str, data: bytes) -> bool:
        is_new = MemoryObjects.get(self, name) is None
        self._set(name, data)
        return is_new


class Trusting(MemoryObjects):
    """Replaces whatever version is there."""

    def replace(self, name: str, data: bytes, version: str) -> bool:
        found = MemoryObjects.get(self, name)
        return found is not None and MemoryObjects.replace(self, name, data, found.version)


class Making(MemoryObjects):
    """Makes what it should replace."""

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return MemoryObjects.replace(self, name, data, version) or MemoryObjects.put(self, name, data)


class Unordered(MemoryObjects):
    """Lists in the order of arrival."""

    def list(self, folder: str = "") -> Iterator[Listed]:
        start = f"{folder}/" if folder else ""
        return iter([Listed(name, len(data)) for name, (data, _) in self.objects.items() if name.startswith(start)])


class Stale(MemoryObjects):
    """Lists what was there a call ago."""

    __slots__ = ("_seen",)

    def list(self, folder: str = "") -> Iterator[Listed]:
        now = list(MemoryObjects.list(self, folder))
        seen = getattr(self, "_seen", [])
        self._seen = now
        return iter([one for one in seen if one.name.startswith(folder)])


class Prefixed(MemoryObjects):
    """Takes the beginning of a name for a folder."""

    def list(self, folder: str = "") -> Iterator[Listed]:
        return iter([Listed(n, len(self.objects[n][0])) for n in sorted(self.objects) if n.startswith(folder)])


class FirstPage(MemoryObjects):
    """Lists a page."""

    def list(self, folder: str = "") -> Iterator[Listed]:
        return iter(list(MemoryObjects.list(self, folder))[:1_000])


class Cutting(MemoryObjects):
    """Loses what is beyond its buffer."""

    def get(self, name: str) -> Found | None:
        found = MemoryObjects.get(self, name)
        return found and Found(found.data[:65_536], found.version)


BROKEN = {
    Overwriting: "test_put_never_writes_over_an_object",
    Trusting: "test_replace_writes_over_what_was_seen_and_nothing_else",
    Making: "test_replace_does_not_make_an_object",
    Unordered: "test_a_list_has_a_folder_by_name_and_nothing_beside_it",
    Stale: "test_every_reader_sees_at_once_what_was_put_and_deleted",
    Prefixed: "test_a_list_has_a_folder_by_name_and_nothing_beside_it",
    FirstPage: "test_a_list_of_more_than_a_page_is_whole_and_in_order",
    Cutting: "test_any_bytes_come_back_whole",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_the_contract_rejects_a_place_that_breaks_it(kind: type[MemoryObjects]):
    contract = TestMemory()
    test = getattr(contract, BROKEN[kind])
    one = kind()
    given: dict[str, Any] = {"objects": one, "open": lambda: one, "size": 70_000}
    asked = {name: given[name] for name in inspect.signature(test).parameters}

    with pytest.raises(AssertionError):
        test(**asked)


# ---- a folder


def test_a_killed_writer_leaves_nothing_that_anybody_sees(tmp_path: Path):
    class Killed(BaseException):
        pass

    for step in STEPS[:3]:

        def kill(found: str, step: str = step) -> None:
            if found == step:
                raise Killed

        writer = FolderObjects(str(tmp_path / "lake"), on_step=kill)
        with pytest.raises(Killed):
            writer.put("a/b", b"1")
        reader = FolderObjects(str(tmp_path / "lake"))

        assert [reader.get("a/b"), list(reader.list())] == [None, []]


def test_what_killed_writers_left_goes_after_an_hour(tmp_path: Path):
    left = [tmp_path / ".unfinished" / name for name in ("old", "new")]
    left[0].parent.mkdir()
    for one in left:
        one.write_bytes(b"half")
    os.utime(left[0], (1, 1))
    FolderObjects(str(tmp_path)).put("a", b"1")

    assert [one.exists() for one in left] == [False, True]


def test_a_writer_leaves_no_folder_of_unfinished_files_and_another_one_goes_on(tmp_path: Path):
    first, second = (FolderObjects(str(tmp_path / "lake")) for _ in range(2))
    first.put("a", b"1")
    second.put("b", b"2")
    first.close()
    is_there = (tmp_path / "lake" / ".unfinished").exists()
    second.put("c", b"3")
    second.close()
    second.close()

    assert is_there is False
    assert sorted(one.name for one in (tmp_path / "lake").iterdir()) == ["a", "b", "c"]


def test_what_another_writer_has_not_finished_keeps_its_folder(tmp_path: Path):
    objects, half = FolderObjects(str(tmp_path)), tmp_path / ".unfinished" / "1-half"
    objects.put("a", b"1")
    half.write_bytes(b"half")
    objects.close()

    assert half.read_bytes() == b"half"


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "lake").write_text("a file")

    with pytest.raises(StorageError, match=r"a in .*lake: Not a directory\. Look for room"):
        FolderObjects(str(tmp_path / "lake")).put("a", b"1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_says_so(tmp_path: Path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake").chmod(stat.S_IRUSR | stat.S_IXUSR)

    with pytest.raises(StorageError, match="Permission denied"):
        FolderObjects(str(tmp_path / "lake")).put("a", b"1")


# ---- buckets


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(s3_bucket, gcs_bucket):
    address, options = s3_bucket
    for objects in (
        S3Objects("s3://no-such-bucket/x", endpoint=address, options=options),
        GcsObjects("gs://no-such-bucket/x", endpoint=gcs_bucket),
    ):
        for call in (lambda one=objects: one.put("a", b"1"), lambda one=objects: list(one.list())):
            with pytest.raises(UsageError, match="there is no bucket no-such-bucket"):
                call()


def test_a_server_that_is_away_is_worth_another_try_and_no_credential_is_told():
    options = {"aws_access_key_id": "AKIA-SEEN", "aws_secret_access_key": SECRET, "aws_region": "us-east-1"}
    away = "http://127.0.0.1:1"
    s3 = S3Objects("s3://bucket/p", endpoint=away, options=options)
    gcs = GcsObjects("gs://bucket/p", endpoint=away, token=lambda: SECRET)

    for objects in (s3, gcs):
        for call in (lambda one=objects: one.put("a", b"1"), lambda one=objects: one.get("a")):
            with pytest.raises(TransientError, match=r"://bucket/p cannot be reached for a") as raised:
                call()
            told = f"{raised.value} {raised.value!r} {objects!r} {raised.value.__cause__}"
            assert SECRET not in told
            assert "AKIA-SEEN" not in told


def test_without_their_libraries_buckets_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for name in ("obstore", "google.auth"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(UsageError, match=r"a lake in S3 needs obstore: install shroff\[objects\]"):
        S3Objects("s3://bucket/p")
    with pytest.raises(UsageError, match=r"needs google-auth and urllib3: install shroff\[gcs\]"):
        GcsObjects("gs://bucket/p")
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(UsageError, match=r"needs google-auth and urllib3: install shroff\[gcs\]"):
        GcsObjects("gs://bucket/p", endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "address",
    [
        "s3:/bucket",
        "s3://",
        "s3://B",
        "s3://ab",
        "s3://a..b",
        "s3://key:word@bucket",
        "s3://bucket/../x",
        "s3://bucket/a?b",
    ],
)
def test_an_address_that_is_none_is_refused(address: str):
    for kind, scheme in ((S3Objects, "s3"), (GcsObjects, "gs")):
        with pytest.raises(UsageError, match=f"is as {scheme}://bucket|{scheme}://bucket/prefix") as raised:
            kind(address.replace("s3:", f"{scheme}:"), endpoint="http://127.0.0.1:1")
        assert "word" not in str(raised.value)
