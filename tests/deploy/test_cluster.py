"""deploy/helm as it is, with faults planted in it; its init container and its probe run here."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import urllib.request
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from shroff.cli.main import EXIT_STATUS
from tests.deploy import checks, cluster
from tests.support.forks import SHROFF
from tools.servers.ports import Port
from tools.servers.process import Child
from tools.servers.web import listens

CHART, VALUES = cluster.CHART, cluster.VALUES
WORKLOAD, HELPERS = f"{CHART}/templates/workload.yaml", f"{CHART}/templates/_helpers.tpl"
DEFAULTS, NETWORK = f"{CHART}/values.yaml", f"{CHART}/templates/network.yaml"
PROXY, JOBS = f"{CHART}/templates/proxy.yaml", f"{CHART}/templates/jobs.yaml"
MONITORING, SERVICE = f"{CHART}/templates/monitoring.yaml", f"{CHART}/templates/service.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("check", [*cluster.CHECKS, cluster.argo], ids=lambda check: check.__name__)
def test_no_fault_is_found(check):
    assert check(checks.DEPLOY) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", cluster.TRIED)
def test_the_chart_makes_the_recorded_manifests(name):
    made = cluster.recorded(checks.DEPLOY, name)

    assert made == (cluster.GOLDEN / f"{name}.yaml").read_text(), "python -m tests.deploy.cluster records them anew"


# --- planted faults

schema = partial(cluster.schemas, versions=cluster.VERSIONS[-1:])
ONE, STAGING, PRODUCTION, LANES = (f"{VALUES}/{name}.yaml" for name in cluster.TRIED)
FAULTS = [  # (a check, the values it is tried with, a file, a text in it, what stands there instead, what is found)
    (cluster.chart, "one-node", f"{CHART}/Chart.yaml", "appVersion: 0.1.0", "appVersion: 0.9.0", "appVersion 0.9.0"),
    (cluster.chart, "one-node", WORKLOAD, "{{- if $isService }}", "{{- if $isServed }}", "undefined variable"),
    (schema, "one-node", WORKLOAD, "podManagementPolicy:", "podManagement:", "podManagement"),
    (schema, "one-node", WORKLOAD, "replicas: {{", 'replicas: "two" # {{', "not of type 'integer'"),
    (schema, "one-node", SERVICE, "networking.k8s.io/v1", "extensions/v1beta1", "Couldn't find schema"),
    (schema, "staging", MONITORING, "      interval:", "      intervall:", "intervall"),
    (schema, "one-node", ONE, "storageClass: local-path", "storageClas: local-path", "additional properties"),
    (cluster.policies, "one-node", HELPERS, "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
    (cluster.policies, "one-node", HELPERS, "runAsUser: 10001", "runAsUser: 0", "may run as root"),
    (cluster.policies, "one-node", HELPERS, "type: RuntimeDefault", "type: Unconfined", "seccomp"),
    (cluster.policies, "one-node", HELPERS, "capabilities: { drop: [ALL] }", "", "drop all capabilities"),
    (cluster.policies, "one-node", HELPERS, "readOnlyRootFilesystem: true", "", "root must be read-only"),
    (cluster.policies, "one-node", HELPERS, "automountServiceAccountToken: false", "", "a token of Kubernetes"),
    (cluster.policies, "one-node", HELPERS, "enableServiceLinks: false", "hostNetwork: true", "rights of the host"),
    (cluster.policies, "staging", STAGING, "tag: 0.1.0", "tag: latest", "image/tag"),
    (cluster.policies, "one-node", HELPERS, " | default .Chart.AppVersion", ' | default "latest"', "not pinned"),
    (cluster.policies, "production", DEFAULTS, "caddy:2.10.2", "caddy:latest", "proxy/image"),
    (cluster.policies, "one-node", WORKLOAD, "resources: {{- toYaml", "# {{- toYaml", "no limit of memory"),
    (
        cluster.policies,
        "one-node",
        DEFAULTS,
        'requests: { cpu: "1", memory: 1Gi }',
        'requests: { cpu: "1", memory: 9Gi }',
        "above its limit",
    ),
    (cluster.policies, "one-node", WORKLOAD, "livenessProbe:", "# liveness:\n          lifecycle:", "no livenessProbe"),
    (
        cluster.policies,
        "production",
        PRODUCTION,
        "env: { DB_HOST:",
        "env: { DB_PASSWORD: hunter2, DB_HOST:",
        "DB_PASSWORD",
    ),
    (cluster.policies, "one-node", HELPERS, "name: TMPDIR", "name: API_TOKEN", "a literal secret"),
    (
        cluster.policies,
        "one-node",
        NETWORK,
        "policyTypes: [Ingress, Egress]",
        "policyTypes: [Ingress]",
        "both directions",
    ),
    (
        cluster.policies,
        "one-node",
        ONE,
        "ingressFrom: [{ namespaceSelector",
        "egress: [{ ports: [{ port: 443 }] }] #",
        "every address",
    ),
    (cluster.program, "one-node", WORKLOAD, "args: [serve, --host", "args: [serve, --hosts", "--hosts"),
    (cluster.program, "workers", WORKLOAD, "args: [run", "args: [runs", "no command 'runs'"),
    (cluster.program, "one-node", ONE, "command: [verify]", "command: [verify, --all]", "--all"),
    (cluster.program, "one-node", WORKLOAD, "containerPort: 8080", "containerPort: 8000", "shroff serves on 8080"),
    (cluster.program, "one-node", WORKLOAD, "path: /health/ready", "path: /healthz", "no /healthz"),
    (cluster.program, "one-node", WORKLOAD, "/opt/project.sh", "/opt/projects.sh", "no /opt/projects.sh"),
    (cluster.program, "workers", "image/health.py", "standing by", "standby", "calls it 'standing by'"),
    (
        cluster.program,
        "one-node",
        HELPERS,
        'claimName: {{ include "shroff.claim" . }}',
        "claimName: data",
        "no PersistentVolumeClaim data",
    ),
    (cluster.program, "production", SERVICE, 'ternary "proxy" "service"', 'ternary "web" "service"', "selects no pod"),
    (
        cluster.program,
        "one-node",
        SERVICE,
        "tls: [{ hosts: [{{ .Values.ingress.host }}]",
        "tls: [{ hosts: [other]",
        "no TLS for",
    ),
    (cluster.program, "production", PROXY, "kind: Deployment, name:", "kind: StatefulSet, name:", "one writer"),
    (cluster.program, "staging", MONITORING, "path: /metrics", "path: /metric", "a path that is none"),
    (
        cluster.program,
        "staging",
        MONITORING,
        '"files/rules.yaml" |',
        '"files/rules.yaml" | replace "critical" "info" |',
        "its rules",
    ),
    (cluster.program, "staging", MONITORING, "dashboards/*.json", "dashboards/o*.json", "its dashboard cases.json"),
    (
        cluster.program,
        "production",
        f"{CHART}/files/Caddyfile",
        "health_uri /health/ready",
        "health_uri /ready",
        "no /ready",
    ),
    (cluster.program, "production", f"{CHART}/files/Caddyfile", "-pods:8080 {{", "-pod:8080 {{", "must go to"),
    (cluster.program, "production", f"{CHART}/files/Caddyfile", "max_size 16MiB", "max_size 1MiB", "up to 1 MiB"),
    (
        cluster.program,
        "production",
        f"{CHART}/files/Caddyfile",
        "path /metrics",
        "path /metric",
        "/metrics can be reached",
    ),
    (cluster.program, "production", f"{CHART}/files/Caddyfile", "lb_policy first", "lb_policies first", "caddy"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("check", "name", "file", "old", "new", "words"), FAULTS, ids=lambda value: None)
def test_a_planted_fault_is_found(tmp_path, check, name, file, old, new, words):
    planted = tmp_path / "deploy"
    shutil.copytree(checks.DEPLOY, planted, ignore=shutil.ignore_patterns("secrets"))
    text = (planted / file).read_text(encoding="utf-8")
    assert old in text, "the text has changed; plant the fault in what is there now"
    (planted / file).write_text(text.replace(old, new), encoding="utf-8")
    found = "\n".join(check(planted, [name]))

    assert words in found, found


PROJECT_OF_ARGO, APPLICATIONS = "argocd/project.yaml", "argocd/applications.yaml"
OF_ARGO = [
    (PROJECT_OF_ARGO, "syncWindows:", "syncWindow:", "syncWindow"),
    (PROJECT_OF_ARGO, '"https://shroff.example/shroff.git"', '"*"', "without limits"),
    (
        PROJECT_OF_ARGO,
        "clusterResourceWhitelist: []",
        "clusterResourceWhitelist: [{ group: '', kind: Node }]",
        "cluster",
    ),
    (PROJECT_OF_ARGO, "    - { group: batch, kind: CronJob }\n", "", "makes ('batch', 'CronJob')"),
    (PROJECT_OF_ARGO, "kind: CronJob }", "kind: CronJob }\n    - { group: '', kind: Secret }", "not needed"),
    (PROJECT_OF_ARGO, "[shroff-production]", "[shroff-prod]", "by hand, in a window"),
    (PROJECT_OF_ARGO, "name: eu-production", "name: eu-other", "does not allow its destination"),
    (APPLICATIONS, "targetRevision:", "targetRevison:", "targetRevison"),
    (APPLICATIONS, "cluster: eu-production, automated: false", "cluster: eu-production, automated: true", "by hand"),
    (APPLICATIONS, "automated: { prune", "automatic: { prune", "automatic"),
    (APPLICATIONS, "{{ .cluster }}", "{{ .clusters }}", "does not allow its destination"),
    (APPLICATIONS, "path: deploy/helm/shroff", "path: deploy/helm/shrof", "no chart"),
    (APPLICATIONS, "../values/", "../value/", "no such file"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "old", "new", "words"), OF_ARGO, ids=lambda value: None)
def test_a_fault_planted_for_argo_cd_is_found(tmp_path, file, old, new, words):
    test_a_planted_fault_is_found(tmp_path, lambda planted, _: cluster.argo(planted), "", file, old, new, words)


def test_files_of_the_project_come_before_the_service_and_the_service_before_its_proxy():
    given = yaml.safe_load_all((cluster.GOLDEN / "production.yaml").read_text())
    waves = {
        (row["kind"], row["metadata"]["name"]): row["metadata"]
        .get("annotations", {})
        .get("argocd.argoproj.io/sync-wave", "0")
        for row in given
        if row
    }

    assert (waves["StatefulSet", "shroff"], waves["Deployment", "shroff-proxy"]) == ("0", "1")
    assert 'argocd.argoproj.io/sync-wave: "-1"' in (checks.DEPLOY / CHART / "templates/project.yaml").read_text()


REFUSED = [  # (values beside those of the defaults, what is said)
    ({"standby": True}, "a log in a file has one process"),
    ({"standby": True, "log": "database"}, "must be ReadWriteMany"),
    (
        {
            "standby": True,
            "log": "database",
            "persistence": {"accessMode": "ReadWriteMany"},
            "migrateAt": "/data/backups",
        },
        "no process",
    ),
    ({"mode": "workers", "ingress": {"host": "a.example", "tlsSecret": "tls"}}, "ingress/host"),
    ({"ingress": {"host": "a.example"}}, "ingress/tlsSecret"),
    ({"metrics": {"enabled": True}}, "metrics/keySecret"),
    ({"env": {"MARIADB_PASSWORD": "p"}}, "MARIADB_PASSWORD"),
    ({"replicas": 3}, "replicas"),
    (
        {"summaries": True, "standby": True, "log": "database", "persistence": {"accessMode": "ReadWriteMany"}},
        "summaries are written by one process",
    ),
    ({"project": {"files": {"../etc/passwd.yaml": "x"}}}, "passwd"),
    ({"image": {"tag": "latest"}}, "image/tag"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("values", "words"), REFUSED, ids=lambda value: None)
def test_values_that_cannot_work_are_refused(tmp_path, values, words):
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    done = cluster.helm("template", "shroff", checks.DEPLOY / CHART, "-f", tmp_path / "values.yaml")

    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.slow
def test_summaries_are_written_by_a_second_container_beside_the_log(tmp_path):
    (tmp_path / "values.yaml").write_text(json.dumps({"summaries": True}))
    made = cluster.helm("template", "shroff", checks.DEPLOY / CHART, "-f", tmp_path / "values.yaml")
    given = [line for line in yaml.safe_load_all(made.stdout) if line]
    (pod,) = [template["spec"] for _, template in cluster.pods(given)]
    service, summaries = pod["containers"]

    assert [fault for row in given for fault in cluster.schema_faults("", row, ["1.37"])] == []
    assert (summaries["image"], summaries["args"]) == (service["image"], ["summaries", "run"])
    assert summaries["volumeMounts"] == service["volumeMounts"]
    assert summaries["securityContext"] == service["securityContext"]


# --- the proxy in front of a pair


class One(BaseHTTPRequestHandler):
    """One of a pair: it takes posts while it is the active one, and counts them."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer()

    def answer(self) -> None:
        self.send_response(200 if self.server.is_active else 503)
        self.end_headers()
        self.wfile.write(self.server.name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pair():
    """Two services of which the first one is active."""
    servers = [HTTPServer(("127.0.0.1", 0), One) for _ in range(2)]
    for server, name in zip(servers, (b"first", b"second"), strict=True):
        server.name, server.is_active = name, name == b"first"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.long
@pytest.mark.slow
def test_a_post_that_comes_while_the_active_service_changes_waits_for_the_next_one(tmp_path, pair):
    given = yaml.safe_load_all((cluster.GOLDEN / "production.yaml").read_text())
    (text,) = [row["data"]["Caddyfile"] for row in given if row and "Caddyfile" in row.get("data", ())]
    held = Port()
    text = text.replace(":8080 {", f"http://127.0.0.1:{held.number} {{", 1)
    for number, server in enumerate(pair):
        text = text.replace(f"shroff-{number}.shroff-pods:8080", f"127.0.0.1:{server.server_port}")
    (tmp_path / "Caddyfile").write_text(text)
    path, env = checks.tool("caddy-2")
    env = {**env, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [path, "run", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    caddy = Child("Caddy", command, tmp_path / "caddy.log", env=env)
    caddy.start(lambda: listens(held.number))
    first, second = pair

    def post() -> bytes:
        asked = urllib.request.Request(f"http://127.0.0.1:{held.number}/api/v1/events/payment", b"{}")
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return bytes(answer.read())

    try:
        before = post()
        first.shutdown()
        first.server_close()
        threading.Timer(1.5, setattr, (second, "is_active", True)).start()
        after = post()
    finally:
        caddy.stop()
        held.close()

    assert (before, after) == (b"first", b"second")


# --- the project of a pod

PROJECT = checks.DEPLOY / "image/project.sh"
PAYMENTS = checks.ROOT / "src/shroff/templates/payments"


@pytest.fixture
def config_map(tmp_path):
    """A folder of files as Kubernetes mounts it: links to a hidden folder of the present version."""

    def mount(files):
        folder = tmp_path / "project"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in files.items():
            (folder / "..2026" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "..2026" / name).write_text(text)
        (folder / "..data").symlink_to("..2026")
        for path in (folder / "..2026").iterdir():
            (folder / path.name).symlink_to(f"..data/{path.name}")
        return folder

    return mount


def prepared(bank, source, *folder):
    subprocess.run([PROJECT, source, "payments", *folder], cwd=bank, capture_output=True, text=True, check=True)


def test_files_of_a_config_map_become_the_project(tmp_path, config_map):
    names = ("shroff.yaml", "rules/cards.yaml", "lists/blocked_cards.csv")
    files = {name: (PAYMENTS / name).read_text() for name in names}
    bank = tmp_path / "bank"
    bank.mkdir()
    prepared(bank, config_map(files))
    first = {str(path.relative_to(bank)) for path in bank.rglob("*") if path.is_file()}
    (bank / "lists/blocked_cards.csv").write_text("changed in the service\n")
    (bank / "rules/own.yaml").write_text("made in the service\n")
    prepared(bank, config_map({"shroff.yaml": "name: other\n", "lists/blocked_cards.csv": "of Git\n"}))

    assert first == {*names, ".shroff/brought"}
    assert (bank / "shroff.yaml").read_text() == "name: other\n"
    assert not (bank / "rules/cards.yaml").exists()
    assert (bank / "lists/blocked_cards.csv").read_text() == "changed in the service\n"
    assert (bank / "rules/own.yaml").exists()


@pytest.mark.slow
def test_without_files_the_first_start_makes_a_project_and_the_next_one_keeps_it(tmp_path):
    prepared(tmp_path, "", "project")
    (tmp_path / "project/shroff.yaml").write_text("changed in the service")
    prepared(tmp_path, "", "project")

    assert (tmp_path / "project/rules/cards.yaml").exists()
    assert (tmp_path / "project/shroff.yaml").read_text() == "changed in the service"


@pytest.mark.parametrize("name", cluster.TRIED)
def test_a_first_pod_begins_on_an_empty_volume_and_a_log_has_room_to_be_copied(name):
    given = [row for row in yaml.safe_load_all((cluster.GOLDEN / f"{name}.yaml").read_text()) if row]
    for workload, template in cluster.pods(given):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for container in (*template["spec"].get("initContainers", ()), *template["spec"]["containers"]):
            env = {variable["name"]: variable["value"] for variable in container.get("env", ())}
            claimed = [
                mount["mountPath"]
                for mount in container["volumeMounts"]
                if "persistentVolumeClaim" in volumes[mount["name"]]
            ]
            assert container["name"] == "caddy" or [str(Path(env["TMPDIR"]).parent)] == claimed, workload
            if container["name"] == "project":
                assert ([container["workingDir"]], container["command"][3]) == (claimed, "project")


def test_an_answer_of_a_job_is_not_asked_for_again_and_backups_of_staging_reach_their_bucket():
    given = [row for row in yaml.safe_load_all((cluster.GOLDEN / "staging.yaml").read_text()) if row]
    jobs = [row["spec"]["jobTemplate"]["spec"] for row in given if row["kind"] == "CronJob"]
    (policy,) = [row["spec"] for row in given if row["kind"] == "NetworkPolicy"]
    ended = {
        status for job in jobs for rule in job["podFailurePolicy"]["rules"] for status in rule["onExitCodes"]["values"]
    }

    assert ended == {int(status) for status, _ in EXIT_STATUS} - {0, 3, 130, 141}
    assert 443 in {port["port"] for rule in policy["egress"] for port in rule["ports"]}


@pytest.mark.slow
def test_the_chart_brings_files_under_their_paths_and_the_program_takes_them(tmp_path, config_map):
    files = {str(path.relative_to(PAYMENTS)): path.read_text() for path in PAYMENTS.rglob("*.yaml")}
    files["lists/blocked_cards.csv"] = (PAYMENTS / "lists/blocked_cards.csv").read_text()
    (tmp_path / "values.yaml").write_text(json.dumps({"project": {"files": files}}))
    made = cluster.helm("template", "shroff", checks.DEPLOY / CHART, "-f", tmp_path / "values.yaml")
    given = [line for line in yaml.safe_load_all(made.stdout) if line]
    (data,) = [row["data"] for row in given if row["kind"] == "ConfigMap"]
    (pod,) = [template["spec"] for _, template in cluster.pods(given)]
    (items,) = [volume["configMap"]["items"] for volume in pod["volumes"] if volume["name"] == "project"]
    bank = tmp_path / "bank"
    bank.mkdir()
    prepared(bank, config_map({row["path"]: data[row["key"]] for row in items}))
    done = subprocess.run([SHROFF, "-C", bank, "check"], capture_output=True, text=True, check=False)

    assert [fault for row in given for fault in cluster.schema_faults("", row, ["1.37"])] == []
    assert pod["initContainers"][0]["command"] == ["/opt/project.sh", "/project", "payments", "project"]
    assert (done.returncode, "\nOK: " in done.stdout) == (0, True), done.stdout + done.stderr
