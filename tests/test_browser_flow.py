"""The Flow page and the live rows of Overview in a real Chromium, with a gateway that says what the test wants."""

from __future__ import annotations

import random
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
from browsers import PATIENCE_MS, Visitor, axe_complaints, overflow
from gateway_server import TOKEN, FakeGateway, agent_event, end, start, tool
from handmade import MINUTE, HandmadeHome, append, call, header, result, user
from playwright.sync_api import expect
from served import Served, wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
CHANNELS = "telegram discord slack whatsapp signal matrix imessage webchat email sms line viber teams zulip irc mastodon nostr twitch zalo feishu".split()  # fmt: skip
LIVE = {"sessionKey": "agent:agent-0:telegram:direct:1", "sessionId": "s0"}


def now_ms() -> int:
    return int(time.time() * 1000)


def write_home(path: Path) -> HandmadeHome:
    """20 channels, 30 agents, 20 models, 60 tools; the later ones of each are used less."""
    home = HandmadeHome(path)
    rng = random.Random(5)
    begin = now_ms() - 5 * 24 * 60 * MINUTE
    for a in range(30):
        agent, sid = f"agent-{a}", f"s{a}"
        entries: list[Any] = [header(sid, begin), user(f"{sid}-u", begin)]
        for n in range(40 - a):
            when = begin + n * 9 * MINUTE
            tools = [f"tool-{min(int(rng.paretovariate(0.7)) - 1, 59)}" for _ in range(rng.randrange(3))]  # fmt: skip
            model = min(int(rng.paretovariate(0.9)) - 1, 19)
            entries.append(call(f"{sid}-c{n}", when, (900, 90, n * 1000, 0), rng.random(), tools=tools, provider="acme", model=f"model-{model}"))  # fmt: skip
            entries += [result(f"{sid}-r{n}-{i}", when + 900, name, failed=rng.random() < 0.2) for i, name in enumerate(tools)]  # fmt: skip
        # So that each exists, however rarely it is drawn.
        when = begin + 2 * 24 * 60 * MINUTE
        entries.append(call(f"{sid}-last", when, tools=[f"tool-{a}", f"tool-{a + 30}"], provider="acme", model=f"model-{a % 20}"))  # fmt: skip
        home.write(sid, entries, agent=agent)
        channel = CHANNELS[a % 20]
        home.index({f"agent:{agent}:{channel}:direct:1": {"sessionId": sid, "channel": channel}}, agent=agent)  # fmt: skip
    return home


class World:
    """A home with many of everything, its server and its gateway."""

    def __init__(self, root: Path) -> None:
        self.home = write_home(root / "home")
        self.gateway = FakeGateway()
        self.gateway.hello["policy"]["tickIntervalMs"] = 300_000  # it never ticks
        settings = clawmeter.Settings(state_dir=root / "state", homes=(self.home.path,), time_zone="UTC", port=0, gateway_url=self.gateway.url, gateway_token=TOKEN)  # fmt: skip
        self.served = Served(clawmeter.Clawmeter(settings, env={"HOME": str(root), "XDG_CACHE_HOME": str(root)}))  # fmt: skip
        self.connection = self.gateway.client()
        wait_until(lambda: self.served.meter.gateway_state.capabilities.get("sessions.list"))

    def answer(self) -> dict[str, Any]:
        return dict(self.served.get("/api/flow"))

    def stop(self) -> None:
        self.served.stop()
        self.gateway.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("flow"))
    yield made
    made.stop()


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Callable[..., Page]]:
    """visit("#/flow", viewport=…): a page that is logged in; at the end, nothing may have failed on it."""
    visitors: list[Visitor] = []

    def start(address: str = "#/flow", **options: Any) -> Page:
        visitors.append(Visitor(browser, world.served.url, world.served.meter.access.load_token(), **options))  # fmt: skip
        return visitors[-1].log_in().go(address)

    yield start
    for visitor in visitors:
        visitor.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


def address(page: Page) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(page.url).fragment)


def card(page: Page, node: str) -> Any:
    return page.locator(f'.flow-card[data-key="{node}"]')


