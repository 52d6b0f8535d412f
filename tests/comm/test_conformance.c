/*
 * What every backend must do, by name: test_conformance local | mpi | hub N.
 *
 * Checks do not stop at the first failure, so that the ranks stay in step; each prints both values,
 * and the count of failures decides. Traffic is drawn from a seed that all ranks share, so each
 * knows what to expect.
 */
#include "base/arena.h"
#include "comm/exchange.h"
#include "comm/internal.h"
#include "tests/comm/hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static atomic_int failures;
static const char *backend;
static int hub_ranks;
static dgm_comm *the_comm; /* local and mpi: one for the whole run */

#define CHECK_EQ(rank, what, found, want)                                                          \
    do {                                                                                           \
        const long long check_f = (long long)(found), check_w = (long long)(want);                 \
        if (check_f != check_w) {                                                                  \
            (void)fprintf(stderr, "rank %d, line %d: %s: found %lld, want %lld\n", rank, __LINE__, \
                          what, check_f, check_w);                                                 \
            atomic_fetch_add(&failures, 1);                                                        \
        }                                                                                          \
    } while (0)

/* A failure of comm itself ends the test: the ranks are no longer in step. */
static void must(dgm_comm *c, int rc, const char *what)
{
    if (rc == DGM_OK)
        return;
    (void)fprintf(stderr, "rank %d: %s: %s\n", dgm_comm_rank(c), what, dgm_error_text());
    dgm_comm_end(c, rc);
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Calls of malloc and its kin by our own objects (linked with --wrap). */
static _Thread_local long mallocs;
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t m);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n)
{
    mallocs++;
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t m)
{
    mallocs++;
    return __real_calloc(n, m);
}
void *__wrap_realloc(void *p, size_t n)
{
    mallocs++;
    return __real_realloc(p, n);
}

/* ---- facts, gather, agreement ---- */

static void facts(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    CHECK_EQ(rank, "rank in range", rank >= 0 && rank < size, 1);
    CHECK_EQ(rank, "own host", strcmp(dgm_comm_host(c, rank), host), 0);
    int same = 0;
    for (int r = 0; r < size; r++)
        same += strcmp(dgm_comm_host(c, r), host) == 0;
    CHECK_EQ(rank, "ranks on this host", dgm_comm_ranks_on_host(c), same);
    CHECK_EQ(rank, "backend", strcmp(dgm_comm_backend(c), backend), 0);
}

static void gather(dgm_comm *c, void *ctx)
{
    (void)ctx;
    static const size_t sizes[] = {1, 7, 64, 4095, 4096, 4097, 65537, 1 << 20};
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t n = sizes[i];
        unsigned char *mine = malloc(n), *all = malloc(n * (size_t)size);
        assert_non_null(mine);
        assert_non_null(all);
        memset(mine, rank * 3 + (int)i, n);
        must(c, dgm_comm_allgather(c, all, mine, n), "allgather");
        for (int r = 0; r < size; r++) {
            CHECK_EQ(rank, "first byte", all[(size_t)r * n], (unsigned char)(r * 3 + (int)i));
            CHECK_EQ(rank, "last byte", all[(size_t)r * n + n - 1],
                     (unsigned char)(r * 3 + (int)i));
        }
        free(all);
        free(mine);
    }
}

static void agree(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    CHECK_EQ(rank, "all fine", dgm_comm_agree(c, DGM_OK), DGM_OK);
    for (int bad = 0; bad < size; bad++) {
        /* `bad` and everybody above fail: the lowest speaks */
        const int mine =
            rank >= bad ? dgm_fail(rank == bad ? DGM_EMODEL : DGM_EINPUT, "no %d", rank) : DGM_OK;
        CHECK_EQ(rank, "code of the lowest", dgm_comm_agree(c, mine), DGM_EMODEL);
        char want[256];
        if (size == 1)
            (void)snprintf(want, sizeof want, "no 0");
        else
            (void)snprintf(want, sizeof want, "rank %d (%s): no %d", bad, dgm_comm_host(c, bad),
                           bad);
        if (strcmp(dgm_error_text(), want) != 0)
            (void)fprintf(stderr, "found '%s', want '%s'\n", dgm_error_text(), want);
        CHECK_EQ(rank, "sentence", strcmp(dgm_error_text(), want), 0);
    }
    CHECK_EQ(rank, "fine again", dgm_comm_agree(c, DGM_OK), DGM_OK);
}

