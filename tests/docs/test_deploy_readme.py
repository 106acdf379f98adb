"""deploy/README.md: its links lead somewhere, its commands name files and targets that exist."""

import re

from tests.support.manifests import DEPLOY, ROOT

TEXT = (DEPLOY / "README.md").read_text("utf-8")
COMMANDS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (DEPLOY / link).exists()] == []


def test_every_file_of_a_command_exists() -> None:
    paths = re.findall(r"\b((?:deploy|serve)/[\w./-]+)", COMMANDS)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_secret_of_the_example_is_made() -> None:
    example = (DEPLOY / "kuberay" / "secrets.example.yaml").read_text("utf-8")
    shown = re.findall(r"name: (llmrec-\w+)", example)
    assert re.findall(r"secret generic (\S+)", COMMANDS) == shown
    composed = (DEPLOY / "docker" / "compose.yaml").read_text("utf-8")
    files = re.findall(r"\./secrets/([\w-]+)", composed)
    assert f"for name in {' '.join(files)}; do" in COMMANDS


def test_every_target_of_an_image_exists() -> None:
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    targets = set(re.findall(r"--target (\w+)", TEXT))
    assert targets == {"service", "aws"}
    assert all(f"AS {target}\n" in dockerfile for target in targets)
