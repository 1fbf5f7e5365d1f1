"""JSONL transcripts: every trap that was seen in the field, each with a test of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import ledgers
import pytest
import zstandard
from handmade import (
    MINUTE,
    T0,
    HandmadeHome,
    Reader,
    append,
    call,
    header,
    iso,
    lines,
    raw,
    result,
    session_of,
    user,
)

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OLD, NEW = (10, 1, 0, 0), (20, 2, 3, 4)
POLL = "[OpenClaw heartbeat poll]"


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(tmp_path / "home")


@pytest.fixture
def reader(home: HandmadeHome, meter_factory: Any) -> Reader:
    """Of a home that had one session when it was first read: what comes is read as an addition."""
    home.write("first", session_of("first", 1))
    made = Reader(meter_factory, home.path)
    made.read()
    return made


def fresh(home: HandmadeHome, meter_factory: Any) -> Reader:
    """A reader that finds everything at once."""
    made = Reader(meter_factory, home.path)
    made.read()
    return made


FIRST = (1, 110, 1_000_000)  # totals of the session `first`


def plus(*more: tuple[int, int, int], start: tuple[int, int, int] = FIRST) -> tuple[int, ...]:
    return tuple(map(sum, zip(start, *more, strict=True)))


# --- one call, several places --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [
    ".jsonl.reset.2026-11-05T12-00-00.000Z", ".jsonl.deleted.2026-11-05T12-00-00.000Z", ".jsonl.bak.2026-11-05T12-00-00.000Z",
    ".checkpoint.0b8f7a0e-1111-4222-8333-444455556666.jsonl",
])  # fmt: skip
def test_copy_of_a_live_file_is_not_counted_again(
    suffix: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    entries = list(session_of("aaa", 3))
    home.write("aaa", entries, suffix=suffix)
    reader.read()
    once = reader.totals()
    assert once[0] == 4
    home.write("aaa", entries)
    reader.read()
    assert reader.totals() == once
    assert fresh(home, meter_factory).totals() == once


@pytest.mark.parametrize(
    "suffix", [".jsonl.reset.1", ".jsonl.deleted.1", ".jsonl.bak.1", ".checkpoint.0b8f7a0e.jsonl"]
)
def test_what_only_a_copy_has_is_counted(suffix: str, home: HandmadeHome, reader: Reader) -> None:
    entries = list(session_of("aaa", 3))
    home.write("aaa", entries, suffix=suffix)
    home.write("aaa", [entries[0], *entries[-2:]])
    reader.read()
    assert reader.by("session") == {"first": 1, "aaa": 3}


def test_trajectories_are_no_transcripts(home: HandmadeHome, reader: Reader) -> None:
    for suffix in (".trajectory.jsonl", ".trajectory.jsonl.deleted.1", ".trajectory-path.json"):
        home.write("aaa", session_of("aaa", 2), suffix=suffix)
    archive = home.state / "agents" / "main" / "session-sqlite-import-archive"
    archive.mkdir()
    (archive / "agent_main_main.aaa.trajectory.jsonl.imported-1").write_bytes(
        lines(session_of("aaa", 2))
    )
    reader.read()
    assert reader.totals() == FIRST


def test_rows_that_the_gateway_made_up_are_no_calls(home: HandmadeHome, reader: Reader) -> None:
    made_up = [
        call(f"g{n}", T0 + n, (0, 0, 0, 0), 0, provider="openclaw", model=model, stopReason="stop")
        for n, model in enumerate(("gateway-injected", "delivery-mirror"))
    ]
    home.write("aaa", [header("aaa"), *made_up, call("real", T0 + 9)])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    assert reader.sql("SELECT count(*) FROM messages WHERE kind = 'injected'") == [(2,)]


def test_assistant_without_usage_is_a_message_and_no_call(
    home: HandmadeHome, reader: Reader
) -> None:
    entry = call("a", T0 + 1)
    del entry["message"]["usage"]
    home.write("aaa", [header("aaa"), entry])
    reader.read()
    assert reader.totals() == FIRST
    assert reader.sql("SELECT count(*) FROM messages WHERE kind = 'assistant'") == [(1,)]


def test_usage_inside_arguments_is_not_usage(home: HandmadeHome, reader: Reader) -> None:
    entry = call("a", T0 + 1, tools=["write"])
    entry["message"]["content"][1]["arguments"] = {
        "message": call("x", T0)["message"],
        "usage": {"input": 10**8},
    }
    home.write("aaa", [header("aaa"), entry, user("u", T0 + 5, json.dumps(call("y", T0)))])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))


def test_line_that_is_there_twice_is_one_call(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    entry = call("a", T0 + 1)
    path = home.write("aaa", [header("aaa"), entry, entry])
    reader.read()
    append(path, [entry])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    assert fresh(home, meter_factory).totals() == reader.totals()


def test_same_id_in_two_sessions_at_two_times_is_two_calls(
    home: HandmadeHome, reader: Reader
) -> None:
    home.write("aaa", [header("aaa"), call("same", T0 + 1)])
    home.write("bbb", [header("bbb"), call("same", T0 + 2)])
    reader.read()
    assert reader.by("session") == {"first": 1, "aaa": 1, "bbb": 1}


def test_same_id_and_time_in_two_sessions_with_other_usage_is_two_calls(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("same", T0 + 1, OLD)])
    home.write("bbb", [header("bbb"), call("same", T0 + 1, NEW)])
    reader.read()
    assert reader.by("session") == {"first": 1, "aaa": 1, "bbb": 1}
    assert fresh(home, meter_factory).by("session") == reader.by("session")


def test_two_calls_in_one_millisecond_stay_two(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("one", T0 + 1), call("two", T0 + 1)])
    reader.read()
    assert reader.by("session")["aaa"] == 2
    assert fresh(home, meter_factory).by("session")["aaa"] == 2


# --- entries without what others have ------------------------------------------------------------


def test_calls_without_ids_are_told_apart_by_their_ordinal(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    entries = [
        header("aaa"),
        call(None, T0 + 1),
        call(None, T0 + 1),
        call(None, T0 + 2),
        call(None, T0 + 2, NEW),
    ]
    home.write("aaa", entries)
    home.write("aaa", entries, suffix=".jsonl.bak.1")  # a copy has the same ordinals
    reader.read()
    assert reader.by("session")["aaa"] == 4
    assert fresh(home, meter_factory).by("session")["aaa"] == 4


def test_calls_without_ids_are_told_apart_also_when_they_come_in_two_passes(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    path = home.write("aaa", [header("aaa"), call(None, T0 + 1)])
    reader.read()
    append(path, [call(None, T0 + 1), call(None, T0 + 1, NEW)])
    reader.read()
    assert reader.by("session")["aaa"] == 3
    assert fresh(home, meter_factory).by("session")["aaa"] == 3


def test_time_of_a_call_is_the_outer_one_else_the_inner_one(
    home: HandmadeHome, reader: Reader
) -> None:
    no_outer, no_inner = call("a", T0 + 5000), call("b", T0 + 7000)
    del no_outer["timestamp"]
    del no_inner["message"]["timestamp"]
    home.write("aaa", [header("aaa"), no_outer, no_inner])
    reader.read()
    times = reader.sql("SELECT ts_ms, latency_ms FROM model_calls WHERE session = (SELECT id FROM sessions WHERE session_id = 'aaa') ORDER BY 1")  # fmt: skip
    assert times == [(T0 + 3500, None), (T0 + 7000, None)]


def test_call_without_any_time_is_shown_and_not_summed(home: HandmadeHome, reader: Reader) -> None:
    entry = call("a", T0)
    del entry["timestamp"]
    del entry["message"]["timestamp"]
    home.write("aaa", [header("aaa"), entry, call("b", T0 + 1)])
    reader.read()
    assert reader.by("session")["aaa"] == 1
    assert [i["reason"] for i in reader.health()["implausible"]] == ["no time"]


@pytest.mark.parametrize("without", ["model", "provider", "api", "stopReason", "content"])
def test_call_without_a_field_is_still_counted(
    without: str, home: HandmadeHome, reader: Reader
) -> None:
    entry = call("a", T0 + 1)
    del entry["message"][without]
    home.write("aaa", [header("aaa"), entry])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))


# --- rewritten entries ---------------------------------------------------------------------------


def test_call_that_is_rewritten_in_place_is_replaced(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("x", T0 + 5, OLD, 0.01), call("y", T0 + 9)])
    reader.read()
    home.write("aaa", [header("aaa"), call("x", T0 + 5, NEW, 0.02), call("y", T0 + 9)])
    reader.read()
    assert reader.totals() == plus((2, 29 + 120, 30_000_000))
    assert ledgers.rollup_differences(reader.meter.store) == []
    assert fresh(home, meter_factory).totals() == reader.totals()


def test_rewritten_in_place_with_as_many_bytes(home: HandmadeHome, reader: Reader) -> None:
    """Same size, same inode, only the time of change is another."""
    path = home.write(
        "aaa", [header("aaa"), call("x", T0 + 5, (11, 22, 0, 0)), *session_of("rest", 20)]
    )
    reader.read()
    before = reader.by("session", "input_tokens")["aaa"]
    size = path.stat().st_size
    with open(path, "r+b") as file:
        at = file.read().index(b'"input":11,') + 8
        file.seek(at)
        file.write(b"77")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    assert path.stat().st_size == size
    reader.read()
    assert reader.by("session", "input_tokens")["aaa"] == before + 66


@pytest.mark.parametrize("first", ["live", "bak"])
def test_backup_of_a_rewritten_call_does_not_count(
    first: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    def live() -> None:
        home.write("aaa", [header("aaa"), call("x", T0 + 5, NEW, 0.02)])

    def bak() -> None:
        home.write("aaa", [header("aaa"), call("x", T0 + 5, OLD, 0.01)], suffix=".jsonl.bak.1")

    for step in (live, bak) if first == "live" else (bak, live):
        step()
        reader.read()
    assert reader.totals() == plus((1, 29, 20_000_000))
    assert fresh(home, meter_factory).totals() == reader.totals()
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_old_and_new_wording_both_in_a_backup(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """The repair wrote the entry again at the end and kept all of it in a .bak."""
    old, new = call("x", T0 + 5, OLD, 0.01), call("x", T0 + 5, NEW, 0.02)
    home.write("aaa", [header("aaa"), old, new], suffix=".jsonl.bak.1")
    reader.read()
    home.write("aaa", [header("aaa"), new])
    reader.read()
    assert reader.totals() == plus((1, 29, 20_000_000))
    assert fresh(home, meter_factory).totals() == reader.totals()


@pytest.mark.parametrize("larger", ["1", "2"])
def test_of_two_backups_the_later_wording_counts(
    larger: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """Rewritten twice, then cut off the live file: both wordings are in a .bak and nowhere else. A cold index reads
    large files first, so size must not decide."""
    for number, tokens in (("1", OLD), ("2", NEW)):
        padding = [user(f"u{n}", T0 + n, "x" * 500) for n in range(9 if number == larger else 1)]
        home.write(
            "aaa",
            [header("aaa"), call("x", T0 + 5, tokens), *padding],
            suffix=f".jsonl.bak.2026-11-0{number}T00-00-00.000Z",
        )
        reader.read()
    assert reader.totals() == plus((1, 29, 10_000_000))
    assert fresh(home, meter_factory).totals() == reader.totals()


@pytest.mark.parametrize("first", ["fork", "rewrite"])
def test_fork_keeps_the_wording_that_it_copied(
    first: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """Other usage in another session is another call: before and after the origin is rewritten."""
    old, new = call("x", T0 + 5, OLD, 0.01), call("x", T0 + 5, NEW, 0.02)
    home.write("aaa", [header("aaa"), old])
    if first == "fork":
        home.write("bbb", [header("bbb", T0 + MINUTE), old])
    reader.read()
    home.write("aaa", [header("aaa"), new])
    reader.read()
    home.write("bbb", [header("bbb", T0 + MINUTE), old])
    reader.read()
    assert reader.by("session", "total_tokens") == {"first": 110, "aaa": 29, "bbb": 11}
    assert fresh(home, meter_factory).by("session", "total_tokens") == reader.by(
        "session", "total_tokens"
    )
    assert ledgers.rollup_differences(reader.meter.store) == []


# --- forks and keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("origin", "fork"), ("fork", "origin")])
def test_copied_call_belongs_to_the_session_that_began_first(
    order: tuple[str, str], home: HandmadeHome, reader: Reader
) -> None:
    origin = list(session_of("origin", 3))
    fork = [
        header("fork", T0 + 10 * MINUTE, parentSession="x"),
        *origin[1:5],
        call("own", T0 + 11 * MINUTE),
    ]
    for sid in order:
        home.write(sid, {"origin": origin, "fork": fork}[sid])
        reader.read()
    assert reader.by("session") == {"first": 1, "origin": 3, "fork": 1}
    assert reader.meter.queries.session("fork")["copied_calls"] == 2
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_earlier_header_that_is_found_later_takes_its_calls_back(
    home: HandmadeHome, reader: Reader
) -> None:
    """The origin was cut to its last lines, so its beginning is known only when its .bak is read."""
    origin = list(session_of("origin", 3, T0))
    late = [{**e} for e in origin[1:]]
    home.write("fork", [header("fork", T0 - MINUTE), *late])
    home.write("origin", late)
    reader.read()
    assert reader.by("session") == {"first": 1, "fork": 3}
    home.write("origin", [header("origin", T0 - 2 * MINUTE), *late], suffix=".jsonl.bak.1")
    reader.read()
    assert reader.by("session") == {"first": 1, "origin": 3}
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_index_that_is_written_late_names_what_was_read(home: HandmadeHome, reader: Reader) -> None:
    home.write("aaa", session_of("aaa", 2))
    home.write("bbb", session_of("bbb", 3))
    reader.read()
    assert reader.by("session_key") == {"(none)": 6}
    assert reader.by("cause") == {"unknown": 6}
    home.index(
        {
            "agent:main:telegram:direct:7": "aaa",
            "agent:main:cron:job-1:run:bbb": {"sessionId": "bbb", "channel": "webchat"},
        }
    )
    reader.read()
    assert reader.by("session_key") == {
        "(none)": 1,
        "agent:main:telegram:direct:7": 2,
        "agent:main:cron:job-1:run:bbb": 3,
    }
    assert reader.by("cause") == {"unknown": 1, "user": 2, "cron": 3}
    assert reader.by("channel") == {"(none)": 1, "telegram": 2, "webchat": 3}
    assert reader.by("cron_job") == {"(none)": 3, "job-1": 3}


def test_key_of_a_job_gives_way_to_the_key_of_its_run(home: HandmadeHome, reader: Reader) -> None:
    """OpenClaw 2026.2 writes both with one session id."""
    home.write("aaa", session_of("aaa", 1))
    home.index({"agent:main:cron:j:run:aaa": "aaa", "agent:main:cron:j": "aaa"})
    reader.read()
    assert reader.by("session_key")["agent:main:cron:j:run:aaa"] == 1


def test_session_keeps_its_key_when_the_key_goes_on_to_another(
    home: HandmadeHome, reader: Reader
) -> None:
    home.write("aaa", session_of("aaa", 1))
    home.index({"agent:main:main": "aaa"})
    reader.read()
    home.write("bbb", session_of("bbb", 2))
    home.index({"agent:main:main": "bbb"})
    reader.read()
    assert reader.by("session_key") == {"(none)": 1, "agent:main:main": 3}
    assert reader.by("session") == {"first": 1, "aaa": 1, "bbb": 2}


def test_orphan_of_a_reset_without_a_key_is_counted(home: HandmadeHome, reader: Reader) -> None:
    """2026.2: the old file stays without a rename and without an index entry."""
    home.write("old", session_of("old", 2))
    home.write("new", session_of("new", 1, T0 + 9 * MINUTE))
    home.index({"agent:main:main": "new"})
    reader.read()
    assert reader.by("session_key") == {"(none)": 3, "agent:main:main": 1}


def test_file_without_a_header_belongs_to_the_session_of_its_name(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    entries = list(session_of("aaa", 4))
    path = home.write("aaa", entries)
    reader.read()
    before = reader.totals()
    shutil.copy(path, path.with_name("aaa.jsonl.bak.1"))
    home.write("aaa", entries[-3:])  # maxLines on 2026.2: the last lines, no header
    reader.read()
    assert reader.totals() == before
    assert reader.by("session")["aaa"] == 4
    assert ledgers.everything(fresh(home, meter_factory).meter.queries) == ledgers.everything(
        reader.meter.queries
    )


def test_garbage_in_the_index_is_said_and_repaired(home: HandmadeHome, reader: Reader) -> None:
    path = home.index({"agent:main:main": "first"})
    reader.read()
    path.write_text('{"agent:main:main": {"sess')
    reader.read()
    assert reader.by("session_key") == {"agent:main:main": 1}
    assert reader.coverage("unreadable") == 1
    assert not reader.coverage("complete")
    assert any("sessions.json" in p["text"] for p in reader.health()["problems"])
    home.index({"agent:main:main": "first", "agent:main:x": "aaa"})
    home.write("aaa", session_of("aaa", 1))
    reader.read()
    assert reader.coverage("unreadable") == 0
    assert reader.by("session_key") == {"agent:main:main": 1, "agent:main:x": 1}
    assert reader.health()["status"] == "ok"


def test_index_that_was_garbage_and_is_gone_is_no_problem_any_more(
    home: HandmadeHome, reader: Reader
) -> None:
    """As after the upgrade to SQLite, which has no sessions.json."""
    path = home.index({})
    path.write_text("garbage")
    reader.read()
    path.unlink()
    reader.read()
    assert reader.coverage("unreadable") == 0
    assert reader.health()["status"] == "ok"
    reader.restart()
    reader.read()
    assert reader.coverage("complete")


def test_garbage_in_the_index_from_the_start(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("aaa", session_of("aaa", 1))
    home.index({}).write_bytes(b"\xff\xfe\x00")
    found = fresh(home, meter_factory)
    assert found.totals()[0] == 1
    assert found.coverage("unreadable") == 1
    home.index({"agent:main:main": "aaa"})
    found.read()
    assert found.by("session_key") == {"agent:main:main": 1}
    assert found.coverage("complete")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "x",
        {},
        {"sessionId": 5},
        {"sessionId": "first", "updatedAt": 1e300},
        {"sessionId": "first", "updatedAt": 2**70, "contextTokens": 2**64, "totalTokens": -(2**64)},
    ],
)
def test_odd_entry_of_an_index_harms_no_other(
    entry: Any, home: HandmadeHome, reader: Reader
) -> None:
    home.write("aaa", session_of("aaa", 1))
    path = home.index({"agent:main:a": "aaa"})
    table = json.loads(path.read_text())
    path.write_text(json.dumps({"agent:main:odd": entry, **table, "agent:main:odd2": entry}))
    reader.read()
    assert reader.by("session_key")["agent:main:a"] == 1


# --- half-written lines and archives -------------------------------------------------------------


def test_truncated_last_line_is_read_on_the_next_pass(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    path = home.write("aaa", [header("aaa"), call("a", T0 + 1)])
    line = raw(call("b", T0 + 2))
    for cut in (1, 40, len(line) - 1):
        path.write_bytes(lines([header("aaa"), call("a", T0 + 1)]) + line[:cut])
        reader.read()
        assert reader.by("session")["aaa"] == 1
        assert reader.coverage("bad_lines") == 1
        assert f"{path} line 3" in reader.source(path)["last_error"]
        assert fresh(home, meter_factory).coverage("bad_lines") == 1
    with open(path, "ab") as file:
        file.write(line[-1:])  # the line is whole, its end still missing: it counts at once
    reader.read()
    assert reader.by("session")["aaa"] == 2
    assert reader.coverage("bad_lines") == 0
    append(path, [b"", call("c", T0 + 3)])
    reader.read()
    assert reader.by("session")["aaa"] == 3
    assert reader.coverage("bad_lines") == 0
    assert reader.source(path)["last_error"] is None


def test_truncated_line_that_a_restarted_gateway_ends_is_a_bad_line(
    home: HandmadeHome, reader: Reader
) -> None:
    path = home.write("aaa", [header("aaa")])
    append(path, [raw(call("a", T0 + 1))[:90]], end=b"")
    reader.read()
    append(path, [b"", call("b", T0 + 2)])
    reader.read()
    assert reader.by("session")["aaa"] == 1
    assert reader.coverage("bad_lines") == 1


def test_half_a_character_at_the_end_is_no_error(home: HandmadeHome, reader: Reader) -> None:
    path = home.write("aaa", [header("aaa")])
    line = raw(call("a", T0 + 1, model="größe"))
    cut = line.index("ö".encode()) + 1
    append(path, [line[:cut]], end=b"")
    reader.read()
    append(path, [line[cut:]])
    reader.read()
    assert reader.by("model") == {"acme-1": 1, "größe": 1}


def test_archive_that_is_still_being_written(
    home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(lines(session_of("aaa", 200)))
    path = home.sessions() / "aaa.jsonl.deleted.2026-11-05T12-00-00.000Z.0123.zst"
    expected = plus(
        (200, sum(110 + 2 * n + n % 7 + n % 3 for n in range(200)), sum(range(1, 201)) * 1_000_000)
    )
    for share in (0.0, 0.1, 0.5, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        reader.read()
        assert reader.totals()[0] <= expected[0]
    path.write_bytes(whole)
    reader.read()
    assert reader.totals() == expected
    assert reader.coverage("bad_lines") == 0
    assert reader.source(path)["state"] == "ok"
    assert fresh(home, meter_factory).totals() == expected


def test_half_an_archive_is_said_to_be_one(home: HandmadeHome, reader: Reader) -> None:
    whole = zstandard.compress(lines(session_of("aaa", 200)))
    path = home.sessions() / "aaa.jsonl.deleted.1.zst"
    path.write_bytes(whole[: len(whole) // 2])
    reader.read()
    told = reader.source(path)
    assert told["state"] == "partial" or told["bad_lines"] >= 1


def test_archive_of_several_frames_and_damaged_in_the_last(
    home: HandmadeHome, reader: Reader
) -> None:
    entries = [*session_of("aaa", 6)]
    frames = [zstandard.compress(lines(entries[a : a + 4])) for a in range(0, len(entries), 4)]
    path = home.sessions() / "aaa.jsonl.deleted.1.zst"
    path.write_bytes(b"".join(frames))
    reader.read()
    assert reader.by("session")["aaa"] == 6
    other = home.sessions() / "bbb.jsonl.deleted.1.zst"
    other.write_bytes(frames[0].replace(b"aaa", b"aaa") + b"\x28\xb5\x2f\xfd\xff\xff\xff\xff" * 9)
    reader.read()
    assert reader.source(other)["bad_lines"] == 1
    assert "damaged" in reader.source(other)["last_error"]
    assert reader.by("session")["aaa"] == 6


def test_archive_that_unpacks_to_gigabytes_takes_no_memory(
    home: HandmadeHome, reader: Reader
) -> None:
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    zeros = b"0" * (1 << 20)
    blob = b"".join(compressor.compress(zeros) for _ in range(300)) + compressor.flush()
    assert len(blob) < 100_000
    path = home.sessions() / "aaa.jsonl.deleted.1.zst"
    path.write_bytes(zstandard.compress(lines([call("a", T0 + 1)])) + blob)
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    assert "longer than" in reader.source(path)["last_error"]


def test_cold_archive_is_named_by_a_hash_and_tells_its_session(
    home: HandmadeHome, reader: Reader
) -> None:
    data = lines(session_of("aaa", 2))
    folder = home.sessions() / "cold"
    folder.mkdir()
    (folder / f"{hashlib.sha256(data).hexdigest()}.jsonl.zst").write_bytes(zstandard.compress(data))
    reader.read()
    assert reader.by("session") == {"first": 1, "aaa": 2}


# --- bytes that are not what they should be ------------------------------------------------------


def test_lone_surrogates_are_read(home: HandmadeHome, reader: Reader) -> None:
    """JavaScript's slice() cuts emoji in two; strict parsers refuse what JSON.stringify makes of it."""
    escaped = raw(call("a", T0 + 1)).replace(b'"done"', b'"cut \\ud83e"')
    named = (
        raw(call("c", T0 + 3, tools=["x"]))
        .replace(b'"name":"x"', b'"name":"x\\ud800"')
        .replace(b"acme-1", b"acme\\udc00")
    )
    home.write("aaa", [header("aaa"), escaped, named])
    home.index({"agent:main:x": "aaa"}).write_text(
        '{"agent:main:\\ud83e": {"sessionId": "aaa", "updatedAt": 1, "label": "\\ud83e"}}'
    )
    reader.read()
    assert reader.by("session")["aaa"] == 2
    assert reader.by("model") == {"acme-1": 2, "acme?": 1}
    json.dumps([ledgers.groups(reader.meter.queries), reader.meter.queries.sessions()]).encode()
    assert len(reader.meter.queries.transcript("aaa")["entries"]) == 2


