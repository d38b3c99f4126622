"""Serves a WSGI application (PEP 3333) as a FastCGI 1.0 responder.

Headgate starts this program and speaks to it; it also runs alone, on a
listening socket that it inherits as descriptor 0, behind any FastCGI client:

    python headgate_wsgi.py --app shop.wsgi:application --threads 8

It needs Python 3.9 or later and nothing but the standard library.

Threads.  At most `--threads` requests run at once; there may be more connections.
One thread leads: it waits for all connections, and answers what comes.  While
requests are quick it goes on by itself, for threads that wake each other, and
wait for each other's interpreter lock, cost more than such a request.  Another
keeps watch, and leads in its place once it is held up.  Where requests wait for
something themselves, the lead goes on before each, and a thread stays with its
connection if there are threads enough.  The main thread waits for the end.

Under Headgate (`--socket`):

- Standard input is a pipe; its end, like SIGTERM, means: accept nothing new,
  let the running requests end, exit 0.  Where it ends without the word "leave",
  the gateway was killed: the directory of `--private` is then ours to remove,
  and what does not end within 30 seconds is ended.  SIGINT and SIGHUP do
  nothing.
- Standard output is a pipe for lines of JSON: `{"type": "ready", "python":
  "3.11.2", "pid": 123}` once the application is loaded and the socket listens;
  `{"type": "failed", "message": ..., "traceback": ...}` before exit code 3.
  What the application prints goes to descriptor 3 where that is given, else to
  standard error.
- SIGUSR1 writes the stacks of all threads to the file of `--stacks`, at any
  moment, the interpreter lock or not.

FastCGI.  Requests on a connection are not multiplexed.  FCGI_ABORT_REQUEST is
noticed while content is read and before every write but the first; END_REQUEST
then has appStatus 1.  A response that is not whole must not pass for one that
is: where the application fails behind the head, or gives less content than its
Content-Length says, the connection is closed without END_REQUEST, because not
every client looks at appStatus.

A params stream may hold one pair alone, HEADGATE_ENVIRON: its value is then all
names and values, separated by NUL.  Where the length of that value takes four
bytes, it is read three times faster than pairs are.
"""

import argparse
import ast
import collections
import faulthandler
import fcntl
import gc
import importlib
import importlib.util
import inspect
import io
import json
import math
import os
import re
import select
import selectors
import shutil
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback

# ---------------------------------------------------------------- FastCGI 1.0

_VERSION = 1
_BEGIN_REQUEST = 1
_ABORT_REQUEST = 2
_END_REQUEST = 3
_PARAMS = 4
_STDIN = 5
_STDOUT = 6
_STDERR = 7
_GET_VALUES = 9
_GET_VALUES_RESULT = 10
_UNKNOWN_TYPE = 11

_RESPONDER = 1
_KEEP_CONN = 1

_REQUEST_COMPLETE = 0
_CANT_MPX_CONN = 1
_UNKNOWN_ROLE = 3

# version, type, request id, content length, padding length
_HEADER = struct.Struct(">BBHHBx")
_BEGIN_BODY = struct.Struct(">HB5x")
_END_BODY = struct.Struct(">IB3x")

# Whole multiples of eight, as the specification likes it.
_LONGEST_CONTENT = 65528
# Any record fits, however it lies.
_BUFFER_SIZE = 131072
# A stranger to bounds could fill the memory: no gateway takes heads like that.
_LONGEST_PARAMS = 4 * 1024 * 1024
# Up to here copying costs less than a vector of pieces.
_COPIED_SIZE = 32768
# POSIX promises 16; Linux and the BSDs have 1024.
_LONGEST_VECTOR = max(16, min(os.sysconf("SC_IOV_MAX"), 1024))


def _end_records(request_id, app_status):
    """The end of the response stream, and of the request."""
    return (
        _HEADER.pack(_VERSION, _STDOUT, request_id, 0, 0)
        + _end_record(request_id, app_status, _REQUEST_COMPLETE)
    )


def _end_record(request_id, app_status, protocol_status):
    return (
        _HEADER.pack(_VERSION, _END_REQUEST, request_id, 8, 0)
        + _END_BODY.pack(app_status, protocol_status)
    )


def _read_pairs(content):
    """Name-value pairs as text, one character for each octet."""
    pairs = {}
    at = 0
    size = len(content)
    try:
        while at < size:
            name_size = content[at]
            at += 1
            if name_size > 127:
                name_size = int.from_bytes(content[at - 1:at + 3], "big") & 0x7FFFFFFF
                at += 3
            value_size = content[at]
            at += 1
            if value_size > 127:
                value_size = int.from_bytes(content[at - 1:at + 3], "big") & 0x7FFFFFFF
                at += 3
            value_at = at + name_size
            end = value_at + value_size
            if end > size:
                raise IndexError
            pairs[str(content[at:value_at], "latin-1")] = str(content[value_at:end], "latin-1")
            at = end
    except IndexError:
        raise _Gone("A name-value pair is longer than its stream") from None
    return pairs


def _write_pair(name, value):
    return bytes((len(name), len(value))) + name + value


class _Gone(ConnectionAbortedError):
    """Nobody waits for the response any more."""


# ----------------------------------------------------------------- the contract

_STATUS = re.compile(r"([2-5][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# Those of PEP 3333 (RFC 2616 section 13.5.1), and two of their kind.
_HOP_BY_HOP = frozenset((
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
))

# An application repeats its own statuses and names: what has passed is kept.
_REMEMBERED = 256
_statuses = {}
_names = {}


def _check_status(status):
    """The status as a line of the head, and whether content may follow it."""
    if not isinstance(status, str):
        raise TypeError(f"The status must be a str, not {_describe(status)}")
    parts = _STATUS.fullmatch(status)
    if parts is None:
        raise ValueError(f'The status must be like "200 OK", 200 to 599, not {status[:80]!r}')
    known = (f"Status: {parts[0]}\r\n", parts[1] not in ("204", "304"))
    if len(_statuses) < _REMEMBERED:
        _statuses[status] = known
    return known


def _check_name(name):
    """Whether the name of a field is Content-Length."""
    if not isinstance(name, str):
        raise TypeError(f"A header name must be a str, not {_describe(name)}")
    if _TOKEN.fullmatch(name) is None:
        raise ValueError(f"A header name must be a token (RFC 9110 section 5.1), not {name[:80]!r}")
    lower = name.lower()
    if lower in _HOP_BY_HOP:
        raise ValueError(f"{name} is hop-by-hop: the gateway alone may send it")
    # Head and status have their own places (RFC 3875 section 6.3.3).
    if lower == "status":
        raise ValueError("Status is given by the first argument of start_response")
    is_length = lower == "content-length"
    if len(_names) < _REMEMBERED:
        _names[name] = is_length
    return is_length


def _check_value(name, value):
    """The value of a field as a plain str."""
    if not isinstance(value, str):
        raise TypeError(f"The value of {name} must be a str, not {_describe(value)}")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(
            f"The value of {name} must have no control characters and none above U+00FF, "
            f"not {value[:80]!r}"
        )
    return str.__str__(value)


def _check_pair(pair):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"A header must be a (name, value) tuple, not {_describe(pair)}")
    return pair


def _parse_length(value):
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError(f"Content-Length must be a number of bytes, not {value[:80]!r}")
    return int(value)


