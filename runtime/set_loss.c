#include "runtime/set_loss.h"

#include <stdlib.h>
#include <string.h>

/* One of the sets at hand. */
typedef struct set {
    int stack;
    int number;    /* in the engine's table */
    uint8_t *kept; /* [n_experts] */
} set;

typedef struct text {
    dgm_pairs pairs;
    int set[DGM_STACKS], task;
    double tokens;  /* of the translations, codes and </s> counted, as scores count them */
    double *loss;   /* [pairs.n] as sets stand */
    uint8_t *marks; /* [pairs.n, n_experts] which experts each line went to */
} text;

/* A line to compute: as sets stand, or with one removal. */
typedef struct question {
    int removal; /* -1: as they stand */
    int text;
    size_t line;
    double loss; /* out */
} question;

struct dgm_set_loss {
    dgm_set_loss_config cfg;
    size_t n_experts;
    set *sets; /* [n_sets] */
    int n_sets;
    text *texts; /* [n_texts] */
    int n_texts;
    question *questions; /* [n_questions], room for cap */
    size_t n_questions, cap;
    double answered; /* in all */
    /* the removals of the questions */
    const dgm_removal *removals;
    int *numbers; /* [removals] of the sets that lack them */
};

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory for the losses of a text");
}

int dgm_set_loss_create(dgm_set_loss **out, const dgm_set_loss_config *cfg)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return no_memory();
    (*out)->cfg = *cfg;
    (*out)->n_experts = cfg->sets->shape.n_experts;
    return DGM_OK;
}

void dgm_set_loss_destroy(dgm_set_loss *l)
{
    if (l == NULL)
        return;
    for (int i = 0; i < l->n_sets; i++)
        free(l->sets[i].kept);
    for (int i = 0; i < l->n_texts; i++) {
        dgm_pairs_free(&l->texts[i].pairs);
        free(l->texts[i].loss);
        free(l->texts[i].marks);
    }
    free(l->sets);
    free(l->texts);
    free(l->questions);
    free(l);
}

int dgm_set_loss_add_set(int *number, dgm_set_loss *l, int stack, const uint8_t *kept)
{
    const dgm_moe_shape *shape = &l->cfg.sets->shape;
    set *more = realloc(l->sets, ((size_t)l->n_sets + 1) * sizeof *more);
    if (more == NULL)
        return no_memory();
    l->sets = more;
    more[l->n_sets] = (set){.stack = stack, .kept = calloc(l->n_experts + 1, 1)};
    *number = l->n_sets++;
    if (more[*number].kept == NULL)
        return no_memory();
    for (int i = 0; i < shape->n_layers; i++)
        if (shape->layers[i].stack == stack && kept == NULL)
            memset(more[*number].kept + shape->layers[i].first, 1,
                   (size_t)shape->layers[i].n_experts);
        else if (shape->layers[i].stack == stack)
            memcpy(more[*number].kept + shape->layers[i].first, kept + shape->layers[i].first,
                   (size_t)shape->layers[i].n_experts);
    return DGM_OK;
}

int dgm_set_loss_add_text(dgm_set_loss *l, dgm_pairs *pairs, int encoder, int decoder, int task)
{
    text *more = realloc(l->texts, ((size_t)l->n_texts + 1) * sizeof *more);
    text t = {.pairs = *pairs,
              .set = {encoder, decoder},
              .task = task,
              .loss = calloc(pairs->n + 1, sizeof *t.loss),
              .marks = calloc(pairs->n * l->n_experts + 1, 1)};
    for (size_t i = 0; i < t.pairs.n; i++)
        t.tokens += t.pairs.pairs[i].n_target - 1;
    *pairs = (dgm_pairs){0};
    if (more != NULL)
        l->texts = more;
    if (more == NULL || t.loss == NULL || t.marks == NULL) {
        dgm_pairs_free(&t.pairs);
        free(t.loss);
        free(t.marks);
        return no_memory();
    }
    more[l->n_texts++] = t;
    return DGM_OK;
}

const uint8_t *dgm_set_loss_set(const dgm_set_loss *l, int number)
{
    return l->sets[number].kept;
}

