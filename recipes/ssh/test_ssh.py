# SPDX-License-Identifier: MIT
"""The SSH server."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


KEYS = ("/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key")
YES = {True: "yes", False: "no"}


def test_host_keys(host: Host) -> None:
    """The host keys were created at the board's first boot."""
    name = host.check_output("uname -n")
    found = host.check_output("ls /etc/ssh/ssh_host_*").split()
    assert found == [file for key in KEYS for file in (key, f"{key}.pub")]
    for key in KEYS:
        assert host.file(key).mode == 0o600
        # Keys that the package creates while the image is built have the build host's name.
        comment = host.file(f"{key}.pub").content_string.split()[-1]
        assert comment == f"root@{name}"


def test_configuration(host: Host, parameters: Parameters) -> None:
    """The server's effective settings are the configured ones."""
    settings = parameters["ssh"]
    effective = dict(
        line.split(maxsplit=1) for line in host.check_output("sshd -T").splitlines() if " " in line
    )
    assert effective["passwordauthentication"] == YES[settings["password-authentication"]]
    assert effective["x11forwarding"] == YES[settings["x11-forwarding"]]
    # sshd prints the older of two synonyms.
    root = effective["permitrootlogin"].replace("without-password", "prohibit-password")
    assert root == settings["permit-root-login"]
