"""What checkov, parliament and the schemas of the providers say of deploy/terraform.

They pin what they need, so they have an environment of their own (requirements/checkers.txt), and run at night only:
checkov takes a quarter of a minute of a processor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import checks, hcl, providers, terraform
from tests.deploy import terraform_aws as aws
from tools.servers.errors import UnavailableError
from tools.servers.fetching import from_pypi

FOLLOWED = "checkov does not follow `for_each` to other resources; terraform_aws.protection looks at it"
KEY = "Google encrypts it with its own keys; a key of yours is a choice with a price"
CHECKOV = {
    "CKV2_AWS_6": FOLLOWED,
    "CKV2_AWS_61": FOLLOWED,
    "CKV_AWS_21": FOLLOWED,
    "CKV_AWS_145": f"{FOLLOWED}; the load balancer writes its logs only where S3 has the key",
    "CKV2_AWS_10": "it is: to aws_cloudwatch_log_group.log, which has `for_each`",
    "CKV2_AWS_28": "shroff limits rates and bodies itself; a web application firewall is a choice with a price",
    "CKV2_AWS_57": "passwords are renewed by a variable of Terraform, or by the mail server's owner",
    "CKV2_AWS_62": "only new objects of the raw bucket start anything",
    "CKV2_GCP_13": "the duration of each statement would be a line for each commit",
    "CKV_AWS_18": "the trail has every write to raw and models; reads are not logged",
    "CKV_AWS_109": "the policy of a key: * is that key",
    "CKV_AWS_111": "the policy of a key: * is that key",
    "CKV_AWS_356": "the policy of a key: * is that key",
    "CKV_AWS_117": "the function calls services of AWS only; inside the network it would need the NAT gateway",
    "CKV_AWS_118": "performance insights are on; the system's own figures would need one more role",
    "CKV_AWS_144": "a second region is a choice with a price",
    "CKV_AWS_157": "staging has one zone; production has two",
    "CKV_AWS_161": "shroff signs in with a password",
    "CKV_AWS_252": "alarms tell people; the trail is for looking back",
    "CKV_AWS_260": "port 80 has the redirect to TLS",
    "CKV_AWS_272": "the function is one file of this repository",
    "CKV_AWS_394": "the first two zones, which do not change their order",
    "CKV_GCP_6": "it does: ssl_mode, which checkov does not know",
    "CKV_GCP_62": "audit logs of Google Cloud have who reads what",
    "CKV_GCP_79": "the version that the tests run is older, and 17 is supported for years",
    "CKV_GCP_108": "connections come from one subnet",
    "CKV_GCP_109": "the default, WARNING, says more",
    "CKV_GCP_110": "the log's own tables cannot be changed, and shroff has an audit log",
    "CKV_GCP_111": "each commit would be logged, with its data",
    **dict.fromkeys(("CKV_GCP_37", "CKV_GCP_38", "CKV_GCP_80", "CKV_GCP_81", "CKV_GCP_83", "CKV_GCP_84"), KEY),
}
PARLIAMENT = {"MISMATCHED_TYPE_BUT_USABLE": "StringEquals for the ARN of an access point, as AWS's own examples"}
JUDGE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from parliament import analyze_policy_string
for name, policy in json.load(sys.stdin).items():
    for one in analyze_policy_string(json.dumps(policy)).findings:
        print(f"{one.issue} {name}: {one.detail}")
"""


def checker(name: str) -> str:
    try:
        return str(from_pypi("checkers", checks.ROOT / "requirements/checkers.txt") / name)
    except UnavailableError as error:
        checks.missing(name, str(error))


def checkov(folder: Path) -> dict[str, Any]:
    command = [checker("checkov"), "-d", str(folder), "--framework", "terraform", "--skip-download", "--quiet"]
    done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
def test_checkov_finds_nothing_but_what_is_listed_with_its_reason(tmp_path):
    found = checkov(checks.DEPLOY / "terraform")
    failed = {check["check_id"] for check in found["results"]["failed_checks"]}
    whole = "\n".join(
        f"{check['check_id']} {check['check_name']}: {check['resource']}" for check in found["results"]["failed_checks"]
    )

    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 400
    assert sorted(failed - set(CHECKOV)) == [], whole
    assert sorted(set(CHECKOV) - failed) == []

    planted = tmp_path / "terraform"
    shutil.copytree(checks.DEPLOY / "terraform/aws", planted / "aws")
    shutil.copytree(checks.DEPLOY / "aws", tmp_path / "aws")
    data = planted / "aws/module/data.tf"
    text = data.read_text(encoding="utf-8")
    data.write_text(text.replace("storage_encrypted               = true", "storage_encrypted               = false"))

    assert "CKV_AWS_16" in {check["check_id"] for check in checkov(planted)["results"]["failed_checks"]}


PROVIDER_FAULTS = [
    ("aws", "data.tf", "publicly_accessible ", "public_accessible ", "does not know public_accessible"),
    ("aws", "trigger.tf", "  log_format = ", "  log_form = ", "does not know log_form"),
    ("aws", "run.tf", "  min_capacity       = var.service_count\n", "", "needs min_capacity"),
    ("aws", "network.tf", 'resource "aws_eip" "out"', 'resource "aws_ip" "out"', "no such resource"),
    ("gcp", "run.tf", "startup_cpu_boost", "startup_boost", "does not know startup_boost"),
    ("gcp", "data.tf", '  database_version    = "POSTGRES_17"\n', "", "needs database_version"),
]


@pytest.mark.long
@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_providers_know_every_argument_and_get_all_that_they_need(tmp_path, cloud):
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = Path(checker("python")).parents[1] / "lib" / version / "site-packages"

    assert [*providers.unknown(terraform.module(checks.DEPLOY, cloud), site)] == []

    shutil.copytree(checks.DEPLOY / terraform.TERRAFORM / cloud / "module", tmp_path / "module")
    for _, file, old, new, words in (fault for fault in PROVIDER_FAULTS if fault[0] == cloud):
        path = tmp_path / "module" / file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new))
        found = "\n".join(providers.unknown(hcl.read(tmp_path / "module"), site))
        path.write_text(text)

        assert words in found, found


@pytest.mark.long
def test_parliament_knows_every_action_and_resource_of_our_policies():
    main = aws._module(checks.DEPLOY)
    names = ("service", "workers", "train", "files", "trigger", "flow_log", "trail", "start")
    policies = {name: {"Version": "2012-10-17", "Statement": aws.policy(main, name)} for name in names}
    policies["planted"] = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObjects"], "Resource": ["arn:aws:s3:::a/b"]}],
    }
    python = checker("python")
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [python, "-c", JUDGE], input=json.dumps(policies), capture_output=True, text=True, check=True, env=env
    )
    found = [line for line in done.stdout.splitlines() if line.split()[0] not in PARLIAMENT]

    assert [line for line in found if " planted: " not in line] == []
    assert found != []
