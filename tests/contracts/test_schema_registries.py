"""The contract of schema registries, bound to one in memory and to a real one; and it rejects those that break it."""

from __future__ import annotations

import inspect
import json
from contextlib import closing

import pytest

from shroff.adapters.registry.http import HttpRegistry
from shroff.errors import SchemasAwayError, UsageError
from tests.support.contracts.schemas import SchemaRegistryContract
from tests.support.registry_memory import MemoryRegistry


class TestMemoryRegistry(SchemaRegistryContract):
    def make_registry(self) -> MemoryRegistry:
        return MemoryRegistry()


@pytest.mark.slow
class TestHttpRegistry(SchemaRegistryContract):
    @pytest.fixture(autouse=True)
    def _server(self, registry):
        self.address = registry.address

    def make_registry(self) -> HttpRegistry:
        return HttpRegistry(self.address)


# ---- registries that break a promise


class ForgetsIds(MemoryRegistry):
    def schema(self, id: int) -> str | None:
        return None


class KnowsAnyId(MemoryRegistry):
    def schema(self, id: int) -> str | None:
        return super().schema(id) or '{"type": "record", "name": "r", "fields": []}'


class GivesTheFirst(MemoryRegistry):
    def latest(self, subject: str):
        return self._subjects.get(subject, [None])[0]


class CountsAgain(MemoryRegistry):
    def register(self, subject: str, schema: str) -> int:
        return super().register(subject, json.dumps({**json.loads(schema), "doc": str(len(self._texts))}))


class TakesAnything(MemoryRegistry):
    def register(self, subject: str, schema: str) -> int:
        try:
            return super().register(subject, schema)
        except UsageError:
            return 0


class MixesSubjects(MemoryRegistry):
    def latest(self, subject: str):
        return super().latest(subject.partition("/")[0])


class RefusesAll(MemoryRegistry):
    def refusal(self, subject: str, schema: str) -> str:
        return "no"


@pytest.mark.parametrize(
    "kind", [ForgetsIds, KnowsAnyId, GivesTheFirst, CountsAgain, TakesAnything, MixesSubjects, RefusesAll]
)
def test_the_contract_rejects_a_registry_that_breaks_it(kind):
    named = inspect.getmembers(SchemaRegistryContract, inspect.isfunction)
    tests = [test for name, test in named if name.startswith("test_")]
    broken = [test.__name__ for test in tests if breaks(test, kind())]

    assert 0 < len(broken) < len(tests)


def breaks(test, schemas) -> bool:
    try:
        test(SchemaRegistryContract(), schemas)
    except (AssertionError, AttributeError, TypeError, ValueError, pytest.fail.Exception):
        return True
    return False


# ---- what only a registry over HTTP has


@pytest.mark.slow
def test_a_schema_that_the_registry_refuses_is_refused_in_its_words(registry):
    schema = json.dumps({"type": "record", "name": "level", "fields": [{"name": "a", "type": "string"}]})
    other = json.dumps({"type": "record", "name": "level", "fields": [{"name": "a", "type": "boolean"}]})
    with closing(HttpRegistry(registry.address)) as asked:
        asked.register("level-value", schema)
        asked._ask("PUT", "/config/level-value", {"compatibility": "BACKWARD"})

        assert asked.level("level-value") == "BACKWARD"
        assert "BACKWARD" in asked.refusal("level-value", other)
        assert "BOOLEAN" in asked.refusal("level-value", other)
        with pytest.raises(UsageError, match=r"refuses the schema of level-value.*BOOLEAN"):
            asked.register("level-value", other)


@pytest.mark.slow
def test_a_wrong_path_is_no_unknown_schema(registry):
    with (
        closing(HttpRegistry(registry.address.removesuffix("/apis/ccompat/v7"))) as asked,
        pytest.raises(SchemasAwayError, match=r"answers 404.*/apis/ccompat/v7"),
    ):
        asked.schema(1)
