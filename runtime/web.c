#include "runtime/web.h"

#include "base/log.h"
#include "runtime/address.h"
#include "runtime/http_guests.h"
#include "runtime/web_guard.h"
#include "runtime/web_json.h"
#include "runtime/web_link.h"

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TIMEOUT_S = 10,
    AT_ONCE = DGM_HTTP_GUESTS / 2, /* translations; the others are for looking */
    SWALLOW_BYTES = 4 << 20,       /* of a body that is too long, so that its sender hears why */
    SLACK_MS = 10000,              /* beyond the deadline of its lines, for an answer */
    BUSY_MS = 1000,
    CLOSE_MS = 2000, /* for answers that are being sent when all ends */
    POLICY_BYTES = 512,
    HOST_BYTES = 256,
};

_Static_assert((int)DGM_WEB_FILES >= DGM_HTTP_PLACES + 2 * DGM_HTTP_GUESTS + 8,
               "sockets of browsers, and both ends of each question");

struct dgm_web {
    dgm_web_config cfg;
    char policy[POLICY_BYTES], host[HOST_BYTES];
    dgm_http_guests guests;
    atomic_int translating, answering; /* answering: from the whole request to the whole answer */
    struct MHD_Daemon *daemon;
};

/* One request on its way. */
typedef struct visit {
    dgm_web *web;
    struct MHD_Connection *http;
    char *body;
    size_t len, came; /* kept; received */
    bool answered;
} visit;

/* ---- out ---- */

/* respond - owns text. */
static enum MHD_Result respond(const visit *v, unsigned status, const char *type, char *text,
                               size_t len, enum MHD_ResponseMemoryMode mode,
                               uint32_t retry_after_ms)
{
    static const char *const headers[][2] = {
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
    };
    struct MHD_Response *r = MHD_create_response_from_buffer(len, text, mode);
    if (r == NULL) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(text);
        return MHD_NO;
    }
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(r, "Content-Security-Policy", v->web->policy);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        (void)MHD_add_response_header(r, headers[i][0], headers[i][1]);
    if (status == MHD_HTTP_UNAUTHORIZED)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    char seconds[16];
    (void)snprintf(seconds, sizeof seconds, "%u", (retry_after_ms + 999) / 1000);
    if (retry_after_ms > 0)
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    const enum MHD_Result rc = MHD_queue_response(v->http, status, r);
    MHD_destroy_response(r);
    return rc;
}

static unsigned http_status(enum dgm_wire_error_code code)
{
    switch (code) {
    case DGM_WIRE_ERROR_NONE:
        return MHD_HTTP_OK;
    case DGM_WIRE_ERROR_TOKEN:
        return MHD_HTTP_UNAUTHORIZED;
    case DGM_WIRE_ERROR_FORBIDDEN:
        return MHD_HTTP_FORBIDDEN;
    case DGM_WIRE_ERROR_TOO_LARGE:
        return MHD_HTTP_CONTENT_TOO_LARGE;
    case DGM_WIRE_ERROR_TIME_OUT:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    case DGM_WIRE_ERROR_INTERNAL:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    default:
        return dgm_wire_error_retry(code) ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_BAD_REQUEST;
    }
}

/* send_reply - its JSON, with this status, and lets go of it. */
static enum MHD_Result send_reply(const visit *v, dgm_web_reply *r, unsigned status)
{
    char *text = json_dumps(r->root, JSON_COMPACT | JSON_REAL_PRECISION(9));
    dgm_web_reply_fini(r);
    if (text == NULL)
        return MHD_NO;
    return respond(v, status, "application/json", text, strlen(text), MHD_RESPMEM_MUST_FREE,
                   r->retry_after_ms);
}

static enum MHD_Result refuse(const visit *v, unsigned status, enum dgm_wire_error_code code,
                              const char *why, uint32_t retry_after_ms)
{
    dgm_web_reply r = {0};
    dgm_web_reply_fail(&r, code, why, retry_after_ms);
    return send_reply(v, &r, status);
}

static enum MHD_Result refuse_as(const visit *v, enum dgm_wire_error_code code, const char *why,
                                 uint32_t retry_after_ms)
{
    return refuse(v, http_status(code), code, why, retry_after_ms);
}

/* ---- questions to the server ---- */

static const char *header(const visit *v, const char *name)
{
    return MHD_lookup_connection_value(v->http, MHD_HEADER_KIND, name);
}

