/* What a command reads from its options, and what the commands are called. */
#include "launch/options.h"

#include "launch/data_file.h"
#include "launch/options_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static const struct command_text {
    const char *name, *args, *summary;
    int max_args;
    bool demo; /* the demonstration model stands in when no model is named */
} texts[DGM_COMMANDS] = {
    {"translate", "-s CODE -t CODE [options] < text > translation",
     "translate text, one line in, one line out", 0, true},
    {"score", "-s CODE -t CODE -i FILE --reference FILE [options]",
     "log p of given translations, by line and by token", 0, true},
    {"score-text", "HYPOTHESES REFERENCES [options]",
     "BLEU, spBLEU and chrF++ of a translation in a file", 2, true},
    {"tokenize", "-s CODE [options] < text", "show the pieces or ids that the model sees", 0, true},
    {"detokenize", "[options] < ids", "turn ids back into text", 0, true},
    {"languages", "[options]", "list language codes, names and aliases", 0, false},
    {"inspect", "[MODEL] [options]", "show what a model is and what each rank would hold", 1, true},
    {"bench", "kernels|exchange|layers|experts|pruning|routing|sparse|cuda [options]",
     "measure this machine, or where a model spends its time", 1, false},
    {"quantize", "-m MODEL -o DIR [options]", "write a model anew with smaller weights", 0, true},
    {"synth", "--like SHAPE -o DIR [options]",
     "write a model of random weights, to measure what a shape costs", 0, false},
    {"stats", "-s CODE -t CODE -i FILE [--reference FILE] -o FILE [options]",
     "which experts the tokens of a text prefer", 4096, true},
    {"prune", "-m MODEL --stats FILE -k FILE | -k FILE --for SRC-TGT,.. -o DIR [options]",
     "choose the experts that each language keeps, tell what that costs, or cut a model", 0, true},
    {"atlas", "STATS|--compare STATS STATS [-o FILE] [--csv DIR] [options]",
     "a page that shows which experts languages use", 2, false},
    {"extract", "-m MODEL -t TASK,.. -o DIR [options]",
     "what some tasks use of a model that is routed by task, as a model of its own", 0, true},
    {"sparsify", "-m MODEL --calibration LANG=FILE LANG=FILE.. -o DIR [options]",
     "write a model anew with the weights that a text misses least set to zero", 4096, true},
    {"client", "--connect ADDRESS -s CODE -t CODE [options] < text > translation",
     "translate text by a server; or ask it: client health|languages|statistics|drain", 1, false},
    {"serve", "[--listen unix:PATH|tcp:HOST:PORT] [options]",
     "answer many clients at once, over sockets", 0, true},
};

const char *dgm_options_command_name(enum dgm_command command)
{
    return texts[command].name;
}

static const char *const *command_names(void)
{
    static const char *names[DGM_COMMANDS];
    for (int i = 0; i < DGM_COMMANDS; i++)
        names[i] = texts[i].name;
    return names;
}

static int create_table(dgm_config **table, dgm_options *target)
{
    return dgm_config_create(table, dgm_option_rows, dgm_option_row_count, command_names(),
                             DGM_COMMANDS, target);
}

enum dgm_command dgm_options_command(const char *name)
{
    const char *const *names = command_names();
    for (int i = 0; i < DGM_COMMANDS; i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum dgm_command)i;
    }
    const char *near = dgm_near_name(name, names, DGM_COMMANDS);
    (void)dgm_fail(DGM_EUSAGE, "%s: no such command%s%s%s (dragoman help lists them)",
                   name[0] != '\0' ? name : "an empty word", near != NULL ? "; did you mean " : "",
                   near != NULL ? near : "", near != NULL ? "?" : "");
    return DGM_COMMANDS;
}

const char *dgm_options_find_demo(void)
{
    static char demo[4096];
    if (!dgm_data_find(demo, sizeof demo, "models/multi30k-token", "models/multi30k-token",
                       "config.json"))
        return NULL;
    char *real = realpath(demo, NULL);
    if (real != NULL)
        (void)snprintf(demo, sizeof demo, "%s", real);
    free(real);
    return demo;
}

static int name_model(dgm_options *o)
{
    const bool argument = o->command == DGM_COMMAND_INSPECT && o->n_args > 0,
               merge = o->command == DGM_COMMAND_STATS && o->merge;
    if (o->model[0] != '\0' || argument || merge || !texts[o->command].demo)
        return DGM_OK;
    const char *demo = dgm_options_find_demo();
    if (demo == NULL)
        return dgm_fail(
            DGM_EUSAGE,
            "no model: want --model DIR or DGM_MODEL, and the demonstration model is not there");
    o->model = demo;
    o->demo_model = true;
    return DGM_OK;
}

/* takes - whether a command has an option. */
static bool takes(enum dgm_command command, const char *key)
{
    for (int i = 0; i < dgm_option_row_count; i++)
        if (strcmp(dgm_option_rows[i].key, key) == 0)
            return (dgm_option_rows[i].commands >> command & 1) != 0;
    return false;
}

