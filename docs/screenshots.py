"""Make the pictures of the README from `clawmeter demo`: python docs/screenshots.py (needs Chromium and the `test` extra)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
SHOTS = (
    ("overview-light.png", "overview", "light", 1440, 1000),
    ("overview-dark.png", "overview", "dark", 1440, 1000),
    ("overview-phone.png", "overview", "light", 390, 844),
    ("cost-light.png", "cost", "light", 1440, 1000),
    ("cost-dark.png", "cost", "dark", 1440, 1000),
    ("sessions-light.png", "sessions", "light", 1440, 1000),
    ("session-light.png", "session", "light", 1440, 1000),
    ("session-dark.png", "session", "dark", 1440, 1000),
    ("flow-light.png", "flow", "light", 1440, 760),
    ("flow-dark.png", "flow", "dark", 1440, 760),
    ("crons-light.png", "crons", "light", 1440, 560),
    ("health-light.png", "health", "light", 1440, 1000),
    ("agents-light.png", "agents", "light", 1440, 420),
)


def wait_for(path: Path) -> Path:
    """The file, as soon as it is there."""
    until = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > until:
            sys.exit(f"{path.name} did not appear")
        time.sleep(0.1)
    return path


def main() -> None:
    """Start the demo, look at it, and stop it."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "TMPDIR": folder}
        command = [sys.executable, "-m", "clawmeter", "demo", "--port", "0", "--tz", "UTC"]
        demo = subprocess.Popen(command, cwd=DOCS.parent, env=env, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 60
            while not (found := list(Path(folder).glob("clawmeter-demo-*/state/server.json"))):
                if time.monotonic() > until:
                    sys.exit("the demo did not start")
                time.sleep(0.1)
            url = json.loads(found[0].read_text())["url"]
            token = wait_for(found[0].with_name("token")).read_text().strip()
            while requests.get(f"{url}/readyz", timeout=20).status_code != 200:
                time.sleep(0.1)
            with sync_playwright() as play:
                chromium = os.environ.get("CLAWMETER_CHROMIUM") or shutil.which("chromium")
                browser = play.chromium.launch(
                    executable_path=chromium,
                    args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
                )
                token_header = {"Authorization": f"Bearer {token}"}
                listed = requests.get(
                    f"{url}/api/session-list?sort=tool_errors", headers=token_header, timeout=20
                )
                troubled = listed.json()["rows"][0]["id"]
                for name, where, scheme, width, height in SHOTS:
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=scheme
                    )
                    page = context.new_page()
                    page.goto(f"{url}/#token={token}")
                    page.get_by_text("Cost by day").first.wait_for(timeout=20_000)
                    page.goto(f"{url}/#/{where}{f'/{troubled}' if where == 'session' else ''}")
                    page.locator("main .panel").first.wait_for(timeout=20_000)
                    page.wait_for_timeout(2500)
                    page.screenshot(path=DOCS / name)
                    context.close()
                browser.close()
        finally:
            demo.terminate()
            demo.wait(10)


if __name__ == "__main__":
    main()
