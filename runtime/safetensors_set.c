/* The tensors of a directory: one file, or shards with an index. */
#define _GNU_SOURCE
#include "runtime/config_json.h"
#include "runtime/safetensors.h"
#include "runtime/torch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { MAX_INDEX_BYTES = 100000000, MAX_FILES = 10000 };

typedef struct file {
    char *path;
    int fd;
    uint64_t bytes;
    void *map; /* NULL: nobody asked for it */
    dgm_st_header header;
} file;

struct dgm_tensors {
    file *files;
    int n_files;
    dgm_tensor *all;
    size_t n;
    uint32_t *table; /* open addressing: 1 + index in all; 0: free */
    size_t mask;
    uint64_t hash;
};

/* ---- one file ---- */

static int safetensors_header(file *f, XXH3_state_t *hash)
{
    unsigned char first[8] = {0};
    DGM_TRY(dgm_file_read_at(f->fd, f->path, first, 0, f->bytes < 8 ? (size_t)f->bytes : 8));
    size_t len = 0;
    DGM_TRY(dgm_st_header_bytes(&len, f->path, first, sizeof first, f->bytes));
    char *json = malloc(len + 1);
    if (json == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a header of %zu bytes", f->path, len);
    int rc = dgm_file_read_at(f->fd, f->path, json, 8, len);
    if (rc == DGM_OK)
        rc = dgm_st_parse(&f->header, f->path, json, len, f->bytes);
    if (rc == DGM_OK) {
        (void)XXH3_64bits_update(hash, first, sizeof first);
        (void)XXH3_64bits_update(hash, json, len);
        (void)XXH3_64bits_update(hash, &f->bytes, sizeof f->bytes);
    }
    free(json);
    return rc;
}

/* A torch file has no one header: hashed is what came out of it. */
static int torch_header(file *f, XXH3_state_t *hash)
{
    DGM_TRY(dgm_torch_read(&f->header, f->path, f->fd, f->bytes));
    for (size_t i = 0; i < f->header.n; i++) {
        const dgm_tensor *t = &f->header.tensors[i];
        (void)XXH3_64bits_update(hash, t->name, strlen(t->name) + 1);
        (void)XXH3_64bits_update(hash, t->type, strlen(t->type) + 1);
        (void)XXH3_64bits_update(hash, t->dims, sizeof t->dims);
        (void)XXH3_64bits_update(hash, &t->begin, sizeof t->begin);
    }
    (void)XXH3_64bits_update(hash, &f->bytes, sizeof f->bytes);
    return DGM_OK;
}

static bool ends_in(const char *text, const char *ending)
{
    const size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* f is zeroed and becomes part of the set before this is called, so that closing the set undoes it. */
static int file_open(file *f, const char *dir, const char *name, XXH3_state_t *hash)
{
    f->fd = -1;
    if (asprintf(&f->path, "%s/%s", dir, name) < 0) {
        f->path = NULL;
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a path", dir);
    }
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return dgm_fail(DGM_EMODEL, "%s: cannot open: %s", f->path, strerror(errno));
    struct stat st;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return dgm_fail(DGM_EMODEL, "%s: wanted a file, found something else", f->path);
    f->bytes = (uint64_t)st.st_size;
    /* We ask for what we need in large pieces; read-ahead past them would fetch other ranks' experts. */
    (void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_RANDOM);
    return ends_in(name, ".bin") ? torch_header(f, hash) : safetensors_header(f, hash);
}

/* ---- the table of names ---- */

static size_t slot_of(const dgm_tensors *t, const char *name)
{
    size_t at = (size_t)XXH3_64bits(name, strlen(name)) & t->mask;
    while (t->table[at] != 0 && strcmp(t->all[t->table[at] - 1].name, name) != 0)
        at = (at + 1) & t->mask;
    return at;
}

const dgm_tensor *dgm_tensors_find(const dgm_tensors *t, const char *name)
{
    const uint32_t found = t->table[slot_of(t, name)];
    return found == 0 ? NULL : &t->all[found - 1];
}

/* Gathers the files' tensors in one array and enters them in the table. */
static int gather(dgm_tensors *t)
{
    size_t n = 0;
    for (int i = 0; i < t->n_files; i++)
        n += t->files[i].header.n;
    size_t cap = 16;
    while (cap < 2 * n)
        cap *= 2;
    t->mask = cap - 1;
    t->table = calloc(cap, sizeof *t->table);
    t->all = calloc(n + 1, sizeof *t->all);
    if (t->table == NULL || t->all == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a table of %zu tensors", n);
    for (int i = 0; i < t->n_files; i++) {
        const dgm_st_header *h = &t->files[i].header;
        for (size_t k = 0; k < h->n; k++) {
            const size_t at = slot_of(t, h->tensors[k].name);
            if (t->table[at] != 0)
                return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted it once, found it in %s too",
                                t->files[i].path, h->tensors[k].name,
                                t->files[t->all[t->table[at] - 1].file].path);
            t->all[t->n] = h->tensors[k];
            t->all[t->n].file = i;
            t->table[at] = (uint32_t)++t->n;
        }
    }
    return DGM_OK;
}

/* ---- shards ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct file names of weight_map, ascending; they point into the JSON. */
static int shard_names(const char ***out, int *n_out, const dgm_json *j, const json_t *map)
{
    const char **names = calloc(json_object_size(map) + 1, sizeof *names);
    if (names == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a list of shards", j->path);
    size_t n = 0;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)map, key, v)
    {
        const char *name = json_string_value(v);
        /* A shard lies beside its index: no path that leads elsewhere. */
        if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL) {
            free(names);
            return dgm_fail(
                DGM_EMODEL, "%s: tensor %s: wanted the name of a file beside the index, found %s",
                j->path, dgm_printable(key), name == NULL ? "no text" : dgm_printable(name));
        }
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, by_text);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    if (kept == 0 || kept > MAX_FILES) {
        free(names);
        return dgm_fail(DGM_EMODEL, "%s: wanted 1 to %d shards, found %zu", j->path, MAX_FILES,
                        kept);
    }
    *out = names;
    *n_out = (int)kept;
    return DGM_OK;
}

