"""The command line, as processes: what it prints, where, with which exit status, and never raw."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from handmade import MINUTE, T0, HandmadeHome, call, header
from homes import ROOT
from served import PATIENCE_S, process_env, tokens_and_money, wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from homes import HomeFactory, MadeHome

PROGRAM = [sys.executable, str(ROOT / "clawmeter.py")]
#: What moves a cursor, rings a bell, sets a title or turns the writing round.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class CommandLine:
    """`clawmeter` with a home and a state directory of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.state = folder / "state"
        self.env = process_env(folder)

    def command(self, *words: str) -> list[str]:
        where = ("--home", str(self.home), "--state", str(self.state), "--tz", "UTC")
        return [*PROGRAM, words[0], *where, *words[1:]]

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env={**self.env, **env}, cwd=self.folder, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip

    def out(self, *words: str, **env: str) -> str:
        """What a command prints that goes well and has nothing to remark."""
        done = self.run(*words, **env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def refused(self, status: int, *words: str, **env: str) -> str:
        """What a command says that fails: on stderr, without a traceback."""
        done = self.run(*words, **env)
        assert done.returncode == status, done
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.out(*words))

    @contextmanager
    def serving(self, *words: str, **env: str) -> Iterator[str]:
        """The address of `clawmeter serve` (or another command that serves), while it runs."""
        command = self.command(*(words or ("serve",))) + ["--port", "0"]
        with subprocess.Popen(
            command, env={**self.env, **env}, cwd=self.folder, stderr=subprocess.PIPE, text=True
        ) as child:
            try:
                assert child.stderr
                said = ""
                while "log in" not in said:
                    line = child.stderr.readline()
                    assert line, f"it ended after {said!r}"
                    said += line
                self.said, self.child = said, child
                yield re.findall(r"Serving (\S+)", said)[0]
            finally:
                child.terminate()
                child.communicate(timeout=PATIENCE_S)


@pytest.fixture
def made(home_factory: HomeFactory) -> MadeHome:
    return home_factory("sqlite", copy=False, sessions=12, messages=300)


@pytest.fixture
def cli(made: MadeHome, tmp_path: Path) -> CommandLine:
    return CommandLine(made.path, tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> CommandLine:
    """A home of two sessions: one of an agent, one of a cron job that another model did."""
    home = HandmadeHome(tmp_path / "home")
    home.write("talk", [header("talk"), call("a", T0, cost=0.25), call("b", T0 + MINUTE, cost=0.5)])
    other = {"provider": "acme", "model": "acme-2"}
    home.write("night", [header("night"), call("c", T0 + 2 * MINUTE, (1000, 50, 0, 0), 0.25, **other)])  # fmt: skip
    home.index({"agent:main:main": "talk", "agent:main:cron:j1:run:night": "night"})
    return CommandLine(home.path, tmp_path)


def without_clock(answer: dict[str, Any]) -> dict[str, Any]:
    coverage = {k: v for k, v in answer["coverage"].items() if k != "as_of_ms"}
    return {**answer, "coverage": coverage}


# --- report --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ((), {}),
        (("--from", "all", "--by", "model"), {"from": "all", "by": "model"}),
        (
            ("--from", "2026-09-01", "--to", "2026-11-01", "--by", "week", "--tz", "Asia/Kolkata"),
            {"from": "2026-09-01", "to": "2026-11-01", "by": "week", "tz": "Asia/Kolkata"},
        ),
        (
            ("--from", "all", "--by", "session", "--agent", "main", "--sort", "model_calls", "--limit", "3"),
            {"from": "all", "by": "session", "agent": "main", "sort": "model_calls", "limit": "3"},
        ),
        (("--from", "all", "--by", "tool", "--cause", "cron"), {"from": "all", "by": "tool", "cause": "cron"}),
    ],
)  # fmt: skip
def test_report_json_is_the_answer_of_the_api(
    words: tuple[str, ...], query: dict[str, str], cli: CommandLine, meter_factory: Any
) -> None:
    told = cli.json("report", *words, "--json")
    meter = meter_factory(cli.home, state_dir=cli.state)
    client = clawmeter.create_app(meter).test_client()
    headers = {"Authorization": f"Bearer {meter.access.load_token()}", "Host": "127.0.0.1"}
    meter.index()
    answer = client.get("/api/usage", query_string=query, headers=headers).json
    assert without_clock(told) == without_clock(answer)


