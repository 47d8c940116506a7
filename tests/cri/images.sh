#!/usr/bin/env bash
# Makes every image that critest, the tour of crictl and the kubelet test use, and the storage of a
# docker-registry with them in DIRECTORY. Kept between runs, made anew when a script here changes.
# Usage: images.sh DIRECTORY
set -euo pipefail
out=$(realpath -m "$1")
here=$(dirname "$(realpath "$0")")
tools=$here/../../target/tools
stamp=$out/$(cat "$here"/{images,layout,digest-image,busybox}.sh "$here"/*.c | sha256sum | cut -c 1-16)
[ -e "$stamp" ] && exit 0

mkdir -p "$out"
"$here/busybox.sh" "$out/busybox"
rm -rf "$out/registry" "$out/layout"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
path='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'

say() { printf 'images: %s\n' "$*" >&2; }

base() { # ROOT: what a small image has
    mkdir -p "$1"/{bin,etc,dev,mnt,proc,root,run,sys,tmp,var/log,home}
    chmod 1777 "$1/tmp"
    ln -sfn /run "$1/var/run"
    printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$1/etc/group"
}

applets() { # ROOT: a hard link for each applet: tests mask single ones
    cp "$out/busybox" "$1/bin/busybox"
    local applet
    for applet in $("$out/busybox" --list); do
        [ -e "$1/bin/$applet" ] || ln "$1/bin/busybox" "$1/bin/$applet"
    done
}

image() { # TAG ROOT CONFIG
    "$here/layout.sh" "$out/layout" "$1" "$2" "{$path,$3}" >/dev/null
}

static() { # SOURCE OUTPUT
    gcc -O1 -static -s -o "$2" "$here/$1"
}

say "busybox and what is made of it"
base "$work/busybox"
applets "$work/busybox"
image busybox "$work/busybox" '"Cmd":["sh"]'
for n in 1 2 3 latest tags tag-test tag-all; do
    printf '%s\n' "$n" >"$work/busybox/etc/which"
    image "test-$n" "$work/busybox" '"Cmd":["sh"]'
done
rm "$work/busybox/etc/which"
image user-uid "$work/busybox" '"Cmd":["sh"],"User":"1002"'
image user-username "$work/busybox" '"Cmd":["sh"],"User":"www-data"'
image user-uid-group "$work/busybox" '"Cmd":["sh"],"User":"1003:1004"'
image user-username-group "$work/busybox" '"Cmd":["sh"],"User":"www-data:1004"'
mkdir -p "$work/busybox/www"
printf 'It works!\n' >"$work/busybox/www/index.html"
image httpd "$work/busybox" '"Cmd":["sh","-c","echo httpd; exec httpd -f -v -p 80 -h /www"]'
rm -r "$work/busybox/www"
printf 'default-user:x:1000:1000::/home/default-user:/bin/sh\n' >>"$work/busybox/etc/passwd"
printf 'default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n' >>"$work/busybox/etc/group"
image predefined-group "$work/busybox" '"Cmd":["sh"],"User":"1000"'

say "small programs"
base "$work/nonewprivs"
static nonewprivs.c "$work/nonewprivs/nnp"
chmod 4755 "$work/nonewprivs/nnp"
image nonewprivs "$work/nonewprivs" '"Entrypoint":["/nnp"]'
mkdir -p "$work/pause"
static pause.c "$work/pause/pause"
image pause "$work/pause" '"Entrypoint":["/pause"]'
# containerd's own must not be the one whose names are counted.
image pause-other "$work/pause" '"Entrypoint":["/pause"],"Labels":{"of":"containerd"}'
"$here/digest-image.sh" "$out/layout" digest >/dev/null

say "nginx"
. /etc/os-release
mmdebstrap --quiet --variant=extract --include=nginx-light,libc6 "$VERSION_CODENAME" "$work/nginx.tar" >/dev/null
mkdir "$work/nginx"
tar -C "$work/nginx" --exclude='./dev/*' -xf "$work/nginx.tar"
rm -rf "$work/nginx"/{usr/share/{doc,man,locale,info,lintian},var/{cache,lib/{apt,dpkg}},run,var/run}
base "$work/nginx"
applets "$work/nginx"
mkdir -p "$work/nginx"/{usr/sbin,var/log/nginx,var/lib/nginx,var/www/html}
printf '<h1>Welcome to nginx!</h1>\n' >"$work/nginx/var/www/html/index.html"
nginx_image() { # TAG PORT
    cat >"$work/nginx/etc/nginx/nginx.conf" <<CONF
user www-data;
worker_processes 1;
pid /var/run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
    access_log /dev/stdout;
    types { text/html html; }
    server { listen $2; root /var/www/html; index index.html; }
}
CONF
    image "$1" "$work/nginx" '"Cmd":["nginx","-g","daemon off;"],"StopSignal":"SIGQUIT","ExposedPorts":{"'"$2"'/tcp":{}}'
}
nginx_image nginx 80
nginx_image hostnet-nginx 12003

say "filling the registry"
"$here/registry.sh" "$out/registry" "$work/address" 2>"$work/registry.log" &
registry=$!
trap 'kill $registry 2>/dev/null || true; wait $registry 2>/dev/null || true; rm -rf "$work"' EXIT
while [ ! -s "$work/address" ]; do
    kill -0 $registry 2>/dev/null || { cat "$work/registry.log" >&2; exit 1; }
    sleep 0.1
done
address=$(cat "$work/address")
push() { # TAG NAME ...
    local tag=$1 name
    shift
    for name in "$@"; do
        skopeo copy --quiet --preserve-digests --dest-tls-verify=false "oci:$out/layout:$tag" "docker://$address/$name"
    done
}
their=k8s-staging-cri-tools
push busybox e2e-test-images/busybox:1.29-2 docker/library/busybox:{1.35.0-glibc,1-uclibc,1,1-glibc,1-musl}
push nginx e2e-test-images/nginx:1.14-2
push httpd e2e-test-images/httpd:2.4.39-4
push nonewprivs e2e-test-images/nonewprivs:1.3
push pause pause:3.9
push pause-other pause:3.10
push hostnet-nginx $their/hostnet-nginx-amd64:latest
for user in uid username uid-group username-group; do push "user-$user" "$their/test-image-user-$user:latest"; done
push predefined-group $their/test-image-predefined-group:latest
for n in 1 2 3; do push "test-$n" "$their/test-image-$n:latest"; done
push test-latest $their/test-image-latest:latest
push test-tags $their/test-image-tags:{1,2,3}
push test-tag-test $their/test-image-tag:test
push test-tag-all $their/test-image-tag:all
push digest $their/test-image-digest:by-digest
rm -rf "$out/layout" "$out"/????????????????
touch "$stamp"
