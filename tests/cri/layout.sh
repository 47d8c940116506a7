#!/usr/bin/env bash
# Adds an image of one layer to the OCI image layout DIRECTORY and prints its manifest's digest. The
# same input gives the same digest on every machine: the layer is a plain, sorted, undated tar.
# Usage: layout.sh DIRECTORY TAG ROOT [CONFIG (JSON, the image's "config")]
set -euo pipefail
layout=$1 tag=$2 root=$3 config=${4:-{\}}
blobs=$layout/blobs/sha256
mkdir -p "$blobs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

blob() { # FILE: moves it among the blobs, sets $digest and $size
    digest=$(sha256sum "$1" | cut -d ' ' -f 1)
    size=$(stat -c %s "$1")
    mv "$1" "$blobs/$digest"
}

tar -C "$root" --format=ustar --sort=name --numeric-owner --mtime=@0 -cf "$work/layer" .
blob "$work/layer"
layer=$digest layer_size=$size
printf '{"created":"2026-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"2026-01-01T00:00:00Z","created_by":"tests/cri"}]}' \
    "$config" "$layer" >"$work/config"
blob "$work/config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
    "$digest" "$size" "$layer" "$layer_size" >"$work/manifest"
blob "$work/manifest"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}\n' \
    "$digest" "$size" "$tag" >>"$layout/entries"
printf '{"schemaVersion":2,"manifests":[%s]}' "$(paste -sd , "$layout/entries")" >"$layout/index.json"
echo "sha256:$digest"
