"""What the pages ask for beside /api/usage: it must say the same as /api/usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

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
    for text in ("%", "'", "no such thing anywhere", " "):
        assert meter.queries.search(q=text)["results"] == []
