#!/bin/sh
# Installs picolm-host as a systemd service: sh wasi-host/deploy/install.sh [FOLDER], after `cargo xtask host`, as root.
# FOLDER has picolm-host and picolm.cwasm (target/xtask/host if not given). Settings and models that are there stay as they are.
# sh wasi-host/deploy/install.sh --remove takes the program and the service away, and leaves settings, models and state.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}

if [ "${1:-}" = --remove ]; then
    if [ -z "$root" ]; then systemctl disable --now picolm-host || true; fi
    rm -f "$root/usr/local/bin/picolm-host" "$root/usr/local/bin/picolm.cwasm" "$root/etc/systemd/system/picolm-host.service"
    exit 0
fi

built=${1:-$here/../../target/xtask/host}
for file in picolm-host picolm.cwasm; do
    [ -f "$built/$file" ] || { echo "$built/$file is missing: run cargo xtask host first" >&2; exit 1; }
done
if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then
    echo "run this as root, or set DESTDIR to look at what it does" >&2
    exit 1
fi

install -d "$root/usr/local/bin" "$root/etc/picolm" "$root/etc/systemd/system" "$root/srv/picolm"
# Beside and then renamed: a running server keeps its own.
for file in picolm-host picolm.cwasm; do
    install -m 755 "$built/$file" "$root/usr/local/bin/.$file.new"
    mv "$root/usr/local/bin/.$file.new" "$root/usr/local/bin/$file"
done
[ -e "$root/etc/picolm/picolm.toml" ] || install -m 644 "$here/picolm.toml" "$root/etc/picolm/picolm.toml"
install -m 644 "$here/picolm-host.service" "$root/etc/systemd/system/picolm-host.service"
if [ -z "$root" ]; then
    systemctl daemon-reload
    systemctl enable --now picolm-host
fi
echo "put GGUF files into $root/srv/picolm; settings are in $root/etc/picolm/picolm.toml"
