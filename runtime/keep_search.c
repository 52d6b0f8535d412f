#include "runtime/keep_search.h"

#include "base/log.h"
#include "runtime/expert_choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is known of an expert in a set. */
typedef struct known {
    double harm;
    int asked_at; /* how many the set had removed then; -1: never */
} known;

typedef struct search {
    dgm_set_loss *loss;
    const dgm_moe_shape *shape;
    const dgm_search_plan *plan;
    known *known;        /* [n_sets, n_experts] */
    int *left, *removed; /* [n_sets] */
    int to_go;           /* removals that are still to be made */
    int *in_layer;       /* [n_sets, n_layers] */
    dgm_removal *asked;  /* [n_sets, n_experts] */
    dgm_removal *chosen; /* [n_sets] */
} search;

static known *known_of(const search *s, int set)
{
    return s->known + (size_t)set * s->shape->n_experts;
}

static int *in_layer(const search *s, int set, int layer)
{
    return &s->in_layer[set * s->shape->n_layers + layer];
}

/* floor_of - what a layer keeps of a set. */
static int floor_of(const search *s, int set, int layer)
{
    const dgm_search_set *p = &s->plan->sets[set];
    int layers = 0;
    for (int l = 0; l < s->shape->n_layers; l++)
        layers += s->shape->layers[l].stack == p->stack;
    return s->plan->freedom == DGM_SEARCH_EVEN
               ? p->keep / layers
               : dgm_least_experts(s->shape->layers[layer].n_experts);
}

static bool done(const search *s, int set)
{
    return s->to_go == 0 ||
           (s->plan->freedom != DGM_SEARCH_SETS && s->left[set] <= s->plan->sets[set].keep);
}

/* cheapest - of the experts that may go, but for those to skip, the one of least known harm; -1: none. */
static int cheapest(const search *s, int set, const uint8_t *skip)
{
    const uint8_t *kept = dgm_set_loss_set(s->loss, set);
    const known *k = known_of(s, set);
    int best = -1;
    for (int l = 0; l < s->shape->n_layers; l++) {
        const dgm_moe_layer *layer = &s->shape->layers[l];
        if (layer->stack != s->plan->sets[set].stack || *in_layer(s, set, l) <= floor_of(s, set, l))
            continue;
        for (int i = 0; i < layer->n_experts; i++) {
            const int e = (int)layer->first + i;
            if (kept[e] && !skip[e] && (best < 0 || k[e].harm < k[best].harm))
                best = e;
        }
    }
    return best;
}

static int layer_of(const search *s, int expert)
{
    int l = 0;
    while (l + 1 < s->shape->n_layers && s->shape->layers[l + 1].first <= (size_t)expert)
        l++;
    return l;
}

/* list_asked - all experts of a set that were never asked, else the cheapest, if its answer is old. */
static void list_asked(const search *s, int set, uint8_t *skip, int *n)
{
    const known *k = known_of(s, set);
    int e = cheapest(s, set, skip);
    if (e >= 0 && k[e].asked_at >= 0 && k[e].asked_at != s->removed[set])
        s->asked[(*n)++] = (dgm_removal){.set = set, .expert = e};
    for (; e >= 0 && k[e].asked_at < 0; e = cheapest(s, set, skip)) {
        s->asked[(*n)++] = (dgm_removal){.set = set, .expert = e};
        skip[e] = 1;
    }
}

static int by_harm(const void *a, const void *b)
{
    const dgm_removal *x = a, *y = b;
    if (x->harm != y->harm)
        return x->harm < y->harm ? -1 : 1;
    return x->set - y->set;
}

/* share - of n sure removals by sets that share a budget, how many are made: the cheaper half, in front. */
static int share(const search *s, int n)
{
    if (s->plan->freedom != DGM_SEARCH_SETS)
        return n;
    qsort(s->chosen, (size_t)n, sizeof *s->chosen, by_harm);
    const int half = (n + 1) / 2;
    return half < s->to_go ? half : s->to_go;
}