/* ---- control messages ---- */

static const size_t lengths[] = {0,    1,     16,    4032,  4095,    4096,   4097,
                                 8192, 65535, 65536, 65537, 1 << 20, 6 << 20};
enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };

static void fill(unsigned char *buf, size_t n, int key)
{
    for (size_t i = 0; i < n; i++)
        buf[i] = (unsigned char)(mix((uint64_t)key * 131 + i / 97) + i);
}

static int same(const unsigned char *buf, size_t n, int key)
{
    for (size_t i = 0; i < n; i++) {
        if (buf[i] != (unsigned char)(mix((uint64_t)key * 131 + i / 97) + i))
            return 0;
    }
    return 1;
}

static void receive_one(dgm_comm *c, int peer, int i)
{
    const void *got = NULL;
    size_t n = 0;
    must(c, dgm_comm_recv(c, peer, &got, &n), "recv");
    CHECK_EQ(dgm_comm_rank(c), "length", n, lengths[i]);
    if (n == lengths[i])
        CHECK_EQ(dgm_comm_rank(c), "content", same(got, n, peer * 100 + i), 1);
}

/* All lengths at once down, then all back: more messages on their way than anybody has asked for.
 */
static void control(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    unsigned char *buf = malloc(lengths[N_LENGTHS - 1]);
    assert_non_null(buf);
    for (int peer = rank == 0 ? 1 : 0; peer < (rank == 0 ? size : 1); peer++) {
        for (int i = 0; rank == 0 && i < N_LENGTHS; i++) {
            fill(buf, lengths[i], rank * 100 + i);
            must(c, dgm_comm_send(c, peer, buf, lengths[i]), "send");
        }
        for (int i = 0; rank > 0 && i < N_LENGTHS; i++)
            receive_one(c, peer, i);
        for (int i = N_LENGTHS - 1; rank > 0 && i >= 0; i--) {
            fill(buf, lengths[i], rank * 100 + i);
            must(c, dgm_comm_send(c, peer, buf, lengths[i]), "send");
        }
    }
    for (int peer = 1; rank == 0 && peer < size; peer++) {
        for (int i = N_LENGTHS - 1; i >= 0; i--)
            receive_one(c, peer, i);
        CHECK_EQ(rank, "nothing left", dgm_comm_waiting(c, peer), 0);
    }
    free(buf);
}

/* ---- exchange ---- */

/* Rows from a to b in a round, and what is in them: known to everybody. */
typedef int (*count_fn)(int round, int from, int to, int size, int max);

static float value(int round, int from, int to, int row, int col)
{
    return (float)(mix(((((uint64_t)round * 17 + (uint64_t)from) * 17 + (uint64_t)to) << 32) +
                       (uint64_t)row * 8191 + (uint64_t)col) %
                   100003);
}

struct traffic {
    const char *name;
    count_fn count;
    int width, max_rows, rounds;
    int sparse; /* look at every sparse-th number only */
    int row;    /* floats of a row outward; 0: as many as come back */
};

static int row_floats(const struct traffic *t)
{
    return t->row > 0 ? t->row : t->width;
}

static void check_in(dgm_comm *c, const struct traffic *t, dgm_xchg *x, int round, int from)
{
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    const dgm_xchg_part in = dgm_xchg_in(x, from);
    CHECK_EQ(rank, t->name, in.n_rows, t->count(round, from, rank, size, t->max_rows));
    CHECK_EQ(rank, "rows lie on 64 bytes", (uintptr_t)in.rows % 64, 0);
    for (int i = 0; i < in.n_rows; i++) {
        CHECK_EQ(rank, "tag", in.tags[i].expert[0], i);
        CHECK_EQ(rank, "tag", in.tags[i].gate[1], from * 64 + rank);
    }
    for (int i = 0; i < in.n_rows; i++) {
        const float *row = (const float *)in.rows + (size_t)i * (size_t)row_floats(t);
        for (int k = i % t->sparse; k < row_floats(t); k += t->sparse)
            CHECK_EQ(rank, "row", row[k], value(round, from, rank, i, k));
        for (int k = i % t->sparse; k < t->width; k += t->sparse)
            in.reply[(size_t)i * (size_t)t->width + (size_t)k] =
                -value(round, from, rank, i, k) - (float)rank;
    }
}

