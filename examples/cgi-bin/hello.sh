#!/bin/sh
# The request is in the environment, its content on standard input.
printf 'Content-Type: text/plain\n\n'
printf 'Hello from a shell script at %s%s\n' "$SCRIPT_NAME" "$PATH_INFO"
