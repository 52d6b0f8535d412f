/*
 * fake_server.h - a server in a thread that keeps the protocol and does as its script says.
 *
 * A segment's translation is its target code and its text, "deu_Latn:text", score -1. One connection after another.
 */
#ifndef DGM_TESTS_PROTO_FAKE_SERVER_H
#define DGM_TESTS_PROTO_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fake_script {
    const char *token; /* wanted, or NULL */
    uint32_t credits;  /* 0: 100 */
    int newer;         /* added to the version that it speaks */
    int drop_after; /* answers of a connection, then it is cut in the middle of a frame; 0: never */
    int drops;      /* so many connections */
    int busy;       /* the first so many requests are refused as busy */
    int lost_ranks; /* so many segments fail with retry first */
    bool other_model;    /* from the second connection on */
    bool byte_by_byte;   /* sends so */
    bool silent;         /* never says Welcome */
    const char *poison;  /* a text at which the connection is cut */
    const char *refused; /* a text whose request is refused for good */
    const char *slow;    /* a text that is answered only when it is cancelled */
    bool whole_cancels;  /* cancels a whole request whenever a part of it should be */
    int pause_us;        /* before each answer */
    int gate;            /* 0, or a descriptor: a byte is read from it before each segment */
    int state;           /* what it says of its health; 0: READY */
    bool drains;         /* says so after the first answer, and closes when all is answered */
    int closes; /* an error code, said closing after the fifth answer; what came before is still answered */
} fake_script;

typedef struct fake_server fake_server;

/* Counts, to be read after fake_stop. */
typedef struct fake_counts {
    int connections, requests, segments, answers, cancels, deadlines;
    int overdrawn; /* segments beyond the credits */
    int bad_ids;
} fake_counts;

/* fake_start - listens on unix:`path` before it returns. */
fake_server *fake_start(const char *path, const fake_script *script);
/* fake_segments - how many have come so far. Any thread. */
int fake_segments(fake_server *f);
/* fake_stop - ends it and frees it. */
fake_counts fake_stop(fake_server *f);

#endif
