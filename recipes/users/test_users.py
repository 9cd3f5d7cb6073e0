# SPDX-License-Identifier: MIT
"""The board's user."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

KNOWN = "xilinx"
"""The default password."""


def test_user(host: Host, parameters: Parameters) -> None:
    """The user exists, with a home and a shell."""
    name = parameters["users"]["user"]
    user = host.user(name)
    assert user.uid >= 1000
    assert {"adm", "dialout", "sudo", "video"} <= set(user.groups)
    assert user.shell == "/bin/bash"
    assert host.file(user.home).user == name


def test_sudo_asks_for_the_password(host: Host, parameters: Parameters) -> None:
    """The user can become root with sudo and the configured password, but not without it."""
    settings = parameters["users"]
    as_user = f"runuser -u {settings['user']} --"
    assert host.run(f"{as_user} sudo -k -n id -u").failed
    sudo = f"{as_user} sudo -k -S -p '' id -u"
    assert host.check_output("printf '%%s\\n' %s | " + sudo, settings["password"]) == "0"


def test_password_is_hashed(host: Host, parameters: Parameters) -> None:
    """The password is stored as a salted SHA-512 hash."""
    assert (host.user(parameters["users"]["user"]).password or "").startswith("$6$")


def test_root_is_locked(host: Host, parameters: Parameters) -> None:
    """Root has no password unless one is configured."""
    hashed = host.user("root").password or ""
    if parameters["users"]["root-password"]:
        assert hashed.startswith("$6$")
    else:
        assert hashed[:1] in {"*", "!"}


def test_notice_of_the_default_password(host: Host, parameters: Parameters) -> None:
    """A login prints a notice as long as the password is the default one."""
    settings = parameters["users"]
    shown = host.check_output("run-parts /etc/update-motd.d")
    notice = f"The password of {settings['user']} is still the one that everybody knows"
    assert (notice in shown) == (settings["password"] == KNOWN)


def test_notice_goes_with_the_password(host: Host) -> None:
    """The notice is shown to a user with the default password only."""
    script = "/etc/update-motd.d/60-default-password"
    try:
        host.check_output("useradd checked && echo checked:%s | chpasswd", KNOWN)
        assert "The password of checked is still the one" in host.check_output(f"{script} checked")
        host.check_output("echo checked:another | chpasswd")
        assert host.check_output(f"{script} checked") == ""
    finally:
        host.check_output("userdel --force checked")


def test_ssh_keys(host: Host, parameters: Parameters) -> None:
    """The configured keys can log in as the user, and other users cannot add keys."""
    settings = parameters["users"]
    file = host.file(f"/home/{settings['user']}/.ssh/authorized_keys")
    assert file.content_string.splitlines() == settings["ssh-keys"]
    assert (file.user, file.mode) == (settings["user"], 0o600)
    assert host.file(f"/home/{settings['user']}/.ssh").mode == 0o700
