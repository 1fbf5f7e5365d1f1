"""Measure what listening to a gateway costs: how soon a frame is on the page, and what a storm of frames does.

    python bench/gateway.py HOME [--seconds 60] [--rate 500] [--page overview|flow]

A gateway made for tests (tests/gateway_server.py) speaks to a Clawmeter on a copy of HOME; a Chromium, named by
$CLAWMETER_CHROMIUM, looks at it. While the storm lasts, calls are appended to a transcript: none may be missing afterwards.
Figures and machine: bench/README.md. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import ROOT, get, serving

# The gateway of the tests speaks frames as real ones do.
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "corpus"), str(ROOT / "tests" / "openclaw")]  # fmt: skip
from gateway_server import TOKEN, FakeGateway, agent_event, encode  # noqa: E402
from served import Events, wait_until  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil

SESSIONS = 20
PAGES = 50
IDLE_S = 30
Json = dict[str, Any]


class Storm(threading.Thread):
    """Sends the frames of SESSIONS sessions that all answer, think and use tools, so many a second, until it is told to stop."""

    def __init__(self, gateway: FakeGateway, keys: list[str], rate: int, numbers: Iterator[int]) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self.connection, self.keys, self.rate, self.numbers = gateway.client(len(gateway.connections)), keys, rate, numbers  # fmt: skip
        self.stopping = threading.Event()
        self.sent = 0
        self.random = random.Random(4)

    def frame(self, n: int) -> Json:
        """The n-th frame: mostly text as it is written, now and then a tool or the end of a run."""
        key = self.keys[n % len(self.keys)]
        turn, step = divmod(n // len(self.keys), 50)
        about = {"runId": f"{key}-{turn}", "sessionKey": key, "ts": int(time.time() * 1000)}
        if step == 0:
            return agent_event("lifecycle", {"phase": "start", "startedAt": about["ts"]}, **about)
        if step == 49:
            return agent_event("lifecycle", {"phase": "end"}, **about)
        if step % 7 == 3:
            return agent_event("tool", {"phase": "start", "name": self.random.choice(("exec", "read", "web_fetch")), "toolCallId": f"{turn}-{step}"}, **about)  # fmt: skip
        if step % 7 == 5:
            return agent_event("tool", {"phase": "result", "name": "x", "toolCallId": f"{turn}-{step - 2}"}, **about)  # fmt: skip
        return agent_event("assistant", {"text": "so it goes " * step, "delta": "so it goes "}, **about)  # fmt: skip

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopping.wait(0.05):
            due = int((time.monotonic() - began) * self.rate)
            frames = [{**self.frame(n), "seq": next(self.numbers)} for n in range(self.sent, due)]
            self.connection.raw(b"".join(encode(json.dumps(f).encode()) for f in frames))
            self.sent = due

    def stop(self) -> None:
        self.stopping.set()
        self.join()


class Watched:
    """A Clawmeter that runs, seen from outside."""

    def __init__(self, connection: Any, token: str, process: psutil.Process) -> None:
        self.connection, self.token, self.process = connection, token, process
        self.url = f"http://{connection.host}:{connection.port}"

    def ask(self, path: str) -> Any:
        self.connection.close()  # an idle one is closed by the server
        return json.loads(get(self.connection, self.token, path)[1])

    def frames(self) -> Json:
        return dict(self.ask("/api/health")["gateway"]["frames"])

    def calls(self) -> int:
        return int(self.ask("/api/usage?from=all&by=month")["totals"]["model_calls"])

    @contextlib.contextmanager
    def cpu(self, what: str) -> Iterator[None]:
        """Say how much of a core the process used meanwhile."""
        before, at = sum(self.process.cpu_times()[:2]), time.perf_counter()
        yield
        used, took = sum(self.process.cpu_times()[:2]) - before, time.perf_counter() - at
        print(f"{what}: {100 * used / took:.2f} % of a core")


@contextlib.contextmanager
def window(url: str, token: str, page: str) -> Iterator[Any]:
    """A page in Chromium, logged in; None without a Chromium."""
    chromium = os.environ.get("CLAWMETER_CHROMIUM")
    if not chromium:
        print("no Chromium: what happens on the page is not measured")
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(f"{url}/#token={token}")
        tab.wait_for_selector(".rail")
        tab.goto(f"{url}/#/{page}")
        tab.wait_for_selector("main .grid:not([data-key=skeleton])")
        yield tab
        browser.close()


#: Notes when a tool is first named in the list of what runs now.
NOTE_TOOLS = """() => {
  window.seen = {};
  new MutationObserver(() => {
    for (const [name] of document.querySelector('[data-key="now"]')?.textContent.matchAll(/probe_\\d+/g) ?? []) window.seen[name] ??= Date.now();
  }).observe(document.querySelector("main"), { childList: true, subtree: true, characterData: true });
}"""
#: Notes how long each frame of the screen took.
NOTE_FRAMES = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const next = (now) => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""


def spread(values: list[float], unit: str) -> str:
    ordered = sorted(values)
    return f"median {statistics.median(ordered):.1f} {unit}, p95 {ordered[int(len(ordered) * 0.95)]:.1f} {unit}, worst {ordered[-1]:.1f} {unit}"  # fmt: skip


def measure_delay(tab: Any, gateway: FakeGateway, key: str, numbers: Iterator[int]) -> None:
    """From a frame on the wire to its words on Overview."""
    tab.evaluate(NOTE_TOOLS)
    delays = []
    for n in range(40):
        about = {"runId": "probe", "sessionKey": key, "ts": int(time.time() * 1000)}
        sent = time.time() * 1000
        gateway.client(len(gateway.connections)).say(
            agent_event("tool", {"phase": "start", "name": f"probe_{n}", "toolCallId": f"p{n}"}, seq=next(numbers), **about)
        )  # fmt: skip
        wait_until(lambda n=n: tab.evaluate("name => window.seen[name]", f"probe_{n}"))
        delays.append(tab.evaluate("name => window.seen[name]", f"probe_{n}") - sent)
        time.sleep(random.uniform(0.2, 0.6))
    gateway.client(len(gateway.connections)).say(agent_event("lifecycle", {"phase": "end"}, seq=next(numbers), runId="probe", sessionKey=key))  # fmt: skip
    print(f"frame to page: {spread(delays, 'ms')} over {len(delays)} frames")


def measure_storm(tab: Any, clawmeter: Watched, storm: Storm, home: Path, seconds: int) -> None:
    """Frames for so many seconds: what they cost, what the page does, and whether the ledger has all."""
    before, calls = clawmeter.frames(), clawmeter.calls()
    if tab:
        tab.evaluate(NOTE_FRAMES)
    append = [sys.executable, str(ROOT / "tests" / "corpus" / "append.py"), str(home), "--rate", "5", "--count", str(5 * seconds)]  # fmt: skip
    writer = subprocess.Popen(append, stdout=subprocess.DEVNULL)
    with clawmeter.cpu(f"{storm.rate} frames and 5 calls a second for {seconds} s"):
        storm.start()
        if tab:
            tab.wait_for_timeout(seconds * 1000)
        else:
            time.sleep(seconds)
        storm.stop()
    writer.wait()
    wait_until(lambda: clawmeter.frames()["received"] - before["received"] >= storm.sent, "all frames")  # fmt: skip
    wait_until(lambda: clawmeter.calls() - calls >= 5 * seconds, "all calls")
    after = clawmeter.frames()
    lost = {name: after[name] - before[name] for name in ("malformed", "out_of_order", "gaps", "ignored")}  # fmt: skip
    print(f"sent {storm.sent}, received {after['received'] - before['received']}, not used: {lost}; calls in the ledger {clawmeter.calls() - calls} of {5 * seconds}")  # fmt: skip
    if tab:
        frames = tab.evaluate("window.frames_ms")
        print(f"page: {1000 * len(frames) / sum(frames):.1f} frames a second, {spread(frames, 'ms')}, {sum(f > 50 for f in frames)} longer than 50 ms")  # fmt: skip


def measure_pages(clawmeter: Watched, gateway: FakeGateway, key: str, numbers: Iterator[int]) -> None:  # fmt: skip
    """Many pages at once: connections to the gateway, and how long until the last of them knows."""
    headers = {"Authorization": f"Bearer {clawmeter.token}"}
    pages = [Events(clawmeter.url, headers) for _ in range(PAGES)]
    sent = time.perf_counter()
    about = {"runId": "many", "sessionKey": key, "ts": int(time.time() * 1000)}
    gateway.client(len(gateway.connections)).say(agent_event("tool", {"phase": "start", "name": "to_all", "toolCallId": "many"}, seq=next(numbers), **about))  # fmt: skip
    wait_until(lambda: all(any(e["tool"] == "to_all" for e in page.of("session")) for page in pages))  # fmt: skip
    took = (time.perf_counter() - sent) * 1000
    open_now = sum(not c.is_over.is_set() for c in gateway.connections)
    print(f"{PAGES} pages: {open_now} connection to the gateway, the last page knows after {took:.0f} ms")  # fmt: skip
    for page in pages:
        page.close()


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("home", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--page", choices=("overview", "flow"), default="overview")
    args = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    gateway = FakeGateway()
    gateway.hello["policy"]["tickIntervalMs"] = 300_000  # this one never ticks
    os.environ.update(CLAWMETER_GATEWAY_URL=gateway.url, OPENCLAW_GATEWAY_TOKEN=TOKEN)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(shutil.copytree(args.home, Path(folder) / "home", symlinks=True))
        with serving(home, Path(folder) / "state") as (connection, token, process, _):
            clawmeter = Watched(connection, token, process)
            wait_until(lambda: b"ready" in get(connection, token, "/readyz")[1][:20])
            gateway.client()
            rows = clawmeter.ask(f"/api/sessions?limit={SESSIONS}")
            keys = [row["key"] for row in rows if row["key"]]
            time.sleep(5)
            with clawmeter.cpu(f"nothing happens, gateway connected, {IDLE_S} s"):
                time.sleep(IDLE_S)
            numbers = itertools.count(1)
            measure_pages(clawmeter, gateway, keys[0], numbers)
            if os.environ.get("CLAWMETER_CHROMIUM"):
                with window(clawmeter.url, token, "overview") as tab:
                    measure_delay(tab, gateway, keys[0], numbers)
            with window(clawmeter.url, token, args.page) as tab:
                measure_storm(tab, clawmeter, Storm(gateway, keys, args.rate, numbers), home, args.seconds)  # fmt: skip
    gateway.stop()


if __name__ == "__main__":
    main()
