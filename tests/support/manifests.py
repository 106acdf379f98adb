"""The files of deploy/kuberay in, the manifests that Kubernetes gets and their faults out."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = DEPLOY / "kuberay" / "overlays"
SCHEMAS = ROOT.parent / "shared" / "schemas"
KUBERNETES = "1.36"
Manifest = dict[str, Any]


@cache
def kustomized(folder: Path) -> str:
    """What `kubectl apply -k` would send; the error is kubectl's."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def manifests(overlay: str) -> list[Manifest]:
    """The overlay's resources, anew for each caller."""
    return list(yaml.safe_load_all(kustomized(OVERLAYS / overlay)))


def of_kind(found: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in found if each["kind"] == kind]


def rayservice(found: list[Manifest]) -> Manifest:
    [service] = of_kind(found, "RayService")
    return service


def groups(service: Manifest) -> dict[str, Manifest]:
    """The head and the worker groups by name."""
    cluster = service["spec"]["rayClusterConfig"]
    workers = {each["groupName"]: each for each in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"], **workers}


def pods(found: list[Manifest]) -> dict[str, Manifest]:
    """Every pod template, by the label `component`."""
    templates = [group["template"] for group in groups(rayservice(found)).values()]
    templates += [each["spec"]["template"] for each in of_kind(found, "StatefulSet")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in templates}


def faults(manifest: Manifest) -> list[str]:
    """What the API server would refuse or silently drop; skips where KubeRay's schema is absent."""
    if manifest["kind"] == "RayService":
        validator = jsonschema.Draft202012Validator(_kuberay("rayservice"))
        return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(manifest)]
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error)]
    return []


@cache
def _kuberay(kind: str) -> Manifest:
    path = SCHEMAS / f"{kind}-v1.schema.json.gz"
    if not path.exists():
        pytest.skip(f"KubeRay's schema is not at {path}")
    schema = _strict(json.loads(gzip.decompress(path.read_bytes())))
    schema["properties"]["metadata"] = {"type": "object"}
    for name in ("apiVersion", "kind"):
        schema["properties"][name] = {"type": "string"}
    return schema


def _strict(schema: Any) -> Any:
    """A structural schema as JSON Schema in which a name that is not known is an error."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: _strict(each) for name, each in value.items()}
        if key == "properties"
        else _strict(value)
        for key, value in schema.items()
    }
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    keeps = made.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in made and not keeps and "additionalProperties" not in made:
        made["additionalProperties"] = False
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


def unmounted(found: list[Manifest]) -> list[str]:
    """What the settings name as a file and no Ray container has: container, variable and path."""
    [settings] = of_kind(found, "ConfigMap")
    files = {name: path for name, path in settings["data"].items() if name.endswith("_FILE")}
    example = yaml.safe_load_all((DEPLOY / "kuberay" / "secrets.example.yaml").read_text("utf-8"))
    secrets = {each["metadata"]["name"]: each["stringData"] for each in example}
    missing: list[str] = []
    for group, one in groups(rayservice(found)).items():
        pod = one["template"]["spec"]
        held = {
            volume["name"]: secrets.get(volume["secret"]["secretName"], {})
            for volume in pod["volumes"]
            if "secret" in volume
        }
        for container in pod["containers"]:
            there = {
                f"{mount['mountPath']}/{key}"
                for mount in container["volumeMounts"]
                for key in held.get(mount["name"], {})
            }
            missing += [f"{group}: {n}={p}" for n, p in files.items() if p not in there]
    return missing


# ── what a network policy lets through ───────────────────────────────────────────────────────────


def callers(found: list[Manifest], component: str, port: int) -> list[Manifest]:
    """The peers that may open a connection to a port of a component's pods; {} is anybody."""
    labels = pods(found)[component]["metadata"]["labels"]
    peers: list[Manifest] = []
    for policy in of_kind(found, "NetworkPolicy"):
        spec = policy["spec"]
        if "Ingress" not in spec["policyTypes"] or not selects(spec["podSelector"], labels):
            continue
        for rule in spec.get("ingress", []):
            if "ports" not in rule or port in {each.get("port") for each in rule["ports"]}:
                peers += rule.get("from", [{}])
    return peers


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a label selector of Kubernetes selects what carries the labels."""
    exact = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def references(value: object, name: str) -> Iterator[Any]:
    """Every value under the key `name`, however deep."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == name:
                yield each
            yield from references(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from references(each, name)
