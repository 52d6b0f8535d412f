/* The engine's thread of a server, on an engine that copies: lines that are decoded once more, to their end or stopped on the way. */
#include "runtime/serving.h"

#include "base/clock.h"
#include "tests/runtime/fake_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 201 };

typedef struct rig {
    dgm_engine *engine;
    dgm_requests *q;
    dgm_requests_client *client;
    dgm_serving_gauge gauge;
    dgm_request *r[N];
    int n, stopped; /* stopped: by on_step */
    int64_t late_ns;
} rig;

static dgm_tokenizer *tok;
static int32_t codes[2], horse;

static int open_tokenizer(void **state)
{
    int32_t *ids = NULL;
    int n;
    (void)state;
    if (dgm_tokenizer_open(&tok, "models/multi30k-token", 6206) != DGM_OK ||
        dgm_tok_lang(tok, &codes[0], "eng_Latn") != DGM_OK ||
        dgm_tok_lang(tok, &codes[1], "deu_Latn") != DGM_OK ||
        dgm_tok_pieces(tok, &ids, &n, "horse", 5) != DGM_OK)
        return -1;
    horse = ids[0];
    free(ids);
    return 0;
}

static int close_tokenizer(void **state)
{
    (void)state;
    dgm_tokenizer_close(tok);
    return 0;
}

static void on_wake(void *ctx)
{
    (void)ctx;
}

static void open_rig(rig *g)
{
    memset(g, 0, sizeof *g);
    g->engine = malloc(sizeof *g->engine);
    fake_engine_init(g->engine);
    g->engine->mends = horse;
    assert_int_equal(dgm_requests_create(&g->q, 1000000, on_wake, NULL), DGM_OK);
    assert_int_equal(dgm_requests_join(g->q, &g->client), DGM_OK);
}

/* add - one that asks for a retry. */
static dgm_request *add(rig *g, const char *text, int64_t deadline_ns)
{
    dgm_request *r = calloc(1, sizeof *r);
    const dgm_line line = {.text = text, .len = strlen(text), .number = (uint64_t)g->n + 1};
    int retry_ms;
    r->target = (dgm_stream_target){.lang = "deu_Latn", .code = codes[1]};
    r->cfg = (dgm_stream_config){
        .tok = tok,
        .source = {.tok = tok, .lang = "eng_Latn", .code = codes[0], .max_ids = 200},
        .targets = &r->target,
        .n_targets = 1,
        .start_id = 2,
        .eos_id = 2,
        .max_target = 200,
        .retry = true,
        .decode = {.beam = 4, .n_best = 1, .max_length = 200, .eos_id = 2}};
    r->deadline_ns = deadline_ns;
    assert_int_equal(dgm_stream_line_fill(&r->line, &r->cfg, &line, NULL), DGM_OK);
    assert_int_equal(dgm_requests_admit(g->q, g->client, &r, 1, &retry_ms), DGM_OK);
    return g->r[g->n++] = r;
}

/* run - until all is done. */
static void run(rig *g)
{
    const volatile sig_atomic_t stop = 0;
    const dgm_serving_config cfg = {.engine = g->engine,
                                    .requests = g->q,
                                    .ranks = 1,
                                    .dense_ranks = 1,
                                    .stop = &stop,
                                    .drain_ms = 1000};
    dgm_requests_drain(g->q, INT64_MAX);
    assert_int_equal(dgm_serving_run(&cfg, &g->gauge), DGM_OK);
    int back = 0;
    for (dgm_request *r = dgm_requests_take_done(g->q); r != NULL; r = r->next)
        back++;
    assert_int_equal(back, g->n);
    assert_int_equal(g->engine->n_jobs, 0);
    assert_int_equal(dgm_requests_look(g->q).tokens, 0);
}

static void close_rig(rig *g)
{
    for (int i = 0; i < g->n; i++) {
        dgm_stream_line_free(&g->r[i]->line, 1);
        free(g->r[i]->message);
        free(g->r[i]);
    }
    dgm_requests_leave(g->q, g->client);
    dgm_requests_destroy(g->q);
    free(g->engine);
}

static void expect_text(const dgm_request *r, const char *want)
{
    char *text;
    size_t len;
    assert_int_equal(r->end, DGM_REQUEST_DONE);
    assert_int_equal(dgm_stream_line_text(&text, &len, &r->line, &r->cfg, 0, 0), DGM_OK);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(text, want, len);
    free(text);
}

