"""What the applications of every framework answer with."""

import hashlib
import itertools
import threading

BLOCK = bytes(range(256)) * 64


class Streams:
    """Counts the bodies that are open, and those that were closed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.opened = 0
        self.closed = 0

    def body(self, blocks):
        """So many blocks; without end when that is negative."""
        with self.lock:
            self.opened += 1
        return Body(self, itertools.repeat(BLOCK, blocks)
                    if blocks >= 0 else itertools.repeat(BLOCK))

    def told(self):
        with self.lock:
            return {"opened": self.opened, "closed": self.closed}


class Body:
    def __init__(self, streams, blocks):
        self.streams = streams
        self.blocks = blocks

    def __iter__(self):
        return self.blocks

    def close(self):
        with self.streams.lock:
            self.streams.closed += 1


streams = Streams()


def digest(read):
    """Size and hash of what a read(size) gives."""
    seen = hashlib.sha256()
    size = 0
    while True:
        piece = read(65536)
        if not piece:
            return {"size": size, "sha256": seen.hexdigest()}
        seen.update(piece)
        size += len(piece)