def _describe(value):
    return "None" if value is None else f"an object of {type(value).__name__}"


class FileWrapper:
    """`wsgi.file_wrapper`: a file as an iterable of blocks.

    Nothing is read before the server is given it.  A file of the file system
    is then sent in larger blocks than `blksize`.
    """

    def __init__(self, filelike, blksize=8192):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.blksize)
        if block:
            return block
        raise StopIteration


_FILE_BLOCK = 4 * _LONGEST_CONTENT


def _is_on_disk(filelike):
    """Whether a read of any size is answered without waiting for somebody."""
    try:
        return stat.S_ISREG(os.fstat(filelike.fileno()).st_mode)
    except (AttributeError, OSError, TypeError, ValueError):
        return False


def _large_blocks(filelike, exchange):
    """The blocks of a file to its end, or to the end of what Content-Length says."""
    while True:
        size = _FILE_BLOCK
        if exchange.declared >= 0:
            size = min(size, exchange.declared - exchange.sent)
        block = filelike.read(size)
        if not block:
            return
        yield block


# ------------------------------------------------------------------ one request

class _Exchange:
    """One request and its response, from the call of the application on."""

    # The status and the fields, without the empty line; None before start_response.
    head = None
    # Whether the status allows content, and whether the method does too.
    has_content = True
    sends_content = True
    # Content-Length, as the application gave it or as the blocks showed it.
    declared = -1
    # Content bytes handed on.
    sent = 0
    # Whether the head is on its way, so that it cannot be replaced.
    committed = False
    # Whether content was left out because it exceeds `declared`.
    surplus = False
    # Whether the application failed, so that the response is not whole.
    failed = False
    # Whether the end is on its way: nothing may be sent behind it.
    ended = False
    # When the end went out while the application still had something to do.
    ended_at = 0.0

    def __init__(self, connection, environ, errors):
        self.connection = connection
        self.environ = environ
        self.errors = errors

    def run(self, server):
        """Calls the application and sends what it gives; closes what it gave.

        Whatever the application raises ends here.
        """
        result = None
        try:
            result = server.app(self.environ, self.start_response)
            kind = result.__class__
            if kind is list or kind is tuple:
                self._send_blocks(result)
            else:
                self._send_body(result, server)
            if self.surplus:
                raise self._too_long()
        except BaseException as error:
            if server.forked:
                server.leave_child(error)
            self._fail(error, server)
        try:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self.errors.report(f"{self._name()}: closing the body", error)
        if self.ended_at and time.monotonic() - self.ended_at > _LONG_CLOSE:
            server.ends_late = True
        if not self.ended:
            self._end()

    # -- what the application calls

    def start_response(self, status, headers, exc_info=None):
        """PEP 3333; checks its arguments, where the traceback shows whose they are."""
        if self.head is not None:
            if exc_info is None:
                raise RuntimeError("start_response was called again without exc_info")
            try:
                if self.committed:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        if self.ended:
            raise RuntimeError("start_response was called after the response")
        try:
            known = _statuses[status]
        except (KeyError, TypeError):
            known = None
        # Not where the exception is handled, or a traceback would tell of both.
        line, has_content = known or _check_status(status)
        if not isinstance(headers, list):
            raise TypeError(
                f"The headers must be a list of (name, value) tuples, not {_describe(headers)}"
            )
        declared = -1
        lines = [line]
        for pair in headers:
            if pair.__class__ is not tuple or len(pair) != 2:
                _check_pair(pair)
            name, value = pair
            try:
                is_length = _names[name]
            except (KeyError, TypeError):
                is_length = None
            if is_length is None:
                is_length = _check_name(name)
            # What is ASCII and printable has no control characters.
            if value.__class__ is not str or not (value.isascii() and value.isprintable()):
                value = _check_value(name, value)
            if is_length:
                if declared >= 0:
                    raise ValueError("Content-Length is given twice")
                declared = _parse_length(value)
            lines.append(f"{name}: {value}\r\n")
        self.head = "".join(lines)
        self.declared = declared
        self.has_content = has_content
        self.sends_content = has_content and self.connection.method != "HEAD"
        return self.write

    def write(self, data):
        """The callable that start_response returns: sends a block at once."""
        if data.__class__ is not bytes:
            _check_block(data)
        if self.ended:
            raise RuntimeError("write() was called after the response")
        if self.surplus:
            raise self._too_long()
        self._send(data)

    # -- the response

    def _send_blocks(self, blocks):
        """Sends blocks that are at hand, all of them."""
        size = 0
        for block in blocks:
            if block.__class__ is not bytes:
                _check_block(block)
            size += len(block)
        if not self.committed:
            self._infer_length(size)
        self._send(blocks[0] if len(blocks) == 1 else b"".join(blocks), True)

    def _send_body(self, body, server):
        """Sends one block after another, each before the next is asked for."""
        if body.__class__ is FileWrapper and _is_on_disk(body.filelike):
            body = _large_blocks(body.filelike, self)
        elif body is None or isinstance(body, (bytes, str, bytearray, memoryview)):
            # The latter are iterable, but what comes out are numbers and characters.
            raise TypeError(
                f"An application must return an iterable of bytes, such as [body], "
                f"not {_describe(body)}"
            )
        # The content is as long as its one block, if write() has sent nothing.
        single = not self.committed and hasattr(body, "__len__") and len(body) == 1
        for block in body:
            if block.__class__ is not bytes:
                _check_block(block)
            if self.ended:
                # Whole by its Content-Length, but there is more.
                self.surplus = self.surplus or (self.sends_content and len(block) > 0)
            elif block or not self.sends_content:
                if single and not self.committed:
                    self._infer_length(len(block))
                self._send(block, not server.ends_late)
                if self.ended:
                    self.ended_at = time.monotonic()
            if self.surplus or not self.sends_content:
                break
        if not self.committed:
            self._infer_length(0)
            self._send(b"")
        if not self.ended and not server.ends_late:
            self._end()
            self.ended_at = time.monotonic()

    def _infer_length(self, size):
        """Says how long the content is, where the application did not.

        For HEAD an application may have left the content out.
        """
        if self.declared < 0 and self.head is not None and self.has_content and (
            size or self.sends_content
        ):
            self.head += f"Content-Length: {size}\r\n"
            self.declared = size

    def _send(self, block, may_end=False):
        """Sends the head, if that has not gone yet, and a block.

        With `may_end` the end goes along where the content is known to be whole.
        """
        connection = self.connection
        if self.committed:
            head = b""
            connection.look_for_abort()
        elif self.head is None:
            raise RuntimeError("The application gave its body without calling start_response")
        else:
            head = (self.head + "\r\n").encode("latin-1")
            self.committed = True
        if not self.sends_content:
            block = b""
            whole = True
        elif self.declared < 0:
            self.sent += len(block)
            whole = False
        else:
            left = self.declared - self.sent
            if len(block) > left:
                self.surplus = True
                block = block[:left]
            self.sent += len(block)
            whole = len(block) == left
        if whole and may_end:
            self.errors.end()
            self.ended = True
            connection.send(head, block, connection.whole)
        else:
            connection.send(head, block, b"")

    def _end(self):
        """Ends the response; tells whether it is whole."""
        if self.sends_content and self.sent < self.declared and not self.failed:
            self.failed = True
            self.errors.write(
                f"The body is shorter than its Content-Length: "
                f"{self.sent} bytes of {self.declared}\n"
            )
        self.errors.end()
        self.ended = True
        if self.failed:
            self.connection.cut()
        else:
            self.connection.end()

    def _fail(self, error, server):
        """Answers for an application that raised."""
        # Where the client has left, its leaving is what the application tells of.
        if not _is_departure(error):
            self.errors.report(self._name(), error)
        if self.ended:
            return
        # Without the surplus the response is whole.
        self.failed = not self.surplus
        if not self.committed:
            self.committed = True
            self.failed = False
            self.sends_content = False
            body = _SORRY if self.connection.method != "HEAD" else b""
            try:
                self.connection.send(_SORRY_HEAD, body, b"")
            except OSError:
                # Nobody is there to be told.
                self.failed = True
        if not server.ends_late:
            self._end()

    def _name(self):
        path = self.environ.get("SCRIPT_NAME", "") + self.environ.get("PATH_INFO", "")
        return f"{self.connection.method} {path[:200]!r}"

    def _too_long(self):
        return ValueError(f"The body is longer than its Content-Length, {self.declared}")


