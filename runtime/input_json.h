/* input_json.h - JSON files that a user gives or gets (statistics, keep files): what is wrong is an input's fault. */
#ifndef DGM_RUNTIME_INPUT_JSON_H
#define DGM_RUNTIME_INPUT_JSON_H

#include "runtime/config_json.h"

/* dgm_input_json - an object of at most max_bytes; dgm_json_close it. DGM_EINPUT with one sentence. */
DGM_MUST_CHECK int dgm_input_json(dgm_json *out, const char *path, size_t max_bytes);

/* dgm_hash_json - XXH3 as 16 hexadecimal digits; dgm_hash_of reads one: false if it is anything else. */
json_t *dgm_hash_json(uint64_t hash);
bool dgm_hash_of(uint64_t *out, const json_t *value);

#endif
