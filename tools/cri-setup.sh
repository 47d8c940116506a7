#!/usr/bin/env bash
# Builds the programs that test the CRI server, through the Go module proxy, into target/tools/go/bin:
#
#   tools/cri-setup.sh              crictl, critest, the CNI plug-ins, the stream clients
#   tools/cri-setup.sh containerd   also containerd and runc, to compare with
#   tools/cri-setup.sh kubelet      also kubelet (minutes)
#
# Idempotent and quiet. A program that is there is not built again.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
go_dir=$root/target/tools/go
bin=$go_dir/bin
mkdir -p "$bin"

cri_tools=v1.36.0
client_go=v0.36.0
cni_plugins=v1.9.1
containerd=v2.4.2
runc=v1.5.2
kubernetes=1.36.3
go_version=1.26.0

# The image that critest pulls by digest cannot be rebuilt; ours takes its place (tests/cri/images.sh).
their_digest=sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf
our_digest=$(tests/cri/digest-image.sh)

say() { printf 'cri-setup: %s\n' "$*" >&2; }

# A go that is missing or too old to fetch its successor is replaced by one from the module proxy.
find_go() {
    local have
    PATH=$PATH:/usr/local/go/bin
    have=$(go env GOVERSION 2>/dev/null || true)
    if [[ $have =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 21 ]; then
        export GOTOOLCHAIN=auto
        return
    fi
    local toolchain=golang.org/toolchain@v0.0.1-go$go_version.linux-amd64
    if [ ! -x "$go_dir/toolchain/bin/go" ]; then
        say "installing go $go_version"
        command -v go >/dev/null || {
            apt-get update -qq >/dev/null
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >/dev/null
        }
        local empty
        empty=$(mktemp -d)
        (cd "$empty" && GOFLAGS=-modcacherw go mod download "$toolchain")
        rm -rf "$empty"
        cp -r "$(go env GOMODCACHE)/$toolchain" "$go_dir/toolchain"
        # A module's files carry no mode.
        find "$go_dir/toolchain/bin" "$go_dir/toolchain/pkg/tool" -type f -exec chmod 0755 {} +
    fi
    export PATH=$go_dir/toolchain/bin:$PATH GOTOOLCHAIN=local
}

# module NAME LINE ...: an own module that requires exact versions (the proxy lists none for some).
module() {
    local name=$1
    shift
    mkdir -p "$go_dir/$name"
    cd "$go_dir/$name"
    { printf 'module isula.test/%s\n\ngo %s\n\n' "$name" "$go_version"; printf '%s\n' "$@"; } >go.mod.new
    cmp -s go.mod.new go.mod.wanted || cp go.mod.new go.mod && mv go.mod.new go.mod.wanted
}

build() { # build OUTPUT PACKAGE FLAG ...: leaves a program or nothing
    local output=$1 package=$2
    shift 2
    GOFLAGS=-mod=mod nice go build -trimpath -buildvcs=false -o "$output.new" "$@" "$package"
    mv "$output.new" "$output"
}

find_go

cri_tools_module() {
    local stamp=$bin/.critest-$cri_tools-${our_digest#sha256:}
    [ -e "$stamp" ] && [ -x "$bin/crictl" ] && [ -x "$bin/critest" ] && return
    say "building crictl and critest $cri_tools"
    (
        module cri-tools "require sigs.k8s.io/cri-tools $cri_tools"
        local source copy=$go_dir/cri-tools-source
        source=$(GOFLAGS=-mod=mod go mod download -json "sigs.k8s.io/cri-tools@$cri_tools" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        rm -rf "$copy"
        cp -r "$source" "$copy"
        chmod -R u+w "$copy"
        grep -rlF "$their_digest" "$copy/pkg" | xargs sed -i "s/$their_digest/$our_digest/"
        grep -q '^replace' go.mod || printf 'replace sigs.k8s.io/cri-tools => ../cri-tools-source\n' >>go.mod
        local version="-X sigs.k8s.io/cri-tools/pkg/version.Version=${cri_tools#v}"
        build "$bin/crictl" sigs.k8s.io/cri-tools/cmd/crictl -ldflags "-s -w $version"
        GOFLAGS=-mod=mod nice go test -c -trimpath -o "$bin/critest.new" -ldflags "-s -w $version" sigs.k8s.io/cri-tools/cmd/critest
        mv "$bin/critest.new" "$bin/critest"
        rm -f "$bin"/.critest-*
        touch "$stamp"
    )
}

cni_module() {
    local plugin missing=
    local plugins=(main/bridge main/loopback main/ptp ipam/host-local ipam/static meta/portmap meta/firewall meta/tuning meta/bandwidth)
    mkdir -p "$bin/cni"
    for plugin in "${plugins[@]}"; do [ -x "$bin/cni/${plugin#*/}" ] || missing=1; done
    [ -n "$missing" ] || return 0
    say "building the CNI plug-ins $cni_plugins"
    (
        module cni "require github.com/containernetworking/plugins $cni_plugins"
        for plugin in "${plugins[@]}"; do
            CGO_ENABLED=0 build "$bin/cni/${plugin#*/}" "github.com/containernetworking/plugins/plugins/$plugin" -ldflags "-s -w"
        done
    )
}

containerd_module() {
    local program
    if [ ! -x "$bin/runc" ]; then
        say "building runc $runc"
        (module runc "require github.com/opencontainers/runc $runc"
         build "$bin/runc" github.com/opencontainers/runc -tags seccomp)
    fi
    for program in containerd-shim-runc-v2 ctr containerd; do
        [ -x "$bin/$program" ] && continue
        say "building $program $containerd"
        (module containerd "require github.com/containerd/containerd/v2 $containerd"
         CGO_ENABLED=0 build "$bin/$program" "github.com/containerd/containerd/v2/cmd/$program" \
             -ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=${containerd#v}")
    done
}

kubelet_module() {
    [ -x "$bin/kubelet" ] && return
    say "building kubelet $kubernetes (minutes)"
    (
        module kubelet "require k8s.io/kubernetes v$kubernetes"
        local theirs
        theirs=$(GOFLAGS=-mod=mod go mod download -json "k8s.io/kubernetes@v$kubernetes" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
        # Staging modules come from the proxy under their published version.
        {
            printf 'module isula.test/kubelet\n\n'
            grep '^go ' "$theirs"
            sed -n '/^godebug/,/)/p' "$theirs"
            printf 'require k8s.io/kubernetes v%s\n' "$kubernetes"
            sed -n "s#^\t\(k8s.io/[a-z-]*\) => ./staging.*#replace \1 => \1 v0.${kubernetes#1.}#p" "$theirs"
            sed -n "s#^\t\(k8s.io/[a-z-]*\) v0.0.0\$#replace \1 => \1 v0.${kubernetes#1.}#p" "$theirs"
        } | awk '!/^replace/ || !seen[$0]++' >go.mod
        local version=k8s.io/component-base/version
        build "$bin/kubelet" k8s.io/kubernetes/cmd/kubelet \
            -ldflags "-s -w -X $version.gitVersion=v$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=36"
    )
}

stream_client_module() {
    local source=$root/tests/cri/stream-client/main.go output=$bin/stream-client
    [ "$output" -nt "$source" ] && return
    say "building the stream client"
    (
        module stream-client "require k8s.io/client-go $client_go" "require k8s.io/streaming $client_go"
        cp "$source" .
        build "$output" . -ldflags "-s -w"
    )
}

cri_tools_module
cni_module
stream_client_module
for what in "$@"; do
    case $what in
        containerd) containerd_module ;;
        kubelet) kubelet_module ;;
        *) say "unknown: $what"; exit 2 ;;
    esac
done
