"""What a call costs: whose price counts, how it is rounded, and what is said where there is none."""

from __future__ import annotations

import json
import sqlite3
import sys
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import genai_prices
import ledgers
import pytest
from handmade import MINUTE, T0, HandmadeHome, Reader, call, header
from hypothesis import example, given, settings
from hypothesis import strategies as st

import clawmeter
from clawmeter import PriceOverride

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SONNET = {
    "provider": "anthropic",
    "model": "claude-sonnet-4-5",
}  # $3, $15, $0.30, $3.75 (1 h: $6); twice above 200 k
TOKENS = (1_000_000, 100_000, 0, 0)


def price(*, replace: bool = False, tiers: Any = (), **usd: str) -> PriceOverride:
    return PriceOverride({k: Decimal(v) for k, v in usd.items()}, tuple(tiers), replace)


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(tmp_path / "home")


@pytest.fixture
def costs(home: HandmadeHome, meter_factory: Any) -> Any:
    """costs([call, …], settings…) -> Reader of a home with these calls, each in its own second."""

    def make(calls: list[Any], **options: Any) -> Reader:
        home.write("aaa", [header("aaa"), *calls])
        reader = Reader(meter_factory, home.path, **options)
        reader.read()
        return reader

    return make


def config(home: HandmadeHome, **content: Any) -> None:
    (home.state / "openclaw.json").write_text(json.dumps(content))


def provider(name: str, model: str, cost: Any, **more: Any) -> dict[str, Any]:
    return {"models": {"providers": {name: {**more, "models": [{"id": model, "cost": cost}]}}}}


def priced(reader: Reader) -> list[tuple[str, int]]:
    """(basis, nano-USD) of every call."""
    return reader.sql("SELECT basis, cost_nano FROM model_calls ORDER BY ts_ms")


def totals(reader: Reader) -> dict[str, int]:
    return ledgers.totals_of(reader.meter.queries.usage(from_="all", by="model")["totals"])


# --- whose price counts --------------------------------------------------------------------------

MINE = price(input="10", output="0")
MINE_ANYWAY = price(input="10", output="0", replace=True)
OF_CONFIG = {"input": 20, "output": 0, "cacheRead": 0, "cacheWrite": 0}


@pytest.mark.parametrize(("recorded", "override", "in_config", "expected"), [
    (0.5, None, False, ("recorded", 500_000_000)),
    (0.5, MINE, True, ("recorded", 500_000_000)),
    (0.5, MINE_ANYWAY, True, ("override", 10_000_000_000)),
    (0, MINE, True, ("override", 10_000_000_000)),
    (None, MINE, True, ("override", 10_000_000_000)),
    (0, MINE_ANYWAY, False, ("override", 10_000_000_000)),
    (0, None, True, ("config", 20_000_000_000)),
    (None, None, True, ("config", 20_000_000_000)),
    (0, None, False, ("list", 3_000_000_000 + 3_000_000_000)),  # above 200 k: $6
])  # fmt: skip
def test_order_of_prices(
    recorded: Any, override: Any, in_config: bool, expected: Any, home: HandmadeHome, costs: Any
) -> None:  # noqa: FBT001
    if in_config:
        config(home, **provider("anthropic", "claude-sonnet-4-5", OF_CONFIG))
    prices = {"anthropic/claude-sonnet-4-5": override} if override else {}
    reader = costs([call("a", T0 + 1, (1_000_000, 0, 0, 0), recorded, **SONNET)], prices=prices)
    assert priced(reader) == [expected]


def test_price_of_one_provider_beats_that_of_the_model(costs: Any) -> None:
    prices = {"acme-1": price(input="1"), "acme/acme-1": price(input="2")}
    calls = [call("a", T0 + 1, TOKENS, 0), call("b", T0 + 2, TOKENS, 0, provider="other")]
    assert priced(costs(calls, prices=prices)) == [("override", 2 * 10**9), ("override", 10**9)]


def test_price_of_zero_in_the_config_is_no_price(home: HandmadeHome, costs: Any) -> None:
    """OpenClaw fills in zeros where it knows no price; free they are not."""
    config(
        home,
        **provider("acme", "acme-1", {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}),
    )
    assert priced(costs([call("a", T0 + 1, TOKENS, 0)])) == [("unpriced", 0)]


def test_override_of_zero_makes_a_model_free(costs: Any) -> None:
    reader = costs([call("a", T0 + 1, TOKENS, 0)], prices={"acme-1": price(input="0", output="0")})
    assert priced(reader) == [("override", 0)]
    assert totals(reader)["unpriced_calls"] == 0


