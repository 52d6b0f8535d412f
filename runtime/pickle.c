#include "runtime/pickle.h"

#include "runtime/config_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 256 };

enum kind { NOTHING, NUMBER, TEXT, GLOBAL, TUPLE, DICT, STORAGE, TENSOR };

static const char *const kind_names[] = {"None",    "a number",     "a text",    "a global",
                                         "a tuple", "a dictionary", "a storage", "a tensor"};

/* What may be named, and what calling it makes. A storage type is only ever named. */
static const struct global {
    const char *module, *name;
    enum kind makes;
    const char *type; /* storages: the safetensors name of what they hold */
} globals[] = {
    {"collections", "OrderedDict", DICT, NULL},
    {"torch._utils", "_rebuild_tensor_v2", TENSOR, NULL},
    {"torch", "FloatStorage", STORAGE, "F32"},
    {"torch", "HalfStorage", STORAGE, "F16"},
    {"torch", "BFloat16Storage", STORAGE, "BF16"},
    {"torch", "DoubleStorage", STORAGE, "F64"},
    {"torch", "LongStorage", STORAGE, "I64"},
    {"torch", "IntStorage", STORAGE, "I32"},
    {"torch", "ShortStorage", STORAGE, "I16"},
    {"torch", "CharStorage", STORAGE, "I8"},
    {"torch", "ByteStorage", STORAGE, "U8"},
    {"torch", "BoolStorage", STORAGE, "BOOL"},
};

/* Values refer to each other by number. A tuple's items lie together; storages and tensors are the tuples that
 * they were made of. Entries of all dictionaries stand in one list. */
typedef struct value {
    enum kind kind;
    uint32_t first, n; /* TUPLE, STORAGE, TENSOR: items first .. first + n */
    union {
        int64_t number;   /* NUMBER; GLOBAL: its row */
        const char *text; /* TEXT [n], inside the pickle */
    };
} value;

typedef struct entry {
    uint32_t dict, key, value;
} entry;

typedef struct list {
    void *at;
    size_t n, cap;
} list;

typedef struct machine {
    const char *path;
    const unsigned char *at, *end;
    list values, entries;    /* value, entry */
    list items, stack, memo; /* u32: numbers of values */
    list marks;              /* u32: heights of the stack */
} machine;

#define VALUE(m, i) (&((value *)(m)->values.at)[i])
#define U32(l, i) (((uint32_t *)(l).at)[i])

/* ---- memory ---- */

static int list_push(list *l, const void *item, size_t size)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap == 0 ? 256 : 2 * l->cap;
        void *grown = realloc(l->at, cap * size);
        if (grown == NULL)
            return dgm_fail(DGM_ENOMEM, "cannot allocate %zu values of a pickle", cap);
        l->at = grown;
        l->cap = cap;
    }
    memcpy((char *)l->at + l->n++ * size, item, size);
    return DGM_OK;
}

static int push_number(list *l, size_t n)
{
    const uint32_t x = (uint32_t)n;
    return list_push(l, &x, sizeof x);
}

static int push(machine *m, value v)
{
    DGM_TRY(list_push(&m->values, &v, sizeof v));
    return push_number(&m->stack, m->values.n - 1);
}

/* What lies on the stack above the last mark. */
static size_t height(const machine *m)
{
    return m->stack.n - (m->marks.n > 0 ? U32(m->marks, m->marks.n - 1) : 0);
}

static int pop(machine *m, uint32_t *out)
{
    if (height(m) == 0)
        return dgm_fail(DGM_EMODEL, "%s: wanted a value on the pickle's stack, found none",
                        m->path);
    *out = U32(m->stack, --m->stack.n);
    return DGM_OK;
}

static int pop_kind(machine *m, uint32_t *out, enum kind want)
{
    DGM_TRY(pop(m, out));
    if (VALUE(m, *out)->kind != want)
        return dgm_fail(DGM_EMODEL, "%s: wanted %s in the pickle, found %s", m->path,
                        kind_names[want], kind_names[VALUE(m, *out)->kind]);
    return DGM_OK;
}

