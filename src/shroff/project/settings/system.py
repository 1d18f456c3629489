"""One external system of shroff.yaml, such as a sink or a database: its kind and its settings.

`settings.systems` and `settings.sources` parse the settings; the code that opens a system calls `filled` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shroff.errors import Problem, UsageError
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.shapes import Plain
from shroff.language.values import parse_duration
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node
from shroff.project.settings.installed import settings_of
from shroff.project.settings.systems_keys import default_of
from shroff.runtime import environment
from shroff.runtime.values import FrozenStruct


class System(FrozenStruct):
    """An external system: its kind, and its settings as written, with `${NAME}` for environment variables.

    The repr shows only the kind, because settings may contain credentials.
    """

    kind: str
    options: JsonMapping

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def text(self, name: str, default: str = "") -> str:
        value = self.options.get(name, default)
        assert isinstance(value, str)
        return value

    @property
    def starts_now(self) -> bool:
        """Whether a new sink starts with future rows only."""
        return self.text("start", default_of("sink", self.kind, "start")) == "now"

    @property
    def registry(self) -> TextMapping:
        """The settings of the schema registry, its address under `url`; empty without a registry."""
        registry = self.options.get("registry", {})
        return {"url": registry} if isinstance(registry, str) else registry

    def part_types(self, named: Iterable[tuple[str, str]], word: str) -> dict[str, str | None]:
        """Return the event type of each topic or queue of a source; None if each message has its own type.

        Args:
            named: Pairs of an event type, or `any`, and a topic. The topic of labels is added from the settings.
            word: The word for a topic in messages.

        Raises: UsageError if a topic is named twice, or is also the one for dead letters.
        """
        pairs = [(topic, None if type_ == "any" else type_) for type_, topic in named]
        labels = self.text("labels")
        if labels:
            pairs.append((labels, "label"))
        types = dict(pairs)
        if len(types) < len(pairs):
            raise UsageError(f"source: a {word} has one type of events. Name it once, under 'any' if it has several.")
        if self.text("dead_letters") in types:
            raise UsageError(f"source: dead letters go to another {word} than those that are read.")
        return types

    def duration_ms(self, name: str, default: str) -> int:
        return parse_duration(self.text(name, default))


def filled(system: System) -> System:
    """Replace `${NAME}` in all settings from the environment. Raises: UsageError as `environment.fill_variables`."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return environment.fill_variables(value, system.kind)
        if isinstance(value, Mapping):
            return {name: fill(text) for name, text in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value

    return System(system.kind, fill(system.options))


def names_of(node: Node | None) -> frozenset[str]:
    """Return the keys of a mapping; no keys for any other node."""
    return frozenset(key.text for key, _ in node.entries) if isinstance(node, YamlMapping) else frozenset()


def look_for_mistakes(contract: str, system: System, node: Node, problems: list[Problem]) -> None:
    """Report a contradiction that the adapter's declaration finds in its settings."""
    try:
        mistake = settings_of(contract, system.kind).mistake(system.options)
    except UsageError:  # the adapter's declaration is broken, which was reported when the settings were read
        return
    if mistake:
        node.report(problems, mistake)


def mapping_of(value: Plain | None) -> JsonMapping:
    return value if isinstance(value, dict) else {}


def single_of(value: Plain) -> tuple[str, JsonMapping]:
    """Return the only key of a mapping, a kind, with its settings."""
    assert isinstance(value, dict)
    kind, options = next(iter(value.items()))
    return kind, mapping_of(options)


def registry_mistake(settings: TextMapping) -> str:
    """Return the mistake in the settings of a schema registry; "" if there is none."""
    if "key" in settings and "cert" not in settings:
        return "registry: key belongs to the certificate in cert:, which is missing."
    if len(settings) > 1 and settings.get("url", "").startswith("http://"):
        return "registry: certificates need an address that begins with https://."
    return ""
