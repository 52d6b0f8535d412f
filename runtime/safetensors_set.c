/* The tensors of a directory: one file, or shards with an index. */
#define _GNU_SOURCE
#include "runtime/config_json.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

static int read_at(const file *f, void *dst, uint64_t at, size_t bytes)
{
    size_t have = 0;
    while (have < bytes) {
        const ssize_t n = pread(f->fd, (char *)dst + have, bytes - have, (off_t)(at + have));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dgm_fail(DGM_EMODEL, "%s: wanted %zu bytes at byte %" PRIu64 ", found %zu: %s",
                            f->path, bytes, at, have, n < 0 ? strerror(errno) : "end of file");
        have += (size_t)n;
    }
    return DGM_OK;
}

static int file_read_header(file *f, XXH3_state_t *hash)
{
    unsigned char first[8] = {0};
    DGM_TRY(read_at(f, first, 0, f->bytes < 8 ? (size_t)f->bytes : 8));
    size_t len = 0;
    DGM_TRY(dgm_st_header_bytes(&len, f->path, first, sizeof first, f->bytes));
    char *json = malloc(len + 1);
    if (json == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a header of %zu bytes", f->path, len);
    int rc = read_at(f, json, 8, len);
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
    return file_read_header(f, hash);
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

static int no_weights(const char *dir)
{
    if (exists(dir, "pytorch_model.bin") || exists(dir, "pytorch_model.bin.index.json"))
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted model.safetensors, found pytorch_model.bin, which this version "
                        "does not read: "
                        "load it with Hugging Face transformers and save_pretrained(DIR, "
                        "safe_serialization=True)",
                        dir);
    return dgm_fail(DGM_EMODEL,
                    "%s: wanted model.safetensors or model.safetensors.index.json, found neither",
                    dir);
}

int dgm_tensors_open(dgm_tensors **out, const char *dir)
{
    dgm_tensors *t = calloc(1, sizeof *t);
    if (t == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a list of tensors", dir);
    int rc;
    if (exists(dir, "model.safetensors")) {
        const char *const name = "model.safetensors";
        rc = open_files(t, dir, &name, 1);
    } else if (exists(dir, "model.safetensors.index.json")) {
        char *index = NULL;
        if (asprintf(&index, "%s/model.safetensors.index.json", dir) < 0)
            index = NULL;
        rc = index == NULL ? dgm_fail(DGM_ENOMEM, "%s: cannot allocate a path", dir)
                           : open_shards(t, dir, index);
        free(index);
    } else {
        rc = no_weights(dir);
    }
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
    DGM_TRY(read_at(f, dst, tensor->begin + offset, bytes));
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