def _check_block(block):
    if not isinstance(block, bytes):
        raise TypeError(f"A body must give bytes, not {_describe(block)}")


_SORRY = b"Internal Server Error\n"
_SORRY_HEAD = (
    b"Status: 500 Internal Server Error\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_SORRY)
)

# Seconds. As long as applications do little behind the last block of a body, in
# its close() for instance, the end of a response goes out with that block. Once
# one has taken longer, ends are held back until everything is done, so that no
# request is sent to a thread that is not free.
_LONG_CLOSE = 0.05


def _is_departure(error):
    """Whether an error came of the client's leaving, directly or in its course."""
    seen = 0
    while error is not None and seen < 50:
        if isinstance(error, _Gone):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


class _Errors:
    """`wsgi.errors`: FCGI_STDERR while the request runs, standard error after."""

    __slots__ = ("_connection", "_held", "ended")

    encoding = "utf-8"
    errors = "backslashreplace"
    closed = False

    def __init__(self, connection):
        self._connection = connection
        self._held = ""
        self.ended = False

    def write(self, text):
        """Sends the lines that `text` completes."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {_describe(text)}")
        self._held += text
        if "\n" in text or self.ended or len(self._held) > 8192:
            self.flush()
        return len(text)

    def writelines(self, lines):
        """Writes each string."""
        for line in lines:
            self.write(line)

    def flush(self):
        """Sends the line that has no end yet."""
        text, self._held = self._held, ""
        if not text:
            return
        if not self.ended:
            try:
                if self._connection.send_errors(self, text.encode("utf-8", "backslashreplace")):
                    return
            except OSError:
                # Nobody is there; it is not lost all the same.
                pass
        _say(text)

    def writable(self):
        return True

    def readable(self):
        return False

    def seekable(self):
        return False

    def isatty(self):
        return False

    def end(self):
        """What comes now belongs to no request."""
        if self._held:
            self.flush()
        self.ended = True

    def report(self, place, error):
        """Writes a traceback, beginning where the application's own begins.

        Whoever reads FCGI_STDERR knows of which request it is; behind the end
        of that `place` tells.
        """
        try:
            text = _traceback_of(error)
            self.write(f"{place}:\n{text}" if self.ended else text)
        except Exception:
            # Without memory, say; the request has failed anyhow.
            pass


def _say(text):
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


class _Content(io.RawIOBase):
    """The content of a request as it arrives; `wsgi.input` is a buffer over it."""

    def __init__(self, connection):
        self._connection = connection

    def readable(self):
        return True

    def readinto(self, target):
        """0 at the end of the content; raises when the client left before that."""
        if self._connection is None:
            raise ValueError("wsgi.input was read after the response")
        return self._connection.read_content(memoryview(target).cast("B"))

    def readall(self):
        pieces = []
        piece = bytearray(_LONGEST_CONTENT)
        while True:
            size = self.readinto(piece)
            if not size:
                return b"".join(pieces)
            pieces.append(bytes(memoryview(piece)[:size]))

    def detach(self):
        """The request has ended: the connection is no longer ours to read."""
        self._connection = None


# --------------------------------------------------------------- one connection

class _Connection:
    """A connection of the gateway's, with its buffer and its records."""

    def __init__(self, server, sock):
        self.server = server
        self.method = ""
        self.whole = b""
        # Held by the thread that is at it.
        self.taken = threading.Lock()
        # Whether the poller does not look at it, until that thread is done.
        self.parked = False
        # Whether a thread waits for its requests alone.
        self.stayed_with = False
        self.closed = False
        self._socket = sock
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._request_id = -1
        # What it reads next is compared with these, as far as it is usual.
        self._usual = b"\0" * 16
        self._no_params = b""
        self._no_content = b""
        # Content of the record at hand that is not read yet, and its padding.
        self._left = 0
        self._padding = 0
        self._input_open = False
        self._aborted = False
        self._broken = False
        # Whether we have ended what comes in, so that its end says nothing.
        self._shut = False
        # How much content there is by CONTENT_LENGTH, and how much was read.
        self._expected = -1
        self._received = 0
        self._reading = threading.Lock()
        self._sending = threading.Lock()

    def serve(self):
        """Answers what has arrived; whether more may come.

        Called when there is something to be read, if only the end.
        """
        try:
            self._start = 0
            self._end = self._socket.recv_into(self._buffer)
            if not self._end:
                return False
            while self._start < self._end:
                flags = self._begin()
                if flags is not None and not self._answer(flags):
                    return False
            return True
        except OSError:
            # The other side has gone, which is its right.
            return False

    def _answer(self, flags):
        """Answers a request; whether another may come."""
        server = self.server
        server.requests = requests = server.requests + 1
        measured = not requests % _SAMPLED
        if measured:
            began = time.perf_counter() - time.thread_time()
        environ = self._read_environ()
        if environ is None:
            return True
        content = self._open_content(environ)
        errors = _Errors(self)
        environ["wsgi.errors"] = errors
        _Exchange(self, environ, errors).run(server)
        if server.forked:
            server.leave_child()
        if measured:
            server.lead.measured(time.perf_counter() - time.thread_time() - began)
        if not flags or self._broken or server.stopping:
            return False
        if content is not None:
            content.detach()
            # Another thread of the application's may still wait for content.
            return not self._reading.locked()
        return True

    def shut(self):
        """Has a connection end that waits for a request; one that has arrived is
        still answered, and ends the connection by itself."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        if waiting.poll(0):
            return
        self._shut = True
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def fileno(self):
        return self._socket.fileno()

    def close(self):
        self._broken = True
        try:
            self._socket.close()
        except OSError:
            pass

    # -- the request

    def _begin(self):
        """Goes to a request; returns its flags, 0 or FCGI_KEEP_CONN, and None
        where what has arrived has none."""
        if self._left or self._padding:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
        while not self._buffer.startswith(self._usual, self._start, self._end):
            if self._start == self._end:
                return None
            kind, request_id, length, padding = self._header()
            if kind != _BEGIN_REQUEST or length != 8:
                # What still comes for the request that has ended is not wanted.
                self._other(kind, request_id, length, padding)
                continue
            self._fill(8)
            role, flags = _BEGIN_BODY.unpack_from(self._buffer, self._start)
            self._start += 8
            self._skip(padding)
            flags &= _KEEP_CONN
            if role == _RESPONDER:
                self._know(request_id)
                break
            self._write(_end_record(request_id, 0, _UNKNOWN_ROLE))
            if not flags:
                raise _Gone("A role that is unknown")
        else:
            # As the last one that was kept.
            self._start += 16
            flags = _KEEP_CONN
        self._input_open = True
        self._aborted = False
        return flags

    def _know(self, request_id):
        """Spells what is read and written in every request of an id."""
        if request_id == self._request_id:
            return
        self._request_id = request_id
        self.whole = _end_records(request_id, 0)
        self._usual = (
            _HEADER.pack(_VERSION, _BEGIN_REQUEST, request_id, 8, 0)
            + _BEGIN_BODY.pack(_RESPONDER, _KEEP_CONN)
        )
        self._no_params = _HEADER.pack(_VERSION, _PARAMS, request_id, 0, 0)
        self._no_content = _HEADER.pack(_VERSION, _STDIN, request_id, 0, 0)

    def _read_environ(self):
        """The environ without its streams; None when the request was aborted."""
        params = self._params_at_hand()
        if params is None:
            params = self._read_params()
            if params is None:
                return None
        environ = self.server.environ.copy()
        if params[:1] == b"\x10" and params[5:21] == b"HEADGATE_ENVIRON":
            packed = str(params[21:], "latin-1")
        else:
            environ.update(_read_pairs(params))
            packed = environ.pop("HEADGATE_ENVIRON", None)
        if packed is not None:
            texts = iter(packed.split("\0"))
            environ.update(zip(texts, texts))
        else:
            # Neither is a name of an environ, and the last is a trap (httpoxy).
            environ.pop("HTTP_CONTENT_TYPE", None)
            environ.pop("HTTP_CONTENT_LENGTH", None)
            environ.pop("HTTP_PROXY", None)
        self.method = environ["REQUEST_METHOD"]
        scheme = environ.get("REQUEST_SCHEME")
        if scheme:
            environ["wsgi.url_scheme"] = scheme
        elif environ.get("HTTPS", "").lower() in ("on", "1", "yes", "true"):
            environ["wsgi.url_scheme"] = "https"
        return environ

    def _params_at_hand(self):
        """The params, if all of them are in the buffer in one record, as is usual."""
        at = self._start
        if self._end - at < 16:
            return None
        _, kind, request_id, length, padding = _HEADER.unpack_from(self._buffer, at)
        after = at + 8 + length + padding
        if kind != _PARAMS or request_id != self._request_id or not length:
            return None
        if not self._buffer.startswith(self._no_params, after, self._end):
            return None
        self._start = after + 8
        return self._view[at + 8:at + 8 + length]

    def _read_params(self):
        """The params, however they come; None when the request was aborted."""
        pieces = []
        size = 0
        while True:
            kind, request_id, length, padding = self._header()
            if kind == _PARAMS and request_id == self._request_id:
                if not length:
                    self._skip(padding)
                    return b"".join(pieces)
                size += length
                if size > _LONGEST_PARAMS:
                    self._broken = True
                    raise _Gone("The params are too large")
                self._fill(length)
                start = self._start
                pieces.append(self._view[start:start + length].tobytes())
                self._start = start + length
                self._skip(padding)
            elif kind == _ABORT_REQUEST and request_id == self._request_id:
                self._skip(length + padding)
                self._aborted = True
                self.end()
                return None
            else:
                self._other(kind, request_id, length, padding)

    def _open_content(self, environ):
        """Puts `wsgi.input` into the environ; what must be detached afterwards."""
        declared = environ.get("CONTENT_LENGTH")
        try:
            expected = int(declared) if declared else -1
        except ValueError:
            expected = -1
        content = self._content_at_hand(expected)
        if content is not None:
            self._input_open = False
            environ["wsgi.input"] = io.BytesIO(content)
            return None
        self._expected = expected
        self._received = 0
        raw = _Content(self)
        environ["wsgi.input"] = io.BufferedReader(raw, _LONGEST_CONTENT)
        return raw

    def _content_at_hand(self, expected):
        """The content, if all of it is in the buffer already, as is usual."""
        at = self._start
        if expected <= 0 and self._buffer.startswith(self._no_content, at, self._end):
            self._start = at + 8
            return b""
        if self._end - at < 8:
            return None
        _, kind, request_id, length, padding = _HEADER.unpack_from(self._buffer, at)
        if kind != _STDIN or request_id != self._request_id or not length:
            return None
        after = at + 8 + length + padding
        if expected >= 0 and expected != length:
            return None
        if not self._buffer.startswith(self._no_content, after, self._end):
            return None
        self._start = after + 8
        return self._view[at + 8:at + 8 + length]

    def read_content(self, target):
        """Reads into `target`, as much as there is; 0 at the end."""
        with self._reading:
            while not self._left:
                if not self._input_open or self._received == self._expected:
                    return 0
                self._next_content()
            if self._start == self._end:
                self._fill(1)
            start = self._start
            size = min(len(target), self._left, self._end - start)
            if self._expected >= 0:
                size = min(size, self._expected - self._received)
            target[:size] = self._view[start:start + size]
            self._start = start + size
            self._left -= size
            self._received += size
            return size

    def _next_content(self):
        """Goes to the next record of content, or to the end."""
        self._skip(self._padding)
        self._padding = 0
        kind, request_id, length, padding = self._header()
        if kind == _STDIN and request_id == self._request_id:
            if length:
                self._left = length
                self._padding = padding
                return
            self._skip(padding)
            self._input_open = False
            if self._received < self._expected:
                self._aborted = True
                raise _Gone("The client left before its content was whole")
        elif kind == _ABORT_REQUEST and request_id == self._request_id:
            self._skip(length + padding)
            self._input_open = False
            self._aborted = True
            raise _Gone("The client has left")
        else:
            self._other(kind, request_id, length, padding)

    def look_for_abort(self):
        """Raises when the request was aborted, without waiting for anything."""
        if self._aborted or self._broken:
            raise _Gone("The client has left")
        if not self._reading.acquire(False):
            # Whoever reads the content will see it.
            return
        try:
            if self._start == self._end:
                self._start = self._end = 0
            # A full buffer holds content that the application has not asked for.
            if self._end < _BUFFER_SIZE:
                try:
                    size = self._socket.recv_into(
                        self._view[self._end:], 0, socket.MSG_DONTWAIT
                    )
                except (BlockingIOError, InterruptedError):
                    size = -1
                if not size and not self._shut:
                    self._broken = True
                    raise _Gone("The connection was closed")
                if size > 0:
                    self._end += size
            at = self._start + self._left + self._padding
            while self._end - at >= 8:
                _, kind, request_id, length, padding = _HEADER.unpack_from(self._buffer, at)
                if kind == _ABORT_REQUEST and request_id == self._request_id:
                    self._aborted = True
                    raise _Gone("The client has left")
                at += 8 + length + padding
        finally:
            self._reading.release()

    # -- records

    def _header(self):
        self._fill(8)
        version, kind, request_id, length, padding = _HEADER.unpack_from(self._buffer, self._start)
        if version != _VERSION:
            self._broken = True
            raise _Gone(f"A record has version {version}")
        self._start += 8
        return kind, request_id, length, padding

    def _fill(self, size):
        """Waits until `size` bytes are in the buffer."""
        while self._end - self._start < size:
            if _BUFFER_SIZE - self._start < size or self._end == _BUFFER_SIZE:
                held = self._end - self._start
                self._buffer[:held] = self._buffer[self._start:self._end]
                self._start = 0
                self._end = held
            try:
                arrived = self._socket.recv_into(self._view[self._end:])
            except OSError as error:
                self._broken = True
                raise _Gone(str(error)) from None
            if not arrived:
                self._broken = True
                raise _Gone("The connection was closed")
            self._end += arrived

    def _skip(self, size):
        while size:
            if self._start == self._end:
                self._fill(1)
            step = min(size, self._end - self._start)
            self._start += step
            size -= step

    def _other(self, kind, request_id, length, padding):
        """A record that does not belong to the request at hand."""
        if request_id == 0:
            self._fill(length)
            content = self._view[self._start:self._start + length].tobytes()
            self._start += length
            self._skip(padding)
            self._write(self._manage(kind, content))
            return
        self._skip(length + padding)
        if kind == _BEGIN_REQUEST:
            self._write(_end_record(request_id, 0, _CANT_MPX_CONN))

    def _manage(self, kind, content):
        if kind != _GET_VALUES:
            return _HEADER.pack(_VERSION, _UNKNOWN_TYPE, 0, 8, 0) + bytes((kind,)) + bytes(7)
        threads = str(self.server.threads).encode()
        values = {"FCGI_MAX_CONNS": threads, "FCGI_MAX_REQS": threads, "FCGI_MPXS_CONNS": b"0"}
        pairs = b"".join(
            _write_pair(name.encode(), values[name])
            for name in _read_pairs(content) if name in values
        )
        return _HEADER.pack(_VERSION, _GET_VALUES_RESULT, 0, len(pairs), 0) + pairs

    # -- the response

    def send(self, head, block, ending):
        """Sends records of content, and what comes behind them."""
        size = len(head) + len(block)
        request_id = self._request_id
        if size <= _COPIED_SIZE:
            if size:
                header = _HEADER.pack(_VERSION, _STDOUT, request_id, size, 0)
                self._write(b"".join((header, head, block, ending)))
            elif ending:
                self._write(ending)
            return
        pieces = []
        at = 0
        if head:
            at = min(len(block), _LONGEST_CONTENT - len(head))
            if at <= 0:
                # A head like that has no room for content beside it.
                at = 0
                for cut in range(0, len(head), _LONGEST_CONTENT):
                    piece = head[cut:cut + _LONGEST_CONTENT]
                    pieces.append(_HEADER.pack(_VERSION, _STDOUT, request_id, len(piece), 0))
                    pieces.append(piece)
            else:
                pieces.append(_HEADER.pack(_VERSION, _STDOUT, request_id, len(head) + at, 0))
                pieces.append(head)
                pieces.append(memoryview(block)[:at])
        view = memoryview(block)
        size = len(block)
        full = _HEADER.pack(_VERSION, _STDOUT, request_id, _LONGEST_CONTENT, 0)
        while size - at >= _LONGEST_CONTENT:
            pieces.append(full)
            pieces.append(view[at:at + _LONGEST_CONTENT])
            at += _LONGEST_CONTENT
        if at < size:
            pieces.append(_HEADER.pack(_VERSION, _STDOUT, request_id, size - at, 0))
            pieces.append(view[at:])
        if ending:
            pieces.append(ending)
        self._write_pieces(pieces)

    def end(self):
        """Ends the request; silent where nobody is left to be told."""
        if self._broken:
            return
        try:
            self._write(_end_records(self._request_id, 1) if self._aborted else self.whole)
        except OSError:
            pass

    def cut(self):
        """Ends a request whose response is not whole, and the connection with it;
        whoever has aborted the request knows that already."""
        if self._aborted:
            self.end()
            return
        self._broken = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send_errors(self, errors, text):
        """Sends text for the log; False when the request of `errors` has ended."""
        records = []
        for at in range(0, len(text), _LONGEST_CONTENT):
            piece = text[at:at + _LONGEST_CONTENT]
            records.append(_HEADER.pack(_VERSION, _STDERR, self._request_id, len(piece), 0))
            records.append(piece)
        with self._sending:
            # Whoever ends a request says so before the end can be sent.
            if errors.ended:
                return False
            self._socket.sendall(b"".join(records))
        return True

    def _write(self, data):
        try:
            # A thread of the application's may write to wsgi.errors meanwhile.
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            self._broken = True
            raise _Gone(str(error)) from None

    def _write_pieces(self, pieces):
        try:
            with self._sending:
                at = 0
                while at < len(pieces):
                    batch = pieces[at:at + _LONGEST_VECTOR]
                    at += len(batch)
                    sent = self._socket.sendmsg(batch)
                    for piece in batch:
                        if sent < len(piece):
                            self._socket.sendall(memoryview(piece)[sent:])
                            sent = 0
                        else:
                            sent -= len(piece)
        except OSError as error:
            self._broken = True
            raise _Gone(str(error)) from None


def _let_gateway_run():
    """Keeps this thread from taking the processor from whoever wakes it.

    The gateway hands out requests one by one; where the two share a processor
    it would be put aside at each of them, to find the next answer alone in its
    turn.  A thread of SCHED_BATCH waits until the gateway has nothing more to
    do.  Where there are processors to spare nothing changes.  Programs that
    the application starts are scheduled alike, which is to say as work that
    nobody waits for at a keyboard.
    """
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):
        pass  # not on this system, or not allowed: it is a kindness


# ------------------------------------------------------------------ the threads

# Seconds.  A thread that is in the same request for so long, or up to twice as
# long, is held up.
_MOMENT = 0.004
# After so many moments without a request nobody looks any more.
_QUIET_MOMENTS = 3
# Every so manieth request is measured: it takes a system call, twice.
_SAMPLED = 5
# Seconds off the processor, from which on a request has waited for something.
_WAITED = 0.0001
# The part of requests that wait, from which on the lead is handed over before
# each, and threads stay with connections; the weight of one that was measured,
# and of one that was held up.
_OFTEN = 0.1
_WEIGHT = 0.125
_HELD_UP_WEIGHT = 0.5


class _Lead:
    """Which thread waits for requests.

    Whoever has the lead waits for requests, and lets go of it while it answers
    one.  If nobody has taken it by then it goes on: most requests are quicker
    than another thread is woken.  An idle thread keeps watch over that.
    """

    def __init__(self):
        self._lead = threading.Lock()
        # Held by the thread that keeps watch; other idle ones wait for it.
        self._watch = threading.Lock()
        # Whether whoever leads keeps the watch, too, as it has nothing to do.
        self._both = False
        # Held, but to wake the one that keeps watch.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._asleep = False
        # How often requests were begun by the thread that led, and when the last.
        self._turn = 0
        self.began = 0.0
        # Whether that thread is to lead again, once it is done.
        self._answers = False
        self._over = False
        # How often requests wait, 0 to 1, as far as those of late tell; for ever
        # where no interpreter lock has threads get in each other's way.
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        self.waits = 0.0 if gil else math.inf

    def take(self):
        """Waits until this thread leads; False when there is nothing more to do."""
        self._watch.acquire()
        quiet = 0
        while not self._over:
            turn = self._turn
            if self._lead.locked():
                quiet += 1
            else:
                quiet = 0
                # By the clock, not by a second look: while a request computes,
                # each look has to wait for the interpreter lock.
                held_up = self._answers and time.monotonic() - self.began >= _MOMENT
                free = held_up or not self._answers or self.waits > _OFTEN
                if free and self._lead.acquire(False):
                    if held_up:
                        self._note(True, _HELD_UP_WEIGHT)
                    self._both = True
                    return True
            if quiet < _QUIET_MOMENTS:
                self._bell.acquire(timeout=_MOMENT)
            else:
                quiet = 0
                self._asleep = True
                # Whoever begins a request counts it first, and looks then.
                if self._turn == turn and self._lead.locked():
                    self._bell.acquire()
                self._asleep = False
        self._watch.release()
        return False

    def begin(self):
        """Requests have come, which the thread that leads will answer itself.
        Returns what `resign()` is to be told."""
        self._turn = turn = self._turn + 1
        self.began = time.monotonic()
        self._answers = True
        both, self._both = self._both, False
        self._lead.release()
        if both:
            self._watch.release()
        elif self._asleep or self.waits > _OFTEN:
            self.ring()
        return turn

    def resign(self, turn):
        """The thread that has begun this one will not lead for some time."""
        if turn == self._turn:
            self._answers = False
            if self._asleep:
                self.ring()

    def end(self):
        """The thread is done.  Whether it leads again."""
        return self._lead.acquire(False)

    def measured(self, seconds):
        """A request has taken so long off the processor."""
        self._note(seconds > _WAITED, _WEIGHT)

    def _note(self, waited, weight):
        if self.waits != math.inf:
            self.waits += (waited - self.waits) * weight

    def leave(self):
        """There is nothing more to do for any thread; called by the one that leads."""
        self._over = True
        both, self._both = self._both, False
        self._lead.release()
        if both:
            self._watch.release()
        else:
            self.ring()

    def ring(self):
        """Wakes the one that keeps watch, if any."""
        self._asleep = False
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already


class _Selector:
    """What of `select.epoll` is used, for systems that have none."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()

    def register(self, file, _events):
        self._selector.register(file, selectors.EVENT_READ)

    def unregister(self, file):
        self._selector.unregister(file)

    def poll(self, timeout, _most):
        return [(key.fd, 0) for key, _ in self._selector.select(timeout)]

    def close(self):
        self._selector.close()


