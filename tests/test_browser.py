"""The frame, Overview and Cost in a real Chromium, as a person uses them."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import time
import urllib.parse
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from browsers import PATIENCE_MS, Visitor, axe_complaints, overflow
from handmade import HandmadeHome, call, header, lines, raw
from served import Served, wait_until

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
EVIL = '"><img src=x onerror="document.title=1"></title></svg></table><script>document.title=1</script>'
TOKEN = "browser-test-token-0123456789"
MINUTE = 60_000


def make_meter(root: Path, *homes: Path, **options: Any) -> clawmeter.Clawmeter:
    state = root / "state"
    options = {"time_zone": "UTC", "port": 0, "token": TOKEN, "gateway": False, **options}
    settings = clawmeter.Settings(state_dir=state, homes=homes, **options)
    return clawmeter.Clawmeter(settings, env={"HOME": str(root), "XDG_CACHE_HOME": str(root)})


class LiveHome:
    """A home with one session that a test can go on with; its names are hostile."""

    def __init__(self, root: Path, now: int) -> None:
        self.home = HandmadeHome(root)
        self.path = self.home.sessions("live") / "live.jsonl"
        self.count = 0
        self.path.write_bytes(lines([header("live-session", now - 3 * MINUTE)]))
        self.go_on(model=EVIL, provider=EVIL)
        (self.home.sessions("live") / "sessions.json").write_text(
            json.dumps({f"agent:live:{EVIL}": {"sessionId": "live-session", "label": EVIL}})
        )

    def go_on(self, cost: float | None = 0.5, **message: Any) -> None:
        self.count += 1
        entry = call(f"{self.count:08x}", int(time.time() * 1000), cost=cost, **message)
        with self.path.open("ab") as file:
            file.write(raw(entry) + b"\n")


@dataclasses.dataclass
class World:
    served: Served
    live: LiveHome

    def get(self, path: str, **query: str) -> Any:
        return self.served.get(path, **query)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    now = int(time.time() * 1000)
    demo = clawmeter.make_demo_home(root / "demo", now_ms=now - 90 * MINUTE, days=9)
    live = LiveHome(root / "live", now)
    served = Served(make_meter(root, demo, live.home.state))
    yield World(served, live)
    served.stop()


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """visit(locale=…, viewport=…): a logged-in visitor; at the end, nothing may have failed on its pages."""
    visitors: list[Visitor] = []

    def start(**options: Any) -> Visitor:
        visitors.append(Visitor(browser, world.served.url, TOKEN, **options))
        return visitors[-1].log_in()

    yield start
    for visitor in visitors:
        visitor.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []


@pytest.fixture
def page(visit: Callable[..., Visitor]) -> Page:
    visitor = visit()
    visitor.page.wait_for_selector(".figure-number")
    return visitor.page


def expect(thing: Any) -> Any:
    from playwright.sync_api import expect as expect_

    return expect_(thing)


def address(page: Page) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(page.url).fragment)


def wait_for_address(page: Page, pattern: str) -> None:
    page.wait_for_function(
        "p => new RegExp(p).test(decodeURIComponent(location.hash))", arg=pattern
    )


def nano(text: str) -> int:
    """Nano-dollars of an exact amount, as tooltips have it: $1,234.567890123."""
    assert re.fullmatch(r"−?\$[\d,]+\.\d{9}", text), text
    return int(Decimal(text.replace("$", "").replace(",", "").replace("−", "-")) * 10**9)


def exact(locator: Any) -> int:
    return nano(locator.locator(".num[title]").last.get_attribute("title"))


# Coming in


def test_the_start_up_link_logs_in_and_leaves_no_token(visit: Any, world: World) -> None:
    visitor = visit()
    page = visitor.page
    page.wait_for_selector(".figure-number")
    assert TOKEN not in page.url
    assert TOKEN not in page.evaluate(
        "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
    )
    page.reload()
    page.wait_for_selector(".figure-number")
    assert address(page).startswith("/overview")


def test_a_wrong_token_is_told_and_the_right_one_opens(world: World, browser: Browser) -> None:
    visitor = Visitor(browser, world.served.url, TOKEN)
    page = visitor.page
    page.goto(world.served.url)
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That token is not valid here.")
    expect(field).to_be_visible()
    field.fill(TOKEN)
    field.press("Enter")
    expect(page.locator(".figure-number").first).to_be_visible()
    assert [f for f in visitor.faults if "401" not in f] == []
    visitor.close()


def test_an_old_link_says_so(world: World, browser: Browser) -> None:
    visitor = Visitor(browser, world.served.url, TOKEN)
    visitor.page.goto(f"{world.served.url}/#token=older")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no longer valid")
    visitor.close()


# The range


def test_the_range_is_chosen_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("r")
    expect(page.locator(".presets [aria-pressed=true]")).to_be_focused()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('day')"):
            break
    last = page.evaluate("document.activeElement.dataset.value")
    for key in ("ArrowUp", "ArrowLeft", "Enter", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
        expect(page.locator(".day[tabindex='0']")).to_be_focused()
    page.keyboard.press("Enter")
    day = clawmeter.date.fromisoformat(last)
    first = day - clawmeter.timedelta(days=8)
    wait_for_address(page, rf"range={first}\.\.{first + clawmeter.timedelta(days=2)}$")
    expect(page.locator("[data-menu=range] > button")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator(".menu-box")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".menu-box")).to_have_count(0)
    expect(page.locator("[data-menu=range] > button")).to_be_focused()


def test_the_range_is_chosen_by_mouse(page: Page) -> None:
    button = page.locator("[data-menu=range] > button")
    button.click()
    page.get_by_role("button", name="7 days").click()
    wait_for_address(page, "range=7d")
    expect(button).to_contain_text("7 days")
    button.click()
    page.locator("#last-days").fill("5")
    page.get_by_role("button", name="Show", exact=True).click()
    wait_for_address(page, "range=5d")
    button.click()
    page.get_by_label("Compare with the span before").check()
    wait_for_address(page, "compare=1")
    page.locator("h1").click()  # elsewhere: it closes
    expect(page.locator(".menu-box")).to_have_count(0)
    button.click()
    days = page.locator(".day:not([aria-disabled]):not(.is-outside)")
    value = days.last.get_attribute("data-value")
    days.last.click()
    days.last.click()
    wait_for_address(page, rf"range={value}\.\.{value}")


# Cost


def test_cost_groups_and_splits_by_any_two(visit: Any, world: World) -> None:
    page = visit().go("#/cost?range=all")
    page.locator("select[data-action=by]").select_option("agent")
    page.locator("select[data-action=split]").select_option("cause")
    wait_for_address(page, "by=agent&split=cause")
    answer = world.get("/api/usage", **{"from": "all", "by": "agent", "split": "cause"})
    panel = page.locator("section[data-key=cost]")
    expect(panel.locator(":scope > .scroll tbody tr")).to_have_count(len(answer["rows"]))
    names = panel.locator(":scope > .scroll tbody th").all_inner_texts()
    assert names == [row["label"] for row in answer["rows"]]
    legend = panel.locator(".legend-name").all_inner_texts()
    assert legend == [
        part["label"] for part in answer["parts"] if part["cost_nano_usd"] or part["unpriced_calls"]
    ]
    for by, split in (
        ("hour", "tool"),
        ("tool", "week"),
        ("session", "model"),
        ("month", "hour_of_week"),
    ):
        page.locator("select[data-action=by]").select_option(by)
        page.locator("select[data-action=split]").select_option(split)
        wait_for_address(
            page,
            f"by={by}.*split={split}|by={by}" if split == "model" else f"by={by}&split={split}",
        )
        expect(panel.locator("thead button").first).to_have_text(
            re.compile(by.split("_")[0], re.IGNORECASE)
        )
        expect(panel.locator(".legend li").first).to_be_visible()
    page.get_by_role("button", name="Tokens", exact=True).click()
    wait_for_address(page, "show=tokens")
    page.go_back()
    page.wait_for_function("() => !location.hash.includes('show=tokens')")


@pytest.mark.parametrize(
    "by",
    [
        "day",
        "week",
        "month",
        "hour",
        "provider_model",
        "agent",
        "channel",
        "cause",
        "session",
        "tool",
        "cron_job",
    ],
)
def test_sums_on_cost_are_those_of_usage_to_the_last_digit(
    visit: Any, world: World, by: str
) -> None:
    page = visit().go(f"#/cost?range=all&by={by}")
    answer = world.get("/api/usage", **{"from": "all", "by": by})
    expected = answer["totals"]["cost_nano_usd"]
    panel = page.locator("section[data-key=cost]")
    expect(panel.locator("tfoot th")).to_contain_text(f"{answer['row_count']:,}")
    more = panel.get_by_role("button", name=re.compile("^Show all"))
    if more.count():
        more.click()
        expect(panel.get_by_role("button", name="Show fewer")).to_be_visible()
    place = panel.locator(":scope > .scroll thead th").all_inner_texts().index("Cost")
    # A long list has only the rows in sight in the document: collect them while scrolling through.
    found: dict[str, int] = {}
    foot = 0
    for _ in range(400):
        rows = page.evaluate(
            """(n) => [...document.querySelectorAll("section[data-key=cost] > .scroll tr[data-key]:not(.gap), section[data-key=cost] > .scroll tfoot tr")]
              .map((row) => [row.dataset.key ?? "", [...row.children[n].querySelectorAll(".num[title]")].map((one) => one.title).pop()])""",
            place,
        )
        amounts = {key: 0 if title == "no price known" else nano(title) for key, title in rows}
        foot = amounts.pop("")
        found |= amounts
        if not page.evaluate(
            """() => { const list = document.querySelector("section[data-key=cost] > .is-long"), before = list.scrollTop;
              list.scrollBy(0, 300); return list.scrollTop > before }"""
        ):
            break
        page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
    assert len(found) == answer["row_count"]
    assert foot == expected
    assert sum(found.values()) == expected
    assert exact(page.locator(".figures section[data-key=metered]")) == expected


def test_figures_on_overview_are_those_of_usage_to_the_last_digit(visit: Any, world: World) -> None:
    page = visit().go("#/overview?range=all")
    page.wait_for_selector("section[data-key=breakdown] tfoot")
    for key, word in (("today", "today"), ("week", "7d"), ("month", "month")):
        usage = world.get("/api/usage", **{"from": word, "by": "model"})
        figure = page.locator(f"section[data-key={key}] .figure-number")
        assert exact(figure) == usage["totals"]["cost_nano_usd"]
    ever = world.get("/api/usage", **{"from": "all", "by": "agent"})
    assert (
        exact(page.locator("section[data-key=breakdown] tfoot")) == ever["totals"]["cost_nano_usd"]
    )
    assert exact(page.locator(".strip [data-key=all]")) == ever["totals"]["cost_nano_usd"]
    titles = page.locator("section[data-key=by-agent] .num[title]").evaluate_all(
        "all => all.map((one) => one.title)"
    )
    assert sum(map(nano, titles)) == ever["totals"]["cost_nano_usd"]
    expect(page.locator(".strip")).to_contain_text(f"{ever['totals']['model_calls']:,} calls")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_another_zone_moves_the_days(visit: Any, world: World, zone: str) -> None:
    page = visit().go("#/cost?range=7d&split=none")
    page.locator("select[data-action=zone]").select_option(zone)
    wait_for_address(page, f"tz={zone}")
    usage = world.get("/api/usage", **{"from": "7d", "by": "day", "tz": zone})
    rows = page.locator("section[data-key=cost] > .scroll tbody tr")
    expect(rows.locator("th").first).to_have_attribute("title", usage["rows"][0]["key"])
    keys = rows.locator("th").evaluate_all("all => all.map((one) => one.title)")
    assert keys == [row["key"] for row in usage["rows"]]
    expect(rows.first.locator(".figure-button").first.locator(".num")).to_have_attribute(
        "title", f"${Decimal(usage['rows'][0]['cost_nano_usd']) / 10**9:,.9f}"
    )
    shown = [exact(rows.nth(i).locator(".figure-button").first) for i in range(len(keys))]
    assert shown == [row["cost_nano_usd"] for row in usage["rows"]]


def test_every_figure_opens_its_formula(visit: Any) -> None:
    page = visit().go("#/cost?range=all&by=agent")
    buttons = page.locator("section[data-key=cost] > .scroll tbody tr").first.locator(
        ".figure-button"
    )
    shown = exact(buttons.first)
    for i in range(buttons.count()):
        buttons.nth(i).click()
        sheet = page.locator("#sheet")
        expect(sheet.locator("tfoot")).to_be_visible()
        if i == 0:
            cells = sheet.locator("tbody tr td:last-child span[title]")
            terms = [nano(text) for text in cells.all_inner_texts()]
            assert nano(sheet.locator("tfoot td").last.inner_text()) == sum(terms) == shown
        page.keyboard.press("Escape")
        expect(sheet.locator("h2")).to_have_count(0)


def kinds_of_figures(page: Page) -> list[dict[str, str]]:
    """One button of each kind and source of figures, of the sums and of the rows."""
    found = page.locator("main .figure-button:visible").evaluate_all(
        "all => all.map((one) => ({...one.dataset}))"
    )
    return list(
        {
            (one["figure"], one["from"], bool(one["value"]), bool(one["part"])): one
            for one in reversed(found)
        }.values()
    )


SHEET_SUMS = {"cost", "plan", "tree", "month-end", "cache-saved", "cache-writes", "cache-net"}


def check_formula(page: Page, one: dict[str, str]) -> None:
    """Open a figure by the keyboard: the result of its sheet is the figure, to the nano-dollar."""
    wanted = "".join(
        f"[data-{name}={json.dumps(one[name])}]" for name in ("figure", "from", "value", "part")
    )
    button = page.locator(f"main .figure-button{wanted}:visible").first
    title = button.evaluate(
        "one => [...one.querySelectorAll('.num[title]')].at(-1)?.title.match(/^[−]?\\$[\\d,]+\\.\\d{9}/)?.[0]"
    )
    button.focus()
    page.keyboard.press("Enter")
    sheet = page.locator("#sheet")
    # Of a tool, an hour of the week or the others together there are no terms.
    expect(sheet.locator("tfoot")).to_be_visible()
    if title:
        assert exact(sheet.locator(".figure-number")) == nano(title), one
    if title and one["figure"] in {"call", "million"}:
        expect(sheet.locator(".formula").first).to_contain_text(f"= {title}")
    elif title and one["figure"] in {"recorded", "list"}:
        column = 0 if one["figure"] == "recorded" else 1
        assert nano(sheet.locator("tfoot td").nth(5 + column).inner_text()) == nano(title), one
    elif title and one["figure"] in SHEET_SUMS:
        assert nano(sheet.locator("tfoot td").last.inner_text()) == nano(title), one
    page.keyboard.press("Escape")
    expect(sheet.locator("h2")).to_have_count(0)


def test_each_figure_of_cost_is_the_result_of_its_formula(visit: Any) -> None:
    page = visit().go("#/cost?range=7d&compare=1")
    for key in ("models", "cache", "compared", "composition"):
        page.wait_for_selector(f"section[data-key={key}] .scroll table .figure-button")
    kinds = kinds_of_figures(page)
    assert {one["from"] for one in kinds} >= {"usage", "before", "parts", "models", "cache", "compared", "composition", "prompts"}  # fmt: skip
    for one in kinds:
        if one["from"] != "parts" or one["value"] != "(other)":
            check_formula(page, one)
    bare = "main .num[title*='$']:not(.figure-button .num, .twin .num)"
    assert page.locator(bare).evaluate_all("all => all.map((one) => one.outerHTML)") == []


def test_each_figure_of_overview_is_the_result_of_its_formula(visit: Any) -> None:
    page = visit().go("#/overview?range=7d")
    page.wait_for_selector("section[data-key=breakdown] tfoot")
    page.get_by_role("button", name="Show table").click()
    page.wait_for_selector("section[data-key=by-day] table .figure-button")
    kinds = kinds_of_figures(page)
    assert {one["from"] for one in kinds} >= {"spans", "before", "month_end", "range", "days", "by_model", "by_cause", "by_agent", "live", "top_sessions", "usage", "all_time"}  # fmt: skip
    for one in kinds:
        check_formula(page, one)


def test_the_formula_of_a_filtered_page_is_of_what_is_shown(visit: Any, world: World) -> None:
    """But a session that runs is shown with all that it cost ever."""
    asked = {"from": "today", "by": "agent", "agent": "live@openclaw"}
    before = world.get("/api/usage", **asked)["totals"]
    world.live.go_on()
    wait_until(lambda: world.get("/api/usage", **asked)["totals"] != before)
    page = visit().go("#/overview?range=today&agent=live@openclaw&by=agent")
    expect(page.locator("section[data-key=breakdown] tbody tr")).to_have_count(1)
    expect(page.locator("section[data-key=now] .figure-button").first).to_be_visible()
    for one in kinds_of_figures(page):
        check_formula(page, one)


def test_a_formula_in_another_currency_says_its_rate(visit: Any) -> None:
    visitor = visit()
    page = visitor.go("#/cost?range=7d")
    page.evaluate(
        "kept => Object.entries(kept).forEach(([name, value]) => localStorage.setItem(`clawmeter.${name}`, JSON.stringify(value)))",
        {"currency": "EUR", "rates": {"EUR": 0.92}},
    )
    page.reload()
    expect(page.locator(".bar .mark")).to_contain_text("EUR")
    page.locator("section[data-key=models] .figure-button[data-figure=cost]").first.click()
    sheet = page.locator("#sheet")
    expect(sheet.locator("tfoot")).to_be_visible()
    expect(sheet.locator(".figure-number")).to_contain_text("≈€")
    expect(sheet.locator(".formula").first).to_contain_text("× 0.92 = ≈€")
    expect(sheet.locator(".note").first).to_contain_text(
        "1 USD = 0.92 EUR is the rate that you set"
    )
    expect(sheet.locator(".formula-price").first).to_contain_text("input $")


def test_a_dialog_closes_when_pressed_beside_and_not_by_a_selection(visit: Any) -> None:
    page = visit().go("#/cost?range=all&by=agent")
    page.locator("section[data-key=cost] .figure-button").first.click()
    sheet = page.locator("#sheet")
    expect(sheet.locator("tfoot")).to_be_visible()
    box = sheet.bounding_box()
    assert box
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] - 20, box["y"] + 40)
    page.mouse.up()
    page.mouse.click(box["x"] + 4, box["y"] + 4)  # its padding
    expect(sheet.locator("h2")).to_have_count(1)
    page.mouse.click(box["x"] - 20, box["y"] + 40)
    expect(sheet.locator("h2")).to_have_count(0)


def test_an_old_answer_does_not_stand_for_a_new_question(visit: Any) -> None:
    visitor = visit()
    page = visitor.go("#/cost?range=all")
    cache = page.locator("section[data-key=cache]")
    expect(cache.locator(":scope > .scroll table")).to_be_visible()
    broken = {"error": {"code": "internal_error", "message": "it broke"}}
    page.route("**/api/cache*", lambda route: route.fulfill(status=500, json=broken))
    page.evaluate("location.hash = '#/cost?range=7d'")
    expect(cache).to_contain_text("This could not be read: it broke.")
    expect(cache.locator(":scope > .scroll table")).to_have_count(0)
    page.unroute("**/api/cache*")
    cache.get_by_role("button", name="Try again").click()
    expect(cache.locator(":scope > .scroll table")).to_be_visible()
    # That line is the browser's own.
    assert [fault for fault in visitor.faults if "Failed to load resource" not in fault] == []
    visitor.faults.clear()


def test_the_files_have_what_is_shown(visit: Any, world: World) -> None:
    page = visit().go("#/cost?range=all&by=provider_model&split=none&sort=calls")
    page.wait_for_selector("section[data-key=cost] tfoot")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    csv = download.value.path().read_text(encoding="utf-8").splitlines()
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    data = json.loads(download.value.path().read_text(encoding="utf-8"))
    usage = world.get("/api/usage", **{"from": "all", "by": "provider_model"})
    assert len(csv) == len(usage["rows"]) + 2
    # A model without a price has no cost there, as on the page: it is not known, and not 0.
    unpriced = {r["key"] for r in usage["rows"] if r["unpriced_calls"] == r["model_calls"]}
    assert unpriced
    assert {r["key"]: r["cost_nano_usd"] for r in data["rows"]} == {
        r["key"]: None if r["key"] in unpriced else r["cost_nano_usd"] for r in usage["rows"]
    }
    calls = [r["calls"] for r in data["rows"]]
    assert calls == sorted(calls, reverse=True)
    assert data["total"]["cost_nano_usd"] == usage["totals"]["cost_nano_usd"]


def test_a_price_is_set_on_the_page_and_counts_at_once(tmp_path: Path, browser: Browser) -> None:
    home = HandmadeHome(tmp_path / "home")
    now = int(time.time() * 1000)
    entry = call(
        "00000001", now, (1_000_000, 200_000, 0, 0), None, provider="nobody", model="knows"
    )
    (home.sessions() / "s.jsonl").write_bytes(lines([header("s", now - MINUTE), entry]))
    served = Served(make_meter(tmp_path, home.state))
    visitor = Visitor(browser, served.url, TOKEN).log_in()
    try:
        page = visitor.go("#/cost")
        expect(page.locator(".figures section[data-key=metered]")).to_contain_text(
            "1 unpriced call"
        )
        form = page.locator("form[data-action=price]")
        form.get_by_label("Input").fill("2,5")
        form.get_by_label("Output").fill("10")
        form.get_by_role("button", name="Set the price").click()
        expect(page.locator(".figures section[data-key=metered] .figure-number")).to_have_text(
            "$4.50"
        )
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.locator(".figures section[data-key=metered]")).to_contain_text(
            "1 unpriced call"
        )
        form.get_by_label("Input").fill("a lot")
        form.get_by_label("Output").fill("10")
        form.get_by_role("button", name="Set the price").click()
        expect(form.get_by_role("alert")).to_have_text("A price is a number of US dollars.")
        assert visitor.faults == []
    finally:
        visitor.close()
        served.stop()


# Charts


def bar_middle(page: Page, chart: str, place: int) -> tuple[float, float]:
    """Where the mouse must be for the bar at a place, a little above the base."""
    box = page.locator(f"[data-chart={chart}] .bars > g").nth(place).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] - 2


@pytest.mark.parametrize(
    ("where", "chart"), [("#/overview?range=7d", "day"), ("#/cost?range=7d", "cost")]
)
def test_drag_selects_click_filters_double_click_resets(visit: Any, where: str, chart: str) -> None:
    page = visit().go(where)
    page.wait_for_selector(f"[data-chart={chart}] .bars > g")
    days = page.locator(f"[data-chart={chart}] .bars > g").evaluate_all(
        "all => all.map((one) => one.dataset.key)"
    )
    page.mouse.move(*bar_middle(page, chart, 2))
    page.mouse.down()
    page.mouse.move(*bar_middle(page, chart, 4), steps=4)
    expect(page.locator(f"[data-chart={chart}] .tip-table thead")).to_be_visible()
    page.mouse.up()
    wait_for_address(page, rf"range={days[2]}\.\.{days[4]}")
    expect(page.locator(f"[data-chart={chart}] .bars > g")).to_have_count(3)
    page.locator(f"[data-chart={chart}]").dblclick(position={"x": 300, "y": 20})
    page.wait_for_function("() => !location.hash.includes('range=')")
    expect(page.locator(f"[data-chart={chart}] .bars > g")).not_to_have_count(3)
    last = page.locator(f"[data-chart={chart}] .bars > g").count() - 2
    first = page.locator(f"[data-chart={chart}] .bars > g").nth(last).locator("[data-series]").first
    series = first.get_attribute("data-series")
    page.mouse.click(*bar_middle(page, chart, last))
    wait_for_address(page, "model=")
    assert dict(urllib.parse.parse_qsl(page.url.partition("?")[2]))["model"] == series
    expect(page.locator(".chip")).to_contain_text("Model")


def test_a_finger_shows_a_bar_first_and_filters_then(visit: Any) -> None:
    page = visit(has_touch=True, viewport={"width": 390, "height": 844}).go("#/overview?range=7d")
    page.locator("[data-chart=day] .bars > g").first.wait_for(state="attached")
    page.locator("[data-chart=day]").evaluate("one => one.scrollIntoView({block: 'center'})")
    title = page.locator("[data-chart=day] .tip-table thead")
    page.touchscreen.tap(*bar_middle(page, "day", 4))
    expect(title).to_be_visible()
    page.touchscreen.tap(*bar_middle(page, "day", 5))
    expect(title).to_be_visible()
    assert "model=" not in address(page)
    page.touchscreen.tap(*bar_middle(page, "day", 5))
    wait_for_address(page, "model=")


def test_the_chart_is_read_and_used_by_keyboard(page: Page) -> None:
    chart = page.locator("[data-chart=day]")
    chart.focus()
    page.keyboard.press("ArrowLeft")
    title = chart.locator(".tip-table thead th")
    expect(title).to_contain_text("so far")
    page.keyboard.press("ArrowLeft")
    expect(title).not_to_contain_text("so far")
    page.keyboard.press("Escape")
    expect(title).to_have_count(0)
    for key in ("End", "ArrowLeft", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    wait_for_address(page, r"range=\d{4}-\d\d-\d\d\.\.\d{4}-\d\d-\d\d")
    values = re.search(r"range=([\d-]+)\.\.([\d-]+)", address(page))
    assert values
    first, last = map(clawmeter.date.fromisoformat, values.groups())
    assert last - first == clawmeter.timedelta(days=1)


def test_shares_fill_every_bar_and_keep_the_amounts(visit: Any, world: World) -> None:
    page = visit().go("#/cost?range=7d")
    ways = page.get_by_role("group", name="How it is drawn")
    ways.get_by_role("button", name="Share").click()
    wait_for_address(page, "as=share")
    page.reload()
    expect(ways.get_by_role("button", name="Share")).to_have_attribute("aria-pressed", "true")
    # From 100 % down to 0, whatever was spent on that day.
    expect(page.locator("[data-chart=cost] .tick").filter(has_text="100")).to_have_count(1)
    heights = page.locator("[data-chart=cost] .bars > g").evaluate_all(
        "all => all.map((bar) => [...bar.querySelectorAll('[data-series]')].reduce((sum, one) => sum + Number(one.getAttribute('height')), 0))"
    )
    assert {round(height) for height in heights if height} == {268}
    page.locator("[data-chart=cost]").focus()
    page.keyboard.press("Home")
    day = world.get("/api/usage", **{"from": "7d", "by": "day"})["rows"][0]
    wanted = f"{day['cost_nano_usd'] / 1e9:,.2f}"
    expect(page.locator("[data-chart=cost] .tip-table thead td").first).to_have_text(f"${wanted}")
    page.locator("[data-key=twin-cost] summary").click()
    expect(page.locator("[data-key=twin-cost] tbody tr").first).to_contain_text("%")


def test_hours_are_selected_as_hours(visit: Any, world: World) -> None:
    rows = world.get("/api/usage", **{"from": "2d", "by": "hour"})["rows"]
    place = next(i for i, row in enumerate(rows) if row["cost_nano_usd"])
    page = visit().go("#/cost?range=2d&by=hour")
    page.locator("[data-chart=cost]").focus()
    for key in ("Home", *["ArrowRight"] * place, "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    first = rows[place]["key"][:16]
    wait_for_address(page, rf"range={first}\.\.{rows[place + 2]['key'][:16]}")
    expect(page.locator("section[data-key=cost] .bars > g")).to_have_count(2)


def test_the_chart_has_a_table_with_the_same_sums(visit: Any, world: World) -> None:
    page = visit().go("#/overview?range=7d")
    page.get_by_role("button", name="Show table").click()
    rows = page.locator("section[data-key=by-day] tbody tr")
    expect(rows).to_have_count(7)
    usage = world.get("/api/usage", **{"from": "7d", "by": "day"})
    expected = [round(row["cost_nano_usd"] / 1e7) / 100 for row in usage["rows"]]
    shown = [
        float(text.replace("$", "").replace(",", ""))
        for text in rows.locator("td:last-child").all_inner_texts()
    ]
    assert shown == pytest.approx(expected, abs=0.0051)


# Filters and addresses


def test_filters_go_along_and_come_back(visit: Any, world: World) -> None:
    visitor = visit()
    page = visitor.go("#/overview?range=all")
    chips = page.locator(".chip")
    page.locator("section[data-key=by-agent] .name-button").first.click()
    wait_for_address(page, "agent=")
    agent = chips.locator("bdi").inner_text()
    page.keyboard.press("g")
    page.keyboard.press("c")
    wait_for_address(page, rf"^#/cost\?range=all&agent={agent}$")
    usage = world.get("/api/usage", **{"from": "all", "agent": agent, "by": "model"})
    metered = page.locator(".figures section[data-key=metered]")
    expect(metered).to_be_visible()
    assert exact(metered) == usage["totals"]["cost_nano_usd"]
    page.keyboard.press("f")
    page.locator(".filter-menu").get_by_role("button", name="Cause").click()
    page.locator(".values button").first.click()
    expect(chips).to_have_count(2)
    link = page.url
    page.go_back()
    expect(chips).to_have_count(1)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Overview")
    page.go_back()
    expect(chips).to_have_count(0)
    for _ in range(3):
        page.go_forward()
    expect(chips).to_have_count(2)
    expect(page.locator("h1")).to_have_text("Cost")
    other = visitor.context.new_page()
    other.goto(link)
    expect(other.locator(".chip")).to_have_count(2)
    expect(other.locator(".figures section[data-key=metered] .figure-number")).to_have_text(
        metered.locator(".figure-number").inner_text()
    )
    other.close()
    chips.last.get_by_role("button").focus()
    page.keyboard.press("Delete")
    expect(chips).to_have_count(1)
    chips.first.get_by_role("button").click()
    expect(chips).to_have_count(0)


def test_search_finds_and_goes(page: Page) -> None:
    def is_at(name: str) -> None:
        """Who comes to another page leaves the search: it is opened again once that page is there."""
        page.wait_for_selector(f".rail-link[data-page={name}][aria-current=page]")

    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="Search sessions, agents, models")
    expect(field).to_be_focused()
    page.keyboard.type("opus")
    page.keyboard.press("Escape")  # closes, with words in it, too
    expect(field).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("opus")
    hit = page.locator(".search-hits li").filter(has_text="claude-opus")
    expect(hit.first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    wait_for_address(page, r"^#/cost\?model=anthropic/claude-opus")
    is_at("cost")
    # Enter before any answer waits for it: what "o" found is not what "opus" finds.
    for first, rest in (("", "opus"), ("o", "pus")):
        page.keyboard.press("/")
        expect(field).to_be_focused()
        if first:
            page.keyboard.type(first)
            expect(hit.first).to_be_visible()
        page.keyboard.type(rest)
        page.keyboard.press("Enter")
        expect(field).to_have_count(0)
        wait_for_address(page, r"^#/cost\?model=anthropic/claude-opus")
        is_at("cost")
        page.evaluate("location.hash = '#/'")
        is_at("overview")
    page.keyboard.press("/")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    # The button beside the field has Enter for itself.
    page.keyboard.press("/")
    expect(field).to_be_focused()
    page.keyboard.type("opus")
    expect(hit.first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("[data-action=search-close]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    assert address(page) == "/"
    page.keyboard.press("?")
    expect(page.locator("#help dt")).not_to_have_count(0)
    expect(page.locator("#help")).to_contain_text("Choose the range")


def test_j_and_k_move_in_lists(page: Page) -> None:
    page.keyboard.press("f")
    rows = page.locator(".values [data-row]")
    expect(rows.first).to_be_visible()
    page.locator(".filter-menu .segments button").first.focus()
    for key, place in (("j", 0), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        expect(rows.nth(place)).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_address(page, "agent=")


# Live


def test_a_call_appears_and_nothing_else_moves(visit: Any, world: World) -> None:
    visitor = visit(viewport={"width": 1100, "height": 700})
    page = visitor.go("#/cost?range=all")
    page.wait_for_selector(".live.is-live")
    metered = page.locator(".figures section[data-key=metered] .figure-number .num")
    page.locator("section[data-key=cost] .is-long").evaluate("one => { one.scrollTop = 40 }")
    page.evaluate("scrollTo(0, 120)")
    page.keyboard.press("f")
    page.keyboard.type("mai")
    before = nano(metered.get_attribute("title") or "")
    marks = "[document.activeElement.dataset.action, document.activeElement.value, document.activeElement.selectionStart, scrollY, document.querySelector('.is-long').scrollTop]"
    kept = page.evaluate(marks)
    assert kept[:3] == ["filter-text", "mai", 3]
    world.live.go_on(cost=0.125)
    page.wait_for_function(
        "(total) => document.querySelector('[data-key=metered] .figure-number .num').title === total",
        arg=f"${Decimal(before + 125_000_000) / 10**9:,.9f}",
        timeout=PATIENCE_MS,
    )
    assert page.evaluate(marks) == kept


def test_twelve_windows_share_one_stream(visit: Any, world: World) -> None:
    """A browser allows six connections to a server; with a stream for each, the seventh window would stand still."""
    visitor = visit()
    pages = [visitor.page, *[visitor.context.new_page() for _ in range(11)]]
    for page in pages[1:]:
        page.goto(f"{visitor.url}/#/overview?range=today")
        page.wait_for_selector(".figure-number")
    streams = world.served.meter.stream
    for page in pages:
        page.wait_for_selector(".live.is-live")
    wait_until(lambda: len(streams) == 1)
    pages.pop(0).close()  # it may be the one that held the stream; so may the next
    pages.pop(0).close()
    cost = pages[0].locator(".figures section[data-key=today] .figure-number .num")
    before = nano(cost.get_attribute("title") or "")
    for n in (1, 2):
        world.live.go_on(cost=0.25)
        for page in pages:
            page.wait_for_function(
                "(total) => document.querySelector('.figures section[data-key=today] .figure-number .num').title === total",
                arg=f"${Decimal(before + n * 250_000_000) / 10**9:,.9f}",
            )
    wait_until(lambda: len(streams) == 1)


def test_the_next_stream_makes_up_for_what_fell_between(visit: Any, world: World) -> None:
    """When the window that holds the stream ends, another takes it: all that are left ask again."""
    visitor = visit()
    visitor.page.wait_for_selector(".live.is-live")
    left = [visitor.context.new_page() for _ in range(2)]
    for n, page in enumerate(left):
        page.add_init_script(f"Math.random = () => {n * 0.99}")  # one is first to take it
        page.goto(f"{visitor.url}/#/overview?range=today")
        page.wait_for_selector(".live.is-live")
        page.wait_for_function("() => document.styleSheets.length > 5")  # the last that it loads
    wait_until(lambda: len(world.served.meter.stream) == 1)

    def asks(page: Page) -> Any:
        return page.expect_response(lambda r: "/api/overview" in r.url)

    with asks(left[0]), asks(left[1]):
        visitor.page.close(run_before_unload=True)


def test_a_storm_of_updates_leaves_what_a_person_is_doing(visit: Any, world: World) -> None:
    page = visit().go("#/overview")
    page.wait_for_selector(".live.is-live")
    asked: list[str] = []
    page.on("response", lambda r: asked.append(r.url) if "/api/overview" in r.url else None)
    page.keyboard.press("f")
    page.keyboard.type("x")
    for n in range(12):
        page.keyboard.type(str(n % 10))
        seen = len(asked)
        world.served.meter.stream.publish("usage", {"version": n, "calls": 1, "sessions": []})
        with page.expect_response(lambda r: "/api/overview" in r.url):
            pass
        assert len(asked) > seen
    field = page.locator("[data-action=filter-text]")
    expect(field).to_be_focused()
    expect(field).to_have_value("x012345678901")


def test_the_page_comes_back_when_the_server_does(tmp_path: Path, browser: Browser) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    live = LiveHome(tmp_path / "live", int(time.time() * 1000))
    served = Served(make_meter(tmp_path, live.home.state, port=port))
    visitor = Visitor(browser, served.url, TOKEN).log_in()
    try:
        page = visitor.go("#/cost")
        total = page.locator(".figures section[data-key=metered] .figure-number .num")
        expect(total).to_have_text("$0.5000")
        page.wait_for_selector(".live.is-live")
        served.stop()
        expect(page.locator(".live")).to_contain_text("Reconnecting")
        expect(total).to_have_text("$0.5000")  # the last numbers stay
        live.go_on(cost=0.25)
        served = Served(make_meter(tmp_path, live.home.state, port=port))
        expect(total).to_have_text("$0.7500")
        expect(page.locator(".live")).to_have_class(re.compile("is-live"))
    finally:
        visitor.close()
        served.stop()


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("#/cost", "#/cost?range=7d", ".figure-number"),
        ("#/cost", "#/cost?by=agent", "section[data-key=cost] > .scroll"),
        ("#/overview", "#/overview?range=7d", ".figure-number"),
        ("#/sessions", "#/sessions?q=zzzz", "#h-session-list"),
    ],
)
def test_without_a_server_old_numbers_get_no_new_labels(
    visit: Any, before: str, after: str, wrong: str
) -> None:
    visitor = visit()
    page = visitor.go(before)
    expect(page.locator(f"main {wrong}").first).to_be_visible()
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate(f"location.hash = '{after}'")
    expect(page.locator("main")).to_contain_text("Clawmeter does not answer")
    expect(page.locator(f"main {wrong}")).to_have_count(0)
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("main .grid")).to_be_visible()
    # With the question as it was, the last numbers stay.
    page.evaluate(f"location.hash = '{before}'")
    expect(page.locator(f"main {wrong}").first).to_be_visible()
    page.route("**/api/**", lambda route: route.abort())
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # reads anew
    expect(page.locator(".live")).to_contain_text("Reconnecting")
    expect(page.locator(f"main {wrong}").first).to_be_visible()
    page.unroute("**/api/**")
    expect(page.locator(".live.is-live")).to_be_visible()
    # Those lines are the browser's own.
    assert [fault for fault in visitor.faults if "Failed to load resource" not in fault] == []
    visitor.faults.clear()


# Where on a page

SCROLLED = "() => Math.round(scrollY)"


@pytest.mark.parametrize(("where", "down"), [("#/cost", 1800), ("#/overview", 600)])
def test_back_leads_to_where_somebody_was(visit: Any, where: str, down: int) -> None:
    visitor = visit()
    page = visitor.go(where)
    page.wait_for_function("y => document.documentElement.scrollHeight > y + innerHeight", arg=down)
    visitor.settle()
    page.evaluate("y => scrollTo(0, y)", down)
    wait_until(lambda: page.evaluate(SCROLLED) == down)
    page.locator(".rail-link[data-page=sessions]").click()
    page.wait_for_selector("[data-key=session-list]")
    assert page.evaluate(SCROLLED) == 0  # a page that is new begins at its top
    page.go_back()
    page.wait_for_selector(".figures")
    wait_until(lambda: page.evaluate(SCROLLED) == down, "the place")
    page.reload()
    page.wait_for_selector(".figures")
    wait_until(lambda: page.evaluate(SCROLLED) == down, "the place after a reload")


def test_set_a_price_leads_to_its_field(visit: Any, world: World) -> None:
    world.live.go_on(cost=None, model="nobody-knows", provider="nobody")
    page = visit().go("#/overview")
    page.get_by_role("link", name="Set a price").click()
    field = page.locator("[data-key=prices] input").first
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport()
    wait_for_address(page, "^#/cost$")  # said once: it does not come again with the next range
    visitor_sees = page.evaluate(
        "document.querySelector('[data-key=prices] input').getBoundingClientRect().top"
    )
    assert 0 < visitor_sees < 900


@pytest.mark.parametrize("width", [390, 1440])
def test_a_chart_has_its_width_the_first_time_it_is_drawn(visit: Any, width: int) -> None:
    """Else all of a page is laid out twice when somebody comes there."""
    page = visit(viewport={"width": width, "height": 900}).page
    page.wait_for_selector(".figure-number")
    page.evaluate(
        """() => {
            window.drawn = [];
            new MutationObserver(() => {
                const plot = document.querySelector(".flow-plot, [data-chart=cost] .plot");
                if (plot) drawn.push(plot.getAttribute("width"));
            }).observe(document.querySelector("main"), { subtree: true, childList: true, attributes: true });
        }"""
    )
    for name, plot in (("cost", "[data-chart=cost] .plot"), ("flow", ".flow-plot")):
        page.evaluate("drawn.length = 0")
        page.locator(f".rail-link[data-page={name}]").first.click()
        expect(page.locator(plot)).to_be_visible()
        widths = page.evaluate("drawn")
        assert set(widths) == {page.locator(plot).get_attribute("width")}, widths


# Paper

WIDER_THAN_PAPER = """() => [...document.querySelectorAll("main svg.plot, main table")]
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("theme", ["system", "dark"])
def test_a_statement_is_printed_dark_on_white_and_as_wide_as_the_paper(
    visit: Any, theme: str
) -> None:
    page = visit(color_scheme="dark").go("#/cost")
    page.wait_for_selector("[data-chart=cache] .plot")
    if theme == "dark":
        page.locator('[data-menu="settings"] > button').click()
        page.locator('[data-action="theme"][data-value="dark"]').click()
        page.keyboard.press("Escape")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 without its margins
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    colours = page.evaluate(
        "[document.body, document.querySelector('tbody td')].map((one) => getComputedStyle(one).color)"
    )
    assert colours == ["rgb(0, 0, 0)"] * 2
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(WIDER_THAN_PAPER) == []
    plot, broke = (
        page.locator("[data-chart=cache] .plot"),
        page.locator("[data-key=cache] .activity"),
    )
    chart, box = plot.bounding_box(), broke.bounding_box()
    assert chart and box and (chart["y"] + chart["height"] <= box["y"] or chart["x"] + chart["width"] <= box["x"])  # fmt: skip
    # Heads come again on every page, sums do not.
    shown = "(name) => getComputedStyle(document.querySelector(`[data-key=cost] ${name}`)).display"
    assert [page.evaluate(shown, name) for name in ("thead", "tfoot")] == ["table-header-group", "table-row-group"]  # fmt: skip
    page.evaluate("dispatchEvent(new Event('afterprint'))")