static void fill_out(const struct traffic *t, dgm_xchg *x, int round, int rank, int to)
{
    const dgm_xchg_part out = dgm_xchg_out(x, to);
    for (int i = 0; i < out.n_rows; i++) {
        out.tags[i] = (dgm_row_tag){{i, -1}, {0.5f, (float)(rank * 64 + to)}};
        for (int k = i % t->sparse; k < row_floats(t); k += t->sparse)
            ((float *)out.rows)[(size_t)i * (size_t)row_floats(t) + (size_t)k] =
                value(round, rank, to, i, k);
    }
}

static void check_back(dgm_comm *c, const struct traffic *t, dgm_xchg *x, int round, int to)
{
    const int rank = dgm_comm_rank(c), n = t->count(round, rank, to, dgm_comm_size(c), t->max_rows);
    const float *back = dgm_xchg_back(x, to);
    for (int i = 0; i < n; i++) {
        for (int k = i % t->sparse; k < t->width; k += t->sparse)
            CHECK_EQ(rank, "result", back[(size_t)i * (size_t)t->width + (size_t)k],
                     -value(round, rank, to, i, k) - (float)to);
    }
}

static void one_round(dgm_comm *c, const struct traffic *t, dgm_xchg *x, int round)
{
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    int32_t n_to[64];
    int worst = 1;
    for (int r = 0; r < size; r++)
        n_to[r] = t->count(round, rank, r, size, t->max_rows);
    dgm_xchg_reserve(x, n_to);
    for (int r = 0; r < size; r++)
        fill_out(t, x, round, rank, r);
    must(c, dgm_xchg_dispatch(x, DGM_OK, &worst), t->name);
    CHECK_EQ(rank, "worst", worst, DGM_OK);
    for (int r = 0; r < size; r++)
        check_in(c, t, x, round, r);
    must(c, dgm_xchg_combine(x), t->name);
    for (int r = 0; r < size; r++)
        check_back(c, t, x, round, r);
}

static void traffic(dgm_comm *c, void *ctx)
{
    const struct traffic *t = ctx;
    dgm_xchg *x = NULL;
    must(c, dgm_xchg_create(&x, c, (size_t)row_floats(t) * sizeof(float), t->width, t->max_rows),
         t->name);
    long warm = 0;
    for (int round = 0; round < t->rounds; round++) {
        if (round == 2)
            warm = mallocs;
        one_round(c, t, x, round);
    }
    /* The hub allocates by design; it is the others that serve. */
    if (t->rounds > 2 && hub_ranks == 0)
        CHECK_EQ(dgm_comm_rank(c), "mallocs after two rounds", mallocs - warm, 0);
    const dgm_xchg_stats s = dgm_xchg_get_stats(x);
    CHECK_EQ(dgm_comm_rank(c), "rounds", s.rounds, 2 * t->rounds);
    dgm_xchg_destroy(x);
}

static int none(int round, int from, int to, int size, int max)
{
    (void)round, (void)from, (void)to, (void)size, (void)max;
    return 0;
}

static int one_rank_has_all(int round, int from, int to, int size, int max)
{
    return from == round % size ? (to == round / size % size ? max : 0) : 0;
}

static int odd_ranks_have_none(int round, int from, int to, int size, int max)
{
    (void)size;
    return from % 2 == 1 ? 0 : (round + to) % (max + 1);
}

/* With 16 numbers a row a message of dispatch is 64 + 80 n bytes: n passes the limits of eager
 * protocols. */
