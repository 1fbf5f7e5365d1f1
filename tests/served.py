"""A Clawmeter that follows a home and serves it, as seen from outside: by HTTP and server-sent events."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import requests
from homes import TESTS
from ledgers import TRUTH_FIELDS

from clawmeter import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clawmeter import Clawmeter

#: Far above what anything here takes, and below the minute after which everything is listed anew:
#: what is only found by that list has not been noticed.
PATIENCE_S = 20.0


def wait_until(is_so: Callable[[], Any], what: str = "this", seconds: float = PATIENCE_S) -> Any:
    """The first true answer; fails the test when none comes."""
    until, pause = time.monotonic() + seconds, threading.Event()
    while not (answer := is_so()):
        assert time.monotonic() < until, f"{what} did not come about"
        pause.wait(0.02)
    return answer


def append_calls(home: Path, *options: str) -> dict[str, Any]:
    """Let tests/corpus/append.py write into a home; its summary."""
    command = [sys.executable, str(TESTS / "corpus" / "append.py"), str(home), *options]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out.splitlines()[-1])["summary"])


def tokens_and_money(totals: dict[str, Any]) -> dict[str, int]:
    """What a truth, a summary of append.py and T of the API have in common, in our names."""
    if "input_tokens" in totals:
        return {name: totals[name] for name in TRUTH_FIELDS}
    return {name: totals[theirs] for name, theirs in TRUTH_FIELDS.items()}


def plus(totals: dict[str, int], *more: dict[str, int]) -> dict[str, int]:
    return {name: value + sum(one[name] for one in more) for name, value in totals.items()}


class Events:
    """The live stream of a server, collected in the background."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.is_open = threading.Event()
        host, _, port = url.removeprefix("http://").rpartition(":")
        # Not by a library: none lets go of a stream that somebody reads.
        self.socket = socket.create_connection((host, int(port)), PATIENCE_S)
        lines = [
            "GET /api/stream HTTP/1.0",
            f"Host: {host}",
            *map(": ".join, headers.items()),
            "",
            "",
        ]
        self.socket.sendall("\r\n".join(lines).encode())
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        assert self.is_open.wait(PATIENCE_S), "no stream"

    def _read(self) -> None:
        event = ""
        with contextlib.suppress(OSError), self.socket.makefile("rb") as stream:
            for line in stream:
                name, _, text = line.decode().rstrip().partition(": ")
                if name == "event":
                    event = text
                elif name == "data":
                    self.seen.append((event, json.loads(text)))
                elif line == b": clawmeter\n":
                    self.is_open.set()

    def of(self, event: str) -> list[Any]:
        return [data for kind, data in self.seen if kind == event]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE_S)
        self.socket.close()


class Served:
    """A Clawmeter with its server, both running."""

    def __init__(self, meter: Clawmeter) -> None:
        self.meter = meter
        self.server = Server(meter)
        self.server.start()
        self.url = self.server.url
        self.headers = {"Authorization": f"Bearer {meter.access.load_token()}"}
        meter.start()
        assert meter.passed.wait(3 * PATIENCE_S)  # all of it for the first time

    def get(self, path: str, **query: str) -> Any:
        answer = requests.get(self.url + path, headers=self.headers, params=query, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def totals(self, **query: str) -> dict[str, int]:
        return tokens_and_money(
            self.get("/api/usage", **{"from": "all", "by": "model", **query})["totals"]
        )

    def by(self, by: str, figure: str = "model_calls", **query: str) -> dict[str, Any]:
        rows = self.get("/api/usage", **{"from": "all", "by": by, **query})["rows"]
        return {row["key"]: row[figure] for row in rows if row["model_calls"]}

    def wait_for(self, expected: dict[str, int], seconds: float = PATIENCE_S) -> None:
        """Until the totals are these."""
        until, pause = time.monotonic() + seconds, threading.Event()
        while (found := self.totals()) != expected and time.monotonic() < until:
            pause.wait(0.02)
        assert found == expected

    @contextlib.contextmanager
    def events(self) -> Iterator[Events]:
        events = Events(self.url, self.headers)
        try:
            yield events
        finally:
            events.close()

    def stop(self) -> None:
        self.server.stop()
        self.meter.stop()


def process_env(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command that finds nothing of this machine's own OpenClaw or Clawmeter."""
    ours = ("OPENCLAW_", "CLAWMETER_", "BUDGET_", "XDG_")
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in {"PORT", "TZ"}
    }
    ours_now = {"HOME": str(home), "PYTHONUNBUFFERED": "1", "CLAWMETER_GATEWAY": "0"}
    return {**kept, **ours_now, **more}
