"""The Serve config that `make serve` deploys, and what the command says where it cannot."""

from pathlib import Path

import pytest
import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import Settings, settings_of
from serve.app import build
from serve.ray_process import StartFailed, free_ports
from serve.up import CONFIG, drawn, failures, greeting, local_cluster, require_generation


def names(app: Application) -> set[str]:
    """The deployments bound to an application."""
    bound = app._bound_deployment
    inner = [part for part in bound.init_args if isinstance(part, Application)]
    return {bound.name}.union(*(names(part) for part in inner))


def test_the_config_fits_the_application_it_deploys() -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    ServeDeploySchema.model_validate(config)
    [application] = config["applications"]
    assert application["import_path"] == "serve.app:build"
    built = build(settings_of(application["args"]))
    assert {one["name"] for one in application["deployments"]} == names(built)


def test_replicas_leave_the_cpus_to_ingestion() -> None:
    [application] = yaml.safe_load(CONFIG.read_text("utf-8"))["applications"]
    for deployment in application["deployments"]:
        assert deployment["ray_actor_options"]["num_cpus"] == 0


def test_every_shard_is_a_deployment() -> None:
    built = build(Settings.model_validate({"search": {"shards": 3}}))
    assert names(built) == {"api", "embedder", "generator", "shard-0", "shard-1", "shard-2"}


def test_settings_that_do_not_fit_are_named() -> None:
    with pytest.raises(InvalidSettings, match=r"search\.shards"):
        settings_of({"search": {"shards": 0}})


def test_a_config_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"absent\.yaml"):
        require_generation(tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").write_text("proxy_location: HeadOnly")
    with pytest.raises(StartFailed, match="applications"):
        require_generation(tmp_path / "empty.yaml")


def test_a_service_with_nothing_to_serve_says_so_at_once(tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    args = {"object_store": {"url": f"file://{tmp_path}/objects"}}
    config.write_text(yaml.safe_dump({"applications": [{"args": args}]}))
    with pytest.raises(StartFailed, match=r"serve\.ingest"):
        require_generation(config)


def test_a_port_that_is_taken_is_named_before_ray_starts(free_port: int) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(StartFailed, match=str(free_port)), local_cluster(port=free_port):
            raise AssertionError("the cluster started")


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(5))) == 5


def test_a_part_that_fails_is_named_with_its_reason() -> None:
    message = (
        "Failed to update the deployment.\nTraceback (most recent call last):\n"
        '  File "x.py", line 1\nllmrec_ray.errors.InvalidSettings: model no-such names nothing.'
    )
    applications = {
        "llmrec": {
            "status": "DEPLOY_FAILED",
            "deployments": {
                "embedder": {"status": "DEPLOY_FAILED", "message": message},
                "api": {"status": "HEALTHY", "message": ""},
            },
        }
    }
    assert failures(applications) == ["embedder: model no-such names nothing."]
    assert failures({"llmrec": {"status": "DEPLOYING", "deployments": {}}}) == []


def test_the_greeting_shows_where_the_service_is() -> None:
    assert greeting("http://127.0.0.1:8123").count("curl") == 3
    assert drawn([]).row_count == 0
