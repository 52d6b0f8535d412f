#include "runtime/config_own.h"

#include "runtime/config_model.h"

#include <string.h>

static void update(json_t *into, json_t *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach(keys, key, value)
    {
        if (json_is_null(value))
            (void)json_object_del(into, key);
        else
            (void)json_object_set(into, key, value);
    }
}

static int change_root(json_t *root, const char *path, const dgm_model *in,
                       const dgm_config_change *c)
{
    json_t *before = json_object_get(root, "dragoman");
    json_t *own = json_is_object(before) ? json_copy(before) : json_object();
    (void)json_object_set_new(own, "format", json_string("1.0"));
    update(own, c->own);
    update(root, c->top);
    const int rc = dgm_history_add(own, path, in->hash, &c->step);
    (void)json_object_set_new(root, "dragoman", own);
    return rc;
}

static int extend(char **text, size_t *len, const dgm_config_file *f, const dgm_model *in,
                  const dgm_config_change *c)
{
    json_error_t error;
    json_t *root = json_loadb(f->text, f->len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        json_decref(c->step.options);
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted JSON that can be written again, found at line %d: %s", f->path,
                        error.line, error.text);
    }
    const int rc = change_root(root, f->path, in, c);
    *text = rc == DGM_OK ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    DGM_TRY(rc);
    if (*text == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for config.json");
    *len = strlen(*text);
    return DGM_OK;
}

int dgm_config_extend(char **text, size_t *len, const dgm_model *in, const dgm_config_change *c)
{
    dgm_config_files files = {0};
    *text = NULL;
    int rc = c->own == NULL || c->step.options == NULL
                 ? dgm_fail(DGM_ENOMEM, "out of memory for config.json")
                 : dgm_config_load(&files, in->dir);
    if (rc == DGM_OK)
        rc = extend(text, len, &files.model, in, c);
    else
        json_decref(c->step.options);
    json_decref(c->own);
    json_decref(c->top);
    dgm_config_unload(&files);
    return rc;
}
