/* What a server asks of the engine: jobs that are cancelled, and steps that leave some rows out. */
#include "tests/runtime/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* cancelled - of the lines in work, every third goes at some step: the others become what they always become. */
static void cancelled_jobs_leave_the_others_alone(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 2, 4);
    for (int at = 0; at < 12; at += 3) { /* in the queue, in their prompt, in their search */
        rig g;
        open_rig(&g, &c, 1, false);
        const int slots = dgm_engine_slots(g.engine);
        int seen[N_LINES][2] = {0};
        for (int i = 0; i < N_LINES; i++)
            submit(&g, (uint64_t)i, i, 2, 4, false);
        submit(&g, N_LINES, 0, 2, 4, false); /* line 0 again: others wait for it too */
        for (int steps = 0; dgm_engine_pending(g.engine) > 0; steps++) {
            for (int i = 0; steps == at && i < N_LINES; i += 3)
                assert_true(dgm_engine_cancel(g.engine, (uint64_t)i) ||
                            seen[i][0] + seen[i][1] == 2);
            assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
            for (dgm_result r; dgm_engine_poll(g.engine, &r);) {
                const int line = r.id == N_LINES ? 0 : (int)r.id;
                assert_true(r.id % 3 != 0 || steps < at || r.id == N_LINES);
                keep(&got[line][r.target], &r);
                seen[r.id % N_LINES][r.target]++;
                assert_memory_equal(&got[line][r.target], &want[line][r.target], sizeof(outcome));
            }
        }
        for (int i = 0; i < N_LINES; i++)
            for (int t = 0; i % 3 != 0 && t < 2; t++)
                assert_int_equal(seen[i][t], 1);
        assert_true(seen[0][0] >= 1); /* the twin's */
        assert_false(dgm_engine_cancel(g.engine, 1));
        assert_int_equal(dgm_engine_slots(g.engine), slots);
        close_rig(&g);
    }
}

/* A slot is free after the next step, whatever the job in it had still to do. */
static void a_cancelled_slot_is_free_at_once(void **state)
{
    (void)state;
    const dgm_engine_config c = usual();
    rig g;
    open_rig(&g, &c, 1, false);
    submit(&g, 1, 5, 2, 4, false);
    for (int steps = 0; steps < 3; steps++)
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    assert_int_equal(dgm_engine_pending(g.engine), 2);
    assert_true(dgm_engine_cancel(g.engine, 1));
    assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
    dgm_result r;
    assert_false(dgm_engine_poll(g.engine, &r));
    assert_int_equal(dgm_engine_pending(g.engine), 0);
    close_rig(&g);
}

/* A batch of narrow slots takes wider beams, too, and they become what they always become. */
static void beams_may_be_wider_than_usual(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    for (int rows = 1; rows < 4; rows++) {
        dgm_engine_config narrow = c;
        rig g;
        narrow.usual_beam = rows;
        open_rig(&g, &narrow, 1, false);
        assert_int_equal(dgm_engine_slots(g.engine), c.batch_rows / rows);
        close_rig(&g);
        for (int beam = 1; beam <= 4; beam++) {
            run(want, &c, 1, 1, beam);
            run(got, &narrow, 2, 1, beam);
            same();
        }
    }
}

/* How many take part in a step, and which, changes nothing but when they end: what is urgent first. */
static void pace_does_not_matter(void **state)
{
    (void)state;
    dgm_engine_config c = usual();
    run(want, &c, 1, 1, 4);
    rig g;
    open_rig(&g, &c, 1, false);
    int32_t ids[32];
    const int32_t prompt[2] = {2, CODE_B};
    const dgm_target target = {.prompt = prompt, .n_prompt = 2};
    int n_done = 0, last_urgent = 0;
    for (int i = 0; i < N_LINES; i++) {
        const dgm_job job = {.id = (uint64_t)i,
                             .line = (uint64_t)i,
                             .source = ids,
                             .n_source = source(ids, i),
                             .targets = &target,
                             .n_targets = 1,
                             .urgent = i % 5 == 4,
                             .options = decode(4)};
        assert_int_equal(dgm_engine_submit(g.engine, &job), DGM_OK);
    }
    for (int step = 0; n_done < N_LINES; step++) {
        const dgm_engine_pace pace = {.urgent_only = step % 4 != 0 && n_done < 4,
                                      .encode_tokens = 20,
                                      .others = 1 + step % 3};
        dgm_engine_set_pace(g.engine, &pace);
        assert_int_equal(dgm_engine_step(g.engine), DGM_OK);
        for (dgm_result r; dgm_engine_poll(g.engine, &r); n_done++) {
            keep(&got[r.id][0], &r);
            if (r.id % 5 == 4)
                last_urgent = n_done;
        }
    }
    same();
    assert_true(last_urgent < 8);
    close_rig(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beams_may_be_wider_than_usual),
        cmocka_unit_test(cancelled_jobs_leave_the_others_alone),
        cmocka_unit_test(a_cancelled_slot_is_free_at_once),
        cmocka_unit_test(pace_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
