"""The registry: a folder for each model, written completely or not at all, and never changed.

    models/m-20260701-3f2a/
      manifest.json   id, event, inputs, origin; the SHA-256 of every other file
      model.json      the model in its library's own format, never a pickle
      metrics.json    measurements
      gates.json      [{"name", "value", "limit", "passed"}]
      ...             plots and reports

A model's digest is the SHA-256 of its manifest without `run`, so it identifies all that was learned and measured. `run`
has what differs each time the same is learned: the time, and the hashes of files that contain the time or the machine's
speed. So training the same model again, here or elsewhere, results in the same id and digest.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import field
from msgspec.json import decode as from_json

from shroff.errors import RefusalError, RegistryError, StateError, StorageError, UsageError, nearest, os_words
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.models.in_force import FILE, ID
from shroff.models.model import RUN, Model, digest_of, pretty, refuse_pickle
from shroff.runtime.atomic_files import foreign, sync_folder
from shroff.runtime.state_folder import FOLDER_MODE, make_folder, open_private
from shroff.runtime.values import FrozenStruct

MANIFEST = "manifest.json"
METRICS = "metrics.json"
GATES = "gates.json"
REPORT = "report.html"
CARD = "card.html"  # made at promotion, and possibly again later, so no hash covers it
TESTED = "tested.parquet"
_RECORDS = (METRICS, GATES, REPORT, TESTED)  # measurements; plots are in folders
_SOURCE = "source."  # prefix of an imported file in its own format
_OF_A_RUN = (GATES, REPORT)  # contain a latency or the time
FILE_BYTES_MAX = 1 << 30
_ID = re.compile(ID)
_NAME = re.compile(r"^([A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")
_UNFINISHED = re.compile(r"\.[a-z0-9][a-z0-9-]{0,63}\.[a-z0-9_]{8}")  # in the form of `tempfile.mkdtemp`
_LEFT_S = 86_400.0  # longer than any process writes a model
_RESTORE = "Restore it from a backup or from version control"
_CURE = (
    "Restore the folder from a backup or from version control, or activate another model with "
    "'shroff models rollback EVENT' or 'shroff models promote ID'"
)


class UnknownModelError(RefusalError):
    """There is no such model."""

    status = 404
    code = "no-model"
    title = "There is no such model"


class GateResult(FrozenStruct):
    """The result of a gate: the value, its limit in words, and whether it passed. `note` describes the comparison."""

    name: str
    value: float | None
    limit: str
    passed: bool
    note: str = ""

    @property
    def words(self) -> str:
        """The gate as a waiver names it."""
        return f"{self.name} {self.limit}"


class _TrainingRun(msgspec.Struct, frozen=True):
    """Fields of a manifest that differ each time the same model is trained."""

    made_at: str = ""
    files: TextDict = {}


class _Manifest(FrozenStruct):
    id: str
    event: str
    files: TextDict
    learner: str = ""
    run: _TrainingRun = _TrainingRun()


class Stored(FrozenStruct):
    """A model as stored in its folder, every hash checked. `files` excludes the manifest.

    Damaged files that scoring does not read are left out; `damaged` has the reasons by name.
    """

    id: str
    digest: str
    event: str
    manifest_bytes: bytes
    files: Mapping[str, bytes]
    damaged: TextMapping = field(default_factory=dict)

    def file(self, name: str) -> bytes | None:
        """Return a file; None if there is none of this name. Raises: RegistryError if it is damaged."""
        if name in self.damaged:
            raise RegistryError(f"{self.damaged[name]} {_RESTORE}.")
        return self.files.get(name)

    @property
    def manifest(self) -> JsonObject:
        """Manifest of the model; with `made_at` for readers."""
        content: JsonObject = from_json(self.manifest_bytes)
        run = content.get(RUN, {})
        return {**content, "made_at": run["made_at"]} if "made_at" in run else content

    @property
    def metrics(self) -> JsonObject:
        content: JsonObject = from_json(self.files.get(METRICS, b"{}"))
        return content

    @property
    def gates(self) -> list[GateResult]:
        return from_json(self.files.get(GATES, b"[]"), type=list[GateResult])

    @property
    def failed(self) -> list[GateResult]:
        return [gate for gate in self.gates if not gate.passed]


class ModelSummary(FrozenStruct):
    """One line of a list of models. If it cannot score, `problem` says why, and only its id is known.

    `is_judged` says whether its folder has the file of gates, which may be empty; `damaged` describes damaged files
    that scoring does not read.
    """

    id: str
    digest: str = ""
    event: str = ""
    learner: str = ""
    made_at: str = ""
    failed: tuple[str, ...] = ()
    problem: str = ""
    is_judged: bool = True
    damaged: tuple[str, ...] = ()


def _load(manifest: bytes, files: Mapping[str, bytes]) -> Model:
    from shroff.models.loaded import load_model  # its libraries take time that lists of models need not

    return load_model(manifest, files)


class Registry:
    """The models of one project.

    Args:
        folder: Folder of the models; created with the first one.
        load: Builds a model from its manifest and its other files.
    """

    def __init__(self, folder: Path, load: Callable[[bytes, Mapping[str, bytes]], Model] = _load) -> None:
        self.folder = folder
        self._load = load
        self._loaded: dict[tuple[str, str], Model] = {}

    def ids(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and _ID.fullmatch(path.name))

    def summaries(self) -> list[ModelSummary]:
        """Return summaries of all models, also damaged ones. Cost: reads and hashes each file."""
        return [self._summary(id_) for id_ in self.ids()]

    def _summary(self, id_: str) -> ModelSummary:
        try:
            stored = self.read(id_)
            manifest = from_json(stored.manifest_bytes, type=_Manifest)
            failed = tuple(gate.name for gate in stored.failed)
        except StateError as error:
            return ModelSummary(id_, problem=str(error))
        is_judged = GATES in stored.files
        made_at = manifest.run.made_at
        damaged = tuple(stored.damaged.values())
        return ModelSummary(id_, stored.digest, stored.event, manifest.learner, made_at, failed, "", is_judged, damaged)

    def add(
        self,
        at_ms: int,
        manifest: JsonMapping,
        files: Mapping[str, bytes],
        *,
        metrics: JsonMapping,
        gates: Sequence[GateResult],
        page: Callable[[JsonMapping], bytes],
    ) -> tuple[Stored, bool]:
        """Add a model under a new id; return it and whether it is new. Training the same model again returns the
        existing one.

        The id is `m-YYYYMMDD-` and a prefix of a hash of what was learned, long enough to be unique.

        Args:
            at_ms: Time for the id: the as-of time of the training.
            manifest: As for `write`, without `id`.
            page: Renders its report from the manifest with its id.
        """
        all_files = {**files, METRICS: pretty(metrics)}
        day = datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y%m%d")
        content = digest_of(_manifest_of(manifest, all_files))
        for length in range(4, 33):
            with_id = {"id": f"m-{day}-{content[:length]}", **manifest}
            if not (self.folder / with_id["id"]).exists():
                return self.write(with_id, {**files, REPORT: page(with_id)}, metrics=metrics, gates=gates), True
            with suppress(StateError):  # a damaged model is not the same
                existing = self.read(with_id["id"])
                if existing.digest == digest_of(_manifest_of(with_id, all_files)) and not existing.damaged:
                    return existing, False
        raise StorageError(f"{self.folder} has a folder of each id of this model, and each is another or damaged.")

    def write(
        self,
        manifest: JsonMapping,
        files: Mapping[str, bytes],
        *,
        metrics: JsonMapping | None = None,
        gates: Sequence[GateResult] = (),
    ) -> Stored:
        """Write a new model into the registry, completely or not at all, durable on return.

        Args:
            manifest: `id`, `event`, `inputs` and other data; `files` is filled in here, and `made_at` moves to `run`.
            files: The model in its library's own format, and other files, by name.

        Raises: UsageError if the id exists or a file is a pickle; StorageError if writing fails, which leaves nothing
        behind.
        """
        id_ = str(manifest["id"])
        if not _ID.fullmatch(id_):
            raise UsageError(f"{id_!r} is not an id of a model: lower-case letters, digits and -, at most 64.")
        all_files = {**files, GATES: pretty(gates)}
        if metrics is not None:
            all_files[METRICS] = pretty(metrics)
        for name, data in all_files.items():
            if not _NAME.fullmatch(name) or name == MANIFEST:
                raise UsageError(f"{name!r} is not a name for a file of a model.")
            refuse_pickle(name, data)
        self._put(id_, {**all_files, MANIFEST: _manifest_of(manifest, all_files)})
        return self.read(id_)

    def _put(self, id_: str, files: Mapping[str, bytes]) -> None:
        target = self.folder / id_
        if target.exists():
            raise UsageError(
                f"there is a model {id_} already, and a model is never changed; give the new one another id."
            )
        try:
            make_folder(self.folder)
            temporary = Path(tempfile.mkdtemp(prefix=f".{id_}.", dir=self.folder))
            try:
                for path in self.unfinished(temporary.stat().st_mtime, _LEFT_S):
                    shutil.rmtree(path, ignore_errors=True)
                for name, data in files.items():
                    _write(temporary / name, data)
                for folder in {temporary, *(path.parent for path in temporary.rglob("*"))}:
                    sync_folder(folder)
                temporary.chmod(FOLDER_MODE)  # a temporary folder is private to its creator
                temporary.rename(target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            sync_folder(self.folder)
        except OSError as error:
            raise StorageError(f"{os_words(error, target, ' cannot be written')}. Nothing of it is there.") from None

    def unfinished(self, now_s: float, age_s: float = 3_600.0) -> list[Path]:
        """Return folders left behind by processes killed while writing a model, at least `age_s` old."""
        folders = []
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # another process has just finished it
                if _UNFINISHED.fullmatch(path.name) and now_s - path.stat().st_mtime > age_s:
                    folders.append(path)
        return folders

    def read(self, id_: str, digest: str | None = None) -> Stored:
        """Read a model's files, and check every hash; with `digest` also that of its manifest.

        Files that scoring does not read may be damaged: these are measurements.

        Raises: UnknownModelError if there is no such model and no digest was given; RegistryError if an active model is
        missing, or if a file for scoring is damaged or does not match the digest.
        """
        folder = self.folder / id_
        if not _ID.fullmatch(id_) or not folder.is_dir():
            if digest is not None:
                raise RegistryError(f"the folder models/{id_} of an active model is missing. {_CURE}")
            near = nearest(id_, self.ids()) or "'shroff models list' names those that there are."
            raise UnknownModelError(f"there is no model {id_!r}. {near}")
        text = _read(folder, id_, MANIFEST)
        actual_digest = digest_of(text)
        if digest is not None and actual_digest != digest:
            digest_length = next((count for count in range(12, 64, 4) if actual_digest[:count] != digest[:count]), 64)
            message = (
                f"its SHA-256 is {actual_digest[:digest_length]}…, and the one in {FILE} is {digest[:digest_length]}…"
            )
            raise _damaged(id_, MANIFEST, message)
        try:
            manifest = from_json(text, type=_Manifest)
        except ValueError as error:
            raise _damaged(id_, MANIFEST, str(error)) from None
        if manifest.id != id_:
            raise _damaged(id_, MANIFEST, f"it is of the model {manifest.id!r}")
        hashes = manifest.run.files | manifest.files  # the digest does not cover files under `run`
        files: dict[str, bytes] = {}
        damaged: TextDict = {}
        for name, expected_hash in hashes.items():
            try:
                files[name] = _checked(folder, id_, name, expected_hash)
            except StateError as error:
                if name in manifest.files and _scores(name):
                    raise
                damaged[name] = str(error).removesuffix(f" {_CURE}")
        return Stored(id_, actual_digest, manifest.event, text, files, damaged)

    def texts(self, id_: str) -> list[tuple[str, str]]:
        """Return the manifest of a model, in the bytes that its digest hashes, and the files that these name."""
        stored = self.read(id_)
        manifest = from_json(stored.manifest_bytes, type=JsonObject)
        manifest.pop(RUN, None)
        files = {name: stored.files[name] for name in manifest["files"] if _scores(name)}
        return [(name, data.decode()) for name, data in {MANIFEST: pretty(manifest), **files}.items()]

    def load(self, id_: str, digest: str | None = None) -> Model:
        """Load a model that can score, once for each digest.

        Raises: as `read`; RegistryError if no model can be built.
        """
        if digest is not None and (id_, digest) in self._loaded:
            return self._loaded[id_, digest]
        stored = self.read(id_, digest)
        file_names = from_json(stored.manifest_bytes, type=_Manifest).files
        # Only files that the digest covers
        files = {name: data for name, data in stored.files.items() if name in file_names}
        try:
            model = self._load(stored.manifest_bytes, files)
        except (UsageError, StateError) as error:
            raise RegistryError(f"models/{id_} cannot be loaded: {error}") from error
        self._loaded[id_, stored.digest] = model
        return model


def _manifest_of(manifest: JsonMapping, files: Mapping[str, bytes]) -> bytes:
    hashes = {name: sha256(data).hexdigest() for name, data in sorted(files.items())}
    learnt = {name: item for name, item in manifest.items() if name != "made_at"}
    run: JsonObject = {"files": {name: digest for name, digest in hashes.items() if name in _OF_A_RUN}}
    run |= {"made_at": manifest["made_at"]} if "made_at" in manifest else {}
    return pretty(
        {**learnt, "files": {name: digest for name, digest in hashes.items() if name not in _OF_A_RUN}, RUN: run}
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(FOLDER_MODE, exist_ok=True)
    with open_private(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path, id_: str, name: str) -> bytes:
    path = folder / name
    try:
        size = path.stat().st_size
        problem = foreign(folder.parents[1], path)
        if problem:
            raise _damaged(id_, name, problem[0].removesuffix("."))
        if size > FILE_BYTES_MAX:
            raise _damaged(id_, name, f"it is larger than {FILE_BYTES_MAX // 2**20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(id_, name, "it is not there") from None
    except OSError as error:
        raise StorageError(os_words(error, path, " cannot be read")) from None


def _scores(name: str) -> bool:
    """Whether scoring may read a file; an invalid name counts as such, so that it is never ignored."""
    is_record = name in _RECORDS or name.startswith(_SOURCE) or "/" in name
    return not (is_record and _NAME.fullmatch(name))


def _checked(folder: Path, id_: str, name: str, expected_hash: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise _damaged(id_, MANIFEST, f"it names a file {name!r}, which is none of a model")
    data = _read(folder, id_, name)
    try:
        refuse_pickle(name, data)
    except UsageError as error:
        raise RegistryError(f"models/{id_}: {error}") from None
    if sha256(data).hexdigest() != expected_hash:
        raise _damaged(id_, name, "its SHA-256 is not the one in manifest.json")
    if name == GATES:
        try:
            from_json(data, type=list[GateResult])
        except ValueError as error:
            raise _damaged(id_, GATES, str(error)) from None
    return data


def _damaged(id_: str, name: str, reason: str) -> RegistryError:
    return RegistryError(f"models/{id_}/{name} is damaged: {reason}. {_CURE}")
