#define _GNU_SOURCE
#include "runtime/model_writer_header.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, LINE = 64 };

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for the output's headers");
}

/* ---- places ---- */

static uint64_t unit_bytes(const dgm_layout *l, size_t first)
{
    uint64_t sum = 0;
    for (size_t i = first; i < l->n && (i == first || !l->placed[i].what.unit); i++)
        sum += round_up(l->placed[i].what.bytes, LINE);
    return sum;
}

/* Places relative to the first byte of data, which is on a page too; headers are not known yet. */
static void place(dgm_layout *l, uint64_t shard_bytes)
{
    uint64_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        dgm_placed *t = &l->placed[i];
        if (i == 0 || (t->what.unit && at > 0 && at + unit_bytes(l, i) > shard_bytes)) {
            l->shards[l->n_shards++].first = i;
            at = 0;
        }
        t->shard = l->n_shards - 1;
        t->at = t->what.loose ? at : round_up(at, t->what.page ? PAGE : LINE);
        t->pad = t->at - at;
        at = t->at + t->what.bytes;
        l->shards[t->shard].n++;
        l->shards[t->shard].bytes = at;
    }
}

int dgm_layout_make(dgm_layout *out, dgm_new_tensor *tensors, size_t n, uint64_t shard_bytes)
{
    dgm_layout l = {.placed = calloc(n + 1, sizeof *l.placed),
                    .n = n,
                    .shards = calloc(n + 1, sizeof *l.shards)};
    for (size_t i = 0; i < n && l.placed != NULL; i++)
        l.placed[i].what = tensors[i];
    for (size_t i = 0; i < n && l.placed == NULL; i++)
        free(tensors[i].name);
    free(tensors);
    if (l.placed == NULL || l.shards == NULL) {
        dgm_layout_fini(&l);
        return no_memory();
    }
    place(&l, shard_bytes);
    for (int s = 0; s < l.n_shards; s++) {
        char *text = NULL;
        size_t len = 0;
        const int rc = dgm_layout_header(&text, &len, &l, s);
        if (rc != DGM_OK) {
            dgm_layout_fini(&l);
            return rc;
        }
        free(text);
        l.shards[s].header = len;
        l.shards[s].bytes += len;
        for (size_t i = 0; i < l.shards[s].n; i++)
            l.placed[l.shards[s].first + i].at += len;
    }
    *out = l;
    return DGM_OK;
}

void dgm_layout_fini(dgm_layout *l)
{
    for (size_t i = 0; i < l->n && l->placed != NULL; i++)
        free(l->placed[i].what.name);
    free(l->placed);
    free(l->shards);
    *l = (dgm_layout){0};
}

void dgm_layout_name(char name[DGM_SHARD_NAME], const dgm_layout *l, int shard)
{
    if (l->n_shards == 1)
        (void)snprintf(name, DGM_SHARD_NAME, "model.safetensors");
    else
        (void)snprintf(name, DGM_SHARD_NAME, "model-%05d-of-%05d.safetensors", shard + 1,
                       l->n_shards);
}

/* ---- what is written ---- */

static void print_tensor(FILE *f, const char *name, const char *type, int n_dims,
                         const uint64_t *dims, uint64_t begin, uint64_t bytes)
{
    (void)fprintf(f, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, type);
    for (int i = 0; i < n_dims; i++)
        (void)fprintf(f, "%s%" PRIu64, i > 0 ? "," : "", dims[i]);
    (void)fprintf(f, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, begin + bytes);
}

/* The number of a pad is that of the tensor behind it, so it is the only one of its name in any shard. */
static void print_header(FILE *f, const dgm_layout *l, int shard)
{
    const dgm_placed *first = &l->placed[l->shards[shard].first];
    const uint64_t data = l->shards[shard].header;
    (void)fprintf(f, "{\"__metadata__\":{\"format\":\"%s\"",
                  first->what.loose ? "pt" : "dragoman-1.0"); /* transformers asks for pt */
    for (size_t i = 0; i < l->shards[shard].n; i++)
        (void)fprintf(f, ",\"%s\":\"%016" PRIx64 "\"", first[i].what.name, first[i].xxh);
    (void)fprintf(f, "}");
    for (size_t i = 0; i < l->shards[shard].n; i++) {
        const dgm_placed *t = &first[i];
        const uint64_t at = t->at - data;
        char pad[32];
        (void)snprintf(pad, sizeof pad, "pad.%zu", l->shards[shard].first + i);
        if (t->pad > 0)
            print_tensor(f, pad, "U8", 1, &t->pad, at - t->pad, t->pad);
        print_tensor(f, t->what.name, t->what.type, t->what.n_dims, t->what.dims, at,
                     t->what.bytes);
    }
    (void)fprintf(f, "}");
}

int dgm_layout_header(char **text, size_t *len, const dgm_layout *l, int shard)
{
    char *json = NULL;
    size_t json_len = 0;
    FILE *f = open_memstream(&json, &json_len);
    if (f == NULL)
        return no_memory();
    print_header(f, l, shard);
    if (fclose(f) != 0) {
        free(json);
        return no_memory();
    }
    *len = (size_t)round_up(8 + json_len, PAGE);
    const uint64_t spaced = *len - 8;
    *text = malloc(*len);
    if (*text != NULL) {
        memset(*text, ' ', *len);
        for (int i = 0; i < 8; i++)
            (*text)[i] = (char)(spaced >> 8 * i);
        memcpy(*text + 8, json, json_len);
    }
    free(json);
    return *text == NULL ? no_memory() : DGM_OK;
}

int dgm_layout_index(char **text, size_t *len, const dgm_layout *l)
{
    uint64_t total = 0;
    for (int s = 0; s < l->n_shards; s++)
        total += l->shards[s].bytes - l->shards[s].header;
    *text = NULL;
    FILE *f = open_memstream(text, len);
    if (f == NULL)
        return no_memory();
    (void)fprintf(f, "{\"metadata\":{\"total_size\":%" PRIu64 "},\"weight_map\":{", total);
    for (size_t i = 0; i < l->n; i++) {
        const dgm_placed *t = &l->placed[i];
        char name[DGM_SHARD_NAME];
        dgm_layout_name(name, l, t->shard);
        if (t->pad > 0)
            (void)fprintf(f, "\"pad.%zu\":\"%s\",\n", i, name);
        (void)fprintf(f, "\"%s\":\"%s\"%s\n", t->what.name, name, i + 1 < l->n ? "," : "");
    }
    (void)fprintf(f, "}}\n");
    if (fclose(f) != 0) {
        free(*text);
        return no_memory();
    }
    return DGM_OK;
}
