"""Every adapter is bound to the suite of its contract, and every suite refuses an adapter that is broken.

An adapter is what the package names as one, and what says of itself that it keeps every promise of a contract.
A binding is a test class below the suite, in a file that makes the adapter. That a broken one is refused is a test
beside it whose name says that the contract rejects it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain

import pytest

from tests.architecture.sources import ROOT, Module, all_modules, imports

# The suite of each contract, by the name that docstrings give it.
SUITES = {
    "streams.log.Log": "LogContract",
    "streams.pull.PulledSource": "PullContract",
    "streams.push.PushSource": "PushContract",
    "streams.source.Source": "SourceContract",
    "streams.sender.Sender": "SenderContract",
    "streams.sink.Sink": "SinkContract",
    "streams.lake.Objects": "ObjectsContract",
    "events.formats.schemas.SchemaRegistry": "SchemaRegistryContract",
    "events.formats.wire.Decoder": "FormatContract",
    "features.cluster.partitioned.Backend": "BackendContract",
    "worker.online_features.OnlineStore": "OnlineContract",
    "people.store.PeopleStore": "PeopleContract",
    "cases.sql.CaseStore": "CaseContract",
    "notices.sql.NoticeStore": "NoticesContract",
    "notices.mailer.Mailer": "MailerContract",
}
SUITE_FOLDERS = ("src/shroff/testing/contracts", "tests/support/contracts")
TREES = "models.learners.cluster.TreeCluster"  # a half of a backend, tried in tests/contracts/test_training_backends.py
# What the first word of an entry point's name is a contract for.
KINDS = {
    "backfill": "features.cluster.partitioned.Backend",
    "features": "worker.online_features.OnlineStore",
    "lake": "streams.lake.Objects",
    "log": "streams.log.Log",
    "mailer": "notices.mailer.Mailer",
    "pull": "streams.pull.PulledSource",
    "push": "streams.push.PushSource",
    "sender": "streams.sender.Sender",
    "sink": "streams.sink.Sink",
    "source": "streams.source.Source",
}
FOLDERS = (
    "shroff.adapters.",
    "shroff_plugins.analytics.bigquery",
    "shroff_plugins.analytics.summaries.summary_tables",
    "shroff_plugins.cluster.",
    "shroff_plugins.connectors.",
)
# Modules that no suite is bound to: whom they make, and the file that holds it to its promises.
ELSEWHERE = {
    "shroff.adapters.sources.files": ("FileSource", "tests/adapters/test_source_files.py"),  # they end: no live source
    "shroff.adapters.people.oidc": ("OidcProvider", "tests/contracts/test_people_oidc.py"),  # the only one there is
    "shroff_plugins.analytics.bigquery": ("BigQuery", "tests/analytics/test_warehouse.py"),  # the only one there is
    "shroff.adapters.lake.iceberg": ("IcebergTables", "tests/support/lake_tables.py"),  # with Delta's tables
    "shroff.adapters.documents": ("SqlDocuments", "tests/contracts/test_documents_stores.py"),  # the only one there is
    "shroff.adapters.jobs.sql": ("SqlJobs", "tests/contracts/test_jobs_stores.py"),  # the only one there is
    "shroff_plugins.analytics.summaries.summary_tables": (
        "SqlSummaries",
        "tests/contracts/test_summaries.py",
    ),  # the only one there is
}
# What the table of adapters names as tried against, and the fixture that starts it.
SERVERS = {
    "Apache Kafka": "kafka",
    "Apicurio": "registry",
    "Azurite": "azure",
    "FerretDB": "mongo",
    "MariaDB": "mariadb",
    "PostgreSQL": "postgres",
    "Redis": "redis",
    "aiosmtpd": "mail",
    "moto": "s3",
    "pstest": "pubsub",
}
HERE = {
    "Dask",
    "keys of the tests",
    "Spark",
    "SQLite",
    "files",
    "a provider over HTTP",
    "a receiver over HTTP",
}  # made by the tests beside
SAYS = re.compile(r"[Kk]eeps\s+every\s+promise\s+of\s+`([a-z_.]+\.[A-Z]\w+)`(?:\s+and\s+of\s+`([a-z_.]+\.[A-Z]\w+)`)?")
REJECTS = "the_contract_rejects_"
TABLE = ROOT / "docs" / "reference" / "adapters.md"
TESTS = ROOT / "tests" / "contracts"


@dataclass(frozen=True)
class File:
    """A file of tests: what it names outside of its imports, and the classes above each of its classes."""

    name: str
    words: frozenset[str]
    tests: frozenset[str]
    above: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, name: str, text: str) -> File:
        tree = ast.parse(text)
        body = ast.Module([item for item in tree.body if not isinstance(item, ast.Import | ast.ImportFrom)], [])
        nodes = list(ast.walk(body))
        words = {node.id for node in nodes if isinstance(node, ast.Name)}
        words |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        words |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        tests = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        return cls(name, frozenset(words), frozenset(tests), _above(tree))

    def binds(self, suite: str) -> bool:
        """Whether pytest runs this suite here."""
        return any(suite in above for name, above in self.above.items() if name.startswith("Test"))


def _above(tree: ast.Module) -> dict[str, frozenset[str]]:
    """All classes above each, as far as this file has them."""
    found: dict[str, frozenset[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = [base.id for base in node.bases if isinstance(base, ast.Name)]
            found[node.name] = frozenset([*names, *chain.from_iterable(found.get(name, ()) for name in names)])
    return found


@cache
def files() -> tuple[File, ...]:
    return tuple(File.read(path.name, path.read_text(encoding="utf-8")) for path in sorted(TESTS.glob("test_*.py")))


@cache
def adapters() -> Mapping[str, frozenset[str]]:
    """Each adapter with its contracts: what is an entry point, and what says so of itself."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    found = defaultdict(set)
    for name, place in named["shroff.adapters"].items():
        found[place.partition(":")[2]].add(KINDS[name.partition(".")[0]])
    for source in all_modules():
        for kind, contracts in said(source).items():
            found[kind] |= contracts
    return {kind: frozenset(contracts) for kind, contracts in found.items()}


