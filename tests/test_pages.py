"""What the pages ask for beside /api/usage: it must say the same as /api/usage."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from handmade import MINUTE, NOW, T0, HandmadeHome, call, header, lines, user
from ledgers import rollup_differences

import clawmeter

if TYPE_CHECKING:
    from pathlib import Path

    from homes import HomeFactory, MadeHome

FILTERS = ("agent", "model", "provider", "channel", "cause")
BY_OF = {"model": "provider_model"}


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """The home that all tests of this file share: they ask, and nothing writes into it."""
    return home_factory("sqlite", copy=False, sessions=12, messages=900)


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


# The Cost page


def everything(queries: Any, name: str, *first: Any, **given: str) -> dict[str, Any]:
    """The answer of a query of the Cost page for all time."""
    wanted = {"from_": "all", "to": None, "tz": None, **dict.fromkeys(FILTERS), **given}
    return dict(getattr(queries, name)(*first, **wanted))


@pytest.mark.parametrize("kind", [None, *FILTERS])
def test_an_explanation_has_the_sums_of_usage(meter: Any, kind: str | None) -> None:
    queries, book = meter.queries, meter.store.prices
    rows = queries.usage(from_="all", by=BY_OF.get(kind, kind))["rows"] if kind else [{"key": ""}]
    for row in rows:
        narrowed = {kind: row["key"]} if kind else {}
        found = everything(queries, "explain", book, session=None, **narrowed)
        usage = queries.usage(from_="all", by="model", **narrowed)
        assert found["totals"] == usage["totals"]
        priced = [p for p in found["parts"] if p["billing_mode"] == "metered"]
        assert sum(p["cost_nano_usd"] or 0 for p in priced) == usage["totals"]["cost_nano_usd"]
        assert all(p["cost_nano_usd"] is None for p in priced if p["basis"] == "unpriced")


def test_an_explanation_of_an_hour_of_the_week_has_its_sums(meter: Any) -> None:
    queries, book = meter.queries, meter.store.prices
    zone = "Asia/Kolkata"  # half an hour beside the hours of UTC
    rows = queries.usage(from_="all", by="hour_of_week", tz=zone)["rows"]
    used = [row for row in rows if row["model_calls"]]
    assert len(used) > 5
    for row in used:
        found = everything(queries, "explain", book, session=None, tz=zone, hour_of_week=row["key"])
        assert found["totals"] == {name: row[name] for name in found["totals"]}
    with pytest.raises(clawmeter.QueryError, match="hour_of_week"):
        everything(queries, "explain", book, session=None, hour_of_week="8T00")


def test_an_explanation_of_priced_calls_is_tokens_times_price(meter: Any) -> None:
    found = everything(meter.queries, "explain", meter.store.prices, session=None)
    checked = 0
    for part in found["parts"]:
        if part["basis"] in {"recorded", "unpriced"} or part["price_changed"]:
            continue
        if len(part["price"]["tiers"]) > 1:
            continue
        tier = part["price"]["tiers"][0]
        kinds = ("input", "output", "cache_read", "cache_write")
        exact = sum(part[f"{kind}_tokens"] * tier[kind] for kind in kinds) / 1000
        # Each call is rounded to a nano-dollar by itself.
        assert abs(part["cost_nano_usd"] - exact) <= part["model_calls"]
        checked += 1
    assert checked


def test_what_the_cache_saved_is_by_the_prices(meter: Any) -> None:
    queries, book = meter.queries, meter.store.prices
    found = everything(queries, "cache", book)
    totals = queries.usage(from_="all", by="provider_model")
    by_model = {row["key"]: row for row in totals["rows"]}
    assert {row["key"] for row in found["rows"]} == set(by_model)
    for row in found["rows"]:
        usage = by_model[row["key"]]
        assert row["cache_read_tokens"] == usage["cache_read_tokens"]
        assert row["prompt_tokens"] == usage["total_tokens"] - usage["output_tokens"]
        assert (row["saved_nano_usd"] is None) == (row["key"] in found["unpriced_models"])
    assert sum(d["prompt_tokens"] for d in found["days"]) == found["totals"]["prompt_tokens"]
    assert found["totals"]["saved_nano_usd"] == sum(r["saved_nano_usd"] or 0 for r in found["rows"])
    assert found["totals"]["saved_nano_usd"] > 0


def test_what_the_cache_saved_is_tokens_times_price_to_the_nano_dollar(meter: Any) -> None:
    found = everything(meter.queries, "cache", meter.store.prices)
    money = ("saved_nano_usd", "write_cost_nano_usd", "write_extra_nano_usd")
    terms = 0
    for row in found["rows"]:
        for term in row["terms"]:
            read, written = term["cache_read_tokens"], term["cache_write_tokens"]
            exact = (
                read * (term["input"] - term["cache_read"]),
                written * term["cache_write"],
                written * (term["cache_write"] - term["input"]),
            )
            assert [term[name] for name in money] == [round(Decimal(one) / 1000) for one in exact]
            terms += 1
        if row["saved_nano_usd"] is None:
            assert not row["terms"]
            continue
        for name in (*money, "cache_read_tokens", "cache_write_tokens"):
            assert sum(term[name] for term in row["terms"]) == row[name]
    assert terms


def test_a_range_without_a_call_saved_nothing(meter: Any) -> None:
    day = {"from_": "2020-01-01", "to": "2020-01-01"}
    found = everything(meter.queries, "cache", meter.store.prices, **day)
    assert set(found["totals"].values()) == {0}


def test_a_broken_cache_is_found_with_its_reason(tmp_path: Path, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")

    def one(number: int, minute: float, read: int, write: int, **more: Any) -> dict[str, Any]:
        return call(f"{number:08x}", T0 + int(minute * MINUTE), (100, 10, read, write), **more)

    entries = [
        one(1, 0, 0, 20_000),
        one(2, 1, 20_000, 1_000),  # as it should be
        one(3, 30, 0, 21_500),  # after half an hour
        one(4, 31, 0, 22_000),  # at once: the prompt changed
        one(5, 32, 0, 22_500, model="acme-2"),
    ]
    (home.sessions() / "s.jsonl").write_bytes(lines([header("s"), *entries]))
    meter = meter_factory(home.state)
    meter.clock = meter.queries.clock = lambda: NOW / 1000
    meter.index()
    found = everything(meter.queries, "cache", meter.store.prices)["breaks"]
    reasons = {b["ts_ms"] - T0: (b["reason"], b["lost_tokens"]) for b in found}
    assert reasons == {
        30 * MINUTE: ("expired", 21_000),
        31 * MINUTE: ("changed", 21_500),
        32 * MINUTE: ("model", 22_000),
    }
    assert meter.queries.usage(from_="all", by="model")["totals"]["model_calls"] == len(entries)


def test_the_composition_is_measured_where_openclaw_reported(
    tmp_path: Path, meter_factory: Any
) -> None:
    meter = meter_factory(clawmeter.make_demo_home(tmp_path / "demo", now_ms=NOW, days=3))
    meter.clock = meter.queries.clock = lambda: NOW / 1000
    meter.index()
    found = everything(meter.queries, "composition")
    assert 0 < found["measured_sessions"] <= found["sessions"]
    assert found["average"] is not None
    for row in found["rows"]:
        session = meter.queries.session(row["session"])
        prompt = session["prompt"]
        listed = prompt["tools_list_chars"] + prompt["tools_schema_chars"]
        assert row["tools_chars"] == listed
        assert row["files_chars"] == prompt["project_chars"]
        assert row["model_calls"] == session["model_calls"]
        assert row["output_tokens"] == session["output_tokens"]


def test_the_message_that_is_answered_is_estimated_from_what_prompts_grew_by(
    tmp_path: Path, meter_factory: Any
) -> None:
    home = HandmadeHome(tmp_path / "home")
    report = {"systemPrompt": {"chars": 4000, "projectContextChars": 0}}
    prompts = {  # minute: (tokens of the prompt, whether a message came in before)
        1: (1300, True),  # 1,000 are OpenClaw's own
        2: (1700, False),  # a tool's result: still the same 300
        11: (2500, True),  # 700 more than before, with its answer of 100
        12: (2600, False),
    }
    entries = [header("s")]
    for minute, (tokens, is_asked) in prompts.items():
        if is_asked:
            entries.append(user(f"aa{minute:06}", T0 + minute * MINUTE - 1000))
        entries.append(call(f"{minute:08}", T0 + minute * MINUTE, (50, 100, tokens - 50, 0)))
    (home.sessions() / "s.jsonl").write_bytes(lines(entries))
    home.index({"agent:main:main": {"sessionId": "s", "systemPromptReport": report}})
    meter = meter_factory(home.state)
    meter.clock = meter.queries.clock = lambda: NOW / 1000
    meter.index()
    (row,) = everything(meter.queries, "composition")["rows"]
    assert row["prompt_tokens"] == sum(tokens for tokens, _ in prompts.values())
    assert row["user_tokens"] == 2 * 300 + 2 * 700
    # From the middle on: what was held is known from the call before.
    later = everything(meter.queries, "composition", from_=str(T0 + 5 * MINUTE))["rows"][0]
    assert later["user_tokens"] == 2 * 700


def test_recorded_against_list_adds_up_over_models(meter: Any) -> None:
    found = everything(meter.queries, "comparison")
    for figure in ("recorded_nano_usd", "list_nano_usd"):
        assert sum(row[figure] for row in found["rows"]) == found[figure]
    assert found["recorded_nano_usd"] > 0


def test_an_explanation_has_the_sums_of_recorded_against_list(meter: Any) -> None:
    queries, book = meter.queries, meter.store.prices
    found = everything(queries, "comparison")
    for narrowed, row in [({}, found), *(({"model": row["key"]}, row) for row in found["rows"])]:
        parts = everything(queries, "explain", book, session=None, **narrowed)["parts"]
        for figure in ("recorded_nano_usd", "list_nano_usd"):
            assert sum(part["compared"][figure] for part in parts) == row[figure]
        for part in parts:
            assert part["compared"]["model_calls"] <= part["model_calls"]
            assert part["compared"]["input_tokens"] <= part["input_tokens"]


# Overview


def test_a_projection_is_the_sum_of_its_terms_and_counts_what_has_no_price(
    tmp_path: Path, meter_factory: Any
) -> None:
    meter = meter_factory(clawmeter.make_demo_home(tmp_path / "demo", now_ms=NOW, days=9))
    meter.clock = meter.queries.clock = lambda: NOW / 1000
    meter.index()
    figures = meter.queries.overview()["figures"]
    end = figures["month_end"]
    spent, rest_of_today = end["spent_nano_usd"], end["rest_of_today_nano_usd"]
    assert spent == figures["month"]["totals"]["cost_nano_usd"]
    assert spent + rest_of_today + end["days_left_nano_usd"] == end["projected_nano_usd"]
    mean = Decimal(end["days_nano_usd"]) / end["days_used"]
    assert end["days_left_nano_usd"] == round(end["days_left"] * mean)
    assert rest_of_today == max(0, round(mean - end["today_nano_usd"]))
    assert end["high_nano_usd"] == end["projected_nano_usd"] + end["margin_nano_usd"]
    asked = {"from_": str(end["from_ms"]), "to": str(end["to_ms"])}
    days = everything(meter.queries, "explain", meter.store.prices, session=None, **asked)
    assert days["totals"]["cost_nano_usd"] == end["days_nano_usd"]
    first = min(end["from_ms"], figures["month"]["from_ms"])
    missing = meter.queries.usage(from_=str(first), by="model")["totals"]["unpriced_calls"]
    assert end["unpriced_calls"] == missing > 0


# Prices that a person sets


def unpriced_model(meter: Any) -> tuple[str, dict[str, Any]]:
    rows = meter.queries.usage(from_="all", by="provider_model")["rows"]
    row = next(r for r in rows if r["unpriced_calls"] == r["model_calls"] and r["total_tokens"])
    return row["key"], row


def test_a_price_that_is_set_counts_at_once_and_after_a_restart(
    home_factory: HomeFactory, meter_factory: Any, tmp_path: Path
) -> None:
    home = home_factory("sqlite", sessions=12, messages=900)
    meter = meter_factory(home.path, state_dir=tmp_path / "state")
    meter.index()
    name, row = unpriced_model(meter)
    client = clawmeter.create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    before = meter.queries.usage(from_="all", by="day")["totals"]
    answer = client.post("/api/prices", json={"model": name, "input": 2, "output": 7.5})
    assert answer.status_code == 200, answer.json
    assert answer.json["repriced_calls"] == row["model_calls"]
    prompt = row["total_tokens"] - row["output_tokens"]
    cost = prompt * 2000 + row["output_tokens"] * 7500

    def check(queries: Any) -> None:
        now = queries.usage(from_="all", by="day")["totals"]
        assert now["unpriced_calls"] == before["unpriced_calls"] - row["unpriced_calls"]
        assert now["cost_nano_usd"] == before["cost_nano_usd"] + cost
        assert now["total_tokens"] == before["total_tokens"]

    check(meter.queries)
    assert rollup_differences(meter.store) == []
    assert [p["model"] for p in client.get("/api/prices").json] == [name]
    path = tmp_path / "state" / "prices.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    meter.stop()
    again = meter_factory(home.path, state_dir=tmp_path / "state")
    again.index()
    check(again.queries)
    again.set_price(name, None)
    assert rollup_differences(again.store) == []
    assert again.queries.usage(from_="all", by="day")["totals"] == before


def test_only_full_access_sets_prices(meter: Any, client: Any) -> None:
    name, _ = unpriced_model(meter)
    body = {"model": name, "input": 1, "output": 1}
    secret = meter.access.create_token("reader", "read")[1]
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.post("/api/prices", json=body, headers=headers).status_code == 403
    assert client.get("/api/prices", headers=headers).status_code == 200
    assert client.delete(f"/api/prices/{name}", headers=headers).status_code == 403
    assert client.get("/api/prices").json == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "no/such", "input": 1, "output": 1}, 404),
        ({"model": "", "input": 1, "output": 1}, 400),
        ({"input": 1, "output": 1}, 400),
        ({"model": "x/y", "input": -1, "output": 1}, 400),
        ({"model": "x/y", "input": True, "output": 1}, 400),
        ({"model": "x/y", "input": 1}, 400),
        ({"model": "x/y", "input": 1, "output": 1e300}, 400),
        ({"model": "x/y", "input": 1, "output": 1, "more": 1}, 400),
        ([], 400),
    ],
)
def test_a_wrong_price_is_refused(client: Any, body: Any, status: int) -> None:
    assert client.post("/api/prices", json=body).status_code == status


def test_a_price_of_the_settings_file_stays(home_factory: HomeFactory, meter_factory: Any) -> None:
    home = home_factory("sqlite", copy=False, sessions=12, messages=900)
    price = clawmeter.PriceOverride({"input": Decimal(1), "output": Decimal(1)})
    plain = meter_factory(home.path)
    plain.index()
    name = unpriced_model(plain)[0]
    meter = meter_factory(home.path, prices={name: price})
    meter.index()
    client = clawmeter.create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    answer = client.post("/api/prices", json={"model": name, "input": 2, "output": 2})
    assert answer.status_code == 409
    assert client.get("/api/prices").json[0]["source"] == "clawmeter.toml"


def test_names_of_models_survive_the_price_file(tmp_path: Path) -> None:
    names = ["a/b", 'q"uote/\\', "tab\t/\x7f", "é/模型", "[x]/y.z", "line\n/x"]
    price = clawmeter.PriceOverride({"input": Decimal("0.000001"), "output": Decimal(100000)})
    prices = dict.fromkeys(names, price)
    clawmeter.save_prices(tmp_path, prices)
    assert clawmeter.load_saved_prices(tmp_path) == prices


def test_a_damaged_price_file_is_named(tmp_path: Path) -> None:
    for text in ("[", '["a/b"]\ninput = "much"\n', '["a/b"]\nprice = 1\n'):
        clawmeter.price_file(tmp_path).write_text(text, encoding="utf-8")
        with pytest.raises(clawmeter.SettingsError, match=r"prices\.toml"):
            clawmeter.load_saved_prices(tmp_path)
