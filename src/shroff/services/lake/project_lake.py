"""Lake of an opened project: its location, and the actions on it."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shroff.errors import ShroffError, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.language.values import named_duration
from shroff.project.settings.installed import first_schemes, kind_at, settings_of
from shroff.project.settings.system import System, filled
from shroff.runtime import environment
from shroff.runtime.entry_points import load_entry
from shroff.runtime.values import FrozenStruct
from shroff.services.parts import ProjectPart
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.settings import ID_PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shroff.adapters.lake.iceberg import IcebergTables
    from shroff.features.cluster.partitioned import Cluster
    from shroff.lake.check import LakeCheck
    from shroff.lake.cluster_replay_files import ReplayRun
    from shroff.lake.compaction import Compaction
    from shroff.lake.publication import Published, TableFormat
    from shroff.lake.reader import LakeReader
    from shroff.lake.writer import LakeReport, LakeWriter
    from shroff.monitoring.doctor import Finding
    from shroff.runtime.progress import Progress
    from shroff.services.context import ProjectContext
    from shroff.streams.lake_manifest import File, LakeState, Layout

IN_FOLDER = "folder"
LAYOUTS = ("parquet", "json", "both")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")


class Lake(FrozenStruct):
    """An open lake, for commands and programs.

    `opened` opens its objects again, in any process. Each commit is published in the `formats`.
    """

    project: ProjectContext
    objects: RetriedObjects
    layout: Layout
    opened: Callable[[], Objects]
    formats: Sequence[TableFormat] = ()

    @property
    def address(self) -> str:
        return self.objects.address

    @property
    def state(self) -> LakeState:
        from shroff.streams.lake_manifest import read_state

        return read_state(self.objects)

    def write(self, progress: Progress | None = None) -> LakeReport:
        """Write the log's records that the lake lacks (see `lake.writer`)."""
        with self._writer() as writer:
            return writer.write(self.layout, progress)

    def compact(self, *, files_min: int | None = None, grace: str = "1d") -> Compaction:
        """Merge small files, and delete files that were replaced longer ago than `grace`."""
        from shroff.lake.compaction import FILES_MIN, TARGET_BYTES

        least = FILES_MIN if files_min is None else files_min
        if least < 2:
            raise UsageError(f"at least 2 files are needed to merge, not {least}.")
        grace_ms = named_duration("the grace period", grace)
        with self._writer(needs_tables=True) as writer:
            return writer.compact(files_min=least, target_bytes=TARGET_BYTES, grace_ms=grace_ms)

    def publish(self) -> list[Published]:
        """Check every published table and update it from the manifests; Delta tables if no format is set.

        Raises: TablesAwayError if a catalog cannot be reached.
        """
        from shroff.lake.delta import DeltaTables
        from shroff.lake.publication import publish

        state = self.state
        formats = self.formats or [DeltaTables(self.objects)]
        return [publish(self.objects, state, format_, is_thorough=True) for format_ in formats]

    @contextmanager
    def _writer(self, *, needs_tables: bool = False) -> Iterator[LakeWriter]:
        """Open a writer; at the end, warn about tables that could not be published.

        Args:
            needs_tables: Raise if a table cannot be reached, as it may name deleted files; else the next run retries
            it.
        """
        from shroff.lake.publication import TablesAwayError, publish
        from shroff.lake.writer import LakeWriter

        problems: dict[str, None] = {}
        formats = list(self.formats)

        def told(state: LakeState) -> None:
            for format_ in list(formats):
                try:
                    problems.update(dict.fromkeys(publish(self.objects, state, format_).problems))
                except (TablesAwayError, UsageError) as error:
                    if needs_tables:
                        raise
                    formats.remove(format_)
                    problems[str(error)] = None

        with self.project.log.reading() as log:
            yield LakeWriter(self.objects, log, self.project.now_ms, publish=told)
        self.project.warnings += problems

    def check(self, progress: Progress | None = None) -> LakeCheck:
        """Read and check every file and document (see `lake.check`).

        Raises: StateError if documents need the log and it is not the lake's.
        """
        from shroff.lake.check import check
        from shroff.lake.writer import LakeWriter

        state = self.state
        if state.is_whole:
            return check(self.objects, state, progress)
        with self.project.log.reading() as log:
            LakeWriter(self.objects, log, self.project.now_ms).check_log(state)
            return check(self.objects, state, progress, log)

    def files(self, folder: str = "") -> list[File]:
        """List the lake's current files, sorted by path, or those of a folder such as `events/type=payment`."""
        inside = f"{folder.strip('/')}/" if folder else ""
        files = self.state.files
        return [files[path] for path in sorted(files) if path.startswith(inside)]

    def decide(
        self, out: Path, cluster: Cluster, *, places: int | None = None, progress: Progress | None = None
    ) -> ReplayRun:
        """Decide the lake's events on a cluster, into a folder of files (see `lake.cluster_replay_files`)."""
        from shroff.lake.cluster_replay_files import decide_on_cluster

        models = self.project.paths.models
        return decide_on_cluster(
            self.objects, self.opened, models, cluster, out.absolute(), places=places, progress=progress
        )

    def reader(self) -> LakeReader:
        from shroff.lake.reader import LakeReader

        return LakeReader(self.objects)


