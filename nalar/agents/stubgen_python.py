"""Python stubs: dataclasses and signatures that stand for agents served elsewhere.

Pure. What it writes imports nalar, typing_extensions (which comes with pydantic) and the standard
library, passes a strict type-checker, and accepts a future wherever a value is wanted.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

from nalar.agents.schema_names import (
    Names,
    Schema,
    identifier,
    is_enum,
    literals_of,
    map_values,
    methods_of,
    union_of,
)

_HEAD = (
    '''"""Stubs written by `nalar stubs` for agents that are served elsewhere. Do not edit."""'''
)
_FORMATS = {
    "date-time": "datetime",
    "date": "date",
    "time": "time",
    "duration": "timedelta",
    "uuid": "UUID",
    "base64url": "bytes",
}
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
#: What has to be imported, by the name that is used, and from where.
_IMPORTS = {
    "dataclass": "dataclasses", "field": "dataclasses", "date": "datetime", "datetime": "datetime",
    "time": "datetime", "timedelta": "datetime", "Enum": "enum", "Any": "typing",
    "Literal": "typing", "NotRequired": "typing_extensions", "TypedDict": "typing_extensions",
    "UUID": "uuid",
}  # fmt: skip
_INDENT = "    "


def python_stubs(descriptions: Sequence[Mapping[str, Any]]) -> str:
    """Return a Python module of stubs for what `descriptions` describe."""
    return _Writer(sorted(descriptions, key=lambda told: told["name"])).module()


class _Writer:
    def __init__(self, descriptions: Sequence[Mapping[str, Any]]) -> None:
        self._descriptions = descriptions
        self._names = Names(descriptions)
        self._used: set[str] = set()

    def module(self) -> str:
        # Enumerations first: defaults of the others are made from them at once.
        found = sorted(self._names.types.items(), key=lambda item: not is_enum(item[1][1]))
        types = [self._type(name, *of) for name, of in found]
        agents = [self._agent(told) for told in self._descriptions]
        imports: dict[str, list[str]] = {}
        for name in sorted(self._used & set(_IMPORTS)):
            imports.setdefault(_IMPORTS[name], []).append(name)
        lines = [
            f"from {module} import {', '.join(names)}" for module, names in sorted(imports.items())
        ]
        default = [
            "#: The method has a default that only its own code knows.",
            "_DEFAULT: Any = ...",
        ]
        head = "\n".join(
            [
                _HEAD,
                "",
                "from __future__ import annotations",
                "",
                *lines,
                *([""] if lines else []),
                "import nalar",
                "",
                "#: Tells workers that what stands here is not theirs to serve.",
                "__nalar_stubs__ = True",
                *(default if "_DEFAULT" in self._used else []),
            ]
        )
        return "\n\n\n".join([head, *types, *agents]) + "\n"

    def _use(self, name: str) -> str:
        self._used.add(name)
        return name

    # Types.

    def _type(self, name: str, agent: str, schema: Schema) -> str:
        if is_enum(schema):
            return self._enum(name, schema)
        members: Mapping[str, Schema] = schema["properties"]
        required: Sequence[str] = schema.get("required", ())
        defaults = {
            key: self._member_default(agent, member)
            for key, member in members.items()
            if key not in required
        }
        if all(map(_is_field, members)) and None not in defaults.values():
            return self._dataclass(name, agent, schema, defaults)
        return self._typed_dict(name, agent, schema)

    def _enum(self, name: str, schema: Schema) -> str:
        members: dict[str, str] = {}
        for value in schema["enum"]:
            base = identifier(str(value)).upper()
            base = base if base.strip("_") else f"VALUE_{len(members) + 1}"
            base = base if not base.startswith("_") else f"VALUE{base}"
            member = base if base not in members else f"{base}_{len(members) + 1}"
            members[member] = repr(value)
        body = "\n".join(f"{_INDENT}{member} = {value}" for member, value in members.items())
        return f"class {name}({self._use('Enum')}):\n{_doc(schema)}{body}"

    def _dataclass(
        self, name: str, agent: str, schema: Schema, defaults: Mapping[str, str | None]
    ) -> str:
        lines: list[str] = []
        for key, member in schema["properties"].items():
            default = f" = {defaults[key]}" if key in defaults else ""
            if default.startswith(" = field("):
                self._use("field")
            lines.append(f"{_INDENT}{key}: {self.annotation(agent, member)}{default}")
        body = "\n".join(lines) or f"{_INDENT}pass"
        self._use("dataclass")
        return f"@dataclass(kw_only=True)\nclass {name}:\n{_doc(schema)}{body}"

    def _typed_dict(self, name: str, agent: str, schema: Schema) -> str:
        """Write what has a member whose name is no field's, or whose default is not known."""
        required = schema.get("required", ())
        lines: list[str] = []
        for key, member in schema["properties"].items():
            text = self.annotation(agent, member)
            if key not in required:
                text = f"{self._use('NotRequired')}[{text}]"
            # The call form evaluates at once, and may name what comes later: so as text.
            lines.append(f"{_INDENT * 2}{key!r}: {text!r},")
        self._use("TypedDict")
        return (
            f"{name} = TypedDict(\n{_INDENT}{name!r},\n{_INDENT}{{\n"
            + "\n".join(lines)
            + (f"\n{_INDENT}}},\n)")
        )

    def _member_default(self, agent: str, schema: Schema) -> str | None:
        """Return a member's default as Python, or None when it cannot be written."""
        schema = self._names.inlined(agent, schema)
        if "default" in schema:
            return self._literal(agent, schema, schema["default"])
        kind = schema.get("type")
        if kind == "array" and "prefixItems" not in schema:
            return self._factory(self.annotation(agent, schema))
        if kind == "object" and "properties" not in schema:
            return self._factory(self.annotation(agent, schema))
        return None

    def _factory(self, text: str) -> str:
        """Return the default that makes an empty `text`; its items' type may come later."""
        later = set(re.findall(r"\w+", text)) & set(self._names.types)
        return f"field(default_factory={f'lambda: {text}()' if later else text})"

    def _literal(self, agent: str, schema: Schema, value: Any) -> str | None:
        """Return a default as Python, or None when there is no short way to write it."""
        text = self.annotation(agent, schema)
        if value is None:
            return "None" if "None" in text.split(" | ") or text == "Any" else None
        if not value and isinstance(value, list | dict):
            plain = text.partition("[")[0] in ("list", "dict", "set")
            return self._factory(text) if plain else None
        if not isinstance(value, str | int | float):
            return None
        arms = text.split(" | ")
        if type(value).__name__ in arms or "Any" in arms or text.startswith("Literal["):
            return repr(value)
        if isinstance(value, int) and "float" in arms:
            return repr(value)
        return self._made_from_text(agent, schema, text, value)

    def _made_from_text(self, agent: str, schema: Schema, text: str, value: Any) -> str | None:
        """Return a default whose JSON is the text, or number, of something else."""
        schema = self._names.inlined(agent, schema)
        if "$ref" in schema:
            is_member = is_enum(self._names.resolve(agent, schema["$ref"])[1])
            return f"{text}({value!r})" if is_member else None
        if text == "bytes":
            return repr(urlsafe_b64decode(value))
        if text in ("datetime", "date", "time"):
            return f"{text}.fromisoformat({value!r})"
        return f"{text}({value!r})" if text == "UUID" else None

    # Annotations.

    def annotation(self, agent: str, schema: Schema) -> str:  # noqa: C901, PLR0911 -- one per kind
        """Return the annotation that `schema` means."""
        schema = self._names.inlined(agent, schema)
        if "$ref" in schema:
            return str(self._names.resolve(agent, schema["$ref"])[0])
        parts = union_of(schema)
        if parts is not None:
            arms = dict.fromkeys(self.annotation(agent, part) for part in parts)
            return self._use("Any") if "Any" in arms else " | ".join(arms)
        if len(schema.get("allOf", ())) == 1:
            return self.annotation(agent, schema["allOf"][0])
        values = literals_of(schema)
        if values is not None:
            return f"{self._use('Literal')}[{', '.join(map(repr, values))}]"
        match schema.get("type"):
            case "array":
                return self._array(agent, schema)
            case "object":
                values_schema = map_values(schema)
                inner = self.annotation(agent, values_schema) if values_schema else self._use("Any")
                return f"dict[str, {inner}]"
            case "string" if schema.get("format") in _FORMATS:
                return self._use(_FORMATS[schema["format"]])
            case str(kind) if kind in _SCALARS:
                return _SCALARS[kind]
            case _:
                return self._use("Any")

    def _array(self, agent: str, schema: Schema) -> str:
        if "prefixItems" in schema:
            items = [self.annotation(agent, item) for item in schema["prefixItems"]]
            return f"tuple[{', '.join(items) or '()'}]"
        item = self._names.inlined(agent, cast("Schema", schema.get("items", {})))
        inner = self.annotation(agent, item)
        hashable = item.get("type") in ("string", "integer", "number", "boolean")
        return f"set[{inner}]" if schema.get("uniqueItems") and hashable else f"list[{inner}]"

    # Agents.

    def _agent(self, told: Mapping[str, Any]) -> str:
        name = identifier(told["name"])
        if told["kind"] != "agent":
            method = next(method for _, method in methods_of(told))
            renamed = [f"name={told['name']!r}"] if name != told["name"] else []
            head = f"@nalar.{told['kind']}{_options(method, renamed)}\n"
            return head + self._function(told["name"], name, method, method.get("doc", ""), "")
        hints = [f"name={told['name']!r}"] if name != told["name"] else []
        hints += ["stateful=True"] if told["hints"].get("stateful") else []
        parts = [
            f"class {name}({', '.join(['nalar.Agent', *hints])}):",
            _doc_of(told.get("doc", "")),
        ]
        methods = [
            f"{_INDENT}@nalar.method{_options(method, [])}\n"
            + self._function(told["name"], method_name, method, method.get("doc", ""), _INDENT)
            for method_name, method in methods_of(told)
        ]
        return "\n".join(part for part in parts if part) + "\n" + "\n\n".join(methods)

    def _function(
        self, agent: str, name: str, method: Mapping[str, Any], doc: str, indent: str
    ) -> str:
        prefix = "async def" if method.get("async") else "def"
        result = self.annotation(agent, method["result"])
        parameters = self._parameters(agent, method["parameters"])
        if indent:
            parameters.insert(0, "self")
        inner = indent + _INDENT
        return (
            f"{indent}{prefix} {name}({', '.join(parameters)}) -> {result}:\n"
            f"{_doc_of(doc, inner)}{chr(10) if doc else ''}"
            f'{inner}raise NotImplementedError("{identifier(agent)} is served elsewhere: '
            'nalar.connect() first")'
        )

    def _parameters(self, agent: str, parameters: Sequence[Mapping[str, Any]]) -> list[str]:
        lines: list[str] = []
        starred = False
        for parameter, following in zip_longest(parameters, parameters[1:]):
            kind = parameter["kind"]
            if kind == "keyword" and not starred:
                lines.append("*")
                starred = True
            starred = starred or kind == "rest"
            lines.append(self._parameter(agent, parameter))
            if kind == "positional" and (following is None or following["kind"] != "positional"):
                lines.append("/")
        return lines

    def _parameter(self, agent: str, parameter: Mapping[str, Any]) -> str:
        name, kind, schema = parameter["name"], parameter["kind"], parameter["schema"]
        if kind in ("rest", "extra"):
            inner = schema.get("items") if kind == "rest" else map_values(schema)
            text = self.annotation(agent, inner or {})
            return f"{'*' if kind == 'rest' else '**'}{name}: {_or_future(text)}"
        text = self.annotation(agent, schema)
        if parameter["required"]:
            return f"{name}: {_or_future(text)}"
        default = None
        if "default" in parameter:
            default = self._literal(agent, schema, parameter["default"])
        if default is None or default.startswith("field("):
            self._use("Any")
            default = self._use("_DEFAULT")
        return f"{name}: {_or_future(text)} = {default}"


def _or_future(text: str) -> str:
    return "Any" if text == "Any" else f"{text} | nalar.Future[{text}]"


def _is_field(name: str) -> bool:
    return name.isidentifier() and identifier(name) == name and not name.startswith("__")


def _options(method: Mapping[str, Any], options: list[str]) -> str:
    options = options + (["read_only=True"] if method.get("read_only") else [])
    return f"({', '.join(options)})" if options else ""


def _doc(schema: Schema) -> str:
    text = _doc_of(schema.get("description", ""))
    return f"{text}\n\n" if text else ""


def _doc_of(doc: str, indent: str = _INDENT) -> str:
    if not doc:
        return ""
    escaped = doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped = f'{escaped[:-1]}\\"'
    lines = escaped.splitlines()
    if len(lines) > 1:
        lines.append("")
    body = "\n".join(f"{indent}{line}".rstrip() if n else line for n, line in enumerate(lines))
    closing = f"{indent}" if len(lines) > 1 else ""
    return f'{indent}"""{body}{closing}"""'
