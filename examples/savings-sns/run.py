"""Messages of Amazon SNS, verified by their signatures and decided. All of it by one command.

    python examples/savings-sns/run.py
    python examples/savings-sns/run.py --messages 5000 --folder /tmp/savings

A stand-in plays SNS: it has a key and a certificate of its own, and posts signed messages to the service.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1])]  # tools/, which belongs to the clone

from tools import sns  # noqa: E402 - the path is set above
from tools.examples import PROGRAM, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

MESSAGES = 500
OTHER_TYPES = ("USER_LOGGED_IN", "ENTERED_SAVE_SCREEN")
SHARES = {"SAVING_PAYMENT_SUCCESSFUL": 5, "WITHDRAWAL_EVENT_CONFIRMED": 2, **dict.fromkeys(OTHER_TYPES, 2)}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Messages of Amazon SNS, verified and decided, by one command.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="how many are posted (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the project goes, and stays; it must not be there yet")
    asked = parser.parse_args()
    return play(HERE, {}, asked.folder, lambda stage: steps(stage, asked.messages))


def steps(stage: Stage, count: int) -> None:
    """What an engineer would type, one after the other."""
    project = stage.folder / "app"
    stage.shroff("init", "app", "--template", "savings")
    for name in ("shroff", "events"):
        with (project / f"{name}.yaml").open("a", encoding="utf-8") as file:
            file.write((HERE / f"{name}_more.yaml").read_text(encoding="utf-8"))
    (project / "certs").mkdir()
    certificate = sns.certificate(now=datetime.now(UTC))
    (project / "certs" / sns.CERTIFICATE.rpartition("/")[2]).write_bytes(certificate)
    stage.shroff("-C", "app", "sources", "check")
    held = Port()
    port = held.number
    serve = ("-C", "app", "serve", "--port", str(port))
    with closing(held), stage.beside(*PROGRAM, *serve) as service:
        ready(service, port)
        print(f"\nposting {count:,} messages, each of them once, some twice, some forged ...", flush=True)
        show(Counter(post(port, body) for body in messages(count)))
        post(port, sns.posted("SubscriptionConfirmation", MessageId="subscribe"))
    stage.shroff("-C", "app", "sources", "list")
    stage.shroff("-C", "app", "sources", "check", statuses=(1,))  # the subscription waits for a person
    stage.shroff("-C", "app", "counts", "--by", "name", "--types", "activity")
    stage.shroff("-C", "app", "verify")


def messages(count: int) -> Iterator[bytes]:
    """Signed messages; every tenth comes twice, every fiftieth is forged as well."""
    chance, begin_ms = Random(7), int(time.time() * 1_000) - 1_000 * count  # noqa: S311 - made-up data
    for number in range(count):
        (kind,) = chance.choices(list(SHARES), list(SHARES.values()))
        amount = f"{chance.randrange(1, 2_000_000)}::HUNDREDTH_CENT::ZAR"
        context = {"accountId": f"a-{number % 40}", "savedAmount": amount}
        content = {
            "userId": f"u-{number % 40}",
            "eventType": kind,
            "timestamp": begin_ms + 1_000 * number,
            "context": json.dumps(context),
        }
        body = sns.posted(MessageId=f"m-{number}", Message=json.dumps(content))
        yield body
        if number % 10 == 0:
            yield body
        if number % 50 == 0:
            yield body.replace(b"::ZAR", b"::EUR")


def post(port: int, body: bytes) -> str:
    """What becomes of a message."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/hooks/savings_topic", body, {"content-type": "text/plain; charset=UTF-8"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
    return f"{answer.status} {found.get('state') or found['detail']}"


def show(found: Counter[str]) -> None:
    """What became of all."""
    for words, count in found.most_common():
        print(f"  {count:>8,}  {words}")


if __name__ == "__main__":
    sys.exit(main())
