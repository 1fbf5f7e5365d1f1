"""The HTTP API: answers, errors, live streams, and the server under bad manners."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import jsonschema_rs
import pytest
import requests
from homes import ERAS, FIXTURES
from served import wait_until

import clawmeter
from clawmeter import ROUTES, ClawmeterError, Server, Stream, StreamsFull, create_app, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from homes import HomeFactory, MadeHome

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def bearer(meter: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {meter.access.load_token()}"}


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """The home that all tests of this file share: they ask, and nothing writes into it."""
    return home_factory("sqlite", copy=False, sessions=12, messages=300)


@pytest.fixture
def server(meter: Any) -> Iterator[Server]:
    server = Server(meter)
    server.start()
    yield server
    server.stop()


class Raw:
    """A socket, to say what no library says."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)), 10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, head: str, body: bytes = b"") -> Raw:
        text = head.replace("HOST", self.host).replace("\n", "\r\n")
        self.socket.sendall(text.encode("latin-1") + b"\r\n\r\n" + body)
        return self

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one whole answer."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65_536)
            assert more, f"the connection ended after {data!r}"
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            body += self.socket.recv(65_536)
        return int(lines[0].split()[1]), headers, body

    def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            more = self.socket.recv(65_536)
            assert more, f"the connection ended after {data!r}"
            data += more
        return data

    def is_ended(self) -> bool:
        """Whether the other side has closed, once all is read."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65_536):
                pass
        return True


def open_stream(url: str, meter: Any) -> Raw:
    raw = Raw(url)
    raw.send(
        f"GET /api/stream HTTP/1.1\nHost: HOST\nAuthorization: {bearer(meter)['Authorization']}"
    )
    raw.read_until(b": clawmeter\n\n")
    return raw


# Answers


def fill(path: str, *, session: str, job: str, agent: str) -> str:
    return path.replace("{session_id}", session).replace("{cron_id}", job).replace("{agent}", agent)


def test_every_route_answers(client: Any, meter: Any) -> None:
    session = client.get("/api/sessions").json[0]["id"]
    job = client.get("/api/crons").json["jobs"][0]["id"]
    needed = {"timeline": {"session": session}, "search": {"q": "a"}, "cron_preview": {"kind": "every", "every_ms": "5"}}  # fmt: skip
    agent = client.get("/api/agents").json["rows"][0]["id"]
    for route in ROUTES:
        if route.method != "GET" or route.name in {"stream", "asset", "memory_file"}:
            continue
        path = fill(route.path, session=session, job=job, agent=agent)
        query = needed.get(route.name, {})
        response = client.get(path, query_string=query)
        assert response.status_code == 200, (path, response.get_data(as_text=True))
        assert response.content_type.startswith(route.media)


def test_every_parameter_reaches_its_query(client: Any) -> None:
    session = client.get("/api/sessions").json[0]["id"]
    agent = client.get("/api/agents").json["rows"][0]["id"]
    values = {"from": "30d", "to": "today", "tz": "Europe/Berlin", "kinds": "tools,errors"}
    values |= {"among": "tools", "after": "0-0", "hour_of_week": "1T00"}
    job = client.get("/api/crons").json["jobs"][0]["id"]
    needed = {"timeline": {"session": session}, "cron_preview": {"kind": "cron"}}
    for route in ROUTES:
        if route.method != "GET":
            continue
        for param in route.params:
            schema = param.schema
            value = values.get(param.name) or str(
                schema.get("minimum", schema.get("enum", ["x"])[0])
            )
            query = dict(needed.get(route.name, {}))
            query[param.name] = session if param.name == "session" else value
            path = fill(route.path, session=session, job=job, agent=agent)
            response = client.get(path, query_string=query)
            assert response.status_code == 200, (path, query, response.get_data(as_text=True))


def test_lists_say_how_many_there_are(client: Any) -> None:
    response = client.get("/api/sessions?limit=1")
    assert isinstance(response.json, list)
    assert len(response.json) == 1
    assert int(response.headers["X-Total-Count"]) == len(
        client.get("/api/sessions?limit=10000").json
    )


def test_usage_is_the_truth(client: Any, truth: dict[str, Any]) -> None:
    for by, table in (("agent", "by_agent"), ("model", "by_model"), ("cause", "by_cause")):
        answer = client.get(f"/api/usage?from=all&by={by}").json
        told = {r["key"]: (r["model_calls"], r["recorded_cost_nano_usd"]) for r in answer["rows"]}
        assert told == {key: (t["model_calls"], t["cost_nano"]) for key, t in truth[table].items()}
        assert answer["totals"]["total_tokens"] == truth["totals"]["total_tokens"]
        assert answer["row_count"] == len(answer["rows"])
    for zone, days in truth["by_day"].items():
        rows = client.get("/api/usage", query_string={"from": "all", "tz": zone}).json["rows"]
        told = {row["key"]: row["model_calls"] for row in rows if row["model_calls"]}
        assert told == {day: t["model_calls"] for day, t in days.items() if t["model_calls"]}


def test_the_endpoints_of_the_seed(client: Any, truth: dict[str, Any]) -> None:
    """The fields that scripts written for ClawMeter (Node) read, field for field."""
    usage = {
        word: client.get(f"/api/usage?from={word}").json["totals"]["cost_usd"]
        for word in ("today", "7d", "month", "all")
    }
    calls = truth["totals"]["model_calls"]
    assert client.get("/api/summary").json == {
        "today": usage["today"],
        "week": usage["7d"],
        "month": usage["month"],
        "allTime": usage["all"],
        "sessions": sum(t["model_calls"] > 0 for t in truth["by_session_id"].values()),
        "messages": calls,
        "budgetDaily": None,
        "budgetMonthly": None,
    }
    days = client.get("/api/daily?days=14").json
    assert [set(day) for day in days] == [
        {"date", "cost", "input_tokens", "output_tokens", "messages"}
    ] * 14
    assert {day["date"]: day["messages"] for day in days if day["messages"]} == {
        day: t["model_calls"]
        for day, t in truth["by_day"]["UTC"].items()
        if t["model_calls"] and day >= days[0]["date"]
    }
    models = client.get("/api/models").json
    assert {(row["provider"], row["model"]): row["message_count"] for row in models} == {
        tuple(key.split("/", 1)): t["model_calls"] for key, t in truth["by_provider_model"].items()
    }
    dearest = client.get("/api/top-sessions?limit=5").json
    assert [row["total_cost"] for row in dearest] == sorted(
        (row["total_cost"] for row in client.get("/api/sessions?limit=10000").json), reverse=True
    )[:5]
    assert client.get("/api/alerts").json == []
    ingested = client.post("/api/ingest").json
    assert (ingested["new_calls"], ingested["calls"]) == (0, calls)


def test_budgets_are_told(meter: Any, client: Any) -> None:
    budgets = {"budget_daily_usd": 5.0, "budget_monthly_usd": 100.0}
    meter.queries.settings = dataclasses.replace(meter.settings, **budgets)
    summary = client.get("/api/summary").json
    assert (summary["budgetDaily"], summary["budgetMonthly"]) == (5.0, 100.0)


def closed(schema: Any) -> Any:
    """A schema that takes nothing but what it names."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(one) for key, one in schema.items()}
    return {**out, "additionalProperties": False} if out.get("properties") else out


