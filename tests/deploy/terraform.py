"""Checks of deploy/terraform for both clouds: references, environments, and what is compared with the program.

Neither cloud's provider can be had where tests run, so nothing here knows whether a provider takes an argument.
`python -m tests.deploy.terraform` renews what the program generates.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from cronsim import CronSim

import shroff
from shroff import config
from shroff.errors import ShroffError
from shroff.lake.rows import empty_tables
from shroff.project.definitions import Definitions
from shroff.web.api.probes import ROUTES
from shroff_plugins.analytics.marts.models import load_models
from shroff_plugins.analytics.marts.views import ViewFiles, view_name
from shroff_plugins.analytics.warehouse import WarehouseRequest, write_warehouse
from tests.deploy import hcl
from tests.deploy.checks import DEPLOY, IMAGE, commands, serve_port

TERRAFORM = "terraform"
ENTRYPOINT = "/opt/entrypoint.sh"  # of the image, which ends with `exec shroff`
ENVIRONMENTS = ("staging", "production")
TEMPLATES = ("payments", "savings")  # whose tables are in terraform/gcp/schemas
BUILT_IN = {"var", "local", "module", "each", "count", "path", "self", "data", "ephemeral"}
RESOURCE = re.compile(r"(?<![\w.\"])((?:data\.|ephemeral\.)?(?:google|aws|random|archive)_\w+)\.(\w+)")


def module(deploy: Path, cloud: str) -> hcl.Module:
    return hcl.read(deploy / TERRAFORM / cloud / "module")


def _code(text: str) -> str:
    """Without comments, and with texts only where they have expressions."""
    return re.sub(r"(?m)(^|\s)#.*$", "", text)


# --- Terraform by itself


def references(deploy: Path, cloud: str) -> list[str]:
    """Names that are used and not declared, or declared and not used; variables that an environment does not give."""
    found, place = [], f"{TERRAFORM}/{cloud}"
    try:
        main = module(deploy, cloud)
        roots = {name: hcl.read(deploy / place / name) for name in ENVIRONMENTS}
    except hcl.HclError as error:
        return [f"{place}: {error}"]
    for name, part in {"module": main, **roots}.items():
        text = _code(part.text)
        for kind, known in (("var", part.variables), ("local", part.locals), ("module", part.modules)):
            used = set(re.findall(rf"\b{kind}\.(\w+)", text))
            found += [f"{place}/{name}: {kind}.{lost} is not declared" for lost in sorted(used - set(known))]
            found += [f"{place}/{name}: {kind}.{idle} is not used" for idle in sorted(set(known) - used)]
        for kind, label in RESOURCE.findall(text):
            if (kind, label) not in part.resources:
                found.append(f"{place}/{name}: {kind}.{label} is not declared")
        found += [f"{place}/{name}: variable {at} has no type" for at, of in part.variables.items() if "type" not in of]
    found += [
        f"{place}/module: variable {at} has no description"
        for at, of in main.variables.items()
        if "description" not in of
    ]
    for name, root in roots.items():
        found += [f"{place}/{name}: {fault}" for fault in _called(root, main, name)]
    given = [set(root.modules.get("shroff", {})) for root in roots.values()]
    if given[0] != given[1]:
        found.append(f"{place}: the environments give different variables: {sorted(given[0] ^ given[1])}")
    return found


def _called(root: hcl.Module, main: hcl.Module, name: str) -> Iterator[str]:
    """Faults of the call of the module: its variables, its outputs, its state."""
    call = root.modules.get("shroff", {})
    given = set(call) - {"source", "providers"}
    if call.get("source") != "../module":
        yield f"it does not use ../module, but {call.get('source')}"
    if call.get("environment") != name:
        yield f"its environment is {call.get('environment')}"
    needed = {at for at, of in main.variables.items() if "default" not in of}
    yield from (f"variable {lost} of the module is not given" for lost in sorted(needed - given))
    yield from (f"the module has no variable {odd}" for odd in sorted(given - set(main.variables)))
    used = set(re.findall(r"module\.shroff\.(\w+)", root.text))
    yield from (f"the module has no output {odd}" for odd in sorted(used - set(main.outputs)))
    backends = [item for part in root.terraform for item in part.get("backend", ())]
    text = json.dumps(backends)
    if len(backends) != 1 or name not in text or any(other in text for other in ENVIRONMENTS if other != name):
        yield f"its state must be its own: {text}"


def page(deploy: Path, cloud: str) -> list[str]:
    """Commands of README.md that Terraform would refuse: their folders, targets, variables and outputs."""
    text = (deploy / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"deploy/{TERRAFORM}/{cloud}/")[2].partition("\n## ")[0]
    main, root = module(deploy, cloud), hcl.read(deploy / TERRAFORM / cloud / ENVIRONMENTS[0])
    known = {
        "target": {".".join(resource) for resource in main.resources},
        "var": set(root.variables),
        "output": set(root.outputs),
    }
    used = {
        "target": re.findall(r"-target=module\.shroff\.([\w.]+)", section),
        "var": re.findall(r"(?:-var |TF_VAR_)(\w+)", section),
        "output": re.findall(r"terraform output (?:-raw )?(\w+)", section),
    }
    found = [] if used["var"] and used["output"] else [f"README.md: no commands for {cloud}"]
    return found + [
        f"README.md: {cloud}: there is no {kind} {name}"
        for kind, names in used.items()
        for name in names
        if name not in known[kind]
    ]


def layout(deploy: Path, cloud: str) -> list[str]:
    """Lines that `terraform fmt` would change: tabs, blanks at the end, indentation, `=` that are not in one column."""
    found = []
    for path in sorted((deploy / TERRAFORM / cloud).rglob("*.tf")):
        file = path.relative_to(deploy)
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() or "\t" in line:
                found.append(f"{file}:{number}: blanks at the end, or a tab")
            if (len(line) - len(line.lstrip())) % 2:
                found.append(f"{file}:{number}: indentation")
        for at, group in _columns(lines):
            if len({column for _, column in group}) > 1:
                found.append(f"{file}:{at}: the = of {', '.join(name for name, _ in group)} are not in one column")
    return found


def _columns(lines: list[str]) -> Iterator[tuple[int, list[tuple[str, int]]]]:
    """Runs of arguments on one line each, of one block, with the columns of their `=`."""

    def key(pair: tuple[int, str]) -> str | None:
        match = re.match(r"(\s*)[\w-]+\s+= ", pair[1])
        return match[1] if match and not pair[1].rstrip().endswith(("{", "[", "(")) else None

    for indent, run in itertools.groupby(enumerate(lines, 1), key):
        if indent is not None:
            rows = list(run)
            yield rows[0][0], [(line.split()[0], line.index("=")) for _, line in rows]


# --- what the program says


def shell(text: str) -> list[list[str]]:
    """The commands of shroff inside a line of the shell; expressions of Terraform and of the shell are `x`."""
    text = re.sub(r"\"\$\{SHROFF:-[^}]*\}\"", "shroff", text).replace(ENTRYPOINT, "shroff")
    text = re.sub(r"\$\{[^}]*\}", "x", text)
    text = re.sub(r"\$\([^()]*(\([^()]*\)[^()]*)*\)", "x", text)
    found = []
    for part in re.split(r"&&|\|\||[|;\n]", text):
        words = shlex.split(part, comments=True)
        while words and ("=" in words[0].partition("/")[0] or words[0] in {"if", "then", "do", "until", "while", "!"}):
            words = words[1:]
        if words[:1] == ["shroff"]:
            found.append([word for word in words[1:] if word not in {">", "2>&1", "$@"}])
    return found


def settings(file: str, deploy: Path, given: set[str]) -> list[str]:
    """Differences between the `${NAME}` of a shroff.yaml and the variables that containers get; and its own faults."""
    text = (deploy / file).read_text(encoding="utf-8")
    used = set(re.findall(r"\$\{(\w+)\}", re.sub(r"(?m)^#.*$", "", text)))
    found = [f"{file}: no container has ${{{name}}}" for name in sorted(used - given)]
    found += [f"{file}: nothing reads ${{{name}}}" for name in sorted(given - used)]
    return found + ([f"{file}: {why}"] if (why := refused_settings(text)) else [])


@functools.cache
def refused_settings(text: str) -> str:
    """Why the program does not take a shroff.yaml in a project of payments; empty where it does."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(config.TEMPLATE_FOLDER / "payments", project)
        (project / config.PROJECT_FILE).write_text(text, encoding="utf-8")
        try:
            shroff.open(project).definitions  # noqa: B018 - it reads the files
        except ShroffError as error:
            return str(error)
    return ""


