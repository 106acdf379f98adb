"""Every shipped config: nothing that runs code for a caller listens wider than it must."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmrec_ray.settings import Settings
from tests.support.manifests import (
    DEPLOY,
    ROOT,
    Manifest,
    callers,
    groups,
    manifests,
    of_kind,
    rayservice,
)

INTERNAL = {
    "gcs": 6379,
    "dashboard": 8265,
    "client server": 10001,
    "agent": 52365,
    "haproxy metrics": 9101,
    "haproxy statistics": 8404,
    "a replica": 30000,
    "admin": 8001,
}
AGENTS = re.compile(r"--(dashboard-host|node-ip-address|ray-client-server-host)[= ](\S+)")
SERVE_CONFIGS = [
    path
    for path in sorted((ROOT / "serve" / "config").glob("*.yaml"))
    if path.name != "kustomization.yaml"
]
OPERATOR = {"app.kubernetes.io/name": "kuberay-operator"}


@pytest.fixture(params=["base", "production"])
def found(request: pytest.FixtureRequest) -> list[Manifest]:
    return manifests(request.param)


def ours(peer: Manifest) -> bool:
    labels = peer.get("podSelector", {}).get("matchLabels", {})
    own = labels.get("app.kubernetes.io/part-of") == "llmrec"
    return own and "namespaceSelector" not in peer


def test_every_pod_is_closed_until_a_rule_opens_it(found: list[Manifest]) -> None:
    [closed] = [each for each in found if each["metadata"]["name"] == "deny-all"]
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("component", ["head", "cpu", "gpu"])
def test_ports_between_nodes_are_open_to_nodes_alone(found: list[Manifest], component: str) -> None:
    for name, port in INTERNAL.items():
        strangers = [peer for peer in callers(found, component, port) if not ours(peer)]
        if (component, name) == ("head", "dashboard"):
            [operator] = strangers
            assert operator["podSelector"]["matchLabels"] == OPERATOR
        else:
            assert strangers == [], name


def test_the_service_and_its_metrics_are_open_to_labelled_namespaces(found: list[Manifest]) -> None:
    for port, label in ((8000, "llmrec/client"), (8080, "llmrec/monitoring")):
        [allowed] = [peer for peer in callers(found, "cpu", port) if not ours(peer)]
        assert allowed == {"namespaceSelector": {"matchLabels": {label: "true"}}}
    assert all(ours(peer) for peer in callers(found, "head", 8000))


def test_admin_routes_have_a_port_of_their_own_on_loopback(found: list[Manifest]) -> None:
    [settings] = of_kind(found, "ConfigMap")
    launcher = (DEPLOY / "cluster" / "aws.yaml").read_text("utf-8")
    assert settings["data"]["LLMREC_HTTP__ADMIN_PORT"] == str(INTERNAL["admin"])
    assert f"-e LLMREC_HTTP__ADMIN_PORT={INTERNAL['admin']}\n" in launcher
    assert Settings().http.admin_host == "127.0.0.1"
    assert "LLMREC_HTTP__ADMIN_HOST" not in {*settings["data"]} | {*re.findall(r"\w+", launcher)}


def test_redis_is_open_to_the_head_alone(found: list[Manifest]) -> None:
    [head] = callers(found, "redis", 6379)
    assert ours(head)
    assert head["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "head"
    assert callers(found, "redis", 22) == []


def test_a_dashboard_beyond_loopback_asks_for_a_token(found: list[Manifest]) -> None:
    cluster = rayservice(found)["spec"]["rayClusterConfig"]
    head = groups(rayservice(found))["head"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert head["serviceType"] == "ClusterIP"
    assert not head.get("enableIngress")


def test_the_launchers_dashboard_stays_on_loopback_and_asks_for_a_token() -> None:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "cluster" / "aws.yaml").read_text("utf-8"))
    commands = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    hosts = [found for command in commands for found in AGENTS.findall(command)]
    assert hosts == [("dashboard-host", "127.0.0.1")]
    assert "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert not any(re.search(r"-p\b|--publish", one) for one in config["docker"]["run_options"])


def test_compose_publishes_the_service_alone_and_on_loopback() -> None:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text("utf-8"))
    published = {name: one["ports"] for name, one in config["services"].items() if "ports" in one}
    assert published == {"service": ["127.0.0.1:8000:8000"]}
    assert config["networks"]["stores"] == {"internal": True}
    assert all(
        one["networks"] == ["stores"]
        for name, one in config["services"].items()
        if name != "service"
    )


@pytest.mark.parametrize("path", SERVE_CONFIGS, ids=lambda path: path.name)
def test_a_serve_config_listens_beyond_loopback_only_on_a_cluster(path: Path) -> None:
    config: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    host = config["http_options"]["host"]
    kind = config["applications"][0]["args"].get("deployment", {}).get("kind", "local")
    assert host == ("0.0.0.0" if kind == "cluster" else "127.0.0.1")
    assert "grpc_options" not in config


def test_no_shipped_file_opens_a_port_that_is_not_looked_at_here() -> None:
    looked_at = {"rayservice.yaml", "compose.yaml"}
    wide = [
        path.name
        for path in DEPLOY.rglob("*")
        if path.is_file()
        and path.suffix != ".md"
        and re.search(r"0\.0\.0\.0|::", path.read_text("utf-8"))
    ]
    assert set(wide) <= looked_at
    kuberay = (DEPLOY / "kuberay" / "base" / "rayservice.yaml").read_text("utf-8")
    assert re.findall(r"(\S+): 0\.0\.0\.0", kuberay) == ["dashboard-host"]
