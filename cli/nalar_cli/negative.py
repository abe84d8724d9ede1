"""Negative numbers as arguments, which the parser of options takes for options."""

import re
from typing import Any

from typer.core import TyperCommand

_NEGATIVE = re.compile(r"-\d+(\.\d+)?")


class WithNegative(TyperCommand):
    """A command of one argument, a number: `nalar prioritize -5` needs no `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put a negative number that no option takes behind all options."""
        takes = {name for it in self.params for name in it.opts if not getattr(it, "is_flag", True)}
        for place, word in enumerate(args if "--" not in args else []):
            if _NEGATIVE.fullmatch(word) and (place == 0 or args[place - 1] not in takes):
                args = [*args[:place], *args[place + 1 :], "--", word]
                break
        return super().parse_args(ctx, args)
