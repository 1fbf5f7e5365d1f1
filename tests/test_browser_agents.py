"""The Agents page, memory files and sub-agents in a real Chromium; with a real OpenClaw as well."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from browsers import axe_complaints, overflow
from handmade import HandmadeHome, call, header, user
from served import Served, wait_until
from test_browser_sessions import HOSTILE, Tab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import lab

pytestmark = pytest.mark.browser

NOW = int(time.time() * 1000)
PLAIN = HOSTILE.replace("\ud83d", "")
MARKDOWN = f"""\ufeff# A title {PLAIN}

Some **bold** text, `code`, a [place](https://evil.invalid/a?x="y") and ![a picture](https://evil.invalid/p.png).
<https://evil.invalid/auto> https://evil.invalid/bare <!-- told to nobody -->

- one {PLAIN}
  - two
- [x] done
1. first

> said by somebody

| a | b |
|---|---|
| 1 | 2 |

```sh
rm -rf / # {PLAIN}
```
hid\u200bden and \u202eturned, a \U0001f469\u200d\U0001f4bb is none
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents")


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[Served]:
    """Three agents: one at work with a sub-agent and hostile files, one that never ran, one that is gone."""
    import clawmeter

    workspace = root / "w"
    entries = {
        "main": {"default": True, "workspace": str(workspace), "model": "acme/acme-1", "identity": {"name": HOSTILE}},
        "quiet": {"workspace": str(root / "none"), "heartbeat": {"every": "30m"}},
    }  # fmt: skip
    home = HandmadeHome(root / "home", agents={"entries": entries}, channels={"telegram": {}})
    home.write("top", [header("top", NOW - 5000), user("u", NOW - 5000), call("a", NOW - 4000, cost=0.5, tools=["exec"])])  # fmt: skip
    home.write("kid", [header("kid", NOW - 3000), user("k", NOW - 3000), call("b", NOW - 2000, cost=0.25, tools=["read"])])  # fmt: skip
    home.write("gone", [header("gone", NOW - 10**8), call("c", NOW - 10**8, cost=2.0)], agent="gone")  # fmt: skip
    home.index({
        "agent:main:main": "top",
        "agent:main:subagent:kid": {"sessionId": "kid", "spawnedBy": "agent:main:main", "label": "helper"},
    })  # fmt: skip
    run = {"runId": "r", "childSessionKey": "agent:main:subagent:kid", "requesterSessionKey": "agent:main:main", "task": f"Look it up {HOSTILE}", "createdAt": NOW - 3500}  # fmt: skip
    (home.state / "subagents").mkdir()
    (home.state / "subagents" / "runs.json").write_text(json.dumps({"version": 2, "runs": {"r": run}}))  # fmt: skip
    (workspace / "memory").mkdir(parents=True)
    (workspace / "SOUL.md").write_text(MARKDOWN, encoding="utf-8")
    (workspace / "USER.md").write_text("")
    (workspace / "MEMORY.md").symlink_to(home.state / "openclaw.json")
    for day in range(1, 29):
        (workspace / "memory" / f"2026-10-{day:02d}.md").write_text(f"# Day {day}\n")
    settings = clawmeter.Settings(state_dir=root / "state", homes=(home.path,), time_zone="UTC", gateway=False, port=0)  # fmt: skip
    made = Served(clawmeter.Clawmeter(settings, env={"HOME": str(root)}))
    wait_until(lambda: made.get("/api/agents")["rows"], "the agents")
    made.home = home  # type: ignore[attr-defined]
    import shutil

    shutil.rmtree(home.state / "agents" / "gone")
    yield made
    made.stop()


@pytest.fixture
def tab(browser: Any, served: Served) -> Iterator[Tab]:
    made = Tab(browser, served, color_scheme="light")
    yield made
    made.close()


def test_the_list(tab: Tab) -> None:
    tab.go("#/agents?range=all", ".agent-list")
    rows = [tab.page.evaluate("e => e.innerText", row) for row in tab.page.query_selector_all(".agent-list tbody tr")]  # fmt: skip
    assert len(rows) == 3
    assert "deleted" in rows[0]
    assert "$2.00" in rows[0]
    assert "Running" in rows[1]
    assert "every 30\u00a0m" in rows[2]
    assert "3 agents · $2.75" in tab.text(".panel-head")
    assert not tab.page.query_selector(".agent-list img, .agent-list script")
    tab.page.keyboard.press("g")
    tab.page.keyboard.press("a")
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".agent-head")
    assert "#/agents/main" in tab.page.url