/* The index and the shards must tell the same story, both ways. */
static int check_index(const dgm_tensors *t, const dgm_json *j, const json_t *map)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)map, key, v)
    {
        const dgm_tensor *found = dgm_tensors_find(t, key);
        const char *path = found == NULL ? "" : t->files[found->file].path;
        const char *base = strrchr(path, '/');
        if (base == NULL || strcmp(base + 1, json_string_value(v)) != 0)
            return dgm_fail(DGM_EMODEL, "%s: tensor %s: wanted it in %s, found it %s%s", j->path,
                            dgm_printable(key), dgm_printable(json_string_value(v)),
                            found == NULL ? "nowhere" : "in ", path);
    }
    for (size_t i = 0; i < t->n; i++)
        if (json_object_get(map, t->all[i].name) == NULL)
            return dgm_fail(DGM_EMODEL,
                            "%s: wanted every tensor of the shards, found none of the name %s",
                            j->path, t->all[i].name);
    return DGM_OK;
}

static int open_files(dgm_tensors *t, const char *dir, const char *const *names, int n)
{
    XXH3_state_t *hash = XXH3_createState();
    t->files = calloc((size_t)n, sizeof *t->files);
    if (t->files == NULL || hash == NULL) {
        XXH3_freeState(hash);
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a list of %d files", dir, n);
    }
    (void)XXH3_64bits_reset(hash);
    int rc = DGM_OK;
    for (int i = 0; i < n && rc == DGM_OK; i++) {
        t->n_files = i + 1;
        rc = file_open(&t->files[i], dir, names[i], hash);
    }
    t->hash = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return rc != DGM_OK ? rc : gather(t);
}

static int open_shards(dgm_tensors *t, const char *dir, const char *index)
{
    char *text;
    size_t len;
    DGM_TRY(dgm_file_slurp(&text, &len, index, MAX_INDEX_BYTES));
    dgm_json j;
    int rc = dgm_json_open(&j, index, text, len, false);
    free(text);
    if (rc != DGM_OK)
        return rc;
    const json_t *map = json_object_get(j.root, "weight_map");
    const char **names = NULL;
    int n = 0;
    if (!json_is_object(map))
        rc = dgm_fail(DGM_EMODEL, "%s: wanted an object weight_map, found none", index);
    else
        rc = shard_names(&names, &n, &j, map);
    if (rc == DGM_OK)
        rc = open_files(t, dir, names, n);
    if (rc == DGM_OK)
        rc = check_index(t, &j, map);
    free(names);
    dgm_json_close(&j);
    return rc;
}

/* ---- the directory ---- */

static bool exists(const char *dir, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return false;
    const bool yes = access(path, F_OK) == 0;
    free(path);
    return yes;
}