/* same_file - names of one regular file, or of one that is still to be made: devices may be named twice. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    if (a[0] == '\0' || b[0] == '\0')
        return false;
    if (stat(a, &x) == 0 && stat(b, &y) == 0)
        return S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    return strcmp(a, b) == 0;
}

/* check_files - what is written is neither what is read nor written twice. */
static int check_files(const dgm_options *o)
{
    const struct named {
        const char *key, *path;
        bool written;
    } files[] = {{"--input", o->input, false},
                 {"--reference", o->reference, false},
                 {"--target-prefix", o->target_prefix, false},
                 {"--output", o->output, true},
                 {"--report", o->report, true},
                 {"--record-stats", o->record_stats, true}};
    const size_t n = sizeof files / sizeof files[0];
    for (size_t w = 0; w < n; w++)
        for (size_t i = 0; files[w].written && i < w; i++)
            if (same_file(files[w].path, files[i].path))
                return dgm_fail(DGM_EUSAGE, "%s: want another file than %s, found %s", files[w].key,
                                files[i].key, files[w].path);
    return DGM_OK;
}

/* check - what no single row can say. */
static int check(dgm_options *o)
{
    const struct command_text *c = &texts[o->command];
    if (o->n_args > c->max_args)
        return dgm_fail(DGM_EUSAGE, "%s: want %s, found '%s'%s", c->name,
                        c->max_args == 0   ? "only options"
                        : c->max_args == 1 ? "one argument"
                                           : "two arguments",
                        o->args[c->max_args],
                        takes(o->command, "input") && c->max_args == 0
                            ? " (text is read from standard input or --input)"
                            : "");
    DGM_TRY(check_files(o));
    const bool sampling = o->sampling_topk > 0 || o->sampling_topp < 1 || o->temperature != 1;
    if (sampling && dgm_config_origin(o->table, "beam-size") == DGM_FROM_DEFAULT)
        o->beam_size = 1;
    if (sampling && o->beam_size != 1)
        return dgm_fail(DGM_EUSAGE,
                        "--beam-size: want 1 with sampling (--sampling-topk, --sampling-topp, "
                        "--temperature), found %d",
                        o->beam_size);
    if (o->n_best > o->beam_size)
        return dgm_fail(DGM_EUSAGE, "--n-best: want at most --beam-size (%d), found %d",
                        o->beam_size, o->n_best);
    if (strcmp(o->dense_ranks, "all") != 0) {
        char *end = NULL;
        const long n = strtol(o->dense_ranks, &end, 10);
        if (*o->dense_ranks == '\0' || *end != '\0' || n < 1 || n > 65536)
            return dgm_fail(DGM_EUSAGE,
                            "--dense-ranks: want all or a whole number from 1 to 65536, found '%s'",
                            o->dense_ranks);
    }
    if (o->record_stats[0] != '\0' && strcmp(o->retry, "checks") == 0)
        return dgm_fail(DGM_EUSAGE,
                        "--record-stats: want --retry none with it, found checks: lines "
                        "that are decoded twice would count twice");
    if (o->stall_ms > o->deadline_ms)
        return dgm_fail(DGM_EUSAGE,
                        "--comm-stall-ms: want at most --comm-deadline-ms (%d), found %d",
                        o->deadline_ms, o->stall_ms);
    return DGM_OK;
}

static bool takes_several(const dgm_options *o)
{
    return o->command == DGM_COMMAND_STATS || o->command == DGM_COMMAND_PRUNE;
}

/* check_counts - the n-th of each belong together, so there are as many of each. */
static int check_counts(int n_src, int n_tgt, int n_input, int n_reference)
{
    if (n_src == n_tgt && n_src == n_input && (n_reference == n_src || n_reference == 0))
        return DGM_OK;
    return dgm_fail(DGM_EUSAGE,
                    "several directions: want as many -s as -t, -i and (if any) --reference, found "
                    "%d, %d, %d and %d",
                    n_src, n_tgt, n_input, n_reference);
}

/* given - the values of an option, and how many: a list holds at least the default, which says nothing. */
static const char *const *given(int *n, const dgm_options *o, const char *key)
{
    const char *const *list = dgm_config_list(o->table, key, n);
    if (*n == 1 && list[0][0] == '\0')
        *n = 0;
    return list;
}

/* list_directions - with one, any may be missing: the command says which it needs. */
static int list_directions(dgm_options *o)
{
    int n_src, n_tgt, n_input, n_reference;
    const char *const *src = given(&n_src, o, "src-lang"),
                      *const *tgt = given(&n_tgt, o, "tgt-lang"),
                      *const *input = given(&n_input, o, "input"),
                      *const *reference = given(&n_reference, o, "reference");
    const bool several =
        takes_several(o) && (n_src > 1 || n_tgt > 1 || n_input > 1 || n_reference > 1);
    if (several)
        DGM_TRY(check_counts(n_src, n_tgt, n_input, n_reference));
    o->n_directions = several && n_src > 1 ? n_src : 1;
    o->directions = calloc((size_t)o->n_directions, sizeof *o->directions);
    if (o->directions == NULL)
        return dgm_fail(DGM_ENOMEM, "options: no memory");
    o->directions[0] = (dgm_direction){o->src_lang, o->tgt_lang, o->input, o->reference};
    for (int i = 0; several && i < o->n_directions; i++)
        o->directions[i] =
            (dgm_direction){src[i], tgt[i], input[i], n_reference > 0 ? reference[i] : ""};
    return DGM_OK;
}

