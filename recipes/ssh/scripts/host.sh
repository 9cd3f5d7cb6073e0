#!/bin/sh
# SPDX-License-Identifier: MIT
# Remove the keys that the package created at installation: boards must not share keys.
rm -f "$ROOT"/etc/ssh/ssh_host_*_key "$ROOT"/etc/ssh/ssh_host_*_key.pub
