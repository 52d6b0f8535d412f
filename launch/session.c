#include "launch/session.h"

#include "base/fpenv.h"
#include "base/log.h"
#include "base/memory.h"
#include "launch/session_cpus.h"
#include "runtime/cut.h"
#include "runtime/footprint.h"
#include "runtime/task_experts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_RANKS = 8 };        /* whose CPUs the start line lists */
static const double SPARE = 0.9; /* of free memory, the part that a job plans with */

/* What every rank tells the others before any work. */
typedef struct facts {
    char options[DGM_OPTIONS_FACTS_BYTES];
    dgm_cpus cpus;
    int32_t isa, forced; /* level that this rank has, or was told to use */
} facts;

volatile sig_atomic_t dgm_session_signal;
static volatile sig_atomic_t heeded;
static void (*at_once)(void);

static void on_signal(int number)
{
    if (heeded && dgm_session_signal == 0) {
        dgm_session_signal = number;
        return;
    }
    if (at_once != NULL)
        at_once();
    dgm_comm_quit(128 + number);
}

void dgm_session_heed(void)
{
    heeded = 1;
}

void dgm_session_at_once(void (*last)(void))
{
    at_once = last;
}

/* Once it is heeded, ranks above 0 take the first signal too, and go on: rank 0 has one as well, or the job is not meant to end. */
static void catch_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal}, old;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        /* nohup and the like: what the starter ignores stays ignored */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &action, NULL);
    }
}

/* close_stdin - rank 0 alone reads; a rank that held the input open would hide its end from nobody but confuse all. */
static void close_stdin(void)
{
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null > 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)close(null);
    }
}

static int no_memory(void)
{
    return dgm_fail(DGM_ENOMEM, "out of memory at start");
}

static int open_comm(dgm_session *s)
{
    const dgm_options *o = s->options;
    enum dgm_log_level level = DGM_LOG_INFO;
    const dgm_comm_config cfg = {
        .backend = o->comm, .stall_ms = o->stall_ms, .deadline_ms = o->deadline_ms};
    catch_signals();
    DGM_TRY(dgm_comm_open(&s->comm, &cfg));
    s->rank = dgm_comm_rank(s->comm);
    s->ranks = dgm_comm_size(s->comm);
    DGM_TRY(dgm_log_parse(&level, o->log_level));
    dgm_log_init(level, s->rank, s->ranks);
    if (s->rank > 0)
        close_stdin();
    return DGM_OK;
}

/* own_facts - also the first place where a rank may find that it cannot do what was asked. */
static int own_facts(facts *f, const dgm_session *s)
{
    dgm_kernels k;
    memset(f, 0, sizeof *f);
    dgm_options_facts(f->options, s->options);
    dgm_cpus_read(&f->cpus);
    f->forced = strcmp(s->options->isa, "auto") != 0;
    DGM_TRY(dgm_kernels_select(&k, s->options->isa));
    f->isa = dgm_kernels_level(k.isa);
    return DGM_OK;
}

static int compare_facts(const dgm_session *s, const facts *all)
{
    if (s->dense_ranks > s->ranks)
        return dgm_fail(DGM_EUSAGE,
                        "--dense-ranks: want all or 1 to %d (the number of ranks), found %d",
                        s->ranks, s->dense_ranks);
    return dgm_options_compare(all[s->rank].options, all[0].options);
}

/* choose_isa - the best that all ranks have; a rank that was told another uses that (the bits are the same). */
static int choose_isa(dgm_session *s, const facts *all)
{
    int level = all[0].isa;
    for (int r = 1; r < s->ranks; r++)
        level = all[r].isa < level ? all[r].isa : level;
    if (all[s->rank].forced)
        level = all[s->rank].isa;
    return dgm_kernels_select(&s->kern, dgm_kernels_level_name(level));
}

/* threads_of - rank r's threads, unless it was told. */
static int threads_of(const dgm_session *s, const facts *all, int rank)
{
    if (s->options->threads > 0)
        return s->options->threads;
    const dgm_cpus **here = calloc((size_t)s->ranks, sizeof(const dgm_cpus *));
    if (here == NULL)
        return 1;
    int n = 0;
    for (int r = 0; r < s->ranks; r++) {
        if (strcmp(dgm_comm_host(s->comm, r), dgm_comm_host(s->comm, rank)) == 0)
            here[n++] = &all[r].cpus;
    }
    const int threads = dgm_cpus_share(&all[rank].cpus, here, n);
    free(here);
    return threads;
}

