/* Names of the protocol's numbers. */
#include "proto/wire.h"

#include <stddef.h>

static const struct {
    uint32_t number;
    const char *name;
} statuses[] = {
#define ROW(name, number, text) {number, text},
    DGM_WIRE_STATUS_MAP(ROW)
#undef ROW
};

static const struct {
    uint32_t number;
    const char *name;
    bool retry;
} errors[] = {
#define ROW(name, number, text, retry) {number, text, retry},
    DGM_WIRE_ERROR_MAP(ROW)
#undef ROW
};

/* Both tables count from 0 without a gap. */
const char *dgm_wire_status_name(uint32_t status)
{
    return status < sizeof statuses / sizeof statuses[0] ? statuses[status].name : "unknown";
}

const char *dgm_wire_error_name(uint32_t code)
{
    return code < sizeof errors / sizeof errors[0] ? errors[code].name : "unknown";
}

bool dgm_wire_error_retry(uint32_t code)
{
    return code < sizeof errors / sizeof errors[0] && errors[code].retry;
}

const char *dgm_wire_kind_name(enum dgm_wire_kind kind)
{
    static const char *const names[] = {
        [DGM_WIRE_HELLO] = "hello",
        [DGM_WIRE_TRANSLATE] = "translate",
        [DGM_WIRE_CANCEL] = "cancel",
        [DGM_WIRE_LANGUAGES_REQUEST] = "languages request",
        [DGM_WIRE_STATISTICS_REQUEST] = "statistics request",
        [DGM_WIRE_HEALTH_REQUEST] = "health request",
        [DGM_WIRE_DRAIN] = "drain",
        [DGM_WIRE_WELCOME] = "welcome",
        [DGM_WIRE_ANSWER] = "answer",
        [DGM_WIRE_CREDIT] = "credit",
        [DGM_WIRE_LANGUAGES] = "languages",
        [DGM_WIRE_STATISTICS] = "statistics",
        [DGM_WIRE_HEALTH] = "health",
        [DGM_WIRE_ERROR] = "error",
    };
    const size_t i = (size_t)kind;
    return i < sizeof names / sizeof names[0] && names[i] != NULL ? names[i] : "unknown";
}
