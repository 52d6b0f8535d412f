/* progress.h - the line on a terminal while a text is translated (lines, tokens/s, time left) or bytes are worked on. */
#ifndef DGM_RUNTIME_PROGRESS_H
#define DGM_RUNTIME_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_progress {
    bool on;
    double start_s, shown_s;
    uint64_t total_bytes; /* of the input; 0: not known */
} dgm_progress;

/* dgm_progress_begin - shows itself only when `on` (a terminal that nothing else writes to). */
void dgm_progress_begin(dgm_progress *p, bool on, uint64_t total_bytes);
/* dgm_progress_tick - redraws at most twice a second. done_bytes: of the input, of lines that are out. */
void dgm_progress_tick(dgm_progress *p, uint64_t lines, uint64_t tokens, uint64_t done_bytes);
/* dgm_progress_tick_bytes - likewise "34 %  0:12:03 left". */
void dgm_progress_tick_bytes(dgm_progress *p, uint64_t done_bytes);
/* dgm_progress_wipe - clears the line, so that something else can be said; the next tick draws it again. */
void dgm_progress_wipe(dgm_progress *p);

/* dgm_progress_format - "1,204 lines  3,310 tokens/s  0:12:03 left"; time left only when total_bytes is known. */
void dgm_progress_format(char *buf, size_t size, uint64_t lines, uint64_t tokens, double seconds,
                         uint64_t done_bytes, uint64_t total_bytes);

#endif
