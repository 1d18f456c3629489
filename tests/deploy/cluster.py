"""The checks of deploy/helm and deploy/argocd. `python -m tests.deploy.cluster` renews the recorded manifests.

Manifests are what Helm makes of the chart with each file of deploy/helm/values, as release `shroff`.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from shroff import __version__
from shroff.web.api.probes import ROUTES
from shroff.worker.serving.counts import STANDING_BY
from tests.deploy import checks

Manifest = dict[str, Any]
CHART, VALUES = "helm/shroff", "helm/values"
GOLDEN = Path(__file__).with_name("manifests")
VERSIONS = ("1.30", "1.33", "1.35", "1.37")  # of Kubernetes: the oldest of Chart.yaml, the newest, and two between
# Of argo-cd v3.3.0 (manifests/crds; of ApplicationSet the list generator) and of prometheus-operator v0.87.0
# (controller-gen on pkg/apis/monitoring/v1). Without descriptions, and with unknown fields refused.
CRDS = Path(__file__).with_name("crds.json")
TRIED = ("one-node", "staging", "production", "workers")


def helm(*words: object) -> subprocess.CompletedProcess[str]:
    path, env = checks.tool("helm")
    return subprocess.run([path, *map(str, words)], capture_output=True, text=True, env=dict(env), check=False)


def rendered(deploy: Path, name: str) -> str:
    """The manifests of one file of values. Raises: ValueError with what Helm says."""
    made = helm("template", "shroff", deploy / CHART, "-n", "shroff", "-f", deploy / VALUES / f"{name}.yaml")
    if made.returncode:
        raise ValueError(made.stderr)
    return made.stdout


def manifests(deploy: Path, name: str) -> list[Manifest]:
    return [item for item in yaml.load_all(rendered(deploy, name), yaml.CSafeLoader) if item]


def each(deploy: Path, names: Sequence[str]) -> Iterator[tuple[str, list[Manifest], list[str]]]:
    """Each file of values with its manifests, or with why Helm makes none."""
    for name in names:
        file = f"{VALUES}/{name}.yaml"
        try:
            yield file, manifests(deploy, name), []
        except ValueError as error:
            yield file, [], [f"{file}: helm: {error}"]


# --- what the chart makes is what Kubernetes takes


def chart(deploy: Path, names: Sequence[str] = TRIED) -> list[str]:
    """Faults that Helm finds in the chart, and a version that is not the program's."""
    found = []
    for name in names:
        done = helm("lint", "--strict", deploy / CHART, "-f", deploy / VALUES / f"{name}.yaml")
        found += [f"{CHART}: helm lint with {name}: {done.stdout}{done.stderr}"] if done.returncode else []
    about = yaml.safe_load((deploy / CHART / "Chart.yaml").read_text(encoding="utf-8"))
    if about["appVersion"] != __version__:
        found.append(f"{CHART}/Chart.yaml: appVersion {about['appVersion']}, but the program is {__version__}")
    return found


@functools.cache
def crds() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(CRDS.read_text(encoding="utf-8"))
    return known


@functools.cache
def read_once(read: Callable[..., Any]) -> Callable[..., Any]:
    """A function that reads a schema, with what it has read kept: it is read for each manifest anew."""
    return read if hasattr(read, "cache_info") else functools.cache(read)


def schema_faults(file: str, manifest: Manifest, versions: Sequence[str] = VERSIONS) -> Iterator[str]:
    """What the schema of its kind has against a manifest; unknown fields are faults."""
    import jsonschema
    import kubernetes_validate

    kubernetes_validate.utils.schema_contents = read_once(kubernetes_validate.utils.schema_contents)
    kind = f"{manifest['apiVersion']}/{manifest['kind']}"
    if kind in crds():
        for error in jsonschema.Draft202012Validator(crds()[kind]).iter_errors(manifest):
            yield f"{file}: {kind}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        return
    for version in versions:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"{file}: {kind} {manifest['metadata']['name']} in Kubernetes {version}: {error.message[:300]}"


def schemas(deploy: Path, names: Sequence[str] = TRIED, versions: Sequence[str] = VERSIONS) -> list[str]:
    """Manifests that some version of Kubernetes refuses."""
    found = []
    for file, given, why in each(deploy, names):
        found += why
        found += [fault for row in given for fault in schema_faults(file, row, versions)]
    return found


