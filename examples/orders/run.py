"""Orders of a synthetic shop, from nothing to a published model, by one call of the API.

python examples/orders/run.py
python examples/orders/run.py --batches 12 --size 100000 --folder /tmp/orders
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

from tools.examples import PROGRAM, FailedError, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

BATCHES, SIZE, SEED = 12, 3_000, 1
ACCEPTED = 202
LOOK_S = 0.5


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="From nothing to a published model, by one call.")
    parser.add_argument("--batches", type=int, default=BATCHES, help="weeks (default: %(default)s)")
    parser.add_argument("--size", type=int, default=SIZE, help="orders of a week (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="another one is another shop")
    parser.add_argument("--folder", type=Path, help="where the project goes, and stays; it must not be there yet")
    asked = parser.parse_args()
    params = {"batches": asked.batches, "size": asked.size, "seed": asked.seed, "promote": True}
    return play(HERE, {}, asked.folder, lambda stage: steps(stage, params))


def steps(stage: Stage, params: dict[str, Any]) -> None:
    """Make the project, start its service, and call it once."""
    stage.shroff("init", "shop", "--template", "orders")
    made = [*PROGRAM, "-C", "shop", "keys", "create", "pipeline", "--role", "author", "--json"]
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
    result = job["result"]
    made_of = "{orders:,} orders in {periods} files, {fraud:,} of them fraud".format(**result["generated"])
    print(f"\n{made_of}; {result['features']:,} rows of features")
    for gate in result["gates"]:
        print(f"  {gate['name']}: {gate['value']}, {gate['limit']}: {'passed' if gate['passed'] else 'failed'}")
    print(f"{result['model']} is {'the champion' if result['promoted'] else 'not active: ' + result['why_not']}")
    stage.shroff("-C", "shop", "models", "list")


def watched(port: int, key: str, url: str) -> dict[str, Any]:
    """The job at its end; each step is shown as it begins."""
    shown = 0
    while True:
        _, job = call(port, key, "GET", url)
        for line in job["log"][shown:]:
            print(f"  {line}", flush=True)
        shown = len(job["log"])
        if job["state"] not in {"queued", "running"}:
            return job
        time.sleep(LOOK_S)


def call(port: int, key: str, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """What the service answers."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


if __name__ == "__main__":
    sys.exit(main())