/* ---- bytes ---- */

/* The next n bytes; NULL when there are fewer, with the sentence of DGM_EMODEL. */
static const unsigned char *take(machine *m, size_t n)
{
    if ((size_t)(m->end - m->at) < n) {
        (void)dgm_fail(DGM_EMODEL, "%s: wanted %zu bytes more of the pickle, found %zu", m->path, n,
                       (size_t)(m->end - m->at));
        return NULL;
    }
    m->at += n;
    return m->at - n;
}

static int take_unsigned(machine *m, uint64_t *out, size_t n)
{
    const unsigned char *b = take(m, n);
    if (b == NULL)
        return DGM_EMODEL;
    *out = 0;
    for (size_t i = n; i-- > 0;)
        *out = *out << 8 | b[i];
    return DGM_OK;
}

/* A number of n bytes; `sign`: two's complement. */
static int push_int(machine *m, size_t n, bool sign)
{
    uint64_t x = 0;
    DGM_TRY(take_unsigned(m, &x, n));
    if (sign && n > 0 && n < 8 && (x >> (8 * n - 1) & 1) != 0)
        x |= UINT64_MAX << (8 * n);
    return push(m, (value){.kind = NUMBER, .number = (int64_t)x});
}

static int push_long(machine *m)
{
    uint64_t n = 0;
    DGM_TRY(take_unsigned(m, &n, 1));
    if (n > 8)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted numbers of at most 8 bytes in the pickle, found %" PRIu64,
                        m->path, n);
    return push_int(m, (size_t)n, true);
}

static int push_text(machine *m)
{
    uint64_t n = 0;
    DGM_TRY(take_unsigned(m, &n, 4));
    const unsigned char *b = take(m, (size_t)n);
    if (b == NULL)
        return DGM_EMODEL;
    return push(m, (value){.kind = TEXT, .text = (const char *)b, .n = (uint32_t)n});
}

/* A name up to the end of its line, for a sentence if need be. */
static int take_line(machine *m, char *out, size_t size)
{
    size_t n = 0;
    while (m->at < m->end && *m->at != '\n' && n + 1 < size)
        out[n++] = (char)*m->at++;
    out[n] = '\0';
    if (m->at == m->end || *m->at != '\n')
        return dgm_fail(
            DGM_EMODEL,
            "%s: wanted names of globals of less than %zu bytes in the pickle, found another",
            m->path, size);
    m->at++;
    return DGM_OK;
}

static int push_global(machine *m)
{
    char module[64], name[64];
    DGM_TRY(take_line(m, module, sizeof module));
    DGM_TRY(take_line(m, name, sizeof name));
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++)
        if (strcmp(globals[i].module, module) == 0 && strcmp(globals[i].name, name) == 0)
            return push(m, (value){.kind = GLOBAL, .number = (int64_t)i});
    return dgm_fail(DGM_EMODEL,
                    "%s: wanted tensors by name, found the global %s %s (nothing was executed)",
                    m->path, dgm_printable(module), dgm_printable(name));
}

/* ---- opcodes ---- */

static int make_tuple(machine *m, size_t n)
{
    if (height(m) < n)
        return dgm_fail(DGM_EMODEL, "%s: wanted %zu values on the pickle's stack, found %zu",
                        m->path, n, height(m));
    const value v = {.kind = TUPLE, .first = (uint32_t)m->items.n, .n = (uint32_t)n};
    for (size_t i = m->stack.n - n; i < m->stack.n; i++)
        DGM_TRY(push_number(&m->items, U32(m->stack, i)));
    m->stack.n -= n;
    return push(m, v);
}

static int unmark(machine *m, size_t *n)
{
    if (m->marks.n == 0)
        return dgm_fail(DGM_EMODEL, "%s: wanted a mark on the pickle's stack, found none", m->path);
    *n = height(m);
    m->marks.n--;
    return DGM_OK;
}

