/*
 * soak_ways.h - the ways in which serve_soak asks for a line, and what it was told: the same line in the same way has the same
 * answer, whoever asks and whatever else is going on. One thread. What cannot be is the end of the program, with a sentence.
 */
#ifndef DGM_TESTS_SOAK_WAYS_H
#define DGM_TESTS_SOAK_WAYS_H

#include "tests/bench/serve_peer.h"

enum { SOAK_PAIRS = 8 }; /* of languages, at most */

/* A line of serve_texts, in one of soak_ways_count() ways, from and to the languages of one of the pairs. */
typedef struct soak_key {
    int text, way, pair;
} soak_key;

/* soak_ways_open - pairs: "SRC:TGT,SRC:TGT,...", which stays the caller's and is cut to pieces. */
void soak_ways_open(const serve_texts *texts, char *pairs);
void soak_ways_close(void);
int soak_ways_count(void);
int soak_pairs_count(void);

/* soak_options - of a way, within the server's limits. */
dgm_wire_options soak_options(int way, const dgm_wire_limits *limits);
/* soak_segment - of a line, with the options that it is to have (NULL: the request's), which stay the caller's. */
dgm_wire_segment soak_segment(const soak_key *k, const dgm_wire_options *options);
const char *soak_src(int pair);
const char *soak_tgt(int pair);

/* soak_check - an answer that is neither late nor cancelled nor failed, beside the first to the same. */
void soak_check(const soak_key *k, const dgm_wire_answer *a);
/* soak_show - how many different answers there were, how many were compared to one before, and how many were decoded twice. */
void soak_show(void);

#endif