@pytest.mark.parametrize("damage", [b"\xed\xa0\xbe", b"\xff", b"\xe2\x82"])
def test_text_that_is_no_utf8_costs_no_call(
    damage: bytes, home: HandmadeHome, reader: Reader
) -> None:
    line = raw(call("b", T0 + 2)).replace(b'"done"', b'"cut ' + damage + b'"')
    home.write("aaa", [header("aaa"), line])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))


def test_nan_and_infinity_elsewhere_in_an_entry_are_read(
    home: HandmadeHome, reader: Reader
) -> None:
    line = raw(call("a", T0 + 1)).replace(
        b'"stopReason"', b'"score":NaN,"limit":-Infinity,"stopReason"'
    )
    home.write("aaa", [header("aaa"), line])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    assert reader.coverage("bad_lines") == 0


def test_crlf_and_bom(home: HandmadeHome, reader: Reader, meter_factory: Any) -> None:
    path = home.write("aaa", [])
    path.write_bytes(b"\xef\xbb\xbf" + lines(session_of("aaa", 2)).replace(b"\n", b"\r\n"))
    reader.read()
    assert reader.by("session")["aaa"] == 2
    with open(path, "ab") as file:
        file.write(b"\r\n" + raw(call("z", T0 + 9 * MINUTE)) + b"\r\n")
    reader.read()
    assert reader.by("session")["aaa"] == 3
    assert reader.coverage("bad_lines") == 0
    assert reader.meter.queries.session("aaa")["started_ms"] == T0
    assert fresh(home, meter_factory).by("session") == reader.by("session")


