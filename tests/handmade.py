"""Homes written entry by entry, for the traps that need one special byte.

Shapes of entries: tests/data/README.md. `HandmadeHome` is a home of JSONL transcripts or of agent
databases with OpenClaw's own DDL (tests/corpus/schemas); nothing in it comes from the module under test.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ledgers
import make_home
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: 2026-11-05T12:00:00Z, and the clock of the tests that need one: a day later.
T0 = 1793880000000
NOW = T0 + 86_400_000
MINUTE = 60_000

Entry = dict[str, Any]


def iso(ms: int) -> str:
    return (
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
    )


def header(sid: str, ms: int = T0, **more: Any) -> Entry:
    return {"type": "session", "version": 3, "id": sid, "timestamp": iso(ms), "cwd": "/w", **more}


def user(eid: str, ms: int, text: str = "go on", parent: str | None = None) -> Entry:
    message = {"role": "user", "content": [{"type": "text", "text": text}], "timestamp": ms}
    return {
        "type": "message",
        "id": eid,
        "parentId": parent,
        "timestamp": iso(ms),
        "message": message,
    }


def call(
    eid: str | None,
    ms: int,
    tokens: tuple[Any, Any, Any, Any] = (100, 20, 0, 0),
    cost: Any = 0.01,
    *,
    parent: str | None = None,
    tools: Iterable[str] = (),
    **message: Any,
) -> Entry:
    """A model call of 1.5 s. `cost`: the total in USD, None for no cost object."""
    content: list[Any] = [{"type": "text", "text": "done"}]
    content += [
        {"type": "toolCall", "id": f"{eid}-{n}", "name": t, "arguments": {}}
        for n, t in enumerate(tools)
    ]
    usage: Entry = dict(zip(("input", "output", "cacheRead", "cacheWrite"), tokens, strict=True))
    if cost is not None:
        usage["cost"] = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": cost}
    entry = {
        "type": "message", "id": eid, "parentId": parent, "timestamp": iso(ms),
        "message": {
            "role": "assistant", "content": content, "api": "openai-completions", "provider": "acme", "model": "acme-1",
            "usage": usage, "stopReason": "toolUse" if tools else "stop", "timestamp": ms - 1500, **message,
        },
    }  # fmt: skip
    return {k: v for k, v in entry.items() if k != "id" or eid is not None}


def result(eid: str, ms: int, tool: str = "exec", *, failed: bool = False, **details: Any) -> Entry:
    message = {
        "role": "toolResult", "toolCallId": "x", "toolName": tool, "content": [{"type": "text", "text": "out"}],
        "details": {"exitCode": int(failed), **details}, "isError": False, "timestamp": ms,
    }  # fmt: skip
    return {
        "type": "message",
        "id": eid,
        "parentId": None,
        "timestamp": iso(ms),
        "message": message,
    }


def raw(entry: Entry | bytes) -> bytes:
    """One line of a transcript, without its end."""
    if isinstance(entry, bytes):
        return entry
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def lines(entries: Iterable[Entry | bytes]) -> bytes:
    return b"".join(raw(e) + b"\n" for e in entries)


class HandmadeHome:
    """A home below `path`, its `.openclaw` in `state`."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.path = path
        self.state = path / ".openclaw"
        self.state.mkdir(parents=True)
        (self.state / "openclaw.json").write_text(json.dumps(config))

    def sessions(self, agent: str = "main") -> Path:
        folder = self.state / "agents" / agent / "sessions"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(
        self,
        sid: str,
        entries: Iterable[Entry | bytes],
        *,
        agent: str = "main",
        suffix: str = ".jsonl",
    ) -> Path:
        """A transcript file, new or in the place of an old one."""
        path = self.sessions(agent) / f"{sid}{suffix}"
        path.write_bytes(lines(entries))
        return path

    def index(self, entries: dict[str, str | Entry], agent: str = "main") -> Path:
        """sessions.json, replaced in one step as OpenClaw does: {key: session id or entry}."""
        table = {
            k: {"sessionId": e, "updatedAt": T0} if isinstance(e, str) else {"updatedAt": T0, **e}
            for k, e in entries.items()
        }
        path = self.sessions(agent) / "sessions.json"
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(table))
        return partial.replace(path)

    def database(self, agent: str = "main", **options: Any) -> AgentDatabase:
        path = self.state / "agents" / agent / "agent" / "openclaw-agent.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        return AgentDatabase(path, **options)


