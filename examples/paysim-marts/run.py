"""PaySim's payments into a lake, and SQL marts over it. All of it by one command.

    python examples/paysim-marts/run.py paysim.csv
    python examples/paysim-marts/run.py paysim.csv --folder /tmp/paysim

It copies this project, runs the commands that it shows, and compares what came out with the known figures of the file.
The file is read where it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1])]  # tools/, which belongs to the clone

from tools.examples import FailedError, Stage, play  # noqa: E402 - the path is set above

BESIDE = HERE.parents[2] / "shared" / "data" / "paysim_sample_51392.csv"  # where developers have it
SHOWN = ("overview", "customer_status", "fraud_by_amount", "balance_validity", "payments_by_part_of_day")
# The figures of files that are known, by their rows. Those of the whole file are as they were published.
KNOWN: Final[dict[int, dict[str, object]]] = {
    51_392: {
        "value": Decimal("9392592295.59"),
        "fraud_value": Decimal("1661644102.03"),
        "valid": 8_303,
        "exact": 5_476,
        "customers": 94_500,
        "frequent_fraudsters": 11,
        "dealt_in": 350,
        "Suspect": 350,
        "fraud by range": [971, 177, 88, 48, 22],
    },
    19_999: {
        "value": Decimal("2519017889.55"),
        "fraud_value": Decimal("48347524.52"),
        "valid": 929,
        "exact": 578,
        "customers": 32_870,
        "frequent_fraudsters": 1,
        "dealt_in": 376,
        "Suspect": 376,
        "fraud by range": [71, 4, 2, 0, 0],
    },
    6_362_620: {
        "frauds": 8_213,
        "customers": 9_073_900,
        "fraud_receivers": 8_169,
        "victims": 8_213,
        "frauds_of_frequent": 88,
        "dealt_in": 57_435,
        "dealt_out": 18,
        "victims_before": 18,
        "victims_after": 10,
        "invalid %": Decimal("83.72"),
    },
}
FULL: Final = 6_362_620
# Published without the bounds of the ranges: shown beside ours, not judged.
FULL_RANGES: Final = "6.9 thousand, 513, 231, 137, 88"


NEXT = """
What to do next:
  1. Keep the project: .venv/bin/python examples/paysim-marts/run.py paysim.csv --folder DIR
  2. See all tables: shroff -C DIR marts show; one of them: shroff -C DIR marts show rfm_segments
  3. Add a table: an SQL file in DIR/marts, then shroff -C DIR marts build: docs/howto/build-marts.md
  4. Look at them in a browser: shroff -C DIR serve, then Marts"""


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="PaySim's file into a lake, and SQL marts over it.")
    parser.add_argument("file", nargs="?", type=Path, default=BESIDE, help="PaySim's CSV, sorted or not")
    parser.add_argument("--folder", type=Path, help="where the project is copied to, and stays")
    parser.add_argument("--full", action="store_true", help="the file has to be PaySim's whole one")
    asked = parser.parse_args()
    if not asked.file.is_file():
        print(f"{asked.file} is not there. Name PaySim's CSV: run.py paysim.csv", file=sys.stderr)
        return 2
    return play(HERE, {}, asked.folder, lambda stage: steps(stage, asked.file.resolve(), is_full=asked.full))


def steps(stage: Stage, file: Path, *, is_full: bool) -> None:
    """What an analyst would type, one after the other; then the comparison."""
    stage.shroff("ingest", str(file), "--as", "payment", "--labels", str(file), "--order", "time")
    stage.shroff("lake", "write")
    stage.shroff("marts", "build")
    for name in SHOWN:
        stage.shroff("marts", "show", name)
    compare(file.name, figures(stage.folder), is_full=is_full)
    print(NEXT, flush=True)


def compare(name: str, found: dict[str, Any], *, is_full: bool) -> None:
    """Hold what came out against the known figures. Raises: FailedError, with each that differs."""
    known = KNOWN.get(FULL if is_full else found["payments"])
    if known is None:
        print(f"\n{name} has {found['payments']:,} payments: no known file, so nothing is compared.")
        return
    if is_full:
        known = {"payments": FULL, **known}
        print(f"\nfraud by range: {found['fraud by range']}; published, of ranges that are not named: {FULL_RANGES}")
    differing = list(differences(found, known))
    print(f"\n{len(known) - len(differing)} of {len(known)} known figures agree.")
    if differing:
        raise FailedError("These differ: " + "; ".join(differing))


def figures(folder: Path) -> dict[str, Any]:
    """What came out, by name."""
    import shroff
    from shroff_plugins.analytics.marts.project_marts import Marts

    marts = Marts(shroff.open(folder).context)
    overview = marts.rows("overview")
    found: dict[str, Any] = dict(zip(overview.columns, overview.rows[0], strict=True))
    found |= {row[0]: row[1] for row in marts.rows("customer_status").rows}
    ranges = {row[0]: row[2] for row in marts.rows("fraud_by_amount").rows}
    found["fraud by range"] = [ranges.get(at, 0) for at in range(5)]
    found["invalid %"] = 100 - round(Decimal(100 * found["valid"]) / found["payments"], 2)
    return found


def differences(found: dict[str, Any], known: dict[str, object]) -> Iterator[str]:
    """The known figures that are others."""
    for name, expected in known.items():
        if found.get(name) != expected:
            yield f"{name} is {found.get(name)}, and was {expected}"


if __name__ == "__main__":
    sys.exit(main())
