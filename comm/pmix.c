#define _GNU_SOURCE
#include "comm/pmix.h"

#include "base/log.h"
#include "comm/guard.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_S = 5 }; /* PMIx_Finalize itself waits for 2 s */

static bool in_slurm_step(void)
{
    const char *name = getenv("PMIX_NAMESPACE");
    return name != NULL && strncmp(name, "slurm.pmix.", strlen("slurm.pmix.")) == 0;
}

/* Is `fd` connected to one of the addresses in PMIX_SERVER_URI..: "pmix-server.17;tcp4://127.0.0.1:38417"? */
static bool leads_to_server(int fd)
{
    static const char *const names[] = {"PMIX_SERVER_URI41", "PMIX_SERVER_URI4", "PMIX_SERVER_URI3",
                                        "PMIX_SERVER_URI21", "PMIX_SERVER_URI2"};
    struct sockaddr_in to = {0};
    socklen_t bytes = sizeof to;
    char host[INET_ADDRSTRLEN], want[64];
    if (getpeername(fd, (struct sockaddr *)&to, &bytes) != 0 || to.sin_family != AF_INET ||
        inet_ntop(AF_INET, &to.sin_addr, host, sizeof host) == NULL)
        return false;
    (void)snprintf(want, sizeof want, "://%s:%d", host, ntohs(to.sin_port));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *uri = getenv(names[i]), *at = uri != NULL ? strstr(uri, want) : NULL;
        if (at != NULL && at[strlen(want)] == '\0')
            return true;
    }
    return false;
}

void dgm_pmix_hold(void)
{
    DIR *d = in_slurm_step() ? opendir("/proc/self/fd") : NULL;
    if (d == NULL)
        return;
    int held = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        const int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fd != dirfd(d) && leads_to_server(fd))
            held += dgm_guard_hold(fd);
    }
    (void)closedir(d);
    dgm_log(DGM_LOG_DEBUG, "comm", "the guard holds %d connections to the PMIx server", held);
}

static volatile sig_atomic_t code_at_end;
static void too_late(int sig)
{
    (void)sig;
    _exit(code_at_end);
}

void dgm_pmix_farewell(int code)
{
    void *lib = in_slurm_step() ? dlopen("libpmix.so.2", RTLD_NOLOAD | RTLD_LAZY) : NULL;
    int (*finalize)(const void *info, size_t n_info) = NULL;
    if (lib != NULL)
        *(void **)&finalize = dlsym(lib, "PMIx_Finalize");
    if (finalize == NULL)
        return;
    code_at_end = code;
    (void)signal(SIGALRM, too_late);
    (void)alarm(PATIENCE_S);
    const int rc = finalize(NULL, 0);
    (void)alarm(0);
    dgm_log(DGM_LOG_DEBUG, "comm", "PMIx_Finalize: %d", rc);
}
