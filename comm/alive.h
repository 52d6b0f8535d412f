/*
 * alive.h - is a process of this host still there?
 *
 * The message library never says that a peer died; for a peer on this host the kernel does. A pidfd
 * names the process itself, so a reused pid cannot fool it; on kernels without (before 5.3) the pid
 * and its start time are looked at.
 */
#ifndef DGM_COMM_ALIVE_H
#define DGM_COMM_ALIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct dgm_proc {
    pid_t pid;
    uint64_t start;  /* clock ticks since boot, field 22 of /proc/PID/stat */
    uint64_t pid_ns; /* inode of its pid namespace: pids mean nothing in another one */
    int fd;          /* pidfd, or -1 */
} dgm_proc;

/* dgm_proc_self - this process, for others to watch; dgm_proc_of - another one; pid 0 is nobody. */
dgm_proc dgm_proc_self(void);
dgm_proc dgm_proc_of(pid_t pid);

/* dgm_proc_watch - begins to watch *p. False when it cannot be seen from here. */
bool dgm_proc_watch(dgm_proc *p);
void dgm_proc_unwatch(dgm_proc *p);

/* dgm_proc_gone - the process has ended (a zombie counts as ended). */
bool dgm_proc_gone(const dgm_proc *p);

/* dgm_proc_state - "is stopped", "has ended", ...: the end of a sentence. Static string. */
const char *dgm_proc_state(const dgm_proc *p);

/* dgm_proc_signal - sends `sig`, if it is still that process. Watched or not. */
void dgm_proc_signal(const dgm_proc *p, int sig);

#endif
