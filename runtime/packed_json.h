/* packed_json.h - long lists of numbers in JSON, as base64 of their little-endian bytes: a third of the room of digits. */
#ifndef DGM_RUNTIME_PACKED_JSON_H
#define DGM_RUNTIME_PACKED_JSON_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Strings; NULL when memory runs out, which json_pack and json_object_set_new pass on. */
json_t *dgm_json_bytes(const uint8_t *x, size_t n);
/* dgm_json_floats - rounded to f32. */
json_t *dgm_json_floats(const double *x, size_t n);

/* dgm_json_page_text - one that can stand in a <script> element: ASCII without `<`. malloc'ed; NULL: no memory. Takes root. */
char *dgm_json_page_text(json_t *root);

#endif
