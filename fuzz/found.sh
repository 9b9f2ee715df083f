#!/usr/bin/env bash
# Writes found/<target>: of all that the fuzzer has kept in corpus/, the least that goes every way it goes, short
# inputs only, a line of base64 each. To be run in fuzz/, with the directory of the targets' programs.
set -euo pipefail
programs=$1
for program in fuzz_targets/*.rs; do
  target=$(basename "$program" .rs)
  least=$(mktemp -d)
  "$programs/$target" -set_cover_merge=1 -max_len=400 "$least" "corpus/$target" >/dev/null 2>&1
  # By their names, which are hashes: the same choice each time.
  (cd "$least" && for input in $(ls | sort | head -n 40); do base64 -w0 "$input"; echo; done) >"found/$target"
  rm -r "$least"
done