static int choose_threads(dgm_session *s, const facts *all)
{
    for (int r = 0; r < s->ranks; r++) {
        const int n = threads_of(s, all, r);
        s->threads_min = r == 0 || n < s->threads_min ? n : s->threads_min;
        s->threads_max = n > s->threads_max ? n : s->threads_max;
    }
    return dgm_pool_create(&s->pool, threads_of(s, all, s->rank));
}

static void show_cpus(const dgm_session *s, const facts *all)
{
    char text[128];
    const int n = s->ranks < SHOWN_RANKS || dgm_log_on(DGM_LOG_DEBUG) ? s->ranks : SHOWN_RANKS;
    for (int r = 0; s->rank == 0 && s->ranks > 1 && r < n; r++) {
        dgm_cpus_format(text, sizeof text, &all[r].cpus);
        dgm_log(DGM_LOG_INFO, "start", "rank %d on %s: cpus %s", r, dgm_comm_host(s->comm, r),
                text);
    }
}

static enum dgm_verify verify_of(const char *when)
{
    if (strcmp(when, "open") == 0)
        return DGM_VERIFY_OPEN;
    return strcmp(when, "never") == 0 ? DGM_VERIFY_NEVER : DGM_VERIFY_FIRST_USE;
}

static int open_model(dgm_session *s)
{
    const dgm_options *o = s->options;
    const int order =
        strcmp(o->source_order, "auto") == 0 ? -1 : strcmp(o->source_order, "suffix") == 0;
    const dgm_model_options opt = {
        .dropless = o->dropless, .source_order = order, .verify = verify_of(o->verify_when)};
    DGM_TRY(dgm_fpenv_check("after the ranks met"));
    DGM_TRY(dgm_model_open(&s->model, o->model, &opt));
    return dgm_expert_sets_init(&s->sets, &s->model->cfg);
}

static int compare_models(dgm_session *s)
{
    uint64_t *all = calloc((size_t)s->ranks, sizeof *all);
    if (all == NULL)
        return dgm_comm_agree(s->comm, no_memory());
    int rc = dgm_comm_allgather(s->comm, all, &s->model->hash, sizeof *all);
    if (rc == DGM_OK) {
        if (all[s->rank] != all[0])
            rc = dgm_fail(
                DGM_ECONFIG,
                "model %s is another than rank 0's (configuration, tensors or sizes differ)",
                s->options->model);
        rc = dgm_comm_agree(s->comm, rc);
    }
    free(all);
    return rc;
}

/* choose_device - a GPU for each rank of a host, in turn; the experts go there when they are loaded. */
static int choose_device(dgm_session *s)
{
    if (strcmp(s->options->device, "cuda") != 0)
        return DGM_OK;
    int before = 0;
    for (int r = 0; r < s->rank; r++)
        before += strcmp(dgm_comm_host(s->comm, r), dgm_comm_host(s->comm, s->rank)) == 0;
    DGM_TRY(dgm_device_load(&s->device, "cuda"));
    DGM_TRY(s->device->count(&s->gpu_count));
    s->gpu_index = before % s->gpu_count;
    return DGM_OK;
}

/* meet - the first round is the one that a rank with bad options joins too (main.c), to be heard. */
static int meet(dgm_session *s, facts *all)
{
    facts mine;
    DGM_TRY(dgm_comm_agree(s->comm, own_facts(&mine, s)));
    DGM_TRY(dgm_comm_allgather(s->comm, all, &mine, sizeof mine));
    DGM_TRY(dgm_comm_agree(s->comm, compare_facts(s, all)));
    int rc = choose_isa(s, all);
    if (rc == DGM_OK)
        rc = choose_threads(s, all);
    if (rc == DGM_OK)
        rc = choose_device(s);
    if (rc == DGM_OK)
        rc = open_model(s);
    DGM_TRY(dgm_comm_agree(s->comm, rc));
    show_cpus(s, all);
    return DGM_OK;
}

int dgm_session_join(dgm_session *s, const dgm_options *o)
{
    *s = (dgm_session){.options = o};
    DGM_TRY(open_comm(s));
    s->dense_ranks = strcmp(o->dense_ranks, "all") == 0 ? s->ranks : atoi(o->dense_ranks);
    facts *all = calloc((size_t)s->ranks, sizeof *all);
    if (all == NULL)
        return dgm_comm_agree(s->comm, no_memory());
    int rc = meet(s, all);
    free(all);
    DGM_TRY(rc);
    DGM_TRY(compare_models(s));
    if (s->rank == 0)
        rc = dgm_tokenizer_open(&s->tok, o->model, s->model->cfg.vocab_size);
    return dgm_comm_agree(s->comm, rc);
}