def words_of(page: Page, node: str) -> str:
    """What a card is called for those who do not see it."""
    return str(card(page, node).locator("[aria-label]").get_attribute("aria-label"))


@pytest.mark.parametrize("width", [390, 800, 1440, 2560])
def test_many_of_everything_stay_readable(visit: Any, world: World, width: int) -> None:
    page = visit(viewport={"width": width, "height": 900})
    page.wait_for_selector(".flow-card")
    assert page.locator(".flow-head").all_text_contents() == ["Channels 20", "Gateway", "Agents 30", "Models 20", "Tools 60"]  # fmt: skip
    shown = 3 if width == 390 else 10
    for kind, count in (("channel", 20), ("agent", 30), ("model", 20), ("tool", 60)):
        assert page.locator(f".flow-card.is-{kind}").count() == shown + 1
        assert f"and {count - shown} more" in words_of(page, f"more:{kind}")  # fmt: skip
    assert overflow(page) == []
    # No text is wider than its card.
    assert page.evaluate("""() => [...document.querySelectorAll(".flow-card")].filter((card) => {
        const box = card.querySelector(".flow-box").getBoundingClientRect();
        return [...card.querySelectorAll("text")].some((one) => { const r = one.getBoundingClientRect(); return r.left < box.left || r.right > box.right; });
    }).map((card) => card.textContent.trim())""") == []  # fmt: skip


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}])  # fmt: skip
def test_axe_has_nothing_to_say(visit: Any, options: dict[str, Any]) -> None:
    page = visit(**options)
    page.wait_for_selector(".flow-card")
    assert axe_complaints(page) == []
    page.click("text=Show table")
    page.wait_for_selector("table.grid-table")
    assert axe_complaints(page) == []
    page.goto(page.url.replace("#/flow", "#/overview"))
    page.wait_for_selector('[data-key="now"]')
    assert axe_complaints(page) == []


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_all_of_them_can_be_shown(visit: Any, key: str) -> None:
    page = visit()
    card(page, "more:tool").focus()
    page.keyboard.press(key)
    page.wait_for_selector('.flow-card[data-key="tool:tool-59"]')
    expect(page.locator(".flow-card")).to_have_count(20 + 1 + 30 + 20 + 60)
    page.click("text=Show the largest")
    page.wait_for_selector('.flow-card[data-key="more:tool"]')


def test_a_click_opens_the_numbers_of_just_that(visit: Any, world: World) -> None:
    page = visit("#/flow?range=7d")
    node = next(n for n in world.answer()["nodes"] if n["id"] == "agent:agent-0")
    card(page, "agent:agent-0").click()
    page.wait_for_selector(".chip")
    assert address(page) == "/cost?range=7d&agent=agent-0"
    page.wait_for_function("n => document.querySelector('main tfoot .num')?.textContent.includes(n)", arg=f"{node['model_calls']:,}")  # fmt: skip
    page.go_back()
    page.locator('a.flow-edge[data-key="agent:agent-0>model:acme/model-0"]').dispatch_event("click")
    page.wait_for_selector(".chip >> nth=1")
    assert address(page) == "/cost?range=7d&agent=agent-0&model=acme/model-0"


def test_the_keyboard_goes_from_card_to_card(visit: Any) -> None:
    page = visit()
    page.wait_for_selector(".flow-card")
    page.locator(".flow-card").first.focus()

    def focused() -> str:
        return str(page.evaluate("document.activeElement.dataset.key"))

    first = focused()
    page.keyboard.press("ArrowDown")
    assert focused() != first
    page.keyboard.press("ArrowUp")
    assert focused() == first
    page.keyboard.press("ArrowRight")
    assert focused() == "gateway:"
    page.keyboard.press("ArrowRight")
    assert focused().startswith("agent:")
    page.wait_for_function("() => document.querySelector('[data-flow-tip]').textContent.includes('Messages')")  # fmt: skip
    page.keyboard.press("Enter")
    page.wait_for_selector(".chip")
    assert address(page).startswith("/cost?agent=agent-")


