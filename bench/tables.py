"""Look-up tables and currencies: a look-up in columns against an oracle, and commands with and without them.

Three tables that hold many values (500,000 networks of both families, 400,000 BIN prefixes, 50,000 mail domains) and
one of 400,000 equal values. 100,000 look-ups in each are timed by columns and held against `ipaddress` and plain
Python. Then `check`, `ingest` of ten lines and `ingest` of many run in a project whose features read the three tables,
in one without that reads the fields themselves, and in one that reads the fourth table as well; and `ingest` of amounts
in twelve currencies of 0, 2 and 3 places beside amounts in one. All times are processor seconds, with the start of the
command in them, in turns.

    python -m bench.tables [--events N] [--rows N] [--looks N] [--rounds N] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import resource
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from time import process_time
from typing import Any, Final

import numpy as np

from bench.links import spent
from bench.machine import spread, tell_result
from shroff.events.event import time_text
from shroff.language.names import TableShape
from shroff.language.types import TEXT
from shroff.project.table_files import load_table

COUNTRIES: Final = ("DE", "FR", "NL", "US", "BR", "")
KINDS: Final[Mapping[str, str]] = {"ip": "network", "bins": "prefix", "mail": "suffix", "codes": ""}
SHARES: Final[Mapping[str, float]] = {"ip": 1, "bins": 0.8, "mail": 0.1, "codes": 0.8}
RATES: Final[Mapping[str, str]] = dict.fromkeys("USD GBP PLN CHF SEK CZK JPY KRW KWD BHD TND".split(), "0.870000000123")
PLACES: Final[Mapping[str, int]] = {"JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "TND": 3}
FIELDS: Final = "id: text, at: time, card: text, ip: text, bin: text, mail: text, code: text"
EVENTS: Final = "payment:\n  id: id\n  time: at\n  decide: true\n  fields: {{ {fields}, {amount} }}\n"
ENTITIES: Final = "entities: { card: { payment: card } }\n"
PLAIN: Final = """card:
  paid_1d: count(payment) over 1d
  spent_7d: sum(payment.amount) over 7d
  usual: mean(payment.amount) over 30d
