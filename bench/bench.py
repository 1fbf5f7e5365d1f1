"""Measure what DESIGN promises, on made homes, beside what people would use instead.

    python bench/bench.py homes DIR [--large]        make the homes (280 MB of each era; --large: 1,000,000 messages too)
    python bench/bench.py cold HOME [--peers DIR]    cold index, alternating runs against tokscale and ccusage
    python bench/bench.py serve HOME                 restart, API, memory, idle CPU, transcript page
    python bench/bench.py fresh HOME                 append in OpenClaw -> number in the API, on a copy of the home
    python bench/bench.py watch HOME                 the same on twelve open pages, the API beside 50 streams, a pointer over a chart ($CLAWMETER_CHROMIUM)
    python bench/bench.py page HOME                  bytes and requests of the first page
    python bench/bench.py browse HOME                page changes and scrolling in a real browser ($CLAWMETER_CHROMIUM, playwright)

Peers: npm i --prefix DIR @tokscale/cli-linux-x64-gnu@4.17.0 ccusage@20.0.24. Figures and machine: bench/README.md.
Run it with the interpreter that has Clawmeter installed, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
MAKER = ROOT / "tests" / "corpus" / "make_home.py"
BYS = (
    "hour", "day", "week", "month", "model", "provider", "provider_model", "agent", "channel", "cause", "session", "session_key", "cron_job", "tool",
)  # fmt: skip
NOW = "2026-11-06"  # make_home.py's default now
RANGES = {
    "day": f"from={NOW}&to={NOW}",
    "week": f"from=2026-10-31&to={NOW}",
    "month": f"from=2026-10-08&to={NOW}",
}


def clawmeter(*words: str) -> list[str]:
    """The command as an installation runs it: from cached bytecode."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import clawmeter; sys.exit(clawmeter.main(sys.argv[1:]))"
    return [sys.executable, "-c", code, *words]


def timed(
    command: list[str], env: dict[str, str] | None = None, *, watch: bool = False
) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, peak RSS over the process tree) of a command."""
    usage = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    peak = 0
    while watch and process.poll() is None:
        with contextlib.suppress(psutil.Error):
            tree = [
                psutil.Process(process.pid),
                *psutil.Process(process.pid).children(recursive=True),
            ]
            peak = max(peak, sum(p.memory_info().rss for p in tree))
        time.sleep(0.01)
    process.wait()
    wall = time.perf_counter() - started
    after = os.times()
    cpu = after.children_user + after.children_system - usage.children_user - usage.children_system
    return wall, cpu, peak


def make_homes(args: argparse.Namespace) -> None:
    """Make the homes of the figures."""
    shapes = {"280mb": ["--sessions", "300", "--messages", "93000"]}
    if args.large:
        shapes["1m"] = ["--sessions", "2000", "--messages", "1000000"]
    for name, shape in shapes.items():
        for era in ("jsonl-mid", "sqlite"):
            out = args.dir / f"{name}-{era}"
            command = [
                sys.executable,
                str(MAKER),
                str(out),
                "--era",
                era,
                "--agents",
                "6",
                "--bytes",
                "3000",
                "--days",
                "90",
                *shape,
            ]
            subprocess.run(command, check=True)


def peers(
    folder: Path | None, home: Path, config: Path
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The commands of the peers on a home, those that are installed."""
    if folder is None:
        return {}
    cache = config / "ts" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("litellm", "openrouter", "models-dev"):
        (cache / f"pricing-{name}.json").write_text(
            json.dumps({"timestamp": int(time.time()), "data": {}})
        )
    modules = folder / "node_modules"
    tokscale = modules / "@tokscale" / "cli-linux-x64-gnu" / "bin" / "tokscale"
    ccusage = modules / "@ccusage" / "ccusage-linux-x64" / "bin" / "ccusage"
    out = {
        "tokscale": (
            [
                str(tokscale),
                "models",
                "--json",
                "--home",
                str(home),
                "-c",
                "openclaw",
                "--no-spinner",
            ],
            {
                **os.environ,
                "HOME": str(config),
                "TOKSCALE_CONFIG_DIR": str(config / "ts"),
                "TOKSCALE_PRICING_CACHE_ONLY": "1",
            },
        )
    }
    if not any(
        home.glob(".openclaw/agents/*/agent/openclaw-agent.sqlite")
    ):  # minutes on a database
        env = {**os.environ, "OPENCLAW_DIR": str(home / ".openclaw")}
        out["ccusage"] = ([str(ccusage), "openclaw", "daily", "--json", "-O", "-z", "UTC"], env)
    for command, _ in out.values():
        os.chmod(command[0], 0o755)
    return out