def test_the_tooltip_and_the_table_have_the_numbers_of_the_api(visit: Any, world: World) -> None:
    answer = world.answer()
    page = visit()
    node = next(n for n in answer["nodes"] if n["id"] == "tool:tool-0")
    card(page, "tool:tool-0").hover()
    tip = page.locator("[data-flow-tip]")
    tip.get_by_text("Tool calls").wait_for()
    words = tip.inner_text().split("\n")
    assert [w for w in words if w.startswith("Errors")] == [f"Errors\t{node['errors']}"]
    assert f"Tool calls\t{node['tool_calls']}" in words
    box, frame = tip.bounding_box(), page.locator(".flow").bounding_box()
    assert frame["x"] <= box["x"]
    assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    page.mouse.move(5, 5)
    page.wait_for_function("() => !document.querySelector('[data-flow-tip]').textContent")
    page.click("text=Show table")
    page.wait_for_selector("table.grid-table")
    assert page.locator("main tbody >> nth=0 >> tr").count() == len(answer["nodes"])
    line = page.locator('tr[data-key="agent:agent-3"]').inner_text()
    agent = next(n for n in answer["nodes"] if n["id"] == "agent:agent-3")
    assert f"{agent['model_calls']}" in line.split()
    page.locator('tr[data-key="agent:agent-3"] >> text=Show').click()
    page.wait_for_selector(".chip")
    assert address(page) == "/sessions?agent=agent-3"


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_events_pulse_where_they_happen_and_stand_still_for_who_wants_that(visit: Any, world: World, motion: str) -> None:  # fmt: skip
    page = visit(reduced_motion=motion)
    page.wait_for_selector(".flow-card")
    page.evaluate("""() => {
        window.pulses = new Set();
        new MutationObserver((changes) => changes.forEach((c) => c.addedNodes.forEach((n) => window.pulses.add(n.dataset.of + "|" + getComputedStyle(n).animationName))))
            .observe(document.querySelector(".pulses"), { childList: true });
    }""")  # fmt: skip

    def pulsed() -> dict[str, str]:
        return dict(one.rsplit("|", 1) for one in page.evaluate("[...window.pulses]"))

    still = motion == "reduce"
    # An answer that is read from disk: what has grown since the last look.
    path = next((world.home.state / "agents" / "agent-0" / "sessions").glob("s0.jsonl"))
    append(path, [call(f"new-{motion}", now_ms(), tools=["tool-0"], provider="acme", model="model-0")])  # fmt: skip
    wait_until(lambda: {"channel:telegram", "gateway:>agent:agent-0", "agent:agent-0>model:acme/model-0", "model:acme/model-0>tool:tool-0", "tool:tool-0"} <= pulsed().keys(), "its way")  # fmt: skip
    assert "agent:agent-1" not in pulsed()
    assert {"none"} == set(pulsed().values()) if still else "none" not in pulsed().values()
    # A word of the gateway: which tool runs now.
    page.wait_for_function("() => !document.querySelector('.pulse')")  # one at a time on each
    page.evaluate("window.pulses.clear()")
    about = {**LIVE, "runId": f"r-{motion}", "ts": now_ms()}
    world.connection.say(start(**about), agent_event("lifecycle", {"phase": "model", "provider": "acme", "model": "model-1"}, **about), tool("start", "tool-1", **about))  # fmt: skip
    wait_until(lambda: {"agent:agent-0", "model:acme/model-1>tool:tool-1", "tool:tool-1"} <= pulsed().keys(), "the run")  # fmt: skip
    page.wait_for_selector('.flow-card[data-key="tool:tool-1"] .flow-live')
    assert "1 running" in words_of(page, "agent:agent-0")
    world.connection.say(end(**{**about, "ts": now_ms() + 1}))
    page.wait_for_function("() => !document.querySelector('.flow-live')")
    page.wait_for_function("() => !document.querySelector('.pulse')")


def test_nodes_of_the_gateway_come_and_go(visit: Any, world: World) -> None:
    page = visit()
    page.wait_for_selector(".flow-card")
    phone = {"host": "Phone", "platform": "ios", "roles": ["node"], "deviceId": "d1", "reason": "connect"}  # fmt: skip
    world.connection.say({"type": "event", "event": "presence", "payload": {"presence": [phone]}})
    card(page, "node:d1").wait_for()
    assert "Phone" in (card(page, "node:d1").text_content() or "")
    world.connection.say({"type": "event", "event": "presence", "payload": {"presence": []}})
    card(page, "node:d1").wait_for(state="detached")


