#include "runtime/input_json.h"
#include "runtime/keep.h"

#include <stdlib.h>

enum { MAX_FILE = 1 << 28 };

static int list_hashes(uint64_t *corpora, int *n, const json_t *list, const char *path)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!dgm_hash_of(&corpora[*n], json_array_get(list, i)))
            return dgm_fail(DGM_EINPUT, "%s: statistics: want hashes of 16 hexadecimal digits",
                            path);
        ++*n;
    }
    return DGM_OK;
}

int dgm_keep_read_corpora(uint64_t **corpora, int *n, const char *path)
{
    dgm_json j = {0};
    *n = 0;
    *corpora = NULL;
    int rc = dgm_input_json(&j, path, MAX_FILE);
    if (rc == DGM_OK) {
        const json_t *list = json_object_get(j.root, "statistics");
        *corpora = calloc(json_array_size(list) + 1, sizeof **corpora);
        rc = *corpora == NULL ? dgm_fail(DGM_ENOMEM, "%s: out of memory", path)
                              : list_hashes(*corpora, n, list, path);
    }
    dgm_json_close(&j);
    if (rc != DGM_OK) {
        free(*corpora);
        *corpora = NULL;
    }
    return rc;
}
