"""The Sessions and Session pages in a real Chromium: long lists, live rows, hostile transcripts, keys."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from browsers import axe_complaints
from playwright.sync_api import expect
from served import Served, append_calls, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

NOW_MS = int(time.time() * 1000)
DAY_MS = 86_400_000
HOSTILE = (
    "</pre></bdi></td></table><script>window.hacked=1</script><img src='http://evil.invalid/i.png' onerror='window.hacked=1'>"
    "<style>*{display:none!important}</style><iframe src=javascript:window.hacked=1></iframe> [x](javascript:window.hacked=1) "
    "\u202egnp.exe\u2066 \u001b[31mred\u001b[0m \u0000 \ud83d ![](http://evil.invalid/j.png)"
)


def iso(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"


def call(n: int, cost: float, **more: Any) -> dict[str, Any]:
    """An assistant message with usage; `n` makes its numbers its own."""
    usage = {
        "input": 100 + n,
        "output": 10 + n % 7,
        "cacheRead": 50,
        "cacheWrite": 0,
        "totalTokens": 160 + n + n % 7,
    }
    usage["cost"] = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "total": cost}  # type: ignore[assignment]
    return {
        "role": "assistant", "content": [{"type": "text", "text": f"answer {n}"}], "provider": "anthropic", "model": "claude-opus-4-6",
        "api": "anthropic-messages", "usage": usage, "stopReason": "stop", **more,
    }  # fmt: skip


def write_session(
    folder: Path, session: str, began: int, messages: list[dict[str, Any]], step: int = 1000
) -> None:
    """A transcript file, an entry every `step` ms."""
    header = {"type": "session", "version": 3, "id": session, "timestamp": iso(began), "cwd": "/"}
    lines = [json.dumps(header)]
    for i, message in enumerate(messages):
        at = began + (i + 1) * step
        entry = {"type": "message", "id": f"{session[:4]}{i:06x}", "parentId": None, "timestamp": iso(at)}  # fmt: skip
        lines.append(json.dumps({**entry, "message": {"timestamp": at - step // 2, **message}}))
    (folder / f"{session}.jsonl").write_text("\n".join(lines) + "\n")


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def home_of(root: Path, agent: str = "main") -> Path:
    """The folder of an agent's sessions in a home."""
    folder = root / ".openclaw" / "agents" / agent / "sessions"
    folder.mkdir(parents=True)
    (root / ".openclaw" / "openclaw.json").write_text("{}")
    return folder


# --- one browser, one page a test ----------------------------------------------------------------


class Tab:
    """A page that is logged in, and what went wrong in it."""

    def __init__(self, browser: Any, served: Served, **options: Any) -> None:
        self.served = served
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-US", **options}
        )
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        token = served.meter.access.load_token()
        self.page.goto(f"{served.url}/#token={token}")
        self.page.wait_for_selector(".rail-link")

    def _on_console(self, message: Any) -> None:
        if message.type == "error" and "404" not in message.text:
            self.faults.append(message.text)

    def go(self, address: str, ready: str) -> Any:
        """Go to an address of the page and wait for something there."""
        self.page.evaluate("address => { location.hash = address }", address)
        return self.page.wait_for_selector(ready)

    def wait(self, condition: str, argument: Any = None) -> None:
        """Until something is so. Not by wait_for_function: the page's own policy forbids its eval()."""
        wait_until(lambda: self.page.evaluate(condition, argument), condition)

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector)).replace("\u00a0", " ")

    def close(self) -> None:
        self.context.close()
        assert self.faults == []
        outside = [url for url in self.asked if not url.startswith((self.served.url, "data:"))]
        assert outside == [], "the page asked somebody else"


@pytest.fixture
def open_tab(browser: Any) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def make(served: Served, **options: Any) -> Tab:
        tabs.append(Tab(browser, served, **options))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.close()


@pytest.fixture
def serve(meter_factory: Any) -> Iterator[Callable[[Path], Served]]:
    running: list[Served] = []

    def make(home: Path) -> Served:
        running.append(Served(meter_factory(home)))
        return running[-1]

    yield make
    for served in running:
        served.stop()


MANY = 10_000