/* The last 2 * pairs values become entries of the dictionary below them. */
static int set_items(machine *m, size_t n)
{
    if (n % 2 != 0 || height(m) < n + 1)
        return dgm_fail(
            DGM_EMODEL,
            "%s: wanted a dictionary, keys and values on the pickle's stack, found %zu values",
            m->path, n);
    const size_t first = m->stack.n - n;
    const uint32_t dict = U32(m->stack, first - 1);
    if (VALUE(m, dict)->kind != DICT)
        return dgm_fail(DGM_EMODEL, "%s: wanted a dictionary in the pickle, found %s", m->path,
                        kind_names[VALUE(m, dict)->kind]);
    for (size_t i = first; i < m->stack.n; i += 2) {
        const entry e = {dict, U32(m->stack, i), U32(m->stack, i + 1)};
        DGM_TRY(list_push(&m->entries, &e, sizeof e));
    }
    m->stack.n = first;
    return DGM_OK;
}

/* What a dictionary knows beside its entries: the versions of modules. */
static int build(machine *m)
{
    uint32_t state;
    DGM_TRY(pop_kind(m, &state, DICT));
    if (height(m) == 0 || VALUE(m, U32(m->stack, m->stack.n - 1))->kind != DICT)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted a dictionary in the pickle, found a state for something else",
                        m->path);
    return DGM_OK;
}

static int memo_put(machine *m, size_t bytes)
{
    uint64_t i = 0;
    DGM_TRY(take_unsigned(m, &i, bytes));
    if (height(m) == 0 || i != m->memo.n)
        return dgm_fail(DGM_EMODEL, "%s: wanted value %zu of the pickle's memo, found %" PRIu64,
                        m->path, m->memo.n, i);
    return push_number(&m->memo, U32(m->stack, m->stack.n - 1));
}

static int memo_get(machine *m, size_t bytes)
{
    uint64_t i = 0;
    DGM_TRY(take_unsigned(m, &i, bytes));
    if (i >= m->memo.n)
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted one of %zu values of the pickle's memo, found %" PRIu64,
                        m->path, m->memo.n, i);
    return push_number(&m->stack, U32(m->memo, i));
}

/* ---- storages and tensors ---- */

/* Item i of a tuple, which must be of that kind. */
static const value *item(const machine *m, const value *tuple, size_t i, enum kind kind)
{
    if (i >= tuple->n)
        return NULL;
    const value *v = VALUE(m, U32(m->items, tuple->first + i));
    return v->kind == kind ? v : NULL;
}

/* ("storage", type, key, device, elements) */
static int make_storage(machine *m)
{
    uint32_t of;
    DGM_TRY(pop_kind(m, &of, TUPLE));
    value v = *VALUE(m, of);
    const value *word = item(m, &v, 0, TEXT), *type = item(m, &v, 1, GLOBAL),
                *key = item(m, &v, 2, TEXT), *n = item(m, &v, 4, NUMBER);
    if (v.n != 5 || word == NULL || word->n != 7 || memcmp(word->text, "storage", 7) != 0 ||
        type == NULL || globals[type->number].makes != STORAGE || key == NULL ||
        key->n >= DGM_PICKLE_KEY || n == NULL || n->number < 0)
        return dgm_fail(
            DGM_EMODEL,
            "%s: wanted storages as torch.save writes them in the pickle, found another", m->path);
    v.kind = STORAGE;
    return push(m, v);
}

static bool all_sizes(const machine *m, const value *tuple)
{
    for (size_t i = 0; i < tuple->n; i++) {
        const value *v = item(m, tuple, i, NUMBER);
        if (v == NULL || v->number < 0)
            return false;
    }
    return true;
}