/* A directory's weights, in order of preference: one file, or shards with an index. */
static const struct weights {
    const char *file, *index;
} weights[] = {
    {"model.safetensors", "model.safetensors.index.json"},
    {"pytorch_model.bin", "pytorch_model.bin.index.json"},
};

static int open_weights(dgm_tensors *t, const char *dir)
{
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        if (exists(dir, weights[i].file))
            return open_files(t, dir, &weights[i].file, 1);
        if (!exists(dir, weights[i].index))
            continue;
        char *index;
        if (asprintf(&index, "%s/%s", dir, weights[i].index) < 0)
            return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a path", dir);
        const int rc = open_shards(t, dir, index);
        free(index);
        return rc;
    }
    return dgm_fail(DGM_EMODEL,
                    "%s: wanted model.safetensors, pytorch_model.bin, or the index of shards of "
                    "either, found none",
                    dir);
}

bool dgm_tensors_there(const char *dir)
{
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (exists(dir, weights[i].file) || exists(dir, weights[i].index))
            return true;
    return false;
}

int dgm_tensors_open(dgm_tensors **out, const char *dir)
{
    dgm_tensors *t = calloc(1, sizeof *t);
    if (t == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a list of tensors", dir);
    const int rc = open_weights(t, dir);
    if (rc != DGM_OK) {
        dgm_tensors_close(t);
        return rc;
    }
    *out = t;
    return DGM_OK;
}

void dgm_tensors_close(dgm_tensors *t)
{
    if (t == NULL)
        return;
    for (int i = 0; i < t->n_files; i++) {
        dgm_st_header_fini(&t->files[i].header); /* names in t->all are these */
        if (t->files[i].map != NULL)
            (void)munmap(t->files[i].map, (size_t)t->files[i].bytes);
        if (t->files[i].fd >= 0)
            (void)close(t->files[i].fd);
        free(t->files[i].path);
    }
    free(t->files);
    free(t->all);
    free(t->table);
    free(t);
}

const dgm_tensor *dgm_tensors_all(const dgm_tensors *t, size_t *n)
{
    *n = t->n;
    return t->all;
}

int dgm_tensors_read(const dgm_tensors *t, const dgm_tensor *tensor, void *dst, uint64_t offset,
                     size_t bytes, size_t ahead)
{
    const file *f = &t->files[tensor->file];
    DGM_ASSERT(offset <= tensor->bytes && bytes <= tensor->bytes - offset);
    const uint64_t rest = tensor->bytes - offset - bytes;
    DGM_TRY(dgm_file_read_at(f->fd, f->path, dst, tensor->begin + offset, bytes));
    if (ahead > rest)
        ahead = (size_t)rest;
    if (ahead > 0)
        (void)posix_fadvise(f->fd, (off_t)(tensor->begin + offset + bytes), (off_t)ahead,
                            POSIX_FADV_WILLNEED);
    return DGM_OK;
}

int dgm_tensors_map(const void **out, dgm_tensors *t, const dgm_tensor *tensor)
{
    file *f = &t->files[tensor->file];
    if (f->map == NULL) {
        void *map = mmap(NULL, (size_t)f->bytes, PROT_READ, MAP_SHARED, f->fd, 0);
        if (map == MAP_FAILED)
            return dgm_fail(DGM_EMODEL, "%s: cannot be mapped: %s", f->path, strerror(errno));
        /* Read-ahead would fetch experts of other ranks; what is ours we ask for (dgm_tensors_want). */
        (void)madvise(map, (size_t)f->bytes, MADV_RANDOM);
        f->map = map;
    }
    *out = (const char *)f->map + tensor->begin;
    return DGM_OK;
}

void dgm_tensors_want(const dgm_tensors *t, const dgm_tensor *tensor)
{
    const file *f = &t->files[tensor->file];
    (void)posix_fadvise(f->fd, (off_t)tensor->begin, (off_t)tensor->bytes, POSIX_FADV_WILLNEED);
}

uint64_t dgm_tensors_hash(const dgm_tensors *t)
{
    return t->hash;
}

uint64_t dgm_tensors_bytes(const dgm_tensors *t)
{
    uint64_t sum = 0;
    for (int i = 0; i < t->n_files; i++)
        sum += t->files[i].bytes;
    return sum;
}

int dgm_tensors_files(const dgm_tensors *t)
{
    return t->n_files;
}

const char *dgm_tensors_path(const dgm_tensors *t, const dgm_tensor *tensor)
{
    return t->files[tensor->file].path;
}
