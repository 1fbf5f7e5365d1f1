"""A real OpenClaw for tests: install, start, drive and stop it (a thin layer over run_openclaw.sh)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bill
import gateway_client

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "run_openclaw.sh"
#: What the default test run uses; `-m openclaw_all` adds the others.
VERSION = "2026.9.6"
OLD_VERSIONS = {"2026.6.11": "mid", "2026.2.12": "feb"}


class LabError(Exception):
    """OpenClaw could not be installed, started or driven; the message has its last words."""


def missing() -> str | None:
    """Why a real OpenClaw cannot run here; None if it can."""
    if sys.platform == "win32":
        return "run_openclaw.sh is a bash script"
    absent = [tool for tool in ("bash", "npm", "setsid", "timeout") if not shutil.which(tool)]
    return f"{', '.join(absent)} not found" if absent else None


def free_port() -> int:
    """A port whose neighbours are free, too: a gateway takes some of them, the mock is 1000 above."""
    # Below those that the system gives to whoever asks for any: it takes seconds until a gateway listens.
    for port in range(11000 + os.getpid() % 500 * 20, 31000, 20):
        try:
            for near in (*range(port, port + 12), port + 1000):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", near))
        except OSError:
            continue
        return port
    raise LabError("no free ports")


@dataclass
class RealOpenClaw:
    """One throw-away OpenClaw home with its gateway and mock provider."""

    home: Path
    version: str = VERSION
    port: int = 0
    bind: str = "loopback"
    clients: list[gateway_client.Gateway] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """OpenClaw's state directory: what Clawmeter reads."""
        return self.home / ".openclaw"

    @property
    def token(self) -> str:
        return f"tok-{self.port}-0123456789abcdef"

    @property
    def mock_log(self) -> Path:
        return self.home / ".lab" / "mock.jsonl"

    def run(self, command: str, *options: str, timeout: float = 600) -> str:
        """Run run_openclaw.sh; what it printed. Raises LabError."""
        arguments = [
            "bash",
            str(SCRIPT),
            command,
            self.version,
            str(self.home),
            str(self.port),
            *options,
        ]
        output = self.home / f"{command}.out"
        with output.open(
            "w+"
        ) as out:  # not a pipe: the gateway it leaves behind would keep it open
            try:
                done = subprocess.run(
                    arguments,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, "PYTHON": sys.executable, "LAB_BIND": self.bind},
                    timeout=timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                tail = output.read_text(errors="replace")[-2000:]
                raise LabError(
                    f"{command} {self.version}: no end after {timeout} s\n{tail}"
                ) from None
        said = output.read_text(errors="replace")
        if done.returncode:
            raise LabError(f"{command} {self.version} ended with {done.returncode}\n{said[-3000:]}")
        return said

    def up(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self.run("up")

    def drive(self, *options: str) -> str:
        return self.run("drive", *options)

    def client(self, *scopes: str) -> gateway_client.Gateway:
        """Another client of the gateway, which may read and write unless told otherwise; down() closes it."""
        config = self.state / "openclaw.json"
        made = gateway_client.from_config(config, scopes=scopes or gateway_client.READ_WRITE)
        self.clients.append(made)
        made.connect()
        return made

    def down(self) -> None:
        """Stop gateway and mock; harmless when they do not run."""
        while self.clients:
            self.clients.pop().close()
        self.run("down", timeout=60)

    def kill_gateway(self) -> None:
        """As a power cut would; the mock provider goes on, and up() starts the gateway again."""
        pid_file = self.home / ".lab" / "gateway.pid"
        os.killpg(int(pid_file.read_text()), signal.SIGKILL)
        pid_file.unlink()

    def bill(self) -> dict[str, Any]:
        """What the transcripts should add up to: see bill.py."""
        return bill.visible_bill(self.mock_log, OLD_VERSIONS.get(self.version, "latest"))


class Operator:
    """Somebody who starts runs, as a person in the chat would."""

    def __init__(self, real: RealOpenClaw) -> None:
        self.real = real
        self.connect()

    def connect(self) -> None:
        self.gateway = self.real.client(*gateway_client.READ_WRITE, "operator.pairing")

    def run(self, text: str, key: str) -> None:
        """Start a run; it goes on by itself."""
        self.gateway.call("agent", {"message": text, "idempotencyKey": str(uuid.uuid4()), "sessionKey": key}, timeout=60)  # fmt: skip

    def chat(self, text: str, key: str) -> None:
        """The same by chat.send, the way of the gateway's own page."""
        self.gateway.call("chat.send", {"message": text, "idempotencyKey": str(uuid.uuid4()), "sessionKey": key}, timeout=60)  # fmt: skip

    def devices(self) -> dict[str, list[str]]:
        """Ids of what waits to be paired and of what is."""
        found = self.gateway.call("device.pair.list")
        return {kind: sorted(d["deviceId"] for d in found[kind]) for kind in ("pending", "paired")}