@pytest.mark.parametrize(
    "cost",
    [
        None,
        "free",
        [],
        {"input": "3"},
        {"input": -3},
        {"input": True, "output": 1},
        {"input": float("nan")},
    ],
)
def test_odd_price_in_the_config_is_no_price(cost: Any, home: HandmadeHome, costs: Any) -> None:
    (home.state / "openclaw.json").write_text(json.dumps(provider("acme", "acme-1", cost)))
    assert priced(costs([call("a", T0 + 1, TOKENS, 0)])) == [("unpriced", 0)]


def test_list_price_is_that_of_the_day_of_the_call(costs: Any) -> None:
    """Sonnet 4.6 cost more above 200,000 prompt tokens until March 2026."""
    model = {"provider": "anthropic", "model": "claude-sonnet-4-6"}
    before, after = 1_770_000_000_000, T0
    reader = costs(
        [
            call("a", before, (300_000, 0, 0, 0), 0, **model),
            call("b", after, (300_000, 0, 0, 0), 0, **model),
        ]
    )
    assert priced(reader) == [("list", 1_800_000_000), ("list", 900_000_000)]


def test_names_of_openclaw_are_found_in_the_list(costs: Any) -> None:
    calls = [
        call("a", T0 + 1, TOKENS, 0, provider="openai-codex", model="gpt-5.2-codex"),
        call("b", T0 + 2, TOKENS, 0, provider="google-gemini-cli", model="gemini-3.1-pro-preview"),
        call("c", T0 + 3, TOKENS, 0, provider="nobody", model="claude-sonnet-4-5"),
        call("d", T0 + 4, TOKENS, 0, provider="anthropic", model="no-such-model-9"),
    ]
    reader = costs(calls)
    assert [b for b, _ in priced(reader)] == ["list", "list", "unpriced", "unpriced"]
    assert priced(reader)[0][1] == 1_750_000_000 + 1_400_000_000


@pytest.mark.parametrize(("name", "url", "basis"), [
    ("ollama", None, "local"), ("ollama", "http://127.0.0.1:11434/v1", "local"), ("lmstudio", "http://localhost:1234", "local"),
    ("vllm", "http://[::1]:8000", "local"), ("Ollama", None, "local"), ("ollama", "https://ollama.example.org/v1", "unpriced"),
    ("vllm", "http://10.0.0.5:8000", "unpriced"), ("acme", "http://127.0.0.1:1", "unpriced"),
])  # fmt: skip
def test_local_models_are_free_and_remote_ones_are_not(
    name: str, url: str | None, basis: str, home: HandmadeHome, costs: Any
) -> None:
    if url:
        config(home, models={"providers": {name: {"baseUrl": url, "models": []}}})
    reader = costs([call("a", T0 + 1, TOKENS, 0, provider=name, model="qwen3:32b")])
    assert priced(reader) == [(basis, 0)]
    assert totals(reader)["unpriced_calls"] == (basis == "unpriced")


def test_price_of_a_local_model_is_what_the_user_says_it_is(costs: Any) -> None:
    """Electricity, say."""
    prices = {"ollama/qwen3:32b": price(input="0.05")}
    calls = [call("a", T0 + 1, TOKENS, 0, provider="ollama", model="qwen3:32b")]
    assert priced(costs(calls, prices=prices)) == [("override", 50_000_000)]


def test_call_of_nothing_costs_nothing_and_is_not_unpriced(costs: Any) -> None:
    calls = [
        call("a", T0 + 1, (0, 0, 0, 0), 0, stopReason="error"),
        call("b", T0 + 2, (0, 0, 0, 0), None, stopReason="aborted"),
    ]
    reader = costs(calls)
    assert totals(reader)["unpriced_calls"] == 0
    assert totals(reader)["model_calls"] == 2


# --- the list, against its own arithmetic --------------------------------------------------------

#: (provider as OpenClaw names it, as the list does, model): flat, in tiers, without cache prices.
LISTED = (
    ("anthropic", "anthropic", "claude-sonnet-4-5"),
    ("anthropic", "anthropic", "claude-opus-4-5"),
    ("openai-codex", "openai", "gpt-5.4"),
    ("google-gemini-cli", "google", "gemini-2.5-pro"),
    ("xai", "x-ai", "grok-4"),
    ("moonshot", "moonshotai", "kimi-k2"),
    ("zai", "zai", "glm-4.6"),
    ("openrouter", "openrouter", "anthropic/claude-sonnet-4.5"),
)


@pytest.fixture(scope="module")
def book(cache_home: Path) -> Iterator[clawmeter.PriceBook]:
    lists = clawmeter.ListPrices(cache_home / "clawmeter")
    yield clawmeter.PriceBook(clawmeter.Settings(state_dir=cache_home), [], lists)
    lists.close()


TOKEN_COUNTS = st.one_of(
    st.integers(0, 1000), st.integers(0, 2_000_000), st.sampled_from([199_999, 200_000, 200_001])
)


