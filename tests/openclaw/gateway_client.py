#!/usr/bin/env python3
"""A small OpenClaw gateway client for tests (token from openclaw.json; optional Ed25519 device).

    gateway_client.py --config ~/.openclaw/openclaw.json call sessions.list '{"limit":5}'
    gateway_client.py --config ~/.openclaw/openclaw.json events 30

Works with protocol 3 (2026.2) and 4 (2026.5 and later). As a library:
`Gateway(url, token).connect()`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import websocket
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Frame = dict[str, Any]
READ_WRITE = ("operator.read", "operator.write", "operator.admin", "operator.approvals")


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Identity:
    """A device: its id is hex sha256 of the raw 32-byte Ed25519 public key.

    Public key and signature travel as base64url without padding.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key
        self.public = key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        self.id = hashlib.sha256(self.public).hexdigest()
        self.device_token: str | None = None

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        if path.exists():
            stored = json.loads(path.read_text())
            me = cls(Ed25519PrivateKey.from_private_bytes(base64.b64decode(stored["key"])))
            me.device_token = stored.get("deviceToken")
            return me
        me = cls(Ed25519PrivateKey.generate())
        me.save(path)
        return me

    def save(self, path: Path) -> None:
        raw = self.key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )
        stored = {"key": base64.b64encode(raw).decode(), "deviceToken": self.device_token}
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as f:
            json.dump(stored, f)

    def sign(
        self,
        version: str,
        client: dict[str, str],
        role: str,
        scopes: Sequence[str],
        token: str | None,
        nonce: str,
        ts: int,
    ) -> dict[str, Any]:
        """The `device` of a connect; v3 (2026.6 and later) also signs platform and family."""
        parts = [version, self.id, client["id"], client["mode"], role, ",".join(scopes), str(ts)]
        parts += [token or "", nonce]
        if version == "v3":
            parts += [client.get(k, "").strip().lower() for k in ("platform", "deviceFamily")]
        return {
            "id": self.id,
            "publicKey": b64url(self.public),
            "signature": b64url(self.key.sign("|".join(parts).encode())),
            "signedAt": ts,
            "nonce": nonce,
        }


class RpcError(Exception):
    """The gateway answered a request with an error."""

    def __init__(self, error: Any) -> None:
        super().__init__(json.dumps(error))
        self.error = error


