"""The made homes and the oracle agree: what every other test builds on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import naive_check
import oracle
import pytest
import verify
from homes import ERAS, FIXTURES, HomeFactory

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {
    1: {"agents": 4, "sessions": 50, "messages": 2500, "leave_wal": True},
    2: {"agents": 3, "sessions": 30, "messages": 900, "bytes": 4000, "days": 400},
    4: {"agents": 1, "sessions": 9, "messages": 200},
}


@pytest.mark.parametrize("seed", SHAPES)
@pytest.mark.parametrize("era", ERAS)
def test_oracle_and_truth_agree(home_factory: HomeFactory, era: str, seed: int) -> None:
    home = home_factory(era, copy=False, seed=seed, **SHAPES[seed])
    assert oracle.differences(oracle.Oracle(home.path).result(), home.truth) == []


@pytest.mark.parametrize("era", ERAS)
def test_made_homes_are_sound_and_repeatable(tmp_path: Path, era: str) -> None:
    assert verify.problems(era, "5", tmp_path / "home") == []


@pytest.mark.parametrize("mistake", naive_check.MISTAKES, ids=lambda m: f"{m[0]}-{m[2].__name__}")
def test_every_known_mistake_has_its_price(tmp_path: Path, mistake: naive_check.Mistake) -> None:
    wrong = [naive_check.check(tmp_path / "home", era, "1", *mistake) for era in ERAS]
    assert not any(wrong), wrong


@pytest.mark.parametrize("version", sorted(p.name for p in FIXTURES.iterdir() if p.is_dir()))
def test_oracle_on_what_real_versions_left(real_homes: Any, version: str) -> None:
    expected = json.loads((FIXTURES / "totals.json").read_text())[version]
    result = oracle.Oracle(real_homes(version)).result()
    assert result["totals"] == expected
    assert result["bad_lines"]["total"] == 0


def test_upgrade_changes_no_total() -> None:
    totals = json.loads((FIXTURES / "totals.json").read_text())
    assert totals["2026.6.11"] == totals["2026.9.6-upgraded-from-2026.6.11"]