def read_and_split(home: Path) -> float:
    """Seconds to read every transcript and split it into lines or rows, and nothing else."""
    import sqlite3

    started = time.perf_counter()
    for path in home.glob(".openclaw/agents/*/sessions/*.jsonl*"):
        if ".trajectory." not in path.name:
            with open(path, "rb", buffering=1 << 20) as file:
                for _ in file:
                    pass
    for path in home.glob(".openclaw/agents/*/agent/openclaw-agent.sqlite"):
        db = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        db.text_factory = bytes
        for _ in db.execute("SELECT * FROM transcript_events"):
            pass
        db.close()
    return time.perf_counter() - started


def cold(args: argparse.Namespace) -> None:
    """Alternate cold runs; medians and ratios."""
    walls: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        env = {**os.environ, "XDG_CACHE_HOME": str(base / "cache")}
        for number in range(args.runs + 1):  # the first warms the page cache and the caches of all
            state = base / f"state-{number}"
            wall, cpu, peak = timed(
                clawmeter("--home", str(args.home), "--state", str(state), "ingest"),
                env,
                watch=number == args.runs,
            )
            runs = {
                "clawmeter": wall,
                "clawmeter CPU": cpu,
                "read and split": read_and_split(args.home),
            }
            for name, (command, peer_env) in peers(
                args.peers, args.home, base / f"peer-{number}"
            ).items():
                runs[name] = timed(command, peer_env)[0]
            for name, seconds in runs.items():
                if number:
                    walls.setdefault(name, []).append(seconds)
            if number == args.runs:
                print(f"peak RSS over all processes {peak / 1e6:.0f} MB")
            shutil.rmtree(state)
    mine = statistics.median(walls["clawmeter"])
    for name, seconds in walls.items():
        median = statistics.median(seconds)
        print(
            f"{name:16} median {median:.3f} s  (min {min(seconds):.3f}, max {max(seconds):.3f})  clawmeter takes {mine / median:.2f} x"
        )


@contextlib.contextmanager
def serving(
    home: Path, state: Path
) -> Iterator[tuple[http.client.HTTPConnection, str, psutil.Process, float]]:
    """A running server: (connection, token, process, seconds to the first answer)."""
    started = time.perf_counter()
    process = subprocess.Popen(
        clawmeter(
            "--home",
            str(home),
            "--state",
            str(state),
            "--tz",
            "Europe/Berlin",
            "serve",
            "--port",
            "0",
        ),
        stderr=subprocess.DEVNULL,
    )
    try:
        file = state / "server.json"
        while not file.exists() or json.loads(file.read_bytes())["pid"] != process.pid:
            time.sleep(0.002)
        connection = http.client.HTTPConnection(
            json.loads(file.read_bytes())["url"].removeprefix("http://")
        )
        token = (state / "token").read_text().strip()
        get(connection, token, "/api/summary")
        yield connection, token, psutil.Process(process.pid), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def get(connection: http.client.HTTPConnection, token: str, path: str) -> tuple[float, bytes]:
    """(milliseconds, body) of a GET."""
    started = time.perf_counter()
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    body = connection.getresponse().read()
    return (time.perf_counter() - started) * 1000, body


