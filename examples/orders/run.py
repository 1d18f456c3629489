"""Orders of a synthetic shop, from nothing to a service that answers about them, by one call of the API.

python examples/orders/run.py
python examples/orders/run.py --batches 6 --size 200000 --folder /tmp/orders
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from subprocess import run
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1])]  # tools/, which belongs to the clone

from tools import example_plugins  # noqa: E402 - the path is set above
from tools.examples import PROGRAM, FailedError, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

BATCHES, SIZE, SEED = 4, 9_000, 1
ACCEPTED, OK, UNAVAILABLE = 202, 200, 503
COMPILES_S = 180.0  # at most, on a new machine
SETTINGS = """
online: ${REDIS}                          # the features of each customer and mail address, for other services
sources:                                  # what the pipeline wrote is read from here, each file once
  orders: { files: { from: out/orders, settled: 0s }, events: [order] }
  order_labels: { files: { from: out/orders/labels, settled: 0s }, events: [label] }
"""
LOOK_S = 0.5


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="From nothing to answers, by one call.")
    parser.add_argument("--batches", type=int, default=BATCHES, help="months (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="orders of a month (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another one is another shop")
    parser.add_argument("--folder", type=Path, help="where the project goes, and stays; it must not be there yet")
    asked = parser.parse_args()
    example_plugins.find()
    params = {"by": "month", "batches": asked.batches, "size": asked.size, "seed": asked.seed, "promote": True}
    params["sources"] = ["orders", "order_labels"]
    return play(HERE, {"REDIS": "redis"}, asked.folder, lambda stage: steps(stage, params))


def steps(stage: Stage, params: dict[str, Any]) -> None:
    """Make the project, start its service, and call it once."""
    stage.shroff("init", "shop", "--template", "orders")
    with (stage.folder / "shop" / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    print(f"\nadded to shop/shroff.yaml:{SETTINGS}", flush=True)
    made = [*PROGRAM, "-C", "shop", "keys", "create", "pipeline", "--role", "admin", "--json"]
    found = run(made, cwd=stage.folder, check=True, capture_output=True, text=True)  # noqa: S603 - this program
    key = json.loads(found.stdout)["key"]
    held = Port()
    with closing(held), stage.beside(*PROGRAM, "-C", "shop", "serve", "--port", str(held.number)) as service:
        ready(service, held.number)
        body = {"kind": "orders-pipeline", "params": params}
        print(f"\nPOST /api/v1/jobs {json.dumps(body)}", flush=True)
        code, job = call(held.number, key, "POST", "/api/v1/jobs", body)
        if code != ACCEPTED:
            raise FailedError(f"{code}: {job['detail']}")
        job = watched(held.number, key, job["url"])
        if job["state"] != "done":
            raise FailedError(f"the job is {job['state']}: {job['why']}")
        told(job["result"])
        asked(held.number, key)
    stage.shroff("-C", "shop", "models", "list")
    stage.shroff("-C", "shop", "outbox", "deliver")  # what the last second left for Redis
    features(stage)
    print(NEXT)


NEXT = """
Next: keep the project with --folder DIR, then
  make servers KINDS=redis                    # prints its address; Ctrl-C ends it
  REDIS=redis://... shroff -C DIR/shop serve
  shroff -C DIR/shop thresholds               # thresholds of the score by cost and review capacity
  shroff -C DIR/shop explain o-1000           # why an order was decided as it was
"""


def told(result: dict[str, Any]) -> None:
    """What the job made."""
    made_of = "{orders:,} orders in {periods} files, {fraud:,} of them fraud".format(**result["generated"])
    print(f"\n{made_of}; {result['features']:,} rows of features")
    print(f"  partitioned: {result['keys']['customer_id']:,} customers, {result['keys']['email']:,} mail addresses")
    for gate in result["gates"]:
        print(f"  {gate['name']}: {gate['value']}, {gate['limit']}: {'passed' if gate['passed'] else 'failed'}")
    print(f"{result['model']} is {'the champion' if result['promoted'] else 'not active: ' + result['why_not']}")
    for name, taken in result["taken"].items():
        print(f"  {name}: {taken['files']:,} files, {taken['appended']:,} in the log, {taken['quarantined']:,} refused")


def asked(port: int, key: str) -> None:
    """What the service answers about the newest orders, and about one that comes now."""
    path = "/api/orders/test/find-orders?prefix=*&num_items=3"
    code, found = call(port, key, "GET", path)
    if code != OK or not found:
        raise FailedError(f"GET {path}: {code} {found}")
    print(f"\nGET {path}")
    for order in found:
        print(f"  {json.dumps(order)}")
    newest = found[0]
    order = {"customer_id": newest["customer_id"], "email": newest["email"], "amount": 59.90}
    code, answer = call(port, key, "POST", "/score_order/", order)
    deadline = time.monotonic() + COMPILES_S
    while code == UNAVAILABLE and time.monotonic() < deadline:  # a new machine compiles the code that scores
        time.sleep(1.0)
        code, answer = call(port, key, "POST", "/score_order/", order)
    if code != OK:
        raise FailedError(f"POST /score_order/: {code} {answer}")
    print(f"\nPOST /score_order/ {json.dumps(order)}\n  {json.dumps(answer)[:300]} ...")


def features(stage: Stage) -> None:
    """What another service reads from Redis."""
    from redis import Redis

    with closing(Redis.from_url(stage.environment["REDIS"], decode_responses=True)) as store:
        names = sorted(store.scan_iter("shop:customer:*", count=1_000))
        if not names:
            raise FailedError("there are no features in Redis.")
        print(f"\nIn Redis: {len(names):,} customers. {names[0]}:")
        for name, value in sorted(store.hgetall(names[0]).items())[:6]:
            print(f"  {name:28} {value}")


def watched(port: int, key: str, url: str) -> dict[str, Any]:
    """The job at its end; each step is shown as it begins."""
    shown, job = 0, dict[str, Any]()
    while True:
        job = dict(call(port, key, "GET", url)[1])
        for line in job["log"][shown:]:
            print(f"  {line}", flush=True)
        shown = len(job["log"])
        if job["state"] not in {"queued", "running"}:
            return job
        time.sleep(LOOK_S)


def call(port: int, key: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """What the service answers: the status, and the document."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


if __name__ == "__main__":
    sys.exit(main())
