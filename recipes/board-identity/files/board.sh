# SPDX-License-Identifier: MIT
# shellcheck shell=sh
if [ -r /proc/device-tree/chosen/pynq_board ]; then
    BOARD=$(tr -d '\0' </proc/device-tree/chosen/pynq_board)
    export BOARD
fi
