"""deploy/cluster: `ray up` takes the file, typos are caught, every deployment finds its nodes."""

import re
import shlex
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from llmrec_ray.settings import settings_of
from tests.support.manifests import DEPLOY, ROOT

Launcher = dict[str, Any]


def launcher() -> Launcher:
    return yaml.safe_load((DEPLOY / "cluster" / "aws.yaml").read_text("utf-8"))


def check(config: Launcher) -> Launcher:
    """The file as `ray up` uses it; raises what it would."""
    prepared = prepare_config(deepcopy(config))
    validate_config(prepared)
    return prepared


def environment(config: Launcher) -> dict[str, str]:
    words = shlex.split(" ".join(config["docker"]["run_options"]))
    given = [words[at + 1] for at, word in enumerate(words) if word == "-e"]
    return dict(one.split("=", maxsplit=1) for one in given)


def test_the_launcher_takes_it() -> None:
    prepared = check(launcher())
    assert prepared["available_node_types"]["head"]["resources"] == {"CPU": 0}


TYPOS: dict[str, Callable[[Launcher], object]] = {
    "at the top": lambda one: one.update(max_worker=one.pop("max_workers")),
    "in a node type": lambda one: one["available_node_types"]["cpu"].update(label={}),
    "in docker": lambda one: one["docker"].update(run_option=[]),
    "in the head's type": lambda one: one.update(head_node_type="heads"),
    "in a resource": lambda one: one["available_node_types"]["gpu"]["resources"].update(GPU="one"),
    "more floors than nodes": lambda one: one["available_node_types"]["cpu"].update(min_workers=99),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_caught(typo: str) -> None:
    config = launcher()
    TYPOS[typo](config)
    with pytest.raises((ValidationError, ValueError)):
        check(config)


def test_every_deployment_fits_the_nodes_of_its_label() -> None:
    types = launcher()["available_node_types"].values()
    nodes = {one["labels"]["llmrec/role"]: one for one in types if "labels" in one}
    serve = yaml.safe_load((ROOT / "serve" / "config" / "cluster.yaml").read_text("utf-8"))
    for bound in ("min", "max"):
        wanted: dict[tuple[str, str], float] = {}
        for one in serve["applications"][0]["deployments"]:
            options = one["ray_actor_options"]
            role = options["label_selector"]["llmrec/role"]
            for kind, option in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
                amount = options.get(option, 0) * one["autoscaling_config"][f"{bound}_replicas"]
                wanted[role, kind] = wanted.get((role, kind), 0) + amount
        for (role, kind), amount in wanted.items():
            held = nodes[role]["resources"].get(kind, 0) * nodes[role][f"{bound}_workers"]
            assert amount <= held, f"{role} at {bound}_workers: {kind} {amount} of {held}"


def test_its_settings_are_settings_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment(launcher())
    for name, value in given.items():
        if name.startswith("LLMREC_"):
            monkeypatch.setenv(name, value)
    assert settings_of({"deployment": {"kind": "cluster"}})
    assert given["LLMREC_API_KEYS_FILE"]
    assert unmounted(launcher()) == []


def unmounted(config: Launcher) -> list[str]:
    """Variables whose file is none of those that the head comment has in the mounted folder."""
    text = (DEPLOY / "cluster" / "aws.yaml").read_text("utf-8")
    [listed] = re.findall(r"holds \w+ files: ([^.]+)\.", text.replace("\n# ", " "))
    there = {f"{folder}/{file}" for folder in config["file_mounts"] for file in listed.split(", ")}
    return [
        f"{name}={value}"
        for name, value in environment(config).items()
        if re.search(r"_(FILE|PATH)$", name) and value not in there
    ]


@pytest.mark.parametrize("named", ["/home/ray/secrets/api-key", "/home/ray/secret/api-keys"])
def test_keys_that_are_not_mounted_where_they_are_named_are_noticed(named: str) -> None:
    config = launcher()
    options: list[str] = config["docker"]["run_options"]
    at = options.index("-e LLMREC_API_KEYS_FILE=/home/ray/secrets/api-keys")
    options[at] = f"-e LLMREC_API_KEYS_FILE={named}"
    assert unmounted(config) == [f"LLMREC_API_KEYS_FILE={named}"]


def test_no_option_says_anything_to_the_shell_that_reads_it() -> None:
    options = " ".join(launcher()["docker"]["run_options"])
    lexer = shlex.shlex(options, posix=True, punctuation_chars=True)
    assert not {"&", ";", "|", "<", ">", "(", ")"} & {word[0] for word in lexer}


def test_no_secret_lies_in_it() -> None:
    for name, value in environment(launcher()).items():
        secret = re.search(r"PASSWORD|KEY|TOKEN", name)
        assert not secret or name.endswith(("_FILE", "_PATH")), value
        assert not re.search(r"://[^/@\s]+:[^/@\s]+@", value), "a password in a URL"


def test_images_are_pinned_and_made_for_the_launcher() -> None:
    config = launcher()
    images = [
        config["docker"]["image"],
        config["available_node_types"]["gpu"]["docker"]["worker_image"],
    ]
    assert [image.rpartition(":")[2] for image in images] == ["0.1.0-cpu-aws", "0.1.0-gpu-aws"]
    assert "FROM service AS aws" in (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")


def test_a_nodes_credentials_cannot_be_had_by_a_forged_request() -> None:
    for node in launcher()["available_node_types"].values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert all(one["Ebs"]["Encrypted"] for one in node["node_config"]["BlockDeviceMappings"])
