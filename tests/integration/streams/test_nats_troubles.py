"""What is wrong with a broker or its settings is said at once, and says what to do."""

import asyncio
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.errors import InvalidSettings, LLMRecError, StreamUnavailable
from llmrec_ray.parts import open_stream
from llmrec_ray.settings import settings_of
from llmrec_ray.streams.nats import NatsStream
from tests.integration.streams.conftest import Place
from tests.support.nats import PASSWORD, USER, NatsServer


def streams(**values: object) -> NatsStream:
    opened = open_stream(settings_of({"streams": {"timeout_s": 1, **values}}))
    assert isinstance(opened, NatsStream)
    return opened


async def trouble(stream: NatsStream) -> LLMRecError:
    with pytest.raises(LLMRecError) as caught:
        async with stream:
            pass
    return caught.value


async def test_nobody_listens_there(free_port: int) -> None:
    error = await trouble(streams(url=f"nats://127.0.0.1:{free_port}"))
    assert isinstance(error, StreamUnavailable)
    assert str(free_port) in str(error)
    assert "streams.url" in str(error)


async def test_a_host_that_is_not_there() -> None:
    error = await trouble(streams(url="nats://no-such-host.invalid:4222"))
    assert isinstance(error, StreamUnavailable)
    assert "streams.url" in str(error)


@pytest.mark.parametrize(
    "url", ["nats://", "nats://127.0.0.1:port", "nats://a:1,nats://127.0.0.1:99999"]
)
async def test_no_address(url: str) -> None:
    error = await trouble(streams(url=url))
    assert "streams.url" in str(error)


@pytest.mark.parametrize("url", ["amqp://127.0.0.1:5672", "127.0.0.1:4222", ""])
def test_a_broker_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"streams\.url .*nats://127\.0\.0\.1:4222"):
        streams(url=url)


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "plain", jetstream=False) as server:
        error = await trouble(streams(url=server.url))
    assert isinstance(error, InvalidSettings)
    assert "nats-server -js" in str(error)


async def test_wrong_missing_and_right_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NatsServer(tmp_path / "locked", password=True) as server:
        await server.add_stream("LLMREC", "llmrec.events", "llmrec.dead")
        error = await trouble(streams(url=server.url))
        assert isinstance(error, InvalidSettings)
        assert "LLMREC_STREAMS_PASSWORD" in str(error)
        monkeypatch.setenv("LLMREC_STREAMS_USER", USER)
        monkeypatch.setenv("LLMREC_STREAMS_PASSWORD", "wr0ng-p4ss")
        error = await trouble(streams(url=server.url))
        assert isinstance(error, InvalidSettings)
        assert "wr0ng-p4ss" not in str(error)
        monkeypatch.delenv("LLMREC_STREAMS_PASSWORD")
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        monkeypatch.setenv("LLMREC_STREAMS_PASSWORD_FILE", str(tmp_path / "password"))
        async with streams(url=server.url) as stream:
            assert await stream.lag() == 0


async def test_a_stream_that_is_not_there(place: Place) -> None:
    error = await trouble(streams(url=place.server.url, stream="NOWHERE"))
    assert isinstance(error, InvalidSettings)
    assert "nats stream add NOWHERE --subjects 'llmrec.events' --defaults`" in str(error)


async def test_dead_letters_that_no_stream_takes(place: Place) -> None:
    error = await trouble(streams(url=place.server.url, dead_letters="gone.dead"))
    assert isinstance(error, InvalidSettings)
    assert "gone.dead" in str(error)


async def test_a_subject_that_the_stream_does_not_hold(place: Place) -> None:
    error = await trouble(streams(url=place.server.url, events="elsewhere.events"))
    assert isinstance(error, InvalidSettings)
    assert "streams.events" in str(error)


def test_the_command_line_says_it_in_one_line(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["consume", "--settings", str(place.file(stream="NOWHERE"))])
    assert exited.value.code == 1
    assert "no stream NOWHERE" in capsys.readouterr().err


async def test_poison_as_large_as_the_server_takes_is_buried_cut(place: Place) -> None:
    most = 1_048_576
    await place.server.publish("llmrec.events", b"x" * most)
    async with open_stream(place.settings) as stream:
        (found,) = await stream.fetch(1, 10)
        await stream.bury(found, "too_large: ünusable\r\nForged: yes")
        await stream.ack([found])
    ((body, headers),) = await place.server.stored("LLMREC-DEAD")
    assert 0.99 * most < len(body) < most
    assert headers["Llmrec-Cut"] == f"{most} bytes"
    assert headers["Llmrec-Reason"] == "too_large: \\xfcnusable Forged: yes"
    assert headers["Llmrec-Subject"] == "llmrec.events"


async def test_after_the_server_was_killed_what_was_not_acked_comes_first(place: Place) -> None:
    await place.server.publish("llmrec.events", *(b"%d" % number for number in range(10)))
    async with open_stream(place.settings) as stream:
        found = await stream.fetch(6, 10)
        await stream.ack(found[:2])
        await asyncio.to_thread(place.server.stop)
        with pytest.raises(StreamUnavailable, match=r"Check that it runs|no message broker"):
            await stream.ack(found[2:])
        with pytest.raises(StreamUnavailable, match="no message broker answers"):
            await stream.fetch(6, 0.1)
        await asyncio.to_thread(place.server.start)
        # A killed server may have forgotten acks that it confirmed: then these come again too.
        found = await stream.fetch(10, 10)
        again = [one.body for one in found]
        assert again[-8:] == [b"%d" % number for number in range(2, 10)]
        assert again[:-8] == [b"0", b"1"][10 - len(again) :]
        await stream.ack(found)
        assert await stream.lag() == 0
