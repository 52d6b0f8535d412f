#define _GNU_SOURCE
#include "comm/guard.h"

#include "base/log.h"
#include "base/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Peers on this host see the death within 0.1 s of waiting for the dead, those elsewhere hear it
 * from them. They may compute for a while before they wait, so where there are some the guard is
 * patient: two would say it otherwise. */
enum { HOLD_S = 3, HOLD_WITH_MATES_S = 10 };

/* Others leave within milliseconds of telling a guard; where none of them gets a CPU, later. */
enum { LAST_S = 3 };

/* Shared by guard and worker; one writer each. */
struct page {
    volatile int left;
    volatile int mates; /* other ranks of this host */
    volatile int layer;
    volatile int holds; /* something that is to be there until the others have left */
    char stage[32];
};
static struct page *page;

/* What the worker has the guard hold lies in this pipe of open files, of which the guard has the end where it would be
 * taken out: it is there until that end is closed. */
static int shelf = -1;

static bool has_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    if (d == NULL)
        return true;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n > 1;
}

void dgm_guard_say_lost(const char *how)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
    const char *rank = NULL;
    char host[64] = "unknown", where[64] = "its work", said[320];
    for (size_t i = 0; i < sizeof names / sizeof names[0] && rank == NULL; i++)
        rank = getenv(names[i]);
    (void)gethostname(host, sizeof host - 1);
    if (page != NULL && page->layer >= 0)
        (void)snprintf(where, sizeof where, "%.31s, layer %d", page->stage, page->layer);
    else if (page != NULL)
        (void)snprintf(where, sizeof where, "%.31s", page->stage);
    (void)snprintf(said, sizeof said,
                   "rank %s (host %s) was lost in %s: %s; the job cannot go on without its experts",
                   rank != NULL ? rank : "?", host, where, how);
    dgm_log_failure(said);
}

static void say_ended(int status)
{
    char how[96];
    if (WIFSIGNALED(status))
        (void)snprintf(how, sizeof how, "its process was killed by signal %d (%s)",
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        (void)snprintf(how, sizeof how, "its process exited with code %d", WEXITSTATUS(status));
    dgm_guard_say_lost(how);
}

/* Waits for the end of the worker, then for others to say it and for the launcher to end the job. */
static _Noreturn void guard(pid_t worker, const sigset_t *set)
{
    int status = 0;
    bool gone = false, told = false;
    for (;;) {
        const struct timespec hold = {.tv_sec = page->mates > 0 ? HOLD_WITH_MATES_S : HOLD_S};
        const int sig = gone ? sigtimedwait(set, NULL, &hold) : sigwaitinfo(set, NULL);
        if (sig < 0 && errno == EINTR)
            continue;
        if (sig < 0 && gone) {
            say_ended(status);
            break;
        }
        if (sig == SIGUSR1 && !gone)
            (void)kill(worker, SIGTERM);
        if (sig == SIGUSR2 && !gone)
            (void)kill(worker, SIGINT);
        if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
            told = true;
        if (sig == SIGCHLD && waitpid(worker, &status, WNOHANG) == worker) {
            /* told to stop twice, a worker may leave on the spot with 128 + signal */
            const bool obeyed = told && WIFEXITED(status) && WEXITSTATUS(status) > 128;
            if (page->left || obeyed)
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
            gone = true;
        }
        if (gone && told) {
            if (page->holds)
                (void)sleep(LAST_S);
            break;
        }
    }
    _exit(dgm_exit_code(DGM_EPEER));
}

static void close_stdio(void)
{
    const int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return;
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(null, STDOUT_FILENO); /* a reader of the worker's output must see its end */
    if (null > STDERR_FILENO)
        (void)close(null);
}

bool dgm_guard_start(void)
{
    const char *wanted = getenv("DGM_GUARD");
    if ((wanted != NULL && strcmp(wanted, "0") == 0) || has_threads())
        return false;
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        page = NULL;
        return false;
    }
    dgm_guard_at("start", -1);
    static const int watched[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    sigset_t set, old;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++)
        (void)sigaddset(&set, watched[i]);
    (void)sigprocmask(SIG_BLOCK, &set, &old); /* nothing is missed between fork and wait */
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, as a starter may leave it, it never comes */
    int ends[2] = {-1, -1};
    (void)socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends);
    const pid_t parent = getpid(), worker = fork();
    if (worker > 0) {
        (void)prctl(PR_SET_NAME, "dragoman-guard");
        (void)close(ends[1]);
        close_stdio();
        guard(worker, &set);
    }
    if (worker == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(dgm_exit_code(DGM_EPEER));
        (void)signal(SIGUSR1, SIG_IGN); /* for the guard, which passes them on as TERM and INT */
        (void)signal(SIGUSR2, SIG_IGN);
        shelf = ends[1];
        (void)close(ends[0]);
    }
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    if (worker < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)munmap(page, sizeof *page);
        page = NULL;
    }
    return worker == 0;
}

pid_t dgm_guard_pid(void)
{
    return page != NULL ? getppid() : 0;
}

void dgm_guard_at(const char *stage, int layer)
{
    if (page == NULL)
        return;
    (void)strncpy(page->stage, stage, sizeof page->stage - 1);
    page->layer = layer;
}

void dgm_guard_mates(int n)
{
    if (page != NULL)
        page->mates = n;
}

bool dgm_guard_hold(int fd)
{
    char byte = 0;
    struct iovec data = {&byte, 1};
    union {
        struct cmsghdr head; /* aligned */
        char room[CMSG_SPACE(sizeof fd)];
    } u = {0};
    const struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof u.room};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    if (shelf < 0 || sendmsg(shelf, &m, MSG_DONTWAIT) != 1)
        return false;
    page->holds = 1;
    return true;
}

void dgm_guard_leave(void)
{
    if (page != NULL)
        page->left = 1;
}