def test_call_in_a_line_of_20_megabytes(home: HandmadeHome, reader: Reader) -> None:
    big = call("big", T0 + 1)
    big["message"]["content"][0]["text"] = "x" * 20_000_000
    path = home.write("aaa", [header("aaa"), big, call("next", T0 + 2)])
    reader.read()
    assert reader.by("session")["aaa"] == 2
    append(path, [call("last", T0 + 3)])
    reader.read()
    assert reader.by("session")["aaa"] == 3
    assert reader.coverage("bad_lines") == 0


def test_line_beyond_all_measure_is_skipped_and_said(
    home: HandmadeHome, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clawmeter, "MAX_LINE_BYTES", 100_000)
    path = home.write("aaa", [header("aaa"), call("a", T0 + 1), b"x" * 450_000, call("b", T0 + 2)])
    reader.read()
    assert reader.by("session")["aaa"] == 2
    assert reader.source(path)["bad_lines"] == 1
    assert "line 3: longer than" in reader.source(path)["last_error"]
    append(path, [call("c", T0 + 3)])
    reader.read()
    assert reader.by("session")["aaa"] == 3


def test_garbage_is_counted_and_the_last_of_it_is_told(home: HandmadeHome, reader: Reader) -> None:
    junk = [
        b"\x00\xff\xfe\x80garbage\x00",
        b'{"type":"message","message":{"role":"assis',
        b"[1,2,3]",
        b"null",
        b'"text"',
        b"{" * 3000,
    ]
    entries = [header("aaa"), call("a", T0 + 1), *junk, call("b", T0 + 2)]
    path = home.write("aaa", entries)
    reader.read()
    assert reader.by("session")["aaa"] == 2
    told = reader.source(path)
    assert told["bad_lines"] == len(junk)
    assert told["last_error"].startswith(f"{path} line 8")
    append(path, [b"}", call("c", T0 + 3)])
    reader.read()
    assert reader.source(path)["bad_lines"] == len(junk) + 1
    assert reader.source(path)["last_error"].startswith(f"{path} line 10")
    assert reader.by("session")["aaa"] == 3
    assert reader.health()["status"] == "ok"  # a warning, not a failure
    assert any(
        f"{len(junk) + 1} lines could not be read" in p["text"] for p in reader.health()["problems"]
    )


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
def test_deeply_nested_line_harms_no_other(depth: int, home: HandmadeHome, reader: Reader) -> None:
    deep = (
        b'{"type":"message","id":"d","timestamp":"2026-11-05T12:00:00Z","message":'
        + b'{"a":' * depth
        + b"1"
        + b"}" * depth
        + b"}"
    )
    home.write("aaa", [header("aaa"), deep, call("a", T0 + 1)])
    reader.read()
    assert reader.by("session")["aaa"] == 1


