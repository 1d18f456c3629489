"""The commands of deploy/README.md: each is compared with the program, or its system is named here as missing."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.deploy import checks

PAGE = "README.md"
ELSEWHERE = {  # what only Docker, root, a cluster or an account can run; the page's table names these programs
    *("docker build", "docker push", "helm upgrade", "kubectl apply", "kubectl create", "kubectl label"),
    *("aws ecs", "aws secretsmanager", "gcloud run", "gcloud secrets", "systemctl", "systemd-sysusers", "journalctl"),
}
SHELL = {"cd", "cp", "curl", "done", "export", "for", "install", "mkdir", "rm"}
OF_TERRAFORM = {"init", "plan", "apply", "output"}  # `terraform.page` compares their names
PROGRAMS = {"/opt/shroff/bin/shroff", "/opt/entrypoint.sh"}  # and `shroff`, where a command begins with it
INLINE = ("SHROFF_", "docker ", "helm ", "kubectl ", "mkdir ", "shroff ", "sudo ", "terraform ")


def commands(text: str) -> Iterator[tuple[list[str], bool]]:
    """The words of each command of the page, and whether it stands inside a sentence, maybe without its arguments."""
    prose = text.partition("\n## How each file is checked")[0]
    for block in re.findall(r"(?s)```sh\n(.*?)```", prose):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words, False
    for inline in re.findall(r"`([^`\n]+)`", re.sub(r"(?s)```.*?```", "", prose)):
        if inline.startswith(INLINE):
            yield shlex.split(re.sub(r"\$\([^)]*\)", "of-the-shell", inline).removesuffix(" ...")), True


def without_prefix(words: Sequence[str]) -> list[str]:
    """A command without what stands before its program."""
    rest = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words))
    while rest[:1] == ["sudo"]:
        rest = rest[3 if rest[1:2] == ["-u"] else 1 :]
    return rest


def command_faults(words: Sequence[str], services: Sequence[str], deploy: Path, *, is_inline: bool) -> Iterator[str]:
    """Why a command cannot work; also if nothing here knows its program."""
    words = without_prefix(words)
    more = ["--help"] if is_inline else []
    ours = [at for at, word in enumerate(words) if word in PROGRAMS or (word, at) == ("shroff", 0)]
    kinds = {" ".join(words[:1]), " ".join(words[:2])}
    if words[:2] == ["docker", "compose"]:
        yield from _of_compose(words, services)
    elif ours:
        if ours[0] and words[0] != "kubectl":
            yield f"{PAGE}: no test knows `{shlex.join(words)}`"
        yield from checks.commands(PAGE, [[*words[ours[0] + 1 :], *more]])
    elif words[0] == "terraform":
        yield from (f"{PAGE}: no test knows terraform {word}" for word in {*words[1:2]} - OF_TERRAFORM)
    elif words[:2] == ["python3", "-c"]:
        compile(words[2], PAGE, "exec")
    elif words[0] == "python3":
        yield from _of_verify(words[1:], deploy)
    elif words[0].startswith("deploy/"):
        steps = re.findall(r"\w+", (deploy.parent / words[0]).read_text(encoding="utf-8"))
        if words[1:] and words[1] not in steps:
            yield f"{PAGE}: {words[0]} has no step {words[1]}"
    elif not kinds & (SHELL | ELSEWHERE):
        yield f"{PAGE}: no test knows `{shlex.join(words)}`"
    named = (word for word in words if word.startswith("deploy/"))
    yield from (f"{PAGE}: {item}: no such file" for item in named if not (deploy.parent / item).exists())


def _of_compose(words: Sequence[str], services: Sequence[str]) -> Iterator[str]:
    profiles = [after for before, after in itertools.pairwise(words) if before == "--profile"]
    yield from (f"{PAGE}: there is no profile {profile}" for profile in profiles if profile not in checks.PROFILES)
    action = next((at for at, word in enumerate(words) if word in {"run", "exec"}), 0)
    if action:
        called = [word for word in words[action + 1 :] if word not in {"--rm", "-T"}]
        if called[0] not in services:
            yield f"{PAGE}: there is no service {called[0]}"
        rest = called[1:] if words[action] == "run" else called[2:]
        yield from checks.commands(PAGE, [rest[: rest.index(">")] if ">" in rest else rest])


def _of_verify(words: Sequence[str], deploy: Path) -> Iterator[str]:
    known = (deploy / "aws/verify/account.py").read_text(encoding="utf-8")
    for word in words:
        if word.startswith("--") and f'add_argument("{word}"' not in known:
            yield f"{PAGE}: {words[0]} does not know {word}"


def readme(deploy: Path) -> list[str]:
    """Commands of README.md that cannot work or that nothing here knows, and files without a line in its table."""
    text = (deploy / PAGE).read_text(encoding="utf-8")
    services = checks.merged(deploy)["services"]
    blocks = re.findall(r"```(\S*)\n", text)[::2]
    found = [f"{PAGE}: a block is marked {block!r}, not sh" for block in blocks if block != "sh"]
    for words, is_inline in commands(text):
        found += command_faults(words, services, deploy, is_inline=is_inline)
    kept = {
        str(path.relative_to(deploy))
        for path in deploy.rglob("*")
        if path.is_file() and {"secrets", "__pycache__"}.isdisjoint(path.parts)
    }
    table = text.partition("| file |")[2].partition("\n| --- ")[2]
    named = {part for line in table.splitlines()[1:] for part in re.findall(r"`([^`]+)`", line.split("|")[1])}
    listed = {str(path.relative_to(deploy)) for item in named for path in deploy.glob(item) if path.is_file()} | {
        item for item in named if not [*deploy.glob(item)]
    }
    found += [f"README.md: the table lacks {item}" for item in sorted(kept - listed - {"README.md"})]
    return found + [f"README.md: the table names {item}, which is not there" for item in sorted(listed - kept)]
