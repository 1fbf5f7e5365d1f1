"""`clawmeter export`: the ledger as CSV and JSON files, whole, safe to open and equal to /api/usage."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import os
import tracemalloc
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from handmade import MINUTE, T0, HandmadeHome, Reader, call, header, session_of
from homes import ERAS

import clawmeter
from clawmeter import ClawmeterError, csv_cell, export_rows, write_exports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The columns of issue 2, in its order, then our own.
EVENT_COLUMNS = (
    "event_ts agent_id session_id session_key channel chat_type origin_provider model_provider model api stop_reason "
    "input_tokens output_tokens cache_read_tokens cache_write_tokens total_tokens "
    "cost_input cost_output cost_cache_read cost_cache_write cost_total "
    "cause latency_ms thinking_level reasoning_tokens cost_basis billing_mode "
    "cost_total_nano cost_recorded_nano cost_list_nano"
).split()
SESSION_COLUMNS = (
    "session_id agent_id session_key channel cause cron_job label status first_ms last_ms model_calls input_tokens "
    "output_tokens cache_read_tokens cache_write_tokens cost_usd plan_cost_usd unpriced_calls tool_calls tool_errors "
    "model_errors aborts failovers compactions"
).split()
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
NANO = 10**9


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(tmp_path / "home")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_exports(ledger: Any, form: str, folder: Path) -> tuple[list[Any], list[Any]]:
    """Export, and read the files back: (usage_events, sessions)."""
    written = write_exports(ledger, form, folder)
    assert [path for path, _ in written] == [
        folder / f"usage_events.{form}",
        folder / f"sessions.{form}",
    ]
    assert sorted(os.listdir(folder)) == [f"sessions.{form}", f"usage_events.{form}"]
    read = json.loads if form == "json" else None
    tables = [
        read(path.read_text(encoding="utf-8")) if read else read_csv(path) for path, _ in written
    ]
    assert [len(table) for table in tables] == [rows for _, rows in written]
    return tables[0], tables[1]


def number(value: Any) -> int:
    return int(value or 0)


def nano(value: Any) -> int:
    """Nano-USD of an amount in USD as a file has it; exact."""
    scaled = Decimal(str(value or 0)) * NANO
    assert scaled == int(scaled), "more than nano-dollars"
    return int(scaled)


# --- columns and sums ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "json"])
def test_columns_and_their_order(
    form: str, home: HandmadeHome, meter_factory: Any, tmp_path: Path
) -> None:
    home.write("s", session_of("s", 2))
    reader = Reader(meter_factory, home.path)
    reader.read()
    events, sessions = read_exports(reader.meter.store, form, tmp_path / "out")
    assert {tuple(row) for row in events} == {tuple(EVENT_COLUMNS)}
    assert {tuple(row) for row in sessions} == {tuple(SESSION_COLUMNS)}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_sums_are_those_of_the_api(
    form: str, era: str, home_factory: Any, meter_factory: Any, tmp_path: Path
) -> None:
    meter = meter_factory(
        home_factory(era, copy=False, sessions=12, messages=300).path,
        plan_providers=("anthropic",),
    )
    meter.index()
    events, sessions = read_exports(meter.store, form, tmp_path / "out")
    totals = meter.queries.usage(from_="all", by="model")["totals"]
    assert totals["plan_cost_nano_usd"] > 0
    assert len(events) == totals["model_calls"] == sum(number(s["model_calls"]) for s in sessions)
    for column in TOKENS:
        assert sum(number(e[column]) for e in events) == totals[column]
        assert sum(number(s[column]) for s in sessions) == totals[column]
    assert sum(number(e["total_tokens"]) for e in events) == totals["total_tokens"]
    metered = [e for e in events if e["billing_mode"] == "metered"]
    plan = [e for e in events if e["billing_mode"] == "plan"]
    assert len(metered) + len(plan) == len(events)
    for rows, figure in ((metered, "cost_nano_usd"), (plan, "plan_cost_nano_usd")):
        assert sum(number(e["cost_total_nano"]) for e in rows) == totals[figure]
        assert sum(nano(e["cost_total"]) for e in rows) == totals[figure]
    assert sum(number(e["cost_recorded_nano"]) for e in events) == totals["recorded_cost_nano_usd"]
    assert sum(e["cost_basis"] == "unpriced" for e in events) == totals["unpriced_calls"]
    assert sum(nano(s["cost_usd"]) for s in sessions) == totals["cost_nano_usd"]
    assert sum(nano(s["plan_cost_usd"]) for s in sessions) == totals["plan_cost_nano_usd"]
    by_session = {
        r["key"]: r["model_calls"] for r in meter.queries.usage(from_="all", by="session")["rows"]
    }
    told: dict[str, int] = {}
    for row in sessions:
        told[row["session_id"]] = told.get(row["session_id"], 0) + number(row["model_calls"])
    assert told == by_session
    stamps = [e["event_ts"] for e in events]
    assert stamps == sorted(stamps)


def test_unknown_cost_is_empty_and_zero_is_zero(
    home: HandmadeHome, meter_factory: Any, tmp_path: Path
) -> None:
    """An unpriced call has no cost, which is not a cost of 0."""
    local = {"provider": "ollama", "model": "llama"}
    home.write("s", [header("s"), call("a", T0, cost=None), call("b", T0 + 1, cost=0, **local)])
    reader = Reader(meter_factory, home.path)
    reader.read()
    events, _ = read_exports(reader.meter.store, "csv", tmp_path / "csv")
    assert [(e["cost_basis"], e["cost_total"]) for e in events] == [
        ("unpriced", ""),
        ("local", "0"),
    ]
    events, _ = read_exports(reader.meter.store, "json", tmp_path / "json")
    assert [(e["cost_basis"], e["cost_total"]) for e in events] == [
        ("unpriced", None),
        ("local", 0),
    ]


def test_small_and_large_amounts_keep_every_nano_dollar(
    home: HandmadeHome, meter_factory: Any, tmp_path: Path
) -> None:
    costs = [1e-9, 1.5e-8, 0.000123456, 0.1 + 0.2, 9999.999999999]
    entries = [call(f"c{n}", T0 + n, cost=cost) for n, cost in enumerate(costs)]
    home.write("s", [header("s"), *entries])
    reader = Reader(meter_factory, home.path)
    reader.read()
    expected = [1, 15, 123456, 300_000_000, 9_999_999_999_999]
    for form in ("csv", "json"):
        events, sessions = read_exports(reader.meter.store, form, tmp_path / form)
        assert [nano(e["cost_total"]) for e in events] == expected
        assert nano(sessions[0]["cost_usd"]) == sum(expected)
        assert "e" not in str(events[0]["cost_total"]) or form == "json"


def test_empty_ledger(home: HandmadeHome, meter_factory: Any, tmp_path: Path) -> None:
    reader = Reader(meter_factory, home.path)
    reader.read()
    for form in ("csv", "json"):
        assert read_exports(reader.meter.store, form, tmp_path / form) == ([], [])
    header_line = (tmp_path / "csv" / "usage_events.csv").read_text().splitlines()
    assert header_line == [",".join(EVENT_COLUMNS)]


# --- hostile text --------------------------------------------------------------------------------

HOSTILE = [
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "\uff0b1", "\uff0d1",
    "\uff20SUM(1)", '"quoted", and, commas', "two\nlines", "two\r\nlines", "half \ud83d of a pair", "\x1b[31mred\x07",
    "right\u202eto left", "null\x00byte", "\u2028separator", "'=1",
]  # fmt: skip
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert not cell.startswith(FORMULA)
    assert cell.encode()
    assert not any(c in cell for c in "\x00\x07\x1b\r\u202e\u2028")
    assert csv_cell(cell) == cell


@pytest.mark.parametrize("value", [None, 0, -5, 12, 1.5, -0.25])
def test_numbers_are_no_text(value: Any) -> None:
    """A negative number begins with a minus and is no formula."""
    assert csv_cell(value) in {value, str(value)}


@pytest.fixture
def hostile(home: HandmadeHome, meter_factory: Any) -> Reader:
    """A ledger in which every text column that OpenClaw's files fill holds each of HOSTILE once."""
    index = {}
    for n, text in enumerate(HOSTILE):
        message = {"provider": text, "model": text, "api": text, "stopReason": text}
        change = {"type": "thinking_level_change", "id": f"t{n}", "parentId": None, "timestamp": "2026-11-05T12:00:00.000Z", "thinkingLevel": text}  # fmt: skip
        sid = f"s{n}"
        home.write(sid, [header(sid), change, call(f"c{n}", T0 + n * MINUTE, tools=[text], **message)])  # fmt: skip
        index[f"{text}{n}"] = {
            "sessionId": sid, "channel": text, "chatType": text, "label": text, "status": text,
            "origin": {"provider": text},
        }  # fmt: skip
    home.index(index)
    made = Reader(meter_factory, home.path)
    made.read()
    return made