@given(
    st.sampled_from(LISTED), st.tuples(TOKEN_COUNTS, TOKEN_COUNTS, TOKEN_COUNTS, TOKEN_COUNTS),
    st.integers(1_760_000_000_000, 1_800_000_000_000),
)  # fmt: skip
@settings(deadline=None)  # the first question starts a process
@example(LISTED[0], (200_001, 0, 0, 0), T0)
@example(LISTED[0], (1, 10, 200_000, 0), T0)
@example(LISTED[0], (1, 10, 0, 200_000), T0)
@example(LISTED[3], (0, 10, 200_000, 0), T0)
def test_list_price_is_what_the_list_itself_computes(
    book: clawmeter.PriceBook, names: Any, tokens: Any, ts_ms: int
) -> None:
    """The list counts cached tokens into the input, OpenClaw does not."""
    ours, theirs, model = names
    fresh, out, read, written = tokens
    when = datetime.fromtimestamp(ts_ms / 1000, UTC)
    usage = genai_prices.Usage(
        input_tokens=fresh + read + written, output_tokens=out,
        cache_read_tokens=read, cache_write_tokens=written,
    )  # fmt: skip
    wanted = genai_prices.calc_price(
        usage, model, provider_id=theirs, genai_request_timestamp=when
    ).total_price
    tariff = book.listed(ours, model, ts_ms // clawmeter.DAY_MS)
    assert tariff is not None
    found = clawmeter.price_tokens(tariff.price_for(fresh + read + written), *tokens)
    assert found == int((wanted * 10**9).to_integral_value(ROUND_HALF_EVEN))


# --- tiers, caches, rounding ---------------------------------------------------------------------


def test_tier_holds_for_all_tokens_of_a_call_above_it(costs: Any) -> None:
    tiers = [
        (200_000, {"input": Decimal(2)}),
        (500_000, {"input": Decimal(4), "output": Decimal(40)}),
    ]
    prices = {
        "acme-1": price(input="1", output="10", cache_read="0.5", cache_write="3", tiers=tiers)
    }
    prompts = [(200_000, 0, 0), (200_001, 0, 0), (100_000, 60_000, 40_001), (500_001, 0, 0)]
    calls = [call(str(n), T0 + n, (i, 1000, r, w), 0) for n, (i, r, w) in enumerate(prompts)]
    assert priced(costs(calls, prices=prices)) == [
        ("override", 200_000_000 + 10_000_000),
        ("override", 400_002_000 + 10_000_000),
        ("override", 200_000_000 + 30_000_000 + 120_003_000 + 10_000_000),
        ("override", 2_000_004_000 + 40_000_000),
    ]


@pytest.mark.parametrize(("ttl", "expected"), [("5m", 3_750_000), ("1h", 6_000_000)])
def test_lifetime_of_cache_writes(ttl: str, expected: int, costs: Any) -> None:
    reader = costs([call("a", T0 + 1, (0, 0, 0, 1000), 0, **SONNET)], cache_write_ttl=ttl)
    assert priced(reader) == [("list", expected)]
    mine = price(input="1", cache_write="2", cache_write_1h="9")
    other = costs(
        [call("a", T0 + 1, (0, 0, 0, 1000), 0)], cache_write_ttl=ttl, prices={"acme-1": mine}
    )
    assert priced(other) == [("override", 2_000_000 if ttl == "5m" else 9_000_000)]


def test_cached_tokens_without_a_price_cost_what_input_costs(
    home: HandmadeHome, costs: Any
) -> None:
    reader = costs(
        [call("a", T0 + 1, (1, 1, 1000, 1000), 0)], prices={"acme-1": price(input="1", output="2")}
    )
    assert priced(reader) == [("override", 1000 + 2000 + 2_000_000)]
    config(home, **provider("acme", "acme-1", {"input": 1, "output": 2}))
    assert priced(costs([call("a", T0 + 1, (1, 1, 1000, 1000), 0)])) == [
        ("config", 1000 + 2000 + 2_000_000)
    ]


@pytest.mark.parametrize(
    ("rate", "nano"), [("0.0005", 0), ("0.0015", 2), ("0.0025", 2), ("0.0035", 4), ("0.00051", 1)]
)
def test_price_of_a_call_is_rounded_half_to_even_and_once(rate: str, nano: int, costs: Any) -> None:
    reader = costs([call("a", T0 + 1, (1, 0, 0, 0), 0)], prices={"acme-1": price(input=rate)})
    assert priced(reader) == [("override", nano)]


def test_sum_of_many_small_costs_is_exact(costs: Any) -> None:
    """In doubles 0.1 + 0.2 is not 0.3; here nothing is lost in whatever order it comes."""
    amounts = [0.1, 0.2, 1e-9, 0.30000000000000004, 1234.567890123, 2.7e-8] * 20
    reader = costs([call(f"c{n}", T0 + n, (1, 1, 0, 0), cost) for n, cost in enumerate(amounts)])
    exact = sum(
        int((Decimal(repr(a)) * 10**9).quantize(Decimal(1), ROUND_HALF_EVEN)) for a in amounts
    )
    assert totals(reader)["cost_nano_usd"] == exact == totals(reader)["recorded_cost_nano_usd"]


@given(st.one_of(
    st.floats(min_value=-1e5, max_value=1e5), st.integers(-(10**6), 10**6),
    st.integers(0, 10**13).map(lambda n: n / 10**9), st.integers(0, 10**10).map(lambda n: (2 * n + 1) / (2 * 10**9)),
    st.floats(allow_nan=False, allow_infinity=False),
))  # fmt: skip
@example(0.0000000005)
@example(0.0000000015)
@example(0.0000000025)
@example(1e-320)
@example(9999.9999999995)
@example(2.675)
def test_recorded_cost_is_rounded_as_decimal_arithmetic_does(amount: float) -> None:
    with_many_digits = Decimal(repr(amount)) * 10**9
    expected = int(with_many_digits.to_integral_value(ROUND_HALF_EVEN))
    assert clawmeter.nano_usd(amount) in ((expected,) if abs(amount) < 1e15 else (expected, None))


@given(st.integers(-(10**18), 10**18))
def test_picos_are_rounded_half_to_even(pico: int) -> None:
    assert clawmeter.nano_from_pico(pico) == int(
        (Decimal(pico) / 1000).to_integral_value(ROUND_HALF_EVEN)
    )


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), float("-inf")])
def test_no_number_is_no_amount(amount: float) -> None:
    assert clawmeter.nano_usd(amount) is None


