#!/usr/bin/env bash
# Runs every target in turn, built with AddressSanitizer, for SECONDS of the clock each (default 600), and prints a
# line of the README's table for each: processor seconds, runs, edges reached, findings. To give way to others: nice ./every.sh.
# To be run in fuzz/. What is reached is kept in corpus/, and goes on from there; an input that fails is in artifacts/.
#
#   ./every.sh [SECONDS] [TARGET..]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for program in fuzz_targets/*.rs; do targets+=("$(basename "$program" .rs)"); done
fi

export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=address -Ccodegen-units=1 --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
built=${CARGO_TARGET_DIR:-target/asan}
machine=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts and macros are built without the sanitizer. Optimised a little: it is the runs
# a second that find things.
cargo build --quiet --bins --target-dir "$built" --target "$machine" \
  --config 'profile.dev.package."*".opt-level=1' --config profile.dev.opt-level=1

found=0
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  log=$(mktemp)
  ended=0
  # A machine that is busy with other things gives an input seconds that it does not use: hence the long timeout.
  # Leaks are looked for by the run's own bounds; the sanitizer's search stops at the engine's reserved space.
  TIMEFORMAT='%U %S'
  { time ASAN_OPTIONS=detect_leaks=0 \
    "$built/$machine/debug/$target" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix="artifacts/$target/" "corpus/$target" \
    $([ -d "seeds/$target" ] && echo "seeds/$target") >"$log" 2>&1; } 2>"$log.time" || ended=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  cpu=$(awk '{ printf "%.0f", $1 + $2 }' <(tail -n 1 "$log.time"))
  if [ "$ended" -eq 0 ]; then
    echo "| \`$target\` | $cpu | ${runs:-?} | ${edges:-?} | none |"
    rm "$log" "$log.time"
  else
    found=1
    echo "| \`$target\` | $cpu | ${runs:-?} | ${edges:-?} | ended with $ended: $log |"
  fi
done
exit $found
