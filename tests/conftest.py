"""Fixtures of the whole suite.

Homes come from three places: made ones with exact truth (tests/corpus), trees that real OpenClaw
versions left (tests/data), and a real OpenClaw that runs during the test (tests/openclaw).
"""

from __future__ import annotations

import functools
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lab
import pytest
from browsers import open_browser
from homes import FIXTURES, TESTS, HomeFactory, MadeHome

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Browser

MeterFactory = Any
IN_CI = os.environ.get("CLAWMETER_CI") == "1"

# --- a skipped test is a failed one in CI --------------------------------------------------------


def _fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A skip in CI means that .ci/run forgot to install something: nobody would look at it."""
    if IN_CI and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped with CLAWMETER_CI=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_skipped(report)
    return report


# --- two processes -------------------------------------------------------------------------------


@functools.cache
def _needs_openclaw(path: str) -> bool:
    return "openclaw_starter" in (TESTS.parent / path).read_text()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure at once: a run that is cut off says nothing at its end."""
    if IN_CI and report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\nfailed: {report.nodeid} ({report.when})\n{report.longreprtext[-3000:]}", flush=True)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those with a real OpenClaw first: they take long, most of it waiting."""
    items.sort(key=lambda item: not _needs_openclaw(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together, and so do all with a real OpenClaw: there is one at a time."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = super()._split_scope(nodeid)
            return "openclaw" if _needs_openclaw(path) else path

    return Scheduler(config, log)


# --- a browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all: Playwright allows one at a time in a process."""
    yield from open_browser()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a module leaves open is found at its end, not in the middle of some later test."""
    yield
    gc.collect()


# --- homes ---------------------------------------------------------------------------------------


def _fingerprint(root: Path) -> dict[str, tuple[int, int]]:
    # A reader of a WAL database marks its place in the -shm file; that is all it may change.
    stats = ((p, p.stat()) for p in root.rglob("*") if p.is_file() and not p.name.endswith("-shm"))
    return {str(p.relative_to(root)): (s.st_size, s.st_mtime_ns) for p, s in stats}


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, ...], Path]]:
    """Homes made so far, by the arguments they were made with. Nobody may write into them."""
    made: dict[tuple[str, ...], Path] = {}
    prints: dict[Path, dict[str, tuple[int, int]]] = {}

    class Cache(dict[tuple[str, ...], Path]):
        def __missing__(self, arguments: tuple[str, ...]) -> Path:
            out = tmp_path_factory.mktemp("corpus")
            script = str(TESTS / "corpus" / "make_home.py")
            command = [sys.executable, script, str(out), *arguments]
            subprocess.run(command, check=True, capture_output=True, text=True)
            self[arguments] = made[arguments] = out
            prints[out] = _fingerprint(out)
            return out

    yield Cache()
    for arguments, out in made.items():
        assert _fingerprint(out) == prints[out], f"a test wrote into the shared home {arguments}"


@pytest.fixture
def home_factory(tmp_path: Path, corpus_cache: dict[tuple[str, ...], Path]) -> HomeFactory:
    """Make homes: home_factory("sqlite", seed=3, traps="none", leave_wal=True).

    The options are those of make_home.py. The home is a copy of the test's own; `copy=False` gives
    the one that all tests share, for tests that only read (a write fails the run at its end).
    """

    def make(era: str, *, copy: bool = True, **options: Any) -> MadeHome:
        # The 20 MB line is a test of its own; in all others it would only cost time.
        options = {"huge_bytes": 300_000, **options}
        arguments = ["--era", era]
        for name, value in sorted(options.items()):
            flag = f"--{name.replace('_', '-')}"
            if value is True:
                arguments.append(flag)
            elif value is not False:
                arguments += [flag, str(value)]
        path = corpus_cache[tuple(arguments)]
        truth = json.loads((path / "truth.json").read_text(encoding="utf-8"))
        if copy:
            number = sum(1 for p in tmp_path.iterdir() if p.name.startswith("home-"))
            path = Path(shutil.copytree(path, tmp_path / f"home-{number}", symlinks=True))
        return MadeHome(path, truth)

    return make


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """A small home of the current era, all traps on, the test's own."""
    return home_factory("sqlite", sessions=12, messages=300)


@pytest.fixture
def truth(home: MadeHome) -> dict[str, Any]:
    """What is true about `home`."""
    return home.truth


@pytest.fixture
def real_homes(tmp_path: Path) -> Any:
    """Copies of the trees that real OpenClaw versions left: real_homes("2026.9.6") -> Path."""
    return lambda version: Path(shutil.copytree(FIXTURES / version, tmp_path / version))


# --- a real OpenClaw -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openclaw_starter(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """Start a real OpenClaw: openclaw_starter(version, bind="lan") -> lab.RealOpenClaw, up and undriven."""
    reason = lab.missing()
    if reason:
        pytest.skip(f"no real OpenClaw: {reason}")
    started: list[lab.RealOpenClaw] = []

    def start(version: str = lab.VERSION, **options: Any) -> lab.RealOpenClaw:
        # Not below pytest's own directory: OpenClaw puts a socket into its home, and the path of a
        # socket has at most 107 bytes.
        real = lab.RealOpenClaw(tmp_path_factory.mktemp("oc"), version, **options)
        started.append(real)
        real.up()
        return real

    # One at a time on a machine: OpenClaws keep locks and leases in one temporary directory.
    with clawmeter.lock_file(Path(tempfile.gettempdir()) / "clawmeter-tests-openclaw.lock"):
        yield start
        for real in started:
            real.down()


# --- Clawmeter -----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[clawmeter.Store]:
    """An open, empty Store in a directory of its own."""
    settings = clawmeter.Settings(state_dir=tmp_path)
    lists = clawmeter.ListPrices()
    book = clawmeter.PriceBook(settings, [], lists)
    opened = clawmeter.Store(tmp_path / "ledger.db", book, opener=clawmeter.open_private)
    yield opened
    opened.close()
    lists.close()


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where list prices are kept between tests: asking for them takes longer than most tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def meter_factory(tmp_path: Path, cache_home: Path) -> Iterator[MeterFactory]:
    """Make Clawmeters: meter_factory(home, time_zone="UTC", ...) -> one that is not indexed yet."""
    made: list[clawmeter.Clawmeter] = []

    def make(
        *homes: Path, env: dict[str, str] | None = None, **options: Any
    ) -> clawmeter.Clawmeter:
        state = options.pop("state_dir", tmp_path / f"state-{len(made)}")
        # A machine with tests may have a gateway of its own on the usual port.
        options = {"time_zone": "UTC", "port": 0, "gateway": False, **options}
        settings = clawmeter.Settings(state_dir=state, homes=tuple(homes), **options)
        env = env or {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(cache_home)}
        made.append(clawmeter.Clawmeter(settings, env=env))
        return made[-1]

    yield make
    for meter in made:
        meter.stop()


@pytest.fixture
def meter(home: MadeHome, meter_factory: MeterFactory) -> clawmeter.Clawmeter:
    """A Clawmeter on `home`, indexed, not serving. Its clock stands at the home's now."""
    made = meter_factory(home.path)
    made.clock = made.queries.clock = lambda: home.truth["meta"]["now_ms"] / 1000
    made.index()
    return made


@pytest.fixture
def client(meter: clawmeter.Clawmeter) -> Any:
    """A Flask test client of `meter` that sends the dashboard token."""
    client = clawmeter.create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    return client


@pytest.fixture
def server_url(meter: clawmeter.Clawmeter) -> Iterator[str]:
    """The address of `meter` served for real, on a port of its own."""
    server = clawmeter.Server(meter)
    server.start()
    yield server.url
    server.stop()