static int around_limits(int round, int from, int to, int size, int max)
{
    static const int near[] = {0, 1, 49, 50, 51, 52, 63, 64, 65, 816, 818, 819, 820, 1000};
    (void)size, (void)max;
    return near[(round + from + to) % (int)(sizeof near / sizeof near[0])];
}

static int at_random(int round, int from, int to, int size, int max)
{
    const uint64_t r = mix(((uint64_t)round * 64 + (uint64_t)from) * 64 + (uint64_t)to);
    (void)size;
    /* a quarter each: nothing, a few, any number, the same for all */
    switch (r % 4) {
    case 0:
        return 0;
    case 1:
        return (int)(r / 4 % 3);
    case 2:
        return (int)(r / 4 % (uint64_t)(max + 1));
    default:
        return max / 2;
    }
}

static int at_most(int round, int from, int to, int size, int max)
{
    (void)round, (void)size;
    return to == (from + 1) % size ? max : 0;
}

/* ---- status rides with the counts ---- */

static void status_rides(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    dgm_xchg *x = NULL;
    must(c, dgm_xchg_create(&x, c, 8 * sizeof(float), 8, 4), "create");
    for (int bad = 0; bad < size; bad++) {
        int32_t n_to[64];
        int worst = 1;
        for (int r = 0; r < size; r++)
            n_to[r] = 2;
        dgm_xchg_reserve(x, n_to);
        for (int r = 0; r < size; r++)
            memset(dgm_xchg_out(x, r).rows, 0, 2 * 8 * sizeof(float));
        const int status = rank == bad ? DGM_ENAN : rank > bad ? DGM_ENOMEM : DGM_OK;
        must(c, dgm_xchg_dispatch(x, status, &worst), "dispatch");
        CHECK_EQ(rank, "worst is the lowest rank's", worst, DGM_ENAN);
        for (int r = 0; r < size; r++)
            CHECK_EQ(rank, "a rank that failed sends nothing", dgm_xchg_in(x, r).n_rows,
                     r >= bad ? 0 : 2);
        must(c, dgm_xchg_combine(x), "combine");
    }
    dgm_xchg_destroy(x);
}

/* ---- two exchanges in flight ---- */

/* What each of the two carries; their rows differ in length, so that one taken for the other shows. */
static const struct pair {
    const char *name;
    count_fn count[2];
    int max_rows;
} pairs[] = {
    {"at random", {at_random, at_random}, 60},
    {"an empty half", {at_random, none}, 60},
    {"nothing", {none, none}, 4},
    {"one rank has all", {one_rank_has_all, one_rank_has_all}, 70},
    {"odd ranks have none", {odd_ranks_have_none, around_limits}, 1000},
    {"long messages", {at_most, at_most}, 1500},
};

struct flight {
    struct traffic t;
    dgm_xchg *x;
    int round, status;
};

/* Keeps ranks out of step, and lets the library move things now and then. */
static void work(dgm_comm *c, int key)
{
    const uint64_t r = mix((uint64_t)key * 64 + (uint64_t)dgm_comm_rank(c));
    if (r % 8 == 0)
        (void)usleep(300);
    for (uint64_t i = r / 8 % 3; i > 0; i--)
        dgm_comm_progress(c);
}

static void begin_flight(dgm_comm *c, struct flight *f, int round, int status)
{
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    int32_t n_to[64];
    f->round = round;
    f->status = status;
    for (int r = 0; r < size; r++)
        n_to[r] = status == DGM_OK ? f->t.count(round, rank, r, size, f->t.max_rows) : 0;
    dgm_xchg_reserve(f->x, n_to);
    for (int r = 0; r < size; r++)
        fill_out(&f->t, f->x, round, rank, r);
    must(c, dgm_xchg_dispatch_begin(f->x, status), f->t.name);
}

