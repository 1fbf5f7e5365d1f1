"""What OpenClaw writes while Clawmeter runs: it is seen, once, without a restart; and `serve` as a process."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import requests
from handmade import AgentDatabase, append, call, header, lines, session_of
from homes import ROOT
from ledgers import TRUTH_FIELDS
from served import PATIENCE_S, Served, append_calls, plus, process_env, tokens_and_money, wait_until
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from homes import HomeFactory, MadeHome

ServedFactory = Any


@pytest.fixture
def serve(meter_factory: Any) -> Iterator[ServedFactory]:
    """serve(home, ...): follow and serve homes; they have been read when this returns."""
    running: list[Served] = []

    def start(*homes: Path, **options: Any) -> Served:
        running.append(Served(meter_factory(*homes, **options)))
        return running[-1]

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def jsonl(home_factory: HomeFactory) -> MadeHome:
    return home_factory("jsonl-mid", sessions=12, messages=300)


def now_ms() -> int:
    return int(time.time() * 1000)


def worth(calls: int, *, first: int = 0) -> dict[str, int]:
    """What the calls of handmade.session_of() add up to."""
    numbers = range(first, first + calls)
    table = {
        "model_calls": calls,
        "input_tokens": sum(100 + n for n in numbers),
        "output_tokens": sum(10 + n for n in numbers),
        "cache_read_tokens": sum(n % 7 for n in numbers),
        "cache_write_tokens": sum(n % 3 for n in numbers),
        "recorded_cost_nano_usd": sum(1_000_000 * (n + 1) for n in numbers),
    }
    table["total_tokens"] = sum(table[name] for name in table if name.endswith("_tokens"))
    return {name: table[name] for name in TRUTH_FIELDS}


# Calls that are appended


@pytest.mark.parametrize(
    ("era", "options"),
    [
        ("jsonl-feb", []),
        ("jsonl-mid", ["--torn", "40", "--with-user"]),
        ("sqlite", ["--with-user"]),
        ("sqlite", ["--zstd", "--bytes", "3000"]),
        ("upgraded", ["--with-user"]),
    ],
)
def test_appended_calls_are_announced_and_add_up(
    era: str, options: list[str], home_factory: HomeFactory, serve: ServedFactory
) -> None:
    home = home_factory(era, sessions=12, messages=300)
    served = serve(home.path)
    before = tokens_and_money(home.truth["totals"])
    assert served.totals() == before
    by_agent = served.by("agent")
    with served.events() as events:
        written = append_calls(home.path, "--count", "6", "--rate", "40", *options)
        served.wait_for(plus(before, tokens_and_money(written)))
        told = wait_until(lambda: sum(e["calls"] for e in events.of("usage")) == 6, "the news")
        assert told
        assert {s for e in events.of("usage") for s in e["sessions"]} == {written["session_id"]}
    by_agent[written["agent"]] += 6
    assert served.by("agent") == by_agent
    row = served.get("/api/sessions", limit="1")[0]
    assert (row["id"], row["key"], row["state"]) == (
        written["session_id"], written["session_key"], "idle",
    )  # fmt: skip
    items = served.get("/api/timeline", session=row["id"])["items"]
    assert [i["stop_reason"] for i in items if i["kind"] == "model_call"][-6:] == ["stop"] * 6
    page = served.get(f"/api/transcript/{row['id']}", offset="0", limit="10000")
    assert page["entries"][-1]["text"].startswith("live call 5")
    today = tokens_and_money(served.get("/api/usage", **{"from": "today"})["totals"])
    assert today == tokens_and_money(written)
    assert served.meter.problems() == []
    served.meter.ingest_now()
    served.wait_for(plus(before, tokens_and_money(written)))


def test_two_writers_at_once(home_factory: HomeFactory, serve: ServedFactory) -> None:
    home = home_factory("upgraded", sessions=20, messages=400)
    served = serve(home.path)
    agents = [a for a, calls in served.by("agent").items() if calls][:2]
    writers = [
        subprocess.Popen(
            [*append_command(home.path), "--count", "15", "--rate", "30", "--agent", agent],
            stdout=subprocess.PIPE, text=True,
        )
        for agent in agents
    ]  # fmt: skip
    summaries = [json.loads(w.communicate()[0].splitlines()[-1])["summary"] for w in writers]
    written = [tokens_and_money(summary) for summary in summaries]
    served.wait_for(plus(tokens_and_money(home.truth["totals"]), *written))


def append_command(home: Path) -> list[str]:
    return [sys.executable, str(ROOT / "tests" / "corpus" / "append.py"), str(home)]


def test_without_file_events_everything_is_still_found(
    jsonl: MadeHome, serve: ServedFactory
) -> None:
    served = serve(jsonl.path, poll=True)
    assert served.meter.watcher.observer is None
    written = append_calls(jsonl.path, "--count", "3", "--rate", "50")
    added = jsonl.state / "agents" / "zeta" / "sessions"
    added.mkdir(parents=True)
    (added / "z1.jsonl").write_bytes(lines(session_of("z1", 3, now_ms())))
    before = tokens_and_money(jsonl.truth["totals"])
    served.wait_for(plus(before, tokens_and_money(written), worth(3)))


def test_a_line_in_pieces_is_counted_when_it_is_whole(
    jsonl: MadeHome, serve: ServedFactory
) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    bad_lines = served.get("/api/health")["coverage"]["bad_lines"]
    path = jsonl.state / "agents" / "main" / "sessions" / "torn.jsonl"
    whole = lines(session_of("torn", 2, now_ms()))
    cut = whole.rindex(b'"usage"')
    path.write_bytes(whole[:cut])
    served.wait_for(plus(before, worth(1)))
    with open(path, "ab") as file:
        file.write(whole[cut:])
    served.wait_for(plus(before, worth(2)))
    assert served.get("/api/health")["coverage"]["bad_lines"] == bad_lines


# Files, folders and databases that come and go


def test_new_sessions_and_agents_of_files_appear(jsonl: MadeHome, serve: ServedFactory) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    agents = jsonl.state / "agents"
    (agents / "main" / "sessions" / "new-1.jsonl").write_bytes(
        lines(session_of("new-1", 4, now_ms()))
    )
    served.wait_for(plus(before, worth(4)))
    # An agent as OpenClaw makes one: folder by folder, then the transcript grows.
    sessions = agents / "zeta" / "sessions"
    sessions.mkdir(parents=True)
    path = sessions / "new-2.jsonl"
    start = now_ms()
    entries = list(session_of("new-2", 5, start))
    path.write_bytes(lines(entries[:1]))
    for entry in entries[1:7]:
        append(path, [entry])
    served.wait_for(plus(before, worth(4), worth(3)))
    # It is followed like the others from now on, its index too.
    append(path, entries[7:])
    served.wait_for(plus(before, worth(4), worth(5)))
    index = {"agent:zeta:main": {"sessionId": "new-2", "updatedAt": start, "channel": "slack"}}
    (sessions / "sessions.json").write_text(json.dumps(index))
    wait_until(lambda: served.by("session_key").get("agent:zeta:main") == 5, "the key")
    assert served.by("agent")["zeta"] == 5
    assert served.by("channel")["slack"] >= 5
    assert served.meter.problems() == []


def test_new_sessions_and_agents_of_databases_appear(
    home_factory: HomeFactory, serve: ServedFactory
) -> None:
    home = home_factory("sqlite", sessions=12, messages=300)
    served = serve(home.path)
    before = served.totals()
    known = AgentDatabase(home.state / "agents" / "main" / "agent" / "openclaw-agent.sqlite")
    start = now_ms()
    known.add("new-1", session_of("new-1", 4, start))
    known.window("new-1", "agent:main:slack:channel:new", start, channel="slack")
    served.wait_for(plus(before, worth(4)))
    wait_until(lambda: served.by("session_key").get("agent:main:slack:channel:new") == 4, "the key")
    # Two agents, one after the other: the folders of the second come while the first is read.
    for number, agent in enumerate(("eta", "zeta"), 1):
        path = home.state / "agents" / agent / "agent" / "openclaw-agent.sqlite"
        path.parent.mkdir(parents=True)
        database = AgentDatabase(path)
        database.add(f"{agent}-1", session_of(f"{agent}-1", 3, start))
        served.wait_for(plus(before, worth(4), *[worth(3)] * number))
    database.add("zeta-2", session_of("zeta-2", 2, start))
    served.wait_for(plus(before, worth(4), worth(3), worth(3), worth(2)))
    assert {a: n for a, n in served.by("agent").items() if a.endswith("eta")} == {
        "eta": 3,
        "zeta": 5,
    }
    assert served.meter.problems() == []


def test_agent_that_is_deleted_and_made_again_is_followed(
    jsonl: MadeHome, serve: ServedFactory
) -> None:
    """Its folders have the names, and perhaps the inodes, of those that were listened to before."""
    served = serve(jsonl.path)
    before = served.totals()
    start = now_ms()
    for number in range(3):
        sessions = jsonl.state / "agents" / "zeta" / "sessions"
        sessions.mkdir(parents=True)
        path = sessions / f"s{number}.jsonl"
        entries = list(session_of(f"s{number}", 2, start))
        path.write_bytes(lines(entries[:3]))
        served.wait_for(plus(before, *[worth(2)] * number, worth(1)))
        append(path, entries[3:])
        served.wait_for(plus(before, *[worth(2)] * number, worth(2)))
        shutil.rmtree(sessions.parent)
    assert served.by("agent")["zeta"] == 6


def test_without_watches_to_be_had_it_looks_every_two_seconds(
    jsonl: MadeHome, serve: ServedFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system has so many of them for all programs of a user (fs.inotify.max_user_instances)."""
    given: list[str] = []
    schedule = Observer.schedule

    def scarce(self: Any, handler: Any, path: str, **options: Any) -> Any:
        if len(given) == 2:
            raise OSError(errno.EMFILE, "inotify instance limit reached")
        given.append(path)
        return schedule(self, handler, path, **options)

    monkeypatch.setattr(Observer, "schedule", scarce)
    served = serve(jsonl.path)
    assert served.meter.watcher.poll
    added = jsonl.state / "agents" / "zeta" / "sessions"
    added.mkdir(parents=True)
    (added / "z1.jsonl").write_bytes(lines(session_of("z1", 3, now_ms())))
    served.wait_for(plus(tokens_and_money(jsonl.truth["totals"]), worth(3)))


