/* Many who connect at once and are slow keep nobody out: who comes after them is answered, by daemons of both kinds. */
#include "runtime/http_guests.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { SLOW = 400 };

static const char ask[] = "GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

static enum MHD_Result answer(void *ctx, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    (void)ctx, (void)url, (void)method, (void)version, (void)upload, (void)upload_size, (void)state;
    static char text[] = "here you are\n";
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
    const enum MHD_Result rc = MHD_queue_response(c, MHD_HTTP_OK, r);
    MHD_destroy_response(r);
    return rc;
}

/* comes - somebody who says so much. */
static int comes(uint16_t port, const char *says)
{
    const struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    (void)send(fd, says, strlen(says), MSG_NOSIGNAL); /* some are hung up on at once */
    return fd;
}

static void slow_keep_nobody_out(unsigned flags, unsigned limit)
{
    static dgm_http_guests guests;
    int slow[SLOW];
    char got[1024];
    dgm_http_guests_init(&guests);
    struct MHD_Daemon *d = MHD_start_daemon(
        flags, 0, NULL, NULL, answer, NULL, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_NOTIFY_CONNECTION, dgm_http_guests_notify, &guests, MHD_OPTION_END);
    assert_non_null(d);
    const uint16_t port = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port;
    for (int i = 0; i < SLOW; i++)
        slow[i] = comes(port, "G");
    for (int i = 0; i < 10; i++) {
        const int fd = comes(port, ask);
        const ssize_t n = recv(fd, got, sizeof got - 1, MSG_WAITALL);
        got[n > 0 ? n : 0] = '\0';
        if (strstr(got, "here you are") == NULL)
            fail_msg("guest %d after %d that are slow: no answer, found '%s'", i, SLOW, got);
        (void)close(fd);
    }
    for (int i = 0; i < SLOW; i++)
        (void)close(slow[i]);
    MHD_stop_daemon(d);
    assert_int_equal(guests.n, 0);
    assert_int_equal(guests.n_leaving, 0);
}

static void one_thread(void **state)
{
    (void)state;
    slow_keep_nobody_out(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, DGM_HTTP_GUESTS);
}

static void thread_for_each(void **state)
{
    (void)state;
    slow_keep_nobody_out(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                             MHD_USE_POLL,
                         DGM_HTTP_PLACES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_thread),
                                       cmocka_unit_test(thread_for_each)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
