#!/bin/sh
# SPDX-License-Identifier: MIT
[ -z "$PARAM_FORCE_PASSWORD_CHANGE" ] || chage --lastday 0 "$PARAM_USER"