# --- recorded parts ------------------------------------------------------------------------------


def test_parts_of_a_recorded_cost_are_kept_as_written(costs: Any) -> None:
    entry = call("a", T0 + 1)
    entry["message"]["usage"]["cost"] = {
        "input": 0.1,
        "output": 0.02,
        "cacheRead": 0.003,
        "cacheWrite": 0.0004,
        "total": 0.1234,
    }
    reader = costs([entry])
    columns = (
        "cost_input, cost_output, cost_cache_read, cost_cache_write, cost_total, cost_total_nano"
    )
    assert reader.sql(f"SELECT {columns} FROM usage_events") == [
        (0.1, 0.02, 0.003, 0.0004, 0.1234, 123_400_000)
    ]


@pytest.mark.parametrize("part", ["0.1", None, [], True, float("nan"), 1e300, 2**70])
def test_odd_part_of_a_recorded_cost_is_left_out_and_the_total_counts(
    part: Any, costs: Any
) -> None:
    entry = call("a", T0 + 1)
    entry["message"]["usage"]["cost"] = {"input": part, "output": 0.02, "total": 0.1234}
    reader = costs([entry])
    assert reader.sql("SELECT cost_input, cost_output, cost_total_nano FROM usage_events") == [
        (None, 0.02, 123_400_000)
    ]


# --- unknown is not zero -------------------------------------------------------------------------


def test_unpriced_is_said_everywhere(costs: Any) -> None:
    reader = costs([call("a", T0 + 1, TOKENS, 0), call("b", T0 + 2)])
    queries = reader.meter.queries
    assert (totals(reader)["unpriced_calls"], totals(reader)["cost_nano_usd"]) == (1, 10_000_000)
    assert reader.sql("SELECT cost_basis, cost_total, cost_input FROM usage_events ORDER BY ts_ms")[
        0
    ] == ("unpriced", None, None)
    assert queries.session("aaa")["unpriced_calls"] == 1
    assert [i["cost_nano_usd"] for i in queries.timeline("aaa")["items"]] == [None, 10_000_000]
    assert any(
        a["kind"] == "unpriced" and "acme/acme-1" in a["text"]
        for a in queries.overview()["attention"]
    )
    assert "cost is not known" in str(queries.overview()["attention"])
    assert queries.formula("aaa", reader.meter.store.prices)["parts"][0]["model_calls"] >= 1


