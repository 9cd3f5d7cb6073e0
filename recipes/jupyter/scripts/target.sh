#!/bin/sh
# SPDX-License-Identifier: MIT
# Jupyter's own form of an argon2 hash, with its costs (jupyter_server.auth.security), but with the
# build's salt, so that the same build gives the same image. Written in place: the file keeps its
# owner and its mode.
python3 - /etc/jupyter/jupyter_server_config.json <<'EOF'
import json, os, pathlib, sys
from argon2.low_level import Type, hash_secret
from jupyter_server.auth.security import passwd_check

path = pathlib.Path(sys.argv[1])
password = os.environ["PARAM_PASSWORD"]
hashed = hash_secret(
    password.encode(), os.environ["SALT"].encode(),
    time_cost=10, memory_cost=10240, parallelism=8, hash_len=16, type=Type.ID,
)
config = json.loads(path.read_text())
config["PasswordIdentityProvider"]["hashed_password"] = f"argon2:{hashed.decode()}"
assert passwd_check(config["PasswordIdentityProvider"]["hashed_password"], password)
path.write_text(json.dumps(config, indent=2) + "\n")
EOF
