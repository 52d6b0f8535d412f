#include "runtime/serving_pace.h"

enum {
    DECODE_RATIO = 12, /* a step of many decodes for at most so many steps of few, */
    ENCODE_RATIO = 4,  /* and encodes for these */
    BESIDE_RATIO = 6,  /* urgent lines wait at once for so many, as others take part */
    SHARE_OF_MANY = 2, /* others have one part of time for so many of the urgent ones' */
    FEW = 4,           /* sentences: their step is mostly what a step costs anyway */
    MOST_TOKENS = 512,
    LEAST_TOKENS = 64, /* fewer read the encoder's weights for too little */
    NOTED_TOKENS = 32, /* of fewer the time tells what a phase costs, not what a token does */
    SMOOTH = 8,
};

static void smooth(int64_t *mean, int64_t value)
{
    *mean = *mean == 0 ? value : *mean + (value - *mean) / SMOOTH;
}

/* afford - how many of what costs `each` go into `ns`; few, until that is known. */
static int afford(int64_t ns, int64_t each, int least, int most)
{
    const int64_t n = each > 0 ? ns / each : least;
    return n < least ? least : n < most ? (int)n : most;
}

int dgm_pace_others(const dgm_serving_pace *p)
{
    if (p->few_ns == 0 || p->sentence_ns == 0)
        return 0;
    return afford(DECODE_RATIO * p->few_ns, p->sentence_ns, 1, INT32_MAX);
}

dgm_engine_pace dgm_pace_choose(dgm_serving_pace *p, int urgent, int others)
{
    dgm_engine_pace pace = {.encode_tokens = MOST_TOKENS};
    const bool both = urgent > 0 && others > 0;
    const int64_t least = BESIDE_RATIO * p->few_ns;
    p->owed_ns = both ? p->owed_ns : 0;
    p->left_out = both && (p->few_ns == 0 || p->owed_ns < least);
    pace.urgent_only = p->left_out;
    if (p->left_out || others == 0 || p->few_ns == 0)
        return pace;
    /* Beside urgent ones what is owed is spent, on decoding, and where that is not enough once more on encoding: a debt. */
    pace.others = both ? afford(p->owed_ns, p->sentence_ns, 1, others) : dgm_pace_others(p);
    pace.encode_tokens = afford(both ? p->owed_ns : ENCODE_RATIO * p->few_ns, p->token_ns,
                                both ? 1 : LEAST_TOKENS, MOST_TOKENS);
    return pace;
}

/* settle - what others had, and what they have a right to for what the urgent ones had. */
static void settle(dgm_serving_pace *p, const dgm_pace_step *t)
{
    const int all = t->urgent + t->others;
    const int64_t ns = t->decode_ns + t->encode_ns, most = BESIDE_RATIO * p->few_ns;
    if (p->left_out) { /* also one in which nothing could be done: time passes */
        p->owed_ns += ns / SHARE_OF_MANY;
    } else if (all > 0) {
        const int64_t theirs = t->decode_ns * t->others / all;
        p->owed_ns += (t->decode_ns - theirs) / SHARE_OF_MANY - theirs - t->encode_ns;
    }
    if (p->owed_ns < -most)
        p->owed_ns = -most;
}

void dgm_pace_note(dgm_serving_pace *p, const dgm_pace_step *t)
{
    const int all = t->urgent + t->others;
    if (t->tokens >= NOTED_TOKENS)
        smooth(&p->token_ns, t->encode_ns / t->tokens);
    if (all > 0 && (t->others == 0 || all <= FEW))
        smooth(&p->few_ns, all > FEW ? t->decode_ns * FEW / all : t->decode_ns);
    if (t->others > 0)
        smooth(&p->sentence_ns, t->decode_ns / all);
    settle(p, t);
}
