"""Typed stubs for callers who do not have the agents' source, from descriptions alone."""

from nalar.agents.stubgen_python import python_stubs
from nalar.agents.stubgen_typescript import typescript_stubs

__all__ = ["LANGUAGES", "python_stubs", "typescript_stubs"]

#: What `nalar stubs --lang` takes.
LANGUAGES = {"python": python_stubs, "typescript": typescript_stubs}