def test_a_range_without_calls_says_so(visit: Any) -> None:
    page = visit("#/flow?range=2020-01-01..2020-01-02")
    page.wait_for_selector("main .nothing")
    assert "Nothing went through" in page.inner_text("main")


def test_chinese(visit: Any) -> None:
    page = visit(locale="zh-CN")
    page.wait_for_selector(".flow-card")
    assert page.locator(".flow-head").first.text_content() == "渠道 20"


# --- Overview ------------------------------------------------------------------------------------


def test_a_live_session_says_what_it_does_now(visit: Any, world: World) -> None:
    page = visit("#/overview")
    row = page.locator('[data-key="now"] tr[data-key="s0"]')

    def sees(*words: str) -> None:
        wait_until(lambda: row.count() and all(w in row.inner_text() for w in words), f"{words}")

    began = now_ms() - 65_000
    about = {**LIVE, "runId": "r-live", "ts": now_ms()}
    world.connection.say(agent_event("lifecycle", {"phase": "start", "startedAt": began}, **about))
    sees("Running", "Waiting", "1\xa0m")  # of the run, not of the session, which is days old
    row_of_list = {"key": LIVE["sessionKey"], "sessionId": "s0", "totalTokens": 62_000, "contextTokens": 100_000, "activeModel": "model-7", "activeModelProvider": "acme"}  # fmt: skip
    world.connection.say({"type": "event", "event": "sessions.changed", "payload": {**row_of_list, "sessionKey": LIVE["sessionKey"]}})  # fmt: skip
    world.connection.say(agent_event("thinking", {"text": "hm"}, **about))
    sees("Thinking", "model-7", "62\xa0%")
    world.connection.say(tool("start", "web_search", **about))
    sees("web_search")
    world.connection.say(tool("result", "web_search", **about), agent_event("run_status", {"phase": "retrying"}, **about))  # fmt: skip
    sees("Retrying")
    world.connection.say(agent_event("lifecycle", {"phase": "end", "aborted": True}, **{**about, "ts": now_ms() + 1}))  # fmt: skip
    sees("Aborted")


def test_the_gateway_is_one_quiet_line(visit: Any, world: World) -> None:
    page = visit("#/overview")
    line = page.locator('[data-key="now"] [data-key="gateway"]')
    line.wait_for()
    assert line.inner_text().startswith("Gateway: OpenClaw 2026.9.6 · up ")
    assert "event loop" in line.inner_text()
    world.connection.say({"type": "event", "event": "gateway.suspension", "payload": {"phase": "draining"}})  # fmt: skip
    line.get_by_text("suspended, takes no new work").wait_for()
    world.connection.say({"type": "event", "event": "gateway.suspension", "payload": {"phase": "accepting"}})  # fmt: skip
    line.get_by_text("suspended").wait_for(state="detached", timeout=PATIENCE_MS)


def test_without_a_gateway_it_is_a_line_too_and_no_alarm(browser: Browser, tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    home = HandmadeHome(tmp_path / "home")
    now = now_ms()
    home.write("s", [header("s", now - MINUTE), user("u", now - MINUTE), call("c", now - 50_000), user("u2", now - 40_000)])  # fmt: skip
    gone = FakeGateway()
    gone.stop()
    served = Served(meter_factory(home.path, gateway=True, gateway_url=gone.url, gateway_token=TOKEN))  # fmt: skip
    try:
        visitor = Visitor(browser, served.url, served.meter.access.load_token()).log_in()
        page = visitor.go("#/overview")
        page.get_by_text("Gateway not running: what runs is told from the transcripts.").wait_for()
        assert page.locator('[data-key="attention"], .notice').count() == 0
        assert "1 session running, inferred" in page.inner_text('[data-key="now"]')
        visitor.close()
        assert visitor.faults == []
    finally:
        served.stop()
