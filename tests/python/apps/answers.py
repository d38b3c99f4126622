"""Applications that the tests of the responder ask, one callable each."""
import atexit
import io
import os
import signal
import subprocess
import sys
import threading
import time
from wsgiref.validate import validator

TEXT = [("Content-Type", "text/plain")]


def hello(environ, start_response):
    start_response("200 OK", list(TEXT))
    return [b"hello\n"]


def environ(environ, start_response):
    lines = []
    for name in sorted(environ):
        value = environ[name]
        assert type(name) is str
        if name not in ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper"):
            lines.append(f"{name}={value!r}\n")
    start_response("200 OK", list(TEXT))
    return ["".join(lines).encode("ascii", "backslashreplace")]


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", list(TEXT))
    return [body]


def silent(environ, start_response):
    """Leaves the content unread."""
    start_response("200 OK", list(TEXT))
    return [b"unread"]


def read_ways(environ, start_response):
    """Reads in every way that a binary file of CPython's has."""
    source = environ["wsgi.input"]
    found = [
        source.readable(), source.closed, source.isatty(), source.read(0), source.read(2),
        source.readline(), source.readline(3), source.readline(), source.readlines(4), next(source),
    ]
    once = b""
    while len(once) < 3:
        # At most one read of what is below: less where less has arrived.
        once += source.read1(3 - len(once))
    found.append(once)
    target = bytearray(4)
    count = source.readinto(target)
    found += [bytes(target[:count]), list(source), source.read(), source.read(5), source.readline()]
    start_response("200 OK", list(TEXT))
    return [repr(found).encode()]


def count(environ, start_response):
    """Counts content, 64 KiB at a time."""
    size = 0
    total = 0
    while True:
        block = environ["wsgi.input"].read(65536)
        if not block:
            break
        size += len(block)
        total = (total + sum(block[::4096])) % 1000003
    start_response("200 OK", list(TEXT))
    return [b"%d %d" % (size, total)]


def read_all_declared(environ, start_response):
    """Reads as much as CONTENT_LENGTH says, at once."""
    try:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    except OSError as error:
        print(f"{type(error).__mro__[1].__name__}: {error}", flush=True)
        raise
    start_response("200 OK", list(TEXT))
    return [b"all"]


class Told:
    """A body that prints its steps."""

    def __init__(self, blocks):
        self.blocks = iter(blocks)

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        print(f"next {block[:10]!r}", flush=True)
        return block

    def close(self):
        print("close", flush=True)


def told(environ, start_response):
    start_response("200 OK", list(TEXT))
    return Told([b"one", b"", b"two"])


