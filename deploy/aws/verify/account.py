"""What all scripts of this folder share: their arguments, clients of the account, and how findings are shown.

Needs boto3. Credentials and region come from the environment, as for the command `aws`. AWS_ENDPOINT_URL names another
server, such as moto's. The scripts read, and change nothing, unless --run is given.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError


@dataclass(frozen=True)
class Account:
    """One environment in an account."""

    environment: str
    url: str = ""
    runs: bool = False

    @property
    def name(self) -> str:
        return f"shroff-{self.environment}"

    @functools.cached_property
    def number(self) -> str:
        return str(self.client("sts").get_caller_identity()["Account"])

    def bucket(self, kind: str) -> str:
        return f"{self.name}-{self.number}-{kind}"

    def client(self, service: str) -> Any:
        return boto3.client(service)


class Seen(str):
    """What Terraform does not restore: what runs, waits, has failed or answers."""

    __slots__ = ()


MISSING = re.compile("NoSuch|NotFound|NonExistent|DoesNotExist|^ClientException$")  # the last: a task that ECS lacks
Finding = tuple[bool, str]  # whether it is as it should be, and what it is
Check = Callable[[Account], Iterator[Finding]]


def main(*checks: Check) -> int:
    """Run checks with the arguments of the command line; 0 where all is well, 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--environment", required=True, choices=["staging", "production"])
    parser.add_argument("--url", default="", help="address of the service, such as https://fraud.bank.example")
    parser.add_argument("--run", action="store_true", help="also start a training task and wait for its end")
    asked = parser.parse_args()
    return report(Account(asked.environment, asked.url, asked.run), *checks)


def report(account: Account, *checks: Check) -> int:
    wrong = count = restorable = 0
    for check in checks:
        print(f"{check.__module__ if check.__module__ != '__main__' else ''} {account.environment}:".strip())
        try:
            for is_well, what in check(account):
                count += 1
                wrong += not is_well
                restorable += not is_well and not isinstance(what, Seen)
                print(f"  {'ok   ' if is_well else 'WRONG'}  {what}")
        except (BotoCoreError, ClientError) as error:
            count, wrong = count + 1, wrong + 1
            answer = getattr(error, "response", {}).get("Error", {})
            restorable += bool(MISSING.search(answer.get("Code", "")))
            bucket = answer.get("BucketName", "")
            print(f"  WRONG  {error}{': ' * bool(bucket)}{bucket}")
    print(f"{count} checks, {wrong} wrong.")
    if restorable:
        folder = f"deploy/terraform/aws/{account.environment}"
        print(f"'terraform plan' in {folder} shows what differs from the files, 'terraform apply' restores it.")
    return 1 if wrong else 0
