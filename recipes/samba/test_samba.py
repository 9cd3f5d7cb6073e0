# SPDX-License-Identifier: MIT
"""The network drive."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Connect = Callable[..., Any]

# Samba's client, used like a program on another machine. Arguments: share, user,
# password, newest protocol. Prints the content that it read back, or the reason of a refusal.
CLIENT = """
import json, sys
from samba import NTSTATUSError, credentials
from samba.samba3 import libsmb_samba_internal as libsmb, param
share, user, password, protocol = sys.argv[1:]
settings = param.get_context()
settings.load("/etc/samba/smb.conf")
settings.set("client min protocol", "NT1")
settings.set("client max protocol", protocol)
who = credentials.Credentials()
who.guess(settings)
who.set_kerberos_state(credentials.DONT_USE_KERBEROS)
if user:
    who.set_username(user)
    who.set_password(password)
else:
    who.set_anonymous()
try:
    share = libsmb.Conn("127.0.0.1", share, settings, who)
    share.savefile("check of the share.txt", b"written by a PC")
    print(json.dumps(share.loadfile("check of the share.txt").decode()))
except NTSTATUSError as error:
    print(json.dumps(error.args[1]))
"""

REFUSED = (
    "The attempted logon is invalid. This is either due to a bad username or authentication "
    "information."
)


@pytest.fixture
def connect(run_python: Callable[..., str], parameters: Parameters) -> Connect:
    """Use the share as a user with a password; return the output of the client."""
    share = parameters["samba"]["share"] or parameters["users"]["user"]

    def connected(user: str, password: str, protocol: str = "SMB3") -> Any:
        words = (share, user, password, protocol)
        return json.loads(run_python(CLIENT, *words, modules=["samba"]))

    return connected


def test_files_pass(host: Host, parameters: Parameters, connect: Connect) -> None:
    """With the password, a file can be written and read back, and belongs to the user."""
    user, settings = parameters["users"]["user"], parameters["samba"]
    file = host.file(f"/home/{user}/{settings['directory']}/check of the share.txt")
    try:
        read = connect(user, settings["password"])
        assert read == "written by a PC"
        assert (file.content_string, file.user, file.mode) == (read, user, 0o644)
    finally:
        host.check_output("rm -f %s", file.path)


def test_others_are_refused(parameters: Parameters, connect: Connect) -> None:
    """Logins with a wrong password, as a guest or as another user are refused."""
    user, password = parameters["users"]["user"], parameters["samba"]["password"]
    wrong = connect(user, f"{password}-")
    other = connect("root", password)
    guest = connect("", "")
    assert {wrong, other} == {REFUSED}
    assert "Access Denied" in guest


def test_no_old_protocol(host: Host, parameters: Parameters, connect: Connect) -> None:
    """SMB 1, which is insecure, and NetBIOS are disabled."""
    user, password = parameters["users"]["user"], parameters["samba"]["password"]
    old = connect(user, password, "NT1")
    assert old != "written by a PC"
    assert not host.socket("tcp://0.0.0.0:139").is_listening
    assert not host.service("nmbd").is_running


def test_password_is_kept_from_users(host: Host) -> None:
    """The password hash, which is equivalent to the password, is only readable by root."""
    file = host.file("/etc/samba/smbpasswd")
    assert (file.user, file.mode) == ("root", 0o600)