def serve(args: argparse.Namespace) -> None:
    """Restart on an indexed home, then ask."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        subprocess.run(
            clawmeter("--home", str(args.home), "--state", str(state), "ingest"), check=True
        )
        with serving(args.home, state) as (connection, token, _, _):
            while b"ready" not in get(connection, token, "/readyz")[1][:20]:
                time.sleep(0.05)
            time.sleep(3)
        with serving(args.home, state) as (connection, token, process, first):
            print(f"restart to correct totals {first:.2f} s")
            time.sleep(3)
            print(f"RSS {process.memory_info().rss / 1e6:.0f} MB")

            def p95(path: str, count: int = 25) -> float:
                return sorted(get(connection, token, path)[0] for _ in range(count))[
                    int(count * 0.95)
                ]

            for name, query in RANGES.items():
                found = {by: p95(f"/api/usage?{query}&by={by}") for by in BYS}
                worst = sorted(found, key=lambda b: -found[b])[:3]
                print(
                    f"usage of a {name}, p95: "
                    + ", ".join(f"{b} {found[b]:.1f} ms" for b in worst)
                    + f"; others <= {sorted(found.values())[-4]:.1f} ms"
                )
            lists = (
                "/api/sessions",
                "/api/sessions?sort=total_cost",
                "/api/sessions?sort=tree_cost_nano_usd",
                "/api/models",
                "/api/top-sessions",
                "/api/subagents",
            )
            print("lists, p95: " + ", ".join(f"{p} {p95(p):.1f} ms" for p in lists))
            month = RANGES["month"]
            combined = (
                f"{month}&by=model&agent=main&cause=user",
                f"{month}&by=tool&agent=main",
                "from=2026-10-08T03:07&to=2026-11-06T17:13&by=session&provider=anthropic",
                f"{month}&by=day&split=model",
                f"{month}&by=hour&split=model",
            )
            print(
                "combinations, p95: "
                + ", ".join(f"{p95('/api/usage?' + c):.1f} ms" for c in combined)
            )
            print(f"/api/overview of a month, p95 {p95('/api/overview?' + month):.1f} ms")
            rows = json.loads(
                get(connection, token, "/api/sessions?sort=message_count&limit=5000")[1]
            )
            middle = min(rows, key=lambda r: abs(r["message_count"] * 2 - 5000))
            took, body = get(connection, token, f"/api/transcript/{middle['id']}")
            print(
                f"transcript of {json.loads(body)['total']} entries: first page {took:.0f} ms, then p95 {p95('/api/transcript/' + middle['id']):.1f} ms"
            )
            print(f"RSS afterwards {process.memory_info().rss / 1e6:.0f} MB")
            time.sleep(5)
            time.sleep(5)
            before, at = sum(process.cpu_times()[:2]), time.perf_counter()
            time.sleep(60)  # with one look at everything, as every minute has it
            print(
                f"idle CPU {100 * (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - at):.2f} % of a core"
            )


@contextlib.contextmanager
def appending(
    home: Path,
) -> Iterator[tuple[http.client.HTTPConnection, str, Callable[[], Iterator[int]]]]:
    """A server on a copy of a home: (connection, token, calls). calls() appends 20 calls and gives the time of each in ms."""
    with tempfile.TemporaryDirectory() as folder:
        copy, state = Path(folder) / "home", Path(folder) / "state"
        shutil.copytree(home, copy, symlinks=True)
        subprocess.run(
            clawmeter("--home", str(copy), "--state", str(state), "ingest"),
            check=True,
            stdout=subprocess.DEVNULL,
        )

        def calls() -> Iterator[int]:
            command = [sys.executable, str(ROOT / "tests" / "corpus" / "append.py"), str(copy), "--rate", "2", "--count", "20"]  # fmt: skip
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
                for event in map(json.loads, writer.stdout or ()):
                    if "wall_ms" in event:
                        yield event["wall_ms"]

        with serving(copy, state) as (connection, token, _, _):
            time.sleep(3)
            yield connection, token, calls


def fresh(args: argparse.Namespace) -> None:
    """How long an appended call takes to the API."""
    with appending(args.home) as (connection, token, calls):

        def counted() -> int:
            answer = json.loads(get(connection, token, "/api/usage?from=all&by=month")[1])
            return int(answer["totals"]["model_calls"])

        wanted, lags = counted(), []
        for wall_ms in calls():
            wanted += 1
            while counted() < wanted:
                time.sleep(0.005)
            lags.append(time.time() * 1000 - wall_ms)
    print(f"append to API: median {statistics.median(lags):.0f} ms, max {max(lags):.0f} ms over {len(lags)} calls")  # fmt: skip


#: Notes when the cost of today changes.
NOTE = """() => {
  const number = document.querySelector(".figures section[data-key=today] .figure-number");
  window.changes = [];
  new MutationObserver(() => changes.push(Date.now())).observe(number, { subtree: true, childList: true, attributes: true, characterData: true });
}"""
#: Moves the pointer over a chart, a step each frame; the milliseconds of each.
SWEEP = """([chart, frames]) => new Promise((done) => {
  const plot = document.querySelector(`[data-chart=${chart}]`);
  plot.scrollIntoView({ block: "center" });
  const { left, top, width, height } = plot.getBoundingClientRect();
  const took = [];
  let before = performance.now();
  const step = (now) => {
    took.push(now - before);
    before = now;
    if (took.length > frames) { done(took.slice(1)); return; }
    const at = { bubbles: true, pointerType: "mouse", clientX: left + (width * took.length) / (frames + 1), clientY: top + height / 2 };
    plot.dispatchEvent(new PointerEvent("pointermove", at));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def watch(args: argparse.Namespace) -> None:
    """Many who look on: an appended call on twelve open pages, the API beside 50 streams, a pointer over a large chart."""
    from playwright.sync_api import sync_playwright

    with appending(args.home) as (connection, token, calls), sync_playwright() as playwright:

        def time_api(name: str) -> None:
            path = "/api/usage?from=30d&by=model"
            connection.close()  # the server has, where nobody asked for a while
            ms = sorted(get(connection, token, path)[0] for _ in range(100))
            print(f"API, {name}: median {ms[50]:.1f} ms, p95 {ms[95]:.1f} ms")

        def time_pages(name: str) -> None:
            for tab in tabs:
                tab.wait_for_selector(".live.is-live")
                tab.evaluate(NOTE)
            written = list(calls())
            time.sleep(3)
            seen = [tab.evaluate("changes") for tab in tabs]
            lags = [next((ms for ms in one if ms >= at), math.inf) - at for one in seen for at in written]  # fmt: skip
            print(f"append to page, {name}: median {statistics.median(lags):.0f} ms, max {max(lags):.0f} ms over {len(lags)}")  # fmt: skip

        time_api("nobody looks on")
        streams = [http.client.HTTPConnection(connection.host, connection.port) for _ in range(50)]
        for stream in streams:
            stream.request("GET", "/api/stream", headers={"Authorization": f"Bearer {token}"})
            if stream.getresponse().status != 200:
                sys.exit("a stream was refused")
        time_api("50 streams")
        browser = playwright.chromium.launch(
            executable_path=os.environ["CLAWMETER_CHROMIUM"], args=["--no-sandbox"]
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        url = f"http://{connection.host}:{connection.port}"
        tabs = [context.new_page()]
        tabs[0].goto(f"{url}/#token={token}")
        time_pages("1 page")
        while len(tabs) < 12:
            tabs.append(context.new_page())
            tabs[-1].goto(url)
        time_pages("12 pages")
        time_api("50 streams and 12 pages")
        for tab in tabs[1:]:
            tab.close()
        tabs[0].goto(f"{url}/#/cost?range=all&by=hour&drawn=lines")
        tabs[0].wait_for_selector("[data-chart=cost] .plot")
        time.sleep(2)
        hours = len(json.loads(get(connection, token, "/api/usage?from=all&by=hour")[1])["rows"])
        frames = sorted(tabs[0].evaluate(SWEEP, ["cost", 400]))
        print(
            f"pointer over the chart of {hours:,} hours by model: median {statistics.median(frames):.0f} ms a frame, "
            f"p95 {frames[int(len(frames) * 0.95)]:.0f} ms, max {frames[-1]:.0f} ms"
        )
        browser.close()
        for stream in streams:
            stream.close()


def page(args: argparse.Namespace) -> None:
    """The weight of the first page."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(args.home, Path(folder)) as (connection, token, process, first),
    ):
        time.sleep(3)
        print(f"start to first answer {first:.2f} s, RSS {process.memory_info().rss / 1e6:.0f} MB")
        index = get(connection, token, "/")[1].decode()
        paths = [
            "/",
            *dict.fromkeys(re.findall(r'(?:href|src)="(/assets/[^"]+)"', index)),
            "/api/overview?from=30d",
        ]
        sizes = [len(gzip.compress(get(connection, token, p)[1], 6)) for p in paths]
        print(f"first page: {len(paths)} requests, {sum(sizes) / 1000:.1f} kB gzipped")


#: Goes to a page by its link in the rail; the milliseconds until its numbers are drawn.
GO = """(page) => new Promise((done) => {
  const began = performance.now();
  document.querySelector(`#rail a[href^="#/${page}"]`).click();
  const watcher = new MutationObserver(() => {
    const isThere = document.querySelector(`#rail a[aria-current="page"][href^="#/${page}"]`) && document.querySelector("main .grid:not([data-key=skeleton]) .num, main .grid:not([data-key=skeleton]) td");
    if (!isThere) return;
    watcher.disconnect();
    setTimeout(() => done(performance.now() - began)); // after this frame has been laid out and painted
  });
  watcher.observe(document.body, { subtree: true, childList: true, attributes: true });
})"""
#: Scrolls like a wheel, 120 px a frame for `frames` frames; the milliseconds of each.
SCROLL = """(frames) => new Promise((done) => {
  const list = document.querySelector("[data-window]");
  const took = [];
  let before = performance.now();
  const step = (now) => {
    took.push(now - before);
    before = now;
    if (took.length >= frames) { done(took.slice(1)); return; }
    list.scrollTop += 120;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def browse(args: argparse.Namespace) -> None:
    """Page changes, and the frames of scrolling a list of sessions and a transcript."""
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        serving(args.home, Path(folder)) as (connection, token, _, _),
        sync_playwright() as playwright,
    ):
        while b"ready" not in get(connection, token, "/readyz")[1][:20]:
            time.sleep(0.1)
        rows = json.loads(get(connection, token, "/api/sessions?sort=message_count&limit=1")[1])
        chromium = os.environ["CLAWMETER_CHROMIUM"]
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        url = f"http://{connection.host}:{connection.port}"
        tab.goto(f"{url}/#token={token}")
        tab.wait_for_selector(".figure-number")
        time.sleep(5)  # the other pages are fetched when nothing else is to do
        pages = [
            href.split("/")[1].split("?")[0]
            for href in tab.locator("#rail a").evaluate_all(
                "all => all.map((a) => a.getAttribute('href'))"
            )
            if href and href.startswith("#/")  # pages that are still to come have none
        ]
        took: dict[str, list[float]] = {page: [] for page in pages}
        for _ in range(6):
            for page in [*pages[1:], pages[0]]:
                took[page].append(tab.evaluate(GO, page))
                time.sleep(0.7)
        print("page change, first / then median:")
        for page, ms in took.items():
            print(f"  {page} {ms[0]:.0f} / {statistics.median(ms[1:]):.0f} ms, max {max(ms):.0f}")
        for name, address in (
            ("sessions", "#/sessions?range=all"),
            ("transcript", f"#/session/{rows[0]['id']}?tab=transcript"),
        ):
            tab.goto(f"{url}/{address}")
            tab.wait_for_selector("main .grid:not([data-key=skeleton])")
            time.sleep(2)
            frames = sorted(tab.evaluate(SCROLL, 400))
            slow = sum(ms > 50 for ms in frames)
            print(
                f"scrolling {name}: median {statistics.median(frames):.0f} ms, p95 {frames[int(len(frames) * 0.95)]:.0f} ms, "
                f"max {frames[-1]:.0f} ms, {slow} of {len(frames)} frames over 50 ms"
            )
        browser.close()


def main() -> None:
    """Run one of the measurements."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation has its bytecode
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    sub = commands.add_parser("homes")
    sub.add_argument("dir", type=Path)
    sub.add_argument("--large", action="store_true")
    sub.set_defaults(run=make_homes)
    for name, run in (
        ("cold", cold),
        ("serve", serve),
        ("fresh", fresh),
        ("watch", watch),
        ("page", page),
        ("browse", browse),
    ):
        sub = commands.add_parser(name)
        sub.add_argument("home", type=Path)
        if name == "cold":
            sub.add_argument("--peers", type=Path)
            sub.add_argument("--runs", type=int, default=7)
        sub.set_defaults(run=run)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
