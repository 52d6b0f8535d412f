/*
 * end.c - leaving when the job cannot go on.
 *
 * The one who knows tells all others (DGM_NOTICE_ABORT), so that every rank leaves at once with the
 * same culprit and exit code. One rank prints: the lowest that is there. Nobody knows for sure who
 * is there, so each rank gives those below it time, and then takes the word (DGM_NOTICE_SPEAK). A
 * rank that was late, because it computed or had no CPU, may take it at the same moment: so nobody
 * prints before the other's notice could arrive, and of two the lower one does. Who printed says so
 * (DGM_NOTICE_SAID), and the others stay until then: the first to leave ends the job.
 */
#include "base/clock.h"
#include "base/log.h"
#include "comm/guard.h"
#include "comm/internal.h"
#include "comm/pmix.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS ((int64_t)1000000)
enum { TURN_MS = 300, CROSS_MS = 200, SPEAK_MS = 1000, FLUSH_MS = 200, PAUSE_US = 500 };

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

/* listen - for so long, and for what has arrived by then, even if this rank had no CPU meanwhile. */
static void listen(dgm_comm *c, int64_t ms, bool (*enough)(const dgm_comm *c))
{
    const int64_t until = dgm_now_ns() + ms * MS;
    for (;;) {
        const bool last = dgm_now_ns() >= until;
        dgm_wait_notices(c);
        if (last || enough(c))
            return;
        pause_briefly();
    }
}

static bool somebody_speaks(const dgm_comm *c)
{
    return c->said || c->speaker >= 0;
}

static bool another_speaks(const dgm_comm *c)
{
    return c->said || c->speaker != c->rank;
}

static bool it_was_said(const dgm_comm *c)
{
    return c->said;
}

static void tell_all(dgm_comm *c, enum dgm_notice_kind kind)
{
    const dgm_notice n = {.kind = kind};
    dgm_notice_tell(c, &n, -1);
}

/* take_the_word - and print, unless a lower rank takes it as well. */
static void take_the_word(dgm_comm *c)
{
    c->speaker = c->rank;
    tell_all(c, DGM_NOTICE_SPEAK);
    listen(c, c->size > 1 ? CROSS_MS : 0, another_speaks);
    if (another_speaks(c))
        return;
    dgm_log_failure(c->verdict.text);
    c->said = true;
    tell_all(c, DGM_NOTICE_SAID);
}

void dgm_end_print(dgm_comm *c)
{
    listen(c, (int64_t)turn(c) * TURN_MS, somebody_speaks);
    if (!somebody_speaks(c))
        take_the_word(c);
    while (!c->said) {
        listen(c, SPEAK_MS, it_was_said);
        if (!c->said) /* who had it was lost as well */
            take_the_word(c);
    }
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
    dgm_end_print(c);
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
    dgm_pmix_farewell(dgm_exit_code(c->verdict.code));
    _exit(dgm_exit_code(c->verdict.code));
}
