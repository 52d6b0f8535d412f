/*
 * A batch is the next --batch lengths of the file; the next batch starts when it is done, so that nothing but leaving early
 * differs: no new sentence takes a free place. Rows are those that the vocabulary projection saw. Both ways take turns over the
 * whole file, ROUNDS times, after one batch to warm up; medians count.
 */
#include "launch/bench_pruning.h"

#include "base/clock.h"
#include "launch/bench_random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LENGTHS = 1 << 20, ROUNDS = 3 };

typedef struct bench {
    dgm_bench_random random;
    int *length, n_lengths; /* without what a target begins with */
} bench;

static int read_line(bench *b, const char *path, const char *line)
{
    const int most = b->random.session.model->cfg.max_positions - DGM_BENCH_PROMPT;
    char *end = NULL;
    const long n = *line >= '0' && *line <= '9' ? strtol(line, &end, 10) : 0;
    if (n < 1 || n > most || (*end != '\n' && *end != '\0') || b->n_lengths == MOST_LENGTHS)
        return dgm_fail(DGM_EINPUT, "%s line %d: want a whole number from 1 to %d, found '%.*s'",
                        path, b->n_lengths + 1, most, (int)strcspn(line, "\n"), line);
    b->length[b->n_lengths++] = (int)n;
    return DGM_OK;
}

static int read_lengths(bench *b)
{
    const char *path = b->random.o.lengths;
    if (path[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "bench pruning: want --lengths FILE, found none");
    b->length = calloc(MOST_LENGTHS, sizeof *b->length);
    if (b->length == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for lengths");
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return dgm_fail(DGM_EINPUT, "%s: cannot be opened", path);
    int rc = DGM_OK;
    char line[32];
    while (rc == DGM_OK && fgets(line, sizeof line, f) != NULL)
        rc = read_line(b, path, line);
    (void)fclose(f);
    if (rc == DGM_OK && b->n_lengths == 0)
        rc = dgm_fail(DGM_EINPUT, "%s: want lengths, found an empty file", path);
    return rc;
}

static int longest(const int *length, int n)
{
    int most = 0;
    for (int i = 0; i < n; i++)
        most = length[i] > most ? length[i] : most;
    return most;
}

/* What one way of going through the file took. */
typedef struct pass {
    double seconds;
    uint64_t rows;
} pass;

/* Lengths at .. at + n - 1 as one batch. */
static int translate(const bench *b, pass *p, int at, int n, bool pruned)
{
    dgm_engine *e = b->random.session.engine;
    const int most = longest(b->length + at, n);
    dgm_stage_clock clock = {0};
    int done = 0;
    dgm_engine_set_clock(e, &clock);
    const double began = dgm_now_s();
    for (int i = at; i < at + n; i++)
        DGM_TRY(dgm_bench_random_submit(&b->random, i,
                                        (pruned ? b->length[i] : most) + DGM_BENCH_PROMPT));
    while (done < n) {
        dgm_result r;
        DGM_TRY(dgm_engine_step(e));
        while (dgm_engine_poll(e, &r)) {
            if (r.status != DGM_OK)
                return r.status;
            done++;
        }
    }
    p->seconds += dgm_now_s() - began;
    p->rows += clock.total[DGM_DECODER][DGM_STAGE_EMBED].rows;
    dgm_engine_set_clock(e, NULL);
    return DGM_OK;
}

/* All whole batches of the file, or its one batch that is not. */
static int translate_all(const bench *b, pass *p, int batch, bool pruned)
{
    const int n = batch < b->n_lengths ? batch : b->n_lengths;
    *p = (pass){0};
    for (int at = 0; at + n <= b->n_lengths; at += n)
        DGM_TRY(translate(b, p, at, n, pruned));
    return DGM_OK;
}

static int by_seconds(const void *a, const void *b)
{
    const double x = ((const pass *)a)->seconds, y = ((const pass *)b)->seconds;
    return (x > y) - (x < y);
}

static void report(const bench *b, int batch, const pass *padded, const pass *pruned)
{
    const double rows = (double)padded->rows / (double)pruned->rows,
                 time = padded->seconds / pruned->seconds;
    if (b->random.o.json)
        (void)printf("{\"bench\":\"pruning\",\"batch\":%d,\"beam\":%d,\"padded_rows\":%llu,"
                     "\"pruned_rows\":%llu,\"padded_s\":%.5f,\"pruned_s\":%.5f}\n",
                     batch, b->random.o.beam, (unsigned long long)padded->rows,
                     (unsigned long long)pruned->rows, padded->seconds, pruned->seconds);
    else
        (void)printf("%5d %5d %12llu %12llu %6.2f %10.3f %10.3f %6.2f\n", batch, b->random.o.beam,
                     (unsigned long long)padded->rows, (unsigned long long)pruned->rows, rows,
                     padded->seconds, pruned->seconds, time);
    (void)fflush(stdout);
}

static int run_case(const bench *b, int batch)
{
    pass passes[2][ROUNDS], warm = {0};
    const int n = batch < b->n_lengths ? batch : b->n_lengths;
    DGM_TRY(translate(b, &warm, 0, n, true));
    for (int r = 0; r < ROUNDS; r++)
        for (int pruned = 0; pruned < 2; pruned++)
            DGM_TRY(translate_all(b, &passes[pruned][r], batch, pruned != 0));
    for (int pruned = 0; pruned < 2; pruned++)
        qsort(passes[pruned], ROUNDS, sizeof **passes, by_seconds);
    report(b, n, &passes[0][ROUNDS / 2], &passes[1][ROUNDS / 2]);
    return DGM_OK;
}

static int run_cases(const bench *b)
{
    if (!b->random.o.json)
        (void)printf("%5s %5s %12s %12s %6s %10s %10s %6s\n", "batch", "beam", "padded rows",
                     "pruned rows", "ratio", "padded s", "pruned s", "ratio");
    for (int i = 0; i < b->random.n_cases; i++)
        DGM_TRY(run_case(b, b->random.batch[i]));
    return DGM_OK;
}

static int run(bench *b, const dgm_options *o)
{
    dgm_session *s = &b->random.session;
    DGM_TRY(dgm_bench_random_init(&b->random, o)); /* the same on all ranks */
    DGM_TRY(dgm_session_join(s, &b->random.o));
    int rc = read_lengths(b); /* every rank needs the longest */
    if (rc == DGM_OK)
        rc = dgm_bench_random_prepare(&b->random);
    dgm_engine_config cfg = {0};
    if (rc == DGM_OK)
        rc = dgm_bench_random_limits(&cfg, &b->random,
                                     longest(b->length, b->n_lengths) + DGM_BENCH_PROMPT);
    DGM_TRY(dgm_session_load(s, rc, &cfg));
    return s->rank == 0 ? run_cases(b) : dgm_session_serve(s);
}

int dgm_bench_pruning(const dgm_options *o)
{
    bench b = {0};
    const int rc = run(&b, o);
    free(b.length);
    return dgm_bench_random_close(&b.random, rc);
}
