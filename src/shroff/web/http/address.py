"""The address at which browsers reach this service: the one that shroff.yaml names, or else the one they asked."""

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
    """Where this service is.

    What a request says of it is what a browser, or whatever stands before the service, wrote into its head. So where an
    address is set, nothing of a request counts: neither its host nor what a proxy says of TLS.

    Args:
        public: As `Systems.public_url`; empty where none is set.
        base: The path below which an organization is served.
    """

    public: str = ""
    base: str = ""

    def of(self, request: Request) -> str:
        """The address, without a slash behind. Raises: ProblemError for a host that is none."""
        if self.public:
            return self.public
        address = f"{'https' if request.is_encrypted else 'http'}://{request.headers.get('host', '')}"
        try:
            urlsplit(address)
        except ValueError as error:
            raise ProblemError(400, "bad-header", "A header cannot be read", f"Host: {error}") from None
        return address + self.base

    def is_encrypted(self, request: Request) -> bool:
        """Whether browsers speak TLS, so that a cookie is for TLS only."""
        return self.public.startswith("https:") if self.public else request.is_encrypted

    def check_origin(self, request: Request) -> None:
        """Refuse a form that another site sent: browsers say from where. Raises: ProblemError."""
        site = request.headers.get("sec-fetch-site", "")
        origin = request.headers.get("origin", "")
        is_own = site == "same-origin" or (site in {"", "none"} and (not origin or origin in self._origins(request)))
        if not is_own:
            words = f"sign in at {self.public}/login" if self.public else "sign in at its own page"
            raise ProblemError(403, "no-csrf", "The form was not sent from this service", words)

    def _origins(self, request: Request) -> set[str]:
        if self.public:
            return {origin_of(self.public)}
        host = request.headers.get("host", "")
        return {f"http://{host}", f"https://{host}"}


class ActiveSettings(FrozenStruct):
    """Objects derived from the settings of shroff.yaml; rebuilt when others become active."""

    systems: Systems
    address: Address
    proxies: Proxies
    networks: Proxies | None
    provider: Provider | None

    @classmethod
    def of(cls, systems: Systems, provider: Provider | None, public: str, base: str) -> Self:
        """What these settings say; `public` is used if they name no address. Raises: UsageError for a wrong address."""
        networks = Proxies(given) if (given := systems.web.options.get("networks")) else None
        address = Address(systems.public_url or public, base)
        return cls(systems, address, proxies_of(systems.web), networks, provider)


def origin_of(url: str) -> str:
    """The origin of an address, as browsers say it.

    >>> origin_of("https://Fraud.Bank.example:443/x")
    'https://fraud.bank.example'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return f"{parts.scheme}://{host.removesuffix(usual)}"
