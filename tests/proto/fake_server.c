#include "tests/proto/fake_server.h"

#include "proto/wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fake_server {
    fake_script script;
    fake_counts counts;
    pthread_t thread;
    int listener, fd;
    atomic_bool stop;
    atomic_int segments;
    char path[108];
    dgm_wire_memory memory, scratch;
    dgm_frame_reader reader;
    dgm_frame_buffer out;
    uint64_t last_id;
    struct {
        uint64_t id; /* 0: none */
        uint32_t segment;
    } slow[8];
    int64_t credits;
    int answered; /* on this connection */
    bool ended;   /* this connection */
    bool closing; /* it ends when what has come is answered */
};

static void flush(fake_server *f)
{
    size_t n;
    const uint8_t *p = dgm_frame_buffer_bytes(&f->out, &n);
    for (size_t at = 0; at < n && !f->ended;) {
        const ssize_t done = send(f->fd, p + at, f->script.byte_by_byte ? 1 : n - at, MSG_NOSIGNAL);
        f->ended = done < 0 && errno != EINTR;
        at += done > 0 ? (size_t)done : 0;
    }
    dgm_frame_buffer_sent(&f->out, n);
}

static void say(fake_server *f, const dgm_wire_frame *frame)
{
    DGM_ASSERT(dgm_wire_encode(&f->out, &f->scratch, frame) == DGM_OK);
}

static void say_error(fake_server *f, uint64_t id, enum dgm_wire_error_code code, const char *text,
                      bool closing, uint32_t credits)
{
    const dgm_wire_frame e = {
        .id = id,
        .kind = DGM_WIRE_ERROR,
        .as.error = {code, text, dgm_wire_error_retry(code), 5, closing, credits}};
    say(f, &e);
    f->credits += credits;
}

static void greet(fake_server *f, const dgm_wire_hello *hello)
{
    static const char *const langs[] = {"eng_Latn", "deu_Latn"};
    const bool other = f->script.other_model && f->counts.connections > 1;
    f->credits = f->script.credits;
    const dgm_wire_frame w = {
        .kind = DGM_WIRE_WELCOME,
        .as.welcome = {.version = (uint32_t)(1 + f->script.newer),
                       .server = "fake 1",
                       .model = "echo",
                       .model_hash = other ? 2 : 1,
                       .option_hash = 3,
                       .sources = langs,
                       .targets = langs,
                       .n_sources = 2,
                       .n_targets = 2,
                       .limits = {.segment_bytes = 100000, .request_segments = 10},
                       .credits = f->script.credits}};
    if (f->script.silent)
        return;
    if (f->script.token != NULL && strcmp(f->script.token, hello->token) != 0)
        say_error(f, 0, DGM_WIRE_ERROR_TOKEN, "this token is not known", true, 0);
    else
        say(f, &w);
    flush(f);
    f->ended = f->ended || (f->script.token != NULL && strcmp(f->script.token, hello->token) != 0);
}

/* drop - after a part of what should have been sent. */
static void drop(fake_server *f)
{
    size_t n;
    const uint8_t *p = dgm_frame_buffer_bytes(&f->out, &n);
    (void)!send(f->fd, p, n - n / 3, MSG_NOSIGNAL);
    dgm_frame_buffer_sent(&f->out, n);
    f->ended = true;
}

static void answer(fake_server *f, uint64_t id, uint32_t i, const dgm_wire_segment *s,
                   enum dgm_wire_status status)
{
    char text[4096] = "";
    if (status == DGM_WIRE_STATUS_OK)
        (void)snprintf(text, sizeof text, "%s:%s%s%.*s", s->tgt, s->prefix,
                       s->prefix_len > 0 ? " " : "", (int)s->text_len, s->text);
    const dgm_wire_hypothesis h = {.text = text, .text_len = strlen(text), .score = -1};
    dgm_wire_frame a = {.id = id,
                        .kind = DGM_WIRE_ANSWER,
                        .as.answer = {.segment = i,
                                      .status = status,
                                      .hyps = &h,
                                      .n_hyps = status == DGM_WIRE_STATUS_OK,
                                      .parts = 1,
                                      .credits = 1}};
    if (status == DGM_WIRE_STATUS_BAD_INPUT)
        a.as.answer.message = "byte is not UTF-8";
    if (status == DGM_WIRE_STATUS_FAILED) {
        a.as.answer.code = DGM_WIRE_ERROR_RANK_LOST;
        a.as.answer.retry = true;
        a.as.answer.message = "a rank was lost";
    }
    say(f, &a);
    f->credits++;
    f->counts.answers++;
    f->answered++;
    if (f->script.closes > 0 && f->answered == 5) {
        say_error(f, 0, (enum dgm_wire_error_code)f->script.closes, "this is the last word", true,
                  0);
        f->script.closes = 0;
        f->closing = true;
    }
    if (f->script.drop_after > 0 && f->answered == f->script.drop_after &&
        f->counts.connections <= f->script.drops)
        drop(f);
}

