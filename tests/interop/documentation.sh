# shellcheck shell=bash disable=SC2154
# A scenario of world.sh: what docs/registries.md, docs/images.md and docs/embedded-images.md say, with the names, the
# files and the commands that stand there.

docs=("$root"/docs/{registries,images,embedded-images}.md)
example() { # WORDS: the example of the documentation that holds them
    awk -v want="$1" '
        function end() { if (index(block, want)) { printf "%s", block; done = 1; exit } block = gap = "" }
        /^    / { block = block gap substr($0, 5) "\n"; gap = ""; next }
        /^$/ && block { gap = gap "\n"; next }
        { end() }
        END { if (!done) end() }' "${docs[@]}"
}
documented() { # COMMAND ...: runs it, if the documentation has it
    grep -qF "    $*" "${docs[@]}" || { echo "FAILED not documented: $*"; failed=1; }
    "$@"
}
asked() { # NAME PATTERN: whether a request of that registry fits
    grep -q "\"GET [^\"]*$2" "$WORK/$1.log" && echo asked
}
certificates() { # NAME: its directory, made
    mkdir -p "/etc/isulad/certs.d/$1"
    echo "/etc/isulad/certs.d/$1"
}
pulled() { isula pull -q "$1" 2>&1; }
forget() { isula rmi -f "$(isula images -q | head -n 1)" >/dev/null; }
app=team/app:1.0

cat >>/etc/hosts <<'HOSTS'
127.0.0.2 registry.lan
127.0.0.3 tokens.lan
127.0.0.4 auth.lan
127.0.0.5 mirror.example
127.0.0.6 mirror.lan
127.0.0.7 proxy.lan
127.0.0.8 registry.example
127.0.0.9 far.example
HOSTS
cd "$WORK"
authority() { # NAME
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -days 2 -subj "/CN=$1" 2>/dev/null
}
signed() { # NAME AUTHORITY
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.crt" \
        -extfile <(echo "subjectAltName=DNS:$1") 2>/dev/null
}
tls() { # NAME [MORE]
    echo ", tls: {certificate: $WORK/$1.crt, key: $WORK/$1.key${2:-}}"
}
authority ours
authority clients
authority others
for name in registry.lan tokens.lan auth.lan mirror.example mirror.lan registry.example far.example; do signed $name ours; done
signed me clients

# ---- What the examples pull: an index of two platforms, and Docker's busybox.
serve open 127.0.0.1:5000
cp -r busybox arm
umoci config --image arm:latest --architecture arm64
for layout in busybox arm; do
    skopeo copy --quiet --dest-tls-verify=false "oci:$layout:latest" "docker://127.0.0.1:5000/team/app:$layout"
done
for name in library/busybox:latest public/app:1; do
    skopeo copy --quiet --dest-tls-verify=false oci:busybox:latest "docker://127.0.0.1:5000/$name"
done
entry() { # LAYOUT PLATFORM
    jq -c --argjson platform "$2" '.manifests[0] | del(.annotations) + {platform: $platform}' "$1/index.json"
}
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s]}' \
    "$(entry busybox '{"os":"linux","architecture":"amd64"}')" \
    "$(entry arm '{"os":"linux","architecture":"arm64","variant":"v8"}')" >index
curl --silent --fail -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index \
    "http://127.0.0.1:5000/v2/team/app/manifests/1.0"

daemon
documented isula pull 127.0.0.1:5000/$app >/dev/null 2>&1
check "the image for this machine is pulled" "amd64" "$(isula image inspect -f '{{.Architecture}}' 127.0.0.1:5000/$app)"
forget
documented isula pull --platform linux/arm64/v8 127.0.0.1:5000/$app >/dev/null 2>&1
check "and the one for another" "arm64" "$(isula image inspect -f '{{.Architecture}}' 127.0.0.1:5000/$app)"
forget
digest=sha256:$(sha256sum index | cut -d ' ' -f 1)
check "and one by its digest" "127.0.0.1:5000/team/app@$digest" "$(pulled "127.0.0.1:5000/team/app@$digest")"
check "another digest is another image" told \
    "$(told "manifest unknown" isula pull "127.0.0.1:5000/team/app@sha256:$(printf '%064d' 1)")"
forget
end_daemon