# --- plans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anthropic", "anthropic/claude-sonnet-4-5"])
def test_plan_use_is_beside_the_cost_and_not_in_it(name: str, costs: Any) -> None:
    calls = [
        call("a", T0 + 1, (1000, 0, 0, 0), 0.5, **SONNET),
        call("b", T0 + 2, (1000, 0, 0, 0), 0, **SONNET),
        call("c", T0 + 3),
    ]
    reader = costs(calls, plan_providers=(name,))
    assert totals(reader)["cost_nano_usd"] == 10_000_000
    assert totals(reader)["plan_cost_nano_usd"] == 500_000_000 + 3_000_000
    assert totals(reader)["recorded_cost_nano_usd"] == 510_000_000
    assert reader.sql("SELECT billing_mode, count(*) FROM usage_events GROUP BY 1") == [
        ("metered", 1),
        ("plan", 2),
    ]
    session = reader.meter.queries.session("aaa")
    assert (session["total_cost"], session["plan_cost_nano_usd"]) == (0.01, 503_000_000)
    assert ledgers.rollup_differences(reader.meter.store) == []


@pytest.mark.parametrize("mode", ["oauth", "subscription", "OAuth"])
def test_openclaw_says_who_is_on_a_plan(mode: str, home: HandmadeHome, costs: Any) -> None:
    profiles = {
        "anthropic:me": {"provider": "anthropic", "mode": mode},
        "acme:default": {"mode": "api_key"},
        "odd": 5,
    }
    config(home, auth={"profiles": profiles})
    calls = [call("a", T0 + 1, **SONNET), call("b", T0 + 2)]
    assert totals(costs(calls))["plan_cost_nano_usd"] == 10_000_000
    reader = costs(calls, metered_providers=("anthropic",))
    assert totals(reader)["plan_cost_nano_usd"] == 0
    assert totals(reader)["cost_nano_usd"] == 20_000_000


# --- a price that changes ------------------------------------------------------------------------


def again(reader: Reader, **options: Any) -> None:
    """The same ledger, with other settings."""
    reader.options = options
    reader.restart()


def test_new_price_prices_what_was_read_before(home: HandmadeHome, costs: Any) -> None:
    """In every grouping, rollups and day rows included; recorded costs stay what they are."""
    calls = [
        call("a", T0 + 1, TOKENS, 0, tools=["exec", "read"]),
        call("b", T0 + MINUTE, TOKENS, 0.5),
        call("c", T0 + 90 * MINUTE, TOKENS, 0),
    ]
    reader = costs(calls)
    reader.meter.store.use_zone("Asia/Kolkata")
    assert totals(reader)["cost_nano_usd"] == 500_000_000
    again(reader, prices={"acme-1": price(input="1", output="10")})
    assert totals(reader)["cost_nano_usd"] == 500_000_000 + 2 * 2_000_000_000
    assert totals(reader)["unpriced_calls"] == 0
    assert ledgers.rollup_differences(reader.meter.store) == []
    again(reader, prices={"acme-1": price(input="2", output="10", replace=True)})
    assert totals(reader)["cost_nano_usd"] == 3 * 3_000_000_000
    assert totals(reader)["recorded_cost_nano_usd"] == 500_000_000
    again(reader, plan_providers=("acme",))
    assert (totals(reader)["cost_nano_usd"], totals(reader)["plan_cost_nano_usd"]) == (
        0,
        500_000_000,
    )
    assert ledgers.rollup_differences(reader.meter.store) == []
    again(reader)
    config(home, **provider("acme", "acme-1", {"input": 1, "output": 1}))
    again(reader)
    assert [b for b, _ in priced(reader)] == ["config", "recorded", "config"]
    assert ledgers.rollup_differences(reader.meter.store) == []
    fresh = costs(calls)
    assert ledgers.everything(fresh.meter.queries) == ledgers.everything(reader.meter.queries)


def test_parts_of_a_cost_go_with_their_price(home: HandmadeHome, costs: Any) -> None:
    """What an override gave is not said of a call that has no price any more, or OpenClaw's."""
    reader = costs([call("a", T0 + 1, TOKENS, 0), call("b", T0 + MINUTE, TOKENS, 0.5)])
    parts = "SELECT basis, cost_input, cost_output FROM model_calls ORDER BY ts_ms"
    assert reader.sql(parts) == [("unpriced", None, None), ("recorded", 0, 0)]
    again(reader, prices={"acme-1": price(input="2", output="10", replace=True)})
    assert [basis for basis, *_ in reader.sql(parts)] == ["override", "override"]
    assert all(cost > 0 for _, cost, _ in reader.sql(parts))
    again(reader)
    assert reader.sql(parts) == [("unpriced", None, None), ("recorded", None, None)]


def test_other_lifetime_of_cache_writes_prices_anew(costs: Any) -> None:
    reader = costs([call("a", T0 + 1, (0, 0, 0, 1000), 0, **SONNET)])
    again(reader, cache_write_ttl="1h")
    assert priced(reader) == [("list", 6_000_000)]