def test_unknown_types_and_roles_are_passed_over(home: HandmadeHome, reader: Reader) -> None:
    odd = [
        {"type": "quantum_leap", "id": "q1", "parentId": None, "timestamp": iso(T0), "data": [1, {"usage": {"input": 5}}]},
        {"type": "message", "id": "q2", "timestamp": iso(T0), "message": {"role": "oracle", "content": "hm"}},
        {"type": "message", "id": "q3", "timestamp": iso(T0), "message": {"role": None}},
        {"type": "message", "id": "q4", "timestamp": iso(T0), "message": None},
        {"type": "message", "id": "q5", "timestamp": iso(T0)},
        {"type": 7}, {}, {"id": "q6"},
    ]  # fmt: skip
    home.write("aaa", [header("aaa"), *odd, call("a", T0 + 1)])
    reader.read()
    assert reader.by("session")["aaa"] == 1
    assert reader.coverage("bad_lines") == 0
    assert reader.sql("SELECT count(*) FROM messages WHERE kind = 'role:oracle'") == [(1,)]


# --- numbers that cannot be right ----------------------------------------------------------------

NOT_PLAUSIBLE = [
    ((-1, 5, 0, 0), 0.01), ((10**9 + 1, 5, 0, 0), 0.01), ((1, 10**12, 0, 0), 0.01), ((1, 5, "12", 0), 0.01), ((1, 5, 0, 0.5), 0.01),
    ((1, float("nan"), 0, 0), 0.01), ((float("inf"), 1, 0, 0), 0.01), ((1, True, 0, 0), 0.01), ((1, [1], 0, 0), 0.01), ((2**70, 1, 0, 0), 0.01),
    ((1, 5, 0, 0), -0.01), ((1, 5, 0, 0), 10_000.01), ((1, 5, 0, 0), float("nan")), ((1, 5, 0, 0), float("inf")), ((1, 5, 0, 0), "0.01"),
    ((1, 5, 0, 0), 1e300), ((1, 5, 0, 0), True), ((1, 5, 0, 0), {}),
]  # fmt: skip


