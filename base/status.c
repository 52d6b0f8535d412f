#include "base/status.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char last_text[1024];

/* keep_one_line - a sentence goes into logs and frames, whatever it quotes and wherever it was cut: it is one line of UTF-8. */
static void keep_one_line(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    for (size_t bad; !dgm_utf8_check(text, strlen(text), &bad); text += bad)
        text[bad] = '?';
}

int dgm_fail(int code, const char *fmt, ...)
{
    /* Arguments may point into last_text (a sentence wrapped in another), so print aside first. */
    char text[sizeof last_text];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    keep_one_line(text);
    (void)snprintf(last_text, sizeof last_text, "%s", text);
    return code;
}

const char *dgm_error_text(void)
{
    return last_text;
}

static const struct row {
    int value, exit_code;
    const char *name, *text;
} rows[] = {
#define DGM_STATUS_ROW(name, value, exit_code, text) {value, exit_code, #name, text},
    DGM_STATUS_MAP(DGM_STATUS_ROW)
#undef DGM_STATUS_ROW
};

static const struct row *find(int code)
{
    static const struct row unknown = {0, 7, "UNKNOWN", "unknown status"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].value == code)
            return &rows[i];
    return &unknown;
}

const char *dgm_status_name(int code)
{
    return find(code)->name;
}

const char *dgm_status_text(int code)
{
    return find(code)->text;
}

int dgm_exit_code(int code)
{
    return find(code)->exit_code;
}

void dgm_assert_failed(const char *cond, const char *file, int line)
{
    (void)fprintf(stderr, "dragoman: internal error at %s:%d: %s does not hold\n", file, line,
                  cond);
    abort();
}
