"""What `nalar dev` says once it serves: where, what, and how to call it. Pure."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

#: Where a client looks when nobody tells it.
_DEFAULT_URL = "nats://127.0.0.1:4222"
_ORDER = ("workflow", "agent", "tool")
#: What stands for a value of a JSON type in an example.
_EXAMPLES: dict[str, object] = {
    "string": "...", "integer": 1, "number": 1.0, "boolean": True, "object": {}, "null": None,
}  # fmt: skip


def told(url: str, agents: Sequence[Mapping[str, Any]]) -> str:
    """Return the lines that say what is served at `url`, for people."""
    lines = ["", f"Serving on {url}", ""]
    ordered = sorted(agents, key=lambda agent: (_ORDER.index(agent["kind"]), agent["name"]))
    for agent in ordered:
        state = ", with state" if agent["hints"]["stateful"] else ""
        calls = ", ".join(_signature(agent, name) for name in agent["methods"])
        lines.append(f"  {agent['kind']:<9} {calls}{state}")
    example = _example(ordered)
    if example:
        where = "" if url == _DEFAULT_URL else f" --server {url}"
        lines += ["", "Call it from another terminal:", "", f"  {example}{where}"]
    lines += ["", "Ctrl-C stops it; running calls may finish first.", ""]
    return "\n".join(lines)


def _signature(agent: Mapping[str, Any], method: str) -> str:
    names = ", ".join(p["name"] for p in agent["methods"][method]["parameters"])
    return f"{_label(agent, method)}({names})"


def _label(agent: Mapping[str, Any], method: str) -> str:
    return f"{agent['name']}.{method}" if agent["kind"] == "agent" else str(agent["name"])


def _example(agents: Iterable[Mapping[str, Any]]) -> str:
    """Return a command that calls the first of `agents`, ready to be filled in."""
    for agent in agents:
        for method, facts in agent["methods"].items():
            given = {p["name"]: _value(p["schema"]) for p in facts["parameters"] if p["required"]}
            options = f" --json {shlex.quote(json.dumps(given))}" if given else ""
            session = " --session s1" if agent["hints"]["stateful"] else ""
            return f"nalar call {_label(agent, method)}{options}{session}"
    return ""


def _value(schema: Mapping[str, Any]) -> object:
    """Return an example of what a JSON Schema describes."""
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        return [_value(cast("Mapping[str, Any]", items))] if isinstance(items, Mapping) else []
    return _EXAMPLES.get(str(kind), "...")