"""
FORTY: Final = "card:\n" + "".join(
    f"  {name}_{window}: {name}({of}) over {window}\n"
    for name, of in (("count", "payment"), *((each, "payment.amount") for each in ("sum", "mean", "max", "min")))
    for window in ("10m", "1h", "6h", "1d", "3d", "7d", "14d", "30d")
)
RULE: Final = "- { id: large, on: payment, by: card, when: payment.amount > 2000, effect: review, reason: large }\n"


def keys(kind: str, count: int, random: Random) -> Iterable[str]:
    """Keys of a table, each once."""
    if kind == "network":
        made = {_network(random, 128 if random.random() < 0.2 else 32) for _ in range(count)}
        return map(str, made)
    if kind == "prefix":
        return dict.fromkeys(str(random.randrange(10**5, 10 ** random.choice((6, 8, 8, 9)))) for _ in range(count))
    if kind == "suffix":
        return (f"{'mx.' * (number % 3 == 0)}d{number}.example{number % 7}.com" for number in range(count))
    return (f"m{number * 7_919}" for number in range(count))


def _network(random: Random, size: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    bits = random.choice((16, 20, 24, 24, 28) if size == 32 else (32, 40, 48, 56))
    number = random.getrandbits(bits) << size - bits
    if size == 32:
        return ipaddress.IPv4Network((number, bits))
    return ipaddress.IPv6Network((number >> 3 | 1 << 125, bits), strict=False)  # of 2000::/3


def asked(kind: str, known: Sequence[str], random: Random) -> str:
    """A value to look up; most are held by a key."""
    key = random.choice(known)
    if kind == "network":
        network = ipaddress.ip_network(key)
        return str(network[random.randrange(min(network.num_addresses, 1 << 62))])
    if kind == "prefix":
        return f"{key}{random.randrange(10**7):07}"
    if kind == "suffix":
        return f"{random.choice(('', 'a.', 'x'))}{key}"
    return key if random.random() < 0.8 else f"{key}0"


def oracle(kind: str, rows: Mapping[str, str]) -> Callable[[str], str | None]:
    """The cell of the longest key that holds a value, in plain Python."""
    networks: dict[tuple[int, int, int], str] = {}
    for key, cell in rows.items() if kind == "network" else ():
        network = ipaddress.ip_network(key)
        networks[network.version, network.prefixlen, int(network.network_address)] = cell

    def of_address(text: str) -> str | None:
        address = ipaddress.ip_address(text)
        size = address.max_prefixlen
        for bits in range(size, -1, -1):
            found = networks.get((address.version, bits, int(address) >> size - bits << size - bits))
            if found is not None:
                return found or None
        return None

    def of_part(text: str) -> str | None:
        labels = text.split(".")
        parts = (text[:end] for end in range(len(text), 0, -1))
        ends = (".".join(labels[start:]) for start in range(len(labels)))
        tried = parts if kind == "prefix" else ends if kind == "suffix" else iter((text,))
        return next((rows[part] for part in tried if part in rows), None) or None

    return of_address if kind == "network" else of_part


def looked_up(name: str, rows: Mapping[str, str], texts: Sequence[str], rounds: int) -> str:
    """A line of the table: what a look-up takes, and how many differ from the oracle."""
    kind, made = KINDS[name], process_time()
    text = "key,country\n" + "".join(f"{key},{cell}\n" for key, cell in rows.items())
    table = load_table(f"tables/{name}.csv", text, TableShape(TEXT, {"country": TEXT}, kind=kind), "key", 2, [])
    made, times_ms = process_time() - made, np.zeros(len(texts), np.int64)
    found, took = table.values("country", texts, times_ms), []
    for _ in range(rounds):
        began = process_time()
        table.index.find(texts)
        took.append((process_time() - began) * 1e6 / len(texts))
    differ = sum(a != b for a, b in zip(found, map(oracle(kind, rows), texts), strict=True))
    hit = sum(cell is not None for cell in found) / len(texts)
    return f"| {name}, {kind or 'equal'} | {len(rows):,} | {made:.1f} | {spread(took, '.2f')} | {hit:.0%} | {differ} |"


def project(folder: Path, files: Mapping[str, str]) -> Path:
    """A project of these files."""
    for name, text in {"rules/large.yaml": RULE, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def payments(path: Path, count: int, given: Mapping[str, Sequence[str]], codes: Sequence[str]) -> Path:
    """A file of payments, ten a card."""
    random = Random(3)
    with path.open("w", encoding="utf-8") as out:
        for number in range(count):
            event: dict[str, Any] = {name: random.choice(values) for name, values in given.items()}
            at_s = 1_767_225_600 + number * 20
            currency = random.choice(codes)
            event |= {"id": f"p{number}", "at": time_text(at_s * 1_000)}
            event |= {"card": f"c{random.randrange(count // 10 + 1)}"}
            event |= {"amount": f"{random.lognormvariate(3.5, 0.8):.{PLACES.get(currency, 2)}f}"}
            out.write(json.dumps(event | ({"currency": currency} if len(codes) > 1 else {})) + "\n")
    return path


def by_turns(commands: Mapping[str, Callable[[], tuple[float, str]]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each command, round by round."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(command()[0])
    return found


def run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure, print, and write the table."""
    random, lines, tables = Random(1), [], {}
    head = "| table | rows | read in, s | µs a look-up | held | differ from the oracle |"
    given: dict[str, list[str]] = {}
    for name, kind in KINDS.items():
        rows = {key: random.choice(COUNTRIES) for key in keys(kind, int(options.rows * SHARES[name]), random)}
        known = list(rows)
        texts = [asked(kind, known, random) for _ in range(options.looks)]
        lines.append(looked_up(name, rows, texts, options.rounds))
        print(lines[-1], flush=True)
        tables[f"tables/{name}.csv"] = "key,country\n" + "".join(f"{key},{cell}\n" for key, cell in rows.items())
        given["code" if name == "codes" else "bin" if name == "bins" else name] = texts[:20_000]
    of = {"ip": "ip", "bins": "bin", "mail": "mail", "codes": "code"}
    settings = "shroff: 1\nname: signals\nmoney: EUR\n"
    base = EVENTS.format(fields=FIELDS, amount="amount: money") + ENTITIES

    def files(names: Sequence[str], *, has_tables: bool, plain: str = PLAIN) -> dict[str, str]:
        """A project whose features read these tables, or the fields by which they are looked up."""
        declared = "".join(f"  {name}: {{ key: {KINDS[name] or 'text'}, country: text? }}\n" for name in names)
        read = [f"tables.{name}[payment.{of[name]}].country" if has_tables else f"payment.{of[name]}" for name in names]
        features = "".join(f"  {name}_1d: distinct({what}) over 1d\n" for name, what in zip(names, read, strict=True))
        own = {file: text for file, text in tables.items() if has_tables and file[7:-4] in names}
        events = f"{base}tables:\n{declared}" if has_tables else base
        return {"shroff.yaml": settings, "events.yaml": events, "features.yaml": plain + features, **own}

    three = [name for name, kind in KINDS.items() if kind]
    folders = {
        "three tables": files(three, has_tables=True),
        "none": files(three, has_tables=False),
        "four tables": files([*KINDS], has_tables=True),
    }
    places = {name: project(scratch / name.replace(" ", "-"), own) for name, own in folders.items()}
    many = payments(scratch / "many.jsonl", options.events, given, ["EUR"])
    few = payments(scratch / "few.jsonl", 10, given, ["EUR"])
    rows_of = [f"| command, processor s | {' | '.join(places)} |", "| --- " * 4 + "|"]
    first = {name: spent("-C", place, "check")[0] for name, place in places.items()}
    rows_of.append(
        f"| the first `check`, which reads the files | {' | '.join(f'{first[name]:.1f}' for name in places)} |"
    )
    takes: dict[str, list[str | Path]] = {"`check`": ["check"], "`ingest` of ten": ["ingest", few, "--as", "payment"]}
    for words, command in takes.items():
        found = by_turns({name: partial(spent, "-C", p, *command) for name, p in places.items()}, options.rounds)
        rows_of.append(f"| {words} | {' | '.join(spread(found[name], '.2f') for name in places)} |")
        print(rows_of[-1], flush=True)

    def fresh(own: Mapping[str, str], lines: Path, top: str = settings) -> tuple[float, str]:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            place = project(Path(folder) / "p", {**own, "shroff.yaml": top})
            spent("-C", place, "check")
            return spent("-C", place, "ingest", lines, "--as", "payment")

    for plain, features in ((PLAIN, 3), (FORTY, 40)):
        pair = {words: files(three, has_tables=words != "none", plain=plain) for words in ("three tables", "none")}
        found = by_turns({name: partial(fresh, own, many) for name, own in pair.items()}, options.rounds)
        times = " | ".join(spread(each, ".2f") for each in found.values())
        rows_of.append(f"| `ingest` of {options.events:,}, {features} features beside | {times} | |")
        ratios = [without / read for read, without in zip(*found.values(), strict=True)]
        rows_of.append(f"| rate of that, of the rate without | {spread(ratios, '.0%')} | | |")
        print("\n".join(rows_of[-2:]), flush=True)
    rows_of.append("")

    codes = ["EUR", *RATES]
    fx = "currency,valid_from,rate\n" + "".join(f"{code},2025-01-01,{rate}\n" for code, rate in RATES.items())
    rated = "tables:\n  fx: { currency: text, from: valid_from, rate: number(12) }\n"
    in_many = EVENTS.format(fields=FIELDS, amount="currency: text, amount: money in currency") + ENTITIES + rated
    given_many, given_one = (payments(scratch / f"{len(c)}.jsonl", options.events, given, c) for c in (codes, ["EUR"]))
    money = "shroff: 1\nname: signals\nmoney: { currency: EUR, rates: fx }\n"
    rows_of += [f"| `ingest` of {options.events:,}, processor s | twelve currencies | one | rate |", "| --- " * 4 + "|"]
    for plain, features in ((PLAIN, 3), (FORTY, 40)):
        own = {"events.yaml": in_many, "features.yaml": plain, "tables/fx.csv": fx}
        takes_of = {
            "twelve": partial(fresh, own, given_many, money),
            "one": partial(fresh, {"events.yaml": base, "features.yaml": plain}, given_one),
        }
        found = by_turns(takes_of, options.rounds)
        ratios = [b / a for a, b in zip(*found.values(), strict=True)]
        times = " | ".join(spread(each, ".2f") for each in found.values())
        rows_of.append(f"| {features} features | {times} | {spread(ratios, '.0%')} |")
        print(rows_of[-1], flush=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    text = "\n".join([head, "| --- " * 6 + "|", *lines, "", *rows_of, "", f"The most memory of a command: {most} MB."])
    tell_result("tables", "Tables and currencies", __doc__, text, keep=options.keep)


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--looks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="write bench/results/tables.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
