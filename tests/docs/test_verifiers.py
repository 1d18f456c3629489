"""The verifiers of our webhooks that a how-to shows, run: JavaScript by Node, Go by its compiler."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shroff import webhooks
from tests.support.effort import long

PAGE = Path(__file__).parents[2] / "docs/howto/receive-webhooks.md"
SECRET, BODY, NOW_S = "whsec_c2hyb2Zm", b'{"payment": "p-1"}', 1_772_366_400
NODE = """
import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";
for (const one of JSON.parse(readFileSync(0, "utf8"))) {
  try { console.log(verify("%s", one.headers, Buffer.from(one.body), %d)); } catch (error) { console.log("refused"); }
}
"""
GO = """
package main
import ("encoding/json"; "fmt"; "os"; "verifier/webhook")
func main() {
	var all []struct{ Headers map[string]string; Body string }
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil { panic(err) }
	for _, one := range all {
		header := func(name string) string { return one.Headers[name] }
		id, err := webhook.Verify("%s", header, []byte(one.Body), %d)
		if err != nil { id = "refused" }
		fmt.Println(id)
	}
}
"""


def shown(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def calls() -> tuple[bytes, list[str]]:
    """Calls, and what a verifier says of each."""
    good = webhooks.headers(SECRET, "msg-1", NOW_S, BODY)
    two = webhooks.headers(f"whsec_b2xk {SECRET}", "msg-2", NOW_S - 300, BODY)
    tried = [
        (good, BODY, "msg-1"),
        (two, BODY, "msg-2"),
        (good, BODY + b" ", "refused"),
        (good | {"webhook-id": "msg-3"}, BODY, "refused"),
        (webhooks.headers("whsec_b2xk", "msg-1", NOW_S, BODY), BODY, "refused"),
        (webhooks.headers(SECRET, "msg-1", NOW_S - 301, BODY), BODY, "refused"),
        (webhooks.headers(SECRET, "msg-1", NOW_S + 301, BODY), BODY, "refused"),
        (good | {"webhook-signature": ""}, BODY, "refused"),
        (good | {"webhook-timestamp": "x"}, BODY, "refused"),
        ({}, BODY, "refused"),
    ]
    sent = [{"headers": headers, "body": body.decode()} for headers, body, _ in tried]
    return json.dumps(sent).encode(), [answer for _, _, answer in tried]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["js", long("go")])
def test_a_verifier_that_the_how_to_shows_accepts_what_we_sign_and_nothing_else(language, tmp_path):
    sent, answers = calls()
    if language == "js":
        (tmp_path / "verify.mjs").write_text(shown("js"))
        (tmp_path / "main.mjs").write_text(NODE % (SECRET, NOW_S))
        command = ["node", "main.mjs"]
    else:
        (tmp_path / "webhook").mkdir()
        (tmp_path / "webhook/webhook.go").write_text(shown("go"))
        (tmp_path / "main.go").write_text(GO % (SECRET, NOW_S))
        (tmp_path / "go.mod").write_text("module verifier\n\ngo 1.21\n")
        command = ["go", "run", "-gcflags=all=-N -l", "."]  # a third less to compile where no cache is
    if shutil.which(command[0]) is None:
        pytest.skip(reason=f"there is no {command[0]} here, which a verifier of the how-to is written for")
    plain = os.environ | {"CGO_ENABLED": "0"}
    run = subprocess.run(command, cwd=tmp_path, env=plain, input=sent, capture_output=True, timeout=120, check=False)

    assert run.stdout.decode().split("\n")[:-1] == answers, run.stderr.decode()