/* bad: the rank that failed before this exchange began, or -1. */
static void serve_flight(dgm_comm *c, struct flight *f, int bad)
{
    int worst = 1;
    must(c, dgm_xchg_dispatch_end(f->x, &worst), f->t.name);
    CHECK_EQ(dgm_comm_rank(c), "worst", worst, bad < 0 ? DGM_OK : DGM_ENAN);
    for (int r = 0; r < dgm_comm_size(c); r++) {
        if (r == bad)
            CHECK_EQ(dgm_comm_rank(c), "rows of a rank that failed", dgm_xchg_in(f->x, r).n_rows,
                     0);
        else
            check_in(c, &f->t, f->x, f->round, r);
    }
    must(c, dgm_xchg_combine_begin(f->x), f->t.name);
}

static void end_flight(dgm_comm *c, struct flight *f)
{
    must(c, dgm_xchg_combine_end(f->x), f->t.name);
    for (int r = 0; f->status == DGM_OK && r < dgm_comm_size(c); r++)
        check_back(c, &f->t, f->x, f->round, r);
}

/* The order of runtime/layers.c: something of one is on its way while the other is worked on. In every fifth round a rank
 * fails between the first one's begin and end: what it sent counts, and the second one tells. */
static void two_in_flight(dgm_comm *c, void *ctx)
{
    const struct pair *p = ctx;
    /* The hub copies everything twice, under sanitizers. */
    const int size = dgm_comm_size(c), many = hub_ranks > 0 ? 10 : 40,
              rounds = p->max_rows > 1000 ? many / 5 : many;
    struct flight f[2];
    long warm = 0;
    for (int i = 0; i < 2; i++) {
        f[i] = (struct flight){.t = {p->name, p->count[i], i == 0 ? 24 : 31, p->max_rows, rounds,
                                     p->max_rows > 100 ? 31 : 1, i == 0 ? 0 : 9}};
        must(c,
             dgm_xchg_create(&f[i].x, c, (size_t)row_floats(&f[i].t) * sizeof(float), f[i].t.width,
                             p->max_rows),
             p->name);
    }
    dgm_xchg *third = NULL;
    CHECK_EQ(dgm_comm_rank(c), "no third", dgm_xchg_create(&third, c, 4, 1, 1), DGM_EINTERNAL);
    for (int round = 0; round < rounds; round++) {
        const int bad = round % 5 == 4 ? round / 5 % size : -1;
        if (round == 2)
            warm = mallocs;
        for (int i = 0; i < 2; i++) {
            if (round > 0)
                end_flight(c, &f[i]);
            begin_flight(c, &f[i], 2 * round + i,
                         i == 1 && dgm_comm_rank(c) == bad ? DGM_ENAN : DGM_OK);
            work(c, 4 * round + i);
        }
        for (int i = 0; i < 2; i++) {
            serve_flight(c, &f[i], i == 1 ? bad : -1);
            work(c, 4 * round + 2 + i);
        }
    }
    for (int i = 0; i < 2; i++) {
        end_flight(c, &f[i]);
        CHECK_EQ(dgm_comm_rank(c), "rounds", dgm_xchg_get_stats(f[i].x).rounds, 2 * rounds);
    }
    if (hub_ranks == 0)
        CHECK_EQ(dgm_comm_rank(c), "mallocs after two rounds", mallocs - warm, 0);
    for (int i = 0; i < 2; i++)
        dgm_xchg_destroy(f[i].x);
}

/* ---- ranks out of step, control messages in between ---- */

static void skewed(dgm_comm *c, void *ctx)
{
    (void)ctx;
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    const struct traffic t = {"skewed", at_random, 24, 40, 0, 1, 0};
    dgm_xchg *x = NULL;
    must(c, dgm_xchg_create(&x, c, (size_t)t.width * sizeof(float), t.width, t.max_rows), "create");
    for (int round = 0; round < 60; round++) {
        for (int r = 1; r < size; r++) {
            if (rank == 0)
                must(c, dgm_comm_send(c, r, &round, sizeof round), "send");
        }
        if (mix((uint64_t)round * 64 + (uint64_t)rank) % 7 == 0)
            (void)usleep(3000);
        if (rank > 0) {
            const void *got;
            size_t n;
            must(c, dgm_comm_recv(c, 0, &got, &n), "recv");
            CHECK_EQ(rank, "plan", *(const int *)got, round);
            must(c, dgm_comm_send(c, 0, &round, sizeof round), "report");
        }
        one_round(c, &t, x, round);
        for (int r = 1; rank == 0 && r < size; r++) {
            const void *got;
            size_t n;
            must(c, dgm_comm_recv(c, r, &got, &n), "recv");
            CHECK_EQ(rank, "report", *(const int *)got, round);
        }
    }
    dgm_xchg_destroy(x);
}