def test_hostile_text_reaches_every_column_and_is_no_formula(
    hostile: Reader, tmp_path: Path
) -> None:
    events, sessions = read_exports(hostile.meter.store, "csv", tmp_path / "out")
    assert len(events) == len(sessions) == len(HOSTILE)
    filled = {c for row in (*events, *sessions) for c, v in row.items() if "calc" in v}
    assert filled >= {
        "session_key", "channel", "chat_type", "origin_provider", "model_provider", "model", "api", "stop_reason",
        "thinking_level", "label", "status",
    }  # fmt: skip
    for row in (*events, *sessions):
        for column, value in row.items():
            assert not value.startswith(FORMULA), (column, value)
    assert sum(number(e["cost_total_nano"]) for e in events) == len(HOSTILE) * 10**7


def test_text_comes_back_as_it_was(hostile: Reader, tmp_path: Path) -> None:
    """Newlines, quotes and commas survive both forms; JSON needs no apostrophe."""
    events, _ = read_exports(hostile.meter.store, "json", tmp_path / "json")
    stored = [r[0] for r in hostile.sql("SELECT model FROM usage_events ORDER BY ts_ms")]
    assert [e["model"] for e in events] == stored
    assert '"quoted", and, commas' in stored
    assert "=cmd|' /C calc'!A0" in stored
    events, _ = read_exports(hostile.meter.store, "csv", tmp_path / "csv")
    models = [e["model"] for e in events]
    assert '"quoted", and, commas' in models
    assert "two\nlines" in models
    assert "'=cmd|' /C calc'!A0" in models


