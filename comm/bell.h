/*
 * bell.h - wakes a rank of this host that sleeps between polls.
 *
 * The bell is SIGURG, which every thread of a rank blocks: so it waits until the engine thread
 * sleeps for it, and a ring that comes before the sleep is not lost. Nothing else sends it here
 * (urgent data of a socket that asked for it), and who has not blocked it does not notice: it is
 * ignored unless somebody handles it.
 */
#ifndef DGM_COMM_BELL_H
#define DGM_COMM_BELL_H

#include "comm/alive.h"

/* dgm_bell_hang - this thread, and those that it starts from now on, leave rings to
 * dgm_bell_sleep. */
void dgm_bell_hang(void);

/* dgm_bell_ring - one of `p`, which is watched; a system call. Several before its sleep are one. */
void dgm_bell_ring(const dgm_proc *p);

/* dgm_bell_sleep - for at most ns (below a second); true when a ring ended it. Any other signal ends it too. */
bool dgm_bell_sleep(int64_t ns);

#endif