# --- policies


def pods(given: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each template of pods, with the name of its workload."""
    for row in given:
        spec = row.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template and row["kind"] in {"StatefulSet", "Deployment", "CronJob"}:
            yield f"{row['kind']} {row['metadata']['name']}", template


def policies(deploy: Path, names: Sequence[str] = TRIED) -> list[str]:
    """Pods with rights, without limits or probes, with secrets as text; images that are not pinned; open networks."""
    found = []
    for file, given, why in each(deploy, names):
        found += why
        for name, template in pods(given):
            found += [f"{file}: {name}: {fault}" for fault in pod_faults(template["spec"])]
            for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
                runs_on = name.startswith(("StatefulSet", "Deployment")) and container in template["spec"]["containers"]
                found += [
                    f"{file}: {name}: {container['name']}: {fault}" for fault in container_faults(container, runs_on)
                ]
            found += [f"{file}: {name}: {fault}" for fault in network_faults(template, given)]
        found += [f"{file}: a secret is not part of a chart" for row in given if row["kind"] == "Secret"]
    return found


def pod_faults(spec: Manifest) -> Iterator[str]:
    given = spec.get("securityContext", {})
    if given.get("runAsNonRoot") is not True or not given.get("runAsUser"):
        yield "it may run as root"
    if given.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "it has a token of Kubernetes"
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")) or "hostPath" in json.dumps(spec):
        yield "it must not have the rights of the host"


def container_faults(container: Manifest, runs_on: bool) -> Iterator[str]:
    given = container.get("securityContext", {})
    if given.get("capabilities") != {"drop": ["ALL"]} or given.get("allowPrivilegeEscalation") is not False:
        yield "it must drop all capabilities and gain none"
    if given.get("readOnlyRootFilesystem") is not True or given.get("privileged"):
        yield "its root must be read-only"
    if not re.search(r":\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", container["image"]):
        yield f"the image {container['image']} is not pinned to one release"
    amounts = container.get("resources", {})
    for kind in ("cpu", "memory"):
        asked, most = (amounts.get(key, {}).get(kind) for key in ("requests", "limits"))
        if most is None or asked is None:
            yield f"no request or no limit of {kind}"
        elif amount(asked) > amount(most):
            yield f"it asks for {asked} of {kind}, above its limit {most}"
    probes = {"livenessProbe", "readinessProbe"}
    if (
        runs_on and container.get("ports") and not probes <= container.keys()
    ):  # a worker has no port, and ends where it cannot go on
        yield f"no {' and no '.join(sorted(probes - container.keys()))}"
    for variable in container.get("env", ()):
        is_secret = re.search(r"(?i)password|secret|token|api_?key", variable["name"])
        if is_secret and "value" in variable and not variable["name"].endswith("_FILE"):
            yield f"{variable['name']}: a literal secret"


def amount(text: str) -> float:
    """A quantity of Kubernetes as a number: cores or bytes."""
    ((number, unit),) = re.findall(r"^([\d.]+)(\w*)$", str(text))
    return float(number) * {"": 1, "m": 0.001, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}[unit]


def selects(selector: Manifest, labels: Manifest) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        (labels.get(row["key"]) in row["values"]) == (row["operator"] == "In")
        for row in selector.get("matchExpressions", ())
    )


def network_faults(template: Manifest, given: Sequence[Manifest]) -> Iterator[str]:
    labels = template["metadata"]["labels"]
    rules = [row["spec"] for row in given if row["kind"] == "NetworkPolicy"]
    own = [row for row in rules if selects(row["podSelector"], labels)]
    if not own or any(set(row["policyTypes"]) != {"Ingress", "Egress"} for row in own):
        yield "no network policy for both directions"
    for rule in (rule for item in own for rule in item.get("ingress", ())):
        if not rule.get("from") or not rule.get("ports"):
            yield "its network is open to every pod"
    for rule in (rule for item in own for rule in item.get("egress", ())):
        if not rule.get("ports") or (not rule.get("to") and {port["port"] for port in rule["ports"]} != {53}):
            yield "it reaches every address"


# --- what the manifests name exists


def program(deploy: Path, names: Sequence[str] = TRIED) -> list[str]:
    """Commands, ports, paths and files that are not those of the program, and names that lead nowhere."""
    found = list(proxy(deploy)) if "production" in names else []
    for file, given, why in each(deploy, names):
        found += why
        for name, template in pods(given):
            found += [f"{file}: {name}: {fault}" for fault in named_faults(deploy, file, template["spec"], given)]
        found += [f"{file}: {fault}" for fault in targets(given)]
        for row in given:
            rules = (deploy / "prometheus/rules.yaml").read_text(encoding="utf-8")
            if row["kind"] == "PrometheusRule" and row["spec"] != yaml.load(rules, yaml.CSafeLoader):
                found.append(f"{file}: its rules are not those of prometheus/rules.yaml")
        if any(row["kind"] == "PrometheusRule" for row in given):
            boards = {name: text for row in given if row["kind"] == "ConfigMap" for name, text in row["data"].items()}
            for path in sorted((deploy / "grafana").glob("*.json")):
                if boards.get(path.name) != path.read_text(encoding="utf-8"):
                    found.append(f"{file}: its dashboard {path.name} is not that of grafana/")
    return found


def named_faults(deploy: Path, file: str, spec: Manifest, given: Sequence[Manifest]) -> Iterator[str]:
    dockerfile = (deploy / checks.IMAGE).read_text(encoding="utf-8")
    copied = " ".join(re.findall(r"^COPY (deploy/image/.*) /opt/$", dockerfile, re.MULTILINE))
    inside = {f"/opt/{Path(item).name}" for item in copied.split()}
    known = {route.path for route in ROUTES} | set(re.findall(r"respond (/\S+) 200", str(given)))
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        if "args" in container:
            yield from checks.commands(file, [container["args"]])
        asked = [part for key in ("livenessProbe", "readinessProbe", "startupProbe") if (part := container.get(key))]
        called = [container.get("command", ()), *(part["exec"]["command"] for part in asked if "exec" in part)]
        yield from (
            f"the image has no {word}"
            for part in called
            for word in part
            if re.match("/opt/", word + "/") and word not in inside
        )
        paths = [part["httpGet"]["path"] for part in asked if "httpGet" in part]
        yield from (f"the program has no {path}" for path in paths if path not in known)
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        if (expected := own_port(container)) and set(ports.values()) != {expected}:
            yield f"ports {ports}, but shroff serves on {expected}"
        yield from (
            f"no port {part['httpGet']['port']}"
            for part in asked
            if "httpGet" in part and part["httpGet"]["port"] not in ports
        )
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        yield from (f"no volume {name}" for name in mounted - {volume["name"] for volume in spec.get("volumes", ())})
    there = {(part["kind"], part["metadata"]["name"]) for part in given}
    for volume in spec.get("volumes", ()):
        for kind, key, inner in (
            ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
            ("ConfigMap", "configMap", "name"),
        ):
            if key in volume and (kind, volume[key][inner]) not in there:
                yield f"no {kind} {volume[key][inner]}"
    health = (deploy / "image/health.py").read_text(encoding="utf-8")
    if f'STANDING_BY = "{STANDING_BY}"' not in health:
        yield f"image/health.py: the program calls it {STANDING_BY!r}"


def own_port(container: Manifest) -> int:
    """The port on which a container of shroff serves, by its command; 0 where it does not."""
    words = container.get("args", ["serve"] if container["name"] == "caddy" else [""])
    if words[0] == "run":
        return int(words[words.index("--metrics-port") + 1])
    return checks.serve_port() if words[0] == "serve" else 0


def targets(given: Sequence[Manifest]) -> Iterator[str]:
    """Selectors and references that reach nothing."""
    templates = [template for _, template in pods(given)]
    services = {row["metadata"]["name"]: row for row in given if row["kind"] == "Service"}
    for row in given:
        name, spec = f"{row['kind']} {row['metadata']['name']}", row.get("spec", {})
        if row["kind"] in {"Service", "PodDisruptionBudget"}:
            selector = {"matchLabels": spec["selector"]} if row["kind"] == "Service" else spec["selector"]
            reached = [template for template in templates if selects(selector, template["metadata"]["labels"])]
            ports = {
                port["name"] for part in reached for box in part["spec"]["containers"] for port in box.get("ports", ())
            }
            if not reached or any(port["targetPort"] not in ports for port in spec.get("ports", ())):
                yield f"{name}: it selects no pod with its port"
        if row["kind"] == "ServiceMonitor":
            reached = [part for part in services.values() if selects(spec["selector"], part["metadata"]["labels"])]
            if not reached or any(end["path"] not in {route.path for route in ROUTES} for end in spec["endpoints"]):
                yield f"{name}: it selects no service, or a path that is none"
        if row["kind"] == "HorizontalPodAutoscaler":
            kind, target = spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]
            is_there = any((part["kind"], part["metadata"]["name"]) == (kind, target) for part in given)
            if kind == "StatefulSet" or not is_there:
                yield f"{name}: {kind} {target} cannot be scaled: a log has one writer"
        if row["kind"] == "Ingress":
            hosts = {host for part in spec.get("tls", ()) for host in part["hosts"]}
            for rule in spec["rules"]:
                back = rule["http"]["paths"][0]["backend"]["service"]
                if rule["host"] not in hosts:
                    yield f"{name}: no TLS for {rule['host']}"
                if back["name"] not in services:
                    yield f"{name}: there is no service {back['name']}"


def proxy(deploy: Path) -> Iterator[str]:
    """Faults of the proxy in front of a pair, by the Caddy of this machine."""
    file = f"{CHART}/files/Caddyfile"
    try:
        given = manifests(deploy, "production")
    except ValueError as error:
        yield f"{file}: {error}"
        return
    (text,) = [row["data"]["Caddyfile"] for row in given if "Caddyfile" in row.get("data", ())]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Caddyfile"
        path.write_text(text.replace("request_buffers 1MiB", ""), encoding="utf-8")  # Debian's Caddy does not know it
        yield from checks.judged(file, ["caddy", "validate", "--adapter", "caddyfile", "--config", str(path)])
    (size,) = re.findall(r"max_size (\d+)MiB", text) or ["0"]
    if int(size) << 20 != checks.BODY_BYTES_MAX:
        yield f"{file}: bodies up to {size} MiB, but shroff takes {checks.BODY_BYTES_MAX >> 20} MiB"
    (pair,) = [row for row in given if row["kind"] == "StatefulSet"]
    wanted = [f"{pair['metadata']['name']}-{n}.{pair['spec']['serviceName']}:{checks.serve_port()}" for n in (0, 1)]
    if re.findall(r"reverse_proxy (\S+) (\S+) {", text) != [tuple(wanted)]:
        yield f"{file}: requests must go to {wanted}"
    if "/metrics" not in text:
        yield f"{file}: /metrics can be reached from outside"
    asked = re.findall(r"health_uri (\S+)", text)
    yield from (f"{file}: the program has no {item}" for item in asked if item not in {route.path for route in ROUTES})


# --- Argo CD


def filled(text: str, element: Manifest) -> Manifest:
    """A template of an ApplicationSet for one element, by Helm: both fill templates of Go with the same functions."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        (made / "templates").mkdir()
        (made / "Chart.yaml").write_text("{apiVersion: v2, name: filled, version: 0.0.0}", encoding="utf-8")
        (made / "templates/made.yaml").write_text("{{ tpl .Values.text .Values.element }}", encoding="utf-8")
        (made / "values.yaml").write_text(json.dumps({"text": text, "element": element}), encoding="utf-8")
        done = helm("template", "filled", made)
    if done.returncode:
        raise ValueError(done.stderr)
    return yaml.safe_load(done.stdout) or {}


def merged(manifest: Manifest, patch: Manifest) -> Manifest:
    """A manifest with a patch over it."""
    both = {
        key: merged(manifest[key], value) if isinstance(manifest.get(key), dict) else value
        for key, value in patch.items()
    }
    return {**manifest, **both}


def applications(deploy: Path) -> Iterator[tuple[Manifest, Manifest]]:
    """Each element of the ApplicationSet, with the application that Argo CD makes of it."""
    spec = yaml.safe_load((deploy / "argocd/applications.yaml").read_text(encoding="utf-8"))["spec"]
    for element in spec["generators"][0]["list"]["elements"]:
        made = filled(yaml.safe_dump(spec["template"]), element)
        made = merged(made, filled(spec.get("templatePatch", ""), element))
        yield element, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **made}


