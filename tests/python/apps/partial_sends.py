"""Asserts that the responder sends all of its records over a socket that takes
them in parts. Run with the path of the responder."""
import importlib.util
import sys

spec = importlib.util.spec_from_file_location("responder", sys.argv[1])
responder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(responder)


class Slow:
    """Takes so many bytes at a time."""

    def __init__(self, most):
        self.most = most
        self.taken = bytearray()

    def sendmsg(self, pieces):
        assert len(pieces) <= responder._LONGEST_VECTOR
        data = b"".join(pieces)[:self.most]
        self.taken += data
        return len(data)

    def sendall(self, data):
        self.taken += data


def send(most, head, block):
    taker = Slow(most)
    connection = responder._Connection(None, taker)
    connection._request_id = 1
    connection.send(head, block, b"end")
    return bytes(taker.taken)


def contents(data):
    """The content of all records, and what comes behind them."""
    content = bytearray()
    at = 0
    while data[at:] != b"end":
        size = int.from_bytes(data[at + 4:at + 6], "big")
        content += data[at + 8:at + 8 + size]
        at += 8 + size
    return bytes(content)


block = bytes(range(251)) * 900
for head in (b"", b"h" * 100, b"h" * 65528, b"h" * 100000):
    whole = send(10 ** 9, head, block)
    assert contents(whole) == head + block
    for most in (1, 7, 8, 9, 108, 109, 65535, 65536, 65537, 131072, len(whole) - 3, len(whole) - 1):
        assert send(most, head, block) == whole, most

# More pieces than one call may take.
responder._LONGEST_VECTOR = 16
long = b"x" * (responder._LONGEST_CONTENT * responder._LONGEST_VECTOR)
assert contents(send(10 ** 9, b"h", long)) == b"h" + long
print("whole")
