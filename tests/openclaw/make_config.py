#!/usr/bin/env python3
"""Write the openclaw.json (and workspaces) of a throw-away OpenClaw home for the mock provider.

    make_config.py GENERATION HOME GATEWAY_PORT MOCK_PORT TOKEN [OTLP_PORT]

GENERATION is feb, mid or latest (run_openclaw.sh knows which version is which).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

#: USD per million tokens, of every model but mock-noprice; bill.py computes with them.
PRICE = {"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75}


def workspace(state: Path, agent: str) -> str:
    path = state / ("workspace" if agent == "main" else f"workspace-{agent}")
    path.mkdir(parents=True, exist_ok=True)
    (path / "notes.txt").write_text(f"hello from the {agent} workspace\nsecond line\n")
    return str(path)


def model(name: str, price: dict[str, float] | None) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "reasoning": True,
        "input": ["text"],
        "contextWindow": 200000,
        "maxTokens": 8192,
        **({"cost": price} if price else {}),
    }


def config(
    generation: str, home: Path, port: int, mock: int, token: str, otlp: int = 0
) -> dict[str, Any]:
    state = home / ".openclaw"
    base = f"http://127.0.0.1:{mock}"
    providers = {
        "mock": {
            "baseUrl": f"{base}/v1",
            "apiKey": "sk-mock-0000",
            "api": "openai-completions",
            "models": [model("mock-priced", PRICE), model("mock-noprice", None)],
        },
        "mockanthropic": {
            "baseUrl": base,
            "apiKey": "sk-ant-mock-0000",
            "api": "anthropic-messages",
            "models": [model("mock-claude", PRICE)],
        },
    }
    defaults: dict[str, Any] = {
        "workspace": workspace(state, "main"),
        "model": {"primary": "mock/mock-priced"},
        "heartbeat": {"every": "0m"},
        "skipBootstrap": True,
    }
    agents = [
        {
            "id": "main",
            "default": True,
            "workspace": workspace(state, "main"),
            "subagents": {"allowAgents": ["*"]},
        },
        {
            "id": "ops",
            "workspace": workspace(state, "ops"),
            "model": {"primary": "mock/mock-noprice"},
        },
        {
            "id": "claude",
            "workspace": workspace(state, "claude"),
            "model": {"primary": "mockanthropic/mock-claude"},
        },
    ]
    c: dict[str, Any] = {
        "gateway": {
            "mode": "local",
            "port": port,
            "bind": os.environ.get("LAB_BIND", "loopback"),
            "auth": {"mode": "token", "token": token},
            "controlUi": {"enabled": True},
        },
        "models": {"mode": "merge", "providers": providers},
        "agents": {"defaults": defaults, "list": agents},
        "tools": {"exec": {"security": "full", "ask": "off"}},
        "discovery": {"mdns": {"mode": "off"}},
        "update": {"checkOnStart": False},
        # Every gateway of a user writes into one shared log in /tmp unless it is told otherwise.
        "logging": {"level": "info", "file": str(home / "openclaw.log")},
    }
    if generation == "latest":
        # Errands that OpenClaw bills and does not write down: recaps and titles go to the utility
        # model, file names of session memories to the agent's own.
        defaults["utilityModel"] = "mock/mock-noprice"
        memory = {"enabled": True, "llmSlug": True}
        c["hooks"] = {"internal": {"enabled": True, "entries": {"session-memory": memory}}}
    if otlp:
        c["diagnostics"] = {
            "enabled": True,
            "otel": {
                "enabled": True,
                "endpoint": f"http://127.0.0.1:{otlp}",
                "protocol": "http/protobuf",
                "serviceName": "openclaw-gateway",
                "traces": True,
                "metrics": True,
                "logs": True,
                "sampleRate": 1,
                "flushIntervalMs": 5000,
            },
        }
        c["plugins"] = {"entries": {"diagnostics-otel": {"enabled": True}}}
    return c


def main() -> None:
    generation, home, port, mock, token, *otlp = sys.argv[1:]
    made = config(generation, Path(home), int(port), int(mock), token, int(otlp[0]) if otlp else 0)
    (Path(home) / ".openclaw" / "openclaw.json").write_text(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
