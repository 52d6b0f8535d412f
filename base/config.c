#include "base/config.h"
#include "base/config_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How the sentence about a value begins: "--beam-size", "DGM_BEAM_SIZE", "fast.conf line 3: beam-size". */
enum { WHERE_BYTES = 256 };

static void *field(const dgm_config *c, const dgm_opt *o)
{
    return (char *)c->target + o->offset;
}

int dgm_config_create(dgm_config **out, const dgm_opt *rows, int n_rows,
                      const char *const *commands, int n_commands, void *target)
{
    dgm_config *c = calloc(1, sizeof *c + (size_t)n_rows * sizeof c->values[0]);
    if (c == NULL)
        return dgm_fail(DGM_ENOMEM, "options: no memory");
    *c = (dgm_config){.rows = rows,
                      .n_rows = n_rows,
                      .commands = commands,
                      .n_commands = n_commands,
                      .target = target,
                      .command = -1};
    for (int i = 0; i < n_rows; i++) {
        /* A default that does not parse is a mistake in the table, not of the user. */
        const int rc = dgm_config_set(c, i, rows[i].preset, DGM_FROM_DEFAULT, rows[i].key);
        DGM_ASSERT(rc == DGM_OK || rc == DGM_ENOMEM);
        if (rc != DGM_OK) {
            dgm_config_destroy(c);
            return rc;
        }
    }
    *out = c;
    return DGM_OK;
}

void dgm_config_destroy(dgm_config *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < c->n_rows; i++) {
        for (int k = 0; k < c->values[i].n_list; k++)
            free(c->values[i].list[k]);
        free(c->values[i].list);
        free(c->values[i].text);
    }
    free(c->args);
    free(c);
}

/* has_word - `word` is one of "a|b|c". */
static bool has_word(const char *list, const char *word)
{
    const size_t len = strlen(word);
    if (len == 0 || strchr(word, '|') != NULL)
        return false;
    for (const char *p = list; p != NULL; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, word, len) == 0 && (p[len] == '|' || p[len] == '\0'))
            return true;
    }
    return false;
}

static int parse_bool(bool *out, const char *text, const char *where)
{
    if (has_word("true|yes|on|1", text))
        *out = true;
    else if (has_word("false|no|off|0", text))
        *out = false;
    else
        return dgm_fail(DGM_EUSAGE, "%s: want true or false, found '%s'", where, text);
    return DGM_OK;
}

static int parse_int(int *out, const dgm_opt *o, const char *text, const char *where)
{
    char *end = NULL;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    /* strtoll would take " 4" and "+4"; one spelling is enough. */
    const bool whole = (isdigit((unsigned char)text[0]) || text[0] == '-') && *end == '\0';
    if (!whole || errno == ERANGE || (double)v < o->min || (double)v > o->max)
        return dgm_fail(DGM_EUSAGE, "%s: want a whole number from %.0f to %.0f, found '%s'", where,
                        o->min, o->max, text);
    *out = (int)v;
    return DGM_OK;
}

static int parse_u64(uint64_t *out, const char *text, const char *where)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno == ERANGE)
        return dgm_fail(DGM_EUSAGE,
                        "%s: want a whole number from 0 to 18446744073709551615, found '%s'", where,
                        text);
    *out = v;
    return DGM_OK;
}

static int parse_float(float *out, const dgm_opt *o, const char *text, const char *where)
{
    char *end = NULL;
    const float v = strtof(text, &end);
    const bool plain = strspn(text, "0123456789.eE+-") == strlen(text) && *text != '\0';
    if (!plain || *end != '\0' || !isfinite(v) || v < (float)o->min ||
        v > (float)o->max) /* the borders are within, though they round */
        return dgm_fail(DGM_EUSAGE, "%s: want a number from %g to %g, found '%s'", where, o->min,
                        o->max, text);
    *out = v;
    return DGM_OK;
}

/* list_words - "a|b|c" as people write it: "a, b or c". */
static void list_words(char *buf, size_t size, const char *list)
{
    size_t n = 0;
    for (const char *p = list; *p != '\0' && n + 5 < size; p++) {
        if (*p != '|')
            buf[n++] = *p;
        else
            n += (size_t)snprintf(buf + n, size - n, "%s",
                                  strchr(p + 1, '|') != NULL ? ", " : " or ");
    }
    buf[n] = '\0';
}

static int check_choice(const dgm_opt *o, const char *text, const char *where)
{
    if (has_word(o->choices, text))
        return DGM_OK;
    char words[WHERE_BYTES];
    list_words(words, sizeof words, o->choices);
    return dgm_fail(DGM_EUSAGE, "%s: want %s, found '%s'", where, words, text);
}

/* store - checks `text` and, when `write`, puts the value into the target. */
static int store(dgm_config *c, const dgm_opt *o, const char *text, bool write, const char *where)
{
    union {
        bool b;
        int i;
        uint64_t u;
        float f;
    } v = {0};
    size_t bytes = 0;
    switch (o->type) {
    case DGM_OPT_BOOL:
        DGM_TRY(parse_bool(&v.b, text, where));
        bytes = sizeof v.b;
        break;
    case DGM_OPT_INT:
        DGM_TRY(parse_int(&v.i, o, text, where));
        bytes = sizeof v.i;
        break;
    case DGM_OPT_U64:
        DGM_TRY(parse_u64(&v.u, text, where));
        bytes = sizeof v.u;
        break;
    case DGM_OPT_FLOAT:
        DGM_TRY(parse_float(&v.f, o, text, where));
        bytes = sizeof v.f;
        break;
    case DGM_OPT_CHOICE:
        DGM_TRY(check_choice(o, text, where));
        break;
    case DGM_OPT_TEXT:
        break;
    }
    if (write && bytes > 0)
        memcpy(field(c, o), &v, bytes);
    return DGM_OK;
}

