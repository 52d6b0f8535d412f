#include "runtime/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

void dgm_progress_begin(dgm_progress *p, bool on, uint64_t total_bytes)
{
    *p = (dgm_progress){.on = on, .start_s = dgm_now_s(), .total_bytes = total_bytes};
}

/* group - 1234567 as "1,234,567". */
static const char *group(char buf[32], uint64_t n)
{
    char plain[24];
    const int len = snprintf(plain, sizeof plain, "%llu", (unsigned long long)n);
    char *out = buf;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *out++ = ',';
        *out++ = plain[i];
    }
    *out = '\0';
    return buf;
}

/* format_left - "  0:12:03 left", or nothing when that cannot be known. */
static void format_left(char *buf, size_t size, double seconds, uint64_t done_bytes,
                        uint64_t total_bytes)
{
    buf[0] = '\0';
    if (total_bytes == 0 || done_bytes == 0 || done_bytes > total_bytes)
        return;
    const double left_s = seconds * (double)(total_bytes - done_bytes) / (double)done_bytes;
    const uint64_t s = (uint64_t)(left_s + 0.5);
    (void)snprintf(buf, size, "  %llu:%02llu:%02llu left", (unsigned long long)(s / 3600),
                   (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
}

void dgm_progress_format(char *buf, size_t size, uint64_t lines, uint64_t tokens, double seconds,
                         uint64_t done_bytes, uint64_t total_bytes)
{
    char a[32], b[32], left[64];
    const double rate = seconds > 0 ? (double)tokens / seconds : 0;
    format_left(left, sizeof left, seconds, done_bytes, total_bytes);
    (void)snprintf(buf, size, "%s lines  %s tokens/s%s", group(a, lines),
                   group(b, (uint64_t)(rate + 0.5)), left);
}

/* due - a new line is to be drawn; at most twice a second. */
static bool due(dgm_progress *p, double now)
{
    if (!p->on || now - p->shown_s < 0.5)
        return false;
    p->shown_s = now;
    return true;
}

static void draw(const char *text)
{
    (void)fprintf(stderr, "\r%s\033[K", text);
    (void)fflush(stderr);
}

void dgm_progress_tick(dgm_progress *p, uint64_t lines, uint64_t tokens, uint64_t done_bytes)
{
    char text[128];
    const double now = dgm_now_s();
    if (!due(p, now))
        return;
    dgm_progress_format(text, sizeof text, lines, tokens, now - p->start_s, done_bytes,
                        p->total_bytes);
    draw(text);
}

void dgm_progress_tick_bytes(dgm_progress *p, uint64_t done_bytes)
{
    char text[96], left[64];
    const double now = dgm_now_s();
    if (!due(p, now) || p->total_bytes == 0)
        return;
    format_left(left, sizeof left, now - p->start_s, done_bytes, p->total_bytes);
    (void)snprintf(text, sizeof text, "%.0f %%%s",
                   100.0 * (double)done_bytes / (double)p->total_bytes, left);
    draw(text);
}

void dgm_progress_wipe(dgm_progress *p)
{
    if (p->on && p->shown_s > 0)
        (void)fprintf(stderr, "\r\033[K");
}
