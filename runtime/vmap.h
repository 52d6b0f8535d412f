/*
 * vmap.h - which ids a translation into a language may use: a file, and the lists that it comes to.
 *
 * UTF-8 text, one line `CODE<TAB>piece piece ...`, pieces as `dragoman tokenize` prints them, one space between two
 * (more do no harm). Lines of the same code add up; the code `*` adds to every language that the file names. Blank
 * lines, and lines that begin with `#`, are skipped. `</s>` is in every list; `<unused>` stands for all rows past the
 * tokeniser. So the output of `tokenize` behind a code and a tab is a map.
 */
#ifndef DGM_RUNTIME_VMAP_H
#define DGM_RUNTIME_VMAP_H

#include "comm/comm.h"
#include "runtime/tokenizer.h"

struct dgm_model_config; /* runtime/model.h */

enum { DGM_VMAP_MAX_LINE_BYTES = 64 << 20 };

typedef struct dgm_vmap_list {
    int32_t code;       /* id of the language */
    int n;              /* at least 2: </s> and a piece */
    const int32_t *ids; /* [n] ascending */
} dgm_vmap_list;

typedef struct dgm_vmap {
    dgm_vmap_list *lists; /* [n] by ascending code */
    int n;                /* languages that the file names, 1 or more */
} dgm_vmap;

/*
 * dgm_vmap_read - the map in the file `path`, for the ids of `tok` and a model of cfg's vocabulary and </s>. A file of any
 * length: memory goes by languages and vocabulary. comm, which may be NULL, is told now and then (dgm_comm_busy).
 * DGM_EINPUT with file and line for what is not a map, DGM_ENOMEM.
 */
DGM_MUST_CHECK int dgm_vmap_read(dgm_vmap **out, const char *path, const dgm_tokenizer *tok,
                                 const struct dgm_model_config *cfg, dgm_comm *comm);
/* dgm_vmap_read_fd - likewise from a descriptor, which stays the caller's; `name` is for messages. */
DGM_MUST_CHECK int dgm_vmap_read_fd(dgm_vmap **out, int fd, const char *name,
                                    const dgm_tokenizer *tok, const struct dgm_model_config *cfg,
                                    dgm_comm *comm);
void dgm_vmap_close(dgm_vmap *m);

/* dgm_vmap_find - the list of a language; NULL: the file does not name it. */
const dgm_vmap_list *dgm_vmap_find(const dgm_vmap *m, int32_t code);

#endif
