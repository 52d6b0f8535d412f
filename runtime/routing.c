#include "runtime/routing.h"

#include "runtime/config_json.h"
#include "runtime/config_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TASKS = 65536 };
static const char *const kinds[] = {"token", "sentence", "task", "static"};

const char *dgm_routing_name(enum dgm_routing r)
{
    return kinds[r];
}

static int read_kind(enum dgm_routing *out, const dgm_json *j, const char *stack)
{
    char key[32];
    const char *name = kinds[0];
    (void)snprintf(key, sizeof key, "%s_routing", stack);
    DGM_TRY(dgm_json_string(&name, j, key));
    for (int i = 0; i < 4; i++)
        if (strcmp(name, kinds[i]) == 0) {
            *out = (enum dgm_routing)i;
            return DGM_OK;
        }
    return dgm_fail(DGM_EMODEL, "%s: %s: wanted token, sentence, task or static, found %s", j->path,
                    key, dgm_printable(name));
}

int dgm_routing_kinds(dgm_model_config *c, const dgm_json *j)
{
    const char *of = "target";
    for (int s = 0; s < DGM_STACKS; s++)
        DGM_TRY(read_kind(&c->routing[s], j, dgm_stack_names[s]));
    DGM_TRY(dgm_json_bool(&c->routing_gates, j, "routing_gates"));
    if (c->routing_gates && c->routing[DGM_ENCODER] != DGM_BY_HAND &&
        c->routing[DGM_DECODER] != DGM_BY_HAND)
        return dgm_fail(DGM_EMODEL,
                        "%s: routing_gates: wanted static encoder_routing or "
                        "decoder_routing with it, found neither",
                        j->path);
    if (!dgm_routing_by_task(c->routing[DGM_ENCODER]) &&
        !dgm_routing_by_task(c->routing[DGM_DECODER]))
        return DGM_OK;
    DGM_TRY(dgm_json_string(&of, j, "routing_task"));
    if (strcmp(of, "target") != 0 && strcmp(of, "pair") != 0)
        return dgm_fail(DGM_EMODEL, "%s: routing_task: wanted target or pair, found %s", j->path,
                        dgm_printable(of));
    c->routing_pairs = strcmp(of, "pair") == 0;
    const json_t *list = json_object_get(j->root, "routing_tasks");
    const size_t n = json_array_size(list); /* 0 for anything else */
    if (json_is_array(list) && (n < 1 || n > MAX_TASKS))
        return dgm_fail(DGM_EMODEL, "%s: routing_tasks: wanted a list of 1 to %d tasks, found %zu",
                        j->path, MAX_TASKS, n);
    if (n < 1)
        return dgm_fail(DGM_EMODEL, "%s: routing_tasks: wanted a list of 1 to %d tasks, found %s",
                        j->path, MAX_TASKS, list == NULL ? "none" : "another value");
    c->n_tasks = (int)n;
    return DGM_OK;
}

/* A code, or with pairs two with a hyphen between them. */
static bool is_task(const char *name, bool pairs)
{
    const char *hyphen = strchr(name, '-');
    if (strlen(name) >= DGM_TASK_NAME || dgm_printable(name) != name || (hyphen != NULL) != pairs)
        return false;
    return !pairs ? name[0] != '\0'
                  : hyphen > name && hyphen[1] != '\0' && strchr(hyphen + 1, '-') == NULL;
}

static int find(const dgm_tasks *t, const char *name, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(t->name[i], name) == 0)
            return i;
    return -1;
}

static int read_names(dgm_tasks *t, const dgm_json *j)
{
    const json_t *list = json_object_get(j->root, "routing_tasks");
    for (int i = 0; i < t->n; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        if (name == NULL || !is_task(name, t->pairs))
            return dgm_fail(DGM_EMODEL, "%s: routing_tasks: wanted %s, found %s", j->path,
                            t->pairs ? "directions such as eng_Latn-deu_Latn"
                                     : "codes such as deu_Latn",
                            name == NULL ? "another value" : dgm_printable(name));
        if (find(t, name, i) >= 0)
            return dgm_fail(DGM_EMODEL, "%s: routing_tasks: wanted each task once, found %s twice",
                            j->path, name);
        (void)snprintf(t->name[i], DGM_TASK_NAME, "%s", name);
    }
    return DGM_OK;
}

