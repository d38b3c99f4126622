"""Starts the responder with a private directory, and dies as a gateway does that
is killed. Its arguments: the responder, the directory, the application. The
patience with what does not end is short."""
import os
import subprocess
import sys

responder, directory, app = sys.argv[1:]
program = (
    "import sys; sys.argv = sys.argv[1:]; import headgate_wsgi as responder; "
    "responder._ORPHAN_SECONDS = 0.1; sys.exit(responder.main())"
)
started = subprocess.Popen(
    [
        sys.executable, "-c", program, responder, "--socket", directory + "/socket",
        "--private", directory, "--app", app,
    ],
    env={**os.environ, "PYTHONPATH": os.path.dirname(responder)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
)
started.stdout.readline()
print(started.pid, flush=True)
os._exit(0)
