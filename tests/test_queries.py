"""Questions about usage: every grouping, range, zone and filter against plain sums over the calls; and odd sessions."""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import ledgers
import pytest
from handmade import MINUTE, NOW, T0, HandmadeHome, Reader, call, header, user
from ledgers import TOTALS

import clawmeter
from clawmeter import BY, BY_TIME, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 60 * MINUTE
DAY = 24 * HOUR
UTC = ZoneInfo("UTC")
#: Offsets of a quarter of an hour, half-hour summer time, clocks that change at midnight, a half day ahead.
ZONES = (
    "UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe",
    "America/Havana", "Africa/Cairo", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati",
)  # fmt: skip


def ms(text: str, zone: str = "UTC") -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


#: Nights in which the clocks of one of ZONES change, and an ordinary day.
NIGHTS = [
    ms(night)
    for night in (
        "2026-03-07T18:00", "2026-03-28T18:00", "2026-04-04T06:00", "2026-04-23T14:00", "2026-09-26T06:00",
        "2026-10-03T06:00", "2026-10-24T18:00", "2026-10-29T14:00", "2026-10-31T21:00", "2026-11-05T06:00",
    )
]  # fmt: skip
TOOLS = (
    (),
    (),
    ("exec",),
    ("exec", "read"),
    ("read", "exec", "write"),
    ("exec", "exec"),
    ("web",) * 7,
)
MODELS = (("acme", "acme-1"), ("acme", "acme-2"), ("other", "acme-1"), ("local", "tiny"))
SESSIONS = (
    ("main", "s-main", "agent:main:main", None),
    ("main", "s-chat", "agent:main:telegram:direct:7", "telegram"),
    ("main", "s-cron", "agent:main:cron:job-1:run:s-cron", None),
    ("ops", "s-hook", "agent:ops:hook:mail", None),
    ("ops", "s-sub", "agent:ops:subagent:1234", "slack"),
    ("ops", "s-lost", None, None),
)


def write_calls(home: HandmadeHome) -> None:
    """Calls every few minutes around NIGHTS, on quarters of an hour and a millisecond beside them too."""
    rng = random.Random(7)
    times = set()
    for night in NIGHTS:
        times |= {night + n * 433_000 for n in range(200)}
        times |= {night + n * 15 * MINUTE + d for n in range(0, 60, 5) for d in (-1, 0, 1)}
    entries: dict[str, list[Any]] = {
        sid: [header(sid, min(times)), user(f"{sid}-u", min(times)), user(f"{sid}-h", min(times), "[OpenClaw heartbeat poll]")]
        for _, sid, _, _ in SESSIONS
    }  # fmt: skip
    for n, when in enumerate(sorted(times)):
        _, sid, _, _ = rng.choice(SESSIONS)
        provider, model = rng.choice(MODELS)
        cost = rng.choice((0, None, 1e-9, 0.1 + rng.random(), 0.001 * n))
        tokens = (rng.randrange(5000), rng.randrange(900), rng.randrange(10**6), rng.randrange(3))
        turn = "h" if rng.random() < 0.2 else "u"
        entries[sid].append(
            call(f"c{n}", when, tokens, cost, parent=f"{sid}-{turn}", tools=rng.choice(TOOLS), provider=provider, model=model)
        )  # fmt: skip
    for agent, sid, _, _ in SESSIONS:
        home.write(sid, entries[sid], agent=agent)
    for agent in ("main", "ops"):
        home.index(
            {
                key: {"sessionId": sid, "channel": channel} if channel else sid
                for a, sid, key, channel in SESSIONS
                if a == agent and key
            },
            agent=agent,
        )


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, cache_home: Any) -> Iterator[Reader]:
    """The ledger that all questions of this file are put to."""
    folder = tmp_path_factory.mktemp("queries")
    home = HandmadeHome(folder / "home")
    write_calls(home)

    def factory(path: Any, **options: Any) -> clawmeter.Clawmeter:
        settings = clawmeter.Settings(
            state_dir=folder / "state", homes=(path,), time_zone="UTC", plan_providers=("other",), **options
        )  # fmt: skip
        env = {"HOME": str(folder), "XDG_CACHE_HOME": str(cache_home)}
        return clawmeter.Clawmeter(settings, env=env)

    made = Reader(factory, home.path)
    made.read()
    yield made
    made.meter.stop()


