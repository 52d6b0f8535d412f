/*
 * mpi.c - the backend of one process a rank, with memory of the host. The only file that knows
 * mpi.h.
 *
 * Collective calls of MPI are made in open (MPI_Init, MPI_Comm_dup) and close (MPI_Finalize) only,
 * each under a timer, since nothing in MPI ends a wait for a rank that died. Everything else is
 * Isend, Irecv, Iprobe and Test. Data and notices travel on two communicators, so that a wildcard
 * receive never slows the matching of data.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "base/log.h"
#include "comm/backend.h"
#include "comm/guard.h"
#include "comm/pmix.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Joining and leaving wait for every rank. A connection that broke: longer than guards wait (guard.c),
 * and one rank after another. */
enum { JOIN_TIMEOUT_S = 120, LEAVE_TIMEOUT_S = 30, BROKEN_S = 15, BROKEN_TURN_S = 2 };

/* A round in flight: receives, then sends. Those before `next` are done. */
typedef struct mpi_round {
    MPI_Request *reqs; /* [2 * ranks] */
    int *peers;        /* [2 * ranks] */
    dgm_wire *recvs;
    int n_recvs, n_reqs, next;
} mpi_round;

typedef struct mpi_link {
    dgm_link base;
    MPI_Comm data, notices;
    mpi_round rounds[DGM_LANES];
    bool *broken; /* [ranks]: the way there, so nothing with it ends any more */

    MPI_Request *posts; /* [n_posts], by slot */
    int n_posts;
} mpi_link;

static const char *stuck_in;

static void stuck(int sig)
{
    (void)sig;
    if (write(STDERR_FILENO, stuck_in, strlen(stuck_in)) < 0) {
        /* nobody is left to tell */
    }
    dgm_guard_leave();
    _exit(dgm_exit_code(DGM_EDEADLINE));
}

/* Ends the process with `sentence` unless called again (with 0) within `seconds`. */
static void timer(int seconds, const char *sentence)
{
    stuck_in = sentence;
    (void)signal(SIGALRM, seconds > 0 ? stuck : SIG_DFL);
    const struct itimerval t = {.it_value.tv_sec = seconds};
    (void)setitimer(ITIMER_REAL, &t, NULL);
}

/* The rank of this process while the job runs, else -1, and the thread that calls MPI. */
static int at_work = -1;
static pthread_t caller;

static _Noreturn void hold_still(void)
{
    const int64_t until = dgm_now_ns() + (BROKEN_S + at_work * BROKEN_TURN_S) * INT64_C(1000000000);
    while (dgm_now_ns() < until) /* signals end a sleep */
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    dgm_guard_say_lost("its connection to another rank broke");
    dgm_guard_leave();
    _exit(dgm_exit_code(DGM_EPEER));
}

/*
 * ompi_rte_abort - Open MPI's own way out, taken over. Its TCP transport goes that way from within a call when a peer
 * has died for which bytes still wait: a second rank is gone, and those of its host would say that it was the one that
 * was lost. So this rank holds still: those who see the death, a rank of that host or its guard, say it and end the
 * job. Where nobody died, and a network broke, this rank says that. Its other threads, which hear that the launcher
 * is gone, leave as Open MPI does.
 */
_Noreturn void ompi_rte_abort(int code, char *fmt, ...);
_Noreturn void ompi_rte_abort(int code, char *fmt, ...)
{
    char text[512] = "";
    va_list ap;
    if (at_work >= 0 && pthread_equal(pthread_self(), caller))
        hold_still();
    va_start(ap, fmt);
    if (fmt != NULL)
        (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    void (*theirs)(int, char *, ...) = NULL;
    *(void **)&theirs = dlsym(RTLD_NEXT, "ompi_rte_abort");
    if (theirs != NULL)
        theirs(code, text[0] != '\0' ? "%s" : NULL, text);
    _exit(dgm_exit_code(DGM_EPEER));
}

static int check(int rc, const char *call, int peer)
{
    if (rc == MPI_SUCCESS)
        return DGM_OK;
    char text[MPI_MAX_ERROR_STRING];
    int n = 0;
    (void)MPI_Error_string(rc, text, &n);
    return dgm_fail(DGM_EPEER, "%s with rank %d: %.*s", call, peer, n, text);
}

/*
 * breaks - the transport failed on a call with `peer`, which most likely died. What it says does not tell, so that is
 * left to those who can: the call counts as one that has not ended yet, and the wait for it finds out (wait.c).
 */
static bool breaks(mpi_link *m, int rc, const char *call, int peer, MPI_Request *req)
{
    int class = MPI_SUCCESS;
    if (rc == MPI_SUCCESS)
        return false;
    (void)MPI_Error_class(rc, &class);
    if (class != MPI_ERR_INTERN && class != MPI_ERR_OTHER && class != MPI_ERR_UNKNOWN)
        return false;
    (void)check(rc, call, peer);
    dgm_log(DGM_LOG_DEBUG, "comm", "%s", dgm_error_text());
    m->broken[peer] = true;
    *req = MPI_REQUEST_NULL; /* it may have left anything there */
    return true;
}

static int tag_of(const mpi_link *m, enum dgm_channel ch, int lane)
{
    return (int)ch + DGM_N_CHANNELS * (lane + DGM_LANES * (int)(m->base.epoch % 1024));
}

static MPI_Comm comm_of(const mpi_link *m, enum dgm_channel ch)
{
    return ch == DGM_CH_NOTICE ? m->notices : m->data;
}

static bool mpi_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMIX_NAMESPACE") != NULL;
}

