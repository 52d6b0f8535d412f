/*
 * status.h - error codes and the sentence that goes with them.
 *
 * A function that can fail returns int: DGM_OK or a negative code. Whoever first knows what went
 * wrong calls dgm_fail() with one sentence that says what was wanted and what was found; callers
 * pass the code on; the request boundary or main prints the sentence once.
 *
 * Values cross the wire between ranks and go into exit codes: append only, never renumber.
 */
#ifndef DGM_BASE_STATUS_H
#define DGM_BASE_STATUS_H

#include <stddef.h>

/* name, value, exit code of the process, what it means */
#define DGM_STATUS_MAP(X)                                                                          \
    X(OK, 0, 0, "ok")                                                                              \
    X(EUSAGE, -1, 2, "bad option or argument")                                                     \
    X(EMODEL, -2, 3, "the model cannot be used")                                                   \
    X(EINPUT, -3, 4, "the input cannot be read")                                                   \
    X(EOUTPUT, -4, 5, "the output cannot be written")                                              \
    X(EPEER, -5, 6, "a rank was lost")                                                             \
    X(EDEADLINE, -6, 6, "a rank did not answer in time")                                           \
    X(EINTERNAL, -7, 7, "a mistake of the program")                                                \
    X(ENOMEM, -8, 7, "out of memory")                                                              \
    X(EUNSUPPORTED, -9, 2, "not supported here")                                                   \
    X(EBUSY, -10, 8, "busy, try again")                                                            \
    X(ENAN, -11, 3, "the model computed a value that is not a number")                             \
    X(ETEXT, -12, 1, "a line cannot be translated")                                                \
    X(ECONFIG, -13, 2, "ranks were started with different options or models")                      \
    X(ELAUNCH, -14, 2, "started in a way that cannot work")

enum dgm_status {
#define DGM_STATUS_ENUM(name, value, exit_code, text) DGM_##name = (value),
    DGM_STATUS_MAP(DGM_STATUS_ENUM)
#undef DGM_STATUS_ENUM
};

#define DGM_MUST_CHECK __attribute__((warn_unused_result))
#define DGM_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* dgm_fail - records the sentence for this thread (printf rules), as one line of UTF-8, and returns `code`. */
int dgm_fail(int code, const char *fmt, ...) DGM_PRINTF(2, 3);

/* dgm_error_text - the sentence of this thread's last dgm_fail; "" if there was none. */
const char *dgm_error_text(void);

/* dgm_status_name - "EMODEL"; dgm_status_text - "the model cannot be used". Static strings. */
const char *dgm_status_name(int code);
const char *dgm_status_text(int code);

/* dgm_exit_code - the exit code of the process for a status (docs/exit-codes.md). */
int dgm_exit_code(int code);

/* DGM_TRY - pass an error on. Only where nothing is held that needs undoing. */
#define DGM_TRY(expr)                                                                              \
    do {                                                                                           \
        const int dgm_try_rc = (expr);                                                             \
        if (dgm_try_rc != DGM_OK)                                                                  \
            return dgm_try_rc;                                                                     \
    } while (0)

/* DGM_ASSERT - for our own mistakes, never for input: on in every build, prints and aborts. */
#define DGM_ASSERT(cond) ((cond) ? (void)0 : dgm_assert_failed(#cond, __FILE__, __LINE__))
__attribute__((noreturn)) void dgm_assert_failed(const char *cond, const char *file, int line);

#endif
