"""The admin port: answered until closed, shared by replicas, a clear error where taken."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.settings import HttpSettings
from serve.http.admin import open_admin_port, serve_admin


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_by_default_there_is_no_admin_port() -> None:
    assert open_admin_port(HttpSettings()) is None


async def test_the_port_answers_until_it_is_closed(free_port: int) -> None:
    port = open_admin_port(HttpSettings(admin_port=free_port))
    assert port is not None
    assert port.getsockname() == ("127.0.0.1", free_port)
    running = asyncio.create_task(serve_admin(hello, port))
    url = f"http://127.0.0.1:{free_port}"
    async with httpx.AsyncClient() as http:
        answer = None
        while answer is None:
            with contextlib.suppress(httpx.ConnectError):
                answer = await http.get(url)
        assert answer.text == "hello"
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(url)


def test_replicas_on_one_node_share_the_port(free_port: int) -> None:
    opened = [open_admin_port(HttpSettings(admin_port=free_port)) for _ in range(3)]
    for port in opened:
        assert port is not None
        port.listen()
    for port in filter(None, opened):
        port.close()


def test_a_port_that_another_program_has_is_named_with_its_setting(taken: int) -> None:
    with pytest.raises(InvalidSettings, match=rf"127\.0\.0\.1:{taken} .*http\.admin_port"):
        open_admin_port(HttpSettings(admin_port=taken))


def test_an_address_of_another_machine_is_named_with_its_setting(free_port: int) -> None:
    with pytest.raises(InvalidSettings, match=r"192\.0\.2\.1:.*http\.admin_host"):
        open_admin_port(HttpSettings(admin_host="192.0.2.1", admin_port=free_port))
