# SPDX-License-Identifier: MIT
"""JSON records that may be damaged by a crash or a failing disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

Value = TypeVar("Value")


class Unreadable(Exception):
    """A damaged record; the message names it and the problem."""


def read_record(path: Path, kind: TypeAdapter[Value]) -> Value:
    """Return the content of a record.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: another user owns it.
        Unreadable: it is damaged.
    """
    try:
        return kind.validate_python(json.loads(path.read_text()))
    except (FileNotFoundError, PermissionError):
        raise
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise Unreadable(f"{path} cannot be used: {key}: {first['msg'].lower()}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