# Of Linux; bound here, since an application may have it taken away (gevent).
_Poller = getattr(select, "epoll", _Selector)
_READABLE = getattr(select, "EPOLLIN", 1)

# So many connections at most are looked at in one go.
_MOST_READY = 64
# Seconds until it is tried again to accept, where there was no descriptor for it.
_ACCEPT_PAUSE = 0.1


# ------------------------------------------------------------------- the server

class _Server:
    """The listening socket, the connections, the threads, and the end of them."""

    def __init__(self, listener, app, threads, multiprocess, standalone):
        self.app = app
        self.threads = threads
        self.stopping = False
        # How many there were: every `_SAMPLED`th is measured.
        self.requests = 0
        # Whether the application has ever done much behind its last block.
        self.ends_late = False
        # Whether this is a child that the application has forked.
        self.forked = False
        self.environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.0",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }
        self._standalone = standalone
        self.lead = _Lead()
        # What is registered with the poller: whoever changes that holds the guard.
        self._poller = _Poller()
        self._guard = threading.Lock()
        # By descriptor, and those of them that wait for a thread.
        self._connections = {}
        self._ready = collections.deque()
        self._listener = listener
        self._listening = True
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        listener.setblocking(False)
        self._poller.register(listener.fileno(), _READABLE)
        self._poller.register(self._wake_read, _READABLE)
        os.register_at_fork(after_in_child=self._disown)

    def start(self):
        self._threads = [
            threading.Thread(target=self._serve, name=f"headgate-{number + 1}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Accepts nothing new; connections end as their requests do."""
        with self._guard:
            self.stopping = True
            if self._listening:
                self._poller.unregister(self._listener.fileno())
            if not self._standalone:
                # Who connects from now on is to know at once that nobody accepts.
                self._listener.close()
        for connection in list(self._connections.values()):
            self._freed(connection)
        self._wake()

    def join(self):
        """Waits for the running requests."""
        for thread in self._threads:
            thread.join()

    def leave_child(self, error=None):
        """Ends a fork of the application's that came back to us: it is no server."""
        code = 0
        if isinstance(error, SystemExit):
            code = error.code
            if code is not None and not isinstance(code, int):
                _say(f"{code}\n")
                code = 1
        elif error is not None and not isinstance(error, _Gone):
            _say(_traceback_of(error))
            code = 1
        try:
            sys.stdout.flush()
        finally:
            os._exit(code or 0)

    # -- the threads

    def _serve(self):
        """What each of the threads does."""
        if not self._standalone:
            _let_gateway_run()
        lead = self.lead
        try:
            while lead.take():
                while True:
                    if not self._wait():
                        lead.leave()
                        return
                    turn = lead.begin()
                    self._serve_ready(turn)
                    if not lead.end():
                        break
        except BaseException as error:
            # Nobody would lead from now on: better another process.
            _say(f"The responder failed\n{''.join(_format(error, error.__traceback__))}")
            os._exit(70)

    def _serve_ready(self, turn):
        """Serves what is ready, as far as no other thread is quicker; called by
        the one that has led, as `turn`."""
        lead = self.lead
        ready = self._ready
        while ready:
            try:
                connection = ready.popleft()
            except IndexError:
                return
            if not (connection.taken.acquire(False) or self._park(connection)):
                continue
            # Only whoever has taken it says so.
            if connection.stayed_with:
                connection.taken.release()
                continue
            lead.began = time.monotonic()
            if ready and lead.waits > _OFTEN:
                lead.ring()
            kept = self._serve_once(connection)
            if lead.waits > _OFTEN and kept and self._may_stay():
                lead.resign(turn)
                kept = self._stay_with(connection)
            if not kept:
                self._close(connection)
                continue
            connection.taken.release()
            # Behind that, as whoever sets them looks at it then.
            if connection.parked or self.stopping:
                self._freed(connection)

    def _serve_once(self, connection):
        try:
            return connection.serve()
        except BaseException as error:
            _say(f"A connection failed\n{''.join(_format(error, error.__traceback__))}")
            return False

    def _may_stay(self):
        """Whether each connection can have a thread to itself, and is better off."""
        return (
            self.lead.waits > _OFTEN
            and len(self._connections) <= self.threads
            and not (self._standalone or self.stopping)
        )

    def _stay_with(self, connection):
        """Serves what comes over a connection, which saves waking another thread
        for each request.  Whether more may come."""
        descriptor = connection.fileno()
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        with self._guard:
            connection.stayed_with = True
            if not connection.parked:
                connection.parked = True
                self._poller.unregister(descriptor)
            # Perhaps nobody else has time for whoever connects.
            if not self.stopping:
                waiting.register(self._listener.fileno(), select.POLLIN)
        kept = True
        while kept and self._may_stay():
            # Whoever wants to end it while it is idle takes it.
            connection.taken.release()
            ready = waiting.poll()
            connection.taken.acquire()
            if all(file != descriptor for file, _ in ready):
                break
            kept = self._serve_once(connection)
        connection.stayed_with = False
        return kept

    def _wait(self):
        """Waits until a connection has something to be read; False when all have
        ended.  Called by the thread that leads."""
        while not self._ready:
            if self.stopping and not self._connections:
                return False
            accepts = False
            pause = None if self._listening or self.stopping else _ACCEPT_PAUSE
            for descriptor, _ in self._poller.poll(pause, _MOST_READY):
                connection = self._connections.get(descriptor)
                if connection is not None:
                    self._ready.append(connection)
                elif descriptor == self._wake_read:
                    os.read(descriptor, 64)
                else:
                    accepts = True
            # Behind the others: it may be given the descriptor of one that ended.
            if accepts or pause is not None:
                self._accept()
        return True

    # -- the connections

    def _accept(self):
        with self._guard:
            if self.stopping:
                return
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                failure = None
            except OSError as error:
                # Out of descriptors, for one: it passes.
                failure = error
            else:
                self._add(sock)
                failure = None
            changes = self._listening != (failure is None)
            if changes:
                self._listening = failure is None
                if self._listening:
                    self._poller.register(self._listener.fileno(), _READABLE)
                else:
                    self._poller.unregister(self._listener.fileno())
        # It is tried again at every turn, and said once.
        if changes and failure is not None:
            _say(f"A connection could not be accepted: {failure}\n")

    def _add(self, sock):
        try:
            sock.setblocking(True)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, sock)
            self._poller.register(sock.fileno(), _READABLE)
        except (OSError, MemoryError):
            # Not every system takes options of a connection that was reset.
            sock.close()
        else:
            self._connections[sock.fileno()] = connection

    def _park(self, connection):
        """Has the poller look at it no more while a thread is at it, whose affair
        it is what comes.  Whether that thread was done, and we have taken it."""
        with self._guard:
            if connection.closed or connection.parked:
                return False
            # Whoever is done with it looks at this behind `taken`.
            connection.parked = True
            if connection.taken.acquire(False):
                connection.parked = False
                return True
            self._poller.unregister(connection.fileno())
            return False

    def _freed(self, connection):
        """Whoever had taken it is done with it: has it end if this is the end, and
        has the poller look at it again."""
        if self.stopping and connection.taken.acquire(False):
            connection.shut()
            connection.taken.release()
        if connection.parked and not connection.stayed_with:
            with self._guard:
                if connection.parked and not (connection.closed or connection.stayed_with):
                    connection.parked = False
                    self._poller.register(connection.fileno(), _READABLE)

    def _close(self, connection):
        """Whoever has taken it has come to its end; it stays taken."""
        with self._guard:
            connection.closed = True
            if not connection.parked:
                self._poller.unregister(connection.fileno())
            del self._connections[connection.fileno()]
            connection.close()
        if self.stopping:
            self._wake()

    def _wake(self):
        """Has the thread that leads look whether it is the end."""
        try:
            os.write(self._wake_write, b"\0")
        except OSError:
            pass

    def _disown(self):
        """In a child that the application forks: it serves nobody."""
        self.forked = True
        for connection in self._connections.values():
            connection.close()
        self._poller.close()
        self._listener.close()


_ORPHAN_SECONDS = 30.0

# What the gateway says before it closes its pipe by itself.
_LEAVE = b"leave"


# -------------------------------------------------------------- the application

class _LoadError(Exception):
    """Why there is no application; the message is for its author."""


def load(spec):
    """Finds the application that `module:expression` or `file.py:expression` names."""
    name, colon, expression = spec.partition(":")
    if not name or (colon and not expression):
        raise _LoadError(f"'{spec}' is not like module:callable")
    if name.endswith(".py") and (os.sep in name or os.path.isfile(name)):
        module = _import_file(name)
    else:
        module = _import_module(name)
    if not colon:
        for expression in ("application", "app"):
            if hasattr(module, expression):
                break
        else:
            raise _LoadError(f"'{name}' has neither 'application' nor 'app'{_offers(module)}")
    app = _evaluate(module, name, expression)
    if not callable(app):
        raise _LoadError(f"'{expression}' of '{name}' is {_describe(app)}, which cannot be called")
    _check_arguments(app, name, expression)
    return app


def _import_file(path):
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise _LoadError(f"There is no file '{path}'")
    directory, base = os.path.split(path)
    name = base[:-3]
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_module(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if (missing == name or name.startswith(missing + ".")) and _own(error.__traceback__) is None:
            where = os.getcwd()
            raise _LoadError(f"There is no module '{missing}' in {where} or elsewhere on sys.path") from None
        raise


def _evaluate(module, name, expression):
    try:
        node = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError):
        raise _LoadError(f"'{expression}' is neither a name nor a call") from None
    if not isinstance(node, ast.Call):
        return _attribute(module, name, node, expression)
    try:
        args = [ast.literal_eval(arg) for arg in node.args]
        keywords = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        if None in keywords:
            raise ValueError
    except ValueError:
        raise _LoadError(f"The arguments of '{expression}' must be literal values") from None
    factory = _attribute(module, name, node.func, expression)
    if not callable(factory):
        raise _LoadError(f"'{ast.unparse(node.func)}' of '{name}' is {_describe(factory)}, which cannot be called")
    return factory(*args, **keywords)


def _attribute(module, name, node, expression):
    steps = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _LoadError(f"'{expression}' is neither a name nor a call")
    steps.append(node.id)
    value = module
    for step in reversed(steps):
        try:
            value = getattr(value, step)
        except AttributeError:
            raise _LoadError(f"'{name}' has no '{expression}'{_offers(module)}") from None
    return value


def _offers(module):
    """Names what a module has that may be an application."""
    found = []
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, type) or not callable(value):
            continue
        # What has a name of its own is offered by the module that made it.
        if hasattr(value, "__name__") and getattr(value, "__module__", None) != module.__name__:
            continue
        found.append(name)
    return f"; it has {', '.join(found[:10])}" if found else ""


