"""The keys of shroff.yaml for external systems and their locations; long because they are one table.

`settings.systems` loads them, and `check`, the schemas and the reference show them. Adapters declare the keys below
their own names (`project.settings.installed`). No version, control event or receipt contains them.
"""

from __future__ import annotations

from functools import cache, partial

from shroff.language.keys import (
    ANY,
    DURATION,
    NAME_PATTERN,
    SWITCH,
    WHOLE,
    Either,
    Key,
    Late,
    Many,
    MappingShape,
    One,
    Required,
    Shape,
    choice,
    mapping_shape,
    own_names,
)
from shroff.project.settings.installed import each_settings, kinds, own_settings, settings_of
from shroff.project.settings.programmes import SCHEME_PROGRAMMES
from shroff.project.settings.service_keys import METRICS, NETWORKS, SESSIONS, SIGN_IN
from shroff.runtime.values import replace
from shroff.streams.settings import (
    ADDRESS,
    CALLS,
    DOCUMENT_NAME,
    FILE,
    HTTP,
    HTTP_CALLS,
    OUTSIDE_NAME,
    START,
    TAKE,
    VARIABLE,
)

URL = One("an address such as kafka://localhost:9092/payments", rf"^([a-z][a-z0-9+]*:|{VARIABLE}$)")
STORE_URL = One("an address such as postgresql://shroff@localhost/shroff", rf"^([a-z]+:\S*|{VARIABLE})$")
FORMATS = ("json", "avro")


class _SchemaRegistry:
    """A schema registry with its URL.

    url: The registry's URL.
        Example: https://registry.bank:8081
    cert: Client certificate for the registry (PEM).
        Example: certs/shroff.pem
    key: The private key file, without a password. By default, the key is in the `cert` file.
        Example: certs/shroff.key
    """

    url = Required(HTTP)
    calls = CALLS
    cert = FILE
    key = FILE


class _LiveSource:
    """Any live source.

    format: The encoding of messages.
        Default: json
        Example: avro
    registry: The schema registry for Avro messages, Confluent-compatible: a URL, or a URL with certificates.
        Example: http://localhost:8081
    late: Handling of events that are too late: `refuse` quarantines them; `keep` stores and counts them, but without a
        decision and outside all windows.
        Default: refuse
        Example: keep
    wait: How long a live message waits for earlier messages of other partitions. It adds this latency to each decision.
        A backlog is in time order without it.
        Default: 0s
        Example: 200ms
    """

    format = choice(*FORMATS)
    registry = Either((HTTP, mapping_shape(_SchemaRegistry)))
    late = choice("refuse", "keep")
    wait = DURATION


SOURCE_KEYS = mapping_shape(_LiveSource).keys
MAILS_KEPT = "30d"
_NAMED_ADDRESS = One("a mail address, with or without a name", r"^[^\r\n]+@[^\r\n]+$")


class _Mails:
    """All mails.

    from: The sender address of mails.
        Default: shroff@localhost
        Example: Penhallow Bank <notices@penhallow.example>
    keep: Retention of mails in files: `serve` and `run` delete older ones each hour. At most 90d, because the event of
        a mail is known for that long.
        Default: 30d
        Example: 7d
    """

    from_ = _NAMED_ADDRESS
    keep = DURATION


MAIL_KEYS = mapping_shape(_Mails).keys


class _WebAddress:
    """Web address and appearance of the service.

    url: The public URL of the service. Links in mails begin with it, for customers and users, and OpenID Connect
        providers redirect to it. Forms are accepted only from this origin; with https, cookies are marked secure.
        Default: the URL in the browser's request; in mails, the address that the service listens on
        Example: https://answer.penhallow.example
    name: The display name in mails and on customer pages.
        Default: the name of the project
    help: What customers can do without a link, as a full sentence.
        Default: Call the number on the back of your card.
    proxies: Trusted proxies in front of the service, as addresses or networks. The client's address is then read from
        the header that they write; rate limits, failed sign-ins and the audit log use it. Without `url`, they also tell
        whether the client used TLS. List only proxies that overwrite or append this header: otherwise clients can forge
        their address.
        Default: none: the client is the connected address
        Example: [10.0.0.0/8, 127.0.0.1]
    networks: Networks from which people and API keys reach the service. Others get 403, but for health checks, answers
        of customers and signed webhooks.
        Default: all
        Example: [10.20.0.0/16, 203.0.113.7]
    proxy_header: The header in which the proxies write the client's address; the other header is ignored, because
        senders can forge it. The TLS flag is in x-forwarded-proto for the first, and in the header itself for the
        second.
        Default: x-forwarded-for
    """

    url = HTTP
    name = ANY
    help = ANY
    proxies = NETWORKS
    networks = NETWORKS
    proxy_header = choice("x-forwarded-for", "forwarded")


