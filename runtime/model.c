#include "runtime/model.h"

#include "runtime/config_json.h"
#include "runtime/config_model.h"
#include "runtime/cut.h"
#include "runtime/task_experts.h"
#include "runtime/weights.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

const char *const dgm_stack_names[DGM_STACKS] = {"encoder", "decoder"};

/* ---- open ---- */

/* Two trainings of one shape have the same headers; their last norms differ. They are a few KB, so read them. */
static int hash_norms(XXH3_state_t *h, const dgm_model *m)
{
    const struct dgm_model_files *f = m->files;
    for (size_t i = 0; i < f->n_slots; i++) {
        const dgm_slot *s = &f->slots[i];
        if (s->vector != &m->stack[DGM_ENCODER].norm.w &&
            s->vector != &m->stack[DGM_DECODER].norm.w)
            continue;
        void *data = malloc((size_t)s->tensor->bytes);
        if (data == NULL)
            return dgm_fail(DGM_ENOMEM, "cannot allocate a norm");
        const int rc =
            dgm_tensors_read(f->tensors, s->tensor, data, 0, (size_t)s->tensor->bytes, 0);
        if (rc == DGM_OK)
            (void)XXH3_64bits_update(h, data, (size_t)s->tensor->bytes);
        free(data);
        DGM_TRY(rc);
    }
    return DGM_OK;
}

static int hash_model(dgm_model *m, const dgm_config_files *cfg)
{
    XXH3_state_t *h = XXH3_createState();
    if (h == NULL)
        return dgm_fail(DGM_ENOMEM, "cannot allocate a hash");
    const dgm_config_file *const files[] = {&cfg->model, &cfg->generation, &cfg->tokenizer};
    const uint64_t headers = dgm_tensors_hash(m->files->tensors);
    (void)XXH3_64bits_reset(h);
    for (int i = 0; i < 3; i++) {
        (void)XXH3_64bits_update(h, &files[i]->len,
                                 sizeof files[i]->len); /* so that texts cannot run together */
        (void)XXH3_64bits_update(h, files[i]->text, files[i]->len);
    }
    (void)XXH3_64bits_update(h, &headers, sizeof headers);
    const int rc = hash_norms(h, m);
    m->hash = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return rc;
}

static int read_tasks(dgm_model *m, const dgm_config_file *f)
{
    int layers[DGM_STACKS] = {0};
    dgm_json j;
    if (m->cfg.n_tasks == 0)
        return DGM_OK;
    for (int s = 0; s < DGM_STACKS; s++)
        for (int l = 0; l < m->cfg.n_layers[s]; l++)
            layers[s] += dgm_config_is_sparse(&m->cfg, s, l);
    DGM_TRY(dgm_json_open(&j, f->path, f->text, f->len, true));
    const int rc = dgm_tasks_read(&m->tasks, &m->cfg, layers, &j);
    dgm_json_close(&j);
    return rc;
}

