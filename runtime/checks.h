/*
 * checks.h - what can be seen of a translation without a model: signs that something went wrong. They only report.
 *
 * Thresholds are fixed, so that a report means the same everywhere (docs/decoding.md lists them). Any thread.
 */
#ifndef DGM_RUNTIME_CHECKS_H
#define DGM_RUNTIME_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

/* Values cross the wire (proto/wire.h): append only. */
enum dgm_check {
    DGM_CHECK_WRONG_SCRIPT =
        1, /* of at least SCRIPT_LETTERS letters, less than half are in the target's script */
    DGM_CHECK_LOOPED = 2, /* dgm_loops */
    DGM_CHECK_LENGTH_RATIO =
        4, /* more than RATIO times as many tokens as the source, or fewer than one in RATIO; the longer has RATIO_TOKENS */
    DGM_CHECK_COPIED = 8,  /* it is the source, of COPY_TOKENS or more, and the languages are two */
    DGM_CHECK_NO_END = 16, /* cut by the length limit */
};
enum { DGM_CHECKS = 5 };

enum {
    DGM_CHECK_SCRIPT_LETTERS = 8,
    DGM_CHECK_RATIO = 4,
    DGM_CHECK_RATIO_TOKENS = 20,
    DGM_CHECK_COPY_TOKENS = 4,
};

typedef struct dgm_check_text {
    const char *source, *translation; /* valid UTF-8 */
    size_t source_len, translation_len;
    const char *src, *tgt; /* FLORES codes */
    int src_tokens, tgt_tokens;
    bool looped, ended;
} dgm_check_text;

/* dgm_checks - the sum of those that strike. */
unsigned dgm_checks(const dgm_check_text *t);

/* dgm_check_name - of check number i, 0 .. DGM_CHECKS - 1, whose bit is 1 << i: "wrong_script". */
const char *dgm_check_name(int i);

#endif
