"""Acting on a real OpenClaw: a run is aborted, a gateway with cron jobs paused and resumed, and a device approved."""

from __future__ import annotations

import re
import socket
import uuid
from typing import Any

import gateway_client
import lab
import pytest
from served import wait_until

import clawmeter

pytestmark = pytest.mark.openclaw


@pytest.fixture(scope="module")
def real(openclaw_starter: Any) -> lab.RealOpenClaw:
    started: lab.RealOpenClaw = openclaw_starter()
    return started


@pytest.fixture
def operator(real: lab.RealOpenClaw) -> gateway_client.Gateway:
    """Somebody else who works with the gateway, and may do everything."""
    return real.client(*gateway_client.READ_WRITE, "operator.pairing")


@pytest.fixture
def meter(real: lab.RealOpenClaw, meter_factory: Any) -> clawmeter.Clawmeter:
    made: clawmeter.Clawmeter = meter_factory(real.home, gateway=True)
    made.start()
    assert made.passed.wait(30)
    wait_until(lambda: made.gateway_state.status == "connected", "a connection")
    return made


def client_of(meter: clawmeter.Clawmeter) -> Any:
    client = clawmeter.create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    return client


def start_run(operator: gateway_client.Gateway, key: str) -> None:
    message = "be slow [[slow:100]] [[big:400]]"
    operator.call("agent", {"message": message, "idempotencyKey": str(uuid.uuid4()), "sessionKey": key}, timeout=60)  # fmt: skip


def run_of(meter: clawmeter.Clawmeter, key: str) -> dict[str, Any]:
    found = next((view.run for view in meter.gateway_state.live() if view.key == key), None)
    return found or {"running": False, "doing": None}


def cron_jobs(operator: gateway_client.Gateway) -> dict[str, dict[str, Any]]:
    answer = operator.call("cron.list", {"includeDisabled": True, "limit": 200})
    return {job["name"]: job for job in answer["jobs"]}


def add_job(operator: gateway_client.Gateway, name: str, *, enabled: bool = True) -> dict[str, Any]:
    job = {
        "name": name, "enabled": enabled, "schedule": {"kind": "every", "everyMs": 86_400_000}, "sessionTarget": "isolated",
        "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "hello"}, "delivery": {"mode": "none"},
    }  # fmt: skip
    added: dict[str, Any] = operator.call("cron.add", job)
    return added


def test_a_run_is_aborted(meter: clawmeter.Clawmeter, operator: gateway_client.Gateway) -> None:
    client, key = client_of(meter), "agent:main:abortme"
    assert client.get(f"/api/abort/{key}").status_code == 404
    assert client.post(f"/api/abort/{key}").status_code == 404
    start_run(operator, key)
    wait_until(lambda: run_of(meter, key)["doing"] == "answering", "the run", 90)
    plan = client.get(f"/api/abort/{key}").json
    assert plan["steps"] == [{"method": "sessions.abort", "params": {"key": key}, "target": key}]
    answer = client.post(f"/api/abort/{key}")
    assert answer.status_code == 200, (
        answer.json,
        client.get("/api/actions").json,
        meter.gateway_state.running(),
    )
    assert answer.json["aborted"] is True
    wait_until(lambda: run_of(meter, key)["doing"] == "aborted", "the end of the run")
    [row, *_] = client.get("/api/actions").json
    assert (row["kind"], row["method"], row["outcome"], row["who"]) == ("session.abort", "sessions.abort", "ok", "dashboard token")  # fmt: skip
    assert row["answer"]["status"] == "aborted"
    assert client.post(f"/api/abort/{key}").json["error"]["code"] == "not_running"


