/* languages: codes, English names and aliases; with -m those that the model has, added ones included. */
#include "launch/commands.h"
#include "runtime/lang.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <string.h>

enum { ALIAS_BYTES = 256 };

/* Columns that text takes on a terminal: the names have no wide and no combining characters. */
static int width(const char *s)
{
    int n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static void print_padded(const char *s, int columns)
{
    (void)printf("%s%*s  ", s, columns - width(s), "");
}

/* As JSON: an added code comes from a file and may hold anything. */
static void print_string(const char *s)
{
    (void)putchar('"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            (void)printf("\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            (void)printf("\\u%04x", *s);
        else
            (void)putchar(*s);
    }
    (void)putchar('"');
}

/* id < 0: no model was named. */
static void print_json(const char *code, const char *name, const char *aliases, int id, bool first)
{
    (void)printf("%s\n  {\"code\": ", first ? "" : ",");
    print_string(code);
    (void)printf(", \"name\": ");
    print_string(name);
    if (id >= 0)
        (void)printf(", \"id\": %d", id);
    (void)printf(", \"aliases\": [");
    char words[ALIAS_BYTES];
    (void)snprintf(words, sizeof words, "%s", aliases);
    char *rest = NULL;
    for (char *w = strtok_r(words, " ", &rest), *sep = ""; w != NULL;
         w = strtok_r(NULL, " ", &rest), sep = ", ") {
        (void)fputs(sep, stdout);
        print_string(w);
    }
    (void)printf("]}");
}

typedef struct row {
    const char *code, *name;
    int id; /* in the model, -1 without one */
} row;

static row get_row(const dgm_tokenizer *t, int i)
{
    int n;
    if (t == NULL) {
        const dgm_lang *l = &dgm_langs(&n)[i];
        return (row){l->code, l->name, -1};
    }
    const dgm_lang *l = dgm_lang_find(dgm_tok_lang_code(t, i));
    return (row){dgm_tok_lang_code(t, i), l == NULL ? "(added to this model)" : l->name,
                 dgm_tok_lang_id(t, i)};
}

static void print_all(const dgm_tokenizer *t, bool json)
{
    int n, code_columns = 0, name_columns = 0;
    (void)dgm_langs(&n);
    n = t == NULL ? n : dgm_tok_n_langs(t);
    for (int i = 0; i < n; i++) {
        const row r = get_row(t, i);
        code_columns = width(r.code) > code_columns ? width(r.code) : code_columns;
        name_columns = width(r.name) > name_columns ? width(r.name) : name_columns;
    }
    if (json)
        (void)printf("[");
    for (int i = 0; i < n; i++) {
        const row r = get_row(t, i);
        char aliases[ALIAS_BYTES];
        dgm_lang_aliases(aliases, sizeof aliases, r.code);
        if (json) {
            print_json(r.code, r.name, aliases, r.id, i == 0);
            continue;
        }
        print_padded(r.code, code_columns);
        if (aliases[0] == '\0')
            (void)printf("%s\n", r.name);
        else {
            print_padded(r.name, name_columns);
            (void)printf("%s\n", aliases);
        }
    }
    if (json)
        (void)printf("\n]\n");
}

int dgm_cmd_languages(const dgm_options *o)
{
    dgm_tokenizer *t = NULL;
    dgm_model_config cfg;
    const int rc = o->model[0] == '\0' ? DGM_OK : dgm_tokenizer_open_dir(&t, &cfg, o->model);
    if (rc != DGM_OK)
        return dgm_command_end(rc);
    print_all(t, o->json);
    dgm_tokenizer_close(t);
    return 0;
}
