/* config_internal.h - shared by config.c (values), config_parse.c (sources) and config_print.c. */
#ifndef DGM_BASE_CONFIG_INTERNAL_H
#define DGM_BASE_CONFIG_INTERNAL_H

#include "base/config.h"

typedef struct dgm_config_value {
    enum dgm_opt_origin origin;
    char *text;  /* owned; TEXT and CHOICE */
    char **list; /* [n_list] owned: DGM_OPT_LIST; the last is text's copy */
    int n_list;
} dgm_config_value;

struct dgm_config {
    const dgm_opt *rows;
    int n_rows;
    const char *const *commands;
    int n_commands;
    void *target;
    int command;       /* whose options are read: where a key has two rows, the one that it takes */
    const char **args; /* positional, pointing into argv */
    int n_args;
    dgm_config_value values[];
};

/* dgm_config_set - checks `text`; stores it unless a stronger origin has spoken. `where` begins the sentence. */
DGM_MUST_CHECK int dgm_config_set(dgm_config *c, int row, const char *text,
                                  enum dgm_opt_origin origin, const char *where);
/* dgm_config_find - row by key, or -1. A key may have one row a command (--verify). */
int dgm_config_find(const dgm_config *c, const char *key);

#endif
