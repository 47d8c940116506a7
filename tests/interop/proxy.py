#!/usr/bin/env python3
"""A proxy that connects to whatever it is asked for by CONNECT, and tells so.

Usage: proxy.py ADDRESS PORT
"""
import socket
import sys
import threading

ADDRESS, PORT = sys.argv[1:]


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(4096)
        if not data:
            return
        head += data
    print(head.split(b"\r\n")[0].decode(), file=sys.stderr, flush=True)
    if not head.startswith(b"CONNECT "):
        client.sendall(b"HTTP/1.1 405 Only CONNECT\r\nContent-Length: 0\r\n\r\n")
        return
    host, port = head.split(b" ")[1].decode().rsplit(":", 1)
    target = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    threading.Thread(target=pump, args=(client, target), daemon=True).start()
    pump(target, client)


listener = socket.create_server((ADDRESS, int(PORT)))
print("listening on", ADDRESS, file=sys.stderr, flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