def test_a_memory_file_is_text_and_nothing_else(tab: Tab) -> None:
    tab.go("#/agents/main", ".files")
    tab.page.click("text=SOUL.md")
    view = tab.page.wait_for_selector(".file-text")
    assert view
    assert tab.page.evaluate("() => window.hacked") is None
    allowed = {"P", "UL", "LI", "B", "CODE", "PRE", "BLOCKQUOTE", "SPAN", "MARK", "HR"}
    tags = set(tab.page.evaluate("e => [...e.querySelectorAll('*')].map((one) => one.nodeName)", view))  # fmt: skip
    assert tags <= allowed, tags - allowed
    assert tab.page.evaluate("e => [...e.querySelectorAll('*')].flatMap((one) => [...one.attributes].map((a) => a.name)).every((n) => ['class', 'title', 'role', 'aria-level'].includes(n))", view)  # fmt: skip
    text = tab.page.evaluate("e => e.textContent", view)
    for shown in ("<script>window.hacked=1</script>", 'place (https://evil.invalid/a?x="y")', "Image: a picture (https://evil.invalid/p.png)",
                  "<!-- told to nobody -->", "☑ done", "1. first", "| 1 | 2 |", "hidU+200Bden", "U+202Eturned", "\U0001f469\u200d\U0001f4bb is none"):  # fmt: skip
        assert shown in text, shown
    assert "cannot be seen" in tab.text(".file-notice")
    heading = tab.page.query_selector(".file-text [role=heading]")
    assert heading
    assert "A title" in str(heading.text_content())
    tab.page.click("text=Source")
    assert "# A title" in tab.text(".file-source")
    assert tab.page.evaluate("() => window.hacked") is None
    assert not tab.page.query_selector("main a[href^=http], main img")


def test_files_that_are_not_opened_say_so(tab: Tab, served: Served) -> None:
    tab.go("#/agents/main", ".files")
    line = tab.page.query_selector(".is-refused")
    assert line
    assert "MEMORY.md" in str(line.text_content())
    assert "link" in str(line.inner_html())
    assert not line.query_selector("a")
    tab.go("#/agents/main?file=MEMORY.md", "text=could not be read")
    token = json.loads((served.home.state / "openclaw.json").read_text())  # type: ignore[attr-defined]
    assert token["agents"]
    assert '"entries"' not in tab.text("main")
    tab.go("#/agents/main?file=USER.md", "text=This file is empty.")
    tab.go(
        "#/agents/main?file=../home/.openclaw/openclaw.json", "text=not the name of a memory file"
    )
    tab.go("#/agents/quiet", "text=cannot list")
    tab.go("#/agents/gone?range=all", "text=its workspace is not known")
    tab.go("#/agents/nobody", "text=There is no such agent")


def test_a_file_that_changes_is_read_again(tab: Tab, served: Served, root: Path) -> None:
    (root / "w" / "memory" / "2026-10-28.md").write_text("# As it was\n")
    tab.go("#/agents/main?file=memory/2026-10-28.md", "text=As it was")
    (root / "w" / "memory" / "2026-10-28.md").write_text("# As it is\n")
    served.home.write("more", [header("more", NOW), call(f"m{NOW}", NOW, cost=0.01)])  # type: ignore[attr-defined]
    tab.page.wait_for_selector("text=As it is")


def test_a_sub_agent_in_a_session_and_under_its_parent(tab: Tab) -> None:
    tab.go("#/overview", "[data-key=now] tbody")
    tab.wait("() => document.querySelector('[data-key=now] [data-key=kid] .task') !== null")
    assert "Look it up" in tab.text("[data-key=now] [data-key=kid]")
    order = tab.page.evaluate("() => [...document.querySelectorAll('[data-key=now] tbody tr')].map((one) => one.dataset.key)")  # fmt: skip
    assert order.index("kid") == order.index("top") + 1
    tab.go("#/session/top", "[data-key=below] tbody tr")
    below = tab.text("[data-key=below] tbody tr")
    assert "helper" in below
    assert "acme-1" in below
    tab.page.click("[data-key=below] a")
    tab.page.wait_for_selector("text=Its task:")
    assert tab.page.evaluate("() => window.hacked") is None


