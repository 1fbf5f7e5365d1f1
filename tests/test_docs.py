"""The documents say what is the case."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from typing import TYPE_CHECKING

import lab
from homes import ROOT

import clawmeter

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


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


# --- the README says what the code does ----------------------------------------------------------


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def table(first_head: str) -> list[dict[str, str]]:
    """The rows of the README's table whose first column has this head."""
    lines = iter(readme().splitlines())
    for line in lines:
        if line.startswith(f"| {first_head} |"):
            heads = cells(line)
            next(lines)
            out = []
            for row in lines:
                if not row.startswith("|"):
                    return out
                out.append(dict(zip(heads, cells(row), strict=True)))
    raise AssertionError(f"no table of {first_head}")


def cells(line: str) -> list[str]:
    return [c.replace("\\|", "|").strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def default_in_words(setting: clawmeter.Setting) -> str:
    match setting.default:
        case True:
            return "on"
        case None | False | ():
            return "—"
        case value:
            return f"`{value}`"


def test_readme_has_every_setting_as_the_code_has_it() -> None:
    told = [
        (quoted(row["name in clawmeter.toml"]), quoted(row["environment"]), row["kind"], row["default"], row["meaning"])
        for row in table("name in clawmeter.toml")
    ]  # fmt: skip
    assert told == [
        ([s.name], list(s.env), s.kind, default_in_words(s), s.help) for s in clawmeter.SETTINGS
    ]


def test_defaults_of_the_table_are_those_of_the_settings(tmp_path: Path) -> None:
    """Two places of the code, and what a program without any setting gets."""
    bare = clawmeter.load_settings({"state_dir": str(tmp_path)}, {})
    fields = {f.name: f for f in dataclasses.fields(clawmeter.Settings)}
    for setting in clawmeter.SETTINGS:
        if setting.name != "state_dir":
            assert fields[setting.name].default == setting.default, setting.name
            assert getattr(bare, setting.name) == setting.default, setting.name


def test_table_of_settings_in_the_example_can_be_loaded(tmp_path: Path) -> None:
    """The clawmeter.toml of the README is a valid one."""
    (example,) = re.findall(r"```toml\n(.*?)```", readme(), re.DOTALL)
    (tmp_path / "clawmeter.toml").write_text(example, encoding="utf-8")
    settings = clawmeter.load_settings({"state_dir": str(tmp_path)}, {})
    assert settings.time_zone == "Europe/Berlin"
    assert set(settings.prices["acme/acme-large"].prices) == set(clawmeter.PRICE_FIELDS)
    assert settings.prices["acme/acme-large"].tiers[0][0] == 200_000
    assert (settings.plan_providers, settings.metered_providers) == (("openai-codex",), ())


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [a for a in clawmeter.build_parser()._actions if a.dest == "command"]
    return dict(action.choices or {})  # type: ignore[arg-type]


def test_readme_has_every_command() -> None:
    words = {w for row in table("command") for q in quoted(row["command"]) for w in q.split()[1:2]}
    assert words == set(subcommands())


def test_options_in_the_readme_exist() -> None:
    known = {o for sub in subcommands().values() for a in sub._actions for o in a.option_strings}
    known |= {"--scope", "--version"}
    named = {o for text in quoted(readme()) for o in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
    assert named <= known


def test_groupings_of_the_readme_are_those_of_the_code() -> None:
    (told,) = re.findall(r"`--by` is one of `([^`]+)`", readme())
    assert told.split() == list(clawmeter.BY)


def test_exit_statuses_of_the_readme_are_those_of_the_code() -> None:
    assert f"{clawmeter.EXIT_BUSY} another Clawmeter has the ledger" in readme()


def test_readme_has_every_route_of_the_api() -> None:
    described = {
        f"{method.upper()} {path}": operation["summary"]
        for path, operations in clawmeter.describe_api()["paths"].items()
        for method, operation in operations.items()
        if method in {"get", "post", "delete", "put", "patch"}
    }
    told = {quoted(row["path"])[0]: row["gives"] for row in table("path")}
    assert {path: told.get(path) for path in described} == described
    routes = {f"{r.method} {r.path}" for r in clawmeter.ROUTES}
    assert set(told) <= routes


def test_readme_names_the_views_and_tables_of_the_ledger(store: clawmeter.Store) -> None:
    with store.reading() as db:
        rows = db.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')")
        names = {name: kind for name, kind in rows if not name.startswith("sqlite_")}
        columns = [r[1] for r in db.execute("PRAGMA table_info(usage_events)")]
    views = {quoted(row["view"])[0]: row["one row per"] for row in table("view")}
    assert set(views) == {name for name, kind in names.items() if kind == "view"}
    events = [c.strip(" …") for c in quoted(views["usage_events"])[0].split(",")]
    assert set(filter(None, events)) <= set(columns)
    (behind,) = re.findall(r"Tables behind them: (.*)", readme())
    assert set(quoted(behind)) <= {name for name, kind in names.items() if kind == "table"}


def test_names_of_the_environment_are_settings() -> None:
    """In the README, the example file and SECURITY.md."""
    known = {name for s in clawmeter.SETTINGS for name in s.env}
    homes = {"OPENCLAW_STATE_DIR", "OPENCLAW_HOME", "OPENCLAW_AGENTS_DIR"}
    for name in ("README.md", ".env.example", "SECURITY.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = set(re.findall(r"\b(?:CLAWMETER|OPENCLAW|BUDGET)_[A-Z_]+\b", text))
        of_tests = {"CLAWMETER_CI", "CLAWMETER_CHROMIUM"} if name == "CONTRIBUTING.md" else set()
        assert named <= known | homes | of_tests, name


def test_example_of_the_environment_can_be_loaded(tmp_path: Path) -> None:
    """With every line switched on: names are real, values are of the right kind."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = [re.sub(r"^#(?=[A-Z_]+=)", "", line) for line in text.splitlines()]
    names = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))
    known = {name for s in clawmeter.SETTINGS for name in s.env}
    assert set(names) <= known | {"OPENCLAW_STATE_DIR", "OPENCLAW_HOME"}
    token = tmp_path / "token"
    token.write_text("a" * 40)
    lines = [re.sub(r"^(CLAWMETER_TOKEN_FILE)=.*", rf"\1={token}", line) for line in lines]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    settings = clawmeter.load_settings({"state_dir": str(tmp_path)}, {})
    assert (settings.port, settings.lan, settings.time_zone) == (3377, True, "Europe/Berlin")
    assert (settings.budget_daily_usd, settings.budget_monthly_usd) == (5.0, 100.0)
    assert settings.allowed_hosts == ("meter.example.org",)
    assert settings.token == "a" * 40


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", readme()):
        if "://" not in target:
            assert (ROOT / target).exists(), target