# Languages, themes, widths


def test_chinese_comes_with_the_browser_and_is_switched(visit: Any) -> None:
    visitor = visit(locale="zh-CN")
    page = visitor.page
    expect(page.locator("h1")).to_have_text("概览")
    assert page.evaluate("document.documentElement.lang") == "zh"
    visitor.go("#/cost")
    expect(page.locator("h1")).to_have_text("费用")
    page.keyboard.press(",")
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("Cost")
    page.reload()
    expect(page.locator("h1")).to_have_text("Cost")
    assert page.evaluate("document.documentElement.lang") == "en"
    page.keyboard.press(",")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_have_text("费用")


def test_english_asks_for_no_table_of_words(visit: Any) -> None:
    visitor = visit()
    asked: list[str] = []
    visitor.page.on("request", lambda r: asked.append(r.url))
    visitor.page.reload()
    visitor.page.wait_for_selector(".figure-number")
    assert not [url for url in asked if url.endswith("/zh.js")]


def test_themes_follow_the_system_or_the_person(visit: Any) -> None:
    visitor = visit(color_scheme="dark")
    page = visitor.page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(19, 19, 18)"
    page.keyboard.press(",")
    page.get_by_role("button", name="Light").click()
    page.wait_for_function(f"() => {background} === 'rgb(250, 250, 248)'")
    page.reload()
    page.wait_for_selector(".rail")
    assert page.evaluate(background) == "rgb(250, 250, 248)"