@pytest.fixture
def complaints(client: Any) -> Callable[[str], list[str]]:
    """Ask an address and compare the answer with its description, to the field."""
    described = client.get("/api/openapi.json").json
    shapes = closed(described["components"]["schemas"])
    cache: dict[str, Any] = {}

    def check(path: str, **query: str) -> list[str]:
        response = client.get(path, query_string=query)
        assert response.status_code == 200, (path, query, response.get_data(as_text=True))
        route = next(r for r in ROUTES if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", r.path), path))
        if route.name not in cache:
            operation = described["paths"][route.path]["get"]
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            whole = {**closed(schema), "components": {"schemas": shapes}}
            cache[route.name] = jsonschema_rs.Draft202012Validator(whole)
        found = cache[route.name].iter_errors(response.json)
        return [f"{path} {'/'.join(map(str, e.instance_path))}: {e.message[:300]}" for e in found]

    return check


class TestDescribed:
    """Answers are what the description says, no field more and none less, on homes of every kind."""

    @pytest.fixture(params=[*ERAS, *sorted(p.name for p in FIXTURES.iterdir() if p.is_dir())])
    def meter(
        self, request: Any, home_factory: HomeFactory, real_homes: Any, meter_factory: Any
    ) -> Any:
        if request.param in ERAS:
            home = home_factory(request.param, copy=False, sessions=40, messages=1000)
            made = meter_factory(home.path)
            made.clock = made.queries.clock = lambda: home.truth["meta"]["now_ms"] / 1000
        else:
            made = meter_factory(real_homes(request.param))
        made.index()
        return made

    def test_answers(self, client: Any, complaints: Callable[..., list[str]]) -> None:
        found = []
        for route in ROUTES:
            is_json = route.method == "GET" and route.media == "application/json"
            if is_json and "{" not in route.path and not any(p.is_required for p in route.params):
                query = {"from": "all"} if any(p.name == "from" for p in route.params) else {}
                found += complaints(route.path, **query)
        for by in clawmeter.BY:
            found += complaints("/api/usage", **{"by": by, "from": "all"})
        found += complaints("/api/search", q="a")
        found += complaints("/api/events", after="0-0")
        for agent in [row["id"] for row in client.get("/api/agents").json["rows"]]:
            found += complaints(f"/api/agents/{agent}", **{"from": "all"})
        for session in [row["id"] for row in client.get("/api/sessions?limit=10000").json]:
            found += complaints(f"/api/sessions/{session}")
            found += complaints(f"/api/transcript/{session}", limit="10000")
            found += complaints("/api/timeline", session=session)
            found += complaints(f"/api/turns/{session}")
            found += complaints(f"/api/find-entry/{session}", kinds="errors")
        assert found == []


def test_a_wrong_answer_would_be_noticed(
    client: Any, complaints: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for damage in ({"today": "much"}, {"tomorrow": 1.0}):
        summary = {**client.get("/api/summary").json, **damage}
        monkeypatch.setattr(clawmeter.Queries, "summary", lambda *_, s=summary, **__: s)
        (complaint,) = complaints("/api/summary")
        assert complaint.startswith("/api/summary ")
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/usage?nope=1", "'nope'"),
        ("/api/summary?from=7d", "'from'"),
        ("/api/models?x", "'x'"),
        ("/api/usage?by=colour", "by is one of"),
        ("/api/usage?by=", "by is one of"),
        ("/api/usage?by=day&by=week", "by is given 2 times"),
        ("/api/usage?limit=0", "limit"),
        ("/api/usage?limit=-1", "limit"),
        ("/api/usage?limit=1e3", "limit"),
        ("/api/usage?limit=", "limit"),
        ("/api/usage?limit=%D9%A3", "limit"),
        ("/api/usage?limit=99999999999999999999", "limit"),
        ("/api/usage?agent=", "agent"),
        ("/api/usage?sort=cost;drop", "sort"),
        ("/api/sessions?order=up", "order"),
        ("/api/sessions?state=dead", "state"),
        ("/api/daily?days=x", "days"),
        ("/api/timeline", "session is missing"),
        ("/api/transcript/x?kinds=messages,dreams", "kinds"),
        ("/api/transcript/x?kinds=", "kinds"),
        ("/healthz?x=1", "'x'"),
        ("/api/ingest?x=1", "'x'"),
    ],
)
def test_wrong_parameters_are_named(client: Any, path: str, name: str) -> None:
    response = client.open(path, method="POST" if "ingest" in path else "GET")
    assert response.status_code == 400
    assert name in response.json["error"]["message"]


