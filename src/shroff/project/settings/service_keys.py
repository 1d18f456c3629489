"""The keys of shroff.yaml for how people sign in to the service, how long they stay, and where metrics are served."""

from __future__ import annotations

from shroff.language.keys import ANY, DURATION, SWITCH, WHOLE, Many, One, Required, choice, mapping_shape, own_names
from shroff.streams.settings import CALLS, HTTP, OUTSIDE_NAME, VARIABLE

PERSON_ROLE = choice("admin", "author", "analyst", "viewer", "member")
_ROLES = own_names("values of the claim or names of groups with their roles", PERSON_ROLE, pattern="^.{1,200}$")


class _OpenidProvider:
    """An OpenID Connect provider.

    issuer: The provider's issuer URL; its settings are read from /.well-known/openid-configuration there.
        Example: https://login.bank.org/realms/bank
    client_id: The client id of this service at the provider.
    client_secret: The client secret, as an environment variable. By default there is none.
        Example: ${OIDC_SECRET}
    claim: The claim that determines a user's role.
        Default: groups
    roles: The role for each value of the claim; if several match, the one with the most rights. Users without a
        match cannot sign in.
        Example: { fraud-team: analyst, fraud-leads: admin }
    """

    issuer = Required(HTTP)
    client_id = Required(ANY)
    client_secret = One("an environment variable such as ${OIDC_SECRET}", f"^{VARIABLE}$")
    claim = ANY
    roles = Required(_ROLES)
    calls = CALLS


class _Scim:
    """Users and groups by SCIM.

    roles: The role for each group, by its display name; if a user is in several, the one with the most rights.
        Users in none of these groups cannot sign in.
        Example: { fraud-team: analyst, fraud-leads: admin }
    """

    roles = Required(_ROLES)


class _SignIn:
    """How people sign in.

    passwords: Whether people may sign in with a password; only with `oidc` they need not.
        Default: true
        Example: false
    second_factor: Roles that need a code of an authenticator app beside the password. Other users may set it up too. An
        identity provider asks for its own.
        Example: [admin, author]
    oidc: An OpenID Connect provider for sign-in.
        Example: { issuer: https://login.bank.org, client_id: shroff, roles: { fraud-team: analyst } }
    scim: An identity provider adds, changes and disables users at /scim/v2 (SCIM 2.0). By default it cannot.
        Example: { roles: { fraud-team: analyst } }
    """

    passwords = SWITCH
    second_factor = Many("a list of roles", PERSON_ROLE)
    oidc = mapping_shape(_OpenidProvider)
    scim = mapping_shape(_Scim)


SIGN_IN = mapping_shape(_SignIn)


class _SessionLifetime:
    """Session lifetime.

    idle: A session expires after this time without activity. Automatic requests of open pages do not count.
        Default: 1h
        Example: 15m
    lasts: Maximum lifetime of a session; at least `idle`.
        Default: 12h
        Example: 8h
    """

    idle = DURATION
    lasts = DURATION


SESSIONS = mapping_shape(_SessionLifetime)
NETWORKS = Many(
    "a list of addresses and networks", One("an address or a network such as 10.0.0.0/8", r"^[0-9A-Fa-f.:/]+$")
)


class _LabelFields:
    """The event fields of the two labels, and what counts as fraud.

    transaction_type: The field of the label `transaction_type`.
        Example: channel
    country: The field of the label `country`.
        Example: country
    fraud: Outcomes that `fraudulent_transactions_total` counts, like `fraud` of `summaries`.
        Default: [review, decline]
    """

    transaction_type = Required(OUTSIDE_NAME)
    country = Required(OUTSIDE_NAME)
    fraud = Many("outcomes", choice("approve", "challenge", "review", "decline"))


class _PrometheusMetrics:
    """Metrics for Prometheus.

    port: The port of `/metrics` and `/health` of a worker (`shroff run`), and of a service in addition to its own port.
        Example: 8000
    host: The address to listen on; 0.0.0.0 for all. This port asks for no key: let only Prometheus reach it.
        Default: 127.0.0.1
        Example: 10.0.0.7
    earlier_names: The event fields behind the labels of `transactions_total`, `fraudulent_transactions_total` and
        `transaction_amount`, the names of earlier dashboards. By default, these three are not served.
        Example: { transaction_type: channel, country: country }
    """

    port = WHOLE
    host = OUTSIDE_NAME
    earlier_names = mapping_shape(_LabelFields)


METRICS = mapping_shape(_PrometheusMetrics)
