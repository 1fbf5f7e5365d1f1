"""The ledger equals what is true about made homes, in every grouping and zone, and the oracle on real trees."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import oracle
import pytest
from homes import FIXTURES, ROOT

ERAS = ("jsonl-feb", "jsonl-mid", "sqlite", "upgraded")
SEEDS = (1, 2, 3, 4, 5, 6)
SHAPES = (
    {"agents": 4, "sessions": 30, "messages": 900},
    {"agents": 3, "sessions": 25, "messages": 700, "bytes": 3000, "days": 300},
    {"agents": 6, "sessions": 50, "messages": 1500, "bytes": 600, "days": 9, "now": 1775131200},
)
GROUPS = {
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
FIELDS = {
    "model_calls": "model_calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "total_tokens": "total_tokens",
    "recorded_cost_nano_usd": "cost_nano",
}


def of_answer(answer: dict[str, Any], *, skip: tuple[str, ...] = ()) -> dict[str, dict[str, int]]:
    return {
        row["key"]: {f: row[f] for f in FIELDS}
        for row in answer["rows"]
        if row["model_calls"] and row["key"] not in skip
    }


def of_truth(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        key: {f: t[theirs] for f, theirs in FIELDS.items()}
        for key, t in table.items()
        if t["model_calls"]
    }


def check_against(queries: Any, truth: dict[str, Any]) -> None:
    """Every grouping and every zone of a truth (or of the oracle's result)."""
    for table, by in GROUPS.items():
        skip = ("(none)",) if by == "cron_job" else ()
        answer = queries.usage(from_="all", by=by)
        assert of_answer(answer, skip=skip) == of_truth(truth[table]), table
        assert {f: answer["totals"][f] for f in FIELDS} == of_truth({"t": truth["totals"]})["t"]
    for zone, days in truth["by_day"].items():
        answer = queries.usage(from_="all", by="day", tz=zone)
        assert of_answer(answer) == of_truth(days), zone


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("era", ERAS)
def test_ledger_equals_truth(era: str, seed: int, home_factory: Any, meter_factory: Any) -> None:
    shape = SHAPES[seed % 3]
    home = home_factory(era, seed=seed, copy=False, leave_wal=seed % 2 == 1, **shape)
    meter = meter_factory(home.path)
    meter.index()
    check_against(meter.queries, home.truth)
    for zone in home.truth["by_day"]:  # and once more with day rows kept
        meter.store.use_zone(zone)
    check_against(meter.queries, home.truth)
    coverage = meter.queries.health()["coverage"]
    assert coverage["bad_lines"] == home.truth["bad_lines"]["total"]
    assert coverage["complete"]
    assert coverage["implausible"] == 0


@pytest.mark.parametrize("era", ERAS)
def test_messages_tools_and_errors_equal_truth(
    era: str, home_factory: Any, meter_factory: Any
) -> None:
    home = home_factory(era, seed=2, copy=False, sessions=30, messages=900)
    meter = meter_factory(home.path)
    meter.index()
    with meter.store.reading() as db:
        kinds = dict(db.execute("SELECT kind, count(*) FROM messages GROUP BY 1"))
        calls = db.execute("SELECT count(*) FROM model_calls").fetchone()[0]
        errors = dict(
            db.execute(
                "SELECT tool, count(*) FROM messages WHERE kind = 'toolResult' AND is_error GROUP BY 1"
            )
        )
        nested = dict(
            db.execute(
                "SELECT tool, count(*) FROM messages WHERE kind = 'custom' AND tool IS NOT NULL GROUP BY 1"
            )
        )
        stops = dict(db.execute("SELECT stop_reason, count(*) FROM model_calls GROUP BY 1"))
        tools = db.execute("SELECT sum(tool_calls) FROM sessions").fetchone()[0]
    injected = kinds.pop("injected", 0)
    assert injected == home.truth["gateway_injected"]
    roles = {
        k.removeprefix("role:"): v
        for k, v in kinds.items()
        if k not in ("compaction", "reset", "assistant")
    }
    roles["assistant"] = calls + injected + kinds.get("assistant", 0)
    assert roles == home.truth["messages_by_role"]
    assert errors == home.truth["tool_errors"]
    assert nested == home.truth["nested_tool_calls"]
    assert stops == home.truth["stop_reasons"]
    assert tools == sum(home.truth["tool_calls"].values())


@pytest.mark.parametrize("era", ERAS)
def test_unpriced_calls_are_those_without_any_price(
    era: str, home_factory: Any, meter_factory: Any
) -> None:
    home = home_factory(era, seed=3, copy=False, sessions=30, messages=900)
    meter = meter_factory(home.path)
    meter.index()
    truth = home.truth
    rows = {r["key"]: r for r in meter.queries.usage(from_="all", by="provider_model")["rows"]}
    for model, calls in truth["unpriced_calls"].items():
        kind = truth["unpriced_kind"][model]
        assert rows[model]["unpriced_calls"] == (calls if kind == "unknown" else 0), model
        if kind == "known":
            assert rows[model]["cost_nano_usd"] > 0, model
        if kind == "local":
            assert rows[model]["cost_nano_usd"] == 0, model


@pytest.mark.parametrize("era", ERAS)
def test_subagents_roll_up_to_the_session_that_spawned_them(
    era: str, home_factory: Any, meter_factory: Any
) -> None:
    home = home_factory(era, seed=4, copy=False, sessions=60, messages=1500)
    meter = meter_factory(home.path)
    meter.index()
    listed, _ = meter.queries.subagents(limit="1000")
    rows = {r["key"]: r for r in listed}
    cost: dict[str, int] = {}
    children: dict[str, list[str]] = {}
    for row in meter.queries.usage(from_="all", by="session_key")["rows"]:
        cost[row["key"]] = row["cost_nano_usd"]
    for sub in home.truth["subagents"]:
        children.setdefault(sub["parent_session_key"], []).append(sub["child_session_key"])

    def tree(key: str) -> int:
        return cost.get(key, 0) + sum(tree(child) for child in children.get(key, []))

    assert home.truth["subagents"]
    for sub in home.truth["subagents"]:
        row = rows[sub["child_session_key"]]
        assert row["depth"] == sub["depth"]
        assert row["run_status"] == sub["status"]
        assert row["tree_cost_nano_usd"] == tree(sub["child_session_key"])


@pytest.mark.parametrize("version", sorted(p.name for p in FIXTURES.iterdir() if p.is_dir()))
def test_ledger_equals_the_oracle_on_real_trees(
    version: str, real_homes: Any, meter_factory: Any
) -> None:
    path = real_homes(version)
    found = oracle.Oracle(path).result()
    meter = meter_factory(path)
    meter.index()
    check_against(meter.queries, found)


def test_report_prints_what_the_api_answers(home_factory: Any, tmp_path: Path) -> None:
    home = home_factory("upgraded", copy=False, sessions=20, messages=500)
    command = [
        sys.executable, str(ROOT / "clawmeter.py"), "--home", str(home.path), "--state", str(tmp_path / "s"),
        "report", "--json", "--from", "all", "--by", "session",
    ]  # fmt: skip
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert of_answer(json.loads(out)) == of_truth(home.truth["by_session_id"])
