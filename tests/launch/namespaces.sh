#!/usr/bin/env bash
# A job over two hosts: network namespaces with a bridge between them, TCP across, shared memory within. Then
# ranks and a whole host are lost.
# usage: namespaces.sh PATH/TO/soak|dragoman
set -u
# shellcheck source=tests/launch/job.sh
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"

skip() {
    echo "SKIP namespaces: $1"
    rm -rf "$dir"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "wants root"
for tool in mpirun ip unshare hostname; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done

# Names and network of this run's own, that nobody else has: taking namespaces down is not immediate.
id=$$ bridge=dgmbr$$ net=
while [ -z "$net" ] || [ -n "$(ip -o -4 addr show to "$net.0/24")$(ip route show root "$net.0/24")" ]; do
    net=10.$((100 + RANDOM % 100)).$((RANDOM % 250))
done
hosts=("dgm$id-a" "dgm$id-b")

# shellcheck disable=SC2317 # called by the trap
down() {
    local h
    kill_job
    for h in "${hosts[@]}"; do
        ip netns pids "$h" 2>/dev/null | xargs -r kill -KILL
        ip netns del "$h" 2>/dev/null
    done
    ip link del "dgmv${id}0" 2>/dev/null # a namespace may live on for a while, its cable need not
    ip link del "dgmv${id}1" 2>/dev/null
    ip link del "$bridge" 2>/dev/null
    rm -rf "$dir"
}

up() {
    local i h
    ip link add "$bridge" type bridge && ip addr add "$net.254/24" dev "$bridge" &&
        ip link set "$bridge" up || return 1
    for i in 0 1; do
        h=${hosts[i]}
        ip netns add "$h" && ip link add "dgmv$id$i" type veth peer name eth0 netns "$h" &&
            ip link set "dgmv$id$i" master "$bridge" up &&
            ip -n "$h" addr add "$net.$((i + 1))/24" dev eth0 &&
            ip -n "$h" link set lo up && ip -n "$h" link set eth0 up || return 1
    done
}

# What Open MPI calls instead of ssh: agent [options] HOST WORDS...
cat >"$dir/agent" <<'X'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "$host" unshare --uts sh -c 'hostname "$0"; [ ! -d "HIDDEN-$0" ] || mount -t tmpfs none "HIDDEN-$0"
    exec sh -c "$*"' "$host" "$@"
X
# A folder of this name with a host's name behind it is empty there.
sed -i "s|HIDDEN|$dir/model|g" "$dir/agent"
chmod +x "$dir/agent"

trap down EXIT
up >"$dir/up" 2>&1 || skip "no namespaces here: $(head -n 1 "$dir/up")"

export OMPI_MCA_plm_rsh_agent=$dir/agent OMPI_MCA_plm_rsh_no_tree_spawn=1 \
    OMPI_MCA_oob_tcp_if_include=$net.0/24 OMPI_MCA_btl_tcp_if_include=$net.0/24
# The rsh agent hands on Open MPI's own variables only.
exported=(-x DGM_TEST_MARK -x DGM_COMM_STALL_MS -x DGM_COMM_DEADLINE_MS)
[ -z "${DGM_ISA:-}" ] || exported+=(-x DGM_ISA)
on() { # on HOSTS RANKS: sets $line, to be followed by the job
    line=("$here/launch/dragoman-mpirun" --host "$1" -n "$2" "${exported[@]}" --)
}
both="${hosts[0]}:2,${hosts[1]}:2"

on "$both" 4
begin "${line[@]}" "${finite[@]}"
expect_finished "2 hosts x 2 ranks"

if [ "$program" = dragoman ]; then
    model=$dir/model-${hosts[1]}
    cp -r "$here/models/multi30k-token" "$model"
    begin "${line[@]}" "${finite[@]}" -m "$model"
    expect_end "a model that is not on one host" 3
    grep -Eq "^dragoman: rank [23] \(${hosts[1]}\): $model/config.json: cannot open: No such file" "$dir/err" ||
        say_bad "a model that is not on one host: want its rank, host and path named"
    rm -rf "$model"
fi

start 4 "${line[@]}" "${endless[@]}"
kill -KILL "${workers[3]}"
expect_lost "rank 3 on the other host killed" 6 3 "$killed"
grep -q "rank 3 (host ${hosts[1]})" "$dir/err" || say_bad "want host ${hosts[1]} named"

soon start 4 "${line[@]}" "${endless[@]}"
kill -STOP "${workers[2]}"
expect_late "rank 2 on the other host stopped" 2 ""

# Nobody on its host can see that its process ended: its guard says so.
on "${hosts[0]}:1,${hosts[1]}:1" 2
start 2 "${line[@]}" "${endless[@]}"
kill -KILL "${workers[1]}"
expect_lost "a rank alone on its host killed" 6 1 "its process was killed by signal 9"

# mpirun itself may never notice that a host is gone.
on "$both" 4
soon start 4 "${line[@]}" "${endless[@]}"
ip link set "dgmv${id}1" down
checks=$((checks + 1))
await_end
lines=$(grep -c '^dragoman: ' "$dir/err")
if [ "$code" = 6 ] && [ "$lines" = 1 ] &&
    grep -Eq "^dragoman: rank [23] \(host ${hosts[1]}\) was lost .*no sign of life.*network to it does not answer" "$dir/err"; then
    echo "ok: the link to a host cut"
else
    say_bad "the link to a host cut: want exit code 6 and one message about a rank on ${hosts[1]}, found code $code, $lines"
fi

echo "namespaces: $checks checks"
exit $bad
