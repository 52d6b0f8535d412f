/*
 * http_guests.h - who is connected to a daemon of libmicrohttpd, so that who is slow keeps nobody out.
 *
 * libmicrohttpd hangs up on who is silent, but not on who sends a byte now and then, and of those a few dozen fill all its places. So
 * where places become few, who came longest ago and is not being worked for makes room for who comes. Any thread.
 */
#ifndef DGM_RUNTIME_HTTP_GUESTS_H
#define DGM_RUNTIME_HTTP_GUESTS_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* MHD_OPTION_CONNECTION_LIMIT of such a daemon: the guests; with a thread for each connection, places, also for those who were shown
 * out and are not out yet. With one thread it lets wait who finds no place; with a thread for each it hangs up on them at once. */
enum { DGM_HTTP_GUESTS = 32, DGM_HTTP_PLACES = 4 * DGM_HTTP_GUESTS };

typedef struct dgm_http_guest {
    bool here, working, leaving;
    int fd;
    uint64_t number; /* from 1, as they came */
} dgm_http_guest;

typedef struct dgm_http_guests {
    pthread_mutex_t lock; /* guards: */
    uint64_t n_came;
    int n, n_leaving; /* here; of those */
    dgm_http_guest at[DGM_HTTP_PLACES];
} dgm_http_guests;

void dgm_http_guests_init(dgm_http_guests *g);
/* dgm_http_guests_notify - for MHD_OPTION_NOTIFY_CONNECTION; ctx is the guests, which outlive the daemon. */
void dgm_http_guests_notify(void *ctx, struct MHD_Connection *c, void **socket_context,
                            enum MHD_ConnectionNotificationCode how);
/* dgm_http_guests_work - is its request worked for? Then it stays. */
void dgm_http_guests_work(dgm_http_guests *g, struct MHD_Connection *c, bool working);

#endif
