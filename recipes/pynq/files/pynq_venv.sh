# SPDX-License-Identifier: MIT
. /usr/local/share/pynq-venv/bin/activate
