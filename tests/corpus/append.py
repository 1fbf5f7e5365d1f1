#!/usr/bin/env python3
"""Live writer: append model calls to an existing OpenClaw home, for freshness tests.

    append.py HOME --rate 5 --seconds 10           5 calls per second into the newest session of the first agent
    append.py HOME --rate 2 --count 20 --torn 80   JSONL: write each line in two halves, 80 ms apart
    append.py HOME --with-user                     a user message before every call

The era is detected: with agents/<id>/agent/openclaw-agent.sqlite rows are INSERTed (WAL, one transaction per event, as
the gateway does), otherwise lines are appended to sessions/<sid>.jsonl. One JSON line per appended event is printed with
its id and the wall-clock ms right after the write or commit; the last line is a summary to add to truth.json's totals.
Never use it on a home that a gateway is writing.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

PRICE = (3.0, 15.0, 0.3, 3.75)  # claude-sonnet-4-5
MODEL = ("anthropic", "claude-sonnet-4-5-20250929", "anthropic-messages")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


class Target:
    """Where events go: a JSONL file or an agent database."""

    def __init__(self, home: Path, agent: Optional[str], sid: Optional[str], torn: int, zstd: bool) -> None:
        self.oc = home / ".openclaw" if (home / ".openclaw").is_dir() else home
        agents = (
            [agent] if agent else (["main"] if (self.oc / "agents" / "main").is_dir() else sorted(p.name for p in (self.oc / "agents").iterdir()))
        )
        self.agent = agents[0]
        d = self.oc / "agents" / self.agent
        self.torn, self.zstd = torn / 1000, zstd
        self.db: Optional[sqlite3.Connection] = None
        self.parent: Optional[str] = None
        path = d / "agent" / "openclaw-agent.sqlite"
        if path.is_file():
            self.db = sqlite3.connect(path, isolation_level=None, timeout=30)
            self.db.create_function(
                "octet_length", 1, lambda s: None if s is None else len(s.encode() if isinstance(s, str) else s), deterministic=True
            )
            self.cols = {r[1] for r in self.db.execute("PRAGMA table_info(transcript_events)")}
            row = self.db.execute(
                "SELECT session_id, session_key FROM session_windows WHERE session_id=coalesce(?,session_id) ORDER BY updated_at DESC LIMIT 1", (sid,)
            ).fetchone()
            if not row:
                sys.exit("no such session")
            self.sid, self.key = row
            self.seq = self.db.execute("SELECT coalesce(max(seq),-1)+1 FROM transcript_events WHERE session_id=?", (self.sid,)).fetchone()[0]
            last = self.db.execute(
                "SELECT event_id FROM transcript_event_identities WHERE session_id=? ORDER BY seq DESC LIMIT 1", (self.sid,)
            ).fetchone()
            self.parent = last[0] if last else None
        else:
            s = d / "sessions"
            self.index_path = s / "sessions.json"
            self.index: dict[str, Any] = json.loads(self.index_path.read_text(encoding="utf-8"))
            live = {k: e for k, e in self.index.items() if (s / f"{e['sessionId']}.jsonl").is_file() and (sid is None or e["sessionId"] == sid)}
            if not live:
                sys.exit("no such live session")
            self.key = max(live, key=lambda k: (live[k]["updatedAt"], len(k)))
            self.sid = live[self.key]["sessionId"]
            self.path = s / f"{self.sid}.jsonl"
            tail = self.path.read_bytes()[-4_000_000:].splitlines()
            if tail:
                try:
                    self.parent = json.loads(tail[-1]).get("id")
                except ValueError:
                    pass  # a half-written line has no id: the next entry starts without a parent
            self.f = open(self.path, "ab", buffering=0)
            raw = self.path.read_bytes()[-1:]
            if raw not in (b"\n", b""):
                self.f.write(b"\n")  # finish a half-written line, as a restarted gateway would
            self.last_index = 0.0

    def write(self, event: dict[str, Any], ms: int) -> int:
        """Store one event; returns the wall-clock ms when it was visible to others."""
        line = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        raw = line.encode()
        if self.db is None:
            if self.torn:
                self.f.write(raw[: len(raw) // 2])
                time.sleep(self.torn)
                self.f.write(raw[len(raw) // 2 :] + b"\n")
            else:
                self.f.write(raw + b"\n")
            done = now_ms()
            if time.monotonic() - self.last_index > 1:  # the gateway rewrites the index on every turn
                self.last_index = time.monotonic()
                self.index[self.key]["updatedAt"] = ms
                tmp = self.index_path.with_suffix(".json.tmp")
                tmp.write_text(json.dumps(self.index, indent=2, ensure_ascii=False), encoding="utf-8")
                tmp.replace(self.index_path)
            return done
        blob, nav = None, None
        if self.zstd and "event_zstd" in self.cols and len(raw) >= 1024:
            import zstandard

            blob = zstandard.ZstdCompressor().compress(raw)
            ref = {"type": event["type"], "id": event["id"], "parentId": event["parentId"], "timestamp": event["timestamp"]}
            nav = json.dumps(
                {
                    "version": 1,
                    "report": {"kind": "canonical", "hasParentId": True, "entry": ref},
                    "navigation": ref,
                    "reset": ref,
                    "model": ref,
                    "modelBytes": len(raw),
                    "modelWithoutCheckpointBytes": len(raw),
                    "withoutCustomDataBytes": len(raw),
                }
            )
        self.db.execute("BEGIN IMMEDIATE")
        if "event_zstd" in self.cols:
            self.db.execute(
                "INSERT INTO transcript_events(session_id,seq,event_json,created_at,event_zstd,event_utf8_bytes,navigation_json) VALUES(?,?,?,?,?,?,?)",
                (self.sid, self.seq, None if blob else line, ms, blob, len(raw), nav),
            )
        else:
            self.db.execute("INSERT INTO transcript_events(session_id,seq,event_json,created_at) VALUES(?,?,?,?)", (self.sid, self.seq, line, ms))
        self.db.execute(
            "INSERT INTO transcript_event_identities(session_id,event_id,seq,event_type,parent_id,message_idempotency_key,created_at) VALUES(?,?,?,?,?,?,?)",
            (self.sid, event["id"], self.seq, event["type"], event["parentId"], event["message"].get("idempotencyKey"), ms),
        )
        self.db.execute("UPDATE session_windows SET updated_at=?, transcript_updated_at=? WHERE session_id=?", (ms, ms, self.sid))
        self.db.execute("COMMIT")
        self.seq += 1
        return now_ms()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("home", type=Path)
    ap.add_argument("--rate", type=float, default=5, help="model calls per second")
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--count", type=int, help="stop after this many calls (instead of --seconds)")
    ap.add_argument("--agent")
    ap.add_argument("--session", help="session id (default: the newest)")
    ap.add_argument("--bytes", type=int, default=600, help="text bytes per call")
    ap.add_argument("--torn", type=int, default=0, metavar="MS", help="JSONL: write each line in two halves this far apart")
    ap.add_argument("--zstd", action="store_true", help="SQLite: compress rows >= 1 KiB")
    ap.add_argument("--with-user", action="store_true", help="write a user message before every call")
    ap.add_argument("--seed", type=int, help="token counts (default: random)")
    a = ap.parse_args()
    rng = random.Random(a.seed)
    t = Target(a.home, a.agent, a.session, a.torn, a.zstd)
    total = a.count if a.count is not None else max(1, round(a.rate * a.seconds))
    s = {"model_calls": 0, "input": 0, "output": 0, "cache_read": 0, "cache_write": 0, "total_tokens": 0, "cost_nano": 0, "user_messages": 0}
    begin = time.monotonic()
    for n in range(total):
        wait = begin + n / a.rate - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        if a.with_user:
            ms, i = now_ms(), str(uuid.uuid4())
            t.write(
                {
                    "type": "message",
                    "id": i,
                    "parentId": t.parent,
                    "timestamp": iso(ms),
                    "message": {
                        "role": "user",
                        "content": f"live {n}",
                        "timestamp": ms,
                        **({"idempotencyKey": f"{uuid.uuid4()}:user"} if t.db else {}),
                    },
                },
                ms,
            )
            t.parent, s["user_messages"] = i, s["user_messages"] + 1
        ms = now_ms()
        use = (rng.randint(3, 900), rng.randint(20, 1500), rng.randint(2000, 90_000), rng.randint(0, 2000))
        parts = [k * p / 1e6 for k, p in zip(use, PRICE)]
        cost = sum(parts)
        i = str(uuid.uuid4()) if t.db else f"{rng.getrandbits(32):08x}"
        ev = {
            "type": "message",
            "id": i,
            "parentId": t.parent,
            "timestamp": iso(ms),
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": ("live call %d " % n) + "lorem ipsum " * (a.bytes // 12)}],
                "api": MODEL[2],
                "provider": MODEL[0],
                "model": MODEL[1],
                "usage": {
                    "input": use[0],
                    "output": use[1],
                    "cacheRead": use[2],
                    "cacheWrite": use[3],
                    "totalTokens": sum(use),
                    "cost": dict(zip(("input", "output", "cacheRead", "cacheWrite"), parts), total=cost),
                },
                "stopReason": "stop",
                "timestamp": ms - 5,
            },
        }
        done = t.write(ev, ms)
        t.parent = i
        nano = round(cost * 1e9)
        for k, v in zip(("model_calls", "input", "output", "cache_read", "cache_write", "total_tokens", "cost_nano"), (1, *use, sum(use), nano)):
            s[k] += v
        print(
            json.dumps(
                {"id": i, "wall_ms": done, "event_ms": ms, "agent": t.agent, "session_id": t.sid, "cost_nano": nano, "total_tokens": sum(use)}
            ),
            flush=True,
        )
    s["cost_usd"] = f"{s['cost_nano'] // 10**9}.{s['cost_nano'] % 10**9:09d}"
    print(
        json.dumps({"summary": {**s, "agent": t.agent, "session_id": t.sid, "session_key": t.key, "seconds": round(time.monotonic() - begin, 3)}}),
        flush=True,
    )


if __name__ == "__main__":
    main()
