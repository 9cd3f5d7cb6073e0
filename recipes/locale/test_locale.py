# SPDX-License-Identifier: MIT
"""Language and time zone."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_locale(host: Host, parameters: Parameters) -> None:
    """A login has the language that was set, and it works."""
    locale = parameters["locale"]["locale"]
    result = host.run("bash -lc 'LC_ALL=$(. /etc/default/locale; echo $LANG) locale'")
    assert f'LC_CTYPE="{locale}"' in result.stdout.splitlines()
    assert result.stderr == ""


def test_only_one_locale(host: Host, parameters: Parameters) -> None:
    """No locale takes room but the one that was set."""
    generated = [
        name
        for name in host.check_output("locale -a").split()
        if not name.startswith(("C", "POSIX"))
    ]
    wanted = parameters["locale"]["locale"]
    assert len(generated) == (0 if wanted.startswith("C") else 1)


def test_time_zone(host: Host, parameters: Parameters) -> None:
    """The time zone is the one that was set."""
    zone = parameters["locale"]["timezone"]
    # Names of zones are links to each other: UTC leads to Etc/UTC.
    assert host.run(f"cmp /etc/localtime /usr/share/zoneinfo/{zone}").succeeded