@pytest.mark.parametrize(("tokens", "cost"), NOT_PLAUSIBLE, ids=lambda v: str(v)[:40])
def test_implausible_call_is_shown_and_not_summed(
    tokens: Any, cost: Any, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("bad", T0 + 1, tokens, cost), call("good", T0 + 2)])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    told = reader.health()
    assert told["coverage"]["implausible"] == 1
    assert told["implausible"][0]["session"] == "aaa"
    assert told["implausible"][0]["usage"]
    json.dumps(told, allow_nan=False)
    reader.read()
    assert fresh(home, meter_factory).totals() == reader.totals()
    assert fresh(home, meter_factory).coverage("implausible") == 1


@pytest.mark.parametrize(("tokens", "cost"), [((10**9, 0, 0, 0), 10_000), ((0, 0, 0, 0), 0), ((1.0, 2.0, 0.0, None), 1e-9), ((1, 1, 1, 1), 0.1 + 0.2)])  # fmt: skip
def test_unusual_numbers_that_can_be_right_are_summed(
    tokens: Any, cost: Any, home: HandmadeHome, reader: Reader
) -> None:
    home.write("aaa", [header("aaa"), call("x", T0 + 1, tokens, cost)])
    reader.read()
    total = sum(int(t or 0) for t in tokens)
    assert reader.totals() == plus((1, total, round(cost * 1e9)))
    assert reader.coverage("implausible") == 0


