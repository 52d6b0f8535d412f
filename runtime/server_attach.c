/* Connections from within the process: other threads hand sockets over, the net thread takes them when it wakes. */
#include "runtime/server_state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int hand_over(dgm_server *s, int fd)
{
    dgm_server_attached *a = &s->attached;
    (void)pthread_mutex_lock(&a->lock);
    int rc = DGM_OK;
    if (a->closed)
        rc = dgm_fail(DGM_EBUSY, "the server is draining: it takes nothing new");
    else if (a->n == DGM_SERVER_ATTACHED)
        rc = dgm_fail(DGM_EBUSY, "too many connections wait: want at most %d", DGM_SERVER_ATTACHED);
    if (rc == DGM_OK) {
        a->fds[a->n++] = fd;
        (void)uv_async_send(&s->wake); /* with the lock: it is closed after dgm_server_detach */
    }
    (void)pthread_mutex_unlock(&a->lock);
    return rc;
}

int dgm_server_attach(dgm_server *s, int *fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return dgm_fail(DGM_ENOMEM, "no socket for a connection: %s", strerror(errno));
    const int rc = hand_over(s, ends[1]);
    if (rc != DGM_OK) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return rc;
    }
    *fd = ends[0];
    return DGM_OK;
}

void dgm_server_take_attached(dgm_server *s)
{
    dgm_server_attached *a = &s->attached;
    int fds[DGM_SERVER_ATTACHED];
    (void)pthread_mutex_lock(&a->lock);
    const int n = a->n;
    memcpy(fds, a->fds, (size_t)n * sizeof fds[0]);
    a->n = 0;
    (void)pthread_mutex_unlock(&a->lock);
    for (int i = 0; i < n; i++)
        dgm_conn_open(s, fds[i], true);
}

void dgm_server_detach(dgm_server *s)
{
    dgm_server_attached *a = &s->attached;
    (void)pthread_mutex_lock(&a->lock);
    a->closed = true;
    while (a->n > 0)
        (void)close(a->fds[--a->n]);
    (void)pthread_mutex_unlock(&a->lock);
}
