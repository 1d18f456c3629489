"""Training, prediction and retraining on card payments, by one command.

    python examples/ulb/run.py                           # synthetic payments
    python examples/ulb/run.py --folder /tmp/ulb    # and keep the project

A model is trained here and, if it is installed, on Spark. Then the service predicts over HTTP while new files arrive:
one whose label column was renamed, the same one corrected, and one with wrong labels. Last, what AWS runs for a new
file runs here.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import select
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen, run
from typing import Any
from unittest.mock import patch

HERE = Path(__file__).resolve().parent
CLONE = HERE.parents[1]
sys.path += [str(CLONE)]  # tools/, which belongs to the clone

from rows import HEAD, rows  # noqa: E402 - of this folder

from tools.examples import PROGRAM, FailedError, Stage, play, ready  # noqa: E402 - the path is set above
from tools.servers.ports import Port  # noqa: E402 - the path is set above

FIRST, SECOND, THIRD = "days-1-2.csv", "day-3.csv", "day-4.csv"
TRAIN_ON_FILE = ("train", f"arriving/{FIRST}", "--labels", f"arriving/{FIRST}")
ENTRYPOINT = CLONE / "deploy" / "image" / "entrypoint.sh"
PROJECT_STEP = CLONE / "deploy" / "image" / "project.sh"
TASK = CLONE / "deploy" / "terraform" / "aws" / "module" / "train.sh"
TRIGGER = CLONE / "deploy" / "aws" / "trigger" / "handler.py"
WATCH = ("--promote", "--by", "example", "--as", "payment", "--labels-inside")
SPARK_PARTITIONS = "2"
PREDICTED_ROWS = 200
FILE_S = 180.0  # at most, until a file that arrived is reported on
SWITCH_S = 30.0  # at most, until the service uses a promoted model
COMPILES_S = 180.0  # at most, on a new machine
NEXT = """
What to do next:
  1. Keep the project: .venv/bin/python examples/ulb/run.py --folder /tmp/ulb
  2. Look at it:       .venv/bin/shroff -C /tmp/ulb serve
                       The sign-in link leads to the screens: Models has all models, their metrics and their gates.
  3. Train on your own payments: 'shroff init bank --from payments.csv' proposes a project for your file; or name your
     columns under `from:` in this example's events.yaml. 'shroff check' says what is missing.
  4. Retrain when files arrive: docs/howto/train-as-files-come.md
  5. Run it in a container, or on AWS, which starts a task for each new object: deploy/README.md"""


def main() -> int:
    """Parse the arguments, run the steps and return the exit status."""
    parser = argparse.ArgumentParser(description="Training, prediction and retraining, by one command.")
    parser.add_argument("--folder", type=Path, help="keep the project in this new folder")
    arguments = parser.parse_args()
    return play(HERE, {"S3": "s3"}, arguments.folder, steps)


def steps(stage: Stage) -> None:
    """Run the commands of the README, one after the other."""
    stage.environment["PATH"] = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
    arriving = stage.folder / "arriving"
    arriving.mkdir()
    write_csv(arriving / FIRST, (1, 2))
    write_csv(arriving / SECOND, (3,))
    write_csv(arriving / THIRD, (4,))
    stage.shroff("check")
    stage.shroff(*TRAIN_ON_FILE)
    with training_on_spark(stage):
        serve_and_retrain(stage, arriving)
        stage.shroff("verify")
    stage.shroff("models", "list")
    train_as_in_the_cloud(stage, arriving / FIRST)
    print(NEXT, flush=True)


def write_csv(path: Path, days: tuple[int, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        writer.writerows(rows(days))


@contextmanager
def training_on_spark(stage: Stage) -> Iterator[None]:
    """Train on Spark beside the other steps, with one fold, since Spark starts processes for each; print its report.

    Raises: FailedError if the training fails.
    """
    if importlib.util.find_spec("pyspark") is None or shutil.which("java") is None:
        print("\nTraining on Spark is left out: it needs pip install 'shroff[spark]' and Java 17.", flush=True)
        yield
        return
    project = stage.folder / "spark"
    shutil.copytree(HERE, project, ignore=shutil.ignore_patterns(".shroff", "__pycache__"))
    model = project / "model.yaml"
    model.write_text(model.read_text("utf-8").replace("folds: 3", "folds: 1"), encoding="utf-8")
    words = ("-C", "spark", *TRAIN_ON_FILE, "--backend", "spark", "--partitions", SPARK_PARTITIONS)
    print(f"\n$ shroff {' '.join(words)} &", flush=True)
    report = stage.folder / "spark.txt"
    shell = f"exec {shlex.join((*PROGRAM, *words))} > spark.txt 2> spark-progress.txt"
    with stage.beside("sh", "-c", shell) as training:
        yield
        print("\nThe training on Spark:", flush=True)
        status = training.wait()
    if status != 0:
        raise FailedError(f"it ended with status {status}: {(stage.folder / 'spark-progress.txt').read_text('utf-8')}")
    print(report.read_text("utf-8"), flush=True)


# ---- the service and the watched folder


def serve_and_retrain(stage: Stage, arriving: Path) -> None:
    """Predict by HTTP while files arrive in a watched folder. Each prediction is kept in predictions.json."""
    watched = stage.folder / "incoming"
    watched.mkdir()
    port = Port()
    key = created_key(stage)
    print("\nThe container's entry point starts the service:", flush=True)
    with (
        closing(port),
        stage.beside("sh", str(ENTRYPOINT), "serve", "--host", "127.0.0.1", "--port", str(port.number)) as service,
    ):
        ready(service, port.number)
        print(f"  http://127.0.0.1:{port.number} is ready", flush=True)
        api = Api(port.number, key)
        payments = read_csv(arriving / SECOND)[:PREDICTED_ROWS]
        command = ("train", "--watch", "incoming", *WATCH, "--settled", "1s", "--poll", "1s")
        print(f"\n$ shroff {' '.join(command)}", flush=True)
        with stage.beside(*PROGRAM, *command) as watcher:
            delivered(watcher, arriving / FIRST, watched)
            first_champion = champion(api, stage.folder)
            predictions = {first_champion: predict(api, payments)}
            show_predictions(payments, predictions[first_champion], first_champion)

            print(f"\n{SECOND} arrives with its label column renamed to isFraud:", flush=True)
            renamed = stage.folder / SECOND
            text = (arriving / SECOND).read_text(encoding="utf-8")
            renamed.write_text(text.replace(",Class\n", ",isFraud\n", 1), encoding="utf-8")
            delivered(watcher, renamed, watched)

            print(f"\n{SECOND} arrives again, corrected. It has a kind of fraud that the champion does not know:")
            delivered(watcher, arriving / SECOND, watched)
            second_champion = champion(api, stage.folder)
            predictions[second_champion] = predict(api, payments)
            show_predictions(payments, predictions[second_champion], second_champion)

            print(f"\n{THIRD} arrives with the labels of other payments:", flush=True)
            delivered(watcher, arriving / THIRD, watched)
            if champion(api, stage.folder) != second_champion:
                raise FailedError(f"the model of {THIRD} became the champion.")
    (stage.folder / "predictions.json").write_text(json.dumps(predictions), encoding="utf-8")


def delivered(watcher: Popen[str], file: Path, folder: Path) -> None:
    """Put a file into the watched folder and print what the command says about it.

    Raises: FailedError if the command ends before it says anything.
    """
    hidden = folder / f".{file.name}"  # hidden while it is copied
    shutil.copyfile(file, hidden)
    hidden.rename(folder / file.name)
    assert watcher.stdout is not None
    if not select.select([watcher.stdout], [], [], FILE_S)[0]:
        raise FailedError(f"'shroff train --watch' says nothing about {file.name} after {FILE_S:.0f} s.")
    line = watcher.stdout.readline()
    if not line:
        raise FailedError(f"'shroff train --watch' ended with status {watcher.wait()}.")
    print(f"  {line.rstrip()}", flush=True)


class Api:
    """Calls to the service, with an API key."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def post(self, path: str, body: object) -> Any:
        """Return the JSON answer; wait while a new machine compiles the code that scores.

        Raises: FailedError for another status than 200.
        """
        deadline = time.monotonic() + COMPILES_S
        status, content = self._answer(path, body)
        while status == HTTPStatus.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
            time.sleep(1.0)
            status, content = self._answer(path, body)
        if status != HTTPStatus.OK:
            raise FailedError(f"POST {path}: {status} {content.decode()}")
        return json.loads(content)

    def _answer(self, path: str, body: object) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=COMPILES_S)) as connection:
            connection.request("POST", path, json.dumps(body), self._headers)
            response = connection.getresponse()
            return response.status, response.read()


