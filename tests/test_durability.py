"""The ledger survives: kill -9 at any moment, a second process, a damaged file, a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ledgers
import pytest
from handmade import MINUTE, NOW, T0, HandmadeHome, Reader, append, call, header, session_of
from homes import ROOT, TESTS
from served import wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    made = HandmadeHome(tmp_path / "home")
    made.write("first", session_of("first", 5))
    made.index({"agent:main:main": "first"})
    made.database("ops").add("rows", session_of("rows", 3))
    return made


@pytest.fixture
def reader(home: HandmadeHome, meter_factory: Any) -> Reader:
    made = Reader(meter_factory, home.path)
    made.read()
    return made


def cold(home: HandmadeHome, meter_factory: Any) -> dict[str, Any]:
    other = Reader(meter_factory, home.path)
    other.read()
    return ledgers.everything(other.meter.queries)


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, TESTS, TESTS / "corpus")))
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": path,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        **more,
    }


def cli(
    home: HandmadeHome, state: Path, *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "clawmeter.py"),
        "--home",
        str(home.path),
        "--state",
        str(state),
        "--tz",
        "UTC",
        *words,
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(home.path.parent, **env),
    )


# --- kill -9 -------------------------------------------------------------------------------------


def test_300_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path, meter_factory: Any) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    command = [sys.executable, str(TESTS / "killer.py"), str(home), str(state), "60", "240", "7"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment(tmp_path)
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["killed"] == {"cold": 60, "warm": 240}
    meter = ledgers.at(meter_factory(home, state_dir=state), NOW)
    meter.index()
    assert meter.store.notice is None
    rows = meter.queries.usage(from_="all", by="session")["rows"]
    names = (
        "model_calls",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "recorded_cost_nano_usd",
    )
    assert {r["key"]: [r[n] for n in names] for r in rows} == told["by_session"]
    assert ledgers.rollup_differences(meter.store) == []
    fresh = ledgers.at(meter_factory(home), NOW)
    fresh.index()
    assert (
        ledgers.differences(ledgers.everything(meter.queries), ledgers.everything(fresh.queries))
        == []
    )
    with closing(sqlite3.connect(state / "clawmeter.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


WORKERS = """
import os, sys, signal
from pathlib import Path
import clawmeter
meter = clawmeter.Clawmeter(clawmeter.Settings(state_dir=Path(sys.argv[2]), homes=(Path(sys.argv[1]),), time_zone="UTC"), env=dict(os.environ))
meter.index(lambda progress: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_killed_in_a_cold_index_with_workers_and_started_again_at_once(
    tmp_path: Path, meter_factory: Any
) -> None:
    """Workers that outlive their parent for a moment must not keep its lock: a service manager restarts at once."""
    home = HandmadeHome(tmp_path / "home")
    for n in range(8):
        home.write(
            f"s{n}",
            [
                header(f"s{n}"),
                *(call(f"s{n}-{i}", T0 + i * 1000 + n, text="x" * 40_000) for i in range(60)),
            ],
        )
    state = tmp_path / "state"
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", WORKERS, str(home.path), str(state)],
            env=environment(tmp_path),
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
        meter = clawmeter.Clawmeter(
            clawmeter.Settings(state_dir=state, homes=(home.path,)), env={"HOME": str(tmp_path)}
        )
        assert meter.store.is_empty()
        meter.stop()
    meter = meter_factory(home.path, state_dir=state)
    meter.index()
    assert meter.queries.usage(from_="all", by="model")["totals"]["model_calls"] == 480


def test_stopping_in_the_first_index_ends_it_and_its_workers(
    tmp_path: Path, meter_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home of gigabytes takes a while; a service manager that waits 3 s must not have to kill."""
    home = HandmadeHome(tmp_path / "home")
    for n in range(4):
        calls = [call(f"s{n}-{i}", T0 + i * 1000 + n, text="x" * 40_000) for i in range(60)]
        home.write(f"s{n}", [header(f"s{n}"), *calls])
    monkeypatch.setattr(clawmeter.Indexer, "PARALLEL_BYTES", 0)
    meter = meter_factory(home.path, state_dir=tmp_path / "state")
    meter.indexer.workers = 2
    meter.start()
    pool = wait_until(lambda: meter.indexer.pool)  # its workers are only just starting
    meter.stop()
    assert not meter.thread.is_alive()
    assert all(child.returncode is not None for child in pool.children)
    again = meter_factory(home.path, state_dir=tmp_path / "state")
    assert again.store.is_empty()
    again.indexer.workers = 2
    again.index()
    assert again.queries.usage(from_="all", by="model")["totals"]["model_calls"] == 240


# --- a second process ----------------------------------------------------------------------------


def test_second_clawmeter_on_a_ledger_is_refused(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    state = reader.meter.settings.state_dir
    with pytest.raises(clawmeter.LedgerBusyError, match=r"clawmeter\.db"):
        meter_factory(home.path, state_dir=state)
    reader.meter.stop()
    again = meter_factory(home.path, state_dir=state)
    assert again.index() == 0


def test_second_serve_exits_3_and_report_reads_what_there_is(
    home: HandmadeHome, reader: Reader
) -> None:
    state = reader.meter.settings.state_dir
    expected = reader.totals()
    append(
        home.sessions() / "first.jsonl", [call("more", T0 + 50 * MINUTE)]
    )  # not read yet, and not by the report
    refused = cli(home, state, "serve", "--port", "0")
    assert refused.returncode == 3
    assert "another Clawmeter" in refused.stderr
    report = cli(home, state, "report", "--from", "all", "--json")
    assert report.returncode == 0
    totals = json.loads(report.stdout)["totals"]
    assert (
        totals["model_calls"],
        totals["total_tokens"],
        totals["recorded_cost_nano_usd"],
    ) == expected
    assert "as of 2026-11-06T12:00:00" in report.stderr
    for words in (
        ("status",),
        ("export", "csv", "--out-dir", str(home.path / "out")),
        ("report", "--formula", "first"),
    ):
        done = cli(home, state, *words)
        assert done.returncode == 0, done.stderr
        assert "as of" in done.stderr
    assert cli(home, state, "ingest").returncode == 1  # no server to ask
    reader.read()
    assert reader.totals()[0] == expected[0] + 1


def test_ledgers_in_two_state_directories_do_not_meet(
    home: HandmadeHome, meter_factory: Any
) -> None:
    one, two = meter_factory(home.path), meter_factory(home.path)
    assert one.index() == two.index() == 8


# --- a file that cannot be used ------------------------------------------------------------------


def ledger_of(reader: Reader) -> Path:
    """The ledger of a reader that has been stopped, all in one file."""
    path = Path(reader.meter.settings.ledger_path)
    reader.meter.stop()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def flip(path: Path, wanted: Callable[[bytes], bool]) -> bytes:
    data = path.read_bytes()
    page = next(n for n in range(4096, len(data), 4096) if wanted(data[n : n + 4096]))
    path.write_bytes(
        data[:page] + bytes(b ^ 0xFF for b in data[page : page + 4096]) + data[page + 4096 :]
    )
    return path.read_bytes()


def as_garbage(path: Path) -> bytes:
    path.write_bytes(b"\0garbage" * 2000)
    return path.read_bytes()


def as_half(path: Path) -> bytes:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path.read_bytes()


def as_foreign(path: Path) -> bytes:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (x)")
        db.execute("INSERT INTO precious VALUES ('mine')")
        db.commit()
    return path.read_bytes()


def as_newer(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {clawmeter.SCHEMA_VERSION + 1}")
    return path.read_bytes()


def without_a_table(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE usage_quarter_hours")
    return path.read_bytes()


def with_a_flipped_page(path: Path) -> bytes:
    return flip(path, lambda page: page[:1] == b"\x0d" and b"toolUse" in page)


UNUSABLE = {
    "garbage": (as_garbage, "is damaged"),
    "half of it": (as_half, "is damaged"),
    "a foreign database": (as_foreign, "is not a ledger of Clawmeter"),
    "of a newer Clawmeter": (as_newer, "was written by a newer Clawmeter"),
    "without a table": (without_a_table, "is damaged"),
}


@pytest.mark.parametrize("how", UNUSABLE)
def test_ledger_that_cannot_be_used_is_kept_aside_and_rebuilt(
    how: str, home: HandmadeHome, reader: Reader
) -> None:
    before = ledgers.everything(reader.meter.queries)
    path = ledger_of(reader)
    spoil, reason = UNUSABLE[how]
    content = spoil(path)
    reader.restart()
    notice = reader.meter.store.notice
    assert reason in notice
    kept = list(path.parent.glob("clawmeter.db.aside-*"))
    assert str(kept[0]) in notice
    assert kept[0].read_bytes() == content
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert reader.health()["store"]["notice"] == notice
    reader.restart()
    assert reader.meter.store.notice is None
    assert ledgers.everything(reader.meter.queries) == before


def test_ledgers_kept_aside_do_not_replace_each_other(home: HandmadeHome, reader: Reader) -> None:
    path = ledger_of(reader)
    for _ in range(3):
        as_garbage(path)
        reader.restart()
        reader.meter.stop()
    assert len(list(path.parent.glob("clawmeter.db.aside-*"))) == 3


def test_doctor_names_the_ledger_that_was_kept_aside(home: HandmadeHome, reader: Reader) -> None:
    path = ledger_of(reader)
    as_garbage(path)
    done = cli(home, path.parent, "doctor")
    assert done.returncode == 1
    assert "kept as" in done.stdout
    assert cli(home, path.parent, "doctor").returncode == 0


@pytest.mark.parametrize(
    "table",
    [
        "model_calls",
        "usage_sessions",
        "usage_quarter_hours",
        "sessions",
        "sources",
        "model_calls_by_entry",
        "messages",
    ],
)
def test_flipped_page_is_noticed_and_ends_in_the_right_totals(
    table: str, home: HandmadeHome, meter_factory: Any
) -> None:
    """A page that is damaged somewhere in the middle is found when it is used; at the latest the next start heals it.

    No answer in between may be wrong without saying so."""
    for n in range(40):
        home.write(f"s{n}", session_of(f"s{n}", 25, T0 + n))
    reader = Reader(meter_factory, home.path)
    reader.read()
    before = ledgers.everything(reader.meter.queries)
    path = ledger_of(reader)
    with closing(sqlite3.connect(path)) as db:
        pages = (
            [
                r[0]
                for r in db.execute(
                    "SELECT pageno FROM dbstat WHERE name = ? ORDER BY pageno", (table,)
                )
            ]
            if has_dbstat(db)
            else pages_of(db, table)
        )
    page = pages[len(pages) // 2]
    data = path.read_bytes()
    at = (page - 1) * 4096
    path.write_bytes(data[:at] + bytes(b ^ 0xFF for b in data[at : at + 4096]) + data[at + 4096 :])
    append(home.sessions() / "s3.jsonl", [call("later", T0 + 300 * MINUTE)])
    state = path.parent
    for _ in range(4):
        try:
            meter = ledgers.at(meter_factory(home.path, state_dir=state), NOW)
        except clawmeter.StoreError as error:
            assert "damaged" in str(error)
            continue
        try:
            meter.index()
            found = ledgers.everything(meter.queries)
            wrong = ledgers.rollup_differences(meter.store)
            break
        except clawmeter.StoreError as error:
            assert "damaged" in str(error)
        finally:
            meter.stop()
    assert wrong == []
    assert (
        found["total of agent"][""]["model_calls"]
        == before["total of agent"][""]["model_calls"] + 1
    )
    assert found["session"]["s3"]["model_calls"] == 26


def has_dbstat(db: sqlite3.Connection) -> bool:
    try:
        db.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


def pages_of(db: sqlite3.Connection, table: str) -> list[int]:
    """Without dbstat: the root page, which every use of a table meets."""
    return [r[0] for r in db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,))]


def test_wal_of_a_killed_process_is_not_lost(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """What was committed and not yet moved into the file counts: nothing is read twice to get it back."""
    state = reader.meter.settings.state_dir
    copy = state.parent / "copied-state"
    shutil.copytree(state, copy)  # of the running one: file, -wal and -shm
    (copy / "clawmeter.db-shm").unlink(missing_ok=True)
    other = ledgers.at(meter_factory(home.path, state_dir=copy), NOW)
    assert other.index() == 0
    assert ledgers.everything(other.queries) == ledgers.everything(reader.meter.queries)


# --- a full disk ---------------------------------------------------------------------------------


def fill(meter: clawmeter.Clawmeter, spare: int = 2) -> None:
    """Let the ledger grow by a few pages at most: what SQLite says then is what it says on a full disk."""
    pages = meter.store.db.execute("PRAGMA page_count").fetchone()[0]
    meter.store.db.execute(f"PRAGMA max_page_count = {pages + spare}")


def free(meter: clawmeter.Clawmeter) -> None:
    meter.store.db.execute("PRAGMA max_page_count = 1000000")


def many(home: HandmadeHome, agent: str = "main") -> None:
    """More than a few pages of calls, of a model, an agent and tools that were not there before."""
    calls = [
        call(
            f"m{n}", T0 + n * MINUTE, (n, 1, 2, 3), 0.001, model="new-model", tools=["exec", "read"]
        )
        for n in range(1500)
    ]
    home.write("many", [header("many"), *calls], agent=agent)
    keys = {"agent:main:main": "first"} if agent == "main" else {}
    home.index({**keys, f"agent:{agent}:telegram:direct:9": "many"}, agent=agent)


def test_full_disk_keeps_old_numbers_and_catches_up(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    before = ledgers.everything(reader.meter.queries)
    many(home, "late")
    fill(reader.meter)
    for _ in range(2):
        with pytest.raises(clawmeter.StoreError, match="full"):
            reader.read()
        assert ledgers.everything(reader.meter.queries) == before
        assert ledgers.rollup_differences(reader.meter.store) == []
    free(reader.meter)
    reader.read()
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert (
        ledgers.differences(ledgers.everything(reader.meter.queries), cold(home, meter_factory))
        == []
    )


@pytest.mark.parametrize("spare", [5, 60, 120, 180, 240])
def test_full_disk_in_a_cold_index(spare: int, home: HandmadeHome, meter_factory: Any) -> None:
    """Nothing of the first index is kept then, and nothing of it is believed to be."""
    many(home)
    reader = Reader(meter_factory, home.path)
    fill(reader.meter, spare)
    failed = False
    try:
        reader.read()
    except clawmeter.StoreError:
        failed = True
        assert reader.totals() == (0, 0, 0)
    assert failed or spare > 60
    free(reader.meter)
    reader.read()
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert (
        ledgers.differences(ledgers.everything(reader.meter.queries), cold(home, meter_factory))
        == []
    )


def test_full_disk_while_rows_of_databases_come(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    db = home.database("ops")
    db.add(
        "big",
        [
            header("big"),
            *(
                call(f"b{n}", T0 + n * 1000, model="row-model", text="x" * 3000)
                for n in range(3000)
            ),
        ],
    )
    db.window("big", "agent:ops:main")
    fill(reader.meter, 40)
    with pytest.raises(clawmeter.StoreError, match="full"):
        reader.read()
    free(reader.meter)
    reader.read()
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert (
        ledgers.differences(ledgers.everything(reader.meter.queries), cold(home, meter_factory))
        == []
    )


def test_full_disk_while_a_zone_is_asked_for(home: HandmadeHome, reader: Reader) -> None:
    for n in range(200):
        home.write(f"s{n}", session_of(f"s{n}", 3, T0 - n * 86_400_000))
    reader.read()
    before = ledgers.everything(reader.meter.queries)
    reader.meter.store.db.execute("PRAGMA wal_checkpoint")
    fill(reader.meter, 0)
    with pytest.raises(clawmeter.StoreError, match="full"):
        for zone in ("Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"):
            reader.meter.store.use_zone(zone)
    assert ledgers.everything(reader.meter.queries) == before
    assert ledgers.rollup_differences(reader.meter.store) == []
    free(reader.meter)
    reader.meter.store.use_zone("Asia/Kolkata")
    assert ledgers.everything(reader.meter.queries) == before
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_server_on_a_full_disk_serves_says_so_and_catches_up(
    home: HandmadeHome, reader: Reader
) -> None:
    meter = reader.meter
    meter.start()
    wait_until(meter.passed.is_set, "the first pass")
    before = reader.totals()
    with meter.indexer.lock, meter.store.lock:
        fill(meter, 0)
    many(home)
    wait_until(lambda: any("full" in p for p in meter.problems()), "the problem is said")
    assert reader.totals() == before
    assert reader.health()["status"] == "degraded"
    assert any("full" in p["text"] for p in reader.health()["problems"])
    assert any("full" in a["text"] for a in meter.queries.overview()["attention"])
    with meter.store.lock:
        free(meter)
    wait_until(lambda: reader.totals()[0] == before[0] + 1500, "it catches up", 30)
    wait_until(lambda: not meter.problems(), "the problem is over", 30)
    meter.stopping.set()
    meter.thread.join(10)
    assert ledgers.rollup_differences(meter.store) == []
    assert reader.by("model") == {"acme-1": before[0], "new-model": 1500}


LIMITED = """
import json, os, resource, signal, sys
from pathlib import Path
import clawmeter
limit = int(sys.argv[3])
meter = clawmeter.Clawmeter(clawmeter.Settings(state_dir=Path(sys.argv[2]), homes=(Path(sys.argv[1]),), time_zone="UTC"), env=dict(os.environ))
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    meter.index()
    failed = None
except clawmeter.StoreError as error:
    failed = str(error)
calls = meter.queries.usage(from_="all", by="model")["totals"]["model_calls"]
print(json.dumps({"failed": failed, "calls": calls}))
meter.stop()
"""


def test_file_that_may_not_grow(home: HandmadeHome, meter_factory: Any, tmp_path: Path) -> None:
    """A quota: write() itself fails, in the WAL or in the file. The next run without it has everything."""
    state = tmp_path / "limited"

    def run(limit: int) -> dict[str, Any]:
        command = [sys.executable, "-c", LIMITED, str(home.path), str(state), str(limit)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(tmp_path), timeout=60
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert run(0) == {"failed": None, "calls": 8}
    many(home)
    size = (state / "clawmeter.db").stat().st_size
    limited = run(size + 4096)
    assert limited["failed"]
    assert limited["calls"] == 8
    assert run(0) == {"failed": None, "calls": 1508}
    meter = ledgers.at(meter_factory(home.path, state_dir=state), NOW)
    assert ledgers.rollup_differences(meter.store) == []
    assert ledgers.differences(ledgers.everything(meter.queries), cold(home, meter_factory)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte where we may mount one, else a directory; (what fills it is a file)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1500k", "none", str(folder)], capture_output=True
        ).returncode
        == 0
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_that_is_full_and_gets_room_again(
    small_disk: Path, home: HandmadeHome, meter_factory: Any
) -> None:
    """The same on a real small disk, as root; elsewhere the limit of the ledger stands for it."""
    reader = Reader(meter_factory, home.path, state_dir=small_disk / "state")
    reader.read()
    before = ledgers.everything(reader.meter.queries)
    many(home)
    ballast = small_disk / "ballast"
    if os.path.ismount(small_disk):
        with pytest.raises(OSError, match="No space"), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    else:
        fill(reader.meter)
    with pytest.raises(clawmeter.StoreError, match=r"full|disk I/O"):
        reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    ballast.unlink(missing_ok=True)
    if not os.path.ismount(small_disk):
        free(reader.meter)
    else:
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    reader.read()
    assert reader.totals()[0] == 1508
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert (
        ledgers.differences(ledgers.everything(reader.meter.queries), cold(home, meter_factory))
        == []
    )
    reader.meter.stop()


def test_without_history_the_ledger_is_a_file_that_goes_with_the_process(
    home: HandmadeHome, meter_factory: Any, tmp_path: Path
) -> None:
    state = tmp_path / "untouched"
    meter = meter_factory(home.path, state_dir=state, history=False)
    assert meter.index() == 8
    path = meter.store.path
    assert path.exists()
    assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
    assert not (state / "clawmeter.db").exists()
    meter.stop()
    assert not path.parent.exists()


def test_state_directory_is_private(home: HandmadeHome, reader: Reader) -> None:
    path = Path(reader.meter.settings.ledger_path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_foreign_history_module_is_never_imported(home: HandmadeHome, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "history.py").write_text("raise SystemExit('foreign history was imported')")
    env = environment(tmp_path)
    done = subprocess.run(
        [sys.executable, str(ROOT / "clawmeter.py"), "--home", str(home.path), "--state", str(tmp_path / "s"), "ingest"],
        capture_output=True, text=True, env={**env, "PYTHONPATH": f"{foreign}{os.pathsep}{env['PYTHONPATH']}"}, cwd=foreign, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "8 new model calls" in done.stdout
