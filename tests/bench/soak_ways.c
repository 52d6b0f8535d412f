#include "tests/bench/soak_ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *prefix;
    bool many; /* several translations of each line */
    dgm_wire_options options;
} ways[] = {
    {.options = {0}},
    {.options = {.retry = DGM_WIRE_RETRY_CHECKS}},
    {.many = true},
    {.many = true, .options = {.retry = DGM_WIRE_RETRY_CHECKS, .token_scores = true}},
    {.prefix = "Ein Mann"},
    {.options = {.token_scores = true, .alignment = true}},
    {.options = {.sampling_topk = 5, .seed = 7}},
    {.options = {.split = DGM_WIRE_SPLIT_ALWAYS, .no_repeat_ngram_size = 3, .max_length = 6}},
};
enum { WAYS = sizeof ways / sizeof ways[0], MOST_BEST = 3 };

static struct {
    const serve_texts *texts;
    const char *src[SOAK_PAIRS], *tgt[SOAK_PAIRS];
    int n_pairs;
    char **told; /* [texts, WAYS, pairs] */
    uint64_t n_told, n_same, n_retried, n_second;
} all;

void soak_ways_open(const serve_texts *texts, char *pairs)
{
    char *rest;
    all.texts = texts;
    for (char *p = strtok_r(pairs, ",", &rest); p != NULL; p = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(p, ':');
        if (colon == NULL || all.n_pairs == SOAK_PAIRS)
            serve_die("want 1 to %d pairs SRC:TGT, found '%s'", SOAK_PAIRS, p);
        *colon = '\0';
        all.src[all.n_pairs] = p;
        all.tgt[all.n_pairs++] = colon + 1;
    }
    all.told = calloc((size_t)texts->n * WAYS * (size_t)all.n_pairs, sizeof(char *));
    if (all.told == NULL)
        serve_die("out of memory");
}

void soak_ways_close(void)
{
    for (int i = 0; i < all.texts->n * WAYS * all.n_pairs; i++)
        free(all.told[i]);
    free(all.told);
}

int soak_ways_count(void)
{
    return WAYS;
}

int soak_pairs_count(void)
{
    return all.n_pairs;
}

const char *soak_src(int pair)
{
    return all.src[pair];
}

const char *soak_tgt(int pair)
{
    return all.tgt[pair];
}

dgm_wire_options soak_options(int way, const dgm_wire_limits *limits)
{
    dgm_wire_options o = ways[way].options;
    if (ways[way].many)
        o.n_best = o.beam_size = limits->n_best < MOST_BEST ? limits->n_best : MOST_BEST;
    return o;
}

dgm_wire_segment soak_segment(const soak_key *k, const dgm_wire_options *options)
{
    const char *prefix = ways[k->way].prefix;
    return (dgm_wire_segment){.text = all.texts->at[k->text],
                              .text_len = strlen(all.texts->at[k->text]),
                              .prefix = prefix,
                              .prefix_len = prefix == NULL ? 0 : strlen(prefix),
                              .src = all.src[k->pair],
                              .tgt = all.tgt[k->pair],
                              .options = options,
                              .number = (uint64_t)k->text + 1};
}

/* describe - all of an answer that may depend on nothing but the line and the way; to be freed. */
static char *describe(const dgm_wire_answer *a)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (f == NULL)
        serve_die("out of memory");
    (void)fprintf(f, "%s, %u to %u tokens, %u parts, checks %u, retried %d %d %a %a %u %u",
                  dgm_wire_status_name(a->status), a->src_tokens, a->tgt_tokens, a->parts,
                  a->checks, a->retried, a->second, a->first_score, a->second_score,
                  a->first_checks, a->second_checks);
    for (size_t i = 0; i < a->n_hyps; i++) {
        const dgm_wire_hypothesis *h = &a->hyps[i];
        (void)fprintf(f, " | %s | %a", h->text, h->score);
        for (size_t k = 0; k < h->n_tokens; k++)
            (void)fprintf(f, " %s %a", h->tokens[k], (double)h->token_scores[k]);
        for (size_t k = 0; k < 2 * h->n_alignment; k++)
            (void)fprintf(f, " %u", h->alignment[k]);
    }
    if (fclose(f) != 0)
        serve_die("out of memory");
    return text;
}

void soak_check(const soak_key *k, const dgm_wire_answer *a)
{
    char **told = &all.told[(k->text * WAYS + k->way) * all.n_pairs + k->pair];
    char *now = describe(a);
    all.n_retried += a->retried;
    all.n_second += a->second;
    if (*told == NULL) {
        *told = now;
        all.n_told++;
        return;
    }
    if (strcmp(*told, now) != 0)
        serve_die("'%s' in way %d from %s to %s was\n  %s\nbefore, and is\n  %s\nnow",
                  all.texts->at[k->text], k->way, all.src[k->pair], all.tgt[k->pair], *told, now);
    all.n_same++;
    free(now);
}

void soak_show(void)
{
    (void)printf("%llu different answers, %llu the same as before; %llu decoded twice, %llu of "
                 "them given as the second time\n",
                 (unsigned long long)all.n_told, (unsigned long long)all.n_same,
                 (unsigned long long)all.n_retried, (unsigned long long)all.n_second);
}
