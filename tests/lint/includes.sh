#!/usr/bin/env bash
# The include arrows of docs/architecture.md: launch -> runtime -> {comm, kernels, proto} -> base, and foreign
# headers at home only.
set -u
bad=0
say() {
    echo "$*"
    bad=1
}

# folder, what it may include of the project
while read -r folder allowed; do
    while IFS=: read -r file line text; do
        target=$(sed -E 's/.*#include "([a-z]+)\/.*/\1/' <<<"$text")
        case " $allowed " in *" $target "*) ;; *) say "$file:$line: $folder may not include $target/" ;; esac
    done < <(grep -rnE '^#include "[a-z]+/' "$folder" --include='*.c' --include='*.h' --include='*.cc' --include='*.cu')
done <<'ARROWS'
base base
kernels kernels base
comm comm base
proto proto base
runtime runtime comm kernels proto base
launch launch runtime comm kernels proto base
ARROWS

# header pattern, where it may stand
while read -r header home; do
    while IFS=: read -r file line _; do
        [[ $file =~ $home ]] || say "$file:$line: <$header> belongs in $home"
    done < <(grep -rnE "^#include <$header>" base kernels comm proto runtime launch)
done <<'HOMES'
mpi\.h ^comm/mpi[a-z_]*\.c$
nccl\.h ^comm/nccl\.c$
ucp/.* ^comm/ucx\.c$
cuda_runtime\.h ^(kernels/cuda/|comm/nccl\.c)
immintrin\.h ^kernels/(avx2|avx512|vnni)/
sentencepiece.* ^runtime/spm_shim\.cc$
unicode/.* ^runtime/split[a-z_]*\.c$
jansson\.h ^runtime/
microhttpd\.h ^runtime/((http|web)\.c|http_guests\.[ch])$
openssl/.* ^(runtime/server_(tls|tokens)|proto/client_tls)\.c$
uv\.h ^runtime/server[a-z_]*\.[ch]$
protobuf-c/.* ^proto/
HOMES

# Quoted includes are spelled from the root.
while IFS=: read -r file line text; do
    say "$file:$line: spell the include from the root: $text"
done < <(grep -rnE '^#include "[^/"]+"' base kernels comm proto runtime launch tests --include='*.c' --include='*.h')
exit $bad
