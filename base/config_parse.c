/* Where values come from: flags, environment, configuration files. */
#include "base/config_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 64, MAX_LINE = 4096, MAX_ROWS = 128 };

/* distance - edits (insert, delete, replace, swap neighbours) between two words of fewer than MAX_KEY bytes. */
static int distance(const char *a, const char *b)
{
    const int n = (int)strlen(a), m = (int)strlen(b);
    int d[3][MAX_KEY + 1];
    if (n >= MAX_KEY || m >= MAX_KEY)
        return MAX_KEY;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

/* unlike - how far `name` is from what was written; 0 is the same, FAR and more is something else. */
enum { PREFIX = 1000, INSIDE = 2000, FAR = 3000 };

static int unlike(const char *word, const char *name)
{
    const int len = (int)strlen(word), d = distance(word, name);
    /* A third of the letters may be wrong: "batch-token" is near batch-tokens, "xyz" near nothing. */
    if (d <= (len / 3 < 1 ? 1 : len / 3))
        return d;
    if (len >= 3 && strncmp(name, word, (size_t)len) == 0)
        return PREFIX;
    return len >= 4 && strstr(name, word) != NULL ? INSIDE : FAR;
}

const char *dgm_near_name(const char *word, const char *const *names, int n)
{
    const char *best = NULL;
    int least = FAR;
    for (int i = 0; i < n; i++) {
        const int u = unlike(word, names[i]);
        if (u < least) {
            best = names[i];
            least = u;
        }
    }
    return best;
}

/* fail_unknown - `what` is how the user wrote it, `key` the key in it; `dash` is "--" or "". */
static int fail_unknown(const dgm_config *c, unsigned commands, const char *what, const char *key,
                        const char *dash)
{
    const char *names[MAX_ROWS];
    int n = 0;
    for (int i = 0; i < c->n_rows && n < MAX_ROWS; i++) {
        if ((c->rows[i].commands & commands) != 0)
            names[n++] = c->rows[i].key;
    }
    const char *near = dgm_near_name(key, names, n);
    if (near == NULL)
        return dgm_fail(DGM_EUSAGE, "%s: no such option", what);
    return dgm_fail(DGM_EUSAGE, "%s: no such option; did you mean %s%s?", what, dash, near);
}

/* fail_other_command - the option exists, but not for this command. */
static int fail_other_command(const dgm_config *c, int command, int row)
{
    char takers[256] = "";
    for (int i = 0; i < c->n_commands; i++) {
        if ((c->rows[row].commands >> i & 1) != 0) {
            const size_t n = strlen(takers);
            (void)snprintf(takers + n, sizeof takers - n, "%s%s", n > 0 ? ", " : "",
                           c->commands[i]);
        }
    }
    return dgm_fail(DGM_EUSAGE, "--%s: not an option of %s, but of %s", c->rows[row].key,
                    c->commands[command], takers);
}

typedef struct words {
    int argc, at;
    char *const *argv;
} words;

/* take_switch - what follows --x of a switch: "=v", or the next word when that is true or false. */
static const char *take_switch(words *w, const char *attached, bool negated)
{
    if (negated)
        return "false";
    if (attached != NULL)
        return attached;
    const char *next = w->at < w->argc ? w->argv[w->at] : "";
    if (strcmp(next, "true") == 0 || strcmp(next, "false") == 0)
        return w->argv[w->at++];
    return "true";
}

static int set_flag(dgm_config *c, int row, words *w, const char *attached, bool negated,
                    const char *shown)
{
    const dgm_opt *o = &c->rows[row];
    const char *value = attached;
    if (negated && attached != NULL)
        return dgm_fail(DGM_EUSAGE, "%s: takes no value, found '%s'", shown, attached);
    if (o->type == DGM_OPT_BOOL)
        value = take_switch(w, attached, negated);
    /* Only what looks like another option is refused: "-1" and "-" are values. */
    if (value == NULL) {
        const char *next = w->at < w->argc ? w->argv[w->at] : NULL;
        if (next == NULL || (next[0] == '-' && (next[1] == '-' || isalpha((unsigned char)next[1]))))
            return dgm_fail(DGM_EUSAGE, "%s: want a value (%s) after it, found %s", shown, o->unit,
                            next == NULL ? "nothing" : next);
        value = w->argv[w->at++];
    }
    return dgm_config_set(c, row, value, DGM_FROM_FLAG, shown);
}

static int long_flag(dgm_config *c, int command, words *w, const char *word)
{
    char key[MAX_KEY], shown[MAX_KEY + 8];
    const char *eq = strchr(word, '=');
    const size_t len = eq == NULL ? strlen(word) : (size_t)(eq - word);
    if (len >= sizeof key)
        return dgm_fail(DGM_EUSAGE, "--%.20s...: no such option", word);
    memcpy(key, word, len);
    key[len] = '\0';
    (void)snprintf(shown, sizeof shown, "--%s", key);
    bool negated = false;
    int row = dgm_config_find(c, key);
    if (row < 0 && strncmp(key, "no-", 3) == 0) {
        row = dgm_config_find(c, key + 3);
        negated = row >= 0 && c->rows[row].type == DGM_OPT_BOOL;
        row = negated ? row : -1;
    }
    if (row < 0)
        return fail_unknown(c, 1u << command, shown, key, "--");
    if ((c->rows[row].commands >> command & 1) == 0)
        return fail_other_command(c, command, row);
    return set_flag(c, row, w, eq == NULL ? NULL : eq + 1, negated, shown);
}

static int short_flag(dgm_config *c, int command, words *w, const char *word)
{
    /* A letter may mean different options to different commands (-n). */
    int row = -1;
    for (int i = 0; i < c->n_rows; i++) {
        if (c->rows[i].letter == word[0] && (c->rows[i].commands >> command & 1) != 0)
            row = i;
    }
    const char shown[] = {'-', word[0], '\0'};
    if (row < 0)
        return dgm_fail(DGM_EUSAGE, "-%s: no such option of %s", word, c->commands[command]);
    if (c->rows[row].type == DGM_OPT_BOOL && word[1] != '\0')
        return dgm_fail(DGM_EUSAGE, "-%s: no such option of %s", word, c->commands[command]);
    return set_flag(c, row, w, word[1] == '\0' ? NULL : word + 1, false, shown);
}

int dgm_config_flags(dgm_config *c, int command, int argc, char *const *argv)
{
    words w = {argc, 0, argv};
    c->command = command;
    free(c->args);
    c->n_args = 0;
    c->args = calloc((size_t)argc + 1, sizeof c->args[0]);
    if (c->args == NULL)
        return dgm_fail(DGM_ENOMEM, "options: no memory");
    bool all_positional = false;
    while (w.at < w.argc) {
        const char *word = w.argv[w.at++];
        if (all_positional || word[0] != '-' || word[1] == '\0')
            c->args[c->n_args++] = word;
        else if (strcmp(word, "--") == 0)
            all_positional = true;
        else if (word[1] == '-')
            DGM_TRY(long_flag(c, command, &w, word + 2));
        else
            DGM_TRY(short_flag(c, command, &w, word + 1));
    }
    return DGM_OK;
}

int dgm_config_environment(dgm_config *c, int command, char *const *env)
{
    c->command = command;
    for (; *env != NULL; env++) {
        char key[MAX_KEY], shown[MAX_KEY + 8];
        const char *eq = strchr(*env, '=');
        if (strncmp(*env, "DGM_", 4) != 0 || eq == NULL || eq[1] == '\0' ||
            eq - *env - 4 >= MAX_KEY)
            continue;
        const size_t len = (size_t)(eq - *env) - 4;
        for (size_t i = 0; i < len; i++)
            key[i] = (*env)[4 + i] == '_' ? '-' : (char)tolower((unsigned char)(*env)[4 + i]);
        key[len] = '\0';
        (void)snprintf(shown, sizeof shown, "DGM_%.*s", (int)len, *env + 4);
        const int row = dgm_config_find(c, key);
        if (row >= 0 && (c->rows[row].commands >> command & 1) != 0)
            DGM_TRY(dgm_config_set(c, row, eq + 1, DGM_FROM_ENVIRONMENT, shown));
    }
    return DGM_OK;
}

static char *trim(char *s)
{
    while (isspace((unsigned char)*s))
        s++;
    size_t n = strlen(s);
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        s[--n] = '\0';
    return s;
}

/* cut_comment - '#' begins a comment at the start of a line or after white space. */
static void cut_comment(char *line)
{
    for (char *p = line; *p != '\0'; p++) {
        if (*p == '#' && (p == line || isspace((unsigned char)p[-1]))) {
            *p = '\0';
            return;
        }
    }
}

/* find_in_file - of two rows of one key the one that may stand in a file. */
static int find_in_file(const dgm_config *c, const char *key)
{
    const int row = dgm_config_find(c, key);
    if (row < 0 || (c->rows[row].flags & DGM_OPT_NOT_IN_FILE) == 0)
        return row;
    for (int i = 0; i < c->n_rows; i++) {
        if (strcmp(c->rows[i].key, key) == 0 && (c->rows[i].flags & DGM_OPT_NOT_IN_FILE) == 0)
            return i;
    }
    return row;
}

static int file_line(dgm_config *c, char *line, const char *where, bool *seen)
{
    char shown[2 * MAX_LINE];
    cut_comment(line);
    line = trim(line);
    if (*line == '\0')
        return DGM_OK;
    char *eq = strchr(line, '=');
    if (eq == NULL)
        return dgm_fail(DGM_EUSAGE, "%s: want 'key = value', found '%s'", where, line);
    *eq = '\0';
    char *key = trim(line), *value = trim(eq + 1);
    (void)snprintf(shown, sizeof shown, "%s: %s", where, key);
    for (char *p = key; *p != '\0'; p++)
        *p = *p == '_' || *p == '.' ? '-' : *p;
    const int row = find_in_file(c, key);
    if (row < 0)
        return fail_unknown(c, ~0u, shown, key, "");
    if ((c->rows[row].flags & DGM_OPT_NOT_IN_FILE) != 0)
        return dgm_fail(DGM_EUSAGE, "%s: only a flag, not a key of a file", shown);
    if (seen[row] && (c->rows[row].flags & DGM_OPT_LIST) == 0)
        return dgm_fail(DGM_EUSAGE, "%s: given twice in this file", shown);
    seen[row] = true;
    return dgm_config_set(c, row, value, DGM_FROM_FILE, shown);
}

static int file_lines(dgm_config *c, FILE *f, const char *path, bool *seen)
{
    char line[MAX_LINE], where[MAX_LINE];
    for (int number = 1; fgets(line, sizeof line, f) != NULL; number++) {
        (void)snprintf(where, sizeof where, "%s line %d", path, number);
        if (strchr(line, '\n') == NULL && !feof(f) && strlen(line) < sizeof line - 1)
            return dgm_fail(DGM_EUSAGE, "%s: want text, found a NUL", where);
        if (strchr(line, '\n') == NULL && !feof(f))
            return dgm_fail(DGM_EUSAGE, "%s: want at most %d bytes, found more", where,
                            MAX_LINE - 2);
        const bool mark = number == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0; /* some editors */
        DGM_TRY(file_line(c, line + (mark ? 3 : 0), where, seen));
    }
    if (ferror(f))
        return dgm_fail(DGM_EUSAGE, "configuration file %s: cannot be read: %s", path,
                        strerror(errno));
    return DGM_OK;
}

int dgm_config_file(dgm_config *c, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return dgm_fail(DGM_EUSAGE, "configuration file %s: %s", path, strerror(errno));
    bool *seen = calloc((size_t)c->n_rows, sizeof *seen);
    const int rc =
        seen == NULL ? dgm_fail(DGM_ENOMEM, "options: no memory") : file_lines(c, f, path, seen);
    free(seen);
    (void)fclose(f);
    return rc;
}
