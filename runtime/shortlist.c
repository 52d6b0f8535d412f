#include "runtime/shortlist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Makes *s n lists of which only code and length are known, or nothing. */
static int make_lists(dgm_shortlists *s, int n)
{
    *s = (dgm_shortlists){0};
    if (n == 0)
        return DGM_OK;
    s->list = calloc((size_t)n, sizeof *s->list);
    if (s->list == NULL)
        return dgm_fail(DGM_ENOMEM, "no memory for %d lists of vocabulary", n);
    return DGM_OK;
}

/* add_list - copies ids [n] as the next list. */
static int add_list(dgm_shortlists *s, int32_t code, const int32_t *ids, int n)
{
    const size_t bytes = (size_t)n * sizeof *ids;
    int32_t *copy = malloc(bytes);
    if (copy == NULL)
        return dgm_fail(DGM_ENOMEM, "no memory for a vocabulary of %d ids", n);
    memcpy(copy, ids, bytes);
    s->list[s->n++] = (dgm_shortlist){.code = code, .n = n, .ids = copy};
    return DGM_OK;
}

int dgm_shortlists_choose(dgm_shortlists *s, const dgm_vmap *map, const int32_t *codes, int n)
{
    DGM_TRY(make_lists(s, n));
    for (int i = 0; i < n; i++) {
        const dgm_vmap_list *l = dgm_vmap_find(map, codes[i]);
        if (l != NULL)
            DGM_TRY(add_list(s, l->code, l->ids, l->n));
    }
    return DGM_OK;
}

/* ---- to the other ranks: one message, int32: lists; then of each code, n, ids ---- */

static int send_lists(const dgm_shortlists *s, dgm_comm *comm)
{
    const int ranks = dgm_comm_size(comm);
    size_t n = 1;
    for (int i = 0; i < s->n; i++)
        n += 2 + (size_t)s->list[i].n;
    int32_t *text = ranks > 1 ? malloc(n * sizeof *text) : NULL, none = -1, *at = text;
    if (text != NULL)
        *at++ = s->n;
    for (int i = 0; text != NULL && i < s->n; i++) {
        const dgm_shortlist *l = &s->list[i];
        *at++ = l->code;
        *at++ = l->n;
        memcpy(at, l->ids, (size_t)l->n * sizeof *at);
        at += l->n;
    }
    int rc = DGM_OK;
    for (int r = 1; r < ranks && rc == DGM_OK; r++)
        rc = text != NULL ? dgm_comm_send(comm, r, text, n * sizeof *text)
                          : dgm_comm_send(comm, r, &none, sizeof none);
    free(text);
    if (rc == DGM_OK && ranks > 1 && text == NULL)
        rc = dgm_fail(DGM_ENOMEM, "no memory to send %zu ids of vocabulary", n);
    return rc;
}

static int take_lists(dgm_shortlists *s, dgm_comm *comm)
{
    const void *base;
    size_t bytes;
    DGM_TRY(dgm_comm_recv(comm, 0, &base, &bytes));
    const int32_t *at = base;
    const int n = *at++;
    if (n < 0) /* rank 0 says why */
        return DGM_OK;
    DGM_TRY(make_lists(s, n));
    for (int i = 0; i < n; i++) {
        DGM_TRY(add_list(s, at[0], at + 2, at[1]));
        at += 2 + at[1];
    }
    return DGM_OK;
}

int dgm_shortlists_share(dgm_shortlists *s, dgm_comm *comm)
{
    return dgm_comm_rank(comm) == 0 ? send_lists(s, comm) : take_lists(s, comm);
}

/* ---- rows ---- */

static size_t list_bytes(const dgm_shortlist *l, const dgm_packed *embed)
{
    const size_t scales = dgm_packed_scales(embed->type, l->n, embed->k, embed->group);
    return dgm_arena_align(dgm_packed_bytes(embed->type, l->n, embed->k)) +
           dgm_arena_align(scales * sizeof(float));
}

size_t dgm_shortlists_bytes(const dgm_shortlists *s, const dgm_model *m)
{
    size_t bytes = 0;
    for (int i = 0; i < s->n; i++)
        bytes += list_bytes(&s->list[i], &m->embed);
    return bytes;
}

int dgm_shortlists_gather(dgm_shortlists *s, const dgm_model *m, dgm_comm *comm)
{
    const dgm_packed *embed = &m->embed;
    if (s->n == 0)
        return DGM_OK;
    DGM_TRY(dgm_arena_init_huge(&s->rows, dgm_shortlists_bytes(s, m)));
    for (int i = 0; i < s->n; i++) {
        dgm_shortlist *l = &s->list[i];
        const size_t scales = dgm_packed_scales(embed->type, l->n, embed->k, embed->group);
        void *data = dgm_arena_push(&s->rows, dgm_packed_bytes(embed->type, l->n, embed->k));
        float *scale = scales > 0 ? dgm_arena_push(&s->rows, scales * sizeof *scale) : NULL;
        if (comm != NULL)
            dgm_comm_busy(comm, "gathering vocabularies");
        l->w = dgm_packed_gather(data, scale, embed, l->ids, l->n);
    }
    return DGM_OK;
}

const dgm_shortlist *dgm_shortlists_find(const dgm_shortlists *s, int32_t code)
{
    for (int i = 0; s != NULL && i < s->n; i++)
        if (s->list[i].code == code)
            return &s->list[i];
    return NULL;
}

void dgm_shortlists_fini(dgm_shortlists *s)
{
    for (int i = 0; i < s->n; i++)
        free((void *)s->list[i].ids);
    free(s->list);
    dgm_arena_fini(&s->rows);
    *s = (dgm_shortlists){0};
}

/* spread - a logit moves up to its id, from the last on, since ids[i] >= i; between two of them nothing is listed. */
static void spread(const dgm_shortlist *l, float *full, int vocab_size)
{
    int above = vocab_size;
    for (int i = l->n - 1; i >= 0; i--) {
        const float logit = full[i];
        for (int id = l->ids[i] + 1; id < above; id++)
            full[id] = -INFINITY;
        above = l->ids[i];
        full[above] = logit;
    }
    for (int id = 0; id < above; id++)
        full[id] = -INFINITY;
}

void dgm_shortlist_name(const dgm_shortlist *l, dgm_vocab_row *row, int vocab_size)
{
    for (int i = 0; i < row->n_found; i++)
        row->ids[i] = l->ids[row->ids[i]];
    if (row->full != NULL)
        spread(l, row->full, vocab_size);
}