static bool is(const char *text, const dgm_wire_segment *s)
{
    return text != NULL && strlen(text) == s->text_len && memcmp(text, s->text, s->text_len) == 0;
}

/* pass_gate - what was answered before is on its way meanwhile. */
static void pass_gate(fake_server *f)
{
    struct pollfd p = {.fd = f->script.gate, .events = POLLIN};
    char byte;
    if (f->script.gate == 0)
        return;
    flush(f);
    while (!atomic_load(&f->stop) && poll(&p, 1, 5) <= 0)
        ;
    if (!atomic_load(&f->stop))
        (void)!read(f->script.gate, &byte, 1);
}

static void translate_one(fake_server *f, uint64_t id, uint32_t i, const dgm_wire_segment *s)
{
    f->counts.segments++;
    atomic_fetch_add(&f->segments, 1);
    pass_gate(f);
    if (f->script.pause_us > 0) {
        flush(f);
        (void)usleep((useconds_t)f->script.pause_us);
    }
    f->counts.deadlines += s->options->deadline_ms > 0;
    if (is(f->script.poison, s)) {
        f->ended = true;
    } else if (is(f->script.slow, s)) {
        size_t k = 0;
        while (f->slow[k].id != 0)
            DGM_ASSERT(++k < sizeof f->slow / sizeof f->slow[0]);
        f->slow[k].id = id;
        f->slow[k].segment = i;
    } else if (f->script.lost_ranks > 0) {
        f->script.lost_ranks--;
        answer(f, id, i, s, DGM_WIRE_STATUS_FAILED);
    } else {
        answer(f, id, i, s,
               s->text_bad == DGM_WIRE_TEXT_GOOD ? DGM_WIRE_STATUS_OK : DGM_WIRE_STATUS_BAD_INPUT);
    }
}

/* Last first: answers come in any order. */
static void translate(fake_server *f, const dgm_wire_frame *frame)
{
    const dgm_wire_translate *t = &frame->as.translate;
    f->counts.requests++;
    f->credits -= (int64_t)t->n_segments;
    f->counts.overdrawn += f->credits < 0;
    if (f->script.busy > 0) {
        f->script.busy--;
        say_error(f, frame->id, DGM_WIRE_ERROR_BUSY, "the queue is full", false,
                  (uint32_t)t->n_segments);
        return;
    }
    for (size_t i = 0; i < t->n_segments; i++) {
        if (is(f->script.refused, &t->segments[i])) {
            say_error(f, frame->id, DGM_WIRE_ERROR_LANGUAGE, "no such language", false,
                      (uint32_t)t->n_segments);
            return;
        }
    }
    for (size_t i = t->n_segments; i-- > 0 && !f->ended;)
        translate_one(f, frame->id, (uint32_t)i, &t->segments[i]);
}

static bool named(const dgm_wire_cancel *c, uint32_t segment)
{
    for (size_t i = 0; i < c->n_segments; i++)
        if (c->segments[i] == segment)
            return true;
    return c->n_segments == 0;
}

static void cancel(fake_server *f, const dgm_wire_cancel *c)
{
    const dgm_wire_segment none = {.text = ""};
    f->counts.cancels++;
    for (size_t k = 0; k < sizeof f->slow / sizeof f->slow[0]; k++) {
        if (f->slow[k].id != c->request ||
            !(f->script.whole_cancels || named(c, f->slow[k].segment)))
            continue;
        f->slow[k].id = 0;
        answer(f, c->request, f->slow[k].segment, &none, DGM_WIRE_STATUS_CANCELLED);
    }
}

