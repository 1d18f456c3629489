"""The HTTP client: what `shroff serve` answers, as values; sync and async.

    with shroff.client.Client("http://localhost:8080", key) as client:
        decision = client.decide("payment", {"payment_id": "p-1", ...}, timeout=0.05, otherwise="review")

It needs the extra `client`.
"""

from shroff.client.answers import (
    Answer,
    ClientError,
    Labelled,
    NotAllowedError,
    RefusedError,
    StandIn,
    TimedOutError,
    UnavailableError,
)
from shroff.client.asynchronous import AsyncClient
from shroff.client.synchronous import Client

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientError",
    "Labelled",
    "NotAllowedError",
    "RefusedError",
    "StandIn",
    "TimedOutError",
    "UnavailableError",
]
