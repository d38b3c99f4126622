#!/bin/sh
# Tells its environment, its arguments and its directory.
printf 'Content-Type: text/plain\n\n'
env | LC_ALL=C sort
printf 'arguments: %s\n' "$#"
printf 'directory: %s\n' "$(pwd -P)"
