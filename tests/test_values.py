"""Time, money and text: ends of ranges in every zone, keys of hours and weeks, amounts, and safe text."""

from __future__ import annotations

import contextlib
import io
import math
import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from handmade import NOW, T0, HandmadeHome, Reader, call, header
from hypothesis import example, given, settings
from hypothesis import strategies as st

import clawmeter
from clawmeter import HOUR_MS, SLOT_MS, QueryError, midnight_ms, parse_time

if TYPE_CHECKING:
    from pathlib import Path

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
#: Clocks that change at 2, at 3 and at midnight, by an hour, by half of one and not at all; quarter offsets.
ZONES = (
    "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Kathmandu",
    "America/Sao_Paulo", "America/Havana", "Africa/Cairo", "Pacific/Apia", "Pacific/Kiritimati", "America/St_Johns",
)  # fmt: skip
zones = st.sampled_from([ZoneInfo(name) for name in ZONES])
#: From 1973: until 1972 Liberia had an offset of 44 minutes and 30 seconds.
times = st.integers(94_694_400_000, 4_102_444_800_000)
days = st.dates(date(1973, 1, 1), date(2099, 12, 31))


def at(text: str) -> int:
    """Epoch ms of a time with offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


# --- ends of ranges ------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "start", "end"), [
    # Now is Friday, 2026-11-06 07:00 in New York; clocks went back on Sunday, the 1st.
    ("2026-11-06", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    ("20261106", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    ("2026-W45-5", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    ("2026-11-01", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00"),
    ("2026-W45", "2026-11-02T00:00-05:00", "2026-11-09T00:00-05:00"),
    ("2026-w45", "2026-11-02T00:00-05:00", "2026-11-09T00:00-05:00"),
    ("2026-W53", "2026-12-28T00:00-05:00", "2027-01-04T00:00-05:00"),
    ("2026-11", "2026-11-01T00:00-04:00", "2026-12-01T00:00-05:00"),
    ("2026-12", "2026-12-01T00:00-05:00", "2027-01-01T00:00-05:00"),
    ("2024-02", "2024-02-01T00:00-05:00", "2024-03-01T00:00-05:00"),
    ("today", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    (" Today ", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    ("yesterday", "2026-11-05T00:00-05:00", "2026-11-06T00:00-05:00"),
    ("week", "2026-11-02T00:00-05:00", "2026-11-09T00:00-05:00"),
    ("month", "2026-11-01T00:00-04:00", "2026-12-01T00:00-05:00"),
    ("1d", "2026-11-06T00:00-05:00", "2026-11-07T00:00-05:00"),
    ("7d", "2026-10-31T00:00-04:00", "2026-11-07T00:00-05:00"),
    ("30d", "2026-10-08T00:00-04:00", "2026-11-07T00:00-05:00"),
    # What names a moment is that moment, at either end.
    ("2026-11-06T08:00", "2026-11-06T08:00-05:00", None),
    ("2026-11-06 08:00:01.5", "2026-11-06T08:00:01.500-05:00", None),
    ("2026-11-06T08:00Z", "2026-11-06T08:00+00:00", None),
    ("2026-11-06T08:00+05:30", "2026-11-06T08:00+05:30", None),
    ("20261106T0800", "2026-11-06T08:00-05:00", None),
    ("now", "2026-11-06T07:00-05:00", None),
    ("1793880000000", "2026-11-05T12:00+00:00", None),
    ("999999999", "1970-01-12T13:46:39.999+00:00", None),
])  # fmt: skip
def test_ends_of_a_range(text: str, start: str, end: str | None) -> None:
    assert parse_time(text, NEW_YORK, NOW) == at(start)
    assert parse_time(text, NEW_YORK, NOW, end=True) == at(end or start)


def test_all_is_no_limit() -> None:
    assert parse_time("all", NEW_YORK, NOW) is None
    assert parse_time("ALL", NEW_YORK, NOW, end=True) is None


def test_today_is_the_day_of_the_zone_and_not_of_the_machine() -> None:
    now = at("2026-11-06T03:00+00:00")
    assert parse_time("today", NEW_YORK, now) == at("2026-11-05T00:00-05:00")
    assert parse_time("today", ZoneInfo("Asia/Kolkata"), now) == at("2026-11-06T00:00+05:30")
    assert parse_time("month", ZoneInfo("Pacific/Kiritimati"), at("2026-10-31T11:00+00:00")) == at(
        "2026-11-01T00:00+14:00"
    )


@pytest.mark.parametrize("text", [
    "", " ", "tomorrow", "7", "7days", "-7d", "1.5d", "2026", "2026-13", "2026-00", "2026-11-31", "2026-02-29", "2026-W00", "2026-W54",
    "2025-W53", "2026-11-06T25:00", "2026-11-06T08:00+99:00", "11/06/2026", "06.11.2026", "-1793880000000", "1e12", "0x10", "None", "\x00",
    "2026-11-06T08:00; DROP TABLE", "9" * 16, "9" * 5000, "💥",
])  # fmt: skip
def test_what_names_no_time_is_a_question_that_says_what_would(text: str) -> None:
    for end in (False, True):
        with pytest.raises(QueryError) as error:
            parse_time(text, UTC_ZONE, NOW, end=end)
        assert (error.value.code, error.value.status) == ("bad_time", 400)
        for way in ("2026-11-06", "epoch ms", "today", "7d", "all"):
            assert way in error.value.message


@pytest.mark.parametrize("text", [
    "0001-01-01", "0001-01-01T00:00", "0001-01-01T00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-12:00", "9999-W52", "9999-12",
    "9" * 15, "99999d",
])  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_times_at_the_edge_of_the_calendar_can_be_used(text: str, zone: str) -> None:
    for end in (False, True):
        ms = parse_time(text, ZoneInfo(zone), NOW, end=end)
        assert ms is not None
        clawmeter.day_of(ms, ZoneInfo(zone))
        clawmeter.iso_ms(ms, ZoneInfo(zone))


def test_range_up_to_the_end_of_all_times_holds_every_call(
    tmp_path: Path, meter_factory: Any
) -> None:
    """`to=9999-12-31` is how people write `for ever`."""
    home = HandmadeHome(tmp_path / "home")
    home.write("aaa", [header("aaa"), call("a", T0 + 1), call("b", T0 + 40 * 86_400_000)])
    reader = Reader(meter_factory, home.path)
    reader.read()
    for tz in ("UTC", "Pacific/Kiritimati", "Etc/GMT+12"):
        for by in ("model", "day", "hour", "month", "tool"):
            answer = reader.meter.queries.usage(from_="0001-01-01", to="9999-12-31", by=by, tz=tz)
            assert answer["totals"]["model_calls"] == 2


@given(st.text(max_size=30))
@example("9999-12-31T23:59:59.999999-23:59")
@example("0001-01-01T00:00:00+23:59")
@example("٢٠٢٦-١١-٠٦")
def test_any_text_is_a_time_or_a_question_that_cannot_be_answered(text: str) -> None:
    try:
        ms = parse_time(text, NEW_YORK, NOW)
    except QueryError as error:
        assert error.code == "bad_time"
    else:
        assert ms is None or clawmeter.EARLIEST_MS <= ms <= clawmeter.LATEST_MS


@given(days, zones, times)
def test_bare_date_includes_its_day_and_no_other_instant(
    day: date, zone: ZoneInfo, now: int
) -> None:
    """Half-open: day after day there is neither a gap nor an overlap."""
    start = parse_time(day.isoformat(), zone, now)
    end = parse_time(day.isoformat(), zone, now, end=True)
    assert start is not None
    assert end is not None
    assert end == parse_time((day + timedelta(days=1)).isoformat(), zone, now)
    assert clawmeter.day_of(end, zone) > day
    assert clawmeter.day_of(start - 1, zone) < day
    if start < end:  # Samoa had no 30 December 2011
        assert clawmeter.day_of(start, zone) == day == clawmeter.day_of(end - 1, zone)
        assert end - start in {h * HOUR_MS for h in (23, 24, 25)} | {23.5 * HOUR_MS, 24.5 * HOUR_MS}
    else:
        assert (zone.key, day) == ("Pacific/Apia", date(2011, 12, 30))


@given(times, zones)
def test_every_instant_is_in_its_day_week_and_month(now: int, zone: ZoneInfo) -> None:
    for word, most in (("today", 1), ("week", 7), ("month", 31), ("7d", 7), ("30d", 30)):
        start, end = (parse_time(word, zone, now, end=e) for e in (False, True))
        assert start is not None
        assert end is not None
        assert start <= now < end
        # Summer time is an hour; in Newfoundland in 1988 it was two.
        assert end - start <= most * 24 * HOUR_MS + 2 * HOUR_MS
    monday = parse_time("week", zone, now)
    assert monday is not None
    assert clawmeter.day_of(monday, zone).weekday() == 0


@given(times, zones)
def test_key_of_a_week_or_month_is_a_range_that_holds_it(now: int, zone: ZoneInfo) -> None:
    """A key that the API gave out can be asked for again."""
    day = clawmeter.day_of(now, zone)
    for by, word in (("day", "today"), ("week", "week"), ("month", "month")):
        key = clawmeter.time_key(by, day)
        for end in (False, True):
            assert parse_time(key, zone, 0, end=end) == parse_time(word, zone, now, end=end)


# --- days, hours and weeks -----------------------------------------------------------------------


@pytest.mark.parametrize(("zone", "day", "hours"), [
    ("America/New_York", "2026-03-08", 23), ("America/New_York", "2026-11-01", 25), ("America/New_York", "2026-11-02", 24),
    ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25),
    ("Australia/Lord_Howe", "2026-04-05", 24.5), ("Australia/Lord_Howe", "2026-10-04", 23.5),
    ("America/Havana", "2026-03-08", 23), ("America/Havana", "2026-11-01", 25),  # at midnight
    ("Africa/Cairo", "2026-04-24", 23), ("Africa/Cairo", "2026-10-29", 25),  # from midnight back to 23:00
    ("America/Sao_Paulo", "2018-11-04", 23), ("Pacific/Apia", "2011-12-30", 0),
    ("Asia/Kolkata", "2026-11-01", 24), ("UTC", "2026-11-01", 24),
])  # fmt: skip
def test_length_of_a_day(zone: str, day: str, hours: float) -> None:
    start, end = (parse_time(day, ZoneInfo(zone), NOW, end=e) for e in (False, True))
    assert end - start == hours * HOUR_MS  # type: ignore[operator]


@pytest.mark.parametrize(("zone", "day", "first"), [
    ("America/Havana", "2026-03-08", "2026-03-08T01:00-04:00"),  # there is no 00:00
    ("America/Havana", "2026-11-01", "2026-11-01T00:00-04:00"),  # there are two
])  # fmt: skip
def test_day_whose_midnight_is_missing_or_there_twice(zone: str, day: str, first: str) -> None:
    assert midnight_ms(date.fromisoformat(day), ZoneInfo(zone)) == at(first)


@pytest.mark.parametrize(("zone", "day", "keys"), [
    ("America/New_York", "2026-03-08", ["T01:00-05:00", "T03:00-04:00"]),
    ("America/New_York", "2026-11-01", ["T01:00-04:00", "T01:00-05:00", "T02:00-05:00"]),
    ("Australia/Lord_Howe", "2026-04-05", ["T01:00+11:00", "T01:00+10:30", "T02:00+10:30"]),
    ("Australia/Lord_Howe", "2026-10-04", ["T01:00+10:30", "T02:00+11:00", "T03:00+11:00"]),
    ("Asia/Kathmandu", "2026-11-01", ["T01:00+05:45", "T02:00+05:45"]),
])  # fmt: skip
def test_keys_of_hours_where_clocks_change(zone: str, day: str, keys: list[str]) -> None:
    start, end = (parse_time(day, ZoneInfo(zone), NOW, end=e) for e in (False, True))
    assert start is not None
    assert end is not None
    found = clawmeter.hour_keys(start // SLOT_MS, end // SLOT_MS, ZoneInfo(zone))
    assert found[0].startswith(f"{day}T00:00")
    where = found.index(day + keys[0])
    assert found[where : where + len(keys)] == [day + k for k in keys]


@given(times, st.integers(1, 300), zones)
@example(at("2026-04-04T15:00+00:00"), 3, ZoneInfo("Australia/Lord_Howe"))
def test_key_of_an_hour_is_its_local_hour_with_offset_wherever_the_range_begins(
    ts_ms: int, count: int, zone: ZoneInfo
) -> None:
    first = ts_ms // SLOT_MS
    moments = [
        datetime.fromtimestamp(slot * SLOT_MS / 1000, zone) for slot in range(first, first + count)
    ]
    keys = [f"{moment:%Y-%m-%dT%H}:00{moment.isoformat()[19:]}" for moment in moments]
    assert clawmeter.hour_keys(first, first + count, zone) == list(dict.fromkeys(keys))


@pytest.mark.parametrize(("day", "week"), [
    ("2026-11-06", "2026-W45"), ("2026-01-01", "2026-W01"), ("2027-01-01", "2026-W53"), ("2027-01-04", "2027-W01"),
    ("2024-12-30", "2025-W01"), ("2023-01-01", "2022-W52"),
])  # fmt: skip
def test_iso_weeks(day: str, week: str) -> None:
    """The year of a week is that of its Thursday."""
    assert clawmeter.time_key("week", date.fromisoformat(day)) == week
    assert clawmeter.time_key("month", date.fromisoformat(day)) == day[:7]
    assert clawmeter.time_key("day", date.fromisoformat(day)) == day


def test_calls_at_the_edges_of_a_long_day(tmp_path: Path, meter_factory: Any) -> None:
    """25 hours: the first and the last millisecond are in it, and the next is not, in every table that is asked."""
    home = HandmadeHome(tmp_path / "home")
    start, end = at("2026-11-01T00:00-04:00"), at("2026-11-02T00:00-05:00")
    moments = [start - 1, start, start + 90 * 60_000, start + 150 * 60_000, end - 1, end]
    home.write(
        "aaa", [header("aaa", start - 5), *(call(f"c{m}", m, (1, 0, 0, 0)) for m in moments)]
    )
    reader = Reader(meter_factory, home.path, time_zone="America/New_York")
    reader.read()
    for _ in range(2):
        usage = reader.meter.queries.usage
        for by in ("model", "day", "hour", "tool"):
            answer = usage(from_="2026-11-01", to="2026-11-01", by=by)
            assert answer["totals"]["model_calls"] == 4
            assert (answer["from_ms"], answer["to_ms"]) == (start, end)
        rows = usage(from_="2026-11-01", to="2026-11-01", by="hour")["rows"]
        assert len(rows) == 25
        assert {r["key"][10:]: r["model_calls"] for r in rows if r["model_calls"]} == {
            "T00:00-04:00": 1, "T01:00-04:00": 1, "T01:00-05:00": 1, "T23:00-05:00": 1,
        }  # fmt: skip
        rows = usage(from_="2026-10-31", to="2026-11-02", by="day")["rows"]
        assert [r["model_calls"] for r in rows] == [1, 4, 1]
        reader.meter.store.use_zone("America/New_York")  # the second time from day rows


@given(times)
def test_iso_text_and_epoch_are_the_same_time(ts_ms: int) -> None:
    assert clawmeter.parse_iso_ms(clawmeter.iso_ms(ts_ms)) == ts_ms
    assert clawmeter.parse_iso_ms(clawmeter.iso_ms(ts_ms, NEW_YORK)) == ts_ms
    assert clawmeter.iso_ms(ts_ms).endswith("Z")


@given(st.datetimes(timezones=st.just(UTC)))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC))
def test_milliseconds_of_a_time_are_exact(moment: datetime) -> None:
    """A double of seconds cannot hold every millisecond; identities hang on it."""
    exact = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert clawmeter.parse_iso_ms(moment.isoformat()) == exact


@pytest.mark.parametrize(
    "name",
    ["", "Berlin", "Europe/Nowhere", "../etc/passwd", "/etc/localtime", "UTC\x00", "💥", "x" * 500],
)
def test_zone_that_does_not_exist(name: str) -> None:
    assert not clawmeter.is_zone(name)
    with pytest.raises(clawmeter.SettingsError, match="use a name like Europe/Berlin"):
        clawmeter.find_zone(name)


def test_zone_of_the_machine_is_one() -> None:
    assert clawmeter.is_zone(clawmeter.machine_zone())


# --- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nano", "text"), [
    (None, "—"), (0, "$0"), (1, "< $0.0001"), (99_999, "< $0.0001"), (100_000, "$0.0001"), (42_100_000, "$0.0421"), (999_949_999, "$0.9999"),
    (999_950_000, "$1.00"), (999_999_999, "$1.00"), (10**9, "$1.00"), (1_004_999_999, "$1.00"), (1_005_000_000, "$1.01"),
    (1_234_560_000_000, "$1,234.56"), (999_995_000_000, "$1,000.00"), (1_234_567_890_123_456_789, "$1,234,567,890.12"),
    (-1, "> -$0.0001"), (-42_100_000, "-$0.0421"), (-5_000_000_000, "-$5.00"), (-1_234_560_000_000, "-$1,234.56"),
])  # fmt: skip
def test_money_for_people(nano: int | None, text: str) -> None:
    assert clawmeter.format_usd(nano) == text


@given(st.integers(10**5, 10**19))
def test_money_for_people_is_the_amount(nano: int) -> None:
    """Half a cent, or half a hundredth of one below a dollar, is all that rounding may take."""
    text = clawmeter.format_usd(nano)
    shown = Decimal(text.removeprefix("$").replace(",", ""))
    step = Decimal("0.01") if shown >= 1 else Decimal("0.0001")
    assert abs(shown - Decimal(nano) / 10**9) <= step / 2
    assert clawmeter.format_usd(-nano) == f"-{text}"


@given(st.integers(-(10**17), 10**17), st.integers(-(10**17), 10**17))
def test_more_money_never_looks_like_less(a: int, b: int) -> None:
    def shown(nano: int) -> Decimal:
        text = clawmeter.format_usd(nano)
        if text in ("< $0.0001", "> -$0.0001"):
            return Decimal(nano).copy_sign(1) and Decimal("0.00005").copy_sign(nano)
        return Decimal(text.replace("$", "").replace(",", ""))

    low, high = sorted((a, b))
    assert shown(low) <= shown(high)


@given(st.integers(0, 10**13))
def test_nano_dollars_come_back_from_dollars(nano: int) -> None:
    """Up to $10,000 a call, what OpenClaw writes as a double loses no nano-dollar."""
    assert clawmeter.nano_usd(clawmeter.usd(nano)) == nano


@pytest.mark.parametrize(("value", "text"), [
    (None, "—"), (0, "0"), (0.4, "0"), (12, "12"), (999, "999"), (999.6, "1 k"), (1000, "1 k"), (940_000, "940 k"), (999_499, "999 k"),
    (999_500, "1 M"), (999_999, "1 M"), (1_240_000, "1.24 M"), (999_950_000, "1 G"), (10**12, "1,000 G"), (-5, "-5"),
])  # fmt: skip
def test_counts_for_people(value: float | None, text: str) -> None:
    assert clawmeter.format_count(value) == text


@given(st.floats(0, 1e15))
def test_counts_for_people_have_no_exponent_and_are_near(value: float) -> None:
    text = clawmeter.format_count(value)
    assert "e" not in text
    number, _, unit = text.partition(" ")
    shown = float(number.replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]
    assert math.isclose(shown, value, rel_tol=0.006, abs_tol=0.5)


@pytest.mark.parametrize(("value", "text"), [
    (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB"), (1_500_000, "1.5 MB"), (4 * 10**9, "4.0 GB"),
    (2 * 10**12, "2.0 TB"), (3 * 10**15, "3000.0 TB"),
])  # fmt: skip
def test_bytes_for_people(value: float, text: str) -> None:
    assert clawmeter.format_bytes(value) == text


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "shown"), [
    ("plain – text ✓ 日本", "plain – text ✓ 日本"),
    ("two\nlines\tand a tab", "two lines and a tab"),
    ("\x1b]0;title\x07\x1b[31mred", "\ufffd]0;title\ufffd\ufffd[31mred"),
    ("a\rb\x08c\x7fd\x9be", "a\ufffdb\ufffdc\ufffdd\ufffde"),
    ("exe.\u202egpj", "exe.\ufffdgpj"),
    ("\u2066a\u2069\u200f\u061c\u2028\u2029", "\ufffda" + "\ufffd" * 5),
    ("half \ud83d", "half \ufffd"),
    (None, "None"), (5, "5"),
])  # fmt: skip
def test_text_for_a_terminal(text: Any, shown: str) -> None:
    assert clawmeter.plain(text) == shown


@given(st.text(st.characters(), max_size=300), st.integers(1, 250))
@example("\ud800" * 10, 5)
def test_text_for_a_terminal_commands_nothing_is_one_line_and_short(text: str, limit: int) -> None:
    shown = clawmeter.plain(text, limit)
    assert len(shown) <= limit
    shown.encode()
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [c for c in shown if unicodedata.bidirectional(c) in BIDI_CONTROLS]
    assert shown.splitlines() in ([], [shown])
    assert clawmeter.plain(shown, limit) == shown


BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters(), max_size=50))
@example("\ud83d\x00")
def test_text_for_the_ledger_is_utf_8_without_nul_and_else_as_it_was(text: str) -> None:
    kept = clawmeter.sound(text)
    kept.encode()
    assert "\x00" not in kept
    assert len(kept) == len(text)
    assert all(a == b or b in "?\ufffd" for a, b in zip(text, kept, strict=True))
    if "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text):
        assert kept == text


@settings(deadline=None, max_examples=25)
@given(st.text(st.characters(), max_size=40))
@example("\x1b[2J\u202e\ud83d")
def test_labels_of_others_are_harmless_in_a_report(text: str) -> None:
    """Names of models come from transcripts, and a report is printed to a terminal."""
    totals = dict.fromkeys(clawmeter.Sums().render(), 0)
    answer = {
        "from_ms": T0, "to_ms": NOW, "tz": "UTC", "by": "model", "totals": totals, "rows": [{"key": text, "label": text, **totals}],
        "row_count": 1, "coverage": {"complete": True},
    }  # fmt: skip
    nothing = {"projected_nano_usd": None, "list_differs_percent": None}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        clawmeter.print_report(answer, projection=nothing, compared=nothing)
    out.getvalue().encode()
    assert not [c for c in out.getvalue() if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"]
