# SPDX-License-Identifier: MIT
"""Language and time zone."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_locale(host: Host, parameters: Parameters) -> None:
    """A login has the configured locale, and the locale works."""
    locale = parameters["locale"]["locale"]
    result = host.run("bash -lc 'LC_ALL=$(. /etc/default/locale; echo $LANG) locale'")
    assert f'LC_CTYPE="{locale}"' in result.stdout.splitlines()
    assert result.stderr == ""


def test_only_one_locale(host: Host, parameters: Parameters) -> None:
    """Only the configured locale is installed."""
    generated = [
        name
        for name in host.check_output("locale -a").split()
        if not name.startswith(("C", "POSIX"))
    ]
    wanted = parameters["locale"]["locale"]
    assert len(generated) == (0 if wanted.startswith("C") else 1)


def test_time_zone(host: Host, parameters: Parameters) -> None:
    """The time zone is the configured one."""
    zone = parameters["locale"]["timezone"]
    # Names of zones are links to each other: UTC leads to Etc/UTC.
    assert host.run(f"cmp /etc/localtime /usr/share/zoneinfo/{zone}").succeeded
