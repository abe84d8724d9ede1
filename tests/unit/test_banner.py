"""What `nalar dev` says once it serves."""

from typing import Any

from nalar_cli.banner import told


def agent(name: str, kind: str, methods: dict[str, list[tuple[str, Any]]]) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "hints": {"stateful": kind == "agent"},
        "methods": {
            method: {
                "parameters": [
                    {"name": parameter, "required": schema is not None, "schema": schema or {}}
                    for parameter, schema in parameters
                ]
            }
            for method, parameters in methods.items()
        },
    }


def test_workflows_come_first_and_the_example_calls_one() -> None:
    said = told(
        "nats://127.0.0.1:4222",
        [
            agent("look", "tool", {"run": [("q", {"type": "string"})]}),
            agent("Analyst", "agent", {"study": [("t", {"type": "string"})], "forget": []}),
            agent(
                "report",
                "workflow",
                {"run": [("names", {"type": "array", "items": {"type": "string"}}), ("n", None)]},
            ),
        ],
    ).splitlines()
    served = [line.split(maxsplit=1) for line in said if line.startswith("  ")][:3]
    assert served == [
        ["workflow", "report(names, n)"],
        ["agent", "Analyst.study(t), Analyst.forget(), with state"],
        ["tool", "look(q)"],
    ]
    assert """  nalar call report --json '{"names": ["..."]}'""" in said


def test_example_names_the_server_when_it_is_not_the_usual_one() -> None:
    said = told("nats://127.0.0.1:1", [agent("A", "agent", {"m": []})])
    assert "nalar call A.m --session s1 --server nats://127.0.0.1:1" in said


def test_an_unknown_schema_has_an_example_too() -> None:
    said = told("nats://h:1", [agent("t", "tool", {"run": [("x", {"$ref": "#/$defs/X"})]})])
    assert """--json '{"x": "..."}'""" in said