def created_key(stage: Stage) -> str:
    command = [*PROGRAM, "keys", "create", "callers", "--role", "service", "--json"]
    done = run(command, cwd=stage.folder, env=stage.variables(), check=True, capture_output=True, text=True)  # noqa: S603 - this program
    return str(json.loads(done.stdout)["key"])


def champion(api: Api, folder: Path) -> str:
    """Return the champion's id, once the service scores with it. Raises: FailedError after `SWITCH_S` seconds."""
    deployed = json.loads((folder / "models" / "in_force.json").read_text("utf-8"))
    model = str(deployed["payment"]["champion"]["id"])
    probe = {"payment_id": "probe", "paid_at": "2013-09-05T00:00:00Z", "amount": "1.00"}
    deadline = time.monotonic() + SWITCH_S
    while api.post("/api/v1/score/payment", probe)["versions"].get("model") != model:
        if time.monotonic() > deadline:
            raise FailedError(f"the service does not score with {model} after {SWITCH_S:.0f} s.")
        time.sleep(0.1)
    return model


def predict(api: Api, payments: list[dict[str, str]]) -> list[int]:
    """Ask /predict/ about each payment: Time, V1 to V28 and Amount in, 0 or 1 out."""
    columns = ("Time", *(f"V{number}" for number in range(1, 29)), "Amount")
    bodies = [{"features": [float(payment[column]) for column in columns]} for payment in payments]
    return [int(api.post("/predict/", body)["prediction"]) for body in bodies]


