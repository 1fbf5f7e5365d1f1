"""Kills a Clawmeter at random moments while its home grows; run by test_durability in a process of its own.

    killer.py HOME STATE COLD WARM SEED

Each round lets something happen in the home and forks a reader, which ends by SIGKILL: at a random step of SQLite's
machine or of the interpreter's input and output (audit events), or from outside after a random time. COLD kills hit
the first index of an empty ledger, WARM kills the reading of what is new. Prints what is true about the home.
No part of the module is replaced: the hooks are SQLite's progress handler and Python's audit hook.
"""

from __future__ import annotations

import functools
import json
import os
import random
import select
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from handmade import MINUTE, T0, HandmadeHome, append, call, header, result, user

import clawmeter

DEADLINE_S = 75.0


class Ticks:
    """Counts steps, and ends the process at one of them."""

    def __init__(self, last: int, every: int) -> None:
        self.count, self.last, self.every = 0, last, every

    def __call__(self, *_: Any) -> int:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def audit(self, event: str, _args: tuple[Any, ...]) -> None:
        if event in (
            "open",
            "os.listdir",
            "os.scandir",
            "os.rename",
            "os.remove",
            "os.chmod",
            "sqlite3.connect",
        ):
            self()

    def watch(self) -> None:
        """Count in every connection to a database, and in every use of a file."""
        ticks = self

        class Connection(sqlite3.Connection):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self.set_progress_handler(ticks, ticks.every)

        sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
        sys.addaudithook(self.audit)


def read(settings: clawmeter.Settings, ticks: Ticks | None = None) -> None:
    if ticks:
        ticks.watch()
    meter = clawmeter.Clawmeter(settings, env=dict(os.environ))
    meter.index()
    meter.stop()


class World:
    """The growing home and what is true about it."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        self.home = HandmadeHome(path)
        self.rng = rng
        self.truth: dict[str, list[int]] = {}
        self.sessions: dict[str, str] = {}
        self.ms = T0 - 30 * 86_400_000
        self.number = 0
        self.live: list[str] = []
        self.keys: dict[str, Any] = {}
        self.database = self.home.database("ops")
        self.rows: list[str] = []

    def entries(self, sid: str, count: int) -> list[dict[str, Any]]:
        out = []
        for _ in range(count):
            self.number += 1
            self.ms += self.rng.randrange(1, 20 * MINUTE)
            tokens = [self.rng.randrange(3000) for _ in range(4)]
            nano = self.rng.randrange(1, 10**9)
            eid = f"c{self.number}"
            tools = self.rng.choices(("exec", "read"), k=self.rng.randrange(3))
            out += [
                user(f"u{self.number}", self.ms),
                call(eid, self.ms + 9, tuple(tokens), nano / 1e9, tools=tools),
                result(f"r{self.number}", self.ms + 99),
            ]  # type: ignore[arg-type]
            self.truth[eid] = [*tokens, nano]
            self.sessions[eid] = sid
        return out

    def begin(self, count: int) -> None:
        self.number += 1
        sid = f"s{self.number}"
        self.home.write(sid, [header(sid, self.ms), *self.entries(sid, count)])
        self.live.append(sid)
        self.keys[f"agent:main:cron:{sid}:run:{sid}"] = sid
        self.home.index(self.keys)

    def grow(self) -> None:
        what = self.rng.random()
        sid = self.rng.choice(self.live)
        path = self.home.sessions() / f"{sid}.jsonl"
        if what < 0.4:
            append(path, self.entries(sid, self.rng.randrange(1, 6)))
        elif what < 0.6:
            self.begin(3)
        elif what < 0.7 and len(self.live) > 3:
            self.live.remove(sid)
            path.rename(f"{path}.reset.2026-11-05T12-00-00.000Z")
        elif what < 0.8:
            shutil.copy(path, f"{path}.bak.{self.number}")
        else:
            if not self.rows or self.rng.random() < 0.3:
                self.number += 1
                self.rows.append(f"d{self.number}")
                self.database.add(self.rows[-1], [header(self.rows[-1], self.ms)])
            sid = self.rng.choice(self.rows)
            self.database.add(
                sid, self.entries(sid, self.rng.randrange(1, 5)), zstd=self.rng.random() < 0.3
            )


def round_of(
    settings: clawmeter.Settings, rng: random.Random, steps: int, every: int, seconds: float
) -> bool:
    """Fork a reader and kill it; whether it was killed before it was done."""
    by_step = rng.random() < 0.6
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ready)
            read(settings, Ticks(rng.randrange(1, steps) if by_step else 0, every))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent must hear of it
            print(f"reader failed: {error!r}", file=sys.stderr)
            os._exit(7)
    os.close(done)
    if not by_step:
        select.select([ready], [], [], rng.random() * seconds)  # readable when the reader has ended
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(ready)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a reader failed")
    return os.WIFSIGNALED(status)


def measure(settings: clawmeter.Settings, every: int) -> tuple[int, float]:
    """How many steps and seconds a reader needs when nobody kills it."""
    ready, done = os.pipe()
    began = time.monotonic()
    if os.fork() == 0:
        ticks = Ticks(0, every)
        read(settings, ticks)
        os.write(done, str(ticks.count).encode())
        os._exit(0)
    os.close(done)
    count = int(os.read(ready, 100) or 0)
    os.close(ready)
    if os.wait()[1]:
        raise SystemExit("the undisturbed reader failed")
    return max(2, count), time.monotonic() - began


def main() -> None:
    home, state, cold, warm, seed = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])
    rng = random.Random(seed)
    world = World(home, rng)
    for _ in range(8):
        world.begin(12)
    settings = clawmeter.Settings(state_dir=state, homes=(home,), time_zone="UTC", gateway=False)
    stop_at = time.monotonic() + DEADLINE_S
    killed = {"cold": 0, "warm": 0}
    steps, seconds = measure(settings, 200)
    while killed["cold"] < cold and time.monotonic() < stop_at:
        if not round_of(settings, rng, steps, 200, seconds):
            shutil.rmtree(state)
        else:
            killed["cold"] += 1
    read(settings)
    clawmeter_zone(settings)
    world.grow()
    steps, seconds = measure(settings, 50)
    while killed["warm"] < warm and time.monotonic() < stop_at:
        world.grow()
        killed["warm"] += round_of(settings, rng, 2 * steps, 50, 1.5 * seconds)
    by_session: dict[str, list[int]] = {}
    for eid, values in world.truth.items():
        sums = by_session.setdefault(world.sessions[eid], [0] * 6)
        by_session[world.sessions[eid]] = [
            sums[0] + 1,
            *(a + b for a, b in zip(sums[1:], values, strict=True)),
        ]
    print(json.dumps({"killed": killed, "by_session": by_session}))


def clawmeter_zone(settings: clawmeter.Settings) -> None:
    """Keep day rows of a zone, so that kills hit those too."""
    meter = clawmeter.Clawmeter(settings, env=dict(os.environ))
    meter.store.use_zone("Australia/Lord_Howe")
    meter.stop()


if __name__ == "__main__":
    main()
