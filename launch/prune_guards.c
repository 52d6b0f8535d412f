#include "launch/prune_guards.h"

#include "runtime/lang.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_target(const dgm_gate_stats *s, const char *code)
{
    for (int i = 0; i < s->n_runs; i++)
        if (strcmp(s->runs[i].tgt, code) == 0)
            return true;
    return false;
}

static int no_target(const dgm_gate_stats *s, const char *name)
{
    char known[512];
    size_t n = 0;
    known[0] = '\0';
    for (int i = 0; i < s->n_runs && n < sizeof known; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || strcmp(s->runs[k].tgt, s->runs[i].tgt) == 0;
        if (!seen)
            n += (size_t)snprintf(known + n, sizeof known - n, " %s", s->runs[i].tgt);
    }
    return dgm_fail(DGM_EUSAGE,
                    "--decoder-keep: want a target language of the statistics (%s), found '%s'",
                    known[0] == '\0' ? "there is none" : known + 1, name);
}

/* read_code - a language as the statistics call it. */
static int read_code(char *code, const char *name, const dgm_gate_stats *s)
{
    const char *known = NULL;
    if (!is_target(s, name) && dgm_lang_resolve(&known, name) == DGM_OK)
        name = known;
    if (!is_target(s, name))
        return no_target(s, name);
    memcpy(code, name, strlen(name) + 1); /* fits: the statistics have it */
    return DGM_OK;
}

/* read_target - LANG=FRACTION of `len` bytes. */
static int read_target(dgm_target_budget *t, const char *text, size_t len, const dgm_gate_stats *s)
{
    char name[2 * DGM_GATES_NAME], *end = NULL;
    (void)snprintf(name, sizeof name, "%.*s", (int)len, text);
    char *sign = strchr(name, '=');
    if (sign != NULL)
        t->fraction = strtod(sign + 1, &end);
    if (len >= sizeof name || sign == NULL || sign == name || end == sign + 1 || *end != '\0' ||
        !(t->fraction > 0 && t->fraction <= 1))
        return dgm_fail(DGM_EUSAGE,
                        "--decoder-keep: want LANG=FRACTION with a fraction above 0 and at most 1, "
                        "found '%.*s'",
                        (int)len, text);
    *sign = '\0';
    return read_code(t->target, name, s);
}

static int read_list(dgm_keep_plan *p, dgm_target_budget *to, const char *list,
                     const dgm_gate_stats *s)
{
    for (bool more = true; more;) {
        const size_t len = strcspn(list, ",");
        DGM_TRY(read_target(&to[p->n_targets], list, len, s));
        for (int i = 0; i < p->n_targets; i++)
            if (strcmp(to[i].target, to[p->n_targets].target) == 0)
                return dgm_fail(DGM_EUSAGE, "--decoder-keep: %s is there twice", to[i].target);
        p->n_targets++;
        more = list[len] == ',';
        list += len + 1;
    }
    return DGM_OK;
}

int dgm_prune_guards(dgm_keep_plan *p, const dgm_options *o, const dgm_gate_stats *s)
{
    size_t n = 0;
    p->protect_eos = o->protect_eos;
    if (o->decoder_keep[0] == '\0')
        return DGM_OK;
    if (p->granularity == DGM_BY_ALL)
        return dgm_fail(DGM_EUSAGE, "--decoder-keep: want --granularity language or pair, where a "
                                    "target has a set of its own, found all");
    for (int i = 0; i < o->n_decoder_keeps; i++)
        n += strlen(o->decoder_keeps[i]) + 1; /* more than it names */
    dgm_target_budget *to = calloc(n + 1, sizeof *to);
    if (to == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu budgets", n);
    p->targets = to;
    for (int i = 0; i < o->n_decoder_keeps; i++)
        DGM_TRY(read_list(p, to, o->decoder_keeps[i], s));
    return DGM_OK;
}
