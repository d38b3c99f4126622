"""A WSGI application without a framework, which can do what none should."""

import json
import os
import signal
import sys
import threading
import time
from urllib.parse import parse_qs

from checked import checked
from content import digest, streams

served = 0
waiting = 0
lock = threading.Lock()


def app(environ, start_response):
    global served
    with lock:
        served += 1
    route = routes.get(environ["PATH_INFO"])
    if route is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Not Found\n"]
    return route(environ, start_response)


def text(start_response, content, *fields):
    content = content.encode()
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("Content-Length", str(len(content))), *fields])
    return [content]


def argument(environ, name, fallback):
    return parse_qs(environ["QUERY_STRING"]).get(name, [fallback])[0]


def hello(environ, start_response):
    return text(start_response, "Hello world from a simple WSGI application!\n")


def told(environ, start_response):
    kinds = {key: type(value).__name__ for key, value in environ.items()}
    strings = {key: value for key, value in environ.items()
               if isinstance(value, str)}
    flags = {key: environ["wsgi." + key]
             for key in ("multithread", "multiprocess", "run_once")}
    return text(start_response, json.dumps(
        {"kinds": kinds, "strings": strings, "flags": flags}))


def process(environ, start_response):
    return text(start_response, json.dumps(
        {"pid": os.getpid(), "served": served, "waiting": waiting,
         "directory": os.getcwd(),
         "path": sys.path}))


def raw(environ, start_response):
    return text(start_response, json.dumps(
        {"length": environ.get("CONTENT_LENGTH", ""),
         **digest(environ["wsgi.input"].read)}))


def stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return streams.body(int(argument(environ, "blocks", "-1")))


def counted(environ, start_response):
    return text(start_response, json.dumps(streams.told()))


def wait(environ, start_response):
    seconds = float(argument(environ, "seconds", "0"))
    sleep_in_the_application(seconds)
    return text(start_response, "waited\n")


def sleep_in_the_application(seconds):
    global waiting
    with lock:
        waiting += 1
    time.sleep(seconds)
    with lock:
        waiting -= 1


def wait_within(environ, start_response):
    """Says something, and then nothing more."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    sleep_in_the_application(float(argument(environ, "seconds", "0")))
    yield b"second\n"


def spin(environ, start_response):
    """Holds on to the interpreter's lock for as long as it can."""
    until = time.monotonic() + float(argument(environ, "seconds", "0"))
    while time.monotonic() < until:
        sum(range(1000))
    return text(start_response, "spun\n")


def crash(environ, start_response):
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def crash_within(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\n"
    os.kill(os.getpid(), signal.SIGKILL)


def leave(environ, start_response):
    os._exit(7)


def write(environ, start_response):
    send = start_response("200 OK", [("Content-Type", "text/plain")])
    send(b"written, ")
    return [b"returned\n"]


def file(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/x-python")])
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))


def send(environ, start_response):
    """Has the gateway send a file."""
    path = os.path.join(os.getcwd(), argument(environ, "file", ""))
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("X-Sendfile", path)])
    return []


def complain(environ, start_response):
    environ["wsgi.errors"].write("a complaint\n")
    environ["wsgi.errors"].flush()
    print("a word on standard output", flush=True)
    return text(start_response, "complained\n")


def throw(environ, start_response):
    raise RuntimeError("thrown without a framework")


routes = {
    "/hello": hello,
    "/told": told,
    "/process": process,
    "/raw": raw,
    "/stream": stream,
    "/streams": counted,
    "/wait": wait,
    "/wait-within": wait_within,
    "/spin": spin,
    "/crash": crash,
    "/crash-within": crash_within,
    "/leave": leave,
    "/write": write,
    "/file": file,
    "/send": send,
    "/complain": complain,
    "/throw": throw,
}

validated = checked(app)


class Made:
    def __init__(self):
        self.app = app

    def create(self, name):
        def made(environ, start_response):
            return text(start_response, f"made for {name}\n")
        return made


made = Made()