def _check_arguments(app, name, expression):
    """Tells what is callable, but not as an application is."""
    try:
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None, None)
        return
    except TypeError:
        pass
    shown = f"{name}:{expression}"
    try:
        signature.bind()
        hint = f": should it be '{shown}()'?"
    except TypeError:
        hint = ""
        try:
            signature.bind(None, None, None)
            hint = ": it seems to be an ASGI application"
        except TypeError:
            pass
    raise _LoadError(f"'{shown}' cannot be called with (environ, start_response){hint}")


# ------------------------------------------------------------------- tracebacks

def _own(trace):
    """A traceback from where it leaves this file and the machinery of import."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file != __file__ and "importlib" not in file:
            return trace
        trace = trace.tb_next
    return None


def _traceback_of(error):
    return "".join(_format(error, _own(error.__traceback__)))


def _summary(error):
    """The line that tells type and message; a SyntaxError has others before it,
    and a message may have more lines."""
    lines = "".join(traceback.format_exception_only(type(error), error)).splitlines()
    return next((line for line in lines if line[:1].strip()), "")


def _format(error, trace):
    return traceback.format_exception(type(error), error, trace)


# ------------------------------------------------------------------ the program

def _options():
    parser = argparse.ArgumentParser(description="Serves a WSGI application over FastCGI.")
    parser.add_argument("--app", required=True, metavar="MODULE:CALLABLE")
    parser.add_argument("--socket", metavar="PATH", help="the socket to make; without it: descriptor 0")
    parser.add_argument("--threads", type=int, default=4, metavar="N")
    parser.add_argument("--pythonpath", action="append", default=[], metavar="PATH")
    parser.add_argument("--stacks", metavar="PATH", help="where SIGUSR1 writes stacks to")
    parser.add_argument("--private", metavar="DIRECTORY", help="what a gateway that is killed leaves behind")
    parser.add_argument("--multiprocess", action="store_true")
    options = parser.parse_args()
    if options.threads < 1:
        parser.error("--threads must be at least 1")
    return options


class _Gateway:
    """The pipes to and from Headgate; without it, standard error."""

    def __init__(self, attached, private):
        self.input = None
        # Whether this is a child that the application has forked.
        self.forked = False
        self._output = None
        self._private = private
        # Whether the gateway has said that it would go, and whether it has gone.
        self._dismissed = False
        self._gone = False
        if not attached:
            return
        self._parent = os.getppid()
        shown = 3 if _may_print_to(3) else 2
        # What a runtime has told of these descriptors is for nobody else.
        os.environ.pop("DENO_EXTRA_STDIO_FDS", None)
        # Neither a program that the application starts nor a print gets at them.
        self.input = os.dup(0)
        self._output = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(shown, 1)
        if shown == 3:
            os.close(3)
        sys.stdout.reconfigure(line_buffering=True)
        os.register_at_fork(after_in_child=self._disown)

    def ready(self):
        version = ".".join(map(str, sys.version_info[:3]))
        self._tell({"type": "ready", "python": version, "pid": os.getpid()})

    def failed(self, message, trace):
        if self._output is None:
            _say(trace or f"{message}\n")
        self._tell({"type": "failed", "message": message, "traceback": trace})

    def hear_end(self):
        """Reads what the gateway says; whether it has said all."""
        said = os.read(self.input, 4096)
        if _LEAVE in said:
            self._dismissed = True
        if not said:
            self._gone = True
        return self._gone

    def outlive(self):
        """Ends the process, some time after the gateway that cannot end it any
        more: a request may run for ever, or a thread of the application's."""
        while os.getppid() == self._parent:
            time.sleep(1.0)
        time.sleep(_ORPHAN_SECONDS)
        self._gone, self._dismissed = True, False
        self.clear_away()
        os._exit(1)

    def clear_away(self):
        """Removes what a gateway leaves behind that was killed."""
        if self._private is not None and self._gone and not self._dismissed:
            shutil.rmtree(self._private, ignore_errors=True)

    def _disown(self):
        """A fork of the application's must not keep the gateway waiting for us."""
        self.forked = True
        os.close(self.input)
        os.close(self._output)
        self._output = None

    def _tell(self, message):
        if self._output is None:
            return
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._output, data):]


