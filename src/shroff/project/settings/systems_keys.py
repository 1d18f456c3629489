"""The keys of shroff.yaml that say where things are: sources, the store, the lake, sinks (see `language.keys`).

What stands under the name of a technology is what its adapter declares (`project.settings.installed`); here are the
keys that shroff itself reads, whichever adapter it is, and how both are put together. Nothing here decides anything:
none of it is in a version, a control event or a receipt.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Final

from shroff.language.keys import (
    ANY,
    DURATION,
    NAME_PATTERN,
    SWITCH,
    WHOLE,
    Either,
    Key,
    Keys,
    Late,
    Many,
    One,
    Shape,
    choice,
    own_names,
)
from shroff.project.settings.installed import each_settings, kinds, own_settings, settings_of
from shroff.project.settings.sign_in_keys import SESSIONS, SIGN_IN
from shroff.streams.settings import (
    ADDRESS,
    ALONE,
    CALLS,
    DOCUMENT_NAME,
    FILE,
    HTTP,
    OUTSIDE_NAME,
    START,
    TAKE,
    VARIABLE,
)

URL: Final = One("an address such as kafka://localhost:9092/payments", rf"^([a-z][a-z0-9+]*:|{VARIABLE}$)")
STORE_URL: Final = One("an address such as postgresql://shroff@localhost/shroff", rf"^([a-z]+:\S*|{VARIABLE})$")
LATE: Final = ("refuse", "keep")
FORMATS: Final = ("json", "avro")

_FORMAT: Final = Key("format", "How messages are written.", choice(*FORMATS), default="json", examples=("avro",))
_REGISTRY: Final = Key(
    "registry",
    "The schema registry of Avro messages, with its Confluent-compatible path: an address, or one with certificates.",
    Either(
        (
            HTTP,
            Keys(
                "a schema registry by its address",
                (
                    Key("url", "The registry.", HTTP, is_required=True, examples=("https://registry.bank:8081",)),
                    *CALLS,
                    Key(
                        "cert",
                        "A file with the certificate (PEM) by which the registry knows this client.",
                        FILE,
                        examples=("certs/shroff.pem",),
                    ),
                    Key(
                        "key",
                        "A file with its key, without a password. Left out, the key stands in `cert`.",
                        FILE,
                        examples=("certs/shroff.key",),
                    ),
                ),
            ),
        )
    ),
    examples=("http://localhost:8081",),
)
_LATE: Final = Key(
    "late",
    "What becomes of an event that is too late: it is quarantined, or kept: stored and counted, with no decision, and "
    "in no window.",
    choice(*LATE),
    default="refuse",
    examples=("keep",),
)
_WAIT: Final = Key(
    "wait",
    "How long a live message waits for earlier ones of other partitions, which may be on their way: it is decided so "
    "much later. What waited outside is in order of time without it.",
    DURATION,
    default="0s",
    examples=("200ms",),
)
MAILS_KEPT: Final = "30d"
_NAMED_ADDRESS: Final = One("an address of mail, with a name before it or without", r"^[^\r\n]+@[^\r\n]+$")
MAIL_KEYS: Final = (
    Key(
        "from",
        "Who mails are from.",
        _NAMED_ADDRESS,
        default="shroff@localhost",
        examples=("Penhallow Bank <notices@penhallow.example>",),
    ),
    Key(
        "keep",
        "How long mails stay that are files: whoever tells (`serve`, `run`) removes older ones each hour. At most "
        "90d, for which it is known of which event one is.",
        DURATION,
        default=MAILS_KEPT,
        examples=("7d",),
    ),
)
WEB: Final = Keys(
    "how the service shows itself",
    (
        Key(
            "url",
            "The address at which browsers reach the service: links begin with it, those of customers and of users; a "
            "provider sends people back to it; forms count from there only, and cookies are for TLS where it is.",
            HTTP,
            default="the address that a browser asked, and in mails the one at which the service listens",
            examples=("https://answer.penhallow.example",),
        ),
        Key("name", "The name that mails and pages for customers show.", ANY, default="the name of the project"),
        Key(
            "help",
            "What a customer can do without a link, in the words of a sentence that ends.",
            ANY,
            default="Call the number on the back of your card.",
        ),
        Key(
            "proxies",
            "The proxies before the service, by address or network. From where a request comes is then read in its "
            "head, as far as these wrote it: pauses for who asks too often, failed sign-ins and the record go by it. "
            "Where there is no url, they say whether they were asked over TLS, too. "
            "Name none that takes requests from others without saying so: whoever reaches it chooses their address.",
            Many(
                "a list of addresses and networks",
                One("an address or a network such as 10.0.0.0/8", r"^[0-9A-Fa-f.:/]+$"),
            ),
            default="none: a request comes from whoever connected",
            examples=("[10.0.0.0/8, 127.0.0.1]",),
        ),
        Key(
            "proxy_header",
            "Where these proxies write it; the other header is not read, since they pass on what a sender wrote there. "
            "Whether they were asked over TLS stands in x-forwarded-proto beside the one, in the other itself.",
            choice("x-forwarded-for", "forwarded"),
            default="x-forwarded-for",
        ),
    ),
)
HTTP_CALLS: Final = Keys("how HTTP calls leave", CALLS)
SOURCE_KEYS: Final = (_FORMAT, _REGISTRY, _LATE, _WAIT)
NAMED_SOURCE_KEYS: Final = (
    Key(
        "events",
        "The event types that a pushed or pulled source brings. Each one's `from` in events.yaml reads its messages or "
        "rows; where there are several, `when` there chooses. Left out: all types.",
        Many("a list of event types", One("an event type", NAME_PATTERN)),
        default="all event types",
        examples=("[saving, withdrawal]",),
    ),
    Key(
        "others",
        "What becomes of messages and rows that no `when` accepts: `skip` counts them, `quarantine` keeps them for a "
        "retry, and the name of an event type takes them as events of that type.",
        One("skip, quarantine or an event type", NAME_PATTERN),
        default="skip",
        examples=("quarantine",),
    ),
    Key(
        "id",
        "Of pushed sources, where the id of an event comes from: the sender's id of its message (`message`), so that a "
        "message sent twice is one event, or the message itself (`row`), as `from.json` says.",
        choice("message", "row"),
        default="message",
    ),
)
SINK_KEYS: Final = (TAKE, START)
STORE_KEYS: Final = (
    Key("url", "The database.", ADDRESS, is_required=True, examples=("postgresql://shroff@localhost/shroff",)),
    Key(
        "lease",
        "How long a worker that is not heard of keeps its place before another may take over.",
        DURATION,
        default="3s",
    ),
)
DOCUMENTS: Final = own_names(
    "folders with what is in them",
    Keys(
        "one kind of documents",
        (
            Key(
                "of",
                "What is in them: `decisions`, `flags`, `labels`, or an event type.",
                One("a name", NAME_PATTERN),
                is_required=True,
            ),
            Key(
                "lines", "So many documents in one file, a line each. Left out: one file a document, by its id.", WHOLE
            ),
            Key(
                "sources",
                "Of labels, only those from these sources.",
                Many("sources", choice("chargeback", "analyst", "customer", "import")),
                examples=("[chargeback]",),
            ),
            Key(
                "file",
                "What a file of one document is called, without `.json`: `{id}` stands for its id.",
                DOCUMENT_NAME,
                default=ALONE,
                examples=("'{id}_transaction'",),
            ),
        ),
    ),
)
CATALOG: Final = Keys(
    "a catalog of Apache Iceberg",
    (
        Key(
            "name",
            "The name of the catalog, in pyiceberg's own configuration, too.",
            One("a name", NAME_PATTERN),
            default="shroff",
        ),
        Key(
            "namespace",
            "Where in the catalog the tables are; each lake needs its own.",
            One(
                "names of letters, digits and '_' with dots between them", r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,5}$"
            ),
            default="shroff",
            examples=("fraud",),
        ),
        Key(
            "properties",
            "Settings of the catalog and its files by the names that pyiceberg gives them, such as `type` and `uri`.",
            Keys("settings by their names", named=ANY, pattern=r"^[a-z][a-zA-Z0-9._-]{0,99}$"),
            examples=("{ type: rest, uri: 'https://catalog.mybank', token: '${CATALOG_TOKEN}' }",),
        ),
    ),
)
LAKE_KEYS: Final = (
    Key(
        "to",
        "A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
        One("a folder or an address", r"^\S+$"),
        is_required=True,
        examples=("s3://mybank/shroff",),
    ),
    Key("every", "How long rows gather before they are written.", DURATION, default="1m", examples=("10s",)),
    Key("layout", "What is written.", choice("parquet", "json", "both"), default="parquet"),
    Key("documents", "Which folders of JSON documents there are.", DOCUMENTS),
    Key("delta", "Publish each commit as Delta Lake tables, too.", SWITCH, default="false"),
    Key("catalog", "Publish each commit as tables of an Apache Iceberg catalog, too.", CATALOG),
)
ONLINE_KEYS: Final = (
    Key("url", "The server.", ADDRESS, is_required=True, examples=("redis://localhost:6379/1",)),
    Key("prefix", "What the keys in Redis begin with.", OUTSIDE_NAME, default="NAME"),
    Key(
        "ttl",
        "A key of which no event was decided for so long is removed. Left out, all are kept.",
        DURATION,
        examples=("90d",),
    ),
    Key(
        "entities",
        "Whose features are written; left out, those of all.",
        Many("entities", One("a name", NAME_PATTERN)),
        examples=("[card, device]",),
    ),
)
SNAPSHOT_KEYS: Final = (
    Key("every", "After how long a snapshot is due.", DURATION, default="10m"),
    Key(
        "events",
        "After how many places of the log a snapshot is due, however short the time.",
        WHOLE,
        default="1000000",
    ),
    Key("kept", "How many are kept.", WHOLE, default="2"),
    Key(
        "to",
        "A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, where copies go.",
        One("a place", r"^\S+$"),
    ),
)
LAKE_PLACE: Final = One(
    "a folder, or an address such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix", r"^\S+$"
)
DEFAULT_MAILER: Final = "folder"  # which nobody names

# ---- what adapters declare, with the keys of shroff


def _with(shape: Shape, before: tuple[Key, ...] = (), behind: tuple[Key, ...] = ()) -> Shape:
    """A mapping with further keys, as far as it has none of these names itself."""
    if not isinstance(shape, Keys):
        return shape
    own = set(shape.names)
    keys = (
        *(one for one in before if one.name not in own),
        *shape.keys,
        *(one for one in behind if one.name not in own),
    )
    return replace(shape, keys=keys)


@cache
def kind_shape(contract: str, kind: str) -> Shape:
    """What stands under the name of a technology. Raises: UsageError where its declaration cannot be read."""
    shape = settings_of(contract, kind).shape
    if contract == "sink":
        return _with(shape, before=SINK_KEYS)
    return _with(shape, behind=SOURCE_KEYS) if contract == "source" else shape


def default_of(contract: str, kind: str, name: str) -> str:
    """What a setting of an adapter is where it is left out. Raises: UsageError as `kind_shape`."""
    shape = kind_shape(contract, kind)
    assert isinstance(shape, Keys)
    return next(key.default for key in shape.keys if key.name == name)


def one_kind(contract: str, named: frozenset[str] | None = None) -> Keys:
    """One technology with its settings, to read what a file `named`; without it with what each means."""
    what = f"one kind of {contract}"
    if named is None:
        keys = [Key(kind, one.meaning, kind_shape(contract, kind)) for kind, one in each_settings(contract)]
        return Keys(what, tuple(keys), is_single=True)
    return Keys(what, tuple(_late(contract, kind) for kind in kinds(contract, named)), is_single=True)


def _late(contract: str, kind: str) -> Key:
    return Key(kind, "", Late(partial(kind_shape, contract, kind)))


@cache
def sinks(named: frozenset[str] | None = None) -> Keys:
    """What stands under `sinks`."""
    return own_names("where decisions and flags go, by names of your own", one_kind("sink", named))


@cache
def source(named: frozenset[str] | None = None) -> Shape:
    """What stands under `source`."""
    return Either((URL, one_kind("source", named)))


@cache
def sources(named: frozenset[str] | None = None) -> Keys:
    """What stands under `sources`."""
    contracts = ("push", "pull", "source")
    ours = {kind: one for one in contracts for kind in own_settings(one)}
    keys = [
        key
        for one in contracts
        for key in one_kind(one, named and frozenset(name for name in named if ours.get(name, one) == one)).keys
    ]
    return own_names("where events come from, by names of your own", Keys("a source", (*keys, *NAMED_SOURCE_KEYS)))


def _addressed(what: str, contract: str, keys: tuple[Key, ...], kind: str | None) -> Keys:
    """Settings with an address, which says of which technology they are; without it those of all."""
    declared = [one for _, one in each_settings(contract)] if kind is None else [settings_of(contract, kind)]
    own = {key.name: key for one in declared for key in one.keys}
    common = {key.name for key in keys}
    return Keys(what, (*keys, *(key for key in own.values() if key.name not in common)))


@cache
def store(kind: str | None = None) -> Shape:
    """What stands under `store`, of one technology or of all."""
    return Either((STORE_URL, _addressed("a store by its address", "log", STORE_KEYS, kind)))


@cache
def lake(kind: str | None = None) -> Shape:
    """What stands under `lake`."""
    return Either((LAKE_PLACE, _addressed("a lake by its address", "lake", LAKE_KEYS, kind)))


@cache
def online(kind: str | None = None) -> Shape:
    """What stands under `online`."""
    what = "a Redis server with features"
    return Either((ADDRESS, _addressed(what, "features", ONLINE_KEYS, kind)))


@cache
def snapshots(kind: str | None = None) -> Shape:
    """What stands under `snapshots`."""
    return _addressed("when state is saved, and where", "lake", SNAPSHOT_KEYS, kind)


@cache
def mail(named: frozenset[str] | None = None) -> Shape:
    """What stands under `mail`: the settings of one mailer, and those of all mails."""
    own = own_settings("mailer")
    keys = [key for one in own.values() if one.is_flat for key in one.keys]
    if named is None:
        keys += [Key(kind, one.meaning, one.shape) for kind, one in each_settings("mailer") if kind not in own]
    elif named - {key.name for key in (*keys, *MAIL_KEYS)}:
        keys += [_late("mailer", kind) for kind in kinds("mailer") if kind not in own]
    return Keys("how mails leave", (*keys, *MAIL_KEYS))


SYSTEMS: Final = (
    Key(
        "source",
        "Where live events come from: an address, or a kind with its settings.",
        Late(source),
        examples=("kafka://localhost:9092/payments",),
    ),
    Key(
        "sources",
        "Several sources, each with a name. Pushed ones (`sns`, `pubsub`, `webhook`) are answered at `/hooks/NAME` by "
        "the service; pulled ones (`files`, `table`, `amplitude`) are asked by `shroff sources sync NAME`; of those "
        "that are read (`kafka`, `redis`) there is one at most, here or under `source`.",
        Late(sources),
        examples=("{ savings: { sns: { topics: ['arn:aws:sns:eu-west-1:123456789012:savings'] } } }",),
    ),
    Key(
        "store",
        "Where the log is kept: postgresql:// or mariadb://. Left out, it is one file in .shroff/.",
        Late(store),
        examples=("postgresql://shroff@localhost/shroff",),
    ),
    Key("lake", "Where files for analysis go.", Late(lake), examples=("s3://mybank/shroff",)),
    Key(
        "online",
        "Where other services read the features of each key as of its last decided event.",
        Late(online),
        examples=("redis://localhost:6379/1",),
    ),
    Key(
        "sinks",
        "Where decisions and flags go, beside the store.",
        Late(sinks),
        examples=("{ decided: { kafka: { brokers: 'localhost:9092', topic: decisions } } }",),
    ),
    Key(
        "sign_in",
        "How people sign in to the service, beside names with passwords.",
        SIGN_IN,
        examples=("{ oidc: { issuer: https://login.bank.org, client_id: shroff, roles: { fraud-team: analyst } } }",),
    ),
    Key(
        "sessions",
        "How long people stay signed in to the service.",
        SESSIONS,
        examples=("{ idle: 15m, lasts: 8h }",),
    ),
    Key(
        "http",
        "How HTTP calls leave: those of webhooks, the schema registry and OpenID, where they do not say it themselves. "
        "Requests of a lake in a bucket use its proxy and `ca`.",
        HTTP_CALLS,
        examples=("{ proxy: http://proxy.bank:3128, ca: certs/bank.pem }",),
    ),
    Key(
        "mail",
        "How mails leave. Left out, they are files in .shroff/mail/.",
        Late(mail),
        examples=("{ smtp: smtp://localhost }",),
    ),
    Key(
        "web",
        "At which address browsers reach the service, and how it shows itself to customers.",
        WEB,
        examples=("{ url: https://answer.penhallow.example, name: Penhallow Bank }",),
    ),
    Key(
        "second_person",
        "What comes into force only when somebody approves it who did not write it. Commands leave it to the service.",
        Many(
            "a list of what is approved by a second person: rules, lists, silences",
            choice("rules", "lists", "silences"),
        ),
        examples=("[rules, lists, silences]",),
    ),
    Key("snapshots", "When state is saved, and where.", Late(snapshots), examples=("{ every: 10m, kept: 2 }",)),
    Key(
        "keep",
        "How long the store keeps events. Older ones move to the lake behind a snapshot; their ids are known for ever.",
        DURATION,
        examples=("400d",),
    ),
)
