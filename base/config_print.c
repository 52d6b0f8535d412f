/* What the table tells people: help, values with their origin, the reference in Markdown. */
#include "base/config_internal.h"

#include <ctype.h>
#include <string.h>

enum { HELP_WIDTH = 100, HELP_INDENT = 31 };

/* print_wrapped - `text` from column `col` on, later lines indented by `indent`. */
static void print_wrapped(FILE *f, const char *text, int col, int indent)
{
    for (bool first = true; *text != '\0'; first = false) {
        const int len = (int)strcspn(text, " ");
        const int gap = first ? 0 : 1;
        if (!first && col + gap + len > HELP_WIDTH) {
            (void)fprintf(f, "\n%*s%.*s", indent, "", len, text);
            col = indent + len;
        } else {
            (void)fprintf(f, "%*s%.*s", gap, "", len, text);
            col += gap + len;
        }
        text += len + (text[len] == ' ');
    }
    (void)fputc('\n', f);
}

/* describe_limits - "1 to 128, default 4". Numbers that say "no limit" are left out. */
static void describe_limits(char *buf, size_t size, const dgm_opt *o)
{
    const char *preset = o->preset[0] == '\0' ? NULL : o->preset;
    buf[0] = '\0';
    if (o->type == DGM_OPT_BOOL)
        return;
    if (o->type == DGM_OPT_CHOICE)
        (void)snprintf(buf, size, " (%s; default %s)", o->choices, o->preset);
    else if (o->type == DGM_OPT_INT && o->max < 2e9)
        (void)snprintf(buf, size, " (%.0f to %.0f; default %s)", o->min, o->max, o->preset);
    else if (o->type == DGM_OPT_FLOAT)
        (void)snprintf(buf, size, " (%g to %g; default %s)", o->min, o->max, o->preset);
    else if (preset != NULL)
        (void)snprintf(buf, size, " (default %s)", preset);
}

static void print_row(FILE *f, const dgm_opt *o)
{
    char head[128], limits[128], text[1024];
    const char letter[] = {'-', o->letter, ',', ' ', '\0'};
    int col = snprintf(head, sizeof head, "  %s--%s%s%s", o->letter != 0 ? letter : "    ", o->key,
                       o->type == DGM_OPT_BOOL ? "" : " ", o->type == DGM_OPT_BOOL ? "" : o->unit);
    (void)fputs(head, f);
    if (col + 2 > HELP_INDENT) {
        (void)fputc('\n', f);
        col = 0;
    }
    (void)fprintf(f, "%*s", HELP_INDENT - col, "");
    describe_limits(limits, sizeof limits, o);
    (void)snprintf(text, sizeof text, "%s%s", o->help, limits);
    print_wrapped(f, text, HELP_INDENT, HELP_INDENT);
}

void dgm_config_print_help(FILE *f, const dgm_config *c, int command)
{
    const char *group = NULL;
    for (int i = 0; i < c->n_rows; i++) {
        const dgm_opt *o = &c->rows[i];
        if ((o->commands >> command & 1) == 0)
            continue;
        if (group == NULL || strcmp(group, o->group) != 0)
            (void)fprintf(f, "\n%s:\n", o->group);
        group = o->group;
        print_row(f, o);
    }
}

void dgm_config_print_values(FILE *f, const dgm_config *c, int command)
{
    static const char *const origins[] = {"default", "file", "environment", "flag"};
    char buf[64];
    for (int i = 0; i < c->n_rows; i++) {
        const dgm_opt *o = &c->rows[i];
        if ((o->commands >> command & 1) == 0 || (o->flags & DGM_OPT_NOT_IN_FILE) != 0)
            continue;
        const dgm_config_value *v = &c->values[i];
        const bool list = (o->flags & DGM_OPT_LIST) != 0 && v->n_list > 1;
        for (int k = 0; k < (list ? v->n_list : 1); k++) { /* several: a line each */
            const char *value = list ? v->list[k] : dgm_config_text(c, o, buf, sizeof buf);
            /* behind a space # would begin a comment */
            const int n = fprintf(f, "%s =%s%s", o->key, value[0] == '#' ? "" : " ", value);
            (void)fprintf(f, "%*s# %s\n", n < 40 ? 40 - n : 1, "", origins[v->origin]);
        }
    }
}

/* print_cell - text that stands in a table: a `|` would end the cell, in code too. */
static void print_cell(FILE *f, const char *text)
{
    for (; *text != '\0'; text++)
        (void)fprintf(f, *text == '|' ? "\\|" : "%c", *text);
}

static void print_markdown_row(FILE *f, const dgm_config *c, const dgm_opt *o)
{
    char limits[128];
    describe_limits(limits, sizeof limits, o);
    (void)fprintf(f, "| `--%s`", o->key);
    if (o->letter != 0)
        (void)fprintf(f, ", `-%c`", o->letter);
    if (o->type != DGM_OPT_BOOL) {
        (void)fprintf(f, " `");
        print_cell(f, o->unit);
        (void)fprintf(f, "`");
    }
    (void)fprintf(f, " | ");
    for (int i = 0, n = 0; i < c->n_commands; i++) {
        if ((o->commands >> i & 1) != 0)
            (void)fprintf(f, "%s%s", n++ > 0 ? ", " : "", c->commands[i]);
    }
    (void)fprintf(f, " | ");
    print_cell(f, o->help);
    print_cell(f, limits);
    if (o->risk != NULL) {
        (void)fprintf(f, ". ");
        print_cell(f, o->risk);
    }
    (void)fprintf(f, " |\n");
}

void dgm_config_print_markdown(FILE *f, const dgm_config *c)
{
    const char *group = NULL;
    for (int i = 0; i < c->n_rows; i++) {
        const dgm_opt *o = &c->rows[i];
        if (group == NULL || strcmp(group, o->group) != 0)
            (void)fprintf(f,
                          "\n## %s\n\n| option | commands | what it does |\n| --- | --- | --- |\n",
                          o->group);
        group = o->group;
        print_markdown_row(f, c, o);
    }
}