static void take(fake_server *f, const dgm_wire_frame *frame)
{
    static const dgm_wire_language language = {
        .code = "deu_Latn", .name = "German", .target = true};
    dgm_wire_frame reply = {.id = frame->id};
    if (frame->id != 0) {
        f->counts.bad_ids += frame->id <= f->last_id;
        f->last_id = frame->id;
    }
    switch (frame->kind) {
    case DGM_WIRE_HELLO:
        greet(f, &frame->as.hello);
        break;
    case DGM_WIRE_TRANSLATE:
        translate(f, frame);
        break;
    case DGM_WIRE_CANCEL:
        cancel(f, &frame->as.cancel);
        break;
    case DGM_WIRE_LANGUAGES_REQUEST:
        reply.kind = DGM_WIRE_LANGUAGES;
        reply.as.languages = (dgm_wire_languages){&language, 1};
        say(f, &reply);
        break;
    case DGM_WIRE_HEALTH_REQUEST:
        reply.kind = DGM_WIRE_HEALTH;
        reply.as.health = (dgm_wire_health){.state = DGM_WIRE_STATE_READY, .in_flight = 7};
        if (f->script.state != 0)
            reply.as.health.state = (uint32_t)f->script.state;
        say(f, &reply);
        break;
    default:
        say_error(f, frame->id, DGM_WIRE_ERROR_UNSUPPORTED, "not known here", false, 0);
        break;
    }
}

static void read_frames(fake_server *f)
{
    const uint8_t *body;
    size_t len;
    int found = 1;
    while (!f->ended) {
        dgm_wire_frame frame;
        enum dgm_wire_error_code code;
        DGM_ASSERT(dgm_frame_reader_next(&f->reader, &found, &body, &len) == DGM_OK);
        if (!found)
            break;
        DGM_ASSERT(dgm_wire_decode(&frame, &code, &f->memory, body, len) == DGM_OK);
        take(f, &frame);
    }
    if (f->script.drains && f->answered > 0 && !f->ended) {
        const dgm_wire_frame news = {.kind = DGM_WIRE_HEALTH,
                                     .as.health = {.state = DGM_WIRE_STATE_DRAINING}};
        say(f, &news);
        flush(f);
        f->script.drains = false;
        f->ended = true;
    }
    flush(f);
    f->ended = f->ended || f->closing;
}

static void serve_connection(fake_server *f)
{
    f->counts.connections++;
    f->ended = false;
    f->closing = false;
    f->answered = 0;
    f->last_id = 0;
    memset(f->slow, 0, sizeof f->slow);
    while (!f->ended && !atomic_load(&f->stop)) {
        struct pollfd p = {.fd = f->fd, .events = POLLIN};
        if (poll(&p, 1, 5) <= 0)
            continue;
        size_t room;
        uint8_t *to = dgm_frame_reader_space(&f->reader, &room);
        DGM_ASSERT(to != NULL);
        const ssize_t n = recv(f->fd, to, room, 0);
        if (n <= 0)
            break;
        dgm_frame_reader_filled(&f->reader, (size_t)n);
        read_frames(f);
    }
    (void)close(f->fd);
    dgm_frame_reader_fini(&f->reader);
    dgm_frame_buffer_fini(&f->out);
}

static void *serve(void *arg)
{
    fake_server *f = arg;
    while (!atomic_load(&f->stop)) {
        struct pollfd p = {.fd = f->listener, .events = POLLIN};
        if (poll(&p, 1, 5) > 0 && (f->fd = accept(f->listener, NULL, NULL)) >= 0)
            serve_connection(f);
    }
    return NULL;
}

fake_server *fake_start(const char *path, const fake_script *script)
{
    fake_server *f = calloc(1, sizeof *f);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    DGM_ASSERT(f != NULL);
    f->script = *script;
    if (f->script.credits == 0)
        f->script.credits = 100;
    (void)snprintf(f->path, sizeof f->path, "%s", path);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    (void)unlink(path);
    f->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    DGM_ASSERT(bind(f->listener, (struct sockaddr *)&un, sizeof un) == 0);
    DGM_ASSERT(listen(f->listener, 8) == 0);
    DGM_ASSERT(pthread_create(&f->thread, NULL, serve, f) == 0);
    return f;
}

int fake_segments(fake_server *f)
{
    return atomic_load(&f->segments);
}

fake_counts fake_stop(fake_server *f)
{
    atomic_store(&f->stop, true);
    (void)pthread_join(f->thread, NULL);
    (void)close(f->listener);
    (void)unlink(f->path);
    dgm_wire_memory_fini(&f->memory);
    dgm_wire_memory_fini(&f->scratch);
    const fake_counts counts = f->counts;
    free(f);
    return counts;
}
