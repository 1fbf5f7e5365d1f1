"""Any order of reading, and any history, gives the same totals in every grouping as one look at the whole."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import handmade
import ledgers
import pytest
from handmade import MINUTE, NOW, T0, HandmadeHome, append, call, header, result, user
from homes import ERAS

if TYPE_CHECKING:
    import clawmeter

#: Small, with every trap: some 70 sources.
SMALL = {"agents": 3, "sessions": 8, "messages": 160, "bytes": 500}


def sources_of(home: Path) -> list[Path]:
    """Every file that a reader looks at, in a stable order; of a database, the file alone."""
    state = home / ".openclaw"
    folders = (
        "agents/*/sessions",
        "agents/*/session-sqlite-import-archive",
        "cron/runs",
        "subagents",
    )
    found = {p for folder in folders for p in state.glob(f"{folder}/*") if p.is_file()}
    found |= set(state.glob("agents/*/agent/*.sqlite")) | set(state.glob("state/*.sqlite"))
    return sorted(p.relative_to(home) for p in found)


def empty_home(home: Path, target: Path) -> Path:
    """The same home before anything happened in it."""
    (target / ".openclaw" / "agents").mkdir(parents=True)
    shutil.copy(home / ".openclaw" / "openclaw.json", target / ".openclaw")
    return target


def place(home: Path, name: Path, target: Path) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    partial = (target / name).with_name("arriving.tmp")
    shutil.copy(home / name, partial)
    partial.rename(target / name)


def cold(meter_factory: Any, home: Path, now_ms: int) -> dict[str, Any]:
    meter = ledgers.at(meter_factory(home), now_ms)
    meter.index()
    return complete(meter)


def complete(meter: clawmeter.Clawmeter) -> dict[str, Any]:
    coverage = meter.queries.health()["coverage"]
    counts = {
        name: coverage[name] for name in ("bad_lines", "implausible", "unreadable", "complete")
    }
    return {
        **ledgers.everything(meter.queries),
        "coverage": counts,
        "family": ledgers.family(meter.queries),
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("era", ERAS)
def test_sources_may_arrive_in_any_order(
    era: str, seed: int, home_factory: Any, meter_factory: Any, tmp_path: Path
) -> None:
    home = home_factory(era, copy=False, seed=seed, **SMALL)
    now = home.truth["meta"]["now_ms"]
    target = empty_home(home.path, tmp_path / "arriving")
    order = sources_of(home.path)
    random.Random(f"{era}-{seed}").shuffle(order)
    meter = ledgers.at(meter_factory(target), now)
    meter.index()
    for number, name in enumerate(order):
        place(home.path, name, target)
        meter.index()
        if number == len(order) // 3:
            meter.store.use_zone("Australia/Lord_Howe")
        if number == len(order) // 2:  # a restart in between changes nothing
            state = meter.settings.state_dir
            meter.stop()
            meter = ledgers.at(meter_factory(target, state_dir=state), now)
    assert ledgers.truth_differences(meter.queries, home.truth) == []
    assert ledgers.rollup_differences(meter.store) == []
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, now)) == []


@pytest.mark.parametrize("era", ERAS)
def test_last_source_first(era: str, home_factory: Any, meter_factory: Any, tmp_path: Path) -> None:
    """Copies before what they are copies of, transcripts before the index that names them."""
    home = home_factory(era, copy=False, seed=4, **SMALL)
    now = home.truth["meta"]["now_ms"]
    target = empty_home(home.path, tmp_path / "arriving")
    meter = ledgers.at(meter_factory(target), now)

    def weight(path: Path) -> tuple[Any, ...]:
        name = path.name
        copied = (
            ".bak" in name or ".checkpoint" in name or ".imported-" in name or name.endswith(".zst")
        )
        index = name in ("sessions.json", "runs.json", "openclaw.sqlite") or "sessions.json" in name
        return index, not copied, [-ord(c) for c in str(path)]

    meter.index()
    for name in sorted(sources_of(home.path), key=weight):
        place(home.path, name, target)
        meter.index()
    assert ledgers.truth_differences(meter.queries, home.truth) == []
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, now)) == []


# --- rows of databases, one by one ---------------------------------------------------------------


class GrowingDatabase:
    """A copy of an agent database that fills up again, a few rows at a time."""

    TABLES = ("session_windows", "session_nodes", "session_transcript_archives")

    def __init__(self, full: Path, target: Path, rng: random.Random) -> None:
        self.full, self.target, self.rng = full, target, rng
        target.parent.mkdir(parents=True)
        shutil.copy(full, target)
        with closing(self.connect()) as db:
            for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
            ).fetchall():
                db.execute(f"DROP TRIGGER {name}")
            for table in (
                *self.TABLES,
                "transcript_events",
                "transcript_event_identities",
                "transcript_rewrite_watermarks",
            ):
                db.execute(f"DELETE FROM main.{table}")
            self.todo: list[tuple[str, Any]] = [
                (table, rowid)
                for table in self.TABLES
                for (rowid,) in db.execute(f"SELECT rowid FROM whole.{table}").fetchall()
            ]
            self.rows: dict[str, list[int]] = {}
            for sid, rowid in db.execute(
                "SELECT session_id, rowid FROM whole.transcript_events ORDER BY session_id, seq"
            ):
                self.rows.setdefault(sid, []).append(rowid)
        # As often as rows of sessions come, so that keys come before, between and after them.
        self.todo += [
            ("transcript_events", sid)
            for sid, rows in self.rows.items()
            for _ in range(1 + len(rows) // 12)
        ]
        rng.shuffle(self.todo)

    def connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.target, isolation_level=None)
        db.create_function(
            "octet_length", 1, lambda s: None if s is None else len(s.encode()), deterministic=True
        )
        db.execute("ATTACH ? AS whole", (f"{self.full.as_uri()}?immutable=1",))
        return db

    def grow(self) -> bool:
        """One transaction more; False when it is as full as the original."""
        if not self.todo:
            return False
        table, what = self.todo.pop()
        with closing(self.connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            if table != "transcript_events":
                db.execute(
                    f"INSERT INTO main.{table} SELECT * FROM whole.{table} WHERE rowid = ?", (what,)
                )
            else:
                last = all(other != what for _, other in self.todo)
                count = len(self.rows[what]) if last else 12
                for rowid in self.rows[what][:count]:
                    db.execute(
                        "INSERT INTO main.transcript_events SELECT * FROM whole.transcript_events WHERE rowid = ?",
                        (rowid,),
                    )
                del self.rows[what][:count]
                for name in ("transcript_rewrite_watermarks", "transcript_event_identities"):
                    db.execute(
                        f"INSERT OR IGNORE INTO main.{name} SELECT * FROM whole.{name} WHERE session_id = ?",
                        (what,),
                    )
            db.execute("COMMIT")
        return True


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_of_databases_may_arrive_in_any_order(
    seed: int, home_factory: Any, meter_factory: Any, tmp_path: Path
) -> None:
    home = home_factory("sqlite", copy=False, seed=seed, **SMALL)
    now = home.truth["meta"]["now_ms"]
    rng = random.Random(seed)
    target = empty_home(home.path, tmp_path / "arriving")
    databases, files = [], []
    for name in sources_of(home.path):
        if name.name == "openclaw-agent.sqlite":
            databases.append(GrowingDatabase(home.path / name, target / name, rng))
        else:
            files.append(name)
    meter = ledgers.at(meter_factory(target), now)
    meter.index()
    while databases or files:
        if files and (not databases or rng.random() < 0.1):
            place(home.path, files.pop(rng.randrange(len(files))), target)
        else:
            database = rng.choice(databases)
            if not database.grow():
                databases.remove(database)
        if rng.random() < 0.7:
            meter.index()
    meter.index()
    assert ledgers.truth_differences(meter.queries, home.truth) == []
    assert ledgers.rollup_differences(meter.store) == []
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, now)) == []


# --- reading twice -------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_reading_twice_changes_nothing(era: str, home_factory: Any, meter_factory: Any) -> None:
    home = home_factory(era, copy=False, seed=2, leave_wal=era in ("sqlite", "upgraded"), **SMALL)
    meter = ledgers.at(meter_factory(home.path), home.truth["meta"]["now_ms"])
    first = meter.index()
    before = complete(meter)
    assert first == home.truth["totals"]["model_calls"]
    assert meter.index() == 0
    assert complete(meter) == before
    meter.stop()
    again = ledgers.at(
        meter_factory(home.path, state_dir=meter.settings.state_dir), home.truth["meta"]["now_ms"]
    )
    assert again.index() == 0
    assert complete(again) == before


@pytest.mark.parametrize("era", ERAS)
def test_checkpoints_lost_and_everything_read_anew_changes_nothing(
    era: str, home_factory: Any, meter_factory: Any
) -> None:
    home = home_factory(era, copy=False, seed=3, **SMALL)
    meter = ledgers.at(meter_factory(home.path), home.truth["meta"]["now_ms"])
    meter.index()
    before = complete(meter)
    with meter.store.transaction() as db:  # all but one, so that it is no cold index
        db.execute("DELETE FROM sources WHERE path <> (SELECT min(path) FROM sources)")
        db.execute("DELETE FROM rewrite_generations WHERE path NOT IN (SELECT path FROM sources)")
    state = meter.settings.state_dir
    meter.stop()
    again = ledgers.at(meter_factory(home.path, state_dir=state), home.truth["meta"]["now_ms"])
    assert again.index() == 0
    assert ledgers.differences(complete(again), before) == []
    assert ledgers.rollup_differences(again.store) == []


# --- histories -----------------------------------------------------------------------------------


class History:
    """A home in which things happen, and what is true about it: {(entry, time): (session, tokens, nano-USD)}."""

    KEYS = ("agent:main:main", "agent:main:telegram:direct:7", "agent:main:cron:nightly", None)

    def __init__(self, home: HandmadeHome, rng: random.Random) -> None:
        self.home, self.rng = home, rng
        self.files: dict[str, Path] = {}
        self.content: dict[str, list[handmade.Entry]] = {}
        self.starts: dict[str, int] = {}
        self.index: dict[str, str] = {}
        self.owners: dict[str, set[str]] = {}
        self.truth: dict[str, tuple[tuple[int, int, int, int], int]] = {}
        self.half: dict[str, bytes] = {}
        # Sessions with a .bak: of two versions of an entry that are both nowhere else, see test_transcripts.
        self.kept: set[str] = set()
        self.number = 0
        self.ms = T0 - 40 * 86_400_000

    def now(self) -> int:
        self.ms += self.rng.randrange(1000, 40 * MINUTE)
        return self.ms

    def happen(self) -> None:
        steps = [
            self.begin,
            self.talk,
            self.talk,
            self.talk,
            self.fork,
            self.rename,
            self.rewrite,
            self.shorten,
            self.name,
            self.half_line,
        ]
        self.rng.choice(steps)()

    def some(self) -> str | None:
        live = [
            s
            for s, p in self.files.items()
            if p.name == f"{s}.jsonl" and p.exists() and s not in self.half
        ]
        return self.rng.choice(live) if live else None

    def new_call(self) -> handmade.Entry:
        self.number += 1
        tokens = tuple(self.rng.randrange(2000) for _ in range(4))
        nano = self.rng.choice((0, self.rng.randrange(10**9)))
        tools = self.rng.choices(("exec", "read", "web_search"), k=self.rng.choice((0, 0, 1, 2, 3)))
        entry = call(
            f"c{self.number}",
            self.now(),
            tokens,
            nano / 1e9,
            tools=tools,
            model=f"m{self.rng.randrange(3)}",
            provider="nobody",
        )
        self.truth[entry["id"]] = (tokens, nano)
        return entry

    def begin(self) -> None:
        self.number += 1
        sid = f"s{self.number}"
        self.starts[sid] = self.now()
        self.content[sid] = [header(sid, self.starts[sid])]
        self.files[sid] = self.home.write(sid, self.content[sid])
        self.talk(sid)

    def talk(self, sid: str | None = None) -> None:
        sid = sid or self.some()
        if sid is None:
            return
        self.number += 1
        new = [
            user(f"u{self.number}", self.now()),
            self.new_call(),
            result(f"r{self.number}", self.now(), failed=self.rng.random() < 0.3),
        ]
        for entry in new:
            self.owners.setdefault(entry["id"], set()).add(sid)
        self.content[sid] += new
        append(self.files[sid], new)

    def fork(self) -> None:
        sid = self.some()
        if sid is None:
            return
        self.number += 1
        copy = f"s{self.number}"
        entries = self.content[sid][1:]
        kept = entries[: self.rng.randrange(len(entries) + 1)]
        # Some forks say that they began before their origin: then what they share is theirs.
        self.starts[copy] = self.now() if self.rng.random() < 0.8 else self.starts[sid] - 5000
        self.content[copy] = [header(copy, self.starts[copy]), *kept]
        for entry in kept:
            self.owners[entry["id"]].add(copy)
        self.files[copy] = self.home.write(copy, self.content[copy])

    def rename(self) -> None:
        sid = self.some()
        if sid is not None:
            word = self.rng.choice(("reset", "deleted"))
            self.files[sid] = self.files[sid].rename(
                self.files[sid].with_name(
                    f"{sid}.jsonl.{word}.2026-11-0{self.rng.randrange(1, 6)}T00-00-00.000Z"
                )
            )

    def rewrite(self) -> None:
        """A call that only this session has gets other numbers, and the old file stays as .bak."""
        sid = self.some()
        mine = [
            e
            for e in self.content.get(sid or "", ())
            if e["id"] in self.truth and self.owners[e["id"]] == {sid}
        ]
        if not mine or sid is None or sid in self.kept:
            return
        self.kept.add(sid)
        old = self.rng.choice(mine)
        self.number += 1
        if self.rng.random() < 0.5:
            shutil.copy(
                self.files[sid], self.files[sid].with_name(f"{sid}.jsonl.bak.{self.number}")
            )
        tokens = tuple(self.rng.randrange(2000) for _ in range(4))
        usage = dict(
            zip(("input", "output", "cacheRead", "cacheWrite"), tokens, strict=True),
            cost={"total": 0.125},
        )
        new = {**old, "message": {**old["message"], "usage": usage}}
        self.truth[old["id"]] = (tokens, 125_000_000)
        self.content[sid] = [new if e is old else e for e in self.content[sid]]
        self.home.write(sid, self.content[sid])

    def shorten(self) -> None:
        """maxLines: the file keeps its last lines, without a header on 2026.2; all of it is in .bak."""
        sid = self.some()
        if sid is None or len(self.content[sid]) < 8 or sid in self.kept:
            return
        self.kept.add(sid)
        self.number += 1
        shutil.copy(self.files[sid], self.files[sid].with_name(f"{sid}.jsonl.bak.{self.number}"))
        self.content[sid] = self.content[sid][-5:]
        self.home.write(sid, self.content[sid])

    def name(self) -> None:
        """The index is written anew, with one session more. (A key that moves on is a test of its own.)"""
        sid = self.some()
        key = self.rng.choice(self.KEYS)
        if sid is None or sid in self.index.values() or key in self.index:
            return
        self.index[key or f"agent:main:dashboard:{sid}"] = sid
        self.home.index(self.index)  # type: ignore[arg-type]

    def half_line(self) -> None:
        """A line that is written in two pieces, with passes in between."""
        if self.half:
            sid, rest = self.half.popitem()
            append(self.files[sid], [rest])
            return
        sid = self.some()
        if sid is None:
            return
        entry = self.new_call()
        self.owners.setdefault(entry["id"], set()).add(sid)
        self.content[sid].append(entry)
        line = handmade.raw(entry)
        cut = self.rng.randrange(1, len(line))
        append(self.files[sid], [line[:cut]], end=b"")
        self.half[sid] = line[cut:]

    def finish(self) -> None:
        while self.half:
            self.half_line()

    def totals(self) -> dict[str, int]:
        names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        sums = {n: sum(t[i] for t, _ in self.truth.values()) for i, n in enumerate(names)}
        return {
            "model_calls": len(self.truth),
            **sums,
            "recorded_cost_nano_usd": sum(n for _, n in self.truth.values()),
        }


@pytest.mark.parametrize("seed", range(12))
def test_totals_and_rollups_hold_after_any_history(
    seed: int, meter_factory: Any, tmp_path: Path
) -> None:
    """Things happen, with a pass after each, sometimes two, sometimes a restart: nothing is lost or counted twice."""
    rng = random.Random(seed)
    home = HandmadeHome(tmp_path / "home")
    history = History(home, rng)
    history.begin()
    meter = ledgers.at(meter_factory(home.path), NOW)
    meter.index()
    for step in range(60):
        history.happen()
        meter.index()
        if rng.random() < 0.05:
            meter.store.use_zone(rng.choice(ledgers.ZONES))
        if rng.random() < 0.05:
            state = meter.settings.state_dir
            meter.stop()
            meter = ledgers.at(meter_factory(home.path, state_dir=state), NOW)
        if step % 20 == 0:
            assert ledgers.rollup_differences(meter.store) == []
    history.finish()
    meter.index()
    found = meter.queries.usage(from_="all", by="model")["totals"]
    assert {name: found[name] for name in history.totals()} == history.totals()
    assert ledgers.rollup_differences(meter.store) == []
    # Nothing of it is gone from the disk (all that was cut off is in a .bak), so a new reader finds the same.
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, NOW)) == []


# --- one entry in two wordings -------------------------------------------------------------------

OLD, NEW = (100, 20, 0, 0), (200, 20, 0, 0)


def worded(sid: str, tokens: tuple[int, int, int, int], ms: int = T0) -> list[handmade.Entry]:
    return [header(sid, ms), user("u", T0 + 1000), call("c", T0 + 2000, tokens)]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.reset.2026-11-05T13-00-00.000Z"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_of_two_wordings_each_session_has_that_of_its_best_source(
    order: tuple[int, ...], suffix: str, meter_factory: Any, tmp_path: Path
) -> None:
    """A was rewritten and kept the old words as .bak; B had copied them before: two calls, whatever comes first."""
    home = HandmadeHome(tmp_path / "home")
    sources = [
        ("a", NEW, suffix),
        ("a", OLD, ".jsonl.bak.1"),
        ("b", OLD, ".jsonl"),
    ]
    meter = ledgers.at(meter_factory(home.path), NOW)
    meter.index()
    for number in order:
        sid, tokens, name = sources[number]
        home.write(sid, worded(sid, tokens, T0 if sid == "a" else T0 + 5000), suffix=name)
        meter.index()
    by = {r["key"]: r["input_tokens"] for r in meter.queries.usage(from_="all", by="session")["rows"]}  # fmt: skip
    assert by == {"a": 200, "b": 100}
    assert ledgers.rollup_differences(meter.store) == []
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, NOW)) == []


def test_a_new_call_is_summed_when_the_newest_row_goes(meter_factory: Any, tmp_path: Path) -> None:
    """B takes over A's words: its own row, the newest, goes, and the number of that row goes to the next call."""
    home = HandmadeHome(tmp_path / "home")
    meter = ledgers.at(meter_factory(home.path), NOW)
    home.write("a", worded("a", NEW))
    meter.index()
    home.write("b", worded("b", OLD, T0 + 5000))
    meter.index()
    home.write("b", [*worded("b", NEW, T0 + 5000), call("d", T0 + 9000, OLD)])
    meter.index()
    assert meter.queries.usage(from_="all", by="model")["totals"]["model_calls"] == 2
    assert ledgers.rollup_differences(meter.store) == []
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, NOW)) == []