def test_implausible_call_that_is_repaired_counts_and_leaves_the_list(
    home: HandmadeHome, reader: Reader
) -> None:
    home.write("aaa", [header("aaa"), call("x", T0 + 1, (-5, 1, 0, 0))])
    reader.read()
    home.write("aaa", [header("aaa"), call("x", T0 + 1)])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000))
    assert reader.coverage("implausible") == 0


def outer(value: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {**call("odd", T0 + 1), "timestamp": value}


def only_inner(value: Any) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        entry = call("odd", T0 + 1, timestamp=value)
        del entry["timestamp"]
        return entry

    return make


TIMES = {
    "microseconds": outer(T0 * 1000), "2^63": outer(2**63), "1e30": outer(1e30), "negative": outer(-5), "year 1": outer("0001-01-01T00:00:00.000Z"),
    "year 1 in the east": outer("0001-01-01T00:00:00.000+14:00"), "year 9999": outer("9999-12-31T23:59:59.999Z"), "no time": outer("yesterday"),
    "list": outer([1]), "infinity": outer(float("inf")), "inner microseconds": only_inner(T0 * 1000), "inner 2^63": only_inner(2**63),
    "inner nan": only_inner(float("nan")), "inner text": only_inner("soon"), "1970": outer("1970-01-01T00:00:00.000Z"), "2999": outer("2999-01-01T00:00:00Z"),
}  # fmt: skip


@pytest.mark.parametrize("what", TIMES)
def test_impossible_time_harms_nothing_else(
    what: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """Such a call is counted, or bad, or implausible and said so; the index goes on, and every question has an answer."""
    home.write("aaa", [header("aaa"), TIMES[what](), call("good", T0 + 2)])
    home.write("zzz", session_of("zzz", 1))
    reader.read()
    for zone in ledgers.ZONES:
        reader.meter.store.use_zone(zone)
    for found in (reader, fresh(home, meter_factory)):
        by_session = found.by("session")
        odd = by_session.pop("aaa") - 1
        assert by_session == {"first": 1, "zzz": 1}
        assert odd + found.coverage("bad_lines") + found.coverage("implausible") == 1
        assert (
            ledgers.everything(found.meter.queries)["total of agent"][""]["model_calls"] == 3 + odd
        )
        assert found.meter.queries.overview()["all_time"]["model_calls"] == 3 + odd
        assert found.meter.queries.summary(tz="Pacific/Kiritimati")["messages"] == 3 + odd
        assert (
            found.meter.queries.usage(from_="2026-11-01", to="2026-11-30")["totals"]["model_calls"]
            >= 3
        )


@pytest.mark.parametrize("value", [1e17, 1e19, -1e17, 2**63, "soon"])
def test_message_of_an_impossible_time_harms_nothing_else(
    value: Any, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    """It is counted, in no day."""
    odd = user("odd", T0 + 1)
    odd["message"]["timestamp"] = value
    del odd["timestamp"]
    home.write("aaa", [header("aaa"), odd, user("well", T0 + 1), call("good", T0 + 2)])
    reader.read()
    for found in (reader, fresh(home, meter_factory)):
        found.meter.store.use_zone("Asia/Kolkata")
        assert found.by("session")["aaa"] == 1
        row = next(r for r in found.meter.queries.sessions(from_="all")[0] if r["id"] == "aaa")
        assert row["user_messages"] == 2
        assert ledgers.rollup_differences(found.meter.store) == []


NUMBERS = {
    "version": {"type": "session", "version": 2**64 - 1, "id": "aaa", "timestamp": iso(T0)},
    "duration": result("r", T0 + 3, durationMs=2**63),
    "negative duration": result("r", T0 + 3, durationMs=-(2**63)),
    "time of a message": {**user("u", T0 + 3), "timestamp": 2**63},
    "time of a header": {**header("aaa"), "timestamp": 2**63},
    "microseconds of a header": {**header("aaa"), "timestamp": T0 * 1000},
    "time of a compaction": {"type": "compaction", "id": "c", "timestamp": 1e25},
    "exit code": result("r", T0 + 3, exitCode=2**70),
    "reasoning": {
        **call("r", T0 + 1),
        "message": {
            **call("r", T0 + 1, (0, 0, 0, 0), 0)["message"],
            "usage": {"reasoningTokens": 2**70},
        },
    },
}


@pytest.mark.parametrize("what", NUMBERS)
def test_number_that_no_database_holds_harms_nothing_else(
    what: str, home: HandmadeHome, reader: Reader, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), NUMBERS[what], call("good", T0 + 2)])
    home.write("zzz", session_of("zzz", 1))
    reader.read()
    assert reader.totals()[1:] == plus((1, 120, 10_000_000), FIRST)[1:]
    assert fresh(home, meter_factory).totals() == reader.totals()
    reader.meter.queries.overview()
    reader.meter.queries.sessions()


# --- causes, tools, errors -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [POLL, "[Sat 2026-11-21 05:06 UTC] Read HEARTBEAT.md if it exists (workspace context)."],
)
def test_heartbeat_is_known_across_passes(prompt: str, home: HandmadeHome, reader: Reader) -> None:
    path = home.write("aaa", [header("aaa"), user("u1", T0 + 1, prompt)])
    reader.read()
    append(path, [call("a", T0 + 2, parent="u1", tools=["exec"])])
    reader.read()
    append(path, [result("r", T0 + 3)])
    reader.read()
    append(
        path,
        [
            call("b", T0 + 4, parent="a"),
            user("u2", T0 + 5, "hello", parent="b"),
            call("c", T0 + 6, parent="u2"),
        ],
    )
    reader.read()
    assert reader.by("cause") == {"unknown": 2, "heartbeat": 2}
    append(path, [call("d", T0 + 7, parent="u1")])  # a branch back to the heartbeat
    reader.restart()
    reader.read()
    assert reader.by("cause") == {"unknown": 2, "heartbeat": 3}