def test_secrets_of_openclaws_config_are_in_no_answer(client: Any, truth: dict[str, Any]) -> None:
    paths = [r.path for r in ROUTES if r.method == "GET" and r.name != "stream"]
    answers = [client.get(path) for path in paths]
    for session in truth["sessions"]:
        answers.append(client.get(f"/api/sessions/{session}"))
        answers.append(client.get("/api/timeline", query_string={"session": session}))
    text = "".join(answer.get_data(as_text=True) for answer in answers)
    assert "openclaw-agent.sqlite" in text
    assert [secret for secret in truth["canary_secrets"] if secret in text] == []


def test_what_a_query_refuses_is_passed_on(client: Any) -> None:
    response = client.get("/api/summary?tz=Nowhere/Town")
    assert response.status_code == 400
    assert "Nowhere/Town" in response.json["error"]["message"]


@pytest.mark.parametrize(
    "session", ["nope", "a/b", "/a", "a//b", "../x", "%2F", "ü:é", "a\nb", "🦞", ".", "x" * 900]
)
@pytest.mark.parametrize("prefix", ["/api/sessions/", "/api/transcript/"])
def test_session_ids_are_any_text(server: Server, meter: Any, prefix: str, session: str) -> None:
    quoted = requests.utils.quote(session, safe="") if session != "." else "%2E"
    with Raw(server.url) as raw:
        token = bearer(meter)["Authorization"]
        raw.send(f"GET {prefix}{quoted} HTTP/1.1\nHost: HOST\nAuthorization: {token}")
        status, _, body = raw.answer()
    assert status == 404
    error = json.loads(body)["error"]
    assert error["code"] == "session_not_found"