int dgm_options_open(dgm_options *o, enum dgm_command command, int argc, char *const *argv)
{
    *o = (dgm_options){.command = command};
    DGM_TRY(create_table(&o->table, o));
    DGM_TRY(dgm_config_flags(o->table, command, argc, argv));
    DGM_TRY(dgm_config_environment(o->table, command, environ));
    if (o->config[0] != '\0')
        DGM_TRY(dgm_config_file(o->table, o->config));
    o->args = dgm_config_args(o->table, &o->n_args);
    DGM_TRY(check(o));
    DGM_TRY(list_directions(o));
    o->listens = given(&o->n_listens, o, "listen");
    o->decoder_keeps = dgm_config_list(o->table, "decoder-keep", &o->n_decoder_keeps);
    o->calibrations = given(&o->n_calibrations, o, "calibration");
    return name_model(o);
}

void dgm_options_close(dgm_options *o)
{
    dgm_config_destroy(o->table);
    free(o->directions);
    o->table = NULL;
    o->directions = NULL;
}

bool dgm_options_given(const dgm_options *o, const char *key)
{
    return dgm_config_origin(o->table, key) != DGM_FROM_DEFAULT;
}

void dgm_options_print_commands(FILE *f)
{
    (void)fprintf(
        f, "dragoman translates text with NLLB-style mixture-of-experts models, on any number of "
           "ranks.\n\nusage: dragoman COMMAND [options]\n       mpirun -n 4 dragoman COMMAND "
           "[options]\n\ncommands:\n");
    for (int i = 0; i < DGM_COMMANDS; i++)
        (void)fprintf(f, "  %-12s %s\n", texts[i].name, texts[i].summary);
    (void)fprintf(f, "  %-12s %s\n\n", "help", "this text; help COMMAND lists a command's options");
    (void)fprintf(f,
                  "example: echo 'Two dogs play in the snow.' | dragoman translate -s en -t de\n");
}

void dgm_options_print_help(FILE *f, enum dgm_command command)
{
    dgm_options o;
    dgm_config *table = NULL;
    (void)fprintf(f, "usage: dragoman %s %s\n%s\n", texts[command].name, texts[command].args,
                  texts[command].summary);
    if (create_table(&table, &o) == DGM_OK)
        dgm_config_print_help(f, table, command);
    dgm_config_destroy(table);
}

void dgm_options_print_reference(FILE *f)
{
    dgm_options o;
    dgm_config *table = NULL;
    if (create_table(&table, &o) == DGM_OK)
        dgm_config_print_markdown(f, table);
    dgm_config_destroy(table);
}

/* The facts begin with the hash over all values; the text behind it may be cut, and is only there to say more. */
void dgm_options_facts(char facts[DGM_OPTIONS_FACTS_BYTES], const dgm_options *o)
{
    char buf[64];
    int n = snprintf(facts, DGM_OPTIONS_FACTS_BYTES, "%016llx\n",
                     (unsigned long long)dgm_config_hash(o->table, DGM_OPT_JOB));
    for (int i = 0; i < dgm_option_row_count && n < DGM_OPTIONS_FACTS_BYTES; i++) {
        const dgm_opt *row = &dgm_option_rows[i];
        if ((row->flags & DGM_OPT_JOB) != 0)
            n += snprintf(facts + n, (size_t)(DGM_OPTIONS_FACTS_BYTES - n), "%s %s\n", row->key,
                          dgm_config_text(o->table, row, buf, sizeof buf));
    }
}

int dgm_options_compare(const char *mine, const char *rank0)
{
    const size_t hash_bytes = 17;
    if (strncmp(mine, rank0, hash_bytes) == 0)
        return DGM_OK;
    while (*mine != '\0' && *rank0 != '\0') {
        mine = strchr(mine, '\n');
        rank0 = strchr(rank0, '\n');
        if (mine == NULL || rank0 == NULL)
            break;
        const size_t a = strcspn(++mine, "\n"), b = strcspn(++rank0, "\n");
        if (a != b || strncmp(mine, rank0, a) != 0)
            return dgm_fail(DGM_ECONFIG,
                            "started with other options: here --%.*s, on rank 0 --%.*s", (int)a,
                            mine, (int)b, rank0);
    }
    return dgm_fail(DGM_ECONFIG, "started with other options than rank 0");
}

uint64_t dgm_options_result_hash(const dgm_options *o)
{
    return dgm_config_hash(o->table, DGM_OPT_RESULT);
}
