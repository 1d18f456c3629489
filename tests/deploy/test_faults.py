"""Faults planted in deploy/, and the words by which each is found: a check that finds nothing proves nothing."""

from __future__ import annotations

import shutil

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.deploy import checks, page
from tests.deploy.watching import dashboards, runbooks, two_tried, watch
from tools.servers.errors import UnavailableError

BOARD = "grafana/overview.json"
IMAGE, COMPOSE, UNIT = checks.IMAGE, checks.COMPOSE, checks.UNIT
HAPROXY = "compose/haproxy.cfg"
PROXY, JOURNAL, ALERTS = "systemd/Caddyfile", "systemd/journald@shroff.conf", "prometheus/rules.yaml"

FAULTS = [  # (a check, a file, a text in it, what stands there instead, words of what is found)
    # the image
    (checks.image, IMAGE, "USER 10001:10001", "USER root", "USER must be"),
    (checks.image, IMAGE, "USER 10001:10001\n", "", "USER must be"),
    (checks.image, IMAGE, "3.11.13-slim-bookworm@sha256", "latest@sha256", "not pinned"),
    (checks.image, IMAGE, "@sha256:86adf8d", "@sha256:86adf8", "not pinned"),
    (checks.image, IMAGE, "FROM ${BASE} AS build", "FROM debian AS build", "two stages"),
    (checks.image, "image/build.sh", '--require-hashes -r "$source/${LOCK', '-r "$source/${LOCK', "not locked by hash"),
    (checks.image, f"{IMAGE}.dockerignore", "!deploy/image", "!deploy", "brings secrets into the build"),
    (checks.image, IMAGE, "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "and gets SIGKILL"),
    (checks.image, IMAGE, "chown -R 10001:10001 /data", "true", "may not write /data"),
    (checks.image, IMAGE, "EXPOSE 8080", "EXPOSE 8000", "EXPOSE 8000"),
    (checks.image, IMAGE, '"/opt/health.py", "live"', '"/opt/health.py", "alive"', "no /health/alive"),
    (checks.image, IMAGE, "HEALTHCHECK --interval=10s", "LABEL health=", "no HEALTHCHECK"),
    (checks.image, IMAGE, '"--host"', '"--hosts"', "--hosts"),
    (checks.image, IMAGE, "build.sh kernels", "build.sh kernel", "no step kernel"),
    (checks.image, IMAGE, "build.sh clients", "build.sh client", "no step client"),
    (checks.image, IMAGE, "clients ${CLIENTS}", "clients", "does not install CLIENTS"),
    (checks.image, "README.md", "postgresql-client-17", "postgresql-client-15", "but terraform/ needs"),
    (checks.image, "terraform/gcp/module/data.tf", "POSTGRES_17", "POSTGRES_18", "but terraform/ needs"),
    (checks.image, IMAGE, "WORKDIR /src", "WORKDIR src", "hadolint"),
    (checks.image, IMAGE, "ENV HOME=/data", "ENV API_KEY=abc HOME=/data", "a secret"),
    (checks.image, IMAGE, "image/health.py /opt/", "image/healthy.py /opt/", "no such file"),
    (checks.image, "image/health.py", "PORT = 8080", "PORT = 8000", "port 8000"),
    (checks.image, checks.PROJECT_IMAGE, "--chown=10001:10001", "--chown=root:root", "for the user 10001:10001"),
    (checks.image, f"{checks.PROJECT_IMAGE}.dockerignore", "**/.shroff\n", "", ".shroff would get into the image"),
    (checks.scripts, "image/entrypoint.sh", 'exec shroff "$@"', "exec shroff $@", "shellcheck"),
    # Compose
    (checks.compose, COMPOSE, "stop_grace_period:", "stop_grace:", "stop_grace"),
    (checks.compose, COMPOSE, "stop_grace_period: 60s", "stop_grace_period: 1s", "it has 1s to save its state"),
    (checks.compose, COMPOSE, "mongo:/data/db", "mongo:/data/mongo", "mongo: /data/db is on no volume"),
    (checks.compose, COMPOSE, "PASSWORD__FILE", "PASSWORD_FILE", "PASSWORD__FILE must be /run/secrets"),
    (checks.compose, COMPOSE, 'SIGN_UP: "false"', 'SIGN_UP: "true"', "SIGN_UP must be false"),
    (checks.compose, COMPOSE, 'READONLY: "true"', 'READONLY: "false"', "READONLY must be true"),
    (checks.compose, COMPOSE, "appendonly yes", "appendonly no", "redis: it must keep each change"),
    (checks.compose, COMPOSE, 'printf "requirepass "', 'printf "pass "', "redis: it must ask for the password"),
    (checks.compose, COMPOSE, "MONGO_INITDB_ROOT_USERNAME: shroff", "MONGO_X: x", "ROOT_USERNAME must be shroff"),
    (checks.compose, COMPOSE, 'TOPICS_ENABLE: "false"', 'TOPICS_ENABLE: "true"', "TOPICS_ENABLE must be false"),
    (checks.compose, COMPOSE, "--replication-factor 3", "--replication-factor 1", "on all brokers"),
    (checks.compose, COMPOSE, " --config retention.ms=-1", "", "delete the registry's schemas after a week"),
    (checks.compose, COMPOSE, "{ KAFKA_BOOTSTRAP_SERVERS: ", "{ KAFKA_SERVERS: ", "KAFKA_BOOTSTRAP_SERVERS must be"),
    (checks.versions, COMPOSE, "registry-kafkasql:", "registry-mem:", "registry is not apicurio"),
    (checks.compose, COMPOSE, 'user: "999:999"', 'user: "0:0"', "redis: user 0:0"),
    (checks.compose, COMPOSE, '  user: "${SHROFF_USER:-10001:10001}"\n', "", "shroff: user of the image"),
    (checks.compose, COMPOSE, "redis:7.0.15-bookworm", "redis:latest", "redis:latest is not pinned"),
    (checks.compose, COMPOSE, "redis:7.0.15-bookworm", "redis", "the image redis is not pinned"),
    (checks.compose, COMPOSE, "memory: 4G, pids: 512", "pids: 512", "shroff: no limit of memory"),
    (checks.compose, COMPOSE, "  cap_drop: [ALL]\n", "", "drop all capabilities"),
    (checks.compose, COMPOSE, "\n  read_only: true\n", "\n", "root must be read-only"),
    (checks.compose, COMPOSE, '"127.0.0.1:8080:8080"', '"8080:8080"', "open to other machines"),
    (checks.compose, COMPOSE, '"127.0.0.1:8080:8080"', '"127.0.0.1:8080:8000"', "does not listen on 8000"),
    (checks.compose, COMPOSE, "KAFKA_BROKERS: kafka1:9092", "KAFKA_BROKER: kafka1:9092", "reads ${KAFKA_BROKERS}"),
    (checks.compose, COMPOSE, "KAFKA_BROKERS: kafka1:9092", "KAFKA_BROKERS: kafka1:9095", "does not listen on 9095"),
    (checks.compose, COMPOSE, "    REGISTRY: ", "    REGISTER: ", "REGISTER: no setting"),
    (checks.compose, COMPOSE, "REGISTRY: registry:8080", "REGISTRY: registrar:8080", "no service registrar"),
    (
        checks.compose,
        COMPOSE,
        "REDIS_PASSWORD_FILE: /run/secrets/redis_password",
        "REDIS_PASSWORD: abc",
        "a literal secret",
    ),
    (checks.compose, COMPOSE, "secrets: [mongo_password]", "secrets: []", "mongo_password is not given"),
    (checks.compose, COMPOSE, "command: [summaries, run]", "command: [summary, run]", "summary"),
    (checks.compose, COMPOSE, "[serve, --host", "[serve, --hots", "--hots"),
    (checks.compose, COMPOSE, "../prometheus/rules.yaml:", "../prometheus/rule.yaml:", "rule.yaml: no such file"),
    (checks.compose, COMPOSE, "redis:/data", "rediss:/data", "rediss is not declared"),
    (
        checks.compose,
        COMPOSE,
        "healthcheck: { test: [CMD, mc, ready, local], interval: 10s, timeout: 5s, retries: 6 }",
        "",
        "s3: no health",
    ),
    (
        checks.compose,
        COMPOSE,
        "mongo: { condition: service_healthy, required: false }",
        "mongo: { condition: service_healthy }",
        "another profile",
    ),
    (
        checks.compose,
        COMPOSE,
        "topics: { condition: service_completed_successfully",
        "topics: { condition: service_healthy",
        "health of topics",
    ),
    (
        checks.compose,
        COMPOSE,
        "redis: { condition: service_healthy",
        "redis: { condition: service_completed_successfully",
        "end of redis",
    ),
    (checks.compose, COMPOSE, "TOPICS: payments payments.refused", "TOPICS: payments", "shroff.yaml needs"),
    (checks.health, COMPOSE, "health.py, ready]", "health.py, readier]", "no /health/readier"),
    (checks.compose, "compose/prometheus.yaml", "shroff:8080", "shroff:9100", "does not listen on 9100"),
    (checks.compose, "compose/shroff.yaml", "smtp://mail:1025", "smtp://mail:2525", "does not listen on 2525"),
    (checks.versions, COMPOSE, "apache/kafka:4.1.1", "apache/kafka:4.1.0", "as in the tests"),
    (checks.secrets, "compose/secrets.sh", "mariadb_password s3", "s3", "does not make mariadb_password"),
    (checks.secrets, "compose/secrets.sh", '[ -s "$folder/$1" ] || ', "", "changes secrets"),
    (checks.secrets, "compose/secrets.sh", "/dev/urandom", "/dev/zero", "can be guessed"),
    (checks.secrets, "compose/secrets.sh", "chmod 0700", "chmod 0755", "others can open"),
    (watch, "compose/prometheus.yaml", "scrape_configs:", "scrape_config:", "promtool"),
    (watch, COMPOSE, "retention.time=30d", "retention.time=1d", "rules look 7 days back"),
    (watch, "compose/prometheus.yaml", "prometheus_key", "alertmanager_key", "gets no secret alertmanager_key"),
    (watch, "compose/prometheus.yaml", "metrics_path: /metrics", "metrics_path: /metric", "has no GET /metric"),
    (watch, "compose/prometheus.yaml", "job_name: shroff", "job_name: service", "know no job service"),
    (watch, "compose/prometheus.yaml", '["alertmanager:9093"]', "[]", "alerts go to []"),
    (watch, "compose/prometheus.yaml", "/rules.yaml]", "/rule.yaml]", "does not read"),
    (watch, "compose/alertmanager.yaml", "receiver: operators", "receiver: operator", "amtool"),
    (watch, "compose/alertmanager.yaml", 'alertname="ShroffDown"', 'alertname="ShroffGone"', "no alert ShroffGone"),
    (checks.compose, "compose/alertmanager.yaml", "shroff:8080", "shroff:9100", "does not listen on 9100"),
    (watch, "compose/alertmanager.yaml", "/health/alerts", "/alerts", "the program has no POST /api/v1/alerts"),
    (watch, "compose/alertmanager.yaml", "alertmanager_key", "prometheus_key", "gets no secret prometheus_key"),
    (watch, ALERTS, "shroff_ready == 0", "shroff_readiness == 0", "no metric shroff_readiness"),
    (watch, ALERTS, 'shroff_state{state="leading"}', 'shroff_state{stat="leading"}', "shroff_state has no label stat"),
    (watch, ALERTS, "shroff:slo_burn:5m > 14.4", "shroff:slo_burns:5m > 14.4", "no rule records shroff:slo_burns:5m"),
    (watch, ALERTS, "for: 2m", "for: 1m", "differs"),
    (runbooks, ALERTS, "service.md#shroffdown", "service.md#shroffgone", "no runbook service.md#shroffgone"),
    (runbooks, ALERTS, "alert: ShroffDown", "alert: ShroffGone", "no alert ShroffDown"),
    (runbooks, "../docs/runbooks/service.md", "**Verify**", "**Then**", "no Verify"),
    (runbooks, "../docs/runbooks/store.md", "`shroff prune --dry-run`", "`shroff prune --dry`", "--dry"),
    (runbooks, "../docs/runbooks/store.md", "`shroff_unreconciled_events`", "`shroff_lost`", "no metric shroff_lost"),
    (runbooks, "../docs/runbooks/objectives.md", "| 99.9 % | Req", "| 99.99 % | Req", "no | `availability`"),
    (dashboards, BOARD, "shroff_waits{", "shroff_wait{", "no metric shroff_wait"),
    (dashboards, BOARD, "shroff_waits{", "shroff_ready{", "no panel shows shroff_waits"),
    (dashboards, BOARD, "(shroff_turned_away_total", "shroff_turned_away_total", "parse error"),
    (dashboards, BOARD, '"shroff-overview"', '"shroff-slos"', "another one has its uid"),
    (dashboards, "compose/dashboards.yaml", "/dashboards }", "/boards }", "does not get the dashboards"),
    (checks.compose, "compose/grafana.yaml", "prometheus:9090", "prometheus:9091", "does not listen on 9091"),
    (dashboards, "compose/grafana.yaml", "type: mysql", "type: mssql", "no source of mysql"),
    (dashboards, "compose/grafana.yaml", '"$__file{/run/secrets/mariadb_password}"', "$__file{/run/x}", "flow mapping"),
    (dashboards, "compose/grafana.yaml", "{/run/secrets/mariadb_", "{/run/secrets/maria_", "no secret maria_password"),
    (watch, BOARD, '"30s"', '"10s"', "differs"),
    (two_tried, ALERTS, "for: 2m", "for: 1m", "promtool"),
    (two_tried, ALERTS, "shroff_waits == 1", "shroff_waits >= 0", "ShroffWaits"),
    # one machine
    (checks.unit, UNIT, "NoNewPrivileges=yes", "NoNewPrivilege=yes", "Unknown key"),
    (checks.unit, UNIT, "User=shroff", "User=root", "must be the one of shroff.sysusers"),
    (checks.unit, UNIT, "User=shroff", "User=shrof", "shroff.sysusers"),
    (checks.unit, UNIT, "SystemCallFilter=@system-service\n", "", "Overall exposure"),
    (checks.unit, UNIT, "MemoryMax=8G\n", "", "no MemoryMax"),
    (checks.unit, UNIT, "--host 127.0.0.1", "--host 0.0.0.0", "this machine alone"),
    (checks.unit, UNIT, "KillSignal=SIGTERM", "KillSignal=SIGKILL", "must have KillSignal=SIGTERM"),
    (checks.unit, UNIT, "Restart=always", "Restart=no", "must have Restart=always"),
    (checks.unit, UNIT, "UMask=0077", "UMask=0000", "must have UMask=0077"),
    (checks.unit, UNIT, "serve --host", "server --host", "server"),
    (checks.unit, UNIT, "--port 8080", "--port 8000", "must serve on 8080"),
    (checks.unit, UNIT, "LogNamespace=shroff", "LogNamespace=other", "no systemd/journald@other.conf"),
    (checks.unit, UNIT, "/opt/shroff/kernels", "/opt/shroff/kernel", "must have ExecStartPre"),
    (checks.unit, UNIT, "/var/lib/shroff/project", "/var/lib/shroff", "must have WorkingDirectory"),
    (checks.unit, JOURNAL, "Storage=persistent", "Storage=volatile", "ends the log"),
    (checks.unit, JOURNAL, "SystemMaxUse=", "SystemMaxUsage=", "does not know SystemMaxUsage"),
    (checks.unit, JOURNAL, "MaxRetentionSec=30day", "MaxRetentionSec=30dais", "Failed to parse"),
    (checks.unit, "systemd/shroff.sysusers", "u shroff - ", "u shroff ", "systemd-sysusers"),
    (checks.proxy, PROXY, "reverse_proxy 127.0.0.1:8080", "reverse_proxy 127.0.0.1:8000", "port 8000"),
    (checks.proxy, PROXY, "encode zstd gzip", "encodes zstd gzip", "caddy"),
    (checks.proxy, PROXY, "Strict-Transport-Security", "X-Transport", "come by TLS alone"),
    (checks.proxy, PROXY, "max_size 16MiB", "max_size 1MiB", "up to 1 MiB"),
    (checks.proxy, PROXY, "path /metrics", "path /metric_s", "/metrics can be reached"),
    (checks.proxy, PROXY, "			roll_size 50MiB\n", "", "not rotated"),
    (checks.proxy_of_compose, HAPROXY, "timeout client 30s", "timeout client 60s", "client must be 30s, and is 60s"),
    (checks.proxy_of_compose, HAPROXY, "timeout http-request 10s", "", "http-request must be 10s, and is None"),
    (checks.proxy_of_compose, HAPROXY, "sc0_conn_cur gt 2000", "sc0_conn_cur gt 9000", "gt must be 2000"),
    (checks.proxy_of_compose, HAPROXY, "gt 16777216", "gt 99", "must be 16777216"),
    (checks.proxy_of_compose, HAPROXY, "default_backend service", "default_backend servant", "haproxy"),
    (checks.proxy_of_compose, HAPROXY, "{ path /metrics }", "{ path /metric }", "/metrics can be reached"),
    (checks.proxy_of_compose, HAPROXY, "set-header X-Forwarded-For", "add-header X-Forwarded-For", "forge its address"),
    (checks.proxy_of_compose, COMPOSE, "./haproxy.cfg:", "./shroff.yaml:", "does not read haproxy.cfg"),
    (
        checks.proxy_of_compose,
        COMPOSE,
        "    stop_grace_period",
        '    ports: ["127.0.0.1:8081:8080"]\n    stop_grace_period',
        "past the proxy",
    ),
    (
        checks.proxy_of_compose,
        "compose/shroff.yaml",
        "[172.28.77.10]",
        "[172.28.77.0/24]",
        "not the address of the proxy",
    ),
    (checks.health, PROXY, "health_uri /health/ready", "health_uri /healthz", "no /healthz"),
    # the page
    (page.readme, "README.md", "keys create till --role service", "keys create till --rolle service", "--rolle"),
    (page.readme, "README.md", "entrypoint.sh keys create", "entrypoint.sh key create", "no command 'key'"),
    (page.readme, "README.md", "`helm/values/*` |", "`helm/value/*` |", "helm/value/*, which is not there"),
    (page.readme, "README.md", "--profile watch up", "--profile watches up", "no profile watches"),
    (page.readme, "README.md", "cp deploy/systemd/Caddyfile", "cp deploy/systemd/caddyfile", "no such file"),
    (page.readme, "README.md", "run `shroff migrate --apply`", "run `shroff migrate --aply`", "--aply"),
    (page.readme, "README.md", "status --watch 5s`", "state --watch 5s`", "no command 'state'"),
    (page.readme, "README.md", "curl http://127", "wget http://127", "no test knows `wget"),
    (page.readme, "README.md", "sudo systemd-sysusers", "sudo systemd-users", "no test knows `systemd-users"),
    (page.readme, "README.md", "verify_all.py --environment", "verify_all.py --env", "does not know --env"),
    (page.readme, "README.md", "build.sh kernels", "build.sh kernel", "has no step kernel"),
    (page.readme, "README.md", "```sh\ndeploy/image/build.sh", "```bash\ndeploy/image/build.sh", "marked 'bash'"),
    (
        page.readme,
        "README.md",
        "| `compose/secrets.sh` |",
        "| `compose/secret.sh` |",
        "the table lacks compose/secrets.sh",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("check", "file", "old", "new", "words"), FAULTS, ids=lambda value: None)
def test_a_planted_fault_is_found(tmp_path, check, file, old, new, words):
    planted = tmp_path / "deploy"
    shutil.copytree(checks.DEPLOY, planted, ignore=shutil.ignore_patterns("secrets"))
    shutil.copytree(checks.ROOT / "docs/runbooks", tmp_path / "docs/runbooks")
    text = (planted / file).read_text(encoding="utf-8")
    assert old in text, "the text has changed; plant the fault in what is there now"
    (planted / file).write_text(text.replace(old, new), encoding="utf-8")
    found = "\n".join(check(planted))

    assert words in found, found


def test_a_fault_is_planted_for_each_check():
    known = {*checks.CHECKS, page.readme, checks.health, runbooks, dashboards, watch, two_tried}
    assert {check for check, *_ in FAULTS} == known


def unavailable(*_: object) -> None:
    raise UnavailableError("no mirror answers")


@pytest.mark.parametrize(("ci", "outcome"), [("true", Failed), ("", Skipped)])
@pytest.mark.parametrize(("name", "words"), [("caddy", "no mirror answers"), ("promtol", "is neither in .venv")])
def test_a_checker_that_is_missing_fails_in_ci(monkeypatch, ci, outcome, name, words):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(checks, "found_program", lambda *_: None)
    monkeypatch.setattr(checks, "from_debian", unavailable)

    with pytest.raises(outcome, match=words):
        checks.tool(name)
