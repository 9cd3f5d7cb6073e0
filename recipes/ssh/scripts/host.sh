#!/bin/sh
# SPDX-License-Identifier: MIT
# The package made keys while it was installed; no two boards may share them.
rm -f "$ROOT"/etc/ssh/ssh_host_*_key "$ROOT"/etc/ssh/ssh_host_*_key.pub
