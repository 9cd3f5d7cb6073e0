# SPDX-License-Identifier: MIT
"""Types of recipe parameters: the texts and numbers that they accept.

Values are written to configuration files and shell scripts, so the types exclude characters with a
special meaning there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class ParameterType(str, Enum):
    """Names of the types, as in the key `type` of a parameter."""

    LINE = "line"
    HOST_NAME = "host-name"
    USER_NAME = "user-name"
    TIME_ZONE = "time-zone"
    LOCALE = "locale"
    INTERFACE = "interface"
    ADDRESS = "address"
    PORT = "port"
    SIZE = "size"
    PATH = "path"
    WORD = "word"
    DECIMAL = "decimal"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """Rule of a type: `fits` tests a text, `says` describes the type in messages."""

    fits: Callable[[str], object]
    says: str


def mismatch(kind: ParameterType, text: str) -> str | None:
    """Return why a text, or a number as text, is not of a type; None if it is."""
    rule = _RULES[kind]
    return None if rule.fits(text) else f"must be {rule.says}"


def _pattern(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


def _is_address(text: str) -> bool:
    """Return whether a text is an IPv4 address with a prefix length."""
    try:
        ipaddress.IPv4Interface(text)
    except ValueError:
        return False
    return "/" in text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 1 << 16


_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_RULES: Final[Mapping[ParameterType, _Rule]] = {
    # C0 and C1 control characters and Unicode's two separators end lines or move the cursor.
    ParameterType.LINE: _Rule(
        fits=_pattern(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"),
        says="one line, without control characters",
    ),
    # RFC 1123, 2.1; Linux allows 64 characters (HOST_NAME_MAX).
    ParameterType.HOST_NAME: _Rule(
        fits=_pattern(rf"(?=.{{1,64}}$){_LABEL}(\.{_LABEL})*"),
        says="a host name: letters, digits and inner hyphens, at most 64 characters",
    ),
    # The rule of Debian's adduser (NAME_REGEX), 32 characters (utmp).
    ParameterType.USER_NAME: _Rule(
        fits=_pattern(r"[a-z][a-z0-9_-]{0,31}"),
        says="a user name: a lower-case letter, then lower-case letters, digits, _ and -, at most 32",
    ),
    ParameterType.TIME_ZONE: _Rule(
        fits=_pattern(r"[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"),
        says="a time zone, such as UTC or Europe/Zurich",
    ),
    ParameterType.LOCALE: _Rule(
        fits=_pattern(r"C|POSIX|C\.UTF-8|[a-z]{2,3}_[A-Z]{2}(\.[A-Za-z0-9-]+)?(@[a-z]+)?"),
        says="a locale, such as en_US.UTF-8",
    ),
    # Linux's IFNAMSIZ is 16, including the terminating null.
    ParameterType.INTERFACE: _Rule(
        fits=_pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}"),
        says="the name of a network interface, such as eth0",
    ),
    ParameterType.ADDRESS: _Rule(
        fits=_is_address,
        says="an IPv4 address with its prefix length, such as 192.168.2.99/24",
    ),
    ParameterType.PORT: _Rule(fits=_is_port, says="a port, 1 to 65535"),
    ParameterType.SIZE: _Rule(
        fits=_pattern(r"[1-9][0-9]{0,9}[KMGT]?"), says="a size, such as 512M or 1G"
    ),
    ParameterType.PATH: _Rule(
        fits=_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"),
        says="a relative path of letters, digits, _ . + and -, such as notebooks or home/notebooks",
    ),
    ParameterType.WORD: _Rule(
        fits=_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"),
        says="a word of letters, digits, _ . + and -",
    ),
    ParameterType.DECIMAL: _Rule(
        fits=_pattern(r"[0-9]{1,9}(\.[0-9]{1,9})?"), says="a decimal number, such as 122.88"
    ),
}
