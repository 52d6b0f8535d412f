/* Synthetic models that are routed by task: which tasks they have, and tables in which each has experts of its own. */
#include "kernels/pack.h"
#include "runtime/lang.h"
#include "runtime/synth.h"

#include <math.h>
#include <string.h>

/* The first tasks; then come all other languages in the order of NLLB's ids. */
static const char *const first_codes[] = {"deu_Latn", "fra_Latn", "ces_Latn", "spa_Latn"};
enum { FIRST_CODES = sizeof first_codes / sizeof first_codes[0] };

static bool is_first(const char *code)
{
    for (int i = 0; i < FIRST_CODES; i++)
        if (strcmp(first_codes[i], code) == 0)
            return true;
    return false;
}

const char *dgm_synth_task(int task)
{
    int n, left = task - FIRST_CODES;
    const dgm_lang *langs = dgm_langs(&n);
    if (left < 0)
        return first_codes[task];
    for (int i = 0; i < n; i++)
        if (!is_first(langs[i].code) && left-- == 0)
            return langs[i].code;
    return NULL;
}

void dgm_synth_task_experts(int pair[2], uint64_t key, int n_experts, int task)
{
    for (int i = 0; i < 2; i++)
        pair[i] = (int)((key + 2 * (uint64_t)task + (uint64_t)i) % (uint64_t)n_experts);
}

/* place - which task and expert the element is of; false: past the table's edge. */
static bool place(int *task, int *expert, const dgm_synth_tensor *t, uint64_t element)
{
    const uint64_t k = (uint64_t)t->k;
    *task = (int)(element / k);
    *expert = (int)(element % k);
    if (t->panels) { /* f32: [panels][k][16] */
        *task = (int)(element / (k * DGM_PANEL) * DGM_PANEL + element % DGM_PANEL);
        *expert = (int)(element / DGM_PANEL % k);
    }
    return *task < t->n;
}

/* logit - above all that are random (255 units), even so that 8 bits hold it. */
static int logit(uint64_t key, int task, int pick)
{
    const int own = (int)(key >> 8 & 31) + 11 * task + 5 * pick;
    return (pick == 0 ? 400 : 320) + 2 * (own & 31);
}

void dgm_synth_put_tasks(void *dst, const dgm_synth_tensor *t, uint64_t key, uint64_t first,
                         size_t n)
{
    const bool half = strcmp(t->type, "BF16") == 0;
    const float unit = ldexpf(1, t->exponent);
    for (size_t i = 0; i < n; i++) {
        int task, expert, pair[2];
        if (!place(&task, &expert, t, first + i))
            continue;
        dgm_synth_task_experts(pair, key, t->k, task);
        for (int p = 1; p >= 0; p--) { /* of one expert alone, the first counts */
            const float x = (float)logit(key, task, p) * unit;
            uint32_t bits;
            if (expert != pair[p])
                continue;
            memcpy(&bits, &x, sizeof bits);
            if (half)
                ((uint16_t *)dst)[i] = (uint16_t)(bits >> 16);
            else
                ((float *)dst)[i] = x;
        }
    }
}