def test_report_of_everything_is_the_truth(cli: CommandLine, made: MadeHome) -> None:
    told = cli.json("report", "--from", "all", "--by", "agent", "--json")
    assert tokens_and_money(told["totals"]) == tokens_and_money(made.truth["totals"])
    assert {r["key"] for r in told["rows"]} == set(made.truth["by_agent"])


def rows_of(table: str) -> dict[str, list[str]]:
    cells = [
        [c.strip() for c in re.split("[│┃]", line)[1:-1]]
        for line in table.splitlines()
        if line.startswith(("│", "┃"))
    ]
    return {row[0]: row[1:] for row in cells}


def test_report_as_a_table(small: CommandLine) -> None:
    said = small.out("report", "--from", "all", "--by", "model")
    table = rows_of(said)
    assert table["model"] == [
        "calls", "input", "output", "cache read", "cache write", "cost", "share", "per call", "per M tokens",
    ]  # fmt: skip
    assert table["acme-1"] == ["2", "200", "40", "0", "0", "$0.7500", "75.0 %", "$0.3750", "$3,125.00"]  # fmt: skip
    assert table["acme-2"] == ["1", "1 k", "50", "0", "0", "$0.2500", "25.0 %", "$0.2500", "$238.10"]  # fmt: skip
    assert table["total"] == ["3", "1.2 k", "90", "0", "0", "$1.00", "100.0 %", "$0.3333", "$775.19"]  # fmt: skip
    assert "by model" in said.splitlines()[0]
    assert "13.3 tokens in for each token out" in said
    assert "cache hit rate 0.0 %" in said


def test_report_averages_over_the_calls_that_have_a_price(tmp_path: Path) -> None:
    home = HandmadeHome(tmp_path / "home")
    free = call("b", T0 + MINUTE, cost=None, provider="nowhere", model="new")
    home.write("talk", [header("talk"), call("a", T0, cost=0.25), free])
    table = rows_of(CommandLine(home.path, tmp_path).out("report", "--from", "all", "--by", "agent"))  # fmt: skip
    assert table["total"][5:] == ["$0.2500 + 1 unpriced", "100.0 %", "$0.2500", "—"]


def test_report_with_filters_tells_their_own_month_end(small: CommandLine) -> None:
    """Beside the figures of one agent, a projection over all would be read as its own."""
    assert "at month end about $0 (" in small.out("report", "--from", "all", "--agent", "nobody")
    assert rows_of(small.out("report", "--from", "all", "--agent", "nobody"))["total"][0] == "0"