def test_heartbeat_is_learned_from_a_copy_that_has_the_prompt(
    home: HandmadeHome, reader: Reader
) -> None:
    entries = [header("aaa"), user("u1", T0 + 1, POLL), call("a", T0 + 2, parent="u1")]
    home.write("aaa", entries[2:])
    reader.read()
    assert reader.by("cause") == {"unknown": 2}
    home.write("aaa", entries, suffix=".jsonl.bak.1")
    reader.read()
    assert reader.by("cause") == {"unknown": 1, "heartbeat": 1}
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_tool_behind_the_wrapper_is_the_tool(home: HandmadeHome, reader: Reader) -> None:
    wrapped = call(
        "a", T0 + 1, (100, 20, 0, 0), 0.010_000_001, tools=["tool_call", "exec", "tool_call"]
    )
    wrapped["message"]["content"][1]["arguments"] = {"id": "web_search", "args": {"q": "x"}}
    hostile = call("b", T0 + 2, cost=0, tools=['x"]; DROP TABLE sessions; --', "\x1b[31m", ""])
    home.write("aaa", [header("aaa"), wrapped, hostile])
    reader.read()
    rows = reader.meter.queries.usage(from_="all", by="tool")["rows"]
    cost = {r["key"]: r["recorded_cost_nano_usd"] for r in rows}
    assert cost["web_search"] == 10_000_001 - 2 * 3_333_333  # the remainder goes to the first
    assert cost["exec"] == cost["tool_call"] == 3_333_333
    assert sum(cost.values()) == reader.totals()[2]
    assert {t["tool"]: t["calls"] for t in reader.meter.queries.session("aaa")["tools"]}[
        "web_search"
    ] == 1


@pytest.mark.parametrize("failed", [
    {"isError": True}, {"details": {"status": "error", "tool": "exec", "error": "x"}}, {"details": {"exitCode": 1}},
])  # fmt: skip
def test_failed_tool_in_every_era(
    failed: dict[str, Any], home: HandmadeHome, reader: Reader
) -> None:
    entry = result("r", T0 + 1)
    entry["message"] |= failed
    home.write("aaa", [header("aaa"), call("a", T0, tools=["exec"]), entry, result("ok", T0 + 2)])
    reader.read()
    session = reader.meter.queries.session("aaa")
    assert session["tool_errors"] == 1
    assert session["tools"][0]["errors"] == 1


def test_errors_aborts_and_failovers(home: HandmadeHome, reader: Reader) -> None:
    nothing = (0, 0, 0, 0)
    entries = [
        header("aaa"), user("u", T0), call("a", T0 + 1, nothing, 0, stopReason="error", errorMessage="400"),
        call("b", T0 + 2, model="other"), call("c", T0 + 3, nothing, 0, stopReason="aborted"), call("d", T0 + 4, model="other"),
    ]  # fmt: skip
    home.write("aaa", entries)
    reader.read()
    session = reader.meter.queries.session("aaa")
    assert (
        session["model_errors"],
        session["aborts"],
        session["failovers"],
        session["model_calls"],
    ) == (1, 1, 1, 4)


# --- what OpenClaw does to its files -------------------------------------------------------------


def spoil(path: Path) -> None:
    """Change a call's id in a file that was read, unseen: same size, same time. Who reads it anew counts a call more."""
    info = path.stat()
    data = path.read_bytes()
    with open(path, "r+b") as file:
        file.write(data.replace(b"aaa-c0", b"spoilt"))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert path.stat().st_size == info.st_size


