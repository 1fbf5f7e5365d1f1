"""Health with a real gateway: its log, its port, its own sums."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from served import wait_until
from test_health import adds_up, is_as_described, reasons_of

import clawmeter

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lab

pytestmark = pytest.mark.openclaw


@pytest.fixture(scope="module")
def watched(openclaw_starter: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[lab.RealOpenClaw, clawmeter.Clawmeter]]:  # fmt: skip
    """A gateway after some turns of several agents, and a Clawmeter that is connected to it and has read all."""
    real: lab.RealOpenClaw = openclaw_starter()
    gateway = real.client()
    # Of three agents, one with a model that has no price; one session is deleted again.
    for key in ("agent:main:main", "agent:main:gone", "agent:ops:main", "agent:claude:main"):
        turn = {"message": "hello", "sessionKey": key, "agentId": key.split(":")[1], "idempotencyKey": str(uuid.uuid4())}  # fmt: skip
        gateway.call("agent", turn, final=True, timeout=180)
    gateway.call("sessions.delete", {"key": "agent:main:gone"})
    state = tmp_path_factory.mktemp("state")
    settings = clawmeter.Settings(state_dir=state, homes=(real.home,), time_zone="UTC")
    meter = clawmeter.Clawmeter(settings, env={"HOME": str(state)})
    meter.start()
    wait_until(lambda: meter.gateway_state.status == "connected")
    assert meter.passed.wait(60)
    yield real, meter
    meter.stop()


def test_gateways_own_sums_are_explained(watched: tuple[lab.RealOpenClaw, clawmeter.Clawmeter]) -> None:  # fmt: skip
    _, meter = watched
    answer = meter.reconcile("2d")
    is_as_described("Reconciliation", answer)
    assert (answer["problem"], answer["is_fresh"], answer["is_utc"]) == (None, True, True)
    adds_up(answer)
    total = answer["total"]
    assert total["theirs_tokens"] > 0
    assert answer["sessions"] >= 3
    usage = meter.queries.usage(from_="2d", tz="UTC")["totals"]
    assert (total["ours_tokens"], total["ours_nano_usd"]) == (usage["total_tokens"], usage["cost_nano_usd"])  # fmt: skip
    # The deleted session is all that the gateway may leave out.
    assert set(reasons_of(total)) <= {"archived", "not_listed", "rounding"}
    assert (total["rest_tokens"], total["rest_nano_usd"]) == (0, 0)


def test_log_comes_through_the_gateway_and_from_its_file(watched: tuple[lab.RealOpenClaw, clawmeter.Clawmeter]) -> None:  # fmt: skip
    real, meter = watched
    told = meter.gateway_log.read(level="trace", subsystem="", q="", limit=1000)
    assert (told["source"], told["problem"]) == ("gateway", None)
    assert told["lines"]
    assert "gateway" in " ".join(told["subsystems"])
    assert real.token not in str(told)
    meter.gateway_log.ask = lambda _: (_ for _ in ()).throw(clawmeter.GatewayError("off", "off"))
    meter.gateway_log.find = lambda: clawmeter.Path(told["path"])
    read = meter.gateway_log.read(level="trace", subsystem="", q="", limit=1000)
    assert read["source"] == "file"
    assert {line["text"] for line in told["lines"][-5:]} <= {line["text"] for line in read["lines"]}


def test_machine_knows_the_gateway(watched: tuple[lab.RealOpenClaw, clawmeter.Clawmeter]) -> None:
    real, meter = watched
    told = meter.system_health()
    assert told["gateway"]["listening"] is True
    assert told["gateway"]["url"] == f"ws://127.0.0.1:{real.port}"
    assert told["delivery"]["problem"] is None
    assert meter.queries.health()["gateway"]["version"] == "2026.9.6"
