/* What a keep file keeps, for programs. */
#include "runtime/keep.h"

#include <jansson.h>

static json_t *stack_json(const dgm_keep *k, int s, const char *const *names, int n)
{
    const dgm_keep_overlap o = dgm_keep_compare(k, s, names, n);
    json_t *kept = json_object();
    for (int i = 0; i < k->n[s]; i++)
        if (dgm_keep_among(k->sets[s][i].name, names, n))
            (void)json_object_set_new(kept, k->sets[s][i].name,
                                      json_integer(dgm_keep_count(k, &k->sets[s][i])));
    return json_pack("{s:i, s:o, s:i, s:i, s:f, s:f, s:f}", "experts", o.experts, "kept", kept,
                     "kept_union", o.all_union, "kept_by_all", o.all_share, "jaccard_mean", o.mean,
                     "jaccard_min", o.least, "jaccard_max", o.most);
}

static json_t *ranks_json(const dgm_model *m, int n)
{
    json_t *ranks = json_array();
    for (int r = 0; r < n; r++) {
        uint64_t dense, experts;
        dgm_model_rank_bytes(&dense, &experts, m, r, n, true);
        (void)json_array_append_new(ranks, json_pack("{s:i, s:I, s:I}", "rank", r, "expert_bytes",
                                                     (json_int_t)experts, "dense_bytes",
                                                     (json_int_t)dense));
    }
    return ranks;
}

/* Names of the sets of both stacks, each once. */
static json_t *languages_json(const dgm_keep *k, const char *const *names, int n)
{
    json_t *all = json_array();
    for (int s = 0; s < DGM_STACKS; s++)
        for (int i = 0; i < k->n[s]; i++) {
            const char *name = k->sets[s][i].name;
            const bool seen = s > 0 && dgm_keep_named(k, DGM_ENCODER, name) != NULL;
            if (dgm_keep_among(name, names, n) && !seen)
                (void)json_array_append_new(all, json_string(name));
        }
    return all;
}

int dgm_keep_json(char **text, const dgm_keep *k, const char *const *names, int n,
                  const dgm_model *m, int ranks)
{
    json_t *all = json_pack(
        "{s:I, s:o, s:o, s:o, s:o}", "file_bytes", (json_int_t)dgm_model_file_bytes(m), "languages",
        languages_json(k, names, n), "encoder", stack_json(k, DGM_ENCODER, names, n), "decoder",
        stack_json(k, DGM_DECODER, names, n), "ranks", ranks_json(m, ranks));
    *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return *text != NULL ? DGM_OK : dgm_fail(DGM_ENOMEM, "out of memory for JSON");
}