def append(path: Path, entries: Iterable[Entry | bytes], *, end: bytes = b"\n") -> None:
    """Append as OpenClaw does; `end=b""` leaves the last line unfinished."""
    with open(path, "ab") as file:
        file.write(b"\n".join(map(raw, entries)) + end)


_TABLES: list[str] = []


def agent_tables() -> list[str]:
    """The tables of an agent database of OpenClaw 2026.9.6."""
    if not _TABLES:
        ddl = Path(make_home.__file__).parent / "schemas" / "latest-agent.sql"
        tables, _, _ = make_home.load_ddl(ddl)
        _TABLES.extend(t for t in tables if not t.startswith("CREATE VIRTUAL"))
    return _TABLES


class AgentDatabase:
    """agents/<id>/agent/openclaw-agent.sqlite, written by short connections unless one is held open."""

    def __init__(
        self, path: Path, *, user_version: int = 23, events_ddl: str | None = None
    ) -> None:
        self.path = path
        self.generation = 0
        with closing(self.connect()) as db:
            if not db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                db.execute("BEGIN")
                for table in agent_tables():
                    if events_ddl and table.startswith("CREATE TABLE transcript_events "):
                        db.execute(events_ddl)
                    else:
                        db.execute(table)
                db.execute("COMMIT")
                db.execute(f"PRAGMA user_version = {user_version}")
                db.execute("PRAGMA journal_mode = WAL")

    def connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=30)
        db.create_function(
            "octet_length", 1, lambda s: None if s is None else len(s.encode()), deterministic=True
        )
        return db

    def run(self, sql: str, *values: Any) -> list[Any]:
        with closing(self.connect()) as db:
            return db.execute(sql, values).fetchall()

    def add(
        self,
        sid: str,
        entries: Iterable[Entry | bytes],
        *,
        zstd: bool = False,
        created: int | None = None,
    ) -> None:
        """Append rows to a session, in one transaction, and a watermark when it is new."""
        with closing(self.connect()) as db:
            self.add_with(db, sid, entries, zstd=zstd, created=created)

    def add_with(
        self, db: sqlite3.Connection, sid: str, entries: Iterable[Entry | bytes], *, zstd: bool = False, created: int | None = None
    ) -> None:  # fmt: skip
        db.execute("BEGIN IMMEDIATE")
        seq = db.execute(
            "SELECT ifnull(max(seq), -1) + 1 FROM transcript_events WHERE session_id = ?", (sid,)
        ).fetchone()[0]
        has_zstd = any(
            r[1] == "event_zstd" for r in db.execute("PRAGMA table_info(transcript_events)")
        )
        for number, entry in enumerate(entries, seq):
            text = raw(entry)
            stamp = created or (entry_ms(entry) if isinstance(entry, dict) else T0)
            values: dict[str, Any] = {
                "session_id": sid,
                "seq": number,
                "event_json": text.decode("utf-8", "surrogatepass"),
                "created_at": stamp,
            }
            if has_zstd and zstd:
                values |= zstd_columns(zstandard.compress(text), len(text))
            db.execute(
                f"INSERT INTO transcript_events ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            )
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                db.execute(
                    "INSERT OR IGNORE INTO transcript_event_identities (session_id, event_id, seq, event_type, parent_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                    (sid, entry["id"], number, entry["type"], entry.get("parentId"), stamp),
                )
        db.execute(
            "INSERT OR IGNORE INTO transcript_rewrite_watermarks VALUES (?, ?, ?)",
            (sid, f"g0-{sid}", T0),
        )
        db.execute("COMMIT")

    def add_blob(self, sid: str, blob: bytes) -> None:
        """A row with a zstd frame as it is given."""
        values = {"session_id": sid, "seq": 10_000, "created_at": T0, **zstd_columns(blob, 2000)}
        self.run(
            f"INSERT INTO transcript_events ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            *values.values(),
        )

    def window(self, sid: str, key: str, updated: int = T0, **more: Any) -> None:
        columns = {
            "session_id": sid,
            "session_key": key,
            "created_at": T0,
            "updated_at": updated,
            **more,
        }
        self.run(
            f"INSERT OR REPLACE INTO session_windows ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            *columns.values(),
        )

    def compact(self, sid: str, keep: int) -> None:
        """`sessions.compact {maxLines}`: delete all but the last rows, renumber, move the generation."""
        with closing(self.connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            top = db.execute(
                "SELECT max(seq) FROM transcript_events WHERE session_id = ?", (sid,)
            ).fetchone()[0]
            db.execute(
                "DELETE FROM transcript_events WHERE session_id = ? AND seq > 0 AND seq <= ?",
                (sid, top - keep),
            )
            for number, (rowid,) in enumerate(
                db.execute(
                    "SELECT rowid FROM transcript_events WHERE session_id = ? ORDER BY seq", (sid,)
                ).fetchall()
            ):
                db.execute("UPDATE transcript_events SET seq = ? WHERE rowid = ?", (number, rowid))
            self.move_generation(db, sid)
            db.execute("COMMIT")

    def move_generation(self, db: sqlite3.Connection, sid: str) -> None:
        self.generation += 1
        db.execute(
            "INSERT OR REPLACE INTO transcript_rewrite_watermarks VALUES (?, ?, ?)",
            (sid, f"g{self.generation}-{sid}", T0),
        )

    def delete(self, sid: str) -> None:
        """`sessions.delete`, without the archive."""
        for table in (
            "transcript_events",
            "transcript_event_identities",
            "transcript_rewrite_watermarks",
        ):
            self.run(f"DELETE FROM {table} WHERE session_id = ?", sid)


def zstd_columns(blob: bytes, size: int) -> dict[str, Any]:
    ref = {"type": "message", "id": "0", "parentId": None, "timestamp": iso(T0)}
    navigation = {
        "version": 1, "report": {"kind": "canonical", "hasParentId": True, "entry": ref}, "navigation": ref, "reset": ref, "model": ref,
        "modelBytes": size, "modelWithoutCheckpointBytes": size, "withoutCustomDataBytes": size,
    }  # fmt: skip
    return {
        "event_json": None,
        "event_zstd": blob,
        "event_utf8_bytes": size,
        "navigation_json": json.dumps(navigation),
    }


def entry_ms(entry: Entry) -> int:
    stamp = entry.get("timestamp")
    return round(datetime.fromisoformat(stamp).timestamp() * 1000) if isinstance(stamp, str) else T0


def session_of(sid: str, calls: int, start: int = T0, *, nano: int = 1_000_000) -> Iterator[Entry]:
    """A header and so many turns of one call each; every call's tokens and cost are its own."""
    yield header(sid, start)
    parent = None
    for n in range(calls):
        ms = start + (n + 1) * MINUTE
        yield user(f"{sid}-u{n}", ms - 2000, parent=parent)
        parent = f"{sid}-c{n}"
        tokens = (100 + n, 10 + n, n % 7, n % 3)
        yield call(parent, ms, tokens, nano * (n + 1) / 1e9, parent=f"{sid}-u{n}")


class Reader:
    """A Clawmeter on a handmade home that is read when asked, and can be stopped and started again."""

    def __init__(self, factory: Any, home: Path, **options: Any) -> None:
        self.factory, self.home, self.options = factory, home, options
        self.meter = ledgers.at(factory(home, **options), NOW)

    def read(self, on_progress: Any = None) -> int:
        return int(self.meter.index(on_progress))

    def restart(self) -> None:
        state = self.meter.settings.state_dir
        self.meter.stop()
        self.meter = ledgers.at(
            self.factory(self.home, **{**self.options, "state_dir": state}), NOW
        )

    def totals(self) -> tuple[int, int, int]:
        """(model calls, tokens, recorded nano-USD)."""
        t = self.meter.queries.usage(from_="all", by="model")["totals"]
        return t["model_calls"], t["total_tokens"], t["recorded_cost_nano_usd"]

    def by(self, by: str, figure: str = "model_calls") -> dict[str, int]:
        rows = self.meter.queries.usage(from_="all", by=by)["rows"]
        return {r["key"]: r[figure] for r in rows if r["model_calls"]}

    def health(self) -> dict[str, Any]:
        return self.meter.queries.health()

    def coverage(self, name: str) -> Any:
        return self.health()["coverage"][name]

    def sql(self, sql: str, *values: Any) -> list[Any]:
        with self.meter.store.reading() as db:
            return db.execute(sql, values).fetchall()

    def source(self, path: Path) -> dict[str, Any]:
        """What health says about one file or database."""
        return next(s for s in self.health()["sources"] if s["path"] == str(path))