def test_amounts_are_hidden_and_converted(visit: Any) -> None:
    page = visit().go("#/cost?range=all")
    page.wait_for_selector("section[data-key=composition] .legend")
    page.keyboard.press(",")
    page.get_by_label("Hide, for a shared screen").check()
    expect(page.locator(".figure-number .num").first).to_have_text("•••••")
    everything = """[...document.querySelectorAll("main *, #bar *")].flatMap((one) => [one.title, one.getAttribute?.("aria-label"),
      ...[...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.nodeValue)]).filter((text) => /[$€≈]\\s?\\d/.test(text ?? ""))"""
    assert [text for text in page.evaluate(everything) if "≈" not in text] == []
    page.get_by_label("Hide, for a shared screen").uncheck()
    currency, rate = (page.locator(f"[data-action={one}]") for one in ("currency", "rate"))
    total = page.locator(".figures section[data-key=metered] .figure-number .num")
    currency.select_option("EUR")
    # A dollar is no euro: without a rate amounts stay as they are.
    expect(page.locator(".settings")).to_contain_text("Amounts stay in dollars")
    expect(total).to_have_text(re.compile(r"^\$"))
    rate.fill("much")
    rate.press("Enter")
    expect(rate).to_have_attribute("aria-invalid", "true")
    expect(rate).to_have_value("much")
    rate.fill("0.5")
    rate.press("Enter")
    expect(total).to_have_text(re.compile("^≈€"))
    dollars = nano(total.get_attribute("title") or "")
    shown = Decimal(total.inner_text().replace("≈€", "").replace(",", ""))
    assert abs(shown - Decimal(dollars) / 2 / 10**9) <= Decimal("0.005")
    # Each currency keeps its rate.
    currency.select_option("GBP")
    expect(rate).to_have_value("")
    currency.select_option("EUR")
    expect(rate).to_have_value("0.5")


