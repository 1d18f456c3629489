"""Days of Amplitude's export API, each event once, also where the API fails. All of it by one command.

python examples/amplitude/run.py
python examples/amplitude/run.py --events 100000 --folder /tmp/app

A stand-in plays Amplitude: it has three days, one of which is too large for one answer and one of which has a damaged
hour; it cuts an answer off, and has too much to do once.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1])]  # tools/, which belongs to the clone

from shroff.testing.amplitude import API_KEY, SECRET_KEY, amplitude, packed  # noqa: E402 - the path is set above
from shroff.testing.amplitude import AmplitudeServer as Server  # noqa: E402 - the path is set above
from tools.examples import Stage, play  # noqa: E402 - the path is set above

EVENTS = 3_000
DAYS = 3
USERS = 200
AWAY, QUARANTINED = 3, 4  # exit statuses
CUT_OFF, BUSY = 0, 429  # answers of the stand-in
DAMAGED = 30  # the hour, of the second day, whose file is damaged
NAMES = ("App Opened", "Screen Viewed", "Link Shared", "Purchased")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Days of Amplitude's export API, each event once.")
    parser.add_argument("--events", type=int, default=EVENTS, help="in three days (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the project goes, and stays; it must not be there yet")
    asked = parser.parse_args()
    with amplitude() as server:
        return play(HERE, {}, asked.folder, lambda stage: steps(stage, server, asked.events))


def steps(stage: Stage, server: Server, count: int) -> None:
    """What an engineer would type, one after the other."""
    first = (datetime.now(UTC) - timedelta(days=DAYS + 1)).date()
    mend = fill(server, first.isoformat(), count)
    stage.environment |= {"AMPLITUDE_API_KEY": API_KEY, "AMPLITUDE_SECRET_KEY": SECRET_KEY}
    stage.environment |= {"AMPLITUDE_FROM": first.isoformat(), "AMPLITUDE_URL": server.url}
    stage.shroff("check")
    server.failures = [CUT_OFF, 200, 200, BUSY]
    print("\nAn answer is cut off, and the next day the API has too much to do:", flush=True)
    stage.shroff("sources", "sync", "app", statuses=(AWAY,))
    print("\nThe next sync goes on there:", flush=True)
    stage.shroff("sources", "sync", "app", statuses=(0, QUARANTINED))
    print("\nAmplitude mends the damaged hour, and that day is asked for again:", flush=True)
    mend()
    stage.shroff("sources", "sync", "app", "--day", (first + timedelta(days=1)).isoformat())
    stage.shroff("sources", "sync", "app")
    stage.shroff("sources", "list")
    stage.shroff("counts", "--by", "name", "--types", "activity")
    stage.shroff("verify")


def fill(server: Server, first: str, count: int) -> Callable[[], None]:
    """Give the stand-in its events by the hour of their upload, one in fifty twice; gives what mends a damaged hour."""
    chance, hours = Random(7), defaultdict[datetime, list[dict[str, Any]]](list)  # noqa: S311 - made-up data
    begin = datetime.fromisoformat(f"{first}T00:00:00+00:00")
    for number in range(count):
        uploaded = begin + timedelta(seconds=number * (DAYS * 24 - 1) * 3_600 // count)
        one = event(chance, number, uploaded)
        hours[uploaded.replace(minute=0, second=0)].append(one)
        if number % 50 == 0:
            again = {**one, "uuid": f"again-{number}"}
            hours[uploaded.replace(minute=0, second=0) + timedelta(hours=1)].append(again)
    server.events |= {f"{hour:%Y%m%dT%H}": events for hour, events in hours.items()}
    server.hours_max = 12
    hour = sorted(server.events)[DAMAGED]
    whole = hours[sorted(hours)[DAMAGED]]
    server.events[hour] = packed(whole)[:-40]
    return lambda: server.events.update({hour: whole})


def event(chance: Random, number: int, uploaded: datetime) -> dict[str, Any]:
    """An event, in the form of an export; it happened up to two hours before its upload."""
    (name,) = chance.choices(NAMES, (4, 8, 1, 2))
    user = chance.randrange(USERS)
    found = {
        "app": 1,
        "amplitude_id": 5_000_000 + user,
        "device_id": f"d-{user}",
        "user_id": f"u-{user}" if user % 4 else None,
        "$insert_id": f"i-{number}",
        "uuid": f"uuid-{number}",
        "event_type": name,
        "event_time": f"{uploaded - timedelta(seconds=chance.randrange(7_200)):%Y-%m-%d %H:%M:%S}.000000",
        "event_properties": {},
    }
    if name == "Purchased":
        found["event_properties"] = {"Total Price": round(chance.lognormvariate(4, 0.7), 2)}
    return found


if __name__ == "__main__":
    sys.exit(main())
