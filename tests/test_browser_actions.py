"""Acting from the page: the dialog that shows what will be sent, its failures, pausing, and the list of what was done."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Visitor, axe_complaints
from gateway_server import TOKEN, FakeGateway, start
from handmade import T0, HandmadeHome, call, header, user
from served import Served, wait_until
from test_actions import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
KEY = "agent:main:main"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway()
    made.hello = {**made.hello, "features": {"methods": ["sessions.abort"], "events": []}}
    made.answers["sessions.abort"] = {"ok": True, "abortedRunId": "r1", "status": "aborted"}
    yield made
    made.stop()


class Desk:
    """A page of a Clawmeter that listens to the gateway; a run is under way."""

    def __init__(self, served: Served, gateway: FakeGateway, visitor: Visitor) -> None:
        self.served, self.gateway, self.visitor = served, gateway, visitor
        self.page = visitor.page

    def dialog(self) -> Any:
        return self.page.locator("#confirm")

    def sent(self) -> list[tuple[str, Any]]:
        """What the gateway was asked by connections other than the first."""
        return [(r["method"], r["params"]) for c in self.gateway.connections[1:] for r in c.requests if r["method"] != "connect"]  # fmt: skip


@pytest.fixture
def desk_for(browser: Browser, gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> Iterator[Any]:  # fmt: skip
    made: list[Any] = []

    def make(scope: str = "full", **options: Any) -> Desk:
        home = HandmadeHome(tmp_path / f"home-{len(made)}", gateway={"port": gateway.port, "auth": {"token": TOKEN}})  # fmt: skip
        home.write("s1", [header("s1"), user("m1", T0), call("c1", T0 + 1000)])
        home.index({KEY: "s1"})
        served = Served(meter_factory(home.path, gateway=True))
        state = served.meter.gateway_state
        wait_until(lambda: state.status == "connected", "a connection")
        gateway.client(len(gateway.connections)).say(start(sessionId="s1"))
        wait_until(state.running, "the run")
        token = served.meter.access.load_token() if scope == "full" else served.meter.access.create_token("r", scope)[1]  # fmt: skip
        visitor = Visitor(browser, served.url, token, **options)
        made.extend((visitor, served))
        desk = Desk(served, gateway, visitor)
        visitor.log_in()
        return desk

    yield make
    for one in made:
        (one.close if isinstance(one, Visitor) else one.stop)()


def test_a_run_is_aborted_from_the_overview_and_nothing_is_sent_before(desk_for: Any) -> None:
    from playwright.sync_api import expect

    desk = desk_for()
    page: Page = desk.page
    button = page.get_by_role("button", name="Abort run main")
    button.click()
    dialog = desk.dialog()
    expect(dialog.get_by_role("heading")).to_have_text("Abort what runs in main?")
    expect(dialog.locator(".requests")).to_contain_text("sessions.abort")
    expect(dialog.locator(".requests")).to_contain_text('{"key":"agent:main:main"}')
    expect(dialog).to_contain_text(desk.gateway.url)
    assert desk.sent() == []
    assert axe_complaints(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    assert desk.sent() == []

    button.press("Enter")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Abort run").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#said")).to_have_text("Run aborted")
    assert desk.sent() == [("sessions.abort", {"key": KEY})]

    page.get_by_role("button", name="Actions").click()
    sheet = page.locator("#sheet")
    expect(sheet.locator("tbody tr")).to_have_count(1)
    expect(sheet.locator("tbody")).to_contain_text("Abort run")
    expect(sheet.locator("tbody")).to_contain_text("browser login")
    expect(sheet.locator("tbody")).to_contain_text("done")
    assert axe_complaints(page) == []
    assert desk.visitor.faults == []


def test_what_the_gateway_says_no_to_stays_to_be_read(desk_for: Any) -> None:
    from playwright.sync_api import expect

    desk = desk_for()
    words = "<img src=x onerror=alert(1)> not now"
    desk.gateway.answers["sessions.abort"] = {"error": {"code": "UNAVAILABLE", "message": words}}
    desk.visitor.go("#/session/s1")
    desk.page.get_by_role("button", name="Abort run").click()
    send = desk.dialog().get_by_role("button", name="Abort run")
    send.click()
    expect(desk.dialog().get_by_role("alert")).to_have_text(f"sessions.abort: {words}")
    expect(send).to_be_enabled()
    desk.gateway.answers["sessions.abort"] = {"ok": True, "abortedRunId": "r1"}
    send.click()
    expect(desk.dialog()).to_be_hidden()
    outcomes = [row["outcome"] for row in desk.served.get("/api/actions")]
    assert outcomes == ["ok", "refused"]
    # The 502 is the browser's own line.
    assert all("502" in fault for fault in desk.visitor.faults)


def test_a_refusal_is_seen_though_the_question_was_closed(desk_for: Any) -> None:
    from playwright.sync_api import expect

    desk = desk_for()
    is_closed = threading.Event()

    def refuse() -> Any:
        assert is_closed.wait(20)
        return {"error": {"code": "UNAVAILABLE", "message": "not now"}}

    desk.gateway.answers["sessions.abort"] = refuse
    desk.visitor.go("#/session/s1")
    desk.page.get_by_role("button", name="Abort run").click()
    desk.dialog().get_by_role("button", name="Abort run").click()
    # What is under way cannot be cancelled.
    desk.dialog().get_by_role("button", name="Close").click()
    expect(desk.dialog()).to_be_hidden()
    is_closed.set()
    expect(desk.dialog().get_by_role("alert")).to_have_text("sessions.abort: not now")


def test_a_gateway_is_paused_and_resumed(desk_for: Any, gateway: FakeGateway) -> None:
    from playwright.sync_api import expect

    jobs = Jobs(gateway, "morning", "review")
    jobs.rows["review"]["declarationKey"] = "skill-collection-review:main"
    desk = desk_for()
    page, dialog = desk.page, desk.dialog()
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(dialog.locator(".requests li")).to_have_count(3)
    expect(dialog).to_contain_text("OpenClaw lets nobody switch off its own jobs: Review.")
    dialog.get_by_role("button", name="Pause gateway").click()
    expect(dialog).to_be_hidden()
    assert [method for method, _ in desk.sent()] == ["cron.update", "set-heartbeats", "sessions.abort"]  # fmt: skip
    assert jobs.on() == {"review"}
    strip = page.get_by_label("Sources")
    expect(strip).to_contain_text(", paused,")
    jobs.rows["morning"]["name"] = "Evening"
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(dialog).to_contain_text("Morning was changed meanwhile and stays off.")
    dialog.get_by_role("button", name="Resume gateway").click()
    expect(dialog).to_be_hidden()
    expect(strip).not_to_contain_text(", paused,")
    assert jobs.on() == {"review"}
    assert desk.visitor.faults == []


def test_whoever_may_only_read_has_no_buttons_that_act(desk_for: Any) -> None:
    from playwright.sync_api import expect

    desk = desk_for("read")
    expect(desk.page.get_by_role("button", name="Actions")).to_be_visible()
    desk.page.wait_for_function("() => document.querySelector('tr .state-cell')")
    assert desk.page.locator("[data-action='abort-run'], [data-action='pause-gateway']").count() == 0  # fmt: skip
    desk.visitor.go("#/session/s1")
    assert desk.page.locator("[data-action='abort-run']").count() == 0