@pytest.mark.parametrize("width", [768, 1024, 2560])
def test_every_width_holds_the_page(visit: Any, width: int) -> None:
    visitor = visit(viewport={"width": width, "height": 900})
    for where in ("#/overview", "#/cost?compare=1"):
        visitor.go(where)
        assert overflow(visitor.settle()) == []


@pytest.mark.parametrize(
    "where", ["#/overview", "#/cost", "#/cost?by=session&split=none", "#/cost?by=hour&range=7d"]
)
def test_a_phone_shows_all_of_it(visit: Any, where: str) -> None:
    visitor = visit(viewport={"width": 390, "height": 844})
    visitor.go(where)
    page = visitor.settle()
    assert overflow(page) == []
    expect(page.locator(".rail")).to_be_in_viewport()
    page.get_by_role("button", name="More").click()
    expect(page.locator(".rail .is-extra").first).to_be_in_viewport()
    page.locator("[data-menu=range] > button").click()
    expect(page.locator(".menu-box")).to_be_in_viewport(ratio=1)
    assert overflow(page) == []


def open_range(page: Page) -> None:
    page.keyboard.press("r")
    page.wait_for_selector(".menu-box")


def open_filter(page: Page) -> None:
    page.keyboard.press("f")
    page.wait_for_selector(".values button")