@pytest.fixture(scope="module")
def many_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand sessions of two agents, each with a cost of its own."""
    root = tmp_path_factory.mktemp("many")
    for agent in ("main", "coder"):
        folder = home_of(root, agent)
        index = {}
        for n in range(MANY // 2):
            session = f"{agent}-{n:05d}"
            began = NOW_MS - DAY_MS - n * 60_000
            write_session(folder, session, began, [said("go"), call(n, (n * 7919 % 5000 + 1) / 1e6)])  # fmt: skip
            index[f"agent:{agent}:telegram:direct:{n}"] = {"sessionId": session, "updatedAt": began, "label": f"Task {n} of {agent}", "channel": "telegram"}  # fmt: skip
        (folder / "sessions.json").write_text(json.dumps(index))
    return root


@pytest.fixture
def many(many_home: Path, meter_factory: Any, serve: Any) -> Iterator[Served]:
    served = Served(meter_factory(many_home))
    yield served
    served.stop()


LIST = "[data-window=sessions]"


def sum_on_page(tab: Tab) -> int:
    """Nano-dollars of the sum in the list's foot."""
    exact = tab.page.get_attribute("tfoot .col-cost .num", "title")
    return int(re.sub(r"\D", "", str(exact)))


# --- the list ------------------------------------------------------------------------------------


