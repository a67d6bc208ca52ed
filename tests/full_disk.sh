#!/usr/bin/env bash
# A disk that is really full: the server stops and says which file had no room, refuses to start while there is none,
# and goes on with all that it had recorded when there is. Needs root, to mount a small tmpfs; says so and passes without.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -s) != Linux || $(id -u) != 0 ]]; then
  echo "full_disk: skipped, it mounts a tmpfs and that takes root on Linux"
  exit 0
fi
cargo build --quiet -p arena
arena=${CARGO_TARGET_DIR:-target}/debug/arena
work=$(mktemp -d)
mkdir "$work/disk"
if ! mount -t tmpfs -o size=400k,mode=700 qnfsm-full-disk "$work/disk" 2>"$work/mount"; then
  echo "full_disk: skipped, no tmpfs can be mounted here: $(cat "$work/mount")"
  rm -r "$work"
  exit 0
fi
cleanup() {
  local pid
  for pid in $(jobs -pr); do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  umount "$work/disk"
  rm -r "$work"
}
trap cleanup EXIT

fail() {
  echo "full_disk: $1" >&2
  cat "$work"/*.err >&2
  exit 1
}

# Starts the server; $1 names its errors, $2 is where it listens. What it prints comes through descriptor 4.
mkfifo "$work/out"
exec 4<>"$work/out"
serve() {
  "$arena" serve --dir "$work/disk/node" --listen "$2" --seed 1 >"$work/out" 2>"$work/$1.err" 4>&- &
  server=$!
}

# Waits until the server says where it listens.
until_listening() {
  local line
  read -r -t 60 line <&4 && listen=${line##*listening on } && [[ $line == *"listening on"* ]]
}

# Waits until the server has ended, but not for ever; gives what it ended with.
until_ended() {
  timeout 120 tail --pid="$server" -f /dev/null || fail "the server does not stop: $1"
  wait "$server"
}

serve first 127.0.0.1:0
until_listening || fail "the server did not start"
mkfifo "$work/stdin"
"$arena" bots --dir "$work/bots" --connect "$listen" --bots 24 --seed 1 --until-stdin-ends \
  <"$work/stdin" >"$work/bots.out" 2>"$work/bots.err" 4>&- &
exec 3>"$work/stdin"

if until_ended "the disk is full"; then fail "the server ended well on a full disk"; fi
grep -q "$work/disk/node/journal/.*No space left on device" "$work/first.err" || fail "the server did not say what it lacks"
echo "full_disk: stopped with: $(tail -n 1 "$work/first.err")"

serve second "$listen"
if until_ended "the disk is still full"; then fail "the server ended well on a disk that is still full"; fi
grep -q "$work/disk/node.*No space left on device" "$work/second.err" || fail "the second start did not say what it lacks"

mount -o remount,size=64m "$work/disk"
serve third "$listen"
until_listening || fail "the server did not start when there was room again"
kill -TERM "$server"
until_ended "it was told to" || fail "the server did not stop in good order"
"$arena" replay --quiet "$work/disk/node" || fail "the journal does not replay"
exec 3>&-
echo "full_disk: passed"