/* Lines are read by rank 0 alone; srun gives every rank a copy. */
static void leave_stdin(void)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)close(null);
    }
}

static void free_rounds(mpi_link *m)
{
    for (int i = 0; i < DGM_LANES; i++) {
        free(m->rounds[i].peers);
        free(m->rounds[i].reqs);
    }
    free(m->broken);
}

static int make_rounds(mpi_link *m)
{
    const size_t room = 2 * (size_t)m->base.size;
    m->broken = calloc((size_t)m->base.size, sizeof *m->broken);
    if (m->broken == NULL)
        return dgm_fail(DGM_ENOMEM, "mpi: out of memory for %d ranks", m->base.size);
    for (int i = 0; i < DGM_LANES; i++) {
        mpi_round *r = &m->rounds[i];
        r->reqs = malloc(room * sizeof *r->reqs); // NOLINT(bugprone-sizeof-expression)
        r->peers = malloc(room * sizeof *r->peers);
        if (r->reqs == NULL || r->peers == NULL)
            return dgm_fail(DGM_ENOMEM, "mpi: out of memory for %d ranks", m->base.size);
    }
    return DGM_OK;
}

static int mpi_open(dgm_link **out)
{
    int given = 0;
    mpi_link *m = calloc(1, sizeof *m);
    if (m == NULL)
        return dgm_fail(DGM_ENOMEM, "mpi: out of memory");
    if (mpi_launched()) /* alone, nobody would hear it, and signals are for the one process */
        (void)dgm_guard_start();
    timer(JOIN_TIMEOUT_S, "dragoman: the ranks of this job did not find each other in 120 s\n");
    int rc = check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given), "MPI_Init_thread", 0);
    if (rc != DGM_OK)
        goto err_free;
    if (given < MPI_THREAD_FUNNELED) {
        rc = dgm_fail(DGM_EUNSUPPORTED, "mpi: want MPI_THREAD_FUNNELED, found level %d", given);
        goto err_free;
    }
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &m->base.rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &m->base.size);
    if ((rc = check(MPI_Comm_dup(MPI_COMM_WORLD, &m->data), "MPI_Comm_dup", 0)) != DGM_OK ||
        (rc = check(MPI_Comm_dup(MPI_COMM_WORLD, &m->notices), "MPI_Comm_dup", 0)) != DGM_OK)
        goto err_free;
    timer(0, NULL);
    dgm_pmix_hold();
    if ((rc = make_rounds(m)) != DGM_OK)
        goto err_free;
    if (m->base.rank > 0)
        leave_stdin();
    at_work = m->base.rank;
    caller = pthread_self();
    *out = &m->base;
    return DGM_OK;

err_free:
    dgm_guard_leave();
    free_rounds(m);
    free(m);
    return rc;
}

static void mpi_close(dgm_link *l)
{
    mpi_link *m = (mpi_link *)l;
    at_work = -1;
    timer(LEAVE_TIMEOUT_S, "dragoman: the ranks of this job did not end together in 30 s\n");
    (void)MPI_Comm_free(&m->notices);
    (void)MPI_Comm_free(&m->data);
    (void)MPI_Finalize();
    timer(0, NULL);
    dgm_guard_leave();
    free(m->posts);
    free_rounds(m);
    free(m);
}

static int mpi_begin(dgm_link *l, const dgm_round *r)
{
    mpi_link *m = (mpi_link *)l;
    mpi_round *f = &m->rounds[r->lane];
    const int tag = tag_of(m, r->channel, r->lane);
    DGM_ASSERT(r->n_recvs + r->n_sends <= 2 * m->base.size);
    f->recvs = r->recvs;
    f->n_recvs = r->n_recvs;
    f->n_reqs = r->n_recvs + r->n_sends;
    f->next = 0;
    for (int i = 0; i < r->n_recvs; i++) {
        const dgm_wire *w = &r->recvs[i];
        f->peers[i] = w->peer;
        const int rc =
            MPI_Irecv(w->buf, (int)w->bytes, MPI_BYTE, w->peer, tag, m->data, &f->reqs[i]);
        if (!breaks(m, rc, "MPI_Irecv", w->peer, &f->reqs[i]))
            DGM_TRY(check(rc, "MPI_Irecv", w->peer));
    }
    for (int i = 0; i < r->n_sends; i++) {
        const dgm_wire *w = &r->sends[i];
        f->peers[r->n_recvs + i] = w->peer;
        const int rc = MPI_Isend(w->buf, (int)w->bytes, MPI_BYTE, w->peer, tag, m->data,
                                 &f->reqs[r->n_recvs + i]);
        if (!breaks(m, rc, "MPI_Isend", w->peer, &f->reqs[r->n_recvs + i]))
            DGM_TRY(check(rc, "MPI_Isend", w->peer));
    }
    return DGM_OK;
}

