/*
 * How long a line that somebody waits for takes beside a job of many, and what the job loses: on a machine of given costs, whose
 * step takes `step` and `sentence` for each that is decoded and `token` for each that is encoded. All lines are of one length, so
 * that those which enter together end together: the worst there is for who waits.
 */
#include "runtime/serving_pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 128, LENGTH = 31, SOURCE = 20, PROBES = 400 };

typedef struct machine {
    double step_us, sentence_us, token_us;
    dgm_serving_pace pace;
    double now_us;
    int left[SLOTS];           /* steps of lines of many; 0: free */
    int turn, others, waiting; /* others: in the engine, waiting of them are not encoded */
    int urgent; /* steps that the urgent line has still to take, of LENGTH; -1: not encoded; 0: none */
    long done; /* lines of many */
} machine;

/* refill - the job has lines without end. */
static void refill(machine *m, int most)
{
    const int n = dgm_pace_others(&m->pace);
    most = n > 0 && n < most ? n : most;
    if (m->others < most) {
        m->waiting += most - m->others;
        m->others = most;
    }
}

/* encode - as the batch does: while it is within the pace, at least one. Returns tokens. */
static int encode(machine *m, const dgm_engine_pace *pace)
{
    int tokens = 0;
    if (m->urgent < 0) {
        m->urgent = LENGTH;
        tokens += SOURCE;
    }
    while (!pace->urgent_only && m->waiting > 0 &&
           (tokens == 0 || tokens + SOURCE <= pace->encode_tokens)) {
        int at = 0;
        while (m->left[at] > 0)
            at++;
        m->left[at] = LENGTH;
        m->waiting--;
        tokens += SOURCE;
    }
    return tokens;
}

/* decode - of others so many in turn. Returns how many. */
static int decode(machine *m, const dgm_engine_pace *pace)
{
    int most = pace->urgent_only ? 0 : pace->others > 0 ? pace->others : SLOTS, n = 0;
    for (int i = 0, from = m->turn; i < SLOTS && n < most; i++) {
        const int at = (from + i) % SLOTS;
        if (m->left[at] == 0)
            continue;
        n++;
        m->turn = (at + 1) % SLOTS;
        if (--m->left[at] == 0) {
            m->others--;
            m->done++;
        }
    }
    m->urgent -= m->urgent > 0;
    return n;
}

