"""deploy/README.md: its links lead somewhere, its commands name files and targets that exist."""

import re

import pytest

from llmrec_ray.api_keys import parse_keys
from llmrec_ray.cli import main
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
    assert f"for name in {' '.join(file for file in files if file != 'api-keys')}; do" in COMMANDS


@pytest.mark.parametrize("file", ["secrets/api-keys", "api-keys", "~/.llmrec-aws/api-keys"])
def test_each_way_makes_its_keys_by_a_command_that_works(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = re.findall(rf"llmrec (keys new .+) >> {re.escape(file)}$", COMMANDS, re.MULTILINE)
    assert made
    for command in made:
        with pytest.raises(SystemExit):
            main(command.split())
    assert len(parse_keys(capsys.readouterr().out, file)) == len(made)


def test_every_target_of_an_image_exists() -> None:
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
    targets = set(re.findall(r"--target (\w+)", TEXT))
    assert targets == {"service", "aws"}
    assert all(f"AS {target}\n" in dockerfile for target in targets)
