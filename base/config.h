/*
 * config.h - options from one table: flags, environment, configuration files, defaults.
 *
 * A row says everything about an option; parsing, bounds, --help, --print-config and the option
 * reference come from it. A value comes from the strongest of: flag, environment (DGM_<KEY>),
 * configuration file (`key = value`), default. Unknown names, half-parsed numbers and values out of
 * range are errors of one sentence that names the nearest option.
 *
 * Not thread-safe: options are read once, at start. Texts that the target points at belong to the
 * dgm_config and live as long as it does.
 */
#ifndef DGM_BASE_CONFIG_H
#define DGM_BASE_CONFIG_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum dgm_opt_type {
    DGM_OPT_BOOL,   /* bool; flag: --x, --no-x, --x=true|false */
    DGM_OPT_INT,    /* int */
    DGM_OPT_U64,    /* uint64_t */
    DGM_OPT_FLOAT,  /* float */
    DGM_OPT_TEXT,   /* const char * */
    DGM_OPT_CHOICE, /* const char *, one of `choices` */
};

enum dgm_opt_origin { DGM_FROM_DEFAULT, DGM_FROM_FILE, DGM_FROM_ENVIRONMENT, DGM_FROM_FLAG };

enum {
    DGM_OPT_RESULT = 1,      /* bears on what comes out */
    DGM_OPT_JOB = 2,         /* all ranks of a job need the same value */
    DGM_OPT_NOT_IN_FILE = 4, /* flag or environment only */
    DGM_OPT_LIST = 8,        /* text: each flag counts (dgm_config_list), the value is the last */
};

typedef struct dgm_opt {
    const char *
        key; /* "beam-size": --beam-size, DGM_BEAM_SIZE, beam-size = 4 ('_' and '.' may stand for '-') */
    char letter;       /* 'm' for -m, or 0 */
    const char *group; /* heading in the help; rows of a group stand together */
    enum dgm_opt_type type;
    size_t offset;       /* of the field in the target struct */
    const char *preset;  /* the default, as text */
    double min, max;     /* numbers */
    const char *choices; /* "auto|local|mpi" */
    const char *unit;    /* what stands for the value in the help: N, FILE */
    unsigned commands;   /* bit i: command i takes it */
    unsigned flags;      /* DGM_OPT_RESULT, DGM_OPT_JOB */
    const char *help;    /* one sentence, no full stop */
    const char *risk;    /* what goes wrong when it is set badly, or NULL */
} dgm_opt;

typedef struct dgm_config dgm_config;

/*
 * dgm_config_create - `target` receives the defaults. rows [n_rows] and commands [n_commands] (names
 * by bit) outlive the config. DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_config_create(dgm_config **out, const dgm_opt *rows, int n_rows,
                                     const char *const *commands, int n_commands, void *target);
void dgm_config_destroy(dgm_config *c);

/*
 * dgm_config_flags - argv [argc], the words after the command's name. Positional arguments are
 * gathered (dgm_config_args). DGM_EUSAGE.
 */
DGM_MUST_CHECK int dgm_config_flags(dgm_config *c, int command, int argc, char *const *argv);
/* dgm_config_environment - environ. Options that `command` does not take, and empty values, are skipped. */
DGM_MUST_CHECK int dgm_config_environment(dgm_config *c, int command, char *const *env);
/* dgm_config_file - keys of other commands are checked and kept; unknown and repeated keys are errors. */
DGM_MUST_CHECK int dgm_config_file(dgm_config *c, const char *path);
const char *const *dgm_config_args(const dgm_config *c, int *n);

/* By key; the key must exist. Text: the value as a configuration file would say it, in `buf`. */
enum dgm_opt_origin dgm_config_origin(const dgm_config *c, const char *key);
const char *dgm_config_text(const dgm_config *c, const dgm_opt *row, char *buf, size_t size);
/* dgm_config_list - of a DGM_OPT_LIST option: what its flags said, in order [*n]; one value when something else said it, or
 * nothing did. */
const char *const *dgm_config_list(const dgm_config *c, const char *key, int *n);

/* dgm_config_hash - over key and value of all rows that have any of `flags`. Equal on every machine. */
uint64_t dgm_config_hash(const dgm_config *c, unsigned flags);

/* Printing: help of a command in 100 columns; `key = value  # origin`; the whole table as Markdown. */
void dgm_config_print_help(FILE *f, const dgm_config *c, int command);
void dgm_config_print_values(FILE *f, const dgm_config *c, int command);
void dgm_config_print_markdown(FILE *f, const dgm_config *c);

/* dgm_near_name - the name of names [n] that `word` most likely meant, or NULL when none is near. */
const char *dgm_near_name(const char *word, const char *const *names, int n);

#endif