def test_errors_have_one_shape(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/api/nowhere").json["error"]["code"] == "not_found"
    response = client.delete("/api/usage")
    assert response.json["error"]["code"] == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


def test_a_failure_is_logged_and_not_told(
    client: Any, meter: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a secret inside")

    monkeypatch.setattr(type(meter.queries), "models", fail)
    response = client.get("/api/models")
    assert response.status_code == 500
    assert response.json["error"]["code"] == "internal_error"
    assert "secret" not in response.get_data(as_text=True)
    assert "a secret inside" in caplog.text
    assert "Traceback" in caplog.text


def test_our_own_errors_keep_their_advice(
    client: Any, meter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ClawmeterError("the disk is full; make room")

    monkeypatch.setattr(type(meter), "ingest_now", fail)
    response = client.post("/api/ingest")
    assert response.status_code == 503
    assert response.json["error"]["message"] == "the disk is full; make room"


def test_json_takes_what_orjson_refuses() -> None:
    value = {"half \ud83d": ["\udc00", float("nan"), 2**70, {"deep": ("x", None)}]}
    text = to_json(value)
    assert json.loads(text) == {"half ?": ["?", None, str(2**70), {"deep": ["x", None]}]}


def test_large_answers_are_compressed(client: Any) -> None:
    plain = client.get("/api/openapi.json", headers={"Accept-Encoding": "identity"})
    packed = client.get("/api/openapi.json", headers={"Accept-Encoding": "br, gzip"})
    refused = client.get("/api/openapi.json", headers={"Accept-Encoding": "gzip;q=0, *"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data == refused.data
    assert all(r.headers["Vary"] == "Accept-Encoding" for r in (plain, packed))
    small = client.get("/healthz", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


@pytest.mark.parametrize(
    "path", ["/", "/api/usage", "/api/nowhere", "/assets/x/y", "/metrics", "/healthz", "/api/x?y"]
)
def test_every_answer_has_the_security_headers(client: Any, path: str) -> None:
    for sender in (client, client.application.test_client()):
        headers = sender.get(path).headers
        assert headers["Content-Security-Policy"] == CSP
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        if path not in {"/", "/healthz"}:
            assert headers["Cache-Control"] == "no-store"


# The page


def test_page_and_its_files(client: Any) -> None:
    stranger = client.application.test_client()
    page = stranger.get("/", headers={"Accept-Encoding": "gzip"})
    assert page.status_code == 200
    assert page.content_type == "text/html; charset=utf-8"
    text = gzip.decompress(page.data).decode()
    assert clawmeter.ASSET_DIGEST in text
    assert "{{" not in text
    again = stranger.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304
    for name, (media, content) in clawmeter.ASSETS.items():
        path = f"/assets/{clawmeter.ASSET_DIGEST}/{name}"
        asset = stranger.get(path, headers={"Accept-Encoding": "gzip"})
        assert asset.content_type == media
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert gzip.decompress(asset.data).decode() == content
        assert stranger.get(path).get_data(as_text=True) == content
        assert stranger.get(f"/assets/0000/{name}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/assets/DIGEST/..%2f..%2f..%2fetc/passwd",
        "/assets/DIGEST/../../../etc/passwd",
        "/assets/DIGEST/%2e%2e/%2e%2e/etc/passwd",
        "/assets/DIGEST//etc/passwd",
        "/assets/DIGEST/",
        "/assets/../token",
        "/assets/DIGEST/app.js%00.css",
        "/assets/DIGEST/nope.js",
    ],
)
def test_no_path_leads_out_of_the_assets(server: Server, path: str) -> None:
    with Raw(server.url) as raw:
        raw.send(f"GET {path.replace('DIGEST', clawmeter.ASSET_DIGEST)} HTTP/1.1\nHost: HOST")
        status, headers, body = raw.answer()
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert b"root:" not in body


# Health, metrics, description


def test_readiness(client: Any, meter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = client.application.test_client()
    assert stranger.get("/healthz").json == {"status": "alive"}
    assert stranger.get("/readyz").json == {"status": "ready"}
    monkeypatch.setattr(type(meter), "readiness", lambda _: (False, 63.24))
    response = stranger.get("/readyz")
    assert response.status_code == 503
    assert response.json["indexed_percent"] == 63.2
    assert "63 %" in response.json["error"]["message"]


def test_metrics_add_up_to_usage(client: Any) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    text = client.get("/metrics").get_data(as_text=True)
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name + sample.labels.get("type", "")
            sums[name] = sums.get(name, 0) + sample.value
    totals = client.get("/api/usage?from=all").json["totals"]
    assert sums["clawmeter_model_calls_total"] == totals["model_calls"]
    assert sums["clawmeter_tokens_totalinput"] == totals["input_tokens"]
    assert sums["clawmeter_tokens_totalcache_read"] == totals["cache_read_tokens"]
    assert sums["clawmeter_cost_usd_total"] == pytest.approx(totals["cost_nano_usd"] / 1e9)


def test_description_names_every_route_and_parameter(client: Any) -> None:
    described = client.get("/api/openapi.json").json
    assert described["openapi"].startswith("3.1")
    operations = {
        (method.upper(), path): operation
        for path, item in described["paths"].items()
        for method, operation in item.items()
    }
    assert set(operations) == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = operations[route.method, route.path]
        names = {param["name"] for param in operation["parameters"] if param["in"] == "query"}
        assert names == {param.name for param in route.params}
        assert ("security" in operation) is route.is_open
    rules = client.application.url_map.iter_rules()
    assert len(list(rules)) == len(ROUTES)
    text = json.dumps(described)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in described["components"]["schemas"]


# Bodies


@pytest.mark.parametrize("path", ["/api/login", "/api/ingest"])
def test_a_large_body_is_refused_and_the_answer_arrives(
    server: Server, meter: Any, path: str
) -> None:
    body = b'{"token": "' + b"x" * 5_000_000 + b'"}'
    headers = {**bearer(meter), "Content-Type": "application/json"}
    response = requests.post(server.url + path, data=body, headers=headers, timeout=10)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_entity_too_large"
    assert response.headers["Content-Security-Policy"] == CSP


@pytest.mark.parametrize(
    "chunks",
    [
        [b"x" * 100_000] * 20,
        [b"x" * 3_000_000],
        [b"x" * 999_999, b"y" * 20_000],
        [b"x" * 10] * 40_000,
    ],
    ids=["many", "one", "two", "tiny"],
)
def test_a_large_chunked_body_is_refused(server: Server, meter: Any, chunks: list[bytes]) -> None:
    headers = {**bearer(meter), "Content-Type": "application/json"}
    url = server.url + "/api/login"
    response = requests.post(url, data=iter(chunks), headers=headers, timeout=10)
    assert response.status_code == (400 if sum(map(len, chunks)) < 1_000_000 else 413)


def test_a_huge_chunk_is_not_waited_for(server: Server, meter: Any) -> None:
    token = bearer(meter)["Authorization"]
    with Raw(server.url) as raw:
        raw.send(
            f"POST /api/login HTTP/1.1\nHost: HOST\nAuthorization: {token}\n"
            "Content-Type: application/json\nTransfer-Encoding: chunked",
            b"7fffffff\r\nxxxx",
        )
        assert raw.answer()[0] == 413


def test_a_chunked_login_works(server: Server, meter: Any) -> None:
    token = meter.access.load_token()
    headers = {"Origin": server.url, "Content-Type": "application/json"}
    data = iter([b'{"token": ', json.dumps(token).encode(), b"}"])
    response = requests.post(server.url + "/api/login", data=data, headers=headers, timeout=10)
    assert response.status_code == 200
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"clawmeter_{server.port}=")
    name, _, value = cookie.partition(";")[0].partition("=")
    answer = requests.get(server.url + "/api/usage", cookies={name: value}, timeout=10)
    assert answer.status_code == 200


def test_unread_chunks_are_not_the_next_request(server: Server, meter: Any) -> None:
    token = bearer(meter)["Authorization"]
    inner = b"GET /api/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Raw(server.url) as raw:
        raw.send(
            f"POST /api/ingest HTTP/1.1\nHost: HOST\nAuthorization: {token}\n"
            "Transfer-Encoding: chunked",
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner) + inner,
        )
        status, headers, _ = raw.answer()
        assert status == 200
        assert headers["connection"] == "close"
        assert raw.is_ended()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("POST /api/login HTTP/1.1\nHost: HOST\nContent-Length: -5", b"xxxxx"),
        ("POST /api/login HTTP/1.1\nHost: HOST\nContent-Length: 1_0", b"x" * 10),
        ("POST /api/login HTTP/1.1\nHost: HOST\nContent-Length: x", b""),
        (
            "POST / HTTP/1.1\nHost: HOST\nContent-Length: 3\nTransfer-Encoding: chunked",
            b"0\r\n\r\n",
        ),
        ("GET / HTTP/1.1\nHost: HOST\nno colon", b""),
        ("GET /\x01 HTTP/1.1 x", b""),
        ("nonsense", b""),
        ("GET http://[ HTTP/1.1\nHost: HOST", b""),
    ],
)
def test_broken_requests_get_a_json_error(server: Server, head: str, body: bytes) -> None:
    with Raw(server.url) as raw:
        status, headers, answer = raw.send(head, body).answer()
        assert status == 400
        assert set(json.loads(answer)["error"]) == {"code", "message"}
        assert headers["content-security-policy"] == CSP
        assert raw.is_ended()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /" + "x" * 40_000 + " HTTP/1.1\nHost: HOST", 414),
        ("GET / HTTP/1.1\nHost: HOST\nX: " + "x" * 40_000, 413),
        ("GET / HTTP/1.1\nHost: HOST\nTransfer-Encoding: br", 501),
        ("GET / HTTP/2.0\nHost: HOST", 505),
    ],
)
def test_limits_of_the_head(server: Server, head: str, status: int) -> None:
    with Raw(server.url) as raw:
        assert raw.send(head).answer()[0] == status


