"""Agents as JSON: what the registry of a running system says of them, and calling by that alone.

A description holds names, hints and JSON Schemas; it is data, and no type is ever loaded from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn, cast, get_args

import orjson

from nalar.agents.registry import method_of
from nalar.agents.spec import AgentSpec, Hints, MethodOptions, MethodSpec
from nalar.errors import MalformedMessage, NotData, UsageError
from nalar.ids import AgentName, MethodName
from nalar.statestore.managed import ManagedDict, ManagedList, managed_kind
from nalar.values.signature import ABSENT, Parameter, Signature
from nalar.values.wire import WireType, describe, plain

Description = dict[str, Any]

#: Form of the description; a newer program may add members, never change one.
DESCRIPTION_VERSION = 1


def describe_agent(spec: AgentSpec) -> Description:
    """Return `spec` as JSON: name, kind, hints, docs, session fields, methods with schemas."""
    wires = {
        (name, part): wire
        for name, method in spec.methods.items()
        for part, wire in _parts(method.signature)
    }
    fields = {name: _field_wire(annotation) for name, annotation in spec.fields.items()}
    schemas, definitions = _json_schemas(
        wires | {("", f"field {name}"): wire for name, wire in fields.items()}
    )
    return {
        "version": DESCRIPTION_VERSION,
        "name": spec.name,
        "kind": spec.kind,
        "doc": spec.doc,
        "module": spec.module,
        "hints": asdict(spec.hints),
        "fields": {
            name: {"type": describe(annotation), "schema": schemas["", f"field {name}"]}
            for name, annotation in spec.fields.items()
        },
        "methods": {
            name: _describe_method(method, schemas) for name, method in spec.methods.items()
        },
        "$defs": definitions,
    }


def _parts(signature: Signature) -> list[tuple[str, WireType]]:
    signature.compile()
    return [(f"argument {p.name}", p.wire) for p in signature.parameters] + [
        ("result", WireType.of(signature.result))
    ]


def _field_wire(annotation: Any) -> WireType:
    """Return the type that a managed field's content has as JSON."""
    kind, args = managed_kind(annotation), get_args(annotation)
    if kind is ManagedList:
        return WireType.of(list[args or (Any,)])
    if kind is ManagedDict:
        return WireType.of(dict[args[0], args[1]] if args else dict[str, Any])
    return WireType.of(args[0] if args else Any)


def _describe_method(
    method: MethodSpec, schemas: Mapping[tuple[str, str], object]
) -> dict[str, Any]:
    return {
        "doc": method.doc,
        "async": method.is_async,
        "generator": method.is_generator,
        "read_only": method.read_only,
        "timeout_s": method.timeout_s,
        "max_attempts": method.retry.max_attempts,
        "batch": None if method.options.batch is None else asdict(method.options.batch),
        "code": method.code,
        "parameters": [
            {
                "name": p.name,
                "kind": p.kind,
                "required": p.required,
                "schema": schemas[method.name, f"argument {p.name}"],
                **({} if p.filling is ABSENT else {"default": p.filling}),
            }
            for p in method.signature.parameters
        ],
        "result": schemas[method.name, "result"],
    }


_Key = tuple[str, str]


def _json_schemas(wires: Mapping[_Key, WireType]) -> tuple[dict[_Key, Any], dict[str, Any]]:
    """Return the JSON Schema of each type, and the definitions that they share."""
    from pydantic.errors import PydanticUserError  # noqa: PLC0415 -- pydantic is slow to import
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415

    class Generator(GenerateJsonSchema):
        """Writes defaults as the wire does; one that is no data is left out without a word."""

        def encode_default(self, dft: Any) -> Any:
            from pydantic_core import PydanticSerializationError  # noqa: PLC0415 -- as above

            try:
                return plain(dft)
            except NotData as error:
                raise PydanticSerializationError(str(error)) from error

    inputs = [(key, "validation", wire.schema) for key, wire in wires.items()]
    try:
        generator = Generator(by_alias=False)
        generator.ignored_warning_kinds = {
            *generator.ignored_warning_kinds,
            "non-serializable-default",
        }
        made, definitions = generator.generate_definitions(cast("Any", inputs))
    except PydanticUserError:
        if len(wires) == 1:  # A type of the user's own that says nothing of its JSON.
            return {key: {} for key in wires}, {}
        return _one_by_one(wires)
    schemas = {key: made[cast("Any", key), "validation"] for key in wires}
    return _with_base64(schemas), _with_base64(definitions)


