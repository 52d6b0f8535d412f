/*
 * config_json.h - JSON files as people write them, read with one sentence for whatever is wrong.
 *
 * The getters leave *out alone when the key is absent or null, so the caller's value is the default.
 * All fail with DGM_EMODEL and name file, key, what was wanted and what was found.
 */
#ifndef DGM_RUNTIME_CONFIG_JSON_H
#define DGM_RUNTIME_CONFIG_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct dgm_json {
    const char *path; /* for sentences; not owned */
    json_t *root;     /* an object */
} dgm_json;

/* dgm_json_open - parses text [len], which must be one object without duplicate keys; numbers become reals
 * when `reals` (Hugging Face writes 1e30 as an integer). */
DGM_MUST_CHECK int dgm_json_open(dgm_json *out, const char *path, const char *text, size_t len,
                                 bool reals);
void dgm_json_close(dgm_json *j);

/* dgm_json_has - the key is there and not null. */
bool dgm_json_has(const dgm_json *j, const char *key);

/* For objects opened with `reals`. dgm_json_int: a whole number from min to max. */
DGM_MUST_CHECK int dgm_json_int(int *out, const dgm_json *j, const char *key, int min, int max);
DGM_MUST_CHECK int dgm_json_real(double *out, const dgm_json *j, const char *key);
DGM_MUST_CHECK int dgm_json_bool(bool *out, const dgm_json *j, const char *key);
/* dgm_json_string - *out points into the object. */
DGM_MUST_CHECK int dgm_json_string(const char **out, const dgm_json *j, const char *key);

/* dgm_file_slurp - a whole regular file of at most max_bytes, malloc'ed, NUL-terminated. DGM_EMODEL. */
DGM_MUST_CHECK int dgm_file_slurp(char **text, size_t *len, const char *path, size_t max_bytes);

/* dgm_file_read_at - `bytes` bytes of an open file from byte `at` on, or DGM_EMODEL. Any thread. */
DGM_MUST_CHECK int dgm_file_read_at(int fd, const char *path, void *dst, uint64_t at, size_t bytes);

/* dgm_printable - text itself if it is short printable ASCII, else a stand-in: what comes from a file goes
 * into a sentence on somebody's terminal. */
const char *dgm_printable(const char *text);

#endif
