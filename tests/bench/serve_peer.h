/*
 * serve_peer.h - what the load generators of `dragoman serve` share: a connection in an epoll set that never waits, random
 * numbers by counter, text to ask for. By the frames alone, not by the client library. One thread. What cannot be is the end of
 * the program, with a sentence.
 */
#ifndef DGM_TESTS_SERVE_PEER_H
#define DGM_TESTS_SERVE_PEER_H

#include "proto/wire.h"

typedef struct serve_peer {
    int fd; /* -1: closed */
    int epoll;
    uint32_t mark; /* what epoll says of it */
    bool greeted, watched;
    dgm_frame_reader in;
    dgm_frame_buffer out;
    uint64_t id; /* the last that was used */
    uint32_t credits, first_credits;
    dgm_wire_limits limits;
} serve_peer;

_Noreturn void serve_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* serve_peer_open - connects and queues a hello. */
void serve_peer_open(serve_peer *p, const char *address, int epoll, uint32_t mark);
void serve_peer_close(serve_peer *p);
/* serve_peer_put - queues a frame; serve_peer_push sends what goes. False: the server is gone. */
void serve_peer_put(serve_peer *p, const dgm_wire_frame *f);
bool serve_peer_push(serve_peer *p);
/* serve_peer_pull - receives what has come. False: the server is gone. */
bool serve_peer_pull(serve_peer *p);
/* serve_peer_next - a frame, valid until the next of any peer. A welcome and credits are noted. */
bool serve_peer_next(serve_peer *p, dgm_wire_frame *f);
/* serve_peer_wait - sends, and waits for one frame. */
void serve_peer_wait(serve_peer *p, dgm_wire_frame *f);

/* serve_draw - number `at` of the stream `seed`; serve_draw_unit in (0, 1]; serve_draw_gap exponential, of that mean. */
uint64_t serve_draw(uint64_t seed, uint64_t at);
double serve_draw_unit(uint64_t seed, uint64_t at);
double serve_draw_gap(uint64_t seed, uint64_t at, double mean);

typedef struct serve_texts {
    char **at; /* [n] lines without their ends */
    int n;
} serve_texts;
/* serve_read_texts - n lines (0: those of the file); beyond its end the file begins again, with a number before each line. */
void serve_read_texts(serve_texts *t, const char *path, int n);
void serve_free_texts(serve_texts *t);

#endif