@pytest.mark.parametrize(
    "host", ["evil.example", "a b<script>", "", "localhost@evil.example", "\xff", "x" * 5000]
)
def test_wrong_hosts_on_the_wire(server: Server, host: str) -> None:
    with Raw(server.url) as raw:
        status, headers, body = raw.send(f"GET /api/usage HTTP/1.1\nHost: {host}").answer()
    assert status == 421
    assert headers["content-type"] == "application/json"
    assert len(body) < 1000


def test_no_host_at_all(server: Server) -> None:
    with Raw(server.url) as raw:
        assert raw.send("GET / HTTP/1.0").answer()[0] == 421


def test_origin_on_the_wire(server: Server, meter: Any) -> None:
    made = meter.access.log_in(meter.access.load_token(), remote="127.0.0.1")
    cookies = {f"clawmeter_{server.port}": made[1]}
    url = server.url + "/api/ingest"
    for origin, status in ((server.url, 200), ("http://evil.example", 403), ("null", 403)):
        headers = {"Origin": origin}
        assert (
            requests.post(url, headers=headers, cookies=cookies, timeout=10).status_code == status
        )
    assert requests.post(url, cookies=cookies, timeout=10).status_code == 403


def test_an_absolute_https_target_is_not_tls(server: Server, meter: Any) -> None:
    with Raw(server.url) as raw:
        made = meter.access.log_in(meter.access.load_token(), remote="127.0.0.1")
        status, _, _ = raw.send(
            "POST https://HOST/api/ingest HTTP/1.1\nHost: HOST\nOrigin: https://HOST\n"
            f"Cookie: clawmeter_{server.port}={made[1]}"
        ).answer()
    assert status == 400


def test_headers_with_underscores_do_not_pose(server: Server, meter: Any) -> None:
    made = meter.access.log_in(meter.access.load_token(), remote="127.0.0.1")
    with Raw(server.url) as raw:
        status, _, _ = raw.send(
            "POST /api/ingest HTTP/1.1\nHost: HOST\nOrigin: http://HOST\n"
            "Sec-Fetch-Site: cross-site\nSec_Fetch_Site: none\n"
            f"Cookie: clawmeter_{server.port}={made[1]}"
        ).answer()
    assert status == 403


