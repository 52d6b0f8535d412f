#define _GNU_SOURCE
#include "comm/alive.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The state letter and start time of a process; false when there is none. */
static bool read_stat(pid_t pid, char *state, uint64_t *start)
{
    char path[64], line[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, line, sizeof line - 1);
    (void)close(fd);
    if (n <= 0)
        return false;
    line[n] = '\0';
    char *p = strrchr(line, ')'); /* the name before it may hold anything */
    if (p == NULL || p[1] != ' ' || p[2] == '\0')
        return false;
    *state = p[2];
    *start = 0;
    p += 2;
    for (int field = 3; field < 22 && p != NULL; field++)
        p = strchr(p + 1, ' ');
    if (p != NULL)
        *start = strtoull(p + 1, NULL, 10);
    return true;
}

static uint64_t pid_namespace(void)
{
    struct stat st;
    return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

dgm_proc dgm_proc_of(pid_t pid)
{
    dgm_proc p = {.pid = pid, .pid_ns = pid_namespace(), .fd = -1};
    char state;
    if (pid > 0)
        (void)read_stat(pid, &state, &p.start);
    return p;
}

dgm_proc dgm_proc_self(void)
{
    return dgm_proc_of(getpid());
}

bool dgm_proc_watch(dgm_proc *p)
{
    p->fd = -1;
    if (p->pid_ns != pid_namespace())
        return false;
    char state;
    uint64_t start;
    if (!read_stat(p->pid, &state, &start) || start != p->start)
        return false;
#ifdef SYS_pidfd_open
    p->fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
#endif
    return true;
}

void dgm_proc_unwatch(dgm_proc *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    p->fd = -1;
}

bool dgm_proc_gone(const dgm_proc *p)
{
    if (p->fd >= 0) {
        struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
        return poll(&pfd, 1, 0) == 1;
    }
    char state;
    uint64_t start;
    return !read_stat(p->pid, &state, &start) || start != p->start || state == 'Z' || state == 'X';
}

const char *dgm_proc_state(const dgm_proc *p)
{
    char state;
    uint64_t start;
    if (!read_stat(p->pid, &state, &start) || start != p->start)
        return "has ended";
    switch (state) {
    case 'T':
    case 't':
        return "is stopped";
    case 'D':
        return "waits for a device";
    case 'Z':
    case 'X':
        return "has ended";
    default:
        return "is there but does not answer";
    }
}

void dgm_proc_signal(const dgm_proc *p, int sig)
{
#ifdef SYS_pidfd_send_signal
    if (p->fd >= 0) { /* whatever became of it, it is the one that was meant */
        (void)syscall(SYS_pidfd_send_signal, p->fd, sig, NULL, 0);
        return;
    }
#endif
    if (p->pid <= 0 || p->pid_ns != pid_namespace() || dgm_proc_gone(p))
        return;
    (void)kill(p->pid, sig);
}
