"""The Flow page's query: nodes and edges add up to what usage says, message by message and tool by tool."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import ledgers
import pytest
from gateway_server import TOKEN, FakeGateway, start, tool
from handmade import MINUTE, NOW, T0, HandmadeHome, Reader, call, header, result, user
from served import Served, wait_until

import clawmeter
from clawmeter import FlowGraph

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
DAY = 24 * 60 * MINUTE
#: agent, session, key, channel
SESSIONS = (
    ("main", "s-chat", "agent:main:telegram:direct:7", "telegram"),
    ("main", "s-web", "agent:main:main", "webchat"),
    ("ops", "s-slack", "agent:ops:slack:channel:9", "slack"),
    ("ops", "s-cron", "agent:ops:cron:job-1:run:s-cron", None),
)
MODELS = (("acme", "acme-1"), ("acme", "acme-2"), ("other", "acme-1"), ("local", "tiny"))
TOOLS = ((), (), ("exec",), ("exec", "read"), ("read", "exec", "write"), ("web",) * 3)
RANGES: tuple[Json, ...] = (
    {"from_": "all"},
    {"from_": "7d"},
    {"from_": "7d", "tz": "Pacific/Chatham"},
    {"from_": "2026-10-30T05:07", "to": "2026-11-05T17:13"},
    {"from_": "2026-11-04T10:01", "to": "2026-11-04T10:20"},
    {"from_": "2020-01-01", "to": "2020-01-02"},
)
FILTERS: tuple[Json, ...] = ({}, {"agent": "ops"}, {"channel": "(none)"}, {"model": "acme-1"}, {"provider": "acme", "cause": "user"})  # fmt: skip


def write_home(path: Path) -> HandmadeHome:
    """Ten days of calls, of which some fail and some have tools, and the messages around them."""
    home = HandmadeHome(path)
    rng = random.Random(11)
    for agent, sid, _, _ in SESSIONS:
        first = T0 - 10 * DAY
        entries: list[Any] = [header(sid, first)]
        for n in range(150):
            when = first + n * 96 * MINUTE + rng.randrange(90 * MINUTE)
            entries.append(user(f"{sid}-u{n}", when))
            provider, model = rng.choice(MODELS)
            tools = rng.choice(TOOLS)
            failed = {} if rng.random() < 0.9 else {"stopReason": "error"}
            usage = (rng.randrange(5000), rng.randrange(900), rng.randrange(10**6), 0)
            entries.append(call(f"{sid}-c{n}", when + 3000, usage, 0.1 + rng.random(), tools=tools, provider=provider, model=model, **failed))  # fmt: skip
            for place, name in enumerate(tools):
                entries.append(result(f"{sid}-r{n}-{place}", when + 5000, name, failed=rng.random() < 0.2, durationMs=rng.randrange(4000)))  # fmt: skip
        home.write(sid, entries, agent=agent)
    for agent in ("main", "ops"):
        keys = {key: {"sessionId": sid, "channel": channel} for a, sid, key, channel in SESSIONS if a == agent}  # fmt: skip
        home.index(keys, agent=agent)
    return home


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, cache_home: Path) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("flow")
    home = write_home(folder / "home")

    def factory(path: Any, **options: Any) -> clawmeter.Clawmeter:
        settings = clawmeter.Settings(state_dir=folder / "state", homes=(path,), time_zone="UTC", **options)  # fmt: skip
        env = {"HOME": str(folder), "XDG_CACHE_HOME": str(cache_home)}
        return clawmeter.Clawmeter(settings, env=env)

    made = Reader(factory, home.path)
    made.read()
    ledgers.at(made.meter, NOW)
    yield made
    made.meter.stop()


@pytest.fixture(params=("slots", "days"))
def queries(request: Any, reader: Reader) -> clawmeter.Queries:
    """Once with the day rows of each zone asked for, once without any."""
    with reader.meter.store.transaction() as db:
        for table in (*clawmeter.ZONE_TABLES, "zones"):
            db.execute(f"DELETE FROM {table}")
    if request.param == "days":
        for zone in ("UTC", "Pacific/Chatham"):
            reader.meter.store.use_zone(zone)
    return reader.meter.queries


def by_key(answer: Json, kind: str) -> dict[str, Json]:
    return {node["key"]: node for node in answer["nodes"] if node["kind"] == kind}


KINDS = {"channel": "channel", "agent": "agent", "model": "provider_model", "tool": "tool"}
SHARED = ("model_calls", "total_tokens", "cost_nano_usd", "plan_cost_nano_usd", "unpriced_calls")


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("when", RANGES, ids=str)
def test_nodes_are_the_rows_of_usage_to_the_nano_dollar(queries: clawmeter.Queries, when: Json, filters: Json) -> None:  # fmt: skip
    answer = queries.flow(**when, **filters)
    usage = queries.usage(**when, **filters, by="agent")
    assert answer["totals"] == usage["totals"]
    assert (answer["from_ms"], answer["to_ms"]) == (usage["from_ms"], usage["to_ms"])
    for kind, by in KINDS.items():
        rows = {row["key"]: {name: row[name] for name in SHARED} for row in queries.usage(**when, **filters, by=by)["rows"]}  # fmt: skip
        nodes = {key: {name: node[name] for name in SHARED} for key, node in by_key(answer, kind).items()}  # fmt: skip
        assert nodes == rows, kind
    assert list(by_key(answer, "gateway")) == ([""] if usage["totals"]["model_calls"] else [])


@pytest.mark.parametrize("when", RANGES, ids=str)
def test_what_comes_into_a_node_goes_out_of_it(queries: clawmeter.Queries, when: Json) -> None:
    answer = queries.flow(**when)
    for node in answer["nodes"]:
        for name in ("model_calls", "total_tokens", "cost_nano_usd"):
            into = [e[name] for e in answer["edges"] if e["to"] == node["id"]]
            out = [e[name] for e in answer["edges"] if e["from"] == node["id"]]
            assert sum(into) == (0 if node["kind"] == "channel" else node[name])
            assert sum(out) == (0 if node["kind"] == "tool" else node[name])
    known = {node["id"] for node in answer["nodes"]}
    assert {end for e in answer["edges"] for end in (e["from"], e["to"])} <= known


@pytest.mark.parametrize("when", RANGES, ids=str)
def test_messages_errors_and_times_are_those_of_the_entries(queries: clawmeter.Queries, reader: Reader, when: Json) -> None:  # fmt: skip
    answer = queries.flow(**when)
    inside = f"ts_ms >= {answer['from_ms']} AND ts_ms < {answer['to_ms']}"
    sql = reader.sql
    users = dict(sql(f"SELECT s.agent, count(*) FROM messages m JOIN sessions s ON s.id = m.session WHERE m.kind = 'user' AND {inside} GROUP BY 1"))  # fmt: skip
    found = {key: node["messages"] for key, node in by_key(answer, "agent").items()}
    assert found == {agent: users.get(agent, 0) for agent in found}
    gateway = by_key(answer, "gateway").get("")
    if gateway:
        assert gateway["messages"] == sum(found.values()) == sum(n["messages"] for n in by_key(answer, "channel").values())  # fmt: skip
        into = {e["from"]: e["messages"] for e in answer["edges"] if e["to"] == "gateway:"}
        assert into == {n["id"]: n["messages"] for n in by_key(answer, "channel").values()}
    tools = {
        name: (calls, failed, round(took / calls))
        for name, calls, failed, took in sql(f"SELECT tool, count(*), sum(is_error), sum(duration_ms) FROM messages WHERE kind = 'toolResult' AND {inside} GROUP BY 1")
    }  # fmt: skip
    told = {key: (n["tool_calls"], n["errors"], n["latency_ms"]) for key, n in by_key(answer, "tool").items() if key != "(none)"}  # fmt: skip
    assert told == {name: tools.get(name, (None, None, None)) for name in told}
    failed = dict(sql(f"SELECT m.provider || '/' || m.model, sum(c.stop_reason = 'error') FROM model_calls c JOIN models m ON m.id = c.model WHERE {inside} GROUP BY 1"))  # fmt: skip
    models = by_key(answer, "model")
    assert {key: node["errors"] for key, node in models.items()} == failed
    assert {node["latency_ms"] for node in models.values()} <= {1500}


def test_what_belongs_to_no_model_is_not_known_with_a_filter_on_one(queries: clawmeter.Queries) -> None:  # fmt: skip
    assert by_key(queries.flow(from_="all", agent="ops"), "agent")["ops"]["messages"] == 300
    for filters in ({"model": "acme-1"}, {"provider": "acme"}, {"cause": "user"}):
        answer = queries.flow(from_="all", **filters)
        assert {n["messages"] for n in answer["nodes"]} == {None}
        assert {n["errors"] for n in by_key(answer, "tool").values()} == {None}
        assert None not in {n["errors"] for n in by_key(answer, "agent").values()}


def test_a_tool_behind_the_wrapper_has_calls_and_no_errors(tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    """2026.9 writes which tool `tool_call` called, and not how that ended."""
    home = HandmadeHome(tmp_path / "home")
    wrapped = call("c1", T0 + 2000, tools=["tool_call"])
    wrapped["message"]["content"][-1]["arguments"] = {"id": "web_fetch", "args": {}}
    nested = {"type": "message", "id": "n1", "parentId": "c1", "timestamp": result("x", T0 + 3000)["timestamp"], "message": {
        "role": "custom", "customType": "openclaw.nested-tool.v1", "excludeFromContext": True, "details": {"toolName": "web_fetch"}, "timestamp": T0 + 3000,
    }}  # fmt: skip
    home.write("s", [header("s"), user("u", T0), wrapped, nested, result("r1", T0 + 4000, "tool_call", failed=True), call("c2", T0 + 9000, tools=["exec"]), result("r2", T0 + 9500, "exec", failed=True, durationMs=40)])  # fmt: skip
    meter = ledgers.at(meter_factory(home.path), NOW)
    meter.index()
    tools = by_key(meter.queries.flow(from_="all"), "tool")
    assert set(tools) == {"web_fetch", "exec"}
    assert (tools["web_fetch"]["tool_calls"], tools["web_fetch"]["errors"], tools["web_fetch"]["latency_ms"]) == (1, None, None)  # fmt: skip
    assert (tools["exec"]["tool_calls"], tools["exec"]["errors"], tools["exec"]["latency_ms"]) == (1, 1, 40)  # fmt: skip


def test_day_rows_of_messages_follow_the_ledger(tmp_path: Path, meter_factory: Any) -> None:
    """Written live, after a fork that takes entries over, and in a ledger that had none yet."""
    home = HandmadeHome(tmp_path / "home")
    talk = [header("late", T0 + MINUTE), user("u1", T0), call("c1", T0 + 2000, tools=["exec"]), result("r1", T0 + 3000)]  # fmt: skip
    home.write("late", talk)
    meter = meter_factory(home.path)
    meter.index()
    for zone in ("UTC", "Asia/Kolkata"):
        meter.store.use_zone(zone)
    assert ledgers.rollup_differences(meter.store) == []
    home.write("early", [header("early", T0 - MINUTE), *talk[1:], user("u2", T0 + DAY), result("r2", T0 + DAY, failed=True)])  # fmt: skip
    meter.index()
    assert ledgers.rollup_differences(meter.store) == []
    with meter.store.reading() as db:
        owners = db.execute("SELECT DISTINCT s.session_id FROM usage_message_days d JOIN sessions s ON s.id = d.session WHERE d.user_messages > 0").fetchall()  # fmt: skip
    assert owners == [("early",)]
    before = meter.queries.flow(from_="all")["nodes"]
    with meter.store.transaction() as db:
        db.execute("DROP TABLE usage_message_days")
    meter.stop()
    again = meter_factory(home.path, state_dir=meter.settings.state_dir)
    assert ledgers.rollup_differences(again.store) == []
    assert again.queries.flow(from_="all")["nodes"] == before


def test_beyond_a_hundred_of_a_kind_the_smallest_are_one() -> None:
    graph = FlowGraph()
    graph.add(
        ((("agent", f"a{n}"), ("model", f"m{n % 3}")), clawmeter.Sums([1, n, 0, 0, 0, 1000 - n, 0, 0, 0, n % 2, 10]))
        for n in range(150)
    )  # fmt: skip
    for n in range(150):
        graph.run([("agent", f"a{n}")])
    whole = graph.limited(100)
    agents = [node for node in whole.ranked() if node[0] == "agent"]
    assert len(agents) == 101
    assert ("agent", "a99") in agents
    assert ("agent", "a100") not in agents
    other = ("agent", "(other)")
    assert whole.nodes[other].values[0] == whole.running[other] == 50
    assert whole.nodes[other].values[5] == sum(1000 - n for n in range(100, 150))
    assert sum(s.values[5] for s in whole.edges.values()) == sum(1000 - n for n in range(150))


def test_running_sessions_light_up_what_they_run_through(tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    now = int(time.time() * 1000)
    home = HandmadeHome(tmp_path / "home")
    home.write("s-one", [header("s-one", now - MINUTE), user("u1", now - MINUTE), call("c1", now - 50_000)])  # fmt: skip
    home.index({"agent:main:one": {"sessionId": "s-one", "channel": "telegram"}})
    gateway = FakeGateway()
    served = Served(meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN))  # fmt: skip

    def nodes() -> dict[str, Any]:
        return {n["id"]: n["running"] for n in served.get("/api/flow")["nodes"]}

    try:
        connection = gateway.client()
        wait_until(lambda: served.meter.gateway_state.status == "connected")
        assert nodes() == {"channel:telegram": 0, "gateway:": 0, "agent:main": 0, "model:acme/acme-1": 0, "tool:(none)": 0}  # fmt: skip
        about = {"sessionKey": "agent:main:one", "sessionId": "s-one", "ts": now}
        connection.say(start(seq=1, **about))
        model = {"phase": "model", "provider": "acme", "model": "acme-2"}
        connection.say({**start(seq=2, **about), "payload": {**start(**about)["payload"], "data": model}})  # fmt: skip
        connection.say(tool("start", "web_search", seq=3, **about))
        wait_until(lambda: "tool:web_search" in nodes(), "the tool")
        assert nodes() == {"channel:telegram": 1, "gateway:": 1, "agent:main": 1, "model:acme/acme-1": 0, "model:acme/acme-2": 1, "tool:web_search": 1, "tool:(none)": 0}  # fmt: skip
        assert served.get("/api/flow", agent="ops")["nodes"] == []
        gateway.stop()
        wait_until(lambda: served.meter.gateway_state.status == "unreachable")
        assert {i: r for i, r in nodes().items() if i[:5] in ("model", "tool:")} == {"model:acme/acme-1": None, "tool:(none)": None}  # fmt: skip
    finally:
        served.stop()
