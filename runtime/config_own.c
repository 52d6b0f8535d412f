#define _GNU_SOURCE
#include "runtime/config_own.h"

#include "runtime/config_model.h"
#include "runtime/input_json.h"

#include <stdlib.h>
#include <string.h>

/* What was done before stays in front. */
static json_t *history_json(const json_t *before, const dgm_model *in, const char *tool,
                            json_t *options)
{
    json_t *all = json_is_array(before) ? json_copy((json_t *)before) : json_array();
    (void)json_array_append_new(all, json_pack("{s:s, s:O, s:o}", "tool", tool, "options", options,
                                               "from", dgm_hash_json(in->hash)));
    return all;
}

static void add_own(json_t *root, const dgm_model *in, json_t *keys, const char *tool,
                    json_t *options)
{
    json_t *before = json_object_get(root, "dragoman");
    json_t *own = json_is_object(before) ? json_copy(before) : json_object();
    json_t *history = history_json(json_object_get(own, "history"), in, tool, options);
    (void)json_object_set_new(own, "format", json_string("1.0"));
    (void)json_object_update(own, keys);
    (void)json_object_set_new(own, "history", history);
    (void)json_object_set_new(root, "dragoman", own);
}

int dgm_config_extend(char **text, size_t *len, const dgm_model *in, json_t *keys, const char *tool,
                      json_t *options)
{
    dgm_config_files files = {0};
    json_error_t error;
    json_t *root = NULL;
    *text = NULL;
    int rc = keys == NULL || options == NULL ? dgm_fail(DGM_ENOMEM, "out of memory for config.json")
                                             : dgm_config_load(&files, in->dir);
    if (rc == DGM_OK) {
        root = json_loadb(files.model.text, files.model.len, JSON_REJECT_DUPLICATES, &error);
        if (root == NULL)
            rc = dgm_fail(DGM_EMODEL,
                          "%s: wanted JSON that can be written again, found at line %d: %s",
                          files.model.path, error.line, error.text);
    }
    if (rc == DGM_OK) {
        add_own(root, in, keys, tool, options);
        *text = json_dumps(root, JSON_INDENT(2));
        if (*text == NULL)
            rc = dgm_fail(DGM_ENOMEM, "out of memory for config.json");
        else
            *len = strlen(*text);
    }
    json_decref(root);
    json_decref(keys);
    json_decref(options);
    dgm_config_unload(&files);
    return rc;
}
