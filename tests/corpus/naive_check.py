#!/usr/bin/env python3
"""Check the `would_total` numbers of truth.json: make a home with one trap, make that one mistake, compare.

naive_check.py [SEED ...]    exits 1 and says which number is wrong
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import zstandard

import oracle
from oracle import Oracle

HERE = Path(__file__).resolve().parent
ERAS = ("jsonl-feb", "jsonl-mid", "sqlite", "upgraded")


class NoDedup(Oracle):
    """Counts every line."""

    number = 0

    @staticmethod
    def ident(o: dict[str, Any]) -> str:
        NoDedup.number += 1
        return str(NoDedup.number)


class Imported(NoDedup):
    """… and reads the import archive, too."""

    def result(self) -> dict[str, Any]:
        self.events += [("main", "x", o) for o in self.import_archive]
        self.import_archive = []
        return super().result()


class IdOnly(Oracle):
    """Takes two calls with one id for one call."""

    @staticmethod
    def ident(o: dict[str, Any]) -> str:
        return str(o.get("id"))


class TimeOnly(Oracle):
    """Takes two equal calls in one millisecond for one call."""

    @staticmethod
    def ident(o: dict[str, Any]) -> str:
        m = o["message"]
        if m["role"] != "assistant":
            return json.dumps([o.get("id"), m.get("timestamp")])
        return json.dumps([m.get("timestamp"), m.get("role"), m.get("model"), m.get("usage")])


class NoArchive(Oracle):
    """Reads live files only."""

    def read_agent(self, d: Path) -> None:
        keep = oracle.TRANSCRIPT
        oracle.TRANSCRIPT = re.compile(r"^([0-9A-Za-z_-]+)\.jsonl()$")
        try:
            super().read_agent(d)
        finally:
            oracle.TRANSCRIPT = keep


class NoZstd(NoArchive):
    """Reads no compressed rows."""

    def unzst(self, blob: bytes) -> bytes:
        raise zstandard.ZstdError("no")


class NoZstdArchive(NoArchive):
    """Reads compressed rows, but neither `.zst` files nor the archive table."""

    def read_agent_db(self, agent: str, db: Any) -> None:
        db.execute("DELETE FROM session_transcript_archives")
        super().read_agent_db(agent, db)


#: trap, part of the reader's name in truth.json, the reader
Mistake = tuple[str, str, type[Oracle]]
MISTAKES: list[Mistake] = [
    ("fork", "no dedup", NoDedup),
    ("dup_line", "no dedup", NoDedup),
    ("checkpoint", "counts <sid>.checkpoint", NoDedup),
    ("zst_archive", "sums the .zst", NoDedup),
    ("import_archive", "also ingests", Imported),
    ("same_ms_twins", "dedups on", TimeOnly),
    ("id_collision", "keeps the earlier", IdOnly),
    ("reset", "ignores archived", NoArchive),
    ("deleted", "ignores", NoArchive),
    ("bak", "ignores", NoArchive),
    ("zstd_rows", "reads event_json", NoZstd),
    ("zst_archive", "ignores zst", NoZstdArchive),
]


def check(out: Path, era: str, seed: str, trap: str, reader: str, mistake: type[Oracle]) -> str | None:
    """What is wrong with the number that truth.json gives for this mistake; None if it is right."""
    if trap == "reset" and era in ("sqlite", "jsonl-feb"):
        return None  # no archive file there: nothing to ignore
    shape = ["--messages", "400", "--sessions", "9", "--agents", "3", "--bytes", "3000"]
    command = [
        sys.executable,
        str(HERE / "make_home.py"),
        str(out),
        "--era",
        era,
        "--traps",
        trap,
        "--seed",
        seed,
        *shape,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    told = json.loads((out / "truth.json").read_text())["traps"][trap]
    if "skipped" in told:
        return None
    want = next((v["would_total"] for k, v in told["naive"].items() if reader in k), None)
    if want is None:
        return f"no reader {reader!r}"
    got = mistake(out).result()["totals"]
    got = {k: got[k] for k in ("model_calls", "total_tokens", "cost_usd")}
    right = Oracle(out).result()["totals"]["model_calls"]
    return None if got == want and right != got["model_calls"] else f"want {want} got {got} right {right}"


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as tmp:
        for seed in sys.argv[1:] or ["1", "2", "3"]:
            for era in ERAS:
                for trap, reader, mistake in MISTAKES:
                    said = check(Path(tmp) / "home", era, seed, trap, reader, mistake)
                    if said:
                        wrong += 1
                        print(era, seed, trap, reader, said)
    print("wrong numbers:", wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
