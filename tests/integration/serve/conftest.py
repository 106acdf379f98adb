"""An HTTP client on the service in this process."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service import House, build_house


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[Callable[..., House]]:
    """houses(limits=…): services that are closed after the test."""
    made: list[House] = []

    def make(**options: object) -> House:
        folder = tmp_path / f"house-{len(made)}"
        folder.mkdir()
        made.append(build_house(folder, **options))  # pyright: ignore[reportArgumentType]
        return made[-1]

    yield make
    for house in made:
        house.close()


@pytest.fixture
async def house(houses: Callable[..., House]) -> House:
    """A service with its generation taken up."""
    made = houses()
    await made.take_up()
    return made


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(house) as client:
        yield client


def client_of(house: House) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=house.app)
    return httpx.AsyncClient(transport=transport, base_url="http://test")
