"""What watches shroff, tried with the program itself."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from tests.deploy import checks
from tests.support.forks import SHROFF

# What a runbook's command says where a project has no such thing: it was understood and looked.
NOTHING = re.compile(r"there is no |no active model|does not say where its backups are")


@pytest.mark.slow
def test_the_commands_that_runbooks_look_with_run_in_a_project(tmp_path):
    bank = tmp_path / "bank"
    shutil.copytree(checks.ROOT / "src/shroff/templates/payments", bank)
    subprocess.run([SHROFF, "-C", bank, "ingest", bank / "examples/payment.json", "--as", "payment"], check=True)
    text = "\n".join(page.read_text() for page in (checks.ROOT / "docs/runbooks").glob("*.md"))
    looks = {
        command
        for line in re.findall(r"(?m)^- \*\*(?:Check|Verify)\*\*.*", text)
        for command in re.findall(r"`shroff ([^`]+)`", line)
    }
    failed = {}
    for command in sorted(looks):
        done = subprocess.run([SHROFF, "-C", bank, *shlex.split(command)], capture_output=True, text=True, check=False)
        if done.returncode and not NOTHING.search(done.stderr):
            failed[command] = done.stdout + done.stderr

    assert failed == {}
    assert len(looks) > 20
