#include "runtime/gate_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The direction of a run, by ids. */
typedef struct direction {
    int32_t src, tgt;
    int32_t mode, pad;
} direction;

struct dgm_gate_record {
    const dgm_kernels *kern;
    dgm_gate_stats stats;
    direction *directions;    /* [stats.n_runs] */
    size_t width[DGM_STACKS]; /* experts of all MoE layers of a stack */
    int beam, positions;
    float *tokens, *rows; /* [tokens, width], [slots, positions, beam, width]; reserved */
    size_t token_bytes, row_bytes;
    float *room; /* [2 * most experts] */
};

int dgm_gate_record_create(dgm_gate_record **out, const dgm_model *m, const dgm_kernels *kern,
                           int tokens, int slots, int beam, int positions)
{
    dgm_gate_record *r = calloc(1, sizeof *r);
    if (r == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for statistics");
    *out = r;
    r->kern = kern;
    r->beam = beam;
    r->positions = positions;
    DGM_TRY(dgm_gates_init(&r->stats, &m->cfg, m->hash));
    for (int l = 0; l < r->stats.shape.n_layers; l++)
        r->width[r->stats.shape.layers[l].stack] += (size_t)r->stats.shape.layers[l].n_experts;
    r->token_bytes = ((size_t)tokens * r->width[DGM_ENCODER] + 1) * sizeof(float);
    r->row_bytes = ((size_t)slots * (size_t)positions * (size_t)beam * r->width[DGM_DECODER] + 1) *
                   sizeof(float);
    r->tokens = dgm_reserve(r->token_bytes);
    r->rows = dgm_reserve(r->row_bytes);
    r->room = calloc(2 * (size_t)dgm_config_most_experts(&m->cfg) + 1, sizeof *r->room);
    if (r->tokens == NULL || r->rows == NULL || r->room == NULL)
        return dgm_fail(DGM_ENOMEM, "statistics: cannot reserve %zu bytes; lower --batch-rows",
                        r->token_bytes + r->row_bytes);
    return DGM_OK;
}

void dgm_gate_record_destroy(dgm_gate_record *r)
{
    if (r == NULL)
        return;
    dgm_release(r->tokens, r->token_bytes);
    dgm_release(r->rows, r->row_bytes);
    dgm_gates_fini(&r->stats);
    free(r->directions);
    free(r->room);
    free(r);
}

float *dgm_gate_record_token(const dgm_gate_record *r, int token)
{
    return r->tokens + (size_t)token * r->width[DGM_ENCODER];
}

float *dgm_gate_record_row(const dgm_gate_record *r, int slot, int position, int row)
{
    const size_t at = ((size_t)slot * (size_t)r->positions + (size_t)position) * (size_t)r->beam;
    return r->rows + (at + (size_t)row) * r->width[DGM_DECODER];
}

int dgm_gate_record_run(int *run, dgm_gate_record *r, int32_t src, int32_t tgt,
                        enum dgm_gates_mode mode)
{
    const int n = r->stats.n_runs;
    const direction want = {.src = src, .tgt = tgt, .mode = (int32_t)mode};
    for (*run = 0; *run < n; ++*run)
        if (memcmp(&r->directions[*run], &want, sizeof want) == 0)
            return DGM_OK;
    direction *more = realloc(r->directions, ((size_t)n + 1) * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for statistics of %d directions", n + 1);
    r->directions = more;
    more[n] = want;
    dgm_gates_run *added;
    DGM_TRY(dgm_gates_add_run(&added, &r->stats));
    added->mode = mode;
    added->gated = true;
    return DGM_OK;
}

void dgm_gate_record_add(dgm_gate_record *r, int run, int stack, const float *logits, bool ends)
{
    dgm_gates_run *to = &r->stats.runs[run];
    to->tokens[stack]++;
    for (int l = 0; l < r->stats.shape.n_layers; l++) {
        const dgm_moe_layer *layer = &r->stats.shape.layers[l];
        if (layer->stack != stack)
            continue;
        dgm_gates_count(to, layer, r->kern, logits, r->room);
        dgm_gates_count_gates(to, layer, logits, r->stats.top_k, ends);
        logits += layer->n_experts;
    }
}

void dgm_gate_record_text(dgm_gate_record *r, int run, const int32_t *src, int n_src,
                          const int32_t *tgt, int n_tgt)
{
    r->stats.runs[run].corpus += dgm_gates_text(src, n_src, tgt, n_tgt);
}

/* ---- all ranks' sums: for each run a direction, tokens, sums ---- */

static size_t run_bytes(const dgm_gate_record *r)
{
    return sizeof(direction) +
           (DGM_STACKS + DGM_GATES_SUMS * r->stats.shape.n_experts) * sizeof(uint64_t);
}

static int send_runs(const dgm_gate_record *r, dgm_comm *comm)
{
    const size_t one = run_bytes(r), sums = DGM_GATES_SUMS * r->stats.shape.n_experts;
    char *text = malloc((size_t)r->stats.n_runs * one + 1), *at = text;
    if (text == NULL) /* rank 0 waits for something: an odd length says what happened */
        return dgm_comm_send(comm, 0, "", 1);
    for (int i = 0; i < r->stats.n_runs; i++, at += one) {
        const dgm_gates_run *run = &r->stats.runs[i];
        memcpy(at, &r->directions[i], sizeof *r->directions);
        memcpy(at + sizeof(direction), run->tokens, sizeof run->tokens);
        memcpy(at + sizeof(direction) + sizeof run->tokens, run->sum[0], sums * sizeof(uint64_t));
    }
    const int rc = dgm_comm_send(comm, 0, text, (size_t)r->stats.n_runs * one);
    free(text);
    return rc;
}

static void add_sums(dgm_gates_run *run, size_t sums, const uint64_t *from)
{
    for (int k = 0; k < DGM_STACKS; k++)
        run->tokens[k] += *from++;
    for (size_t i = 0; i < sums; i++)
        run->sum[0][i] += from[i];
}

static int take_runs(dgm_gate_record *r, dgm_comm *comm, int peer)
{
    const size_t one = run_bytes(r), sums = DGM_GATES_SUMS * r->stats.shape.n_experts;
    const void *base;
    size_t bytes;
    DGM_TRY(dgm_comm_recv(comm, peer, &base, &bytes));
    if (bytes % one != 0)
        return dgm_fail(DGM_ENOMEM, "rank %d: out of memory to send its statistics", peer);
    for (const char *at = base; bytes > 0; bytes -= one, at += one) {
        direction d;
        int run;
        memcpy(&d, at, sizeof d);
        DGM_TRY(dgm_gate_record_run(&run, r, d.src, d.tgt, (enum dgm_gates_mode)d.mode));
        add_sums(&r->stats.runs[run], sums, (const uint64_t *)(const void *)(at + sizeof d));
    }
    return DGM_OK;
}

int dgm_gate_record_gather(dgm_gate_stats *out, dgm_gate_record *r, dgm_comm *comm)
{
    if (dgm_comm_rank(comm) > 0)
        return send_runs(r, comm);
    for (int peer = 1; peer < dgm_comm_size(comm); peer++)
        DGM_TRY(take_runs(r, comm, peer));
    for (int i = 0; i < r->stats.n_runs; i++) {
        (void)snprintf(r->stats.runs[i].src, DGM_GATES_NAME, "%d", r->directions[i].src);
        (void)snprintf(r->stats.runs[i].tgt, DGM_GATES_NAME, "%d", r->directions[i].tgt);
    }
    *out = r->stats;
    r->stats = (dgm_gate_stats){0};
    return DGM_OK;
}