WEB = mapping_shape(_WebAddress)


class _NamedSource:
    """A source under a name.

    events: Event types from a source, and `label` if it brings labels. Each type's `from` in events.yaml maps the
        messages or rows; with several types, their `when` selects. By default all types, without labels. A live source
        has a topic for each type; in one under `any` all of these are found, and labels in each.
        Default: all event types
        Example: [saving, withdrawal]
        Example: [payment, label]
    others: Handling of unmatched messages and rows, which no `when` accepts: `skip` counts them, `quarantine` keeps
        them for a retry, and the name of an event type stores them as events of that type.
        Default: skip
        Example: quarantine
    id: For pushed sources, the origin of event ids: the sender's message id (`message`), so that a repeated message is
        one event, or the message's content (`row`), by `from.json`.
        Default: message
    """

    events = Many("a list of event types", One("an event type", NAME_PATTERN))
    others = One("skip, quarantine or an event type", NAME_PATTERN)
    id = choice("message", "row")


NAMED_SOURCE_KEYS = mapping_shape(_NamedSource).keys


class _Store:
    """A store with its URL.

    url: The database URL.
        Example: postgresql://shroff@localhost/shroff
    lease: How long the log stays reserved for a worker that no longer responds, before another may take over.
        Default: 3s
    """

    url = Required(ADDRESS)
    lease = DURATION


STORE = mapping_shape(_Store)


class _DocumentKind:
    """One kind of documents.

    of: Content: `decisions`, `flags`, `labels`, or an event type.
    lines: Number of documents per file, one per line. By default, each document has a file of its own, named by its
        id.
    sources: For labels: only those from these sources.
        Example: [chargeback]
    file: File name of a single document, without `.json`; `{id}` is replaced by its id.
        Default: {id}
        Example: '{id}_transaction'
    """

    of = Required(One("a name", NAME_PATTERN))
    lines = WHOLE
    sources = Many("sources", choice("chargeback", "analyst", "customer", "import"))
    file = DOCUMENT_NAME


DOCUMENTS = own_names("folders with their content", mapping_shape(_DocumentKind))


class _IcebergCatalog:
    """A catalog of Apache Iceberg.

    name: The name of the catalog, in pyiceberg's own configuration, too.
        Default: shroff
    namespace: Where in the catalog the tables are; each lake needs its own.
        Default: shroff
        Example: fraud
    properties: Settings of the catalog and its files by the names that pyiceberg gives them, such as `type` and `uri`.
        Example: { type: rest, uri: 'https://catalog.mybank', token: '${CATALOG_TOKEN}' }
    """

    name = One("a name", NAME_PATTERN)
    namespace = One(
        "names of letters, digits and '_' with dots between them", r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,5}$"
    )
    properties = MappingShape("settings by their names", named=ANY, pattern=r"^[a-z][a-zA-Z0-9._-]{0,99}$")


CATALOG = mapping_shape(_IcebergCatalog)


class _Lake:
    """A lake with its location.

    to: A folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
        Example: s3://mybank/shroff
    every: How long rows are collected before they are written.
        Default: 1m
        Example: 10s
    layout: The file formats to write.
        Default: parquet
    documents: The folders of JSON documents.
    delta: Also publish each commit as Delta Lake tables.
        Default: false
    catalog: Also publish each commit as tables of an Apache Iceberg catalog.
    """

    to = Required(One("a folder or an address", r"^\S+$"))
    every = DURATION
    layout = choice("parquet", "json", "both")
    documents = DOCUMENTS
    delta = SWITCH
    catalog = CATALOG


LAKE = mapping_shape(_Lake)


class _RedisServer:
    """A Redis server with features.

    url: The server.
        Example: redis://localhost:6379/1
    prefix: Prefix of the keys in Redis.
        Default: NAME
    ttl: Remove keys without a decided event for this time; by default never.
        Example: 90d
    entities: Entities whose features are written; by default all.
        Example: [card, device]
    """

    url = Required(ADDRESS)
    prefix = OUTSIDE_NAME
    ttl = DURATION
    entities = Many("entities", One("a name", NAME_PATTERN))


ONLINE = mapping_shape(_RedisServer)


