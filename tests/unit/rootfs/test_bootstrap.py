# SPDX-License-Identifier: MIT
"""The list of the packages of a root filesystem."""

from __future__ import annotations

from builder.rootfs.bootstrap import installed

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: armhf
Source: zlib
Version: 1:1.2.11
Installed-Size: 152
Description: compression
 Version: 9 is only a line of the description

Package: gone
Status: deinstall ok config-files
Architecture: armhf
Version: 1

Package: adduser
Essential: no
Status: install ok installed
Architecture: all
Version: 3.118

"""


def test_installed_packages_are_read_in_order() -> None:
    assert installed(STATUS) == [
        {"package": "adduser", "architecture": "all", "version": "3.118", "size": 0},
        {
            "package": "zlib1g",
            "architecture": "armhf",
            "source": "zlib",
            "version": "1:1.2.11",
            "size": 152 * 1024,
        },
    ]
    assert installed("") == []
