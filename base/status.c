#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local char last_text[1024];

int dgm_fail(int code, const char *fmt, ...)
{
    /* Arguments may point into last_text (a sentence wrapped in another), so print aside first. */
    char text[sizeof last_text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(last_text, sizeof last_text, "%s", text);
    return code;
}

const char *dgm_error_text(void)
{
    return last_text;
}

const char *dgm_status_name(int code)
{
    switch (code) {
#define DGM_STATUS_CASE(name, value, exit_code, text)                                                        \
    case value:                                                                                              \
        return #name;
        DGM_STATUS_MAP(DGM_STATUS_CASE)
#undef DGM_STATUS_CASE
    default:
        return "UNKNOWN";
    }
}

const char *dgm_status_text(int code)
{
    switch (code) {
#define DGM_STATUS_CASE(name, value, exit_code, text)                                                        \
    case value:                                                                                              \
        return text;
        DGM_STATUS_MAP(DGM_STATUS_CASE)
#undef DGM_STATUS_CASE
    default:
        return "unknown status";
    }
}

int dgm_exit_code(int code)
{
    switch (code) {
#define DGM_STATUS_CASE(name, value, exit_code, text)                                                        \
    case value:                                                                                              \
        return exit_code;
        DGM_STATUS_MAP(DGM_STATUS_CASE)
#undef DGM_STATUS_CASE
    default:
        return 7;
    }
}

void dgm_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "dragoman: internal error at %s:%d: %s does not hold\n", file, line, cond);
    abort();
}