@pytest.fixture(scope="module")
def calls(reader: Reader) -> list[dict[str, Any]]:
    """Every call of the ledger with all that it can be grouped by; sums are made of these in plain Python."""
    names = (
        "ts_ms agent session session_key channel cause cron_job provider model tools input_tokens output_tokens "
        "cache_read_tokens cache_write_tokens cost recorded basis plan"
    ).split()
    rows = reader.sql(
        "SELECT c.ts_ms, s.agent, s.session_id, s.key, s.channel, iif(c.flags & 1, 'heartbeat', s.cause), s.cron_job, m.provider, m.model, "
        "c.tools, c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens, c.cost_nano, c.recorded_nano, c.basis, c.flags & 4 "
        "FROM model_calls c JOIN sessions s ON s.id = c.session JOIN models m ON m.id = c.model"
    )
    out = []
    for row in rows:
        one = dict(zip(names, row, strict=True))
        for name in ("session_key", "channel", "cron_job"):
            one[name] = one[name] or "(none)"
        one["provider_model"] = f"{one['provider']}/{one['model']}"
        one["tools"] = clawmeter.orjson.loads(one["tools"]) if one["tools"] else ["(none)"]
        tokens = [one[f"{n}_tokens"] for n in ("input", "output", "cache_read", "cache_write")]
        one["T"] = dict(
            zip(
                TOTALS,
                (
                    1, *tokens, sum(tokens), 0 if one["plan"] else one["cost"], one["recorded"] or 0,
                    one["cost"] if one["plan"] else 0, int(one["basis"] == "unpriced"),
                ),
                strict=True,
            )
        )  # fmt: skip
        out.append(one)
    assert {c["cause"] for c in out} == {"user", "cron", "hook", "subagent", "unknown", "heartbeat"}
    assert any(c["plan"] for c in out)
    assert any(c["basis"] == "unpriced" for c in out)
    return out


def time_key(by: str, when: int, zone: ZoneInfo) -> str:
    local = dt.datetime.fromtimestamp(when / 1000, zone)
    if by == "hour":
        return f"{local.date()}T{local.hour:02d}:00{local.isoformat(timespec='seconds')[19:]}"
    if by == "hour_of_week":
        return f"{local.isoweekday()}T{local.hour:02d}"
    if by == "week":
        year, week, _ = local.isocalendar()
        return f"{year}-W{week:02d}"
    return local.date().isoformat()[: 7 if by == "month" else 10]


