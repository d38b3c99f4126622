#!/usr/bin/env python3
"""An SCGI server for tests: what it does is in the path. It prints its port,
and ends with its standard input."""
import os
import socket
import struct
import sys
import threading
import time


def serve(connection):
    with connection, connection.makefile("rb") as stream:
        environ, content = read_request(stream)
        path = environ.get("PATH_INFO", "")
        action = path.split("/")[1]
        answer = actions.get(action, tell)
        answer(connection, environ, content)


def read_request(stream):
    size = b""
    while (octet := stream.read(1)) != b":":
        if not octet:
            sys.exit()
        size += octet
    assert size.isdigit() and not size.startswith(b"0"), size
    head = stream.read(int(size))
    assert stream.read(1) == b","
    words = head.decode("latin-1").split("\0")
    assert words.pop() == ""
    names, values = words[::2], words[1::2]
    assert len(set(names)) == len(names) == len(values)
    assert names[0] == "CONTENT_LENGTH" and names[1] == "SCGI"
    environ = dict(zip(names, values))
    assert environ["SCGI"] == "1"
    if environ["PATH_INFO"] == "/unread":
        return environ, b""
    return environ, stream.read(int(environ["CONTENT_LENGTH"]))


def tell(connection, environ, content):
    lines = [f"{name}={value}" for name, value in environ.items()]
    body = "\n".join([*lines, ""]).encode("latin-1")
    connection.sendall(b"Status: 201 Made\r\nContent-Type: text/plain\r\n\r\n")
    connection.sendall(body)


def echo(connection, environ, content):
    connection.sendall(b"Content-Type: application/octet-stream\r\n")
    connection.sendall(b"Content-Length: %d\r\n\r\n" % len(content))
    connection.sendall(content)


def redirect(connection, environ, content):
    connection.sendall(b"Location: /there?from=here\n\n")


def nothing(connection, environ, content):
    pass


def stall(connection, environ, content):
    print("stalling", flush=True)
    connection.recv(1)  # until the gateway gives up
    print("left", flush=True)


def begin(connection, environ, content):
    connection.sendall(b"Content-Type: text/plain\n\nunfinished")
    connection.recv(1)


def broken(connection, environ, content):
    """Breaks the connection within its response."""
    connection.sendall(b"Content-Type: text/plain\n\nunfinished")
    time.sleep(0.1)  # what was sent is to arrive before the reset
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


actions = {
    "echo": echo,
    "redirect": redirect,
    "nothing": nothing,
    "stall": stall,
    "begin": begin,
    "broken": broken,
    "unread": nothing,
}


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=[connection]).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