/* ask_server - MHD_NO where nobody waits any more. */
static enum MHD_Result ask_server(const visit *v, enum dgm_wire_kind until,
                                  const dgm_wire_frame *asked, int n, int timeout_ms)
{
    const union MHD_ConnectionInfo *socket =
        MHD_get_connection_info(v->http, MHD_CONNECTION_INFO_CONNECTION_FD);
    dgm_web_reply r = {.until = until};
    const dgm_web_question q = {.token = dgm_web_bearer(header(v, MHD_HTTP_HEADER_AUTHORIZATION)),
                                .asked = asked,
                                .n_asked = n,
                                .asker = socket == NULL ? -1 : socket->connect_fd,
                                .timeout_ms = timeout_ms,
                                .take = dgm_web_reply_take,
                                .ctx = &r};
    /* else MHD takes the time in which it was not asked for idleness */
    (void)MHD_set_connection_option(v->http, MHD_CONNECTION_OPTION_TIMEOUT,
                                    (unsigned)(timeout_ms / 1000 + TIMEOUT_S));
    const int rc = dgm_web_ask(v->web->cfg.server, &q);
    if (rc == DGM_EPEER) {
        dgm_web_reply_fini(&r);
        return MHD_NO;
    }
    if (rc != DGM_OK)
        dgm_web_reply_fail(&r,
                           rc == DGM_EBUSY       ? DGM_WIRE_ERROR_DRAINING
                           : rc == DGM_EDEADLINE ? DGM_WIRE_ERROR_TIME_OUT
                                                 : DGM_WIRE_ERROR_INTERNAL,
                           dgm_error_text(), 0);
    return send_reply(v, &r, http_status(r.error));
}

static enum MHD_Result page(const visit *v)
{
    const char *text = v->web->cfg.page;
    return respond(v, MHD_HTTP_OK, "text/html; charset=utf-8", (char *)text, strlen(text),
                   MHD_RESPMEM_PERSISTENT, 0);
}

static enum MHD_Result about(const visit *v)
{
    static const dgm_wire_frame asked[] = {{.id = 1, .kind = DGM_WIRE_LANGUAGES_REQUEST},
                                           {.id = 2, .kind = DGM_WIRE_HEALTH_REQUEST}};
    return ask_server(v, DGM_WIRE_HEALTH, asked, 2, SLACK_MS);
}

static enum MHD_Result health(const visit *v)
{
    static const dgm_wire_frame asked[] = {{.id = 1, .kind = DGM_WIRE_HEALTH_REQUEST}};
    return ask_server(v, DGM_WIRE_HEALTH, asked, 1, SLACK_MS);
}

static enum MHD_Result translate_body(const visit *v)
{
    enum dgm_wire_error_code code;
    dgm_web_request r;
    if (v->came > DGM_WEB_BODY_BYTES) {
        (void)dgm_fail(DGM_EINPUT, "want at most %d bytes, found %zu", DGM_WEB_BODY_BYTES, v->came);
        return refuse_as(v, DGM_WIRE_ERROR_TOO_LARGE, dgm_error_text(), 0);
    }
    if (dgm_web_request_read(&r, &code, v->body == NULL ? "" : v->body, v->len) != DGM_OK)
        return refuse_as(v, code, dgm_error_text(), 0);
    const enum MHD_Result rc = ask_server(v, DGM_WIRE_ANSWER, &r.frame, 1,
                                          (int)r.frame.as.translate.options.deadline_ms + SLACK_MS);
    dgm_web_request_fini(&r);
    return rc;
}

/* translate - what is posted, by nobody but the page itself. */
static enum MHD_Result translate(const visit *v)
{
    const char *type = header(v, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (!dgm_web_origin(header(v, MHD_HTTP_HEADER_ORIGIN), header(v, MHD_HTTP_HEADER_HOST)))
        return refuse_as(
            v, DGM_WIRE_ERROR_FORBIDDEN,
            "want an Origin that is this page's own, http:// and Host: other sites may "
            "not ask",
            0);
    if (type == NULL || strncmp(type, "application/json", strlen("application/json")) != 0)
        return refuse(v, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, DGM_WIRE_ERROR_BAD_REQUEST,
                      "want Content-Type: application/json", 0);
    dgm_web *w = v->web;
    const enum MHD_Result rc = atomic_fetch_add(&w->translating, 1) < AT_ONCE
                                   ? translate_body(v)
                                   : refuse_as(v, DGM_WIRE_ERROR_BUSY,
                                               "too many translations at once from pages", BUSY_MS);
    atomic_fetch_sub(&w->translating, 1);
    return rc;
}

/* ---- in ---- */

static enum MHD_Result route(const visit *v, const char *url, const char *method)
{
    static const struct {
        const char *url;
        bool post;
        enum MHD_Result (*answer)(const visit *v);
    } routes[] = {{"/", false, page},
                  {"/about", false, about},
                  {"/health", false, health},
                  {"/translate", true, translate}};
    const bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0,
               get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
                     strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!dgm_web_host(header(v, MHD_HTTP_HEADER_HOST), v->web->host))
        return refuse_as(
            v, DGM_WIRE_ERROR_FORBIDDEN,
            "want a Host that is an address, localhost or what --web names: by another "
            "name this page is not served",
            0);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (strcmp(url, routes[i].url) != 0)
            continue;
        if (routes[i].post ? !post : !get)
            return refuse(v, MHD_HTTP_METHOD_NOT_ALLOWED, DGM_WIRE_ERROR_BAD_REQUEST,
                          routes[i].post ? "want POST" : "want GET", 0);
        return routes[i].answer(v);
    }
    return refuse(v, MHD_HTTP_NOT_FOUND, DGM_WIRE_ERROR_BAD_REQUEST,
                  "want /, /about, /health or /translate", 0);
}

