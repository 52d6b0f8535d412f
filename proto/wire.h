/*
 * wire.h - the protocol's messages as plain structs, and between them and bytes (dragoman.proto, docs/protocol.md).
 *
 * One frame is one dgm_wire_frame: an id, a kind, and that kind's struct. Structs mean what the messages of the same name mean
 * in dragoman.proto; only what C adds is said here. Texts and arrays of a decoded frame lie in the dgm_wire_memory it was
 * decoded with; those of a frame to be encoded are the caller's. `const char *` is UTF-8 with a NUL behind it and none inside,
 * never NULL after decoding; NULL is "" when encoding. Enumerations may hold numbers that this version does not know.
 *
 * Thread: any, each dgm_wire_memory one at a time. protobuf-c stays in proto/.
 */
#ifndef DGM_PROTO_WIRE_H
#define DGM_PROTO_WIRE_H

#include "proto/frame.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DGM_WIRE_VERSION = 1, DGM_WIRE_HELLO_MS = 5000 };

/* Numbers of Frame.kind. 0: none, or one that this version does not know. */
enum dgm_wire_kind {
    DGM_WIRE_UNKNOWN = 0,
    DGM_WIRE_HELLO = 2,
    DGM_WIRE_TRANSLATE = 3,
    DGM_WIRE_CANCEL = 4,
    DGM_WIRE_LANGUAGES_REQUEST = 5,
    DGM_WIRE_STATISTICS_REQUEST = 6,
    DGM_WIRE_HEALTH_REQUEST = 7,
    DGM_WIRE_DRAIN = 8,
    DGM_WIRE_WELCOME = 16,
    DGM_WIRE_ANSWER = 17,
    DGM_WIRE_CREDIT = 18,
    DGM_WIRE_LANGUAGES = 19,
    DGM_WIRE_STATISTICS = 20,
    DGM_WIRE_HEALTH = 21,
    DGM_WIRE_ERROR = 22,
};

/* name, number, name in reports: the statuses of a segment */
#define DGM_WIRE_STATUS_MAP(X)                                                                     \
    X(NO_STATUS, 0, "unknown")                                                                     \
    X(OK, 1, "ok")                                                                                 \
    X(EMPTY, 2, "empty")                                                                           \
    X(SPLIT, 3, "split")                                                                           \
    X(TOO_LONG, 4, "too_long")                                                                     \
    X(TRUNCATED, 5, "truncated")                                                                   \
    X(COPIED, 6, "copied")                                                                         \
    X(LOOPED, 7, "looped")                                                                         \
    X(WRONG_SCRIPT, 8, "wrong_script")                                                             \
    X(TIMED_OUT, 9, "timed_out")                                                                   \
    X(CANCELLED, 10, "cancelled")                                                                  \
    X(FAILED, 11, "failed")                                                                        \
    X(BAD_INPUT, 12, "bad_input")

enum dgm_wire_status {
#define DGM_WIRE_STATUS_ENUM(name, number, text) DGM_WIRE_STATUS_##name = (number),
    DGM_WIRE_STATUS_MAP(DGM_WIRE_STATUS_ENUM)
#undef DGM_WIRE_STATUS_ENUM
};

/* name, number, name in logs, may the same be tried again */
#define DGM_WIRE_ERROR_MAP(X)                                                                      \
    X(NONE, 0, "none", false)                                                                      \
    X(VERSION, 1, "version", false)                                                                \
    X(TOKEN, 2, "token", false)                                                                    \
    X(BAD_FRAME, 3, "bad_frame", false)                                                            \
    X(BAD_REQUEST, 4, "bad_request", false)                                                        \
    X(LANGUAGE, 5, "language", false)                                                              \
    X(ID, 6, "id", false)                                                                          \
    X(CREDIT, 7, "credit", true)                                                                   \
    X(TOO_LARGE, 8, "too_large", false)                                                            \
    X(UNSUPPORTED, 9, "unsupported", false)                                                        \
    X(FORBIDDEN, 10, "forbidden", false)                                                           \
    X(BUSY, 11, "busy", true)                                                                      \
    X(DRAINING, 12, "draining", true)                                                              \
    X(NOT_READY, 13, "not_ready", true)                                                            \
    X(RANK_LOST, 14, "rank_lost", true)                                                            \
    X(TIME_OUT, 15, "time_out", true)                                                              \
    X(CONNECTIONS, 16, "connections", true)                                                        \
    X(INTERNAL, 17, "internal", false)

enum dgm_wire_error_code {
#define DGM_WIRE_ERROR_ENUM(name, number, text, retry) DGM_WIRE_ERROR_##name = (number),
    DGM_WIRE_ERROR_MAP(DGM_WIRE_ERROR_ENUM)
#undef DGM_WIRE_ERROR_ENUM
};

/* "too_long", "busy", "translate"; "unknown" for a number that is not listed. Static. */
const char *dgm_wire_status_name(uint32_t status);
const char *dgm_wire_error_name(uint32_t code);
const char *dgm_wire_kind_name(enum dgm_wire_kind kind);
/* dgm_wire_error_retry - what Error.retry says for a code. */
bool dgm_wire_error_retry(uint32_t code);

