# SPDX-License-Identifier: MIT
"""The board's user."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_user(host: Host, parameters: Parameters) -> None:
    """The user exists, with a home and a shell."""
    name = parameters["users"]["user"]
    user = host.user(name)
    assert user.uid >= 1000
    assert {"adm", "dialout", "sudo", "video"} <= set(user.groups)
    assert user.shell == "/bin/bash"
    assert host.file(user.home).user == name


def test_sudo_asks_for_the_password(host: Host, parameters: Parameters) -> None:
    """The user becomes root by sudo with the password that was set, and not without."""
    settings = parameters["users"]
    as_user = f"runuser -u {settings['user']} --"
    assert host.run(f"{as_user} sudo -k -n id -u").failed
    sudo = f"{as_user} sudo -k -S -p '' id -u"
    assert host.check_output("printf '%%s\\n' %s | " + sudo, settings["password"]) == "0"


def test_password_is_hashed(host: Host, parameters: Parameters) -> None:
    """The password is stored as a salted SHA-512 hash."""
    assert (host.user(parameters["users"]["user"]).password or "").startswith("$6$")


def test_root_is_locked(host: Host, parameters: Parameters) -> None:
    """Root has no password unless one was set."""
    hashed = host.user("root").password or ""
    if parameters["users"]["root-password"]:
        assert hashed.startswith("$6$")
    else:
        assert hashed[:1] in {"*", "!"}
