"""Keys of shroff.yaml of one external system each: a source, a store, a lake, mails, backups, the web address."""

from __future__ import annotations

from shroff.language.keys import (
    ANY,
    DURATION,
    NAME_PATTERN,
    SWITCH,
    WHOLE,
    Either,
    Many,
    MappingShape,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.project.settings.service_keys import NETWORKS
from shroff.streams.settings import ADDRESS, CALLS, DOCUMENT_NAME, FILE, HTTP, OUTSIDE_NAME, VARIABLE

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
