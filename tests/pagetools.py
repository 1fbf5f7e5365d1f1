"""The page's files on disk, at the lines they have in clawmeter.py, and the tools that check them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from homes import TESTS

import clawmeter

UI_TESTS = TESTS / "ui"


def need(tool: str) -> str:
    """The path of a tool, or a skipped test."""
    found = shutil.which(tool)
    if not found:
        pytest.skip(f"{tool} is not installed")
    return found


def first_line(text: str) -> int:
    """The line of clawmeter.py on which a literal begins."""
    source = Path(clawmeter.__file__).read_text(encoding="utf-8")
    at = source.index(f'r"""{text}"""')
    return source.count("\n", 0, at) + 1


def write_assets(folder: Path) -> Path:
    """Write the page's files and their tests into a folder.

    Blank lines come before each, so that a tool's "line 12345" is the line in clawmeter.py.
    """
    (folder / "assets").mkdir(parents=True)
    for name, (_, text) in clawmeter.ASSETS.items():
        padding = "\n" * (first_line(text) - 1)
        (folder / "assets" / name).write_text(padding + text, encoding="utf-8")
    for path in UI_TESTS.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def npm_folder() -> Path:
    """A folder with the packages of tests/ui/package.json; installed once and kept."""
    npm = need("npm")
    wanted = (UI_TESTS / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "clawmeter-tests" / f"npm-{hashlib.sha256(wanted).hexdigest()[:12]}"
    with clawmeter.lock_file(folder.with_name(f"{folder.name}.lock")):  # tests run in two processes
        if not (folder / "done").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_bytes(wanted)
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(
                [npm, "install", *options], cwd=folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"npm install failed: {done.stderr.strip()[-300:]}")
            (folder / "done").touch()
    return folder