def test_change_of_clawmeter_toml_reprices(home: HandmadeHome, tmp_path: Path) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1, TOKENS, 0)])
    state = tmp_path / "state"
    state.mkdir()

    def cost() -> int:
        settings = clawmeter.load_settings(
            {"state_dir": str(state), "homes": [str(home.path)]}, env={"HOME": str(tmp_path)}
        )
        meter = clawmeter.Clawmeter(settings, env={"HOME": str(tmp_path)})
        meter.index()
        found = meter.queries.usage(from_="all", by="model")["totals"]["cost_nano_usd"]
        meter.stop()
        return int(found)

    assert cost() == 0
    (state / "clawmeter.toml").write_text('[prices."acme/acme-1"]\ninput = 1.25\noutput = 6.5\n')
    assert cost() == 1_250_000_000 + 650_000_000
    (state / "clawmeter.toml").write_text(
        '[prices.acme-1]\ninput = 2\n\n[billing]\nplan = ["acme"]\n'
    )
    assert cost() == 0


def test_price_that_stays_is_not_computed_anew(costs: Any) -> None:
    reader = costs([call("a", T0 + 1, TOKENS, 0)], prices={"acme-1": price(input="1")})
    with reader.meter.store.transaction() as db:
        db.execute("UPDATE model_calls SET cost_nano = 77")
    reader.restart()
    assert priced(reader) == [("override", 77)]


# --- how it came about ---------------------------------------------------------------------------


def test_formula_adds_up_to_the_cost_of_the_session(costs: Any) -> None:
    calls = [
        call("a", T0 + 1, (1000, 10, 0, 0), 0, **SONNET), call("b", T0 + 2, (1000, 10, 0, 0), 0.0040, **SONNET),
        call("c", T0 + 3, TOKENS, 0), call("d", T0 + 86_400_000, (5, 5, 5, 5), 0.5),
    ]  # fmt: skip
    reader = costs(calls)
    answer = reader.meter.queries.formula("aaa", reader.meter.store.prices)
    assert (
        answer["cost_nano_usd"]
        == sum(p["cost_nano_usd"] for p in answer["parts"])
        == totals(reader)["cost_nano_usd"]
    )
    by_basis = {p["basis"]: p for p in answer["parts"] if p["day"] == "2026-11-05"}
    assert set(by_basis) == {"list", "recorded", "unpriced"}
    listed = by_basis["list"]
    tier = listed["price"]["tiers"][0]
    assert (
        listed["cost_nano_usd"] * 1000
        == listed["input_tokens"] * tier["input"] + listed["output_tokens"] * tier["output"]
    )
    assert by_basis["recorded"]["list_differs_percent"] == round(
        100 * (3_150_000 - 4_000_000) / 4_000_000, 1
    )
    assert by_basis["unpriced"]["price"] is None
    with pytest.raises(clawmeter.QueryError, match="no session"):
        reader.meter.queries.formula("zzz", reader.meter.store.prices)


def test_recorded_and_list_are_compared_where_both_are_known(costs: Any) -> None:
    calls = [
        call("a", T0 + 1, (1_000, 0, 0, 0), 0.004, **SONNET),  # list: 0.003
        call("b", T0 + 2, (1_000, 0, 0, 0), 0, **SONNET),  # nothing recorded
        call("c", T0 + 3, (1_000, 0, 0, 0), 5),  # no list price
    ]
    reader = costs(calls)
    queries = reader.meter.queries
    for zone in ("UTC", "Asia/Kolkata"):
        for span in ((None, None), (T0 - 3_600_000, T0 + 3_600_000)):
            found = queries.compared(clawmeter.UsageQuery(*span, queries.zone(zone), "day"))
            assert (found["recorded_nano_usd"], found["list_nano_usd"]) == (4_000_000, 3_000_000)
            assert found["list_differs_percent"] == pytest.approx(-25)
    none = queries.compared(
        clawmeter.UsageQuery(None, None, queries.zone("UTC"), "day", (("model", "acme-1"),))
    )
    assert none["list_differs_percent"] is None


# --- the list ------------------------------------------------------------------------------------


def test_answers_of_the_list_are_kept_for_the_next_start(tmp_path: Path) -> None:
    first = clawmeter.ListPrices(tmp_path / "cache")
    found = first.find("anthropic", "claude-sonnet-4-5")
    assert found
    first.close()
    second = clawmeter.ListPrices(tmp_path / "cache", command=["/no/such/program"])
    assert second.find("anthropic", "claude-sonnet-4-5") == found
    assert second.problem is None
    second.close()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"[[1,2]]", b'{"a": 1}', b'[["anthropic","x",5]]']
)
def test_damaged_cache_of_the_list_is_made_again(content: bytes, tmp_path: Path) -> None:
    lists = clawmeter.ListPrices(tmp_path)
    assert lists.find("anthropic", "claude-sonnet-4-5")
    lists.close()
    cache = next(tmp_path.iterdir())
    cache.write_bytes(content)
    lists = clawmeter.ListPrices(tmp_path)
    assert lists.find("anthropic", "claude-sonnet-4-5")
    lists.close()


