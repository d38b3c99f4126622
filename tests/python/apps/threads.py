"""An application that tells which of its requests run at once."""
import errno
import os
import resource
import sys
import select
import signal
import socket
import threading
import time

TEXT = [("Content-Type", "text/plain")]

_guard = threading.Lock()
_running = 0
_most = 0
_let_go = threading.Semaphore(0)
# As /go does, where no thread is free for that.
signal.signal(signal.SIGUSR2, lambda _number, _frame: _let_go.release())


def app(environ, start_response):
    global _running, _most
    with _guard:
        _running += 1
        _most = max(_most, _running)
    try:
        text = _WAYS[environ["PATH_INFO"]](environ)
    finally:
        with _guard:
            _running -= 1
    start_response("200 OK", list(TEXT))
    if environ["PATH_INFO"] == "/letters":
        return (letter.encode() for letter in text)
    return [text.encode()]


def scarce():
    """The same in a process that can open six descriptors more."""
    limit = len(os.listdir("/proc/self/fd")) + 6
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return app


def overtaken():
    """The same where a request comes just before the first connection is shut."""
    shutdown = socket.socket.shutdown

    def shut(self, how):
        socket.socket.shutdown = shutdown
        print("shutting", flush=True)
        select.select([self], [], [], 20)
        shutdown(self, how)

    socket.socket.shutdown = shut
    return app


def unsteady():
    """The same where the first connection has gone when it is accepted."""
    setblocking = socket.socket.setblocking

    def fail(self, blocking):
        if not blocking:
            setblocking(self, blocking)
            return
        socket.socket.setblocking = setblocking
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    socket.socket.setblocking = fail
    return app


def parallel():
    """The same in an interpreter that has no lock, as far as it tells."""
    sys._is_gil_enabled = lambda: False
    return app


def _hold(_environ):
    print("held", flush=True)
    return "let go" if _let_go.acquire(timeout=20) else "left alone"


def _spin(_environ):
    """Keeps the interpreter to itself, as far as it lets anybody."""
    print("spinning", flush=True)
    until = time.monotonic() + 20
    while not _let_go.acquire(blocking=False):
        if time.monotonic() > until:
            return "left alone"
    return "let go"


def _go(_environ):
    _let_go.release()
    return "gone"


def _soon(_environ):
    print("soon", flush=True)
    time.sleep(0.2)
    return "done"


def _nap(_environ):
    time.sleep(0.01)
    return "slept"


_WAYS = {
    "/quick": lambda _environ: "quick",
    "/letters": lambda environ: "one by one: " + environ["wsgi.input"].read().decode(),
    "/hold": _hold,
    "/spin": _spin,
    "/go": _go,
    "/soon": _soon,
    "/nap": _nap,
    "/most": lambda _environ: str(_most),
    "/cpu": lambda _environ: str(time.process_time()),
}
