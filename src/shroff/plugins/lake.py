"""The lake of a project: object stores, manifests, reading and writing of its files."""

from __future__ import annotations

from shroff.lake.files import data_of, opened, sorted_by_place
from shroff.lake.reader import LakeReader, NoLakeError
from shroff.lake.rows import empty_tables, field_columns
from shroff.lake.writer import LakeWriter
from shroff.services.lake.project_lake import Lakes
from shroff.streams.lake import Objects, damaged
from shroff.streams.lake_manifest import File, Write, read_manifest