static double mib(double bytes)
{
    return bytes / (1 << 20);
}

static int count_hosts(const dgm_session *s)
{
    int n = 0;
    for (int r = 0; r < s->ranks; r++) {
        int before = 0;
        while (before < r && strcmp(dgm_comm_host(s->comm, before), dgm_comm_host(s->comm, r)) != 0)
            before++;
        n += before == r;
    }
    return n;
}

/* weight_types - "experts int8, dense bf16, compute int8", one word for types that are alike. */
static void weight_types(char *out, size_t size, const dgm_model *m, dgm_compute compute)
{
    dgm_model_size s;
    dgm_model_get_size(&s, m);
    const char *experts = s.part[DGM_EXPERTS].type, *dense = s.part[DGM_ATTENTION].type;
    const char *how = compute == DGM_COMPUTE_INT8 ? ", compute int8" : "";
    if (experts[0] == '\0' || strcmp(experts, dense) == 0)
        (void)snprintf(out, size, "%s%s", dense, how);
    else
        (void)snprintf(out, size, "experts %s, dense %s%s", experts, dense, how);
}

/* weight_bytes - of a rank, the rows that its lists repeat among them. */
static uint64_t weight_bytes(const dgm_session *s, int rank)
{
    uint64_t dense, experts;
    const bool holds = rank < s->dense_ranks;
    dgm_model_rank_bytes(&dense, &experts, s->model, rank, s->ranks, holds);
    return dense + experts + (holds ? dgm_shortlists_bytes(&s->lists, s->model) : 0);
}

static void show_start(const dgm_session *s, const dgm_engine_config *cfg)
{
    const dgm_model_config *m = &s->model->cfg;
    uint64_t most = 0;
    char threads[32], types[64], left[64] = "", gpu[192] = "", directions[160] = "";
    if (s->model->cut != NULL)
        dgm_cut_list(directions, sizeof directions, s->model->cut);
    for (int r = 0; r < s->ranks; r++) {
        const uint64_t weights = weight_bytes(s, r);
        most = weights > most ? weights : most;
    }
    (void)snprintf(threads, sizeof threads, s->threads_min == s->threads_max ? "%d" : "%d to %d",
                   s->threads_min, s->threads_max);
    weight_types(types, sizeof types, s->model, cfg->compute);
    if (s->budget < (double)UINT64_MAX / 2)
        (void)snprintf(left, sizeof left, ", for which %.0f MiB are free", mib(s->budget));
    if (s->gpu != NULL)
        (void)snprintf(gpu, sizeof gpu, "experts on the GPU (%s, %d of %d), ",
                       dgm_gpu_experts_name(s->gpu), s->gpu_index + 1, s->gpu_count);
    const int hosts = count_hosts(s);
    const int *experts = m->n_experts;
    char n_experts[32];
    (void)snprintf(n_experts, sizeof n_experts,
                   experts[DGM_ENCODER] == experts[DGM_DECODER] ? "%d" : "%d+%d",
                   experts[DGM_ENCODER], experts[DGM_DECODER]);
    dgm_log(DGM_LOG_INFO, "start", "%s: %s, %d+%d layers, %s experts%s%s%s", s->options->model,
            m->model_type, m->n_layers[DGM_ENCODER], m->n_layers[DGM_DECODER], n_experts,
            s->model->cut != NULL ? ", cut for " : "", directions,
            m->synthetic ? "; random weights (dragoman synth): what it writes means nothing" : "");
    dgm_log(DGM_LOG_INFO, "start",
            "%d rank%s on %d host%s, isa %s, %s%s thread%s a rank, batch of %d tokens and %d rows, "
            "%.1f MiB of weights (%s) and about %.0f MiB of work a rank%s",
            s->ranks, s->ranks == 1 ? "" : "s", hosts, hosts == 1 ? "" : "s", s->kern.isa, gpu,
            threads, strcmp(threads, "1") == 0 ? "" : "s", cfg->batch_tokens, cfg->batch_rows,
            mib((double)most), types, mib(dgm_footprint(cfg, s->model, s->ranks, s->threads_max)),
            left);
}

