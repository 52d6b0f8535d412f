#include "runtime/http_guests.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    FEW = DGM_HTTP_GUESTS * 3 / 4, /* beyond, places are few */
    MANY_LEAVE = (DGM_HTTP_PLACES - DGM_HTTP_GUESTS) / 2,
};

void dgm_http_guests_init(dgm_http_guests *g)
{
    memset(g, 0, sizeof *g);
    (void)pthread_mutex_init(&g->lock, NULL);
}

/* make_room - the daemon closes what is shut down here, and then says so: until then the descriptor is no other's. */
static void make_room(dgm_http_guests *g)
{
    dgm_http_guest *first = NULL;
    for (int i = 0; i < DGM_HTTP_PLACES; i++) {
        dgm_http_guest *p = &g->at[i];
        if (p->here && !p->working && !p->leaving && p->number != g->n_came &&
            (first == NULL || p->number < first->number))
            first = p;
    }
    if (first == NULL)
        return;
    first->leaving = true;
    g->n_leaving++;
    (void)shutdown(first->fd, SHUT_RDWR);
}

static dgm_http_guest *enter(dgm_http_guests *g, int fd)
{
    for (int i = 0; i < DGM_HTTP_PLACES; i++) {
        if (g->at[i].here)
            continue;
        g->at[i] = (dgm_http_guest){.here = true, .fd = fd, .number = ++g->n_came};
        g->n++;
        return &g->at[i];
    }
    return NULL; /* the daemon has no more connections than that */
}

void dgm_http_guests_notify(void *ctx, struct MHD_Connection *c, void **socket_context,
                            enum MHD_ConnectionNotificationCode how)
{
    dgm_http_guests *g = ctx;
    dgm_http_guest *leaves = *socket_context;
    bool crowd = false;
    (void)pthread_mutex_lock(&g->lock);
    if (how == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        *socket_context = info == NULL ? NULL : enter(g, info->connect_fd);
        if (g->n - g->n_leaving > FEW)
            make_room(g);
        crowd = g->n_leaving > MANY_LEAVE;
    } else if (leaves != NULL) {
        leaves->here = false;
        g->n--;
        g->n_leaving -= leaves->leaving;
    }
    (void)pthread_mutex_unlock(&g->lock);
    if (crowd) /* the door opens no faster than they get out */
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void dgm_http_guests_work(dgm_http_guests *g, struct MHD_Connection *c, bool working)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info == NULL || info->socket_context == NULL)
        return;
    (void)pthread_mutex_lock(&g->lock);
    ((dgm_http_guest *)info->socket_context)->working = working;
    (void)pthread_mutex_unlock(&g->lock);
}
