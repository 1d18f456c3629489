"""Sources by shroff.yaml: those that are read, those that call us, and those that are pulled, each under a name."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from msgspec.json import encode as to_json

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.json_types import JsonMapping
from shroff.language.shapes import read_shape
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node
from shroff.project.settings.installed import first_schemes, kind_at, kinds, settings_of
from shroff.project.settings.system import System, look_for_mistakes, mapping_of, names_of, registry_mistake
from shroff.project.settings.systems_keys import NAMED_SOURCE_KEYS, kind_shape, source, sources
from shroff.runtime.values import FrozenStruct

SKIP = "skip"
_BESIDE = frozenset(key.name for key in NAMED_SOURCE_KEYS)  # beside its kind


class NamedSource(FrozenStruct):
    """A source under a name of the user's.

    Attributes:
        events: The event types that it brings; all where empty.
        others: What becomes of messages of none of these: `skip`, `quarantine`, or the event type that takes them.
        is_id_of_message: Whether the sender's id of a message is the id of its event.
        place: Where it stands in shroff.yaml.
    """

    name: str
    system: System
    events: tuple[str, ...] = ()
    others: str = SKIP
    is_id_of_message: bool = True
    place: tuple[str, ...] = ("source",)

    @property
    def contract(self) -> str:
        """The contract of its adapter: `push`, `pull` or `source`."""
        kind = self.system.kind
        return next((name for name in ("push", "pull") if kind in kinds(name, [kind])), "source")

    @property
    def has_own_types(self) -> bool:
        """Whether its settings, and not only its topics, name the event types."""
        return bool(self.events) or self.others != SKIP or self.contract != "source"


def read_sources(top: YamlMapping, problems: list[Problem]) -> tuple[System | None, dict[str, NamedSource]]:
    """The first source that is read and does not call us, and all that have a name.

    `source` is named by its kind where it says which event types it brings.
    """
    single = _single(top, problems)
    named = _named(top, problems)
    read = {name: source for name, source in named.items() if source.contract == "source"}
    node = top.get("sources")
    systems = [source.system for source in ([single] if single else []) + [*read.values()]]
    if node is not None and single is not None and single.name in read:
        node.report(problems, f"'source:' has the name {single.name} beside others. Give this one another.")
    if single is not None and single.has_own_types:
        named = {single.name: single, **named}
    return next(iter(systems), None), named


def _single(top: YamlMapping, problems: list[Problem]) -> NamedSource | None:
    node = top.get("source")
    found = None if node is None else read_shape(node, source(names_of(node) - _BESIDE), problems, "source")
    if node is None or not found:
        return None
    if not isinstance(found, str):
        return _source("", mapping_of(found), node, problems)
    system = source_of(found, node, problems)
    return None if system is None else NamedSource(system.kind, system)


def _named(top: YamlMapping, problems: list[Problem]) -> dict[str, NamedSource]:
    node = top.get("sources")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    read = mapping_of(None)
    if node is not None:
        written = frozenset(name for _, entry in entries for name in names_of(entry)) - _BESIDE
        read = mapping_of(read_shape(node, sources(written), problems, "sources"))
    found = {key.text: _source(key.text, mapping_of(read.get(key.text)), entry, problems) for key, entry in entries}
    return {name: named for name, named in found.items() if named is not None}


def _source(name: str, options: JsonMapping, node: Node, problems: list[Problem]) -> NamedSource | None:
    kind, *more = [key for key in options if key not in _BESIDE] or [""]
    if options and (more or not kind):
        words = " and ".join([kind, *more]) or "none"
        node.report(problems, f"a source has exactly one kind, and this has {words}.")
    if more or not kind:
        return None
    system = System(kind, mapping_of(options[kind]))
    found = NamedSource(
        name or kind,
        system,
        tuple(options.get("events", ())),
        options.get("others", SKIP),
        options.get("id", "message") == "message",
        ("sources", name) if name else ("source",),
    )
    look_for_mistakes(found.contract, system, node, problems)
    taken = _BESIDE if found.contract == "push" else {"events", "others"}
    beside = [key.name for key in NAMED_SOURCE_KEYS if key.name in options and key.name not in taken]
    if beside:
        words = f"{' and '.join(beside)}: not a setting of a source of the kind {kind}"
        node.report(problems, f"{words}.")
    if mistake := registry_mistake(system.registry):
        node.report(problems, mistake)
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
            node.report(problems, words, hint)
            return None
        url = config.filled(url, "source")
    parts = urlsplit(url)
    try:
        kind = kind_at("source", parts.scheme)
        declared = settings_of("source", kind) if kind else None
        if declared is None or declared.from_address is None:
            node.report(problems, f"a source is {first_schemes('source')}, not {parts.scheme}://.")
            return None
        options = {**dict(parse_qsl(parts.query)), **declared.from_address(parts)}
    except (UsageError, ValueError) as error:
        node.report(problems, str(error))
        return None
    system = System(kind, options)
    found: list[Problem] = []
    tree = yamltext.read(to_json(options).decode(), "", found)
    if tree is not None:
        read_shape(tree, kind_shape("source", kind), found, "the address")  # as if it had been written out
    problems += [node.problem(problem.message, problem.hint) for problem in found]
    return system