class Lakes(ProjectPart):
    """The lake of a project."""

    @contextmanager
    def open(self, to: str | None = None) -> Iterator[Lake]:
        """Open the lake of shroff.yaml, or another one, to write, check and read it.

        Args:
            to: A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.

        Raises: UsageError if no lake is named, or its address is invalid.
        """
        options: JsonObject = dict(self._systems.lake.options) if self._systems.lake is not None else {}
        if to is None and not options:
            raise UsageError("no lake is named. Add 'lake: ./lake' or 'lake: s3://bucket/prefix' to shroff.yaml.")
        layout = _layout(options)
        with self.objects_at(options, to) as objects, self._formats(objects, options, to) as formats:
            yield Lake(self._context, objects, layout, self._opening(options, to), formats)

    @contextmanager
    def _formats(
        self, objects: RetriedObjects, options: JsonMapping, to: str | None = None
    ) -> Iterator[list[TableFormat]]:
        """Open the formats in which a lake is published. The catalog has tables only for the lake of shroff.yaml."""
        from shroff.lake.delta import DeltaTables

        formats: list[TableFormat] = [DeltaTables(objects)] if options.get("delta") == "true" else []
        with ExitStack() as stack:
            if "catalog" in options and to is None:
                formats.append(stack.enter_context(self._catalog(objects)))
            yield formats

    @contextmanager
    def _catalog(self, objects: RetriedObjects) -> Iterator[IcebergTables]:
        """Open the Iceberg tables of shroff.yaml; the catalog is contacted at first use."""
        from shroff.adapters.lake.iceberg import IcebergTables, location_of, settings_in

        assert self._systems.lake is not None
        options = filled(self._systems.lake).options
        settings = settings_in(options["catalog"], self._paths.folder, options)
        account = options.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        with closing(IcebergTables(objects, settings, location_of(objects.address, account))) as tables:
            yield tables

    def look(self, pruned: int) -> Finding:
        """Check the lake of shroff.yaml, including its tables and their catalog."""
        from shroff.monitoring.doctor_systems import look_at_lake

        assert self._systems.lake is not None
        options = self._systems.lake.options
        return look_at_lake(self.reader, lambda objects: self._formats(objects, options), pruned)

    def pruned(self) -> int:
        """Return the last sequence number that only the lake has; 0 if there is none, or no readable log."""
        with suppress(ShroffError), self._log.reading() as log:
            return log.pruned_to()
        return 0

    @contextmanager
    def reader(self) -> Iterator[LakeReader]:
        """Open the lake of shroff.yaml for reading; works even if the project has errors."""
        from shroff.lake.reader import LakeReader

        assert self._systems.lake is not None
        with self.objects_at(self._systems.lake.options) as objects:
            yield LakeReader(objects)

    @contextmanager
    def objects_at(self, options: JsonMapping, to: str | None = None) -> Iterator[RetriedObjects]:
        """Open a folder or bucket by its options (`to`, `endpoint`, `region`, `account`); argument `to` overrides one.

        Raises: UsageError for an invalid address.
        """
        objects = self._opening(options, to)()
        try:
            yield RetriedObjects(objects)
        finally:
            objects.close()

    def _opening(self, options: JsonMapping, to: str | None) -> Callable[[], Objects]:
        """Return a function that opens the object store; it can be pickled for other processes."""
        address = environment.fill_variables(str(options["to"]), "lake") if to is None else to
        kind, at = _adapter(address, Path.cwd() if to else self._paths.folder)
        adapter = load_entry(f"lake.{kind}")
        if kind == IN_FOLDER:
            return partial(adapter, at)
        declared = settings_of("lake", kind)
        own = filled(System("lake", {key.name: options[key.name] for key in declared.keys if key.name in options}))
        adapter_options = dict(declared.settled(own.options, self._paths.folder))
        if declared.is_called:
            called = self._systems.called(
                System("lake", {"url": adapter_options.get("endpoint", "")}), self._paths.folder
            )
            adapter_options |= {name: called.text(name) for name in ("proxy", "ca") if called.text(name)}
        return partial(adapter, at, **adapter_options)

    @property
    def folder(self) -> Path | None:
        """Return the folder of the lake in shroff.yaml; None if it is a bucket."""
        assert self._systems.lake is not None
        address = environment.fill_variables(str(self._systems.lake.options["to"]), "lake")
        kind, at = _adapter(address, self._paths.folder)
        return Path(at) if kind == IN_FOLDER else None


