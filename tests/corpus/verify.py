#!/usr/bin/env python3
"""Structural checks of made homes: same arguments, same bytes; sound databases; valid JSON5; a real WAL.

verify.py [SEED ...]    exits 1 and says what is wrong
"""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pyjson5

HERE = Path(__file__).resolve().parent
ERAS = ("jsonl-feb", "jsonl-mid", "sqlite", "upgraded")


def make(out: Path, *options: str) -> None:
    command = [
        sys.executable,
        str(HERE / "make_home.py"),
        str(out),
        "--huge-bytes",
        "1500000",
        *options,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def digest(root: Path) -> dict[str, str]:
    files = (f for f in sorted(root.rglob("*")) if f.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def octet_length(value: str | bytes | None) -> int | None:
    """SQLite has this function since 3.43 only, and OpenClaw's CHECKs call it."""
    return None if value is None else len(value.encode() if isinstance(value, str) else value)


def database_problems(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    db.create_function("octet_length", 1, octet_length, deterministic=True)
    try:
        sound = db.execute("PRAGMA integrity_check").fetchall()
        keys = db.execute("PRAGMA foreign_key_check").fetchall()
    finally:
        db.close()
    return [f"{path}: {sound[:3]} {keys[:3]}"] if sound != [("ok",)] or keys else []


def count_rows(path: Path, mode: str) -> int:
    db = sqlite3.connect(f"file:{path}?{mode}", uri=True)
    try:
        return int(db.execute("SELECT count(*) FROM transcript_events").fetchone()[0])
    finally:
        db.close()


def problems(era: str, seed: str, root: Path) -> list[str]:
    """Everything that is wrong with homes of this era and seed."""
    found = []
    make(root, "--era", era, "--seed", seed)
    first = digest(root)
    make(root, "--era", era, "--seed", seed)
    second = digest(root)
    changed = [name for name in first | second if first.get(name) != second.get(name)]
    if changed:
        found.append(f"{era} {seed}: not the same bytes twice: {changed[:5]}")
    config = pyjson5.decode((root / ".openclaw" / "openclaw.json").read_text())
    if not {"list", "entries"} & set(config["agents"]):
        found.append(f"{era} {seed}: no agents in openclaw.json")
    for path in (root / ".openclaw").rglob("*.sqlite"):
        found += database_problems(path)
    if era in ("sqlite", "upgraded"):
        make(root, "--era", era, "--seed", seed, "--leave-wal")
        database = root / ".openclaw" / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
        # immutable first: mode=ro makes -shm, and must not be what the other one finds
        alone = count_rows(database, "immutable=1")
        if count_rows(database, "mode=ro") <= alone:
            found.append(f"{era} {seed}: the WAL holds nothing")
    return found


def main() -> int:
    found = []
    with tempfile.TemporaryDirectory() as tmp:
        for seed in sys.argv[1:] or ["4", "5"]:
            for era in ERAS:
                found += problems(era, seed, Path(tmp) / "home")
    print("\n".join(found) or "sound")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
