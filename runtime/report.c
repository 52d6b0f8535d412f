#include "runtime/report.h"

#include "runtime/checks.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool flagged;
} statuses[DGM_LINE_STATUSES] = {
#define DGM_LINE_ROW(name, text, flagged) {text, flagged},
    DGM_LINE_STATUS_MAP(DGM_LINE_ROW)
#undef DGM_LINE_ROW
};

const char *dgm_line_status_name(enum dgm_line_status s)
{
    return statuses[s].name;
}

bool dgm_line_status_flagged(enum dgm_line_status s)
{
    return statuses[s].flagged;
}

static json_t *mass_json(double mass)
{
    return mass == 0 ? json_integer(0) : json_real(mass);
}

static json_t *checks_json(unsigned checks)
{
    json_t *list = json_array();
    for (int i = 0; i < DGM_CHECKS; i++)
        if (checks >> i & 1)
            (void)json_array_append_new(list, json_string(dgm_check_name(i)));
    return list;
}

/* Six decimals, as the outputs show scores. */
static json_t *score_json(double score)
{
    return json_real(round(score * 1e6) / 1e6);
}

static json_t *retry_json(const dgm_line_report *r)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "taken", r->second ? "second" : "first",
                     "first_score", score_json(r->first_score), "second_score",
                     score_json(r->second_score), "first_checks", checks_json(r->first_checks),
                     "second_checks", checks_json(r->second_checks));
}

int dgm_report_format(char **json, size_t *len, const dgm_line_report *r)
{
    /* A message may quote a file name, which need not be UTF-8; JSON must be. */
    json_t *message = json_string(r->message);
    if (message == NULL)
        message = json_string("");
    json_t *o = json_pack(
        "{s:I, s:s*, s:s, s:i, s:i, s:o, s:f, s:o, s:o, s:o, s:i, s:o}", "line",
        (json_int_t)r->line, "target", r->target, "status", dgm_line_status_name(r->status),
        "src_tokens", r->src_tokens, "tgt_tokens", r->tgt_tokens, "score",
        r->has_score ? score_json(r->score) : json_null(), "seconds", r->seconds, "absent_mass",
        mass_json(r->absent_mass), "absent_most", mass_json(r->absent_most), "worst_layer",
        r->worst_layer[0] != '\0' ? json_string(r->worst_layer) : json_null(), "segments",
        r->segments, "message", message);
    if (o != NULL && r->checks != 0)
        (void)json_object_set_new(o, "checks", checks_json(r->checks));
    if (o != NULL && r->retried)
        (void)json_object_set_new(o, "retry", retry_json(r));
    char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(o);
    char *line = text == NULL ? NULL : malloc(strlen(text) + 2);
    if (line == NULL) {
        free(text);
        return dgm_fail(DGM_ENOMEM, "out of memory for a report line");
    }
    *len = strlen(text) + 1;
    memcpy(line, text, *len - 1);
    memcpy(line + *len - 1, "\n", 2);
    free(text);
    *json = line;
    return DGM_OK;
}