def told_declared(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", environ["QUERY_STRING"])])
    return Told([b"one", b"", b"two"])


def endless(environ, start_response):
    start_response("200 OK", list(TEXT))

    def blocks():
        while True:
            yield b"x" * 1000
            time.sleep(0.01)

    return Told(blocks())


gate = threading.Event()


def stepwise(environ, start_response):
    """Gives its second block once /go has been asked for."""
    if environ["PATH_INFO"] == "/idle":
        start_response("204 No Content", [])
        return []
    if environ["PATH_INFO"] == "/go":
        print("reading", flush=True)
        environ["wsgi.input"].read()
        gate.set()
        start_response("200 OK", list(TEXT))
        return [b"gone"]
    start_response("200 OK", list(TEXT))

    def blocks():
        yield b"first"
        gate.wait(20)
        yield b"second"

    return blocks()


def sizes(environ, start_response):
    """A list, a tuple or an iterator of as many zeros as the query says."""
    kind, _, sizes = environ["QUERY_STRING"].partition("=")
    blocks = [bytes(int(size)) for size in sizes.split(",") if size]
    start_response("200 OK", list(TEXT))
    return {"list": list, "tuple": tuple, "iter": iter, "sized": Sized}[kind](blocks)


class Sized:
    def __init__(self, blocks):
        self.blocks = blocks

    def __len__(self):
        return len(self.blocks)

    def __iter__(self):
        return iter(self.blocks)


def status(environ, start_response):
    start_response(environ["QUERY_STRING"].replace("+", " "), [])
    return Told([b"content", b"more"])


def status_list(environ, start_response):
    """Content where there must be none."""
    start_response(environ["QUERY_STRING"].replace("+", " "), [])
    return [b"content"]


def written(environ, start_response):
    write = start_response("200 OK", list(TEXT))
    write(b"one ")
    write(b"two ")
    return [b"three"]


def late_start(environ, start_response):
    yield_first = environ["QUERY_STRING"] == "yield"
    if yield_first:
        yield b""
    start_response("201 Created", list(TEXT))
    yield b"late"


def recovers(environ, start_response):
    """Replaces its head, which has not been sent."""
    start_response("200 OK", [("X-First", "1"), ("Content-Length", "3")])
    try:
        raise ValueError("planned")
    except ValueError:
        start_response("503 Service Unavailable", list(TEXT), sys.exc_info())
    return [b"sorry"]


def recovers_late(environ, start_response):
    """Tries to replace a head that has been sent."""
    start_response("200 OK", list(TEXT))
    yield b"begun"
    try:
        raise LookupError("too late")
    except LookupError:
        start_response("500 Oops", list(TEXT), sys.exc_info())
    yield b"never"


def raises(environ, start_response):
    kind = getattr(__import__("builtins"), environ["QUERY_STRING"])
    raise kind("on purpose")


def raises_late(environ, start_response):
    start_response("200 OK", list(TEXT))

    def blocks():
        yield b"some"
        raise RuntimeError("half way")

    return Told(blocks())


def raises_in_close(environ, start_response):
    start_response("200 OK", list(TEXT))

    class Body(Told):
        def close(self):
            super().close()
            raise RuntimeError("in close")

    return Body([b"whole"])


def exits(environ, start_response):
    sys.exit(4)


def breach(environ, start_response):
    """Breaks the contract in the way that the query names."""
    ways = {
        "status-type": lambda: start_response(b"200 OK", []),
        "status-form": lambda: start_response("200", []),
        "status-low": lambda: start_response("199 No", []),
        "status-break": lambda: start_response("200 OK\r\nX: y", []),
        "headers-type": lambda: start_response("200 OK", ()),
        "pair": lambda: start_response("200 OK", ["ab"]),
        "name-type": lambda: start_response("200 OK", [(b"X", "y")]),
        "name-form": lambda: start_response("200 OK", [("X:", "y")]),
        "value-type": lambda: start_response("200 OK", [("X", 1)]),
        "value-bytes": lambda: start_response("200 OK", [("X", b"y")]),
        "value-break": lambda: start_response("200 OK", [("X", "y\nZ: 1")]),
        "value-nul": lambda: start_response("200 OK", [("X", "\0")]),
        "value-wide": lambda: start_response("200 OK", [("X", "\u0100")]),
        "hop": lambda: start_response("200 OK", [("Transfer-Encoding", "chunked")]),
        "status-field": lambda: start_response("200 OK", [("Status", "404 No")]),
        "length-form": lambda: start_response("200 OK", [("Content-Length", "+1")]),
        "length-twice": lambda: start_response("200 OK", [("Content-Length", "1")] * 2),
        "twice": lambda: (start_response("200 OK", []), start_response("200 OK", [])),
        "write-type": lambda: start_response("200 OK", [])("text"),
        "no-start": lambda: None,
    }
    ways[environ["QUERY_STRING"]]()
    return [b"never"]


def body_of(environ, start_response):
    start_response("200 OK", list(TEXT))
    return {
        "none": None, "str": "text", "bytes": b"bytes", "strs": ["text"], "iter": iter(["text"]),
        "number": 5, "bytearrays": [bytearray(b"x")],
    }[environ["QUERY_STRING"]]


def all_octets(environ, start_response):
    start_response("200 OK", [("X-Wide", "caf\xe9\t!"), *TEXT])
    return [bytes(range(256)) * 300]


def errors(environ, start_response):
    stream = environ["wsgi.errors"]
    stream.write("one\n")
    stream.writelines(["two ", "three\n"])
    stream.write("held \u20ac\udc80")
    stream.flush()
    print("four", file=stream)
    stream.write("unfinished")
    start_response("200 OK", list(TEXT))
    return [b"done"]


streams = []


def errors_late(environ, start_response):
    """Writes to the stream of the request before."""
    for stream in streams:
        stream.write("too late\n")
    streams[:] = [environ["wsgi.errors"]]
    start_response("200 OK", list(TEXT))
    return [b"done"]


def errors_racing(environ, start_response):
    """Ends while another thread writes."""
    stream = environ["wsgi.errors"]

    def write():
        for _ in range(20):
            stream.write(environ["PATH_INFO"] + "\n")

    threading.Thread(target=write).start()
    start_response("200 OK", list(TEXT))
    return [b"done"]


class Opened(io.BytesIO):
    def read(self, size=-1):
        print(f"read {size}", flush=True)
        return super().read(size)

    def close(self):
        print("close", flush=True)
        super().close()


def wrapped(environ, start_response):
    """A file-like object through wsgi.file_wrapper."""
    source = Opened(b"0123456789")
    source.seek(2)
    body = environ["wsgi.file_wrapper"](source, 3)
    print("wrapped", flush=True)
    start_response("200 OK", list(TEXT))
    return body


def wrapped_file(environ, start_response):
    """This very file, from its eleventh byte on."""
    source = open(environ["HTTP_X_FILE"], "rb")
    source.seek(10)
    headers = list(TEXT)
    if environ["QUERY_STRING"]:
        headers.append(("Content-Length", environ["QUERY_STRING"]))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](source)


