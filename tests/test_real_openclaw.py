"""A real OpenClaw, a provider that keeps the bill, and what ended up in the transcripts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import gateway_client
import lab
import oracle
import pytest
from served import wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.openclaw

#: bill.py's names for what the oracle counts
NAMES = {
    "model_calls": "model_calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "total_tokens": "total_tokens",
    "cost_nano_usd": "cost_nano",
}


def same_names(groups: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The oracle's totals under the bill's names."""
    found = {k: v for k, v in groups.items() if isinstance(v, dict) and "cost_nano" in v}
    return {k: {mine: v[theirs] for mine, theirs in NAMES.items()} for k, v in found.items()}


def named(groups: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The bill's totals without what the oracle has no name for."""
    found = {k: v for k, v in groups.items() if isinstance(v, dict) and "cost_nano_usd" in v}
    return {k: {n: v[n] for n in NAMES} for k, v in found.items()}


def without(totals: dict[str, int], part: dict[str, int]) -> dict[str, int]:
    return {k: totals[k] - part[k] for k in NAMES}


@pytest.fixture(scope="module")
def followed(
    openclaw_starter: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[lab.RealOpenClaw, clawmeter.Clawmeter]]:
    """The current version after the whole script of drive.py, and a Clawmeter that watched it live."""
    real: lab.RealOpenClaw = openclaw_starter()
    state = tmp_path_factory.mktemp("state")
    settings = clawmeter.Settings(
        state_dir=state, homes=(real.home,), time_zone="UTC", gateway=False
    )
    meter = clawmeter.Clawmeter(settings, env={"HOME": str(state)})
    meter.start()
    real.drive()
    yield real, meter
    meter.stop()


@pytest.fixture(scope="module")
def driven(followed: tuple[lab.RealOpenClaw, clawmeter.Clawmeter]) -> lab.RealOpenClaw:
    """The current version after the whole script of drive.py; the gateway still runs."""
    return followed[0]


def ledger_groups(meter: clawmeter.Clawmeter) -> dict[str, dict[str, dict[str, int]]]:
    """The ledger by what bill.py groups by, in its names."""
    out = {}
    for group in ("agent", "model", "provider", "cause", "cron_job"):
        answer = meter.queries.usage(from_="all", by=group)
        out[f"by_{group}"] = {
            row["key"]: {
                n: row["recorded_cost_nano_usd" if n == "cost_nano_usd" else n] for n in NAMES
            }
            for row in answer["rows"]
            if row["key"] != "(none)"
        }
    return out


def test_the_ledger_read_live_is_the_visible_bill(
    followed: tuple[lab.RealOpenClaw, clawmeter.Clawmeter],
) -> None:
    """Read while the gateway ran, so that even the call that OpenClaw deleted meanwhile is there."""
    real, meter = followed
    bill = real.bill()
    until = time.monotonic() + 30
    while meter.queries.usage(from_="all")["totals"]["model_calls"] < bill["totals"]["model_calls"]:
        assert time.monotonic() < until, "the ledger did not catch up"
        threading.Event().wait(0.2)
    found = ledger_groups(meter)
    for group, table in found.items():
        assert table == named(bill[group]), group
    totals = meter.queries.usage(from_="all")["totals"]
    assert totals["unpriced_calls"] == bill["totals"]["unpriced_calls"]
    assert totals["recorded_cost_nano_usd"] == bill["totals"]["cost_nano_usd"]
    assert meter.problems() == []


def test_a_gateway_that_stops_while_we_read_leaves_only_its_own_files(
    openclaw_starter: Any, meter_factory: Any
) -> None:
    real: lab.RealOpenClaw = openclaw_starter()
    meter = meter_factory(real.home)
    meter.start()
    real.drive("--fast", "--phase", "turns")
    assert meter.passed.wait(30)
    real.down()
    meter.ingest_now()
    left = {p.name: p for p in real.state.rglob("*") if p.name.endswith(("-wal", "-shm"))}
    before = {
        p: (p.stat().st_size, p.stat().st_mtime_ns) for p in real.state.rglob("*") if p.is_file()
    }
    for session in meter.queries.sessions(limit="5")[0]:
        meter.queries.transcript(session["id"])
    meter.ingest_now()
    after = {
        p: (p.stat().st_size, p.stat().st_mtime_ns) for p in real.state.rglob("*") if p.is_file()
    }
    changed = {p.name for p in before.keys() ^ after.keys()} | {
        p.name for p in before if before[p] != after.get(p)
    }
    assert {n for n in changed if not n.endswith("-shm")} == set()
    assert all(name.removesuffix("-wal").removesuffix("-shm").endswith(".sqlite") for name in left)


def test_transcripts_add_up_to_the_visible_bill(driven: lab.RealOpenClaw) -> None:
    bill = driven.bill()
    found = oracle.Oracle(driven.home).result()
    billed = named(bill["by_session"])
    # A cron run does not tell the provider its session id: these are compared by job.
    by_session = {
        k: v for k, v in same_names(found["by_session_id"]).items() if k in bill["session_keys"]
    }
    # `sessions.compact{maxLines: 4}` has deleted the first call of this session for good.
    shortened = next(s for s, key in bill["session_keys"].items() if key == "agent:main:compactme2")
    lost = without(billed.pop(shortened), by_session.pop(shortened))
    assert lost["model_calls"] == 1
    assert by_session == billed
    assert same_names(found["by_cron_job"]) == named(bill["by_cron_job"])
    assert same_names(found)["totals"] == without(named(bill)["totals"], lost)
    for group in ("agent", "model", "provider", "cause"):
        mine, theirs = named(bill[f"by_{group}"]), same_names(found[f"by_{group}"])
        first = {"agent": "main", "model": "mock-priced", "provider": "mock", "cause": "user"}[
            group
        ]
        mine[first] = without(mine[first], lost)
        assert theirs == mine, group
    assert sum(found["unpriced_calls"].values()) == bill["totals"]["unpriced_calls"]


def test_every_kind_of_hidden_spend_took_place(driven: lab.RealOpenClaw) -> None:
    """Otherwise the test above shows less than it seems to."""
    bill = driven.bill()
    assert set(bill["hidden"]) == {"compaction", "memory_flush", "recap", "slug", "title"}
    assert bill["cut"]["calls"] == 1
    assert bill["retries"] == 1
    assert set(bill["by_cause"]) == {"cron", "subagent", "user"}


# --- the gateway, live -----------------------------------------------------------------------------


def live_row(meter: clawmeter.Clawmeter, key: str) -> dict[str, Any] | None:
    """A session of the Overview of which the gateway says something."""
    rows = meter.queries.overview()["live"]
    return next((r for r in rows if r["key"] == key and r["run"]), None)


def follow_a_gateway(real: lab.RealOpenClaw, meter: clawmeter.Clawmeter, *, tells_tools: bool) -> None:  # fmt: skip
    state = meter.gateway_state
    operator = lab.Operator(real)
    devices = operator.devices()
    meter.start()
    assert meter.passed.wait(30)
    wait_until(lambda: state.status == "connected", "a connection")

    def until(key: str, what: str, **run: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            row = live_row(meter, key)
            return row if row and run.items() <= row["run"].items() else None

        row: dict[str, Any] = wait_until(found, f"{key} {what}: {state.describe()}", 90)
        return row

    key = "agent:main:live"
    operator.run('work [[tool:exec {"command":"sleep 6"}]] [[text:That was it.]]', key)
    row = until(key, "runs", running=True)
    assert (row["state"], row["inferred"]) == ("running", False)
    if tells_tools:
        row = until(key, "uses a tool", doing="tool", tool="exec")
        assert row["state"] == "running"
    row = until(key, "is done", running=False, doing="done")
    assert (row["state"], row["inferred"]) == ("idle", False)

    operator.run("be slow [[slow:100]] [[big:200]]", "agent:main:killed")
    until("agent:main:killed", "answers", doing="answering")
    real.kill_gateway()
    wait_until(lambda: state.status == "unreachable", "the end of the gateway", 30)
    assert live_row(meter, "agent:main:killed") is None
    assert meter.queries.health()["status"] == "ok"
    real.up()
    wait_until(lambda: state.status == "connected", "the gateway to be found again", 90)
    operator.connect()
    operator.run("once more [[slow:5]] [[text:one two three four five]]", key)
    until(key, "runs again", running=True)
    until(key, "is done again", running=False, doing="done")

    told = state.describe()
    assert {told["frames"][n] for n in ("malformed", "oversized", "out_of_order", "gaps")} == {0}
    assert operator.devices() == devices
    assert meter.problems() == []


def test_a_gateway_is_followed_through_a_run_a_kill_and_a_restart(
    openclaw_starter: Any, meter_factory: Any
) -> None:
    real: lab.RealOpenClaw = openclaw_starter()
    meter = meter_factory(real.home, gateway=True)
    page = meter.stream.subscribe()  # somebody looks
    follow_a_gateway(real, meter, tells_tools=True)
    told = meter.gateway_state.describe()
    assert (told["version"], told["protocol"], told["missing"]) == (real.version, 4, [])
    assert told["frames"]["connects"] == 2
    page.close()


def test_nothing_can_be_changed_with_the_scope_that_we_ask_for(openclaw_starter: Any) -> None:
    real: lab.RealOpenClaw = openclaw_starter()
    reader = real.client("operator.read")
    for method, params in (
        ("sessions.delete", {"key": "agent:main:main"}),
        ("agent", {"message": "x", "idempotencyKey": "x", "sessionKey": "agent:main:main"}),
        ("cron.remove", {"id": "x"}),
        ("device.pair.list", {}),
    ):
        with pytest.raises(gateway_client.RpcError, match="missing scope"):
            reader.call(method, params)


@pytest.mark.openclaw_all
@pytest.mark.parametrize("version", lab.OLD_VERSIONS)
def test_older_gateways_are_followed(
    openclaw_starter: Any, meter_factory: Any, version: str
) -> None:
    real: lab.RealOpenClaw = openclaw_starter(version)
    meter = meter_factory(real.home, gateway=True)
    # 2026.2 tells of tools only those who started the run.
    follow_a_gateway(real, meter, tells_tools=version > "2026.4")


@pytest.mark.openclaw_all
@pytest.mark.parametrize("version", lab.OLD_VERSIONS)
def test_older_versions_add_up_to_the_visible_bill(openclaw_starter: Any, version: str) -> None:
    real: lab.RealOpenClaw = openclaw_starter(version)
    real.drive()
    real.down()
    bill = real.bill()
    found = oracle.Oracle(real.home).result()
    assert same_names(found)["totals"] == named(bill)["totals"]
    for group in ("by_agent", "by_model", "by_provider"):
        assert same_names(found[group]) == named(bill[group]), group
