#!/usr/bin/env python3
"""Talk to a running test gateway through a script of turns and RPCs, and record the frames.

    drive.py --port 18801 --token T --record frames.jsonl [--phase turns|rpc|all] [--fast]

`--fast` leaves out what takes long: retries, compaction, sub-agents.
What must not fail does not: a turn that gives no answer ends the script with exit status 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from gateway_client import READ_WRITE, Gateway, RpcError

MAIN = "agent:main:main"
#: Every read-only method an observer may want, with parameters that work; a version that does not
#: know one says so, and the frames keep both.
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("health", {}),
    ("status", {}),
    ("system-presence", {}),
    ("last-heartbeat", {}),
    ("node.list", {}),
    ("channels.status", {}),
    ("models.list", {}),
    ("agents.list", {}),
    ("config.get", {}),
    ("sessions.list", {}),
    ("sessions.list", {"limit": 3, "includeGlobal": True, "includeUnknown": True}),
    ("sessions.preview", {"keys": [MAIN, "agent:ops:main"], "limit": 4, "maxChars": 200}),
    ("sessions.get", {"key": MAIN}),
    ("sessions.describe", {"key": MAIN}),
    ("sessions.resolve", {"key": MAIN}),
    ("chat.history", {"sessionKey": MAIN, "limit": 20}),
    ("sessions.usage", {"limit": 20, "includeContextWeight": True}),
    ("sessions.usage.timeseries", {"key": MAIN}),
    ("sessions.usage.logs", {"key": MAIN, "limit": 10}),
    ("usage.cost", {"days": 7}),
    ("usage.status", {}),
    ("logs.tail", {"limit": 5}),
    ("exec.approvals.get", {}),
    ("exec.approval.list", {}),
    ("device.pair.list", {}),
    ("tasks.list", {}),
    ("audit.list", {}),
    ("audit.activity.list", {}),
    ("diagnostics.stability", {}),
    ("diagnostics.lanes", {}),
    ("system.info", {}),
    ("gateway.identity.get", {}),
    ("update.status", {}),
    ("gateway.restart.preflight", {}),
    ("sessions.branches.list", {"sessionKey": MAIN}),
    ("tools.catalog", {"agentId": "main"}),
    ("skills.status", {}),
    ("sessions.storage.status", {}),
    ("models.authStatus", {}),
]


class Driver:
    def __init__(self, port: int, token: str, record: Path | None, *, fast: bool) -> None:
        self.fast = fast
        self.failed = 0
        scopes = [*READ_WRITE, "operator.pairing"]
        url = f"ws://127.0.0.1:{port}"
        self.gateway = Gateway(url, token, scopes=scopes, caps=["tool-events"], record=record)
        hello = self.gateway.connect()
        self.methods = set(hello["features"]["methods"])
        print("connected: protocol", hello["protocol"], hello["server"].get("version"))

    def rpc(self, method: str, params: dict[str, Any] | None = None, **options: Any) -> Any:
        """Call and print; None when the gateway refuses."""
        try:
            answer = self.gateway.call(method, params, **options)
        except RpcError as e:
            print(f"  refused {method:26} {json.dumps(e.error)[:160]}")
            return None
        print(f"  ok      {method:26} {json.dumps(answer)[:100]}")
        return answer

    def turn(self, text: str, key: str, agent: str = "main", *, fails: bool | None = False) -> None:
        """One turn through the `agent` method, up to its final answer.

        `fails=None`: versions differ in whether the caller is told.
        """
        began = time.monotonic()
        params = {
            "message": text,
            "sessionKey": key,
            "agentId": agent,
            "idempotencyKey": str(uuid.uuid4()),
        }
        print("turn", key, text[:70])
        answer = self.rpc("agent", params, timeout=180, final=True)
        if fails is not None and (answer is None) != fails:
            print("  !! this turn should have", "failed" if fails else "worked")
            self.failed += 1
        print(f"  {time.monotonic() - began:.1f} s")

    def chat(self, text: str, key: str, *, wait: bool = True) -> str:
        """One turn through chat.send; its run id."""
        run = str(uuid.uuid4())
        since = len(self.gateway.events)
        self.rpc("chat.send", {"sessionKey": key, "message": text, "idempotencyKey": run})
        if wait:
            self.wait_chat(run, since)
        return run

    def wait_chat(self, run: str, since: int) -> None:
        def ended(frame: dict[str, Any]) -> bool:
            p = frame.get("payload") or {}
            done = p.get("state") in ("final", "error", "aborted")
            return frame.get("event") == "chat" and p.get("runId") == run and done

        if not self.gateway.wait_for(ended, since=since, timeout=120):
            print("  !! no end of chat run", run)
            self.failed += 1

    def delta_of(self, run: str, since: int) -> bool:
        """Wait until the run has begun to answer."""

        def begun(frame: dict[str, Any]) -> bool:
            p = frame.get("payload") or {}
            return (
                p.get("runId") == run and frame.get("event") == "chat" and p.get("state") == "delta"
            )

        return self.gateway.wait_for(begun, since=since, timeout=60)

    def turns(self) -> None:
        if "sessions.subscribe" in self.methods:
            self.rpc("sessions.subscribe", {})
        turn = self.turn
        turn("hello one [[text:Hello from the mock.]]", MAIN)
        turn(
            "hello two, cached now [[think:pondering the second hello]] [[text:Second reply.]]",
            MAIN,
        )
        turn(
            'list files [[think:need ls]] [[tool:exec {"command":"ls -la"}]] [[text:Listed.]]', MAIN
        )
        turn(
            'read notes [[tool:read {"path":"notes.txt"}]] '
            '[[tool:exec {"command":"cat /nonexistent-file"}]] [[text:Read.]]',
            MAIN,
        )
        turn("ops hello [[text:ops here]] [[usage:1000,50,4000,0]]", "agent:ops:main", "ops")
        turn(
            'ops tool [[tool:exec {"command":"echo ops; exit 3"}]] [[text:done]]',
            "agent:ops:main",
            "ops",
        )
        turn(
            "claude hello [[think:let me think]] [[text:claude mock]]",
            "agent:claude:main",
            "claude",
        )
        turn(
            'claude tool [[tool:read {"path":"notes.txt"}]] [[text:read it]]',
            "agent:claude:main",
            "claude",
        )
        turn("side session [[text:in a side session]] [[usage:1200,80,0,300]]", "agent:main:side")
        turn("server error [[err:400]]", "agent:main:errs", fails=None)
        turn("busy once [[err:429x1]] [[text:after 429]]", "agent:main:errs")
        self.chat_and_abort()
        turn("to be reset [[text:before reset]]", "agent:main:resetme")
        self.rpc("sessions.reset", {"key": "agent:main:resetme"})
        turn("after reset [[text:after reset]]", "agent:main:resetme")
        turn("to be deleted [[text:before delete]]", "agent:main:deleteme")
        self.rpc("sessions.delete", {"key": "agent:main:deleteme", "deleteTranscript": True})
        patch = {"key": "agent:main:side", "label": "my side label", "thinkingLevel": "high"}
        self.rpc("sessions.patch", {**patch, "model": "mock/mock-noprice"})
        turn("after patch [[text:on the other model]]", "agent:main:side")
        if not self.fast:
            self.slow_turns()

    def chat_and_abort(self) -> None:
        key = "agent:main:chat1"
        self.chat("via chat.send [[text:chat reply]]", key)
        since = len(self.gateway.events)
        run = self.chat("slow one [[slow:20]] [[big:200]]", key, wait=False)
        self.delta_of(run, since)
        self.rpc("chat.abort", {"sessionKey": key, "runId": run})
        self.wait_chat(run, since)

    def slow_turns(self) -> None:
        turn = self.turn
        since = len(self.gateway.events)
        spawn = '{"task":"sub task, just say SUBDONE please","label":"sub-one"}'
        turn(f"spawn [[tool:sessions_spawn {spawn}]] [[text:spawned]]", "agent:main:spawner")
        self.wait_announcement(since)
        for i in range(4):
            turn(f"filler {i} {'lorem ipsum ' * 40} [[big:60]]", "agent:main:compactme")
        self.chat("/compact keep the numbers", "agent:main:compactme")
        turn("after compact [[text:post compaction]]", "agent:main:compactme")
        for i in range(3):
            turn(f"fill {i} [[big:30]]", "agent:main:compactme2")
        time.sleep(1)  # a live reader sees these rows before maxLines deletes them for good
        self.rpc("sessions.compact", {"key": "agent:main:compactme2", "maxLines": 4}, timeout=60)
        big = "big [[usage:190000,500,0,0]] [[text:big context]]"
        turn(big, "agent:main:autocompact", fails=None)  # 2026.6: "Already compacted"
        turn("next after big [[text:next]]", "agent:main:autocompact")
        self.errands()

    def wait_announcement(self, since: int) -> None:
        """Wait until the sub-agent has ended and its parent has told the user."""

        def told(frame: dict[str, Any]) -> bool:
            p = frame.get("payload") or {}
            message = p.get("message") or {}
            return (
                frame.get("event") == "session.message"
                and p.get("sessionKey") == "agent:main:spawner"
                and message.get("role") == "assistant"
                and "sub" in json.dumps(message.get("content"))
                and message.get("stopReason") == "stop"
                and "spawned" not in json.dumps(message.get("content"))
            )

        if "sessions.subscribe" in self.methods:
            self.gateway.wait_for(told, since=since, timeout=30)
        else:
            time.sleep(12)

    def errands(self) -> None:
        """What OpenClaw does on the side: a title, recaps, the file name of a memory."""
        if "sessions.create" not in self.methods:
            return
        made = self.rpc(
            "sessions.create", {"agentId": "main", "message": "plan a party [[text:a plan]]"}
        )
        if made:
            time.sleep(4)
            self.rpc("sessions.reset", {"key": made["key"], "reason": "new"})
        key = "agent:main:slug"
        self.chat("remember the plum [[text:plum]]", key)
        self.chat("/new", key)
        time.sleep(4)  # slug and recap run behind the answer, and no event ends them
        self.chat("after new [[text:still here]]", key)
        time.sleep(4)

    def questions(self) -> None:
        for method, params in QUESTIONS:
            self.rpc(method, params)

    def crons(self) -> None:
        def job(name: str, text: str, schedule: dict[str, Any]) -> dict[str, Any]:
            return {
                "name": name,
                "enabled": True,
                "schedule": schedule,
                "sessionTarget": "isolated",
                "wakeMode": "now",
                "payload": {"kind": "agentTurn", "message": text},
                "delivery": {"mode": "none"},
            }

        self.rpc("cron.status", {})
        hourly = {"kind": "every", "everyMs": 3600000}
        jobs = [
            self.rpc("cron.add", job("nightly", "cron turn [[text:cron says hi]]", hourly)),
            self.rpc(
                "cron.add",
                job(
                    "failing", "cron fail [[err:400]]", {"kind": "at", "at": "2030-01-01T00:00:00Z"}
                ),
            ),
        ]
        system = job("sysev", "", {"kind": "cron", "expr": "0 3 * * *", "tz": "UTC"})
        system.pop("delivery")
        text = {"kind": "systemEvent", "text": "ping [[text:pong]]"}
        self.rpc(
            "cron.add",
            {**system, "sessionTarget": "main", "wakeMode": "next-heartbeat", "payload": text},
        )
        for made in jobs:
            if made:
                self.rpc("cron.run", {"id": made["id"], "mode": "force"}, timeout=90)
                self.wait_cron(made["id"])
                self.rpc("cron.update", {"id": made["id"], "patch": {"enabled": False}})
        self.rpc("cron.list", {"includeDisabled": True})

    def wait_cron(self, job: str) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                runs = self.gateway.call("cron.runs", {"id": job, "limit": 5})
            except RpcError:  # feb forgets a one-shot job with its run
                return
            if any(r.get("action") == "finished" for r in runs["entries"]):
                return
            time.sleep(0.3)
        print("  !! cron job did not end", job)
        self.failed += 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--phase", choices=["turns", "rpc", "all"], default="all")
    parser.add_argument("--fast", action="store_true")
    args = parser.parse_args()
    driver = Driver(args.port, args.token, args.record, fast=args.fast)
    if args.phase in ("turns", "all"):
        driver.turns()
    if args.phase in ("rpc", "all"):
        if not args.fast:
            driver.questions()
        driver.crons()
    print("events:", dict(Counter(e["event"] for e in driver.gateway.events)))
    driver.gateway.close()
    return 1 if driver.failed else 0


if __name__ == "__main__":
    sys.exit(main())
