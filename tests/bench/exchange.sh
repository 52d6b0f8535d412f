#!/usr/bin/env bash
# The exchange against two MPI_Alltoallv of the same bytes: dragoman bench exchange on 2 and 4 ranks.
# usage: exchange.sh [RANKS...]      aims: ratio at most 1.2, empty (0 bytes) at most 1.5; some 5 s for 2 ranks
# Reads best on a machine that does nothing else; more ranks than CPUs measure the scheduler, too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case $* in *[!0-9\ ]*) sed -n '3s/^# //p' "$0" >&2; exit 2 ;; esac
[ $# -gt 0 ] || set -- 2 4
for ranks in "$@"; do
    launch/dragoman-mpirun -n "$ranks" bench exchange
done
