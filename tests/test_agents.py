"""Agents and sub-agents: what configs, disk and ledger say of them; and that memory files lead nowhere else."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from handmade import MINUTE, NOW, T0, HandmadeHome, call, header, iso, result, user
from homes import ERAS
from test_cli import UNSAFE

import clawmeter
from clawmeter import MAX_MEMORY_BYTES, QueryError, parse_agents, read_subagent_tasks

if TYPE_CHECKING:
    from collections.abc import Callable

# --- what a config says ----------------------------------------------------------------------------

HOME = Path("/u/.openclaw")


def agents_of(config: dict[str, Any]) -> dict[str, clawmeter.AgentConfig]:
    return parse_agents(config, HOME, {"HOME": "/u"})


@pytest.mark.parametrize("era", ["list", "entries"])
def test_an_agent_in_both_eras(era: str) -> None:
    ops = {
        "identity": {"name": "Felix"}, "workspace": "~/ops", "model": {"primary": "acme/big", "fallbacks": ["acme/small", 5]},
        "heartbeat": {"every": "1h", "activeHours": {"start": "07:00", "end": "23:00"}}, "tools": {"profile": "coding", "deny": ["browser"]},
    }  # fmt: skip
    both = {"main": {"default": True}, "Ops": ops}
    listed = both if era == "entries" else [{"id": name, **entry} for name, entry in both.items()]
    found = agents_of({
        "agents": {era: listed, "defaults": {"model": "acme/usual", "heartbeat": {"model": "acme/cheap"}}},
        "tools": {"allow": ["exec"]}, "channels": {"telegram": {}, "slack": {"enabled": False}, "defaults": {}},
        "bindings": [{"agentId": "ops", "match": {"channel": "discord"}}, "odd", {"match": 5}],
    })  # fmt: skip
    assert list(found) == ["main", "ops"]
    main, felix = found["main"], found["ops"]
    assert (main.is_default, main.model, main.channels) == (True, "acme/usual", ("telegram",))
    assert main.heartbeat is not None, "only those with a block of their own have a heartbeat"
    assert main.heartbeat["every"] is None
    assert main.workspaces == ("/u/.openclaw/workspace",)
    assert (felix.name, felix.model, felix.fallbacks) == ("Felix", "acme/big", ("acme/small", "5"))
    assert felix.heartbeat == {"every": "1h", "model": "acme/cheap", "hours": "07:00–23:00"}
    assert felix.tools == {"profile": "coding", "allow": ["exec"], "deny": ["browser"]}
    assert (felix.workspaces, felix.channels) == (("/u/ops",), ("discord",))


def test_heartbeat_of_the_defaults_is_that_of_one_agent() -> None:
    config = {"agents": {"defaults": {"heartbeat": {"every": "15m"}}, "entries": {"a": {}, "b": {}}}}  # fmt: skip
    assert [a.heartbeat for a in agents_of(config).values()] == [None, None]
    config["agents"]["defaults"]["heartbeat"]["agentId"] = "b"
    assert [a.heartbeat and a.heartbeat["every"] for a in agents_of(config).values()] == [None, "15m"]  # fmt: skip
    config["agents"]["entries"] = {"only": {}}
    assert agents_of(config)["only"].heartbeat == {"every": "15m", "model": None, "hours": None}


@pytest.mark.parametrize("odd", [
    {"agents": 5}, {"agents": {"list": "x"}}, {"agents": {"entries": {"a": 5}}}, {"agents": {"list": [{"id": 7, "model": [], "workspace": 5, "heartbeat": "x", "tools": 3, "identity": []}]}},
    {"agents": {"entries": {"a": {"workspace": "relative", "model": {"fallbacks": "x"}, "heartbeat": {"every": 5, "activeHours": 5}}}}, "channels": [], "bindings": {}, "tools": []},
    {"agents": {"entries": {"a": {"workspace": "/w\u0000x"}}}}, {"agents": {"entries": {"": {}, "../up": {}}}},
])  # fmt: skip
def test_odd_configs_are_taken_for_what_can_be_told(odd: dict[str, Any]) -> None:
    for agent in agents_of(odd).values():
        assert all(Path(place).is_absolute() for place in agent.workspaces)


# --- every agent ------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    """Two agents of the config, one that is only a folder, one that is gone from both."""
    entries = {
        "main": {"default": True, "workspace": str(tmp_path / "w"), "model": "acme/acme-1", "identity": {"name": "Juniper"}},
        "quiet": {"workspace": str(tmp_path / "none")},
    }  # fmt: skip
    made = HandmadeHome(tmp_path / "home", agents={"entries": entries}, channels={"telegram": {}})
    made.write("m1", [header("m1", NOW - MINUTE), user("u1", NOW - MINUTE), call("a", NOW - MINUTE + 1, cost=0.5, tools=["exec"])])  # fmt: skip
    made.write("m2", [header("m2"), call("b", T0, cost=0.25), result("r", T0 + 1)])
    made.write("g1", [header("g1"), call("c", T0, cost=2.0)], agent="gone")
    made.sessions("folder")
    made.index({"agent:main:telegram:direct:7": {"sessionId": "m1", "channel": "telegram"}, "agent:main:main": "m2"})  # fmt: skip
    made.index({"agent:gone:main": "g1"}, agent="gone")
    workspace = tmp_path / "w"
    (workspace / "memory").mkdir(parents=True)
    (workspace / "SOUL.md").write_text("# Soul\n")
    (workspace / "secret.md").write_text("not a memory file")
    for day in ("2026-11-04", "2026-11-05"):
        (workspace / "memory" / f"{day}.md").write_text(f"# {day}\n")
    return made


@pytest.fixture
def meter(home: HandmadeHome, meter_factory: Any) -> clawmeter.Clawmeter:
    made: clawmeter.Clawmeter = meter_factory(home.path)
    made.clock = made.queries.clock = lambda: NOW / 1000
    made.index()
    return made


def delete_agent(home: HandmadeHome, name: str) -> None:
    folder = home.state / "agents" / name
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def test_agents_of_config_disk_and_ledger(meter: Any, home: HandmadeHome) -> None:
    delete_agent(home, "gone")
    answer = meter.queries.agents(from_="all")
    rows = {r["id"]: r for r in answer["rows"]}
    assert list(rows) == ["gone", "main", "folder", "quiet"], "dearest first"
    told = {k: (r["configured"], r["on_disk"], r["state"], r["sessions"], r["cost_nano_usd"]) for k, r in rows.items()}  # fmt: skip
    assert told == {
        "gone": (False, False, "ended", 1, 2_000_000_000), "main": (True, True, "running", 2, 750_000_000),
        "folder": (False, True, None, 0, 0), "quiet": (True, False, None, 0, 0),
    }  # fmt: skip
    main = rows["main"]
    assert (main["name"], main["running"], main["last_activity_ms"]) == ("Juniper", 1, NOW - MINUTE + 1)  # fmt: skip
    assert (main["model"], main["channels"], main["files_count"]) == ("acme/acme-1", ["telegram"], 3)  # fmt: skip
    assert sum(r["cost_nano_usd"] for r in rows.values()) == answer["totals"]["cost_nano_usd"]
    today = {r["id"]: r["cost_nano_usd"] for r in meter.queries.agents(from_="today")["rows"]}
    assert (today["main"], today["gone"]) == (500_000_000, 0)
    assert [r["id"] for r in meter.queries.agents(agent="main")["rows"]] == ["main"]


def test_a_config_that_changes_is_seen(meter: Any, home: HandmadeHome) -> None:
    config = json.loads((home.state / "openclaw.json").read_text())
    config["agents"]["entries"]["new"] = {"identity": {"name": "Newcomer"}}
    (home.state / "openclaw.json").write_text(json.dumps(config))
    rows = {r["id"]: r["name"] for r in meter.queries.agents()["rows"]}
    assert rows["new"] == "Newcomer"


def test_one_agent(meter: Any) -> None:
    one = meter.queries.agent("main", from_="all")
    listed = next(r for r in meter.queries.agents(from_="all")["rows"] if r["id"] == "main")
    assert {k: one[k] for k in listed} == listed
    for part in ("by_model", "by_channel", "by_cause", "by_tool"):
        assert sum(r["cost_nano_usd"] for r in one[part]) == one["cost_nano_usd"], part
    assert [r["id"] for r in one["recent"]] == ["m1", "m2"]
    assert [f["name"] for f in one["files"]] == ["SOUL.md", "memory/2026-11-05.md", "memory/2026-11-04.md"]  # fmt: skip
    assert one["files"][0]["size_bytes"] == 7
    assert sum(one["spark_nano_usd"]) == one["cost_nano_usd"]
    quiet = meter.queries.agent("quiet")
    assert quiet["files"] == []
    assert "cannot list" in quiet["files_problem"]
    with pytest.raises(QueryError, match="no agent nobody"):
        meter.queries.agent("nobody")


@pytest.mark.parametrize("era", ERAS)
def test_agents_of_made_homes_add_up(era: str, home_factory: Any, meter_factory: Any) -> None:
    made = home_factory(era, copy=False, sessions=40, messages=1000)
    meter = meter_factory(made.path)
    meter.index()
    rows = {r["id"]: r["recorded_cost_nano_usd"] for r in meter.queries.agents(from_="all")["rows"]}
    assert {k: v for k, v in rows.items() if v} == {k: t["cost_nano"] for k, t in made.truth["by_agent"].items() if t["cost_nano"]}  # fmt: skip


# --- memory files -----------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path, meter: Any) -> Path:
    return tmp_path / "w"


def refused(meter: Any, name: str) -> str:
    with pytest.raises(QueryError) as caught:
        meter.queries.memory_file("main", name)
    assert caught.value.status == 404
    return str(caught.value)


def test_a_memory_file_is_read(meter: Any, workspace: Path) -> None:
    path = workspace / "memory" / "2026-11-05.md"
    path.write_bytes("# Grüße\n".encode() + b"\xff\x00")
    told = meter.queries.memory_file("main", "memory/2026-11-05.md")
    info = path.stat()
    assert told == {
        "agent": "main", "name": "memory/2026-11-05.md", "size_bytes": info.st_size, "changed_ms": info.st_mtime_ns // 10**6,
        "text": "# Grüße\n\ufffd\ufffd", "clipped": False,
    }  # fmt: skip


def test_a_huge_file_is_cut(meter: Any, workspace: Path) -> None:
    path = workspace / "MEMORY.md"
    with path.open("wb") as file:
        file.write(b"x" * 10)
        file.truncate(50_000_000_000)  # takes no room on the disk
    told = meter.queries.memory_file("main", "MEMORY.md")
    assert (len(told["text"]), told["clipped"], told["size_bytes"]) == (MAX_MEMORY_BYTES, True, 50_000_000_000)  # fmt: skip
    path.write_bytes(b"y" * MAX_MEMORY_BYTES)
    assert meter.queries.memory_file("main", "MEMORY.md")["clipped"] is False


@pytest.mark.parametrize("name", [
    "secret.md", "../home/.openclaw/openclaw.json", "memory/../SOUL.md", "memory/../../w/SOUL.md", "/etc/passwd", "memory//x.md", "memory/sub/x.md",
    "SOUL.md/", "./SOUL.md", "soul.md", "SOUL.md\x00", "SOUL\u200b.md", "memory/a\u202egpj.md", "memory/a\x00.md", "memory/.hidden.md", "memory/..md", "memory/.md",
    "memory/x.txt", "memory/" + "x" * 300 + ".md", "memory\\\\x.md", "memory/a\\\\b.md", "", ".", "..", "memory", "memory/", "\udcff.md", "memory/\udcff.md", "C:SOUL.md",
])  # fmt: skip
def test_names_that_are_none_of_a_memory_file(meter: Any, workspace: Path, name: str) -> None:
    (workspace / "memory" / "sub").mkdir()
    (workspace / "memory" / "sub" / "x.md").write_text("x")
    (workspace / "memory" / ".hidden.md").write_text("x")
    said = refused(meter, name)
    assert "not the name of a memory file" in said
    assert not UNSAFE.search(said)


def make_link(path: Path, outside: Path) -> str:
    path.symlink_to(outside)
    return "link"


def make_hard_link(path: Path, outside: Path) -> str:
    os.link(outside, path)
    return "hard link"


def make_fifo(path: Path, _: Path) -> str:
    os.mkfifo(path)
    return "not a plain file"


def make_socket(path: Path, _: Path) -> str:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)
    return "not a plain file"


def make_folder(path: Path, _: Path) -> str:
    path.mkdir()
    return "not a plain file"


def make_device(path: Path, _: Path) -> str:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 9))  # /dev/urandom
    except PermissionError:
        pytest.skip("only root makes devices")
    return "not a plain file"


def make_chain(path: Path, outside: Path) -> str:
    (path.parent / "step").symlink_to(outside)
    path.symlink_to("step")
    return "link"


MAKERS = [make_link, make_hard_link, make_fifo, make_socket, make_folder, make_device, make_chain]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["MEMORY.md", "memory/2026-11-01.md"])
def test_what_stands_in_the_place_of_a_file_is_not_opened(
    meter: Any, workspace: Path, home: HandmadeHome, name: str, make: Callable[[Path, Path], str]
) -> None:
    why = make(workspace / name, home.state / "openclaw.json")
    assert why in refused(meter, name)
    listed = {f["name"]: f for f in meter.queries.agent("main")["files"]}
    assert why in listed[name]["problem"]
    assert listed[name]["size_bytes"] == 0, "nor is anything told about what it leads to"
    assert listed["SOUL.md"]["problem"] is None


def test_a_folder_that_is_a_link_is_not_entered(meter: Any, workspace: Path, tmp_path: Path) -> None:  # fmt: skip
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary.md").write_text("private")
    (workspace / "memory").rename(workspace / "was")
    (workspace / "memory").symlink_to(outside)
    assert "link" in refused(meter, "memory/diary.md")
    one = meter.queries.agent("main")
    assert [f["name"] for f in one["files"]] == ["SOUL.md"]
    assert "link" in one["files_problem"]


def test_a_swap_between_looking_and_opening_is_noticed(meter: Any, workspace: Path, home: HandmadeHome, monkeypatch: Any) -> None:  # fmt: skip
    """Another file takes the place of the one that was looked at."""
    path, real = workspace / "SOUL.md", clawmeter.complain_of_file
    other = workspace / "other.md"
    other.write_text("swapped in")
    swaps: list[Callable[[], Any]] = []

    def look(info: os.stat_result, **more: Any) -> str | None:
        if swaps:
            swaps.pop()()
        return real(info, **more)

    monkeypatch.setattr(clawmeter, "complain_of_file", look)
    swaps.append(lambda: other.replace(path))
    assert "changed while it was opened" in refused(meter, "SOUL.md")

    def link() -> None:
        path.unlink()
        path.symlink_to(home.state / "openclaw.json")

    swaps.append(link)
    assert "cannot read" in refused(meter, "SOUL.md")


def test_names_that_cannot_be_seen_are_listed_as_refused(meter: Any, workspace: Path) -> None:
    for name in ("a\u200b.md", "b\u202egpj.md", "c\nd.md"):
        (workspace / "memory" / name).write_text("x")
    (workspace / "memory" / os.fsdecode(b"\xff.md")).write_text("x")
    files = meter.queries.agent("main")["files"]
    odd = [f for f in files if f["problem"]]
    assert len(odd) == 4
    assert all("cannot be seen" in f["problem"] for f in odd)
    assert not any(c in f["name"] for f in files for c in "\u202e\n\udcff")


def test_over_http(meter: Any, workspace: Path) -> None:
    client = clawmeter.create_app(meter).test_client()
    path = "/api/memory/main/SOUL.md"
    assert client.get(path).status_code == 401
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    assert client.get(path).json["text"] == "# Soul\n"
    assert client.get("/api/memory/main/memory/2026-11-05.md").json["text"] == "# 2026-11-05\n"
    assert client.get("/api/memory/main/memory%2F2026-11-05.md").json["text"] == "# 2026-11-05\n"
    for path in ("/api/memory/main/../main/secret.md", "/api/memory/main/%2e%2e/w/SOUL.md", "/api/memory/nobody/SOUL.md", "/api/memory/main%2f..%2fmain/SOUL.md",
                 "/api/memory/main/..%2f..%2fhome%2f.openclaw%2fopenclaw.json", "/api/memory/main@other/SOUL.md"):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "text" not in answer.json
    assert workspace.is_dir()


# --- sub-agents -------------------------------------------------------------------------------------

RUNS = {
    # name: (outcome, ended, reason, status of the index, what it is)
    "done": ("ok", True, "subagent-complete", "done", "done"),
    "failed": ("error", True, "subagent-error", "failed", "failed"),
    "killed": ("error", True, "subagent-killed", "failed", "killed"),
    "late": ("timeout", True, None, "timeout", "timed_out"),
    "quick": (None, True, None, None, "done"),
    "busy": (None, False, None, "running", "running"),
    "lost": (None, False, None, None, None),
    "known": (None, False, None, "failed", "failed"),
    "index": (None, None, None, "killed", "killed"),
}


def runs_of(kind: str, task: str = "the task of {}") -> list[dict[str, Any]]:
    """The runs as OpenClaw keeps them: 2026.2 flat, later in `execution` as well."""
    out = []
    for name, (outcome, ended, reason, _, _) in RUNS.items():
        if ended is None:
            continue
        done = T0 + 90_000 if ended else None
        fate = {"status": outcome} if outcome else None
        run = {
            "runId": f"run-{name}", "childSessionKey": f"agent:main:subagent:{name}", "requesterSessionKey": "agent:main:main", "task": task.format(name),
            "label": f"label {name}", "createdAt": T0, "endedReason": reason,
        }  # fmt: skip
        flat = {"startedAt": T0 + 1000, "endedAt": done, "outcome": fate}
        run |= {"execution": {"status": "terminal" if ended else "running", **flat}} if kind == "latest" else flat  # fmt: skip
        out.append({k: v for k, v in run.items() if v is not None})
    return out


def write_runs(home: HandmadeHome, kind: str, runs: list[dict[str, Any]]) -> None:
    if kind == "feb":
        (home.state / "subagents").mkdir(exist_ok=True)
        (home.state / "subagents" / "runs.json").write_text(json.dumps({"version": 2, "runs": {r["runId"]: r for r in runs}}))  # fmt: skip
        return
    (home.state / "state").mkdir(exist_ok=True)
    with sqlite3.connect(home.state / "state" / "openclaw.sqlite") as db:
        columns = "run_id TEXT PRIMARY KEY, child_session_key, requester_session_key, created_at, payload_json"
        if kind == "mid":
            columns += ", label, task, started_at, ended_at, outcome_json, ended_reason"
        db.execute(f"CREATE TABLE IF NOT EXISTS subagent_runs ({columns})")
        for r in runs:
            row = [r["runId"], r["childSessionKey"], r["requesterSessionKey"], r["createdAt"], json.dumps(r)]  # fmt: skip
            if kind == "mid":
                row += [r["label"], None, r.get("startedAt"), r.get("endedAt"), json.dumps(r.get("outcome")), r.get("endedReason")]  # fmt: skip
            db.execute(f"INSERT OR REPLACE INTO subagent_runs VALUES ({', '.join('?' * len(row))})", row)  # fmt: skip
    db.close()


@pytest.fixture(params=["feb", "mid", "latest"])
def swarm(request: Any, tmp_path: Path, meter_factory: Any) -> tuple[Any, HandmadeHome, str]:
    """A session with a sub-agent of every fate, in the three ways of keeping them."""
    home = HandmadeHome(tmp_path / "swarm")
    home.write("top", [header("top"), call("t", T0, cost=1.0)])
    index: dict[str, Any] = {"agent:main:main": "top"}
    for name, (*_, status, _) in RUNS.items():
        home.write(name, [header(name, T0 + 500), user(f"u{name}", T0 + 1000), call(f"c{name}", T0 + 2000, cost=0.125, tools=["exec"]), result(f"r{name}", T0 + 3000, failed=True)])  # fmt: skip
        index[f"agent:main:subagent:{name}"] = {"sessionId": name, "spawnedBy": "agent:main:main", **({"status": status} if status else {})}  # fmt: skip
    home.index(index)
    write_runs(home, request.param, runs_of(request.param))
    made = meter_factory(home.path)
    # `busy` is so by its last entry: nobody has noted an end.
    made.clock = made.queries.clock = lambda: (T0 + 5 * MINUTE) / 1000
    made.index()
    return made, home, request.param


def test_how_sub_agents_fare(swarm: tuple[Any, HandmadeHome, str]) -> None:
    meter, _, kind = swarm
    rows, count = meter.queries.subagents()
    told = {r["id"]: r for r in rows}
    assert count == len(RUNS) == len(told)
    # `lost`: nobody noted an end, but its last entry is young enough to be at work.
    expected = {name: fate or "running" for name, (*_, fate) in RUNS.items()}
    assert {name: r["run_state"] for name, r in told.items()} == expected
    later = (T0 + 60 * MINUTE) / 1000
    meter.clock = meter.queries.clock = lambda: later
    states = {r["id"]: r["run_state"] for r in meter.queries.subagents()[0]}
    assert states == {name: None if name in ("lost", "busy") else fate for name, (*_, fate) in RUNS.items()}  # fmt: skip
    done = told["done"]
    assert (done["task"], done["run_label"]) == ("the task of done", "label done")
    assert (done["depth"], done["parent_session"], done["model"]) == (1, "top", "acme-1")
    assert (done["runtime_ms"], told["index"]["runtime_ms"]) == (89_000, 2500)
    assert (done["tool_calls"], done["tool_errors"], done["cost_nano_usd"]) == (1, 1, 125_000_000)
    assert told["index"]["task"] is None, f"{kind}: a run that is not kept has no task"


@pytest.mark.parametrize("status", clawmeter.SUBAGENT_STATES)
def test_filters_and_pages_of_sub_agents(swarm: tuple[Any, HandmadeHome, str], status: str) -> None:
    queries = swarm[0].queries
    expected = {name for name, (*_, fate) in RUNS.items() if (fate or "running") == status}
    rows, count = queries.subagents(status=status)
    assert {r["id"] for r in rows} == expected
    assert count == len(expected)
    one, same = queries.subagents(status=status, limit="1", offset="0")
    assert (len(one), same) == (1, count)
    assert queries.subagents(q="subagent:killed")[1] == 1
    assert queries.subagents(agent="nobody") == ([], 0)
    assert queries.subagents(session="top", status=status)[1] == count
    assert queries.subagents(session="done") == ([], 0)
    assert queries.subagents(from_="2026-11-06", to="2026-11-07") == ([], 0)
    assert queries.subagents(model="acme-1")[1] == len(RUNS)
    with pytest.raises(QueryError):
        queries.subagents(status="odd")


def test_a_session_knows_who_it_was_spawned_for(swarm: tuple[Any, HandmadeHome, str]) -> None:
    queries = swarm[0].queries
    spawned = queries.session("killed")["spawned"]
    assert (spawned["task"], spawned["run_state"], spawned["depth"]) == ("the task of killed", "killed", 1)  # fmt: skip
    top = queries.session("top")
    assert top["spawned"] is None
    assert {r["id"]: r["run_state"] for r in top["subagents"]} == {r["id"]: r["run_state"] for r in queries.subagents()[0]}  # fmt: skip
    assert {r["id"]: r.get("run_state") for r in queries.live(limit="100")["rows"]}["failed"] == "failed"  # fmt: skip


def test_a_task_is_in_no_table_of_the_ledger(swarm: tuple[Any, HandmadeHome, str]) -> None:
    """It is a message: read when somebody looks, gone when OpenClaw has forgotten it."""
    meter, home, kind = swarm
    assert meter.queries.session("done")["spawned"]["task"]
    with meter.store.reading() as db:
        dump = "\n".join(db.iterdump())
    assert "label done" in dump
    assert "the task of" not in dump
    if kind == "feb":
        write_runs(home, kind, [])
    else:
        with sqlite3.connect(home.state / "state" / "openclaw.sqlite") as db:
            db.execute("DELETE FROM subagent_runs")
        db.close()
    meter.index()
    spawned = meter.queries.session("done")["spawned"]
    assert (spawned["task"], spawned["run_state"], spawned["run_label"]) == (None, "done", "label done")  # fmt: skip


def test_tasks_are_bounded_and_sound(swarm: tuple[Any, HandmadeHome, str]) -> None:
    meter, home, kind = swarm
    write_runs(home, kind, runs_of(kind, "\ud800" + "x" * 5000 + "{}"))
    task = meter.queries.session("done")["spawned"]["task"]
    assert len(task) == clawmeter.MAX_TASK
    assert task.encode()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"runs": 5}', b'{"runs": {"a": 5, "b": {"task": 5}}}'])  # fmt: skip
def test_odd_files_of_runs_have_no_tasks(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_bytes(content)
    assert read_subagent_tasks(str(path)) == {}


def test_the_end_of_a_sub_agent_is_told_to_open_pages(swarm: tuple[Any, HandmadeHome, str]) -> None:
    meter, home, kind = swarm
    page = meter.stream.subscribe()
    runs = runs_of(kind)
    for run in runs:
        if run["runId"] == "run-busy":
            end = {"endedAt": T0 + 4000, "outcome": {"status": "ok"}}
            run.update(end)
            run.get("execution", {}).update(end)
    write_runs(home, kind, runs)
    meter.index()
    told = b"".join(page._take(1) or [])
    assert b'"busy"' in told
    assert b'"done"' not in told, "nothing is new there"
    page.close()
    rows = {r["id"]: (r["run_state"], r["run_ended_ms"]) for r in meter.queries.subagents()[0]}
    assert rows["busy"][1] == T0 + 4000
    assert rows["done"] == ("done", T0 + 90_000)


# --- the tool behind tool_call ----------------------------------------------------------------------


def wrapped(eid: str, ms: int, tool: str) -> dict[str, Any]:
    entry = call(eid, ms, cost=0.5, tools=["tool_call"])
    entry["message"]["content"][-1]["arguments"] = {"id": tool, "args": {"q": 1}}
    return entry


def wrapped_result(eid: str, ms: int, of: str, details: dict[str, Any] | None) -> dict[str, Any]:
    entry = result(eid, ms, "tool_call")
    entry["message"] |= {"toolCallId": f"{of}-0", "details": details}
    return entry


TOOL = {"id": "openclaw:core:sessions_spawn", "source": "openclaw", "name": "sessions_spawn"}


def tools_of(meter: Any, session: str) -> dict[str, tuple[int, int, int | None]]:
    return {t["tool"]: (t["calls"], t["errors"], t["p50_ms"]) for t in meter.queries.session(session)["tools"]}  # fmt: skip


@pytest.mark.parametrize("asked", ["sessions_spawn", "openclaw:core:sessions_spawn"])
def test_results_behind_tool_call_are_booked_under_the_tool(
    asked: str, tmp_path: Path, meter_factory: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [
        header("s"), wrapped("a", T0, asked), wrapped_result("r1", T0 + 700, "a", {"tool": TOOL, "result": {}}),
        wrapped("b", T0 + 1000, asked), wrapped_result("r2", T0 + 1900, "b", {"tool": TOOL, "status": "timed_out"}),
        wrapped("c", T0 + 3000, "no_such_tool"), wrapped_result("r3", T0 + 3001, "c", None),
    ])  # fmt: skip
    meter = meter_factory(home.path)
    meter.index()
    assert tools_of(meter, "s") == {"sessions_spawn": (2, 1, 900), "no_such_tool": (1, 0, 1)}
    shown = meter.queries.transcript("s", kinds="errors")["entries"]
    assert [e["id"] for e in shown] == ["r2"], "the transcript calls the same an error"


def test_a_result_that_is_read_in_a_later_pass(tmp_path: Path, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), wrapped("a", T0, "sessions_spawn")])
    meter = meter_factory(home.path)
    meter.index()
    path = home.sessions() / "s.jsonl"
    with path.open("a") as file:
        entry = wrapped_result("r1", T0 + 700, "a", {"tool": TOOL})
        file.write(json.dumps(entry | {"timestamp": iso(T0 + 700)}) + "\n")
    meter.index()
    assert {tool: counts[:2] for tool, counts in tools_of(meter, "s").items()} == {"sessions_spawn": (1, 0)}  # fmt: skip


@pytest.mark.parametrize("details", [{"tool": "exec"}, {"tool": {"name": 5}}, {"tool": {"name": ""}}, {"tool": []}, {"status": []}])  # fmt: skip
def test_odd_details_of_a_wrapped_result(details: dict[str, Any], tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), call("a", T0), wrapped_result("r1", T0 + 700, "z", details)])
    meter = meter_factory(home.path)
    meter.index()
    assert tools_of(meter, "s") == {"tool_call": (0, 0, None)}