FAILING = ("-c", "import sys; sys.exit(1)")
ANSWERING = (
    "-c",
    """if True:
    import sys
    for line in sys.stdin:
        print('[[0, [{"above": 0, "input": "1"}]]]', flush=True)
""",
)


@pytest.mark.parametrize("command", [("/no/such/program",), (sys.executable, *FAILING)])
def test_list_that_cannot_be_asked_is_said_and_asked_again(command: Any, tmp_path: Path) -> None:
    """A failure is not an answer: it must not be kept as `no price`."""
    lists = clawmeter.ListPrices(tmp_path, command=command)
    lists.RETRY_S = 0.0
    assert lists.find("acme", "acme-1") == []
    assert "price process" in (lists.problem or "")
    assert not lists.ask_again()
    assert lists.problem
    lists.close()
    assert list(tmp_path.iterdir()) == []
    lists.command = [sys.executable, *ANSWERING]
    assert lists.ask_again()
    assert lists.find("acme", "acme-1") == [(0, [{"above": 0, "input": "1"}])]
    assert lists.problem is None
    lists.close()


def test_list_that_does_not_answer_is_ended(tmp_path: Path) -> None:
    """Writing waits for it."""
    lists = clawmeter.ListPrices(command=[sys.executable, "-c", "input(); import time; time.sleep(600)"])  # fmt: skip
    lists.ANSWER_S = 0.2
    assert lists.find("acme", "acme-1") == []
    assert "price process failed" in (lists.problem or "")
    assert lists.child is None
    lists.close()


def test_list_that_fails_is_started_once_for_all_models_and_then_left_alone(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    count = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(1)"
    lists = clawmeter.ListPrices(command=[sys.executable, "-c", count])
    for n in range(5):
        assert lists.find("acme", f"acme-{n}") == []
    assert not lists.ask_again()  # not within ten minutes
    assert starts.read_text() == "x"
    lists.close()


def without_list(reader: Reader) -> None:
    reader.meter.lists.close_child()
    reader.meter.lists.known.clear()
    reader.meter.lists.command = ["/no/such/program"]


@pytest.mark.parametrize("moment", ["next start", "next pass"])
def test_calls_that_were_read_without_a_list_are_priced_when_there_is_one(
    moment: str, home: HandmadeHome, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1, (1000, 0, 0, 0), 0, **SONNET)])
    reader = Reader(meter_factory, home.path)
    command = reader.meter.lists.command
    without_list(reader)
    reader.read()
    assert totals(reader)["unpriced_calls"] == 1
    assert any("price process" in p for p in reader.meter.problems())
    if moment == "next start":
        reader.restart()
    else:
        reader.meter.lists.command = command
        reader.meter.lists.retry_at = 0.0
    reader.read()
    assert priced(reader) == [("list", 3_000_000)]
    assert totals(reader)["unpriced_calls"] == 0
    assert reader.meter.problems() == []
    assert ledgers.rollup_differences(reader.meter.store) == []


def test_live_call_that_was_read_without_a_list_is_priced_at_the_next_start(
    home: HandmadeHome, meter_factory: Any
) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1)])
    reader = Reader(meter_factory, home.path)
    reader.read()
    without_list(reader)
    new = home.write("bbb", [header("bbb"), call("b", T0 + 1, (1000, 0, 0, 0), 0, **SONNET)])
    reader.meter._take_paths({str(new)})
    assert priced(reader)[-1] == ("unpriced", 0)
    reader.restart()
    assert sorted(priced(reader)) == [("list", 3_000_000), ("recorded", 10_000_000)]


def test_override_of_a_price_is_visible_to_sql(costs: Any) -> None:
    reader = costs([call("a", T0 + 1, TOKENS, 0)], prices={"acme-1": price(input="1", output="10")})
    with sqlite3.connect(f"{reader.meter.store.path.as_uri()}?mode=ro", uri=True) as db:
        row = db.execute(
            "SELECT cost_total, cost_input, cost_output, cost_basis FROM usage_events"
        ).fetchone()
    db.close()
    assert row == (2.0, 1.0, 1.0, "override")


# --- on the command line -------------------------------------------------------------------------


