#include "tests/bench/serve_watch.h"

#include "base/clock.h"
#include "tests/bench/serve_peer.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LEAVE_S = 60 };

int serve_descriptors(int pid)
{
    char path[64];
    int n = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    if (d == NULL)
        serve_die("%s: %s", path, strerror(errno));
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

int serve_resident_kib(int pid)
{
    char path[64], row[256];
    int kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(row, sizeof row, f) != NULL)
        if (strncmp(row, "VmRSS:", 6) == 0)
            kib = (int)strtol(row + 6, NULL, 10);
    if (f != NULL)
        (void)fclose(f);
    if (kib == 0)
        serve_die("%s: no VmRSS", path);
    return kib;
}

static double statistic(const dgm_wire_statistics *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->at[i].name, name) == 0)
            return s->at[i].value;
    serve_die("no %s in the statistics", name);
}

/* at_rest - the server has this connection alone, and nothing to do. `tell`: else it is the end. */
static bool at_rest(serve_peer *p, bool tell)
{
    const dgm_wire_frame f = {.id = ++p->id, .kind = DGM_WIRE_STATISTICS_REQUEST};
    dgm_wire_frame got;
    serve_peer_put(p, &f);
    do
        serve_peer_wait(p, &got);
    while (got.kind != DGM_WIRE_STATISTICS);
    const dgm_wire_statistics *s = &got.as.statistics;
    const double conns = statistic(s, "dragoman_connections"),
                 tokens = statistic(s, "dragoman_queue_tokens"),
                 lines = statistic(s, "dragoman_queue_segments") +
                         statistic(s, "dragoman_computing_segments");
    const bool rests = conns == 1 && lines == 0 && tokens == 0;
    if (tell && !rests)
        serve_die("nobody is there any more, but the server has %.0f clients, %.0f lines, %.0f "
                  "tokens",
                  conns - 1, lines, tokens);
    return rests;
}

void serve_check_rest(const char *address, int pid, int descriptors)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    const int64_t until = dgm_now_ns() + (int64_t)LEAVE_S * 1000000000;
    serve_peer p;
    int now;
    serve_peer_open(&p, address, -1, 0);
    while (!at_rest(&p, dgm_now_ns() > until))
        (void)nanosleep(&pause, NULL);
    serve_peer_close(&p);
    while ((now = serve_descriptors(pid)) > descriptors && dgm_now_ns() < until)
        (void)nanosleep(&pause, NULL);
    (void)printf("descriptors before %d, after %d\n", descriptors, now);
    if (now != descriptors)
        serve_die("want %d descriptors as before, found %d", descriptors, now);
}
