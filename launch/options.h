/*
 * options.h - every option of every command: one table (options.c), one struct.
 *
 * Flag > environment (DGM_<NAME>) > --config file > default. The table row drives parsing, bounds, --help,
 * --print-config and docs; base/config.h is the machinery.
 */
#ifndef DGM_LAUNCH_OPTIONS_H
#define DGM_LAUNCH_OPTIONS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct dgm_config;

/* Commands by number: the bits of a row's `commands`, and main's table. */
enum dgm_command {
    DGM_COMMAND_TRANSLATE,
    DGM_COMMAND_SCORE,
    DGM_COMMAND_SCORE_TEXT,
    DGM_COMMAND_TOKENIZE,
    DGM_COMMAND_DETOKENIZE,
    DGM_COMMAND_LANGUAGES,
    DGM_COMMAND_INSPECT,
    DGM_COMMAND_BENCH,
    DGM_COMMAND_QUANTIZE,
    DGM_COMMAND_SYNTH,
    DGM_COMMAND_STATS,
    DGM_COMMAND_PRUNE,
    DGM_COMMAND_ATLAS,
    DGM_COMMAND_EXTRACT,
    DGM_COMMAND_SPARSIFY,
    DGM_COMMAND_CLIENT,
    DGM_COMMAND_SERVE,
    DGM_COMMANDS
};

/* One direction and its text: the n-th -s, -t, -i and --reference belong together. */
typedef struct dgm_direction {
    const char *src, *tgt, *input, *reference; /* "" where there is none */
} dgm_direction;

typedef struct dgm_options {
    enum dgm_command command;
    struct dgm_config *table; /* where each value came from */

    /* what to run on */
    const char *model;       /* -m: directory; "" was replaced by the shipped demonstration model */
    const char *comm;        /* auto, local, mpi */
    const char *isa;         /* auto, ref, avx2, avx512, vnni */
    const char *device;      /* cpu, cuda: where experts run */
    int threads;             /* per rank; 0: CPUs of the mask shared among ranks on it */
    const char *dense_ranks; /* "all" or a number */
    const char *task_ranks;  /* all, split */
    int stall_ms, deadline_ms;          /* comm.stall_ms, comm.deadline_ms */
    const char *log_level, *log_format; /* error .. trace; text, json */
    const char *config;
    bool print_config;
    bool dropless;
    const char *compute;     /* auto, f32, int8 */
    const char *verify_when; /* first-use, open, never */
    const char *kv;
    const char *overlap;             /* auto, on, off */
    const char *keep, *keep_missing; /* ""; error, exact */
    const char *retry;               /* none, checks */
    bool demo_model;                 /* nobody named a model */
    bool help;

    /* text */
    const char *src_lang, *tgt_lang; /* tgt_lang may list several, comma separated */
    const char *input, *output;      /* "" = stdin, stdout */
    const char *target_prefix, *reference;
    const char *format;       /* plain, marian */
    const char *split;        /* auto, always, never */
    const char *source_order; /* auto, prefix, suffix */
    const char *report;
    const char *record_stats; /* "": none */
    bool merge;
    bool strict;
    bool ids;
    bool with_score, token_scores, alignment;

    /* those of stats and prune, which take several; of the others the one above */
    dgm_direction *directions; /* [n_directions], at least 1 */
    int n_directions;

    /* decoding */
    int beam_size, n_best, max_length, min_length, no_repeat_ngram_size;
    float length_penalty, repetition_penalty;
    bool early_stopping, penalty_skip_special;
    int sampling_topk;
    float sampling_topp, temperature;
    uint64_t seed;
    const char
        *vmap; /* file; read by rank 0 alone, its content is part of what resumption compares */
    int max_input_length;

    /* batching */
    int batch_tokens, batch_rows;

    /* inspect, bench */
    int ranks;             /* -n */
    const char *languages; /* with --keep; "": all */
    bool json, verify;

    /* extract */
    bool fold;

    /* quantize */
    const char *experts,
        *dense; /* int8, int4 (experts only), bf16, f32; synth: experts is their number */
    const char *group, *scale_rule, *clip; /* none, 32, 64, 128; paper, 127; none, mse */
    const char *storage;                   /* auto, dense */
    const char *calibration;               /* file, or "" */
    int calibration_memory;                /* MiB; 0: half of what the machine has left */

    /* sparsify */
    const char *method, *pattern,
        *score; /* magnitude, wanda, owl, m-wanda; unstructured, 2:4, 4:8; add, mul */
    const char *const
        *calibrations; /* [n_calibrations] LANGUAGE=FILE; more may be among the arguments */
    int n_calibrations;
    const char *calibration_target; /* pairs, self */
    float sparsity, lambda, gamma, tau, layer_spread, owl_m, owl_lambda;
    int samples; /* 0: all */

    /* prune */
    const char *stats, *import, *metric, *algorithm, *granularity, *average, *stats_mode;
    const char *from; /* keep file, or "" */
    float fraction, ratio;
    int keep_total, keep_encoder;
    const char *cut_for; /* directions of the model that is cut out into `output` */
    bool evaluate, sweep;
    float max_loss;
    const char *loss_of;            /* worst, mean */
    const char *fractions, *ratios; /* several after commas; fractions "": as the command does */
    bool protect_eos;
    const char *decoder_keep;         /* LANG=FRACTION,.. or "": the last of */
    const char *const *decoder_keeps; /* [n_decoder_keeps] */
    int n_decoder_keeps;

    /* atlas */
    const char *quality, *csv, *linkage; /* file, folder; "": none */
    bool compare;

    /* bench layers, bench pruning */
    const char *batch; /* sentences at once, several after commas */
    int beam, src_tokens, tgt_tokens;
    const char *lengths; /* file of pruning */
    int targets;         /* bench routing: target languages */

    /* synth: 0, "" or "shape": as the shape has it */
    const char *like, *layers, *experts_kept, *weights;
    int d_model, ffn, encoder_layers, decoder_layers, heads, vocab, sparse_step, top_k;
    float router_scale;
    const char *encoder_routing, *decoder_routing;
    int tasks;
    int planted_languages;
    bool planted_eos;

    /* client */
    const char *connect, *token_file, *priority; /* token_file "": none */
    int attempts, line_deadline_ms;
    bool tls;
    const char *tls_ca; /* "": the system's */

    /* serve */
    const char *listen;         /* "" or the last of */
    const char *const *listens; /* [n_listens] */
    int n_listens;
    const char *http; /* "": none */
    const char *web;  /* the same */
    bool insecure;
    const char *tokens;                             /* "": none */
    const char *tls_cert, *tls_key, *tls_client_ca; /* "": none; the first two client's also */
    int max_queue_tokens, cache_mib, max_memory_mib, max_connections, max_in_flight, idle_ms,
        write_ms, drain_ms;

    /* what is left: positional arguments */
    const char *const *args;
    int n_args;
} dgm_options;

