"""Ray that does not start, or a cluster that does not answer, is told as what it is."""

from typing import NoReturn

import pytest
import ray

from llmrec_ray.errors import Unavailable
from serve.ingest import start


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (None, "Ray could not be started here: no room"),
        ("10.0.0.1:6379", "no Ray cluster answers at 10.0.0.1:6379: no room"),
    ],
)
def test_what_failed_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str | None, says: str
) -> None:
    def refused(**_: object) -> NoReturn:
        raise RuntimeError("no room")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(Unavailable) as caught:
        start(address, workers=1)
    assert str(caught.value) == says
