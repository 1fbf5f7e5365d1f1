"""The pages beside a real gateway: sessions come and change before a person's eyes, through its death and back."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import lab
import pytest
from browsers import Visitor
from served import Served, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator

pytestmark = [pytest.mark.browser, pytest.mark.openclaw]
#: A real gateway starts, thinks and stops in its own time.
PATIENCE_S = 120.0


class Onlooker:
    """Somebody with Overview and Flow open in two tabs, who never reloads."""

    def __init__(self, browser: Browser, served: Served) -> None:
        self.served = served
        self.visitor = Visitor(browser, served.url, served.meter.access.load_token()).log_in()
        self.overview = self.visitor.go("#/overview")
        self.flow = self.visitor.context.new_page()
        self.flow.on("pageerror", lambda error: self.visitor.faults.append(str(error)))
        self.flow.goto(f"{served.url}/#/flow")
        for page in (self.overview, self.flow):
            page.evaluate("window.isThePageOfTheBeginning = true")

    def row(self, key: str) -> Locator:
        """The row of a session in Now, once it is there."""

        def found() -> str | None:
            rows = self.served.get("/api/overview")["live"]
            return next((r["id"] for r in rows if r["key"] == key), None)

        session = wait_until(found, f"{key} in the ledger", PATIENCE_S)
        return self.overview.locator(f'[data-key="now"] tr[data-key="{session}"]')

    def sees(self, place: Locator, *words: str) -> None:
        """Until a place of a page says all of these."""
        what = f"{words} on the page"
        wait_until(lambda: place.count() and all(w in (place.first.text_content() or "") for w in words), what, PATIENCE_S)  # fmt: skip

    def sees_none(self, place: Locator) -> None:
        wait_until(lambda: place.count() == 0, "its end on the page", PATIENCE_S)

    def leave(self) -> None:
        for page in (self.overview, self.flow):
            assert page.evaluate("window.isThePageOfTheBeginning")
        # What a tab says while its server or stream is away is the browser's, not the page's.
        assert [fault for fault in self.visitor.faults if "Failed to load resource" not in fault] == []  # fmt: skip
        self.visitor.close()


@pytest.fixture
def watch(browser: Browser, meter_factory: Any) -> Iterator[Callable[[lab.RealOpenClaw], Onlooker]]:
    made: list[Served] = []

    def make(real: lab.RealOpenClaw) -> Onlooker:
        made.append(Served(meter_factory(real.home, gateway=True)))
        return Onlooker(browser, made[-1])

    yield make
    for served in made:
        served.stop()


def follow_on_the_page(real: lab.RealOpenClaw, who: Onlooker, *, tells_tools: bool = True, can_suspend: bool = False) -> None:  # fmt: skip
    operator = lab.Operator(real)
    overview, flow = who.overview, who.flow
    gateway = overview.locator('p[data-key="gateway"]')
    who.sees(gateway, "Gateway: OpenClaw", "up ")

    key = "agent:main:live"
    operator.run('work [[tool:exec {"command":"sleep 15"}]] [[text:That was it.]]', key)
    row = who.row(key)
    who.sees(row, "Running", "main")
    if tells_tools:
        who.sees(row, "exec")
        who.sees(flow.locator('[data-key="tool:exec"]:has(.flow-live)'), "exec")
        who.sees(flow.locator('[data-key="agent:main"]:has([aria-label*="1 running"])'), "main")
    who.sees(row, "Idle", "Done")
    who.sees_none(flow.locator(".flow-live"))
    who.sees(flow.locator('[data-key="model:mock/mock-priced"]'), "mock-priced")

    if can_suspend:
        asked = operator.gateway.call(
            "gateway.suspend.prepare", {"requestId": str(uuid.uuid4()), "drain": True}
        )
        assert asked["status"] in ("ready", "draining")
        who.sees(gateway, "suspended, takes no new work")
        operator.gateway.call("gateway.suspend.resume", {"suspensionId": asked["suspensionId"]})
        wait_until(lambda: "suspended" not in gateway.inner_text(), "its end on the page", PATIENCE_S)  # fmt: skip

    task = json.dumps({"task": "be slow, please [[slow:8]] [[text:SUBDONE it is]]", "label": "slow-one"})  # fmt: skip
    task = task.replace("]]", "\\u005d]")  # or the directive around it would end here
    operator.run(f"spawn [[tool:sessions_spawn {task}]] [[text:spawned]]", "agent:main:spawner")
    parent = who.row("agent:main:spawner")
    child = parent.locator("xpath=following-sibling::tr[1]")
    who.sees(child, "Running", "slow-one")
    who.sees(child, "Done", "slow-one")

    # As a person does in the chat: 2026.2 aborts nothing else.
    operator.chat("be slow [[slow:100]] [[big:400]]", "agent:main:aborted")
    row = who.row("agent:main:aborted")
    who.sees(row, "Running", "Answering")
    row.get_by_role("button", name="Abort run").click()
    dialog = overview.locator("#confirm")
    who.sees(dialog, "agent:main:aborted", "abort")
    dialog.get_by_role("button", name="Abort run").click()
    who.sees(row, "Aborted")
    wait_until(lambda: not dialog.is_visible(), "its end on the page", PATIENCE_S)

    operator.run("be slow [[slow:100]] [[big:200]]", "agent:main:killed")
    row = who.row("agent:main:killed")
    who.sees(row, "Running", "Answering")
    real.kill_gateway()
    who.sees(gateway, "Gateway not running")
    # On older versions the file comes with the first answer: then the session goes with the gateway that knew it.
    assert not any("Answering" in text for text in row.all_text_contents())
    real.up()
    who.sees(gateway, "Gateway: OpenClaw")
    operator.connect()
    operator.run("once more [[slow:5]] [[text:one two three four five]]", key)
    row = who.row(key)
    who.sees(row, "Running", "Answering")
    who.sees(row, "Idle", "Done")
    who.leave()


def test_sessions_live_on_the_page_through_a_suspension_a_kill_and_a_restart(openclaw_starter: Any, watch: Any) -> None:  # fmt: skip
    real: lab.RealOpenClaw = openclaw_starter()
    follow_on_the_page(real, watch(real), can_suspend=True)


@pytest.mark.openclaw_all
@pytest.mark.parametrize("version", lab.OLD_VERSIONS)
def test_sessions_of_older_versions_live_on_the_page(openclaw_starter: Any, watch: Any, version: str) -> None:  # fmt: skip
    real: lab.RealOpenClaw = openclaw_starter(version)
    # 2026.2 tells of tools only those who started the run.
    follow_on_the_page(real, watch(real), tells_tools=version > "2026.4")