static int mpi_test(dgm_link *l, int lane, int *peer)
{
    mpi_link *m = (mpi_link *)l;
    mpi_round *f = &m->rounds[lane];
    for (; f->next < f->n_reqs; f->next++) {
        int done = 0, bytes = 0;
        MPI_Status st;
        const int i = f->next;
        *peer = f->peers[i];
        const int rc = MPI_Test(&f->reqs[i], &done, &st); /* moves all others on, too */
        if (m->broken[*peer] || breaks(m, rc, "MPI_Test", *peer, &f->reqs[i]))
            return DGM_OK;
        DGM_TRY(check(rc, "MPI_Test", *peer));
        if (!done)
            return DGM_OK;
        if (i < f->n_recvs) {
            (void)MPI_Get_count(&st, MPI_BYTE, &bytes);
            f->recvs[i].bytes = (size_t)bytes;
        }
    }
    *peer = DGM_ROUND_DONE;
    return DGM_OK;
}

static bool mpi_probe(dgm_link *l, enum dgm_channel ch, int peer, int *from, size_t *bytes)
{
    const mpi_link *m = (mpi_link *)l;
    const int source = peer == DGM_ANY_PEER ? MPI_ANY_SOURCE : peer, tag = tag_of(m, ch, 0);
    int here = 0, n = 0;
    MPI_Status st;
    /* Open MPI looks first, and then takes in what has come: that is seen by the second look. */
    for (int look = 0; look < 2 && !here; look++)
        if (MPI_Iprobe(source, tag, comm_of(m, ch), &here, &st) != MPI_SUCCESS)
            return false;
    if (!here)
        return false;
    (void)MPI_Get_count(&st, MPI_BYTE, &n);
    *from = st.MPI_SOURCE;
    *bytes = (size_t)n;
    return true;
}

static int mpi_take(dgm_link *l, enum dgm_channel ch, int from, void *buf, size_t bytes)
{
    const mpi_link *m = (mpi_link *)l;
    DGM_ASSERT(bytes <= DGM_NOTICE_BYTES); /* it has arrived whole: MPI_Recv does not wait */
    return check(MPI_Recv(buf, (int)bytes, MPI_BYTE, from, tag_of(m, ch, 0), comm_of(m, ch),
                          MPI_STATUS_IGNORE),
                 "MPI_Recv", from);
}

static int mpi_post(dgm_link *l, int slot, enum dgm_channel ch, int peer, const void *buf,
                    size_t bytes)
{
    mpi_link *m = (mpi_link *)l;
    if (slot >= m->n_posts) {
        const size_t bytes_wanted =
            ((size_t)slot + 1) * sizeof *m->posts; // NOLINT(bugprone-sizeof-expression)
        MPI_Request *more = realloc(m->posts, bytes_wanted);
        if (more == NULL)
            return dgm_fail(DGM_ENOMEM, "mpi: out of memory for %d sends", slot + 1);
        m->posts = more;
        while (m->n_posts <= slot)
            m->posts[m->n_posts++] = MPI_REQUEST_NULL;
    }
    if (m->broken[peer])
        return DGM_OK; /* it has nobody who could receive it */
    const int rc = MPI_Isend(buf, (int)bytes, MPI_BYTE, peer, tag_of(m, ch, 0), comm_of(m, ch),
                             &m->posts[slot]);
    return breaks(m, rc, "MPI_Isend", peer, &m->posts[slot]) ? DGM_OK
                                                             : check(rc, "MPI_Isend", peer);
}

static bool mpi_posted(dgm_link *l, int slot)
{
    mpi_link *m = (mpi_link *)l;
    int done = 0;
    (void)MPI_Test(&m->posts[slot], &done, MPI_STATUS_IGNORE);
    return done;
}

const struct dgm_comm_ops dgm_comm_mpi = {
    .name = "mpi",
    .launched = mpi_launched,
    .open = mpi_open,
    .close = mpi_close,
    .begin = mpi_begin,
    .test = mpi_test,
    .probe = mpi_probe,
    .take = mpi_take,
    .post = mpi_post,
    .posted = mpi_posted,
};
