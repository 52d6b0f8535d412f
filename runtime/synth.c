#define _GNU_SOURCE
#include "runtime/synth.h"

#include "base/log.h"
#include "runtime/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 8 << 20, MIN_PARALLEL = 1 << 16, MAX_TOKENIZER = 64 << 20 };

static const char *const files[] = {"config.json",
                                    "model.safetensors",
                                    "README.md",
                                    "sentencepiece.bpe.model",
                                    "generation_config.json",
                                    "tokenizer_config.json"};

/* The directory being made. */
typedef struct place {
    const char *dir;
    char part[4096];
    int lock;
} place;

static int fail_errno(const char *path, const char *doing)
{
    return dgm_fail(DGM_EOUTPUT, "%s: %s: %s", path, doing, strerror(errno));
}

static void path_of(char *path, size_t size, const char *dir, const char *name)
{
    (void)snprintf(path, size, "%s/%s", dir, name);
}

/* ---- weights ---- */

typedef struct piece {
    const dgm_synth_list *list;
    size_t i;
    uint64_t seed, begin;
    size_t bytes;
    char *data;
} piece;

static void fill_share(void *ctx, int part, int n_parts)
{
    const piece *p = ctx;
    int begin, end;
    dgm_pool_share(&begin, &end, (int)((p->bytes + DGM_SYNTH_UNIT - 1) / DGM_SYNTH_UNIT), part,
                   n_parts);
    const size_t from = (size_t)begin * DGM_SYNTH_UNIT, to = (size_t)end * DGM_SYNTH_UNIT;
    if (from < to)
        dgm_synth_fill_part(p->data + from, p->list, p->i, p->seed, p->begin + from,
                            (to < p->bytes ? to : p->bytes) - from);
}

static int put_tensor(dgm_st_writer *w, piece *p, dgm_pool *pool)
{
    const uint64_t all = dgm_st_spec_bytes(&p->list->specs[p->i]);
    for (p->begin = 0; p->begin < all; p->begin += p->bytes) {
        const uint64_t rest = all - p->begin;
        p->bytes = rest < PIECE_BYTES ? (size_t)rest : PIECE_BYTES;
        dgm_pool_run(p->bytes < MIN_PARALLEL ? NULL : pool, fill_share, p);
        DGM_TRY(dgm_st_writer_put(w, p->data, p->bytes));
    }
    return DGM_OK;
}

static int put_all(dgm_st_writer *w, const dgm_synth *s, const dgm_synth_list *list, dgm_pool *pool)
{
    piece p = {.list = list, .seed = s->seed, .data = malloc(PIECE_BYTES)};
    if (p.data == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate %d bytes of weights", PIECE_BYTES);
    int rc = DGM_OK;
    for (p.i = 0; p.i < list->n && rc == DGM_OK; p.i++)
        rc = put_tensor(w, &p, pool);
    free(p.data);
    return rc == DGM_OK ? dgm_st_writer_finish(w) : rc;
}

static int write_weights(const place *at, const dgm_synth *s, const dgm_synth_list *list,
                         dgm_pool *pool)
{
    char path[4200];
    dgm_st_writer *w = NULL;
    path_of(path, sizeof path, at->part, "model.safetensors");
    DGM_TRY(dgm_st_writer_open(&w, path, list->specs, list->n, s->packed));
    dgm_log(DGM_LOG_INFO, "synth", "%s: random weights, %.3f billion parameters, %.2f GiB to %s",
            s->like, (double)list->params * 1e-9, (double)dgm_st_writer_bytes(w) / (1 << 30),
            at->dir);
    const int rc = put_all(w, s, list, pool);
    dgm_st_writer_close(w);
    return rc;
}

/* ---- the other files ---- */

static int write_text(const place *at, const char *name, const void *text, size_t len)
{
    char path[4200];
    path_of(path, sizeof path, at->part, name);
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return fail_errno(path, "cannot be created");
    const bool put = fwrite(text, 1, len, f) == len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    const int rc = put ? DGM_OK : fail_errno(path, "cannot be written");
    if (fclose(f) != 0 && rc == DGM_OK)
        return fail_errno(path, "cannot be written");
    return rc;
}

static int write_made(const place *at, const char *name, int made, char *text)
{
    const int rc = made == DGM_OK ? write_text(at, name, text, strlen(text)) : made;
    if (made == DGM_OK)
        free(text);
    return rc;
}

/* The other model's tokeniser, with this one's limit of positions. */
static int write_tokenizer_config(const place *at, const dgm_synth *s, const char *path,
                                  const char *text, size_t len)
{
    dgm_json j;
    DGM_TRY(dgm_json_open(&j, path, text, len, false));
    (void)json_object_set_new(j.root, "model_max_length", json_integer(s->positions));
    char *out = json_dumps(j.root, JSON_INDENT(1));
    dgm_json_close(&j);
    return write_made(at, "tokenizer_config.json",
                      out != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "cannot allocate %s", path), out);
}