enum dgm_wire_switch { DGM_WIRE_SWITCH_SERVER, DGM_WIRE_SWITCH_ON, DGM_WIRE_SWITCH_OFF };
enum dgm_wire_split {
    DGM_WIRE_SPLIT_SERVER,
    DGM_WIRE_SPLIT_AUTO,
    DGM_WIRE_SPLIT_ALWAYS,
    DGM_WIRE_SPLIT_NEVER
};
enum dgm_wire_retry { DGM_WIRE_RETRY_SERVER, DGM_WIRE_RETRY_NONE, DGM_WIRE_RETRY_CHECKS };
enum dgm_wire_priority { DGM_WIRE_NORMAL, DGM_WIRE_INTERACTIVE, DGM_WIRE_BULK };
enum dgm_wire_check {
    DGM_WIRE_CHECK_WRONG_SCRIPT = 1,
    DGM_WIRE_CHECK_LOOPED = 2,
    DGM_WIRE_CHECK_LENGTH_RATIO = 4,
    DGM_WIRE_CHECK_COPIED = 8,
    DGM_WIRE_CHECK_NO_END = 16,
};
enum dgm_wire_state {
    DGM_WIRE_STATE_UNKNOWN,
    DGM_WIRE_STATE_STARTING,
    DGM_WIRE_STATE_READY,
    DGM_WIRE_STATE_DRAINING,
    DGM_WIRE_STATE_STALLED,
};

typedef struct dgm_wire_hello {
    uint32_t version;
    const char *token, *client;
} dgm_wire_hello;

typedef struct dgm_wire_limits {
    uint32_t frame_bytes, request_segments, segment_bytes, in_flight, beam_size, n_best,
        source_tokens, target_tokens, idle_ms;
} dgm_wire_limits;

typedef struct dgm_wire_welcome {
    uint32_t version;
    const char *server, *model;
    uint64_t model_hash, option_hash;
    const char *const *sources; /* [n_sources] codes */
    const char *const *targets;
    size_t n_sources, n_targets;
    dgm_wire_limits limits;
    uint32_t credits;
} dgm_wire_welcome;

/* 0 everywhere: as the server. Numbers are as the peer sent them, floats may be NaN: the server checks ranges. */
typedef struct dgm_wire_options {
    uint32_t beam_size, n_best, max_length, min_length, no_repeat_ngram_size;
    bool has_length_penalty;
    float length_penalty, repetition_penalty;
    uint32_t penalty_skip_special, early_stopping; /* enum dgm_wire_switch */
    uint32_t sampling_topk;
    float sampling_topp, temperature;
    uint64_t seed;
    uint32_t split; /* enum dgm_wire_split */
    uint32_t retry; /* enum dgm_wire_retry */
    bool token_scores, alignment;
    uint32_t priority; /* enum dgm_wire_priority */
    uint32_t deadline_ms;
} dgm_wire_options;

enum { DGM_WIRE_TEXT_GOOD = -1 };

/*
 * text and prefix are any bytes. Decoded: a NUL stands behind them, and *_bad says what dgm_utf8_check finds: the offset of the
 * first byte that is NUL or not UTF-8, or DGM_WIRE_TEXT_GOOD. src, tgt, options are the request's where the segment has none of
 * its own; options is never NULL. To be encoded: "" and NULL mean the request's.
 */
typedef struct dgm_wire_segment {
    const char *text, *prefix;
    size_t text_len, prefix_len;
    int64_t text_bad, prefix_bad;
    const char *src, *tgt;
    const dgm_wire_options *options;
    uint64_t number; /* of its line, for sampling; 0: as 1 */
} dgm_wire_segment;

typedef struct dgm_wire_translate {
    const char *src, *tgt;
    dgm_wire_options options;
    const dgm_wire_segment *segments; /* [n_segments] */
    size_t n_segments;
} dgm_wire_translate;

typedef struct dgm_wire_hypothesis {
    const char *text; /* [text_len] */
    size_t text_len;
    double score;
    const char *const *tokens; /* [n_tokens], as many as token_scores */
    const float *token_scores;
    size_t n_tokens;
    const uint32_t *alignment; /* [2 * n_alignment] */
    size_t n_alignment;        /* pairs */
} dgm_wire_hypothesis;

typedef struct dgm_wire_answer {
    uint32_t segment;
    uint32_t status;                 /* enum dgm_wire_status */
    const dgm_wire_hypothesis *hyps; /* [n_hyps] */
    size_t n_hyps;
    uint32_t src_tokens, tgt_tokens, src_unknown, tgt_unknown;
    uint64_t queue_us, compute_us;
    uint32_t parts;
    double absent_mass, absent_most;
    const char *worst_layer;
    uint32_t checks;      /* enum dgm_wire_check, summed */
    bool retried, second; /* second: it is what hyps are of */
    double first_score, second_score;
    uint32_t first_checks, second_checks;
    bool cached, last;
    uint32_t credits;
    const char *message;
    uint32_t code; /* enum dgm_wire_error_code */
    bool retry;
    uint32_t retry_after_ms;
} dgm_wire_answer;

