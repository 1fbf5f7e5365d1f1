"""The module as a whole: its table of contents, what importing it does, and that it keeps no state of its own."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests
from handmade import T0, HandmadeHome, append, call, header
from homes import ROOT
from served import Served, process_env, wait_until

import clawmeter

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = (ROOT / "clawmeter.py").read_text(encoding="utf-8")
BAR = "#" * 79
#: What an import may cost: the standard library, and the two packages that reading needs.
HEAVY = (
    "flask", "werkzeug", "jinja2", "cheroot", "watchdog", "rich", "psutil", "genai_prices", "prometheus_client", "segno",
    "json5", "requests", "google.protobuf", "opentelemetry", "apprise", "websocket", "cryptography", "http.server",
)  # fmt: skip


def banners() -> list[str]:
    """The sections, by their banners of three lines."""
    lines = SOURCE.splitlines()
    found = []
    for n, line in enumerate(lines[1:-1], 1):
        if lines[n - 1] == BAR and lines[n + 1] == BAR:
            match = re.fullmatch(r"# (.+?) #+", line)
            assert match, f"line {n + 1} is no banner: {line}"
            assert len(line) == 79, f"the banner in line {n + 1} is not 79 wide"
            found.append(match[1])
    return found


def test_contents_of_the_docstring_are_the_banners_in_order() -> None:
    assert clawmeter.__doc__
    _, _, contents = clawmeter.__doc__.partition("Sections, each using only those above it:\n")
    assert [line.strip() for line in contents.splitlines() if line.strip()] == banners()
    assert len(banners()) == len(set(banners()))


def test_every_banner_is_followed_by_what_lives_there() -> None:
    lines = SOURCE.splitlines()
    for name in banners():
        at = next(n for n, line in enumerate(lines) if line.startswith(f"# {name} #"))
        assert lines[at + 2].startswith("# "), f"{name} does not say what it holds"


def test_commands_of_the_docstring_exist() -> None:
    commands = re.findall(r"^    clawmeter ([a-z]+)", clawmeter.__doc__ or "", re.MULTILINE)
    assert commands
    assert set(commands) <= set(command_names())


def command_names() -> list[str]:
    parser = clawmeter.build_parser()
    (subparsers,) = [a for a in parser._actions if a.dest == "command"]
    return list(subparsers.choices or ())


# --- importing -----------------------------------------------------------------------------------


def imported(code: str, folder: Path, *path: Path) -> Any:
    """What a fresh interpreter that runs the code prints as JSON."""
    env = process_env(folder, PYTHONPATH=":".join(map(str, (*path, ROOT))))
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], env=env, cwd=folder, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


IMPORT_AND_LOOK = """
import builtins, json, os, socket, subprocess, sys, threading
done = []
def watch(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        done.append(f"opened {args[0]} for writing")
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.fork", "subprocess.Popen", "socket.connect", "socket.bind", "sqlite3.connect", "os.putenv", "signal.signal"):
        done.append(event)
sys.addaudithook(watch)
import clawmeter, logging
print(json.dumps({
    "done": done, "threads": [t.name for t in threading.enumerate()], "modules": sorted(sys.modules),
    "handlers": len(logging.getLogger().handlers) + len(logging.getLogger("clawmeter").handlers),
}))
"""


def test_importing_does_no_work(tmp_path: Path) -> None:
    told = imported(IMPORT_AND_LOOK, tmp_path)
    assert told["done"] == []
    assert told["threads"] == ["MainThread"]
    assert told["handlers"] == 0
    assert "history" not in told["modules"]
    loaded = [
        m for m in told["modules"] if m in HEAVY or m.startswith(tuple(f"{h}." for h in HEAVY))
    ]
    assert loaded == []
    assert list(tmp_path.iterdir()) == []


def test_module_level_has_constants_only() -> None:
    """No `global`, and no object at module level that a function could fill."""
    tree = ast.parse(SOURCE)
    assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Global)]
    names = {
        t.id: node.lineno
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for t in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(t, ast.Name)
    }
    mutators = {
        "append",
        "add",
        "update",
        "setdefault",
        "pop",
        "clear",
        "extend",
        "insert",
        "remove",
    }
    changed = [
        f"{node.func.value.id}.{node.func.attr} in line {node.lineno}"
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.attr in mutators
        and node.func.value.id in names
        and node.func.value.id.isupper()
    ]
    assert changed == []


# --- two in one process --------------------------------------------------------------------------


def test_two_clawmeters_in_one_process(tmp_path: Path, meter_factory: Any) -> None:
    """Each follows its own home, into its own ledger, with its own credential, and stops alone."""
    homes = [HandmadeHome(tmp_path / name) for name in ("one", "two")]
    files = [
        home.write(name, [header(name), call(f"{name}-1", T0, cost=cost)])
        for home, name, cost in zip(homes, ("a", "b"), (1, 2), strict=True)
    ]
    served = [
        Served(meter_factory(home.path, time_zone=zone))
        for home, zone in zip(homes, ("UTC", "Asia/Kathmandu"), strict=True)
    ]
    try:
        first, second = served
        assert first.by("session", "cost_nano_usd") == {"a": 10**9}
        assert second.by("session", "cost_nano_usd") == {"b": 2 * 10**9}
        assert first.get("/api/usage")["tz"] == "UTC"
        assert second.get("/api/usage")["tz"] == "Asia/Kathmandu"
        foreign = requests.get(f"{first.url}/api/usage", headers=second.headers, timeout=10)
        assert foreign.status_code == 401
        append(files[1], [call("b-2", T0 + 1, cost=3)])
        wait_until(lambda: second.totals()["model_calls"] == 2, "the new call")
        assert first.totals()["model_calls"] == 1
        first.stop()
        append(files[1], [call("b-3", T0 + 2, cost=3)])
        wait_until(lambda: second.totals()["model_calls"] == 3, "the second one goes on")
    finally:
        for one in served:
            one.stop()
    names = [t.name for t in threading.enumerate() if t.name == "follow"]
    assert names == []


# --- history -------------------------------------------------------------------------------------


def test_foreign_history_on_the_path_is_never_imported(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "history.py").write_text("raise SystemExit('the foreign history was imported')\n")
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), call("a", T0)])
    code = f"""
import json, sys
from pathlib import Path
import clawmeter
meter = clawmeter.Clawmeter(clawmeter.Settings(state_dir=Path({str(tmp_path / "state")!r}), homes=(Path({str(home.path)!r}),)))
added = meter.index()
meter.stop()
print(json.dumps([added, clawmeter.load_history().__file__, "history" in sys.modules]))
"""
    added, path, is_there = imported(code, tmp_path, foreign)
    assert (added, path, is_there) == (1, str(ROOT / "history.py"), False)
    assert (tmp_path / "state" / "clawmeter.db").exists()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """clawmeter.py alone in a folder, as after `curl -O`."""
    folder = tmp_path / "copied"
    folder.mkdir()
    (folder / "clawmeter.py").write_text(SOURCE, encoding="utf-8")
    return folder


def report(
    folder: Path, home: HandmadeHome, state: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-B",
        str(folder / "clawmeter.py"),
        "report",
        "--json",
        "--from",
        "all",
    ]
    where = ["--home", str(home.path), "--state", str(state)]
    return subprocess.run(
        [*command, *where], env=process_env(folder, **env), cwd=folder, capture_output=True, text=True, timeout=60
    )  # fmt: skip


def test_foreign_history_beside_the_module_is_named(tmp_path: Path, copied: Path) -> None:
    (copied / "history.py").write_text("raise SystemExit('the foreign history was imported')\n")
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), call("a", T0)])
    done = report(copied, home, tmp_path / "state")
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["model_calls"] == 1
    assert f"{copied / 'history.py'} is not Clawmeter's history module" in done.stderr
    assert not (tmp_path / "state" / "clawmeter.db").exists()


def test_foreign_history_elsewhere_on_the_path_is_named(tmp_path: Path, copied: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "history.py").write_text("raise SystemExit('the foreign history was imported')\n")
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), call("a", T0)])
    done = report(copied, home, tmp_path / "state", PYTHONPATH=str(foreign))
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["model_calls"] == 1
    assert f"{foreign / 'history.py'} is not Clawmeter's history module" in done.stderr


def test_without_history_the_ledger_is_temporary(tmp_path: Path, copied: Path) -> None:
    home = HandmadeHome(tmp_path / "home")
    home.write("s", [header("s"), call("a", T0)])
    for _ in range(2):
        done = report(copied, home, tmp_path / "state")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["totals"]["model_calls"] == 1
    assert not (tmp_path / "state" / "clawmeter.db").exists()


def test_history_imports_nothing_of_clawmeter() -> None:
    """It takes plain rows: no circle, and no second copy of the module under `python clawmeter.py`."""
    tree = ast.parse((ROOT / "history.py").read_text(encoding="utf-8"))
    imports = [
        name.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    ]
    modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert "clawmeter" not in {*imports, *modules}