def test_pausing_and_resuming_restores_exactly_what_was_changed(
    real: lab.RealOpenClaw, meter: clawmeter.Clawmeter, meter_factory: Any, operator: gateway_client.Gateway
) -> None:  # fmt: skip
    names = ["kept", "edited", "removed", "switched on"]
    ids = {name: add_job(operator, name)["id"] for name in names}
    ids["was off"] = add_job(operator, "was off", enabled=False)["id"]
    before = cron_jobs(operator)
    start_run(operator, "agent:main:paused")
    wait_until(lambda: run_of(meter, "agent:main:paused")["doing"] == "answering", "the run", 90)

    client = client_of(meter)
    plan = client.get("/api/pause").json
    assert plan["paused"] is False
    assert plan["steps"][-2]["method"] == "set-heartbeats"
    assert plan["steps"][-1] == {"method": "sessions.abort", "params": {"key": "agent:main:paused"}, "target": "agent:main:paused"}  # fmt: skip
    answer = client.post("/api/pause").json
    assert (answer["paused"], answer["problems"], answer["heartbeats"]) == (True, [], True)
    assert answer["steps"] == plan["steps"]
    assert set(names) <= set(answer["jobs"])
    assert "was off" not in answer["jobs"]
    # OpenClaw lets nobody switch off its own; that is said before.
    still_on = {name for name, job in cron_jobs(operator).items() if job["enabled"]}
    assert still_on == set(plan["locked"]) == set(answer["locked"])
    wait_until(lambda: not run_of(meter, "agent:main:paused")["running"], "the end of the run")
    assert ", paused" in meter.gateway_state.describe()["text"]

    # Meanwhile others work, and Clawmeter is restarted.
    operator.call("cron.update", {"id": ids["edited"], "patch": {"schedule": {"kind": "every", "everyMs": 7_200_000}}})  # fmt: skip
    operator.call("cron.update", {"id": ids["switched on"], "patch": {"enabled": True}})
    operator.call("cron.remove", {"id": ids["removed"]})
    meter.stop()
    second = meter_factory(real.home, gateway=True, state_dir=meter.settings.state_dir)
    second.start()
    wait_until(lambda: second.gateway_state.status == "connected", "a connection")
    assert second.gateway_state.describe()["paused_ms"]
    client = client_of(second)
    plan = client.get("/api/pause").json
    left = [("edited", "changed"), ("removed", "gone"), ("switched on", "on")]
    assert sorted((row["job"], row["why"]) for row in plan["left"]) == left
    answer = client.post("/api/resume").json
    assert (answer["paused"], answer["problems"]) == (False, [])
    assert sorted((row["job"], row["why"]) for row in answer["left"]) == left
    after = {name: job["enabled"] for name, job in cron_jobs(operator).items()}
    expected = {name: job["enabled"] for name, job in before.items() if name != "removed"}
    assert after == {**expected, "edited": False}
    assert client.post("/api/resume").json["error"]["code"] == "not_paused"
    kinds = {row["kind"] for row in client.get("/api/actions").json}
    assert kinds == {"gateway.pause", "gateway.resume"}  # both Clawmeters'


def test_neither_listening_nor_acting_adds_a_device(
    real: lab.RealOpenClaw, meter: clawmeter.Clawmeter, meter_factory: Any, operator: gateway_client.Gateway
) -> None:  # fmt: skip
    """One connect a minute, all day: no gateway that comes and goes sees more."""
    before = operator.call("device.pair.list")
    other = meter_factory(real.home, gateway=True)
    for _ in range(24 * 60):
        assert other.gateway.probe()["status"] == "connected"
    for _ in range(25):
        meter.actions.call(0, ("set-heartbeats", {"enabled": True}), kind="t", target="t", who="t")
    assert operator.call("device.pair.list") == before


def own_address() -> str:
    """This machine's address on its network; skips where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no network")
        return str(probe.getsockname()[0])


def approve(real: lab.RealOpenClaw, advice: str) -> None:
    """Do what a person is told to do."""
    match = re.fullmatch(r"on its machine: openclaw (devices approve [\w-]+)", advice)
    assert match, advice
    real.run("cli", "--", *match[1].split())


def test_a_gateway_on_another_machine_is_listened_to_once_it_has_approved_us(
    openclaw_starter: Any, meter_factory: Any
) -> None:
    """Its own network address makes it one: it wants a device, and so does every action that needs more."""
    real: lab.RealOpenClaw = openclaw_starter(bind="lan")
    meter = meter_factory(real.home, gateway=True, gateway_url=f"ws://{own_address()}:{real.port}")
    meter.gateway.REFUSED_DELAY_S = meter.gateway.LONGEST_DELAY_S = 1.0
    meter.gateway.start()
    state = meter.gateway_state
    wait_until(lambda: state.status == "pairing", "the request")
    assert (meter.settings.state_dir / "device.pem").stat().st_mode & 0o777 == 0o600
    approve(real, state.describe()["what_to_do"])
    wait_until(lambda: state.status == "connected", "a connection")

    def act() -> Any:
        return meter.actions.call(0, ("set-heartbeats", {"enabled": True}), kind="t", target="t", who="t")  # fmt: skip

    with pytest.raises(clawmeter.GatewayError, match="approved") as refused:
        act()
    assert refused.value.code == "gateway_pairing"
    assert refused.value.advice
    approve(real, refused.value.advice)
    assert act()["ok"] is True
