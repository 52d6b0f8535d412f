#define _GNU_SOURCE
#include "comm/bell.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { BELL = SIGURG };

static void set_of_bell(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, BELL);
}

void dgm_bell_hang(void)
{
    sigset_t set;
    set_of_bell(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void dgm_bell_ring(const dgm_proc *p)
{
    dgm_proc_signal(p, BELL);
}

bool dgm_bell_sleep(int64_t ns)
{
    sigset_t set;
    set_of_bell(&set);
    return sigtimedwait(&set, NULL, &(struct timespec){.tv_nsec = (long)ns}) == BELL;
}