class _StateSaves:
    """When state is saved, and where.

    every: Time between snapshots.
        Default: 10m
    events: Snapshot after this many log positions, regardless of time.
        Default: 1000000
    kept: Number of snapshots to keep.
        Default: 2
    to: Location for copies: a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
    """

    every = DURATION
    events = WHOLE
    kept = WHOLE
    to = One("a place", r"^\S+$")


SNAPSHOTS = mapping_shape(_StateSaves)


class _Backups:
    """Backups with their location.

    to: Location of backups: a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
    key: File with the encryption key, 64 hexadecimal digits. By default, backups are not encrypted.
    tools: Folder of the database's backup programs, such as pg_dump. By default, they are on PATH.
    """

    to = Required(One("a place", r"^\S+$"))
    key = FILE
    tools = FILE


BACKUP = mapping_shape(_Backups)
LAKE_PLACE = One(
    "a folder, or an address such as s3://bucket/prefix, gs://bucket/prefix or az://container/prefix", r"^\S+$"
)
DEFAULT_MAILER = "folder"  # used if `mail` names no other

# ---- the keys that adapters declare, joined with those of shroff


def _with(shape: Shape, first: tuple[Key, ...] = (), last: tuple[Key, ...] = ()) -> Shape:
    if not isinstance(shape, MappingShape):
        return shape
    declared = set(shape.names)
    keys = (
        *(key for key in first if key.name not in declared),
        *shape.keys,
        *(key for key in last if key.name not in declared),
    )
    return replace(shape, keys=keys)


@cache
def kind_shape(contract: str, kind: str) -> Shape:
    """Return the shape of the settings of a technology. Raises: UsageError if its declaration cannot be loaded."""
    shape = settings_of(contract, kind).shape
    if contract == "sink":
        return _with(shape, first=(TAKE, START))
    return _with(shape, last=SOURCE_KEYS) if contract == "source" else shape


def default_of(contract: str, kind: str, name: str) -> str:
    """Return the default of an adapter's setting. Raises: UsageError as `kind_shape`."""
    shape = kind_shape(contract, kind)
    assert isinstance(shape, MappingShape)
    return next(key.default for key in shape.keys if key.name == name)


def one_kind(contract: str, named: frozenset[str] | None = None) -> MappingShape:
    """Return the shape of a mapping with one technology of a contract and its settings.

    To parse a file, `named` are the keys in it, so that only those adapters are imported. Without it, the shape has all
    adapters with their meanings, for the reference.
    """
    title = f"one kind of {contract}"
    if named is None:
        keys = [Key(kind, settings.meaning, kind_shape(contract, kind)) for kind, settings in each_settings(contract)]
        return MappingShape(title, tuple(keys), is_single=True)
    return MappingShape(title, tuple(_late(contract, kind) for kind in kinds(contract, named)), is_single=True)


def _late(contract: str, kind: str) -> Key:
    return Key(kind, "", Late(partial(kind_shape, contract, kind)))


@cache
def sinks(named: frozenset[str] | None = None) -> MappingShape:
    return own_names("where decisions and flags go, by names of your own", one_kind("sink", named))


@cache
def source(named: frozenset[str] | None = None) -> Shape:
    return Either((URL, MappingShape("one kind of source", (*one_kind("source", named).keys, *NAMED_SOURCE_KEYS))))


@cache
def sources(named: frozenset[str] | None = None) -> MappingShape:
    contracts = ("push", "pull", "source")
    contract_of = {kind: contract for contract in contracts for kind in own_settings(contract)}
    keys: list[Key] = []
    for contract in contracts:
        candidates = named
        if named:  # a kind of another contract cannot be one of this
            candidates = frozenset(name for name in named if contract_of.get(name, contract) == contract)
        keys += one_kind(contract, candidates).keys
    return own_names(
        "where events come from, by names of your own", MappingShape("a source", (*keys, *NAMED_SOURCE_KEYS))
    )


def _addressed(common: MappingShape, contract: str, kind: str | None) -> Shape:
    """Add the settings of one technology to the common keys; without a kind, those of all."""
    declared = [settings for _, settings in each_settings(contract)] if kind is None else [settings_of(contract, kind)]
    own = {key.name: key for settings in declared for key in settings.keys}
    return _with(common, last=tuple(own.values()))


@cache
def store(kind: str | None = None) -> Shape:
    """Return the shape of `store` for one technology; without a kind, for all."""
    return Either((STORE_URL, _addressed(STORE, "log", kind)))


@cache
def lake(kind: str | None = None) -> Shape:
    return Either((LAKE_PLACE, _addressed(LAKE, "lake", kind)))


