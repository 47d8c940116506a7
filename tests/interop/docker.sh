# shellcheck shell=bash
# A scenario of world.sh: Docker's archives are loaded and imported here, and Docker loads and imports ours. Docker is as
# Debian packages it.
# shellcheck disable=SC2154

export DOCKER_HOST=unix:///run/docker.sock
mount -t overlay -o "lowerdir=$tools/peers/usr:/usr" overlay /usr || { echo "no Docker: run \`tools/setup.sh test\`" >&2; exit 2; }
skopeo copy --quiet "oci:$WORK/busybox:latest" "docker-archive:$WORK/busybox.tar:busybox:latest"
dockerd --config-file /etc/isulad/daemon.json --data-root "$WORK/docker" --exec-root /run/docker --pidfile /run/docker.pid \
    -H "$DOCKER_HOST" --storage-driver overlay2 --bridge none --iptables=false --ip-masq=false --userland-proxy=false \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$group" --log-level warn >"$WORK/docker.log" 2>&1 &
answers docker docker version
daemon
serve registry 127.0.0.1:5000
docker version --format 'Docker {{.Server.Version}}'

docker_run() { docker run --rm --network none "$@" 2>&1; }
isula_run() { isula run --rm "$@" 2>&1; }
docker_id() { docker image inspect -f '{{.Id}}' "$1"; }
isula_id() { echo "sha256:$(isula image inspect -f '{{.Id}}' "$1" | sed s/^sha256://)"; }
# Docker makes an image of its own: files that came, changed and went.
docker load -q -i "$WORK/busybox.tar" >/dev/null
docker tag busybox:latest team/other:2
docker run --name made --network none busybox:latest sh -c \
    'echo changed >/etc/new && rm /bin/true && rm -r /home/web && mkdir /home/web && ln /etc/new /home/web/hard &&
     mkfifo /home/web/fifo && chown 5:6 /home/web/fifo && chmod 4711 /etc/plain && ln -s /nowhere /home/web/link'
docker commit -c 'CMD ["cat", "/etc/new"]' -c 'LABEL by=docker' made committed:1 >/dev/null

docker save -o "$WORK/saved.tar" busybox:latest team/other:2 committed:1
isula load -q -i "$WORK/saved.tar" >/dev/null
for image in busybox:latest team/other:2 committed:1; do
    check "$image that Docker saved has its id here" "$(docker_id "$image")" "$(isula_id "$image")"
done
check "it runs here" changed "$(isula_run committed:1)"
check "what Docker removed is gone here" "gone" "$(isula_run committed:1 sh -c 'test -e /bin/true || echo gone')"
check "its label is here" docker "$(isula image inspect -f '{{.Config.Labels.by}}' committed:1)"
check "its links are one file here" 2 "$(isula_run committed:1 stat -c %h /home/web/hard)"
check "its owners and modes are here" "5 6 fifo 4711" \
    "$(isula_run committed:1 sh -c 'stat -c "%u %g %F" /home/web/fifo | tr "\n" " "; stat -c %a /etc/plain')"
isula rmi committed:1 team/other:2 busybox:latest >/dev/null
docker save committed:1 | gzip -1 | isula load >/dev/null
check "by a pipe, compressed" "$(docker_id committed:1)" "$(isula_id committed:1)"

docker tag committed:1 127.0.0.1:5000/team/pushed:1
docker push -q 127.0.0.1:5000/team/pushed:1 >/dev/null
isula pull -q 127.0.0.1:5000/team/pushed:1 >/dev/null
check "what Docker pushed is pulled under its id" "$(docker_id committed:1)" "$(isula_id 127.0.0.1:5000/team/pushed:1)"

private=127.0.0.1:5001
serve private $private "" "$with_password"
echo secret | docker login -u me --password-stdin $private >/dev/null 2>&1
check "Docker's login is ours" "$private/team/pushed:1" "$(isula pull -q $private/team/pushed:1 2>&1)"
isula rmi $private/team/pushed:1 >/dev/null
docker logout $private >/dev/null
check "and so is its logout" told "$(told denied isula pull $private/team/pushed:1)"
echo secret | isula login -u me --password-stdin $private >/dev/null 2>&1
check "our login is Docker's" "$private/team/pushed:1" "$(docker pull -q $private/team/pushed:1 2>&1)"
isula logout $private >/dev/null
check "and so is our logout" told "$(told 'no basic auth credentials' docker pull $private/team/pushed:1)"

ids="$(docker_id busybox:latest) $(docker_id committed:1)"
docker save busybox:latest | isula load -q >/dev/null
isula tag busybox:latest team/third:3
isula save -o "$WORK/ours.tar" busybox:latest team/third:3 committed:1
docker rm made >/dev/null
docker rmi -f busybox:latest team/other:2 committed:1 127.0.0.1:5000/team/pushed:1 $private/team/pushed:1 >/dev/null
check "Docker has forgotten all" "" "$(docker images -aq)"
docker load -q -i "$WORK/ours.tar" >/dev/null
check "Docker loads what we saved, under the same ids" "$ids" "$(docker_id busybox:latest) $(docker_id committed:1)"
check "and under each name" "$(docker_id busybox:latest)" "$(docker_id team/third:3)"
check "and runs it" changed "$(docker_run committed:1)"
check "without what was removed" gone "$(docker_run committed:1 sh -c 'test -e /bin/true || echo gone')"

isula create --name ours committed:1 >/dev/null
docker create --name theirs --network none committed:1 >/dev/null
isula export -o "$WORK/ours.export" ours
docker export -o "$WORK/theirs.export" theirs
"$here/listing.py" "$WORK/ours.export" >"$WORK/ours.list"
"$here/listing.py" "$WORK/theirs.export" >"$WORK/theirs.list"
check "an export holds what Docker's holds" "" "$(diff "$WORK/theirs.list" "$WORK/ours.list" | head -n 5)"
check "which is something" yes "$([ "$(wc -l <"$WORK/ours.list")" -gt 100 ] && echo yes)"
docker import -c 'CMD ["cat", "/etc/new"]' "$WORK/ours.export" imported:1 >/dev/null
check "Docker imports our export" "changed" "$(docker_run imported:1)"
check "with its links" 2 "$(docker_run imported:1 stat -c %h /home/web/hard)"
isula import -c 'CMD ["cat", "/etc/new"]' "$WORK/theirs.export" imported:1 >/dev/null
check "Docker's export is imported here" "changed" "$(isula_run imported:1)"
isula save imported:1 | docker load -q >/dev/null
check "Docker loads what was imported here" "$(isula_id imported:1)" "$(docker_id imported:1)"

isula rm ours >/dev/null
docker rm theirs >/dev/null
end_daemon
kill -TERM "$(cat /run/docker.pid)"