@pytest.mark.parametrize("width", [390, 1440, 2560])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_width(browser: Any, served: Served, width: int, scheme: str) -> None:
    tab = Tab(browser, served, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for address, ready in (("#/agents?range=all", ".agent-list"), ("#/agents/main?file=SOUL.md", ".file-text"), ("#/session/top", "[data-key=below]")):  # fmt: skip
        tab.go(address, ready)
        tab.wait("() => !document.querySelector('.is-waiting')")
        assert axe_complaints(tab.page) == [], address
        assert overflow(tab.page) == [], address
    tab.close()


def test_chinese(browser: Any, served: Served) -> None:
    tab = Tab(browser, served, locale="zh-CN")
    tab.go("#/agents/main", "text=记忆文件")
    tab.go("#/agents", "text=最近活动")
    tab.close()


# --- with a real OpenClaw ---------------------------------------------------------------------------


@pytest.mark.openclaw
def test_a_sub_agent_of_a_real_openclaw(openclaw_starter: Any, meter_factory: Any, browser: Any) -> None:  # fmt: skip
    """It appears under its parent while it runs, and has its status, tokens and cost afterwards."""
    real: lab.RealOpenClaw = openclaw_starter()
    served = Served(meter_factory(real.home, gateway=True))
    tab = Tab(browser, served)
    tab.page.wait_for_selector("main .grid, main .empty")
    wait_until(lambda: served.meter.gateway_state.status == "connected", "the gateway", 60)
    gateway = real.client()
    task = json.dumps({"task": "be slow, please [[slow:8]] [[text:SUBDONE it is]]", "label": "slow-one"})  # fmt: skip
    task = task.replace("]]", "\\u005d]")  # or the directive around it would end here
    gateway.call("agent", {
        "message": f"spawn [[tool:sessions_spawn {task}]] [[text:spawned]]", "idempotencyKey": str(uuid.uuid4()), "sessionKey": "agent:main:spawner",
    }, timeout=60)  # fmt: skip

    def child() -> Any:
        rows = served.get("/api/subagents")
        return rows[0] if rows else None

    running = wait_until(lambda: (row := child()) and row["run_state"] == "running" and row["parent_session"] and row, "a running sub-agent", 90)  # fmt: skip
    name = f'[data-key=now] tr[data-key="{running["id"]}"]'
    tab.wait(f"() => document.querySelector('{name} .state.is-running') !== null")
    order = tab.page.evaluate("() => [...document.querySelectorAll('[data-key=now] tbody tr')].map((one) => one.dataset.key)")  # fmt: skip
    assert order.index(running["id"]) == order.index(running["parent_session"]) + 1
    assert "slow-one" in tab.text(name)
    assert "be slow, please" in tab.text(name)

    done = wait_until(lambda: (row := child()) and row["run_state"] == "done" and row["model_calls"] and row, "the end of it", 90)  # fmt: skip
    tab.wait(f"() => document.querySelector('{name} .state.is-ended') !== null")
    assert "Done" in tab.text(name)
    assert done["total_tokens"] > 0
    assert done["cost_nano_usd"] > 0
    assert done["runtime_ms"] >= 5000
    parent = served.get(f"/api/sessions/{done['parent_session']}")
    assert parent["tree_cost_nano_usd"] >= parent["cost_nano_usd"] + done["cost_nano_usd"]
    tools = {one["tool"]: one for one in parent["tools"]}
    assert (tools["sessions_spawn"]["calls"], tools["sessions_spawn"]["errors"]) == (1, 0)
    assert "tool_call" not in tools
    rows = {r["id"]: r for r in served.get("/api/agents")["rows"]}
    assert {"main", "ops", "claude"} <= set(rows)
    assert rows["main"]["workspace"] == str(real.state / "workspace")
    tab.close()
    served.stop()
