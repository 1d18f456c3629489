"""Sources by shroff.yaml: those that are read, those that call us, and those that are pulled, each under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.language.shapes import read_shape
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node
from shroff.project.settings.installed import first_schemes, kind_at, kinds, settings_of
from shroff.project.settings.system import (
    System,
    look_for_mistakes,
    mapping_of,
    names_of,
    registry_mistake,
    single_of,
)
from shroff.project.settings.systems_keys import NAMED_SOURCE_KEYS, kind_shape, source, sources

SKIP: Final = "skip"


class NamedSource(msgspec.Struct, frozen=True):
    """A source under a name of the user's.

    Attributes:
        events: The event types that it brings; all where empty.
        others: What becomes of messages of none of these: `skip`, `quarantine`, or the event type that takes them.
        is_id_of_message: Whether the sender's id of a message is the id of its event.
    """

    name: str
    system: System
    events: tuple[str, ...] = ()
    others: str = SKIP
    is_id_of_message: bool = True

    @property
    def contract(self) -> str:
        """The contract of its adapter: `push`, `pull` or `source`."""
        kind = self.system.kind
        return next((one for one in ("push", "pull") if kind in kinds(one, [kind])), "source")


def _source(top: YamlMapping, problems: list[Problem]) -> System | None:
    node = top.get("source")
    found = None if node is None else read_shape(node, source(names_of(node)), problems, "source")
    if isinstance(found, dict) and found:
        system = System(*single_of(found))
        mistake = registry_mistake(system.registry)
        if node is not None and mistake:
            problems.append(node.problem(mistake))
        if node is not None:
            look_for_mistakes("source", system, node, problems)
        return system
    if node is None or not isinstance(found, str):
        return None
    return source_of(found, node, problems)


def read_source(top: YamlMapping, named: Mapping[str, NamedSource], problems: list[Problem]) -> System | None:
    """The first source that is read and does not call us, from `source` or `sources`."""
    single, read = _source(top, problems), [one for one in named.values() if one.contract == "source"]
    node, systems = top.get("sources"), [*([single] if single else []), *(one.system for one in read)]
    if node is not None and len(systems) > 1 and any(system.lanes > 1 for system in systems):
        problems.append(node.problem("lanes share the partitions of one source, and this project reads several."))
    if node is not None and single is not None and single.kind in {one.name for one in read}:
        problems.append(node.problem(f"'source:' has the name {single.kind} beside others. Give this one another."))
    return next(iter(systems), None)


def read_sources(top: YamlMapping, problems: list[Problem]) -> dict[str, NamedSource]:
    node = top.get("sources")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    own = {key.name for key in NAMED_SOURCE_KEYS}
    read = mapping_of(None)
    if node is not None:
        written = frozenset(name for _, one in entries for name in names_of(one)) - own
        read = mapping_of(read_shape(node, sources(written), problems, "sources"))
    found = {}
    for key, one in entries:
        options = mapping_of(read.get(key.text))
        kinds = [name for name in options if name not in own]
        if options and len(kinds) != 1:
            problems.append(
                one.problem(f"a source has exactly one kind, and this has {' and '.join(kinds) or 'none'}.")
            )
        elif kinds:
            found[key.text] = _named_source(key.text, kinds[0], options, one, problems)
    return found


def _named_source(name: str, kind: str, options: Mapping[str, Any], node: Node, problems: list[Problem]) -> NamedSource:
    system = System(kind, mapping_of(options[kind]))
    found = NamedSource(
        name,
        system,
        tuple(options.get("events", ())),
        options.get("others", SKIP),
        options.get("id", "message") == "message",
    )
    look_for_mistakes(found.contract, system, node, problems)
    taken = {"push": ("events", "others", "id"), "pull": ("events", "others")}.get(found.contract, ())
    beside = [one.name for one in NAMED_SOURCE_KEYS if one.name in options and one.name not in taken]
    if beside:
        words = f"{' and '.join(beside)}: a source of the kind {kind} names its event types itself."
        problems.append(node.problem(words))
    if mistake := registry_mistake(system.registry):
        problems.append(node.problem(mistake))
    return found


def source_of(url: str, node: Node, problems: list[Problem]) -> System | None:
    """The source at an address, such as `kafka://HOST:PORT[,HOST:PORT]/TOPIC`.

    What stands behind a question mark are settings: `?format=avro&registry=http://localhost:8081`. An address that is
    a variable as a whole (`${SOURCE}`) is read from the environment now, since it says which kind of source it is.
    """
    if url.startswith("${"):
        if lacking := config.unset(url):
            words = f"the address of the source is in ${{{lacking[0]}}}, and that variable is not set."
            hint = "Set it, or name the kind here, as in source: { kafka: { brokers: '${BROKERS}', topics: ... } }."
            problems.append(node.problem(words, hint))
            return None
        url = config.filled(url, "source")
    parts = urlsplit(url)
    try:
        kind = kind_at("source", parts.scheme)
        declared = settings_of("source", kind) if kind else None
        if declared is None or declared.from_address is None:
            problems.append(node.problem(f"a source is {first_schemes('source')}, not {parts.scheme}://."))
            return None
        options = {**dict(parse_qsl(parts.query)), **declared.from_address(parts)}
    except (UsageError, ValueError) as error:
        problems.append(node.problem(str(error)))
        return None
    system = System(kind, options)
    found: list[Problem] = []
    tree = yamltext.read(msgspec.json.encode(options).decode(), "", found)
    if tree is not None:
        read_shape(tree, kind_shape("source", kind), found, "the address")  # as if it had been written out
    problems += [node.problem(one.message, one.hint) for one in found]
    return system
