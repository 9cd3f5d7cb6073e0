#!/bin/sh
# SPDX-License-Identifier: MIT
# Write the password of the share in the format of smbpasswd(5). SMB's hash is MD4 of the password
# in UTF-16 ([MS-NLMP] 3.3.1), without a salt. It suffices for a login, so only root may read the
# file.
user=$(sed -n 's/^valid users = //p' "$ROOT/etc/samba/smb.conf")
uid=$(awk -F: -v user="$user" '$1 == user { print $3 }' "$ROOT/etc/passwd")
hash=$(printf %s "$PARAM_PASSWORD" | iconv -f UTF-8 -t UTF-16LE |
    openssl dgst -provider legacy -provider default -md4 -r | cut -c-32 | tr a-f A-F)
[ ${#hash} -eq 32 ]
umask 077
# X: no LAN Manager hash. The time of the last change is hexadecimal.
printf '%s:%s:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:%s:[U          ]:LCT-%08X:\n' \
    "$user" "$uid" "$hash" "$SOURCE_DATE_EPOCH" >"$ROOT/etc/samba/smbpasswd"
