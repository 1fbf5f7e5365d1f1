"""What a ledger says, in a form that can be compared, and what its rollups must say.

Used where two ledgers have to be the same: any order of reading, before and after an upgrade, after a
kill, with and without day rows. `expected_rollups` shares no code with the module: plain Python sums.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import clawmeter

ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
GROUPS = (
    "model", "provider", "provider_model", "agent", "channel", "cause", "session", "session_key", "cron_job", "tool",
)  # fmt: skip
TOTALS = (
    "model_calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "total_tokens",
    "cost_nano_usd", "recorded_cost_nano_usd", "plan_cost_nano_usd", "unpriced_calls",
)  # fmt: skip
#: What truth.json calls the totals that it has.
TRUTH_FIELDS = {
    "model_calls": "model_calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "total_tokens": "total_tokens",
    "recorded_cost_nano_usd": "cost_nano",
}
TRUTH_TABLES = {
    "by_agent": "agent",
    "by_session_id": "session",
    "by_session_key": "session_key",
    "by_model": "model",
    "by_provider": "provider",
    "by_provider_model": "provider_model",
    "by_cause": "cause",
    "by_channel": "channel",
    "by_cron_job": "cron_job",
}
#: Columns of a session that do not depend on where its transcript lies now.
SESSION_FIELDS = (
    "id", "agent", "key", "channel", "chat_type", "cause", "cron_job", "model", "provider", "started_ms",
    "last_activity_ms", "tool_calls", "tool_errors", "model_errors", "aborts", "compactions", "user_messages",
    *TOTALS,
)  # fmt: skip


def totals_of(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in TOTALS}


def groups(queries: clawmeter.Queries, **question: Any) -> dict[str, dict[str, Any]]:
    """Every grouping by a key: {grouping: {key: totals}}."""
    out = {}
    for by in GROUPS:
        answer = queries.usage(**{"from_": "all", **question, "by": by})
        out[by] = {r["key"]: totals_of(r) for r in answer["rows"] if r["model_calls"]}
        out[f"total of {by}"] = {"": totals_of(answer["totals"])}
    return out


def days(queries: clawmeter.Queries, zone: str, **question: Any) -> dict[str, dict[str, int]]:
    answer = queries.usage(**{"from_": "all", **question, "by": "day", "tz": zone})
    return {r["key"]: totals_of(r) for r in answer["rows"] if r["model_calls"]}


def everything(queries: clawmeter.Queries) -> dict[str, Any]:
    """All that a ledger says about money, tokens, sessions and sub-agents."""
    out: dict[str, Any] = groups(queries)
    for zone in ZONES:
        out[f"days in {zone}"] = days(queries, zone)
    for by in ("hour", "week", "month"):
        answer = queries.usage(from_="all", by=by, tz="Australia/Lord_Howe")
        out[by] = {r["key"]: totals_of(r) for r in answer["rows"] if r["model_calls"]}
    rows, count = queries.sessions(limit="10000", sort="id")
    out["sessions"] = {
        (r["agent"], r["id"]): {f: r[f] for f in SESSION_FIELDS} for r in rows if r["model_calls"]
    }
    out["session rows"] = count
    return out


def family(queries: clawmeter.Queries) -> dict[str, Any]:
    """Who spawned whom, and what each tree cost."""
    rows, _ = queries.sessions(limit="10000")
    out = {
        r["id"]: (r["parent_session"], r["tree_cost_nano_usd"]) for r in rows if r["model_calls"]
    }
    subs = {r["id"]: (r["depth"], r["run_status"]) for r in queries.subagents(limit="10000")[0]}
    return {"sessions": out, "subagents": subs}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Where two answers differ, short enough to read in a failed test."""
    out = []
    for name in wanted:
        if found[name] == wanted[name]:
            continue
        if not isinstance(wanted[name], dict):
            out.append(f"{name}: {found[name]!r}, not {wanted[name]!r}")
            continue
        for key in sorted(set(found[name]) | set(wanted[name]), key=str):
            a, b = found[name].get(key), wanted[name].get(key)
            if a != b:
                if isinstance(a, dict) and isinstance(b, dict):
                    a, b = ({k: v for k, v in x.items() if a.get(k) != b.get(k)} for x in (a, b))  # type: ignore[union-attr]
                out.append(f"{name} {key!r}: {a}, not {b}")
    return out[:20]