/* Whoever asks a server that still reads its model to drain is told that it will, and nobody is told to wait for it. */
static void a_server_that_starts_may_be_draining(void **state)
{
    (void)state;
    rig g;
    open_rig(&g);
    dgm_serving_gauge_init(&g.gauge);
    assert_int_equal(dgm_serving_look(&g.gauge, g.q).state, DGM_SERVING_STARTING);
    dgm_requests_drain(g.q, 0);
    const dgm_serving_health h = dgm_serving_look(&g.gauge, g.q);
    assert_int_equal(h.state, DGM_SERVING_DRAINING);
    assert_true(h.alive && strstr(h.why, "when it has read its model") != NULL);
    run(&g);
    assert_int_equal(dgm_serving_look(&g.gauge, g.q).state, DGM_SERVING_OVER);
    close_rig(&g);
}

static void the_better_of_both_is_given(void **state)
{
    (void)state;
    rig g;
    open_rig(&g);
    for (int i = 0; i < N; i++)
        (void)add(&g,
                  i % 3 == 0   ? "a dog"
                  : i % 3 == 1 ? "a man and a dog"
                               : "a man and a horse",
                  0);
    run(&g);
    for (int i = 0; i < N; i++) {
        expect_text(g.r[i], i % 3 == 0 ? "a dog" : i % 3 == 1 ? "a man and a dog" : "a man and a");
        assert_true(g.r[i]->started_ns >= g.r[i]->arrived_ns);
        dgm_line_report told;
        dgm_stream_line_report(&told, &g.r[i]->line, &g.r[i]->cfg, 0);
        assert_int_equal(told.retried, i % 3 > 0);
        assert_int_equal(told.second, i % 3 == 2);
        assert_true(!told.retried || (told.first_score == -1 && told.second_score == -3));
        assert_true(told.score == (told.second ? -3 : -1));
        assert_int_equal(told.status, i % 3 == 1 ? DGM_LINE_STATUS_COPIED : DGM_LINE_STATUS_OK);
    }
    assert_int_equal(atomic_load(&g.gauge.retried[0]), N / 3);
    assert_int_equal(atomic_load(&g.gauge.retried[1]), N / 3);
    close_rig(&g);
}

static void cancel_second(void *ctx)
{
    rig *g = ctx;
    for (int i = 0; i < g->n && g->engine->blocked > g->stopped; i++)
        if (g->r[i]->line.retries != NULL && g->r[i]->line.left > 0 && g->r[i]->sent > 0 &&
            !g->r[i]->stopping) {
            dgm_requests_cancel(g->q, g->r[i]);
            g->stopped++;
        }
}

/* Each that comes to its second decoding is cancelled in it: its slot is free, the others are done. */
static void the_second_decoding_can_be_cancelled(void **state)
{
    (void)state;
    rig g;
    open_rig(&g);
    for (int i = 0; i < N; i++)
        (void)add(&g, i % 2 == 0 ? "a dog" : "a man and a horse", 0);
    g.engine->finish_each_step = 1;
    g.engine->on_step = cancel_second;
    g.engine->on_step_ctx = &g;
    run(&g);
    int cancelled = 0;
    for (int i = 0; i < N; i++) {
        cancelled += g.r[i]->end == DGM_REQUEST_CANCELLED;
        if (g.r[i]->end != DGM_REQUEST_CANCELLED)
            expect_text(g.r[i], i % 2 == 0 ? "a dog" : "a man and a");
        assert_true(i % 2 == 1 || g.r[i]->end == DGM_REQUEST_DONE);
    }
    assert_true(cancelled > N / 4);
    close_rig(&g);
}

static void wait_until_late(void *ctx)
{
    rig *g = ctx;
    while (g->engine->blocked > 0 && dgm_now_ns() < g->late_ns)
        ;
}

static void the_second_decoding_can_be_late(void **state)
{
    (void)state;
    rig g;
    open_rig(&g);
    g.late_ns = dgm_now_ns() + 100 * 1000000LL;
    for (int i = 0; i < 4; i++)
        (void)add(&g, "a man and a horse", i % 2 == 0 ? g.late_ns : 0);
    g.engine->finish_each_step = 1;
    g.engine->on_step = wait_until_late;
    g.engine->on_step_ctx = &g;
    run(&g);
    int late = 0;
    for (int i = 0; i < 4; i++) {
        late += g.r[i]->end == DGM_REQUEST_TIMED_OUT;
        if (i % 2 == 1)
            expect_text(g.r[i], "a man and a");
    }
    assert_true(late >= 1);
    close_rig(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_starts_may_be_draining),
        cmocka_unit_test(the_better_of_both_is_given),
        cmocka_unit_test(the_second_decoding_can_be_cancelled),
        cmocka_unit_test(the_second_decoding_can_be_late),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