@pytest.mark.parametrize("poll", [False, True])
@pytest.mark.parametrize("era", ["files", "databases"])
def test_folders_of_a_second_home_appear(era: str, poll: bool, tmp_path: Path, serve: Any) -> None:
    """One of two homes is there by name only when Clawmeter starts: nothing of it has been written yet."""
    first, second = tmp_path / "first" / ".openclaw", tmp_path / "second" / ".openclaw"
    for home in (first, second):
        home.mkdir(parents=True)
        (home / "openclaw.json").write_text("{}")
    served = serve(first, second, poll=poll)
    start = now_ms()
    for number, home in enumerate((first, second), 1):
        agent = home / "agents" / "main"
        if era == "files":
            (agent / "sessions").mkdir(parents=True)
            (agent / "sessions" / f"s{number}.jsonl").write_bytes(
                lines(session_of(f"s{number}", 2, start))
            )
        else:
            (agent / "agent").mkdir(parents=True)
            AgentDatabase(agent / "agent" / "openclaw-agent.sqlite").add(
                f"s{number}", session_of(f"s{number}", 2, start)
            )
        served.wait_for(plus(worth(2), *[worth(2)] * (number - 1)))
    assert sorted(served.by("agent").values()) == [2, 2]
    assert served.by("session") == {"s1": 2, "s2": 2}


