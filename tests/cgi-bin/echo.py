#!/usr/bin/env python3
"""Sends back what it was sent, and tells how long that was."""
import os
import sys

wanted = int(os.environ.get("CONTENT_LENGTH") or 0)
content = sys.stdin.buffer.read()  # to the end, which must come by itself
out = sys.stdout.buffer
out.write(b"Content-Type: application/octet-stream\r\n")
out.write(b"X-Told: %d\r\n" % wanted)
out.write(b"Content-Length: %d\r\n\r\n" % len(content))
out.write(content)
