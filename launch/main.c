/* main.c - the command's name, its options, its exit code. */
#include "base/config.h"
#include "base/fpenv.h"
#include "base/log.h"
#include "comm/comm.h"
#include "launch/commands.h"
#include "launch/prune_loss.h"
#include "launch/prune_sweep.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*command_fn)(const dgm_options *o);

static const struct command {
    command_fn run;
    bool ranks; /* works on many ranks; the others are rank 0's alone */
} commands[DGM_COMMANDS] = {
    [DGM_COMMAND_TRANSLATE] = {dgm_cmd_translate, true},
    [DGM_COMMAND_SCORE] = {dgm_cmd_score, true},
    [DGM_COMMAND_SCORE_TEXT] = {dgm_cmd_score_text, false},
    [DGM_COMMAND_TOKENIZE] = {dgm_cmd_tokenize, false},
    [DGM_COMMAND_DETOKENIZE] = {dgm_cmd_detokenize, false},
    [DGM_COMMAND_LANGUAGES] = {dgm_cmd_languages, false},
    [DGM_COMMAND_INSPECT] = {dgm_cmd_inspect, false},
    [DGM_COMMAND_BENCH] = {dgm_cmd_bench, true},
    [DGM_COMMAND_QUANTIZE] = {dgm_cmd_quantize, false},
    [DGM_COMMAND_STATS] = {dgm_cmd_stats, true},
    [DGM_COMMAND_PRUNE] = {dgm_cmd_prune, true},
    [DGM_COMMAND_ATLAS] = {dgm_cmd_atlas, false},
    [DGM_COMMAND_SYNTH] = {dgm_cmd_synth, false},
    [DGM_COMMAND_EXTRACT] = {dgm_cmd_extract, false},
    [DGM_COMMAND_SPARSIFY] = {dgm_cmd_sparsify, false},
    [DGM_COMMAND_CLIENT] = {dgm_cmd_client, false},
    [DGM_COMMAND_SERVE] = {dgm_cmd_serve, true},
};

/*
 * A descriptor 0, 1 or 2 that is closed would be given to the next file we open, and translations would end up in
 * it. So it gets /dev/null opened the wrong way round: every use then fails, as it should.
 */
static void fill_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            abort();
    }
}

/* launched_as - this process's number as its launcher says, before the ranks have met; 0 without a launcher. */
static int launched_as(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *rank = getenv(names[i]);
        if (rank != NULL)
            return atoi(rank);
    }
    return 0;
}

static bool under_launcher(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL || getenv("PMIX_NAMESPACE") != NULL;
}

int dgm_command_end(int rc)
{
    if (rc != DGM_OK)
        dgm_log_failure(dgm_error_text());
    return dgm_exit_code(rc);
}

/*
 * A rank whose options are wrong still joins the others once: they wait for it, and only together do they know that
 * all must leave with this exit code, one of them speaking.
 */
static int fail_together(int rc, const dgm_options *o)
{
    dgm_comm *comm = NULL;
    if (!under_launcher())
        return dgm_command_end(rc);
    if (!commands[o->command].ranks)
        return launched_as() == 0 ? dgm_command_end(rc) : dgm_exit_code(rc);
    char sentence[1024];
    (void)snprintf(sentence, sizeof sentence, "%s", dgm_error_text());
    const dgm_comm_config cfg = {.backend = "auto", .stall_ms = 2000, .deadline_ms = 60000};
    if (dgm_comm_open(&comm, &cfg) != DGM_OK) {
        (void)dgm_fail(rc, "%s", sentence);
        return dgm_command_end(rc);
    }
    rc = dgm_comm_agree(comm, dgm_fail(rc, "%s", sentence));
    if (rc == DGM_EPEER || rc == DGM_EDEADLINE)
        dgm_comm_end(comm, rc);
    /* before the farewell: a launcher ends the job as soon as one of the others has left with this code */
    const int code = dgm_comm_rank(comm) == 0 ? dgm_command_end(rc) : dgm_exit_code(rc);
    dgm_comm_close(comm);
    return code;
}

/* finish_stdout - what commands printed must have arrived. */
static int finish_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    if (code == 0 || code == 1) {
        perror("dragoman: standard output");
        return dgm_exit_code(DGM_EOUTPUT);
    }
    return code;
}

static int print_help(int argc, char **argv)
{
    if (argc < 1) {
        dgm_options_print_commands(stdout);
        return 0;
    }
    if (strcmp(argv[0], "--reference") == 0) {
        dgm_options_print_reference(stdout);
        return 0;
    }
    const enum dgm_command command = dgm_options_command(argv[0]);
    if (command == DGM_COMMANDS)
        return dgm_command_end(DGM_EUSAGE);
    dgm_options_print_help(stdout, command);
    return 0;
}

/* alone - rank 0 does it, whatever the launcher started. */
static bool alone(const dgm_options *o)
{
    const bool bench = o->command == DGM_COMMAND_BENCH && dgm_cmd_bench_alone(o),
               merge = o->command == DGM_COMMAND_STATS && o->merge;
    /* what translates or scores is a job of all ranks */
    const bool choosing =
        o->command == DGM_COMMAND_PRUNE && !dgm_prune_measures(o) && !dgm_prune_by_loss(o);
    return !commands[o->command].ranks || bench || merge || choosing;
}

static int run(const dgm_options *o)
{
    enum dgm_log_level level = DGM_LOG_INFO;
    const int rank = launched_as();
    if (dgm_log_parse(&level, o->log_level) != DGM_OK)
        return dgm_command_end(DGM_EUSAGE);
    dgm_log_init(level, rank, rank + 1);
    dgm_log_as_json(strcmp(o->log_format, "json") == 0);
    if (o->command == DGM_COMMAND_SERVE)
        dgm_log_never_wait();
    if (o->print_config) {
        if (rank == 0)
            dgm_config_print_values(stdout, o->table, o->command);
        return 0;
    }
    if (rank > 0 && alone(o))
        return 0;
    if (o->demo_model)
        dgm_log(DGM_LOG_INFO, "model", "no --model: using the demonstration model, %s", o->model);
    return commands[o->command].run(o);
}

/* run_command - argv: the words after the command's name. */
static int run_command(enum dgm_command command, int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            if (launched_as() == 0)
                dgm_options_print_help(stdout, command);
            return 0;
        }
    }
    dgm_options o = {.command = command};
    int rc = dgm_options_open(&o, command, argc, argv);
    if (rc == DGM_OK && command == DGM_COMMAND_BENCH)
        rc = dgm_cmd_bench_check(&o);
    const int code = rc == DGM_OK ? run(&o) : fail_together(rc, &o);
    dgm_options_close(&o);
    return code;
}

int main(int argc, char **argv)
{
    fill_standard_fds();
    /* a closed reader and a limit on file sizes are errors of write(2), with a sentence */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    dgm_fpenv_set();
    if (argc < 2) {
        if (launched_as() == 0)
            dgm_options_print_commands(stderr);
        return dgm_exit_code(DGM_EUSAGE);
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return finish_stdout(launched_as() == 0 ? print_help(argc - 2, argv + 2) : 0);
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        if (launched_as() == 0)
            (void)printf("dragoman %s\n", DGM_VERSION);
        return finish_stdout(0);
    }
    const enum dgm_command command = dgm_options_command(word);
    if (command == DGM_COMMANDS)
        return launched_as() == 0 ? dgm_command_end(DGM_EUSAGE) : dgm_exit_code(DGM_EUSAGE);
    return finish_stdout(run_command(command, argc - 2, argv + 2));
}