/* The experts of one layer: a list of one or two. */
static int read_experts(int16_t out[2], const json_t *list, int n_experts)
{
    const size_t n = json_array_size(list);
    out[0] = out[1] = -1;
    if (n < 1 || n > 2)
        return DGM_EMODEL;
    for (size_t i = 0; i < n; i++) {
        const double e = json_is_number(json_array_get(list, i))
                             ? json_number_value(json_array_get(list, i))
                             : -1;
        if (!(e >= 0 && e < n_experts) || e != (int)e)
            return DGM_EMODEL;
        out[i] = (int16_t)e;
    }
    return out[0] == out[1] ? DGM_EMODEL : DGM_OK;
}

static int read_by_hand(dgm_tasks *t, const dgm_model_config *c, const dgm_json *j, int stack)
{
    const json_t *tables =
        json_object_get(json_object_get(j->root, "routing_static"), dgm_stack_names[stack]);
    const size_t layers = (size_t)t->n_layers[stack];
    t->by_hand[stack] = calloc((size_t)t->n * layers + 1, sizeof *t->by_hand[stack]);
    if (t->by_hand[stack] == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d tasks", t->n);
    for (int i = 0; i < t->n; i++) {
        const json_t *table = json_object_get(tables, t->name[i]);
        if (json_array_size(table) != layers)
            return dgm_fail(
                DGM_EMODEL, "%s: routing_static.%s: wanted %zu lists of experts for %s, found %zu",
                j->path, dgm_stack_names[stack], layers, t->name[i], json_array_size(table));
        for (size_t l = 0; l < layers; l++)
            if (read_experts(t->by_hand[stack][(size_t)i * layers + l], json_array_get(table, l),
                             c->n_experts[stack]) != DGM_OK)
                return dgm_fail(
                    DGM_EMODEL,
                    "%s: routing_static.%s.%s: wanted one or two different experts below %d for "
                    "each layer, found another list",
                    j->path, dgm_stack_names[stack], t->name[i], c->n_experts[stack]);
    }
    return DGM_OK;
}

int dgm_tasks_read(dgm_tasks *t, const dgm_model_config *c, const int *moe_layers,
                   const dgm_json *j)
{
    *t = (dgm_tasks){.n = c->n_tasks, .pairs = c->routing_pairs};
    if (t->n == 0)
        return DGM_OK;
    t->name = calloc((size_t)t->n, sizeof *t->name);
    if (t->name == NULL)
        return dgm_fail(DGM_ENOMEM, "out of memory for %d tasks", t->n);
    int rc = read_names(t, j);
    for (int s = 0; rc == DGM_OK && s < DGM_STACKS; s++) {
        t->n_layers[s] = moe_layers[s];
        if (c->routing[s] == DGM_BY_HAND)
            rc = read_by_hand(t, c, j, s);
    }
    if (rc != DGM_OK)
        dgm_tasks_fini(t);
    return rc;
}

void dgm_tasks_fini(dgm_tasks *t)
{
    free(t->name);
    for (int s = 0; s < DGM_STACKS; s++)
        free(t->by_hand[s]);
    *t = (dgm_tasks){0};
}

bool dgm_tasks_use(const dgm_tasks *t, int stack, int layer, int expert)
{
    for (int i = 0; i < t->n; i++) {
        const int16_t *pair = t->by_hand[stack][i * t->n_layers[stack] + layer];
        if (pair[0] == expert || pair[1] == expert)
            return true;
    }
    return false;
}

/* The tasks for a sentence, as many as fit. */
static const char *list_tasks(char *out, size_t size, const dgm_tasks *t)
{
    size_t used = 0;
    for (int i = 0; i < t->n && used < size; i++) {
        const bool last = used + 2 * DGM_TASK_NAME > size;
        used += (size_t)snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 last ? "..." : t->name[i]);
        if (last)
            break;
    }
    return out;
}

int dgm_tasks_find(int *task, const dgm_tasks *t, const char *source, const char *target)
{
    char name[2 * DGM_TASK_NAME], known[400];
    *task = 0;
    if (t->n == 0)
        return DGM_OK;
    if (t->pairs)
        (void)snprintf(name, sizeof name, "%s-%s", source, target);
    else
        (void)snprintf(name, sizeof name, "%s", target);
    *task = find(t, name, t->n);
    return *task >= 0 ? DGM_OK
                      : dgm_fail(DGM_EUSAGE, "%s: the model has no such task: wanted one of %s",
                                 name, list_tasks(known, sizeof known, t));
}
