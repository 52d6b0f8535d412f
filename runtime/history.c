#define _GNU_SOURCE
#include "runtime/history.h"

#include "runtime/input_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a step more ---- */

static json_t *zeros_json(const dgm_zeros *z)
{
    return json_pack("{s:I, s:I, s:I}", "zeros", (json_int_t)z->zeros, "pruned",
                     (json_int_t)z->pruned, "parameters", (json_int_t)z->parameters);
}

static json_t *entry_json(uint64_t from, const dgm_step *step)
{
    json_t *entry = json_pack("{s:s, s:O, s:o, s:s}", "tool", step->tool, "options", step->options,
                              "from", dgm_hash_json(from), "version", DGM_VERSION);
    if (step->zeros != NULL)
        (void)json_object_set_new(entry, "zeros", zeros_json(step->zeros));
    return entry;
}

int dgm_history_add(json_t *own, const char *path, uint64_t from, const dgm_step *step)
{
    const json_t *before = json_object_get(own, "history");
    int rc = DGM_OK;
    if (before != NULL && !json_is_array(before))
        rc = dgm_fail(DGM_EMODEL, "%s: dragoman.history: wanted a list, found another value", path);
    if (rc == DGM_OK) {
        /* What was done before stays in front; a copy, since the source's list is not ours. */
        json_t *all = before == NULL ? json_array() : json_copy((json_t *)before);
        if (json_array_append_new(all, entry_json(from, step)) != 0 ||
            json_object_set_new(own, "history", all) != 0)
            rc = dgm_fail(DGM_ENOMEM, "out of memory for config.json");
    }
    json_decref(step->options);
    return rc;
}

/* ---- all steps ---- */

static bool is_count(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool is_zeros(const json_t *z)
{
    const json_t *zeros = json_object_get(z, "zeros"), *pruned = json_object_get(z, "pruned"),
                 *all = json_object_get(z, "parameters");
    return is_count(zeros) && is_count(pruned) && is_count(all) &&
           json_integer_value(zeros) <= json_integer_value(pruned) &&
           json_integer_value(pruned) <= json_integer_value(all);
}

/* Steps that another version wrote may lack a version, and have more. */
static bool is_step(const json_t *s)
{
    uint64_t hash;
    const char *tool = json_string_value(json_object_get(s, "tool"));
    const json_t *version = json_object_get(s, "version"), *zeros = json_object_get(s, "zeros");
    return tool != NULL && dgm_printable(tool) == tool &&
           json_is_object(json_object_get(s, "options")) &&
           dgm_hash_of(&hash, json_object_get(s, "from")) &&
           (version == NULL || json_is_string(version)) && (zeros == NULL || is_zeros(zeros));
}

static int check(const json_t *steps, const char *path)
{
    if (!json_is_array(steps))
        return dgm_fail(DGM_EMODEL, "%s: dragoman.history: wanted a list, found another value",
                        path);
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (!is_step(json_array_get(steps, i)))
            return dgm_fail(DGM_EMODEL,
                            "%s: dragoman.history: wanted steps with tool, options, from and "
                            "perhaps version and zeros, found another value as step %zu",
                            path, i + 1);
    return DGM_OK;
}

int dgm_history_parse(json_t **steps, const dgm_config_file *f)
{
    dgm_json j;
    *steps = NULL;
    DGM_TRY(dgm_json_open(&j, f->path, f->text, f->len, false));
    json_t *list = json_object_get(json_object_get(j.root, "dragoman"), "history");
    list = list == NULL ? json_array() : json_incref(list);
    dgm_json_close(&j);
    const int rc = check(list, f->path);
    if (rc == DGM_OK)
        *steps = list;
    else
        json_decref(list);
    return rc;
}

int dgm_history_read(json_t **steps, const char *dir)
{
    dgm_config_files files;
    *steps = NULL;
    DGM_TRY(dgm_config_load(&files, dir));
    const int rc = dgm_history_parse(steps, &files.model);
    dgm_config_unload(&files);
    return rc;
}

int dgm_history_has(bool *has, const char *dir, const char *tool)
{
    json_t *steps;
    *has = false;
    DGM_TRY(dgm_history_read(&steps, dir));
    for (size_t i = 0; i < json_array_size(steps); i++)
        *has = *has || strcmp(json_string_value(json_object_get(json_array_get(steps, i), "tool")),
                              tool) == 0;
    json_decref(steps);
    return DGM_OK;
}

int dgm_history_zeroed(bool *zeroed, const char *dir)
{
    json_t *steps;
    *zeroed = false;
    DGM_TRY(dgm_history_read(&steps, dir));
    for (size_t i = 0; i < json_array_size(steps); i++)
        *zeroed = *zeroed || json_object_get(json_array_get(steps, i), "zeros") != NULL;
    json_decref(steps);
    return DGM_OK;
}

/* ---- for people ---- */

/* "experts int8, dense int8": texts as they are, all else as JSON. */
static void print_options(FILE *out, json_t *options)
{
    const char *key, *before = " ";
    json_t *value;
    json_object_foreach(options, key, value)
    {
        const char *text = json_string_value(value);
        char *dump =
            text != NULL
                ? NULL
                : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
        (void)fprintf(out, "%s%s %s", before, dgm_printable(key),
                      text != NULL   ? dgm_printable(text)
                      : dump != NULL ? dump
                                     : "");
        free(dump);
        before = ", ";
    }
}

static void print_zeros(FILE *out, const json_t *z)
{
    const double zeros = (double)json_integer_value(json_object_get(z, "zeros")),
                 pruned = (double)json_integer_value(json_object_get(z, "pruned")),
                 all = (double)json_integer_value(json_object_get(z, "parameters"));
    (void)fprintf(out, "; zeros: %.2f %% of the pruned matrices, %.2f %% of all parameters",
                  pruned > 0 ? 100 * zeros / pruned : 0, all > 0 ? 100 * zeros / all : 0);
}

static void print_step(FILE *out, const json_t *s)
{
    const char *version = json_string_value(json_object_get(s, "version"));
    (void)fputs(json_string_value(json_object_get(s, "tool")), out);
    print_options(out, json_object_get(s, "options"));
    if (json_object_get(s, "zeros") != NULL)
        print_zeros(out, json_object_get(s, "zeros"));
    (void)fprintf(out, "; of %s", json_string_value(json_object_get(s, "from")));
    if (version != NULL)
        (void)fprintf(out, ", dragoman %s", dgm_printable(version));
    (void)fputc('\n', out);
}

int dgm_history_text(char **text, const char *dir)
{
    json_t *steps;
    size_t size;
    *text = NULL;
    DGM_TRY(dgm_history_read(&steps, dir));
    FILE *out = open_memstream(text, &size);
    for (size_t i = 0; out != NULL && i < json_array_size(steps); i++)
        print_step(out, json_array_get(steps, i));
    json_decref(steps);
    if (out != NULL && fclose(out) == 0)
        return DGM_OK;
    free(*text);
    *text = NULL;
    return dgm_fail(DGM_ENOMEM, "out of memory for the history of a model");
}
