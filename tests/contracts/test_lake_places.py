"""The contract of a lake's objects, bound to every place that a lake may be in, and what it rejects."""

from __future__ import annotations

import base64
import inspect
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake.bucket import BucketObjects
from shroff.adapters.lake.folder import STEPS, FolderObjects
from shroff.errors import StorageError, TransientError, UsageError
from shroff.streams.lake import ListedObject, Objects, StoredObject, bucket_and_prefix
from shroff.testing.contracts.lake import ObjectsContract
from tests.adapters.test_registry_http import answering, certificate
from tests.support.objects import MemoryObjects
from tools.servers.keep import Kept
from tools.servers.objects import S3, Azure

BUCKET = "shroff-lake-contract"
SECRET = "wJalrXUtnFEMI-not-to-be-seen"


def own(folder: Path) -> str:
    """A prefix that no other test has."""
    return sha256(str(folder).encode()).hexdigest()[:16]


SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
FIXTURES = (certificate,)  # of the tests below
Open = Callable[..., BucketObjects]


def bucket_of(server: Kept, bucket: str = BUCKET) -> Open:
    """What opens the bucket of a server at a prefix; it is made where there is none."""
    if server.kind == "azure":
        Azure.create_at(server.address, bucket, server.details["account_key"])
    else:
        S3.create_at(server.address, bucket)

    def opened(prefix: str, *, name: str = bucket, endpoint: str = server.address, **details: str) -> BucketObjects:
        address = f"{SCHEMES[server.kind]}://{name}/{prefix}"
        return BucketObjects(address, endpoint=endpoint, options={**server.details, **details})

    return opened


@pytest.fixture(scope="session", params=SCHEMES)
def bucket(request: pytest.FixtureRequest) -> Open:
    """The bucket of these tests, in each cloud."""
    return bucket_of(request.getfixturevalue(request.param))


class TestFolder(ObjectsContract):
    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        return lambda: FolderObjects(str(folder / "lake"))


class TestMemory(ObjectsContract):
    kind: type[MemoryObjects] = MemoryObjects

    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        place = self.kind()
        return lambda: place


@pytest.mark.slow
class TestBucket(ObjectsContract):
    smoke = (
        "test_put_never_writes_over_an_object",
        "test_of_many_that_put_at_once_one_wins_and_its_bytes_are_there",
        "test_replace_writes_over_what_was_seen_and_nothing_else",
        "test_any_bytes_come_back_whole",
        "test_a_list_of_more_than_a_page_is_whole_and_in_order",
        "test_every_reader_sees_at_once_what_was_put_and_deleted",
    )

    @pytest.fixture(autouse=True)
    def _at(self, bucket: Open) -> None:
        self.bucket = bucket

    def make_objects(self, folder: Path) -> Callable[[], Objects]:
        return lambda: self.bucket(f"tests/{own(folder)}")


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

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        start = f"{folder}/" if folder else ""
        return iter(
            [ListedObject(name, len(data)) for name, (data, _) in self.objects.items() if name.startswith(start)]
        )


class Stale(MemoryObjects):
    """Lists what was there a call ago."""

    __slots__ = ("_seen",)

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        now = list(MemoryObjects.list(self, folder))
        seen = getattr(self, "_seen", [])
        self._seen = now
        return iter([item for item in seen if item.name.startswith(folder)])


class Prefixed(MemoryObjects):
    """Takes the beginning of a name for a folder."""

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        return iter([ListedObject(n, len(self.objects[n][0])) for n in sorted(self.objects) if n.startswith(folder)])


class FirstPage(MemoryObjects):
    """Lists a page."""

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        return iter(list(MemoryObjects.list(self, folder))[:1_000])


class Cutting(MemoryObjects):
    """Loses what is beyond its buffer."""

    def get(self, name: str) -> StoredObject | None:
        found = MemoryObjects.get(self, name)
        return found and StoredObject(found.data[:65_536], found.version)


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
    place = kind()
    given: dict[str, Any] = {"objects": place, "open": lambda: place, "size": 70_000}
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
    for item in left:
        item.write_bytes(b"half")
    os.utime(left[0], (1, 1))
    FolderObjects(str(tmp_path)).put("a", b"1")

    assert [item.exists() for item in left] == [False, True]


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
    assert sorted(path.name for path in (tmp_path / "lake").iterdir()) == ["a", "b", "c"]


def test_what_another_writer_has_not_finished_keeps_its_folder(tmp_path: Path):
    objects, half = FolderObjects(str(tmp_path)), tmp_path / ".unfinished" / "1-half"
    objects.put("a", b"1")
    half.write_bytes(b"half")
    objects.close()

    assert half.read_bytes() == b"half"


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "lake").write_text("a file")

    with pytest.raises(StorageError, match=r"a in .*lake: Not a directory\. Check free space"):
        FolderObjects(str(tmp_path / "lake")).put("a", b"1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_says_so(tmp_path: Path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake").chmod(stat.S_IRUSR | stat.S_IXUSR)

    with pytest.raises(StorageError, match="Permission denied"):
        FolderObjects(str(tmp_path / "lake")).put("a", b"1")


# ---- buckets


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_named(bucket: Open):
    objects = bucket("x", name="no-such-bucket")

    for call in (lambda: objects.put("a", b"1"), lambda: objects.get("a"), lambda: list(objects.list())):
        with pytest.raises(UsageError, match=r"there is no (bucket|container) no-such-bucket; make it"):
            call()


