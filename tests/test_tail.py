"""`clawmeter tail`: what happens, as it happens, by a server or by itself; and the queries behind it."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from handmade import MINUTE, HandmadeHome, call, header, result, user
from served import PATIENCE_S, Served, wait_until
from test_cli import HOSTILE, UNSAFE, CommandLine

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def now_ms() -> int:
    return int(time.time() * 1000)


class Tailed:
    """A running `clawmeter tail` and what it has printed."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.lines: list[str] = []
        self.said: list[str] = []
        self.threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((child.stdout, self.lines), (child.stderr, self.said))
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode().rstrip("\n"))

    def items(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def kinds(self, session: str) -> list[str]:
        return [i["kind"] for i in self.items() if i.get("session") == session]

    def wait_for(self, text: str) -> str:
        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        line: str = wait_until(found, f"{text!r} in {self.lines + self.said}")
        return line

    def end(self, sign: int = signal.SIGINT) -> int:
        self.child.send_signal(sign)
        status = self.child.wait(PATIENCE_S)
        for thread in self.threads:
            thread.join(PATIENCE_S)
        return status


@pytest.fixture
def talk(tmp_path: Path) -> HandmadeHome:
    """A home with one session that is over."""
    home = HandmadeHome(tmp_path / "home")
    old = now_ms() - 100 * MINUTE
    home.write("old", [header("old", old), user("u0", old), call("c0", old + 10)])
    home.index({"agent:main:main": "old"})
    return home


@pytest.fixture
def cli(talk: HandmadeHome, tmp_path: Path) -> CommandLine:
    return CommandLine(talk.path, tmp_path)


@contextmanager
def tailing(cli: CommandLine, *words: str, **env: str) -> Iterator[Tailed]:
    with subprocess.Popen(
        cli.command("tail", *words), env={**cli.env, **env}, cwd=cli.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        tailed = Tailed(child)
        try:
            yield tailed
        finally:
            child.kill()
            child.wait(PATIENCE_S)
            for thread in tailed.threads:
                thread.join(PATIENCE_S)


def happen(home: HandmadeHome) -> None:
    """A session begins, calls a model and a tool that fails, is compacted, answers."""
    now = now_ms()
    home.index({"agent:main:main": "old", "agent:main:telegram:direct:7": {"sessionId": "new", "label": "Dinner"}})  # fmt: skip
    entries = [
        header("new", now), user("u1", now + 1),
        call("c1", now + 2, cost=0.25, tools=["exec"]), result("r1", now + 3, failed=True, durationMs=1500),
        {"type": "compaction", "id": "k1", "parentId": "r1", "timestamp": clawmeter.iso_ms(now + 4), "summary": "x"},
        call("c2", now + 5, cost=0.5),
    ]  # fmt: skip
    home.write("new", entries)


EXPECTED = ["started", "message", "model_call", "tool", "compaction", "model_call"]


def check_items(tailed: Tailed) -> None:
    wait_until(lambda: tailed.kinds("new")[-1:] == ["model_call"] and len(tailed.kinds("new")) >= 6, "all of it")  # fmt: skip
    items = [i for i in tailed.items() if i.get("session") == "new"]
    kinds = [i["kind"] for i in items if i["kind"] not in {"running", "ended"}]
    assert kinds == EXPECTED
    by_kind = {i["kind"]: i for i in items}
    assert by_kind["tool"]["tool"] == "exec"
    assert (by_kind["tool"]["is_error"], by_kind["tool"]["duration_ms"]) == (True, 1500)
    assert [i["cost_nano_usd"] for i in items if i["kind"] == "model_call"] == [250_000_000, 500_000_000]  # fmt: skip
    assert items[0]["label"] == "Dinner"
    assert not tailed.kinds("old"), "what was there before is no news"


def test_by_itself(cli: CommandLine, talk: HandmadeHome) -> None:
    with tailing(cli, "--json") as tailed:
        tailed.wait_for('"gateway"')
        happen(talk)
        check_items(tailed)
        assert tailed.end() == 130
    assert "Traceback" not in "\n".join(tailed.said)
    assert "No Clawmeter is serving" in tailed.said[0]


def test_by_a_server_that_ends_and_comes_back(cli: CommandLine, talk: HandmadeHome) -> None:
    with cli.serving():
        tail = tailing(cli, "--json")
        tailed = tail.__enter__()
        tailed.wait_for('"gateway"')
        happen(talk)
        check_items(tailed)
    wait_until(lambda: any("waiting" in line for line in tailed.said), "a word about the end")
    with cli.serving():
        wait_until(lambda: any("is back" in line for line in tailed.said), "a word about the return")  # fmt: skip
        talk.write("later", [header("later", now_ms()), user("u9", now_ms())])
        wait_until(lambda: tailed.kinds("later") == ["started", "message"] or "running" in tailed.kinds("later"), "what came after")  # fmt: skip
        assert tailed.end() == 130
    tail.__exit__(None, None, None)
    assert tailed.kinds("new").count("started") == 1, "each thing once"
    assert "Traceback" not in "\n".join(tailed.said)


def test_lines_for_a_person(cli: CommandLine, talk: HandmadeHome) -> None:
    with tailing(cli, "--agent", "main") as tailed:
        tailed.wait_for("gateway")
        happen(talk)
        tailed.wait_for("$0.5000")
        lines = [line for line in tailed.lines if "Dinner" in line]
        shown = [re.sub(r"\s{2,}", "  ", line[10:]) for line in lines if " running" not in line and " ended" not in line]  # fmt: skip
    assert shown == [
        "main  Dinner  started  telegram", "main  Dinner  message",
        "main  Dinner  call  acme-1, 120 tokens, $0.2500, 1.5 s, calls exec",
        "main  Dinner  tool  exec, 1.5 s, failed", "main  Dinner  compaction",
        "main  Dinner  call  acme-1, 120 tokens, $0.5000, 1.5 s",
    ]  # fmt: skip


def test_another_agent_only(cli: CommandLine, talk: HandmadeHome) -> None:
    with tailing(cli, "--json", "--agent", "ops") as tailed:
        tailed.wait_for('"gateway"')
        happen(talk)
        talk.write("op", [header("op", now_ms()), user("u2", now_ms())], agent="ops")
        wait_until(lambda: tailed.kinds("op"), "the other agent")
    assert {i.get("agent") for i in tailed.items()} == {None, "ops"}


def test_hostile_names(cli: CommandLine, talk: HandmadeHome) -> None:
    """What somebody else chose to call a thing cannot move the cursor, whichever way it is printed."""
    message = {"provider": HOSTILE, "model": HOSTILE, "stopReason": HOSTILE}
    for words in ((), ("--json",)):
        with tailing(cli, *words) as tailed:
            tailed.wait_for("gateway")
            sid = f"s{len(words)}"
            talk.index({"agent:main:main": "old", f"agent:main:{HOSTILE}": {"sessionId": sid, "label": HOSTILE, "channel": HOSTILE}})  # fmt: skip
            now = now_ms()
            talk.write(sid, [header(sid, now), call(f"c{sid}", now, tools=[HOSTILE], **message), result(f"r{sid}", now + 1, HOSTILE)])  # fmt: skip
            wait_until(lambda t=tailed: sum("owned" in line for line in t.lines) >= 3, "the names")  # type: ignore[misc]
        assert not UNSAFE.search("".join(tailed.lines))


def test_colours_only_where_a_person_looks(cli: CommandLine) -> None:
    for env, is_coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):  # fmt: skip
        outside, inside = pty.openpty()
        with subprocess.Popen(
            cli.command("tail"), env={**cli.env, **env}, stdout=inside, stderr=subprocess.DEVNULL
        ) as child:
            os.close(inside)
            said = b""
            while b"gateway" not in said:
                said += os.read(outside, 1000)
            child.send_signal(signal.SIGINT)
            assert child.wait(PATIENCE_S) == 130
        with suppress(OSError):  # the other end is gone
            while more := os.read(outside, 1000):
                said += more
        os.close(outside)
        assert (b"\x1b[" in said) is is_coloured


def test_reader_that_goes_away(cli: CommandLine, talk: HandmadeHome) -> None:
    with subprocess.Popen(
        cli.command("tail"), env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        assert b"gateway" in child.stdout.readline()
        child.stdout.close()
        happen(talk)
        assert b"Traceback" not in child.stderr.read()
        assert child.wait(PATIENCE_S) == 1


def test_a_second_tail_says_who_has_the_ledger(cli: CommandLine) -> None:
    with tailing(cli) as tailed:
        tailed.wait_for("gateway")
        assert "another Clawmeter is using the ledger" in cli.refused(1, "tail")


# --- the queries ----------------------------------------------------------------------------------


def test_events_come_once_and_in_pages(talk: HandmadeHome, meter_factory: Any) -> None:
    served = Served(meter_factory(talk.path))
    try:
        first = served.get("/api/events")
        assert first["events"] == []
        happen(talk)
        wait_until(lambda: len(served.get("/api/events", after=first["cursor"])["events"]) == 6)
        whole = served.get("/api/events", after=first["cursor"])["events"]
        assert [e["kind"] for e in whole] == EXPECTED
        cursor, paged = first["cursor"], []
        while (answer := served.get("/api/events", after=cursor, limit="1"))["events"]:
            assert answer["cursor"] != cursor
            cursor = answer["cursor"]
            paged += answer["events"]
        assert sorted(e["ts_ms"] for e in paged) == [e["ts_ms"] for e in whole]
        assert [e["kind"] for e in paged].count("started") == 1
        assert served.get("/api/events", after=cursor) == {"cursor": cursor, "events": []}
    finally:
        served.stop()


def test_live_is_what_the_overview_shows(talk: HandmadeHome, meter_factory: Any) -> None:
    meter = meter_factory(talk.path)
    happen(talk)
    meter.index()
    meter.clock = meter.queries.clock = lambda: 1 + now_ms() / 1000
    live = meter.queries.live()
    assert [row["id"] for row in live["rows"]] == ["new"]
    assert live["gateway"]["status"] == "off"
    shown = meter.queries.overview()["live"]
    assert [row["id"] for row in shown] == ["new"]


def test_status_shows_what_runs(cli: CommandLine, talk: HandmadeHome) -> None:
    now = now_ms()
    talk.index({"agent:main:main": "old", "agent:main:x": {"sessionId": "busy", "label": HOSTILE}})
    talk.write("busy", [header("busy", now), call("c1", now, cost=0.25, tools=["exec"])])
    cli.out("ingest")
    said = cli.out("status")
    assert "live     1 running, 0 idle" in said
    assert "running, $0.2500" in said
    assert not UNSAFE.search(said)
    with cli.serving():
        told = json.loads(cli.run("status", "--json").stdout)
        assert [row["id"] for row in told["live"]] == ["busy"]


# --- the parts ------------------------------------------------------------------------------------


def row_of(state: str, doing: str | None = None, tool: str | None = None) -> dict[str, Any]:
    run = {"doing": doing, "tool": tool, "since_ms": 5, "started_ms": 4} if doing else None
    who = {"agent": "main", "key": "agent:main:x", "label": None, "channel": None, "cause": "user"}
    return {"id": "s", "state": state, "run": run, "last_activity_ms": 3, "parent_session": None, "cost_nano_usd": 7, **who}  # fmt: skip


def test_what_a_session_does_is_told_once_for_each_change() -> None:
    shown: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    gateway = {"status": "connected", "text": "connected", "problem": None}
    answers = {"live": lambda: {"as_of_ms": 9, "gateway": gateway, "rows": rows}, "events": lambda: {"cursor": "0-0", "events": []}}  # fmt: skip
    tail = clawmeter.Tail(lambda name, **_: answers[name](), shown.append)

    def after(*now: dict[str, Any]) -> list[tuple[Any, ...]]:
        rows[:] = now
        shown.clear()
        tail.step()
        return [(i["kind"], i.get("doing") or i.get("outcome"), i.get("tool")) for i in shown]

    assert after(row_of("idle")) == [("gateway", None, None)]
    assert after(row_of("running", "thinking")) == [("running", None, None)]
    assert after(row_of("running", "thinking")) == []
    assert after(row_of("running", "tool", "exec")) == [("doing", "tool", "exec")]
    assert after(row_of("running", "tool", "exec")) == []
    assert after(row_of("running", "answering")) == []
    assert after(row_of("running", "retrying")) == [("doing", "retrying", None)]
    assert after(row_of("idle", "failed")) == [("ended", "failed", None)]
    assert after(row_of("running")) == [("running", None, None)]
    assert after() == [("ended", None, None)], "gone from the list"
    gateway["text"] = "connected, slow"
    assert after() == [("gateway", None, None)]


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [("ab", 4, "ab  "), ("abcd", 4, "abcd"), ("abcde", 4, "abc…"), ("中文", 4, "中文"), ("中文字", 4, "中… "), ("a中文字", 5, "a中… "), ("", 2, "  ")],
)  # fmt: skip
def test_names_fit_their_column(text: str, cells: int, shown: str) -> None:
    assert clawmeter.fit(text, cells) == shown