def argo(deploy: Path) -> list[str]:
    """Faults of the project and of the applications: their schemas, wide rights, names that lead nowhere."""
    project, given = (
        yaml.safe_load((deploy / "argocd" / name).read_text(encoding="utf-8"))
        for name in ("project.yaml", "applications.yaml")
    )
    found = [*schema_faults("argocd/project.yaml", project), *schema_faults("argocd/applications.yaml", given)]
    if found:
        return found
    rights = project["spec"]
    if "*" in json.dumps(
        [rights[key] for key in ("sourceRepos", "destinations", "namespaceResourceWhitelist", "roles")]
    ):
        found.append("argocd/project.yaml: a right without limits: *")
    if rights["clusterResourceWhitelist"]:
        found.append("argocd/project.yaml: it may change resources of the cluster")
    try:
        made = list(applications(deploy))
    except ValueError as error:
        return [*found, f"argocd/applications.yaml: {error}"]
    kinds = set()
    for element, manifest in made:
        name, spec = manifest["metadata"]["name"], manifest["spec"]
        found += schema_faults(f"argocd/applications.yaml: {name}", manifest)
        found += [f"argocd/applications.yaml: {name}: {fault}" for fault in application_faults(deploy, spec, project)]
        kinds |= kinds_of(deploy, element["environment"])
        is_automatic = "automated" in spec.get("syncPolicy", {})
        windows = [part for part in rights.get("syncWindows", ()) if name in part["applications"]]
        if element["environment"] == "production" and (is_automatic or not windows):
            found.append(f"argocd/applications.yaml: {name} must be synchronized by hand, in a window")
        if element["environment"] == "staging" and not is_automatic:
            found.append(f"argocd/applications.yaml: {name} must follow by itself")
    allowed = {(right["group"], right["kind"]) for right in rights["namespaceResourceWhitelist"]}
    found += [f"argocd/project.yaml: the chart makes {kind}, which is not allowed" for kind in sorted(kinds - allowed)]
    return found + [f"argocd/project.yaml: {kind} is allowed, and not needed" for kind in sorted(allowed - kinds)]