def test_report_says_what_is_missing_from_the_month_end(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    home = HandmadeHome(tmp_path / "home")
    free = call("b", now - 2 * 24 * 60 * MINUTE, cost=None, provider="nowhere", model="new")
    home.write("talk", [header("talk"), call("a", now - 9 * 24 * 60 * MINUTE, cost=0.25), free])
    cli = CommandLine(home.path, tmp_path)
    line = next(one for one in cli.out("report").splitlines() if "at month end" in one)
    assert line.endswith(") + 1 unpriced")
    priced = cli.out("report", "--model", "acme-1")
    assert next(one for one in priced.splitlines() if "at month end" in one).endswith(")")


def test_report_names_a_session_by_its_label_and_id(small: CommandLine) -> None:
    table = rows_of(small.out("report", "--from", "all", "--by", "session"))
    assert set(table) == {"session", "total", "agent:main:main  talk", "agent:main:cron:j1:run:night  night"}  # fmt: skip
    assert "1 of 2 rows shown" in small.out("report", "--from", "all", "--by", "session", "--limit", "1")  # fmt: skip


def test_report_of_an_upside_down_range_says_so(small: CommandLine) -> None:
    said = small.out("report", "--from", "2026-11-06", "--to", "2026-11-01")
    assert said.splitlines()[0].strip() == "no time: the range from 2026-11-06 is empty or ends before it begins (UTC), by day"  # fmt: skip
    assert rows_of(said)["total"][0] == "0"
    assert "month end" not in said  # nothing can be projected from it


def test_what_nobody_watches_is_not_known_to_a_report(small: CommandLine) -> None:
    """The server counts what is wrong with machine and gateway, too: without it their number is not zero."""
    with small.serving("serve", "--no-gateway") as url:
        token = (small.state / "token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}

        def told() -> Any:
            answer = requests.get(f"{url}/api/usage?from=all", headers=bearer, timeout=10).json()
            return answer["coverage"]["problems"]

        wait_until(lambda: type(told()) is int, "a look at the machine")
        beside = json.loads(small.run("report", "--from", "all", "--json").stdout)
    alone = small.json("report", "--from", "all", "--json")
    assert [one["coverage"]["problems"] for one in (beside, alone)] == [None, None]


def test_formula_shows_how_a_cost_came_about(small: CommandLine) -> None:
    said = small.out("report", "--formula", "talk")
    assert said.splitlines() == [
        "session talk  agent:main:main",
        "2026-11-05  acme/acme-1  2 calls, recorded, metered",
        "    200 input + 40 output + 0 cache read + 0 cache write tokens = $0.7500 (750000000 nano-USD)",
        "cost $0.7500 (750000000 nano-USD)",
    ]
    assert small.json("report", "--formula", "talk", "--json")["cost_nano_usd"] == 750_000_000
    (small.state / "clawmeter.toml").write_text(
        '[prices."acme/acme-1"]\ninput = 1000\noutput = 2000\nreplace_recorded = true\n'
    )
    # 2 × (100 × $1,000 + 20 × $2,000) per million.
    said = small.out("report", "--formula", "talk")
    assert "$0.2800 (280000000 nano-USD)" in said
    assert "input $1000, output $2000" in said
    assert "no session nowhere" in small.refused(1, "report", "--formula", "nowhere")


def test_formula_of_a_session_by_the_beginning_of_its_id(cli: CommandLine) -> None:
    rows = json.loads(cli.run("report", "--from", "all", "--by", "session", "--json").stdout)["rows"]  # fmt: skip
    session = rows[0]["key"]
    assert cli.run("report", "--formula", session[:8]).stdout == cli.run("report", "--formula", session).stdout != ""  # fmt: skip
    assert f"no session {session[:7]} in the ledger" in cli.refused(1, "report", "--formula", session[:7])  # fmt: skip


# --- the other commands --------------------------------------------------------------------------


def test_status(small: CommandLine) -> None:
    """It reads first, where nobody else does."""
    lines = small.out("status").splitlines()
    assert [line.split()[0] for line in lines] == [
        "server",
        "ledger",
        "spent",
        "sources",
        "gateway",
        "live",
    ]
    assert "not running" in lines[0]
    assert "3 model calls in 2 sessions" in lines[1]
    assert "$1.00 ever" in lines[2]
    assert small.json("status", "--json")["summary"]["allTime"] == 1.0


def test_status_of_a_server_that_was_killed(small: CommandLine) -> None:
    with small.serving() as url:
        assert url in small.run("status").stdout
        small.child.kill()
        small.child.wait(PATIENCE_S)
        assert (small.state / "server.json").exists()
        assert "not running" in small.out("status")
        # Whoever listens there now must not be shown the token.
        host, _, port = url.removeprefix("http://").rpartition(":")
        with socket.create_server((host, int(port))) as stranger:
            said = small.refused(1, "api", "/api/summary")
            stranger.settimeout(0)
            with pytest.raises(BlockingIOError):
                stranger.accept()
    assert "no Clawmeter is serving" in said


def test_ingest_reads_once(small: CommandLine) -> None:
    assert small.out("ingest").startswith("3 new model calls, 3 in the ledger")
    assert small.out("ingest").startswith("0 new model calls, 3 in the ledger")


def test_ingest_names_what_is_wrong(small: CommandLine) -> None:
    bad = small.home / ".openclaw" / "agents" / "main" / "sessions" / "bad.jsonl"
    bad.write_bytes(b"{broken\n{broken too\n")
    said = small.out("ingest")
    assert "2 lines could not be read; see `clawmeter doctor`" in said


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export(form: str, small: CommandLine) -> None:
    inside = small.home / ".openclaw" / "agents"
    assert "inside OpenClaw's" in small.refused(2, "export", form, "--out-dir", str(inside))
    assert [p.name for p in inside.iterdir()] == ["main"]
    folder = small.folder / "out"
    said = small.out("export", form, "--out-dir", str(folder))
    assert said.splitlines() == [
        f"{folder / f'usage_events.{form}'}: 3 rows",
        f"{folder / f'sessions.{form}'}: 2 rows",
    ]
    assert sorted(p.name for p in folder.iterdir()) == [f"sessions.{form}", f"usage_events.{form}"]
    (small.folder / "file").write_text("")
    assert "--out-dir" in small.refused(1, "export", form, "--out-dir", str(small.folder / "file"))


def test_beside_a_running_server(small: CommandLine) -> None:
    """The server has the ledger: `ingest` asks it, the others read what it has and say as of when."""
    with small.serving() as url:
        wait_until(lambda: small.run("api", "/readyz").returncode == 0, "readiness")
        home = HandmadeHome.__new__(HandmadeHome)
        home.path, home.state = small.home, small.home / ".openclaw"
        home.write("new", [header("new"), call("n", T0 + 9 * MINUTE, cost=2)])
        assert "4 in the ledger" in small.out("ingest")
        report = small.run("report", "--from", "all", "--by", "model", "--json")
        assert report.returncode == 0
        assert "A running Clawmeter has the ledger; its numbers as of 20" in report.stderr
        asked = small.json("api", "/api/usage?from=all&by=model")
        asked["coverage"]["problems"] = None  # only the server looks at the machine and the gateway
        assert without_clock(json.loads(report.stdout)) == without_clock(asked)
        assert asked["totals"]["cost_nano_usd"] == 3 * 10**9
        exported = small.run("export", "csv", "--out-dir", str(small.folder / "out"))
        assert exported.returncode == 0
        assert "usage_events.csv: 4 rows" in exported.stdout
        assert small.run("report", "--formula", "new").stdout.endswith("(2000000000 nano-USD)\n")
        said = small.refused(3, "serve", "--port", "0")
        assert url in said
        assert "--state" in said


def test_beside_a_server_with_a_token_of_its_own(small: CommandLine) -> None:
    given = small.folder / "given"
    given.write_text("a-token-of-my-own\n")
    with small.serving("serve", "--token-file", str(given)) as url:
        wait_until(lambda: small.run("api", "/readyz").returncode == 0, "readiness")
        assert small.json("api", "/api/summary")["messages"] == 3
        assert small.out("token") == f"{url}/#token=a-token-of-my-own\n"
        assert "3 in the ledger" in small.out("ingest")
    small.env["CLAWMETER_TOKEN"] = "one-of-the-environment"
    with small.serving():
        assert small.json("api", "/api/summary")["messages"] == 3
        del small.env["CLAWMETER_TOKEN"]
        said = small.refused(1, "api", "/api/summary")
    assert "was given its token from outside" in said
    assert "CLAWMETER_TOKEN" in said


@pytest.mark.parametrize(
    "path", ["api/summary", "/api/usage?by=model&from=2026-11-01 08:00", "/api/sessions?q=größe", "/api/sessions?q=a%20b"]
)  # fmt: skip
def test_api_takes_any_path(path: str, small: CommandLine) -> None:
    with small.serving():
        assert small.json("api", path) is not None


def test_api_refused_by_the_server(small: CommandLine) -> None:
    with small.serving():
        for path, code in (
            ("/api/usage?by=colour", "bad_parameter"),
            ("/api/sessions/nowhere", "session_not_found"),
            ("/api/nothing\r\nX-Evil: 1", "not_found"),
            ("/api/sessions/\udcff", "not_found"),
        ):
            done = small.run("api", path)
            assert (done.returncode, done.stderr) == (1, "")
            assert json.loads(done.stdout)["error"]["code"] == code


def test_tokens(small: CommandLine) -> None:
    shown = small.out("token").strip()
    assert shown == (small.state / "token").read_text().strip()
    made = small.run("token", "create", "wall display", "--scope", "metrics")
    assert made.returncode == 0
    assert "this once" in made.stderr
    secret = made.stdout.strip()
    assert secret.startswith("cm_")
    listed = small.out("token", "list")
    assert re.fullmatch(r"[0-9a-f]{12}  metrics   wall display\n", listed)
    assert secret not in listed
    assert "already" in small.refused(1, "token", "create", "wall display")
    with small.serving() as url:
        bearer = {"Authorization": f"Bearer {secret}"}
        assert requests.get(f"{url}/metrics", headers=bearer, timeout=10).status_code == 200
        assert requests.get(f"{url}/api/usage", headers=bearer, timeout=10).status_code == 403
        assert small.out("token").strip() == f"{url}/#token={shown}"
        small.out("token", "revoke", "wall display")
        assert requests.get(f"{url}/metrics", headers=bearer, timeout=10).status_code == 401
    assert small.out("token", "list") == ""
    assert "no token" in small.refused(1, "token", "revoke", "wall display")
    for action in ("create", "revoke"):
        assert f"token {action} NAME" in small.refused(2, "token", action)
    assert small.run("token", "rotate").returncode == 0
    assert small.out("token").strip() != shown


def test_hostile_token_names_are_refused(small: CommandLine) -> None:
    for name in ("\x1b[31mred", "two\nlines", "x" * 65, " "):
        assert "printable" in small.refused(1, "token", "create", name)
    assert small.out("token", "list") == ""


def test_demo(small: CommandLine) -> None:
    """It starts, serves, goes on by itself, stops, and leaves nothing behind; the real ledger is not touched."""
    ledger = small.folder / "real.db"
    real = {
        "CLAWMETER_DB": str(ledger),
        "OPENCLAW_AGENTS_DIR": str(small.home / ".openclaw" / "agents"),
        "TMPDIR": str(small.folder),
    }
    with small.serving("demo", "--days", "3", **real) as url:
        assert "made-up home" in small.said
        found = re.search(r"--state (\S+)`", small.said)
        assert found
        state = Path(found[1])
        assert state.is_relative_to(small.folder)
        token = (state / "token").read_text().strip()

        def ask(path: str) -> Any:
            bearer = {"Authorization": f"Bearer {token}"}
            answer = requests.get(url + path, headers=bearer, timeout=10)
            assert answer.status_code == 200
            return answer.json()

        calls = wait_until(lambda: ask("/api/summary")["messages"], "the first calls")
        usage = ask("/api/usage?from=all&by=agent")
        assert len(usage["rows"]) > 1
        assert "talk" not in {s["id"] for s in ask("/api/sessions?limit=10000")}
        wait_until(lambda: ask("/api/summary")["messages"] > calls, "something new", 60)
        small.child.send_signal(signal.SIGINT)
        assert small.child.wait(PATIENCE_S) == 0
    assert not ledger.exists()
    # The state directory is the one that was named; the made-up numbers are gone with their folder.
    assert state == small.state
    assert not list(state.glob("*.db*"))
    assert not [p for p in small.folder.iterdir() if p.name.startswith("clawmeter-")]


@pytest.mark.parametrize("days", ["0", "-3", "99999"])
def test_demo_of_impossible_days(days: str, small: CommandLine) -> None:
    assert "--days" in small.refused(2, "demo", "--days", days, "--port", "0")


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("report", "--by", "colour"), "provider_model"),
        (("report", "--from", "lately"), "2026-11-06"),
        (("report", "--to", "2026-13-01"), "2026-11-06"),
        (("report", "--limit", "0"), "from 1 to 10000"),
        (("report", "--sort", "beauty"), "cost_nano_usd"),
        (("report", "--tz", "Mars/Olympus"), "Europe/Berlin"),
        (("report", "--agent"), "--agent"),
        (("export", "xml"), "csv"),
        (("export",), "form"),
        (("frobnicate",), "doctor"),
        (("report", "--log-level", "loud"), "debug"),
        (("token", "create", "x", "--scope", "all"), "metrics"),
        (("report", "--config", "/nowhere/clawmeter.toml"), "/nowhere/clawmeter.toml"),
    ],
)
def test_wrong_usage_says_what_is_right(
    words: tuple[str, ...], says: str, small: CommandLine
) -> None:
    assert says in small.refused(2, *words)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"CLAWMETER_PORT": "many"}, "CLAWMETER_PORT"),
        ({"CLAWMETER_TZ": "Mars/Olympus"}, "Mars/Olympus"),
        ({"CLAWMETER_HISTORY": "perhaps"}, "CLAWMETER_HISTORY"),
    ],
)
def test_wrong_environment_is_named(env: dict[str, str], says: str, small: CommandLine) -> None:
    command = [*PROGRAM, "report", "--home", str(small.home), "--state", str(small.state)]
    done = subprocess.run(
        command, env={**small.env, **env}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_file_is_named(small: CommandLine) -> None:
    small.out("ingest")
    for text, says in (
        ("port = ", "clawmeter.toml"),
        ('[prices."acme/acme-1"]\ninputs = 3', "acme/acme-1"),
        ("port = 'many'", "port"),
    ):
        (small.state / "clawmeter.toml").write_text(text)
        assert says in small.refused(2, "report")


def test_no_home_names_the_ways_to_name_one(tmp_path: Path) -> None:
    for command in ("report", "status", "ingest", "doctor"):
        done = subprocess.run(
            [*PROGRAM, command, "--state", str(tmp_path / "s")],
            env=process_env(tmp_path), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        said = done.stdout + done.stderr
        for way in ("--home", "OPENCLAW_STATE_DIR", "clawmeter.toml", "clawmeter demo"):
            assert way in said
    done = subprocess.run(
        [*PROGRAM, "report", "--home", str(tmp_path / "nowhere"), "--state", str(tmp_path / "s")],
        env=process_env(tmp_path), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(tmp_path / "nowhere") in done.stderr


def test_state_directory_that_cannot_be_used(small: CommandLine) -> None:
    small.state.write_text("a file")
    assert "--state" in small.refused(2, "report")


def test_doctor_is_well_or_not(small: CommandLine) -> None:
    lines = small.out("doctor").splitlines()
    assert all(line.startswith(("ok", "--", "  ")) for line in lines)
    database = small.home / ".openclaw" / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"garbage" * 1000)
    done = small.run("doctor")
    assert done.returncode == 1
    assert any(line.startswith("!!") and str(database) in line for line in done.stdout.splitlines())


# --- terminals and pipes -------------------------------------------------------------------------


def at_a_terminal(cli: CommandLine, *words: str, **env: str) -> str:
    """What a command writes to a terminal, of 200 columns unless COLUMNS says so."""
    main, side = pty.openpty()
    child = subprocess.Popen(
        cli.command(*words), env={**cli.env, "TERM": "xterm-256color", "COLUMNS": "200", **env},
        stdin=side, stdout=side, stderr=side, close_fds=True,
    )  # fmt: skip
    os.close(side)
    data = b""
    with suppress(OSError):  # Linux says EIO when the other side is closed
        while select.select([main], [], [], PATIENCE_S)[0] and (more := os.read(main, 65_536)):
            data += more
    os.close(main)
    assert child.wait(PATIENCE_S) == 0
    return data.decode()


def test_terminal_gets_style_and_pipes_and_no_color_do_not(small: CommandLine) -> None:
    words = ("report", "--from", "all", "--by", "model")
    assert "\x1b[" in at_a_terminal(small, *words)
    for text in (
        small.out(*words),
        at_a_terminal(small, *words, NO_COLOR="1"),
        at_a_terminal(small, *words, TERM="dumb"),
    ):
        assert "\x1b" not in text
        assert rows_of(text)["acme-1"][0] == "2"


@pytest.mark.parametrize("columns", [48, 60, 80, 100, 120, 200])
def test_report_fits_the_terminal(columns: int, small: CommandLine) -> None:
    """Columns are left out, by name, before a figure or a name is cut."""
    said = at_a_terminal(
        small, "report", "--from", "all", "--by", "session_key", COLUMNS=str(columns), NO_COLOR="1"
    )
    assert max(len(line.rstrip()) for line in said.splitlines() if "│" in line) <= columns
    table = rows_of(said)
    heads = ["calls", "input", "output", "cache read", "cache write", "cost", "share", "per call", "per M tokens"]  # fmt: skip
    shown = table["session key"]
    assert set(shown) <= set(heads)
    assert {"calls", "cost"} <= set(shown)
    hidden = [head for head in heads if head not in shown]
    assert (f"no room for {', '.join(hidden)}" in said.replace("\r\n", " ")) == bool(hidden)
    assert dict(zip(shown, table["agent:main:main"], strict=True))["cost"] == "$0.7500"
    assert dict(zip(shown, table["total"], strict=True))["cost"] == "$1.00"
    assert "…" not in said
    if columns == 200:
        assert shown == heads


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminal_without_unicode(encoding: str, small: CommandLine) -> None:
    def printed(*words: str) -> bytes:
        env = {**small.env, "PYTHONIOENCODING": encoding}
        done = subprocess.run(small.command(*words), env=env, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    said = printed("report", "--from", "all").decode(encoding)
    assert "$1.00" in said
    assert "2026-11-05" in said
    assert printed("status").decode(encoding)
    told = printed("report", "--json", "--from", "all", "--by", "session").decode("utf-8")
    assert json.loads(told)["totals"]["cost_nano_usd"] == 10**9


@pytest.mark.parametrize("words", [("report", "--json"), ("report", "--by", "hour"), ("doctor",)])
def test_reader_that_goes_away_is_no_error(words: tuple[str, ...], small: CommandLine) -> None:
    small.out("ingest")
    child = subprocess.Popen(
        small.command(*words), env=small.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(PATIENCE_S) == 1


HOSTILE = (
    "\x1b]0;owned\x07\x1b[31m[red]\u202eevil\x9b2J\r\nnext [link=file:///etc]x[/link] \ud800 \u2066"
)


@pytest.fixture
def hostile(tmp_path: Path) -> CommandLine:
    """A home in which every name that somebody else can choose is made for terminals."""
    home = HandmadeHome(tmp_path / "home")
    message = {"provider": HOSTILE, "model": HOSTILE, "api": HOSTILE, "stopReason": HOSTILE}
    change = {"type": "thinking_level_change", "id": "t", "parentId": None, "timestamp": "2026-11-05T12:00:00.000Z", "thinkingLevel": HOSTILE}  # fmt: skip
    home.write("s1", [header("s1"), change, call("a", T0, tools=[HOSTILE], **message), b"{" + HOSTILE.encode("utf-8", "replace")])  # fmt: skip
    home.write("s2", [header("s2"), call("b", T0, (-5, 1, 1, 1), **message)])
    home.write("s3\x1b[31m", [header("s3\x1b[31m"), call("c", T0)])
    home.index({
        f"agent:main:cron:{HOSTILE}:run:s1": {
            "sessionId": "s1", "label": HOSTILE, "channel": HOSTILE, "status": HOSTILE,
            "origin": {"provider": HOSTILE},
        },
    })  # fmt: skip
    (home.sessions("bad\x1b[5magent") / "x.jsonl").write_bytes(b"{" + HOSTILE.encode("utf-8", "replace") + b"\n")  # fmt: skip
    return CommandLine(home.path, tmp_path)


@pytest.mark.parametrize("by", clawmeter.BY)
def test_hostile_names_in_a_report(by: str, hostile: CommandLine) -> None:
    said = hostile.out("report", "--from", "all", "--by", by)
    assert not UNSAFE.search(said)
    if by in {"model", "provider", "session_key", "channel", "cron_job", "tool"}:
        assert "[red]" in said, "a name is text, no markup"


def test_hostile_names_elsewhere(hostile: CommandLine) -> None:
    for words in (("ingest",), ("status",), ("report", "--formula", "s1"), ("doctor",)):
        done = hostile.run(*words)
        assert "Traceback" not in done.stderr
        assert not UNSAFE.search(done.stdout + done.stderr), words
    for name in (
        f"no\x1b[31msuch{chr(0x202E)}",
        "\udcff",
    ):  # bytes that are no text come as surrogates
        assert not UNSAFE.search(hostile.refused(1, "report", "--formula", name))
        assert not UNSAFE.search(hostile.out("report", "--agent", name, "--by", "model"))
    told = json.loads(hostile.out("report", "--from", "all", "--by", "model", "--json"))
    assert any("owned" in row["key"] for row in told["rows"])
