#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes the share's password as smbpasswd(5) has it. SMB's hash is MD4 of the password in UTF-16
# ([MS-NLMP] 3.3.1), without a salt: who can read the file can log in, so it is root's alone.
user=$(sed -n 's/^valid users = //p' "$ROOT/etc/samba/smb.conf")
uid=$(awk -F: -v user="$user" '$1 == user { print $3 }' "$ROOT/etc/passwd")
hash=$(printf %s "$PARAM_PASSWORD" | iconv -f UTF-8 -t UTF-16LE |
    openssl dgst -provider legacy -provider default -md4 -r | cut -c-32 | tr a-f A-F)
[ ${#hash} -eq 32 ]
umask 077
# X: no hash of LAN Manager's kind. The times of changes are hexadecimal.
printf '%s:%s:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:%s:[U          ]:LCT-%08X:\n' \
    "$user" "$uid" "$hash" "$SOURCE_DATE_EPOCH" >"$ROOT/etc/samba/smbpasswd"
