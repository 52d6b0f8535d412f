#define _GNU_SOURCE /* POLLRDHUP */
#include "runtime/web_link.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct asking {
    const dgm_web_question *q;
    int fd;
    int64_t until_ns;
    dgm_frame_reader in;
    dgm_wire_memory memory;
} asking;

/* wait_for - until something came from the server, unless the asker hangs up first. */
static int wait_for(const asking *l)
{
    struct pollfd p[] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->q->asker, .events = POLLRDHUP}};
    for (;;) {
        const int64_t left_ms = (l->until_ns - dgm_now_ns()) / 1000000;
        if (left_ms <= 0)
            return dgm_fail(DGM_EDEADLINE, "the server did not answer within %d ms",
                            l->q->timeout_ms);
        const int n = poll(p, 2, (int)left_ms);
        if (n < 0 && errno != EINTR)
            return dgm_fail(DGM_EINTERNAL, "poll: %s", strerror(errno));
        if (n > 0 && p[1].revents != 0)
            return dgm_fail(DGM_EPEER, "who asked has gone");
        if (n > 0 && p[0].revents != 0)
            return DGM_OK;
    }
}

static int receive(asking *l)
{
    size_t room = 0;
    uint8_t *at = dgm_frame_reader_space(&l->in, &room);
    if (at == NULL)
        return DGM_ENOMEM;
    const ssize_t n = recv(l->fd, at, room, 0);
    if (n <= 0)
        return dgm_fail(DGM_EBUSY, "the server ended before it answered");
    dgm_frame_reader_filled(&l->in, (size_t)n);
    return DGM_OK;
}

/* take_frames - those that are whole; *done: the last was among them. */
static int take_frames(asking *l, bool *done)
{
    for (int found = 1; !*done;) {
        const uint8_t *body;
        size_t len;
        dgm_wire_frame f;
        enum dgm_wire_error_code code;
        DGM_TRY(dgm_frame_reader_next(&l->in, &found, &body, &len));
        if (!found)
            return DGM_OK;
        DGM_TRY(dgm_wire_decode(&f, &code, &l->memory, body, len));
        *done = l->q->take(l->q->ctx, &f);
    }
    return DGM_OK;
}

/* send_all - the socket blocks, and the net thread reads while it lives. */
static int send_all(const asking *l, const dgm_frame_buffer *b)
{
    size_t left;
    const uint8_t *at = dgm_frame_buffer_bytes(b, &left);
    while (left > 0) {
        const ssize_t n = send(l->fd, at, left, MSG_NOSIGNAL);
        if (n <= 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return DGM_OK; /* it closed: what it said before that can still be read */
        at += n;
        left -= (size_t)n;
    }
    return DGM_OK;
}

static int ask(asking *l)
{
    dgm_frame_buffer out = {0};
    const dgm_wire_frame hello = {
        .kind = DGM_WIRE_HELLO,
        .as.hello = {.version = DGM_WIRE_VERSION, .token = l->q->token, .client = "page"}};
    int rc = dgm_wire_encode(&out, &l->memory, &hello);
    for (int i = 0; rc == DGM_OK && i < l->q->n_asked; i++)
        rc = dgm_wire_encode(&out, &l->memory, &l->q->asked[i]);
    if (rc == DGM_OK)
        rc = send_all(l, &out);
    dgm_frame_buffer_fini(&out);
    return rc;
}

int dgm_web_ask(dgm_server *s, const dgm_web_question *q)
{
    asking l = {.q = q, .until_ns = dgm_now_ns() + (int64_t)q->timeout_ms * 1000000};
    bool done = false;
    DGM_TRY(dgm_server_attach(s, &l.fd));
    int rc = ask(&l);
    while (rc == DGM_OK && !done) {
        rc = wait_for(&l);
        if (rc == DGM_OK)
            rc = receive(&l);
        if (rc == DGM_OK)
            rc = take_frames(&l, &done);
    }
    (void)close(l.fd); /* and what is not answered is cancelled */
    dgm_frame_reader_fini(&l.in);
    dgm_wire_memory_fini(&l.memory);
    return rc;
}
