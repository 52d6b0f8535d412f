/*
 * soak - a job that does what the engine does with comm, for as long as one likes: plan, layers,
 * report.
 *
 *   soak [--rounds N] [--layers N] [--rows N] [--width N] [--pause-ms N] [--stall-ms N]
 * [--deadline-ms N]
 *        [--backend NAME] [--fail-rank R --fail-round N --fail-how exit|hang|sleep|status] [--cpu]
 *
 * Rank 0 tells the round in a plan, all exchange checked rows in each layer, in two exchanges of which one is on its way
 * while the other is worked on, everybody reports.
 * --rounds 0: until TERM or INT. --fail-*: rank R leaves in layer 3 of round N, when it has begun one exchange, without a word,
 * loops, sleeps, or fails alone. --cpu: prints the CPU time used in the rounds as a share of the
 * time they took, and how often a second they rested while they waited, each of the worst rank.
 */
#include "base/clock.h"
#include "base/log.h"
#include "comm/exchange.h"
#include "comm/internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct {
    long rounds, layers, rows, width, pause_ms, stall_ms, deadline_ms, fail_rank, fail_round;
    const char *fail_how, *backend;
    bool cpu;
} opt = {.rounds = 1000,
         .layers = 6,
         .rows = 16,
         .width = 64,
         .stall_ms = 500,
         .deadline_ms = 3000,
         .fail_rank = -1,
         .fail_how = "exit",
         .backend = "auto"};

static volatile sig_atomic_t signalled;

static void on_signal(int sig)
{
    if (signalled)
        _exit(128 + sig); /* the second one means now */
    signalled = sig;
}

static void must(dgm_comm *c, int rc)
{
    if (rc != DGM_OK)
        dgm_comm_end(c, rc);
}

static void fail_here(dgm_comm *c)
{
    if (strcmp(opt.fail_how, "exit") == 0)
        _exit(3);
    if (strcmp(opt.fail_how, "status") == 0)
        dgm_comm_end(c, dgm_fail(DGM_EINTERNAL, "soak: told to fail"));
    for (;;) {
        if (strcmp(opt.fail_how, "sleep") == 0)
            (void)sleep(1);
    }
}

static float value(long round, long layer, int from, int to, int row)
{
    return (float)((round * 31 + layer * 7 + from * 5 + to * 3 + row) % 9973);
}

static void check(float found, float want)
{
    if (found != want) {
        (void)fprintf(stderr, "soak: want %g, found %g\n", (double)want, (double)found);
        abort();
    }
}

static int count(long round, long l, int from, int to)
{
    return (int)((round + l + to + from) % (opt.rows + 1));
}

static void leave(dgm_comm *c, dgm_xchg *x, long round, long l)
{
    const int rank = dgm_comm_rank(c), size = dgm_comm_size(c);
    int32_t n_to[64];
    for (int r = 0; r < size; r++)
        n_to[r] = (int32_t)count(round, l, rank, r);
    dgm_xchg_reserve(x, n_to);
    for (int r = 0; r < size; r++) {
        const dgm_xchg_part p = dgm_xchg_out(x, r);
        for (int i = 0; i < p.n_rows; i++) {
            p.tags[i].expert[0] = i;
            ((float *)p.rows)[(long)i * opt.width] = value(round, l, rank, r, i);
        }
    }
    must(c, dgm_xchg_dispatch_begin(x, DGM_OK));
}

static void serve(dgm_comm *c, dgm_xchg *x, long round, long l)
{
    int worst;
    must(c, dgm_xchg_dispatch_end(x, &worst));
    for (int r = 0; r < dgm_comm_size(c); r++) {
        const dgm_xchg_part p = dgm_xchg_in(x, r);
        for (int i = 0; i < p.n_rows; i++) {
            const float sent = ((float *)p.rows)[(long)i * opt.width];
            check(sent, value(round, l, r, dgm_comm_rank(c), i));
            p.reply[(long)i * opt.width] = -sent;
        }
    }
    must(c, dgm_xchg_combine_begin(x));
}

static void come_home(dgm_comm *c, dgm_xchg *x, long round, long l)
{
    const int rank = dgm_comm_rank(c);
    must(c, dgm_xchg_combine_end(x));
    for (int r = 0; r < dgm_comm_size(c); r++) {
        for (int i = 0; i < count(round, l, rank, r); i++)
            check(dgm_xchg_back(x, r)[(long)i * opt.width], -value(round, l, rank, r, i));
    }
}

/* The two carry what two layers would: l, and l + 1000. */
static void layer(dgm_comm *c, dgm_xchg *const x[2], long round, long l)
{
    dgm_comm_at(c, "decode", (int)l);
    for (int i = 0; i < 2; i++) {
        leave(c, x[i], round, l + 1000L * i);
        if (i == 0 && dgm_comm_rank(c) == opt.fail_rank && round == opt.fail_round && l == 3)
            fail_here(c);
    }
    for (int i = 0; i < 2; i++)
        serve(c, x[i], round, l + 1000L * i);
    for (int i = 0; i < 2; i++)
        come_home(c, x[i], round, l + 1000L * i);
}

