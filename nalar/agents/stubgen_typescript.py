"""TypeScript stubs: the types of a served system, and a map from target to arguments and result.

Pure. There is no TypeScript client yet; whoever publishes invocations (docs/protocol.md) has the
names and shapes checked.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from nalar.agents.schema_names import (
    Names,
    Schema,
    is_enum,
    literals_of,
    map_values,
    methods_of,
    union_of,
)

_HEAD = """// Stubs written by `nalar stubs --lang typescript`. Do not edit.

/** A reference to the result of another call: it may stand wherever its value may. */
export interface FutureRef {
  $future: string;
}"""
_SCALARS = {
    "string": "string", "integer": "number", "number": "number", "boolean": "boolean",
    "null": "null",
}  # fmt: skip
_FORMATS = {
    "date-time": "ISO 8601", "date": "ISO 8601", "time": "ISO 8601", "duration": "ISO 8601",
    "uuid": "UUID", "base64url": "base64",
}  # fmt: skip
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def typescript_stubs(descriptions: Sequence[Mapping[str, Any]]) -> str:
    """Return a TypeScript module with the types of what `descriptions` describe."""
    ordered = sorted(descriptions, key=lambda told: told["name"])
    names = Names(ordered)
    types = [_type(names, name, *found) for name, found in names.types.items()]
    calls = [
        _call(names, told, name, method) for told in ordered for name, method in methods_of(told)
    ]
    facts = [_facts(told, name, method) for told in ordered for name, method in methods_of(told)]
    signatures = (
        "/** Every call by its target: the arguments by name, and the result. */\n"
        "export interface Calls {\n" + "\n".join(calls) + "\n}"
    )
    table = (
        "/** What a publisher must know of each target. */\n"
        "export const targets = {\n" + "\n".join(facts) + "\n} as const;\n\n"
        "export type Target = keyof Calls;\n"
        'export type Arguments<T extends Target> = Calls[T]["arguments"];\n'
        'export type Result<T extends Target> = Calls[T]["result"];'
    )
    return "\n\n".join([_HEAD, *types, signatures, table]) + "\n"


def _type(names: Names, name: str, agent: str, schema: Schema) -> str:
    doc = _doc(schema.get("description", ""), "")
    if is_enum(schema):
        return f"{doc}export type {name} = {_literals(schema['enum'])};"
    required = schema.get("required", ())
    lines: list[str] = []
    for key, member in schema["properties"].items():
        mark = "" if key in required else "?"
        lines.append(f"{_note(member)}  {_key(key)}{mark}: {_annotation(names, agent, member)};")
    body = "\n".join(lines)
    return (
        f"{doc}export interface {name} {{\n{body}\n}}"
        if body
        else f"{doc}export type {name} = Record<string, never>;"
    )


def _call(names: Names, told: Mapping[str, Any], name: str, method: Mapping[str, Any]) -> str:
    agent = told["name"]
    lines: list[str] = []
    for parameter in method["parameters"]:
        optional = not parameter["required"]
        text = _annotation(names, agent, parameter["schema"])
        lines.append(
            f"      {_key(parameter['name'])}{'?' if optional else ''}: {text} | FutureRef;"
        )
    arguments = "{\n" + "\n".join(lines) + "\n    }" if lines else "Record<string, never>"
    return (
        f"{_doc(method.get('doc', ''), '  ')}  {json.dumps(f'{agent}.{name}')}: {{\n"
        f"    arguments: {arguments};\n"
        f"    result: {_annotation(names, agent, method['result'])};\n  }};"
    )


def _facts(told: Mapping[str, Any], name: str, method: Mapping[str, Any]) -> str:
    facts = {
        "agent": told["name"],
        "method": name,
        "kind": told["kind"],
        "stateful": bool(told["hints"].get("stateful")),
        "readOnly": bool(method.get("read_only")),
    }
    inner = ", ".join(f"{key}: {json.dumps(value)}" for key, value in facts.items())
    target = f"{told['name']}.{name}"
    return f"  {json.dumps(target)}: {{ {inner} }},"


def _annotation(names: Names, agent: str, schema: Schema) -> str:  # noqa: PLR0911 -- one per kind
    schema = names.inlined(agent, schema)
    if "$ref" in schema:
        return str(names.resolve(agent, schema["$ref"])[0])
    parts = union_of(schema)
    if parts is not None:
        return " | ".join(dict.fromkeys(_annotation(names, agent, part) for part in parts))
    if len(schema.get("allOf", ())) == 1:
        return _annotation(names, agent, schema["allOf"][0])
    values = literals_of(schema)
    if values is not None:
        return _literals(values)
    match schema.get("type"):
        case "array":
            return _array(names, agent, schema)
        case "object":
            inner = map_values(schema)
            return f"Record<string, {_annotation(names, agent, inner) if inner else 'unknown'}>"
        case str(kind) if kind in _SCALARS:
            return _SCALARS[kind]
        case _:
            return "unknown"


def _array(names: Names, agent: str, schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_annotation(names, agent, item) for item in schema['prefixItems'])}]"
    inner = _annotation(names, agent, cast("Schema", schema.get("items", {})))
    return f"({inner})[]" if "|" in inner else f"{inner}[]"


def _literals(values: Sequence[Any]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else json.dumps(name)


def _note(schema: Schema) -> str:
    meaning = _FORMATS.get(schema.get("format", ""))
    return f"  /** {meaning} */\n" if meaning else ""


def _doc(text: str, indent: str) -> str:
    if not text:
        return ""
    lines = text.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return (
        f"{indent}/**\n"
        + "".join(f"{indent} * {line}".rstrip() + "\n" for line in lines)
        + f"{indent} */\n"
    )
