# SPDX-License-Identifier: MIT
"""Types of recipes' parameters: what a text or a number may be.

Values end in files that other programs read, and in shell scripts: a type leaves no room for the
characters that mean something there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class ParameterType(str, Enum):
    """The names of the types, as `type` of a parameter has them."""

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
    """fits: whether a text is of the type. says: what such a text is, for messages."""

    fits: Callable[[str], object]
    says: str


def mismatch(kind: ParameterType, text: str) -> str | None:
    """Say what a text, or a number as text, must be to be of a type; None if it is."""
    rule = _RULES[kind]
    return None if rule.fits(text) else f"must be {rule.says}"


def _pattern(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.ASCII).fullmatch


def _is_address(text: str) -> bool:
    """Return whether a text is an IPv4 address with the length of its network's prefix."""
    try:
        ipaddress.IPv4Interface(text)
    except ValueError:
        return False
    return "/" in text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 1 << 16


_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_RULES: Final[Mapping[ParameterType, _Rule]] = {
    # The C0 and C1 controls and Unicode's two separators end lines, or move a terminal's cursor.
    ParameterType.LINE: _Rule(
        fits=_pattern(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"),
        says="one line, without control characters",
    ),
    # RFC 1123, 2.1; Linux has room for 64 characters (HOST_NAME_MAX).
    ParameterType.HOST_NAME: _Rule(
        fits=_pattern(rf"(?=.{{1,64}}$){_LABEL}(\.{_LABEL})*"),
        says="a host name: letters, digits and inner hyphens, 64 characters at most",
    ),
    # As useradd has it on Debian (adduser's NAME_REGEX), 32 characters (utmp).
    ParameterType.USER_NAME: _Rule(
        fits=_pattern(r"[a-z][a-z0-9_-]{0,31}"),
        says="a user name: a lower-case letter, then lower-case letters, digits, _ and -, 32 at most",
    ),
    ParameterType.TIME_ZONE: _Rule(
        fits=_pattern(r"[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"),
        says="a time zone, as UTC or Europe/Zurich",
    ),
    ParameterType.LOCALE: _Rule(
        fits=_pattern(r"C|POSIX|C\.UTF-8|[a-z]{2,3}_[A-Z]{2}(\.[A-Za-z0-9-]+)?(@[a-z]+)?"),
        says="a locale, as en_US.UTF-8",
    ),
    # Linux' IFNAMSIZ is 16, with the final zero.
    ParameterType.INTERFACE: _Rule(
        fits=_pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}"),
        says="the name of a network interface, as eth0",
    ),
    ParameterType.ADDRESS: _Rule(
        fits=_is_address,
        says="an IPv4 address and the length of its network's prefix, as 192.168.2.99/24",
    ),
    ParameterType.PORT: _Rule(fits=_is_port, says="a port, 1 to 65535"),
    ParameterType.SIZE: _Rule(
        fits=_pattern(r"[1-9][0-9]{0,9}[KMGT]?"), says="a size, as 512M or 1G"
    ),
    ParameterType.PATH: _Rule(
        fits=_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"),
        says="a relative path of letters, digits, _ . + and -, as notebooks or home/notebooks",
    ),
    ParameterType.WORD: _Rule(
        fits=_pattern(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"),
        says="a word of letters, digits, _ . + and -",
    ),
    ParameterType.DECIMAL: _Rule(
        fits=_pattern(r"[0-9]{1,9}(\.[0-9]{1,9})?"), says="a decimal number, as 122.88"
    ),
}
