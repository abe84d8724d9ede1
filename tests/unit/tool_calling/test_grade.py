import pytest
from pydantic import JsonValue

from examples.tool_calling.grade import grade
from examples.tool_calling.records import Answer, Call, Function, Question

AREA = Function.model_validate(
    {
        "name": "area",
        "description": "The area of a circle.",
        "parameters": {
            "type": "dict",
            "properties": {
                "radius": {"type": "integer"},
                "scale": {"type": "float"},
                "unit": {"type": "string"},
                "round": {"type": "boolean"},
            },
            "required": ["radius"],
        },
    }
)
SEARCH = Function.model_validate(
    {
        "name": "search",
        "description": "Find flats.",
        "parameters": {
            "type": "dict",
            "properties": {
                "places": {"type": "array", "items": {"type": "string"}},
                "point": {"type": "tuple", "items": {"type": "float"}},
                "budget": {
                    "type": "dict",
                    "properties": {"min": {"type": "float"}, "max": {"type": "float"}},
                    "required": ["max"],
                },
                "filters": {
                    "type": "array",
                    "items": {"type": "dict", "properties": {"field": {"type": "string"}}},
                },
            },
            "required": [],
        },
    }
)
QUESTION = Question(id="q", text="?", functions=(AREA, SEARCH))
AREA_ANSWER: Answer = {
    "area": {"radius": [4], "scale": ["", 2.0], "unit": ["cm", "sq. cm"], "round": ["", True]}
}
SEARCH_ANSWER: Answer = {
    "search": {
        "places": [["Rome", "New York"], "ALL_PLACES", ""],
        "point": [[1.0, 2.5], ""],
        "budget": [{"min": ["", 0], "max": [10, 12]}, ""],
        "filters": [[{"field": ["price", "cost"]}, {"field": ["size"]}], ""],
    }
}


def reason(answer: Answer, **arguments: JsonValue) -> str:
    [name] = answer
    verdict = grade(QUESTION, answer, Call(function=name, arguments=arguments))
    assert verdict.right == (not verdict.reason)
    return verdict.reason


@pytest.mark.parametrize(
    "arguments",
    [
        {"radius": 4, "unit": "cm"},
        {"radius": 4, "unit": "cm", "scale": 2.0, "round": True},
        {"radius": 4, "unit": "cm", "scale": 2},
        {"radius": 4, "unit": "SQ CM"},
    ],
    ids=["optional left out", "optional given", "whole number for a float", "case, punctuation"],
)
def test_accepted_arguments_are_right(arguments: dict[str, JsonValue]) -> None:
    assert reason(AREA_ANSWER, **arguments) == ""


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"unit": "cm"}, "radius is missing"),
        ({"radius": 4}, "unit is missing"),
        ({"radius": 5, "unit": "cm"}, "radius is 5"),
        ({"radius": 4, "unit": "inch"}, "unit is 'inch'"),
        ({"radius": 4, "unit": "cm", "scale": 3.0}, "scale is 3.0"),
        ({"radius": 4, "unit": "cm", "colour": "red"}, "colour is not wanted"),
        ({"radius": 4.0, "unit": "cm"}, "radius is 4.0, not of type integer"),
        ({"radius": "4", "unit": "cm"}, "radius is '4', not of type integer"),
        ({"radius": 4, "unit": "cm", "round": 1}, "round is 1, not of type boolean"),
        ({"radius": 4, "unit": "cm", "scale": True}, "scale is True, not of type float"),
        ({"radius": 4, "unit": "cm", "scale": ""}, "scale is '', not of type float"),
    ],
)
def test_first_mistake_is_the_reason(arguments: dict[str, JsonValue], mistake: str) -> None:
    assert reason(AREA_ANSWER, **arguments) == mistake


def test_other_function_is_wrong_whatever_its_arguments() -> None:
    verdict = grade(QUESTION, AREA_ANSWER, Call(function="search", arguments={}))
    assert verdict.reason == "the right function is area"


def test_argument_that_the_answer_does_not_know_is_wrong_although_the_function_has_it() -> None:
    answer: Answer = {"area": {"radius": [4]}}
    assert reason(answer, radius=4) == ""
    assert reason(answer, radius=4, unit="cm") == "unit is not wanted"


@pytest.mark.parametrize(
    "arguments",
    [
        {"places": ["rome", "new york"]},
        {"places": "ALL_PLACES"},
        {"point": [1, 2.5]},
        {"budget": {"max": 12}},
        {"budget": {"min": 0, "max": 10}},
        {"filters": [{"field": "Cost"}, {"field": "size"}]},
    ],
    ids=["list", "name of a variable", "tuple", "dict", "whole dict", "list of dicts"],
)
def test_nested_values_are_compared_by_their_parts(arguments: dict[str, JsonValue]) -> None:
    assert reason(SEARCH_ANSWER, **arguments) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"places": ["New York", "Rome"]},
        {"places": ["Rome"]},
        {"places": ["Rome", 7]},
        {"places": [["Rome"], ["New York"]]},
        {"places": 7},
        {"point": [1, True]},
        {"budget": {"min": 0}},
        {"budget": {"max": 11}},
        {"budget": {"max": 10, "currency": "EUR"}},
        {"filters": [{"field": "size"}, {"field": "price"}]},
        {"filters": [{"field": "price"}]},
    ],
)
def test_nested_values_that_differ_are_wrong(arguments: dict[str, JsonValue]) -> None:
    assert reason(SEARCH_ANSWER, **arguments) != ""