def open_settings(page: Page) -> None:
    page.keyboard.press(",")
    page.wait_for_selector(".settings-list")
    page.locator("select[data-action=currency]").select_option("EUR")


def open_search(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("claude")
    page.wait_for_selector(".search-hits li")


def open_help(page: Page) -> None:
    page.keyboard.press("?")


def open_formula(page: Page) -> None:
    page.locator(".figure-button").first.click()
    page.wait_for_selector("#sheet tfoot")


def open_projection(page: Page) -> None:
    page.locator("section[data-key=month-end] .figure-button").click()
    page.wait_for_selector("#sheet tfoot")


def open_cache_formula(page: Page) -> None:
    page.locator("section[data-key=cache] .figure-button").first.click()
    page.wait_for_selector("#sheet tfoot")


STATES: list[tuple[str, Any]] = [
    ("#/overview", None),
    ("#/overview?agent=main", open_range),
    ("#/overview", open_filter),
    ("#/overview", open_settings),
    ("#/overview", open_search),
    ("#/overview", open_help),
    ("#/cost?compare=1&range=7d", None),
    ("#/cost?as=lines&show=tokens", None),
    ("#/cost?as=share", None),
    ("#/cost?by=agent&split=cause", open_formula),
    ("#/overview", open_projection),
    ("#/cost", open_cache_formula),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(visit: Any, theme: str, width: int) -> None:
    visitor = visit(color_scheme=theme, viewport={"width": width, "height": 900})
    found: list[str] = []
    for where, then in STATES:
        page = visitor.go(where)
        page.reload()
        page.wait_for_selector("main .grid:not([data-key=skeleton], [data-key=first-index])")
        visitor.settle()
        if then:
            then(page)
        name = f"{where} {getattr(then, '__name__', '')}"
        found += [f"{name}: {complaint}" for complaint in axe_complaints(page)]
    assert not found, "\n".join(found)


#: What moves on a page, with a place that waits for its numbers among it.
MOVING = """() => {
    document.querySelector("main").append(Object.assign(document.createElement("div"), { className: "panel skeleton" }));
    return [...document.querySelectorAll("*")].filter((one) => {
        const style = getComputedStyle(one);
        return style.animationName !== "none" || style.transitionDuration.split(", ").some((time) => parseFloat(time) > 0);
    }).map((one) => one.className);
}"""


@pytest.mark.parametrize("where", ["#/overview", "#/cost", "#/sessions"])
@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_who_wants_that(visit: Any, where: str, motion: str) -> None:
    visitor = visit(reduced_motion=motion)
    visitor.go(where)
    moving = visitor.settle().evaluate(MOVING)
    assert moving == ([] if motion == "reduce" else ["panel skeleton"])


def test_forced_colours_leave_charts_their_series(visit: Any) -> None:
    """Only what the colour itself says keeps it; text, borders and buttons are in the person's colours."""
    visitor = visit(forced_colors="active")
    visitor.go("#/cost?by=day&split=provider_model")
    page = visitor.settle()
    fills = page.locator("[data-chart=cost] .plot [data-series]").evaluate_all(
        "all => all.map((one) => [one.dataset.series, getComputedStyle(one).fill])"
    )
    series = {name for name, _ in fills}
    assert len(series) > 3
    assert len({fill for _, fill in fills}) == len(series)
    swatches = page.locator(".legend .swatch rect").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).fill)"
    )
    assert {fill for _, fill in fills} <= set(swatches)
    colours = page.evaluate(
        """() => {
            const probe = Object.assign(document.createElement("p"), { className: "note" });
            document.querySelector("main").append(probe);
            return [getComputedStyle(probe).color, getComputedStyle(document.body).color, getComputedStyle(document.documentElement).color];
        }"""
    )
    assert len(set(colours)) == 1  # a note is no longer grey


