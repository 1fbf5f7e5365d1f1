"""The documents say what is the case."""

from __future__ import annotations

import re
import subprocess

import lab
from homes import ROOT


def ci_script() -> str:
    return (ROOT / ".ci" / "run").read_text()


def test_ci_runs_the_command_of_the_readme() -> None:
    found = re.search(r"^TEST_COMMAND=\"(.*)\"$", ci_script(), re.MULTILINE)
    assert found
    readme = (ROOT / "README.md").read_text().splitlines()
    assert found.group(1) in [line.strip().removeprefix("$ ") for line in readme]


def test_ci_script_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_version_of_openclaw_is_the_same_everywhere() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert lab.VERSION in workflow
    assert lab.VERSION in (ROOT / "tests" / "openclaw" / "README.md").read_text()