/* A rank that works for longer than the deadline and says so is not given up. */
static void busy(dgm_comm *c, void *ctx)
{
    (void)ctx;
    dgm_comm_set_limits(c, 500, 2500);
    if (dgm_comm_rank(c) == dgm_comm_size(c) - 1) {
        for (int i = 0; i < 350; i++) {
            dgm_comm_busy(c, "reading experts");
            (void)usleep(10000);
        }
    }
    CHECK_EQ(dgm_comm_rank(c), "nobody gave up", dgm_comm_agree(c, DGM_OK), DGM_OK);
    dgm_comm_set_limits(c, 10000, 60000);
}

/* all_ready - on each rank: have all said so? */
static bool all_ready(dgm_comm *c, bool ready)
{
    int32_t each[64];
    const int32_t mine = ready;
    int n = 0;
    must(c, dgm_comm_allgather(c, each, &mine, sizeof mine), "allgather");
    for (int r = 0; r < dgm_comm_size(c); r++)
        n += each[r];
    return n == dgm_comm_size(c);
}

/* A rank that rests hears the bell of who sends it a message: each ring ends one rest, soon or, if the message was found
 * without it, later. Who had no CPU in the pause finds the message and rests for nobody: then there are more rounds. */
static void rings(dgm_comm *c, void *ctx)
{
    (void)ctx;
    enum { ENOUGH = 10, MOST = 60 };
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    const bool can_hear = rank > 0 && strcmp(dgm_comm_host(c, 0), dgm_comm_host(c, rank)) == 0;
    const uint64_t rung = c->rung;
    useconds_t pause = 20000;
    int rounds = 0;
    do {
        const void *got;
        size_t bytes;
        if (rank == 0)
            (void)usleep(pause);
        for (int r = 1; rank == 0 && r < size; r++)
            must(c, dgm_comm_send(c, r, &rounds, sizeof rounds), "send");
        if (rank > 0) {
            must(c, dgm_comm_recv(c, 0, &got, &bytes), "recv");
            CHECK_EQ(rank, "round", *(const int *)got, rounds);
        }
        if (++rounds > ENOUGH && pause < 500000)
            pause *= 2;
    } while (!all_ready(c, !can_hear || c->rung - rung >= ENOUGH) && rounds < MOST);
    if (!can_hear)
        return;
    CHECK_EQ(rank, "was rung often enough", c->rung - rung >= ENOUGH, 1);
    CHECK_EQ(rank, "was rung more often than there were messages",
             c->rung - rung > (uint64_t)rounds + 1, 0);
}

/* A message that has come is seen by the first look: the next one may be a rest away. */
static void first_look(dgm_comm *c, void *ctx)
{
    (void)ctx;
    enum { ROUNDS = 20 };
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    const void *got;
    size_t bytes;
    int seen = 0;
    useconds_t pause = 20000; /* longer each time that it had not come: who sends may be held up */
    for (int round = 0; round < ROUNDS; round++) {
        for (int r = 1; rank == 0 && r < size; r++) {
            must(c, dgm_comm_recv(c, r, &got, &bytes), "recv");
            must(c, dgm_comm_send(c, r, &round, sizeof round), "send");
        }
        if (rank > 0) {
            must(c, dgm_comm_send(c, 0, &round, sizeof round), "send");
            (void)usleep(pause);
            if (dgm_comm_waiting(c, 0))
                seen++;
            else if (pause < 500000)
                pause *= 2;
            must(c, dgm_comm_recv(c, 0, &got, &bytes), "recv");
        }
    }
    if (rank > 0)
        CHECK_EQ(rank, "seen by the first look in half of the rounds", seen >= ROUNDS / 2, 1);
}

