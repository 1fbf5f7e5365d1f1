#!/usr/bin/env python3
"""A model provider on 127.0.0.1 that OpenClaw can be pointed at, and that keeps an exact bill.

    mock_provider.py --port 18999 --log bill.jsonl

Speaks
  GET  /health, GET /v1/models
  POST /v1/chat/completions   (OpenAI chat completions; streaming SSE and plain JSON)
  POST /v1/messages           (Anthropic messages; streaming SSE and plain JSON)

The last user message steers the reply through directives in its text:
  [[text:some words]]      reply with these words (default: an echo)
  [[tool:NAME {json}]]     call tool NAME with these arguments (several are issued one per round)
  [[think:some words]]     emit a reasoning block first
  [[err:429]] [[err:500]]  answer with this HTTP status
  [[err:500x2]]            answer this status twice, then succeed
  [[usage:IN,OUT,CACHED,CACHEWRITE]]  report exactly these token counts
  [[slow:SECONDS]]         stream over that many seconds (at most 120)
  [[big:N]]                reply with N words
A request without tools is one of OpenClaw's own errands (a summary, a title) that merely quotes
the conversation: the directives in it are not obeyed. Token counts are otherwise ceil(chars/4).

Every request becomes one line of --log when its answer has ended; bill.py reads them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import re
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

DIRECTIVE = re.compile(
    r"\[\[(text|tool|think|err|usage|slow|big):((?:[^\]]|\](?!\]))*)\]\]", re.DOTALL
)
#: OpenClaw tells the model where it runs: at the end of a user message since 2026.8, in the
#: system prompt before (there without the session).
RUNTIME = re.compile(r"^Runtime: (agent=.*)$", re.MULTILINE)
INTERNAL = "<<<BEGIN_OPENCLAW_INTERNAL"
MODELS = ("mock-priced", "mock-noprice", "mock-claude")


def text_of(content: Any) -> str:
    """The text of a message's content, in any of the shapes the two APIs allow."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    out = []
    for part in content:
        if isinstance(part, str):
            out.append(part)
        elif part.get("type") in ("text", "input_text"):
            out.append(part.get("text", ""))
        elif part.get("type") == "tool_result":
            out.append("<tool_result>")
    return "\n".join(out)


def is_tool_result(message: dict[str, Any]) -> bool:
    if message.get("role") in ("tool", "function"):
        return True
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(p, dict) and p.get("type") == "tool_result" for p in content
    )


def system_of(body: dict[str, Any]) -> str:
    """The system prompt: a field of its own at Anthropic, a first message at OpenAI."""
    if body.get("system"):
        return text_of(body["system"])
    return "\n".join(
        text_of(m.get("content"))
        for m in body.get("messages", [])
        if m.get("role") in ("system", "developer")
    )


def runtime_of(body: dict[str, Any]) -> dict[str, str]:
    """What the Runtime line says: agent, session, sessionId, model, … ({} when there is none)."""
    users = [text_of(m.get("content")) for m in body.get("messages", []) if m.get("role") == "user"]
    for text in [*users, system_of(body)]:
        found = RUNTIME.search(text)
        if found:
            pairs = (p.partition("=") for p in found.group(1).split(" | "))
            return {k.strip(): v.strip() for k, _, v in pairs}
    return {}


def tool_names(body: dict[str, Any]) -> list[str]:
    return [t.get("name") or t.get("function", {}).get("name") for t in body.get("tools", [])]