static void step(machine *m)
{
    const bool waits = m->urgent != 0;
    const dgm_engine_pace pace = dgm_pace_choose(&m->pace, waits, m->others);
    dgm_pace_step t = {.urgent = waits};
    t.tokens = encode(m, &pace);
    t.others = decode(m, &pace);
    t.encode_ns = (int64_t)(1e3 * m->token_us * t.tokens);
    t.decode_ns = (int64_t)(1e3 * (m->step_us + m->sentence_us * (t.urgent + t.others)));
    dgm_pace_note(&m->pace, &t);
    m->now_us += 1e-3 * (double)(t.encode_ns + t.decode_ns);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* probe - lines one at a time, with pauses; many: lines of the job that may be in the engine. Median and 95th percentile. */
static void probe(machine *m, int many, double *p50, double *p95)
{
    double took[PROBES];
    const double pause_us = 3 * LENGTH * m->step_us;
    for (int i = 0; i < PROBES; i++) {
        const double due = m->now_us + pause_us * (0.5 + (i * 7919 % 100) / 100.0);
        while (m->now_us < due) {
            refill(m, many);
            if (m->others > 0)
                step(m);
            else
                m->now_us = due;
        }
        m->urgent = -1;
        while (m->urgent != 0) {
            refill(m, many);
            step(m);
        }
        took[i] = m->now_us - due;
    }
    qsort(took, PROBES, sizeof *took, ascending);
    *p50 = took[PROBES / 2];
    *p95 = took[PROBES * 95 / 100];
}

/* rate - lines of many in a second, with nobody else there. */
static double rate(machine *m)
{
    const long before = m->done;
    const double began = m->now_us;
    for (int i = 0; i < 20000; i++) {
        refill(m, SLOTS);
        step(m);
    }
    return 1e6 * (double)(m->done - before) / (m->now_us - began);
}

static void check(const char *name, machine m)
{
    double idle[2], beside[2];
    const double full_us = m.step_us + SLOTS * m.sentence_us,
                 ideal = 1e6 / (full_us * LENGTH / SLOTS + SOURCE * m.token_us);
    const double unknown = rate(&m); /* no step of few was ever seen */
    memset(m.left, 0, sizeof m.left);
    m.others = m.waiting = 0;
    probe(&m, 0, &idle[0], &idle[1]);
    const long before = m.done;
    const double began = m.now_us;
    probe(&m, SLOTS, &beside[0], &beside[1]);
    const double share = 1e6 * (double)(m.done - before) / (m.now_us - began) / ideal;
    const double alone = rate(&m);
    print_message(
        "%s: idle %.0f, %.0f us; beside %.2f, %.2f times that; the job alone %.2f, %.2f of "
        "what is possible, beside %.2f\n",
        name, idle[0], idle[1], beside[0] / idle[0], beside[1] / idle[1], unknown / ideal,
        alone / ideal, share);
    assert_true(beside[0] < 2.2 * idle[0]);
    assert_true(beside[1] < 2.5 * idle[1]);
    assert_true(unknown > 0.9 * ideal);
    assert_true(alone > 0.9 * ideal);
    assert_true(share > 0.3);
}

static void who_waits_is_served_and_many_lose_little(void **state)
{
    (void)state;
    check("narrow", (machine){.step_us = 90, .sentence_us = 85, .token_us = 6});
    check("d 512", (machine){.step_us = 500, .sentence_us = 600, .token_us = 60});
    check("memory bound", (machine){.step_us = 9000, .sentence_us = 300, .token_us = 80});
    check("far ranks", (machine){.step_us = 4000, .sentence_us = 100, .token_us = 5});
}

/* A step in which an urgent line could do nothing, as when its slot is taken, is no measure; and others go on. */
static void nothing_stands_still(void **state)
{
    (void)state;
    dgm_serving_pace p = {.few_ns = 1000, .sentence_ns = 100, .token_ns = 10};
    int steps = 0;
    while (dgm_pace_choose(&p, 1, 5).urgent_only && steps < 1000) {
        const dgm_pace_step nothing = {.decode_ns = 100};
        dgm_pace_note(&p, &nothing);
        steps++;
    }
    assert_in_range(steps, 1, 999);
    assert_int_equal(p.few_ns, 1000);
}

/* What one large step cost the others beyond their part they pay back, but not for ever. */
static void debts_are_small(void **state)
{
    (void)state;
    dgm_serving_pace p = {.few_ns = 1000, .sentence_ns = 100, .token_ns = 10, .owed_ns = 6000};
    assert_false(dgm_pace_choose(&p, 1, 5).urgent_only);
    const dgm_pace_step large = {
        .urgent = 1, .others = 5, .decode_ns = 1000, .encode_ns = 1000000, .tokens = 10};
    dgm_pace_note(&p, &large);
    assert_true(p.owed_ns == -6000);
    assert_true(dgm_pace_choose(&p, 1, 5).urgent_only);
    assert_false(dgm_pace_choose(&p, 0, 5).urgent_only);
    assert_true(p.owed_ns == 0);
}

/* Alone, lines of many are encoded for four times what a step of few costs, 64 to 512 tokens; beside urgent ones for what is owed. */
static void encoding_is_a_part_of_a_step(void **state)
{
    (void)state;
    const struct {
        int urgent, token_ns, want;
    } cases[] = {{0, 10, 400}, {0, 1, 512}, {0, 100, 64}, {1, 10, 512}, {1, 100, 60}, {1, 9000, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dgm_serving_pace p = {
            .few_ns = 1000, .sentence_ns = 100, .token_ns = cases[i].token_ns, .owed_ns = 6000};
        assert_int_equal(dgm_pace_choose(&p, cases[i].urgent, 5).encode_tokens, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_served_and_many_lose_little),
        cmocka_unit_test(nothing_stands_still),
        cmocka_unit_test(debts_are_small),
        cmocka_unit_test(encoding_is_a_part_of_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
