#include "runtime/lang.h"

#include "runtime/lang_table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_BYTES = 64,  /* longest name looked at: English names have at most 31 bytes */
    TEXT_BYTES = 700, /* of choices in a message */
    N_NEAR = 9,       /* languages named for an unknown one: as many as there are Arabics, */
    N_SAME = 9,       /* which is the most that one alias means, too */
};

typedef struct tag {
    char whole[NAME_BYTES]; /* lower case, `-` for `_` */
    char lang[4], script[5];
    bool well_formed; /* language[-script][-region] */
    const char *by_whole[N_SAME],
        *by_lang[N_SAME]; /* codes that these are aliases of; NULL: no more */
} tag;

const dgm_lang *dgm_langs(int *n)
{
    *n = DGM_N_LANGS;
    return dgm_lang_rows;
}

const dgm_lang *dgm_lang_find(const char *code)
{
    for (int i = 0; i < DGM_N_LANGS; i++)
        if (strcmp(dgm_lang_rows[i].code, code) == 0)
            return &dgm_lang_rows[i];
    return NULL;
}

static bool all_letters(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= 'a' && s[i] <= 'z'))
            return false;
    return true;
}

/* ASCII only: what else a name holds (Bokmål) is compared byte by byte. */
static void lower(char *out, size_t size, const char *in)
{
    size_t n = 0;
    for (; in[n] != '\0' && n + 1 < size; n++)
        out[n] = in[n] == '_' ? '-' : in[n] >= 'A' && in[n] <= 'Z' ? (char)(in[n] + 32) : in[n];
    out[n] = '\0';
}

/* find_alias - once for a name: to ask each language takes a server longer than all else that it does for a line. */
static void find_alias(const char *codes[N_SAME], const char *alias)
{
    int n = 0;
    for (int i = 0; i < dgm_lang_n_aliases; i++)
        if (strcmp(dgm_lang_alias_rows[i].alias, alias) == 0) {
            DGM_ASSERT(n < N_SAME);
            codes[n++] = dgm_lang_alias_rows[i].code;
        }
}

/* split - a tag into its parts. */
static void split(tag *t)
{
    const char *s = t->whole;
    for (int part = 0;; part++) {
        const size_t n = strcspn(s, "-");
        if (part == 0 && (n == 2 || n == 3) && all_letters(s, n))
            memcpy(t->lang, s, n);
        else if (part == 1 && n == 4 && all_letters(s, n))
            memcpy(t->script, s, n);
        else if (!(part > 0 &&
                   ((n == 2 && all_letters(s, n)) || (n == 3 && strspn(s, "0123456789") == 3))))
            return;
        if (s[n] == '\0')
            break;
        s += n + 1;
    }
    t->well_formed = true;
}

static void parse(tag *t, const char *name)
{
    memset(t, 0, sizeof *t);
    lower(t->whole, sizeof t->whole, name);
    split(t);
    find_alias(t->by_whole, t->whole);
    find_alias(t->by_lang, t->lang);
}

static bool has_script(const dgm_lang *l, const char *script)
{
    char own[5];
    lower(own, sizeof own, l->code + 4);
    return strcmp(own, script) == 0;
}

/* Is `name` the English name, with or without the part in brackets? */
static bool is_name(const dgm_lang *l, const char *name)
{
    char own[NAME_BYTES];
    lower(own, sizeof own, l->name);
    if (strcmp(own, name) == 0)
        return true;
    char *bracket = strstr(own, " (");
    if (bracket != NULL)
        *bracket = '\0';
    return strcmp(own, name) == 0;
}

static bool is_one_of(const dgm_lang *l, const char *const codes[N_SAME])
{
    for (int i = 0; i < N_SAME && codes[i] != NULL; i++)
        if (strcmp(codes[i], l->code) == 0)
            return true;
    return false;
}

static bool is_code(const dgm_lang *l, const char *whole)
{
    char own[NAME_BYTES];
    lower(own, sizeof own, l->code);
    return strcmp(own, whole) == 0;
}

/* The ways to mean a language, strongest first: a weaker one is asked only where the stronger ones find none. */
enum way { BY_CODE, BY_WHOLE_ALIAS, BY_NAME, BY_TAG, BY_LANGUAGE, N_WAYS };

static bool means(const dgm_lang *l, const tag *t, enum way way)
{
    switch (way) {
    case BY_CODE:
        return is_code(l, t->whole);
    case BY_WHOLE_ALIAS:
        return is_one_of(l, t->by_whole);
    case BY_NAME:
        return is_name(l, t->whole);
    case BY_TAG:
    case BY_LANGUAGE: /* as BY_TAG, the script left aside: only for a message */
        return t->well_formed &&
               (way == BY_LANGUAGE || t->script[0] == '\0' || has_script(l, t->script)) &&
               ((strlen(t->lang) == 3 && strncmp(l->code, t->lang, 3) == 0) ||
                strcmp(l->iso1, t->lang) == 0 || is_one_of(l, t->by_lang));
    case N_WAYS:
        break;
    }
    return false;
}

