"""Agent databases (OpenClaw 2026.8 and later) and the upgrade to them: what a reader of rows can get wrong."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import handmade
import ledgers
import psutil
import pytest
import zstandard
from handmade import (
    MINUTE,
    T0,
    AgentDatabase,
    HandmadeHome,
    Reader,
    call,
    header,
    lines,
    raw,
    session_of,
    user,
)
from homes import FIXTURES
from make_home import OLD_EVENTS

import clawmeter

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(tmp_path / "home")


@pytest.fixture
def db(home: HandmadeHome) -> AgentDatabase:
    """The database of the agent main, with one session of two calls."""
    made = home.database()
    made.add("first", session_of("first", 2))
    made.window("first", "agent:main:main")
    return made


@pytest.fixture
def reader(home: HandmadeHome, db: AgentDatabase, meter_factory: Any) -> Reader:
    made = Reader(meter_factory, home.path)
    made.read()
    return made


def fresh(home: HandmadeHome, meter_factory: Any) -> Reader:
    made = Reader(meter_factory, home.path)
    made.read()
    return made


def test_rows_are_followed(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    assert reader.by("session_key") == {"agent:main:main": 2}
    db.add("first", [call("more", T0 + 9 * MINUTE)])
    db.add("next", session_of("next", 3), zstd=True)
    db.window("next", "agent:main:telegram:direct:7", T0 + 1, channel="telegram")
    assert reader.read() == 4
    assert reader.by("session_key") == {"agent:main:main": 3, "agent:main:telegram:direct:7": 3}
    assert reader.by("channel") == {"(none)": 3, "telegram": 3}
    assert ledgers.everything(fresh(home, meter_factory).meter.queries) == ledgers.everything(
        reader.meter.queries
    )


# --- rows that cannot be read --------------------------------------------------------------------


def test_damaged_frames_and_texts_are_counted_and_named(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    db.add(
        "aaa",
        [*session_of("aaa", 1), b'{"type":"message","message":{"role":"assistant","usage":{"inp'],
    )
    db.add_blob("bbb", b"\x28\xb5\x2f\xfd" + bytes(range(60)))
    db.add_blob("ccc", b"no frame at all")
    db.add("aaa", [call("after", T0 + 9 * MINUTE)])
    reader.read()
    assert reader.by("session") == {"first": 2, "aaa": 2}
    told = reader.source(db.path)
    assert told["bad_lines"] == 3
    assert str(db.path) in told["last_error"]
    assert fresh(home, meter_factory).coverage("bad_lines") == 3


def test_frame_that_claims_gigabytes_is_refused(db: AgentDatabase, reader: Reader) -> None:
    """decompress() believes the size in the frame, whatever max_output_size says."""
    small = zstandard.ZstdCompressor().compress(b"x" * 70_000)
    claims = zstandard.get_frame_parameters(small)
    assert claims.content_size == 70_000
    # Frame header descriptor with an 8-byte content size: 8 GB.
    bomb = small[:4] + b"\xe0" + (8 << 30).to_bytes(8, "little") + small[9:]
    assert zstandard.frame_content_size(bomb) == 8 << 30
    db.add_blob("aaa", bomb)
    db.add("bbb", session_of("bbb", 1))
    reader.read()
    assert reader.by("session") == {"first": 2, "bbb": 1}
    assert "claims 8589934592 bytes" in reader.source(db.path)["last_error"]


def test_frame_without_a_size_that_unpacks_to_gigabytes_is_refused(
    db: AgentDatabase, reader: Reader
) -> None:
    stream = zstandard.ZstdCompressor(level=3).compressobj()
    zeros = b"0" * (1 << 20)
    blob = b"".join(stream.compress(zeros) for _ in range(200)) + stream.flush()
    assert zstandard.frame_content_size(blob) < 0
    db.add_blob("aaa", blob)
    db.add("bbb", session_of("bbb", 1))
    reader.read()
    assert reader.by("session") == {"first": 2, "bbb": 1}
    assert reader.coverage("bad_lines") == 1


def test_bad_rows_that_are_read_again_are_counted_once(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    db.add("aaa", [*session_of("aaa", 2), b"{broken"])
    db.add_blob("bbb", b"no frame")
    reader.read()
    assert reader.coverage("bad_lines") == 2
    with closing(db.connect()) as writer:
        db.move_generation(writer, "aaa")
    reader.read()
    assert reader.coverage("bad_lines") == 2
    # Written anew while another one comes to it.
    rows = db.run("SELECT event_json FROM transcript_events WHERE session_id = 'aaa'")
    db.delete("aaa")
    db.add("aaa", [*(json.loads(r) if "broken" not in r else r.encode() for (r,) in rows), b"{"])
    with closing(db.connect()) as writer:
        db.move_generation(writer, "aaa")
    reader.restart()
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 3
    # And none when they have been repaired.
    db.run("DELETE FROM transcript_events WHERE event_json LIKE '{%' AND NOT json_valid(event_json)")  # fmt: skip
    db.delete("bbb")
    with closing(db.connect()) as writer:
        db.move_generation(writer, "aaa")
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 0
    assert reader.source(db.path)["last_error"] is None
    assert reader.by("session") == {"first": 2, "aaa": 2}


def test_bad_rows_of_a_compacted_session(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    entries = list(session_of("aaa", 6))
    db.add("aaa", [*entries[:4], b"{early", *entries[4:], b"{late"])
    reader.read()
    assert reader.coverage("bad_lines") == 2
    db.compact("aaa", 4)
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 1


def test_bad_rows_where_rowids_are_used_again(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    """Rows of the last day are read again then, those that were counted before among them."""
    db.add("first", [b"{one"], created=T0 + 40 * MINUTE)
    db.add("old", [b"{two"], created=T0 - 3 * 86_400_000)
    db.add("gone", [*session_of("gone", 3), b"{three"], created=T0 + 50 * MINUTE)
    reader.read()
    assert reader.coverage("bad_lines") == 3
    db.delete("gone")
    db.add("new", [*session_of("new", 1, T0 + 60 * MINUTE), b"{four", b"{five"])
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 4
    db.add("first", [b"{six", call("last", T0 + 90 * MINUTE)])
    reader.restart()
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 5
    assert reader.by("session") == {"first": 3, "gone": 3, "new": 1}


def test_bad_rows_of_a_backup_that_is_put_back(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    db.add("aaa", [b"{one"])
    backup = home.path / "backup"
    shutil.copy(db.path, backup)
    db.add("aaa", [b"{two"])
    db.add("bbb", [b"{three"])
    reader.read()
    assert reader.coverage("bad_lines") == 3
    shutil.copy(backup, db.path)
    db.add("first", [call("last", T0 + 90 * MINUTE)])
    reader.read()
    assert reader.coverage("bad_lines") == fresh(home, meter_factory).coverage("bad_lines") == 1


def damage_a_page(path: Path) -> bytes:
    """Overwrite a leaf page of transcript_events; the whole as it was."""
    whole = path.read_bytes()
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
    leaves = [
        at
        for at in range(0, len(whole), size)
        if whole[at] == 0x0D and b'"role"' in whole[at : at + size]
    ]
    at = leaves[len(leaves) // 2]
    path.write_bytes(whole[:at] + b"\xff" * 64 + whole[at + 64 :])
    return whole


@pytest.mark.parametrize("start", ["cold", "later"])
def test_damaged_database_is_said_and_nothing_of_it_is_lost_for_good(
    start: str, home: HandmadeHome, meter_factory: Any
) -> None:
    home.write("file", session_of("file", 1))
    reader = Reader(meter_factory, home.path)
    if start == "later":
        reader.read()
    db = home.database()
    for n in range(6):
        db.add(f"s{n}", session_of(f"s{n}", 100))
    whole = damage_a_page(db.path)
    for _ in range(2):
        reader.read()
        assert reader.by("session")["file"] == 1
        assert reader.coverage("unreadable") == 1
        assert not reader.coverage("complete")
        assert reader.source(db.path)["state"] == "unreadable"
        assert "malformed" in reader.source(db.path)["last_error"]
        assert reader.health()["status"] == "degraded"
    reader.restart()
    assert reader.coverage("unreadable") == 1
    db.path.write_bytes(whole)
    reader.read()
    assert reader.by("session") == {"file": 1, **{f"s{n}": 100 for n in range(6)}}
    assert reader.health()["status"] == "ok"
    assert reader.coverage("complete")


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"garbage" * 1000])
def test_file_that_is_no_database_is_said(
    content: bytes, home: HandmadeHome, meter_factory: Any
) -> None:
    home.write("file", session_of("file", 1))
    path = home.state / "agents" / "ops" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    reader = fresh(home, meter_factory)
    assert reader.totals()[0] == 1
    if content.startswith(b"garbage"):
        assert reader.coverage("unreadable") == 1
        assert reader.health()["status"] == "degraded"
    path.unlink()
    home.database("ops").add("aaa", session_of("aaa", 2))
    reader.read()
    assert reader.by("agent") == {"main": 1, "ops": 2}
    assert reader.health()["status"] == "ok"


# --- schemas -------------------------------------------------------------------------------------


def test_schema_of_the_future_is_read_by_what_is_known_of_it(
    home: HandmadeHome, db: AgentDatabase, meter_factory: Any
) -> None:
    db.run("PRAGMA user_version = 99")
    db.run("ALTER TABLE transcript_events ADD COLUMN event_flags INTEGER DEFAULT 0")
    db.run("ALTER TABLE session_windows ADD COLUMN tenant_id TEXT")
    db.run("CREATE TABLE usage_ledger (id TEXT PRIMARY KEY, usage_json TEXT)")
    db.run("DROP TABLE session_transcript_archives")
    db.run("DROP TABLE transcript_rewrite_watermarks")
    reader = fresh(home, meter_factory)
    assert reader.by("session_key") == {"agent:main:main": 2}
    assert reader.source(db.path)["schema_version"] == 99
    db.run("INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES (?, 99, ?, ?)", "first", raw(call("z", T0 + 9 * MINUTE)).decode(), T0 + 9 * MINUTE)  # fmt: skip
    reader.read()
    assert reader.by("session_key") == {"agent:main:main": 3}
    assert reader.health()["status"] == "ok"


def test_schema_before_compression_is_read(home: HandmadeHome, meter_factory: Any) -> None:
    db = home.database(user_version=22, events_ddl=OLD_EVENTS)
    db.add("aaa", [header("aaa"), user("u", T0 + 1, "[OpenClaw heartbeat poll]")])
    reader = fresh(home, meter_factory)
    db.add("aaa", [call("a", T0 + 2, parent="u")])
    reader.read()
    assert reader.by("cause") == {"heartbeat": 1}


def test_tables_that_are_not_there_yet_are_read_when_they_are(
    home: HandmadeHome, meter_factory: Any
) -> None:
    """A database that OpenClaw is just creating."""
    path = home.state / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE schema_meta (x)")
    reader = fresh(home, meter_factory)
    assert reader.health()["status"] == "ok"
    database = AgentDatabase(path)  # which leaves a database with tables as it is
    with closing(database.connect()) as db:
        for table in handmade.agent_tables():
            if "schema_meta" not in table.split("(")[0]:
                db.execute(table)
    database.add("aaa", session_of("aaa", 2))
    reader.read()
    assert reader.totals()[0] == 2


def test_database_without_times_of_rows_is_read(home: HandmadeHome, meter_factory: Any) -> None:
    path = home.state / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT)")
        add = "INSERT INTO transcript_events VALUES ('aaa', ?, ?)"
        for n, entry in enumerate(session_of("aaa", 2)):
            db.execute(add, (n, raw(entry).decode()))
        reader = fresh(home, meter_factory)
        db.execute(add, (50, raw(call("z", T0 + 9 * MINUTE)).decode()))
        reader.read()
    assert reader.totals()[0] == 3


# --- what OpenClaw does to its rows --------------------------------------------------------------


def test_compaction_that_deletes_and_renumbers_rows_changes_nothing(
    db: AgentDatabase, reader: Reader
) -> None:
    db.add("aaa", session_of("aaa", 20))
    reader.read()
    before = ledgers.everything(reader.meter.queries)
    db.compact("aaa", 5)
    assert db.run("SELECT min(seq), max(seq) FROM transcript_events WHERE session_id = 'aaa'") == [
        (0, 5)
    ]
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    db.add("aaa", [call("after", T0 + 40 * MINUTE)])
    reader.read()
    assert reader.by("session") == {"first": 2, "aaa": 21}
    assert ledgers.rollup_differences(reader.meter.store) == []


@pytest.mark.parametrize("calls", [1, 4, 9])
def test_rowids_that_are_used_again_hide_nothing(
    calls: int, home: HandmadeHome, db: AgentDatabase, reader: Reader
) -> None:
    """SQLite gives the ids of deleted rows to the next ones when they were the highest."""
    db.add("gone", session_of("gone", 4))
    reader.read()
    top = db.run("SELECT max(rowid) FROM transcript_events")[0][0]
    db.delete("gone")
    db.add("new", session_of("new", calls, T0 + 60 * MINUTE))
    assert db.run("SELECT min(rowid) FROM transcript_events WHERE session_id = 'new'")[0][0] < top
    reader.read()
    assert reader.by("session") == {"first": 2, "gone": 4, "new": calls}
    db.add("first", [call("last", T0 + 90 * MINUTE)])
    reader.read()
    assert reader.by("session")["first"] == 3
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_all_rows_deleted_and_new_ones_added(db: AgentDatabase, reader: Reader) -> None:
    db.delete("first")
    reader.read()
    db.add("new", session_of("new", 1, T0 + 60 * MINUTE))
    reader.read()
    assert reader.by("session") == {"first": 2, "new": 1}


@pytest.mark.parametrize("same_height", [True, False])
def test_reset_to_an_older_state_and_other_rows(
    same_height: bool,
    home: HandmadeHome,
    db: AgentDatabase,
    reader: Reader,  # noqa: FBT001
) -> None:
    """A backup of the database is put back, and work goes on from there."""
    backup = home.path / "backup"
    shutil.copy(db.path, backup)
    db.add("aaa", session_of("aaa", 4, T0 + 60 * MINUTE))
    reader.read()
    shutil.copy(backup, db.path)
    db.add("bbb", session_of("bbb", 4 if same_height else 2, T0 + 90 * MINUTE))
    reader.read()
    assert reader.by("session") == {"first": 2, "aaa": 4, "bbb": 4 if same_height else 2}


def test_row_that_is_rewritten_in_place_is_replaced(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    new = call("first-c0", T0 + MINUTE, (7, 7, 7, 7), 0.007, parent="first-u0")
    with closing(db.connect()) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(
            "UPDATE transcript_events SET event_json = ? WHERE seq = 2", (raw(new).decode(),)
        )
        db.move_generation(writer, "first")
        writer.execute("COMMIT")
    reader.read()
    assert reader.totals() == (2, 28 + 114, 7_000_000 + 2_000_000)
    assert fresh(home, meter_factory).totals() == reader.totals()
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_vacuum_moves_rowids_and_hides_nothing(db: AgentDatabase, reader: Reader) -> None:
    for n in range(6):
        db.add(f"s{n}", session_of(f"s{n}", 3, T0 + n * MINUTE))
    reader.read()
    for n in (0, 2, 4):
        db.delete(f"s{n}")
    reader.read()
    db.run("VACUUM")
    db.add("new", session_of("new", 9, T0 + 60 * MINUTE))
    reader.read()
    assert reader.by("session") == {"first": 2, "new": 9, **{f"s{n}": 3 for n in range(6)}}


def test_deleted_session_stays_in_the_ledger(
    home: HandmadeHome, db: AgentDatabase, reader: Reader
) -> None:
    before = ledgers.everything(reader.meter.queries)
    db.delete("first")
    db.run("DELETE FROM session_windows")
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    db.path.unlink()
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    assert reader.coverage("complete")


def archive(
    home: HandmadeHome, db: AgentDatabase, sid: str, entries: list[Any], *, row: bool, file: bool
) -> None:
    blob = zstandard.compress(lines(entries))
    if file:
        (home.sessions() / f"{sid}.jsonl.deleted.2026-11-05T12-00-00.000Z.00ff.zst").write_bytes(
            blob
        )
    if row:
        columns = {
            "session_id": sid, "generation": "00ff", "session_key": f"agent:main:discord:channel:{sid}", "reason": "deleted", "encoding": "zstd",
            "archive_blob": blob, "archive_sha256": "0" * 64, "archive_name": "x", "created_at": T0 + MINUTE, "published_at": T0, "publish_attempts": 1,
        }  # fmt: skip
        marks = ", ".join("?" * len(columns))
        db.run(
            f"INSERT INTO session_transcript_archives ({', '.join(columns)}) VALUES ({marks})",
            *columns.values(),
        )


@pytest.mark.parametrize("order", ["file first", "row first", "only file", "only row"])
def test_archive_file_and_archive_row_are_one_session(
    order: str, home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    entries = list(session_of("aaa", 3))
    if order != "only file" and order != "only row":
        db.add("aaa", entries[:5])
        reader.read()
        db.delete("aaa")
    for what in ("row", "file") if order == "row first" else ("file", "row"):
        if not order.startswith("only") or order.endswith(what):
            archive(home, db, "aaa", entries, row=what == "row", file=what == "file")
            reader.read()
    assert reader.by("session") == {"first": 2, "aaa": 3}
    if order != "only file":
        assert reader.by("session_key")["agent:main:discord:channel:aaa"] == 3
        assert reader.by("channel")["discord"] == 3
    assert ledgers.everything(fresh(home, meter_factory).meter.queries) == ledgers.everything(
        reader.meter.queries
    )


def test_forked_session_with_copied_rows(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    entries = list(session_of("first", 2))
    db.add("fork", [header("fork", T0 + 60 * MINUTE), *entries[1:], call("own", T0 + 61 * MINUTE)])
    reader.read()
    assert reader.by("session") == {"first": 2, "fork": 1}
    assert fresh(home, meter_factory).by("session") == {"first": 2, "fork": 1}


def test_index_row_with_an_older_time_is_learned_too(
    home: HandmadeHome, db: AgentDatabase, reader: Reader, meter_factory: Any
) -> None:
    """The upgrade imports sessions with the times that they had, in several transactions."""
    db.add("aaa", session_of("aaa", 3, T0 - 90 * MINUTE))
    db.window("aaa", "agent:main:cron:nightly:run:aaa", T0 - 80 * MINUTE)
    reader.read()
    assert reader.by("session_key") == {"agent:main:main": 2, "agent:main:cron:nightly:run:aaa": 3}
    assert ledgers.groups(fresh(home, meter_factory).meter.queries) == ledgers.groups(
        reader.meter.queries
    )


def test_heartbeat_of_a_row_far_up_is_found(
    home: HandmadeHome, db: AgentDatabase, reader: Reader
) -> None:
    db.add(
        "aaa",
        [
            header("aaa"),
            user("u1", T0 + 1, "[OpenClaw heartbeat poll]"),
            call("a", T0 + 2, parent="u1"),
        ],
        zstd=True,
    )
    reader.read()
    db.add("aaa", [user("u2", T0 + 3, "hello"), call("b", T0 + 4, parent="u2")])
    reader.read()
    db.add("aaa", [call("c", T0 + 5, parent="a")])
    reader.restart()
    reader.read()
    assert reader.by("cause") == {"user": 2, "heartbeat": 2, "unknown": 1}


# --- the upgrade ---------------------------------------------------------------------------------


def upgrade(home: Path) -> None:
    """What `openclaw doctor --fix` of 2026.9 does to a home of 2026.6 (tests/data/README.md shows one)."""
    for folder in sorted((home / ".openclaw" / "agents").iterdir()):
        sessions, target = folder / "sessions", folder / "session-sqlite-import-archive"
        index = json.loads((sessions / "sessions.json").read_text())
        keys = {e["sessionId"]: k for k, e in index.items()}
        (folder / "agent").mkdir(exist_ok=True)
        target.mkdir()
        db = AgentDatabase(folder / "agent" / "openclaw-agent.sqlite")
        for path in sorted(sessions.glob("*.jsonl")):
            sid = path.name.split(".")[0]
            if path.name != f"{sid}.jsonl":
                if ".trajectory" in path.name:
                    path.rename(target / f"x.{path.name}.imported-{T0}")
                continue
            entries = []
            for line in path.read_bytes().decode("utf-8-sig", "replace").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    entries.append(entry)
            key = keys.get(sid) or f"agent:{folder.name}:recovered:{sid}"
            db.add(sid, entries, zstd=True)
            entry = index.get(key, {})
            db.window(
                sid,
                key,
                entry.get("updatedAt", T0),
                channel=entry.get("channel"),
                spawned_by=entry.get("spawnedBy"),
            )
            path.rename(target / f"{key.replace(':', '_')}.{path.name}.imported-{T0}")
        (sessions / "sessions.json").rename(target / f"legacy-store.sessions.json.imported-{T0}")


@pytest.mark.parametrize("pause", ["running", "stopped"])
def test_upgrade_changes_nothing_that_was_counted(
    pause: str, home_factory: Any, meter_factory: Any
) -> None:
    home = home_factory("jsonl-mid", seed=5, agents=3, sessions=12, messages=300)
    reader = Reader(meter_factory, home.path)
    reader.meter.clock = reader.meter.queries.clock = lambda: home.truth["meta"]["now_ms"] / 1000
    reader.read()
    assert ledgers.truth_differences(reader.meter.queries, home.truth) == []
    before = (
        ledgers.groups(reader.meter.queries),
        [ledgers.days(reader.meter.queries, z) for z in ledgers.ZONES],
    )
    upgrade(home.path)
    if pause == "stopped":
        reader.restart()
    reader.read()
    after = (
        ledgers.groups(reader.meter.queries),
        [ledgers.days(reader.meter.queries, z) for z in ledgers.ZONES],
    )
    # Sessions without an index entry have a key now; nothing else moves.
    for by in ("session_key", "cause"):
        for answer in (before[0], after[0]):
            answer.pop(by)
    assert ledgers.differences(after[0], before[0]) == []
    assert after[1] == before[1]
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert reader.coverage("unreadable") == 0


def test_upgrade_seen_half_way(home_factory: Any, meter_factory: Any) -> None:
    """Files and rows at once: while OpenClaw imports, both are there."""
    home = home_factory("jsonl-mid", seed=6, agents=3, sessions=10, messages=200)
    kept = home.path.parent / "kept"
    shutil.copytree(home.path, kept)
    upgrade(home.path)
    shutil.copytree(kept / ".openclaw" / "agents", home.state / "agents", dirs_exist_ok=True)
    reader = Reader(meter_factory, home.path)
    reader.read()
    found = {
        f: reader.meter.queries.usage(from_="all", by="model")["totals"][f]
        for f in ledgers.TRUTH_FIELDS
    }
    assert found == {
        ours: home.truth["totals"][theirs] for ours, theirs in ledgers.TRUTH_FIELDS.items()
    }


def test_real_home_before_and_after_its_real_upgrade(
    real_homes: Any, meter_factory: Any, tmp_path: Path
) -> None:
    """2026.6.11, then the same home after `openclaw doctor --fix` of 2026.9.6: one ledger, no total moves."""
    home = tmp_path / "home"
    real_homes("2026.6.11").rename(home)
    reader = Reader(meter_factory, home)
    reader.read()
    before = ledgers.groups(reader.meter.queries)
    shutil.rmtree(home / ".openclaw")
    shutil.copytree(
        real_homes("2026.9.6-upgraded-from-2026.6.11") / ".openclaw", home / ".openclaw"
    )
    reader.read()
    after = ledgers.groups(reader.meter.queries)
    for by in ("model", "agent", "provider", "session", "tool", "total of model"):
        assert after[by] == before[by]
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_a_first_index_says_how_far_it_is(tmp_path: Path, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")
    database = home.database()
    for n in range(8):
        for entry in session_of(f"s{n}", 30):
            database.add(f"s{n}", [{**entry, "pad": "x" * 40_000}])
    meter = meter_factory(home.state)
    steps: list[int] = []
    meter.index(lambda progress: steps.append(progress.indexed_bytes))
    total = meter.indexer.progress.total_bytes
    assert steps == sorted(steps)
    assert steps[-1] == total
    assert any(total / 10 < done < total * 0.9 for done in steps)


def test_a_database_that_cannot_be_read_for_a_while_is_read_on_from_where_it_was(
    tmp_path: Path, meter_factory: Any
) -> None:
    """Not anew: a home may have gigabytes."""
    home = HandmadeHome(tmp_path / "home")
    database = home.database()
    for n in range(3):
        database.add(f"s{n}", session_of(f"s{n}", 5))
    meter = meter_factory(home.state)
    meter.index()
    database.add("s1", [call("later", T0 + 9 * MINUTE)])
    with database.path.open("r+b") as file:
        head = file.read(16)
        file.seek(0)
        file.write(b"\0" * 16)
        file.flush()
        meter.index()
        assert meter.indexer.known[str(database.path)].state == "unreadable"
        assert meter.queries.usage(from_="all")["totals"]["model_calls"] == 15
        file.seek(0)
        file.write(head)
    told: list[clawmeter.Changes] = []
    meter.store.watchers.append(told.append)
    meter.index()
    assert meter.indexer.known[str(database.path)].state == "ok"
    assert meter.queries.usage(from_="all")["totals"]["model_calls"] == 16
    assert [len(changes.sessions) for changes in told] == [1]


def test_a_database_is_closed_while_we_write(reader: Reader, home: HandmadeHome) -> None:
    """A reader that stays makes the gateway leave files behind; storing many rows may take long."""
    database = home.database()
    database.add("aaa", [header("aaa"), call("first", T0 + 1)])
    reader.read()
    many = [call(f"c{n}", T0 + 10 + n, padding="x" * 2000) for n in range(3000)]
    database.add("aaa", many)
    open_then: list[str] = []
    mine = psutil.Process()

    def look(_: object) -> None:
        open_then.extend(file.path for file in mine.open_files())

    reader.meter.store.watchers.append(look)
    assert reader.read() == 3000
    assert [path for path in open_then if path.startswith(str(home.path))] == []
    assert reader.totals()[0] == 3003


def test_a_transcript_of_a_database_without_archives_is_shown(
    reader: Reader, db: AgentDatabase
) -> None:
    db.run("DROP TABLE session_transcript_archives")
    page = reader.meter.queries.transcript("first")
    assert sum(entry["kind"] == "assistant" for entry in page["entries"]) == 2


def test_the_list_of_identities_says_what_the_rows_say(meter_factory: Any, home_factory: Any) -> None:  # fmt: skip
    """A transcript is shown by it, without unpacking the rows; real databases and made ones, all sessions."""
    homes = [FIXTURES / "2026.9.6", FIXTURES / "2026.9.6-upgraded-from-2026.6.11", home_factory("sqlite", copy=False, sessions=12, messages=300).path]  # fmt: skip
    everything = clawmeter.EntryFilter()
    shown, sessions, unpacked, scan_entries = 0, 0, set(), clawmeter.scan_entries
    for home in homes:
        meter = meter_factory(home)
        meter.index()
        for row in meter.queries.sessions(limit="10000")[0]:
            sid, places = meter.queries._find_transcript(row["id"])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(clawmeter, "scan_entries", lambda place, of: unpacked.add(of) or scan_entries(place, of))  # fmt: skip
                listed = clawmeter.map_transcript(places, sid, everything)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(clawmeter, "read_identities", lambda *_: None)
                assert clawmeter.map_transcript(places, sid, everything) == listed
            shown += len(listed.entries)
            sessions += all(place.kind == "database" for place in places)
    assert shown > 500
    assert len(unpacked) < sessions / 2  # of the others no row was read


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM transcript_event_identities WHERE seq = 1",
        "UPDATE transcript_event_identities SET seq = seq + 1",
        "DROP TABLE transcript_event_identities",
    ],
)
def test_where_the_list_of_identities_is_not_complete_the_rows_are_read(
    reader: Reader, db: AgentDatabase, damage: str
) -> None:
    before = reader.meter.queries.transcript("first")["entries"]
    db.run(damage)
    assert reader.meter.queries.transcript("first")["entries"] == before
    assert sum(entry["kind"] == "assistant" for entry in before) == 2


def test_a_row_that_cannot_be_unpacked_takes_no_other_with_it(
    reader: Reader, db: AgentDatabase
) -> None:
    db.add_blob("first", b"(\xb5/\xfd garbage")
    db.run("INSERT INTO transcript_event_identities (session_id, event_id, seq, event_type, created_at) VALUES ('first', 'broken', 10000, 'message', 1)")  # fmt: skip
    page = reader.meter.queries.transcript("first")
    assert sum(entry["kind"] == "assistant" for entry in page["entries"]) == 2
