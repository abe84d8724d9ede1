import pytest
from pydantic import JsonValue

from examples.tool_calling.records import Call, Execution, Function, Question, Shape
from examples.tool_calling.toolbox import IMPLEMENTED, execute


def run(name: str, arguments: dict[str, JsonValue]) -> Execution:
    shapes = {argument: _shape(value) for argument, value in arguments.items()}
    parameters = Shape(type="dict", properties=shapes, required=())
    function = Function(name=name, description="", parameters=parameters)
    question = Question(id="q", text="?", functions=(function,))
    return execute(question, Call(function=name, arguments=arguments))


def _shape(value: JsonValue) -> Shape:
    return Shape(type="array" if isinstance(value, list) else "any")


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("calculate_triangle_area", {"base": 10, "height": 5}, "25 square units"),
        ("math.triangle_area_heron", {"side1": 3, "side2": 4, "side3": 5}, 6.0),
        ("triangle_properties.get", {"side1": 3, "side2": 4, "side3": 5, "get_angles": False},
         {"area": 6.0, "perimeter": 12}),
        ("math.factorial", {"number": 5}, 120),
        ("math.hypot", {"x": 3, "y": 4}, 5.0),
        ("algebra.quadratic_roots", {"a": 1, "b": -3, "c": 2}, [2.0, 1.0]),
        ("solve_quadratic", {"a": 1, "b": 0, "c": 1, "root_type": "real"}, []),
        ("solve_quadratic", {"a": 1, "b": 0, "c": 1}, ["1j", "-1j"]),
        ("EuclideanDistance.calculate", {"pointA": [3, 4], "pointB": [0, 0]}, 5.0),
        ("kinematics.calculate_displacement",
         {"initial_speed": 20, "acceleration": 10, "time": 5}, 225.0),
        ("calculate_average", {"gradeDict": {"math": 90, "art": 80}}, 85.0),
        ("highest_grade", {"gradeDict": {"math": 90, "art": 80}}, "math"),
    ],
)  # fmt: skip
def test_implemented_function_is_executed(
    name: str, arguments: dict[str, JsonValue], value: JsonValue
) -> None:
    assert run(name, arguments) == Execution(executed=True, value=value)


def test_function_without_implementation_is_not_executed_and_says_so() -> None:
    assert run("weather.get", {"city": "Rome"}) == Execution(
        executed=False, note="not implemented; the arguments fit"
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("math.factorial", {"number": 10**12}),
        ("math.factorial", {"number": -1}),
        ("solve_quadratic", {"a": 0, "b": 1, "c": 1}),
        ("math.triangle_area_heron", {"side1": 1, "side2": 1, "side3": 9}),
        ("math.hypot", {"x": "three", "y": 4}),
        ("math.hypot", {"sides": [3, 4]}),
        ("math.hypot", {"x": 1.7e308, "y": 1.7e308}),
        ("EuclideanDistance.calculate", {"pointA": [1]}),
        ("calculate_average", {"gradeDict": {}}),
        ("highest_grade", {"gradeDict": {"math": 90, "art": "good"}}),
    ],
)
def test_arguments_that_cannot_be_used_are_a_note_not_an_error(
    name: str, arguments: dict[str, JsonValue]
) -> None:
    execution = run(name, arguments)
    assert (execution.executed, execution.value) == (False, None)
    assert execution.note != ""


def test_arguments_are_checked_before_anything_runs() -> None:
    function = Function(
        name="math.factorial",
        description="",
        parameters=Shape(type="dict", properties={"number": Shape(type="integer")}),
    )
    question = Question(id="q", text="?", functions=(function,))
    execution = execute(question, Call(function="math.factorial", arguments={"number": 2.5}))
    assert execution.note == "number is 2.5, not of type integer"


def test_every_implementation_is_found_by_the_name_that_bfcl_gives_it() -> None:
    assert {"math.hypot", "math_roots.quadratic", "calculate_circumference"} <= IMPLEMENTED.keys()