/* Appends "code (name)" to a list; "..." where it would not fit. */
static void append(char *text, size_t size, const dgm_lang *l)
{
    const size_t used = strlen(text);
    if (used + strlen(l->name) + 24 < size)
        (void)snprintf(text + used, size - used, "%s%s (%s)", used == 0 ? "" : ", ", l->code,
                       l->name);
    else if (used + 6 < size)
        (void)snprintf(text + used, size - used, ", ...");
}

/* How many languages t means that way; the last one, and all of them as text. */
static int collect(const dgm_lang **last, char *text, size_t size, const tag *t, enum way way)
{
    int n = 0;
    text[0] = '\0';
    for (int i = 0; i < DGM_N_LANGS; i++) {
        if (!means(&dgm_lang_rows[i], t, way))
            continue;
        n++;
        *last = &dgm_lang_rows[i];
        append(text, size, &dgm_lang_rows[i]);
    }
    return n;
}

static int min3(int a, int b, int c)
{
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein distance of two names shorter than NAME_BYTES. */
static int distance(const char *a, const char *b)
{
    int row[NAME_BYTES + 1];
    const int n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1] != '\0'; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int up = row[j];
            row[j] = min3(up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = up;
        }
    }
    return row[n];
}

/* How far `name` is from a language: 0 for a part of its English name ("arabic"). */
static int how_far(const dgm_lang *l, const char *name)
{
    char own[NAME_BYTES];
    lower(own, sizeof own, l->name);
    const int to_name = distance(name, own);
    own[strcspn(own, "(")] = '\0'; /* "arabic" is not near a language in Arabic script */
    if (strlen(name) >= 3 && strstr(own, name) != NULL)
        return 0;
    lower(own, sizeof own, l->code);
    const int to_code = distance(name, own);
    own[3] = '\0';
    return min3(to_name, to_code, distance(name, own));
}

static int fail_unknown(const tag *t, const char *name)
{
    char text[TEXT_BYTES] = "";
    const int len = (int)strlen(t->whole);
    const int limit = len <= 4 ? 1 : len / 3;
    int far[DGM_N_LANGS], found = 0;
    for (int i = 0; i < DGM_N_LANGS; i++)
        far[i] = how_far(&dgm_lang_rows[i], t->whole);
    for (int d = 0; d <= limit && found == 0; d++)
        for (int i = 0; i < DGM_N_LANGS && found < N_NEAR; i++)
            if (far[i] == d) {
                append(text, sizeof text, &dgm_lang_rows[i]);
                found++;
            }
    return dgm_fail(DGM_EUSAGE, "language '%.40s' is unknown%s%s ('dragoman languages' lists all)",
                    name, found > 0 ? "; near it: " : "", text);
}

/* The languages that t means, by the strongest way that finds any: how many, the last, all as text. */
static int find(const dgm_lang **last, enum way *way, char *text, size_t size, const tag *t)
{
    int n = 0;
    for (int w = 0; w < N_WAYS && n == 0; w++) {
        *way = (enum way)w;
        n = collect(last, text, size, t, *way);
    }
    return n;
}

int dgm_lang_resolve(const char **code, const char *name)
{
    tag t;
    const dgm_lang *l = dgm_lang_find(name);
    enum way way;
    char text[TEXT_BYTES];
    if (l != NULL) { /* spelt as it is */
        *code = l->code;
        return DGM_OK;
    }
    parse(&t, name);
    const int n = find(&l, &way, text, sizeof text, &t);
    if (n == 0)
        return fail_unknown(&t, name);
    if (way == BY_LANGUAGE)
        return dgm_fail(DGM_EUSAGE, "language '%s' is known, but not in that script: %s", name,
                        text);
    if (n > 1)
        return dgm_fail(DGM_EUSAGE, "language '%s' fits several: %s; name one of them", name, text);
    *code = l->code;
    return DGM_OK;
}

static void append_alias(char *text, size_t size, const char *alias, const dgm_lang *l)
{
    tag t;
    parse(&t, alias);
    const dgm_lang *last = NULL;
    enum way way;
    char choices[TEXT_BYTES];
    if (alias[0] == '\0' || find(&last, &way, choices, sizeof choices, &t) != 1 || last != l)
        return;
    const size_t used = strlen(text);
    (void)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : " ", alias);
}

void dgm_lang_aliases(char *text, size_t size, const char *code)
{
    text[0] = '\0';
    const dgm_lang *l = dgm_lang_find(code);
    if (l == NULL)
        return;
    char iso3[4] = {code[0], code[1], code[2], '\0'};
    append_alias(text, size, l->iso1, l);
    append_alias(text, size, iso3, l);
    for (int i = 0; i < dgm_lang_n_aliases; i++)
        if (strcmp(dgm_lang_alias_rows[i].code, code) == 0)
            append_alias(text, size, dgm_lang_alias_rows[i].alias, l);
}