def test_files_are_utf8_with_lone_surrogates_in_the_transcript(
    hostile: Reader, tmp_path: Path
) -> None:
    for form in ("csv", "json"):
        write_exports(hostile.meter.store, form, tmp_path / form)
        for path in (tmp_path / form).iterdir():
            text = path.read_bytes().decode("utf-8")
            assert "half ? of a pair" in text or "half \ufffd of a pair" in text


# --- streaming -----------------------------------------------------------------------------------


def test_rows_are_not_gathered(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("s", session_of("s", 50))
    reader = Reader(meter_factory, home.path)
    reader.read()
    _, columns, order = clawmeter.EXPORTS[0]
    with reader.meter.store.reading() as db:
        rows = export_rows(db, "usage_events", columns, order)
        assert iter(rows) is rows
        assert len(list(itertools.islice(rows, 10))) == 10
        assert len(list(rows)) == 40
        # Nor does SQLite sort them first: the index by time has them in order.
        view = f"EXPLAIN QUERY PLAN SELECT {', '.join(columns)} FROM usage_events ORDER BY {order}"
        plan = [r[-1] for r in db.execute(view)]
    assert not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("form", ["csv", "json"])
def test_memory_does_not_grow_with_the_ledger(
    form: str, home: HandmadeHome, meter_factory: Any, tmp_path: Path
) -> None:
    home.write("s", session_of("s", 8000))
    reader = Reader(meter_factory, home.path)
    reader.read()
    tracemalloc.start()
    try:
        write_exports(reader.meter.store, form, tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = (tmp_path / "out" / f"usage_events.{form}").stat().st_size
    assert size > 1_000_000
    assert peak < size / 4


# --- the folder ----------------------------------------------------------------------------------


class FullDisk:
    """A file that takes so many characters and no more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, text: str) -> int:
        self.room -= len(text)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(text))


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize("which", ["usage_events", "sessions"])
def test_full_disk_leaves_what_was_there(
    which: str, form: str, hostile: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("usage_events", "sessions"):
        (folder / f"{name}.{form}").write_text(f"earlier {name}")

    def scarce(path: Path, *args: Any, **options: Any) -> Any:
        file = open(path, *args, **options)  # noqa: SIM115 - FullDisk closes it
        return FullDisk(file, 500 if which in str(path) else 10**9)

    monkeypatch.setattr(clawmeter, "open", scarce, raising=False)
    with pytest.raises(ClawmeterError, match="No space left on device") as refused:
        write_exports(hostile.meter.store, form, folder)
    assert str(folder / f"{which}.{form}") in str(refused.value)
    assert "--out-dir" in str(refused.value)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        f"usage_events.{form}": "earlier usage_events",
        f"sessions.{form}": "earlier sessions",
    }


def test_folder_that_cannot_be_one_is_named(hostile: Reader, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ClawmeterError, match="cannot write .*taken.*--out-dir"):
        write_exports(hostile.meter.store, "csv", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "a file"


def test_existing_files_are_replaced_in_one_step(
    hostile: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has the old file open reads the old one to its end; who opens it anew finds all of the new one."""
    folder = tmp_path / "out" / "deep"
    write_exports(hostile.meter.store, "csv", folder)
    path = folder / "usage_events.csv"
    whole = path.read_bytes()
    path.write_bytes(b"old")
    seen: list[bytes] = []
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        seen.append(path.read_bytes())
        replace(source, target)

    monkeypatch.setattr(clawmeter.os, "replace", watched)
    with open(path, "rb") as before:
        write_exports(hostile.meter.store, "csv", folder)
        assert before.read() == b"old"
    assert seen == [b"old", whole]
    assert path.read_bytes() == whole


def test_both_files_are_of_one_moment(
    home: HandmadeHome, meter_factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that comes between the two files is in neither."""
    path = home.write("s", session_of("s", 3))
    reader = Reader(meter_factory, home.path)
    reader.read()
    rows_of = clawmeter.export_rows

    def with_news(db: Any, name: str, *args: Any) -> Iterator[Any]:
        yield from rows_of(db, name, *args)
        if name == "usage_events":
            with open(path, "ab") as file:
                file.write(json.dumps(call("late", T0 + 90 * MINUTE)).encode() + b"\n")
            assert reader.read() == 1

    monkeypatch.setattr(clawmeter, "export_rows", with_news)
    events, sessions = read_exports(reader.meter.store, "json", tmp_path / "out")
    assert len(events) == sessions[0]["model_calls"] == 3


def test_ledger_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    class Broken:
        path = tmp_path / "clawmeter.db"

        @contextmanager
        def reading(self) -> Iterator[Any]:
            raise clawmeter.StoreError("cannot read the ledger")
            yield

    with pytest.raises(clawmeter.StoreError):
        write_exports(Broken(), "csv", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
