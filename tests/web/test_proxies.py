"""From where a request comes: nothing that its sender forged counts, whether there is a proxy or not."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from shroff.people import users
from shroff.people.access import Role
from shroff.web.http.proxies import FORWARDED, FORWARDED_FOR, Proxies
from shroff.web.service import STRANGERS_RATE
from tests.support.projects import systems_of
from tests.support.served import ME, served
from tests.support.telling import FILES, Bank
from tests.support.webs import PASSWORD, asker

NETWORKS = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")
CLIENT, PROXY = "198.51.100.9", "10.1.1.1"


@pytest.mark.parametrize(
    ("peer", "said", "sender"),
    [
        (PROXY, [], PROXY),
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"203.0.113.5, {CLIENT}"], CLIENT),  # the first was there before: its sender forged it
        (PROXY, ["203.0.113.5", CLIENT], CLIENT),  # as a line of its own
        (PROXY, [f"203.0.113.5, {CLIENT}, 192.0.2.7"], CLIENT),  # two proxies
        (PROXY, [f"10.9.9.9, {CLIENT}"], CLIENT),  # forged to look like a proxy
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db9::1]:4711"], "2001:db9::1"),
        (PROXY, ["2001:db9::1"], "2001:db9::1"),
        (PROXY, [f"::ffff:{CLIENT}"], CLIENT),
        ("::ffff:10.1.1.1", [CLIENT], CLIENT),
        ("2001:db8::5", [CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),  # who wrote what stands before it nobody knows
        (PROXY, [f"{CLIENT}, <script>"], PROXY),
        (PROXY, ["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        (PROXY, ["", ","], PROXY),
        (CLIENT, ["203.0.113.5"], CLIENT),  # past the proxies
        ("", ["203.0.113.5"], ""),
    ],
)
def test_the_sender_is_the_last_address_that_no_proxy_has(peer, said, sender):
    headers = [(b"host", b"x"), *((FORWARDED_FOR, line.encode()) for line in said)]

    assert Proxies(NETWORKS).sender(peer, headers) == sender
    assert Proxies().sender(peer, headers) == peer


@pytest.mark.parametrize(
    ("said", "sender"),
    [
        (f"for={CLIENT}", CLIENT),
        (f'for=203.0.113.5;proto=http, by=10.0.0.1; For="{CLIENT}:80";proto=https', CLIENT),
        ('for="[2001:db9::1]:80"', "2001:db9::1"),
        (f'for="a,for={CLIENT}"', PROXY),
        (f"for={CLIENT}, for=_hidden", PROXY),
        (f"host=for;proto=for={CLIENT}", PROXY),
        (f'host="x;for=203.0.113.5";for={CLIENT}', CLIENT),  # the host is what the sender wrote
        (f'for={CLIENT};host="a\\",for=203.0.113.5;b=\\""', CLIENT),
        ("nothing", PROXY),
    ],
)
def test_the_standard_header_is_read_where_it_is_named(said, sender):
    headers = [(FORWARDED, said.encode()), (FORWARDED_FOR, b"203.0.113.77")]

    assert Proxies(NETWORKS, FORWARDED).sender(PROXY, headers) == sender


@pytest.mark.parametrize(
    ("peer", "said", "is_encrypted"),
    [
        (PROXY, ["https"], True),
        (PROXY, [" HTTPS "], True),
        (PROXY, ["http"], False),
        (PROXY, [], False),
        (PROXY, ["https, http"], False),  # the first was there before: its sender forged it
        (PROXY, ["https", "http"], False),
        (PROXY, ["http, https"], True),
        ("::ffff:10.1.1.1", ["https"], True),
        (CLIENT, ["https"], False),  # past the proxies
        ("", ["https"], False),
    ],
)
def test_a_way_is_believed_of_a_named_proxy_alone(peer, said, is_encrypted):
    headers = [(b"host", b"x"), *((b"x-forwarded-proto", line.encode()) for line in said)]

    assert Proxies(NETWORKS).is_encrypted(peer, headers) is is_encrypted
    assert not Proxies().is_encrypted(peer, headers)
    assert not Proxies(NETWORKS, FORWARDED).is_encrypted(peer, headers), "that header is not the one that is named"


@pytest.mark.parametrize(
    ("said", "is_encrypted"),
    [
        (f"for={CLIENT};proto=https", True),
        ('Proto="HTTPS"', True),
        (f"for={CLIENT};proto=http", False),
        (f"for=203.0.113.5;proto=https, for={CLIENT};proto=http", False),
        (f"for=203.0.113.5;proto=https, for={CLIENT}", False),
        ('for="a;proto=https"', False),
        ("https", False),
    ],
)
def test_the_way_stands_in_the_standard_header_where_that_is_named(said, is_encrypted):
    headers = [(FORWARDED, said.encode())]

    assert Proxies(NETWORKS, FORWARDED).is_encrypted(PROXY, headers) is is_encrypted
    assert not Proxies(NETWORKS).is_encrypted(PROXY, headers)


@pytest.mark.parametrize(
    ("networks", "words"),
    [("[0.0.0.0/0]", "would trust every client"), ("[10.0.0]", "is neither an address nor a network")],
)
def test_networks_that_are_none_or_everybody_are_refused(tmp_path, networks, words):
    bank = Bank(tmp_path, {"shroff.yaml": FILES["shroff.yaml"].replace("web: { ", f"web: {{ proxies: {networks}, ")})

    assert any(words in error.message for error in bank.project.check().errors)
    assert systems_of("shroff: 1\nweb: { proxies: [10.0.0.0/8, 127.0.0.1] }\n").web.options["proxies"] == [
        "10.0.0.0/8",
        "127.0.0.1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("proxies", "others"), [("proxies: [127.0.0.1], ", 404), ("", 429)])
def test_customers_behind_one_proxy_have_a_pace_each(tmp_path: Path, proxies: str, others: int) -> None:
    bank = Bank(tmp_path, {"shroff.yaml": FILES["shroff.yaml"].replace("web: { ", f"web: {{ {proxies}")})

    async def steps() -> None:
        async with asker(bank.folder) as asks:
            now_s = time.monotonic()
            asks.service.strangers._clock_s = lambda: now_s  # a slow machine is no slow sender

            async def status(sender: str) -> int:
                headers = {"x-forwarded-for": f"203.0.113.{len(sender)}, {sender}"}
                return (await asks.ask("GET", "/confirm/none", key="", headers=headers)).status

            busy = [await status(CLIENT) for _ in range(round(4 * STRANGERS_RATE))]
            assert busy[0] == 404
            assert busy[-1] == 429
            assert await status("198.51.100.10") == others

    asyncio.run(steps())


@pytest.mark.slow
@pytest.mark.parametrize(("named", "is_encrypted"), [("proxies: [127.0.0.0/8]", True), ("name: Bank", False)])
def test_a_service_marks_a_cookie_for_tls_by_the_word_of_a_named_proxy_alone(
    tmp_path: Path, named: str, is_encrypted: bool
) -> None:
    settings = re.sub(r"web: {.*}", f"web: {{ {named} }}", FILES["shroff.yaml"])
    bank = Bank(tmp_path, {"shroff.yaml": settings})
    with bank.project.people.open() as desk:
        users.add(desk, ME, "ann", Role.ANALYST, password=PASSWORD)

    with served(bank.folder) as service, service.client(key="") as client:

        def cookie(**headers: str) -> str:
            form = {"name": "ann", "password": PASSWORD}
            given = {"origin": service.url, **{name.replace("_", "-"): text for name, text in headers.items()}}
            return client.post("/login", data=form, headers=given).headers["set-cookie"]

        assert cookie(x_forwarded_proto="https").endswith("; Secure") is is_encrypted
        assert not cookie(x_forwarded_proto="https, http").endswith("; Secure")
        assert not cookie().endswith("; Secure")