def lake_mistake(options: JsonMapping) -> str:
    """Return the error in a lake's settings; empty if none. An address in a variable is checked when the lake is
    opened.
    """
    address = str(options["to"])
    try:
        _layout(options)
        if not address.startswith("${"):
            _adapter(address, Path())
    except UsageError as error:
        return str(error)
    return ""


def _adapter(address: str, folder: Path) -> tuple[str, str]:
    """Return the kind of an address, and the address in its adapter's form.

    Raises: UsageError for an unknown scheme.
    """
    scheme = _SCHEME.match(address)
    if scheme is None:
        return IN_FOLDER, str(folder / Path(address).expanduser())
    if not (kind := kind_at("lake", scheme[1])):
        raise UsageError(f"a lake is in a folder, at {first_schemes('lake')}, not at {scheme[1]}://.")
    return kind, address


def _layout(options: JsonMapping) -> Layout:
    """Raises: UsageError for invalid options."""
    from shroff.lake.documents import FOLDER, TAKEN
    from shroff.streams.lake_manifest import DocumentFolder, Layout

    layout, documents = options.get("layout", LAYOUTS[0]), options.get("documents", {})
    if layout == "json" and (options.get("delta") == "true" or "catalog" in options):
        raise UsageError("lake: delta and catalog publish Parquet files, so they need layout parquet or both.")
    if layout == "parquet":
        if documents:
            raise UsageError("lake: documents are for layout json or both, and the layout is parquet.")
        return Layout()
    if not documents:
        raise UsageError(f"lake: layout {layout} needs documents, such as {{ transaction: {{ of: payment }} }}.")
    for name, told in documents.items():
        if not FOLDER.fullmatch(name) or name in TAKEN:
            raise UsageError(f"lake: documents cannot be in a folder {name!r}; choose another name.")
        if told.get("sources") and told["of"] != "labels":
            raise UsageError(f"lake: sources are for labels, and {name} is of {told['of']}.")
        if told.get("file") and (told.get("lines") or told["of"] == "decisions"):
            raise UsageError(f"lake: file names objects of one document by its id, so {name} has none.")
    folders = {
        name: DocumentFolder(
            told["of"], int(told.get("lines", 0)), tuple(told.get("sources", ())), told.get("file", ID_PLACEHOLDER)
        )
        for name, told in documents.items()
    }
    return Layout(layout == "both", folders)
