/* cmd_stats.c - `dragoman stats`: which experts the tokens of a text prefer; --merge: of several files, one. */
#include "launch/commands.h"
#include "launch/filter.h"
#include "runtime/gate_stats.h"

#include <stdio.h>

static int merge(const dgm_options *o)
{
    dgm_gate_stats all = {0}, more = {0};
    if (o->n_args < 1)
        return dgm_fail(DGM_EUSAGE, "stats --merge: want files of statistics, found none");
    DGM_TRY(dgm_gates_read(&all, o->args[0]));
    int rc = DGM_OK;
    for (int i = 1; rc == DGM_OK && i < o->n_args; i++) {
        rc = dgm_gates_read(&more, o->args[i]);
        if (rc == DGM_OK)
            rc = dgm_gates_merge(&all, &more);
        dgm_gates_fini(&more);
    }
    if (rc == DGM_OK)
        rc = dgm_gates_write(&all, o->output);
    dgm_gates_fini(&all);
    return rc;
}

/* record - translates, or scores a given translation, and keeps the statistics instead of the text. */
static int record(const dgm_options *o)
{
    dgm_options mine = *o;
    mine.command = o->reference[0] != '\0' ? DGM_COMMAND_SCORE : DGM_COMMAND_TRANSLATE;
    mine.record_stats = o->output;
    mine.output = "/dev/null";
    return dgm_filter_run(&mine);
}

int dgm_cmd_stats(const dgm_options *o)
{
    int rc = DGM_OK;
    if (o->output[0] == '\0')
        rc = dgm_fail(DGM_EUSAGE, "stats: want -o FILE, where the statistics go");
    else if (!o->merge && o->n_args > 0)
        rc = dgm_fail(DGM_EUSAGE, "stats: want only options, found '%s' (--merge takes files)",
                      o->args[0]);
    else if (!o->merge)
        return record(o);
    else
        rc = merge(o);
    return dgm_command_end(rc);
}