static uint8_t *marks_of(const dgm_set_loss *l, const text *t, size_t line)
{
    return t->marks + line * l->n_experts;
}

/* ---- questions ---- */

static int ask(dgm_set_loss *l, int removal, int at, size_t line)
{
    if (l->n_questions == l->cap) {
        const size_t cap = l->cap == 0 ? 4096 : 2 * l->cap;
        question *more = realloc(l->questions, cap * sizeof *more);
        if (more == NULL)
            return no_memory();
        l->questions = more;
        l->cap = cap;
    }
    l->questions[l->n_questions++] = (question){.removal = removal, .text = at, .line = line};
    return DGM_OK;
}

/* touches - whether a removal bears on a line. A token that has one expert has the softmax over all for its gate, so that
 * any removal does. */
static bool touches(const dgm_set_loss *l, const text *t, size_t line, const dgm_removal *r)
{
    return t->set[l->sets[r->set].stack] == r->set &&
           (l->cfg.model->cfg.top_k == 1 || marks_of(l, t, line)[r->expert] != 0);
}

/* publish - the sets as they stand, and those of the removals, on all ranks. */
static int publish(dgm_set_loss *l, int n_removals)
{
    l->cfg.sets->n = 0;
    for (int i = 0; i < l->n_sets; i++) {
        const dgm_keep_set s = {.kept = l->sets[i].kept};
        DGM_TRY(dgm_expert_sets_add(&l->sets[i].number, l->cfg.sets, &s));
    }
    for (int i = 0; i < n_removals; i++) {
        const dgm_removal *r = &l->removals[i];
        const dgm_keep_set s = {.kept = l->sets[r->set].kept};
        s.kept[r->expert] = 0;
        const int rc = dgm_expert_sets_add(&l->numbers[i], l->cfg.sets, &s);
        s.kept[r->expert] = 1;
        DGM_TRY(rc);
    }
    return dgm_engine_share_sets(l->cfg.engine);
}

/* number_of - of the set that a question has in a stack. */
static int number_of(const dgm_set_loss *l, const question *q, int stack)
{
    const int own = l->texts[q->text].set[stack];
    if (q->removal >= 0 && l->removals[q->removal].set == own)
        return l->numbers[q->removal];
    return l->sets[own].number;
}

/* submit - the questions from `first` on that share an encoding; *n of them. DGM_EBUSY: later. */
static int submit(const dgm_set_loss *l, size_t first, int *n)
{
    const question *q = &l->questions[first];
    const dgm_pair *p = &l->texts[q->text].pairs.pairs[q->line];
    dgm_target targets[DGM_SET_LOSS_TARGETS];
    const int experts = number_of(l, q, DGM_ENCODER);
    *n = 0;
    for (; *n < DGM_SET_LOSS_TARGETS && first + (size_t)*n < l->n_questions; ++*n, q++) {
        if (q->text != l->questions[first].text || q->line != l->questions[first].line ||
            number_of(l, q, DGM_ENCODER) != experts)
            break;
        targets[*n] = (dgm_target){.prompt = p->target,
                                   .n_prompt = p->n_target,
                                   .experts = number_of(l, q, DGM_DECODER),
                                   .source_experts = experts,
                                   .task = l->texts[q->text].task};
    }
    const dgm_job job = {.id = first,
                         .source = p->source,
                         .n_source = p->n_source,
                         .targets = targets,
                         .n_targets = *n,
                         .score = true,
                         .options = {.beam = 1,
                                     .n_best = 1,
                                     .max_length = l->cfg.max_target,
                                     .length_penalty = 1,
                                     .repetition_penalty = 1,
                                     .sampling_topp = 1,
                                     .temperature = 1,
                                     .token_scores = 1,
                                     .eos_id = l->cfg.model->cfg.eos_id}};
    return dgm_engine_submit(l->cfg.engine, &job);
}

static int take(dgm_set_loss *l, const dgm_result *r)
{
    question *q = &l->questions[r->id + (uint64_t)r->target];
    text *t = &l->texts[q->text];
    if (r->status != DGM_OK)
        return r->status;
    q->loss = -(double)r->hyps[0].score;
    if (q->removal < 0) {
        t->loss[q->line] = q->loss;
        memcpy(marks_of(l, t, q->line), r->marks, l->n_experts);
    }
    return DGM_OK;
}

