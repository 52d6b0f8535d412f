#!/usr/bin/env bash
# libdragoman_client as others use it: installed, found by pkg-config and by CMake, linked into a program of their own.
# usage: client_library.sh DRAGOMAN_BINARY FAKE_SERVER_BINARY
set -u
# shellcheck source=tests/launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
build=$(cd "$(dirname "$1")" && pwd) fake=$2
if readelf -d "$build"/proto/libdragoman_client.so | grep -qE 'lib(a|t)san'; then
    echo "SKIP client_library: a sanitizer's library wants a program with the sanitizer"
    exit 77
fi
cmake --install "$build" --prefix "$dir/installed" >"$dir/out" 2>"$dir/err" || fail "cmake --install: exit code $?"
mv "$dir/installed" "$dir/moved"
library=$(dirname "$(find "$dir/moved" -name libdragoman_client.so)")
"$fake" "$dir/s.sock" >"$dir/counts" &
server=$!
await_from "$server" a_socket "$dir/s.sock"

# says WHO PROGRAM
says() {
    [ "$(LD_LIBRARY_PATH=$library "$2" "unix:$dir/s.sock" eng_Latn deu_Latn 'a line' 2>"$dir/err")" = 'deu_Latn:a line' ] || fail "the program that $1 built"
}

example=$here/tests/proto/example
flags=$(PKG_CONFIG_PATH=$library/pkgconfig pkg-config --cflags --libs dragoman_client) || fail "pkg-config: exit code $?"
# shellcheck disable=SC2086 # several words
cc -Wall -Wextra -Werror -std=c11 "$example/example.c" -o "$dir/by_pkg_config" $flags 2>"$dir/err" || fail "pkg-config's flags: $flags"
says pkg-config "$dir/by_pkg_config"
cat >"$dir/example.cc" <<'CC'
#include "proto/client.h"

#include <cstdio>
#include <cstring>

int main(int, char **argv)
{
    dgm_client_config config = {};
    dgm_wire_segment segment = {};
    const dgm_wire_answer *answer = nullptr;
    dgm_client *client = nullptr;
    config.address = argv[1];
    segment.src = argv[2];
    segment.tgt = argv[3];
    segment.text = argv[4];
    segment.text_len = std::strlen(argv[4]);
    if (dgm_client_create(&client, &config) != DGM_OK || dgm_client_call(client, &answer, &segment) != DGM_OK)
        return 1;
    std::puts(answer->n_hyps > 0 ? answer->hyps[0].text : answer->message);
    dgm_client_destroy(client);
}
CC
# shellcheck disable=SC2086
c++ -Wall -Wextra -Werror -std=c++11 "$dir/example.cc" -o "$dir/by_cxx" $flags 2>"$dir/err" || fail 'the headers in C++'
says 'C++' "$dir/by_cxx"
cmake -S "$example" -B "$dir/by_cmake" -DCMAKE_PREFIX_PATH="$dir/moved" >"$dir/out" 2>"$dir/err" || fail "find_package: exit code $?"
cmake --build "$dir/by_cmake" >"$dir/out" 2>&1 || fail "find_package, build: $(tail -n 3 "$dir/out")"
says cmake "$dir/by_cmake/example"
# ... and what needs no building: one line through the clients that are installed beside it
for program in "/usr/bin/python3 dragoman_client.py" "node dragoman_client.mjs" "perl dragoman_client.pl"; do
    command -v "${program%% *}" >/dev/null || continue
    [ "${program##* }" != dragoman_client.py ] || /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null || continue
    # shellcheck disable=SC2086 # program and its file
    got=$(cd "$dir/moved/share/dragoman/proto" && echo 'a line' | timeout 300 $program "unix:$dir/s.sock" eng_Latn deu_Latn 2>"$dir/err")
    [ "$got" = 'deu_Latn:a line' ] || fail "installed: $program: '$got'"
done
# what is visible is told of in a header, and what client.h tells of is visible
nm -D --defined-only "$library/libdragoman_client.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$dir/visible"
grep -rhoE '\bdgm_[a-z0-9_]+\(' "$dir/moved/include" | tr -d '(' | sort -u >"$dir/told"
{ comm -13 "$dir/told" "$dir/visible" && grep '^dgm_client_' "$dir/told" | comm -23 - "$dir/visible"; } >"$dir/err"
[ ! -s "$dir/err" ] || fail 'visible and in no header, or in client.h and not visible'
kill "$server" && wait "$server"
exit $bad
