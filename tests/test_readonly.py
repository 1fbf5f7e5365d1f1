"""OpenClaw's tree is only read: nothing in it is written, and no file appears in it, not even for a moment."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import handmade
import ledgers
import pytest
from handmade import (
    MINUTE,
    T0,
    AgentDatabase,
    HandmadeHome,
    Reader,
    append,
    call,
    session_of,
)
from homes import ERAS, FIXTURES, ROOT, TESTS
from served import wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def portrait(root: Path) -> dict[str, Any]:
    """Everything about a tree. A file that came and went has moved its folder's time; of -shm, where a reader of a
    WAL database marks its place, only the bytes are left out."""
    out: dict[str, Any] = {}
    for folder, _, names in os.walk(root):
        for path in [Path(folder), *(Path(folder) / n for n in names)]:
            info = path.lstat()
            what: list[Any] = [info.st_mode, info.st_uid, info.st_ino]
            if not path.name.endswith("-shm"):
                what.append(info.st_mtime_ns)
            if path.is_file() and not path.name.endswith("-shm"):
                what += [info.st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
            out[str(path.relative_to(root))] = what
    return out


def use(meter: clawmeter.Clawmeter) -> None:
    """Everything that Clawmeter does with a home."""
    meter.index()
    meter.index()
    ledgers.everything(meter.queries)
    meter.queries.overview()
    meter.queries.health()
    for row in meter.queries.sessions(limit="400")[0]:
        meter.queries.transcript(row["id"], limit="20")
        meter.queries.transcript(row["id"], kinds="tools,errors", q="the")
    clawmeter.find_homes(meter.settings, {})
    clawmeter.read_config(meter.homes[0].path, {})
    clawmeter.list_transcript_kinds(meter.homes[0])


def end_of(path: Path) -> set[str]:
    return {
        p.name[len("openclaw-agent.sqlite") :] for p in path.parent.glob("openclaw-agent.sqlite*")
    }


# --- a home that nobody writes -------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_stopped_home(era: str, home_factory: Any, meter_factory: Any) -> None:
    home = home_factory(era, agents=3, sessions=8, messages=160)
    before = portrait(home.path)
    assert not any(name.endswith("-wal") for name in before)
    use(meter_factory(home.path))
    assert portrait(home.path) == before


@pytest.mark.parametrize("version", sorted(p.name for p in FIXTURES.iterdir() if p.is_dir()))
def test_trees_of_real_versions(version: str, real_homes: Any, meter_factory: Any) -> None:
    home = real_homes(version)
    before = portrait(home)
    use(meter_factory(home))
    assert portrait(home) == before


@pytest.mark.parametrize("era", ["sqlite", "upgraded"])
def test_home_of_a_gateway_that_crashed(era: str, home_factory: Any, meter_factory: Any) -> None:
    """-wal and -shm are there, and nobody has them open; some rows are in the -wal alone."""
    home = home_factory(era, agents=3, sessions=8, messages=160, leave_wal=True)
    before = portrait(home.path)
    assert any(name.endswith("-wal") for name in before)
    meter = meter_factory(home.path)
    use(meter)
    assert portrait(home.path) == before
    assert ledgers.truth_differences(meter.queries, home.truth) == []


@pytest.mark.parametrize("era", ["sqlite", "upgraded"])
def test_copied_tree_with_a_wal_and_no_shm(era: str, home_factory: Any, meter_factory: Any) -> None:
    home = home_factory(era, agents=3, sessions=8, messages=160, leave_wal=True)
    for path in home.path.rglob("*-shm"):
        path.unlink()
    before = portrait(home.path)
    meter = meter_factory(home.path)
    use(meter)
    assert portrait(home.path) == before
    assert ledgers.truth_differences(meter.queries, home.truth) == []


def test_empty_wal_without_shm(tmp_path: Path, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    db.add("aaa", session_of("aaa", 2))
    Path(f"{db.path}-wal").touch()
    before = portrait(home.path)
    meter = meter_factory(home.path)
    use(meter)
    assert portrait(home.path) == before
    assert meter.queries.usage(from_="all", by="model")["totals"]["model_calls"] == 2


def test_home_that_may_not_be_written(
    home_factory: Any, meter_factory: Any, open_home: HandmadeHome
) -> None:
    """On a read-only mount, or of another user: it is readable all the same."""
    made = home_factory("upgraded", agents=3, sessions=8, messages=160)
    shutil.copytree(made.path, open_home.path, dirs_exist_ok=True)
    for path in [open_home.path, *open_home.path.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    reader = Reader(meter_factory, open_home.path)
    assert reader.totals() == (
        0,
        0,
        0,
    )  # its own connections are open: the other user cannot get to our ledger
    with other_user():
        reader.read()
    assert ledgers.truth_differences(reader.meter.queries, made.truth) == []
    assert reader.coverage("unreadable") == 0


# --- a home that is being written ----------------------------------------------------------------


class Gateway:
    """A process that has the database open, as the gateway does: the -wal is there until it stops."""

    def __init__(self, db: AgentDatabase) -> None:
        path = os.pathsep.join(map(str, (ROOT, TESTS, TESTS / "corpus")))
        command = [sys.executable, str(TESTS / "gateway_writer.py"), str(db.path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})  # fmt: skip
        self.number = 0
        assert self.process.stdout
        assert self.process.stdout.readline() == "open\n"

    def do(self, line: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def talk(self, sid: str = "live") -> None:
        self.number += 1
        self.do(f"talk {sid} {self.number}")

    def stop(self) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()
        assert self.process.returncode == 0


@pytest.fixture
def gateway_of() -> Iterator[Callable[[AgentDatabase], Gateway]]:
    """Start gateways: gateway_of(database). Those that a failed test leaves behind are stopped."""
    started: list[Gateway] = []

    def start(db: AgentDatabase) -> Gateway:
        started.append(Gateway(db))
        return started[-1]

    yield start
    for gateway in started:
        if gateway.process.returncode is None:
            gateway.stop()


def test_gateway_that_runs_and_stops_while_we_read(
    tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    reader = Reader(meter_factory, home.path)
    for round_ in range(3):
        gateway = gateway_of(db)
        gateway.talk(f"s{round_}")
        reader.read()
        assert end_of(db.path) == {"", "-wal", "-shm"}
        gateway.talk(f"s{round_}")
        reader.read()
        reader.meter.queries.transcript(f"s{round_}")
        gateway.stop()
        assert end_of(db.path) == {""}, "our reading made the gateway leave its files behind"
        before = portrait(home.path)
        reader.read()
        reader.meter.queries.transcript(f"s{round_}")
        assert portrait(home.path) == before
    assert reader.by("session") == {f"s{n}": 2 for n in range(3)}


def stopped_cleanly(
    db: AgentDatabase, gateway: Gateway, gateway_of: Callable[[AgentDatabase], Gateway]
) -> None:
    """Stop a gateway while a thread reads. SQLite leaves its files only if a reader is inside in that very moment;
    then the next stop takes them away."""
    gateway.stop()
    for _ in range(5):
        if end_of(db.path) == {""}:
            return
        gateway_of(db).stop()
    assert end_of(db.path) == {""}


@pytest.mark.parametrize("poll", [False, True], ids=["watchdog", "poll"])
def test_live_following_leaves_no_trace(
    poll: bool, tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    live = home.write("file", session_of("file", 2))
    db = home.database("ops")
    gateway = gateway_of(db)
    gateway.talk()
    reader = Reader(meter_factory, home.path, poll=poll)
    reader.meter.POLL_S = 0.1
    reader.meter.start()
    wait_until(lambda: reader.totals()[0] == 3, "the first pass")
    for number in range(1, 4):
        gateway.talk()
        append(live, [call(f"f{number}", T0 + number * 10 * MINUTE)])
        wait_until(lambda n=number: reader.totals()[0] == 3 + 2 * n, "both are read")
    stopped_cleanly(db, gateway, gateway_of)
    before = portrait(home.path)
    append(live, [call("last", T0 + 90 * MINUTE)])
    wait_until(lambda: reader.totals()[0] == 10, "the last one is read")
    reader.meter.stop()
    after = portrait(home.path)
    assert set(after) == set(before)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {str(live.relative_to(home.path))}
    assert reader.meter.problems() == []


def test_gateway_that_comes_and_goes_while_a_thread_reads(
    tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    """It starts and stops at any moment of a reading: no call is lost or counted twice, no file stays behind."""
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    db.add("base", session_of("base", 300))
    reader = Reader(meter_factory, home.path)
    reader.read()
    stopping = threading.Event()
    failed: list[BaseException] = []

    def read() -> None:
        try:
            while not stopping.is_set():
                reader.read()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(12):
            gateway = gateway_of(db)
            gateway.talk(f"s{number}")
            gateway.stop()
    finally:
        stopping.set()
        thread.join(20)
    assert not thread.is_alive()
    assert failed == []
    gateway = gateway_of(db)
    gateway.talk("end")
    stopped_cleanly(db, gateway, gateway_of)
    wait_until(lambda: reader.read() or reader.totals()[0] == 313, "the last call is read")
    assert reader.by("session") == {"base": 300, "end": 1, **{f"s{n}": 1 for n in range(12)}}
    assert reader.coverage("unreadable") == 0
    assert reader.coverage("bad_lines") == 0
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert end_of(db.path) == {""}
    before = portrait(home.path)
    use(reader.meter)
    assert portrait(home.path) == before


def test_database_in_use_is_read_with_what_is_only_in_its_wal(
    tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    gateway = gateway_of(db)
    for _ in range(5):
        gateway.talk()
    reader = Reader(meter_factory, home.path)
    reader.read()
    assert reader.totals()[0] == 5
    gateway.do("PRAGMA wal_checkpoint(TRUNCATE)")
    gateway.talk()
    reader.read()
    assert reader.totals()[0] == 6
    gateway.stop()


def test_commit_that_is_in_the_wal_and_not_yet_to_be_seen(
    tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    """A commit is written to the -wal first and shown in the -shm then. Who looks in between finds the file grown and
    the row missing; it must come again although no file changes any more."""
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    gateway = gateway_of(db)
    gateway.talk()
    reader = Reader(meter_factory, home.path)
    reader.read()
    shm = Path(f"{db.path}-shm")
    earlier = shm.read_bytes()
    gateway.talk()
    later = shm.read_bytes()
    with open(shm, "r+b") as file:
        file.write(earlier)
    reader.read()
    assert reader.totals()[0] == 1
    with open(shm, "r+b") as file:
        file.write(later)
    wait_until(lambda: reader.read() or reader.totals()[0] == 2, "the second call is read", 8)
    gateway.stop()


def test_writer_is_never_kept_waiting(tmp_path: Path, meter_factory: Any, gateway_of: Any) -> None:
    """An open write transaction and an exclusive lock: we say so, or read what is committed, and come again."""
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    db.add("aaa", session_of("aaa", 2))
    gateway = gateway_of(db)
    gateway.talk()
    reader = Reader(meter_factory, home.path)
    gateway.do("BEGIN IMMEDIATE")
    gateway.do("DELETE FROM transcript_events")
    reader.read()
    assert reader.totals()[0] == 3
    gateway.do("ROLLBACK")
    gateway.talk()
    reader.read()
    assert reader.totals()[0] == 4
    gateway.stop()


def test_lock_that_is_held_is_said_and_read_later(
    tmp_path: Path, meter_factory: Any, gateway_of: Any
) -> None:
    """A database with a rollback journal under an exclusive lock cannot be read at all; nothing waits for it long."""
    home = HandmadeHome(tmp_path / "home")
    home.write("file", session_of("file", 1))
    db = home.database("ops")
    db.add("aaa", session_of("aaa", 2))
    gateway = gateway_of(db)
    gateway.do("PRAGMA locking_mode = EXCLUSIVE")
    gateway.talk()
    reader = Reader(meter_factory, home.path)
    reader.read()
    assert reader.by("agent")["main"] == 1
    gateway.stop()
    reader.read()
    assert reader.by("agent") == {"main": 1, "ops": 3}
    assert reader.coverage("unreadable") == 0


def test_database_that_changes_under_an_immutable_read(tmp_path: Path) -> None:
    home = HandmadeHome(tmp_path / "home")
    db = home.database()
    db.add("aaa", session_of("aaa", 2))
    with (
        pytest.raises(clawmeter.DatabaseChangedError),
        clawmeter.open_foreign(str(db.path)) as opened,
    ):
        opened.execute("SELECT count(*) FROM transcript_events").fetchone()
        db.add("bbb", session_of("bbb", 2))


# --- what may not be read ------------------------------------------------------------------------


@contextmanager
def other_user() -> Iterator[None]:
    """As a user that is not root, who may read everything: `nobody`, where we are root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_home() -> Iterator[HandmadeHome]:
    """A home that another user can get to; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp(prefix="clawmeter-test-"))
    folder.chmod(0o755)
    yield HandmadeHome(folder / "home")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "what", ["file", "folder", "agent", "imports", "database", "archive", "index"]
)
def test_what_may_not_be_read_is_said_and_read_when_it_may(
    what: str, open_home: HandmadeHome, meter_factory: Any
) -> None:
    home = open_home
    home.write("first", session_of("first", 1))
    reader = Reader(meter_factory, home.path)
    reader.read()
    closed: Path
    if what == "database":
        db = home.database("ops")
        db.add("aaa", session_of("aaa", 2))
        closed = db.path
    elif what == "archive":
        closed = home.sessions("ops") / "aaa.jsonl.deleted.1.zst"
        closed.write_bytes(handmade.zstandard.compress(handmade.lines(session_of("aaa", 2))))
    elif what == "index":
        home.write("aaa", session_of("aaa", 2), agent="ops")
        closed = home.index({"agent:ops:main": "aaa"}, agent="ops")
    elif what == "imports":
        closed = home.write("aaa", session_of("aaa", 2), agent="ops").parent
        closed = closed.rename(closed.parent / "session-sqlite-import-archive")
        (closed / "aaa.jsonl").rename(closed / "legacy-store.aaa.jsonl.imported-1795239135148")
    else:
        closed = home.write("aaa", session_of("aaa", 2), agent="ops")
        closed = {"file": closed, "folder": closed.parent, "agent": closed.parent.parent}[what]
    home.write("other", session_of("other", 1))
    mode = closed.stat().st_mode
    closed.chmod(0)
    with other_user():
        for _ in range(2):
            reader.read()
    # Read as root the folder would be there again: look at what was said, not at the files.
    told = reader.health()
    expected = {"main": 2} | ({"ops": 2} if what == "index" else {})
    assert reader.by("agent") == expected
    assert told["status"] == "degraded"
    assert any(str(closed) in p["text"] for p in told["problems"])
    assert told["coverage"]["unreadable"] == 1
    assert not told["coverage"]["complete"]
    closed.chmod(mode)
    with other_user():
        reader.read()
    assert reader.by("agent") == {"main": 2, "ops": 2}
    assert reader.health()["status"] == "ok"
    assert reader.coverage("complete")
    if what == "index":
        assert reader.by("session_key")["agent:ops:main"] == 2


def test_what_is_in_a_folder_that_was_closed_is_not_taken_for_gone(open_home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    home = open_home
    home.write("first", session_of("first", 1))
    folder = home.write("aaa", session_of("aaa", 2), agent="ops").parent
    reader = Reader(meter_factory, home.path)
    reader.read()
    folder.chmod(0)
    with other_user():
        reader.read()
    assert reader.by("agent") == {"main": 1, "ops": 2}
    assert not reader.coverage("complete")
    assert [s["path"] for s in reader.health()["sources"] if s["kind"] == "folder"] == [str(folder)]
    assert "gone" not in {s.state for s in reader.meter.indexer.known.values()}
    folder.chmod(0o755)
    reader.read()
    assert reader.coverage("complete")
    assert [s for s in reader.health()["sources"] if s["kind"] == "folder"] == []


def test_a_pipe_with_the_name_of_a_transcript_is_not_waited_for(open_home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    home = open_home
    sessions = home.write("first", session_of("first", 1)).parent
    os.mkfifo(sessions / "00000000-0000-4000-8000-000000000000.jsonl")
    reader = Reader(meter_factory, home.path)
    for _ in range(2):
        reader.read()
        assert reader.totals()[0] == 1
        assert reader.coverage("unreadable") == 1
    assert any("it is no file" in p["text"] for p in reader.health()["problems"])


def test_nothing_is_written_into_a_home(open_home: HandmadeHome, meter_factory: Any, tmp_path: Path) -> None:  # fmt: skip
    home = open_home
    home.write("first", session_of("first", 1))
    db = home.database()
    for wrong in ({"state_dir": home.state / "meter"}, {"db": db.path}, {"db": home.state / "agents" / "x.db"}):  # fmt: skip
        before = sorted(home.state.rglob("*"))
        with pytest.raises(clawmeter.SettingsError, match="inside OpenClaw's"):
            meter_factory(home.path, **wrong)
        assert sorted(home.state.rglob("*")) == before
    (tmp_path / "mine").mkdir(mode=0o755)
    (tmp_path / "mine").chmod(0o755)
    meter_factory(home.path, db=tmp_path / "mine" / "x.db").index()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755


def test_what_may_not_be_read_in_a_cold_index(open_home: HandmadeHome, meter_factory: Any) -> None:
    home = open_home
    home.write("first", session_of("first", 1))
    closed = home.write("aaa", session_of("aaa", 2))
    db = home.database("ops")
    db.add("bbb", session_of("bbb", 2))
    closed.chmod(0)
    db.path.chmod(0)
    reader = Reader(meter_factory, home.path)
    assert reader.totals() == (0, 0, 0)
    with other_user():
        reader.read()
    assert reader.totals()[0] == 1
    assert reader.coverage("unreadable") == 2
    assert reader.health()["status"] == "degraded"
    reader.restart()
    assert reader.coverage("unreadable") == 2
    closed.chmod(0o644)
    db.path.chmod(0o644)
    reader.read()
    assert reader.totals()[0] == 5
    assert reader.coverage("complete")
    assert reader.health()["status"] == "ok"


def test_credentials_are_never_opened(tmp_path: Path, meter_factory: Any) -> None:
    """auth-profiles.json and the like would hang the reader here: they are pipes that nobody writes."""
    home = HandmadeHome(tmp_path / "home")
    home.write("first", session_of("first", 1))
    for name in (
        "agents/main/agent/auth-profiles.json",
        "agents/main/agent/models.json",
        "devices/paired.json",
        "identity/device-auth.json",
        "exec-approvals.json",
    ):
        path = home.state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
    done = threading.Event()
    reader = Reader(meter_factory, home.path)

    def work() -> None:
        use(reader.meter)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(20), "it opened a file that it must not open"


def test_no_database_of_ours_opens_one_of_theirs_for_writing(
    home_factory: Any, meter_factory: Any
) -> None:
    """Said by SQLite itself: what we open refuses to write."""
    home = home_factory("sqlite", agents=3, sessions=8, messages=160, leave_wal=True, copy=False)
    for path in home.path.rglob("*.sqlite"):
        with clawmeter.open_foreign(str(path)) as db, pytest.raises(sqlite3.OperationalError):
            db.execute("CREATE TABLE x (y)")
