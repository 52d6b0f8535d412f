/*
 * end.c - leaving when the job cannot go on.
 *
 * The one who knows tells all others (DGM_NOTICE_ABORT), so that every rank leaves at once with the
 * same culprit and exit code. One rank prints: the lowest that is there. Nobody knows for sure who
 * is there, so each rank gives those below it time to say that they printed (DGM_NOTICE_SAID), and
 * prints when they do not.
 */
#include "base/clock.h"
#include "base/log.h"
#include "comm/guard.h"
#include "comm/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS ((int64_t)1000000)
enum { TURN_MS = 300, LISTEN_MS = 5, FLUSH_MS = 200, PAUSE_US = 500 };

static void pause_briefly(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_US * 1000}, NULL);
}

/* Ranks below this one that may still print. */
static int turn(const dgm_comm *c)
{
    const bool lost = c->verdict.code == DGM_EPEER || c->verdict.code == DGM_EDEADLINE;
    int n = 0;
    for (int r = 0; r < c->rank; r++)
        n += !(lost && r == c->verdict.culprit) &&
             !(c->peers[r].here && dgm_proc_gone(&c->peers[r].proc));
    return n;
}

static void tell(dgm_comm *c)
{
    dgm_notice n = {.kind = DGM_NOTICE_ABORT, .rank = c->verdict.culprit, .code = c->verdict.code};
    (void)snprintf(n.text, sizeof n.text, "%s", c->verdict.text);
    dgm_notice_tell(c, &n, -1);
}

static void print_once(dgm_comm *c)
{
    /* Who is gone by now may have printed before: its word is on the way. */
    const int64_t until = dgm_now_ns() + (turn(c) * TURN_MS + LISTEN_MS) * MS;
    while (!c->said && dgm_now_ns() < until) {
        dgm_wait_notices(c);
        pause_briefly();
    }
    if (c->said)
        return;
    dgm_log_failure(c->verdict.text);
    const dgm_notice said = {.kind = DGM_NOTICE_SAID};
    dgm_notice_tell(c, &said, -1);
}

void dgm_end_mark(const char *name, int code)
{
    char path[512], text[16];
    const char *dir = getenv("DGM_RUN_DIR");
    if (dir == NULL || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return;
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* the launcher is on another host */
    const int n = snprintf(text, sizeof text, "%d\n", code);
    if (write(fd, text, (size_t)n) != n)
        dgm_log(DGM_LOG_DEBUG, "comm", "%s: cannot write", path);
    (void)close(fd);
}

void dgm_comm_tell_launcher(const char *name, int number)
{
    dgm_end_mark(name, number);
}

_Noreturn void dgm_comm_quit(int code)
{
    dgm_guard_leave();
    _exit(code);
}

_Noreturn void dgm_comm_end(dgm_comm *c, int status)
{
    if (c->verdict.code == DGM_OK) {
        char text[DGM_VERDICT_LEN];
        (void)snprintf(text, sizeof text, "%s", dgm_error_text());
        if (c->size > 1)
            (void)dgm_wait_verdict(c, status, c->rank, "rank %d (host %s): %s", c->rank,
                                   c->peers[c->rank].host, text);
        else
            (void)dgm_wait_verdict(c, status, c->rank, "%s", text);
    }
    tell(c);
    print_once(c);
    /* A stopped process would keep the launcher waiting, and so would a guard that waits for
     * somebody to notice. After the words, which tell in what state the process is. */
    const dgm_peer *culprit = &c->peers[c->verdict.culprit];
    if (dgm_exit_code(c->verdict.code) == dgm_exit_code(DGM_EPEER) && culprit->here) {
        dgm_proc_signal(&culprit->proc, SIGKILL);
        dgm_proc_signal(&culprit->guard, SIGTERM);
    }
    const int64_t until = dgm_now_ns() + FLUSH_MS * MS;
    while (dgm_post_pending(c) != DGM_ROUND_DONE && dgm_now_ns() < until)
        pause_briefly();
    if (dgm_exit_code(c->verdict.code) == dgm_exit_code(DGM_EPEER))
        dgm_end_mark("lost", dgm_exit_code(DGM_EPEER));
    dgm_guard_leave();
    _exit(dgm_exit_code(c->verdict.code));
}
