/* What a browser sends to --web: the first byte says what the rest is. 'h': a Host, of which any Origin but its own is refused;
 * else a body, which becomes a request that keeps its promises, or one sentence. */
#include "runtime/web_guard.h"
#include "runtime/web_json.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void check_host(const char *host)
{
    char *origin = malloc(strlen(host) + 8);
    DGM_ASSERT(origin != NULL);
    (void)sprintf(origin, "http://%s", host);
    DGM_ASSERT(dgm_web_origin(origin, host) && !dgm_web_origin(host, host));
    DGM_ASSERT(!dgm_web_host(host, "") ||
               strspn(host, "0123456789abcdefABCDEF.:[]") == strlen(host) ||
               strncasecmp(host, "localhost", strlen("localhost")) == 0);
    DGM_ASSERT(strlen(dgm_web_bearer(host)) <= strlen(host));
    free(origin);
}

static void check_request(const dgm_web_request *r)
{
    const dgm_wire_translate *t = &r->frame.as.translate;
    size_t bytes = 0;
    DGM_ASSERT(t->n_segments > 0 && t->n_segments <= DGM_WEB_LINES);
    for (size_t i = 0; i < t->n_segments; i++)
        bytes += strnlen(t->segments[i].text, t->segments[i].text_len);
    DGM_ASSERT(bytes + strlen(t->src) + strlen(t->tgt) <= DGM_WEB_BODY_BYTES);
    DGM_ASSERT(t->options.deadline_ms > 0 && t->options.deadline_ms <= DGM_WEB_DEADLINE_MS);
    dgm_frame_buffer b = {0};
    dgm_wire_memory m = {0};
    DGM_ASSERT(dgm_wire_encode(&b, &m, &r->frame) == DGM_OK);
    dgm_frame_buffer_fini(&b);
    dgm_wire_memory_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum dgm_wire_error_code code;
    dgm_web_request r;
    if (size > 0 && data[0] == 'h') {
        char *host = strndup((const char *)data + 1, size - 1);
        check_host(host);
        free(host);
        return 0;
    }
    if (dgm_web_request_read(&r, &code, (const char *)data, size) == DGM_OK) {
        check_request(&r);
        dgm_web_request_fini(&r);
        return 0;
    }
    DGM_ASSERT(code == DGM_WIRE_ERROR_BAD_REQUEST || code == DGM_WIRE_ERROR_TOO_LARGE);
    DGM_ASSERT(strchr(dgm_error_text(), '\n') == NULL);
    dgm_web_reply reply = {0};
    dgm_web_reply_fail(&reply, code, dgm_error_text(), 0);
    DGM_ASSERT(json_is_object(reply.root));
    dgm_web_reply_fini(&reply);
    return 0;
}
