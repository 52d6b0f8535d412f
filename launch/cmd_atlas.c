/* cmd_atlas.c - `dragoman atlas STATS -o FILE`: a page to look at; --compare: what changed; --csv: tables. */
#include "base/log.h"
#include "launch/atlas_page.h"
#include "launch/commands.h"
#include "runtime/atlas_compare.h"
#include "runtime/model.h"
#include "runtime/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum dgm_linkage_method linkage(const dgm_options *o)
{
    int i = 0; /* the table has checked the name */
    while (i < DGM_LINKAGES - 1 && strcmp(o->linkage, dgm_linkage_names[i]) != 0)
        i++;
    return (enum dgm_linkage_method)i;
}

/* of_model - what each rank of `dir` would hold. Without a word from the user another model than that of the statistics is
 * no mistake: it is the demonstration model, which was only tried. */
static int of_model(dgm_atlas *a, const dgm_options *o, const char *dir, bool named)
{
    const dgm_model_options opt = {.dropless = true, .source_order = -1};
    dgm_model *m = NULL;
    if (!dgm_tensors_there(dir)) {
        if (named)
            dgm_log(DGM_LOG_WARN, "atlas", "%s has no weights: bytes are left out", dir);
        return DGM_OK;
    }
    DGM_TRY(dgm_model_open(&m, dir, &opt));
    int rc = DGM_OK;
    if (m->hash == a->stats.model)
        rc = dgm_atlas_ask_model(a, m, o->ranks);
    else if (named)
        rc = dgm_fail(DGM_EINPUT, "%s is of another model: want %016llx, found %016llx",
                      a->stats_path, (unsigned long long)m->hash,
                      (unsigned long long)a->stats.model);
    dgm_model_close(m);
    return rc;
}

static int ask_model(dgm_atlas *a, const dgm_options *o)
{
    if (o->model[0] != '\0')
        return of_model(a, o, o->model, true);
    const char *demo = dgm_options_find_demo();
    return demo == NULL ? DGM_OK : of_model(a, o, demo, false);
}

/* page - `text`, which is freed, as a page where one is wanted. */
static int page(const dgm_options *o, char *text, int rc)
{
    if (rc == DGM_OK && o->output[0] != '\0')
        rc = dgm_atlas_page(o->output, text);
    free(text);
    return rc;
}

static int show(dgm_atlas *a, const dgm_options *o)
{
    char *text = NULL;
    DGM_TRY(dgm_atlas_open(a, o->args[0], o->keep, linkage(o)));
    DGM_TRY(o->quality[0] == '\0' ? DGM_OK : dgm_sweep_read(&a->sweep, o->quality, a->stats.model));
    DGM_TRY(ask_model(a, o));
    DGM_TRY(o->csv[0] == '\0' ? DGM_OK : dgm_atlas_csv(a, o->csv));
    const int rc = dgm_atlas_json(&text, a);
    return page(o, text, rc);
}

static int show_changes(dgm_atlas_comparison *c, dgm_atlas *a, dgm_atlas *b, const dgm_options *o)
{
    char *text = NULL;
    DGM_TRY(dgm_atlas_open(a, o->args[0], "", linkage(o)));
    DGM_TRY(dgm_atlas_open(b, o->args[1], "", linkage(o)));
    DGM_TRY(dgm_atlas_compare(c, a, b));
    DGM_TRY(o->csv[0] == '\0' ? DGM_OK : dgm_atlas_comparison_csv(c, o->csv));
    int rc = dgm_atlas_comparison_json(&text, c);
    rc = page(o, text, rc);
    if (rc == DGM_OK)
        dgm_atlas_comparison_print(stdout, c);
    return rc;
}

static int check(const dgm_options *o)
{
    const int want = o->compare ? 2 : 1;
    if (o->n_args != want)
        return dgm_fail(DGM_EUSAGE, "atlas%s: want %s of statistics, found %d",
                        o->compare ? " --compare" : "", o->compare ? "two files" : "one file",
                        o->n_args);
    if (!o->compare && o->output[0] == '\0' && o->csv[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "atlas: want -o FILE for a page, or --csv DIR for tables");
    if (o->compare && (o->keep[0] != '\0' || o->quality[0] != '\0'))
        return dgm_fail(DGM_EUSAGE, "atlas --compare: want no %s: sets are chosen from statistics",
                        o->keep[0] != '\0' ? "--keep" : "--quality");
    return DGM_OK;
}

int dgm_cmd_atlas(const dgm_options *o)
{
    dgm_atlas a = {0}, b = {0};
    dgm_atlas_comparison c = {0};
    int rc = check(o);
    if (rc == DGM_OK)
        rc = o->compare ? show_changes(&c, &a, &b, o) : show(&a, o);
    dgm_atlas_comparison_close(&c);
    dgm_atlas_close(&a);
    dgm_atlas_close(&b);
    return dgm_command_end(rc);
}