def test_the_server_does_not_say_its_version(server: Server) -> None:
    headers = requests.get(server.url + "/healthz", timeout=10).headers
    assert headers["Server"] == "Clawmeter"
    assert not re.search(r"[Cc]heroot|[Pp]ython|Werkzeug", str(headers))


def test_connections_are_kept(server: Server, meter: Any) -> None:
    with Raw(server.url) as raw:
        for _ in range(5):
            token = bearer(meter)["Authorization"]
            raw.send(f"GET /api/usage HTTP/1.1\nHost: HOST\nAuthorization: {token}")
            assert raw.answer()[0] == 200


# Live streams


def test_events_reach_a_page(server: Server, meter: Any) -> None:
    with open_stream(server.url, meter) as raw:
        meter.stream.publish("usage", {"version": 7, "calls": 1, "sessions": ["a"]})
        frame = raw.read_until(b"\n\n").decode()
    assert "event: usage\n" in frame
    data = json.loads(re.search(r"data: (.*)\n", frame)[1])
    assert data == {"version": 7, "calls": 1, "sessions": ["a"]}


def test_a_stream_needs_a_credential(server: Server) -> None:
    assert requests.get(server.url + "/api/stream", timeout=10).status_code == 401


def test_head_of_a_stream_opens_none(client: Any, meter: Any) -> None:
    response = client.head("/api/stream")
    assert response.status_code == 200
    assert response.content_type.startswith("text/event-stream")
    assert len(meter.stream) == 0


def test_usage_events_merge_while_a_page_is_slow() -> None:
    stream = Stream()
    page = stream.subscribe()
    frames = page.frames()
    next(frames)
    for n in range(1000):
        stream.publish("usage", {"version": n, "calls": 2, "sessions": [f"s{n % 3}"]})
    stream.publish("health", {"status": "ok"})
    stream.publish("health", {"status": "degraded"})
    stream.publish("session", {"session": "a", "state": "running"})
    stream.publish("session", {"session": "a", "state": "ended"})
    text = next(frames).decode()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert events == [
        {"version": 999, "calls": 2000, "sessions": ["s0", "s1", "s2"]},
        {"status": "degraded"},
        {"session": "a", "state": "ended"},
    ]
    stream.close()
    assert next(frames, None) is None


def test_a_page_gets_at_most_about_ten_events_a_second() -> None:
    stream = Stream()
    frames = stream.subscribe().frames()
    next(frames)
    started, events = time.monotonic(), 0
    for n in range(6):
        stream.publish("usage", {"version": n, "calls": 1, "sessions": []})
        stream.publish("session", {"session": str(n)})
        events += next(frames).count(b"event: ")
    assert events / (time.monotonic() - started) < 14
    stream.close()


def test_a_page_far_behind_is_told_to_load_anew() -> None:
    stream = Stream()
    frames = stream.subscribe().frames()
    next(frames)
    for n in range(5000):
        stream.publish("session", {"session": str(n)})
        stream.publish("usage", {"version": n, "calls": 1, "sessions": [str(n)]})
    first = next(frames).split(b"\n\n")[0]
    data = json.loads(first.split(b"data: ")[1])
    assert data["truncated"] is True
    assert data["calls"] == 5000
    assert len(data["sessions"]) <= 256
    stream.close()


def test_a_silent_stream_has_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clawmeter, "HEARTBEAT_S", 0.01)
    stream = Stream()
    is_allowed = [True]
    frames = stream.subscribe(lambda: is_allowed[0]).frames()
    next(frames)
    assert next(frames) == b":\n\n"
    is_allowed[0] = False
    assert next(frames, None) is None
    assert len(stream) == 0


def test_a_stream_ends_with_its_credential(
    server: Server, meter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clawmeter, "HEARTBEAT_S", 0.05)
    row, secret = meter.access.create_token("tv", "read")
    with Raw(server.url) as raw:
        raw.send(f"GET /api/stream HTTP/1.1\nHost: HOST\nAuthorization: Bearer {secret}")
        raw.read_until(b":\n\n")
        meter.access.revoke_token(row.id)
        assert raw.read_until(b"0\r\n\r\n")


def test_streams_have_a_limit() -> None:
    stream = Stream(max_streams=2)
    first = stream.subscribe()
    stream.subscribe()
    with pytest.raises(StreamsFull, match="2 live streams"):
        stream.subscribe()
    first.close()
    first.close()
    stream.subscribe()
    stream.close()
    with pytest.raises(StreamsFull, match="shutting down"):
        stream.subscribe()


def test_fifty_pages_and_the_api(server: Server, meter: Any) -> None:
    threads = server._wsgi.requests._threads
    with ThreadPoolExecutor(50) as pool, contextlib.ExitStack() as stack:
        pages = list(pool.map(lambda _: open_stream(server.url, meter), range(50)))
        for page in pages:
            stack.enter_context(page)
        assert len(meter.stream) == 50
        assert len(threads) >= 60
        started = time.monotonic()
        get = requests.get
        answers = pool.map(
            lambda _: get(server.url + "/api/usage", headers=bearer(meter), timeout=10), range(100)
        )
        assert [answer.status_code for answer in answers] == [200] * 100
        assert time.monotonic() - started < 5
        meter.stream.publish("usage", {"version": 1, "calls": 1, "sessions": ["x"]})
        for page in pages:
            assert b"event: usage" in page.read_until(b"\n\n")
    # All have left: nobody wrote to them, yet the server notices, and lets its threads go.
    wait_until(lambda: len(meter.stream) == 0, seconds=10)
    wait_until(lambda: sum(t.is_alive() for t in threads) <= 10, seconds=10)
    wait_until(lambda: len(server._wsgi.stats["Worker Threads"]) <= 10, seconds=10)


