"""Declaration of an adapter: its settings in shroff.yaml, its addresses, and its needs.

Reading a declaration is cheap: the module that holds it imports no client library, so `shroff check` reads it whether
or not that library is installed. A declaration is found by entry points, in one of two ways:

- The adapter's class, an entry point of the group `shroff.adapters` (`sink.amqp = "bank_amqp:AmqpSink"`), has it as
  its attribute `settings`. This suffices if the class's module imports its client library only when it is opened.
- An entry point of the group `shroff.settings`, named by the contract (`sink = "bank_amqp.settings:SINKS"`), is a
  mapping of technologies to declarations. It takes precedence over the class.

An adapter gets values as written in the file, with each `${NAME}` filled: texts, lists and mappings of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote

from shroff.json_types import JsonMapping
from shroff.language.keys import DURATION, Key, Many, MappingShape, One, Shape, choice, mapping_shape

VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"  # an environment variable, which may replace a whole address
HTTP = One("a URL that begins with http:// or https://", rf"^(https?://\S+|{VARIABLE})$")
ADDRESS = One("an address", rf"^([a-z][a-z0-9+.]*://\S+|{VARIABLE})$")
FILE = One("a file, relative to the project's folder", r"^\S.*$")
TOPIC = One("a name of letters, digits, '.', '_' and '-'", r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$")
ID_PLACEHOLDER = "{id}"  # placeholder in the name of a document; also a complete name
DOCUMENT_NAME = One(
    "a name with {id} in it: letters, digits, '.', '_' and '-'",
    r"^(?!\.)[A-Za-z0-9._-]{0,60}\{id\}[A-Za-z0-9._-]{0,60}$",
)
OUTSIDE_NAME = One("a name of letters, digits, '.', '_', ':' and '-'", r"^[A-Za-z0-9._:-]{1,200}$")


class _OutgoingCalls:
    """Settings of outgoing HTTP calls.

    proxy: The HTTP proxy for calls, or `none`. By default, from the environment variables HTTPS_PROXY, HTTP_PROXY and
        NO_PROXY.
        Example: http://proxy.bank:3128
    ca: A file of trusted certificates (PEM), used instead of the system's.
        Example: certs/ca.pem
    timeout: Time limit of a call, from the first byte to the end of the response.
        Default: 10s
    """

    proxy = One("an address such as http://proxy.bank:3128, or none", rf"^(none|http://\S+|{VARIABLE})$")
    ca = FILE
    timeout = DURATION


HTTP_CALLS = mapping_shape(_OutgoingCalls)
CALLS = HTTP_CALLS.keys  # for everything that is called over HTTP


class _Bucket:
    """A bucket.

    endpoint: The URL of a server other than the cloud's.
    region: The region of the bucket.
    account: The Azure storage account. By default, from the environment variable AZURE_STORAGE_ACCOUNT_NAME.
        Example: mybank
    """

    endpoint = HTTP
    region = OUTSIDE_NAME
    account = OUTSIDE_NAME


BUCKET = mapping_shape(_Bucket).keys
TAKE = Key("take", "Records to send.", choice("decisions", "flags"), default="decisions", examples=("flags",))
BEGIN = "Start position of a new sink: the first decision of the log, or only decisions from now on."
START = Key("start", BEGIN, choice("first", "now"), default="first", examples=("now",))
CONSUMED = "consumed"
ROWS = Key(
    "rows",
    "What the receiver does with rows: keep them, or remove them once they are read. `shroff doctor` reports rows "
    "missing from a sink that keeps them.",
    choice("kept", CONSUMED),
    default="kept",
    examples=(CONSUMED,),
)
OUTCOMES = Key(
    "outcomes",
    "Only decisions with these outcomes.",
    Many("outcomes", choice("approve", "challenge", "review", "decline")),
    examples=("[decline, review]",),
)


DEAD_LETTERS = (
    "Destination of unreadable messages (dead letters), with position and reason. They always go to quarantine as well."
)
SQLITE = "sqlite:///"


def last_part(parts: SplitResult, example: str) -> tuple[list[str], str]:
    """Split the path of an address into all parts but the last, and the last. Raises: ValueError if there is none."""
    *parents, name = unquote(parts.path).strip("/").split("/")
    if not name:
        raise ValueError(f"the address of a source ends with its topic or stream, as in {example}.")
    return parents, name


def sqlite_in_folder(options: JsonMapping, folder: Path) -> JsonMapping:
    """Return options with a relative path of an SQLite `url` resolved in the project's folder."""
    url = str(options["url"])
    if not url.startswith(SQLITE) or url.startswith(f"{SQLITE}/"):
        return options
    return {**options, "url": f"{SQLITE}{folder}/{url[len(SQLITE) :]}"}


def _unchanged(options: JsonMapping, _folder: Path) -> JsonMapping:
    return options


@dataclass(frozen=True, slots=True, eq=False)
class AdapterSettings:
    """Settings of one adapter in shroff.yaml. `meaning` and `shape` are enough for most.

    Attributes:
        meaning: One sentence, for the reference and for editors: "Documents of a collection, replaced by id."
        shape: The settings. Keys common to all sources or sinks are added if missing. A value of the shape `FILE`
            arrives as an absolute path.
        schemes: Schemes of its addresses, each with the default port; None if a port must be written.
        form: The form of an address, for messages: `kafka://HOST:PORT/TOPIC`.
        from_address: For a source: converts an address `source: SCHEME://...` to settings.
            Raises: ValueError, whose message says what is missing.
        types: For a source: the key whose names are event types, such as `topics`; `any` stands for all types.
        mistake: Returns a message about settings that contradict each other; empty if none do. Required settings may
            be missing, which is reported separately.
        placed: Adjusts filled settings before the adapter is opened, given the project's folder.
        is_called: Whether it is called over HTTP: `http:` of shroff.yaml then provides `proxy`, `ca` and `timeout`.
        is_prepared: For a sink: whether it needs something created first, and is a `PreparedSink`.
        route: For a sink: the key that chooses the target of a row, and the key that maps values to targets.
        is_flat: For a mailer: whether its keys are directly under `mail:`, not under its own name there.
        overtakes_ms: For a source: the most by which a live message may come after later ones of other partitions.
        moves_rows: For a pulled source: whether a row may have another file and number when it is read again, so that
            `row.file` and `row.number` cannot form an id.
    """

    meaning: str
    shape: Shape
    schemes: Mapping[str, int | None] = field(default_factory=dict)
    form: str = ""
    from_address: Callable[[SplitResult], JsonMapping] | None = None
    types: str = ""
    mistake: Callable[[JsonMapping], str] = lambda _: ""
    placed: Callable[[JsonMapping, Path], JsonMapping] = _unchanged
    is_called: bool = False
    is_prepared: bool = False
    route: tuple[str, str] | None = None
    is_flat: bool = False
    overtakes_ms: int = 0
    moves_rows: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """The adapter's own keys."""
        return self.shape.keys if isinstance(self.shape, MappingShape) else ()

    def settled(self, options: JsonMapping, folder: Path) -> JsonMapping:
        """Return filled settings as the adapter takes them, with absolute paths of files."""
        files = {key.name: str(folder / options[key.name]) for key in self.keys if _is_file(key, options)}
        return self.placed({**options, **files}, folder)


def _is_file(key: Key, options: JsonMapping) -> bool:
    return key.shape is FILE and isinstance(options.get(key.name), str)