def test_hostile_names_are_text(visit: Any) -> None:
    visitor = visit()
    for where in (
        "#/overview?range=all",
        "#/cost?range=all&by=provider_model",
        "#/cost?range=all&by=session",
        "#/cost?range=all&split=model",
    ):
        visitor.go(where)
        page = visitor.settle()
        expect(page.locator("main")).to_contain_text("onerror=")
        assert page.locator("main img, main script, main [onerror]").count() == 0
        assert "Clawmeter" in page.title()
    page.keyboard.press("/")
    page.keyboard.type("onerror")
    expect(page.locator(".search-hits")).to_contain_text("onerror=")
    assert page.locator("#search img").count() == 0


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    reached: set[str] = set()
    for _ in range(600):
        page.keyboard.press("Tab")
        key = page.evaluate("""() => { const one = document.activeElement; return one === document.body ? "" :
          [one.nodeName, one.dataset.action, one.dataset.value, one.dataset.page, one.getAttribute("href"), one.dataset.chart, one.getAttribute("aria-label")].join("|") }""")
        if key.startswith("A|skip") and len(reached) > 1:
            break  # round once; a session may stand in two lists, so a name twice is no sign of that
        if key:
            reached.add(key)
    wanted = page.evaluate("""() => [...document.querySelectorAll("#bar button, #bar select, main button, main a[href], main select, .rail a[href], [data-chart]")]
      .filter((one) => one.offsetParent !== null && one.tabIndex >= 0)
      .map((one) => [one.nodeName, one.dataset.action, one.dataset.value, one.dataset.page, one.getAttribute("href"), one.dataset.chart, one.getAttribute("aria-label")].join("|"))""")
    assert set(wanted) <= reached
