#!/bin/sh
# SPDX-License-Identifier: MIT
# Unpacks the source distributions of what is Python alone, with their metadata. Of pynq without its
# tests, and without the C sources of libraries for audio, video and I2C, which are not built.
packages=$(echo "$ROOT"/usr/local/lib/python3.*/dist-packages)
for archive in "$DOWNLOADS"/*.tar.gz; do
    name=$(basename "$archive" .tar.gz)
    project=${name%-*}
    tar -xzf "$archive" -C "$packages" --strip-components=1 --no-same-owner --wildcards \
        --exclude='*/__pycache__' --exclude='*/tests' --exclude='*/SOURCES.txt' \
        --exclude='*/pynq/lib/_pynq' --exclude='*/pynq/notebooks' \
        "$name/$project" "$name/$project.egg-info"
    mv "$packages/$project.egg-info" "$packages/$name.egg-info"
done
for name in pynq:cmd pynq-get-notebooks:get_notebooks; do
    cat > "$ROOT/usr/local/bin/${name%:*}" <<EOF
#!/usr/bin/python3
import sys

from pynq._cli.${name#*:} import main

sys.exit(main())
EOF
    chmod 0755 "$ROOT/usr/local/bin/${name%:*}"
done

# It keeps the description of a design with pickle, which takes more levels than Python allows by
# itself. Notebooks have them, by the grace of jedi; programs shall have them too.
sed -i 's/^import pickle$/import pickle\nimport sys/
s/^\( *\)pickle\.dump(parser,/\1sys.setrecursionlimit(max(sys.getrecursionlimit(), 3000))\n&/' \
    "$packages/pynq/pl_server/embedded_device.py"
grep -q 'sys.setrecursionlimit' "$packages/pynq/pl_server/embedded_device.py"