def test_a_session_keeps_nothing_of_a_model_that_it_lost(
    meter_factory: Any, tmp_path: Path
) -> None:
    """The fork was read first, and owned what it had copied."""
    home = HandmadeHome(tmp_path / "home")
    meter = ledgers.at(meter_factory(home.path), NOW)
    home.write("b", [*worded("b", OLD, T0 + 5000), call("d", T0 + 9000, model="other")])
    meter.index()
    home.write("a", worded("a", OLD))
    meter.index()
    model = "acme/acme-1"
    assert [r["id"] for r in meter.queries.sessions(model=model, from_="all")[0]] == ["a"]
    assert ledgers.differences(complete(meter), cold(meter_factory, home.path, NOW)) == []


def test_a_tool_has_its_time_and_name_when_its_result_is_read_later(
    meter_factory: Any, tmp_path: Path
) -> None:
    home = HandmadeHome(tmp_path / "home")
    started = call("c", T0 + 2000, tools=["exec", "tool_call"])
    started["message"]["content"][-1]["arguments"] = {"id": "web_search", "args": {}}
    ended = [result(f"r{n}", T0 + 32_000, tool) for n, tool in enumerate(("exec", "tool_call"))]
    for n, entry in enumerate(ended):
        entry["message"]["toolCallId"] = f"c-{n}"
    path = home.write("a", [header("a"), user("u", T0 + 1000), started])
    meter = ledgers.at(meter_factory(home.path), NOW)
    meter.index()
    for entry in ended:
        append(path, [entry])
        meter.index()

    def results(of: clawmeter.Clawmeter) -> list[Any]:
        with of.store.reading() as db:
            return db.execute("SELECT tool, duration_ms FROM messages WHERE kind = 'toolResult' ORDER BY tool").fetchall()  # fmt: skip

    assert results(meter) == [("exec", 30_000), ("web_search", 30_000)]
    other = ledgers.at(meter_factory(home.path), NOW)
    other.index()
    assert results(other) == results(meter)


