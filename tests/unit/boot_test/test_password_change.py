# SPDX-License-Identifier: MIT
"""First login with an expired password, with a fake ssh and passwd."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from builder.boot_test.password_change import change_password
from builder.errors import StepError

SSH = r"""#!/bin/sh
# Output and prompts of sshd with pam_unix for an expired password; sshd then ends the connection.
[ "$1" = -tt ] || exit 9
ask() {
    printf '%s' "$1"
    read -r answer
    echo
    [ "$answer" = "$2" ] || { printf 'passwd: Authentication token manipulation error\r\n'; exit 10; }
}
printf 'WARNING: Your password has expired.\r\n'
printf 'You must change your password now and login again!\r\n'
printf 'Changing password for somebody.\r\n'
ask 'Current password: ' old
ask 'New password: ' new
ask 'Retype new password: ' new
printf 'passwd: password updated successfully\r\n'
"""


@pytest.fixture
def ssh(tmp_path: Path) -> Path:
    path = tmp_path / "ssh"
    path.write_text(SSH)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_each_prompt_gets_its_answer(ssh: Path) -> None:
    change_password([str(ssh), "somebody@board"], os.environ, old="old", new="new")


def test_a_refused_password_is_an_error_with_the_output(ssh: Path) -> None:
    with pytest.raises(StepError, match=r"force-password-change") as caught:
        change_password([str(ssh)], os.environ, old="wrong", new="new")
    assert caught.value.details[-1] == "passwd: Authentication token manipulation error"


def test_a_login_without_a_prompt_is_an_error(ssh: Path) -> None:
    """The fake shell waits for commands."""
    ssh.write_text("#!/bin/sh\nprintf '$ '\nexec sleep 60\n")
    with pytest.raises(StepError):
        change_password([str(ssh)], os.environ, old="old", new="new", timeout=0.5)


def test_a_closed_input_is_an_error_with_the_output(ssh: Path) -> None:
    ssh.write_text(
        "#!/bin/sh\nexec 0<&-\nprintf 'Current password: '\nsleep 0.3\nprintf 'bye\\n'\n"
    )
    with pytest.raises(StepError) as caught:
        change_password([str(ssh)], os.environ, old="old", new="new", timeout=5)
    assert caught.value.details[-1] == "bye"