@pytest.fixture
def run(home: HandmadeHome, tmp_path: Path, cache_home: Path, monkeypatch: Any, capsys: Any) -> Any:
    """run("report", …) -> what a command prints about `home`, with clawmeter.toml as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))

    def run_command(*words: str) -> str:
        where = ["--home", str(home.path), "--state", str(tmp_path / "state"), "--tz", "UTC"]
        assert clawmeter.main([*words, *where]) == 0
        return str(capsys.readouterr().out)

    return run_command


def settings_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "clawmeter.toml").write_text(text)


def test_report_shows_the_formula_of_a_session(
    home: HandmadeHome, run: Any, tmp_path: Path
) -> None:
    settings_file(
        tmp_path,
        """
        [prices."acme/acme-1"]
        input = 1.25
        output = 10
        cache_read = 0.1
        tiers = [{above = 500_000, input = 2.5}]
        [billing]
        plan = ["openai"]
    """,
    )
    calls = [
        call("a", T0 + 1, (400_000, 2_000, 1_000, 3), 0),
        call("b", T0 + 2, (1000, 10, 0, 0), 0.0040, **SONNET),
        call("c", T0 + 3, TOKENS, 0, provider="nobody", model="nothing"),
        call("d", T0 + 4, (1_000_000, 0, 0, 0), 0, provider="openai", model="gpt-5"),
    ]  # fmt: skip
    home.write("aaa", [header("aaa"), *calls])
    home.index({"agent:main:main": "aaa"})
    text = run("report", "--formula", "aaa")
    nano = 400_000 * 1250 + 2_000 * 10_000 + 1_000 * 100 + 3 * 1250
    for line in (
        "session aaa  agent:main:main",
        "2026-11-05  acme/acme-1  1 calls, override, metered",
        f"400,000 input + 2,000 output + 1,000 cache read + 3 cache write tokens = $0.5201 ({nano} nano-USD)",
        "override price per million tokens: input $1.25, output $10, cache read $0.1, cache write $1.25",
        "override price per million tokens above 500,000 prompt tokens: input $2.5, output $10, cache read $0.1, cache write $1.25",
        "2026-11-05  anthropic/claude-sonnet-4-5  1 calls, recorded, metered",
        "by list price $0.0032: -21.2 % of what OpenClaw recorded",
        "2026-11-05  nobody/nothing  1 calls, unpriced, metered",
        "1,000,000 input + 100,000 output + 0 cache read + 0 cache write tokens = no price known",
        "2026-11-05  openai/gpt-5  1 calls, list, plan",
        f"cost $0.5241 ({nano + 4_000_000} nano-USD), and $1.25 of API value on a plan",
    ):
        assert line in text
    assert (
        sum(
            p["cost_nano_usd"]
            for p in json.loads(run("report", "--formula", "aaa", "--json"))["parts"]
        )
        == nano + 4_000_000 + 1_250_000_000
    )


@pytest.mark.parametrize(("recorded", "said"), [
    (0.00300, None), (0.00298, None), (0.00302, None),
    (0.00296, "list prices would be +1.4 % ($0.0030) of the $0.0030 that OpenClaw recorded"),
    (0.00400, "list prices would be -25.0 % ($0.0030) of the $0.0040 that OpenClaw recorded"),
])  # fmt: skip
def test_report_says_how_far_recorded_and_list_are_apart(
    recorded: float, said: str | None, home: HandmadeHome, run: Any
) -> None:
    """Above 1 %; below it is rounding."""
    home.write("aaa", [header("aaa"), call("a", T0 + 1, (1000, 0, 0, 0), recorded, **SONNET)])
    text = run("report", "--from", "all")
    assert (said in text) if said else ("list price" not in text)
    formula = run("report", "--formula", "aaa")
    assert ("by list price" in formula) == bool(said)


def test_report_flags_calls_without_a_price(home: HandmadeHome, run: Any) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1, TOKENS, 0)])
    text = run("report", "--from", "all", "--by", "model")
    assert "1 unpriced" in text
    assert "$0 + 1 unpriced" in text


def test_report_keeps_plan_use_beside_the_cost(
    home: HandmadeHome, run: Any, tmp_path: Path
) -> None:
    settings_file(tmp_path, '[billing]\nplan = ["anthropic"]')
    home.write("aaa", [header("aaa"), call("a", T0 + 1, cost=2.5, **SONNET), call("b", T0 + 2)])
    text = run("report", "--from", "all")
    assert "beside it $2.50 of API value used on plans" in text
    answer = json.loads(run("report", "--from", "all", "--json"))
    assert answer["totals"]["cost_nano_usd"] == 10_000_000


def test_replace_recorded_in_the_settings_file(
    home: HandmadeHome, run: Any, tmp_path: Path
) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1, (1_000_000, 0, 0, 0), 0.5)])

    def cost() -> int:
        return int(json.loads(run("report", "--from", "all", "--json"))["totals"]["cost_nano_usd"])

    settings_file(tmp_path, "[prices.acme-1]\ninput = 2\nreplace_recorded = false")
    assert cost() == 500_000_000
    settings_file(tmp_path, "[prices.acme-1]\ninput = 2\nreplace_recorded = true")
    assert cost() == 2_000_000_000