class Gateway:
    """One connection; frames are read by a thread and kept in `events`."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        identity: Identity | None = None,
        client_id: str = "gateway-client",
        mode: str = "backend",
        scopes: Sequence[str] = ("operator.read",),
        caps: Sequence[str] = (),
        signature: str = "v2",
        record: Path | None = None,
        timeout: float = 30,
    ) -> None:
        self.url, self.token, self.identity, self.timeout = url, token, identity, timeout
        self.client = {"id": client_id, "version": "0.0.1", "platform": "linux", "mode": mode}
        self.scopes, self.caps, self.signature = list(scopes), list(caps), signature
        self.recording = record.open("a", encoding="utf-8") if record else None
        self.pending: dict[str, tuple[threading.Event, list[Frame]]] = {}
        self.events: list[Frame] = []
        self.lock = threading.Lock()
        self.on_event: Callable[[Frame], None] | None = None
        self.hello: Frame = {}
        self.closed: dict[str, Any] | None = None

    def _record(self, direction: str, frame: Any) -> None:
        if self.recording:
            row = {"t": round(time.time(), 3), "dir": direction, "frame": frame}
            with self.lock:
                self.recording.write(json.dumps(row) + "\n")
                self.recording.flush()

    def _receive(self) -> Frame:
        op, data = self.ws.recv_data()
        if op == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else None
            self.closed = {"code": code, "reason": data[2:].decode(errors="replace")}
            self._record("close", self.closed)
            msg = f"closed {self.closed}"
            raise ConnectionError(msg)
        frame: Frame = json.loads(data)
        self._record("recv", frame)
        return frame

    def _send(self, frame: Frame) -> None:
        self._record("send", frame)
        self.ws.send(json.dumps(frame))

    def connect(self) -> Frame:
        """Shake hands; the hello-ok payload."""
        # No Origin header: a browser-like Origin triggers the gateway's origin check.
        self.ws = websocket.create_connection(self.url, timeout=self.timeout, suppress_origin=True)
        challenge = self._receive()["payload"]
        nonce, ts = challenge["nonce"], challenge.get("ts") or int(time.time() * 1000)
        params: Frame = {
            "minProtocol": 3,
            "maxProtocol": 4,
            "client": self.client,
            "role": "operator",
            "scopes": self.scopes,
            "caps": self.caps,
            "auth": {"token": self.token} if self.token else {},
        }
        if self.identity:
            params["device"] = self.identity.sign(
                self.signature, self.client, "operator", self.scopes, self.token, nonce, ts
            )
        rid = str(uuid.uuid4())
        self._send({"type": "req", "id": rid, "method": "connect", "params": params})
        answer = self._receive()
        while answer.get("type") != "res" or answer.get("id") != rid:
            answer = self._receive()
        if not answer.get("ok"):
            raise RpcError(answer.get("error"))
        self.hello = answer["payload"]
        self.ws.settimeout(None)
        threading.Thread(target=self._loop, name="gateway-client", daemon=True).start()
        return self.hello

    def _loop(self) -> None:
        try:
            while True:
                frame = self._receive()
                if frame.get("type") == "res":
                    waiting = self.pending.get(frame.get("id", ""))
                    if waiting:
                        waiting[1].append(frame)
                        waiting[0].set()
                elif frame.get("type") == "event":
                    self.events.append(frame)
                    if self.on_event:
                        self.on_event(frame)
        except Exception as e:
            self.closed = self.closed or {"error": str(e)}
            for waiting in list(self.pending.values()):
                waiting[0].set()

    def call(
        self, method: str, params: Frame | None = None, *, timeout: float = 30, final: bool = False
    ) -> Any:
        """Call a method. `final` waits for the second answer of two-phase methods (agent)."""
        rid = str(uuid.uuid4())
        waiting: tuple[threading.Event, list[Frame]] = (threading.Event(), [])
        self.pending[rid] = waiting
        self._send({"type": "req", "id": rid, "method": method, "params": params or {}})
        end = time.monotonic() + timeout
        answer: Frame | None = None
        while time.monotonic() < end and not self.closed:
            waiting[0].wait(0.05)
            answer = waiting[1][-1] if waiting[1] else None
            if answer is None:
                continue
            payload = answer.get("payload")
            if final and isinstance(payload, dict) and payload.get("status") == "accepted":
                answer = None
                continue
            break
        self.pending.pop(rid, None)
        if answer is None:
            msg = f"{method}: no answer in {timeout} s ({self.closed})"
            raise TimeoutError(msg)
        if not answer.get("ok"):
            raise RpcError(answer.get("error"))
        return answer.get("payload")

    def wait_for(
        self, wanted: Callable[[Frame], bool], *, since: int = 0, timeout: float = 30
    ) -> bool:
        """Wait until an event after the first `since` ones is the wanted one."""
        end = time.monotonic() + timeout
        at = since
        while time.monotonic() < end and not self.closed:
            while at < len(self.events):
                if wanted(self.events[at]):
                    return True
                at += 1
            time.sleep(0.05)
        return False

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.ws.close()


def from_config(path: Path, **options: Any) -> Gateway:
    """A Gateway for the openclaw.json at `path` (plain JSON, as make_config.py writes it)."""
    gateway = json.loads(path.read_text()).get("gateway", {})
    url = f"ws://127.0.0.1:{gateway.get('port', 18789)}"
    return Gateway(url, gateway.get("auth", {}).get("token"), **options)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--identity", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--scopes", default=",".join(READ_WRITE))
    parser.add_argument("--caps", default="tool-events")
    parser.add_argument("action", choices=["call", "events", "hello"])
    parser.add_argument("rest", nargs="*")
    args = parser.parse_args()
    gateway = from_config(
        args.config,
        identity=Identity.load_or_create(args.identity) if args.identity else None,
        scopes=[s for s in args.scopes.split(",") if s],
        caps=[c for c in args.caps.split(",") if c],
        record=args.record,
    )
    hello = gateway.connect()
    if args.action == "hello":
        print(json.dumps(hello, indent=1))
    elif args.action == "call":
        params = json.loads(args.rest[1]) if len(args.rest) > 1 else {}
        answer = gateway.call(args.rest[0], params, final=args.rest[0] == "agent", timeout=120)
        print(json.dumps(answer, indent=1))
    else:
        gateway.on_event = lambda frame: print(json.dumps(frame), flush=True)
        time.sleep(min(float(args.rest[0]) if args.rest else 10, 600))
    gateway.close()


if __name__ == "__main__":
    main()
