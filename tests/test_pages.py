"""What the pages ask for beside /api/usage: it must say the same as /api/usage."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import clawmeter

if TYPE_CHECKING:
    from homes import HomeFactory, MadeHome

FILTERS = ("agent", "model", "provider", "channel", "cause")
BY_OF = {"model": "provider_model"}


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """The home that all tests of this file share: they ask, and nothing writes into it."""
    return home_factory("sqlite", copy=False, sessions=12, messages=300)


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """The totals in a row."""
    return {k: v for k, v in row.items() if k not in {"key", "label", "sessions", "parts"}}


# Overview with filters


@pytest.mark.parametrize("kind", FILTERS)
def test_overview_keeps_to_a_filter(meter: Any, kind: str) -> None:
    queries = meter.queries
    rows = queries.usage(from_="all", by=BY_OF.get(kind, kind))["rows"]
    assert rows
    for row in rows:
        narrowed = {kind: row["key"]}
        answer = queries.overview(from_="all", **narrowed)
        assert numbers(answer["all_time"]) == numbers(row)
        by_day = answer["by_day"]
        assert sum(one["total_nano_usd"] for one in by_day["series"]) == row["cost_nano_usd"]
        for part in ("by_cause", "by_agent", "by_model"):
            assert sum(r["model_calls"] for r in answer[part]) == row["model_calls"]
        for name, word in (("today", "today"), ("week", "7d"), ("month", "month")):
            totals = queries.usage(from_=word, by="model", **narrowed)["totals"]
            assert answer["figures"][name]["totals"] == totals


def test_overview_lists_only_sessions_of_the_filter(meter: Any) -> None:
    agents = [row["key"] for row in meter.queries.usage(from_="all", by="agent")["rows"]]
    for agent in agents:
        answer = meter.queries.overview(from_="all", agent=agent)
        listed = [*answer["top_sessions"], *answer["live"], *answer["activity"]]
        assert {row["agent"] for row in listed} <= {agent}
        assert answer["all_time"]["sessions"] == len(
            [r for r in meter.queries.sessions(agent=agent, limit="1000")[0] if r["model_calls"]]
        )


def test_sessions_can_be_narrowed_by_provider(meter: Any) -> None:
    for row in meter.queries.usage(from_="all", by="provider")["rows"]:
        found, total = meter.queries.sessions(provider=row["key"], limit="1000")
        sessions = meter.queries.usage(from_="all", by="session", provider=row["key"])
        assert {r["id"] for r in found} == {r["key"] for r in sessions["rows"]}
        assert total == sessions["row_count"]


# Search


def test_search_finds_sessions_agents_and_models(meter: Any) -> None:
    queries = meter.queries
    for kind, by in (("agent", "agent"), ("model", "provider_model")):
        for row in queries.usage(from_="all", by=by)["rows"]:
            hits = [h for h in queries.search(q=row["key"].upper())["results"] if h["kind"] == kind]
            found = {h["key"]: (h["model_calls"], h["cost_nano_usd"]) for h in hits}
            assert found[row["key"]] == (row["model_calls"], row["cost_nano_usd"])
    session = queries.sessions()[0][0]
    for text in (session["id"][:13], session["key"] or session["id"]):
        hits = [h for h in queries.search(q=text)["results"] if h["kind"] == "session"]
        assert session["id"] in [h["key"] for h in hits]


def test_search_takes_text_as_text(meter: Any) -> None:
    for text in ("%", "'", "_", "\\", "no such thing anywhere", " "):
        for hit in meter.queries.search(q=text)["results"]:
            row = hit["label"] + hit["key"]
            if hit["kind"] == "session":
                row += meter.queries.session(hit["key"])["key"] or ""
            assert text.strip() in row


# Two keys at once


@pytest.mark.parametrize("by", clawmeter.BY)
def test_a_split_adds_up_to_usage_exactly(meter: Any, by: str) -> None:
    queries = meter.queries
    whole = {row["key"]: numbers(row) for row in queries.usage(from_="all", by=by)["rows"]}
    for split in clawmeter.BY:
        answer = queries.usage(from_="all", by=by, split=split, parts="3")
        assert {row["key"]: numbers(row) for row in answer["rows"]} == whole
        alone = queries.usage(from_="all", by=split)
        assert len(answer["parts"]) <= 4
        for figure in ("cost_nano_usd", "plan_cost_nano_usd", "total_tokens", "unpriced_calls"):
            assert sum(p[figure] for p in answer["parts"]) == alone["totals"][figure]
            for row in answer["rows"]:
                assert sum(p[figure] for p in row["parts"]) == row[figure], (by, split, row["key"])
        rows = {row["key"]: row for row in alone["rows"]}
        for part in answer["parts"]:
            if part["key"] != clawmeter.OTHER_KEY:
                assert numbers(part) == numbers(rows[part["key"]])


@pytest.mark.parametrize("kind", ["agent", "model", "cause"])
def test_a_split_keeps_to_a_filter_and_to_edges_inside_an_hour(meter: Any, kind: str) -> None:
    queries = meter.queries
    span = {"from_": "2026-10-01T10:07:31", "to": "2026-11-02T03:59:59"}
    for row in queries.usage(**span, by=BY_OF.get(kind, kind))["rows"]:
        narrowed = {kind: row["key"]}
        for by, split in (("day", "session"), ("tool", "hour_of_week"), ("week", "day")):
            answer = queries.usage(**span, by=by, split=split, **narrowed)
            alone = queries.usage(**span, by=by, **narrowed)
            assert [numbers(r) for r in answer["rows"]] == [numbers(r) for r in alone["rows"]]


def test_the_hours_of_the_week_follow_the_zone(meter: Any) -> None:
    hours = meter.queries.usage(from_="all", by="hour", tz="Asia/Kolkata")["rows"]
    expected: dict[str, int] = {}
    for row in hours:
        moment = datetime.fromisoformat(row["key"])
        key = f"{moment.isoweekday()}T{moment.hour:02d}"
        expected[key] = expected.get(key, 0) + row["cost_nano_usd"]
    week = meter.queries.usage(from_="all", by="hour_of_week", tz="Asia/Kolkata")["rows"]
    assert len(week) == 168
    assert {row["key"]: row["cost_nano_usd"] for row in week if row["cost_nano_usd"]} == {
        key: cost for key, cost in expected.items() if cost
    }


def test_the_span_before_is_as_long_as_this_one_so_far(meter: Any) -> None:
    queries = meter.queries
    zone = queries.zone("Europe/Berlin")
    now = queries.now_ms()
    for word, days in (("today", 1), ("7d", 7), ("30d", 30)):
        answer = queries.usage(from_=word, tz="Europe/Berlin", by="model", compare="before")
        before = answer["before"]
        first = clawmeter.day_of(answer["from_ms"], zone)
        start = clawmeter.midnight_ms(first - timedelta(days=days), zone)
        assert before["from_ms"] == start
        assert before["to_ms"] == min(answer["from_ms"], start + now + 1 - answer["from_ms"])
        same = queries.usage(from_=str(start), to=str(before["to_ms"]), by="model")
        assert before["totals"] == same["totals"]
    assert queries.usage(from_="all", compare="before")["before"] is None