/* Sums of products of bytes must fit 32 bits (kernels/gemm.h). */
int dgm_session_types(dgm_engine_config *cfg, const dgm_session *s)
{
    enum { MAX_INPUTS = 131072 };
    const char *compute = s->options->compute;
    const dgm_model_config *m = &s->model->cfg;
    cfg->dense_ranks = s->dense_ranks;
    cfg->kv_bf16 = strcmp(s->options->kv, "bf16") == 0;
    cfg->compute = m->compute;
    if (strcmp(compute, "auto") != 0)
        cfg->compute = strcmp(compute, "int8") == 0 ? DGM_COMPUTE_INT8 : DGM_COMPUTE_F32;
    for (int i = 0; i < DGM_STACKS && cfg->compute == DGM_COMPUTE_INT8; i++)
        if (m->ffn_dim[i] > MAX_INPUTS)
            return dgm_fail(DGM_EUNSUPPORTED,
                            "--compute int8: want at most %d inputs of a matrix, found %d",
                            MAX_INPUTS, m->ffn_dim[i]);
    return DGM_OK;
}

static bool lost(int rc)
{
    return rc == DGM_EPEER || rc == DGM_EDEADLINE;
}

/* load_weights - this rank's part of the model, and the rows that lists name. */
static int load_weights(dgm_session *s)
{
    const bool dense = s->rank < s->dense_ranks;
    DGM_TRY(dgm_model_load(s->model, s->rank, s->ranks, dense, s->comm));
    if (dense)
        DGM_TRY(dgm_shortlists_gather(&s->lists, s->model, s->comm));
    if (s->device != NULL && dgm_config_most_experts(&s->model->cfg) == 0)
        return dgm_fail(DGM_EUNSUPPORTED,
                        "--device cuda: want a model with experts, which run there; %s has none",
                        s->options->model);
    if (s->device != NULL)
        DGM_TRY(dgm_gpu_experts_open(&s->gpu, s->device, s->gpu_index, s->model, s->comm));
    return dgm_fpenv_check("after loading the model");
}

dgm_overlap_mode dgm_session_overlap(const dgm_session *s)
{
    const char *how = s->options->overlap;
    if (strcmp(how, "auto") == 0)
        return DGM_OVERLAP_AUTO;
    return strcmp(how, "on") == 0 ? DGM_OVERLAP_ON : DGM_OVERLAP_OFF;
}

/* work_budget - bytes that each rank may use for its work: an even share of what its host has beside the weights. */
static double work_budget(const dgm_session *s, const uint64_t *free_bytes)
{
    double least = 0;
    for (int r = 0; r < s->ranks; r++) {
        double weights = 0;
        int here = 0;
        for (int i = 0; i < s->ranks; i++) {
            if (strcmp(dgm_comm_host(s->comm, i), dgm_comm_host(s->comm, r)) != 0)
                continue;
            weights += (double)weight_bytes(s, i);
            here++;
        }
        const double budget = (SPARE * (double)free_bytes[r] - weights) / here;
        least = r == 0 || budget < least ? budget : least;
    }
    return least;
}

/* choose_batch - the same on all ranks: from what all of them told. */
static int choose_batch(dgm_session *s, dgm_engine_config *cfg)
{
    const uint64_t mine = dgm_memory_free("");
    uint64_t *all = calloc((size_t)s->ranks, sizeof *all);
    if (all == NULL)
        return dgm_comm_agree(s->comm, no_memory());
    const int rc = dgm_comm_allgather(s->comm, all, &mine, sizeof mine);
    s->budget = rc == DGM_OK ? work_budget(s, all) : 0;
    free(all);
    const bool fits = dgm_choose_batch(cfg, s->model, s->ranks, s->threads_max, s->budget);
    if (rc == DGM_OK && !fits && s->rank == 0)
        dgm_log(DGM_LOG_WARN, "start",
                "memory is short: the weights leave about %.0f MiB for the work of a rank, which "
                "needs about %.0f MiB; use more hosts, or a smaller model (dragoman quantize)",
                mib(s->budget > 0 ? s->budget : 0),
                mib(dgm_footprint(cfg, s->model, s->ranks, s->threads_max)));
    return rc;
}