def test_agents_that_appear_in_the_middle_of_a_pass_are_not_missed(
    jsonl: MadeHome, serve: ServedFactory
) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    for n in range(12):
        sessions = jsonl.state / "agents" / f"extra-{n}" / "sessions"
        sessions.mkdir(parents=True)
        # At another point of the pass that the folder has set off, each time.
        time.sleep(0.01 * n)
        sid = f"extra-{n}"
        (sessions / f"{sid}.jsonl").write_bytes(lines(session_of(sid, 2, now_ms())))
    served.wait_for(plus(before, *[worth(2)] * 12))


def test_a_session_index_is_replaced_without_a_look_at_everything(
    jsonl: MadeHome, serve: ServedFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenClaw replaces sessions.json in every turn, and listing a large home takes a second."""
    served = serve(jsonl.path)
    passes: list[None] = []

    def sql(statement: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        with served.meter.store.reading() as db:
            return db.execute(statement, values).fetchall()

    index = served.meter.index
    monkeypatch.setattr(served.meter, "index", lambda *a: (passes.append(None), index(*a))[1])
    path = next(jsonl.path.rglob("sessions.json"))
    table = json.loads(path.read_text())
    key, entry = next((k, e) for k, e in table.items() if isinstance(e.get("sessionId"), str))
    for turn in range(5):
        entry.update(label=f"turn {turn}", updatedAt=now_ms() + turn)
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(table))
        os.replace(partial, path)
        labels = "SELECT label FROM sessions WHERE key = ? AND session_id = ?"
        wait_until(lambda label=entry["label"]: (label,) in sql(labels, (key, entry["sessionId"])))
    assert passes == []


def test_rotated_files_are_counted_once_and_followed(jsonl: MadeHome, serve: ServedFactory) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    sessions = jsonl.state / "agents" / "main" / "sessions"
    path = sessions / "rotated.jsonl"
    path.write_bytes(lines(session_of("rotated", 4, now_ms())))
    served.wait_for(plus(before, worth(4)))
    old = path.with_name("rotated.jsonl.reset.2026-11-21T05-06-52.360Z")
    path.rename(old)
    # A file of the same name grows in its place.
    later = now_ms() + 60_000
    path.write_bytes(lines([header("rotated", later), call("fresh", later + 1)]))
    one = {"model_calls": 1, "input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    one = {name: one.get(name, 0) for name in TRUTH_FIELDS} | {"recorded_cost_nano_usd": 10**7}
    served.wait_for(plus(before, worth(4), one))
    append(path, [call("fresher", later + 2)])
    served.wait_for(plus(before, worth(4), one, one))
    path.rename(path.with_name("rotated.jsonl.deleted.2026-11-21T05-07-52.360Z"))
    old.unlink()
    wait_until(lambda: served.get("/api/sessions/rotated")["sources"], "the new place")
    append_calls(jsonl.path, "--count", "1", "--session", served_session(served, jsonl))
    wait_until(lambda: served.totals()["model_calls"] == before["model_calls"] + 7)


def served_session(served: Served, home: MadeHome) -> str:
    """A session whose live file append.py can find."""
    files = (home.state / "agents" / "main" / "sessions").glob("*.jsonl")
    index = (home.state / "agents" / "main" / "sessions" / "sessions.json").read_text()
    return next(f.stem for f in sorted(files) if f.stem in index)


def test_a_replaced_file_is_read_anew_and_nothing_counts_twice(
    jsonl: MadeHome, serve: ServedFactory
) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    path = jsonl.state / "agents" / "main" / "sessions" / "replaced.jsonl"
    start = now_ms()
    entries = list(session_of("replaced", 6, start))
    path.write_bytes(lines(entries))
    served.wait_for(plus(before, worth(6)))
    # A compaction: the first turns are gone, a new one is there, by rename over the old file.
    longer = list(session_of("replaced", 7, start))
    partial = path.with_suffix(".tmp")
    partial.write_bytes(lines([longer[0], *longer[7:]]))
    partial.replace(path)
    served.wait_for(plus(before, worth(7)))
    append(path, list(session_of("replaced", 8, start))[-2:])
    served.wait_for(plus(before, worth(8)))


def test_what_openclaw_deletes_stays_counted(jsonl: MadeHome, serve: ServedFactory) -> None:
    served = serve(jsonl.path)
    before = served.totals()
    sessions = jsonl.state / "agents" / "main" / "sessions"
    (sessions / "gone.jsonl").write_bytes(lines(session_of("gone", 3, now_ms())))
    served.wait_for(plus(before, worth(3)))
    (sessions / "gone.jsonl").unlink()
    (sessions / "next.jsonl").write_bytes(lines(session_of("next", 2, now_ms())))
    served.wait_for(plus(before, worth(3), worth(2)))
    assert served.get("/api/transcript/gone")["available"] is False
    assert served.get("/api/sessions/gone")["model_calls"] == 3


@pytest.mark.parametrize("era", ["sqlite", "jsonl-mid"])
def test_a_new_database_is_found_and_followed(
    era: str, home_factory: HomeFactory, serve: ServedFactory
) -> None:
    """Also the first one of an install that is upgraded while we look."""
    home = home_factory(era, sessions=12, messages=300)
    served = serve(home.path)
    before = served.totals()
    path = home.state / "agents" / "zeta" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    database = AgentDatabase(path)
    start = now_ms()
    # Held open as the gateway does: its rows are in the -wal file for as long as it runs.
    with closing(database.connect()) as db:
        database.add_with(db, "zeta-1", session_of("zeta-1", 3, start))
        served.wait_for(plus(before, worth(3)))
        database.add_with(db, "zeta-1", list(session_of("zeta-1", 5, start))[-4:], zstd=True)
        served.wait_for(plus(before, worth(5)))
        database.window("zeta-1", "agent:zeta:main", now_ms())
        wait_until(lambda: served.by("session_key").get("agent:zeta:main") == 5, "the key")
        database.add_with(db, "zeta-2", session_of("zeta-2", 2, start))
        served.wait_for(plus(before, worth(5), worth(2)))
    # The last one to close it has taken the -wal file away; a restarted gateway goes on.
    with closing(database.connect()) as db:
        database.add_with(db, "zeta-2", list(session_of("zeta-2", 3, start))[-2:])
        served.wait_for(plus(before, worth(5), worth(3)))
    assert served.by("agent")["zeta"] == 8


def test_rewritten_and_deleted_rows_change_nothing(
    home_factory: HomeFactory, serve: ServedFactory
) -> None:
    home = home_factory("sqlite", sessions=12, messages=300)
    served = serve(home.path)
    before = served.totals()
    database = AgentDatabase(home.state / "agents" / "main" / "agent" / "openclaw-agent.sqlite")
    start = now_ms()
    database.add("live-1", session_of("live-1", 6, start))
    served.wait_for(plus(before, worth(6)))
    database.compact("live-1", 4)
    database.add("live-1", list(session_of("live-1", 7, start))[-2:])
    served.wait_for(plus(before, worth(7)))
    database.delete("live-1")
    database.add("live-2", session_of("live-2", 1, start))
    served.wait_for(plus(before, worth(7), worth(1)))


def test_a_home_that_is_empty_at_first(tmp_path: Path, serve: ServedFactory) -> None:
    home = tmp_path / "home-empty"
    (home / ".openclaw").mkdir(parents=True)
    (home / ".openclaw" / "openclaw.json").write_text("{}")
    served = serve(home)
    assert served.totals()["model_calls"] == 0
    sessions = home / ".openclaw" / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    (sessions / "first.jsonl").write_bytes(lines(session_of("first", 2, now_ms())))
    served.wait_for(worth(2), seconds=5)


# The home is OpenClaw's


def test_following_writes_nothing_into_the_home(
    home_factory: HomeFactory, serve: ServedFactory
) -> None:
    home = home_factory("upgraded", sessions=12, messages=300)

    def listing() -> dict[str, tuple[int, int]]:
        files = [p for p in home.path.rglob("*") if not p.name.endswith("-shm")]
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()}

    before = listing()
    served = serve(home.path)
    for row in served.get("/api/sessions", limit="10000"):
        served.get(f"/api/transcript/{row['id']}")
    served.meter.ingest_now()
    assert listing() == before


# `clawmeter serve` as a process


class Process:
    """`clawmeter serve` on a free port; its lines are those of standard error."""

    def __init__(self, home: Path, folder: Path, *options: str, **env: str) -> None:
        self.folder, self.home = folder, home
        self.state = folder / "state"
        self.env = process_env(folder, **env)
        self.child = subprocess.Popen(
            self.command("serve", "--port", "0", *options),
            env=self.env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            self.lines = list(self._first_lines())
        except BaseException:
            self.child.kill()
            raise
        found = re.search(r"Serving (http://\S+)", "".join(self.lines))
        assert found, self.lines
        self.url = found[1]

    def command(self, *words: str) -> list[str]:
        where = ("--home", str(self.home), "--state", str(self.state))
        return [sys.executable, str(ROOT / "clawmeter.py"), *words[:1], *where, *words[1:]]

    def _first_lines(self) -> Iterator[str]:
        assert self.child.stderr
        for line in self.child.stderr:
            yield line
            if "log in" in line:
                return

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command with the same home and state directory."""
        return subprocess.run(
            self.command(*words),
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def end(self, signal_number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """(exit status, seconds it took, what it wrote to standard error since it serves)."""
        began = time.monotonic()
        self.child.send_signal(signal_number)
        _, said = self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode, time.monotonic() - began, said


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(home: Path, *options: str, **env: str) -> Process:
        running.append(Process(home, tmp_path, *options, **env))
        return running[-1]

    yield start
    for one in running:
        if one.child.poll() is None:
            one.child.kill()
        one.child.communicate()


@pytest.fixture
def quiet_home(home_factory: HomeFactory) -> MadeHome:
    """A home in which nobody writes, shared by the tests of processes."""
    return home_factory("sqlite", copy=False, sessions=12, messages=300)


def test_serve_says_where_it_is_and_ends_at_once(quiet_home: MadeHome, process: Any) -> None:
    served = process(quiet_home.path)
    assert served.lines[0].startswith("Clawmeter ")
    assert str(quiet_home.state) in served.lines[0]
    assert "clawmeter token" in served.lines[-1]
    token = served.run("token").stdout
    assert token.startswith(f"{served.url}/#token=")
    secret = token.strip().partition("#token=")[2]
    assert secret not in "".join(served.lines)
    assert json.loads((served.state / "server.json").read_text())["pid"] == served.child.pid
    headers = {"Authorization": f"Bearer {secret}"}
    stream = requests.get(f"{served.url}/api/stream", headers=headers, stream=True, timeout=10)
    with stream:  # an open page does not hold it up
        status, seconds, said = served.end()
    assert (status, said) == (0, "")
    assert seconds < 3
    assert not (served.state / "server.json").exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(served.url, timeout=5)


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_other_signals_end_it_too(name: str, quiet_home: MadeHome, process: Any) -> None:
    status, seconds, _ = process(quiet_home.path).end(signal.Signals[name])
    assert status == 0
    assert seconds < 3


def test_it_ends_at_once_in_the_middle_of_the_first_index(
    home_factory: HomeFactory, process: Any
) -> None:
    home = home_factory("jsonl-mid", copy=False, sessions=300, messages=20_000, seed=9)
    status, seconds, _ = process(home.path).end()
    assert status == 0
    assert seconds < 3


def test_a_second_serve_says_where_the_first_one_is(quiet_home: MadeHome, process: Any) -> None:
    served = process(quiet_home.path)
    second = served.run("serve", "--port", "0")
    assert second.returncode == 3
    assert served.url in second.stderr
    assert "--state" in second.stderr
    assert requests.get(f"{served.url}/healthz", timeout=10).status_code == 200
    assert served.end()[0] == 0


def test_commands_talk_to_the_server(home_factory: HomeFactory, process: Any) -> None:
    home = home_factory("jsonl-mid", sessions=12, messages=300)
    served = process(home.path)
    calls = home.truth["totals"]["model_calls"]

    def ask(path: str) -> Any:
        answered = served.run("api", path)
        assert answered.returncode == 0, answered.stderr
        return json.loads(answered.stdout)

    wait_until(lambda: ask("/api/usage?from=all")["totals"]["model_calls"] == calls)
    written = append_calls(home.path, "--count", "2", "--rate", "50")
    ingested = served.run("ingest")
    assert ingested.returncode == 0
    assert f"{calls + 2:,} in the ledger" in ingested.stdout
    usage = ask("api/usage?from=all&by=agent")
    assert tokens_and_money(usage["totals"]) == plus(
        tokens_and_money(home.truth["totals"]), tokens_and_money(written)
    )
    status = json.loads(served.run("status", "--json").stdout)
    assert status["server"] == served.url
    assert status["summary"]["messages"] == calls + 2
    assert served.url in served.run("status").stdout
    report = served.run("report", "--json", "--from", "all", "--by", "agent")
    told = json.loads(report.stdout)
    assert (told["rows"], told["totals"]) == (usage["rows"], usage["totals"])
    wrong = served.run("api", "/api/usage?by=colour")
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["error"]["code"] == "bad_parameter"
    made = served.run("token", "create", "tv", "--scope", "metrics")
    secret = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert requests.get(f"{served.url}/metrics", headers=secret, timeout=10).status_code == 200
    assert requests.get(f"{served.url}/api/usage", headers=secret, timeout=10).status_code == 403
    assert served.run("token", "revoke", "tv").returncode == 0
    assert requests.get(f"{served.url}/metrics", headers=secret, timeout=10).status_code == 401
    old = {"Authorization": "Bearer " + served.run("token").stdout.strip().partition("#token=")[2]}
    assert served.run("token", "rotate").returncode == 0
    assert requests.get(f"{served.url}/api/usage", headers=old, timeout=10).status_code == 401
    assert ask("/api/health")["coverage"]["complete"] is True
    assert served.end()[0] == 0
    # Without a server the same commands do the work themselves, or say why they cannot.
    status = json.loads(served.run("status", "--json").stdout)
    assert status["server"] is None
    assert status["summary"]["messages"] == calls + 2
    gone = served.run("api", "/api/usage")
    assert gone.returncode == 1
    assert "start one" in gone.stderr
    assert not gone.stdout


def test_the_ledger_goes_on_where_it_was(home_factory: HomeFactory, process: Any) -> None:
    home = home_factory("sqlite", sessions=12, messages=300)
    expected = tokens_and_money(home.truth["totals"])
    for n in range(3):
        served = process(home.path)
        wait_until(lambda s=served, e=expected: api_totals(s) == e)
        written = append_calls(home.path, "--count", "2", "--rate", "50")
        expected = plus(expected, tokens_and_money(written))
        if n != 1:  # once it is stopped before it may have seen the new calls
            wait_until(lambda s=served, e=expected: api_totals(s) == e)
        served.end(signal.SIGKILL if n == 0 else signal.SIGTERM)
    assert (
        json.loads(served.run("report", "--json", "--from", "all").stdout)["totals"]["model_calls"]
        == expected["model_calls"]
    )


def api_totals(served: Process) -> dict[str, int]:
    return tokens_and_money(
        json.loads(served.run("api", "/api/usage?from=all&by=model").stdout)["totals"]
    )


def test_a_taken_port_and_a_missing_home_are_explained(
    quiet_home: MadeHome, process: Any, tmp_path: Path
) -> None:
    served = process(quiet_home.path)
    port = served.url.rpartition(":")[2]
    command = [sys.executable, str(ROOT / "clawmeter.py"), "serve", "--port", port]
    other = ["--home", str(quiet_home.path), "--state", str(tmp_path / "other")]
    run = subprocess.run(
        [*command, *other], env=served.env, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 1
    assert f"port {port}" in run.stderr
    assert "Traceback" not in run.stderr
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    command = [sys.executable, str(ROOT / "clawmeter.py"), "serve", "--state", str(tmp_path / "s")]
    run = subprocess.run(
        command, env=process_env(nowhere), capture_output=True, text=True, timeout=30
    )
    assert run.returncode not in {0, None}
    for way in ("--home", "OPENCLAW_STATE_DIR", "clawmeter demo"):
        assert way in run.stderr
    assert os.listdir(nowhere) == []


def test_a_later_pass_takes_nothing_back(meter: Any) -> None:
    """While everything is listed anew, the totals are as complete as before, and the server ready."""
    seen: list[tuple[bool, bool]] = []
    meter.index(
        lambda _: seen.append((meter.queries.usage()["coverage"]["complete"], meter.readiness()[0]))
    )
    assert seen
    assert set(seen) == {(True, True)}
