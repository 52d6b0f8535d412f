#!/usr/bin/env bash
# A private Slurm on this machine (munged, slurmctld, two slurmd; no systemd, own ports and folders), and jobs on it:
# srun with and without PMIx, a lost rank, a signal, dragoman-mpirun inside an allocation.
# usage: slurm.sh PATH/TO/soak|dragoman
set -u
# shellcheck source=tests/launch/job.sh
source "$(dirname "${BASH_SOURCE[0]}")/job.sh"

skip() {
    echo "SKIP slurm: $1"
    rm -rf "$dir"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "wants root"
for tool in munged slurmctld slurmd srun scancel salloc mpirun ss; do
    command -v $tool >/dev/null || skip "$tool is not installed"
done

mountpoint -q /sys/fs/cgroup || skip "slurmd wants /sys/fs/cgroup to be mounted"
getent hosts "$(hostname -s)" >/dev/null || skip "the name of this host does not resolve"
lab=$(mktemp -d /tmp/dgm-slurm.XXXX) # short: the path of munge's socket is limited
chmod 755 "$lab"
export SLURM_CONF=$lab/slurm.conf
# Ports that nobody has, below those that the system gives to whoever asks for any.
port=$((20000 + RANDOM % 9000))
while [ -n "$(ss -Htan "sport >= :$port and sport <= :$((port + 200))")" ]; do port=$((20000 + RANDOM % 9000)); done
name=$(hostname -s)
# Open MPI names what its ranks share in memory after the job: another private Slurm beside this one has another job 1.
job_id=$((1000 * RANDOM + RANDOM % 1000 + 1))

# shellcheck disable=SC2317 # called by the trap
down() {
    local f pids=()
    scancel --full --signal=KILL --state=RUNNING 2>/dev/null
    kill_job
    for f in "$lab"/run/slurmd.*.pid "$lab/run/slurmctld.pid" "$lab/run/munged.pid"; do
        [ -f "$f" ] && pids+=("$(cat "$f")")
    done
    [ ${#pids[@]} -gt 0 ] && kill "${pids[@]}" 2>/dev/null
    for _ in $(seq 50); do
        kill -0 "${pids[@]}" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "${pids[@]}" 2>/dev/null
    rm -rf "$lab" "$dir"
}

up() {
    local node
    mkdir -p "$lab"/{state,log,run} && chmod 755 "$lab/run"
    dd if=/dev/urandom of="$lab/key" bs=128 count=1 status=none && chmod 600 "$lab/key"
    munged --force --socket="$lab/run/munge" --key-file="$lab/key" --pid-file="$lab/run/munged.pid" \
        --log-file="$lab/log/munged" --seed-file="$lab/run/seed" --num-threads=2 || return 1
    cat >"$SLURM_CONF" <<EOF
ClusterName=dgm
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$lab/run/munge
CredType=cred/munge
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool-%n
SlurmctldPidFile=$lab/run/slurmctld.pid
SlurmdPidFile=$lab/run/slurmd.%n.pid
SlurmctldLogFile=$lab/log/slurmctld
SlurmdLogFile=$lab/log/slurmd.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny
ReturnToService=2
FirstJobId=$job_id
SrunPortRange=$((port + 100))-$((port + 200))
KillWait=5
MessageTimeout=100
TCPTimeout=100
UnkillableStepTimeout=600
SchedulerParameters=sched_min_interval=0
PropagateResourceLimits=NONE
NodeName=n1 NodeHostname=$name NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4 RealMemory=1000
NodeName=n2 NodeHostname=$name NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4 RealMemory=1000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
    slurmctld -f "$SLURM_CONF" || return 1
    for node in n1 n2; do # a folder each: PMIx keeps files of its own for every slurmd
        mkdir -p "$lab/$node/tmp" "$lab/spool-$node"
        ln -s "$SLURM_CONF" "$lab/$node/slurm.conf"
        echo "PMIxCliTmpDirBase=$lab/$node/tmp" >"$lab/$node/mpi.conf"
        slurmd -f "$lab/$node/slurm.conf" -N $node || return 1
    done
    await nodes_idle
}
# shellcheck disable=SC2317 # called by await
nodes_idle() { [ "$(sinfo -h -t idle -o %D 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')" = 2 ]; }

trap down EXIT
up >"$dir/up" 2>&1 || {
    cat "$dir/up" "$lab"/log/*
    echo "FAILED: the private Slurm did not come up"
    exit 1
}
srun --mpi=list 2>&1 | grep -q pmix || {
    echo "SKIP slurm: Slurm has no pmix plug-in"
    exit 77
}

one=(srun -N1 -n4 --mpi=pmix "$1")
begin "${one[@]}" "${finite[@]}"
expect_finished "srun, 4 ranks on a node"

# Both nodes are this machine, and shared memory segments of two nodes would clash: TCP.
begin env OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo \
    srun -N2 -n4 --mpi=pmix "$1" "${finite[@]}"
expect_finished "srun, 2 nodes x 2 ranks"

begin salloc -Q -N1 -n4 "$here/launch/dragoman-mpirun" -n 4 -- "${finite[@]}"
expect_finished "dragoman-mpirun in an allocation"

begin srun -N1 -n4 --mpi=none "$1" "${finite[@]}"
expect_end "srun without PMIx" 2
grep -q 'would be 4 copies.*--mpi=pmix' "$dir/err" || say_bad "srun without PMIx: want the way out named"

start 4 "${one[@]}" "${endless[@]}"
kill -KILL "${workers[2]}"
expect_lost "srun: rank 2 killed" 6 2 "$killed"

# Slurm kills a step 0.3 s after it has heard of a dead process: it is to hear last, however long the others take.
start 4 "${one[@]}" "${endless[@]}"
kill -STOP "${workers[0]}" "${workers[1]}" "${workers[3]}"
kill -KILL "${workers[2]}"
sleep 2
kill -CONT "${workers[0]}" "${workers[1]}" "${workers[3]}"
expect_lost "srun: rank 2 killed while the others sleep" 6 2 "$killed"

soon start 4 "${one[@]}" "${endless[@]}"
kill -STOP "${workers[1]}"
expect_late "srun: rank 1 stopped" 1 ", its process is stopped"

start 4 "${one[@]}" "${endless[@]}"
scancel --signal=TERM "$(squeue -h -s -o %i | grep -v extern | tail -n 1)"
expect_end "srun: scancel --signal=TERM" 143

echo "slurm: $checks checks"
exit $bad
