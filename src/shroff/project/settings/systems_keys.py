"""The keys of shroff.yaml for external systems, with those that installed adapters declare.

`settings.systems` loads them, and `check`, the schemas and the reference show them. Adapters declare the keys below
their own names (`project.settings.installed`). No version, control event or receipt contains them.
"""

from __future__ import annotations

from functools import cache, partial

from shroff.language.keys import (
    DURATION,
    Either,
    Key,
    Late,
    Many,
    MappingShape,
    Shape,
    choice,
    mapping_shape,
    own_names,
)
from shroff.project.settings.installed import each_settings, kinds, own_settings, settings_of
from shroff.project.settings.location_keys import (
    BACKUP,
    LAKE,
    LAKE_PLACE,
    MAIL_KEYS,
    NAMED_SOURCE_KEYS,
    ONLINE,
    SNAPSHOTS,
    SOURCE_KEYS,
    STORE,
    STORE_URL,
    URL,
    WEB,
)
from shroff.project.settings.programmes import SCHEME_PROGRAMMES
from shroff.project.settings.service_keys import METRICS, SESSIONS, SIGN_IN
from shroff.runtime.values import replace
from shroff.streams.settings import ADDRESS, HTTP_CALLS, START, TAKE

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