def test_a_sub_agent_that_is_named_before_it_is_read_has_the_parent_of_its_time(
    meter_factory: Any, tmp_path: Path
) -> None:
    """The key of its parent has had two sessions: it is a child of the one that ran when it began."""
    home = HandmadeHome(tmp_path / "home")
    hour = 60 * MINUTE
    for number, name in enumerate(("first", "second")):
        suffix = ".jsonl" if number else ".jsonl.reset.2026-11-05T13-00-00.000Z"
        began = T0 + number * hour
        home.write(name, [header(name, began), call(name, began + 1000)], suffix=suffix)
    kid = {"sessionId": "kid", "spawnedBy": "agent:main:main"}
    names: dict[str, Any] = {"agent:main:main": "first"}
    meter = ledgers.at(meter_factory(home.path), NOW)
    for session in ("first", "second"):
        names["agent:main:main"] = session
        home.index(names)
        meter.index()
    home.index({**names, "agent:main:subagent:kid": kid})
    meter.index()
    home.write("kid", [header("kid", T0 + hour + 5000), call("k", T0 + hour + 9000)])
    meter.index()
    rows = {r["id"]: r["parent_session"] for r in meter.queries.subagents(from_="all")[0]}
    assert rows == {"kid": "second"}


def test_days_of_the_usual_zone_stay_whatever_else_is_asked_for(
    meter_factory: Any, home_factory: Any
) -> None:
    home = home_factory("sqlite", copy=False, seed=1, **SMALL)
    meter = meter_factory(home.path)
    meter.index()
    assert meter.store.use_zone("UTC", keep="UTC")
    for number in range(8):
        assert meter.store.use_zone(f"Etc/GMT+{number + 1}", keep="UTC")
    assert not meter.store.use_zone("UTC", keep="UTC")
    with meter.store.reading() as db:
        assert db.execute("SELECT count(*) FROM zones").fetchone() == (6,)
    assert ledgers.rollup_differences(meter.store) == []


@pytest.mark.parametrize("kind", ["reset", "deleted"])
def test_a_session_that_is_put_away_is_stored_so(
    kind: str, meter_factory: Any, tmp_path: Path
) -> None:
    home = HandmadeHome(tmp_path / "home")
    path = home.write("a", worded("a", OLD))
    meter = ledgers.at(meter_factory(home.path), NOW)
    meter.index()

    def stored(of: clawmeter.Clawmeter) -> Any:
        with of.store.reading() as db:
            return db.execute("SELECT stored_as FROM sessions").fetchall()

    assert stored(meter) == [("live",)]
    path.rename(path.with_name(f"a.jsonl.{kind}.2026-11-05T13-00-00.000Z"))
    meter.index()
    other = ledgers.at(meter_factory(home.path), NOW)
    other.index()
    assert stored(meter) == stored(other) == [(kind,)]
