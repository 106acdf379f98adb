"""A step of a program in; its seconds, CPU seconds and peak memory, all processes counted, out."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 2.0**30


@dataclass
class Stage:
    """What one step took; memory is that of all processes, shared pages counted once."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


class Meter:
    """Looks at memory ten times a second; `stage` is the only thing to call."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self._own = psutil.Process()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        done = threading.Event()
        peak = [0.0]

        def watch() -> None:
            while True:
                peak[0] = max(peak[0], self._memory())
                if done.wait(0.1):
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        cpu, start = self._cpu(), time.perf_counter()
        watcher.start()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            done.set()
            watcher.join()
        self.stages[name] = Stage(seconds, self._cpu() - cpu, peak[0] / GIB)
        print(f"  {name:<13} {seconds:8.1f} s  {peak[0] / GIB:6.2f} GiB", flush=True)

    def _processes(self) -> list[psutil.Process]:
        return [self._own, *self._own.children(recursive=True)]

    def _memory(self) -> float:
        """The proportional set size of this process and all below it, bytes."""
        total = 0
        for process in self._processes():
            try:
                rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii")
            except OSError:
                continue  # it has ended
            total += sum(
                int(line.split()[1]) * 1024
                for line in rollup.splitlines()
                if line.startswith("Pss:")
            )
        return total

    def _cpu(self) -> float:
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total