def _one_by_one(wires: Mapping[_Key, WireType]) -> tuple[dict[_Key, Any], dict[str, Any]]:
    schemas: dict[_Key, Any] = {}
    definitions: dict[str, Any] = {}
    for key, wire in wires.items():
        made, found = _json_schemas({key: wire})
        schemas |= made
        definitions |= found
    return schemas, definitions


def _with_base64(node: Any) -> Any:
    """Say how bytes are written: pydantic calls them binary, and we send base64."""
    if isinstance(node, list):
        return [_with_base64(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    members = cast("dict[Any, Any]", node)
    if members.get("type") == "string" and members.get("format") == "binary":
        return members | {"format": "base64url"}
    return {key: _with_base64(item) for key, item in members.items()}


def read_description(value: bytes) -> Description:
    """Return the description that an entry of the registry holds.

    Raises MalformedMessage for what none of our workers can have written.
    """
    try:
        told: Any = orjson.loads(value)
    except ValueError as error:
        raise MalformedMessage(f"not the description of an agent: {error}") from error
    remote_agent(told)
    return told


def remote_agent(description: Mapping[str, Any]) -> AgentSpec:
    """Return a spec to call by: it knows names and which arguments are needed, no types.

    Raises MalformedMessage when `description` is none that we understand.
    """
    try:
        if description["version"] != DESCRIPTION_VERSION:
            raise MalformedMessage(
                f"a description of version {description['version']}; this program reads "
                f"{DESCRIPTION_VERSION}"
            )
        if not isinstance(description["name"], str) or not description["name"]:
            raise MalformedMessage("the description of an agent that has no name")
        hints = Hints(**description["hints"])
        agent = AgentName(description["name"])
        return AgentSpec(
            name=agent,
            kind=description["kind"],
            methods={
                name: _remote(agent, name, told, description, stateful=hints.stateful)
                for name, told in description["methods"].items()
            },
            hints=hints,
            doc=description.get("doc", ""),
            module=description.get("module", ""),
            qualname=description["name"],
        )
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise MalformedMessage(f"not the description of an agent: {error!r}") from error


def remote_method(description: Mapping[str, Any], name: str = "") -> MethodSpec:
    """Return one described method; a tool or workflow needs no name. Raises UnknownTarget."""
    return method_of(remote_agent(description), name)


def _remote(
    agent: AgentName,
    name: str,
    told: Mapping[str, Any],
    description: Mapping[str, Any],
    *,
    stateful: bool,
) -> MethodSpec:
    kind = description["kind"]
    label = f"{agent}.{name}" if kind == "agent" else str(agent)

    def elsewhere(*_: object, **__: object) -> NoReturn:
        raise UsageError(f"{label} is known by its description only: its code is elsewhere")

    parameters: Sequence[Mapping[str, Any]] = told["parameters"]
    return MethodSpec(
        agent=agent,
        name=MethodName(name),
        kind=kind,
        fn=elsewhere,
        signature=Signature(
            label,
            [
                # A default stands for "may be left out": the other end fills it in.
                Parameter(p["name"], p["kind"], default=ABSENT if p["required"] else ...)
                for p in parameters
            ],
        ),
        stateful=stateful,
        is_async=told.get("async", True),
        is_generator=told.get("generator", False),
        options=MethodOptions(timeout_s=told.get("timeout_s"), read_only=told["read_only"]),
        doc=told.get("doc", ""),
    )
