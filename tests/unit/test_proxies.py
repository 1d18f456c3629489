"""From where a request comes: nothing that its sender forged counts, whether there is a proxy or not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shroff.web.proxies import FORWARDED, FORWARDED_FOR, Proxies
from shroff.web.service import STRANGERS_RATE
from tests.telling import FILES, Bank
from tests.unit.projects import systems_of
from tests.webs import asker

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
    headers = [(b"host", b"x"), *((FORWARDED_FOR, one.encode()) for one in said)]

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
        ("nothing", PROXY),
    ],
)
def test_the_standard_header_is_read_where_it_is_named(said, sender):
    headers = [(FORWARDED, said.encode()), (FORWARDED_FOR, b"203.0.113.77")]

    assert Proxies(NETWORKS, FORWARDED).sender(PROXY, headers) == sender


@pytest.mark.parametrize(
    ("networks", "words"), [("[0.0.0.0/0]", "would be everybody"), ("[10.0.0]", "is no address and no network")]
)
def test_networks_that_are_none_or_everybody_are_refused(tmp_path, networks, words):
    bank = Bank(tmp_path, {"shroff.yaml": FILES["shroff.yaml"].replace("web: { ", f"web: {{ proxies: {networks}, ")})

    assert any(words in one.message for one in bank.project.check().errors)
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

            async def status(sender: str) -> int:
                headers = {"x-forwarded-for": f"203.0.113.{len(sender)}, {sender}"}
                return (await asks.ask("GET", "/confirm/none", key="", headers=headers)).status

            busy = [await status(CLIENT) for _ in range(round(4 * STRANGERS_RATE))]
            assert busy[0] == 404
            assert busy[-1] == 429
            assert await status("198.51.100.10") == others

    asyncio.run(steps())