/* take - what sure answers remove: the cheapest expert of each set that was asked as the set stands. */
static int take(search *s, const uint8_t *none)
{
    int n = 0;
    for (int set = 0; set < s->plan->n_sets; set++) {
        const int e = done(s, set) ? -1 : cheapest(s, set, none);
        if (e >= 0 && known_of(s, set)[e].asked_at == s->removed[set])
            s->chosen[n++] = (dgm_removal){set, e, known_of(s, set)[e].harm};
    }
    n = share(s, n);
    s->to_go -= n;
    if (n == 0)
        return DGM_OK;
    DGM_TRY(dgm_set_loss_remove(s->loss, s->chosen, n));
    for (int i = 0; i < n; i++) {
        const dgm_removal *r = &s->chosen[i];
        s->left[r->set]--;
        s->removed[r->set]++;
        --*in_layer(s, r->set, layer_of(s, r->expert));
        const dgm_moe_layer *layer = &s->shape->layers[layer_of(s, r->expert)];
        dgm_log(DGM_LOG_DEBUG, "prune", "%s set %d, %d left: layer %d, expert %d goes, %.6f",
                layer->stack == DGM_ENCODER ? "encoder" : "decoder", r->set, s->left[r->set],
                layer->index, r->expert - (int)layer->first, r->harm);
    }
    return DGM_OK;
}

static int ask(const search *s, uint8_t *skip)
{
    int n = 0;
    for (int set = 0; set < s->plan->n_sets; set++) {
        memset(skip, 0, s->shape->n_experts);
        if (!done(s, set))
            list_asked(s, set, skip, &n);
    }
    if (n == 0)
        return DGM_OK;
    DGM_TRY(dgm_set_loss_ask(s->loss, s->asked, n));
    for (int i = 0; i < n; i++)
        known_of(s, s->asked[i].set)[s->asked[i].expert] =
            (known){s->asked[i].harm, s->removed[s->asked[i].set]};
    return DGM_OK;
}

static int run(search *s, uint8_t *skip, const uint8_t *none)
{
    const int all = s->to_go;
    int shown = 0;
    while (s->to_go > 0) {
        DGM_TRY(ask(s, skip));
        DGM_TRY(take(s, none));
        if ((all - s->to_go) * 10 / all > shown) {
            shown = (all - s->to_go) * 10 / all;
            dgm_log(DGM_LOG_INFO, "prune", "%d of %d experts removed: %.4f a token", all - s->to_go,
                    all, dgm_set_loss_mean(s->loss));
        }
    }
    return DGM_OK;
}

/* count_removals - how many there are to be made. */
static int count_removals(const search *s)
{
    int n = 0;
    for (int set = 0; set < s->plan->n_sets; set++) {
        const int over = s->left[set] - s->plan->sets[set].keep;
        n += s->plan->freedom == DGM_SEARCH_SETS || over > 0 ? over : 0;
    }
    return n > 0 ? n : 0;
}

static void begin(search *s)
{
    for (int set = 0; set < s->plan->n_sets; set++) {
        for (size_t e = 0; e < s->shape->n_experts; e++)
            known_of(s, set)[e] = (known){-INFINITY, -1};
        for (size_t e = 0; e < s->shape->n_experts; e++)
            if (dgm_set_loss_set(s->loss, set)[e]) {
                ++*in_layer(s, set, layer_of(s, (int)e));
                s->left[set]++;
            }
    }
}

int dgm_keep_search(dgm_set_loss *l, const dgm_moe_shape *shape, const dgm_search_plan *plan)
{
    const size_t sets = (size_t)plan->n_sets + 1, n = shape->n_experts + 1;
    search s = {.loss = l,
                .shape = shape,
                .plan = plan,
                .known = calloc(sets * n, sizeof *s.known),
                .left = calloc(2 * sets, sizeof *s.left),
                .in_layer = calloc(sets * (size_t)shape->n_layers, sizeof *s.in_layer),
                .asked = calloc(sets * n, sizeof *s.asked),
                .chosen = calloc(sets, sizeof *s.chosen)};
    uint8_t *skip = calloc(2 * n, 1);
    int rc = DGM_OK;
    if (s.known == NULL || s.left == NULL || s.in_layer == NULL || s.asked == NULL ||
        s.chosen == NULL || skip == NULL)
        rc = dgm_fail(DGM_ENOMEM, "out of memory for a search over %zu experts", shape->n_experts);
    if (rc == DGM_OK) {
        s.removed = s.left + sets;
        begin(&s);
        s.to_go = count_removals(&s);
        rc = run(&s, skip, skip + n);
    }
    free(s.known);
    free(s.left);
    free(s.in_layer);
    free(s.asked);
    free(s.chosen);
    free(skip);
    return rc;
}
