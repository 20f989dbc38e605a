#!/bin/sh
# check_symbols.sh ALLOW-LIST OBJECT...: links the objects with one another and fails if what is then undefined is not on the list,
# if globals have constructors, or if a function's frame exceeds 1024 bytes or has no bound (OBJECT.su of -fstack-usage).
set -eu
allowed=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -v -e '^#' -e '^$' "$allowed" >"$work/patterns"
ld -r -o "$work/all.o" "$@"
status=0
nm -u "$work/all.o" | awk '{print $2}' | sort -u >"$work/undefined"
if grep -v -x -E -f "$work/patterns" "$work/undefined" >"$work/forbidden"; then
  sed 's/^/not allowed: /' "$work/forbidden"
  status=1
fi
if readelf -S -W "$work/all.o" | grep -q -E '\.(init_array|ctors)'; then
  echo "not allowed: constructors of globals"
  status=1
fi
for object; do
  awk -F'\t' '$2 > 1024 || ($3 != "static" && $3 !~ /bounded/) {print "not allowed: frame of " $2 " bytes, " $1; bad = 1}
    END {exit bad}' "${object%.o}.su" || status=1
done
[ $status -eq 0 ] && echo "$(wc -l <"$work/undefined") symbols wanted from outside, all allowed"
exit $status