def test_ten_thousand_sessions(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all", "tr[data-row='0']")
    assert "10,000 sessions" in tab.text("tfoot th")
    assert sum_on_page(tab) == many.get("/api/usage", **{"from": "all"})["totals"]["cost_nano_usd"]

    # Scrolled to the end, the document has held some dozens of rows at a time, each with its data.
    bottom = (
        "[...document.querySelectorAll('tr[data-row]')].some(row => row.dataset.row === '9999')"
    )
    most = page.evaluate(
        f"""async () => {{
            const list = document.querySelector('{LIST}');
            let most = 0;
            for (let i = 0; i <= 40; i++) {{
                list.scrollTop = list.scrollHeight * i / 40;
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                most = Math.max(most, document.querySelectorAll('tbody tr').length);
            }}
            return most;
        }}"""
    )
    assert most < 130
    tab.wait(bottom)
    order = [row["id"] for row in many.get("/api/session-list", **{"from": "all", "offset": "9990", "limit": "10"})["rows"]]  # fmt: skip
    shown = page.evaluate("[...document.querySelectorAll('tr[data-row]')].slice(-10).map(row => row.dataset.value)")  # fmt: skip
    assert shown == order

    # Sorted by a click and by the keyboard; a new order begins at its top.
    page.click("thead .col-cost button")
    dearest = many.get("/api/session-list", **{"from": "all", "sort": "total_cost", "limit": "1"})["rows"][0]["id"]  # fmt: skip
    tab.wait(f"document.querySelector('tr[data-row=\"0\"]')?.dataset.value === '{dearest}'")
    assert "sort=total_cost" in page.url
    assert page.get_attribute("thead .col-cost", "aria-sort") == "descending"
    page.keyboard.press("s")
    page.keyboard.press("Enter")
    tab.wait("document.querySelector('thead .col-cost').ariaSort === 'ascending'")
    assert "order=asc" in page.url

    # Filtered by words and by agent; the sum is that of what is left.
    page.keyboard.press("q")
    page.keyboard.type("task 4321")
    tab.wait("(document.querySelector('tfoot th')?.textContent ?? '').startsWith('2 sessions')")
    assert page.evaluate("document.activeElement.dataset.action") == "q", "typing goes on"
    found = many.get("/api/session-list", **{"from": "all", "q": "task 4321"})["totals"]
    assert sum_on_page(tab) == found["cost_nano_usd"]
    tab.go("#/sessions?range=all&agent=coder", "tr[data-row='0']")
    tab.wait("(document.querySelector('tfoot th')?.textContent ?? '').startsWith('5,000 sessions')")
    usage = many.get("/api/usage", **{"from": "all", "agent": "coder"})["totals"]
    assert sum_on_page(tab) == usage["cost_nano_usd"]


def test_addresses_lead_back_to_the_same_place(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all&sort=total_cost&q=task", "tr[data-row='0']")
    page.evaluate(f"document.querySelector('{LIST}').scrollTop = 100000")
    page.wait_for_selector("tr[data-row='3035']")
    top = page.evaluate(f"document.querySelector('{LIST}').scrollTop")
    session = page.get_attribute("tr[data-row='3035']", "data-value")
    page.click("tr[data-row='3035'] td")
    page.wait_for_selector("#h-session")
    assert session in page.url
    assert "range=all" in page.url
    page.go_back()
    page.wait_for_selector("tr[data-row='3035']")
    assert "q=task" in page.url
    assert "sort=total_cost" in page.url
    tab.wait(f"document.querySelector('{LIST}').scrollTop === {top}")
    page.go_forward()
    page.wait_for_selector("#h-session")
    # The same address in a tab of its own shows the same.
    other = open_tab(many)
    other.go(page.url.split("/", 3)[3], "#h-session")
    assert other.text("#h-session") == tab.text("#h-session")


def test_keys_alone(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all&sort=label", "tr[data-row='0']")
    row = "document.activeElement.dataset.row"
    for key in "jjjk":  # the first one goes to the first row in sight
        page.keyboard.press(key)
    assert page.evaluate(row) == "1"
    page.keyboard.press("End")
    tab.wait(f"{row} === '9999'")
    page.keyboard.press("ArrowUp")
    tab.wait(f"{row} === '9998'")
    page.keyboard.press("Home")
    tab.wait(f"{row} === '0'")
    page.keyboard.press("PageDown")
    tab.wait(f"Number({row}) > 5")
    session = page.evaluate("document.activeElement.dataset.value")
    # Two marked ones are compared.
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.wait_for_selector(".compare-bar a")
    page.keyboard.press("c")
    page.wait_for_selector(".compared tbody tr")
    page.go_back()
    page.wait_for_selector("tr[data-row]")
    tab.go(f"#/session/{session}", "tr[data-row='0']")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector(".waterfall tbody tr")
    assert "turn=0" in page.url
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")  # closes the help alone
    page.wait_for_selector("#help[open]", state="detached")
    assert "turn=0" in page.url
    page.keyboard.press("Escape")
    page.wait_for_selector(".waterfall", state="detached")
    page.keyboard.press("v")
    page.wait_for_selector(".entry")
    assert "view=transcript" in page.url
    page.keyboard.press("u")
    page.wait_for_selector(LIST)


def test_columns_are_remembered(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all", "thead .col-agent")
    page.click("[data-menu=columns] > button")
    page.click("[data-action=column][data-value=agent]")
    page.wait_for_selector("thead .col-agent", state="detached")
    page.click("[data-action=column][data-value=tools]")
    page.wait_for_selector("thead .col-tools")
    page.reload()
    page.wait_for_selector("thead .col-tools")
    assert page.query_selector("thead .col-agent") is None


def test_the_list_is_printed_without_empty_pages(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all", "tr[data-row='1']")
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 1 <= pages <= 10
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 without its margins
    rows = page.locator("tbody tr:visible").count()
    assert rows >= 100
    assert (
        tab.text("main .print-only")
        == f"Rows 1 to {rows} of 10,000. CSV and JSON have all of them."
    )
    paper = page.evaluate(
        "[innerWidth, document.querySelector('.session-list table').getBoundingClientRect().right]"
    )
    assert paper[1] <= paper[0]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    wait_until(lambda: page.locator("tr.gap").count() > 0, "the window")


def test_boxes_that_were_ticked_follow_the_list(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all&sort=label", "tr[data-row='1']")
    for row in "01":
        page.locator(f"tr[data-row='{row}'] .mark-box").check(force=True)
    page.wait_for_selector("tr.is-marked[data-row='1']")
    page.keyboard.press("c")  # the focus is in the box, where keys are no text
    page.wait_for_selector("[data-key=compared]")
    page.go_back()
    page.wait_for_selector("tr.is-marked[data-row='1']")
    page.locator(".compare-bar").get_by_role("button", name="Clear marks").click()
    page.wait_for_selector("tr.is-marked", state="detached")
    assert page.locator(".mark-box:checked").count() == 0
    page.click("[data-menu=columns] > button")
    page.click("[data-action=column][data-value=agent]")
    page.wait_for_selector("thead .col-agent", state="detached")
    page.click("[data-action=columns-reset]")
    page.wait_for_selector("thead .col-agent")
    assert page.locator("[data-action=column][data-value=agent]").is_checked()
    # Esc leads back to the button, wherever on the page it is; a menu of links has the focus, too.
    page.keyboard.press("Escape")
    tab.wait("document.activeElement.matches('[data-menu=columns] > button')")
    page.click("[data-menu=export] > button")
    tab.wait("document.activeElement.matches('[data-menu=export] .menu-box a')")


def test_the_export_is_the_list(many: Served, open_tab: Any) -> None:
    tab = open_tab(many)
    page = tab.page
    tab.go("#/sessions?range=all&sort=total_cost&q=task%2012", "tr[data-row='0']")
    page.click("[data-menu=export] > button")
    with page.expect_download() as waiting:
        page.click("text=CSV")
    lines = waiting.value.path().read_text(encoding="utf-8").splitlines()
    listed = many.get("/api/session-list", **{"from": "all", "sort": "total_cost", "q": "task 12", "limit": "10000"})  # fmt: skip
    assert [line.split(",")[0] for line in lines[1:]] == [row["id"] for row in listed["rows"]]
    assert waiting.value.suggested_filename == "sessions.csv"


# --- live ----------------------------------------------------------------------------------------


def test_a_live_call_changes_its_row_in_place(
    tmp_path: Path, serve: Any, open_tab: Any, home_factory: Any
) -> None:
    home = home_factory("sqlite", sessions=12, messages=300, traps="none")
    served = serve(home.path)
    tab = open_tab(served)
    page = tab.page
    tab.go("#/sessions?range=all&sort=id", "tr[data-row='0']")
    # A row in the middle of the list, wherever append.py writes.
    newest = append_calls(home.path, "--count", "1")["session_id"]
    wait_until(lambda: served.get("/api/session-list", q=newest)["rows"][0]["state"] == "idle")
    row = f"tr[data-value='{newest}']"
    # By the keyboard to the row that will change; what is typed elsewhere would be lost with the focus.
    page.evaluate("row => document.querySelector(row).focus()", row)
    page.evaluate("document.activeElement.isMine = true")
    before = tab.text(f"{row} .col-calls")
    top = page.evaluate(f"document.querySelector('{LIST}').scrollTop")
    append_calls(home.path, "--count", "3")
    tab.wait("([row, before]) => document.querySelector(`${row} .col-calls`).textContent !== before", [row, before])  # fmt: skip
    assert page.evaluate("document.activeElement.isMine") is True
    assert page.evaluate("document.activeElement.dataset.value") == newest
    assert page.evaluate(f"document.querySelector('{LIST}').scrollTop") == top

    def total_is_whole() -> bool:
        # Asked each time: the calls may have been read one by one.
        total = served.get("/api/usage", **{"from": "all"})["totals"]["cost_nano_usd"]
        shown = page.evaluate("document.querySelector('tfoot .col-cost .num').title")
        return re.sub(r"\D", "", shown) == str(total)

    wait_until(total_is_whole, "the total under the list")


def test_folds_place_and_words_survive_updates(tmp_path: Path, serve: Any, open_tab: Any) -> None:
    folder = home_of(tmp_path / "live")
    tool = {"role": "toolResult", "toolCallId": "c", "toolName": "exec", "isError": False, "content": [{"type": "text", "text": "line\n" * 30}]}  # fmt: skip
    messages = [said(f"question {n}") if n % 3 == 0 else call(n, 0.001) if n % 3 == 1 else tool for n in range(600)]  # fmt: skip
    write_session(folder, "live-1", int(time.time() * 1000) - 601_000, messages)
    served = serve(tmp_path / "live")
    tab = open_tab(served)
    page = tab.page
    tab.go("#/session/live-1?view=transcript&at=300", ".entry.is-at")
    fold = page.query_selector("article[data-row='302'] details")
    fold.query_selector("summary").click()
    page.fill("[data-action=find]", "quest")
    tab.wait("location.hash.includes('find=quest')")
    page.wait_for_selector(".entry mark")
    place = "document.querySelector('article[data-row=\"302\"]').getBoundingClientRect().top"
    tab.wait("document.querySelector('article[data-row=\"302\"] details')?.open")
    before = page.evaluate(place)
    with open(folder / "live-1.jsonl", "a") as file:
        for n in range(10):
            entry = {"type": "message", "id": f"new{n}", "parentId": None, "timestamp": iso(int(time.time() * 1000)), "message": said(f"later {n}")}  # fmt: skip
            file.write(json.dumps(entry) + "\n")
    tab.wait("document.querySelector('[data-key=transcript] .note').textContent.includes('610')")
    assert page.evaluate("document.querySelector('article[data-row=\"302\"] details').open") is True
    assert abs(page.evaluate(place) - before) < 2
    assert page.evaluate("document.activeElement.value") == "quest"


# --- a transcript that means harm ------------------------------------------------------------------


def hostile_messages(count: int) -> list[dict[str, Any]]:
    """Entries with hostile text in every field; every thousandth failed."""
    out: list[dict[str, Any]] = []
    for n in range(count):
        kind = n % 4
        if kind == 0:
            out.append(said(f"{HOSTILE} {n}"))
        elif kind == 1:
            content = [
                {"type": "thinking", "thinking": HOSTILE},
                {"type": "text", "text": HOSTILE},
                {"type": "image", "data": "AAAA", "mimeType": HOSTILE},
                {"type": "toolCall", "id": HOSTILE, "name": HOSTILE, "arguments": {HOSTILE: [HOSTILE, {"a": HOSTILE}]}},
            ]  # fmt: skip
            out.append(call(n, 0.001, content=content, model=HOSTILE, stopReason=HOSTILE))
        else:
            failed = n % 1000 == 2
            out.append({"role": "toolResult", "toolCallId": HOSTILE, "toolName": HOSTILE, "isError": failed, "content": [{"type": "text", "text": f"{HOSTILE}\n{n}"}]})  # fmt: skip
    out[8] = said("W" * 1_000_000)
    out[9] = call(9, 0.001, stopReason="error", errorMessage=HOSTILE)
    return out


@pytest.fixture
def hostile(tmp_path: Path, serve: Any) -> Served:
    folder = home_of(tmp_path / "hostile")
    write_session(folder, "evil", NOW_MS - 6_000_000, hostile_messages(5000))
    index = {"agent:main:telegram:direct:1": {"sessionId": "evil", "updatedAt": NOW_MS, "label": HOSTILE, "channel": HOSTILE}}  # fmt: skip
    (folder / "sessions.json").write_text(json.dumps(index))
    return serve(tmp_path / "hostile")


def test_hostile_text_in_every_field(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    page = tab.page
    styles = "document.querySelectorAll('style').length"
    fits = "document.scrollingElement.scrollWidth <= innerWidth"
    tab.go("#/sessions?range=all", "tr[data-row='0']")
    assert page.evaluate(fits)
    tab.go("#/session/evil?turn=0", ".waterfall tbody tr")
    assert page.evaluate(fits)
    tab.go("#/session/evil?view=transcript", ".entry")
    seen: set[int] = set()
    numbers = "[...document.querySelectorAll('.entry')].map(one => Number(one.dataset.row))"
    # Down to the end by scrolling, as a person does; every fold open, the places without a gap.
    while True:
        shown = page.evaluate(numbers)
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        assert len(shown) <= 150
        assert not seen or shown[0] <= max(seen) + 1, "nothing was skipped"
        seen.update(shown)
        if shown[-1] == 4999:
            break
        page.evaluate(
            """() => {
                for (const fold of document.querySelectorAll('.entry details')) fold.open = true;
                const list = document.querySelector('[data-entries]');
                list.scrollTop = list.scrollHeight;
            }"""
        )
        tab.wait("last => Number([...document.querySelectorAll('.entry')].at(-1).dataset.row) > last", shown[-1])  # fmt: skip
    assert len(seen) == 5000
    assert page.evaluate("window.hacked") is None
    assert page.evaluate(styles) == 0
    assert page.evaluate("document.querySelectorAll('main img, main iframe, main script, main object, main embed').length") == 0  # fmt: skip
    assert page.evaluate(fits)
    bad = "[...document.querySelectorAll('main *')].some(one => [...one.attributes].some(({ name }) => /^on|^style$/.test(name)))"
    assert page.evaluate(bad) is False
    links = page.evaluate("[...document.querySelectorAll('main a')].map(one => one.getAttribute('href'))")  # fmt: skip
    assert all(link.startswith(("#/", "/api/")) for link in links)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u0000\u001b]", page.inner_text("main"))


def test_the_next_error_is_found_far_away(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    page = tab.page
    tab.go("#/session/evil?view=transcript", ".entry")
    at = "(document.querySelector('.entry.is-at')?.dataset.row ?? '')"
    errors = [2, 9, 1002, 2002, 3002, 4002]
    for n in errors:
        page.keyboard.press("e")
        tab.wait(f"n => {at} === String(n)", n)
        assert page.evaluate("document.querySelector('.entry.is-at').matches('.is-failed')") is True
    page.keyboard.press("e")
    tab.wait("document.querySelector('.finding').textContent === 'none after this place'")
    page.keyboard.press("E")
    tab.wait(f"{at} === '3002'")
    # Only errors: the same moment in the shorter list.
    page.click("[data-action=kind][data-value=errors]")
    tab.wait("document.querySelector('[data-key=transcript] .note').textContent.includes('of 6')")
    tab.wait(f"document.querySelectorAll('.entry').length === {len(errors)}")


def test_long_texts_come_when_asked_for(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    page = tab.page
    tab.go("#/session/evil?view=transcript&at=8", ".entry.is-at")
    size = "document.querySelector('article[data-row=\"8\"] .entry-text').textContent.length"
    assert page.evaluate(size) == 4000
    page.click("article[data-row='8'] [data-action=whole]")
    tab.wait(f"{size} === 200000")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_search_marks_what_it_found(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    page = tab.page
    tab.go("#/session/evil?view=transcript", ".entry")
    page.keyboard.press("q")
    page.keyboard.type("evil.invalid/i.png' onerror='window.hacked=1'> ".strip() + "")
    page.wait_for_selector(".entry.is-at mark")
    assert page.evaluate("window.hacked") is None
    page.fill("[data-action=find]", "> 4000".removeprefix("> "))
    tab.wait("document.querySelector('.entry.is-at')?.dataset.row === '4000'")
    page.fill("[data-action=find]", "no such words")
    tab.wait("document.querySelector('.finding').textContent.startsWith('none after')")
    page.fill("[data-action=find]", "4")
    tab.wait(
        "document.querySelector('.finding').textContent === '' && document.querySelector('.entry.is-at mark')"
    )
    found = "document.querySelector('.entry.is-at')?.dataset.row"
    first = page.evaluate(found)
    page.keyboard.press("Enter")
    tab.wait(f"first => ![undefined, first].includes({found})", first)
    page.keyboard.press("Shift+Enter")
    tab.wait(f"first => {found} === first", first)
    assert page.evaluate("document.activeElement.dataset.action") == "find"
    page.keyboard.press("Escape")
    tab.wait("document.querySelector('[data-action=find]').value === ''")


def test_a_turn_that_cannot_be_read_is_tried_again(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    page = tab.page
    for address, path, ready in (
        ("#/session/evil", "turns", ".turn-list"),
        ("#/session/evil?view=transcript", "transcript", ".entry"),
    ):
        page.route(f"**/api/{path}/*", lambda route: route.abort())
        tab.go(address, "main [data-action=retry]")
        page.unroute(f"**/api/{path}/*")
        page.click("main [data-action=retry]")
        page.wait_for_selector(ready)
    assert [fault for fault in tab.faults if "Failed to load resource" not in fault] == []
    tab.faults.clear()


def test_a_transcript_is_copied_as_markdown(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile, permissions=["clipboard-read", "clipboard-write"])
    tab.go("#/session/evil?view=transcript&kinds=errors", ".entry")
    tab.page.click("[data-action=markdown]")
    tab.wait("document.querySelector('.finding').textContent === '6 entries copied'")
    text = tab.page.evaluate("navigator.clipboard.readText()")
    assert len(re.findall(r"^## \d+\. ", text, re.MULTILINE)) == 6
    in_the_open = re.sub(r"^(`{3,})[a-z]*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "![](" not in in_the_open
    assert "<script" not in in_the_open
    assert "\u202e" not in tab.text("main")


def test_a_session_is_found_by_its_key(hostile: Served, open_tab: Any) -> None:
    tab = open_tab(hostile)
    address = "#/session/agent%3Amain%3Atelegram%3Adirect%3A1"
    tab.go(f"{address}?turn=0", ".waterfall tbody tr")
    tab.go(f"{address}?view=transcript", ".entry")


# --- pictures ------------------------------------------------------------------------------------


def middle(tab: Tab, selector: str, place: int) -> tuple[float, float]:
    """Where the mouse must be for a block of the strip."""
    box = tab.page.locator(selector).nth(place).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture
def turns(tmp_path: Path, serve: Any) -> Served:
    """Two sessions, of twelve turns and of five, each turn a dollar."""
    folder = home_of(tmp_path / "turns")
    for session, count in (("long", 12), ("short", 5)):
        messages = [one for n in range(count) for one in (said(f"go {n}"), call(n, 1.0))]
        write_session(folder, session, NOW_MS - DAY_MS, messages)
    return serve(tmp_path / "turns")


def test_the_strip_of_turns_is_walked_by_keys_and_by_mouse(turns: Served, open_tab: Any) -> None:
    tab = open_tab(turns)
    tab.go("#/session/long?range=7d", "[data-chart=strip] .strip-turn")
    chart = tab.page.locator("[data-chart=strip]")
    title = chart.locator(".tip-table thead th")
    chart.focus()
    tab.page.keyboard.press("End")
    expect(title).to_contain_text("Turn 12,")
    expect(chart.locator(".band")).to_have_count(1)
    expect(chart.locator(".tip-table")).to_contain_text("Cost so far$12.00")
    tab.page.keyboard.press("ArrowLeft")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("[data-key=turn] h2")).to_have_text("Turn 11")
    expect(title).to_contain_text("Turn 11,")
    tab.page.keyboard.press("Shift+ArrowLeft")
    expect(title).to_have_text("Turn 10 to Turn 11")
    tab.page.keyboard.press("Escape")
    expect(title).to_have_count(0)
    tab.page.mouse.move(*middle(tab, ".strip-turn", 3))
    expect(title).to_contain_text("Turn 4,")
    tab.page.mouse.down()
    tab.page.mouse.up()
    expect(tab.page.locator("[data-key=turn] h2")).to_have_text("Turn 4")
    # The range is of the other pages: nothing in this picture is a part of it.
    chart.dispatch_event("dblclick")
    tab.page.mouse.click(*middle(tab, ".strip-turn", 5))
    expect(tab.page.locator("[data-key=turn] h2")).to_have_text("Turn 6")
    assert "range=7d" in tab.page.url
    tab.page.locator("[data-key=twin-strip] summary").click()
    row = tab.page.locator("[data-key=twin-strip] tbody tr").last
    expect(row.locator("td").nth(5)).to_have_text("$12.00")


def test_a_finger_shows_a_turn_first_and_opens_it_then(turns: Served, open_tab: Any) -> None:
    tab = open_tab(turns, has_touch=True, viewport={"width": 390, "height": 844})
    tab.go("#/session/long", "[data-chart=strip] .strip-turn")
    tab.page.locator("[data-chart=strip]").evaluate("one => one.scrollIntoView({block: 'center'})")
    tab.page.touchscreen.tap(*middle(tab, ".strip-turn", 6))
    expect(tab.page.locator(".tip-table thead th")).to_contain_text("Turn 7,")
    expect(tab.page.locator("[data-key=turn]")).to_have_count(0)
    tab.page.touchscreen.tap(*middle(tab, ".strip-turn", 6))
    expect(tab.page.locator("[data-key=turn] h2")).to_have_text("Turn 7")


def test_two_sessions_are_read_turn_by_turn(turns: Served, open_tab: Any) -> None:
    tab = open_tab(turns)
    tab.go("#/session/long?with=short", "[data-chart=race] .line")
    chart = tab.page.locator("[data-chart=race]")
    rows = chart.locator(".tip-table tr")
    chart.focus()
    for key in ("Home", *["ArrowRight"] * 4):
        tab.page.keyboard.press(key)
    expect(rows).to_have_text(["Turn 5", "long$5.00", "short$5.00"])
    tab.page.keyboard.press("ArrowRight")
    expect(rows).to_have_text(["Turn 6", "long$6.00", "short—"])
    tab.page.set_viewport_size({"width": 900, "height": 700})
    expect(chart.locator(".band")).to_have_count(1)
    expect(rows).to_have_text(["Turn 6", "long$6.00", "short—"])
    tab.page.keyboard.press("Escape")
    expect(rows).to_have_count(0)


def used(tool: str, *, failed: bool = False) -> dict[str, Any]:
    """The result of a tool."""
    return {
        "role": "toolResult", "toolCallId": f"id-{tool}", "toolName": tool, "isError": failed,
        "content": [{"type": "text", "text": "done"}],
    }  # fmt: skip


@pytest.mark.parametrize("width", [1440, 1100, 700])
def test_marks_are_whole_and_tools_stand_under_their_call(
    tmp_path: Path, serve: Any, open_tab: Any, width: int
) -> None:
    folder = home_of(tmp_path / "marks")
    messages = [
        said("go"), call(1, 0.5), used("exec", failed=True), call(2, 0.0, stopReason="error"),
        call(3, 0.5, model="claude-haiku-4-5-20251001"), used("read"), call(4, 0.5, stopReason="aborted"),
    ]  # fmt: skip
    write_session(folder, "busy", NOW_MS - DAY_MS, messages)
    tab = open_tab(serve(tmp_path / "marks"), viewport={"width": width, "height": 900})
    tab.go("#/session/busy?turn=0", ".waterfall tbody tr")
    cut = """() => [...document.querySelectorAll(".turn-marks .mark")].filter((one) => {
        const [mark, cell] = [one, one.closest("td")].map((each) => each.getBoundingClientRect());
        return mark.right > cell.right || mark.left < cell.left || one.scrollWidth > one.clientWidth;
    }).map((one) => one.textContent)"""
    assert tab.page.evaluate(cut) == []
    marks = tab.page.locator("td.turn-marks").first
    expect(marks).to_have_attribute(
        "title", re.compile("^2 errors, 1 retry, failover, aborted, to ")
    )
    expect(marks).to_contain_text("2 errors")
    left = """() => [...document.querySelectorAll(".waterfall .span-name a")].map((one) =>
        [one.textContent, Math.round(one.getBoundingClientRect().left - one.closest("table").getBoundingClientRect().left)])"""
    places = tab.page.evaluate(left)
    calls = {left for name, left in places if name.startswith("claude")}
    tools = {left for name, left in places if name in {"exec", "read"}}
    assert (len(calls), len(tools)) == (1, 1)
    assert min(tools) >= min(calls) + 8


# --- sums, states, widths ------------------------------------------------------------------------


def test_sums_of_a_session_are_those_of_usage(serve: Any, open_tab: Any, home_factory: Any) -> None:
    home = home_factory("sqlite", copy=False, sessions=12, messages=300)
    served = serve(home.path)
    tab = open_tab(served)
    exact = "[...document.querySelectorAll('{} [title^=\"$\"]')].map(one => one.title.replace(/\\D/g, ''))"
    rows = served.get("/api/session-list", **{"from": "all", "sort": "tree_cost_nano_usd", "limit": "4"})["rows"]  # fmt: skip
    for row in rows:
        tab.go(f"#/session/{row['id']}", f"[data-key='session {row['id']}'] .turn-list")
        totals = served.get("/api/usage", **{"from": "all", "session": row["id"]})["totals"]
        (own,) = tab.page.evaluate(exact.format("[data-key=cost]"))[:1]
        (tree,) = tab.page.evaluate(exact.format("[data-key=tree]"))
        assert int(own) == totals["cost_nano_usd"]
        assert int(tree) == row["tree_cost_nano_usd"]
        turns = tab.page.evaluate(exact.format(".turn-list"))
        if len(turns) == served.get(f"/api/turns/{row['id']}")["total"]:
            assert sum(map(int, turns)) == totals["cost_nano_usd"]


def test_sessions_say_what_became_of_them(tmp_path: Path, serve: Any, open_tab: Any) -> None:
    folder = home_of(tmp_path / "gone")
    write_session(folder, "away", NOW_MS - DAY_MS, [said("hello"), call(1, 0.5)])
    write_session(folder, "kept", NOW_MS - DAY_MS, [said("hello"), call(2, 0.25)])
    (folder / "kept.jsonl").rename(folder / "kept.jsonl.deleted.2026-11-01T00-00-00.000Z")
    served = serve(tmp_path / "gone")
    (folder / "away.jsonl").unlink()
    requests.post(f"{served.url}/api/ingest", headers=served.headers, timeout=20).raise_for_status()
    tab = open_tab(served)
    tab.go("#/session/away", ".fates")
    assert "The ledger keeps its numbers" in tab.text(".fates")
    assert "$0.5000" in tab.text("[data-key=cost]")
    tab.go("#/session/away?view=transcript", "[data-key=transcript] .none")
    assert "no longer has this transcript" in tab.text("[data-key=transcript] .none")
    tab.go("#/session/kept?view=transcript", ".entry")
    assert "deleted this session" in tab.text(".fates")
    tab.go("#/session/never", "[data-key=missing]")
    assert "There is no such session" in tab.text("[data-key=missing]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_all_of_it(
    serve: Any, open_tab: Any, home_factory: Any, scheme: str
) -> None:
    home = home_factory("sqlite", copy=False, sessions=12, messages=300)
    served = serve(home.path)
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    tab = open_tab(served, **options)
    rows = served.get("/api/session-list", **{"from": "all", "sort": "message_count", "limit": "2"})["rows"]  # fmt: skip
    places = [
        ("#/sessions?range=all", "tr[data-row='0']"),
        (f"#/session/{rows[0]['id']}?turn=0", ".waterfall tbody tr"),
        (f"#/session/{rows[0]['id']}?view=transcript", ".entry"),
        (f"#/session/{rows[0]['id']}?with={rows[1]['id']}", ".compared tbody tr"),
    ]
    for address, ready in places:
        tab.go(address, ready)
        assert tab.page.evaluate("document.scrollingElement.scrollWidth") <= 390, address
    tab.go("#/sessions?range=all", "tr[data-row='0']")
    assert tab.page.locator("thead th").count() == 3
    assert tab.page.evaluate("document.querySelector('tr[data-row=\"1\"]').offsetTop - document.querySelector('tr[data-row=\"0\"]').offsetTop") == 50  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(
    serve: Any, open_tab: Any, home_factory: Any, scheme: str, width: int
) -> None:
    served = serve(home_factory("sqlite", copy=False, sessions=12, messages=300).path)
    tab = open_tab(served, viewport={"width": width, "height": 900}, color_scheme=scheme)
    rows = served.get("/api/session-list", **{"from": "all", "sort": "tree_cost_nano_usd", "limit": "2"})["rows"]  # fmt: skip
    first, second = (f"#/session/{row['id']}" for row in rows)
    places = [
        ("#/sessions?range=all", "tr[data-row='0']"),
        ("#/sessions?range=all&q=no+such", ".none"),
        (f"{first}?turn=0", ".waterfall tbody tr"),
        (f"{first}?view=transcript&at=3", ".entry.is-at"),
        (f"{first}?with={second.rpartition('/')[2]}", ".compared tbody tr"),
        ("#/session/never", "[data-key=missing]"),
    ]
    for address, ready in places:
        tab.go(address, ready)
        for fold in tab.page.query_selector_all("summary")[:5]:
            fold.click()
        assert axe_complaints(tab.page) == [], address
