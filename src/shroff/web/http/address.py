"""The service's address as browsers see it: from shroff.yaml, or else from the request's Host header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from shroff.runtime.values import FrozenStruct
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.proxies import Proxies, proxies_of

if TYPE_CHECKING:
    from shroff.people.oidc import Provider
    from shroff.project.settings.systems import Systems


class Address(FrozenStruct):
    """The address of this service.

    A client can forge the headers of a request. If an address is configured, neither the Host header nor a proxy's
    header about TLS is used.

    Args:
        public: `Systems.public_url`; empty if none is configured.
        base: Path prefix of an organization.
    """

    public: str = ""
    base: str = ""

    def of(self, request: Request) -> str:
        """Return the address without a trailing slash. Raises: ProblemError for an invalid Host header."""
        if self.public:
            return self.public
        address = f"{'https' if request.is_encrypted else 'http'}://{request.headers.get('host', '')}"
        try:
            urlsplit(address)
        except ValueError as error:
            raise ProblemError(400, "bad-header", "A header cannot be read", f"Host: {error}") from None
        return address + self.base

    def is_encrypted(self, request: Request) -> bool:
        """Return whether browsers use TLS; cookies are then restricted to TLS."""
        return self.public.startswith("https:") if self.public else request.is_encrypted

    def check_origin(self, request: Request) -> None:
        """Check a form's origin, which browsers send. Raises: ProblemError with 403 if it is another site."""
        site = request.headers.get("sec-fetch-site", "")
        origin = request.headers.get("origin", "")
        is_own = site == "same-origin" or (site in {"", "none"} and (not origin or origin in self._origins(request)))
        if not is_own:
            remedy = f"sign in at {self.public}/login" if self.public else "sign in at its own page"
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", remedy)

    def _origins(self, request: Request) -> set[str]:
        if self.public:
            return {origin_of(self.public)}
        host = request.headers.get("host", "")
        return {f"http://{host}", f"https://{host}"}


class ActiveSettings(FrozenStruct):
    """Objects derived from the settings of shroff.yaml; built again when other settings become active."""

    systems: Systems
    address: Address
    proxies: Proxies
    networks: Proxies | None
    provider: Provider | None

    @classmethod
    def of(cls, systems: Systems, provider: Provider | None, public: str, base: str) -> Self:
        """Derive the objects; `public` is used if no address is set. Raises: UsageError for an invalid address."""
        names = systems.web.options.get("networks")
        networks = Proxies(names) if names else None
        address = Address(systems.public_url or public, base)
        return cls(systems, address, proxies_of(systems.web), networks, provider)


def origin_of(url: str) -> str:
    """Return the origin of an http or https URL as browsers send it.

    >>> origin_of("https://Fraud.Bank.example:443/x")
    'https://fraud.bank.example'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    default_port = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{host.removesuffix(default_port)}"
