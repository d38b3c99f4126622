"""The application of answering.js for gunicorn."""

import os
import random
import time
from urllib.parse import parse_qs

ANSWER_SIZE = 1_000
UPLOAD_SIZE = 20_000
LONGEST = 0.020


def make_pool():
    x = 1
    pool = bytearray()
    for _ in range(65_536):
        x = (x * 1_103_515_245 + 12_345) & 0xFFFFFFFF
        pool.append(x >> 24)
    return bytes(pool)


POOL = make_pool()


def content_of(number, size):
    begin = (number * 7_919) % (len(POOL) - UPLOAD_SIZE)
    return POOL[begin:begin + size]


def parts(content, seconds):
    middle = len(content) // 2
    yield content[:middle]
    time.sleep(seconds)
    yield content[middle:]


def app(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    number = int(query.get("id", ["0"])[0])
    if "ms" in query:
        seconds = float(query["ms"][0]) / 1000
    else:
        seconds = random.random() * LONGEST
    path = environ["PATH_INFO"]
    if path == "/echo":
        content = environ["wsgi.input"].read()
    else:
        content = content_of(number, ANSWER_SIZE)
    if path in ("/wait", "/echo"):
        time.sleep(seconds)
    start_response("200 OK", [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(len(content))),
        ("X-Id", str(number)),
        ("X-Pid", str(os.getpid())),
    ])
    return parts(content, seconds) if path == "/parts" else [content]
