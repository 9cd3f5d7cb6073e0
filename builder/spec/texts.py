# SPDX-License-Identifier: MIT
"""Types of texts in YAML files, limited to characters that are safe in commands and files."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from builder.spec.parameter_types import ParameterType, mismatch

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

_LONGEST_LINE: Final = 1000
_LONGEST_PATH: Final = 1000
_LONGEST_PART: Final = 255
"""Maximum characters of a text, bytes of a path, and bytes of a part of a path (Linux's NAME_MAX)."""

_LARGEST_SIZE: Final = 1 << 50

_QUOTES: Final = re.compile(r"[\"'`$\\]")
_URL: Final = re.compile(r"(?:https?|file)://[!-~]+", re.ASCII)
_URL_NAME: Final = re.compile(r"[A-Za-z0-9._~%+,@=()!:-]{1,255}", re.ASCII)
_PACKAGE: Final = "^[a-z0-9][a-z0-9+.-]{1,99}$"


def parse_size(text: object) -> int:
    """Parse a size such as `100M`, `1G` or `512K`, or a number of bytes; return bytes."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = re.fullmatch(r"([0-9]{1,12})([KMG])", str(text))
    if not match:
        raise ValueError("must be a size like 512K, 100M or 1G")
    return int(match[1]) * _UNITS[match[2]]


def format_size(size: int) -> str:
    """Return a size in bytes in the format of `parse_size`, in the largest exact unit."""
    for unit, factor in reversed(_UNITS.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def between(least: int, most: int) -> AfterValidator:
    """Return a validator for sizes in a range."""

    def check(size: int) -> int:
        if not least <= size <= most:
            raise ValueError(f"must be {format_size(least)} to {format_size(most)}")
        return size

    return AfterValidator(check)


def _possible(size: int) -> int:
    if size <= 0:
        raise ValueError("must be more than 0")
    if size > _LARGEST_SIZE:
        raise ValueError(f"must be at most {format_size(_LARGEST_SIZE)}")
    return size


def _whole_mib(size: int) -> int:
    if size % (1 << 20):
        raise ValueError("must be a whole number of MiB, like 100M or 1G")
    return size


class FileName(str):
    """Path of a file in a YAML file, relative to the YAML file's directory."""

    __slots__ = ()


def _path(path: str) -> str:
    _plain(path)
    if _QUOTES.search(path):
        raise ValueError("must be a path without quotes, `$` or backslashes")
    lengths = [len(os.fsencode(part)) for part in PurePosixPath(path).parts]
    if max(lengths, default=0) > _LONGEST_PART or len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError(
            f"is too long for a path: at most {_LONGEST_PART} bytes between two slashes, and "
            f"{_LONGEST_PATH} in total"
        )
    return path


def _relative(path: str) -> FileName:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError("must be a path below the directory of this file")
    return FileName(_path(path))


def _of_words(path: str) -> str:
    if not all(map(is_word, PurePosixPath(path).parts)):
        raise ValueError(
            "must only have letters, digits, _ . + and - in its names, because make reads them"
        )
    return path


def is_word(text: str) -> bool:
    """Return whether a text has no character that is special in shells, make or Kconfig."""
    return mismatch(ParameterType.WORD, text) is None


def _absolute(path: str) -> str:
    # A path may begin with a parameter: "{{ home }}/notebooks".
    if not path.startswith(("/", "{{")) or ".." in PurePosixPath(path).parts:
        raise ValueError("must be an absolute path in the image")
    return _line(path)


def _plain(text: str) -> str:
    if problem := mismatch(ParameterType.LINE, text):
        raise ValueError(problem)
    return text


def _line(text: str) -> str:
    text = _plain(text.rstrip("\n"))  # YAML's `>` leaves a newline at the end
    if len(text) > _LONGEST_LINE:
        raise ValueError(f"must have at most {_LONGEST_LINE} characters")
    return text


def _prose(text: str) -> str:
    return _line(" ".join(text.split()))


def last_part(url: str) -> str:
    """Return the last part of a URL's path: the name of the file."""
    return urlsplit(url).path.rpartition("/")[2]


def _url(url: str) -> str:
    if not _URL.fullmatch(url) or len(url) > _LONGEST_LINE:
        raise ValueError("must be a URL: https://, http:// or file://, without spaces")
    name = last_part(url)
    if name in (".", "..") or not _URL_NAME.fullmatch(name):
        raise ValueError("the last part of its path must be a file's name")
    return url


def package_name(name: str) -> str:
    """Return the name of a package unchanged after checking it.

    The characters are those of Debian Policy, 5.6.1. apt interprets a `-` or a `+` at the end of a
    name as the instruction to remove or install the package, but package names may end in `++`
    (g++). A version (`=`), a suite (`/`) or an architecture (`:`) is not part of a name.

    Raises:
        ValueError: it is not the name of a package.
    """
    if not re.fullmatch(_PACKAGE, name) or "\n" in name:
        raise ValueError(
            "must be the name of a package: at least two lower-case letters, digits, + - or ."
        )
    if name.endswith("-") or (name.endswith("+") and not name.endswith("++")):
        does = "remove" if name.endswith("-") else "install"
        raise ValueError(f"must not end in {name[-1]}: apt would {does} {name[:-1]}")
    return name


Size = Annotated[
    int,
    BeforeValidator(parse_size, json_schema_input_type=str | int),
    AfterValidator(_possible),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    Field(description="Number of bytes, with the suffix K, M or G for powers of 1024"),
]
WholeMib = Annotated[Size, AfterValidator(_whole_mib)]
Line = Annotated[str, AfterValidator(_line)]
Prose = Annotated[str, AfterValidator(_prose)]
RelativePath = Annotated[str, AfterValidator(_relative)]
WordPath = Annotated[RelativePath, AfterValidator(_of_words)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Url = Annotated[
    str, AfterValidator(_url), Field(json_schema_extra={"pattern": r"^(https?|file)://[!-~]+$"})
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]
PackageName = Annotated[
    str, AfterValidator(package_name), Field(json_schema_extra={"pattern": _PACKAGE})
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Mode = Annotated[
    str, Field(pattern=r"^[0-7]{4}$", description='Four octal digits in quotes: "0644"')
]