/* (storage, offset, sizes, strides, requires_grad, hooks[, metadata]) */
static int make_tensor(machine *m, value args)
{
    const value *offset = item(m, &args, 1, NUMBER), *dims = item(m, &args, 2, TUPLE),
                *strides = item(m, &args, 3, TUPLE);
    if (args.n < 6 || args.n > 7 || item(m, &args, 0, STORAGE) == NULL || offset == NULL ||
        offset->number < 0 || dims == NULL || strides == NULL || strides->n != dims->n ||
        !all_sizes(m, dims) || !all_sizes(m, strides))
        return dgm_fail(DGM_EMODEL,
                        "%s: wanted tensors as torch.save writes them in the pickle, found another",
                        m->path);
    args.kind = TENSOR;
    return push(m, args);
}

static int reduce(machine *m)
{
    uint32_t args, callee;
    DGM_TRY(pop_kind(m, &args, TUPLE));
    DGM_TRY(pop_kind(m, &callee, GLOBAL));
    const struct global *g = &globals[VALUE(m, callee)->number];
    if (g->makes == TENSOR)
        return make_tensor(m, *VALUE(m, args));
    if (g->makes == DICT && VALUE(m, args)->n == 0)
        return push(m, (value){.kind = DICT});
    return dgm_fail(
        DGM_EMODEL,
        "%s: wanted tensors by name, found a call of %s %s with %u arguments in the pickle",
        m->path, g->module, g->name, VALUE(m, args)->n);
}

/* ---- the program ---- */

static int do_push(machine *m, int op)
{
    switch (op) {
    case 'N': /* None */
        return push(m, (value){.kind = NOTHING});
    case 0x88: /* True */
    case 0x89: /* False */
        return push(m, (value){.kind = NUMBER, .number = op == 0x88});
    case 'K':
        return push_int(m, 1, false);
    case 'M':
        return push_int(m, 2, false);
    case 'J':
        return push_int(m, 4, true);
    case 0x8a:
        return push_long(m);
    case 'X':
        return push_text(m);
    case 'c':
        return push_global(m);
    case ')':
    case 0x85:
    case 0x86:
    case 0x87: /* tuples of 0, 1, 2, 3 */
        return make_tuple(m, op == ')' ? 0 : (size_t)(op - 0x84));
    case '}':
        return push(m, (value){.kind = DICT});
    default:
        return dgm_fail(
            DGM_EMODEL,
            "%s: wanted tensors by name, found opcode 0x%02x in the pickle (nothing was executed)",
            m->path, (unsigned)op);
    }
}

static int step(machine *m, int op)
{
    size_t n = 0;
    switch (op) {
    case '(':
        return push_number(&m->marks, m->stack.n);
    case 't':
        DGM_TRY(unmark(m, &n));
        return make_tuple(m, n);
    case 'u':
        DGM_TRY(unmark(m, &n));
        return set_items(m, n);
    case 's':
        return set_items(m, 2);
    case 'b':
        return build(m);
    case 'R':
        return reduce(m);
    case 'Q':
        return make_storage(m);
    case 'q':
        return memo_put(m, 1);
    case 'r':
        return memo_put(m, 4);
    case 'h':
        return memo_get(m, 1);
    case 'j':
        return memo_get(m, 4);
    default:
        return do_push(m, op);
    }
}

/* Runs to STOP; *root is the one value that is left. */
static int run(machine *m, uint32_t *root)
{
    uint64_t op = 0;
    DGM_TRY(take_unsigned(m, &op, 2));
    if (op != 0x0280)
        return dgm_fail(DGM_EMODEL, "%s: wanted a pickle of protocol 2, found another beginning",
                        m->path);
    for (;;) {
        DGM_TRY(take_unsigned(m, &op, 1));
        if (op == '.')
            break;
        DGM_TRY(step(m, (int)op));
    }
    if (m->marks.n != 0 || m->stack.n != 1 || m->at != m->end)
        return dgm_fail(DGM_EMODEL, "%s: wanted a pickle of one value, found %zu", m->path,
                        m->stack.n);
    return pop_kind(m, root, DICT);
}

