#!/usr/bin/env python3
"""A line for each thing in a tar, sorted: what it is, whose, when, and a sum of its content.

Left out is what an engine puts into each container itself, and the times of directories, which the
start of a container changes.
"""
import hashlib
import sys
import tarfile

ENGINES = {"dev", "proc", "sys", "run", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", ".dockerenv"}

lines = []
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        name = member.name.removeprefix("./").rstrip("/")
        if not name or name == "." or name in ENGINES or name.split("/")[0] in ENGINES:
            continue
        # Which name of a file is the first is the writer's choice.
        of = archive.getmember(member.linkname) if member.islnk() else member
        content = hashlib.sha256(archive.extractfile(of).read()).hexdigest() if of.isreg() else of.linkname
        time = "-" if of.isdir() else int(of.mtime)
        attributes = sorted((key, value) for key, value in of.pax_headers.items() if "xattr" in key)
        lines.append(f"{name} {of.type!r} {of.mode & 0o7777:o} {of.uid}:{of.gid} {time} {content} {attributes}")
print("\n".join(sorted(lines)))