def test_the_sixty_fifth_page_is_refused(server: Server, meter: Any) -> None:
    with ThreadPoolExecutor(64) as pool, contextlib.ExitStack() as stack:
        for page in pool.map(lambda _: open_stream(server.url, meter), range(64)):
            stack.enter_context(page)
        response = requests.get(server.url + "/api/stream", headers=bearer(meter), timeout=10)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "too_many_streams"
        assert "Retry-After" in response.headers


def test_a_page_that_does_not_read_holds_up_nobody(server: Server, meter: Any) -> None:
    with open_stream(server.url, meter), open_stream(server.url, meter) as reader:
        big = ["x" * 1000] * 20
        for n in range(30):
            meter.stream.publish("session", {"session": str(n), "big": big * 10})
        text = b""
        while b'"session":"29"' not in text:
            text += reader.socket.recv(65_536)
        started = time.monotonic()
        assert requests.get(server.url + "/healthz", timeout=5).status_code == 200
        assert time.monotonic() - started < 2


# Clients with bad manners


def test_silent_and_slow_clients_hold_up_nobody(server: Server, meter: Any) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Raw(server.url))
        for _ in range(30):
            slow = stack.enter_context(Raw(server.url))
            slow.socket.sendall(b"GET /api/usage HTTP/1.1\r\nHost: loc")
        started = time.monotonic()
        for _ in range(20):
            response = requests.get(server.url + "/api/usage", headers=bearer(meter), timeout=5)
            assert response.status_code == 200
        assert time.monotonic() - started < 3


def test_a_trickling_head_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clawmeter, "READ_S", 0.2)
    with Raw(server.url) as raw:
        started = time.monotonic()
        raw.socket.sendall(b"GET / HTTP/1.1\r\nHost: ")
        while time.monotonic() - started < 5:
            try:
                raw.socket.sendall(b"x")
            except OSError:
                break
            raw.socket.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                if not raw.socket.recv(65_536):
                    break
        assert time.monotonic() - started < 4


def test_clients_that_leave_do_no_harm(
    server: Server, meter: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(50):
        with Raw(server.url) as raw:
            token = bearer(meter)["Authorization"]
            raw.send(f"GET /api/openapi.json HTTP/1.1\nHost: HOST\nAuthorization: {token}")
            if n % 2:
                # No lingering: a reset instead of a farewell.
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert requests.get(server.url + "/healthz", timeout=5).status_code == 200
    assert "Traceback" not in caplog.text


# Starting and stopping


def test_stopping_is_quick_with_pages_open(meter: Any) -> None:
    server = Server(meter, create_app(meter))
    meter.settings = dataclasses.replace(meter.settings, port=0)
    server.start()
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(open_stream(server.url, meter)) for _ in range(20)]
        idle = [stack.enter_context(Raw(server.url)) for _ in range(10)]
        slow = stack.enter_context(Raw(server.url))
        slow.socket.sendall(b"GET / HT")
        # One that takes nothing: its thread waits in send().
        for n in range(200):
            meter.stream.publish("session", {"session": str(n), "big": "x" * 100_000})
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 3
        assert all(page.is_ended() for page in [*pages, *idle])
    with pytest.raises(OSError, match="refused"):
        Raw(server.url)
    server.stop()


def test_stopping_does_not_wait_for_a_query_that_hangs(
    meter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter.settings = dataclasses.replace(meter.settings, port=0)
    server = Server(meter)
    server.start()
    entered, released = threading.Event(), threading.Event()

    def hang(_: Any) -> list[Any]:
        entered.set()
        released.wait(20)
        return []

    monkeypatch.setattr(type(meter.queries), "models", hang)
    with Raw(server.url) as raw:
        token = bearer(meter)["Authorization"]
        raw.send(f"GET /api/models HTTP/1.1\nHost: HOST\nAuthorization: {token}")
        assert entered.wait(5)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 3
        released.set()


def test_a_port_in_use_is_explained(server: Server, meter: Any) -> None:
    meter.settings = dataclasses.replace(meter.settings, port=server.port)
    with pytest.raises(ClawmeterError, match=f"port {server.port}.*--port"):
        Server(meter).start()


@pytest.mark.parametrize(
    ("host", "words"), [("203.0.113.7", "--host"), ("no-such-host.invalid", "cannot listen")]
)
def test_a_wrong_address_is_explained(meter: Any, host: str, words: str) -> None:
    meter.settings = dataclasses.replace(meter.settings, host=host, port=0)
    with pytest.raises(ClawmeterError, match=words):
        Server(meter).start()


def test_lan_answers_on_every_address(meter: Any) -> None:
    meter.settings = dataclasses.replace(meter.settings, lan=True, port=0)
    server = Server(meter)
    server.start()
    try:
        assert server.url == f"http://127.0.0.1:{server.port}"
        for url in server.urls:
            assert requests.get(url + "/healthz", timeout=10).status_code == 200
        usage = requests.get(server.url + "/api/usage", headers=bearer(meter), timeout=10)
        assert usage.status_code == 200
    finally:
        server.stop()


def test_two_servers_in_one_process_do_not_meet(
    meter: Any, server: Server, home: MadeHome, meter_factory: Any
) -> None:
    other = meter_factory(home.path)
    second = Server(other)
    second.start()
    try:
        with open_stream(server.url, meter):
            assert (len(meter.stream), len(other.stream)) == (1, 0)
            wrong = requests.get(second.url + "/api/usage", headers=bearer(meter), timeout=10)
            assert wrong.status_code == 401
    finally:
        second.stop()
    assert requests.get(server.url + "/healthz", timeout=10).status_code == 200


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, plain))
    return cert_path, key_path


