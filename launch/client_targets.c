#include "launch/client_targets.h"

#include "runtime/lang.h"

#include <stdlib.h>
#include <string.h>

static bool listed(const dgm_wire_welcome *w, const char *code)
{
    for (size_t i = 0; i < w->n_targets; i++)
        if (strcmp(w->targets[i], code) == 0)
            return true;
    return false;
}

/* code_of - as the outputs are to call it. */
static const char *code_of(const dgm_wire_welcome *w, const char *name)
{
    const char *code;
    if (!listed(w, name) && dgm_lang_resolve(&code, name) == DGM_OK && listed(w, code))
        return code;
    return name;
}

static int add(dgm_client_targets *t, const dgm_wire_welcome *w, const char *name)
{
    if (name[0] == '\0')
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want language codes between commas, found none");
    if (t->n == DGM_STREAM_MAX_TARGETS)
        return dgm_fail(DGM_EUSAGE, "--tgt-lang: want at most %d languages, found more",
                        DGM_STREAM_MAX_TARGETS);
    const char *lang = code_of(w, name);
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->at[i].lang, lang) == 0)
            return dgm_fail(DGM_EUSAGE, "--tgt-lang: %s is there twice", lang);
    t->at[t->n++] = (dgm_stream_target){.lang = lang};
    return DGM_OK;
}

int dgm_client_targets_open(dgm_client_targets *t, const char *list, const dgm_wire_welcome *w)
{
    *t = (dgm_client_targets){.list = strdup(list)};
    if (t->list == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for the languages");
    for (char *name = t->list, *comma; name != NULL; name = comma) {
        comma = strchr(name, ',');
        if (comma != NULL)
            *comma++ = '\0';
        DGM_TRY(add(t, w, name));
    }
    return DGM_OK;
}

void dgm_client_targets_close(dgm_client_targets *t)
{
    free(t->list);
    *t = (dgm_client_targets){0};
}
