/* File descriptors: a client that finds none left would be hung up on without a word, so fewer clients are taken than there is room for. */
#include "base/log.h"
#include "runtime/server_state.h"

#include <dirent.h>
#include <sys/resource.h>

/* What else wants descriptors later: the weights, one after another; --http's clients; one to refuse with. */
enum { OTHERS = 48 };

static int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 16; /* about what a server has */
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n - 3; /* ., .. and dir itself */
}

int dgm_server_limit_connections(dgm_server *s)
{
    struct rlimit limit;
    const rlim_t others = (rlim_t)open_descriptors() + OTHERS + (rlim_t)s->cfg.spare_files;
    rlim_t want = (rlim_t)s->cfg.max_connections + others;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return DGM_OK;
    if (limit.rlim_cur < want && limit.rlim_cur < limit.rlim_max) { /* no more than is needed */
        limit.rlim_cur = want < limit.rlim_max ? want : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= want)
        return DGM_OK;
    if (limit.rlim_cur <= others)
        return dgm_fail(
            DGM_EUSAGE,
            "file descriptors: want more than %llu for a server, found %llu (ulimit -n)",
            (unsigned long long)others, (unsigned long long)limit.rlim_cur);
    const int fit = (int)(limit.rlim_cur - others);
    dgm_log(DGM_LOG_WARN, "serve",
            "--max-connections: %d of %d: there are %llu file descriptors (ulimit -n)", fit,
            s->cfg.max_connections, (unsigned long long)limit.rlim_cur);
    s->cfg.max_connections = fit;
    return DGM_OK;
}