def application_faults(deploy: Path, spec: Manifest, project: Manifest) -> Iterator[str]:
    source, rights = spec["source"], project["spec"]
    folder = (
        deploy.parent / source["path"] if deploy == checks.DEPLOY else deploy / source["path"].removeprefix("deploy/")
    )
    if not (folder / "Chart.yaml").is_file():
        yield f"{source['path']}: no chart"
    yield from (f"{item}: no such file" for item in source["helm"]["valueFiles"] if not (folder / item).is_file())
    if spec["project"] != project["metadata"]["name"] or source["repoURL"] not in rights["sourceRepos"]:
        yield "the project does not allow its source"
    if {key: spec["destination"].get(key) for key in ("name", "namespace")} not in rights["destinations"]:
        yield "the project does not allow its destination"


def kinds_of(deploy: Path, name: str) -> set[tuple[str, str]]:
    """The groups and kinds of an environment; a project with files has a ConfigMap, too."""
    given = manifests(deploy, name) if (deploy / VALUES / f"{name}.yaml").is_file() else []
    return {(row["apiVersion"].rpartition("/")[0], row["kind"]) for row in given} | {("", "ConfigMap")}


CHECKS = (chart, schemas, policies, program)


def recorded(deploy: Path, name: str) -> str:
    """The manifests without alerts and dashboards, which `program` compares with their files."""
    parts = rendered(deploy, name).split("---\n")
    watching = ("kind: PrometheusRule\n", "grafana_dashboard:")
    return "---\n".join(part for part in parts if not any(words in part for words in watching))


def main() -> None:
    """Record what the chart makes now."""
    GOLDEN.mkdir(exist_ok=True)
    for name in TRIED:
        (GOLDEN / f"{name}.yaml").write_text(recorded(checks.DEPLOY, name), encoding="utf-8")


if __name__ == "__main__":
    main()
