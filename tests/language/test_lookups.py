"""Tables by network, prefix, suffix and time against plain Python and `ipaddress`."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import Problem
from shroff.language.lookups import intervals
from shroff.language.lookups.intervals import IntervalIndex, KeyColumn, range_interval
from shroff.language.lookups.table import key_interval
from shroff.language.names import TableShape
from shroff.language.types import TEXT
from shroff.project.table_files import load_table

SEEDS = st.integers(0, 2**32)
MANY = 400  # look-ups of one table


def table(kind: str, rows: list[tuple], since: str = ""):
    problems: list[Problem] = []
    header = ["key", "name", *([since] if since else [])]
    text = "\n".join(",".join(map(str, row)) for row in [header, *rows])
    found = load_table("tables/t.csv", text, TableShape(TEXT, {"name": TEXT}, since, kind), "key", 2, problems)
    return found, [(problem.line, problem.message) for problem in problems]


def names(found, texts, times_ms=None):
    at = np.zeros(len(texts), np.int64) if times_ms is None else np.array(times_ms, np.int64)
    return found.values("name", texts, at)


def random_address(random: Random, version: int):
    size = 32 if version == 4 else 128
    few = random.getrandbits(size) & (0x0F0F << (size - 16) | random.choice([0, 3]))
    return (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(
        random.choice([few, few, random.getrandbits(size)])
    )


@given(SEEDS)
def test_the_longest_network_holds_an_address(seed):
    random = Random(seed)
    networks = set()
    for _ in range(random.randrange(1, 40)):
        address = random_address(random, random.choice([4, 6]))
        networks.add(ipaddress.ip_network((address, random.randrange(address.max_prefixlen + 1)), strict=False))
    found, problems = table("network", [(network, network) for network in networks])
    texts = [str(random_address(random, random.choice([4, 6]))) for _ in range(MANY)]
    texts += [f"::ffff:{random_address(random, 4)}" for _ in range(20)]
    texts += ["", "x", "192.0.2", "01.2.3.4", "1.2.3.4/8", " 1.2.3.4", "fe80::1%eth0", "1:2:3:4:5:6:7::", "::1.2.3.4"]

    def holder(text):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        address = getattr(address, "ipv4_mapped", None) or address
        holding = [network for network in networks if network.version == address.version and address in network]
        return str(max(holding, key=lambda network: network.prefixlen)) if holding else None

    assert problems == []
    assert names(found, texts) == [holder(text) for text in texts]


@given(SEEDS)
def test_the_longest_prefix_that_a_text_begins_with_holds_at_its_time(seed):
    random = Random(seed)
    rows, known = [], {}
    for _ in range(random.randrange(1, 40)):
        length = random.randrange(1, 5)
        low = random.randrange(10**length)
        high = min(low + random.choice([0, 0, 0, 1, 5, 30]), 10**length - 1)
        prefixes = [f"{number:0{length}}" for number in range(low, high + 1)]
        if all(prefix not in known for prefix in prefixes):
            key = prefixes[0] if low == high else f"{prefixes[0]}-{prefixes[-1]}"
            since = random.sample(range(10), random.randrange(1, 4))
            rows += [(key, f"{key}@{since_ms}", since_ms) for since_ms in since]
            known |= dict.fromkeys(prefixes, (key, since))
    found, problems = table("prefix", rows, "since")
    texts = ["".join(random.choices("0123456789" + random.choice(["", "x/:é"]), k=length)) for length in range(8)] * (
        MANY // 8
    )
    times_ms = [random.randrange(-1, 11) for _ in texts]

    def holder(text, time_ms):
        for length in range(len(text), 0, -1):
            key, since = known.get(text[:length], ("", ()))
            valid = [since_ms for since_ms in since if since_ms <= time_ms]
            if valid:
                return f"{key}@{max(valid)}"
        return None

    assert problems == []
    assert names(found, texts, times_ms) == list(map(holder, texts, times_ms))


@given(SEEDS)
def test_the_longest_name_that_ends_a_text_at_a_dot_holds(seed):
    random = Random(seed)

    def name():
        return ".".join(random.choices(["a", "b", "ab", "ß", "ss", "UK", "uk", "Co", ""], k=random.randrange(1, 5)))

    rows = {key.casefold(): key for key in (name() for _ in range(20)) if key}
    found, problems = table("suffix", [(key, folded) for folded, key in rows.items()])
    texts = [name() for _ in range(MANY)]

    def holder(text):
        labels = text.casefold().split(".")
        ends = (".".join(labels[start:]) for start in range(len(labels)))
        return next((end for end in ends if end in rows), None)

    assert problems == []
    assert names(found, texts) == [holder(text) for text in texts]


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("network", ["192.0.2.1/24"], [(2, "Write 192.0.2.0/24")]),
        ("network", ["192.0.2.0/33"], [(2, "0 to 32")]),
        ("network", ["192.0.2.0/x"], [(2, "0 to 32")]),
        ("network", ["192.0.2"], [(2, "no network such as")]),
        ("network", ["::ffff:0:0/95"], [(2, "behind the / stands a number of bits, 96 to 128")]),
        ("network", ["10.0.0.0/8", "::/8", "10.0.0.0/8"], [(4, "line 2 has")]),
        ("network", ["192.0.2.0/24", "::ffff:192.0.2.0/120"], [(3, "line 2 has")]),
        ("prefix", ["4111-4119", "4118"], [(3, "line 2 has")]),
        ("prefix", ["4111-4119", "411", "4118-4125"], [(4, "line 2 has")]),
        ("prefix", ["4119-4111"], [(2, "the lower first")]),
        ("prefix", ["41-4119"], [(2, "as many digits")]),
        ("prefix", ["", "41"], [(2, "the key is empty")]),
        ("suffix", ["Example.com", "example.COM"], [(3, "line 2 has")]),
    ],
)
def test_a_key_that_is_wrong_or_there_twice_is_told_with_its_line_and_a_cure(kind, keys, told):
    _, problems = table(kind, [(key, f"name {number}") for number, key in enumerate(keys)])

    assert [line for line, _ in problems] == [line for line, _ in told]
    assert all(words in message for (_, message), (_, words) in zip(problems, told, strict=True))


def test_the_same_key_from_another_time_is_another_row():
    _, problems = table("suffix", [("a", 1, 5), ("a", 2, 6), ("a", 3, 5)], "since")
    _, others = table("suffix", [("a", 1, 5), ("b", 4, "soon")], "since")

    assert [line for line, _ in problems] == [4]
    assert [line for line, _ in others] == [3]


def test_a_missing_text_and_an_empty_table_have_no_row():
    found, _ = table("network", [("::/0", "all")])
    empty, _ = table("prefix", [])

    assert names(found, [None, "::1", None]) == [None, "all", None]
    assert names(empty, [None, "4"]) == [None, None]


def test_a_key_of_a_mapped_network_is_that_of_ipv4():
    assert key_interval("network", "::ffff:0:0/96") == key_interval("network", "0.0.0.0/0")


def ranges(kind: str, rows: list[tuple]):
    problems: list[Problem] = []
    text = "\n".join(",".join(map(str, row)) for row in [("low", "high", "name"), *rows])
    shape = TableShape(TEXT, {"name": TEXT}, kind=kind, high="high")
    found = load_table("tables/t.csv", text, shape, "low", 2, problems)
    return found, [(problem.line, problem.message) for problem in problems]


@given(SEEDS)
def test_a_range_of_addresses_holds_what_lies_between_its_ends(seed):
    random = Random(seed)
    edges = {version: sorted({int(random_address(random, version)) for _ in range(40)}) for version in (4, 6)}
    rows, known = [], []
    for version, own in edges.items():
        kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        for low, high in zip(own[::2], own[1::2], strict=False):
            is_number = random.random() < 0.5 and (version == 4 or high >> 32)
            name = f"{version}:{low}"
            rows.append((low, f" {high}", name) if is_number else (kind(low), kind(high), name))
            known.append((kind(low), kind(high), name))
    random.shuffle(rows)
    found, problems = ranges("network", rows)
    asked = [random_address(random, random.choice([4, 6])) for _ in range(MANY)]
    asked += [
        kind(int(end) + step)
        for low, high, _ in known
        for kind, end, step in ((type(low), low, -(int(low) > 0)), (type(low), low, 0), (type(high), high, 0))
    ]

    def holder(address):
        address = getattr(address, "ipv4_mapped", None) or address
        return next(
            (name for low, high, name in known if low.version == address.version and low <= address <= high), None
        )

    assert problems == []
    assert names(found, list(map(str, asked))) == list(map(holder, asked))


@given(SEEDS)
def test_a_range_of_digits_holds_a_text_all_of_whose_numbers_lie_in_it(seed):
    random = Random(seed)
    rows, taken = [], dict[int, list[tuple[int, int]]]()
    for number in range(random.randrange(1, 30)):
        width = random.choice([2, 3, 6])
        low = random.randrange(10**width) // 10 ** random.randrange(width) * 10 ** random.randrange(3) % 10**width
        high = min(low + random.choice([0, 9, 99, 999, random.randrange(10**width)]), 10**width - 1)
        if all(high < other_low or other_high < low for other_low, other_high in taken.get(width, ())):
            taken.setdefault(width, []).append((low, high))
            rows.append((f"{low:0{width}}", f"{high:0{width}}", f"row {number}"))
    found, problems = ranges("prefix", rows)
    texts = ["".join(random.choices("0123456789" + random.choice(["", "x"]), k=length)) for length in range(9)]
    texts += [f"{row[at]}{random.choice(['', '7', 'x'])}"[random.choice([0, 0, 1]) :] for row in rows for at in (0, 1)]

    def holder(text):
        digits = text[: next((at for at, sign in enumerate(text) if not sign.isdigit()), len(text))]
        holding = []
        for low, high, name in rows:
            needed = max(len(low.rstrip("0")), len(high.rstrip("9")), 1)
            first, last = (digits[: len(low)].ljust(len(low), fill) for fill in "09")
            if len(digits) >= needed and low <= first and last <= high:
                holding.append((len(low), name))
        return max(holding, default=(0, None))[1]

    assert problems == []
    assert names(found, texts) == list(map(holder, texts))


@pytest.mark.parametrize(
    ("kind", "rows", "told"),
    [
        ("network", [("192.0.2.9", "192.0.2.1")], [(2, "192.0.2.9 to 192.0.2.1 is no range: the lower end")]),
        ("network", [("192.0.2.0", "")], [(2, "both ends are addresses of one family, or integers")]),
        ("network", [("192.0.2.0", "2001:db8::")], [(2, "both ends are addresses of one family")]),
        ("network", [("192.0.2.0/24", "192.0.2.255")], [(2, "both ends are addresses")]),
        ("network", [(0, 2**128)], [(2, "both ends are addresses")]),
        ("network", [(0, "9" * 5000)], [(2, "both ends are addresses")]),
        ("network", [("fe80::1%1", "fe80::2")], [(2, "both ends are addresses")]),
        ("network", [(0, 9), ("::", "::ff"), (20, 30), ("0.0.0.9", 12)], [(5, "line 2 has")]),
        ("network", [("::ffff:0.0.0.1", "::ffff:0.0.0.9"), ("0.0.0.0", "255.255.255.255")], [(3, "line 2 has")]),
        ("prefix", [("4112", "4111")], [(2, "the lower end stands first. Swap the two")]),
        ("prefix", [("411x", "4119")], [(2, "both ends are digits")]),
        ("prefix", [("", "4119")], [(2, "both ends are digits")]),
        ("prefix", [("4110", "4119"), ("4119", "4120")], [(3, "line 2 has")]),
        ("prefix", [("4110", "4119"), ("411900", "411999")], []),
    ],
)  # fmt: skip
def test_a_range_that_is_wrong_or_overlaps_is_told_with_its_line_and_a_cure(kind, rows, told):
    _, problems = ranges(kind, [(*row, f"name {number}") for number, row in enumerate(rows)])

    assert [line for line, _ in problems] == [line for line, _ in told]
    assert all(words in message for (_, message), (_, words) in zip(problems, told, strict=True))


def test_ends_of_different_lengths_are_filled_and_what_the_fill_says_falls_away():
    found, _ = ranges("prefix", [("51", "5299999999999999", "a"), ("400000", "4000", "b"), ("0", "2", "c")])

    assert names(found, ["51", "529", "5", "53", "4000", "400", "40009", "1"]) == [
        "a",
        "a",
        None,
        None,
        "b",
        None,
        "b",
        "c",
    ]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("most", [3, 1_000])
def test_ranges_that_overlap_are_told_up_to_a_limit_and_fill_no_memory(monkeypatch, is_reversed, most):
    monkeypatch.setattr(intervals, "_OVERLAPS_MAX", most)
    for seed in range(20):
        random = Random(seed)
        given = [sorted(random.sample(range(60), 2)) for _ in range(random.randrange(1, 9))]
        ranges = sorted({(low, high) for low, high in given}, reverse=is_reversed)
        overlapping = {
            (at, other)
            for (at, (low, high)), (other, (least, last)) in combinations(enumerate(ranges), 2)
            if low <= last and least <= high
        }
        _, found = index_of(ranges)

        assert {(min(pair), max(pair)) for pair in found} <= overlapping
        assert bool(found) == bool(overlapping)
    index, found = index_of(sorted(((low, 9_999) for low in range(200)), reverse=is_reversed))
    assert len(found) >= min(most, 199)
    assert most > 3 or len(index.key_of) < 40


def index_of(ranges: list[tuple[int, int]]) -> tuple[IntervalIndex, list[tuple[int, int]]]:
    keys = KeyColumn()
    for low, high in ranges:
        keys.add(range_interval("network", str(low), str(high)))
    return IntervalIndex.of("network", keys)