def due_hours(schedule: str) -> tuple[int, ...]:
    """The hours of the first day of a month at which a schedule is due, by the library that reads schedules.yaml."""
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    due = itertools.takewhile(
        lambda moment: moment <= begin + timedelta(days=1), CronSim(schedule, begin - timedelta(seconds=1))
    )
    return tuple(item.hour for item in due)


def served(place: str, arguments: list[str], port: Any, routes: set[str]) -> list[str]:
    """Faults of how the service is started and asked: its command, its port, and the health routes."""
    found = list(commands(place, [arguments]))
    if port != serve_port():
        found.append(f"{place}: port {port}, but shroff serves on {serve_port()}")
    known = {route.path for route in ROUTES}
    found += [f"{place}: the program has no {route}" for route in sorted(routes - known)]
    if "--standby" not in arguments:
        found.append(f"{place}: without --standby a new container ends while the old one has the log")
    return found


def image_folder(deploy: Path) -> str:
    """The working folder of the image."""
    return re.findall(r"^WORKDIR (\S+)$", (deploy / IMAGE).read_text(encoding="utf-8"), re.MULTILINE)[-1]


def kept_in_state(main: hcl.Module, place: str) -> list[str]:
    """Passwords that would stand in Terraform's state: only arguments that are written and not kept may have them."""
    return [
        f"{place}: {kind}.{name}: {key} would stand in the state"
        for (kind, name), resource in main.resources.items()
        for key in resource
        if re.search(r"(?i)password|secret_(data|string)", key) and not re.search("_wo(_version)?$", key)
    ]