/* ---- runs ---- */

static void everywhere(void (*fn)(dgm_comm *c, void *ctx), void *ctx)
{
    const dgm_comm_config cfg = {.backend = backend, .stall_ms = 10000, .deadline_ms = 60000};
    atomic_store(&failures, 0);
    if (hub_ranks > 0)
        hub_run(hub_ranks, &cfg, fn, ctx);
    else
        fn(the_comm, ctx);
    assert_int_equal(atomic_load(&failures), 0);
}

#define PLAIN_TEST(fn)                                                                             \
    static void test_##fn(void **state)                                                            \
    {                                                                                              \
        (void)state;                                                                               \
        everywhere(fn, NULL);                                                                      \
    }
PLAIN_TEST(facts)
PLAIN_TEST(gather)
PLAIN_TEST(agree)
PLAIN_TEST(control)
PLAIN_TEST(status_rides)
PLAIN_TEST(skewed)
PLAIN_TEST(busy)
PLAIN_TEST(first_look)

static void test_traffic(void **state)
{
    static const struct traffic all[] = {
        {"empty", none, 4, 0, 20, 1, 0},
        {"one rank has all", one_rank_has_all, 33, 70, 80, 1, 0},
        {"odd ranks have none", odd_ranks_have_none, 7, 12, 30, 1, 0},
        {"around limits", around_limits, 16, 1000, 28, 1, 0},
        {"at random", at_random, 20, 50, 300, 1, 0},
        {"one number a row", at_random, 1, 9, 100, 1, 0},
        {"rows shorter than their results", at_random, 36, 50, 60, 1, 9},
        {"rows longer than their results", at_random, 4, 50, 60, 1, 11},
        {"64 MiB", at_most, 4096, 4096, 3, 509, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct traffic t = all[i];
        if (hub_ranks > 0 && t.max_rows == 4096)
            t.rounds = 1; /* the hub copies everything twice, under sanitizers */
        everywhere(traffic, &t);
    }
}

static void test_two_in_flight(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct pair p = pairs[i];
        everywhere(two_in_flight, &p);
    }
}

static void test_rings(void **state)
{
    (void)state;
    if (the_comm == NULL) {
        print_message("[  SKIPPED ] the hub's ranks are one process, with one bell\n");
        skip();
    }
    everywhere(rings, NULL);
}

static void test_too_many_rows(void **state)
{
    (void)state;
    dgm_xchg *x = NULL;
    if (the_comm == NULL) {
        print_message("[  SKIPPED ] the hub makes its ranks anew for each case\n");
        skip();
    }
    assert_int_equal(dgm_xchg_create(&x, the_comm, 32768, 8, 1000000), DGM_EUNSUPPORTED);
    assert_non_null(strstr(dgm_error_text(), "found 1000000"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),         cmocka_unit_test(test_gather),
        cmocka_unit_test(test_agree),         cmocka_unit_test(test_control),
        cmocka_unit_test(test_status_rides),  cmocka_unit_test(test_traffic),
        cmocka_unit_test(test_skewed),        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_two_in_flight), cmocka_unit_test(test_rings),
        cmocka_unit_test(test_first_look),    cmocka_unit_test(test_too_many_rows),
    };
    backend = argc > 1 ? argv[1] : "local";
    hub_ranks = argc > 2 ? atoi(argv[2]) : 0;
    const dgm_comm_config cfg = {.backend = backend, .stall_ms = 10000, .deadline_ms = 60000};
    if (hub_ranks == 0 && dgm_comm_open(&the_comm, &cfg) != DGM_OK) {
        (void)fprintf(stderr, "%s: %s\n", backend, dgm_error_text());
        return 1;
    }
    if (the_comm != NULL && dgm_comm_rank(the_comm) > 0 &&
        freopen("/dev/null", "w", stdout) == NULL)
        return 1; /* one report is enough; what fails is said on stderr */
    const int failed = cmocka_run_group_tests_name(backend, tests, NULL, NULL);
    dgm_comm_close(the_comm);
    return failed != 0;
}