static int answer(dgm_set_loss *l)
{
    size_t sent = 0;
    l->answered += (double)l->n_questions;
    while (sent < l->n_questions || dgm_engine_pending(l->cfg.engine) > 0) {
        dgm_result r;
        int rc = DGM_OK, n;
        while (sent < l->n_questions && (rc = submit(l, sent, &n)) == DGM_OK)
            sent += (size_t)n;
        if (rc != DGM_OK && rc != DGM_EBUSY)
            return rc;
        DGM_TRY(dgm_engine_step(l->cfg.engine));
        while (dgm_engine_poll(l->cfg.engine, &r))
            DGM_TRY(take(l, &r));
    }
    return DGM_OK;
}

int dgm_set_loss_begin(dgm_set_loss *l)
{
    l->n_questions = 0;
    for (int t = 0; t < l->n_texts; t++)
        for (size_t i = 0; i < l->texts[t].pairs.n; i++)
            DGM_TRY(ask(l, -1, t, i));
    DGM_TRY(publish(l, 0));
    return answer(l);
}

/* add_harms - what questions say of their removals: mean over the texts of a set. */
static void add_harms(const dgm_set_loss *l, dgm_removal *asked, int n)
{
    for (int i = 0; i < n; i++)
        asked[i].harm = 0;
    for (size_t i = 0; i < l->n_questions; i++) {
        const question *q = &l->questions[i];
        const text *t = &l->texts[q->text];
        asked[q->removal].harm += (q->loss - t->loss[q->line]) / t->tokens;
    }
    for (int i = 0; i < n; i++) {
        int texts = 0;
        for (int t = 0; t < l->n_texts; t++)
            texts += l->texts[t].set[l->sets[asked[i].set].stack] == asked[i].set;
        asked[i].harm /= texts > 0 ? texts : 1;
    }
}

int dgm_set_loss_ask(dgm_set_loss *l, dgm_removal *asked, int n)
{
    l->n_questions = 0;
    for (int t = 0; t < l->n_texts; t++)
        for (size_t i = 0; i < l->texts[t].pairs.n; i++)
            for (int r = 0; r < n; r++)
                if (touches(l, &l->texts[t], i, &asked[r]))
                    DGM_TRY(ask(l, r, t, i));
    l->removals = asked;
    l->numbers = calloc((size_t)n + 1, sizeof *l->numbers);
    int rc = l->numbers == NULL ? no_memory() : publish(l, n);
    if (rc == DGM_OK)
        rc = answer(l);
    free(l->numbers);
    if (rc == DGM_OK)
        add_harms(l, asked, n);
    return rc;
}

int dgm_set_loss_remove(dgm_set_loss *l, const dgm_removal *chosen, int n)
{
    l->n_questions = 0;
    for (int t = 0; t < l->n_texts; t++)
        for (size_t i = 0; i < l->texts[t].pairs.n; i++) {
            bool any = false;
            for (int r = 0; r < n; r++)
                any = any || touches(l, &l->texts[t], i, &chosen[r]);
            if (any)
                DGM_TRY(ask(l, -1, t, i));
        }
    for (int r = 0; r < n; r++)
        l->sets[chosen[r].set].kept[chosen[r].expert] = 0;
    DGM_TRY(publish(l, 0));
    return answer(l);
}

double dgm_set_loss_passes(const dgm_set_loss *l)
{
    double lines = 0;
    for (int t = 0; t < l->n_texts; t++)
        lines += (double)l->texts[t].pairs.n;
    return lines > 0 ? l->answered / lines : 0;
}

double dgm_set_loss_mean(const dgm_set_loss *l)
{
    double mean = 0;
    for (int t = 0; t < l->n_texts; t++) {
        double sum = 0;
        for (size_t i = 0; i < l->texts[t].pairs.n; i++)
            sum += l->texts[t].loss[i];
        mean += sum / l->texts[t].tokens / l->n_texts;
    }
    return mean;
}
