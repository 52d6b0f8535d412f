#include "runtime/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *dgm_printable(const char *text)
{
    const size_t len = strlen(text);
    if (len > 200)
        return "(a very long text)";
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return "(a text with odd characters)";
    return text;
}

int dgm_json_open(dgm_json *out, const char *path, const char *text, size_t len, bool reals)
{
    json_error_t error;
    const size_t flags = JSON_REJECT_DUPLICATES | (reals ? JSON_DECODE_INT_AS_REAL : 0);
    json_t *root = json_loadb(text, len, flags, &error);
    if (root == NULL)
        return dgm_fail(DGM_EMODEL, "%s: wanted JSON, found at line %d: %s", path, error.line,
                        dgm_printable(error.text));
    if (!json_is_object(root)) {
        json_decref(root);
        return dgm_fail(DGM_EMODEL, "%s: wanted a JSON object, found another kind of value", path);
    }
    *out = (dgm_json){.path = path, .root = root};
    return DGM_OK;
}

void dgm_json_close(dgm_json *j)
{
    json_decref(j->root);
    *j = (dgm_json){0};
}

static const char *kind(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

static const json_t *get(const dgm_json *j, const char *key)
{
    const json_t *v = json_object_get(j->root, key);
    return v == NULL || json_is_null(v) ? NULL : v;
}

bool dgm_json_has(const dgm_json *j, const char *key)
{
    return get(j, key) != NULL;
}

int dgm_json_real(double *out, const dgm_json *j, const char *key)
{
    const json_t *v = get(j, key);
    if (v == NULL)
        return DGM_OK;
    if (!json_is_real(v))
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted a number, found %s", j->path, key, kind(v));
    *out = json_real_value(v);
    return DGM_OK;
}

int dgm_json_int(int *out, const dgm_json *j, const char *key, int min, int max)
{
    if (!dgm_json_has(j, key))
        return DGM_OK;
    double x = 0;
    DGM_TRY(dgm_json_real(&x, j, key));
    if (!(x >= min && x <= max) || x != (double)(int)x)
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted a whole number from %d to %d, found %.17g",
                        j->path, key, min, max, x);
    *out = (int)x;
    return DGM_OK;
}

int dgm_json_bool(bool *out, const dgm_json *j, const char *key)
{
    const json_t *v = get(j, key);
    if (v == NULL)
        return DGM_OK;
    if (!json_is_boolean(v))
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted true or false, found %s", j->path, key,
                        kind(v));
    *out = json_is_true(v);
    return DGM_OK;
}

int dgm_json_string(const char **out, const dgm_json *j, const char *key)
{
    const json_t *v = get(j, key);
    if (v == NULL)
        return DGM_OK;
    if (!json_is_string(v))
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted a text, found %s", j->path, key, kind(v));
    *out = json_string_value(v);
    return DGM_OK;
}

static int read_all(char **text, size_t *len, int fd, const char *path, size_t max_bytes)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return dgm_fail(DGM_EMODEL, "%s: wanted a file, found something else", path);
    if ((uint64_t)st.st_size > max_bytes)
        return dgm_fail(DGM_EMODEL, "%s: wanted at most %zu bytes, found %lld", path, max_bytes,
                        (long long)st.st_size);
    const size_t want = (size_t)st.st_size;
    char *buf = malloc(want + 1);
    if (buf == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate %zu bytes", path, want + 1);
    size_t have = 0;
    while (have < want) {
        const ssize_t n = read(fd, buf + have, want - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            free(buf);
            return dgm_fail(DGM_EMODEL, "%s: wanted %zu bytes, found %zu: %s", path, want, have,
                            n < 0 ? strerror(errno) : "end of file");
        }
        have += (size_t)n;
    }
    buf[want] = '\0';
    *text = buf;
    *len = want;
    return DGM_OK;
}

int dgm_file_slurp(char **text, size_t *len, const char *path, size_t max_bytes)
{
    /* O_NONBLOCK: opening a named pipe that nobody writes to would wait for ever. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dgm_fail(DGM_EMODEL, "%s: cannot open: %s", path, strerror(errno));
    const int rc = read_all(text, len, fd, path, max_bytes);
    (void)close(fd);
    return rc;
}

int dgm_file_read_at(int fd, const char *path, void *dst, uint64_t at, size_t bytes)
{
    size_t have = 0;
    while (have < bytes) {
        const ssize_t n = pread(fd, (char *)dst + have, bytes - have, (off_t)(at + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dgm_fail(DGM_EMODEL, "%s: wanted %zu bytes at byte %" PRIu64 ", found %zu: %s",
                            path, bytes, at, have, n < 0 ? strerror(errno) : "end of file");
        have += (size_t)n;
    }
    return DGM_OK;
}