def rewrapped(environ, start_response):
    """Middleware that iterates over a file wrapper itself."""
    body = environ["wsgi.file_wrapper"](io.BytesIO(b"abcdef"), 4)
    start_response("200 OK", list(TEXT))
    return (block.upper() for block in body)


def forks(environ, start_response):
    """A child of its own; in the ways that a program may leave it."""
    child = os.fork()
    if child == 0:
        if environ["QUERY_STRING"] == "exit":
            sys.exit(7)
        if environ["QUERY_STRING"] == "raise":
            raise RuntimeError("in the child")
        start_response("200 OK", list(TEXT))
        return [b"from the child"]
    _, code = os.waitpid(child, 0)
    start_response("200 OK", list(TEXT))
    return [b"child: %d" % os.waitstatus_to_exitcode(code)]


def scheduled(environ, start_response):
    start_response("200 OK", list(TEXT))
    return [str(os.sched_getscheduler(0) == os.SCHED_BATCH).encode()]


def forks_in_close(environ, start_response):
    """A child that begins where the response has been sent."""

    class Body(Told):
        def close(self):
            child = os.fork()
            if child:
                _, code = os.waitpid(child, 0)
                print(f"child: {os.waitstatus_to_exitcode(code)}", flush=True)

    start_response("200 OK", list(TEXT))
    return Body([b"forked"])


def dispositions(environ, start_response):
    """How a program that is started here finds its signals and its streams."""
    code = (
        "import signal, os, sys\n"
        "print([signal.getsignal(s) is not signal.SIG_IGN "
        "for s in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)], "
        "sys.stdin.read() == '', sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    )
    shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).stdout
    start_response("200 OK", list(TEXT))
    return [shown]


def fork_dispositions(environ, start_response):
    """What a fork does on SIGTERM; our own process must not notice."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"r")
        time.sleep(20)
        os._exit(0)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    os.kill(child, signal.SIGTERM)
    _, code = os.waitpid(child, 0)
    start_response("200 OK", list(TEXT))
    return [b"child: %d" % os.waitstatus_to_exitcode(code)]


def fork_stays(environ, start_response):
    """Leaves a child behind that outlives us, for a while."""
    if os.fork() == 0:
        print(f"child {os.getpid()}", flush=True)
        time.sleep(60)
        os._exit(0)
    start_response("200 OK", list(TEXT))
    return [b"parent"]


def prints(environ, start_response):
    print("shown to the user")
    start_response("200 OK", list(TEXT))
    return [b"printed"]


def leaves_word(environ, start_response):
    """Has something to do at exit, and a thread that never ends."""
    atexit.register(lambda: print("at exit", flush=True))
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    start_response("200 OK", list(TEXT))
    return [b"registered"]


def slow_close(environ, start_response):
    """Has much to do once its response is whole."""
    start_response("200 OK", [*TEXT, ("Content-Length", "4")])

    class Body(Told):
        def close(self):
            time.sleep(0.2)
            super().close()

    return Body([b"slow"])


def where(environ, start_response):
    start_response("200 OK", list(TEXT))
    return [repr([sys.argv[1:], os.path.basename(sys.path[0]), sys.path[1] == os.getcwd()]).encode()]


class Site:
    """Applications as attributes, and made by calls."""

    class api:
        @staticmethod
        def app(environ, start_response):
            start_response("200 OK", list(TEXT))
            return [b"attribute"]


site = Site()


def create(name="nobody", *, greeting="Hello"):
    def app(environ, start_response):
        start_response("200 OK", list(TEXT))
        return [f"{greeting}, {name}".encode()]

    return app


def asgi(scope, receive, send):
    raise AssertionError("never called")


number = 5

# What the standard library has to say of the environ, the input and the rest.
valid_hello = validator(hello)


@validator
def valid_echo(environ, start_response):
    source = environ["wsgi.input"]
    body = source.read(3) + source.readline() + b"".join(source.readlines(4)) + source.read(100000)
    environ["wsgi.errors"].write("checked\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", list(TEXT))
    return [body]


@validator
def valid_blocks(environ, start_response):
    start_response("200 OK", list(TEXT))
    yield b"a"
    yield b"b"


@validator
def valid_write(environ, start_response):
    start_response("200 OK", list(TEXT))(b"written ")
    return [b"returned"]


@validator
def valid_empty(environ, start_response):
    start_response("304 Not Modified", [])
    return []