/* push_value - a stronger origin's values replace a weaker one's; flags add to flags, lines of a file to those before. */
static int push_value(dgm_config_value *value, const char *text, bool anew)
{
    for (; anew && value->n_list > 0; value->n_list--)
        free(value->list[value->n_list - 1]);
    char **more = realloc(value->list, ((size_t)value->n_list + 1) * sizeof *more);
    if (more == NULL)
        return dgm_fail(DGM_ENOMEM, "options: no memory");
    value->list = more;
    more[value->n_list] = strdup(text);
    if (more[value->n_list] == NULL)
        return dgm_fail(DGM_ENOMEM, "options: no memory");
    value->n_list++;
    return DGM_OK;
}

int dgm_config_set(dgm_config *c, int row, const char *text, enum dgm_opt_origin origin,
                   const char *where)
{
    const dgm_opt *o = &c->rows[row];
    dgm_config_value *value = &c->values[row];
    /* What a stronger origin has set stays; a weaker one is still checked. */
    const bool write = origin >= value->origin;
    DGM_TRY(store(c, o, text, write, where));
    if (!write)
        return DGM_OK;
    if ((o->flags & DGM_OPT_LIST) != 0)
        DGM_TRY(push_value(value, text, origin != value->origin));
    value->origin = origin;
    if (o->type == DGM_OPT_TEXT || o->type == DGM_OPT_CHOICE) {
        char *copy = strdup(text);
        if (copy == NULL)
            return dgm_fail(DGM_ENOMEM, "options: no memory");
        free(value->text);
        value->text = copy;
        memcpy(field(c, o), &copy, sizeof copy);
    }
    return DGM_OK;
}

static bool row_is(const dgm_config *c, const char *key, int row)
{
    return strcmp(c->rows[row].key, key) == 0;
}

int dgm_config_find(const dgm_config *c, const char *key)
{
    int found = -1;
    for (int i = 0; i < c->n_rows; i++) {
        if (!row_is(c, key, i))
            continue;
        if (c->command >= 0 && (c->rows[i].commands >> c->command & 1) != 0)
            return i;
        found = found < 0 ? i : found;
    }
    return found;
}

enum dgm_opt_origin dgm_config_origin(const dgm_config *c, const char *key)
{
    const int row = dgm_config_find(c, key);
    DGM_ASSERT(row >= 0);
    return c->values[row].origin;
}

const char *dgm_config_text(const dgm_config *c, const dgm_opt *o, char *buf, size_t size)
{
    const void *at = field(c, o);
    const char *text = NULL;
    switch (o->type) {
    case DGM_OPT_BOOL:
        return *(const bool *)at ? "true" : "false";
    case DGM_OPT_INT:
        (void)snprintf(buf, size, "%d", *(const int *)at);
        return buf;
    case DGM_OPT_U64:
        (void)snprintf(buf, size, "%llu", (unsigned long long)*(const uint64_t *)at);
        return buf;
    case DGM_OPT_FLOAT:
        /* Nine digits name a float exactly, fewer read better where they do. */
        (void)snprintf(buf, size, "%g", (double)*(const float *)at);
        if (strtof(buf, NULL) != *(const float *)at)
            (void)snprintf(buf, size, "%.9g", (double)*(const float *)at);
        return buf;
    case DGM_OPT_TEXT:
    case DGM_OPT_CHOICE:
        memcpy(&text, at, sizeof text);
        return text;
    }
    return "";
}

/* FNV-1a: enough to tell two sets of options apart, and base needs no library for it. */
static uint64_t hash_text(uint64_t h, const char *text)
{
    for (const char *p = text;; p++) {
        h = (h ^ (unsigned char)*p) * 0x100000001b3u;
        if (*p == '\0')
            return h;
    }
}

uint64_t dgm_config_hash(const dgm_config *c, unsigned flags)
{
    uint64_t h = 0xcbf29ce484222325u;
    char buf[64];
    for (int i = 0; i < c->n_rows; i++) {
        if ((c->rows[i].flags & flags) == 0)
            continue;
        for (int k = 0; k + 1 < c->values[i].n_list; k++)
            h = hash_text(h, c->values[i].list[k]);
        h = hash_text(hash_text(h, c->rows[i].key),
                      dgm_config_text(c, &c->rows[i], buf, sizeof buf));
    }
    return h;
}

const char *const *dgm_config_list(const dgm_config *c, const char *key, int *n)
{
    const int row = dgm_config_find(c, key);
    DGM_ASSERT(row >= 0 && (c->rows[row].flags & DGM_OPT_LIST) != 0);
    *n = c->values[row].n_list;
    return (const char *const *)c->values[row].list;
}

const char *const *dgm_config_args(const dgm_config *c, int *n)
{
    *n = c->n_args;
    return c->args;
}
