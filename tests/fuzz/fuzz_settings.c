/* Files that an operator writes: with 't' first --tokens, else a --config file for the command that the first byte chooses. Refused in one
 * sentence; or what was read can be used, and a configuration that is printed and read again is the same. */
#define _GNU_SOURCE /* memfd_create */
#include "launch/options_table.h"
#include "runtime/server_tokens.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* path_of - a file with these bytes: one at a time. */
static const char *path_of(const void *data, size_t size)
{
    static int fd = -1;
    static char path[32];
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    DGM_ASSERT(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    return path;
}

static void check_refused(int rc)
{
    DGM_ASSERT(rc == DGM_EUSAGE || rc == DGM_EUNSUPPORTED);
    DGM_ASSERT(dgm_error_text()[0] != '\0' && strchr(dgm_error_text(), '\n') == NULL);
}

static void check_tokens(const uint8_t *data, size_t size)
{
    dgm_tokens t;
    const int rc = dgm_tokens_read(&t, path_of(data, size));
    if (rc != DGM_OK) {
        check_refused(rc);
        return;
    }
    DGM_ASSERT(t.n > 0);
    for (int i = 0; i < t.n; i++) {
        const dgm_token *found = dgm_tokens_find(&t, t.at[i].hash);
        DGM_ASSERT(found != NULL && memcmp(found->hash, t.at[i].hash, DGM_TOKEN_HASH) == 0);
        DGM_ASSERT(t.at[i].name[0] > ' ' && strnlen(t.at[i].name, DGM_TOKEN_NAME) < DGM_TOKEN_NAME);
    }
    dgm_tokens_fini(&t);
}

static int read_config(dgm_config **c, dgm_options *o, const void *data, size_t size)
{
    static const char *const commands[DGM_COMMANDS] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                                       "j", "k", "l", "m", "n", "o", "p", "q"};
    *o = (dgm_options){0};
    DGM_ASSERT(dgm_config_create(c, dgm_option_rows, dgm_option_row_count, commands, DGM_COMMANDS,
                                 o) == DGM_OK);
    return dgm_config_file(*c, path_of(data, size));
}

static char *print(const dgm_config *c, int command, size_t *n)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, n);
    DGM_ASSERT(f != NULL);
    dgm_config_print_values(f, c, command);
    DGM_ASSERT(fclose(f) == 0);
    return text;
}

static void check_again(const dgm_config *c, int command)
{
    dgm_options o;
    dgm_config *again;
    char a[64], b[64];
    size_t n;
    char *text = print(c, command, &n);
    const int rc = read_config(&again, &o, text, n);
    DGM_ASSERT(rc == DGM_OK);
    for (int i = 0; i < dgm_option_row_count; i++)
        if ((dgm_option_rows[i].commands >> command & 1) != 0)
            DGM_ASSERT(strcmp(dgm_config_text(c, &dgm_option_rows[i], a, sizeof a),
                              dgm_config_text(again, &dgm_option_rows[i], b, sizeof b)) == 0);
    dgm_config_destroy(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dgm_options o;
    dgm_config *c;
    if (size == 0)
        return 0;
    if (data[0] == 't') {
        check_tokens(data + 1, size - 1);
        return 0;
    }
    const int rc = read_config(&c, &o, data + 1, size - 1);
    if (rc == DGM_OK)
        check_again(c, data[0] % DGM_COMMANDS);
    else
        check_refused(rc);
    dgm_config_destroy(c);
    return 0;
}
