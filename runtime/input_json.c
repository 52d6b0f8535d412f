#include "runtime/input_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* as_input - the helpers speak of models: the same sentence, of an input. */
static int as_input(int rc)
{
    char why[512];
    if (rc != DGM_EMODEL)
        return rc;
    (void)snprintf(why, sizeof why, "%s", dgm_error_text());
    return dgm_fail(DGM_EINPUT, "%s", why);
}

int dgm_input_json(dgm_json *out, const char *path, size_t max_bytes)
{
    char *text = NULL;
    size_t len = 0;
    DGM_TRY(as_input(dgm_file_slurp(&text, &len, path, max_bytes)));
    const int rc = as_input(dgm_json_open(out, path, text, len, false));
    free(text);
    return rc;
}

json_t *dgm_hash_json(uint64_t hash)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

bool dgm_hash_of(uint64_t *out, const json_t *value)
{
    const char *text = json_string_value(value);
    *out = 0;
    if (text == NULL || strspn(text, "0123456789abcdefABCDEF") != 16 || text[16] != '\0')
        return false;
    *out = strtoull(text, NULL, 16);
    return true;
}
