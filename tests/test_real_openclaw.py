"""A real OpenClaw, a provider that keeps the bill, and what ended up in the transcripts."""

from __future__ import annotations

from typing import Any

import lab
import oracle
import pytest

pytestmark = pytest.mark.openclaw

#: bill.py's names for what the oracle counts
NAMES = {
    "model_calls": "model_calls",
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "total_tokens": "total_tokens",
    "cost_nano_usd": "cost_nano",
}


def same_names(groups: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The oracle's totals under the bill's names."""
    found = {k: v for k, v in groups.items() if isinstance(v, dict) and "cost_nano" in v}
    return {k: {mine: v[theirs] for mine, theirs in NAMES.items()} for k, v in found.items()}


def named(groups: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The bill's totals without what the oracle has no name for."""
    found = {k: v for k, v in groups.items() if isinstance(v, dict) and "cost_nano_usd" in v}
    return {k: {n: v[n] for n in NAMES} for k, v in found.items()}


def without(totals: dict[str, int], part: dict[str, int]) -> dict[str, int]:
    return {k: totals[k] - part[k] for k in NAMES}


@pytest.fixture(scope="module")
def driven(openclaw_starter: Any) -> lab.RealOpenClaw:
    """The current version after the whole script of drive.py; the gateway still runs."""
    real: lab.RealOpenClaw = openclaw_starter()
    real.drive()
    return real


def test_transcripts_add_up_to_the_visible_bill(driven: lab.RealOpenClaw) -> None:
    bill = driven.bill()
    found = oracle.Oracle(driven.home).result()
    billed = named(bill["by_session"])
    # A cron run does not tell the provider its session id: these are compared by job.
    by_session = {
        k: v for k, v in same_names(found["by_session_id"]).items() if k in bill["session_keys"]
    }
    # `sessions.compact{maxLines: 4}` has deleted the first call of this session for good.
    shortened = next(s for s, key in bill["session_keys"].items() if key == "agent:main:compactme2")
    lost = without(billed.pop(shortened), by_session.pop(shortened))
    assert lost["model_calls"] == 1
    assert by_session == billed
    assert same_names(found["by_cron_job"]) == named(bill["by_cron_job"])
    assert same_names(found)["totals"] == without(named(bill)["totals"], lost)
    for group in ("agent", "model", "provider", "cause"):
        mine, theirs = named(bill[f"by_{group}"]), same_names(found[f"by_{group}"])
        first = {"agent": "main", "model": "mock-priced", "provider": "mock", "cause": "user"}[
            group
        ]
        mine[first] = without(mine[first], lost)
        assert theirs == mine, group
    assert sum(found["unpriced_calls"].values()) == bill["totals"]["unpriced_calls"]


def test_every_kind_of_hidden_spend_took_place(driven: lab.RealOpenClaw) -> None:
    """Otherwise the test above shows less than it seems to."""
    bill = driven.bill()
    assert set(bill["hidden"]) == {"compaction", "memory_flush", "recap", "slug", "title"}
    assert bill["cut"]["calls"] == 1
    assert bill["retries"] == 1
    assert set(bill["by_cause"]) == {"cron", "subagent", "user"}


@pytest.mark.openclaw_all
@pytest.mark.parametrize("version", lab.OLD_VERSIONS)
def test_older_versions_add_up_to_the_visible_bill(openclaw_starter: Any, version: str) -> None:
    real: lab.RealOpenClaw = openclaw_starter(version)
    real.drive()
    real.down()
    bill = real.bill()
    found = oracle.Oracle(real.home).result()
    assert same_names(found)["totals"] == named(bill)["totals"]
    for group in ("by_agent", "by_model", "by_provider"):
        assert same_names(found[group]) == named(bill[group]), group
