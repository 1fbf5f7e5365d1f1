"""A writer of an agent database in a process of its own, as the gateway is; see test_readonly.

    gateway_writer.py DATABASE

It has the database open until its input ends. Each line is a statement, or `talk SESSION NUMBER`; the answer is a line.
It must be another process: SQLite's locks belong to a process, and closing any other file handle of the database drops them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from handmade import MINUTE, T0, AgentDatabase, call, header


def main() -> None:
    db = AgentDatabase(Path(sys.argv[1]))
    connection = db.connect()
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    print("open", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "talk":
            sid, number = words[1], int(words[2])
            first = [header(sid)] if number == 1 else []
            db.add_with(connection, sid, [*first, call(f"{sid}-{number}", T0 + number * MINUTE)])
        else:
            connection.execute(line)
        print("done", flush=True)
    connection.close()


if __name__ == "__main__":
    main()