typedef struct dgm_wire_cancel {
    uint64_t request;
    const uint32_t *segments; /* [n_segments] places in it; none: all */
    size_t n_segments;
} dgm_wire_cancel;

typedef struct dgm_wire_credit {
    uint32_t credits;
} dgm_wire_credit;

typedef struct dgm_wire_language {
    const char *code, *name;
    const char *const *aliases; /* [n_aliases] */
    size_t n_aliases;
    bool source, target;
} dgm_wire_language;

typedef struct dgm_wire_languages {
    const dgm_wire_language *at; /* [n] */
    size_t n;
} dgm_wire_languages;

typedef struct dgm_wire_metric {
    const char *name;
    double value;
} dgm_wire_metric;

typedef struct dgm_wire_statistics {
    const dgm_wire_metric *at; /* [n] */
    size_t n;
} dgm_wire_statistics;

typedef struct dgm_wire_health {
    uint32_t state; /* enum dgm_wire_state */
    const char *message;
    uint64_t queued_tokens;
    uint32_t in_flight;
    uint64_t tick_age_ms;
} dgm_wire_health;

typedef struct dgm_wire_drain {
    uint32_t limit_ms;
} dgm_wire_drain;

typedef struct dgm_wire_error {
    uint32_t code; /* enum dgm_wire_error_code */
    const char *message;
    bool retry;
    uint32_t retry_after_ms;
    bool closing;
    uint32_t credits;
} dgm_wire_error;

typedef struct dgm_wire_frame {
    uint64_t id;
    enum dgm_wire_kind
        kind; /* which of these; requests for languages, statistics, health have none */
    union {
        dgm_wire_hello hello;
        dgm_wire_translate translate;
        dgm_wire_cancel cancel;
        dgm_wire_drain drain;
        dgm_wire_welcome welcome;
        dgm_wire_answer answer;
        dgm_wire_credit credit;
        dgm_wire_languages languages;
        dgm_wire_statistics statistics;
        dgm_wire_health health;
        dgm_wire_error error;
    } as;
} dgm_wire_frame;

/*
 * dgm_wire_memory - where decoded frames lie: one frame at a time, at most `budget` bytes for it. {.budget = B} is a start;
 * 0: DGM_WIRE_BUDGET. Keeps up to DGM_WIRE_KEEP bytes from frame to frame, and hands the rest back.
 */
enum { DGM_WIRE_BUDGET = 64 << 20, DGM_WIRE_KEEP = 256 << 10 };

typedef struct dgm_wire_memory {
    size_t budget;
    struct dgm_wire_chunk *chunks;
    size_t used; /* by this frame */
    int failed;  /* since the last frame: DGM_OK, DGM_EBUSY beyond the budget, DGM_ENOMEM */
} dgm_wire_memory;
void dgm_wire_memory_fini(dgm_wire_memory *m);

/*
 * dgm_wire_decode - body [len], without the length, into *out; valid until the next use of m, where all lies that *out points to. A kind that this version does
 * not know is DGM_OK and DGM_WIRE_UNKNOWN, so that it can be answered. On failure *code is what an Error to the peer should
 * carry beside dgm_error_text(), and out->id the frame's id if that could be read, else 0:
 *   DGM_EINPUT   BAD_FRAME: no Frame, or a text field with NUL or bytes that are not UTF-8
 *   DGM_ENOMEM   TOO_LARGE: the frame would take more than the budget; INTERNAL: there is no memory
 */
DGM_MUST_CHECK int dgm_wire_decode(dgm_wire_frame *out, enum dgm_wire_error_code *code,
                                   dgm_wire_memory *m, const uint8_t *body, size_t len);

/*
 * dgm_wire_encode - appends length and body of *f to `to`; uses m as scratch, so a frame that was decoded with m cannot be
 * encoded with it. Nothing is appended on failure: DGM_EINPUT when the body would be beyond DGM_FRAME_MAX_BODY, DGM_ENOMEM.
 * Texts are not checked: they are the caller's own.
 */
DGM_MUST_CHECK int dgm_wire_encode(dgm_frame_buffer *to, dgm_wire_memory *m,
                                   const dgm_wire_frame *f);

/* dgm_wire_encode_or_fail - the same; of an Answer that no frame can hold, one that FAILED, TOO_LARGE: a line, and not its connection. */
DGM_MUST_CHECK int dgm_wire_encode_or_fail(dgm_frame_buffer *to, dgm_wire_memory *m,
                                           const dgm_wire_frame *f);

/* dgm_wire_encode_error - the same for an Error with retry as the code says, from a sentence. */
DGM_MUST_CHECK int dgm_wire_encode_error(dgm_frame_buffer *to, dgm_wire_memory *m, uint64_t id,
                                         enum dgm_wire_error_code code, const char *message,
                                         bool closing, uint32_t retry_after_ms);

#ifdef __cplusplus
}
#endif

#endif
