#!/usr/bin/env bash
# Installs what is missing to build (`setup.sh build`), to test (`setup.sh test`) and to compare with
# other engines (`setup.sh bench`), for Debian and its relatives. Idempotent and quiet; starts no service
# and changes no configuration: programs that Debian packages as services, and all of the other engines,
# are unpacked below target/tools instead of being installed.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-test}
tools=target/tools
mkdir -p "$tools"

say() { printf 'setup: %s\n' "$*" >&2; }

updated=
apt_update() {
    [ -n "$updated" ] || apt-get update -qq >/dev/null
    updated=1
}

# install PROGRAM-OR-FILE PACKAGE ...: installs the packages unless the program is there.
need() {
    local probe=$1
    shift
    case $probe in
        /*) [ -e "$probe" ] && return ;;
        *) command -v "$probe" >/dev/null && return ;;
    esac
    say "installing $*"
    apt_update
    DEBCONF_NOWARNINGS=yes DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# unpack PACKAGE FILE: unpacks the package below $tools unless FILE is there.
unpack() {
    local package=$1 probe=$2
    compgen -G "$tools/$probe" >/dev/null && return
    say "unpacking $package"
    apt_update
    (
        cd "$tools"
        rm -f "${package}"_*.deb
        apt-get -o APT::Sandbox::User=root download -qq "$package" >/dev/null
        dpkg -x "${package}"_*.deb .
        rm -f "${package}"_*.deb
    )
}

# unpack_peers PACKAGE ...: unpacks the packages below $tools/peers; the bench lays their /usr over its own.
unpack_peers() {
    local package
    mkdir -p "$tools/peers/done"
    for package in "$@"; do
        [ -e "$tools/peers/done/$package" ] && continue
        say "unpacking $package"
        apt_update
        (
            cd "$tools/peers"
            rm -f ./*.deb
            apt-get -o APT::Sandbox::User=root download -qq "$package" >/dev/null
            dpkg -x ./*.deb .
            rm -f ./*.deb
            # Old packages have libraries beside /usr.
            if [ -d lib ]; then
                cp -a lib/. usr/lib/
                rm -rf lib
            fi
            touch "done/$package"
        )
    done
}

# The newest containerd is built where Go is new enough; otherwise Debian's is measured.
build_containerd() {
    local version=v2.4.2 bin=$PWD/$tools/peers/usr/local/bin
    [ -e "$bin/containerd-shim-runc-v2" ] && return
    if ! go version 2>/dev/null | grep -Eq 'go1\.(2[6-9]|[3-9][0-9])'; then
        say "no Go of 1.26 or newer: Debian's containerd is measured"
        return
    fi
    say "building containerd $version"
    GOBIN=$bin GOFLAGS=-mod=mod go install -ldflags '-s -w' \
        github.com/containerd/containerd/v2/cmd/{ctr,containerd,containerd-shim-runc-v2}@$version
}

if ! command -v cargo >/dev/null; then
    need cargo cargo rustup
fi
need cc gcc libc6-dev
need musl-gcc musl-tools
if command -v rustup >/dev/null; then
    installed=$(rustup target list --installed)
    for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl; do
        grep -qx "$target" <<<"$installed" || rustup target add "$target" >/dev/null 2>&1
    done
fi
[ "$what" = build ] && exit 0

need /usr/share/doc/ca-certificates ca-certificates
need /bin/busybox busybox-static
need skopeo skopeo
unpack docker-registry usr/bin/docker-registry
[ "$what" = demo ] && exit 0

if [ "$what" = bench ]; then
    need strace strace
    need ip iproute2
    unpack_peers docker.io containerd runc podman conmon golang-github-containers-common libsubid4 \
        containernetworking-plugins crun libyajl2 lxc liblxc1 liblxc-common libapparmor1
    build_containerd
    exit 0
fi

need mmdebstrap mmdebstrap
need umoci umoci
need openssl openssl
need python3 python3
unpack_peers docker.io containerd runc
# Other engines, to read what we write and the other way round. They run no service and nothing is
# installed of them.
unpack podman usr/bin/podman
unpack conmon usr/bin/conmon
unpack buildah usr/bin/buildah
unpack libsubid4 'usr/lib/*/libsubid.so.4'
unpack apache2-utils usr/bin/htpasswd
unpack libapr1 'usr/lib/*/libapr-1.so.0'
unpack libaprutil1 'usr/lib/*/libaprutil-1.so.0'
need /usr/include/seccomp.h libseccomp-dev
need pkg-config pkg-config
need runc runc
need strace strace
need valgrind valgrind
need ip iproute2
need nft nftables
need ps procps
need cpio cpio
need mke2fs e2fsprogs
need curl curl
need iptables iptables
need jq jq
need make make
need bzip2 bzip2
need /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
need xz xz-utils
need zstd zstd
need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross
need qemu-aarch64-static qemu-user-static
need qemu-system-x86_64 qemu-system-x86
need mkfs.ext4 e2fsprogs
need mkfs.xfs xfsprogs
if ! compgen -G "$tools/boot/vmlinuz-*" >/dev/null; then
    apt_update
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    unpack "$kernel" 'boot/vmlinuz-*'
fi
if ! command -v cargo-deny >/dev/null; then
    say "building cargo-deny"
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR=$tools/cargo-deny-build \
        cargo install --quiet --locked cargo-deny >/dev/null
    rm -rf "$tools/cargo-deny-build"
fi
tools/cri-setup.sh
