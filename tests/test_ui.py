"""The page's files: their syntax, their tests in node, and what they must never contain."""

from __future__ import annotations

import errno
import gzip
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pagetools import first_line, need, npm_folder, write_assets
from sentences import HOLE, is_known, sentences

import clawmeter
import history
from clawmeter import ASSETS, INDEX_HTML

SCRIPTS = [name for name in ASSETS if name.endswith(".js")]
#: DESIGN: less than this over the wire, and fewer requests than this, to the first useful paint.
MOST_BYTES = 120_000
MOST_REQUESTS = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assets(tmp_path_factory.mktemp("ui"))


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


# With tools


@pytest.mark.parametrize("name", SCRIPTS)
def test_node_can_parse_it(files: Path, name: str) -> None:
    run(need("node"), "--check", f"assets/{name}", cwd=files)


def test_the_views_pass_their_tests(files: Path) -> None:
    out = run(need("node"), "--test", "--test-reporter=tap", cwd=files)
    assert re.search(r"^# fail 0$", out, re.MULTILINE)
    assert int(re.findall(r"^# pass (\d+)$", out, re.MULTILINE)[0]) > 50


def test_eslint_finds_no_fault(files: Path) -> None:
    eslint = npm_folder() / "node_modules" / "eslint" / "bin" / "eslint.js"
    run(need("node"), str(eslint), "--max-warnings", "0", "assets", cwd=files)


def test_reports_name_lines_of_the_module(tmp_path: Path) -> None:
    files = write_assets(tmp_path / "ui")
    name, text = "app.js", ASSETS["app.js"][1]
    path = files / "assets" / name
    wrong = text.rstrip("\n") + "\nlet = ;\n"
    path.write_text("\n" * (first_line(text) - 1) + wrong, encoding="utf-8")
    done = subprocess.run(
        [need("node"), "--check", str(path)], capture_output=True, text=True, check=False
    )
    assert f"{name}:{first_line(text) + wrong.count(chr(10)) - 1}" in done.stderr


# What no file may contain


def test_markup_is_parsed_in_one_place() -> None:
    code = "".join(ASSETS[name][1] for name in SCRIPTS)
    assert len(re.findall(r"\.innerHTML\b", code)) == 1
    assert ".innerHTML" in ASSETS["dom.js"][1]
    forbidden = r"outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|createContextualFragment|setHTML|javascript:"
    for name in SCRIPTS:
        found = re.findall(forbidden, re.sub(r"^\s*//.*$", "", ASSETS[name][1], flags=re.MULTILINE))
        assert [f for f in found if f != "javascript:"] == [], name


def test_no_file_names_another_host() -> None:
    for name, (_, text) in {**ASSETS, "index.html": ("", INDEX_HTML)}.items():
        hosts = set(re.findall(r"(?:https?:)?//([a-z0-9.-]+\.[a-z]{2,})", text))
        assert hosts <= {"www.w3.org"}, name


def test_views_write_no_style_and_no_handler() -> None:
    for name in SCRIPTS:
        markup = "".join(re.findall(r"`[^`]*`", ASSETS[name][1]))
        tags = re.findall(r"<[a-z][^>`]*", markup)
        assert [t for t in tags if re.search(r"\s(style|on[a-z]+)=", t)] == [], name


class Index(HTMLParser):
    """What index.html loads, and what in it would be inline."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inside = tag
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        url = given.get("src") if tag == "script" else given.get("href") if tag == "link" else None
        if tag == "script" and not url:
            self.inline.append("script")
        if url and url.startswith("/assets/"):
            self.loads.append(url.rpartition("/")[2])

    def handle_data(self, data: str) -> None:
        if self.inside in {"script", "style"} and data.strip():
            self.inline.append(self.inside)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""


def index() -> Index:
    parsed = Index()
    parsed.feed(INDEX_HTML)
    return parsed


def test_the_page_has_nothing_inline_and_loads_only_its_own_files() -> None:
    found = index()
    assert found.inline == []
    assert set(found.loads) <= set(ASSETS)
    assert INDEX_HTML.count("{{") == INDEX_HTML.count("{{ digest }}") + 1  # and the version, once


def imports_of(name: str) -> set[str]:
    """What a script imports before it runs, and what that imports."""
    found = set(
        re.findall(
            r'^\} from "\./([^"]+)"|^import .* from "\./([^"]+)"', ASSETS[name][1], re.MULTILINE
        )
    )
    direct = {a or b for a, b in found}
    return direct.union(*(imports_of(one) for one in direct)) if direct else direct


def test_the_first_page_is_light(client: Any) -> None:
    first = set(index().loads)
    first |= set().union(*(imports_of(name) for name in first if name.endswith(".js")))
    # Everything that is imported is named in the page, else it would be found one round trip later.
    assert first == set(index().loads)
    answer = client.get("/api/overview")
    weights = {
        "index.html": len(gzip.compress(INDEX_HTML.encode(), 6)),
        "/api/overview": len(gzip.compress(answer.data, 5)),
        **{name: len(gzip.compress(ASSETS[name][1].encode(), 6)) for name in first},
    }
    assert len(weights) < MOST_REQUESTS, weights
    assert sum(weights.values()) < MOST_BYTES, weights


@pytest.mark.parametrize("path", ["/", "/assets/DIGEST/app.js", "/api/overview", "/no/such"])
def test_every_answer_has_the_policy(client: Any, path: str) -> None:
    headers = client.get(path.replace("DIGEST", clawmeter.ASSET_DIGEST)).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def server_words() -> list[str]:
    words = re.search(r"SERVER_WORDS = \[(.*?)\n\];", ASSETS["dom.js"][1], re.DOTALL)
    assert words
    return re.findall(r'msg\("(.*?)"\)', words[1])


def server_code() -> str:
    """Both modules without what is sent to browsers."""
    code = Path(clawmeter.__file__).read_text(encoding="utf-8")
    for _, text in ASSETS.values():
        code = code.replace(text, "")
    return code + Path(history.__file__).read_text(encoding="utf-8")


def test_what_the_page_translates_of_the_server_is_what_the_server_says() -> None:
    """Its sentences are known by their words: one that is worded anew in Python would be English in Chinese pages."""
    known = server_words()
    assert len(known) > 40
    said = server_code() + "".join(os.strerror(number) for number in errno.errorcode)
    parts = {piece.strip(" ,:()") for one in known for piece in re.split(r"\{\w+\}|;", one)}
    assert sorted(part for part in parts if part not in said) == []


def test_what_the_server_says_has_a_translation() -> None:
    """Also what it begins to say: a problem, a refusal, an advice that is new in Python."""
    found = sentences(server_code())
    assert len(found) > 90
    known = server_words()
    assert sorted(one.replace(HOLE, "…") for one in found if not is_known(one, known)) == []


def test_a_sentence_that_is_new_is_found() -> None:
    code = """def look(path):
        if not path:
            msg = f"{path} is gone, and so is its folder"
            raise SourceError(msg)
        return {"why_not": "nobody may do this" if path else "everybody may", "label": "not of these"}
    """
    assert sentences(code) == {f"{HOLE} is gone, and so is its folder", "nobody may do this", "everybody may"}  # fmt: skip
    assert (
        is_known("cannot read /old words: it is gone", ["cannot read {path}: {why}", "it is gone"])
        is False
    )
    assert is_known(f"cannot read {HOLE}: it is gone", ["cannot read {path}: {why}", "it is gone"])