# --- what the program generates


def generated(deploy: Path, place: str, files_of: Callable[[str], Mapping[str, str]]) -> list[str]:
    """Files below a folder that the program would write otherwise."""
    wanted = {file: text for template in TEMPLATES for file, text in files_of(template).items()}
    paths = (deploy / place).rglob("*.json")
    there = {str(path.relative_to(deploy)): path.read_text(encoding="utf-8") for path in paths}
    renew = "renew it: python -m tests.deploy.terraform"
    return [
        f"{file}: it differs from what the program writes; {renew}"
        for file in sorted(wanted.keys() | there.keys())
        if wanted.get(file) != there.get(file)
    ]


def _template(template: str, folder: str) -> Definitions:
    shutil.copytree(config.TEMPLATE_FOLDER / template, folder)
    return shroff.open(folder).definitions


@functools.cache
def schema_files(template: str) -> dict[str, str]:
    """Each file of terraform/gcp/schemas for a template, with its text: the tables of its warehouse."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        empty = empty_tables(_template(template, str(project)))
        texts = config.read_sql(project, "warehouse")
        models = load_models(texts, ViewFiles({}, empty).views) if texts else []
        found = write_warehouse(None, WarehouseRequest(Path(folder) / "out", "parquet", 0, empty, models)).schemas
    place = f"{TERRAFORM}/gcp/schemas/{template}"
    return {f"{place}/{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in found.items()}


@functools.cache
def table_files(template: str) -> dict[str, str]:
    """Each file of terraform/aws/tables for a template, with its text: a folder of the lake and its columns."""
    with tempfile.TemporaryDirectory() as folder:
        empty = empty_tables(_template(template, f"{folder}/project"))
    place, found = f"{TERRAFORM}/aws/tables/{template}", {}
    for name, table in empty.items():
        columns = [{"name": row.name, "type": hive(row.type)} for row in table.schema]
        text = json.dumps({"folder": name, "columns": columns}, indent=2) + "\n"
        found[f"{place}/{view_name(name)}.json"] = text
    return found


def hive(type_: pa.DataType) -> str:
    """A type of Parquet as the Glue catalog names it."""
    if pa.types.is_list(type_):
        return f"array<{hive(type_.value_type)}>"
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    kinds = {
        "string": "string",
        "bool": "boolean",
        "double": "double",
        "timestamp[ms, tz=UTC]": "timestamp",
        "date32[day]": "date",
    }
    if pa.types.is_integer(type_):
        return "bigint" if type_.bit_width > 32 else "int"
    if pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return "binary"
    return kinds[str(type_)]


if __name__ == "__main__":
    for template in TEMPLATES:
        for file, text in (schema_files(template) | table_files(template)).items():
            (DEPLOY / file).parent.mkdir(parents=True, exist_ok=True)
            (DEPLOY / file).write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file}\n")
