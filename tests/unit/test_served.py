from typing import Any

import pytest

import nalar
from nalar.agents.registry import REGISTRY
from nalar.errors import UsageError


class Base:
    def hello(self, name: str) -> str:
        return f"hello {name}"


class Existing(Base):
    def __init__(self, greeting: str = "hi") -> None:
        self.greeting = greeting

    async def greet(self, name: str) -> str:
        return f"{self.greeting} {name}"

    def reset(self) -> None: ...

    def _private(self) -> None: ...


class Needy:
    def __init__(self, key: str) -> None:
        self.key = key

    def ask(self) -> str:
        return self.key


def test_an_existing_class_is_served_and_stays_what_it_was() -> None:
    before = dict(vars(Existing))
    served = nalar.serve_class(Existing, stateful=True, read_only=["greet"], name="greeter")
    spec = REGISTRY.get("greeter")
    assert list(spec.methods) == ["hello", "greet", "reset"]
    assert spec.stateful
    assert served.greet.spec is spec.methods["greet"]
    assert (served.greet.spec.effect, served.reset.spec.effect) == ("r", "s")
    assert served.options(session="s").greet.call_options.session == "s"
    assert isinstance(spec.make(), Existing)
    assert dict(vars(Existing)) == before
    assert Existing().hello("x") == "hello x"


def test_only_the_named_methods_are_served() -> None:
    served = nalar.serve_class(Existing, methods=["greet"], name="only-greet")
    assert list(REGISTRY.get("only-greet").methods) == ["greet"]
    with pytest.raises(AttributeError, match="serves no method 'reset'"):
        _ = served.reset


def test_a_factory_makes_what_needs_arguments() -> None:
    nalar.serve_class(Needy, factory=lambda: Needy("k"))
    made: Any = REGISTRY.get("Needy").make()
    assert made.ask() == "k"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((Existing, ["gret"]), "no public method 'gret'. Did you mean 'greet'"),
        ((Existing, ["_private"]), "no public method '_private'"),
        ((Needy,), "__init__ needs 'key'"),
        ((int,), "int has no public method to serve"),
        ((5,), "takes a class, not 5"),
    ],
)
def test_what_cannot_be_served_is_refused(arguments: tuple[Any, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        nalar.serve_class(*arguments)