def _may_print_to(descriptor):
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return mode != os.O_RDONLY and not _close_listener(descriptor)


def _close_listener(descriptor):
    """Some runtimes leave the gateway's own listening sockets open in their
    children: nobody but us could then free its port."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        probe = socket.socket(fileno=os.dup(descriptor))
        with probe:
            listens = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        return False
    if listens:
        os.close(descriptor)
    return bool(listens)


def _listen(options):
    if options.socket is None:
        return socket.socket(fileno=os.dup(0))
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(options.socket)
    finally:
        os.umask(mask)
    return listener


def _catch_signals(stop):
    def do_nothing(_number, _frame):
        pass

    def do_stop(_number, _frame):
        stop()

    # Handlers, because what is ignored stays so in programs that are started.
    handlers = {
        signal.SIGTERM: do_stop,
        signal.SIGHUP: do_nothing,
        signal.SIGINT: do_nothing,
    }
    for number, handler in handlers.items():
        signal.signal(number, handler)

    def let_go():
        """In a child that the application forks, at its import even: a signal to
        it is not for us."""
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)

    os.register_at_fork(after_in_child=let_go)


class _Vigil:
    """Ends the process when it is told to end while an application is loaded,
    which may take for ever."""

    def __init__(self, gateway, stop_read):
        self._gateway = gateway
        self._stop_read = stop_read

    def __enter__(self):
        self._over_read, self._over_write = os.pipe()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def __exit__(self, *_):
        if self._gateway.forked:
            return
        # To close it would not do: a child of the application's may hold it open.
        os.write(self._over_write, b"\0")
        self._thread.join()
        os.close(self._over_write)
        os.close(self._over_read)

    def _keep(self):
        if _wait_for_end(self._gateway, self._stop_read, self._over_read):
            self._gateway.clear_away()
            os._exit(1)


def main():
    options = _options()
    attached = options.socket is not None
    gateway = _Gateway(attached, options.private)
    stop_read, stop_write = os.pipe()
    os.set_blocking(stop_write, False)

    def stop():
        try:
            os.write(stop_write, b"\0")
        except OSError:
            pass

    _catch_signals(stop)
    faulthandler.enable(sys.stderr)
    if options.stacks is not None:
        stacks = open(options.stacks, "a")
        faulthandler.register(signal.SIGUSR1, file=stacks, all_threads=True)
        # Before that the signal ends the process: a file with text in it may be asked.
        stacks.write(f"Stacks of {os.getpid()}\n")
        stacks.flush()
    if attached:
        for descriptor in range(4, 64):
            _close_listener(descriptor)
    try:
        listener = _listen(options)
        sys.argv[1:] = []
        own = os.path.dirname(os.path.abspath(__file__))
        if sys.path and os.path.abspath(sys.path[0] or ".") == own:
            del sys.path[0]
        sys.path[:0] = [*(os.path.abspath(path) for path in options.pythonpath), os.getcwd()]
        with _Vigil(gateway, stop_read):
            app = load(options.app)
    except _LoadError as error:
        gateway.failed(str(error), "")
        return 3
    except BaseException as error:
        if gateway.forked:
            # A child that leaves as it likes.
            raise
        gateway.failed(_summary(error), _traceback_of(error))
        return 3
    server = _Server(listener, app, options.threads, options.multiprocess, not attached)
    # What was loaded stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    if attached:
        listener.listen(128)
    server.start()
    gateway.ready()
    _wait_for_end(gateway, stop_read)
    if attached:
        threading.Thread(target=gateway.outlive, daemon=True).start()
    server.stop()
    server.join()
    gateway.clear_away()
    return 0


def _wait_for_end(gateway, stop_read, over=None):
    """Waits until the gateway or a signal wants it to end; False when something
    comes from `over` before."""
    waiting = select.poll()
    for descriptor in (gateway.input, stop_read, over):
        if descriptor is not None:
            waiting.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in waiting.poll():
            if descriptor == over:
                return False
            if descriptor == stop_read or gateway.hear_end():
                return True


if __name__ == "__main__":
    sys.exit(main())
