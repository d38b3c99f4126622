"""A module that ends the process while it is imported, as a system short of
memory can, from the second time on: CRASHING names a file that tells."""

import os

with open(os.environ["CRASHING"], "a") as times:
    times.write(".")
if os.path.getsize(os.environ["CRASHING"]) > 1:
    os.kill(os.getpid(), 9)

from wsgiapp import app  # noqa: E402, F401