def said(source: Module) -> dict[str, set[str]]:
    """What the classes of a module say that they keep."""
    return {
        node.name: {group for group in match.groups() if group}
        for node in classes(source)
        if (match := SAYS.search(ast.get_docstring(node) or ""))
    }


def classes(source: Module) -> list[ast.ClassDef]:
    return [node for node in source.nodes if isinstance(node, ast.ClassDef)]


def is_used(module: str, imported: Iterable[str]) -> bool:
    return any(text == module or text.startswith(f"{module}.") for text in imported)


def unbound(kind: str, contract: str, among: Iterable[File]) -> bool:
    """Whether no file binds the suite of this contract and makes this adapter."""
    return not any(item.binds(SUITES[contract]) and kind in item.words for item in among)


def suites() -> set[str]:
    """The suites, shipped or of this project alone, without those that are a part of another one."""
    files = [path for folder in SUITE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    above = {
        name: names for path in files for name, names in _above(ast.parse(path.read_text(encoding="utf-8"))).items()
    }
    parts = {name for names in above.values() for name in names}
    return {name for name in above if name.endswith("Contract") and name not in parts}


def rows() -> list[tuple[str, str, str]]:
    """The table of adapters: name, tier, and what each is tried against."""
    cells = [line.strip("|").split("|") for line in TABLE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [(cell[1].strip().strip("`"), cell[4].strip(), cell[5].strip()) for cell in cells[2:]]


def test_every_adapter_is_bound_to_the_suite_of_its_contract():
    found = [
        f"{kind}: {contract}"
        for kind, contracts in adapters().items()
        for contract in contracts - {TREES}
        if unbound(kind, contract, files())
    ]

    assert len(adapters()) > 20
    assert found == []


def test_every_module_of_an_adapter_is_a_part_of_one_that_is_bound():
    ours = [module for module in all_modules() if module.name.startswith(FOLDERS) and not module.is_package]
    uses = {our.name: {name for name in imports(our) if name.startswith(FOLDERS)} for our in ours}
    reached = {our.name for our in ours if adapters().keys() & {kind.name for kind in classes(our)}}
    while more := {name for item in reached for name in uses if is_used(name, uses[item])} - reached:
        reached |= more

    assert uses.keys() - reached == set(ELSEWHERE)


@pytest.mark.parametrize(("kind", "path"), ELSEWHERE.values())
def test_what_no_suite_is_bound_to_is_held_elsewhere(kind, path):
    assert kind in File.read(path, (ROOT / path).read_text(encoding="utf-8")).words


def test_every_suite_is_that_of_a_contract():
    assert suites() == set(SUITES.values())


@pytest.mark.parametrize("suite", sorted(set(SUITES.values())))
def test_every_suite_refuses_an_adapter_that_is_broken(suite):
    assert [file.name for file in files() if suite in file.words and any(REJECTS in name for name in file.tests)]


def test_every_adapter_stands_in_the_table_with_a_server_that_its_suite_runs_against():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    places = {name: place.partition(":")[2] for name, place in named["shroff.adapters"].items()}
    table = rows()

    assert {name for name, _, _ in table} >= set(places)
    for name, tier, tried in table:
        servers = {part.strip() for part in tried.split(",")}
        assert tier in {"1", "2", ""}, name
        assert servers, name
        assert servers <= SERVERS.keys() | HERE, name
        if name in places:
            ours = [file for file in files() if places[name] in file.words]
            for server in servers & SERVERS.keys():
                assert any(SERVERS[server] in our.words for our in ours), (name, server)


def test_a_missing_binding_is_found():
    text = "from shroff.adapters.x import {0}\nclass Test{0}(SinkContract):\n    def make(self):\n        return {1}()"
    bound = File.read("test_x.py", text.format("NewSink", "NewSink"))
    imported = File.read("test_x.py", text.format("NewSink", "OtherSink"))

    assert not unbound("NewSink", "streams.sink.Sink", [bound])
    assert unbound("NewSink", "streams.sink.Sink", [imported])
    assert unbound("NewSink", "streams.source.Source", [bound])


def test_a_promise_is_read_from_a_docstring_over_two_lines():
    text = 'class New:\n    """X. Keeps every promise of `streams.log.Log` and\n    of `streams.sink.Sink`."""'

    assert said(Module("shroff.planted", is_package=False, text=text)) == {
        "New": {"streams.log.Log", "streams.sink.Sink"}
    }
