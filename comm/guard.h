/*
 * guard.h - the small parent that a launched rank leaves behind.
 *
 * Launchers answer the death of a process in their own way: mpirun kills the job within a second
 * and exits 137, srun waits, and nobody says which rank it was. So a rank forks before it joins the
 * job: the child works, the parent only waits for it. When the worker ends in good order the guard
 * passes its exit code on. When it dies, the guard stays a little while, so that the launcher sees
 * nothing yet: the other ranks notice, say which rank was lost where, and leave with exit code 6,
 * which the launcher then reports. If nobody does, the guard says it and exits with 6 itself.
 *
 * Signals: TERM, INT and HUP of the launcher reach the worker as well (mpirun signals the process
 * group, Slurm every process of the step), so the guard does not pass them on. mpirun passes TERM
 * and INT to nobody in time for a drain, but does pass on USR1 and USR2: the guard hands them to
 * the worker as TERM and INT.
 */
#ifndef DGM_COMM_GUARD_H
#define DGM_COMM_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * dgm_guard_start - forks; returns in the child only, true if there is a guard now. False, and no
 * fork: when DGM_GUARD=0, in a process that has threads already, or when fork fails. The child dies
 * with its guard.
 */
bool dgm_guard_start(void);

/* dgm_guard_pid - of this process's guard; 0: none. TERM tells a guard not to wait once its worker
 * is dead. */
pid_t dgm_guard_pid(void);

/* dgm_guard_at - where the worker is, for the guard's message. Cheap. `stage`: any string. */
void dgm_guard_at(const char *stage, int layer);

/* dgm_guard_mates - how many other ranks there are on this host, which see it when this one dies. */
void dgm_guard_mates(int n);

/* dgm_guard_hold - the open file `fd` stays open until the guard ends, and a guard that is told that its worker is dead
 * stays for a while, so that the others leave first. False: there is no guard, or no way to it. */
bool dgm_guard_hold(int fd);

/* dgm_guard_say_lost - the sentence about this rank: "rank 2 (host b) was lost in decode, layer 3: HOW; ...". */
void dgm_guard_say_lost(const char *how);

/* dgm_guard_leave - from now on the end of this process, whatever its exit code, is in good order.
 */
void dgm_guard_leave(void);

#endif
