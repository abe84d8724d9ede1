"""Carrying a call out, if the function is implemented here. Pure.

Most functions of BFCL stand for services that do not exist; mathematics needs none. To add one,
write it with its BFCL name above it.
"""

import cmath
import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from examples.tool_calling.records import Call, Execution, Question
from examples.tool_calling.schema import is_portable, misfit

#: Factorials beyond this one do not fit into 64 bits, and take ever longer.
FACTORIAL_MAX = 20
VACUUM_PERMITTIVITY = 8.854e-12

#: What an implementation raises on arguments that it cannot use.
UNUSABLE = (ArithmeticError, LookupError, TypeError, ValueError)

Implementation = Callable[..., Any]
IMPLEMENTED: dict[str, Implementation] = {}


def execute(question: Question, call: Call) -> Execution:
    """Check the arguments of `call`, then carry it out or say why not."""
    [function] = (found for found in question.functions if found.name == call.function)
    problem = misfit(function.parameters, call.arguments)
    if problem is not None:
        return Execution(executed=False, note=problem)
    implementation = IMPLEMENTED.get(call.function)
    if implementation is None:
        return Execution(executed=False, note="not implemented; the arguments fit")
    try:
        value = implementation(**call.arguments)
    except UNUSABLE as error:
        return Execution(executed=False, note=f"{type(error).__name__}: {error}")
    if not is_portable(value):
        return Execution(executed=False, note="the result is out of range")
    return Execution(executed=True, value=value)


def named(*names: str) -> Callable[[Implementation], Implementation]:
    """Register an implementation under its names in BFCL."""

    def register(implementation: Implementation) -> Implementation:
        IMPLEMENTED.update(dict.fromkeys(names, implementation))
        return implementation

    return register


@named("calculate_triangle_area")
def _triangle_area(base: float, height: float, unit: str = "units") -> str:
    return f"{base * height / 2:g} square {unit}"


@named("math.triangle_area_base_height")
def _triangle_area_by_base(base: float, height: float) -> float:
    return base * height / 2


@named("math.triangle_area_heron")
def _triangle_area_by_sides(side1: float, side2: float, side3: float) -> float:
    half = (side1 + side2 + side3) / 2
    return math.sqrt(half * (half - side1) * (half - side2) * (half - side3))


@named("triangle_properties.get")
def _triangle(side1: float, side2: float, side3: float, **wanted: bool) -> dict[str, Any]:
    angles = (
        math.degrees(math.acos((b**2 + c**2 - a**2) / (2 * b * c)))
        for a, b, c in ((side1, side2, side3), (side2, side3, side1), (side3, side1, side2))
    )
    properties = {
        "area": _triangle_area_by_sides(side1, side2, side3),
        "perimeter": side1 + side2 + side3,
        "angles": list(angles),
    }
    return {name: value for name, value in properties.items() if wanted.get(f"get_{name}", True)}


@named("circle_properties.get")
def _circle(radius: float, **wanted: bool) -> dict[str, float]:
    properties = {"area": math.pi * radius**2, "circumference": math.tau * radius}
    return {name: value for name, value in properties.items() if wanted.get(f"get_{name}", True)}


@named("math.circle_area")
def _circle_area(radius: float) -> float:
    return math.pi * radius**2


@named("geometry.area_circle")
def _circle_area_in_units(radius: float, units: str = "meters") -> str:
    return f"{math.pi * radius**2:g} square {units}"


@named("geometry.calculate_area_circle")
def _circle_area_in_unit(radius: float, unit: str = "units") -> str:
    return f"{math.pi * radius**2:g} square {unit}"


@named("calculate_circumference")
def _circumference(radius: float, unit: str = "cm") -> str:
    return f"{math.tau * radius:g} {unit}"


@named("math.factorial")
def _factorial(number: int) -> int:
    if number > FACTORIAL_MAX:
        raise ValueError(f"{number}! is more than 64 bits wide")
    return math.factorial(number)


@named("math.hypot")
def _hypotenuse(x: float, y: float, z: float = 0) -> float:
    return math.hypot(x, y, z)


@named("algebra.quadratic_roots", "solve_quadratic_equation", "math_roots.quadratic")
def _quadratic_roots(a: float, b: float, c: float) -> list[float | str]:
    root = cmath.sqrt(b**2 - 4 * a * c)
    both = ((-b + root) / (2 * a), (-b - root) / (2 * a))
    return [number.real + 0 if number.imag == 0 else str(number + 0) for number in both]


@named("solve_quadratic")
def _quadratic_roots_of_type(
    a: float, b: float, c: float, root_type: str = "all"
) -> list[float | str]:
    roots = _quadratic_roots(a, b, c)
    return roots if root_type == "all" else [root for root in roots if isinstance(root, float)]


@named("EuclideanDistance.calculate")
def _distance(rounding: int | None = None, **points: Iterable[float]) -> float:
    exact = math.dist(points["pointA"], points["pointB"])
    return exact if rounding is None else round(exact, rounding)


@named("kinematics.calculate_displacement")
def _displacement(
    initial_speed: float, acceleration: float, time: float, rounding: int = 2
) -> float:
    return round(initial_speed * time + acceleration * time**2 / 2, rounding)


@named("kinematics.calculate_final_speed")
def _final_speed(
    initial_speed: float, acceleration: float, time: float, rounding: int = 2
) -> float:
    return round(initial_speed + acceleration * time, rounding)


@named("capacitance_calculator.calculate")
def _capacitance(d: float, **of_plate: float) -> float:
    return VACUUM_PERMITTIVITY * of_plate.get("K", 1.0) * of_plate["A"] / d


@named("resistance_calculator.calculate")
def _resistance(**circuit: float) -> float:
    return circuit["V"] / circuit["I"]


@named("calculate_average")
def _average(**by_subject: dict[str, float]) -> float:
    return statistics.fmean(by_subject["gradeDict"].values())


@named("calculate_standard_deviation")
def _standard_deviation(**by_subject: dict[str, float]) -> float:
    return statistics.pstdev(by_subject["gradeDict"].values())


@named("highest_grade")
def _best_subject(**by_subject: dict[str, float]) -> str:
    grades = by_subject["gradeDict"]
    return max(grades, key=lambda subject: grades[subject])
