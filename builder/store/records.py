# SPDX-License-Identifier: MIT
"""Records that are kept as JSON, which a crash or a disk may have damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

Value = TypeVar("Value")


class Unreadable(Exception):
    """A record is damaged; the message says which one, and how."""


def read_record(path: Path, kind: TypeAdapter[Value]) -> Value:
    """Return what a record holds.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: it is another user's.
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