def split(call: dict[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
    """A call's share of each of its tools: equal parts, the remainder to the first."""
    count = len(call["tools"])
    for n, tool in enumerate(call["tools"]):
        share = {f: v // count for f, v in call["T"].items()}
        if n == 0:
            share = {f: v - share[f] * (count - 1) for f, v in call["T"].items()}
        # total_tokens is the sum of the four, in a share too.
        share["total_tokens"] = sum(
            share[f"{n}_tokens"] for n in ("input", "output", "cache_read", "cache_write")
        )
        yield tool, share


def expected(
    calls: list[dict[str, Any]], by: str, start: int, end: int, zone: str, filters: dict[str, str]
) -> dict[str, dict[str, int]]:
    """The rows of an answer by plain sums."""
    out: dict[str, dict[str, int]] = {}
    if by == "hour_of_week" and start < end:
        out = {f"{day}T{hour:02d}": dict.fromkeys(TOTALS, 0) for day in range(1, 8) for hour in range(24)}  # fmt: skip
    elif by in BY_TIME and start < end:
        first = start - start % (15 * MINUTE)
        for when in range(first, end, 15 * MINUTE):
            out.setdefault(time_key(by, when, ZoneInfo(zone)), dict.fromkeys(TOTALS, 0))
    for one in calls:
        if not start <= one["ts_ms"] < end:
            continue
        if any(value not in values_of(one, name) for name, value in filters.items()):
            continue
        parts: Any
        if by in BY_TIME:
            parts = [(time_key(by, one["ts_ms"], ZoneInfo(zone)), one["T"])]
        elif by == "tool":
            parts = split(one)
        else:
            parts = [(one[by], one["T"])]
        for key, share in parts:
            row = out.setdefault(key, dict.fromkeys(TOTALS, 0))
            for figure, value in share.items():
                row[figure] += value
    return out


def values_of(one: dict[str, Any], name: str) -> set[str]:
    """The values of a filter that hold for a call."""
    if name == "model":
        return {one["model"], one["provider_model"]}
    if name == "session":
        return {one["session"], one["session_key"]} - {"(none)"}
    return {one[name]}


def check(
    reader: Reader, calls: list[dict[str, Any]], by: str, start: int, end: int, zone: str, **filters: str
) -> dict[str, Any]:  # fmt: skip
    answer = reader.meter.queries.usage(from_=str(start), to=str(end), tz=zone, by=by, **filters)
    wanted = expected(calls, by, start, end, zone, filters)
    found = {r["key"]: {f: r[f] for f in TOTALS} for r in answer["rows"]}
    assert ledgers.differences({by: found}, {by: wanted}) == []
    if by in BY_TIME:
        assert list(found) == list(wanted)
    assert answer["row_count"] == len(answer["rows"])
    for figure in TOTALS:
        assert answer["totals"][figure] == sum(r[figure] for r in wanted.values())
    assert (answer["from_ms"], answer["to_ms"], answer["tz"], answer["by"]) == (
        start,
        end,
        zone,
        by,
    )
    return dict(answer)


def questions(
    seed: int, calls: list[dict[str, Any]]
) -> Iterator[tuple[str, int, int, str, dict[str, str]]]:
    """Ranges that begin and end on days, on quarters of an hour, on calls and anywhere, with none to three filters."""
    rng = random.Random(seed)
    for _ in range(70):
        zone = rng.choice(ZONES)
        edges = []
        for _ in range(2):
            near = rng.choice(NIGHTS) + rng.randrange(-DAY, 2 * DAY)
            local = dt.datetime.fromtimestamp(near / 1000, ZoneInfo(zone))
            edges.append(rng.choice((
                near,
                near - near % (15 * MINUTE),
                rng.choice(calls)["ts_ms"] + rng.choice((-1, 0, 1)),
                round(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000),
            )))  # fmt: skip
        start, end = sorted(edges)
        by = rng.choice(BY)
        if by == "hour":
            end = min(end, start + 20 * DAY)
        one = rng.choice(calls)
        names = rng.sample(sorted(clawmeter.FILTER_SQL), rng.choice((0, 0, 1, 2, 3)))
        yield (
            by,
            start,
            end,
            zone,
            {name: rng.choice(sorted(values_of(one, name))) for name in names},
        )


@pytest.mark.parametrize("seed", range(4))
def test_any_question_is_a_plain_sum(
    seed: int, reader: Reader, calls: list[dict[str, Any]]
) -> None:
    for by, start, end, zone, filters in questions(seed, calls):
        check(reader, calls, by, start, end, zone, **filters)


@pytest.mark.parametrize("group", [ZONES[:6], ZONES[5:]])
def test_and_the_same_where_days_of_a_zone_are_kept(
    group: tuple[str, ...], reader: Reader, calls: list[dict[str, Any]]
) -> None:
    """A zone that is asked for gets rows by day, which whole days are read from then on."""
    for zone in group:
        reader.meter.store.use_zone(zone)
    kept = {name for (name,) in reader.sql("SELECT name FROM zones")}
    assert set(group) <= kept
    for seed in (10, 11, 12):
        for by, start, end, _, filters in questions(seed, calls):
            check(reader, calls, by, start, end, group[(seed + start) % len(group)], **filters)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("night", NIGHTS[::3])
def test_hours_of_a_night_in_which_clocks_change(
    night: int, zone: str, reader: Reader, calls: list[dict[str, Any]]
) -> None:
    """The hour that comes twice is two rows, told apart by the offset; the one that is left out is none."""
    start = night + 7 * MINUTE + 1
    answer = check(reader, calls, "hour", start, start + 30 * HOUR, zone)
    keys = [r["key"] for r in answer["rows"]]
    assert len(keys) == len(set(keys))
    offsets = {key[16:] for key in keys}
    begin, end = (dt.datetime.fromtimestamp(t / 1000, ZoneInfo(zone)) for t in (start, start + 30 * HOUR))  # fmt: skip
    assert len(offsets) == 1 + (begin.utcoffset() != end.utcoffset())


def test_hour_that_comes_twice(reader: Reader, calls: list[dict[str, Any]]) -> None:
    zone = "America/New_York"
    start, end = ms("2026-11-01", zone), ms("2026-11-02", zone)
    keys = [r["key"] for r in check(reader, calls, "hour", start, end, zone)["rows"]]
    assert len(keys) == 25
    assert keys[:4] == [
        "2026-11-01T00:00-04:00", "2026-11-01T01:00-04:00", "2026-11-01T01:00-05:00", "2026-11-01T02:00-05:00",
    ]  # fmt: skip


def test_half_an_hour_that_comes_twice(reader: Reader, calls: list[dict[str, Any]]) -> None:
    """02:00 becomes 01:30: the second half of that hour is a row of its own, wherever the range begins."""
    zone = "Australia/Lord_Howe"
    start, end = ms("2026-04-05", zone), ms("2026-04-06", zone)
    assert end - start == 24.5 * HOUR
    keys = [r["key"] for r in check(reader, calls, "hour", start, end, zone)["rows"]]
    assert keys[:4] == [
        "2026-04-05T00:00+11:00", "2026-04-05T01:00+11:00", "2026-04-05T01:00+10:30", "2026-04-05T02:00+10:30",
    ]  # fmt: skip
    for begin in (ms("2026-04-04T15:00"), ms("2026-04-04T15:15")):
        keys = [r["key"] for r in check(reader, calls, "hour", begin, end, zone)["rows"]]
        assert keys[:2] == ["2026-04-05T01:00+10:30", "2026-04-05T02:00+10:30"]


def test_half_an_hour_of_summer_time(reader: Reader, calls: list[dict[str, Any]]) -> None:
    zone = "Australia/Lord_Howe"  # 02:00 becomes 02:30
    start, end = ms("2026-10-04", zone), ms("2026-10-05", zone)
    assert end - start == 23.5 * HOUR
    keys = [r["key"] for r in check(reader, calls, "hour", start, end, zone)["rows"]]
    assert keys[1:4] == ["2026-10-04T01:00+10:30", "2026-10-04T02:00+11:00", "2026-10-04T03:00+11:00"]  # fmt: skip


def test_hours_of_a_zone_at_three_quarters(reader: Reader, calls: list[dict[str, Any]]) -> None:
    start = ms("2026-11-05T12:00", "Asia/Kathmandu")
    answer = check(reader, calls, "hour", start, start + 3 * HOUR, "Asia/Kathmandu")
    assert [r["key"] for r in answer["rows"]] == [f"2026-11-05T{h}:00+05:45" for h in (12, 13, 14)]
    # From the middle of an hour: the hour has a row, with what is inside the range.
    answer = check(reader, calls, "hour", start + 20 * MINUTE, start + HOUR + 1, "Asia/Kathmandu")
    assert [r["key"] for r in answer["rows"]] == [f"2026-11-05T{h}:00+05:45" for h in (12, 13)]


def test_day_that_begins_at_one(reader: Reader, calls: list[dict[str, Any]]) -> None:
    """In Cairo the clocks go from midnight to one o'clock: the day begins there."""
    queries = reader.meter.queries
    answer = queries.usage(from_="2026-04-24", to="2026-04-24", tz="Africa/Cairo", by="hour")
    assert answer["from_ms"] == ms("2026-04-23T22:00")
    assert answer["to_ms"] - answer["from_ms"] == 23 * HOUR
    assert answer["rows"][0]["key"] == "2026-04-24T01:00+03:00"
    check(reader, calls, "day", answer["from_ms"], answer["to_ms"], "Africa/Cairo")


# --- sums ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Chatham"])
@pytest.mark.parametrize("from_", ["all", "2026-04-04", str(NIGHTS[2] + 12_345)])
def test_rows_of_every_grouping_add_up_to_the_same(from_: str, zone: str, reader: Reader) -> None:
    queries = reader.meter.queries
    told = []
    for by in BY:
        if by == "hour" and from_ != "all":
            continue
        answer = queries.usage(from_=from_, tz=zone, by=by)
        totals = {f: answer["totals"][f] for f in TOTALS}
        told.append(totals)
        assert answer["row_count"] == len(answer["rows"])
        for figure in TOTALS:
            assert totals[figure] == sum(r[figure] for r in answer["rows"]), (by, figure)
        assert answer["totals"]["cost_usd"] == totals["cost_nano_usd"] / 1e9
    assert all(t == told[0] for t in told)


def test_remainder_of_a_split_goes_to_the_first_tool(tmp_path: Any, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [
        header("s"),
        call("a", T0, (100, 11, 1, 0), 1e-9 * 1000, tools=("b-tool", "a-tool", "c-tool")),
        call("b", T0 + 1, (7, 0, 0, 0), 5e-9, tools=("a-tool", "a-tool")),
        call("c", T0 + 2, (1, 1, 1, 1), 1e-9),
    ])  # fmt: skip
    reader = Reader(meter_factory, home.path)
    reader.read()
    for question in ({"from_": "all"}, {"from_": "all", "agent": "main"}, {"from_": str(T0), "to": str(T0 + 3)}):  # fmt: skip
        answer = reader.meter.queries.usage(by="tool", **question)
        rows = {
            r["key"]: (r["model_calls"], r["input_tokens"], r["output_tokens"], r["cache_read_tokens"], r["cost_nano_usd"])
            for r in answer["rows"]
        }  # fmt: skip
        assert rows == {
            "b-tool": (1, 34, 5, 1, 334),
            "a-tool": (0 + 1, 33 + 7, 3, 0, 333 + 5),
            "c-tool": (0, 33, 3, 0, 333),
            "(none)": (1, 1, 1, 1, 1),
        }


# --- rows: order, parts, labels ------------------------------------------------------------------


def test_order_of_rows(reader: Reader) -> None:
    queries = reader.meter.queries
    for by in BY:
        rows = queries.usage(from_="all", by=by)["rows"]
        keys = [r["key"] for r in rows]
        if by == "hour":  # by time, which where clocks go back is not by name
            assert [clawmeter.parse_iso_ms(k) for k in keys] == sorted(map(clawmeter.parse_iso_ms, keys))  # fmt: skip
        elif by in BY_TIME:
            assert keys == sorted(keys)
        else:
            costs = [r["cost_nano_usd"] for r in rows]
            assert costs == sorted(costs, reverse=True)
    for figure in ("total_tokens", "cost_usd", *clawmeter.TOTAL_FIELDS):
        for by in ("model", "day"):
            values = [r[figure] for r in queries.usage(from_="all", by=by, sort=figure)["rows"]]
            assert values == sorted(values, reverse=True)
    for by in ("session", "model"):
        for word in ("key", "label"):
            names = [r[word] for r in queries.usage(from_="all", by=by, sort=word)["rows"]]
            assert names == sorted(names)


def test_parts_of_the_rows(reader: Reader) -> None:
    """limit and offset cut rows, never totals."""
    queries = reader.meter.queries
    for by in ("session", "day", "tool"):
        whole = queries.usage(from_="all", by=by)
        rows, count = whole["rows"], whole["row_count"]
        for limit, offset in ((1, 0), (2, 1), (3, count - 1), (5, count), (10_000, 10**9)):
            part = queries.usage(from_="all", by=by, limit=str(limit), offset=str(offset))
            assert part["rows"] == rows[offset : offset + limit]
            assert (part["row_count"], part["totals"]) == (count, whole["totals"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "10001"), ("limit", "x"), ("limit", "1.5"), ("offset", "-1"), ("offset", "1e3"),
        ("by", "colour"), ("sort", "colour"), ("tz", "Mars/Olympus"), ("tz", "../../etc/passwd"), ("from_", "lately"),
        ("to", "2026-02-30"), ("from_", "2026-13"), ("from_", "2026-W54"), ("to", "99999d9"), ("from_", "-5"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(name: str, value: str, reader: Reader) -> None:
    with pytest.raises(QueryError) as refused:
        reader.meter.queries.usage(**{name: value})
    assert refused.value.status == 400
    assert refused.value.code in {"bad_parameter", "bad_time", "bad_time_zone"}
    assert value in refused.value.message


def test_labels_name_sessions(reader: Reader) -> None:
    rows = reader.meter.queries.usage(from_="all", by="session")["rows"]
    assert {r["key"]: r["label"] for r in rows} == {sid: key or sid for _, sid, key, _ in SESSIONS}


@pytest.mark.parametrize("is_latest_first", [True, False])
def test_a_key_of_several_sessions_has_the_label_of_the_latest(
    is_latest_first: bool, tmp_path: Path, meter_factory: Any
) -> None:
    """However the rows are told, split or not, and in whichever order the sessions were read."""
    home = HandmadeHome(tmp_path / "home")
    ids = ["a", "b", "c"] if is_latest_first else ["c", "b", "a"]
    for place, sid in enumerate(ids):
        home.write(sid, [header(sid), call(f"call-{sid}", T0 - place * DAY, cost=0.25)])
    home.index(dict.fromkeys(["agent:main:main"], "a"))
    meter = meter_factory(home.path)
    meter.index()
    with meter.store.transaction() as db:
        for label, sid in zip(("", "newest", "oldest"), ids, strict=True):
            db.execute("UPDATE sessions SET key = 'agent:main:main', label = ? WHERE session_id = ?", (label, sid))  # fmt: skip
    for asked in ({}, {"split": "model"}, {"sort": "label"}):
        rows = meter.queries.usage(from_="all", by="session_key", **asked)["rows"]
        assert [(r["key"], r["label"]) for r in rows] == [("agent:main:main", "newest")]
    parts = meter.queries.usage(from_="all", by="model", split="session_key")["parts"]
    assert [(p["key"], p["label"]) for p in parts] == [("agent:main:main", "newest")]


@pytest.mark.parametrize("split", BY)
@pytest.mark.parametrize("by", BY)
def test_every_key_can_be_split_by_every_other_and_by_itself(by: str, split: str, reader: Reader) -> None:  # fmt: skip
    """Rows are the same with and without a split, and parts add up to them."""
    queries = reader.meter.queries
    answer = queries.usage(from_="2026-10-01", by=by, split=split, parts="100")
    plain = queries.usage(from_="2026-10-01", by=by)
    assert [{k: v for k, v in row.items() if k != "parts"} for row in answer["rows"]] == plain["rows"]  # fmt: skip
    assert answer["totals"] == plain["totals"]
    for row in answer["rows"]:
        for figure in TOTALS:
            assert sum(part[figure] for part in row["parts"]) == row[figure]
        assert by != split or {part["key"] for part in row["parts"]} <= {row["key"], clawmeter.OTHER_KEY}  # fmt: skip


# --- ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize(
    ("from_", "to"),
    [
        (str(T0), str(T0)), (str(T0 + 1), str(T0 + 1)), ("2026-11-05", "2026-11-01"), (str(T0 + DAY), str(T0)),
        ("2026-11-05T10:07", "2026-11-05T10:07"),
    ],
)  # fmt: skip
def test_empty_and_upside_down_ranges_hold_nothing(
    from_: str, to: str, by: str, reader: Reader
) -> None:
    answer = reader.meter.queries.usage(from_=from_, to=to, by=by)
    assert (answer["rows"], answer["row_count"]) == ([], 0)
    assert answer["from_ms"] == answer["to_ms"]
    assert {answer["totals"][f] for f in TOTALS} == {0}


ROWS_OF_TWO_DAYS = {"hour": 48, "hour_of_week": 168, "day": 2, "week": 1, "month": 1}


@pytest.mark.parametrize("by", BY)
def test_ranges_without_calls(by: str, reader: Reader) -> None:
    """Before the first call, between calls and after the last; time has rows all the same."""
    for from_, to in (("2020-01-01", "2020-01-02"), ("2026-07-01", "2026-07-02"), ("2030-01-01", "2030-01-02")):  # fmt: skip
        answer = reader.meter.queries.usage(from_=from_, to=to, by=by)
        count = ROWS_OF_TWO_DAYS.get(by, 0)
        if by == "week" and from_ == "2030-01-01":
            assert answer["rows"][0]["key"] == "2030-W01"
        assert len(answer["rows"]) == count
        assert {r[f] for r in (*answer["rows"], answer["totals"]) for f in TOTALS} == {0}


@pytest.mark.parametrize("by", BY)
def test_nobody_and_nothing(by: str, reader: Reader) -> None:
    for name in clawmeter.FILTER_SQL:
        answer = reader.meter.queries.usage(from_="2026-11-04", to="2026-11-05", by=by, **{name: "no' OR 1=1 --"})  # fmt: skip
        assert {answer["totals"][f] for f in TOTALS} == {0}
        assert len(answer["rows"]) == ROWS_OF_TWO_DAYS.get(by, 0)


def test_empty_ledger_answers(tmp_path: Any, meter_factory: Any) -> None:
    reader = Reader(meter_factory, HandmadeHome(tmp_path / "home").path)
    reader.read()
    queries = reader.meter.queries
    today = queries.usage(from_="today")["rows"][0]["key"]
    assert today == "2026-11-06"
    for by in BY:
        for from_ in ("all", "30d", "today"):
            answer = queries.usage(from_=from_, by=by)
            assert {answer["totals"][f] for f in TOTALS} == {0}
            assert answer["from_ms"] < answer["to_ms"]
            assert bool(answer["rows"]) == (by in BY_TIME)
    assert queries.sessions() == ([], 0)
    assert queries.overview()
    assert queries.subagents() == ([], 0)


@pytest.mark.parametrize(
    ("from_", "to", "first", "last"),
    [
        (None, None, "2026-10-08", "2026-11-06"),
        ("today", None, "2026-11-06", "2026-11-06"),
        ("yesterday", "yesterday", "2026-11-05", "2026-11-05"),
        ("1d", None, "2026-11-06", "2026-11-06"),
        ("7d", None, "2026-10-31", "2026-11-06"),
        ("week", None, "2026-11-02", "2026-11-06"),
        ("week", "week", "2026-11-02", "2026-11-08"),
        ("month", None, "2026-11-01", "2026-11-06"),
        ("month", "month", "2026-11-01", "2026-11-30"),
        ("2026-10-01", "2026-10-31", "2026-10-01", "2026-10-31"),
        ("20261001", "20261031", "2026-10-01", "2026-10-31"),
        ("2026-10", "2026-10", "2026-10-01", "2026-10-31"),
        ("2026-12", "2026-12", "2026-12-01", "2026-12-31"),
        ("2026-W01", "2026-w01", "2025-12-29", "2026-01-04"),
        ("2026-W45-1", "2026-W45-2", "2026-11-02", "2026-11-03"),
        (" Today ", "TODAY", "2026-11-06", "2026-11-06"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_words_for_ranges(
    zone: str, from_: str | None, to: str | None, first: str, last: str, reader: Reader
) -> None:
    """Whole local days; now is 2026-11-06T12:00Z."""
    answer = reader.meter.queries.usage(from_=from_, to=to, tz=zone)
    assert [answer["rows"][0]["key"], answer["rows"][-1]["key"]] == [first, last]
    assert answer["from_ms"] == ms(first, zone)
    assert answer["to_ms"] == ms(str(dt.date.fromisoformat(last) + dt.timedelta(days=1)), zone)


def test_today_is_the_zones_today(reader: Reader) -> None:
    queries = reader.meter.queries
    assert queries.usage(from_="today", tz="UTC")["rows"][0]["key"] == "2026-11-06"
    assert queries.usage(from_="today", tz="Pacific/Kiritimati")["rows"][0]["key"] == "2026-11-07"
    month = queries.usage(from_="month", to="month", tz="Pacific/Kiritimati")
    assert month["from_ms"] == ms("2026-11-01", "Pacific/Kiritimati")


def test_times_with_and_without_an_offset(reader: Reader) -> None:
    queries = reader.meter.queries
    for text, wanted in (
        ("2026-11-05T08:00", ms("2026-11-05T08:00", "Europe/Berlin")),
        ("2026-11-05 08:00:30.250", ms("2026-11-05T08:00:30.250", "Europe/Berlin")),
        ("2026-11-05T08:00Z", ms("2026-11-05T08:00")),
        ("2026-11-05t08:00+05:45", ms("2026-11-05T08:00", "Asia/Kathmandu")),
        (str(T0), T0),
        ("now", NOW),
    ):
        answer = queries.usage(from_="2026-11-01", to=text, tz="Europe/Berlin")
        assert answer["to_ms"] == wanted, text


def test_everything_has_whole_days_as_its_ends(reader: Reader, calls: list[dict[str, Any]]) -> None:
    for zone in ("UTC", "Asia/Kathmandu"):
        answer = reader.meter.queries.usage(from_="all", tz=zone)
        first = min(c["ts_ms"] for c in calls)
        assert answer["from_ms"] == ms(time_key("day", first, ZoneInfo(zone)), zone)
        assert answer["to_ms"] > NOW
        assert answer["totals"]["model_calls"] == len(calls)


def test_ages_are_answered_without_a_row_for_every_hour(reader: Reader, calls: list[dict[str, Any]]) -> None:  # fmt: skip
    """From the first call to the last, then; as many as the totals say."""
    for by in BY_TIME:
        answer = reader.meter.queries.usage(from_="0001-01-02", to="9998-12-30", by=by)
        assert answer["totals"]["model_calls"] == len(calls)
        if by == "hour_of_week":
            assert answer["row_count"] == 168
            continue
        assert answer["rows"][0]["model_calls"] > 0
        assert answer["rows"][-1]["model_calls"] > 0
        assert answer["row_count"] < 7000


@pytest.mark.parametrize("year", ["1971", "2999"])
def test_one_call_of_a_wrong_year_makes_no_millions_of_hours(
    year: str, tmp_path: Any, meter_factory: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    odd = {**call("odd", T0), "timestamp": f"{year}-01-01T08:30:00Z"}
    home.write("s", [header("s"), call("a", T0), call("b", T0 + HOUR), odd])
    reader = Reader(meter_factory, home.path)
    reader.read()
    for question in ({"from_": "all"}, {"from_": "1970-01-01", "to": "3000-01-01"}):
        rows = reader.meter.queries.usage(by="hour", tz="Asia/Kathmandu", **question)["rows"]
        told = {r["key"]: r["model_calls"] for r in rows}
        assert told == {
            f"{year}-01-01T14:00+05:{'45' if year == '2999' else '30'}": 1,
            "2026-11-05T17:00+05:45": 1,
            "2026-11-05T18:00+05:45": 1,
        }
        assert list(told) == sorted(told)


# --- sessions ------------------------------------------------------------------------------------


def test_sessions_by_id_and_by_key(reader: Reader) -> None:
    queries = reader.meter.queries
    for _, sid, key, _ in SESSIONS:
        assert queries.session(sid)["id"] == sid
        assert queries.timeline(key or sid)["session"] == sid
        assert queries.session(key or sid)["id"] == sid
        assert queries.usage(from_="all", session=key or sid)["totals"] == queries.usage(from_="all", session=sid)["totals"]  # fmt: skip


@pytest.mark.parametrize(
    "sid", ["nowhere", "", "' OR 1=1 --", "s-main\x00", "\ud800", "x" * 5000, "\x1b[31m"]
)
@pytest.mark.parametrize("method", ["session", "timeline", "transcript"])
def test_unknown_sessions_are_said_to_be(method: str, sid: str, reader: Reader) -> None:
    with pytest.raises(QueryError) as refused:
        getattr(reader.meter.queries, method)(sid)
    assert (refused.value.status, refused.value.code) == (404, "session_not_found")
    assert "\x1b" not in refused.value.message
    assert len(refused.value.message) < 200
    assert refused.value.message.encode()


def test_filters_of_the_session_list(reader: Reader) -> None:
    queries = reader.meter.queries

    def ids(**question: str) -> set[str]:
        rows, count = queries.sessions(**question)
        assert count == len(rows)
        return {r["id"] for r in rows}

    everyone = {sid for _, sid, _, _ in SESSIONS}
    assert ids() == everyone
    assert ids(agent="ops") == {"s-hook", "s-sub", "s-lost"}
    assert ids(agent="ops", cause="hook") == {"s-hook"}
    assert ids(channel="slack") == {"s-sub"}
    assert ids(channel="(none)") == everyone - {"s-sub", "s-chat"}
    assert ids(q="TELEGRAM") == {"s-chat"}
    assert ids(q="%") == ids(q="_x") == set()
    assert ids(model="acme/acme-1", q="s-m") == {"s-main"}
    assert ids(model="nobody") == set()
    assert ids(from_="2030-01-01") == set()
    assert ids(state="ended", agent="main", cause="cron") == {"s-cron"}
    for sort in clawmeter.SESSION_SORTS:
        rows, count = queries.sessions(sort=sort)
        back, _ = queries.sessions(sort=sort, order="desc" if sort in clawmeter.SESSION_TEXT_SORTS else "asc")  # fmt: skip
        assert count == len(rows) == len(back) == len(everyone)
        known = [r["id"] for r in rows if r.get(sort) is not None]
        assert {r["id"] for r in rows} == everyone
        if sort != "channel" and len({r.get(sort) for r in rows}) == len(rows):
            assert known == [r["id"] for r in back if r.get(sort) is not None][::-1]


# --- trees of sub-agents -------------------------------------------------------------------------


@pytest.fixture
def family(tmp_path: Any, meter_factory: Any) -> Any:
    """family({child: parent}) -> a ledger of one call a session; the nth costs 10^n nano-USD, so every sum names its parts."""

    def make(parents: dict[str, str | None]) -> Reader:
        home = HandmadeHome(tmp_path / "home")
        for n, sid in enumerate(parents):
            home.write(sid, [header(sid, T0 + n), call(f"{sid}-c", T0 + n * MINUTE, cost=10**n / 1e9)])  # fmt: skip
        keys = {sid: f"agent:main:subagent:{sid}" for sid in parents}
        home.index(
            {
                keys[sid]: {"sessionId": sid, **({"spawnedBy": keys.get(parent, parent)} if parent else {})}
                for sid, parent in parents.items()
            }
        )  # fmt: skip
        made = Reader(meter_factory, home.path)
        made.read()
        return made

    return make


def trees(reader: Reader) -> dict[str, int]:
    """{session: own and tree cost}, the same wherever it is told."""
    queries = reader.meter.queries
    rows, _ = queries.sessions(limit="100")
    told = {r["id"]: r["tree_cost_nano_usd"] for r in rows}
    for sid, tree in told.items():
        one = queries.session(sid)
        assert one["tree_cost_nano_usd"] == tree
    sorted_by_tree, _ = queries.sessions(sort="tree_cost_nano_usd")
    values = [r["tree_cost_nano_usd"] for r in sorted_by_tree]
    assert values == sorted(values, reverse=True)
    return told


def depths(reader: Reader) -> dict[str, int]:
    return {r["id"]: r["depth"] for r in reader.meter.queries.subagents()[0]}


def test_tree_of_any_depth(family: Any) -> None:
    reader = family({"a": None, "b": "a", "c": "b", "d": "c", "e": "a"})
    assert trees(reader) == {"a": 11111, "b": 1110, "c": 1100, "d": 1000, "e": 10000}
    assert depths(reader) == {"a": 1, "b": 1, "c": 2, "d": 3, "e": 1}
    assert [s["id"] for s in reader.meter.queries.session("a")["subagents"]] == ["b", "e"]
    assert reader.totals()[2] == 11111


def test_tree_with_a_missing_parent(family: Any) -> None:
    """The parent's transcript is gone, or never was: its children are roots, and say whom they came from."""
    reader = family({"a": "agent:main:gone", "b": "a"})
    assert trees(reader) == {"a": 11, "b": 10}
    one = reader.meter.queries.session("a")
    assert (one["parent_session"], one["parent_key"]) == (None, "agent:main:gone")
    assert depths(reader) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("parents", "expected_trees", "expected_depths"),
    [
        ({"a": "a"}, {"a": 1}, {"a": 1}),
        ({"a": "b", "b": "a"}, {"a": 11, "b": 11}, {"a": 1, "b": 1}),
        ({"a": "c", "b": "a", "c": "b", "d": "a"}, {"a": 1111, "b": 1111, "c": 1111, "d": 1000}, {"a": 2, "b": 2, "c": 2, "d": 3}),
    ],
)  # fmt: skip
def test_trees_that_go_round(
    parents: dict[str, str], expected_trees: dict[str, int], expected_depths: dict[str, int], family: Any
) -> None:  # fmt: skip
    """Keys are text, and somebody may write any: each session counts once in a tree, and nothing runs for ever."""
    reader = family(parents)
    assert trees(reader) == expected_trees
    assert depths(reader) == expected_depths
    assert reader.totals()[0] == len(parents)
    assert reader.meter.queries.overview()


def test_very_deep_tree(family: Any) -> None:
    names = [f"s{n:02d}" for n in range(12)]
    reader = family({sid: names[n - 1] if n else None for n, sid in enumerate(names)})
    assert trees(reader)["s00"] == int("1" * 12)
    assert depths(reader)["s11"] == 11