@pytest.mark.parametrize("when", ["at once", "after a restart", "after an append"])
@pytest.mark.parametrize("word", ["reset", "deleted"])
def test_renamed_file_is_not_read_anew(
    word: str, when: str, home: HandmadeHome, meter_factory: Any
) -> None:
    """The checkpoint moves along: on a home with gigabytes, a reset must not cost a re-read."""
    path = home.write("aaa", session_of("aaa", 3))
    reader = fresh(home, meter_factory)
    if when == "after a restart":
        reader.restart()
    if when == "after an append":
        append(path, [call("more", T0 + 9 * MINUTE)])
        reader.read()
    before = reader.totals()
    spoil(path)
    renamed = path.rename(path.with_name(f"aaa.jsonl.{word}.2026-11-05T12-00-00.000Z"))
    home.write("next", session_of("next", 1))
    reader.read()
    assert reader.totals() == plus(FIRST, start=before)
    assert [s["path"] for s in reader.health()["sources"] if s["kind"] == word] == [str(renamed)]
    reader.restart()
    reader.read()
    assert reader.totals() == plus(FIRST, start=before)


def test_deleted_session_stays_in_the_ledger(home: HandmadeHome, reader: Reader) -> None:
    path = home.write("aaa", session_of("aaa", 3))
    home.index({"agent:main:x": "aaa"})
    reader.read()
    before = ledgers.everything(reader.meter.queries)
    path.unlink()
    home.index({})
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before
    assert reader.coverage("complete")
    gone = reader.meter.queries.transcript("aaa")
    assert not gone["available"]
    assert gone["reason"]
    shutil.rmtree(home.state / "agents")
    reader.read()
    assert ledgers.everything(reader.meter.queries) == before


def test_file_that_goes_away_and_comes_back(home: HandmadeHome, reader: Reader) -> None:
    path = home.write("aaa", session_of("aaa", 3))
    reader.read()
    before = reader.totals()
    path.rename(home.path / "elsewhere")
    reader.read()
    (home.path / "elsewhere").rename(path)
    reader.read()
    assert reader.totals() == before
    append(path, [call("z", T0 + 9 * MINUTE)])
    reader.read()
    assert reader.totals() == plus((1, 120, 10_000_000), start=before)


def test_new_file_with_the_inode_of_a_deleted_one_is_read(
    home: HandmadeHome, reader: Reader
) -> None:
    """File systems give a freed inode to the next file."""
    path = home.write("aaa", session_of("aaa", 3))
    reader.read()
    inode = path.stat().st_ino
    spare = []
    path.unlink()
    for n in range(50):
        spare.append(home.write(f"b{n}", session_of(f"b{n}", 4)))
        if spare[-1].stat().st_ino == inode:
            break
    reader.read()
    assert reader.by("session") == {"first": 1, "aaa": 3, **{f"b{n}": 4 for n in range(len(spare))}}


@pytest.mark.parametrize("start", ["cold", "later"])
def test_file_that_vanishes_between_listing_and_reading(
    start: str, home: HandmadeHome, meter_factory: Any
) -> None:
    if start == "later":
        home.write("first", session_of("first", 1))
    reader = Reader(meter_factory, home.path)
    if start == "later":
        reader.read()
    for n in range(6):  # the first has most bytes: a cold index begins with it
        home.write(f"s{n}", session_of(f"s{n}", 9 - n))

    def meanwhile(_progress: Any) -> None:
        for n in range(4, 6):
            (home.sessions() / f"s{n}.jsonl").unlink(missing_ok=True)

    reader.read(meanwhile)
    expected = {f"s{n}": 9 - n for n in range(4)} | ({"first": 1} if start == "later" else {})
    assert reader.by("session") == expected
    reader.read()
    assert reader.coverage("unreadable") == 0
    assert reader.coverage("complete")
    assert reader.health()["status"] == "ok"


def test_files_of_other_programs_are_left_alone(home: HandmadeHome, reader: Reader) -> None:
    folder = home.sessions()
    for name in (
        "notes.txt",
        "aaa.jsonl.lock",
        "aaa.jsonl.tmp",
        ".usage-cost-cache.json",
        "aaa.json",
        ".jsonl",
    ):
        (folder / name).write_bytes(lines(session_of("aaa", 1)))
    (folder / "skills-prompts").mkdir()
    (folder / "dir.jsonl").mkdir()
    reader.read()
    assert reader.totals() == FIRST
    home.write("bbb", session_of("bbb", 1))
    reader.read()
    assert reader.by("session") == {"first": 1, "bbb": 1}


def test_topic_of_a_group_has_the_key_of_its_group(home: HandmadeHome, reader: Reader) -> None:
    home.write("aaa-topic-12", session_of("aaa-topic-12", 2))
    home.index(
        {
            "agent:main:telegram:group:5": {
                "sessionId": "aaa",
                "sessionFile": "/x/aaa-topic-12.jsonl",
            }
        }
    )
    reader.read()
    assert reader.by("session_key")["agent:main:telegram:group:5"] == 2


def test_two_homes_are_read_together(tmp_path: Path, meter_factory: Any) -> None:
    one, two = HandmadeHome(tmp_path / "one"), HandmadeHome(tmp_path / "two")
    one.write("aaa", session_of("aaa", 2))
    two.write("aaa", session_of("aaa", 3, T0 + 5))
    two.write("bbb", session_of("bbb", 1), agent="ops")
    two.index({"agent:main:main": "aaa"})
    meter = ledgers.at(meter_factory(one.path, two.path), T0 + 86_400_000)
    meter.index()
    agents = {
        r["key"]: r["model_calls"] for r in meter.queries.usage(from_="all", by="agent")["rows"]
    }
    assert agents == {"main": 2, "main@two": 3, "ops@two": 1}
    keys = {
        r["key"]: r["model_calls"]
        for r in meter.queries.usage(from_="all", by="session_key")["rows"]
    }
    assert keys == {"agent:main:main": 3, "(none)": 3}