class Provider:
    """What lives as long as the server: the bill, and how often a failing prompt was tried."""

    def __init__(self, log: Path | None) -> None:
        self.lock = threading.Lock()
        self.attempts: dict[str, int] = {}
        self.log: IO[str] | None = log.open("a", encoding="utf-8") if log else None
        self.number = 0

    def next_number(self) -> int:
        with self.lock:
            self.number += 1
            return self.number

    def write(self, row: dict[str, Any]) -> None:
        if self.log:
            with self.lock:
                self.log.write(json.dumps(row) + "\n")
                self.log.flush()

    def plan(self, body: dict[str, Any]) -> dict[str, Any]:
        """Decide what to answer: status, text, think, tool, slow, usage."""
        messages = [m for m in body["messages"] if m.get("role") not in ("system", "developer")]
        at = -1
        for i, m in enumerate(messages):
            # 2026.8+ appends a user message with internal context: not the user's prompt.
            if (
                m.get("role") == "user"
                and not is_tool_result(m)
                and not text_of(m.get("content")).lstrip().startswith(INTERNAL)
            ):
                at = i
        user = text_of(messages[at].get("content")) if at >= 0 else ""
        rounds = sum(1 for m in messages[at + 1 :] if m.get("role") == "assistant")
        found = DIRECTIVE.findall(user) if body.get("tools") else []
        asked = [v for k, v in found if k == "tool"]
        d = {k: v for k, v in found if k != "tool"}
        p: dict[str, Any] = {
            "status": 200,
            "user": user,
            "rounds": rounds,
            # The same prompt tried again is worded differently (2026.9 wraps it in "[Queued user
            # message …]" and "Continue the current task"): its directives are what stays.
            "prompt": hashlib.sha1(repr(found).encode()).hexdigest()[:12] if found else "",
            "think": d.get("think"),
            "slow": min(float(d.get("slow", 0)), 120.0),
            "tool": None,
        }
        if "err" in d:
            m = re.match(r"(\d+)(?:x(\d+))?", d["err"])
            assert m, d["err"]
            with self.lock:
                tried = self.attempts[p["prompt"]] = self.attempts.get(p["prompt"], 0) + 1
                if not m.group(2) or tried <= int(m.group(2)):
                    p["status"] = int(m.group(1))
                else:
                    self.attempts.pop(p["prompt"])  # the next run fails anew
        if rounds < len(asked):
            p["tool"] = self.tool_call(asked[rounds], body)
            p["text"] = ""
        elif "big" in d:
            p["text"] = " ".join(f"word{i}" for i in range(int(d["big"])))
        else:
            echo = re.sub(r"\s+", " ", DIRECTIVE.sub("", user)).strip()[-120:]
            p["text"] = d.get("text") or f"mock reply to: {echo}"
        if "usage" in d:
            p["usage"] = [int(x) for x in [*d["usage"].split(","), "0", "0", "0"][:4]]
        else:
            total = math.ceil(len(json.dumps(body)) / 4)
            cached = (total * 6 // 10) if len(messages) > 1 else 0
            out = math.ceil((len(p["text"]) + len(p["think"] or "") + 8) / 4)
            p["usage"] = [total - cached, out, cached, 0]
        return p

    @staticmethod
    def tool_call(directive: str, body: dict[str, Any]) -> tuple[str, str]:
        name, _, args = directive.strip().partition(" ")
        args = args.strip() or "{}"
        # 2026.8+ "Tool Search": most tools are hidden behind one generic tool_call tool.
        tools = {
            (t.get("function") or t).get("name"): (t.get("function") or t) for t in body["tools"]
        }
        if name not in tools and "tool_call" in tools:
            f = tools["tool_call"]
            props = (f.get("parameters") or f.get("input_schema") or {}).get("properties", {})
            id_key = next((k for k in ("id", "tool", "name", "toolId") if k in props), "id")
            args_key = next(
                (k for k in ("args", "arguments", "input", "params") if k in props), "args"
            )
            return "tool_call", json.dumps({id_key: name, args_key: json.loads(args)})
        return name, args


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def log_message(self, *args: Any) -> None:
        """Say nothing: the bill is the log."""

    def send_json(self, code: int, answer: Any, extra: dict[str, str] | None = None) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for k, v in (extra or {}).items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(raw)

    def start_sse(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()

    def sse(self, data: Any, event: str | None = None) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write(((f"event: {event}\n" if event else "") + f"data: {text}\n\n").encode())
        self.wfile.flush()

    def do_GET(self) -> None:
        if self.path.startswith("/health"):
            self.send_json(200, {"ok": True})
        elif self.path.rstrip("/").endswith("/models"):
            models = [{"id": i, "object": "model", "owned_by": "mock"} for i in MODELS]
            self.send_json(200, {"object": "list", "data": models})
        else:
            self.send_json(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        self.close_connection = True
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            self.send_json(400, {"error": {"message": "bad json"}})
            return
        path = self.path.split("?")[0]
        anthropic = path.endswith("/messages")
        if "messages" not in body or not (anthropic or path.endswith("/chat/completions")):
            self.send_json(404, {"error": {"message": "not found"}})
            return
        p = self.provider.plan(body)
        if anthropic and p["usage"][2] and not p["usage"][3]:
            fresh, out, read, _ = p["usage"]  # Anthropic bills what it writes to the cache
            p["usage"] = [fresh - max(1, fresh // 4), out, read, max(1, fresh // 4)]
        p["id"] = (
            f"{'msg' if anthropic else 'chatcmpl'}-mock-{time.time_ns()}-{self.provider.next_number()}"
        )
        began, delivered = time.time(), False
        try:
            if p["status"] != 200:
                kind = {429: "rate_limit_error", 401: "authentication_error"}.get(
                    p["status"], "api_error"
                )
                error = {
                    "type": kind,
                    "code": kind,
                    "message": f"mock provider error {p['status']}",
                }
                self.send_json(
                    p["status"],
                    {"type": "error", "error": error},
                    {"Retry-After": "1"} if p["status"] == 429 else None,
                )
            elif anthropic:
                self.anthropic(body, p)
            else:
                self.openai(body, p)
            delivered = True
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client hung up: billed, but it never saw the token counts
        finally:
            self.provider.write(self.bill_row(body, p, began, delivered=delivered))

    def bill_row(
        self, body: dict[str, Any], p: dict[str, Any], began: float, *, delivered: bool
    ) -> dict[str, Any]:
        """One line of the bill: what was asked, what it costs, and how it ended."""
        return {
            "ts": began,
            "ts_end": time.time(),
            "path": self.path,
            "status": p["status"],
            "model": body.get("model"),
            # [uncached input, output, cache read, cache write]
            "usage": p["usage"] if p["status"] == 200 else None,
            "reasoning": len(p["think"] or "") // 4,
            "delivered": delivered,
            "response_id": p["id"],
            "runtime": runtime_of(body),
            "prompt": p["prompt"],
            "rounds": p["rounds"],
            "tools": tool_names(body),
            "system": system_of(body)[:200],
            "user": p["user"][:200],
            "user_tail": p["user"][-200:],
            "messages": len(body["messages"]),
            "stream": bool(body.get("stream")),
        }

    def chunks(self, p: dict[str, Any]) -> Any:
        words = re.findall(r"\S+\s*", p["text"]) or [""]
        size = max(1, len(words) // 8)
        parts = ["".join(words[i : i + size]) for i in range(0, len(words), size)]
        for part in parts:
            yield part
            if p["slow"]:
                time.sleep(p["slow"] / len(parts))

    def openai(self, body: dict[str, Any], p: dict[str, Any]) -> None:
        fresh, out, read, write = p["usage"]
        usage = {
            "prompt_tokens": fresh + read + write,
            "completion_tokens": out,
            "total_tokens": fresh + out + read + write,
            "prompt_tokens_details": {
                "cached_tokens": read,
                **({"cache_write_tokens": write} if write else {}),
            },
            "completion_tokens_details": {"reasoning_tokens": len(p["think"] or "") // 4},
        }
        base = {"id": p["id"], "created": int(time.time()), "model": body.get("model")}
        call = None
        if p["tool"]:
            name, args = p["tool"]
            call = {
                "id": f"call_{time.time_ns()}",
                "type": "function",
                "function": {"name": name, "arguments": args},
            }
        finish = "tool_calls" if call else "stop"
        if not body.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": p["text"]}
            if call:
                message["tool_calls"] = [call]
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self.send_json(
                200, {**base, "object": "chat.completion", "usage": usage, "choices": [choice]}
            )
            return
        self.start_sse()

        def chunk(delta: dict[str, Any], fin: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": fin}
            self.sse({**base, "object": "chat.completion.chunk", "choices": [choice]})

        chunk({"role": "assistant", "content": ""})
        if p["think"]:
            chunk({"reasoning_content": p["think"]})
        if call:
            chunk({"tool_calls": [{"index": 0, **call}]})
        else:
            for part in self.chunks(p):
                chunk({"content": part})
        chunk({}, finish)
        self.sse({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.sse("[DONE]")

    def anthropic(self, body: dict[str, Any], p: dict[str, Any]) -> None:
        fresh, out, read, write = p["usage"]
        usage = {
            "input_tokens": fresh,
            "output_tokens": out,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": write,
        }
        blocks: list[dict[str, Any]] = []
        if p["think"]:
            blocks.append(
                {"type": "thinking", "thinking": p["think"], "signature": "bW9jay1zaWduYXR1cmU="}
            )
        if p["tool"]:
            name, args = p["tool"]
            call = {
                "type": "tool_use",
                "id": f"toolu_{time.time_ns()}",
                "name": name,
                "input": json.loads(args),
            }
            blocks.append(call)
        else:
            blocks.append({"type": "text", "text": p["text"]})
        stop = "tool_use" if p["tool"] else "end_turn"
        message = {
            "id": p["id"],
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "stop_sequence": None,
        }
        if not body.get("stream"):
            self.send_json(200, {**message, "content": blocks, "stop_reason": stop, "usage": usage})
            return
        self.start_sse()

        def event(kind: str, **fields: Any) -> None:
            self.sse({"type": kind, **fields}, kind)

        opened = {
            **message,
            "content": [],
            "stop_reason": None,
            "usage": {**usage, "output_tokens": 1},
        }
        event("message_start", message=opened)
        for k, block in enumerate(blocks):
            empty = {
                "text": {"text": ""},
                "thinking": {"thinking": "", "signature": ""},
                "tool_use": {"input": {}},
            }
            event("content_block_start", index=k, content_block={**block, **empty[block["type"]]})
            for delta in self.deltas(block, p):
                event("content_block_delta", index=k, delta=delta)
            event("content_block_stop", index=k)
        event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=usage)
        event("message_stop")

    def deltas(self, block: dict[str, Any], p: dict[str, Any]) -> Any:
        if block["type"] == "text":
            for part in self.chunks(p):
                yield {"type": "text_delta", "text": part}
        elif block["type"] == "thinking":
            yield {"type": "thinking_delta", "thinking": block["thinking"]}
            yield {"type": "signature_delta", "signature": block["signature"]}
        else:
            yield {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=18999)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    handler = type("BoundHandler", (Handler,), {"provider": Provider(args.log)})
    server = ThreadingHTTPServer(("127.0.0.1", args.port), handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"mock provider on http://127.0.0.1:{args.port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