def truth_differences(queries: clawmeter.Queries, truth: Mapping[str, Any]) -> list[str]:
    """Where a ledger differs from a truth.json, in every grouping and zone that it lists."""

    def wanted(table: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        return {
            key: {ours: row[theirs] for ours, theirs in TRUTH_FIELDS.items()}
            for key, row in table.items()
            if row["model_calls"]
        }

    def found(rows: Iterable[Mapping[str, Any]], skip: str = "") -> dict[str, dict[str, int]]:
        return {
            r["key"]: {f: r[f] for f in TRUTH_FIELDS}
            for r in rows
            if r["model_calls"] and r["key"] != skip
        }

    mine, theirs = {}, {}
    for table, by in TRUTH_TABLES.items():
        answer = queries.usage(from_="all", by=by)
        mine[table] = found(answer["rows"], "(none)" if by == "cron_job" else "")
        theirs[table] = wanted(truth[table])
    mine["totals"] = found([{"key": "all", **answer["totals"]}])
    theirs["totals"] = wanted({"all": truth["totals"]})
    for zone, table in truth["by_day"].items():
        mine[zone] = found(queries.usage(from_="all", by="day", tz=zone)["rows"])
        theirs[zone] = wanted(table)
    return differences(mine, theirs)


# --- rollups -------------------------------------------------------------------------------------

SLOT_MS = 15 * 60_000


def measures_of(call: sqlite3.Row) -> dict[str, int]:
    """What one model call adds to a rollup."""
    plan, priced = bool(call["flags"] & 4), call["cost_nano"]
    both = (
        call["recorded_nano"] is not None
        and call["recorded_nano"] > 0
        and call["list_nano"] is not None
    )
    return {
        "model_calls": 1,
        "input_tokens": call["input_tokens"],
        "output_tokens": call["output_tokens"],
        "cache_read_tokens": call["cache_read_tokens"],
        "cache_write_tokens": call["cache_write_tokens"],
        "cost_nano": 0 if plan else priced,
        "recorded_nano": call["recorded_nano"] or 0,
        "plan_nano": priced if plan else 0,
        "unpriced_calls": int(call["basis"] == "unpriced"),
        "compared_recorded_nano": call["recorded_nano"] if both else 0,
        "compared_list_nano": call["list_nano"] if both else 0,
        "tool_calls": len(json.loads(call["tools"])) if call["tools"] else 0,
        "model_errors": int(call["stop_reason"] == "error"),
        "aborts": int(call["stop_reason"] == "aborted"),
        "failovers": int(call["flags"] & 2 > 0),
        "latency_ms": call["latency_ms"] or 0,
    }


Rollup = dict[tuple[Any, ...], dict[str, int]]


def expected_rollups(db: sqlite3.Connection) -> dict[str, Rollup]:
    """Every rollup table, summed here from `model_calls` and `messages`."""
    out: dict[str, Any] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    zones = [(z["id"], ZoneInfo(z["name"])) for z in db.execute("SELECT id, name FROM zones")]
    for call in db.execute("SELECT * FROM model_calls"):
        what = measures_of(call)
        who = (call["session"], call["model"], call["flags"] & 1)
        slot = call["ts_ms"] // SLOT_MS
        keys: list[tuple[str, tuple[Any, ...], dict[str, int]]] = [
            ("usage_quarter_hours", (slot, *who), what),
            ("usage_slot_totals", (slot,), what),
            ("usage_sessions", who, what),
            ("sessions", (call["session"],), what),
        ]
        tools = json.loads(call["tools"]) if call["tools"] else ["(none)"]
        for zone_id, zone in zones:
            local = dt.datetime.fromtimestamp(call["ts_ms"] / 1000, zone).date()
            day = (local - dt.date(1970, 1, 1)).days
            keys.append(("usage_days", (zone_id, day, *who), what))
            for number, tool in enumerate(tools):
                share = {k: v // len(tools) for k, v in what.items()}
                if number == 0:
                    share = {k: what[k] - share[k] * (len(tools) - 1) for k in what}
                keys.append(("usage_tool_days", (zone_id, day, tool, *who), share))
                keys.append(("usage_tool_day_totals", (zone_id, day, tool), share))
        for table, key, values in keys:
            for name, value in values.items():
                out[table][key][name] += value
    for message in db.execute("SELECT * FROM messages WHERE ts_ms IS NOT NULL"):
        result, took = message["kind"] == "toolResult", message["duration_ms"]
        counted = {
            "user_messages": int(message["kind"] == "user"),
            "tool_results": int(result),
            "tool_errors": int(result and message["is_error"]),
            "compactions": int(message["kind"] == "compaction"),
            "tool_ms": took if result and took is not None else 0,
            "timed_results": int(result and took is not None),
            "nested_calls": int(message["kind"] == "custom" and message["tool"] is not None),
        }
        for zone_id, zone in zones:
            local = dt.datetime.fromtimestamp(message["ts_ms"] / 1000, zone).date()
            day = (local - dt.date(1970, 1, 1)).days
            key = (zone_id, day, message["session"], message["tool"] or "")
            for name, value in counted.items():
                out["usage_message_days"][key][name] += value
    return {t: {k: dict(v) for k, v in rows.items()} for t, rows in out.items()}


ROLLUP_KEYS = {
    "usage_quarter_hours": ("slot", "session", "model", "heartbeat"),
    "usage_slot_totals": ("slot",),
    "usage_sessions": ("session", "model", "heartbeat"),
    "usage_days": ("zone", "day", "session", "model", "heartbeat"),
    "usage_tool_days": ("zone", "day", "tool", "session", "model", "heartbeat"),
    "usage_tool_day_totals": ("zone", "day", "tool"),
    "usage_message_days": ("zone", "day", "session", "tool"),
    "sessions": ("id",),
}


def rollup_differences(store: clawmeter.Store) -> list[str]:
    """Where the rollups of a ledger are not the sums over its calls and messages."""
    wrong: list[str] = []
    with store.reading() as db:
        db.row_factory = sqlite3.Row
        try:
            wanted = expected_rollups(db)
            for table, keys in ROLLUP_KEYS.items():
                names = [
                    r["name"]
                    for r in db.execute(f"PRAGMA table_info({table})")
                    if r["name"]
                    in (MESSAGE_MEASURES if table == "usage_message_days" else MEASURES)
                ]
                found = {
                    tuple(row[k] for k in keys): {n: row[n] for n in names}
                    for row in db.execute(f"SELECT * FROM {table}")
                    if any(row[n] for n in names)
                }
                expected = {
                    key: {n: row[n] for n in names}
                    for key, row in wanted.get(table, {}).items()
                    if any(row[n] for n in names)
                }
                wrong += differences({table: found}, {table: expected})
            counts = {
                row["session"]: (row["u"], row["r"], row["e"], row["c"])
                for row in db.execute(
                    "SELECT session, sum(kind = 'user') AS u, sum(kind = 'toolResult') AS r, "
                    "sum(kind = 'toolResult' AND is_error) AS e, sum(kind = 'compaction') AS c FROM messages GROUP BY 1"
                )
            }
            for row in db.execute("SELECT * FROM sessions"):
                told = (
                    row["user_messages"],
                    row["tool_results"],
                    row["tool_errors"],
                    row["compactions"],
                )
                if told != counts.get(row["id"], (0, 0, 0, 0)):
                    wrong.append(
                        f"messages of {row['session_id']}: {told}, not {counts.get(row['id'])}"
                    )
            for table in ("call_copies", "message_copies"):
                lost = db.execute(
                    f"SELECT count(*) FROM {table} k LEFT JOIN sessions s ON s.id = k.session WHERE s.id IS NULL"
                ).fetchone()[0]
                if lost:
                    wrong.append(f"{lost} {table} of sessions that are not there")
            nameless = db.execute(
                "SELECT count(*) FROM model_calls c LEFT JOIN models m ON m.id = c.model WHERE m.id IS NULL"
            ).fetchone()[0]
            if nameless:
                wrong.append(f"{nameless} calls of models that are not in `models`")
        finally:
            db.row_factory = None
    return wrong


MESSAGE_MEASURES = frozenset({"user_messages", "tool_results", "tool_errors", "compactions", "tool_ms", "timed_results", "nested_calls"})  # fmt: skip
MEASURES = frozenset({
    "model_calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nano",
    "recorded_nano", "plan_nano", "unpriced_calls", "compared_recorded_nano", "compared_list_nano", "tool_calls",
    "model_errors", "aborts", "failovers", "latency_ms",
})  # fmt: skip


def at(meter: clawmeter.Clawmeter, now_ms: int) -> clawmeter.Clawmeter:
    """Set the clock of a Clawmeter, so that `all` ends on the same day in every run."""
    meter.clock = meter.queries.clock = lambda: now_ms / 1000
    return meter
