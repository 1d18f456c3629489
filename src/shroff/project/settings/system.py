"""One external system of shroff.yaml: its kind, its settings, and what reading them needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.shapes import Plain
from shroff.language.values import parse_duration
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node
from shroff.project.settings.installed import settings_of
from shroff.project.settings.systems_keys import default_of
from shroff.runtime.values import FrozenStruct


class System(FrozenStruct):
    """An external system: its kind, and its settings as written, with `${NAME}`.

    Its text shows the kind alone, since settings may hold credentials.
    """

    kind: str
    options: JsonMapping

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def text(self, name: str, default: str = "") -> str:
        found = self.options.get(name, default)
        assert isinstance(found, str)
        return found

    @property
    def starts_now(self) -> bool:
        """Whether a new sink starts with future rows only."""
        return self.text("start", default_of("sink", self.kind, "start")) == "now"

    @property
    def registry(self) -> TextMapping:
        """The settings of the schema registry, its address under `url`; empty where none is named."""
        found = self.options.get("registry", {})
        return {"url": found} if isinstance(found, str) else found

    def part_types(self, named: Iterable[tuple[str, str]], word: str) -> dict[str, str | None]:
        """The event type of each part of a source, such as a topic; None for one whose messages tell theirs.

        Args:
            named: Event types, or `any`, with their parts; those of labels are added.
            word: What a part is called.

        Raises: UsageError where a part is named twice.
        """
        parts = [(part, None if type_ == "any" else type_) for type_, part in named]
        if labels := self.text("labels"):
            parts.append((labels, "label"))
        found = dict(parts)
        if len(found) < len(parts):
            raise UsageError(f"source: a {word} has one type of events. Name it once, under 'any' if it has several.")
        if self.text("dead_letters") in found:
            raise UsageError(f"source: dead letters go to another {word} than those that are read.")
        return found

    def duration_ms(self, name: str, default: str) -> int:
        return parse_duration(self.text(name, default))


def filled(system: System) -> System:
    """The system with `${NAME}` replaced from the environment. Raises: UsageError as `config.filled`."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return config.filled(value, system.kind)
        if isinstance(value, Mapping):
            return {name: fill(text) for name, text in value.items()}
        return [fill(part) for part in value] if isinstance(value, list) else value

    return System(system.kind, fill(system.options))


def names_of(node: Node | None) -> frozenset[str]:
    """The keys of a mapping; none of anything else."""
    return frozenset(key.text for key, _ in node.entries) if isinstance(node, YamlMapping) else frozenset()


def look_for_mistakes(contract: str, system: System, node: Node, problems: list[Problem]) -> None:
    """Add the contradictions that the adapter finds in its settings."""
    try:
        mistake = settings_of(contract, system.kind).mistake(system.options)
    except UsageError:  # reported when the settings were read
        return
    if mistake:
        node.report(problems, mistake)


def mapping_of(found: Plain | None) -> JsonMapping:
    return found if isinstance(found, dict) else {}


def single_of(found: Plain) -> tuple[str, JsonMapping]:
    """The only kind of a mapping, with its settings."""
    assert isinstance(found, dict)
    kind, options = next(iter(found.items()))
    return kind, mapping_of(options)


def registry_mistake(settings: TextMapping) -> str:
    """Mistakes in the settings of a schema registry, in words; empty where there are none."""
    if "key" in settings and "cert" not in settings:
        return "registry: key belongs to the certificate in cert:, which is missing."
    if len(settings) > 1 and settings.get("url", "").startswith("http://"):
        return "registry: certificates need an address that begins with https://."
    return ""
