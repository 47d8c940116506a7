#!/usr/bin/env python3
"""A token server as the distribution project describes it (spec/auth/token), over TLS.

Usage: token-server.py ADDRESS PORT CERTIFICATE KEY

The user `me` with the password `secret` may do everything, nobody else more than pull below `public/`. Tokens are
signed with the key; the certificate is in them.
"""
import base64
import http.server
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.parse

ADDRESS, PORT, CERTIFICATE, KEY = sys.argv[1:]
ACCOUNT = "Basic " + base64.b64encode(b"me:secret").decode()


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(service, access):
    pem = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END", open(CERTIFICATE).read(), re.S)[1]
    header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.split())]}
    now = int(time.time())
    claims = {"iss": "tokens", "sub": "me", "aud": service, "iat": now, "nbf": now - 10, "exp": now + 300,
              "jti": str(time.time_ns()), "access": access}
    text = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    sign = ["openssl", "dgst", "-sha256", "-sign", KEY, "-binary"]
    return (text + b"." + encoded(subprocess.run(sign, input=text, stdout=subprocess.PIPE, check=True).stdout)).decode()


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        account = self.headers.get("Authorization")
        if account not in (None, ACCOUNT):
            return self.answer(401, {"details": "incorrect username or password"})
        access = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if account else ["pull"] if name.startswith("public/") else []
            access.append({"type": kind, "name": name, "actions": allowed})
        self.answer(200, {"token": token(query["service"][0], access), "expires_in": 300})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer((ADDRESS, int(PORT)), Server)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening on", ADDRESS, file=sys.stderr, flush=True)
server.serve_forever()
