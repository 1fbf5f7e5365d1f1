"""The Crons page in a real Chromium: on files, with a gateway that says what it is told to, and with a real OpenClaw."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Visitor, axe_complaints, overflow
from gateway_server import FakeGateway
from playwright.sync_api import expect
from served import Served, wait_until
from test_actions import home_of

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
Json = dict[str, Any]
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
EVIL = '"><img src=x onerror=window.hacked=1><script>window.hacked=1</script>'


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """visit(meter, "#/crons"): a page of a served Clawmeter, logged in."""
    made: list[tuple[Served, Visitor]] = []

    def open_page(meter: clawmeter.Clawmeter, address: str, **options: Any) -> Page:
        served = Served(meter)
        visitor = Visitor(browser, served.url, meter.access.load_token(), **options)
        made.append((served, visitor))
        visitor.log_in()
        return visitor.go(address)

    yield open_page
    for served, visitor in made:
        # That a request is refused is said on the console, too.
        assert [one for one in visitor.faults if "Failed to load resource" not in one] == []
        visitor.close()
        served.stop()


def job_of(name: str = "nightly", **more: Any) -> Json:
    """A job as cron.list of 2026.9.6 gives it."""
    return {
        "id": f"id-{name}", "agentId": "main", "name": name, "enabled": True, "createdAtMs": NOW_MS - 9 * HOUR_MS,
        "schedule": {"kind": "cron", "expr": "30 6 * * 1-5", "tz": "Europe/Berlin"}, "sessionTarget": "isolated", "wakeMode": "now",
        "payload": {"kind": "agentTurn", "message": "look after things", "toolsAllow": ["*"]}, "delivery": {"mode": "none"},
        "state": {"lastRunAtMs": NOW_MS - HOUR_MS, "lastRunStatus": "ok", "lastDurationMs": 2500}, "configRevision": f"sha256:{name}-1", **more,
    }  # fmt: skip


class Crons:
    """A gateway with cron jobs, as a fake: it lists what `jobs` holds, and takes every change."""

    def __init__(self, *jobs: Json) -> None:
        self.jobs = list(jobs)
        self.gateway = FakeGateway()
        self.gateway.answers |= {
            "cron.list": lambda: {"jobs": self.jobs}, "cron.runs": {"entries": []}, "cron.update": {"id": "x"}, "cron.remove": {"ok": True, "removed": True},
            "cron.add": {"id": "id-new"}, "cron.run": {"ok": True, "enqueued": True, "runId": "r-1"},
        }  # fmt: skip

    def sent(self, method: str) -> list[Json]:
        """The parameters with which a method was called."""
        return [r["params"] for c in self.gateway.connections for r in c.requests if r["method"] == method]  # fmt: skip

    def say(self, job: Json, action: str) -> None:
        """Announce a change on the connection that is listened to."""
        self.gateway.client().say({"type": "event", "event": "cron", "payload": {"jobId": job["id"], "action": action, "job": job}})  # fmt: skip


@pytest.fixture
def crons() -> Iterator[Crons]:
    made = Crons(job_of(), job_of("sweeper", schedule={"kind": "every", "everyMs": 1_800_000, "anchorMs": 0}))  # fmt: skip
    yield made
    made.gateway.stop()


@pytest.fixture
def meter(crons: Crons, tmp_path: Path, meter_factory: Any) -> clawmeter.Clawmeter:
    """A Clawmeter that listens to the gateway."""
    made: clawmeter.Clawmeter = meter_factory(home_of(tmp_path, crons.gateway), gateway=True)
    return made


def row(page: Page, name: str) -> Any:
    return page.locator(".cron-list tbody tr", has=page.get_by_role("link", name=name, exact=True))


def shown_requests(page: Page) -> list[tuple[str, Json]]:
    """What the confirmation says will be sent."""
    steps = page.locator("#confirm .requests li")
    steps.first.wait_for()
    return [(step.locator(".method").inner_text(), json.loads(step.locator("code").nth(1).inner_text())) for step in steps.all()]  # fmt: skip


def confirm(page: Page, button: str) -> None:
    page.locator("#confirm").get_by_role("button", name=button).click()
    page.locator("#confirm h2").wait_for(state="detached")


# --- on files ------------------------------------------------------------------------------------


def test_jobs_of_a_home_without_a_gateway(
    real_homes: Any, meter_factory: Any, visit: Callable[..., Page]
) -> None:
    page = visit(meter_factory(real_homes("2026.9.6")), "#/crons?range=all")
    own = page.locator('[data-key="jobs"]')
    expect(own.locator("tbody tr")).to_have_count(3)
    expect(row(page, "nightly")).to_contain_text("$0.0125")  # the first index is at its end
    assert "Changing a job needs the gateway" in own.inner_text()
    assert page.locator("[role=switch]").count() == 0
    assert re.search(r"every hour\s+paused\s+ok", row(page, "nightly").inner_text())
    assert page.locator('[data-key="built-in"] tbody tr').count() == 7
    assert axe_complaints(page) == []
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.locator(".cron-head h2", has_text=focused).wait_for()
    page.keyboard.press("u")
    page.wait_for_selector(".cron-list")


def test_a_job_has_its_runs_with_what_each_cost(
    real_homes: Any, meter_factory: Any, visit: Callable[..., Page]
) -> None:
    meter = meter_factory(real_homes("2026.6.11"))
    meter.index()
    job = next(j for j in meter.queries.crons()["jobs"] if j["name"] == "nightly")
    page = visit(meter, f"#/crons/{job['id']}?range=all")
    run = page.locator(".run-list tbody tr")
    run.first.wait_for()
    assert run.count() == 1
    assert "cron says hi" in run.inner_text()
    assert "$0.0529" in run.inner_text()
    assert "cron turn" in page.locator(".cron-text").inner_text()
    assert axe_complaints(page) == []
    run.get_by_role("link").click()
    page.wait_for_selector(".session-page")
    assert "Run of the cron job" in page.locator(".session-head").inner_text()


@pytest.mark.parametrize("width", [390, 820, 2560])
def test_no_width_makes_the_page_scroll_sideways(
    real_homes: Any, meter_factory: Any, visit: Callable[..., Page], width: int
) -> None:
    meter = meter_factory(real_homes("2026.9.6"))
    page = visit(meter, "#/crons?range=all", viewport={"width": width, "height": 900})
    assert overflow(page) == []
    row(page, "failing (paused)").get_by_role("link").click()
    page.wait_for_selector(".run-list")
    assert overflow(page) == []


def test_a_home_without_jobs_says_what_would_be_here(
    tmp_path: Path, meter_factory: Any, visit: Callable[..., Page]
) -> None:
    (tmp_path / ".openclaw" / "agents").mkdir(parents=True)
    page = visit(meter_factory(tmp_path), "#/crons")
    assert "No cron job yet" in page.locator('[data-key="none"]').inner_text()
    assert "openclaw cron add" in page.locator('[data-key="none"]').inner_text()


def test_chinese_says_schedules_in_chinese(
    real_homes: Any, meter_factory: Any, visit: Callable[..., Page]
) -> None:
    page = visit(meter_factory(real_homes("2026.9.6")), "#/crons", locale="zh-CN")
    assert "每天 03:00，UTC" in row(page, "sysev").inner_text()
    assert "每小时" in row(page, "nightly").inner_text()


def test_chinese_says_what_is_wrong_with_the_jobs_in_chinese(
    tmp_path: Path, meter_factory: Any, visit: Callable[..., Page]
) -> None:
    folder = tmp_path / ".openclaw" / "cron"
    folder.mkdir(parents=True)
    (tmp_path / ".openclaw" / "agents").mkdir()
    odd = {"id": "odd", "name": "odd", "schedule": {"kind": "cron", "expr": "at tea time", "tz": "UTC"}}  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps({"version": 1, "jobs": [None, odd]}))
    page = visit(meter_factory(tmp_path), "#/crons", locale="zh-CN")
    page.locator(".cron-note.is-warn", has_text="有一个定时任务不是对象").wait_for()
    row(page, "odd").locator("[title='不是 cron 表达式：at tea time']").wait_for()


# --- with a gateway ------------------------------------------------------------------------------


def test_pausing_a_job_sends_what_the_confirmation_says(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons")
    switch = row(page, "nightly").get_by_role("switch")
    switch.click()
    shown = shown_requests(page)
    assert shown == [("cron.update", {"id": "id-nightly", "patch": {"enabled": False}, "expectedConfigRevision": "sha256:nightly-1"})]  # fmt: skip
    assert crons.sent("cron.update") == []  # asked first
    assert axe_complaints(page) == []
    paused = job_of(enabled=False, configRevision="sha256:nightly-2")
    crons.gateway.answers["cron.update"] = lambda: crons.jobs.__setitem__(0, paused) or paused
    confirm(page, "Pause job")
    assert crons.sent("cron.update") == [shown[0][1]]
    page.locator('[role=switch][aria-checked="false"]').wait_for()
    assert meter.actions.listed()[0][0]["kind"] == "cron.disable"
    page.keyboard.press("Escape")


def test_a_cancelled_confirmation_sends_nothing(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Run now").wait_for()
    for key in ("x", "p", "d"):
        page.keyboard.press(key)
        shown_requests(page)
        page.keyboard.press("Escape")
        page.locator("#confirm h2").wait_for(state="detached")
    assert [r["method"] for c in crons.gateway.connections[1:] for r in c.requests] == []


def test_a_new_job_is_previewed_checked_and_sent_as_shown(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons")
    page.get_by_role("button", name="New cron job").wait_for()
    page.keyboard.press("n")
    form = page.locator(".cron-form")
    form.get_by_label("Name", exact=True).fill("Tea & cake")
    expression = form.get_by_label("Cron expression")
    expression.fill("61 * * * *")
    page.wait_for_selector(".cron-preview .is-bad")
    form.get_by_label("What the agent is told").fill("  remind me  ")
    form.get_by_role("button", name="Review the job").click()
    page.locator(".form-fault", has_text="cannot be computed").wait_for()
    expression.fill("0 16 * * *")
    form.get_by_label("Time zone").select_option("Asia/Tokyo")
    page.locator(".cron-preview b", has_text="at 16:00 every day, Asia/Tokyo").wait_for()
    assert page.locator(".cron-preview li").count() == 3
    assert "16:00:00 Asia/Tokyo" in page.locator(".cron-preview li").first.inner_text()
    form.get_by_label("Its answer is").select_option("announce")
    form.get_by_role("textbox", name="Channel").fill("last")
    assert axe_complaints(page) == []
    form.get_by_role("button", name="Review the job").click()
    [(method, job)] = shown_requests(page)
    assert method == "cron.add"
    assert job == {
        "name": "Tea & cake", "enabled": True, "schedule": {"kind": "cron", "expr": "0 16 * * *", "tz": "Asia/Tokyo"}, "sessionTarget": "isolated",
        "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "remind me"}, "delivery": {"mode": "announce", "channel": "last"},
    }  # fmt: skip
    crons.jobs.append({**job, "id": "id-new", "state": {}})
    confirm(page, "Create job")
    assert crons.sent("cron.add") == [job]
    page.locator(".cron-head h2", has_text="Tea & cake").wait_for()


def test_an_edit_sends_only_what_was_changed(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-sweeper")
    page.get_by_role("button", name="Edit").wait_for()
    page.keyboard.press("e")
    form = page.locator(".cron-form")
    assert form.get_by_label("Every").input_value() == "30"
    assert form.get_by_label("Unit").input_value() == "60000"
    form.get_by_label("Every").fill("45")
    page.locator(".cron-preview b", has_text="every 45 minutes").wait_for()
    form.get_by_role("button", name="Review the change").click()
    [(_, shown)] = shown_requests(page)
    assert shown["patch"] == {"schedule": {"kind": "every", "everyMs": 2_700_000}}
    confirm(page, "Change job")
    assert crons.sent("cron.update") == [shown]


def test_a_job_that_somebody_else_changed_is_not_overwritten(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Edit").wait_for()
    page.keyboard.press("e")
    page.locator(".cron-form").get_by_label("Name", exact=True).fill("mine")
    crons.jobs[0] = job_of(name="theirs", id="id-nightly", configRevision="sha256:theirs-2")
    page.locator(".cron-form").get_by_role("button", name="Review the change").click()
    shown_requests(page)
    page.locator("#confirm").get_by_role("button", name="Change job").click()
    page.wait_for_selector("#confirm .confirm-fault")
    assert "changed since you looked" in page.locator("#confirm .confirm-fault").inner_text()
    assert crons.sent("cron.update") == []
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Show it as it is now").click()
    expect(page.locator(".cron-form").get_by_label("Name", exact=True)).to_have_value("theirs")


def test_a_form_that_was_closed_stays_closed_whatever_its_schedule_is(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Edit").click()
    form = page.locator(".cron-form")
    page.locator(".cron-preview b").wait_for()
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/api/cron-preview*", hold)
    with page.expect_request("**/api/cron-preview*"):
        form.get_by_role("button", name="Review the change").click()
    page.keyboard.press("Escape")
    form.wait_for(state="detached")
    [asked] = held
    with page.expect_response("**/api/cron-preview*"):
        asked.fulfill(json={"text": None, "next_runs_ms": [], "problem": "never"})
    # Two frames later whatever came of it is drawn.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.locator("#sheet h2, #confirm h2").count() == 0


def test_the_form_shows_texts_as_they_are_now(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Edit").click()
    told = page.locator(".cron-form").get_by_label("What the agent is told")
    told.fill("mine")
    payload = {"kind": "agentTurn", "message": "theirs"}
    crons.jobs[0] = job_of(payload=payload, configRevision="sha256:nightly-2")
    crons.say(crons.jobs[0], "updated")
    page.get_by_role("button", name="Show it as it is now").click()
    expect(told).to_have_value("theirs")


def test_the_list_changes_a_job_as_the_list_shows_it(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.locator(".cron-head h2", has_text="nightly").wait_for()
    page.keyboard.press("u")
    row(page, "nightly").get_by_role("switch").wait_for()
    crons.jobs[0] = job_of(enabled=False, configRevision="sha256:nightly-2")
    crons.say(crons.jobs[0], "updated")
    row(page, "nightly").locator('[role=switch][aria-checked="false"]').click()
    [(_, shown)] = shown_requests(page)
    assert shown == {"id": "id-nightly", "patch": {"enabled": True}, "expectedConfigRevision": "sha256:nightly-2"}  # fmt: skip


def test_a_refusal_is_shown_in_the_words_of_the_gateway(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    crons.gateway.answers["cron.remove"] = {"error": {"code": "INVALID_REQUEST", "message": f"managed by {EVIL}"}}  # fmt: skip
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Delete").click()
    assert shown_requests(page) == [("cron.remove", {"id": "id-nightly"})]
    page.locator("#confirm").get_by_role("button", name="Delete job").click()
    page.wait_for_selector("#confirm .confirm-fault")
    assert f"managed by {EVIL}" in page.locator("#confirm .confirm-fault").inner_text()
    assert page.evaluate("window.hacked") is None


def test_a_run_is_followed_until_it_has_ended(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Run now").click()
    assert shown_requests(page) == [("cron.run", {"id": "id-nightly", "mode": "force"})]
    confirm(page, "Run now")
    news = page.locator(".cron-news")
    news.filter(has_text="The run is under way.").wait_for()
    state = crons.jobs[0]["state"]
    crons.jobs[0] = job_of(state={**state, "runningAtMs": NOW_MS})
    crons.say(crons.jobs[0], "started")
    page.locator(".cron-head .facts", has_text="running,").wait_for()
    crons.jobs[0] = job_of(state={**state, "lastRunAtMs": NOW_MS, "lastRunStatus": "error", "lastError": "no credit left"})  # fmt: skip
    crons.say(crons.jobs[0], "finished")
    news.filter(has_text="The run has ended: failed").wait_for()
    assert "no credit left" in page.locator(".cron-error").inner_text()


def test_a_run_that_did_not_begin_says_why(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    crons.gateway.answers["cron.run"] = {"ok": True, "ran": False, "reason": "already-running"}
    page = visit(meter, "#/crons/id-nightly")
    page.get_by_role("button", name="Run now").click()
    page.locator("#confirm").get_by_role("button", name="Run now").click()
    page.locator("#confirm .confirm-fault", has_text="already-running").wait_for()
    assert page.locator(".cron-news").count() == 0


def test_hostile_names_and_texts_are_text(
    meter: clawmeter.Clawmeter, crons: Crons, visit: Callable[..., Page]
) -> None:
    crons.jobs[:] = [
        job_of(EVIL, description=EVIL, agentId=EVIL, sessionTarget=EVIL, schedule={"kind": EVIL, "expr": EVIL, "tz": EVIL},
               payload={"kind": EVIL, "message": EVIL, "model": EVIL}, delivery={"mode": EVIL, "to": EVIL}, state={"lastRunStatus": EVIL, "lastError": EVIL, "lastRunAtMs": NOW_MS}),
    ]  # fmt: skip
    crons.jobs[0]["id"] = EVIL.replace(
        "/", ""
    )  # an id with a slash has no address; OpenClaw's are UUIDs
    page = visit(meter, "#/crons")
    page.locator(".cron-list tbody a").click()
    page.get_by_role("button", name="Run now").wait_for()
    assert page.locator(".cron-head h2").inner_text().startswith('"><img')
    page.keyboard.press("x")
    shown_requests(page)
    assert page.evaluate("window.hacked") is None


# --- with a real OpenClaw ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "version",
    [
        pytest.param("2026.9.6", marks=pytest.mark.openclaw),
        pytest.param("2026.6.11", marks=pytest.mark.openclaw_all),
        pytest.param("2026.2.12", marks=pytest.mark.openclaw_all),
    ],
)
def test_a_real_gateway_does_what_the_page_asks(
    openclaw_starter: Any, meter_factory: Any, visit: Callable[..., Page], version: str
) -> None:
    real = openclaw_starter(version)
    meter = meter_factory(real.home, gateway=True)
    page = visit(meter, "#/crons")
    wait_until(lambda: meter.gateway_state.status == "connected", "the connection", 60)
    gateway = real.client()

    def theirs(name: str) -> Json | None:
        """The job as another client of the gateway sees it."""
        jobs = gateway.call("cron.list", {"includeDisabled": True})["jobs"]
        return next((job for job in jobs if job["name"] == name), None)

    # Created
    page.get_by_role("button", name="New cron job").click()
    form = page.locator(".cron-form")
    form.get_by_label("Name", exact=True).fill("Morning report")
    form.get_by_label("Cron expression").fill("15 7 * * 1-5")
    form.get_by_label("Time zone").select_option("Europe/Berlin")
    page.locator(".cron-preview b", has_text="at 07:15 on weekdays, Europe/Berlin").wait_for()
    first = page.locator(".cron-preview li").first.inner_text()
    form.get_by_label("What the agent is told").fill("cron turn [[text:cron says hi]]")
    form.get_by_role("button", name="Review the job").click()
    [(_, sent)] = shown_requests(page)
    confirm(page, "Create job")
    page.locator(".cron-head h2", has_text="Morning report").wait_for()
    made = theirs("Morning report")
    assert made is not None
    assert {k: made[k] for k in ("name", "enabled", "sessionTarget")} == {"name": "Morning report", "enabled": True, "sessionTarget": "isolated"}  # fmt: skip
    assert made["schedule"].items() >= sent["schedule"].items()
    # What the page said of the next run is what the gateway will do.
    zone = clawmeter.find_zone("Europe/Berlin")
    next_ms = made["state"]["nextRunAtMs"]
    assert first.startswith(clawmeter.iso_ms(next_ms, zone)[:19].replace("T", " "))

    # Run
    page.get_by_role("button", name="Run now").click()
    confirm(page, "Run now")
    page.locator(".cron-news", has_text="The run has ended: ok").wait_for(timeout=120_000)
    ran = theirs("Morning report")
    assert ran is not None
    # 2026.2 has a shorter name for it.
    assert ran["state"].get("lastRunStatus", ran["state"].get("lastStatus")) == "ok"
    line = page.locator(".run-list tbody tr").first
    line.get_by_text("cron says hi").wait_for()
    line.locator("td", has_text="$0.0").wait_for()
    [by_job] = [r for r in meter.queries.usage(from_="all", by="cron_job")["rows"] if r["key"] == made["id"]]  # fmt: skip
    detail = meter.queries.cron(made["id"], from_="all")
    assert by_job["cost_nano_usd"] == detail["runs"][0]["totals"]["cost_nano_usd"] > 0

    # Paused
    page.keyboard.press("p")
    confirm(page, "Pause job")
    page.locator(".cron-head .mark", has_text="paused").wait_for()
    assert theirs("Morning report")["enabled"] is False  # type: ignore[index]

    # Edited
    page.keyboard.press("e")
    form.get_by_label("Name", exact=True).fill("Evening report")
    form.get_by_label("Cron expression").fill("0 19 * * *")
    form.get_by_role("button", name="Review the change").click()
    confirm(page, "Change job")
    page.locator(".cron-head h2", has_text="Evening report").wait_for()
    edited = theirs("Evening report")
    assert edited is not None
    assert (edited["id"], edited["schedule"]["expr"], edited["schedule"]["tz"]) == (made["id"], "0 19 * * *", "Europe/Berlin")  # fmt: skip
    assert edited["payload"]["message"] == "cron turn [[text:cron says hi]]"

    # Told whom to answer, and told no more
    page.keyboard.press("e")
    form.get_by_label("Its answer is").select_option("announce")
    form.get_by_role("textbox", name="Channel").fill("last")
    form.get_by_label("To whom").fill("+491")
    form.get_by_role("button", name="Review the change").click()
    confirm(page, "Change job")
    page.locator(".cron-lines", has_text="+491").wait_for()
    page.keyboard.press("e")
    form.get_by_role("textbox", name="Channel").fill("")
    form.get_by_label("To whom").fill("")
    form.get_by_role("button", name="Review the change").click()
    [(_, shown)] = shown_requests(page)
    assert shown["patch"] == {"delivery": {"mode": "announce", "channel": None, "to": None}}
    page.locator("#confirm").get_by_role("button", name="Change job").click()
    if version == "2026.2.12":  # cannot, and says so
        page.wait_for_selector("#confirm .confirm-fault")
        page.keyboard.press("Escape")
        page.locator("#confirm h2").wait_for(state="detached")
        page.keyboard.press("Escape")
    else:
        page.locator(".cron-lines", has_text="+491").wait_for(state="detached")
        assert not theirs("Evening report")["delivery"].keys() & {"channel", "to"}  # type: ignore[index]
    page.locator("#sheet h2").wait_for(state="detached")

    # Changed by another hand while the form is open
    page.keyboard.press("e")
    form.get_by_label("Description").fill("from the page")
    gateway.call("cron.update", {"id": made["id"], "patch": {"description": "from elsewhere"}})
    form.get_by_role("button", name="Review the change").click()
    shown_requests(page)
    page.locator("#confirm").get_by_role("button", name="Change job").click()
    page.locator("#confirm .confirm-fault", has_text="changed since you looked").wait_for()
    assert theirs("Evening report")["description"] == "from elsewhere"  # type: ignore[index]
    page.keyboard.press("Escape")
    page.locator("#confirm h2").wait_for(state="detached")
    page.keyboard.press("Escape")
    page.locator("#sheet h2").wait_for(state="detached")

    # Deleted
    page.keyboard.press("d")
    assert shown_requests(page) == [("cron.remove", {"id": made["id"]})]
    confirm(page, "Delete job")
    page.wait_for_selector(".cron-list")
    assert theirs("Evening report") is None
    # What it cost stays.
    page.locator('[data-key="removed"] tbody tr').first.wait_for()
    kinds = [r["kind"] for r in meter.actions.listed()[0]]
    edits = ["cron.edit"] * 3
    assert kinds == ["cron.delete", *edits, "cron.disable", "cron.run", "cron.create"]