/*
 * dgm_options_open - reads flags (argv [argc]: the words after the command), environment and configuration file,
 * checks them, and finds the demonstration model when no model was named. DGM_EUSAGE, DGM_EUNSUPPORTED.
 * Texts in *o belong to it until dgm_options_close (also after a failure).
 */
DGM_MUST_CHECK int dgm_options_open(dgm_options *o, enum dgm_command command, int argc,
                                    char *const *argv);
/* dgm_options_find_demo - the directory of the demonstration model, or NULL. Static. */
const char *dgm_options_find_demo(void);
void dgm_options_close(dgm_options *o);
/* dgm_options_given - flag, environment or file said what `key` is; false: it is the default. */
bool dgm_options_given(const dgm_options *o, const char *key);
/* dgm_options_flagged - a flag said it: it is meant for this command, where environment and file may be for several. */
bool dgm_options_flagged(const dgm_options *o, const char *key);

/* dgm_options_command - number of a command by name; DGM_COMMANDS and DGM_EUSAGE's sentence when unknown. */
enum dgm_command dgm_options_command(const char *name);
const char *dgm_options_command_name(enum dgm_command command);

/* Help of the program, of one command; the option reference of docs/config.md. */
void dgm_options_print_commands(FILE *f);
void dgm_options_print_help(FILE *f, enum dgm_command command);
void dgm_options_print_reference(FILE *f);

/*
 * Rank facts: one fixed-size text a rank, which ranks exchange at start; compare says which option of `mine` is
 * another on rank 0. DGM_ECONFIG.
 */
enum { DGM_OPTIONS_FACTS_BYTES = 2048 };
void dgm_options_facts(char facts[DGM_OPTIONS_FACTS_BYTES], const dgm_options *o);
DGM_MUST_CHECK int dgm_options_compare(const char *mine, const char *rank0);
/* dgm_options_result_hash - over the options that bear on what comes out. */
uint64_t dgm_options_result_hash(const dgm_options *o);

#endif
