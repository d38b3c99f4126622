#!/usr/bin/env python3
"""Sends back what it was sent."""
import os
import sys

length = int(os.environ.get("CONTENT_LENGTH") or 0)
content = sys.stdin.buffer.read(length)
print("Content-Type: " + os.environ.get("CONTENT_TYPE", "text/plain"))
print("Content-Length:", len(content), end="\n\n", flush=True)
sys.stdout.buffer.write(content)
