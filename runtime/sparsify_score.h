/*
 * sparsify_score.h - which weights of an output row go: the score |w_j| * f_j, where f_j is what is known of input j.
 *
 *   magnitude         f = 1
 *   wanda, owl        f = a: root of the mean square of what entered input j
 *   after M-Wanda     add: f = (a + lambda sqrt(V)) P^gamma;   mul: f = a (1 + lambda V / a^2) P^gamma
 *
 * V is the variance over languages of their a (sparsify_stats.h), P the share of rows in which |x_j| > tau. The row loses its
 * floor(sparsity * inputs) smallest scores, or the n smallest of each m consecutive inputs; of equals the first.
 *
 * Sources: Wanda is arXiv 2306.11695. V and P are after M-Wanda (arXiv 2505.21171), whose abstract names them; how they enter
 * the score here is our own. Local, any thread.
 */
#ifndef DGM_RUNTIME_SPARSIFY_SCORE_H
#define DGM_RUNTIME_SPARSIFY_SCORE_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of one input over a text. */
typedef struct dgm_channel {
    double a, variance, fired; /* fired: P, 0 .. 1 */
} dgm_channel;

typedef struct dgm_score_rule {
    double lambda, gamma; /* both 0: Wanda, bit for bit */
    bool mul;             /* how the variance enters: times, else plus */
} dgm_score_rule;

/* dgm_score_factor - f of an input. */
float dgm_score_factor(const dgm_channel *c, const dgm_score_rule *rule);

/* The smallest n of each m inputs in a row (of a last, shorter group as many as their share); m 0: of the whole row. */
typedef struct dgm_n_of_m {
    int n, m;
} dgm_n_of_m;

/* dgm_score_goes - how many of k inputs go: floor(sparsity * k), or what the pattern says, which asks for no sparsity. */
int dgm_score_goes(int k, double sparsity, dgm_n_of_m p);

/* dgm_score_goes_row - how many go of row r, where `mean` do in the mean of rows: what rounds down in one row goes in a later one. */
int dgm_score_goes_row(int r, int k, double mean);

/*
 * dgm_score_choose - gone [goes] = the inputs of row w [k] that go, in no order. room [k]: scratch. False when a score is not
 * a number: then gone says nothing.
 */
bool dgm_score_choose(int32_t *gone, uint64_t *room, const float *w, const float *factor, int k,
                      int goes, dgm_n_of_m p);

#endif
