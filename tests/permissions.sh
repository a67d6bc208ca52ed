#!/usr/bin/env bash
# Directories without permission, as another user than root: a node that may not write, and a reader that may not read,
# say which file it is about, and change nothing. Needs root, to become another user; says so and passes without.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $(uname -s) != Linux || $(id -u) != 0 ]]; then
  echo "permissions: skipped, it becomes another user and that takes root on Linux"
  exit 0
fi
if command -v setpriv >/dev/null; then
  as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
else
  as_nobody() { su nobody -s /bin/sh -c 'exec "$0" "$@"' "$@"; }
fi
cargo build --quiet -p hello
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
hello=$work/hello
cp "${CARGO_TARGET_DIR:-target}/debug/hello" "$hello"
chmod 755 "$hello"
as_nobody "$hello" replay "$work/nothing" >"$work/out" 2>&1 || true
if ! grep -qF "$work/nothing" "$work/out"; then
  echo "permissions: skipped, another user can't run programs here"
  exit 0
fi

# What a tree holds: names, modes, times and content.
tree() {
  (cd "$1" && find . -printf '%p %m %T@ %u\n' | sort && find . -type f -exec sha256sum {} + | sort)
}

# $1 says what is tried, $2 is what the error must name; the rest is the command.
refused() {
  local what=$1 names=$2 before after
  shift 2
  before=$(tree "$work/theirs")
  if as_nobody "$@" >"$work/out" 2>&1; then
    echo "permissions: $what was allowed" >&2
    exit 1
  fi
  if ! grep -qi 'permission denied' "$work/out" || ! grep -qF "$names" "$work/out"; then
    echo "permissions: $what: the error does not name $names and the lack of permission:" >&2
    cat "$work/out" >&2
    exit 1
  fi
  after=$(tree "$work/theirs")
  if [[ $before != "$after" ]]; then
    echo "permissions: $what changed something" >&2
    exit 1
  fi
  echo "permissions: $what: $(tail -n 1 "$work/out")"
}

mkdir "$work/theirs"
refused "a start in a directory that can't be written" "$work/theirs/node" "$hello" "$work/theirs/node"
"$hello" "$work/theirs/node" >/dev/null
refused "a start on a node of another user" "$work/theirs/node" "$hello" "$work/theirs/node"
refused "a replay of a node of another user" "$work/theirs/node" "$hello" replay "$work/theirs/node"
chmod 755 "$work/theirs/node" "$work/theirs/node/journal"
chmod 644 "$work/theirs/node/manifest" "$work/theirs/node/lock"
refused "a replay of a segment that can't be read" "$work/theirs/node/journal/00000001.qjl" \
  "$hello" replay "$work/theirs/node"
refused "a start where the lock can't be taken" "$work/theirs/node/lock" "$hello" "$work/theirs/node"
# To replay is to read: whoever may read may replay, and leaves no trace.
chmod 644 "$work"/theirs/node/journal/*
before=$(tree "$work/theirs")
as_nobody "$hello" replay "$work/theirs/node" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
[[ $before == "$(tree "$work/theirs")" ]] || { echo "permissions: a replay left a trace" >&2; exit 1; }
# So may whoever does anything else that reads, in a directory where nothing can be written.
chmod 755 "$work/theirs/node/snapshots"
chmod 644 "$work"/theirs/node/snapshots/*
chmod 555 "$work/theirs/node" "$work"/theirs/node/{journal,snapshots}
before=$(tree "$work/theirs")
for command in describe dump stat snapshot verify seq states cover trace diff "debug --command where" "repair --drop-tail --dry-run"; do
  # shellcheck disable=SC2086
  as_nobody "$hello" $command "$work/theirs/node" >"$work/out" 2>&1 || { echo "permissions: $command" >&2; cat "$work/out" >&2; exit 1; }
  [[ $before == "$(tree "$work/theirs")" ]] || { echo "permissions: $command left a trace" >&2; exit 1; }
done
echo "permissions: passed"
