"""What every test gets: a marker by folder, an environment of its own, and a free port."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.server_process import free_ports

HERE = Path(__file__).parent
# How long an example takes is the machine's affair, as every timing in a test is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

KINDS = ("unit", "contract", "integration", "e2e", "docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            kind = item.path.relative_to(HERE).parts[0]
            if kind in KINDS:
                item.add_marker(kind)


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """No test reaches for a model hub or reports usage; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("VLLM_NO_USAGE_STATS", "1")
        patch.setenv("VLLM_DO_NOT_TRACK", "1")
        yield


@pytest.fixture(autouse=True)
def unit_tests_start_no_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    ray = sys.modules.get("ray")
    if request.node.get_closest_marker("unit") and ray is not None and ray.is_initialized():
        raise RuntimeError("a unit test started Ray: move it to tests/integration or tests/e2e")


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    [port] = free_ports(1)
    return port
