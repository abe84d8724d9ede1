"""Values as a terminal may be shown them: of bounded length, and with no command to it. Pure."""

import json
import re
from typing import cast

#: Characters of a table's cell that are shown.
CELL_MAX = 400
#: What a terminal obeys instead of showing it, and what turns the direction of a text.
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_LINE = re.compile(f"[{_UNSAFE}]")
_IN_TEXT = re.compile(f"(?![\n\t])[{_UNSAFE}]")


def line(text: str) -> str:
    r"""Return `text` as one line; what is unsafe to show is escaped, a line break too: `\n`."""
    return _IN_LINE.sub(_escaped, text)


def lines(text: str) -> str:
    """Return `text` with its line breaks and tabs; all else that is unsafe to show is escaped."""
    return _IN_TEXT.sub(_escaped, text)


def json_lines(text: str) -> str:
    r"""Return JSON `text` that means the same and is safe to show: `\u009b` for a control."""
    return _IN_TEXT.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


def cell(value: object) -> str:
    """Return what a table shows for `value`."""
    if isinstance(value, list | tuple):
        return cut(", ".join(map(str, cast("list[object]", value))))
    if isinstance(value, bool):
        return "yes" if value else ""
    return cut(str(value))


def json_cell(value: object) -> str:
    """Return what a table shows for a JSON `value`."""
    return cut(json.dumps(value, ensure_ascii=False))


def cut(text: str) -> str:
    """Return `text` as one line of bounded length, which says how much is missing."""
    if len(text) <= CELL_MAX:
        return line(text)
    return f"{line(text[:CELL_MAX])}... ({len(text):,} characters)"


def is_cut(shown: str) -> bool:
    """Say whether `cut` left something out."""
    return shown.endswith(" characters)") and len(shown) > CELL_MAX
