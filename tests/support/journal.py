"""What a long test sees, said as it goes: a line on standard output with the seconds so far."""

import sys
import time


class Journal:
    """Lines for people, shown by `pytest -s`."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def title(self, text: str) -> None:
        sys.stdout.write(f"\n{'':9}── {text} ──\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self._since:6.1f} s  {text}\n")
        sys.stdout.flush()
