"""A gateway for tests: a real WebSocket server on loopback that says what it is told to say."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import inspect
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

from homes import TESTS
from served import PATIENCE_S, wait_until

if TYPE_CHECKING:
    import ssl

Json = dict[str, Any]
RECORDED = TESTS / "data" / "gateway"
VERSIONS = ("2026.2.12", "2026.2.26", "2026.4.24", "2026.6.11", "2026.9.6")
TOKEN = "token-of-the-gateway"
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def recorded(version: str) -> list[list[Json]]:
    """The connections of a recording; each begins with its challenge. An answer of sessions.list stands at the end."""
    connections: list[list[Json]] = []
    for line in (RECORDED / f"{version}.jsonl").read_text(encoding="utf-8").splitlines():
        frame = json.loads(line)
        if frame.get("event") == "connect.challenge":
            connections.append([])
        connections[-1].append(frame)
    return connections


def encode(data: bytes, opcode: int = 1, *, last: bool = True) -> bytes:
    """One frame of a server: not masked."""
    size = len(data)
    head = bytes([opcode | (0x80 if last else 0)])
    if size < 126:
        return head + bytes([size]) + data
    if size < 1 << 16:
        return head + b"\x7e" + size.to_bytes(2, "big") + data
    return head + b"\x7f" + size.to_bytes(8, "big") + data


class Connection:
    """One client of the gateway, as the gateway sees it."""

    def __init__(self, gateway: FakeGateway, sock: socket.socket) -> None:
        self.gateway, self.sock = gateway, sock
        self.file = sock.makefile("rb")
        self.headers: dict[str, str] = {}
        self.requests: list[Json] = []
        self.is_in = threading.Event()  # hello-ok was sent
        self.is_over = threading.Event()
        self.sending = threading.Lock()
        self.said_goodbye = False
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError):
            self._shake_hands()
            self.say({"type": "event", "event": "connect.challenge", "payload": {"nonce": "n", "ts": 1795237572293}})  # fmt: skip
            while True:
                request = json.loads(self._read())
                self.requests.append(request)
                for answer in self.gateway.answer(request):
                    frame = encode(
                        json.dumps({"type": "res", "id": request["id"], **answer}).encode()
                    )
                    # As a real one does, in one piece with the reason.
                    is_refused = request["method"] == "connect" and not answer["ok"]
                    self.raw(
                        frame
                        + (encode((1008).to_bytes(2, "big") + b"refused", 8) if is_refused else b"")
                    )
                    if request["method"] == "connect" and answer["ok"]:
                        self.is_in.set()
        self.is_over.set()
        self.drop()
        self.file.close()

    def _shake_hands(self) -> None:
        while line := self.file.readline().strip().decode():
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        if "sec-websocket-key" not in self.headers:  # only looked whether somebody listens
            raise EOFError
        key = self.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.sock.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    def _exactly(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _read(self) -> bytes:
        """The next text of the client; clients mask theirs."""
        while True:
            first, size = self._exactly(2)
            assert size & 0x80
            size &= 0x7F
            if size >= 126:
                size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
            mask = self._exactly(4)
            data = bytes(b ^ mask[n % 4] for n, b in enumerate(self._exactly(size)))
            if first & 0x0F == 8:
                self.said_goodbye = True
                raise EOFError
            if first & 0x0F == 1:
                return data

    def asked(self, method: str) -> int:
        return sum(r["method"] == method for r in self.requests)

    def raw(self, data: bytes) -> None:
        with self.sending:  # a long message is sent in pieces: an answer must not come between them
            self.sock.sendall(data)

    def say(self, *frames: Json) -> None:
        self.raw(b"".join(encode(json.dumps(f).encode()) for f in frames))

    def close(self, code: int, reason: str = "") -> None:
        self.raw(encode(code.to_bytes(2, "big") + reason.encode(), 8))

    def drop(self) -> None:
        """Gone, without a word."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class FakeGateway:
    """Listens, and lets in whoever has the token.

    `answers` says what a method gives: a payload, an error as {"error": …}, "silence", or a function of the parameters (or of
    nothing) that gives one of these.
    """

    def __init__(
        self, version: str = "2026.9.6", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.token: str | None = TOKEN
        self.hello: Json = recorded(version)[0][1]["payload"]
        self.refusal: Json | None = None
        self.answers: dict[str, Any] = {"sessions.subscribe": {"subscribed": True}, "sessions.list": {"sessions": []}}  # fmt: skip
        self.connections: list[Connection] = []
        self.listener = socket.create_server(("127.0.0.1", port))
        if tls:
            self.listener = tls.wrap_socket(self.listener, server_side=True)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections.append(Connection(self, sock))

    def answer(self, request: Json) -> list[Json]:
        if request["method"] == "connect":
            if self.refusal:
                return [{"ok": False, "error": self.refusal}]
            given = request["params"].get("auth", {}).get("token")
            if given != self.token:
                return [{"ok": False, "error": {"code": "INVALID_REQUEST", "message": "unauthorized: gateway token mismatch (provide gateway auth token)", "details": {"code": "AUTH_TOKEN_MISMATCH"}}}]  # fmt: skip
            return [{"ok": True, "payload": self.hello}]
        found = self.answers.get(request["method"])
        if callable(found):
            found = found(request["params"]) if inspect.signature(found).parameters else found()
        if found is None:
            return [{"ok": False, "error": {"code": "INVALID_REQUEST", "message": f"unknown method: {request['method']}"}}]  # fmt: skip
        if found == "silence":
            return []
        if "error" in found:
            return [{"ok": False, "error": found["error"]}]
        return [{"ok": True, "payload": found}]

    def client(self, number: int = 1) -> Connection:
        """The n-th client, once it is in."""
        wait_until(lambda: len(self.connections) >= number, f"connection {number}")
        connection = self.connections[number - 1]
        assert connection.is_in.wait(PATIENCE_S), f"client {number} did not get in"
        return connection

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE_S)
        for connection in self.connections:
            connection.drop()
            connection.thread.join(PATIENCE_S)


def agent_event(stream: str, data: Json, *, seq: int | None = None, **more: Any) -> Json:
    """An `agent` event of 2026.9.6, about run r1 of agent:main:main unless told otherwise."""
    payload = {"runId": "r1", "sessionKey": "agent:main:main", "agentId": "main", "stream": stream, "data": data, "ts": 1795237573000, **more}  # fmt: skip
    return {"type": "event", "event": "agent", "payload": payload, **({} if seq is None else {"seq": seq})}  # fmt: skip


def start(seq: int | None = None, **more: Any) -> Json:
    return agent_event("lifecycle", {"phase": "start", "startedAt": 1795237573000}, seq=seq, **more)


def end(seq: int | None = None, **more: Any) -> Json:
    return agent_event("lifecycle", {"phase": "end"}, seq=seq, **{"ts": 1795237574000, **more})


def tool(
    phase: str, name: str = "exec", seq: int | None = None, call: str = "c1", **more: Any
) -> Json:
    return agent_event("tool", {"phase": phase, "name": name, "toolCallId": call}, seq=seq, **more)


def tick(seq: int | None = None) -> Json:
    return {"type": "event", "event": "tick", "payload": {"ts": 1}, **({} if seq is None else {"seq": seq})}  # fmt: skip


def row(key: str = "agent:main:main", **more: Any) -> Json:
    """A row of sessions.list, as 2026.9.6 gives it."""
    return {"key": key, "sessionId": f"id-of-{key}", "updatedAt": 1795237573000, "status": "done", "hasActiveRun": False, "activeRunIds": [], **more}  # fmt: skip
