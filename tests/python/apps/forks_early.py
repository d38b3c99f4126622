"""Forks while it is imported: one child that leaves at once, as a program does,
and one that stays."""
import os
import signal
import sys
import time

if os.fork() == 0:
    sys.exit(0)
os.wait()

ready_read, ready_write = os.pipe()
child = os.fork()
if child == 0:
    os.write(ready_write, b"r")
    time.sleep(20)
    os._exit(0)
os.read(ready_read, 1)


def app(environ, start_response):
    os.kill(child, signal.SIGTERM)
    _, code = os.waitpid(child, 0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"child: %d" % os.waitstatus_to_exitcode(code)]