/* ---- what it made ---- */

static int copy_name(char **out, const machine *m, const value *key)
{
    char name[MAX_NAME + 1] = "";
    if (key->kind == TEXT && key->n <= MAX_NAME)
        memcpy(name, key->text, key->n);
    if (key->kind != TEXT || key->n == 0 || strlen(name) != key->n || dgm_printable(name) != name)
        return dgm_fail(DGM_EMODEL, "%s: wanted tensor names of printable ASCII, found %s", m->path,
                        key->kind == TEXT ? dgm_printable(name) : kind_names[key->kind]);
    *out = strdup(name);
    return *out != NULL ? DGM_OK
                        : dgm_fail(DGM_ENOMEM, "%s: cannot allocate a tensor's name", m->path);
}

static int copy_tensor(dgm_pickled *out, const machine *m, const entry *e)
{
    const value *v = VALUE(m, e->value);
    DGM_TRY(copy_name(&out->name, m, VALUE(m, e->key)));
    if (v->kind != TENSOR)
        return dgm_fail(DGM_EMODEL, "%s: %s: wanted a tensor, found %s", m->path, out->name,
                        kind_names[v->kind]);
    const value *storage = item(m, v, 0, STORAGE), *dims = item(m, v, 2, TUPLE),
                *strides = item(m, v, 3, TUPLE);
    const value *key = item(m, storage, 2, TEXT);
    memcpy(out->storage, key->text, key->n);
    out->type = globals[item(m, storage, 1, GLOBAL)->number].type;
    out->storage_elements = (uint64_t)item(m, storage, 4, NUMBER)->number;
    out->offset = (uint64_t)item(m, v, 1, NUMBER)->number;
    if (dims->n > DGM_TENSOR_DIMS)
        return dgm_fail(DGM_EMODEL,
                        "%s: tensor %s: wanted a shape of at most %d dimensions, found %u", m->path,
                        out->name, DGM_TENSOR_DIMS, dims->n);
    out->n_dims = (int)dims->n;
    for (size_t i = 0; i < dims->n; i++) {
        out->dims[i] = (uint64_t)item(m, dims, i, NUMBER)->number;
        out->strides[i] = (uint64_t)item(m, strides, i, NUMBER)->number;
    }
    return DGM_OK;
}

static int collect(dgm_pickled **out, size_t *n_out, const machine *m, uint32_t root)
{
    const entry *entries = m->entries.at;
    dgm_pickled *all = calloc(m->entries.n + 1, sizeof *all);
    if (all == NULL)
        return dgm_fail(DGM_ENOMEM, "%s: cannot allocate a table of %zu tensors", m->path,
                        m->entries.n);
    size_t n = 0;
    for (size_t i = 0; i < m->entries.n; i++) {
        if (entries[i].dict != root)
            continue;
        const int rc = copy_tensor(&all[n++], m, &entries[i]);
        if (rc != DGM_OK) {
            dgm_pickle_free(all, n);
            return rc;
        }
    }
    *out = all;
    *n_out = n;
    return DGM_OK;
}

int dgm_pickle_parse(dgm_pickled **out, size_t *n_out, const char *path, const unsigned char *data,
                     size_t len)
{
    machine m = {.path = path, .at = data, .end = data + len};
    uint32_t root = 0;
    int rc =
        len < UINT32_MAX / 2
            ? run(&m, &root)
            : dgm_fail(DGM_EMODEL, "%s: wanted a pickle below 2 GB, found %zu bytes", path, len);
    if (rc == DGM_OK)
        rc = collect(out, n_out, &m, root);
    list *const lists[] = {&m.values, &m.items, &m.entries, &m.stack, &m.marks, &m.memo};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        free(lists[i]->at);
    return rc;
}

void dgm_pickle_free(dgm_pickled *tensors, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(tensors[i].name);
    free(tensors);
}
