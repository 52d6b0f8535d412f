/* `dragoman bench KIND`: the kinds, and which options each has. */
#include "launch/bench_cuda.h"
#include "launch/bench_exchange.h"
#include "launch/bench_experts.h"
#include "launch/bench_kernels.h"
#include "launch/bench_layers.h"
#include "launch/bench_pruning.h"
#include "launch/bench_routing.h"
#include "launch/bench_sparse.h"
#include "launch/commands.h"
#include "launch/options_table.h"

#include <string.h>

#define ENGINE                                                                                     \
    "model comm threads isa device task-ranks compute kv overlap comm-stall-ms comm-deadline-ms "  \
    "json batch src-tokens targets "

static const struct kind {
    const char *name;
    int (*run)(const dgm_options *o);
    bool ranks;        /* the others are rank 0's alone */
    const char *takes; /* beside what every command has */
} kinds[] = {
    {"kernels", dgm_bench_kernels, false, "threads isa json"},
    {"exchange", dgm_bench_exchange, true, "comm comm-stall-ms comm-deadline-ms json"},
    {"layers", dgm_bench_layers, true, ENGINE "beam tgt-tokens"},
    {"experts", dgm_bench_experts, false, "threads isa json"},
    {"pruning", dgm_bench_pruning, true, ENGINE "beam lengths"},
    {"routing", dgm_bench_routing, true, ENGINE "tgt-tokens"},
    {"sparse", dgm_bench_sparse, false, "isa json batch"},
    {"cuda", dgm_bench_cuda, false, "json"},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const struct kind *find(const dgm_options *o)
{
    for (int i = 0; o->n_args > 0 && i < KINDS; i++)
        if (strcmp(o->args[0], kinds[i].name) == 0)
            return &kinds[i];
    return NULL;
}

static bool takes(const struct kind *k, const char *key)
{
    const size_t n = strlen(key);
    for (const char *at = k->takes; (at = strstr(at, key)) != NULL; at += n)
        if ((at == k->takes || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

/* takers - of an option, as a list; "": it is one that every command has. */
static void takers(char *out, size_t size, const char *key)
{
    out[0] = '\0';
    for (int i = 0; i < KINDS; i++) {
        const size_t n = strlen(out);
        if (takes(&kinds[i], key))
            (void)snprintf(out + n, size - n, "%sbench %s", n > 0 ? ", " : "", kinds[i].name);
    }
}

int dgm_cmd_bench_check(const dgm_options *o)
{
    const struct kind *k = find(o);
    if (k == NULL && o->n_args == 0 && o->print_config)
        return DGM_OK;
    if (k == NULL)
        return dgm_fail(DGM_EUSAGE,
                        "bench: want kernels, exchange, layers, experts, pruning, routing, sparse "
                        "or cuda, found '%s'",
                        o->n_args > 0 ? o->args[0] : "");
    for (int i = 0; i < dgm_option_row_count; i++) {
        char others[128];
        const char *key = dgm_option_rows[i].key;
        takers(others, sizeof others, key);
        if (others[0] != '\0' && !takes(k, key) && dgm_options_flagged(o, key))
            return dgm_fail(DGM_EUSAGE, "--%s: not an option of bench %s, but of %s", key, k->name,
                            others);
    }
    return DGM_OK;
}

bool dgm_cmd_bench_alone(const dgm_options *o)
{
    const struct kind *k = find(o);
    return k == NULL || !k->ranks;
}

int dgm_cmd_bench(const dgm_options *o)
{
    return find(o)->run(o);
}
