#!/usr/bin/env bash
# Installs the Debian packages that building, running and testing dragoman need, asking nothing.
# usage: launch/setup.sh [build|test|bench]     what for; each includes the one before (default: build)
set -euo pipefail

build=(build-essential cmake ninja-build pkg-config
       libopenmpi-dev openmpi-bin openssh-client
       libsentencepiece-dev libicu-dev libjansson-dev libxxhash-dev libprotobuf-c-dev protobuf-c-compiler libuv1-dev libmicrohttpd-dev libssl-dev)
# Tests: unit tests, other host names and namespaces, a private Slurm, linters, fuzzers, AVX-512 emulation, a browser for
# the pages of `dragoman atlas` (350 MB, half a minute), Go, Node and Perl for the worked clients (450 MB, 85 of them to load: some 20 s).
test=(libcmocka-dev jq curl openssl iproute2 hostname procps util-linux gzip
      munge slurmctld slurmd slurm-client slurm-wlm-basic-plugins
      clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev shellcheck libsimde-dev chromium
      python3 python3-protobuf protobuf-compiler
      nodejs golang-go golang-google-protobuf-dev protoc-gen-go perl libio-socket-ssl-perl)
# Benchmarks: tables, other libraries.
bench=(bsdextrautils libopenblas-dev libdnnl-dev python3 python3-venv)

what=${1:-build}
case $what in
build) want=("${build[@]}") ;;
test) want=("${build[@]}" "${test[@]}") ;;
bench) want=("${build[@]}" "${test[@]}" "${bench[@]}") ;;
*)
    echo "setup.sh: want build, test or bench, found '$what'" >&2
    exit 2
    ;;
esac

missing=()
for p in "${want[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$p" 2>/dev/null)" = "ii " ] || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: missing packages: ${missing[*]}; install them as root (there is no sudo here)" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "setup.sh: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