# ---- The settings of the daemon.
"$here/proxy.py" 127.0.0.7 3128 >proxy.log 2>&1 &
answers proxy grep -q listening proxy.log
serve mirror 127.0.0.5:443 "$(tls mirror.example)"
serve far 127.0.0.9:443 "$(tls far.example)"
serve insecure 127.0.0.2:5000
insecure=$!
example '"registry-mirrors"' >/etc/isulad/daemon.json
daemon
for name in mirror.example far.example; do cp ours.crt "$(certificates $name)/ca.crt"; done
check "busybox comes from the mirror" "busybox:latest" "$(pulled busybox)"
check "which was asked" asked "$(asked mirror library/busybox)"
check "through the proxy" yes "$(grep -q 'CONNECT mirror.example:443' proxy.log && echo yes)"
forget
check "an insecure registry may speak plain http" "registry.lan:5000/$app" "$(pulled registry.lan:5000/$app)"
check "and is reached directly" 0 "$(grep -c registry.lan proxy.log)"
forget
check "others are reached through the proxy" "far.example/$app" "$(pulled far.example/$app)"
check "which was asked for them" yes "$(grep -q 'CONNECT far.example:443' proxy.log && echo yes)"
forget
end_daemon
kill "$insecure"

echo '{"storage-opts": ["overlay2.max_layer_size=100k"], "insecure-registries": ["127.0.0.0/8"]}' >/etc/isulad/daemon.json
: >proxy.log
daemon HTTPS_PROXY=http://proxy.lan:3128 NO_PROXY=registry.lan
check "a layer beyond its limit is refused" told "$(told 'larger than the limit' isula pull 127.0.0.1:5000/$app)"
end_daemon
echo '{"max-download-attempts": 2}' >/etc/isulad/daemon.json
daemon HTTPS_PROXY=http://proxy.lan:3128 NO_PROXY=registry.lan
check "the environment has a proxy, too" "far.example/$app" "$(pulled far.example/$app)"
check "which is asked" yes "$(grep -q 'CONNECT far.example:443' proxy.log && echo yes)"
forget
end_daemon

# ---- Certificates and credentials.
echo '{}' >/etc/isulad/daemon.json
daemon
serve lan 127.0.0.2:5000 "$(tls registry.lan ", clientcas: [$WORK/clients.crt]")" "$with_password"
lan=registry.lan:5000
login() { # PASSWORD [REGISTRY]
    TOKEN=$1
    eval "$(example 'isula login' | grep 'isula login' | sed "s/registry.lan:5000/${2:-$lan}/")" 2>/dev/null
}
check "without its authority a registry is refused" told "$(told 'cannot make a secure connection' isula pull $lan/$app)"
cp others.crt "$(certificates $lan)/ca.crt"
check "with another one it is, too" told "$(told 'cannot make a secure connection' isula pull $lan/$app)"
cp ours.crt "$(certificates $lan)/ca.crt"
check "without a certificate of ours it refuses us" told "$(told 'refuses our certificate or the lack of one' isula pull $lan/$app)"
cp me.crt "$(certificates $lan)/client.cert"
cp me.key "$(certificates $lan)/client.key"
check "without a login it denies us" told "$(told denied isula pull $lan/$app)"
check "a wrong password is no login" told "$(told 'cannot log in' isula login -u me -p wrong $lan)"
check "and keeps nothing" none "$([ -e "$DOCKER_CONFIG/config.json" ] || echo none)"
check "the right one is" "Login Succeeded" "$(login secret)"
check "and is for the owner's eyes" 600 "$(stat -c %a "$DOCKER_CONFIG/config.json")"
check "with all that the image is pulled" "$lan/$app" "$(pulled $lan/$app)"
check "and runs" hello "$(isula run --rm $lan/$app echo hello)"
forget
check "the logout is told" "Removing login credentials for $lan" "$(documented isula logout registry.lan:5000)"
check "and is one" told "$(told denied isula pull $lan/$app)"

# ---- A token server; its certificate is by the authority of the registry.
"$here/token-server.py" 127.0.0.4 5001 auth.lan.crt auth.lan.key >auth.log 2>&1 &
answers auth grep -q listening auth.log
serve tokens 127.0.0.3:5000 "$(tls tokens.lan)" \
    "auth: {token: {realm: 'https://auth.lan:5001/token', service: tokens.lan, issuer: tokens, rootcertbundle: $WORK/ours.crt}}"
tokens=tokens.lan:5000
cp ours.crt "$(certificates $tokens)/ca.crt"
check "a token for anybody" "$tokens/public/app:1" "$(pulled $tokens/public/app:1)"
forget
check "is none for the rest" told "$(told denied isula pull $tokens/$app)"
check "a wrong password gives no token" told "$(told 'cannot log in' isula login -u me -p wrong $tokens)"
check "the right one gives one" "Login Succeeded" "$(login secret $tokens)"
check "with which the image is pulled" "$tokens/$app" "$(pulled $tokens/$app)"
forget

