/* Statistics ('s'), keep files ('k'), lists of kept experts ('l') and sweeps ('w') from anybody: what keeps its promises, or a
 * sentence. */
#define _GNU_SOURCE /* memfd_create */
#include "base/log.h"
#include "runtime/expert_choice.h"
#include "runtime/keep.h"
#include "runtime/sweep_table.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const dgm_model_config shape = {
    .top_k = 2, .n_layers = {4, 4}, .sparse_step = {2, 2}, .n_experts = {4, 3}};

/* What was read is written as it was, and experts can be chosen from it. */
static void check_stats(const dgm_gate_stats *s)
{
    char *text = NULL;
    DGM_ASSERT(dgm_gates_json(&text, s) == DGM_OK);
    free(text);
    double *values = calloc(s->shape.n_experts + 1, sizeof *values);
    uint8_t *keep = calloc(s->shape.n_experts + 1, 1);
    const dgm_gates_filter any = {.mode = -1};
    dgm_expert_budget budget;
    int n_runs = 0;
    DGM_ASSERT(values != NULL && keep != NULL);
    DGM_ASSERT(dgm_metric_values(values, &n_runs, s, DGM_METRIC_IMPORTANCE, &any) == DGM_OK);
    DGM_ASSERT(n_runs == s->n_runs);
    if (dgm_budget_of_fraction(&budget, s, 0.5, 1) == DGM_OK)
        DGM_ASSERT(dgm_choose_experts(keep, values, NULL, s, DGM_CHOOSE_FIXED, &budget) == DGM_OK);
    free(values);
    free(keep);
}

/* Each layer of each set keeps what a token needs. */
static void check_keep(const dgm_keep *k)
{
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < k->n[s]; i++)
            for (int l = 0; l < k->shape.n_layers; l++) {
                const dgm_moe_layer *layer = &k->shape.layers[l];
                int n = 0;
                for (int e = 0; e < layer->n_experts; e++)
                    n += k->sets[s][i].kept[layer->first + (size_t)e];
                DGM_ASSERT(layer->stack == s ? n >= shape.top_k : n == 0);
            }
}

static int read_sweep(const char *path)
{
    dgm_sweep_table t;
    DGM_TRY(dgm_sweep_read(&t, path, 0xab));
    DGM_ASSERT(t.n > 0 && t.knee >= -1 && t.knee < t.n);
    DGM_ASSERT(t.points[t.n].x[DGM_SWEEP_BYTES] == t.points[t.n].x[DGM_SWEEP_BYTES]);
    dgm_sweep_fini(&t);
    return DGM_OK;
}

static int read_as(uint8_t kind, const char *path)
{
    dgm_gate_stats s;
    dgm_keep k;
    int rc;
    if (kind == 's') {
        rc = dgm_gates_read(&s, path);
        if (rc == DGM_OK)
            check_stats(&s);
        if (rc == DGM_OK)
            dgm_gates_fini(&s);
        return rc;
    }
    if (kind == 'w')
        return read_sweep(path);
    rc = kind == 'k' ? dgm_keep_read(&k, path, &shape, 0xab)
                     : dgm_keep_import(&k, path, &shape, 0xab);
    if (rc == DGM_OK) {
        check_keep(&k);
        dgm_keep_fini(&k);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    dgm_log_init(DGM_LOG_ERROR, 0, 1);
    if (size == 0)
        return 0;
    const int fd = memfd_create("fuzz", 0);
    DGM_ASSERT(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int rc = read_as(data[0], path);
    (void)close(fd);
    DGM_ASSERT(rc == DGM_OK || (rc == DGM_EINPUT && strchr(dgm_error_text(), '\n') == NULL));
    return 0;
}
