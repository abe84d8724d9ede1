"""What the parameters of shipped policies may be: told when a policy is made. Pure."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from nalar.errors import InvalidToken
from nalar.ids import TOKEN_MAX_BYTES, encode_token

_YEAR_S: Final = 31_536_000
_PRIORITY_MAX: Final = 1_000_000

#: A length of time, which may be none.
Seconds = Annotated[
    float, Field(ge=0, le=_YEAR_S, description=f"a number of seconds from 0 to {_YEAR_S:,}")
]
#: A length of time that something is divided by.
Span = Annotated[
    float, Field(ge=0.001, le=_YEAR_S, description=f"a number of seconds from 0.001 to {_YEAR_S:,}")
]
#: A number of calls that something is divided by.
Calls = Annotated[
    float, Field(ge=0.001, le=1_000_000, description="a number from 0.001 to 1,000,000")
]
Share = Annotated[float, Field(ge=0.01, le=1, description="a share from 0.01 to 1")]
#: So many times something else.
Times = Annotated[float, Field(ge=1, le=1_000_000, description="a number from 1 to 1,000,000")]
Workers = Annotated[int, Field(ge=0, le=4_096, description="a whole number from 0 to 4,096")]
Levels = Annotated[int, Field(ge=1, le=1_000, description="a whole number from 1 to 1,000")]
Sessions = Annotated[
    int, Field(ge=1, le=10_000_000, description="a whole number from 1 to 10,000,000")
]
Priority = Annotated[
    int,
    Field(
        ge=-_PRIORITY_MAX,
        le=_PRIORITY_MAX,
        description=f"a whole number from -{_PRIORITY_MAX:,} to {_PRIORITY_MAX:,}",
    ),
]


def _session(name: str) -> str:
    try:
        encode_token(name)
    except InvalidToken as error:
        raise ValueError(str(error)) from error
    return name


Session = Annotated[
    str,
    AfterValidator(_session),
    Field(description=f"a session's name, of 1 to {TOKEN_MAX_BYTES} bytes"),
]