# ---- Mirrors of any registry.
registry=registry.example
serve example 127.0.0.8:443 "$(tls $registry)"
serve mirrorlan 127.0.0.6:5000 "$(tls mirror.lan)"
mirrorlan=$!
serve cache 127.0.0.1:5001 ", prefix: /cache/"
cache=$!
rm -r /etc/isulad/certs.d
example 'server = "https://registry.example"' >"$(certificates $registry)/hosts.toml"
cp ours.crt "$(certificates $registry)/mirror.crt"
check "a mirror that may do all is all that is asked" "$registry/$app" "$(pulled $registry/$app)"
check "it was asked" asked "$(asked mirrorlan team/app/manifests/1.0)"
check "the registry was not" "" "$(asked example .)"
check "nor was the next mirror" "" "$(asked cache .)"
forget
kill "$mirrorlan"
cp ours.crt "$(certificates $registry)/ca.crt"
check "without it the next one serves" "$registry/$app" "$(pulled $registry/$app)"
check "who does not say what a tag means" "" "$(asked cache manifests/1.0)"
check "what the registry does" asked "$(asked example manifests/1.0)"
check "but has the layers" asked "$(asked cache blobs/sha256)"
check "so that the registry need not" "" "$(asked example blobs/sha256)"
forget
kill "$cache"
check "without any the registry itself serves" "$registry/$app" "$(pulled $registry/$app)"
forget
mv /etc/isulad/certs.d/$registry/hosts.toml "$(certificates _default)/hosts.toml"
printf '[host."https://registry.example"]\n  ca = "/etc/isulad/certs.d/registry.example/ca.crt"\n' \
    >/etc/isulad/certs.d/_default/hosts.toml
check "the default is everybody's" "far.example/$app" "$(pulled far.example/$app)"
check "and is asked first" asked "$(asked example 'team/app/manifests/1.0?ns=far.example')"
forget
echo 'capability = "pull"' >"$(certificates $registry)/hosts.toml"
check "a key that does not exist is named" told "$(told capability isula pull $registry/$app)"

# ---- docs/images.md
rm -r /etc/isulad/certs.d
pulled 127.0.0.1:5000/library/busybox:latest >/dev/null
for name in busybox:1.36 alpine; do isula tag 127.0.0.1:5000/library/busybox:latest $name; done
saved_id() { isula images -q --no-trunc "$1"; }
id=$(saved_id alpine)
documented isula save -o images.tar busybox:1.36 alpine
isula rmi busybox:1.36 alpine 127.0.0.1:5000/library/busybox:latest >/dev/null
documented isula load -i images.tar >/dev/null
check "what was saved is loaded under its names" "$id $id" "$(saved_id alpine) $(saved_id busybox:1.36)"
documented isula save --format oci-archive -o images.tar alpine
documented isula save --format oci-dir -o layout alpine
for saved in images.tar layout; do
    isula rmi -f "$id" >/dev/null
    isula load -i $saved >/dev/null
    check "and from $saved" "$id" "$(saved_id alpine)"
done
check "all is sound" "0 damaged" "$(documented isula system check | sed 's/.*: //')"
check "the room is told" yes "$(documented isula system df -v | grep -q alpine && echo yes)"
check "the image is from before" yes "$(echo y | documented isula image prune -a --filter until=240h 2>/dev/null | grep -q 'reclaimed space' && echo yes)"
check "and is gone" "" "$(isula images -q)"

# ---- docs/embedded-images.md
mkdir "$WORK/share" "$WORK/share-work"
mount -t overlay -o "lowerdir=/usr/share,upperdir=$WORK/share,workdir=$WORK/share-work" overlay /usr/share
mkdir -p /usr/share/images/base/bin /usr/share/images/base-tools/bin
cp /bin/busybox /usr/share/images/base/bin/sh
cp /bin/busybox /usr/share/images/base-tools/bin/echo
example '"schemaVersion"' | sed -n '/^{/,$p' | sed 's/"architecture": "arm64"/"architecture": "amd64"/' >/usr/share/images/base.json
documented isula load -t embedded -i /usr/share/images/base.json >/dev/null
check "the device's image runs its command" "" "$(documented isula run device/base:1.0 </dev/null)"
check "all its layers are there" tools "$(isula run --rm device/base:1.0 echo tools)"
check "and nothing is copied" 0 "$(find "$WORK/isula/storage/layers" -type f | wc -l)"
isula rm -f "$(isula ps -aq)" >/dev/null
end_daemon
