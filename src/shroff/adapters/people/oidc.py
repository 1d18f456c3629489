"""Sign users in by an OpenID provider over HTTPS, with its discovery document (extra `sso`); joserfc verifies
tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

from shroff.adapters.databases.server_url import is_loopback
from shroff.adapters.http_calls import Calls, basic, reason, target_of
from shroff.errors import SignInError, TransientError, UsageError
from shroff.json_types import JsonObject, TextDict
from shroff.people.access import Role
from shroff.people.oidc import Claims, texts_of
from shroff.project.settings.system import System
from shroff.runtime.values import Fresh

try:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet
except ModuleNotFoundError:
    raise UsageError("signing in by OpenID needs the extra 'sso': pip install 'shroff[sso]'.") from None

ANSWER_BYTES_MAX = 1024 * 1024
SKEW_S = 60  # by which clocks may differ
KEPT_S = 3_600.0  # lifetime of the provider's metadata
KEYS_EVERY_S = 10.0  # between reads of the keys for an unknown key
# Only signatures by public keys. With a shared secret, or no signature, others than the provider could make tokens.
ALGORITHMS = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split()
_TOO_MANY = 429
_FAILS_FROM = 500
_NOT_FOR_US = "the response of the provider does not belong to this sign-in ({why}). Sign in again"


class Clocks(NamedTuple):
    """The wall clock and the monotonic clock, in seconds."""

    now_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic


class OidcProvider:
    """Keeps the promises of `people.oidc.Provider`. Calls may come from any thread.

    Certificates are verified, and redirects are not followed. Plain HTTP is only for a provider on this machine.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        secret: str,
        claim: str,
        roles: Mapping[str, Role],
        calls: Calls | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """Prepare without calling the provider.

        Args:
            issuer: Exactly as the provider calls itself.
            claim: The claim whose values, such as the user's groups, `roles` maps to roles.
            calls: Settings of HTTP calls.

        Raises: UsageError if the address is not secure.
        """
        self.issuer = issuer
        self.roles = roles
        self._client_id = client_id
        self._secret = secret
        self._claim = claim
        self._clocks = clocks or Clocks()
        self._metadata = Fresh[JsonObject](clock_s=self._clocks.monotonic_s)
        self._keys = Fresh[KeySet](clock_s=self._clocks.monotonic_s)
        _check_secure(issuer)
        self._calls = calls or Calls()

    def __repr__(self) -> str:
        return f"OidcProvider({self.issuer})"

    def address(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        endpoint = self._endpoint("authorization_endpoint")
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    def claims(self, *, code: str, redirect_uri: str, verifier: str, nonce: str) -> Claims:
        tokens = self._tokens(code, redirect_uri, verifier)
        claims = self._check_claims(tokens.get("id_token"), nonce)
        if self._claim not in claims and isinstance(tokens.get("access_token"), str):
            claims = {**self._user(tokens["access_token"], claims["sub"]), **claims}
        return Claims(
            subject=claims["sub"],
            name=_text(claims.get("preferred_username")),
            display_name=_text(claims.get("name")),
            email=_text(claims.get("email")) if claims.get("email_verified", True) is True else "",
            values=texts_of(claims.get(self._claim)),
        )

    # Below: what the provider answers

    def _tokens(self, code: str, redirect_uri: str, verifier: str) -> JsonObject:
        """Exchange a code for tokens. Raises: SignInError if the provider does not accept it."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        methods = self._provider_metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret and "client_secret_basic" in methods:
            headers["Authorization"] = basic(quote_plus(self._client_id), quote_plus(self._secret))
        else:
            form |= {"client_id": self._client_id, **({"client_secret": self._secret} if self._secret else {})}
        status, answer = self._fetch("POST", self._endpoint("token_endpoint"), headers, urlencode(form).encode())
        if status != 200:
            error = _text(answer.get("error"))[:100]
            if error in {"invalid_client", "unauthorized_client"}:
                raise UsageError(f"{self.issuer} rejects client_id and client_secret of sign_in in shroff.yaml.")
            raise SignInError(_NOT_FOR_US.format(why=error or f"status {status}"))
        return answer

    def _check_claims(self, token: Any, nonce: str) -> JsonObject:
        if not isinstance(token, str):
            raise SignInError(_NOT_FOR_US.format(why="there is no id_token"))
        claims = self._verify(token)
        registry = jwt.JWTClaimsRegistry(
            now=int(self._clocks.now_s()),
            leeway=SKEW_S,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            raise SignInError(_NOT_FOR_US.format(why=error.description or error.error)) from None
        audience = claims["aud"]
        party = claims.get("azp", self._client_id)
        if party != self._client_id or (isinstance(audience, list) and len(audience) > 1 and "azp" not in claims):
            raise SignInError(_NOT_FOR_US.format(why="it was issued for another client"))
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255 or not claims["sub"].isprintable():
            raise SignInError(_NOT_FOR_US.format(why="its subject is not text"))
        return claims

    def _verify(self, token: str) -> JsonObject:
        """Return the claims of a token with a valid signature; fetch the keys again if its key is unknown."""
        for is_again in (False, True):
            try:
                keys = self._keys.get("", self._read_keys, KEYS_EVERY_S if is_again else KEPT_S)
                return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
            except (JoseError, ValueError) as error:
                if is_again:
                    raise SignInError(_NOT_FOR_US.format(why="its signature is not the provider's")) from error
        raise AssertionError

    def _read_keys(self) -> KeySet:
        status, answer = self._fetch("GET", self._endpoint("jwks_uri"), {})
        try:
            return KeySet.import_key_set(answer)  # type: ignore[arg-type]  # it looks at the shape itself
        except (JoseError, KeyError, TypeError, ValueError):
            raise TransientError(f"{self.issuer} returned no keys (status {status}). Try again") from None

    def _user(self, access_token: str, subject: str) -> JsonObject:
        if not self._provider_metadata().get("userinfo_endpoint"):
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        status, answer = self._fetch("GET", self._endpoint("userinfo_endpoint"), headers)
        return answer if status == 200 and answer.get("sub") == subject else {}

    def _provider_metadata(self) -> JsonObject:
        """Return the provider's metadata. Raises: TransientError; UsageError for another provider."""
        return self._metadata.get("", self._read_metadata, KEPT_S)

    def _read_metadata(self) -> JsonObject:
        status, answer = self._fetch("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration", {})
        if status != 200:
            raise TransientError(f"{self.issuer} returned no discovery document (status {status}). Check its address")
        if answer.get("issuer") != self.issuer:
            reported_issuer = _text(answer.get("issuer"))[:200]
            raise UsageError(
                f"sign_in: at {self.issuer} there is the issuer {reported_issuer!r}. Write it as stated there."
            )
        return answer

    def _endpoint(self, name: str) -> str:
        url = _text(self._provider_metadata().get(name))
        if not url:
            raise UsageError(f"{self.issuer} has no {name}, which sign-in requires.")
        _check_secure(url)
        return url

    def _fetch(self, method: str, url: str, headers: TextDict, body: bytes = b"") -> tuple[int, JsonObject]:
        """Return status and JSON object of an answer; an empty object for anything else. Raises: TransientError."""
        parts = urlsplit(url)
        client = self._calls.client(parts.scheme, parts.hostname or "", parts.port, answer_bytes_max=ANSWER_BYTES_MAX)
        try:
            with closing(client):
                headers = {"Accept": "application/json", **headers}
                answer = client.call(method, target_of(parts), body or None, headers)
        except OSError as error:
            message = f"the OpenID provider {self.issuer} cannot be reached: {reason(error)}. Try again"
            raise TransientError(message) from None
        if answer.status == _TOO_MANY or answer.status >= _FAILS_FROM:
            raise TransientError(f"the OpenID provider {self.issuer} answers with status {answer.status}. Try again")
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        return answer.status, document if isinstance(document, dict) else {}


def provider_of(system: System) -> OidcProvider:
    """Return the provider of these settings. Raises: UsageError as `OidcProvider`."""
    return OidcProvider(
        issuer=system.text("issuer"),
        client_id=system.text("client_id"),
        secret=system.text("client_secret"),
        claim=system.text("claim", "groups"),
        roles={value: Role(name) for value, name in system.options["roles"].items()},
        calls=Calls.of(system.options),
    )


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) and value.isprintable() else ""


def _check_secure(url: str) -> None:
    """Raise UsageError for an address without TLS: anybody on the network could answer in its place."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UsageError(f"sign_in: {url} is not https://. Only a provider on this machine may use http://.")
