# SPDX-License-Identifier: MIT
"""Regular expressions in recipes, with matching in linear time.

Python's own engine backtracks, so a short expression can take years for a short text. Recipes
therefore use Rust's engine, which is part of pydantic. It matches in linear time, but supports
neither look-around nor backreferences (docs.rs/regex, "Untrusted input").
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import SchemaError, SchemaValidator, core_schema

_LONGEST = 1000


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole of a text matches a regular expression."""
    return _validator(rf"\A(?:{pattern})\z").isinstance_python(text)


@lru_cache(maxsize=256)
def _validator(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _compiled(pattern: str) -> str:
    if len(pattern) > _LONGEST:
        raise ValueError(f"must have at most {_LONGEST} characters")
    try:
        _validator(pattern)
        matches(pattern, "")
    except SchemaError as error:
        raise ValueError(
            "must be a regular expression, without look-around and backreferences"
        ) from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiled)]