/* The round that rank 0 plans; -1 to stop. */
static long plan(dgm_comm *c, long round)
{
    const void *got;
    size_t n;
    dgm_comm_at(c, "plan", -1);
    if (dgm_comm_rank(c) > 0) {
        must(c, dgm_comm_recv(c, 0, &got, &n));
        return *(const long *)got;
    }
    if (opt.pause_ms > 0)
        (void)nanosleep(&(struct timespec){opt.pause_ms / 1000, opt.pause_ms % 1000 * 1000000},
                        NULL);
    const long next = signalled || (opt.rounds > 0 && round == opt.rounds) ? -1 : round;
    for (int r = 1; r < dgm_comm_size(c); r++)
        must(c, dgm_comm_send(c, r, &next, sizeof next));
    return next;
}

static void report(dgm_comm *c, long round)
{
    dgm_comm_at(c, "report", -1);
    if (dgm_comm_rank(c) > 0)
        must(c, dgm_comm_send(c, 0, &round, sizeof round));
    for (int r = 1; dgm_comm_rank(c) == 0 && r < dgm_comm_size(c); r++) {
        const void *got;
        size_t n;
        must(c, dgm_comm_recv(c, r, &got, &n));
        check((float)*(const long *)got, (float)round);
    }
}

static double cpu_s(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double worst_of(dgm_comm *c, double mine)
{
    double all[64], worst = 0;
    must(c, dgm_comm_allgather(c, all, &mine, sizeof mine));
    for (int r = 0; r < dgm_comm_size(c); r++)
        worst = all[r] > worst ? all[r] : worst;
    return worst;
}

static void print_cpu(dgm_comm *c, double cpu, double rests, double seconds)
{
    const double share = worst_of(c, cpu / seconds), rate = worst_of(c, rests / seconds);
    if (dgm_comm_rank(c) == 0)
        (void)printf("cpu %.1f %% of a core in the busiest rank, rests %.0f a second\n",
                     100 * share, rate);
}

static void from_environment(long *out, const char *name)
{
    const char *text = getenv(name);
    if (text != NULL)
        *out = strtol(text, NULL, 10);
}

static void parse(int argc, char **argv)
{
    from_environment(&opt.stall_ms, "DGM_COMM_STALL_MS");
    from_environment(&opt.deadline_ms, "DGM_COMM_DEADLINE_MS");
    const struct {
        const char *name;
        long *number;
        const char **word;
    } table[] = {
        {"--rounds", &opt.rounds, NULL},
        {"--layers", &opt.layers, NULL},
        {"--rows", &opt.rows, NULL},
        {"--width", &opt.width, NULL},
        {"--pause-ms", &opt.pause_ms, NULL},
        {"--stall-ms", &opt.stall_ms, NULL},
        {"--deadline-ms", &opt.deadline_ms, NULL},
        {"--fail-rank", &opt.fail_rank, NULL},
        {"--fail-round", &opt.fail_round, NULL},
        {"--fail-how", NULL, &opt.fail_how},
        {"--backend", NULL, &opt.backend},
    };
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        if (strcmp(argv[i], "--cpu") == 0) {
            opt.cpu = true;
            continue;
        }
        while (k < sizeof table / sizeof table[0] && strcmp(argv[i], table[k].name) != 0)
            k++;
        if (k == sizeof table / sizeof table[0] || i + 1 == argc) {
            (void)fprintf(stderr, "soak: unknown option or no value: %s\n", argv[i]);
            exit(2);
        }
        i++;
        if (table[k].number != NULL)
            *table[k].number = strtol(argv[i], NULL, 10);
        else
            *table[k].word = argv[i];
    }
}

int main(int argc, char **argv)
{
    dgm_comm *c = NULL;
    dgm_xchg *x[2] = {NULL, NULL};
    parse(argc, argv);
    /* as dragoman: what a launcher that ends no longer reads kills nobody */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    const dgm_comm_config cfg = {
        .backend = opt.backend, .stall_ms = (int)opt.stall_ms, .deadline_ms = (int)opt.deadline_ms};
    const int rc = dgm_comm_open(&c, &cfg);
    if (rc != DGM_OK) {
        (void)fprintf(stderr, "soak: %s\n", dgm_error_text());
        return dgm_exit_code(rc);
    }
    dgm_log_init(DGM_LOG_INFO, dgm_comm_rank(c), dgm_comm_size(c));
    dgm_log(DGM_LOG_INFO, "soak", "start %d ranks", dgm_comm_size(c));
    for (int i = 0; i < 2; i++)
        must(c, dgm_xchg_create(&x[i], c, (size_t)opt.width * sizeof(float), (int)opt.width,
                                (int)opt.rows));
    const double began = dgm_now_s(), cpu = cpu_s();
    const uint64_t rests = c->rests;
    long round = 0;
    for (; (round = plan(c, round)) >= 0; round++) {
        for (long l = 0; l < opt.layers; l++)
            layer(c, x, round, l);
        report(c, round);
    }
    if (opt.cpu)
        print_cpu(c, cpu_s() - cpu, (double)(c->rests - rests), dgm_now_s() - began);
    int32_t sig = signalled; /* all exit alike: rank 0 decides */
    int32_t sigs[64];
    must(c, dgm_comm_allgather(c, sigs, &sig, sizeof sig));
    if (dgm_comm_rank(c) == 0)
        (void)printf("soak: done on %d ranks\n", dgm_comm_size(c));
    for (int i = 0; i < 2; i++)
        dgm_xchg_destroy(x[i]);
    dgm_comm_close(c);
    return sigs[0] != 0 ? 128 + sigs[0] : 0;
}