/* keep - a piece of the body, as long as it is not too long. False: no memory, or beyond all patience. */
static bool keep(visit *v, const char *bytes, size_t n)
{
    v->came += n;
    if (v->came > SWALLOW_BYTES)
        return false;
    if (v->came > DGM_WEB_BODY_BYTES)
        return true;
    if (v->body == NULL)
        v->body = malloc(DGM_WEB_BODY_BYTES);
    if (v->body == NULL)
        return false;
    memcpy(v->body + v->len, bytes, n);
    v->len += n;
    return true;
}

/* begin - its headers are there. */
static enum MHD_Result begin(dgm_web *w, struct MHD_Connection *http, void **state)
{
    visit *v = calloc(1, sizeof *v);
    if (v == NULL)
        return MHD_NO;
    v->web = w;
    v->http = http;
    *state = v;
    const char *length = header(v, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && strtoull(length, NULL, 10) > SWALLOW_BYTES)
        return refuse_as(v, DGM_WIRE_ERROR_TOO_LARGE, "the body is far too long", 0);
    return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *http, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    (void)version;
    visit *v = *state;
    if (v == NULL)
        return begin(ctx, http, state);
    if (*upload_size > 0) {
        const size_t n = *upload_size;
        *upload_size = 0;
        return keep(v, upload, n) ? MHD_YES : MHD_NO;
    }
    v->answered = true;
    atomic_fetch_add(&v->web->answering, 1);
    dgm_http_guests_work(&v->web->guests, http, true);
    const enum MHD_Result rc = route(v, url, method);
    dgm_http_guests_work(&v->web->guests, http, false);
    return rc;
}

static void on_end(void *ctx, struct MHD_Connection *http, void **state,
                   enum MHD_RequestTerminationCode how)
{
    visit *v = *state;
    (void)ctx;
    (void)how;
    (void)MHD_set_connection_option(http, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)TIMEOUT_S);
    if (v == NULL)
        return;
    if (v->answered)
        atomic_fetch_sub(&v->web->answering, 1);
    free(v->body);
    free(v);
    *state = NULL;
}

/* ---- the daemon ---- */

static int start(dgm_web *w, const struct sockaddr *at)
{
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                           MHD_USE_POLL | (at->sa_family == AF_INET6 ? MHD_USE_IPv6 : 0U);
    sigset_t all, old; /* signals are the engine thread's */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    errno = 0;
    w->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, w, MHD_OPTION_SOCK_ADDR, at, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)DGM_HTTP_PLACES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        dgm_http_guests_notify, &w->guests, MHD_OPTION_END);
    const int error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (w->daemon == NULL)
        return dgm_fail(DGM_EUSAGE, "--web %s: %s", w->cfg.address,
                        error != 0 ? strerror(error) : "cannot listen there");
    const union MHD_DaemonInfo *port = MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_BIND_PORT);
    dgm_log(DGM_LOG_INFO, "serve", "a page to try translations: http://%.*s:%u/",
            (int)(strrchr(w->cfg.address, ':') - w->cfg.address), w->cfg.address,
            port == NULL ? 0U : port->port);
    return DGM_OK;
}

static int open_web(dgm_web *w)
{
    struct sockaddr_storage at;
    const char *address = w->cfg.address;
    DGM_TRY(dgm_address_resolve(&at, "--web", address, address,
                                w->cfg.insecure ? NULL : "TLS, which this page does not have"));
    (void)snprintf(w->host, sizeof w->host, "%.*s", (int)(strrchr(address, ':') - address),
                   address);
    DGM_TRY(dgm_web_policy(w->policy, sizeof w->policy, w->cfg.page));
    return start(w, (const struct sockaddr *)&at);
}

int dgm_web_open(dgm_web **out, const dgm_web_config *cfg)
{
    dgm_web *w = calloc(1, sizeof *w);
    *out = NULL;
    if (w == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for --web");
    w->cfg = *cfg;
    dgm_http_guests_init(&w->guests);
    const int rc = open_web(w);
    if (rc != DGM_OK) {
        free(w);
        return rc;
    }
    *out = w;
    return DGM_OK;
}

void dgm_web_close(dgm_web *w)
{
    if (w == NULL)
        return;
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int ms = 0; ms < CLOSE_MS && atomic_load(&w->answering) > 0; ms += 10)
        (void)nanosleep(&pause, NULL);
    MHD_stop_daemon(w->daemon);
    free(w);
}
