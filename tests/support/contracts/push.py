"""The contract of pushed sources, as tests: a signed message is accepted unchanged, all others are refused."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import pytest

from shroff.streams.push import BAD, FORBIDDEN, MESSAGE, FetchNeededError, Push, PushRefusedError, PushSource
from shroff.testing.contracts.promises import Contract, promise

Request = tuple[Mapping[str, str], bytes]  # headers by their names in lower case, and the body
BODY = b'{"payment": "p-1", "note": "Gr\xc3\xbc\xc3\x9fe\\n"}'
NOW_MS = 1_772_366_400_000


class PushContract(Contract):
    """Bind it by a subclass."""

    @abstractmethod
    def made(self) -> PushSource:
        """A source that can fetch what verifies the requests of `signed`."""

    @abstractmethod
    def signed(self, id_: str, body: bytes, *, by_another: bool = False) -> Request:
        """A request that brings a message at `NOW_MS`; by somebody else's key."""

    def taken(self, source: PushSource, request: Request) -> Push:
        """What a request brings, as a service asks for it."""
        try:
            return source.verified(*request, NOW_MS)
        except FetchNeededError as needed:
            source.fetch(needed.url)
            return source.verified(*request, NOW_MS)

    def test_a_signed_message_is_given_as_it_is(self) -> None:
        found = self.taken(self.made(), self.signed("m-1", BODY))

        assert (found.kind, found.id, found.body) == (MESSAGE, "m-1", BODY)

    def test_a_message_that_comes_again_has_the_same_id_and_another_one_has_not(self) -> None:
        source = self.made()

        assert self.taken(source, self.signed("m-1", BODY)) == self.taken(source, self.signed("m-1", BODY))
        assert self.taken(source, self.signed("m-2", BODY)).id == "m-2"

    def test_another_signature_is_refused(self) -> None:
        self.refuses(self.signed("m-1", BODY, by_another=True), FORBIDDEN)

    @promise("knows a changed body")
    def test_a_changed_body_is_refused(self) -> None:
        headers, body = self.signed("m-1", BODY)
        for at in range(0, len(body), max(1, len(body) // 40)):
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            with pytest.raises(PushRefusedError):
                self.unchanged(self.taken(self.made(), (headers, changed)), changed)

    def test_a_request_without_a_signature_is_refused(self) -> None:
        self.refuses(({}, BODY), BAD, FORBIDDEN)
        self.refuses(({}, b""), BAD, FORBIDDEN)

    def test_a_refused_request_leaves_nothing_behind(self) -> None:
        source = self.made()
        with pytest.raises(PushRefusedError):
            self.taken(source, self.signed("m-1", BODY, by_another=True))

        assert self.taken(source, self.signed("m-1", BODY)).id == "m-1"

    def refuses(self, request: Request, *statuses: int) -> None:
        with pytest.raises(PushRefusedError) as found:
            self.taken(self.made(), request)
        assert found.value.status in statuses

    def unchanged(self, found: Push, _changed: bytes) -> None:
        """A change that nobody signs, as of a field that nothing reads, gives the very same message."""
        if found == self.taken(self.made(), self.signed("m-1", BODY)):
            raise PushRefusedError(FORBIDDEN, "it was accepted, and changes nothing")