@pytest.fixture
def tls_server(meter: Any, certificate: tuple[Path, Path]) -> Iterator[Server]:
    cert, key = certificate
    meter.settings = dataclasses.replace(meter.settings, port=0, tls_cert=cert, tls_key=key)
    server = Server(meter)
    server.start()
    yield server
    server.stop()


def test_tls(tls_server: Server, meter: Any, certificate: tuple[Path, Path]) -> None:
    assert tls_server.url.startswith("https://")
    with requests.Session() as session:
        session.verify, session.trust_env = str(certificate[0]), False
        token = meter.access.load_token()
        response = session.post(
            tls_server.url + "/api/login",
            json={"token": token},
            headers={"Origin": tls_server.url},
            timeout=10,
        )
        assert response.status_code == 200
        assert "; Secure" in response.headers["Set-Cookie"]
        for _ in range(5):
            assert session.get(tls_server.url + "/api/usage", timeout=10).status_code == 200
        body = b"x" * 3_000_000
        url = tls_server.url + "/api/ingest"
        response = session.post(url, data=body, headers=bearer(meter), timeout=10)
        assert response.status_code == 413


def test_tls_streams_and_silent_clients(
    tls_server: Server, meter: Any, certificate: tuple[Path, Path]
) -> None:
    plain_url = tls_server.url.replace("https", "http")
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(Raw(plain_url))
        context = ssl.create_default_context(cafile=str(certificate[0]))
        raw = stack.enter_context(Raw(plain_url))
        raw.socket = stack.enter_context(
            context.wrap_socket(raw.socket, server_hostname="127.0.0.1")
        )
        token = bearer(meter)["Authorization"]
        raw.send(f"GET /api/stream HTTP/1.1\nHost: HOST\nAuthorization: {token}")
        raw.read_until(b": clawmeter\n\n")
        meter.stream.publish("usage", {"version": 1, "calls": 1, "sessions": []})
        assert b"event: usage" in raw.read_until(b"\n\n")
    wait_until(lambda: len(meter.stream) == 0, seconds=10)


def test_plain_http_to_the_tls_port_is_told(tls_server: Server) -> None:
    with Raw(tls_server.url.replace("https", "http")) as raw:
        status, _, body = raw.send("GET / HTTP/1.1\nHost: HOST").answer()
    assert status == 400
    assert json.loads(body)["error"]["code"] == "https_only"


def test_a_wrong_certificate_is_explained(
    meter: Any, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    for cert in (tmp_path / "no.pem", tmp_path / "missing.pem", None):
        meter.settings = dataclasses.replace(
            meter.settings, port=0, tls_cert=cert, tls_key=certificate[1]
        )
        with pytest.raises(ClawmeterError, match="TLS"):
            Server(meter).start()


# Property tests from the description


#: There is no gateway here: what acts on one says so.
SCHEMATHESIS = """
[[operations]]
include-name-regex = "^(POST|PUT|PATCH|DELETE) /api/(abort|pause|resume|crons)"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"""


def test_schemathesis(server_url: str, meter: Any, tmp_path: Path) -> None:
    """What /api/openapi.json says is so, on the live server."""
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server_url}/api/openapi.json"),
        *("--checks", "all", "--max-examples", "4", "--no-color"),
        *("--exclude-path", "/api/stream", "--request-timeout", "10", "--seed", "1"),
        *("--header", f"Authorization: {bearer(meter)['Authorization']}"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-10_000:] + run.stderr[-2_000:]


def test_everything_answers_while_the_first_index_is_under_way(
    home: MadeHome, meter_factory: Any
) -> None:
    """Its rows are not committed yet and its indexes are dropped: pages show what there is, and how far it is."""
    meter = meter_factory(home.path)
    client = create_app(meter).test_client()
    headers = {"Authorization": f"Bearer {meter.access.load_token()}"}
    asked = {r.path for r in ROUTES if r.method == "GET" and "{" not in r.path} - {"/api/stream"}
    with meter.store.bulk_load():
        answers = {path: client.get(path, headers=headers) for path in asked}
        found = {path: answer.status_code for path, answer in answers.items()}
        told = answers["/api/overview"].get_json()["coverage"]["complete"]
    assert {path for path, status in found.items() if status >= 500} == {"/readyz"}
    assert found["/api/overview"] == 200
    assert told is False
