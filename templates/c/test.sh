#!/bin/sh
# Builds the program for this machine, and holds its answers against what is expected.
set -eu
cd "$(dirname "$0")"
mkdir -p build
${CC:-cc} -std=c11 -Wall -Wextra -o build/test src/main.c src/json.c

expect() {
  output=$(printf %s "$1" | build/test)
  [ "$output" = "$2" ] || { echo "$1 gave $output, not $2" >&2; exit 1; }
}

expect '{"text": "one two"}' '{"words":2}'
expect '{"a": {"text": "x"}, "text": "one\ntwo \"three\""}' '{"words":3}'
expect '{"text": ""}' '{"words":0}'
if printf '{}' | build/test 2>/dev/null; then echo "{} was taken" >&2; exit 1; fi
echo ok
