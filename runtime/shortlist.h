/*
 * shortlist.h - for a target language, the rows of the tied embedding that it may use, gathered into a matrix of their
 * own (ADR 9). Position i of it is id ids[i]; ids ascend, so ties between positions are ties between ids.
 *
 *   rank 0: dgm_shortlists_choose    of what a vocabulary map lists, what this job needs
 *   all:    dgm_shortlists_share     the other ranks get it
 *   dense:  dgm_shortlists_gather    once the model is loaded
 */
#ifndef DGM_RUNTIME_SHORTLIST_H
#define DGM_RUNTIME_SHORTLIST_H

#include "base/arena.h"
#include "kernels/vocab.h"
#include "runtime/model.h"
#include "runtime/vmap.h"

typedef struct dgm_shortlist {
    int32_t code;       /* id of the language */
    int n;              /* ids, 2 or more */
    const int32_t *ids; /* [n] ascending */
    dgm_packed w; /* [n, d_model]: row i is row ids[i] of the embedding; of its type and scales */
} dgm_shortlist;

typedef struct dgm_shortlists {
    dgm_shortlist *list; /* [n] */
    int n;               /* 0: every language has the whole vocabulary */
    dgm_arena rows;      /* of all w */
} dgm_shortlists;

/* dgm_shortlists_choose - the lists of those of codes [n] that the map names, copied. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_shortlists_choose(dgm_shortlists *s, const dgm_vmap *map,
                                         const int32_t *codes, int n);

/* dgm_shortlists_share - Collective. Rank 0's lists go to all; the others' *s was {0}. DGM_EPEER, DGM_EDEADLINE;
 * DGM_ENOMEM is local, and for dgm_comm_agree. */
DGM_MUST_CHECK int dgm_shortlists_share(dgm_shortlists *s, dgm_comm *comm);

/* dgm_shortlists_gather - copies the rows of m's embedding, which this rank has loaded. comm, which may be NULL, is told
 * now and then. Local. DGM_ENOMEM. */
DGM_MUST_CHECK int dgm_shortlists_gather(dgm_shortlists *s, const dgm_model *m, dgm_comm *comm);

/* dgm_shortlists_bytes - of the gathered rows on a dense rank of m. */
size_t dgm_shortlists_bytes(const dgm_shortlists *s, const dgm_model *m);

/* dgm_shortlists_find - a language's list; NULL: the whole vocabulary. s may be NULL. */
const dgm_shortlist *dgm_shortlists_find(const dgm_shortlists *s, int32_t code);

/* dgm_shortlists_fini - back to {0}. */
void dgm_shortlists_fini(dgm_shortlists *s);

/* dgm_shortlist_name - what dgm_vocab answered with the matrix of `l`, positions become ids; of row->full [vocab_size] its
 * first l->n were filled, and ids that are not listed get -infinity. */
void dgm_shortlist_name(const dgm_shortlist *l, dgm_vocab_row *row, int vocab_size);

#endif
