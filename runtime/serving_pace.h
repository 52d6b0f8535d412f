/*
 * serving_pace.h - how much a step of a server does, so that a line that somebody waits for takes little longer than on an idle
 * server, and lines of many lose little by it.
 *
 * Three costs are measured as steps pass: of a decode step of few sentences, of a sentence in a step of many, of encoding a token.
 * Then a step is,
 *   - with lines of many alone: at most so many steps of few long, as who comes meanwhile waits for its end;
 *   - with both: of the urgent ones alone, but for every few steps one in which others take part, for a third of the time;
 *   - with urgent ones alone: of all.
 * Counts are of a rank, the fullest. Plain arithmetic, without clock or engine. One thread.
 */
#ifndef DGM_RUNTIME_SERVING_PACE_H
#define DGM_RUNTIME_SERVING_PACE_H

#include "runtime/engine.h"

typedef struct dgm_serving_pace {
    int64_t few_ns, sentence_ns, token_ns; /* smoothed; 0: not known yet */
    int64_t owed_ns;                       /* time that others have a right to */
    bool left_out;                         /* the step that was chosen last is without others */
} dgm_serving_pace;

/* dgm_pace_others - more than so many that are not urgent wait better outside of the engine: a step would not take them. 0: no limit. */
int dgm_pace_others(const dgm_serving_pace *p);

/* dgm_pace_choose - of the next step; urgent, others: in the engine. */
dgm_engine_pace dgm_pace_choose(dgm_serving_pace *p, int urgent, int others);

/* What a step did, and took. */
typedef struct dgm_pace_step {
    int urgent, others; /* decoded */
    int tokens;         /* encoded, over all ranks */
    int64_t decode_ns, encode_ns;
} dgm_pace_step;

/* dgm_pace_note - the step that was chosen is over. */
void dgm_pace_note(dgm_serving_pace *p, const dgm_pace_step *t);

#endif
