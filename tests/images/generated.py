#!/usr/bin/env python3
"""Makes an OCI image layout of LAYERS layers with FILES files and BYTES bytes in all, tag `latest`.

Usage: generated.py DIRECTORY LAYERS FILES BYTES [SEED]

The content does not repeat from file to file, and half of it can be compressed.
"""

import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile

OCI = "application/vnd.oci.image."


def main():
    out, layers, files, size = sys.argv[1], *map(int, sys.argv[2:5])
    source = random.Random(int(sys.argv[5]) if len(sys.argv) > 5 else 1)
    os.makedirs(f"{out}/blobs/sha256")

    def blob(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{out}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": len(data)}

    each = max(1, size // files)
    descriptors, diffs = [], []
    for layer in range(layers):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(files // layers):
                name = f"l{layer}/d{number // 100}/f{number}"
                if number % 100 == 0:
                    directory = tarfile.TarInfo(os.path.dirname(name))
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(directory)
                half = source.randbytes((each + 1) // 2)
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = each, 0o644
                tar.addfile(entry, io.BytesIO((half + half.hex().encode())[:each]))
        diffs.append("sha256:" + hashlib.sha256(plain.getvalue()).hexdigest())
        descriptors.append(blob("layer.v1.tar+gzip", gzip.compress(plain.getvalue(), 6, mtime=0)))
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]}}
    config["rootfs"] = {"type": "layers", "diff_ids": diffs}
    config = blob("config.v1+json", json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json"}
    manifest |= {"config": config, "layers": descriptors}
    manifest = blob("manifest.v1+json", json.dumps(manifest).encode())
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    with open(f"{out}/index.json", "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
    with open(f"{out}/oci-layout", "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')


main()
