#!/usr/bin/env python3
"""Slow, simple, independent reader of an OpenClaw home: full JSON parse of everything, then one dedup.

    oracle.py HOME                      print totals (HOME = the folder that holds .openclaw, or .openclaw itself)
    oracle.py HOME --check truth.json   compare with a truth.json; exit 1 and list the differences
    oracle.py HOME --full out.json      write every breakdown

It shares no code with make_home.py. Databases are copied (with -wal) to a temporary folder before they are opened.
Rules: a call is a unique event with type=message, message.role=assistant and a usage object, whose provider is not
`openclaw`; unique by (id, message.timestamp, usage); a copied event belongs to the session with the earliest header.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter, defaultdict
from datetime import datetime, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Iterator
from zoneinfo import ZoneInfo

import zstandard

UUIDISH = r"[0-9A-Za-z_-]+"
TRANSCRIPT = re.compile(rf"^({UUIDISH})(?:\.checkpoint\.{UUIDISH})?\.jsonl(?:\.(?:reset|deleted|bak)\.[^/]*?)?(\.zst)?$")
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
HEARTBEAT = re.compile(r"^(\[[^\]]* UTC\] )?(Read HEARTBEAT\.md if it exists|\[OpenClaw heartbeat poll\])")


class Oracle:
    def __init__(self, home: Path) -> None:
        self.home = home / ".openclaw" if (home / ".openclaw").is_dir() else home
        self.tmp = Path(tempfile.mkdtemp(prefix="oracle-"))
        self.opened: list[sqlite3.Connection] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []  # (agent, session id, object), in reading order
        self.keys: dict[str, set[str]] = defaultdict(set)  # session id -> keys seen for it
        self.channel: dict[str, str] = {}
        self.bad = 0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, Counter] = defaultdict(Counter)
        self.subagents: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.import_archive: list[dict[str, Any]] = []
        try:
            for d in sorted((self.home / "agents").iterdir()):
                if d.is_dir():
                    self.read_agent(d)
            self.read_state()
        finally:
            for db in self.opened:
                db.close()
            shutil.rmtree(self.tmp)

    # -- reading ------------------------------------------------------------------------------------------------------
    def parse(self, raw: bytes) -> Iterator[dict[str, Any]]:
        """Every JSON object of a JSONL blob; anything else that is not blank is a bad line."""
        if raw.startswith(b"\xef\xbb\xbf"):
            raw = raw[3:]
        for line in raw.split(b"\n"):
            line = line.strip(b"\r \t")
            if not line:
                continue
            try:
                o = json.loads(line.decode("utf-8"))
            except ValueError:
                self.bad += 1
                continue
            if isinstance(o, dict):
                yield o
            else:
                self.bad += 1

    def unzst(self, blob: bytes) -> bytes:
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob)).read()

    def read_agent(self, d: Path) -> None:
        agent, s = d.name, d / "sessions"
        if (s / "sessions.json").is_file():
            for key, e in json.loads((s / "sessions.json").read_text(encoding="utf-8")).items():
                self.index(e["sessionId"], key, e.get("channel") or e.get("lastChannel"))
        for f in sorted(s.iterdir()) if s.is_dir() else []:
            m = TRANSCRIPT.match(f.name)
            if not m or not f.is_file():
                continue
            raw = f.read_bytes()
            for o in self.parse(self.unzst(raw) if m.group(2) else raw):
                self.events.append((agent, m.group(1), o))
        db_path = d / "agent" / "openclaw-agent.sqlite"
        if db_path.is_file():
            self.read_agent_db(agent, self.open(db_path))
        arch = d / "session-sqlite-import-archive"
        for f in sorted(arch.iterdir()) if arch.is_dir() else []:
            if ".jsonl.imported-" in f.name and ".trajectory." not in f.name:
                bad = self.bad
                self.import_archive += self.parse(f.read_bytes())
                self.bad = bad

    def index(self, sid: str, key: str | None, channel: str | None = None) -> None:
        if sid and key:
            self.keys[sid].add(key)
            if channel:
                self.channel[sid] = channel

    def open(self, path: Path) -> sqlite3.Connection:
        """Copy a database with its WAL and open the copy."""
        to = self.tmp / path.relative_to(self.home)
        to.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal"):
            src = Path(str(path) + suffix)
            if src.exists():
                shutil.copyfile(src, str(to) + suffix)
        db = sqlite3.connect(to)
        self.opened.append(db)
        db.row_factory = sqlite3.Row
        db.text_factory = lambda b: b.decode("utf-8", "surrogateescape")
        return db

    @staticmethod
    def has(db: sqlite3.Connection, table: str) -> set[str]:
        return {r["name"] for r in db.execute(f"PRAGMA table_info({table})")}

    def read_agent_db(self, agent: str, db: sqlite3.Connection) -> None:
        cols = self.has(db, "transcript_events")
        if not cols:
            return
        for r in db.execute("SELECT * FROM transcript_events ORDER BY session_id, seq"):
            text = r["event_json"]
            if text is None and "event_zstd" in cols:
                try:
                    text = self.unzst(r["event_zstd"]).decode()
                except (zstandard.ZstdError, UnicodeDecodeError):
                    self.bad += 1
                    continue
            try:
                o = json.loads(text)
            except (TypeError, ValueError):
                self.bad += 1
                continue
            self.events.append((agent, r["session_id"], o))
        for r in db.execute("SELECT session_id, session_key, channel FROM session_windows"):
            self.index(r["session_id"], r["session_key"], r["channel"])
        for r in db.execute("SELECT current_session_id, session_key FROM session_nodes"):
            self.index(r["current_session_id"], r["session_key"])
        for r in db.execute("SELECT * FROM session_transcript_archives"):
            self.index(r["session_id"], r["session_key"])
            blob = self.unzst(r["archive_blob"]) if r["encoding"] == "zstd" else r["archive_blob"]
            bad = self.bad
            for o in self.parse(blob):
                self.events.append((agent, r["session_id"], o))
            self.bad = bad  # the same bad lines are in the .zst file

    def job(self, o: dict[str, Any], enabled: Any) -> None:
        self.jobs[o["id"]] = {"name": o.get("name"), "agent": o.get("agentId"), "enabled": bool(enabled)}

    def read_state(self) -> None:
        f = self.home / "cron" / "jobs.json"
        if f.is_file():
            for j in json.loads(f.read_text())["jobs"]:
                self.job(j, j.get("enabled"))
            runs = self.home / "cron" / "runs"
            for g in sorted(runs.glob("*.jsonl")) if runs.is_dir() else []:
                for line in g.read_text().splitlines():
                    o = json.loads(line)
                    self.runs[o["jobId"]][o["status"]] += 1
                    self.index(o.get("sessionId"), o.get("sessionKey"))
        f = self.home / "subagents" / "runs.json"
        if f.is_file():
            for k, r in json.loads(f.read_text())["runs"].items():
                self.sub(k, r["childSessionKey"], r["requesterSessionKey"], (r.get("outcome") or {}).get("status"))
        f = self.home / "state" / "openclaw.sqlite"
        if not f.is_file():
            return
        db = self.open(f)
        cols = self.has(db, "cron_jobs")
        for r in db.execute("SELECT * FROM cron_jobs"):
            if "declaration_key" in cols and r["declaration_key"]:
                continue
            self.job({"id": r["job_id"], "name": r["name"], "agentId": r["agent_id"]}, r["enabled"])
        if self.has(db, "cron_run_logs"):
            for r in db.execute("SELECT * FROM cron_run_logs"):
                self.runs[r["job_id"]][r["status"]] += 1
                self.index(r["session_id"], r["session_key"])
        if "detail_json" in self.has(db, "task_runs"):
            for r in db.execute("SELECT * FROM task_runs WHERE runtime='cron' AND detail_json IS NOT NULL"):
                o = json.loads(r["detail_json"])
                if o.get("kind") == "cron-run":
                    self.runs[r["source_id"]][o["status"]] += 1
                    self.index(o.get("sessionId"), r["child_session_key"])
        cols = self.has(db, "subagent_runs")
        for r in db.execute("SELECT * FROM subagent_runs"):
            if "outcome_json" in cols:
                out = json.loads(r["outcome_json"]) if r["outcome_json"] else {}
            else:
                out = json.loads(r["payload_json"]).get("execution", {}).get("outcome") or {}
            self.sub(r["run_id"], r["child_session_key"], r["requester_session_key"], out.get("status"))

    def sub(self, run: str, child: str, parent: str, status: str | None) -> None:
        self.subagents.append({"run_id": run, "child_session_key": child, "parent_session_key": parent, "status": status or "running"})

    # -- totals -------------------------------------------------------------------------------------------------------
    @staticmethod
    def ident(o: dict[str, Any]) -> str:
        m = o["message"]
        return json.dumps([o.get("id"), m.get("timestamp") if "timestamp" in m else o.get("timestamp"), m.get("usage")], sort_keys=True)

    def result(self) -> dict[str, Any]:
        start: dict[str, str] = {}
        index: dict[tuple[str, str], dict[str, Any]] = {}  # (session, event id) -> object
        for _, sid, o in self.events:
            t = o.get("timestamp") or "9999"
            if o.get("type") == "session":
                start[sid] = min(start.get(sid, "9999"), t)
            if isinstance(o.get("id"), str):
                index.setdefault((sid, o["id"]), o)
        for _, sid, o in self.events:  # transcripts that lost their header
            if sid not in start:
                start[sid] = o.get("timestamp") or "9999"
        owner: dict[str, tuple[str, str, str]] = {}  # identity -> (start, sid, agent)
        where: dict[str, dict[str, Any]] = {}
        for agent, sid, o in self.events:
            if o.get("type") == "message" and isinstance(o.get("message"), dict):
                k = self.ident(o)
                cand = (start[sid], sid, agent)
                if k not in owner or cand < owner[k]:
                    owner[k] = cand
                    where[k] = o
        names = ["agent", "session_id", "session_key", "model", "provider", "provider_model", "cause", "channel", "cron_job"]
        by: dict[str, dict[str, list[dict[str, Any]]]] = {n: defaultdict(list) for n in names}
        days = {z: defaultdict(list) for z in ZONES}
        days_req = {z: defaultdict(list) for z in ZONES}
        calls: list[dict[str, Any]] = []
        roles, tools, terr, nested, stops, unpriced, nocost = (Counter() for _ in range(7))
        injected = 0
        for k, (_, sid, agent) in owner.items():
            o = where[k]
            m = o["message"]
            role = m.get("role")
            roles[role] += 1
            if role == "toolResult":
                d = m.get("details") if isinstance(m.get("details"), dict) else {}
                if m.get("isError") or d.get("status") == "error" or (d.get("exitCode") or 0) > 0:
                    wrapped = d["tool"].get("name") if isinstance(d.get("tool"), dict) else None
                    terr[wrapped or m.get("toolName")] += 1
            if role == "custom" and isinstance(m.get("details"), dict) and m["details"].get("toolName"):
                nested[m["details"]["toolName"]] += 1
            if role != "assistant":
                continue
            if m.get("provider") == "openclaw":
                injected += 1
                continue
            if isinstance(m.get("content"), list):
                for b in m["content"]:
                    if b.get("type") == "toolCall":
                        tools[b.get("name")] += 1
            u = m.get("usage")
            if not isinstance(u, dict):
                continue
            tok = [u.get(x) or 0 for x in ("input", "output", "cacheRead", "cacheWrite")]
            cost = u.get("cost")
            value = cost.get("total") if isinstance(cost, dict) else None
            nano = int((Decimal(repr(value)) * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN)) if value is not None else 0
            pm = f"{m.get('provider')}/{m.get('model')}"
            if sum(tok) and not nano:
                unpriced[pm] += 1
                if not isinstance(cost, dict):
                    nocost[pm] += 1
            stops[m.get("stopReason")] += 1
            keys = self.keys.get(sid)
            key = max(keys, key=lambda s: (len(s), s)) if keys else None
            part = (key or "").split(":")
            cron = re.search(r":cron:([^:]+)", key or "")
            if self.heartbeat(index, sid, o):
                cause = "heartbeat"
            elif key is None:
                cause = "unknown"
            elif cron:
                cause = "cron"
            elif ":subagent:" in key:
                cause = "subagent"
            else:
                cause = "user"
            chan = self.channel.get(sid) if key else None
            if not chan and len(part) >= 5 and part[3] in ("direct", "dm", "group", "channel"):
                chan = part[2]
            c = {"tok": tok, "nano": nano}
            calls.append(c)
            for n, v in zip(
                names, (agent, sid, key or "(none)", m.get("model"), m.get("provider"), pm, cause, chan or "(none)", cron and cron.group(1))
            ):
                if v is not None:
                    by[n][v].append(c)
            t_out = datetime.strptime(o["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z") if o.get("timestamp") else None
            t_req = datetime.fromtimestamp(m["timestamp"] / 1000, timezone.utc) if isinstance(m.get("timestamp"), (int, float)) else t_out
            for z in ZONES:
                tz = ZoneInfo(z)
                days[z][(t_out or t_req).astimezone(tz).date().isoformat()].append(c)
                days_req[z][t_req.astimezone(tz).date().isoformat()].append(c)
        extra = sum(
            1 for o in self.import_archive if o.get("type") == "message" and isinstance(o.get("message"), dict) and self.ident(o) not in owner
        )
        out: dict[str, Any] = {"totals": self.sum(calls)}
        for n in names:
            out["by_" + n] = {v: self.sum(c) for v, c in sorted(by[n].items())}
        out["by_day"] = {z: {d: self.sum(c) for d, c in sorted(days[z].items())} for z in ZONES}
        out["by_day_request_start"] = {z: {d: self.sum(c) for d, c in sorted(days_req[z].items())} for z in ZONES}
        order = lambda c: dict(sorted(c.items(), key=lambda kv: str(kv[0])))
        out.update(
            unpriced_calls=order(unpriced),
            calls_without_cost_object=order(nocost),
            stop_reasons=order(stops),
            messages_by_role=order(roles),
            gateway_injected=injected,
            tool_calls=order(tools),
            tool_errors=order(terr),
            nested_tool_calls=order(nested),
            bad_lines={"total": self.bad},
            subagents=sorted(self.subagents, key=lambda s: s["run_id"]),
        )
        out["cron_jobs"] = [
            {
                "job_id": j,
                "in_store": j in self.jobs,
                **self.jobs.get(j, {}),
                "runs": sum(self.runs[j].values()),
                "runs_by_status": order(self.runs[j]),
                **self.sum(by["cron_job"].get(j, [])),
            }
            for j in sorted(set(self.jobs) | set(self.runs))
        ]
        out["import_archive_messages_not_elsewhere"] = extra
        out["events_read"] = len(self.events)
        return out

    @staticmethod
    def heartbeat(index: dict[tuple[str, str], dict[str, Any]], sid: str, o: dict[str, Any]) -> bool:
        """Did the turn of this event start with the heartbeat prompt? Walk up to the nearest user message."""
        for _ in range(10_000):
            o = index.get((sid, o.get("parentId") or ""))  # type: ignore[assignment]
            if o is None:
                return False
            m = o.get("message")
            if o.get("type") == "message" and isinstance(m, dict) and m.get("role") == "user":
                c = m.get("content")
                text = c if isinstance(c, str) else "".join(b.get("text", "") for b in c or [] if b.get("type") == "text")
                return bool(HEARTBEAT.match(text))
        return False

    @staticmethod
    def sum(calls: list[dict[str, Any]]) -> dict[str, Any]:
        col = lambda i: sum(c["tok"][i] for c in calls)
        nano = sum(c["nano"] for c in calls)
        return {
            "model_calls": len(calls),
            "calls_with_tokens": sum(1 for c in calls if sum(c["tok"])),
            "input": col(0),
            "output": col(1),
            "cache_read": col(2),
            "cache_write": col(3),
            "total_tokens": col(0) + col(1) + col(2) + col(3),
            "cost_nano": nano,
            "costed_calls": sum(1 for c in calls if c["nano"] > 0),
            "cost_usd": format((Decimal(nano) / 10**9).quantize(Decimal("0.000000001")), "f"),
        }


def compare(mine: Any, truth: Any, path: str, out: list[str]) -> None:
    """List where they differ. Only what both sides could know is compared (see main)."""
    if isinstance(mine, dict) and isinstance(truth, dict):
        for k in sorted(set(mine) | set(truth), key=str):
            if k not in mine or k not in truth:
                out.append(f"{path}.{k}: only in {'oracle' if k in mine else 'truth'}")
            else:
                compare(mine[k], truth[k], f"{path}.{k}", out)
    elif mine != truth:
        out.append(f"{path}: oracle {mine!r} truth {truth!r}")


def differences(r: dict[str, Any], t: dict[str, Any]) -> list[str]:
    """Where the oracle's result and a truth.json differ, as one line each."""
    diffs: list[str] = []
    zero = lambda d: {k: v for k, v in d.items() if v["model_calls"]}
    for k in [x for x in r if x.startswith("by_")]:
        if k.startswith("by_day"):
            for z in ZONES:
                compare(r[k][z], zero(t[k][z]), f"{k}.{z}", diffs)
        else:
            compare(r[k], zero(t[k]), k, diffs)
    for k in (
        "totals",
        "unpriced_calls",
        "calls_without_cost_object",
        "stop_reasons",
        "messages_by_role",
        "gateway_injected",
        "tool_calls",
        "tool_errors",
        "nested_tool_calls",
    ):
        compare(r[k], t[k], k, diffs)
    compare(r["bad_lines"]["total"], t["bad_lines"]["total"], "bad_lines", diffs)
    compare(
        {s["run_id"]: s for s in r["subagents"]},
        {s["run_id"]: {k: s[k] for k in ("run_id", "child_session_key", "parent_session_key", "status")} for s in t["subagents"]},
        "subagents",
        diffs,
    )
    tj = {j["job_id"]: (j if j["in_store"] else {k: v for k, v in j.items() if k not in ("name", "agent", "enabled")}) for j in t["cron_jobs"]}
    compare({j["job_id"]: j for j in r["cron_jobs"]}, tj, "cron_jobs", diffs)
    compare(r["import_archive_messages_not_elsewhere"], 0, "import_archive_messages_not_elsewhere", diffs)
    return diffs


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("home", type=Path)
    ap.add_argument("--check", type=Path)
    ap.add_argument("--full", type=Path)
    a = ap.parse_args()
    r = Oracle(a.home).result()
    if a.full:
        a.full.write_text(json.dumps(r, indent=1, ensure_ascii=False))
    if not a.check:
        print(
            json.dumps(
                {
                    k: r[k]
                    for k in (
                        "totals",
                        "by_agent",
                        "by_model",
                        "by_cause",
                        "by_channel",
                        "messages_by_role",
                        "gateway_injected",
                        "unpriced_calls",
                        "tool_calls",
                        "tool_errors",
                        "nested_tool_calls",
                        "stop_reasons",
                        "bad_lines",
                        "subagents",
                        "cron_jobs",
                        "import_archive_messages_not_elsewhere",
                        "events_read",
                    )
                },
                indent=1,
                ensure_ascii=False,
            )
        )
        return 0
    diffs = differences(r, json.loads(a.check.read_text(encoding="utf-8")))
    print(f"{a.home}: {len(diffs)} differences; {r['totals']['model_calls']} calls, {r['totals']['total_tokens']} tokens, ${r['totals']['cost_usd']}")
    for d in diffs[:40]:
        print("  ", d[:300])
    return 1 if diffs else 0


if __name__ == "__main__":
    sys.exit(main())