int dgm_session_task(dgm_session *s, int task)
{
    const size_t n = (size_t)s->model->tasks.n;
    if (n == 0)
        return DGM_OK;
    if (s->tasks == NULL)
        s->tasks = calloc(n, sizeof *s->tasks);
    if (s->tasks == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %zu tasks", n);
    s->tasks[task] = 1;
    return DGM_OK;
}

/* share_tasks - rank 0's, if it named any. */
static int share_tasks(dgm_session *s)
{
    const size_t n = (size_t)s->model->tasks.n;
    const void *told;
    size_t bytes;
    if (n == 0)
        return DGM_OK;
    for (int r = 1; s->rank == 0 && r < s->ranks; r++)
        DGM_TRY(dgm_comm_send(s->comm, r, s->tasks != NULL ? (const void *)s->tasks : "",
                              s->tasks != NULL ? n : 0));
    if (s->rank > 0) {
        DGM_TRY(dgm_comm_recv(s->comm, 0, &told, &bytes));
        DGM_ASSERT(bytes == 0 || bytes == n);
        s->tasks = bytes == 0 ? NULL : malloc(n);
        if (bytes > 0 && s->tasks == NULL)
            return dgm_fail(DGM_ENOMEM, "out of memory for %zu tasks", n);
        if (bytes > 0)
            memcpy(s->tasks, told, n);
    }
    s->model->tasks_used = s->tasks;
    return DGM_OK;
}

/* share_choices - what rank 0 chose of vocabulary, tasks and experts; the model loads no expert that is in no set. */
static int share_choices(dgm_session *s)
{
    int rc = dgm_shortlists_share(&s->lists, s->comm);
    if (lost(rc))
        return rc;
    DGM_TRY(dgm_comm_agree(s->comm, rc));
    rc = dgm_expert_sets_share(&s->sets, s->comm);
    if (lost(rc))
        return rc;
    s->model->sets = &s->sets;
    DGM_TRY(dgm_comm_agree(s->comm, rc));
    rc = share_tasks(s);
    if (rc == DGM_OK && strcmp(s->options->task_ranks, "split") == 0)
        rc = dgm_task_spread(s->model, s->dense_ranks);
    return lost(rc) ? rc : dgm_comm_agree(s->comm, rc);
}

int dgm_session_load(dgm_session *s, int status, const dgm_engine_config *wanted)
{
    dgm_engine_config cfg = *wanted;
    s->record = cfg.record;
    cfg.sets = &s->sets;
    cfg.lists = &s->lists;
    DGM_TRY(dgm_comm_agree(s->comm, status));
    DGM_TRY(share_choices(s));
    DGM_TRY(choose_batch(s, &cfg));
    dgm_comm_at(s->comm, "load", -1);
    DGM_TRY(dgm_comm_agree(s->comm, load_weights(s)));
    cfg.gpu = s->gpu;
    DGM_TRY(dgm_engine_open(&s->engine, &cfg, s->model, &s->kern, s->pool, s->comm));
    dgm_comm_at(s->comm, "start", -1);
    if (s->rank == 0)
        show_start(s, &cfg);
    return DGM_OK;
}

int dgm_session_serve(dgm_session *s)
{
    const int rc = dgm_engine_serve(s->engine);
    if (rc < 0 || !s->record)
        return rc;
    DGM_TRY(dgm_engine_gather_gates(s->engine, NULL));
    return rc;
}

/* launched_first - before the ranks have met only the launcher's numbering says who speaks. */
static bool launched_first(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
    const char *rank = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && rank == NULL; i++)
        rank = getenv(names[i]);
    return rank == NULL || strcmp(rank, "0") == 0;
}

int dgm_session_leave(dgm_session *s, int rc)
{
    if (s->comm != NULL && lost(rc))
        dgm_comm_end(s->comm, rc);
    if (s->engine != NULL && s->rank == 0) {
        char why[512];
        (void)snprintf(why, sizeof why, "%s", rc < 0 ? dgm_error_text() : "");
        int stopped = dgm_engine_stop(s->engine, rc, why);
        if (stopped >= 0 && rc >= 0 && s->record)
            stopped = dgm_engine_gather_gates(s->engine, &s->gates);
        if (lost(stopped))
            dgm_comm_end(s->comm, stopped);
        if (rc < 0)
            (void)dgm_fail(rc, "%s", why);
        else if (stopped != DGM_OK)
            rc = stopped;
    }
    if (rc < 0 && s->rank == 0 && (s->comm != NULL || launched_first()))
        dgm_log_failure(dgm_error_text());
    return rc > 0 ? rc : dgm_exit_code(rc);
}

void dgm_session_close(dgm_session *s)
{
    dgm_engine_close(s->engine);
    dgm_gpu_experts_close(s->gpu);
    dgm_shortlists_fini(&s->lists);
    dgm_gates_fini(&s->gates);
    dgm_expert_sets_fini(&s->sets);
    free(s->tasks);
    dgm_tokenizer_close(s->tok);
    dgm_model_close(s->model);
    dgm_pool_destroy(s->pool);
    dgm_comm_close(s->comm);
    *s = (dgm_session){0};
}