static int write_tokenizer(const place *at, const dgm_synth *s, const char *from)
{
    static const char *const names[] = {"sentencepiece.bpe.model", "tokenizer_config.json"};
    for (int i = 0; i < 2; i++) {
        char path[4200], *text;
        size_t len;
        path_of(path, sizeof path, from, names[i]);
        DGM_TRY(dgm_file_slurp(&text, &len, path, MAX_TOKENIZER));
        const int rc = i == 0 ? write_text(at, names[i], text, len)
                              : write_tokenizer_config(at, s, path, text, len);
        free(text);
        DGM_TRY(rc);
    }
    return DGM_OK;
}

/* config.json last: without it a directory is no model. */
static int write_all(const place *at, const dgm_synth *s, const dgm_synth_list *list,
                     const char *tokenizer, dgm_pool *pool)
{
    char *text = NULL;
    DGM_TRY(write_tokenizer(at, s, tokenizer));
    DGM_TRY(write_weights(at, s, list, pool));
    int made = dgm_synth_generation_json(&text);
    DGM_TRY(write_made(at, "generation_config.json", made, text));
    made = dgm_synth_readme(&text, s, list->params);
    DGM_TRY(write_made(at, "README.md", made, text));
    made = dgm_synth_config_json(&text, s);
    DGM_TRY(write_made(at, "config.json", made, text));
    if (fsync(at->lock) != 0 && errno != EINVAL)
        return fail_errno(at->part, "cannot be written");
    return rename(at->part, at->dir) == 0 ? DGM_OK : fail_errno(at->dir, "cannot be renamed to");
}

/* ---- the directory ---- */

static int open_place(place *at, const char *dir)
{
    *at = (place){.dir = dir, .lock = -1};
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    if (len + sizeof ".part" > sizeof at->part)
        return dgm_fail(DGM_EOUTPUT, "%s: the name is too long", dir);
    (void)snprintf(at->part, sizeof at->part, "%.*s.part", (int)len, dir);
    struct stat st;
    if (lstat(dir, &st) == 0)
        return dgm_fail(DGM_EOUTPUT, "%s: wanted a name for a new directory, found one that exists",
                        dir);
    if (mkdir(at->part, 0777) != 0 && errno != EEXIST)
        return fail_errno(at->part, "cannot be created");
    at->lock = open(at->part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at->lock < 0)
        return fail_errno(at->part, "cannot be opened");
    if (flock(at->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return dgm_fail(DGM_EOUTPUT, "%s: another process is writing it", at->part);
    return DGM_OK;
}

static void remove_files(const place *at)
{
    char path[4200];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        path_of(path, sizeof path, at->part, files[i]);
        (void)unlink(path);
    }
}

int dgm_synth_write(const dgm_synth *s, const char *dir, const char *tokenizer, dgm_pool *pool)
{
    place at;
    dgm_synth_list list = {0};
    int rc = open_place(&at, dir);
    if (rc == DGM_OK) {
        remove_files(&at); /* of a run that was killed */
        rc = dgm_synth_list_make(&list, s);
        if (rc == DGM_OK)
            rc = write_all(&at, s, &list, tokenizer, pool);
        if (rc != DGM_OK) {
            remove_files(&at);
            (void)rmdir(at.part);
        }
    }
    dgm_synth_list_free(&list);
    if (at.lock >= 0)
        (void)close(at.lock);
    return rc;
}
