"""Where the homes of the tests are, and what a made one is; shared by conftest and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
#: The trees that real OpenClaw versions left, one folder each, and totals.json.
FIXTURES = TESTS / "data" / "openclaw"
ERAS = ("jsonl-feb", "jsonl-mid", "sqlite", "upgraded")


@dataclass(frozen=True)
class MadeHome:
    """A home directory (the parent of .openclaw) and what is true about it."""

    path: Path
    truth: dict[str, Any]

    @property
    def state(self) -> Path:
        """OpenClaw's state directory."""
        return self.path / ".openclaw"


class HomeFactory(Protocol):
    def __call__(self, era: str, *, copy: bool = True, **options: Any) -> MadeHome: ...