def show_predictions(payments: list[dict[str, str]], predictions: list[int], model: str) -> None:
    pairs = [
        (payment["Class"] == "1", prediction == 1) for payment, prediction in zip(payments, predictions, strict=True)
    ]
    frauds = sum(is_fraud for is_fraud, _ in pairs)
    caught = sum(is_fraud and is_predicted for is_fraud, is_predicted in pairs)
    false_alarms = sum(is_predicted and not is_fraud for is_fraud, is_predicted in pairs)
    print(f"  POST /predict/ for {len(pairs)} payments of {SECOND}, by {model}:")
    print(f"    {caught} of {frauds} frauds found, {false_alarms} false alarms", flush=True)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---- what runs on AWS


class Trigger:
    """The function that starts training on AWS, with the stand-in's S3; the request to ECS is kept in `started`."""

    def __init__(self, storage: Any) -> None:
        specification = importlib.util.spec_from_file_location("handler", TRIGGER)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        vars(module)["_client"] = lambda service: storage if service == "s3" else self
        self.handler = module.handler
        self.started: dict[str, Any] = {}

    def run_task(self, **request: Any) -> dict[str, Any]:
        self.started = request
        return {"tasks": [{"taskArn": "task/1"}], "failures": []}


def train_as_in_the_cloud(stage: Stage, file: Path) -> None:
    """Put a file into a bucket and run what AWS runs: the function that starts a task, the task, the function again."""
    import boto3

    print("\nOn AWS, a new object starts a training task. Here a stand-in has the buckets:", flush=True)
    project = stage.folder / "cloud"
    stage.run("sh", str(PROJECT_STEP), str(HERE), "", str(project))
    buckets = {f"{name.upper()}_BUCKET": f"training-{name}" for name in ("raw", "processed", "archive", "models")}
    environment = {
        **buckets,
        "AWS_ENDPOINT_URL": f"http://{stage.environment['S3']}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "INCOMING": "incoming/",
        "CLUSTER": "example",
        "TASK": "train",
        "SUBNETS": "subnet-1",
        "SECURITY_GROUP": "sg-1",
    }
    with patch.dict(os.environ, environment):
        storage = boto3.client("s3")
        for bucket in buckets.values():
            storage.create_bucket(Bucket=bucket)
        raw = buckets["RAW_BUCKET"]
        storage.upload_file(str(file), raw, f"incoming/{file.name}")
        etag = storage.head_object(Bucket=raw, Key=f"incoming/{file.name}")["ETag"].strip('"')
        function = Trigger(storage)
        created = {"bucket": {"name": raw}, "object": {"key": f"incoming/{file.name}", "etag": etag}}
        answer = function.handler({"detail-type": "Object Created", "detail": created})
        print(f"  {file.name} in {raw}/incoming: {answer['state']} a task", flush=True)
        task = {
            "OBJECT_KEY": str(function.started["overrides"]["containerOverrides"][0]["environment"][0]["value"]),
            "LABELS_INSIDE": "true",
            "SHROFF": str(ENTRYPOINT),
            "TRIES": "1",
        }
        stage.run("sh", str(TASK), folder=project, environment={**environment, **task})
        ended = {"startedBy": function.started["startedBy"], "lastStatus": "STOPPED", "containers": [{"exitCode": 0}]}
        answer = function.handler({"detail-type": "ECS Task State Change", "detail": {**ended, "taskArn": "task/1"}})
        print(f"  {file.name}: {answer['state']}", flush=True)
        for name in ("raw", "archive", "models"):
            objects = storage.list_objects_v2(Bucket=f"training-{name}").get("Contents", ())
            print(f"  training-{name}: {', '.join(item['Key'] for item in objects) or 'empty'}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
