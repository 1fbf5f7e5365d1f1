"""The Health page in a real Chromium: live log, filters, pause, reconciliation, the dot in the rail, hostile text."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Visitor, axe_complaints, overflow
from gateway_server import TOKEN, FakeGateway
from handmade import MINUTE, HandmadeHome, call, header, iso
from served import Served, wait_until
from test_health import ENTRY, run, state_database

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

DASHBOARD = "dashboard-token-of-the-test"
EVIL = (
    "</bdi></li><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\u202e\x1b[2J"
)
TODAY = time.strftime("%Y-%m-%d", time.gmtime())


@dataclass
class World:
    served: Served
    log: Path
    gateway: FakeGateway

    def write(self, text: str, level: str = "INFO", subsystem: str = "gateway/ws") -> None:
        """A new line of the log."""
        when, name = iso(int(time.time() * 1000)), json.dumps({"subsystem": subsystem})
        line = {"0": name, "_meta": {"logLevelName": level, "name": name}, "time": when, "message": text}  # fmt: skip
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("health")
    now = int(time.time() * 1000)
    log = root / "gateway.log"
    log.write_text("")
    home = HandmadeHome(root / "home", logging={"file": str(log)})
    refused = {"stopReason": "error", "errorMessage": f"429 {EVIL} rate limit of 5,000 tokens per minute"}  # fmt: skip
    home.write(
        "s1",
        [
            header("s1", now - 9 * MINUTE),
            call("a", now - 8 * MINUTE, (1000, 20, 0, 0), 0.01),
            call("b", now - 7 * MINUTE, (0, 0, 0, 0), 0.0, **refused),
            b'{"a line": "that is no',
        ],
    )
    run(state_database(home), ENTRY, ("outbound", "x", "failed", "telegram", 5, f"403 {EVIL}", now, now), ("outbound", "y", "pending", "slack", 1, None, now - 9 * MINUTE, None))  # fmt: skip
    gateway = FakeGateway()
    gateway.answers["sessions.usage"] = {
        "sessions": [{"agentId": "main", "sessionId": "other", "usage": None}],
        "aggregates": {"byAgent": [{"agentId": "main"}], "modelDaily": [{"date": TODAY, "provider": "acme", "model": EVIL, "tokens": 7, "cost": 0.5}]},
    }  # fmt: skip
    settings = clawmeter.Settings(
        state_dir=root / "state", homes=(home.path,), time_zone="UTC", port=0, token=DASHBOARD,
        gateway_url=gateway.url, gateway_token=TOKEN, limits={"acme": clawmeter.RateLimit(10, None)},
    )  # fmt: skip
    meter = clawmeter.Clawmeter(settings, env={"HOME": str(root)})
    served = Served(meter)
    wait_until(lambda: meter.gateway_state.status == "connected")
    made = World(served, log, gateway)
    made.write("the gateway is up")
    made.write(f"failed 1: {EVIL}", "ERROR", "agent")
    made.write("failed 2: token=abcdef123456", "ERROR", "agent")
    yield made
    served.stop()
    meter.stop()
    gateway.stop()


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Callable[..., Page]]:
    """visit(locale=…, viewport=…): the Health page of a logged-in visitor on which nothing may fail."""
    visitors: list[Visitor] = []

    def start(address: str = "#/health", **options: Any) -> Page:
        visitors.append(Visitor(browser, world.served.url, DASHBOARD, **options).log_in())
        page = visitors[-1].go(address)
        page.wait_for_selector("[data-key=log] ol li, [data-key=log] .nothing")
        visitors[-1].settle()
        return page

    yield start
    for visitor in visitors:
        assert visitor.page.evaluate("() => window.hacked") is None
        visitor.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


def expect(thing: Any) -> Any:
    from playwright.sync_api import expect as expect_

    return expect_(thing)


def test_line_on_top_says_what_is_wrong_and_the_rail_has_a_dot(visit: Callable[..., Page]) -> None:
    page = visit()
    line = page.locator("[data-key=state]")
    expect(line.get_by_role("status")).to_contain_text("things need attention")
    expect(line).to_contain_text("A message has waited 9 m")
    expect(line).to_contain_text("Messages of the last 7 days could not be delivered")
    expect(line).to_contain_text("1 line could not be read")
    page.goto(page.url.split("#")[0] + "#/overview")
    expect(page.locator(".rail-link[data-page=health] .rail-dot")).to_be_visible()
    expect(page.locator(".rail-link[data-page=health]")).to_contain_text("problem")


def test_panels_show_what_the_api_says(visit: Callable[..., Page], world: World) -> None:
    page = visit()
    expect(page.locator("[data-key=gateway]")).to_contain_text("Connected")
    expect(page.locator("[data-key=gateway]")).to_contain_text("2026.9.6")
    expect(page.locator("[data-key=machine]")).to_contain_text("Memory")
    expect(page.locator("[data-key=sources]")).to_contain_text("Transcripts")
    expect(page.locator("[data-key=sources] .faults")).to_contain_text("s1.jsonl")
    expect(page.locator("[data-key=delivery] tbody tr")).to_contain_text("outbound")
    rows = page.locator("[data-key=headroom] tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="acme-1")).to_contain_text("5.00")  # as the refusal says
    expect(rows.filter(has_text="all of acme")).to_contain_text("10")
    told = world.served.get("/api/headroom")["rows"]
    assert [row["rate_limited"] for row in told] == [1, 1]


def test_log_is_live_filtered_paused_and_without_secrets(visit: Callable[..., Page], world: World) -> None:  # fmt: skip
    page = visit()
    log = page.locator("[data-key=log]")
    lines = log.locator("ol li")
    expect(lines.filter(has_text="failed 2: token=[redacted]")).to_have_count(1)
    world.write("something new has happened")
    expect(lines.first).to_contain_text("something new has happened")
    log.get_by_role("button", name="Errors", exact=True).click()
    expect(lines).to_have_count(2)
    assert "level=error" in page.url
    log.locator("summary").click()
    expect(log.locator(".log-errors li").first).to_contain_text("agent")
    page.keyboard.press("p")
    expect(log).to_contain_text("paused")
    with page.expect_response("**/api/logs?*"):
        pass
    world.write("an error meanwhile", "ERROR")
    with page.expect_response("**/api/logs?*") as answer:
        pass
    assert len(answer.value.json()["lines"]) == 3
    expect(lines).to_have_count(2)
    page.keyboard.press("p")
    expect(lines).to_have_count(3)
    log.get_by_role("searchbox").fill("meanwhile")
    expect(lines).to_have_count(1)
    assert "find=meanwhile" in page.url
    page.go_back()
    expect(log.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")  # fmt: skip


def test_deep_link_and_subsystem(visit: Callable[..., Page]) -> None:
    page = visit("#/health?level=error&subsystem=agent")
    log = page.locator("[data-key=log]")
    expect(log.locator("ol li")).to_have_count(2)
    log.locator("select").select_option("gateway/ws")
    expect(log.locator("ol li .log-name").first).to_have_text("gateway/ws")


def test_reconciliation_is_made_when_asked_for(visit: Callable[..., Page], world: World) -> None:
    page = visit("#/health?range=7d")
    panel = page.locator("[data-key=reconciliation]")
    connection = world.gateway.connections[-1]
    before = connection.asked("sessions.usage")
    assert before == 0
    panel.get_by_role("button", name="Compare 7 days").click()
    table = panel.locator("tfoot").first
    expect(table).to_contain_text("Apart")
    assert connection.asked("sessions.usage") == 1
    expect(panel.locator("tbody tr", has_text="does not list any more")).to_contain_text("+1,020")
    expect(panel.locator("tr[data-key=rest]")).to_contain_text("−7")
    answer = world.served.get("/api/reconciliation", **{"from": "7d"})["total"]
    assert (answer["difference_tokens"], answer["rest_tokens"]) == (1020 - 7, -7)


def test_hostile_text_stays_text(visit: Callable[..., Page]) -> None:
    page = visit()
    page.get_by_role("button", name="Compare").click()
    page.locator("[data-key=reconciliation] tfoot").first.wait_for()
    assert page.locator("main script, main img").count() == 0
    expect(page.locator("[data-key=delivery] .faults")).to_contain_text("<script>window.hacked=1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_page_is_accessible_and_fits(visit: Callable[..., Page], scheme: str, width: int) -> None:
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.locator("[data-key=log] summary").click()
    page.get_by_role("button", name="Compare").click()
    page.locator("[data-key=reconciliation] tfoot").first.wait_for()
    assert axe_complaints(page) == []
    assert overflow(page) == []
    if folder := os.environ.get("CLAWMETER_SHOTS"):
        page.screenshot(path=f"{folder}/health-{width}-{scheme}.png", full_page=True)


def test_chinese(visit: Callable[..., Page]) -> None:
    page = visit(locale="zh-CN")
    expect(page.locator("[data-key=headroom] h2")).to_have_text("提供方余量")
    expect(page.locator("[data-key=state]")).to_contain_text("项需要注意")
    expect(page.locator("[data-key=state]")).to_contain_text("有消息已等待投递 9 分")
    # A whole sentence of the server, with what is wrong and what it did about it.
    expect(page.locator("[data-key=state]")).to_contain_text(re.compile(r"有 1 行无法读取；最后一行：\S+ line \d+：不是 JSON.*；已跳过"))  # fmt: skip


def test_numbers_come_again_by_themselves(visit: Callable[..., Page], world: World) -> None:
    """Without any event of the stream: the machine is measured every few seconds."""
    page = visit()
    seen: list[str] = []
    page.on("response", lambda r: seen.append(r.url) if "/api/system-health" in r.url else None)
    wait_until(lambda: page.wait_for_timeout(100) or len(seen) >= 2, "two more measurements")
    assert world.served.meter.system.read()["ts_ms"] > 0
