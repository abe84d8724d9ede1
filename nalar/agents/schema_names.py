"""JSON Schemas of several descriptions as one set of named types, for generated stubs. Pure."""

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

Schema = dict[str, Any]

#: Nesting of references that stand for no named type; beyond it is Any.
_INLINE_MAX = 20


class Names:
    """The named types of some descriptions, and which agent's `$ref` means which.

    Objects and enumerations get a name; any other definition is written out where it is used.
    Two agents may define one name differently: the second is then prefixed with the agent's.
    """

    def __init__(self, descriptions: Sequence[Mapping[str, Any]]) -> None:
        #: Name -> (agent, schema), in the order of first use.
        self.types: dict[str, tuple[str, Schema]] = {}
        self._of: dict[tuple[str, str], str] = {}
        self._schemas: dict[tuple[str, str], Schema] = {}
        taken = {identifier(told["name"]) for told in descriptions}
        for told in descriptions:
            for name, schema in told.get("$defs", {}).items():
                self._schemas[told["name"], name] = schema
                if is_object(schema) or is_enum(schema):
                    self._add(told["name"], name, schema, taken)

    def _add(self, agent: str, name: str, schema: Schema, taken: set[str]) -> None:
        wanted = identifier(name)
        candidates = (
            wanted,
            f"{identifier(agent)}{wanted}",
            *(f"{wanted}{n}" for n in range(2, 99)),
        )
        for candidate in candidates:
            there = self.types.get(candidate)
            if there is not None and there[1] == schema and there[0] != agent:
                break  # The same type, seen by another agent.
            if there is None and candidate not in taken:
                self.types[candidate] = (agent, schema)
                break
        else:
            raise ValueError(f"too many types named {name!r}")
        self._of[agent, name] = candidate

    def resolve(self, agent: str, ref: str) -> tuple[str | None, Schema]:
        """Return the name of the type that `ref` means in `agent`, or None and its schema."""
        name = ref.removeprefix("#/$defs/")
        return self._of.get((agent, name)), self._schemas.get((agent, name), {})

    def inlined(self, agent: str, schema: Schema, depth: int = 0) -> Schema:
        """Follow references until one that has a name, or a schema that is none."""
        ref = schema.get("$ref")
        if ref is None:
            return schema
        name, target = self.resolve(agent, ref)
        if name is not None:
            return schema
        return self.inlined(agent, target, depth + 1) if depth < _INLINE_MAX else {}


def is_object(schema: Schema) -> bool:
    """Say whether `schema` is an object with named members."""
    return schema.get("type") == "object" and "properties" in schema


def is_enum(schema: Schema) -> bool:
    """Say whether `schema` is a named enumeration."""
    return "enum" in schema


def union_of(schema: Schema) -> list[Schema] | None:
    """Return the members of a union, or None when `schema` is none."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return cast("list[Schema]", schema[key])
    if isinstance(schema.get("type"), list):
        return [schema | {"type": kind} for kind in cast("list[str]", schema["type"])]
    return None


def literals_of(schema: Schema) -> list[Any] | None:
    """Return the values of a literal type, or None when `schema` is none."""
    if "const" in schema:
        return [schema["const"]]
    return cast("list[Any] | None", schema.get("enum"))


def map_values(schema: Schema) -> Schema | None:
    """Return the schema of a map's values, or None for what may be anything."""
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        return cast("Schema", values)
    patterns = schema.get("patternProperties")
    if isinstance(patterns, dict) and len(cast("Schema", patterns)) == 1:
        return next(iter(cast("Schema", patterns).values()))
    return None


def identifier(text: str) -> str:
    """Return `text` as a name that Python and TypeScript both take."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def methods_of(description: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the methods of a description, by name."""
    yield from description["methods"].items()
