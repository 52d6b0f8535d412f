#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
static struct {
    enum dgm_log_level level;
    int rank, ranks;
} state = {DGM_LOG_INFO, 0, 1};

void dgm_log_init(enum dgm_log_level level, int rank, int ranks)
{
    state.level = level;
    state.rank = rank;
    state.ranks = ranks;
}

int dgm_log_parse(enum dgm_log_level *out, const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum dgm_log_level)i;
            return DGM_OK;
        }
    }
    return dgm_fail(DGM_EUSAGE, "log level: want error, warn, info, debug or trace, found '%s'",
                    name);
}

bool dgm_log_on(enum dgm_log_level level)
{
    if (level > state.level)
        return false;
    return state.rank == 0 || level < DGM_LOG_INFO || state.level >= DGM_LOG_DEBUG;
}

void dgm_log(enum dgm_log_level level, const char *module, const char *fmt, ...)
{
    if (!dgm_log_on(level))
        return;
    char line[2048];
    struct timespec ts;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)localtime_r(&ts.tv_sec, &tm);
    int n = snprintf(line, sizeof line, "%02d:%02d:%02d.%03ld %s %d/%d %s ", tm.tm_hour, tm.tm_min,
                     tm.tm_sec, ts.tv_nsec / 1000000, level_names[level], state.rank, state.ranks,
                     module);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof line - 2)
        n = (int)sizeof line - 2;
    line[n] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n + 1) < 0) {
        /* stderr is gone: there is nowhere left to say so */
    }
}
