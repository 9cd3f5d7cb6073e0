# SPDX-License-Identifier: MIT
# shellcheck shell=sh source=/dev/null
. /usr/local/share/pynq-venv/bin/activate
