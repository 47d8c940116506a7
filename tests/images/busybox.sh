#!/usr/bin/env bash
# Makes an OCI image layout of busybox in DIRECTORY, tag `latest`, with nothing but coreutils and tar:
# two layers (programs; configuration files), so that layers can be seen to be shared.
# Usage: busybox.sh DIRECTORY [NAME=VALUE of the environment]
set -euo pipefail
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out/blobs/sha256" "$work/1/bin" "$work/2/etc" "$work/2/tmp" "$work/2/root" "$work/2/home/web"
cp /bin/busybox "$work/1/bin/busybox"
for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$work/1/bin/$applet"
done
chmod 1777 "$work/2/tmp"
printf 'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/home/web:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$work/2/etc/passwd"
printf 'root:x:0:\nweb:x:1000:\nextra:x:2000:web\nnogroup:x:65534:\n' >"$work/2/etc/group"
printf 'not executable\n' >"$work/2/etc/plain"
chown 1000:1000 "$work/2/home/web"

blob() { # FILE: moves it among the blobs, prints digest and size
    local digest size
    digest=$(sha256sum "$1" | cut -d ' ' -f 1)
    size=$(stat -c %s "$1")
    mv "$1" "$out/blobs/sha256/$digest"
    echo "$digest $size"
}
layers= diffs=
for n in 1 2; do
    tar -C "$work/$n" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$work/layer.tar" \
        --exclude=./home/web .
    [ $n = 1 ] || tar -C "$work/2" --numeric-owner --mtime=@0 -rf "$work/layer.tar" ./home/web
    diff=$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)
    gzip -n -1 "$work/layer.tar"
    read -r digest size < <(blob "$work/layer.tar.gz")
    layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}"
    diffs+="${diffs:+,}\"sha256:$diff\""
done
extra=${2:+,\"$2\"}
cat >"$work/config" <<JSON
{"created":"2026-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"$extra],"Cmd":["sh"],"Labels":{"origin":"busybox.sh"}},"rootfs":{"type":"layers","diff_ids":[$diffs]},"history":[{"created_by":"programs"},{"created_by":"configuration files"}]}
JSON
read -r config size < <(blob "$work/config")
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$config","size":$size},"layers":[$layers]}
JSON
read -r manifest size < <(blob "$work/manifest")
printf '{"imageLayoutVersion":"1.0.0"}' >"$out/oci-layout"
cat >"$out/index.json" <<JSON
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$manifest","size":$size,"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}
JSON
echo "sha256:$config"
