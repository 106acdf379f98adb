"""The README's requests, as a reader would copy them."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

README = Path(__file__).parents[2] / "README.md"


@dataclass(frozen=True)
class Curl:
    """One request: its path, its headers and its JSON body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def curls(text: str) -> list[Curl]:
    """Every curl command in a text; a command goes on after a backslash or within quotes."""
    found: list[Curl] = []
    for command in re.findall(r"^\s*(?:\$ )?curl ((?:\\\n|[^'\n\\]|'[^']*')+)", text, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", " "))
        headers = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
        [url] = [word for word in words if word.startswith("http")]
        found.append(
            Curl(
                path="/" + url.split("/", 3)[3],
                headers=dict(header.split(": ", 1) for header in headers),
                body=json.loads(words[words.index("-d") + 1]),
            )
        )
    return found