static int open_parts(dgm_model *m, const dgm_model_options *opt)
{
    struct stat st;
    if (stat(m->dir, &st) != 0)
        return dgm_fail(DGM_EMODEL, "%s: wanted a model directory: %s", m->dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return dgm_fail(DGM_EMODEL, "%s: wanted a model directory, found a file", m->dir);
    dgm_config_files cfg;
    DGM_TRY(dgm_config_load(&cfg, m->dir));
    const bool weights = opt == NULL || !opt->describe || dgm_tensors_there(m->dir);
    int rc = dgm_config_parse(&m->cfg, &cfg, opt);
    if (rc == DGM_OK)
        rc = dgm_cut_read(&m->cut, &cfg.model, &m->cfg);
    if (rc == DGM_OK && weights && m->cut != NULL)
        rc = dgm_cut_check_keep(m->cut, m->dir);
    if (rc == DGM_OK && weights)
        rc = dgm_tensors_open(&m->files->tensors, m->dir);
    if (rc == DGM_OK)
        rc = read_tasks(m, &cfg.model);
    if (rc == DGM_OK)
        rc = dgm_weights_bind(m);
    if (rc == DGM_OK && weights)
        rc = hash_model(m, &cfg);
    dgm_config_unload(&cfg);
    return rc;
}

int dgm_model_open(dgm_model **out, const char *dir, const dgm_model_options *opt)
{
    dgm_model *m = calloc(1, sizeof *m);
    if (m == NULL)
        goto err_memory;
    m->task_groups = 1;
    m->dir = strdup(dir);
    m->files = calloc(1, sizeof *m->files);
    if (m->dir == NULL || m->files == NULL)
        goto err_memory;
    m->files->verify = opt != NULL ? opt->verify : DGM_VERIFY_FIRST_USE;
    const int rc = open_parts(m, opt);
    if (rc != DGM_OK) {
        dgm_model_close(m);
        return rc;
    }
    *out = m;
    return DGM_OK;

err_memory:
    dgm_model_close(m);
    return dgm_fail(DGM_ENOMEM, "cannot allocate a model");
}

void dgm_model_close(dgm_model *m)
{
    if (m == NULL)
        return;
    if (m->files != NULL) {
        dgm_weights_free(m);
        dgm_tensors_close(m->files->tensors);
    }
    dgm_placement_fini(&m->placement);
    dgm_cut_free(m->cut);
    dgm_tasks_fini(&m->tasks);
    free(m->unchecked);
    free(m->needed);
    free(m->task_group);
    free(m->files);
    free(m->dir);
    free(m);
}

/* ---- load ---- */

int dgm_model_load(dgm_model *m, int rank, int ranks, bool dense, dgm_comm *comm)
{
    DGM_TRY(dgm_placement_init(&m->placement, m->files->n_moe, dgm_config_most_experts(&m->cfg),
                               ranks));
    DGM_TRY(dgm_task_experts(m));
    return dgm_weights_load(m, rank, dense, comm);
}

/* ---- what it is ---- */

const char *dgm_part_name(enum dgm_part part)
{
    static const char *const names[] = {"embedding", "attention", "ffn",
                                        "experts",   "routers",   "norms"};
    return names[part];
}

const char *dgm_weight_type_name(dgm_wtype t)
{
    static const char *const names[] = {"f32", "bf16", "int8", "int4"};
    return names[t];
}

bool dgm_weight_type_parse(dgm_wtype *out, const char *name)
{
    for (int t = DGM_W_F32; t <= DGM_W_INT4; t++) {
        if (strcmp(name, dgm_weight_type_name((dgm_wtype)t)) == 0) {
            *out = (dgm_wtype)t;
            return true;
        }
    }
    return false;
}

static void count_slot(dgm_part_size *part, const dgm_slot *s)
{
    if (dgm_slot_has_weights(s))
        part->params += (uint64_t)s->rows * (uint64_t)s->k;
    part->file_bytes += s->tensor->bytes;
    part->memory_bytes += dgm_weights_bytes(s);
    if (s->matrix == NULL)
        return;
    const char *type = dgm_weight_type_name(s->matrix->type);
    part->type = part->type[0] == '\0' || strcmp(part->type, type) == 0 ? type : "mixed";
}

void dgm_model_get_size(dgm_model_size *out, const dgm_model *m)
{
    dgm_model_size size = {
        .positions_bytes = dgm_positions_bytes(m),
        .file_bytes = dgm_tensors_bytes(m->files->tensors),
        .n_files = dgm_tensors_files(m->files->tensors),
        .dtype = m->cfg.weights.packed ? "packed" : m->files->slots[0].tensor->type,
    };
    for (int p = 0; p < DGM_PARTS; p++)
        size.part[p].type = "";
    for (size_t i = 0; i < m->files->n_slots; i++) {
        const dgm_slot *s = &m->files->slots[i];
        count_slot(&size.part[s->part], s);
        if (!m->cfg.weights.packed && s->tensor->dtype != m->files->slots[0].tensor->dtype)
            size.dtype = "mixed";
    }
    *out = size;
}

void dgm_model_rank_bytes(uint64_t *dense_bytes, uint64_t *expert_bytes, const dgm_model *m,
                          int rank, int ranks, bool dense)
{
    *dense_bytes = dense ? dgm_weights_dense_bytes(m) : 0;
    *expert_bytes = 0;
    for (size_t i = 0; i < m->files->n_slots; i++) {
        const dgm_slot *s = &m->files->slots[i];
        if (s->expert < 0)
            continue;
        const bool by_task = dgm_routing_by_task(
            m->cfg.routing[s->layer >= m->cfg.n_layers[DGM_ENCODER] ? DGM_DECODER : DGM_ENCODER]);
        const bool here = by_task ? dense : dgm_placement_default_owner(s->expert, ranks) == rank;
        if (here && dgm_task_needs(m, rank, s->moe, s->expert) && dgm_slot_is_kept(m, s))
            *expert_bytes += dgm_weights_bytes(s);
    }
}

uint64_t dgm_model_file_bytes(const dgm_model *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->files->n_slots; i++) {
        const dgm_slot *s = &m->files->slots[i];
        if (s->expert >= 0 && !dgm_slot_is_kept(m, s))
            continue;
        sum += s->tensor != NULL ? s->tensor->bytes
               : s->form != DGM_SLOT_ROWS
                   ? dgm_weights_bytes(s)
                   : (uint64_t)s->rows * (uint64_t)s->k * dgm_dtype_bytes(m->cfg.dtype);
    }
    return sum;
}

int dgm_model_rank_experts(const dgm_model *m, int stack, int rank, int ranks)
{
    const bool by_task = dgm_routing_by_task(m->cfg.routing[stack]);
    const int first = by_task ? 0 : rank, step = by_task ? 1 : ranks;
    int most = 0;
    if (m->cut == NULL)
        return by_task ? m->cfg.n_experts[stack]
                       : dgm_placement_default_count(m->cfg.n_experts[stack], rank, ranks);
    for (int l = 0; l < m->cut->shape.n_layers; l++) {
        const dgm_moe_layer *layer = &m->cut->shape.layers[l];
        int n = 0;
        for (int e = first; layer->stack == stack && e < layer->n_experts; e += step)
            n += m->cut->there[layer->first + (size_t)e];
        most = n > most ? n : most;
    }
    return most;
}

int dgm_model_verify(const dgm_model *m)
{
    return dgm_weights_verify(m);
}