@cache
def online(kind: str | None = None) -> Shape:
    return Either((ADDRESS, _addressed(ONLINE, "features", kind)))


@cache
def snapshots(kind: str | None = None) -> Shape:
    return _addressed(SNAPSHOTS, "lake", kind)


@cache
def backup(kind: str | None = None) -> Shape:
    return Either((LAKE_PLACE, _addressed(BACKUP, "lake", kind)))


@cache
def mail(named: frozenset[str] | None = None) -> Shape:
    """Return the shape of `mail`: the settings of all mails, and of mailers.

    The keys of shroff's flat mailers are always in it. Other mailers are imported only if `named` has an unknown key,
    or is None (for the reference).
    """
    own = own_settings("mailer")
    keys = [key for settings in own.values() if settings.is_flat for key in settings.keys]
    if named is None:
        keys += [Key(kind, table.meaning, table.shape) for kind, table in each_settings("mailer") if kind not in own]
    elif named - {key.name for key in (*keys, *MAIL_KEYS)}:
        keys += [_late("mailer", kind) for kind in kinds("mailer") if kind not in own]
    return MappingShape("settings of outgoing mails", (*keys, *MAIL_KEYS))


class _Systems:
    """Where things are.

    source: The source of live events: a URL, or a kind with its settings.
        Example: kafka://localhost:9092/payments
    sources: Several named sources. The service receives pushed ones (`sns`, `pubsub`, `webhook`) at `/hooks/NAME`;
        `shroff sources sync NAME` reads pulled ones (`files`, `table`, `amplitude`). A worker reads all streamed ones
        (`kafka`, `redis`, `pubsub_pull`) at once, in order of event time.
        Example: { savings: { sns: { topics: ['arn:aws:sns:eu-west-1:123456789012:savings'] } } }
    store: The database of the log: postgresql://. By default, the log is a file in .shroff/.
        Example: postgresql://shroff@localhost/shroff
    lake: The location of the lake, files for analytics.
        Example: s3://mybank/shroff
    online: A feature store for other services, with the features of each key as of its last decided event.
        Example: redis://localhost:6379/1
    sinks: Destinations of decisions and flags, in addition to the store.
        Example: { decided: { kafka: { brokers: 'localhost:9092', topic: decisions } } }
    sign_in: How people sign in: who needs a second factor, and an identity provider in addition to passwords.
        Example: { oidc: { issuer: https://login.bank.org, client_id: shroff, roles: { fraud-team: analyst } } }
    sessions: Lifetime of sign-in sessions.
        Example: { idle: 15m, lasts: 8h }
    http: Settings of outgoing HTTP calls: webhooks, the schema registry and OpenID Connect, unless they have their own.
        A lake in a bucket uses `proxy` and `ca`.
        Example: { proxy: http://proxy.bank:3128, ca: certs/bank.pem }
    mail: Settings of outgoing mails. By default, mails are files in .shroff/mail/.
        Example: { smtp: smtp://localhost }
    web: The public URL of the service, and its appearance for customers.
        Example: { url: https://answer.penhallow.example, name: Penhallow Bank }
    second_person: Changes that need approval by a second person (four-eyes principle). They are made in the service,
        not by commands.
        Example: [rules, models, users]
    scheme_programmes: Programmes of card schemes: the fields that they need, and their limits. `shroff results` shows
        how near each limit is.
        Example: { scheme: network, merchant: shop, card_not_present: { channel: [web, app] } }
    metrics: Where metrics are served to Prometheus.
        Example: { port: 8000 }
    snapshots: When and where state snapshots are saved.
        Example: { every: 10m, kept: 2 }
    backup: Location of backups of the whole project.
        Example: s3://mybank-backups/shroff
    keep: Retention of events in the store. After a snapshot, older ones move to the lake; their ids stay known forever.
        Example: 400d
    """

    source = Late(source)
    sources = Late(sources)
    store = Late(store)
    lake = Late(lake)
    online = Late(online)
    sinks = Late(sinks)
    sign_in = SIGN_IN
    sessions = SESSIONS
    http = HTTP_CALLS
    mail = Late(mail)
    web = WEB
    second_person = Many(
        "changes that need approval", choice("rules", "lists", "silences", "models", "thresholds", "users")
    )
    scheme_programmes = SCHEME_PROGRAMMES
    metrics = METRICS
    snapshots = Late(snapshots)
    backup = Late(backup)
    keep = DURATION


SYSTEMS = mapping_shape(_Systems).keys
