"""JSON trees for Hypothesis: all that the wire carries."""

from typing import Any

from hypothesis import strategies as st


def json_trees(max_leaves: int) -> st.SearchStrategy[Any]:
    """Return trees of finite numbers, strings, lists and objects with so many leaves at most."""
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=max_leaves,
    )
