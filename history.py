"""What makes the ledger of Clawmeter durable: opening it whole, and keeping it so.

`clawmeter.py` loads this file by path from beside itself. Without it everything works, in a temporary
ledger that ends with the process. It imports nothing from clawmeter and takes plain values.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

#: What tells this file from any other `history` on the path.
CLAWMETER_HISTORY = 1


class History:
    """The ledger file: opened, checked, migrated, set aside when it cannot be used, and backed up."""

    def __init__(self, *, schema_version: int, application_id: int) -> None:
        self.schema_version = schema_version
        self.application_id = application_id

    def open(self, path: Path) -> tuple[sqlite3.Connection, str | None]:
        """Open or create the ledger; (connection, notice for the user or None).

        A damaged file, a file of a newer Clawmeter and a file that is no ledger are kept under another name, which
        the notice says, and a new one is begun: everything that OpenClaw still has is then read again.
        """
        path.parent.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )  # one that is there is somebody's
        notice = None
        if path.exists() and path.stat().st_size:
            problem = self.problem_of(path)
            if problem:
                kept = self.set_aside(path)
                notice = f"{path} {problem}; it was kept as {kept}, and a new ledger is built from what OpenClaw still has"
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with contextlib.suppress(OSError):
            path.chmod(0o600)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -16000"):
            db.execute(f"PRAGMA {pragma}")
        return db, notice

    def problem_of(self, path: Path) -> str | None:
        """Why a ledger file cannot be used, or None. Checks its structure, not every page: restarts must be quick."""
        db = None
        marker = Path(f"{path}.damaged")
        if marker.exists():
            marker.unlink()
            return "is damaged (it was found in use)"
        try:
            db = sqlite3.connect(path, isolation_level=None)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            application = db.execute("PRAGMA application_id").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if tables and application != self.application_id:
                return "is not a ledger of Clawmeter"
            if version > self.schema_version:
                return f"was written by a newer Clawmeter (schema {version}, this one knows {self.schema_version})"
            if tables:
                for table in (
                    "sources",
                    "sessions",
                    "model_calls",
                    "usage_quarter_hours",
                    "messages",
                ):
                    db.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1").fetchone()
                    db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            if "locked" in str(error) or "unable to open" in str(error):
                raise
            return f"is damaged ({error})"
        finally:
            if db is not None:
                db.close()
        return None

    @staticmethod
    def set_aside(path: Path) -> Path:
        """Rename a ledger and its WAL out of the way; the new name of it."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        kept = path.with_name(f"{path.name}.aside-{stamp}")
        number = 1
        while kept.exists():
            kept = path.with_name(f"{path.name}.aside-{stamp}-{number}")
            number += 1
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{path}{suffix}", f"{kept}{suffix}")
        return kept

    @staticmethod
    def backup(db: sqlite3.Connection, target: Path) -> None:
        """Copy a ledger that may be in use into a new file."""
        with contextlib.closing(sqlite3.connect(target)) as copy:
            db.backup(copy)
