"""What the server says in English, found in its source: the pages have a Chinese form for each."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOLE = "\x00"  # where a sentence has a path, a number, or what another one says

#: Errors whose words a page draws: where something is asked of the ledger, of OpenClaw's files or of a gateway.
ERRORS = {
    "ConnectionError", "DatabaseChangedError", "GatewayError", "NoAnswerError", "OSError", "QueryError", "ScheduleError", "SourceError",
    "StoreError", "TokenRefusedError",
}  # fmt: skip
#: An answer with another status is for a program that asks in a wrong way, or the pages have words of their own for it.
DRAWN_STATUSES = {404, 409, 503}
#: Fields of the API that are prose, and names of variables that end in them.
NAMES = {"advice", "last_error", "notice", "problem", "reason", "token_problem", "what_to_do", "why", "why_not"}  # fmt: skip
#: Functions that return such prose, and those that are given some; with what others put before it.
TELLING = {
    "complain_of_file": "",
    "complain_of_token": "",
    "list_memory_files": "",
    "problem_of": f"{HOLE} ",
}
TOLD = {"StreamsFull": "", "bad": f"{HOLE}: ", "set_status": ""}
#: Functions that run before there is a page, or say what only a program gets wrong.
BEFORE_ANY_PAGE = {"_open", "_read_rows", "parse_choice", "parse_int"}


def forms(node: ast.AST | None) -> list[str]:
    """The texts that an expression may give, with holes; none for what is no text as far as can be seen."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr(values=values):
            out = [""]
            for value in values:
                out = [a + b for a in out for b in forms(value) or [HOLE]]
            return out
        case ast.FormattedValue(value=value):
            return forms(value) or [HOLE]
        case ast.IfExp(body=body, orelse=orelse):
            return forms(body) + forms(orelse)
        case ast.BoolOp(values=values):
            return [text for value in values for text in forms(value)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [a + b for a in forms(left) or [HOLE] for b in forms(right) or [HOLE]]
        case ast.Tuple(elts=some) | ast.Dict(values=some):
            return [text for one in some for text in forms(one)]
    return []


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_drawn(call: ast.Call) -> bool:
    name = name_of(call.func)
    if name == "ApiError":
        return isinstance(call.args[0], ast.Constant) and call.args[0].value in DRAWN_STATUSES
    return name in ERRORS or name in TOLD


def said_in(function: ast.FunctionDef) -> Iterator[tuple[str, ast.AST]]:
    """(what is put before it, an expression that is a sentence), told by where it stands."""
    variables: dict[str, list[ast.AST]] = {}
    for one in ast.walk(function):
        match one:
            case ast.Assign(targets=[target], value=value):
                variables.setdefault(name_of(target), []).append(value)
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                if any(name_of(part) in NAMES for part in parts):
                    yield "", value
            case ast.Call(func=func, args=args) if is_drawn(one):
                before = TOLD.get(name_of(func), "")
                for value in args[1:] if before else args:
                    if isinstance(value, ast.Name):  # `msg = …; raise SourceError(msg)`
                        yield from (("", given) for given in variables.pop(value.id, ()))
                    else:
                        yield before, value
            case ast.keyword(arg=str() as name, value=value) if name in NAMES:
                yield "", value
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in NAMES:
                        yield "", value
            case ast.Return(value=ast.AST() as value) if function.name in TELLING:
                yield TELLING[function.name], value


def sentences(source: str) -> set[str]:
    """All that is drawn as prose, with holes. A sentence has more than one word: the others are codes."""
    functions = (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.FunctionDef))
    found = {
        before + text
        for function in functions if function.name not in BEFORE_ANY_PAGE
        for before, said in said_in(function)
        for text in forms(said)
    }  # fmt: skip
    return {text for text in found if re.search(r"[a-z]+ [a-z]+", text.replace(HOLE, "0"))}


def is_known(text: str, known: Sequence[str]) -> bool:
    """Whether tPhrase() of dom.js has a form for all words of a text: the first that fits decides, as there."""
    if not re.search("[A-Za-z]{2}", text):
        return True
    for one in known:
        form = "(.+)".join(re.escape(part) for part in re.split(r"\{\w+\}", one))
        if found := re.fullmatch(form, text):
            return all(is_known(part, known) for part in found.groups())
    return False
