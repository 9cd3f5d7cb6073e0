# SPDX-License-Identifier: MIT
"""Headers and libraries for programs that are compiled on the board."""

import pytest
from testinfra.host import Host

PROGRAMS = {
    "opencv4": (
        "#include <opencv2/core.hpp>\n#include <cstdio>\n"
        'int main() { cv::Mat m = cv::Mat::eye(3, 3, CV_32F); printf("%d", (int)cv::sum(m)[0]); }'
    ),
    "libcrypto": (
        "#include <openssl/crypto.h>\n#include <cstdio>\n"
        'int main() { printf("%d", OpenSSL_version_num() ? 3 : 0); }'
    ),
}


@pytest.mark.parametrize("library", PROGRAMS)
def test_a_program_uses_a_library(host: Host, library: str) -> None:
    """A program compiles with a library's headers, links with it, and runs."""
    script = (
        'd=$(mktemp -d) && printf "%s" "$1" > $d/made.cpp && '
        f"g++ $d/made.cpp -o $d/made $(pkg-config --cflags {library}) "
        f"$(case {library} in opencv4) echo -lopencv_core;; *) pkg-config --libs {library};; esac) && "
        "$d/made; rm -rf $d"
    )
    assert host.check_output("sh -c %s sh %s", script, PROGRAMS[library]) == "3"


def test_python_extensions_can_be_compiled(host: Host) -> None:
    """Python's headers are installed."""
    code = (
        "import os, sysconfig; print(os.path.exists(sysconfig.get_path('include') + '/Python.h'))"
    )
    assert host.check_output("python3 -c %s", code) == "True"