@pytest.mark.slow
def test_a_wrong_key_is_refused_with_the_reason(azure: Kept):
    wrong = base64.b64encode(SECRET.encode()).decode()
    objects = bucket_of(azure)("x", account_key=wrong)

    with pytest.raises(StorageError, match=r"refuses a \(AuthorizationFailure\)\. Check the credentials") as raised:
        objects.put("a", b"1")
    assert wrong not in f"{raised.value!r} {objects!r}"


KEYS = {
    "s3": {"aws_access_key_id": "AKIA-SEEN", "aws_secret_access_key": SECRET, "aws_region": "us-east-1"},
    "gs": {"bearer_token": SECRET},
    "az": {"account_name": "mybank", "account_key": base64.b64encode(SECRET.encode()).decode()},
}


@pytest.mark.parametrize("scheme", KEYS)
def test_a_server_that_is_away_is_worth_another_try_and_no_credential_is_told(scheme: str):
    objects = BucketObjects(f"{scheme}://bucket/p", endpoint="https://127.0.0.1:1", options=KEYS[scheme])

    for call in (lambda: objects.put("a", b"1"), lambda: objects.get("a")):
        with pytest.raises(
            TransientError, match=r"://bucket/p cannot be reached for a: no connection. Check"
        ) as raised:
            call()
        told = f"{raised.value} {raised.value!r} {objects!r} {raised.value.__cause__}"
        assert not [key for key in KEYS[scheme].values() if len(key) > 10 and key in told]


# Where the environment has no credentials each cloud asks a service of the machine: here it is one that is not there.
NOBODY = {
    "s3": ({"AWS_METADATA_ENDPOINT": "http://127.0.0.1:1"}, "Set AWS_ACCESS_KEY_ID"),
    "gs": (
        dict.fromkeys(("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"), "127.0.0.1:1"),
        "Set GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": ({"AZURE_MSI_ENDPOINT": "http://127.0.0.1:1/x"}, "Set AZURE_STORAGE_ACCOUNT_KEY"),
}


@pytest.fixture
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "GCE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("_no_credentials")
@pytest.mark.parametrize("scheme", NOBODY)
def test_without_credentials_it_says_how_to_give_some(scheme: str, monkeypatch: pytest.MonkeyPatch):
    service, cure = NOBODY[scheme]
    for name, value in service.items():
        monkeypatch.setenv(name, value)
    objects = BucketObjects(f"{scheme}://bucket/p", account="mybank" if scheme == "az" else "")

    with pytest.raises(TransientError, match=r"p: no credentials for .* does not answer\. " + cure):
        objects.get("a")


@pytest.mark.usefixtures("_no_credentials")
def test_settings_that_make_no_bucket_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="set 'account' beside 'to', or AZURE_STORAGE_ACCOUNT_NAME"):
        BucketObjects("az://bucket/p")
    with pytest.raises(UsageError, match=r"none\.pem cannot be read as certificates: No such file"):
        BucketObjects("s3://bucket", ca=str(tmp_path / "none.pem"))
    (tmp_path / "a.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"a\.pem cannot be read as certificates"):
        BucketObjects("s3://bucket", ca=str(tmp_path / "a.pem"))
    federated = tmp_path / "federated.json"
    federated.write_text(f'{{"type": "external_account", "secret": "{SECRET}"}}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(federated))
    with pytest.raises(
        StorageError, match=r"cannot be used\. Set GOOGLE_APPLICATION_CREDENTIALS to the file of a service"
    ):
        BucketObjects("gs://bucket/p")


def test_a_certificate_is_trusted_that_the_file_names_and_else_none(certificate: str):
    missing = (404, b"<Error><Code>NoSuchKey</Code></Error>", ("X-Hangs-Up", "yes"))
    with answering(missing, certificate=certificate) as (host, _):
        objects = [
            BucketObjects("s3://bucket", endpoint=f"https://{host}", ca=ca, options=KEYS["s3"])
            for ca in ("", certificate)
        ]
        with pytest.raises(StorageError, match=r"certificate is not trusted\. Name a file .* as 'ca' under 'http:'"):
            objects[0].get("a")
        assert objects[1].get("a") is None


def test_a_container_is_had_by_the_address_of_its_data_lake():
    objects = BucketObjects("abfss://lake@mybank.dfs.core.windows.net/a/b", options={"account_key": "AAAA"})

    assert objects.address == "az://lake/a/b"
    assert objects._store.config["account_name"] == "mybank"


def test_without_their_library_buckets_say_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "obstore", None)

    for scheme, title in (("s3", "S3"), ("gs", "Google Cloud Storage"), ("az", "Azure")):
        with pytest.raises(UsageError, match=rf"a lake in {title} needs obstore: install shroff\[objects\]"):
            BucketObjects(f"{scheme}://bucket/p")


@pytest.mark.parametrize("scheme", SCHEMES.values())
@pytest.mark.parametrize("rest", ["", "B", "ab", "a..b", "key:word@bucket", "bucket/../x", "bucket/a?b"])
def test_an_address_that_is_none_is_refused(scheme: str, rest: str):
    with pytest.raises(UsageError, match=f"is as {scheme}://bucket|{scheme}://bucket/prefix") as raised:
        BucketObjects(f"{scheme}://{rest}", endpoint="http://127.0.0.1:1")
    assert "word" not in str(raised.value)


@pytest.mark.parametrize("address", ["s3://AKIAX:geheim", "s3://bucket/AKIAX:geheim", "s3://AKIAX:geheim@bucket"])
def test_an_address_that_may_hold_a_credential_is_not_shown(address):
    with pytest.raises(UsageError, match="credentials come from the environment") as refused:
        bucket_and_prefix(address, "s3", re.compile("[a-z]+"))

    assert "geheim" not in str(refused.value)
